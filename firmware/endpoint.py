# SPDX-License-Identifier: Apache-2.0
"""One end of the byte link, without the line and without a clock.

The host runs it as the initiator of sessions. As a responder it behaves as the gateware does, and stands in for it in tests. Two
things differ: it asks for a torn frame when the frame behind it ends, not when that begins; and a frame that is longer than any is
never asked for so.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import Final

import numpy as np

from .errors import FrennError
from .framing import (
    CREDIT_WORDS,
    FRAME_BYTES,
    MAX_CREDIT,
    MAX_FRAME_WORDS,
    MAX_SESSION,
    SEQUENCES,
    SESSION_MASK,
    SESSION_SHIFT,
    WINDOW,
    Header,
    Kind,
    encode,
)
from .protocol import Words
from .runs import RunDeframer

FIRST_SPAN: Final = 1_400.0
"""Bytes between two losses that an initiator expects before it knows its line: short frames, few under way."""
LEAST_WORDS: Final = 4
"""Payload words below which it does not shorten frames."""
LEAST_FRAMES: Final = 2
"""Frames that are always let go together: the one after a lost one tells of it at once."""
REQUEST_FRAMES: Final = 12
"""Frames of a request that is made of many parts. The answer acknowledges it; a long one is lost more often."""
LOST_FRAMES: Final = 1.5
"""Frames that are sent again, about, for one that was lost."""
LEAST_BYTES: Final = 256
"""Bytes of payload that may always be under way, so that short frames need not wait for an acknowledgement that waits."""
UNDER_WAY: Final = 1 / 32
"""Part of the bytes between two losses that may be under way: as much goes again after a loss."""
MEMORY: Final = 0.95
"""What earlier losses count for, at each one, in the estimate of the bytes between two."""
GROWTH: Final = 1 / 8
"""Answers that are asked for grow by this part of what has come over."""
SHORTEST: Final = 1 / 20
"""Part of its timeout below which an initiator's patience does not fall."""
LONGEST: Final = 10
"""Multiple of its timeout above which it does not rise."""
LATE: Final = 32
"""Acknowledgements that are all late before one of them tells of a line that has become slower."""
BACKOFF: Final = 8
"""Largest factor by which polls that nothing answers grow apart."""


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
        Times that the other end was asked where it stands, or for what is awaited, since it was silent for too long.
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
        Time without progress after which the other end is polled. An initiator takes it for a guess: it measures how long
        acknowledgements take, waits no longer than they need, but `SHORTEST` of the guess at least, and twice as long each time that
        nothing comes.
    acknowledge : float
        Time that an acknowledgement may wait for a data frame to go with; less than the other end's timeout.
    frame_words : int
        Payload words of the longest frame sent. An initiator begins with short ones and shortens them on a bad line: of a long
        frame too little gets through. It also puts less under way on a bad line, since all that follows a loss goes again.

    Attributes
    ----------
    awaiting : bool
        Whether this end has to hear something: then it asks for it when the line is silent, lest the last frame was lost.
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
        self.established = self.awaiting = False
        self.received: deque[Words] = deque()
        self.credit = MAX_CREDIT
        self.statistics = LinkStatistics()
        self._initiator = initiator
        self._timeout = timeout
        self._acknowledge_after = acknowledge
        self._frame_words = self._longest = frame_words
        self._deframer = RunDeframer()
        # What stood for the header of the frame before, if that was bad.
        self._torn = b""
        self._session = 0
        self._open_at: float | None = None
        self._opened = False
        self._reset(0.0)

    def _reset(self, now: float) -> None:
        self._packets: deque[bytes] = deque()
        # Frames that have been sent and must be sent again: always before what has not been sent.
        self._again: deque[tuple[bytes, Kind]] = deque()
        self._unacknowledged: deque[tuple[bytes, Kind]] = deque()
        # When each of them was sent, or None if its acknowledgement will not tell the line's delay.
        self._sent_at: deque[float | None] = deque()
        self._opening = now
        self._delay: float | None = None
        self._deviation = 0.0
        # When the other end was last polled, and the acknowledgements since one that needed no poll.
        self._asked_at = now
        self._late = 0
        self._backoff = 1
        # Bytes that have come over and frames that were lost, earlier ones counting less.
        self._carried = FIRST_SPAN
        self._losses = 1.0
        self._incoming = 64.0
        self._base = 0
        self._outstanding = 0
        self._peer_credit = 0
        self._polling = False
        # Polls without an answer, and the number behind the last frame that was sent before them. When the next one goes after other
        # frames, they or their answers are taken for lost.
        self._polls = 0
        self._polled = 0
        self._deadline = self._silent_at = now + self._patience
        self._expected = 0
        self._partial: list[bytes] = []
        self._last_gap: int | None = None
        self._reply = self._repeat = False
        self._due_at: float | None = None
        self._due_bytes = 0

    @property
    def request_words(self) -> int:
        """Words of a packet that goes in `REQUEST_FRAMES` frames."""
        return REQUEST_FRAMES * self._length

    @property
    def answer_words(self) -> int:
        """Payload words of a frame of the other end that has a fair chance to get through, at least `LEAST_WORDS`."""
        return int(self._incoming)

    @property
    def _span(self) -> float:
        """Bytes that come over between two losses, as far as is known."""
        return self._carried / self._losses

    @property
    def _length(self) -> int:
        """Payload words of a frame for which its own bytes and those that go again with a lost one are fewest."""
        if not self._initiator:
            return self._frame_words
        best = (sqrt(FRAME_BYTES * self._span / LOST_FRAMES) - FRAME_BYTES) / 4
        return min(max(int(best), LEAST_WORDS), self._longest)

    @property
    def _window(self) -> float:
        """Bytes of payload that may be under way."""
        return max(LEAST_BYTES, UNDER_WAY * self._span) if self._initiator else inf

    @property
    def _patience(self) -> float:
        """Time without progress after which the other end is polled."""
        return min(self._usual * self._backoff, LONGEST * self._timeout)

    @property
    def _usual(self) -> float:
        """Time in which an acknowledgement usually comes."""
        if self._delay is None:
            return self._timeout
        return max(SHORTEST * self._timeout, self._delay + 4 * self._deviation)

    @property
    def idle(self) -> bool:
        """Whether everything that was sent has been acknowledged."""
        return self.established and not (self._packets or self._again or self._unacknowledged)

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
        self._packets.append(data)

    def feed(self, data: bytes, now: float) -> None:
        """Take bytes from the line."""
        bad = self._deframer.bad
        if data:
            self._silent_at = now + self._patience
        for content, good in self._deframer.runs(data):
            if self._torn and not self._initiator:
                self._behind_torn(self._torn)
            self._torn = b"" if good else content
            if good:
                self.statistics.frames_received += 1
                self._backoff = 1
                self._frame(Header.unpack(content), content[4:], now)
        self.statistics.bad = self._deframer.bad
        if self._deframer.bad > bad:
            self._incoming = max(self._incoming / 2, LEAST_WORDS)
            if self._delay is not None:
                # It may have been what is awaited, or an acknowledgement: if more comes, it is soon.
                soon = now + max(SHORTEST * self._timeout, 2 * self._delay)
                self._silent_at = min(self._silent_at, soon)
                self._deadline = min(self._deadline, soon)

    def output(self, now: float) -> bytes:
        """Bytes to put on the line now."""
        if not self.established:
            if self._open_at is None or now < self._open_at:
                return b""
            self._open_at = now + self._timeout
            self._opening = now
            self.statistics.frames_sent += 1
            return encode(Header(Kind.OPEN, self._session, credit=self.credit).pack())
        frames: list[bytes] = []
        if self._opened:
            self._opened = False
            self.statistics.frames_sent += 1
            frames.append(encode(Header(Kind.OPENED, self._session, credit=self.credit).pack()))
        if not (self._packets or self._again or self._unacknowledged):
            self._deadline = now + self._patience
            self._polling = False
        elif now >= self._deadline:
            self._polling = True
            self._back_off(now)
            self._deadline = now + self._patience
            self.statistics.polls += 1
            sent = (self._base + len(self._unacknowledged)) % SEQUENCES
            self._polls = self._polls + 1 if self._polled == sent else 1
            self._polled = sent
            frames.append(self._encode(Kind.POLL))
        while (self._again or self._packets) and not self._polling and len(self._unacknowledged) < WINDOW:
            payload, kind = self._again[0] if self._again else self._first()
            if self._outstanding + len(payload) > 4 * CREDIT_WORDS * self._peer_credit:
                break
            if len(self._unacknowledged) >= LEAST_FRAMES and self._outstanding + len(payload) > self._window:
                break
            frames.append(self._encode(kind, self._base + len(self._unacknowledged), payload))
            self.statistics.data_sent += 1
            if self._again:
                self._again.popleft()
                self._sent_at.append(None)
                self.statistics.resent += 1
            else:
                self._sent_at.append(now)
                rest = self._packets.popleft()[len(payload) :]
                if rest:
                    self._packets.appendleft(rest)
            self._unacknowledged.append((payload, kind))
            self._outstanding += len(payload)
            self._deadline = now + self._patience
        if frames or not self.awaiting:
            self._silent_at = max(self._silent_at, now + self._patience)
        elif now >= self._silent_at:
            self._back_off(now)
            self._silent_at = now + self._patience
            self._reply = self._repeat = True
            self.statistics.polls += 1
        if self._reply or (self._due_at is not None and (now >= self._due_at or self._due_bytes >= 4 * CREDIT_WORDS)):
            frames.append(self._encode(Kind(0)))
        return b"".join(frames)

    def _back_off(self, now: float) -> None:
        self._asked_at = now
        if self._initiator:
            self._backoff = min(2 * self._backoff, BACKOFF)

    def _arrived(self, sent: float | None, size: int, now: float) -> None:
        """A frame is acknowledged that was last sent, with so many bytes of payload."""
        self._outstanding -= size
        if not self._initiator:
            return
        self._carried += FRAME_BYTES + size
        if sent is None or self._delay is None:
            return
        # One that came after a poll tells when the poll came over, unless none comes without.
        self._late = self._late + 1 if sent < self._asked_at else 0
        if self._late % LATE == 0:
            # One that waited for an interruption of the line to end tells little of the next ones.
            delay = min(now - sent, self._usual)
            self._deviation += (abs(delay - self._delay) - self._deviation) / 4
            self._delay += (delay - self._delay) / 8

    def _first(self) -> tuple[bytes, Kind]:
        """The first frame of what has not been sent."""
        size = 4 * self._length
        packet = self._packets[0]
        return packet[:size], Kind.DATA if len(packet) > size else Kind.DATA | Kind.LAST

    def _encode(self, kind: Kind, sequence: int = 0, payload: bytes = b"") -> bytes:
        if self._repeat:
            kind |= Kind.REPEAT
        self._reply = self._repeat = False
        self._due_at = None
        self._due_bytes = 0
        self.statistics.frames_sent += 1
        return encode(Header(kind, self._session, sequence % SEQUENCES, self._expected, self.credit).pack() + payload)

    def _behind_torn(self, header: bytes) -> None:
        """Ask for a frame that ended bad if it seems to be the expected one. If its header is damaged too, that is needless, no more."""
        first, sequence = header[:2]
        mine = self.established and first >> SESSION_SHIFT == self._session & SESSION_MASK
        if mine and first & Kind.DATA and sequence == self._expected:
            self._reply = self._repeat = True
            # Frames that were under way behind it are no news.
            self._last_gap = 0

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
                self._delay = now - self._opening
                self._deviation = self._delay / 2
                self._deadline = now + self._patience
                # Several frames fit the device's buffer, so that the line need not wait for it.
                self._longest = max(1, min(self._frame_words, header.credit * CREDIT_WORDS // 2))
        elif self.established and header.session == self._session & SESSION_MASK:
            self._acknowledge(header, now)
            if kind & Kind.POLL:
                self._reply = self._repeat = True
            if kind & Kind.DATA and payload:
                self._data(header, payload, now)

    def _acknowledge(self, header: Header, now: float) -> None:
        count = (header.acknowledge - self._base) % SEQUENCES
        if count > len(self._unacknowledged) + len(self._again):
            return
        self._peer_credit = header.credit
        if count:
            self._base = header.acknowledge
            if (self._polled - self._base) % SEQUENCES > WINDOW:
                self._polls = 0
            for _ in range(min(count, len(self._unacknowledged))):
                self._arrived(self._sent_at.popleft(), len(self._unacknowledged.popleft()[0]), now)
                count -= 1
            self._deadline = now + self._patience
            for _ in range(count):
                self._again.popleft()
        if header.kind & Kind.REPEAT:
            self._polling = False
            if self._initiator and self._polls:
                self._polls -= 1
                if self._polled == header.acknowledge:
                    # All that was sent before the poll had come: what was sent behind it is under way, and nobody misses it.
                    return
            if self._initiator and self._unacknowledged:
                self._carried *= MEMORY
                self._losses = MEMORY * self._losses + 1
            self._again.extendleft(reversed(self._unacknowledged))
            self._unacknowledged.clear()
            self._sent_at.clear()
            self._outstanding = 0

    def _data(self, header: Header, payload: bytes, now: float) -> None:
        ahead = (header.sequence - self._expected) % SEQUENCES
        if ahead == 0:
            self.statistics.data_received += 1
            self._expected = (self._expected + 1) % SEQUENCES
            self._last_gap = None
            self._incoming = min(self._incoming + GROWTH * len(payload) / 4, MAX_FRAME_WORDS)
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
