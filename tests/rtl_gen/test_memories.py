# SPDX-License-Identifier: Apache-2.0
"""What a device needs, foretold without its gateware and compared with it."""

import re
from collections import Counter
from dataclasses import replace

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Shape
from frenn.firmware.formats import Format
from frenn.firmware.parameters import PRESETS, EngineParameters
from frenn.rtl_gen.boards import BOARDS, find_board
from frenn.rtl_gen.byte_device import ByteDevice
from frenn.rtl_gen.estimate import FULL, estimate, shortage
from frenn.rtl_gen.link_parameters import link_for
from frenn.rtl_gen.memories import MemoryShape, block_memories, block_rams, distributed_memories, link_memories, serial_memories
from frenn.rtl_gen.primitives.block_memory import BlockMemory
from frenn.rtl_gen.primitives.technology import Technology

NINE_BITS = replace(PRESETS["tiny"], weight=Format(True, 0, 8), mac_weight=Format(True, 0, 8), lanes=12, weight_depth=4416)
ODD = replace(PRESETS["small"], weight_depth=777, neuron_depth=1306, row_depth=33, program_depth=600, vector_bits=12, drive_bits=44)
ENGINES = {"tiny": PRESETS["tiny"], "nine bits": NINE_BITS, "odd": ODD}


@pytest.mark.parametrize("parameters", ENGINES.values(), ids=ENGINES)
def test_memories_are_those_of_the_gateware(parameters: EngineParameters, monkeypatch: pytest.MonkeyPatch) -> None:
    built: Counter[tuple[int, int]] = Counter()
    elaborate = BlockMemory.elaborate

    def noted(memory: BlockMemory, platform: object) -> Module:
        built[Shape.cast(memory.shape).width, memory.depth] += 1
        return elaborate(memory, platform)

    monkeypatch.setattr(BlockMemory, "elaborate", noted)
    text = rtlil.convert(ByteDevice(parameters), platform=Technology.ECP5, emit_src=False)
    wanted = block_memories(parameters)
    assert built == Counter((memory.bits, memory.depth) for memory in wanted)
    assert len(re.findall(r"^  cell \\DP16KD ", text, re.MULTILINE)) == sum(block_rams("ecp5", memory) for memory in wanted)
    # Every other memory is the link's, or read within a cycle, or the table of reciprocals.
    others = Counter(
        (int(width), int(size)) for width, size in re.findall(r"^  memory width (\d+) size (\d+) ", text, re.MULTILINE)
    ) - Counter({(13, 256): 1})
    assert others == Counter((memory.bits, memory.depth) for memory in [*link_memories(), *distributed_memories(parameters)])
    assert (
        len(re.findall(r"^  cell \\MULT18X18D ", text, re.MULTILINE)) == estimate(find_board("ulx3s-85f"), parameters)["multipliers"].used
    )


def test_memories_of_one_lane_are_those_of_the_gateware() -> None:
    parameters = replace(PRESETS["micro"], weight_depth=20_000)
    text = rtlil.convert(ByteDevice(parameters), platform=Technology.ICE40, emit_src=False)
    found = Counter((int(width), int(size)) for width, size in re.findall(r"^  memory width (\d+) size (\d+) ", text, re.MULTILINE))
    # The table of reciprocals becomes a memory in synthesis.
    wanted = Counter((memory.bits, memory.depth) for memory in [*serial_memories(parameters), *link_memories(link_for(parameters))])
    assert found == wanted - Counter({(13, 256): 1})
    use = estimate(find_board("icebreaker"), parameters)
    for cell, kind in (("SB_SPRAM256KA", "large_rams"), ("SB_MAC16", "multipliers")):
        assert len(re.findall(rf"^  cell \\{cell} ", text, re.MULTILINE)) == use[kind].used


# Counted in netlists of whole boards that Yosys made.
@pytest.mark.parametrize(
    ("preset", "blocks", "multipliers", "luts"), [("tiny", 28, 7, 9436), ("small", 37, 19, 13375), ("medium", 128, 67, 34236)]
)
def test_use_is_that_of_synthesis(preset: str, blocks: int, multipliers: int, luts: int) -> None:
    use = estimate(find_board("ulx3s-85f"), PRESETS[preset])
    assert (use["block_rams"].used, use["multipliers"].used) == (blocks, multipliers)
    assert 0.95 * luts < use["luts"].used < 1.1 * luts


def test_shortage_names_what_is_short() -> None:
    board = find_board("ulx3s-85f")
    assert shortage(board, PRESETS["medium"]) is None
    assert shortage(board, PRESETS["large"]) == "407 block RAMs of 208"
    small = find_board("tang-nano-9k")
    assert shortage(small, PRESETS["micro"]) is None
    used = estimate(small, PRESETS["tiny"])["luts"].used
    assert FULL * small.resources.luts < used
    told = shortage(small, PRESETS["tiny"])
    assert told is not None and told.startswith(f"about {used} LUTs of 8640")


def test_larger_memories_never_take_fewer_block_rams() -> None:
    for name, board in BOARDS.items():
        counts = [estimate(board, replace(PRESETS["tiny"], weight_depth=depth))["block_rams"].used for depth in range(4, 9000, 331)]
        assert counts == sorted(counts), name


def test_amd_takes_the_widest_shape_for_shallow_memories_alone() -> None:
    """As Yosys maps 72 bits, six weights of 12 bits, for a XC7A200T: 7,680 words take 16 blocks of 36 Kbit, not the 15 that would do."""
    for depth, halves in ((512, 2), (513, 4), (7168, 28), (7680, 32)):
        assert [block_rams(family, MemoryShape("weights", 72, depth)) for family in ("xilinx7", "ultrascale")] == [halves, halves]
