# SPDX-License-Identifier: Apache-2.0
"""What an engine will use of a board's FPGA, before any tool is run."""

from functools import cache
from typing import Final

from ..firmware.arithmetic import SLOPE_FRACTION
from ..firmware.parameters import EngineParameters
from .boards import VENDOR_FAMILIES, Board
from .link_parameters import link_for
from .memories import MemoryShape, block_memories, block_rams, distributed_memories, link_memories, serial_memories
from .primitives.multiplier import ECP5_BITS, ICE40_BITS
from .primitives.single_port_memory import SPRAM_WORDS
from .usage import NAMES, Use

DEVICE_LUTS: Final = 7700
LANE_LUTS: Final = 370
"""LUTs of 4 inputs, without memories, of a device of no lanes and of each lane: a line through syntheses for ECP5 of the presets
tiny, small and medium, to a few per cent."""

SERIAL_LUTS: Final = {"ice40": 3950, "gowin": 4300}
"""LUTs of a whole device of one lane, measured; elsewhere the larger of them."""

FACTORS: Final = {"ecp5": 1.0, "ice40": 1.0, "gowin": 1.0, "xilinx7": 0.7, "ultrascale": 0.7}
"""LUTs of a family for one of ECP5's."""

FULL: Final = 0.85
"""Share of the LUTs beyond which placing and routing is not to be trusted with a design."""


def estimate(board: Board, parameters: EngineParameters) -> dict[str, Use]:
    """Use of each kind of resource, see `usage.KINDS`.

    Block RAMs and multipliers of an ECP5 are exact, all else is an estimate. What synthesis may put elsewhere than in block RAM,
    or takes several multipliers for, is counted as if it did not.
    """
    resources = board.resources
    use = {
        "luts": Use(_luts(board.family, parameters), resources.luts),
        "multipliers": Use(_multipliers(board.family, parameters), resources.multipliers),
        "block_rams": Use(_block_rams(board.family, parameters), resources.block_rams),
    }
    if resources.large_rams:
        words = parameters.weight_depth if parameters.lanes == 1 else 0
        use["large_rams"] = Use(-(-words // SPRAM_WORDS), resources.large_rams)
    return use


def shortage(board: Board, parameters: EngineParameters) -> str | None:
    """What of a board an engine would overflow, or None."""
    short = []
    for kind, item in estimate(board, parameters).items():
        most = int(FULL * item.available) if kind == "luts" else item.available
        if item.used > most:
            about = "" if is_exact(board, kind) else "about "
            limit = f" ({100 * FULL:.0f} % can be placed)" if kind == "luts" and item.used <= item.available else ""
            short.append(f"{about}{item.used} {NAMES[kind]} of {item.available}{limit}")
    return ", ".join(short) or None


def is_exact(board: Board, kind: str) -> bool:
    """Whether `estimate` counts what synthesis uses, rather than what it may."""
    return (board.family == "ecp5" and kind in ("multipliers", "block_rams")) or kind == "large_rams"


@cache
def _block_rams(family: str, parameters: EngineParameters) -> int:
    if parameters.lanes == 1:
        memories = serial_memories(parameters)
        if family != "ice40":
            memories.append(MemoryShape("weights", parameters.weight.width, parameters.weight_depth))
    else:
        memories = block_memories(parameters)
    total = sum(block_rams(family, memory) for memory in [*memories, *link_memories(link_for(parameters))])
    return -(-total // 2) if family in VENDOR_FAMILIES else total


def _luts(family: str, parameters: EngineParameters) -> int:
    if parameters.lanes == 1:
        return round(SERIAL_LUTS.get(family, max(SERIAL_LUTS.values()) * FACTORS[family]))
    logic = round(FACTORS[family] * (DEVICE_LUTS + LANE_LUTS * parameters.lanes))
    memories = distributed_memories(parameters)
    if family == "ice40":
        # It has no memory in LUTs: a register and its way out for each bit.
        return logic + sum(2 * memory.bits * memory.depth for memory in memories)
    # 16 words of 4 bits take six LUTs; on AMD's FPGAs 32 words of 6 bits four.
    words, bits, price = (32, 6, 4) if family in VENDOR_FAMILIES else (16, 4, 6)
    return logic + sum(price * -(-memory.bits // bits) * -(-memory.depth // words) for memory in memories)


def _multipliers(family: str, parameters: EngineParameters) -> int:
    if parameters.lanes == 1:
        bits = ICE40_BITS if family == "ice40" else ECP5_BITS
        # Those of products and of neurons; the left operand of either fits one.
        return sum(-(-right // bits) for right in (max(parameters.drive_bits, parameters.broadcast_bits), parameters.drive.width))
    lane = _pieces(max(parameters.mac_weight.width, parameters.vector_bits), parameters.broadcast_bits)
    # Those of slope, activation and softmax.
    return parameters.lanes * lane + _pieces(parameters.drive.width, SLOPE_FRACTION + 2) + 2


def _pieces(left: int, right: int) -> int:
    return -(-left // ECP5_BITS) * -(-right // ECP5_BITS)
