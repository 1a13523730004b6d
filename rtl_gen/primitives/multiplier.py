# SPDX-License-Identifier: Apache-2.0
"""A signed multiplier with the registers of a DSP block."""

from typing import Any, Final

import numpy as np
from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...firmware.arithmetic import IntArray
from .technology import Technology

ECP5_BITS: Final = 18
"""Operand bits of an ECP5 multiplier, MULT18X18D (Lattice FPGA-TN-02205, sysDSP usage guide)."""

ICE40_BITS: Final = 16
"""Operand bits of an iCE40 UltraPlus multiplier, SB_MAC16 (Lattice FPGA-TN-02007, DSP function usage guide)."""


class Multiplier(wiring.Component):
    """``product = left * right``, exactly.

    Parameters
    ----------
    left_bits, right_bits : int
        Signed bits of the operands.

    Ports
    -----
    left, right : In, signed
    product : Out, signed(left_bits + right_bits)

    Latency 3 cycles: registers at the inputs, inside and at the output. Throughput one product a cycle.
    """

    latency: Final = 3

    def __init__(self, left_bits: int, right_bits: int) -> None:
        self.left_bits = left_bits
        self.right_bits = right_bits
        super().__init__({"left": In(signed(left_bits)), "right": In(signed(right_bits)), "product": Out(signed(left_bits + right_bits))})

    @staticmethod
    def model(left: IntArray, right: IntArray) -> IntArray:
        """Products, same shape, of int64 operands of at most 63 bits together."""
        return np.asarray(left * right)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if Technology.of(platform) is Technology.ECP5 and max(self.left_bits, self.right_bits) <= ECP5_BITS:
            m.submodules.block = self._ecp5()
            return m
        if Technology.of(platform) is Technology.ICE40 and self.left_bits <= ICE40_BITS:
            self._ice40(m)
            return m
        left, right = Signal.like(self.left, reset_less=True), Signal.like(self.right, reset_less=True)
        inner, product = Signal.like(self.product, reset_less=True), Signal.like(self.product, reset_less=True)
        m.d.sync += [left.eq(self.left), right.eq(self.right), inner.eq(left * right), product.eq(inner)]
        m.d.comb += self.product.eq(product)
        return m

    def _ice40(self, m: Module) -> None:
        """A cell for each part of the right operand, the highest of which is signed; of several, the last register is behind the sum."""
        parts = []
        alone = self.right_bits <= ICE40_BITS
        for low in range(0, self.right_bits, ICE40_BITS):
            right = self.right[low : low + ICE40_BITS]
            highest = low + ICE40_BITS >= self.right_bits
            wide_left, wide_right = Signal(signed(ICE40_BITS), name=f"left_{low}"), Signal(signed(ICE40_BITS), name=f"right_{low}")
            output = Signal(signed(2 * ICE40_BITS), name=f"output_{low}")
            m.d.comb += [wide_left.eq(self.left), wide_right.eq(right.as_signed() if highest else right)]
            m.submodules[f"block_{low}"] = _mac16(wide_left, wide_right, output, right_signed=highest, pipelined=alone)
            parts.append((output << low)[: len(self.product)].as_signed())
        if alone:
            m.d.comb += self.product.eq(parts[0])
        else:
            m.d.sync += self.product.eq(sum(parts))

    def _ecp5(self) -> Instance:
        ports: dict[str, Any] = {}
        for bit in range(ECP5_BITS):
            # Bits above an operand repeat its sign.
            ports[f"i_A{bit}"] = self.left[min(bit, self.left_bits - 1)]
            ports[f"i_B{bit}"] = self.right[min(bit, self.right_bits - 1)]
            ports[f"i_C{bit}"] = Const(0, 1)
        for bit in range(2 * ECP5_BITS):
            ports[f"o_P{bit}"] = self.product[bit] if bit < len(self.product) else Signal(name=f"above_{bit}")
        for index in range(4):
            used = index == 0
            ports[f"i_CLK{index}"] = ClockSignal() if used else Const(0, 1)
            ports[f"i_CE{index}"] = Const(used, 1)
            ports[f"i_RST{index}"] = Const(0, 1)
        return Instance(
            "MULT18X18D",
            p_REG_INPUTA_CLK="CLK0",
            p_REG_INPUTB_CLK="CLK0",
            p_REG_INPUTC_CLK="NONE",
            p_REG_PIPELINE_CLK="CLK0",
            p_REG_OUTPUT_CLK="CLK0",
            p_GSR="DISABLED",
            p_SOURCEB_MODE="B_SHIFT",
            p_MULT_BYPASS="DISABLED",
            p_RESETMODE="SYNC",
            i_SIGNEDA=Const(1, 1),
            i_SIGNEDB=Const(1, 1),
            i_SOURCEA=Const(0, 1),
            i_SOURCEB=Const(0, 1),
            **ports,
        )


def _mac16(left: Signal, right: Signal, output: Signal, *, right_signed: bool, pipelined: bool) -> Instance:
    """The product after registers at the inputs and at the output, and, if ``pipelined``, inside: both are modes that Lattice names."""
    return Instance(
        "SB_MAC16",
        p_NEG_TRIGGER=Const(0, 1),
        p_A_REG=Const(1, 1),
        p_B_REG=Const(1, 1),
        p_C_REG=Const(0, 1),
        p_D_REG=Const(0, 1),
        p_TOP_8x8_MULT_REG=Const(pipelined, 1),
        p_BOT_8x8_MULT_REG=Const(pipelined, 1),
        p_PIPELINE_16x16_MULT_REG1=Const(pipelined, 1),
        p_PIPELINE_16x16_MULT_REG2=Const(1, 1),
        p_TOPOUTPUT_SELECT=Const(3, 2),
        p_TOPADDSUB_LOWERINPUT=Const(0, 2),
        p_TOPADDSUB_UPPERINPUT=Const(0, 1),
        p_TOPADDSUB_CARRYSELECT=Const(0, 2),
        p_BOTOUTPUT_SELECT=Const(3, 2),
        p_BOTADDSUB_LOWERINPUT=Const(0, 2),
        p_BOTADDSUB_UPPERINPUT=Const(0, 1),
        p_BOTADDSUB_CARRYSELECT=Const(0, 2),
        p_MODE_8x8=Const(0, 1),
        p_A_SIGNED=Const(1, 1),
        p_B_SIGNED=Const(right_signed, 1),
        i_CLK=ClockSignal(),
        i_CE=Const(1, 1),
        i_A=left,
        i_B=right,
        i_C=Const(0, 16),
        i_D=Const(0, 16),
        **{f"i_{name}": Const(0, 1) for name in _MAC16_UNUSED},
        o_O=output,
    )


_MAC16_UNUSED: Final = (
    *("AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT", "OLOADTOP", "OLOADBOT"),
    *("ADDSUBTOP", "ADDSUBBOT", "OHOLDTOP", "OHOLDBOT", "CI", "ACCUMCI", "SIGNEXTIN"),
)
