# SPDX-License-Identifier: Apache-2.0
"""Bench of `Drives`: two streams of sums that often meet, as near to each other as they may come, and reads meanwhile."""

import random
from collections import deque
from typing import Any

import cocotb
import numpy as np

from ...rtl_gen.drives import PASS, STREAMS, SUM_LATENCY, Drives
from ...rtl_gen.instruction import TAGS
from .cycles import Cycles, engine_parameters, spread

CYCLES = 1500


@cocotb.test
async def equals_model(dut: Any) -> None:
    component = Drives(engine_parameters())
    parameters = component.parameters
    bench = Cycles(dut, component)
    await bench.reset()
    depth = parameters.neuron_depth
    drives = np.zeros(depth, dtype=np.int64)
    # Cycles in which a drive's sum came last; those that have been written.
    last = np.full(depth, -PASS)
    known = np.zeros(depth, dtype=bool)
    coming: dict[str, deque[dict[str, int]]] = {stream: deque() for stream in STREAMS}
    place = dict.fromkeys(STREAMS, 0)
    tags = dict.fromkeys(STREAMS, 0)
    # What is in the memory from a cycle on, and what is told before.
    written: dict[int, list[tuple[int, int]]] = {}
    complete: dict[int, int] = {}
    memory = np.zeros(depth, dtype=np.int64)
    asked: deque[tuple[int, int] | None] = deque([None] * Drives.latency)
    met = 0
    while bench.now < CYCLES:
        now = bench.now
        inputs: dict[str, int] = {}
        banks: set[int] = set()
        for stream in STREAMS:
            if not coming[stream]:
                # The tags of two streams differ.
                tags[stream] = random.choice([tag for tag in range(TAGS) if tag not in tags.values()])
                coming[stream] += _instruction(parameters.accumulator_bits, depth, known, tags[stream])
            given = coming[stream][0]
            address = given["target"] if given["restart"] else place[stream] + 1
            comes = now >= last[address] + PASS and address % 2 not in banks and random.random() < 0.9
            if comes:
                coming[stream].popleft()
                banks.add(address % 2)
                place[stream], last[address], known[address] = address, now, True
                drives[address] = component.model(
                    drives[address : address + 1], np.array([given["value"]]), given["shift"], bool(given["overwrite"])
                )[0]
                written.setdefault(now + SUM_LATENCY, []).append((address, int(drives[address])))
                if given["final"]:
                    complete[now + SUM_LATENCY - 1] = complete.get(now + SUM_LATENCY - 1, 0) | 1 << given["tag"]
            inputs |= {f"{stream}_{name}": given[name] for name in ("target", "shift")}
            inputs |= {f"{stream}__{name}": given[name] for name in ("value", "restart", "overwrite", "final", "tag")}
            inputs[f"{stream}__valid"] = int(comes)
        met += len(banks) == 2
        for address, drive in written.pop(now, ()):
            memory[address] = drive
        address = random.randrange(depth)
        readable = known[address] and now >= last[address] + SUM_LATENCY
        asked.append((address, int(memory[address])) if readable else None)
        got = await bench.step({**inputs, "read_address": address})
        assert got["complete"] == complete.pop(now, 0), f"cycle {now}"
        expected = asked.popleft()
        assert expected is None or got["read_data"] == expected[1], f"cycle {now}: drive {expected}"
    assert met > CYCLES // 10


def _instruction(bits: int, depth: int, known: np.ndarray, tag: int) -> list[dict[str, int]]:
    """Sums of an instruction, one after the other; a drive that nothing has been written to is overwritten."""
    target = random.randrange(depth)
    rows = random.randint(1, depth - target)
    passes = random.randint(1, 3)
    shift, overwrite = random.randrange(64), random.getrandbits(1) or not known[target : target + rows].all()
    return [
        {
            "value": spread(bits - 1),
            "restart": int(row == 0),
            "overwrite": int(overwrite and number == 0),
            "final": int(number == passes - 1),
            "tag": tag,
            "target": target,
            "shift": shift,
        }
        for number in range(passes)
        for row in range(rows)
    ]
