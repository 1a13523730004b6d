# SPDX-License-Identifier: Apache-2.0
"""The clock of the engine: a PLL's dividers, and the vendors' PLL cells."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

from amaranth.hdl import Const, Instance, Signal, Value

from ..firmware.errors import FrennError


@dataclass(frozen=True, kw_only=True)
class PllLimits:
    """What a family's PLL can do, from its data sheet.

    Parameters
    ----------
    detector, oscillator : (int, int)
        Least and largest frequency of the phase detector and of the oscillator, Hz.
    references, multipliers, dividers : sequence of int
        Legal values, ascending, of the divider before the detector, of the one in the feedback, and of the one after the oscillator.
    feedback : {"output", "oscillator"}
        What the feedback divider divides: the output clock, so that its multiplier alone sets the output; or the oscillator.
    """

    detector: tuple[int, int]
    oscillator: tuple[int, int]
    references: Sequence[int]
    multipliers: Sequence[int]
    dividers: Sequence[int]
    feedback: str


LIMITS: Final = {
    "ecp5": PllLimits(
        detector=(3_125_000, 400_000_000),
        oscillator=(400_000_000, 800_000_000),
        references=range(1, 129),
        multipliers=range(1, 129),
        dividers=range(1, 129),
        feedback="output",
    ),
    "ice40": PllLimits(
        detector=(10_000_000, 133_000_000),
        oscillator=(533_000_000, 1_066_000_000),
        references=range(1, 17),
        multipliers=range(1, 129),
        dividers=(2, 4, 8, 16, 32, 64),
        feedback="oscillator",
    ),
    "gowin": PllLimits(
        detector=(3_000_000, 400_000_000),
        oscillator=(400_000_000, 1_200_000_000),
        references=range(1, 65),
        multipliers=range(1, 65),
        dividers=(2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128),
        feedback="output",
    ),
    # The MMCM of the slowest speed grade, whole multipliers and dividers alone; it also holds for UltraScale.
    "xilinx7": PllLimits(
        detector=(10_000_000, 450_000_000),
        oscillator=(600_000_000, 1_200_000_000),
        references=range(1, 107),
        multipliers=range(2, 65),
        dividers=range(1, 129),
        feedback="oscillator",
    ),
}
LIMITS["ultrascale"] = LIMITS["xilinx7"]


@dataclass(frozen=True, kw_only=True)
class PllSettings:
    """Dividers of a PLL.

    Parameters
    ----------
    family : str
        Key of `LIMITS`.
    input : int
        Input clock, Hz.
    reference, multiplier, divider : int
        See `PllLimits`.
    second_divider, third_divider : int or None
        Dividers of further outputs; ECP5 alone.
    """

    family: str
    input: int
    reference: int
    multiplier: int
    divider: int
    second_divider: int | None = None
    third_divider: int | None = None

    @property
    def detector(self) -> Fraction:
        """Frequency of the phase detector, exact, Hz."""
        return Fraction(self.input, self.reference)

    @property
    def oscillator(self) -> Fraction:
        """Frequency of the oscillator, exact, Hz."""
        turns = self.divider if LIMITS[self.family].feedback == "output" else 1
        return self.detector * self.multiplier * turns

    @property
    def output(self) -> Fraction:
        """Output clock, exact, Hz."""
        return self.oscillator / self.divider

    @property
    def second_output(self) -> Fraction:
        """Clock of the second output, exact, Hz; that of the first where there is none."""
        return self.oscillator / (self.second_divider or self.divider)

    def with_second_output(self, most: int) -> "PllSettings":
        """The same with a second output, the fastest of at most ``most`` Hz."""
        return replace(self, second_divider=math.ceil(self.oscillator / most))


USB_CLOCKS: Final = (48_000_000, 12_000_000)
"""Clocks of the FPGA's own pins on the USB at full speed: of their samples, and of the bytes."""


