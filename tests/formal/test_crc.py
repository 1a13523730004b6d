# SPDX-License-Identifier: Apache-2.0
"""The CRC's register is the CRC-32 of all bytes since its start, by induction, and a match means that it came after them.

The definition is RFC 1662's, a bit at a time. With `test_frame_decoder` it follows that
a frame is good if and only if its last word is the CRC of all before it.
"""

from copy import copy
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Mux, Signal, Value
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from frenn.rtl_gen import framing
from proofs import Bench, prove, refute

DEPTH = 2
POLYNOMIAL = 0xEDB88320
START = 0xFFFFFFFF
RESIDUE = 0xDEBB20E3
"""What is left when the CRC came after what it is of."""


def follow(bench: Bench, register: Value, byte: Value, name: str) -> Signal:
    """The register, before the complement, after a byte."""
    for place in range(8):
        register = (register >> 1) ^ Mux(register[0] ^ byte[place], POLYNOMIAL, 0)
    after = Signal(32, name=name)
    bench.m.d.comb += after.eq(register)
    return after


def build(dut: Any) -> Bench:
    bench = Bench(any_state=True)
    bench.add(dut)
    bench.drive(dut.start, dut.data, dut.valid)
    started = Signal()
    register = Signal(32)
    with bench.m.If(dut.start):
        bench.m.d.sync += [started.eq(1), register.eq(START)]
    with bench.m.If(dut.valid):
        bench.m.d.sync += register.eq(follow(bench, Mux(dut.start, START, register), dut.data, "after"))
    bench.claim("it is the definition's", ~started | (dut.crc == ~register))
    bench.claim("it tells the residue", ~started | (dut.match_detected == (register == RESIDUE)))
    return bench


def test_every_byte(tmp_path: Path) -> None:
    assert framing.CRC32_ISO_HDLC is CRC32_ISO_HDLC
    prove(build(CRC32_ISO_HDLC(8).create()), tmp_path, depth=DEPTH)


def test_residue(tmp_path: Path) -> None:
    bench = Bench()
    before, received = bench.free(32, "before"), bench.free(32, "received")
    after = before
    for place in range(4):
        after = follow(bench, after, received.word_select(place, 8), f"after{place}")
    bench.claim("the residue is left if and only if the CRC came", (received == ~before) == (after == RESIDUE))
    prove(bench, tmp_path, depth=1, induction=False)


@pytest.mark.parametrize("member", ["polynomial", "reflect_input", "initial_crc"])
def test_fault(tmp_path: Path, member: str) -> None:
    algorithm = copy(CRC32_ISO_HDLC)
    setattr(algorithm, member, {"polynomial": 0x04C11DB5, "reflect_input": False, "initial_crc": 0}[member])
    refute(build(algorithm(8).create()), tmp_path, depth=DEPTH + 2, claim="it is the definition's")
