# SPDX-License-Identifier: Apache-2.0
"""Bench of `AxiDevice` between the sources and sinks of `cocotbext.axi`: a network is loaded, trained and read back like golden's."""

import os
import random
from collections import deque
from collections.abc import Iterable
from typing import Any

import cocotb
import numpy as np
from cocotbext.axi import AxiStreamFrame, AxiStreamSink, AxiStreamSource

from ...firmware.protocol import Command, Space, Status
from ...firmware.transfer import TransferDecoder, join
from .axi_loop import open_ends, start_clocks
from .device import LAST, Ask, Host, PacketQueue


class _Requests(PacketQueue):
    """Packets as AXI packets: each one alone, or several to a transfer."""

    def __init__(self, source: AxiStreamSource, transfers: bool) -> None:
        super().__init__()
        self.source = source
        self.transfers = transfers

    def send(self, items: Iterable[int]) -> None:
        super().send(items)
        if not self.transfers:
            for packet in self.packets:
                self.source.send_nowait(AxiStreamFrame(packet.astype("<u4").tobytes()))
            self.packets = []

    def flush(self) -> None:
        """Send what waits, in a few transfers."""
        while self.packets:
            count = random.randint(1, len(self.packets))
            self.source.send_nowait(AxiStreamFrame(join(self.packets[:count])))
            del self.packets[:count]


class _Answers:
    def __init__(self, sink: AxiStreamSink, requests: _Requests) -> None:
        self.sink = sink
        self.requests = requests
        self.decoder = TransferDecoder()
        self.items: deque[int] = deque()

    async def receive(self, count: int) -> list[int]:
        while len(self.items) < count:
            self.requests.flush()
            content = bytes((await self.sink.recv()).tdata)
            packets = self.decoder.feed(content) if self.requests.transfers else [np.frombuffer(content, dtype="<u4")]
            assert packets
            for packet in packets:
                self.items.extend([*packet[:-1].tolist(), int(packet[-1]) | LAST])
        return [self.items.popleft() for _ in range(count)]


@cocotb.test
@cocotb.parametrize(share=[(0.0, 0.0), (0.4, 0.4)])
async def trains_like_golden(dut: Any, share: tuple[float, float]) -> None:
    source, sink = await open_ends(dut, dut.axi_clk, dut.axi_rst, share)
    await start_clocks(dut, *random.choice(((4, 10), (8, 16), (9, 9), (10, 8))))
    requests = _Requests(source, os.environ["TRANSFERS"] == "1")
    host = Host(requests, _Answers(sink, requests))
    await host.load()
    for _ in range(2):
        await host.train(random.randint(2, 5))
        await host.infer(random.randint(1, 3))
        # A wrong request stops nothing.
        await host.exchange([Ask(Command.WRITE, Space.STATES, [0, 0], Status.UNKNOWN_SPACE)])
        await host.compare()
