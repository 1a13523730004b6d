# SPDX-License-Identifier: Apache-2.0
"""Optimisers against closed forms."""

import numpy as np
import pytest
from frenn.firmware.errors import FrennError
from frenn.sim.optimizers import SGD, Adam, Optimizer


def test_plain_descent() -> None:
    weights = [np.array([[1.0, -2.0]]), np.array([[0.5]])]
    SGD(0.25).step(weights, [np.array([[4.0, 2.0]]), np.array([[-8.0]])])
    assert [block.tolist() for block in weights] == [[[0.0, -2.5]], [[2.5]]]


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_momentum_of_a_constant_gradient(momentum: float) -> None:
    """``v_n = g (1 - m^n) / (1 - m)``, and the weight is minus the rate times the sum of the ``v``."""
    weights, gradient, steps = [np.zeros(3)], np.array([1.0, -2.0, 0.25]), 20
    optimizer = SGD(0.01, momentum)
    for _ in range(steps):
        optimizer.step(weights, [gradient])
    velocities = [(1 - momentum**n) / (1 - momentum) for n in range(1, steps + 1)]
    np.testing.assert_allclose(weights[0], -0.01 * sum(velocities) * gradient, rtol=1e-12)


def test_adam_of_a_constant_gradient() -> None:
    """Both corrected moments are those of the gradient itself, so every step is ``rate g / (|g| + epsilon)``."""
    weights, gradient = [np.zeros(4)], np.array([3.0, -1e-3, 1e-8, 0.0])
    optimizer = Adam(0.01, epsilon=1e-8)
    for _ in range(50):
        optimizer.step(weights, [gradient])
    np.testing.assert_allclose(weights[0], -50 * 0.01 * gradient / (np.abs(gradient) + 1e-8), rtol=1e-9)


def test_adam_by_sums(rng: np.random.Generator) -> None:
    """The moments as weighted sums over all gradients, instead of step by step."""
    gradients, first, second = rng.normal(size=(12, 5)), 0.8, 0.95
    weights = [np.zeros(5)]
    optimizer = Adam(0.1, first, second, 1e-3)
    expected = np.zeros(5)
    for n, gradient in enumerate(gradients, 1):
        optimizer.step(weights, [gradient])
        ages = np.arange(n - 1, -1, -1.0)[:, None]
        mean = (first**ages * gradients[:n]).sum(axis=0) / (first**ages).sum()
        square = (second**ages * gradients[:n] ** 2).sum(axis=0) / (second**ages).sum()
        expected -= 0.1 * mean / (np.sqrt(square) + 1e-3)
        np.testing.assert_allclose(weights[0], expected, rtol=1e-9)


@pytest.mark.parametrize("make", [lambda: SGD(0.1), lambda: SGD(0.1, 0.9), lambda: Adam(0.1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_state_goes_on_to_the_same_bits(rng: np.random.Generator, make: type[Optimizer], dtype: type) -> None:
    gradients = [[rng.normal(size=shape).astype(dtype) for shape in ((3, 2), (4, 3))] for _ in range(6)]
    start = [rng.normal(size=shape).astype(dtype) for shape in ((3, 2), (4, 3))]
    whole, parts, optimizer = [block.copy() for block in start], [block.copy() for block in start], make()
    fresh = make()
    fresh.restore(optimizer.state())
    for step in range(6):
        optimizer.step(whole, gradients[step])
        fresh.step(parts, gradients[step])
        state, fresh = fresh.state(), make()
        fresh.restore(state)
        for mine, theirs in zip(whole, parts, strict=True):
            assert theirs.dtype == dtype
            np.testing.assert_array_equal(mine, theirs)


def test_states_are_copies() -> None:
    optimizer, weights = Adam(0.1), [np.zeros(2)]
    optimizer.step(weights, [np.ones(2)])
    state = optimizer.state()
    state["mean.0"][:] = 7
    assert optimizer.state()["mean.0"].tolist() != [7, 7]
    other = Adam(0.1)
    other.restore(state)
    state["mean.0"][:] = 9
    assert other.state()["mean.0"].tolist() == [7, 7]


@pytest.mark.parametrize("make", [SGD, Adam])
def test_factors_scale_the_rate_of_each_array(rng: np.random.Generator, make: type[Optimizer]) -> None:
    both, gradients = [np.zeros(3), np.zeros(2)], [[rng.normal(size=3), rng.normal(size=2)] for _ in range(4)]
    alone = [np.zeros(3), np.zeros(2)]
    optimizer, singles = make(0.1, factors=[0.5, 4]), [make(0.05), make(0.4)]
    for gradient in gradients:
        optimizer.step(both, gradient)
        for index, single in enumerate(singles):
            single.step(alone[index : index + 1], gradient[index : index + 1])
    for mine, theirs in zip(both, alone, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_wrong_parameters_are_refused() -> None:
    for make, message in (
        (lambda: SGD(0), "rate is 0"),
        (lambda: Adam(float("nan")), "rate is nan"),
        (lambda: SGD(1, 1), "momentum is 1"),
        (lambda: SGD(1, factors=[1, 0]), "factors is 0"),
        (lambda: Adam(first=-0.1), "first is -0.1"),
        (lambda: Adam(second=1), "second is 1"),
        (lambda: Adam(epsilon=0), "epsilon is 0"),
    ):
        with pytest.raises(FrennError, match=message):
            make()


def test_a_foreign_state_is_refused() -> None:
    adam, momentum = Adam(), SGD(0.1, 0.5)
    for optimizer in (adam, momentum):
        optimizer.step([np.zeros(2)], [np.ones(2)])
    for optimizer, state in ((adam, momentum.state()), (momentum, adam.state()), (adam, {}), (SGD(0.1), adam.state())):
        before = optimizer.state()
        with pytest.raises(FrennError, match="cannot go on from it"):
            optimizer.restore(state)
        assert str(optimizer.state()) == str(before)
