# SPDX-License-Identifier: Apache-2.0
"""Samples a second that networks would reach on an engine, from cycles that were measured in simulation."""

import json
from functools import cache
from importlib.resources import files
from typing import Any, Final

from ..firmware.network import Network, parse_network
from ..firmware.parameters import EngineParameters
from .targets import misfit

TABLE: Final = "cycles.json"
"""Measured cycles, written by ``bench/boards.py``: of each network its file, and by lanes the cycles of a training sample."""

FRAME_WORDS: Final = 2
"""Words of a frame besides its payload."""

CHARACTER_BITS: Final = 10
"""Bits on a serial line for each byte."""


@cache
def measured() -> dict[str, Any]:
    """The table of measured cycles."""
    table: dict[str, Any] = json.loads(files("frenn.host").joinpath(TABLE).read_text(encoding="utf-8"))
    return table


def predictions(parameters: EngineParameters, frequency: int, baud: int) -> list[dict[str, Any]]:
    """What the measured networks would reach on an engine.

    Parameters
    ----------
    parameters : EngineParameters
    frequency : int
        Of the engine, Hz.
    baud : int
        Of the serial line.

    Returns
    -------
    list of dict
        For each network: ``network``, ``misfit`` (None if it fits), ``cycles`` of a training sample (None where they were
        not measured for this number of lanes), ``engine_samples_per_second`` and ``link_samples_per_second``: what the engine
        and what the line would allow; the smaller one counts.
    """
    result = []
    for entry in measured()["networks"]:
        network = parse_network(entry["file"])
        reason = misfit(network, parameters)
        cycles = entry["cycles"].get(str(parameters.lanes)) if reason is None else None
        result.append(
            {
                "network": network.name,
                "widths": "-".join(map(str, network.widths)),
                "misfit": reason,
                "cycles": cycles,
                "engine_samples_per_second": None if cycles is None else round(frequency / cycles, 1),
                "link_samples_per_second": round(link_rate(network, baud), 1) if reason is None else None,
            }
        )
    return result


def link_rate(network: Network, baud: int) -> float:
    """Training samples a second that a serial line carries to the device; escapes, about one byte in 128, are not counted."""
    items = 4 if network.formats.input.width <= 8 else 2
    words = 3 + -(-network.widths[0] // items) + FRAME_WORDS
    return baud / CHARACTER_BITS / (4 * words + 1)
