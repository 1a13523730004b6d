# SPDX-License-Identifier: Apache-2.0
"""Progress with the time left, for people: nothing where the error output is no terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .training import Advance


def note(text: str) -> None:
    """Tell people something on the error output."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def progress(total: int, what: str) -> Iterator[Advance]:
    """A bar over so many samples on the error output.

    Yields
    ------
    callable
        To be told of samples done.
    """
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # Lines for people go above the bar; lines for a file must reach the file.
        redirect_stdout=sys.stdout.isatty(),
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
