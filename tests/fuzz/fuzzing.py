# SPDX-License-Identifier: Apache-2.0
"""What the fuzz tests share: what a refusal must look like, and bytes that are nearly right."""

from collections.abc import Callable
from typing import Any

import pytest
from frenn.firmware.errors import LONGEST, FrennError
from frenn.host.cli import main
from hypothesis import strategies as st


def refused(error: BaseException) -> str:
    """The message of a refusal, which must be one that a user can read."""
    assert isinstance(error, FrennError)
    message = str(error)
    assert message and len(message) <= LONGEST and message.isprintable(), message[: 2 * LONGEST]
    return message


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns, or None if it refuses its arguments; anything else that it raises is a fault."""
    try:
        return function(*arguments)
    except FrennError as error:
        refused(error)
        return None


def said(arguments: list[str]) -> tuple[int, list[str]]:
    """Exit code of a command, and what stands on its error output."""
    parts: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr.write", parts.append, raising=False)
        code = main(arguments)
    return code, "".join(parts).splitlines()


@st.composite
def damaged(draw: st.DrawFn, contents: bytes) -> bytes:
    """Bytes with a few places changed, cut out, doubled or filled with others."""
    data = bytearray(contents)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([0, 1, 1, 2, 4, 16, len(data)]))
        kind = draw(st.sampled_from(["change", "cut", "double", "fill", "end"]))
        if kind == "change":
            data[start : start + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "cut":
            del data[start : start + length]
        elif kind == "double":
            data[start:start] = data[start : start + length]
        elif kind == "fill":
            data[start : start + length] = draw(st.binary(min_size=0, max_size=16))
        else:
            del data[start:]
    return bytes(data)
