# SPDX-License-Identifier: Apache-2.0
"""The receive buffer of a byte link."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .packet import PACKET


class ReceiveBuffer(wiring.Component):
    """A ring of words that are passed on once they are committed.

    Parameters
    ----------
    words : int
        A power of two.

    Ports
    -----
    begin : In
        Forget the words written since the last commit.
    write, word : In, `PACKET`
        Write a word; not in the cycle of ``begin``, ``commit`` or ``clear``.
    commit : In
        Pass on what has been written.
    clear : In
        Forget everything. If the packet under way out of the buffer is torn by it, a word 0 with ``last`` ends it.
    overflow : Out
        A word since ``begin`` found no room; nothing may be committed.
    free : Out
        Words that would find room after the committed ones.
    taken : Out
        Low bits of the count of words read since reset.
    o : Out, stream of `PACKET`
    started : Out
        The first word of a packet was taken from ``o``.
    clearing : Out
        What comes out of ``o`` still belongs to the time before ``clear``.

    Latency 2 cycles from ``commit`` to ``o``; one word a cycle.
    """

    def __init__(self, words: int) -> None:
        self.words = words
        super().__init__(
            {
                "begin": In(1),
                "write": In(1),
                "word": In(PACKET),
                "commit": In(1),
                "clear": In(1),
                "overflow": Out(1),
                "free": Out(range(words + 1)),
                "taken": Out(range(2 * words)),
                "o": Out(stream.Signature(PACKET)),
                "started": Out(1),
                "clearing": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=PACKET, depth=self.words, init=[])
        write_port, read_port = memory.write_port(), memory.read_port()
        # Pointers have one bit more than an address, to tell full from empty.
        written, committed, read = (Signal(range(2 * self.words), name=name) for name in ("written", "committed", "read"))
        used = Signal(range(2 * self.words))
        full = Signal()
        m.d.comb += [
            used.eq(written - read),
            full.eq(used == self.words),
            self.free.eq(self.words - (committed - read)[: len(read)]),
            self.taken.eq(read),
            write_port.addr.eq(written),
            write_port.data.eq(self.word),
            write_port.en.eq(self.write & ~full),
        ]
        with m.If(self.begin):
            m.d.sync += [written.eq(committed), self.overflow.eq(0)]
        with m.If(self.write):
            m.d.sync += self.overflow.eq(self.overflow | full)
            with m.If(~full):
                m.d.sync += written.eq(written + 1)
        with m.If(self.commit):
            m.d.sync += committed.eq(written)

        loaded, ending, inside = Signal(), Signal(), Signal()
        fetch, taken = Signal(), Signal()
        m.d.comb += [
            fetch.eq((committed != read) & ~self.clear & ~self.clearing & (~loaded | self.o.ready)),
            read_port.addr.eq(read),
            read_port.en.eq(fetch),
            ending.eq(self.clearing & ~loaded & inside),
            self.o.valid.eq(loaded | ending),
            taken.eq(self.o.valid & self.o.ready),
            self.started.eq(taken & ~inside),
        ]
        with m.If(ending):
            m.d.comb += self.o.payload.last.eq(1)
        with m.Else():
            m.d.comb += self.o.payload.eq(read_port.data)
        with m.If(fetch):
            m.d.sync += [read.eq(read + 1), loaded.eq(1)]
        with m.Elif(self.o.ready):
            m.d.sync += loaded.eq(0)
        with m.If(taken):
            m.d.sync += inside.eq(~self.o.payload.last)
        with m.If(self.clear):
            m.d.sync += [written.eq(read), committed.eq(read), self.clearing.eq(1)]
        with m.Elif(~loaded & ~inside):
            m.d.sync += self.clearing.eq(0)
        return m
