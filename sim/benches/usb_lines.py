# SPDX-License-Identifier: Apache-2.0
"""The USB's lines between a host's model and a device: a transceiver on ULPI, at high speed, and the two bare lines, at full speed."""

import itertools
import os
import random
from collections import deque
from typing import Any, Final, Protocol

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, Event, FallingEdge, First, RisingEdge, Timer, ValueChange
from cocotb.utils import get_sim_time

ULPI_PS: Final = 16_666
"""Period of a transceiver's clock; a byte at high speed takes one of it."""

MILLISECOND_NS: Final = 1_000_000 // int(os.environ.get("HASTE", "1"))
"""What the device's gateware takes for a millisecond: its longest times may be cut for the simulation."""

PINS_PS: Final = 20_832
"""Period of the clock that samples bare lines, four to a bit."""

SE0, J, K = 0b00, 0b01, 0b10
"""States of the lines, D+ in bit 0."""


class Line(Protocol):
    """What a host's model sends packets through."""

    frame_ns: int
    """Time between two starts of frames."""
    packet_bytes: int
    """Bytes of a full bulk packet."""

    async def start(self) -> None:
        """Start the clocks, and plug the device in."""

    async def send(self, packet: bytes) -> None:
        """Send a packet, from its PID to its CRC."""

    async def receive(self) -> bytes | None:
        """The packet that the device sends now; None if it sends none in the time that it has."""

    async def reset(self) -> None:
        """Reset the bus, and find the speed."""

    async def unplug(self) -> None:
        """Take the device off, and plug it in again."""


