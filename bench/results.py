# SPDX-License-Identifier: Apache-2.0
"""How well and how fast everything learns: makes what is missing, then writes docs/results.md from it.

    python bench/results.py run RUNS --data-dir DIR [--only 'mnist-5x64*' ...] [--seeds 1 2 3]
    python bench/results.py write RUNS

``RUNS/JOB-SEED`` is a run folder of the fixed-point network, ``RUNS/JOB-SEED.json`` a run of the float reference, ``RUNS/speed.json``
the measured speeds. What is there is not made again, so an interrupted command goes on with the run it was at, and commands
with different ``--only`` or ``--seeds`` share the work between cores. The page shows what is complete.
"""

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import reference
import runs as run_folders
import speed
from frenn.firmware.errors import FrennError
from frenn.firmware.files import write_atomic
from frenn.firmware.network import Network, load_network
from frenn.host.training import with_options

PAGE = run_folders.DOCS / "results.md"
SCHEDULES = {"jacobi": "synchronous", "sequential": "sequential"}
"""How the page calls them."""
NEAR = 0.3
"""Points of accuracy below the paper that need no explanation."""
DASH = "-"


AGT = (
    "not the number formats: the same graph and equations in float32, with Adam, are no better (float EP), nor is feedback alignment. "
    "The authors' code for graphs adds the nudge once more at each step; in float that alone is worth half a point (the literal form "
    "below, growing against held), and the deviation form, the limit of a weak nudge that is held, has nothing like it. The graph that "
    "the random links make also differs from the paper's, and the paper's figure is that of the best epoch."
)


@dataclass(frozen=True)
class Row:
    """A network of the examples and what the paper reports for it, MNIST test accuracy in percent.

    Parameters
    ----------
    name, file : str
        In the page, and of the network file.
    paper, paper_gradient : str
        Of its Equilibrium Propagation, and of backpropagation or feedback alignment; empty where it has none.
    gradient : {"bp", "fa"}
        Which of the two.
    epochs : int
        Of the float runs.
    float_sweeps : tuple of int, optional
        Free and clamped sweeps of float EP; the network's unless given.
    remark : str
        Why the fixed-point network is further than `NEAR` below the paper.
    """

    name: str
    file: str
    paper: str
    paper_gradient: str
    gradient: str = "bp"
    epochs: int = 50
    float_sweeps: tuple[int, int] | None = None
    remark: str = ""

    @property
    def path(self) -> Path:
        """Its network file."""
        return run_folders.EXAMPLES / f"{self.file}.toml"


ROWS = (
    Row("2x64", "mnist-2x64", "97.57 ± 0.11", ""),
    Row("3x64", "mnist-3x64", "97.64 ± 0.16", ""),
    Row("5x64", "mnist-5x64", "97.64 ± 0.10", "97.69"),
    Row("5x64 asymmetric", "mnist-5x64-asymmetric", "96.37 ± 0.11", "96.44", "fa"),
    Row("10x64", "mnist-10x64", "92.49 ± 0.32", "97.61"),
    Row("10x64 residual", "mnist-10x64-residual", "97.49 ± 0.05", "97.61", epochs=25, float_sweeps=(8, 6)),
    Row("10x64 AGT", "mnist-10x64-agt", "96.87 ± 0.11", "94.52", "fa", epochs=25, float_sweeps=(8, 6), remark=AGT),
    Row("20x64 residual", "mnist-20x64-residual", "95.95 ± 0.18", "97.48", epochs=25, float_sweeps=(10, 8)),
    Row("2x256", "mnist", "", "", epochs=25),
    Row("2x512", "mnist-2x512", "98.39 ± 0.04", "98.26 ± 0.06", epochs=25),
)


@dataclass(frozen=True)
class Literal:
    """A float run of the paper's literal form: two relaxations, nudge 0.1, one feedback scale."""

    name: str
    file: str
    beta: float
    paper: str
    schedule: str = "jacobi"
    steps: tuple[int, int] | None = None
    """Of the two phases at the most; without them T = 10 and K = 5 per hidden layer."""
    epochs: int = 50
    error: str = "held"
    """The output error, see `EquilibriumPropagation`."""

    @property
    def job(self) -> str:
        """Name of its runs."""
        parts = [self.file, "literal", f"{self.beta:g}"]
        parts += [part for part, usual in ((self.schedule, "jacobi"), (self.error, "held")) if part != usual]
        return "-".join(parts)


