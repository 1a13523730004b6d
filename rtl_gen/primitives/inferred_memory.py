# SPDX-License-Identifier: Apache-2.0
"""What memories of one write and one read port share: their ports, and the memory that synthesis finds block RAM for."""

from typing import Final

from amaranth.hdl import Module, Shape, ShapeLike, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .technology import Technology

WORDS: Final = "words"
"""Name of the inferred memory below a component, by which synthesis scripts find it."""


def memory_ports(shape: ShapeLike, depth: int) -> dict[str, wiring.Flow]:
    """Members of a component that holds ``depth`` words of a shape."""
    return {
        "write_enable": In(1),
        "write_address": In(range(depth)),
        "write_data": In(shape),
        "read_address": In(range(depth)),
        "read_data": Out(shape),
    }


def inferred_words(m: Module, ports: wiring.PureInterface, shape: ShapeLike, depth: int, platform: object) -> Value:
    """The word, as bits, whose address the ports of `memory_ports` had a cycle before; it is the submodule `WORDS` of ``m``.

    In simulation it is wrong in every bit if the address was written in that very cycle, which block RAM leaves undefined.
    """
    bits = Shape.cast(shape).width
    m.submodules[WORDS] = words = Memory(shape=bits, depth=depth, init=[])
    write, read = words.write_port(), words.read_port()
    m.d.comb += [
        write.en.eq(ports.write_enable),
        write.addr.eq(ports.write_address),
        write.data.eq(ports.write_data),
        read.addr.eq(ports.read_address),
    ]
    if Technology.of(platform) is not Technology.SIMULATION:
        return read.data
    collision = Signal()
    m.d.sync += collision.eq(ports.write_enable & (ports.write_address == ports.read_address))
    return read.data ^ collision.replicate(bits)
