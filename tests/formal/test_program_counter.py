# SPDX-License-Identifier: Apache-2.0
"""Both engines take every instruction from the program that was started, from its first word on: by induction.

The solver chooses the program, and when the units let it go on. A program ends at its last instruction, and a NEXT has a LOOP before it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Mux, Signal, Value
from amaranth.lib.wiring import Out
from frenn.firmware.isa import ARRAY_OPS, INSTRUCTION_WORDS, NEURON_OPS, Op
from frenn.rtl_gen import serial_engine
from frenn.rtl_gen.instruction import INSTRUCTION
from frenn.rtl_gen.primitives.block_memory import BlockMemory
from frenn.rtl_gen.sequencer import FETCH, Sequencer
from frenn.rtl_gen.serial_engine import SerialEngine
from proofs import Bench, ongoing, plant, prove, refute
from small_engine import small_engine
from stand_ins import anything, ports

PARAMETERS = small_engine(1)
PROGRAM_DEPTH = PARAMETERS.program_depth
DEPTH = 6
FAULT_DEPTH = 40
PROMISE = "what is taken is the program's, and the next of it"
NEVER = ("no program jumps back", "no program ends")
"""What must not hold."""
GO_ON = (Op.SWEEP, Op.LOOP, Op.NEXT, Op.STOP_IF_RIGHT, *ARRAY_OPS, *NEURON_OPS)


class Program:
    """The program that the solver chose: from ``entry`` to ``last``, with a first ``loop`` somewhere, or behind it for none."""

    def __init__(self, bench: Bench) -> None:
        self.entry, self.last, self.loop = (bench.constant(range(PROGRAM_DEPTH), name) for name in ("entry", "last", "loop"))
        bench.assume((self.entry <= self.last) & (self.entry <= self.loop))

    def holds(self, address: Value) -> Value:
        return (address >= self.entry) & (address <= self.last)

    def may_have(self, address: Value, op: Value) -> Value:
        """Whether an operation may stand at an address of the program."""
        ends = Mux(address == self.last, ~op.matches(*GO_ON), op.matches(*GO_ON))
        loops = Mux(address == self.loop, op == Op.LOOP, 1)
        return ~self.holds(address) | (ends & loops & ((op != Op.NEXT) | (address > self.loop)))


def build(component: Any = Sequencer) -> Bench:
    """The sequencer, whose address is an instruction's."""
    bench = Bench()
    m, dut = bench.m, component(PARAMETERS)
    inner = bench.add(dut, stubs={"BlockMemory": anything(BlockMemory)})
    memory, here, waited = inner["program"], inner["here"], inner["waited"]
    bench.drive(*(port for port in ports(dut) if port is not dut.entry), *ports(memory, Out))
    program = Program(bench)
    m.d.comb += dut.entry.eq(program.entry)
    fetched = INSTRUCTION(Value.cast(memory.read_data)[: INSTRUCTION.size])
    address = [memory.read_address]
    for _ in range(BlockMemory.latency):
        address.append(bench.past(address[-1]))
    bench.assume(program.may_have(address[-1], fetched.op))

    at = {state: ongoing(inner["fsms"][0], state) for state in ("IDLE", "FETCH", "COMPARE", "LOOK", "EXECUTE")}
    bench.claim(PROMISE, ~(at["FETCH"] & (waited == FETCH - 1)) | (program.holds(here) & (address[-1] == here)))
    bench.claim(NEVER[0], ~(at["EXECUTE"] & inner["ops"][Op.NEXT] & inner["decides"] & inner["again"]))
    bench.claim(NEVER[1], bench.always(~at["IDLE"] | ~bench.past(at["EXECUTE"])))

    for cycles in range(1, FETCH):
        bench.claim(f"it has stood for {cycles} cycles", bench.always(at["IDLE"] | (waited < cycles) | (address[cycles] == here)))
    held, op = at["COMPARE"] | at["LOOK"] | at["EXECUTE"], dut.instruction.op
    follow(bench, program, fetching=at["FETCH"], held=held, here=here, body=inner["body"], op=op)
    flags = (inner["for_array"] == op.matches(*ARRAY_OPS)) & (inner["for_neurons"] == op.matches(*NEURON_OPS))
    for kind, flag in inner["ops"].items():
        flags &= flag == (op == kind)
    bench.claim("its operation is known", ~held | (flags & (inner["ends"] == ~op.matches(*GO_ON))))
    return bench


def follow(bench: Bench, program: Program, *, fetching: Value, held: Value, here: Value, body: Value, op: Value) -> None:
    """Where a counter of instructions is while one is fetched, and after it has been until it is executed."""
    last = (here - 1)[: len(here)]
    bench.claim("the next one is of the program", ~fetching | program.holds(here))
    bench.claim("so is the one that was taken", ~held | program.holds(last))
    bench.claim("it may stand there", ~held | program.may_have(last, op))
    looped = (body > program.loop) & (body <= program.last)
    bench.claim("a loop's body lies behind its LOOP", ~(fetching & (here > program.loop) | held & (last > program.loop)) | looped)


