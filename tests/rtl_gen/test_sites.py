# SPDX-License-Identifier: Apache-2.0
"""Sites of block RAMs and multipliers: as good as all that could be tried, and written where place and route read them."""

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frenn.firmware.errors import FrennError
from frenn.firmware.parameters import PRESETS
from frenn.rtl_gen.board_top import BoardDesign
from frenn.rtl_gen.boards import find_board
from frenn.rtl_gen.build import build_plan
from frenn.rtl_gen.floorplan import ROUNDS, Floorplan, Graph
from frenn.rtl_gen.sites import DIE, SITES, choose_sites, exact_sites, keep, main, read_sites, site_graph

Cells = dict[str, dict[str, Any]]


def design(cells: Cells) -> dict[str, Any]:
    """As Yosys and nextpnr write it: a library cell, and the top."""
    top = {"attributes": {"top": "00000000000000000000000000000001"}, "cells": cells}
    return {"modules": {"DP16KD": {"attributes": {"blackbox": "1"}, "cells": {}}, "frenn": top}}


def cell(kind: str, *bits: int | str) -> dict[str, Any]:
    return {"type": kind, "attributes": {}, "connections": {"CLKA": [0], "D": list(bits)}}


def length(nets: list[Any], places: Any) -> int:
    """Half perimeters."""
    return sum(int(np.ptp(places[net], axis=0).sum()) for net in nets)


