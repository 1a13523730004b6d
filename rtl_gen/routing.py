# SPDX-License-Identifier: Apache-2.0
"""What the largest engines are routed for.

nextpnr's router2 routes late arcs anew, whatever else stands in their way, until none is late and no wire is used twice. It needs a clock
that can be reached, or it never ends; so a design is tried for the clock that is asked for, and if that does not end for slower ones,
which tell how fast it can be.
"""

from typing import Final

from .usage import ENGINE_CLOCK

MARGIN: Final = 1.02
"""What is asked of the router, by what is wanted: it reckons delays a little shorter than the report after it."""
SLOWER: Final = (0.92, 0.85)
"""Shares of the clock asked for that are tried, one after the other, where it is out of reach."""
ENDLESS: Final = "giving up"
"""In the message of a router that stops because it makes no progress."""


def routing_constraints(pins: str, frequency: float, share: float = 1.0) -> str:
    """Constraints of an attempt: those of the board, and the engine's clock, in place of what its PLL makes.

    Parameters
    ----------
    pins : str
        The board's constraint file (LPF).
    frequency : float
        That the engine is to reach, Hz.
    share : float
        Of it that is asked for, before `MARGIN`.
    """
    return f'{pins}FREQUENCY NET "{ENGINE_CLOCK}" {frequency * share * MARGIN / 1e6:.4f} MHZ;\n'
