# SPDX-License-Identifier: Apache-2.0
"""``frenn analyze``: how a network settles, before and after training, over the feedback scale."""

import argparse
import csv
import io
import json
import math
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..firmware.arithmetic import IntArray
from ..firmware.errors import FrennError
from ..firmware.files import write_atomic
from ..firmware.network import SCHEDULES, Network, load_network
from ..sim.dynamics import (
    MAX_SWEEPS,
    FloatArray,
    beta_exponent,
    changes,
    input_drive,
    lyapunov_exponent,
    radius_at_rest,
    recurrent,
    spectral_radius,
    steps_to_rest,
    sweeps_to_rest,
    trajectory,
    with_beta,
)
from .analysis_pictures import change_picture, mathematical, states_picture, structure, sweep_picture
from .datasets import DataError, Dataset, load, quantise
from .progress import progress
from .run import WEIGHTS, free_path, load_run, load_weights
from .training import Advance, accuracy

BETAS: Final = "2^-10,...,2^2"
"""Feedback scales that are swept unless others are asked for."""

BETA_RANGE: Final = (2.0**-30, 2.0**10)
MAX_NEURONS: Final = 8192
"""Hidden neurons whose eigenvalues are still had in minutes and a few gigabytes."""

REST_RADII: Final = 4
"""Samples over which the radius at rest is averaged: each needs eigenvalues of its own."""

COLUMNS: Final = (
    "weights",
    "beta",
    "spectral_radius",
    "radius_at_rest",
    "lyapunov_exponent",
    "steps_to_rest",
    "at_rest",
    "jacobi_sweeps",
    "jacobi_at_rest",
    "sequential_sweeps",
    "sequential_at_rest",
    "test_error",
)
"""Of ``sweep.csv``."""

Point = dict[str, Any]


