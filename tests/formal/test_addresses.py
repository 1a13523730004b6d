# SPDX-License-Identifier: Apache-2.0
"""The addresses of a lane array's commands lie in the weight block, the rows and the list of their instruction: by induction.

The solver chooses legal instructions, when each begins, lists and their lengths as they grow, and which rows matter.
"""

from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Module, Mux, Signal, Value
from frenn.firmware.isa import ARRAY_OPS, Op
from frenn.rtl_gen.drives import STREAMS
from frenn.rtl_gen.instruction import TAGS
from frenn.rtl_gen.issuer import LOOK, Issuer
from frenn.rtl_gen.neurons import LIST_LATENCY
from frenn.rtl_gen.pipeline import delay
from proofs import Bench, ongoing, plant, prove, refute
from small_engine import small_engine

LANES = 4
PARAMETERS = small_engine(LANES)
ROWS, COLUMNS = 3 * LANES, 7
"""Of the largest block: as a length has 12 bits whatever the block, more would be alike."""
READ = 1 + LIST_LATENCY
"""Cycles from the choice of a source until the list gives it; its command goes out in the cycle after the next."""
DEPTH = READ + 4
FAULT_DEPTH = 26
NEVER = ("no update is ever asked for", "no source is ever asked for while its list is followed")
"""What must not hold."""


