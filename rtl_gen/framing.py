# SPDX-License-Identifier: Apache-2.0
"""Frames of the byte link: bytes to words and back; `frenn.firmware.framing` says what a frame is."""

from collections.abc import Iterable
from typing import Final

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from ..firmware.framing import ESCAPE, ESCAPE_XOR, FLAG, Deframer, encode
from .packet import PACKET

FRAME_WORD: Final = data.StructLayout({"data": 32, "first": 1, "last": 1})
"""One word of a frame's header and payload; ``first`` marks the header, ``last`` the last word of a frame whose CRC was good."""


class FrameDecoder(wiring.Component):
    """Finds frames in a stream of bytes, whatever else is in it.

    A word is passed on when the byte after the word that follows it has come, so that the CRC is never taken for payload. A
    frame that turns out bad, or too long, just ends: its words have come out without ``last``, and the next that comes is a ``first``.
    Frames of less than a header and a CRC leave no trace.

    Parameters
    ----------
    words : int
        Words of the longest frame, header and payload, at least 1.

    Ports
    -----
    i : In, stream of bytes
    o : Out, stream of `FRAME_WORD`

    Latency 1 cycle from a frame's closing flag to its last word; one byte a cycle.
    """

    def __init__(self, words: int) -> None:
        self.words = words
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(FRAME_WORD))})

    @staticmethod
    def model(text: bytes, words: int) -> list[list[int]]:
        """The words, header first, of each good frame in bytes that end with a flag."""
        contents = Deframer(words - 1).feed(text)
        return [[int.from_bytes(content[at : at + 4], "little") for at in range(0, len(content), 4)] for content in contents]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC(8).create()
        # Two words: the older one is payload if more follows, and the newer one the CRC if not.
        window = Signal(64, reset_less=True)
        fill = Signal(range(9))
        passed = Signal(range(self.words + 1))
        escaped = Signal()
        hunting = Signal(init=1)
        room = Signal()

        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            room.eq(passed != self.words),
            crc.data.eq(self.i.payload ^ Mux(escaped, ESCAPE_XOR, 0)),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            with m.If(self.i.payload == FLAG):
                m.d.comb += crc.start.eq(1)
                m.d.sync += [
                    self.o.valid.eq(~hunting & ~escaped & (fill == 8) & room & crc.match_detected),
                    hunting.eq(0),
                    escaped.eq(0),
                    fill.eq(0),
                    passed.eq(0),
                ]
            with m.Elif(~hunting & ~escaped & (self.i.payload == ESCAPE)):
                m.d.sync += escaped.eq(1)
            with m.Elif(~hunting):
                m.d.comb += crc.valid.eq(1)
                m.d.sync += [
                    escaped.eq(0),
                    window.eq(Cat(window[8:], crc.data)),
                    fill.eq(Mux(fill == 8, 5, fill + 1)),
                ]
                with m.If(fill == 8):
                    m.d.sync += [self.o.valid.eq(room), hunting.eq(~room), passed.eq(passed + room)]
            with m.If(fill == 8):
                m.d.sync += self.o.payload.eq(Cat(window[:32], passed == 0, self.i.payload == FLAG))
        return m


class FrameEncoder(wiring.Component):
    """Makes frames: adds the CRC and the flags, and escapes.

    Ports
    -----
    i : In, stream of `PACKET`
        Header and payload words; ``last`` marks a frame's last word.
    o : Out, stream of bytes

    Latency 1 cycle from a frame's first word to its opening flag; one byte a cycle without a gap, within a frame and
    between frames, if a word is offered 4 cycles after the one before it was taken, or 10 after a last one.
    """

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(PACKET)), "o": Out(stream.Signature(8))})

    @staticmethod
    def model(frames: Iterable[Iterable[int]]) -> bytes:
        """The bytes of frames, each a list of words, header first."""
        return b"".join(encode(b"".join(word.to_bytes(4, "little") for word in words)) for words in frames)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC(8).create()
        word = Signal(32, reset_less=True)
        final = Signal(reset_less=True)
        index = Signal(2)
        held = Signal(8, reset_less=True)
        holding = Signal()
        free, step, load = Signal(), Signal(), Signal()
        plain, flag = Signal(), Signal()
        byte = Signal(8)

        m.d.comb += [
            free.eq(~self.o.valid | self.o.ready),
            step.eq(free & ~holding),
            crc.data.eq(word[:8]),
            load.eq(self.i.valid & self.i.ready),
        ]
        with m.FSM():
            with m.State("OPEN"):
                m.d.comb += [self.i.ready.eq(step), flag.eq(load), crc.start.eq(1)]
                with m.If(load):
                    m.next = "WORD"
            with m.State("WORD"):
                m.d.comb += [byte.eq(word[:8]), plain.eq(step), crc.valid.eq(step)]
                with m.If(step):
                    m.d.sync += [word.eq(word >> 8), index.eq(index + 1)]
                    with m.If(index == 3):
                        m.d.comb += self.i.ready.eq(~final)
                        with m.If(final):
                            m.next = "CRC"
                        with m.Elif(~self.i.valid):
                            m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(load):
                    m.next = "WORD"
            with m.State("CRC"):
                m.d.comb += [byte.eq(crc.crc.word_select(index, 8)), plain.eq(step)]
                with m.If(step):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == 3):
                        m.next = "CLOSE"
            with m.State("CLOSE"):
                m.d.comb += flag.eq(step)
                with m.If(step):
                    m.next = "OPEN"
        with m.If(load):
            m.d.sync += [word.eq(self.i.payload.data), final.eq(self.i.payload.last)]

        with m.If(free):
            m.d.sync += self.o.valid.eq(holding | plain | flag)
            with m.If(holding):
                m.d.sync += [self.o.payload.eq(held), holding.eq(0)]
            with m.Elif(flag):
                m.d.sync += self.o.payload.eq(FLAG)
            with m.Elif((byte == FLAG) | (byte == ESCAPE)):
                m.d.sync += [self.o.payload.eq(ESCAPE), held.eq(byte ^ ESCAPE_XOR), holding.eq(plain)]
            with m.Else():
                m.d.sync += self.o.payload.eq(byte)
        return m
