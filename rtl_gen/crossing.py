# SPDX-License-Identifier: Apache-2.0
"""A stream from one clock domain into another."""

from collections.abc import Sequence
from typing import Final, TypeVar

from amaranth.hdl import Module, Shape, ShapeLike, Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

Item = TypeVar("Item")

DEPTH: Final = 5


class StreamCrossing(wiring.Component):
    """An asynchronous FIFO of a few payloads: enough between clocks one of which is much slower.

    Parameters
    ----------
    shape : ShapeLike
        Of the payload.
    i_domain, o_domain : str
        Clock domains of the two ends.

    Ports
    -----
    i : In, stream of the shape
    o : Out, stream of the shape

    Latency 2 cycles of the one clock and 4 of the other, at the most; throughput two payloads in 5 cycles of the slower clock.
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
        m.submodules.fifo = queue = fifo.AsyncFIFOBuffered(
            width=Shape.cast(self.shape).width, depth=DEPTH, w_domain=self.i_domain, r_domain=self.o_domain
        )
        m.d.comb += [
            queue.w_data.eq(self.i.payload),
            queue.w_en.eq(self.i.valid),
            self.i.ready.eq(queue.w_rdy),
            Value.cast(self.o.payload).eq(queue.r_data),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.ready),
        ]
        return m
