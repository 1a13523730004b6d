# SPDX-License-Identifier: Apache-2.0
"""The link's sender cuts packets into frames, keeps each until it is acknowledged, and sends it as it was taken: by induction.

Beside the ring stand notes of what was written into each place: whether a frame begins there, its number, its length, and the words of
all frames before it. The claims tie every pointer and count of the sender to them. The host says anything at any time.
"""

from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Array, Cat, Mux, Signal, Value
from frenn.firmware.framing import CREDIT_WORDS
from frenn.rtl_gen.link_parameters import LinkParameters
from frenn.rtl_gen.link_send import SEQUENCE_BITS, Sender
from proofs import Bench, ongoing, plant, prove, refute
from stand_ins import RegisterMemory

WORDS = 4
PARAMETERS = LinkParameters(frame_words=2, transmit_words=WORDS, receive_words=64, timeout_cycles=16, acknowledge_cycles=2)
DEPTH = 2
FAULT_DEPTH = 16
NEVER = "no frame is ever sent again"


def build(component: Any = Sender) -> Bench:
    bench = Bench()
    dut = component(PARAMETERS)
    inner = bench.add(dut, stubs={"Memory": RegisterMemory})
    m, rows = bench.m, inner["memory"].rows
    bench.drive(dut.i.payload, dut.i.valid, dut.o.ready, dut.session, dut.clear, dut.peer, dut.update, dut.repeat, dut.local)
    bench.drive(dut.reply, dut.ask, dut.due, dut.changed)
    # Both are said of one header, which is of another frame than the one that opens a session.
    bench.assume(~(dut.clear & dut.update))
    fsm = inner["fsms"][0]

    def at(*states: str) -> Value:
        return ongoing(fsm, *states)

    base, send, frame, tail = (inner[name] for name in ("base", "send", "frame", "tail"))
    first, current, high, end, acknowledged = (
        inner[f"{name}" if name == "acknowledged" else f"{name}_sequence"] for name in ("base", "send", "high", "tail", "acknowledged")
    )
    length, sealing, opened, outstanding = (inner[name] for name in ("length", "sealing", "opened", "outstanding"))
    around = len(base)

    def behind(value: Any) -> Value:
        """How far a pointer, or the first half of one, is behind the oldest frame's start."""
        return (value - base)[:around]

    def ahead(number: Any) -> Value:
        return (number - first)[:SEQUENCE_BITS]

    # Notes.
    begins = Array(Signal(name=f"begins{place}") for place in range(WORDS))
    numbers = Array(Signal(SEQUENCE_BITS, name=f"number{place}") for place in range(WORDS))
    lengths = Array(Signal(len(length), name=f"length{place}") for place in range(WORDS))
    lasts = Array(Signal(name=f"last{place}") for place in range(WORDS))
    totals = Array(Signal(around + 1, name=f"total{place}") for place in range(WORDS))
    total = Signal(around + 1)
    low = around - 1
    taken = dut.i.valid & dut.i.ready
    with m.If(sealing):
        place = frame[:low]
        m.d.sync += [begins[place].eq(1), numbers[place].eq(end), lengths[place].eq(length), lasts[place].eq(inner["last"])]
        m.d.sync += [totals[place].eq(total), total.eq(total + length)]
    with m.Elif(taken):
        m.d.sync += begins[tail[:low]].eq(0)

    def noted(pointer: Any, notes: Any, otherwise: Any) -> Value:
        return Mux(pointer == frame, otherwise, notes[pointer[:low]])

    # The ring.
    bench.claim("the ring holds what it has room for", (behind(frame) <= WORDS) & ((length == 0) | (behind(tail) <= WORDS)))
    bench.claim("the frame that is written lies behind the others", tail == (frame + 1 + length)[:around])
    bench.claim("it is no longer than a frame", (length <= PARAMETERS.frame_words) & (sealing == (sealing & (length != 0))))
    bench.claim("a full frame is ended", sealing | (length < PARAMETERS.frame_words))
    for place in range(WORDS):
        written = (place - frame[:low])[:low]
        bench.claim(f"no frame begins among the words that are written, at {place}", (written == 0) | (written > length) | ~begins[place])
        where = (place - base[:low])[:low]
        live = begins[place] & (where < behind(frame))
        following = where + lengths[place] + 1
        beside = (place + lengths[place] + 1)[:low]
        is_last = following == behind(frame)
        bench.claim(f"the ring holds frames, of which {place} is the first word", ~live | (following <= behind(frame)))
        bench.claim(f"a frame has words, from {place}", ~live | ((lengths[place] != 0) & (lengths[place] <= PARAMETERS.frame_words)))
        for step in range(1, PARAMETERS.frame_words + 1):
            inside = live & (step <= lengths[place])
            bench.claim(f"none begins {step} words after {place}", ~inside | ~begins[(place + step) % WORDS])
        bench.claim(f"a frame follows that from {place}", ~live | is_last | begins[beside])
        bench.claim(f"numbers go on from {place}", ~live | (Mux(is_last, end, numbers[beside]) == (numbers[place] + 1)[:SEQUENCE_BITS]))
        bench.claim(
            f"words are counted from {place}",
            ~live | (Mux(is_last, total, totals[beside]) == (totals[place] + lengths[place])[: around + 1]),
        )
        bench.claim(f"numbers are as close as frames, at {place}", ~live | (ahead(numbers[place]) <= where))
        bench.claim(f"the length stands at {place}", ~live | (rows[place] == Cat(lengths[place], lasts[place])))
    for name, pointer, number in (("the oldest", base, first), ("the next", send, current)):
        bench.claim(f"a frame begins at {name}", noted(pointer, begins, 1))
        bench.claim(f"its number is that of {name}", noted(pointer, numbers, end) == number)
    bench.claim("the next is one of them", behind(send) <= behind(frame))
    bench.claim("what is under way is counted", outstanding == (noted(send, totals, total) - noted(base, totals, total))[: around + 1])
    bench.claim(
        "numbers are in order", (ahead(acknowledged) <= ahead(high)) & (ahead(current) <= ahead(high)) & (ahead(high) <= ahead(end))
    )
    bench.claim("there are no more frames than words", ahead(end) <= behind(frame))

    # What is read.
    read = inner["read_port"].data
    found = Array(rows)
    bench.claim("what is released was acknowledged", ~at("RELEASE") | opened | ((first != acknowledged) & (read == found[base[:low]])))
    bench.claim("what is looked at is there", ~at("LOOK") | opened | ((current != end) & (read == found[send[:low]])))

    # The frame that goes out, unless a session begins meanwhile.
    sent, whole = Signal.like(send), Signal()
    chosen = at("LOOK") & inner["carries"]
    with m.If(chosen):
        m.d.sync += [sent.eq(send), whole.eq(1)]
    with m.If(dut.clear):
        m.d.sync += whole.eq(0)
    left, cursor = inner["left"], inner["cursor"]
    going = whole & (at("PAYLOAD") | (at("HEADER") & (left != 0)))
    note = lengths[sent[:low]]
    bench.claim("it is kept", ~going | (begins[sent[:low]] & (behind(sent) < behind(frame)) & (ahead(numbers[sent[:low]]) < ahead(high))))
    bench.claim("its words follow", ~(going & at("HEADER")) | ((cursor == (sent + 1)[:around]) & (left == note)))
    passed = (note - left)[: len(left)]
    bench.claim(
        "one after another",
        ~(going & at("PAYLOAD")) | ((left != 0) & (left <= note) & (cursor == (sent + passed + 2)[:around])),
    )
    here = (sent + passed + 1)[:low]
    header = inner["latched"]

    # The promises.
    bench.claim_stable(dut.o)
    bench.claim("a header tells its frame", ~(going & at("HEADER")) | (header.kind.data & (header.sequence == numbers[sent[:low]])))
    bench.claim("and whether its packet ends", ~(going & at("HEADER")) | (header.kind.last == lasts[sent[:low]]))
    bench.claim("words come as they were taken", ~(going & at("PAYLOAD")) | (dut.o.payload.data == found[here]))
    bench.claim("a frame ends with its last word", ~(going & at("PAYLOAD")) | (dut.o.payload.last == (passed + 1 == note)))
    reach = (outstanding + lengths[send[:low]]) <= inner["credit"] * CREDIT_WORDS
    bench.claim("no frame goes beyond the host's credit", ~chosen | reach)
    bench.claim("nothing is released that was not acknowledged", ahead(acknowledged) <= ahead(end))
    bench.claim(NEVER, ~(chosen & (current != high)))

    # Any word that is taken, which stays until its frame is released.
    marked, place, value = Signal(), Signal(around), Signal(32)
    with m.If(bench.free(1, "mark") & taken & ~dut.clear):
        m.d.sync += [marked.eq(1), place.eq(tail), value.eq(dut.i.payload.data)]
    with m.Elif(dut.clear | (behind(place) >= behind(tail))):
        m.d.sync += marked.eq(0)
    kept = marked & (behind(place) < behind(tail))
    bench.claim("no length will stand there", ~kept | ((place != frame) & ~begins[place[:low]]))
    bench.claim("nothing writes over a word", ~kept | (found[place[:low]] == value))
    return bench


