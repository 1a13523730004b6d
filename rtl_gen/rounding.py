# SPDX-License-Identifier: Apache-2.0
"""Rounding to nearest and symmetric saturation."""

from typing import Final

import numpy as np
from amaranth.hdl import Cat, Const, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..firmware.arithmetic import IntArray, round_half_up, saturate
from .pipeline import delay, plain_register

_COARSE: Final = 16
"""Bits that a copy of the shift serves."""


class RoundSaturate(wiring.Component):
    """Drop fraction bits to nearest, ties up, then saturate symmetrically.

    Ports
    -----
    value : In, signed(input_bits)
        One value a cycle.
    shift : In, 6
        Fraction bits to drop; may exceed ``input_bits``. Stable from the cycle before the first value while values are under way.
    bits : In, 5
        Magnitude bits of the result, less than ``output_bits``. Stable from the cycle before the first value while values are under way.
    result : Out, signed(output_bits)
    saturated : Out
        The result was clipped.

    Latency 6 cycles, throughput one value a cycle.
    """

    latency: Final = 6

    def __init__(self, input_bits: int, output_bits: int) -> None:
        self.input_bits = input_bits
        self.output_bits = output_bits
        super().__init__(
            {
                "value": In(signed(input_bits)),
                "shift": In(6),
                "bits": In(5),
                "result": Out(signed(output_bits)),
                "saturated": Out(1),
            }
        )

    @staticmethod
    def model(values: IntArray, shift: int, bits: int) -> tuple[IntArray, np.ndarray]:
        """Results and saturation flags of values, same shape."""
        rounded = round_half_up(values, shift)
        result = saturate(rounded, bits)
        return result, result != rounded

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Copies of its own, since each drives a register for every bit of the value; where many bits are chosen from many, several.
        shift, bits = delay(m, self.shift, 1, "shift", replica=True), delay(m, self.bits, 1, "bits", replica=True)
        places = range(0, self.input_bits + 1, _COARSE)
        turns = [Cat(Const(0, 3), delay(m, self.shift[3:], 1, f"coarse_shift_{low}", replica=True)) for low in places]
        wide = Cat(Const(0, 1), self.value).as_signed()
        # One bit is kept below the point: it is the half that decides the rounding.
        width = self.input_bits + 1
        coarse = Signal(signed(width), reset_less=True)
        fine = Signal(signed(width), reset_less=True)
        rounded = Signal(signed(width), reset_less=True)
        m.d.sync += [
            coarse.eq(Cat((wide >> turn)[low : low + _COARSE] for turn, low in zip(turns, places, strict=True))),
            fine.eq(coarse >> shift[:3]),
            rounded.eq((fine >> 1) + fine[0]),
        ]
        # With a limit of 2^bits - 1 only the bits from there on tell what does not fit, and that of -2^bits alone those below.
        # What is always beyond starts so, and takes no register.
        beyond = Signal(width, reset_less=True, init=-1)
        m.d.sync += beyond.eq(Cat(bits <= place for place in range(width)))
        parts = [(rounded[low : low + 8], beyond[low : low + 8]) for low in range(0, width, 8)]
        ones, zeros, below = (Signal(len(parts), reset_less=True, name=name) for name in ("ones", "zeros", "below"))
        kept, result = Signal(signed(self.output_bits), reset_less=True), Signal(signed(self.output_bits), reset_less=True)
        negative = Signal(reset_less=True)
        over, under = Signal(reset_less=True), Signal(reset_less=True)
        limit = Signal(signed(self.output_bits), reset_less=True)
        rounded_result = plain_register(m, self.result, "result_register")
        m.d.sync += [
            ones.eq(Cat((part & mask).any() for part, mask in parts)),
            zeros.eq(Cat((~part & mask).any() for part, mask in parts)),
            below.eq(Cat((part & ~mask).any() for part, mask in parts)),
            negative.eq(rounded[-1]),
            kept.eq(rounded),
            over.eq(~negative & ones.any()),
            under.eq(negative & (zeros.any() | ~below.any())),
            result.eq(kept),
            limit.eq(Cat(bits > place for place in range(self.output_bits - 1))),
            plain_register(m, self.saturated, "saturated_register").eq(over | under),
            rounded_result.eq(result),
        ]
        with m.If(over):
            m.d.sync += rounded_result.eq(limit)
        with m.If(under):
            m.d.sync += rounded_result.eq(-limit)
        return m
