# SPDX-License-Identifier: Apache-2.0
"""The device's end of the byte link: packets over bytes, each exactly once and in order, whatever the line does."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.endpoint import Endpoint
from ..firmware.framing import CREDIT_WORDS, MAX_CREDIT, MAX_FRAME_WORDS, WINDOW
from .framing import FrameDecoder, FrameEncoder
from .link_parameters import LinkParameters
from .link_receive import ReceiveBuffer
from .link_send import HEADER, SEQUENCE_BITS, Sender
from .packet import PACKET

__all__ = ["Link", "LinkParameters"]


class Link(wiring.Component):
    """Joins a byte line to a device with a stream of request packets and a stream of answer packets.

    The device must answer every request packet, in order, with one answer packet, and a packet that is cut short too. When the
    host opens a session, a request that is half handed over is ended by a word 0, and what the device still answers to
    requests of the old session is thrown away.

    Parameters
    ----------
    parameters : LinkParameters

    Ports
    -----
    rx : In, stream of bytes
        Always ready.
    tx : Out, stream of bytes
    request : Out, stream of `PACKET`
    answer : In, stream of `PACKET`

    Latency on an idle link 4 cycles from a frame's closing flag to its first word on `request`, and 5 from the last word of an answer
    of one frame to its opening flag. Throughput one byte a cycle both ways.
    """

    def __init__(self, parameters: LinkParameters | None = None) -> None:
        self.parameters = LinkParameters() if parameters is None else parameters
        super().__init__(
            {
                "rx": In(stream.Signature(8)),
                "tx": Out(stream.Signature(8)),
                "request": Out(stream.Signature(PACKET)),
                "answer": In(stream.Signature(PACKET)),
            }
        )

    @staticmethod
    def model(parameters: LinkParameters) -> Endpoint:
        """An endpoint that behaves so towards the host, with cycles as time, but has always room."""
        endpoint = Endpoint(
            initiator=False,
            timeout=parameters.timeout_cycles,
            acknowledge=parameters.acknowledge_cycles,
            frame_words=parameters.frame_words,
        )
        endpoint.credit = min(MAX_CREDIT, parameters.receive_words // CREDIT_WORDS)
        return endpoint

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = self.parameters.receive_words
        m.submodules.decoder = decoder = FrameDecoder(min(words, MAX_FRAME_WORDS) + 1)
        m.submodules.encoder = encoder = FrameEncoder()
        m.submodules.receive = receive = ReceiveBuffer(words)
        m.submodules.sender = sender = Sender(self.parameters)
        wiring.connect(m, wiring.flipped(self.rx), decoder.i)
        wiring.connect(m, wiring.flipped(self.tx), encoder.o)
        wiring.connect(m, wiring.flipped(self.request), receive.o)
        wiring.connect(m, sender.o, encoder.i)

        # A frame's words go to the buffer as they come; what becomes of them is decided a cycle after its end. At least seven
        # bytes lie between that and the next frame's first word.
        header = Signal(HEADER, reset_less=True)
        word = decoder.o.payload
        complete, payload, unfinished = Signal(), Signal(), Signal()
        m.d.comb += [
            decoder.o.ready.eq(1),
            receive.begin.eq(decoder.o.valid & word.first),
            receive.write.eq(decoder.o.valid & ~word.first),
            receive.word.data.eq(word.data),
            receive.word.last.eq(word.last & header.kind.last),
        ]
        m.d.sync += complete.eq(decoder.o.valid & word.last)
        with m.If(decoder.o.valid):
            m.d.sync += [payload.eq(~word.first), unfinished.eq(~word.last)]
            with m.If(word.first):
                m.d.sync += header.eq(word.data)

        established = Signal()
        session = Signal(16)
        expected = Signal(SEQUENCE_BITS)
        ahead, last_ahead = Signal(SEQUENCE_BITS), Signal(SEQUENCE_BITS)
        mine, lost, again, torn = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            mine.eq(header.session == session[: len(header.session)]),
            ahead.eq(header.sequence - expected),
            # A number no higher than the last one says that the host has gone back, and that the frame was lost again.
            again.eq((ahead < WINDOW) & (~lost | (ahead <= last_ahead))),
            # The frame before this one ended bad. Its header may be damaged, but what it costs to believe it is a needless REPEAT.
            torn.eq(decoder.o.valid & word.first & unfinished & established & mine & header.kind.data & (ahead == 0)),
            sender.peer.acknowledge.eq(header.acknowledge),
            sender.peer.credit.eq(header.credit),
            sender.repeat.eq(header.kind.repeat),
            sender.session.eq(session),
        ]
        with m.If(complete & header.kind.open & ~payload):
            m.d.comb += [sender.clear.eq(1), receive.clear.eq(1)]
            m.d.sync += [established.eq(1), session.eq(Cat(header.sequence, header.acknowledge)), expected.eq(0), lost.eq(0)]
        with m.Elif(complete & established & mine & ~header.kind.open & ~header.kind.opened):
            m.d.comb += sender.update.eq(1)
            with m.If(header.kind.poll):
                m.d.comb += [sender.reply.eq(1), sender.ask.eq(1)]
            with m.If(header.kind.data & payload & ~receive.overflow):
                with m.If(ahead == 0):
                    m.d.comb += receive.commit.eq(1)
                    m.d.sync += [expected.eq(expected + 1), lost.eq(0)]
                with m.Elif(ahead < WINDOW):
                    m.d.sync += [lost.eq(1), last_ahead.eq(ahead)]
                    with m.If(again):
                        m.d.comb += [sender.reply.eq(1), sender.ask.eq(1)]
                with m.Else():
                    m.d.comb += sender.reply.eq(1)

        with m.If(torn):
            # Frames that were under way behind it are no news.
            m.d.comb += [sender.reply.eq(1), sender.ask.eq(1)]
            m.d.sync += [lost.eq(1), last_ahead.eq(0)]

        # What the host knows of the receiving half.
        told_expected = Signal.like(expected)
        told_taken = Signal.like(receive.taken)
        fresh = Signal.like(receive.taken)
        m.d.comb += [
            sender.local.acknowledge.eq(expected),
            sender.local.credit.eq(Mux(receive.free >= MAX_CREDIT * CREDIT_WORDS, MAX_CREDIT, receive.free // CREDIT_WORDS)),
            fresh.eq(receive.taken - told_taken),
            sender.changed.eq((expected != told_expected) | (fresh != 0)),
            sender.due.eq(fresh >= words // 4),
        ]
        with m.If(sender.told | sender.clear):
            m.d.sync += [told_expected.eq(Mux(sender.clear, 0, expected)), told_taken.eq(receive.taken)]

        # Answers to requests of a session that is over.
        unanswered, stale = Signal(16), Signal(16)
        answered = Signal()
        remaining = Signal(16)
        m.d.comb += [
            sender.i.payload.eq(self.answer.payload),
            sender.i.valid.eq(self.answer.valid & (stale == 0)),
            self.answer.ready.eq(sender.i.ready | (stale != 0)),
            answered.eq(self.answer.valid & self.answer.ready & self.answer.payload.last & (unanswered != 0)),
            remaining.eq(unanswered + receive.started - answered),
        ]
        m.d.sync += unanswered.eq(remaining)
        with m.If(sender.clear):
            m.d.sync += stale.eq(remaining)
        with m.Else():
            m.d.sync += stale.eq(stale + (receive.started & receive.clearing) - (answered & (stale != 0)))
        return m
