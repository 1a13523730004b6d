# SPDX-License-Identifier: Apache-2.0
"""Every rounding against values worked by hand."""

from fractions import Fraction

import numpy as np
import pytest
from frenn.firmware import arithmetic
from frenn.rtl_gen.random_words import RandomWords


def test_round_half_up() -> None:
    values = np.array([5, -5, 6, -6, 7, -7, 2, -2, 0])
    assert arithmetic.round_half_up(values, 2).tolist() == [1, -1, 2, -1, 2, -2, 1, 0, 0]
    assert arithmetic.round_half_up(values, 0).tolist() == values.tolist()
    assert arithmetic.round_half_up(np.array([(1 << 62) - 1, -(1 << 62)]), 62).tolist() == [1, -1]


def test_saturation_is_symmetric() -> None:
    values = np.array([-9, -8, -7, -1, 0, 6, 7, 8])
    assert arithmetic.saturate(values, 3).tolist() == [-7, -7, -7, -1, 0, 6, 7, 7]


def test_tanh_table() -> None:
    bases, slopes = arithmetic.activation_table("tanh")
    assert bases.tolist() == [0, 63, 118, 163, 195, 217, 232, 241, 247, 250, 253, 254, 255, 255, 256, 256]
    assert slopes.tolist() == [63, 55, 45, 32, 22, 15, 9, 6, 3, 3, 1, 1, 0, 1, 0, 0]


@pytest.mark.parametrize("activation", ["hard_tanh", "hard_sigmoid"])
def test_hard_tables(activation: str) -> None:
    bases, slopes = arithmetic.activation_table(activation)
    assert bases.tolist() == [0, 64, 128, 192] + 12 * [256]
    assert slopes.tolist() == 4 * [64] + 12 * [0]


def test_activations() -> None:
    values = np.array([0, 128, -128, 256, 1023, 1024, 4095, -4095])
    states, slopes = arithmetic.activate(values, 10, 8, "tanh")
    # 63 / 64 * 128 / 4 = 31.5 goes up; 192 + 31.9 and 195 are on the curve; the end saturates below 1.
    assert states.tolist() == [0, 32, -32, 63, 195, 195, 255, -255]
    assert slopes.tolist() == [63, 63, 63, 55, 32, 22, 0, 0]
    states, slopes = arithmetic.activate(values, 10, 8, "hard_tanh")
    assert states.tolist() == [0, 32, -32, 64, 255, 255, 255, -255]
    assert slopes.tolist() == [64, 64, 64, 64, 64, 0, 0, 0]
    states, slopes = arithmetic.activate(values, 10, 8, "hard_sigmoid")
    assert states.tolist() == [0, 32, 0, 64, 255, 255, 255, 0]
    assert slopes.tolist() == [64, 64, 0, 64, 64, 0, 0, 0]


@pytest.mark.parametrize("activation", arithmetic.ACTIVATIONS)
def test_activation_never_falls(activation: str) -> None:
    values = np.arange(-4095, 4096)
    states, slopes = arithmetic.activate(values, 10, 8, activation)
    assert (np.diff(states) >= 0).all()
    assert states.min() >= -255 and states.max() == 255
    assert slopes.min() >= 0 and slopes.max() <= 64


def test_deviation() -> None:
    deviations, saturated = arithmetic.deviate(np.array([3, -1, -3, 100, -100]), np.array([64, 32, 32, 64, 64]), 6, 5)
    assert deviations.tolist() == [3, 0, -1, 31, -31]
    assert saturated.tolist() == [False, False, False, True, True]


def test_reciprocal_table() -> None:
    table = arithmetic.reciprocal_table()
    assert (table.shape, table[0], table[1], table[128], table[255]) == ((256,), 4096, 4072, 2727, 2050)
    for index in range(1, 256):
        exact = Fraction(4096 * 512, 512 + 2 * index + 1)
        assert abs(int(table[index]) - exact) <= Fraction(1, 2)


def test_softmax_terms() -> None:
    # Distances 0, -1/256, -1/2, -1, -17 and -18; 2^f is 1 + f.
    logits = np.array([0, -1, -128, -256, -17 * 256, -18 * 256, -100000]) + 700
    assert arithmetic.softmax_terms(logits).tolist() == [65536, 65408, 49152, 32768, 1, 0, 0]


def test_output_error() -> None:
    error, saturated = arithmetic.output_error(np.array([0, 0]), 0, 8)
    assert (error.tolist(), saturated.any()) == ([128, -128], False)
    # Three equal outputs: the sum 3 has the reciprocal 2727 / 4096 / 2, so that p = 85.2.
    error, saturated = arithmetic.output_error(np.array([7, 7, 7]), 2, 8)
    assert (error.tolist(), saturated.any()) == ([-85, -85, 171], False)


def test_output_error_of_an_output_that_stands_alone() -> None:
    logits = np.array([5000, 0, -100])
    error, saturated = arithmetic.output_error(logits, 0, 8)
    assert (error.tolist(), saturated.tolist()) == ([0, 0, 0], [False, False, False])
    error, saturated = arithmetic.output_error(logits, 1, 8)
    assert (error.tolist(), saturated.tolist()) == ([-255, 255, 0], [True, True, False])


