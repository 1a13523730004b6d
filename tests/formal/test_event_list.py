# SPDX-License-Identifier: Apache-2.0
"""A list of events gives back what was appended to it, and its length, whatever walks over other layers did: by induction.

The solver chooses one layer with its place, one of its pairs, and when every layer is walked over, written and read. Of each memory one
word is kept, that of the pair or of the layer's length; others say what the solver likes.
"""

from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Cat, Mux, Signal, Value
from frenn.rtl_gen.event_list import EventList
from frenn.rtl_gen.primitives.block_memory import BlockMemory
from proofs import Bench, plant, prove, refute
from stand_ins import WatchedMemory

VALUE_BITS, DEPTH_OF_LISTS, NODES = 3, 16, 4
DEPTH = BlockMemory.latency + 2
FAULT_DEPTH = 14
NEVER = ("no pair is ever read back", "no length is ever read back")
"""What must not hold."""


def build(component: Any = EventList) -> Bench:
    bench = Bench()
    m, dut = bench.m, component(VALUE_BITS, DEPTH_OF_LISTS, NODES)
    inner = bench.add(dut, stubs={"BlockMemory": WatchedMemory})
    bench.drive(dut.begin, dut.base, dut.node, dut.push, dut.index, dut.value, dut.read_address, dut.read_node)
    entries, counts = inner["entries"], inner["counts"]
    bench.drive(entries.noise, counts.noise)

    # The layer that is watched, and the place of the pair in its list.
    base, place = (bench.constant(range(DEPTH_OF_LISTS), name) for name in ("layer_base", "place"))
    size, node = bench.constant(range(DEPTH_OF_LISTS + 1), "layer_size"), bench.constant(range(NODES), "layer")
    bench.assume((place < size) & (base + size <= DEPTH_OF_LISTS))
    m.d.comb += [entries.watched.eq(base + place), counts.watched.eq(node)]

    # Layers have places of their own, and no more pairs than places.
    given_size = bench.free(range(DEPTH_OF_LISTS + 1), "given_size")
    apart = (dut.base + given_size <= base) | (base + size <= dut.base)
    its_own = Mux(dut.node == node, (dut.base == base) & (given_size == size), apart)
    bench.assume(~dut.begin | ((dut.base + given_size <= DEPTH_OF_LISTS) & its_own))
    begun, mine, first, full = Signal(), Signal(), Signal.like(dut.base), Signal.like(given_size)
    pushed = bench.count(dut.push, dut.begin, DEPTH_OF_LISTS, "pushed")
    with m.If(dut.begin):
        m.d.sync += [begun.eq(1), mine.eq(dut.node == node), first.eq(dut.base), full.eq(given_size)]
    bench.assume(~dut.push | (begun & ~dut.begin & (pushed < full)))

    # What the watched layer's walks made of its list.
    known, walked, total, pair = Signal(), Signal(), Signal.like(pushed), Signal(len(Value.cast(dut.entry)))
    writes = dut.push & mine & (pushed == place)
    with m.If(writes):
        m.d.sync += [known.eq(1), pair.eq(Cat(dut.index, dut.value))]
    with m.If(dut.begin & (dut.node == node)):
        m.d.sync += [walked.eq(1), total.eq(0)]
    with m.Elif(dut.push & mine):
        m.d.sync += total.eq(total + 1)

    def ago(value: Any) -> Value:
        for _ in range(EventList.latency):
            value = bench.past(value)
        return Value.cast(value)

    asked = known & (dut.read_address == base + place) & ~writes
    counted = dut.begin | dut.push
    told = walked & (dut.read_node == node) & ~counted & ~bench.past(counted)
    bench.claim("a pair is the last one appended at its place", bench.always(~ago(asked) | (Value.cast(dut.entry) == ago(pair))))
    bench.claim("a length is that of the layer's last walk", bench.always(~ago(told) | (dut.count == ago(total))))
    bench.claim("the length so far is that of the walk", ~begun | (dut.length == pushed))
    at = entries.write_address
    bench.claim("a pair is written at its layer's place", ~entries.write_enable | ((at >= first) & (at < first + full)))
    bench.claim(NEVER[0], ~ago(asked))
    bench.claim(NEVER[1], ~ago(told & (total != 0)))

    bench.claim("a layer's pairs lie there", ~begun | (first + full <= DEPTH_OF_LISTS) & (pushed <= full))
    bench.claim("they lie apart", ~begun | Mux(mine, (first == base) & (full == size), (first + full <= base) | (base + size <= first)))
    bench.claim("the place of the next one is known", ~begun | (inner["address"] == (first + pushed)[: len(inner["address"])]))
    bench.claim("the layer is known", ~begun | ((inner["node"] == node) == mine))
    bench.claim("the pair is there", ~known | (entries.word == pair))
    bench.claim("the layer's walk is counted", ~(begun & mine) | (walked & (total == pushed)))
    bench.claim("its length is there", ~walked | (inner["dirty"] & mine) | (counts.word == total))
    bench.claim("nothing is written before the first walk", begun | ~inner["dirty"] & ~walked & ~known)
    return bench


def test_every_walk(tmp_path: Path) -> None:
    prove(build(), tmp_path, depth=DEPTH, but=NEVER)


@pytest.mark.parametrize("claim", NEVER)
def test_some_walk(tmp_path: Path, claim: str) -> None:
    """The assumptions leave lists to read."""
    refute(build(), tmp_path, depth=FAULT_DEPTH, claim=claim)


@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        ("address.eq(self.base), ", "", "a pair is written at its layer's place"),
        ("address.eq(address + 1), ", "", "a pair is the last one appended at its place"),
        ("dirty.eq(self.begin | self.push)", "dirty.eq(self.push)", "a length is that of the layer's last walk"),
        ("counts.write_data.eq(self.length)", "counts.write_data.eq(self.length + 1)", "a length is that of the layer's last walk"),
        (", node.eq(self.node)", "", "a length is that of the layer's last walk"),
        ("entries.write_enable.eq(self.push)", "entries.write_enable.eq(dirty)", "a pair is the last one appended at its place"),
        ("self.length.eq(0), ", "", "the length so far is that of the walk"),
    ],
    ids=["base", "place", "empty list", "length", "layer", "late", "old length"],
)
def test_fault(tmp_path: Path, old: str, new: str, claim: str) -> None:
    refute(build(plant(EventList, (old, new))), tmp_path, depth=FAULT_DEPTH, claim=claim)
