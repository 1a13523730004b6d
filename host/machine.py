# SPDX-License-Identifier: Apache-2.0
"""What a machine is: the golden model, its compiled form and a device behind its driver, one as good as the other."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..firmware.arithmetic import IntArray
from ..sim.golden import Relaxed


class Machine(Protocol):
    """Something that holds a network's weights, trains it and predicts.

    Every machine gives the same integers for the same calls.
    """

    def load(self, weights: list[IntArray]) -> None:
        """Take over weights, a (rows, columns) int64 array per edge in the network's weight format."""

    def weights(self) -> list[IntArray]:
        """The weights as they are now, a (rows, columns) int64 array per edge."""

    def train(self, inputs: IntArray, labels: IntArray, step: int, rate: int) -> tuple[IntArray, NDArray[np.bool_]]:
        """Learn samples one after the other, or by whole minibatches from the first sample on, of which the last may be short.

        Parameters
        ----------
        inputs : (samples, inputs) int
            In the network's input format.
        labels : (samples,) int
        step : int
            Number of the first sample, counted from 0 over the whole run.
        rate : int
            Binary logarithm of the learning rate.

        Returns
        -------
        predictions : (samples,) int64
            Of each sample before it is learned.
        wrong : (samples,) bool
            Whether the output error had an element that is not zero.
        """

    def store(self, weights: list[IntArray]) -> None:
        """Replace the weights and nothing else: program, counters and states stay."""

    def relax(self, inputs: IntArray, labels: IntArray, step: int, rate: int) -> Relaxed:
        """Train, and give what each sample relaxed to; arguments as for `train`."""

    def infer(self, inputs: IntArray) -> IntArray:
        """Predictions, (samples,) int64, of (samples, inputs) int."""

    def counters(self) -> dict[str, int]:
        """Performance counters by name: those of `counters.GOLDEN`, and on an engine those of `counters.ENGINE`."""

    def clear_counters(self) -> None:
        """Set every counter to zero."""
