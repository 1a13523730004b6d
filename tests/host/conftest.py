# SPDX-License-Identifier: Apache-2.0
"""A device modelled in Python: golden behind packets, so that the driver is tested without gateware."""

from collections import deque
from collections.abc import Callable

import numpy as np
import pytest
from frenn.firmware.compiler import Program, compile_network
from frenn.firmware.counters import NAMES
from frenn.firmware.errors import LinkError
from frenn.firmware.isa import INSTRUCTION_WORDS, encode_program
from frenn.firmware.network import Network, Relaxation
from frenn.firmware.parameters import MACHINE_VERSION, EngineParameters
from frenn.firmware.protocol import (
    ANSWER,
    LABEL_BITS,
    SPARSE,
    STATUS_SHIFT,
    STEP_BITS,
    WRONG,
    Command,
    Hello,
    Register,
    Skip,
    Space,
    Status,
    pack_weights,
    unpack_inputs,
    unpack_weights,
)
from frenn.host.driver import Driver
from frenn.host.exchange import PACKET_WORDS, SAMPLE_WORDS
from frenn.rtl_gen.identity import gateware_identity
from frenn.sim.golden import Golden


class FakeDevice:
    """A transport to a device that computes with golden.

    It executes a request when it arrives, as long as there is room for answers in flight, and holds the driver to its
    promises: HELLO first, no packet too long, no more requests in flight than the window.
    """

    def __init__(self, program: Program, *, window: int = 8) -> None:
        self.program = program
        self.window = window
        self.parameters = program.parameters
        self.hello = Hello(MACHINE_VERSION, gateware_identity(), self.parameters)
        self.greeted = self.closed = False
        self.answers: deque[np.ndarray] = deque()
        self.most_in_flight = 0
        self.registers: dict[Register, int] = {}
        self.instructions = np.zeros((self.parameters.program_depth, INSTRUCTION_WORDS), dtype=np.uint32)
        self.memory = np.zeros((self.parameters.weight_depth, self.parameters.lanes), dtype=np.int64)
        self.golden = Golden(program.network)
        self.cycles = 0
        self.log: list[tuple[Command, int]] = []
        self.packed: list[bool] = []
        """Whether each sample came sparse."""
        self.tamper: Callable[[np.ndarray], np.ndarray | None] = lambda answer: answer
        """What becomes of an answer on its way: changed, or lost if None."""

    def send(self, packet: np.ndarray) -> None:
        assert not self.closed
        head = int(packet[0])
        samples = head & 0xFF in (Command.TRAIN, Command.INFER)
        assert packet.dtype == np.uint32 and 1 <= len(packet) <= (SAMPLE_WORDS + 2 if samples else PACKET_WORDS)
        status, body = self.execute(Command(head & 0xFF), head >> 16, packet[1:])
        answer = np.array([head & 0xFFFF | ANSWER | status << 16, *body], dtype=np.uint32)
        answer = self.tamper(answer)
        if answer is not None:
            self.answers.append(answer)
        self.most_in_flight = max(self.most_in_flight, len(self.answers))
        assert self.most_in_flight <= self.window

    def receive(self, timeout: float) -> np.ndarray:
        if not self.answers:
            raise LinkError(f"nothing came in {timeout:g} s; check the cable")
        return self.answers.popleft()

    def close(self) -> None:
        self.closed = True

    def execute(self, command: Command, argument: int, body: np.ndarray):
        self.log.append((command, argument))
        self.cycles += 10
        if command is Command.HELLO:
            self.greeted = True
            return Status.DONE, self.hello.encode()
        assert self.greeted, "HELLO comes first"
        if command is Command.WRITE:
            return self.write(Space(argument), int(body[0]), body[1:]), ()
        if command is Command.READ:
            return Status.DONE, self.read(Space(argument), int(body[0]), int(body[1]))
        self.check_loaded()
        step = int(body[0]) if command is Command.TRAIN else 0
        results: list[int] = []
        rest = body[1:] if command is Command.TRAIN else body
        while len(rest):
            status, result, taken = self.sample(command, argument, step, rest)
            if status != Status.DONE:
                return (Status.DONE, [*results, status << STATUS_SHIFT]) if results else (status, ())
            results.append(result)
            rest = rest[taken:]
        return Status.DONE, results

    def sample(self, command: Command, argument: int, step: int, words: np.ndarray) -> tuple[Status, int, int]:
        """How a sample ends that begins with the first of some words, its result, and the words that it takes."""
        span = 1 << STEP_BITS
        label, step = int(words[0]) % (1 << LABEL_BITS), step // span * span + (int(words[0]) >> LABEL_BITS) % span
        wide, sparse = bool(self.registers[Register.WIDE_INPUTS]), bool(words[0] & SPARSE)
        if label >= self.registers[Register.CLASSES]:
            return Status.BAD_LABEL, 0, 0
        if command is Command.TRAIN and not self.registers[Register.FASTEST] <= argument <= self.registers[Register.SLOWEST]:
            return Status.BAD_RATE, 0, 0
        inputs, taken, status = unpack_inputs(words[1:], self.registers[Register.INPUTS], wide, sparse)
        if status != Status.DONE:
            return status, 0, 0
        self.packed.append(sparse)
        if command is Command.INFER:
            return Status.DONE, int(self.golden.infer(inputs[None])[0]), 1 + taken
        predictions, wrong = self.golden.train(inputs[None], np.array([label]), step, -argument)
        return Status.DONE, int(predictions[0]) | WRONG * int(wrong[0]), 1 + taken

    def write(self, space: Space, address: int, data: np.ndarray) -> Status:
        if space is Space.REGISTERS:
            for offset, value in enumerate(data):
                register = Register(address + offset)
                self.registers[register] = int(value)
                if register is Register.CLEAR and value & 1:
                    self.golden.clear_counters()
                    self.cycles = 0
        elif space is Space.PROGRAM:
            self.instructions[address : address + len(data) // INSTRUCTION_WORDS] = data.reshape(-1, INSTRUCTION_WORDS)
        else:
            rows = unpack_weights(data, self.parameters.lanes)
            if address + len(rows) > len(self.memory):
                return Status.BAD_ADDRESS
            self.memory[address : address + len(rows)] = rows
            self.golden.load(self.program.unpack(self.memory))
        return Status.DONE

    def read(self, space: Space, address: int, count: int) -> np.ndarray:
        if space is Space.WEIGHTS:
            return pack_weights(self.program.pack(self.golden.weights())[address : address + count])
        if space is Space.COUNTERS:
            values = {**dict.fromkeys(NAMES, 0), **self.golden.counters(), "cycles": self.cycles + (5 << 32)}
            listed = [values[name] for name in NAMES[address : address + count]]
            return np.array([[value & 0xFFFFFFFF, value >> 32] for value in listed], dtype=np.uint32).reshape(-1)
        golden, layers = self.golden, self.program.layers
        words = np.zeros(sum(layer.width for layer in layers), dtype=np.int64)
        for index, layer in enumerate(layers):
            span = slice(layer.neuron, layer.neuron + layer.width)
            if space is Space.STATES and len(golden.states[index]):
                slopes = golden.slopes[index] if len(golden.slopes[index]) else 0
                words[span] = golden.states[index] & 0x1FFFFFF | slopes << 25
            elif space is Space.DEVIATIONS and len(golden.deviations[index]):
                words[span] = golden.deviations[index] & 0xFFFFFFFF
        return words[address : address + count].astype(np.uint32)

    def check_loaded(self) -> None:
        program = self.program
        encoded = encode_program(program.instructions)
        assert (self.instructions[: len(encoded)] == encoded).all()
        assert self.registers[Register.TRAIN_ENTRY] == 0 and self.registers[Register.INFER_ENTRY] == program.infer_entry
        assert self.registers[Register.SEED] == program.network.seed
        assert self.registers[Register.SKIP] == Skip.SOURCES | Skip.REST | Skip.RIGHT


@pytest.fixture
def network() -> Network:
    return Network.chain([13, 9, 6, 3], name="small", seed=5, relaxation=Relaxation(free_sweeps=3, clamped_sweeps=2))


@pytest.fixture
def program(network: Network) -> Program:
    return compile_network(network, EngineParameters.for_network(network, 8))


@pytest.fixture
def device(program: Program) -> FakeDevice:
    return FakeDevice(program)


@pytest.fixture
def make_device() -> type[FakeDevice]:
    return FakeDevice


@pytest.fixture
def equals_golden() -> Callable[[Driver, Network, int], None]:
    """Random samples learned through a driver: everything that comes back is golden's."""

    def compare(driver: Driver, network: Network, count: int) -> None:
        generator = np.random.default_rng(4)
        inputs, labels = generator.integers(0, 256, (count, network.widths[0])), generator.integers(0, network.widths[-1], count)
        golden = Golden(network)
        for machine in (driver, golden):
            machine.load(network.initial_weights())
        for got, expected in zip(driver.train(inputs, labels, 0, -6), golden.train(inputs, labels, 0, -6), strict=True):
            np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(driver.infer(inputs), golden.infer(inputs))
        for got, expected in zip(driver.weights(), golden.weights(), strict=True):
            np.testing.assert_array_equal(got, expected)

    return compare
