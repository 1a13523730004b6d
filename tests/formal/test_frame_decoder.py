# SPDX-License-Identifier: Apache-2.0
"""The frame decoder takes every byte, and from a flag on, whatever was before, it finds exactly the good frames: by induction.

It starts in any state at all, also in those that no bytes lead to, and with any CRC; `test_crc` shows what the CRC's register finds.
"""

from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Cat, Mux, Signal, Value
from frenn.firmware.framing import ESCAPE, ESCAPE_XOR, FLAG
from frenn.rtl_gen.framing import FrameDecoder
from proofs import Bench, plant, prove, refute
from stand_ins import AnyCrc

DEPTH = 2
FAULT_DEPTH = 16
"""A flag, a frame of two words where one is legal, and what it leaves."""


def build(dut: Any) -> Bench:
    bench = Bench(any_state=True)
    m, inner = bench.m, bench.add(dut, stubs={"CRC32_ISO_HDLC": AnyCrc})
    crc = inner["crc"]
    bench.drive(dut.i.payload, dut.i.valid, dut.o.ready, crc.match_detected)
    longest = 4 * dut.words + 9  # bytes of a run that is too long
    byte, take = dut.i.payload, dut.i.valid & dut.i.ready
    flag = byte == FLAG

    # The run of bytes since the last flag.
    synced, escaped = Signal(), Signal()
    count = Signal(range(longest + 1))
    recent = [Signal(8, name=f"recent{age}") for age in range(8)]
    plain = Signal(8)
    m.d.comb += plain.eq(byte ^ Mux(escaped, ESCAPE_XOR, 0))
    with m.If(take & flag):
        m.d.sync += [synced.eq(1), escaped.eq(0), count.eq(0)]
    with m.Elif(take & ~escaped & (byte == ESCAPE)):
        m.d.sync += escaped.eq(1)
    with m.Elif(take):
        m.d.sync += [escaped.eq(0), count.eq(count + (count != longest))]
        m.d.sync += [older.eq(newer) for older, newer in zip(recent, (plain, *recent[:-1]), strict=True)]

    # What is to come out after a byte: the word before the last one and the byte, or at the end before the CRC.
    offered, expected = Signal(), Signal.like(Value.cast(dut.o.payload))
    last = synced & flag & ~escaped & crc.match_detected & (count[:2] == 0) & (count >= 8) & (count <= longest - 5)
    before = synced & ~flag & (escaped | (byte != ESCAPE)) & (count[:2] == 0) & (count >= 8) & (count <= longest - 5)
    m.d.sync += [offered.eq(take & (last | before)), expected.eq(Cat(*recent[7:3:-1], count == 8, last))]

    bench.claim("it takes a byte whenever its own word is taken", dut.i.ready | (dut.o.valid & ~dut.o.ready))
    bench.claim_stable(dut.o)
    known = bench.past(synced)
    fresh = known & bench.past(take)
    bench.claim("it offers a word when one is due, and no other", bench.always(~fresh | (dut.o.valid == offered)))
    bench.claim("the word is the one that came", bench.always(~(fresh & offered) | (Value.cast(dut.o.payload) == expected)))
    idle = bench.past(~take & (dut.o.ready | ~dut.o.valid))
    bench.claim("it offers nothing unless a byte came", bench.always(~idle | ~dut.o.valid))

    bench.claim("a run is counted up to the limit", count <= longest)
    over = count == longest
    bench.claim("it hunts for a flag after too long a frame", ~synced | (inner["hunting"] == over))
    bench.claim("it knows what is escaped", ~synced | over | (inner["escaped"] == escaped))
    fill = Mux(count < 9, count, 5 + (count - 1)[:2])
    bench.claim("it knows how many bytes came", ~synced | over | (inner["fill"] == fill))
    bench.claim("it knows how many words it gave", ~synced | over | (inner["passed"] == Mux(count < 9, 0, (count - 5)[2:])))
    window = inner["window"]
    for age, value in enumerate(recent):
        bench.claim(f"byte {age} is kept", ~synced | over | (count <= age) | (window.word_select(7 - age, 8) == value))
    bench.claim("the CRC begins at every flag", crc.start == (take & flag))
    kept = take & ~flag & (escaped | (byte != ESCAPE))
    bench.claim("the CRC is that of the bytes as they were", ~synced | over | (crc.valid == kept) & (~kept | (crc.data == plain)))
    return bench


@pytest.mark.parametrize("words", [1, 5])
def test_every_state_and_every_byte(tmp_path: Path, words: int) -> None:
    prove(build(FrameDecoder(words)), tmp_path, depth=DEPTH)


@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        ("hunting.eq(0),", "", "it hunts for a flag after too long a frame"),
        (
            "                    escaped.eq(0),\n                    fill.eq(0),",
            "                    fill.eq(0),",
            "it knows what is escaped",
        ),
        ("fill.eq(0),", "", "it knows how many bytes came"),
        ("passed.eq(0),", "", "it knows how many words it gave"),
        ("& room & crc.match_detected", "& room", "it offers a word when one is due, and no other"),
        ("~hunting & ~escaped & (fill == 8)", "~hunting & (fill == 8)", "it offers a word when one is due, and no other"),
        ("self.o.valid.eq(room), hunting.eq(~room)", "self.o.valid.eq(room)", "it hunts for a flag after too long a frame"),
        (
            "self.i.ready.eq(~self.o.valid | self.o.ready)",
            "self.i.ready.eq(self.o.ready)",
            "it takes a byte whenever its own word is taken",
        ),
        ("with m.If(self.o.ready):", "with m.If(self.i.valid):", "it offers nothing unless a byte came"),
        ("m.d.comb += crc.start.eq(1)", "pass", "the CRC begins at every flag"),
    ],
    ids=["hunts on", "stays escaped", "keeps bytes", "keeps words", "any CRC", "cut short", "endless", "waits", "lost", "old CRC"],
)
def test_fault(tmp_path: Path, old: str, new: str, claim: str) -> None:
    refute(build(plant(FrameDecoder, (old, new))(1)), tmp_path, depth=FAULT_DEPTH, claim=claim)
