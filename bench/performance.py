# SPDX-License-Identifier: Apache-2.0
"""Writes docs/performance.md and its pictures from what bench/run.py and bench/scaling.py measured.

python bench/performance.py RUN.json SCALING.json
"""

import argparse
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import command
from frenn.firmware.errors import FrennError
from frenn.firmware.files import write_atomic
from frenn.firmware.network import load_network
from frenn.host.fit import fit_engine
from frenn.rtl_gen.boards import find_board
from frenn.rtl_gen.cycles import IDLE_KINDS
from frenn.rtl_gen.estimate import estimate
from matplotlib.figure import Figure
from runs import DOCS, EXAMPLES

PAGE: Final = DOCS / "performance.md"
SHOWN: Final = "large", "MNIST 2x256"
"""Preset and network of the picture."""
MEANINGS: Final = {
    "forward": "a source value goes to all lanes, each of which multiplies its row's weight",
    "transposed": "a column is summed over the lanes",
    "update": "a source value goes to all lanes, each of which changes its row's weight",
    **IDLE_KINDS,
    "link": "nothing came, or a sample was still coming, or its answer was not taken, and no program ran",
    "between": "a program is started, or its answer given",
}
COLOURS: Final = {
    "forward": "#1b6ca8",
    "transposed": "#3fa7d6",
    "update": "#59cd90",
    "sequencing": "#999999",
    "walk": "#ee6352",
    "sums": "#fac05e",
    "error": "#b565a7",
    "drain": "#d9d9d9",
    "link": "#555555",
    "between": "#bfae9f",
}

INTRODUCTION: Final = """\
# Performance

<!-- Written by `python bench/performance.py RUN.json SCALING.json`; not by hand. -->

    python bench/run.py --json RUN.json --data-dir DIR [--quick] [--builds DIR]
    python bench/scaling.py --json SCALING.json --data-dir DIR
    python bench/performance.py RUN.json SCALING.json

The paper's schedule in PyTorch needs `pip install 'frenn[bench]'`, and is left out without it.

Nothing here ran on a board. Cycles are counted on the twin, the compiled gateware, by the device's own counters; a board's samples a
second are these cycles at the clock that place and route promised for a build of its engine.
"""

LIMITS: Final = """\
It stops scaling where a layer has no more rows than there are lanes: further lanes have no row. Before that, the neuron unit takes one
neuron a cycle, so that a layer of 256 takes 256 cycles for each of its walks however many lanes there are; from 128 lanes on the lanes
wait for it (*walk*), or for sums that leave the lanes one a cycle (*sums*). [engine.md](engine.md) has the account for layers as wide as
the lanes. What would lift it, by what it costs, least first:

- A neuron unit of two or four neurons a cycle, and as many sums a cycle from the lanes: it halves what does not shrink with the lanes.
- Two samples in turn on one engine, one in the lanes while the other walks: the second would learn from weights that are one sample old.
- Several engines, each with a part of a batch: each needs its own weights and their sums ([engine.md](engine.md) has the price), or an
  average now and then, and the link has to carry the sum of their samples.
- Weights in external memory would lift the size of a network, not its speed: the peak in the table is what it would have to give.
"""

GOAL: Final = 50_000
"""Samples a second of `SHOWN` on a ULX3S 85F."""

