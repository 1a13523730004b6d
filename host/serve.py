# SPDX-License-Identifier: Apache-2.0
"""``frenn serve``: the twin behind a pseudo-terminal or pipes, which other programs open like a board's serial port or DMA device."""

import argparse
import os
import select
import tempfile
import time
import tty
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ..firmware.parameters import PRESETS
from ..firmware.transfer import OPENING
from .dma import DmaAddress
from .link import ByteStream
from .progress import note
from .targets import check_target

if TYPE_CHECKING:
    from ..sim.twin import TransferTwin

CHUNK: Final = 1 << 12
PATIENCE: Final = 200
"""Looks at a line on which nothing moves before the next one waits."""

PAUSE: Final = 0.02
"""Seconds of that wait."""

PIPE: Final = 1 << 16
"""Bytes that a pipe holds at the most."""

ROOM: Final = 4096
"""Words that wait for the twin at the most before it takes no more, as many as a device holds."""


def serve(arguments: argparse.Namespace) -> int:
    """``frenn serve``: until Ctrl-C."""
    from ..sim.twin import ByteTwin, TransferTwin, open_twin

    check_target("twin")
    twin = open_twin(PRESETS[arguments.engine], link=arguments.link, progress=note)

    def announce(path: object) -> None:
        print(f"the twin is on {path}; Ctrl-C ends it", flush=True)

    if isinstance(twin, ByteTwin):
        join(twin, announce, lambda: False)
    if isinstance(twin, TransferTwin):
        with tempfile.TemporaryDirectory(prefix="frenn-") as folder:
            join_files(twin, DmaAddress(f"{folder}/xdma0"), announce, lambda: False)
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


def join_files(twin: "TransferTwin", address: DmaAddress, announce: Callable[[DmaAddress], None], stop: Callable[[], bool]) -> None:
    """Carry transfers between the twin and a new pair of named pipes that stand for a DMA driver's devices.

    A pipe knows no transfers: what one program writes is all one, and what it reads may be parts of several.

    Parameters
    ----------
    twin : TransferTwin
        Closed at the end.
    address : DmaAddress
        Of the pipes.
    announce : callable
        Told the address when it can be opened.
    stop : callable
        Asked again and again whether to end.
    """
    files: list[int] = []
    try:
        for path, flags in ((address.to_device, os.O_RDONLY), (address.from_device, os.O_RDWR)):
            # The pipe to the host is open for reading here too, so that programs may come and go.
            os.mkfifo(path)
            files.append(os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC))
        inward, outward = files
        announce(address)
        coming = b""
        still = 0
        while not stop():
            moved = False
            if twin.pending < ROOM:
                with suppress(BlockingIOError):
                    # All that a pipe holds, so that what is written at once is read at once.
                    data = os.read(inward, PIPE)
                    moved = bool(data)
                    if opening := OPENING.search(data):
                        # A program that died may have left a transfer torn.
                        twin.write(data[: opening.start()])
                        twin.end()
                        data = data[opening.start() :]
                    twin.write(data)
            if not coming:
                coming = twin.read()
            if coming:
                with suppress(BlockingIOError):
                    coming = coming[os.write(outward, coming) :]
                    moved = True
            still = 0 if moved or twin.pending else still + 1
            if still > PATIENCE:
                time.sleep(PAUSE)
    finally:
        for file in files:
            os.close(file)
        twin.close()
