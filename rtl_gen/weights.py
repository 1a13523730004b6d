# SPDX-License-Identifier: Apache-2.0
"""The weight memory that the lanes share."""

import math
from typing import Final

from amaranth.hdl import Cat, Module, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.parameters import EngineParameters
from .pipeline import fan_out
from .primitives.block_memory import BlockMemory

FAN_OUT: Final = 2
"""Registers of an address on its way to the memories."""


def lane_groups(lanes: int, width: int) -> list[range]:
    """Lanes that share a memory, for weights of so many bits."""
    size = min(72 // math.gcd(width, 72), 16)
    return [range(first, min(first + size, lanes)) for first in range(0, lanes, size)]


class WeightMemory(wiring.Component):
    """One word for each lane at every address; all lanes use one address.

    Neighbouring lanes share memories, as many as fill words of 72 bits: a 36-bit block RAM holds 3 weights of 12 bits, or 4 of 9.

    Ports
    -----
    read_address : In
    read_data : Out, a signed weight per lane
    write_enable, write_address, write_data : In
        The data come `FAN_OUT` cycles after enable and address.

    The data of a read appear `latency` cycles after its address; those of a write are in the memory `FAN_OUT` + 1 cycles after its
    enable. An address must not be read in the cycle in which it is written. Throughput one read and one write a cycle.
    """

    latency: Final = FAN_OUT + BlockMemory.latency

    def __init__(self, parameters: EngineParameters) -> None:
        self.lanes = parameters.lanes
        self.depth = parameters.weight_depth
        self.shape = signed(parameters.weight.width)
        word = data.ArrayLayout(self.shape, self.lanes)
        super().__init__(
            {
                "read_address": In(range(self.depth)),
                "read_data": Out(word),
                "write_enable": In(1),
                "write_address": In(range(self.depth)),
                "write_data": In(word),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = self.shape.width
        groups = lane_groups(self.lanes, width)
        reads = fan_out(m, self.read_address, len(groups), "read", cycles=FAN_OUT, leaf=1)
        writes = fan_out(m, self.write_address, len(groups), "write", cycles=FAN_OUT, leaf=1)
        enables = fan_out(m, self.write_enable, len(groups), "enable", cycles=FAN_OUT, leaf=1)
        for index, group in enumerate(groups):
            m.submodules[f"group_{index}"] = memory = BlockMemory(len(group) * width, self.depth)
            words: list[Value] = [self.write_data[lane] for lane in group]
            m.d.comb += [
                memory.read_address.eq(reads[index]),
                memory.write_address.eq(writes[index]),
                memory.write_enable.eq(enables[index]),
                memory.write_data.eq(Cat(*words)),
            ]
            m.d.comb += [self.read_data[lane].eq(memory.read_data.word_select(place, width)) for place, lane in enumerate(group)]
        return m
