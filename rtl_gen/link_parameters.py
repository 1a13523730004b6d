# SPDX-License-Identifier: Apache-2.0
"""What a byte link is built for."""

from dataclasses import dataclass

from ..firmware.errors import FrennError
from ..firmware.framing import CREDIT_WORDS, MAX_FRAME_WORDS
from ..firmware.parameters import EngineParameters


@dataclass(frozen=True, kw_only=True)
class LinkParameters:
    """What the device's end of a byte link is built for. The host learns from the device what it must know of it.

    Parameters
    ----------
    frame_words : int
        Payload words of the longest frame sent, 1 to `framing.MAX_FRAME_WORDS`.
    receive_words : int
        Words of the receive buffer: a power of two from 64 to 16384. A window that keeps the line busy takes the words that
        the line carries during a round trip, and as many again while they are taken out.
    transmit_words : int
        Words of the transmit buffer: a power of two, above `frame_words`, from 4 to 16384. A frame takes a word more than its payload.
    timeout_cycles : int
        Cycles without progress after which the host is polled; longer than the host's acknowledgements wait.
    acknowledge_cycles : int
        Cycles that an acknowledgement may wait for a data frame to go with.

    Raises
    ------
    FrennError
        Naming the parameter that is wrong and what is legal.
    """

    frame_words: int = 256
    receive_words: int = 1024
    transmit_words: int = 1024
    timeout_cycles: int = 1 << 20
    acknowledge_cycles: int = 1 << 11

    def __post_init__(self) -> None:
        for name, low, high in (
            ("frame_words", 1, MAX_FRAME_WORDS),
            ("receive_words", 2 * CREDIT_WORDS, 1 << 14),
            ("transmit_words", 4, 1 << 14),
            ("timeout_cycles", 16, 1 << 30),
            ("acknowledge_cycles", 1, 1 << 30),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise FrennError(f"link: {name} is {value!r}; legal is an integer from {low} to {high}")
            if name in ("receive_words", "transmit_words") and value & (value - 1):
                raise FrennError(f"link: {name} is {value}; legal is a power of two")
        if self.transmit_words <= self.frame_words:
            raise FrennError(f"link: transmit_words is {self.transmit_words}; legal is more than frame_words, {self.frame_words}")


def link_for(parameters: EngineParameters) -> LinkParameters:
    """The link of an engine where none is asked for: small buffers for an engine of one lane, whose FPGA has little memory."""
    return LinkParameters(frame_words=64, receive_words=256, transmit_words=128) if parameters.lanes == 1 else LinkParameters()
