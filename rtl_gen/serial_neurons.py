# SPDX-License-Identifier: Apache-2.0
"""ACTIVATE, DEVIATE, ERROR and PREDICT with one adder and one multiplier."""

from typing import Final

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..firmware.arithmetic import (
    ACTIVATIONS,
    BASE_FRACTION,
    LOGIT_BITS,
    LOGIT_FRACTION,
    RECIPROCAL_FRACTION,
    RECIPROCAL_INDEX_BITS,
    SLOPE_FRACTION,
    TERM_FRACTION,
    activation_table,
    reciprocal_table,
)
from ..firmware.counters import NAMES
from ..firmware.isa import Op
from ..firmware.parameters import EngineParameters
from .event_list import INDEX_BITS
from .instruction import INSTRUCTION
from .primitives.multiplier import Multiplier
from .serial_counters import step_signature

MOST: Final = 31
"""Bits that a softmax term is shifted by at the most: nothing is left of it then."""


class SerialNeurons(wiring.Component):
    """Walks over a layer, one neuron after the other.

    Parameters
    ----------
    parameters : EngineParameters
        Of one lane.

    Ports
    -----
    start, instruction : In
        Execute; only while `idle`. The instruction is stable until then.
    idle : Out
    label : In
        Target of the sample, for ERROR.
    neuron : Out
        The neuron that is read, or written.
    drive, state, slope, deviation : In
        Of the neuron, a cycle later.
    state_write, deviation_write, change_write, value, new_slope, change : Out
        What is written.
    clear_changed, changed : In, Out
        Whether any state or deviation has changed since cleared.
    wrong : Out
        Whether the last ERROR had an element that is not zero; false after PREDICT.
    prediction : Out
        Of the last ERROR or PREDICT.
    count : Out
        See `serial_counters.step_signature`.

    A neuron takes, besides its two shifts of a bit a cycle, 15 cycles in ACTIVATE and DEVIATE.
    """

    def __init__(self, parameters: EngineParameters) -> None:
        self.parameters = parameters
        vector = signed(parameters.vector_bits)
        super().__init__(
            {
                "start": In(1),
                "instruction": In(INSTRUCTION),
                "idle": Out(1),
                "label": In(INDEX_BITS),
                "neuron": Out(range(parameters.neuron_depth)),
                "drive": In(signed(parameters.drive_bits)),
                "state": In(vector),
                "slope": In(SLOPE_FRACTION + 1),
                "deviation": In(vector),
                "state_write": Out(1),
                "deviation_write": Out(1),
                "change_write": Out(1),
                "value": Out(vector),
                "new_slope": Out(SLOPE_FRACTION + 1),
                "change": Out(signed(parameters.vector_bits + 1)),
                "clear_changed": In(1),
                "changed": Out(1),
                "wrong": Out(1),
                "prediction": Out(INDEX_BITS),
                "count": Out(step_signature()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parameters, now = self.parameters, self.instruction
        pre_activation, drive_format = parameters.pre_activation, parameters.drive
        activating, deviating, of_error = Signal(), Signal(), Signal()
        m.d.comb += [activating.eq(now.op == Op.ACTIVATE), deviating.eq(now.op == Op.DEVIATE), of_error.eq(~activating & ~deviating)]

        # One bit is kept below the point: it is the half that decides the rounding.
        exact_bits = pre_activation.fraction + SLOPE_FRACTION + 1
        sloped_bits = drive_format.width + SLOPE_FRACTION + 1
        scaled_bits = TERM_FRACTION + RECIPROCAL_FRACTION + 2
        v = Signal(signed(max(parameters.drive_bits, exact_bits + 1, sloped_bits, scaled_bits) + 1), reset_less=True)
        negative = Signal(reset_less=True)
        left = Signal(7, reset_less=True)
        # The adder halves, rounds and negates.
        negate, half = Signal(), Signal()
        added = Signal.like(v)
        m.d.comb += added.eq(Mux(negate, ~v, v >> 1) + (negate | half))

        index, rows_left = Signal(INDEX_BITS, reset_less=True), Signal(INDEX_BITS, reset_less=True)

        def rewind() -> list[object]:
            return [self.neuron.eq(now.target), index.eq(0), rows_left.eq(now.rows)]

        # What the rounding under way is of, and what the walk is for.
        second, term, error = Signal(), Signal(), Signal()
        scanning, largest, summing = Signal(), Signal(), Signal()
        predict = now.op == Op.PREDICT
        labelled = Signal()
        m.d.sync += labelled.eq(index == self.label)

        bits = Signal(5)
        m.d.comb += bits.eq(
            Mux(
                second | error,
                now.bits,
                Mux(activating, pre_activation.magnitude_bits, Mux(deviating, drive_format.magnitude_bits, LOGIT_BITS)),
            )
        )
        mask = Signal(len(v))
        m.d.sync += mask.eq(Cat(bits > place for place in range(len(v))))
        over = Signal(reset_less=True)

        # Activation tables.
        below = pre_activation.fraction - 2
        segment = v[below : below + 4]
        tables = [activation_table(name) for name in ACTIVATIONS]
        zero = Signal()
        m.d.comb += zero.eq((now.kind == ACTIVATIONS.index("hard_sigmoid")) & negative)
        base, slope = Signal(BASE_FRACTION + 1, reset_less=True), Signal(SLOPE_FRACTION + 1, reset_less=True)
        bases = Array(int(value) for table in (*tables, tables[0]) for value in table[0])
        slopes = Array(int(value) for table in (*tables, tables[0]) for value in table[1])

        # Softmax.
        total = Signal(TERM_FRACTION + 1 + len(range(parameters.neuron_depth)).bit_length(), reset_less=True)
        largest_logit = Signal(signed(LOGIT_BITS + 1), reset_less=True)
        distance = Signal(signed(LOGIT_BITS + 2), reset_less=True)
        whole = Signal(LOGIT_BITS + 2 - LOGIT_FRACTION)
        m.d.comb += whole.eq(-(distance >> LOGIT_FRACTION))
        halvings = Signal(range(INDEX_BITS + 1), reset_less=True)
        reciprocal = Signal(RECIPROCAL_FRACTION + 1, reset_less=True)
        entries = Array(reciprocal_table().tolist())

        # Both factors are unsigned: a zero above them is their sign.
        magnitude_bits = max(drive_format.magnitude_bits, TERM_FRACTION + 1, max(below, 1))
        m.submodules.multiplier = multiplier = Multiplier(RECIPROCAL_FRACTION + 2, magnitude_bits + 1)
        m.d.comb += multiplier.right.eq(v[:magnitude_bits])
        with m.If(activating):
            m.d.comb += [multiplier.left.eq(slope), multiplier.right.eq(v[:below])]
        with m.Elif(deviating):
            m.d.comb += multiplier.left.eq(self.slope)
        with m.Else():
            m.d.comb += multiplier.left.eq(reciprocal)
        product = Signal(len(v) - 1)
        m.d.comb += product.eq(
            multiplier.product[:-1] + Mux(activating, base << (SLOPE_FRACTION + pre_activation.fraction - BASE_FRACTION), 0)
        )

        before = Mux(now.first, 0, Mux(activating, self.state, self.deviation))
        m.d.comb += [
            self.value.eq(v),
            self.new_slope.eq(slope),
            self.change.eq(self.value - before),
        ]
        moved = Signal(reset_less=True)
        with m.If(self.clear_changed):
            m.d.sync += self.changed.eq(0)

        count = self.count
        counted = Signal(range(len(NAMES)))
        m.d.comb += count.index.eq(counted)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(1)
                m.d.sync += [*rewind(), scanning.eq(of_error), largest.eq(0), summing.eq(0)]
                with m.If(self.start):
                    with m.If(of_error):
                        m.d.sync += self.wrong.eq(0)
                    m.next = "READ"
            with m.State("READ"):
                m.d.sync += [second.eq(0), term.eq(0), error.eq(0), left.eq(now.round)]
                m.next = "LOAD"
            with m.State("LOAD"):
                m.next = "SHIFT"
                with m.If(scanning):
                    m.next = "ADVANCE"
                with m.If(~scanning | (index == 0) | (self.drive > (v >> 1))):
                    m.d.sync += v.eq(Cat(Const(0, 1), self.drive).as_signed())
                    with m.If(scanning):
                        m.d.sync += self.prediction.eq(index)

            # Rounding and saturation.
            with m.State("SHIFT"):
                with m.If(left != 0):
                    m.d.sync += [v.eq(added), left.eq(left - 1)]
                with m.Else():
                    m.next = "ROUND"
            with m.State("ROUND"):
                m.d.comb += half.eq(v[0])
                m.d.sync += v.eq(added)
                m.next = "MAGNITUDE"
                with m.If(term):
                    m.next = "TERM"
                with m.If(error):
                    m.next = "ERROR"
            with m.State("MAGNITUDE"):
                m.d.comb += negate.eq(1)
                with m.If(~(activating & second)):
                    m.d.sync += negative.eq(v[-1])
                with m.If(v[-1]):
                    m.d.sync += v.eq(added)
                m.next = "CLIP"
            with m.State("ERROR"):
                # The target less the probability: of the label's own, one less it.
                m.d.comb += negate.eq(1)
                m.d.sync += negative.eq(~labelled)
                with m.If(labelled):
                    m.d.sync += v.eq(added)
                m.next = "CLIP"
            with m.State("CLIP"):
                m.d.sync += over.eq(Mux(error & labelled, v == 0, (v & ~mask).any()))
                m.next = "CLIPPED"
            with m.State("CLIPPED"):
                with m.If(over):
                    m.d.sync += v.eq(mask)
                with m.Elif(error):
                    m.d.sync += v.eq(v & mask)
                m.next = "COUNT CLIPPED"
            with m.State("COUNT CLIPPED"):
                m.d.comb += [
                    count.amount.eq(1),
                    count.valid.eq(over & ~largest & (error | ~of_error & ~(activating & second) | of_error & summing)),
                    counted.eq(
                        Mux(
                            activating,
                            NAMES.index("saturated_pre_activation"),
                            Mux(
                                deviating,
                                Mux(second, NAMES.index("saturated_deviation"), NAMES.index("saturated_drive")),
                                Mux(error, NAMES.index("saturated_error"), NAMES.index("saturated_logit")),
                            ),
                        )
                    ),
                ]
                with m.If(~count.valid | count.ready):
                    m.next = "SIGN"
                    with m.If(~of_error & ~second):
                        m.next = "TABLE"
            with m.State("TABLE"):
                m.d.sync += left.eq(Multiplier.latency)
                with m.If(activating):
                    m.d.sync += [
                        base.eq(Mux(zero, 0, bases[Cat(segment, now.kind)])),
                        slope.eq(Mux(zero, 0, slopes[Cat(segment, now.kind)])),
                    ]
                m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.d.sync += [
                        v.eq(Cat(Const(0, 1), product)),
                        left.eq(now.round2 + Mux(of_error, halvings, 0)),
                        second.eq(~of_error),
                        error.eq(of_error),
                        term.eq(0),
                    ]
                    m.next = "SHIFT"
                    with m.If(deviating):
                        m.next = "SIGN PRODUCT"
            with m.State("SIGN PRODUCT"):
                m.d.comb += negate.eq(1)
                with m.If(negative):
                    m.d.sync += v.eq(added)
                m.next = "SHIFT"
            with m.State("SIGN"):
                m.d.comb += negate.eq(1)
                with m.If(negative):
                    m.d.sync += v.eq(added)
                m.next = "STORE"
                with m.If(of_error & ~error):
                    m.next = "DISTANCE"
                with m.If(largest):
                    m.next = "LARGEST"
            with m.State("STORE"):
                m.d.comb += [self.state_write.eq(activating), self.deviation_write.eq(~activating), self.change_write.eq(1)]
                m.d.sync += moved.eq(self.change != 0)
                with m.If(error & (self.value != 0)):
                    m.d.sync += self.wrong.eq(1)
                m.next = "COUNT CHANGED"
            with m.State("COUNT CHANGED"):
                m.d.comb += [
                    count.valid.eq(moved & ~of_error),
                    count.amount.eq(1),
                    counted.eq(Mux(activating, NAMES.index("changed_states"), NAMES.index("changed_deviations"))),
                ]
                with m.If(moved & ~of_error):
                    m.d.sync += self.changed.eq(1)
                with m.If(~count.valid | count.ready):
                    m.next = "ADVANCE"
            with m.State("ADVANCE"):
                m.d.sync += [self.neuron.eq(self.neuron + 1), index.eq(index + 1), rows_left.eq(rows_left - 1)]
                m.next = "READ"
                with m.If(rows_left == 1):
                    m.next = "COUNT WALK"
            with m.State("COUNT WALK"):
                m.d.comb += [count.valid.eq(1), count.amount.eq(now.rows), counted.eq(NAMES.index("serial_issues"))]
                m.d.sync += [*rewind(), scanning.eq(0), summing.eq(0), left.eq(now.round)]
                with m.If(count.ready):
                    m.next = "IDLE"
                    with m.If(scanning & ~predict):
                        m.d.sync += largest.eq(1)
                        m.next = "SHIFT"
                    with m.If(summing):
                        m.next = "NORMALISE"

            # Softmax: the largest logit, the sum of the terms, and each term again.
            with m.State("LARGEST"):
                m.d.sync += [largest_logit.eq(v), largest.eq(0), summing.eq(1), total.eq(0), halvings.eq(0)]
                m.next = "READ"
            with m.State("DISTANCE"):
                m.d.sync += distance.eq(v - largest_logit)
                m.next = "MANTISSA"
            with m.State("MANTISSA"):
                mantissa = Cat(Const(0, TERM_FRACTION - LOGIT_FRACTION + 1), distance[:LOGIT_FRACTION], Const(1, 1))
                m.d.sync += [v.eq(mantissa), term.eq(1), left.eq(Mux(whole > MOST, MOST, whole))]
                m.next = "SHIFT"
            with m.State("TERM"):
                m.d.sync += left.eq(Multiplier.latency)
                m.next = "MULTIPLY"
                with m.If(summing):
                    m.d.sync += total.eq(total + v[: TERM_FRACTION + 1])
                    m.next = "ADVANCE"
            with m.State("NORMALISE"):
                with m.If(total[TERM_FRACTION + 1 :].any()):
                    m.d.sync += [total.eq(total >> 1), halvings.eq(halvings + 1)]
                with m.Else():
                    m.next = "RECIPROCAL"
            with m.State("RECIPROCAL"):
                m.d.sync += reciprocal.eq(entries[total[TERM_FRACTION - RECIPROCAL_INDEX_BITS : TERM_FRACTION]])
                m.next = "READ"
        return m
