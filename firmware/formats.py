# SPDX-License-Identifier: Apache-2.0
"""Fixed-point number formats ``Sm.n`` and ``Um.n``."""

import re
from dataclasses import dataclass

import numpy as np

from .arithmetic import IntArray
from .errors import FrennError

MAX_WIDTH = 32


@dataclass(frozen=True, order=True)
class Format:
    """A two's-complement integer with a binary point.

    A value of the format is an integer ``v`` that stands for ``v / 2**fraction``. Saturation is symmetric: a
    signed format runs from ``-(2**(integer + fraction) - 1)`` to ``2**(integer + fraction) - 1``, so that every
    value has its negative and the most negative two's-complement pattern never occurs.

    Parameters
    ----------
    signed : bool
        Whether the format has a sign bit (``S``) or not (``U``).
    integer : int
        Integer bits, sign not counted.
    fraction : int
        Fraction bits.

    Raises
    ------
    FrennError
        If a field is negative, or the format has no magnitude bit or more than 32 bits.
    """

    signed: bool
    integer: int
    fraction: int

    def __post_init__(self) -> None:
        if self.integer < 0 or self.fraction < 0:
            raise FrennError(f"format {self}: integer and fraction bits must not be negative")
        if not self.magnitude_bits >= 1 or self.width > MAX_WIDTH:
            raise FrennError(f"format {self}: a format has at least one magnitude bit and at most {MAX_WIDTH} bits")

    @classmethod
    def parse(cls, text: str) -> "Format":
        """Read ``"S0.11"`` or ``"U0.8"``.

        Raises
        ------
        FrennError
            If the text is not of that form.
        """
        match = re.fullmatch(r"([SU])(\d{1,2})\.(\d{1,2})", text) if isinstance(text, str) else None
        if match is None:
            raise FrennError(f"{text!r} is no number format; write Sm.n or Um.n, for example S0.11 or U0.8")
        return cls(match[1] == "S", int(match[2]), int(match[3]))

    def __str__(self) -> str:
        return f"{'S' if self.signed else 'U'}{self.integer}.{self.fraction}"

    @property
    def magnitude_bits(self) -> int:
        """Bits without the sign."""
        return self.integer + self.fraction

    @property
    def width(self) -> int:
        """Bits with the sign."""
        return self.magnitude_bits + self.signed

    @property
    def signed_width(self) -> int:
        """Bits of a two's-complement word that holds every value: an unsigned format gains a zero sign bit."""
        return self.magnitude_bits + 1

    @property
    def maximum(self) -> int:
        """Largest integer of the format."""
        return (1 << self.magnitude_bits) - 1

    @property
    def minimum(self) -> int:
        """Smallest integer of the format (symmetric)."""
        return -self.maximum if self.signed else 0

    def to_float(self, values: IntArray) -> np.ndarray:
        """Real values (float64, same shape) of integers of this format."""
        return np.asarray(values, dtype=np.float64) / (1 << self.fraction)

    def from_float(self, values: np.ndarray) -> IntArray:
        """Integers (int64, same shape) nearest to real values, ties up.

        Raises
        ------
        FrennError
            If a value is not finite or rounds to an integer outside the format: nothing is clipped silently.
        """
        values = np.asarray(values, dtype=np.float64)
        if not np.isfinite(values).all():
            raise FrennError(f"a value that is not finite (NaN or infinity) has no {self} number")
        integers = np.floor(values * (1 << self.fraction) + 0.5).astype(np.int64)
        if integers.size and (integers.max() > self.maximum or integers.min() < self.minimum):
            raise FrennError(
                f"values from {values.min():g} to {values.max():g} do not fit {self}, "
                f"which runs from {self.minimum / (1 << self.fraction):g} to {self.maximum / (1 << self.fraction):g}"
            )
        return integers
