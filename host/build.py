# SPDX-License-Identifier: Apache-2.0
"""Building a bitstream: tools are run one after the other, and a report is left whatever comes of it."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from ..firmware.errors import FrennError
from ..firmware.files import write_atomic
from ..rtl_gen.board_top import NAME, BoardDesign
from ..rtl_gen.boards import FAMILIES
from ..rtl_gen.build import CELLS, NETLIST, ROUTING, TIMING, BuildPlan, Step, Tool, build_plan
from ..rtl_gen.identity import gateware_identity
from ..rtl_gen.routing import ENDLESS, SLOWER, routing_constraints
from ..rtl_gen.usage import NAMES, Clock, Crossing, Use, logged_use, netlist_use, placed_clocks, placed_crossings, placed_use
from .throughput import predictions

REPORT: Final = "report.json"
MISSED: Final = "missed.json"
"""Reports of the seeds that were too slow."""
SYNTHESISED: Final = "synthesis.json"
"""What the netlist was made from, and its hash."""

BUILT: Final = "built"
PROJECT: Final = "project"
OVERFLOW: Final = "overflow"
TIMING_MISSED: Final = "timing"
FAILED: Final = "failed"

Say = Callable[[str], None]


class BuildFailed(FrennError):
    """A build that left a report and no bitstream."""


def find_tool(tool: Tool) -> list[str]:
    """The command that runs a tool: what its environment variable names, or its package's program, or one on the PATH.

    Raises
    ------
    FrennError
        If there is none.
    """
    named = os.environ.get(tool.variable)
    if named:
        found = shutil.which(named)
        if found is None:
            raise FrennError(f"{tool.variable} is {named!r}, which is no program; correct it or unset it")
        return [found]
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    for command in tool.commands:
        found = shutil.which(command, path=beside)
        if found is not None:
            return [found]
    raise FrennError(f"{tool.commands[0]} is not installed; get it with: pip install 'frenn[build]'")


def tool_version(tool: Tool, command: list[str]) -> str:
    """Version of a tool as its package or, for any other program, its own ``--version`` tells it."""
    if Path(command[0]).name == tool.commands[0] and not os.environ.get(tool.variable):
        try:
            return f"{tool.package} {version(tool.package)}"
        except PackageNotFoundError:
            pass
    answer = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    lines = (answer.stdout + answer.stderr).strip().splitlines()
    return lines[0] if lines else "unknown"


def build(design: BoardDesign, out: Path, seed: int, say: Say, sites: Mapping[str, str] | None = None, tries: int = 1) -> dict[str, Any]:
    """Build a design into a folder, unless the same one is there.

    Parameters
    ----------
    design : BoardDesign
    out : Path
        Folder; made if need be. What an earlier build left there is replaced.
    seed : int
        Of placement.
    say : callable
        Told of every step, a line each.
    sites : mapping of str to str, optional
        See `build_plan`.
    tries : int
        Seeds, one after the other, that are tried until the clock is met. What missed it in this folder before is not tried again.

    Returns
    -------
    dict
        The report, which is also in the folder: its status is ``"built"``, or ``"project"`` where the vendor's tools are to
        go on.

    Raises
    ------
    BuildFailed
        If the design does not fit or is too slow, or a tool fails. The report says more; of several tries it is that of the fastest.
    FrennError
        If a tool is missing.
    """
    if tries < 1:
        raise FrennError(f"--tries is {tries}; legal are 1 and more")
    plan = build_plan(design, seed, sites)
    commands = {step.name: find_tool(step.tool) for step in plan.steps}
    versions = {step.tool.commands[0]: tool_version(step.tool, commands[step.name]) for step in plan.steps}
    plans = {number: plan.reseeded(number) for number in range(seed, seed + tries)}
    fingerprints = {number: plan.fingerprint(versions) for number, plan in plans.items()}
    held = (same_build(out, plan, fingerprints[number]) for number, plan in plans.items())
    report = next((report for report in held if report is not None and report["status"] != TIMING_MISSED), None)
    if report is not None:
        say(f"unchanged: {out} holds it")
    else:
        missed = read_json(out / MISSED)
        left = [number for number in plans if fingerprints[number] not in missed]
        begin = time.monotonic()
        for done, number in enumerate(left):
            if tries > 1:
                told = f", at most {_minutes((time.monotonic() - begin) / done * (len(left) - done))} left" if done else ""
                say(f"seed {number}, {tries - len(left) + done + 1} of {tries}{told}")
            header = _header(design, number, versions, fingerprints[number])
            report = _Build(plans[number], out, say, commands, versions).run(header)
            write_atomic(out / REPORT, _text(report))
            if report["status"] != TIMING_MISSED:
                break
            missed[fingerprints[number]] = report
            write_atomic(out / MISSED, _text(missed))
        else:
            report = max((missed[inputs] for inputs in fingerprints.values()), key=lambda report: report["fmax_mhz"] or 0.0)
            # There may be the bitstream of another clock, built since.
            (out / plan.bitstream).unlink(missing_ok=True)
            write_atomic(out / REPORT, _text(report))
            if not left:
                say(f"unchanged: {out} holds it")
    if report["status"] not in (BUILT, PROJECT):
        best = f"seed {report['seed']} is the best of {tries}: " if report["status"] == TIMING_MISSED and tries > 1 else ""
        raise BuildFailed(f"{best}{report['message']}; {report['advice']}; see {out / REPORT}")
    return report


def _text(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _minutes(seconds: float) -> str:
    return f"{max(1, round(seconds / 60))} min"


def read_json(path: Path) -> dict[str, Any]:
    """An object that an earlier build left; empty where it cannot be read."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def same_build(out: Path, plan: BuildPlan, fingerprint: str) -> dict[str, Any] | None:
    """The report in a folder, if it is whole and of the same inputs."""
    try:
        report = read_json(out / REPORT)
        if report["inputs"] != fingerprint or report["status"] == FAILED:
            return None
        if report["status"] == BUILT and _digest(out / plan.bitstream) != report["bitstream"]["sha256"]:
            return None
    except (OSError, KeyError, TypeError):
        return None
    return report


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _header(design: BoardDesign, seed: int, versions: dict[str, str], fingerprint: str) -> dict[str, Any]:
    board = design.board
    return {
        "status": FAILED,
        "message": "",
        "advice": "",
        "board": board.name,
        "title": board.title,
        "family": FAMILIES[board.family],
        "device": f"{board.device} {board.package} {board.speed}".strip(),
        "engine": design.parameters.to_dict(),
        "engine_fingerprint": f"{design.parameters.fingerprint:016x}",
        "gateware_identity": f"{gateware_identity():016x}",
        "clock_mhz": design.clock / 1e6,
        "pll_mhz": round(float(design.pll.output) / 1e6, 6),
        "fmax_mhz": None,
        "link": design.link,
        "baud": design.baud if design.link == "uart" else None,
        "serial": design.serial if design.link == "usb" else None,
        "seed": seed,
        "use": {},
        "use_is": "",
        "bitstream": None,
        "networks": predictions(design.parameters, design.frequency, design.baud, design.board, design.link),
        "seconds": {},
        "tools": {"frenn": version("frenn"), "amaranth": version("amaranth"), **versions},
        "inputs": fingerprint,
    }


