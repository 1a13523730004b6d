# SPDX-License-Identifier: Apache-2.0
"""The instruction set: the one place that the compiler, the decoder and the manual take it from."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Final

import numpy as np

from .errors import FrennError


class Op(IntEnum):
    """Operations; the value is the code in the instruction word."""

    END = 0
    """The program is over."""
    SWEEP = 1
    """A sweep begins: count it (free if ``kind`` is 0, clamped if 1) and forget earlier changes."""
    LOOP = 2
    """The instructions up to NEXT run ``count`` times at the most."""
    NEXT = 3
    """End of a loop's body: again from after LOOP, unless ``count`` is used up or no neuron changed since SWEEP."""
    FORWARD = 4
    """``drive[target] += (W source) << shift``: the source's changes (or, if ``full``, its states) are broadcast."""
    TRANSPOSED = 5
    """``drive[target] += (W^T changes) << shift``: the row blocks' changes (or, if ``full``, the values that they keep for an
    update), summed over the lanes, a column a cycle."""
    ACTIVATE = 6
    """``state = rho(drive >> round)`` for a layer; the changes go to its event list and, with the states, to its rows."""
    DEVIATE = 7
    """``deviation = slope (drive >> round)``, rounded by ``round2`` and saturated to ``bits``; as ACTIVATE."""
    ERROR = 8
    """``error = target - softmax(drive >> round)``; also the prediction and whether every element is zero."""
    PREDICT = 9
    """The prediction alone: the first index of the largest drive."""
    STOP_IF_RIGHT = 10
    """The program is over if the output error is zero in every element."""
    UPDATE = 11
    """``W += floor((D s^T << shift + u) / 2^update_shift)``, saturated; ``D`` from the rows, ``s`` broadcast."""
    SNAPSHOT = 12
    """``deviation = state`` for a layer: a copy of the free state."""
    DIFFERENCE = 13
    """``deviation = state - deviation`` for a layer, and so its rows: the clamped state minus the copy."""


ARRAY_OPS: Final = (Op.FORWARD, Op.TRANSPOSED, Op.UPDATE)
"""What the lanes do."""
WALK_OPS: Final = (Op.ACTIVATE, Op.DEVIATE, Op.SNAPSHOT, Op.DIFFERENCE)
"""A neuron a cycle, from a layer's first to its last."""
OUTPUT_OPS: Final = (Op.ERROR, Op.PREDICT)
"""The output layer as a whole."""
NEURON_OPS: Final = (*WALK_OPS, *OUTPUT_OPS)


@dataclass(frozen=True)
class Field:
    """A field of the instruction word: its width in bits and what it means."""

    bits: int
    meaning: str


FIELDS: Final[dict[str, Field]] = {
    "op": Field(4, "operation"),
    "kind": Field(2, "SWEEP: phase; ACTIVATE: code of the activation; UPDATE: what the rows keep, deviations (0) or states (1)"),
    "first": Field(
        1,
        "the drive is overwritten, not added to (FORWARD, TRANSPOSED); the value before is zero (ACTIVATE, DEVIATE, ERROR); "
        "prediction and whether the error is zero are those of the sample (ERROR)",
    ),
    "full": Field(
        1,
        "the source is the whole state vector, not its event list (FORWARD, UPDATE), or what the rows keep, not their changes "
        "(TRANSPOSED); that vector stays what it was (ACTIVATE)",
    ),
    "nearest": Field(1, "UPDATE rounds to nearest, not stochastically"),
    "count": Field(12, "LOOP: how often the body may run"),
    "rows": Field(12, "rows of the weight block; neurons of the layer (where no weight block is used)"),
    "columns": Field(12, "columns of the weight block"),
    "source": Field(16, "address of the source layer's first neuron"),
    "target": Field(16, "address of the target layer's first neuron"),
    "node": Field(8, "number of the layer whose event list is read or written"),
    "row": Field(12, "address of the layer's first row block"),
    "weights": Field(20, "address of the weight block"),
    "column": Field(20, "UPDATE: number of the block's first column, for the random words"),
    "shift": Field(6, "left shift of the sums (FORWARD, TRANSPOSED) or of the product at learning rate 1 (UPDATE)"),
    "round": Field(6, "shift of the drive before it is used"),
    "round2": Field(6, "right shift of the result: to the state, deviation or error format"),
    "bits": Field(5, "magnitude bits of the result"),
}
"""The instruction word, lowest bits first."""

INSTRUCTION_WORDS: Final = -(-sum(item.bits for item in FIELDS.values()) // 32)
"""32-bit words of one instruction."""


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction; a field that an operation does not use is 0."""

    op: Op
    kind: int = 0
    first: int = 0
    full: int = 0
    nearest: int = 0
    count: int = 0
    rows: int = 0
    columns: int = 0
    source: int = 0
    target: int = 0
    node: int = 0
    row: int = 0
    weights: int = 0
    column: int = 0
    shift: int = 0
    round: int = 0
    round2: int = 0
    bits: int = 0

    def __post_init__(self) -> None:
        for name, item in FIELDS.items():
            if not 0 <= getattr(self, name) < 1 << item.bits:
                raise FrennError(f"instruction {self.op.name}: {name} is {getattr(self, name)}; legal is 0 to {(1 << item.bits) - 1}")

    def encode(self) -> list[int]:
        """The instruction as `INSTRUCTION_WORDS` 32-bit words, lowest first."""
        word, position = 0, 0
        for name, item in FIELDS.items():
            word |= int(getattr(self, name)) << position
            position += item.bits
        return [word >> (32 * index) & 0xFFFFFFFF for index in range(INSTRUCTION_WORDS)]

    @classmethod
    def decode(cls, words: Sequence[int]) -> "Instruction":
        """The inverse of `encode`.

        Raises
        ------
        FrennError
            If the operation is unknown.
        """
        word = sum(int(part) << (32 * index) for index, part in enumerate(words))
        values, position = {}, 0
        for name, item in FIELDS.items():
            values[name] = word >> position & ((1 << item.bits) - 1)
            position += item.bits
        code = values.pop("op")
        if code not in set(Op):
            raise FrennError(f"instruction of an unknown operation, {code}; legal is 0 to {max(Op)}")
        return cls(op=Op(code), **values)

    def __str__(self) -> str:
        shown = [f"{item.name}={getattr(self, item.name)}" for item in fields(self) if item.name != "op" and getattr(self, item.name)]
        return " ".join([self.op.name, *shown])


def encode_program(program: Sequence[Instruction]) -> np.ndarray:
    """(instructions, INSTRUCTION_WORDS) uint32."""
    return np.array([instruction.encode() for instruction in program], dtype=np.uint32)
