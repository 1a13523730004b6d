# SPDX-License-Identifier: Apache-2.0
"""The training loop: epochs of samples, then the accuracy on the test set."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True, eq=False)
class State:
    """Where a run stands between two samples: with the network and the data it decides every bit that follows.

    Neither the order of the samples nor the random words of stochastic rounding need more: one follows from seed and epoch, the
    other from seed and number of the sample.

    Parameters
    ----------
    epoch : int
        From 0.
    done : int
        Samples of the epoch that are learned.
    hits : int
        Those of them that were predicted as labelled.
    counters : dict
        What the machine counted over them, by the names of `counters.NAMES`; empty at the start of an epoch.
    seconds : float
        Wall-clock time that they took.
    weights : list of (rows, columns) int64
        An array per edge.
    host : dict of arrays
        `HostUpdate.state`, or empty where the chip learns.
    """

    epoch: int
    done: int
    hits: int
    counters: dict[str, int]
    seconds: float
    weights: list[IntArray]
    host: dict[str, NDArray[Any]]

    @classmethod
    def initial(cls, network: Network) -> "State":
        """The state of a run that has not begun."""
        return cls(0, 0, 0, {}, 0.0, network.initial_weights(), {})


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
    seconds : float
        Wall-clock time of the training phase.
    state : State
        After the epoch.
    """

    number: int
    rate: int
    samples: int
    test_samples: int
    train_accuracy: float
    test_accuracy: float
    training: dict[str, int]
    evaluation: dict[str, int]
    seconds: float
    state: State

    @property
    def weights(self) -> list[IntArray]:
        """After the epoch, a (rows, columns) int64 array per edge."""
        return self.state.weights

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


def epochs(
    machine: Machine,
    network: Network,
    dataset: Dataset,
    advance: Advance,
    *,
    state: State | None = None,
    every: int | None = None,
    keep: Callable[[State], None] = lambda state: None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Epoch]:
    """Train a machine that holds the network's initial weights, or those of a state.

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
    state : State, optional
        Where to go on. All that follows is equal to what would have followed it without a pause.
    every : int, optional
        Samples of an epoch between two calls of ``keep``, rounded up to whole minibatches.
    keep : callable
        Is given states to go on from.
    stop : callable
        Asked between calls of the machine. If it says yes, ``keep`` gets the state that is reached and the loop ends.

    Yields
    ------
    Epoch

    Raises
    ------
    KeyboardInterrupt
        If ``stop`` said yes.
    """
    run = _Run(machine, network, dataset, State.initial(network) if state is None else state)
    if every is not None:
        every += -every % network.learning.batch

    def pause() -> None:
        if stop():
            keep(run.state())
            raise KeyboardInterrupt

    def tested(count: int) -> None:
        advance(count)
        pause()

    while run.epoch < network.learning.epochs:
        number, rate = run.epoch, network.learning.rate_at(run.epoch)
        machine.clear_counters()
        pause()
        while run.done < run.samples:
            boundary = run.samples if every is None else (run.done // every + 1) * every
            advance(run.learn(rate, boundary))
            if run.done == boundary < run.samples:
                keep(run.state())
            pause()
        run.count()
        test_accuracy = accuracy(machine, network, dataset.test_inputs, dataset.test_labels, tested)
        evaluation, training, hits, seconds = machine.counters(), run.counters, run.hits, run.seconds
        run.begin(number + 1)
        yield Epoch(
            number=number + 1,
            rate=rate,
            samples=run.samples,
            test_samples=len(dataset.test_labels),
            train_accuracy=hits / run.samples,
            test_accuracy=test_accuracy,
            training=training,
            evaluation=evaluation,
            seconds=seconds,
            state=run.state(),
        )


class _Run:
    """A machine and its place in a run."""

    def __init__(self, machine: Machine, network: Network, dataset: Dataset, state: State) -> None:
        self.samples = len(dataset.train_labels)
        self._machine, self._network, self._dataset = machine, network, dataset
        self._host = HostUpdate(network, machine.weights()) if network.learning.on_host else None
        if self._host is not None and state.host:
            self._host.restore(state.host)
        self.begin(state.epoch)
        self.done = self._counted = state.done
        self.hits, self.counters, self.seconds = state.hits, state.counters, state.seconds

    def begin(self, epoch: int) -> None:
        """Stand at the start of an epoch."""
        self.epoch = epoch
        self.done = self._counted = self.hits = 0
        self.seconds = 0.0
        self.counters = {}
        self._order = np.random.default_rng((self._network.seed, epoch)).permutation(self.samples)

    def learn(self, rate: int, end: int) -> int:
        """Learn some whole minibatches, none from ``end`` on, and return the number of samples."""
        began = time.monotonic()
        batch = self._network.learning.batch
        chunk = batch if self._host is not None else CHUNK // batch * batch
        chosen = self._order[self.done : min(self.done + chunk, end)]
        labels = self._dataset.train_labels[chosen]
        inputs = quantise(self._dataset.train_inputs[chosen], self._network.formats.input)
        step = self.epoch * self.samples + self.done
        if self._host is None:
            predictions, _ = self._machine.train(inputs, labels, step, rate)
        else:
            predictions = self._host.learn(self._machine, inputs, labels, step, rate)
        self.hits += int(np.count_nonzero(predictions == labels))
        self.done += len(chosen)
        self.seconds += time.monotonic() - began
        return len(chosen)

    def count(self) -> None:
        """Take over, and clear, what the machine has counted over samples since the last time, so that nothing else counts."""
        if self._counted == self.done:
            return
        self._counted = self.done
        counted = self._machine.counters()
        if self._host is not None:
            counted["saturated_weight"], self._host.saturated = self._host.saturated, 0
        # Where the run went on on a machine that counts less, only what both counted is known.
        known = self.counters or dict.fromkeys(counted, 0)
        self.counters = {name: known[name] + value for name, value in counted.items() if name in known}
        self._machine.clear_counters()

    def state(self) -> State:
        """Where the run stands."""
        self.count()
        weights = self._machine.weights()
        self._machine.clear_counters()
        host = {} if self._host is None else self._host.state()
        return State(self.epoch, self.done, self.hits, self.counters, self.seconds, weights, host)


def accuracy(machine: Machine, network: Network, inputs: Bytes, labels: IntArray, advance: Advance) -> float:
    """Share of samples, (samples, features) uint8 U0.8, that a machine predicts as labelled."""
    hits = 0
    for start in range(0, len(labels), CHUNK):
        part = slice(start, start + CHUNK)
        predictions = machine.infer(quantise(inputs[part], network.formats.input))
        hits += int(np.count_nonzero(predictions == labels[part]))
        advance(len(predictions))
    return hits / len(labels)
