# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there."""

import os
from pathlib import Path


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file by way of a temporary file beside it, so that no reader ever sees a part of it.

    What exists and is no regular file (a terminal, a pipe, ``/dev/null``) is written to, not replaced.

    Raises
    ------
    OSError
        If the folder cannot be written; nothing is left behind.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
