# SPDX-License-Identifier: Apache-2.0
"""Every rounding and every table of the machine, defined once on integers.

The golden model computes with these functions, each gateware component names the one that it implements as its
``model()``, and the compiler derives its shifts from them. All arrays are integers; no float decides a bit.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

SEGMENTS: Final = 16
"""Segments of the activation on [0, 4): each is a quarter wide."""

SLOPE_FRACTION: Final = 6
"""Fraction bits of a segment's slope; 7 bits hold the slopes 0 to 1."""

BASE_FRACTION: Final = SLOPE_FRACTION + 2
"""Fraction bits of a segment's base: slope times a quarter is exact in it."""

LOGIT_FRACTION: Final = 8
"""Fraction bits of a logit (pre-activation of the output layer) after rounding."""

LOGIT_BITS: Final = 16
"""Magnitude bits at which a rounded logit saturates."""

TERM_FRACTION: Final = 16
"""Fraction bits of one softmax term ``2**(z - max)``."""

RECIPROCAL_INDEX_BITS: Final = 8
"""Address bits of the reciprocal table."""

RECIPROCAL_FRACTION: Final = 12
"""Fraction bits of an entry of the reciprocal table; entry 0 is exactly 1."""

RANDOM_BITS: Final = 32
"""Bits of one random word."""

ROW_ROTATION: Final = 5
"""Positions by which the random word turns from one row to the next; coprime to 32."""

MIX_ROUNDS: Final = 6
"""Rounds of the random mixing function."""

BATCH_SAMPLES: Final = 64
"""Samples over which the exact products of an update are summed at the most: a sum needs 6 bits more than a product."""

ACTIVATIONS: Final = ("tanh", "hard_tanh", "hard_sigmoid")
"""Names of the activations, in the order of their codes."""


def round_half_up(values: IntArray, shift: int) -> IntArray:
    """Drop ``shift`` fraction bits, to nearest, ties up: ``(x + half) >> shift``; a shift of 0 changes nothing."""
    values = np.asarray(values, dtype=np.int64)
    if shift == 0:
        return values
    return (values + (np.int64(1) << np.int64(shift - 1))) >> np.int64(shift)


def saturate(values: IntArray, bits: int) -> IntArray:
    """Clip symmetrically to ``bits`` magnitude bits: ``-(2**bits - 1)`` to ``2**bits - 1``."""
    limit = (1 << bits) - 1
    return np.clip(values, -limit, limit)


def activation_table(activation: str) -> tuple[IntArray, IntArray]:
    """Bases and slopes of the segments of one activation on [0, 4).

    Parameters
    ----------
    activation : str
        One of `ACTIVATIONS`. ``tanh`` joins the points ``round(256 tanh(k / 4)) / 256``.

    Returns
    -------
    bases : (16,) int64
        Value at the left end of each segment, U1.8.
    slopes : (16,) int64
        Slope of each segment, U1.6, so that segment k + 1 begins where segment k ends.
    """
    knots = np.arange(SEGMENTS + 1) / 4
    curve = np.tanh(knots) if activation == "tanh" else np.minimum(knots, 1.0)
    # Half up, as everywhere; no knot is near a tie, so the last bit of a platform's tanh cannot matter.
    points = np.floor(curve * (1 << BASE_FRACTION) + 0.5).astype(np.int64)
    return points[:-1], np.diff(points)


