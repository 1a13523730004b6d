# SPDX-License-Identifier: Apache-2.0
"""How the free phase settles: spectral radius, Lyapunov exponent and time to rest of a network's recurrent part.

Real quantities are those of the synchronous map ``s <- rho(A s + b)`` of the hidden layers, in float64 with the
activation itself instead of its piecewise-linear table; weights are those that the machine multiplies, the narrow copies where
there are some. Integer ones are counted on the golden model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..firmware.arithmetic import IntArray, narrow_weights
from ..firmware.graph import free_terms
from ..firmware.network import FEEDBACK_EXPONENTS, Network

THRESHOLD: Final = 1e-6
"""Change of every neuron below which a step in real numbers counts as calm."""

CALM_STEPS: Final = 3
"""Calm steps in a row that make rest."""

MAX_SWEEPS: Final = 4093
"""Largest cap of `sweeps_to_rest`: a network file's largest number of sweeps, less two."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Recurrent:
    """The synchronous map ``s <- rho(matrix s + drive)`` of all hidden neurons; ``drive`` is constant.

    Parameters
    ----------
    matrix : (neurons, neurons) float64
        What the neurons feed to each other, scales included.
    activations : sequence of (int, str)
        Neurons and activation of each hidden layer, in order.
    """

    matrix: FloatArray
    activations: tuple[tuple[int, str], ...]

    def respond(self, pre_activations: FloatArray) -> tuple[FloatArray, FloatArray]:
        """States and slopes, same shape, of (samples, neurons) pre-activations."""
        states, slopes = np.empty_like(pre_activations), np.empty_like(pre_activations)
        first = 0
        for width, activation in self.activations:
            own = np.s_[:, first : first + width]
            first += width
            values = pre_activations[own]
            if activation == "tanh":
                states[own] = np.tanh(values)
                slopes[own] = 1 - states[own] ** 2
            else:
                low = 0.0 if activation == "hard_sigmoid" else -1.0
                states[own] = np.clip(values, low, 1.0)
                slopes[own] = (values >= low) & (values < 1)
        return states, slopes

    def steps(self, drive: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
        """States after each step from zero, and the slopes they stand on, without end; both (samples, neurons)."""
        states = np.zeros_like(drive)
        while True:
            states, slopes = self.respond(states @ self.matrix.T + drive)
            yield states, slopes


def recurrent(network: Network, weights: Sequence[IntArray], beta: float | None = None) -> Recurrent:
    """The recurrent part of a network in real numbers.

    Parameters
    ----------
    network : Network
    weights : sequence of (rows, columns) int64
        One block per edge, ``formats.weight``.
    beta : float, optional
        In the place of every feedback scale; the network's own scales otherwise.
    """
    hidden = network.layers[1:-1]
    # The input stands outside the recurrent part, and so does the output.
    first = np.cumsum([0, 0, *(layer.width for layer in hidden)])
    matrix = np.zeros((int(first[-1]), int(first[-1])))
    for layer in range(1, len(network.layers) - 1):
        for term in free_terms(network, layer):
            if term.source == 0:
                continue
            edge = network.edges[term.block]
            block = _multiplied(network, weights[term.block])
            if term.transposed or not edge.learns:
                scale = 2.0**edge.feedback_exponent if beta is None else beta
            else:
                scale = 2.0**edge.forward_exponent
            rows, columns = (slice(first[number], first[number + 1]) for number in (layer, term.source))
            matrix[rows, columns] += scale * (block.T if term.transposed else block)
    return Recurrent(matrix, tuple((layer.width, layer.activation) for layer in hidden))


def input_drive(network: Network, weights: Sequence[IntArray], inputs: IntArray) -> FloatArray:
    """What the input layer feeds to the hidden neurons, in real numbers.

    Parameters
    ----------
    network : Network
    weights : sequence of (rows, columns) int64
    inputs : (samples, inputs) int64
        ``formats.input``.

    Returns
    -------
    (samples, hidden neurons) float64
    """
    values = network.formats.input.to_float(inputs)
    parts = [np.zeros((len(values), layer.width)) for layer in network.layers[1:-1]]
    for edge, (source, target), block in zip(network.edges, network.ends, weights, strict=True):
        if source == 0 and target <= len(parts):
            parts[target - 1] += 2.0**edge.forward_exponent * (values @ _multiplied(network, block).T)
    return np.concatenate(parts, axis=1)


def _multiplied(network: Network, block: IntArray) -> FloatArray:
    """A weight block as the machine multiplies it, in real numbers."""
    wide, narrow = network.formats.weight, network.formats.multiplied
    return narrow.to_float(narrow_weights(block, wide.fraction - narrow.fraction, narrow.magnitude_bits))


def spectral_radius(matrix: FloatArray) -> float:
    """Largest magnitude of an eigenvalue of a square matrix.

    LAPACK scales rows and columns first. Without that the eigenvalues of a deep chain with weak feedback would be lost
    in rounding: its matrix is that of a symmetric one, scaled by powers of ``sqrt(beta)``.
    """
    return float(np.abs(np.linalg.eigvals(matrix)).max(initial=0.0))


def radius_at_rest(system: Recurrent, states: FloatArray, drive: FloatArray) -> FloatArray:
    """Spectral radius of the map's derivative ``diag(rho'(A s + b)) A`` at given states.

    Parameters
    ----------
    system : Recurrent
    states, drive : (samples, neurons) float64

    Returns
    -------
    (samples,) float64
    """
    slopes = system.respond(states @ system.matrix.T + drive)[1]
    return np.array([spectral_radius(slope[:, None] * system.matrix) for slope in slopes])


def lyapunov_exponent(system: Recurrent, drive: FloatArray, steps: int, generator: np.random.Generator) -> FloatArray:
    """Finite-time maximum Lyapunov exponent from the zero state.

    A random perturbation of length 1 goes through the derivative of each step and is brought back to length 1; the
    exponent is the mean logarithm of its growth.

    Parameters
    ----------
    system : Recurrent
    drive : (samples, neurons) float64
    steps : int
        At least 1.
    generator : numpy Generator
        Draws each sample's perturbation.

    Returns
    -------
    (samples,) float64
        Per step, natural logarithm; minus infinity where the perturbation vanishes entirely.
    """
    tangent = generator.standard_normal(drive.shape)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    total = np.zeros(len(drive))
    for _, (_, slopes) in zip(range(steps), system.steps(drive), strict=False):
        tangent = slopes * (tangent @ system.matrix.T)
        growth = np.linalg.norm(tangent, axis=1)
        with np.errstate(divide="ignore"):
            total += np.log(growth)
        tangent /= np.where(growth > 0, growth, 1.0)[:, None]
    return total / steps


def trajectory(system: Recurrent, drive: FloatArray, steps: int) -> FloatArray:
    """States from zero, (steps + 1, samples, neurons); the first are zero."""
    path = np.zeros((steps + 1, *drive.shape))
    for step, (states, _) in zip(range(1, steps + 1), system.steps(drive), strict=False):
        path[step] = states
    return path


def changes(path: FloatArray) -> FloatArray:
    """Largest change of a neuron in each step of a trajectory, (steps, samples)."""
    differences: FloatArray = np.abs(np.diff(path, axis=0)).max(axis=2, initial=0.0)
    return differences


def steps_to_rest(system: Recurrent, drive: FloatArray, cap: int) -> tuple[IntArray, FloatArray]:
    """Time to rest in real numbers, from zero.

    Parameters
    ----------
    system : Recurrent
    drive : (samples, neurons) float64
    cap : int
        Largest time that is looked for.

    Returns
    -------
    times : (samples,) int64
        The first step after which no neuron changes by `THRESHOLD` or more in `CALM_STEPS` steps; -1 if it is later
        than the cap.
    states : (samples, neurons) float64
        At the last step that was computed.
    """
    times = np.full(len(drive), -1, dtype=np.int64)
    calm = np.zeros(len(drive), dtype=np.int64)
    before = np.zeros_like(drive)
    for step, (states, _) in zip(range(1, cap + CALM_STEPS + 1), system.steps(drive), strict=False):
        calm = np.where(np.abs(states - before).max(axis=1, initial=0.0) < THRESHOLD, calm + 1, 0)
        times[(calm >= CALM_STEPS) & (times < 0)] = step - CALM_STEPS
        before = states
        if (times >= 0).all():
            break
    return times, before


def with_beta(network: Network, exponent: int) -> Network:
    """The network with ``2**exponent`` in the place of every feedback scale.

    Raises
    ------
    NetworkError
        If the exponent is out of range.
    """
    return replace(network, edges=tuple(replace(edge, feedback_exponent=exponent) for edge in network.edges))


def beta_exponent(beta: float) -> int | None:
    """Binary logarithm of a feedback scale that a network can have, None for every other number."""
    mantissa, exponent = np.frexp(beta)
    low, high = FEEDBACK_EXPONENTS
    return int(exponent) - 1 if mantissa == 0.5 and low <= exponent - 1 <= high else None


def sweeps_to_rest(network: Network, weights: Sequence[IntArray], inputs: IntArray, schedule: str, cap: int) -> Iterator[int]:
    """Time to exact rest in integers, from zero, sample after sample.

    Parameters
    ----------
    network : Network
    weights : sequence of (rows, columns) int64
    inputs : (samples, inputs) int64
    schedule : {"jacobi", "sequential"}
        In the place of the network's.
    cap : int
        Largest time that is looked for, 1 to `MAX_SWEEPS`.

    Yields
    ------
    int
        The first sweep, counted from 1, after which no integer changes; -1 if it is later than the cap.

    Raises
    ------
    FrennError
        If the golden model cannot hold the network.
    """
    from .compiled import CompiledGolden

    # The sweep without a change is counted too, and one more tells rest at the cap from a stop at it.
    relaxation = replace(network.relaxation, schedule=schedule, free_sweeps=cap + 2)
    golden = CompiledGolden(replace(network, relaxation=relaxation))
    golden.load(weights)
    for sample in inputs:
        golden.clear_counters()
        golden.infer(sample[None])
        sweeps = golden.counters()["free_sweeps"] - 1
        yield sweeps if sweeps <= cap else -1
