# SPDX-License-Identifier: Apache-2.0
"""Performance counters."""

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..firmware.arithmetic import IntArray
from ..firmware.counters import NAMES
from .pipeline import REPLICA, delay, plain_register
from .primitives.block_memory import BlockMemory
from .primitives.gated_adder import GatedAdder

COUNTER_BITS: Final = 48

TURN: Final = 1 << (len(NAMES) - 1).bit_length()
"""Cycles from one visit of a counter to the next."""


class PerformanceCounters(wiring.Component):
    """A 48-bit counter for each name of `frenn.firmware.counters.NAMES`.

    Steps add up in a small register for each counter; counter after counter, in turn, what it gathered is added to a memory.

    Parameters
    ----------
    step_bits : mapping of str to int
        Bits of the largest step of a counter in one cycle; 1 for one that is not named.
    live : collection of str
        Counters that run on while they are read: each has a register of its own, which is always up to date.

    Ports
    -----
    clear : In
    step_NAME : In
        Added in this cycle, unless the counters are cleared.
    select, value : In, Out
        Counter by its position in `NAMES`; the value follows its steps, and a new choice, within `latency` cycles.

    Throughput one step of each counter a cycle.
    """

    latency: Final = TURN + BlockMemory.latency + 5

    def __init__(self, step_bits: Mapping[str, int], live: Collection[str] = ()) -> None:
        self.live = live
        self.step_bits = {name: step_bits.get(name, 1) for name in NAMES}
        super().__init__(
            {
                "clear": In(1),
                **{f"step_{name}": In(bits) for name, bits in self.step_bits.items()},
                "select": In(range(len(NAMES))),
                "value": Out(COUNTER_BITS),
            }
        )

    @staticmethod
    def model(steps: IntArray, clear: np.ndarray) -> IntArray:
        """Counters (len(NAMES),) int64 after cycles of steps (cycles, len(NAMES)), cleared where ``clear`` (cycles,) is true."""
        cleared = np.flatnonzero(clear)
        counted = steps[cleared[-1] + 1 :] if len(cleared) else steps
        # Integers wrap at 64 bits, a multiple of the counters' range.
        return np.asarray(counted.sum(axis=0) & (1 << COUNTER_BITS) - 1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.totals = totals = BlockMemory(COUNTER_BITS, TURN)
        turn = Signal(range(TURN), reset_less=True)
        # Reset clears by the same wires. What steps come from stands all over the FPGA: they have a cycle more to come near.
        far_clear, clear = Signal(init=1), Signal(init=1)
        m.d.sync += [turn.eq(turn + 1), far_clear.eq(self.clear), clear.eq(far_clear)]

        gathered, steps = [], {}
        for index, (name, bits) in enumerate(self.step_bits.items()):
            part = Signal(bits + TURN.bit_length() - 1, name=name, reset_less=True)
            visited = Signal(name=f"{name}_visited", reset_less=True)
            step = Signal(bits, name=f"{name}_step", reset_less=True, attrs=REPLICA)
            m.d.sync += [
                step.eq(delay(m, getattr(self, f"step_{name}"), 1, f"far_{name}_step")),
                visited.eq(turn == (index - 1) % TURN),
                part.eq(Mux(visited, 0, part) + step),
            ]
            with m.If(clear):
                m.d.sync += part.eq(0)
            gathered.append(part)
            steps[name] = step
        widest = max(map(len, gathered))
        quarters = [Signal(widest, reset_less=True, name=f"quarter_{low}") for low in range(0, TURN, 4)]
        m.d.sync += [
            quarter.eq(Array((*gathered, *[0] * TURN)[4 * index : 4 * index + 4])[turn[:2]]) for index, quarter in enumerate(quarters)
        ]
        taken = Signal(widest, reset_less=True)
        m.d.sync += taken.eq(Array(quarters)[delay(m, turn[2:], 1, "quarter")])

        # After a clear, and at first, a visit replaces what the memory holds.
        old = Signal(range(TURN + 1), init=TURN)
        with m.If(clear):
            m.d.sync += old.eq(TURN)
        with m.Elif(old != 0):
            m.d.sync += old.eq(old - 1)
        added = Signal(COUNTER_BITS, reset_less=True)
        read = BlockMemory.latency
        fresh = delay(m, old != 0, read, "fresh")
        m.submodules.sum = sum_ = GatedAdder(COUNTER_BITS)
        m.d.comb += [sum_.value.eq(totals.read_data), sum_.addend.eq(delay(m, taken, read - 2, "waiting")), sum_.omit.eq(fresh)]
        m.d.sync += added.eq(sum_.total)
        before = delay(m, turn, read, "before")
        written = delay(m, before, 1, "written")
        m.d.comb += [
            totals.read_address.eq(turn),
            totals.write_enable.eq(1),
            totals.write_address.eq(written),
            totals.write_data.eq(added),
        ]
        value = plain_register(m, self.value, "value_register")
        visited = Signal(reset_less=True)
        m.d.sync += visited.eq(before == self.select)
        with m.If(visited):
            m.d.sync += value.eq(added)
        for name in self.live:
            total = Signal(COUNTER_BITS, name=f"live_{name}", reset_less=True)
            # The wide sum may stand far from the others.
            m.d.sync += total.eq(total + delay(m, steps[name], 1, f"{name}_own_step"))
            with m.If(delay(m, clear, 1, f"{name}_own_clear")):
                m.d.sync += total.eq(0)
            chosen = Signal(name=f"{name}_chosen", reset_less=True)
            m.d.sync += chosen.eq(self.select == NAMES.index(name))
            with m.If(chosen):
                m.d.sync += value.eq(total)
        return m
