# SPDX-License-Identifier: Apache-2.0
"""Request packets of every kind, right and wrong, and what the protocol says of each."""

from dataclasses import replace
from typing import Final

import numpy as np
from frenn.firmware.arithmetic import IntArray
from frenn.firmware.compiler import Program, compile_network
from frenn.firmware.counters import NAMES
from frenn.firmware.image import Image
from frenn.firmware.isa import INSTRUCTION_WORDS
from frenn.firmware.network import Network
from frenn.firmware.parameters import EngineParameters
from frenn.firmware.protocol import (
    ANSWER,
    HELLO_WORDS,
    LABEL_BITS,
    SPARSE,
    STATUS_SHIFT,
    STEP_BITS,
    WRONG,
    Command,
    Register,
    Space,
    Status,
    pack_inputs,
    pack_zero_runs,
    sample_head,
    unpack_inputs,
    weight_item_words,
)
from frenn.sim.golden import Golden
from hypothesis import strategies as st

NETWORK: Final = Network.chain([13, 9, 6, 3], feedback_exponent=-2, name="little", seed=0x80000001)
LANES: Final = (4, 1)
"""Both kinds of engine: the second has one lane, and is built of other components."""
WRITTEN: Final = (Space.PROGRAM, Space.WEIGHTS, Space.REGISTERS)


def compiled(lanes: int) -> Program:
    """The network for an engine that has a little more memory than it takes."""
    smallest = EngineParameters.for_network(NETWORK, lanes)
    return compile_network(NETWORK, replace(smallest, weight_depth=smallest.weight_depth + 2, program_depth=smallest.program_depth + 2))


