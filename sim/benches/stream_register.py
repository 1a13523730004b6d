# SPDX-License-Identifier: Apache-2.0
"""Bench of `StreamRegister` and `HalfRegister`: payloads through them at every mixture of pauses, and as fast as may be without any."""

import os
import random
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

from ...rtl_gen.stream_register import HalfRegister, StreamBuffer, StreamRegister
from .streams import StreamSink, StreamSource, start

COMPONENT: type[StreamBuffer] = {"StreamRegister": StreamRegister, "HalfRegister": HalfRegister}[os.environ["COMPONENT"]]
# For each payload.
CYCLES = 1 if COMPONENT is StreamRegister else 2


@cocotb.test
@cocotb.parametrize(pauses=((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5), (0.1, 0.9)))
async def equals_model(dut: Any, pauses: tuple[float, float]) -> None:
    generator = random.Random(random.getrandbits(32))
    source = StreamSource(dut, "i", generator, pause=pauses[0])
    sink = StreamSink(dut, "o", generator, pause=pauses[1])
    await start(dut)
    payloads = [generator.getrandbits(17) for _ in range(300)]
    cycles = 0

    async def count() -> None:
        nonlocal cycles
        while True:
            await RisingEdge(dut.clk)
            cycles += 1

    cocotb.start_soon(count())
    source.send(payloads)
    assert await sink.receive(len(payloads)) == COMPONENT.model(payloads)
    assert any(pauses) or CYCLES * len(payloads) <= cycles + CYCLES <= CYCLES * len(payloads) + 5, (
        f"{len(payloads)} payloads took {cycles} cycles"
    )
