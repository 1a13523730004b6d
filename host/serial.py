# SPDX-License-Identifier: Apache-2.0
"""Serial ports: which one a board is on, and the bytes on it."""

import errno
import os
import select
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import serial
from serial.tools import list_ports

from ..firmware.errors import FrennError, LinkError
from .link import ByteLink, ByteLinkParameters
from .lock import BusyError, Lock

WAIT: Final = 0.001
"""Seconds that a read waits for the first byte."""

BAUDS: Final = (3_000_000, 2_000_000, 1_000_000, 921_600, 115_200)
"""Rates that are tried where none is given, in this order."""


@dataclass(frozen=True)
class Adapter:
    """What a board says of itself on the USB.

    Parameters
    ----------
    vendor, product : int
        USB identity.
    interface : int or None
        Where one chip makes several ports, the one that is wired to the FPGA as a serial line.
    boards : str
    """

    vendor: int
    product: int
    interface: int | None
    boards: str


ADAPTERS: Final = (
    Adapter(0x0403, 0x6015, None, "ULX3S (FT231X)"),
    Adapter(0x0403, 0x6010, 1, "iCEBreaker, Arty, ECPIX-5 (FT2232H), Tang Nano 9K (BL702)"),
    Adapter(0x10C4, 0xEA70, 0, "KCU105 (CP2105)"),
)


@dataclass(frozen=True)
class SerialAddress:
    """A serial port and its rate.

    Parameters
    ----------
    path : str
    baud : int or None
        None if it is not known yet.
    """

    path: str
    baud: int | None = None

    def __str__(self) -> str:
        return self.path if self.baud is None else f"{self.path}:{self.baud}"

    @classmethod
    def parse(cls, text: str) -> "SerialAddress":
        """Of ``PATH`` or ``PATH:BAUD``.

        Raises
        ------
        FrennError
            If the rate is no legal one.
        """
        path, colon, rate = text.rpartition(":")
        if not colon or not rate.isdecimal() or Path(text).exists():
            return cls(text)
        if not 1 <= int(rate) <= 12_000_000:
            raise FrennError(f"serial port {path}: {rate} baud; legal are 1 to 12000000, and a port without a rate tries {_list(BAUDS)}")
        return cls(path, int(rate))


def find_ports() -> list[tuple[str, str]]:
    """Path and board of every serial port whose USB identity is a board's."""
    found = []
    for port in sorted(list_ports.comports(), key=lambda port: port.device):
        for adapter in ADAPTERS:
            if (port.vid, port.pid) != (adapter.vendor, adapter.product):
                continue
            # Linux ends the place of a port with configuration and interface, as in 1-2:1.1.
            interface = (port.location or "").rpartition(":1.")[2]
            if adapter.interface is None or not interface.isdecimal() or int(interface) == adapter.interface:
                found.append((port.device, f"{port.product or 'no name'}: {adapter.boards}"))
    return found


def find_port() -> str:
    """The path of the one serial port that a board is on.

    Raises
    ------
    FrennError
        If there is none, or more than one.
    """
    ports = find_ports()
    if not ports:
        others = [port.device for port in list_ports.comports()]
        seen = f"; other ports are {', '.join(sorted(others))}" if others else ""
        raise FrennError(f"no serial port has the USB identity of a board{seen}; plug the board in, or name its port: --on /dev/ttyUSB0")
    if len(ports) > 1:
        names = ", ".join(f"{path} ({what})" for path, what in ports)
        raise FrennError(f"{len(ports)} serial ports may be boards: {names}; choose one with --on")
    return ports[0][0]


class SerialPort:
    """A serial port, opened for this program alone: a `ByteStream`.

    Parameters
    ----------
    address : SerialAddress
        With its rate.

    Raises
    ------
    LinkError
        If it cannot be opened; the message names the cause and the remedy.
    """

    def __init__(self, address: SerialAddress) -> None:
        self.address = address
        path, baud = address.path, address.baud
        self._lock: Lock | None = None
        try:
            if Path(path).exists():
                # First, since it tells who holds the port.
                self._lock = Lock(Path(path), f"serial port {path}")
            self._port = serial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=True)
        except BusyError as error:
            raise LinkError(str(error)) from None
        except (OSError, ValueError) as error:
            self._release()
            raise LinkError(_reason(path, baud, error)) from None
        # The usual adapters keep a byte back for 16 ms otherwise. Not every kind of port knows the wish.
        with suppress(OSError, ValueError, AttributeError):
            self._port.set_low_latency_mode(True)
        with suppress(OSError, serial.SerialException):
            self._port.reset_input_buffer()

    def write(self, data: bytes) -> int:
        """Put bytes on the line without waiting; returns how many it took.

        Raises
        ------
        OSError
            If the port is gone.
        """
        try:
            return os.write(self._port.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._gone(error) from None

    def read(self, limit: int) -> bytes:
        """At most ``limit`` bytes that have arrived; waits `WAIT` for the first.

        Raises
        ------
        OSError
            If the port is gone.
        """
        try:
            ready, _, _ = select.select([self._port.fileno()], [], [], WAIT)
            if not ready:
                return b""
            data = os.read(self._port.fileno(), limit)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._gone(error) from None
        if not data:
            # A port that is there has something to read when it says so.
            raise self._gone(OSError(errno.EIO, os.strerror(errno.EIO)))
        return data

    def close(self) -> None:
        """Release the port; may be called again."""
        # What a vanished port has to say when it is closed helps nobody.
        with suppress(OSError):
            self._port.close()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def _gone(self, error: OSError) -> OSError:
        return OSError(error.errno, f"serial port {self.address.path} is gone ({error.strerror})")


def open_link(address: SerialAddress) -> tuple[ByteLink, SerialAddress]:
    """Open a session with the device on a serial port.

    Parameters
    ----------
    address : SerialAddress
        Without a rate, `BAUDS` are tried; a device takes what comes at another rate than its own for noise.

    Returns
    -------
    link : ByteLink
    address : SerialAddress
        With the rate.

    Raises
    ------
    LinkError
        If the port cannot be opened or no device opens a session.
    """
    bauds = BAUDS if address.baud is None else (address.baud,)
    for baud in bauds:
        port = SerialPort(replace(address, baud=baud))
        try:
            return ByteLink(port, ByteLinkParameters(open_seconds=3.0 if address.baud else 1.0)), port.address
        except LinkError as error:
            failure = error
    raise LinkError(f"serial port {address.path} at {_list(bauds)} baud: {failure}")


def _reason(path: str, baud: int | None, error: OSError | ValueError) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.ENOENT:
        ports = ", ".join(name for name, _ in find_ports())
        return f"there is no serial port {path}; plug the board in{f', or use {ports}' if ports else ', or name another port'}"
    if code in (errno.EACCES, errno.EPERM):
        return f"no permission for serial port {path}; join its group (sudo usermod -aG dialout $USER, then log in again)"
    if code in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in str(error):
        return f"serial port {path} is busy; close the other program that uses it (fuser {path} tells which)"
    if code in (errno.ENOTTY, errno.EINVAL, errno.EISDIR) or "Could not configure" in str(error):
        return f"{path} is no serial port; name one, as in --on /dev/ttyUSB0"
    if isinstance(error, ValueError):
        return f"serial port {path} cannot do {baud} baud ({error}); name another rate, as in --on {path}:115200"
    return f"serial port {path} cannot be opened: {error.strerror or error}"


def _list(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))
