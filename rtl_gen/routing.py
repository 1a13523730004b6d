# SPDX-License-Identifier: Apache-2.0
"""What large engines are routed for, once they are placed.

nextpnr's router2 routes late arcs anew, whatever else stands in their way, until none is late and no wire is used twice. It needs clocks
that can be reached, or it never ends; so a placed design is routed for the clocks asked for, and if that does not end for slower ones,
which tell how fast it can be.
"""

import re
from collections.abc import Mapping
from typing import Final

MARGIN: Final = 1.02
"""What is asked of the router, by what is wanted: it reckons delays a little shorter than the report after it."""
SHARES: Final = (1.0, 0.92, 0.85)
"""Of the clocks asked for: what is tried, one after the other."""
ENDLESS: Final = "giving up"
"""In the message of a router that stops because it makes no progress."""


def wanted_clocks(log: str) -> dict[str, float]:
    """Clocks of a placed design, MHz, by the names of their nets, as nextpnr's log after placing tells them."""
    found = re.findall(r"Max frequency for clock +'([^']+)': [\d.]+ MHz \((?:PASS|FAIL) at ([\d.]+) MHz\)", log)
    return {name: float(wanted) for name, wanted in found}


def routing_constraints(placing: str, clocks: Mapping[str, float], share: float) -> str:
    """Constraints of a routing: those of placing, and clocks, which a placed design does not hold.

    Parameters
    ----------
    placing : str
        The constraint file (LPF) of placing.
    clocks : mapping of str to float
        MHz, by net.
    share : float
        Of each that is asked for, before `MARGIN`.
    """
    lines = [f'FREQUENCY NET "{name}" {clock * share * MARGIN:.4f} MHZ;' for name, clock in clocks.items()]
    return placing + "\n".join(lines) + "\n"
