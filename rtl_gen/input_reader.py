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
        The next word is the first of a sample.
    inputs, wide, sparse : In
        Inputs of a sample, whether units have 16 bits, and whether zeros come as runs; stable from ``begin`` to the sample's end.
    i : In, stream of `packet.PACKET`
        A word is taken with its last unit, or with the sample's last input.
    push, value : Out
        The next input.
    done, short, beyond : Out
        With the word that is taken the sample ends, its packet ends before it does, or a run goes on beyond the inputs. In each case
        ``begin`` comes next.

    No latency. An input a cycle; a zero of a sparse sample that stands alone takes two.
    """

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
        # Whether the next input is the last of the sample, the unit the last of its word, and the sample has none.
        final, final_part, none = (Signal(reset_less=True, name=name) for name in ("final", "final_part", "none"))
        # The unit is a count of zeros, of which so many have been pushed with this one.
        counting = Signal(reset_less=True)
        zeros = Signal(COUNT_BITS, reset_less=True)
        unit, count = Signal(min(max(self.bits, COUNT_BITS), UNIT_BITS)), Signal(COUNT_BITS)
        # There are no more zeros to count; the unit has been used up; the input is the last one.
        empty, turned, ended = Signal(), Signal(), Signal()
        m.d.comb += [
            unit.eq(Mux(self.wide, word.word_select(part[:1], 16), word.word_select(part, 8))),
            count.eq(unit),
            empty.eq(counting & (count == 0)),
            turned.eq(~counting | empty | (count == zeros)),
            self.push.eq(self.i.valid & ~none & ~empty),
            self.value.eq(Mux(counting, 0, unit)),
            ended.eq(final & ~empty),
            self.i.ready.eq(ended | (turned & final_part)),
            self.done.eq(self.i.valid & ended & turned & ~none),
            self.beyond.eq(self.i.valid & ended & ~turned),
            self.short.eq(self.i.valid & Mux(ended, none, turned & final_part & last)),
        ]
        with m.If(self.begin):
            m.d.sync += [left.eq(self.inputs), final.eq(~self.inputs[1:].any()), none.eq(~self.inputs.any())]
            m.d.sync += [part.eq(0), final_part.eq(0), counting.eq(0)]
        with m.Elif(self.i.valid):
            with m.If(self.push):
                m.d.sync += [left.eq(left - 1), final.eq(~left[2:].any() & ~left[:2].all())]
            m.d.sync += zeros.eq(Mux(counting, zeros + 1, 1))
            with m.If(turned):
                m.d.sync += [
                    part.eq(part + 1),
                    final_part.eq(Mux(self.wide, ~part[0], part == 2)),
                    counting.eq(self.sparse & (unit == 0) & ~counting),
                ]
        return m
