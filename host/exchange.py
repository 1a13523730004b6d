# SPDX-License-Identifier: Apache-2.0
"""Requests to a device and their answers, whatever it runs."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..firmware.counters import NAMES
from ..firmware.errors import FrennError, LinkError
from ..firmware.protocol import ANSWER, STATUS_SHIFT, STEP_BITS, WRONG, Command, Hello, Register, Space, Status, Words, request

PACKET_WORDS: Final = 256
"""Words of the longest packet that loads or reads memory, unless a single item is longer."""
SAMPLES: Final = 32
"""Samples of a request at the most."""
SAMPLE_WORDS: Final = 1024
"""Words of all samples of a request at the most, unless a single one is longer."""

_REASONS: Final = {
    Status.UNKNOWN_COMMAND: "it does not know the command; the bitstream is older than this program, build it again",
    Status.UNKNOWN_SPACE: "it has no such memory; the bitstream is older than this program, build it again",
    Status.WRONG_LENGTH: "the packet has the wrong length; load the network again",
    Status.BAD_ADDRESS: "the address is outside its memory; the bitstream has other depths than it was checked for",
    Status.BAD_LABEL: "the label is no class of the network that is loaded; load the network again",
    Status.BAD_RATE: "the learning rate is outside the run that the network was compiled for; load the network again",
    Status.BAD_RUN: "the zeros of a sample go on beyond its inputs; load the network again",
}


class Transport(Protocol):
    """Carries whole packets to a device and back, in order and without loss."""

    def send(self, packet: Words) -> None:
        """Queue one request packet, (words,) uint32.

        It may wait for room on the line, but not for an answer to be taken with `receive`: the driver sends several
        requests before it asks for the first answer.
        """

    def receive(self, timeout: float) -> Words:
        """The next answer packet, (words,) uint32.

        Raises
        ------
        LinkError
            If it has not arrived in full after `timeout` seconds, or the line is broken.
        """

    def close(self) -> None:
        """Release the line; may be called again."""


@runtime_checkable
class Unreliable(Protocol):
    """A transport that knows how long requests and answers had better be."""

    @property
    def request_words(self) -> int:
        """Words of a request of many parts: few where what follows a lost one goes again."""

    @property
    def answer_words(self) -> int:
        """Words of an answer that has a fair chance to get through in one piece."""


class Request(NamedTuple):
    """A request that has no tag yet."""

    command: Command
    argument: int
    body: Words
    what: str
    """What the request is for, as an error message names it."""


class _Pending(NamedTuple):
    request: Request
    tag: int


class Exchange:
    """Makes requests, several of them in flight at a time, so that neither the line nor the device waits for the other.

    The device answers in order, and every answer is matched to its request by a tag.

    Parameters
    ----------
    transport : Transport
        The line; owned and closed from here, also when the constructor raises.
    timeout : float
        Seconds to wait for one answer.
    window : int
        Requests in flight, 1 to 128.

    Attributes
    ----------
    hello : Hello
        What the device says of itself.

    Raises
    ------
    LinkError
        If the device does not answer, or not as a frenn device.
    FrennError
        If it speaks another version of the protocol.
    """

    def __init__(self, transport: Transport, *, timeout: float = 30.0, window: int = 8) -> None:
        self._transport = transport
        self._timeout = timeout
        self._window = window
        self._tag = 0
        try:
            if not 1 <= window <= 128:
                raise FrennError(f"window is {window}; legal is 1 to 128 requests")
            (answer,) = self.run([Request(Command.HELLO, 0, words(), "the greeting of a frenn device")])
            self.hello = Hello.decode(answer)
        except BaseException:
            transport.close()
            raise

    def close(self) -> None:
        """Release the line; may be called again."""
        self._transport.close()

    def run(self, requests: Iterable[Request]) -> Iterator[Words]:
        """Make requests, a window of them in flight, and yield the words after word 0 of each answer, in order.

        Raises
        ------
        LinkError
            If an answer is missing, belongs to another request, or says that the request was refused.
        """
        pending: deque[_Pending] = deque()
        for item in requests:
            if len(pending) == self._window:
                yield self._answer(pending.popleft())
            # Tags run on over all exchanges: answers left over from an exchange that broke off match nothing later.
            self._tag = (self._tag + 1) & 0xFF
            pending.append(_Pending(item, self._tag))
            self._transport.send(request(item.command, item.argument, item.body, self._tag))
        while pending:
            yield self._answer(pending.popleft())

    def write(self, requests: Iterable[Request]) -> None:
        """Make requests whose answers carry no words.

        Raises
        ------
        LinkError
            As `run`, and if an answer carries words.
        """
        for answer in self.run(requests):
            if len(answer):
                raise LinkError(f"the device answered a write with {len(answer)} words; reset the device")

    def read(self, space: Space, address: int, count: int, item: int, what: str) -> Words:
        """``count`` items of ``item`` words from a space, (count * item,) uint32.

        Raises
        ------
        LinkError
            As `run`, and if an answer is too short or too long.
        """
        sizes: deque[int] = deque()

        def requests() -> Iterator[Request]:
            start = 0
            while start < count:
                line = self._transport
                longest = min(PACKET_WORDS, line.answer_words) if isinstance(line, Unreliable) else PACKET_WORDS
                sizes.append(min(max((longest - 1) // item, 1), count - start))
                yield Request(Command.READ, space, words(address + start, sizes[-1]), f"{what} {start} and on")
                start += sizes[-1]

        parts = []
        for part in self.run(requests()):
            size = sizes.popleft()
            if len(part) != size * item:
                raise LinkError(f"the device answered {len(part)} words of {what}, {size * item} were asked for; reset the device")
            parts.append(part)
        return np.concatenate(parts)

    def samples(self, command: Command, argument: int, samples: Iterable[Words], step: int | None = None) -> NDArray[np.int64]:
        """The results of samples, which go many to a request.

        Parameters
        ----------
        command : Command
            TRAIN or INFER.
        argument : int
            Of every request.
        samples : iterable of (words,) uint32
        step : int, optional
            Of the first sample, if it is to be trained.

        Returns
        -------
        (samples,) int64

        Raises
        ------
        LinkError
            As `run`, if a sample is refused, or the answer has not one result for each.
        """
        sizes: deque[int] = deque()

        def requests() -> Iterator[Request]:
            done = 0
            for group in grouped(samples, step or 0, self._sample_words):
                head = [] if step is None else [words(step + done)]
                sizes.append(len(group))
                done += len(group)
                yield Request(command, argument, np.concatenate([*head, *group]), f"{len(group)} samples")

        results = [words()]
        for answer in self.run(requests()):
            size = sizes.popleft()
            status = (int(answer[-1]) & ~WRONG) >> STATUS_SHIFT if len(answer) else Status.DONE
            if status != Status.DONE:
                raise LinkError(f"the device refused {command.name} (sample {len(answer)} of {size}): {_reason(status)}")
            if len(answer) != size:
                raise LinkError(f"the device answered {size} samples with {len(answer)} results; reset the device")
            results.append(answer)
        return np.concatenate(results).astype(np.int64)

    def _sample_words(self) -> int:
        """Words of all samples of the next request."""
        line = self._transport
        return min(SAMPLE_WORDS, line.request_words) if isinstance(line, Unreliable) else SAMPLE_WORDS

    def counters(self) -> dict[str, int]:
        """Performance counters by name, all of `counters.NAMES`."""
        low, high = self.read(Space.COUNTERS, 0, len(NAMES), 2, "counters").reshape(-1, 2).astype(np.int64).T
        return dict(zip(NAMES, (low | high << 32).tolist(), strict=True))

    def _answer(self, pending: _Pending) -> Words:
        command, what = pending.request.command, pending.request.what
        try:
            answer = self._transport.receive(self._timeout)
        except LinkError as error:
            raise LinkError(f"waiting for the answer to {command.name} ({what}): {error}") from None
        head = int(answer[0]) if len(answer) else 0
        if head & 0xFFFF != command | ANSWER | pending.tag << 8:
            if command is Command.HELLO:
                raise LinkError("what answers is no frenn device; check the port and that the board is configured")
            raise LinkError(
                f"the answer to {command.name} ({what}) belongs to another request (word {head:#010x}, tag {pending.tag} expected); "
                "reset the device and open it again"
            )
        status = head >> STATUS_SHIFT
        if status != Status.DONE:
            raise LinkError(f"the device refused {command.name} ({what}): {_reason(status)}")
        return answer[1:]


def grouped(samples: Iterable[Words], step: int, limit: Callable[[], int] = lambda: SAMPLE_WORDS) -> Iterator[list[Words]]:
    """Samples in their order, as many together as a request carries.

    Parameters
    ----------
    samples : iterable of (words,) uint32
    step : int
        Of the first one. Those of a group have their upper bits in common.
    limit : callable
        Words of all samples of the request that is made now, unless a single one is longer.
    """
    group: list[Words] = []
    size = 0
    for number, sample in enumerate(samples, step):
        if group and (len(group) == SAMPLES or size + len(sample) > limit() or not number % (1 << STEP_BITS)):
            yield group
            group, size = [], 0
        group.append(sample)
        size += len(sample)
    if group:
        yield group


def words(*values: int) -> Words:
    """A packet's words, uint32."""
    return np.array(values, dtype=np.uint32)


def write(space: Space, address: int, data: Words) -> Request:
    """A request that stores items in a space."""
    return Request(Command.WRITE, space, np.concatenate([words(address), data]), f"{space.name.lower()} {address} and on")


def write_register(register: Register, value: int) -> Request:
    """A request that sets a register."""
    return write(Space.REGISTERS, register, words(value))


def _reason(status: int) -> str:
    """Why a request or a sample was refused, and what to do."""
    known = _REASONS.get(Status(status)) if status in list(Status) else None
    return known or f"status {status} is unknown, update frenn"
