# SPDX-License-Identifier: Apache-2.0
"""The float reference: Equilibrium Propagation in real numbers on the same network object as the fixed-point models.

Samples are rows: the values of a layer are a (samples, width) array. A gradient is that of a loss, to be descended: minus the mean
over the samples of what the learning rule adds to the weight. Learned edges come first among a network's edges, so a list of
gradients belongs to the first weight blocks; the blocks behind them are fixed feedback.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ..firmware.arithmetic import BASE_FRACTION, SEGMENTS, SLOPE_FRACTION, IntArray, activation_table
from ..firmware.errors import FrennError
from ..firmware.graph import clamped_terms, free_terms
from ..firmware.network import CLAMPED_FORMS, ERRORS, SCHEDULES, Network
from .optimizers import FloatArray, Optimizer

REFERENCE_ERRORS: Final = (*ERRORS, "growing")
"""What the output error of the clamped phase can be."""

Scale = float | Sequence[float] | None


@dataclass(frozen=True)
class Product:
    """A product that enters a drive: ``scale`` times a block, or its transpose, times the values of layer ``source``."""

    source: int
    block: int
    transposed: bool
    scale: float

    def matrix(self, weights: Sequence[FloatArray]) -> FloatArray:
        """What rows of values are multiplied with from the right, (source width, target width)."""
        block = weights[self.block] if self.transposed else weights[self.block].T
        return block if self.scale == 1 else block * self.scale


class FloatNetwork:
    """The real numbers of a network: its equations, activations and initial weights.

    Parameters
    ----------
    network : Network
        Its graph, activations and seed; its formats have no meaning here.
    alpha, beta : float or sequence of float, optional
        Forward and feedback scale, of every edge or of each, instead of the powers of two that the network says. Of an edge without
        feedback, or between input or output and a hidden layer, beta has no effect.
    piecewise : bool
        Whether tanh joins the 17 points that the machine's does, instead of being exact.
    dtype : float32 or float64

    Attributes
    ----------
    drives : list of list of Product
        What enters each layer, the output last: ``sum alpha W s + sum beta B s``. Of the input nothing.
    nudges : list of list of Product
        What the output error adds to the drive of each hidden layer, at nudge 1.
    learned : int
        Number of learned blocks; they come first.
    units : list of float
        gamma of each layer: the largest product of scales along a path from the output error, in the unit of the nudge. 1 for input
        and output.

    Raises
    ------
    FrennError
        If a scale or the type is not legal.
    """

    def __init__(
        self,
        network: Network,
        *,
        alpha: Scale = None,
        beta: Scale = None,
        piecewise: bool = False,
        dtype: type[np.float32] | type[np.float64] = np.float32,
    ) -> None:
        self.network = network
        self.dtype = np.dtype[np.floating[Any]](dtype)
        if self.dtype not in (np.float32, np.float64):
            raise FrennError(f"reference: dtype is {self.dtype}; legal are float32 and float64")
        self.alpha = _scales("alpha", alpha, [2.0**edge.forward_exponent for edge in network.edges])
        self.beta = _scales("beta", beta, [2.0**edge.feedback_exponent for edge in network.edges])
        self.piecewise = piecewise
        self.output = len(network.layers) - 1
        self.hidden = range(1, self.output)
        self.learned = sum(edge.learns for edge in network.edges)
        self.drives: list[list[Product]] = [[]]
        self.nudges: list[list[Product]] = [[]]
        for layer in range(1, self.output + 1):
            terms = [(term.source, term.block, term.transposed) for term in free_terms(network, layer)]
            scales = [(self.alpha if source < layer else self.beta)[block] for source, block, _ in terms]
            self.drives.append([Product(*term, scale) for term, scale in zip(terms, scales, strict=True)])
            taught = clamped_terms(network, layer) if layer < self.output else []
            self.nudges.append([Product(term.source, term.block, term.transposed, 1.0) for term in taught if term.source == self.output])
        self.units = self._units()

    def _units(self) -> list[float]:
        # As firmware.graph.scales, in real numbers: a scale above 1 could grow around a loop, so feedback alone counts then.
        bounded = all(product.scale <= 1 for layer in self.hidden for product in self.drives[layer] if product.source != 0)
        units: dict[int, float] = {}
        for _ in self.hidden:
            for layer in reversed(self.hidden):
                incoming = [p for p in self.drives[layer] if p.source in units and (p.source > layer or bounded)]
                values = [units[p.source] * p.scale for p in incoming] + [1.0 for _ in self.nudges[layer]]
                units[layer] = max(values, default=units.get(layer, 0.0))
        return [units.get(layer) or 1.0 for layer in range(self.output + 1)]

    def initial_weights(self) -> list[FloatArray]:
        """Glorot-uniform weights from the seed, (rows, columns) per edge.

        They are those of `Network.initial_weights` before rounding, where the format does not bound them.
        """
        generator = np.random.default_rng((self.network.seed, 0x77))
        bounds = [np.sqrt(6 / (rows + columns)) for rows, columns in self.network.weight_shapes]
        shapes = self.network.weight_shapes
        return [generator.uniform(-bound, bound, shape).astype(self.dtype) for bound, shape in zip(bounds, shapes, strict=True)]

    def check(self, weights: Sequence[FloatArray], inputs: FloatArray, labels: IntArray | None = None) -> FloatArray:
        """Inputs in the type of the network.

        Raises
        ------
        FrennError
            If weights, inputs or labels do not fit the network.
        """
        shapes = [block.shape for block in weights]
        if shapes != list(self.network.weight_shapes) or any(block.dtype != self.dtype for block in weights):
            raise FrennError(
                f"reference: weights have shapes {shapes}; legal are {list(self.network.weight_shapes)}, each of type {self.dtype}"
            )
        if inputs.ndim != 2 or inputs.shape[1] != self.network.widths[0] or not len(inputs):
            raise FrennError(f"reference: inputs have shape {inputs.shape}; legal is (samples, {self.network.widths[0]})")
        classes = self.network.widths[-1]
        if labels is not None and (
            labels.shape != (len(inputs),) or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes
        ):
            raise FrennError(f"reference: labels have shape {labels.shape}; legal are {len(inputs)} classes from 0 to {classes - 1}")
        return np.ascontiguousarray(inputs, dtype=self.dtype)

    def activate(self, layer: int, drive: FloatArray) -> FloatArray:
        """States of a layer from its drive."""
        activation = self.network.layers[layer].activation
        if activation == "hard_tanh":
            return np.clip(drive, -1, 1)
        if activation == "hard_sigmoid":
            return np.clip(drive, 0, 1)
        if not self.piecewise:
            return np.tanh(drive)
        knots, points, _ = _segments(activation)
        return np.interp(drive, knots, points).astype(self.dtype)

    def slope(self, layer: int, drive: FloatArray, states: FloatArray) -> FloatArray:
        """Slope of a layer's activation where its drive and states are."""
        activation = self.network.layers[layer].activation
        if activation == "hard_tanh":
            return (np.abs(drive) < 1).astype(self.dtype)
        if activation == "hard_sigmoid":
            return ((drive >= 0) & (drive < 1)).astype(self.dtype)
        if not self.piecewise:
            return 1 - states * states
        _, _, slopes = _segments(activation)
        segment = np.minimum(np.abs(drive) * 4, SEGMENTS).astype(np.int64)
        return slopes[segment].astype(self.dtype)

    def output_error(self, logits: FloatArray, labels: IntArray) -> FloatArray:
        """``target - softmax(logits)``, (samples, classes), to base e."""
        error = -softmax(logits)
        error[np.arange(len(labels)), labels] += 1
        return error

    def gradients(self, deviations: Sequence[FloatArray], states: Sequence[FloatArray]) -> list[FloatArray]:
        """Minus the mean over the samples of ``D_target s_source^T`` of each learned block, (rows, columns)."""
        ends = self.network.ends[: self.learned]
        mean = -1 / len(states[0])
        return [(deviations[target].T @ states[source]) * mean for source, target in ends]


