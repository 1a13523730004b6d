# SPDX-License-Identifier: Apache-2.0
"""The inputs of samples out of words, against the model."""

import random

import numpy as np
import pytest
from amaranth.sim import Simulator
from frenn.firmware.protocol import Status, pack_inputs, pack_zero_runs
from frenn.rtl_gen.input_reader import InputReader


def sample_words(generator: random.Random, inputs: int, wide: bool, sparse: bool) -> np.ndarray:
    """Words of a good sample, or of one that is cut short, goes on too long, or has any units."""
    density, high = generator.choice((0, 0.1, 0.5, 1)), generator.choice((1, 2, 0xFFFF if wide else 0xFF))
    values = np.array([generator.randint(1, high) if generator.random() < density else 0 for _ in range(inputs)])
    words = pack_zero_runs(values, wide) if sparse else pack_inputs(values, wide)
    kind = generator.randrange(4)
    if kind == 1:
        return words[: generator.randint(1, len(words))]
    if kind == 2:
        return np.concatenate([words, np.array([generator.getrandbits(32)], dtype=np.uint32)])
    if kind == 3:
        mask = generator.choice((0x00FF00FF, 0xFFFFFFFF, 0x00030003, 0xFF00FF00))
        return np.array([generator.getrandbits(32) & mask for _ in range(len(words))], dtype=np.uint32)
    return words


class Bench:
    """A reader that is given one sample after another.

    Attributes
    ----------
    cycles : int
        From a sample's begin to its end.
    """

    def __init__(self, generator: random.Random) -> None:
        self.generator = generator
        self.reader = InputReader(16)
        self.cycles = 0

    async def read(self, ctx, words: np.ndarray, inputs: int, wide: bool, sparse: bool, pause: float) -> tuple[list[int], int, Status]:  # type: ignore[no-untyped-def]
        """What is pushed, the words that are taken, and how it ends."""
        reader = self.reader
        for port, value in ((reader.inputs, inputs), (reader.wide, wide), (reader.sparse, sparse), (reader.begin, 1), (reader.i.valid, 0)):
            ctx.set(port, value)
        await ctx.tick()
        ctx.set(reader.begin, 0)
        values: list[int] = []
        place = 0
        status = None
        self.cycles = 0
        while status is None:
            valid = self.generator.random() >= pause
            # Behind the packet's last word stands another packet.
            ctx.set(reader.i.payload.data, int(words[place]) if place < len(words) else self.generator.getrandbits(32))
            ctx.set(reader.i.payload.last, place == len(words) - 1)
            ctx.set(reader.i.valid, valid)
            ends = {Status.DONE: ctx.get(reader.done), Status.WRONG_LENGTH: ctx.get(reader.short), Status.BAD_RUN: ctx.get(reader.beyond)}
            self.cycles += 1
            if ctx.get(reader.push):
                values.append(ctx.get(reader.value))
            taken = valid and ctx.get(reader.i.ready)
            ended = place == len(words)
            place += taken
            if any(ends.values()):
                assert not taken and ctx.get(reader.ended) == ended
                (status,) = (status for status, end in ends.items() if end)
            await ctx.tick()
        return values, place, status

    def run(self, bench: object) -> None:
        simulator = Simulator(self.reader)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()


def test_equals_the_model(seed: int) -> None:
    generator = random.Random(seed)
    bench = Bench(generator)
    ends = dict.fromkeys((Status.DONE, Status.WRONG_LENGTH, Status.BAD_RUN), 0)

    async def compare(ctx) -> None:  # type: ignore[no-untyped-def]
        for _ in range(300):
            inputs = generator.choice((1, 2, 3, 5, 8, generator.randint(1, 700)))
            wide, sparse = generator.random() < 0.5, generator.random() < 0.7
            words = sample_words(generator, inputs, wide, sparse)
            got = await bench.read(ctx, words, inputs, wide, sparse, generator.choice((0, 0.5)))
            values, *rest = InputReader.model(words, inputs, wide, sparse)
            assert got == (values.tolist(), *rest), (words.tolist(), inputs, wide, sparse)
            ends[got[-1]] += 1
        # Without inputs nothing is good.
        assert await bench.read(ctx, np.zeros(2, dtype=np.uint32), 0, False, False, 0) == ([], 0, Status.WRONG_LENGTH)

    bench.run(compare)
    assert all(ends.values()), ends


@pytest.mark.parametrize("wide", [False, True])
def test_throughput(seed: int, wide: bool) -> None:
    """Two cycles for a unit, one for a zero that is counted or for a count of none, and two to end."""
    bench = Bench(random.Random(seed))
    values = np.array([0, 0, 0, 7, 9, 0, 0, 1, 0, 3, *[0] * 256])

    async def count(ctx) -> None:  # type: ignore[no-untyped-def]
        assert (await bench.read(ctx, pack_inputs(values, wide), len(values), wide, False, 0))[0] == values.tolist()
        assert bench.cycles == 2 * len(values) + 2
        assert (await bench.read(ctx, pack_zero_runs(values, wide), len(values), wide, True, 0))[0] == values.tolist()
        # Runs of 3, 2, 1 and 256 zeros: the first of each is a unit, and a count another one.
        assert bench.cycles == 2 * (4 + 2 * 4) + (2 + 1 + 1 + 255) + 2

    bench.run(count)
