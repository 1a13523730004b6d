# SPDX-License-Identifier: Apache-2.0
"""Bench of `Link`: the host's endpoint on one side, a device that answers on the other, and lines between them."""

import random
from typing import Any

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from ...firmware.endpoint import Endpoint
from ...firmware.framing import CREDIT_WORDS, MAX_CREDIT, WINDOW, Header, Kind
from .link_bench import DAMAGE, LAST, PARAMETERS, SESSION, LinkBench, answer_of, credit_of
from .link_lines import frames_of, words_of


def _endpoint() -> Endpoint:
    endpoint = Endpoint(initiator=True, timeout=3000, acknowledge=200, frame_words=PARAMETERS.frame_words)
    endpoint.open(random.getrandbits(16), 0)
    return endpoint


def _packets(count: int, longest: int) -> list[list[int]]:
    return [*frames_of(random, count, longest), words_of(random, 1), words_of(random, longest)]


@cocotb.test
@cocotb.parametrize((("pause", "line_pause"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.9, 0.3)]))
async def every_packet_once_in_order(dut: Any, pause: float, line_pause: float) -> None:
    bench = LinkBench(dut, pause, line_pause, DAMAGE)
    await bench.start()
    packets = _packets(20, 2 * PARAMETERS.frame_words + 2)
    endpoint = _endpoint()
    answers = await bench.host(packets, endpoint, 400_000)
    assert bench.requests == packets
    assert answers == [answer_of(packet) for packet in packets]
    statistics = endpoint.statistics
    dut._log.info(f"{bench.cycle} cycles, {statistics}")
    if not DAMAGE:
        assert (statistics.resent, statistics.bad, statistics.gaps, statistics.duplicates) == (0, 0, 0, 0)


@cocotb.test(skip=bool(DAMAGE))
async def sequence_numbers_go_round(dut: Any) -> None:
    bench = LinkBench(dut)
    await bench.start()
    packets = [words_of(random, 1) for _ in range(2 * WINDOW + 50)]
    assert await bench.host(packets, _endpoint(), 200_000) == [answer_of(packet) for packet in packets]
    assert bench.requests == packets


@cocotb.test(skip=bool(DAMAGE))
async def sessions(dut: Any) -> None:
    """A new session, opened in the middle of everything, sees nothing of the old one."""
    bench = LinkBench(dut, 0.7, 0.0)
    await bench.start()
    for _ in range(12):
        before = _endpoint()
        for packet in _packets(6, 3 * PARAMETERS.frame_words):
            before.send(packet)
        for _ in range(random.randrange(10, 100)):
            before.feed(bytes(bench.tx.queue), bench.cycle)
            bench.tx.queue.clear()
            if len(bench.rx.queue) < 64:
                bench.rx.send(before.output(bench.cycle))
            await bench.cycles(16)
        packets = _packets(3, 3)
        assert await bench.host(packets, _endpoint(), 200_000) == [answer_of(packet) for packet in packets]
        assert bench.requests[-len(packets) :] == packets


@cocotb.test(skip=bool(DAMAGE))
async def a_torn_request_is_ended(dut: Any) -> None:
    bench = LinkBench(dut, device=False)
    await bench.start()
    await bench.open()
    bench.frame(Kind.DATA, 0, payload=(1, 2, 3))
    await bench.until(lambda: len(bench.request.queue) == 3, 200, "payload")
    bench.frame(Kind.OPEN)
    bench.frame(Kind.DATA | Kind.LAST, 0, payload=(4,))
    await bench.until(lambda: len(bench.request.queue) == 5, 200, "payload")
    assert list(bench.request.queue) == [1, 2, 3, LAST, 4 | LAST]
    # The first answer belongs to the torn request.
    bench.reply([50, 51])
    bench.reply([60])
    await bench.cycles(200)
    assert [payload for header, payload in bench.sent() if header.kind & Kind.DATA] == [[60]]


