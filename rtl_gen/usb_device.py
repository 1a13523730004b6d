# SPDX-License-Identifier: Apache-2.0
"""The device on the USB: what a PHY, or two pins, are wired to."""

from amaranth.hdl import DomainRenamer, Module, ResetInserter
from amaranth.lib import wiring
from amaranth.lib.wiring import connect

from ..firmware.parameters import EngineParameters
from ..firmware.usb import UsbIdentity
from .byte_words import WordGatherer, WordSplitter
from .crossing import FifoCrossing
from .packet import PACKET
from .transfer_device import TransferDevice
from .usb_core import UsbCore, join_usb, usb_ports


class UsbDevice(wiring.Component):
    """A `TransferDevice` on the bulk endpoints of a `UsbCore`.

    The USB loses and changes nothing, and holds back what finds no room, so transfers carry the packets as they do on PCI Express.

    Parameters
    ----------
    parameters : EngineParameters
    phy : str
        One of `usb_core.PHYS`.
    identity : UsbIdentity

    Ports
    -----
    ulpi_*, usb_*
        See `usb_core.usb_ports`.

    The engine runs in ``sync``, the USB in the domains of `UsbCore`; words cross between them by FIFOs. When the host resets or
    configures the device, a word that is torn is dropped; a torn packet ends when the host begins a session. Latency and throughput
    are those of the parts.
    """

    def __init__(self, parameters: EngineParameters, phy: str, identity: UsbIdentity) -> None:
        self.parameters = parameters
        self.phy = phy
        self.identity = identity
        super().__init__(usb_ports(phy))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.usb = core = UsbCore(self.phy, self.identity)
        gatherer, splitter = WordGatherer(), WordSplitter()
        restarted = ResetInserter({"usb": core.restart})
        m.submodules.gatherer = restarted(DomainRenamer("usb")(gatherer))
        m.submodules.splitter = restarted(DomainRenamer("usb")(splitter))
        m.submodules.arrived = arrived = FifoCrossing(PACKET, i_domain="usb", o_domain="sync")
        m.submodules.leaving = leaving = FifoCrossing(PACKET, i_domain="sync", o_domain="usb")
        m.submodules.device = device = TransferDevice(self.parameters)
        connect(m, core.o, gatherer.i)
        connect(m, gatherer.o, arrived.i)
        connect(m, arrived.o, device.rx)
        connect(m, device.tx, leaving.i)
        connect(m, leaving.o, splitter.i)
        connect(m, splitter.o, core.i)
        join_usb(m, self, core)
        return m
