# SPDX-License-Identifier: Apache-2.0
"""The host's end of the byte link against a model of the device, over lines good and bad."""

import time
from collections import deque

import numpy as np
import pytest
from frenn.firmware import framing
from frenn.firmware.endpoint import Endpoint
from frenn.firmware.errors import FrennError, LinkError
from frenn.firmware.framing import Deframer, Header, Kind, encode
from frenn.host.link import ByteLink, ByteLinkParameters

FAST = ByteLinkParameters(poll_seconds=0.01, open_seconds=0.3)


class Device:
    """A byte stream with an echoing device at its end, which flips every bit of a packet's words.

    ``damage`` is the probability that a byte is lost, changed, or followed by a random one. A read takes the device ``stride``
    ticks further.
    """

    def __init__(self, rng: np.random.Generator, damage: float = 0.0, limit: int = 1 << 16) -> None:
        self.rng = rng
        self.damage = damage
        self.limit = limit
        self.endpoint = Endpoint(initiator=False, timeout=60, acknowledge=4, frame_words=16)
        self.endpoint.credit = 4
        self.requests: list[np.ndarray] = []
        self.coming = b""
        self.now = 0
        self.closed = 0

    def write(self, data: bytes) -> int:
        data = data[: self.limit]
        self.endpoint.feed(spoil(self.rng, data, self.damage), self.now)
        return len(data)

    def read(self, limit: int) -> bytes:
        self.now += 1
        while self.endpoint.received:
            packet = self.endpoint.received.popleft()
            self.requests.append(packet)
            self.endpoint.send(~packet)
        self.coming += spoil(self.rng, self.endpoint.output(self.now), self.damage)
        data, self.coming = self.coming[: min(limit, self.limit)], self.coming[min(limit, self.limit) :]
        return data

    def close(self) -> None:
        self.closed += 1


def spoil(rng: np.random.Generator, data: bytes, damage: float) -> bytes:
    if not damage:
        return data
    spoiled = bytearray()
    for byte, chance, kind in zip(data, rng.random(len(data)), rng.integers(3, size=len(data)), strict=True):
        if chance >= damage:
            spoiled.append(byte)
        elif kind == 1:
            spoiled.append(byte ^ 1 << int(rng.integers(8)))
        elif kind == 2:
            spoiled += bytes((byte, int(rng.integers(256))))
    return bytes(spoiled)


def packets_of(rng: np.random.Generator, count: int, longest: int) -> list[np.ndarray]:
    packets = [rng.integers(1 << 32, size=rng.integers(1, longest + 1), dtype=np.uint32) for _ in range(count)]
    for packet in packets[::3]:
        # Full of bytes that need escaping.
        packet[:] = rng.choice(np.array([0x7E7E7D7D, 0x7D5E7D5D, 0x5E7D5D7D, 0x7E7E7E7E], dtype=np.uint32), size=len(packet))
    return packets


def exchange(link: ByteLink, packets: list[np.ndarray], window: int) -> list[np.ndarray]:
    answers, under_way = [], 0
    for packet in packets:
        if under_way == window:
            answers.append(link.receive(20.0))
            under_way -= 1
        link.send(packet)
        under_way += 1
    return answers + [link.receive(20.0) for _ in range(under_way)]


@pytest.mark.parametrize("damage", [0.0, 1e-3, 1e-2])
@pytest.mark.parametrize("window", [1, 40])
@pytest.mark.parametrize("limit", [7, 1 << 16])
def test_every_packet_arrives_once_in_order(rng: np.random.Generator, damage: float, window: int, limit: int) -> None:
    device = Device(rng, damage, limit)
    packets = packets_of(rng, 50 if damage > 1e-3 else 200, 40)
    # Nothing is lost on a clean line, so nothing is sent again, however slow the machine is.
    with_link = ByteLink(device, ByteLinkParameters(poll_seconds=0.01 if damage else 60, open_seconds=120))
    answers = exchange(with_link, packets, window)
    assert [packet.tolist() for packet in device.requests] == [packet.tolist() for packet in packets]
    assert [packet.tolist() for packet in answers] == [(~packet).tolist() for packet in packets]
    statistics = with_link.statistics
    if not damage:
        assert (statistics.resent, statistics.bad, statistics.gaps) == (0, 0, 0)


def test_a_burst_of_noise_only_costs_time(rng: np.random.Generator) -> None:
    device = Device(rng)
    link = ByteLink(device, FAST)
    for packet in packets_of(rng, 20, 100):
        device.coming += rng.bytes(10_000)
        device.endpoint.feed(rng.bytes(10_000), device.now)
        assert exchange(link, [packet], 1)[0].tolist() == (~packet).tolist()


def test_sequence_numbers_go_round(rng: np.random.Generator) -> None:
    device = Device(rng)
    device.endpoint.credit = framing.MAX_CREDIT
    link = ByteLink(device, FAST)
    packets = packets_of(rng, 1000, 2)
    assert [packet.tolist() for packet in exchange(link, packets, 300)] == [(~packet).tolist() for packet in packets]


