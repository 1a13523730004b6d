# SPDX-License-Identifier: Apache-2.0
"""Learning by the host: the machine relaxes, the host keeps float weights and an optimiser."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..firmware.arithmetic import IntArray
from ..firmware.errors import FrennError
from ..firmware.graph import deviation_fractions
from ..firmware.network import Network
from ..sim.optimizers import SGD, Adam, Optimizer
from .machine import Machine

MOMENTUM = 0.9


class HostUpdate:
    """Float master weights of a network that the host updates, minibatch by minibatch.

    The gradient of a block is ``-mean(D s^T)`` over the minibatch, ``D`` in units of each layer's gamma. A master weight that leaves the
    weight format's range stays at its end, as a weight on the chip does.

    Parameters
    ----------
    network : Network
        With ``update = "host"``.
    weights : list of (rows, columns) int64
        Initial weights, one array per edge.
    """

    def __init__(self, network: Network, weights: list[IntArray]) -> None:
        self.network = network
        self._learned = [block for block, edge in enumerate(network.edges) if edge.learns]
        self._fixed = [np.array(block) for block in weights]
        self.masters: list[NDArray[np.floating]] = [network.formats.weight.to_float(weights[block]) for block in self._learned]
        self.saturated = 0
        factors = [2.0 ** network.edges[block].rate_exponent for block in self._learned]
        rate = 2.0**network.learning.rate_exponent
        name = network.learning.optimizer
        self.optimizer: Optimizer = (
            Adam(rate, factors=factors) if name == "adam" else SGD(rate, MOMENTUM if name == "momentum" else 0.0, factors=factors)
        )

    def learn(self, machine: Machine, inputs: IntArray, labels: IntArray, step: int, rate: int) -> IntArray:
        """Learn one minibatch.

        Parameters
        ----------
        machine : Machine
            Holds the weights of the minibatch before.
        inputs, labels, step, rate
            See `Machine.train`.

        Returns
        -------
        (samples,) int64
            Predictions before the minibatch is learned.
        """
        formats = self.network.formats
        relaxed = machine.relax(inputs, labels, step, rate)
        free = relaxed.states
        if self.network.relaxation.literal:
            # The states are the clamped ones, and the deviations what they differ by.
            free = [clamped - change for clamped, change in zip(free, relaxed.deviations[:-1], strict=True)]
        states = [formats.input.to_float(inputs), *(formats.state.to_float(layer) for layer in free)]
        deviations = [
            values * 2.0**-fraction for values, fraction in zip(relaxed.deviations, deviation_fractions(self.network)[1:], strict=True)
        ]
        gradients = []
        for block in self._learned:
            source, target = self.network.ends[block]
            gradients.append(-deviations[target - 1].T @ states[source] / len(inputs))
        self.optimizer.rate = 2.0**rate
        self.optimizer.step(self.masters, gradients)
        largest = formats.weight.to_float(np.array(formats.weight.maximum))
        for master in self.masters:
            self.saturated += int(np.count_nonzero(np.abs(master) > largest))
            np.clip(master, -largest, largest, out=master)
        machine.store(self.weights())
        return relaxed.predictions

    def weights(self) -> list[IntArray]:
        """The weights that the machine works with, rounded to nearest: a (rows, columns) int64 array per edge."""
        weights = list(self._fixed)
        for block, master in zip(self._learned, self.masters, strict=True):
            weights[block] = self.network.formats.weight.from_float(master)
        return weights

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of all that the next minibatch depends on: ``master.0`` and on, float64, and ``optimizer.*``; see `Optimizer.state`."""
        masters: dict[str, NDArray[Any]] = {f"master.{index}": master.copy() for index, master in enumerate(self.masters)}
        return masters | {f"optimizer.{name}": array for name, array in self.optimizer.state().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a `state`.

        Raises
        ------
        FrennError
            If it is that of another optimiser or other blocks; nothing changes then.
        """
        names = [f"master.{index}" for index in range(len(self.masters))]
        optimizer = {name.removeprefix("optimizer."): array for name, array in state.items() if name.startswith("optimizer.")}
        shapes = {name: array.shape for name, array in state.items() if name.startswith("master.")}
        if shapes != {name: master.shape for name, master in zip(names, self.masters, strict=True)}:
            raise FrennError("the state belongs to other weight blocks; go on with the network that wrote it")
        self.optimizer.restore(optimizer)
        self.masters = [np.array(state[name]) for name in names]
