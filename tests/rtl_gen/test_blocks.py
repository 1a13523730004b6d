# SPDX-License-Identifier: Apache-2.0
"""Gateware blocks against their models, on both simulators."""

from pathlib import Path

import pytest
from frenn.firmware.formats import Format
from frenn.rtl_gen.activation import Activation
from frenn.rtl_gen.output_error import OutputError
from frenn.rtl_gen.random_words import RandomWords
from frenn.rtl_gen.rounding import RoundSaturate
from frenn.sim.benches.runner import SIMULATORS, Simulator, run

pytestmark = pytest.mark.parametrize("simulator", SIMULATORS)


@pytest.mark.parametrize(("input_bits", "output_bits"), [(40, 16), (62, 32), (12, 16), (17, 2)])
def test_round_saturate(simulator: Simulator, seed: int, tmp_path: Path, input_bits: int, output_bits: int) -> None:
    run(
        RoundSaturate(input_bits, output_bits),
        "frenn.sim.benches.rounding",
        name="round_saturate",
        simulator=simulator,
        seed=seed,
        parameters={"INPUT_BITS": str(input_bits), "OUTPUT_BITS": str(output_bits)},
        build_dir=tmp_path,
    )


@pytest.mark.parametrize("pre_activation", ["S2.2", "S2.3", "S2.6", "S2.10", "S2.24"])
def test_activation(simulator: Simulator, seed: int, tmp_path: Path, pre_activation: str) -> None:
    run(
        Activation(Format.parse(pre_activation)),
        "frenn.sim.benches.activation",
        name="activation",
        simulator=simulator,
        seed=seed,
        parameters={"PRE_ACTIVATION": pre_activation},
        build_dir=tmp_path,
    )


def test_random_words(simulator: Simulator, seed: int, tmp_path: Path) -> None:
    run(RandomWords(), "frenn.sim.benches.random_words", name="random_words", simulator=simulator, seed=seed, build_dir=tmp_path)


@pytest.mark.parametrize(("drive_bits", "read_latency"), [(40, 1), (62, 3), (18, 2)])
def test_output_error(simulator: Simulator, seed: int, tmp_path: Path, drive_bits: int, read_latency: int) -> None:
    run(
        OutputError(drive_bits, read_latency),
        "frenn.sim.benches.output_error",
        name="output_error",
        simulator=simulator,
        seed=seed,
        parameters={"DRIVE_BITS": str(drive_bits), "READ_LATENCY": str(read_latency)},
        build_dir=tmp_path,
    )
