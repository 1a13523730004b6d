# SPDX-License-Identifier: Apache-2.0
"""cocotb drivers for Amaranth streams, and what benches share."""

import random
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge


async def start(dut: Any, period: int = 10) -> None:
    """Start the clock (``period`` ns) of a device under test, reset it and return after the reset."""
    Clock(dut.clk, period, unit="ns").start()
    dut.rst.value = 1
    for _ in range(2):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


class _Port:
    def __init__(self, dut: Any, port: str) -> None:
        self.clock = dut.clk
        self.payload = getattr(dut, f"{port}__payload")
        self.valid = getattr(dut, f"{port}__valid")
        self.ready = getattr(dut, f"{port}__ready")


class StreamSource(_Port):
    """Drives an input stream of a device under test.

    Parameters
    ----------
    dut : cocotb handle
    port : str
        Name of the stream: its signals are ``<port>__payload``, ``<port>__valid`` and ``<port>__ready``.
    generator : random.Random
        Decides when the source pauses.
    pause : float
        Probability of a cycle without an item.
    """

    def __init__(self, dut: Any, port: str, generator: random.Random, pause: float = 0.0) -> None:
        super().__init__(dut, port)
        self.generator = generator
        self.pause = pause
        self.queue: deque[int] = deque()
        self.valid.value = 0
        cocotb.start_soon(self._run())

    def send(self, items: Iterable[int]) -> None:
        """Queue payloads, each the integer of the payload's bits."""
        self.queue.extend(items)

    async def drain(self) -> None:
        """Wait until the last queued item has been taken."""
        while self.queue:
            await RisingEdge(self.clock)

    async def _run(self) -> None:
        while True:
            if not self.queue or self.generator.random() < self.pause:
                await RisingEdge(self.clock)
                continue
            self.payload.value = self.queue[0]
            self.valid.value = 1
            while True:
                await ReadOnly()
                taken = int(self.ready.value)
                await RisingEdge(self.clock)
                if taken:
                    break
            self.queue.popleft()
            self.valid.value = 0


class StreamSink(_Port):
    """Takes an output stream of a device under test, and checks that an offered item stays until it is taken.

    Parameters
    ----------
    dut, port, generator
        As in `StreamSource`.
    pause : float
        Probability of a cycle in which the sink is not ready.
    """

    def __init__(self, dut: Any, port: str, generator: random.Random, pause: float = 0.0) -> None:
        super().__init__(dut, port)
        self.generator = generator
        self.pause = pause
        self.queue: deque[int] = deque()
        self.ready.value = 0
        StreamMonitor(dut, port)
        cocotb.start_soon(self._run())

    async def receive(self, count: int) -> list[int]:
        """Wait for ``count`` payloads and take them from the queue."""
        while len(self.queue) < count:
            await RisingEdge(self.clock)
        return [self.queue.popleft() for _ in range(count)]

    async def _run(self) -> None:
        while True:
            ready = int(self.generator.random() >= self.pause)
            self.ready.value = ready
            await ReadOnly()
            taken = ready and int(self.valid.value)
            item = int(self.payload.value) if taken else 0
            await RisingEdge(self.clock)
            if taken:
                self.queue.append(item)


class StreamMonitor(_Port):
    """Fails the bench if a stalled item is withdrawn or changes."""

    def __init__(self, dut: Any, port: str) -> None:
        super().__init__(dut, port)
        self.port = port
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        stalled: int | None = None
        while True:
            await ReadOnly()
            valid = int(self.valid.value)
            item = int(self.payload.value) if valid else None
            if stalled is not None and item != stalled:
                raise AssertionError(f"stream {self.port}: stalled item {stalled:#x} became {'nothing' if item is None else hex(item)}")
            stalled = item if valid and not int(self.ready.value) else None
            await RisingEdge(self.clock)


async def pipeline(
    dut: Any, inputs: Mapping[str, Sequence[int]], outputs: Sequence[str], latency: int, signed: Collection[str] = ()
) -> dict[str, list[int]]:
    """Feed a pipeline one item a cycle and return what leaves it ``latency`` cycles later.

    Parameters
    ----------
    dut : cocotb handle
    inputs : mapping of str to sequence of int
        Values by port, equally many.
    outputs : sequence of str
        Ports to read.
    latency : int
        Registers between inputs and outputs.
    signed : collection of str
        Those of the outputs that are two's complement.

    Returns
    -------
    dict of str to list of int
        Each output's values, as many as there were inputs.
    """
    count = len(next(iter(inputs.values())))
    results: dict[str, list[int]] = {name: [] for name in outputs}
    for cycle in range(count + latency - 1):
        if cycle < count:
            for name, values in inputs.items():
                getattr(dut, name).value = values[cycle]
        await RisingEdge(dut.clk)
        await ReadOnly()
        if cycle >= latency - 1:
            for name in outputs:
                value = getattr(dut, name).value
                results[name].append(value.to_signed() if name in signed else int(value))
        await FallingEdge(dut.clk)
    return results
