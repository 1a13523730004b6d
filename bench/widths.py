# SPDX-License-Identifier: Apache-2.0
"""MNIST accuracy against the widths of weights and states: trains what is missing, then writes docs/widths.md and its pictures.

    python bench/widths.py run RUNS --data-dir DIR [--only 2x256 ...] [--quantities weight ...]
    python bench/widths.py write RUNS

Every other format is the example's. A run that is there is not made again, so an interrupted command goes on where it was; a run
that was cut off is made anew. The page and the pictures show the complete runs.
"""

import argparse
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import runs as run_folders
from frenn.firmware.errors import FrennError
from frenn.firmware.formats import Format
from frenn.firmware.network import Network, load_network, parse_network
from matplotlib.figure import Figure

PAGE = run_folders.DOCS / "widths.md"
EPOCHS = 3
LOSS = 0.5
"""Points of accuracy that count as a loss: clearly more than the noise of a run."""
TICKS = (1, 2, 3, 5, 7, 10, 20, 30, 50, 100)
"""Of the axis of the error in percent."""
WEIGHT_BITS = (12, 4, 8, 6, 16, 5, 7, 9, 10, 14)
"""Widths of a weight with its sign, S0.3 to S0.15, in the order in which they are run."""
STATE_FRACTIONS = (8, 4, 2, 6, 12, 1, 3, 5, 10)
"""Fraction bits of a state, S0.1 to S0.12, in the order in which they are run."""

WEIGHT_REMARK = (
    "The width is that of the stored weight, which is also the one multiplied. An update is far finer than a narrow weight's last bit;",
    "stochastic rounding keeps its mean, at the price of a noise whose variance doubles with every bit taken away. Initial weights are",
    "rounded too: of 4 bits the step is 0.125 and the largest initial weight of 784 x 256 is 0.076, so that most begin at 0.",
)
STATE_REMARK = (
    "States are rounded to nearest before they are multiplied; the slope that learning uses is that of the pre-activation, which stays",
    "fine, and the clamped phase carries the learning signal in the deviations, which keep their own format. That may be why even",
    "states of three levels (S0.1: -1/2, 0 and 1/2) learn; it was not tested apart. It says nothing of the literal form, which learns from",
    "the difference of two states and was not run here.",
)


@dataclass(frozen=True)
class Row:
    """A network of the examples."""

    name: str
    file: str

    @property
    def path(self) -> Path:
        """Its network file."""
        return run_folders.EXAMPLES / f"{self.file}.toml"


ROWS = (Row("2x256", "mnist"), Row("10x64 residual", "mnist-10x64-residual"))


@dataclass(frozen=True)
class Quantity:
    """What is made wider and narrower: one of the formats, and how its picture shows it."""

    name: str
    fractions: tuple[int, ...]
    axis: str
    extra: int
    """Bits on the picture's axis that are no fraction bits."""
    remark: tuple[str, ...]
    """Why it is so: lines of the page."""

    @property
    def picture(self) -> Path:
        """Its picture beside the page."""
        return PAGE.with_name(f"widths-{self.name}.png")


