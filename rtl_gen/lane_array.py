# SPDX-License-Identifier: Apache-2.0
"""All lanes: weight memory, broadcast, adder tree, drain chain and random words."""

from typing import Final

import numpy as np
from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, ValueLike, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.arithmetic import RANDOM_BITS, ROW_ROTATION, IntArray
from ..firmware.parameters import EngineParameters
from .instruction import TAGS
from .lane import Lane
from .pipeline import REPLICA, delay, fan_out, plain_register
from .random_words import RandomWords
from .weights import FAN_OUT, WeightMemory

BROADCAST: Final = 3
"""Registers between the head of the array and the lanes."""


def command_signature(parameters: EngineParameters) -> wiring.Signature:
    """What the array does in one cycle.

    Members
    -------
    valid : 1
        There is something to multiply.
    transposed, kept, update, nearest : 1
        What is done; neither transposed nor an update: forward. Transposed products are of the rows' changes, or of the values that they
        keep; an update rounds to nearest.
    address : weight address
    row : row block of the values that the lanes multiply with (transposed, update)
    value : signed(broadcast_bits)
        Source value (forward, update).
    start, last : 1
        First and last product of a row block (forward).
    restart, overwrite, final, tag : 1, 1, 1, range(TAGS)
        For the sums: their drives start again at the target's first neuron; they replace what is there; no other sum of the
        instruction follows for the same drive; which of the instructions under way they are of.
    rows : range(lanes + 1)
        Rows of the block, which is how many sums a forward block gives.
    column, turn : 20, 5
        For the random words (update).
    """
    return wiring.Signature(
        {
            "valid": Out(1),
            "transposed": Out(1),
            "kept": Out(1),
            "update": Out(1),
            "nearest": Out(1),
            "address": Out(range(parameters.weight_depth)),
            "row": Out(range(parameters.row_depth)),
            "value": Out(signed(parameters.broadcast_bits)),
            "start": Out(1),
            "last": Out(1),
            "restart": Out(1),
            "overwrite": Out(1),
            "final": Out(1),
            "tag": Out(range(TAGS)),
            "rows": Out(range(parameters.lanes + 1)),
            "column": Out(20),
            "turn": Out(5),
        }
    )


def row_signature(parameters: EngineParameters) -> wiring.Signature:
    """A neuron's value on its way into the row memory of its lane.

    The write of the neuron in lane 0 sets the other lanes of the row block to zero, so that rows that do not exist
    are zero in every block that is written from its first row on.
    """
    return wiring.Signature(
        {
            "valid": Out(1),
            "lane": Out(range(parameters.lanes)),
            "address": Out(range(parameters.row_depth)),
            "change": Out(signed(parameters.vector_bits + 1)),
            "value": Out(signed(parameters.vector_bits)),
            "values": Out(1),
        }
    )


def sum_signature(parameters: EngineParameters) -> wiring.Signature:
    """A sum on its way to its drive.

    Members
    -------
    value : signed(accumulator_bits)
    valid : 1
    restart, overwrite, final, tag : 1, 1, 1, range(TAGS)
        See `command_signature`.
    """
    return wiring.Signature(
        {
            "value": Out(signed(parameters.accumulator_bits)),
            "valid": Out(1),
            "restart": Out(1),
            "overwrite": Out(1),
            "final": Out(1),
            "tag": Out(range(TAGS)),
        }
    )


