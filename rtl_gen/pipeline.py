# SPDX-License-Identifier: Apache-2.0
"""Registers in a row."""

from amaranth.hdl import Module, Signal, Value, ValueLike


def delay(m: Module, value: ValueLike, cycles: int, name: str, *, reset_less: bool = True) -> Value:
    """A value as it was ``cycles`` cycles ago.

    The registers have no reset unless ``reset_less`` is false, which valid flags need.
    """
    value = Value.cast(value)
    for index in range(cycles):
        register = Signal(value.shape(), name=f"{name}_{index + 1}", reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value


def fan_out(m: Module, value: ValueLike, count: int, name: str, *, cycles: int = 3, leaf: int = 8, reset_less: bool = True) -> list[Value]:
    """A value as it was ``cycles`` cycles ago, at each of ``count`` places, through a tree of registers.

    A register of the last level serves ``leaf`` neighbours, one before it up to eight registers. The registers carry the attribute
    ``replica``, by which a synthesis script keeps the equal ones apart.
    """
    sizes = [-(-count // leaf)]
    while len(sizes) < cycles:
        sizes.insert(0, -(-sizes[0] // 8))
    level = [Value.cast(value)]
    for depth, size in enumerate(sizes):
        registers = [
            Signal(level[0].shape(), name=f"{name}_{depth}_{index}", reset_less=reset_less, attrs={"replica": 1, "keep": 1})
            for index in range(size)
        ]
        m.d.sync += [register.eq(level[index * len(level) // size]) for index, register in enumerate(registers)]
        level = list(registers)
    return [level[index // leaf] for index in range(count)]
