# SPDX-License-Identifier: Apache-2.0
"""Bench of `BeatUnpacker` and `BeatPacker`, under pauses at both ends and without any."""

import os
import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from cocotb.utils import get_sim_time

from ...rtl_gen.axi_stream import BeatPacker, Beats, BeatUnpacker, beat
from ...rtl_gen.packet import PACKET
from .streams import StreamSink, StreamSource, start

PAUSES = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4))
PERIOD = 10


def _words(count: int) -> np.ndarray:
    return np.array([random.getrandbits(32) for _ in range(count)], dtype=np.uint32)


def _bits(beats: Beats, width: int) -> list[int]:
    """Payloads of a stream of beats."""
    shape = beat(width)
    return [
        shape.const(
            {"data": int.from_bytes(words.astype("<u4").tobytes(), "little"), "keep": (1 << len(words)) - 1, "last": last}
        ).as_bits()
        for words, last in beats
    ]


def _packet_bits(words: np.ndarray, last: np.ndarray) -> list[int]:
    return [PACKET.const({"data": int(word), "last": int(final)}).as_bits() for word, final in zip(words, last, strict=True)]


@cocotb.test
@cocotb.parametrize(pauses=PAUSES)
async def equals_model(dut: Any, pauses: tuple[float, float]) -> None:
    width = int(os.environ["WIDTH"])
    await start(dut, PERIOD)
    source = StreamSource(dut, "i", random.Random(random.getrandbits(32)), pauses[0])
    sink = StreamSink(dut, "o", random.Random(random.getrandbits(32)), pauses[1])
    if os.environ["BLOCK"] == "unpacker":
        beats: Beats = [(_words(random.randint(1, width // 32)), random.random() < 0.3) for _ in range(200)]
        words, last = BeatUnpacker.model(beats)
        items, expected = _bits(beats, width), _packet_bits(words, last)
    else:
        words = _words(400)
        last = np.array([random.random() < random.choice((0.1, 0.6)) for _ in words])
        last[-1] = True
        items, expected = _packet_bits(words, last), _bits(BeatPacker(width).model(words, last), width)
    begin = get_sim_time("ns")
    source.send(items)
    assert await sink.receive(len(expected)) == expected
    if pauses == (0.0, 0.0):
        assert get_sim_time("ns") - begin <= PERIOD * (len(words) + 4), "a word in every cycle"
    for _ in range(20):
        await RisingEdge(dut.clk)
    assert not sink.queue


@cocotb.test
async def skips_beats_without_words(dut: Any) -> None:
    """The unpacker alone can meet such."""
    width = int(os.environ["WIDTH"])
    await start(dut)
    if os.environ["BLOCK"] != "unpacker":
        return
    source = StreamSource(dut, "i", random.Random(random.getrandbits(32)), 0.2)
    sink = StreamSink(dut, "o", random.Random(random.getrandbits(32)), 0.2)
    beats: Beats = [(_words(random.randint(0, width // 32)), False) for _ in range(100)]
    beats.append((_words(1), True))
    words = np.concatenate([words for words, _ in beats])
    source.send(_bits(beats, width))
    assert await sink.receive(len(words)) == _packet_bits(words, np.arange(len(words)) == len(words) - 1)
