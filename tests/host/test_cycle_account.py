# SPDX-License-Identifier: Apache-2.0
"""Where the cycles go: the model, the counters of the twin and what is printed say the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from frenn.firmware.compiler import compile_network, compile_unchecked, joint_requirements
from frenn.firmware.isa import Op
from frenn.firmware.network import Network, parse_network
from frenn.firmware.parameters import EngineParameters
from frenn.firmware.protocol import Skip
from frenn.host.cli import main
from frenn.host.cycle_account import counted_account
from frenn.host.driver import Driver
from frenn.rtl_gen.cycles import ModelParameters, dense_account
from frenn.sim.twin import Twin, build

LANES = 8
FILE = 'name = "long"\nseed = 1\nlayers = [20, 9, 3, 6, 5]\n'
LONG = parse_network(FILE)
NETWORKS = (
    LONG,
    replace(LONG, name="steps", relaxation=replace(LONG.relaxation, schedule="jacobi", free_sweeps=4)),
    parse_network(
        'name = "literal"\nseed = 2\nlayers = [20, 17, 3, 18, 5]\n[links]\nevery = 2\n'
        '[relaxation]\nclamped = "literal"\nerror = "refreshed"\nclamped_sweeps = 3\n[formats]\ndeviation = "S0.8"\n'
    ),
)
PARAMETERS = EngineParameters(**joint_requirements(NETWORKS, LANES))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_account_is_that_of_the_counters(network: Network, rng: np.random.Generator) -> None:
    program = compile_network(network, PARAMETERS)
    inputs, labels = rng.integers(0, 256, (6, 20)), rng.integers(0, 5, 6)
    rate = network.learning.rate_at(0)
    with Driver(Twin(build(PARAMETERS, optimize=0)), program, skip=0) as driver:
        driver.load(network.initial_weights())
        driver.train(inputs[:1], labels[:1], 0, rate)
        counters = driver.counters()
    accounts = [dense_account(program, halvings=halvings) for halvings in range(3)]
    # Of a refreshed error each softmax has halvings of its own: those need not be equal.
    (account,) = (account for account in accounts if account.cycles == counters["run_cycles"])
    assert account.lane_cycles.total() == counters["busy_lane_cycles"]
    for op, name in ((Op.FORWARD, "forward_issues"), (Op.TRANSPOSED, "transposed_issues"), (Op.UPDATE, "update_issues")):
        assert sum(cycles for (kind, _), cycles in account.issued.items() if kind == op) == counters[name]
    assert account.issued.total() + account.idle.total() == account.cycles
    counted = counted_account(counters)
    assert {name: counted[name] for name in account.idle} == account.idle
    assert sum(counted.values()) == counters["cycles"]
    assert counted["link"] >= 20 and counted["between"] > 0
    assert account.narrow == LANES * account.issued.total() - counters["busy_lane_cycles"] > 0

    with Driver(Twin(build(PARAMETERS, optimize=0)), program, skip=Skip.SOURCES | Skip.REST | Skip.RIGHT) as driver:
        driver.load(network.initial_weights())
        driver.train(inputs, labels, 0, rate)
        counters = driver.counters()
    counted = counted_account(counters)
    assert min(counted.values()) >= 0 and sum(counted.values()) == counters["cycles"]
    assert counters["skipped_sources"] > 0


def test_account_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_text(FILE)
    account = dense_account(compile_network(LONG, EngineParameters.for_network(LONG, LANES)))
    assert main(["check", str(path), "--cycles", "--lanes", "8"]) == 0
    head, _, *rows, total, summary = capsys.readouterr().out.splitlines()
    assert f"{account.cycles} cycles on 8 lanes" in head
    assert sum(int(row.split()[0]) for row in rows) == int(total.split()[0]) == account.cycles
    assert f"{100 * account.narrow / (LANES * account.cycles):.1f} % are of lanes without a row" in summary
    assert main(["check", str(path), "--cycles", "--preset", "small"]) == 0
    assert "cycles on 16 lanes" in capsys.readouterr().out
    for option in (["--lanes", "8"], ["--preset", "small"]):
        assert main(["check", str(path), *option]) == 2
        assert "--lanes and --preset go with --cycles" in capsys.readouterr().err


def test_the_model_knows_engines_that_nobody_builds() -> None:
    narrow = dense_account(compile_network(LONG, EngineParameters.for_network(LONG, LANES)))
    assert dense_account(compile_unchecked(LONG, ModelParameters(lanes=LANES))) == narrow
    wide = [dense_account(compile_unchecked(LONG, ModelParameters(lanes=lanes))) for lanes in (512, 2048)]
    # No layer is as wide: only the adder tree and the lanes that idle grow.
    assert wide[0].issued == wide[1].issued and wide[0].cycles <= wide[1].cycles and wide[0].utilisation > wide[1].utilisation
