# SPDX-License-Identifier: Apache-2.0
"""The engine of one lane: everything takes turns, so that it fits the smallest FPGAs."""

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.arithmetic import SLOPE_FRACTION
from ..firmware.counters import NAMES
from ..firmware.isa import ARRAY_OPS, INSTRUCTION_WORDS, OUTPUT_OPS, Op
from ..firmware.parameters import EngineParameters
from .event_list import INDEX_BITS
from .instruction import INSTRUCTION, INSTRUCTION_BITS
from .primitives.single_port_memory import SinglePortMemory
from .primitives.small_memory import SmallMemory
from .serial_counters import SerialCounters
from .serial_neurons import SerialNeurons
from .serial_products import SerialProducts

WALKS = (Op.ACTIVATE, Op.DEVIATE, *OUTPUT_OPS)


class SerialEngine(wiring.Component):
    """Runs a program over the weights, states and deviations that it holds, one instruction after the other.

    It computes the bits of an `Engine`, and its counters that golden defines are equal too. There are no event lists, and the
    literal form of the clamped phase is not built in: its instructions end the program.

    Parameters
    ----------
    parameters : EngineParameters
        Of one lane.

    Ports
    -----
    start, entry, running : In, In, Out
        Run a program from the instruction at ``entry``. The other ports may be used only while none runs.
    training, label, rate, step, seed, inputs, skip_sources, skip_rest, skip_right : In
        What a sample needs, stable while a program runs.
    wrong, prediction : Out
        Of the last sample.
    program_write, program_address, program_word : In
        Write a word of an instruction: `INSTRUCTION_WORDS` addresses for each.
    input_begin, input_push, input_value : In
        The inputs of the next sample, in their order.
    weight_address, weight_write, weight_data, weight : In, In, In, Out
        A weight, a cycle after its address.
    read_address, read_state, read_slope, read_deviation : In, Out
        States and deviations, likewise.
    framing_error, overrun, clear_counters, flush_counters, hold_counters, busy_counters, counter_address, counter_word
        See `SerialCounters`.
    """

    def __init__(self, parameters: EngineParameters) -> None:
        self.parameters = parameters
        vector, weight = signed(parameters.vector_bits), signed(parameters.weight.width)
        super().__init__(
            {
                "start": In(1),
                "entry": In(range(parameters.program_depth)),
                "running": Out(1),
                "training": In(1),
                "label": In(INDEX_BITS),
                "rate": In(5),
                "step": In(32),
                "seed": In(32),
                "inputs": In(INDEX_BITS),
                "skip_sources": In(1),
                "skip_rest": In(1),
                "skip_right": In(1),
                "wrong": Out(1),
                "prediction": Out(INDEX_BITS),
                "program_write": In(1),
                "program_address": In(range(INSTRUCTION_WORDS * parameters.program_depth)),
                "program_word": In(32),
                "input_begin": In(1),
                "input_push": In(1),
                "input_value": In(parameters.vector_bits - 1),
                "weight_address": In(range(parameters.weight_depth)),
                "weight_write": In(1),
                "weight_data": In(weight),
                "weight": Out(weight),
                "read_address": In(range(parameters.neuron_depth)),
                "read_state": Out(vector),
                "read_slope": Out(SLOPE_FRACTION + 1),
                "read_deviation": Out(vector),
                "framing_error": In(1),
                "overrun": In(1),
                "clear_counters": In(1),
                "flush_counters": In(1),
                "hold_counters": In(1),
                "busy_counters": Out(1),
                "counter_address": In(range(4 * len(NAMES))),
                "counter_word": Out(16),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parameters = self.parameters
        depth, vector = parameters.neuron_depth, signed(parameters.vector_bits)
        state_layout = data.StructLayout({"value": vector, "slope": SLOPE_FRACTION + 1})
        m.submodules.program = program = SmallMemory(32, INSTRUCTION_WORDS * parameters.program_depth)
        m.submodules.weights = weights = SinglePortMemory(parameters.weight.width, parameters.weight_depth)
        m.submodules.drives = drives = SmallMemory(signed(parameters.drive_bits), depth)
        m.submodules.states = states = SmallMemory(state_layout, depth)
        m.submodules.deviations = deviations = SmallMemory(vector, depth)
        m.submodules.changes = changes = SmallMemory(signed(parameters.vector_bits + 1), depth)
        m.submodules.products = products = SerialProducts(parameters)
        m.submodules.neurons = neurons = SerialNeurons(parameters)
        m.submodules.counters = counters = SerialCounters()

        word = Signal(INSTRUCTION_BITS, reset_less=True)
        instruction = data.View(INSTRUCTION, word[: INSTRUCTION.size])
        multiplying = Signal()
        m.d.comb += multiplying.eq(instruction.op.matches(*ARRAY_OPS))
        input_index = Signal(range(depth), reset_less=True)
        with m.If(self.input_begin):
            m.d.sync += input_index.eq(0)
        with m.Elif(self.input_push):
            m.d.sync += input_index.eq(input_index + 1)

        m.d.comb += [
            program.write_enable.eq(self.program_write),
            program.write_address.eq(self.program_address),
            program.write_data.eq(self.program_word),
            products.instruction.eq(instruction),
            products.rate.eq(self.rate),
            products.seed.eq(self.seed),
            products.step.eq(self.step),
            products.inputs.eq(self.inputs),
            products.skip.eq(self.skip_sources),
            products.source_change.eq(changes.read_data),
            products.source_state.eq(states.read_data.value),
            products.deviation.eq(deviations.read_data),
            products.weight.eq(weights.read_data),
            products.drive.eq(drives.read_data),
            neurons.instruction.eq(instruction),
            neurons.label.eq(self.label),
            neurons.drive.eq(drives.read_data),
            neurons.state.eq(states.read_data.value),
            neurons.slope.eq(states.read_data.slope),
            neurons.deviation.eq(deviations.read_data),
            weights.address.eq(Mux(self.running, products.weight_address, self.weight_address)),
            weights.write_enable.eq(Mux(self.running, products.weight_write, self.weight_write)),
            weights.write_data.eq(Mux(self.running, products.weight_data, self.weight_data)),
            drives.read_address.eq(Mux(multiplying, products.drive_read_address, neurons.neuron)),
            drives.write_enable.eq(products.drive_write),
            drives.write_address.eq(products.drive_write_address),
            drives.write_data.eq(products.drive_data),
            states.read_address.eq(Mux(self.running, Mux(multiplying, products.source_address, neurons.neuron), self.read_address)),
            states.write_enable.eq(neurons.state_write),
            states.write_address.eq(neurons.neuron),
            states.write_data.value.eq(neurons.value),
            states.write_data.slope.eq(neurons.new_slope),
            deviations.read_address.eq(Mux(self.running, Mux(multiplying, products.deviation_address, neurons.neuron), self.read_address)),
            deviations.write_enable.eq(neurons.deviation_write),
            deviations.write_address.eq(neurons.neuron),
            deviations.write_data.eq(neurons.value),
            changes.read_address.eq(products.source_address),
            changes.write_enable.eq(neurons.change_write | self.input_push),
            changes.write_address.eq(Mux(self.running, neurons.neuron, input_index)),
            changes.write_data.eq(Mux(self.running, neurons.change, self.input_value)),
            self.weight.eq(weights.read_data),
            self.read_state.eq(states.read_data.value),
            self.read_slope.eq(states.read_data.slope),
            self.read_deviation.eq(deviations.read_data),
            self.wrong.eq(neurons.wrong),
            self.prediction.eq(neurons.prediction),
            counters.framing_error.eq(self.framing_error),
            counters.overrun.eq(self.overrun),
            counters.clear.eq(self.clear_counters),
            counters.hold.eq(self.hold_counters),
            counters.address.eq(self.counter_address),
            self.busy_counters.eq(counters.busy),
            self.counter_word.eq(counters.word),
        ]

        own = Signal()
        counted = Signal(range(len(NAMES)))
        step = counters.step
        m.d.comb += [
            step.valid.eq(own | products.count.valid | neurons.count.valid),
            step.index.eq(Mux(own, counted, Mux(multiplying, products.count.index, neurons.count.index))),
            step.amount.eq(Mux(own, Const(1), Mux(multiplying, products.count.amount, neurons.count.amount))),
            products.count.ready.eq(step.ready),
            neurons.count.ready.eq(step.ready),
        ]

        here = Signal(range(INSTRUCTION_WORDS * parameters.program_depth), reset_less=True)
        body = Signal.like(here)
        turns = Signal(len(instruction.count), reset_less=True)
        part = Signal(range(INSTRUCTION_WORDS + 1))
        m.d.comb += program.read_address.eq(here)
        in_program = Signal()
        flush = Signal()
        m.d.comb += [counters.running.eq(in_program), counters.flush.eq(flush | self.flush_counters)]
        with m.FSM() as fsm:
            m.d.comb += self.running.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                m.d.sync += [here.eq(INSTRUCTION_WORDS * self.entry), part.eq(0)]
                with m.If(self.start):
                    m.d.comb += flush.eq(1)
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                with m.If(~counters.busy):
                    m.d.sync += in_program.eq(1)
                    m.next = "FETCH"
            with m.State("FETCH"):
                with m.Switch(part):
                    for index in range(INSTRUCTION_WORDS):
                        with m.Case(index + 1):
                            m.d.sync += word[32 * index : 32 * index + 32].eq(program.read_data)
                with m.If(part == INSTRUCTION_WORDS):
                    m.d.sync += part.eq(0)
                    m.next = "EXECUTE"
                with m.Else():
                    m.d.sync += [part.eq(part + 1), here.eq(here + 1)]
            with m.State("EXECUTE"):
                m.next = "FETCH"
                with m.Switch(instruction.op):
                    with m.Case(Op.SWEEP):
                        m.d.comb += [
                            neurons.clear_changed.eq(1),
                            own.eq(1),
                            counted.eq(Mux(instruction.kind[0], NAMES.index("clamped_sweeps"), NAMES.index("free_sweeps"))),
                        ]
                        with m.If(~step.ready):
                            m.next = "EXECUTE"
                    with m.Case(Op.LOOP):
                        m.d.sync += [body.eq(here), turns.eq(instruction.count)]
                    with m.Case(Op.NEXT):
                        m.d.sync += turns.eq(turns - 1)
                        with m.If((turns != 1) & (neurons.changed | ~self.skip_rest)):
                            m.d.sync += here.eq(body)
                    with m.Case(Op.STOP_IF_RIGHT):
                        with m.If(self.skip_right & ~neurons.wrong):
                            m.next = "END"
                    with m.Case(*ARRAY_OPS):
                        m.d.comb += products.start.eq(1)
                        m.next = "WAIT"
                    with m.Case(*WALKS):
                        m.d.comb += neurons.start.eq(1)
                        m.next = "WAIT"
                    with m.Default():
                        m.next = "END"
            with m.State("WAIT"):
                with m.If(products.idle & neurons.idle):
                    m.next = "FETCH"
            with m.State("END"):
                m.d.comb += [
                    own.eq(1),
                    counted.eq(Mux(self.training, NAMES.index("trained"), NAMES.index("inferred"))),
                ]
                with m.If(step.ready):
                    m.next = "FLUSH"
                    with m.If(self.training & ~neurons.wrong):
                        m.next = "RIGHT"
            with m.State("RIGHT"):
                m.d.comb += [own.eq(1), counted.eq(NAMES.index("zero_error"))]
                with m.If(step.ready):
                    m.next = "FLUSH"
            with m.State("FLUSH"):
                m.d.comb += flush.eq(1)
                m.next = "FLUSHED"
            with m.State("FLUSHED"):
                with m.If(~counters.busy):
                    m.d.sync += in_program.eq(0)
                    m.next = "IDLE"
        return m
