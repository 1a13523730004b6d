# SPDX-License-Identifier: Apache-2.0
"""Bench of `Issuer`: random instructions over random lists and flags; commands, their times, events and idleness."""

import random
from typing import Any

import cocotb

from ...firmware.isa import FIELDS, Instruction, Op
from ...rtl_gen.issuer import ISSUE, LOOK, PASS, Issuer
from ...rtl_gen.lane_array import LaneArray
from ...rtl_gen.neurons import LIST_LATENCY, SUM_LATENCY
from .cycles import Cycles, engine_parameters, spread

IDLE_SLACK = 3
"""Cycles that an instruction may seem to be under way after its last result is in the memory."""


@cocotb.test
async def equals_model(dut: Any) -> None:
    component = Issuer(engine_parameters())
    bench = Cycles(dut, component)
    await bench.reset()
    for trial in range(90):
        case = _Case(component, (Op.FORWARD, Op.TRANSPOSED, Op.UPDATE)[trial % 3])
        await case.run(bench)
        for _ in range(random.randint(0, 2)):
            await case.step(bench, {})


class _Case:
    """One instruction, and the neuron unit around it."""

    def __init__(self, component: Issuer, op: Op) -> None:
        self.component = component
        parameters = component.parameters
        blocks = random.randint(1, min(4, parameters.row_depth))
        rows = random.randint((blocks - 1) * parameters.lanes + 1, blocks * parameters.lanes)
        columns = random.randint(1, min(parameters.weight_depth // blocks, parameters.neuron_depth))
        fields = {
            "rows": rows,
            "columns": columns,
            "row": random.randint(0, parameters.row_depth - blocks),
            "weights": random.randint(0, parameters.weight_depth - blocks * columns),
            "source": random.randint(0, parameters.neuron_depth - columns),
            "node": random.randrange(parameters.program_depth),
            "target": random.randrange(parameters.neuron_depth),
            "column": random.randrange((1 << FIELDS["column"].bits) - columns),
            "first": random.getrandbits(1),
            "full": random.getrandbits(1),
            "nearest": random.getrandbits(1),
        }
        bits = parameters.vector_bits + 1 - fields["full"]
        self.rate = random.randrange(32)
        fields["shift"] = self.rate + random.randint(0, parameters.broadcast_bits - bits)
        self.instruction = Instruction(op=op, **fields)
        density = random.choice((0.0, 0.3, 1.0))
        indexes = [index for index in range(columns) if random.random() < density]
        self.entries = [(index, spread(bits - 1)) for index in indexes]
        flagged = random.choice((0.0, 0.5, 1.0))
        self.changed, self.valued = ([random.random() < flagged for _ in range(parameters.row_depth)] for _ in range(2))
        self.bits = parameters.vector_bits
        # What was asked for in the last cycles: entry's place and whether it was of the instruction's list.
        self.asked: list[tuple[int, bool]] = [(-1, False)] * LIST_LATENCY

    async def run(self, bench: Cycles) -> None:
        """Execute the instruction and compare everything."""
        instruction = self.instruction
        commands, events = self.component.model(instruction, self.rate, self.entries, self.changed, self.valued)
        note = f"{instruction}, rate {self.rate}, entries {self.entries}, changed {self.changed}, valued {self.valued}"
        counted = dict.fromkeys(events, 0)
        got: list[dict[str, int]] = []
        times: list[int] = []
        word = sum(part << (32 * index) for index, part in enumerate(instruction.encode()))
        bench.held = {"rate": self.rate}
        begin = bench.now
        outputs = await self.step(bench, {"start": 1, "instruction": word})
        assert outputs["idle"], note
        while True:
            now = bench.now
            outputs = await self.step(bench, {"instruction": random.getrandbits(len(self.component.instruction.as_value()))})
            for name in counted:
                counted[name] += outputs[f"event_{name}"]
            if outputs["command__valid"]:
                wanted = commands[len(got)] if len(got) < len(commands) else {}
                got.append({name: outputs[f"command__{name}"] for name in wanted})
                times.append(now)
            if outputs["idle"]:
                break
            mode = outputs["transposed"], outputs["update"], outputs["nearest"], outputs["current"]
            assert mode == (instruction.op == Op.TRANSPOSED, instruction.op == Op.UPDATE, instruction.nearest, word), note
        assert got == commands, note
        assert counted == events, note
        assert [time - begin for time in times] == self._times(), note
        if times:
            assert 0 <= now - times[-1] - self._latency() <= IDLE_SLACK, note

    async def step(self, bench: Cycles, inputs: dict[str, int]) -> dict[str, int]:
        """A cycle in which the lists and flags answer."""
        place, listed = self.asked.pop(0)
        # Beyond the list there is anything.
        index, value = self.entries[place] if 0 <= place < len(self.entries) else (random.getrandbits(12), spread(self.bits))
        block = min(bench.peek("block"), len(self.changed) - 1)
        outputs = await bench.step(
            {
                **inputs,
                "entry_index": index,
                "entry_value": value,
                "count": len(self.entries) if listed else random.getrandbits(12),
                "changed_block": int(self.changed[block]),
                "valued_block": int(self.valued[block]),
            }
        )
        ours = outputs["list_full"] == self.instruction.full and outputs["list_node"] == self.instruction.node
        self.asked.append((outputs["list_address"] - self.instruction.source, ours))
        return outputs

    def _times(self) -> list[int]:
        """Cycles from the start to each command: one a cycle, and what the docstring says of blocks."""
        instruction, lanes = self.instruction, self.component.parameters.lanes
        times: list[int] = []
        # The cycle in which a block is looked at, the earliest of its last command, and those that go to the array.
        look, free = 1 if instruction.op == Op.TRANSPOSED else LOOK, 0
        for block in range(-(-instruction.rows // lanes)):
            row = instruction.row + block
            if instruction.op == Op.TRANSPOSED:
                length = instruction.columns if self.changed[row] or (instruction.first and block == 0) else 0
                free = look + PASS - 1
            elif instruction.op == Op.UPDATE:
                length = len(self.entries) if self.valued[row] else 0
            else:
                length = max(len(self.entries), instruction.first)
            if not length:
                look += 2
                continue
            last = max(look + 1 + length, free)
            times += [*range(look + 2, look + 1 + length), last]
            if instruction.op == Op.FORWARD:
                free = last + 1 + min(lanes, instruction.rows - block * lanes)
            look = last + 1
        return [time + ISSUE for time in times]

    def _latency(self) -> int:
        """Cycles from the last command until its result is in a memory."""
        parameters = self.component.parameters
        if self.instruction.op == Op.TRANSPOSED:
            return LaneArray.transposed_latency(parameters) + SUM_LATENCY
        if self.instruction.op == Op.UPDATE:
            return LaneArray.update_latency + 1
        rows = (self.instruction.rows - 1) % parameters.lanes + 1
        return LaneArray.forward_latency + rows - 1 + SUM_LATENCY


@cocotb.test
async def clears_drives(dut: Any) -> None:
    """A forward pass without columns, by which the compiler sets drives to zero."""
    component = Issuer(engine_parameters())
    bench = Cycles(dut, component)
    await bench.reset()
    case = _Case(component, Op.FORWARD)
    case.instruction = Instruction(op=Op.FORWARD, first=1, full=1, rows=2 * component.parameters.lanes + 1)
    case.entries = []
    await case.run(bench)
