# SPDX-License-Identifier: Apache-2.0
"""Registers in a stream, both ways."""

from collections.abc import Sequence
from typing import TypeVar

from amaranth.hdl import Module, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .pipeline import plain_register

Item = TypeVar("Item")


class StreamBuffer(wiring.Component):
    """What `StreamRegister` and `HalfRegister` have in common.

    Parameters
    ----------
    shape : ShapeLike
        Of the payload.

    Ports
    -----
    i : In, stream of the shape
    o : Out, stream of the shape
    """

    def __init__(self, shape: ShapeLike) -> None:
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    @staticmethod
    def model(payloads: Sequence[Item]) -> list[Item]:
        """What leaves: what came."""
        return list(payloads)


class StreamRegister(StreamBuffer):
    """A buffer of two payloads, so that neither ``payload`` and ``valid`` nor ``ready`` pass through logic; see `StreamBuffer`.

    Latency 1 cycle, throughput one payload a cycle.
    """

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal(self.shape, reset_less=True)
        holding = Signal()
        payload = plain_register(m, self.o.payload, "payload")
        m.d.comb += self.i.ready.eq(~holding)
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += [self.o.valid.eq(holding | self.i.valid), holding.eq(0)]
            with m.If(holding):
                m.d.sync += payload.eq(held)
            with m.Else():
                m.d.sync += payload.eq(self.i.payload)
        with m.Elif(self.i.valid):
            m.d.sync += holding.eq(1)
        with m.If(~holding):
            m.d.sync += held.eq(self.i.payload)
        return m


class HalfRegister(StreamBuffer):
    """A buffer of one payload for a reader whose ready comes late: it reaches no register but that of ``valid``; see `StreamBuffer`.

    Latency 1 cycle, throughput one payload in two cycles.
    """

    def elaborate(self, platform: object) -> Module:
        m = Module()
        payload = plain_register(m, self.o.payload, "payload")
        m.d.comb += self.i.ready.eq(~self.o.valid)
        with m.If(self.o.valid):
            m.d.sync += self.o.valid.eq(~self.o.ready)
        with m.Else():
            m.d.sync += [self.o.valid.eq(self.i.valid), payload.eq(self.i.payload)]
        return m
