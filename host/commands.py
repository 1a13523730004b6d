# SPDX-License-Identifier: Apache-2.0
"""What the verbs of the command line do."""

import argparse
import platform
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..firmware.compiler import Program, compile_network
from ..firmware.errors import FrennError
from ..firmware.files import write_atomic
from ..firmware.image import Image
from ..firmware.network import Network, load_network
from ..firmware.parameters import PRESETS, EngineParameters
from .checkpoint import Checkpoints, Identity
from .cycle_account import account_table
from .datasets import Dataset, load
from .fit_table import fit_table
from .interruption import request_to_stop
from .progress import note, progress
from .run import CHECKPOINTS, OPTIONS, WEIGHTS, RunError, RunFolder, complete, free_path, load_run, load_weights
from .targets import TARGETS, check_target, choose_engine, find_target, misfit, open_machine, preset_engine, smallest_engine
from .training import Epoch, State, accuracy, epochs, with_options

INTERRUPTED: Final = 130


def train(arguments: argparse.Namespace) -> int:
    """``frenn train``: 0, 1 if machines differ, 130 after Ctrl-C."""
    if arguments.checkpoint_every < 1:
        raise FrennError(f"--checkpoint-every is {arguments.checkpoint_every}; legal is a number of samples from 1 on")
    path = Path(arguments.network)
    network = with_options(load_network(path), arguments.seed, arguments.epochs)
    # The machine that is asked for comes first; it is the one that the run folder is of.
    arguments.on, engine = find_target(arguments.on)
    targets = [arguments.on, *(name for name in TARGETS if arguments.verify and name != arguments.on)]
    for target in targets:
        check_target(target, network)
    if engine is None or arguments.engine is not None or arguments.lanes is not None:
        engine = choose_engine(network, arguments.engine, arguments.lanes)
    program = compile_network(network, engine)
    place = arguments.on.rpartition("/")[2].partition(":")[0]
    out = free_path(Path("runs"), f"{_file_name(network.name)}-{_file_name(place)}") if arguments.out is None else Path(arguments.out)
    run = RunFolder(out, path.read_bytes())

    def work() -> int:
        dataset = _dataset(arguments.data, arguments.data_dir, network).first(arguments.samples, arguments.test_samples)
        identity = Identity.of(network, dataset)
        run.begin(_options(arguments, program, dataset, identity), Image.build(program, network.initial_weights()), identity)
        return _learn(run, program, targets, arguments.link, dataset, None, arguments.checkpoint_every)

    return _with_folder(run, work)


def resume(arguments: argparse.Namespace) -> int:
    """``frenn resume``: go on with a run; exit codes as of `train`."""
    folder = Path(arguments.run)
    network, options = load_run(folder)
    if missing := {"samples", "test_samples", "target", "link", "verify", "checkpoint_every", "data_sha256"} - set(options):
        raise RunError(f"{folder} cannot be gone on with: {OPTIONS} lacks {', '.join(sorted(missing))}; train again")
    if complete(folder, network.learning.epochs):
        # A program that was killed behind its last checkpoint has left their folder.
        Checkpoints(folder / CHECKPOINTS).remove()
        print(f"{folder} is complete: {network.learning.epochs} epochs")
        return 0
    target, _ = find_target(arguments.on or options["target"])
    targets = [target, *(name for name in TARGETS if options["verify"] and name != target)]
    for name in targets:
        check_target(name, network)
    program = compile_network(network, EngineParameters.from_dict(options["engine"]))
    run = RunFolder(folder)

    def work() -> int:
        dataset = _dataset(options["data"], arguments.data_dir or options["data_dir"], network)
        dataset = dataset.first(options["samples"], options["test_samples"])
        identity = Identity.of(network, dataset)
        identity.check(replace(identity, data=options["data_sha256"]), f"the run {folder}")
        state = run.resume(identity, Image.build(program, network.initial_weights()), lambda text: note(f"frenn: {text}"))
        place = "there is no checkpoint: from the start" if state is None else f"from epoch {state.epoch + 1}, sample {state.done}"
        print(f"going on with {folder} {place}", flush=True)
        return _learn(run, program, targets, arguments.link or options["link"], dataset, state, options["checkpoint_every"])

    return _with_folder(run, work)


def _with_folder(run: RunFolder, work: Callable[[], int]) -> int:
    try:
        with run:
            return work()
    except KeyboardInterrupt:
        note(f"frenn: stopped; {run.progress if run.kept else 'there is no checkpoint yet, so nothing is kept'}")
        return INTERRUPTED


