# SPDX-License-Identifier: Apache-2.0
"""Number formats: what they hold, and what they refuse."""

import numpy as np
import pytest
from frenn.firmware.errors import FrennError
from frenn.firmware.formats import Format


def test_sizes() -> None:
    signed, unsigned = Format.parse("S1.8"), Format.parse("U0.8")
    assert (signed.width, signed.signed_width, signed.magnitude_bits, signed.minimum, signed.maximum) == (10, 10, 9, -511, 511)
    assert (unsigned.width, unsigned.signed_width, unsigned.magnitude_bits, unsigned.minimum, unsigned.maximum) == (8, 9, 8, 0, 255)


@pytest.mark.parametrize("text", ["S0.11", "U0.8", "S31.0", "U32.0", "U0.1", "S10.21"])
def test_text_round_trip(text: str) -> None:
    assert str(Format.parse(text)) == text


@pytest.mark.parametrize("text", ["", "S", "S0", "S0.", "s0.11", "S-1.4", "S0.11 ", "S0.111", "Q0.8", "S0,8", 11, None])
def test_no_format(text: object) -> None:
    with pytest.raises(FrennError, match=r"is no number format; write Sm\.n or Um\.n"):
        Format.parse(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["S0.0", "U0.0", "S32.0", "U33.0", "S16.16"])
def test_size_out_of_range(text: str) -> None:
    with pytest.raises(FrennError, match="at least one magnitude bit and at most 32 bits"):
        Format.parse(text)


def test_negative_field() -> None:
    with pytest.raises(FrennError, match="must not be negative"):
        Format(True, -1, 8)


def test_from_float_rounds_ties_up() -> None:
    values = np.array([0.5, -0.5, 1.5, -1.5, 0.49, -0.51, 0.0]) / 4
    assert Format.parse("S0.2").from_float(values).tolist() == [1, 0, 2, -1, 0, -1, 0]


def test_float_round_trip(rng: np.random.Generator) -> None:
    for text in ("S0.11", "U0.8", "S5.12", "S10.21"):
        number_format = Format.parse(text)
        values = rng.integers(number_format.minimum, number_format.maximum + 1, 200)
        np.testing.assert_array_equal(number_format.from_float(number_format.to_float(values)), values)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_from_float_refuses_what_is_not_finite(value: float) -> None:
    with pytest.raises(FrennError, match="not finite"):
        Format.parse("S0.8").from_float(np.array([0.0, value]))


@pytest.mark.parametrize(("text", "value"), [("S0.8", 1.0), ("S0.8", -1.0), ("U0.8", -0.01), ("U0.8", 1.0), ("S0.2", 0.875)])
def test_from_float_never_clips(text: str, value: float) -> None:
    with pytest.raises(FrennError, match=f"do not fit {text}"):
        Format.parse(text).from_float(np.array([value]))


def test_from_float_of_nothing() -> None:
    assert Format.parse("S0.8").from_float(np.zeros((0, 3))).shape == (0, 3)
