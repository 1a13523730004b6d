# SPDX-License-Identifier: Apache-2.0
"""Bench of `AxiStreams` between the sources and sinks of `cocotbext.axi`: packets become words and beats again, across two clocks."""

import itertools
import os
import random
from collections.abc import Iterator
from typing import Any

import cocotb
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from ...rtl_gen.axi_stream import AxiStreams, axi_ports, join_axi

PERIODS = ((8, 16), (4, 10), (10, 7), (9, 9))
"""Nanoseconds of the ports' clock, and of the words'."""
PAUSES = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.7), (0.4, 0.4))


class AxiLoop(wiring.Component):
    """`AxiStreams` whose words come back: packets leave as they came.

    Parameters
    ----------
    width : int

    Ports
    -----
    s_axis_*, m_axis_*
        See `AxiStreams`; in the domain ``axi``.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(axi_ports(width))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.streams = streams = AxiStreams(self.width, domain="axi")
        join_axi(m, self, streams)
        connect(m, streams.inward, streams.outward)
        return m


def pauses(share: float) -> Iterator[bool]:
    """Cycles in which an end holds still: single ones, and long runs."""
    generator = random.Random(random.getrandbits(32))
    while True:
        length = generator.choice((1, 1, 1, 40))
        yield from itertools.repeat(generator.random() < share, length)


async def open_ends(dut: Any, clock: Any, reset: Any, share: tuple[float, float]) -> tuple[AxiStreamSource, AxiStreamSink]:
    """A source and a sink, which hold still in a share of the cycles, on the ports of `AxiStreams`."""
    source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), clock, reset)
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), clock, reset)
    for end, part in zip((source, sink), share, strict=True):
        end.log.setLevel("WARNING")
        if part:
            end.set_pause_generator(pauses(part))
    return source, sink


async def start_clocks(dut: Any, ports: int, words: int) -> None:
    """Start both clocks, of so many nanoseconds, that drift past each other, and return after the reset."""
    Clock(dut.axi_clk, ports * 1000 + 2 * random.randrange(7), unit="ps").start()
    Clock(dut.clk, words * 1000 + 2 * random.randrange(7), unit="ps").start()
    dut.rst.value = dut.axi_rst.value = 1
    for clock in (dut.clk, dut.axi_clk):
        await ClockCycles(clock, 4)
    dut.rst.value = dut.axi_rst.value = 0
    await ClockCycles(dut.clk, 8)


@cocotb.test
@cocotb.parametrize(periods=PERIODS, share=PAUSES)
async def packets_come_back(dut: Any, periods: tuple[int, int], share: tuple[float, float]) -> None:
    source, sink = await open_ends(dut, dut.axi_clk, dut.axi_rst, share)
    await start_clocks(dut, *periods)
    width = int(os.environ["WIDTH"]) // 8
    packets = [random.randbytes(4 * random.choice((1, 2, width // 4, random.randint(1, 200)))) for _ in range(40)]
    begin = get_sim_time("ns")
    for packet in packets:
        source.send_nowait(AxiStreamFrame(packet))
    for packet in packets:
        frame = await with_timeout(sink.recv(compact=False), 1, "ms")
        # Every beat is full but the last, in which the first bytes are kept.
        assert len(frame.tkeep) == -(-len(packet) // width) * width
        assert frame.tkeep == [1] * len(packet) + [0] * (len(frame.tkeep) - len(packet))
        assert bytes(frame.tdata[: len(packet)]) == packet
    if share == (0.0, 0.0) and 2 * periods[0] <= periods[1]:
        words = sum(len(packet) // 4 for packet in packets)
        cycles = (get_sim_time("ns") - begin) / periods[1]
        assert cycles <= words + 24, f"{words} words took {cycles} cycles"
    for _ in range(40):
        await RisingEdge(dut.axi_clk)
    assert sink.empty()
