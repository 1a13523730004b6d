# SPDX-License-Identifier: Apache-2.0
"""The drives of all neurons: the array's sums are added where they stand, and a walk reads them."""

from typing import Final

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..firmware.arithmetic import IntArray
from ..firmware.parameters import EngineParameters
from .instruction import TAGS
from .lane_array import sum_signature
from .pipeline import delay, plain_register
from .primitives.block_memory import BlockMemory
from .primitives.gated_adder import GatedAdder

SUM_LATENCY: Final = 3 + BlockMemory.latency
"""Cycles from a sum to its drive in the memory."""

PASS: Final = SUM_LATENCY - 1
"""Least cycles from one sum for a drive to the next, so that it is written before it is read again."""

STREAMS: Final = ("forward", "transposed")
"""Where sums come from: down the chain of the lanes, or through the adder tree across them."""


class Drives(wiring.Component):
    """Adds sums of two streams at a time to the drives, which stand in two banks: of even and of odd addresses.

    Parameters
    ----------
    parameters : EngineParameters

    Ports
    -----
    forward, transposed : In
        Streams of sums, see `lane_array.sum_signature`. A sum is for the drive after that of the sum before in its stream, or
        (restart) for that of the target's first neuron; it stands in the memory `SUM_LATENCY` cycles later. The next for the same
        drive, of either stream, comes at the earliest `PASS` cycles later. Two sums in one cycle are for different banks.
    forward_target, forward_shift, transposed_target, transposed_shift : In
        Of the instruction whose sum comes: address of the first drive, and bits by which its sums are shifted left.
    complete : Out, TAGS
        By tag: a sum that was final is written; it can be read from the next cycle on.
    read_address, read_data : In, Out
        A drive, `latency` cycles later.

    Throughput one sum of each stream and one read a cycle.
    """

    latency: Final = BlockMemory.latency + 1

    def __init__(self, parameters: EngineParameters) -> None:
        self.parameters = parameters
        neurons = range(parameters.neuron_depth)
        super().__init__(
            {
                **{name: In(sum_signature(parameters)) for name in STREAMS},
                **{f"{name}_target": In(neurons) for name in STREAMS},
                **{f"{name}_shift": In(6) for name in STREAMS},
                "complete": Out(TAGS),
                "read_address": In(neurons),
                "read_data": Out(signed(parameters.drive_bits)),
            }
        )

    def model(self, drives: IntArray, sums: IntArray, shift: int, overwrite: bool) -> IntArray:
        """Drives (rows,) int64 after a sum for each; they wrap at ``drive_bits``, which a compiled network never needs."""
        unused = 64 - self.parameters.drive_bits
        total = (0 if overwrite else drives) + (sums << np.int64(shift))
        return np.asarray(total << np.int64(unused) >> np.int64(unused))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parameters = self.parameters
        bits, depth = signed(parameters.drive_bits), -(-parameters.neuron_depth // 2)

        # Each stream: shift, and count the address on.
        address: dict[str, Signal] = {}
        fine: dict[str, Signal] = {}
        overwrite: dict[str, Value] = {}
        of_bank: dict[str, list[Value]] = {}
        final: list[Value] = []
        read = 1 + BlockMemory.latency
        for name in STREAMS:
            sums = getattr(self, name)
            sum_, shift = Signal.like(sums.value, name=f"{name}_sum", reset_less=True), Signal(6, name=f"{name}_shifted", reset_less=True)
            coarse = Signal(bits, name=f"{name}_coarse", reset_less=True)
            fine[name] = Signal(bits, name=f"{name}_fine", reset_less=True)
            address[name] = Signal(range(parameters.neuron_depth), name=f"{name}_address", reset_less=True)
            begin, odd = getattr(self, f"{name}_target"), Signal(name=f"{name}_odd")
            m.d.sync += [
                sum_.eq(sums.value),
                shift.eq(getattr(self, f"{name}_shift")),
                coarse.eq((sum_ << Cat(Const(0, 3), shift[3:]))[: parameters.drive_bits].as_signed()),
                fine[name].eq((coarse << delay(m, shift[:3], 1, f"{name}_finely"))[: parameters.drive_bits].as_signed()),
            ]
            with m.If(sums.valid):
                m.d.sync += address[name].eq(Mux(sums.restart, begin, address[name] + 1))
            m.d.comb += odd.eq(Mux(sums.restart, begin[0], ~address[name][0]))
            # Which bank it is for is known when its address is, so that the choice before the memories is a single one.
            of_bank[name] = [delay(m, sums.valid & (odd == bank), 1, f"{name}_of_{bank}", replica=True) for bank in range(2)]
            overwrite[name] = delay(m, sums.overwrite, 1, f"{name}_overwrite")
            final.append(delay(m, Cat(sums.valid & sums.final & (sums.tag == tag) for tag in range(TAGS)), 1 + read, f"{name}_final"))
        m.d.comb += self.complete.eq(final[0] | final[1])

        # Each bank: read, add and write back.
        walked = []
        forward, transposed = STREAMS
        for bank in range(2):
            # The same twice: one for the sums, one for the walk.
            m.submodules[f"drives_{bank}"] = drives = BlockMemory(bits, depth)
            m.submodules[f"walked_drives_{bank}"] = walked_drives = BlockMemory(bits, depth)
            crosses = of_bank[transposed][bank]
            here = Signal(range(depth), name=f"address_{bank}")
            shifted, added = Signal(bits, name=f"shifted_{bank}", reset_less=True), Signal(bits, name=f"added_{bank}", reset_less=True)
            late = delay(m, crosses, read - 2, f"crosses_{bank}", replica=True)
            replaced = delay(m, Mux(crosses, overwrite[transposed], overwrite[forward]), read - 1, f"overwrite_{bank}")
            m.d.comb += [
                here.eq(Mux(crosses, address[transposed][1:], address[forward][1:])),
                drives.read_address.eq(here),
                walked_drives.read_address.eq(self.read_address[1:]),
            ]
            m.submodules[f"sum_{bank}"] = sum_ = GatedAdder(parameters.drive_bits)
            m.d.comb += [sum_.value.eq(drives.read_data), sum_.addend.eq(shifted), sum_.omit.eq(replaced)]
            m.d.sync += [
                shifted.eq(Mux(late, *(delay(m, fine[name], read - 4, f"{name}_{bank}") for name in (transposed, forward)))),
                added.eq(sum_.total),
            ]
            for memory in (drives, walked_drives):
                m.d.comb += [
                    memory.write_enable.eq(delay(m, crosses | of_bank[forward][bank], read, f"writing_{bank}")),
                    memory.write_address.eq(delay(m, here, read, f"written_{bank}")),
                    memory.write_data.eq(added),
                ]
            walked.append(walked_drives.read_data)
        odd = delay(m, self.read_address[0], BlockMemory.latency, "odd", replica=True)
        m.d.sync += plain_register(m, self.read_data, "read_register").eq(Mux(odd, walked[1], walked[0]))
        return m
