# SPDX-License-Identifier: Apache-2.0
"""A memory in block RAM without its output register."""

from typing import Final

from amaranth.hdl import Module, ShapeLike, Value
from amaranth.lib import wiring

from .inferred_memory import inferred_words, memory_ports


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
        super().__init__(memory_ports(shape, depth))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = inferred_words(m, self, self.shape, self.depth, platform)
        m.d.comb += Value.cast(self.read_data).eq(words)
        return m