@dataclass(frozen=True, eq=False)
class Settled:
    """A network at rest without a nudge.

    Parameters
    ----------
    states : list of (samples, width) float
        Of each layer; of layer 0 the inputs, of the output nothing.
    drives : list of (samples, width) float
        What the states came from; of the input nothing, of the output the logits.
    constant : list of (samples, width) float or None
        What the inputs add to each drive; None of a layer that they do not reach directly.
    """

    states: list[FloatArray]
    drives: list[FloatArray]
    constant: list[FloatArray | None]

    @property
    def logits(self) -> FloatArray:
        """Drive of the output layer, (samples, classes)."""
        return self.drives[-1]


class Rule(Protocol):
    """A learning rule: gradients and predictions of given weights."""

    graph: FloatNetwork

    def gradients(self, weights: Sequence[FloatArray], inputs: FloatArray, labels: IntArray) -> list[FloatArray]:
        """Gradient of each learned block, (rows, columns), a mean over the samples."""

    def predict(self, weights: Sequence[FloatArray], inputs: FloatArray) -> IntArray:
        """Class of each sample, (samples,) int64."""


class EquilibriumPropagation:
    """Equilibrium Propagation with feedback regulation, in float.

    A phase ends before its last step after one in which no number changed, which changes no result.

    Parameters
    ----------
    graph : FloatNetwork
    schedule : {"jacobi", "sequential"}, optional
        All layers at once from the states of the step before, as in the paper; or layer after layer, forward, but backward where
        deviations relax. This and what follows is what the network says unless it is given.
    free_steps, clamped_steps : int, optional
        Steps, or sweeps, of each phase at the most.
    nudge : float, optional
        beta_f, strength of the error in the clamped phase of the literal form; the deviation form is its limit at 0.
    form : {"literal", "deviation"}, optional
        Two relaxations and the difference of their states, or one relaxation of the deviation ``D = (clamped - free) / (nudge
        gamma)`` with the slopes of the free state, gamma being `FloatNetwork.units`.
    error : {"held", "refreshed", "growing"}, optional
        The output error in the clamped phase: that of the free state, or that of the state before each step, or that of the free
        state added to the drive once more at each step. The deviation form holds it.

    Raises
    ------
    FrennError
        If a parameter is not legal.
    """

    def __init__(
        self,
        graph: FloatNetwork,
        *,
        schedule: str | None = None,
        free_steps: int | None = None,
        clamped_steps: int | None = None,
        nudge: float | None = None,
        form: str | None = None,
        error: str | None = None,
    ) -> None:
        relaxation = graph.network.relaxation
        self.graph = graph
        self.schedule = relaxation.schedule if schedule is None else schedule
        self.free_steps = relaxation.free_sweeps if free_steps is None else free_steps
        self.clamped_steps = relaxation.clamped_sweeps if clamped_steps is None else clamped_steps
        self.nudge = 2.0**relaxation.nudge_exponent if nudge is None else nudge
        self.form = relaxation.clamped if form is None else form
        self.error = relaxation.error if error is None else error
        for name, choices in (("schedule", SCHEDULES), ("form", CLAMPED_FORMS), ("error", REFERENCE_ERRORS)):
            _require(name, getattr(self, name), getattr(self, name) in choices, f"one of {', '.join(choices)}")
        for name in ("free_steps", "clamped_steps"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "a positive integer")
        _require("nudge", self.nudge, 0 < self.nudge < float("inf"), "a positive number")
        _require("error", self.error, self.form == "literal" or self.error == "held", "held in the deviation form")

    def gradients(self, weights: Sequence[FloatArray], inputs: FloatArray, labels: IntArray) -> list[FloatArray]:
        """Gradient of each learned block.

        Parameters
        ----------
        weights : sequence of (rows, columns) float
            One per edge.
        inputs : (samples, inputs) float
        labels : (samples,) integers

        Returns
        -------
        list of (rows, columns) float
            Of the literal form as the paper has them, small by nudge and gamma of the layer they lead to: see `normalised`. Of the
            deviation form in the unit of the output error.

        Raises
        ------
        FrennError
            If an argument does not fit the network.
        """
        inputs = self.graph.check(weights, inputs, labels)
        settled = self.free_phase(weights, inputs)
        deviations = self.clamped_phase(weights, settled, self.graph.output_error(settled.logits, labels))
        return self.graph.gradients(deviations, settled.states)

    def normalised(self, gradients: Sequence[FloatArray]) -> list[FloatArray]:
        """Gradients of the literal form in the unit of the output error: divided by nudge and gamma of the layer they lead to."""
        if self.form == "deviation":
            return list(gradients)
        result = []
        for (_, target), gradient in zip(self.graph.network.ends, gradients, strict=False):
            unit = 1.0 if target == self.graph.output else self.nudge * self.graph.units[target]
            result.append(gradient / unit)
        return result

    def predict(self, weights: Sequence[FloatArray], inputs: FloatArray) -> IntArray:
        """Class of each sample, (samples,) int64: the first of the largest logits of the free state.

        Raises
        ------
        FrennError
            If an argument does not fit the network.
        """
        return np.argmax(self.free_phase(weights, self.graph.check(weights, inputs)).logits, axis=1)

    def free_phase(self, weights: Sequence[FloatArray], inputs: FloatArray) -> Settled:
        """Relax from zero; inputs and weights are of the graph's type."""
        graph = self.graph
        states = [np.zeros((len(inputs), width), dtype=graph.dtype) for width in graph.network.widths[:-1]]
        states[0] = inputs
        states.append(np.zeros((len(inputs), 0), dtype=graph.dtype))
        drives = list(states)
        constant = _products(graph.drives, weights, states, 0)
        drive = _Drive(graph.drives, weights, states, constant, 0)

        def settle(layer: int) -> FloatArray:
            drives[layer] = drive(layer)
            return graph.activate(layer, drives[layer])

        self._relax(graph.hidden, states, self.free_steps, settle)
        drives[graph.output] = drive(graph.output)
        return Settled(states, drives, constant)

    def clamped_phase(self, weights: Sequence[FloatArray], settled: Settled, error: FloatArray) -> list[FloatArray]:
        """Deviations from the free state under a nudge.

        Parameters
        ----------
        weights : sequence of (rows, columns) float
        settled : Settled
        error : (samples, classes) float
            Output error of the free state.

        Returns
        -------
        list of (samples, width) float
            Of each layer: of the output the error, of the input nothing. In the literal form clamped minus free state.
        """
        relax = self._literal if self.form == "literal" else self._deviation
        nothing = np.zeros((len(error), 0), dtype=self.graph.dtype)
        return [nothing, *relax(weights, settled, error), error]

    def _literal(self, weights: Sequence[FloatArray], settled: Settled, error: FloatArray) -> list[FloatArray]:
        graph = self.graph
        states = list(settled.states)

        def relax(steps: int, current: FloatArray) -> None:
            nudges = _products(graph.nudges, weights, [current] * (graph.output + 1), graph.output)
            pairs = zip(settled.constant, nudges, strict=True)
            constant = [base if nudge is None else _add(base, nudge * self.nudge) for base, nudge in pairs]
            drive = _Drive(graph.drives, weights, states, constant, 0)
            self._relax(graph.hidden, states, steps, lambda layer: graph.activate(layer, drive(layer)))

        if self.error == "held":
            relax(self.clamped_steps, error)
        elif self.error == "growing":
            for step in range(self.clamped_steps):
                relax(1, error * (step + 1))
        else:
            target = error + softmax(settled.logits)
            output = _Drive(graph.drives, weights, states, settled.constant, 0)
            for _ in range(self.clamped_steps):
                relax(1, target - softmax(output(graph.output)))
        return [states[layer] - settled.states[layer] for layer in graph.hidden]

    def _deviation(self, weights: Sequence[FloatArray], settled: Settled, error: FloatArray) -> list[FloatArray]:
        graph = self.graph
        deviations = [np.zeros((len(error), width), dtype=graph.dtype) for width in graph.network.widths]
        deviations[-1] = error
        terms: list[list[Product]] = [[]]
        for layer in graph.hidden:
            inner = [product for product in graph.drives[layer] if product.source != 0]
            products = [(p, p.scale * graph.units[p.source] / graph.units[layer]) for p in inner]
            products += [(p, 1 / graph.units[layer]) for p in graph.nudges[layer]]
            terms.append([Product(p.source, p.block, p.transposed, scale) for p, scale in products])
        constant = _products(terms, weights, deviations, graph.output)
        drive = _Drive(terms, weights, deviations, constant, graph.output)
        slopes = {layer: graph.slope(layer, settled.drives[layer], settled.states[layer]) for layer in graph.hidden}
        self._relax(graph.hidden[::-1], deviations, self.clamped_steps, lambda layer: slopes[layer] * drive(layer))
        return [deviations[layer] for layer in graph.hidden]

    def _relax(self, layers: Iterable[int], values: list[FloatArray], steps: int, settle: Callable[[int], FloatArray]) -> None:
        """Settle every layer ``steps`` times, in order or all at once, or until nothing changes."""
        layers = list(layers)
        for _ in range(steps):
            rests = True
            settled = {}
            for layer in layers:
                settled[layer] = settle(layer)
                rests = rests and np.array_equal(settled[layer], values[layer])
                if self.schedule == "sequential":
                    values[layer] = settled[layer]
            for layer in layers:
                values[layer] = settled[layer]
            if rests:
                break