class _Build:
    """One run of a plan."""

    def __init__(self, plan: BuildPlan, out: Path, say: Say, commands: dict[str, list[str]], versions: dict[str, str]) -> None:
        self.plan = plan
        self.out = out
        self.say = say
        self.commands = commands
        self.synthesis = plan.synthesis_fingerprint(versions)

    def run(self, report: dict[str, Any]) -> dict[str, Any]:
        out, plan = self.out, self.plan
        out.mkdir(parents=True, exist_ok=True)
        # From here on the folder holds no report, and so nothing that passes for a build.
        for name in (REPORT, plan.bitstream, plan.part, TIMING):
            if name:
                (out / name).unlink(missing_ok=True)
        for name, text in plan.files.items():
            write_atomic(out / name, text.encode())
        for step in plan.steps:
            begin = time.monotonic()
            if step is plan.steps[0]:
                failure = self._synthesise(step)
            else:
                self.say(f"{step.name} ...")
                failure = self._attempt(step) if ROUTING in step.arguments else self._run_step(step)
            report["seconds"][step.name] = round(time.monotonic() - begin, 1)
            verdict = self._judge(step, failure, report)
            report |= verdict
            told = report["message"] or (self._summary(report) if verdict else "done")
            self.say(f"{step.name}: {told} ({report['seconds'][step.name]:.0f} s)")
            if verdict.get("status"):
                break
        return report

    def _run_step(self, step: Step) -> str:
        """Run a tool; why it failed, or nothing."""
        with (self.out / step.printed).open("wb") as log, _watch(step.name, self.out / step.log):
            process = subprocess.Popen(
                [*self.commands[step.name], *step.arguments], cwd=self.out, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
            try:
                code = process.wait()
            except BaseException:
                _stop(process)
                raise
        if code == 0:
            return ""
        if code < 0 or code > 128:
            number = -code if code < 0 else code - 128
            return f"{step.tool.commands[0]} was killed (signal {number}), perhaps for want of memory"
        return _complaint(self.out / step.printed) or f"{step.tool.commands[0]} ended with code {code} and left no message"

    def _synthesise(self, step: Step) -> str:
        """Make the netlist, unless the same one is there."""
        if self._synthesised() == read_json(self.out / SYNTHESISED):
            self.say(f"{step.name} is unchanged")
            return ""
        for name in (SYNTHESISED, CELLS):
            (self.out / name).unlink(missing_ok=True)
        self.say(f"{step.name} ...")
        failure = self._run_step(step)
        if not failure:
            write_atomic(self.out / SYNTHESISED, _text(self._synthesised()))
        return failure

    def _synthesised(self) -> dict[str, str]:
        """What a finished synthesis leaves word of."""
        files = {name: _digest(path) for name in (NETLIST, CELLS) if (path := self.out / name).is_file()}
        return {"inputs": self.synthesis, **files}

    def _attempt(self, step: Step) -> str:
        """Place and route, for a slower clock than the one that is wanted if that does not end."""
        failure = self._run_step(step)
        for share in SLOWER:
            if ENDLESS not in failure:
                break
            self.say(f"{step.name}: no end; again for {share:.0%} of the clock ...")
            constraints = routing_constraints(self.plan.files[f"{NAME}.lpf"], float(self.plan.design.frequency), share)
            write_atomic(self.out / ROUTING, constraints.encode())
            failure = self._run_step(step)
        return failure

    def _judge(self, step: Step, failure: str, report: dict[str, Any]) -> dict[str, Any]:
        """What a finished step adds to the report; a status if it was the last one."""
        board = self.plan.design.board
        if step is self.plan.steps[0]:
            if failure:
                return _failed(failure, f"read {step.log}")
            use, told = netlist_use(board, json.loads((self.out / CELLS).read_bytes())), "after synthesis"
            over = _overflow(use)
            changes: dict[str, Any] = {"use": _use_table(use), "use_is": _told_use(self.plan.design, told)}
            if over:
                return {**changes, **over}
            return {**changes, "status": PROJECT} if board.by_vendor else changes
        pack = self.plan.steps[-1]
        if step.name == "sites":
            return _failed(failure, f"read {step.log}") if failure else {}
        if step is not pack:
            return self._judge_placing(step, failure, report)
        part = self.out / self.plan.part
        if failure or not part.is_file():
            return _failed(failure or f"{step.tool.commands[0]} left no bitstream", f"read {step.log}")
        product = self.out / self.plan.bitstream
        part.replace(product)
        return {"status": BUILT, "bitstream": {"file": product.name, "bytes": product.stat().st_size, "sha256": _digest(product)}}

    def _judge_placing(self, step: Step, failure: str, report: dict[str, Any]) -> dict[str, Any]:
        board = self.plan.design.board
        timing = None if failure else json.loads((self.out / TIMING).read_bytes())
        use = placed_use(board, timing) if timing else logged_use(board, (self.out / step.log).read_text(errors="replace"))
        changes: dict[str, Any] = {"use": {**report["use"], **_use_table(use)}, "use_is": "after placing"} if use else {}
        over = _overflow(use)
        if over:
            return {**changes, **over}
        if ENDLESS in failure:
            slowest = int(float(self.plan.design.frequency) * SLOWER[-1] / 1e6)
            told = f"the design cannot be routed for {slowest} MHz, where {report['pll_mhz']:g} is asked for"
            return {**changes, "status": TIMING_MISSED, "message": told, "advice": "ask for a slower --clock, or try another --seed"}
        if timing is None:
            return {**changes, **_failed(failure, f"read {step.log}; fewer lanes or another --seed may help")}
        # What an attempt asks for is not what is wanted.
        wanted = float(self.plan.design.frequency) / 1e6 if ROUTING in step.arguments else None
        clocks = placed_clocks(timing, wanted)
        crossings = placed_crossings(timing, wanted)
        if clocks:
            changes["fmax_mhz"] = round(clocks[0].achieved, 2)
            changes["clocks"] = {
                clock.name: {"reached_mhz": round(clock.achieved, 2), "asked_mhz": round(clock.asked, 2)} for clock in clocks
            }
            changes["crossings_ns"] = {f"{path.source} to {path.target}": round(path.delay, 2) for path in crossings}
        missed = [clock for clock in clocks if not clock.met]
        if missed:
            return {**changes, **_too_slow(missed[0], missed[0] is clocks[0])}
        long = [path for path in crossings if not path.met]
        if long and self.plan.design.link == "usb":
            return {**changes, **_too_long(long[0])}
        return changes

    @staticmethod
    def _summary(report: dict[str, Any]) -> str:
        if report["bitstream"]:
            return f"{report['bitstream']['file']}, {report['bitstream']['bytes']} bytes"
        told = [f"{NAMES[kind]} {use['used']} of {use['available'] or '?'}" for kind, use in report["use"].items() if use["used"]]
        if report["fmax_mhz"]:
            told.insert(0, f"{report['fmax_mhz']} MHz where {report['pll_mhz']:g} is asked for")
        return ", ".join(told)


def _told_use(design: BoardDesign, told: str) -> str:
    """What a use of resources is, for people."""
    if design.link == "pcie":
        return f"estimate {told}, without the DMA core"
    return f"estimate {told}" if design.board.by_vendor else told


def _use_table(use: dict[str, Use]) -> dict[str, dict[str, int]]:
    return {kind: {"used": value.used, "available": value.available} for kind, value in use.items()}


def _failed(message: str, advice: str) -> dict[str, Any]:
    return {"status": FAILED, "message": message, "advice": advice}


def _overflow(use: dict[str, Use]) -> dict[str, Any] | None:
    over = {kind: value for kind, value in use.items() if value.overflows}
    if not over:
        return None
    told = ", ".join(f"{value.used} {NAMES[kind]} of {value.available}" for kind, value in over.items())
    memory = over.keys() <= {"block_rams", "large_rams"}
    what = "fewer weights (--weight-depth), a smaller --preset or fewer --lanes" if memory else "fewer --lanes or a smaller --preset"
    return {"status": OVERFLOW, "message": f"the design needs {told}", "advice": f"ask for {what}"}


def _too_slow(clock: Clock, engine: bool) -> dict[str, Any]:
    what = "the design" if engine else f"the clock {clock.name}"
    return {
        "status": TIMING_MISSED,
        "message": f"{what} reaches {clock.achieved:.2f} MHz where {clock.asked:.2f} is asked for",
        "advice": f"ask for --clock {int(clock.achieved)}, or try another --seed" if engine else "try another --seed",
    }


def _too_long(path: Crossing) -> dict[str, Any]:
    return {
        "status": TIMING_MISSED,
        "message": f"a path from {path.source} to {path.target} takes {path.delay:.2f} ns, a cycle of the faster clock {path.cycle:.2f} ns",
        "advice": "try another --seed",
    }


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _complaint(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if re.match(r"(ERROR|Error|error)\b|.*\b\w*Error: ", line)]
    return re.sub(r"^ERROR: ", "", errors[-1].strip()).rstrip(".") if errors else ""


def _phase(log: Path) -> str:
    """What a tool last said it was doing."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        said = re.match(r"Info: +([A-Za-z].*)|[\d.]+ (Executing .*)", line)
        if said is not None:
            return (said[1] or said[2])[:60]
    return ""


@contextmanager
def _watch(name: str, log: Path) -> Iterator[None]:
    """A line with the time spent and what the tool says, on a terminal alone."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.text import Text

    class Phase(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(_phase(log), style="dim")

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), Phase())
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as bar:
        bar.add_task(name, total=None)
        yield