class AnalysisError(FrennError):
    """An option that is out of range, or a folder that cannot be written."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What is analysed.

    Parameters
    ----------
    network : Network
    weights : dict of list of (rows, columns) int64
        By name: ``initial``, and of a run ``learned``.
    inputs : (samples, inputs) int64
        ``formats.input``.
    dataset : Dataset or None
        Its test samples tell the error.
    """

    network: Network
    weights: dict[str, list[IntArray]]
    inputs: IntArray
    dataset: Dataset | None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How far is looked: steps of exponent and pictures, cap of the time to rest."""

    steps: int
    cap: int


def analyze(arguments: argparse.Namespace) -> int:
    """``frenn analyze``: 0; an interruption leaves nothing."""
    betas = parse_betas(arguments.betas)
    network, weights, source = _open(Path(arguments.subject))
    hidden = len(network.layers) - 2
    limits = Limits(steps=10 * hidden if arguments.steps is None else arguments.steps, cap=arguments.cap)
    _within("--steps", limits.steps, 1, 100_000)
    _within("--cap", limits.cap, 1, MAX_SWEEPS)
    if (neurons := sum(network.widths[1:-1])) > MAX_NEURONS:
        raise AnalysisError(f"network {network.name!r} has {neurons} hidden neurons; at most {MAX_NEURONS} can be analysed")
    out = free_path(Path("runs"), f"{_file_name(network.name)}-analysis") if arguments.out is None else Path(arguments.out)
    with _folder(out) as write:
        subject = _subject(network, weights, arguments, source)
        samples = len(subject.inputs)
        data = "random inputs" if subject.dataset is None else f"the first {samples} test samples of {subject.dataset.name}"
        print(
            f"{network.name}: {'-'.join(map(str, network.widths))}, {' and '.join(weights)} weights, {data}, {limits.steps} steps, "
            f"{len(betas)} feedback scales",
            flush=True,
        )
        with progress(_work(subject, betas), "analysing") as advance:
            points, sizes, paths = _analyse(subject, betas, limits, advance)
        write("sweep.csv", _sweep_csv(points))
        write("change.csv", _change_csv(sizes))
        write("states.csv", _states_csv(paths, network))
        title = f"{network.name}, {structure(network.widths)}"
        own = _own_beta(network)
        write("sweep.png", sweep_picture(points, own, limits.cap, title))
        own_label = "the network's own scales" if own is None else f"the network's own $\\beta$, {mathematical(own)}"
        write("change.png", change_picture(sizes, f"{title}: change per step, mean of {samples} samples", own_label))
        shown = {kind: {_column(beta, own): path for beta, path in row.items()} for kind, row in paths.items()}
        layers = [(layer.name, layer.width) for layer in network.layers[1:-1]]
        write("states.png", states_picture(shown, layers, f"{title}: every hidden neuron, one sample"))
        write("analysis.json", _options(subject, betas, limits))
    print("\n".join(_table(points)))
    print(f"see {out}")
    return 0


def parse_betas(text: str) -> list[float]:
    """Feedback scales of an option, ascending: ``"2^-10,...,2^2"``, ``"0.01,0.25,2^0"``.

    ``...`` between two powers of two stands for those between them.

    Raises
    ------
    AnalysisError
        Naming the part that is wrong.
    """
    low, high = BETA_RANGE
    items = [item.strip() for item in text.split(",")]
    betas = []
    for number, item in enumerate(items):
        if item == "...":
            ends = [re.fullmatch(r"2\^(-?\d{1,2})", end) for end in items[max(number - 1, 0) :: 2][:2]]
            if number == 0 or len(ends) < 2 or None in ends:
                raise AnalysisError(f"--betas is {text!r}; write ... between two powers of two, such as {BETAS}")
            first, last = (int(end[1]) for end in ends if end is not None)
            betas += [2.0**exponent for exponent in range(first + 1, last)]
            continue
        power = re.fullmatch(r"2\^(-?\d{1,2})", item)
        try:
            beta = 2.0 ** int(power[1]) if power else float(item)
        except ValueError:
            beta = math.nan
        if not low <= beta <= high:
            raise AnalysisError(f"--betas has {item!r}; legal are 2^-30 to 2^10, written as numbers or powers such as 2^-7")
        betas.append(beta)
    return sorted(set(betas))


def _open(path: Path) -> tuple[Network, dict[str, list[IntArray]], dict[str, Any]]:
    """Network, weights and options of a network file (without options) or a run folder."""
    if not path.is_dir():
        network = load_network(path)
        return network, {"initial": network.initial_weights()}, {"data": None, "data_dir": None}
    network, options = load_run(path)
    return network, {"initial": network.initial_weights(), "learned": load_weights(path / WEIGHTS, network)}, options


def _subject(network: Network, weights: dict[str, list[IntArray]], arguments: argparse.Namespace, source: dict[str, Any]) -> Subject:
    name = arguments.data or source["data"]
    if name is None:
        if arguments.data_dir is not None or arguments.test_samples is not None:
            raise DataError("--data-dir and --test-samples are of a data set; name it with --data")
        _within("--samples", arguments.samples, 1, 10_000)
        generator = np.random.default_rng((network.seed, 0x64))
        inputs = generator.integers(0, network.formats.input.maximum, (arguments.samples, network.widths[0]), endpoint=True)
        return Subject(network, weights, inputs, None)
    folder = arguments.data_dir or (source["data_dir"] if name == source["data"] else None)
    dataset = load(name, None if folder is None else Path(folder), network.seed)
    dataset.check(network)
    _within("--samples", arguments.samples, 1, min(10_000, len(dataset.test_labels)))
    inputs = quantise(dataset.test_inputs[: arguments.samples], network.formats.input)
    return Subject(network, weights, inputs, dataset.first(None, arguments.test_samples))


def _work(subject: Subject, betas: Sequence[float]) -> int:
    """Samples to be done: three passes in real numbers, two in integers, one through the test set."""
    integers = len(SCHEDULES) * len(subject.inputs) + (0 if subject.dataset is None else len(subject.dataset.test_labels))
    powers = sum(beta_exponent(beta) is not None for beta in betas)
    return len(subject.weights) * (3 * len(betas) * len(subject.inputs) + powers * integers)


def _analyse(
    subject: Subject, betas: Sequence[float], limits: Limits, advance: Advance
) -> tuple[list[Point], dict[str, dict[float | None, FloatArray]], dict[str, dict[float | None, FloatArray]]]:
    """Lines of ``sweep.csv``; mean change per step by weights and beta; path of the first sample by weights and beta."""
    points: list[Point] = []
    sizes: dict[str, dict[float | None, FloatArray]] = {}
    paths: dict[str, dict[float | None, FloatArray]] = {}
    refused: dict[float, str] = {}
    for kind, weights in subject.weights.items():
        drive = input_drive(subject.network, weights, subject.inputs)
        own = trajectory(recurrent(subject.network, weights), drive, limits.steps)
        sizes[kind] = {}
        followed: dict[float | None, FloatArray] = {}
        for beta in betas:
            point = dict.fromkeys(COLUMNS) | {"weights": kind, "beta": beta}
            path = _real_numbers(point, subject, weights, drive, limits, advance)
            sizes[kind][beta] = changes(path).mean(axis=1)
            if beta in (betas[0], betas[-1]):
                followed[beta] = path[:, 0]
            if (exponent := beta_exponent(beta)) is not None:
                try:
                    _integers(point, with_beta(subject.network, exponent), subject, weights, limits, advance)
                except FrennError as error:
                    refused[beta] = str(error)
            points.append(point)
        sizes[kind][None] = changes(own).mean(axis=1)
        # From left to right: weakest feedback, the network's own, strongest feedback.
        paths[kind] = {betas[0]: followed[betas[0]], None: own[:, 0], betas[-1]: followed[betas[-1]]}
        if (single := _own_beta(subject.network)) in followed:
            del paths[kind][single]
    for beta, reason in refused.items():
        print(f"frenn: no integer figures at beta {_plain(beta)}: {reason}", file=sys.stderr, flush=True)
    return points, sizes, paths


def _real_numbers(
    point: Point, subject: Subject, weights: list[IntArray], drive: FloatArray, limits: Limits, advance: Advance
) -> FloatArray:
    """Fill in what is real; the trajectories, (steps + 1, samples, neurons)."""
    system = recurrent(subject.network, weights, point["beta"])
    point["spectral_radius"] = spectral_radius(system.matrix)
    advance(len(drive))
    generator = np.random.default_rng((subject.network.seed, 0x6C))
    point["lyapunov_exponent"] = float(lyapunov_exponent(system, drive, limits.steps, generator).mean())
    advance(len(drive))
    times, states = steps_to_rest(system, drive, limits.cap)
    _rest(point, "steps_to_rest", "at_rest", times, limits.cap)
    chosen = np.flatnonzero(times >= 0)[:REST_RADII]
    if chosen.size:
        point["radius_at_rest"] = float(radius_at_rest(system, states[chosen], drive[chosen]).mean())
    advance(len(drive))
    return trajectory(system, drive, limits.steps)


def _integers(point: Point, network: Network, subject: Subject, weights: list[IntArray], limits: Limits, advance: Advance) -> None:
    """Fill in what the golden model tells."""
    for schedule in SCHEDULES:
        times = []
        for time in sweeps_to_rest(network, weights, subject.inputs, schedule, limits.cap):
            times.append(time)
            advance(1)
        _rest(point, f"{schedule}_sweeps", f"{schedule}_at_rest", np.array(times), limits.cap)
    if subject.dataset is not None:
        from ..sim.compiled import CompiledGolden

        golden = CompiledGolden(network)
        golden.load(weights)
        share = accuracy(golden, network, subject.dataset.test_inputs, subject.dataset.test_labels, advance)
        point["test_error"] = 1 - share


def _rest(point: Point, time: str, share: str, times: IntArray, cap: int) -> None:
    """Mean time, the cap standing for a sample that did not come to rest, and the share of those that did."""
    point[time] = float(np.where(times < 0, cap, times).mean())
    point[share] = float((times >= 0).mean())


def _own_beta(network: Network) -> float | None:
    """The feedback scale between hidden layers, if there is one alone."""
    inner = {number for number in range(1, len(network.layers) - 1)}
    used = {
        edge.feedback_exponent
        for edge, ends in zip(network.edges, network.ends, strict=True)
        if inner.issuperset(ends) and (not edge.learns or edge.feedback == "symmetric")
    }
    return 2.0 ** used.pop() if len(used) == 1 else None


def _column(beta: float | None, own: float | None) -> str:
    if beta is None:
        return "the network's own scales" if own is None else f"$\\beta$ = {mathematical(own)} (own)"
    return f"$\\beta$ = {mathematical(beta)}"


def _sweep_csv(points: Sequence[Point]) -> bytes:
    return _csv(COLUMNS, ([_number(point[name]) for name in COLUMNS] for point in points))


def _change_csv(sizes: dict[str, dict[float | None, FloatArray]]) -> bytes:
    lines = (
        [kind, _scale(beta), step, _number(float(value))]
        for kind, row in sizes.items()
        for beta, change in row.items()
        for step, value in enumerate(change, 1)
    )
    return _csv(("weights", "beta", "step", "change"), lines)


def _states_csv(paths: dict[str, dict[float | None, FloatArray]], network: Network) -> bytes:
    neurons = [f"{layer.name}[{neuron}]" for layer in network.layers[1:-1] for neuron in range(layer.width)]
    lines = (
        [kind, _scale(beta), step, *map(_number, states.tolist())]
        for kind, row in paths.items()
        for beta, path in row.items()
        for step, states in enumerate(path)
    )
    return _csv(("weights", "beta", "step", *neurons), lines)


def _scale(beta: float | None) -> str:
    return "own" if beta is None else _number(beta)


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _csv(header: Sequence[str], lines: Iterator[list[Any]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return buffer.getvalue().encode()


def _table(points: Sequence[Point]) -> list[str]:
    """The sweep for the eye."""
    rows = [("weights", "beta", "radius", "radius at rest", "exponent", "steps", *(f"{name} sweeps" for name in SCHEDULES), "error")]
    for point in points:
        times = ((point[name], point[share]) for name, share in pairwise(COLUMNS[5:11]) if not name.endswith("at_rest"))
        steps, jacobi, sequential = ("" if time is None else f"{'>' if share < 1 else ''}{time:.1f}" for time, share in times)
        by_schedule = {"jacobi": jacobi, "sequential": sequential}
        rows.append(
            (
                point["weights"],
                _plain(point["beta"]),
                f"{point['spectral_radius']:.3f}",
                "" if point["radius_at_rest"] is None else f"{point['radius_at_rest']:.3f}",
                f"{point['lyapunov_exponent']:.3f}",
                steps,
                *(by_schedule[name] for name in SCHEDULES),
                "" if point["test_error"] is None else f"{100 * point['test_error']:.2f} %",
            )
        )
    if not any(row[-1] for row in rows[1:]):
        rows = [row[:-1] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _plain(beta: float) -> str:
    exponent = beta_exponent(beta)
    return f"{beta:.3g}" if exponent is None else f"2^{exponent}"


def _options(subject: Subject, betas: Sequence[float], limits: Limits) -> bytes:
    network, dataset = subject.network, subject.dataset
    table = {
        "network": network.name,
        "fingerprint": network.fingerprint,
        "seed": network.seed,
        "weights": list(subject.weights),
        "data": None if dataset is None else dataset.name,
        "samples": len(subject.inputs),
        "test_samples": None if dataset is None else len(dataset.test_labels),
        "betas": list(betas),
        "steps": limits.steps,
        "cap": limits.cap,
        "versions": {"frenn": version("frenn"), "python": platform.python_version(), "numpy": np.__version__},
    }
    return (json.dumps(table, indent=2, sort_keys=True) + "\n").encode()


@contextmanager
def _folder(path: Path) -> Iterator[Any]:
    """A new folder and what writes a file into it; it is removed if an error or an interruption comes before the end.

    Raises
    ------
    AnalysisError
        If the folder exists and is not empty, or cannot be made or written.
    """
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    written: list[Path] = []

    def write(name: str, data: bytes) -> None:
        written.append(path / name)
        write_atomic(path / name, data)

    try:
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise AnalysisError(f"the folder {path} exists and is not empty; choose another --out or remove it")
            # A folder that cannot be written is refused before any work.
            write("analysis.json", b"")
            written.pop().unlink()
        except OSError as error:
            raise AnalysisError(f"cannot write the folder {path}: {error.strerror}; choose another --out") from None
        yield write
    except BaseException:
        for file in written:
            file.unlink(missing_ok=True)
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise


def _within(option: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise AnalysisError(f"{option} is {value}; legal is {low} to {high}")


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "network"
