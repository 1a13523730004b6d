# SPDX-License-Identifier: Apache-2.0
"""The frame encoder gives exactly the bytes of the frames that it takes, and never stops in one: by induction.

A reader follows the bytes that come out as a receiver does: a flag, the bytes of each word and of the CRC with their escapes, a flag. What
the CRC says is left to the solver, as long as it stands still; that it is given every byte of a frame, once, is claimed, and
`test_crc` shows what its register makes of that.
"""

from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Array, Mux, Signal, Value
from frenn.firmware.framing import ESCAPE, ESCAPE_XOR, FLAG
from frenn.rtl_gen.framing import FrameEncoder
from proofs import Bench, Queue, ongoing, plant, prove, refute
from stand_ins import AnyCrc

DEPTH = 3
FAULT_DEPTH = 20
CLOSED, WORD, CRC, END = range(4)
"""What the reader awaits: an opening flag, a byte of a word, a byte of the CRC, the closing flag."""
EMPTY = "no frame ever ends"
"""What must not hold."""


def build(component: Any = FrameEncoder) -> Bench:
    bench = Bench()
    m, dut = bench.m, component()
    inner = bench.add(dut, stubs={"CRC32_ISO_HDLC": AnyCrc})
    crc, holding = inner["crc"], inner["holding"]
    bench.drive(dut.i.valid, dut.i.payload, dut.o.ready, crc.crc)
    bench.assume(bench.always(bench.past(crc.start | crc.valid) | (crc.crc == bench.past(crc.crc))))
    fsm = inner["fsms"][0]

    take, out, byte = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready, dut.o.payload
    phase, place, escaped = Signal(2), Signal(2), Signal()
    ended = Signal()
    words = Queue(bench, 2, put=take, payload=dut.i.payload, take=ended)
    head = dut.i.payload.shape()(words.items[0])
    latest = Signal.like(dut.i.payload)
    with m.If(take):
        m.d.sync += latest.eq(dut.i.payload)

    # Where the reader is behind the byte that is offered, or the two that an escape makes.
    after_phase, after_place = Signal(2), Signal(2)
    inside = (phase == WORD) | (phase == CRC)
    last_byte = place == 3
    m.d.comb += [
        after_place.eq(Mux(inside, place + 1, 0)),
        after_phase.eq(
            Array([WORD, Mux(last_byte & head.last, CRC, WORD), Mux(last_byte, END, CRC), CLOSED])[phase],
        ),
    ]
    escapes = inside & ~escaped & (byte == ESCAPE)
    m.d.comb += ended.eq(out & (phase == WORD) & ~escapes & last_byte)
    with m.If(out & escapes):
        m.d.sync += escaped.eq(1)
    with m.Elif(out):
        m.d.sync += [escaped.eq(0), phase.eq(after_phase), place.eq(after_place)]

    expected = Mux(phase == WORD, head.data, crc.crc).word_select(place, 8)
    special = (expected == FLAG) | (expected == ESCAPE)
    offers = dut.o.valid
    bench.claim("a flag opens and closes a frame", ~offers | inside | (byte == FLAG))
    bench.claim("there is no flag inside", ~offers | ~inside | (byte != FLAG))
    bench.claim("a byte is the word's or the CRC's", ~offers | ~inside | escapes | (byte ^ Mux(escaped, ESCAPE_XOR, 0) == expected))
    bench.claim("what must be escaped is, and nothing else", ~offers | ~inside | (special == (escaped | escapes)))
    bench.claim_stable(dut.o)

    # No stop: the reader goes one byte on, or the encoder takes a word, and of those it keeps two at the most.
    room = ~dut.o.valid | dut.o.ready
    bench.claim("it takes a word or offers a byte", bench.always(~bench.past(room & ~dut.i.ready) | offers))
    bench.claim(EMPTY, ~out | (phase != END))

    # The CRC is given what the frame holds.
    fed = Signal(3, init=4)
    with m.If(take):
        m.d.sync += fed.eq(0)
    with m.Elif(crc.valid):
        m.d.sync += fed.eq(fed + 1)
    opening = Signal(init=1)
    with m.If(take):
        m.d.sync += opening.eq(dut.i.payload.last)
    bench.claim("the CRC begins with the frame", Mux(opening, ~take | crc.start, ~crc.start))
    bench.claim("it is given the word's bytes in their order", ~crc.valid | ((fed < 4) & (crc.data == latest.data.word_select(fed[:2], 8))))
    bench.claim("it is given them before the next word", ~take | (fed + crc.valid == 4))
    bench.claim("it is given them before it is read", (phase != CRC) | (fed == 4))

    # Where the encoder is: at the reader's place, or behind the byte that is offered.
    at = {state: ongoing(fsm, state) for state in ("OPEN", "WORD", "WAIT", "CRC", "CLOSE")}
    index = inner["index"]
    ahead_phase, ahead_place = Mux(offers, after_phase, phase), Mux(offers, after_place, place)
    standing = ((ahead_phase == CLOSED) & at["OPEN"]) | ((ahead_phase == WORD) & (at["WORD"] | at["WAIT"]))
    standing |= ((ahead_phase == CRC) & at["CRC"]) | ((ahead_phase == END) & at["CLOSE"])
    bench.claim("it is one byte ahead of the reader", standing & (index == ahead_place))
    bench.claim("a flag is at no place of a word", inside | (place == 0))
    bench.claim("it waits before a word", ~at["WAIT"] | (index == 0))
    waits = words.count == Mux(at["WORD"], 1 + (offers & (phase == WORD) & (index == 0)), offers & (phase == WORD) & (index == 0))
    bench.claim("it knows how many words are under way", waits)
    newest = Mux(words.count == 2, words.items[1], words.items[0])
    bench.claim("the newest is the last one taken", (words.count == 0) | (newest == Value.cast(latest)))
    bench.claim("no word follows a last one", (words.count != 2) | ~head.last)
    bench.claim("nor awaits the next one", ~at["WAIT"] | ~latest.last)
    bench.claim("the last word goes before the CRC", ~(at["CRC"] | at["CLOSE"] | at["OPEN"]) | opening)
    bench.claim("a frame goes on", ~(at["WORD"] | at["WAIT"]) | (opening == latest.last))
    bench.claim("its last word is known", ~at["WORD"] | (inner["final"] == latest.last))
    left = Array([latest.data[8 * gone :] for gone in range(4)])[index]
    bench.claim("as many bytes are left", ~at["WORD"] | ((inner["word"] & (0xFFFFFFFF >> (8 * index))) == left))
    bench.claim("as many were given to the CRC", fed == Mux(at["WORD"], index, 4))
    bench.claim("what is held is the escaped byte", ~holding | (escapes & offers & (inner["held"] == expected ^ ESCAPE_XOR)))
    bench.claim("an escape is followed", ~(offers & escapes) | holding)
    bench.claim("so is one that is gone", ~escaped | (offers & inside))
    return bench


