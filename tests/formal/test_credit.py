# SPDX-License-Identifier: Apache-2.0
"""A host that keeps to the credit it was given never finds the device's receive buffer full: by induction.

Decoder, encoder and sender of the link are left to the solver: any words, and any header that goes out may be heard, late, or never. What a
header says is taken for heard from then on, and the largest room that any header of the session gave counts, so every delay is
contained. Frames that are not the next one may be there too, of any length.
"""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from amaranth.hdl import Module, Mux, Signal
from frenn.firmware.framing import CREDIT_WORDS
from frenn.rtl_gen.framing import FrameDecoder, FrameEncoder
from frenn.rtl_gen.link import Link, LinkParameters
from frenn.rtl_gen.link_receive import ReceiveBuffer
from frenn.rtl_gen.link_send import Sender
from proofs import Bench, plant, prove, refute
from stand_ins import AnyMemory

WORDS = 64
DEPTH = 2
FAULT_DEPTH = 12
NEVER = "no frame is ever taken"


def nothing(component: Any) -> Any:
    """A component with the same ports and nothing inside."""
    return type(component.__name__, (component,), {"elaborate": lambda self, platform: Module()})


def build(link: Any = Link, buffer: Any = ReceiveBuffer) -> Bench:
    bench = Bench()
    stubs = {component.__name__: nothing(component) for component in (FrameDecoder, FrameEncoder, Sender)}
    dut = link(LinkParameters(receive_words=WORDS, transmit_words=64, frame_words=32))
    with patch.dict(buffer.elaborate.__globals__, {"Memory": AnyMemory}):
        inner = bench.add(dut, stubs={**stubs, "ReceiveBuffer": buffer})
    m, decoder, sender, receive = bench.m, *(inner[name] for name in ("decoder", "sender", "receive"))
    word = decoder.o
    inside = bench.inside(receive)
    bench.drive(word.payload, word.valid, sender.told, dut.request.ready, inside["memory"].read_data)

    # What the decoder keeps to: after a frame's last word comes another's first, later than at once.
    ended = Signal(init=1)
    with m.If(word.valid):
        m.d.sync += ended.eq(word.payload.last)
    bench.assume(~word.valid | ~ended | word.payload.first)
    bench.assume(~word.valid | ~inner["complete"])

    # Words after the last committed one that the host may send, and whether the frame that comes keeps to it.
    room, length = Signal(range(WORDS + 1)), Signal(range(2 * WORDS))
    keeps = Signal()
    said = sender.local.credit * CREDIT_WORDS
    allowed = Signal(range(WORDS + 1))
    m.d.comb += allowed.eq(Mux(bench.free(1, "heard") & (said > room), said, room))
    m.d.sync += room.eq(allowed)
    with m.If(receive.begin):
        m.d.sync += [length.eq(0), keeps.eq(1)]
    with m.If(receive.write):
        m.d.sync += [length.eq(length + 1), keeps.eq(keeps & (length < room))]
    with m.If(receive.commit):
        m.d.sync += [room.eq(allowed - length), length.eq(0), keeps.eq(0)]
    with m.If(receive.clear):
        m.d.sync += [room.eq(0), length.eq(0), keeps.eq(0)]

    header = inner["header"]
    mine = inner["complete"] & inner["established"] & inner["mine"] & ~header.kind.open & ~header.kind.opened
    following = mine & header.kind.data & inner["payload"] & (inner["ahead"] == 0)
    bench.assume(~following | keeps)
    bench.claim("the next frame is taken", ~following | receive.commit)
    bench.claim(NEVER, ~receive.commit)
    bench.claim("only the next frame is taken", ~receive.commit | following)
    bench.claim("a word that keeps to its credit finds room", ~keeps | ~receive.overflow)

    size = len(inside["read"])
    held, written = (inside["committed"] - inside["read"])[:size], (inside["written"] - inside["committed"])[:size]
    bench.claim("no header gives more than there is", said + held <= WORDS)
    bench.claim("what the host knows of is there", room + held <= WORDS)
    bench.claim("the buffer holds what it has room for", held + written <= WORDS)
    bench.claim("the frame is written behind the committed ones", ~keeps | ((length == written) & (length <= room)))
    return bench


def test_every_host(tmp_path: Path) -> None:
    prove(build(), tmp_path, depth=DEPTH, but=[NEVER])


def test_some_host(tmp_path: Path) -> None:
    """The assumptions leave frames that are taken."""
    refute(build(), tmp_path, depth=FAULT_DEPTH, claim=NEVER)


@pytest.mark.parametrize(
    ("component", "old", "new", "claim"),
    [
        (Link, "receive.free // CREDIT_WORDS", "receive.free // CREDIT_WORDS + 1", "no header gives more than there is"),
        (ReceiveBuffer, "self.words - (committed - read)", "self.words + 32 - (committed - read)", "no header gives more than there is"),
        (
            ReceiveBuffer,
            "[written.eq(committed), self.overflow.eq(0)]",
            "self.overflow.eq(0)",
            "the frame is written behind the committed ones",
        ),
    ],
    ids=["told too much", "measured too much", "not forgotten"],
)
def test_fault(tmp_path: Path, component: Any, old: str, new: str, claim: str) -> None:
    faulty = plant(component, (old, new))
    bench = build(link=faulty) if component is Link else build(buffer=faulty)
    refute(bench, tmp_path, depth=FAULT_DEPTH, claim=claim)
