# SPDX-License-Identifier: Apache-2.0
"""Cycles of a program in which nothing is skipped: the most that any sample takes."""

from ..firmware.compiler import Program
from ..firmware.isa import Instruction, Op
from ..firmware.parameters import EngineParameters
from .issuer import ISSUE, LOOK, PASS
from .lane_array import LaneArray
from .neurons import DRAIN, SUM_LATENCY
from .primitives.block_memory import BlockMemory
from .sequencer import ARRAY_OPS, FETCH, NEURON_OPS, Sequencer
from .serial_cycles import AROUND, serial_cycles


def dense_cycles(program: Program, *, training: bool = True) -> int:
    """Cycles in which a program runs if no source, row block, sweep or phase is left out.

    A sample takes no more. Where nothing is skipped it takes less by two cycles for each halving of the softmax' sum that is not needed:
    of these there are at most the binary logarithm of the number of classes, each time that the error is computed. On one lane the
    shifts of softmax terms and the steps of counters are counted as long as they can be.

    Parameters
    ----------
    program : Program
    training : bool
        Of a training sample, or of a prediction.
    """
    if program.parameters.lanes == 1:
        executed_by_one = Sequencer.model(program.instructions, 0 if training else program.infer_entry)
        return AROUND + sum(map(serial_cycles, executed_by_one))
    # The cycle in which the next instruction can be taken from memory, that in which the last one was executed, and the one in which
    # its unit has finished.
    fetched, executed, finished, turns = FETCH - 1, -2, 0, 0
    for instruction in Sequencer.model(program.instructions, 0 if training else program.infer_entry):
        taken = max(fetched, executed + 2)
        executed = max(taken + 1, finished)
        fetched = taken + FETCH
        if instruction.op in ARRAY_OPS:
            finished = executed + _array(instruction, program.parameters)
        elif instruction.op in NEURON_OPS:
            finished = executed + _neurons(instruction)
        elif instruction.op == Op.LOOP:
            turns = instruction.count
        elif instruction.op == Op.NEXT:
            if turns != 1:
                fetched = executed + FETCH
            turns -= 1
    return executed + 1


def _array(instruction: Instruction, parameters: EngineParameters) -> int:
    """Cycles from one instruction's execution to the next one's, of those of the `Issuer`."""
    lanes = parameters.lanes
    blocks, inner = -(-instruction.rows // lanes), max(instruction.columns, 1)
    rows = instruction.rows - (blocks - 1) * lanes
    if instruction.op == Op.TRANSPOSED:
        issued = 1 + blocks * (max(inner + 1, PASS - 1) + 1) - 1
        drain = ISSUE + LaneArray.transposed_latency(parameters) + SUM_LATENCY
    elif instruction.op == Op.UPDATE:
        issued = LOOK + blocks * (inner + 2) - 1
        drain = ISSUE + LaneArray.update_latency + 1
    else:
        issued = LOOK + 1 + inner + (blocks - 1) * max(inner + 2, lanes + 1)
        drain = ISSUE + LaneArray.forward_latency + SUM_LATENCY + rows
    return issued + drain + 4


def _neurons(instruction: Instruction) -> int:
    """The same, of those of the `NeuronUnit`."""
    count, read = instruction.rows, 1 + BlockMemory.latency
    if instruction.op == Op.PREDICT:
        return 2 * count + read + 2 + DRAIN + 4
    if instruction.op == Op.ERROR:
        return 4 * count + 3 * read + 51 + 2 * (count.bit_length() - 1) + DRAIN + 4
    return count + DRAIN + 3
