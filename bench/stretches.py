# SPDX-License-Identifier: Apache-2.0
"""Stretches of a training run: weights that the golden model learned, and what an engine does with the samples that follow them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from frenn.firmware.arithmetic import IntArray
from frenn.firmware.errors import FrennError
from frenn.firmware.files import write_atomic
from frenn.firmware.network import Network
from frenn.host.checkpoint import Checkpoint, CheckpointError, Identity
from frenn.host.datasets import Dataset, quantise
from frenn.host.driver import Driver
from frenn.host.machine import Machine
from frenn.host.training import Advance, State, epochs
from frenn.sim.compiled import CompiledGolden

PLACES: Final = 8
"""Stretches of an epoch, each in the middle of an equal part of it."""


@dataclass(frozen=True)
class Samples:
    """Samples of a run in the order in which it learns them.

    Parameters
    ----------
    inputs : (samples, inputs) int64
        In the network's input format.
    labels : (samples,) int64
    step : int
        Number of the first one in the whole run.
    rate : int
        Binary logarithm of the learning rate.
    """

    inputs: IntArray
    labels: IntArray
    step: int
    rate: int


class Stretches:
    """The states from which stretches of a run begin, in a folder that is filled as far as they are asked for.

    The folder does not show if golden computes something else since; who changes its arithmetic removes it.

    Parameters
    ----------
    network : Network
        With its schedule of learning rates.
    dataset : Dataset
    folder : Path
        Of this network and data alone.
    numbers : sequence of int
        Epochs, from 1, that have stretches.
    """

    def __init__(self, network: Network, dataset: Dataset, folder: Path, numbers: tuple[int, ...]) -> None:
        self.network, self.dataset, self.folder, self.numbers = network, dataset, folder, numbers
        self._identity = Identity.of(network, dataset)
        self._every = len(dataset.train_labels) // (2 * PLACES)
        if self._every < 1:
            raise FrennError(f"the {dataset.name} data have {len(dataset.train_labels)} training samples; stretches need {2 * PLACES}")

    def missing(self, number: int) -> int:
        """Samples, learned or tested, until the stretches of an epoch are there."""
        begun = self._begun()
        return 0 if self._complete(number) else (number - begun.epoch) * (len(self.dataset.train_labels) + len(self.dataset.test_labels))

    def learn(self, number: int, advance: Advance) -> None:
        """Train golden up to the end of an epoch, unless its stretches are there. What was learned before an interruption is kept."""
        if self._complete(number):
            return
        machine, state = CompiledGolden(self.network), self._begun()
        machine.load(state.weights)
        self.folder.mkdir(parents=True, exist_ok=True)
        for epoch in epochs(machine, self.network, self.dataset, advance, state=state, every=self._every, keep=self._keep):
            self._write(self._end(epoch.number), epoch.state)
            self._end(epoch.number - 1).unlink(missing_ok=True)
            if epoch.number >= number:
                return

    def states(self, number: int) -> Iterator[State]:
        """Where the stretches of an epoch begin."""
        for place in range(PLACES):
            yield self._load(self._start(number, place)).state

    def samples(self, state: State, count: int) -> Samples:
        """So many samples that the run learns from a state on, all of one epoch."""
        order = np.random.default_rng((self.network.seed, state.epoch)).permutation(len(self.dataset.train_labels))
        chosen = order[state.done : state.done + min(count, self._every)]
        return Samples(
            inputs=quantise(self.dataset.train_inputs[chosen], self.network.formats.input),
            labels=self.dataset.train_labels[chosen],
            step=state.epoch * len(order) + state.done,
            rate=self.network.learning.rate_at(state.epoch),
        )

    def _complete(self, number: int) -> bool:
        return all(self._start(number, place).exists() for place in range(PLACES))

    def _begun(self) -> State:
        ends = sorted(self.folder.glob("epoch-*.safetensors"))
        return self._load(ends[-1]).state if ends else State.initial(self.network)

    def _keep(self, state: State) -> None:
        place, part = divmod(state.done // self._every, 2)
        if state.epoch + 1 in self.numbers and part and place < PLACES:
            self._write(self._start(state.epoch + 1, place), state)

    def _start(self, number: int, place: int) -> Path:
        return self.folder / f"stretch-{number:03d}-{place}.safetensors"

    def _end(self, number: int) -> Path:
        return self.folder / f"epoch-{number:03d}.safetensors"

    def _write(self, path: Path, state: State) -> None:
        write_atomic(path, Checkpoint(self._identity, state, []).encode())

    def _load(self, path: Path) -> Checkpoint:
        try:
            checkpoint = Checkpoint.load(path)
        except CheckpointError as error:
            raise FrennError(f"{error}; remove {self.folder}, and its stretches are learned again") from None
        self._identity.check(checkpoint.identity, f"the stretch {path}")
        return checkpoint


def replay(machine: Driver, golden: CompiledGolden, state: State, samples: Samples) -> tuple[dict[str, int], dict[str, int]]:
    """What a device counts while it predicts samples, then learns them, from a state on.

    Parameters
    ----------
    machine : Driver
    golden : CompiledGolden
        Of the same network; does the same beside it.
    state : State
    samples : Samples
        Two or more.

    Returns
    -------
    learning, predicting : dict of str to int
        Counters by name, see `_counted`.

    Raises
    ------
    FrennError
        If the two do not answer the same and count the same.
    """
    for each in (machine, golden):
        each.load(state.weights)

    def infer(each: Machine, part: slice) -> tuple[IntArray, ...]:
        return (each.infer(samples.inputs[part]),)

    def train(each: Machine, part: slice) -> tuple[IntArray, ...]:
        return each.train(samples.inputs[part], samples.labels[part], samples.step + part.start, samples.rate)

    predicting = _counted(machine, golden, infer, len(samples.labels))
    return _counted(machine, golden, train, len(samples.labels)), predicting


def _counted(machine: Driver, golden: CompiledGolden, work: Callable[[Machine, slice], tuple[IntArray, ...]], count: int) -> dict[str, int]:
    """Counters over all samples but the first; ``cycles`` and ``idle_link`` without the way of the first input to the engine and of the
    last answer from it, which the first sample alone tells."""
    around = {"cycles": 0, "idle_link": 0}
    for part in (slice(0, 1), slice(1, count)):
        for each in (machine, golden):
            each.clear_counters()
        same = [(mine == its).all() for mine, its in zip(work(machine, part), work(golden, part), strict=True)]
        counters = machine.counters()
        same += [counters[name] == value for name, value in golden.counters().items()]
        if not all(same):
            raise FrennError(f"engine and golden do not learn the same as {machine.program.network.name} is replayed; please report it")
        for name, cycles in around.items():
            counters[name] -= cycles
        around = {"cycles": counters["cycles"] - counters["run_cycles"], "idle_link": counters["idle_link"]}
    return counters
