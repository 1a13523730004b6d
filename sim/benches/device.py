# SPDX-License-Identifier: Apache-2.0
"""Bench of `Device` at its packet streams: a network is loaded, trained and read back, and every wrong request is refused."""

import os
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import cocotb
import numpy as np
from cocotb.triggers import with_timeout

from ...firmware.arithmetic import IntArray
from ...firmware.compiler import compile_network
from ...firmware.counters import GOLDEN, NAMES
from ...firmware.formats import Format
from ...firmware.image import Image
from ...firmware.isa import INSTRUCTION_WORDS
from ...firmware.network import Formats, Learning, Network, Relaxation
from ...firmware.parameters import MACHINE_VERSION, EngineParameters
from ...firmware.protocol import (
    ANSWER,
    STATUS_SHIFT,
    STEP_BITS,
    WRONG,
    Command,
    Hello,
    Register,
    Space,
    Status,
    Words,
    pack_inputs,
    pack_zero_runs,
    request,
    sample_head,
    unpack_states,
    unpack_weights,
    weight_item_words,
)
from ...rtl_gen.identity import gateware_identity
from ..golden import EVERYTHING, Golden
from .instructions import with_noise
from .streams import StreamSink, StreamSource, start

LAST: Final = 1 << 32
PACKET_NS: Final = 2_000_000
"""Patience for one answer; a sample of this bench's network takes a hundredth of it."""


def example(lanes: int, wide: bool) -> tuple[Network, EngineParameters]:
    """The network and the engine of this bench.

    Parameters
    ----------
    lanes : int
    wide : bool
        Whether inputs have more than 8 bits, so that they are packed two to a word.
    """
    formats = Formats(input=Format(False, 0, 12 if wide else 8))
    learning = Learning(rate_exponent=-3, halve_every=1, epochs=4)
    relaxation = Relaxation("jacobi" if wide else "sequential", free_sweeps=4, clamped_sweeps=3)
    network = Network.chain([13, 9, 6, 3], feedback_exponent=-2, formats=formats, relaxation=relaxation, learning=learning, seed=0x80000001)
    smallest = EngineParameters.for_network(network, lanes)
    # Some addresses must be left that the network does not use.
    return network, replace(smallest, weight_depth=smallest.weight_depth + 2, program_depth=smallest.program_depth + 2)


@dataclass
class Answer:
    """An answer packet taken apart."""

    command: int
    tag: int
    status: int
    body: list[int]

    @classmethod
    def parse(cls, words: list[int]) -> "Answer":
        return cls(words[0] & 0xFF, words[0] >> 8 & 0xFF, words[0] >> 16, words[1:])


@dataclass
class Ask:
    """A request, and the status with which the device must answer it."""

    command: int
    argument: int
    body: list[int]
    status: Status

    def __str__(self) -> str:
        return f"command {self.command}, argument {self.argument}, body {[hex(word) for word in self.body]}"


class Requests(Protocol):
    """Where requests go: a `StreamSource`, or what is like it."""

    def send(self, items: Iterable[int]) -> None:
        """Queue words, the last of each packet marked with `LAST`."""


class PacketQueue:
    """Requests that wait as packets.

    Attributes
    ----------
    packets : list of (words,) uint32
        Those that are complete.
    """

    def __init__(self) -> None:
        self.packets: list[Words] = []
        self._words: list[int] = []

    def send(self, items: Iterable[int]) -> None:
        """See `Requests`."""
        for item in items:
            self._words.append(item & ~LAST)
            if item & LAST:
                self.packets.append(np.array(self._words, dtype=np.uint32))
                self._words = []


class Answers(Protocol):
    """Where answers come from: a `StreamSink`, or what is like it."""

    async def receive(self, count: int) -> list[int]:
        """The next words, the last of each packet marked with `LAST`."""


