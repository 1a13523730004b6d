# SPDX-License-Identifier: Apache-2.0
"""A stream that changes its clock loses, doubles and changes nothing, whatever the two clocks do: by induction.

The solver chooses when each clock has an edge, in any order and also both at once. A bit that a synchroniser sees as it changes may
settle either way, which is what it would see a little sooner or later, so the choices contain that too.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Cat
from frenn.rtl_gen.crossing import StreamCrossing
from proofs import Bench, Queue, plant, prove, refute

DEPTH = 10


def build(dut: Any) -> Bench:
    bench = Bench()
    edge_in, edge_out = bench.free(1, "edge_in"), bench.free(1, "edge_out")
    inner = bench.add(dut, enables={"input": edge_in, "output": edge_out})
    bench.drive(dut.i.payload, dut.i.valid, dut.o.ready)
    put, take = dut.i.valid & dut.i.ready & edge_in, dut.o.valid & dut.o.ready & edge_out
    queue = Queue(bench, 1, put=put, payload=dut.i.payload, take=take)
    waiting = bench.past(dut.o.valid & ~take)
    bench.claim("a stalled payload stands still", bench.always(~waiting | dut.o.valid & (dut.o.payload == bench.past(dut.o.payload))))
    bench.claim("it offers what came", ~dut.o.valid | (queue.count == 1) & (dut.o.payload == queue.items[0]))
    bench.claim("it takes nothing while one is under way", ~dut.i.ready | (queue.count == 0))

    # Two edges of the output's clock until it offers, two of the input's until it takes again.
    there, back = bench.count(edge_out & ~dut.o.valid, put, 2, "there"), bench.count(edge_in & ~dut.i.ready, take, 2, "back")
    bench.claim("it offers after two edges", (queue.count == 0) | (there < 2) | dut.o.valid)
    bench.claim("it takes again after two edges", (queue.count == 1) | (back < 2) | dut.i.ready)

    # The toggles go round, at most one change of value among them.
    submodules = inner["m"].submodules
    chain = [inner["sent"], *bench.inside(submodules.there)["flops"], inner["taken"], *bench.inside(submodules.back)["flops"]]
    changes = [one != two for one, two in pairwise(chain)]
    bench.claim("a toggle is under way at most", (Cat(changes) & (Cat(changes) - 1)) == 0)
    bench.claim("one is under way between its toggle and the other", (chain[0] != chain[3]) == (queue.count == 1))
    bench.claim("the payload waits", (queue.count == 0) | (inner["held"] == queue.items[0]))
    bench.claim("the edges are those of the toggle", ~changes[0] | (there == 0))
    bench.claim("the second edge is that of the toggle", ~changes[1] | (there == 1))
    bench.claim("the edges are those of the other toggle", ~changes[3] | (back == 0))
    bench.claim("the second edge is that of the other toggle", ~changes[4] | (back == 1))
    return bench


def crossing(component: Any) -> Any:
    return component(4, i_domain="input", o_domain="output")


def test_every_pair_of_clocks(tmp_path: Path) -> None:
    prove(build(crossing(StreamCrossing)), tmp_path, depth=DEPTH)


@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        ("self.i.ready.eq(sent == returned)", "self.i.ready.eq(1)", "it takes nothing while one is under way"),
        ("self.o.valid.eq(arrived != taken)", "self.o.valid.eq(arrived)", "it offers what came"),
        ("with m.If(self.o.valid & self.o.ready):", "with m.If(self.o.valid):", "a stalled payload stands still"),
        (
            "[held.eq(self.i.payload), sent.eq(~sent)]",
            "[held.eq(self.i.payload), sent.eq(1)]",
            "one is under way between its toggle and the other",
        ),
        ("self.o.payload.eq(held)", "self.o.payload.eq(self.i.payload)", "it offers what came"),
    ],
    ids=["overwritten", "doubled", "not awaited", "stuck", "not held"],
)
def test_fault(tmp_path: Path, old: str, new: str, claim: str) -> None:
    refute(build(crossing(plant(StreamCrossing, (old, new)))), tmp_path, depth=DEPTH, claim=claim)
