# SPDX-License-Identifier: Apache-2.0
"""Bench of `Issuer`: random programs beside a neuron unit that is only played; commands, their times, sums and events."""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cocotb

from ...firmware.isa import ARRAY_OPS, FIELDS, Instruction, Op
from ...rtl_gen.drives import PASS, STREAMS, SUM_LATENCY
from ...rtl_gen.instruction import TAGS
from ...rtl_gen.interlock import Interlock, Units
from ...rtl_gen.issuer import ISSUE, LOOK, Issuer
from ...rtl_gen.lane import Lane
from ...rtl_gen.lane_array import LaneArray
from ...rtl_gen.neurons import LIST_LATENCY, TOLD
from .cycles import Cycles, engine_parameters, spread
from .instructions import with_noise

COMPLETE_SLACK = 3
"""Cycles that an instruction may seem to be under way after its last result is in a memory."""

EPISODES = 9
INSTRUCTIONS = 16
EVENTS = ("forward", "transposed", "update", "lanes", "skipped_sources", "skipped_columns")
CHANGES, STATES = 0, 1

Pairs = list[tuple[int, int]]


@cocotb.test
async def equals_model(dut: Any) -> None:
    component = Issuer(engine_parameters())
    bench = Cycles(dut, component)
    await bench.reset()
    for _ in range(EPISODES):
        await _Episode(component, bench).run()


