# SPDX-License-Identifier: Apache-2.0
"""Addresses and values for the lane array: FORWARD, TRANSPOSED and UPDATE, a command a cycle."""

from collections.abc import Sequence
from typing import Final

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.arithmetic import RANDOM_BITS, ROW_ROTATION
from ..firmware.isa import Instruction, Op
from ..firmware.parameters import EngineParameters
from .event_list import INDEX_BITS
from .instruction import INSTRUCTION
from .lane_array import LaneArray, command_signature
from .neurons import LIST_LATENCY, SUM_LATENCY
from .pipeline import delay, plain_register

ISSUE: Final = LIST_LATENCY + 3
"""Cycles from the choice of a source to its command."""

LOOK: Final = LIST_LATENCY + 2
"""Cycles from a start until the length of the list is known."""

PASS: Final = SUM_LATENCY - 1
"""Least cycles from one row block of a transposed pass to the next, so that a drive is written before it is read again."""


class Issuer(wiring.Component):
    """Walks row blocks (outer loop) and sources or columns (inner loop), leaving out what changes nothing.

    Parameters
    ----------
    parameters : EngineParameters

    Ports
    -----
    start, instruction : In
        Execute; only while `idle`.
    rate : In
        Minus log2 of the learning rate.
    idle : Out
        The last instruction's sums are in the drives, its weights in the memory.
    current : Out
        The instruction under way.
    transposed, update, nearest : Out
        Mode of the lane array.
    command : Out
        See `lane_array.command_signature`.
    list_full, list_address, list_node : Out
        Entry of an event list wanted; `entry_index`, `entry_value`, `count` : In, `neurons.LIST_LATENCY` cycles later.
    block, changed_block, valued_block : Out, In, In
        Flags of a row block, at once.
    event_forward, event_transposed, event_update : Out
        A product that was asked for is under way.
    event_lanes : Out
        Rows that exist in it.
    event_skipped_sources, event_skipped_columns : Out
        Sources or columns left out.

    The first command comes `ISSUE` + 3 cycles after the start of a transposed pass, `LOOK` - 1 later in the others. Throughput one
    command a cycle, beside two cycles for each row block, skipped or not. A block's last command waits: forward, until the block before
    has had a cycle for each of its rows and one more; transposed, until `PASS` - 3 cycles after the block's first.
    """

    def __init__(self, parameters: EngineParameters) -> None:
        self.parameters = parameters
        self.transposed_latency = LaneArray.transposed_latency(parameters)
        neurons = range(parameters.neuron_depth)
        super().__init__(
            {
                "start": In(1),
                "instruction": In(INSTRUCTION),
                "rate": In(5),
                "idle": Out(1),
                "current": Out(INSTRUCTION),
                "transposed": Out(1),
                "update": Out(1),
                "nearest": Out(1),
                "command": Out(command_signature(parameters)),
                "list_full": Out(1),
                "list_address": Out(neurons),
                "list_node": Out(range(parameters.program_depth)),
                "entry_index": In(INDEX_BITS),
                "entry_value": In(signed(parameters.vector_bits + 1)),
                "count": In(INDEX_BITS),
                "block": Out(range(parameters.row_depth)),
                "changed_block": In(1),
                "valued_block": In(1),
                "event_forward": Out(1),
                "event_transposed": Out(1),
                "event_update": Out(1),
                "event_lanes": Out(range(parameters.lanes + 1)),
                "event_skipped_sources": Out(INDEX_BITS),
                "event_skipped_columns": Out(INDEX_BITS),
            }
        )

    def model(
        self, instruction: Instruction, rate: int, entries: Sequence[tuple[int, int]], changed: Sequence[bool], valued: Sequence[bool]
    ) -> tuple[list[dict[str, int]], dict[str, int]]:
        """What an instruction gives.

        Parameters
        ----------
        instruction : Instruction
            FORWARD, TRANSPOSED or UPDATE.
        rate : int
        entries : sequence of (index, value)
            The event list that the instruction names.
        changed, valued : sequence of bool
            Flags by row block address.

        Returns
        -------
        commands : list of dict
            Members of `command_signature` that matter to the operation, in their order.
        events : dict of str to int
            Sums of ``event_...`` by the part after it.
        """
        op, columns, lanes = instruction.op, instruction.columns, self.parameters.lanes
        commands: list[dict[str, int]] = []
        events = dict.fromkeys(("forward", "transposed", "update", "lanes", "skipped_sources", "skipped_columns"), 0)
        begun = False
        for block in range(-(-instruction.rows // lanes)):
            rows = min(lanes, instruction.rows - block * lanes)
            row = instruction.row + block
            base = instruction.weights + block * columns
            if op == Op.TRANSPOSED:
                if not (changed[row] or (instruction.first and block == 0)):
                    events["skipped_columns"] += columns
                    continue
                issued = [
                    {
                        "address": base + column,
                        "row": row,
                        "restart": int(column == 0),
                        "overwrite": int(instruction.first and not begun),
                    }
                    for column in range(columns)
                ]
                products = columns
            elif op == Op.UPDATE:
                products = len(entries) if valued[row] else 0
                events["skipped_sources"] += columns - products
                issued = [
                    {
                        "address": base + index,
                        "row": row,
                        "value": value << (instruction.shift - rate),
                        "column": instruction.column + index,
                        "turn": ROW_ROTATION * lanes * block % RANDOM_BITS,
                    }
                    for index, value in entries[:products]
                ]
            else:
                products = len(entries)
                events["skipped_sources"] += columns - products
                # A drive that begins here is set even if there is no source.
                sources = entries or ([(0, 0)] if instruction.first else [])
                issued = [
                    {
                        "address": base + index,
                        "value": value,
                        "start": int(place == 0),
                        "last": int(place == len(sources) - 1),
                        "restart": int(block == 0),
                        "overwrite": instruction.first,
                        "rows": rows,
                    }
                    for place, (index, value) in enumerate(sources)
                ]
            begun = True
            commands += issued
            events[op.name.lower()] += products
            events["lanes"] += rows * products
        return commands, events

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parameters = self.parameters
        lanes = parameters.lanes
        now = data.View(INSTRUCTION, plain_register(m, self.current, "now"))
        transposed = self.transposed
        m.d.comb += [
            self.list_full.eq(now.full),
            self.list_node.eq(now.node),
            self.nearest.eq(now.nearest),
        ]

        base = Signal(range(parameters.weight_depth), reset_less=True)
        left = Signal(INDEX_BITS, reset_less=True)
        turn = Signal(range(RANDOM_BITS), reset_less=True)
        first_block = Signal(reset_less=True)
        inner = Signal(INDEX_BITS, reset_less=True)
        inner_left = Signal(INDEX_BITS, reset_less=True)
        empty = Signal(reset_less=True)
        rows = Signal(range(lanes + 1), reset_less=True)
        final = Signal(reset_less=True)
        length = Signal(INDEX_BITS, reset_less=True)
        some = Signal(reset_less=True)
        active = Signal(reset_less=True)
        m.d.sync += [
            length.eq(Mux(transposed, now.columns, self.count)),
            some.eq(self.count != 0),
            rows.eq(Mux(left > lanes, lanes, left)),
            final.eq(left <= lanes),
        ]
        with m.If(transposed):
            m.d.sync += active.eq(self.changed_block | (now.first & first_block))
        with m.Elif(self.update):
            m.d.sync += active.eq(self.valued_block & some)
        with m.Else():
            m.d.sync += active.eq(some | now.first)

        # A forward block's sums leave the chain before the next block's come; a transposed pass waits for its drives.
        spacing = Signal(range(max(lanes, PASS) + 1))
        spaced = Signal()
        m.d.sync += spaced.eq(spacing <= 1)
        with m.If(spacing != 0):
            m.d.sync += spacing.eq(spacing - 1)
        forward_drain = ISSUE + LaneArray.forward_latency + SUM_LATENCY
        transposed_drain = ISSUE + self.transposed_latency + SUM_LATENCY
        update_drain = ISSUE + LaneArray.update_latency + 1
        drain = Signal(range(max(forward_drain + lanes, transposed_drain, update_drain) + 1))

        issue, last, go = Signal(), Signal(), Signal()
        single = Signal(reset_less=True)
        next_block = Signal()
        with m.If(next_block):
            m.d.sync += [
                base.eq(base + now.columns),
                self.block.eq(self.block + 1),
                left.eq(left - lanes),
                turn.eq(turn + ROW_ROTATION * lanes % RANDOM_BITS),
            ]
        look = Signal(range(LOOK))
        m.d.sync += [self.event_skipped_sources.eq(0), self.event_skipped_columns.eq(0)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(1)
                m.d.sync += [
                    now.eq(self.instruction),
                    self.transposed.eq(self.instruction.op == Op.TRANSPOSED),
                    self.update.eq(self.instruction.op == Op.UPDATE),
                    base.eq(self.instruction.weights),
                    self.block.eq(self.instruction.row),
                    left.eq(self.instruction.rows),
                    turn.eq(0),
                    first_block.eq(1),
                    look.eq(LOOK - 2),
                ]
                with m.If(self.start):
                    m.next = "LIST"
                    with m.If(self.instruction.op == Op.TRANSPOSED):
                        m.next = "BLOCK"
            with m.State("LIST"):
                m.d.sync += look.eq(look - 1)
                with m.If(look == 0):
                    m.next = "BLOCK"
            with m.State("BLOCK"):
                with m.If(transposed):
                    m.d.sync += spacing.eq(PASS - 2)
                m.next = "CHOOSE"
            with m.State("CHOOSE"):
                m.d.sync += [inner.eq(0), inner_left.eq(length), single.eq(length <= 1), empty.eq(length == 0)]
                with m.If(active):
                    m.d.sync += self.event_skipped_sources.eq(Mux(transposed, 0, now.columns - length))
                    m.next = "RUN"
                with m.Else():
                    with m.If(transposed):
                        m.d.sync += self.event_skipped_columns.eq(now.columns)
                    with m.Else():
                        m.d.sync += self.event_skipped_sources.eq(now.columns)
                    m.d.comb += next_block.eq(1)
                    m.next = "BLOCK"
                    with m.If(final):
                        m.next = "DRAIN"
            with m.State("RUN"):
                m.d.comb += [
                    last.eq(single),
                    issue.eq(~last | self.update | spaced),
                    go.eq(issue & last),
                ]
                with m.If(issue):
                    m.d.sync += [inner.eq(inner + 1), inner_left.eq(inner_left - 1), single.eq(inner_left == 2)]
                with m.If(go):
                    m.d.comb += next_block.eq(1)
                    m.d.sync += first_block.eq(0)
                    with m.If(now.op == Op.FORWARD):
                        m.d.sync += [spacing.eq(rows), drain.eq(forward_drain + rows)]
                    with m.Elif(transposed):
                        m.d.sync += drain.eq(transposed_drain)
                    with m.Else():
                        m.d.sync += drain.eq(update_drain)
                    m.next = "BLOCK"
                    with m.If(final):
                        m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(drain == 0):
                    m.next = "IDLE"
        with m.If((drain != 0) & ~go):
            m.d.sync += drain.eq(drain - 1)

        # The list is read while the block's part of the address waits; then both meet.
        read = 1 + LIST_LATENCY
        none = delay(m, empty, read, "none")
        column = Signal(INDEX_BITS, reset_less=True)
        value = Signal.like(self.entry_value, reset_less=True)
        m.d.sync += [
            self.list_address.eq(now.source + inner),
            column.eq(Mux(transposed, delay(m, inner, read, "inner"), Mux(none, 0, self.entry_index))),
            value.eq(Mux(none, 0, self.entry_value)),
        ]
        shift = Signal(range(parameters.broadcast_bits), reset_less=True)
        m.d.sync += shift.eq(now.shift - self.rate)
        command = self.command
        flags = {
            "valid": issue,
            "start": inner == 0,
            "last": last,
            "restart": (inner == 0) & transposed | first_block & ~transposed,
            "overwrite": now.first & (first_block | ~transposed),
        }
        waited = {
            name: delay(m, part, read + 1, name) for name, part in (("base", base), ("block", self.block), ("rows", rows), ("turn", turn))
        }
        parts = {
            "address": waited["base"] + column,
            "row": waited["block"],
            "rows": waited["rows"],
            "turn": waited["turn"],
            "column": now.column + column,
            "value": Mux(self.update, (value << shift)[: parameters.broadcast_bits].as_signed(), value),
            **{name: delay(m, flag, read + 1, name) for name, flag in flags.items()},
        }
        for name, part in parts.items():
            m.d.sync += plain_register(m, getattr(command, name), f"{name}_register").eq(part)

        counts = issue & ~empty
        m.d.sync += [
            self.event_forward.eq(counts & ~transposed & ~self.update),
            self.event_transposed.eq(issue & transposed),
            self.event_update.eq(issue & self.update),
            self.event_lanes.eq(Mux(counts, rows, Const(0))),
        ]
        return m
