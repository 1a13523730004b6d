# SPDX-License-Identifier: Apache-2.0
"""AXI4-Stream: between the wide beats of a DMA core and the 32-bit words of packets."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from numpy.typing import NDArray

from ..firmware.errors import FrennError
from ..firmware.protocol import Words
from .crossing import FifoCrossing
from .packet import PACKET
from .stream_register import StreamRegister

WIDTHS: Final = (64, 128)
"""Legal widths of ``tdata``."""

Beats = list[tuple[NDArray[np.uint32], bool]]
"""Of each beat the words that are present, lowest first, and whether it is the last of its packet."""


def beat(width: int) -> data.StructLayout:
    """A beat of ``width`` bits: its words, which of them are present (from the lowest on), and whether a packet ends with it.

    Raises
    ------
    FrennError
        If the width is not legal.
    """
    if width not in WIDTHS:
        raise FrennError(f"AXI4-Stream: width is {width}; legal are {' and '.join(map(str, WIDTHS))} bits")
    return data.StructLayout({"data": width, "keep": width // 32, "last": 1})


class BeatUnpacker(wiring.Component):
    """Gives the words of beats one by one.

    Parameters
    ----------
    width : int
        One of `WIDTHS`.

    Ports
    -----
    i : In, stream of `beat`
        Words are present from the lowest on; a beat without any is skipped, and ends no packet.
    o : Out, stream of `packet.PACKET`

    Latency 1 cycle, throughput one word a cycle.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__({"i": In(stream.Signature(beat(width))), "o": Out(stream.Signature(PACKET))})

    @staticmethod
    def model(beats: Beats) -> tuple[Words, NDArray[np.bool_]]:
        """Words, (count,) uint32, and which of them are last, (count,) bool."""
        words = np.concatenate([words for words, _ in beats])
        last = np.zeros(len(words), dtype=np.bool_)
        ends = np.cumsum([len(words) for words, _ in beats])
        last[[end - 1 for end, (_, final) in zip(ends, beats, strict=True) if final]] = True
        return words, last

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = Signal(self.width, reset_less=True)
        present = Signal(self.width // 32)
        last = Signal(reset_less=True)
        final = ~present[1]
        m.d.comb += [
            self.o.valid.eq(present[0]),
            self.o.payload.data.eq(words),
            self.o.payload.last.eq(last & final),
            self.i.ready.eq(~present[0] | (final & self.o.ready)),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [words.eq(words[32:]), present.eq(present[1:])]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [words.eq(self.i.payload.data), present.eq(self.i.payload.keep), last.eq(self.i.payload.last)]
        return m


class BeatPacker(wiring.Component):
    """Gathers words to beats, as wide as they come: only the last beat of a packet may have fewer words.

    Parameters
    ----------
    width : int
        One of `WIDTHS`.

    Ports
    -----
    i : In, stream of `packet.PACKET`
    o : Out, stream of `beat`
        Words that are not present are 0.

    Latency 1 cycle after the beat's last word, throughput one word a cycle.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__({"i": In(stream.Signature(PACKET)), "o": Out(stream.Signature(beat(width)))})

    def model(self, words: Words, last: Sequence[bool] | NDArray[np.bool_]) -> Beats:
        """The beats of words, (count,) uint32, the last of which is the last of a packet."""
        beats: Beats = []
        start = 0
        for place, final in enumerate(last):
            if final or place - start == self.width // 32 - 1:
                beats.append((words[start : place + 1], bool(final)))
                start = place + 1
        return beats

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = self.width // 32
        gathered = [Signal(32, name=f"gathered_{index}") for index in range(count)]
        place = Signal(count, init=1)
        complete = self.i.payload.last | place[-1]
        words = [Mux(place[index], self.i.payload.data, word) for index, word in enumerate(gathered)]
        m.d.comb += self.i.ready.eq(~complete | ~self.o.valid | self.o.ready)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [word.eq(value) for word, value in zip(gathered, words, strict=True)]
            m.d.sync += place.eq(place << 1)
            with m.If(complete):
                m.d.sync += [
                    place.eq(1),
                    *(word.eq(0) for word in gathered),
                    self.o.valid.eq(1),
                    self.o.payload.data.eq(Cat(*words)),
                    # All places up to this one.
                    self.o.payload.keep.eq(place | (place - 1)),
                    self.o.payload.last.eq(self.i.payload.last),
                ]
        return m


def axi_ports(width: int) -> dict[str, wiring.Member]:
    """Members of a component with an AXI4-Stream from the host, ``s_axis``, and one to the host, ``m_axis``."""
    beat(width)
    signals = {"tdata": width, "tkeep": width // 8, "tlast": 1, "tvalid": 1}
    return {
        **{f"s_axis_{name}": In(bits) for name, bits in signals.items()},
        "s_axis_tready": Out(1),
        **{f"m_axis_{name}": Out(bits) for name, bits in signals.items()},
        "m_axis_tready": In(1),
    }


class AxiStreams(wiring.Component):
    """Two AXI4-Streams as streams of words.

    Parameters
    ----------
    width : int
        Bits of ``tdata``, one of `WIDTHS`.
    domain : str
        Clock domain of ``s_axis`` and ``m_axis``; another one than ``sync`` is crossed by `FifoCrossing`.

    Ports
    -----
    s_axis_tdata, s_axis_tkeep, s_axis_tlast, s_axis_tvalid, s_axis_tready
        From the host. Bytes are kept in whole words, from the lowest on; no beat is empty.
    m_axis_tdata, m_axis_tkeep, m_axis_tlast, m_axis_tvalid, m_axis_tready
        To the host. All bytes are kept but in the last beat.
    inward : Out, stream of `packet.PACKET`
        What came from the host; ``tlast`` is the last of its beat's words.
    outward : In, stream of `packet.PACKET`

    Latency 2 cycles each way, or that of the crossing and 1; throughput one word a cycle of ``sync``.
    """

    def __init__(self, width: int, domain: str = "sync") -> None:
        self.width = width
        self.domain = domain
        super().__init__({**axi_ports(width), "inward": Out(stream.Signature(PACKET)), "outward": In(stream.Signature(PACKET))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unpacker = unpacker = BeatUnpacker(self.width)
        m.submodules.packer = packer = BeatPacker(self.width)
        m.submodules.arrived = arrived = self._buffer(self.domain, "sync")
        m.submodules.leaving = leaving = self._buffer("sync", self.domain)
        connect(m, arrived.o, unpacker.i)
        connect(m, unpacker.o, flipped(self.inward))
        connect(m, flipped(self.outward), packer.i)
        connect(m, packer.o, leaving.i)
        m.d.comb += [
            arrived.i.payload.data.eq(self.s_axis_tdata),
            arrived.i.payload.keep.eq(Cat(self.s_axis_tkeep[::4])),
            arrived.i.payload.last.eq(self.s_axis_tlast),
            arrived.i.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(arrived.i.ready),
            self.m_axis_tdata.eq(leaving.o.payload.data),
            self.m_axis_tkeep.eq(Cat(keep.replicate(4) for keep in leaving.o.payload.keep)),
            self.m_axis_tlast.eq(leaving.o.payload.last),
            self.m_axis_tvalid.eq(leaving.o.valid),
            leaving.o.ready.eq(self.m_axis_tready),
        ]
        return m

    def _buffer(self, i_domain: str, o_domain: str) -> wiring.Component:
        if i_domain == o_domain:
            return StreamRegister(beat(self.width))
        return FifoCrossing(beat(self.width), i_domain=i_domain, o_domain=o_domain)


def join_axi(m: Module, outer: wiring.Component, inner: wiring.Component) -> None:
    """Wire the `axi_ports` of a component to those of one inside it."""
    for name in axi_ports(inner.width):
        mine, its = getattr(outer, name), getattr(inner, name)
        m.d.comb += its.eq(mine) if inner.signature.members[name].flow == In else mine.eq(its)
