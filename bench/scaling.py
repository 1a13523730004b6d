# SPDX-License-Identifier: Apache-2.0
"""How the engine scales with its lanes: simulated where there is gateware, and by the model of its control beyond.

    python bench/scaling.py --json OUT --data-dir DIR [--lanes N ...] [--cache DIR]

On each simulated engine a sample of which nothing is skipped must take exactly the cycles of the model; with all skipping it replays
stretches of the first epoch, see bench/run.py, whose cache of learned weights is shared. What is in OUT is not simulated again.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import command
import run
from frenn.firmware.compiler import Program, compile_network, compile_unchecked
from frenn.firmware.errors import FrennError
from frenn.firmware.isa import Op
from frenn.firmware.parameters import PRESETS, EngineParameters
from frenn.host import datasets
from frenn.host.cycle_account import counted_account
from frenn.host.driver import Driver
from frenn.host.progress import note
from frenn.host.throughput import BETWEEN, dense_words, sample_bytes
from frenn.rtl_gen.cycles import ModelParameters, dense_account
from frenn.sim.compiled import CompiledGolden
from frenn.sim.twin import Twin, build
from stretches import Stretches, replay

CASE: Final = run.REFERENCE
SIMULATED: Final = (4, 8, 16, 32, 64, 128)
MODELLED: Final = (*SIMULATED, 256, 512, 1024, 2048)
CLOCK: Final = 100e6
"""Hz, at which samples a second and bandwidths are told: of no board, and the same for all."""
STRETCH: Final = 9
"""Samples of a stretch, the first of which is not counted."""


def main(words: Sequence[str] | None = None) -> int:
    parser = command.parser(__doc__)
    parser.add_argument("--lanes", type=int, nargs="+", default=SIMULATED, choices=SIMULATED, metavar="N", help="simulate these alone")
    arguments = parser.parse_args(words)
    return command.finish(lambda: measure(arguments.json, arguments.data_dir, arguments.cache, arguments.lanes))


def measure(path: Path, data_dir: Path | None, cache: Path, lanes: Sequence[int]) -> None:
    """Write the figures of the model, then add those of each engine that is simulated."""
    network = CASE.network
    dataset = datasets.load(CASE.data, data_dir, network.seed)
    stretches = Stretches(network, dataset, cache / CASE.file, run.EPOCHS)
    kept = command.read(path).get("engines", {}) if path.exists() else {}
    engines = {str(count): modelled(count) for count in MODELLED}
    for count, engine in engines.items():
        simulated = kept.get(count, {}).get("simulated")
        # What was simulated with gateware of other cycles counts no more.
        if simulated and simulated["dense_cycles"] == engine["dense_cycles"]:
            engine["simulated"] = simulated
    figures = {"network": "-".join(map(str, network.widths)), "clock_mhz": CLOCK / 1e6, "engines": engines}
    command.write(path, figures)
    for count in lanes:
        if "simulated" not in engines[str(count)]:
            note(f"{count} lanes")
            stretches.learn(1, lambda samples: None)
            engines[str(count)]["simulated"] = simulated_on(count, stretches)
            command.write(path, figures)


def modelled(lanes: int) -> dict[str, Any]:
    """Figures of a training sample of which nothing is skipped, at `CLOCK`."""
    network = CASE.network
    parameters = ModelParameters(lanes=lanes)
    account = dense_account(compile_unchecked(network, parameters))
    # An input comes in a cycle, while the sample before is learned.
    rate = CLOCK / (max(account.cycles, network.widths[0]) + BETWEEN)
    # An update reads a weight and writes it.
    accesses = sum((1 + (op == Op.UPDATE)) * count for (op, _), count in account.lane_cycles.items())
    return {
        "dense_cycles": account.cycles,
        "utilisation": account.utilisation,
        "narrow": account.narrow / (lanes * account.cycles),
        "idle": dict(account.idle),
        "samples_per_second": rate,
        "weight_memory_gbit_per_second": rate * accesses * network.formats.weight.width / 1e9,
        "weight_memory_peak_gbit_per_second": 2 * CLOCK * lanes * network.formats.weight.width / 1e9,
        "link_mbyte_per_second": rate * sample_bytes(1 + dense_words(network), parameters) / 1e6,
    }


def simulated_on(lanes: int, stretches: Stretches) -> dict[str, Any]:
    """Cycles that the twin counts.

    Raises
    ------
    FrennError
        If a sample of which nothing is skipped takes other cycles than the model's.
    """
    network = CASE.network
    preset = PRESETS[CASE.preset]
    parameters = preset if preset.lanes == lanes else EngineParameters.for_network(network, lanes)
    program = compile_network(network, parameters)
    path = build(parameters, progress=note)
    first = stretches.samples(next(stretches.states(1)), STRETCH)
    with Driver(Twin(path), program, skip=0) as machine:
        machine.load(network.initial_weights())
        machine.train(first.inputs[:1], first.labels[:1], first.step, first.rate)
        exact = check(program, machine.counters())
    golden = CompiledGolden(network)
    total: Counter[str] = Counter()
    with Driver(Twin(path), program) as machine:
        for state in stretches.states(1):
            total.update(replay(machine, golden, state, stretches.samples(state, STRETCH))[0])
    samples = total["trained"]
    return {
        "dense_cycles": exact,
        "cycles": total["cycles"] / samples,
        "utilisation": total["busy_lane_cycles"] / (lanes * total["cycles"]),
        "samples_per_second": CLOCK * samples / total["cycles"],
    }


def check(program: Program, counters: dict[str, int]) -> int:
    """Cycles by the model of a sample of which nothing was skipped; at the most, as if its softmax took the most halvings."""
    most = program.network.widths[-1].bit_length() - 1
    counted = counted_account(counters)
    for halvings in range(most + 1):
        account = dense_account(program, halvings=halvings)
        if account.cycles == counters["run_cycles"] and all(account.idle[name] == counted[name] for name in account.idle):
            return dense_account(program).cycles
    raise FrennError(
        f"{program.parameters.lanes} lanes take {counters['run_cycles']} cycles for a sample, and the model says at most "
        f"{dense_account(program).cycles}; please report it"
    )


if __name__ == "__main__":
    sys.exit(main())
