# SPDX-License-Identifier: Apache-2.0
"""How fast engines learn: cycles of samples with learned weights, samples a second of boards, and what else learns on this machine.

    python bench/run.py --json OUT --data-dir DIR [--quick] [--cache DIR] [--builds DIR]
    python bench/performance.py OUT [SCALING]         writes docs/performance.md

Golden trains each network up to the epochs that are looked at, and the twin replays stretches of them: what it counts is what a board
would count, and each answer is compared with golden's. Learned weights are kept in the cache, so that a command that was stopped goes
on, and another one begins at once. Clocks are those of the reports that `frenn build` left in the folder of the builds. Speeds of
programs are of one core's processor time, and are told as ratios within the run.
"""

import json
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import command
import numpy as np
import paper
from frenn.firmware.compiler import Program, compile_network
from frenn.firmware.network import Network, load_network
from frenn.firmware.parameters import PRESETS, EngineParameters
from frenn.host import datasets
from frenn.host.cycle_account import WORK, counted_account, modelled_account
from frenn.host.driver import Driver
from frenn.host.progress import note, progress
from frenn.host.targets import misfit
from frenn.host.throughput import dense_words, link_rate
from frenn.host.training import Advance
from frenn.rtl_gen.cycles import dense_account
from frenn.rtl_gen.generate import verilog
from frenn.sim.compiled import CompiledGolden
from frenn.sim.twin import Twin, build
from runs import EXAMPLES
from speed import processor
from stretches import PLACES, Stretches, replay
from threadpoolctl import threadpool_limits

EPOCHS: Final = (1, 3, 12)
STRETCH: Final = 49
"""Samples of a stretch, the first of which is not counted."""
BATCHES: Final = (1, 20, 500)
SECONDS: Final = 5.0
"""That a speed of PyTorch is measured for."""
GOLDEN_SAMPLES: Final = 3000
PAPER_SAMPLES: Final = 10_000


@dataclass(frozen=True)
class Case:
    """A network, what it learns, and the engine that runs it.

    Parameters
    ----------
    name, file, data, preset : str
    halve_every : int
        Epochs of its schedule of 12 after which the rate is halved.
    """

    name: str
    file: str
    data: str
    preset: str
    halve_every: int

    @property
    def network(self) -> Network:
        """With the schedule of 12 epochs."""
        network = load_network(EXAMPLES / f"{self.file}.toml")
        return replace(network, learning=replace(network.learning, epochs=EPOCHS[-1], halve_every=self.halve_every))


CASES: Final = (
    Case("digits 2x64", "digits", "digits", "small", 10),
    Case("MNIST 2x64", "mnist-2x64", "mnist", "medium", 3),
    Case("MNIST 2x256", "mnist", "mnist", "large", 3),
    Case("MNIST 10x64 residual", "mnist-10x64-residual", "mnist", "medium", 3),
)
QUICK: Final = 3
"""Cases of a quick run."""
REFERENCE: Final = CASES[2]
"""The network that PyTorch learns too."""


def main(words: Sequence[str] | None = None) -> int:
    parser = command.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help=f"the first {QUICK} networks in their first epoch")
    parser.add_argument("--builds", type=Path, default=Path("builds"), metavar="DIR", help="folders of frenn build (default builds)")
    arguments = parser.parse_args(words)
    cases, numbers = (CASES[:QUICK], EPOCHS[:1]) if arguments.quick else (CASES, EPOCHS)

    def work() -> None:
        with threadpool_limits(1):
            keep = partial(command.write, arguments.json)
            measure(cases, numbers, arguments.data_dir, arguments.cache, arguments.builds, keep)

    return command.finish(work)