class _Layer:
    """A layer, its lists and the flags of its row blocks."""

    def __init__(self, component: Issuer, node: int, base: int, row: int, blocks: int, most: int) -> None:
        lanes = component.parameters.lanes
        self.bits = component.parameters.vector_bits
        self.node, self.base, self.row = node, base, row
        self.width = random.randint(min((blocks - 1) * lanes + 1, most), min(blocks * lanes, most))
        self.blocks = range(row, row + -(-self.width // lanes))
        self.lists: tuple[Pairs, Pairs] = self.draw(CHANGES), self.draw(STATES)

    def draw(self, kind: int) -> Pairs:
        density = random.choice((0.0, 0.3, 1.0, 1.0))
        bits = self.bits if kind == CHANGES else self.bits - 1
        return [(index, spread(bits)) for index in range(self.width) if random.random() < density]


class _Seen(NamedTuple):
    """What the neuron unit said in a cycle."""

    idle: bool
    row: int
    lengths: tuple[int, int]


class _Walk:
    """The neuron unit: a walk over a layer at its own pace, and what can be read of lists and flags meanwhile."""

    def __init__(self, component: Issuer, layers: list[_Layer]) -> None:
        self.lanes = component.parameters.lanes
        self.layers = {layer.node: layer for layer in layers}
        depth = component.parameters.row_depth
        self.flags = tuple([random.random() < 0.5 for _ in range(depth)] for _ in range(2))
        self.current = Instruction(op=Op.PREDICT)
        self.idle = True
        self.row = 0
        self.pushed = [0, 0]
        self.written: set[int] = set()
        self.rest = 0
        self.steps: deque[tuple[bool, bool]] = deque()
        self.pace = 1.0
        self.lane = 0
        # Numbers of the walks that will have written a row block, that have begun to, and that have.
        self.number = 0
        self.planned, self.begun, self.ended = ([0] * depth for _ in range(3))
        # What was asked for in the last cycles.
        self.asked: list[tuple[int, tuple[int, int]]] = [(0, (0, 0))] * LIST_LATENCY

    @property
    def layer(self) -> _Layer:
        return self.layers[self.current.node]

    @property
    def writes_rows(self) -> bool:
        return self.current.op not in (Op.SNAPSHOT, Op.PREDICT)

    def seen(self) -> _Seen:
        return _Seen(self.idle, self.row, (self.pushed[CHANGES], self.pushed[STATES]))

    def start(self, instruction: Instruction) -> None:
        """Begin; the lists and flags become what the walk will have made of them."""
        self.current, self.idle, self.row, self.lane = instruction, False, instruction.row, 0
        layer, op = self.layer, instruction.op
        self.written = set() if op == Op.SNAPSHOT else {CHANGES}
        if op == Op.ACTIVATE and not instruction.full:
            self.written.add(STATES)
        drawn = tuple(
            ([] if op == Op.PREDICT else layer.draw(kind)) if kind in self.written else layer.lists[kind] for kind in (CHANGES, STATES)
        )
        layer.lists = drawn[CHANGES], drawn[STATES]
        self.number += 1
        if self.writes_rows:
            flagged = random.choice((0.0, 0.5, 0.8, 1.0))
            for block in layer.blocks:
                self.planned[block] = self.number
                for flags in self.flags:
                    flags[block] = random.random() < flagged
        pushes = [{index for index, _ in layer.lists[kind]} if kind in self.written else set() for kind in (CHANGES, STATES)]
        neurons = 0 if op == Op.PREDICT else layer.width
        self.steps = deque((index in pushes[CHANGES], index in pushes[STATES]) for index in range(neurons))
        for kind in self.written:
            self.pushed[kind] = 0
        self.pace = random.choice((1.0, 1.0, 0.7, 0.15))
        self.rest = TOLD + random.randint(0, 10)
        self.ending = random.randint(2, 8)

    def advance(self) -> None:
        """To the next cycle."""
        if self.idle:
            return
        if self.rest:
            self.rest -= 1
        elif self.steps:
            if random.random() < self.pace:
                for kind, push in enumerate(self.steps.popleft()):
                    self.pushed[kind] += push
                if self.writes_rows:
                    self.begun[self.row] = self.number
                    if self.lane == self.lanes - 1 or not self.steps:
                        self.ended[self.row] = self.number
                self.lane = (self.lane + 1) % self.lanes
                self.row += self.lane == 0
                if not random.randrange(40):
                    self.rest = 30
        elif self.ending:
            self.ending -= 1
        else:
            self.idle = True

    def count(self, kind: int, node: int) -> int:
        """Length of a list, or something else while it is written."""
        pairs = self.layers[node].lists[kind] if node in self.layers else []
        if not self.idle and node == self.current.node and kind in self.written:
            return random.choice([length for length in range(8) if length != len(pairs)])
        return len(pairs)

    def entry(self, kind: int, node: int, address: int) -> tuple[int, int]:
        """A pair of a list, or anything where there is none yet."""
        layer = self.layers.get(node)
        if layer is not None:
            place = address - layer.base
            there = len(layer.lists[kind])
            if not self.idle and node == self.current.node and kind in self.written:
                there = self.pushed[kind]
            if 0 <= place < there:
                return layer.lists[kind][place]
        return random.getrandbits(FIELDS["rows"].bits), spread(5)

    def flag(self, kind: int, block: int) -> bool:
        """A flag; while its block is written the wrong one."""
        written = not self.idle and self.writes_rows and block in self.layer.blocks and block >= self.row
        return self.flags[kind][block] != written


@dataclass
class _Given:
    """An instruction of the array that has begun, what it must give and what it has given."""

    instruction: Instruction
    start: int
    tag: int
    commands: list[dict[str, int]]
    events: dict[str, int]
    changed: list[bool]
    valued: list[bool]
    written: list[int]
    sources: int
    list_follows: bool
    rows_follow: bool
    note: str
    times: list[int] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(EVENTS, 0))
    done: int = 0
    """The first cycle in which every result can be read, as far as the commands tell."""
    ready: bool = False
    """No command is to come."""
    complete: bool = False
    drive: int = -1


class _Episode:
    """A few layers and a program."""

    def __init__(self, component: Issuer, bench: Cycles) -> None:
        self.component, self.bench = component, bench
        self.parameters = parameters = component.parameters
        self.layers: list[_Layer] = []
        base = row = 0
        for node in sorted(random.sample(range(1, parameters.program_depth), 3)):
            left = 2 - len(self.layers)
            blocks = random.randint(1, min(4, parameters.row_depth - row - left))
            most = min(parameters.weight_depth, parameters.neuron_depth - base - left)
            self.layers.append(_Layer(component, node, base, row, blocks, most))
            base += self.layers[-1].width
            row = self.layers[-1].blocks.stop
        self.walk = _Walk(component, self.layers)
        # By the last instruction of the neuron unit.
        self.written = self.layers[0]
        self.rate = random.randrange(32)
        self.given: list[_Given] = []
        self.tags: list[_Given | None] = [None] * TAGS
        self.history: dict[int, _Seen] = {}
        # By stream: when sums come, of which instruction they are and in which bank their drives are.
        self.sums: dict[str, dict[int, tuple[_Given, int]]] = {stream: {} for stream in STREAMS}
        self.last_sum: tuple[int, _Given] | None = None
        # When the last sum for a drive comes, by target and drive.
        self.summed: dict[tuple[int, int], int] = {}
        # The last forward block that was asked for: when, its rows and the bank of its first drive.
        self.block = 0, 0, 0
        self.last_update = -FIELDS["rows"].bits
        # The earliest cycles in which a first sum may be asked for, because of the instructions before.
        self.forward_free = self.transposed_free = 0

    async def run(self) -> None:
        """Begin every instruction as soon as it may be, or a little later."""
        self.bench.held["rate"] = self.rate
        program = deque(self._draw() for _ in range(INSTRUCTIONS))
        # An instruction stands before it may start.
        wait = 2
        while program or not all(given.complete for given in self.given):
            allowed = program and wait == 0 and self._may(program[0])
            coming = program[0] if program else None
            started = await self._step(program.popleft() if allowed else None, coming)
            wait = max(0, wait - 1)
            if started:
                wait = random.randint(2, 30) if random.random() < 0.4 else 2
        await self._step(None, None)
        for given in self.given:
            assert given.counted == given.events, given.note

    def _draw(self) -> Instruction:
        """An instruction of a program, which often reads what the last one writes."""
        return with_noise(self._plain())

    def _plain(self) -> Instruction:
        parameters = self.parameters
        lanes = parameters.lanes
        op = random.choice((*ARRAY_OPS, *ARRAY_OPS, Op.ACTIVATE, Op.ACTIVATE, Op.DEVIATE, Op.ERROR, Op.SNAPSHOT, Op.PREDICT))
        layer = random.choice(self.layers)
        if op not in ARRAY_OPS:
            self.written = layer
            full = random.getrandbits(1)
            return Instruction(op=op, full=full, rows=layer.width, target=layer.base, node=layer.node, row=layer.row)
        layer = random.choice((layer, self.written, self.written))
        fields = {name: random.getrandbits(1) for name in ("first", "full", "nearest")}
        if op == Op.FORWARD and random.random() < 0.1:
            # Without columns, by which the compiler sets drives to zero.
            return Instruction(op=op, first=1, full=1, rows=random.randint(1, 3 * lanes), target=random.choice(self.layers).base)
        other = random.choice(self.layers)
        if op == Op.TRANSPOSED:
            rows, row = layer.width, layer.row
            columns = random.randint(1, max(1, parameters.weight_depth // len(layer.blocks)))
        else:
            columns = layer.width
            if op == Op.UPDATE:
                other = random.choice((other, self.written))
            rows, row = min(other.width, lanes * (parameters.weight_depth // columns)), other.row
        blocks = -(-rows // lanes)
        shift = self.rate + random.randint(0, parameters.broadcast_bits - parameters.vector_bits - 1)
        return Instruction(
            op=op,
            **fields,
            rows=rows,
            columns=columns,
            row=row,
            weights=random.randint(0, parameters.weight_depth - blocks * columns),
            source=layer.base,
            node=layer.node,
            target=random.choice(self.layers).base,
            column=random.randrange((1 << FIELDS["column"].bits) - columns),
            shift=min(shift, (1 << FIELDS["shift"].bits) - 1),
        )

    def _may(self, instruction: Instruction) -> bool:
        """What the interlock says."""
        peek, walk = self.bench.peek, self.walk
        current = self.given[-1].instruction if self.given else Instruction(op=Op.FORWARD)
        said = peek("complete")
        units = Units(
            issuing=bool(peek("issuing")),
            latest=peek("latest"),
            complete=tuple(bool(said >> tag & 1) for tag in range(TAGS)),
            summing=tuple(bool(peek("summing") >> tag & 1) for tag in range(TAGS)),
            targets=tuple(peek("targets") >> FIELDS["target"].bits * tag & (1 << FIELDS["target"].bits) - 1 for tag in range(TAGS)),
            learning=bool(peek("learning")),
            array=current,
            idle=walk.idle,
            reading=not walk.idle and random.random() < 0.8,
            neurons=walk.current,
        )
        may = Interlock.model(instruction, units)
        return bool(may["array_may"] if instruction.op in ARRAY_OPS else may["neurons_may"])

    async def _step(self, begins: Instruction | None, coming: Instruction | None) -> bool:
        """A cycle: lists and flags answer, an instruction may begin, and what comes out is compared."""
        bench, walk = self.bench, self.walk
        now = bench.now
        array = begins if begins is not None and begins.op in ARRAY_OPS else None
        self.history[now] = walk.seen()
        count, (index, value) = walk.asked.pop(0)
        block = min(bench.peek("block"), self.parameters.row_depth - 1)
        latest = bench.peek("latest")
        summed = {stream: sums[now][0] for stream, sums in self.sums.items() if now in sums}
        tags = {stream: summed[stream].tag if stream in summed else random.randrange(TAGS) for stream in STREAMS}
        got = await bench.step(
            {
                "start": int(array is not None),
                "instruction": _word(coming) if coming else random.getrandbits(len(self.component.instruction.as_value())),
                **{f"{stream}_tag": tag for stream, tag in tags.items()},
                "entry_index": index,
                "entry_value": value,
                "count": count,
                "walk": _word(walk.current),
                "walk_idle": int(walk.idle),
                "changes_length": walk.pushed[0],
                "states_length": walk.pushed[1],
                "row": walk.row,
                "changed_block": int(walk.flag(CHANGES, block)),
                "valued_block": int(walk.flag(STATES, block)),
            }
        )
        asked = got["list_full"], got["list_node"]
        walk.asked.append((walk.count(*asked), walk.entry(*asked, got["list_address"])))
        assert got["begins"] == (1 << (latest + 1) % TAGS if array else 0)
        for stream, given in summed.items():
            target = got[f"{stream}_target"], got[f"{stream}_shift"]
            assert target == (given.instruction.target, given.instruction.shift), given.note
        self._compare(got, now)
        walk.advance()
        if array is not None:
            self._begin(array, now, (latest + 1) % TAGS)
        elif begins is not None:
            walk.start(begins)
        return begins is not None

    def _begin(self, instruction: Instruction, now: int, tag: int) -> None:
        walk, op, full = self.history[now], instruction.op, instruction.full
        current = self.walk.current
        layer = self.walk.layers.get(instruction.node)
        pairs = layer.lists[full] if layer else []
        changed, valued = (list(flags) for flags in self.walk.flags)
        commands, events = self.component.model(instruction, self.rate, pairs, changed, valued)
        written = current.node == instruction.node and full in self.walk.written and op != Op.TRANSPOSED
        rows = current.row == instruction.row and op != Op.FORWARD
        note = (
            f"cycle {now}, {instruction}, rate {self.rate}, pairs {pairs}, changed {changed}, valued {valued}, "
            f"beside {current}, {'idle' if walk.idle else 'under way'}"
        )
        self.given.append(
            _Given(
                instruction,
                now,
                tag,
                commands,
                events,
                changed,
                valued,
                list(self.walk.planned),
                len(pairs),
                written and not walk.idle,
                rows and not walk.idle,
                note,
            )
        )
        self.tags[tag] = self.given[-1]

    def _compare(self, got: dict[str, int], now: int) -> None:
        """What came out in a cycle."""
        if not self.given:
            return
        latest = self.given[-1]
        assert (got["latest"], got["current"]) == (latest.tag, _word(latest.instruction)), latest.note
        assert got["issuing"] or now > latest.start + 1, latest.note
        # What is counted in a cycle happened in the one before.
        counting = self.given[-2] if now == latest.start + 1 and len(self.given) > 1 else latest
        for name in EVENTS:
            counting.counted[name] += got[f"event_{name}"]
        if got["command__valid"]:
            given = next((given for given in self.given if len(given.times) < len(given.commands)), None)
            assert given is not None, f"cycle {now}: a command too many"
            self._command(given, got, now)
        for tag, given in enumerate(self.tags):
            if given is None or given.complete:
                assert got["complete"] >> tag & 1, f"cycle {now}"
                continue
            complete = got["complete"] >> tag & 1
            if len(given.times) == len(given.commands) and not (given is latest and got["issuing"]):
                given.done = max(given.done, now) if not given.ready else given.done
                given.ready = True
            assert not complete or (given.ready and now >= given.done), f"cycle {now}: complete too early, {given.note}"
            assert complete or not given.ready or now <= given.done + COMPLETE_SLACK, f"cycle {now}: not complete, {given.note}"
            given.complete = bool(complete)
        under_way = [given if given and not given.complete else None for given in self.tags]
        learning = any(given and given.instruction.op == Op.UPDATE for given in under_way)
        assert got["learning"] == learning, latest.note
        for tag, given in enumerate(under_way):
            summing = given is not None and given.instruction.op != Op.UPDATE
            assert got["summing"] >> tag & 1 == summing, latest.note
            target = got["targets"] >> FIELDS["target"].bits * tag & (1 << FIELDS["target"].bits) - 1
            assert given is None or target == given.instruction.target, given.note

    def _command(self, given: _Given, got: dict[str, int], now: int) -> None:
        """Compare a command; when its results come, and whether it may be given now."""
        op = given.instruction.op
        note = f"cycle {now}, command {len(given.times)} of {given.note}"
        command = {"tag": given.tag, **given.commands[len(given.times)]}
        assert {name: got[f"command__{name}"] for name in command} == command, note
        given.times.append(now)
        if op != Op.FORWARD:
            # The values in the lanes' rows are those of the walk before.
            row = command["row"]
            assert self.walk.begun[row] == self.walk.ended[row] == given.written[row], note
        if op == Op.UPDATE:
            self.last_update = now
            given.done = now + LaneArray.update_latency + 1
        else:
            assert now > self.last_update + Lane.update_latency, note
        if op == Op.FORWARD and command["last"]:
            first = now + LaneArray.forward_latency
            self._sums(given, range(first, first + command["rows"]), command["restart"], note)
        elif op == Op.TRANSPOSED:
            self._sums(given, [now + LaneArray.transposed_latency(self.parameters)], command["restart"], note)
        if len(given.times) == len(given.commands):
            assert [time - given.start for time in given.times] == [time - given.start + ISSUE for time in self._times(given)], given.note
            issued = given.times[-1] - ISSUE
            later = LaneArray.transposed_latency(self.parameters) - LaneArray.forward_latency
            if op == Op.FORWARD:
                self.block = issued, command["rows"], given.instruction.target % 2
                self.forward_free = issued + command["rows"] + SUM_LATENCY + 1
                self.transposed_free = issued + 1 + max(PASS - 3 - later, 0)
            elif op == Op.TRANSPOSED:
                self.transposed_free = issued + SUM_LATENCY + 2
                self.forward_free = self.transposed_free + later

    def _sums(self, given: _Given, times: Sequence[int], restart: int, note: str) -> None:
        """Sums of an instruction will come: not before the drives of those before are in the memory, and alone in their bank."""
        op, target = given.instruction.op, given.instruction.target
        sums, others = (self.sums[stream] for stream in (STREAMS if op == Op.FORWARD else STREAMS[::-1]))
        if self.last_sum is not None and self.last_sum[1] is not given:
            overtakes = op == Op.TRANSPOSED and self.last_sum[1].instruction.op == Op.FORWARD
            assert overtakes or times[0] >= self.last_sum[0] + SUM_LATENCY, note
        if restart:
            given.drive = -1
        for time in times:
            given.drive += 1
            bank = (target + given.drive) % 2
            assert time not in sums, note
            assert time not in others or others[time][1] != bank, note
            sums[time] = given, bank
            assert time >= self.summed.get((target, given.drive), time - PASS) + PASS, note
            self.summed[target, given.drive] = time
        self.last_sum = times[-1], given
        given.done = times[-1] + SUM_LATENCY

    def _times(self, given: _Given) -> list[int]:
        """Cycles in which the commands are chosen: one a cycle, and what the docstring says of blocks, the walk and other sums."""
        instruction, op, lanes = given.instruction, given.instruction.op, self.parameters.lanes
        # The first cycle in which the walk is known to have ended.
        walked = given.start + 1
        while walked <= self.bench.now and (given.list_follows or given.rows_follow) and not self.history[walked - 1].idle:
            walked += 1
        times: list[int] = []
        # The cycle in which a block is looked at, the earliest of its last command, and those that go to the array.
        issued, rows, _ = self.block
        # The sums of the last forward block have left the chain, and no others are in the way.
        look, free, apart = given.start + 2, max(self.forward_free, issued + rows + 1), 0
        if op != Op.TRANSPOSED:
            if op == Op.FORWARD and given.list_follows:
                look = self._follow(given, walked, times) + 1
            elif given.list_follows:
                look = walked + LOOK
            else:
                look = given.start + 1 + LOOK
        for block in range(-(-instruction.rows // lanes)):
            if len(times) == len(given.commands):
                break
            row = instruction.row + block
            while (given.rows_follow and look < walked and self.history[look - 1].row == row) or (
                op == Op.TRANSPOSED and ((not times and look < self.transposed_free) or look < apart or self._meets(given, look))
            ):
                look += 1
            length = max(given.sources, instruction.first)
            if op == Op.TRANSPOSED:
                flags = given.valued if instruction.full else given.changed
                length = instruction.columns if flags[row] or (instruction.first and block == 0) else 0
                free, apart = 0, look + PASS if length else apart
            elif op == Op.UPDATE:
                length = given.sources if given.valued[row] else 0
                free = 0
            if not length:
                look += 2
                continue
            # What is left of a block that has followed the walk is not looked at.
            begin = look + 1 if block == 0 and times else look + 2
            left = length - len(times) if block == 0 else length
            last = max(begin + left - 1, free)
            times += [*range(begin, begin + left - 1), last]
            if op == Op.FORWARD:
                free = last + 1 + min(lanes, instruction.rows - block * lanes)
            look = last + 1
        return times

    def _meets(self, given: _Given, look: int) -> bool:
        """Whether the first sum of a transposed block that is looked at now may meet one of the last forward block in its bank."""
        issued, rows, bank = self.block
        place = look - issued + LaneArray.transposed_latency(self.parameters) - LaneArray.forward_latency
        # As near as the registers tell.
        return look > issued + 1 and place < rows and (bank + place - given.instruction.target) % 2 == 0

    def _follow(self, given: _Given, walked: int, times: list[int]) -> int:
        """Add the commands that are chosen while the list is written; the cycle in which its length is known."""
        now, lead = given.start + 2, False
        while now < walked:
            ahead = self.history[now].lengths[given.instruction.full] > len(times) + 2
            if lead:
                times.append(now)
            lead = ahead
            now += 1
        return now


def _word(instruction: Instruction) -> int:
    return sum(word << (32 * index) for index, word in enumerate(instruction.encode()))
