# SPDX-License-Identifier: Apache-2.0
"""Sites of block RAMs and multipliers, chosen all at once for a netlist before anything of it is placed.

    python -m frenn.rtl_gen.sites NETLIST SITES OUT [--seed N]

With ``--seed`` the sites are chosen, and written to SITES, before the netlist gets them (attribute ``BEL``).

nextpnr's static placer finds places for everything first and moves block RAMs and multipliers to sites last, one by one; that costs as
much wire as all else has, and where the memory is nearly full it finds none. What has a site from the beginning is left where it is.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..firmware.errors import FrennError
from ..firmware.files import write_atomic
from .floorplan import ROUNDS, Floorplan, Graph, Indices, Points, assigned

DEVICES: Final = ("LFE5U-85F", "LFE5UM5G-85F")
"""FPGAs whose sites are known."""
DIE: Final = (126, 95)
"""Columns and rows of their tiles."""
_COLUMNS: Final = (4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114)
_WIDEST: Final = 2_000
"""Cells of the widest net that counts: clock and reset have wires of their own."""
_AREAS: Final = {"LUT4": 1.0, "CCU2C": 2.0, "TRELLIS_DPR16X4": 6.0, "TRELLIS_FF": 0.35}
"""LUTs that a cell takes; a register mostly stands behind the one that drives it."""
_EXACT_ROUNDS: Final = 4
"""Times that each kind is assigned by half perimeters at the end: its nets lead to the other one too."""
_REPORT: Final = 10
"""Rounds from one line about progress to the next."""


@dataclass(frozen=True)
class Site:
    """A place for one cell.

    Attributes
    ----------
    x, y : int
        Column and row of tiles.
    bel : str
        As nextpnr names it.
    """

    x: int
    y: int
    bel: str


SITES: Final[Mapping[str, tuple[Site, ...]]] = {
    "DP16KD": tuple(
        Site(column + 2 * index, row, f"X{column + 2 * index}/Y{row}/EBR{index}")
        for row in (22, 46, 70, 82)
        for column in _COLUMNS
        for index in range(4)
    ),
    "MULT18X18D": tuple(
        Site(column + index, row, f"X{column + index}/Y{row}/MULT18_{index}")
        for row in (10, 34, 58)
        for column in _COLUMNS
        for index in (0, 1, 4, 5)
    ),
}
"""All sites of `DEVICES`, by type of cell."""


def choose_sites(netlist: Mapping[str, Any], seed: int, say: Callable[[str], None] = lambda text: None) -> dict[str, str]:
    """Sites for the block RAMs and multipliers of a design.

    Parameters
    ----------
    netlist : mapping
        What Yosys wrote.
    seed : int
        Another one chooses other sites.
    say : callable
        Takes a line about progress.

    Returns
    -------
    dict of str to str
        BEL by cell.

    Raises
    ------
    FrennError
        If there are more cells than sites.
    """
    graph = site_graph(netlist)
    plan = Floorplan(graph, seed)
    for number in range(1, ROUNDS + 1):
        plan.step()
        if number % _REPORT == 0:
            say(f"round {number} of {ROUNDS}: {plan.wire():.0f} tiles of wire")
    chosen = exact_sites(graph, plan.spread)
    names = list(_top(netlist)["cells"])
    pairs = ((kind, zip(members, chosen[kind], strict=True)) for kind, members in graph.kinds.items())
    return {names[cell]: SITES[kind][site].bel for kind, both in pairs for cell, site in both}


def site_graph(netlist: Mapping[str, Any]) -> Graph:
    """Cells, in the order of the netlist, and nets of a design that Yosys wrote, with all sites.

    Raises
    ------
    FrennError
        If there are more cells than sites.
    """
    cells = _top(netlist)["cells"]
    numbers = {name: number for number, name in enumerate(cells)}
    kinds = {kind: np.array([numbers[name] for name, cell in cells.items() if cell["type"] == kind], dtype=np.int64) for kind in SITES}
    for kind, members in kinds.items():
        if len(members) > len(SITES[kind]):
            raise FrennError(f"sites: {len(members)} cells {kind}, and {len(SITES[kind])} sites")
    return Graph(
        nets=_nets(cells, numbers),
        areas=np.array([_AREAS.get(cell["type"], 0.0) for cell in cells.values()]),
        kinds=kinds,
        sites={kind: np.array([(site.x, site.y) for site in sites], dtype=float) for kind, sites in SITES.items()},
        die=DIE,
    )


def exact_sites(graph: Graph, places: Points) -> dict[str, Indices]:
    """The numbers of the sites whose nets have the shortest half perimeters, for one kind after the other while all else stays.

    Parameters
    ----------
    graph : Graph
    places : ndarray, (cells, 2)
        Of all cells, to begin with; rounded to whole tiles.
    """
    where = np.rint(places).astype(np.int64)
    better: dict[str, Indices] = {}
    hard = {int(cell) for members in graph.kinds.values() for cell in members}
    of_cell: dict[int, list[Indices]] = defaultdict(list)
    for net in graph.nets:
        for number in hard.intersection(net.tolist()):
            of_cell[number].append(net[net != number])
    for _ in range(_EXACT_ROUNDS):
        for kind, members in graph.kinds.items():
            sites = np.rint(graph.sites[kind]).astype(np.int64)
            cost = np.array([_cost(of_cell[int(cell)], where, sites) for cell in members]).reshape(len(members), len(sites))
            better[kind] = assigned(cost)
            where[members] = sites[better[kind]]
    return better


def keep(netlist: Mapping[str, Any], sites: Mapping[str, str]) -> None:
    """Give cells of a netlist their sites.

    Raises
    ------
    FrennError
        If there is no such cell.
    """
    cells = _top(netlist)["cells"]
    for name, bel in sites.items():
        if name not in cells:
            raise FrennError(f"sites: the netlist has no cell {name}; they are those of another engine")
        cells[name]["attributes"]["BEL"] = bel


def _top(design: Mapping[str, Any]) -> Mapping[str, Any]:
    (top,) = (module for module in design["modules"].values() if int(module.get("attributes", {}).get("top", "0"), 2))
    return top


def _nets(cells: Mapping[str, Any], numbers: Mapping[str, int]) -> list[NDArray[np.int64]]:
    """Numbers of the cells on each net, but on clocks."""
    nets: dict[int, set[int]] = defaultdict(set)
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if not port.startswith("CLK"):
                for bit in bits:
                    nets[bit].add(numbers[name])
    return [np.array(sorted(net)) for bit, net in nets.items() if isinstance(bit, int) and 1 < len(net) <= _WIDEST]


def _cost(nets: Sequence[NDArray[np.int64]], where: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """What a cell's nets grow by at each place, tiles."""
    cost = np.zeros(len(places), dtype=np.int64)
    for others in nets:
        low, high = where[others].min(axis=0), where[others].max(axis=0)
        cost += (np.maximum(low - places, 0) + np.maximum(places - high, 0)).sum(axis=1)
    return cost


