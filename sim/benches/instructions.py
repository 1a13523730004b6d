# SPDX-License-Identifier: Apache-2.0
"""Instructions as a device must take them: with anything in the fields that their operation does not use."""

import random
from dataclasses import replace
from typing import Any, Final

from ...firmware.isa import ARRAY_OPS, FIELDS, NEURON_OPS, Instruction, Op

_OF_ARRAY: Final = {
    "kind", "first", "full", "nearest", "rows", "columns", "source", "target", "node", "row", "weights", "column", "shift",
}  # fmt: skip
_OF_NEURONS: Final = {"kind", "first", "full", "rows", "target", "node", "row", "round", "round2", "bits"}
_OF_SEQUENCER: Final = {Op.SWEEP: {"kind"}, Op.LOOP: {"count"}}


def with_noise(instruction: Instruction) -> Instruction:
    """The same instruction, with random bits in every field that its operation does not use."""
    op = instruction.op
    used = _OF_ARRAY if op in ARRAY_OPS else _OF_NEURONS if op in NEURON_OPS else _OF_SEQUENCER.get(op, set())
    unused = FIELDS.keys() - used - {"op"}
    noise: dict[str, Any] = {name: random.getrandbits(FIELDS[name].bits) for name in sorted(unused)}
    return replace(instruction, **noise)