LITERAL = (
    Literal("2x64", "mnist-2x64", 0.01, "97.57 ± 0.11"),
    Literal("2x64", "mnist-2x64", 0.01, "97.57 ± 0.11", "sequential", (10, 5)),
    Literal("2x64", "mnist-2x64", 0.25, "96.22"),
    Literal("2x64", "mnist-2x64", 1.0, "93.12"),
    Literal("5x64", "mnist-5x64", 0.1, "97.60", "sequential", (25, 12), 25),
    Literal("10x64", "mnist-10x64", 0.1, "92.49 ± 0.32", "sequential", (25, 12), 25),
    Literal("10x64 AGT", "mnist-10x64-agt", 0.1, "96.87 ± 0.11", "sequential", (14, 10), 25),
    Literal("10x64 AGT", "mnist-10x64-agt", 0.1, "96.87 ± 0.11", "sequential", (14, 10), 25, "growing"),
)
"""The first two differ in the schedule alone, the last two in the error."""

HOST = "mnist-2x64-host"
DIGITS = "digits"
DIGIT_SEEDS = (1, 2, 3, 4, 5)
DIGIT_EPOCHS = 40
"""More than the example's, whose rate is halved every 10."""
SPEED = "speed"
TWIN, TWIN_SAMPLES = "mnist-twin", (200, 100)


