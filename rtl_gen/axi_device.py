# SPDX-License-Identifier: Apache-2.0
"""The device on AXI4-Stream: what a DMA core is wired to."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect

from ..firmware.parameters import EngineParameters
from .axi_stream import AxiStreams, axi_ports, join_axi
from .devices import make_device
from .transfer_device import TransferDevice


class AxiDevice(wiring.Component):
    """A device behind `AxiStreams`.

    Parameters
    ----------
    parameters : EngineParameters
    width : int
        Bits of ``tdata``, one of `axi_stream.WIDTHS`.
    transfers : bool
        What ``tlast`` ends: a transfer of many packets (`TransferDevice`), or one bare packet (`Device`).
    domain : str
        Clock domain of the ports; that of the engine is ``sync``.

    Ports
    -----
    s_axis_*, m_axis_*
        See `AxiStreams`.

    Latency and throughput are those of the parts.
    """

    def __init__(self, parameters: EngineParameters, width: int, *, transfers: bool = True, domain: str = "sync") -> None:
        self.parameters = parameters
        self.width = width
        self.transfers = transfers
        self.domain = domain
        super().__init__(axi_ports(width))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.streams = streams = AxiStreams(self.width, self.domain)
        join_axi(m, self, streams)
        if self.transfers:
            m.submodules.device = device = TransferDevice(self.parameters)
            connect(m, streams.inward, device.rx)
            connect(m, device.tx, streams.outward)
        else:
            m.submodules.device = device = make_device(self.parameters)
            connect(m, streams.inward, device.request)
            connect(m, device.answer, streams.outward)
        return m
