# SPDX-License-Identifier: Apache-2.0
"""Lists of the neurons that matter: changed ones, or those that are not zero."""

from collections.abc import Iterable, Sequence
from typing import Final

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .primitives.block_memory import BlockMemory

INDEX_BITS = 12
"""Bits of a neuron's number within its layer."""


class EventList(wiring.Component):
    """(neuron, value) pairs of every layer, written in one walk over the layer and read any number of times.

    The list of a layer begins at the address of the layer's first neuron, so it always has room; how long it is
    stands in a second memory, by the layer's number.

    Parameters
    ----------
    value_bits : int
        Signed bits of a value.
    depth : int
        Neurons of all layers.
    nodes : int
        Layers.

    Ports
    -----
    begin, base, node : In
        A layer's list begins anew at ``base``; ``node`` is the layer's number.
    push, index, value : In
        Append a pair; at the earliest in the cycle after ``begin``.
    length : Out
        Pairs of the list that is written which can be read.
    read_address, entry : In, Out
        A pair, `latency` cycles after its address; not one that is pushed in the cycle of its address.
    read_node, count : In, Out
        Length of a layer's list, `latency` cycles after its number, asked for at the earliest in the second cycle after the last push.

    Throughput one pair a cycle, written and read.
    """

    latency: Final = BlockMemory.latency

    def __init__(self, value_bits: int, depth: int, nodes: int) -> None:
        self.value_bits = value_bits
        self.depth = depth
        self.nodes = nodes
        self.layout = data.StructLayout({"index": INDEX_BITS, "value": signed(value_bits)})
        super().__init__(
            {
                "begin": In(1),
                "base": In(range(depth)),
                "node": In(range(nodes)),
                "push": In(1),
                "index": In(INDEX_BITS),
                "value": In(signed(value_bits)),
                "length": Out(INDEX_BITS),
                "read_address": In(range(depth)),
                "entry": Out(self.layout),
                "read_node": In(range(nodes)),
                "count": Out(INDEX_BITS),
            }
        )

    @staticmethod
    def model(walks: Iterable[tuple[int, int, Sequence[tuple[int, int]]]]) -> tuple[dict[int, tuple[int, int]], dict[int, int]]:
        """Contents after walks over layers: pairs by address and lengths by node.

        Parameters
        ----------
        walks : iterable of (base, node, pairs)
            In their order; a walk over the same layer replaces the length, and the pairs that it reaches.
        """
        entries: dict[int, tuple[int, int]] = {}
        counts = {}
        for base, node, pairs in walks:
            entries.update(enumerate(pairs, base))
            counts[node] = len(pairs)
        return entries, counts

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.entries = entries = BlockMemory(self.layout, self.depth)
        m.submodules.counts = counts = BlockMemory(INDEX_BITS, self.nodes)

        address = Signal(range(self.depth), reset_less=True)
        node = Signal(range(self.nodes), reset_less=True)
        dirty = Signal()
        m.d.sync += dirty.eq(self.begin | self.push)
        with m.If(self.begin):
            m.d.sync += [address.eq(self.base), self.length.eq(0), node.eq(self.node)]
        with m.Elif(self.push):
            m.d.sync += [address.eq(address + 1), self.length.eq(self.length + 1)]
        m.d.comb += [
            entries.write_enable.eq(self.push),
            entries.write_address.eq(address),
            entries.write_data.index.eq(self.index),
            entries.write_data.value.eq(self.value),
            counts.write_enable.eq(dirty),
            counts.write_address.eq(node),
            counts.write_data.eq(self.length),
            entries.read_address.eq(self.read_address),
            self.entry.eq(entries.read_data),
            counts.read_address.eq(self.read_node),
            self.count.eq(counts.read_data),
        ]
        return m
