# SPDX-License-Identifier: Apache-2.0
"""The golden model: what every integer of a network must be, in readable numpy.

Everything is computed densely. Skipping decides only which sweeps and phases run, and so the counters; it changes no
state, deviation or weight.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..firmware.arithmetic import (
    LOGIT_BITS,
    LOGIT_FRACTION,
    RANDOM_BITS,
    SLOPE_FRACTION,
    IntArray,
    activate,
    deviate,
    mix,
    narrow_weights,
    output_error,
    random_bits,
    round_half_up,
    saturate,
    update_weights,
)
from ..firmware.counters import GOLDEN
from ..firmware.errors import FrennError
from ..firmware.graph import Term, by_source, clamped_terms, drive_fraction, free_terms, nudged_terms, update_fractions
from ..firmware.network import Network
from ..firmware.protocol import Skip

EVERYTHING = Skip.SOURCES | Skip.REST | Skip.RIGHT


def exact_product(matrix: IntArray, vector: IntArray, largest: int) -> IntArray:
    """Exact product of an integer matrix and an integer vector.

    Parameters
    ----------
    matrix : (rows, columns) int64
    vector : (columns,) int64
    largest : int
        Bound of the magnitudes in the matrix.

    Returns
    -------
    (rows,) int64
        By way of float64, which is much faster, where every partial sum is an integer below 2**53 and so exact.
    """
    if matrix.shape[1] * largest * int(np.abs(vector).max(initial=0)) < 1 << 53:
        return (matrix.astype(np.float64) @ vector.astype(np.float64)).astype(np.int64)
    return matrix @ vector


class Relaxed(NamedTuple):
    """What samples relaxed to.

    Attributes
    ----------
    predictions : (samples,) int64
    states : list of (samples, width) int64
        Of each hidden layer: the free states, or in the literal form the clamped ones.
    deviations : list of (samples, width) int64
        Of each hidden layer, and the output error: zero for a sample without error (in the literal form the error alone).
    """

    predictions: IntArray
    states: list[IntArray]
    deviations: list[IntArray]


class Golden:
    """A network that learns and predicts, sample by sample, in integers.

    Where it learns in minibatches, their samples relax with the same weights and move these together. It starts with the
    network's initial weights. Layers count from 0, the input; arrays of a layer are int64.

    Parameters
    ----------
    network : Network
    skip : Skip
        ``REST`` ends a phase, from its second sweep on, after a sweep in which nothing changed; ``RIGHT`` leaves out
        the clamped phase and the update of a sample without error, unless the form is the literal one, where a state that has
        not settled moves on without an error too. ``SOURCES`` means nothing here.

    Attributes
    ----------
    states : list of (width,) int64
        Free states after the last sample, ``formats.state``; of layer 0 the inputs, of the output layer nothing. Where the last
        sample went through a clamped phase of the literal form, its clamped states.
    slopes : list of (width,) int64
        Slopes at these states, U1.6; of the input and the output nothing.
    deviations : list of (width,) int64
        Deviations of the last clamped phase that ran, ``formats.deviation``: a sample that ends before it leaves them. In the
        literal form clamped minus free states, and of the output layer the last refreshed error.
        Of the output layer the error of the last training sample, ``formats.error``; of the input nothing.

    Raises
    ------
    FrennError
        If an exact drive of the network might not fit 63 bits.
    """

    def __init__(self, network: Network, *, skip: Skip = EVERYTHING) -> None:
        self.network = network
        self.skip = skip
        self.output = len(network.layers) - 1
        self.hidden = range(1, self.output)
        widths = network.widths
        self.states = [np.zeros(0 if layer == self.output else width, dtype=np.int64) for layer, width in enumerate(widths)]
        self.slopes = [np.zeros(width if layer in self.hidden else 0, dtype=np.int64) for layer, width in enumerate(widths)]
        self.deviations = [np.zeros(width if layer else 0, dtype=np.int64) for layer, width in enumerate(widths)]
        self._counters = dict.fromkeys(GOLDEN, 0)
        self._check_drives()
        self._weights: list[NDArray[Any]] = [*network.initial_weights()]

    def load(self, weights: Sequence[IntArray]) -> None:
        """Take over weights.

        Parameters
        ----------
        weights : sequence of (rows, columns) integers
            One array per edge, ``formats.weight``.

        Raises
        ------
        FrennError
            If their number, a shape, a type or a value does not fit; the old weights stay.
        """
        names, shapes, form = self.network.weight_names, self.network.weight_shapes, self.network.formats.weight
        if len(weights) != len(names):
            raise FrennError(f"{len(weights)} weight blocks for {len(names)} edges; give one block per edge")
        for name, shape, block in zip(names, shapes, weights, strict=True):
            block = np.asarray(block)
            if block.shape != shape:
                raise FrennError(f"weights of {name} have shape {block.shape}; legal is {shape}")
            _check_integers(f"weights of {name}", block, form.minimum, form.maximum)
        for own, block in zip(self._weights, weights, strict=True):
            own[...] = block

    def weights(self) -> list[IntArray]:
        """Copies of the weights, (rows, columns) int64 per edge, ``formats.weight``."""
        return [np.array(block, dtype=np.int64, order="C") for block in self._weights]

    def counters(self) -> dict[str, int]:
        """The counters of `frenn.firmware.counters.GOLDEN` since they were cleared."""
        return dict(self._counters)

    def clear_counters(self) -> None:
        """Set every counter to zero."""
        self._counters = dict.fromkeys(GOLDEN, 0)

    def train(self, inputs: IntArray, labels: IntArray, step: int, rate: int) -> tuple[IntArray, NDArray[np.bool_]]:
        """Learn samples one after another, or minibatch after minibatch.

        Minibatches are counted from the first sample of the call, and the last one may be short: no call leaves an update behind.
        The random words of a minibatch are those of its last sample's number.

        Parameters
        ----------
        inputs : (samples, inputs) integers
            ``formats.input``.
        labels : (samples,) integers
            0 to classes - 1.
        step : int
            Number of the first sample in the whole run; the random words depend on it.
        rate : int
            Binary logarithm of the learning rate.

        Returns
        -------
        predictions, wrong : (samples,) int64, (samples,) bool
            The class predicted before the sample is learned, and whether any element of the output error was not zero.

        Raises
        ------
        FrennError
            If an argument is out of range; nothing is learned then.
        """
        inputs = self._check_inputs(inputs)
        labels = np.asarray(labels)
        if labels.shape != (len(inputs),):
            raise FrennError(f"labels have shape {labels.shape}; legal is {(len(inputs),)}, one per sample")
        _check_integers("labels", labels, 0, self.network.widths[-1] - 1)
        if not 0 <= step <= (1 << 32) - len(inputs):
            raise FrennError(f"step is {step} for {len(inputs)} samples; legal are the numbers 0 to 2^32 - 1")
        return self._train(inputs, labels.astype(np.int64), step, self.update_shifts(rate))

    def store(self, weights: Sequence[IntArray]) -> None:
        """Take over weights and change nothing else; see `load`."""
        self.load(weights)

    def relax(self, inputs: IntArray, labels: IntArray, step: int, rate: int) -> Relaxed:
        """Train, and keep what each sample relaxed to: what a host that updates the weights learns from.

        Parameters
        ----------
        inputs, labels, step, rate
            See `train`, which is called for each sample alone: on a chip that updates its own weights they change between samples.

        Returns
        -------
        Relaxed
        """
        predictions = np.zeros(len(inputs), dtype=np.int64)
        states = [np.zeros((len(inputs), width), dtype=np.int64) for width in self.network.widths[1:-1]]
        deviations = [np.zeros((len(inputs), width), dtype=np.int64) for width in self.network.widths[1:]]
        for index in range(len(inputs)):
            one = slice(index, index + 1)
            predictions[one], (wrong,) = self.train(inputs[one], labels[one], step + index, rate)
            for layer in self.hidden:
                states[layer - 1][index] = self.states[layer]
            # What a sample that ends without error leaves is that of an earlier one.
            for layer in range(1, self.output + 1) if wrong or self.network.relaxation.literal else ():
                deviations[layer - 1][index] = self.deviations[layer]
        return Relaxed(predictions, states, deviations)

    def infer(self, inputs: IntArray) -> IntArray:
        """Predict without learning.

        Parameters
        ----------
        inputs : (samples, inputs) integers
            ``formats.input``.

        Returns
        -------
        (samples,) int64
            The first class whose exact output drive is largest.

        Raises
        ------
        FrennError
            If the inputs do not fit the network.
        """
        return self._infer(self._check_inputs(inputs))

    def update_shifts(self, rate: int) -> list[int]:
        """Bits by which each block's product of deviation and state, times the rate, is finer than its weight; 0 for fixed blocks.

        Raises
        ------
        FrennError
            If a shift is out of range: the rate is too large or too small for the formats.
        """
        fractions = update_fractions(self.network)
        shifts = [fractions[block] - rate if block in fractions else 0 for block in range(len(self.network.edges))]
        if min(shifts) < 0 or max(shifts) > RANDOM_BITS:
            raise FrennError(
                f"a learning rate of 2^{rate} shifts updates by {min(shifts)} to {max(shifts)} bits; "
                f"legal is 0 to {RANDOM_BITS}: use another rate or other formats"
            )
        return shifts

    def _train(self, inputs: IntArray, labels: IntArray, step: int, shifts: list[int]) -> tuple[IntArray, NDArray[np.bool_]]:
        predictions = np.zeros(len(inputs), dtype=np.int64)
        wrong = np.zeros(len(inputs), dtype=np.bool_)
        learning = self.network.learning
        minibatch: list[tuple[list[IntArray], list[IntArray]]] = []
        for index, (sample, label) in enumerate(zip(inputs, labels, strict=True)):
            drive, fraction = self._free_phase(sample)
            predictions[index] = np.argmax(drive)
            self._output_error(drive, fraction, int(label))
            wrong[index] = self.deviations[self.output].any()
            if wrong[index] or self.network.relaxation.literal or not self.skip & Skip.RIGHT:
                free, error = list(self.states), self.deviations[self.output]
                if self.network.relaxation.literal:
                    self._literal_phase(int(label))
                else:
                    self._clamped_phase()
                minibatch.append((free, [*self.deviations[: self.output], error]))
            if (index + 1) % learning.batch == 0 or index + 1 == len(inputs):
                if minibatch and not learning.on_host:
                    self._update(step + index, shifts, minibatch)
                minibatch = []
            self._count("zero_error", not wrong[index])
            self._count("trained", 1)
        return predictions, wrong

    def _infer(self, inputs: IntArray) -> IntArray:
        predictions = np.zeros(len(inputs), dtype=np.int64)
        for index, sample in enumerate(inputs):
            predictions[index] = np.argmax(self._free_phase(sample)[0])
            self._count("inferred", 1)
        return predictions

    def _free_phase(self, sample: IntArray) -> tuple[IntArray, int]:
        """Relax the states from zero; exact drive of the output layer and its fraction bits."""
        self.states[0] = sample.copy()
        for layer in self.hidden:
            self.states[layer] = np.zeros(self.network.widths[layer], dtype=np.int64)
        for sweep in range(self.network.relaxation.free_sweeps):
            self._count("free_sweeps", 1)
            changed = self._sweep(self.hidden, free_terms, self.states, self._activate)
            if sweep > 0 and changed == 0 and self.skip & Skip.REST:
                break
        return self._drive(free_terms(self.network, self.output), self.states)

    def _clamped_phase(self) -> None:
        """Relax the deviations from zero; the error and the slopes are those of the free phase."""
        for layer in self.hidden:
            self.deviations[layer] = np.zeros(self.network.widths[layer], dtype=np.int64)
        for sweep in range(self.network.relaxation.clamped_sweeps):
            self._count("clamped_sweeps", 1)
            changed = self._sweep(self.hidden[::-1], clamped_terms, self.deviations, self._deviate)
            if sweep > 0 and changed == 0 and self.skip & Skip.REST:
                break

    def _literal_phase(self, label: int) -> None:
        """Relax the states on under the nudge; their differences from the free ones stand where deviations do."""
        free = list(self.states)
        for sweep in range(self.network.relaxation.clamped_sweeps):
            self._count("clamped_sweeps", 1)
            if sweep > 0 and self.network.relaxation.error == "refreshed":
                self._output_error(*self._drive(free_terms(self.network, self.output), self.states), label)
            # The error is what the output layer sends back.
            self.states[self.output] = self.deviations[self.output]
            changed = self._sweep(self.hidden, nudged_terms, self.states, self._activate)
            if sweep > 0 and changed == 0 and self.skip & Skip.REST:
                break
        self.states[self.output] = free[self.output]
        for layer in self.hidden:
            self.deviations[layer] = self.states[layer] - free[layer]

    def _sweep(
        self,
        layers: range,
        terms: Callable[[Network, int], list[Term]],
        values: list[IntArray],
        settle: Callable[[int, IntArray, int], int],
    ) -> int:
        """Settle every layer once, in order or all at once; number of neurons that changed."""
        if self.network.relaxation.schedule == "sequential":
            return sum(settle(layer, *self._drive(terms(self.network, layer), values)) for layer in layers)
        drives = [self._drive(terms(self.network, layer), values) for layer in layers]
        return sum(settle(layer, *drive) for layer, drive in zip(layers, drives, strict=True))

    def _drive(self, terms: list[Term], values: list[IntArray]) -> tuple[IntArray, int]:
        """Exact sum of the products of the layers' values with weights, and its fraction bits."""
        fraction = drive_fraction(self.network, terms)
        largest = self.network.formats.multiplied.maximum
        products = []
        for term in terms:
            weights = self._multiplied(term.block)
            product = exact_product(weights.T if term.transposed else weights, values[term.source], largest)
            products.append(product << np.int64(fraction - term.fraction))
        return np.sum(products, axis=0), fraction

    def _multiplied(self, block: int) -> IntArray:
        """The weights of a block as they are multiplied, ``formats.multiplied``."""
        wide, narrow = self.network.formats.weight, self.network.formats.multiplied
        if wide == narrow:
            return self._weights[block]
        return narrow_weights(self._weights[block], wide.fraction - narrow.fraction, narrow.magnitude_bits)

    def _activate(self, layer: int, drive: IntArray, fraction: int) -> int:
        """Turn a layer's drive into states; number of neurons that changed."""
        formats = self.network.formats
        rounded = round_half_up(drive, fraction - formats.pre_activation.fraction)
        clipped = saturate(rounded, formats.pre_activation.magnitude_bits)
        self._count("saturated_pre_activation", clipped != rounded)
        activation = self.network.layers[layer].activation
        states, self.slopes[layer] = activate(clipped, formats.pre_activation.fraction, formats.state.fraction, activation)
        changed = states != self.states[layer]
        self.states[layer] = states
        return self._count("changed_states", changed)

    def _output_error(self, drive: IntArray, fraction: int, label: int) -> None:
        rounded = round_half_up(drive, fraction - LOGIT_FRACTION)
        logits = saturate(rounded, LOGIT_BITS)
        self._count("saturated_logit", logits != rounded)
        self.deviations[self.output], clipped = output_error(logits, label, self.network.formats.error.fraction)
        self._count("saturated_error", clipped)

    def _deviate(self, layer: int, drive: IntArray, fraction: int) -> int:
        """Turn a layer's drive into deviations; number of neurons that changed."""
        formats = self.network.formats
        rounded = round_half_up(drive, fraction - formats.drive.fraction)
        clipped = saturate(rounded, formats.drive.magnitude_bits)
        self._count("saturated_drive", clipped != rounded)
        shift = SLOPE_FRACTION + formats.drive.fraction - formats.deviation.fraction
        deviations, saturated = deviate(clipped, self.slopes[layer], shift, formats.deviation.magnitude_bits)
        self._count("saturated_deviation", saturated)
        changed = deviations != self.deviations[layer]
        self.deviations[layer] = deviations
        return self._count("changed_deviations", changed)

    def _update(self, step: int, shifts: list[int], minibatch: list[tuple[list[IntArray], list[IntArray]]]) -> None:
        """Learn from each sample's free states, and its deviations and the error of the free states."""
        column = 0
        for block, ((rows, columns), (source, target), turned, shift) in enumerate(
            zip(self.network.weight_shapes, self.network.ends, by_source(self.network), shifts, strict=True)
        ):
            if turned:
                rows, columns = columns, rows
            # Columns are counted through all blocks, the fixed ones too.
            first, column = column, column + columns
            if not self.network.edges[block].learns:
                continue
            noise: IntArray | int
            if self.network.learning.rounding == "nearest":
                noise = (1 << shift) >> 1
            else:
                words = mix(self.network.seed, step, np.arange(first, column))
                noise = random_bits(words, np.arange(rows), shift)
                if turned:
                    noise = noise.T
            bits = self.network.formats.weight.magnitude_bits
            states = np.stack([free[source] for free, _ in minibatch])
            deviations = np.stack([moved[target] for _, moved in minibatch])
            self._weights[block], saturated = update_weights(self._weights[block], deviations, states, shift, noise, bits)
            self._count("saturated_weight", saturated)

    def _count(self, name: str, events: NDArray[Any] | bool | int) -> int:
        number = int(np.sum(events))
        self._counters[name] += number
        return number

    def _check_inputs(self, inputs: IntArray) -> IntArray:
        inputs = np.asarray(inputs)
        width = self.network.widths[0]
        if inputs.ndim != 2 or inputs.shape[1] != width:
            raise FrennError(f"inputs have shape {inputs.shape}; legal is (samples, {width})")
        form = self.network.formats.input
        _check_integers("inputs", inputs, form.minimum, form.maximum)
        return inputs.astype(np.int64)

    def _check_drives(self) -> None:
        network = self.network
        clamped = nudged_terms if network.relaxation.literal else clamped_terms
        for layer in range(1, self.output + 1):
            for terms in (free_terms(network, layer), clamped(network, layer) if layer < self.output else []):
                finest = drive_fraction(network, terms)
                largest = network.formats.multiplied.maximum
                total = sum(term.sources * largest * term.largest << finest - term.fraction for term in terms)
                if total >= 1 << 62:
                    raise FrennError(
                        f"the drive of layer {network.layers[layer].name!r} may need {total.bit_length() + 1} bits, more than 63; "
                        "use narrower formats or a feedback scale nearer to 1"
                    )


def _check_integers(name: str, values: NDArray[Any], low: int, high: int) -> None:
    if values.dtype.kind not in "iu":
        raise FrennError(f"{name} are of type {values.dtype}; legal are integers")
    if values.size and (values.min() < low or values.max() > high):
        raise FrennError(f"{name} run from {values.min()} to {values.max()}; legal is {low} to {high}")
