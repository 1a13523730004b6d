# SPDX-License-Identifier: Apache-2.0
"""Performance counters."""

from typing import Final

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..firmware.counters import NAMES

COUNTER_BITS: Final = 48


class PerformanceCounters(wiring.Component):
    """A 48-bit counter for each name of `frenn.firmware.counters.NAMES`.

    Parameters
    ----------
    step_bits : int
        Bits of the largest step in one cycle.

    Ports
    -----
    clear : In
    step_NAME : In
        Added in this cycle, unless the counters are cleared.
    select, value : In, Out
        Counter by its position in `NAMES`; the value of the cycle before.
    """

    def __init__(self, step_bits: int) -> None:
        super().__init__(
            {
                "clear": In(1),
                **{f"step_{name}": In(step_bits) for name in NAMES},
                "select": In(range(len(NAMES))),
                "value": Out(COUNTER_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        totals = []
        for name in NAMES:
            total = Signal(COUNTER_BITS, name=name)
            with m.If(self.clear):
                m.d.sync += total.eq(0)
            with m.Else():
                m.d.sync += total.eq(total + getattr(self, f"step_{name}"))
            totals.append(total)
        m.d.sync += self.value.eq(Array(totals)[self.select])
        return m
