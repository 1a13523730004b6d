# SPDX-License-Identifier: Apache-2.0
"""How fast the golden model trains, beside the paper's float schedule in numpy: samples per second of one thread, as Markdown.

    python bench/speed.py --data-dir DIR [--out speed.json]

All in one run on 784-256-256-10: the golden model's compiled path for every epoch of examples/mnist.toml, the plain numpy model for
the first samples, and Equilibrium Propagation in float with T = 10, K = 5, Adam and batches of 500. Seconds are those of the processor,
so that other work on the machine counts little; compilation and tests do not count.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from frenn.firmware.errors import FrennError
from frenn.firmware.files import write_atomic
from frenn.firmware.network import Network, load_network
from frenn.host import datasets, training
from frenn.sim.compiled import CompiledGolden
from frenn.sim.golden import Golden
from frenn.sim.optimizers import Adam
from frenn.sim.reference import EquilibriumPropagation, FloatNetwork, learn
from runs import EXAMPLES
from threadpoolctl import threadpool_limits

FLOAT_EPOCHS = 2
FEW = 1000
"""Samples that the slow plain model learns."""
BATCH, STEPS, PAPER_EPOCHS = 500, (10, 5), 50


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="folder of the IDX files of MNIST (default: fetched from OpenML)")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    arguments = parser.parse_args(words)
    try:
        with threadpool_limits(1):
            figures = measure(arguments.data_dir)
        if arguments.out:
            write_atomic(arguments.out, (json.dumps(figures, indent=1) + "\n").encode())
    except (FrennError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(section(figures)))
    return 0


def measure(data_dir: Path | None) -> dict[str, Any]:
    """Samples per second by what was run."""
    network = load_network(EXAMPLES / "mnist.toml")
    data = datasets.load("mnist", data_dir, network.seed)
    first = data.first(FEW)
    golden(CompiledGolden, network, data.first(1), 1)  # numba compiles
    compiled = golden(CompiledGolden, network, data, network.learning.epochs)
    samples = len(data.train_labels)
    return {
        "processor": processor(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "network": "-".join(map(str, network.widths)),
        "epochs": network.learning.epochs,
        "samples": samples,
        "compiled": samples * len(compiled) / sum(compiled),
        "compiled_first_epoch": samples / compiled[0],
        "compiled_few": FEW / golden(CompiledGolden, network, first, 1)[0],
        "plain_few": FEW / golden(Golden, network, first, 1)[0],
        "float": samples * FLOAT_EPOCHS / sum(floating(network, data, FLOAT_EPOCHS)),
    }


def golden(kind: type[Golden], network: Network, data: datasets.Dataset, epochs: int) -> list[float]:
    """Seconds of each epoch's training, by the steps of `training.epochs`."""
    machine = kind(network)
    seconds = []
    samples = len(data.train_labels)
    for epoch in range(epochs):
        order = np.random.default_rng((network.seed, epoch)).permutation(samples)
        rate = network.learning.rate_at(epoch)
        started = time.process_time()
        for start in range(0, samples, training.CHUNK):
            chosen = order[start : start + training.CHUNK]
            inputs = datasets.quantise(data.train_inputs[chosen], network.formats.input)
            machine.train(inputs, data.train_labels[chosen], epoch * samples + start, rate)
        seconds.append(time.process_time() - started)
    return seconds


def floating(network: Network, data: datasets.Dataset, epochs: int) -> list[float]:
    """Seconds of each epoch of the paper's schedule."""
    graph = FloatNetwork(network)
    rule = EquilibriumPropagation(
        graph, schedule="jacobi", free_steps=STEPS[0], clamped_steps=STEPS[1], nudge=0.1, form="literal", error="held"
    )
    optimizer, weights = Adam(1e-3), graph.initial_weights()
    inputs = data.train_inputs.astype(np.float32) / 255
    seconds = []
    for epoch in range(epochs):
        order = np.random.default_rng((network.seed, epoch)).permutation(len(inputs))
        started = time.process_time()
        learn(rule, optimizer, weights, inputs, data.train_labels, order, BATCH)
        seconds.append(time.process_time() - started)
    return seconds


def section(figures: dict[str, Any]) -> list[str]:
    """Lines of Markdown."""
    epochs, samples = figures["epochs"], figures["samples"]
    lines = (
        ("golden, compiled", f"{epochs} epochs", "compiled"),
        ("golden, compiled", "the first epoch", "compiled_first_epoch"),
        ("golden, compiled", f"the first {FEW:,} samples", "compiled_few"),
        ("golden, plain numpy", f"the first {FEW:,} samples", "plain_few"),
        (f"float EP in numpy, batches of {BATCH}, T = {STEPS[0]}, K = {STEPS[1]}, Adam", f"{FLOAT_EPOCHS} epochs", "float"),
    )
    ratio, first = figures["compiled"] / figures["float"], figures["compiled_first_epoch"] / figures["float"]
    whole, floats = epochs * samples / figures["compiled"], PAPER_EPOCHS * samples / figures["float"]
    return [
        "## Speed of the golden model",
        "",
        f"Training {figures['network']} on MNIST, samples per second of processor time, one thread, all in one run of `bench/speed.py` on",
        f"{figures['processor']}, Python {figures['python']}, numpy {figures['numpy']}; tests and compilation do not count.",
        "",
        "| what | over | samples/s |",
        "|---|---|---|",
        *(f"| {what} | {over} | {figures[key]:,.0f} |" for what, over, key in lines),
        "",
        f"Golden, learning one sample at a time, is {ratio:.2f} times as fast as the float schedule over the whole run, {first:.2f} in",
        "the first epoch. The compiled path takes events only, so that it is fastest where most samples have no error left.",
        f"Golden's {epochs} epochs take {whole:.0f} s, the paper's {PAPER_EPOCHS} in float {floats:.0f} s.",
    ]


def processor() -> str:
    """Name of the processor where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