def build_serial(component: Any = SerialEngine) -> Bench:
    """The engine of one lane, whose address is a word's."""
    bench = Bench()
    m, dut = bench.m, component(PARAMETERS)
    kinds = ("SmallMemory", "SinglePortMemory", "SerialProducts", "SerialNeurons", "SerialCounters")
    inner = bench.add(dut, stubs={name: anything(getattr(serial_engine, name)) for name in kinds})
    memory, here, part = inner["program"], inner["here"], inner["part"]
    parts = (inner[name] for name in ("weights", "drives", "states", "deviations", "changes", "products", "neurons", "counters"))
    bench.drive(*(port for port in ports(dut) if port is not dut.entry))
    bench.drive(*(port for component in (memory, *parts) for port in ports(component, Out)))
    program = Program(bench)
    m.d.comb += dut.entry.eq(program.entry)
    address = bench.past(memory.read_address)

    # The number of the instruction that is fetched, or of the next one.
    number, body, looped = Signal(range(PROGRAM_DEPTH + 1)), Signal(range(PROGRAM_DEPTH + 1)), Signal()
    at = {state: ongoing(inner["fsms"][0], state) for state in ("IDLE", "BEGIN", "FETCH", "EXECUTE", "WAIT")}
    op = inner["instruction"].op
    jumps = at["EXECUTE"] & (op == Op.NEXT) & (inner["turns"] != 1) & (inner["neurons"].changed | ~dut.skip_rest)
    with m.If(at["IDLE"]):
        m.d.sync += [number.eq(program.entry), looped.eq(0)]
    with m.If(at["FETCH"] & (part == INSTRUCTION_WORDS)):
        m.d.sync += number.eq(number + 1)
    with m.If(at["EXECUTE"] & (op == Op.LOOP)):
        m.d.sync += [body.eq(number), looped.eq(1)]
    with m.If(jumps):
        m.d.sync += number.eq(body)
    first = INSTRUCTION_WORDS * number
    bench.assume(~at["FETCH"] | (part != 1) | (address != first) | program.may_have(number, memory.read_data[: len(op)]))

    taken = at["FETCH"] & (part != 0)
    bench.claim(PROMISE, bench.always(~taken | (program.holds(number) & (address == first + part - 1))))
    bench.claim(NEVER[0], ~jumps)
    bench.claim(NEVER[1], bench.always(~at["IDLE"] | bench.past(at["IDLE"])))
    active = at["BEGIN"] | at["FETCH"] | at["EXECUTE"] | at["WAIT"]
    bench.claim("it is at its word", ~active | (here == first + Mux(at["FETCH"], part, 0)))
    bench.claim("no instruction has more", part <= INSTRUCTION_WORDS)
    bench.claim("it begins with the first", at["FETCH"] | (part == 0))
    bench.claim("the body is where it begins", ~looped | (inner["body"] == INSTRUCTION_WORDS * body))
    behind = Mux(at["EXECUTE"], number - 1, number) > program.loop
    bench.claim("there is one behind the LOOP", ~active | ~behind | looped)
    began = at["FETCH"] & (part > 1)
    bench.claim("its operation is one of the program's", ~began | program.may_have(number, op))
    goes_on = at["BEGIN"] | at["FETCH"] | at["WAIT"]
    follow(bench, program, fetching=goes_on, held=at["EXECUTE"], here=number, body=body, op=op)
    return bench


@pytest.mark.parametrize("bench", [build, build_serial])
def test_every_program(tmp_path: Path, bench: Callable[[], Bench]) -> None:
    prove(bench(), tmp_path, depth=DEPTH, but=NEVER)


@pytest.mark.parametrize("claim", NEVER)
@pytest.mark.parametrize("bench", [build, build_serial])
def test_some_program(tmp_path: Path, bench: Callable[[], Bench], claim: str) -> None:
    """The assumptions leave programs that jump, and programs that end."""
    refute(bench(), tmp_path, depth=FAULT_DEPTH, claim=claim)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("m.d.sync += here.eq(self.entry)", "pass"),
        ("here.eq(here + 1)", "here.eq(here + 2)"),
        ("m.If(waited == FETCH - 1)", "m.If(waited == FETCH - 2)"),
        ("[here.eq(body), waited.eq(0)]", "here.eq(body)"),
        ("with m.If(ends | (ops[", "with m.If((ops["),
        ("[body.eq(here), looped.eq(1)]", "looped.eq(1)"),
    ],
    ids=["elsewhere", "one in two", "too early", "not awaited", "endless", "old body"],
)
def test_fault(tmp_path: Path, old: str, new: str) -> None:
    refute(build(plant(Sequencer, (old, new))), tmp_path, depth=FAULT_DEPTH, claim=PROMISE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("here.eq(INSTRUCTION_WORDS * self.entry)", "here.eq(self.entry)"),
        ("body.eq(here), ", ""),
        ("with m.If(part == INSTRUCTION_WORDS):", "with m.If(part == INSTRUCTION_WORDS - 1):"),
        ('with m.Default():\n                        m.next = "END"', "with m.Default():\n                        pass"),
    ],
    ids=["elsewhere", "old body", "one word less", "endless"],
)
def test_fault_of_one_lane(tmp_path: Path, old: str, new: str) -> None:
    refute(build_serial(plant(SerialEngine, (old, new))), tmp_path, depth=FAULT_DEPTH, claim=PROMISE)
