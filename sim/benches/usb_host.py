# SPDX-License-Identifier: Apache-2.0
"""A USB host's model: enumeration, control and bulk transfers by the rules of USB 2.0, chapter 8, and a line that it can damage."""

import random
from collections import Counter
from typing import Final

from cocotb.triggers import Timer
from cocotb.utils import get_sim_time

from ...firmware.usb import ENDPOINT
from .usb_lines import Line

OUT, ACK, DATA0, PING, SOF, NAK, DATA1, IN, SETUP, STALL = 0xE1, 0xD2, 0xC3, 0xB4, 0xA5, 0x5A, 0x4B, 0x69, 0x2D, 0x1E
"""Packet identifiers, each with its complement."""

GET_DESCRIPTOR, SET_ADDRESS, SET_CONFIGURATION, CLEAR_FEATURE = 6, 5, 9, 1
DEVICE, CONFIGURATION, STRING = 1, 2, 3

TRIES: Final = 3
"""Times that a host tries a transaction to which it hears nothing."""

PATIENCE: Final = 20_000
"""Times that an endpoint may say that it is busy."""


def crc(value: int, bits: int, width: int, polynomial: int) -> int:
    """CRC of ``bits`` bits, the lowest first, as it is sent: the polynomial is written from its lowest power on."""
    rest = (1 << width) - 1
    for index in range(bits):
        rest = rest >> 1 ^ (polynomial if (rest ^ value >> index) & 1 else 0)
    return rest ^ (1 << width) - 1


def token(pid: int, value: int) -> bytes:
    """A token of 11 bits: address and endpoint, or a frame's number."""
    return bytes([pid]) + (value | crc(value, 11, 5, 0x14) << 11).to_bytes(2, "little")


def data_crc(payload: bytes) -> bytes:
    """The two bytes that follow a packet's data."""
    rest = 0xFFFF
    for byte in payload:
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ (0xA001 if rest & 1 else 0)
    return (rest ^ 0xFFFF).to_bytes(2, "little")


class Stalled(Exception):
    """The device refused a request."""


