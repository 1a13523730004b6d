# SPDX-License-Identifier: Apache-2.0
"""What the verbs of the command line do."""

import argparse
import platform
import re
import sys
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..firmware.compiler import Program, compile_network
from ..firmware.files import write_atomic
from ..firmware.image import Image
from ..firmware.network import Network, load_network
from ..firmware.parameters import PRESETS, EngineParameters
from .datasets import Dataset, load
from .progress import progress
from .run import WEIGHTS, RunFolder, free_path, load_run, load_weights
from .targets import TARGETS, check_target, choose_engine, misfit, open_machine, preset_engine, smallest_engine
from .training import Epoch, accuracy, epochs, with_options

INTERRUPTED: Final = 130


def train(arguments: argparse.Namespace) -> int:
    """``frenn train``: 0, 1 if machines differ, 130 after Ctrl-C."""
    path = Path(arguments.network)
    network = with_options(load_network(path), arguments.seed, arguments.epochs)
    # The machine that is asked for comes first; it is the one that the run folder is of.
    targets = [arguments.on, *(name for name in TARGETS if arguments.verify and name != arguments.on)]
    for target in targets:
        check_target(target)
    program = compile_network(network, choose_engine(network, arguments.engine, arguments.lanes))
    out = free_path(Path("runs"), f"{_file_name(network.name)}-{arguments.on}") if arguments.out is None else Path(arguments.out)
    run = RunFolder(out, path.read_bytes())
    try:
        with run:
            return _train(run, arguments, program, targets)
    except KeyboardInterrupt:
        kept = f"{out} is complete up to epoch {run.epochs}" if run.epochs else "no epoch was over, so nothing is kept"
        _say(f"frenn: stopped; {kept}")
        return INTERRUPTED


def _train(run: RunFolder, arguments: argparse.Namespace, program: Program, targets: list[str]) -> int:
    network = program.network
    dataset = _dataset(arguments.data, arguments.data_dir, network).first(arguments.samples, arguments.test_samples)
    weights = network.initial_weights()
    image = Image.build(program, weights)
    run.begin(_options(arguments, program, dataset), image)
    print(
        f"{network.name}: {_widths(network)}, {len(dataset.train_labels)} training and {len(dataset.test_labels)} test samples of "
        f"{dataset.name}, seed {network.seed}, on {' and '.join(targets)}, engine of {program.parameters.lanes} lanes",
        flush=True,
    )
    with ExitStack() as stack:
        machines = [stack.enter_context(open_machine(target, program, arguments.link, _say)) for target in targets]
        for machine in machines:
            machine.load(weights)
        work = len(machines) * network.learning.epochs * (len(dataset.train_labels) + len(dataset.test_labels))
        advance = stack.enter_context(progress(work, "training"))
        for results in zip(*(epochs(machine, network, dataset, advance) for machine in machines), strict=True):
            run.record(results[0], network)
            print(_line(results[0], network), flush=True)
            for other, target in zip(results[1:], targets[1:], strict=True):
                differences = results[0].differences(other, network)
                if differences:
                    _say(f"frenn: {targets[0]} and {target} differ in epoch {other.number}: {'; '.join(differences)}; see {run.path}")
                    return 1
    if len(targets) > 1:
        print(f"verified: weights, accuracies and counters of every epoch are equal on {' and '.join(targets)}")
    print(f"test accuracy {100 * results[0].test_accuracy:.2f} % after epoch {results[0].number}; see {run.path}")
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """``frenn eval``: the test accuracy of the weights in a run folder."""
    folder = Path(arguments.run)
    network, options = load_run(folder)
    weights = load_weights(folder / WEIGHTS, network)
    check_target(arguments.on)
    program = compile_network(network, EngineParameters.from_dict(options["engine"]))
    dataset = _dataset(options["data"], arguments.data_dir or options["data_dir"], network).first(None, options["test_samples"])
    with open_machine(arguments.on, program, arguments.link, _say) as machine, progress(len(dataset.test_labels), "testing") as advance:
        machine.load(weights)
        share = accuracy(machine, network, dataset.test_inputs, dataset.test_labels, advance)
    print(f"test accuracy {100 * share:.2f} % on {len(dataset.test_labels)} samples of {dataset.name}, on {arguments.on}")
    return 0


