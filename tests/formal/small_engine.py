# SPDX-License-Identifier: Apache-2.0
"""Engines whose units the proofs are about: as small as addresses allow that lie apart."""

from frenn.firmware.formats import Format
from frenn.firmware.parameters import EngineParameters


def small_engine(lanes: int) -> EngineParameters:
    """An engine of so many lanes."""
    return EngineParameters(
        lanes=lanes,
        weight=Format(True, 0, 4),
        mac_weight=Format(True, 0, 4),
        vector_bits=4,
        accumulator_bits=16,
        drive_bits=16,
        update_shift=4,
        broadcast_bits=5,
        weight_depth=32,
        neuron_depth=16,
        row_depth=8,
        program_depth=16,
    )
