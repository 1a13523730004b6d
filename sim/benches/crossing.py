# SPDX-License-Identifier: Apache-2.0
"""Bench of the crossings, from the domain ``link`` into ``sync`` or back, under clocks of unlike periods that drift past each other."""

import os
import random
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from ...rtl_gen.crossing import StreamCrossing
from .streams import StreamSink, StreamSource

PERIODS = ((10, 10), (10, 7), (7, 10), (40, 3), (3, 40))
"""Nanoseconds of the link's and of the other clock."""


class _Clocked:
    """A device under test whose ``clk`` is one of its clocks."""

    def __init__(self, dut: Any, clock: Any) -> None:
        self._dut = dut
        self.clk = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dut, name)


@cocotb.test
@cocotb.parametrize(periods=PERIODS)
async def equals_model(dut: Any, periods: tuple[int, int]) -> None:
    into = os.environ["INTO"] == "sync"
    clocks = {"link": dut.link_clk, "sync": dut.clk}
    for clock, period in zip(clocks.values(), periods, strict=True):
        Clock(clock, period * 1000 + 2 * random.randrange(7), unit="ps").start()
    dut.rst.value = dut.link_rst.value = 1
    for clock in clocks.values():
        for _ in range(3):
            await RisingEdge(clock)
    dut.rst.value = dut.link_rst.value = 0
    generator = random.Random(random.getrandbits(32))
    ends = (clocks["link"], clocks["sync"]) if into else (clocks["sync"], clocks["link"])
    source = StreamSource(_Clocked(dut, ends[0]), "i", generator, pause=random.choice((0.0, 0.5)))
    sink = StreamSink(_Clocked(dut, ends[1]), "o", generator, pause=random.choice((0.0, 0.5)))
    payloads = [generator.getrandbits(33) for _ in range(200)]
    source.send(payloads)
    assert await sink.receive(len(payloads)) == StreamCrossing.model(payloads)
    for _ in range(20):
        await RisingEdge(ends[1])
    assert not sink.queue
