# SPDX-License-Identifier: Apache-2.0
"""The voltage of pins that the FPGA itself must set, as on ButterStick."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from numpy.typing import NDArray

from ..firmware.errors import FrennError

DUTY_BITS: Final = 10
SETTLE: Final = Fraction(70, 1000)
"""Seconds before the regulators are enabled: ten time constants of the filter of 68 kOhm and 0.1 uF behind each pin."""
START: Final = Fraction(2, 1000)
"""Seconds that a regulator then takes: its data sheet says one thousandth."""
_SUPPLY: Final = Fraction("3.3")
_FEEDBACK: Final = Fraction("0.6")
_INJECTED, _UPPER, _LOWER = 68_000, 53_600, 13_000
LEAST, MOST = 1_000, 3_300
"""What a regulator can give, mV."""


def duty(millivolts: int) -> Fraction:
    """Part of the time for which a pin must be high for its regulator to give a voltage.

    The regulator (TLV62569) holds 0.6 V over the 13 kOhm below its feedback pin; the 53.6 kOhm above it carry what the filtered pin does
    not bring through its 68 kOhm. Resistors and filter are those of the schematic of ButterStick r1.0, as amaranth-boards tells them.

    Raises
    ------
    FrennError
        If the regulator cannot give it.
    """
    if not LEAST <= millivolts <= MOST:
        raise FrennError(f"pin supply: {millivolts} mV; legal are {LEAST} to {MOST} mV")
    feedback = _FEEDBACK / _LOWER - (Fraction(millivolts, 1000) - _FEEDBACK) / _UPPER
    return (_FEEDBACK + _INJECTED * feedback) / _SUPPLY


class PinSupply(wiring.Component):
    """Sets the voltages of regulators by pulses, and enables them when those have been filtered.

    Needs no reset: it begins when its clock does, with the values that configuration gives it.

    Parameters
    ----------
    clock : int
        Hz.
    millivolts : sequence of int
        Of each regulator.

    Ports
    -----
    pulse : Out, one bit for each regulator
        High for `duty` of the time, spread evenly (first-order delta-sigma, of `DUTY_BITS` bits).
    enable : Out
        High from `SETTLE` on.
    steady : Out
        High from `START` after that on: the pins have their supply.

    Throughput a bit a cycle for each regulator.
    """

    def __init__(self, clock: int, millivolts: Sequence[int]) -> None:
        self.millivolts = tuple(millivolts)
        self.steps = [round(duty(wanted) * (1 << DUTY_BITS)) for wanted in self.millivolts]
        self.enabled_after = int(SETTLE * clock)
        self.steady_after = int((SETTLE + START) * clock)
        super().__init__({"pulse": Out(len(self.millivolts)), "enable": Out(1), "steady": Out(1)})

    def model(self, cycles: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """``pulse`` (cycles, regulators) and ``enable`` with ``steady`` (cycles, 2) from the first cycle on."""
        time = np.arange(cycles, dtype=np.int64)
        turns = time[:, None] * np.array(self.steps) >> DUTY_BITS
        pulses = np.diff(turns, axis=0, prepend=0)
        return pulses, np.stack([time > self.enabled_after, time > self.steady_after], axis=1).astype(np.int64)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for index, step in enumerate(self.steps):
            rest = Signal(DUTY_BITS, name=f"rest_{index}", reset_less=True)
            pulse = Signal(name=f"pulse_{index}", reset_less=True)
            m.d.sync += Cat(rest, pulse).eq(rest + step)
            m.d.comb += self.pulse[index].eq(pulse)
        passed = Signal(range(self.steady_after + 1), reset_less=True)
        enable, steady = Signal(reset_less=True, name="enabled"), Signal(reset_less=True, name="was_steady")
        with m.If(passed != self.steady_after):
            m.d.sync += passed.eq(passed + 1)
        with m.Else():
            m.d.sync += steady.eq(1)
        with m.If(passed == self.enabled_after):
            m.d.sync += enable.eq(1)
        m.d.comb += [self.enable.eq(enable), self.steady.eq(steady)]
        return m
