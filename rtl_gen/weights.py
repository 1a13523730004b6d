# SPDX-License-Identifier: Apache-2.0
"""The weight memory that the lanes share."""

from typing import Final

from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..firmware.parameters import EngineParameters


class WeightMemory(wiring.Component):
    """One word for each lane at every address; all lanes use one address.

    Ports
    -----
    read_address : In
    read_data : Out, a signed weight per lane
    write_enable, write_address, write_data : In

    The data of a read appear 2 cycles after its address (memory, then output register). An address must not be read
    and written in the same cycle. Throughput one read and one write a cycle.
    """

    latency: Final = 2

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
        for lane in range(self.lanes):
            memory = Memory(shape=self.shape, depth=self.depth, init=[])
            m.submodules[f"lane_{lane}"] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                read.addr.eq(self.read_address),
                write.en.eq(self.write_enable),
                write.addr.eq(self.write_address),
                write.data.eq(self.write_data[lane]),
            ]
            m.d.sync += self.read_data[lane].eq(read.data)
        return m