def activate(values: IntArray, fraction: int, state_fraction: int, activation: str) -> tuple[IntArray, IntArray]:
    """Piecewise-linear activation of rounded pre-activations.

    Parameters
    ----------
    values : int64 array
        Pre-activations of format ``S2.fraction``.
    fraction : int
        Fraction bits of the pre-activations, at least 2.
    state_fraction : int
        Fraction bits of the result.
    activation : str
        One of `ACTIVATIONS`.

    Returns
    -------
    states : int64 array
        ``S0.state_fraction``; the magnitude is rounded to nearest, ties up, then signed, so that tanh and
        hard-tanh are odd.
    slopes : int64 array
        Slope of the segment that each pre-activation stands on, U1.6.
    """
    bases, slopes = activation_table(activation)
    values = np.asarray(values, dtype=np.int64)
    magnitude = np.abs(values)
    segment = magnitude >> np.int64(fraction - 2)
    within = magnitude & np.int64((1 << (fraction - 2)) - 1)
    slope = slopes[segment]
    exact = (bases[segment] << np.int64(SLOPE_FRACTION + fraction - BASE_FRACTION)) + slope * within
    states = saturate(round_half_up(exact, SLOPE_FRACTION + fraction - state_fraction), state_fraction)
    if activation == "hard_sigmoid":
        return np.where(values < 0, 0, states), np.where(values < 0, 0, slope)
    return np.where(values < 0, -states, states), slope


def deviate(drives: IntArray, slopes: IntArray, shift: int, bits: int) -> tuple[IntArray, IntArray]:
    """Deviation of rounded drives: drive times slope, rounded by ``shift`` and saturated to ``bits`` magnitude bits.

    Returns
    -------
    deviations, saturated : int64 array, bool array
    """
    rounded = round_half_up(np.asarray(drives, dtype=np.int64) * slopes, shift)
    deviations = saturate(rounded, bits)
    return deviations, deviations != rounded


def reciprocal_table() -> IntArray:
    """(256,) int64, U1.12: ``1 / (1 + (i + 1/2) / 256)`` to nearest, but exactly 1 for i = 0.

    Entry 0 makes the probability of an output that stands alone exactly 1 and its error exactly 0.
    """
    index = np.arange(1 << RECIPROCAL_INDEX_BITS, dtype=np.int64)
    denominator = (2 << RECIPROCAL_INDEX_BITS) + 2 * index + 1
    numerator = np.int64(2 << (RECIPROCAL_INDEX_BITS + RECIPROCAL_FRACTION))
    table = (2 * numerator + denominator) // (2 * denominator)
    table[0] = 1 << RECIPROCAL_FRACTION
    return table


def softmax_terms(logits: IntArray) -> IntArray:
    """Terms ``2**(z - max z)`` with ``2**f ~ 1 + f``, U1.16, of logits with 8 fraction bits.

    The distance below the maximum is split into ``-I + f`` with ``0 <= f < 1``; the term is
    ``(1 + f) / 2**I``, rounded to nearest, ties up. The largest term is exactly 1.
    """
    distance = np.asarray(logits, dtype=np.int64) - np.max(logits)
    mantissa = (1 << LOGIT_FRACTION) + (distance & ((1 << LOGIT_FRACTION) - 1))
    exponent = np.minimum(-(distance >> LOGIT_FRACTION), TERM_FRACTION + 2)
    scaled = mantissa << (TERM_FRACTION - LOGIT_FRACTION)
    terms: IntArray = (scaled + ((np.int64(1) << exponent) >> 1)) >> exponent
    return terms


def output_error(logits: IntArray, label: int, error_fraction: int) -> tuple[IntArray, IntArray]:
    """Output error ``e = target - softmax(z)`` in base 2, ``S0.error_fraction``.

    Parameters
    ----------
    logits : (n,) int64
        Rounded logits, 8 fraction bits.
    label : int
        Index of the target, 0 to n - 1.
    error_fraction : int
        Fraction bits of the error, at most 15.

    Returns
    -------
    error, saturated : (n,) int64, (n,) bool
        Saturated symmetrically: a target of probability 0 gives ``2**error_fraction - 1``.
    """
    terms = softmax_terms(logits)
    total = int(terms.sum())
    exponent = total.bit_length() - 1
    # The mantissa bits below the leading one; a total of at least 1 has 16 of them.
    index = (total >> (exponent - RECIPROCAL_INDEX_BITS)) & ((1 << RECIPROCAL_INDEX_BITS) - 1)
    products = terms * reciprocal_table()[index]
    shift = RECIPROCAL_FRACTION + exponent - error_fraction
    error = -round_half_up(products, shift)
    error[label] += 1 << error_fraction
    clipped = saturate(error, error_fraction)
    return clipped, clipped != error


