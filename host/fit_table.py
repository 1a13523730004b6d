# SPDX-License-Identifier: Apache-2.0
"""What each board makes of a network, as ``frenn check`` prints it."""

from collections.abc import Iterator

from ..firmware.network import Network
from ..rtl_gen.board_top import BoardDesign
from ..rtl_gen.boards import BOARDS, Board
from ..rtl_gen.estimate import estimate, is_exact
from .fit import BoardMisfit, fit_engine
from .throughput import speed

HEAD = ("board", "link", "lanes", "block RAMs", "LUTs", "MHz", "cycles/sample", "samples/s", "link samples/s", "limit")


def fit_table(network: Network) -> Iterator[str]:
    """Lines: for each board and link whether a network fits, and how fast it trains there."""
    rows: list[tuple[str, ...]] = [HEAD]
    for board in BOARDS.values():
        try:
            rows += fit_rows(board, network)
        except BoardMisfit as error:
            rows.append((board.name, f"does not fit: {error.reason}"))
    whole = [row for row in rows if len(row) == len(HEAD)]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    widths[0] = max(len(row[0]) for row in rows)
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()


def fit_rows(board: Board, network: Network) -> Iterator[tuple[str, ...]]:
    """What stands below `HEAD`, for each link of a board.

    Raises
    ------
    BoardMisfit
        If the network does not fit.
    """
    parameters = fit_engine(board, [network])
    use = estimate(board, parameters)
    used = (f"{'' if is_exact(board, kind) else '~'}{use[kind].used} of {use[kind].available}" for kind in ("block_rams", "luts"))
    engine = (str(parameters.lanes), *used)
    for link in board.links:
        clock = board.engine_clock(parameters.lanes)
        design = BoardDesign(board=board, parameters=parameters, clock=clock, baud=board.baud, link=link)
        reached = speed(network, parameters, design.frequency, board.baud, board, link)
        rate = ("", "", "", "learned by the host" if network.learning.on_host else "")
        if reached is not None:
            most, least = ("", "") if reached.measured else ("<= ", ">= ")
            lines = f"{'' if reached.packed else '>= '}{reached.line:.0f}"
            rate = (f"{most}{reached.cycles:.0f}", f"{least}{reached.engine:.0f}", lines, reached.limit)
        yield (board.name, link, *engine, f"{design.frequency / 1e6:g}", *rate)
