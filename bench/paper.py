# SPDX-License-Identifier: Apache-2.0
"""The paper's schedule (arXiv 2508.11659): its work, and how fast PyTorch learns by it."""

import time
from typing import Any, Final

import numpy as np
from frenn.firmware.arithmetic import IntArray
from frenn.firmware.errors import FrennError
from frenn.firmware.graph import free_terms, nudged_terms
from frenn.firmware.network import Network
from frenn.sim.optimizers import FloatArray
from frenn.sim.reference import FloatNetwork

FREE_STEPS: Final = 10
CLAMPED_STEPS: Final = 5
BETA, NUDGE, RATE = 0.01, 0.1, 1e-3


class TorchMissing(FrennError):
    """PyTorch is not installed."""


def dense_products(network: Network) -> int:
    """Multiplications of a sample by the paper's schedule, nothing left out: in every step each hidden layer sums up all its terms, the
    output once, and every weight is updated once. 10 free and 5 clamped steps, whatever the depth; the paper takes more for deep ones."""
    *hidden, output = range(1, len(network.layers))

    def step(clamped: bool) -> int:
        terms = nudged_terms if clamped else free_terms
        return sum(network.widths[layer] * term.sources for layer in hidden for term in terms(network, layer))

    last = sum(network.widths[output] * term.sources for term in free_terms(network, output))
    updates = sum(rows * columns for (rows, columns), edge in zip(network.weight_shapes, network.edges, strict=True) if edge.learns)
    return FREE_STEPS * step(False) + last + CLAMPED_STEPS * step(True) + updates


class TorchChain:
    """A chain of layers that learns by Equilibrium Propagation in PyTorch, with Adam.

    Synchronous steps, literal form, symmetric feedback, the output error of the free state held; what the inputs add to the first layer
    is computed once. Equal, but for float32, to `frenn.sim.reference.EquilibriumPropagation` with the constants above.

    Parameters
    ----------
    network : Network
        A chain.

    Raises
    ------
    TorchMissing
        If PyTorch is not installed.
    FrennError
        If the network is no chain.
    """

    def __init__(self, network: Network) -> None:
        try:
            import torch
        except ImportError:
            raise TorchMissing("PyTorch is missing; run: pip install 'frenn[bench]'") from None
        if list(network.ends) != [(layer, layer + 1) for layer in range(len(network.layers) - 1)]:
            raise FrennError(f"network {network.name!r} is no chain, and the schedule in PyTorch is written for chains")
        self.torch = torch
        self.weights = [torch.from_numpy(block.astype(np.float32)) for block in FloatNetwork(network).initial_weights()]
        self.optimizer = torch.optim.Adam(self.weights, lr=RATE)

    def learn(self, inputs: FloatArray, labels: IntArray) -> None:
        """Learn one batch: (samples, inputs) float32 and (samples,) int64."""
        torch = self.torch
        with torch.no_grad():
            for block, gradient in zip(self.weights, self._gradients(torch.from_numpy(inputs), torch.from_numpy(labels)), strict=True):
                block.grad = gradient
            self.optimizer.step()

    def _gradients(self, inputs: Any, labels: Any) -> list[Any]:
        torch = self.torch
        first, *between, last = self.weights
        driven = inputs @ first.T
        states = [torch.zeros(len(inputs), block.shape[0]) for block in (first, *between)]
        for _ in range(FREE_STEPS):
            states = self._step(driven, states, None)
        free = states
        error = torch.nn.functional.one_hot(labels, len(last)) - torch.softmax(free[-1] @ last.T, dim=1)
        nudge = NUDGE * (error @ last)
        for _ in range(CLAMPED_STEPS):
            states = self._step(driven, states, nudge)
        taught = [*(clamped - settled for clamped, settled in zip(states, free, strict=True)), error]
        sources = [inputs, *free]
        return [target.T @ source / -len(inputs) for target, source in zip(taught, sources, strict=True)]

    def _step(self, driven: Any, states: list[Any], nudge: Any) -> list[Any]:
        """All layers at once from the states of the step before."""
        between = self.weights[1:-1]
        drives = [driven, *(state @ block.T for state, block in zip(states, between, strict=False))]
        fed = [BETA * (above @ block) for above, block in zip(states[1:], between, strict=True)]
        drives = [*(drive + feedback for drive, feedback in zip(drives, fed, strict=False)), drives[-1]]
        if nudge is not None:
            drives[-1] = drives[-1] + nudge
        return [self.torch.tanh(drive) for drive in drives]


def torch_speed(network: Network, inputs: FloatArray, labels: IntArray, batch: int, seconds: float) -> float:
    """Samples that PyTorch learns in a second of one core's time, in batches, for so many seconds at least."""
    chain = TorchChain(network)
    chain.torch.set_num_threads(1)
    batches = len(labels) // batch
    chain.learn(inputs[:batch], labels[:batch])
    done, started = 0, time.process_time()
    while time.process_time() - started < seconds:
        chosen = slice(done % batches * batch, done % batches * batch + batch)
        chain.learn(inputs[chosen], labels[chosen])
        done += 1
    return done * batch / (time.process_time() - started)
