# SPDX-License-Identifier: Apache-2.0
"""An engine that uses a board well: lanes, depths and formats."""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from ..firmware.compiler import compile_network, joint_formats, joint_requirements
from ..firmware.errors import FitError, FrennError
from ..firmware.network import Network
from ..firmware.parameters import PRESETS, RANGES, EngineParameters
from ..rtl_gen.boards import Board
from ..rtl_gen.cycles import dense_cycles
from ..rtl_gen.estimate import estimate, shortage

LANES: Final = (4, 8, 16, 32, 64, 128)
"""Numbers of lanes that are tried: powers of two, into which the usual widths of layers divide."""

NEURON_DEPTHS: Final = (4096, 2048, 1024, 512, 256, 128, 64)
NEURON_SHARE: Final = 1 / 10
"""Of the block RAMs, the most for neurons where no network says how many there are."""
WEIGHT_STEP: Final = 256
"""Addresses by which a memory of weights grows where no network says how many there are."""


class BoardMisfit(FitError):
    """No engine for a board runs some networks.

    Parameters
    ----------
    board : Board
    networks : sequence of Network
    reason : str
        What is short.
    """

    def __init__(self, board: Board, networks: Sequence[Network], reason: str) -> None:
        names = " and ".join(repr(network.name) for network in networks)
        super().__init__(f"no engine for {board.title} runs {names}: {reason}; use narrower layers or weights of fewer bits")
        self.reason = reason


def check_names(choices: Iterable[str]) -> None:
    """Refuse what is no parameter of an engine.

    Raises
    ------
    FrennError
        Naming those that there are.
    """
    legal = [item.name for item in fields(EngineParameters)]
    for name in choices:
        if name not in legal:
            raise FrennError(f"engine: there is no parameter {name!r}; legal are {', '.join(legal)}")


def fit_engine(board: Board, networks: Sequence[Network] = (), **choices: Any) -> EngineParameters:
    """The engine for a board.

    Parameters
    ----------
    board : Board
    networks : sequence of Network
        Those that it must run: it is as small as they allow, except that depths grow to what their block RAMs hold, and has the
        lanes on which they learn fastest together, at the clock that the board has for so many. Without them: the lanes that
        multiply most in a second, and as many weights as the rest of the memory holds.
    **choices
        Parameters of `EngineParameters` instead of those that would be chosen. Without ``lanes`` no more are taken than the board
        has a clock for.

    Raises
    ------
    BoardMisfit
        If no engine for the board runs the networks.
    FitError
        If no engine at all runs two of them, or what is asked for is too small.
    FrennError
        If a choice is not legal.
    """
    # What is asked for is checked before it sizes anything.
    check_names(choices)
    if "weight" in choices and not networks:
        choices.setdefault("mac_weight", choices["weight"])
    asked = replace(PRESETS["micro" if choices.get("lanes", board.lanes) == 1 else "medium"], **choices)
    candidates = [asked.lanes] if "lanes" in choices else [count for count in LANES if count <= board.lanes] or [1]
    if networks:
        # Networks that no engine runs together are no matter of the board.
        joint_formats(networks)
        return _fit_networks(board, networks, candidates, choices)
    filled = [fitted for lanes in candidates if (fitted := _fill(board, replace(asked, lanes=lanes), choices))]
    if not filled:
        return replace(PRESETS["tiny" if candidates[0] > 1 else "micro"], **{"lanes": candidates[0], **choices})
    return max(filled, key=lambda parameters: parameters.lanes * board.engine_clock(parameters.lanes))


def _fit_networks(board: Board, networks: Sequence[Network], candidates: Sequence[int], choices: Mapping[str, Any]) -> EngineParameters:
    fitting: list[tuple[float, int, EngineParameters]] = []
    misfits: list[tuple[float, str]] = []
    refusal: FitError | None = None
    for lanes in candidates:
        try:
            needed = joint_requirements(networks, lanes)
        except FitError as error:
            misfits.append((float("inf"), str(error)))
            continue
        # Rows come in blocks of 16 where they stand in LUTs.
        rows = min(-(-needed["row_depth"] // 16) * 16, RANGES["row_depth"][1])
        parameters = EngineParameters(**{**needed, "row_depth": rows, **choices})
        short = shortage(board, parameters)
        if short is not None:
            worst = max(use.used / use.available for use in estimate(board, parameters).values())
            misfits.append((worst, f"{lanes} lanes need {short}"))
            continue
        try:
            cycles = sum(dense_cycles(compile_network(network, parameters)) for network in networks)
        except FitError as error:
            refusal = error
            continue
        fitting.append((cycles / board.engine_clock(lanes), lanes, parameters))
    if not fitting:
        raise refusal or BoardMisfit(board, networks, min(misfits)[1])
    parameters = min(fitting, key=lambda entry: entry[:2])[2]
    for name in ("weight_depth", "neuron_depth"):
        if name not in choices:
            parameters = _grown(board, parameters, name)
    return parameters


def _grown(board: Board, parameters: EngineParameters, name: str) -> EngineParameters:
    """The same engine, with one depth as large as its block RAMs and its addresses allow."""
    depth, taken = getattr(parameters, name), estimate(board, parameters)["block_rams"].used
    most = min(1 << (depth - 1).bit_length(), RANGES[name][1])
    return _deepest(parameters, name, range(depth, most + 1), lambda grown: estimate(board, grown)["block_rams"].used <= taken)


def _fill(board: Board, asked: EngineParameters, choices: Collection[str]) -> EngineParameters | None:
    """An engine that takes the whole memory, but for the depths that were chosen, if there is one."""
    one = asked.lanes == 1
    neurons = [depth for depth in NEURON_DEPTHS if not one or depth <= asked.neuron_depth]
    for depth in (asked.neuron_depth,) if "neuron_depth" in choices else neurons:
        least = replace(asked, neuron_depth=depth, weight_depth=asked.weight_depth if "weight_depth" in choices else WEIGHT_STEP)
        if shortage(board, least) is not None:
            continue
        # One lane holds the neurons of the preset if it can.
        if not one and "neuron_depth" not in choices and _neuron_share(board, least) > NEURON_SHARE:
            continue
        if "weight_depth" in choices:
            return least
        bits = board.resources.kbits * 1024
        most = min(int(bits / asked.lanes / asked.weight.width), RANGES["weight_depth"][1])
        depths = range(WEIGHT_STEP, max(most, WEIGHT_STEP) + 1, WEIGHT_STEP)
        return _deepest(least, "weight_depth", depths, lambda filled: shortage(board, filled) is None)
    return None


def _neuron_share(board: Board, parameters: EngineParameters) -> float:
    """Share of the block RAMs that what grows with the number of neurons takes."""
    few = replace(parameters, neuron_depth=RANGES["neuron_depth"][0])
    both = (estimate(board, engine)["block_rams"].used for engine in (parameters, few))
    return (next(both) - next(both)) / board.resources.block_rams


def _deepest(parameters: EngineParameters, name: str, depths: Sequence[int], fits: Callable[[EngineParameters], bool]) -> EngineParameters:
    """The engine with the largest of rising depths that fits; the first one does."""

    def deep(depth: int) -> EngineParameters:
        change: dict[str, Any] = {name: depth}
        return replace(parameters, **change)

    return deep(depths[bisect_left(depths, True, lo=1, key=lambda depth: not fits(deep(depth))) - 1])
