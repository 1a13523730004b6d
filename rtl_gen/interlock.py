# SPDX-License-Identifier: Apache-2.0
"""When an instruction may begin while those before it are still under way."""

from dataclasses import dataclass

from amaranth.hdl import Array, Cat, Module, Mux, Signal, ValueLike
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.isa import OUTPUT_OPS, Instruction, Op
from .instruction import INSTRUCTION, TAGS


@dataclass(frozen=True, kw_only=True)
class Units:
    """What the units say of themselves; see the ports of `Issuer` and `NeuronUnit`."""

    issuing: bool
    latest: int
    complete: tuple[bool, ...]
    summing: tuple[bool, ...]
    targets: tuple[int, ...]
    learning: bool
    array: Instruction
    idle: bool
    reading: bool
    neurons: Instruction


class Interlock(wiring.Component):
    """Compares the next instruction with those that the units execute.

    Two units work at a time, and the array's sums are on their way when its next instruction begins. Whatever one needs of another, or
    would overwrite too early, either keeps it back here, or is waited for piece by piece in the unit: the list and the rows that a
    walk writes (`Issuer`), and the sums that a walk reads (`NeuronUnit`).

    Ports
    -----
    instruction : In
        The next one.
    issuing, latest, complete, summing, targets, learning, array : In
        See `Issuer`; the instruction is its `current`.
    idle, reading, neurons : In
        See `NeuronUnit`.
    array_may : Out
        An instruction of the array may begin: another one is not issuing, a tag is free, no weights are being written (except before
        another update), and the drives it will write are not being read.
    neurons_may : Out
        An instruction of the neuron unit may begin: the unit is idle, and the list and rows that it will write are not being read. For
        an output error no sums for its drives are under way either.
    awaits, follow_tag : Out, TAGS, range(TAGS)
        The instructions of the array that sum up the drives it reads, and the last of them: their sums for a drive come in the order
        of the instructions.
    all_idle, neurons_idle : Out

    Latency 1 cycle from what the units say of themselves, 2 cycles from the instructions and their targets. Throughput one a cycle.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "instruction": In(INSTRUCTION),
                "issuing": In(1),
                "latest": In(range(TAGS)),
                "complete": In(TAGS),
                "summing": In(TAGS),
                "targets": In(data.ArrayLayout(INSTRUCTION["target"].shape, TAGS)),
                "learning": In(1),
                "array": In(INSTRUCTION),
                "idle": In(1),
                "reading": In(1),
                "neurons": In(INSTRUCTION),
                "array_may": Out(1),
                "neurons_may": Out(1),
                "awaits": Out(TAGS),
                "follow_tag": Out(range(TAGS)),
                "all_idle": Out(1),
                "neurons_idle": Out(1),
            }
        )

    @staticmethod
    def model(instruction: Instruction, units: Units) -> dict[str, int]:
        """Outputs for an instruction."""
        array, neurons = units.array, units.neurons
        free = units.complete[(units.latest + 1) % TAGS]
        update = instruction.op == Op.UPDATE
        awaits = [summing and target == instruction.target for summing, target in zip(units.summing, units.targets, strict=True)]
        order = [(units.latest - age) % TAGS for age in range(TAGS)]
        taken = units.issuing and (
            (array.op != Op.TRANSPOSED and array.node == instruction.node) or (array.op != Op.FORWARD and array.row == instruction.row)
        )
        overwritten = units.reading and neurons.target == instruction.target
        return {
            "array_may": not units.issuing and free and (update or not (units.learning or overwritten)),
            "neurons_may": units.idle and not taken and not (any(awaits) and instruction.op in OUTPUT_OPS),
            "awaits": sum(1 << tag for tag in range(TAGS) if awaits[tag]),
            "follow_tag": next((tag for tag in order if awaits[tag]), order[-1]),
            "all_idle": not units.issuing and all(units.complete) and units.idle,
            "neurons_idle": units.idle,
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        given, array, neurons = self.instruction, self.array, self.neurons
        order = [[(latest - age) % TAGS for latest in range(TAGS)] for age in range(TAGS)]
        free = Array(self.complete[tag] for tag in order[-1])[self.latest]
        # The instructions stand longer than what the units say, so they are compared first.
        update, of_output, takes_list, takes_rows, overwrites = (
            Signal(name=name, reset_less=True) for name in ("update", "of_output", "takes_list", "takes_rows", "overwrites")
        )
        same_target = Signal(TAGS, reset_less=True)
        m.d.sync += [
            update.eq(given.op == Op.UPDATE),
            of_output.eq(given.op.matches(*OUTPUT_OPS)),
            takes_list.eq((array.op != Op.TRANSPOSED) & (array.node == given.node)),
            takes_rows.eq((array.op != Op.FORWARD) & (array.row == given.row)),
            overwrites.eq(neurons.target == given.target),
            same_target.eq(Cat(self.targets[tag] == given.target for tag in range(TAGS))),
        ]
        awaits = self.summing & same_target
        # The last instruction of those that are awaited, by the tag of the last one of all.
        follow: ValueLike = Array(order[-1])[self.latest]
        for tags in order[-2::-1]:
            follow = Mux(Array(awaits[tag] for tag in tags)[self.latest], Array(tags)[self.latest], follow)
        m.d.sync += [
            self.array_may.eq(~self.issuing & free & (update | ~(self.learning | (self.reading & overwrites)))),
            self.neurons_may.eq(self.idle & ~(self.issuing & (takes_list | takes_rows)) & ~(awaits.any() & of_output)),
            self.awaits.eq(awaits),
            self.follow_tag.eq(follow),
            self.all_idle.eq(~self.issuing & self.complete.all() & self.idle),
            self.neurons_idle.eq(self.idle),
        ]
        return m
