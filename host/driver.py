# SPDX-License-Identifier: Apache-2.0
"""The device driver: a machine behind packets."""

from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..firmware.arithmetic import IntArray
from ..firmware.compiler import Program
from ..firmware.counters import NAMES
from ..firmware.errors import FrennError, ImageError, LinkError
from ..firmware.image import Image
from ..firmware.protocol import (
    ANSWER,
    Command,
    Hello,
    Register,
    Skip,
    Space,
    Status,
    Words,
    pack_inputs,
    pack_weights,
    request,
    unpack_states,
    unpack_weights,
)
from ..sim.golden import Relaxed

PACKET_WORDS: Final = 256
"""Words of the longest packet that loads or reads memory, unless a single item is longer."""

EVERYTHING: Final = Skip.SOURCES | Skip.REST | Skip.RIGHT

_REASONS: Final = {
    Status.UNKNOWN_COMMAND: "it does not know the command; the bitstream is older than this program, build it again",
    Status.UNKNOWN_SPACE: "it has no such memory; the bitstream is older than this program, build it again",
    Status.WRONG_LENGTH: "the packet has the wrong length; load the network again",
    Status.BAD_ADDRESS: "the address is outside its memory; the bitstream has other depths than it was checked for",
    Status.BAD_LABEL: "the label is no class of the network that is loaded; load the network again",
    Status.BAD_RATE: "the learning rate is outside the run that the network was compiled for; load the network again",
}


class Transport(Protocol):
    """Carries whole packets to a device and back, in order and without loss."""

    def send(self, packet: Words) -> None:
        """Queue one request packet, (words,) uint32.

        It may wait for room on the line, but not for an answer to be taken with `receive`: the driver sends several
        requests before it asks for the first answer.
        """

    def receive(self, timeout: float) -> Words:
        """The next answer packet, (words,) uint32.

        Raises
        ------
        LinkError
            If it has not arrived in full after `timeout` seconds, or the line is broken.
        """

    def close(self) -> None:
        """Release the line; may be called again."""


class _Request(NamedTuple):
    command: Command
    argument: int
    body: Words
    what: str
    """What the request is for, as an error message names it."""


class _Pending(NamedTuple):
    request: _Request
    tag: int