class Protocol:
    """What a device that runs a program must answer; golden learns what it is asked to."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.golden = Golden(program.network)
        self.registers = Image.build(program, self.golden.weights()).registers
        parameters = program.parameters
        self.items = {Space.PROGRAM: INSTRUCTION_WORDS, Space.WEIGHTS: weight_item_words(parameters.lanes), Space.REGISTERS: 1}
        self.depths = {
            Space.PROGRAM: parameters.program_depth,
            Space.WEIGHTS: parameters.weight_depth,
            Space.REGISTERS: len(Register),
            Space.STATES: parameters.neuron_depth,
            Space.DEVIATIONS: parameters.neuron_depth,
            Space.COUNTERS: len(NAMES),
        }
        self.used = {Space.PROGRAM: len(program.instructions), Space.WEIGHTS: program.weight_words, Space.REGISTERS: len(Register)}

    def harmless(self, packet: list[int]) -> bool:
        """Whether it leaves what the device runs: program, registers and weights in use. No device is safe from other ones."""
        command, argument = packet[0] & 0xFF, packet[0] >> 16
        return command != Command.WRITE or argument not in WRITTEN or len(packet) < 3 or packet[1] >= self.used[Space(argument)]

    def status(self, packet: list[int]) -> Status:
        """How a request must end."""
        command, argument, body = packet[0] & 0xFF, packet[0] >> 16, packet[1:]
        match command:
            case Command.HELLO:
                return Status.WRONG_LENGTH if body else Status.DONE
            case Command.WRITE:
                return self._write(argument, body)
            case Command.READ:
                if len(body) != 2:
                    return Status.WRONG_LENGTH
                if argument not in set(Space) - {Space.PROGRAM, Space.REGISTERS}:
                    return Status.UNKNOWN_SPACE
                return Status.BAD_ADDRESS if sum(body) > self.depths[Space(argument)] else Status.DONE
            case Command.TRAIN | Command.INFER:
                return self._sample(Command(command), argument, body[1:] if command == Command.TRAIN else body)[0]
        return Status.UNKNOWN_COMMAND

    def answer(self, packet: list[int]) -> tuple[list[int], int]:
        """The first words of the answer, and how many there are."""
        command, argument, body = packet[0] & 0xFF, packet[0] >> 16, packet[1:]
        status = self.status(packet)
        words = [packet[0] & 0xFFFF | ANSWER | status << 16]
        if status != Status.DONE or command == Command.WRITE:
            return words, 1
        if command == Command.HELLO:
            return words, 1 + HELLO_WORDS
        if command == Command.READ:
            return words, 1 + body[1] * {Space.WEIGHTS: self.items[Space.WEIGHTS], Space.COUNTERS: 2}.get(Space(argument), 1)
        rest = body[1:] if command == Command.TRAIN else body
        while rest and status == Status.DONE:
            status, inputs, taken = self._sample(Command(command), argument, rest)
            if status != Status.DONE:
                words.append(status << STATUS_SHIFT | words[0] & 0xFFFF)
            elif command == Command.INFER:
                words.append(int(self.golden.infer(inputs)[0]))
            else:
                label, step = rest[0] % (1 << LABEL_BITS), rest[0] >> LABEL_BITS & (1 << STEP_BITS) - 1
                predictions, wrong = self.golden.train(inputs, np.array([label]), body[0] >> STEP_BITS << STEP_BITS | step, -argument)
                words.append(int(predictions[0]) | WRONG * int(wrong[0]))
            rest = rest[taken:]
        return words, len(words)

    def _sample(self, command: Command, argument: int, words: list[int]) -> tuple[Status, IntArray, int]:
        """How the sample that begins with the first of some words ends, its inputs, (1, inputs), and the words it takes."""
        if not words:
            return Status.WRONG_LENGTH, np.zeros((1, 0), dtype=np.int64), 0
        inputs, taken, status = unpack_inputs(np.array(words[1:], dtype=np.uint32), NETWORK.widths[0], False, bool(words[0] & SPARSE))
        rates = range(self.registers[Register.FASTEST], self.registers[Register.SLOWEST] + 1)
        if words[0] % (1 << LABEL_BITS) >= self.registers[Register.CLASSES]:
            status = Status.BAD_LABEL
        elif command == Command.TRAIN and argument not in rates:
            status = Status.BAD_RATE
        return status, inputs[None], 1 + taken

    def _write(self, argument: int, body: list[int]) -> Status:
        if not body:
            return Status.WRONG_LENGTH
        if argument not in WRITTEN:
            return Status.UNKNOWN_SPACE
        item, depth = self.items[Space(argument)], self.depths[Space(argument)]
        address, data = body[0], len(body) - 1
        if data and address + (data - 1) // item >= depth:
            return Status.BAD_ADDRESS
        return Status.WRONG_LENGTH if data % item else Status.DONE


def samples(seed: int, count: int) -> tuple[IntArray, IntArray]:
    """Inputs and labels."""
    generator = np.random.default_rng(seed)
    inputs = generator.integers(0, 256, (count, NETWORK.widths[0])) * (generator.random((count, NETWORK.widths[0])) < 0.5)
    return inputs, generator.integers(0, NETWORK.widths[-1], count)


@st.composite
def packets(draw: st.DrawFn, protocol: Protocol) -> list[int]:
    """A request that is right, or wrong somewhere, or has nothing to do with the protocol."""
    word = st.one_of(
        st.integers(0, 40), st.integers(0, 0xFFFFFFFF), st.sampled_from([*protocol.depths.values(), 1 << 16, 1 << 31, 0xFFFFFFFF])
    )
    command = draw(st.one_of(st.sampled_from(Command), st.integers(0, 255)))
    fastest, slowest = protocol.registers[Register.FASTEST], protocol.registers[Register.SLOWEST]
    argument = draw(st.one_of(st.sampled_from([*Space, fastest, slowest]), st.integers(0, 0xFFFF)))
    body = draw(st.lists(word, max_size=12))
    if draw(st.booleans()):
        if command in (Command.TRAIN, Command.INFER):
            body = [draw(st.integers(0, 0xFFFFFFFF))] if command == Command.TRAIN else []
            for seed in draw(st.lists(st.integers(0, 9), min_size=1, max_size=3)):
                inputs = samples(seed, 1)[0][0]
                sparse = draw(st.booleans())
                head = sample_head(draw(st.integers(0, 3)), draw(st.integers(0, (1 << STEP_BITS) - 1)), sparse)
                body += [head, *(pack_zero_runs if sparse else pack_inputs)(inputs, False).tolist()]
        elif command == Command.READ:
            body = [draw(st.integers(0, 20)), draw(st.integers(0, 20))]
        elif command == Command.WRITE and argument in WRITTEN:
            space = Space(argument)
            data = st.lists(word, max_size=3 * protocol.items[space] + 1)
            body = [draw(st.integers(protocol.used[space], protocol.depths[space] + 1)), *draw(data)]
    packet = [command | draw(st.integers(0, 255)) << 8 | argument << 16, *body]
    return packet if protocol.harmless(packet) else packet[:1]
