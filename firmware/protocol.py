# SPDX-License-Identifier: Apache-2.0
"""Packets between host and device: the one place that the driver, the gateware and the manual take them from.

A packet is a run of 32-bit words, the last of which is marked. Word 0 of a request is
``command | tag << 8 | argument << 16``; the device answers every request, in order, with one packet whose word 0 is
``command | 0x80 | tag << 8 | status << 16``. All fields are unsigned unless said otherwise.

=========  ===================  =========================================  ==========================================
command    argument             request words after word 0                 answer words after word 0
=========  ===================  =========================================  ==========================================
HELLO      0                    none                                       `HELLO_WORDS` words, see `Hello`
WRITE      `Space`              address, then data                         none
READ       `Space`              address, count of items                    data
TRAIN      minus log2 of the    step, label, then the inputs               ``prediction | wrong << 16``
           learning rate
INFER      0                    the inputs                                 ``prediction``
=========  ===================  =========================================  ==========================================

Inputs are packed lowest byte first, four to a word, or two to a word where the input format has more than 8 bits; the
last word is filled with zeros. ``wrong`` is 1 unless the output error was zero in every element.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .errors import FrennError
from .parameters import MACHINE_VERSION, PARAMETER_WORDS, EngineParameters

Words = NDArray[np.uint32]

ANSWER: Final = 0x80
HELLO_MAGIC: Final = 0x4E4E5246
"""``"FRNN"``, lowest byte first."""
HELLO_WORDS: Final = 4 + PARAMETER_WORDS


class Command(IntEnum):
    """What a request asks for."""

    HELLO = 1
    """Who are you?"""
    WRITE = 2
    """Store items in a space."""
    READ = 3
    """Return items of a space."""
    TRAIN = 4
    """Learn one sample."""
    INFER = 5
    """Predict one sample without learning."""


class Status(IntEnum):
    """How a request ended. A request that is not DONE has changed nothing but what its own data had overwritten."""

    DONE = 0
    """The request was carried out."""
    UNKNOWN_COMMAND = 1
    """There is no such command."""
    UNKNOWN_SPACE = 2
    """There is no such space, or it cannot be accessed in this way."""
    WRONG_LENGTH = 3
    """The packet is longer or shorter than its command, or its last item is torn."""
    BAD_ADDRESS = 4
    """An item lies outside the space."""
    BAD_LABEL = 5
    """The label is not less than `Register.CLASSES`."""
    BAD_RATE = 6
    """The learning rate is not between `Register.SLOWEST` and `Register.FASTEST`."""


class Space(IntEnum):
    """Address spaces of READ and WRITE."""

    PROGRAM = 0
    """Write only; an item is an instruction of `isa.INSTRUCTION_WORDS` words, and addresses count instructions."""
    WEIGHTS = 1
    """An item is one address of the weight memory: a weight of every lane, two signed 16-bit weights to a word (of one lane, its weight
    alone in the low half)."""
    REGISTERS = 2
    """Write only; an item is a 32-bit word; see `Register`."""
    STATES = 3
    """Read only; an item is a word: the state, signed, in the low 25 bits, and the slope in the high 7. Those of the input layer
    read as 0: inputs are kept as a list."""
    DEVIATIONS = 4
    """Read only; an item is a word: the deviation (of the output layer: the error), signed."""
    COUNTERS = 5
    """Read only; an item is a counter in the order of `counters.NAMES`, two words, low first."""


class Register(IntEnum):
    """Addresses in `Space.REGISTERS`."""

    SEED = 0
    """Seed of the random words."""
    TRAIN_ENTRY = 1
    """Address of the first instruction of the training program."""
    INFER_ENTRY = 2
    """Address of the first instruction of the inference program."""
    INPUTS = 3
    """Neurons of the input layer."""
    CLASSES = 4
    """Neurons of the output layer: a label must be less."""
    WIDE_INPUTS = 5
    """1 if inputs are packed two to a word."""
    SKIP = 6
    """Which work may be skipped; see `Skip`. All of it after reset."""
    CLEAR = 7
    """Writing bit 0 clears the counters."""
    FASTEST = 8
    """Least minus log2 of the learning rate that TRAIN may ask for."""
    SLOWEST = 9
    """Largest minus log2 of the learning rate that TRAIN may ask for."""


class Skip(IntFlag):
    """Bits of `Register.SKIP`."""

    SOURCES = 1
    """Zero and unchanged sources, unchanged or zero row blocks: changes cycles alone."""
    REST = 2
    """Sweeps after one in which nothing changed."""
    RIGHT = 4
    """Clamped phase and update of a sample whose output error is zero."""


def request(command: Command, argument: int = 0, body: Sequence[int] | Words = (), tag: int = 0) -> Words:
    """A request packet, uint32.

    Parameters
    ----------
    command : Command
    argument : int
        16 bits.
    body : sequence of int
        Words after word 0.
    tag : int
        8 bits that the answer repeats.
    """
    head = np.array([command | (tag & 0xFF) << 8 | argument << 16], dtype=np.uint32)
    return np.concatenate([head, np.asarray(body, dtype=np.uint32)])


def pack_inputs(inputs: np.ndarray, wide: bool) -> Words:
    """Words of one sample's inputs, (n,) unsigned integers of at most 8 (``wide``: 16) bits."""
    kind = np.dtype("<u2" if wide else "u1")
    data = np.ascontiguousarray(inputs, dtype=kind).tobytes()
    return np.frombuffer(data + bytes(-len(data) % 4), dtype="<u4")


