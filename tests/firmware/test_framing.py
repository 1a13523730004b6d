# SPDX-License-Identifier: Apache-2.0
"""Frames of the byte link, and the manual's page on them."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from frenn.firmware import framing
from frenn.firmware.framing import Deframer, Header, Kind, encode, kinds_table, stuff, unstuff

MANUAL = Path(__file__).parents[2] / "docs" / "link.md"


def test_a_frame_by_hand() -> None:
    header = Header(Kind.DATA | Kind.LAST, 0x7E01, sequence=0x7E, acknowledge=0x7D, credit=5)
    assert header.pack() == bytes((0x43, 0x7E, 0x7D, 5))
    crc = zlib.crc32(bytes((0x43, 0x7E, 0x7D, 5, 1, 2, 3, 4)))
    text = encode(header.pack() + bytes((1, 2, 3, 4)))
    assert text[:10] == bytes((0x7E, 0x43, 0x7D, 0x5E, 0x7D, 0x5D, 5, 1, 2, 3))
    assert unstuff(text[1:-1])[-4:] == crc.to_bytes(4, "little")
    assert text[-1] == 0x7E


@pytest.mark.parametrize(
    "header",
    [Header(Kind.DATA, 3, 255, 254, 253), Header(Kind.OPEN, 0xABCD, credit=7), Header(Kind.OPENED, 0x1234, credit=9), Header(Kind(0), 2)],
)
def test_headers_come_back(header: Header) -> None:
    assert Header.unpack(header.pack()) == header


def test_stuffing_comes_back(rng: np.random.Generator) -> None:
    for alphabet in (np.arange(256), np.array([0x7D, 0x7E, 0x5D, 0x5E])):
        content = bytes(rng.choice(alphabet, size=1000).astype(np.uint8))
        assert framing.FLAG not in stuff(content)
        assert unstuff(stuff(content)) == content
    assert unstuff(bytes((0x7D, 0x31, 0x7D, 0x7D, 0x5E))) == bytes((0x11, 0x5D, 0x5E))


@pytest.mark.parametrize("step", [1, 2, 7, 64, 10_000])
def test_frames_are_found_however_they_arrive(rng: np.random.Generator, step: int) -> None:
    contents = [rng.bytes(4 * int(rng.integers(1, 20))) for _ in range(50)]
    text = b"noise" + b"".join(
        encode(content) + bytes(rng.choice((0, 0x7D), size=rng.integers(3)).astype(np.uint8)) for content in contents
    )
    deframer = Deframer()
    found = [content for start in range(0, len(text), step) for content in deframer.feed(text[start : start + step])]
    assert found == contents


def test_noise_without_a_flag_is_not_hoarded() -> None:
    deframer = Deframer(words=2)
    for _ in range(100):
        assert not list(deframer.feed(bytes(100)))
    assert len(deframer._tail) <= 32
    good = encode(bytes(8))
    assert list(deframer.feed(good[1:] + good)) == [bytes(8)]


def test_the_longest_frame() -> None:
    for words, taken in ((5, True), (6, False)):
        content = bytes((0x7E,)) * 4 * words
        assert list(Deframer(words=4).feed(encode(content))) == ([content] if taken else [])


def test_the_manual_says_what_the_constants_say() -> None:
    manual = MANUAL.read_text()
    assert kinds_table() in manual
    for text in (
        f"0x{framing.FLAG:02X}",
        f"0x{framing.ESCAPE:02X}",
        f"xor 0x{framing.ESCAPE_XOR:02X}",
        f"in units of {framing.CREDIT_WORDS} words",
        f"at most {framing.MAX_FRAME_WORDS} words",
        f"modulo {framing.SEQUENCES}",
        f"At most {framing.WINDOW} data frames",
        f"from 1 to {framing.WINDOW - 1} ahead",
    ):
        assert text in manual, text
