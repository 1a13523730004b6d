# SPDX-License-Identifier: Apache-2.0
"""The neuron unit reads and writes nothing but the neurons, the rows and the list of its instruction's layer: by induction.

The solver chooses legal instructions, when each begins, when drives are there, and what all memories and the arithmetic say. Of the output
error it is assumed that it tells no more elements than there are classes, in their order, and none before it began or after it is done.
"""

from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import Out
from frenn.firmware.isa import NEURON_OPS, WALK_OPS, Op
from frenn.rtl_gen.neurons import DRAIN, ERROR_DRAIN, RESULT, ROUNDED, TOLD, NeuronUnit
from frenn.rtl_gen.pipeline import delay
from frenn.rtl_gen.primitives.block_memory import BlockMemory
from proofs import Bench, plant, prove, refute, same, within
from small_engine import small_engine
from stand_ins import anything, ports

LANES = 4
ROWS = 3 * LANES
PARAMETERS = small_engine(LANES)
DEPTH = 2
FAULT_DEPTH = 40
NEVER = ("no neuron is ever walked over", "no error is ever written")
"""What must not hold."""
PARTS = {
    "drives": "Drives",
    "states": "BlockMemory",
    "deviations": "BlockMemory",
    "changes": "EventList",
    "nonzero": "EventList",
    "inputs": "BlockMemory",
    "error": "OutputError",
    "first_round": "RoundSaturate",
    "second_round": "RoundSaturate",
    "activation": "Activation",
    "multiplier": "Multiplier",
}


def build(component: Any = NeuronUnit) -> Bench:
    bench = Bench()
    m, dut = bench.m, component(PARAMETERS)
    taps: dict[str, list[Value]] = {}

    def tapped(module: Module, value: Any, cycles: int, name: str, **options: Any) -> Value:
        """`delay`, whose registers claims can name."""
        taps[name] = [Value.cast(value)]
        for index in range(cycles):
            taps[name].append(delay(module, taps[name][-1], 1, f"{name}_{index}", **options))
        return taps[name][-1]

    kinds = component.elaborate.__globals__
    inner = bench.add(dut, stubs={"delay": tapped, **{kind: anything(kinds[kind]) for kind in set(PARTS.values())}})
    bench.drive(*ports(dut), *(port for name in PARTS for port in ports(inner[name], Out)))
    now, given, error = inner["instruction"], dut.instruction, inner["error"]

    # What the sequencer keeps to, and what the output error does.
    legal = (given.rows != 0) & (given.rows <= ROWS) & (given.target + given.rows <= PARAMETERS.neuron_depth)
    legal &= given.op.matches(*NEURON_OPS) & (given.row + blocks(given) <= PARAMETERS.row_depth)
    bench.assume(~dut.start | (dut.idle & legal))
    bench.assume(bench.always(~dut.start | (Value.cast(given) == bench.past(given))))
    # Its operation has been decoded by then.
    bench.assume(~dut.start | (bench.count(1, 0, 1, "stood") == 1))
    for op, flag in inner["decoded"].items():
        bench.claim(f"{op.name} is known from the cycle before", bench.always(flag == (bench.past(given.op) == op)))
    erring, walking, left, drain = inner["erring"], inner["walking"], inner["left"], inner["drain"]
    told = bench.count(error.error_valid, dut.start, ROWS, "told")
    bench.assume(~error.error_valid | (erring & (now.op == Op.ERROR) & (told < now.rows) & (error.error_index == told)))
    bench.assume(~error.done | erring)

    # Neurons of which the walk, or the output error, has told, and which are on their way to the memories.
    valid, index, neuron = inner["valid"], inner["index"], inner["neuron"]
    walked = [taps[f"walked_{cycle}"][1] for cycle in range(1, TOLD)]
    erred = [*taps["erred_valid"][1:], taps["erred_found"][1]]
    under_way = sum((*walked, *erred, valid))
    serial = now.op.matches(*WALK_OPS)
    sent = Mux(serial, now.rows - left, told)
    begun = Signal()
    with m.If(dut.start):
        m.d.sync += begun.eq(1)

    some = (index < now.rows) & within(neuron, now.target, now.rows)
    written = inner["states"].write_enable | inner["deviations"].write_enable
    bench.claim("a neuron that is written is of the layer", ~written | some)
    bench.claim("it is where its number says", ~valid | (neuron == now.target + index))
    bench.claim("a row is of the layer, and a lane of the row", ~dut.rows.valid | row_of(dut.rows, index, now))
    pushed = inner["push_change"] | inner["push_value"]
    bench.claim("a list has no more than the layer", ~pushed | (index < now.rows))
    bench.claim("a drive that is asked for is of the layer", ~inner["stepping"] | within(inner["walk"], now.target, now.rows))
    # Where the walk is, from when a neuron is stepped over until its state and deviation have been asked for.
    places = [inner["walk"], *(taps[f"address_{cycle}"][1] for cycle in range(1, RESULT + 1))]
    steps = [inner["stepping"], *walked]
    for cycle in range(1, RESULT + 1):
        bench.claim(f"a place is known for {cycle} cycles", ~steps[cycle] | within(places[cycle], now.target, now.rows))
    early, late = (cycle - BlockMemory.latency for cycle in (ROUNDED, RESULT + 1))
    state, deviation = inner["states"].read_address, inner["deviations"].read_address
    asks = {
        "the slope of a deviation": (steps[early] & inner["deviating"], state),
        "a state that is compared or copied": (steps[late] & ~inner["deviating"], state),
        "a deviation that is compared": (steps[late], deviation),
        "a deviation that an error replaces": (taps["erred_valid"][1], deviation),
    }
    for name, (asked, address) in asks.items():
        bench.claim(f"{name} is of the layer", ~asked | within(address, now.target, now.rows))
    bench.claim("an error is where its number says", ~taps["erred_valid"][1] | same(inner["erred_address"], now.target + told - 1))
    for kind, flag in (("ACTIVATE", "activating"), ("DEVIATE", "deviating"), ("ERROR", "of_error")):
        bench.claim(f"it is known whether it is {kind}", ~begun | (inner[flag] == (now.op == Op[kind])))
    bench.claim("the host reads while none is on its way", ~inner["host"] | (under_way == 0))
    bench.claim(NEVER[0], ~walked[0])
    bench.claim(NEVER[1], ~(valid & ~serial))

    kept = (now.rows != 0) & (now.rows <= ROWS) & (now.target + now.rows <= PARAMETERS.neuron_depth)
    kept &= now.op.matches(*NEURON_OPS) & (now.row + blocks(now) <= PARAMETERS.row_depth)
    bench.claim("the instruction is a legal one", ~begun | kept)
    bench.claim("nothing is begun before the first", begun | dut.idle & (under_way == 0) & ~walking & ~erring)
    bench.claim("so many have been written", ~begun | (index + under_way == sent) & (index <= now.rows))
    bench.claim("there are no more errors than neurons", ~begun | (told <= now.rows))
    bench.claim("their places are known", ~begun | same(neuron, now.target + index))
    bench.claim("their rows are", ~begun | same(dut.row, now.row + (index >> 2)) & (inner["lane"] == index[:2]))
    bench.claim(
        "the walk is at the next one", ~walking | (left != 0) & (left <= now.rows) & same(inner["walk"], now.target + now.rows - left)
    )
    bench.claim("it knows the last one", ~walking | (inner["final_step"] == (left == 1)))
    bench.claim("only walks walk", ~walking | serial & ~erring)
    bench.claim("only errors err", ~erring | ~serial)
    bench.claim("a walk is over", ~begun | ~serial | walking | (left == 0))
    bench.claim("what is over drains", dut.idle == ~(walking | erring | (drain != 0)))
    bench.claim("it drains as long as it takes", drain <= DRAIN)
    bench.claim("nothing drains before", ~(walking | erring) | (drain == 0))
    for cycle, flag in enumerate((*walked, valid & serial), 1):
        bench.claim(f"a neuron is on its way for {cycle} cycles", ~flag | walking | (drain > DRAIN - cycle))
    for cycle, flag in enumerate((*erred, valid & ~serial), 1):
        bench.claim(f"an error is on its way for {cycle} cycles", ~flag | erring | (drain > ERROR_DRAIN - cycle))
    bench.claim("no error is on its way in a walk", ~serial | (sum(erred) == 0))
    bench.claim("no neuron is but in a walk", serial | (sum(walked) == 0))
    bench.claim("a pair is told with its neuron", ~pushed | valid)
    return bench


