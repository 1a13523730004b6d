# SPDX-License-Identifier: Apache-2.0
"""Bench of `NeuronUnit`: instructions that follow sums or not, sums and inputs meanwhile, and all that can be read."""

import random
from dataclasses import dataclass, field
from typing import Any

import cocotb
import numpy as np

from ...firmware.arithmetic import ACTIVATIONS, LOGIT_BITS, SLOPE_FRACTION, IntArray
from ...firmware.isa import OUTPUT_OPS, WALK_OPS, Instruction, Op
from ...rtl_gen.drives import PASS, STREAMS, SUM_LATENCY, Drives
from ...rtl_gen.instruction import TAGS
from ...rtl_gen.neurons import DRAIN, ERROR_DRAIN, LIST_LATENCY, NeuronUnit
from ...rtl_gen.output_error import ERROR_BITS, OutputError
from .cycles import Cycles, engine_parameters, spread, wrap
from .instructions import with_noise

OPS = (Op.ACTIVATE, Op.DEVIATE, Op.ERROR, Op.ACTIVATE, Op.SNAPSHOT, Op.DEVIATE, Op.PREDICT, Op.DIFFERENCE, Op.ERROR)
TRIALS = 36
EVENTS = (
    "serial",
    "changed_state",
    "changed_deviation",
    "saturated_pre_activation",
    "saturated_drive",
    "saturated_deviation",
    "saturated_logit",
    "saturated_error",
)


@cocotb.test
async def equals_model(dut: Any) -> None:
    unit = _Unit(dut)
    await unit.bench.reset()
    for trial in range(TRIALS):
        unit.bench.held["skip_sources"] = unit.skip = int(random.random() < 0.7)
        if random.random() < 0.3:
            await unit.give_inputs()
        if random.random() < 0.3:
            await unit.bench.step(unit.next_sweep())
        op = OPS[trial % len(OPS)]
        # An output layer has at least two neurons.
        layer = random.choice([layer for layer in unit.layers if layer.width > 1 or op not in OUTPUT_OPS])
        instruction = unit.instruction(op, layer)
        schedule = _Schedule(unit)
        others = [other for other in unit.layers if other is not layer]
        if random.random() < 0.3:
            schedule.accompany(random.choice(others))
        # An instruction often meets the drives of the one before, so that not everything changes.
        if random.random() < 0.7:
            schedule.precede(layer, instruction)
        for _ in range(random.randint(0, 2)):
            schedule.accompany(random.choice(others))
        await unit.execute(instruction, random.randrange(layer.width), schedule)
        await unit.check(layer)
    await _clip_everything(unit)


@cocotb.test
async def lists_hold_two_full_samples(dut: Any) -> None:
    """A sample of as many inputs as there are neurons is read whole while another one comes."""
    unit = _Unit(dut)
    await unit.bench.reset()
    unit.inputs = unit.parameters.neuron_depth
    for _ in range(3):
        await unit.give_inputs()
        for place, pair in enumerate(unit.lists[0, 0] or []):
            await unit.bench.step({"list_address": place})
            await unit.bench.wait(LIST_LATENCY - 1)
            got = await unit.bench.step()
            assert (got["entry_index"], got["entry_value"]) == pair, f"pair {place}"


async def _clip_everything(unit: "_Unit") -> None:
    """Instructions under which each event comes at least once."""
    layer, parameters = unit.layers[0], unit.parameters
    shift = max(0, parameters.drive_bits - parameters.accumulator_bits)
    limit = (1 << (parameters.accumulator_bits - 1)) - 1
    common = {"first": 1, "rows": layer.width, "target": layer.neuron, "node": layer.node, "row": layer.row}
    finest = SLOPE_FRACTION + parameters.pre_activation.fraction - 1
    largest = [limit, *[0] * (layer.width - 1)]
    seen = dict.fromkeys(EVENTS, 0)
    for instruction, sums in (
        # The first neuron stands where the slope is not zero.
        (Instruction(op=Op.ACTIVATE, kind=ACTIVATIONS.index("hard_tanh"), **common, round2=finest, bits=1), largest[::-1]),
        (Instruction(op=Op.DEVIATE, **common, bits=1), largest),
        (Instruction(op=Op.ERROR, **common, bits=1), largest),
    ):
        schedule = _Schedule(unit)
        schedule.add(_Stream(layer, [sums], shift, 1))
        schedule.start = schedule.streams[0].done
        events = await unit.execute(instruction, layer.width - 1, schedule)
        await unit.check(layer)
        for name in EVENTS:
            seen[name] += events[name]
    assert all(seen.values()), seen


