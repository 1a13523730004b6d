# SPDX-License-Identifier: Apache-2.0
"""Transfers: how packets lie in what a DMA core moves at once.

A DMA core is efficient with transfers of many kilobytes, while a packet may have two words. So a transfer carries any number of
pieces: a head word, and as many words of one packet as it says. Words are 32 bits, lowest byte first. A head is
``count | MARK << 16 | LAST``: bits 15 to 0 are the words that follow, at least 1; `MARK` is in bits 30 to 16; `LAST`, bit 31, is set if
the packet ends with them. All of a packet is in one transfer; a line that loses nothing needs no more than that.
"""

import re
import secrets
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from .errors import LinkError
from .protocol import ANSWER, Status, Words, request

COUNT_BITS: Final = 16
MARK: Final = 0x46B5
"""By which a word is known as a head."""
MARK_BITS: Final = 15
LAST: Final = 1 << 31

SYNC: Final = 0x7F
"""A command that no device knows: its answers tell where a new session begins."""

OPENING: Final = re.compile(
    rb"(?:\x01\x00%b%c.\x00\x00){4}" % (re.escape((MARK | LAST >> COUNT_BITS).to_bytes(2, "little")), SYNC), re.DOTALL
)
"""What a session begins with, on its way to the device."""

ENDING: Final = bytes(4)
"""A transfer that holds no packet, and ends one that is torn: what comes before an opening where a transfer may have been cut off."""


def pieces(packet: Words, most: int = (1 << COUNT_BITS) - 1) -> Iterator[Words]:
    """The words that carry a packet.

    Parameters
    ----------
    packet : (words,) uint32
        At least one word.
    most : int
        Words of the longest piece.

    Yields
    ------
    (1 + words,) uint32
        A piece with its head.
    """
    for start in range(0, len(packet), most):
        part = packet[start : start + most]
        head = len(part) | MARK << COUNT_BITS | (LAST if start + most >= len(packet) else 0)
        yield np.concatenate([np.array([head], dtype=np.uint32), np.asarray(part, dtype=np.uint32)])


def join(packets: Iterable[Words]) -> bytes:
    """The bytes of a transfer that carries packets."""
    return b"".join(piece.astype("<u4").tobytes() for packet in packets for piece in pieces(packet))


def opening() -> tuple[list[Words], bytes]:
    """Requests that open a session, and the bytes that answer them: nothing older looks like them."""
    tags = secrets.token_bytes(4)
    # No member of `Command`, but built alike.
    packets = [request(SYNC, 0, [], tag) for tag in tags]  # type: ignore[arg-type]
    answers = [np.array([SYNC | ANSWER | tag << 8 | Status.UNKNOWN_COMMAND << 16], dtype=np.uint32) for tag in tags]
    return packets, join(answers)


class OpeningSearch:
    """Looks for the answers that open a session.

    Parameters
    ----------
    pattern : bytes
        See `opening`.

    Attributes
    ----------
    seen : int
        Bytes that came.
    found : bool
    """

    def __init__(self, pattern: bytes) -> None:
        self.pattern = pattern
        self.found = False
        self.seen = 0
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        """What follows those answers; empty before."""
        self.seen += len(data)
        self._tail += data
        place = self._tail.find(self.pattern)
        if place < 0:
            self._tail = self._tail[-len(self.pattern) :]
            return b""
        self.found = True
        return self._tail[place + len(self.pattern) :]


class TransferDecoder:
    """Takes packets out of transfers, of which bytes come in whatever portions."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._parts: list[Words] = []

    def feed(self, data: bytes | bytearray | memoryview) -> list[Words]:
        """The packets, (words,) uint32 each, that are complete with these bytes.

        Raises
        ------
        LinkError
            If they are no transfer.
        """
        self._bytes += data
        packets = []
        place = 0
        while place + 4 <= len(self._bytes):
            head = int.from_bytes(self._bytes[place : place + 4], "little")
            count = head & (1 << COUNT_BITS) - 1
            if head >> COUNT_BITS & (1 << MARK_BITS) - 1 != MARK or not count:
                raise LinkError(f"what came is no transfer of a frenn device (word {head:#010x}); load the bitstream again")
            end = place + 4 + 4 * count
            if end > len(self._bytes):
                break
            self._parts.append(np.frombuffer(bytes(self._bytes[place + 4 : end]), dtype="<u4").astype(np.uint32))
            place = end
            if head & LAST:
                packets.append(np.concatenate(self._parts))
                self._parts.clear()
        del self._bytes[:place]
        return packets
