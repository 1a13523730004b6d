# SPDX-License-Identifier: Apache-2.0
"""Bench of `NeuronUnit`: sums, instructions and inputs in random order, and afterwards all that can be read."""

import random
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np

from ...firmware.arithmetic import ACTIVATIONS, LOGIT_BITS, SLOPE_FRACTION, IntArray
from ...firmware.isa import Instruction, Op
from ...rtl_gen.issuer import PASS
from ...rtl_gen.neurons import DRAIN, LIST_LATENCY, SUM_LATENCY, NeuronUnit
from ...rtl_gen.output_error import ERROR_BITS, OutputError
from .cycles import Cycles, engine_parameters, spread, wrap

OPS = (Op.ACTIVATE, Op.DEVIATE, Op.ERROR, Op.ACTIVATE, Op.SNAPSHOT, Op.DEVIATE, Op.PREDICT, Op.DIFFERENCE, Op.ERROR)
SERIAL = (Op.ACTIVATE, Op.DEVIATE, Op.SNAPSHOT, Op.DIFFERENCE)
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
            await unit.bench.step({"clear_changed": 1})
            unit.changed = False
        layer = random.choice(unit.layers)
        op = OPS[trial % len(OPS)]
        instruction = unit.instruction(op, layer)
        # An instruction often meets the drives of the one before, so that not everything changes.
        if random.random() < 0.7:
            await unit.give_random_sums(layer, instruction)
        await unit.execute(instruction, random.randrange(layer.width))
        await unit.check(layer)
    await _clip_everything(unit)


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
        await unit.give_sums(layer, sums, shift, 1)
        await unit.bench.wait(SUM_LATENCY - 1)
        events = await unit.execute(instruction, layer.width - 1)
        await unit.check(layer)
        for name in EVENTS:
            seen[name] += events[name]
    assert all(seen.values()), seen


def teaches(instruction: Instruction) -> bool:
    """Whether the rows keep the values for an update: deviations, differences and the error of the free state."""
    return instruction.op != Op.ACTIVATE and (instruction.op != Op.ERROR or bool(instruction.first))


@dataclass(frozen=True)
class _Layer:
    node: int
    neuron: int
    row: int
    width: int

    @property
    def neurons(self) -> slice:
        return slice(self.neuron, self.neuron + self.width)


