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
TRAIN      minus log2 of the    step, then samples                         a result of each sample
           learning rate
INFER      0                    samples                                    a result of each sample
=========  ===================  =========================================  ==========================================

A sample is ``label | step << 12 | sparse << 31``, with 19 bits of its step, and its inputs in whole words. The upper 13 bits of the
step are those of the request's word 1. INFER has no use for label and step, but the label must be one: 0 will do. The samples of a
request are learned one after the other.

Inputs are units of 8 bits, four to a word, lowest first, or of 16, two to a word, where the input format has more than 8
bits. If ``sparse`` is 0, a unit is an input. If it is 1, a unit that is 0 is a zero, and the lowest 8 bits of the unit after it say
how many more zeros follow; after a zero that is the sample's last input there is none. The last word is filled with zeros.

A result is ``prediction | status << 16 | wrong << 31``. ``wrong`` is 1 if the sample was to be learned and its output error was
not zero in every element. Behind a sample that is refused the request is read to its end, and no more of it is carried out. If it
is the request's first sample, word 0 of the answer has its status, and no results follow; if it is a later one, the last
result has it, with the lower half of word 0 for a prediction, and the samples before it have been learned.
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
LABEL_BITS: Final = 12
"""Of a sample's first word, those of its label."""
STEP_BITS: Final = 19
"""Those of its step, above: the step's lowest ones."""
SPARSE: Final = 1 << 31
"""The bit that says how its inputs are packed."""
COUNT_BITS: Final = 8
"""Of a unit that counts zeros, those that do."""
STATUS_SHIFT: Final = 16
"""The lowest bit of the status, in an answer's word 0 and in a result."""
WRONG: Final = 1 << 31
"""The bit of a result for an output error that is not zero."""


class Command(IntEnum):
    """What a request asks for."""

    HELLO = 1
    """Who are you?"""
    WRITE = 2
    """Store items in a space."""
    READ = 3
    """Return items of a space."""
    TRAIN = 4
    """Learn samples."""
    INFER = 5
    """Predict samples without learning."""


class Status(IntEnum):
    """How a request or a sample ended. What is not DONE has changed nothing but what its own data had overwritten."""

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
    BAD_RUN = 7
    """Zeros of a sparse sample go on beyond its inputs."""


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
    """Words of one sample's inputs, (n,) unsigned integers of at most 8 (``wide``: 16) bits, every one a unit."""
    data = np.ascontiguousarray(inputs, dtype=_unit(wide)).tobytes()
    return np.frombuffer(data + bytes(-len(data) % 4), dtype="<u4")


def pack_zero_runs(inputs: np.ndarray, wide: bool) -> Words:
    """Words of the same inputs with zeros as runs."""
    return pack_inputs(zero_runs(inputs), wide)


def zero_runs(inputs: np.ndarray) -> np.ndarray:
    """Units, (units,), of a sample's inputs, at least one, with zeros as runs."""
    inputs = np.asarray(inputs)
    places = np.arange(len(inputs))
    # Of a run only each zero that begins what a count can tell has units.
    since = places - np.maximum.accumulate(np.where(inputs == 0, -1, places)) - 1
    kept = np.flatnonzero((inputs != 0) | (since % (1 << COUNT_BITS) == 0))
    begins = inputs[kept] == 0
    units = np.insert(inputs[kept], np.flatnonzero(begins) + 1, (np.diff(kept, append=len(inputs)) - 1)[begins])
    return units[: len(units) - bool(begins[-1] and kept[-1] == len(inputs) - 1)]


def pack_sample(inputs: np.ndarray, wide: bool, label: int = 0, step: int = 0) -> Words:
    """Words of a sample, its inputs packed in the way that takes fewer words."""
    dense, sparse = pack_inputs(inputs, wide), pack_zero_runs(inputs, wide)
    shorter = len(sparse) < len(dense)
    return np.concatenate([np.array([sample_head(label, step, shorter)], dtype=np.uint32), sparse if shorter else dense])


def sample_head(label: int, step: int, sparse: bool) -> int:
    """The first word of a sample."""
    return label | (step & (1 << STEP_BITS) - 1) << LABEL_BITS | SPARSE * sparse


def unpack_inputs(words: Words, count: int, wide: bool, sparse: bool) -> tuple[NDArray[np.int64], int, Status]:
    """The inputs of a sample that begins with the first of some words.

    Parameters
    ----------
    words : (words,) uint32
    count : int
        Inputs of a sample, at least 1.
    wide, sparse : bool

    Returns
    -------
    values : (count,) int64
        Fewer if the sample is not good.
    taken : int
        Words up to the one that ends it.
    status : Status
        DONE, WRONG_LENGTH (the words end before it) or BAD_RUN.
    """
    units = np.ascontiguousarray(words, dtype="<u4").view(_unit(wide)).tolist()
    values: list[int] = []
    place = 0
    status = Status.DONE
    while len(values) < count and place < len(units):
        values.append(units[place])
        place += 1
        if sparse and not values[-1] and len(values) < count and place < len(units):
            zeros = units[place] % (1 << COUNT_BITS)
            place += 1
            if zeros > count - len(values):
                status = Status.BAD_RUN
            values += [0] * min(zeros, count - len(values))
    if len(values) < count:
        status = Status.WRONG_LENGTH
    return np.array(values, dtype=np.int64), -(-place * _unit(wide).itemsize // 4), status


def _unit(wide: bool) -> np.dtype[np.unsignedinteger]:
    return np.dtype("<u2" if wide else "u1")


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
