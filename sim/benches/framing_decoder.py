# SPDX-License-Identifier: Apache-2.0
"""Bench of `FrameDecoder`: good frames among noise, damage and frames too long, against the model."""

import os
import random
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

from ...firmware.framing import ESCAPE, FLAG, encode
from ...rtl_gen.framing import FrameDecoder
from .link_lines import frames_of, spoil
from .streams import StreamSink, StreamSource, start


async def _decode(dut: Any, text: bytes, pause: float) -> list[list[int]]:
    # The drivers come before the reset, so that no input is undefined after it.
    source = StreamSource(dut, "i", random.Random(random.random()), pause)
    sink = StreamSink(dut, "o", random.Random(random.random()), pause)
    await start(dut)
    source.send(text)
    await source.drain()
    for _ in range(100):
        await RisingEdge(dut.clk)
    frames: list[list[int]] = []
    frame: list[int] = []
    for item in sink.queue:
        if item >> 32 & 1:
            frame = []
        frame.append(item & 0xFFFFFFFF)
        if item >> 33:
            frames.append(frame)
            frame = []
    return frames


@cocotb.test
@cocotb.parametrize(pause=[0.0, 0.5])
async def good_frames(dut: Any, pause: float) -> None:
    words = int(os.environ["WORDS"])
    frames = frames_of(random, 60, words)
    text = b"".join(encode(b"".join(word.to_bytes(4, "little") for word in frame)) for frame in frames)
    assert await _decode(dut, text, pause) == frames


@cocotb.test
async def noise_and_damage(dut: Any) -> None:
    words = int(os.environ["WORDS"])
    text = random.randbytes(50)
    for damage in (0.0, 1e-3, 1e-2, 1e-1):
        for frame in frames_of(random, 30, words):
            text += spoil(random, encode(b"".join(word.to_bytes(4, "little") for word in frame)), damage)
            text += random.choice((b"", b"", bytes((FLAG,)), random.randbytes(random.randrange(20)), bytes((ESCAPE,))))
    text += bytes((FLAG,))
    expected = FrameDecoder.model(text, words)
    assert len(expected) > 30
    assert await _decode(dut, text, 0.2) == expected


@cocotb.test
async def lengths(dut: Any) -> None:
    """Every length about the shortest and the longest that is legal; only whole words within them pass."""
    words = int(os.environ["WORDS"])
    text = b""
    kept = []
    for length in (*range(12), *range(4 * words - 4, 4 * words + 9)):
        content = random.randbytes(length)
        text += encode(content)
        if length and length % 4 == 0 and length <= 4 * words:
            kept.append([int.from_bytes(content[at : at + 4], "little") for at in range(0, length, 4)])
    assert len(kept) == 4
    assert FrameDecoder.model(text, words) == kept
    assert await _decode(dut, text, 0.0) == kept


@cocotb.test
async def aborted_frames(dut: Any) -> None:
    """An escape before a flag spoils the frame, whatever its CRC."""
    good = encode(random.randbytes(8))
    text = good[:-1] + bytes((ESCAPE, FLAG)) + good
    assert len(FrameDecoder.model(text, 4)) == 1
    assert await _decode(dut, text, 0.0) == FrameDecoder.model(text, 4)
