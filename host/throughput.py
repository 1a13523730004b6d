# SPDX-License-Identifier: Apache-2.0
"""Samples a second that networks would reach on an engine, from cycles that were measured in simulation."""

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from math import ceil
from typing import Any, Final

from ..firmware.compiler import compile_network
from ..firmware.framing import FRAME_BYTES
from ..firmware.network import Learning, Network, parse_network
from ..firmware.parameters import EngineParameters
from ..rtl_gen.boards import Board
from ..rtl_gen.cycles import dense_cycles
from ..rtl_gen.input_reader import InputReader
from ..rtl_gen.link_parameters import link_for
from .exchange import SAMPLE_WORDS, SAMPLES
from .link import ByteLinkParameters
from .targets import misfit

TABLE: Final = "cycles.json"
"""What was measured, written by ``bench/boards.py``: of each network its file, by lanes the cycles of a training sample, and the words that
the inputs of its data's average sample take as the driver packs them."""

CHARACTER_BITS: Final = 10
"""Bits on a serial line for each byte."""

PCIE_BYTES: Final = {"2.5_GT/s": 200_000_000, "5.0_GT/s": 400_000_000}
"""Bytes a second of a lane of PCI Express, less a fifth for its packets."""

USB_BYTES: Final = {"high": 13 * 512 * 8000, "full": 19 * 64 * 1000}
"""Bytes a second of the most bulk packets that a frame of the USB has room for (USB 2.0, tables 5-10 and 5-9), both ways together."""

BETWEEN: Final = 12
"""Cycles between two samples in which no program runs, or no input comes."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast a network trains on an engine.

    Parameters
    ----------
    cycles : float
        Of a training sample.
    measured : bool
        Whether cycles were counted, over the first samples of a run; if not, no sample takes more, and most take far less: it is as if
        nothing were skipped.
    engine, line : float
        Training samples a second that the engine computes, and that the link carries; the smaller one counts.
    packed : bool
        Whether what the line carries is the average sample of the network's data as the driver packs it; if not, it is one of which
        every input is sent, and no sample takes more.
    """

    cycles: float
    measured: bool
    engine: float
    line: float
    packed: bool

    @property
    def limit(self) -> str:
        """Which of them is the slower one; with a question mark where that is not known."""
        slower = "engine" if self.engine < self.line else "link"
        known = self.measured if slower == "engine" else self.packed
        return slower if known else f"{slower}?"


@cache
def measured() -> dict[str, Any]:
    """The table of measured cycles."""
    table: dict[str, Any] = json.loads(files("frenn.host").joinpath(TABLE).read_text(encoding="utf-8"))
    return table


def speed(
    network: Network, parameters: EngineParameters, frequency: int, baud: int, board: Board | None = None, link: str = "uart"
) -> Speed | None:
    """How fast a network trains on an engine that it fits; None if the host learns its weights, or no engine trains it.

    Parameters
    ----------
    network : Network
    parameters : EngineParameters
    frequency : int
        Of the engine, Hz.
    baud : int
        Of the serial line.
    board : Board, optional
        The board, if it is reached by another link.
    link : str
        One of the board's links.
    """
    if network.learning.on_host or network.learning.summed:
        return None
    entry = _measured(network)
    found = entry.get("cycles", {}).get(str(parameters.lanes))
    cycles = sample_cycles(network, parameters) if found is None else found
    words = entry.get("input_words")
    sample = 1 + (dense_words(network) if words is None else words)
    line = (
        link_rate(sample, baud, parameters)
        if board is None or link == "uart"
        else transfer_rate(sample, network.widths[0], board, link, frequency)
    )
    return Speed(cycles=cycles, measured=found is not None, engine=frequency / cycles, line=line, packed=words is not None)


def sample_cycles(network: Network, parameters: EngineParameters) -> int:
    """Cycles that a training sample takes at the most: its inputs come in while the one before is learned, but not on one lane."""
    learned, inputs = dense_cycles(compile_network(network, parameters)), network.widths[0]
    return (learned + inputs if parameters.lanes == 1 else max(learned, inputs)) + BETWEEN


