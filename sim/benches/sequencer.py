# SPDX-License-Identifier: Apache-2.0
"""Bench of `Sequencer`: random programs, whose instructions the interlock keeps back at random."""

import random
from typing import Any

import cocotb

from ...firmware.isa import ARRAY_OPS, FIELDS, INSTRUCTION_WORDS, NEURON_OPS, Instruction, Op
from ...rtl_gen.sequencer import FETCH, Sequencer
from .cycles import Cycles, engine_parameters

PULSES = ("start_array", "start_neurons", "clear_changed", "event_free_sweep", "event_clamped_sweep")
ALLOWED = ("array_may", "neurons_may", "all_idle", "neurons_idle")


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
    for code in sorted(set(range(1 << FIELDS["op"].bits)) - set(Op)):
        await _write(bench, [known, known, known])
        await bench.step({"write_enable": 1, "write_address": 1, "write_data": code})
        bench.held |= dict.fromkeys(ALLOWED, 1)
        await bench.step({"start": 1})
        got = [await bench.step() for _ in range(3 * FETCH)]
        assert [outputs["running"] for outputs in got] == [1] * (2 * FETCH + 3) + [0] * (FETCH - 3)
        assert sum(outputs["start_array"] for outputs in got) == 1
        # Until both units are idle it does not end.
        bench.held["all_idle"] = 0
        await bench.step({"start": 1})
        assert all([(await bench.step())["running"] for _ in range(4 * FETCH)])
        await bench.step({"all_idle": 1})
        assert not (await bench.step())["running"]


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
    # What the units and the interlock say is drawn anew for every cycle; NEXT goes by what they said in the one before.
    said: dict[str, int] = {}
    before: dict[str, int] = {}
    model = component.model(
        program,
        entry,
        skip_rest=skip_rest,
        skip_right=skip_right,
        changed=lambda: bool(before["changed"]),
        wrong=lambda: bool(said["wrong"]),
    )
    executed = turns = 0
    position = entry
    expected = next(model, None)
    # The running cycle in which the next instruction is taken from the memory.
    taken = FETCH
    bench.held |= {"skip_rest": int(skip_rest), "skip_right": int(skip_right)}
    got = await bench.step({"start": 1, "entry": entry, **dict.fromkeys(ALLOWED, 1)})
    assert not got["running"], note
    sweep, running, ended = got["sweep"], 0, 0
    due = nothing = [0] * len(PULSES)
    while True:
        before = said
        said = {name: int(random.random() >= busy) for name in ALLOWED}
        said |= {"changed": int(random.random() < 0.7), "wrong": int(random.random() < 0.5)}
        got = await bench.step({**said, "entry": random.randrange(component.parameters.program_depth)})
        assert [got[name] for name in PULSES] == due, note
        assert got["sweep"] == sweep, note
        if not got["running"]:
            break
        running += 1
        due = nothing
        if running < taken + 3:
            continue
        assert expected is not None, f"the program does not end where it should: {note}"
        assert got["instruction"] == _word(expected) & (1 << sum(field.bits for field in FIELDS.values())) - 1, note
        if not _may(expected, before if expected.op == Op.NEXT else said, turns, skip_rest):
            continue
        due = _pulses(expected)
        sweep ^= expected.op == Op.SWEEP
        turns = expected.count if expected.op == Op.LOOP else turns - (expected.op == Op.NEXT)
        executed += 1
        ended = running
        expected = next(model, None)
        jumped = expected is not None and expected is not program[position + 1]
        position = next(place for place, item in enumerate(program) if item is expected) if jumped else position + 1
        taken = running + FETCH if jumped else max(taken + FETCH, running + 1)
    assert expected is None, f"the program ends after {executed} instructions: {note}"
    assert running == ended, note


def _may(instruction: Instruction, said: dict[str, int], turns: int, skip_rest: bool) -> bool:
    """Whether an instruction is executed in a cycle; ``turns`` is how often its loop may still run."""
    op = instruction.op
    if op in ARRAY_OPS:
        return bool(said["array_may"])
    if op in NEURON_OPS:
        return bool(said["neurons_may"])
    if op == Op.NEXT:
        return bool(turns == 1 or not skip_rest or said["changed"] or said["neurons_idle"])
    if op == Op.STOP_IF_RIGHT:
        return bool(said["neurons_idle"])
    return op != Op.END or bool(said["all_idle"])


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
