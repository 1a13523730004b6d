# SPDX-License-Identifier: Apache-2.0
"""What the bytes of a byte link are for: inputs and labels, and what carries them."""

from dataclasses import dataclass
from typing import Protocol

from ..firmware.framing import ESCAPE, FLAG, FRAME_BYTES, Deframer, Header, Kind


class Line(Protocol):
    """A byte stream; see `frenn.host.link.ByteStream`."""

    def write(self, data: bytes) -> int:
        """Put bytes on the line; returns how many it took."""

    def read(self, limit: int) -> bytes:
        """Bytes that have arrived."""

    def close(self) -> None:
        """Release the line."""


class Tap:
    """A line that keeps what went over it.

    Parameters
    ----------
    line : Line
        Owned from here.

    Attributes
    ----------
    sent, received : bytearray
        From the host, and to it.
    """

    def __init__(self, line: Line) -> None:
        self.sent = bytearray()
        self.received = bytearray()
        self._line = line

    def write(self, data: bytes) -> int:
        taken = self._line.write(data)
        self.sent += data[:taken]
        return taken

    def read(self, limit: int) -> bytes:
        data = self._line.read(limit)
        self.received += data
        return data

    def close(self) -> None:
        self._line.close()


@dataclass(frozen=True)
class LineBytes:
    """One direction of a link, in bytes.

    Attributes
    ----------
    frames : int
        With payload.
    framing : int
        Flags, headers and CRCs of these.
    bare : int
        Frames without payload: acknowledgements and polls.
    escapes : int
        Those that were put in.
    packets : int
        Payload: the words of packets.
    """

    frames: int
    framing: int
    bare: int
    escapes: int
    packets: int

    @property
    def total(self) -> int:
        """All bytes on the line."""
        return self.framing + self.bare + self.escapes + self.packets

    def cost(self, useful: float) -> float:
        """The share of all bytes that are not among so many useful ones."""
        return 1 - useful / self.total

    @classmethod
    def of(cls, data: bytes) -> "LineBytes":
        """What whole frames are made of, all of them good.

        Raises
        ------
        ValueError
            If they are not: what is counted would not be all that went over the line.
        """
        contents = list(Deframer().feed(data))
        payload = [len(content) - 4 for content in contents if Header.unpack(content).kind & Kind.DATA]
        bare = len(contents) - len(payload)
        escapes = data.count(ESCAPE)
        counted = cls(len(payload), FRAME_BYTES * len(payload), FRAME_BYTES * bare, escapes, sum(payload))
        if data.count(FLAG) != 2 * len(contents) or counted.total != len(data):
            raise ValueError(f"{len(data)} bytes are not {len(contents)} good frames")
        return counted
