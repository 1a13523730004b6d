# SPDX-License-Identifier: Apache-2.0
"""The neuron unit: drives, states and deviations of all neurons, one neuron a cycle."""

from typing import Final

import numpy as np
from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from ..firmware.arithmetic import ACTIVATIONS, LOGIT_BITS, SLOPE_FRACTION, IntArray, activate, deviate
from ..firmware.isa import WALK_OPS, Instruction, Op
from ..firmware.parameters import EngineParameters
from .activation import Activation
from .drives import STREAMS, Drives
from .event_list import INDEX_BITS, EventList
from .instruction import INSTRUCTION, TAGS
from .lane_array import row_signature, sum_signature
from .output_error import OutputError
from .pipeline import REPLICA, delay, plain_register
from .primitives.block_memory import BlockMemory
from .primitives.multiplier import Multiplier
from .rounding import RoundSaturate

LIST_LATENCY: Final = EventList.latency + 1
"""Cycles from the address of a list's entry to the entry, and from a layer's number to the length of its list."""

ROUNDED: Final = Drives.latency + RoundSaturate.latency
"""Cycles from the address of a drive to its rounded value."""
SLOPED: Final = ROUNDED + Activation.latency
"""... to its activation, or its product with the slope."""
RESULT: Final = SLOPED + RoundSaturate.latency
"""... to the rounded state or deviation."""
COMPARED: Final = RESULT + 2
"""... to the change."""
TOLD: Final = COMPARED + 1
"""... to whether it is one."""
DRAIN: Final = TOLD + 3
"""Cycles from the last neuron's address until lists, rows and flags may be read."""
ERROR_DRAIN: Final = BlockMemory.latency + 5
"""... from the last element of an output error."""


