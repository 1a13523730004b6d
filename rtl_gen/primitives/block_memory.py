# SPDX-License-Identifier: Apache-2.0
"""A memory in block RAM with its output register."""

from typing import Any, Final

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import wiring

from ..pipeline import delay, plain_register
from .inferred_memory import inferred_words, memory_ports
from .technology import Technology

ECP5_MODES: Final = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
"""Words and bits of an ECP5 block RAM, DP16KD (Lattice FPGA-TN-02204, memory usage guide)."""


class BlockMemory(wiring.Component):
    """One write port, one read port.

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

    Latency of a read 3 cycles: memory, its output register, and a register behind the choice between blocks. A write can be read
    from the next cycle on. An address that is read in the very cycle in which it is written gives undefined data. Contents are
    undefined before they are written. Throughput one read and one write a cycle.
    """

    latency: Final = 3

    def __init__(self, shape: ShapeLike, depth: int) -> None:
        self.shape = shape
        self.depth = depth
        super().__init__(memory_ports(shape, depth))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if Technology.of(platform) is Technology.ECP5:
            self._ecp5(m)
            return m
        output = Signal(Shape.cast(self.shape).width, reset_less=True)
        words = inferred_words(m, self, self.shape, self.depth, platform)
        m.d.sync += [output.eq(words), plain_register(m, self.read_data, "read_register").eq(output)]
        return m

    def _ecp5(self, m: Module) -> None:
        data_in = Value.cast(self.write_data)
        outputs, first = [], 0
        for index, (words, width) in enumerate(ecp5_blocks(len(data_in), self.depth)):
            # Blocks begin at multiples of their size, so the leading address bits choose.
            inner = (words - 1).bit_length()
            here = f"{index}"
            written, enable = Signal(name=f"enable_{here}"), Signal(name=f"here_{here}")
            m.d.comb += [enable.eq(self.write_address[inner:] == first // words), written.eq(self.write_enable & enable)]
            columns: list[Value] = []
            for low in range(0, len(data_in), width):
                part = data_in[low : low + width]
                output = Signal(len(part), name=f"output_{here}_{low}")
                m.submodules[f"block_{here}_{low}"] = _dp16kd(
                    width, written, self.write_address[:inner], part, self.read_address[:inner], output
                )
                columns.append(output)
            chosen = delay(m, self.read_address[inner:] == first // words, 2, f"chosen_{here}")
            outputs.append((chosen, Cat(*columns)))
            first += words
        result = outputs[-1][1]
        for chosen, output in reversed(outputs[:-1]):
            result = Mux(chosen, output, result)
        m.d.sync += plain_register(m, self.read_data, "read_register").eq(result)


def ecp5_blocks(bits: int, depth: int) -> list[tuple[int, int]]:
    """Words and bits of the block RAM modes that are stacked to hold ``depth`` words of ``bits``.

    Least blocks first, then least choices; each begins at a multiple of its own size.
    """
    plans: dict[int, tuple[int, list[tuple[int, int]]]] = {0: (0, [])}
    # Larger modes come first in a stack, which aligns every one of them.
    for words, width in reversed(ECP5_MODES):
        price = -(-bits // width)
        for held in sorted(plans):
            cost, plan = plans[held]
            while held < depth:
                held, cost, plan = held + words, cost + price, [*plan, (words, width)]
                key = min(held, depth)
                if key not in plans or (cost, len(plan)) < (plans[key][0], len(plans[key][1])):
                    plans[key] = (cost, plan)
    return plans[depth][1]


def _dp16kd(width: int, enable: Value, write_address: Value, data: Value, read_address: Value, output: Signal) -> Instance:
    """Port A writes, port B reads through its output register; 36 bits take the data pins of both."""
    ports: dict[str, Any] = {}
    low = {36: 5, 18: 4, 9: 3, 4: 2, 2: 1, 1: 0}[width]
    # Byte enables stand in the address bits that a wide word leaves free.
    enables = {36: 4, 18: 2}.get(width, 0)
    for bit in range(14):
        inside = low <= bit < low + len(write_address)
        ports[f"i_ADA{bit}"] = write_address[bit - low] if inside else Const(bit < enables, 1)
        ports[f"i_ADB{bit}"] = read_address[bit - low] if inside else Const(0, 1)
    for bit in range(18):
        ports[f"i_DIA{bit}"] = data[bit] if bit < len(data) else Const(0, 1)
        ports[f"i_DIB{bit}"] = data[18 + bit] if 18 + bit < len(data) else Const(0, 1)
        below, above = (bit, 18 + bit) if width == 36 else (len(output), bit)
        for pin, place in (("A", below), ("B", above)):
            if place < len(output):
                ports[f"o_DO{pin}{bit}"] = output[place]
    for port in "AB":
        ports |= {
            f"p_DATA_WIDTH_{port}": width,
            f"p_REGMODE_{port}": "OUTREG",
            f"p_WRITEMODE_{port}": "NORMAL",
            f"p_CSDECODE_{port}": "0b000",
            f"i_CLK{port}": ClockSignal(),
            f"i_CE{port}": Const(1, 1),
            f"i_OCE{port}": Const(1, 1),
            f"i_RST{port}": Const(0, 1),
            **{f"i_CS{port}{index}": Const(0, 1) for index in range(3)},
        }
    return Instance("DP16KD", p_RESETMODE="SYNC", p_GSR="DISABLED", i_WEA=enable, i_WEB=Const(0, 1), **ports)
