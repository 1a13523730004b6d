# SPDX-License-Identifier: Apache-2.0
"""Which device is built for an engine's parameters."""

from ..firmware.parameters import EngineParameters
from .device import Device
from .serial_device import SerialDevice


def make_device(parameters: EngineParameters) -> Device | SerialDevice:
    """A `Device`, or of one lane a `SerialDevice`: the ports are the same, and so is what they compute."""
    return SerialDevice(parameters) if parameters.lanes == 1 else Device(parameters)
