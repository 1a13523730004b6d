# SPDX-License-Identifier: Apache-2.0
"""Bench of cell models: primitives made of an FPGA's cells beside the ones made for simulation, cycle by cycle."""

import random
from typing import Any, Final

import cocotb
import numpy as np
from amaranth.hdl import Fragment, Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...rtl_gen.primitives.block_memory import ECP5_MODES, BlockMemory
from ...rtl_gen.primitives.gated_adder import GatedAdder
from ...rtl_gen.primitives.multiplier import Multiplier
from ...rtl_gen.primitives.technology import Technology
from .cycles import Cycles, wrap

CYCLES: Final = 600

MEMORIES: Final = (
    *((width, words) for words, width in ECP5_MODES),
    *((40, 100), (20, 700), (7, 2600), (36, 1030), (3, 9000)),
)
"""Bits and words: every mode alone and full, then memories of several blocks side by side and stacked."""

OPERANDS: Final = ((18, 18), (12, 10), (2, 17))
"""Bits of the operands of multipliers."""

SUMS: Final = (2, 8, 33)
"""Bits of adders."""


class Cells(wiring.Component):
    """Each component twice with the same inputs, and the outputs of both.

    Ports
    -----
    memory_<i>_write_enable, memory_<i>_write_address, memory_<i>_write_data, memory_<i>_read_address : In
    memory_<i>_cell, memory_<i>_model : Out
    product_<i>_left, product_<i>_right : In
    product_<i>_cell, product_<i>_model : Out
    sum_<i>_value, sum_<i>_addend, sum_<i>_omit : In
    sum_<i>_cell, sum_<i>_model : Out
    """

    def __init__(self) -> None:
        ports: dict[str, Any] = {}
        for index, (bits, words) in enumerate(MEMORIES):
            shapes = (1, range(words), bits, range(words))
            ports |= {f"memory_{index}_{name}": In(shape) for name, shape in zip(_MEMORY_INPUTS, shapes, strict=True)}
            ports |= {f"memory_{index}_{made}": Out(bits) for made in _MADE}
        for index, operands in enumerate(OPERANDS):
            ports |= {f"product_{index}_{name}": In(signed(bits)) for name, bits in zip(_OPERANDS, operands, strict=True)}
            ports |= {f"product_{index}_{made}": Out(signed(sum(operands))) for made in _MADE}
        for index, bits in enumerate(SUMS):
            ports |= {f"sum_{index}_{name}": In(shape) for name, shape in zip(_SUM_INPUTS, (signed(bits), signed(bits), 1), strict=True)}
            ports |= {f"sum_{index}_{made}": Out(signed(bits)) for made in _MADE}
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for made, technology in _MADE.items():
            for index, (bits, words) in enumerate(MEMORIES):
                memory = BlockMemory(bits, words)
                m.submodules[f"memory_{index}_{made}"] = Fragment.get(memory, technology)
                for name in _MEMORY_INPUTS:
                    m.d.comb += getattr(memory, name).eq(getattr(self, f"memory_{index}_{name}"))
                m.d.comb += getattr(self, f"memory_{index}_{made}").eq(memory.read_data)
            for index, operands in enumerate(OPERANDS):
                multiplier = Multiplier(*operands)
                m.submodules[f"product_{index}_{made}"] = Fragment.get(multiplier, technology)
                for name in _OPERANDS:
                    m.d.comb += getattr(multiplier, name).eq(getattr(self, f"product_{index}_{name}"))
                m.d.comb += getattr(self, f"product_{index}_{made}").eq(multiplier.product)
            for index, bits in enumerate(SUMS):
                adder = GatedAdder(bits)
                m.submodules[f"sum_{index}_{made}"] = Fragment.get(adder, technology)
                for name in _SUM_INPUTS:
                    m.d.comb += getattr(adder, name).eq(getattr(self, f"sum_{index}_{name}"))
                m.d.comb += getattr(self, f"sum_{index}_{made}").eq(adder.total)
        return m


_MEMORY_INPUTS: Final = ("write_enable", "write_address", "write_data", "read_address")
_OPERANDS: Final = ("left", "right")
_SUM_INPUTS: Final = ("value", "addend", "omit")
_MADE: Final = {"cell": Technology.ECP5, "model": Technology.SIMULATION}