def teaches(instruction: Instruction) -> bool:
    """Whether the rows keep the values too: all but errors after that of the free state."""
    return instruction.op != Op.ERROR or bool(instruction.first)


@dataclass(frozen=True)
class _Layer:
    node: int
    neuron: int
    row: int
    width: int

    @property
    def neurons(self) -> slice:
        return slice(self.neuron, self.neuron + self.width)


@dataclass
class _Stream:
    """The sums of an instruction of the array: passes over a layer, and when they come."""

    layer: _Layer
    passes: list[list[int]]
    shift: int
    overwrite: int
    final: bool = True
    """The last pass is known to be the last one."""
    pace: float = 1.0
    kind: str = STREAMS[0]
    tag: int = 0
    begin: int = 0
    finals: list[int] = field(default_factory=list)
    """Cycles of the last sum for each drive."""
    first: int = 0
    """The cycle of the first sum of the last pass."""
    done: int = 0
    """The cycle from which the instruction is said to be complete."""


class _Schedule:
    """What comes from the array, cycle by cycle, and when the neuron unit's instruction begins."""

    def __init__(self, unit: "_Unit") -> None:
        self.unit = unit
        self.streams: list[_Stream] = []
        # Sums for the drives that the instruction reads, while which it begins.
        self.awaited: list[_Stream] = []
        self.start = 1
        # By kind of stream and cycle; and when the last sum for a drive comes.
        self._sums: dict[str, dict[int, dict[str, int]]] = {kind: {} for kind in STREAMS}
        self._last: dict[int, int] = {}

    @property
    def end(self) -> int:
        return max((stream.done for stream in self.streams), default=0)

    def precede(self, layer: _Layer, instruction: Instruction) -> None:
        """Sums for the drives that an instruction reads, which follows them or comes after them."""
        parameters, unit = self.unit.parameters, self.unit
        bits = min(unit.magnitude_bits(instruction.op) + instruction.round + random.randint(-3, 2), parameters.drive_bits - 1)
        shift = random.randint(0, max(0, bits - 1))
        streams = []
        for _ in range(random.choice((1, 1, 2, 3))):
            streams.append(self._draw(layer, max(1, min(parameters.accumulator_bits - 1, bits - shift)), shift))
            self._begin(streams[-1], 0)
        end = max(stream.done for stream in streams)
        if instruction.op in WALK_OPS and random.random() < 0.8:
            self.start = random.randint(streams[-1].begin + 1, end + 2)
            # The interlock looks some cycles earlier, so the last one may be complete by then.
            self.awaited = [stream for stream in streams if stream.done > self.start or stream is streams[-1]]
        else:
            self.start = max(1, end + random.randint(0, 3))

    def accompany(self, layer: _Layer) -> None:
        """Sums for other drives, before the instruction or while it is under way."""
        stream = self._draw(layer, self.unit.parameters.accumulator_bits // 2, random.randint(0, 5))
        # Those that are followed are the last that have begun before.
        self._begin(stream, self.start + 1 if self.awaited or random.random() < 0.5 else 0)

    def _begin(self, stream: _Stream, earliest: int) -> None:
        if self.streams:
            earliest = max(earliest, self.streams[-1].begin + 1)
        # A tag is free when its instruction is complete.
        if len(self.streams) >= TAGS:
            earliest = max(earliest, self.streams[-TAGS].done)
        stream.begin = earliest + random.randint(0, 20)
        self.add(stream)

    def _draw(self, layer: _Layer, bits: int, shift: int) -> _Stream:
        passes = [[spread(bits) for _ in range(layer.width)] for _ in range(random.randint(1, 3))]
        final, pace, kind = random.random() < 0.8, random.choice((1.0, 0.9, 0.3)), random.choice(STREAMS)
        return _Stream(layer, passes, shift, random.getrandbits(1), final, pace, kind)

    def add(self, stream: _Stream) -> None:
        """Sums one a cycle or more slowly, and each drive's away from its last one.

        Those of an instruction keep away from those before, but sums of the second kind may meet the first kind's in other banks.
        """
        unit, layer = self.unit, stream.layer
        forward, transposed = STREAMS
        unit.tag = stream.tag = (unit.tag + 1) % TAGS
        now = stream.begin + 1 + random.randint(0, 15)
        if stream.kind == transposed and self.streams and self.streams[-1].kind == forward and random.random() < 0.8:
            now = max(now, self.streams[-1].first)
        else:
            now = max(now, max((*self._sums[forward], *self._sums[transposed]), default=-SUM_LATENCY) + SUM_LATENCY)
        other = self._sums[forward if stream.kind == transposed else transposed]
        for number, sums in enumerate(stream.passes):
            final = int(stream.final and number == len(stream.passes) - 1)
            overwrite = stream.overwrite if number == 0 else 0
            for index, value in enumerate(sums):
                address = layer.neuron + index
                now = max(now, self._last.get(address, now - PASS) + PASS)
                while random.random() >= stream.pace or (now in other and (other[now]["address"] - address) % 2 == 0):
                    now += 1
                self._sums[stream.kind][now] = {
                    "address": address,
                    "value": value,
                    "valid": 1,
                    "restart": int(index == 0),
                    "overwrite": overwrite,
                    "final": final,
                    "tag": stream.tag,
                    "target": layer.neuron,
                    "shift": stream.shift,
                }
                self._last[address] = now
                if index == 0:
                    stream.first = now
                if final:
                    stream.finals.append(now)
                now += 1
            place = layer.neurons
            unit.drives[place] = unit.sums.model(unit.drives[place], np.array(sums), stream.shift, bool(overwrite))
        stream.done = now - 1 + SUM_LATENCY + random.randint(0, 3)
        self.streams.append(stream)

    def inputs(self, now: int) -> dict[str, int]:
        """What the array says in a cycle; without a sum there is anything beside ``valid``."""
        complete, begins = (1 << TAGS) - 1, 0
        for stream in self.streams:
            if now == stream.begin:
                begins |= 1 << stream.tag
            if stream.begin < now < stream.done:
                complete &= ~(1 << stream.tag)
        said = {"complete": complete, "sums_begin": begins}
        for kind, sums in self._sums.items():
            noise = {
                "value": spread(5),
                **{name: random.getrandbits(1) for name in ("restart", "overwrite", "final")},
                "tag": random.randrange(TAGS),
                "target": random.randrange(len(self.unit.drives)),
                "shift": random.getrandbits(6),
            }
            here = sums.get(now, noise)
            said |= {f"{kind}_{name}": here[name] for name in ("target", "shift")}
            said |= {f"{kind}__{name}": here.get(name, 0) for name in ("value", "valid", "restart", "overwrite", "final", "tag")}
        return said

    def steps(self, rows: int) -> list[int]:
        """Cycles in which a walk over a layer reads its drives: as near to the sums as the unit's registers let it."""
        if not self.awaited:
            return list(range(self.start + 1, self.start + 1 + rows))
        complete = max(self.start + 1, *(stream.done for stream in self.awaited))
        steps: list[int] = []
        now, ahead = self.start + 1, False
        while len(steps) < rows:
            there = sum(time + SUM_LATENCY <= now for time in self.awaited[-1].finals)
            next_ahead = there > len(steps) + 1
            if ahead or now > complete:
                steps.append(now)
            ahead = next_ahead
            now += 1
        return steps


class _Unit:
    """The unit under test, and what it must hold."""

    def __init__(self, dut: Any) -> None:
        self.component = NeuronUnit(engine_parameters())
        self.parameters = self.component.parameters
        self.bench = Cycles(dut, self.component)
        self.sums = Drives(self.parameters)
        depth = self.parameters.neuron_depth
        self.drives, self.states, self.slopes, self.deviations = (np.zeros(depth, dtype=np.int64) for _ in range(4))
        # None stands for what an instruction leaves open.
        self.lists: dict[tuple[int, int], list[tuple[int, int]] | None] = {}
        self.changed_blocks: list[bool | None] = [False] * self.parameters.row_depth
        self.valued_blocks = [False] * self.parameters.row_depth
        # By parity of the sweep.
        self.changed = [False, False]
        self.sweep = self.tag = 0
        self.wrong = False
        self.prediction = 0
        self.skip = 0
        self.inputs, self.layers = self._layers()

    def _layers(self) -> tuple[int, list[_Layer]]:
        parameters = self.parameters
        lanes = parameters.lanes
        inputs = random.randint(1, lanes)
        layers: list[_Layer] = []
        neuron, row = inputs, 0
        for node in sorted(random.sample(range(1, parameters.program_depth), 3)):
            left = 2 - len(layers)
            blocks = random.randint(1, min(3, parameters.row_depth - row - left))
            room = parameters.neuron_depth - neuron - left * lanes
            # The first layer has at least two neurons, for `_clip_everything`.
            width = min(room, random.randint((blocks - 1) * lanes + (1 if layers else 2), blocks * lanes))
            layers.append(_Layer(node, neuron, row, width))
            neuron += width
            row += -(-width // lanes)
        return inputs, layers

    def instruction(self, op: Op, layer: _Layer) -> Instruction:
        """A random instruction for a layer."""
        parameters = self.parameters
        first, full, kind, shift2 = random.getrandbits(1), 0, 0, 0
        bits = random.randint(1, parameters.vector_bits - 1)
        if op == Op.ACTIVATE:
            full, kind = random.getrandbits(1), random.randrange(len(ACTIVATIONS))
            bits = random.randint(1, min(parameters.vector_bits - 1, parameters.pre_activation.fraction + SLOPE_FRACTION))
            shift2 = SLOPE_FRACTION + parameters.pre_activation.fraction - bits
        elif op == Op.DEVIATE:
            shift2 = random.randint(max(0, parameters.drive.magnitude_bits - bits - 2), SLOPE_FRACTION + parameters.drive.fraction)
        else:
            bits = min(bits, ERROR_BITS)
        return with_noise(
            Instruction(
                op=op,
                kind=kind,
                first=first,
                full=full,
                rows=layer.width,
                target=layer.neuron,
                node=layer.node,
                row=layer.row,
                round=random.randint(0, max(1, parameters.drive_bits - self.magnitude_bits(op) - 3)),
                round2=shift2,
                bits=bits,
            )
        )

    def magnitude_bits(self, op: Op) -> int:
        """Bits to which an instruction rounds the drives."""
        if op == Op.ACTIVATE:
            return self.parameters.pre_activation.magnitude_bits
        return self.parameters.drive.magnitude_bits if op == Op.DEVIATE else LOGIT_BITS

    async def give_inputs(self) -> None:
        """Begin a sample and push its inputs."""
        await self.bench.step({"input_begin": 1, "input_value": self._input(), "instruction": self._noise()})
        pairs = []
        for index in range(self.inputs):
            while random.random() < 0.3:
                await self.bench.step({"input_value": self._input(), "instruction": self._noise()})
            value = random.choice((0, self._input()))
            await self.bench.step({"input_push": 1, "input_value": value, "instruction": self._noise()})
            if value or not self.skip:
                pairs.append((index, value))
        # The sample before is read until they are taken.
        for place, pair in enumerate(self.lists.get((0, 0), None) or []):
            for _ in range(LIST_LATENCY):
                await self.bench.step({"list_address": place})
            got = await self.bench.step()
            assert (got["entry_index"], got["entry_value"]) == pair
        await self.bench.step({"input_take": 1})
        self.lists[0, 0] = pairs
        await self.bench.wait(1)

    def next_sweep(self) -> dict[str, int]:
        """A sweep begins: what the sequencer says in that cycle."""
        self.sweep ^= 1
        self.bench.held["sweep"] = self.sweep
        self.changed[self.sweep] = False
        return {"clear_changed": 1}

    def _input(self) -> int:
        return random.getrandbits(self.parameters.vector_bits - 1)

    def _noise(self) -> int:
        return random.getrandbits(len(self.component.instruction.as_value()))

    async def execute(self, instruction: Instruction, label: int, schedule: _Schedule) -> dict[str, int]:
        """Execute an instruction beside sums; compare all that it says meanwhile; bring what must be held up to date."""
        place = slice(instruction.target, instruction.target + instruction.rows)
        self.bench.held["label"] = label
        values, before, events = self._results(instruction, place, label)
        changes = values - (0 if instruction.first else before)
        note = f"{instruction}, drives {self.drives[place].tolist()}, before {before.tolist()}, awaits {schedule.awaited}"
        now = 0
        for now in range(schedule.start):
            stands = now == schedule.start - 1
            await self.bench.step({**schedule.inputs(now), "instruction": _word(instruction) if stands else self._noise()})
        now = schedule.start
        inputs = {"start": 1, "instruction": _word(instruction), "follow_tag": random.randrange(TAGS)}
        if schedule.awaited:
            awaits = sum(1 << stream.tag for stream in schedule.awaited)
            inputs |= {"awaits": awaits, "follow_tag": schedule.awaited[-1].tag}
        of_sweep = self.sweep
        assert (await self.bench.step({**schedule.inputs(now), **inputs}))["idle"], note
        expected = _Expected(self, instruction, values, changes)
        counted = dict.fromkeys(EVENTS, 0)
        reads = schedule.steps(instruction.rows)
        steps: list[int] = []
        writes: list[tuple[int, ...]] = []
        swept = 0
        while True:
            now += 1
            inputs = {**schedule.inputs(now), "instruction": self._noise(), "read_address": random.randrange(len(self.drives))}
            if not swept and now > schedule.start + 2 and random.random() < 0.01:
                inputs |= self.next_sweep()
                swept = now
            got = await self.bench.step(inputs | expected.ask(writes))
            if got["idle"]:
                break
            expected.answer(got, note)
            for name in EVENTS:
                counted[name] += got[f"event_{name}"]
            if got["event_serial"]:
                steps.append(now)
                assert got["reading"], note
            if instruction.op in WALK_OPS:
                assert got["reading"] == (now <= reads[-1]), note
            assert got["current"] == _word(instruction), note
            # What a walk of the sweep before finds is nothing new.
            assert not (swept and got["changed"] and now > swept + 1), note
            if got["rows__valid"]:
                writes.append(tuple(got[f"rows__{name}"] for name in ("lane", "address", "change", "value", "values")))
            assert now < schedule.end + schedule.start + 4 * instruction.rows + 200, f"does not end: {note}"
        busy = now - schedule.start - 1
        assert counted == events, note
        lanes = self.parameters.lanes
        with_values = int(teaches(instruction))
        if instruction.op == Op.DIFFERENCE:
            # Nobody adds up differences of differences: the changes are left open.
            writes = [(lane, row, 0, value, values_too) for lane, row, _, value, values_too in writes]
            changes = np.zeros_like(changes)
        written = [
            (index % lanes, instruction.row + index // lanes, change, value, with_values)
            for index, (change, value) in enumerate(zip(changes.tolist(), values.tolist(), strict=True))
        ]
        assert writes == ([] if instruction.op in (Op.PREDICT, Op.SNAPSHOT) else written), note
        if instruction.op in WALK_OPS:
            assert steps == reads, note
            assert busy == steps[-1] - schedule.start + DRAIN, note
        if instruction.op == Op.PREDICT:
            assert busy == OutputError.latency(instruction.rows, 1 + Drives.latency, 0, True) + ERROR_DRAIN, note
        self._remember(instruction, values, changes, of_sweep)
        for later in range(now + 1, schedule.end + SUM_LATENCY):
            await self.bench.step({**schedule.inputs(later), "instruction": self._noise()})
        return events

    def _results(self, instruction: Instruction, place: slice, label: int) -> tuple[IntArray, IntArray, dict[str, int]]:
        """Values, those before and events of an instruction; states, deviations, prediction and ``wrong`` are set."""
        drives, events = self.drives[place], dict.fromkeys(EVENTS, 0)
        events["serial"] = instruction.rows
        match instruction.op:
            case Op.ACTIVATE:
                before = self.states[place].copy()
                values, self.slopes[place], clipped = self.component.model_activate(drives, instruction)
                self.states[place] = values
                events["saturated_pre_activation"] = int(clipped.sum())
                events["changed_state"] = int((values != (0 if instruction.first else before)).sum())
            case Op.DEVIATE:
                before = self.deviations[place].copy()
                values, clipped_drive, clipped = self.component.model_deviate(drives, self.slopes[place], instruction)
                self.deviations[place] = values
                events["saturated_drive"] = int(clipped_drive.sum())
                events["saturated_deviation"] = int(clipped.sum())
                events["changed_deviation"] = int((values != (0 if instruction.first else before)).sum())
            case Op.SNAPSHOT | Op.DIFFERENCE:
                before = self.deviations[place].copy()
                values = self.states[place].copy()
                if instruction.op == Op.DIFFERENCE:
                    # A compiled network has vectors that are wide enough.
                    values = np.array([wrap(value, self.parameters.vector_bits) for value in (values - before).tolist()])
                self.deviations[place] = values
            case _:
                before = self.deviations[place].copy()
                values, clipped, logits, prediction = OutputError.model(drives, label, instruction.round, instruction.bits)
                if instruction.op == Op.PREDICT or instruction.first:
                    self.prediction = prediction
                    self.wrong = instruction.op == Op.ERROR and bool(values.any())
                if instruction.op == Op.ERROR:
                    self.deviations[place] = values
                    events["serial"] = 3 * instruction.rows
                    events["saturated_logit"] = logits
                    events["saturated_error"] = int(clipped.sum())
        return values, before, events

    def _remember(self, instruction: Instruction, values: IntArray, changes: IntArray, of_sweep: int) -> None:
        node, lanes = instruction.node, self.parameters.lanes
        if instruction.op == Op.SNAPSHOT:
            return
        if instruction.op == Op.PREDICT:
            self.lists[0, node] = []
            return
        self.changed[of_sweep] |= instruction.op in (Op.ACTIVATE, Op.DEVIATE) and bool(changes.any())
        for block in range(-(-instruction.rows // lanes)):
            part = slice(block * lanes, (block + 1) * lanes)
            row = instruction.row + block
            self.changed_blocks[row] = None if instruction.op == Op.DIFFERENCE else bool(changes[part].any()) or not self.skip
            if teaches(instruction):
                self.valued_blocks[row] = bool(values[part].any()) or not self.skip
        self.lists[0, node] = None if instruction.op == Op.DIFFERENCE else self.pairs(changes)
        if instruction.op == Op.ACTIVATE and not instruction.full:
            self.lists[1, node] = self.pairs(values)

    def pairs(self, values: IntArray) -> list[tuple[int, int]]:
        """The list that tells values."""
        return [(index, value) for index, value in enumerate(values.tolist()) if value or not self.skip]

    async def check(self, layer: _Layer) -> None:
        """Read flags, the lists and memories of a layer, and something of the others."""
        # A sweep may have begun in the last cycle, which is told two cycles later.
        await self.bench.wait(1)
        got = await self.bench.step()
        flags = got["changed"], got["wrong"], got["prediction"]
        assert flags == (self.changed[self.sweep], self.wrong, self.prediction)
        for row in range(self.parameters.row_depth):
            got = await self.bench.step({"block": row})
            assert self.changed_blocks[row] in (None, got["changed_block"]), f"block {row}"
            assert got["valued_block"] == self.valued_blocks[row], f"block {row}"
        bases = {0: 0, **{other.node: other.neuron for other in self.layers}}
        nodes = {layer.node, 0, random.choice(self.layers).node}
        for full, node in [(full, node) for full in (0, 1) for node in sorted(nodes)]:
            pairs = self.lists.get((full, node), [])
            if pairs is None:
                continue
            for place in range(len(pairs) + LIST_LATENCY):
                address = min(bases[node] + place, len(self.drives) - 1)
                got = await self.bench.step({"list_full": full, "list_node": node, "list_address": address})
                if place >= LIST_LATENCY:
                    assert got["count"] == len(pairs), f"list {full} of node {node}"
                    entry = got["entry_index"], got["entry_value"]
                    assert entry == pairs[place - LIST_LATENCY], f"list {full} of node {node}, pair {place - LIST_LATENCY}"
        addresses = [*range(layer.neuron, layer.neuron + layer.width), *random.sample(range(self.inputs, len(self.drives)), 3)]
        ahead = NeuronUnit.read_latency
        for address in addresses[:ahead]:
            await self.bench.step({"read_address": address})
        for address, after in zip(addresses, [*addresses[ahead:], *[0] * ahead], strict=False):
            got = await self.bench.step({"read_address": after})
            read = got["read_state"], got["read_slope"], got["read_deviation"]
            assert read == (self.states[address], self.slopes[address], self.deviations[address]), f"neuron {address}"


class _Expected:
    """What can be read of lists and flags while an instruction writes them."""

    def __init__(self, unit: _Unit, instruction: Instruction, values: IntArray, changes: IntArray) -> None:
        self.unit, self.instruction = unit, instruction
        self.values, self.changes = values.tolist(), changes.tolist()
        self.of_states = int(instruction.op == Op.ACTIVATE and not instruction.full and random.getrandbits(1))
        # A copy writes none, and the changes of a difference are left open.
        self.open = instruction.op in (Op.SNAPSHOT, Op.DIFFERENCE)
        self.listed = unit.pairs(values if self.of_states else changes)
        if instruction.op == Op.PREDICT:
            self.listed = []
        self.coming: list[tuple[int, int] | None] = [None] * LIST_LATENCY
        self.written = self.length = 0
        self.block: int | None = None

    def ask(self, writes: list[tuple[int, ...]]) -> dict[str, int]:
        """For a pair of those that there are, and for the flags of a block that is complete."""
        instruction, unit = self.instruction, self.unit
        self.written = len(writes)
        self.length = sum(index < self.written for index, _ in self.listed)
        place = random.choice((self.length - 1, random.randrange(max(self.length, 1))))
        ready = 0 <= place < self.length and not self.open
        self.coming.append(self.listed[place] if ready else None)
        complete = self.written // unit.parameters.lanes
        self.block = random.randrange(complete) if complete else None
        return {
            "list_full": self.of_states,
            "list_node": instruction.node,
            "list_address": instruction.target + max(place, 0),
            "block": instruction.row + (self.block or 0),
        }

    def answer(self, got: dict[str, int], note: str) -> None:
        """Compare what was asked for."""
        instruction, unit = self.instruction, self.unit
        lanes = unit.parameters.lanes
        if instruction.op != Op.SNAPSHOT:
            assert got["row"] == (instruction.row + self.written // lanes) % (1 << len(unit.component.row)), note
        if not self.open:
            assert got["states_length" if self.of_states else "changes_length"] == self.length, note
        pair = self.coming.pop(0)
        if pair is not None:
            assert (got["entry_index"], got["entry_value"]) == pair, note
        if self.block is not None:
            part = slice(self.block * lanes, (self.block + 1) * lanes)
            if not self.open:
                assert got["changed_block"] == (any(self.changes[part]) or not unit.skip), note
            if teaches(instruction):
                assert got["valued_block"] == (any(self.values[part]) or not unit.skip), note


def _word(instruction: Instruction) -> int:
    return sum(part << (32 * index) for index, part in enumerate(instruction.encode()))