def _rotate_left(word: NDArray[np.uint32], by: int) -> NDArray[np.uint32]:
    return (word << np.uint32(by)) | (word >> np.uint32(32 - by))


def mix_keys(seed: int) -> NDArray[np.uint32]:
    """Key of each round of `mix`, (MIX_ROUNDS,) uint32: the seed plus multiples of the golden ratio."""
    return np.array([(seed + 0x9E3779B9 * index) & 0xFFFFFFFF for index in range(MIX_ROUNDS)], dtype=np.uint32)


def mix(seed: int, step: int, columns: IntArray) -> NDArray[np.uint32]:
    """Random words of weight columns at one training step.

    A function of its arguments alone, so skipping, order, resuming and the number of lanes share no history. Each
    round adds, rotates and exclusive-ors two 32-bit words (the shape of the Speck block cipher, public domain).

    Parameters
    ----------
    seed : int
        32-bit seed of the network.
    step : int
        32-bit number of the training sample, counted from 0 over the whole run.
    columns : int array
        Column numbers: the compiler counts the columns of all weight blocks through, as they are stored (`graph.by_source`).

    Returns
    -------
    uint32 array, shape of `columns`
    """
    a = np.asarray(columns).astype(np.uint32)
    b = np.full_like(a, step & 0xFFFFFFFF)
    with np.errstate(over="ignore"):
        for key in mix_keys(seed):
            a = (_rotate_left(a, 24) + b) ^ key
            b = _rotate_left(b, 3) ^ a
    return a


def random_bits(words: NDArray[np.uint32], rows: IntArray, bits: int) -> IntArray:
    """Top ``bits`` bits of each column's random word, turned left by ``5 * row`` positions for each row.

    Parameters
    ----------
    words : (columns,) uint32
    rows : (rows,) int64
        Row numbers within the block.
    bits : int
        0 to 32.

    Returns
    -------
    (rows, columns) int64
    """
    turn = (ROW_ROTATION * np.asarray(rows, dtype=np.uint64) % 32)[:, None]
    wide = words.astype(np.uint64)[None, :]
    turned = ((wide << turn) | (wide >> (np.uint64(32) - turn))) & np.uint64(0xFFFFFFFF)
    return (turned >> np.uint64(32 - bits)).astype(np.int64)


def narrow_weights(weights: IntArray, shift: int, bits: int) -> IntArray:
    """Copies of weights as they are multiplied: ``shift`` fraction bits fewer, to nearest, ties up, and ``bits`` magnitude bits."""
    return saturate(round_half_up(weights, shift), bits)


def update_weights(
    weights: IntArray, deviations: IntArray, states: IntArray, shift: int, noise: IntArray | int, bits: int
) -> tuple[IntArray, IntArray]:
    """Learning rule ``W += floor((sum D s^T + u) / 2**shift)`` over the samples of a minibatch, then symmetric saturation.

    The products are summed exactly, and the learning rate, which is part of the shift, multiplies the sum: rounding and
    saturation happen once for each weight. In the widest formats of a network a deviation has 24 magnitude bits (the literal form's
    difference of two states) and a state 23, so the sum over `BATCH_SAMPLES` stays below 2**53, and below 2**54 with ``u``.

    Parameters
    ----------
    weights : (rows, columns) int64
    deviations : (rows,) or (samples, rows) int64
    states : (columns,) or (samples, columns) int64
    shift : int
        Bits by which the product is finer than the weight.
    noise : (rows, columns) int64 or int
        ``shift`` random bits each (stochastic rounding), or half, ``2**(shift - 1)`` (nearest, ties up).
    bits : int
        Magnitude bits of a weight.

    Returns
    -------
    weights, saturated : int64 array, bool array of the same shape
    """
    total = np.atleast_2d(deviations).T @ np.atleast_2d(states)
    exact = weights + ((total + noise) >> np.int64(shift))
    learned = saturate(exact, bits)
    return learned, learned != exact