def _learn(
    run: RunFolder, program: Program, targets: list[str], link: str, dataset: Dataset, state: State | None, every: int | None
) -> int:
    """Train from a state, or from the start, to the end."""
    network = program.network
    print(
        f"{network.name}: {_widths(network)}, {len(dataset.train_labels)} training and {len(dataset.test_labels)} test samples of "
        f"{dataset.name}, seed {network.seed}, on {' and '.join(targets)}, engine of {program.parameters.lanes} lanes",
        flush=True,
    )
    with ExitStack() as stack:
        machines = [stack.enter_context(open_machine(target, program, link, note)) for target in targets]
        for machine in machines:
            machine.load(network.initial_weights() if state is None else state.weights)
        work = len(machines) * network.learning.epochs * (len(dataset.train_labels) + len(dataset.test_labels))
        advance = stack.enter_context(progress(work, "training"))
        if state is not None:
            advance(len(machines) * (state.epoch * (len(dataset.train_labels) + len(dataset.test_labels)) + state.done))
        if len(machines) > 1:
            # Machines that are compared take turns by the epoch: only then is a state that of all.
            loops = [epochs(machine, network, dataset, advance, state=state) for machine in machines]
        else:
            stop = stack.enter_context(request_to_stop())
            loops = [epochs(machines[0], network, dataset, advance, state=state, every=every, keep=run.keep, stop=stop)]
        try:
            for results in zip(*loops, strict=True):
                run.record(results[0], network)
                print(_line(results[0], network), flush=True)
                for other, target in zip(results[1:], targets[1:], strict=True):
                    differences = results[0].differences(other, network)
                    if differences:
                        note(f"frenn: {targets[0]} and {target} differ in epoch {other.number}: {'; '.join(differences)}; see {run.path}")
                        return 1
                if results[0].number < network.learning.epochs:
                    run.keep(results[0].state)
        except FrennError as error:
            if not run.kept:
                raise
            raise FrennError(f"{error}; {run.progress}") from error
    run.finish()
    if len(targets) > 1:
        print(f"verified: weights, accuracies and counters of every epoch are equal on {' and '.join(targets)}")
    print(f"test accuracy {100 * results[0].test_accuracy:.2f} % after epoch {results[0].number}; see {run.path}")
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """``frenn eval``: the test accuracy of the weights in a run folder."""
    folder = Path(arguments.run)
    network, options = load_run(folder)
    weights = load_weights(folder / WEIGHTS, network)
    target, engine = find_target(arguments.on)
    check_target(target)
    program = compile_network(network, engine or EngineParameters.from_dict(options["engine"]))
    dataset = _dataset(options["data"], arguments.data_dir or options["data_dir"], network).first(None, options["test_samples"])
    with open_machine(target, program, arguments.link, note) as machine, progress(len(dataset.test_labels), "testing") as advance:
        machine.load(weights)
        share = accuracy(machine, network, dataset.test_inputs, dataset.test_labels, advance)
    print(f"test accuracy {100 * share:.2f} % on {len(dataset.test_labels)} samples of {dataset.name}, on {target}")
    return 0


def check(arguments: argparse.Namespace) -> int:
    """``frenn check``: what a network is, and which engines it fits."""
    network = load_network(arguments.network)
    if arguments.cycles:
        parameters = smallest_engine(network, arguments.lanes)
        if arguments.preset is not None:
            parameters = preset_engine(arguments.preset, arguments.lanes)
        for line in account_table(compile_network(network, parameters)):
            print(line)
        return 0
    if arguments.lanes is not None or arguments.preset is not None:
        raise FrennError("--lanes and --preset go with --cycles; without it, every engine and board is told of")
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
    if learning.summed:
        who += f", sums over batches of {learning.batch}, on golden alone"
    print(f"  learning: {rates}, {learning.epochs} epochs, {who}")
    fits = "fits to predict, not to train" if learning.summed else "fits"
    for name, parameters in PRESETS.items():
        print(f"  engine {name} ({parameters.lanes} lanes): {misfit(network, parameters) or fits}")
    own = EngineParameters.for_network(network).to_dict()
    print(f"  smallest engine of {own.pop('lanes')} lanes: {', '.join(f'{name} {value}' for name, value in own.items())}")
    print("  boards, each with the engine that frenn build --board BOARD --network NETWORK makes, none of them tried:")
    for line in fit_table(network):
        print(f"    {line}")
    print("    ~ is an estimate; <=, >= and ?: cycles were not measured, but computed as if nothing were skipped")
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


def _options(arguments: argparse.Namespace, program: Program, dataset: Dataset, identity: Identity) -> dict[str, Any]:
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
        "verify": arguments.verify,
        "checkpoint_every": arguments.checkpoint_every,
        "data_sha256": identity.data,
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