def sites_text(sites: Mapping[str, str]) -> str:
    """What `read_sites` reads."""
    return json.dumps(dict(sites), indent=0, sort_keys=True)


def read_sites(path: Path) -> dict[str, str]:
    """Sites that an earlier build has kept.

    Raises
    ------
    FrennError
        If the file is missing, or is no such file.
    """
    try:
        sites = json.loads(path.read_bytes())
    except OSError as error:
        raise FrennError(f"sites: {path} cannot be read: {error.strerror}") from None
    except ValueError:
        sites = None
    if not isinstance(sites, dict) or not all(isinstance(bel, str) for bel in sites.values()):
        raise FrennError(f"sites: {path} holds no sites; a build of a large engine leaves them")
    return sites


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("netlist", type=Path)
    parser.add_argument("sites", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args(words)
    try:
        design = json.loads(arguments.netlist.read_bytes())
        if arguments.seed is not None:
            chosen = choose_sites(design, arguments.seed, lambda text: print(f"Info: {text}", flush=True))
            write_atomic(arguments.sites, sites_text(chosen).encode())
        sites = read_sites(arguments.sites)
        keep(design, sites)
    except FrennError as error:
        print(f"ERROR: {error}")
        return 1
    write_atomic(arguments.out, json.dumps(design).encode())
    print(f"Info: {len(sites)} block RAMs and multipliers have sites")
    return 0


if __name__ == "__main__":
    sys.exit(main())
