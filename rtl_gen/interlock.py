# SPDX-License-Identifier: Apache-2.0
"""When an instruction may begin while those before it are still under way."""

from dataclasses import dataclass

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..firmware.isa import OUTPUT_OPS, Instruction, Op
from .instruction import INSTRUCTION


@dataclass(frozen=True, kw_only=True)
class Units:
    """What the units say of themselves; see the ports of `Issuer` and `NeuronUnit`."""

    issuing: bool
    latest: int
    complete: tuple[bool, bool]
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
    issuing, latest, complete, learning, array : In
        See `Issuer`; the instruction is its `current`.
    idle, reading, neurons : In
        See `NeuronUnit`.
    array_may : Out
        An instruction of the array may begin: another one is not issuing, at most one has sums under way, no weights are being written
        (except before another update), and the drives it will write are not being read.
    neurons_may : Out
        An instruction of the neuron unit may begin: the unit is idle, of the array's instructions only the latest has sums under way, and
        the list and rows that it will write are not being read. For an output error the latest has no sums under way either, if they are
        of its drives.
    follows : Out
        It reads drives that the latest instruction of the array is summing up.
    all_idle, neurons_idle : Out

    Latency 1 cycle from what the units say of themselves, 2 cycles from the three instructions. Throughput one a cycle.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "instruction": In(INSTRUCTION),
                "issuing": In(1),
                "latest": In(1),
                "complete": In(2),
                "learning": In(1),
                "array": In(INSTRUCTION),
                "idle": In(1),
                "reading": In(1),
                "neurons": In(INSTRUCTION),
                "array_may": Out(1),
                "neurons_may": Out(1),
                "follows": Out(1),
                "all_idle": Out(1),
                "neurons_idle": Out(1),
            }
        )

    @staticmethod
    def model(instruction: Instruction, units: Units) -> dict[str, bool]:
        """Outputs for an instruction."""
        array, neurons = units.array, units.neurons
        earlier, latest = units.complete[1 - units.latest], units.complete[units.latest]
        update = instruction.op == Op.UPDATE
        follows = not latest and array.op != Op.UPDATE and array.target == instruction.target
        taken = units.issuing and (
            (array.op != Op.TRANSPOSED and array.node == instruction.node) or (array.op != Op.FORWARD and array.row == instruction.row)
        )
        overwritten = units.reading and neurons.target == instruction.target
        return {
            "array_may": not units.issuing and earlier and (update or not (units.learning or overwritten)),
            "neurons_may": units.idle and earlier and not taken and not (follows and instruction.op in OUTPUT_OPS),
            "follows": follows,
            "all_idle": not units.issuing and earlier and latest and units.idle,
            "neurons_idle": units.idle,
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        given, array, neurons = self.instruction, self.array, self.neurons
        latest, earlier = (Mux(self.latest ^ other, self.complete[1], self.complete[0]) for other in (0, 1))
        # The instructions stand longer than what the units say, so they are compared first.
        update, of_output, sums, takes, overwrites = (
            Signal(name=name, reset_less=True) for name in ("update", "of_output", "sums", "takes", "overwrites")
        )
        m.d.sync += [
            update.eq(given.op == Op.UPDATE),
            of_output.eq(given.op.matches(*OUTPUT_OPS)),
            sums.eq((array.op != Op.UPDATE) & (array.target == given.target)),
            takes.eq(((array.op != Op.TRANSPOSED) & (array.node == given.node)) | ((array.op != Op.FORWARD) & (array.row == given.row))),
            overwrites.eq(neurons.target == given.target),
        ]
        m.d.sync += [
            self.array_may.eq(~self.issuing & earlier & (update | ~(self.learning | (self.reading & overwrites)))),
            self.neurons_may.eq(self.idle & earlier & ~(self.issuing & takes) & ~(~latest & sums & of_output)),
            self.follows.eq(~latest & sums),
            self.all_idle.eq(~self.issuing & earlier & latest & self.idle),
            self.neurons_idle.eq(self.idle),
        ]
        return m