class Host:
    """A host, and golden beside the device: of the bench's own network unless another one is given, with its engine."""

    def __init__(self, requests: Requests, answers: Answers, other: tuple[Network, EngineParameters] | None = None) -> None:
        self.network, self.parameters = other or example(int(os.environ["LANES"]), os.environ["WIDE"] == "1")
        if other is None:
            self.network = replace(self.network, seed=random.getrandbits(32))
        compiled = compile_network(self.network, self.parameters)
        self.program = replace(compiled, instructions=tuple(map(with_noise, compiled.instructions)))
        self.golden = Golden(self.network)
        self.image = Image.build(self.program, self.golden.weights())
        self.requests = requests
        self.answers = answers
        # Soon the upper bits of the step, which a request has once, change.
        self.trained = random.choice((1, 2, random.randrange(3, 1 << (32 - STEP_BITS)))) * (1 << STEP_BITS) - random.choice((3, 6))

    async def exchange(self, asks: Sequence[Ask]) -> list[list[int]]:
        """Send all requests at once; the words after word 0 of each answer, whose head must be right."""
        tags = [random.getrandbits(8) for _ in asks]
        for ask, tag in zip(asks, tags, strict=True):
            # Commands that do not exist are no members of `Command`, but are built alike.
            packet = request(ask.command, ask.argument, ask.body, tag).tolist()  # type: ignore[arg-type]
            self.requests.send([*packet[:-1], packet[-1] | LAST])
        bodies = []
        for ask, tag in zip(asks, tags, strict=True):
            answer = Answer.parse(await with_timeout(self._packet(), PACKET_NS, "ns"))
            expected = (ask.command & 0xFF | ANSWER, tag, ask.status)
            assert (answer.command, answer.tag, answer.status) == expected, f"{ask}: {answer}, {expected} expected"
            assert answer.status == Status.DONE or not answer.body, f"{ask}: {answer}"
            bodies.append(answer.body)
        return bodies

    async def _packet(self) -> list[int]:
        words: list[int] = []
        while True:
            (item,) = await self.answers.receive(1)
            words.append(item & ~LAST)
            if item & LAST:
                return words

    async def load(self) -> None:
        """Load the image in packets of random sizes."""
        writes = self.image.writes(random.randint(weight_item_words(self.parameters.lanes), 100))
        await self.exchange([Ask(Command.WRITE, space, [address, *data.tolist()], Status.DONE) for space, address, data in writes])
        await self.exchange([Ask(Command.WRITE, Space.REGISTERS, [Register.CLEAR, 1], Status.DONE)])

    async def train(self, count: int, refused: tuple[Sequence[int], Status] | None = None) -> None:
        """Train random samples, all requests in flight at once, and compare what was answered.

        Parameters
        ----------
        count : int
        refused : (words, Status), optional
            What follows the last sample in its request, and what is answered to it.
        """
        inputs, labels, rate = self.samples(count)
        predictions, wrong = self.golden.train(inputs, labels, self.trained, rate)
        results = predictions | wrong * np.int64(WRONG)
        asks, expected = self._grouped(Command.TRAIN, -rate, inputs, labels, results)
        if refused is not None:
            asks[-1].body += refused[0]
            expected[-1].append(refused[1] << STATUS_SHIFT)
        self.trained += count
        got = await self.exchange(asks)
        if refused is not None:
            # Below its status stands what an answer begins with.
            got[-1][-1] &= ~0xFFFF
        assert got == expected

    async def infer(self, count: int) -> None:
        """Predict random samples and compare."""
        inputs, labels, _ = self.samples(count)
        asks, expected = self._grouped(Command.INFER, 0, inputs, labels, self.golden.infer(inputs))
        assert await self.exchange(asks) == expected

    def _grouped(
        self, command: Command, argument: int, inputs: IntArray, labels: IntArray, results: IntArray
    ) -> tuple[list[Ask], list[list[int]]]:
        """Requests of one to three samples, and the results with which each must be answered."""
        asks: list[Ask] = []
        expected = []
        start = 0
        while start < len(inputs):
            step = self.trained + start
            span = 1 << STEP_BITS
            end = min(start + random.randint(1, 3), start + span - step % span, len(inputs))
            body = [step] if command is Command.TRAIN else []
            body += [word for index in range(start, end) for word in self.sample(inputs, labels, index, sparse=random.random() < 0.5)]
            asks.append(Ask(command, argument, body, Status.DONE))
            expected.append(results[start:end].tolist())
            start = end
        return asks, expected

    def samples(self, count: int) -> tuple[IntArray, IntArray, int]:
        """Random inputs, dense to empty, labels, and a rate."""
        shape = (count, self.network.widths[0])
        generator = np.random.default_rng(random.getrandbits(32))
        inputs = generator.integers(0, self.network.formats.input.maximum + 1, shape)
        inputs *= generator.random(shape) < generator.choice([0, 0.2, 1], (count, 1))
        labels = generator.integers(0, self.network.widths[-1], count)
        return inputs, labels, self.network.learning.rate_at(int(generator.integers(self.network.learning.epochs)))

    def sample(self, inputs: IntArray, labels: IntArray, index: int, *, sparse: bool) -> list[int]:
        """Words of a sample."""
        pack = pack_zero_runs if sparse else pack_inputs
        head = sample_head(int(labels[index]), self.trained + index, sparse)
        return [head, *pack(inputs[index], self.network.formats.input.width > 8).tolist()]

    async def read(self, space: Space, address: int, count: int) -> np.ndarray:
        (words,) = await self.exchange([Ask(Command.READ, space, [address, count], Status.DONE)])
        return np.array(words, dtype=np.uint32)

    async def compare(self) -> None:
        """Require that weights, states, slopes, deviations and counters are those of golden."""
        lanes, golden = self.parameters.lanes, self.golden
        weights = self.program.unpack(unpack_weights(await self.read(Space.WEIGHTS, 0, self.program.weight_words), lanes))
        for got, expected in zip(weights, golden.weights(), strict=True):
            np.testing.assert_array_equal(got, expected)
        for layer, place in enumerate(self.program.layers):
            if layer in golden.hidden:
                states, slopes = unpack_states(await self.read(Space.STATES, place.neuron, place.width))
                np.testing.assert_array_equal(states, golden.states[layer])
                np.testing.assert_array_equal(slopes, golden.slopes[layer])
            if layer > 0:
                deviations = (await self.read(Space.DEVIATIONS, place.neuron, place.width)).view(np.int32)
                np.testing.assert_array_equal(deviations, golden.deviations[layer])
        counters = (await self.read(Space.COUNTERS, 0, len(NAMES))).reshape(-1, 2).astype(np.int64) @ [1, 1 << 32]
        assert dict(zip(GOLDEN, counters.tolist(), strict=False)) == golden.counters()


