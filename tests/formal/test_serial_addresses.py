# SPDX-License-Identifier: Apache-2.0
"""The units of the one-lane engine reach nothing but the weight block and the layers of their instruction: by induction.

The solver chooses legal instructions, which stand until they are done, what the memories hold, and when
counters and random words are ready.
"""

from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Mux, Value
from amaranth.lib.wiring import Out
from frenn.firmware.isa import ARRAY_OPS, OUTPUT_OPS, Op
from frenn.rtl_gen.serial_neurons import SerialNeurons
from frenn.rtl_gen.serial_products import SerialProducts
from proofs import Bench, ongoing, plant, prove, refute, same, within
from small_engine import small_engine
from stand_ins import anything, ports

ONE_LANE = small_engine(1)
DEPTH = 2
FAULT_DEPTH = 30
SIDE = 6
"""Rows and columns of the largest block: as a length has 12 bits whatever the block, more would be alike."""

NEVER = ("no neuron but the first is ever read", "no product is ever added", "no weight is ever written", "no column is ever summed")
"""What must not hold."""


def stand(bench: Bench, dut: Any, legal: Value) -> None:
    """An instruction is legal when it starts, and stands until its unit is idle."""
    given = Value.cast(dut.instruction)
    bench.assume(~dut.start | (dut.idle & legal))
    bench.assume(bench.always(bench.past(dut.idle & ~dut.start) | (given == bench.past(given))))
    bench.claim("the instruction is a legal one", dut.idle | legal)


def build_neurons(component: Any = SerialNeurons) -> Bench:
    bench = Bench()
    dut = component(ONE_LANE)
    inner = bench.add(dut, stubs={"Multiplier": anything(component.elaborate.__globals__["Multiplier"])})
    bench.drive(*ports(dut), *ports(inner["multiplier"], Out))
    now = dut.instruction
    some = (now.rows != 0) & (now.rows <= SIDE) & (now.target + now.rows <= ONE_LANE.neuron_depth)
    stand(bench, dut, some & now.op.matches(Op.ACTIVATE, Op.DEVIATE, *OUTPUT_OPS))

    index, left = inner["index"], inner["rows_left"]
    walking = ~ongoing(inner["fsms"][0], "IDLE", "COUNT WALK")
    bench.claim("a neuron is of the layer", ~walking | within(dut.neuron, now.target, now.rows))
    written = dut.state_write | dut.deviation_write | dut.change_write
    bench.claim("none is written while nobody walks", walking | ~written)
    bench.claim("it is where its number says", ~walking | same(dut.neuron, now.target + index))
    bench.claim("as many are left", ~walking | (left != 0) & (index + left == now.rows))
    bench.claim(NEVER[0], ~(walking & (index != 0)))
    return bench


