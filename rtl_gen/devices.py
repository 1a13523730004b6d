# SPDX-License-Identifier: Apache-2.0
"""Which device is built for an engine's parameters."""

from ..firmware.parameters import EngineParameters
from .device import Device
from .serial_device import SerialDevice


def make_device(parameters: EngineParameters, line: bool = False) -> Device | SerialDevice:
    """A `Device`, or of one lane a `SerialDevice`: the ports are the same, and so is what they compute.

    Parameters
    ----------
    parameters : EngineParameters
    line : bool
        Whether there are ports for the counters of a serial line.
    """
    return SerialDevice(parameters, line) if parameters.lanes == 1 else Device(parameters, line)
