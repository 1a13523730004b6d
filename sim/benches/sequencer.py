# SPDX-License-Identifier: Apache-2.0
"""Bench of `Sequencer`: random programs, executed by units that are busy for random times."""

import random
from typing import Any

import cocotb

from ...firmware.isa import FIELDS, INSTRUCTION_WORDS, Instruction, Op
from ...rtl_gen.interlock import ARRAY_OPS, NEURON_OPS
from ...rtl_gen.sequencer import FETCH, Sequencer
from .cycles import Cycles, engine_parameters

PULSES = ("start_array", "start_neurons", "clear_changed", "event_free_sweep", "event_clamped_sweep")


@cocotb.test
async def equals_model(dut: Any) -> None:
    component = Sequencer(engine_parameters())
    bench = Cycles(dut, component)
    await bench.reset()
    for _ in range(40):
        program, entries = _programs(component.parameters.program_depth)
        await _write(bench, program)
        for entry in random.choices(entries, k=2):
            busy = random.choice((0.0, 0.5))
            skip_rest, skip_right = random.random() < 0.7, random.random() < 0.7
            note = f"entry {entry}, skip_rest {skip_rest}, skip_right {skip_right}, program {', '.join(map(str, program))}"
            await _run(bench, component, program, entry, bool(skip_rest), bool(skip_right), busy, note)


@cocotb.test
async def unknown_operation_ends(dut: Any) -> None:
    component = Sequencer(engine_parameters())
    bench = Cycles(dut, component)
    await bench.reset()
    known = Instruction(op=Op.FORWARD)
    bench.held |= {"idle_array": 1, "idle_neurons": 1}
    for code in sorted(set(range(1 << FIELDS["op"].bits)) - set(Op)):
        await _write(bench, [known, known, known])
        await bench.step({"write_enable": 1, "write_address": 1, "write_data": code})
        await bench.step({"start": 1})
        got = [await bench.step() for _ in range(3 * FETCH)]
        assert [outputs["running"] for outputs in got] == [1] * (2 * FETCH + 1) + [0] * (FETCH - 1)
        assert sum(outputs["start_array"] for outputs in got) == 1


async def _run(
    bench: Cycles,
    component: Sequencer,
    program: list[Instruction],
    entry: int,
    skip_rest: bool,
    skip_right: bool,
    busy: float,
    note: str,
) -> None:
    # What the neuron unit says depends on how many instructions it has been given.
    changed = [random.random() < 0.7 for _ in range(300)]
    wrong = [random.random() < 0.5 for _ in range(300)]
    given = 0
    model = component.model(
        program,
        entry,
        skip_rest=skip_rest,
        skip_right=skip_right,
        changed=lambda: changed[given],
        wrong=lambda: wrong[given],
    )
    executed = 0
    position = entry
    expected = next(model, None)
    # The running cycle in which the next instruction is taken from the memory.
    taken = FETCH
    bench.held |= {"skip_rest": int(skip_rest), "skip_right": int(skip_right)}
    got = await bench.step({"start": 1, "entry": entry})
    assert not got["running"], note
    running = 0
    # Whether both units were idle in the cycle before, and what was decided in it.
    free, due, nothing = False, [0] * len(PULSES), [0] * len(PULSES)
    while True:
        idle = [int(random.random() >= busy) for _ in range(2)]
        inputs = {"idle_array": idle[0], "idle_neurons": idle[1], "changed": int(changed[given]), "wrong": int(wrong[given])}
        got = await bench.step({**inputs, "entry": random.randrange(component.parameters.program_depth)})
        if not got["running"]:
            break
        running += 1
        assert [got[name] for name in PULSES] == due, note
        decides, free, due = free and running > taken, all(idle), nothing
        if not decides:
            continue
        assert expected is not None, f"the program does not end where it should: {note}"
        due = _pulses(expected)
        assert got["instruction"] == _word(expected) & (1 << sum(field.bits for field in FIELDS.values())) - 1, note
        executed += 1
        ended = running
        expected = next(model, None)
        given += any(due)
        jumped = expected is not None and expected is not program[position + 1]
        position = next(place for place, item in enumerate(program) if item is expected) if jumped else position + 1
        taken = running + FETCH if jumped else max(taken + FETCH, running + 2)
    assert expected is None, f"the program ends after {executed} instructions: {note}"
    assert running == ended, note


def _pulses(instruction: Instruction) -> list[int]:
    sweep = instruction.op == Op.SWEEP
    flags = (
        instruction.op in ARRAY_OPS,
        instruction.op in NEURON_OPS,
        sweep,
        sweep and instruction.kind == 0,
        sweep and instruction.kind == 1,
    )
    return [int(flag) for flag in flags]


def _word(instruction: Instruction) -> int:
    return sum(word << (32 * index) for index, word in enumerate(instruction.encode()))


async def _write(bench: Cycles, program: list[Instruction]) -> None:
    for address in random.sample(range(len(program)), len(program)):
        await bench.step({"write_enable": 1, "write_address": address, "write_data": _word(program[address])})
        # Not enabled: nothing may be written.
        await bench.step({"write_address": address, "write_data": random.getrandbits(32 * INSTRUCTION_WORDS)})


def _programs(depth: int) -> tuple[list[Instruction], list[int]]:
    """Programs that fill the memory, and where each begins; every loop is closed and every program ends."""
    program: list[Instruction] = []
    entries = []
    while depth - len(program) >= 4:
        entries.append(len(program))
        room = random.randint(4, depth - len(program))
        program += _body(room - 1)
        program.append(Instruction(op=Op.END))
    program += [Instruction(op=Op.END)] * (depth - len(program))
    return program, entries


def _body(room: int) -> list[Instruction]:
    body: list[Instruction] = []
    while len(body) < room:
        if room - len(body) >= 3 and random.random() < 0.4:
            inside = random.randint(1, min(3, room - len(body) - 2))
            body += [Instruction(op=Op.LOOP, count=random.choice((1, 2, 5))), *_plain(inside), Instruction(op=Op.NEXT)]
        else:
            body += _plain(1)
    return body


def _plain(count: int) -> list[Instruction]:
    ops = (*ARRAY_OPS, *NEURON_OPS, Op.SWEEP, Op.STOP_IF_RIGHT)
    return [_random(random.choice(ops)) for _ in range(count)]


def _random(op: Op) -> Instruction:
    return Instruction(op=op, **{name: random.getrandbits(field.bits) for name, field in FIELDS.items() if name not in ("op", "count")})