class _Drive:
    """Drives of layers from values that change, and from what does not: the products of one source, computed once."""

    def __init__(
        self,
        terms: list[list[Product]],
        weights: Sequence[FloatArray],
        values: list[FloatArray],
        constant: list[FloatArray | None],
        source: int,
    ) -> None:
        self._values = values
        self._constant = constant
        self._moving = [[(p.source, p.matrix(weights)) for p in products if p.source != source] for products in terms]

    def __call__(self, layer: int) -> FloatArray:
        total = self._constant[layer]
        for source, matrix in self._moving[layer]:
            total = _add(total, self._values[source] @ matrix)
        if total is None:
            raise LookupError(f"nothing enters layer {layer}")
        return total


def _products(terms: list[list[Product]], weights: Sequence[FloatArray], values: list[FloatArray], source: int) -> list[FloatArray | None]:
    """Sum of the products of one source for each layer; None where it enters nothing."""
    totals: list[FloatArray | None] = []
    for products in terms:
        total = None
        for product in products:
            if product.source == source:
                total = _add(total, values[source] @ product.matrix(weights))
        totals.append(total)
    return totals


def _add(total: FloatArray | None, product: FloatArray) -> FloatArray:
    """Their sum, in the memory of the second."""
    if total is not None:
        product += total
    return product


