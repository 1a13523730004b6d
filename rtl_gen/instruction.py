# SPDX-License-Identifier: Apache-2.0
"""The instruction word as the gateware sees it."""

from typing import Final

from amaranth.lib import data

from ..firmware.isa import FIELDS, INSTRUCTION_WORDS

INSTRUCTION: Final = data.StructLayout({name: field.bits for name, field in FIELDS.items()})
"""Fields of an instruction, lowest bits first, as `frenn.firmware.isa.Instruction.encode` lays them out."""

INSTRUCTION_BITS: Final = 32 * INSTRUCTION_WORDS
"""Bits of an instruction in the program memory."""

TAGS: Final = 3
"""Instructions of the array that can be under way; tags take turns."""
