# SPDX-License-Identifier: Apache-2.0
"""Transfers: how packets lie in what a DMA core moves at once.

A DMA core is efficient with transfers of many kilobytes, while a packet may have two words. So a transfer carries any number of
pieces: a head word, and as many words of one packet as it says. Words are 32 bits, lowest byte first. A head is
``count | MARK << 16 | LAST``: bits 15 to 0 are the words that follow, at least 1; `MARK` is in bits 30 to 16; `LAST`, bit 31, is set if
the packet ends with them. All of a packet is in one transfer; a line that loses nothing needs no more than that.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from .errors import LinkError
from .protocol import Words

COUNT_BITS: Final = 16
MARK: Final = 0x46B5
"""By which a word is known as a head."""
MARK_BITS: Final = 15
LAST: Final = 1 << 31


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
