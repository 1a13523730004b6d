# SPDX-License-Identifier: Apache-2.0
"""Bench of `FrameEncoder`: random frames against the model."""

import random
from typing import Any

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from ...rtl_gen.framing import FrameEncoder
from .link_lines import frames_of
from .streams import StreamSink, StreamSource, start


def _items(frames: list[list[int]]) -> list[int]:
    return [word | (index == len(frame) - 1) << 32 for frame in frames for index, word in enumerate(frame)]


@cocotb.test
@cocotb.parametrize((("pause_in", "pause_out"), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.5), (0.5, 0.5)]))
async def equals_model(dut: Any, pause_in: float, pause_out: float) -> None:
    frames = frames_of(random, 60, 12)
    expected = FrameEncoder.model(frames)
    # The drivers come before the reset, so that no input is undefined after it.
    source = StreamSource(dut, "i", random.Random(random.random()), pause_in)
    sink = StreamSink(dut, "o", random.Random(random.random()), pause_out)
    await start(dut)
    source.send(_items(frames))
    assert bytes(await sink.receive(len(expected))) == expected


@cocotb.test
async def one_byte_a_cycle(dut: Any) -> None:
    """No gap within or between frames while words are offered."""
    source = StreamSource(dut, "i", random.Random(random.random()))
    dut.o__ready.value = 1
    await start(dut)
    frames = frames_of(random, 20, 8)
    source.send(_items(frames))
    expected = FrameEncoder.model(frames)
    got = bytearray()
    while len(got) < len(expected):
        await ReadOnly()
        if int(dut.o__valid.value):
            got.append(int(dut.o__payload.value))
        else:
            assert not got, f"a gap after {len(got)} bytes"
        await RisingEdge(dut.clk)
    assert bytes(got) == expected
