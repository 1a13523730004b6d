# SPDX-License-Identifier: Apache-2.0
"""One end of the byte link, without the line and without a clock.

The host runs it as the initiator of sessions. As a responder it behaves as the gateware does, and stands in for it in tests.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import FrennError
from .framing import CREDIT_WORDS, MAX_CREDIT, MAX_FRAME_WORDS, MAX_SESSION, SEQUENCES, SESSION_MASK, WINDOW, Deframer, Header, Kind, encode
from .protocol import Words


@dataclass
class LinkStatistics:
    """What an end of the link has seen.

    Attributes
    ----------
    frames_sent, data_sent, resent : int
        All frames, those with payload, and those of them that had been sent before.
    frames_received, data_received, duplicates, gaps : int
        Good frames, those with payload that were taken, those that had been taken before, and those that came after a lost one.
    bad : int
        Runs of bytes between flags that were no good frame.
    polls : int
        Times that the other end was asked where it stands, since it was silent for too long.
    """

    frames_sent: int = 0
    data_sent: int = 0
    resent: int = 0
    frames_received: int = 0
    data_received: int = 0
    duplicates: int = 0
    gaps: int = 0
    bad: int = 0
    polls: int = 0


class Endpoint:
    """Sends and receives packets over an unreliable line, each exactly once and in order (go-back-N).

    Time is passed in, in any unit that only grows.

    Parameters
    ----------
    initiator : bool
        Whether this end opens sessions, as a host does, or answers, as a device does.
    timeout : float
        Time without progress after which the other end is polled.
    acknowledge : float
        Time that an acknowledgement may wait for a data frame to go with; less than the other end's timeout.
    frame_words : int
        Payload words of the longest frame sent.

    Attributes
    ----------
    established : bool
        Whether a session is open.
    received : deque of Words
        Packets in the order in which they were sent.
    credit : int
        Room granted to the other end, in units of `framing.CREDIT_WORDS`.
    statistics : LinkStatistics

    Raises
    ------
    FrennError
        If `frame_words` is out of range.
    """

    def __init__(self, *, initiator: bool, timeout: float, acknowledge: float, frame_words: int = 256) -> None:
        if not 1 <= frame_words <= MAX_FRAME_WORDS:
            raise FrennError(f"link: frame_words is {frame_words}; legal is an integer from 1 to {MAX_FRAME_WORDS}")
        self.established = False
        self.received: deque[Words] = deque()
        self.credit = MAX_CREDIT
        self.statistics = LinkStatistics()
        self._initiator = initiator
        self._timeout = timeout
        self._acknowledge_after = acknowledge
        self._frame_words = frame_words
        self._deframer = Deframer()
        self._session = 0
        self._open_at: float | None = None
        self._opened = False
        self._reset(0.0)

    def _reset(self, now: float) -> None:
        self._waiting: deque[tuple[bytes, Kind]] = deque()
        self._unacknowledged: deque[tuple[bytes, Kind]] = deque()
        self._base = 0
        self._again = 0
        self._outstanding = 0
        self._peer_credit = 0
        self._polling = False
        self._deadline = now + self._timeout
        self._expected = 0
        self._partial: list[bytes] = []
        self._last_gap: int | None = None
        self._reply = self._repeat = False
        self._due_at: float | None = None
        self._due_bytes = 0

    @property
    def idle(self) -> bool:
        """Whether everything that was sent has been acknowledged."""
        return self.established and not (self._waiting or self._unacknowledged)

    def open(self, session: int, now: float) -> None:
        """Start a session, which ends the one before; packets of that one are forgotten.

        Parameters
        ----------
        session : int
            A number of 16 bits that the device has not had lately.
        now : float
        """
        self._reset(now)
        self.received.clear()
        self.established = False
        self._session = session & MAX_SESSION
        self._open_at = now

    def send(self, packet: Words | Sequence[int]) -> None:
        """Queue a packet of at least one word."""
        data = np.asarray(packet, dtype="<u4").tobytes()
        if not data:
            raise FrennError("link: a packet has no words; a packet has at least one")
        size = 4 * self._frame_words
        for start in range(0, len(data), size):
            last = start + size >= len(data)
            self._waiting.append((data[start : start + size], Kind.DATA | Kind.LAST if last else Kind.DATA))

    def feed(self, data: bytes, now: float) -> None:
        """Take bytes from the line."""
        for content in self._deframer.feed(data):
            self.statistics.frames_received += 1
            self._frame(Header.unpack(content), content[4:], now)
        self.statistics.bad = self._deframer.bad

    def output(self, now: float) -> bytes:
        """Bytes to put on the line now."""
        if not self.established:
            if self._open_at is None or now < self._open_at:
                return b""
            self._open_at = now + self._timeout
            self.statistics.frames_sent += 1
            return encode(Header(Kind.OPEN, self._session, credit=self.credit).pack())
        frames: list[bytes] = []
        if self._opened:
            self._opened = False
            self.statistics.frames_sent += 1
            frames.append(encode(Header(Kind.OPENED, self._session, credit=self.credit).pack()))
        if not (self._waiting or self._unacknowledged):
            self._deadline = now + self._timeout
            self._polling = False
        elif now >= self._deadline:
            self._polling = True
            self._deadline = now + self._timeout
            self.statistics.polls += 1
            frames.append(self._encode(Kind.POLL))
        while self._waiting and not self._polling and len(self._unacknowledged) < WINDOW:
            payload, kind = self._waiting[0]
            if self._outstanding + len(payload) > 4 * CREDIT_WORDS * self._peer_credit:
                break
            frames.append(self._encode(kind, self._base + len(self._unacknowledged), payload))
            self.statistics.data_sent += 1
            if self._again:
                self._again -= 1
                self.statistics.resent += 1
            self._unacknowledged.append(self._waiting.popleft())
            self._outstanding += len(payload)
            self._deadline = now + self._timeout
        if self._reply or (self._due_at is not None and (now >= self._due_at or self._due_bytes >= 4 * CREDIT_WORDS)):
            frames.append(self._encode(Kind(0)))
        return b"".join(frames)

    def _encode(self, kind: Kind, sequence: int = 0, payload: bytes = b"") -> bytes:
        if self._repeat:
            kind |= Kind.REPEAT
        self._reply = self._repeat = False
        self._due_at = None
        self._due_bytes = 0
        self.statistics.frames_sent += 1
        return encode(Header(kind, self._session, sequence % SEQUENCES, self._expected, self.credit).pack() + payload)

    def _frame(self, header: Header, payload: bytes, now: float) -> None:
        kind = header.kind
        if kind & Kind.OPEN:
            if not self._initiator and not payload:
                self._reset(now)
                self.received.clear()
                self._session = header.session
                self._peer_credit = header.credit
                self.established = self._opened = True
        elif kind & Kind.OPENED:
            if self._initiator and not self.established and self._open_at is not None and header.session == self._session:
                self.established = True
                self._peer_credit = header.credit
                self._deadline = now + self._timeout
                # Several frames fit the device's buffer, so that the line need not wait for it.
                self._frame_words = max(1, min(self._frame_words, header.credit * CREDIT_WORDS // 2))
                self._cut()
        elif self.established and header.session == self._session & SESSION_MASK:
            self._acknowledge(header, now)
            if kind & Kind.POLL:
                self._reply = self._repeat = True
            if kind & Kind.DATA and payload:
                self._data(header, payload, now)

    def _cut(self) -> None:
        """Cut what was queued before the session was open to the length that the device takes."""
        waiting, self._waiting = self._waiting, deque()
        packet: list[bytes] = []
        for payload, kind in waiting:
            packet.append(payload)
            if kind & Kind.LAST:
                self.send(np.frombuffer(b"".join(packet), dtype="<u4"))
                packet = []

    def _acknowledge(self, header: Header, now: float) -> None:
        count = (header.acknowledge - self._base) % SEQUENCES
        if count > len(self._unacknowledged) + self._again:
            return
        self._peer_credit = header.credit
        if count:
            self._base = header.acknowledge
            self._deadline = now + self._timeout
            for _ in range(min(count, len(self._unacknowledged))):
                self._outstanding -= len(self._unacknowledged.popleft()[0])
                count -= 1
            for _ in range(count):
                self._waiting.popleft()
                self._again -= 1
        if header.kind & Kind.REPEAT:
            self._polling = False
            self._again += len(self._unacknowledged)
            self._waiting.extendleft(reversed(self._unacknowledged))
            self._unacknowledged.clear()
            self._outstanding = 0

    def _data(self, header: Header, payload: bytes, now: float) -> None:
        ahead = (header.sequence - self._expected) % SEQUENCES
        if ahead == 0:
            self.statistics.data_received += 1
            self._expected = (self._expected + 1) % SEQUENCES
            self._last_gap = None
            self._due_bytes += len(payload)
            if self._due_at is None:
                self._due_at = now + self._acknowledge_after
            self._partial.append(payload)
            if header.kind & Kind.LAST:
                self.received.append(np.frombuffer(b"".join(self._partial), dtype="<u4"))
                self._partial = []
        elif ahead < WINDOW:
            self.statistics.gaps += 1
            # A number no higher than the last one says that the other end has gone back, and that the frame was lost again.
            if self._last_gap is None or ahead <= self._last_gap:
                self._reply = self._repeat = True
            self._last_gap = ahead
        else:
            self.statistics.duplicates += 1
            self._reply = True
