# SPDX-License-Identifier: Apache-2.0
"""Addresses and values for the lane array: FORWARD, TRANSPOSED and UPDATE, a command a cycle."""

from collections.abc import Sequence
from typing import Final

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.arithmetic import RANDOM_BITS, ROW_ROTATION
from ..firmware.isa import ARRAY_OPS, Instruction, Op
from ..firmware.parameters import EngineParameters
from .drives import PASS, STREAMS, SUM_LATENCY
from .event_list import INDEX_BITS
from .instruction import INSTRUCTION, TAGS
from .lane_array import LaneArray, command_signature
from .neurons import LIST_LATENCY
from .pipeline import REPLICA, delay, plain_register

ISSUE: Final = LIST_LATENCY + 3
"""Cycles from the choice of a source to its command."""

LOOK: Final = LIST_LATENCY + 2
"""Cycles from a start until the length of the list is known."""


class Issuer(wiring.Component):
    """Walks row blocks (outer loop) and sources or columns (inner loop), leaving out what changes nothing.

    The next instruction may begin while the sums of the last one are on their way. A forward pass follows the neuron unit's walk
    through the list that it writes; passes over rows follow it row block by row block.

    Parameters
    ----------
    parameters : EngineParameters

    Ports
    -----
    start, instruction : In
        Execute; only while not `issuing`, and when the tag after `latest` is `complete`. The instruction stands two cycles before.
    rate : In
        Minus log2 of the learning rate.
    issuing : Out
        Commands are still to come.
    latest : Out
        Tag of the last instruction that began; tags take turns.
    begins : Out, TAGS
        By tag: an instruction begins.
    complete : Out, TAGS
        By tag: the instruction's sums are in the drives, its weights in the memory.
    summing, targets : Out, TAGS
        By tag: sums are under way, and for which drives.
    learning : Out
        An update is not complete.
    current : Out
        The last instruction that began.
    command : Out
        See `lane_array.command_signature`.
    forward_tag, forward_target, forward_shift, transposed_tag, transposed_target, transposed_shift : In, Out, Out
        Where the sums of an instruction under way go, at once, for each stream of sums.
    list_full, list_address, list_node : Out
        Entry of an event list wanted; `entry_index`, `entry_value`, `count` : In, `neurons.LIST_LATENCY` cycles later.
    walk, walk_idle, changes_length, states_length, row : In
        The neuron unit's instruction and whether it has finished; how many pairs of its lists can be asked for; the row block that
        it writes.
    block, changed_block, valued_block : Out, In, In
        Flags of a row block, at once.
    event_forward, event_transposed, event_update : Out
        A product that was asked for is under way.
    event_lanes : Out
        Rows that exist in it.
    event_skipped_sources, event_skipped_columns : Out
        Sources or columns left out.
    event_waits_walk, event_waits_sums : Out
        No product was asked for in the cycle before, as the list or the rows were still written, or sums were in the way.

    The first command comes `ISSUE` + 4 cycles after the start of a transposed pass, `LOOK` - 1 later in the others. Throughput one
    command a cycle, beside two cycles for each row block, skipped or not. A forward block's last command waits until the block before
    has had a cycle for each of its rows and one more; a transposed block until `PASS` cycles after the one before. The sums of
    one instruction come at the earliest `SUM_LATENCY` cycles after those of the one before, but a transposed pass' sums may
    come while a forward block's leave the lanes: `PASS` cycles or more behind them, and never for the same bank of the drives.
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
                "issuing": Out(1),
                "latest": Out(range(TAGS)),
                "begins": Out(TAGS),
                "complete": Out(TAGS),
                "summing": Out(TAGS),
                "targets": Out(data.ArrayLayout(INSTRUCTION["target"].shape, TAGS)),
                "learning": Out(1),
                "current": Out(INSTRUCTION),
                "command": Out(command_signature(parameters)),
                **{f"{name}_tag": In(range(TAGS)) for name in STREAMS},
                **{f"{name}_target": Out(neurons) for name in STREAMS},
                **{f"{name}_shift": Out(6) for name in STREAMS},
                "list_full": Out(1),
                "list_address": Out(neurons),
                "list_node": Out(range(parameters.program_depth)),
                "entry_index": In(INDEX_BITS),
                "entry_value": In(signed(parameters.vector_bits + 1)),
                "count": In(INDEX_BITS),
                "walk": In(INSTRUCTION),
                "walk_idle": In(1),
                "changes_length": In(INDEX_BITS),
                "states_length": In(INDEX_BITS),
                "row": In(range(parameters.row_depth)),
                "block": Out(range(parameters.row_depth)),
                "changed_block": In(1),
                "valued_block": In(1),
                "event_forward": Out(1),
                "event_transposed": Out(1),
                "event_update": Out(1),
                "event_lanes": Out(range(parameters.lanes + 1)),
                "event_skipped_sources": Out(INDEX_BITS),
                "event_skipped_columns": Out(INDEX_BITS),
                "event_waits_walk": Out(1),
                "event_waits_sums": Out(1),
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
        kind = {"transposed": int(op == Op.TRANSPOSED), "update": int(op == Op.UPDATE)}
        begun = False
        blocks = -(-instruction.rows // lanes)
        for block in range(blocks):
            rows = min(lanes, instruction.rows - block * lanes)
            row = instruction.row + block
            base = instruction.weights + block * columns
            if op == Op.TRANSPOSED:
                if not ((valued if instruction.full else changed)[row] or (instruction.first and block == 0)):
                    events["skipped_columns"] += columns
                    continue
                issued = [
                    {
                        "address": base + column,
                        "row": row,
                        "restart": int(column == 0),
                        "overwrite": int(instruction.first and not begun),
                        "final": int(block == blocks - 1),
                        "kept": instruction.full,
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
                        "nearest": instruction.nearest,
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
                        "final": 1,
                        "rows": rows,
                    }
                    for place, (index, value) in enumerate(sources)
                ]
            begun = True
            commands += [kind | command for command in issued]
            events[op.name.lower()] += products
            events["lanes"] += rows * products
        return commands, events

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parameters = self.parameters
        lanes = parameters.lanes
        now = data.View(INSTRUCTION, plain_register(m, self.current, "now"))
        transposed, update, forward = Signal(), Signal(), Signal()
        m.d.comb += [self.list_full.eq(now.full), self.list_node.eq(now.node)]

        base = Signal(range(parameters.weight_depth), reset_less=True)
        left = Signal(INDEX_BITS, reset_less=True)
        turn = Signal(range(RANDOM_BITS), reset_less=True)
        first_block = Signal(reset_less=True)
        inner = Signal(INDEX_BITS, reset_less=True)
        inner_left = Signal(INDEX_BITS, reset_less=True)
        # Of a list under way, the place of the pair after the next one, and how many pairs it must have for the next one to be issued: a
        # lead is a cycle late, and the last is left for RUN.
        needed = Signal(INDEX_BITS + 1, reset_less=True)
        next_inner = Signal(INDEX_BITS, reset_less=True)
        empty = Signal(reset_less=True)
        rows = Signal(range(lanes + 1), reset_less=True)
        final = Signal(reset_less=True)
        length = Signal(INDEX_BITS, reset_less=True)
        some = Signal(reset_less=True)
        active = Signal(reset_less=True)
        # Of the length a cycle ago: whether it is at most one, and whether it is zero.
        at_most_one, none_at_all = Signal(reset_less=True), Signal(reset_less=True)
        # Copies near to what they choose.
        full, first = (Signal(name=name, reset_less=True, attrs=REPLICA) for name in ("full_here", "first_here"))
        m.d.sync += [
            at_most_one.eq(length <= 1),
            none_at_all.eq(length == 0),
            rows.eq(Mux(left > lanes, lanes, left)),
            final.eq(left <= lanes),
        ]
        with m.If(transposed):
            m.d.sync += active.eq(Mux(full, self.valued_block, self.changed_block) | (first & first_block))
        with m.Elif(update):
            m.d.sync += active.eq(self.valued_block & some)
        with m.Else():
            m.d.sync += active.eq(some | first)

        # The list or the rows may still be written.
        list_follows, rows_follow = Signal(), Signal()
        given, walk = self.instruction, self.walk
        written_list, written_rows = Signal(reset_less=True), Signal(reset_less=True)
        # Both instructions stand for cycles before this one starts; this one's operation is decoded first.
        decoded = {op: Signal(name=f"is_{op.name.lower()}", reset_less=True) for op in ARRAY_OPS}
        m.d.sync += [
            *(flag.eq(given.op == op) for op, flag in decoded.items()),
            written_list.eq(
                (walk.node == given.node)
                & ~decoded[Op.TRANSPOSED]
                & Mux(given.full, (walk.op == Op.ACTIVATE) & ~walk.full, walk.op != Op.SNAPSHOT)
            ),
            written_rows.eq((walk.row == given.row) & ~decoded[Op.FORWARD]),
        ]
        with m.If(self.walk_idle):
            m.d.sync += [list_follows.eq(0), rows_follow.eq(0)]
        with m.Elif(self.start):
            m.d.sync += [list_follows.eq(written_list), rows_follow.eq(written_rows)]
        lead = Signal()

        # A forward block's sums leave the chain before the next block's come; a transposed block waits for the drives of the one before.
        spacing, apart = Signal(range(lanes + 1)), Signal(range(PASS))
        # The sums of another instruction keep their distance.
        later = self.transposed_latency - LaneArray.forward_latency
        forward_hold = Signal(range(lanes + SUM_LATENCY + max(later, 0) + 2))
        transposed_hold = Signal(range(PASS + SUM_LATENCY + max(-later, 0) + 2))
        # A transposed pass may be asked for while its sums would meet those that leave the chain; they take turns in the banks.
        draining = Signal(range(lanes), reset_less=True)
        chain_bank = Signal(reset_less=True)
        # The last command of a forward block may go; a transposed block may not begin, or not if it is the first.
        ends, held, first_held = Signal(), Signal(), Signal()
        m.d.sync += [
            chain_bank.eq(~chain_bank),
            ends.eq(~forward | ((spacing <= 1) & ~(first_block & (forward_hold > 1)))),
            held.eq(transposed & ((apart > 1) | ((draining > 1) & (chain_bank != now.target[0])))),
            first_held.eq(transposed & (transposed_hold > 1)),
        ]
        for count in (spacing, apart, forward_hold, transposed_hold, draining):
            with m.If(count != 0):
                m.d.sync += count.eq(count - 1)

        forward_drain = ISSUE + LaneArray.forward_latency + SUM_LATENCY
        transposed_drain = ISSUE + self.transposed_latency + SUM_LATENCY
        update_drain = ISSUE + LaneArray.update_latency + 1

        issue, last, go = Signal(), Signal(), Signal()
        issued, gone = Signal(), Signal()
        single = Signal(reset_less=True)
        # Of a list that was followed: whether a pair was issued, and whether one alone is left, known a cycle late.
        some_issued, one_left = Signal(reset_less=True), Signal(reset_less=True)
        m.d.sync += one_left.eq(length == next_inner)
        next_block, moved = Signal(), Signal()
        m.d.sync += [issued.eq(issue), gone.eq(go), moved.eq(next_block)]
        with m.If(next_block):
            m.d.sync += [self.block.eq(self.block + 1), left.eq(left - lanes)]
        with m.If(moved):
            m.d.sync += [base.eq(base + now.columns), turn.eq(turn + ROW_ROTATION * lanes % RANDOM_BITS)]
        # The tag of the next instruction, one of these bits, so that little logic stands before the targets.
        following = Signal(TAGS, init=1 << 1)
        # Whether the block's rows, or those of the one after it, were being written a cycle ago.
        writing, writing_next = Signal(reset_less=True), Signal(reset_less=True)
        m.d.sync += [writing.eq(self.block == self.row), writing_next.eq(self.block + 1 == self.row)]
        with m.If(self.start):
            m.d.sync += [
                now.eq(given),
                full.eq(given.full),
                first.eq(given.first),
                self.latest.eq(Mux(self.latest == TAGS - 1, 0, self.latest + 1)),
                following.eq(following.rotate_left(1)),
                transposed.eq(decoded[Op.TRANSPOSED]),
                update.eq(decoded[Op.UPDATE]),
                forward.eq(decoded[Op.FORWARD]),
                base.eq(given.weights),
                self.block.eq(given.row),
                left.eq(given.rows),
                turn.eq(0),
                first_block.eq(1),
            ]
        look = Signal(range(LOOK), reset_less=True)
        # Without reset, which is far away; while it lasts they settle.
        skipped_sources, skipped_columns = (
            plain_register(m, port, f"{name}_register")
            for name, port in (("skipped_sources", self.event_skipped_sources), ("skipped_columns", self.event_skipped_columns))
        )
        m.d.sync += [
            lead.eq(0),
            skipped_sources.eq(0),
            skipped_columns.eq(0),
            self.event_waits_walk.eq(0),
            self.event_waits_sums.eq(0),
        ]
        # A list that is written has its whole length when the walk ends; the next walk may begin another one then.
        with m.If(list_follows):
            walked = Mux(now.full, self.states_length, self.changes_length)
            m.d.sync += [length.eq(walked), some.eq(walked != 0)]
        # By registers alone: a pair of a list that is followed is asked for, and no instruction was under way a cycle ago.
        follows, settles = lead & list_follows, Signal(reset_less=True)
        m.d.sync += settles.eq(~self.issuing)
        with m.If(follows):
            m.d.sync += [next_inner.eq(next_inner + 1), needed.eq(needed + 1), some_issued.eq(1)]
        with m.If(settles):
            m.d.sync += [next_inner.eq(1), needed.eq(3), some_issued.eq(0)]
        m.d.comb += self.issuing.eq(1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.issuing.eq(0)
                m.d.sync += [inner.eq(0), empty.eq(0), look.eq(LOOK - 2)]
                with m.If(self.start):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                # The walk may end in any cycle.
                with m.If(transposed):
                    m.d.sync += length.eq(now.columns)
                    m.next = "BLOCK"
                with m.Elif(~list_follows):
                    m.next = "LIST"
                with m.Elif(forward):
                    m.next = "FOLLOW"
            with m.State("LIST"):
                m.d.sync += [look.eq(look - 1), length.eq(self.count), some.eq(self.count != 0)]
                with m.If(look == 0):
                    m.next = "BLOCK"
            with m.State("REST"):
                m.d.sync += [
                    inner_left.eq(length - inner),
                    single.eq(one_left),
                    skipped_sources.eq(now.columns - length),
                ]
                m.next = "RUN"
            with m.State("BLOCK"):
                # A block whose rows are not yet written, or whose sums would come too early. It looks at a bank two cycles before it
                # asks for the first of its sums, which is for the same one.
                rows_wait, sums_wait = rows_follow & Mux(moved, writing_next, writing), held | (first_block & first_held)
                m.d.sync += [self.event_waits_walk.eq(rows_wait), self.event_waits_sums.eq(sums_wait & ~rows_wait)]
                with m.If(~(rows_wait | sums_wait)):
                    m.next = "CHOOSE"
            with m.State("FOLLOW"):
                # Compared before one is chosen, since the lists are far away.
                m.d.sync += lead.eq(Mux(now.full, self.states_length >= needed, self.changes_length >= needed))
                m.d.comb += issue.eq(follows)
                with m.If(follows):
                    m.d.sync += inner.eq(inner + 1)
                with m.If(~list_follows):
                    m.next = "BLOCK"
                    with m.If(some_issued):
                        m.next = "REST"
                m.d.sync += self.event_waits_walk.eq(~issue)
            with m.State("CHOOSE"):
                m.d.sync += [inner.eq(0), inner_left.eq(length), single.eq(at_most_one), empty.eq(none_at_all)]
                with m.If(active):
                    m.d.sync += [apart.eq(PASS - 2), skipped_sources.eq(Mux(transposed, 0, now.columns - length))]
                    m.next = "RUN"
                with m.Else():
                    with m.If(transposed):
                        m.d.sync += skipped_columns.eq(now.columns)
                    with m.Else():
                        m.d.sync += skipped_sources.eq(now.columns)
                    m.d.comb += next_block.eq(1)
                    m.next = "BLOCK"
                    with m.If(final):
                        m.next = "IDLE"
            with m.State("RUN"):
                m.d.comb += [last.eq(single), issue.eq(~single | ends), go.eq(single & ends)]
                m.d.sync += self.event_waits_sums.eq(~issue)
                # Of a block whose last command waits, nothing is left but that.
                with m.If(~single):
                    m.d.sync += [inner.eq(inner + 1), inner_left.eq(inner_left - 1), single.eq(inner_left == 2)]
                with m.If(go):
                    m.d.comb += next_block.eq(1)
                    m.d.sync += [first_block.eq(0), inner.eq(0), empty.eq(0)]
                    with m.If(forward):
                        m.d.sync += spacing.eq(rows)
                    m.next = "BLOCK"
                    with m.If(final):
                        m.next = "IDLE"
        # Counted from a cycle later on.
        with m.If(gone & forward):
            m.d.sync += [
                forward_hold.eq(rows + (SUM_LATENCY - 1)),
                # A pass that begins now comes three cycles later, and its sums later than a block's.
                transposed_hold.eq(max(PASS - 4 - later, 0)),
                draining.eq(Mux(rows > later + 2, rows - (later + 2), 0)),
                chain_bank.eq(now.target[0] ^ (later & 1)),
            ]
        with m.If(issued & transposed):
            m.d.sync += [forward_hold.eq(max(later + SUM_LATENCY, 0)), transposed_hold.eq(SUM_LATENCY)]

        # What is complete: every command is out, and the last one has arrived. Rows stand when the last command of a block goes.
        chain_drain = Signal(range(forward_drain + lanes), reset_less=True)
        m.d.sync += chain_drain.eq(forward_drain - 1 + rows)
        for tag in range(TAGS):
            target = Signal(range(parameters.neuron_depth), name=f"target_{tag}", reset_less=True)
            shift = Signal(6, name=f"shift_{tag}", reset_less=True)
            pending, learns = Signal(name=f"pending_{tag}"), Signal(name=f"learns_{tag}", reset_less=True)
            drain = Signal(range(max(forward_drain + lanes, transposed_drain, update_drain) + 1), name=f"drain_{tag}", reset_less=True)
            here = self.latest == tag
            m.d.comb += [
                self.begins[tag].eq(self.start & following[tag]),
                self.summing[tag].eq(pending & ~learns),
                self.targets[tag].eq(target),
            ]
            with m.If(self.begins[tag]):
                m.d.sync += [pending.eq(1), learns.eq(decoded[Op.UPDATE]), target.eq(given.target), shift.eq(given.shift)]
            with m.Elif((drain == 0) & ~((self.issuing | gone) & here)):
                m.d.sync += pending.eq(0)
            with m.If(gone & here):
                m.d.sync += drain.eq(Mux(forward, chain_drain, Mux(transposed, transposed_drain - 1, update_drain - 1)))
            with m.Elif(drain != 0):
                m.d.sync += drain.eq(drain - 1)
            m.d.comb += self.complete[tag].eq(~pending)
            with m.If(pending & learns):
                m.d.comb += self.learning.eq(1)
            for name in STREAMS:
                with m.If(getattr(self, f"{name}_tag") == tag):
                    m.d.comb += [getattr(self, f"{name}_target").eq(target), getattr(self, f"{name}_shift").eq(shift)]

        # The list is read while the block's part of the address waits; then both meet.
        read = 1 + LIST_LATENCY
        none = delay(m, empty, read, "none")
        column = Signal(INDEX_BITS, reset_less=True)
        # Values of an update are shifted in two cycles; the shift changes when the last command of the instruction before has used it.
        value = Signal(signed(parameters.broadcast_bits), reset_less=True)
        shift = Signal(range(parameters.broadcast_bits), reset_less=True)
        crossing = delay(m, transposed, read, "crossing")
        m.d.sync += [
            self.list_address.eq(now.source + inner),
            column.eq(Mux(crossing, delay(m, inner, read, "inner"), Mux(none, 0, self.entry_index))),
            value.eq((Mux(none, 0, self.entry_value) << Cat(Const(0, 2), shift[2:]))[: parameters.broadcast_bits].as_signed()),
        ]
        first_column = Signal.like(now.column, reset_less=True)
        with m.If(delay(m, self.start, read, "begun")):
            m.d.sync += [shift.eq(Mux(update, now.shift - self.rate, 0)), first_column.eq(now.column)]
        command = self.command
        flags = {
            "valid": issue,
            "transposed": transposed,
            "kept": now.full,
            "update": update,
            "nearest": now.nearest,
            "start": inner == 0,
            "last": last,
            "restart": (inner == 0) & transposed | first_block & ~transposed,
            "overwrite": now.first & (first_block | ~transposed),
            "final": final | ~transposed,
            "tag": self.latest,
        }
        waited = {
            name: delay(m, part, cycles, name)
            for name, part, cycles in (
                ("base", base, read),
                ("block", self.block, read + 1),
                ("rows", rows, read + 1),
                ("turn", turn, read),
            )
        }
        arrived = {name: delay(m, flag, read + 1, name) for name, flag in flags.items()}
        parts = {
            "address": waited["base"] + column,
            "row": waited["block"],
            "rows": waited["rows"],
            "turn": waited["turn"],
            "column": first_column + column,
            "value": (value << delay(m, shift[:2], 1, "finely"))[: parameters.broadcast_bits].as_signed(),
            **arrived,
        }
        for name, part in parts.items():
            m.d.sync += plain_register(m, getattr(command, name), f"{name}_register").eq(part)

        counts = issued & ~delay(m, empty, 1, "empty")
        m.d.sync += [
            self.event_forward.eq(counts & forward),
            self.event_transposed.eq(issued & transposed),
            self.event_update.eq(issued & update),
            self.event_lanes.eq(Mux(counts, rows, Const(0))),
        ]
        return m
