# SPDX-License-Identifier: Apache-2.0
"""Sites of block RAMs and multipliers: as good as all that could be tried, and written where place and route read them."""

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from frenn.firmware.errors import FrennError
from frenn.firmware.parameters import PRESETS
from frenn.rtl_gen.board_top import BoardDesign
from frenn.rtl_gen.boards import find_board
from frenn.rtl_gen.build import build_plan
from frenn.rtl_gen.sites import SITES, Site, choose_sites, keep, main, read_sites

Cells = dict[str, dict[str, Any]]


def design(cells: Cells) -> dict[str, Any]:
    """As Yosys and nextpnr write it: a library cell, and the top."""
    top = {"attributes": {"top": "00000000000000000000000000000001"}, "cells": cells}
    return {"modules": {"DP16KD": {"attributes": {"blackbox": "1"}, "cells": {}}, "frenn": top}}


def cell(kind: str, bel: str, *bits: int | str) -> dict[str, Any]:
    return {"type": kind, "attributes": {"NEXTPNR_BEL": bel}, "connections": {"CLKA": [0], "D": list(bits)}}


def length(cells: Cells, kept: dict[str, Site]) -> int:
    """Half perimeters of all nets, with some cells elsewhere."""
    points: dict[int, list[tuple[int, int]]] = {}
    for name, one in cells.items():
        x, y, _ = one["attributes"]["NEXTPNR_BEL"].split("/")
        where = (kept[name].x, kept[name].y) if name in kept else (int(x[1:]), int(y[1:]))
        for bit in one["connections"]["D"]:
            if isinstance(bit, int):
                points.setdefault(bit, []).append(where)
    return sum(max(axis) - min(axis) for net in points.values() for axis in zip(*net, strict=True))


def test_no_other_sites_are_better(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = random.Random(seed)
    few = {"DP16KD": tuple(generator.sample(SITES["DP16KD"], 6)), "MULT18X18D": SITES["MULT18X18D"]}
    monkeypatch.setattr("frenn.rtl_gen.sites.SITES", few)
    cells: Cells = {}
    for index in range(60):
        bel = f"X{generator.randrange(126)}/Y{generator.randrange(95)}/SLICEA.LUT0"
        cells[f"lut_{index}"] = cell("TRELLIS_COMB", bel, *(generator.randrange(1, 40) for _ in range(3)), "0")
    for index in range(3):
        cells[f"ram_{index}"] = cell("DP16KD", "X4/Y22/EBR0", *range(1 + 12 * index, 13 + 12 * index))
    chosen = choose_sites(design(cells))
    by_bel = {site.bel: site for site in few["DP16KD"]}
    mine = length(cells, {name: by_bel[bel] for name, bel in chosen.items()})
    names = ("ram_0", "ram_1", "ram_2")
    least = min(length(cells, dict(zip(names, sites, strict=True))) for sites in itertools.permutations(few["DP16KD"], 3))
    assert len(set(chosen.values())) == 3 and mine == least


def test_sites_are_those_of_the_data_sheet() -> None:
    resources = find_board("ulx3s-85f").resources
    assert len({site.bel for site in SITES["DP16KD"]}) == resources.block_rams
    assert len({site.bel for site in SITES["MULT18X18D"]}) == resources.multipliers


def test_netlist_gets_them_and_what_is_wrong_is_told(tmp_path: Path) -> None:
    cells = {"lut": cell("TRELLIS_COMB", "X100/Y71/SLICEA.LUT0", 1), "ram": cell("DP16KD", "X4/Y22/EBR0", 1)}
    placed, netlist, out = tmp_path / "placed.json", tmp_path / "netlist.json", tmp_path / "out.json"
    placed.write_text(json.dumps(design(cells)))
    netlist.write_text(json.dumps(design({"ram": {"type": "DP16KD", "attributes": {}, "connections": {}}})))
    sites, again = tmp_path / "sites.json", tmp_path / "again.json"
    assert main([str(netlist), str(sites), str(out), "--placed", str(placed)]) == 0
    made = json.loads(out.read_text())["modules"]["frenn"]["cells"]
    assert made["ram"]["attributes"] == {"BEL": "X100/Y70/EBR2"}
    # What was chosen is kept, and can be used again.
    assert read_sites(sites) == {"ram": "X100/Y70/EBR2"}
    assert main([str(netlist), str(sites), str(again)]) == 0 and again.read_bytes() == out.read_bytes()
    with pytest.raises(FrennError, match=r"missing\.json cannot be read"):
        read_sites(tmp_path / "missing.json")
    for wrong in ("", "[]", '{"ram": 3}'):
        sites.write_text(wrong)
        with pytest.raises(FrennError, match="holds no sites; a build whose engine is placed twice leaves them"):
            read_sites(sites)
    with pytest.raises(FrennError, match="the netlist has no cell other"):
        keep(design({}), {"other": "X4/Y22/EBR0"})
    cells["lut"]["attributes"] = {}
    with pytest.raises(FrennError, match="lut has no place"):
        choose_sites(design(cells))
    many = {f"ram_{index}": cell("DP16KD", "X4/Y22/EBR0", 1) for index in range(209)}
    with pytest.raises(FrennError, match="209 cells DP16KD, and 208 sites"):
        choose_sites(design(many))


@pytest.mark.parametrize(("name", "depth", "twice"), [("ulx3s-85f", 2048, True), ("ulx3s-85f", 3584, False), ("ulx3s-45f", 256, False)])
def test_large_engines_are_placed_twice(name: str, depth: int, twice: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the static placer is used, and the sites are known."""
    for text in ("rtlil", "verilog"):
        monkeypatch.setattr(BoardDesign, text, lambda self: "the design")
    board = find_board(name)
    parameters = replace(PRESETS["medium"], weight_depth=depth)
    plan = build_plan(BoardDesign(board=board, parameters=parameters, clock=50_000_000, baud=board.baud))
    steps = {step.name: step.arguments for step in plan.steps}
    extra = ["first placement", "sites"] if twice else []
    assert list(steps) == ["synthesis", *extra, "place and route", "bitstream"]
    netlist = steps["place and route"][steps["place and route"].index("--json") + 1]
    if twice:
        first = steps["first placement"]
        assert "--no-route" in first and "--no-route" not in steps["place and route"]
        placed = first[first.index("--write") + 1]
        assert steps["sites"][2:] == (first[first.index("--json") + 1], "sites.json", netlist, "--placed", placed)
        kept = build_plan(plan.design, sites={"ram": "X4/Y22/EBR0"})
        assert [step.name for step in kept.steps] == ["synthesis", "sites", "place and route", "bitstream"]
        assert json.loads(kept.files["sites.json"]) == {"ram": "X4/Y22/EBR0"} and "--placed" not in kept.steps[1].arguments
        assert kept.fingerprint({}) != plan.fingerprint({})
    else:
        assert netlist == "netlist.json"
    if name == "ulx3s-45f":
        with pytest.raises(FrennError, match="ulx3s-45f takes no sites; legal are boards with LFE5U-85F or LFE5UM5G-85F"):
            build_plan(plan.design, sites={})