def _measured(network: Network) -> dict[str, Any]:
    """What was measured with a network that differs in its name, its seed and how it learns at the most, or nothing."""
    for entry in measured()["networks"]:
        if _bare(parse_network(entry["file"])) == _bare(network):
            found: dict[str, Any] = entry
            return found
    return {}


def _bare(network: Network) -> Network:
    return replace(network, name="network", seed=0, learning=Learning())


def predictions(
    parameters: EngineParameters, frequency: int, baud: int, board: Board | None = None, link: str = "uart"
) -> list[dict[str, Any]]:
    """What the measured networks would reach on an engine.

    Parameters
    ----------
    parameters : EngineParameters
    frequency : int
        Of the engine, Hz.
    baud : int
        Of the serial line.
    board, link
        See `speed`.

    Returns
    -------
    list of dict
        For each network: ``network``, ``widths``, ``misfit`` (None if it fits), and, None if it does not, what `Speed` says: ``cycles``,
        ``cycles_measured``, ``engine_samples_per_second``, ``link_samples_per_second`` and ``limit``.
    """
    result = []
    for entry in measured()["networks"]:
        network = parse_network(entry["file"])
        reason = misfit(network, parameters)
        reached = speed(network, parameters, frequency, baud, board, link) if reason is None else None
        result.append(
            {
                "network": network.name,
                "widths": "-".join(map(str, network.widths)),
                "misfit": reason,
                "cycles": reached and reached.cycles,
                "cycles_measured": reached and reached.measured,
                "engine_samples_per_second": reached and round(reached.engine, 1),
                "link_samples_per_second": reached and round(reached.line, 1),
                "limit": reached and reached.limit,
            }
        )
    return result


def link_rate(sample_words: float, baud: int, parameters: EngineParameters) -> float:
    """Training samples a second that a serial line carries; arguments beside the baud rate as of `sample_bytes`."""
    return baud / CHARACTER_BITS / sample_bytes(sample_words, parameters)


def sample_bytes(sample_words: float, parameters: EngineParameters) -> float:
    """Bytes of a training sample on a byte link, in the direction that has more: packets and frames, without the escapes of bytes that look
    like flags.

    Parameters
    ----------
    sample_words : float
        Words of a sample.
    parameters : EngineParameters
        Of the engine, by which its link's buffers are known.
    """
    samples, words = _request(sample_words)
    link = link_for(parameters)
    there = line_bytes(words, min(ByteLinkParameters().frame_words, link.receive_words // 2))
    return max(there, line_bytes(1 + samples, link.frame_words)) / samples


def transfer_rate(sample_words: float, inputs: int, board: Board, link: str, frequency: int) -> float:
    """Training samples a second that PCI Express or the USB carries: what its lanes or frames do, or the device, which reads all inputs one
    by one. What the computer's driver and its interrupts take is not known here."""
    samples, words = _request(sample_words)
    # A word before each packet. On the USB the answers take their share.
    carried = words + 1 + (1 + samples + 1 if link == "usb" else 0)
    rate = USB_BYTES[board.bus.speed] if link == "usb" else board.slot.lanes * PCIE_BYTES[board.slot.speed]
    return min(rate * samples / (4 * carried), frequency / (InputReader.unit_cycles * inputs))


def dense_words(network: Network) -> int:
    """Words of a sample's inputs, all of which are sent."""
    items = 4 if network.formats.input.width <= 8 else 2
    return -(-network.widths[0] // items)


def _request(sample_words: float) -> tuple[int, float]:
    """Samples of a request that learns as many as go together, and its words."""
    samples = min(max(int(SAMPLE_WORDS / sample_words), 1), SAMPLES)
    return samples, 2 + samples * sample_words


def line_bytes(words: float, frame_words: int) -> float:
    """Bytes on the line of a packet of so many words, in frames of so many at the most."""
    return 4 * words + FRAME_BYTES * ceil(words / frame_words)