def test_every_host(tmp_path: Path) -> None:
    prove(build(), tmp_path, depth=DEPTH, but=[NEVER])


def test_some_host(tmp_path: Path) -> None:
    """The assumptions leave frames that go again."""
    refute(build(), tmp_path, depth=FAULT_DEPTH, claim=NEVER)


@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        ("(outstanding + found.length <= credit", "(outstanding <= credit", "no frame goes beyond the host's credit"),
        ("(used < words)", "(used <= words)", "nothing writes over a word"),
        ("self.update & sensible)", "self.update)", "nothing is released that was not acknowledged"),
        ("[base.eq(base + found.length + 1), ", "[base.eq(base + found.length), ", "a frame begins at the oldest"),
        ("read_port.en.eq(self.o.ready)", "read_port.en.eq(1)", "a stalled payload stands still"),
        ("cursor.eq(send + 1)", "cursor.eq(send)", "its words follow"),
        ("send_sequence.eq(base_sequence), outstanding.eq(0)]", "send_sequence.eq(base_sequence)]", "what is under way is counted"),
    ],
    ids=["beyond credit", "overwritten", "any number", "misplaced", "not awaited", "misread", "counted twice"],
)
def test_fault(tmp_path: Path, old: str, new: str, claim: str) -> None:
    refute(build(plant(Sender, (old, new))), tmp_path, depth=FAULT_DEPTH, claim=claim)
