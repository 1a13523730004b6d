# SPDX-License-Identifier: Apache-2.0
"""Bench of `TransferSplitter` and `TransferJoiner`: whole transfers, torn ones, and packets longer than the joiner."""

import os
import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, with_timeout

from ...firmware.transfer import COUNT_BITS, LAST, MARK, MARK_BITS, TransferDecoder, pieces
from ...rtl_gen.packet import PACKET
from ...rtl_gen.transfer import TransferJoiner, TransferSplitter
from .streams import StreamSink, StreamSource, start

PAUSES = ((0.0, 0.0), (0.6, 0.0), (0.0, 0.6), (0.4, 0.4))
MARKED = 1 << 32


def _packets(count: int, longest: int) -> list[np.ndarray]:
    return [
        np.array([random.getrandbits(32) for _ in range(random.choice((1, 2, random.randint(1, longest))))], dtype=np.uint32)
        for _ in range(count)
    ]


def _stream(runs: list[np.ndarray]) -> list[int]:
    """Payloads of runs of words, the last word of each marked."""
    return [
        PACKET.const({"data": int(word), "last": int(place == len(run) - 1)}).as_bits() for run in runs for place, word in enumerate(run)
    ]


async def _ends(dut: Any, pauses: tuple[float, float]) -> tuple[StreamSource, StreamSink]:
    await start(dut)
    return (
        StreamSource(dut, "i", random.Random(random.getrandbits(32)), pauses[0]),
        StreamSink(dut, "o", random.Random(random.getrandbits(32)), pauses[1]),
    )


@cocotb.test(skip=os.environ.get("BLOCK") != "splitter")
@cocotb.parametrize(pauses=PAUSES)
async def splits(dut: Any, pauses: tuple[float, float]) -> None:
    source, sink = await _ends(dut, pauses)
    packets = _packets(60, 20)
    transfers: list[list[np.ndarray]] = []
    done = 0
    while done < len(packets):
        transfers.append(packets[done : done + random.randint(1, 6)])
        done += len(transfers[-1])
    runs = [np.concatenate([piece for packet in transfer for piece in pieces(packet, random.randint(1, 20))]) for transfer in transfers]
    expected = TransferSplitter.model(runs)
    assert [packet.tolist() for packet in expected] == [packet.tolist() for packet in packets]
    source.send(_stream(runs))
    assert await sink.receive(len(_stream(packets))) == _stream(packets)
    await ClockCycles(dut.clk, 20)
    assert not sink.queue


@cocotb.test(skip=os.environ.get("BLOCK") != "splitter")
@cocotb.parametrize(pauses=PAUSES)
async def recovers_at_the_next_transfer(dut: Any, pauses: tuple[float, float]) -> None:
    """Transfers that are cut anywhere, or hold anything, and good ones behind them."""
    source, sink = await _ends(dut, pauses)
    runs = []
    for _ in range(60):
        run = np.concatenate([piece for packet in _packets(3, 8) for piece in pieces(packet, random.randint(1, 8))])
        if random.random() < 0.4:
            run = run[: random.randint(1, len(run))]
        if random.random() < 0.4:
            place = random.randrange(len(run))
            run[place] = random.choice((0, MARK << COUNT_BITS, 1 << COUNT_BITS, random.getrandbits(32)))
        runs.append(run)
    good = _packets(2, 5)
    runs.append(np.concatenate([piece for packet in good for piece in pieces(packet)]))
    expected = TransferSplitter.model(runs)
    assert [packet.tolist() for packet in expected[-2:]] == [packet.tolist() for packet in good]
    source.send(_stream(runs))
    assert await with_timeout(sink.receive(len(_stream(expected))), 1, "ms") == _stream(expected)
    await ClockCycles(dut.clk, 20)
    assert not sink.queue


@cocotb.test(skip=os.environ.get("BLOCK") != "joiner")
@cocotb.parametrize(pauses=PAUSES)
async def joins(dut: Any, pauses: tuple[float, float]) -> None:
    size = int(os.environ["WORDS"])
    source, sink = await _ends(dut, pauses)
    packets = _packets(40, 3 * size)
    expected = TransferJoiner(size).model(packets).tolist()
    source.send(_stream(packets))
    items = await with_timeout(sink.receive(len(expected)), 1, "ms")
    assert [item & ~MARKED for item in items] == expected
    assert items[-1] & MARKED
    # A transfer ends with a packet.
    decoder, done = TransferDecoder(), 0
    for place, item in enumerate(items):
        if item & MARKED:
            run = np.array([word & ~MARKED for word in items[done : place + 1]], dtype=np.uint32)
            assert sum(map(len, decoder.feed(run.astype("<u4").tobytes()))) and not decoder.feed(b"")
            last = [word for word in run.tolist() if word >> COUNT_BITS & (1 << MARK_BITS) - 1 == MARK and word & LAST]
            assert last
            done = place + 1
    await ClockCycles(dut.clk, 20)
    assert not sink.queue


@cocotb.test(skip=os.environ.get("BLOCK") != "joiner")
async def what_waits_goes_together(dut: Any) -> None:
    source, sink = await _ends(dut, (0.0, 0.0))
    sink.pause = 1.0
    packets = [np.array([number], dtype=np.uint32) for number in range(5)]
    source.send(_stream(packets))
    await ClockCycles(dut.clk, 40)
    sink.pause = 0.0
    items = await sink.receive(10)
    marked = [place for place, item in enumerate(items) if item & MARKED]
    # The first word had left before the others were complete.
    assert marked[-1] == 9 and len(marked) == 1
    # To one who waits, a packet goes at once.
    for packet in packets:
        source.send(_stream([packet]))
        head, word = await with_timeout(sink.receive(2), 200, "ns")
        assert not head & MARKED and word == int(packet[0]) | MARKED