TWIN: Final = """\
The twin executes about 11,600 instructions for a cycle of 16 lanes; their code does not fit the processor's first cache, which is probably
what limits it. Yosys flattens and simplifies the gateware before Verilator reads it: 1.15 times the clock at 16 lanes and 1.83 times at
128, where registers that a board has several of become one. What was tried besides, at 16 lanes: profiles for g++ give 1.15 times, for
twice the time to compile; clang (of ziglang) 1.12 times, and takes longer to compile; -O2, -Os, -march=native, other options of
Verilator, and one evaluation a cycle instead of two change it by 3 % or less, which is no more than the runs differ by. Two threads on
two cores are slower: 0.53 times the clock at 16 lanes and 0.75 at 128, for the threads meet in every cycle and wait for each other.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN.json", help="figures of bench/run.py")
    parser.add_argument("scaling", type=Path, nargs="?", metavar="SCALING.json", help="figures of bench/scaling.py")
    arguments = parser.parse_args()
    try:
        figures = command.read(arguments.run)
        scaling = None if arguments.scaling is None else command.read(arguments.scaling)
        text = page(figures, scaling)
        if shown(figures):
            draw(figures)
        write_atomic(PAGE, text.encode())
    except (FrennError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def page(figures: dict[str, Any], scaling: dict[str, Any] | None) -> str:
    """The page."""
    parts = [INTRODUCTION.rstrip(), *samples(figures), *account(figures), *boards(figures), *beside(figures)]
    if scaling is not None:
        parts += scaled(scaling)
    return "\n".join(parts) + "\n"


def entries(figures: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Preset, name and figures of each network."""
    for preset, networks in figures["presets"].items():
        for name, entry in networks.items():
            yield preset, name, entry


def prose(text: str) -> list[str]:
    """A paragraph, wrapped."""
    return textwrap.wrap(text, 138)


