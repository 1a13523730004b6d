# SPDX-License-Identifier: Apache-2.0
"""Performance counters."""

from typing import Final

import numpy as np
from amaranth.hdl import Array, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..firmware.arithmetic import IntArray
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

    A step is counted in the cycle after it and can be read one cycle later. Throughput one step of each counter a cycle.
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

    @staticmethod
    def model(steps: IntArray, clear: np.ndarray) -> IntArray:
        """Counters (len(NAMES),) int64 after cycles of steps (cycles, len(NAMES)), cleared where ``clear`` (cycles,) is true."""
        cleared = np.flatnonzero(clear)
        counted = steps[cleared[-1] + 1 :] if len(cleared) else steps
        # Integers wrap at 64 bits, a multiple of the counters' range.
        return np.asarray(counted.sum(axis=0) & (1 << COUNTER_BITS) - 1)

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