def usb_pll_settings(input: int) -> PllSettings:
    """The dividers of an ECP5's PLL whose second and third outputs are exactly `USB_CLOCKS`.

    The first output does nothing but close the loop; its clock is the slowest of at least 10 MHz.

    Parameters
    ----------
    input : int
        Clock, Hz.

    Raises
    ------
    FrennError
        If there are none.
    """
    limits = LIMITS["ecp5"]
    fast, slow = USB_CLOCKS
    for reference in limits.references:
        detector = Fraction(input, reference)
        for ratio in range(-(-limits.oscillator[0] // fast), limits.oscillator[1] // fast + 1):
            turns = ratio * fast / detector
            multiplier = max(1, math.ceil(10_000_000 / detector))
            if detector < limits.detector[0] or turns.denominator != 1 or turns % multiplier or turns / multiplier > limits.dividers[-1]:
                continue
            return PllSettings(
                family="ecp5",
                input=input,
                reference=reference,
                multiplier=multiplier,
                divider=int(turns) // multiplier,
                second_divider=ratio,
                third_divider=ratio * fast // slow,
            )
    raise FrennError(f"clock: the PLL cannot make the USB's 48 and 12 MHz of {input / 1e6:g} MHz")


def pll_settings(family: str, input: int, output: int | Fraction) -> PllSettings:
    """The dividers whose output is the fastest that is not faster than asked for.

    Among equals the fastest detector is taken, then the oscillator that is nearest to the middle of its range.

    Parameters
    ----------
    family : str
        Key of `LIMITS`.
    input, output : int
        Clocks, Hz.

    Raises
    ------
    FrennError
        If no dividers come within a tenth of what was asked for.
    """
    limits = LIMITS[family]
    middle = Fraction(sum(limits.oscillator), 2)
    best = max(
        _candidates(family, limits, input, Fraction(output)),
        key=lambda settings: (settings.output, settings.detector, -abs(settings.oscillator - middle)),
        default=None,
    )
    if best is None or best.output < Fraction(9, 10) * output:
        least = Fraction(limits.oscillator[0], limits.dividers[-1])
        most = Fraction(limits.oscillator[1], limits.dividers[0])
        raise FrennError(
            f"clock: the PLL cannot make {float(output) / 1e6:g} MHz of {input / 1e6:g} MHz; its oscillator and dividers "
            f"reach {float(least) / 1e6:.4g} to {float(most) / 1e6:.4g} MHz"
        )
    return best


def _candidates(family: str, limits: PllLimits, input: int, output: Fraction) -> Iterator[PllSettings]:
    for reference in limits.references:
        if not limits.detector[0] * reference <= input <= limits.detector[1] * reference:
            continue
        for divider in limits.dividers:
            turns = 1 if limits.feedback == "output" else divider
            # Neither the output asked for nor the fastest oscillator is exceeded.
            fastest = min(output, Fraction(limits.oscillator[1], divider))
            multiplier = min(int(fastest * reference * turns / input), limits.multipliers[-1])
            settings = PllSettings(family=family, input=input, reference=reference, multiplier=multiplier, divider=divider)
            if multiplier >= limits.multipliers[0] and limits.oscillator[0] <= settings.oscillator <= limits.oscillator[1]:
                yield settings


def pll_cells(
    settings: PllSettings,
    clock_in: Value,
    clock: Value,
    locked: Value,
    second_clock: Value | None = None,
    third_clock: Value | None = None,
) -> dict[str, Instance]:
    """The cells of a PLL by name.

    Parameters
    ----------
    settings : PllSettings
    clock_in : Value
        Input clock; on iCE40 the pad itself.
    clock, locked : Value, 1 bit
        Driven: output clock, and whether it is steady.
    second_clock, third_clock : Value, 1 bit, optional
        Driven, if the settings have such outputs.
    """
    if settings.second_divider is not None and second_clock is not None:
        return _ecp5(settings, clock_in, clock, locked, second_clock, third_clock)
    return _CELLS[settings.family](settings, clock_in, clock, locked)


def _ecp5(
    settings: PllSettings,
    clock_in: Value,
    clock: Value,
    locked: Value,
    second_clock: Value | None = None,
    third_clock: Value | None = None,
) -> dict[str, Instance]:
    frequencies = {"FREQUENCY_PIN_CLKI": Fraction(settings.input), "FREQUENCY_PIN_CLKOP": settings.output}
    further: dict[str, Any] = {}
    outputs = (("CLKOS", settings.second_divider, second_clock), ("CLKOS2", settings.third_divider, third_clock))
    for name, divider, driven in outputs:
        if driven is None or divider is None:
            continue
        frequencies[f"FREQUENCY_PIN_{name}"] = settings.oscillator / divider
        further |= {
            f"p_{name}_ENABLE": "ENABLED",
            f"p_{name}_DIV": divider,
            f"p_{name}_CPHASE": divider - 1,
            f"p_{name}_FPHASE": 0,
            f"i_EN{name}": Const(0),
            f"o_{name}": driven,
        }
    return {
        "pll": Instance(
            "EHXPLLL",
            *(("a", name, f"{float(value) / 1e6:g}") for name, value in frequencies.items()),
            # The loop filter that the vendor's wizard sets for feedback from the output.
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_CLKI_DIV=settings.reference,
            p_CLKFB_DIV=settings.multiplier,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=settings.divider,
            p_CLKOP_CPHASE=settings.divider - 1,
            p_CLKOP_FPHASE=0,
            p_FEEDBK_PATH="CLKOP",
            i_CLKI=clock_in,
            i_CLKFB=clock,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(0),
            i_PHASESTEP=Const(0),
            i_PHASELOADREG=Const(0),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            o_CLKOP=clock,
            o_LOCK=locked,
            **further,
        )
    }


def _ice40(settings: PllSettings, clock_in: Value, clock: Value, locked: Value) -> dict[str, Instance]:
    # Edges of the detector's frequency, MHz, from which on the next filter is right.
    edges = (17, 26, 44, 66, 101)
    return {
        "pll": Instance(
            "SB_PLL40_PAD",
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=Const(settings.reference - 1, 4),
            p_DIVF=Const(settings.multiplier - 1, 7),
            p_DIVQ=Const(settings.divider.bit_length() - 1, 3),
            p_FILTER_RANGE=Const(1 + sum(settings.detector >= edge * 1_000_000 for edge in edges), 3),
            i_PACKAGEPIN=clock_in,
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=clock,
            o_LOCK=locked,
        )
    }


def _gowin(settings: PllSettings, clock_in: Value, clock: Value, locked: Value) -> dict[str, Instance]:
    return {
        "pll": Instance(
            "rPLL",
            p_DEVICE="GW1NR-9C",
            p_FCLKIN=f"{settings.input / 1e6:g}",
            p_DYN_IDIV_SEL="false",
            p_IDIV_SEL=settings.reference - 1,
            p_DYN_FBDIV_SEL="false",
            p_FBDIV_SEL=settings.multiplier - 1,
            p_DYN_ODIV_SEL="false",
            p_ODIV_SEL=settings.divider,
            p_PSDA_SEL="0000",
            p_DUTYDA_SEL="1000",
            p_DYN_DA_EN="false",
            p_CLKFB_SEL="internal",
            i_CLKIN=clock_in,
            i_CLKFB=Const(0),
            i_RESET=Const(0),
            i_RESET_P=Const(0),
            i_FBDSEL=Const(0, 6),
            i_IDSEL=Const(0, 6),
            i_ODSEL=Const(0, 6),
            i_PSDA=Const(0, 4),
            i_DUTYDA=Const(0, 4),
            i_FDLY=Const(0, 4),
            o_CLKOUT=clock,
            o_LOCK=locked,
        )
    }


def _xilinx(settings: PllSettings, clock_in: Value, clock: Value, locked: Value) -> dict[str, Instance]:
    made, feedback = Signal(name="pll_made"), Signal(name="pll_feedback")
    return {
        "pll": Instance(
            "MMCME3_BASE" if settings.family == "ultrascale" else "MMCME2_BASE",
            p_CLKIN1_PERIOD=1e9 / settings.input,
            p_DIVCLK_DIVIDE=settings.reference,
            p_CLKFBOUT_MULT_F=float(settings.multiplier),
            p_CLKOUT0_DIVIDE_F=float(settings.divider),
            i_CLKIN1=clock_in,
            i_CLKFBIN=feedback,
            i_RST=Const(0),
            i_PWRDWN=Const(0),
            o_CLKFBOUT=feedback,
            o_CLKOUT0=made,
            o_LOCKED=locked,
        ),
        "pll_buffer": Instance("BUFG", i_I=made, o_O=clock),
    }


_CELLS: Final = {"ecp5": _ecp5, "ice40": _ice40, "gowin": _gowin, "xilinx7": _xilinx, "ultrascale": _xilinx}
