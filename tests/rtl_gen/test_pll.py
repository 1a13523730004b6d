# SPDX-License-Identifier: Apache-2.0
"""Dividers of the PLLs."""

from fractions import Fraction

import numpy as np
import pytest
from frenn.firmware.errors import FrennError
from frenn.rtl_gen.pll import LIMITS, PllSettings, pll_settings


@pytest.mark.parametrize(
    ("family", "input", "output", "dividers", "made"),
    [
        # What the vendors' own calculators make of common wishes.
        ("ice40", 12_000_000, 24_000_000, (1, 64, 32), Fraction(24_000_000)),
        ("ice40", 12_000_000, 30_000_000, (1, 80, 32), Fraction(30_000_000)),
        ("ecp5", 25_000_000, 150_000_000, (1, 6, 4), Fraction(150_000_000)),
        ("gowin", 27_000_000, 54_000_000, (1, 2, 16), Fraction(54_000_000)),
        ("xilinx7", 100_000_000, 150_000_000, (1, 9, 6), Fraction(150_000_000)),
        # 137 MHz cannot be had of 25; the next below is 25 * 38 / 7.
        ("ecp5", 25_000_000, 137_000_000, (7, 38, 4), Fraction(950_000_000, 7)),
    ],
)
def test_known_dividers(family: str, input: int, output: int, dividers: tuple[int, int, int], made: Fraction) -> None:
    settings = pll_settings(family, input, output)
    assert (settings.reference, settings.multiplier, settings.divider) == dividers
    assert settings.output == made


def every_output(family: str, input: int) -> set[Fraction]:
    """All frequencies that a PLL can make, by trying all dividers."""
    limits = LIMITS[family]
    found = set()
    for reference in limits.references:
        detector = Fraction(input, reference)
        if not limits.detector[0] <= detector <= limits.detector[1]:
            continue
        for multiplier in limits.multipliers:
            for divider in limits.dividers:
                oscillator = detector * multiplier * (divider if limits.feedback == "output" else 1)
                if limits.oscillator[0] <= oscillator <= limits.oscillator[1]:
                    found.add(oscillator / divider)
    return found


@pytest.mark.parametrize(("family", "input"), [("ice40", 12_000_000), ("gowin", 27_000_000), ("ecp5", 48_000_000)])
def test_nothing_nearer_below_exists(family: str, input: int, rng: np.random.Generator) -> None:
    outputs = sorted(every_output(family, input))
    for wish in rng.integers(17_000_000, 280_000_000, 20):
        settings = pll_settings(family, input, int(wish))
        assert settings.output == max(output for output in outputs if output <= wish)
        assert LIMITS[family].detector[0] <= settings.detector <= LIMITS[family].detector[1]
        assert LIMITS[family].oscillator[0] <= settings.oscillator <= LIMITS[family].oscillator[1]
        for value, legal in (
            (settings.reference, LIMITS[family].references),
            (settings.multiplier, LIMITS[family].multipliers),
            (settings.divider, LIMITS[family].dividers),
        ):
            assert value in legal


def test_frequencies_are_exact() -> None:
    settings = PllSettings(family="ecp5", input=25_000_000, reference=3, multiplier=16, divider=4)
    assert settings.output == Fraction(400_000_000, 3)
    assert settings.oscillator == Fraction(1_600_000_000, 3)


@pytest.mark.parametrize(
    ("family", "output"), [("ice40", 5_000_000), ("ice40", 600_000_000), ("ecp5", 1_000_000), ("gowin", 2_000_000_000)]
)
def test_impossible_clock_is_refused(family: str, output: int) -> None:
    with pytest.raises(
        FrennError, match=rf"cannot make {output / 1e6:g} MHz of 12 MHz; its oscillator and dividers reach [\d.]+ to [\d.]+ MHz"
    ):
        pll_settings(family, 12_000_000, output)
