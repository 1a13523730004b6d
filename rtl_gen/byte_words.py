# SPDX-License-Identifier: Apache-2.0
"""Between the bytes of a line and the 32-bit words of transfers."""

from collections.abc import Sequence
from typing import Final

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .packet import PACKET

BYTE: Final = data.StructLayout({"data": 8, "last": 1})
"""A byte of a transfer; ``last`` marks the transfer's last one."""


class WordGatherer(wiring.Component):
    """Makes words of bytes, lowest first.

    Bytes that are no whole word at the end of a transfer are filled up with zeros.

    Ports
    -----
    i : In, stream of `BYTE`
    o : Out, stream of `packet.PACKET`

    Latency 1 cycle after the word's last byte, throughput a byte a cycle.
    """

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(BYTE)), "o": Out(stream.Signature(PACKET))})

    @staticmethod
    def model(transfers: Sequence[bytes]) -> list[tuple[int, bool]]:
        """Words, and whether each is the last, of transfers of at least one byte."""
        return [
            (int.from_bytes(transfer[start : start + 4], "little"), start + 4 >= len(transfer))
            for transfer in transfers
            for start in range(0, len(transfer), 4)
        ]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        gathered = Signal(24)
        place = Signal(4, init=1)
        complete = self.i.payload.last | place[3]
        here = [self.i.payload.data & place[index].replicate(8) for index in range(4)]
        # Bytes that have not come yet are zero.
        word = gathered | Cat(*here[:3])
        m.d.comb += self.i.ready.eq(~complete | ~self.o.valid | self.o.ready)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [gathered.eq(word), place.eq(place.rotate_left(1))]
            with m.If(complete):
                m.d.sync += [
                    gathered.eq(0),
                    place.eq(1),
                    self.o.valid.eq(1),
                    self.o.payload.data.eq(Cat(word, here[3])),
                    self.o.payload.last.eq(self.i.payload.last),
                ]
        return m


class WordSplitter(wiring.Component):
    """Gives the bytes of words one by one, lowest first.

    Ports
    -----
    i : In, stream of `packet.PACKET`
    o : Out, stream of `BYTE`

    Latency 1 cycle, throughput a byte a cycle.
    """

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(PACKET)), "o": Out(stream.Signature(BYTE))})

    @staticmethod
    def model(words: Sequence[tuple[int, bool]]) -> list[tuple[int, bool]]:
        """Bytes, and whether each is the last, of words and whether each is the last."""
        return [(byte, last and index == 3) for word, last in words for index, byte in enumerate(word.to_bytes(4, "little"))]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word = Signal(32, reset_less=True)
        last = Signal(reset_less=True)
        left = Signal(4)
        final = ~left[1]
        m.d.comb += [
            self.o.valid.eq(left[0]),
            self.o.payload.data.eq(word),
            self.o.payload.last.eq(last & final),
            self.i.ready.eq(~left[0] | (final & self.o.ready)),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [word.eq(word[8:]), left.eq(left[1:])]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [word.eq(self.i.payload.data), last.eq(self.i.payload.last), left.eq(0b1111)]
        return m
