# SPDX-License-Identifier: Apache-2.0
"""Bench of `PerformanceCounters`: random steps of every counter, cleared now and then."""

import os
import random
from typing import Any

import cocotb
import numpy as np

from ...firmware.counters import NAMES
from ...rtl_gen.performance import TURN, PerformanceCounters
from .cycles import Cycles


@cocotb.test
async def equals_model(dut: Any) -> None:
    wide = int(os.environ["STEP_BITS"])
    component = PerformanceCounters(dict.fromkeys(NAMES[::3], wide), live=NAMES[2:4])
    bench = Cycles(dut, component)
    await bench.reset()
    expected = np.zeros(len(NAMES), dtype=np.int64)
    for _ in range(12):
        cycles = random.choice((1, TURN, 3 * TURN)) + random.randrange(3)
        steps = np.zeros((cycles, len(NAMES)), dtype=np.int64)
        clear = np.zeros(cycles, dtype=bool)
        for cycle in range(cycles):
            clear[cycle] = random.random() < 0.02
            for place, bits in enumerate(component.step_bits.values()):
                steps[cycle, place] = random.choice((0, 1, random.getrandbits(bits), (1 << bits) - 1))
            inputs = {f"step_{name}": int(step) for name, step in zip(NAMES, steps[cycle], strict=True)}
            await bench.step({**inputs, "clear": int(clear[cycle])})
        since = component.model(steps, clear)
        expected = since if clear.any() else (expected + since) & (1 << 48) - 1
        for place in random.sample(range(len(NAMES)), 6):
            for _ in range(component.latency):
                await bench.step({"select": place})
            assert (await bench.step({"select": place}))["value"] == expected[place], NAMES[place]
