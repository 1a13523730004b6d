# SPDX-License-Identifier: Apache-2.0
"""Verilog and other text of the device."""

from typing import Final

from amaranth.back import rtlil as rtlil_backend
from amaranth.back import verilog as verilog_backend
from amaranth.lib import wiring

from ..firmware.errors import FrennError
from ..firmware.parameters import EngineParameters
from .axi_device import AxiDevice
from .byte_device import ByteDevice
from .devices import make_device
from .primitives.technology import Technology
from .transfer_device import TransferDevice
from .uart import BaudRate
from .uart_device import UartDevice

LINKS = ("packets", "bytes", "uart", "transfers", "axi64", "axi128")
"""What the device is reached through: bare packet streams, byte streams with the framing between, the two pins of a serial line, streams
of the words of transfers, or these on AXI4-Stream with a clock of its own."""

UART_RATE: Final = BaudRate(25_000_000, 3_000_000)
"""Of the serial line of a device that stands on no board."""


def top(parameters: EngineParameters, link: str = "packets") -> wiring.Component:
    """The device behind a link.

    Raises
    ------
    FrennError
        If there is no such link.
    """
    if link == "packets":
        return make_device(parameters)
    if link == "bytes":
        return ByteDevice(parameters)
    if link == "uart":
        return UartDevice(parameters, UART_RATE)
    if link == "transfers":
        return TransferDevice(parameters)
    if link in ("axi64", "axi128"):
        return AxiDevice(parameters, int(link.removeprefix("axi")), domain="axi")
    raise FrennError(f"link {link!r} is unknown; legal are {', '.join(LINKS)}")


def verilog(parameters: EngineParameters, link: str = "packets", technology: Technology = Technology.GENERIC) -> str:
    """Verilog of the device; equal parameters always give equal text."""
    return verilog_backend.convert(top(parameters, link), name="frenn", platform=technology, emit_src=False, strip_internal_attrs=True)


def rtlil(parameters: EngineParameters, link: str = "packets", technology: Technology = Technology.GENERIC) -> str:
    """The device in Yosys' language; equal parameters always give equal text."""
    return rtlil_backend.convert(top(parameters, link), name="frenn", platform=technology, emit_src=False)
