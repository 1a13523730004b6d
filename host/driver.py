# SPDX-License-Identifier: Apache-2.0
"""The device driver: a machine behind packets."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from ..firmware.arithmetic import IntArray
from ..firmware.compiler import Program, check_trains
from ..firmware.errors import FrennError, ImageError
from ..firmware.image import Image
from ..firmware.protocol import (
    WRONG,
    Command,
    Register,
    Skip,
    Space,
    Words,
    pack_sample,
    pack_weights,
    unpack_states,
    unpack_weights,
    weight_item_words,
)
from ..rtl_gen.identity import gateware_identity
from ..sim.golden import Relaxed
from .exchange import PACKET_WORDS, Exchange, Transport, write, write_register

EVERYTHING: Final = Skip.SOURCES | Skip.REST | Skip.RIGHT


class Driver:
    """A device that runs one compiled network: a `Machine`, and a context manager that closes the line.

    Several requests are in flight at a time, so that neither the line nor the engine waits for the other. The device
    answers in order, and every answer is matched to its request by a tag.

    Parameters
    ----------
    transport : Transport or Exchange
        The line, or what has greeted the device on it; the driver owns it from here and closes it, also when the constructor raises.
    program : Program
        Memory map and engine. Nothing is written before the device has said that it is this engine.
    timeout, window : float, int
        See `Exchange`, which has its own if it is given.
    skip : Skip
        Work that the engine may leave out.

    Raises
    ------
    LinkError
        If the device does not answer, or not as a frenn device.
    ImageError
        If it is another engine than the program was compiled for, or its gateware is another than this installation's.
    """

    def __init__(
        self, transport: Transport | Exchange, program: Program, *, timeout: float = 30.0, window: int = 8, skip: Skip | int = EVERYTHING
    ) -> None:
        self.program = program
        self._skip = int(skip)
        self._exchange = transport if isinstance(transport, Exchange) else Exchange(transport, timeout=timeout, window=window)
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release the line."""
        self._exchange.close()

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
        writes = [write(space, address, data) for space, address, data in image.writes(PACKET_WORDS - 2)]
        writes.append(write_register(Register.SKIP, self._skip))
        writes.append(write_register(Register.CLEAR, 1))
        self._exchange.write(writes)

    def weights(self) -> list[IntArray]:
        """Read the weights back; see `Machine.weights`."""
        lanes = self.program.parameters.lanes
        content = self._exchange.read(Space.WEIGHTS, 0, self.program.weight_words, weight_item_words(lanes), "weights")
        return self.program.unpack(unpack_weights(content, lanes))

    def train(self, inputs: IntArray, labels: IntArray, step: int, rate: int) -> tuple[IntArray, NDArray[np.bool_]]:
        """Learn samples one after the other; see `Machine.train`.

        Raises
        ------
        FrennError
            If an input, a label or the rate is not of the network, or no engine can train it: nothing is sent.
        """
        network = self.program.network
        check_trains(network)
        inputs = self._checked(inputs)
        labels = np.asarray(labels)
        if labels.shape != inputs.shape[:1] or not _integers(labels, network.widths[-1] - 1):
            raise FrennError(f"labels must be {len(inputs)} integers, classes from 0 to {network.widths[-1] - 1}")
        if not 0 <= step <= (1 << 32) - len(inputs):
            raise FrennError(f"step is {step} for {len(inputs)} samples; legal are the numbers 0 to 2^32 - 1")
        fastest, slowest = network.learning.rate_at(0), network.learning.rate_at(network.learning.epochs - 1)
        if not slowest <= rate <= fastest:
            raise FrennError(f"learning rate 2^{rate} is outside the run's 2^{slowest} to 2^{fastest}; change [learning] and compile again")
        results = self._exchange.samples(Command.TRAIN, -rate, self._pack(inputs, labels, step), step)
        return results & 0xFFFF, results & WRONG != 0

    def store(self, weights: list[IntArray]) -> None:
        """Replace the weights and nothing else.

        Raises
        ------
        FitError
            If a weight does not fit: nothing is written.
        """
        lanes = self.program.parameters.lanes
        image = self.program.pack(weights)
        chunk = max((PACKET_WORDS - 2) // weight_item_words(lanes), 1)
        self._exchange.write(
            write(Space.WEIGHTS, start, pack_weights(image[start : start + chunk])) for start in range(0, len(image), chunk)
        )

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
            states[index] = unpack_states(self._exchange.read(Space.STATES, hidden[0].neuron, states.shape[1], 1, "states"))[0]
            if wrong or network.relaxation.literal:
                content = self._exchange.read(Space.DEVIATIONS, hidden[0].neuron, count, 1, "deviations")
                deviations[index] = content.view(np.int32)
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
        return self._exchange.samples(Command.INFER, 0, self._pack(inputs, np.zeros(len(inputs), dtype=np.int64)))

    def counters(self) -> dict[str, int]:
        """Performance counters by name, all of `counters.NAMES`."""
        return self._exchange.counters()

    def clear_counters(self) -> None:
        """Set every counter to zero."""
        self._exchange.write([write_register(Register.CLEAR, 1)])

    def states(self, layer: int) -> tuple[IntArray, IntArray]:
        """States and slopes of a layer after the last sample, (width,) int64 each; layers count from the input, 0."""
        place = self.program.layers[layer]
        return unpack_states(self._exchange.read(Space.STATES, place.neuron, place.width, 1, "states"))

    def deviations(self, layer: int) -> IntArray:
        """Deviations of a layer (of the output layer the error) after the last training sample, (width,) int64."""
        place = self.program.layers[layer]
        content = self._exchange.read(Space.DEVIATIONS, place.neuron, place.width, 1, "deviations")
        return content.view(np.int32).astype(np.int64)

    def _check(self) -> None:
        """Refuse a device that the program was not compiled for, or that other gateware than this installation's makes."""
        hello, expected = self._exchange.hello, self.program.parameters
        if hello.parameters != expected:
            ours, theirs = expected.to_dict(), hello.parameters.to_dict()
            differences = ", ".join(f"{name} {theirs[name]} instead of {ours[name]}" for name in ours if ours[name] != theirs[name])
            raise ImageError(
                f"the device is engine {hello.parameters.fingerprint:016x}, the network was compiled for engine "
                f"{expected.fingerprint:016x} ({differences}); choose that engine or compile for this one"
            )
        if hello.build != gateware_identity():
            raise ImageError(
                f"the device was built from gateware {hello.build:016x}, this frenn is made for gateware {gateware_identity():016x}; "
                "build and flash the bitstream again, or install the frenn that built it"
            )

    def _checked(self, inputs: IntArray) -> IntArray:
        network = self.program.network
        inputs = np.asarray(inputs)
        if inputs.ndim != 2 or inputs.shape[1] != network.widths[0]:
            raise FrennError(f"inputs have shape {inputs.shape}, the network takes (samples, {network.widths[0]})")
        if not _integers(inputs, network.formats.input.maximum):
            raise FrennError(f"inputs must be integers of {network.formats.input}, 0 to {network.formats.input.maximum}")
        return inputs

    def _pack(self, inputs: IntArray, labels: IntArray, step: int = 0) -> Iterator[Words]:
        wide = self.program.network.formats.input.width > 8
        numbered = enumerate(zip(inputs, labels, strict=True), step)
        return (pack_sample(sample, wide, int(label), number) for number, (sample, label) in numbered)


def _integers(values: NDArray[Any], high: int) -> bool:
    """Whether an array holds integers from 0 to ``high`` alone."""
    return values.dtype.kind in "iu" and (values.size == 0 or bool(0 <= values.min() <= values.max() <= high))
