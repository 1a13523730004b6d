# SPDX-License-Identifier: Apache-2.0
"""Optimisers: how a float weight follows its gradients."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..firmware.errors import FrennError

FloatArray = NDArray[np.floating[Any]]


class Optimizer(ABC):
    """Takes weights down their gradients, in place.

    What it remembers of a weight has the weight's shape and type, begins at zero with the first step, and moves to and from a
    checkpoint by `state` and `restore`, so that a run goes on to the same bits.

    Parameters
    ----------
    rate : float
        Learning rate; it may be set to another value between two steps.
    factors : sequence of float, optional
        Each array's learning rate over ``rate``.

    Raises
    ------
    FrennError
        If a parameter is out of range.
    """

    def __init__(self, rate: float, *, factors: Sequence[float] | None = None) -> None:
        for name, values in (("rate", [rate]), ("factors", factors or [])):
            for value in values:
                _require(name, value, 0 < value < float("inf"), "a positive number")
        self.rate = rate
        self.factors = factors
        self.steps = 0
        self._memory: dict[str, list[FloatArray]] = {}

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of what is remembered of every weight."""

    @abstractmethod
    def _move(self, weights: FloatArray, gradient: FloatArray, memory: dict[str, FloatArray], rate: float) -> None:
        """Step one array, and its memory, in place."""

    def step(self, weights: Sequence[FloatArray], gradients: Sequence[FloatArray]) -> None:
        """Change weights in place.

        Parameters
        ----------
        weights, gradients : sequences of float arrays
            Of equal lengths, shapes and types; the same weights at every step.
        """
        if not self._memory:
            self._memory = {name: [np.zeros_like(block) for block in weights] for name in self.names}
        self.steps += 1
        factors = [1.0] * len(weights) if self.factors is None else self.factors
        for index, (block, gradient, factor) in enumerate(zip(weights, gradients, factors, strict=True)):
            self._move(block, gradient, {name: self._memory[name][index] for name in self.names}, self.rate * factor)

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of everything remembered: ``steps``, and ``"name.index"`` of each weight array."""
        arrays: dict[str, NDArray[Any]] = {"steps": np.array(self.steps, dtype=np.int64)}
        for name, blocks in self._memory.items():
            arrays |= {f"{name}.{index}": block.copy() for index, block in enumerate(blocks)}
        return arrays

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a `state`.

        Raises
        ------
        FrennError
            If it is that of another optimiser; nothing changes then.
        """
        names = ({key.rpartition(".")[0] for key in state} - {""}) or set(self.names)
        if "steps" not in state or names != set(self.names):
            raise FrennError(f"the state of an optimiser remembers {', '.join(sorted(state))}; {type(self).__name__} cannot go on from it")
        count = (len(state) - 1) // max(len(self.names), 1)
        self._memory = {name: [np.array(state[f"{name}.{index}"]) for index in range(count)] for name in self.names if count}
        self.steps = int(state["steps"])


class SGD(Optimizer):
    """Gradient descent: ``v = momentum v + g``, ``w -= rate v``.

    Parameters
    ----------
    rate, factors
        See `Optimizer`.
    momentum : float
        0 (plain) to below 1.
    """

    def __init__(self, rate: float, momentum: float = 0.0, *, factors: Sequence[float] | None = None) -> None:
        super().__init__(rate, factors=factors)
        _require("momentum", momentum, 0 <= momentum < 1, "a number from 0 to below 1")
        self.momentum = momentum

    @property
    def names(self) -> tuple[str, ...]:
        """``velocity`` where there is momentum."""
        return ("velocity",) if self.momentum else ()

    def _move(self, weights: FloatArray, gradient: FloatArray, memory: dict[str, FloatArray], rate: float) -> None:
        if self.momentum:
            velocity = memory["velocity"]
            velocity *= self.momentum
            velocity += gradient
            gradient = velocity
        weights -= rate * gradient


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015) with both bias corrections: ``w -= rate m / (sqrt(v) + epsilon)``.

    Parameters
    ----------
    rate, factors
        See `Optimizer`.
    first, second : float
        Decay of the mean and of the mean square of the gradients, 0 to below 1.
    epsilon : float
        Positive. A gradient not well above it moves its weight less than others: what the literal form of Equilibrium Propagation
        meets in deep networks.
    """

    def __init__(
        self,
        rate: float = 1e-3,
        first: float = 0.9,
        second: float = 0.999,
        epsilon: float = 1e-8,
        *,
        factors: Sequence[float] | None = None,
    ) -> None:
        super().__init__(rate, factors=factors)
        _require("first", first, 0 <= first < 1, "a number from 0 to below 1")
        _require("second", second, 0 <= second < 1, "a number from 0 to below 1")
        _require("epsilon", epsilon, epsilon > 0, "a positive number")
        self.first, self.second, self.epsilon = first, second, epsilon

    @property
    def names(self) -> tuple[str, ...]:
        """``mean`` and ``square``."""
        return ("mean", "square")

    def _move(self, weights: FloatArray, gradient: FloatArray, memory: dict[str, FloatArray], rate: float) -> None:
        mean, square = memory["mean"], memory["square"]
        mean *= self.first
        mean += (1 - self.first) * gradient
        square *= self.second
        square += (1 - self.second) * gradient * gradient
        size = np.sqrt(square / (1 - self.second**self.steps))
        size += self.epsilon
        weights -= rate / (1 - self.first**self.steps) * (mean / size)


def _require(name: str, value: float, legal: bool, what: str) -> None:
    if not legal:
        raise FrennError(f"optimiser: {name} is {value!r}; legal is {what}")
