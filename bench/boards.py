# SPDX-License-Identifier: Apache-2.0
"""Builds the matrix of boards and engines, and writes docs/boards.md from the reports.

    python bench/boards.py build [--out DIR] [--only BOARD ...]
    python bench/boards.py page [--out DIR]
    python bench/boards.py cycles --data-dir DIR [--networks NAME ...] [--lanes N ...]
    python bench/boards.py words --data-dir DIR

``build`` goes on where it was stopped: what is built already is not built again. ``page`` writes the page alone. ``cycles`` measures on the
compiled gateware how many cycles a training sample takes, for the predictions; what it has measured is kept at once. It must be done
again when the gateware takes other cycles. ``words`` counts the words that samples take as the driver packs them.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from frenn.firmware.errors import FrennError
from frenn.firmware.files import write_atomic
from frenn.firmware.network import load_network
from frenn.firmware.protocol import pack_sample
from frenn.host.board_verbs import board_design, described_link, read_report
from frenn.host.build import BUILT, PROJECT, BuildFailed, build
from frenn.host.cli import main as frenn
from frenn.host.datasets import load, quantise
from frenn.host.fit import BoardMisfit
from frenn.host.fit_table import HEAD, fit_rows
from frenn.host.throughput import dense_words
from frenn.rtl_gen.boards import BOARDS, Board
from frenn.rtl_gen.usage import KINDS, NAMES

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "boards.md"
CYCLES: Final = ROOT / "host" / "cycles.json"


@dataclass(frozen=True)
class Entry:
    """A build of the matrix.

    Parameters
    ----------
    board : str
    preset : str, optional
    example : str, optional
        Example network that the engine is chosen for; where neither this nor a preset is given the engine fills the board.
    clock : float, optional
        MHz, instead of the board's.
    choices : tuple of (str, int)
        Parameters of the engine instead of those that would be chosen.
    """

    board: str
    preset: str | None = None
    example: str | None = None
    clock: float | None = None
    choices: tuple[tuple[str, int], ...] = ()

    @property
    def engine(self) -> str:
        """What the page and the folders call the engine."""
        chosen = [f"{value} {name.replace('_', ' ')}" for name, value in self.choices]
        name = ", ".join(chosen) or self.preset or self.example or "own"
        return name if self.clock is None else f"{name} at {self.clock:g} MHz"

    def folder(self, out: Path) -> Path:
        """Where the build goes."""
        return out / f"{self.board}-{self.engine}".replace(", ", "-").replace(" ", "-")


EXTRA: Final = (
    Entry("ulx3s-12f", "tiny"),
    Entry("ulx3s-85f", "tiny"),
    Entry("ulx3s-85f", "small"),
    Entry("ulx3s-85f", "medium"),
    Entry("ulx3s-85f", example="mnist-9bit"),
    Entry("ulx3s-85f", clock=170),
    Entry("ulx3s-85f", choices=(("lanes", 128), ("weight_depth", 1024)), clock=125),
    Entry("arty-a7-35t", "small"),
)
"""Builds besides each board's own engine."""

MEASURED: Final = {"digits": "digits", "mnist-2x64": "mnist", "mnist-9bit": "mnist", "mnist": "mnist"}
"""Example networks whose cycles are measured, and the data that they learn."""
LANES: Final = (4, 16, 32, 64, 128)
SAMPLES: Final = 50
"""First training samples, whose cycles are averaged. Hardly any of them is without error: later ones take fewer cycles."""
PACKED: Final = 10_000
"""First training samples, or all if there are fewer, whose words are averaged."""