class UsbHost:
    """A host with one device on its line.

    Parameters
    ----------
    line : Line
    generator : random.Random
    damage : float
        Probability that a packet of a bulk transfer, or its acknowledgement, is damaged or lost, each way.

    Attributes
    ----------
    seen : Counter
        What happened, and how often: ``nak``, ``ping``, ``lost data``, ``lost acknowledgement``, ``repeated``, ...
    """

    def __init__(self, line: Line, generator: random.Random, damage: float = 0.0) -> None:
        self.line = line
        self.generator = generator
        self.damage = damage
        self.seen: Counter[str] = Counter()
        self.address = 0
        self.toggles = {IN: DATA0, OUT: DATA0}
        self.strings: list[str] = []
        self._frame = 0
        self._due = 0.0
        self._ping = False

    async def idle(self, nanoseconds: float) -> None:
        """Let time pass, with nothing on the line but starts of frames."""
        end = get_sim_time("ns") + nanoseconds
        while get_sim_time("ns") < end:
            await self._start_frame()
            await Timer(1 + round(min(end - get_sim_time("ns"), self.line.frame_ns / 4)), "ns")

    async def enumerate(self) -> None:
        """Reset the bus, find out what the device is, give it an address, and configure it."""
        await self.line.reset()
        self.address = 0
        self._due = 0.0
        await self.idle(20_000)
        head = await self.control_in(0x80, GET_DESCRIPTOR, DEVICE << 8, 0, 64)
        assert len(head) == head[0] == 18
        await self.control_out(0x00, SET_ADDRESS, 5, 0)
        self.address = 5
        await self.idle(20_000)
        self.device = await self.control_in(0x80, GET_DESCRIPTOR, DEVICE << 8, 0, 18)
        assert self.device == head
        short = await self.control_in(0x80, GET_DESCRIPTOR, CONFIGURATION << 8, 0, 9)
        size = int.from_bytes(short[2:4], "little")
        self.configuration = await self.control_in(0x80, GET_DESCRIPTOR, CONFIGURATION << 8, 0, size)
        assert len(self.configuration) == size and self.configuration[:9] == short
        self.strings = [await self._string(index) for index in (*self.device[14:17], self.configuration[17])]
        await self.configure()

    async def configure(self) -> None:
        """Choose the configuration, which begins both toggles anew."""
        await self.control_out(0x00, SET_CONFIGURATION, self.configuration[5], 0)
        self.toggles = {IN: DATA0, OUT: DATA0}
        self._ping = False

    async def clear_halt(self) -> None:
        """Begin both toggles anew, and nothing else."""
        for endpoint in (ENDPOINT, 0x80 | ENDPOINT):
            await self.control_out(0x02, CLEAR_FEATURE, 0, endpoint)
        self.toggles = {IN: DATA0, OUT: DATA0}

    async def _string(self, index: int) -> str:
        descriptor = await self.control_in(0x80, GET_DESCRIPTOR, STRING << 8 | index, 0x0409, 255)
        assert len(descriptor) == descriptor[0] and descriptor[1] == STRING
        return descriptor[2:].decode("utf-16-le")

    async def control_in(self, kind: int, request: int, value: int, index: int, length: int) -> bytes:
        """A request with an answer, of at most ``length`` bytes.

        Raises
        ------
        Stalled
        """
        await self._setup(kind, request, value, index, length)
        data, toggle = b"", DATA1
        while True:
            part = await self._control_in(toggle)
            data += part
            toggle ^= DATA0 ^ DATA1
            if len(part) < 64 or len(data) >= length:
                break
        await self._control_out(b"")
        return data

    async def control_out(self, kind: int, request: int, value: int, index: int) -> None:
        """A request without data.

        Raises
        ------
        Stalled
        """
        await self._setup(kind, request, value, index, 0)
        assert await self._control_in(DATA1) == b""

    async def _setup(self, kind: int, request: int, value: int, index: int, length: int) -> None:
        packet = bytes([kind, request]) + b"".join(part.to_bytes(2, "little") for part in (value, index, length))
        await self._start_frame()
        await self.line.send(token(SETUP, self.address))
        await self.line.send(bytes([DATA0]) + packet + data_crc(packet))
        assert await self.line.receive() == bytes([ACK]), "a device takes every setup"

    async def _control_in(self, toggle: int) -> bytes:
        for _ in range(PATIENCE):
            await self._start_frame()
            await self.line.send(token(IN, self.address))
            packet = await self.line.receive()
            assert packet is not None
            if packet[0] == STALL:
                raise Stalled
            if packet[0] != NAK:
                break
        else:
            raise AssertionError("the device has no answer")
        assert packet[0] == toggle and data_crc(packet[1:-2]) == packet[-2:], packet.hex()
        await self.line.send(bytes([ACK]))
        return packet[1:-2]

    async def _control_out(self, data: bytes) -> None:
        for _ in range(PATIENCE):
            await self._start_frame()
            await self.line.send(token(OUT, self.address))
            await self.line.send(bytes([DATA1]) + data + data_crc(data))
            packet = await self.line.receive()
            if packet != bytes([NAK]):
                break
        if packet == bytes([STALL]):
            raise Stalled
        assert packet == bytes([ACK])

    async def bulk_out(self, data: bytes) -> None:
        """Send a transfer of at least one byte; it ends with a short packet or with none."""
        for start in range(0, len(data), self.line.packet_bytes):
            for _ in range(PATIENCE):
                if await self.try_out(data[start : start + self.line.packet_bytes]):
                    break
            else:
                raise AssertionError("the device takes nothing")

    async def try_out(self, payload: bytes) -> bool:
        """Send a bulk packet, until it was heard; whether it was taken."""
        await self._start_frame()
        value = self.address | ENDPOINT << 7
        if self._ping:
            # At high speed a host asks for room before it sends all of it again.
            self.seen["ping"] += 1
            await self.line.send(token(PING, value))
            if await self.line.receive() != bytes([ACK]):
                return False
            self._ping = False
        packet = bytes([self.toggles[OUT]]) + payload + data_crc(payload)
        for _ in range(TRIES):
            await self.line.send(token(OUT, value))
            if self._damaged("lost data"):
                place = self.generator.randrange(1, len(packet))
                bad = bytearray(packet)
                bad[place] ^= 1 << self.generator.randrange(8)
                await self.line.send(bytes(bad))
                assert await self.line.receive() is None, "a damaged packet has no answer"
                continue
            await self.line.send(packet)
            answer = await self.line.receive()
            if answer == bytes([NAK]):
                self.seen["nak out"] += 1
                self._ping = self.line.packet_bytes == 512
                return False
            assert answer == bytes([ACK]), answer
            if self._damaged("lost acknowledgement"):
                continue
            break
        else:
            # A real host would give up; this one knows that it was its own damage, and lets the last try count.
            await self.line.send(token(OUT, value))
            await self.line.send(packet)
            answer = await self.line.receive()
            if answer == bytes([NAK]):
                return False
            assert answer == bytes([ACK]), answer
        self.toggles[OUT] ^= DATA0 ^ DATA1
        return True

    async def try_in(self) -> bytes | None:
        """Ask for a bulk packet: its data, or None if there is none."""
        while True:
            await self._start_frame()
            await self.line.send(token(IN, self.address | ENDPOINT << 7))
            packet = await self.line.receive()
            assert packet is not None, "a device that is configured answers"
            if packet[0] == NAK:
                self.seen["nak in"] += 1
                return None
            assert packet[0] in (DATA0, DATA1), packet.hex()
            assert data_crc(packet[1:-2]) == packet[-2:], packet.hex()
            if self._damaged("not acknowledged"):
                continue
            repeated = packet[0] != self.toggles[IN]
            if not repeated and self._damaged("acknowledgement lost"):
                # It was taken, but the device does not know.
                self.toggles[IN] ^= DATA0 ^ DATA1
                assert await self._repeat() == packet, "a packet that was not acknowledged comes again, with its toggle"
                return packet[1:-2]
            await self.line.send(bytes([ACK]))
            assert not repeated, "the device's toggle is that of the host"
            self.toggles[IN] ^= DATA0 ^ DATA1
            return packet[1:-2]

    async def _repeat(self) -> bytes | None:
        self.seen["repeated"] += 1
        await self.line.send(token(IN, self.address | ENDPOINT << 7))
        packet = await self.line.receive()
        await self.line.send(bytes([ACK]))
        return packet

    def _damaged(self, what: str) -> bool:
        if self.generator.random() >= self.damage:
            return False
        self.seen[what] += 1
        return True

    async def _start_frame(self) -> None:
        now = get_sim_time("ns")
        if now >= self._due:
            self._due = now + self.line.frame_ns
            self._frame = (self._frame + 1) % 2048
            await self.line.send(token(SOF, self._frame))
