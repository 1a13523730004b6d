# SPDX-License-Identifier: Apache-2.0
"""What the gateware is elaborated for."""

from enum import Enum


class Technology(Enum):
    """FPGA family, or simulation; it is handed down as Amaranth's ``platform``.

    A technology changes how a primitive is made, never what it computes or when.
    """

    GENERIC = "generic"
    """Plain memories and multipliers, which vendor tools infer."""
    SIMULATION = "simulation"
    """As generic, but a memory that is read and written at one address in one cycle gives wrong data, as a chip may."""
    ECP5 = "ecp5"
    """Lattice ECP5: multipliers and block RAM instantiated with their registers, which Yosys does not infer."""
    ICE40 = "ice40"
    """Lattice iCE40 UltraPlus."""
    GOWIN = "gowin"
    """Gowin LittleBee."""

    @classmethod
    def of(cls, platform: object) -> "Technology":
        """The technology of a platform: the platform itself, its attribute ``technology``, or generic."""
        if isinstance(platform, cls):
            return platform
        technology = getattr(platform, "technology", cls.GENERIC)
        return technology if isinstance(technology, cls) else cls.GENERIC
