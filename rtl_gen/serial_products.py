# SPDX-License-Identifier: Apache-2.0
"""FORWARD, TRANSPOSED and UPDATE with one multiplier."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..firmware.arithmetic import RANDOM_BITS
from ..firmware.counters import NAMES
from ..firmware.isa import Op
from ..firmware.parameters import EngineParameters
from .event_list import INDEX_BITS
from .instruction import INSTRUCTION
from .primitives.multiplier import Multiplier
from .serial_counters import step_signature
from .serial_random import SerialRandom


class SerialProducts(wiring.Component):
    """Takes source after source, and multiplies each that is not zero with a row or column of weights.

    Parameters
    ----------
    parameters : EngineParameters
        Of one lane.

    Ports
    -----
    start, instruction : In
        Execute; only while `idle`. The instruction is stable until then.
    idle : Out
    rate, seed, step, inputs, skip : In
        Minus log2 of the learning rate, for the random words, neurons of the input layer, and whether zeros are left out: stable.
    source_address, source_change, source_state : Out, In, In
        Change and state of a neuron, a cycle later.
    deviation_address, deviation : Out, In
        Likewise its deviation. While the rows of an UPDATE are read, the address of the source is that of a deviation too.
    weight_address, weight, weight_write, weight_data : Out, In, Out, Out
        The weight a cycle later; what is written to the address.
    drive_read_address, drive, drive_write, drive_write_address, drive_data : Out, In, Out, Out, Out
        The drive a cycle later; never one that is written in the cycle of its address.
    count : Out
        See `serial_counters.step_signature`.

    A source that is zero takes 3 cycles; another one, its shift, 8 cycles, and one cycle for each product. In an UPDATE it takes 12
    cycles, 2 for each row that keeps a zero and 7 for each other one.
    """

    def __init__(self, parameters: EngineParameters) -> None:
        self.parameters = parameters
        vector, neurons = signed(parameters.vector_bits), range(parameters.neuron_depth)
        weight, drive = signed(parameters.weight.width), signed(parameters.drive_bits)
        super().__init__(
            {
                "start": In(1),
                "instruction": In(INSTRUCTION),
                "idle": Out(1),
                "rate": In(5),
                "seed": In(32),
                "step": In(32),
                "inputs": In(INDEX_BITS),
                "skip": In(1),
                "source_address": Out(neurons),
                "source_change": In(signed(parameters.vector_bits + 1)),
                "source_state": In(vector),
                "deviation_address": Out(neurons),
                "deviation": In(vector),
                "weight_address": Out(range(parameters.weight_depth)),
                "weight": In(weight),
                "weight_write": Out(1),
                "weight_data": Out(weight),
                "drive_read_address": Out(neurons),
                "drive": In(drive),
                "drive_write": Out(1),
                "drive_write_address": Out(neurons),
                "drive_data": Out(drive),
                "count": Out(step_signature()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parameters, now = self.parameters, self.instruction
        transposed, update = Signal(), Signal()
        m.d.comb += [transposed.eq(now.op == Op.TRANSPOSED), update.eq(now.op == Op.UPDATE)]
        inner = Mux(transposed, now.columns, now.rows)

        source = Signal(range(parameters.neuron_depth), reset_less=True)
        column = Signal(20, reset_less=True)
        outer_left, inner_left = Signal(INDEX_BITS, reset_less=True), Signal(INDEX_BITS, reset_less=True)
        base, address = Signal(range(parameters.weight_depth), reset_less=True), Signal(range(parameters.weight_depth), reset_less=True)
        row = Signal(range(parameters.neuron_depth), reset_less=True)
        reading, writing = Signal(range(parameters.neuron_depth), reset_less=True), Signal(range(parameters.neuron_depth), reset_less=True)
        over_rows = Signal()
        m.d.comb += [
            self.source_address.eq(Mux(over_rows, row, source)),
            self.weight_address.eq(address),
            self.deviation_address.eq(row),
        ]
        # What the rows of an UPDATE keep.
        kept = Signal.like(self.deviation)
        m.d.comb += kept.eq(Mux(now.kind[0], self.source_state, self.deviation))

        # The source, shifted to where its products count, meets weights or deviations.
        value = Signal(signed(max(parameters.drive_bits, parameters.broadcast_bits)), reset_less=True)
        found = Signal(signed(parameters.vector_bits + 1))
        m.d.comb += found.eq(Mux(now.full, self.source_state, self.source_change))
        left_shift = Signal(6, reset_less=True)
        multiplied = self.weight
        if parameters.mac_weight != parameters.weight:
            drop = parameters.weight.fraction - parameters.mac_weight.fraction
            rounded, limit = Signal(signed(parameters.weight.width + 1)), parameters.mac_weight.maximum
            m.d.comb += rounded.eq((self.weight + ((1 << drop) >> 1)) >> drop)
            multiplied = Mux(rounded > limit, limit, Mux(rounded < -limit, -limit, rounded))
        m.submodules.multiplier = multiplier = Multiplier(max(parameters.mac_weight.width, parameters.vector_bits), len(value))
        m.d.comb += [multiplier.left.eq(Mux(update, kept, multiplied)), multiplier.right.eq(value)]

        # A drive is read when the product is ready but for one cycle.
        going = [Signal(name=f"going_{cycle}") for cycle in range(2 + Multiplier.latency)]
        m.d.sync += [later.eq(earlier) for earlier, later in pairwise(going)]
        m.d.sync += writing.eq(reading)
        with m.If(going[-2]):
            m.d.sync += reading.eq(reading + 1)
        clearing = Signal()
        m.d.comb += [
            self.drive_read_address.eq(reading),
            self.drive_write.eq(going[-1] | clearing),
            self.drive_write_address.eq(Mux(clearing, reading, writing)),
            self.drive_data.eq(Mux(clearing, 0, self.drive + multiplier.product)),
        ]

        m.submodules.random = random = SerialRandom()
        m.d.comb += [random.seed.eq(self.seed), random.step.eq(self.step), random.column.eq(column)]
        shift, limit = parameters.update_shift, parameters.weight.maximum
        product_bits = min(parameters.vector_bits + parameters.broadcast_bits, len(multiplier.product))
        product = multiplier.product[:product_bits].as_signed()
        noise = Mux(now.nearest, Const(1 << (shift - 1), shift), random.word[RANDOM_BITS - shift :])
        exact = Signal(signed(max(product_bits, shift + parameters.weight.width) + 1 - shift), reset_less=True)
        over, under = exact > limit, exact < -limit
        m.d.sync += exact.eq((Cat(noise, self.weight).as_signed() + product) >> shift)
        m.d.comb += self.weight_data.eq(Mux(over, limit, Mux(under, -limit, exact)))

        amounts = range(parameters.weight_depth + 1)
        products, skipped, clipped = Signal(amounts), Signal(amounts), Signal(amounts)
        skip_whole, skip_one = Signal(), Signal()
        with m.If(skip_whole | skip_one):
            m.d.sync += skipped.eq(skipped + Mux(skip_one, 1, inner))
        count = self.count
        wait = Signal(2)
        next_row = Signal()
        with m.If(next_row):
            m.d.comb += random.turn.eq(1)
            m.d.sync += [row.eq(row + 1), inner_left.eq(inner_left - 1)]
        with m.If(going[0] | next_row):
            m.d.sync += address.eq(address + Mux(transposed, 1, now.columns))
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(1)
                m.d.sync += [
                    source.eq(now.source),
                    column.eq(now.column),
                    base.eq(now.weights),
                    reading.eq(now.target),
                    outer_left.eq(Mux(transposed, now.rows, now.columns)),
                    inner_left.eq(inner),
                    *(total.eq(0) for total in (products, skipped, clipped)),
                ]
                with m.If(self.start):
                    m.next = "SOURCE"
                    with m.If(now.first & ~update):
                        m.next = "CLEAR"
            with m.State("CLEAR"):
                m.d.comb += clearing.eq(1)
                m.d.sync += [reading.eq(reading + 1), inner_left.eq(inner_left - 1)]
                with m.If(inner_left == 1):
                    m.next = "SOURCE"
            with m.State("SOURCE"):
                m.next = "VALUE"
                with m.If(outer_left == 0):
                    m.next = "COUNT PRODUCTS"
            with m.State("VALUE"):
                m.d.comb += random.start.eq(1)
                m.d.sync += [
                    value.eq(found),
                    left_shift.eq(now.shift - Mux(update, self.rate, 0)),
                    address.eq(base),
                    reading.eq(now.target),
                    row.eq(self.inputs + now.row),
                    inner_left.eq(inner),
                ]
                m.next = "SHIFT"
                with m.If(self.skip & (found == 0)):
                    m.d.comb += skip_whole.eq(1)
                    m.next = "NEXT"
            with m.State("SHIFT"):
                with m.If(left_shift != 0):
                    m.d.sync += [value.eq(value << 1), left_shift.eq(left_shift - 1)]
                with m.Elif(~update):
                    m.next = "RUN"
                with m.Elif(random.ready):
                    m.next = "ROW"
            with m.State("RUN"):
                m.d.comb += going[0].eq(1)
                m.d.sync += [inner_left.eq(inner_left - 1), products.eq(products + 1)]
                with m.If(inner_left == 1):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(~Cat(*going).any()):
                    m.next = "NEXT"
            with m.State("ROW"):
                m.d.comb += over_rows.eq(1)
                m.next = "KEPT"
            with m.State("KEPT"):
                m.d.comb += over_rows.eq(1)
                m.d.sync += wait.eq(Multiplier.latency - 1)
                m.next = "MULTIPLY"
                with m.If(self.skip & (kept == 0)):
                    m.d.comb += [skip_one.eq(1), next_row.eq(1)]
                    m.next = "ROW"
                    with m.If(inner_left == 1):
                        m.next = "NEXT"
            with m.State("MULTIPLY"):
                m.d.comb += over_rows.eq(1)
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += [self.weight_write.eq(1), next_row.eq(1)]
                m.d.sync += [products.eq(products + 1), clipped.eq(clipped + (over | under))]
                m.next = "ROW"
                with m.If(inner_left == 1):
                    m.next = "NEXT"
            with m.State("NEXT"):
                m.d.sync += [
                    source.eq(source + 1),
                    column.eq(column + 1),
                    base.eq(base + Mux(transposed, now.columns, 1)),
                    outer_left.eq(outer_left - 1),
                ]
                m.next = "SOURCE"
            kinds = (
                ("COUNT PRODUCTS", products, ("forward_issues", "transposed_issues", "update_issues")),
                ("COUNT LANES", products, ("busy_lane_cycles",) * 3),
                ("COUNT SKIPPED", skipped, ("skipped_sources", "skipped_columns", "skipped_sources")),
                ("COUNT CLIPPED", clipped, ("saturated_weight",) * 3),
            )
            following = [name for name, _, _ in kinds[1:]] + ["IDLE"]
            for (state, amount, names), then in zip(kinds, following, strict=True):
                forward, across, learning = (NAMES.index(name) for name in names)
                with m.State(state):
                    m.d.comb += [
                        count.valid.eq(1),
                        count.amount.eq(amount),
                        count.index.eq(Mux(update, learning, Mux(transposed, across, forward))),
                    ]
                    with m.If(count.ready):
                        m.next = then
        return m
