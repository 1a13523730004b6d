# SPDX-License-Identifier: Apache-2.0
"""Bad frames, as far as they tell what they were."""

from typing import NamedTuple

from .framing import MAX_FRAME_WORDS, Deframer, unstuff


class Run(NamedTuple):
    """Bytes between two flags.

    Attributes
    ----------
    content : bytes
        Of a good frame header and payload; of a bad one the four bytes that stand for its header.
    good : bool
    """

    content: bytes
    good: bool


class RunDeframer(Deframer):
    """Finds the frames in a stream of bytes, and the bad ones among them that were long enough to have been more than header and CRC."""

    def __init__(self, words: int = MAX_FRAME_WORDS) -> None:
        super().__init__(words)
        self._runs: list[Run] = []

    def runs(self, data: bytes) -> list[Run]:
        """What ``data`` ends, in order. A run that is longer than any frame is not among them."""
        self._runs = []
        self.feed(data)
        return self._runs

    def _check(self, run: bytes) -> bytes:
        content = super()._check(run)
        if content:
            self._runs.append(Run(content, True))
            return content
        # An escape before the flag escapes nothing and is no byte of the frame.
        text = unstuff(run + b"\0")[:-1]
        if 8 < len(text) <= self._longest:
            self._runs.append(Run(text[:4], False))
        return content
