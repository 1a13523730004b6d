# SPDX-License-Identifier: Apache-2.0
"""The boards that an engine can be built for."""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeVar

from ..firmware.errors import FrennError
from .primitives.technology import Technology

FAMILIES: Final = MappingProxyType(
    {
        "ecp5": "Lattice ECP5",
        "ice40": "Lattice iCE40 UltraPlus",
        "gowin": "Gowin LittleBee",
        "xilinx7": "AMD Artix-7",
        "ultrascale": "AMD Kintex UltraScale",
    }
)
"""Families by key, as people know them."""

TECHNOLOGIES: Final = MappingProxyType({"ecp5": Technology.ECP5, "ice40": Technology.ICE40, "gowin": Technology.GOWIN})
"""What families that open tools build are elaborated for; the others' tools infer what they need."""

VENDOR_FAMILIES: Final = ("xilinx7", "ultrascale")
"""Families that the vendor's own tools must place and route: a build ends with a project for them."""


Part = TypeVar("Part")


@dataclass(frozen=True, kw_only=True)
class Uart:
    """A serial line of a board.

    Parameters
    ----------
    rx, tx : str
        Pins of the FPGA.
    baud : int
        The highest rate that the other end of the line is good for.
    by : str
        What is at the other end.
    """

    rx: str
    tx: str
    baud: int
    by: str


@dataclass(frozen=True, kw_only=True)
class Pcie:
    """A board's PCI Express, and how the vendor's DMA core is made for it.

    Parameters
    ----------
    lanes : int
    speed : str
        Of a lane, as the core's options have it.
    width, clock : int
        Bits and Hz of the core's AXI4-Streams.
    device : str
        Device number, hexadecimal; one that the vendor's driver knows.
    block : str
        Place of the hard block.
    reference : (str, str)
        Pins of the slot's clock of 100 MHz.
    reset, reset_standard : str
        Pin of the slot's reset, and its electrical standard.
    request : str or None
        Pin by which the slot is asked for its clock.
    transceivers : tuple of str
        Places of the lanes' transceivers, where the board's wiring is not what the core takes for granted.
    flash_bits : int
        Width of the flash memory: the FPGA must be configured before the computer looks for it.
    """

    lanes: int
    speed: str
    width: int
    clock: int
    device: str
    block: str
    reference: tuple[str, str]
    reset: str
    reset_standard: str
    request: str | None = None
    transceivers: tuple[str, ...] = ()
    flash_bits: int


@dataclass(frozen=True, kw_only=True)
class Supply:
    """Voltages of pins that the FPGA itself must set, see `pin_supply.PinSupply`.

    Parameters
    ----------
    pulses : tuple of str
        Pins that set the regulators' voltages.
    enable : str
        Pin that turns them on.
    millivolts : tuple of int
        What each of them is to give.
    """

    pulses: tuple[str, ...]
    enable: str
    millivolts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Usb:
    """A board's USB whose lines reach the FPGA.

    Parameters
    ----------
    phy : str
        What drives the lines: ``ulpi``, a transceiver at high speed, or ``pins``, the FPGA itself at full speed.
    pins : tuple of (str, str)
        Pins by the names of the top's ports.
    options : str
        Of the pins' buffers, in the language of the constraints.
    standard : str
        Electrical standard of the pins; empty if it is the board's.
    clocked : bool
        Whether the FPGA gives the transceiver its clock, and not the other way round.
    resets_low : bool
        Whether the transceiver is reset while the pin is low.
    supply : Supply or None
        What must be turned on before the pins work.
    """

    phy: str
    pins: tuple[tuple[str, str], ...]
    options: str = ""
    standard: str = ""
    clocked: bool = False
    resets_low: bool = False
    supply: Supply | None = None

    @property
    def speed(self) -> str:
        """For people."""
        return "high" if self.phy == "ulpi" else "full"