INTRODUCTION: Final = """\
# Boards

    frenn build --board BOARD --out DIR        frenn boards        frenn flash --board BOARD DIR

No board has been tried. Clocks are those that place and route by the open tools promises in the slow corner, resources those
of the placed design, and samples a second follow from cycles counted in simulation. `python bench/boards.py build` writes this
page from the reports of its builds.

`frenn build` (`pip install 'frenn[build]'`) leaves a folder: the bitstream, its Verilog, RTLIL and constraints, the netlist,
what the tools said, and `report.json`. What is unchanged is not built again. `--tries N` tries N seeds in turn until one meets the
clock, with one netlist for all; what missed it in that folder is not tried again, so a build that was stopped goes on.

On an 85F the memories and multipliers of more than 32 lanes have their sites before anything is placed, chosen by `--seed`; they are
left in `sites.json`, and `--sites FILE` keeps those of an earlier build of the same engine, whatever the seed. On every ECP5 late paths
are routed anew, up to 50 times; more than 64 lanes are routed until no path is late, which takes half an hour, and if that does not end,
92 % and 85 % of the clock are tried, which tell how fast the design can be.

A design that does not fit or is too slow leaves a report that says what overflowed and what to change, and no bitstream. For AMD's FPGAs
the folder is a project instead, of which `vivado -mode batch -source build.tcl` makes the bitstream, and the use of resources is Yosys'
estimate. `frenn flash` loads a bitstream until power is cut, or for good with `--persist`.

The engine fits the board by itself. For networks that must fit, `--network FILE` once or more, it has their formats, the lanes on which
they learn fastest at the clock that the board has for so many, and memories that hold them. Without networks it has the lanes that
multiply most in a second, and as many weights as the memory holds. `--preset`, `--lanes`, `--weight-depth`, `--set NAME=VALUE` (any
parameter of the engine, formats too), `--clock` and `--baud` override it. `frenn check NETWORK` says for every board whether the network
fits, what of the FPGA it takes, its cycles a sample, and for each link the samples a second of engine and link, and which is the limit.

A ULX3S 85F carries 784-256-256-10 on MNIST with weights of 9 bits ([mnist-9bit.toml](../examples/mnist-9bit.toml), 97.90 % of the test
samples right after 6 epochs, golden, seed 1): with 64 lanes its weights take 144 of the 208 block RAMs, the whole engine 180.

iCEBreaker and Tang Nano 9K have room for the engine of one lane ([engine.md](engine.md)); of four lanes the smallest preset needs 13,835
LUTs of 5,280 and 10,987 of 8,640. With its weights in the large memories iCEBreaker carries 784-64-64-10.

The engine runs from the FPGA's PLL, in reset until it has locked, and is reached by a serial line, by PCI Express ([pcie.md](pcie.md)), or
by USB ([usb.md](usb.md)); `--link` chooses:

| board | FPGA | oscillator MHz | link | memory beside the FPGA |
|---|---|---|---|---|
"""


LIMITS: Final = """\
## Link or engine

What `frenn check` tells of the examples, on each board and link that they fit: training samples a second of the engine, at the clock that
the board has for its lanes, and of the link. Cycles were counted in simulation over the first 50 training samples; with `<=` they were not,
and are those of a sample of which nothing is skipped. The link's rate is that of the serial line, 10 bits a byte, or of the lanes
of PCI Express less a fifth, divided by what a sample takes there: its inputs as the driver packs them, its other word, and its
share of the request and its frames. The inputs of the average sample take {packed}.
All of it is computed: no board has been tried.

| network | board | link | lanes | MHz | cycles a sample | engine samples/s | link samples/s | limit |
|---|---|---|---|---|---|---|---|---|
"""


def matrix() -> list[Entry]:
    """Every build, of each board its own engine first."""
    return [entry for board in BOARDS for entry in (Entry(board), *EXTRA) if entry.board == board]


def build_all(out: Path, only: list[str]) -> None:
    """Build what is not built, one after the other."""
    for entry in matrix():
        if only and entry.board not in only:
            continue
        path = entry.folder(out)
        print(path, flush=True)
        try:
            networks = [] if entry.example is None else [load_network(ROOT / "examples" / f"{entry.example}.toml")]
            board, choices = BOARDS[entry.board], dict(entry.choices)
            design = board_design(board, entry.preset, clock=entry.clock, networks=networks, **choices)
            build(design, path, 1, lambda text: print(f"  {text}", flush=True))
        except BuildFailed as error:
            print(f"  {error}", flush=True)


