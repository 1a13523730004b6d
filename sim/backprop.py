# SPDX-License-Identifier: Apache-2.0
"""Backpropagation and feedback alignment on the forward graph of a network, in float."""

from collections.abc import Sequence

import numpy as np

from ..firmware.arithmetic import IntArray
from .optimizers import FloatArray
from .reference import FloatNetwork, Product, Settled


class Backpropagation:
    """Gradients of the mean cross-entropy of the network without its feedback: one pass forward, one back.

    Parameters
    ----------
    graph : FloatNetwork
        Its feedback, and so beta, takes no part in the forward pass.
    alignment : bool
        Feedback alignment: errors go back along the network's feedback instead of the transposed forward blocks. A tied one is the
        transpose, a fixed block counts with scale 1, and an edge without feedback takes nothing back.
    """

    def __init__(self, graph: FloatNetwork, *, alignment: bool = False) -> None:
        self.graph = graph
        self.alignment = alignment
        layers = range(graph.output + 1)
        self._forward = [[product for product in graph.drives[layer] if product.source < layer] for layer in layers]
        self._backward: list[list[Product]] = [[] for _ in layers]
        for block, (edge, (source, target)) in enumerate(zip(graph.network.edges, graph.network.ends, strict=True)):
            if edge.learns and source in graph.hidden and not (alignment and edge.feedback == "none"):
                self._backward[source].append(Product(target, block, True, graph.alpha[block]))
            elif alignment and not edge.learns:
                self._backward[target].append(Product(source, block, False, 1.0))

    def gradients(self, weights: Sequence[FloatArray], inputs: FloatArray, labels: IntArray) -> list[FloatArray]:
        """Gradient of each learned block, (rows, columns), a mean over the samples.

        Parameters
        ----------
        weights : sequence of (rows, columns) float
            One per edge.
        inputs : (samples, inputs) float
        labels : (samples,) integers

        Raises
        ------
        FrennError
            If an argument does not fit the network.
        """
        inputs = self.graph.check(weights, inputs, labels)
        settled = self.forward(weights, inputs)
        errors = self.backward(weights, settled, self.graph.output_error(settled.logits, labels))
        gradients = self.graph.gradients(errors, settled.states)
        return [gradient if alpha == 1 else gradient * alpha for gradient, alpha in zip(gradients, self.graph.alpha, strict=False)]

    def loss(self, weights: Sequence[FloatArray], inputs: FloatArray, labels: IntArray) -> float:
        """Mean cross-entropy, in nats.

        Raises
        ------
        FrennError
            If an argument does not fit the network.
        """
        logits = self.forward(weights, self.graph.check(weights, inputs, labels)).logits
        logits = logits - logits.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]))

    def predict(self, weights: Sequence[FloatArray], inputs: FloatArray) -> IntArray:
        """Class of each sample, (samples,) int64: the first of the largest logits.

        Raises
        ------
        FrennError
            If an argument does not fit the network.
        """
        return np.argmax(self.forward(weights, self.graph.check(weights, inputs)).logits, axis=1)

    def forward(self, weights: Sequence[FloatArray], inputs: FloatArray) -> Settled:
        """States and drives of the network without its feedback; inputs and weights are of the graph's type."""
        states, drives = [inputs], [inputs[:, :0]]
        for layer in range(1, self.graph.output + 1):
            drives.append(_total(self._forward[layer], weights, states, self.graph.network.widths[layer]))
            states.append(self.graph.activate(layer, drives[layer]) if layer < self.graph.output else inputs[:, :0])
        return Settled(states, drives, [None] * len(drives))

    def backward(self, weights: Sequence[FloatArray], settled: Settled, error: FloatArray) -> list[FloatArray]:
        """Minus the gradient of each sample's loss by the drive of each layer, (samples, width); of the input nothing.

        Parameters
        ----------
        weights : sequence of (rows, columns) float
        settled : Settled
        error : (samples, classes) float
            Minus the gradient by the logits.
        """
        graph = self.graph
        errors = [np.zeros_like(drive) for drive in settled.drives[:-1]] + [error]
        for layer in reversed(graph.hidden):
            drive = _total(self._backward[layer], weights, errors, graph.network.widths[layer])
            errors[layer] = graph.slope(layer, settled.drives[layer], settled.states[layer]) * drive
        return errors


def _total(products: list[Product], weights: Sequence[FloatArray], values: list[FloatArray], width: int) -> FloatArray:
    total = np.zeros((len(values[0]), width), dtype=weights[0].dtype)
    for product in products:
        total += values[product.source] @ product.matrix(weights)
    return total
