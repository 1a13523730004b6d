# SPDX-License-Identifier: Apache-2.0
"""The device behind its byte link: what a serial line, or any other line of bytes, is wired to."""

from amaranth.hdl import DomainRenamer, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..firmware.parameters import EngineParameters
from .crossing import StreamCrossing
from .device import Device
from .link import Link
from .link_parameters import LinkParameters
from .packet import PACKET


class ByteDevice(wiring.Component):
    """A `Device` whose packets travel in the frames of a `Link`.

    Parameters
    ----------
    parameters : EngineParameters
    link : LinkParameters, optional
    link_domain : str
        Clock domain of the link and of both ports; another one than ``sync`` is crossed by `StreamCrossing`.

    Ports
    -----
    rx : In, stream of bytes
    tx : Out, stream of bytes

    Latency and throughput are those of the two parts.
    """

    def __init__(self, parameters: EngineParameters, link: LinkParameters | None = None, link_domain: str = "sync") -> None:
        self.parameters = parameters
        self.link = LinkParameters() if link is None else link
        self.link_domain = link_domain
        super().__init__({"rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.device = device = Device(self.parameters)
        link = Link(self.link)
        m.submodules.link = DomainRenamer(self.link_domain)(link)
        connect(m, flipped(self.rx), link.rx)
        connect(m, flipped(self.tx), link.tx)
        if self.link_domain == "sync":
            connect(m, link.request, device.request)
            connect(m, device.answer, link.answer)
        else:
            m.submodules.requests = requests = StreamCrossing(PACKET, i_domain=self.link_domain, o_domain="sync")
            m.submodules.answers = answers = StreamCrossing(PACKET, i_domain="sync", o_domain=self.link_domain)
            connect(m, link.request, requests.i)
            connect(m, requests.o, device.request)
            connect(m, device.answer, answers.i)
            connect(m, answers.o, link.answer)
        return m
