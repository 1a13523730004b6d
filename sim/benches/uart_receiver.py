# SPDX-License-Identifier: Apache-2.0
"""Bench of `UartReceiver`: characters of senders near and far off the rate, glitches and noise, against the model."""

import os
import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, RisingEdge

from ...rtl_gen.uart import BaudRate, UartReceiver
from .streams import StreamSink, start
from .uart_line import character_line

RATE = BaudRate(int(os.environ["FREQUENCY"]), int(os.environ["BAUD"]))


async def _play(dut: Any, line: np.ndarray) -> None:
    """Drive the pin from reset on, and leave it high."""
    dut.line.value = int(line[0])
    await start(dut)
    for level in line:
        await FallingEdge(dut.clk)
        dut.line.value = int(level)
    await FallingEdge(dut.clk)
    dut.line.value = 1
    for _ in range(40):
        await RisingEdge(dut.clk)


def _noise(period: float) -> np.ndarray:
    """Runs of random length, from glitches to breaks."""
    lengths = [random.randint(1, random.choice((2, int(period), int(20 * period)))) for _ in range(300)]
    return np.repeat(np.arange(len(lengths)) % 2 == 0, lengths)


@cocotb.test
async def equals_model(dut: Any) -> None:
    generator = np.random.default_rng(cocotb.RANDOM_SEED)
    period = RATE.frequency / RATE.baud
    parts = []
    for drift in (0.0, 0.02, -0.02, 0.06, -0.06):
        parts += [character_line(generator, random.randbytes(20), period * (1 + drift), gap=random.choice((0.0, 3.0))), _noise(period)]
    line = np.concatenate([*parts, np.ones(int(12 * period), dtype=bool)])
    expected, errors = UartReceiver.model(RATE, line)
    assert len(expected) > 60 and errors > 10
    sink = StreamSink(dut, "o", random.Random(random.random()), 0.5)
    await _play(dut, line)
    assert bytes(sink.queue) == expected
    assert int(dut.framing_errors.value) == errors
    assert int(dut.overruns.value) == 0


@cocotb.test
async def bytes_not_taken_are_counted(dut: Any) -> None:
    """The byte that waits stays, and those that come meanwhile are lost."""
    generator = np.random.default_rng(cocotb.RANDOM_SEED)
    content = random.randbytes(6)
    dut.o__ready.value = 0
    await _play(dut, character_line(generator, content, RATE.frequency / RATE.baud))
    assert int(dut.overruns.value) == 5
    assert int(dut.o__valid.value) and int(dut.o__payload.value) == content[0]
