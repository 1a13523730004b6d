# SPDX-License-Identifier: Apache-2.0
"""Errors that a user can cause and mend."""

from typing import Final

LONGEST: Final = 1000
"""Characters of a message; of a longer one the middle is left out."""


class FrennError(ValueError):
    """A user's mistake: the message is one line that names the cause and the remedy.

    Every error raised for a bad file, flag, value or byte derives from this class, so that a front end
    can print it and stop with exit code 2. Anything else that escapes is a fault of the project.

    Parameters
    ----------
    message : str
        What it quotes may hold anything: the message is made one line of printable characters, at most `LONGEST`.
    """

    def __init__(self, message: str) -> None:
        text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in " ".join(message.split()))
        half = (LONGEST - len(" ... ")) // 2
        super().__init__(text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}")


class NetworkError(FrennError):
    """A network description that cannot be read, or that describes no network that can run."""


class FitError(FrennError):
    """A network that does not fit an engine; the message says what overflows and by how much."""


class ImageError(FrennError):
    """An image file that is torn, foreign, or made for another engine."""


class LinkError(FrennError):
    """A device that does not answer in time, or answers what cannot be; the message says what was waited for."""
