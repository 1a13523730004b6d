# SPDX-License-Identifier: Apache-2.0
"""A line that lies: what lies between a host and the twin's bytes, and what goes wrong there, in the twin's own time."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from ..firmware.errors import FrennError

SLICE: Final = 128
"""Cycles that are simulated at once; bytes come and go between two slices."""
_DRAWS: Final = 4096


class ByteDevice(Protocol):
    """The simulated device at the end of the line; see `frenn.sim.twin.ByteTwin`."""

    @property
    def cycles(self) -> int:
        """Clock cycles simulated so far."""

    def write(self, data: bytes) -> int:
        """Queue bytes for the device."""

    def read(self, limit: int, cycles: int) -> bytes:
        """Simulate at most so many cycles and return the bytes that came."""

    def close(self) -> None:
        """Release the simulation."""


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What happens to each byte of a line, both ways, as probabilities.

    Parameters
    ----------
    change : float
        It becomes any other byte.
    delete : float
        It is lost.
    insert : float
        A random byte comes before it.
    duplicate : float
        It comes twice.
    delay : float
        It comes later, by up to ``delay_cycles``, and all after it too: the line keeps the order.
    delay_cycles : int
    """

    change: float = 0.0
    delete: float = 0.0
    insert: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    delay_cycles: int = 2_000

    def __post_init__(self) -> None:
        rates = (self.change, self.delete, self.insert, self.duplicate, self.delay)
        if min(rates) < 0 or sum(rates) > 1:
            raise FrennError(f"faults: the probabilities are {rates}; legal are numbers from 0 on with a sum up to 1")
        if self.delay_cycles < 1:
            raise FrennError(f"faults: delay_cycles is {self.delay_cycles}; legal is an integer from 1 on")

    @classmethod
    def each(cls, rate: float) -> "Faults":
        """Every kind at one rate."""
        return cls(change=rate, delete=rate, insert=rate, duplicate=rate, delay=rate)


class BadLine:
    """A line of a given speed to a simulated device, with faults and cuts: a byte stream for a host's link.

    Time is the device's: a run with the same seed and the same calls goes the same way to the last bit.

    Parameters
    ----------
    device : ByteDevice
        The line owns it and closes it.
    seed : int
    faults : Faults
    byte_cycles : int
        Cycles that a byte takes on the line, each way.
    frequency : float
        Cycles to a second of `clock`.
    buffer : int
        Bytes that wait at the host's end of the line, as in an operating system's buffer.
    cuts : sequence of (start, end)
        Cycles between which no byte gets through.

    Attributes
    ----------
    injected : dict
        Faults so far, by kind.
    carried : int
        Bytes that went onto the line, both ways.
    """

    def __init__(
        self,
        device: ByteDevice,
        seed: int,
        faults: Faults,
        *,
        byte_cycles: int = 16,
        frequency: float = 1e6,
        buffer: int = 4096,
        cuts: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._device = device
        self._frequency = frequency
        self._buffer = buffer
        self.injected = dict.fromkeys(("change", "delete", "insert", "duplicate", "delay", "cut"), 0)
        generators = [np.random.default_rng((seed, way)) for way in range(2)]
        self._there, self._back = (_Way(generator, faults, byte_cycles, cuts, self.injected) for generator in generators)

    @property
    def carried(self) -> int:
        return self._there.carried + self._back.carried

    @property
    def cycles(self) -> int:
        """The device's clock cycles so far."""
        return self._device.cycles

    def clock(self) -> float:
        """The device's time in seconds."""
        return self._device.cycles / self._frequency

    def write(self, data: bytes) -> int:
        """Put bytes on the line as far as its buffer takes them; returns how many."""
        taken = data[: max(self._buffer - self._there.waiting(self._device.cycles), 0)]
        self._there.put(taken, self._device.cycles)
        return len(taken)

    def read(self, limit: int) -> bytes:
        """Simulate a slice, and return at most ``limit`` bytes that have come."""
        now = self._device.cycles
        if arrived := self._there.take(now + SLICE, 1 << 30):
            self._device.write(arrived)
        end = now + SLICE
        while self._device.cycles < end:
            self._back.put(self._device.read(_DRAWS, end - self._device.cycles), self._device.cycles)
        return self._back.take(self._device.cycles, limit)

    def close(self) -> None:
        """Close the device."""
        self._device.close()


class _Way:
    """One direction: bytes with the cycles at which they arrive."""

    def __init__(
        self, generator: np.random.Generator, faults: Faults, byte_cycles: int, cuts: Sequence[tuple[int, int]], injected: dict[str, int]
    ) -> None:
        self.carried = 0
        self._generator, self._faults, self._byte_cycles, self._cuts, self._injected = generator, faults, byte_cycles, cuts, injected
        # When the last byte has left, and when the last one arrives.
        self._free = self._latest = 0
        self._bytes: deque[tuple[int, int]] = deque()
        self._draws = self._draw()

    def waiting(self, now: int) -> int:
        """Bytes that have not left yet."""
        return max(self._free - now, 0) // self._byte_cycles

    def put(self, data: bytes, now: int) -> None:
        """Bytes that begin to leave now, one after another."""
        for byte in data:
            self._free = max(self._free, now) + self._byte_cycles
            self.carried += 1
            if any(start <= self._free < end for start, end in self._cuts):
                self._injected["cut"] += 1
                continue
            chance, noise = next(self._draws)
            self._spoil(byte, chance, noise)

    def take(self, now: int, limit: int) -> bytes:
        """Bytes that have arrived."""
        arrived = bytearray()
        while self._bytes and self._bytes[0][0] <= now and len(arrived) < limit:
            arrived.append(self._bytes.popleft()[1])
        return bytes(arrived)

    def _spoil(self, byte: int, chance: float, noise: int) -> None:
        kind = None
        for name in ("change", "delete", "insert", "duplicate", "delay"):
            chance -= getattr(self._faults, name)
            if chance < 0:
                kind = name
                self._injected[name] += 1
                break
        arrival = max(self._free, self._latest)
        if kind == "delay":
            arrival += 1 + noise % self._faults.delay_cycles
        self._latest = arrival
        if kind == "insert":
            self._bytes.append((arrival, noise & 0xFF))
        if kind == "change":
            byte ^= 1 + noise % 255
        if kind != "delete":
            self._bytes.append((arrival, byte))
        if kind == "duplicate":
            self._bytes.append((arrival, byte))

    def _draw(self) -> Iterator[tuple[float, int]]:
        while True:
            yield from zip(self._generator.random(_DRAWS).tolist(), self._generator.integers(1 << 31, size=_DRAWS).tolist(), strict=True)
