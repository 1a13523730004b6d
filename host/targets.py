# SPDX-License-Identifier: Apache-2.0
"""Which engine a network is compiled for, and which machine runs it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Final

from ..firmware.compiler import Program, check_trains, compile_network
from ..firmware.errors import FitError, FrennError
from ..firmware.network import Network
from ..firmware.parameters import PRESETS, EngineParameters
from .driver import Driver
from .machine import Machine

TARGETS: Final = ("golden", "twin")
LINKS: Final = ("packets", "bytes")
DEFAULT_LANES: Final = 16


def choose_engine(network: Network, preset: str | None = None, lanes: int | None = None) -> EngineParameters:
    """The engine for a network.

    Parameters
    ----------
    network : Network
    preset : str, optional
        One of `PRESETS`; without it, and without lanes, the first one of at least 16 lanes that the network fits.
    lanes : int, optional
        Lanes instead of the preset's; without a preset, of the smallest engine that the network fits.

    Raises
    ------
    FrennError
        If the number of lanes is not legal.
    """
    if preset is not None:
        return preset_engine(preset, lanes)
    if lanes is None:
        for parameters in PRESETS.values():
            if parameters.lanes >= DEFAULT_LANES and misfit(network, parameters) is None:
                return parameters
    return smallest_engine(network, lanes)


def preset_engine(preset: str, lanes: int | None = None) -> EngineParameters:
    """A preset, with another number of lanes if one is given."""
    return PRESETS[preset] if lanes is None else replace(PRESETS[preset], lanes=lanes)


def smallest_engine(network: Network, lanes: int | None = None) -> EngineParameters:
    """The smallest engine that runs a network, of 16 lanes unless another number is given."""
    # Lanes are checked before they size anything.
    return EngineParameters.for_network(network, EngineParameters(lanes=DEFAULT_LANES if lanes is None else lanes).lanes)


def misfit(network: Network, parameters: EngineParameters) -> str | None:
    """Why a network does not fit an engine, or None if it does."""
    try:
        compile_network(network, parameters)
    except FitError as error:
        return str(error)
    return None


def check_target(target: str, trained: Network | None = None) -> None:
    """Refuse what this computer cannot run, or the target cannot train, before any work.

    Raises
    ------
    FrennError
        Naming what is missing and how to get it.
    """
    if trained is not None and target != "golden":
        check_trains(trained)
    if target == "twin":
        from ..sim.twin import find_compiler

        find_compiler()


def open_machine(target: str, program: Program, link: str, say: Callable[[str], None]) -> AbstractContextManager[Machine]:
    """A machine for a compiled network.

    Parameters
    ----------
    target : {"golden", "twin"}
    program : Program
    link : {"packets", "bytes"}
        What lies between driver and twin: bare packets, or the framing gateware. Golden has no link.
    say : callable
        Told what takes time.
    """
    # Each machine is imported when it is asked for: the compilers behind them take a second to import.
    if target == "golden":
        from ..sim.compiled import CompiledGolden

        return nullcontext(CompiledGolden(program.network))
    if target == "twin":
        from ..sim.twin import ByteTwin, open_twin

        twin = open_twin(program.parameters, link=link, progress=say)
        if isinstance(twin, ByteTwin):
            from .link import ByteLink

            return Driver(ByteLink(twin), program)
        return Driver(twin, program)
    raise FrennError(f"there is no machine {target!r}; choose one of {', '.join(TARGETS)}")