def blocks(instruction: Any) -> Value:
    return (instruction.rows + (LANES - 1)) >> 2


def row_of(rows: Any, index: Value, instruction: Any) -> Value:
    """Whether the row and lane of a neuron are written."""
    return within(rows.address, instruction.row, blocks(instruction)) & (rows.lane == index[:2])


def test_every_instruction(tmp_path: Path) -> None:
    prove(build(), tmp_path, depth=DEPTH, but=NEVER)


@pytest.mark.parametrize("claim", NEVER)
def test_some_instruction(tmp_path: Path, claim: str) -> None:
    """The assumptions leave walks and errors that reach the memories."""
    refute(build(), tmp_path, depth=FAULT_DEPTH, claim=claim)


@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        ("neuron.eq(neuron + 1)", "neuron.eq(neuron + 2)", "a neuron that is written is of the layer"),
        ("neuron.eq(self.instruction.target)", "neuron.eq(self.instruction.source)", "a neuron that is written is of the layer"),
        ("lane == parameters.lanes - 1", "lane == parameters.lanes - 2", "a row is of the layer, and a lane of the row"),
        ("walk.eq(self.instruction.target)", "walk.eq(0)", "a drive that is asked for is of the layer"),
        ("final_step.eq(left == 2)", "final_step.eq(left == 1)", "a drive that is asked for is of the layer"),
        ("[index.eq(0), lane.eq(0),", "[lane.eq(0),", "a list has no more than the layer"),
        ("host.eq(self.idle)", "host.eq(~activating)", "a state that is compared or copied is of the layer"),
        ("addresses[ROUNDED - BlockMemory.latency]", "instruction.source", "the slope of a deviation is of the layer"),
        ("instruction.target + error.error_index", "error.error_index", "a deviation that an error replaces is of the layer"),
    ],
    ids=["one in two", "elsewhere", "short rows", "from the first", "one more", "goes on", "the host's", "a source", "the first"],
)
def test_fault(tmp_path: Path, old: str, new: str, claim: str) -> None:
    refute(build(plant(NeuronUnit, (old, new))), tmp_path, depth=FAULT_DEPTH, claim=claim)
