# SPDX-License-Identifier: Apache-2.0
"""Bench of `Lane`: every cycle of random forward, transposed and update streams, with the row memory written meanwhile."""

import random
from collections import defaultdict
from typing import Any

import cocotb
import numpy as np

from ...rtl_gen.lane import Lane
from .cycles import Cycles, engine_parameters, spread, wrap

CYCLES = 300


class _Rows:
    """The row memory: what a read in a cycle gives."""

    def __init__(self, depth: int) -> None:
        self.changes = [0] * depth
        self.values = [0] * depth

    def write(self, inputs: dict[str, int]) -> None:
        """The write of a cycle, which the next cycle sees."""
        if not inputs["row_write"]:
            return
        address, selected = inputs["row_address"], inputs["row_select"]
        self.changes[address] = inputs["row_change"] if selected else 0
        if inputs["row_values"]:
            self.values[address] = inputs["row_value"] if selected else 0


@cocotb.test
async def forward(dut: Any) -> None:
    lane = Lane(engine_parameters())
    parameters = lane.parameters
    bench = Cycles(dut, lane)
    await bench.reset()
    chain = 0
    captured: list[int | None] = []
    weights: list[int] = []
    values: list[int] = []
    for cycle in range(CYCLES):
        inputs = _operands(lane)
        begin = cycle == 0 or random.random() < 0.15
        inputs |= {
            "enable": int(cycle == 0 or random.random() < 0.7),
            "start": int(begin),
            "capture": int(random.random() < 0.2),
            "chain_step": random.getrandbits(1),
            "chain_weight": int(random.random() < 0.2),
            "chain_in": wrap(random.getrandbits(64), parameters.accumulator_bits),
        }
        got = await bench.step(inputs)
        assert got["chain"] == chain, f"cycle {cycle}"
        if inputs["enable"]:
            if begin:
                weights, values = [], []
            weights.append(inputs["weight"])
            values.append(inputs["value"])
        total = wrap(int(lane.model_sum(np.array(weights), np.array(values))), parameters.accumulator_bits)
        captured.append(total if inputs["capture"] else None)
        # What the chain takes at the end of this cycle, it shows in the next.
        since = cycle + 1 - lane.chain_latency
        taken = captured[since] if since >= 0 else None
        if taken is not None:
            chain = taken
        elif inputs["chain_weight"]:
            chain = inputs["weight"]
        elif inputs["chain_step"]:
            chain = inputs["chain_in"]


@cocotb.test
async def transposed(dut: Any) -> None:
    lane = Lane(engine_parameters())
    bench = Cycles(dut, lane)
    await bench.reset()
    bench.held["transposed"] = 1
    await _clear_rows(bench)
    rows = _Rows(lane.parameters.row_depth)
    expected: dict[int, int] = {}
    held = None
    for cycle in range(CYCLES):
        inputs = {**_operands(lane), "kept": random.getrandbits(1)}
        got = await bench.step(inputs)
        if held is not None:
            expected[cycle + lane.product_latency] = int(lane.model_multiplied(np.array(inputs["weight"]))) * held[inputs["kept"]]
        if cycle in expected:
            assert got["product"] == expected[cycle], f"cycle {cycle}"
        held = rows.changes[inputs["row"]], rows.values[inputs["row"]]
        rows.write(inputs)


@cocotb.test
async def update(dut: Any) -> None:
    lane = Lane(engine_parameters())
    bench = Cycles(dut, lane)
    await bench.reset()
    for nearest in (0, 1):
        bench.held |= {"update": 1, "nearest": nearest}
        await _clear_rows(bench)
        rows = _Rows(lane.parameters.row_depth)
        expected: dict[int, tuple[int, int]] = {}
        factors: dict[int, tuple[int, int]] = {}
        seen: defaultdict[int, int] = defaultdict(int)
        deviation = None
        limit = lane.parameters.weight.maximum
        # Clips are rare where the formats are narrow: go on until both ends have been met.
        for cycle in range(30 * CYCLES):
            if cycle >= CYCLES and seen[limit] and seen[-limit]:
                break
            inputs = _operands(lane)
            got = await bench.step(inputs)
            if deviation is not None:
                factors[cycle + lane.update_latency] = deviation, inputs["value"]
            if cycle in factors:
                noise = 1 << (lane.parameters.update_shift - 1) if nearest else inputs["noise"]
                learned, clipped = lane.model_update(*map(np.array, (inputs["weight"], *factors[cycle], noise)))
                expected[cycle + lane.learned_latency - lane.update_latency] = int(learned), int(clipped)
            if cycle in expected:
                assert (got["learned"], got["clipped"]) == expected[cycle], f"cycle {cycle}, nearest {nearest}"
                seen[got["learned"] * got["clipped"]] += 1
            deviation = rows.values[inputs["row"]]
            rows.write(inputs)
        assert seen[limit] and seen[-limit], "no weight was clipped at one of the ends"


def _operands(lane: Lane) -> dict[str, int]:
    parameters = lane.parameters
    value = spread(parameters.vector_bits - 1)
    return {
        "weight": spread(parameters.weight.magnitude_bits),
        "value": spread(parameters.broadcast_bits - 1),
        "row": random.randrange(parameters.row_depth),
        "noise": random.getrandbits(parameters.update_shift),
        "row_write": int(random.random() < 0.4),
        "row_select": int(random.random() < 0.7),
        "row_values": random.getrandbits(1),
        "row_address": random.randrange(parameters.row_depth),
        "row_change": value - spread(parameters.vector_bits - 1),
        "row_value": value,
    }


async def _clear_rows(bench: Cycles) -> None:
    """Set the row memory to zero, and let what is under way leave."""
    for address in range(engine_parameters().row_depth):
        await bench.step({"row_write": 1, "row_values": 1, "row_address": address})
    await bench.wait(Lane.learned_latency)