def test_no_other_sites_are_better(seed: int) -> None:
    generator = np.random.default_rng(seed)
    few = generator.permutation([(site.x, site.y) for site in SITES["DP16KD"]])[:6].astype(float)
    places = np.concatenate([generator.integers((126, 95), size=(60, 2)), np.zeros((3, 2), dtype=np.int64)])
    # Each memory is on twelve nets, of luts besides.
    nets = [np.array([60 + index // 12, *generator.choice(60, size=3, replace=False)]) for index in range(36)]
    graph = Graph(nets=nets, areas=np.ones(63), kinds={"DP16KD": np.arange(60, 63)}, sites={"DP16KD": few}, die=DIE)
    chosen = exact_sites(graph, places)["DP16KD"]

    def with_sites(sites: Any) -> Any:
        return np.concatenate([places[:60], few[list(sites)].astype(np.int64)])

    least = min(length(nets, with_sites(sites)) for sites in itertools.permutations(range(6), 3))
    assert len(set(chosen.tolist())) == 3 and length(nets, with_sites(chosen)) == least


def lanes(count: int, generator: random.Random) -> dict[str, Any]:
    """A netlist of lanes in a ring, named in no order: a memory and a multiplier each, 40 LUTs between them, 8 wires to the next."""
    order = generator.sample(range(count), count)
    cells: Cells = {}
    bits = itertools.count(1)
    ring = {lane: [next(bits) for _ in range(8)] for lane in range(count)}
    for name in range(count):
        lane = order[name]
        reads, writes = [next(bits) for _ in range(40)], [next(bits) for _ in range(40)]
        cells[f"ram_{name}"] = cell("DP16KD", *reads)
        cells[f"mult_{name}"] = cell("MULT18X18D", *writes)
        for index, (read, write) in enumerate(zip(reads, writes, strict=True)):
            cells[f"lut_{name}_{index}"] = cell("LUT4", read, write, ring[lane][index % 8], ring[(lane + 1) % count][index % 8])
    return design(cells)


def test_what_belongs_together_stands_together(seed: int) -> None:
    """Memory and multiplier of a lane are neighbours, which the rows of sites allow: a row of one is twelve from a row of the other."""
    netlist = lanes(60, random.Random(seed))
    told: list[str] = []
    chosen = choose_sites(netlist, 1, told.append)
    where = {site.bel: (site.x, site.y) for sites in SITES.values() for site in sites}
    assert len(set(chosen.values())) == 120 and told[-1].startswith("round 50 of 50: ")

    def apart(of: list[int]) -> float:
        pairs = [(where[chosen[f"ram_{name}"]], where[chosen[f"mult_{other}"]]) for name, other in enumerate(of)]
        return sum(abs(one[0] - other[0]) + abs(one[1] - other[1]) for one, other in pairs) / len(pairs)

    assert apart(list(range(60))) < 0.7 * apart([*range(30, 60), *range(30)])
    # The same seed chooses the same, another one others.
    assert choose_sites(netlist, 1) == chosen != choose_sites(netlist, 2)


def test_what_stands_on_sites_finds_them(seed: int) -> None:
    """In the end nothing is torn apart for the sites' sake: the wires alone have drawn each cell to its own."""
    graph = site_graph(lanes(60, random.Random(seed)))
    plan = Floorplan(graph, seed)
    begin = plan.wire()
    for _ in range(ROUNDS):
        plan.step()
    for kind, members in graph.kinds.items():
        taken = {tuple(place) for place in plan.spread[members].tolist()}
        assert len(taken) == len(members) and taken <= {tuple(place) for place in graph.sites[kind].tolist()}
        assert np.abs(plan.places[members] - plan.spread[members]).max() < 2
    assert plan.wire() < 0.95 * begin


def test_a_floorplan_spreads_its_cells(seed: int) -> None:
    generator = np.random.default_rng(seed)
    nets = [generator.choice(4000, size=3, replace=False) for _ in range(4000)]
    graph = Graph(nets=nets, areas=np.ones(4000), kinds={}, sites={}, die=DIE)
    plan = Floorplan(graph, seed)
    for _ in range(5):
        plan.step()
    low, high = plan.spread.min(axis=0), plan.spread.max(axis=0)
    tiles = 4000 / 8 / 0.62
    # The parts at its edge need not fill theirs.
    assert 0.6 * tiles < np.prod(high - low) < 1.01 * tiles
    # No quarter of it has more than its share.
    quarters = (plan.spread > np.array(DIE) / 2) @ (1, 2)
    assert np.abs(np.bincount(quarters, minlength=4) - 1000).max() < 20
    assert plan.wire() == pytest.approx(sum(np.ptp(plan.spread[net], axis=0).sum() for net in nets))


def test_sites_are_those_of_the_data_sheet() -> None:
    resources = find_board("ulx3s-85f").resources
    assert len({site.bel for site in SITES["DP16KD"]}) == resources.block_rams
    assert len({site.bel for site in SITES["MULT18X18D"]}) == resources.multipliers


def test_netlist_gets_them_and_what_is_wrong_is_told(tmp_path: Path) -> None:
    netlist, out = tmp_path / "netlist.json", tmp_path / "out.json"
    netlist.write_text(json.dumps(design({"lut": cell("LUT4", 1), "ram": cell("DP16KD", 1), "clock": cell("EHXPLLL")})))
    sites, again = tmp_path / "sites.json", tmp_path / "again.json"
    assert main([str(netlist), str(sites), str(out), "--seed", "1"]) == 0
    made = json.loads(out.read_text())["modules"]["frenn"]["cells"]
    # What was chosen is kept, and can be used again.
    assert read_sites(sites) == {"ram": made["ram"]["attributes"]["BEL"]} and not made["lut"]["attributes"]
    assert made["ram"]["attributes"]["BEL"] in {site.bel for site in SITES["DP16KD"]}
    assert main([str(netlist), str(sites), str(again)]) == 0 and again.read_bytes() == out.read_bytes()
    with pytest.raises(FrennError, match=r"missing\.json cannot be read"):
        read_sites(tmp_path / "missing.json")
    for wrong in ("", "[]", '{"ram": 3}'):
        sites.write_text(wrong)
        with pytest.raises(FrennError, match="holds no sites; a build of a large engine leaves them"):
            read_sites(sites)
    with pytest.raises(FrennError, match="the netlist has no cell other"):
        keep(design({}), {"other": "X4/Y22/EBR0"})
    many = {f"ram_{index}": cell("DP16KD", 1) for index in range(209)}
    with pytest.raises(FrennError, match="209 cells DP16KD, and 208 sites"):
        choose_sites(design(many), 1)
    assert choose_sites(design({}), 1) == {}


@pytest.mark.parametrize(
    ("name", "lanes", "sited"), [("ulx3s-85f", 128, True), ("ulx3s-85f", 64, True), ("ulx3s-85f", 32, False), ("ulx3s-45f", 64, False)]
)
def test_large_engines_have_sites_before_they_are_placed(name: str, lanes: int, sited: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the static placer is used, and the sites are known."""
    for text in ("rtlil", "verilog"):
        monkeypatch.setattr(BoardDesign, text, lambda self: "the design")
    board = find_board(name)
    parameters = replace(PRESETS["medium"], lanes=lanes)
    plan = build_plan(BoardDesign(board=board, parameters=parameters, clock=50_000_000, baud=board.baud), seed=3)
    steps = {step.name: step.arguments for step in plan.steps}
    assert list(steps) == ["synthesis", *(["sites"] if sited else []), "place and route", "bitstream"]
    placing = steps["place and route"]
    netlist = placing[placing.index("--json") + 1]
    assert placing[placing.index("--placer") + 1] == ("static" if sited else "heap")
    # Late arcs are routed anew; by the router of the largest for a clock that the build writes down for each attempt.
    router, constraints = ("router2", "routing.lpf") if lanes > 64 else ("router1", "frenn.lpf")
    assert (
        "--tmg-ripup" in placing and placing[placing.index("--router") + 1] == router and placing[placing.index("--lpf") + 1] == constraints
    )
    if sited:
        assert steps["sites"][2:] == ("netlist.json", "sites.json", netlist, "--seed", "3")
        kept = build_plan(plan.design, sites={"ram": "X4/Y22/EBR0"})
        assert [step.name for step in kept.steps] == ["synthesis", "sites", "place and route", "bitstream"]
        assert json.loads(kept.files["sites.json"]) == {"ram": "X4/Y22/EBR0"} and "--seed" not in kept.steps[1].arguments
        assert kept.fingerprint({}) != plan.fingerprint({})
    else:
        assert netlist == "netlist.json"
    if name == "ulx3s-45f":
        with pytest.raises(FrennError, match="ulx3s-45f takes no sites; legal are boards with LFE5U-85F or LFE5UM5G-85F"):
            build_plan(plan.design, sites={})