class LaneArray(wiring.Component):
    """The multiply-accumulate array.

    Parameters
    ----------
    parameters : EngineParameters

    Ports
    -----
    seed, step : In, 32
        For the random words; stable while commands are under way.
    command : In
        See `command_signature`. Forward: the next ``last`` comes at least ``rows`` cycles after that of a block. No other command
        comes within `Lane.update_latency` cycles after an update.
    rows : In
        See `row_signature`; visible to commands from the next cycle on.
    forward : Out
        Sums of a forward block, see `sum_signature`: one per row in their order, from `forward_latency` cycles after ``last`` on.
    transposed : Out
        Sums of a transposed pass, likewise: one per command, `transposed_latency` cycles after it.
    clipped : Out
        Weights that a command of an update clipped, `clipped_latency` cycles after it; 0 otherwise.
    load_step, load_value, load_write, load_address : In
        Weights from outside: ``load_step`` shifts a weight in, lane 0's first; ``load_write`` writes all of them to the address,
        which commands may use, or a fetch, from `load_latency` cycles later on.
    fetch : In
        The chain takes the weights of ``load_address``, `fetch_latency` cycles later; then ``load_step`` moves on.
    fetched : Out, signed
        Weight at the chain's end: lane 0's first. A step moves it on `step_latency` cycles later.

    Throughput one command a cycle. Weights are written `update_latency` cycles after their command.
    """

    operand_time: Final = 1 + WeightMemory.latency
    """Cycles from a command to its operands at the lanes."""
    forward_latency: Final = operand_time + Lane.chain_latency + 1
    update_latency: Final = operand_time + Lane.learned_latency + 1
    clipped_latency: Final = operand_time + Lane.learned_latency + 7
    load_latency: Final = BROADCAST + 2 - FAN_OUT
    fetch_latency: Final = operand_time + 1
    step_latency: Final = BROADCAST + 2

    def __init__(self, parameters: EngineParameters) -> None:
        self.parameters = parameters
        super().__init__(
            {
                "seed": In(32),
                "step": In(32),
                "command": In(command_signature(parameters)),
                "rows": In(row_signature(parameters)),
                "forward": Out(sum_signature(parameters)),
                "transposed": Out(sum_signature(parameters)),
                "clipped": Out(range(parameters.lanes + 1)),
                "load_step": In(1),
                "load_value": In(signed(parameters.weight.width)),
                "load_write": In(1),
                "load_address": In(range(parameters.weight_depth)),
                "fetch": In(1),
                "fetched": Out(signed(parameters.weight.width)),
            }
        )

    @classmethod
    def transposed_latency(cls, parameters: EngineParameters) -> int:
        """Cycles from a command of a transposed pass to its sum: the adder tree has a register per level and one before it."""
        return cls.operand_time + Lane.product_latency + (parameters.lanes - 1).bit_length() + 2

    @staticmethod
    def model_forward(weights: IntArray, values: IntArray) -> IntArray:
        """(rows,) sums of a (rows, columns) block, as `Lane.model_multiplied` gives it, and (columns,) source values."""
        return np.asarray(weights @ values)

    @staticmethod
    def model_transposed(weights: IntArray, changes: IntArray) -> IntArray:
        """(columns,) sums of a (rows, columns) block, likewise, and (rows,) row changes."""
        return np.asarray(weights.T @ changes)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parameters, command = self.parameters, self.command
        count = parameters.lanes
        m.submodules.weights = weights = WeightMemory(parameters)
        m.submodules.random = random = RandomWords()
        lanes = [Lane(parameters) for _ in range(count)]
        for index, lane in enumerate(lanes):
            m.submodules[f"lane_{index}"] = lane

        def to_lanes(value: ValueLike, cycles: int, name: str, leaf: int = 1) -> list[Value]:
            """At every lane as it was so many cycles ago; the last registers serve ``leaf`` lanes each."""
            return fan_out(m, delay(m, value, cycles - BROADCAST, f"{name}_early"), count, name, cycles=BROADCAST, leaf=leaf)

        # An update meets its weight when the product is ready, so its address waits at the head, not its weight in the lanes.
        learning = command.valid & command.update
        address = Signal(range(parameters.weight_depth), reset_less=True)
        waiting, waited = (
            delay(m, value, Lane.update_latency, name) for value, name in ((command.address, "waiting"), (learning, "waits"))
        )
        m.d.sync += address.eq(Mux(waited, waiting, command.address))
        with m.If(self.fetch):
            m.d.sync += address.eq(self.load_address)
        m.d.comb += weights.read_address.eq(address)

        m.d.comb += [random.seed.eq(self.seed), random.step.eq(self.step), random.column.eq(command.column), random.turn.eq(command.turn)]
        words = to_lanes(random.word, self.operand_time + Lane.update_latency - RandomWords.latency, "word")
        forward = command.valid & ~command.transposed & ~command.update
        captured = forward & command.last
        value = to_lanes(command.value, self.operand_time, "value", leaf=2)
        row = to_lanes(command.row, self.operand_time - 1, "row")
        enable = to_lanes(forward, self.operand_time, "enable")
        start = to_lanes(command.start, self.operand_time, "start")
        capture = to_lanes(captured, self.operand_time, "capture")
        chain_weight = to_lanes(self.fetch, self.operand_time, "fetch")
        transposed = to_lanes(command.transposed, self.operand_time, "transposed")
        kept = to_lanes(command.kept, self.operand_time, "kept")
        update = to_lanes(command.update, self.operand_time, "update")
        nearest = to_lanes(command.nearest, self.operand_time + Lane.update_latency, "nearest")

        # A captured block leaves the chain row by row; the steps are counted before they set out for the lanes, by way of a register.
        setting_out = BROADCAST + 1
        arriving = self.operand_time + Lane.chain_latency - 1 - setting_out
        arrives = delay(m, captured, arriving, "arrives")
        block_rows = delay(m, command.rows, arriving, "rows")
        of_sums = ("restart", "overwrite", "final", "tag")
        block_restart, *block_marks = (delay(m, getattr(command, name), arriving, name) for name in of_sums)
        left = Signal(range(count + 1), reset_less=True)
        leaving, restart = Signal(), Signal(reset_less=True)
        marks = Signal(len(Cat(*block_marks)), reset_less=True)
        m.d.sync += restart.eq(0)
        with m.If(arrives):
            m.d.sync += [left.eq(block_rows), leaving.eq(1), restart.eq(block_restart), marks.eq(Cat(*block_marks))]
        with m.Elif(leaving):
            m.d.sync += [left.eq(left - 1), leaving.eq(left != 1)]
        step = to_lanes(self.load_step | leaving, setting_out, "step")

        # The memory asks for its data later than for their address; weights from outside are in the chain a step's way after it.
        written_in = self.operand_time + Lane.learned_latency + 1 - FAN_OUT
        loaded_in = setting_out + 1 - FAN_OUT
        loaded = to_lanes(self.load_write, setting_out, "load_write")
        loading = delay(m, self.load_write, loaded_in, "loading")
        m.d.comb += [
            weights.write_enable.eq(delay(m, learning, written_in, "write") | loading),
            weights.write_address.eq(
                Mux(loading, delay(m, self.load_address, loaded_in, "load_address"), delay(m, command.address, written_in, "written"))
            ),
        ]

        # Four lanes share a decoder of a row's lane, so that a lane of its own decides with little logic.
        layout = data.StructLayout({name: member.shape for name, member in self.rows.signature.members.items()})
        decoded = data.StructLayout({**layout.members, "lane": 2, "first": 1, "here": 1})
        rows = fan_out(m, Cat(*(getattr(self.rows, name) for name in layout.members)), -(-count // 4), "rows", leaf=4)
        near = [Signal(decoded, name=f"rows_near_{index}", reset_less=True, attrs=REPLICA) for index in range(len(rows))]
        for index, (given, here) in enumerate(zip((data.View(layout, bits) for bits in rows), near, strict=True)):
            m.d.sync += [here[name].eq(given[name]) for name in layout.members if name != "lane"]
            m.d.sync += [here.lane.eq(given.lane[:2]), here.first.eq(given.lane == 0), here.here.eq(given.lane >> 2 == index)]
        for index, lane in enumerate(lanes):
            here = near[index // 4]
            selected = here.here & (here.lane == index % 4)
            for target, source in (
                (lane.row_write, here.valid & (selected | here.first)),
                (lane.row_select, selected),
                (lane.row_values, here["values"]),
                (lane.row_address, here.address),
                (lane.row_change, here.change),
                (lane.row_value, here.value),
                (weights.write_data[index], Mux(loaded[index], lane.chain[: parameters.weight.width].as_signed(), lane.learned)),
            ):
                m.d.sync += plain_register(m, target, f"lane_{index}_register").eq(source)
            m.d.comb += [
                lane.transposed.eq(transposed[index]),
                lane.kept.eq(kept[index]),
                lane.update.eq(update[index]),
                lane.nearest.eq(nearest[index]),
                lane.weight.eq(weights.read_data[index]),
                lane.value.eq(value[index].as_signed()),
                lane.row.eq(row[index]),
                lane.enable.eq(enable[index]),
                lane.start.eq(start[index]),
                lane.capture.eq(capture[index]),
                lane.noise.eq(words[index].rotate_left(ROW_ROTATION * index % RANDOM_BITS)[RANDOM_BITS - parameters.update_shift :]),
                lane.chain_step.eq(step[index]),
                lane.chain_weight.eq(chain_weight[index]),
                lane.chain_in.eq(delay(m, self.load_value, setting_out, "load_value") if index == count - 1 else lanes[index + 1].chain),
            ]
        m.d.comb += self.fetched.eq(lanes[0].chain)

        # A product is far from where it meets its neighbour's.
        terms: list[Value] = [delay(m, lane.product, 1, f"product_{index}") for index, lane in enumerate(lanes)]
        for level in range((count - 1).bit_length()):
            pairs = [terms[index : index + 2] for index in range(0, len(terms), 2)]
            bits = min(len(terms[0]) + 1, parameters.accumulator_bits)
            terms = [Signal(signed(bits), name=f"tree_{level}_{index}", reset_less=True) for index in range(len(pairs))]
            m.d.sync += [term.eq(sum(pair)) for term, pair in zip(terms, pairs, strict=True)]
        across, across_restart, *across_marks = (
            delay(m, flag, self.transposed_latency(parameters) - 1, f"across_{name}")
            for name, flag in (
                ("valid", command.valid & command.transposed),
                *((name, getattr(command, name)) for name in of_sums),
            )
        )
        down, down_restart, down_marks = (
            delay(m, flag, setting_out, f"down_{name}") for name, flag in (("valid", leaving), ("restart", restart), ("marks", marks))
        )
        for name, sums, value, valid, first, rest in (
            ("forward", self.forward, lanes[0].chain, down, down_restart, [down_marks[0], down_marks[1], down_marks[2:]]),
            ("transposed", self.transposed, terms[0], across, across_restart, across_marks),
        ):
            for member, source in zip(("value", "valid", *of_sums), (value, valid, first, *rest), strict=True):
                m.d.sync += plain_register(m, getattr(sums, member), f"{name}_{member}_register").eq(source)

        counted = delay(m, learning, self.clipped_latency - 1, "counted")
        # Few flags at a time, since their lanes are far apart, and the first of them counted by a table: so that no carry waits for them.
        flags = [delay(m, lane.clipped, 1, f"flag_{index}") for index, lane in enumerate(lanes)]
        groups = [flags[index : index + 4] for index in range(0, count, 4)]
        tables = [[number.bit_count() for number in range(1 << size)] for size in range(5)]
        clips = [delay(m, Array(tables[len(group)])[Cat(*group)], 1, f"clips_{index}") for index, group in enumerate(groups)]
        for level in range(4):
            pairs = [clips[index : index + 2] for index in range(0, len(clips), 2)]
            clips = [delay(m, sum(pair, Const(0, 1)), 1, f"clips_{level}_{index}") for index, pair in enumerate(pairs)]
        m.d.sync += plain_register(m, self.clipped, "clipped_register").eq(Mux(counted, sum(clips), 0))
        return m