def learn(
    rule: Rule, optimizer: Optimizer, weights: list[FloatArray], inputs: FloatArray, labels: IntArray, order: IntArray, batch: int
) -> None:
    """Learn samples in minibatches, changing the weights in place.

    Parameters
    ----------
    rule : Rule
    optimizer : Optimizer
    weights : list of (rows, columns) float
        One per edge; the learned ones change.
    inputs : (samples, inputs) float
    labels : (samples,) int64
    order : (chosen,) int64
        Numbers of the samples, in the order in which they are learned.
    batch : int
        Samples of a minibatch; the last one may have fewer.
    """
    _require("batch", batch, batch >= 1, "a positive integer")
    learned = weights[: rule.graph.learned]
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        optimizer.step(learned, rule.gradients(weights, inputs[chosen], labels[chosen]))


def accuracy(rule: Rule, weights: Sequence[FloatArray], inputs: FloatArray, labels: IntArray, batch: int = 2000) -> float:
    """Share of samples that a rule predicts as labelled."""
    parts = range(0, len(labels), batch)
    hits = sum(int(np.count_nonzero(rule.predict(weights, inputs[p : p + batch]) == labels[p : p + batch])) for p in parts)
    return hits / len(labels)


def softmax(logits: FloatArray) -> FloatArray:
    """Probabilities of each row, to base e."""
    terms: FloatArray = np.exp(logits - logits.max(axis=1, keepdims=True))
    terms /= terms.sum(axis=1, keepdims=True)
    return terms


@cache
def _segments(activation: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Knots and points of the machine's activation, both signs, and the slope of each segment of [0, 4), 0 behind it."""
    bases, slopes = activation_table(activation)
    points = np.append(bases, bases[-1] + slopes[-1]) / (1 << BASE_FRACTION)
    knots = np.arange(SEGMENTS + 1) / 4
    return (
        np.concatenate([-knots[:0:-1], knots]),
        np.concatenate([-points[:0:-1], points]),
        np.append(slopes, 0) / (1 << SLOPE_FRACTION),
    )


def _scales(name: str, value: Scale, default: list[float]) -> list[float]:
    if value is None:
        return default
    values = [float(value)] * len(default) if isinstance(value, (int, float)) else [float(scale) for scale in value]
    _require(name, value, len(values) == len(default), f"one number, or {len(default)}: one per edge")
    _require(name, value, all(0 < scale < float("inf") for scale in values), "positive")
    return values


def _require(name: str, value: object, legal: bool, what: str) -> None:
    if not legal:
        raise FrennError(f"reference: {name} is {value!r}; legal is {what}")
