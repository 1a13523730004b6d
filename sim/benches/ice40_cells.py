# SPDX-License-Identifier: Apache-2.0
"""Bench of iCE40 UltraPlus: `Multiplier` and `SinglePortMemory` made of its cells beside the ones made for simulation."""

import random
from typing import Any, Final

import cocotb
from amaranth.hdl import Fragment, Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...rtl_gen.primitives.multiplier import Multiplier
from ...rtl_gen.primitives.single_port_memory import SPRAM_WORDS, SinglePortMemory
from ...rtl_gen.primitives.technology import Technology
from .cycles import Cycles

CYCLES: Final = 600

OPERANDS: Final = ((16, 16), (12, 10), (9, 37), (14, 18))
"""Bits of the operands of multipliers: of one cell, and of several."""

MEMORIES: Final = ((16, 50), (12, 2 * SPRAM_WORDS + 100))
"""Bits and words of memories, of one cell and of several."""

_MADE: Final = {"cell": Technology.ICE40, "model": Technology.SIMULATION}


class Ice40Cells(wiring.Component):
    """Each component twice with the same inputs, and the outputs of both.

    Ports
    -----
    product_<i>_left, product_<i>_right : In
    product_<i>_cell, product_<i>_model : Out
    memory_<i>_address, memory_<i>_write, memory_<i>_data : In
    memory_<i>_cell, memory_<i>_model : Out
    """

    def __init__(self) -> None:
        ports: dict[str, Any] = {}
        for index, (left, right) in enumerate(OPERANDS):
            ports |= {f"product_{index}_left": In(signed(left)), f"product_{index}_right": In(signed(right))}
            ports |= {f"product_{index}_{made}": Out(signed(left + right)) for made in _MADE}
        for index, (bits, words) in enumerate(MEMORIES):
            ports |= {f"memory_{index}_address": In(range(words)), f"memory_{index}_write": In(1), f"memory_{index}_data": In(bits)}
            ports |= {f"memory_{index}_{made}": Out(bits) for made in _MADE}
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for made, technology in _MADE.items():
            for index, operands in enumerate(OPERANDS):
                multiplier = Multiplier(*operands)
                m.submodules[f"product_{index}_{made}"] = Fragment.get(multiplier, technology)
                m.d.comb += [
                    multiplier.left.eq(getattr(self, f"product_{index}_left")),
                    multiplier.right.eq(getattr(self, f"product_{index}_right")),
                    getattr(self, f"product_{index}_{made}").eq(multiplier.product),
                ]
            for index, shape in enumerate(MEMORIES):
                memory = SinglePortMemory(*shape)
                m.submodules[f"memory_{index}_{made}"] = Fragment.get(memory, technology)
                m.d.comb += [
                    memory.address.eq(getattr(self, f"memory_{index}_address")),
                    memory.write_enable.eq(getattr(self, f"memory_{index}_write")),
                    memory.write_data.eq(getattr(self, f"memory_{index}_data")),
                    getattr(self, f"memory_{index}_{made}").eq(memory.read_data),
                ]
        return m


@cocotb.test
async def products(dut: Any) -> None:
    bench = Cycles(dut, Ice40Cells())
    await bench.reset()
    wanted: list[list[int]] = [[] for _ in OPERANDS]
    for cycle in range(CYCLES):
        inputs: dict[str, int] = {}
        for index, (left_bits, right_bits) in enumerate(OPERANDS):
            left, right = _operand(left_bits), _operand(right_bits)
            inputs |= {f"product_{index}_left": left, f"product_{index}_right": right}
            wanted[index].append(left * right)
        got = await bench.step(inputs)
        for index in range(len(OPERANDS)):
            if cycle >= Multiplier.latency:
                value = wanted[index].pop(0)
                assert got[f"product_{index}_cell"] == got[f"product_{index}_model"] == value, f"cycle {cycle}: {OPERANDS[index]}"


@cocotb.test
async def memories(dut: Any) -> None:
    bench = Cycles(dut, Ice40Cells())
    await bench.reset()
    written: list[dict[int, int]] = [{} for _ in MEMORIES]
    places = [[place for edge in range(0, words, SPRAM_WORDS) for place in (edge, edge + 1, edge + 49)] for _, words in MEMORIES]
    asked: list[int | None] = [None for _ in MEMORIES]
    stored: list[int | None] = [None for _ in MEMORIES]
    seen = wrong = 0
    for _ in range(CYCLES):
        inputs: dict[str, int] = {}
        for index, (bits, _) in enumerate(MEMORIES):
            inputs |= {
                f"memory_{index}_address": random.choice(places[index]),
                f"memory_{index}_write": random.getrandbits(1),
                f"memory_{index}_data": random.getrandbits(bits),
            }
        got = await bench.step(inputs)
        for index in range(len(MEMORIES)):
            address, write, data = (inputs[f"memory_{index}_{name}"] for name in ("address", "write", "data"))
            if asked[index] is not None:
                seen += 1
                assert got[f"memory_{index}_cell"] == got[f"memory_{index}_model"] == asked[index], f"{MEMORIES[index]} at {address}"
            # After a write the model must give anything but the word, old or new, that a careless reader might hope for.
            wrong += stored[index] is not None and got[f"memory_{index}_model"] != stored[index]
            stored[index] = written[index].get(address) if write else None
            asked[index] = None if write else written[index].get(address)
            if write:
                written[index][address] = data
    assert seen > CYCLES // 2 and wrong > CYCLES // 4


def _operand(bits: int) -> int:
    limit = 1 << (bits - 1)
    return random.choice((-limit, limit - 1, 0, -1, random.randrange(-limit, limit), random.randrange(-limit, limit)))
