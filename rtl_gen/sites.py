# SPDX-License-Identifier: Apache-2.0
"""Sites of block RAMs and multipliers, chosen all at once against the logic that was placed around them.

    python -m frenn.rtl_gen.sites NETLIST SITES OUT [--placed PLACED]

With ``--placed`` the sites are chosen, and written to SITES, before the netlist gets them.

nextpnr's static placer finds places for everything first and moves block RAMs and multipliers to sites last, one by one. What wire that
costs differs from seed to seed. Here all of one kind are assigned to sites together, so that the half perimeters of their nets are
shortest while the rest stays; a second placement, with these sites kept (attribute ``BEL``), moves the logic to them.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..firmware.errors import FrennError
from ..firmware.files import write_atomic

DEVICES: Final = ("LFE5U-85F", "LFE5UM5G-85F")
"""FPGAs whose sites are known."""
ROUNDS: Final = 4
"""Times that each kind is assigned: its nets lead to the other one too."""
_COLUMNS: Final = (4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114)
_WIDEST: Final = 2_000
"""Cells of the widest net that counts: clock and reset have wires of their own."""


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


def choose_sites(placed: Mapping[str, Any]) -> dict[str, str]:
    """Sites for the block RAMs and multipliers of a placed design.

    Parameters
    ----------
    placed : mapping
        What nextpnr wrote (``--write``).

    Returns
    -------
    dict of str to str
        BEL by cell.

    Raises
    ------
    FrennError
        If a cell has no place, or there are more cells than sites.
    """
    # Late: it takes a while to load.
    from scipy.optimize import linear_sum_assignment

    cells = _top(placed)["cells"]
    numbers = {name: number for number, name in enumerate(cells)}
    where = np.array([_place(name, cell) for name, cell in cells.items()])
    kinds = {kind: [name for name, cell in cells.items() if cell["type"] == kind] for kind in SITES}
    nets = _nets(cells, numbers)
    of_cell: dict[int, list[NDArray[np.int64]]] = defaultdict(list)
    hard = {numbers[name] for names in kinds.values() for name in names}
    for net in nets:
        for number in hard.intersection(net.tolist()):
            of_cell[number].append(net[net != number])
    chosen = {}
    for _ in range(ROUNDS):
        for kind, names in kinds.items():
            sites = SITES[kind]
            if len(names) > len(sites):
                raise FrennError(f"sites: {len(names)} cells {kind}, and {len(sites)} sites")
            places = np.array([(site.x, site.y) for site in sites])
            cost = np.array([_cost(of_cell[numbers[name]], where, places) for name in names]).reshape(len(names), len(sites))
            for name, index in zip(names, linear_sum_assignment(cost)[1].tolist(), strict=True):
                where[numbers[name]] = places[index]
                chosen[name] = sites[index].bel
    return chosen


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


def _place(name: str, cell: Mapping[str, Any]) -> tuple[int, int]:
    parts = cell["attributes"].get("NEXTPNR_BEL", "").split("/")
    if len(parts) != 3:
        raise FrennError(f"sites: {name} has no place; it was not placed")
    return int(parts[0][1:]), int(parts[1][1:])


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
        raise FrennError(f"sites: {path} holds no sites; a build whose engine is placed twice leaves them")
    return sites


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("netlist", type=Path)
    parser.add_argument("sites", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--placed", type=Path)
    arguments = parser.parse_args(words)
    try:
        if arguments.placed is not None:
            chosen = choose_sites(json.loads(arguments.placed.read_bytes()))
            write_atomic(arguments.sites, sites_text(chosen).encode())
        sites = read_sites(arguments.sites)
        design = json.loads(arguments.netlist.read_bytes())
        keep(design, sites)
    except FrennError as error:
        print(f"ERROR: {error}")
        return 1
    write_atomic(arguments.out, json.dumps(design).encode())
    print(f"Info: {len(sites)} block RAMs and multipliers have sites")
    return 0


if __name__ == "__main__":
    sys.exit(main())