async def _open(dut: Any) -> Host:
    """A host behind streams that stall often, seldom or never."""
    await start(dut)
    pauses = random.choice([0.0, 0.1, 0.6]), random.choice([0.0, 0.1, 0.6])
    dut._log.info(f"pauses {pauses}")
    return Host(
        StreamSource(dut, "request", random.Random(random.getrandbits(32)), pauses[0]),
        StreamSink(dut, "answer", random.Random(random.getrandbits(32)), pauses[1]),
    )


@cocotb.test
async def greets(dut: Any) -> None:
    host = await _open(dut)
    (words,) = await host.exchange([Ask(Command.HELLO, 0, [], Status.DONE)])
    hello = Hello.decode(np.array(words, dtype=np.uint32))
    assert hello == Hello(MACHINE_VERSION, gateware_identity(), host.parameters)


@cocotb.test
async def refuses_samples_before_it_is_loaded(dut: Any) -> None:
    host = await _open(dut)
    inputs = [0] * random.randint(1, 4)
    await host.exchange([Ask(Command.TRAIN, 3, [0, 0, *inputs], Status.BAD_LABEL), Ask(Command.INFER, 0, [0, *inputs], Status.BAD_LABEL)])
    # Classes are known, but no inputs.
    await host.exchange([Ask(Command.WRITE, Space.REGISTERS, [Register.CLASSES, 1, 0, 7, 0, 0, 31], Status.DONE)])
    await host.exchange(
        [Ask(Command.TRAIN, 3, [0, 0, *inputs], Status.WRONG_LENGTH), Ask(Command.INFER, 0, [0, *inputs], Status.WRONG_LENGTH)]
    )
    await host.load()
    await host.train(2)
    await host.compare()


