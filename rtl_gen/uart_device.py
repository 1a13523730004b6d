# SPDX-License-Identifier: Apache-2.0
"""The device behind a serial line: what a board's two pins are wired to."""

from amaranth.hdl import Cat, DomainRenamer, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out, connect

from ..firmware.parameters import EngineParameters
from .byte_device import ByteDevice
from .link_parameters import LinkParameters
from .uart import COUNT_BITS, BaudRate, UartReceiver, UartTransmitter


class UartDevice(wiring.Component):
    """A `ByteDevice` on a serial line.

    The line cannot wait, and need not: the frame decoder takes a byte in any cycle, whatever the engine does, while a
    character takes 40 cycles at the least. Of the words that it makes none is under way without room for it in the receive
    buffer, since the host sends no more than the credit that it has.

    Parameters
    ----------
    parameters : EngineParameters
    rate : BaudRate
        Of the clock of the link's domain.
    link : LinkParameters, optional
    link_domain : str
        Clock domain of the line and of the link.

    Ports
    -----
    rx : In
        Pin from the host, high when idle.
    tx : Out
        Pin to the host.
    framing_errors, overruns : Out
        See `UartReceiver`; ``overruns`` stays 0. The device counts them too, for the host to read.

    Latency and throughput are those of the parts.
    """

    def __init__(self, parameters: EngineParameters, rate: BaudRate, link: LinkParameters | None = None, link_domain: str = "sync") -> None:
        self.parameters = parameters
        self.rate = rate
        self.link = link
        self.link_domain = link_domain
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "framing_errors": Out(COUNT_BITS), "overruns": Out(COUNT_BITS)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        receiver, transmitter = UartReceiver(self.rate), UartTransmitter(self.rate)
        in_domain = DomainRenamer(self.link_domain)
        m.submodules.receiver = in_domain(receiver)
        m.submodules.transmitter = in_domain(transmitter)
        m.submodules.device = device = ByteDevice(self.parameters, self.link, self.link_domain, line=True)
        connect(m, receiver.o, device.rx)
        connect(m, device.tx, transmitter.i)
        m.d.comb += [
            receiver.line.eq(self.rx),
            self.tx.eq(transmitter.line),
            self.framing_errors.eq(receiver.framing_errors),
            self.overruns.eq(receiver.overruns),
        ]
        # Each error turns a bit round, and the next one is a character away: long enough to be seen in any domain.
        turned, seen = Signal(2), Signal(2)
        m.submodules.errors = FFSynchronizer(Cat(receiver.framing_errors[0], receiver.overruns[0]), turned)
        m.d.sync += seen.eq(turned)
        m.d.comb += Cat(device.framing_error, device.overrun).eq(turned ^ seen)
        return m
