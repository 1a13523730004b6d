# SPDX-License-Identifier: Apache-2.0
"""Frames of the byte link: what host, gateware and manual share.

On the line a frame is `FLAG`, its stuffed content, `FLAG`; stuffing replaces a byte that is `FLAG` or `ESCAPE` by `ESCAPE`
and the byte xor `ESCAPE_XOR` (RFC 1662). Content is a header word, payload words and a CRC word, each 32 bits, lowest
byte first. The CRC is the FCS-32 of RFC 1662, which `zlib.crc32` computes, over header and payload.
"""

import re
from collections.abc import Iterable
from enum import IntFlag
from typing import Final, NamedTuple, Self
from zlib import crc32

FLAG: Final = 0x7E
ESCAPE: Final = 0x7D
ESCAPE_XOR: Final = 0x20

FRAME_BYTES: Final = 10
"""Bytes of a frame without payload: two flags, header and CRC."""
SEQUENCES: Final = 256
"""Sequence numbers count modulo this."""
WINDOW: Final = SEQUENCES // 2
"""Frames at most that are sent and not acknowledged: a receiver tells a repeated frame from one after a gap by it."""
CREDIT_WORDS: Final = 32
"""Payload words that one unit of credit stands for."""
MAX_CREDIT: Final = 255
MAX_FRAME_WORDS: Final = 1024
"""Payload words of the longest frame that any side may send."""
MAX_SESSION: Final = 0xFFFF
SESSION_SHIFT: Final = 6
"""Bits 7 and 6 of a header's first byte are the session number's lowest two."""
SESSION_MASK: Final = 3


class Kind(IntFlag):
    """What a frame is for: the low bits of a header's first byte; see `KINDS`."""

    DATA = 1
    LAST = 2
    OPEN = 4
    OPENED = 8
    REPEAT = 16
    POLL = 32


KINDS: Final = {
    Kind.DATA: "payload is present, and byte 1 is its sequence number",
    Kind.LAST: "a packet ends with this frame's payload",
    Kind.OPEN: "host to device: forget the old session, start the one whose number is in bytes 1 and 2",
    Kind.OPENED: "device to host: the session whose number is in bytes 1 and 2 has started",
    Kind.REPEAT: "send again, at once, from the sequence number in byte 2 on",
    Kind.POLL: "answer at once with a frame that has `REPEAT` set",
}
"""Meaning of each bit of `Kind`."""


class Header(NamedTuple):
    """A frame's header.

    Attributes
    ----------
    kind : Kind
    session : int
        The lowest two bits of the session number; in an OPEN or OPENED frame all 16.
    sequence : int
        Number of the payload; 0 without DATA.
    acknowledge : int
        Number of the next data frame that the sender of this header expects.
    credit : int
        Payload words, in units of `CREDIT_WORDS`, that the sender of this header has room for from the data frame
        numbered ``acknowledge`` on.
    """

    kind: Kind
    session: int
    sequence: int = 0
    acknowledge: int = 0
    credit: int = 0

    def pack(self) -> bytes:
        """The four bytes of the header."""
        first = self.kind | (self.session & SESSION_MASK) << SESSION_SHIFT
        if self.kind & (Kind.OPEN | Kind.OPENED):
            return bytes((first, self.session & 0xFF, self.session >> 8, self.credit))
        return bytes((first, self.sequence, self.acknowledge, self.credit))

    @classmethod
    def unpack(cls, content: bytes) -> Self:
        """The header at the start of a frame's content."""
        kind = Kind(content[0] & ((1 << SESSION_SHIFT) - 1))
        if kind & (Kind.OPEN | Kind.OPENED):
            return cls(kind, content[1] | content[2] << 8, 0, 0, content[3])
        return cls(kind, content[0] >> SESSION_SHIFT, content[1], content[2], content[3])


_FLAG: Final = bytes((FLAG,))
_ESCAPE: Final = bytes((ESCAPE,))
_ESCAPED: Final = re.compile(re.escape(_ESCAPE) + b".", re.DOTALL)
_ESCAPED_FLAG: Final = bytes((ESCAPE, FLAG ^ ESCAPE_XOR))
_ESCAPED_ESCAPE: Final = bytes((ESCAPE, ESCAPE ^ ESCAPE_XOR))


def stuff(content: bytes) -> bytes:
    """Content with its flags and escapes escaped."""
    return content.replace(_ESCAPE, _ESCAPED_ESCAPE).replace(_FLAG, _ESCAPED_FLAG)


def unstuff(text: bytes) -> bytes:
    """The inverse of `stuff`; other bytes may have been escaped too."""
    return _ESCAPED.sub(lambda match: bytes((match[0][1] ^ ESCAPE_XOR,)), text)


def encode(content: bytes) -> bytes:
    """A frame as it goes over the line.

    Parameters
    ----------
    content : bytes
        Header and payload, whole words.
    """
    return _FLAG + stuff(content + crc32(content).to_bytes(4, "little")) + _FLAG


class Deframer:
    """Finds the frames in a stream of bytes.

    Parameters
    ----------
    words : int
        Payload words of the longest frame that is taken.

    Attributes
    ----------
    bad : int
        Runs of bytes between flags that were no good frame. Such a run is dropped without another word.
    """

    def __init__(self, words: int = MAX_FRAME_WORDS) -> None:
        self.bad = 0
        self._tail = b""
        self._longest = 4 * words + 8
        self._hunting = True

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Contents, without the CRC, of the frames that ``data`` ends."""
        head, *rest = data.split(_FLAG)
        if not rest:
            self._keep(self._tail + head)
            return ()
        runs = [self._tail + head, *rest[:-1]]
        if self._hunting:
            self.bad += bool(runs[0])
            runs[0] = b""
            self._hunting = False
        self._tail = b""
        self._keep(rest[-1])
        return [content for run in runs if run and (content := self._check(run))]

    def _keep(self, tail: bytes) -> None:
        # Stuffing at most doubles a frame; what is longer waits for the next flag.
        if len(tail) > 2 * self._longest:
            self._hunting = True
        self._tail = tail[: 2 * self._longest]

    def _check(self, run: bytes) -> bytes:
        text = unstuff(run) if ESCAPE in run else run
        if 8 <= len(text) <= self._longest and not len(text) % 4 and run[-1] != ESCAPE:
            content = text[:-4]
            if crc32(content) == int.from_bytes(text[-4:], "little"):
                return content
        self.bad += 1
        return b""


def kinds_table() -> str:
    """The bits of a header's first byte as a table for the manual."""
    rows = [f"| {kind.value.bit_length() - 1} | `{kind.name}` | {text} |" for kind, text in KINDS.items()]
    return "\n".join(["| bit | name | meaning |", "|---|---|---|", *rows])
