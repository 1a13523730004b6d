# SPDX-License-Identifier: Apache-2.0
"""What a device says of itself on the USB, and where on it the packets go."""

import re
from dataclasses import dataclass
from typing import Final, Self

from .errors import FrennError

VENDOR: Final = 0x1209
PRODUCT: Final = 0x0001
"""The pair that pid.codes keeps for prototypes: others use it too, and `MANUFACTURER` tells whose a device is."""

MANUFACTURER: Final = "frenn"

ENDPOINT: Final = 1
"""Number of the two bulk endpoints, of which one goes to the device and one to the host."""

FULL_SPEED_BYTES: Final = 64
HIGH_SPEED_BYTES: Final = 512
"""Bytes of a bulk packet at full and at high speed."""

DEFAULT_SERIAL: Final = "1"

_SERIAL: Final = re.compile(r"[0-9A-Za-z_-]{1,32}")


@dataclass(frozen=True, kw_only=True)
class UsbIdentity:
    """The strings of a device's descriptors.

    Parameters
    ----------
    product : str
        What it is: the board's name.
    build : int
        Build identity of the gateware, 64 bits.
    serial : str
        Tells boards of one kind apart: 1 to 32 letters, digits, ``-`` and ``_``.

    Raises
    ------
    FrennError
        If the serial number is not legal.
    """

    product: str
    build: int
    serial: str = DEFAULT_SERIAL

    def __post_init__(self) -> None:
        if not _SERIAL.fullmatch(self.serial):
            raise FrennError(f"USB serial number is {self.serial!r}; legal are 1 to 32 letters, digits, - and _")

    @property
    def interface(self) -> str:
        """The string of the interface, which tells the build."""
        return f"build {self.build:016x}"

    @classmethod
    def parse(cls, product: str, interface: str, serial: str) -> Self:
        """Of a device's strings.

        Raises
        ------
        FrennError
            If they are no device's of this project.
        """
        found = re.fullmatch(r"build ([0-9a-f]{16})", interface)
        if found is None:
            raise FrennError(f"USB interface says {interface!r}, not its build; the bitstream is another project's or too old")
        return cls(product=product, build=int(found[1], 16), serial=serial)