def measure(
    cases: Sequence[Case],
    numbers: Sequence[int],
    data_dir: Path | None,
    cache: Path,
    builds: Path,
    keep: Callable[[dict[str, Any]], None],
) -> None:
    """Hand on all figures, by the names that the page tells of, after each network those that there are."""
    data = {case.data: datasets.load(case.data, data_dir if case.data == "mnist" else None, case.network.seed) for case in cases}
    reports = stored_reports(builds)
    figures: dict[str, Any] = {
        "processor": processor(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "epochs": list(numbers),
        "samples_of_an_epoch": PLACES * (STRETCH - 1),
        "boards": [{name: report[name] for name in ("board", "lanes", "mhz", "weight", "status")} for report in reports],
        "presets": {},
    }
    for case in cases:
        network, dataset = case.network, data[case.data]
        stretches = Stretches(network, dataset, cache / case.file, EPOCHS)
        with progress(stretches.missing(numbers[-1]), f"{case.name}: golden learns") as advance:
            for number in numbers:
                stretches.learn(number, advance)
        with progress(len(numbers) * PLACES, f"{case.name}: the twin replays") as advance:
            entry = replayed(case, stretches, numbers, reports, advance)
        golden = golden_speed(network, dataset)
        first = entry["epochs"][str(numbers[0])]
        entry["golden_per_twin"] = golden / (entry["twin_mhz"] * 1e6 / first["cycles_per_sample"])
        entry["verilog_in_golden_samples"] = entry.pop("verilog_seconds") * golden
        figures["presets"].setdefault(case.preset, {})[case.name] = entry
        if case == REFERENCE:
            figures["paper"] = against_paper(case, dataset, golden, entry)
        keep(figures)


def replayed(
    case: Case, stretches: Stretches, numbers: Sequence[int], reports: Sequence[dict[str, Any]], advance: Advance
) -> dict[str, Any]:
    """What an engine does with a network: figures of nothing skipped, then of each epoch."""
    parameters = PRESETS[case.preset]
    program = compile_network(case.network, parameters)
    dense = dense_account(program)
    golden = CompiledGolden(case.network)
    device = Twin(build(parameters, progress=note))
    epochs: dict[str, Any] = {}
    with Driver(device, program) as machine:
        before = device.cycles
        machine.load(case.network.initial_weights())
        loading = device.cycles - before
        for number in numbers:
            totals: tuple[Counter[str], Counter[str]] = Counter(), Counter()
            for state in stretches.states(number):
                samples = stretches.samples(state, STRETCH)
                for total, counters in zip(totals, replay(machine, golden, state, samples), strict=True):
                    total.update(counters)
                advance(1)
            epochs[str(number)] = epoch = figures_of(program, *totals)
            epoch["utilisation"]["dense"] = dense.utilisation
            epoch["samples_per_second"] = by_board(case.network, reports, parameters.lanes, epoch["cycles_per_sample"])
        before, started = device.cycles, time.process_time()
        machine.train(samples.inputs, samples.labels, samples.step, samples.rate)
        simulated = (device.cycles - before) / (time.process_time() - started)
    started = time.process_time()
    verilog(parameters)
    return {
        "network": "-".join(map(str, case.network.widths)),
        "lanes": parameters.lanes,
        "dense": {
            "cycles_per_sample": dense.cycles,
            "products": dense.lane_cycles.total(),
            "paper_products": paper.dense_products(case.network),
            "account": modelled_account(dense),
            "narrow": dense.narrow / (dense.lanes * dense.cycles),
        },
        "load_cycles": loading,
        "twin_mhz": simulated / 1e6,
        "verilog_seconds": time.process_time() - started,
        "epochs": epochs,
    }


def figures_of(program: Program, learning: Mapping[str, int], predicting: Mapping[str, int]) -> dict[str, Any]:
    """Figures of an epoch from counters of its stretches."""
    samples, lanes = learning["trained"], program.parameters.lanes
    account = counted_account(learning)
    return {
        "cycles_per_sample": learning["cycles"] / samples,
        "cycles_per_inference": predicting["cycles"] / predicting["inferred"],
        "executed_of_dense": learning["busy_lane_cycles"] / samples / paper.dense_products(program.network),
        "utilisation": {"skipping": learning["busy_lane_cycles"] / (lanes * learning["cycles"])},
        "narrow": (lanes * sum(account[name] for name in WORK.values()) - learning["busy_lane_cycles"]) / (lanes * learning["cycles"]),
        "zero_error": learning["zero_error"] / samples,
        "free_sweeps": learning["free_sweeps"] / samples,
        "clamped_sweeps": learning["clamped_sweeps"] / samples,
        "account": {name: cycles / samples for name, cycles in account.items()},
        "skipped": {name: learning[f"skipped_{name}"] / samples for name in ("sources", "columns")},
    }


def stored_reports(builds: Path) -> list[dict[str, Any]]:
    """What `frenn build` reports of designs that were placed and routed, by board and lanes."""
    found = []
    for path in sorted(builds.glob("*/report.json")):
        report = json.loads(path.read_text())
        if report.get("fmax_mhz"):
            parameters = EngineParameters.from_dict(report["engine"])
            found.append(
                {**report, "lanes": parameters.lanes, "weight": str(parameters.weight), "mhz": report["fmax_mhz"], "parameters": parameters}
            )
    return sorted(found, key=lambda report: (report["board"], report["lanes"], -report["mhz"]))


def by_board(network: Network, reports: Sequence[dict[str, Any]], lanes: int, cycles: float) -> dict[str, Any]:
    """Samples a second of each board that has an engine of so many lanes whose memories hold the network: cycles do not depend on how
    wide its weights are. Of several engines the fastest counts."""
    found: dict[str, Any] = {}
    for report in reports:
        parameters = report["parameters"]
        formats = replace(network.formats, weight=parameters.weight)
        if parameters.lanes == lanes and misfit(replace(network, formats=formats), parameters) is None and report["board"] not in found:
            line = link_rate(1 + dense_words(network), report["baud"], parameters)
            found[report["board"]] = {
                "weight": report["weight"],
                "mhz": report["mhz"],
                "engine": report["mhz"] * 1e6 / cycles,
                "line": line,
            }
    return found


def golden_speed(network: Network, data: datasets.Dataset) -> float:
    """Samples that golden learns in a second of one core's time, first of the first epoch."""
    machine = CompiledGolden(network)
    order = np.random.default_rng((network.seed, 0)).permutation(len(data.train_labels))[:GOLDEN_SAMPLES]
    inputs = datasets.quantise(data.train_inputs[order], network.formats.input)
    rate = network.learning.rate_at(0)
    machine.train(inputs[:1], data.train_labels[order[:1]], 0, rate)  # numba compiles
    started = time.process_time()
    machine.train(inputs, data.train_labels[order], 0, rate)
    return len(order) / (time.process_time() - started)


def against_paper(case: Case, data: datasets.Dataset, golden: float, entry: dict[str, Any]) -> dict[str, Any]:
    """How many times as fast golden and the boards learn as the paper's schedule in PyTorch on one core, by batch; without PyTorch why
    not."""
    inputs, labels = data.train_inputs[:PAPER_SAMPLES].astype(np.float32) / 255, data.train_labels[:PAPER_SAMPLES].copy()
    try:
        speeds = {str(batch): paper.torch_speed(case.network, inputs, labels, batch, SECONDS) for batch in BATCHES}
    except paper.TorchMissing as error:
        note(f"the paper's schedule is left out: {error}")
        return {"left_out": str(error)}
    boards = {
        number: {
            board: {batch: reached["engine"] / speed for batch, speed in speeds.items()}
            for board, reached in epoch["samples_per_second"].items()
        }
        for number, epoch in entry["epochs"].items()
    }
    return {"network": case.name, "golden": {batch: golden / speed for batch, speed in speeds.items()}, "boards": boards}


if __name__ == "__main__":
    sys.exit(main())
