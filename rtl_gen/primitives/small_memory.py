# SPDX-License-Identifier: Apache-2.0
"""A memory in block RAM without its output register."""

from typing import Final

from amaranth.hdl import Module, Shape, ShapeLike, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .block_memory import WORDS
from .technology import Technology


class SmallMemory(wiring.Component):
    """One write port, one read port: as `BlockMemory`, but for slow clocks.

    Parameters
    ----------
    shape : ShapeLike
        Of a word.
    depth : int
        Words.

    Ports
    -----
    write_enable, write_address, write_data : In
    read_address, read_data : In, Out

    Latency of a read 1 cycle. A write can be read from the next cycle on. An address that is read in the very cycle in which it is
    written gives undefined data. Contents are 0 before they are written. Throughput one read and one write a cycle.
    """

    latency: Final = 1

    def __init__(self, shape: ShapeLike, depth: int) -> None:
        self.shape = shape
        self.depth = depth
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(range(depth)),
                "write_data": In(shape),
                "read_address": In(range(depth)),
                "read_data": Out(shape),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = Shape.cast(self.shape).width
        m.submodules[WORDS] = words = Memory(shape=bits, depth=self.depth, init=[])
        write, read = words.write_port(), words.read_port()
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            read.addr.eq(self.read_address),
        ]
        data: Value = read.data
        if Technology.of(platform) is Technology.SIMULATION:
            collision = Signal()
            m.d.sync += collision.eq(self.write_enable & (self.write_address == self.read_address))
            data = data ^ collision.replicate(bits)
        m.d.comb += Value.cast(self.read_data).eq(data)
        return m
