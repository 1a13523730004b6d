# SPDX-License-Identifier: Apache-2.0
"""Random words for stochastic rounding, one round in two cycles."""

from typing import Final

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..firmware.arithmetic import MIX_ROUNDS, ROW_ROTATION
from .random_words import RandomWords


class SerialRandom(wiring.Component):
    """The random word of a column, and of one row after the other.

    Ports
    -----
    seed, step : In, 32
    column : In, 20
    start : In
        Take the inputs; also while another word is under way.
    turn : In
        Go on to the next row: turn the word left by `ROW_ROTATION` positions.
    ready : Out
        ``word`` is that of the first row, or what `turn` made of it.
    word : Out, 32

    Latency of a word 12 cycles, of a turn 1.
    """

    latency: Final = 2 * MIX_ROUNDS

    def __init__(self) -> None:
        super().__init__(
            {"seed": In(32), "step": In(32), "column": In(20), "start": In(1), "turn": In(1), "ready": Out(1), "word": Out(32)}
        )

    model = staticmethod(RandomWords.model)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a, b, key = self.word, Signal(32, reset_less=True), Signal(32, reset_less=True)
        left = Signal(range(MIX_ROUNDS + 1))
        second = Signal()
        m.d.comb += self.ready.eq(left == 0)
        with m.If(self.start):
            m.d.sync += [a.eq(self.column), b.eq(self.step), key.eq(self.seed), left.eq(MIX_ROUNDS), second.eq(0)]
        with m.Elif(self.turn):
            m.d.sync += a.eq(a.rotate_left(ROW_ROTATION))
        with m.Elif(left != 0):
            m.d.sync += second.eq(~second)
            with m.If(second):
                m.d.sync += [b.eq(b.rotate_left(3) ^ a), key.eq(key + 0x9E3779B9), left.eq(left - 1)]
            with m.Else():
                m.d.sync += a.eq((a.rotate_left(24) + b)[:32] ^ key)
        return m
