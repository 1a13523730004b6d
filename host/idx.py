# SPDX-License-Identifier: Apache-2.0
"""IDX files, the format of MNIST: two zero bytes, a type, a number of dimensions, their sizes, then the values."""

import gzip
import math
import zlib
from pathlib import Path
from typing import IO, Final, cast

import numpy as np
from numpy.typing import NDArray

from ..firmware.errors import FrennError

_TYPES: Final = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_BYTES: Final = 1 << 31
_STRIDE: Final = 1 << 20


class IdxError(FrennError):
    """A file that is no IDX file, or not a whole one."""


def find_idx(folder: Path, stem: str, dimensions: int) -> Path:
    """The IDX file of a name such as ``train-images``: ``-idx3-ubyte`` or ``.idx3-ubyte``, plain or with ``.gz``.

    Raises
    ------
    IdxError
        If there is none.
    """
    names = [f"{stem}{mark}idx{dimensions}-ubyte{end}" for end in ("", ".gz") for mark in "-."]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise IdxError(f"{folder} has no {names[0]} (nor {', '.join(names[1:])}); give the folder of the four files with --data-dir")


def read_idx(path: Path, dimensions: int) -> NDArray[np.generic]:
    """Read an IDX file; its content, not its name, says whether it is compressed by gzip.

    Parameters
    ----------
    path : Path
    dimensions : int
        That the values must have.

    Returns
    -------
    array of the file's type and shape

    Raises
    ------
    IdxError
        If the file cannot be read, is torn, has bytes after its end, or is not of that form.
    """
    try:
        with path.open("rb") as plain:
            compressed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            # A GzipFile reads like any other; only its type says otherwise.
            return _parse(cast(IO[bytes], gzip.GzipFile(fileobj=plain)) if compressed else plain, path, dimensions)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise IdxError(f"{path} is torn: {error}; fetch it again") from None
    except OSError as error:
        raise IdxError(f"cannot read {path}: {error.strerror}") from None


def _parse(file: IO[bytes], path: Path, dimensions: int) -> NDArray[np.generic]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES:
        raise IdxError(f"{path} is no IDX file; fetch it again")
    if head[3] != dimensions:
        raise IdxError(f"{path} has {head[3]} dimensions, not {dimensions}; images and labels may be swapped")
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise IdxError(f"{path} is truncated within its head; fetch it again")
    shape = [int(size) for size in np.frombuffer(sizes, ">u4")]
    kind = np.dtype(_TYPES[head[2]])
    expected = math.prod(shape) * kind.itemsize
    if expected > _MOST_BYTES:
        raise IdxError(f"{path} claims {expected} bytes of values, more than {_MOST_BYTES}; it is no data file of this kind")
    data = _read(file, expected + 1)
    if len(data) < expected:
        raise IdxError(f"{path} is truncated: {len(data)} of {expected} bytes of values; fetch it again")
    if len(data) > expected:
        raise IdxError(f"{path} has bytes after its {expected} bytes of values; fetch it again")
    return np.frombuffer(data, kind).reshape(shape)


def _read(file: IO[bytes], count: int) -> bytes:
    """At most ``count`` bytes, in strides: a torn file must not reserve what its head claims."""
    parts = []
    while count > 0 and (part := file.read(min(count, _STRIDE))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
