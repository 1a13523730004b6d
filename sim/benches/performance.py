# SPDX-License-Identifier: Apache-2.0
"""Bench of `PerformanceCounters`: random steps of every counter, cleared now and then."""

import os
import random
from typing import Any

import cocotb
import numpy as np

from ...firmware.counters import NAMES
from ...rtl_gen.performance import PerformanceCounters
from .cycles import Cycles

CYCLES = 300


@cocotb.test
async def equals_model(dut: Any) -> None:
    step_bits = int(os.environ["STEP_BITS"])
    component = PerformanceCounters(step_bits)
    bench = Cycles(dut, component)
    await bench.reset()
    steps = np.zeros((CYCLES, len(NAMES)), dtype=np.int64)
    clear = np.zeros(CYCLES, dtype=bool)
    clear[0] = True
    expected = 0
    for cycle in range(CYCLES):
        clear[cycle] |= random.random() < 0.02
        steps[cycle] = [random.choice((0, 1, random.getrandbits(step_bits), (1 << step_bits) - 1)) for _ in NAMES]
        select = random.randrange(len(NAMES))
        inputs = {f"step_{name}": int(step) for name, step in zip(NAMES, steps[cycle], strict=True)}
        got = await bench.step({**inputs, "select": select, "clear": int(clear[cycle])})
        assert cycle == 0 or got["value"] == expected, f"cycle {cycle}"
        expected = int(component.model(steps[:cycle], clear[:cycle])[select])