def test_a_new_session_forgets_the_old_one(rng: np.random.Generator) -> None:
    device = Device(rng)
    first = ByteLink(device, FAST, session=7)
    first.send(np.arange(1000, dtype=np.uint32))
    second = ByteLink(device, FAST, session=8)
    device.requests.clear()
    assert exchange(second, [np.array([5], dtype=np.uint32)], 1)[0].tolist() == [0xFFFFFFFA]
    first.send(np.array([9], dtype=np.uint32))
    with pytest.raises(LinkError):
        first.receive(0.1)
    assert [packet.tolist() for packet in device.requests] == [[5]]


class Scripted:
    """A byte stream that says what it is told and takes what it gets."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = deque(answers)
        self.written = b""
        self.closed = 0

    def write(self, data: bytes) -> int:
        self.written += data
        return len(data)

    def read(self, limit: int) -> bytes:
        return self.answers.popleft() if self.answers else b""

    def close(self) -> None:
        self.closed += 1


OPENED = encode(Header(Kind.OPENED, 3, credit=32).pack())


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([], "no byte arrived"),
        ([b"\x00\x7e\x55" * 40], "120 bytes arrived, but no good frame"),
        ([encode(Header(Kind.OPENED, 4, credit=32).pack())], "good frames arrived, but not its answer"),
    ],
)
def test_opening_fails_and_says_why(answers: list[bytes], message: str) -> None:
    stream = Scripted(answers)
    with pytest.raises(LinkError, match=message):
        ByteLink(stream, FAST, session=3)
    assert stream.closed == 1


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([], "no byte arrived"),
        ([b"\x00\x7e\x55" * 40], "120 bytes arrived, but no good frame"),
        ([encode(Header(Kind(0), 3, credit=32).pack())], "has not taken all"),
        ([encode(Header(Kind(0), 3, acknowledge=1, credit=32).pack())], "has taken all that was sent; give it more time"),
    ],
)
def test_no_answer_and_says_why(answers: list[bytes], message: str) -> None:
    stream = Scripted([OPENED])
    link = ByteLink(stream, FAST, session=3)
    link.send(np.array([1], dtype=np.uint32))
    stream.answers.extend(answers)
    with pytest.raises(LinkError, match=message):
        link.receive(0.05)


def test_a_broken_or_closed_line_is_named() -> None:
    stream = Scripted([OPENED])
    link = ByteLink(stream, FAST, session=3)
    stream.read = stream.write = _broken  # type: ignore[method-assign, assignment]
    with pytest.raises(LinkError, match="the line broke: it is gone"):
        link.receive(0.1)
    link.close()
    link.close()
    assert stream.closed == 1
    with pytest.raises(LinkError, match="closed"):
        link.send(np.array([1], dtype=np.uint32))


def _broken(_: object) -> bytes:
    raise OSError("it is gone")


def test_lost_frames_are_asked_for_once() -> None:
    stream = Scripted([OPENED])
    link = ByteLink(stream, FAST, session=3)

    def data(sequence: int) -> bytes:
        return encode(Header(Kind.DATA | Kind.LAST, 3, sequence, 0, 32).pack() + bytes((sequence, 0, 0, 0)))

    def asked(*frames: bytes) -> int:
        stream.written = b""
        for frame in frames:
            stream.answers.append(frame)
            link._pump()
        return sum(bool(Header.unpack(content).kind & Kind.REPEAT) for content in Deframer().feed(stream.written))

    assert asked(data(0)) == 0
    assert asked(data(2), data(3), data(4)) == 1
    assert asked(data(1), data(2), data(3), data(4), data(5)) == 0
    # The frame that was asked for is lost again.
    assert asked(data(7), data(8), data(9)) == 1
    assert asked(data(7), data(8), data(9)) == 1
    assert asked(data(6), data(7), data(8)) == 0
    assert [link.receive(0.0).tolist() for _ in range(9)] == [[number] for number in range(9)]
    assert link.statistics.duplicates == 0


def test_frames_grow_until_they_fit_the_device_and_shrink_when_lost() -> None:
    stream = Scripted([encode(Header(Kind.OPENED, 3, credit=2).pack())])
    # No poll comes between, however slow the machine.
    link = ByteLink(stream, ByteLinkParameters(poll_seconds=100.0, open_seconds=0.3), session=3)
    link.send(np.arange(1000, dtype=np.uint32))
    taken = 0

    def sent(kind: int = 0, *, take: bool = True) -> list[int]:
        """Lengths of the data frames since the last call; then they are acknowledged."""
        nonlocal taken
        contents = [content for content in Deframer().feed(stream.written) if Header.unpack(content).kind & Kind.DATA]
        stream.written = b""
        assert sum(len(content) - 4 for content in contents) <= 4 * 64
        taken += len(contents) if take else 0
        stream.answers.append(encode(Header(Kind(kind), 3, acknowledge=taken, credit=2).pack()))
        link._pump()
        return [len(content) // 4 - 1 for content in contents]

    # Half the buffer is the longest.
    lengths = [length for _ in range(8) for length in sent()]
    assert lengths[0] == 21 and lengths == sorted(lengths) and lengths[-2:] == [32, 32]
    # What was lost goes as it was cut; what follows it is shorter, down to four words.
    assert sent(Kind.REPEAT, take=False) == [32, 32]
    assert sent() == [32, 32]
    assert sent(Kind.REPEAT, take=False)[0] < 32
    for _ in range(6):
        sent(Kind.REPEAT, take=False)
    lengths = [length for _ in range(4) for length in sent()]
    assert 4 <= min(lengths) < 12 < lengths[0]


@pytest.mark.parametrize("wrong", [{"frame_words": 0}, {"frame_words": 1025}, {"poll_seconds": 0.0}, {"acknowledge_seconds": -1.0}])
def test_wrong_parameters(wrong: dict[str, float]) -> None:
    with pytest.raises(FrennError, match=next(iter(wrong))):
        ByteLinkParameters(**wrong)  # type: ignore[arg-type]


def test_a_silent_line_is_asked_while_an_answer_is_awaited() -> None:
    """The last answer may be lost, and nothing that comes after it tells."""
    stream = Scripted([OPENED])
    link = ByteLink(stream, FAST, session=3)
    link.send(np.array([1], dtype=np.uint32))
    stream.answers.append(encode(Header(Kind(0), 3, acknowledge=1, credit=32).pack()))
    link._pump()
    time.sleep(3 * FAST.poll_seconds)
    link._pump()
    stream.written = b""
    with pytest.raises(LinkError, match="no byte arrived"):
        link.receive(3 * FAST.poll_seconds)
    kinds = [Header.unpack(content).kind for content in Deframer().feed(stream.written)]
    # The pause between two grows.
    assert 2 <= len(kinds) <= 12 and set(kinds) == {Kind.REPEAT}


def test_answers_that_are_asked_for_follow_the_line() -> None:
    stream = Scripted([OPENED])
    link = ByteLink(stream, FAST, session=3)
    assert link.answer_words == 64
    stream.answers.append(b"\x7enoise\x7e")
    link._pump()
    assert link.answer_words == 32
    for number in range(8):
        header = Header(Kind.DATA | Kind.LAST, 3, number, 0, 32)
        stream.answers.append(encode(header.pack() + bytes(4 * 16)))
        link._pump()
    # An eighth of all that came over.
    assert link.answer_words == 32 + 16
    for _ in range(9):
        stream.answers.append(b"\x7enoise\x7e")
        link._pump()
    assert link.answer_words == 4


def test_empty_packet() -> None:
    link = ByteLink(Scripted([OPENED]), FAST, session=3)
    with pytest.raises(FrennError, match="no words"):
        link.send(np.zeros(0, dtype=np.uint32))


def paused(endpoint: Endpoint, now: float, acknowledged: int, after: float | None) -> tuple[float, float, float]:
    """Send a packet at ``now`` and acknowledge it so long after, or only when it has been asked for.

    Returns when the first poll went (from ``now`` on, infinite if none did), when the acknowledgement came, and a time to go on at.
    """
    endpoint.send([1])
    asked, end = float("inf"), now + (after or 5_000)
    time_now = now
    while time_now < end:
        kinds = [Header.unpack(content).kind for content in Deframer().feed(endpoint.output(time_now))]
        if asked == float("inf") and any(kind & Kind.POLL for kind in kinds):
            asked = time_now - now
            if after is None:
                break
        time_now += 1
    # A poll is answered by REPEAT; here nothing is missing.
    kind = Kind(0) if asked == float("inf") else Kind.REPEAT
    endpoint.feed(encode(Header(kind, 3, acknowledge=acknowledged % 256, credit=32).pack()), time_now)
    return asked, time_now, time_now + 1


def test_a_poll_that_was_needed_does_not_make_the_line_slow() -> None:
    """Where frames are lost, the pause before the host asks stays that of the line; where all come late, it grows."""
    endpoint = Endpoint(initiator=True, timeout=1_000, acknowledge=20)
    endpoint.open(3, 0)
    endpoint.output(0)
    endpoint.feed(OPENED, 10)
    now, count = 10.0, 0
    pauses = []
    for count in range(1, 25):
        asked, _, now = paused(endpoint, now, count, None)
        pauses.append(asked)
    assert max(pauses) <= 2 * pauses[0] <= 200
    polls = []
    for count in range(25, 200):
        asked, _, now = paused(endpoint, now, count, 150)
        polls.append(asked < float("inf"))
    assert polls[0] and not any(polls[-20:])
