# SPDX-License-Identifier: Apache-2.0
"""A host whose device says anything at all: it stops with one clear line, in time."""

from collections import deque
from itertools import pairwise

import numpy as np
from frenn.firmware.counters import NAMES
from frenn.firmware.endpoint import Endpoint
from frenn.firmware.errors import LinkError
from frenn.firmware.framing import FLAG, Deframer, Header, Kind, encode
from frenn.firmware.protocol import ANSWER, HELLO_MAGIC, MACHINE_VERSION, Command, Hello, request
from frenn.firmware.transfer import TransferDecoder, pieces
from frenn.host.driver import Driver
from frenn.host.link import ByteLink
from frenn.rtl_gen.identity import gateware_identity
from fuzzing import attempt, damaged
from hypothesis import given
from hypothesis import strategies as st
from packets import NETWORK, compiled

PROGRAM = compiled(4)
GREETING = Hello(MACHINE_VERSION, gateware_identity(), PROGRAM.parameters).encode()
WORD = st.one_of(st.integers(0, 0xFFFFFFFF), st.sampled_from([0, 1, HELLO_MAGIC, MACHINE_VERSION, 1 << 31, *GREETING]))


class Liar:
    """A device that gives the answers of a list, and then none; the head of some is right."""

    def __init__(self, answers: list[tuple[bool, list[int]]]) -> None:
        self.answers = deque(answers)
        self.heads: deque[int] = deque()

    def send(self, packet: np.ndarray) -> None:
        self.heads.append(int(packet[0]) & 0xFFFF | ANSWER)

    def receive(self, timeout: float) -> np.ndarray:
        if not self.answers:
            raise LinkError("nothing came; check the cable")
        right, words = self.answers.popleft()
        head = self.heads.popleft()
        return np.array([head, *words] if right else words, dtype=np.uint32)

    def close(self) -> None:
        pass


def use(driver: Driver) -> None:
    driver.load(NETWORK.initial_weights())
    driver.train(np.zeros((3, 13), dtype=np.int64), np.zeros(3, dtype=np.int64), 0, NETWORK.learning.rate_at(0))
    driver.infer(np.zeros((2, 13), dtype=np.int64))
    driver.counters()
    driver.weights()
    driver.states(1)
    driver.deviations(1)


ANSWERS = st.one_of(
    st.tuples(st.just(True), st.one_of(st.just([]), st.just(GREETING), st.lists(WORD, max_size=2 * len(NAMES)))),
    st.tuples(st.just(False), st.lists(WORD, max_size=4)),
)


@given(st.booleans(), st.lists(ANSWERS, max_size=12), st.integers(0, 60))
def test_answers(greets: bool, answers: list[tuple[bool, list[int]]], good: int) -> None:
    liar = Liar([*([(True, GREETING)] if greets else []), *([(True, [])] * good), *answers])
    driver = attempt(Driver, liar, PROGRAM)
    if driver is not None:
        attempt(use, driver)


@given(st.lists(WORD, max_size=24))
def test_greetings(words: list[int]) -> None:
    for start in ([], GREETING[:2], GREETING[:4]):
        attempt(Hello.decode, np.array([*start, *words][: len(GREETING)], dtype=np.uint32))


class Noise:
    """A line on which bytes come that have nothing to do with what was sent; a read takes a tenth of a second of its own clock."""

    def __init__(self, data: bytes, opens: bool) -> None:
        self.data, self.opens, self.now = data, opens, 0.0

    def write(self, data: bytes) -> int:
        if self.opens and data[0] == FLAG:
            header = Header.unpack(data[1:5])
            self.data = encode(Header(Kind.OPENED, header.session, credit=8).pack()) + self.data
            self.opens = False
        return len(data)

    def read(self, limit: int) -> bytes:
        self.now += 0.1
        data, self.data = self.data[:limit], self.data[limit:]
        return data

    def close(self) -> None:
        pass


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    kinds = st.one_of(st.just(Kind.DATA | Kind.LAST), st.builds(Kind, st.integers(0, 63)))
    header = Header(draw(kinds), draw(st.sampled_from([1, 2])), *(draw(st.integers(0, 255)) for _ in range(3)))
    words = draw(st.lists(WORD, max_size=30))
    return encode(header.pack() + np.array(words, dtype="<u4").tobytes())


LINE = st.lists(st.one_of(frames(), frames().flatmap(damaged), st.binary(max_size=40)), max_size=8).map(b"".join)


@given(LINE, st.booleans())
def test_bytes_from_the_line(data: bytes, opens: bool) -> None:
    line = Noise(data, opens)
    link = attempt(lambda: ByteLink(line, session=1, clock=lambda: line.now))
    if link is not None:
        link.send(request(Command.HELLO))
        for _ in range(3):
            attempt(link.receive, 2.0)


@given(LINE, st.lists(st.integers(0, 2_000), max_size=4), st.booleans())
def test_an_endpoint_takes_any_bytes(data: bytes, cuts: list[int], initiator: bool) -> None:
    """What comes out does not depend on the portions in which the bytes come."""
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    whole, parts = Deframer(), Deframer()
    assert list(whole.feed(data)) == [content for start, end in pairwise(places) for content in parts.feed(data[start:end])]
    endpoint = Endpoint(initiator=initiator, timeout=60, acknowledge=4)
    endpoint.open(1, 0)
    for number, place in enumerate(places):
        endpoint.feed(data[place : place + 200], number)
        endpoint.output(number)


PACKETS = (request(Command.INFER, 0, range(70)), request(Command.READ, 5, [0, 3]), request(Command.HELLO))
TRANSFER = b"".join(piece.astype("<u4").tobytes() for packet in PACKETS for piece in pieces(packet, 9))


@given(st.one_of(damaged(TRANSFER), st.binary(max_size=60)), st.integers(1, 9_000))
def test_transfers(data: bytes, portion: int) -> None:
    decoder = TransferDecoder()
    for start in range(0, len(data), portion):
        if attempt(decoder.feed, data[start : start + portion]) is None:
            break
