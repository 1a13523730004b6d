# SPDX-License-Identifier: Apache-2.0
"""The device behind transfers: what a DMA core's streams are wired to, word by word."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect, flipped

from ..firmware.parameters import EngineParameters
from .devices import make_device
from .packet import PACKET
from .transfer import TransferJoiner, TransferSplitter


class TransferDevice(wiring.Component):
    """A `Device` whose packets travel in transfers, with room for the next requests while the engine works.

    Parameters
    ----------
    parameters : EngineParameters
    request_words, answer_words : int
        Words of packets that wait before and behind the engine. A host's write returns when all of it has been taken: as long as
        it is no longer than ``request_words``, the host prepares the next one while the engine works.

    Ports
    -----
    rx, tx : In, Out, stream of `packet.PACKET`
        ``last`` marks the last word of a transfer.

    Latency and throughput are those of the parts.
    """

    def __init__(self, parameters: EngineParameters, *, request_words: int = 4096, answer_words: int = 1024) -> None:
        self.parameters = parameters
        self.request_words = request_words
        self.answer_words = answer_words
        super().__init__({"rx": In(stream.Signature(PACKET)), "tx": Out(stream.Signature(PACKET))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.splitter = splitter = TransferSplitter()
        m.submodules.requests = requests = SyncFIFOBuffered(width=PACKET.size, depth=self.request_words)
        m.submodules.device = device = make_device(self.parameters)
        m.submodules.joiner = joiner = TransferJoiner(self.answer_words)
        connect(m, flipped(self.rx), splitter.i)
        m.d.comb += [
            requests.w_data.eq(splitter.o.payload.as_value()),
            requests.w_en.eq(splitter.o.valid),
            splitter.o.ready.eq(requests.w_rdy),
            device.request.payload.as_value().eq(requests.r_data),
            device.request.valid.eq(requests.r_rdy),
            requests.r_en.eq(device.request.ready),
        ]
        connect(m, device.answer, joiner.i)
        connect(m, joiner.o, flipped(self.tx))
        return m