@cocotb.test(skip=bool(DAMAGE))
async def a_stalled_word_stays_when_a_session_ends(dut: Any) -> None:
    bench = LinkBench(dut, device=False)
    bench.request.pause = 1.0
    await bench.start()
    await bench.open()
    bench.frame(Kind.DATA | Kind.LAST, 0, payload=(1, 2))
    bench.frame(Kind.DATA | Kind.LAST, 1, payload=(3,))
    bench.frame(Kind.OPEN)
    bench.frame(Kind.DATA | Kind.LAST, 0, payload=(4,))
    await bench.rx.drain()
    await bench.cycles(20)
    bench.request.pause = 0.0
    await bench.cycles(20)
    assert list(bench.request.queue) == [1, LAST, 4 | LAST]
    bench.reply([50])
    bench.reply([60])
    await bench.cycles(200)
    assert [payload for header, payload in bench.sent() if header.kind & Kind.DATA] == [[60]]


@cocotb.test(skip=bool(DAMAGE))
async def only_frames_of_the_session_count(dut: Any) -> None:
    bench = LinkBench(dut, device=False)
    await bench.start()
    bench.frame(Kind.DATA | Kind.LAST, 0, payload=(1,))
    bench.frame(Kind.POLL)
    bench.frame(Kind.OPENED)
    await bench.rx.drain()
    await bench.cycles(100)
    assert bench.sent() == []
    await bench.open()
    for session in range(SESSION + 1, SESSION + 4):
        bench.frame(Kind.DATA | Kind.LAST, 0, payload=(2,), session=session)
        bench.frame(Kind.POLL, session=session)
    bench.frame(Kind.DATA | Kind.LAST, 0)
    bench.frame(Kind.LAST, 0, payload=(3,))
    await bench.rx.drain()
    await bench.cycles(100)
    assert not bench.request.queue
    assert bench.sent() == []


@cocotb.test(skip=bool(DAMAGE))
async def gaps_duplicates_and_polls(dut: Any) -> None:
    bench = LinkBench(dut, device=False)
    await bench.start()
    await bench.open()

    async def replies(*sequences: int) -> list[tuple[Kind, int]]:
        for sequence in sequences:
            bench.frame(Kind.DATA | Kind.LAST, sequence, payload=(sequence,))
        await bench.rx.drain()
        await bench.cycles(30)
        return [(header.kind, header.acknowledge) for header, _ in bench.sent()]

    assert await replies(2, 3, 4) == [(Kind.REPEAT, 0)]
    # Sent again, and lost again.
    assert await replies(1, 2, 3) == [(Kind.REPEAT, 0)]
    assert await replies(0, 1, 2) == []
    assert await replies(1) == [(Kind(0), 3)]
    assert await replies(256 + 3 - WINDOW) == [(Kind(0), 3)]
    assert await replies(3 + WINDOW - 1) == [(Kind.REPEAT, 3)]
    bench.frame(Kind.POLL)
    assert await replies() == [(Kind.REPEAT, 3)]
    assert list(bench.request.queue) == [LAST, LAST | 1, LAST | 2]
    assert await replies(3) == []
    await bench.cycles(PARAMETERS.acknowledge_cycles)
    assert await replies() == [(Kind(0), 4)]


