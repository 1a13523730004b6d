# SPDX-License-Identifier: Apache-2.0
"""One program at a time: locks on what two programs must not use at once, a board or a run folder."""

import fcntl
import json
import os
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from ..firmware.errors import FrennError

_FOLDERS: Final = ("/run/lock", "/var/lock")


class BusyError(FrennError):
    """Something that another program holds; the message says which."""


class Lock:
    """Holds a device or a folder until it is closed, or its program ends in whatever way: a context manager.

    The lock itself is the kernel's (``flock``), so that it never outlives its holder. The file that carries it tells who holds it.

    Parameters
    ----------
    path : Path
        What is held. Links are followed: two names of one thing are one lock.
    what : str
        How a message names it.

    Raises
    ------
    BusyError
        If another program, or this one, holds it already: with process number, host and command of the holder.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._file = -1
        file = lock_path(path)
        try:
            self._file = _open(file)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(self._file)
            self.close()
            raise BusyError(f"{what} is in use by {holder}; wait for it, or stop it") from None
        except OSError as error:
            self.close()
            raise FrennError(f"cannot lock {what} by {file}: {error.strerror}; remove that file or make it writable") from None
        who = {"pid": os.getpid(), "host": socket.gethostname(), "command": _command()}
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(who).encode(), 0)

    def close(self) -> None:
        """Let go; may be called again."""
        if self._file >= 0:
            # The file stays: a program that has it open already would hold a lock on a name that is gone.
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def lock_path(path: Path) -> Path:
    """The file that carries the lock on ``path``."""
    folder = next((folder for folder in _FOLDERS if os.access(folder, os.W_OK)), tempfile.gettempdir())
    # A name has at most 255 bytes; the end of a path tells more than its start.
    return Path(folder) / f"frenn{quote(str(path.resolve()), safe='')[-200:]}.lock"


def _open(path: Path) -> int:
    # Every user may lock a board, and say so in a file that another user made. A folder that all may write to lets nobody open
    # another's file for creation.
    for _ in range(2):
        try:
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            try:
                file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            except FileExistsError:
                continue
            os.fchmod(file, 0o666)
            return file
    raise FileNotFoundError(2, "it comes and goes", str(path))


def _holder(file: int) -> str:
    try:
        who = json.loads(os.pread(file, 4096, 0))
        return f"process {who['pid']} on {who['host']} ({who['command']})"
    except (ValueError, KeyError, TypeError):
        return "another program"


def _command() -> str:
    try:
        words = Path("/proc/self/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "frenn"
    return " ".join([Path(words[0]).name, *words[1:]]).strip()[:200]
