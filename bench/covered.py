# SPDX-License-Identifier: Apache-2.0
"""What the tests cover: lines, branches and toggles of the gateware in Verilator, and lines of Python, as Markdown.

    python bench/covered.py [--out coverage.json] [--missing missing.txt] [PYTEST ARGUMENT ...]

Runs the tests, all of them unless arguments for pytest say otherwise, with the benches on Verilator instrumented; an hour and a half on two
cores that other work shared. A folder that an earlier call kept with ``--keep`` is told of again by ``--of``, without running anything.

A point of the gateware is a line, a branch, or one way of a bit of a named signal. Points of one class of components count together,
whichever instance and whichever configuration they were seen in: covered is what any bench has reached. Libraries' components, as those of
the USB, and the models of vendors' cells count apart. Not counted is what Yosys adds
when it writes Verilog: unnamed intermediate values, and a process's ``if`` that nothing ever makes true. A field that has a name beside
that of its record is the same wires, which count once.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from frenn.firmware.errors import FrennError
from frenn.firmware.files import write_atomic
from frenn.sim.benches.runner import CLASSES, COVERAGE

ROOT: Final = Path(__file__).parents[1]
KINDS: Final = ("line", "branch", "toggle")
UNNAMED: Final = re.compile(r"__024|^\\?\$")
"""Names that Yosys makes: in Verilator's spelling they begin with a dollar or hold one."""
FIELD: Final = "__02e"
"""The dot between a record and its field in a name, in Verilator's spelling."""
GOAL: Final = 90
"""Per cent."""


