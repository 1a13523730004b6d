# SPDX-License-Identifier: Apache-2.0
"""Bench of `Interlock`: what it says of random instructions beside random states of the units, which often meet."""

import random
from dataclasses import replace
from typing import Any

import cocotb

from ...firmware.isa import ARRAY_OPS, FIELDS, NEURON_OPS, Instruction, Op
from ...rtl_gen.instruction import TAGS
from ...rtl_gen.interlock import Interlock, Units
from .cycles import Cycles

CYCLES = 3000


@cocotb.test
async def equals_model(dut: Any) -> None:
    component = Interlock()
    bench = Cycles(dut, component)
    await bench.reset()
    expected: dict[str, int] = {}
    seen: dict[str, set[int]] = {}
    told = ""
    before: tuple[Instruction, Units] | None = None
    for _ in range(CYCLES):
        instruction = _random((*ARRAY_OPS, *NEURON_OPS, Op.END, Op.NEXT))
        units = Units(
            issuing=random.random() < 0.3,
            latest=random.randrange(TAGS),
            complete=tuple(random.random() < 0.6 for _ in range(TAGS)),
            summing=tuple(random.random() < 0.5 for _ in range(TAGS)),
            targets=tuple(_random(ARRAY_OPS).target for _ in range(TAGS)),
            learning=random.random() < 0.3,
            array=_random(ARRAY_OPS),
            idle=random.random() < 0.6,
            reading=random.random() < 0.4,
            neurons=_random(NEURON_OPS),
        )
        got = await bench.step(
            {
                "instruction": _word(instruction),
                "issuing": units.issuing,
                "latest": units.latest,
                "complete": sum(flag << tag for tag, flag in enumerate(units.complete)),
                "summing": sum(flag << tag for tag, flag in enumerate(units.summing)),
                "targets": sum(target << FIELDS["target"].bits * tag for tag, target in enumerate(units.targets)),
                "learning": units.learning,
                "array": _word(units.array),
                "idle": units.idle,
                "reading": units.reading,
                "neurons": _word(units.neurons),
            }
        )
        assert {name: got[name] for name in expected} == expected, told
        # The instructions and their targets are those of the cycle before.
        if before is not None:
            compared, stood = before
            expected = component.model(compared, replace(units, array=stood.array, neurons=stood.neurons, targets=stood.targets))
        told = f"{before}; {units}"
        before = instruction, units
        for name, value in expected.items():
            seen.setdefault(name, set()).add(int(value))
    values = {name: {0, 1} for name in seen} | {"awaits": set(range(1 << TAGS)), "follow_tag": set(range(TAGS))}
    assert seen == values, seen


def _random(ops: tuple[Op, ...]) -> Instruction:
    """Of a few layers, so that two instructions often name the same; every other field is anything."""
    fields = {name: random.getrandbits(field.bits) for name, field in FIELDS.items() if name != "op"}
    for name in ("target", "node", "row"):
        bit = random.randrange(FIELDS[name].bits)
        fields[name] = random.choice((5, 5, 5 ^ 1 << bit))
    return Instruction(op=random.choice(ops), **fields)


def _word(instruction: Instruction) -> int:
    return sum(word << (32 * index) for index, word in enumerate(instruction.encode()))
