# SPDX-License-Identifier: Apache-2.0
"""The link's receive buffer passes on what was committed, each word once and in order, whatever is written: by induction.

The solver marks any one word as it is written, and the claims follow it through the ring; since it may be any word, they hold for all.
"""

from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Mux, Signal, Value
from frenn.rtl_gen.link_receive import ReceiveBuffer
from proofs import Bench, plant, prove, refute
from stand_ins import RegisterMemory

WORDS = 4
DEPTH = 2
FAULT_DEPTH = 12


def build(dut: Any) -> Bench:
    bench = Bench()
    m, inner = bench.m, bench.add(dut, stubs={"Memory": RegisterMemory})
    written, committed, read, loaded = (inner[name] for name in ("written", "committed", "read", "loaded"))
    bench.drive(dut.begin, dut.write, dut.word, dut.commit, dut.clear, dut.o.ready)
    bench.assume(~dut.write | ~(dut.begin | dut.commit | dut.clear))
    bench.assume(~(dut.begin & dut.commit) & ~(dut.begin & dut.clear) & ~(dut.commit & dut.clear))
    bench.assume(~dut.commit | ~dut.overflow)

    take = dut.o.valid & dut.o.ready
    size = len(read)
    ahead_written, ahead_committed = (written - read)[:size], (committed - read)[:size]
    bench.claim_stable(dut.o)
    bench.claim("the ring holds no more than it has room for", ahead_written <= dut.words)
    bench.claim("committed words are written", ahead_committed <= ahead_written)
    bench.claim("free is what committed words leave", dut.free == dut.words - ahead_committed)

    torn = Signal()
    with m.If(take):
        m.d.sync += torn.eq(~dut.o.payload.last)
    bench.claim("it knows whether a packet is half out", inner["inside"] == torn)
    bench.claim("no packet is torn by a new session", bench.always(dut.clearing | ~bench.past(dut.clearing) | ~torn))

    bench.claim("a torn packet is ended", ~(dut.clearing & torn) | dut.o.valid)
    over = dut.clearing & ~dut.clear & ~dut.o.valid
    bench.claim("the old session is over when nothing of it is left", bench.always(~bench.past(over) | ~dut.clearing))

    # Words of the session that were committed and not taken, and written and not committed.
    queued, pending = Signal(size), Signal(size)
    fresh_take = take & ~dut.clearing
    stored = dut.write & (pending + ahead_committed != dut.words)
    m.d.sync += queued.eq(queued + Mux(dut.commit, pending, 0) - fresh_take)
    m.d.sync += pending.eq(pending + stored)
    with m.If(dut.begin | dut.commit | dut.clear):
        m.d.sync += pending.eq(0)
    with m.If(dut.clear):
        m.d.sync += queued.eq(0)
    bench.claim("as many are committed as were", (ahead_committed + (loaded & ~dut.clearing))[:size] == queued)
    bench.claim("as many are written as were", (ahead_written - ahead_committed)[:size] == pending)

    # A word that is marked as it is written, and how many words of its session go before it.
    marked, sure = Signal(), Signal()
    value = Signal.like(Value.cast(dut.word))
    place, before = Signal(size), Signal(size)
    mark = bench.free(1, "mark") & stored & ~marked
    at_front = marked & (before == 0)
    with m.If(mark):
        m.d.sync += [marked.eq(1), value.eq(dut.word), place.eq(written), sure.eq(0)]
        m.d.sync += before.eq(queued + pending - fresh_take)
    with m.Elif(dut.clear | (dut.begin & ~sure) | (at_front & fresh_take)):
        m.d.sync += marked.eq(0)
    with m.Else():
        m.d.sync += [before.eq(before - fresh_take), sure.eq(sure | dut.commit)]
    bench.claim("only committed words come out", ~(at_front & fresh_take) | sure)
    bench.claim("the marked word comes out in its turn", ~(at_front & fresh_take) | (Value.cast(dut.o.payload) == value))
    due = at_front & sure & ~dut.clear & ~dut.clearing & ~take
    bench.claim("what is committed is offered", bench.always(~bench.past(due) | dut.o.valid))

    # Where it is meanwhile.
    here = (place - read)[:size]
    at_port = at_front & loaded & ~dut.clearing
    in_ring = marked & ~at_port
    bench.claim("it is in the ring", ~in_ring | ((here + (loaded & ~dut.clearing) == before) & (here < ahead_written)))
    bench.claim("it is committed with those before it", ~in_ring | (sure == (here < ahead_committed)))
    content = inner["memory"].rows[0]
    for index, row in enumerate(inner["memory"].rows):
        content = Mux(place[: size - 1] == index, row, content)
    bench.claim("nothing writes over it", ~in_ring | (content == value))
    bench.claim("it is at the port", ~at_port | (sure & (inner["memory"].read_data == value)))
    return bench


def test_every_sequence(tmp_path: Path) -> None:
    prove(build(ReceiveBuffer(WORDS)), tmp_path, depth=DEPTH)


@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        ("[written.eq(committed), self.overflow.eq(0)]", "self.overflow.eq(0)", "as many are written as were"),
        ("full.eq(used == self.words)", "full.eq(used > self.words)", "the ring holds no more than it has room for"),
        ("committed.eq(written)", "committed.eq(written - 1)", "as many are committed as were"),
        ("& (~loaded | self.o.ready)", "", "a stalled payload stands still"),
        ("[written.eq(read), committed.eq(read), ", "[written.eq(read), ", "as many are committed as were"),
        ("ending.eq(self.clearing & ~loaded & inside)", "ending.eq(0)", "a torn packet is ended"),
        ("self.words - (committed - read)", "self.words - (written - read)", "free is what committed words leave"),
        ("& ~self.clear & ~self.clearing &", "&", "as many are committed as were"),
    ],
    ids=["not forgotten", "overwritten", "lost", "not awaited", "not cleared", "stuck", "credit", "mixed"],
)
def test_fault(tmp_path: Path, old: str, new: str, claim: str) -> None:
    refute(build(plant(ReceiveBuffer, (old, new))(WORDS)), tmp_path, depth=FAULT_DEPTH, claim=claim)
