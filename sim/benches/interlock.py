# SPDX-License-Identifier: Apache-2.0
"""Bench of `Interlock`: what it says of random instructions beside random states of the units, which often meet."""

import random
from dataclasses import replace
from typing import Any

import cocotb

from ...firmware.isa import ARRAY_OPS, FIELDS, NEURON_OPS, Instruction, Op
from ...rtl_gen.interlock import Interlock, Units
from .cycles import Cycles

CYCLES = 3000


@cocotb.test
async def equals_model(dut: Any) -> None:
    component = Interlock()
    bench = Cycles(dut, component)
    await bench.reset()
    expected: dict[str, bool] = {}
    seen: dict[str, set[bool]] = {}
    told = ""
    before = _random(NEURON_OPS), _random(ARRAY_OPS), _random(NEURON_OPS)
    for _ in range(CYCLES):
        instruction = _random((*ARRAY_OPS, *NEURON_OPS, Op.END, Op.NEXT))
        units = Units(
            issuing=random.random() < 0.3,
            latest=random.getrandbits(1),
            complete=(random.random() < 0.6, random.random() < 0.6),
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
                "complete": units.complete[0] | units.complete[1] << 1,
                "learning": units.learning,
                "array": _word(units.array),
                "idle": units.idle,
                "reading": units.reading,
                "neurons": _word(units.neurons),
            }
        )
        assert {name: bool(got[name]) for name in expected} == expected, told
        # The instructions are those of the cycle before.
        compared, array, neurons = before
        expected = component.model(compared, replace(units, array=array, neurons=neurons)) if told else {}
        told = f"{before}; {units}"
        before = instruction, units.array, units.neurons
        for name, value in expected.items():
            seen.setdefault(name, set()).add(value)
    assert all(values == {False, True} for values in seen.values()), seen


def _random(ops: tuple[Op, ...]) -> Instruction:
    """Of a few layers, so that two instructions often name the same; every other field is anything."""
    fields = {name: random.getrandbits(field.bits) for name, field in FIELDS.items() if name != "op"}
    for name in ("target", "node", "row"):
        bit = random.randrange(FIELDS[name].bits)
        fields[name] = random.choice((5, 5, 5 ^ 1 << bit))
    return Instruction(op=random.choice(ops), **fields)


def _word(instruction: Instruction) -> int:
    return sum(word << (32 * index) for index, word in enumerate(instruction.encode()))
