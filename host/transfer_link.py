# SPDX-License-Identifier: Apache-2.0
"""Packets in transfers: what links that lose nothing have in common."""

import threading
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import Final

from ..firmware.errors import LinkError
from ..firmware.protocol import Words
from ..firmware.transfer import OpeningSearch, TransferDecoder, join, opening

WRITE_BYTES: Final = 1 << 16
"""Bytes of a transfer to the device at the most, unless one packet is longer."""

OPEN_SECONDS: Final = 3.0
"""Time in which the device must answer at first."""


@dataclass
class TransferStatistics:
    """What a link has moved."""

    writes: int = 0
    packets_sent: int = 0
    reads: int = 0
    packets_received: int = 0


class TransferLink(ABC):
    """Carries packets in transfers: a driver's transport.

    Packets that are sent while others are under way wait, and go together in one write when there are half as many, when the line
    has nothing for the host, or when a transfer is full. Another thread takes what comes, so that the device never waits for the host.

    Attributes
    ----------
    name : str
        How messages call the device.
    remedy : str
        What to do with a device that does not answer.
    statistics : TransferStatistics
    """

    name: str
    remedy: str

    def __init__(self) -> None:
        self.statistics = TransferStatistics()
        self._waiting: list[Words] = []
        self._waiting_bytes = 0
        self._answers: deque[Words] = deque()
        self._decoder = TransferDecoder()
        self._opening, pattern = opening()
        self._search = OpeningSearch(pattern)
        # Requests whose answers have not come; the taking thread's, like the answers, under the condition.
        self._due = 0
        self._changed = threading.Condition()
        self._failure: LinkError | None = None
        self._closed = False

    def send(self, packet: Words) -> None:
        """Queue a packet, (words,) uint32 with at least one word.

        Raises
        ------
        LinkError
            If the device is gone or the link closed.
        """
        self._check()
        size = 4 * len(packet) + 4
        if self._waiting and self._waiting_bytes + size > WRITE_BYTES:
            self._flush()
        self._waiting.append(packet)
        self._waiting_bytes += size
        if 2 * len(self._waiting) > self._due:
            self._flush()

    def receive(self, timeout: float) -> Words:
        """The next packet, (words,) uint32.

        Raises
        ------
        LinkError
            If it is not complete after ``timeout`` seconds, or the device is gone or the link closed.
        """
        if not self._answers:
            self._check()
            self._flush()
            with self._changed:
                if not self._changed.wait_for(lambda: self._answers or self._failure, timeout):
                    raise LinkError(f"{self.name} has sent nothing for {timeout:g} s; load the bitstream again")
        if not self._answers:
            self._check()
        return self._answers.popleft()

    @abstractmethod
    def close(self) -> None:
        """Release the device; may be called again. Packets that are still under way are given up."""

    @abstractmethod
    def _write(self, data: bytes) -> None:
        """Send a transfer."""

    def _begin(self, seconds: float) -> None:
        """Find where the answers of this session begin: what an earlier program left is passed over."""
        self._write(join(self._opening))
        with self._changed:
            answered = self._changed.wait_for(lambda: self._search.found or self._failure, seconds)
        if not answered:
            seen = self._search.seen
            came = f"{seen} bytes came, but not its answer" if seen else "nothing came"
            raise LinkError(
                f"{self.name} has not answered in {seconds:g} s: {came}; "
                f"check that a frenn bitstream is loaded and runs, then {self.remedy}"
            )
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise LinkError("the line is closed; open the device again")

    def _flush(self) -> None:
        if not self._waiting:
            return
        with self._changed:
            self._due += len(self._waiting)
            self._changed.notify_all()
        data = join(self._waiting)
        self.statistics.packets_sent += len(self._waiting)
        self._waiting = []
        self._waiting_bytes = 0
        self._write(data)

    def _fail(self, failure: LinkError) -> None:
        """Tell whoever waits; the first failure counts."""
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()

    def _take(self, data: bytes) -> None:
        """What came, in whatever portions.

        Raises
        ------
        LinkError
            If it is no transfer.
        """
        self.statistics.reads += 1
        with self._changed:
            if not self._search.found:
                data = self._search.feed(data)
            packets = self._decoder.feed(data)
            self._answers.extend(packets)
            self._due -= len(packets)
            self.statistics.packets_received += len(packets)
            self._changed.notify_all()
