# SPDX-License-Identifier: Apache-2.0
"""Registers in a row."""

from typing import Final

from amaranth.hdl import Module, Signal, Value, ValueLike

REPLICA: Final = {"replica": 1, "keep": 1}
"""Attributes of registers that synthesis must not merge with equal ones."""


def delay(m: Module, value: ValueLike, cycles: int, name: str, *, replica: bool = False) -> Value:
    """A value as it was ``cycles`` cycles ago.

    The registers have no reset, valid flags neither: what they come from has it, and reset lasts until they have left. With
    ``replica`` the last register is not shared with equal ones elsewhere.
    """
    value = Value.cast(value)
    for index in range(cycles):
        attrs = REPLICA if replica and index == cycles - 1 else {}
        register = Signal(value.shape(), name=f"{name}_{index + 1}", reset_less=True, attrs=attrs)
        m.d.sync += register.eq(value)
        value = register
    return value


def plain_register(m: Module, port: ValueLike, name: str) -> Signal:
    """A register without reset that drives ``port``, whose own registers would have one.

    A reset that reaches all registers of a large engine is its slowest net, and data need none.
    """
    port = Value.cast(port)
    register = Signal(port.shape(), name=name, reset_less=True)
    m.d.comb += port.eq(register)
    return register


def fan_out(m: Module, value: ValueLike, count: int, name: str, *, cycles: int = 3, leaf: int = 8) -> list[Value]:
    """A value as it was ``cycles`` cycles ago, at each of ``count`` places, through a tree of registers.

    A register of the last level serves ``leaf`` neighbours, one before it up to four registers. The registers carry the attribute
    ``replica``, by which a synthesis script keeps the equal ones apart.
    """
    sizes = [-(-count // leaf)]
    while len(sizes) < cycles:
        sizes.insert(0, -(-sizes[0] // 4))
    level = [Value.cast(value)]
    for depth, size in enumerate(sizes):
        registers = [Signal(level[0].shape(), name=f"{name}_{depth}_{index}", reset_less=True, attrs=REPLICA) for index in range(size)]
        m.d.sync += [register.eq(level[index * len(level) // size]) for index, register in enumerate(registers)]
        level = list(registers)
    return [level[index // leaf] for index in range(count)]
