# SPDX-License-Identifier: Apache-2.0
"""The payload of a packet stream."""

from typing import Final

from amaranth.lib import data

PACKET: Final = data.StructLayout({"data": 32, "last": 1})
"""One 32-bit word of a packet; ``last`` marks the packet's last word."""
