# SPDX-License-Identifier: Apache-2.0
"""``frenn serve``: the twin behind a pseudo-terminal, which other programs open like a board's serial port."""

import argparse
import os
import select
import tty
from collections.abc import Callable
from typing import Final

from ..firmware.parameters import PRESETS
from .link import ByteStream
from .progress import note
from .targets import check_target

CHUNK: Final = 1 << 12
PATIENCE: Final = 200
"""Looks at a line on which nothing moves before the next one waits."""

PAUSE: Final = 0.02
"""Seconds of that wait."""


def serve(arguments: argparse.Namespace) -> int:
    """``frenn serve``: until Ctrl-C."""
    from ..sim.twin import ByteTwin, open_twin

    check_target("twin")
    twin = open_twin(PRESETS[arguments.engine], link=arguments.link, progress=note)
    if isinstance(twin, ByteTwin):
        join(twin, lambda path: print(f"the twin is on {path}; Ctrl-C ends it", flush=True), lambda: False)
    return 0


def join(stream: ByteStream, announce: Callable[[str], None], stop: Callable[[], bool]) -> None:
    """Carry bytes between a stream and a new pseudo-terminal.

    Parameters
    ----------
    stream : ByteStream
        Closed at the end.
    announce : callable
        Told the path that a program opens.
    stop : callable
        Asked again and again whether to end.
    """
    master, slave = os.openpty()
    try:
        # The other end stays open here, so that programs may come and go.
        tty.setraw(slave)
        os.set_blocking(master, False)
        announce(os.ttyname(slave))
        coming = b""
        still = 0
        while not stop():
            wait = PAUSE if still > PATIENCE else 0.0
            ready, _, _ = select.select([master], [], [], wait)
            data = os.read(master, CHUNK) if ready else b""
            while data:
                data = data[stream.write(data) :]
            if not coming:
                coming = stream.read(CHUNK)
            still = 0 if ready or coming else still + 1
            if coming:
                try:
                    coming = coming[os.write(master, coming) :]
                except BlockingIOError:
                    # Nobody reads; the twin waits.
                    select.select([], [master], [], PAUSE)
    finally:
        os.close(master)
        os.close(slave)
        stream.close()
