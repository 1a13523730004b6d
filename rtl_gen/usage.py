# SPDX-License-Identifier: Apache-2.0
"""What a design uses of an FPGA, read from what Yosys and nextpnr leave."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from .boards import Board

KINDS: Final = ("luts", "registers", "multipliers", "block_rams", "large_rams")
"""Kinds of resources, in the order in which they are told."""

NAMES: Final = {
    "luts": "LUTs",
    "registers": "registers",
    "multipliers": "multipliers",
    "block_rams": "block RAMs",
    "large_rams": "large RAMs",
}
"""Of kinds, for people."""


@dataclass(frozen=True)
class Use:
    """How much of one resource is used, and how much there is; 0 if that is not known."""

    used: int
    available: int

    @property
    def overflows(self) -> bool:
        """Whether there is too little of it."""
        return self.used > self.available > 0


@dataclass(frozen=True)
class Clock:
    """What placing and routing made of a clock: frequencies in MHz."""

    name: str
    achieved: float
    asked: float

    @property
    def met(self) -> bool:
        """Whether the clock is as fast as asked for."""
        return self.achieved >= self.asked


@dataclass(frozen=True)
class Crossing:
    """The longest path from one clock to another, with wires, and a cycle of the faster one: ns.

    A pointer whose bits change one at a time may cross where they are apart by less than a cycle.
    """

    source: str
    target: str
    delay: float
    cycle: float

    @property
    def met(self) -> bool:
        """Whether all that crosses arrives within a cycle."""
        return self.delay <= self.cycle


ENGINE_CLOCK: Final = "clk"

_CELLS: Final[Mapping[str, Mapping[str, tuple[tuple[str, float], ...]]]] = {
    "ecp5": {
        # A distributed memory of 16 x 4 takes four LUTs and two that write them.
        "luts": (("LUT4", 1), ("CCU2C", 2), ("TRELLIS_DPR16X4", 6)),
        "registers": (("TRELLIS_FF", 1),),
        "multipliers": (("MULT18X18D", 1), ("MULT9X9D", 0.5)),
        "block_rams": (("DP16KD", 1), ("PDPW16KD", 1)),
    },
    "ice40": {
        "luts": (("SB_LUT4", 1),),
        "registers": (("SB_DFF.*", 1),),
        "multipliers": (("SB_MAC16", 1),),
        "block_rams": (("SB_RAM40_4K.*", 1),),
        "large_rams": (("SB_SPRAM256KA", 1),),
    },
    "gowin": {
        "luts": (("LUT[1-4]", 1), ("ALU", 1), ("RAM16SDP4", 6), ("RAM16S[124]?", 6)),
        "registers": (("DFF.*", 1),),
        "multipliers": (("MULT18X18", 1), ("MULT9X9", 0.5), ("MULTALU.*|MULTADDALU.*", 2), ("MULT36X36", 4)),
        "block_rams": (("SPX?9?B?|SDPX?9?B?|DPX?9?B?|p?ROMX?9?B?", 1),),
    },
    "xilinx7": {
        "luts": (("LUT[1-6]", 1), ("RAM32M", 4), ("RAM64M", 4), ("RAM(32|64)X1D", 2), ("SRL16E|SRLC32E", 1)),
        "registers": (("FD[RSCP]E", 1),),
        "multipliers": (("DSP48E[12]", 1),),
        "block_rams": (("RAMB18E[12]", 0.5), ("RAMB36E[12]", 1)),
    },
}

_TILES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "ecp5": {"luts": ("TRELLIS_COMB",), "registers": ("TRELLIS_FF",), "multipliers": ("MULT18X18D",), "block_rams": ("DP16KD",)},
    "ice40": {
        "luts": ("ICESTORM_LC",),
        "multipliers": ("ICESTORM_DSP",),
        "block_rams": ("ICESTORM_RAM",),
        "large_rams": ("ICESTORM_SPRAM",),
    },
    "gowin": {"luts": ("LUT4",), "registers": ("DFF",), "multipliers": ("MULT18X18",), "block_rams": ("BSRAM",)},
}


def netlist_use(board: Board, cells: Mapping[str, Any]) -> dict[str, Use]:
    """Use of each kind of resource after synthesis, before anything is placed.

    Parameters
    ----------
    board : Board
    cells : mapping
        What Yosys' ``stat -json`` writes.
    """
    counts: Mapping[str, int] = cells["design"]["num_cells_by_type"]
    available = {
        "luts": board.resources.luts,
        "multipliers": board.resources.multipliers,
        "block_rams": board.resources.block_rams,
        "large_rams": board.resources.large_rams,
    }
    use = {}
    for kind, weights in _CELLS["xilinx7" if board.family == "ultrascale" else board.family].items():
        total = sum(weight * count for pattern, weight in weights for cell, count in counts.items() if re.fullmatch(pattern, cell))
        use[kind] = Use(int(total + 0.5), available.get(kind, 0))
    return use


def placed_use(board: Board, timing: Mapping[str, Any]) -> dict[str, Use]:
    """Use of each kind of resource after placing.

    Parameters
    ----------
    board : Board
    timing : mapping
        The report of nextpnr.
    """
    tiles = timing["utilization"]
    use = {}
    for kind, names in _TILES[board.family].items():
        present = [tiles[name] for name in names if name in tiles]
        if present:
            use[kind] = Use(sum(item["used"] for item in present), sum(item["available"] for item in present))
    return use


def logged_use(board: Board, log: str) -> dict[str, Use]:
    """Use of each kind of resource as nextpnr's log tells it, which it does also where placing fails; empty if it does not."""
    lines = re.findall(r"^Info:\s+(\w+):\s*(\d+)/\s*(\d+)\s+\d+%$", log, re.MULTILINE)
    return placed_use(board, {"utilization": {name: {"used": int(used), "available": int(most)} for name, used, most in lines}})


def placed_clocks(timing: Mapping[str, Any], wanted: float | None = None) -> list[Clock]:
    """The clocks of nextpnr's report: first the engine's, which is called `ENGINE_CLOCK` or is the fastest that was asked for.

    Parameters
    ----------
    timing : mapping
        The report.
    wanted : float, optional
        What `ENGINE_CLOCK` is to reach, MHz, if that is not what nextpnr was asked for.
    """
    clocks = [Clock(_bare(name), entry["achieved"], entry["constraint"]) for name, entry in timing["fmax"].items()]
    clocks = [replace(clock, asked=wanted) if wanted is not None and clock.name == ENGINE_CLOCK else clock for clock in clocks]
    return sorted(clocks, key=lambda clock: (clock.name != ENGINE_CLOCK, -clock.asked))


def placed_crossings(timing: Mapping[str, Any], wanted: float | None = None) -> list[Crossing]:
    """The longest path between each pair of clocks of nextpnr's report; see `placed_clocks`."""
    clocks = {clock.name: clock for clock in placed_clocks(timing, wanted)}
    crossings = []
    for path in timing.get("critical_paths", ()):
        ends = [_bare(path[end].partition(" ")[2]) for end in ("from", "to")]
        if ends[0] != ends[1] and ends[0] in clocks and ends[1] in clocks:
            fastest = max(clocks[end].asked for end in ends)
            crossings.append(Crossing(ends[0], ends[1], delay=sum(part["delay"] for part in path["path"]), cycle=1e3 / fastest))
    return crossings


def _bare(net: str) -> str:
    """Name of a clock, without the modules that its net is in and what nextpnr adds."""
    return net.removeprefix("$glbnet$").partition("$")[0].rpartition(".")[2]