LINKS: Final = ("uart", "pcie", "usb")
"""How boards are reached."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What an FPGA has, from its data sheet.

    Parameters
    ----------
    luts : int
        Look-up tables of 4 inputs, or 6 on AMD's.
    multipliers : int
        Hard multipliers.
    block_rams : int
        Block memories.
    block_kbits : float
        Kbit of each of them.
    large_rams, large_kbits : int
        Single-port memories beside them, and Kbit of each.
    """

    luts: int
    multipliers: int
    block_rams: int
    block_kbits: float
    large_rams: int = 0
    large_kbits: int = 0

    @property
    def kbits(self) -> float:
        """All memory, Kbit."""
        return self.block_rams * self.block_kbits + self.large_rams * self.large_kbits


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board: what stands on it, and what is built for it by default.

    Parameters
    ----------
    name, title : str
        For the command line, and for people.
    family : str
        Key of `FAMILIES`.
    device, package, speed : str
        The FPGA, as the tools of its family name it.
    clock_pins : tuple of str
        One pin, or the positive and negative one of a pair.
    clock : int
        Of the oscillator on the board, Hz.
    clock_standard, pin_standard : str
        Electrical standard of the clock's pins, and of the serial line's.
    uart : Uart or None
    pcie : Pcie or None
    usb : Usb or None
    resources : Resources
    external : str
        Memory beside the FPGA.
    clocks : tuple of (int, int)
        Lanes, and the clock in Hz of engines of no more lanes than these unless another one is asked for; lanes rise. The last are
        the most lanes of an engine that is chosen for the board.
    wider_clock : int, optional
        The same of engines of still more lanes, Hz; without it the last of `clocks`.
    loader : str
        What openFPGALoader calls the board; empty if it does not know it.
    volatile : bool
        Whether a bitstream can be loaded without being written to the board's flash memory.
    status : str
        What has been seen of it.
    """

    name: str
    title: str
    family: str
    device: str
    package: str
    speed: str
    clock_pins: tuple[str, ...]
    clock: int
    clock_standard: str
    pin_standard: str
    uart: Uart | None = None
    pcie: Pcie | None = None
    usb: Usb | None = None
    resources: Resources
    external: str
    clocks: tuple[tuple[int, int], ...]
    wider_clock: int | None = None
    loader: str
    volatile: bool = True
    status: str

    @property
    def line(self) -> Uart:
        """Its serial line.

        Raises
        ------
        FrennError
            If it has none.
        """
        return self._had(self.uart, "serial line")

    @property
    def baud(self) -> int:
        """The highest rate of its serial line, 0 without one."""
        return 0 if self.uart is None else self.uart.baud

    @property
    def slot(self) -> Pcie:
        """Its PCI Express.

        Raises
        ------
        FrennError
            If it has none.
        """
        return self._had(self.pcie, "PCI Express")

    @property
    def bus(self) -> Usb:
        """Its USB.

        Raises
        ------
        FrennError
            If it has none that reaches the FPGA.
        """
        return self._had(self.usb, "USB that reaches the FPGA")

    def _had(self, part: Part | None, what: str) -> Part:
        if part is None:
            raise FrennError(f"{self.name} has no {what}")
        return part

    @property
    def links(self) -> tuple[str, ...]:
        """How it can be reached, of `LINKS`; what is built unless another one is asked for comes first."""
        has = {"pcie": self.pcie, "uart": self.uart, "usb": self.usb}
        return tuple(link for link, thing in has.items() if thing is not None)

    @property
    def lanes(self) -> int:
        """Most lanes of an engine that is chosen for the board."""
        return self.clocks[-1][0]

    def engine_clock(self, lanes: int) -> int:
        """Clock of an engine of so many lanes unless another one is asked for, Hz."""
        return next((clock for most, clock in self.clocks if lanes <= most), self.wider_clock or self.clocks[-1][1])

    @property
    def technology(self) -> Technology:
        """What the gateware is elaborated for."""
        return TECHNOLOGIES.get(self.family, Technology.GENERIC)

    @property
    def by_vendor(self) -> bool:
        """Whether the vendor's tools must place and route."""
        return self.family in VENDOR_FAMILIES


_BUILT = "bitstream by open tools"
_PROJECT = "project for Vivado"

_ULX3S = Board(
    name="ulx3s-85f",
    title="ULX3S 85F",
    family="ecp5",
    device="LFE5U-85F",
    package="CABGA381",
    speed="6",
    clock_pins=("G2",),
    clock=25_000_000,
    clock_standard="LVCMOS33",
    pin_standard="LVCMOS33",
    uart=Uart(rx="M1", tx="L4", baud=3_000_000, by="FT231X on the board (USB)"),
    usb=Usb(phy="pins", pins=(("usb_dp", "D15"), ("usb_dn", "E15"), ("usb_pullup", "B12"))),
    resources=Resources(luts=83_640, multipliers=156, block_rams=208, block_kbits=18),
    external="32 MB SDRAM",
    clocks=((64, 150_000_000),),
    wider_clock=120_000_000,
    loader="ulx3s",
    status=_BUILT,
)

