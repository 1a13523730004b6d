# SPDX-License-Identifier: Apache-2.0
"""A USB device with two bulk endpoints, made of LUNA's gateware: bytes in, bytes out."""

import warnings
from types import SimpleNamespace
from typing import Any, Final

from amaranth.hdl import Elaboratable, Fragment, Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from usb_protocol.emitters import DeviceDescriptorCollection

from ..firmware.errors import FrennError
from ..firmware.usb import ENDPOINT, FULL_SPEED_BYTES, HIGH_SPEED_BYTES, MANUFACTURER, PRODUCT, VENDOR, UsbIdentity
from .byte_words import BYTE

with warnings.catch_warnings():
    # LUNA still uses records, which Amaranth 0.6 will not have.
    warnings.simplefilter("ignore", DeprecationWarning)
    from luna.gateware.usb.usb2.device import USBDevice
    from luna.gateware.usb.usb2.endpoints.stream import USBStreamInEndpoint, USBStreamOutEndpoint

PHYS: Final = ("ulpi", "pins")
"""What the lines are driven by: a transceiver on ULPI, at high speed, or the FPGA's own pins, at full speed."""

BUFFERED_PACKETS: Final = 2
"""Bulk packets from the host that have room: one is taken while another comes in."""


def usb_ports(phy: str) -> dict[str, wiring.Member]:
    """Members of a component that is wired to a PHY, before the buffers of the pins.

    Raises
    ------
    FrennError
        If there is no such PHY.
    """
    if phy == "ulpi":
        return {
            "ulpi_data_i": In(8),
            "ulpi_data_o": Out(8),
            "ulpi_data_oe": Out(1),
            "ulpi_dir": In(1),
            "ulpi_nxt": In(1),
            "ulpi_stp": Out(1),
        }
    if phy == "pins":
        lines = {f"usb_{line}_{kind}": flow(1) for line in ("dp", "dn") for kind, flow in (("i", In), ("o", Out), ("oe", Out))}
        return {**lines, "usb_pullup": Out(1)}
    raise FrennError(f"USB PHY {phy!r} is unknown; legal are {', '.join(PHYS)}")


def join_usb(m: Module, outer: wiring.Component, inner: wiring.Component) -> None:
    """Wire the `usb_ports` of a component to those of one inside it."""
    for name in usb_ports(inner.phy):
        mine, its = getattr(outer, name), getattr(inner, name)
        m.d.comb += its.eq(mine) if inner.signature.members[name].flow == In else mine.eq(its)


def descriptors(identity: UsbIdentity, packet_bytes: int) -> DeviceDescriptorCollection:
    """What the device answers to a host that asks who it is."""
    collection = DeviceDescriptorCollection()
    with collection.DeviceDescriptor() as device:
        device.idVendor = VENDOR
        device.idProduct = PRODUCT
        device.iManufacturer = MANUFACTURER
        device.iProduct = identity.product
        device.iSerialNumber = identity.serial
        device.bNumConfigurations = 1
    with collection.ConfigurationDescriptor() as configuration, configuration.InterfaceDescriptor() as interface:
        interface.bInterfaceNumber = 0
        interface.bInterfaceClass = 0xFF
        interface.iInterface = identity.interface
        for address in (ENDPOINT, 0x80 | ENDPOINT):
            with interface.EndpointDescriptor() as endpoint:
                endpoint.bEndpointAddress = address
                endpoint.wMaxPacketSize = packet_bytes
    return collection


class _Restarted(Elaboratable):
    """An endpoint that begins anew, data toggle and buffers, when the host resets or configures the device: LUNA's do not by themselves."""

    def __init__(self, endpoint: Any, restart: Signal) -> None:
        self.endpoint = endpoint
        self.interface = endpoint.interface
        self.restart = restart

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.endpoint = ResetInserter({"usb": self.restart})(self.endpoint)
        return m


class _In(_Restarted):
    """Each class of an endpoint is one name in the netlist."""


class _Out(_Restarted):
    """See `_In`."""


