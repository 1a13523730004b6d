# SPDX-License-Identifier: Apache-2.0
"""The device behind its byte link: what a serial line, or any other line of bytes, is wired to."""

from amaranth.hdl import DomainRenamer, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..firmware.parameters import EngineParameters
from .crossing import StreamCrossing
from .devices import make_device
from .link import Link
from .link_parameters import LinkParameters, link_for
from .packet import PACKET


class ByteDevice(wiring.Component):
    """A device whose packets travel in the frames of a `Link`.

    Parameters
    ----------
    parameters : EngineParameters
    link : LinkParameters, optional
        `link_for` the parameters if there is none.
    link_domain : str
        Clock domain of the link and of both streams; another one than ``sync`` is crossed by `StreamCrossing`.
    line : bool
        Whether there are ports for the counters of a serial line.

    Ports
    -----
    rx : In, stream of bytes
    tx : Out, stream of bytes
    framing_error, overrun : In
        Pulses to be counted, in the domain ``sync``.

    Latency and throughput are those of the two parts.
    """

    def __init__(
        self, parameters: EngineParameters, link: LinkParameters | None = None, link_domain: str = "sync", line: bool = False
    ) -> None:
        self.parameters = parameters
        self.link = link_for(parameters) if link is None else link
        self.link_domain = link_domain
        self.line = line
        ports = {"framing_error": In(1), "overrun": In(1)} if line else {}
        super().__init__({"rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8)), **ports})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.device = device = make_device(self.parameters, self.line)
        if self.line:
            m.d.comb += [device.framing_error.eq(self.framing_error), device.overrun.eq(self.overrun)]
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
