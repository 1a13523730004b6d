# SPDX-License-Identifier: Apache-2.0
"""The host's end of a byte link."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from ..firmware.endpoint import Endpoint, LinkStatistics
from ..firmware.errors import FrennError, LinkError
from ..firmware.framing import MAX_FRAME_WORDS, MAX_SESSION
from ..firmware.protocol import Words

READ_BYTES: Final = 1 << 16


class ByteStream(Protocol):
    """A line that carries bytes both ways and may lose, change or add some."""

    def write(self, data: bytes) -> int:
        """Put bytes on the line without waiting; returns how many it took, from the first on."""

    def read(self, limit: int) -> bytes:
        """At most ``limit`` bytes that have arrived.

        None may have. A line that costs nothing to ask should wait a moment, say a millisecond, before it says so, since it is
        asked again and again.
        """

    def close(self) -> None:
        """Release the line."""


@dataclass(frozen=True, kw_only=True)
class ByteLinkParameters:
    """How the host's end behaves.

    Parameters
    ----------
    frame_words : int
        Payload words of the longest frame sent, 1 to `framing.MAX_FRAME_WORDS`; half the device's receive buffer if that is less.
    poll_seconds : float
        Silence after which the device is asked where it stands. It may be shorter than the line's delay: that costs a few bytes.
    acknowledge_seconds : float
        Time that an acknowledgement may wait for data to go with.
    open_seconds : float
        Time in which the device must have opened the session.

    Raises
    ------
    FrennError
        Naming the parameter that is wrong and what is legal.
    """

    frame_words: int = 256
    poll_seconds: float = 0.1
    acknowledge_seconds: float = 0.002
    open_seconds: float = 3.0

    def __post_init__(self) -> None:
        if not 1 <= self.frame_words <= MAX_FRAME_WORDS:
            raise FrennError(f"link: frame_words is {self.frame_words}; legal is an integer from 1 to {MAX_FRAME_WORDS}")
        for name in ("poll_seconds", "acknowledge_seconds", "open_seconds"):
            if not getattr(self, name) > 0:
                raise FrennError(f"link: {name} is {getattr(self, name)}; legal is a number above 0")


class ByteLink:
    """Carries packets over a byte stream, each exactly once and in order, whatever the line does: a driver's transport.

    Parameters
    ----------
    stream : ByteStream
        The link owns it from here and closes it, also when the constructor raises.
    parameters : ByteLinkParameters, optional
    session : int, optional
        Number of the session, 16 bits; a random one by default, so that a device does not take frames of an earlier program.
    clock : callable, optional
        Seconds that only grow: those of a simulated line, or the computer's by default.

    Attributes
    ----------
    statistics : LinkStatistics

    Raises
    ------
    LinkError
        If no device opens the session in time; the message tells a silent line from a noisy one.
    """

    def __init__(
        self,
        stream: ByteStream,
        parameters: ByteLinkParameters | None = None,
        *,
        session: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parameters = ByteLinkParameters() if parameters is None else parameters
        self._stream = stream
        self._clock = clock
        self._closed = False
        self._unwritten = b""
        self._bytes_read = 0
        self._endpoint = Endpoint(
            initiator=True,
            timeout=parameters.poll_seconds,
            acknowledge=parameters.acknowledge_seconds,
            frame_words=parameters.frame_words,
        )
        try:
            now = self._clock()
            self._endpoint.open(secrets.randbelow(MAX_SESSION + 1) if session is None else session, now)
            self._flush()
            while not self._endpoint.established:
                if self._clock() - now > parameters.open_seconds:
                    raise LinkError(self._silence("opened no session", parameters.open_seconds, 0, 0))
                self._pump()
        except BaseException:
            self.close()
            raise

    @property
    def statistics(self) -> LinkStatistics:
        return self._endpoint.statistics

    @property
    def request_words(self) -> int:
        """Words of a request of many parts, so that it goes in a few frames."""
        return self._endpoint.request_words

    @property
    def answer_words(self) -> int:
        """Words of an answer that has a fair chance to get through in one piece."""
        return self._endpoint.answer_words

    def send(self, packet: Words) -> None:
        """Queue a packet, (words,) uint32 with at least one word.

        Raises
        ------
        LinkError
            If the line is broken or closed.
        """
        self._endpoint.send(packet)
        self._flush()

    def receive(self, timeout: float) -> Words:
        """The next packet, (words,) uint32.

        Parameters
        ----------
        timeout : float
            Seconds.

        Raises
        ------
        LinkError
            If it is not complete in time; the message tells a silent line, a noisy one, and a device that does not answer
            apart. Or if the line is broken or closed.
        """
        received = self._endpoint.received
        if not received:
            bytes_before, frames_before = self._bytes_read, self.statistics.frames_received
            end = self._clock() + timeout
            self._endpoint.awaiting = True
            while not received:
                if self._clock() > end:
                    raise LinkError(self._silence("sent no packet", timeout, bytes_before, frames_before))
                self._pump()
            self._endpoint.awaiting = False
        return received.popleft()

    def close(self) -> None:
        """Release the line; may be called again. Packets that are still under way are given up."""
        if not self._closed:
            self._closed = True
            self._stream.close()

    def _pump(self) -> None:
        """Read, which may wait a moment, and write what there is to say to that."""
        with self._line():
            data = self._stream.read(READ_BYTES)
        if data:
            self._bytes_read += len(data)
            self._endpoint.feed(data, self._clock())
        self._flush()

    def _flush(self) -> None:
        with self._line():
            if not self._unwritten:
                self._unwritten = self._endpoint.output(self._clock())
            if self._unwritten:
                self._unwritten = self._unwritten[self._stream.write(self._unwritten) :]

    @contextmanager
    def _line(self) -> Iterator[None]:
        if self._closed:
            raise LinkError("the line is closed; open the device again")
        try:
            yield
        except OSError as error:
            raise LinkError(f"the line broke: {error}; check the cable and open the device again") from error

    def _silence(self, what: str, seconds: float, bytes_before: int, frames_before: int) -> str:
        count = self._bytes_read - bytes_before
        head = f"the device {what} in {seconds:g} s"
        if not count:
            return f"{head}: no byte arrived; check port and power, and that the bitstream is loaded and runs"
        if self.statistics.frames_received == frames_before:
            return f"{head}: {count} bytes arrived, but no good frame; check that both ends run at the same speed, and the wiring"
        if not self._endpoint.established:
            return f"{head}: good frames arrived, but not its answer; check that only one program uses the port"
        if not self._endpoint.idle:
            return f"{head}: good frames arrived, but it has not taken all that was sent; reset the device"
        return f"{head}, though it has taken all that was sent; give it more time or reset the device"
