# SPDX-License-Identifier: Apache-2.0
"""An adder one of whose operands may be left out."""

from typing import Any, Final

import numpy as np
from amaranth.hdl import Const, Instance, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...firmware.arithmetic import IntArray
from .technology import Technology

ECP5_INIT: Final = 0b1100_0110_0000_1100
"""Both tables of a CCU2C, inputs D C B A = 1, omit, addend, value.

The upper byte is what a bit passes its carry on for: value and addend differ, or, with the value left out, the addend is one. Where
they do not, the carry is what the lowest four bits say of B and A: the addend (ripple mode of a slice, Lattice FPGA-DS-02012, ECP5 family
data sheet).
"""


class GatedAdder(wiring.Component):
    """``total = addend + (0 if omit else value)``, modulo ``2**bits``.

    An accumulator that begins anew. Synthesis makes a gate before a carry chain of it, with a wire between; an ECP5's carry cells have
    an input for the gate.

    Parameters
    ----------
    bits : int

    Ports
    -----
    value, addend : In, signed(bits)
    omit : In
    total : Out, signed(bits)

    Latency none, throughput one sum a cycle.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        super().__init__({"value": In(signed(bits)), "addend": In(signed(bits)), "omit": In(1), "total": Out(signed(bits))})

    def model(self, value: IntArray, addend: IntArray, omit: np.ndarray) -> IntArray:
        """Totals, same shape, of int64 operands."""
        unused = 64 - self.bits
        return np.asarray((addend + np.where(omit, 0, value)) << np.int64(unused) >> np.int64(unused))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if Technology.of(platform) is not Technology.ECP5:
            m.d.comb += self.total.eq(self.addend + Mux(self.omit, 0, self.value))
            return m
        carry = Const(0, 1)
        for low in range(0, self.bits, 2):
            ports: dict[str, Any] = {}
            for half in range(2):
                used = low + half < self.bits
                ports |= {
                    f"i_A{half}": self.value[low + half] if used else Const(0, 1),
                    f"i_B{half}": self.addend[low + half] if used else Const(0, 1),
                    f"i_C{half}": self.omit,
                    f"i_D{half}": Const(1, 1),
                    f"o_S{half}": self.total[low + half] if used else Signal(name="above"),
                    f"p_INIT{half}": Const(ECP5_INIT, 16),
                    f"p_INJECT1_{half}": "NO",
                }
            carried = Signal(name=f"carry_{low + 2}")
            m.submodules[f"bits_{low}"] = Instance("CCU2C", i_CIN=carry, o_COUT=carried, **ports)
            carry = carried
        return m
