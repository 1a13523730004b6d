# SPDX-License-Identifier: Apache-2.0
"""The compiled device under any packets and any bytes: it answers as the protocol says, and has golden's weights afterwards."""

from collections.abc import Iterator

import numpy as np
import pytest
from frenn.firmware.framing import Header, Kind, encode, stuff
from frenn.firmware.protocol import Command, request
from frenn.firmware.transfer import TransferDecoder, join
from frenn.host.driver import Driver
from frenn.host.link import ByteLink
from frenn.sim.golden import Golden
from frenn.sim.twin import ByteTwin, TransferTwin, Twin, open_twin
from fuzzing import damaged
from hypothesis import given
from hypothesis import strategies as st
from packets import LANES, NETWORK, Protocol, compiled, packets, samples

FREQUENCY = 1e5
"""Cycles to a second of the host's clock."""
PROTOCOLS = {lanes: Protocol(compiled(lanes)) for lanes in LANES}


def assert_like_golden(driver: Driver, golden: Golden) -> None:
    for got, expected in zip(driver.weights(), golden.weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


def train(machine: Driver | Golden, seed: int) -> list[np.ndarray]:
    """Train a few samples."""
    inputs, labels = samples(seed, 3)
    return [*machine.train(inputs, labels, 7, NETWORK.learning.rate_at(0)), machine.infer(inputs)]


class Undying:
    """A device that a driver cannot close."""

    def __init__(self, device: Twin) -> None:
        self.send, self.receive = device.send, device.receive

    def close(self) -> None:
        pass


@pytest.fixture(scope="module", params=LANES)
def twin(request: pytest.FixtureRequest) -> Iterator[tuple[Protocol, Twin]]:
    protocol = PROTOCOLS[request.param]
    device = open_twin(protocol.program.parameters, optimize=0)
    assert isinstance(device, Twin)
    yield protocol, device
    device.close()


@given(data=st.data())
def test_packets(twin: tuple[Protocol, Twin], data: st.DataObject) -> None:
    """Each is answered once, in order, with the status that it deserves; only samples change weights."""
    program, device = twin[0].program, twin[1]
    protocol = Protocol(program)
    with Driver(Undying(device), program, timeout=60) as driver:
        driver.load(NETWORK.initial_weights())
        drawn = data.draw(st.lists(packets(protocol), min_size=1, max_size=12))
        for packet in drawn:
            device.send(np.array(packet, dtype=np.uint32))
        for packet in drawn:
            answer = device.receive(60).tolist()
            words, length = protocol.answer(packet)
            assert (answer[: len(words)], len(answer)) == (words, length), [hex(word) for word in packet]
        assert_like_golden(driver, protocol.golden)
        for mine, theirs in zip(train(driver, 3), train(protocol.golden, 3), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert_like_golden(driver, protocol.golden)


class Line:
    """The line to a device, on which noise comes before bytes of the host."""

    def __init__(self, device: ByteTwin) -> None:
        self.device = device
        self.noise: list[tuple[int, bytes]] = []
        """Bytes of the host until it comes, and what comes."""

    def clock(self) -> float:
        return self.device.cycles / FREQUENCY

    def write(self, data: bytes) -> int:
        if not self.noise or self.noise[0][0] >= len(data):
            self.noise[:1] = [(self.noise[0][0] - len(data), self.noise[0][1])] if self.noise else []
            return self.device.write(data)
        place, noise = self.noise.pop(0)
        self.device.write(data[:place] + noise)
        return place

    def read(self, limit: int) -> bytes:
        return self.device.read(limit)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module", params=LANES)
def byte_twin(request: pytest.FixtureRequest) -> Iterator[tuple[Protocol, ByteTwin]]:
    protocol = PROTOCOLS[request.param]
    device = open_twin(protocol.program.parameters, "bytes", optimize=0)
    assert isinstance(device, ByteTwin)
    yield protocol, device
    device.close()


FRAME = encode(Header(Kind.DATA | Kind.LAST, 5, 3, 9, 4).pack() + request(Command.INFER, 0, range(5)).tobytes())
NOISE = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(stuff),
    st.sampled_from([b"\x7e", b"\x7d", b"\x7d\x7e", b"\x7e\x7d\x7e", b"\x7e" * 40, bytes(5_000), b"\x7d" * 5_001]),
    damaged(FRAME).filter(lambda data: FRAME not in data),
    damaged(FRAME[:-1] + FRAME[1:]).filter(lambda data: FRAME[1:-1] not in data),
)


@given(noise=st.lists(st.tuples(st.integers(0, 300), NOISE), max_size=6), session=st.integers(0, 0xFFFF))
def test_noise_on_the_line(byte_twin: tuple[Protocol, ByteTwin], noise: list[tuple[int, bytes]], session: int) -> None:
    """What is no good frame costs time and nothing else: the session goes on to golden's bits."""
    program, device = byte_twin[0].program, byte_twin[1]
    line, golden = Line(device), Golden(NETWORK)
    with Driver(ByteLink(line, session=session, clock=line.clock), program, timeout=600) as driver:
        driver.load(NETWORK.initial_weights())
        line.noise = list(noise)
        for seed in range(2):
            for mine, theirs in zip(train(driver, seed), train(golden, seed), strict=True):
                np.testing.assert_array_equal(mine, theirs)
        assert_like_golden(driver, golden)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Good frames: of any session, kind and number, with any payload that is no request for a sample or a write."""
    kinds = st.one_of(st.sampled_from([Kind.OPEN, Kind.OPENED, Kind.DATA, Kind.DATA | Kind.LAST]), st.builds(Kind, st.integers(0, 63)))
    parts = []
    for _ in range(draw(st.integers(1, 12))):
        header = Header(draw(kinds), draw(st.integers(0, 3)), *(draw(st.integers(0, 255)) for _ in range(3)))
        payload = draw(st.lists(st.sampled_from([0, Command.HELLO, Command.READ | 5 << 16, 1 << 31]), max_size=40))
        parts.append(encode(header.pack() + np.array(payload, dtype="<u4").tobytes()))
    return b"".join(parts)


@given(st.lists(st.one_of(frames(), NOISE), max_size=6), st.integers(0, 0xFFFF))
def test_another_program_on_the_line(byte_twin: tuple[Protocol, ByteTwin], noise: list[bytes], session: int) -> None:
    """Whatever frames were there before, a new session finds the weights that were learned, and goes on with them."""
    program, device = byte_twin[0].program, byte_twin[1]
    line, golden = Line(device), Golden(NETWORK)
    with Driver(ByteLink(line, session=session, clock=line.clock), program, timeout=600) as driver:
        driver.load(NETWORK.initial_weights())
        train(driver, 1)
        train(golden, 1)
    for data in noise:
        device.write(data)
        device.read(1 << 16)
    # A number that the device has not had lately.
    link = ByteLink(line, session=session ^ 0x5555, clock=line.clock)
    with Driver(link, program, timeout=600) as driver:
        assert_like_golden(driver, golden)
        for mine, theirs in zip(train(driver, 2), train(golden, 2), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert_like_golden(driver, golden)


WORDS = st.one_of(
    st.integers(0, 0xFFFFFFFF),
    st.builds(lambda count, last: count | 0x46B5 << 16 | last << 31, st.integers(0, 30), st.integers(0, 1)),
    st.sampled_from([0x46B5FFFF, 0xC6B5FFFF, 0xC6B50001, Command.HELLO]),
)


@pytest.fixture(scope="module")
def transfer_twin() -> Iterator[TransferTwin]:
    device = open_twin(PROTOCOLS[4].program.parameters, "transfers", optimize=0)
    assert isinstance(device, TransferTwin)
    yield device
    device.close()


@given(st.lists(st.lists(WORDS, max_size=20), max_size=4), st.integers(0, 255))
def test_torn_transfers(transfer_twin: TransferTwin, transfers: list[list[int]], tag: int) -> None:
    """What is no transfer is passed over: the next one is understood."""
    for words in transfers:
        transfer_twin.write(np.array([word for word in words if word & 0xFF not in range(2, 6)], dtype="<u4").tobytes())
        transfer_twin.end()
        while transfer_twin.read():
            pass
    transfer_twin.write(join([request(Command.HELLO, 0, (), tag)]))
    transfer_twin.end()
    came = next(data for data in (transfer_twin.read() for _ in range(100)) if data)
    (answer,) = TransferDecoder().feed(came)
    assert answer[0] == 0x81 | tag << 8