def build_products(component: Any = SerialProducts) -> Bench:
    bench = Bench()
    dut = component(ONE_LANE)
    kinds = component.elaborate.__globals__
    inner = bench.add(dut, stubs={name: anything(kinds[name]) for name in ("Multiplier", "SerialRandom")})
    bench.drive(*ports(dut), *ports(inner["multiplier"], Out), *ports(inner["random"], Out))
    bench.assume(bench.always(dut.inputs == bench.past(dut.inputs)))
    now, neurons = dut.instruction, ONE_LANE.neuron_depth
    transposed, update = now.op == Op.TRANSPOSED, now.op == Op.UPDATE
    many, across = Mux(transposed, now.columns, now.rows), Mux(transposed, now.rows, now.columns)
    some = (now.rows != 0) & (now.rows <= SIDE) & (now.columns <= SIDE) & ((now.columns != 0) | (now.op == Op.FORWARD) & now.first)
    legal = some & now.op.matches(*ARRAY_OPS) & (now.weights + now.rows * now.columns <= ONE_LANE.weight_depth)
    # Without columns there are neither weights nor sources.
    legal &= (now.source < neurons) & (now.weights < ONE_LANE.weight_depth) & (now.source + across <= neurons)
    legal &= update | (now.target + many <= neurons)
    stand(bench, dut, legal & (~update | (dut.inputs + now.row + now.rows <= neurons)))

    at = {name: ongoing(inner["fsms"][0], name) for name in ("CLEAR", "SOURCE", "VALUE", "SHIFT", "RUN", "DRAIN", "NEXT")}
    rows = ongoing(inner["fsms"][0], "ROW", "KEPT", "MULTIPLY", "WRITE")
    going, left, reading = inner["going"], inner["inner_left"], inner["reading"]
    done, passed = many - left, across - inner["outer_left"]

    block = within(dut.weight_address, now.weights, now.rows * now.columns)
    bench.claim("a weight that is read is of the block", ~going[0] | block)
    bench.claim("so is one that is written", ~dut.weight_write | block)
    bench.claim("a source is of its layer", ~(at["SOURCE"] & (inner["outer_left"] != 0)) | within(dut.source_address, now.source, across))
    bench.claim("what a row keeps is of its layer", ~rows | within(dut.deviation_address, dut.inputs + now.row, now.rows))
    bench.claim("so is the state that it keeps", ~rows | dut.weight_write | within(dut.source_address, dut.inputs + now.row, now.rows))
    bench.claim("a drive that is written is of the layer", ~dut.drive_write | within(dut.drive_write_address, now.target, many))
    bench.claim("so is one that is read", ~going[-2] | within(dut.drive_read_address, now.target, many))
    for claim, never in zip(NEVER[1:], (dut.drive_write & ~inner["clearing"], dut.weight_write, going[0] & transposed), strict=True):
        bench.claim(claim, ~never)

    # Where it is within the block.
    before = at["CLEAR"] | at["SOURCE"]
    loop = at["VALUE"] | at["SHIFT"] | at["RUN"] | at["DRAIN"] | rows | at["NEXT"]
    bench.claim("a source is left", ~loop | (inner["outer_left"] != 0) & (passed < across))
    bench.claim("no more are than there were", ~(loop | before) | (inner["outer_left"] <= across))
    bench.claim("the source is known", ~(loop | before) | same(inner["source"], now.source + passed))
    stride, step = Mux(transposed, now.columns, 1), Mux(transposed, 1, now.columns)
    first = now.weights + passed * stride
    bench.claim("its first weight is known", ~loop | same(inner["base"], first))
    bench.claim("and before it is one", ~before | (inner["outer_left"] == 0) | same(inner["base"], first))
    bench.claim("a product is left", ~(at["CLEAR"] | at["RUN"] | rows) | (left != 0) & (left <= many))
    bench.claim("all of them are at first", ~at["SHIFT"] | (left == many))
    bench.claim("none is at last", ~at["DRAIN"] | (left == 0))
    bench.claim("the weight is known", ~(at["SHIFT"] | at["RUN"] | rows) | same(dut.weight_address, first + done * step))
    bench.claim("the row is known", ~(at["SHIFT"] | rows) | ~update | same(dut.deviation_address, dut.inputs + now.row + done))
    bench.claim("only an UPDATE goes by rows", ~rows | update)
    bench.claim("only others go by products", ~(at["CLEAR"] | at["RUN"] | at["DRAIN"]) | ~update)
    under_way = sum(going[1:-1])
    bench.claim("the drive is known", ~(at["RUN"] | at["DRAIN"]) | same(reading, now.target + done - under_way))
    bench.claim("it is when they are set to zero", ~at["CLEAR"] | same(reading, now.target + done))
    bench.claim("and at first", ~at["SHIFT"] | update | same(reading, now.target))
    bench.claim("no more are under way than went", ~(at["RUN"] | at["DRAIN"]) | (sum(going[1:]) <= done))
    bench.claim("the one that is written was read", ~going[-1] | same(inner["writing"], reading - 1))
    bench.claim("nothing is under way elsewhere", at["RUN"] | at["DRAIN"] | ~sum(going[1:]).bool())
    return bench


@pytest.mark.parametrize("build", [build_neurons, build_products])
def test_every_walk(tmp_path: Path, build: Any) -> None:
    prove(build(), tmp_path, depth=DEPTH, but=NEVER)


@pytest.mark.parametrize(
    ("build", "claim"),
    [(build_neurons, NEVER[0]), *((build_products, claim) for claim in NEVER[1:])],
)
def test_some_walk(tmp_path: Path, build: Any, claim: str) -> None:
    """The assumptions leave instructions to execute."""
    refute(build(), tmp_path, depth=FAULT_DEPTH, claim=claim)


@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        ("m.If(rows_left == 1)", "m.If(rows_left == 0)", "a neuron is of the layer"),
        ("self.neuron.eq(self.neuron + 1), index", "self.neuron.eq(self.neuron + 2), index", "a neuron is of the layer"),
        ("m.d.sync += [*rewind(), scanning.eq(0), summing", "m.d.sync += [scanning.eq(0), summing", "a neuron is of the layer"),
    ],
    ids=["one more", "one in two", "not rewound"],
)
def test_fault_of_neurons(tmp_path: Path, old: str, new: str, claim: str) -> None:
    refute(build_neurons(plant(SerialNeurons, (old, new))), tmp_path, depth=FAULT_DEPTH, claim=claim)


@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        (
            "address.eq(address + Mux(transposed, 1, now.columns))",
            "address.eq(address + now.columns)",
            "a weight that is read is of the block",
        ),
        ("base + Mux(transposed, now.columns, 1)", "base + now.columns", "a weight that is read is of the block"),
        ("address.eq(base)", "address.eq(address)", "so is one that is written"),
        ("source.eq(source + 1)", "source.eq(source + 2)", "a source is of its layer"),
        ("row.eq(self.inputs + now.row)", "row.eq(now.row)", "what a row keeps is of its layer"),
        (
            "                    reading.eq(now.target),\n                    row",
            "                    row",
            "a drive that is written is of the layer",
        ),
        ("with m.If(going[-2]):", "with m.If(going[0]):", "so is one that is read"),
    ],
    ids=["by columns", "stride", "not again", "one in two", "inputs too", "goes on", "too early"],
)
def test_fault_of_products(tmp_path: Path, old: str, new: str, claim: str) -> None:
    refute(build_products(plant(SerialProducts, (old, new))), tmp_path, depth=FAULT_DEPTH, claim=claim)
