# SPDX-License-Identifier: Apache-2.0
"""Framing gateware against its models, on both simulators."""

from pathlib import Path

import pytest
from frenn.rtl_gen.framing import FrameDecoder, FrameEncoder
from frenn.sim.benches.runner import SIMULATORS, Simulator, run


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize("words", [3, 17])
def test_decoder(simulator: Simulator, seed: int, tmp_path: Path, words: int) -> None:
    run(
        FrameDecoder(words),
        "frenn.sim.benches.framing_decoder",
        name="frame_decoder",
        simulator=simulator,
        seed=seed,
        parameters={"WORDS": str(words)},
        build_dir=tmp_path,
    )


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_encoder(simulator: Simulator, seed: int, tmp_path: Path) -> None:
    run(FrameEncoder(), "frenn.sim.benches.framing_encoder", name="frame_encoder", simulator=simulator, seed=seed, build_dir=tmp_path)
