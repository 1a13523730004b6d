# SPDX-License-Identifier: Apache-2.0
"""Bench of `UsbDevice` at its PHY's pins: a host finds it, and trains it like golden, over a line that loses packets."""

import random
from collections import deque
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from sklearn.datasets import load_digits

from ...firmware.arithmetic import IntArray
from ...firmware.network import Network
from ...firmware.parameters import EngineParameters
from ...firmware.protocol import Command, Space, Status
from ...firmware.transfer import ENDING, OpeningSearch, TransferDecoder, join, opening
from .device import LAST, Ask, Host, PacketQueue
from .usb_host import UsbHost
from .usb_loop import open_usb


def digits_example() -> tuple[Network, EngineParameters]:
    """A small network for digits, and an engine that is just large enough."""
    network = Network.chain([64, 12, 10], name="digits", seed=3)
    return network, EngineParameters.for_network(network, 4)


class _Answers:
    """Sends what waits, and asks for answers, one packet of the bus after the other."""

    def __init__(self, host: UsbHost, requests: PacketQueue) -> None:
        self.host = host
        self.requests = requests
        self.decoder = TransferDecoder()
        self.items: deque[int] = deque()
        self.outgoing = b""

    async def open(self) -> None:
        """Begin a session as the host's program does: what is torn ends, and what is left is passed over."""
        packets, answer = opening()
        await self.host.bulk_out(ENDING)
        await self.host.bulk_out(join(packets))
        search = OpeningSearch(answer)
        while not search.found:
            assert not search.feed(await self.host.try_in() or b"")
            assert search.seen < 10_000

    async def receive(self, count: int) -> list[int]:
        size = self.host.line.packet_bytes
        while len(self.items) < count:
            if not self.outgoing and self.requests.packets:
                some = random.randint(1, len(self.requests.packets))
                self.outgoing = join(self.requests.packets[:some])
                del self.requests.packets[:some]
            if self.outgoing and await self.host.try_out(self.outgoing[:size]):
                self.outgoing = self.outgoing[size:]
            part = await self.host.try_in()
            if part is None and not self.outgoing:
                await self.host.idle(2_000)
            for packet in self.decoder.feed(part or b""):
                self.items.extend([*packet[:-1].tolist(), int(packet[-1]) | LAST])
        return [self.items.popleft() for _ in range(count)]


class DigitsHost(Host):
    """A host that trains `digits_example` with digits."""

    def __init__(self, requests: PacketQueue, answers: _Answers) -> None:
        super().__init__(requests, answers, digits_example())

    def samples(self, count: int) -> tuple[IntArray, IntArray, int]:
        images, labels = load_digits(return_X_y=True)
        inputs = np.minimum(images[:count].astype(np.int64) * 16, self.network.formats.input.maximum)
        return inputs, labels[:count].astype(np.int64), self.network.learning.rate_at(0)


async def _start(dut: Any, damage: float) -> UsbHost:
    """The host's model on a device that it has enumerated."""
    Clock(dut.clk, random.choice((14, 20, 33)) * 1000 + 2 * random.randrange(7), unit="ps").start()
    dut.rst.value = 1
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    usb = await open_usb(dut, damage)
    await usb.enumerate()
    return usb


@cocotb.test
async def trains_like_golden(dut: Any) -> None:
    """Over a line that damages and loses a tenth of the packets; then the device is unplugged in the middle of a session."""
    usb = await _start(dut, damage=0.1)
    host = Host(requests := PacketQueue(), _Answers(usb, requests), digits_example())
    await host.load()
    await host.train(random.randint(2, 5))
    await host.infer(random.randint(1, 3))
    await host.exchange([Ask(Command.WRITE, Space.STATES, [0, 0], Status.UNKNOWN_SPACE)])
    await host.compare()
    # Half a transfer, and answers that nobody took.
    for packet in (join([np.array([Command.HELLO], dtype=np.uint32)]), join([np.arange(300, dtype=np.uint32)])[:-40]):
        await usb.bulk_out(packet)
    await usb.line.unplug()
    await usb.enumerate()
    again = _Answers(usb, requests)
    await again.open()
    host.answers = again
    await host.train(2)
    await host.compare()


@cocotb.test
async def learns_digits(dut: Any) -> None:
    """Fifty digits of scikit-learn, one batch after the other ahead of the engine: golden's weights."""
    usb = await _start(dut, damage=0.02)
    host = DigitsHost(requests := PacketQueue(), _Answers(usb, requests))
    await host.load()
    await host.train(50)
    await host.compare()
