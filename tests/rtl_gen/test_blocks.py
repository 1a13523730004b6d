# SPDX-License-Identifier: Apache-2.0
"""Gateware blocks against their models, on both simulators."""

from pathlib import Path

import pytest
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
