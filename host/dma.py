# SPDX-License-Identifier: Apache-2.0
"""PCIe: packets in transfers through the character devices of a DMA driver."""

import errno
import io
import mmap
import os
import select
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from ..firmware.errors import FrennError, LinkError
from .lock import BusyError, Lock
from .transfer_link import OPEN_SECONDS, TransferLink

PREFIX: Final = "pcie:"
"""Begins what names a board on PCIe."""

READ_BYTES: Final = 1 << 16
"""Bytes that are asked of the device at once: it gives fewer when its transfer ends."""

CLOSE_SECONDS: Final = 1.0
"""Time in which a read should end when the link is closed."""

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


class DmaLink(TransferLink):
    """Carries packets through a pair of character devices: a driver's transport.

    A thread reads whenever an answer is due.

    Parameters
    ----------
    address : DmaAddress
    open_seconds : float
        Time in which the device must answer at first.

    Raises
    ------
    LinkError
        If a device cannot be opened or does not answer; the message names the cause and the remedy.
    """

    remedy = "load the driver again"

    def __init__(self, address: DmaAddress, *, open_seconds: float = OPEN_SECONDS) -> None:
        self.address = address
        self.name = f"DMA device {address.path}"
        super().__init__()
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
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._reader = threading.Thread(target=self._read, name=f"reader of {address.path}", daemon=True)
        self._reader.start()
        try:
            self._begin(open_seconds)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
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
            return Lock(path, self.name)
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
        if error.errno == errno.ENOENT:
            others = sorted(str(other).removesuffix("_h2c_0") for other in Path("/dev").glob("xdma*_h2c_0"))
            hint = f"or use {', '.join(PREFIX + other for other in others)}" if others else "and look for the board with lspci"
            return f"there is no {self.name} ({path} is missing); load its driver (sudo modprobe xdma), {hint}"
        if error.errno in (errno.EACCES, errno.EPERM):
            return f"no permission for {path}; let yourself use it (sudo chmod a+rw {self.address.path}_*), or for good by a udev rule"
        if error.errno == errno.EBUSY:
            return f"{self.name} is busy; close the other program that uses it (fuser {path} tells which)"
        if error.errno in (errno.ENXIO, errno.ENODEV):
            return f"{self.name} is not there any more; load the bitstream, then the driver again"
        return f"{path} cannot be opened: {error.strerror or error}"

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
            return LinkError(f"{self.name} takes nothing; load the bitstream, then the driver again")
        return LinkError(f"{self.name} is gone ({error.strerror or error}); load the bitstream, then the driver again")

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
            self._fail(error)

    def _wanted(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._due > 0 or not self._search.found)
            return not self._closed
