# SPDX-License-Identifier: Apache-2.0
"""Packets in and out of transfers, which `frenn.firmware.transfer` defines."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..firmware.protocol import Words
from ..firmware.transfer import COUNT_BITS, LAST, MARK, MARK_BITS, pieces
from .packet import PACKET
from .stream_register import StreamRegister

PIECES: Final = 16
"""Complete pieces that wait in a joiner at the most."""


class TransferSplitter(wiring.Component):
    """Takes packets out of transfers.

    What follows a word that should be a head and is none is dropped, up to the end of the transfer. A packet ends with its transfer at the
    latest, if need be with the transfer's last word: whatever a host sends, the next transfer begins anew.

    Ports
    -----
    i : In, stream of `packet.PACKET`
        ``last`` marks the last word of a transfer.
    o : Out, stream of `packet.PACKET`
        ``last`` marks the last word of a packet.

    No latency; a word a cycle, of which heads are words too.
    """

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(PACKET)), "o": Out(stream.Signature(PACKET))})

    @staticmethod
    def model(transfers: Sequence[Words]) -> list[Words]:
        """The packets, (words,) uint32, of transfers, (words,) uint32."""
        packets: list[Words] = []
        for transfer in transfers:
            parts: list[Words] = []
            place = 0
            while place + 1 < len(transfer):
                head = int(transfer[place])
                count = head & (1 << COUNT_BITS) - 1
                if head >> COUNT_BITS & (1 << MARK_BITS) - 1 != MARK or not count:
                    break
                parts.append(transfer[place + 1 : place + 1 + count])
                place += 1 + count
                if head & LAST or place >= len(transfer):
                    packets.append(np.concatenate(parts))
                    parts = []
            if parts:
                packets.append(np.concatenate([*parts, transfer[-1:]]))
        return packets

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word, last = self.i.payload.data, self.i.payload.last
        left = Signal(COUNT_BITS)
        # Whether the piece is a packet's last, the word the piece's last, and a packet begun that has not ended.
        ends, final, begun = Signal(), Signal(), Signal()
        taken = self.i.valid & self.i.ready
        m.d.comb += self.o.payload.data.eq(word)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += begun.eq(~self.o.payload.last)

        def pass_by() -> None:
            """Drop a word, unless it is the transfer's last and must end a packet."""
            needed = last & begun
            m.d.comb += [self.o.valid.eq(self.i.valid & needed), self.o.payload.last.eq(1), self.i.ready.eq(self.o.ready | ~needed)]

        with m.FSM():
            with m.State("HEAD"):
                pass_by()
                m.d.sync += [left.eq(word), final.eq(word[:COUNT_BITS] == 1), ends.eq(word[-1])]
                with m.If(taken & ~last):
                    m.next = "WORDS"
                    with m.If((word[COUNT_BITS:-1] != MARK) | (word[:COUNT_BITS] == 0)):
                        m.next = "DROP"
            with m.State("WORDS"):
                m.d.comb += [
                    self.o.valid.eq(self.i.valid),
                    self.o.payload.last.eq(last | (final & ends)),
                    self.i.ready.eq(self.o.ready),
                ]
                with m.If(taken):
                    m.d.sync += [left.eq(left - 1), final.eq(left == 2)]
                    with m.If(final | last):
                        m.next = "HEAD"
            with m.State("DROP"):
                pass_by()
                with m.If(taken & last):
                    m.next = "HEAD"
        return m


class TransferJoiner(wiring.Component):
    """Puts packets into transfers: as many as are complete when the last word of the one before goes out.

    While the other end is slow, packets gather and transfers grow; where it waits, a packet goes at once.

    Parameters
    ----------
    words : int
        Words that it can hold, at least 4. A packet of more than half as many goes in several pieces.

    Ports
    -----
    i : In, stream of `packet.PACKET`
        ``last`` marks the last word of a packet.
    o : Out, stream of `packet.PACKET`
        ``last`` marks the last word of a transfer.

    A head comes 4 cycles after its piece's last word at the earliest; a word a cycle, of which heads are words too.
    """

    def __init__(self, words: int) -> None:
        self.words = words
        super().__init__({"i": In(stream.Signature(PACKET)), "o": Out(stream.Signature(PACKET))})

    def model(self, packets: Sequence[Words]) -> Words:
        """The words of all transfers that carry packets: where one ends and the next begins depends on when they are taken."""
        return np.concatenate([piece for packet in packets for piece in pieces(packet, self.words // 2)])

    def elaborate(self, platform: object) -> Module:
        m = Module()
        most = self.words // 2
        m.submodules.content = content = SyncFIFOBuffered(width=32, depth=self.words)
        m.submodules.heads = heads = SyncFIFOBuffered(width=COUNT_BITS + 1, depth=PIECES)
        m.submodules.out = out = StreamRegister(PACKET)
        wiring.connect(m, out.o, wiring.flipped(self.o))

        count = Signal(range(most + 1), init=1)
        full = Signal(init=most == 1)
        piece = self.i.payload.last | full
        taken = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq(content.w_rdy & heads.w_rdy),
            content.w_data.eq(self.i.payload.data),
            content.w_en.eq(taken),
            heads.w_data.eq(Cat(count | Const(0, COUNT_BITS), self.i.payload.last)),
            heads.w_en.eq(taken & piece),
        ]
        with m.If(taken):
            m.d.sync += [count.eq(count + 1), full.eq(count == most - 1)]
            with m.If(piece):
                m.d.sync += [count.eq(1), full.eq(most == 1)]

        left = Signal(COUNT_BITS)
        ends, final = Signal(), Signal()
        gone = out.i.valid & out.i.ready
        with m.FSM():
            with m.State("HEAD"):
                m.d.comb += [
                    out.i.valid.eq(heads.r_rdy),
                    out.i.payload.data.eq(Cat(heads.r_data[:COUNT_BITS], Const(MARK, MARK_BITS), heads.r_data[-1])),
                    heads.r_en.eq(out.i.ready),
                ]
                m.d.sync += [left.eq(heads.r_data), final.eq(heads.r_data[:COUNT_BITS] == 1), ends.eq(heads.r_data[-1])]
                with m.If(gone):
                    m.next = "WORDS"
            with m.State("WORDS"):
                m.d.comb += [
                    out.i.valid.eq(content.r_rdy),
                    out.i.payload.data.eq(content.r_data),
                    out.i.payload.last.eq(final & ends & ~heads.r_rdy),
                    content.r_en.eq(out.i.ready),
                ]
                with m.If(gone):
                    m.d.sync += [left.eq(left - 1), final.eq(left == 2)]
                    with m.If(final):
                        m.next = "HEAD"
        return m
