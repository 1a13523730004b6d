# SPDX-License-Identifier: Apache-2.0
"""What the verbs of the command line that are about boards do."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..firmware.compiler import compile_network
from ..firmware.errors import FrennError
from ..firmware.formats import Format
from ..firmware.network import Network, load_network
from ..firmware.parameters import PRESETS, RANGES
from ..firmware.usb import DEFAULT_SERIAL
from ..rtl_gen.board_top import NAME, BoardDesign
from ..rtl_gen.boards import BOARDS, FAMILIES, LINKS, Board, find_board
from ..rtl_gen.sites import read_sites
from .build import BUILT, PROJECT, REPORT, build, read_json
from .fit import check_names, fit_engine
from .flash import flash


def boards(arguments: argparse.Namespace) -> int:
    """``frenn boards``: what an engine can be built for."""
    rows = [("board", "FPGA", "LUTs", "multipliers", "memory", "link", "engine", "status")]
    for board in BOARDS.values():
        resources = board.resources
        beside = "" if board.external == "none" else f" + {board.external}"
        rows.append(
            (
                board.name,
                f"{FAMILIES[board.family]} {board.device}",
                str(resources.luts),
                str(resources.multipliers),
                f"{resources.kbits / 8:g} KB{beside}",
                " or ".join(described_link(board, link) for link in board.links),
                f"{(lanes := fit_engine(board).lanes)} lanes, {board.engine_clock(lanes) / 1e6:g} MHz",
                board.status,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("No board has been tried: timing is that of place and route, and function that of simulation.")
    return 0


def described_link(board: Board, link: str) -> str:
    """A link of a board, for people."""
    if link == "usb":
        return f"USB at {board.bus.speed} speed"
    if link == "pcie":
        return f"PCIe {board.slot.speed.partition('.')[0]} GT/s x{board.slot.lanes}"
    return f"UART {board.line.baud / 1e6:g} Mbaud, {board.line.by}"


def make(arguments: argparse.Namespace) -> int:
    """``frenn build``: a bitstream, or the project that makes it, with a report."""
    board, networks = find_board(arguments.board), [load_network(path) for path in arguments.network]
    choices = dict(map(parse_choice, arguments.set))
    choices |= {name: value for name in ("lanes", "weight_depth") if (value := getattr(arguments, name)) is not None}
    design = board_design(
        board,
        arguments.preset,
        clock=arguments.clock,
        baud=arguments.baud,
        link=arguments.link,
        serial=arguments.serial,
        networks=networks,
        **choices,
    )
    out = Path(arguments.out if arguments.out is not None else Path("builds") / design.board.name)
    sites = None if arguments.sites is None else read_sites(Path(arguments.sites))
    report = build(design, out, arguments.seed, lambda text: print(text, file=sys.stderr, flush=True), sites, arguments.tries)
    if report["status"] == PROJECT:
        print(f"project in {out}; run there: vivado -mode batch -source build.tcl")
    else:
        print(f"{out / report['bitstream']['file']}: {report['fmax_mhz']} MHz reached, {report['pll_mhz']:g} MHz used; see {out / REPORT}")
    return 0


def board_design(
    board: Board,
    preset: str | None = None,
    *,
    clock: float | None = None,
    baud: int | None = None,
    link: str | None = None,
    serial: str | None = None,
    networks: Sequence[Network] = (),
    **choices: Any,
) -> BoardDesign:
    """What is built for a board: a preset, or the engine of `fit_engine`, and the board's own choices where none are made.

    Parameters
    ----------
    board : Board
    preset : str, optional
        One of `PRESETS`.
    clock : float, optional
        Of the engine, MHz.
    baud : int, optional
        Rate of the serial line.
    link : str, optional
        How the board is reached; the first of its links by default, the serial line if its rate is given, or the USB if a serial number is.
    serial : str, optional
        Serial number on the USB.
    networks : sequence of Network
        Those that the engine must run.
    **choices
        Parameters of the engine, see `fit_engine`.

    Raises
    ------
    FrennError
        If a choice is not legal, or the engine does not run a network that it must.
    """
    if preset is None:
        parameters = fit_engine(board, networks, **choices)
    else:
        check_names(choices)
        parameters = replace(PRESETS[preset], **choices)
        for network in networks:
            compile_network(network, parameters)
    if clock is not None and not 1 <= clock <= 1000:
        raise FrennError(f"--clock is {clock:g}; legal are 1 to 1000 MHz")
    return BoardDesign(
        board=board,
        parameters=parameters,
        clock=board.engine_clock(parameters.lanes) if clock is None else round(clock * 1e6),
        baud=board.baud if baud is None else baud,
        link=link or ("uart" if baud is not None else "usb" if serial is not None else board.links[0]),
        serial=DEFAULT_SERIAL if serial is None else serial,
    )


def parse_choice(text: str) -> tuple[str, Any]:
    """A parameter of `EngineParameters` by its name, from ``NAME=VALUE``.

    Raises
    ------
    FrennError
        If the text is not of that form, or there is no such parameter.
    """
    name, _, value = text.partition("=")
    check_names([name])
    if name not in RANGES:
        return name, Format.parse(value)
    if not value.isdecimal():
        raise FrennError(f"--set {text}: {name} is an integer, as in --set {name}={RANGES[name][0]}")
    return name, int(value)


def load(arguments: argparse.Namespace) -> int:
    """``frenn flash``: a built bitstream into a board."""
    board = find_board(arguments.board)
    folder = Path(arguments.folder if arguments.folder is not None else Path("builds") / board.name)
    bitstream = folder / f"{NAME}.bit"
    if not board.by_vendor:
        report = read_report(folder)
        if report.get("board") != board.name or report.get("status") != BUILT:
            raise FrennError(f"{folder} holds no bitstream for {board.name}; make it with: frenn build --board {board.name} --out {folder}")
        bitstream = folder / report["bitstream"]["file"]
    flash(board, bitstream, arguments.persist, arguments.cable)
    print(f"{board.title}: {bitstream} is {'in its flash memory' if arguments.persist else 'loaded until power is cut'}")
    return 0


def read_report(folder: Path) -> dict[str, Any]:
    """The report of a build; empty if there is none, or none that can be read."""
    return read_json(folder / REPORT)


def add_parsers(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Add these verbs to the command line."""
    listing = verbs.add_parser("boards", help="list the boards that an engine can be built for")
    listing.set_defaults(run_verb=boards)

    building = verbs.add_parser("build", help="make a board's bitstream, with a report")
    building.add_argument("--board", required=True, metavar="BOARD", help="see frenn boards")
    building.add_argument("--out", metavar="DIR", help="folder (default builds/BOARD)")
    building.add_argument("--network", action="append", default=[], metavar="FILE", help="a network that must fit; may be given again")
    building.add_argument("--preset", choices=PRESETS, help="engine (default: what fills the board, or runs the networks best)")
    building.add_argument("--lanes", type=int, metavar="N", help="lanes instead of those chosen or the preset's")
    building.add_argument("--weight-depth", type=int, metavar="N", help="weights of each lane, likewise")
    building.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any other parameter of the engine, likewise: weight=S0.8"
    )
    building.add_argument("--clock", type=float, metavar="MHZ", help="clock of the engine (default: the board's)")
    building.add_argument("--baud", type=int, metavar="RATE", help="rate of the serial line (default: the board's)")
    building.add_argument(
        "--link", choices=LINKS, help="how the board is reached (default: PCIe where it has that, else the serial line, else the USB)"
    )
    building.add_argument("--serial", metavar="TEXT", help=f"serial number on the USB, and so --link usb (default {DEFAULT_SERIAL})")
    building.add_argument("--seed", type=int, default=1, metavar="S", help="seed of placement (default 1)")
    building.add_argument("--tries", type=int, default=1, metavar="N", help="seeds tried in turn until the clock is met (default 1)")
    building.add_argument("--sites", metavar="FILE", help="sites.json of an earlier build of the same engine, whose sites are kept")
    building.set_defaults(run_verb=make)

    flashing = verbs.add_parser("flash", help="load a built bitstream into a board")
    flashing.add_argument("folder", metavar="DIR", nargs="?", help="folder of the build (default builds/BOARD)")
    flashing.add_argument("--board", required=True, metavar="BOARD", help="see frenn boards")
    flashing.add_argument("--persist", action="store_true", help="into the flash memory, not until power is cut")
    flashing.add_argument("--cable", metavar="NAME", help="programmer, by openFPGALoader's name (default: the board's)")
    flashing.set_defaults(run_verb=load)