def test_every_frame(tmp_path: Path) -> None:
    prove(build(), tmp_path, depth=DEPTH, but=[EMPTY])


def test_some_frame(tmp_path: Path) -> None:
    """The assumptions leave frames that end."""
    refute(build(), tmp_path, depth=FAULT_DEPTH, claim=EMPTY)


@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        ("with m.Elif((byte == FLAG) | (byte == ESCAPE)):", "with m.Elif(byte == FLAG):", "what must be escaped is, and nothing else"),
        ("held.eq(byte ^ ESCAPE_XOR)", "held.eq(byte)", "there is no flag inside"),
        ("step.eq(free & ~holding)", "step.eq(free)", "a byte is the word's or the CRC's"),
        ("m.d.comb += self.i.ready.eq(~final)", "m.d.comb += self.i.ready.eq(1)", "it is given them before the next word"),
        ("flag.eq(load), crc.start.eq(1)", "flag.eq(load)", "the CRC begins with the frame"),
        ("plain.eq(step), crc.valid.eq(step)", "plain.eq(step), crc.valid.eq(1)", "it is given the word's bytes in their order"),
        ("m.d.comb += flag.eq(step)", "pass", "it takes a word or offers a byte"),
        ("m.d.comb += self.i.ready.eq(1)", "m.d.comb += self.i.ready.eq(self.o.valid)", "it takes a word or offers a byte"),
        (
            "with m.If(free):\n            m.d.sync += self.o.valid",
            "with m.If(1):\n            m.d.sync += self.o.valid",
            "a stalled payload stands still",
        ),
    ],
    ids=["no escape", "half an escape", "overtaken", "a word too many", "old CRC", "fed twice", "not closed", "waits for ever", "in haste"],
)
def test_fault(tmp_path: Path, old: str, new: str, claim: str) -> None:
    refute(build(plant(FrameEncoder, (old, new))), tmp_path, depth=FAULT_DEPTH, claim=claim)
