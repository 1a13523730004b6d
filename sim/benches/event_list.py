# SPDX-License-Identifier: Apache-2.0
"""Bench of `EventList`: walks over layers in random order, while lists and lengths are read."""

import os
import random
from typing import Any

import cocotb

from ...rtl_gen.event_list import INDEX_BITS, EventList
from .cycles import Cycles, spread

WALKS = 60


@cocotb.test
async def equals_model(dut: Any) -> None:
    component = EventList(*(int(os.environ[name]) for name in ("VALUE_BITS", "DEPTH", "NODES")))
    mask = (1 << INDEX_BITS) - 1
    bench = Cycles(dut, component)
    await bench.reset()
    bases = [0, *sorted(random.sample(range(1, component.depth), component.nodes - 1)), component.depth]
    walks: list[tuple[int, int, list[tuple[int, int]]]] = []
    # What comes in the next cycles: pairs and lengths, or None for what is undefined.
    pairs: list[tuple[int, int] | None] = [None] * EventList.latency
    lengths: list[int | None] = [None] * EventList.latency
    dirty = -1

    async def step(inputs: dict[str, int]) -> None:
        """A cycle with a look at a random length and pair; the pair may be any but the one that is written now."""
        nonlocal dirty
        node = random.randrange(component.nodes)
        entries, counts = component.model(walks)
        writing = walks[-1][0] + len(walks[-1][2]) if inputs.get("push") else -1
        address = random.choice([place for place in entries if place != writing] or [component.depth - 1])
        got = await bench.step({**inputs, "read_node": node, "read_address": address})
        assert got["length"] == (len(walks[-1][2]) if walks else 0), f"walk {len(walks)}"
        length, pair = lengths.pop(0), pairs.pop(0)
        assert length in (None, got["count"]), f"walk {len(walks)}"
        if pair is not None:
            index, value = pair
            assert got["entry"] == index | (value & (1 << component.value_bits) - 1) << INDEX_BITS, f"walk {len(walks)}"
        pairs.append(entries.get(address))
        lengths.append(None if node == dirty else counts.get(node, 0))
        dirty = walks[-1][1] if inputs.get("push") else inputs["node"] if inputs.get("begin") else -1

    for _ in range(WALKS):
        node = random.randrange(component.nodes)
        width = bases[node + 1] - bases[node]
        await step({"begin": 1, "base": bases[node], "node": node, "index": random.getrandbits(INDEX_BITS)})
        walks.append((bases[node], node, []))
        density = random.choice((0.0, 0.2, 1.0))
        for index in range(width):
            pair = index * random.randint(1, 3) & mask, spread(component.value_bits - 1)
            if random.random() < density:
                await step({"push": 1, "index": pair[0], "value": pair[1], "base": random.randrange(component.depth)})
                walks[-1][2].append(pair)
            elif random.random() < 0.3:
                await step({"index": pair[0], "value": pair[1], "node": random.randrange(component.nodes)})
        for _ in range(random.randint(0, 3)):
            await step({})