def check(arguments: argparse.Namespace) -> int:
    """``frenn check``: what a network is, and which engines it fits."""
    network = load_network(arguments.network)
    formats, relaxation, learning = network.formats, network.relaxation, network.learning
    count = sum(rows * columns for rows, columns in network.weight_shapes)
    print(f"{network.name}: {_widths(network)}, {count} weights, seed {network.seed}")
    for layer in network.layers:
        print(f"  layer {layer.name}: {layer.width}{' ' + layer.activation if layer in network.layers[1:-1] else ''}")
    hidden = {layer.name for layer in network.layers[1:-1]}
    for name, (rows, columns), edge in zip(network.weight_names, network.weight_shapes, network.edges, strict=True):
        notes = [] if edge.learns else ["fixed feedback"]
        if edge.forward_exponent:
            notes.append(f"forward scale 2^{edge.forward_exponent}")
        if {edge.source, edge.target} <= hidden and (not edge.learns or edge.feedback == "symmetric"):
            notes.append(f"feedback scale 2^{edge.feedback_exponent}")
        print(f"  edge {name}: {', '.join([f'{rows} x {columns}', *notes])}")
    print(f"  formats: {', '.join(f'{name} {form}' for name, form in vars(formats).items() if form is not None)}")
    form = f"literal, nudge 2^{relaxation.nudge_exponent}, error {relaxation.error}" if relaxation.literal else "deviation"
    sweeps = f"{relaxation.free_sweeps} free and {relaxation.clamped_sweeps} clamped sweeps"
    print(f"  relaxation: {relaxation.schedule}, {sweeps}, {form} form")
    rates = f"rate 2^{learning.rate_exponent} to 2^{learning.rate_at(learning.epochs - 1)}"
    who = f"by the host, {learning.optimizer}, batches of {learning.batch}" if learning.on_host else f"{learning.rounding} rounding"
    print(f"  learning: {rates}, {learning.epochs} epochs, {who}")
    for name, parameters in PRESETS.items():
        print(f"  engine {name} ({parameters.lanes} lanes): {misfit(network, parameters) or 'fits'}")
    own = EngineParameters.for_network(network).to_dict()
    print(f"  smallest engine of {own.pop('lanes')} lanes: {', '.join(f'{name} {value}' for name, value in own.items())}")
    return 0


def generate(arguments: argparse.Namespace) -> int:
    """``frenn generate``: the Verilog of an engine."""
    from ..rtl_gen.generate import verilog

    if arguments.network is not None:
        parameters = smallest_engine(load_network(arguments.network), arguments.lanes)
    else:
        parameters = preset_engine(arguments.preset or "small", arguments.lanes)
    text = verilog(parameters, link=arguments.link)
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        write_atomic(Path(arguments.output), text.encode())
    return 0


def _dataset(name: str, data_dir: str | None, network: Network) -> Dataset:
    dataset = load(name, None if data_dir is None else Path(data_dir), network.seed)
    dataset.check(network)
    return dataset


def _options(arguments: argparse.Namespace, program: Program, dataset: Dataset) -> dict[str, Any]:
    network = program.network
    return {
        "name": network.name,
        "seed": network.seed,
        "epochs": network.learning.epochs,
        "samples": len(dataset.train_labels),
        "test_samples": len(dataset.test_labels),
        "data": dataset.name,
        "data_dir": None if arguments.data_dir is None else str(Path(arguments.data_dir).resolve()),
        "target": arguments.on,
        "link": arguments.link,
        "engine": program.parameters.to_dict(),
        "versions": {"frenn": version("frenn"), "python": platform.python_version(), "numpy": np.__version__},
    }


def _line(epoch: Epoch, network: Network) -> str:
    cycles = "" if "cycles" not in epoch.training else f", {epoch.training['cycles'] / epoch.samples:.0f} cycles/sample"
    return (
        f"epoch {epoch.number:{len(str(network.learning.epochs))}}/{network.learning.epochs}: "
        f"test accuracy {100 * epoch.test_accuracy:.2f} %, training {100 * epoch.train_accuracy:.2f} %, "
        f"zero error {100 * epoch.training['zero_error'] / epoch.samples:.1f} %, "
        f"{epoch.samples / epoch.seconds:.0f} samples/s{cycles}"
    )


def _widths(network: Network) -> str:
    return "-".join(map(str, network.widths))


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "network"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