def jobs() -> list[str]:
    """Names of everything that can be made, the cheap first."""
    trained = [DIGITS, *(row.file for row in ROWS), HOST]
    floats = [f"{row.file}-{rule}" for row in ROWS for rule in (row.gradient, "ep")]
    return [SPEED, TWIN, *trained, *floats, *(literal.job for literal in LITERAL)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    run_verb = verbs.add_parser("run", help="make what is missing")
    write_verb = verbs.add_parser("write", help="write the page")
    for verb in (run_verb, write_verb):
        verb.add_argument("runs", type=Path, metavar="RUNS", help="folder of the runs")
    run_verb.add_argument("--data-dir", help="folder of the IDX files (default: fetched from OpenML)")
    run_verb.add_argument("--seeds", type=int, nargs="+", help="these alone (default: 1 to 3, of the digits 1 to 5)")
    run_verb.add_argument("--only", nargs="+", default=["*"], metavar="JOB", help=f"patterns of names: {', '.join(jobs())}")
    arguments = parser.parse_args()
    try:
        if arguments.verb == "write":
            write_atomic(PAGE, page(arguments.runs).encode())
        else:
            for pattern in arguments.only:
                if not any(fnmatch(job, pattern) for job in jobs()):
                    raise FrennError(f"--only {pattern} names no job; there are {', '.join(jobs())}")
            arguments.runs.mkdir(parents=True, exist_ok=True)
            run(arguments)
    except FrennError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Make what is asked for and not there, a seed of everything before the next seed."""
    chosen = [job for job in jobs() if any(fnmatch(job, pattern) for pattern in arguments.only)]
    if SPEED in chosen and not (arguments.runs / f"{SPEED}.json").exists():
        words = [] if arguments.data_dir is None else ["--data-dir", arguments.data_dir]
        succeed(speed.main([*words, "--out", str(arguments.runs / f"{SPEED}.json")]))
    if TWIN in chosen:
        make_twin(arguments.runs, arguments.data_dir)
    for seed in arguments.seeds or DIGIT_SEEDS:
        for job in chosen:
            if job not in (SPEED, TWIN) and (arguments.seeds or seed <= 3 or job == DIGITS):
                make(job, seed, arguments.runs, arguments.data_dir)


def make(job: str, seed: int, runs: Path, data_dir: str | None) -> None:
    """Make one run, in fixed point or in float, unless it is there."""
    data = [] if data_dir is None else ["--data-dir", data_dir]
    options = float_options(job)
    if options is not None:
        out = runs / f"{job}-{seed}.json"
        if not out.exists():
            succeed(reference.main([*options, "--one-rate", *data, "--seeds", str(seed), "--out", str(out)]))
        return
    network = example(job, seed)
    kind = ["--data", DIGITS] if job == DIGITS else ["--data", "mnist", *data]
    epochs = ["--epochs", str(network.learning.epochs)]
    run_folders.train(run_folders.EXAMPLES / f"{job}.toml", network, runs / f"{job}-{seed}", [*kind, *epochs])


def example(job: str, seed: int = 1) -> Network:
    """The fixed-point network of a job, as it is run."""
    return with_options(load_network(run_folders.EXAMPLES / f"{job}.toml"), seed, DIGIT_EPOCHS if job == DIGITS else None)


def make_twin(runs: Path, data_dir: str | None) -> None:
    """A few samples of the first example on the twin and the golden model at once, every bit compared."""
    file = run_folders.EXAMPLES / "mnist.toml"
    data = [] if data_dir is None else ["--data-dir", data_dir]
    few = ["--epochs", "1", "--samples", str(TWIN_SAMPLES[0]), "--test-samples", str(TWIN_SAMPLES[1])]
    network = with_options(load_network(file), 1, 1)
    run_folders.train(file, network, runs / TWIN, ["--on", "twin", "--verify", "--data", "mnist", *few, *data])


def float_options(job: str) -> list[str] | None:
    """Arguments of bench/reference.py for a job; None if it is one of the fixed-point network."""
    for row in ROWS:
        epochs = ["--epochs", str(row.epochs)]
        if job == f"{row.file}-{row.gradient}":
            return [row.gradient, str(row.path), *epochs]
        if job == f"{row.file}-ep":
            relaxation = load_network(row.path).relaxation
            sweeps = row.float_sweeps or (relaxation.free_sweeps, relaxation.clamped_sweeps)
            return ["ep", str(row.path), "--form", "deviation", "--schedule", relaxation.schedule, *steps(sweeps), *epochs]
    for literal in LITERAL:
        if job == literal.job:
            file = str(run_folders.EXAMPLES / f"{literal.file}.toml")
            own = steps(literal.steps) if literal.steps else []
            kind = ["--schedule", literal.schedule, "--error", literal.error]
            return ["ep", file, "--beta", str(literal.beta), *kind, *own, "--epochs", str(literal.epochs)]
    return None


def steps(numbers: tuple[int, int]) -> list[str]:
    """Arguments for the steps, or sweeps, of the two phases."""
    return ["--free-steps", str(numbers[0]), "--clamped-steps", str(numbers[1])]


def succeed(code: int) -> None:
    """Stop where another bench failed; it has said why."""
    if code:
        raise FrennError("stopped; what was wrong is said above")


@dataclass(frozen=True)
class Found:
    """The complete runs of a job: test accuracy in percent after each epoch of each seed."""

    curves: dict[int, list[float]]
    options: dict[str, Any]
    """Of a float run; empty of a run folder."""

    def last(self, seeds: Sequence[int] | None = None) -> str:
        """Mean and deviation after the last epoch."""
        return spread([curve[-1] for seed, curve in self.curves.items() if seeds is None or seed in seeds])

    def best(self) -> str:
        """Mean and deviation of each seed's best epoch."""
        return spread([max(curve) for curve in self.curves.values()])

    def mean(self) -> float:
        """Mean after the last epoch."""
        return float(np.mean([curve[-1] for curve in self.curves.values()]))


def find(job: str, runs: Path) -> Found:
    """What is complete of a job."""
    curves, options = {}, {}
    if float_options(job) is not None:
        for seed, path in numbered(runs, job, ".json"):
            content = json.loads(path.read_bytes())
            options = content["options"]
            curves[seed] = [100 * value for value in content["runs"][str(seed)]["test_accuracy"]]
        return Found(curves, options)
    for seed, folder in numbered(runs, job, ""):
        if run_folders.complete(folder, example(job, seed)):
            curves[seed] = run_folders.accuracies(folder)
    return Found(curves, options)


def numbered(runs: Path, job: str, suffix: str) -> list[tuple[int, Path]]:
    """Runs of a job by seed."""
    found = ((re.fullmatch(re.escape(job) + r"-(\d+)" + re.escape(suffix), path.name), path) for path in runs.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match)


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation, and how many they are if they are not three."""
    if not values:
        return DASH
    deviation = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{deviation}" + ("" if len(values) == 3 else f" ({len(values)})")


def table(heads: Sequence[str], lines: Sequence[Sequence[object]]) -> list[str]:
    """Markdown."""
    return [f"| {' | '.join(map(str, line))} |" for line in (heads, ["---"] * len(heads), *lines)]


def wrapped(text: str, indent: str = "") -> str:
    """A paragraph in lines."""
    return textwrap.fill(text, 130, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)


def page(runs: Path) -> str:
    """The page, from what is complete."""
    parts = (head(), mnist(runs), settings(runs), literal_form(runs), host_update(runs), digits(runs), twin(runs), speeds(runs))
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def head() -> list[str]:
    return [
        "# Results",
        "",
        "<!-- Written by `python bench/results.py write RUNS`; not by hand. -->",
        "",
        "Test accuracy in % after the **last** epoch unless it says best, mean ± standard deviation over three seeds, or over the number",
        "in brackets. A seed sets everything that is random: initial weights, order of the samples, rounding. The fixed-point networks",
        "are trained by the golden model's compiled path; the plain numpy model and the engine give the same bits.",
        "",
        "    python bench/results.py run RUNS --data-dir DIR      # makes what is missing; DIR holds the IDX files of MNIST",
        "    python bench/results.py write RUNS                   # writes this page",
        "",
        "`--only 'mnist-5x64*'` and `--seeds 2` choose, and share the work between cores. [Widths](widths.md): how many bits are needed.",
    ]


def mnist(runs: Path) -> list[str]:
    lines, remarks = [], []
    for row in ROWS:
        fixed, ep, gradient = (find(job, runs) for job in (row.file, f"{row.file}-ep", f"{row.file}-{row.gradient}"))
        difference = DASH
        if row.paper and fixed.curves:
            gap = fixed.mean() - float(row.paper.split()[0])
            difference = f"{gap:+.2f}"
            if gap < -NEAR:
                if not row.remark:
                    print(f"{row.name} is {-gap:.2f} below the paper and has no remark", file=sys.stderr)
                remark = f"- **{row.name}**: {row.remark or 'not explained yet.'}"
                remarks.append(wrapped(remark, "  "))
        rule = row.gradient.upper()
        mate = f"{row.paper_gradient} ({rule})" if row.paper_gradient else DASH
        own = f"{gradient.last()} ({rule})" if gradient.curves else DASH
        lines.append([row.name, row.paper or DASH, f"**{fixed.last()}**", difference, ep.last(), own, mate, fixed.best(), ep.best()])
    heads = ["network", "paper, EP", "fixed point", "to the paper", "float EP", "float BP or FA", "paper, BP or FA"]
    text = [
        "## MNIST",
        "",
        "Fixed point: one sample at a time, plain SGD. Float EP: the same graph, scales and deviation form in float32, but exact tanh,",
        "and trained as in the paper: Adam at 1e-3 for all layers, batches of 500. BP and FA: backpropagation, or feedback alignment on",
        "the network's fixed feedback, also by Adam. The paper reports the best epoch on the test set, so that its figures compare with",
        "the two last columns; the paper's FA beside AGT is that of a chain.",
        "",
        *table([*heads, "fixed point, best", "float EP, best"], lines),
    ]
    if remarks:
        text += ["", f"More than {NEAR} below the paper:", "", *remarks]
    return text


def settings(runs: Path) -> list[str]:
    lines = []
    for row in ROWS:
        network = load_network(row.path)
        learning, formats = network.learning, network.formats
        options = find(f"{row.file}-ep", runs).options
        lines.append(
            [
                row.name,
                learning.epochs,
                f"2^{learning.rate_exponent} / {learning.halve_every}",
                feedback(network),
                f"{network.relaxation.free_sweeps} + {network.relaxation.clamped_sweeps}",
                f"{formats.weight} {formats.state} {formats.deviation}",
                f"{options['free_steps']} + {options['clamped_steps']}, {options['epochs']}" if options else DASH,
            ]
        )
    heads = ["network", "epochs", "rate / halved every", "beta", "sweeps", "weight, state, deviation", "float EP: sweeps, epochs"]
    return ["How they were trained (`examples/mnist*.toml` say it all):", "", *table(heads, lines)]


def feedback(network: Network) -> str:
    """Feedback scales between hidden layers, the chain's first."""
    hidden = {layer.name for layer in network.layers[1:-1]}
    scales = {edge.feedback_exponent for edge in network.edges if {edge.source, edge.target} <= hidden and edge.feedback != "none"}
    return ", ".join(f"2^{scale}" for scale in sorted(scales, reverse=True))


def literal_form(runs: Path) -> list[str]:
    lines = []
    for literal in LITERAL:
        found = find(literal.job, runs)
        if found.curves:
            hidden = len(load_network(run_folders.EXAMPLES / f"{literal.file}.toml").layers) - 2
            free, clamped = literal.steps or (10 * hidden, 5 * hidden)
            schedule = f"{SCHEDULES[literal.schedule]}, {free} + {clamped}"
            how = [f"{literal.beta:g}", literal.error, schedule, found.options["epochs"]]
            lines.append([literal.name, *how, found.last(), found.best(), literal.paper])
    if not lines:
        return []
    return [
        "## The paper's literal form, in float",
        "",
        "Two relaxations and a nudge of 0.1, exact tanh, float32, Adam at 1e-3, batches of 500; at most so many steps. The sequential",
        "schedule reaches the fixed point of the synchronous one in fewer. The output error of the free state is held, or grows: it",
        "is added once more at each step, as the authors' code does in graphs.",
        "",
        *table(["network", "beta", "error", "schedule, steps", "epochs", "last epoch", "best epoch", "paper (best)"], lines),
    ]


def host_update(runs: Path) -> list[str]:
    found, twin_of_it = find(HOST, runs), find("mnist-2x64-ep", runs)
    if not found.curves:
        return []
    network = example(HOST)
    learning = network.learning
    compared = ""
    if twin_of_it.curves:
        compared = f", {found.mean() - twin_of_it.mean():+.2f} from float EP with Adam ({twin_of_it.last()})"
    return [
        "## Weights updated by the host",
        "",
        wrapped(
            f"`examples/{HOST}.toml`: the fixed-point network relaxes, the host keeps float master weights and Adam "
            f"(2^{learning.rate_exponent}, batches of {learning.batch}, {learning.epochs} epochs) and writes weights of "
            f"{network.formats.weight} back. MNIST: **{found.last()}**{compared}."
        ),
    ]


def digits(runs: Path) -> list[str]:
    found = find(DIGITS, runs)
    if not found.curves:
        return []
    epochs = example(DIGITS).learning.epochs
    shown = [epoch for epoch in range(1, epochs + 1) if epoch % 10 == 0 or epoch == epochs]
    lines = [[seed, *(f"{curve[epoch - 1]:.2f}" for epoch in shown)] for seed, curve in found.curves.items()]
    return [
        "## Digits",
        "",
        "`examples/digits.toml`, 64-64-64-10 on scikit-learn's 8 x 8 digits; a seed also sets the stratified split into 1,437 training",
        "and 360 test samples, so that one test sample is 0.28.",
        "",
        *table(["seed", *(f"epoch {epoch}" for epoch in shown)], lines),
        "",
        f"Last epoch: **{found.last()}**.",
    ]


def twin(runs: Path) -> list[str]:
    lines = run_folders.records(runs / TWIN)
    if not lines:
        return []
    training = lines[-1]["training"]
    return [
        "## The same network on the twin",
        "",
        "`frenn train examples/mnist.toml --on twin --verify`: the compiled gateware and the golden model side by side, "
        f"{TWIN_SAMPLES[0]} training and {TWIN_SAMPLES[1]}",
        "test samples of MNIST. Weights, predictions, accuracies and counters are equal. A training sample takes "
        f"{training['cycles'] / lines[-1]['samples']:,.0f} cycles, early in the",
        "first epoch, where hardly any sample is without error.",
    ]


def speeds(runs: Path) -> list[str]:
    path = runs / f"{SPEED}.json"
    return speed.section(json.loads(path.read_bytes())) if path.exists() else []


if __name__ == "__main__":
    sys.exit(main())
