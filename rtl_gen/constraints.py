# SPDX-License-Identifier: Apache-2.0
"""Pins and clocks of a board, in the language of each vendor's tools."""

from .boards import Board

SUFFIXES = {"ecp5": "lpf", "ice40": "pcf", "gowin": "cst", "xilinx7": "xdc", "ultrascale": "xdc"}
"""Of the constraint file of each family."""


def constraints(board: Board) -> str:
    """The constraint file of a board for `BoardTop`."""
    clocks = dict(zip(("clock_p", "clock_n"), board.clock_pins, strict=False))
    pins = {**clocks, "uart_rx": board.uart.rx, "uart_tx": board.uart.tx}
    return _WRITERS[board.family](board, pins, {port: board.clock_standard if port in clocks else board.pin_standard for port in pins})


def _lpf(board: Board, pins: dict[str, str], standards: dict[str, str]) -> str:
    lines = [f'FREQUENCY PORT "clock_p" {board.clock / 1e6:g} MHZ;']
    for port, pin in pins.items():
        pull = " PULLMODE=UP" if port == "uart_rx" else ""
        lines += [f'LOCATE COMP "{port}" SITE "{pin}";', f'IOBUF PORT "{port}" IO_TYPE={standards[port]}{pull};']
    return "\n".join(lines) + "\n"


def _pcf(board: Board, pins: dict[str, str], standards: dict[str, str]) -> str:
    lines = [f"set_frequency clock_p {board.clock / 1e6:g}"]
    lines += [f"set_io {'-pullup yes ' if port == 'uart_rx' else ''}{port} {pin}" for port, pin in pins.items()]
    return "\n".join(lines) + "\n"


def _cst(board: Board, pins: dict[str, str], standards: dict[str, str]) -> str:
    lines = []
    for port, pin in pins.items():
        pull = " PULL_MODE=UP" if port == "uart_rx" else ""
        lines += [f'IO_LOC "{port}" {pin};', f'IO_PORT "{port}" IO_TYPE={standards[port]}{pull};']
    return "\n".join(lines) + "\n"


def _xdc(board: Board, pins: dict[str, str], standards: dict[str, str]) -> str:
    lines = [f"create_clock -name board_clock -period {1e9 / board.clock:.3f} [get_ports clock_p]"]
    for port, pin in pins.items():
        lines.append(f"set_property -dict {{PACKAGE_PIN {pin} IOSTANDARD {standards[port]}}} [get_ports {port}]")
    lines += [
        "set_property PULLUP true [get_ports uart_rx]",
        "set_false_path -from [get_ports uart_rx]",
        "set_false_path -to [get_ports uart_tx]",
    ]
    if board.family == "xilinx7":
        # Both boards configure from flash at 3.3 V.
        lines += ["set_property CFGBVS VCCO [current_design]", "set_property CONFIG_VOLTAGE 3.3 [current_design]"]
    return "\n".join(lines) + "\n"


_WRITERS = {"ecp5": _lpf, "ice40": _pcf, "gowin": _cst, "xilinx7": _xdc, "ultrascale": _xdc}
