# SPDX-License-Identifier: Apache-2.0
"""The byte link's gateware against the host's endpoint, on both simulators."""

from pathlib import Path
from typing import Any

import pytest
from frenn.firmware.errors import FrennError
from frenn.rtl_gen.link import Link, LinkParameters
from frenn.sim.benches.runner import SIMULATORS, Simulator, run

SMALL = {"frame_words": 8, "receive_words": 64, "transmit_words": 64, "timeout_cycles": 2000, "acknowledge_cycles": 300}
TIGHT = {"frame_words": 3, "receive_words": 64, "transmit_words": 4, "timeout_cycles": 2000, "acknowledge_cycles": 300}
LONG = {"frame_words": 40, "receive_words": 256, "transmit_words": 128, "timeout_cycles": 2000, "acknowledge_cycles": 300}


def _run(simulator: Simulator, seed: int, folder: Path, parameters: dict[str, int], damage: float) -> None:
    run(
        Link(LinkParameters(**parameters)),
        "frenn.sim.benches.link,frenn.sim.benches.link_repeats",
        name="link",
        simulator=simulator,
        seed=seed,
        parameters={"DAMAGE": str(damage), **{name.upper(): str(value) for name, value in parameters.items()}},
        build_dir=folder,
    )


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize("parameters", [SMALL, LONG], ids=["small", "long"])
def test_link(simulator: Simulator, seed: int, tmp_path: Path, parameters: dict[str, int]) -> None:
    _run(simulator, seed, tmp_path, parameters, 0.0)


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize(("parameters", "damage"), [(SMALL, 1e-2), (TIGHT, 1e-3), (LONG, 1e-3)], ids=["small", "tight", "long"])
def test_lossy_lines(simulator: Simulator, seed: int, tmp_path: Path, parameters: dict[str, int], damage: float) -> None:
    _run(simulator, seed, tmp_path, parameters, damage)


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
