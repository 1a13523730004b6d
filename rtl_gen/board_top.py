# SPDX-License-Identifier: Apache-2.0
"""What is on a board's pins: clock, reset, serial line and device."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from amaranth.back import rtlil, verilog
from amaranth.hdl import ClockDomain, Const, DomainRenamer, Elaboratable, Instance, IOPort, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import AsyncFFSynchronizer
from amaranth.lib.wiring import In, Out

from ..firmware.errors import FrennError
from ..firmware.parameters import EngineParameters
from ..firmware.usb import DEFAULT_SERIAL, UsbIdentity
from .axi_device import AxiDevice
from .axi_stream import axi_ports
from .boards import Board
from .constraints import ULPI_CLOCK
from .identity import gateware_identity
from .pcie import PcieCore, pcie_pins
from .pin_supply import PinSupply
from .pll import PllSettings, pll_cells, pll_settings, usb_pll_settings
from .uart import BaudRate
from .uart_device import UartDevice

if TYPE_CHECKING:
    from .usb_device import UsbDevice

NAME: Final = "frenn"
"""Of the top module."""

LINK_CLOCK: Final = 50_000_000
"""Most that the byte link runs at where it has a clock of its own, Hz: the engine may be much faster than its logic."""

RESET_CYCLES: Final = 256
"""Cycles of a clock for which its reset outlasts an unsteady PLL.

Most registers of the engine have no reset: whatever is in them has left before it ends.
"""

PHY_CYCLES: Final = 1 << 17
"""Cycles of its clock, more than two milliseconds, that a USB transceiver is given after its reset before it must take commands."""


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
    serial : str
        Serial number of the board on the USB, see `UsbIdentity`.

    Raises
    ------
    FrennError
        If the PLL cannot make the clock, or the clock not the baud rate, or the board has no such link, or the serial number is not
        legal.
    """

    board: Board
    parameters: EngineParameters
    clock: int
    baud: int
    link: str = "uart"
    serial: str = DEFAULT_SERIAL

    def __post_init__(self) -> None:
        if self.link not in self.board.links:
            raise FrennError(f"{self.board.name} has no link {self.link!r}; legal are {', '.join(self.board.links)}")
        if self.link == "uart":
            BaudRate(self.link_frequency, self.baud)
        else:
            _ = self.pll
        _ = self.usb_identity

    @property
    def pll(self) -> PllSettings:
        """Dividers of the PLL; on ECP5 with a second output for the link."""
        settings = pll_settings(self.board.family, self.board.clock, self.clock)
        return settings.with_second_output(LINK_CLOCK) if self.link_domain != "sync" else settings

    @property
    def link_domain(self) -> str:
        """Clock domain of the byte link."""
        return "link" if self.board.family == "ecp5" and self.link == "uart" else "sync"

    @property
    def usb_identity(self) -> UsbIdentity:
        """What the device says of itself on the USB."""
        return UsbIdentity(product=self.board.name, build=gateware_identity(), serial=self.serial)

    @property
    def link_frequency(self) -> int:
        """Clock of the byte link, to the nearest Hz."""
        return round(self.pll.second_output)

    @property
    def frequency(self) -> int:
        """Clock of the engine, to the nearest Hz."""
        return round(self.pll.output)

    def _top(self) -> "BoardTop":
        if self.link == "usb":
            _usb_device()
        return BoardTop(self)

    def rtlil(self) -> str:
        """The design as Yosys reads it; equal designs always give equal text."""
        return rtlil.convert(self._top(), name=NAME, platform=self.board.technology, emit_src=False)

    def verilog(self) -> str:
        """The design as people and vendors' tools read it; equal designs always give equal text."""
        return verilog.convert(self._top(), name=NAME, platform=self.board.technology, emit_src=False, strip_internal_attrs=True)


class _LongReset(Elaboratable):
    """Resets a clock domain while the PLL is unsteady, and for so many cycles of the domain after it."""

    def __init__(self, locked: Signal, domain: str, cycles: int = RESET_CYCLES) -> None:
        self.locked = locked
        self.domain = domain
        self.cycles = cycles

    def elaborate(self, platform: object) -> Module:
        m = Module()
        domain = self.domain
        unsteady = Signal()
        left = Signal(range(self.cycles), init=self.cycles - 1, reset_less=True)
        held, reset = Signal(init=1, reset_less=True), Signal(init=1, reset_less=True)
        m.submodules.steady = AsyncFFSynchronizer(~self.locked, unsteady, o_domain=domain)
        # The register that reaches far is none of the count's.
        m.d[domain] += [held.eq(left != 0), reset.eq(held)]
        m.d.comb += ResetSignal(domain).eq(reset)
        with m.If(unsteady):
            m.d[domain] += left.eq(self.cycles - 1)
        with m.Elif(left != 0):
            m.d[domain] += left.eq(left - 1)
        return m


def _usb_device() -> "type[UsbDevice]":
    """What only a build for the USB needs."""
    try:
        from .usb_device import UsbDevice
    except ModuleNotFoundError as error:
        raise FrennError(f"the USB's gateware is not installed ({error.name}); get it with: pip install 'frenn[build]'") from None
    return UsbDevice