QUANTITIES = (
    Quantity("weight", tuple(bits - 1 for bits in WEIGHT_BITS), "bits of a weight, its sign included", 1, WEIGHT_REMARK),
    Quantity("state", STATE_FRACTIONS, "fraction bits of a state, its sign not included", 0, STATE_REMARK),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    run_verb = verbs.add_parser("run", help="train what is missing")
    write_verb = verbs.add_parser("write", help="write the page and the pictures")
    for verb in (run_verb, write_verb):
        verb.add_argument("runs", type=Path, metavar="RUNS", help="folder of the run folders")
    run_verb.add_argument("--data-dir", help="folder of the IDX files (default: fetched from OpenML)")
    run_verb.add_argument("--only", nargs="+", choices=[row.name for row in ROWS], metavar="NETWORK", help="networks by name")
    run_verb.add_argument("--quantities", nargs="+", choices=[quantity.name for quantity in QUANTITIES], help="quantities by name")
    run_verb.add_argument("--fractions", nargs="+", type=int, metavar="N", help="these fraction bits alone")
    arguments = parser.parse_args()
    try:
        return write(arguments.runs) if arguments.verb == "write" else run(arguments)
    except FrennError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(arguments: argparse.Namespace) -> int:
    """Make the runs that are asked for and not there."""
    for quantity in QUANTITIES:
        for fraction in quantity.fractions:
            for row in ROWS:
                asked = (arguments.only, row.name), (arguments.quantities, quantity.name), (arguments.fractions, fraction)
                if all(chosen is None or this in chosen for chosen, this in asked):
                    train(row, quantity, fraction, arguments.runs, arguments.data_dir)
    return 0


def train(row: Row, quantity: Quantity, fraction: int, runs: Path, data_dir: str | None) -> None:
    """Make one run unless it is there."""
    network, text = variant(row, quantity, fraction)
    folder = run_folder(row, network, runs)
    runs.mkdir(parents=True, exist_ok=True)
    file = folder.with_suffix(".toml")
    file.write_text(text)
    data = [] if data_dir is None else ["--data-dir", data_dir]
    run_folders.train(file, network, folder, ["--data", "mnist", *data])


def variant(row: Row, quantity: Quantity, fraction: int) -> tuple[Network, str]:
    """The example with one format changed and the short schedule of rates, and its network file."""
    example = load_network(row.path)
    form = Format(True, 0, fraction)
    network = replace(
        example,
        formats=replace(example.formats, **{quantity.name: form}),
        learning=replace(example.learning, halve_every=1, epochs=EPOCHS),
    )
    text = row.path.read_text()
    for key, value in (("halve_every", 1), ("epochs", EPOCHS)):
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
    line = f'{quantity.name} = "{form}"\n'
    text = text.replace("[formats]\n", f"[formats]\n{line}") if "[formats]\n" in text else f"{text.rstrip()}\n\n[formats]\n{line}"
    if parse_network(text) != network:
        raise FrennError(f"{row.path} is not of the form this script rewrites: it sets {quantity.name}, or lacks halve_every or epochs")
    return network, text


def run_folder(row: Row, network: Network, runs: Path) -> Path:
    """The run folder of a variant; the unchanged formats are one run for both quantities."""
    return runs / f"{row.file}-w{network.formats.weight.fraction}-s{network.formats.state.fraction}"


def accuracies(row: Row, quantity: Quantity, runs: Path) -> dict[int, float]:
    """Test accuracy in percent after the last epoch, by fraction bits, of the complete runs."""
    found = {}
    for fraction in sorted(quantity.fractions):
        network, _ = variant(row, quantity, fraction)
        folder = run_folder(row, network, runs)
        if run_folders.complete(folder, network):
            found[fraction] = run_folders.accuracies(folder)[-1]
    return found


def write(runs: Path) -> int:
    """Write the page and the pictures from the complete runs."""
    found = {quantity: {row: accuracies(row, quantity, runs) for row in ROWS} for quantity in QUANTITIES}
    for quantity, curves in found.items():
        draw(quantity, curves)
    PAGE.write_text(page(found))
    return 0


def draw(quantity: Quantity, curves: dict[Row, dict[int, float]]) -> None:
    """The test error against the width, a curve per network; a ring is the example's own format."""
    # A figure of its own, not pyplot's: no global state, no window.
    figure = Figure(figsize=(6.4, 3.8), dpi=110, layout="constrained")
    axes = figure.subplots()
    for row, curve in curves.items():
        bits = [fraction + quantity.extra for fraction in curve]
        (line,) = axes.plot(bits, [100 - value for value in curve.values()], "o-", label=row.name)
        own = getattr(load_network(row.path).formats, quantity.name).fraction
        if own in curve:
            axes.plot([own + quantity.extra], [100 - curve[own]], "o", markersize=12, fillstyle="none", color=line.get_color())
    axes.set_yscale("log")
    largest = max((100 - value for curve in curves.values() for value in curve.values()), default=100.0)
    top = next((tick for tick in TICKS if tick > largest), TICKS[-1])
    axes.set_ylim(TICKS[0], top)
    axes.set_yticks([tick for tick in TICKS if tick <= top], labels=[str(tick) for tick in TICKS if tick <= top])
    axes.minorticks_off()
    axes.set_xticks([fraction + quantity.extra for fraction in sorted(quantity.fractions)])
    axes.set_xlabel(quantity.axis)
    axes.set_ylabel("test error, %")
    axes.set_title(f"MNIST, {EPOCHS} epochs, one seed; ring: the format of the example", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(quantity.picture, format="png", metadata={"Software": None})


def table(quantity: Quantity, curves: dict[Row, dict[int, float]]) -> list[str]:
    """Rows of widths, a column per network; a dash is a run that was not made."""
    lines = [f"| {quantity.name} | bits | {' | '.join(row.name for row in curves)} |", "|---|---|" + "---|" * len(curves)]
    for fraction in sorted(quantity.fractions):
        if any(fraction in curve for curve in curves.values()):
            form = Format(True, 0, fraction)
            values = (f"{curve[fraction]:.2f}" if fraction in curve else "-" for curve in curves.values())
            lines.append(f"| {form} | {form.width} | {' | '.join(values)} |")
    return lines


def narrowest(quantity: Quantity, curves: dict[Row, dict[int, float]]) -> list[str]:
    """What the table says, computed: the narrowest format from which on nothing is lost against the widest."""
    lines = []
    for row, curve in curves.items():
        if not curve:
            continue
        widest = max(curve)
        enough = widest
        for fraction in sorted(curve, reverse=True):
            if curve[fraction] < curve[widest] - LOSS:
                break
            enough = fraction
        lines.append(
            f"- {row.name}: from {Format(True, 0, enough)} on every {quantity.name} width is within {LOSS} of the widest, "
            f"{Format(True, 0, widest)}."
        )
    return lines


def setting(row: Row) -> str:
    """Rates and formats of a network in words."""
    network = load_network(row.path)
    formats, sweeps = network.formats, network.relaxation
    return (
        f"- **{row.name}** (`examples/{row.file}.toml`): {sweeps.free_sweeps} free and {sweeps.clamped_sweeps} clamped sweeps, rate "
        f"2^{network.learning.rate_exponent} halved every\n"
        f"  epoch; unless the table says otherwise, weights {formats.weight}, states {formats.state}, deviations {formats.deviation}, "
        f"errors {formats.error}."
    )


def page(found: dict[Quantity, dict[Row, dict[int, float]]]) -> str:
    """The page."""
    lines = [
        "# Widths",
        "",
        "<!-- Written by `python bench/widths.py write RUNS` from run folders; not by hand. -->",
        "",
        "How many bits a weight and a state need. One format is changed, everything else is the example's; MNIST test accuracy in % after",
        f"the last of {EPOCHS} epochs, golden model, whose bits are the engine's, stochastic rounding of updates, one seed. Differences",
        "under about 0.15 are noise, and under about 0.4 for 10x64 residual: so much its wide formats differ from each other, in no order.",
        "The runs are short, so that the figures are below those of the full schedules; no rate was tuned to a width.",
        "",
        "    python bench/widths.py run RUNS --data-dir DIR",
        "    python bench/widths.py write RUNS",
        "",
        *(setting(row) for row in ROWS),
    ]
    for quantity, curves in found.items():
        title = quantity.name.capitalize()
        lines += ["", f"## {title} width", "", f"![Test error against {quantity.name} width]({quantity.picture.name})", ""]
        lines += [*table(quantity, curves), "", *narrowest(quantity, curves), "", *quantity.remark]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