class NeuronUnit(wiring.Component):
    """Executes ACTIVATE, DEVIATE, ERROR, PREDICT, SNAPSHOT and DIFFERENCE, and adds the array's sums to the drives.

    The walk over a layer follows the last sums into the drives as near as it can, and the lane array follows the walk.

    Parameters
    ----------
    parameters : EngineParameters

    Ports
    -----
    start, instruction, sweep : In
        Execute; only while `idle`, and the instruction stands in the cycle before too. The sweep's parity tells which of the flags
        ``changed`` is meant.
    idle : Out
        Everything of the last instruction can be read.
    reading : Out
        Drives are still wanted.
    current : Out
        The instruction under way, or the last one.
    awaits, follow_tag : In
        At ``start``: by tag, the array's instructions that sum up the drives, and the last of them.
    complete : In, TAGS
        By tag: all sums of the array's instruction are in the memory.
    sums_begin : In, TAGS
        By tag: an instruction of the array begins.
    label : In
        Target of the sample, for ERROR.
    skip_sources : In
        Lists hold only changed or nonzero neurons, and flags tell them; otherwise all are listed and flagged.
    forward, transposed, forward_target, forward_shift, transposed_target, transposed_shift : In
        Sums for the drives, see `Drives`. Final: a sum is the instruction's last one for the drive; if the instruction does not mark
        it, who follows waits for `complete`.
    rows : Out
        See `lane_array.row_signature`.
    input_begin, input_push, input_value : In
        The next input of the next sample.
    input_take : In
        That sample becomes the current one.
    list_full, list_address, list_node : In
        Which list (the changes of the last instruction for the layer, none after PREDICT; of layer 0 the inputs of the current
        sample; full: the states), which entry, which layer.
        SNAPSHOT leaves the lists; DIFFERENCE leaves the changes undefined, in list, rows and flags.
    entry_index, entry_value : Out
        The entry, `LIST_LATENCY` cycles later.
    count : Out
        Length of the layer's list, `LIST_LATENCY` cycles after its number.
    changes_length, states_length : Out
        Pairs of the lists under way that can be asked for.
    row : Out
        Row block that the instruction under way writes; those before are complete.
    block, changed_block, valued_block : In, Out
        Whether a row block holds a change, or a value that is not zero, at once.
    clear_changed, changed : In, Out
        Whether any state or deviation has changed in the sweep since cleared; told 2 cycles after ``clear_changed`` or a new sweep.
    wrong : Out
        Whether the output error of the sample (ERROR with ``first``) had an element that is not zero; false after PREDICT.
    prediction : Out
        Of the last ERROR with ``first`` or PREDICT.
    read_address, read_state, read_slope, read_deviation : In, Out
        Contents of the memories for the host, `read_latency` cycles later, while idle.
    event_... : Out
        Pulses for the performance counters.

    Throughput one neuron a cycle. ERROR and PREDICT take `ERROR_DRAIN` cycles more than `OutputError`, the others
    ``rows + DRAIN`` unless they wait for sums. `Drives.model`, `model_activate`, `model_deviate` and `OutputError.model` say
    what comes out.
    """

    read_latency: Final = BlockMemory.latency

    def __init__(self, parameters: EngineParameters) -> None:
        self.parameters = parameters
        neurons = range(parameters.neuron_depth)
        super().__init__(
            {
                "start": In(1),
                "instruction": In(INSTRUCTION),
                "sweep": In(1),
                "idle": Out(1, init=1),
                "reading": Out(1),
                "current": Out(INSTRUCTION),
                "awaits": In(TAGS),
                "follow_tag": In(range(TAGS)),
                "complete": In(TAGS),
                "sums_begin": In(TAGS),
                "label": In(INDEX_BITS),
                "skip_sources": In(1),
                **{name: In(sum_signature(parameters)) for name in STREAMS},
                **{f"{name}_target": In(neurons) for name in STREAMS},
                **{f"{name}_shift": In(6) for name in STREAMS},
                "rows": Out(row_signature(parameters)),
                "input_begin": In(1),
                "input_push": In(1),
                "input_value": In(parameters.vector_bits - 1),
                "input_take": In(1),
                "list_full": In(1),
                "list_address": In(neurons),
                "list_node": In(range(parameters.program_depth)),
                "entry_index": Out(INDEX_BITS),
                "entry_value": Out(signed(parameters.vector_bits + 1)),
                "count": Out(INDEX_BITS),
                "changes_length": Out(INDEX_BITS),
                "states_length": Out(INDEX_BITS),
                "row": Out(range(parameters.row_depth)),
                "block": In(range(parameters.row_depth)),
                "changed_block": Out(1),
                "valued_block": Out(1),
                "clear_changed": In(1),
                "changed": Out(1),
                "wrong": Out(1),
                "prediction": Out(INDEX_BITS),
                "read_address": In(neurons),
                "read_state": Out(signed(parameters.vector_bits)),
                "read_slope": Out(SLOPE_FRACTION + 1),
                "read_deviation": Out(signed(parameters.vector_bits)),
                "event_serial": Out(1),
                "event_changed_state": Out(1),
                "event_changed_deviation": Out(1),
                "event_saturated_pre_activation": Out(1),
                "event_saturated_drive": Out(1),
                "event_saturated_deviation": Out(1),
                "event_saturated_logit": Out(1),
                "event_saturated_error": Out(1),
            }
        )

    def model_activate(self, drives: IntArray, instruction: Instruction) -> tuple[IntArray, IntArray, np.ndarray]:
        """States, slopes and whether the pre-activation was clipped, (rows,) each, of the drives under an ACTIVATE."""
        pre_activation = self.parameters.pre_activation
        rounded, clipped = RoundSaturate.model(drives, instruction.round, pre_activation.magnitude_bits)
        fraction = SLOPE_FRACTION + pre_activation.fraction - instruction.round2
        states, slopes = activate(rounded, pre_activation.fraction, fraction, ACTIVATIONS[instruction.kind])
        return states, slopes, clipped

    def model_deviate(self, drives: IntArray, slopes: IntArray, instruction: Instruction) -> tuple[IntArray, np.ndarray, np.ndarray]:
        """Deviations, whether the drive and whether the deviation was clipped, (rows,) each, under a DEVIATE."""
        rounded, clipped_drive = RoundSaturate.model(drives, instruction.round, self.parameters.drive.magnitude_bits)
        deviations, clipped = deviate(rounded, slopes, instruction.round2, instruction.bits)
        return deviations, clipped_drive, clipped

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parameters = self.parameters
        depth, vector = parameters.neuron_depth, signed(parameters.vector_bits)
        instruction = data.View(INSTRUCTION, plain_register(m, self.current, "instruction_register"))
        activating, deviating, copying, differing, of_error = (
            Signal(name=name) for name in ("activating", "deviating", "copying", "differing", "of_error")
        )

        # Copies near to what they choose, a cycle late: no drive is on its way when an instruction starts.
        activating_drive, activating_slope = (delay(m, activating, 1, f"activating_{name}", replica=True) for name in ("drive", "slope"))

        state_layout = data.StructLayout({"value": vector, "slope": SLOPE_FRACTION + 1})
        m.submodules.drives = drives = Drives(parameters)
        m.submodules.states = states = BlockMemory(state_layout, depth)
        m.submodules.deviations = deviations = BlockMemory(vector, depth)
        m.submodules.changes = changes = EventList(parameters.vector_bits + 1, depth, parameters.program_depth)
        m.submodules.nonzero = nonzero = EventList(parameters.vector_bits, depth, parameters.program_depth)

        for name in STREAMS:
            connect(m, flipped(getattr(self, name)), getattr(drives, name))
            m.d.comb += [getattr(drives, f"{name}_{part}").eq(getattr(self, f"{name}_{part}")) for part in ("target", "shift")]

        # How many drives of each array instruction are complete.
        totals = [Signal(INDEX_BITS, name=f"total_{tag}", reset_less=True) for tag in range(TAGS)]
        for tag, total in enumerate(totals):
            with m.If(self.sums_begin[tag]):
                m.d.sync += total.eq(0)
            with m.Elif(drives.complete[tag]):
                m.d.sync += total.eq(total + 1)

        # The walk over a layer; it stays behind the sums that it follows.
        walking, stepping = Signal(), Signal()
        left, final_step = Signal(INDEX_BITS, reset_less=True), Signal(reset_less=True)
        walk = Signal(range(depth), reset_less=True)
        # Drives that a step is sure of: those walked, and one more, since `ahead` is a cycle late.
        needed = Signal(INDEX_BITS + 1, reset_less=True)
        awaited, following, follow_tag = Signal(TAGS), Signal(), Signal.like(self.follow_tag, reset_less=True)
        ahead = Signal()
        drain = Signal(range(DRAIN + 1))
        m.submodules.error = error = OutputError(parameters.drive_bits, read_latency=1 + Drives.latency)
        erring = Signal()
        # A copy near to the addresses that it chooses.
        error_reads = Signal(attrs=REPLICA)
        m.d.comb += [
            self.reading.eq(walking | erring),
            stepping.eq(walking & (ahead | ~following)),
        ]
        m.d.sync += [
            ahead.eq(Array(total >= needed for total in totals)[follow_tag]),
            awaited.eq(awaited & ~self.complete),
            following.eq((awaited & ~self.complete).any()),
        ]
        with m.If(drain != 0):
            m.d.sync += drain.eq(drain - 1)
        with m.If(self.start):
            m.d.sync += self.idle.eq(0)
        with m.Elif(drain == 1):
            m.d.sync += self.idle.eq(1)
        with m.If(stepping):
            m.d.sync += [walk.eq(walk + 1), left.eq(left - 1), final_step.eq(left == 2), needed.eq(needed + 1)]
            with m.If(final_step):
                m.d.sync += [walking.eq(0), drain.eq(DRAIN)]
        of_sweep = Signal(reset_less=True)
        # The instruction stands before it starts, so that its operation is decoded by then.
        decoded = {op: Signal(name=f"is_{op.name.lower()}", reset_less=True) for op in (*WALK_OPS, Op.ERROR)}
        m.d.sync += [flag.eq(self.instruction.op == op) for op, flag in decoded.items()]
        serial, lists, fills = (Signal(reset_less=True, name=name) for name in ("serial", "lists", "fills"))
        m.d.sync += serial.eq(self.instruction.op.matches(*WALK_OPS))
        m.d.sync += [lists.eq(self.instruction.op != Op.SNAPSHOT), fills.eq((self.instruction.op == Op.ACTIVATE) & ~self.instruction.full)]
        with m.If(self.start):
            m.d.sync += [
                instruction.eq(self.instruction),
                walk.eq(self.instruction.target),
                left.eq(self.instruction.rows),
                final_step.eq(self.instruction.rows == 1),
                needed.eq(2),
                awaited.eq(self.awaits),
                following.eq(self.awaits.any()),
                follow_tag.eq(self.follow_tag),
                ahead.eq(0),
                of_sweep.eq(self.sweep),
                walking.eq(serial),
                erring.eq(~serial),
                error_reads.eq(~serial),
                activating.eq(decoded[Op.ACTIVATE]),
                deviating.eq(decoded[Op.DEVIATE]),
                copying.eq(decoded[Op.SNAPSHOT]),
                differing.eq(decoded[Op.DIFFERENCE]),
                of_error.eq(decoded[Op.ERROR]),
            ]
        error_start = Signal()
        m.d.sync += error_start.eq(self.start & ~serial)
        m.d.comb += [
            error.start.eq(self.start & ~serial),
            error.predict_only.eq(instruction.op == Op.PREDICT),
            error.classes.eq(instruction.rows),
            error.label.eq(self.label),
            error.error_bits.eq(instruction.bits),
            error.shift.eq(instruction.round),
            error.drive.eq(drives.read_data),
        ]
        # A later error of the clamped phase leaves both as they were.
        of_sample = instruction.first | (instruction.op == Op.PREDICT)
        prediction = plain_register(m, self.prediction, "prediction_register")
        with m.If(error.done & of_sample):
            m.d.sync += prediction.eq(error.prediction)
        with m.If(error.done):
            m.d.sync += [erring.eq(0), error_reads.eq(0), drain.eq(ERROR_DRAIN)]
        error_address = Signal(range(depth), reset_less=True)
        m.d.sync += error_address.eq(instruction.target + error.index)
        m.d.comb += drives.read_address.eq(Mux(error_reads, error_address, walk))

        m.submodules.first_round = first_round = RoundSaturate(
            parameters.drive_bits, max(parameters.pre_activation.width, parameters.drive.width, LOGIT_BITS + 1)
        )
        m.submodules.activation = activation = Activation(parameters.pre_activation)
        m.d.comb += [
            first_round.value.eq(drives.read_data),
            first_round.shift.eq(instruction.round),
            first_round.bits.eq(Mux(activating_drive, parameters.pre_activation.magnitude_bits, parameters.drive.magnitude_bits)),
            activation.value.eq(first_round.result),
            activation.kind.eq(instruction.kind),
        ]
        # The slope is unsigned: a zero above it is its sign.
        m.submodules.multiplier = multiplier = Multiplier(parameters.drive.width, SLOPE_FRACTION + 2)
        m.d.comb += [multiplier.left.eq(first_round.result), multiplier.right.eq(states.read_data.slope)]
        product = multiplier.product[: parameters.drive.width + SLOPE_FRACTION + 1]
        sloped = delay(m, product, Activation.latency - Multiplier.latency, "sloped")
        m.submodules.second_round = second_round = RoundSaturate(
            max(parameters.drive.width, parameters.pre_activation.fraction + 1) + SLOPE_FRACTION + 1, parameters.vector_bits
        )
        m.d.comb += [
            second_round.value.eq(Mux(activating_slope, activation.magnitude, sloped.as_signed())),
            second_round.shift.eq(instruction.round2),
            second_round.bits.eq(instruction.bits),
        ]

        walked = [stepping]
        addresses = [walk]
        for cycle in range(1, TOLD + 1):
            walked.append(delay(m, walked[-1], 1, f"walked_{cycle}"))
            addresses.append(delay(m, addresses[-1], 1, f"address_{cycle}"))
        host = Signal(attrs=REPLICA)
        m.d.sync += host.eq(self.idle)
        erred_address = Signal(range(depth), reset_less=True)
        m.d.comb += [
            states.read_address.eq(
                Mux(
                    host,
                    self.read_address,
                    Mux(deviating, addresses[ROUNDED - BlockMemory.latency], addresses[RESULT + 1 - BlockMemory.latency]),
                )
            ),
            deviations.read_address.eq(
                Mux(host, self.read_address, Mux(of_error, erred_address, addresses[RESULT + 1 - BlockMemory.latency]))
            ),
            self.read_state.eq(states.read_data.value),
            self.read_slope.eq(states.read_data.slope),
            self.read_deviation.eq(deviations.read_data),
        ]
        m.d.sync += erred_address.eq(instruction.target + error.error_index)
        fresh = Signal(vector, reset_less=True)
        negative = delay(m, activation.negative, RoundSaturate.latency, "negative") & activating
        m.d.sync += fresh.eq(Mux(negative, -second_round.result, second_round.result))
        state, deviation = states.read_data.value, deviations.read_data
        erred = delay(m, error.error, 1 + BlockMemory.latency, "erred")
        erred_valid = delay(m, error.error_valid, 1 + BlockMemory.latency, "erred_valid")
        found, compared = Signal(vector, reset_less=True), Signal(signed(parameters.vector_bits + 1), reset_less=True)
        m.d.sync += [
            found.eq(Mux(copying, state, Mux(differing, state - deviation, Mux(of_error, erred, fresh)))),
            compared.eq(Mux(of_error, erred, fresh) - Mux(instruction.first, 0, Mux(activating, state, deviation))),
        ]
        value, change = Signal(vector, reset_less=True), Signal(signed(parameters.vector_bits + 1), reset_less=True)
        valid, changed, nonzero_value = Signal(), Signal(reset_less=True), Signal(reset_less=True)
        push_change, push_value = Signal(), Signal()
        listed = ~self.skip_sources
        found_valid = delay(m, erred_valid, 1, "erred_found") | walked[TOLD - 1]
        m.d.sync += [
            value.eq(found),
            change.eq(compared),
            changed.eq(compared != 0),
            nonzero_value.eq(found != 0),
            valid.eq(found_valid),
            push_change.eq(found_valid & ~copying & ((compared != 0) | listed)),
            push_value.eq(found_valid & activating & ~instruction.full & ((found != 0) | listed)),
        ]

        # Results, in the order of the neurons.
        index = Signal(INDEX_BITS, reset_less=True)
        lane = Signal(range(parameters.lanes), reset_less=True)
        row = plain_register(m, self.row, "row_register")
        neuron = Signal(range(depth), reset_less=True)
        # A copy is nobody's news: changes that are still to be added to drives stay where they are.
        told = valid & ~copying
        # The output's block learns from the error of the free state.
        taught = instruction.first | (instruction.op != Op.ERROR)
        m.d.comb += [
            states.write_enable.eq(valid & activating),
            states.write_address.eq(neuron),
            states.write_data.value.eq(value),
            states.write_data.slope.eq(delay(m, activation.slope, TOLD - SLOPED, "slope")),
            deviations.write_enable.eq(valid & ~activating),
            deviations.write_address.eq(neuron),
            deviations.write_data.eq(value),
            self.rows.valid.eq(told),
            self.rows.lane.eq(lane),
            self.rows.address.eq(row),
            self.rows.change.eq(change),
            self.rows.value.eq(value),
            self.rows.values.eq(taught),
        ]
        with m.If(self.start):
            m.d.sync += [index.eq(0), lane.eq(0), row.eq(self.instruction.row), neuron.eq(self.instruction.target)]
        with m.Elif(valid):
            m.d.sync += [index.eq(index + 1), lane.eq(lane + 1), neuron.eq(neuron + 1)]
            with m.If(lane == parameters.lanes - 1):
                m.d.sync += [lane.eq(0), row.eq(row + 1)]

        m.d.comb += [
            changes.begin.eq(self.start & lists),
            changes.base.eq(self.instruction.target),
            changes.node.eq(self.instruction.node),
            nonzero.begin.eq(self.start & fills),
            nonzero.base.eq(self.instruction.target),
            nonzero.node.eq(self.instruction.node),
            nonzero.push.eq(push_value),
            nonzero.index.eq(index),
            nonzero.value.eq(value),
            changes.push.eq(push_change),
            changes.index.eq(index),
            changes.value.eq(change),
            changes.read_address.eq(self.list_address),
            nonzero.read_address.eq(self.list_address),
            changes.read_node.eq(self.list_node),
            nonzero.read_node.eq(self.list_node),
        ]
        # The inputs of two samples: one is read while the next one comes.
        pair = data.StructLayout({"index": INDEX_BITS, "value": parameters.vector_bits - 1})
        m.submodules.inputs = inputs = BlockMemory(pair, 2 * depth)
        coming = Signal()
        counts = [Signal(INDEX_BITS, name=f"inputs_{half}", reset_less=True) for half in range(2)]
        pushed, input_index = Signal(), Signal(INDEX_BITS, reset_less=True)
        place = Signal(range(depth), reset_less=True)
        m.d.sync += [
            pushed.eq(self.input_push & ((self.input_value != 0) | listed)),
            plain_register(m, inputs.write_data, "write_data_register").eq(Cat(input_index, self.input_value)),
            input_index.eq(Mux(self.input_begin, 0, input_index + self.input_push)),
        ]
        m.d.comb += [
            inputs.write_enable.eq(pushed),
            # They take turns in the memory, whose depth need not be a power of two.
            inputs.write_address.eq(Cat(coming, place)),
            inputs.read_address.eq(Cat(~coming, self.list_address)),
        ]
        with m.If(self.input_begin):
            m.d.sync += place.eq(0)
        with m.Elif(pushed):
            m.d.sync += place.eq(place + 1)
        for half, count in enumerate(counts):
            with m.If((coming == half) & self.input_begin):
                m.d.sync += count.eq(0)
            with m.Elif((coming == half) & pushed):
                m.d.sync += count.eq(count + 1)
        with m.If(delay(m, self.input_take, 1, "input_take")):
            m.d.sync += coming.eq(~coming)

        full = delay(m, self.list_full, EventList.latency, "full")
        of_inputs = delay(m, self.list_node == 0, EventList.latency, "of_inputs")
        m.d.comb += [self.changes_length.eq(changes.length), self.states_length.eq(nonzero.length)]
        m.d.sync += [
            plain_register(m, self.count, "count_register").eq(
                Mux(full, nonzero.count, Mux(of_inputs, Mux(coming, counts[0], counts[1]), changes.count))
            ),
            plain_register(m, self.entry_index, "entry_index_register").eq(
                Mux(full, nonzero.entry.index, Mux(of_inputs, inputs.read_data.index, changes.entry.index))
            ),
            plain_register(m, self.entry_value, "entry_value_register").eq(
                Mux(full, nonzero.entry.value, Mux(of_inputs, Cat(inputs.read_data.value, Const(0, 1)).as_signed(), changes.entry.value))
            ),
        ]

        for name, bit, update, flag in (
            ("changed", changed, told, self.changed_block),
            ("valued", nonzero_value, told & taught, self.valued_block),
        ):
            memory = Memory(shape=1, depth=parameters.row_depth, init=[])
            m.submodules[f"{name}_blocks"] = memory
            write, read = memory.write_port(), memory.read_port(domain="comb")
            held = Signal(name=f"{name}_held")
            now = Signal(name=f"{name}_now")
            m.d.comb += [
                now.eq(bit | listed | (held & (lane != 0))),
                write.en.eq(update),
                write.addr.eq(row),
                write.data.eq(now),
                read.addr.eq(self.block),
                flag.eq(read.data),
            ]
            with m.If(update):
                m.d.sync += held.eq(now)

        changed_in, news = Signal(2), Signal(2)
        m.d.sync += self.changed.eq(changed_in.bit_select(self.sweep, 1))
        m.d.sync += news.eq(Mux(valid & changed & (activating | deviating), Cat(~of_sweep, of_sweep), 0))
        for sweep in range(2):
            with m.If(news[sweep]):
                m.d.sync += changed_in[sweep].eq(1)
            with m.Elif(self.clear_changed & (self.sweep == sweep)):
                m.d.sync += changed_in[sweep].eq(0)

        # A cycle later than the error, which the drain outlasts.
        erred = delay(m, error.error_valid & (error.error != 0), 1, "erred")
        with m.If(error_start & of_sample):
            m.d.sync += self.wrong.eq(0)
        with m.Elif(erred & of_sample):
            m.d.sync += self.wrong.eq(1)
        m.d.comb += [
            self.event_serial.eq(stepping | error.index_valid),
            self.event_changed_state.eq(valid & activating & changed),
            self.event_changed_deviation.eq(valid & deviating & changed),
            self.event_saturated_pre_activation.eq(walked[ROUNDED] & activating & first_round.saturated),
            self.event_saturated_drive.eq(walked[ROUNDED] & deviating & first_round.saturated),
            self.event_saturated_deviation.eq(walked[RESULT] & deviating & second_round.saturated),
            self.event_saturated_logit.eq(error.logit_saturated),
            self.event_saturated_error.eq(error.error_valid & error.saturated),
        ]
        return m
