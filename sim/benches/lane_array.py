# SPDX-License-Identifier: Apache-2.0
"""Bench of `LaneArray`: weights in and out, and random forward, transposed and update passes with gaps between the commands."""

import random
from collections.abc import Sequence
from typing import Any

import cocotb
import numpy as np

from ...firmware.arithmetic import RANDOM_BITS, ROW_ROTATION, IntArray, mix, random_bits, update_weights
from ...rtl_gen.instruction import TAGS
from ...rtl_gen.lane import Lane
from ...rtl_gen.lane_array import LaneArray
from .cycles import Cycles, engine_parameters, spread

MARKS = ("overwrite", "final", "tag")
"""What a sum carries from its command."""

SETTLED = 60
"""Cycles after which nothing is under way in any array, whatever its lanes."""


class _Array:
    """An array under test, its weights, and what its sums must be, cycle by cycle."""

    def __init__(self, dut: Any) -> None:
        self.component = LaneArray(engine_parameters())
        self.parameters = self.component.parameters
        self.bench = Cycles(dut, self.component)
        shape = self.parameters.weight_depth, self.parameters.lanes
        self.weights: IntArray = np.array([[self.weight() for _ in range(shape[1])] for _ in range(shape[0])], dtype=np.int64)
        # Of each stream.
        self.sums: dict[str, dict[int, tuple[int, ...]]] = {"forward": {}, "transposed": {}}
        self.clipped: dict[int, int] = {}

    async def load(self) -> None:
        """Reset, and write every weight; a command right behind the last write would read the word as it is written."""
        await self.bench.reset()
        for address, word in enumerate(self.weights.tolist()):
            for weight in word:
                while random.random() < 0.05:
                    await self.bench.step({"load_value": self.weight()})
                await self.bench.step({"load_step": 1, "load_value": weight})
            await self.bench.step({"load_write": 1, "load_address": address})
        await self.bench.wait(LaneArray.load_latency - 1)

    async def check_weights(self) -> None:
        """Fetch every weight and compare."""
        self.bench.held.clear()
        await self.bench.wait(SETTLED)
        for address in random.sample(range(len(self.weights)), len(self.weights)):
            await self.bench.step({"fetch": 1, "load_address": address})
            for _ in range(LaneArray.fetch_latency - 1):
                await self.bench.step({"load_address": random.randrange(len(self.weights))})
            word = []
            for _ in range(self.parameters.lanes):
                word.append((await self.bench.step({"load_step": 1}))["fetched"])
                await self.bench.wait(LaneArray.step_latency - 1)
            assert word == self.weights[address].tolist(), f"address {address}"

    async def step(self, command: dict[str, int] | None = None) -> None:
        """Give a command, or garbage that is not valid, and check the sums of the cycle."""
        now = self.bench.now
        fields = self.garbage() | ({"valid": 1, **command} if command else {"valid": 0})
        got = await self.bench.step({f"command__{name}": value for name, value in fields.items()})
        for stream, sums in self.sums.items():
            expected = sums.pop(now, None)
            assert got[f"{stream}__valid"] == (expected is not None), f"cycle {now}, {stream}"
            if expected is not None:
                found = tuple(got[f"{stream}__{name}"] for name in ("value", "restart", *MARKS))
                assert found == expected, f"cycle {now}, {stream}"
        assert got["clipped"] == self.clipped.pop(now, 0), f"cycle {now}"

    async def settle(self) -> None:
        """Let everything leave; nothing that was expected may be missing."""
        for _ in range(SETTLED):
            await self.step()
        assert not any(self.sums.values())
        assert not self.clipped

    def garbage(self) -> dict[str, int]:
        parameters = self.parameters
        return {
            "address": random.randrange(parameters.weight_depth),
            "row": random.randrange(parameters.row_depth),
            "value": spread(parameters.broadcast_bits - 1),
            "start": random.getrandbits(1),
            "last": random.getrandbits(1),
            **{name: random.getrandbits(1) for name in ("transposed", "kept", "update", "nearest", "restart")},
            **self.marks(),
            "rows": random.randint(1, parameters.lanes),
            "column": random.getrandbits(20),
            "turn": random.randrange(RANDOM_BITS),
        }

    @staticmethod
    def marks() -> dict[str, int]:
        """Of `MARKS`."""
        return {"overwrite": random.getrandbits(1), "final": random.getrandbits(1), "tag": random.randrange(TAGS)}

    def multiplied(self, addresses: list[int]) -> IntArray:
        """(addresses, lanes): the weights as they are multiplied."""
        return Lane(self.parameters).model_multiplied(self.weights[addresses])

    def weight(self) -> int:
        return spread(self.parameters.weight.magnitude_bits)

    def vector(self) -> int:
        return spread(self.parameters.vector_bits - 1)

    async def write_rows(self, block: int, values: Sequence[int], changes: Sequence[int], with_values: int) -> None:
        """Write the first neurons of a row block, one after the other."""
        for lane, (value, change) in enumerate(zip(values, changes, strict=True)):
            fields = {"valid": 1, "lane": lane, "address": block, "change": change, "value": value, "values": with_values}
            await self.bench.step({f"rows__{name}": field for name, field in fields.items()})
            if random.random() < 0.2:
                # Not valid: nothing may be written.
                await self.bench.step({f"rows__{name}": field for name, field in (fields | {"valid": 0, "lane": 0}).items()})

    def rows(self) -> tuple[IntArray, IntArray]:
        """Room for the changes and the values of all rows."""
        held, kept = (np.zeros((self.parameters.row_depth, self.parameters.lanes), dtype=np.int64) for _ in range(2))
        return held, kept

    async def fill_rows(self, held: IntArray, kept: IntArray, *, full: bool) -> None:
        """Write a layer to each row block, ``full`` ones with their values; bring changes and values, (blocks, lanes), up to date."""
        for block in range(len(held)):
            rows = self.parameters.lanes if full else random.randint(1, self.parameters.lanes)
            values = [self.vector() for _ in range(rows)]
            changes = [value - random.choice((0, self.vector())) for value in values]
            with_values = int(full or random.getrandbits(1))
            await self.write_rows(block, values, changes, with_values)
            held[block, rows:] = 0
            held[block, :rows] = changes
            if with_values:
                kept[block, rows:] = 0
                kept[block, :rows] = values

    async def cross(self, held: IntArray, kept: IntArray) -> None:
        """Give a command of a transposed pass over rows that hold such changes and values."""
        fields = {**self.garbage(), "transposed": 1, "update": 0}
        total = self.component.model_transposed(self.multiplied([fields["address"]]).T, (kept if fields["kept"] else held)[fields["row"]])
        time = self.bench.now + LaneArray.transposed_latency(self.parameters)
        self.sums["transposed"][time] = int(total[0]), fields["restart"], *(fields[name] for name in MARKS)
        await self.step(fields)


