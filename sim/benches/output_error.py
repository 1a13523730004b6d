# SPDX-License-Identifier: Apache-2.0
"""Bench of `OutputError`: random drives, ties, extremes, and the largest layer."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge, with_timeout

from ...rtl_gen.output_error import OutputError
from .streams import start


@dataclass
class Outcome:
    """What one computation put out, and the cycles from start to done."""

    errors: list[int] = field(default_factory=list)
    saturated: list[int] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    logits: int = 0
    prediction: int = -1
    cycles: int = 0


@cocotb.test
async def equals_model(dut: Any) -> None:
    drive_bits, latency = int(os.environ["DRIVE_BITS"]), int(os.environ["READ_LATENCY"])
    await start(dut)
    dut.start.value = 0
    for shift in (0, 1, 8, drive_bits - 17, drive_bits):
        for drives in _cases(drive_bits, shift):
            label, error_bits = random.randrange(len(drives)), random.choice((1, 4, 8, 15))
            note = f"shift {shift}, label {label}, error bits {error_bits}, drives {drives[:40]}"
            error, saturated, logits, prediction = OutputError.model(np.array(drives), label, shift, error_bits)
            got = await _compute(dut, drives, label, shift, error_bits, latency)
            assert got.errors == error.tolist(), note
            assert got.saturated == saturated.astype(int).tolist(), note
            assert got.indices == list(range(len(drives))), note
            assert (got.logits, got.prediction) == (logits, prediction), note
            if random.random() < 0.3:
                got = await _compute(dut, drives, label, shift, error_bits, latency, predict_only=True)
                assert (got.errors, got.logits, got.prediction) == ([], 0, prediction), note
                assert got.cycles == OutputError.latency(len(drives), latency, 0, True)


@cocotb.test
async def takes_documented_cycles(dut: Any) -> None:
    latency = int(os.environ["READ_LATENCY"])
    await start(dut)
    dut.start.value = 0
    for classes, halvings in ((2, 1), (17, 4)):
        got = await _compute(dut, [0] * classes, 0, 0, 8, latency)
        assert got.cycles == OutputError.latency(classes, latency, halvings, False)


def _cases(drive_bits: int, shift: int) -> Iterator[list[int]]:
    low, high = -(1 << (drive_bits - 1)), (1 << (drive_bits - 1)) - 1

    def clip(values: list[int]) -> list[int]:
        return [min(max(value, low), high) for value in values]

    for _ in range(12):
        classes = random.randint(2, 40)
        spread = 1 << random.randint(0, min(14, drive_bits - 2))
        drives = clip([random.randint(-spread, spread) << shift for _ in range(classes)])
        yield drives
        yield clip([value + (3 * spread << shift if place == 1 else 0) for place, value in enumerate(drives)])
        yield [random.choice(drives[:2]) for _ in range(classes)]
    yield [low, high]
    yield [high, low, high, low]
    yield [0] * 33
    yield [low] * 16
    yield [random.randint(low, high) for _ in range(10)]
    if shift == 8:
        yield [0] * 4095
        yield [random.randint(-1000, 1000) for _ in range(4095)]


async def _compute(
    dut: Any, drives: list[int], label: int, shift: int, error_bits: int, latency: int, *, predict_only: bool = False
) -> Outcome:
    for name, value in (("classes", len(drives)), ("label", label), ("shift", shift), ("error_bits", error_bits)):
        getattr(dut, name).value = value
    dut.predict_only.value = int(predict_only)
    dut.start.value = 1
    return await with_timeout(_follow(dut, drives, latency), 200 * len(drives) + 2000, "ns")


async def _follow(dut: Any, drives: list[int], latency: int) -> Outcome:
    got = Outcome()
    asked = [0] * latency
    while True:
        await RisingEdge(dut.clk)
        await ReadOnly()
        got.cycles += 1
        asked.append(int(dut.index.value) if int(dut.index_valid.value) else -1)
        got.logits += int(dut.logit_saturated.value)
        if int(dut.error_valid.value):
            got.errors.append(dut.error.value.to_signed())
            got.saturated.append(int(dut.saturated.value))
            got.indices.append(int(dut.error_index.value))
        done = int(dut.done.value)
        await FallingEdge(dut.clk)
        dut.start.value = 0
        # A drive is there only in its own cycle: at any other time the port holds noise.
        place = asked[len(asked) - 1 - latency]
        dut.drive.value = drives[place] if place >= 0 else random.choice((0, -1, drives[0]))
        if done:
            got.prediction = int(dut.prediction.value)
            return got