class BoardTop(wiring.Component):
    """The whole of an FPGA: PLL, reset, and `UartDevice`, or `PcieCore` and `AxiDevice`, or `UsbDevice`.

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
        the slot, see `pcie.pcie_pins`; or
    ulpi_*, usb_*
        the transceiver, or the lines and the pull-up, of which those that go both ways have their buffers here.
    supply_pulse, supply_enable : Out
        With a transceiver whose pins must be supplied first, see `PinSupply`.

    The engine runs in the domain ``sync``; the serial line and the byte link too, but on ECP5 in ``link``, from the PLL's second
    output. Both are held in reset from configuration until `RESET_CYCLES` cycles after the PLL has locked, and again whenever the
    lock is lost. With PCI Express the AXI4-Streams run in ``axi``, the core's clock, and both domains are in reset too while the core is.
    The USB runs in ``usb``: the transceiver's clock, or a PLL's where that is given to it, in reset for `PHY_CYCLES` more; or the third
    output of a PLL of its own, of which the second is that of ``usb_io``. Where pins must be supplied first, all wait for it in reset.
    """

    def __init__(self, design: BoardDesign) -> None:
        self.design = design
        ports = {"clock_p": In(1)}
        if design.link == "uart":
            ports |= {"uart_rx": In(1), "uart_tx": Out(1)}
        elif design.link == "pcie":
            ports |= pcie_pins(design.board.slot)
        elif design.board.bus.phy == "ulpi":
            usb = design.board.bus
            ports["ulpi_clk"] = Out(1) if usb.clocked else In(1)
            ports |= {"ulpi_dir": In(1), "ulpi_nxt": In(1), "ulpi_stp": Out(1), "ulpi_rst": Out(1)}
            if usb.supply is not None:
                ports |= {"supply_pulse": Out(len(usb.supply.pulses)), "supply_enable": Out(1)}
        else:
            ports["usb_pullup"] = Out(1)
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
        if design.link == "usb":
            self._add_usb(m, clock_in, locked)
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

    def _add_usb(self, m: Module, clock_in: Signal, locked: Signal) -> None:
        design = self.design
        m.domains.usb = usb = ClockDomain("usb")
        device = _usb_device()(design.parameters, design.board.bus.phy, design.usb_identity)
        if design.board.bus.phy == "ulpi":
            steady = locked
            if design.board.bus.clocked:
                steady = self._give_clock(m, clock_in, usb.clk, steady)
            else:
                m.d.comb += usb.clk.eq(self.ulpi_clk)
            steady = self._supply_pins(m, clock_in, steady)
            m.submodules.reset = _LongReset(steady, "sync")
            m.submodules.usb_reset = _LongReset(steady, "usb", PHY_CYCLES)
            m.d.comb += [
                # A transceiver in reset may give no clock, so that its reset is none of its own clock's.
                self.ulpi_rst.eq(~ResetSignal("sync") if design.board.bus.resets_low else ResetSignal("sync")),
                device.ulpi_dir.eq(self.ulpi_dir),
                device.ulpi_nxt.eq(self.ulpi_nxt),
                self.ulpi_stp.eq(device.ulpi_stp),
            ]
            _buffer(m, IOPort(8, name="ulpi_data"), device.ulpi_data_i, device.ulpi_data_o, device.ulpi_data_oe)
        else:
            m.domains.usb_io = usb_io = ClockDomain("usb_io")
            usb_locked, steady, feedback = Signal(), Signal(name="steady"), Signal(name="usb_feedback")
            settings = usb_pll_settings(design.board.clock)
            m.submodules.usb_pll = pll_cells(settings, clock_in, feedback, usb_locked, usb_io.clk, usb.clk)["pll"]
            m.d.comb += [steady.eq(locked & usb_locked), self.usb_pullup.eq(device.usb_pullup)]
            for domain in ("sync", "usb", "usb_io"):
                m.submodules[f"{domain}_reset"] = _LongReset(steady, domain)
            for line in ("dp", "dn"):
                signals = (getattr(device, f"usb_{line}_{kind}") for kind in ("i", "o", "oe"))
                _buffer(m, IOPort(1, name=f"usb_{line}"), *signals)
        m.submodules.device = device

    def _give_clock(self, m: Module, clock_in: Signal, clock: Signal, locked: Signal) -> Signal:
        """Make the transceiver's clock, and say whether that is locked too."""
        usb_locked, steady = Signal(), Signal(name="clocks_steady")
        settings = pll_settings(self.design.board.family, self.design.board.clock, ULPI_CLOCK)
        m.submodules.usb_pll = pll_cells(settings, clock_in, clock, usb_locked)["pll"]
        # By the pin's own register, to which the clock comes on its own wires.
        m.submodules.clock_pin = Instance("ODDRX1F", i_SCLK=clock, i_RST=Const(0), i_D0=Const(1), i_D1=Const(0), o_Q=self.ulpi_clk)
        m.d.comb += steady.eq(locked & usb_locked)
        return steady

    def _supply_pins(self, m: Module, clock_in: Signal, steady: Signal) -> Signal:
        """Turn on what the transceiver's pins need, if anything, and say whether all is steady."""
        wanted = self.design.board.bus.supply
        if wanted is None:
            return steady
        m.domains.supply = domain = ClockDomain("supply", reset_less=True)
        supply = PinSupply(self.design.board.clock, wanted.millivolts)
        m.submodules.supply = DomainRenamer("supply")(supply)
        all_steady = Signal(name="supply_steady")
        m.d.comb += [
            domain.clk.eq(clock_in),
            self.supply_pulse.eq(supply.pulse),
            self.supply_enable.eq(supply.enable),
            all_steady.eq(steady & supply.steady),
        ]
        return all_steady


def _buffer(m: Module, port: IOPort, i: Signal, o: Signal, oe: Signal) -> None:
    """ECP5's buffers of pins that go both ways."""
    for bit in range(len(port)):
        m.submodules[f"{port.name}_{bit}"] = Instance("BB", i_T=~oe, i_I=o[bit], o_O=i[bit], io_B=port[bit])
