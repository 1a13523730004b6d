# SPDX-License-Identifier: Apache-2.0
"""MNIST on every topology of the examples: trains what is missing, then writes docs/topologies.md from the run folders.

    python bench/topologies.py run RUNS --data-dir DIR [--seeds 1 2 3] [--only 2x64 ...]
    python bench/topologies.py write RUNS

A run that is there is not made again, so an interrupted command goes on where it was; two commands with different ``--only``
share the work between cores. A run that was cut off is made anew.
"""

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from frenn.host.cli import main as frenn
from frenn.host.run import load_run

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "topologies.md"


@dataclass(frozen=True)
class Row:
    """A network of the examples and what the paper reports for it, MNIST test accuracy in percent."""

    name: str
    file: str
    paper: str
    backpropagation: str


ROWS = (
    Row("2x64", "mnist-2x64", "97.57 +- 0.11", ""),
    Row("3x64", "mnist-3x64", "97.64 +- 0.16", ""),
    Row("5x64", "mnist-5x64", "97.64 +- 0.10", "97.69"),
    Row("5x64 asymmetric", "mnist-5x64-asymmetric", "96.37 +- 0.11", "96.44 (FA)"),
    Row("10x64", "mnist-10x64", "92.49 +- 0.32", "97.61"),
    Row("10x64 residual", "mnist-10x64-residual", "97.49 +- 0.05", "97.61"),
    Row("10x64 AGT", "mnist-10x64-agt", "96.87 +- 0.11", "94.52 (FA)"),
    Row("20x64 residual", "mnist-20x64-residual", "95.95 +- 0.18", "97.48"),
    Row("2x256", "mnist", "", ""),
    Row("2x512", "mnist-2x512", "98.39 +- 0.04", "98.26 +- 0.06"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    run_verb = verbs.add_parser("run", help="train what is missing")
    write_verb = verbs.add_parser("write", help="write the page")
    for verb in (run_verb, write_verb):
        verb.add_argument("runs", type=Path, metavar="RUNS", help="folder of the run folders")
    run_verb.add_argument("--data-dir", help="folder of the IDX files (default: fetched from OpenML)")
    run_verb.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    run_verb.add_argument("--only", nargs="+", choices=[row.file for row in ROWS], metavar="FILE", help="examples by file name")
    arguments = parser.parse_args()
    if arguments.verb == "write":
        PAGE.write_text(page(arguments.runs))
        return 0
    for seed in arguments.seeds:
        for row in ROWS:
            if arguments.only is None or row.file in arguments.only:
                code = train(row, seed, arguments.runs, arguments.data_dir)
                if code:
                    return code
    return 0


def train(row: Row, seed: int, runs: Path, data_dir: str | None) -> int:
    """Make one run unless it is there."""
    folder = runs / f"{row.file}-{seed}"
    if complete(folder):
        return 0
    shutil.rmtree(folder, ignore_errors=True)
    options = ["--on", "golden", "--data", "mnist", "--seed", str(seed), "--out", str(folder)]
    data = [] if data_dir is None else ["--data-dir", data_dir]
    return frenn(["train", str(ROOT / "examples" / f"{row.file}.toml"), *options, *data])


def complete(folder: Path) -> bool:
    """Whether a run folder holds every epoch of its run."""
    if not (folder / "run.json").exists():
        return False
    return len(accuracies(folder)) == load_run(folder)[0].learning.epochs


def accuracies(folder: Path) -> list[float]:
    """Test accuracy in percent after each epoch."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [100 * json.loads(line)["test_accuracy"] for line in lines]


def page(runs: Path) -> str:
    """The page, from the complete runs in a folder."""
    table = []
    for row in ROWS:
        folders = [folder for folder in sorted(runs.glob(f"{row.file}-[0-9]*")) if folder.name[len(row.file) + 1 :].isdigit()]
        folders = [folder for folder in folders if complete(folder)]
        if not folders:
            print(f"no complete run of {row.file}", file=sys.stderr)
            continue
        last = np.array([accuracies(folder)[-1] for folder in folders])
        network, _ = load_run(folders[0])
        formats = network.formats
        sweeps = f"{network.relaxation.free_sweeps} + {network.relaxation.clamped_sweeps}"
        rate = f"2^{network.learning.rate_exponent} / {network.learning.halve_every}"
        spread = f"{last.mean():.2f} +- {last.std(ddof=1):.2f}" if len(last) > 1 else f"{last[0]:.2f}"
        table.append(
            f"| {row.name} | {row.paper} | {row.backpropagation} | **{spread}** | {len(last)} | {network.learning.epochs} | {rate} | "
            f"2^{max(edge.feedback_exponent for edge in network.edges)} | {sweeps} | {formats.weight} {formats.state} {formats.deviation} |"
        )
    lines = [
        "# Topologies",
        "",
        "<!-- Written by `python bench/topologies.py write RUNS` from run folders; not by hand. -->",
        "",
        "MNIST test accuracy in % after the **last** epoch, mean and standard deviation over seeds: one sample at a time, plain SGD,",
        "golden model, which are the engine's bits. `python bench/topologies.py run RUNS --data-dir DIR` trains `examples/mnist*.toml`.",
        "The paper's figures are those of its tables (batches of 500, Adam, 50 epochs, the best epoch on the test set).",
        "",
        "| network | paper, EP | paper, BP or FA | ours | seeds | epochs | rate / halved every | beta | sweeps | w, s, D |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *table,
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
