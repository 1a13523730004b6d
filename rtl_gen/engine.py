# SPDX-License-Identifier: Apache-2.0
"""The engine: sequencer, issuer, lane array, neuron unit and counters joined."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from ..firmware.arithmetic import SLOPE_FRACTION
from ..firmware.counters import NAMES
from ..firmware.isa import OUTPUT_OPS, Op
from ..firmware.parameters import EngineParameters
from .event_list import INDEX_BITS
from .instruction import INSTRUCTION_BITS
from .interlock import Interlock
from .issuer import Issuer
from .lane_array import LaneArray
from .neurons import NeuronUnit
from .performance import COUNTER_BITS, PerformanceCounters
from .pipeline import delay
from .sequencer import FETCH, Sequencer

CONTROL = wiring.Signature(
    {
        "seed": Out(32),
        "step": Out(32),
        "label": Out(INDEX_BITS),
        "rate": Out(5),
        "skip_sources": Out(1),
        "skip_rest": Out(1),
        "skip_right": Out(1),
        "trained": Out(1),
        "inferred": Out(1),
        "zero_error": Out(1),
        "framing_error": Out(1),
        "overrun": Out(1),
        "waiting": Out(1),
        "clear_counters": Out(1),
    }
)
"""What a sample needs, stable while a program runs; the last seven are for the counters."""


class Engine(wiring.Component):
    """Runs a program over the weights, states and deviations that it holds.

    Parameters
    ----------
    parameters : EngineParameters

    Ports
    -----
    control : In
        See `CONTROL`.
    start, entry, running : In, In, Out
        Run a program; see `Sequencer`. Of the other ports only the inputs may be used while one runs.
    wrong, prediction : Out
        Of the last sample.
    program_enable, program_address, program_data : In
        Write an instruction.
    input_begin, input_push, input_value : In
        The inputs of the next sample, in their order, also while a program runs. A start takes them.
    load_step, load_value, load_write, load_address, fetch, fetched
        Weights; see `LaneArray`.
    read_address, read_state, read_slope, read_deviation
        States and deviations; see `NeuronUnit`.
    counter_select, counter_value : In, Out
        See `PerformanceCounters`.
    """

    def __init__(self, parameters: EngineParameters) -> None:
        self.parameters = parameters
        vector = signed(parameters.vector_bits)
        weight = signed(parameters.weight.width)
        super().__init__(
            {
                "control": In(CONTROL),
                "start": In(1),
                "entry": In(range(parameters.program_depth)),
                "running": Out(1),
                "wrong": Out(1),
                "prediction": Out(INDEX_BITS),
                "program_enable": In(1),
                "program_address": In(range(parameters.program_depth)),
                "program_data": In(INSTRUCTION_BITS),
                "input_begin": In(1),
                "input_push": In(1),
                "input_value": In(parameters.vector_bits - 1),
                "load_step": In(1),
                "load_value": In(weight),
                "load_write": In(1),
                "load_address": In(range(parameters.weight_depth)),
                "fetch": In(1),
                "fetched": Out(weight),
                "read_address": In(range(parameters.neuron_depth)),
                "read_state": Out(vector),
                "read_slope": Out(SLOPE_FRACTION + 1),
                "read_deviation": Out(vector),
                "counter_select": In(range(len(NAMES))),
                "counter_value": Out(COUNTER_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parameters, control = self.parameters, self.control
        m.submodules.sequencer = sequencer = Sequencer(parameters)
        m.submodules.interlock = interlock = Interlock()
        m.submodules.issuer = issuer = Issuer(parameters)
        m.submodules.array = array = LaneArray(parameters)
        m.submodules.neurons = neurons = NeuronUnit(parameters)
        m.submodules.performance = performance = PerformanceCounters(
            {
                "skipped_sources": INDEX_BITS,
                "skipped_columns": INDEX_BITS,
                "busy_lane_cycles": len(issuer.event_lanes),
                "saturated_weight": len(array.clipped),
            },
            live=("cycles",),
        )
        connect(m, issuer.command, array.command)
        connect(m, neurons.rows, array.rows)
        connect(m, array.forward, neurons.forward)
        connect(m, array.transposed, neurons.transposed)

        m.d.comb += [
            sequencer.write_enable.eq(self.program_enable),
            sequencer.write_address.eq(self.program_address),
            sequencer.write_data.eq(self.program_data),
            sequencer.start.eq(self.start),
            sequencer.entry.eq(self.entry),
            self.running.eq(sequencer.running),
            sequencer.skip_rest.eq(control.skip_rest),
            sequencer.skip_right.eq(control.skip_right),
            sequencer.changed.eq(neurons.changed),
            sequencer.wrong.eq(neurons.wrong),
            sequencer.array_may.eq(interlock.array_may),
            sequencer.neurons_may.eq(interlock.neurons_may),
            sequencer.all_idle.eq(interlock.all_idle),
            sequencer.neurons_idle.eq(interlock.neurons_idle),
            interlock.instruction.eq(sequencer.instruction),
            interlock.issuing.eq(issuer.issuing),
            interlock.latest.eq(issuer.latest),
            interlock.complete.eq(issuer.complete),
            interlock.summing.eq(issuer.summing),
            interlock.targets.eq(issuer.targets),
            interlock.learning.eq(issuer.learning),
            interlock.array.eq(issuer.current),
            interlock.idle.eq(neurons.idle),
            interlock.reading.eq(neurons.reading),
            interlock.neurons.eq(neurons.current),
            issuer.start.eq(sequencer.start_array),
            issuer.instruction.eq(sequencer.instruction),
            issuer.rate.eq(control.rate),
            issuer.forward_tag.eq(array.forward.tag),
            issuer.transposed_tag.eq(array.transposed.tag),
            issuer.entry_index.eq(neurons.entry_index),
            issuer.entry_value.eq(neurons.entry_value),
            issuer.count.eq(neurons.count),
            issuer.walk.eq(neurons.current),
            issuer.walk_idle.eq(neurons.idle),
            issuer.changes_length.eq(neurons.changes_length),
            issuer.states_length.eq(neurons.states_length),
            issuer.row.eq(neurons.row),
            issuer.changed_block.eq(neurons.changed_block),
            issuer.valued_block.eq(neurons.valued_block),
            array.seed.eq(control.seed),
            array.step.eq(control.step),
            array.load_step.eq(self.load_step),
            array.load_value.eq(self.load_value),
            array.load_write.eq(self.load_write),
            array.load_address.eq(self.load_address),
            array.fetch.eq(self.fetch),
            self.fetched.eq(array.fetched),
            neurons.start.eq(sequencer.start_neurons),
            neurons.instruction.eq(sequencer.instruction),
            neurons.sweep.eq(sequencer.sweep),
            neurons.awaits.eq(interlock.awaits),
            neurons.follow_tag.eq(interlock.follow_tag),
            neurons.complete.eq(issuer.complete),
            neurons.sums_begin.eq(issuer.begins),
            neurons.label.eq(control.label),
            neurons.skip_sources.eq(control.skip_sources),
            neurons.forward_target.eq(issuer.forward_target),
            neurons.forward_shift.eq(issuer.forward_shift),
            neurons.transposed_target.eq(issuer.transposed_target),
            neurons.transposed_shift.eq(issuer.transposed_shift),
            neurons.input_begin.eq(self.input_begin),
            neurons.input_push.eq(self.input_push),
            neurons.input_value.eq(self.input_value),
            neurons.input_take.eq(self.start),
            neurons.list_full.eq(issuer.list_full),
            neurons.list_address.eq(issuer.list_address),
            neurons.list_node.eq(issuer.list_node),
            neurons.block.eq(issuer.block),
            neurons.clear_changed.eq(sequencer.clear_changed),
            self.wrong.eq(neurons.wrong),
            self.prediction.eq(neurons.prediction),
            neurons.read_address.eq(self.read_address),
            self.read_state.eq(neurons.read_state),
            self.read_slope.eq(neurons.read_slope),
            self.read_deviation.eq(neurons.read_deviation),
            performance.clear.eq(control.clear_counters),
            performance.select.eq(self.counter_select),
            self.counter_value.eq(performance.value),
        ]
        # Why no product is asked for, a cycle late, as the issuer's events are; the sequencer has nothing yet at first.
        given = sequencer.instruction.op
        erring, rests, errs, walks = (Signal(name=name, reset_less=True) for name in ("erring", "rests", "errs", "walks"))
        begun = sequencer.running & delay(m, sequencer.running, FETCH, "begun")
        m.d.sync += [
            erring.eq(neurons.reading & neurons.current.op.matches(*OUTPUT_OPS)),
            rests.eq(begun & ~issuer.issuing & (given == Op.END)),
            errs.eq(begun & ~issuer.issuing & (given != Op.END) & given.matches(*OUTPUT_OPS, Op.STOP_IF_RIGHT)),
            walks.eq(begun & ~issuer.issuing & ~given.matches(*OUTPUT_OPS, Op.STOP_IF_RIGHT, Op.END) & ~neurons.idle),
        ]
        steps = {
            "trained": control.trained,
            "inferred": control.inferred,
            "zero_error": control.zero_error,
            "free_sweeps": sequencer.event_free_sweep,
            "clamped_sweeps": sequencer.event_clamped_sweep,
            "changed_states": neurons.event_changed_state,
            "changed_deviations": neurons.event_changed_deviation,
            "saturated_pre_activation": neurons.event_saturated_pre_activation,
            "saturated_logit": neurons.event_saturated_logit,
            "saturated_error": neurons.event_saturated_error,
            "saturated_drive": neurons.event_saturated_drive,
            "saturated_deviation": neurons.event_saturated_deviation,
            "saturated_weight": array.clipped,
            "cycles": 1,
            "run_cycles": sequencer.running,
            "forward_issues": issuer.event_forward,
            "transposed_issues": issuer.event_transposed,
            "update_issues": issuer.event_update,
            "busy_lane_cycles": issuer.event_lanes,
            "serial_issues": neurons.event_serial,
            "skipped_sources": issuer.event_skipped_sources,
            "skipped_columns": issuer.event_skipped_columns,
            "idle_walk": (issuer.event_waits_walk | walks) & ~erring,
            "idle_sums": issuer.event_waits_sums,
            "idle_error": ((issuer.event_waits_walk | walks) & erring) | errs,
            "idle_drain": rests,
            "idle_link": control.waiting,
            "framing_errors": control.framing_error,
            "overruns": control.overrun,
        }
        m.d.comb += [getattr(performance, f"step_{name}").eq(steps[name]) for name in NAMES]
        return m
