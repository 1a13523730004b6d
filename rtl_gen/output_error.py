# SPDX-License-Identifier: Apache-2.0
"""The output error: target minus a base-2 softmax, and the prediction."""

import numpy as np
from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..firmware.arithmetic import (
    LOGIT_BITS,
    LOGIT_FRACTION,
    RECIPROCAL_FRACTION,
    RECIPROCAL_INDEX_BITS,
    TERM_FRACTION,
    IntArray,
    output_error,
    reciprocal_table,
    round_half_up,
    saturate,
)
from .pipeline import delay, plain_register
from .primitives.multiplier import Multiplier
from .rounding import RoundSaturate

CLASS_BITS = 12
ERROR_BITS = 15


class OutputError(wiring.Component):
    """Reads the drives of the output layer three times and writes its errors.

    The first pass finds the largest exact drive, which gives the prediction and, rounded, the largest logit. The second sums the
    softmax terms. The third computes each term again, multiplies it by the reciprocal of the sum and subtracts it from the target.

    Parameters
    ----------
    drive_bits : int
        Bits of a drive, signed.
    read_latency : int
        Cycles from ``index`` to its ``drive``; 1 for a memory whose read port is wired straight to both.

    Ports
    -----
    start : In
        A pulse begins; ignored while a computation is under way. The inputs below are stable from then until ``done``.
    predict_only : In
        Only the first pass is made, and no error leaves.
    classes : In, 12
        Neurons of the output layer, at least 2.
    label : In, 12
        The target's index, less than ``classes``.
    shift : In, 6
        Bits to drop from a drive to the fraction of a logit.
    error_bits : In, 5
        Fraction bits of the error, 1 to 15.
    index : Out, 12
    index_valid : Out
        The drive of neuron ``index`` is asked for.
    drive : In, signed(drive_bits)
    error_valid : Out
        An error leaves; there is no back-pressure.
    error_index : Out, 12
        Counts from 0 to ``classes - 1``.
    error : Out, signed(16)
        S0.error_bits.
    saturated : Out
        With ``error_valid``: the error was clipped.
    logit_saturated : Out
        One pulse for each logit that was clipped; none if ``predict_only``.
    prediction : Out, 12
        First index of the largest exact drive; valid from ``done`` to the next ``start``.
    done : Out
        A pulse after the last error.

    The first pass reads a drive in every second cycle, the others one a cycle. ``done`` comes ``4 classes + 3 read_latency + 53`` cycles
    after ``start``, and two more for every halving that brings the sum of terms below 2; with ``predict_only``,
    ``2 classes + read_latency + 3`` cycles after it. The other inputs are looked at from the cycle after ``start`` on.
    """

    def __init__(self, drive_bits: int, read_latency: int) -> None:
        self.drive_bits = drive_bits
        self.read_latency = read_latency
        super().__init__(
            {
                "start": In(1),
                "predict_only": In(1),
                "classes": In(CLASS_BITS),
                "label": In(CLASS_BITS),
                "shift": In(6),
                "error_bits": In(5),
                "index": Out(CLASS_BITS),
                "index_valid": Out(1),
                "drive": In(signed(drive_bits)),
                "error_valid": Out(1),
                "error_index": Out(CLASS_BITS),
                "error": Out(signed(ERROR_BITS + 1)),
                "saturated": Out(1),
                "logit_saturated": Out(1),
                "prediction": Out(CLASS_BITS),
                "done": Out(1),
            }
        )

    @staticmethod
    def latency(classes: int, read_latency: int, halvings: int, predict_only: bool) -> int:
        """Cycles from ``start`` to ``done``."""
        if predict_only:
            return 2 * classes + read_latency + 3
        return 4 * classes + 3 * read_latency + 53 + 2 * halvings

    @staticmethod
    def model(drives: IntArray, label: int, shift: int, error_bits: int) -> tuple[IntArray, np.ndarray, int, int]:
        """What leaves for drives, (classes,) int64.

        Returns
        -------
        error, saturated : (classes,) int64, (classes,) bool
        logit_saturated : int
            Logits clipped.
        prediction : int
        """
        rounded = round_half_up(drives, shift)
        logits = saturate(rounded, LOGIT_BITS)
        error, saturated = output_error(logits, label, error_bits)
        return error, saturated, int((logits != rounded).sum()), int(np.argmax(drives))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.logit = logit = RoundSaturate(self.drive_bits, LOGIT_BITS + 1)
        m.d.comb += [logit.shift.eq(self.shift), logit.bits.eq(LOGIT_BITS)]
        # Of the instruction, and as far away.
        error_bits = delay(m, self.error_bits, 1, "error_bits")
        table = reciprocal_table().tolist()

        scanning, summing, subtracting, restart = Signal(), Signal(), Signal(), Signal()
        m.d.sync += restart.eq(0)

        # Addresses: all classes once, whenever a pass starts.
        left = Signal(CLASS_BITS, reset_less=True)
        at_last, last = Signal(), Signal()
        m.d.comb += last.eq(self.index_valid & at_last)
        # The first pass compares in two cycles, so it asks in every second one.
        resting = Signal()
        with m.If(restart):
            m.d.sync += [self.index.eq(0), self.index_valid.eq(1), resting.eq(0), left.eq(self.classes - 1), at_last.eq(0)]
        with m.Elif(self.index_valid & scanning):
            m.d.sync += [self.index_valid.eq(0), resting.eq(~last)]
        with m.Elif(resting):
            m.d.sync += [self.index.eq(self.index + 1), self.index_valid.eq(1), resting.eq(0), left.eq(left - 1), at_last.eq(left == 1)]
        with m.Elif(self.index_valid):
            m.d.sync += [self.index.eq(self.index + 1), self.index_valid.eq(~last), left.eq(left - 1), at_last.eq(left == 1)]

        # First pass.
        sample = Signal(signed(self.drive_bits), reset_less=True)
        m.d.sync += sample.eq(self.drive)
        sampled, sampled_last = delay(m, Cat(self.index_valid, last), self.read_latency + 1, "sampled")
        sampled_index = delay(m, self.index, self.read_latency + 1, "sampled_index")
        largest = Signal(signed(self.drive_bits), reset_less=True)
        candidate, candidate_index = Signal.like(largest), Signal(CLASS_BITS, reset_less=True)
        nothing, compared, compared_last = Signal(), Signal(), Signal()
        # In two halves, since a comparison of all bits takes too long. The upper ones carry the sign, turned round: then they compare as
        # unsigned ones do, by a carry alone.
        middle = self.drive_bits // 2
        turned = 1 << (self.drive_bits - middle - 1)
        above, level, below = (Signal(reset_less=True, name=name) for name in ("above", "level", "below"))
        m.d.sync += [
            candidate.eq(sample),
            candidate_index.eq(sampled_index),
            above.eq((sample[middle:] ^ turned) > (largest[middle:] ^ turned)),
            level.eq(sample[middle:] == largest[middle:]),
            below.eq(sample[:middle] > largest[:middle]),
            compared.eq(scanning & sampled),
            compared_last.eq(scanning & sampled_last),
        ]
        prediction = plain_register(m, self.prediction, "prediction_register")
        with m.If(compared & (nothing | above | (level & below))):
            m.d.sync += [largest.eq(candidate), prediction.eq(candidate_index)]
        with m.If(restart):
            m.d.sync += nothing.eq(1)
        with m.Elif(compared):
            m.d.sync += nothing.eq(0)

        # Terms, for the second and third pass.
        m.d.comb += logit.value.eq(sample)
        rounded, rounded_last = delay(m, Cat(sampled, sampled_last) & (summing | subtracting).replicate(2), logit.latency, "rounded")
        m.d.sync += self.logit_saturated.eq(logit.saturated & rounded & summing)
        largest_logit = Signal(signed(LOGIT_BITS + 1), reset_less=True)
        distance = Signal(signed(LOGIT_BITS + 2), reset_less=True)
        whole = Signal(LOGIT_BITS + 2 - LOGIT_FRACTION, reset_less=True)
        fraction = Signal(LOGIT_FRACTION, reset_less=True)
        # One bit is kept below the point, as in RoundSaturate, whose shift cannot change from value to value.
        mantissa = Cat(Const(0, TERM_FRACTION - LOGIT_FRACTION + 1), fraction, Const(1, 1))
        coarse, fine = Signal(len(mantissa), reset_less=True), Signal(len(mantissa), reset_less=True)
        term = Signal(TERM_FRACTION + 1, reset_less=True)
        m.d.sync += [
            distance.eq(logit.result - largest_logit),
            whole.eq(-(distance >> LOGIT_FRACTION)),
            fraction.eq(distance[:LOGIT_FRACTION]),
            coarse.eq(mantissa >> Cat(Const(0, 3), whole[3:])),
            fine.eq(coarse >> delay(m, whole[:3], 1, "within")),
            term.eq((fine >> 1) + fine[0]),
        ]
        summed, summed_last = delay(m, Cat(rounded, rounded_last), 5, "term")

        # The sum: after the second pass it is halved until it lies in [1, 2), and its leading bits address the table.
        # It is made in a register of its own, so that no choice stands behind the adder.
        gathered = Signal(TERM_FRACTION + CLASS_BITS + 1, reset_less=True)
        total, large, halving = Signal.like(gathered), Signal(reset_less=True), Signal(reset_less=True)
        reciprocal = Signal(RECIPROCAL_FRACTION + 1, reset_less=True)
        # The table in logic: its eighths first, then one of them.
        index = total[TERM_FRACTION - RECIPROCAL_INDEX_BITS : TERM_FRACTION]
        size = len(table) // 8
        eighths = [Signal(RECIPROCAL_FRACTION + 1, reset_less=True, name=f"eighth_{number}") for number in range(8)]
        m.d.sync += [eighth.eq(Array(table[number * size : (number + 1) * size])[index[:-3]]) for number, eighth in enumerate(eighths)]
        with m.If(summing & summed):
            m.d.sync += gathered.eq(gathered + term)

        # Third pass.
        m.submodules.probability = probability = RoundSaturate(TERM_FRACTION + RECIPROCAL_FRACTION + 2, ERROR_BITS + 3)
        # Both factors are unsigned: a zero above them is their sign.
        m.submodules.multiplier = multiplier = Multiplier(len(term) + 1, len(reciprocal) + 1)
        m.d.comb += [
            # A probability is at most 1: nothing is clipped here.
            probability.bits.eq(ERROR_BITS + 2),
            multiplier.left.eq(term),
            multiplier.right.eq(reciprocal),
            probability.value.eq(multiplier.product),
        ]
        arrived, arrived_last = delay(
            m,
            Cat(summed, summed_last) & subtracting.replicate(2),
            Multiplier.latency + probability.latency,
            "probability",
        )
        position = Signal(CLASS_BITS, reset_less=True)
        with m.If(restart):
            m.d.sync += position.eq(0)
        with m.Elif(arrived):
            m.d.sync += position.eq(position + 1)
        one, minus_one = Signal(signed(ERROR_BITS + 2), reset_less=True), Signal(signed(ERROR_BITS + 2), reset_less=True)
        taught = Signal(reset_less=True)
        target = Signal(signed(ERROR_BITS + 2), reset_less=True)
        exact = Signal(signed(ERROR_BITS + 2), reset_less=True)
        # Of all values from -1 to 1 the two ends alone do not fit.
        over, under = Signal(reset_less=True), Signal(reset_less=True)
        kept = Signal(signed(ERROR_BITS + 1), reset_less=True)
        m.d.sync += [
            over.eq(exact == one),
            minus_one.eq(-one),
            under.eq(exact == minus_one),
            kept.eq(exact),
            one.eq(1 << error_bits),
            taught.eq(position == self.label),
            target.eq(Mux(taught, one, 0)),
            exact.eq(target - delay(m, probability.result, 2, "subtrahend")),
            self.saturated.eq(over | under),
            plain_register(m, self.error, "error_register").eq(Mux(over, one - 1, Mux(under, 1 - one, kept))),
            plain_register(m, self.error_index, "error_index_register").eq(delay(m, position, 4, "position")),
        ]
        leaving, leaving_last = delay(m, Cat(arrived, arrived_last), 4, "leaving")
        error_last = delay(m, leaving_last, 1, "error_last")
        m.d.sync += [self.error_valid.eq(leaving), self.done.eq(error_last)]

        wait = Signal(range(logit.latency + 2), reset_less=True)
        waited = Signal(reset_less=True)
        m.d.sync += waited.eq(wait == logit.latency)
        with m.FSM() as fsm:
            m.d.comb += [scanning.eq(fsm.ongoing("SCAN")), summing.eq(fsm.ongoing("SUM")), subtracting.eq(fsm.ongoing("SUBTRACT"))]
            with m.State("IDLE"):
                m.d.sync += wait.eq(0)
                with m.If(self.start):
                    m.d.sync += restart.eq(1)
                    m.next = "SCAN"
            with m.State("SCAN"), m.If(compared_last):
                m.d.sync += self.done.eq(self.predict_only)
                m.next = "ROUND"
                with m.If(self.predict_only):
                    m.next = "IDLE"
            with m.State("ROUND"):
                m.d.sync += [
                    sample.eq(largest),
                    wait.eq(wait + 1),
                    restart.eq(wait == logit.latency),
                    gathered.eq(0),
                    halving.eq(0),
                    probability.shift.eq(RECIPROCAL_FRACTION + TERM_FRACTION - error_bits),
                ]
                with m.If(waited):
                    m.d.sync += largest_logit.eq(logit.result)
                    m.next = "SUM"
            with m.State("SUM"), m.If(summed_last):
                m.next = "LOOK"
            with m.State("LOOK"):
                m.d.sync += [large.eq(Mux(halving, total, gathered)[TERM_FRACTION + 1 :].any()), halving.eq(1)]
                with m.If(~halving):
                    m.d.sync += total.eq(gathered)
                m.next = "HALVE"
            with m.State("HALVE"):
                m.next = "LOOK"
                with m.If(large):
                    m.d.sync += [total.eq(total >> 1), probability.shift.eq(probability.shift + 1)]
                with m.Else():
                    m.next = "EIGHTHS"
            with m.State("EIGHTHS"):
                m.d.sync += restart.eq(1)
                m.next = "TABLE"
            with m.State("TABLE"):
                m.d.sync += reciprocal.eq(Array(eighths)[index[-3:]])
                m.next = "SUBTRACT"
            with m.State("SUBTRACT"), m.If(error_last):
                m.next = "IDLE"
        return m