_ARTY = Board(
    name="arty-a7-35t",
    title="Arty A7-35T",
    family="xilinx7",
    device="xc7a35ti",
    package="csg324",
    speed="1L",
    clock_pins=("E3",),
    clock=100_000_000,
    clock_standard="LVCMOS33",
    pin_standard="LVCMOS33",
    uart=Uart(rx="A9", tx="D10", baud=3_000_000, by="FT2232H on the board (USB)"),
    resources=Resources(luts=20_800, multipliers=90, block_rams=50, block_kbits=36),
    external="256 MB DDR3",
    clocks=((32, 60_000_000),),
    loader="arty_a7_35t",
    status=_PROJECT,
)

_ALL = (
    replace(
        _ULX3S,
        name="ulx3s-12f",
        title="ULX3S 12F",
        device="LFE5U-12F",
        clocks=((16, 150_000_000),),
        wider_clock=100_000_000,
        # The die is that of the 25F, and the open tools use all of it; the data sheet promises 12 k LUTs and 32 block RAMs.
        resources=Resources(luts=24_288, multipliers=28, block_rams=56, block_kbits=18),
    ),
    replace(
        _ULX3S,
        name="ulx3s-25f",
        title="ULX3S 25F",
        device="LFE5U-25F",
        clocks=((16, 150_000_000),),
        wider_clock=100_000_000,
        resources=Resources(luts=24_288, multipliers=28, block_rams=56, block_kbits=18),
    ),
    replace(
        _ULX3S,
        name="ulx3s-45f",
        title="ULX3S 45F",
        device="LFE5U-45F",
        clocks=((32, 150_000_000),),
        wider_clock=100_000_000,
        resources=Resources(luts=43_848, multipliers=72, block_rams=108, block_kbits=18),
    ),
    _ULX3S,
    replace(
        _ULX3S,
        name="ecpix5-85",
        title="ECPIX-5 85F",
        device="LFE5UM5G-85F",
        package="CABGA554",
        speed="8",
        clock_pins=("K23",),
        clock=100_000_000,
        uart=Uart(rx="R26", tx="R24", baud=3_000_000, by="FT2232H on the board (USB)"),
        usb=Usb(
            phy="ulpi",
            pins=(
                *((f"ulpi_data[{bit}]", pin) for bit, pin in enumerate(("M26", "L25", "L26", "K25", "K26", "J23", "P25", "H25"))),
                *(("ulpi_clk", "H24"), ("ulpi_dir", "F22"), ("ulpi_nxt", "F23"), ("ulpi_stp", "H23"), ("ulpi_rst", "E23")),
            ),
            options=" SLEWRATE=SLOW",
        ),
        external="512 MB DDR3",
        loader="ecpix5",
    ),
    replace(
        _ULX3S,
        name="butterstick-85f",
        title="ButterStick 85F (r1.0)",
        device="LFE5UM5G-85F",
        speed="8",
        clock_pins=("B12",),
        clock=30_000_000,
        uart=None,
        usb=Usb(
            phy="ulpi",
            pins=(
                *((f"ulpi_data[{bit}]", pin) for bit, pin in enumerate(("B9", "C6", "A7", "E9", "A8", "D9", "C10", "C7"))),
                *(("ulpi_clk", "B6"), ("ulpi_dir", "A6"), ("ulpi_nxt", "B8"), ("ulpi_stp", "C8"), ("ulpi_rst", "C9")),
            ),
            options=" SLEWRATE=FAST",
            standard="LVCMOS18",
            clocked=True,
            resets_low=True,
            # The transceiver's, and those of two connectors, which get the least that modules for them take.
            supply=Supply(pulses=("V1", "E11", "T2"), enable="E12", millivolts=(1200, 1200, 1800)),
        ),
        external="1 GB DDR3L",
        # It has no programmer, but a header for one.
        loader="",
    ),
    replace(
        _ULX3S,
        name="orangecrab-85f",
        title="OrangeCrab 85F (r0.2)",
        package="CSFBGA285",
        speed="8",
        clock_pins=("A9",),
        clock=48_000_000,
        uart=Uart(rx="N17", tx="M18", baud=3_000_000, by="a 3.3 V adapter on pins 0 and 1"),
        usb=Usb(phy="pins", pins=(("usb_dp", "N1"), ("usb_dn", "M2"), ("usb_pullup", "N2"))),
        external="128 MB DDR3",
        clocks=((64, 150_000_000),),
        wider_clock=120_000_000,
        loader="orangeCrab",
        # Its boot loader takes a bitstream over USB and writes it to the flash memory.
        volatile=False,
    ),
    Board(
        name="icebreaker",
        title="iCEBreaker",
        family="ice40",
        device="up5k",
        package="sg48",
        speed="",
        clock_pins=("35",),
        clock=12_000_000,
        clock_standard="SB_LVCMOS",
        pin_standard="SB_LVCMOS",
        uart=Uart(rx="6", tx="9", baud=1_000_000, by="FT2232H on the board (USB)"),
        resources=Resources(luts=5_280, multipliers=8, block_rams=30, block_kbits=4, large_rams=4, large_kbits=256),
        external="none",
        clocks=((1, 24_000_000),),
        loader="ice40_generic",
        # As delivered, its jumpers join the programmer to the flash memory, not to the FPGA.
        volatile=False,
        status=_BUILT,
    ),
    Board(
        name="tang-nano-9k",
        title="Tang Nano 9K",
        family="gowin",
        device="GW1NR-LV9QN88PC6/I5",
        package="QN88P",
        speed="C6/I5",
        clock_pins=("52",),
        clock=27_000_000,
        clock_standard="LVCMOS33",
        pin_standard="LVCMOS33",
        uart=Uart(rx="18", tx="17", baud=2_000_000, by="BL702 on the board (USB)"),
        resources=Resources(luts=8_640, multipliers=20, block_rams=26, block_kbits=18),
        external="8 MB PSRAM",
        clocks=((1, 54_000_000),),
        loader="tangnano9k",
        status=_BUILT,
    ),
    _ARTY,
    replace(
        _ARTY,
        name="arty-a7-100t",
        title="Arty A7-100T",
        device="xc7a100ti",
        clocks=((64, 60_000_000),),
        resources=Resources(luts=63_400, multipliers=240, block_rams=135, block_kbits=36),
        loader="arty_a7_100t",
    ),
    replace(
        _ARTY,
        name="nitefury",
        title="NiteFury II",
        device="xc7a200t",
        clocks=((128, 60_000_000),),
        package="fbg484",
        speed="2",
        clock_pins=("J19", "H19"),
        clock=200_000_000,
        clock_standard="DIFF_SSTL15",
        uart=Uart(rx="J2", tx="K2", baud=3_000_000, by="a 3.3 V adapter on connector P2"),
        pcie=Pcie(
            lanes=4,
            speed="5.0_GT/s",
            width=128,
            clock=125_000_000,
            device="7024",
            block="X0Y0",
            reference=("F6", "E6"),
            reset="J1",
            reset_standard="LVCMOS33",
            request="G1",
            transceivers=("GTPE2_CHANNEL_X0Y6", "GTPE2_CHANNEL_X0Y4", "GTPE2_CHANNEL_X0Y5", "GTPE2_CHANNEL_X0Y7"),
            flash_bits=4,
        ),
        resources=Resources(luts=134_600, multipliers=740, block_rams=365, block_kbits=36),
        external="1 GB DDR3",
        loader="",
    ),
    Board(
        name="kcu105",
        title="KCU105",
        family="ultrascale",
        device="xcku040",
        package="ffva1156",
        speed="2-e",
        clock_pins=("G10", "F10"),
        clock=125_000_000,
        clock_standard="LVDS",
        pin_standard="LVCMOS18",
        uart=Uart(rx="G25", tx="K26", baud=921_600, by="CP2105 on the board (USB)"),
        pcie=Pcie(
            lanes=4,
            speed="5.0_GT/s",
            width=64,
            clock=250_000_000,
            device="8024",
            block="X0Y0",
            reference=("AB6", "AB5"),
            reset="K22",
            reset_standard="LVCMOS18",
            flash_bits=8,
        ),
        resources=Resources(luts=242_400, multipliers=1_920, block_rams=600, block_kbits=36),
        external="2 GB DDR4",
        clocks=((128, 100_000_000),),
        loader="kcu105",
        status=_PROJECT,
    ),
)

BOARDS: Final = MappingProxyType({board.name: board for board in _ALL})
"""Boards by name."""


def find_board(name: str) -> Board:
    """A board by name.

    Raises
    ------
    FrennError
        If there is none of that name.
    """
    if name not in BOARDS:
        raise FrennError(f"board {name!r} is unknown; legal are {', '.join(BOARDS)}")
    return BOARDS[name]
