# SPDX-License-Identifier: Apache-2.0
"""The piecewise-linear activation."""

from typing import Final

from amaranth.hdl import Array, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..firmware.arithmetic import ACTIVATIONS, BASE_FRACTION, SLOPE_FRACTION, IntArray, activate, activation_table
from ..firmware.formats import Format
from .pipeline import delay, plain_register
from .primitives.multiplier import Multiplier


class Activation(wiring.Component):
    """Segment by segment, ``base + slope * within`` of a pre-activation's magnitude.

    Parameters
    ----------
    pre_activation : Format
        S2.n of the input.

    Ports
    -----
    value : In, signed
        Pre-activation, S2.n.
    kind : In, 2
        Index into `ACTIVATIONS`. Stable while values are under way.
    magnitude : Out, n + 7
        Exact magnitude of the state, n + 6 fraction bits; 1 is reached.
    negative : Out
        The state's sign.
    slope : Out, 7
        Slope of the segment, U1.6.

    Latency 7 cycles, throughput one value a cycle.
    """

    latency: Final = 4 + Multiplier.latency

    def __init__(self, pre_activation: Format) -> None:
        self.fraction = pre_activation.fraction
        super().__init__(
            {
                "value": In(signed(pre_activation.width)),
                "kind": In(2),
                "magnitude": Out(self.fraction + SLOPE_FRACTION + 1),
                "negative": Out(1),
                "slope": Out(SLOPE_FRACTION + 1),
            }
        )

    def model(self, values: IntArray, activation: str) -> tuple[IntArray, IntArray]:
        """Signed exact states, n + 6 fraction bits but never quite 1, and slopes of pre-activations."""
        return activate(values, self.fraction, self.fraction + SLOPE_FRACTION, activation)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        below = self.fraction - 2
        tables = [activation_table(name) for name in ACTIVATIONS]

        magnitude = Signal(self.fraction + 2, reset_less=True)
        negative = Signal(reset_less=True)
        m.d.sync += [magnitude.eq(Mux(self.value < 0, -self.value, self.value)), negative.eq(self.value < 0)]

        base = Signal(BASE_FRACTION + 1, reset_less=True)
        slope = Signal(SLOPE_FRACTION + 1, reset_less=True)
        within = Signal(max(below, 1), reset_less=True)
        sign = Signal(reset_less=True)
        # What every kind would give, then the one that is asked for.
        zero = Signal(reset_less=True)
        found = [
            (Signal.like(base, name=f"base_{name}", reset_less=True), Signal.like(slope, name=f"slope_{name}", reset_less=True))
            for name in ACTIVATIONS
        ]
        for (of_bases, of_slopes), (kind_base, kind_slope) in zip(tables, found, strict=True):
            m.d.sync += [
                kind_base.eq(Array(int(value) for value in of_bases)[magnitude[below:]]),
                kind_slope.eq(Array(int(value) for value in of_slopes)[magnitude[below:]]),
            ]
        m.d.sync += [
            zero.eq((self.kind == ACTIVATIONS.index("hard_sigmoid")) & negative),
            base.eq(Mux(zero, 0, Array(pair[0] for pair in found)[self.kind])),
            slope.eq(Mux(zero, 0, Array(pair[1] for pair in found)[self.kind])),
            within.eq(delay(m, magnitude[:below], 1, "within")),
            sign.eq(delay(m, negative, 1, "sign_kept") & ~zero),
        ]

        # Both factors are unsigned: a zero above them is their sign.
        m.submodules.multiplier = multiplier = Multiplier(len(within) + 1, len(slope) + 1)
        m.d.comb += [multiplier.left.eq(within), multiplier.right.eq(slope)]
        waiting = {name: delay(m, value, Multiplier.latency, name) for name, value in (("base", base), ("sign", sign), ("slope", slope))}
        product = multiplier.product[: len(within) + len(slope)]
        m.d.sync += [
            plain_register(m, self.magnitude, "magnitude_register").eq(
                (waiting["base"] << (SLOPE_FRACTION + self.fraction - BASE_FRACTION)) + product
            ),
            plain_register(m, self.negative, "negative_register").eq(waiting["sign"]),
            plain_register(m, self.slope, "slope_register").eq(waiting["slope"]),
        ]
        return m
