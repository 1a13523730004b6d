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
