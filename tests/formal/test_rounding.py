# SPDX-License-Identifier: Apache-2.0
"""Rounding and saturation are those of `frenn.firmware.arithmetic`, for every value, shift and limit: by induction."""

from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import C, Cat, Mux, Signal, signed
from frenn.rtl_gen.pipeline import delay
from frenn.rtl_gen.rounding import RoundSaturate
from proofs import Bench, plant, prove, refute

RESULT, FLAG = "the result is the rounded and saturated value", "saturated tells whether it was clipped"
DEPTH = RoundSaturate.latency + 2
"""The shift is there a cycle before the value."""


def build(dut: Any) -> Bench:
    bench = Bench()
    bench.add(dut)
    value = bench.free(signed(dut.input_bits), "value")
    shift, bits = bench.constant(6, "shift"), bench.constant(5, "bits")
    bench.assume(bits < dut.output_bits)
    # round_half_up and saturate, with room for every sum.
    half = Mux(shift == 0, 0, (C(1, 64) << shift) >> 1)
    rounded, expected = Signal(signed(dut.input_bits + 1)), Signal(signed(dut.output_bits + 1))
    limit = Signal(signed(dut.output_bits + 1))
    bench.m.d.comb += [
        dut.value.eq(value),
        dut.shift.eq(shift),
        dut.bits.eq(bits),
        rounded.eq((value + half) >> shift),
        limit.eq((C(1) << bits) - 1),
        expected.eq(Mux(rounded > limit, limit, Mux(rounded < -limit, -limit, rounded))),
    ]
    filled = delay(bench.m, 1, dut.latency + 1, "filled")
    result, saturated = Signal.like(expected), Signal()
    bench.m.d.comb += Cat(result, saturated).eq(delay(bench.m, Cat(expected, expected != rounded), dut.latency, "expected"))
    bench.claim(RESULT, ~filled | (dut.result == result))
    bench.claim(FLAG, ~filled | (dut.saturated == saturated))
    return bench


@pytest.mark.parametrize(("input_bits", "output_bits"), [(12, 8), (17, 2)])
def test_every_value(tmp_path: Path, input_bits: int, output_bits: int) -> None:
    prove(build(RoundSaturate(input_bits, output_bits)), tmp_path, depth=DEPTH)


@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        ("rounded.eq((fine >> 1) + fine[0])", "rounded.eq(fine >> 1)", RESULT),
        ("rounded.eq((fine >> 1) + fine[0])", "rounded.eq((fine >> 1) + (fine[0] & ~fine[-1]))", RESULT),
        ("negative & (zeros.any() | ~below.any())", "negative & zeros.any()", RESULT),
        ("rounded_result.eq(-limit)", "rounded_result.eq(~limit)", RESULT),
        ("Cat(Const(0, 3), delay(m, self.shift[3:], 1,", "Cat(Const(0, 3), delay(m, self.shift[3:5], 1,", RESULT),
        ('"saturated_register").eq(over | under)', '"saturated_register").eq(over)', FLAG),
    ],
    ids=["truncates", "ties to zero", "lowest value passes", "asymmetric", "long shift", "flag"],
)
def test_fault(tmp_path: Path, old: str, new: str, claim: str) -> None:
    refute(build(plant(RoundSaturate, (old, new))(12, 8)), tmp_path, depth=DEPTH, claim=claim)
