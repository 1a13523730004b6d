# SPDX-License-Identifier: Apache-2.0
"""Serial lines as a receiver's clock sees them."""

import numpy as np


def character_line(generator: np.random.Generator, content: bytes, period: float, gap: float = 0.0) -> np.ndarray:
    """Levels, (cycles,) bool, of a line on which a sender of another clock puts characters.

    Parameters
    ----------
    generator : numpy.random.Generator
        Draws where the sender's clock stands, and the gaps.
    content : bytes
    period : float
        Cycles of a bit.
    gap : float
        Longest pause between characters, in bits.
    """
    bits: list[int] = [1]
    lengths = [2 + generator.random()]
    for byte in content:
        bits += [0, *(byte >> bit & 1 for bit in range(8)), 1]
        lengths += [*([1.0] * 9), 1 + gap * generator.random()]
    bits.append(1)
    lengths.append(2.0)
    edges = np.cumsum(lengths) * period
    # Cycle n samples the line at the time n.
    return np.array(bits, dtype=bool)[np.searchsorted(edges, np.arange(int(edges[-1])), side="right")]