@cocotb.test
async def memories(dut: Any) -> None:
    bench = Cycles(dut, Cells())
    await bench.reset()
    written: list[dict[int, int]] = [{} for _ in MEMORIES]
    places = [_places(words) for _, words in MEMORIES]
    # What each read must give, None if nobody knows; the oldest first.
    wanted: list[list[tuple[int | None, bool]]] = [[] for _ in MEMORIES]
    seen = collisions = 0
    for cycle in range(CYCLES):
        inputs: dict[str, int] = {}
        for index, (bits, _) in enumerate(MEMORIES):
            here, known = places[index], written[index]
            enable = cycle < len(here) or random.random() < 0.5
            write = here[cycle] if cycle < len(here) else random.choice(here)
            # Before it is written, a word is undefined.
            read = random.choice(list(known) or here)
            if enable and known and random.random() < 0.2:
                read = write
            collision = bool(enable) and read == write
            wanted[index].append((None if collision else known.get(read), collision and read in known))
            data = random.getrandbits(bits)
            inputs |= dict(zip((f"memory_{index}_{name}" for name in _MEMORY_INPUTS), (int(enable), write, data, read), strict=True))
            if enable:
                known[write] = data
        got = await bench.step(inputs)
        for index in range(len(MEMORIES)):
            if cycle < BlockMemory.latency:
                continue
            value, collision = wanted[index].pop(0)
            cell, model = got[f"memory_{index}_cell"], got[f"memory_{index}_model"]
            if value is not None:
                seen += 1
                assert cell == value, f"cycle {cycle}: {MEMORIES[index]} gives {cell:x}, not {value:x}"
            if value is not None or collision:
                collisions += collision
                assert cell == model, f"cycle {cycle}: {MEMORIES[index]} gives {cell:x}, its model {model:x}"
    assert seen > CYCLES and collisions > CYCLES


@cocotb.test
async def products(dut: Any) -> None:
    bench = Cycles(dut, Cells())
    await bench.reset()
    wanted: list[list[int]] = [[] for _ in OPERANDS]
    for cycle in range(CYCLES):
        inputs: dict[str, int] = {}
        for index, bits in enumerate(OPERANDS):
            pair = [_operand(width) for width in bits]
            inputs |= dict(zip((f"product_{index}_{name}" for name in _OPERANDS), pair, strict=True))
            wanted[index].append(pair[0] * pair[1])
        got = await bench.step(inputs)
        for index in range(len(OPERANDS)):
            if cycle >= Multiplier.latency:
                value = wanted[index].pop(0)
                assert got[f"product_{index}_cell"] == got[f"product_{index}_model"] == value, f"cycle {cycle}: {OPERANDS[index]}"


@cocotb.test
async def sums(dut: Any) -> None:
    bench = Cycles(dut, Cells())
    await bench.reset()
    for cycle in range(CYCLES):
        inputs: dict[str, int] = {}
        wanted = []
        for index, bits in enumerate(SUMS):
            value, addend, omit = random.getrandbits(bits), random.getrandbits(bits), random.getrandbits(1)
            # Carries go far where the operands complement each other.
            value = random.choice((value, ~addend % (1 << bits), -addend % (1 << bits)))
            value, addend = wrap(value, bits), wrap(addend, bits)
            inputs |= dict(zip((f"sum_{index}_{name}" for name in _SUM_INPUTS), (value, addend, omit), strict=True))
            wanted.append(int(GatedAdder(bits).model(*(np.array([operand]) for operand in (value, addend, omit)))[0]))
        got = await bench.step(inputs)
        for index, total in enumerate(wanted):
            assert got[f"sum_{index}_cell"] == got[f"sum_{index}_model"] == total, f"cycle {cycle}: {SUMS[index]} bits, {inputs}"


def _places(words: int) -> list[int]:
    """Some addresses: the ends, the neighbours of every boundary between blocks, and random ones, in a random order."""
    edges = {near for edge in range(0, words + 1, 512) for near in (edge - 1, edge)}
    chosen = {place for place in edges if 0 <= place < words} | {random.randrange(words) for _ in range(40)}
    return random.sample(sorted(chosen), len(chosen))


def _operand(bits: int) -> int:
    limit = 1 << (bits - 1)
    return random.choice((-limit, limit - 1, 0, -1, random.randrange(-limit, limit), random.randrange(-limit, limit)))
