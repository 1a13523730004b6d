# SPDX-License-Identifier: Apache-2.0
"""The training loop: epochs of samples, then the accuracy on the test set."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from ..firmware.arithmetic import IntArray
from ..firmware.counters import GOLDEN, NAMES
from ..firmware.network import Network
from .datasets import Bytes, Dataset, quantise
from .machine import Machine
from .updates import HostUpdate

CHUNK: Final = 128
"""Samples per call of a machine: what progress and an interruption wait for at the most."""

Advance = Callable[[int], None]
"""Told the number of samples that are done since the last call."""


def with_options(network: Network, seed: int | None = None, epochs: int | None = None) -> Network:
    """The network with another seed, another number of epochs, or both.

    Raises
    ------
    NetworkError
        If one is out of range.
    """
    learning = network.learning if epochs is None else replace(network.learning, epochs=epochs)
    return replace(network, learning=learning, seed=network.seed if seed is None else seed)


@dataclass(frozen=True, eq=False)
class Epoch:
    """What one epoch did.

    Parameters
    ----------
    number : int
        From 1.
    rate : int
        Binary logarithm of the learning rate.
    samples, test_samples : int
    train_accuracy : float
        Of the predictions made before each sample was learned.
    test_accuracy : float
        After the epoch.
    training, evaluation : dict
        Counters of the two phases apart, by the names of `counters.NAMES`.
    weights : list of (rows, columns) int64
        After the epoch.
    seconds : float
        Wall-clock time of the training phase.
    """

    number: int
    rate: int
    samples: int
    test_samples: int
    train_accuracy: float
    test_accuracy: float
    training: dict[str, int]
    evaluation: dict[str, int]
    weights: list[IntArray]
    seconds: float

    def metrics(self) -> dict[str, Any]:
        """The line of ``metrics.jsonl``: no times, so that equal runs write equal lines; null where there is no engine."""
        return {
            "epoch": self.number,
            "rate_exponent": self.rate,
            "samples": self.samples,
            "test_samples": self.test_samples,
            "train_accuracy": self.train_accuracy,
            "test_accuracy": self.test_accuracy,
            "training": {name: self.training.get(name) for name in NAMES},
            "evaluation": {name: self.evaluation.get(name) for name in NAMES},
        }

    def differences(self, other: "Epoch", network: Network) -> list[str]:
        """What this epoch and the same one on another machine do not share, though every machine must: empty if equal."""
        found = []
        for name, mine, theirs in zip(network.weight_names, self.weights, other.weights, strict=True):
            if (mine != theirs).any():
                found.append(f"{np.count_nonzero(mine != theirs)} of {mine.size} weights of {name}")
        for name in ("train_accuracy", "test_accuracy"):
            if getattr(self, name) != getattr(other, name):
                found.append(f"{name} {getattr(self, name)} and {getattr(other, name)}")
        for phase in ("training", "evaluation"):
            mine, theirs = getattr(self, phase), getattr(other, phase)
            found += [f"{phase} counter {name} {mine[name]} and {theirs[name]}" for name in GOLDEN if mine[name] != theirs[name]]
        return found


def epochs(machine: Machine, network: Network, dataset: Dataset, advance: Advance) -> Iterator[Epoch]:
    """Train a machine that holds the network's initial weights.

    Epoch ``e``, from 0, shows the samples in the order ``default_rng((seed, e)).permutation(samples)``; the random
    words of stochastic rounding are drawn by the number of the sample over the whole run.

    Parameters
    ----------
    machine : Machine
    network : Network
        Its learning schedule and seed.
    dataset : Dataset
    advance : callable
        Called with every number of samples done, trained or tested.

    Yields
    ------
    Epoch
    """
    samples = len(dataset.train_labels)
    host = HostUpdate(network, machine.weights()) if network.learning.on_host else None
    for number in range(network.learning.epochs):
        rate = network.learning.rate_at(number)
        order = np.random.default_rng((network.seed, number)).permutation(samples)
        started = time.monotonic()
        machine.clear_counters()
        hits = 0
        chunk = CHUNK if host is None else network.learning.batch
        for start in range(0, samples, chunk):
            chosen = order[start : start + chunk]
            labels = dataset.train_labels[chosen]
            inputs = quantise(dataset.train_inputs[chosen], network.formats.input)
            step = number * samples + start
            if host is None:
                predictions, _ = machine.train(inputs, labels, step, rate)
            else:
                predictions = host.learn(machine, inputs, labels, step, rate)
            hits += int(np.count_nonzero(predictions == labels))
            advance(len(chosen))
        training = machine.counters()
        if host is not None:
            training["saturated_weight"], host.saturated = host.saturated, 0
        seconds = time.monotonic() - started
        machine.clear_counters()
        test_accuracy = accuracy(machine, network, dataset.test_inputs, dataset.test_labels, advance)
        yield Epoch(
            number=number + 1,
            rate=rate,
            samples=samples,
            test_samples=len(dataset.test_labels),
            train_accuracy=hits / samples,
            test_accuracy=test_accuracy,
            training=training,
            evaluation=machine.counters(),
            weights=machine.weights(),
            seconds=seconds,
        )


def accuracy(machine: Machine, network: Network, inputs: Bytes, labels: IntArray, advance: Advance) -> float:
    """Share of samples, (samples, features) uint8 U0.8, that a machine predicts as labelled."""
    hits = 0
    for start in range(0, len(labels), CHUNK):
        part = slice(start, start + CHUNK)
        predictions = machine.infer(quantise(inputs[part], network.formats.input))
        hits += int(np.count_nonzero(predictions == labels[part]))
        advance(len(predictions))
    return hits / len(labels)
