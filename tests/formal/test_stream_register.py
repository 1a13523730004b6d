# SPDX-License-Identifier: Apache-2.0
"""Stream registers lose, double, reorder and change nothing, and are never in the way: by induction."""

from pathlib import Path
from typing import Any

import pytest
from frenn.rtl_gen.stream_register import HalfRegister, StreamRegister
from proofs import Bench, Queue, plant, prove, refute

DEPTH = 6


def build(dut: Any) -> Bench:
    bench = Bench()
    inner = bench.add(dut)
    bench.drive(dut.i.payload, dut.i.valid, dut.o.ready)
    queue = Queue(bench, 2, put=dut.i.valid & dut.i.ready, payload=dut.i.payload, take=dut.o.valid & dut.o.ready)
    bench.claim_stable(dut.o)
    bench.claim("it offers while it has something", dut.o.valid == (queue.count != 0))
    bench.claim("it offers the oldest", ~dut.o.valid | (dut.o.payload == queue.items[0]))
    bench.claim("it takes while it has room", dut.i.ready == (queue.count != 2))
    bench.claim("it holds the second", (queue.count != 2) | (inner["held"] == queue.items[1]))
    return bench


def build_half(dut: Any) -> Bench:
    bench = Bench()
    bench.add(dut)
    bench.drive(dut.i.payload, dut.i.valid, dut.o.ready)
    queue = Queue(bench, 1, put=dut.i.valid & dut.i.ready, payload=dut.i.payload, take=dut.o.valid & dut.o.ready)
    bench.claim_stable(dut.o)
    bench.claim("it offers while it has something", dut.o.valid == (queue.count != 0))
    bench.claim("it offers the oldest", ~dut.o.valid | (dut.o.payload == queue.items[0]))
    bench.claim("it takes while it has room", dut.i.ready == (queue.count == 0))
    return bench


def test_every_sequence_of_half(tmp_path: Path) -> None:
    prove(build_half(HalfRegister(8)), tmp_path, depth=DEPTH)


@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        ("self.o.valid.eq(~self.o.ready)", "self.o.valid.eq(0)", "it offers while it has something"),
        ("[self.o.valid.eq(self.i.valid), payload", "[self.o.valid.eq(1), payload", "it offers while it has something"),
        ("self.i.ready.eq(~self.o.valid)", "self.i.ready.eq(1)", "it takes while it has room"),
    ],
    ids=["lost", "invented", "no room"],
)
def test_fault_of_half(tmp_path: Path, old: str, new: str, claim: str) -> None:
    refute(build_half(plant(HalfRegister, (old, new))(8)), tmp_path, depth=DEPTH, claim=claim)


def test_every_sequence(tmp_path: Path) -> None:
    prove(build(StreamRegister(8)), tmp_path, depth=DEPTH)


@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        ("m.d.sync += holding.eq(1)", "m.d.sync += holding.eq(0)", "it takes while it has room"),
        ("with m.If(~holding):", "with m.If(self.i.valid):", "it holds the second"),
        ("self.o.ready | ~self.o.valid", "self.o.ready | ~holding", "a stalled payload stands still"),
        ("self.o.valid.eq(holding | self.i.valid)", "self.o.valid.eq(self.i.valid)", "it offers while it has something"),
    ],
    ids=["lost", "overwritten", "not stable", "forgotten"],
)
def test_fault(tmp_path: Path, old: str, new: str, claim: str) -> None:
    refute(build(plant(StreamRegister, (old, new))(8)), tmp_path, depth=DEPTH, claim=claim)