@dataclass
class Points:
    """Points of a component, by kind: all of them, and those that were reached."""

    every: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    reached: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def share(self, kind: str) -> tuple[int, int]:
        """Points reached, and all."""
        return len(self.reached[kind]), len(self.every[kind])


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    parser.add_argument("--missing", type=Path, help="text file of the points that were not reached")
    parser.add_argument("--keep", type=Path, help="new folder for what the run leaves (default: none is kept)")
    parser.add_argument("--of", type=Path, help="tell of a folder that was kept, and run nothing")
    arguments, tests = parser.parse_known_args(words)
    try:
        if arguments.of is not None:
            return tell(arguments, arguments.of)
        with tempfile.TemporaryDirectory() as temporary:
            folder = arguments.keep or Path(temporary)
            folder.mkdir(exist_ok=True)
            if any(folder.iterdir()):
                raise FrennError(f"{folder} is not empty; give --keep a new folder")
            failed = run(folder.resolve(), tests)
            return tell(arguments, folder) or failed
    except (FrennError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(folder: Path, tests: Sequence[str]) -> int:
    """Run tests, with what they cover left in a folder; 1 if any failed."""
    environment = {**os.environ, COVERAGE: str(folder), "COVERAGE_FILE": str(folder / ".coverage")}
    command = [sys.executable, "-m", "coverage", "run", "-m", "pytest", "-q", "-n", "2", *tests]
    return int(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0)


def tell(arguments: argparse.Namespace, folder: Path) -> int:
    """Print what a folder says, and write the files that are asked for."""
    components = gateware(folder)
    python = lines_of_python(folder)
    print("\n".join([*gateware_table(components), "", *python_table(python)]))
    if arguments.missing:
        missing = [
            f"{name} {kind}: {point}"
            for name, points in sorted(components.items())
            for kind in KINDS
            for point in sorted(points.every[kind] - points.reached[kind])
        ]
        missing += [f"{name} lines: {', '.join(map(str, file['missing_lines']))}" for name, file in sorted(python.items())]
        write_atomic(arguments.missing, ("\n".join(missing) + "\n").encode())
    if arguments.out:
        figures = {
            "gateware": {name: {kind: points.share(kind) for kind in KINDS} for name, points in sorted(components.items())},
            "python": {name: [file["summary"]["covered_lines"], file["summary"]["num_statements"]] for name, file in python.items()},
        }
        write_atomic(arguments.out, (json.dumps(figures, indent=1) + "\n").encode())
    return 0


def gateware(folder: Path) -> dict[str, Points]:
    """Points by component, of all benches that left something in a folder."""
    components: dict[str, Points] = defaultdict(Points)
    for data in sorted(folder.glob("*/coverage.dat")):
        (source,) = data.parent.glob("*.v")
        texts = source.read_text().splitlines()
        classes = json.loads((data.parent / CLASSES).read_text())
        found_here = list(points(data))
        signals = {(module, re.split(r"[\[:]", what)[0]) for module, kind, _, what, _ in found_here if kind == "toggle"}
        for module, kind, line, what, count in found_here:
            if kind == "toggle":
                name = what
            else:
                text = texts[line - 1].strip()
                if "dump_module" in text:
                    continue
                name = f"{text} {what}"
            record, dot, _ = name.partition(FIELD)
            if kind == "toggle" and (UNNAMED.search(name) or (dot and (module, record) in signals)):
                continue
            found = components[component(module, classes)]
            found.every[kind].add(name)
            if count:
                found.reached[kind].add(name)
    if not components:
        print("no bench on Verilator ran", file=sys.stderr)
    return components


def points(data: Path) -> Iterator[tuple[str, str, int, str, int]]:
    """Module, kind, line, what it is, and how often it was reached, of each point in a file of Verilator's."""
    for line in data.read_text(errors="replace").split("\nC '")[1:]:
        body, _, count = line.rpartition("' ")
        entry = dict(item.split("\x02", 1) for item in body.split("\x01")[1:])
        kind, _, module = entry["page"].partition("/")
        if kind.removeprefix("v_") in KINDS:
            yield module, kind.removeprefix("v_"), int(entry["l"]), entry["o"], int(count)


def component(module: str, classes: Mapping[str, str]) -> str:
    """The class of the component at a place in the hierarchy, which Verilog and Verilator spell in their own way."""
    place = re.sub(r"(__024|\$)\d+", "", re.sub("__02E|__DOT__", ".", module))
    return classes.get(place, place.rpartition(".")[2])


def lines_of_python(folder: Path) -> dict[str, Any]:
    """What coverage.py says of each file, by its name in the repository."""
    parts, whole, report = sorted(map(str, folder.glob(".coverage*"))), folder / "python.data", folder / "python.json"
    if not parts:
        return {}
    # A report of coverage.py takes in, and removes, files whose names begin as that of its data. Code with a fault planted has no file.
    for words in (["combine", "--keep", *parts], ["json", "-i", "-o", str(report)]):
        command = [sys.executable, "-m", "coverage", words[0], "-q", f"--data-file={whole}", *words[1:]]
        subprocess.run(command, cwd=ROOT, check=True)
    files = json.loads(report.read_bytes())["files"]
    return {re.sub(r".*?((firmware|rtl_gen|sim|host)/[^/]+(/[^/]+)?\.py)$", r"\1", name): file for name, file in files.items()}


def percent(reached: int, every: int) -> str:
    return f"{100 * reached / every:.1f} %" if every else ""


def gateware_table(components: dict[str, Points]) -> list[str]:
    """A row for each component of this project, their sum, and the sum of the others: of libraries, and models of vendors' cells."""
    own = {name: points for name, points in components.items() if name in own_classes()}
    rows = ["| component | lines | branches | toggles |", "|---|---|---|---|"]
    for name, points in sorted(own.items()):
        rows.append(f"| `{name}` | {' | '.join(percent(*points.share(kind)) for kind in KINDS)} |")
    others = [points for name, points in components.items() if name not in own]
    for name, group in (("all", list(own.values())), ("libraries and vendors' cells", others)):
        sums = [[sum(values) for values in zip(*(points.share(kind) for points in group), strict=True)] for kind in KINDS]
        told = [f"{percent(*pair)} of {pair[1]}" if any(pair) else "" for pair in sums]
        rows.append(f"| {name} | {' | '.join(told)} |")
    return rows


@cache
def own_classes() -> frozenset[str]:
    """Names of the classes that the project itself writes."""
    sources = [path for folder in ("rtl_gen", "sim") for path in (ROOT / folder).rglob("*.py")]
    return frozenset(name for path in sources for name in re.findall(r"^class (\w+)", path.read_text(), re.MULTILINE))


def python_table(files: dict[str, Any]) -> list[str]:
    """A row a folder, and one for each file below the goal."""
    rows = ["| Python | lines |", "|---|---|"]
    total = [0, 0]
    for folder in ("firmware", "rtl_gen", "sim", "host"):
        counts = {
            name: (file["summary"]["covered_lines"], file["summary"]["num_statements"])
            for name, file in sorted(files.items())
            if name.startswith(f"{folder}/")
        }
        reached, every = (sum(column) for column in zip((0, 0), *counts.values(), strict=True))
        total = [total[0] + reached, total[1] + every]
        rows.append(f"| `{folder}/` | {percent(reached, every)} |")
        rows += [f"| `{name}` | {percent(*count)} |" for name, count in counts.items() if count[1] and 100 * count[0] < GOAL * count[1]]
    return [*rows, f"| all | {percent(*total)} of {total[1]} |"]


if __name__ == "__main__":
    sys.exit(main())