class _Unit:
    """The unit under test, and what it must hold."""

    def __init__(self, dut: Any) -> None:
        self.component = NeuronUnit(engine_parameters())
        self.parameters = self.component.parameters
        self.bench = Cycles(dut, self.component)
        depth = self.parameters.neuron_depth
        self.drives, self.states, self.slopes, self.deviations = (np.zeros(depth, dtype=np.int64) for _ in range(4))
        # None stands for what an instruction leaves open.
        self.lists: dict[tuple[int, int], list[tuple[int, int]] | None] = {}
        self.changed_blocks: list[bool | None] = [False] * self.parameters.row_depth
        self.valued_blocks = [False] * self.parameters.row_depth
        self.changed = self.wrong = False
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
        return Instruction(
            op=op,
            kind=kind,
            first=first,
            full=full,
            rows=layer.width,
            target=layer.neuron,
            node=layer.node,
            row=layer.row,
            round=random.randint(0, max(1, parameters.drive_bits - self._magnitude_bits(op) - 3)),
            round2=shift2,
            bits=bits,
        )

    def _magnitude_bits(self, op: Op) -> int:
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
        self.lists[0, 0] = pairs
        # A register before the list, then its length.
        await self.bench.wait(2)

    def _input(self) -> int:
        return random.getrandbits(self.parameters.vector_bits - 1)

    def _noise(self) -> int:
        return random.getrandbits(len(self.component.instruction.as_value()))

    async def give_random_sums(self, layer: _Layer, instruction: Instruction) -> None:
        """Passes of sums over a layer, as near to each other as is allowed; drives that sometimes clip in the instruction."""
        parameters = self.parameters
        bits = min(self._magnitude_bits(instruction.op) + instruction.round + random.randint(-3, 2), parameters.drive_bits - 1)
        shift = random.randint(0, max(0, bits - 1))
        overwrite = random.getrandbits(1)
        for number in range(random.randint(1, 3)):
            sums = [spread(max(1, min(parameters.accumulator_bits - 1, bits - shift))) for _ in range(layer.width)]
            await self.give_sums(layer, sums, shift, overwrite if number == 0 else 0)
            # Each drive's next sum comes at the earliest `PASS` cycles after its last, whatever the gaps.
            await self.bench.wait(max(0, PASS - layer.width))
        await self.bench.wait(SUM_LATENCY - 1)

    async def give_sums(self, layer: _Layer, sums: list[int], shift: int, overwrite: int) -> None:
        """A sum for each neuron of a layer; the last is not yet in the memory."""
        self.bench.held |= {"sum_target": layer.neuron, "sum_shift": shift}
        for index, value in enumerate(sums):
            while random.random() < 0.1:
                await self.bench.step({"sum": -value, "sum_restart": random.getrandbits(1), "sum_overwrite": random.getrandbits(1)})
            await self.bench.step({"sum": value, "sum_valid": 1, "sum_restart": int(index == 0), "sum_overwrite": overwrite})
        place = layer.neurons
        self.drives[place] = self.component.model_sums(self.drives[place], np.array(sums), shift, bool(overwrite))

    async def execute(self, instruction: Instruction, label: int) -> dict[str, int]:
        """Execute an instruction; compare events and writes of rows; bring what must be held up to date."""
        place = slice(instruction.target, instruction.target + instruction.rows)
        self.bench.held["label"] = label
        values, before, events = self._results(instruction, place, label)
        changes = values - (0 if instruction.first else before)
        word = sum(part << (32 * index) for index, part in enumerate(instruction.encode()))
        assert (await self.bench.step({"start": 1, "instruction": word}))["idle"], instruction
        counted = dict.fromkeys(EVENTS, 0)
        writes = []
        busy = 0
        while True:
            got = await self.bench.step({"instruction": self._noise(), "read_address": random.randrange(len(self.drives))})
            for name in EVENTS:
                counted[name] += got[f"event_{name}"]
            if got["rows__valid"]:
                writes.append(tuple(got[f"rows__{name}"] for name in ("lane", "address", "change", "value", "values")))
            if got["idle"]:
                break
            busy += 1
            assert busy < 4 * instruction.rows + 200, f"{instruction} does not end"
        note = f"{instruction}, drives {self.drives[place].tolist()}, before {before.tolist()}"
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
        if instruction.op in SERIAL:
            assert busy == instruction.rows + DRAIN, note
        if instruction.op == Op.PREDICT:
            # What `OutputError` takes, with its read latency of 4.
            assert busy == 2 * instruction.rows + 6 + DRAIN + 1, note
        self._remember(instruction, values, changes)
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

    def _remember(self, instruction: Instruction, values: IntArray, changes: IntArray) -> None:
        node, lanes = instruction.node, self.parameters.lanes
        if instruction.op == Op.SNAPSHOT:
            return
        if instruction.op == Op.PREDICT:
            self.lists[0, node] = []
            return
        self.changed |= instruction.op in (Op.ACTIVATE, Op.DEVIATE) and bool(changes.any())
        for block in range(-(-instruction.rows // lanes)):
            part = slice(block * lanes, (block + 1) * lanes)
            row = instruction.row + block
            self.changed_blocks[row] = None if instruction.op == Op.DIFFERENCE else bool(changes[part].any()) or not self.skip
            if teaches(instruction):
                self.valued_blocks[row] = bool(values[part].any()) or not self.skip
        self.lists[0, node] = None if instruction.op == Op.DIFFERENCE else self._pairs(changes)
        if instruction.op == Op.ACTIVATE and not instruction.full:
            self.lists[1, node] = self._pairs(values)

    def _pairs(self, values: IntArray) -> list[tuple[int, int]]:
        return [(index, value) for index, value in enumerate(values.tolist()) if value or not self.skip]

    async def check(self, layer: _Layer) -> None:
        """Read flags, the lists and memories of a layer, and something of the others."""
        got = await self.bench.step()
        flags = got["changed"], got["wrong"], got["prediction"]
        assert flags == (self.changed, self.wrong, self.prediction)
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