def test_mix_is_pinned() -> None:
    assert arithmetic.mix(0, 0, np.arange(3)).tolist() == [0x8F385298, 0x5D219C8B, 0x7820E5C0]
    assert arithmetic.mix(1, 2, np.array([3, 0xFFFFF])).tolist() == [0x750051D5, 0x61064627]
    assert arithmetic.mix(0xFFFFFFFF, 0xFFFFFFFF, np.array([0xFFFFF])).tolist() == [0xCC614309]


def test_mix_depends_on_each_argument_and_on_nothing_else(rng: np.random.Generator) -> None:
    columns = rng.permutation(1 << 12)
    words = arithmetic.mix(3, 5, columns)
    np.testing.assert_array_equal(words[100:200], arithmetic.mix(3, 5, columns[100:200]))
    assert (words != arithmetic.mix(4, 5, columns)).mean() > 0.99
    assert (words != arithmetic.mix(3, 6, columns)).mean() > 0.99
    assert len(set(words.tolist())) > 4090


def test_random_bits() -> None:
    word = np.array([0x80000001], dtype=np.uint32)
    assert arithmetic.random_bits(word, np.array([0, 1, 6, 7]), 32).ravel().tolist() == [0x80000001, 0x30, 0x60000000, 0xC]
    assert arithmetic.random_bits(word, np.array([0, 1, 6]), 3).ravel().tolist() == [4, 0, 3]
    assert arithmetic.random_bits(word, np.array([0, 1]), 0).ravel().tolist() == [0, 0]


def test_random_bits_are_the_gateware_words_turned(rng: np.random.Generator) -> None:
    columns, rows = rng.integers(0, 1 << 20, 50), np.arange(40)
    bits = arithmetic.random_bits(arithmetic.mix(9, 4, columns), rows, 11)
    for row in rows.tolist():
        np.testing.assert_array_equal(bits[row], RandomWords.model(9, 4, columns, 5 * row % 32) >> 21)


def test_update() -> None:
    weights = np.array([[0, 0, 2047, -2047]])
    states = np.array([100, -100, 100, 100])
    # 20 x 100 = 2000 of 2048: nearest goes to 1, and -2000 to -1.
    learned, saturated = arithmetic.update_weights(weights, np.array([20]), states, 11, 1024, 11)
    assert (learned.tolist(), saturated.tolist()) == ([[1, -1, 2047, -2046]], [[False, False, True, False]])
    # 3 x 100 = 300 needs 1748 of noise to reach 1, and -300 needs 300 to stay at 0.
    noise = np.array([[1747, 299, 1748, 0]])
    learned, saturated = arithmetic.update_weights(weights, np.array([3]), states, 11, noise, 11)
    assert (learned.tolist(), saturated.tolist()) == ([[0, -1, 2047, -2047]], [[False, False, True, False]])


def test_update_of_a_minibatch_rounds_and_saturates_once() -> None:
    weights = np.array([[0, 2000, -2047]])
    deviations, states = np.full((3, 1), 7), np.tile([100, 157, -157], (3, 1))
    # Three times 700, 1099 and -1099 of 2048: to nearest 1, 2 and -2, where single products would make 0, 3 and -3.
    learned, saturated = arithmetic.update_weights(weights, deviations, states, 11, 1024, 11)
    assert (learned.tolist(), saturated.tolist()) == ([[1, 2002, -2047]], [[False, False, True]])
    # Over the limit and back is not clipped on the way.
    learned, saturated = arithmetic.update_weights(weights[:, 1:2], np.array([[100], [-99]]), np.full((2, 1), 2048), 11, 0, 11)
    assert (learned.tolist(), saturated.any()) == ([[2001]], False)


def test_update_of_the_largest_minibatch_in_the_widest_formats_is_exact() -> None:
    # The literal form's difference of two states of 23 magnitude bits, 64 times, and 32 random bits.
    deviation, state, noise = -2 * ((1 << 23) - 1), (1 << 23) - 1, (1 << 32) - 1
    batch = np.full((arithmetic.BATCH_SAMPLES, 1), deviation), np.full((arithmetic.BATCH_SAMPLES, 1), state)
    learned, _ = arithmetic.update_weights(np.array([[3]]), *batch, 32, noise, 40)
    assert int(learned[0, 0]) == 3 + (64 * deviation * state + noise) // 2**32
    assert 64 * abs(deviation) * state < 2**53


def test_narrow_weights() -> None:
    assert arithmetic.narrow_weights(np.array([5, 6, -6, 7, 2047, -2047]), 2, 8).tolist() == [1, 2, -1, 2, 255, -255]


def test_stochastic_rounding_is_exact_on_average() -> None:
    noise = np.arange(2048)[:, None]
    learned, _ = arithmetic.update_weights(np.zeros((2048, 1), dtype=np.int64), np.full(2048, -3), np.array([101]), 11, noise, 11)
    assert learned.sum() == -303
