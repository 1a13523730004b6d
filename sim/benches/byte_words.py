# SPDX-License-Identifier: Apache-2.0
"""Bench of `WordGatherer` and `WordSplitter`, under pauses at both ends and without any."""

import os
import random
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles
from cocotb.utils import get_sim_time

from ...rtl_gen.byte_words import BYTE, WordGatherer, WordSplitter
from ...rtl_gen.packet import PACKET
from .streams import StreamSink, StreamSource, start

PAUSES = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4))
PERIOD = 10


@cocotb.test
@cocotb.parametrize(pauses=PAUSES)
async def equals_model(dut: Any, pauses: tuple[float, float]) -> None:
    await start(dut, PERIOD)
    source = StreamSource(dut, "i", random.Random(random.getrandbits(32)), pauses[0])
    sink = StreamSink(dut, "o", random.Random(random.getrandbits(32)), pauses[1])
    if os.environ["BLOCK"] == "gatherer":
        transfers = [random.randbytes(random.choice((1, 2, 3, 4, random.randint(5, 40)))) for _ in range(40)]
        coming = [(byte, place == len(transfer) - 1) for transfer in transfers for place, byte in enumerate(transfer)]
        leaving = WordGatherer.model(transfers)
        shapes = BYTE, PACKET
    else:
        coming = [(random.getrandbits(32), random.random() < 0.3) for _ in range(200)]
        leaving = WordSplitter.model(coming)
        shapes = PACKET, BYTE
    items, expected = (
        [shape.const({"data": value, "last": last}).as_bits() for value, last in run]
        for shape, run in zip(shapes, (coming, leaving), strict=True)
    )
    begin = get_sim_time("ns")
    source.send(items)
    assert await sink.receive(len(expected)) == expected
    if pauses == (0.0, 0.0):
        assert get_sim_time("ns") - begin <= PERIOD * (max(len(items), len(expected)) + 4), "a byte in every cycle"
    await ClockCycles(dut.clk, 20)
    assert not sink.queue
