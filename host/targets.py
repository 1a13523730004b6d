# SPDX-License-Identifier: Apache-2.0
"""Which engine a network is compiled for, and which machine runs it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Final

from ..firmware.compiler import Program, check_trains, compile_network
from ..firmware.errors import FitError, FrennError
from ..firmware.network import Network
from ..firmware.parameters import PRESETS, EngineParameters
from .dma import PREFIX, DmaAddress, DmaLink
from .driver import Driver
from .exchange import Exchange, Transport
from .link import ByteLink
from .machine import Machine
from .usb_boards import UsbAddress

TARGETS: Final = ("golden", "twin")
AUTO: Final = "auto"
LINKS: Final = ("packets", "bytes", "uart")
LINE_WINDOW: Final = 64
"""Requests in flight to a board: a serial line's adapter keeps answers back for a millisecond or more, a DMA core likes long transfers."""
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


def find_target(text: str) -> tuple[str, EngineParameters | None]:
    """What ``--on`` names.

    Parameters
    ----------
    text : str
        One of `TARGETS`, a serial port with or without its rate, ``pcie:`` and a DMA device, ``usb`` with or without a serial number, or
        ``auto``: the one port that a board is on.

    Returns
    -------
    target : str
        The same, with port and rate of a device that has answered.
    parameters : EngineParameters or None
        The device's engine; None of a machine that is made for any.

    Raises
    ------
    FrennError
        If there is no such machine or port, or no frenn device answers there.
    """
    if text in TARGETS:
        return text, None
    if text.startswith(PREFIX):
        dma = Exchange(DmaLink(DmaAddress.parse(text)), timeout=5.0)
        dma.close()
        return text, dma.hello.parameters
    if UsbAddress.names(text):
        from .usb import UsbLink

        usb = UsbLink(UsbAddress.parse(text))
        exchange = Exchange(usb, timeout=5.0)
        exchange.close()
        return f"usb:{usb.board.identity.serial}" if usb.board.identity else text, exchange.hello.parameters
    from .serial import SerialAddress, find_port, open_link

    if text != AUTO and "/" not in text and not Path(text).exists():
        others = f"{AUTO}, a serial port such as /dev/ttyUSB0, {PREFIX}/dev/xdma0, or usb"
        raise FrennError(f"there is no machine {text!r}; choose {', '.join(TARGETS)}, {others}")
    link, address = open_link(SerialAddress(find_port()) if text == AUTO else SerialAddress.parse(text))
    exchange = Exchange(link, timeout=5.0)
    exchange.close()
    return str(address), exchange.hello.parameters


def open_transport(target: str, parameters: EngineParameters, link: str, say: Callable[[str], None]) -> Transport:
    """The line to a device.

    Parameters
    ----------
    target : str
        ``twin``, or what `find_target` found.
    parameters : EngineParameters
        Engine of the twin.
    link : {"packets", "bytes", "uart"}
        What lies between driver and twin: bare packets, the framing gateware, or a serial line too, bit by bit.
    say : callable
        Told what takes time.
    """
    if target == "twin":
        from ..sim.twin import ByteTwin, TransferTwin, open_twin

        twin = open_twin(parameters, link=link, progress=say)
        if isinstance(twin, TransferTwin):
            raise FrennError(f"transfers reach the twin through files; start: frenn serve --link {link}")
        return ByteLink(twin) if isinstance(twin, ByteTwin) else twin
    if target.startswith(PREFIX):
        return DmaLink(DmaAddress.parse(target))
    if UsbAddress.names(target):
        from .usb import UsbLink

        return UsbLink(UsbAddress.parse(target))
    from .serial import SerialAddress, open_link

    return open_link(SerialAddress.parse(target))[0]


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
    target : str
        ``golden``, ``twin``, or what `find_target` found.
    program : Program
    link : {"packets", "bytes", "uart"}
        What lies between driver and twin, see `open_transport`. Golden has no link.
    say : callable
        Told what takes time.
    """
    # Each machine is imported when it is asked for: the compilers behind them take a second to import.
    if target == "golden":
        from ..sim.compiled import CompiledGolden

        return nullcontext(CompiledGolden(program.network))
    window = 8 if target == "twin" else LINE_WINDOW
    return Driver(open_transport(target, program.parameters, link, say), program, window=window)