@cocotb.test(skip=bool(DAMAGE))
async def frames_are_sent_until_acknowledged(dut: Any) -> None:
    bench = LinkBench(dut, device=False)
    await bench.start()
    await bench.open()
    for number in range(3):
        bench.frame(Kind.DATA | Kind.LAST, number, payload=(number,))
    await bench.rx.drain()
    for number in range(3):
        bench.reply([number])
    await bench.cycles(100)
    kind = Kind.DATA | Kind.LAST

    def sent() -> list[tuple[Kind, int]]:
        return [(header.kind, header.sequence) for header, _ in bench.sent()]

    assert sent() == [(kind, 0), (kind, 1), (kind, 2)]
    await bench.cycles(PARAMETERS.timeout_cycles + 30)
    assert sent() == [(Kind.POLL, 0)]
    # While polling nothing new is sent.
    bench.reply([3])
    await bench.cycles(PARAMETERS.timeout_cycles + 30)
    assert sent() == [(Kind.POLL, 0)]
    bench.frame(Kind.REPEAT, acknowledge=1)
    await bench.rx.drain()
    await bench.cycles(100)
    assert sent() == [(kind, 1), (kind, 2), (kind, 3)]
    # A number that was never sent acknowledges nothing.
    bench.frame(Kind.REPEAT, acknowledge=5)
    await bench.rx.drain()
    await bench.cycles(100)
    assert sent() == []
    bench.frame(Kind(0), acknowledge=4)
    await bench.rx.drain()
    await bench.cycles(3 * PARAMETERS.timeout_cycles)
    assert sent() == []


@cocotb.test(skip=bool(DAMAGE))
async def acknowledged_before_sent_again(dut: Any) -> None:
    bench = LinkBench(dut, device=False)
    await bench.start()
    await bench.open()
    for number in range(3):
        bench.reply([number] * (number + 1))
    await bench.cycles(150)
    assert [header.sequence for header, _ in bench.sent()] == [0, 1, 2]
    # The line stalls the sender in the first frame that it sends again.
    bench.tx.pause = 1.0
    bench.frame(Kind.REPEAT, acknowledge=0)
    bench.frame(Kind(0), acknowledge=3)
    await bench.rx.drain()
    await bench.cycles(20)
    bench.tx.pause = 0.0
    bench.reply([3, 4])
    await bench.cycles(150)
    assert [(header.sequence, payload) for header, payload in bench.sent()] == [(0, [0]), (3, [3, 4])]


@cocotb.test(skip=bool(DAMAGE))
async def a_session_begins_at_any_moment(dut: Any) -> None:
    """The line lets the sender go on around the cycle in which a session begins, with frames to release and to send."""
    bench = LinkBench(dut, device=False)
    await bench.start()
    for offset in range(50):
        await bench.open()
        bench.reply([1, 1, 1])
        await bench.cycles(40)
        bench.tx.pause = 1.0
        bench.reply([2, 2])
        bench.reply([3])
        await bench.cycles(20)
        bench.frame(Kind(0), acknowledge=offset % 2)
        bench.frame(Kind.OPEN)
        await bench.cycles(offset)
        bench.tx.pause = 0.0
        await bench.cycles(150)
        kinds = [header.kind for header, _ in bench.sent()]
        assert kinds[-1] == Kind.OPENED
        for number in range(2):
            bench.reply([10 + number] * (number + 1))
            await bench.cycles(60)
            bench.frame(Kind(0), acknowledge=number + 1)
        await bench.cycles(40)
        assert [(header.sequence, payload) for header, payload in bench.sent()] == [(0, [10]), (1, [11, 11])], offset


