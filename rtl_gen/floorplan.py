# SPDX-License-Identifier: Apache-2.0
"""A rough placement of a whole netlist, made to find good sites for its block RAMs and multipliers.

All cells are points, and the wire of a net is half the perimeter of its box. Rounds of quadratic placement (the springs between a net's
cells are as stiff as makes their energy the box's width, "bound to bound": Spindler, Schlichtmann, Johannes, "Kraftwerk2", TCAD 2008)
draw them together. After each, block RAMs and multipliers are assigned to sites, and everything else is spread to equal density
by halving (as in Kim, Lee, Markov, "SimPL", TCAD 2012); the next round is pulled there, ever more strongly. So what stands on sites finds
them while all else can still follow, where a placer that legalises at the end has to tear apart what it had put together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Places, tiles: (cells, 2), column and row."""
Indices = NDArray[np.int64]

ROUNDS: Final = 50
_FREE_ROUNDS: Final = 5
"""Rounds before anything is pulled."""
_SOLVES: Final = 2
"""Quadratic placements in a round: their springs depend on where the last one left the cells."""
_DENSITY: Final = 0.62
"""Share of a tile's LUTs that cells are spread to; nextpnr's static placer comes to about as much."""
_TILE: Final = 8.0
"""LUTs of a tile."""
_SITE_PULL: Final = (0.003, 1.18, 5.0)
"""Pull to assigned sites, by pin: in the first round, its growth by round, and the most."""
_SPREAD_PULL: Final = (0.005, 1.08, 0.2)
"""Pull to spread places, by LUT, likewise."""
_LOOSE: Final = 0.3
"""What a cell without LUTs is pulled like, LUTs."""
_STRETCH: Final = 0.5
"""Cells for sites lie close together in the first rounds. This share of their places is then their rank, which loses its say until
round `_STRETCHED` of all."""
_STRETCHED: Final = 0.6
_TO_CENTRE: Final = 1e-6
"""Pull that keeps cells without any other one on the die."""
_LEAST_PART: Final = 40
"""Cells that are not halved any more."""


@dataclass(frozen=True)
class Graph:
    """Cells and nets.

    Parameters
    ----------
    nets : sequence of ndarray
        Cells of each net, two at least, int64.
    areas : ndarray, (cells,)
        LUTs that each cell takes.
    kinds : mapping of str to ndarray
        Cells that stand on sites, int64, by their type.
    sites : mapping of str to ndarray, (sites, 2)
        Places of each type's sites, tiles; not fewer than its cells.
    die : (int, int)
        Columns and rows of tiles.
    """

    nets: Sequence[Indices]
    areas: NDArray[np.float64]
    kinds: Mapping[str, Indices]
    sites: Mapping[str, Points]
    die: tuple[int, int]


