# SPDX-License-Identifier: Apache-2.0
"""A stream from one clock domain into another."""

from collections.abc import Sequence
from typing import Final, TypeVar

from amaranth.hdl import Module, Shape, ShapeLike, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import AsyncFIFO
from amaranth.lib.wiring import In, Out

CROSSING_DEPTH: Final = 32
"""Payloads that wait between two clocks; more than the crossing's delay, so that it holds up neither side."""

Item = TypeVar("Item")


class StreamCrossing(wiring.Component):
    """Hands payloads over one by one: a toggle tells the other side that one waits, another that it was taken.

    The payload stands still from its toggle until it was taken, so it needs no synchroniser. An asynchronous FIFO would carry more,
    but its pointers are what limits the clock of a large engine; the engine takes a payload in far less time than a line brings it.

    Parameters
    ----------
    shape : ShapeLike
        Of the payload.
    i_domain, o_domain : str
        Clock domains of the two ends; both are reset together.

    Ports
    -----
    i : In, stream of the shape
    o : Out, stream of the shape

    Latency a cycle of the one clock and 2 to 3 of the other; a payload in 4 cycles of each clock at the least.
    """

    def __init__(self, shape: ShapeLike, *, i_domain: str, o_domain: str) -> None:
        self.shape = shape
        self.i_domain = i_domain
        self.o_domain = o_domain
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    @staticmethod
    def model(payloads: Sequence[Item]) -> list[Item]:
        """What leaves: what came, in its order."""
        return list(payloads)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal(self.shape, reset_less=True)
        sent, arrived, taken, returned = Signal(), Signal(), Signal(), Signal()
        m.submodules.there = FFSynchronizer(sent, arrived, o_domain=self.o_domain)
        m.submodules.back = FFSynchronizer(taken, returned, o_domain=self.i_domain)
        m.d.comb += [
            self.i.ready.eq(sent == returned),
            self.o.valid.eq(arrived != taken),
            self.o.payload.eq(held),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d[self.i_domain] += [held.eq(self.i.payload), sent.eq(~sent)]
        with m.If(self.o.valid & self.o.ready):
            m.d[self.o_domain] += taken.eq(~taken)
        return m


class FifoCrossing(StreamCrossing):
    """The same by a FIFO, for streams that move a payload in every cycle.

    Latency a cycle of the one clock and 3 of the other; throughput a payload a cycle of the slower one.
    """

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = Shape.cast(self.shape).width
        m.submodules.fifo = fifo = AsyncFIFO(width=width, depth=CROSSING_DEPTH, w_domain=self.i_domain, r_domain=self.o_domain)
        m.d.comb += [
            fifo.w_data.eq(Value.cast(self.i.payload)),
            fifo.w_en.eq(self.i.valid),
            self.i.ready.eq(fifo.w_rdy),
            Value.cast(self.o.payload).eq(fifo.r_data),
            self.o.valid.eq(fifo.r_rdy),
            fifo.r_en.eq(self.o.ready),
        ]
        return m
