# SPDX-License-Identifier: Apache-2.0
"""The sending half of a byte link."""

from typing import Final

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..firmware.framing import CREDIT_WORDS, SEQUENCES, WINDOW, Kind
from .link_parameters import LinkParameters
from .packet import PACKET

SEQUENCE_BITS: Final = (SEQUENCES - 1).bit_length()

KIND: Final = data.StructLayout({str(kind.name).lower(): 1 for kind in Kind})
HEADER: Final = data.StructLayout({"kind": KIND, "session": 2, "sequence": SEQUENCE_BITS, "acknowledge": SEQUENCE_BITS, "credit": 8})
STATE: Final = data.StructLayout({"acknowledge": SEQUENCE_BITS, "credit": 8})
"""What an end says of its receiving half in every header."""


class Sender(wiring.Component):
    """Cuts packets into frames, keeps them until they are acknowledged, and decides what frame goes next.

    Parameters
    ----------
    parameters : LinkParameters

    Ports
    -----
    i : In, stream of `PACKET`
    o : Out, stream of `PACKET`
        Words of frames, header first.
    session : In, 16
    clear : In
        A session begins: forget everything and send OPENED. Its ``peer`` is valid in the same cycle.
    peer : In, `STATE`
        From the header of a frame of the host.
    update : In
        ``peer`` is valid.
    repeat : In
        With ``update``: the host asks for frames again.
    local : In, `STATE`
        Of the receiving half, for the headers.
    reply : In
        A header must go at once.
    ask : In
        With ``reply``: it must ask for frames again.
    due : In
        What ``local`` stands for has changed so much since the last header that another may not wait.
    changed : In
        It has changed.
    told : Out
        ``local`` goes out in a header in this cycle.

    Latency, while nothing else is under way, 4 cycles from the last word of a packet of at most `frame_words` to its header; a frame
    is complete in the buffer before it is sent. A word a cycle in, but for a pause of a cycle after each frame.
    """

    def __init__(self, parameters: LinkParameters) -> None:
        self.parameters = parameters
        super().__init__(
            {
                "i": In(stream.Signature(PACKET)),
                "o": Out(stream.Signature(PACKET)),
                "session": In(16),
                "clear": In(1),
                "peer": In(STATE),
                "update": In(1),
                "repeat": In(1),
                "local": In(STATE),
                "reply": In(1),
                "ask": In(1),
                "due": In(1),
                "changed": In(1),
                "told": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words, frame_words = self.parameters.transmit_words, self.parameters.frame_words
        timeout, patience = self.parameters.timeout_cycles, self.parameters.acknowledge_cycles
        m.submodules.memory = memory = Memory(shape=32, depth=words, init=[])
        write_port, read_port = memory.write_port(), memory.read_port()
        # A frame in the ring is a word with its length and whether it is a packet's last, then its payload.
        length_bits = frame_words.bit_length()
        slot = data.StructLayout({"length": length_bits, "last": 1})

        def pointer(name: str, init: int = 0) -> Signal:
            return Signal(range(2 * words), name=name, init=init)

        def sequence(name: str) -> Signal:
            return Signal(SEQUENCE_BITS, name=name)

        base, send, frame, tail = pointer("base"), pointer("send"), pointer("frame"), pointer("tail", 1)
        base_sequence, send_sequence, high_sequence, tail_sequence, acknowledged = map(
            sequence, ("base_sequence", "send_sequence", "high_sequence", "tail_sequence", "acknowledged")
        )

        # Writing: payload, then the length into the word kept free before it.
        sealing, last = Signal(), Signal()
        length = Signal(length_bits)
        used = Signal(range(2 * words))
        m.d.comb += [
            used.eq(tail - base),
            self.i.ready.eq(~sealing & (used < words) & ((tail_sequence - base_sequence)[:SEQUENCE_BITS] < WINDOW)),
            write_port.addr.eq(Mux(sealing, frame, tail)),
            write_port.data.eq(Mux(sealing, Cat(length, last), self.i.payload.data)),
            write_port.en.eq(sealing | (self.i.valid & self.i.ready)),
        ]
        with m.If(sealing):
            m.d.sync += [sealing.eq(0), length.eq(0), frame.eq(tail), tail.eq(tail + 1), tail_sequence.eq(tail_sequence + 1)]
        with m.Elif(self.i.valid & self.i.ready):
            m.d.sync += [
                tail.eq(tail + 1),
                length.eq(length + 1),
                last.eq(self.i.payload.last),
                sealing.eq(self.i.payload.last | (length == frame_words - 1)),
            ]

        # What the host has said.
        credit = Signal(8)
        go_back, polling = Signal(), Signal()
        sensible, progress = Signal(), Signal()
        m.d.comb += [
            sensible.eq((self.peer.acknowledge - acknowledged)[:SEQUENCE_BITS] <= (high_sequence - acknowledged)[:SEQUENCE_BITS]),
            progress.eq(self.update & sensible & (self.peer.acknowledge != acknowledged)),
        ]

        # What is to be said.
        opened, reply, ask, poll = Signal(), Signal(), Signal(), Signal()
        wait = Signal(range(patience + 1))
        timer = Signal(range(timeout + 1))
        bare = Signal()
        m.d.comb += bare.eq(reply | self.due | (self.changed & (wait == patience)))
        with m.If(~self.changed | self.told):
            m.d.sync += wait.eq(0)
        with m.Elif(wait != patience):
            m.d.sync += wait.eq(wait + 1)

        header, latched = Signal(HEADER), Signal(HEADER, reset_less=True)
        carries, ends, opens, polls = Signal(), Signal(), Signal(), Signal()
        found = Signal(slot)
        left = Signal(length_bits)
        cursor = pointer("cursor")
        outstanding = Signal(range(words + 1))
        sending = Signal()
        m.d.comb += [
            found.eq(read_port.data),
            # In one piece: simulators leave a bit undefined that nothing drives.
            header.eq(
                Cat(
                    Cat(carries, ends, C(0, 1), opens, ask & ~opens, polls),
                    self.session[:2],
                    Mux(opens, self.session, Cat(Mux(carries, send_sequence, 0), self.local.acknowledge)),
                    self.local.credit,
                )
            ),
        ]
        with m.FSM():
            with m.State("CHOOSE"):
                m.d.comb += read_port.addr.eq(Mux(base_sequence != acknowledged, base, send))
                m.d.sync += [left.eq(0), latched.eq(header)]
                with m.If(opened):
                    m.d.comb += opens.eq(1)
                    m.d.sync += opened.eq(0)
                    m.next = "HEADER"
                with m.Elif(base_sequence != acknowledged):
                    m.next = "RELEASE"
                with m.Elif(go_back):
                    m.d.sync += [go_back.eq(0), send.eq(base), send_sequence.eq(base_sequence), outstanding.eq(0)]
                with m.Elif(poll):
                    m.d.comb += [self.told.eq(1), polls.eq(1)]
                    m.d.sync += [poll.eq(0), polling.eq(1)]
                    m.next = "HEADER"
                with m.Elif((send_sequence != tail_sequence) & ~polling):
                    m.next = "LOOK"
                with m.Elif(bare):
                    m.d.comb += self.told.eq(1)
                    m.next = "HEADER"
            with m.State("RELEASE"):
                # Not if a session has begun since the choice.
                with m.If(~opened):
                    m.d.sync += [base.eq(base + found.length + 1), base_sequence.eq(base_sequence + 1)]
                    with m.If(send_sequence == base_sequence):
                        # It was acknowledged before it was sent again.
                        m.d.sync += [send.eq(base + found.length + 1), send_sequence.eq(base_sequence + 1)]
                    with m.Else():
                        m.d.sync += outstanding.eq(outstanding - found.length)
                m.next = "CHOOSE"
            with m.State("LOOK"):
                m.d.sync += latched.eq(header)
                with m.If(~opened & (outstanding + found.length <= credit * CREDIT_WORDS)):
                    m.d.comb += [self.told.eq(1), carries.eq(1), ends.eq(found.last)]
                    m.d.sync += [
                        left.eq(found.length),
                        cursor.eq(send + 1),
                        send.eq(send + found.length + 1),
                        send_sequence.eq(send_sequence + 1),
                        outstanding.eq(outstanding + found.length),
                    ]
                    with m.If(send_sequence == high_sequence):
                        m.d.sync += high_sequence.eq(send_sequence + 1)
                    m.next = "HEADER"
                with m.Elif(~opened & bare):
                    m.d.comb += self.told.eq(1)
                    m.next = "HEADER"
                with m.Else():
                    m.next = "CHOOSE"
            with m.State("HEADER"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.data.eq(latched),
                    self.o.payload.last.eq(left == 0),
                    sending.eq(left != 0),
                    read_port.addr.eq(cursor),
                ]
                with m.If(self.o.ready):
                    m.d.sync += cursor.eq(cursor + 1)
                    with m.If(left == 0):
                        m.next = "CHOOSE"
                    with m.Else():
                        m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.data.eq(read_port.data),
                    self.o.payload.last.eq(left == 1),
                    sending.eq(1),
                    read_port.addr.eq(cursor),
                    read_port.en.eq(self.o.ready),
                ]
                with m.If(self.o.ready):
                    m.d.sync += [cursor.eq(cursor + 1), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.next = "CHOOSE"

        with m.If(base_sequence == tail_sequence):
            m.d.sync += [timer.eq(0), poll.eq(0), polling.eq(0)]
        with m.Elif(progress | sending):
            m.d.sync += timer.eq(0)
        with m.Elif(timer == timeout):
            m.d.sync += [timer.eq(0), poll.eq(1)]
        with m.Else():
            m.d.sync += timer.eq(timer + 1)
        with m.If(self.update & sensible):
            m.d.sync += [acknowledged.eq(self.peer.acknowledge), credit.eq(self.peer.credit)]
            with m.If(self.repeat):
                m.d.sync += [go_back.eq(1), polling.eq(0)]
        with m.If(self.told):
            m.d.sync += [reply.eq(0), ask.eq(0)]
        with m.If(self.reply):
            m.d.sync += [reply.eq(1), ask.eq((ask & ~self.told) | self.ask)]
        with m.If(self.clear):
            zeroed = (base, send, frame, base_sequence, send_sequence, high_sequence, tail_sequence, acknowledged, outstanding)
            m.d.sync += [signal.eq(0) for signal in (*zeroed, sealing, length, go_back, polling, poll, timer, reply, ask)]
            m.d.sync += [tail.eq(1), credit.eq(self.peer.credit), opened.eq(1)]
        return m