def page(out: Path) -> str:
    """The text of the page, from the reports that there are."""
    reports = [(entry, read_report(entry.folder(out))) for entry in matrix()]
    lines = [
        *INTRODUCTION.splitlines(),
        *(_described(board) for board in BOARDS.values()),
        "",
        "## Builds",
        "",
        "| board | engine | lanes | clock MHz | reached MHz | " + " | ".join(NAMES[kind] for kind in KINDS) + " | outcome |",
        "|" + "---|" * (6 + len(KINDS)),
    ]
    lines += [_row(entry, report) for entry, report in reports if report]
    lines += ["", "Use after synthesis alone, where nothing was placed, is marked with *: an estimate.", ""]
    missing = [f"{entry.board} {entry.engine}" for entry, report in reports if not report]
    lines += [f"Not built: {'; '.join(missing)}.", ""] if missing else []
    lines += [
        "## Predicted speed",
        "",
        "Samples a second while training, early in the first epoch: what the engine computes, and what the link carries. Where "
        "cycles were not counted, they are those of a sample of which nothing is skipped.",
        "",
    ]
    lines += ["| board | engine | network | cycles a sample | engine samples/s | link samples/s | limit |", "|---|---|---|---|---|---|---|"]
    for entry, report in reports:
        if report.get("status") not in (BUILT, PROJECT):
            continue
        for network in report["networks"]:
            if network["misfit"] is None and network["cycles"] is not None:
                most, least = ("", "") if network.get("cycles_measured", True) else ("at most ", "at least ")
                lines.append(
                    f"| {entry.board} | {entry.engine} | {network['widths']} | {most}{network['cycles']:,.0f} | "
                    f"{least}{network['engine_samples_per_second']:,.0f} | {network['link_samples_per_second']:,.0f} | "
                    f"{network.get('limit', '')} |"
                )
    lines += ["", *limits()]
    told = {f"{name} {text}" if text[0].isdigit() else text for _, report in reports for name, text in report.get("tools", {}).items()}
    lines += ["", f"Tools: {', '.join(sorted(told))}."]
    return "\n".join(lines) + "\n"


def limits() -> Iterator[str]:
    """Lines: on each board and link which of engine and link is the limit, as ``frenn check`` tells it."""
    networks = {name: load_network(ROOT / "examples" / f"{name}.toml") for name in MEASURED}
    words = {MEASURED[name]: (entry["input_words"], dense_words(networks[name])) for name, entry in _kept().items()}
    packed = " and ".join(f"{most:.1f} of {all_words} words on {data}" for data, (most, all_words) in words.items())
    yield from LIMITS.format(packed=f"{packed}, over the first {PACKED:,} training samples").splitlines()
    for name, network in networks.items():
        for board in BOARDS.values():
            try:
                rows = list(fit_rows(board, network))
            except BoardMisfit:
                continue
            for row in rows:
                lanes, clock, *rest = (row[HEAD.index(column)] for column in ("lanes", "MHz", "cycles/sample", *HEAD[-3:]))
                yield f"| [{name}](../examples/{name}.toml) | {' | '.join([*row[:2], lanes, clock, *rest])} |"


def _described(board: Board) -> str:
    device = f"{board.device} {board.package} {board.speed}".strip()
    links = " or ".join(described_link(board, link) for link in board.links)
    return f"| {board.title} | {device} | {board.clock / 1e6:g} | {links} | {board.external} |"


def _row(entry: Entry, report: dict[str, Any]) -> str:
    mark = "" if report["use_is"] == "after placing" else "*"
    use = []
    for kind in KINDS:
        item = report["use"].get(kind, {"used": 0, "available": 0})
        use.append(f"{item['used']:,}{mark}" + (f" ({100 * item['used'] / item['available']:.0f} %)" if item["available"] else ""))
    outcome = {BUILT: "bitstream", PROJECT: "project for Vivado"}.get(report["status"], report["message"])
    reached = "" if report["fmax_mhz"] is None else f"{report['fmax_mhz']:.1f}"
    lanes = report["engine"]["lanes"]
    return f"| {entry.board} | {entry.engine} | {lanes} | {report['pll_mhz']:g} | {reached} | {' | '.join(use)} | {outcome} |"


