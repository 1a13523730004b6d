# SPDX-License-Identifier: Apache-2.0
"""Bench of `RandomWords`: edge values and random ones of seed, step, column and turn."""

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from ...rtl_gen.random_words import RandomWords
from .streams import pipeline, start


@cocotb.test
async def equals_model(dut: Any) -> None:
    await start(dut)
    words = [(0, 0), (0xFFFFFFFF, 0xFFFFFFFF), *((random.getrandbits(32), random.getrandbits(32)) for _ in range(6))]
    for seed, step in words:
        dut.seed.value = seed
        dut.step.value = step
        await ClockCycles(dut.clk, RandomWords.latency)
        columns = [0, 1, 2, (1 << 20) - 1, *(random.getrandbits(20) for _ in range(100))]
        turns = [0, 1, 31, 16, *(random.randrange(32) for _ in range(100))]
        got = await pipeline(dut, {"column": columns, "turn": turns}, ("word",), RandomWords.latency)
        expected = [int(RandomWords.model(seed, step, np.array(column), turn)) for column, turn in zip(columns, turns, strict=True)]
        assert got["word"] == expected, f"seed {seed}, step {step}"
