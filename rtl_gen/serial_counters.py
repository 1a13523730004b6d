# SPDX-License-Identifier: Apache-2.0
"""Performance counters that share one adder of 16 bits."""

from collections.abc import Iterable
from typing import Final

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..firmware.counters import NAMES
from .primitives.small_memory import SmallMemory

STEP_BITS: Final = 20
"""Bits of the largest step of a counter."""

LIMBS: Final = 3
"""Words of 16 bits of a counter."""

INDEX: Final = range(len(NAMES))


def step_signature() -> wiring.Signature:
    """A step of one counter: ``valid`` until ``ready``; which one, and by how much."""
    return wiring.Signature({"valid": Out(1), "index": Out(INDEX), "amount": Out(STEP_BITS), "ready": In(1)})


class SerialCounters(wiring.Component):
    """A 48-bit counter for each name of `frenn.firmware.counters.NAMES`, in one block RAM.

    Ports
    -----
    clear : In
        All counters become 0.
    step : In
        See `step_signature`; taken while nothing else is under way.
    framing_error, overrun : In
        Pulses that are counted, 64 cycles apart at least.
    running : In
        A program runs: ``cycles`` and ``run_cycles`` count on by themselves.
    flush : In
        What was counted of them is added now; it is otherwise when it is much.
    hold : In
        No flush begins, so that the words of a counter belong together.
    busy : Out
        A step, a flush or a clear is under way, or waits.
    address : In
        Four times the position of a counter in `NAMES`, plus the number of one of its `LIMBS` words, lowest first.
    word : Out, 16
        A cycle later, unless something is under way.

    A step takes 7 cycles. Cycles in which a clear is under way are not counted.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "clear": In(1),
                "step": In(step_signature()),
                "framing_error": In(1),
                "overrun": In(1),
                "running": In(1),
                "flush": In(1),
                "hold": In(1),
                "busy": Out(1),
                "address": In(range(4 * len(NAMES))),
                "word": Out(16),
            }
        )

    @staticmethod
    def model(steps: Iterable[tuple[int, int]]) -> list[int]:
        """Counters after steps of (index, amount)."""
        totals = [0] * len(NAMES)
        for index, amount in steps:
            totals[index] = (totals[index] + amount) % (1 << 16 * LIMBS)
        return totals

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.totals = totals = SmallMemory(16, 4 * len(NAMES))
        index = Signal(INDEX, reset_less=True)
        limb = Signal(2, reset_less=True)
        amount = Signal(STEP_BITS, reset_less=True)
        total = Signal(STEP_BITS + 1)
        elapsed = Signal(16)
        kept = Signal(16, reset_less=True)
        flushing, of_run, clearing, active = Signal(), Signal(), Signal(), Signal()
        place = Signal.like(self.address)
        m.d.comb += [
            place.eq(Cat(limb, index)),
            total.eq(totals.read_data + amount),
            totals.read_address.eq(Mux(active, place, self.address)),
            totals.write_address.eq(place),
            totals.write_data.eq(Mux(clearing, 0, total[:16])),
            self.word.eq(totals.read_data),
        ]
        m.d.sync += elapsed.eq(elapsed + 1)
        with m.If(self.flush | elapsed[-1]):
            m.d.sync += flushing.eq(1)
        wanted = Signal()
        with m.If(self.clear):
            m.d.sync += wanted.eq(1)
        line = {name: Signal(name=f"waiting_{name}") for name in ("framing_error", "overrun")}
        with m.FSM() as fsm:
            m.d.comb += [active.eq(~fsm.ongoing("IDLE")), self.busy.eq(active | flushing | of_run | wanted)]
            with m.State("IDLE"):
                m.d.sync += limb.eq(0)
                with m.If(wanted):
                    m.d.sync += [wanted.eq(self.clear), clearing.eq(1), index.eq(0)]
                    m.next = "CLEAR"
                with m.Elif(of_run):
                    m.d.sync += [of_run.eq(0), index.eq(NAMES.index("run_cycles")), amount.eq(kept)]
                    m.next = "READ"
                with m.Elif(flushing & ~self.hold):
                    m.d.sync += [
                        flushing.eq(0),
                        of_run.eq(self.running),
                        index.eq(NAMES.index("cycles")),
                        amount.eq(elapsed),
                        kept.eq(elapsed),
                        elapsed.eq(1),
                    ]
                    m.next = "READ"
                for name, waiting in line.items():
                    with m.Elif(waiting & ~flushing & ~self.hold):
                        m.d.sync += [waiting.eq(0), index.eq(NAMES.index(f"{name}s")), amount.eq(1)]
                        m.next = "READ"
                with m.Elif(~flushing):
                    m.d.comb += self.step.ready.eq(1)
                    m.d.sync += [index.eq(self.step.index), amount.eq(self.step.amount)]
                    with m.If(self.step.valid):
                        m.next = "READ"
            with m.State("READ"):
                m.next = "ADD"
            with m.State("ADD"):
                m.d.comb += totals.write_enable.eq(1)
                m.d.sync += [amount.eq(total >> 16), limb.eq(limb + 1)]
                m.next = "READ"
                with m.If(limb == LIMBS - 1):
                    m.next = "IDLE"
            with m.State("CLEAR"):
                m.d.comb += totals.write_enable.eq(1)
                m.d.sync += [Cat(limb, index).eq(Cat(limb, index) + 1), elapsed.eq(0)]
                with m.If(place == 4 * len(NAMES) - 1):
                    m.d.sync += [clearing.eq(0), flushing.eq(0), of_run.eq(0)]
                    m.next = "IDLE"
        for name, waiting in line.items():
            with m.If(getattr(self, name)):
                m.d.sync += waiting.eq(1)
        return m