class UlpiLine:
    """A transceiver on ULPI at the end of a line at high speed.

    It acts on the clock's falling edge: what it drives is there for the device's next rising edge.

    Parameters
    ----------
    dut : cocotb handle
    generator : random.Random
        Decides where bytes are held up.
    """

    frame_ns = 125_000
    packet_bytes = 512

    FUNCTION: Final = 0x04
    """Address of the register that holds speed, termination and mode."""

    def __init__(self, dut: Any, generator: random.Random) -> None:
        self.dut = dut
        self.generator = generator
        self.registers = {self.FUNCTION: 0x41}
        self.chirp_ns = 0.0
        self._driven: int | None = None
        self._powered = True
        self._told = -1
        self._queue: deque[bytes] = deque()
        self._came: deque[bytes] = deque()
        self._event = Event()
        self._sent = Event()
        self._arrived = Event()

    async def start(self) -> None:
        dut = self.dut
        dut.ulpi_dir.value = dut.ulpi_nxt.value = dut.ulpi_data_i.value = 0
        Clock(dut.usb_clk, ULPI_PS, unit="ps").start()
        dut.usb_rst.value = 1
        await ClockCycles(dut.usb_clk, 8)
        dut.usb_rst.value = 0
        cocotb.start_soon(self._run())
        await Timer(10_000, "ns")

    async def send(self, packet: bytes) -> None:
        self._came.clear()
        self._sent.clear()
        self._queue.append(packet)
        self._event.set()
        await self._sent.wait()

    async def receive(self) -> bytes | None:
        if not self._came:
            self._arrived.clear()
            # 816 bits are the longest that a host waits for the answer to begin; a packet takes at most 9 us.
            await First(self._arrived.wait(), Timer(12_000, "ns"))
        return self._came.popleft() if self._came else None

    async def reset(self) -> None:
        self._drive(SE0)
        self.chirp_ns = 0.0
        for _ in range(12):
            if self.chirp_ns:
                break
            await Timer(MILLISECOND_NS, "ns")
        assert 1 <= self.chirp_ns / MILLISECOND_NS <= 7, f"a chirp of {self.chirp_ns} ns says that the device is one of high speed"
        for state in itertools.islice(itertools.cycle((K, J)), 8):
            self._drive(state)
            await Timer(MILLISECOND_NS // 20, "ns")
        self._drive(SE0)
        await Timer(10_000, "ns")
        assert self.registers[self.FUNCTION] & 0x1F == 0, "high speed, its termination, nothing special"
        self._drive(None)

    async def unplug(self) -> None:
        self._powered = False
        self._drive(SE0)
        await Timer(40_000, "ns")
        self._powered = True
        self._drive(None)
        await Timer(20_000, "ns")

    def _drive(self, state: int | None) -> None:
        """What the host puts on the lines."""
        self._driven = state
        self._event.set()

    @property
    def _status(self) -> int:
        """The byte that tells lines, supply, and no packet."""
        # The device's pull-up, but at high speed.
        pulled = J if self.registers[self.FUNCTION] & 0x07 == 0x05 else SE0
        return (pulled if self._driven is None else self._driven) | (0b1100 if self._powered else 0)

    async def _run(self) -> None:
        dut = self.dut
        while True:
            if not int(dut.ulpi_data_o.value) and not self._queue and self._status == self._told:
                self._event.clear()
                await First(ValueChange(dut.ulpi_data_o), self._event.wait())
            await FallingEdge(dut.usb_clk)
            command = int(dut.ulpi_data_o.value)
            if command >> 6 == 0b10:
                await self._write_register(command & 0x3F)
            elif command >> 6 == 0b01:
                await self._transmit(command & 0x0F)
            elif self._status != self._told:
                await self._give([])
            elif self._queue:
                await self._give(list(self._queue.popleft()))
                self._sent.set()

    async def _tick(self, nxt: int) -> None:
        self.dut.ulpi_nxt.value = nxt
        await FallingEdge(self.dut.usb_clk)

    async def _write_register(self, address: int) -> None:
        await self._tick(1)
        value = int(self.dut.ulpi_data_o.value)
        await self._tick(1)
        self.dut.ulpi_nxt.value = 0
        assert int(self.dut.ulpi_stp.value), "a write ends after its byte"
        self.registers[address] = value

    async def _transmit(self, pid: int) -> None:
        dut = self.dut
        begin = get_sim_time("ns")
        await self._tick(1)
        if not pid:
            # A chirp: bytes as long as it lasts.
            if not int(dut.ulpi_stp.value):
                await RisingEdge(dut.ulpi_stp)
            await FallingEdge(dut.usb_clk)
            dut.ulpi_nxt.value = 0
            self.chirp_ns = get_sim_time("ns") - begin
            return
        packet = [pid | (pid ^ 0xF) << 4]
        while not int(dut.ulpi_stp.value):
            packet.append(int(dut.ulpi_data_o.value))
            await self._tick(1)
            while self.generator.random() < 0.05 and not int(dut.ulpi_stp.value):
                await self._tick(0)
        dut.ulpi_nxt.value = 0
        self._came.append(bytes(packet))
        self._arrived.set()

    async def _give(self, packet: list[int]) -> None:
        """Take the bus, and give the device a packet, or tell it the state of the lines alone."""
        dut = self.dut
        dut.ulpi_dir.value = 1
        await self._tick(1 if packet else 0)
        if packet:
            # Activity, and the lines no longer quiet.
            dut.ulpi_data_i.value = 0b1_0000 | 0b1100 | J
            await self._tick(0)
            for byte in packet:
                while self.generator.random() < 0.05:
                    dut.ulpi_data_i.value = 0b1_0000 | 0b1100 | J
                    await self._tick(0)
                dut.ulpi_data_i.value = byte
                await self._tick(1)
        self._told = self._status
        dut.ulpi_data_i.value = self._told
        await self._tick(0)
        dut.ulpi_dir.value = 0
        dut.ulpi_data_i.value = 0
        # The bus turns round before the device may drive it.
        await self._tick(0)


class PinsLine:
    """The bare lines at full speed, bit by bit.

    Parameters
    ----------
    dut : cocotb handle
    generator : random.Random
        Decides how much the host's clock is off.
    """

    frame_ns = 1_000_000
    packet_bytes = 64

    def __init__(self, dut: Any, generator: random.Random) -> None:
        self.dut = dut
        # A host is right to 500 ppm, a device to 2500.
        self.bit_ps = 2 * round(2 * PINS_PS * (1 + generator.uniform(-0.0025, 0.0025)))
        self.generator = generator

    async def start(self) -> None:
        dut = self.dut
        self._drive(SE0)
        dut.usb_rst.value = dut.usb_io_rst.value = 1
        # Both from one PLL.
        Clock(dut.usb_io_clk, PINS_PS, unit="ps").start()
        Clock(dut.usb_clk, 4 * PINS_PS, unit="ps").start()
        await ClockCycles(dut.usb_clk, 4)
        dut.usb_rst.value = dut.usb_io_rst.value = 0
        await ClockCycles(dut.usb_clk, 4)
        assert int(dut.usb_pullup.value), "the device shows that it is there"
        self._drive(J)
        await Timer(100_000, "ns")

    async def send(self, packet: bytes) -> None:
        bits = [0] * 7 + [1] + [byte >> index & 1 for byte in packet for index in range(8)]
        state, ones = J, 0
        for bit in bits:
            state = state if bit else state ^ 0b11
            ones = ones + 1 if bit else 0
            await self._put(state)
            if ones == 6:
                state, ones = state ^ 0b11, 0
                await self._put(state)
        for state in (SE0, SE0, J):
            await self._put(state)

    async def receive(self) -> bytes | None:
        dut = self.dut
        # A host waits for 18 bits.
        waited = Timer(18 * self.bit_ps, "ps")
        if not int(dut.usb_dp_oe.value) and await First(RisingEdge(dut.usb_dp_oe), waited) is waited:
            return None
        bits, before, ones = [], J, 0
        await Timer(self.bit_ps // 2, "ps")
        while int(dut.usb_dp_oe.value):
            state = int(dut.usb_dp_o.value) | int(dut.usb_dn_o.value) << 1
            self._drive(state)
            if state != SE0:
                bit = int(state == before)
                if ones != 6:
                    bits.append(bit)
                else:
                    assert not bit, "six ones are followed by a zero"
                ones = ones + 1 if bit else 0
                before = state
            # The device's clock is not the host's: the middle of a bit is told from the last change.
            whole = Timer(self.bit_ps, "ps")
            if await First(ValueChange(dut.usb_dp_o), ValueChange(dut.usb_dn_o), whole) is not whole:
                await Timer(self.bit_ps // 2, "ps")
        self._drive(J)
        await Timer(2 * self.bit_ps, "ps")
        # The last state before the driver is off is the idle one.
        start = bits.index(1) + 1
        count = (len(bits) - start) // 8
        return bytes(sum(bits[start + 8 * place + index] << index for index in range(8)) for place in range(count))

    async def reset(self) -> None:
        self._drive(SE0)
        await Timer(200_000, "ns")
        self._drive(J)
        await Timer(20_000, "ns")

    async def unplug(self) -> None:
        # Without its host's supply a device is without a host: on bare lines that is the same as a reset without end.
        await self.reset()

    def _drive(self, state: int) -> None:
        self.dut.usb_dp_i.value = state & 1
        self.dut.usb_dn_i.value = state >> 1

    async def _put(self, state: int) -> None:
        self._drive(state)
        await Timer(self.bit_ps, "ps")


LINES: Final[dict[str, type[UlpiLine] | type[PinsLine]]] = {"ulpi": UlpiLine, "pins": PinsLine}
"""Lines by PHY."""
