# SPDX-License-Identifier: Apache-2.0
"""The memories of a device, and the block RAMs that they take."""

from typing import Final, NamedTuple

from amaranth.hdl import Shape

from ..firmware.arithmetic import RECIPROCAL_FRACTION, RECIPROCAL_INDEX_BITS, SLOPE_FRACTION
from ..firmware.counters import NAMES
from ..firmware.isa import INSTRUCTION_WORDS
from ..firmware.parameters import EngineParameters
from .event_list import INDEX_BITS
from .instruction import INSTRUCTION_BITS
from .link_parameters import LinkParameters
from .packet import PACKET
from .performance import COUNTER_BITS, TURN
from .primitives.block_memory import ECP5_MODES, ecp5_blocks
from .weights import lane_groups


class MemoryShape(NamedTuple):
    """A memory: what it holds, bits of a word, and words."""

    name: str
    bits: int
    depth: int


MODES: Final = {
    "ecp5": ECP5_MODES,
    "gowin": ECP5_MODES,
    "ice40": ((256, 16), (512, 8), (1024, 4), (2048, 2)),
    # Halves of 36 Kbit.
    "xilinx7": ECP5_MODES,
    "ultrascale": ECP5_MODES,
}
"""Words and bits of a block RAM with one write and one read port, by family."""


def block_memories(parameters: EngineParameters) -> list[MemoryShape]:
    """Every `BlockMemory` of a `Device`."""
    vector, depth = parameters.vector_bits, parameters.neuron_depth
    lists = [("changes", vector + 1), ("nonzero", vector)]
    width = parameters.weight.width
    return [
        *(MemoryShape("weights", len(group) * width, parameters.weight_depth) for group in lane_groups(parameters.lanes, width)),
        *(MemoryShape(name, parameters.drive_bits, -(-depth // 2)) for name in ("drives", "walked drives") for _ in range(2)),
        MemoryShape("inputs", INDEX_BITS + vector - 1, 2 * depth),
        MemoryShape("states", vector + SLOPE_FRACTION + 1, depth),
        MemoryShape("deviations", vector, depth),
        *(MemoryShape(name, INDEX_BITS + bits, depth) for name, bits in lists),
        *(MemoryShape(f"lengths of {name}", INDEX_BITS, parameters.program_depth) for name, _ in lists),
        MemoryShape("program", INSTRUCTION_BITS, parameters.program_depth),
        MemoryShape("counters", COUNTER_BITS, TURN),
    ]


def serial_memories(parameters: EngineParameters) -> list[MemoryShape]:
    """Every memory of a `SerialDevice` but that of the weights."""
    vector, depth = parameters.vector_bits, parameters.neuron_depth
    return [
        MemoryShape("drives", parameters.drive_bits, depth),
        MemoryShape("states", vector + SLOPE_FRACTION + 1, depth),
        MemoryShape("deviations", vector, depth),
        MemoryShape("changes", vector + 1, depth),
        MemoryShape("program", 32, INSTRUCTION_WORDS * parameters.program_depth),
        MemoryShape("counters", 16, 4 * len(NAMES)),
        MemoryShape("reciprocals", RECIPROCAL_FRACTION + 1, 1 << RECIPROCAL_INDEX_BITS),
    ]


def link_memories(link: LinkParameters | None = None) -> list[MemoryShape]:
    """The buffers of a `Link`."""
    link = LinkParameters() if link is None else link
    return [
        MemoryShape("received", Shape.cast(PACKET).width, link.receive_words),
        MemoryShape("transmitted", 32, link.transmit_words),
    ]


def distributed_memories(parameters: EngineParameters) -> list[MemoryShape]:
    """The memories of a device that are read within a cycle, and so stand in LUTs."""
    depth = parameters.row_depth
    lanes = [MemoryShape("row changes", parameters.vector_bits + 1, depth), MemoryShape("row values", parameters.vector_bits, depth)]
    flags = [MemoryShape("changed blocks", 1, depth), MemoryShape("valued blocks", 1, depth)]
    return lanes * parameters.lanes + flags


def block_rams(family: str, memory: MemoryShape) -> int:
    """Block RAMs that a memory takes: on ECP5 exactly, elsewhere (on AMD's halves) as if synthesis chose the best single shape."""
    if family == "ecp5":
        return sum(-(-memory.bits // width) for _, width in ecp5_blocks(memory.bits, memory.depth))
    modes = MODES[family]
    if family in ("xilinx7", "ultrascale"):
        # Yosys takes the widest shape, of fewest words, only where one block holds all of them: it weighs the choice among blocks too.
        fewest = min(words for words, _ in modes)
        modes = tuple((words, width) for words, width in modes if words > fewest or memory.depth <= fewest)
    return min(-(-memory.depth // words) * -(-memory.bits // width) for words, width in modes)