def weight_item_words(lanes: int) -> int:
    """Words of an item of `Space.WEIGHTS`."""
    return -(-lanes // 2)


def pack_weights(rows: np.ndarray) -> Words:
    """Words of (addresses, lanes) signed weights, two to a word; a single lane's weight has a word of its own."""
    rows = np.asarray(rows)
    padded = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
    return np.ascontiguousarray(padded, dtype="<i2").view("<u4").reshape(-1)


def unpack_weights(words: Words, lanes: int) -> np.ndarray:
    """(addresses, lanes) int64: the inverse of `pack_weights`."""
    return np.ascontiguousarray(words, dtype="<u4").view("<i2").reshape(-1, 2 * weight_item_words(lanes))[:, :lanes].astype(np.int64)


def unpack_states(words: Words) -> tuple[np.ndarray, np.ndarray]:
    """States and slopes, int64, of words of `Space.STATES`."""
    states = ((words.astype(np.int64) & 0x1FFFFFF) ^ 0x1000000) - 0x1000000
    return states, words.astype(np.int64) >> 25


@dataclass(frozen=True)
class Hello:
    """What a device says of itself.

    Parameters
    ----------
    version : int
        Of the protocol; `MACHINE_VERSION`.
    build : int
        64-bit identity of the gateware's sources; `frenn.rtl_gen.identity`.
    parameters : EngineParameters
    """

    version: int
    build: int
    parameters: EngineParameters

    def encode(self) -> list[int]:
        """The `HELLO_WORDS` words of the answer."""
        return [HELLO_MAGIC, self.version, self.build & 0xFFFFFFFF, self.build >> 32, *self.parameters.encode()]

    @classmethod
    def decode(cls, words: Words) -> "Hello":
        """The inverse of `encode`.

        Raises
        ------
        FrennError
            If the words are not those of a frenn device, or of another protocol version.
        """
        values = [int(word) for word in words]
        # The version comes first: what follows depends on it.
        if len(values) > 1 and values[0] == HELLO_MAGIC and values[1] != MACHINE_VERSION:
            raise FrennError(
                f"the device speaks version {values[1]} and this program {MACHINE_VERSION}; rebuild the bitstream or update frenn"
            )
        if len(values) != HELLO_WORDS or values[0] != HELLO_MAGIC:
            raise FrennError("what answers is no frenn device; check the port and that the board is configured")
        return cls(values[1], values[2] | values[3] << 32, EngineParameters.decode(values[4:]))
