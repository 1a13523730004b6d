# SPDX-License-Identifier: Apache-2.0
"""How well networks learn: the figures of docs/results.md, as Markdown.

    python bench/accuracy.py digits
    python bench/accuracy.py mnist --data-dir DIR

Trains an example network with the golden model's compiled path through the host's training loop, once per seed. A seed
sets everything that is random: initial weights, order of the samples, stochastic rounding, and the split of the digits.
"""

import argparse
import os
import platform
import sys
from pathlib import Path

import numpy as np
from frenn.firmware.errors import FrennError
from frenn.firmware.network import Network, load_network
from frenn.host import datasets, training
from frenn.sim.compiled import CompiledGolden
from frenn.sim.golden import Golden

EXAMPLES = Path(__file__).parent.parent / "examples"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="name", required=True)
    for name, epochs, seeds in (("digits", 40, [1, 2, 3, 4, 5]), ("mnist", 6, [1, 2, 3])):
        verb = verbs.add_parser(name, help=f"examples/{name}.toml")
        verb.add_argument("--epochs", type=int, default=epochs, help="epochs of each run (default: %(default)s)")
        verb.add_argument("--seeds", type=int, nargs="+", default=seeds, help="one run each (default: %(default)s)")
        verb.add_argument("--samples", type=int, help="train on the first so many samples alone")
        verb.add_argument("--plain", action="store_true", help="the plain numpy model, not its compiled path: the same figures, slower")
        if name == "mnist":
            verb.add_argument("--data-dir", type=Path, help="folder of the IDX files (default: fetched from OpenML)")
    arguments = parser.parse_args()
    try:
        network = load_network(EXAMPLES / f"{arguments.name}.toml")
        report(network, arguments)
    except FrennError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def report(network: Network, arguments: argparse.Namespace) -> None:
    """Train once per seed and print a table: test accuracy in percent after every epoch, or every tenth of many."""
    epochs: int = arguments.epochs
    shown = [epoch for epoch in range(1, epochs + 1) if epochs <= 10 or epoch % 10 == 0 or epoch == epochs]
    print(f"{'-'.join(map(str, network.widths))}, {epochs} epochs, test accuracy in % after each epoch shown\n")
    print(f"| seed | {' | '.join(map(str, shown))} | samples/s |")
    print("|" + "---|" * (len(shown) + 2))
    last = []
    for seed in arguments.seeds:
        dataset = datasets.load(arguments.name, getattr(arguments, "data_dir", None), seed)
        if arguments.samples is not None:
            dataset = dataset.first(arguments.samples)
        kind = Golden if arguments.plain else CompiledGolden
        accuracies, speed = run(kind, training.with_options(network, seed, epochs), dataset)
        last.append(100 * accuracies[-1])
        figures = [f"{100 * accuracies[epoch - 1]:.2f}" for epoch in shown]
        print(f"| {seed} | {' | '.join(figures)} | {speed:,.0f} |", flush=True)
    deviation = f" +- {np.std(last, ddof=1):.2f}" if len(last) > 1 else ""
    print(f"\nlast epoch: {np.mean(last):.2f}{deviation} % (mean{' and standard deviation' if deviation else ''} of {len(last)} seeds)")
    print(f"samples/s: training alone, one thread on {processor()} with {os.cpu_count()} cores, Python {platform.python_version()}")


def run(kind: type[Golden], network: Network, dataset: datasets.Dataset) -> tuple[list[float], float]:
    """Test accuracies by epoch, and training samples per second of wall-clock time."""
    dataset.check(network)
    warm_up(kind, network)
    accuracies, samples, seconds = [], 0, 0.0
    for epoch in training.epochs(kind(network), network, dataset, lambda done: None):
        accuracies.append(epoch.test_accuracy)
        samples += epoch.samples
        seconds += epoch.seconds
    return accuracies, samples / seconds


def warm_up(kind: type[Golden], network: Network) -> None:
    """Let numba compile before the clock runs."""
    inputs, labels = np.zeros((1, network.widths[0]), dtype=np.int64), np.zeros(1, dtype=np.int64)
    kind(network).train(inputs, labels, 0, network.learning.rate_at(0))


def processor() -> str:
    """Name of the processor where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