class Driver:
    """A device that runs one compiled network: a `Machine`, and a context manager that closes the line.

    Several requests are in flight at a time, so that neither the line nor the engine waits for the other. The device
    answers in order, and every answer is matched to its request by a tag.

    Parameters
    ----------
    transport : Transport
        The line; the driver owns it from here and closes it, also when the constructor raises.
    program : Program
        Memory map and engine. Nothing is written before the device has said that it is this engine.
    timeout : float
        Seconds to wait for one answer.
    window : int
        Requests in flight, 1 to 128.
    skip : Skip
        Work that the engine may leave out.

    Raises
    ------
    LinkError
        If the device does not answer, or not as a frenn device.
    ImageError
        If it is another engine than the program was compiled for.
    """

    def __init__(
        self, transport: Transport, program: Program, *, timeout: float = 30.0, window: int = 8, skip: Skip | int = EVERYTHING
    ) -> None:
        self.program = program
        self._transport = transport
        self._timeout = timeout
        self._window = window
        self._skip = int(skip)
        self._tag = 0
        try:
            if not 1 <= window <= 128:
                raise FrennError(f"window is {window}; legal is 1 to 128 requests")
            self._greet()
        except BaseException:
            transport.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release the line."""
        self._transport.close()

    def load(self, weights: list[IntArray]) -> None:
        """Load program, registers and weights; see `Machine.load`. Counters start at zero.

        Raises
        ------
        FitError
            If a weight does not fit: nothing is written.
        """
        self.load_image(Image.build(self.program, weights))

    def load_image(self, image: Image) -> None:
        """Load an image.

        Raises
        ------
        ImageError
            If it was made for another engine or another network: nothing is written.
        """
        image.check(self.program.parameters)
        if image.network != self.program.network.fingerprint:
            raise ImageError("the image was made from another network file; compile the network again")
        writes = [_write(space, address, data) for space, address, data in image.writes(PACKET_WORDS - 2)]
        writes.append(_write_register(Register.SKIP, self._skip))
        writes.append(_write_register(Register.CLEAR, 1))
        self._run(writes)

    def weights(self) -> list[IntArray]:
        """Read the weights back; see `Machine.weights`."""
        lanes = self.program.parameters.lanes
        words = self._read(Space.WEIGHTS, 0, self.program.weight_words, lanes // 2, "weights")
        return self.program.unpack(unpack_weights(words, lanes))

    def train(self, inputs: IntArray, labels: IntArray, step: int, rate: int) -> tuple[IntArray, NDArray[np.bool_]]:
        """Learn samples one after the other; see `Machine.train`.

        Raises
        ------
        FrennError
            If an input, a label or the rate is not of the network: nothing is sent.
        """
        network = self.program.network
        inputs = self._checked(inputs)
        labels = np.asarray(labels)
        if labels.shape != inputs.shape[:1] or not _integers(labels, network.widths[-1] - 1):
            raise FrennError(f"labels must be {len(inputs)} integers, classes from 0 to {network.widths[-1] - 1}")
        if not 0 <= step <= (1 << 32) - len(inputs):
            raise FrennError(f"step is {step} for {len(inputs)} samples; legal are the numbers 0 to 2^32 - 1")
        fastest, slowest = network.learning.rate_at(0), network.learning.rate_at(network.learning.epochs - 1)
        if not slowest <= rate <= fastest:
            raise FrennError(f"learning rate 2^{rate} is outside the run's 2^{slowest} to 2^{fastest}; change [learning] and compile again")
        requests = (
            _Request(Command.TRAIN, -rate, np.concatenate([_words(step + index, label), sample]), "a sample")
            for index, (label, sample) in enumerate(zip(labels, self._pack(inputs), strict=True))
        )
        answers = np.fromiter((self._word(answer) for answer in self._exchange(requests)), dtype=np.int64, count=len(inputs))
        return answers & 0xFFFF, answers >> 16 != 0

    def store(self, weights: list[IntArray]) -> None:
        """Replace the weights and nothing else.

        Raises
        ------
        FitError
            If a weight does not fit: nothing is written.
        """
        lanes = self.program.parameters.lanes
        image = self.program.pack(weights)
        chunk = max((PACKET_WORDS - 2) // (lanes // 2), 1)
        self._run(_write(Space.WEIGHTS, start, pack_weights(image[start : start + chunk])) for start in range(0, len(image), chunk))

    def relax(self, inputs: IntArray, labels: IntArray, step: int, rate: int) -> Relaxed:
        """Train, and read what each sample relaxed to; see `frenn.sim.golden.Golden.relax`."""
        network, layers = self.program.network, self.program.layers
        hidden, widths = layers[1:-1], network.widths
        count = sum(widths[1:])
        predictions = np.zeros(len(inputs), dtype=np.int64)
        states = np.zeros((len(inputs), count - widths[-1]), dtype=np.int64)
        deviations = np.zeros((len(inputs), count), dtype=np.int64)
        for index in range(len(inputs)):
            one = slice(index, index + 1)
            predictions[one], (wrong,) = self.train(inputs[one], labels[one], step + index, rate)
            # The hidden layers and the output lie one after another.
            states[index] = unpack_states(self._read(Space.STATES, hidden[0].neuron, states.shape[1], 1, "states"))[0]
            if wrong or network.relaxation.literal:
                words = self._read(Space.DEVIATIONS, hidden[0].neuron, count, 1, "deviations")
                deviations[index] = words.view(np.int32)
        ends = np.cumsum(widths[1:-1])
        return Relaxed(predictions, np.split(states, ends[:-1], axis=1), np.split(deviations, ends, axis=1))

    def infer(self, inputs: IntArray) -> IntArray:
        """Predict; see `Machine.infer`.

        Raises
        ------
        FrennError
            If an input is not of the network: nothing is sent.
        """
        inputs = self._checked(inputs)
        requests = (_Request(Command.INFER, 0, sample, "a sample") for sample in self._pack(inputs))
        return np.fromiter((self._word(answer) for answer in self._exchange(requests)), dtype=np.int64, count=len(inputs))

    def counters(self) -> dict[str, int]:
        """Performance counters by name, all of `counters.NAMES`."""
        words = self._read(Space.COUNTERS, 0, len(NAMES), 2, "counters")
        low, high = words.reshape(-1, 2).astype(np.int64).T
        return dict(zip(NAMES, (low | high << 32).tolist(), strict=True))

    def clear_counters(self) -> None:
        """Set every counter to zero."""
        self._run([_write_register(Register.CLEAR, 1)])

    def states(self, layer: int) -> tuple[IntArray, IntArray]:
        """States and slopes of a layer after the last sample, (width,) int64 each; layers count from the input, 0."""
        place = self.program.layers[layer]
        return unpack_states(self._read(Space.STATES, place.neuron, place.width, 1, "states"))

    def deviations(self, layer: int) -> IntArray:
        """Deviations of a layer (of the output layer the error) after the last training sample, (width,) int64."""
        place = self.program.layers[layer]
        words = self._read(Space.DEVIATIONS, place.neuron, place.width, 1, "deviations")
        return words.view(np.int32).astype(np.int64)

    def _greet(self) -> None:
        (answer,) = self._exchange([_Request(Command.HELLO, 0, _words(), "the greeting of a frenn device")])
        hello = Hello.decode(answer)
        expected = self.program.parameters
        if hello.fingerprint != expected.fingerprint:
            raise ImageError(
                f"the device is engine {hello.fingerprint:016x} with {hello.lanes} lanes, the network was compiled for engine "
                f"{expected.fingerprint:016x} with {expected.lanes} lanes; choose that engine or compile for this one"
            )

    def _checked(self, inputs: IntArray) -> IntArray:
        network = self.program.network
        inputs = np.asarray(inputs)
        if inputs.ndim != 2 or inputs.shape[1] != network.widths[0]:
            raise FrennError(f"inputs have shape {inputs.shape}, the network takes (samples, {network.widths[0]})")
        if not _integers(inputs, network.formats.input.maximum):
            raise FrennError(f"inputs must be integers of {network.formats.input}, 0 to {network.formats.input.maximum}")
        return inputs

    def _pack(self, inputs: IntArray) -> Iterator[Words]:
        wide = self.program.network.formats.input.width > 8
        return (pack_inputs(sample, wide) for sample in inputs)

    def _read(self, space: Space, address: int, count: int, item: int, what: str) -> Words:
        """``count`` items of ``item`` words from a space, (count * item,) uint32."""
        chunk = max((PACKET_WORDS - 1) // item, 1)
        sizes = [min(chunk, count - start) for start in range(0, count, chunk)]
        requests = (
            _Request(Command.READ, space, _words(address + index * chunk, size), f"{what} {index * chunk} and on")
            for index, size in enumerate(sizes)
        )
        parts = []
        for size, part in zip(sizes, self._exchange(requests), strict=True):
            if len(part) != size * item:
                raise LinkError(f"the device answered {len(part)} words of {what}, {size * item} were asked for; reset the device")
            parts.append(part)
        return np.concatenate(parts)

    def _run(self, requests: Iterable[_Request]) -> None:
        """Make requests whose answers carry no words."""
        for answer in self._exchange(requests):
            if len(answer):
                raise LinkError(f"the device answered a write with {len(answer)} words; reset the device")

    def _word(self, answer: Words) -> int:
        if len(answer) != 1:
            raise LinkError(f"the device answered a sample with {len(answer)} words, not 1; reset the device")
        return int(answer[0])

    def _exchange(self, requests: Iterable[_Request]) -> Iterator[Words]:
        """Make requests, a window of them in flight, and yield the words after word 0 of each answer, in order."""
        pending: deque[_Pending] = deque()
        for item in requests:
            if len(pending) == self._window:
                yield self._answer(pending.popleft())
            # Tags run on over all exchanges: answers left over from an exchange that broke off match nothing later.
            self._tag = (self._tag + 1) & 0xFF
            pending.append(_Pending(item, self._tag))
            self._transport.send(request(item.command, item.argument, item.body, self._tag))
        while pending:
            yield self._answer(pending.popleft())

    def _answer(self, pending: _Pending) -> Words:
        command, what = pending.request.command, pending.request.what
        try:
            answer = self._transport.receive(self._timeout)
        except LinkError as error:
            raise LinkError(f"waiting for the answer to {command.name} ({what}): {error}") from None
        head = int(answer[0]) if len(answer) else 0
        if head & 0xFFFF != command | ANSWER | pending.tag << 8:
            if command is Command.HELLO:
                raise LinkError("what answers is no frenn device; check the port and that the board is configured")
            raise LinkError(
                f"the answer to {command.name} ({what}) belongs to another request (word {head:#010x}, tag {pending.tag} expected); "
                "reset the device and open it again"
            )
        status = head >> 16
        if status != Status.DONE:
            reason = _REASONS.get(Status(status)) if status in list(Status) else None
            raise LinkError(f"the device refused {command.name} ({what}): {reason or f'status {status} is unknown, update frenn'}")
        return answer[1:]


def _integers(values: NDArray[Any], high: int) -> bool:
    """Whether an array holds integers from 0 to ``high`` alone."""
    return values.dtype.kind in "iu" and (values.size == 0 or bool(0 <= values.min() <= values.max() <= high))


def _words(*values: int) -> Words:
    return np.array(values, dtype=np.uint32)


def _write(space: Space, address: int, data: Words) -> _Request:
    return _Request(Command.WRITE, space, np.concatenate([_words(address), data]), f"{space.name.lower()} {address} and on")


def _write_register(register: Register, value: int) -> _Request:
    return _write(Space.REGISTERS, register, _words(value))
