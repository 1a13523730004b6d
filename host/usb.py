# SPDX-License-Identifier: Apache-2.0
"""USB: packets in transfers through a board's bulk endpoints, several of them in flight each way."""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ..firmware.errors import LinkError
from ..firmware.transfer import ENDING
from ..firmware.usb import ENDPOINT
from .lock import BusyError, Lock
from .transfer_link import OPEN_SECONDS, TransferLink
from .usb_boards import UsbAddress, UsbBoard, find_board, open_library

TRANSFERS: Final = 4
"""Transfers in flight each way, so that the bus is asked for the next one before the last is done."""

TRANSFER_BYTES: Final = 1 << 14
"""Bytes of one of them; a whole number of packets at any speed."""

WRITE_SECONDS: Final = 30.0
"""Time in which the board must take something."""

CLOSE_SECONDS: Final = 1.0
"""Time in which transfers should end when the link is closed."""

EVENT_SECONDS: Final = 0.1
"""Time after which the thread of events looks whether it is wanted."""


class UsbLink(TransferLink):
    """Carries packets through the bulk endpoints of a board on the USB: a driver's transport.

    Transfers from the board are in flight at all times, and a thread takes what comes.

    Parameters
    ----------
    address : UsbAddress
    context : usb1.USBContext, optional
        Another one than libusb's; closed with the link.
    open_seconds : float
        Time in which the board must answer at first.

    Attributes
    ----------
    board : UsbBoard

    Raises
    ------
    LinkError
        If there is no such board, or it cannot be used or does not answer; the message names the cause and the remedy.
    FrennError
        If this computer has no USB.
    """

    remedy = "plug it in again"

    def __init__(self, address: UsbAddress, *, context: Any = None, open_seconds: float = OPEN_SECONDS) -> None:
        super().__init__()
        self._free: list[Any] = []
        self._flying: set[Any] = set()
        self._handle: Any = None
        self._lock: Lock | None = None
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._context = open_library() if context is None else context
        try:
            self.board = find_board(self._context, address)
            self.name = self.board.name
            self._lock = self._hold(self.board.path)
            self._handle = self._open(self.board)
            self._free = [self._handle.getTransfer() for _ in range(TRANSFERS)]
            self._thread = threading.Thread(target=self._serve, name=f"events of {self.name}", daemon=True)
            self._thread.start()
            for _ in range(TRANSFERS):
                transfer = self._handle.getTransfer()
                transfer.setBulk(0x80 | ENDPOINT, TRANSFER_BYTES, callback=self._came, timeout=0)
                self._submit(transfer)
            # A program that died may have left a transfer torn.
            self._write(ENDING)
            self._begin(open_seconds)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        with self._changed:
            self._closed = True
            flying = list(self._flying)
            self._changed.notify_all()
        for transfer in flying:
            self._cancel(transfer)
        if self._thread is not None:
            with self._changed:
                self._changed.wait_for(lambda: not self._flying, CLOSE_SECONDS)
            self._stopped = True
            self._thread.join()
            self._thread = None
        if self._handle is not None:
            self._release(self._handle)
            self._handle = None
        if self._context is not None:
            self._context.close()
            self._context = None
        if self._lock is not None:
            self._lock.close()

    def _hold(self, path: Path) -> Lock:
        try:
            return Lock(path, self.name)
        except BusyError as error:
            raise LinkError(str(error)) from None

    def _open(self, board: UsbBoard) -> Any:
        import usb1

        handle = None
        try:
            handle = board.device.open()
            handle.claimInterface(0)
        except usb1.USBError as error:
            if handle is not None:
                handle.close()
            if isinstance(error, usb1.USBErrorBusy):
                raise LinkError(f"{self.name} is busy; close the other program that uses it (fuser {board.path} tells which)") from None
            raise LinkError(f"{self.name} cannot be opened ({error}); plug it in again") from None
        return handle

    @staticmethod
    def _release(handle: Any) -> None:
        import usb1

        # It may be gone.
        with suppress(usb1.USBError):
            handle.releaseInterface(0)
        handle.close()

    def _submit(self, transfer: Any) -> None:
        """Put a transfer in flight, unless the link is at its end."""
        import usb1

        with self._changed:
            if self._closed or self._failure is not None:
                return
            self._flying.add(transfer)
            try:
                transfer.submit()
            except usb1.USBError:
                self._flying.discard(transfer)
                self._fail(self._gone())

    @staticmethod
    def _cancel(transfer: Any) -> None:
        import usb1

        # It may have ended.
        with suppress(usb1.USBError):
            transfer.cancel()

    def _write(self, data: bytes) -> None:
        self.statistics.writes += 1
        for start in range(0, len(data), TRANSFER_BYTES):
            with self._changed:
                if not self._changed.wait_for(lambda: self._free or self._failure or self._closed, WRITE_SECONDS):
                    raise LinkError(f"{self.name} has taken nothing for {WRITE_SECONDS:g} s; plug it in again, then load the bitstream")
                self._check()
                transfer = self._free.pop()
            transfer.setBulk(ENDPOINT, data[start : start + TRANSFER_BYTES], callback=self._sent, timeout=0)
            self._submit(transfer)

    def _sent(self, transfer: Any) -> None:
        """A transfer to the board has ended: in the thread of events."""
        with self._changed:
            self._flying.discard(transfer)
            self._free.append(transfer)
            self._changed.notify_all()
        self._judge(transfer)

    def _came(self, transfer: Any) -> None:
        """A transfer from the board has ended: in the thread of events."""
        with self._changed:
            self._flying.discard(transfer)
            self._changed.notify_all()
        if not self._judge(transfer):
            return
        try:
            self._take(bytes(transfer.getBuffer()[: transfer.getActualLength()]))
        except LinkError as error:
            self._fail(error)
        self._submit(transfer)

    def _judge(self, transfer: Any) -> bool:
        """Whether a transfer did what it should."""
        import usb1

        status = transfer.getStatus()
        if status not in (usb1.TRANSFER_COMPLETED, usb1.TRANSFER_CANCELLED):
            self._fail(self._gone())
        return bool(status == usb1.TRANSFER_COMPLETED)

    def _gone(self) -> LinkError:
        return LinkError(f"{self.name} is gone; plug it in again, then load the bitstream")

    def _serve(self) -> None:
        """Let libusb do its work: the thread of events."""
        import usb1

        while not self._stopped:
            try:
                self._context.handleEventsTimeout(EVENT_SECONDS)
            except usb1.USBErrorInterrupted:
                continue
            except usb1.USBError:
                self._fail(self._gone())
                break