def measure(data_dir: str | None, names: Sequence[str], lanes: Sequence[int]) -> None:
    """Count the cycles of a sample of networks, for numbers of lanes, and keep each count."""
    table = _kept()
    for name in names:
        for count in lanes:
            found = _cycles(ROOT / "examples" / f"{name}.toml", MEASURED[name], data_dir, count)
            print(f"{name}, {count} lanes: {found}", flush=True)
            cycles = table[name]["cycles"]
            cycles.pop(str(count), None)
            if found is not None:
                cycles[str(count)] = found
            table[name]["cycles"] = dict(sorted(cycles.items(), key=lambda item: int(item[0])))
            _keep(table)


def count_words(data_dir: str | None) -> None:
    """Average the words of packed samples, and keep them."""
    table = _kept()
    for name, data in MEASURED.items():
        network = load_network(ROOT / "examples" / f"{name}.toml")
        folder = Path(data_dir) if data == "mnist" and data_dir is not None else None
        inputs = quantise(load(data, folder, network.seed).train_inputs[:PACKED], network.formats.input)
        words = [len(pack_sample(sample, network.formats.input.width > 8)) - 1 for sample in inputs]
        table[name]["input_words"] = round(sum(words) / len(words), 2)
        print(f"{name}: {table[name]['input_words']} words of {dense_words(network)}, {len(words)} samples", flush=True)
    _keep(table)


def _kept() -> dict[str, dict[str, Any]]:
    """What is known of the networks by name; what was measured of one that has been changed since counts no more."""
    known = {entry["file"]: entry for entry in json.loads(CYCLES.read_text())["networks"]}
    texts = {name: (ROOT / "examples" / f"{name}.toml").read_text() for name in MEASURED}
    return {name: known.get(text, {"file": text, "cycles": {}}) for name, text in texts.items()}


def _keep(table: dict[str, dict[str, Any]]) -> None:
    write_atomic(CYCLES, (json.dumps({"networks": list(table.values())}, indent=2) + "\n").encode())


def _cycles(path: Path, data: str, data_dir: str | None, lanes: int) -> float | None:
    """Cycles of a sample, or None where no engine of so few lanes can hold the network."""
    with tempfile.TemporaryDirectory() as where:
        run = Path(where) / "run"
        options = ["--on", "twin", "--lanes", str(lanes), "--data", data, "--epochs", "1", "--out", str(run)]
        options += ["--samples", str(SAMPLES), "--test-samples", "10"]
        if data == "mnist" and data_dir is not None:
            options += ["--data-dir", data_dir]
        if frenn(["train", str(path), *options]):
            return None
        (record,) = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
        return round(record["training"]["cycles"] / SAMPLES, 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("build", "page", "cycles", "words"))
    parser.add_argument("--out", type=Path, default=Path("builds"), help="folder of the builds (default builds)")
    parser.add_argument("--only", nargs="+", default=[], choices=BOARDS, metavar="BOARD", help="these boards alone")
    parser.add_argument("--data-dir", help="folder of the MNIST files")
    parser.add_argument("--networks", nargs="+", default=list(MEASURED), choices=MEASURED, metavar="NAME", help="cycles of these alone")
    parser.add_argument("--lanes", nargs="+", type=int, default=LANES, metavar="N", help=f"on so many lanes (default {LANES})")
    arguments = parser.parse_args()
    try:
        if arguments.what == "cycles":
            measure(arguments.data_dir, arguments.networks, arguments.lanes)
            return 0
        if arguments.what == "words":
            count_words(arguments.data_dir)
            return 0
        if arguments.what == "build":
            build_all(arguments.out, arguments.only)
        write_atomic(PAGE, page(arguments.out).encode())
    except FrennError as error:
        print(f"boards: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("boards: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
