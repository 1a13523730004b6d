# SPDX-License-Identifier: Apache-2.0
"""A memory that reads or writes one word a cycle."""

from typing import Final

from amaranth.hdl import Array, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .inferred_memory import WORDS
from .technology import Technology

SPRAM_WORDS: Final = 1 << 14
"""Words of an iCE40 UltraPlus single-port RAM, SB_SPRAM256KA (Lattice FPGA-TN-02022, SPRAM usage guide)."""
SPRAM_BITS: Final = 16
"""Bits of each of them."""


class SinglePortMemory(wiring.Component):
    """One port.

    Parameters
    ----------
    bits : int
        Of a word.
    depth : int
        Words.

    Ports
    -----
    address : In
    write_enable, write_data : In
        Write to the address in this cycle.
    read_data : Out
        The word of the address one cycle ago; undefined if it was written then.

    A write can be read from the next cycle on. Contents are undefined before they are written. Throughput one read or write a cycle.
    """

    latency: Final = 1

    def __init__(self, bits: int, depth: int) -> None:
        self.bits = bits
        self.depth = depth
        super().__init__({"address": In(range(depth)), "write_enable": In(1), "write_data": In(bits), "read_data": Out(bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        technology = Technology.of(platform)
        if technology is Technology.ICE40 and self.bits <= SPRAM_BITS:
            self._ice40(m)
            return m
        m.submodules[WORDS] = words = Memory(shape=self.bits, depth=self.depth, init=[])
        write, read = words.write_port(), words.read_port()
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.addr.eq(self.address),
            write.data.eq(self.write_data),
            read.addr.eq(self.address),
            self.read_data.eq(read.data),
        ]
        if technology is Technology.SIMULATION:
            written = Signal()
            m.d.sync += written.eq(self.write_enable)
            m.d.comb += self.read_data.eq(read.data ^ written.replicate(self.bits))
        return m

    def _ice40(self, m: Module) -> None:
        inner = (SPRAM_WORDS - 1).bit_length()
        outputs = []
        for index in range(-(-self.depth // SPRAM_WORDS)):
            output = Signal(SPRAM_BITS, name=f"output_{index}")
            place = Signal(inner, name=f"place_{index}")
            data = Signal(SPRAM_BITS, name=f"data_{index}")
            m.d.comb += [place.eq(self.address), data.eq(self.write_data)]
            m.submodules[f"part_{index}"] = Instance(
                "SB_SPRAM256KA",
                i_CLOCK=ClockSignal(),
                i_ADDRESS=place,
                i_DATAIN=data,
                i_MASKWREN=Const(15, 4),
                i_WREN=self.write_enable & (self.address[inner:] == index),
                i_CHIPSELECT=Const(1, 1),
                i_STANDBY=Const(0, 1),
                i_SLEEP=Const(0, 1),
                i_POWEROFF=Const(1, 1),
                o_DATAOUT=output,
            )
            outputs.append(output)
        chosen = Signal(range(max(len(outputs), 2)), reset_less=True)
        m.d.sync += chosen.eq(self.address[inner:])
        m.d.comb += self.read_data.eq(Array(outputs)[chosen] if len(outputs) > 1 else outputs[0])
