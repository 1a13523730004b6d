# SPDX-License-Identifier: Apache-2.0
"""The device behind its byte link: what a serial line, or any other line of bytes, is wired to."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..firmware.parameters import EngineParameters
from .device import Device
from .link import Link
from .link_parameters import LinkParameters


class ByteDevice(wiring.Component):
    """A `Device` whose packets travel in the frames of a `Link`.

    Parameters
    ----------
    parameters : EngineParameters
    link : LinkParameters, optional

    Ports
    -----
    rx : In, stream of bytes
    tx : Out, stream of bytes

    Latency and throughput are those of the two parts.
    """

    def __init__(self, parameters: EngineParameters, link: LinkParameters | None = None) -> None:
        self.parameters = parameters
        self.link = LinkParameters() if link is None else link
        super().__init__({"rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.device = device = Device(self.parameters)
        m.submodules.link = link = Link(self.link)
        connect(m, flipped(self.rx), link.rx)
        connect(m, flipped(self.tx), link.tx)
        connect(m, link.request, device.request)
        connect(m, device.answer, link.answer)
        return m
