# SPDX-License-Identifier: Apache-2.0
"""The tools of ``bench`` that tell of tests: what covers, and what ran for long."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ModuleType:
    """A module of ``bench``, which is no package."""
    monkeypatch.syspath_prepend(str(BENCH))
    spec = importlib.util.spec_from_file_location(f"bench_{request.param}", BENCH / f"{request.param}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def point(line: int, kind: str, module: str, what: str, count: int) -> str:
    entries = {"f": "top.v", "l": str(line), "page": f"v_{kind}/{module}", "o": what, "h": "top"}
    return "C '" + "".join(f"\x01{name}\x02{value}" for name, value in entries.items()) + f"' {count}\n"


@pytest.mark.parametrize("tool", ["covered"], indirect=True)
def test_points_of_the_gateware(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One instance reaches for all; Yosys' own counts for nothing, a field is its record, libraries are apart."""
    text = "module top;\n  if (\\$auto$verilog_backend.cc:1:dump_module$1 ) begin end\n  if (rst) begin\n"
    for number, lines in enumerate(
        (
            [point(3, "branch", "top.lane_0", "if", 0), point(3, "branch", "top.lane_0", "else", 5), point(2, "branch", "top", "if", 0)],
            [point(3, "branch", "top.lane_11", "if", 2), point(1, "toggle", "top.lane_1", "__0247[0]:0->1", 0)],
            [point(1, "toggle", "top", "count[3]:0->1", 0), point(1, "toggle", "top", "count[3]:1->0", 1)],
            [point(1, "toggle", "top", "word[0]:0->1", 1), point(1, "toggle", "top", "word__02elow[0]:0->1", 1)],
        )
    ):
        folder = tmp_path / f"bench-{number}"
        folder.mkdir()
        (folder / "top.v").write_text(text)
        (folder / "classes.json").write_text('{"top": "Top", "top.lane_0": "Lane", "top.lane_1": "Lane", "top.lane_11": "Lane"}')
        (folder / "coverage.dat").write_text("# SystemC::Coverage-3\n" + "".join(lines))
    monkeypatch.setattr(tool, "own_classes", lambda: frozenset({"Lane"}))
    components = tool.gateware(tmp_path)
    assert components["Lane"].share("branch") == (2, 2) and components["Lane"].share("toggle") == (0, 0)
    assert components["Top"].share("toggle") == (2, 3) and components["Top"].share("branch") == (0, 0)
    assert tool.gateware_table(components)[2:] == [
        "| `Lane` |  | 100.0 % |  |",
        "| all |  | 100.0 % of 2 |  |",
        "| libraries and vendors' cells |  |  | 66.7 % of 3 |",
    ]


@pytest.mark.parametrize("tool", ["endurance"], indirect=True)
def test_batches_go_on_where_a_log_ends(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []
    codes = iter([0, 1, 0, 0])

    def run(command: list[str], **_: object) -> SimpleNamespace:
        asked.append(command[-4:])
        return SimpleNamespace(returncode=next(codes), stdout="what failed")

    monkeypatch.setattr(tool.subprocess, "run", run)
    log = tmp_path / "log"
    arguments = ["faults", "--log", str(log), "--seed", "7", "--runs"]
    assert tool.main([*arguments, "40"]) == 1
    assert asked == [["--faults", "20", "--seed", "7"], ["--faults", "20", "--seed", "27"]]
    out = capsys.readouterr().out
    assert "what failed" in out and "--seed 27\n" in out and out.endswith("40 faults in 2 batches, failed: seeds [27]\n")
    assert tool.main([*arguments, "60"]) == 1
    assert asked[2:] == [["--faults", "20", "--seed", "47"]]
    assert [json.loads(line)["passed"] for line in log.read_text().splitlines()] == [True, False, True]
    assert tool.main(["kills", "--log", str(log), "--runs", "5"]) == 2
    assert "is a log of faults, not of kills" in capsys.readouterr().err
