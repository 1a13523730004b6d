# SPDX-License-Identifier: Apache-2.0
"""The byte link's gateware against the host's endpoint, on both simulators."""

from pathlib import Path
from typing import Any

import pytest
from frenn.firmware.errors import FrennError
from frenn.rtl_gen.link import Link, LinkParameters
from frenn.sim.benches.runner import SIMULATORS, Simulator, run
from proofs import plant

SMALL = {"frame_words": 8, "receive_words": 64, "transmit_words": 64, "timeout_cycles": 2000, "acknowledge_cycles": 300}
TIGHT = {"frame_words": 3, "receive_words": 64, "transmit_words": 4, "timeout_cycles": 2000, "acknowledge_cycles": 300}
LONG = {"frame_words": 40, "receive_words": 256, "transmit_words": 128, "timeout_cycles": 2000, "acknowledge_cycles": 300}

BENCH = "frenn.sim.benches.link"
REPEATS = "frenn.sim.benches.link_repeats"


def _run(
    simulator: Simulator,
    seed: int,
    folder: Path,
    parameters: dict[str, int],
    damage: float = 0.0,
    *,
    component: type[Link] = Link,
    bench: str = f"{BENCH},{REPEATS}",
) -> None:
    run(
        component(LinkParameters(**parameters)),
        bench,
        name="link",
        simulator=simulator,
        seed=seed,
        parameters={"DAMAGE": str(damage), **{name.upper(): str(value) for name, value in parameters.items()}},
        build_dir=folder,
    )


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize("parameters", [SMALL, LONG], ids=["small", "long"])
def test_link(simulator: Simulator, seed: int, tmp_path: Path, parameters: dict[str, int]) -> None:
    _run(simulator, seed, tmp_path, parameters)


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize(("parameters", "damage"), [(SMALL, 1e-2), (TIGHT, 1e-3), (LONG, 1e-3)], ids=["small", "tight", "long"])
def test_lossy_lines(simulator: Simulator, seed: int, tmp_path: Path, parameters: dict[str, int], damage: float) -> None:
    _run(simulator, seed, tmp_path, parameters, damage)


@pytest.mark.parametrize(
    "fault",
    [
        ("torn.eq(decoder.o.valid & ", "torn.eq(0 & decoder.o.valid & "),
        ("header.kind.data & (ahead == 0)", "header.kind.data"),
        ("last_ahead.eq(0)", "last_ahead.eq(WINDOW)"),
    ],
    ids=["never", "any number", "again for those under way"],
)
def test_a_fault_in_asking_again_is_seen(seed: int, tmp_path: Path, fault: tuple[str, str]) -> None:
    with pytest.raises(pytest.fail.Exception):
        _run("icarus", seed, tmp_path, SMALL, component=plant(Link, fault), bench=REPEATS)
    # By hand and against the model.
    assert (tmp_path / "results.xml").read_text().count("<failure") == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"frame_words": 0},
        {"frame_words": True},
        {"frame_words": 1025},
        {"receive_words": 32},
        {"receive_words": 1000},
        {"transmit_words": 12},
        {"transmit_words": 256},
        {"timeout_cycles": 1},
        {"acknowledge_cycles": 0},
    ],
)
def test_wrong_parameters(wrong: dict[str, Any]) -> None:
    with pytest.raises(FrennError, match=next(iter(wrong))):
        LinkParameters(**wrong)
