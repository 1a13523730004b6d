# SPDX-License-Identifier: Apache-2.0
"""Bench of `Activation`: every value of a narrow format, or edges of segments and random values of a wide one."""

import os
import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from ...firmware.arithmetic import ACTIVATIONS, SEGMENTS, saturate
from ...firmware.formats import Format
from ...rtl_gen.activation import Activation
from .streams import pipeline, start

EXHAUSTIVE_FRACTION = 6


@cocotb.test
async def equals_model(dut: Any) -> None:
    pre_activation = Format.parse(os.environ["PRE_ACTIVATION"])
    activation = Activation(pre_activation)
    await start(dut)
    for code, name in enumerate(ACTIVATIONS):
        dut.kind.value = code
        await ClockCycles(dut.clk, activation.latency)
        values = _values(pre_activation)
        got = await pipeline(dut, {"value": values}, ("magnitude", "negative", "slope"), activation.latency)
        states, slopes = activation.model(np.array(values), name)
        # The port still holds the 1 that the rounding after it saturates.
        magnitudes = saturate(np.array(got["magnitude"]), activation.fraction + 6)
        assert np.where(got["negative"], -magnitudes, magnitudes).tolist() == states.tolist(), name
        assert got["slope"] == slopes.tolist(), name
        assert max(got["magnitude"]) <= 1 << (activation.fraction + 6), name


def _values(pre_activation: Format) -> list[int]:
    if pre_activation.fraction <= EXHAUSTIVE_FRACTION:
        return list(range(pre_activation.minimum, pre_activation.maximum + 1))
    knots = [segment << (pre_activation.fraction - 2) for segment in range(SEGMENTS + 1)]
    edges = [sign * (knot + step) for knot in knots for step in (-1, 0, 1) for sign in (-1, 1)]
    spread = [random.randint(pre_activation.minimum, pre_activation.maximum) for _ in range(400)]
    return [value for value in (*edges, *spread) if pre_activation.minimum <= value <= pre_activation.maximum]
