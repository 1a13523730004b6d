# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C where it would do harm: held back, or taken as a request."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_NOTE: Final = b"frenn: stopping after what is under way; Ctrl-C again stops at once\n"


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done; only the main thread of a program receives it."""
    if not _receives():
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    previous = signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if held and callable(previous):
        previous(*held[0])


@contextmanager
def request_to_stop() -> Iterator[Callable[[], bool]]:
    """Take the first Ctrl-C in the block as a request to stop; the second one interrupts.

    Yields
    ------
    callable
        Whether there was one.
    """
    if not _receives():
        yield lambda: False
        return
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if asked and callable(previous):
            previous(number, frame)
        asked.append(number)
        # A print could meet another one that it interrupts.
        os.write(2, _NOTE)

    previous = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, previous)


def _receives() -> bool:
    return threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None)
