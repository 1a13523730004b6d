# SPDX-License-Identifier: Apache-2.0
"""Random words for stochastic rounding."""

from typing import Final

from amaranth.hdl import Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..firmware.arithmetic import MIX_ROUNDS, IntArray, mix
from .pipeline import delay, plain_register


class RandomWords(wiring.Component):
    """A random word as a function of seed, step and column number.

    Ports
    -----
    seed, step : In, 32
        Stable from the cycle before the first column while columns are under way.
    column : In, 20
    turn : In, 5
        Positions by which the word is turned left: 5 times the number of the row block's first row.
    word : Out, 32

    Latency 7 cycles (a round a cycle, then the turn), throughput one word a cycle.
    """

    latency: Final = MIX_ROUNDS + 1

    def __init__(self) -> None:
        super().__init__({"seed": In(32), "step": In(32), "column": In(20), "turn": In(5), "word": Out(32)})

    @staticmethod
    def model(seed: int, step: int, columns: IntArray, turn: int) -> IntArray:
        """Words (int64, same shape) of columns."""
        words = mix(seed, step, columns).astype("int64")
        return (words << turn | words >> (32 - turn)) & 0xFFFFFFFF

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # A copy near to where it is used.
        a, b = self.column, delay(m, self.step, 1, "step", replica=True)
        for index in range(MIX_ROUNDS):
            left, right = Signal(32, reset_less=True, name=f"a{index}"), Signal(32, reset_less=True, name=f"b{index}")
            wide, key = Signal(32, name=f"wide{index}"), Signal(32, name=f"key{index}", reset_less=True)
            mixed = Signal(32, name=f"mixed{index}")
            m.d.comb += [
                wide.eq(a),
                mixed.eq((wide.rotate_left(24) + b)[:32] ^ key),
            ]
            m.d.sync += key.eq(self.seed + Const(0x9E3779B9 * index & 0xFFFFFFFF, 32))
            m.d.sync += [left.eq(mixed), right.eq(b.rotate_left(3) ^ mixed)]
            a, b = left, right
        turn = delay(m, self.turn, MIX_ROUNDS, "turn")
        doubled = a.replicate(2)
        m.d.sync += plain_register(m, self.word, "word_register").eq((doubled << turn)[32:64])
        return m