@cocotb.test
async def a_load_leaves_nothing_of_registers_before(dut: Any) -> None:
    host = await _open(dut)
    for _ in range(4):
        values = [random.getrandbits(32) for _ in Register]
        await host.exchange([Ask(Command.WRITE, Space.REGISTERS, [0, *values], Status.DONE)])
    await host.exchange([Ask(Command.WRITE, Space.REGISTERS, [Register.SKIP, EVERYTHING], Status.DONE)])
    await host.load()
    await host.train(2)
    await host.compare()


@cocotb.test
async def trains_like_golden(dut: Any) -> None:
    host = await _open(dut)
    await host.load()
    for _ in range(3):
        await host.train(random.randint(1, 4))
        await host.compare()
        await host.infer(random.randint(1, 3))
        await host.compare()
    # Loading again starts over: nothing of the past is left.
    host.golden = Golden(host.network)
    await host.load()
    await host.train(4)
    await host.compare()


@cocotb.test
async def refuses_wrong_requests(dut: Any) -> None:
    host = await _open(dut)
    await host.load()
    await host.train(2)
    for _ in range(2):
        wrong = list(_wrong(host))
        random.shuffle(wrong)
        await host.exchange(wrong)
        await host.compare()
        await host.train(2)
        await host.infer(1)
        await host.compare()


@cocotb.test
async def refuses_each_wrong_request_and_goes_on(dut: Any) -> None:
    host = await _open(dut)
    await host.load()
    samples = [ask for ask in _wrong(host) if ask.command in (Command.TRAIN, Command.INFER)]
    for ask in random.sample(samples, 12):
        await host.exchange([ask])
        await host.train(1)
    await host.compare()


@cocotb.test
async def refuses_a_later_sample_and_has_learned_those_before(dut: Any) -> None:
    host = await _open(dut)
    await host.load()
    wrong = list(_wrong_words(host))
    for words, status in random.sample(wrong, 15):
        await host.train(random.randint(1, 4), (words, status))
    await host.compare()


def _wrong(host: Host) -> Iterator[Ask]:
    """Every kind of request that is wrong, at every place where it can be, and those that are empty but legal."""
    for command in (0, max(Command) + 1, 0x7F, 0xFF, *(ANSWER | command for command in Command)):
        for length in range(4):
            yield Ask(command, random.getrandbits(16), [random.getrandbits(32) for _ in range(length)], Status.UNKNOWN_COMMAND)
    for length in (1, 2, 5):
        yield Ask(Command.HELLO, 0, [0] * length, Status.WRONG_LENGTH)
    yield from _wrong_writes(host)
    yield from _wrong_reads(host)
    yield from _wrong_samples(host)


def _wrong_writes(host: Host) -> Iterator[Ask]:
    parameters, image = host.parameters, host.image
    for argument in (Space.STATES, Space.DEVIATIONS, Space.COUNTERS, max(Space) + 1, 0x100, 0xFFFF):
        for length in range(4):
            yield Ask(Command.WRITE, argument, [0, *[0xFFFFFFFF] * length], Status.UNKNOWN_SPACE)
    # What is written on the way to the mistake is what stands there already, or where nothing is used.
    program = image.program.reshape(-1).tolist()
    weights = [
        word
        for space, _, data in image.writes(1 << 30)
        if space is Space.WEIGHTS
        for word in data[: weight_item_words(parameters.lanes)].tolist()
    ]
    registers = {register: image.registers.get(register, 0) for register in Register}
    for space, item, depth, data in (
        (Space.PROGRAM, INSTRUCTION_WORDS, parameters.program_depth, program[:INSTRUCTION_WORDS]),
        (Space.WEIGHTS, weight_item_words(parameters.lanes), parameters.weight_depth, weights),
        (Space.REGISTERS, 1, len(Register), [registers[Register(len(Register) - 1)]]),
    ):
        yield Ask(Command.WRITE, space, [], Status.WRONG_LENGTH)
        yield Ask(Command.WRITE, space, [0], Status.DONE)
        for address in (depth, depth + 1, 2 * depth, 1 << 16, 1 << 31, 0xFFFFFFFF):
            for length in {1, item, item + 1, 2 * item}:
                yield Ask(Command.WRITE, space, [address, *([0x55555555] * length)], Status.BAD_ADDRESS)
        yield Ask(Command.WRITE, space, [depth - 1, *data, *([0x55555555] * item)], Status.BAD_ADDRESS)
        for torn in range(1, item):
            yield Ask(Command.WRITE, space, [depth - 1, *([0x33333333] * torn)], Status.WRONG_LENGTH)
            yield Ask(Command.WRITE, space, [depth - 2, *data, *([0x33333333] * torn)], Status.WRONG_LENGTH)


