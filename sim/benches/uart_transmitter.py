# SPDX-License-Identifier: Apache-2.0
"""Bench of `UartTransmitter`: the line, cycle by cycle, against the model."""

import os
import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from ...rtl_gen.uart import BaudRate, UartTransmitter
from .streams import StreamSource, start

RATE = BaudRate(int(os.environ["FREQUENCY"]), int(os.environ["BAUD"]))


@cocotb.test
async def equals_model(dut: Any) -> None:
    source = StreamSource(dut, "i", random.Random(random.random()))
    await start(dut)
    for length in (1, 30, 2):
        content = random.randbytes(length)
        expected = np.concatenate([UartTransmitter.model(RATE, content), np.ones(20, dtype=bool)])
        source.send(content)
        await ReadOnly()
        while int(dut.line.value):
            await RisingEdge(dut.clk)
            await ReadOnly()
        line = []
        for _ in range(len(expected)):
            line.append(bool(int(dut.line.value)))
            await RisingEdge(dut.clk)
            await ReadOnly()
        assert (np.array(line) == expected).all()
        await RisingEdge(dut.clk)


@cocotb.test
async def any_pace(dut: Any) -> None:
    """Bytes that come at any time are sent whole: every fall at idle starts a character of the model."""
    source = StreamSource(dut, "i", random.Random(random.random()), 0.95)
    await start(dut)
    content = random.randbytes(40)
    source.send(content)
    got: list[int] = []
    period = RATE.frequency / RATE.baud
    while len(got) < len(content):
        await RisingEdge(dut.clk)
        await ReadOnly()
        if int(dut.line.value):
            continue
        samples: list[int] = []
        for cycle in range(int(9.5 * period) + 1):
            if cycle == int((len(samples) + 0.5) * period):
                samples.append(int(dut.line.value))
            await RisingEdge(dut.clk)
            await ReadOnly()
        assert samples[0] == 0 and samples[-1] == 1
        got.append(sum(bit << index for index, bit in enumerate(samples[1:-1])))
    assert bytes(got) == content
