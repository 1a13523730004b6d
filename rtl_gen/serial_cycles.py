# SPDX-License-Identifier: Apache-2.0
"""Cycles of the instructions of a `SerialEngine` that skips nothing: the most that they take."""

from typing import Final

from ..firmware.arithmetic import MIX_ROUNDS
from ..firmware.isa import ARRAY_OPS, INSTRUCTION_WORDS, Instruction, Op
from .primitives.multiplier import Multiplier
from .serial_neurons import MOST

FETCHED: Final = INSTRUCTION_WORDS + 2
"""Cycles in which an instruction is fetched and decoded."""

AROUND: Final = 48
"""Cycles around a program: inputs begin, and the counters take the sample."""

COUNTED: Final = 7
"""Cycles of the counters' memory for a step."""


def serial_cycles(instruction: Instruction) -> int:
    """Cycles from an instruction's fetch to the next one's, at the most."""
    if instruction.op in ARRAY_OPS:
        return FETCHED + 1 + _products(instruction)
    if instruction.op in (Op.ACTIVATE, Op.DEVIATE):
        neuron = 24 + instruction.round + instruction.round2 + (COUNTED if instruction.op == Op.DEVIATE else 0)
        return FETCHED + 1 + instruction.rows * neuron + COUNTED
    if instruction.op == Op.PREDICT:
        return FETCHED + 1 + 3 * instruction.rows + COUNTED
    if instruction.op == Op.ERROR:
        halvings = instruction.rows.bit_length()
        term = 13 + COUNTED + instruction.round + MOST + 2
        error = 13 + COUNTED + instruction.round2 + halvings + Multiplier.latency
        return FETCHED + 10 + instruction.round + halvings + instruction.rows * (3 + 2 * term + error) + 3 * COUNTED
    return FETCHED


def _products(instruction: Instruction) -> int:
    outer, inner = instruction.columns, instruction.rows
    if instruction.op == Op.TRANSPOSED:
        outer, inner = inner, outer
    counting = 1 + 4 * COUNTED
    if instruction.op == Op.UPDATE:
        return outer * (5 + max(instruction.shift, 2 * MIX_ROUNDS) + inner * (3 + Multiplier.latency)) + counting
    cleared = inner if instruction.first else 0
    return cleared + outer * (inner + instruction.shift + 6 + Multiplier.latency) + counting