class Floorplan:
    """The rounds of one placement.

    Parameters
    ----------
    graph : Graph
    seed : int
        Of the first places, which are random.

    Attributes
    ----------
    places : ndarray, (cells, 2)
        Where the quadratic placement has each cell.
    spread : ndarray, (cells, 2)
        The same for equal density, and on sites what stands on sites.
    """

    def __init__(self, graph: Graph, seed: int) -> None:
        self._graph = graph
        cells = len(graph.areas)
        self._die = np.array(graph.die, dtype=float)
        self._members = np.concatenate([*graph.nets, np.zeros(0, dtype=np.int64)])
        counts = np.array([len(net) for net in graph.nets], dtype=np.int64)
        self._starts = np.cumsum(counts) - counts
        self._net = np.repeat(np.arange(len(counts)), counts)
        self._stiffness = 1.0 / (counts - 1)[self._net]
        self._pins = np.bincount(self._members, minlength=cells)
        self._hard = np.concatenate([*graph.kinds.values(), np.zeros(0, dtype=np.int64)])
        self._soft = np.setdiff1d(np.arange(cells), self._hard)
        # As large as the cells need, in the middle, in the die's shape.
        self._size = self._die * min(1.0, graph.areas.sum() / _TILE / _DENSITY / self._die.prod()) ** 0.5
        generator = np.random.default_rng(seed)
        self.places: Points = self._die / 2 + generator.normal(size=(cells, 2)) * self._die / 6
        self.spread = self.places.copy()
        self._round = 0
        for _ in range(_FREE_ROUNDS):
            self._solve(0.0, 0.0)
        self._settle(_STRETCH)

    def step(self) -> None:
        """One more round."""
        first, growth, most = _SITE_PULL
        site_pull = min(first * growth**self._round, most)
        first, growth, most = _SPREAD_PULL
        spread_pull = min(first * growth**self._round, most)
        for _ in range(_SOLVES):
            self._solve(site_pull, spread_pull)
        self._settle(_STRETCH * max(0.0, 1 - self._round / (_STRETCHED * ROUNDS)))
        self._round += 1

    def wire(self) -> float:
        """Half perimeters of all nets where everything is spread, tiles."""
        total = 0.0
        for axis in (0, 1):
            where = self.spread[self._members, axis]
            total += float((np.maximum.reduceat(where, self._starts) - np.minimum.reduceat(where, self._starts)).sum())
        return total

    def _settle(self, stretch: float) -> None:
        self.spread[self._soft] = self._halved(self._soft)
        wanted = self.places[self._hard]
        ranks = (np.argsort(np.argsort(wanted, axis=0, kind="stable"), axis=0, kind="stable") + 0.5) / max(len(wanted), 1)
        wanted = (1 - stretch) * wanted + stretch * (self._die / 2 + (ranks - 0.5) * self._size)
        begin = 0
        for kind, cells in self._graph.kinds.items():
            sites = self._graph.sites[kind]
            distance = np.abs(wanted[begin : begin + len(cells), None] - sites[None]).sum(axis=2)
            self.spread[cells] = sites[assigned(distance * self._pins[cells, None])]
            begin += len(cells)

    def _halved(self, cells: Indices) -> Points:
        """Places of cells at equal density, with their order in both axes kept as far as can be."""
        places = self.places[cells].copy()
        areas = np.maximum(self._graph.areas[cells], 0.01)
        low = (self._die - self._size) / 2
        parts = [(np.arange(len(cells)), low, low + self._size)]
        while parts:
            part, low, high = parts.pop()
            if len(part) <= _LEAST_PART:
                inside = self.places[cells[part]]
                if len(part):
                    least, span = inside.min(axis=0), np.ptp(inside, axis=0)
                    # What is too wide is scaled, what lies aside is moved.
                    scale = np.minimum(1.0, (high - low) / np.maximum(span, 1e-9))
                    begin = np.clip(least, low, high - span * scale)
                    places[part] = begin + (inside - least) * scale
                continue
            axis = int(np.argmax(high - low))
            order = part[np.argsort(self.places[cells[part], axis], kind="stable")]
            filled = np.cumsum(areas[order])
            half = int(np.clip(np.searchsorted(filled, filled[-1] / 2), 1, len(order) - 1))
            middle = (low[axis] + high[axis]) / 2
            end, begin = high.copy(), low.copy()
            end[axis] = begin[axis] = middle
            parts += [(order[:half], low, end), (order[half:], begin, high)]
        return places

    def _solve(self, site_pull: float, spread_pull: float) -> None:
        for axis in (0, 1):
            self.places[:, axis] = self._solved(axis, site_pull, spread_pull)

    def _solved(self, axis: int, site_pull: float, spread_pull: float) -> NDArray[np.float64]:
        """Places in one axis where all springs are at rest."""
        # Late: they take a while to load.
        from scipy.sparse import coo_matrix, diags
        from scipy.sparse.linalg import cg

        cells = len(self._graph.areas)
        now = self.places[:, axis]
        where = now[self._members]
        order = np.lexsort((where, self._net))
        ends = np.append(self._starts[1:], len(order)) - 1 if len(order) else self._starts
        lowest, highest = self._members[order[self._starts]][self._net], self._members[order[ends]][self._net]
        one, other, weight = [], [], []
        # Each cell to both ends of its net, and the ends to each other once.
        for end, pairs in ((lowest, self._members != lowest), (highest, (self._members != highest) & (self._members != lowest))):
            one.append(self._members[pairs])
            other.append(end[pairs])
            weight.append(self._stiffness[pairs] / np.maximum(np.abs(where[pairs] - now[end[pairs]]), 1.0))
        ones, others, weights = np.concatenate(one), np.concatenate(other), np.concatenate(weight)
        pull = np.zeros(cells)
        pull[self._hard] = site_pull * self._pins[self._hard]
        away = np.abs(now[self._soft] - self.spread[self._soft, axis])
        pull[self._soft] = spread_pull * (_LOOSE + self._graph.areas[self._soft]) / np.maximum(away, 1.0) ** 0.5
        diagonal = _TO_CENTRE + pull + np.bincount(ones, weights, cells) + np.bincount(others, weights, cells)
        springs = coo_matrix((np.r_[-weights, -weights], (np.r_[ones, others], np.r_[others, ones])), shape=(cells, cells)).tocsr()
        force = _TO_CENTRE * self._die[axis] / 2 + pull * self.spread[:, axis]
        result, _ = cg(springs + diags(diagonal), force, x0=now, rtol=1e-4, maxiter=80, M=diags(1 / diagonal))
        return np.asarray(result, dtype=np.float64)


def assigned(cost: NDArray[np.float64]) -> Indices:
    """A site for each cell, no site twice, at the least cost in all.

    Parameters
    ----------
    cost : ndarray, (cells, sites)
    """
    from scipy.optimize import linear_sum_assignment

    return np.asarray(linear_sum_assignment(cost)[1], dtype=np.int64)
