# SPDX-License-Identifier: Apache-2.0
"""The instruction word."""

import numpy as np
import pytest
from frenn.firmware.errors import FrennError
from frenn.firmware.isa import FIELDS, INSTRUCTION_WORDS, Instruction, Op, encode_program


def test_word_size() -> None:
    assert INSTRUCTION_WORDS == 5
    assert list(Instruction.__dataclass_fields__) == list(FIELDS)


def test_field_positions() -> None:
    assert Instruction(op=Op.UPDATE, kind=1, first=1).encode() == [11 | 1 << 4 | 1 << 6, 0, 0, 0, 0]
    assert Instruction(op=Op.END, bits=31).encode()[4] == 31 << 27


def test_round_trip(rng: np.random.Generator) -> None:
    for _ in range(300):
        values = {name: int(rng.integers(1 << item.bits)) for name, item in FIELDS.items() if name != "op"}
        instruction = Instruction(op=Op(int(rng.integers(len(Op)))), **values)
        words = instruction.encode()
        assert len(words) == INSTRUCTION_WORDS and all(0 <= word < 1 << 32 for word in words)
        assert Instruction.decode(words) == instruction


@pytest.mark.parametrize(("name", "bits"), [(name, item.bits) for name, item in FIELDS.items() if name != "op"])
def test_largest_value_stands_alone(name: str, bits: int) -> None:
    instruction = Instruction(op=Op.END, **{name: (1 << bits) - 1})
    assert Instruction.decode(instruction.encode()) == instruction
    assert sum(word.bit_count() for word in instruction.encode()) == bits
    for value in (-1, 1 << bits):
        with pytest.raises(FrennError, match=f"instruction END: {name} is {value}; legal is 0 to {(1 << bits) - 1}"):
            Instruction(op=Op.END, **{name: value})


def test_unknown_operation() -> None:
    with pytest.raises(FrennError, match="unknown operation, 15"):
        Instruction.decode([15, 0, 0, 0, 0])


def test_program_and_text() -> None:
    program = [Instruction(op=Op.SWEEP, kind=1), Instruction(op=Op.END)]
    words = encode_program(program)
    assert (words.shape, words.dtype) == ((2, 5), np.uint32)
    assert [str(instruction) for instruction in program] == ["SWEEP kind=1", "END"]
