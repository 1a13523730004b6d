# SPDX-License-Identifier: Apache-2.0
"""How well the float reference learns: Equilibrium Propagation, backpropagation, feedback alignment.

    python bench/reference.py ep 784-64-64-10 --data-dir DIR --beta 0.01 --seeds 1 2 3 --out ep.json
    python bench/reference.py bp examples/mnist.toml --data-dir DIR --epochs 10

The defaults are the paper's: synchronous steps, T = 10 and K = 5 per hidden layer, nudge 0.1, Adam at 1e-3, batch 500, 50 epochs, pixels
divided by 255. A seed sets initial weights and the order of the samples; the seed of a network file goes on setting its random links. With
``--out`` a run adds its seeds to those that the file has, and skips what it finds there, so a broken run goes on where its last seed ended.
One line per epoch goes to standard error, a table to standard output. Set OPENBLAS_NUM_THREADS=1 beside other work.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from frenn.firmware.errors import FrennError
from frenn.firmware.files import write_atomic
from frenn.firmware.network import CLAMPED_FORMS, SCHEDULES, Network, load_network
from frenn.host import datasets
from frenn.sim.backprop import Backpropagation
from frenn.sim.optimizers import SGD, Adam, Optimizer
from frenn.sim.reference import REFERENCE_ERRORS, EquilibriumPropagation, FloatNetwork, Rule, accuracy, learn


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rule", choices=["ep", "bp", "fa"], help="Equilibrium Propagation, backpropagation, feedback alignment")
    parser.add_argument("network", help="a network file, or widths such as 784-64-64-10")
    parser.add_argument("--data", choices=datasets.NAMES, default="mnist")
    parser.add_argument("--data-dir", type=Path, help="folder of the IDX files of MNIST")
    parser.add_argument("--samples", type=int, help="train on the first so many samples alone")
    parser.add_argument("--beta", type=float, help="feedback scale of every edge, any number (default: the network's)")
    parser.add_argument("--alpha", type=float, help="forward scale of every edge (default: the network's)")
    parser.add_argument("--nudge", type=float, default=0.1, help="beta_f (default: %(default)s)")
    parser.add_argument("--form", choices=CLAMPED_FORMS, default="literal")
    parser.add_argument(
        "--error", choices=REFERENCE_ERRORS, default="held", help="output error of the clamped phase (default: %(default)s)"
    )
    parser.add_argument("--schedule", choices=SCHEDULES, default="jacobi")
    parser.add_argument("--free-steps", type=int, help="T (default: 10 per hidden layer)")
    parser.add_argument("--clamped-steps", type=int, help="K (default: 5 per hidden layer)")
    parser.add_argument("--piecewise", action="store_true", help="the machine's tanh of 16 segments instead of the exact one")
    parser.add_argument("--optimizer", choices=["adam", "sgd"], default="adam")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate (default: %(default)s)")
    parser.add_argument("--one-rate", action="store_true", help="for every edge, whatever the network says of some")
    parser.add_argument("--momentum", type=float, default=0.0, help="of sgd (default: %(default)s)")
    parser.add_argument("--halve-every", type=int, default=0, help="epochs after which the rate is halved again (default: never)")
    parser.add_argument("--batch", type=int, default=500, help="samples of a minibatch (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=50, help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="one run each (default: %(default)s)")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--out", type=Path, help="JSON file of the results, added to if it exists")
    arguments = parser.parse_args(words)
    try:
        report(arguments)
    except (FrennError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def report(arguments: argparse.Namespace) -> None:
    """Train once per seed, write the results after each and print them as a table."""
    for name, least in (("epochs", 1), ("halve_every", 0)):
        if getattr(arguments, name) < least:
            raise FrennError(f"--{name.replace('_', '-')} is {getattr(arguments, name)}; legal is {least} or more")
    if arguments.out and not arguments.out.parent.is_dir():
        raise FrennError(f"--out is {arguments.out}, but {arguments.out.parent} is no folder; make it first")
    network = read_network(arguments.network)
    if arguments.one_rate:
        network = replace(network, edges=tuple(replace(edge, rate_exponent=0) for edge in network.edges))
    options = {key: value for key, value in vars(arguments).items() if key not in ("network", "one_rate", "data_dir", "seeds", "out")}
    options = {**describe(network), **options}
    runs = read_runs(arguments.out, options) if arguments.out else {}
    for seed in arguments.seeds:
        if str(seed) not in runs:
            runs[str(seed)] = run(arguments, replace(network, seed=seed))
        if arguments.out:
            write_atomic(arguments.out, json.dumps({"options": options, "runs": runs}, indent=1).encode())
    print("| seed | last epoch | best epoch | samples/s |\n|---|---|---|---|")
    last, best = [], []
    for seed in map(str, arguments.seeds):
        figures = [100 * figure for figure in runs[seed]["test_accuracy"]]
        last.append(figures[-1])
        best.append(max(figures))
        print(
            f"| {seed} | {last[-1]:.2f} | {best[-1]:.2f} (epoch {figures.index(best[-1]) + 1}) | {runs[seed]['samples_per_second']:,.0f} |"
        )
    for name, values in (("last", last), ("best", best)):
        deviation = f" +- {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
        print(f"\n{name} epoch: {np.mean(values):.2f}{deviation} % test accuracy, {len(values)} seed{'s' if len(values) > 1 else ''}")


def read_network(text: str) -> Network:
    """A network file, or a chain of widths joined by ``-``."""
    if re.fullmatch(r"\d+(-\d+)+", text):
        return Network.chain([int(width) for width in text.split("-")])
    return load_network(text)


def describe(network: Network) -> dict[str, Any]:
    """What of a network decides a run, but for its seed."""
    layers = [f"{layer.name} {layer.width} {layer.activation}" for layer in network.layers]
    edges = [
        f"{edge.source}->{edge.target} {edge.role} {edge.feedback} "
        f"alpha 2^{edge.forward_exponent} beta 2^{edge.feedback_exponent} rate 2^{edge.rate_exponent}"
        for edge in network.edges
    ]
    return {"layers": layers, "edges": edges}


def read_runs(path: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Runs of a results file by seed; refused if they are of other options."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_bytes())
        found, runs = dict(content["options"]), dict(content["runs"])
    except (ValueError, KeyError, TypeError):
        raise FrennError(f"{path} is no results file; choose another name for --out") from None
    different = sorted(key for key in options.keys() | found.keys() if options.get(key) != found.get(key))
    if different:
        raise FrennError(f"{path} has results of another {', '.join(different)}; choose another name for --out")
    return runs


def run(arguments: argparse.Namespace, network: Network) -> dict[str, Any]:
    """Train one network; test accuracy after each epoch, training accuracy after the last, training samples per second."""
    data = datasets.load(arguments.data, arguments.data_dir, network.seed)
    data.check(network)
    data = data.first(arguments.samples)
    rule, optimizer = make_rule(arguments, network), make_optimizer(arguments, network)
    inputs, test_inputs = (part.astype(rule.graph.dtype) / 255 for part in (data.train_inputs, data.test_inputs))
    weights = rule.graph.initial_weights()
    accuracies: list[float] = []
    seconds = 0.0
    for epoch in range(arguments.epochs):
        if arguments.halve_every:
            optimizer.rate = arguments.rate * 0.5 ** (epoch // arguments.halve_every)
        order = np.random.default_rng((network.seed, epoch)).permutation(len(inputs))
        started = time.monotonic()
        learn(rule, optimizer, weights, inputs, data.train_labels, order, arguments.batch)
        seconds += time.monotonic() - started
        accuracies.append(accuracy(rule, weights, test_inputs, data.test_labels))
        speed = len(inputs) * (epoch + 1) / seconds
        progress = f"seed {network.seed} epoch {epoch + 1}/{arguments.epochs} test {100 * accuracies[-1]:.2f} %"
        print(f"{progress} best {100 * max(accuracies):.2f} % {speed:,.0f} samples/s", file=sys.stderr, flush=True)
    return {
        "test_accuracy": accuracies,
        "train_accuracy": accuracy(rule, weights, inputs, data.train_labels),
        "samples_per_second": len(inputs) * arguments.epochs / seconds,
    }


def make_rule(arguments: argparse.Namespace, network: Network) -> Rule:
    dtype = np.float32 if arguments.dtype == "float32" else np.float64
    graph = FloatNetwork(network, alpha=arguments.alpha, beta=arguments.beta, piecewise=arguments.piecewise, dtype=dtype)
    if arguments.rule != "ep":
        return Backpropagation(graph, alignment=arguments.rule == "fa")
    hidden = len(graph.hidden)
    return EquilibriumPropagation(
        graph,
        schedule=arguments.schedule,
        free_steps=10 * hidden if arguments.free_steps is None else arguments.free_steps,
        clamped_steps=5 * hidden if arguments.clamped_steps is None else arguments.clamped_steps,
        nudge=arguments.nudge,
        form=arguments.form,
        error=arguments.error,
    )


def make_optimizer(arguments: argparse.Namespace, network: Network) -> Optimizer:
    factors = [2.0**edge.rate_exponent for edge in network.edges if edge.learns]
    if arguments.optimizer == "adam":
        return Adam(arguments.rate, factors=factors)
    return SGD(arguments.rate, arguments.momentum, factors=factors)


if __name__ == "__main__":
    sys.exit(main())
