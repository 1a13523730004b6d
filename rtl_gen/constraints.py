# SPDX-License-Identifier: Apache-2.0
"""Pins and clocks of a board, in the language of each vendor's tools."""

from .boards import Board

SUFFIXES = {"ecp5": "lpf", "ice40": "pcf", "gowin": "cst", "xilinx7": "xdc", "ultrascale": "xdc"}
"""Of the constraint file of each family."""

ULPI_CLOCK = 60_000_000
"""Of every transceiver on ULPI, Hz."""


def constraints(board: Board, link: str = "uart") -> str:
    """The constraint file of a board for `BoardTop` with one of the board's links."""
    clocks = dict(zip(("clock_p", "clock_n"), board.clock_pins, strict=False))
    if link == "pcie":
        return _pcie_xdc(board, clocks)
    if link == "usb":
        return _usb_lpf(board, clocks)
    pins = {**clocks, "uart_rx": board.line.rx, "uart_tx": board.line.tx}
    return _WRITERS[board.family](board, pins, {port: board.clock_standard if port in clocks else board.pin_standard for port in pins})


def _lpf(board: Board, pins: dict[str, str], standards: dict[str, str]) -> str:
    lines = [f'FREQUENCY PORT "clock_p" {board.clock / 1e6:g} MHZ;']
    for port, pin in pins.items():
        pull = " PULLMODE=UP" if port == "uart_rx" else ""
        lines += [f'LOCATE COMP "{port}" SITE "{pin}";', f'IOBUF PORT "{port}" IO_TYPE={standards[port]}{pull};']
    return "\n".join(lines) + "\n"


def _usb_lpf(board: Board, clocks: dict[str, str]) -> str:
    lines = [_lpf(board, clocks, dict.fromkeys(clocks, board.clock_standard)).rstrip()]
    usb = board.bus
    if usb.phy == "ulpi" and not usb.clocked:
        lines.append(f'FREQUENCY PORT "ulpi_clk" {ULPI_CLOCK / 1e6:g} MHZ;')
    # Between the clocks of engine and USB there are FIFOs and synchronisers alone: no path has a cycle to keep to.
    lines.append("BLOCK ASYNCPATHS;")
    for port, pin in usb.pins:
        lines += [f'LOCATE COMP "{port}" SITE "{pin}";', f'IOBUF PORT "{port}" IO_TYPE={usb.standard or board.pin_standard}{usb.options};']
    if usb.supply is not None:
        pulses = [(f"supply_pulse[{index}]", pin) for index, pin in enumerate(usb.supply.pulses)]
        for port, pin in (*pulses, ("supply_enable", usb.supply.enable)):
            lines += [f'LOCATE COMP "{port}" SITE "{pin}";', f'IOBUF PORT "{port}" IO_TYPE={board.pin_standard};']
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
    lines = _xdc_pins(board, pins, standards)
    lines += [
        "set_property PULLUP true [get_ports uart_rx]",
        "set_false_path -from [get_ports uart_rx]",
        "set_false_path -to [get_ports uart_tx]",
    ]
    return "\n".join(lines + _xdc_supply(board)) + "\n"


def _xdc_pins(board: Board, pins: dict[str, str], standards: dict[str, str]) -> list[str]:
    lines = [f"create_clock -name board_clock -period {1e9 / board.clock:.3f} [get_ports clock_p]"]
    for port, pin in pins.items():
        lines.append(f"set_property -dict {{PACKAGE_PIN {pin} IOSTANDARD {standards[port]}}} [get_ports {port}]")
    return lines


def _xdc_supply(board: Board) -> list[str]:
    """What the pins of configuration are supplied with."""
    source, voltage = ("VCCO", "3.3") if board.family == "xilinx7" else ("GND", "1.8")
    return [f"set_property CFGBVS {source} [current_design]", f"set_property CONFIG_VOLTAGE {voltage} [current_design]"]


def _pcie_xdc(board: Board, clocks: dict[str, str]) -> str:
    pcie = board.slot
    pins = {**clocks, "pcie_reset_n": pcie.reset}
    if pcie.request is not None:
        pins["pcie_request_n"] = pcie.request
    lines = _xdc_pins(board, pins, {port: board.clock_standard if port in clocks else pcie.reset_standard for port in pins})
    # The pins of clock and lanes belong to transceivers and have no standard; those of the lanes follow from the transceivers' places.
    lines += ["create_clock -name pcie_clock -period 10.000 [get_ports pcie_clock_p]"]
    lines += [f"set_property PACKAGE_PIN {pin} [get_ports pcie_clock_{side}]" for side, pin in zip("pn", pcie.reference, strict=True)]
    lines += ["set_property PULLUP true [get_ports pcie_reset_n]", "set_false_path -from [get_ports pcie_reset_n]"]
    if pcie.request is not None:
        lines.append("set_false_path -to [get_ports pcie_request_n]")
    lines += _xdc_supply(board)
    lines += [
        f"set_property CONFIG_MODE SPIx{pcie.flash_bits} [current_design]",
        f"set_property BITSTREAM.CONFIG.SPI_BUSWIDTH {pcie.flash_bits} [current_design]",
        "set_property BITSTREAM.CONFIG.EXTMASTERCCLK_EN DIV-1 [current_design]",
        "set_property BITSTREAM.CONFIG.SPI_FALL_EDGE YES [current_design]",
        "set_property BITSTREAM.GENERAL.COMPRESS TRUE [current_design]",
    ]
    if pcie.flash_bits == 8:
        lines.append("set_property BITSTREAM.CONFIG.SPI_32BIT_ADDR YES [current_design]")
    return "\n".join(lines) + "\n"


def crossing_constraints(board: Board, engine_clock: int) -> str:
    """What holds between the clocks of a `BoardTop` on PCI Express: read after synthesis, since the core makes one of them.

    Parameters
    ----------
    board : Board
    engine_clock : int
        Hz.
    """
    pcie = board.slot
    axi, engine = "[get_clocks -of_objects [get_pins pcie/dma/axi_aclk]]", "[get_clocks -of_objects [get_pins pll/CLKOUT0]]"
    # Pointers of which one bit changes at a time cross by synchronisers: their bits must not be apart by more than a cycle.
    delay = 1e9 / max(pcie.clock, engine_clock)
    lines = [
        f"set_max_delay -datapath_only {delay:.3f} -from {axi} -to {engine}",
        f"set_max_delay -datapath_only {delay:.3f} -from {engine} -to {axi}",
        "set_property ASYNC_REG TRUE [get_cells -hierarchical -filter {NAME =~ *stage0_reg* || NAME =~ *stage1_reg*}]",
    ]
    return "\n".join(lines) + "\n"


_WRITERS = {"ecp5": _lpf, "ice40": _pcf, "gowin": _cst, "xilinx7": _xdc, "ultrascale": _xdc}
