# SPDX-License-Identifier: Apache-2.0
"""The inputs of samples out of the words that carry them."""

from typing import Final

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from numpy import int64
from numpy.typing import NDArray

from ..firmware.protocol import COUNT_BITS, Status, Words, unpack_inputs
from .event_list import INDEX_BITS
from .packet import PACKET
from .pipeline import plain_register

UNIT_BITS: Final = 16
"""Bits of the widest unit."""


class InputReader(wiring.Component):
    """Gives the inputs of a sample one by one; `frenn.firmware.protocol` says how words carry them.

    Parameters
    ----------
    bits : int
        Of the widest input. What a unit has above is passed over.

    Ports
    -----
    begin : In
        The next word is the first of a sample; not while a sample is read.
    inputs, wide, sparse : In
        Inputs of a sample, whether units have 16 bits, and whether zeros come as runs; stable from ``begin`` to the sample's end.
    i : In, stream of `packet.PACKET`
        A word is taken with its last unit, or when the sample ends in it.
    push, value : Out
        The next input.
    done, short, beyond : Out
        The sample is over, until ``begin`` comes: it was good, its packet has ended before it did (or a sample has no inputs), or a
        run went on beyond the inputs.
    ended : Out
        With any of them: the last word that was taken was its packet's last.

    Latency 1 cycle. `unit_cycles` for a unit of a word, one for a zero that a count tells of or for a count of none, and two at the
    end.
    """

    unit_cycles: Final = 2
    """Cycles of a unit of a word."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        super().__init__(
            {
                "begin": In(1),
                "inputs": In(INDEX_BITS),
                "wide": In(1),
                "sparse": In(1),
                "i": In(stream.Signature(PACKET)),
                "push": Out(1),
                "value": Out(bits),
                "done": Out(1),
                "short": Out(1),
                "beyond": Out(1),
                "ended": Out(1),
            }
        )

    @staticmethod
    def model(words: Words, inputs: int, wide: bool, sparse: bool) -> tuple[NDArray[int64], int, Status]:
        """Inputs that are pushed, words that are taken, and how it ends."""
        return unpack_inputs(words, inputs, wide, sparse)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word, last = self.i.payload.data, self.i.payload.last
        part = Signal(2, reset_less=True)
        left = Signal(INDEX_BITS, reset_less=True)
        # Whether the next input is the last of the sample, and the unit the last of its word.
        final, final_part = Signal(reset_less=True), Signal(reset_less=True)
        unit = Signal(min(max(self.bits, COUNT_BITS), UNIT_BITS), reset_less=True)
        # The unit is a count of zeros; so many are still to be pushed; more than inputs are left.
        counting, too_many = Signal(reset_less=True), Signal(reset_less=True)
        zeros = Signal(COUNT_BITS, reset_less=True)
        # The unit before was zero; zeros are still to be pushed.
        none, some = Signal(reset_less=True), Signal(reset_less=True)
        ended = plain_register(m, self.ended, "ended_register")
        missing = Signal(reset_less=True)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += ended.eq(last)
        with m.If(self.push):
            m.d.sync += [left.eq(left - 1), final.eq(~left[2:].any() & ~left[:2].all())]
        with m.FSM():
            with m.State("IDLE"), m.If(self.begin):
                m.next = "LOAD"
            with m.State("LOAD"):
                chosen = Signal.like(unit)
                m.d.comb += chosen.eq(Mux(self.wide, word.word_select(part[:1], 16), word.word_select(part, 8)))
                m.d.sync += unit.eq(chosen)
                with m.If(missing | (ended & (part == 0))):
                    m.d.sync += missing.eq(1)
                    m.next = "TELL"
                with m.Elif(self.i.valid):
                    m.d.comb += self.i.ready.eq(final_part)
                    m.d.sync += [
                        part.eq(Mux(final_part, 0, part + 1)),
                        final_part.eq(Mux(self.wide, ~part[0], part == 2)),
                        counting.eq(~counting & self.sparse & none),
                    ]
                    m.next = "ACT"
            with m.State("ACT"):
                m.d.comb += [self.push.eq(~counting), self.value.eq(unit)]
                m.d.sync += [
                    none.eq(unit == 0),
                    zeros.eq(unit),
                    some.eq(unit[:COUNT_BITS] != 0),
                    too_many.eq(counting & (unit[:COUNT_BITS] > left)),
                ]
                m.next = "LOAD"
                with m.If(counting):
                    m.next = "ZEROS"
                with m.Elif(final):
                    m.next = "END"
            with m.State("ZEROS"):
                m.d.comb += self.push.eq(some)
                m.d.sync += zeros.eq(zeros - 1)
                with m.If(some & final):
                    m.next = "END"
                with m.Elif(~some | (zeros == 1)):
                    m.next = "LOAD"
            with m.State("END"):
                m.d.comb += self.i.ready.eq(part != 0)
                with m.If(self.i.valid | (part == 0)):
                    m.next = "TELL"
            with m.State("TELL"):
                m.d.comb += [self.short.eq(missing), self.beyond.eq(too_many), self.done.eq(~missing & ~too_many)]
                with m.If(self.begin):
                    m.next = "LOAD"
        with m.If(self.begin):
            m.d.sync += [
                left.eq(self.inputs),
                final.eq(~self.inputs[1:].any()),
                missing.eq(~self.inputs.any()),
                *(flag.eq(0) for flag in (part, final_part, counting, none, too_many, ended)),
            ]
        return m
