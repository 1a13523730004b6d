# SPDX-License-Identifier: Apache-2.0
"""What stands for parts of a component in a proof, and leaves what they say to the solver."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Array, Elaboratable, Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from frenn.rtl_gen.primitives.block_memory import BlockMemory
from frenn.rtl_gen.primitives.inferred_memory import memory_ports


def ports(component: Any, flow: Any = In) -> Iterator[Any]:
    """The inputs of a component, or its outputs."""
    for _, member, port in component.signature.flatten(component):
        if member.flow is flow:
            yield port


def anything(kind: type[wiring.Component]) -> type[wiring.Component]:
    """What stands for a kind of component, with its ports; the outputs are to be driven."""

    class Anything(kind):  # type: ignore[valid-type,misc]
        def elaborate(self, platform: object) -> Module:
            return Module()

    return Anything


class AnyCrc(Elaboratable):
    """Stands for a CRC, and tells what the solver likes.

    Attributes
    ----------
    crc, match_detected : Signal
        To be driven.
    """

    def __init__(self, data_width: int) -> None:
        self.start, self.valid, self.data = Signal(), Signal(), Signal(data_width)
        self.crc, self.match_detected = Signal(32), Signal()

    def create(self) -> "AnyCrc":
        return self

    def elaborate(self, platform: object) -> Module:
        return Module()


class AnyMemory(Elaboratable):
    """Stands for `amaranth.lib.memory.Memory` with one write and one synchronous read port; what is read is left to the solver.

    Attributes
    ----------
    read_data : Signal
        To be driven.
    """

    def __init__(self, *, shape: ShapeLike, depth: int, init: object) -> None:
        self.read_data = Signal(Shape.cast(shape).width)
        address = range(depth)
        self._write = SimpleNamespace(addr=Signal(address), data=Signal(shape), en=Signal())
        self._read = SimpleNamespace(addr=Signal(address), data=Signal(shape), en=Signal(init=1))

    def write_port(self) -> SimpleNamespace:
        return self._write

    def read_port(self) -> SimpleNamespace:
        return self._read

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += Value.cast(self._read.data).eq(self.read_data)
        return m


class RegisterMemory(AnyMemory):
    """The same with its rows as registers, so that claims can name them.

    Attributes
    ----------
    rows : list of Signal
    """

    def __init__(self, *, shape: ShapeLike, depth: int, init: object) -> None:
        super().__init__(shape=shape, depth=depth, init=init)
        self.rows = [Signal.like(self.read_data, name=f"row{index}") for index in range(depth)]

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self._read.en):
            m.d.sync += self.read_data.eq(Array(self.rows)[self._read.addr])
        with m.If(self._write.en):
            m.d.sync += Array(self.rows)[self._write.addr].eq(self._write.data)
        return m


class WatchedMemory(wiring.Component):
    """Stands for `BlockMemory`: one word of it, and otherwise, also when it is written as it is read, what the solver likes.

    Attributes
    ----------
    watched, noise : Signal
        The word's address and what else is read, to be driven.
    word : Signal
        What it holds.
    """

    def __init__(self, shape: Any, depth: int) -> None:
        super().__init__(memory_ports(shape, depth))
        self.watched = Signal(range(depth))
        self.word, self.noise = (Signal(Shape.cast(shape).width, name=name) for name in ("word", "noise"))
        self.stages = [Signal.like(self.word, name=f"stage{index}") for index in range(BlockMemory.latency)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        writes = self.write_enable & (self.write_address == self.watched)
        with m.If(writes):
            m.d.sync += self.word.eq(self.write_data)
        m.d.sync += self.stages[0].eq(Mux((self.read_address == self.watched) & ~writes, self.word, self.noise))
        m.d.sync += [later.eq(earlier) for earlier, later in zip(self.stages, self.stages[1:], strict=False)]
        m.d.comb += Value.cast(self.read_data).eq(self.stages[-1])
        return m
