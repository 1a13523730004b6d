# SPDX-License-Identifier: Apache-2.0
"""``frenn info``: what a device is."""

import argparse

from ..firmware.errors import FrennError
from ..firmware.parameters import PRESETS, EngineParameters
from ..rtl_gen.identity import gateware_identity
from .exchange import Exchange
from .link import ByteLink
from .progress import note
from .targets import TARGETS, check_target, find_target, open_transport


def connect(arguments: argparse.Namespace) -> tuple[str, Exchange, ByteLink | None]:
    """Open the device that a verb's ``--on``, ``--link`` and ``--engine`` name.

    Returns
    -------
    target : str
        As `find_target` has it.
    exchange : Exchange
    link : ByteLink or None
        None if packets go without one.

    Raises
    ------
    FrennError
        If it is no device, or does not answer.
    """
    target, parameters = find_target(arguments.on)
    if target == "golden":
        raise FrennError(f"golden is no device; choose {TARGETS[1]} or a serial port such as /dev/ttyUSB0")
    check_target(target)
    transport = open_transport(target, parameters or PRESETS[arguments.engine], arguments.link, note)
    return target, Exchange(transport), transport if isinstance(transport, ByteLink) else None


def info(arguments: argparse.Namespace) -> int:
    """``frenn info``: identity, parameters, counters."""
    target, exchange, link = connect(arguments)
    try:
        counters = exchange.counters()
    finally:
        exchange.close()
    hello = exchange.hello
    print(f"device on {target}: frenn protocol {hello.version}")
    print(f"  gateware: {gateware(hello.build)}")
    print(f"  engine {hello.parameters.fingerprint:016x}{_preset(hello.parameters)}")
    for name, value in hello.parameters.to_dict().items():
        print(f"    {name} {value}")
    print("  counters since they were cleared")
    for name, count in counters.items():
        print(f"    {name} {count}")
    if link is not None:
        print("  link, this session")
        for name, count in vars(link.statistics).items():
            print(f"    {name} {count}")
    return 0


def gateware(build: int) -> str:
    """A build identity, and whether this installation's gateware has the same."""
    ours = gateware_identity()
    return (
        f"{build:016x}, that of this frenn"
        if build == ours
        else f"{build:016x}, not that of this frenn, {ours:016x}: build and flash it again"
    )


def _preset(parameters: EngineParameters) -> str:
    return next((f", preset {name}" for name, preset in PRESETS.items() if preset == parameters), "")
