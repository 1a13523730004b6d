# SPDX-License-Identifier: Apache-2.0
"""Bench of `RoundSaturate`: sweeps of shifts and sizes, over edge values and random ones."""

import os
import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from ...rtl_gen.rounding import RoundSaturate
from .streams import pipeline, start


@cocotb.test
async def equals_model(dut: Any) -> None:
    input_bits, output_bits = int(os.environ["INPUT_BITS"]), int(os.environ["OUTPUT_BITS"])
    await start(dut)
    for shift in (0, 1, 2, 7, 8, 9, 13, 21, input_bits - 1, input_bits, input_bits + 1, 63):
        for bits in sorted({bits for bits in (1, 4, 8, output_bits - 1) if bits < output_bits}):
            dut.shift.value = shift
            dut.bits.value = bits
            for _ in range(RoundSaturate.latency):
                await RisingEdge(dut.clk)
            values = _values(input_bits, shift, bits)
            got = await pipeline(dut, {"value": values}, ("result", "saturated"), RoundSaturate.latency, signed=["result"])
            results, saturated = RoundSaturate.model(np.array(values), shift, bits)
            assert got["result"] == results.tolist(), f"shift {shift}, bits {bits}"
            assert got["saturated"] == saturated.astype(int).tolist(), f"shift {shift}, bits {bits}"


def _values(input_bits: int, shift: int, bits: int) -> list[int]:
    low, high = -(1 << (input_bits - 1)), (1 << (input_bits - 1)) - 1
    half = (1 << shift) >> 1
    limit = ((1 << bits) - 1) << shift
    around = [0, half, -half, 3 * half, -3 * half, limit, -limit, limit + half, -limit - half, low, high]
    near = [value + step for value in around for step in (-1, 0, 1)]
    spread = [random.randint(low, high) >> random.randrange(input_bits) for _ in range(40)]
    return [value for value in (*near, *spread) if low <= value <= high]
