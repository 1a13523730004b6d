# SPDX-License-Identifier: Apache-2.0
"""PCIe: packets in transfers through the character devices of a DMA driver."""

import errno
import io
import mmap
import os
import re
import secrets
import select
import stat
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from ..firmware.errors import FrennError, LinkError
from ..firmware.protocol import ANSWER, Status, Words, request
from ..firmware.transfer import COUNT_BITS, LAST, MARK, TransferDecoder, join
from .exchange import words
from .lock import BusyError, Lock

PREFIX: Final = "pcie:"
"""Begins what names a board on PCIe."""

WRITE_BYTES: Final = 1 << 16
"""Bytes of a transfer to the device at the most, unless one packet is longer."""

READ_BYTES: Final = 1 << 16
"""Bytes that are asked of the device at once: it gives fewer when its transfer ends."""

OPEN_SECONDS: Final = 3.0
"""Time in which the device must answer at first."""

CLOSE_SECONDS: Final = 1.0
"""Time in which a read should end when the link is closed."""

SYNC: Final = 0x7F
"""A command that no device knows: its answers tell where a new session begins."""

OPENING: Final = re.compile(
    rb"(?:\x01\x00%b%c.\x00\x00){4}" % (re.escape((MARK | LAST >> COUNT_BITS).to_bytes(2, "little")), SYNC), re.DOTALL
)
"""What a session begins with, on its way to the device."""

_RETRIED: Final = (errno.ETIMEDOUT, 512)
"""How a driver tells that nothing has come for a while; 512 is the kernel's own ERESTARTSYS, which some let through."""


