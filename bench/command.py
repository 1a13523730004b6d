# SPDX-License-Identifier: Apache-2.0
"""The command line that benches of speed share: a file of figures, the data, learned weights, and how a run ends."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frenn.firmware.errors import FrennError
from frenn.firmware.files import write_atomic


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser of ``--json``, ``--data-dir`` and ``--cache``, whose help begins with a script's docstring."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, required=True, metavar="OUT", help="file of the figures")
    made.add_argument("--data-dir", type=Path, metavar="DIR", help="folder of the MNIST files (default: fetched from OpenML)")
    made.add_argument("--cache", type=Path, default=Path("bench-cache"), metavar="DIR", help="of learned weights (default bench-cache)")
    return made


def finish(work: Callable[[], None]) -> int:
    """Do the work, and give the exit code: 0, 2 after a fault that is told in a line, 130 after Ctrl-C."""
    try:
        work()
    except (FrennError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on with what there is", file=sys.stderr)
        return 130
    return 0


def write(path: Path, figures: dict[str, Any]) -> None:
    """Write the file of the figures, whole."""
    write_atomic(path, (json.dumps(figures, indent=1) + "\n").encode())


def read(path: Path) -> dict[str, Any]:
    """The figures of a file.

    Raises
    ------
    FrennError
        If it holds none.
    """
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise FrennError(f"{path} is no file of figures: {error}; make it again") from None
