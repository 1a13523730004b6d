# SPDX-License-Identifier: Apache-2.0
"""The serial line: bytes to 8N1 characters and back, at a baud rate that need not divide the clock."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from ..firmware.errors import FrennError

CHARACTER_BITS: Final = 10
"""Start bit, eight data bits from the lowest on, stop bit."""

COUNT_BITS: Final = 16
"""Bits of the error counters, which stop at their largest value."""


@dataclass(frozen=True)
class BaudRate:
    """How a bit is timed: a phase of ``width`` bits grows by ``step`` a cycle, and a bit is over when it overflows.

    Parameters
    ----------
    frequency : int
        Of the clock, in Hz.
    baud : int
        Bits a second; a bit takes 4 to 65536 cycles, and no whole number of them.

    Attributes
    ----------
    width, step : int
        The rate is off by no more than 1 in 4096.

    Raises
    ------
    FrennError
        If a bit is too short or too long.
    """

    frequency: int
    baud: int

    def __post_init__(self) -> None:
        if not 4 * self.baud <= self.frequency <= 65536 * self.baud or self.baud < 1:
            raise FrennError(
                f"serial line: {self.baud} baud at a clock of {self.frequency} Hz; legal are {max(1, -(-self.frequency // 65536))} to "
                f"{self.frequency // 4} baud"
            )

    @property
    def width(self) -> int:
        return (self.frequency // self.baud).bit_length() + 11

    @property
    def step(self) -> int:
        return ((self.baud << self.width) + self.frequency // 2) // self.frequency


class UartReceiver(wiring.Component):
    """Finds characters on a serial line.

    A character starts when the line falls, and is sampled in the middle of each bit, to the cycle. A start bit that is over
    by its middle was a glitch, and leaves no trace. A character whose stop bit is low is dropped, and the line must have risen before
    the next one; so it must after reset. The next character may start from the middle of the stop bit on: with 8 cycles a bit or more
    the sender may be 3 % faster or slower, with 4 cycles 2 %.

    The line cannot wait. Whoever takes the bytes has the time of a character for each, `CHARACTER_BITS` bits; a byte that comes
    while the last one has not been taken is dropped and counted. The frame decoder of the byte link takes a byte in every cycle.

    Parameters
    ----------
    rate : BaudRate

    Ports
    -----
    line : In
        The pin, high when idle; it need not be synchronous to the clock.
    o : Out, stream of bytes
    framing_errors, overruns : Out, `COUNT_BITS` bits
        Characters dropped since reset, as their stop bit was low or the last byte had not been taken.

    Latency 3 cycles from the middle of the stop bit to ``o``; a byte every 9.5 bits at the most.
    """

    def __init__(self, rate: BaudRate) -> None:
        self.rate = rate
        super().__init__(
            {
                "line": In(1, init=1),
                "o": Out(stream.Signature(8)),
                "framing_errors": Out(COUNT_BITS),
                "overruns": Out(COUNT_BITS),
            }
        )

    @staticmethod
    def model(rate: BaudRate, line: NDArray[np.bool_]) -> tuple[bytes, int]:
        """Bytes and framing errors of a line, (cycles,) bool, as it is seen cycle by cycle from reset on, if every byte is taken."""
        content = bytearray()
        errors = 0
        now = int(np.argmax(line)) if line.any() else len(line)
        while True:
            falls = np.flatnonzero(~line[now:])
            if not len(falls):
                return bytes(content), errors
            start = now + int(falls[0])
            # The phase is half a bit where the line is first seen low, and a cycle ahead so that samples round to the nearest one.
            middles = [start - 1 - (-(((2 * bit + 1) << rate.width) // 2) // rate.step) for bit in range(CHARACTER_BITS)]
            if middles[0] >= len(line):
                return bytes(content), errors
            if line[middles[0]]:
                now = middles[0] + 1
                continue
            if middles[-1] >= len(line):
                return bytes(content), errors
            now = middles[-1] + 1
            if line[middles[-1]]:
                content.append(sum(int(line[middle]) << bit for bit, middle in enumerate(middles[1:-1])))
            else:
                errors += 1
                now += int(np.argmax(line[now:])) if line[now:].any() else len(line)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width, step = self.rate.width, self.rate.step
        # Low at first, so that a line must have been seen high before a character can start.
        line = Signal()
        m.submodules.synchroniser = FFSynchronizer(self.line, line, init=0)

        phase = Signal(width, init=(1 << width - 1) + step)
        middle = Signal()
        advanced = Signal(width + 1)
        bits = Signal(CHARACTER_BITS - 2)
        left = Signal(range(CHARACTER_BITS))
        m.d.comb += [advanced.eq(phase + step), middle.eq(advanced[-1])]
        m.d.sync += phase.eq(advanced)

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("RISE"):
                with m.If(line):
                    m.next = "IDLE"
            with m.State("IDLE"):
                m.d.sync += [phase.eq(phase.init), left.eq(CHARACTER_BITS - 1)]
                with m.If(~line):
                    m.next = "START"
            with m.State("START"):
                with m.If(middle):
                    m.next = "BITS"
                    with m.If(line):
                        m.next = "IDLE"
            with m.State("BITS"):
                with m.If(middle):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left != 1):
                        m.d.sync += bits.eq(Cat(bits[1:], line))
                    with m.Elif(~line):
                        m.d.sync += self.framing_errors.eq(self.framing_errors + (self.framing_errors != (1 << COUNT_BITS) - 1))
                        m.next = "RISE"
                    with m.Else():
                        m.next = "IDLE"
                        with m.If(self.o.valid & ~self.o.ready):
                            m.d.sync += self.overruns.eq(self.overruns + (self.overruns != (1 << COUNT_BITS) - 1))
                        with m.Else():
                            m.d.sync += [self.o.payload.eq(bits), self.o.valid.eq(1)]
        return m


class UartTransmitter(wiring.Component):
    """Puts characters on a serial line.

    Parameters
    ----------
    rate : BaudRate

    Ports
    -----
    i : In, stream of bytes
    line : Out
        The pin, a register, high when idle.

    Latency 1 cycle from a byte taken to the start bit's fall; a byte every `CHARACTER_BITS` bits, without a gap, if it is
    offered by the end of the last one's stop bit.
    """

    def __init__(self, rate: BaudRate) -> None:
        self.rate = rate
        super().__init__({"i": In(stream.Signature(8)), "line": Out(1, init=1)})

    @staticmethod
    def model(rate: BaudRate, content: bytes) -> NDArray[np.bool_]:
        """The line, (cycles,) bool, from the first start bit to the last stop bit of bytes that follow one another without a gap."""
        bits = np.array([value for byte in content for value in (0, *(byte >> bit & 1 for bit in range(8)), 1)], dtype=np.bool_)
        ends = [-(-((count + 1) << rate.width) // rate.step) for count in range(len(bits))]
        return np.repeat(bits, np.diff(ends, prepend=0))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width, step = self.rate.width, self.rate.step
        phase = Signal(width)
        advanced = Signal(width + 1)
        over = Signal()
        bits = Signal(CHARACTER_BITS - 1, reset_less=True)
        left = Signal(range(CHARACTER_BITS + 1))
        m.d.comb += [
            advanced.eq(phase + step),
            over.eq(advanced[-1]),
            self.i.ready.eq((left == 0) | ((left == 1) & over)),
        ]
        with m.If(left == 0):
            m.d.sync += phase.eq(0)
        with m.Else():
            m.d.sync += phase.eq(advanced)
        with m.If(self.i.ready):
            m.d.sync += [left.eq(0), self.line.eq(1)]
            with m.If(self.i.valid):
                m.d.sync += [left.eq(CHARACTER_BITS), self.line.eq(0), bits.eq(Cat(self.i.payload, Const(1, 1)))]
        with m.Elif(over):
            m.d.sync += [left.eq(left - 1), self.line.eq(bits[0]), bits.eq(bits >> 1)]
        return m