@dataclass(frozen=True)
class DmaAddress:
    """A DMA core's first channels.

    Parameters
    ----------
    path : str
        What the names of its character devices begin with, as ``/dev/xdma0``.
    """

    path: str

    def __str__(self) -> str:
        return f"{PREFIX}{self.path}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of ``pcie:PATH``.

        Raises
        ------
        FrennError
            If there is no path.
        """
        path = text.removeprefix(PREFIX)
        if not path.strip("/"):
            raise FrennError(f"{text!r} names no DMA device; name one, as in --on {PREFIX}/dev/xdma0")
        return cls(path)

    @property
    def to_device(self) -> Path:
        return Path(f"{self.path}_h2c_0")

    @property
    def from_device(self) -> Path:
        return Path(f"{self.path}_c2h_0")


@dataclass
class DmaStatistics:
    """What a link has moved."""

    writes: int = 0
    packets_sent: int = 0
    reads: int = 0
    packets_received: int = 0


class DmaLink:
    """Carries packets through a pair of character devices: a driver's transport.

    Packets that are sent while others are under way wait, and go together in one write when there are half as many, when the line
    has nothing for the host, or when a transfer is full. A thread reads whenever an answer is due, so that the device never waits for
    the host to take answers.

    Parameters
    ----------
    address : DmaAddress
    open_seconds : float
        Time in which the device must answer at first.

    Attributes
    ----------
    statistics : DmaStatistics

    Raises
    ------
    LinkError
        If a device cannot be opened or does not answer; the message names the cause and the remedy.
    """

    def __init__(self, address: DmaAddress, *, open_seconds: float = OPEN_SECONDS) -> None:
        self.address = address
        self.statistics = DmaStatistics()
        self._waiting: list[Words] = []
        self._waiting_bytes = 0
        self._answers: deque[Words] = deque()
        self._decoder = TransferDecoder()
        # Requests whose answers have not come; the reader's, like the answers, under the condition.
        self._due = 0
        self._changed = threading.Condition()
        self._failure: LinkError | None = None
        self._closed = False
        self._out = -1
        self._lock: Lock | None = None
        self._reader: threading.Thread | None = None
        try:
            self._lock = self._hold()
            self._out = self._open(address.to_device, os.O_WRONLY)
            # The driver ends a read where the device's transfer ends if the file was opened to be truncated.
            self._in = self._open(address.from_device, os.O_RDONLY | os.O_TRUNC)
        except BaseException:
            self.close()
            raise
        # The thread owns the file that it reads, and may outlive the link by one read of a driver that knows no poll.
        opening, pattern = _opening()
        self._sync = _Sync(pattern)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._reader = threading.Thread(target=self._read, name=f"reader of {address.path}", daemon=True)
        self._reader.start()
        try:
            self._begin(opening, open_seconds)
        except BaseException:
            self.close()
            raise

    def send(self, packet: Words) -> None:
        """Queue a packet, (words,) uint32 with at least one word.

        Raises
        ------
        LinkError
            If the device is gone or the link closed.
        """
        self._check()
        size = 4 * len(packet) + 4
        if self._waiting and self._waiting_bytes + size > WRITE_BYTES:
            self._flush()
        self._waiting.append(packet)
        self._waiting_bytes += size
        if 2 * len(self._waiting) > self._due:
            self._flush()

    def receive(self, timeout: float) -> Words:
        """The next packet, (words,) uint32.

        Raises
        ------
        LinkError
            If it is not complete after ``timeout`` seconds, or the device is gone or the link closed.
        """
        if not self._answers:
            self._check()
            self._flush()
            with self._changed:
                if not self._changed.wait_for(lambda: self._answers or self._failure, timeout):
                    raise LinkError(f"DMA device {self.address.path} has sent nothing for {timeout:g} s; load the bitstream again")
        if not self._answers:
            self._check()
        return self._answers.popleft()

    def close(self) -> None:
        """Release the devices; may be called again. Packets that are still under way are given up."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._reader is not None:
            os.eventfd_write(self._wake, 1)
            self._reader.join(CLOSE_SECONDS)
            if not self._reader.is_alive():
                os.close(self._wake)
            self._reader = None
        if self._out >= 0:
            os.close(self._out)
            self._out = -1
        if self._lock is not None:
            self._lock.close()

    def _hold(self) -> Lock | None:
        path = self.address.to_device
        if not path.exists():
            raise LinkError(self._reason(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), path))
        try:
            return Lock(path, f"DMA device {self.address.path}")
        except BusyError as error:
            raise LinkError(str(error)) from None

    def _open(self, path: Path, flags: int) -> int:
        file = -1
        try:
            # Nothing must wait for another end; reads and writes shall.
            file = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
            kind = os.fstat(file).st_mode
            if not (stat.S_ISCHR(kind) or stat.S_ISFIFO(kind)):
                raise LinkError(f"{path} is no DMA device; name one, as in --on {PREFIX}/dev/xdma0")
            os.set_blocking(file, True)
        except OSError as error:
            if file >= 0:
                os.close(file)
            raise LinkError(self._reason(error, path)) from None
        except BaseException:
            os.close(file)
            raise
        return file

    def _reason(self, error: OSError, path: Path) -> str:
        what = f"DMA device {self.address.path}"
        if error.errno == errno.ENOENT:
            others = sorted(str(other).removesuffix("_h2c_0") for other in Path("/dev").glob("xdma*_h2c_0"))
            hint = f"or use {', '.join(PREFIX + other for other in others)}" if others else "and look for the board with lspci"
            return f"there is no {what} ({path} is missing); load its driver (sudo modprobe xdma), {hint}"
        if error.errno in (errno.EACCES, errno.EPERM):
            return f"no permission for {path}; let yourself use it (sudo chmod a+rw {self.address.path}_*), or for good by a udev rule"
        if error.errno == errno.EBUSY:
            return f"{what} is busy; close the other program that uses it (fuser {path} tells which)"
        if error.errno in (errno.ENXIO, errno.ENODEV):
            return f"{what} is not there any more; load the bitstream, then the driver again"
        return f"{path} cannot be opened: {error.strerror or error}"

    def _begin(self, opening: list[Words], seconds: float) -> None:
        """Find where the answers of this session begin: what an earlier program left is passed over."""
        self._write(join(opening))
        if not self._sync.found.wait(seconds):
            seen = self._sync.seen
            came = f"{seen} bytes came, but not its answer" if seen else "nothing came"
            raise LinkError(
                f"DMA device {self.address.path} has not answered in {seconds:g} s: {came}; "
                "check that a frenn bitstream is loaded and runs, then load the driver again"
            )
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise LinkError("the line is closed; open the device again")

    def _flush(self) -> None:
        if not self._waiting:
            return
        with self._changed:
            self._due += len(self._waiting)
            self._changed.notify_all()
        data = join(self._waiting)
        self.statistics.packets_sent += len(self._waiting)
        self._waiting = []
        self._waiting_bytes = 0
        self._write(data)

    def _write(self, data: bytes) -> None:
        self.statistics.writes += 1
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._out, left) :]
        except OSError as error:
            raise self._gone(error) from None

    def _gone(self, error: OSError) -> LinkError:
        if error.errno in _RETRIED:
            return LinkError(f"DMA device {self.address.path} takes nothing; load the bitstream, then the driver again")
        return LinkError(f"DMA device {self.address.path} is gone ({error.strerror or error}); load the bitstream, then the driver again")

    def _read(self) -> None:
        """Read while answers are due: the reader's thread."""
        try:
            # Whole pages of its own, which a driver maps as they are.
            with mmap.mmap(-1, READ_BYTES) as buffer, io.FileIO(self._in) as file:
                poll = select.poll()
                poll.register(file, select.POLLIN)
                poll.register(self._wake, select.POLLIN)
                while self._wanted():
                    # The driver's devices are always ready, and wait in the read.
                    if self._wake in dict(poll.poll()):
                        break
                    try:
                        count = file.readinto(buffer)
                    except OSError as error:
                        if error.errno in _RETRIED:
                            continue
                        raise self._gone(error) from None
                    if not count:
                        raise self._gone(OSError(errno.EPIPE, os.strerror(errno.EPIPE)))
                    self._take(buffer[:count])
        except LinkError as error:
            with self._changed:
                self._failure = error
                self._sync.found.set()
                self._changed.notify_all()

    def _wanted(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._due > 0 or not self._sync.found.is_set())
            return not self._closed

    def _take(self, data: bytes) -> None:
        self.statistics.reads += 1
        if not self._sync.found.is_set():
            data = self._sync.feed(data)
        packets = self._decoder.feed(data)
        with self._changed:
            self._answers.extend(packets)
            self._due -= len(packets)
            self.statistics.packets_received += len(packets)
            self._changed.notify_all()


class _Sync:
    """Looks for the answers that open a session."""

    def __init__(self, pattern: bytes) -> None:
        self.pattern = pattern
        self.found = threading.Event()
        self.seen = 0
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        """What follows those answers; empty before."""
        self.seen += len(data)
        self._tail += data
        place = self._tail.find(self.pattern)
        if place < 0:
            self._tail = self._tail[-len(self.pattern) :]
            return b""
        self.found.set()
        return self._tail[place + len(self.pattern) :]


def _opening() -> tuple[list[Words], bytes]:
    """Requests that open a session, and the bytes that answer them: nothing older looks like them."""
    tags = secrets.token_bytes(4)
    # No member of `Command`, but built alike.
    packets = [request(SYNC, 0, words(), tag) for tag in tags]  # type: ignore[arg-type]
    return packets, join([words(SYNC | ANSWER | tag << 8 | Status.UNKNOWN_COMMAND << 16) for tag in tags])
