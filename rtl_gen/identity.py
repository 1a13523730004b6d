# SPDX-License-Identifier: Apache-2.0
"""The identity of the gateware: which sources a device was built from."""

import ast
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from .. import firmware

TOPS: Final = ("uart_device", "axi_device", "usb_device")
"""The modules that all others of the machine are imported from; what a board adds around them is not part of the identity."""

SHARED: Final = ("arithmetic", "counters", "formats", "framing", "isa", "protocol", "transfer", "usb")
"""Modules of `frenn.firmware` whose tables and numbers are built into the gateware. Changes of `parameters` show in the
fingerprint."""


def modules(tops: Sequence[str] = TOPS) -> list[Path]:
    """The source files that the identity is of: modules of this package, all that they import from it, and what is shared."""
    folder = Path(__file__).parent
    found = {folder / f"{top}.py" for top in tops}
    waiting = list(found)
    while waiting:
        here = waiting.pop()
        for node in ast.walk(ast.parse(here.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level and node.module is not None:
                path = here.parents[node.level - 1].joinpath(*node.module.split(".")).with_suffix(".py")
                if path.is_relative_to(folder) and path not in found:
                    found.add(path)
                    waiting.append(path)
    (shared,) = firmware.__path__
    return sorted(found) + [Path(shared) / f"{name}.py" for name in SHARED]


@cache
def gateware_identity() -> int:
    """64-bit hash of the sources of the machine as installed here.

    A device says the one that it was built from. Equal identities and equal parameters mean that a device computes what this
    installation's golden model does; otherwise nobody has tested the pair.
    """
    digest = hashlib.sha256()
    for path in modules():
        digest.update(f"{path.name}\0{path.read_text(encoding='utf-8')}\0".encode())
    return int.from_bytes(digest.digest()[:8], "little")
