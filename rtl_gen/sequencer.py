# SPDX-License-Identifier: Apache-2.0
"""The sequencer: fetches the program and hands each instruction to the unit that executes it."""

from collections.abc import Callable, Iterator, Sequence

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.isa import ARRAY_OPS, NEURON_OPS, Instruction, Op
from ..firmware.parameters import EngineParameters
from .instruction import INSTRUCTION, INSTRUCTION_BITS
from .pipeline import delay, plain_register
from .primitives.block_memory import BlockMemory

FETCH = BlockMemory.latency + 1
"""Cycles from an address until its instruction can be taken."""


class Sequencer(wiring.Component):
    """Program memory, program counter and one loop.

    Parameters
    ----------
    parameters : EngineParameters

    Ports
    -----
    write_enable, write_address, write_data : In
        Write an instruction; only while no program runs.
    start, entry : In
        Run the program that begins at ``entry``; only while not `running`.
    running : Out
    skip_rest, skip_right : In
        A loop ends when nothing changed; the program ends at STOP_IF_RIGHT when the error is zero.
    changed, wrong : In
        From the neuron unit.
    sweep, clear_changed : Out
        Parity of the sweep; it begins.
    instruction : Out
        For the units.
    start_array, start_neurons : Out
        Execute it.
    array_may, neurons_may, all_idle, neurons_idle : In
        See `Interlock`, which looks at `instruction`.
    event_free_sweep, event_clamped_sweep : Out

    An instruction is fetched while the one before waits. It is given to its unit `FETCH` + 4 cycles after the program's start or after
    NEXT's decision to jump, `FETCH` cycles after the one before, and the cycle after the interlock allows it. STOP_IF_RIGHT waits until
    the neuron unit is idle, and so does NEXT where rest would end the loop and no change is known, by what the unit said in the cycle
    before; END waits for both units.
    """

    def __init__(self, parameters: EngineParameters) -> None:
        self.parameters = parameters
        addresses = range(parameters.program_depth)
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(addresses),
                "write_data": In(INSTRUCTION_BITS),
                "start": In(1),
                "entry": In(addresses),
                "running": Out(1),
                "skip_rest": In(1),
                "skip_right": In(1),
                "changed": In(1),
                "wrong": In(1),
                "sweep": Out(1),
                "clear_changed": Out(1),
                "instruction": Out(INSTRUCTION),
                "start_array": Out(1),
                "start_neurons": Out(1),
                "array_may": In(1),
                "neurons_may": In(1),
                "all_idle": In(1),
                "neurons_idle": In(1),
                "event_free_sweep": Out(1),
                "event_clamped_sweep": Out(1),
            }
        )

    @staticmethod
    def model(
        program: Sequence[Instruction],
        entry: int,
        *,
        skip_rest: bool = False,
        skip_right: bool = False,
        changed: Callable[[], bool] = lambda: True,
        wrong: Callable[[], bool] = lambda: True,
    ) -> Iterator[Instruction]:
        """Instructions in the order in which they are executed, each just before it is; the last is the one that ends the program.

        Parameters
        ----------
        program : sequence of Instruction
        entry : int
        skip_rest, skip_right : bool
        changed, wrong : callable
            Asked at NEXT and STOP_IF_RIGHT: what the ports say then.
        """
        here, body, turns = entry, 0, 0
        while True:
            instruction = program[here]
            here += 1
            yield instruction
            match instruction.op:
                case Op.LOOP:
                    body, turns = here, instruction.count
                case Op.NEXT:
                    if turns != 1 and (changed() or not skip_rest):
                        here = body
                    turns -= 1
                case Op.STOP_IF_RIGHT:
                    if skip_right and not wrong():
                        return
                case Op.END:
                    return

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.program = program = BlockMemory(INSTRUCTION_BITS, self.parameters.program_depth)
        waited = Signal(range(FETCH))
        here = Signal(range(self.parameters.program_depth), reset_less=True)
        body = Signal.like(here, reset_less=True)
        turns = Signal(len(self.instruction.count), reset_less=True)
        m.d.comb += [
            program.write_enable.eq(delay(m, self.write_enable, 1, "write_enable")),
            program.write_address.eq(delay(m, self.write_address, 1, "write_address")),
            program.write_data.eq(delay(m, self.write_data, 1, "write_data")),
            program.read_address.eq(here),
        ]
        held = plain_register(m, self.instruction, "held")
        m.d.sync += [
            *(pulse.eq(0) for pulse in (self.start_array, self.start_neurons, self.clear_changed)),
            *(pulse.eq(0) for pulse in (self.event_free_sweep, self.event_clamped_sweep)),
        ]
        with m.If(waited != FETCH - 1):
            m.d.sync += waited.eq(waited + 1)
        # The operation decoded as it leaves the memory.
        op = data.View(INSTRUCTION, program.read_data).op
        ops = {kind: Signal(reset_less=True, name=f"is_{kind.name.lower()}") for kind in (Op.SWEEP, Op.LOOP, Op.NEXT, Op.STOP_IF_RIGHT)}
        for_array, for_neurons, ends = Signal(reset_less=True), Signal(reset_less=True), Signal(reset_less=True)
        # It changes long before it is asked for.
        last_turn = Signal(reset_less=True)
        m.d.sync += last_turn.eq(turns == 1)
        # Whether NEXT may decide, and how, as it stood a cycle ago; who is idle has told all changes.
        decides, again = Signal(reset_less=True), Signal(reset_less=True)
        m.d.sync += [
            decides.eq(last_turn | ~self.skip_rest | self.changed | self.neurons_idle),
            again.eq(~last_turn & (self.changed | ~self.skip_rest)),
        ]
        # The turns are counted a cycle later.
        looped, turned = Signal(), Signal()
        m.d.sync += [looped.eq(0), turned.eq(0)]
        with m.If(looped):
            m.d.sync += turns.eq(self.instruction.count)
        with m.If(turned):
            m.d.sync += turns.eq(turns - 1)
        may = Signal()
        m.d.comb += [
            may.eq(
                ops[Op.SWEEP]
                | ops[Op.LOOP]
                | (for_array & self.array_may)
                | (for_neurons & self.neurons_may)
                | (ops[Op.NEXT] & decides)
                | (ops[Op.STOP_IF_RIGHT] & self.neurons_idle)
                | (ends & self.all_idle)
            ),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += here.eq(self.entry)
                with m.If(self.start):
                    m.d.sync += waited.eq(0)
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += self.running.eq(1)
                with m.If(waited == FETCH - 1):
                    m.d.sync += [
                        held.eq(program.read_data),
                        here.eq(here + 1),
                        waited.eq(0),
                        *(flag.eq(op == kind) for kind, flag in ops.items()),
                        for_array.eq(op.matches(*ARRAY_OPS)),
                        for_neurons.eq(op.matches(*NEURON_OPS)),
                        ends.eq(~op.matches(*ops, *ARRAY_OPS, *NEURON_OPS)),
                    ]
                    m.next = "COMPARE"
            # The interlock looks at it, then at a unit that took the one before.
            with m.State("COMPARE"):
                m.d.comb += self.running.eq(1)
                m.next = "LOOK"
            with m.State("LOOK"):
                m.d.comb += self.running.eq(1)
                m.next = "EXECUTE"
            with m.State("EXECUTE"):
                m.d.comb += self.running.eq(1)
                m.d.sync += [self.start_array.eq(for_array & self.array_may), self.start_neurons.eq(for_neurons & self.neurons_may)]
                with m.If(may):
                    m.next = "FETCH"
                    with m.If(ops[Op.SWEEP]):
                        m.d.sync += [
                            self.sweep.eq(~self.sweep),
                            self.clear_changed.eq(1),
                            self.event_free_sweep.eq(self.instruction.kind == 0),
                            self.event_clamped_sweep.eq(self.instruction.kind == 1),
                        ]
                    with m.If(ops[Op.LOOP]):
                        m.d.sync += [body.eq(here), looped.eq(1)]
                    with m.If(ends | (ops[Op.STOP_IF_RIGHT] & self.skip_right & ~self.wrong)):
                        m.next = "IDLE"
                with m.If(ops[Op.NEXT] & decides):
                    m.d.sync += turned.eq(1)
                    with m.If(again):
                        m.d.sync += [here.eq(body), waited.eq(0)]
        return m