def _wrong_reads(host: Host) -> Iterator[Ask]:
    parameters = host.parameters
    for argument in (Space.PROGRAM, Space.REGISTERS, max(Space) + 1, 0x101, 0xFFFF):
        for count in (0, 1, 2):
            yield Ask(Command.READ, argument, [0, count], Status.UNKNOWN_SPACE)
    for space, depth in (
        (Space.WEIGHTS, parameters.weight_depth),
        (Space.STATES, parameters.neuron_depth),
        (Space.DEVIATIONS, parameters.neuron_depth),
        (Space.COUNTERS, len(NAMES)),
    ):
        for body in ([], [0], [0, 1, 0], [0, 0, 0], [0, 1, 1, 1, 1]):
            yield Ask(Command.READ, space, body, Status.WRONG_LENGTH)
        for address in (0, 1, depth - 1, depth):
            yield Ask(Command.READ, space, [address, 0], Status.DONE)
        for address, count in (
            (depth, 1),
            (depth - 1, 2),
            (0, depth + 1),
            (0, 1 << 16),
            (0, 0xFFFFFFFF),
            (1, 0xFFFFFFFF),
            (0xFFFFFFFF, 1),
            (0xFFFFFFFF, 2),
            (1 << 31, 1 << 31),
            (depth + 1, 0),
        ):
            yield Ask(Command.READ, space, [address, count], Status.BAD_ADDRESS)


def _wrong_samples(host: Host) -> Iterator[Ask]:
    rate, step = host.network.learning.rate_at(0), random.getrandbits(32)
    for body in ([], [step]):
        yield Ask(Command.TRAIN, -rate, body, Status.WRONG_LENGTH)
    yield Ask(Command.INFER, 0, [], Status.WRONG_LENGTH)
    for words, status in _wrong_words(host):
        yield Ask(Command.TRAIN, -rate, [step, *words], status)
        yield Ask(Command.INFER, 0, words, status)
    inputs, labels, _ = host.samples(1)
    train = [step, *host.sample(inputs, labels, 0, sparse=False)]
    fastest, slowest = host.image.registers[Register.FASTEST], host.image.registers[Register.SLOWEST]
    for argument in (0, fastest - 1, slowest + 1, 31, 32 + fastest, 0x100 + fastest, 0x8000 + slowest, 0xFFFF):
        yield Ask(Command.TRAIN, argument, train, Status.BAD_RATE)


def _wrong_words(host: Host) -> Iterator[tuple[list[int], Status]]:
    """Words of samples that are wrong, and how they are refused."""
    inputs, labels, _ = host.samples(1)
    label = int(labels[0])
    for sparse in (False, True):
        sample = host.sample(inputs, labels, 0, sparse=sparse)
        for length in range(1, len(sample)):
            yield sample[:length], Status.WRONG_LENGTH
        classes = host.network.widths[-1]
        for wrong in (classes, classes + 1, 0x800, 0xFFF):
            yield [sample_head(wrong, random.getrandbits(32), sparse), *sample[1:]], Status.BAD_LABEL
    wide = host.network.formats.input.width > 8
    count, longest = host.network.widths[0], 0xFFFF if wide else 0xFF
    for place in (0, 1, count // 2, count - 2):
        for zeros in (count - place, count - place + 1, longest):
            # After so many inputs comes a zero, and more of them than there are inputs left.
            words = [
                sample_head(label, random.getrandbits(32), sparse=True),
                *pack_inputs(np.array([*[1] * place, 0, zeros]), wide).tolist(),
            ]
            yield words, Status.BAD_RUN
            yield [*words, *[0] * random.randint(1, 9)], Status.BAD_RUN
