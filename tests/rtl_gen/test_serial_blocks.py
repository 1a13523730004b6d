# SPDX-License-Identifier: Apache-2.0
"""Blocks of the engine of one lane against their models."""

import random

import numpy as np
from amaranth.hdl import Fragment
from amaranth.sim import Simulator
from frenn.firmware.counters import NAMES
from frenn.rtl_gen.primitives.technology import Technology
from frenn.rtl_gen.serial_counters import LIMBS, STEP_BITS, SerialCounters
from frenn.rtl_gen.serial_random import SerialRandom


def simulate(component: SerialCounters | SerialRandom, bench: object) -> None:
    simulator = Simulator(Fragment.get(component, Technology.SIMULATION))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_counters(seed: int) -> None:
    generator = random.Random(seed)
    counters = SerialCounters()

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        async def read(name: str) -> int:
            while ctx.get(counters.busy):
                await ctx.tick()
            ctx.set(counters.hold, 1)
            total = 0
            for limb in range(LIMBS):
                ctx.set(counters.address, 4 * NAMES.index(name) + limb)
                await ctx.tick()
                total += ctx.get(counters.word) << 16 * limb
            ctx.set(counters.hold, 0)
            return total

        for _ in range(2):
            ctx.set(counters.clear, 1)
            await ctx.tick()
            ctx.set(counters.clear, 0)
            steps = []
            errors = 0
            for _ in range(200):
                index = NAMES.index(generator.choice(("trained", "changed_states", "saturated_weight")))
                amount = generator.choice((1, generator.getrandbits(STEP_BITS), (1 << STEP_BITS) - 1))
                steps.append((index, amount))
                ctx.set(counters.step.valid, 1)
                ctx.set(counters.step.index, index)
                ctx.set(counters.step.amount, amount)
                if len(steps) % 20 == 7:
                    ctx.set(counters.overrun, 1)
                    errors += 1
                while not ctx.get(counters.step.ready):
                    await ctx.tick()
                    ctx.set(counters.overrun, 0)
                await ctx.tick()
                ctx.set(counters.overrun, 0)
                ctx.set(counters.step.valid, 0)
                for _ in range(generator.choice((0, 0, 3, 9))):
                    await ctx.tick()
            for _ in range(20):
                await ctx.tick()
            for index, total in enumerate(SerialCounters.model([*steps, *[(NAMES.index("overruns"), 1)] * errors])):
                if NAMES[index] not in ("cycles", "run_cycles"):
                    assert await read(NAMES[index]) == total, NAMES[index]

            async def flush() -> None:
                ctx.set(counters.flush, 1)
                await ctx.tick()
                ctx.set(counters.flush, 0)

            # Two flushes are as far apart as what is counted between them, even where the counters flush by themselves.
            await flush()
            cycles, ran = await read("cycles"), await read("run_cycles")
            ctx.set(counters.running, 1)
            await flush()
            for _ in range(length := generator.choice((100, 40_000))):
                await ctx.tick()
            await flush()
            assert await read("run_cycles") - ran > length
            ctx.set(counters.running, 0)
            await flush()
            assert await read("cycles") - cycles > length
            assert (await read("cycles")) - cycles < length + 400

    simulate(counters, bench)


def test_random_words(seed: int) -> None:
    generator = random.Random(seed)
    component = SerialRandom()

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        for _ in range(20):
            seeds = [generator.getrandbits(bits) for bits in (32, 32, 20)]
            for port, value in zip((component.seed, component.step, component.column), seeds, strict=True):
                ctx.set(port, value)
            ctx.set(component.start, 1)
            await ctx.tick()
            ctx.set(component.start, 0)
            for _ in range(SerialRandom.latency):
                assert not ctx.get(component.ready)
                await ctx.tick()
            for row in range(9):
                assert ctx.get(component.ready)
                assert ctx.get(component.word) == SerialRandom.model(*seeds[:2], np.array(seeds[2]), 5 * row % 32)
                ctx.set(component.turn, 1)
                await ctx.tick()
                ctx.set(component.turn, 0)

    simulate(component, bench)
