# SPDX-License-Identifier: Apache-2.0
"""Boards on the USB: which there are, and what they say of themselves."""

import ctypes
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Self

from ..firmware.errors import FrennError, LinkError
from ..firmware.usb import ENDPOINT, HIGH_SPEED_BYTES, MANUFACTURER, PRODUCT, VENDOR, UsbIdentity

PREFIX: Final = "usb"
"""Names the one board on the USB, or begins, with a colon, what names one by its serial number."""

RULES: Final = "70-frenn.rules"
"""File of this package that lets users use boards."""


@dataclass(frozen=True)
class UsbAddress:
    """A board on the USB.

    Parameters
    ----------
    serial : str or None
        Serial number; None is the only board.
    """

    serial: str | None = None

    def __str__(self) -> str:
        return PREFIX if self.serial is None else f"{PREFIX}:{self.serial}"

    @staticmethod
    def names(text: str) -> bool:
        """Whether a text is of this kind."""
        return text == PREFIX or text.startswith(f"{PREFIX}:")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of ``usb`` or ``usb:SERIAL``.

        Raises
        ------
        FrennError
            If the serial number is missing.
        """
        _, colon, serial = text.partition(":")
        if colon and not serial:
            raise FrennError(f"{text!r} has no serial number; name one, as in --on {PREFIX}:1, or use --on {PREFIX} for the only board")
        return cls(serial or None)


@dataclass(frozen=True)
class UsbBoard:
    """A board that was found.

    Parameters
    ----------
    device : usb1.USBDevice
    place : str
        Bus and ports on the way to it, as the kernel names them.
    path : Path
        Its device file.
    identity : UsbIdentity or None
        None if this user may not ask.
    """

    device: Any
    place: str
    path: Path
    identity: UsbIdentity | None

    @property
    def name(self) -> str:
        """For messages."""
        if self.identity is None:
            return f"USB board at {self.place}"
        return f"USB board {self.identity.serial} ({self.identity.product} at {self.place})"


def open_library() -> Any:
    """A context of libusb: the system's library, or that of the ``libusb-package`` package.

    Raises
    ------
    FrennError
        If there is none, or it finds no USB.
    """
    import usb1

    try:
        usb1.loadLibrary()
    except OSError:
        import libusb_package

        usb1.loadLibrary(ctypes.CDLL(str(libusb_package.get_library_path()), use_errno=True))
    try:
        return usb1.USBContext().open()
    except usb1.USBError as error:
        raise FrennError(f"this computer's USB cannot be used ({error}); check that /dev/bus/usb is there") from None


def find_boards(context: Any) -> list[UsbBoard]:
    """Every board with this project's gateware, by place; also those that this user may not open, which may be others' devices.

    Parameters
    ----------
    context : usb1.USBContext
    """
    import usb1

    boards = []
    for device in context.getDeviceIterator(skip_on_error=True):
        if (device.getVendorID(), device.getProductID()) != (VENDOR, PRODUCT):
            continue
        bus, address = device.getBusNumber(), device.getDeviceAddress()
        place = f"{bus}-{'.'.join(map(str, device.getPortNumberList())) or address}"
        path = Path(f"/dev/bus/usb/{bus:03}/{address:03}")
        try:
            identity = _identify(device)
        except usb1.USBErrorAccess:
            boards.append(UsbBoard(device, place, path, None))
        except (usb1.USBError, FrennError):
            # Another project's, or just unplugged.
            continue
        else:
            boards.append(UsbBoard(device, place, path, identity))
    return sorted(boards, key=lambda board: board.place)


def _identify(device: Any) -> UsbIdentity:
    handle = device.open()
    try:
        if device.getManufacturer() != MANUFACTURER:
            raise FrennError("another project's device")
        interface = next(iter(device.iterSettings())).getDescriptor()
        return UsbIdentity.parse(device.getProduct(), handle.getASCIIStringDescriptor(interface), device.getSerialNumber())
    finally:
        handle.close()


def find_board(context: Any, address: UsbAddress) -> UsbBoard:
    """The board of an address.

    Raises
    ------
    LinkError
        If there is none, or more than one, or this user may not use it; the message names the remedy.
    """
    boards = find_boards(context)
    known = [board for board in boards if board.identity is not None]
    denied = [board for board in boards if board.identity is None]
    named = [board for board in known if board.identity is not None and address.serial in (None, board.identity.serial)]
    if len(named) == 1:
        return _check_speed(named[0])
    if not named and denied:
        raise LinkError(
            f"no permission for the {denied[0].name} ({denied[0].path}); let users use boards: "
            f"sudo cp {rules()} /etc/udev/rules.d/ && sudo udevadm control --reload && sudo udevadm trigger"
        )
    others = ", ".join(board.name for board in known)
    if not named:
        wanted = "board" if address.serial is None else f"board {address.serial}"
        hint = f"; there is {others}" if others else ""
        what = f"there is no {wanted} with a frenn bitstream on the USB{hint}"
        raise LinkError(f"{what}; plug it in at the FPGA's own USB port, and load a bitstream")
    if address.serial is None:
        serials = [board.identity.serial for board in named if board.identity is not None]
        raise LinkError(f"{len(named)} boards are on the USB: {others}; choose one, as in --on {PREFIX}:{serials[0]}")
    raise LinkError(f"{len(named)} boards have the serial number {address.serial}: {others}; unplug one, or build it with another --serial")


def _check_speed(board: UsbBoard) -> UsbBoard:
    import usb1

    high = (usb1.SPEED_HIGH, usb1.SPEED_SUPER)
    if board.device.getMaxPacketSize(ENDPOINT) == HIGH_SPEED_BYTES and board.device.getDeviceSpeed() not in high:
        raise LinkError(f"{board.name} is one of high speed on a line of full speed; plug it in at another port, or without the hub")
    return board


def rules() -> str:
    """Path of the udev rules."""
    return str(files("frenn.host").joinpath(RULES))
