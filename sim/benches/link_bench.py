# SPDX-License-Identifier: Apache-2.0
"""What the benches of `Link` share: the four streams, frames by hand, a device that answers, and the host's endpoint."""

import os
import random
from collections.abc import Callable
from typing import Any, Final
from zlib import crc32

import cocotb
from cocotb.triggers import RisingEdge

from ...firmware.endpoint import Endpoint
from ...firmware.framing import CREDIT_WORDS, FLAG, MAX_CREDIT, Deframer, Header, Kind, encode, stuff
from ...firmware.runs import RunDeframer
from ...rtl_gen.link_parameters import LinkParameters
from .link_lines import spoil
from .streams import StreamSink, StreamSource, start

PARAMETERS: Final = LinkParameters(
    **{name: int(os.environ[name.upper()]) for name in LinkParameters.__dataclass_fields__ if name.upper() in os.environ}
)
DAMAGE: Final = float(os.environ.get("DAMAGE", "0"))
SESSION: Final = 0x7D7E
LAST: Final = 1 << 32


def answer_of(request: list[int]) -> list[int]:
    """What the device of this bench answers: the length, then every word's complement, if the first word is even; else the first."""
    return [len(request), *(word ^ 0xFFFFFFFF for word in request)] if request[0] % 2 == 0 else request[:1]


class LinkBench:
    """Drivers on the four streams, and a device that answers requests."""

    def __init__(self, dut: Any, pause: float = 0.0, line_pause: float = 0.0, damage: float = 0.0, device: bool = True) -> None:
        self.dut = dut
        self.damage = damage
        self.cycle = 0
        self.rx = StreamSource(dut, "rx", _generator(), line_pause)
        self.tx = StreamSink(dut, "tx", _generator(), line_pause)
        self.request = StreamSink(dut, "request", _generator(), pause)
        self.answer = StreamSource(dut, "answer", _generator(), pause)
        self.requests: list[list[int]] = []
        self.partial: list[int] = []
        self.answering = device
        self.deframer = Deframer()

    async def start(self) -> None:
        await start(self.dut)
        # What the bench before left on its way.
        self.tx.queue.clear()
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        while True:
            await RisingEdge(self.dut.clk)
            self.cycle += 1
            # A serial line cannot wait, whatever the device and the other direction do.
            assert int(self.dut.rx__ready.value) or int(self.dut.rst.value), f"a byte would be lost in cycle {self.cycle}"
            while self.answering and self.request.queue:
                self.take()

    def take(self) -> None:
        """Take a word of a request, and answer the request if it was the last."""
        item = self.request.queue.popleft()
        self.partial.append(item & 0xFFFFFFFF)
        if item & LAST:
            self.requests.append(self.partial)
            self.reply(answer_of(self.partial))
            self.partial = []

    def reply(self, answer: list[int]) -> None:
        self.answer.send([*answer[:-1], answer[-1] | LAST])

    async def cycles(self, count: int) -> None:
        for _ in range(count):
            await RisingEdge(self.dut.clk)

    async def until(self, condition: Callable[[], object], limit: int, what: str) -> None:
        for _ in range(limit):
            if condition():
                return
            await RisingEdge(self.dut.clk)
        raise AssertionError(f"{what}: not after {limit} cycles")

    def sent(self) -> list[tuple[Header, list[int]]]:
        """Frames that the gateware has sent since the last call."""
        text = bytes(self.tx.queue)
        self.tx.queue.clear()
        contents = self.deframer.feed(text)
        assert not self.deframer.bad
        return [(Header.unpack(content), _words(content[4:])) for content in contents]

    def frame(self, kind: Kind, sequence: int = 0, acknowledge: int = 0, payload: tuple[int, ...] = (), session: int = SESSION) -> None:
        """Put a frame on the line."""
        self.rx.send(frame_of(kind, sequence, acknowledge, payload, session))

    async def open(self) -> None:
        self.frame(Kind.OPEN)
        await self.rx.drain()
        await self.cycles(40)
        assert self.sent() == [(Header(Kind.OPENED, SESSION, credit=credit_of(PARAMETERS.receive_words)), [])]

    async def host(self, packets: list[list[int]], endpoint: Endpoint, limit: int) -> list[list[int]]:
        """Send packets and return as many answers, while an endpoint minds the other end of the line."""
        before = len(endpoint.received)
        for packet in packets:
            endpoint.send(packet)
        answers: list[list[int]] = []
        for _ in range(limit // 16):
            text = bytes(self.tx.queue)
            self.tx.queue.clear()
            endpoint.feed(spoil(random, text, self.damage), self.cycle)
            # The line is short: what goes on it now is decided now.
            if len(self.rx.queue) < 64:
                self.rx.send(spoil(random, endpoint.output(self.cycle), self.damage))
            while endpoint.received:
                answers.append(endpoint.received.popleft().tolist())
            if len(answers) - before >= len(packets) and endpoint.idle:
                return answers
            await self.cycles(16)
        raise AssertionError(f"{len(answers)} of {len(packets)} answers after {limit} cycles; {endpoint.statistics}")


def _generator() -> random.Random:
    return random.Random(random.getrandbits(64))


def _words(payload: bytes) -> list[int]:
    return [int.from_bytes(payload[at : at + 4], "little") for at in range(0, len(payload), 4)]


def frame_of(kind: Kind, sequence: int = 0, acknowledge: int = 0, payload: tuple[int, ...] = (), session: int = SESSION) -> bytes:
    """A frame of the host."""
    header = Header(kind, session, sequence, acknowledge, MAX_CREDIT)
    return encode(header.pack() + b"".join(word.to_bytes(4, "little") for word in payload))


def torn(frame: bytes) -> bytes:
    """A frame whose CRC has a wrong bit."""
    content = RunDeframer().runs(frame)[0].content
    return FLAG.to_bytes() + stuff(content + (crc32(content) ^ 1 << random.randrange(32)).to_bytes(4, "little")) + FLAG.to_bytes()


def credit_of(words: int) -> int:
    return min(MAX_CREDIT, words // CREDIT_WORDS)
