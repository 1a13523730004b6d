# SPDX-License-Identifier: Apache-2.0
"""What the machine that runs frenn must have, checked before any work."""

import importlib.util
import os
import platform
import shutil
import sys

from ..firmware.errors import FrennError


class RequirementError(FrennError):
    """Something that the machine lacks, and how to get it."""


def check_python() -> None:
    """Refuse a Python that is too old."""
    # An installer refuses it too, but not what runs from a checkout.
    if sys.version_info < (3, 11):  # noqa: UP036
        raise RequirementError(f"Python {platform.python_version()} is too old; frenn needs Python 3.11 or newer")


def check_twin() -> None:
    """Refuse a machine that cannot compile the digital twin."""
    named = os.environ.get("CXX")
    if named and not shutil.which(named.split()[0]):
        raise RequirementError(f"CXX names {named!r}, which is no program; unset it or name a C++ compiler")
    if named or any(map(shutil.which, ("c++", "g++", "clang++"))) or importlib.util.find_spec("ziglang"):
        return
    raise RequirementError("the twin needs a C++ compiler and there is none; run: pip install ziglang (or apt install g++)")