class _Generic(Elaboratable):
    """LUNA's device for no platform in particular: LUNA asks platforms for what only Amaranth's own have."""

    def __init__(self, device: USBDevice) -> None:
        self.device = device

    def elaborate(self, platform: object) -> Fragment:
        return Fragment.get(self.device, None)


class UsbCore(wiring.Component):
    """The device as the host sees it: descriptors, and a bulk endpoint each way.

    Parameters
    ----------
    phy : str
        One of `PHYS`.
    identity : UsbIdentity

    Ports
    -----
    ulpi_*, usb_*
        See `usb_ports`.
    restart : Out
        High for a cycle when the host resets or configures the device: what was under way is lost.
    o : Out, stream of `byte_words.BYTE`
        From the host; ``last`` marks the end of a transfer that ends with a packet which is not full. One that is full to the last
        byte has no end.
    i : In, stream of `byte_words.BYTE`
        To the host; the transfer ends with ``last``, if need be by an empty packet.

    All of it runs in the domain ``usb``: the PHY's clock of 60 MHz on ULPI, held in reset until the PHY takes commands; or 12 MHz,
    with ``usb_io`` of 48 MHz from the same PLL.
    A packet is handed on when its CRC was right, and kept until the host has acknowledged it; between packets a byte a cycle.
    What the USB's rules say about retries and toggles is the model, and a host's model the test: see `frenn.sim.benches.usb_host`.
    """

    def __init__(self, phy: str, identity: UsbIdentity) -> None:
        self.phy = phy
        self.identity = identity
        super().__init__(
            {**usb_ports(phy), "restart": Out(1), "o": Out(stream.Signature(BYTE)), "i": In(stream.Signature(BYTE))},
        )

    @property
    def packet_bytes(self) -> int:
        """Bytes of a full packet."""
        return HIGH_SPEED_BYTES if self.phy == "ulpi" else FULL_SPEED_BYTES

    def elaborate(self, platform: object) -> Module:
        m = Module()
        size = self.packet_bytes
        device = USBDevice(bus=self._ulpi() if self.phy == "ulpi" else self._pins(), handle_clocking=False)
        m.submodules.device = _Generic(device)
        control = device.add_standard_control_endpoint(descriptors(self.identity, size))
        outward = USBStreamOutEndpoint(endpoint_number=ENDPOINT, max_packet_size=size, buffer_size=BUFFERED_PACKETS * size)
        inward = USBStreamInEndpoint(endpoint_number=ENDPOINT, max_packet_size=size)
        device.add_endpoint(_Out(outward, self.restart))
        device.add_endpoint(_In(inward, self.restart))
        m.d.comb += [
            device.connect.eq(1),
            self.restart.eq(device.reset_detected | control.interface.config_changed),
            self.o.valid.eq(outward.stream.valid),
            self.o.payload.data.eq(outward.stream.payload),
            self.o.payload.last.eq(outward.stream.last),
            outward.stream.ready.eq(self.o.ready),
            inward.stream.valid.eq(self.i.valid),
            inward.stream.payload.eq(self.i.payload.data),
            inward.stream.last.eq(self.i.payload.last),
            self.i.ready.eq(inward.stream.ready),
        ]
        return m

    def _ulpi(self) -> SimpleNamespace:
        """The bus as LUNA knows it, but for a reset: if there is one, LUNA takes lines that its pull-up has not raised yet for a bus reset
        while it waits for the PHY, and then chirp and first register write are in each other's way for ever."""
        return SimpleNamespace(
            data=SimpleNamespace(i=self.ulpi_data_i, o=self.ulpi_data_o, oe=self.ulpi_data_oe),
            dir=SimpleNamespace(i=self.ulpi_dir),
            nxt=SimpleNamespace(i=self.ulpi_nxt),
            stp=SimpleNamespace(o=self.ulpi_stp),
        )

    def _pins(self) -> SimpleNamespace:
        return SimpleNamespace(
            d_p=SimpleNamespace(i=self.usb_dp_i, o=self.usb_dp_o, oe=self.usb_dp_oe),
            d_n=SimpleNamespace(i=self.usb_dn_i, o=self.usb_dn_o, oe=self.usb_dn_oe),
            pullup=SimpleNamespace(o=self.usb_pullup),
        )
