# SPDX-License-Identifier: Apache-2.0
"""What the benches of the byte link share: random frames, and lines that damage what they carry."""

import random
from types import ModuleType
from typing import Final

Generator = random.Random | ModuleType
"""A generator, or the module, whose seed is the bench's."""

_AWKWARD: Final = (0x7E7E7D7D, 0x7D5E7D5D, 0x5E7D5D7D, 0x7E7E7E7E, 0x7D7D7D7D, 0x207E007D, 0)


def words_of(generator: Generator, count: int) -> list[int]:
    """Random words, many of them full of bytes that need escaping."""
    return [generator.choice(_AWKWARD) if generator.random() < 0.3 else generator.getrandbits(32) for _ in range(count)]


def frames_of(generator: Generator, count: int, longest: int) -> list[list[int]]:
    """Random lists of 1 to ``longest`` words."""
    return [words_of(generator, generator.randint(1, longest)) for _ in range(count)]


def spoil(generator: Generator, text: bytes, damage: float) -> bytes:
    """Bytes as a bad line hands them on: each is lost, changed or followed by a random one with probability ``damage``."""
    if not damage:
        return text
    spoiled = bytearray()
    for byte in text:
        if generator.random() >= damage:
            spoiled.append(byte)
            continue
        match generator.randrange(3):
            case 0:
                spoiled.append(byte ^ 1 << generator.randrange(8))
            case 1:
                spoiled += bytes((byte, generator.randrange(256)))
    return bytes(spoiled)