def row(*cells: object) -> str:
    """A row of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def heading(*names: str) -> list[str]:
    """The first two rows of a table."""
    return [row(*names), "|" + "---|" * len(names)]


def percent(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.1f}"


def samples(figures: dict[str, Any]) -> list[str]:
    """The table of what a sample costs."""
    lines = [
        "",
        "## A sample",
        "",
        *prose(
            f"Golden learned each network up to eight places of an epoch; from there the twin replayed {figures['samples_of_an_epoch']} "
            "samples in all, and its predictions, errors and counters were golden's. *Executed* are the multiplications that lanes did, of "
            "those of the paper's schedule with nothing left out: 10 free and 5 clamped synchronous steps, "
            "whatever the depth, and an update "
            "of every weight. *Busy* are useful lane-cycles, of all lanes in all cycles from one sample to the "
            "next. *Dense* is a sample of "
            "which nothing is skipped, by the model of the control."
        ),
        "",
        *heading(
            "network",
            "preset",
            "lanes",
            "epoch",
            "cycles to learn",
            "to predict",
            "executed %",
            "busy %",
            "cycles dense",
            "busy dense %",
            "without error %",
        ),
    ]
    for preset, name, entry in entries(figures):
        for number, epoch in entry["epochs"].items():
            use = epoch["utilisation"]
            cycles = f"{epoch['cycles_per_sample']:,.0f}", f"{epoch['cycles_per_inference']:,.0f}", percent(epoch["executed_of_dense"])
            dense = f"{entry['dense']['cycles_per_sample']:,}", percent(use["dense"])
            without = f"{100 * epoch['zero_error']:.0f}"
            lines.append(row(name, preset, entry["lanes"], number, *cycles, percent(use["skipping"]), *dense, without))
    return lines


def shown(figures: dict[str, Any]) -> dict[str, Any] | None:
    """Figures of the network of the picture, if it was run."""
    preset, name = SHOWN
    found: dict[str, Any] | None = figures["presets"].get(preset, {}).get(name)
    return found


def bars(entry: dict[str, Any]) -> dict[str, Mapping[str, float]]:
    """Cycles by what they went to: of the dense sample, and of each epoch."""
    return {"nothing skipped": entry["dense"]["account"], **{f"epoch {n}": epoch["account"] for n, epoch in entry["epochs"].items()}}


def account(figures: dict[str, Any]) -> list[str]:
    """Where the cycles go, with the picture."""
    lines = [
        "",
        "## Where the cycles go",
        "",
        *prose(
            "`frenn check NETWORK --cycles [--preset P] [--lanes N]` tells it of a sample of which nothing is skipped, by instruction and "
            "layer, from a model of the control; the device's counters ([packets](packets.md)) tell it of any "
            "samples. Both are the same to "
            "the cycle, which a test compares. A cycle is one of:"
        ),
        "",
        *(f"- *{name}*: {meaning}" for name, meaning in MEANINGS.items()),
    ]
    entry = shown(figures)
    if entry is None:
        return lines
    columns, epochs = bars(entry), entry["epochs"].values()
    skipped = {name: (0, *(f"{epoch['skipped'][name]:,.0f}" for epoch in epochs)) for name in ("sources", "columns")}
    return [
        *lines,
        "",
        "![Cycles of a sample by what they went to](performance-account.png)",
        "",
        f"Cycles of a sample of {entry['network']} on {entry['lanes']} lanes:",
        "",
        *heading("", *columns),
        *(row(name, *(f"{column.get(name, 0):,.0f}" for column in columns.values())) for name in MEANINGS),
        row("all", *(f"{sum(column.values()):,.0f}" for column in columns.values())),
        row("lane-cycles without a row, %", percent(entry["dense"]["narrow"]), *(percent(epoch["narrow"]) for epoch in epochs)),
        *(row(f"{name} left out, each row block", *counts) for name, counts in skipped.items()),
    ]


def draw(figures: dict[str, Any]) -> None:
    """A bar of the cycles of the dense sample and of each epoch."""
    entry = shown(figures)
    assert entry is not None
    columns = bars(entry)
    figure = Figure(figsize=(8, 0.9 + 0.6 * len(columns)), dpi=110, layout="constrained")
    axes = figure.subplots()
    left = dict.fromkeys(columns, 0.0)
    for name, colour in COLOURS.items():
        widths = [column.get(name, 0) for column in columns.values()]
        if max(widths) > 0:
            axes.barh(list(columns), widths, left=list(left.values()), color=colour, label=name)
        left = {label: start + width for (label, start), width in zip(left.items(), widths, strict=True)}
    axes.invert_yaxis()
    axes.set_xlabel(f"cycles of a training sample, {entry['network']}, {entry['lanes']} lanes")
    figure.legend(loc="outside right center", fontsize=8)
    figure.savefig(DOCS / "performance-account.png", format="png", metadata={"Software": None})


def boards(figures: dict[str, Any]) -> list[str]:
    """Samples a second of boards."""
    rows = []
    for _, name, entry in entries(figures):
        for number, epoch in entry["epochs"].items():
            for board, reached in epoch["samples_per_second"].items():
                speeds = f"{reached['mhz']:.1f}", number, f"{reached['engine']:,.0f}", f"{reached['line']:,.0f}"
                rows.append(row(board, name, entry["lanes"], reached["weight"], *speeds))
    lines = ["", "## Boards", ""]
    if not rows:
        return [*lines, "There was no report of a build whose lanes and memories suit one of these networks; see [boards](boards.md)."]
    return [
        *lines,
        *prose(
            "Training samples a second of the engine at the clock that place and route reached, and of the "
            "serial line, if it carried every "
            "sample; the smaller one counts. Where that clock is less than what was asked for, the engine is to be built for it."
        ),
        "",
        *heading("board", "network", "lanes", "weights", "MHz", "epoch", "engine", "line"),
        *rows,
        *goal(figures),
    ]


def goal(figures: dict[str, Any]) -> list[str]:
    """What clock the goal would need."""
    preset, name = SHOWN
    if name not in figures["presets"].get(preset, {}):
        return []
    entry = figures["presets"][preset][name]
    cycles = [(number, epoch["cycles_per_sample"]) for number, epoch in entry["epochs"].items()]
    board = find_board("ulx3s-85f")
    memories = estimate(board, fit_engine(board, [load_network(EXAMPLES / "mnist-9bit.toml")], lanes=entry["lanes"]))["block_rams"]
    clocks = ", ".join(f"{GOAL * count / 1e6:.0f} MHz in epoch {number} ({count:,.0f} cycles)" for number, count in cycles)
    text = (
        f"The goal is {GOAL:,} samples a second of {entry['network']} on a ULX3S 85F. On {entry['lanes']} lanes it takes "
        f"a clock of {clocks}. Memory is in its way as well: with weights of 12 bits the network does not fit that board, and with 9 bits "
        f"an engine of {entry['lanes']} lanes takes {memories.used} of {memories.available} block RAMs. "
        "How far engines have come is in [engine.md](engine.md)."
    )
    return ["", *prose(text)]


def beside(figures: dict[str, Any]) -> list[str]:
    """What else learns on this machine, as ratios."""
    lines = [
        "",
        "## Golden, twin, and the paper's schedule",
        "",
        *prose(
            f"All in one run on one core of {figures['processor']}, Python {figures['python']}, numpy {figures['numpy']}. *Twin*: clock of "
            "the engine that is simulated. *Golden*: samples that it learns in the time that the twin takes for one, first of the first "
            "epoch. *Verilog*: samples that golden learns while the engine's Verilog is generated."
        ),
        "",
        *heading("network", "preset", "twin MHz", "golden", "cycles to load the image", "Verilog"),
    ]
    for preset, name, entry in entries(figures):
        speeds = f"{entry['twin_mhz']:.2f}", f"{entry['golden_per_twin']:,.0f}", f"{entry['load_cycles']:,}"
        lines.append(row(name, preset, *speeds, f"{entry['verilog_in_golden_samples']:,.0f}"))
    lines += ["", TWIN.rstrip()]
    found = figures.get("paper", {"left_out": "its network was not run"})
    if "left_out" in found:
        return [*lines, "", f"The paper's schedule in PyTorch was left out: {found['left_out']}."]
    lines += [
        "",
        *prose(
            f"{found['network']}, samples learned in a second, as multiples of the paper's schedule in PyTorch on "
            f"one core (float32, T = 10, "
            "K = 5, Adam, what the inputs add computed once); golden and boards learn sample by sample:"
        ),
        "",
        *heading("", *(f"batch {batch}" for batch in found["golden"])),
        row("golden, first of epoch 1", *(f"{ratio:.2f}" for ratio in found["golden"].values())),
    ]
    for number, reached in found["boards"].items():
        lines += [row(f"{board}, epoch {number}", *(f"{ratio:,.1f}" for ratio in ratios.values())) for board, ratios in reached.items()]
    return lines


def scaled(figures: dict[str, Any]) -> list[str]:
    """The table of lanes."""
    lines = [
        "",
        "## Scaling",
        "",
        *prose(
            f"{figures['network']} at {figures['clock_mhz']:g} MHz, a clock to compare with and no board's. Dense figures are the model's; "
            "where there are figures of the twin, a dense sample took exactly the model's cycles there, idle ones of each kind too. "
            "*Weights*: what is read, and written by updates, in the weight memories of all lanes by dense samples, beside what two ports "
            "give at most. *Link*: requests of dense samples with their frames."
        ),
        "",
        *heading(
            "lanes",
            "cycles dense",
            "samples/s",
            "busy %",
            "no row %",
            "cycles, twin, epoch 1",
            "samples/s",
            "busy %",
            "weights Gbit/s",
            "at most",
            "link Mbyte/s",
        ),
    ]
    for lanes, engine in figures["engines"].items():
        dense = (
            f"{engine['dense_cycles']:,}",
            f"{engine['samples_per_second']:,.0f}",
            percent(engine["utilisation"]),
            percent(engine["narrow"]),
        )
        twin, counted = engine.get("simulated"), ("", "", "")
        if twin is not None:
            counted = f"{twin['cycles']:,.0f}", f"{twin['samples_per_second']:,.0f}", percent(twin["utilisation"])
        memory = (f"{engine[f'weight_memory_{part}gbit_per_second']:,.0f}" for part in ("", "peak_"))
        lines.append(row(lanes, *dense, *counted, *memory, f"{engine['link_mbyte_per_second']:.1f}"))
    return [*lines, "", LIMITS.rstrip()]


if __name__ == "__main__":
    sys.exit(main())