@cocotb.test(skip=bool(DAMAGE))
async def credit_is_kept_and_given(dut: Any) -> None:
    """The buffer fills, drops what finds no room, and says when it has room again."""
    bench = LinkBench(dut, device=False)
    bench.request.pause = 1.0
    await bench.start()
    await bench.open()
    room = PARAMETERS.receive_words
    sequence = 0
    # The output holds one word more.
    payload = tuple(range(CREDIT_WORDS))
    for sequence in range(room // CREDIT_WORDS):
        bench.frame(Kind.DATA, sequence, payload=payload)
    bench.frame(Kind.DATA, sequence + 1, payload=(7, 8))
    bench.frame(Kind.DATA, sequence + 1, payload=(9,))
    bench.frame(Kind.DATA, sequence + 2, payload=(10,))
    bench.frame(Kind.POLL)
    await bench.rx.drain()
    await bench.cycles(40)
    header, _ = bench.sent()[-1]
    assert header == Header(Kind.REPEAT, SESSION & 3, 0, sequence + 2, 0)
    bench.request.pause = 0.0
    await bench.until(lambda: len(bench.request.queue) == room + 1, room + 100, "words")
    assert list(bench.request.queue) == [*payload * (sequence + 1), 9]
    await bench.cycles(PARAMETERS.acknowledge_cycles + 60)
    credits = [header.credit for header, _ in bench.sent()]
    assert credits[-1] == credit_of(room)
    # News came in quarters of the buffer, not at the end alone.
    assert len(credits) > 1


@cocotb.test(skip=bool(DAMAGE))
async def the_hosts_credit_is_kept(dut: Any) -> None:
    bench = LinkBench(dut)
    await bench.start()
    endpoint = _endpoint()
    endpoint.credit = 0
    packet = words_of(random, 2 * CREDIT_WORDS)
    packet[0] &= 0xFFFFFFFE
    endpoint.send(packet)
    for step in range(4 * PARAMETERS.timeout_cycles // 16):
        text = bytes(bench.tx.queue)
        bench.tx.queue.clear()
        endpoint.feed(text, bench.cycle)
        if step == 2 * PARAMETERS.timeout_cycles // 16:
            assert bench.requests == [packet]
            assert not endpoint.statistics.data_received
            endpoint.credit = MAX_CREDIT
        bench.rx.send(endpoint.output(bench.cycle))
        await bench.cycles(16)
    assert endpoint.received.popleft().tolist() == answer_of(packet)


@cocotb.test(skip=bool(DAMAGE))
async def latency(dut: Any) -> None:
    bench = LinkBench(dut, device=False)
    await bench.start()
    await bench.open()
    bench.frame(Kind.DATA | Kind.LAST, 0, payload=(1,))
    assert await _delay(dut, "rx", "request") == 4
    # The acknowledgement that is due goes with the answer.
    bench.reply([2])
    assert await _delay(dut, "answer", "tx") == 5


async def _delay(dut: Any, source: str, sink: str) -> int:
    """Cycles from the last transfer of one stream to the first of another."""
    last = first = 0
    for cycle in range(200):
        await ReadOnly()
        if _transfer(dut, source):
            last = cycle
        if _transfer(dut, sink) and not first:
            first = cycle
        await RisingEdge(dut.clk)
    return first - last


def _transfer(dut: Any, port: str) -> bool:
    return bool(int(getattr(dut, f"{port}__valid").value) and int(getattr(dut, f"{port}__ready").value))


@cocotb.test(skip=bool(DAMAGE))
async def one_byte_a_cycle_both_ways(dut: Any) -> None:
    """Frames back to back are taken as fast as they come, and answers of long trains leave without a gap."""
    bench = LinkBench(dut, device=False)
    await bench.start()
    await bench.open()
    payload = tuple(words_of(random, 8))
    count = PARAMETERS.transmit_words // 16
    for number in range(count):
        bench.frame(Kind.DATA | Kind.LAST, number, payload=payload)
    for _ in range(count):
        bench.reply(list(payload))
    # Enough answers wait when the sender begins.
    bench.tx.pause = 1.0
    await bench.cycles(200)
    bench.tx.pause = 0.0
    got = 0
    # Flags, header, payload and CRC, without the escapes.
    while got < count * (2 + 4 + 4 * len(payload) + 4):
        await ReadOnly()
        assert int(dut.rx__ready.value)
        valid, moved = int(dut.tx__valid.value), _transfer(dut, "tx")
        await RisingEdge(dut.clk)
        got += moved
        assert valid or not got, f"a gap after {got} bytes"
    await bench.rx.drain()
    await bench.cycles(20)
    assert [item & 0xFFFFFFFF for item in bench.request.queue] == [*payload * count]