@cocotb.test
async def weights_return(dut: Any) -> None:
    array = _Array(dut)
    await array.load()
    await array.check_weights()


@cocotb.test
async def forward(dut: Any) -> None:
    array = _Array(dut)
    await array.load()
    lanes = array.parameters.lanes
    # Sums of changes, small enough for the narrowest accumulator: what a compiled network guarantees.
    most = max(1, (1 << (array.parameters.accumulator_bits - 1)) // (array.parameters.weight.maximum << array.parameters.vector_bits))
    held, kept = array.rows()
    await array.fill_rows(held, kept, full=True)
    free = 0
    for _ in range(25):
        columns, rows = random.randint(1, min(12, most)), random.randint(1, lanes)
        marks, restart = array.marks(), random.getrandbits(1)
        addresses = random.choices(range(array.parameters.weight_depth), k=columns)
        values = [array.vector() - random.choice((0, array.vector())) for _ in range(columns)]
        gaps, crosses = random.choice((0.0, 0.3)), random.choice((0.0, 0.8))
        for place, (address, value) in enumerate(zip(addresses, values, strict=True)):
            last = place == columns - 1
            while random.random() < gaps or (last and array.bench.now < free):
                # A transposed pass takes any cycle, also while the sums of the block before leave.
                if random.random() < crosses:
                    await array.cross(held, kept)
                else:
                    await array.step()
            if last:
                sums = array.component.model_forward(array.multiplied(addresses).T, np.array(values)).tolist()
                first = array.bench.now + LaneArray.forward_latency
                for row in range(rows):
                    array.sums["forward"][first + row] = sums[row], int(restart and row == 0), *marks.values()
                free = array.bench.now + rows
            command = {"address": address, "value": value, "start": int(place == 0), "last": int(last), "restart": restart, "rows": rows}
            await array.step({**command, **marks, "transposed": 0, "update": 0})
    await array.settle()


@cocotb.test
async def transposed(dut: Any) -> None:
    array = _Array(dut)
    await array.load()
    # Changes of an earlier, full layer, whose rest must not be seen.
    held, kept = array.rows()
    for full in (True, False):
        await array.fill_rows(held, kept, full=full)
        for _ in range(60):
            while random.random() < 0.2:
                await array.step()
            await array.cross(held, kept)
        await array.settle()


@cocotb.test
async def update(dut: Any) -> None:
    array = _Array(dut)
    await array.load()
    parameters = array.parameters
    lanes, depth = parameters.lanes, parameters.row_depth
    clipped = 0
    for nearest in (0, 1, 0):
        seed, step = random.getrandbits(32), random.getrandbits(32)
        array.bench.held |= {"seed": seed, "step": step}
        # Both the deviations and the shifted value span all bits, so that small moves and clips at both ends occur.
        deviations = np.array([[array.vector() for _ in range(lanes)] for _ in range(depth)], dtype=np.int64)
        for block, row in enumerate(deviations.tolist()):
            await array.write_rows(block, row, [0] * lanes, 1)
            # A write of changes alone leaves the deviations.
            await array.write_rows(block, [array.vector()], [array.vector()], 0)
        for address in random.sample(range(parameters.weight_depth), parameters.weight_depth):
            while random.random() < 0.2:
                await array.step()
            fields = {**array.garbage(), "transposed": 0, "update": 1, "nearest": nearest}
            column, block = fields["column"], fields["row"]
            rows = np.arange(lanes) + random.randrange(50) * lanes
            half = 1 << (parameters.update_shift - 1)
            noise = half if nearest else random_bits(mix(seed, step, np.array([column])), rows, parameters.update_shift)
            before = array.weights[address][:, None]
            learned, saturated = update_weights(
                before,
                deviations[block],
                np.array([fields["value"]]),
                parameters.update_shift,
                noise,
                parameters.weight.magnitude_bits,
            )
            array.weights[address] = learned[:, 0]
            array.clipped[array.bench.now + LaneArray.clipped_latency] = int(saturated.sum())
            clipped += int(saturated.sum())
            await array.step({**fields, "address": address, "turn": ROW_ROTATION * int(rows[0]) % RANDOM_BITS})
        await array.settle()
        await array.check_weights()
    assert clipped, "no weight was clipped"
