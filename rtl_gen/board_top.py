# SPDX-License-Identifier: Apache-2.0
"""What is on a board's pins: clock, reset, serial line and device."""

from dataclasses import dataclass
from typing import Final

from amaranth.back import rtlil, verilog
from amaranth.hdl import ClockDomain, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import AsyncFFSynchronizer
from amaranth.lib.wiring import In, Out

from ..firmware.errors import FrennError
from ..firmware.parameters import EngineParameters
from .axi_device import AxiDevice
from .axi_stream import axi_ports
from .boards import Board
from .pcie import PcieCore, pcie_pins
from .pll import PllSettings, pll_cells, pll_settings
from .uart import BaudRate
from .uart_device import UartDevice

NAME: Final = "frenn"
"""Of the top module."""

LINK_CLOCK: Final = 50_000_000
"""Most that the byte link runs at where it has a clock of its own, Hz: the engine may be much faster than its logic."""

RESET_CYCLES: Final = 64
"""Cycles of a clock for which its reset outlasts an unsteady PLL.

Most registers of the engine have no reset: whatever is in them has left before it ends.
"""


@dataclass(frozen=True, kw_only=True)
class BoardDesign:
    """What a bitstream is built from.

    Parameters
    ----------
    board : Board
    parameters : EngineParameters
    clock : int
        Wished clock of the engine, Hz; the PLL makes the next one below that it can.
    baud : int
        Rate of the serial line.
    link : str
        How it is reached: one of the board's links.

    Raises
    ------
    FrennError
        If the PLL cannot make the clock, or the clock not the baud rate, or the board has no such link.
    """

    board: Board
    parameters: EngineParameters
    clock: int
    baud: int
    link: str = "uart"

    def __post_init__(self) -> None:
        if self.link not in self.board.links:
            raise FrennError(f"{self.board.name} has no link {self.link!r}; legal are {', '.join(self.board.links)}")
        if self.link == "uart":
            BaudRate(self.link_frequency, self.baud)
        else:
            _ = self.pll

    @property
    def pll(self) -> PllSettings:
        """Dividers of the PLL; on ECP5 with a second output for the link."""
        settings = pll_settings(self.board.family, self.board.clock, self.clock)
        return settings.with_second_output(LINK_CLOCK) if self.link_domain != "sync" else settings

    @property
    def link_domain(self) -> str:
        """Clock domain of the byte link."""
        return "link" if self.board.family == "ecp5" else "sync"

    @property
    def link_frequency(self) -> int:
        """Clock of the byte link, to the nearest Hz."""
        return round(self.pll.second_output)

    @property
    def frequency(self) -> int:
        """Clock of the engine, to the nearest Hz."""
        return round(self.pll.output)

    def rtlil(self) -> str:
        """The design as Yosys reads it; equal designs always give equal text."""
        return rtlil.convert(BoardTop(self), name=NAME, platform=self.board.technology, emit_src=False)

    def verilog(self) -> str:
        """The design as people and vendors' tools read it; equal designs always give equal text."""
        return verilog.convert(BoardTop(self), name=NAME, platform=self.board.technology, emit_src=False, strip_internal_attrs=True)


class _LongReset(Elaboratable):
    """Resets a clock domain while the PLL is unsteady, and for `RESET_CYCLES` cycles of the domain after it."""

    def __init__(self, locked: Signal, domain: str) -> None:
        self.locked = locked
        self.domain = domain

    def elaborate(self, platform: object) -> Module:
        m = Module()
        domain = self.domain
        unsteady = Signal()
        left = Signal(range(RESET_CYCLES), init=RESET_CYCLES - 1, reset_less=True)
        held = Signal(init=1, reset_less=True)
        m.submodules.steady = AsyncFFSynchronizer(~self.locked, unsteady, o_domain=domain)
        m.d[domain] += held.eq(left != 0)
        m.d.comb += ResetSignal(domain).eq(held)
        with m.If(unsteady):
            m.d[domain] += left.eq(RESET_CYCLES - 1)
        with m.Elif(left != 0):
            m.d[domain] += left.eq(left - 1)
        return m


class BoardTop(wiring.Component):
    """The whole of an FPGA: PLL, reset, and `UartDevice`, or `PcieCore` and `AxiDevice`.

    Parameters
    ----------
    design : BoardDesign

    Ports
    -----
    clock_p, clock_n : In
        The board's oscillator; the second one only if it is a pair.
    uart_rx, uart_tx : In, Out
        The serial line, from and to the host; or
    pcie_*
        the slot, see `pcie.pcie_pins`.

    The engine runs in the domain ``sync``; the serial line and the byte link too, but on ECP5 in ``link``, from the PLL's second
    output. Both are held in reset from configuration until `RESET_CYCLES` cycles after the PLL has locked, and again whenever the
    lock is lost. With PCI Express the AXI4-Streams run in ``axi``, the core's clock, and both domains are in reset too while the core is.
    """

    def __init__(self, design: BoardDesign) -> None:
        self.design = design
        ports = {"clock_p": In(1)}
        ports |= {"uart_rx": In(1), "uart_tx": Out(1)} if design.link == "uart" else pcie_pins(design.board.slot)
        if len(design.board.clock_pins) == 2:
            ports["clock_n"] = In(1)
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        design = self.design
        m.domains.sync = sync = ClockDomain()

        clock_in = self.clock_p
        if len(design.board.clock_pins) == 2:
            clock_in = Signal(name="clock_in")
            m.submodules.clock_pair = Instance("IBUFDS", i_I=self.clock_p, i_IB=self.clock_n, o_O=clock_in)
        locked = Signal()
        second = None
        if design.link_domain != "sync":
            m.domains.link = link = ClockDomain("link")
            second = link.clk
            m.submodules.link_reset = _LongReset(locked, "link")
        for name, cell in pll_cells(design.pll, clock_in, sync.clk, locked, second).items():
            m.submodules[name] = cell
        if design.link == "pcie":
            self._add_pcie(m, locked)
            return m
        m.submodules.reset = _LongReset(locked, "sync")

        rate = BaudRate(design.link_frequency, design.baud)
        m.submodules.device = device = UartDevice(design.parameters, rate, link_domain=design.link_domain)
        m.d.comb += [device.rx.eq(self.uart_rx), self.uart_tx.eq(device.tx)]
        return m

    def _add_pcie(self, m: Module, locked: Signal) -> None:
        m.submodules.pcie = core = PcieCore(self.design.board)
        m.domains.axi = axi = ClockDomain("axi")
        steady = Signal(name="steady")
        m.d.comb += [axi.clk.eq(core.clock), steady.eq(locked & core.reset_n)]
        m.submodules.reset = _LongReset(steady, "sync")
        m.submodules.axi_reset = _LongReset(steady, "axi")
        m.submodules.device = device = AxiDevice(self.design.parameters, core.pcie.width, domain="axi")
        for name, member in axi_ports(core.pcie.width).items():
            its, ours = getattr(core, name), getattr(device, name)
            m.d.comb += ours.eq(its) if member.flow == In else its.eq(ours)
        for name, member in pcie_pins(core.pcie).items():
            its, ours = getattr(core, name), getattr(self, name)
            m.d.comb += its.eq(ours) if member.flow == In else ours.eq(its)