def build(component: Any = Issuer) -> Bench:
    bench = Bench()
    dut = component(PARAMETERS)
    taps: dict[str, list[Value]] = {}

    def tapped(module: Module, value: Any, cycles: int, name: str) -> Value:
        """`delay`, whose registers claims can name."""
        taps[name] = [Value.cast(value)]
        for index in range(cycles):
            taps[name].append(delay(module, taps[name][-1], 1, f"{name}_{index}"))
        return taps[name][-1]

    inner = bench.add(dut, stubs={"delay": tapped})
    m, now = bench.m, inner["now"]
    given = dut.instruction
    bench.drive(*(getattr(dut, f"{name}_tag") for name in STREAMS))
    bench.drive(given, dut.rate, dut.entry_index, dut.entry_value, dut.count, dut.walk, dut.walk_idle)
    bench.drive(dut.changes_length, dut.states_length)
    bench.drive(dut.row, dut.changed_block, dut.valued_block, dut.start)
    fsm = inner["fsms"][0]

    def at(*states: str) -> Value:
        return ongoing(fsm, *states)

    def ago(value: Any, cycles: int) -> Value:
        for _ in range(cycles):
            value = bench.past(value)
        return Value.cast(value)

    def blocks(instruction: Any) -> Value:
        return (instruction.rows + (LANES - 1)) >> (LANES.bit_length() - 1)

    def legal(instruction: Any) -> Value:
        some = (instruction.rows != 0) & (instruction.rows <= ROWS) & (instruction.columns != 0) & (instruction.columns <= COLUMNS)
        return (
            instruction.op.matches(*ARRAY_OPS)
            & some
            & (instruction.weights + blocks(instruction) * instruction.columns <= PARAMETERS.weight_depth)
            & (instruction.source + instruction.columns <= PARAMETERS.neuron_depth)
            & (instruction.row + blocks(instruction) <= PARAMETERS.row_depth)
        )

    # What the sequencer and the lists keep to.
    following = inner["following"]
    ready = ~dut.issuing & (dut.complete & following).any()
    bench.assume(~dut.start | (legal(given) & ready))
    # The issuer has decoded its operation and compared it by then.
    bench.assume(~dut.start | (bench.count(1, 0, 2, "stood") == 2))
    bench.assume(bench.always(~dut.start | ((Value.cast(given) == bench.past(given)) & (Value.cast(given) == ago(given, 2)))))
    follows, issue, transposed = inner["list_follows"], inner["issue"], inner["transposed"]
    bench.assume(~at("LIST") | (inner["look"] != 0) | (dut.count <= now.columns))
    walked = Mux(now.full, dut.states_length, dut.changes_length)
    bench.assume(~follows | (walked <= now.columns))
    bench.assume(bench.always(~(follows & bench.past(follows & at("FOLLOW"))) | (walked >= bench.past(walked))))
    listed = ago(issue & ~transposed & ~inner["empty"], READ)
    bench.assume(~listed | (dut.entry_index < ago(now.columns, READ)))

    # How far the walk is.
    place, left, base, done = inner["inner"], inner["left"], inner["base"], Signal(range(ROWS))
    m.d.comb += done.eq(dut.block - now.row)
    walking = dut.issuing
    bench.claim("the instruction is a legal one", ~walking | legal(now))
    for op, flag in ((Op.TRANSPOSED, transposed), (Op.UPDATE, inner["update"]), (Op.FORWARD, inner["forward"])):
        bench.claim(f"it is known whether it is {op.name}", ~walking | (flag == (now.op == op)))
    bench.claim("no more row blocks than there are", ~walking | (done < blocks(now)))
    # A block's address comes a cycle after its number.
    begins = base + Mux(inner["moved"], now.columns, 0)
    bench.claim("the block begins where it lies", ~walking | (begins == now.weights + done * now.columns))
    bench.claim("a tag is one of those that there are", dut.latest < TAGS)
    bench.claim("the next one is known", following == 1 << Mux(dut.latest == TAGS - 1, 0, dut.latest + 1))
    for op, flag in inner["decoded"].items():
        bench.claim(f"{op.name} is known from the cycle before", bench.always(flag == (bench.past(given.op) == op)))
    bench.claim("so many rows are left", ~walking | (left + LANES * done == now.rows))
    length, ahead = inner["length"], inner["inner_left"]
    bench.claim("the last block is known", ~at("CHOOSE", "RUN") | (inner["final"] == (left <= LANES)))
    bench.claim("so are its rows", ~at("CHOOSE", "RUN") | (inner["rows"] == Mux(left > LANES, LANES, left)))
    bench.claim("no list is longer than its layer", ~at("FOLLOW", "REST", "BLOCK", "CHOOSE", "RUN") | (length <= now.columns))
    bench.claim("a list of one source is known", ~at("CHOOSE") | (inner["at_most_one"] == (length <= 1)))
    bench.claim("so is an empty one", ~at("CHOOSE") | (inner["none_at_all"] == (length == 0)))
    bench.claim("as many sources are left", ~at("RUN") | (place + ahead <= now.columns))
    bench.claim("the last source is known", ~at("RUN") | (inner["single"] == (ahead <= 1)))
    bench.claim("there is one to come", ~at("RUN") | (ahead != 0) | (inner["empty"] & (place == 0)))
    bench.claim("an empty list gives nothing", ~at("BEGIN", "FOLLOW", "LIST", "REST") | ~inner["empty"])
    bench.claim("a transposed pass reads no list", ~at("FOLLOW", "LIST", "REST") | ~transposed)
    bench.claim("nor does it follow one", ~walking | ~transposed | ~follows)
    bench.claim("a forward pass alone follows one", ~at("FOLLOW", "REST") | inner["forward"])
    bench.claim("nothing is read at the start", ~at("BEGIN") | ((place == 0) & (done == 0)))
    bench.claim("nor before a length is known", ~at("LIST") | (place == 0))
    # At a start they begin anew, a cycle late.
    counted = at("BEGIN", "FOLLOW", "REST") & ~inner["settles"]
    bench.claim("they have begun", ~at("FOLLOW", "REST") | ~inner["settles"])
    bench.claim("the source after the next is known", ~counted | (inner["next_inner"] == place + 1))
    bench.claim("it is known whether one was issued", ~counted | (inner["some_issued"] == (place != 0)))
    bench.claim("it is known whether one is left", ~at("REST") | (inner["one_left"] == (length == place + 1)))
    bench.claim("so is the length that is needed", ~counted | at("REST") | (inner["needed"] == place + 3))
    bench.claim("what is followed is there", ~at("FOLLOW") | ~follows | (place == 0) | (place < walked))
    bench.claim("what comes next is there", ~at("FOLLOW") | ~follows | ~inner["lead"] | (place + 1 < walked))
    bench.claim("what was followed was there", ~at("FOLLOW") | follows | (place == 0) | (place < length))
    bench.claim("there is more of what was followed", ~at("REST") | (place < length))
    bench.claim("no list is followed but in the state for it", ~at("LIST", "REST", "BLOCK", "CHOOSE", "RUN") | ~follows)
    bench.claim("a source is one of the layer", ~issue | (place < now.columns))

    # The first column is handed on `READ` cycles after the start.
    age = bench.count(1, dut.start, READ, "age")
    for cycles, begun in enumerate(taps["begun"][1:]):
        bench.claim(f"it began {cycles + 1} cycles ago", ~begun | (age <= cycles))
    bench.claim("the age is one", age <= READ)
    bench.claim("the wait for the list begins", ~at("BEGIN") | (inner["look"] == LOOK - 2))
    bench.claim("the wait for the list is no longer than it takes", ~at("LIST") | (inner["look"] <= LOOK - 2))
    bench.claim("the list is awaited", ~at("LIST") | ~inner["update"] | (age + inner["look"] >= LOOK - 2))
    handed = ~walking | (age != READ) | (inner["first_column"] == now.column)
    bench.claim("the first column is handed on", handed)
    bench.claim("it is there when it is used", ~at("BLOCK", "CHOOSE", "RUN") | ~inner["update"] | (age == READ))

    # The promises.
    command = dut.command
    first, reach = ago(now.weights, READ + 2), ago(now.weights + blocks(now) * now.columns, READ + 2)
    bench.claim("an address is in the weight block", ~command.valid | ((command.address >= first) & (command.address < reach)))
    row, rows = ago(now.row, READ + 2), ago(blocks(now), READ + 2)
    bench.claim("a row is of the layer", ~command.valid | ((command.row >= row) & (command.row < row + rows)))
    here = ago(issue & ~transposed & ~inner["empty"], 1)
    source, columns = ago(now.source, 1), ago(now.columns, 1)
    bench.claim("an entry is of the list", ~here | ((dut.list_address >= source) & (dut.list_address < source + columns)))
    column, width = ago(now.column, READ + 2), ago(now.columns, READ + 2)
    inside = (command.column - column)[: len(command.column)] < width
    bench.claim(NEVER[0], ~(command.valid & command.update))
    bench.claim(NEVER[1], ~(issue & at("FOLLOW")))
    bench.claim("a random word is of the block", ~(command.valid & command.update) | inside)
    return bench


def test_every_walk(tmp_path: Path) -> None:
    prove(build(), tmp_path, depth=DEPTH, but=NEVER)


@pytest.mark.parametrize("claim", NEVER)
def test_some_walk(tmp_path: Path, claim: str) -> None:
    """The assumptions leave commands, and lists to follow."""
    refute(build(), tmp_path, depth=FAULT_DEPTH, claim=claim)


@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        ("base.eq(base + now.columns)", "base.eq(base + now.columns + 1)", "an address is in the weight block"),
        ("with m.If(moved):", "with m.If(next_block):", "an address is in the weight block"),
        ("final.eq(left <= lanes)", "final.eq(left < lanes)", "a row is of the layer"),
        ("self.changes_length >= needed", "self.changes_length >= inner", "an entry is of the list"),
        ('delay(m, self.start, read, "begun")', 'delay(m, self.start, read - 3, "begun")', "a random word is of the block"),
    ],
    ids=["stride", "a cycle early", "one block more", "ahead of the list", "too early"],
)
def test_fault(tmp_path: Path, old: str, new: str, claim: str) -> None:
    refute(build(plant(Issuer, (old, new))), tmp_path, depth=FAULT_DEPTH, claim=claim)
