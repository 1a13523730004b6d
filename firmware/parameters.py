# SPDX-License-Identifier: Apache-2.0
"""Parameters of an engine: what a bitstream is built for and what an image must match."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from .errors import FrennError
from .formats import Format
from .network import Network

MACHINE_VERSION: Final = 4
"""Version of the instruction set, the memory layout and the packets; part of every fingerprint."""

RANGES: Final = {
    "lanes": (1, 128),
    "vector_bits": (4, 25),
    "accumulator_bits": (16, 48),
    "drive_bits": (16, 62),
    "update_shift": (4, 32),
    "broadcast_bits": (5, 40),
    "weight_depth": (4, 1 << 20),
    "neuron_depth": (4, 1 << 16),
    "row_depth": (2, 1 << 12),
    "program_depth": (8, 1 << 12),
}
"""Least and largest legal value of each integer parameter."""


@dataclass(frozen=True, kw_only=True)
class EngineParameters:
    """What one engine can hold and compute.

    Parameters
    ----------
    lanes : int
        Multipliers that work side by side, 4 to 128; or 1, an engine in which everything takes turns, for the smallest FPGAs.
    weight, mac_weight, pre_activation, drive : Format
        Formats built into the datapath: a network must use exactly these. ``mac_weight`` is that of the weights that are
        multiplied: ``weight``, or narrower.
    vector_bits : int
        Signed bits of an input, state, deviation or error, 4 to 25. A network's formats may be narrower.
    accumulator_bits : int
        Bits of a lane's accumulator, 16 to 48.
    drive_bits : int
        Bits of a neuron's drive, the exact sum over all its edges, 16 to 62.
    update_shift : int
        Bits by which an update is finer than a weight, 4 to 32; a smaller rate needs more of them.
    broadcast_bits : int
        Signed bits of the value that is broadcast to the lanes, 5 to 40: an update shifts it left before the product.
    weight_depth : int
        Words of each lane's weight memory.
    neuron_depth : int
        Neurons of all layers together.
    row_depth : int
        Row blocks (``ceil(width / lanes)``) of all layers but the input together.
    program_depth : int
        Instructions.

    Raises
    ------
    FrennError
        Naming the parameter that is wrong and what is legal.
    """

    lanes: int = 16
    weight: Format = Format(True, 0, 11)
    mac_weight: Format = Format(True, 0, 11)
    pre_activation: Format = Format(True, 2, 10)
    drive: Format = Format(True, 5, 12)
    vector_bits: int = 10
    accumulator_bits: int = 32
    drive_bits: int = 40
    update_shift: int = 18
    broadcast_bits: int = 18
    weight_depth: int = 1024
    neuron_depth: int = 256
    row_depth: int = 16
    program_depth: int = 64

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise FrennError(f"engine: {name} is {value!r}; legal is an integer from {low} to {high}")
        if self.lanes % 4 and self.lanes != 1:
            raise FrennError(f"engine: lanes is {self.lanes}; legal is 1, or a multiple of 4")
        if self.broadcast_bits <= self.vector_bits:
            raise FrennError(f"engine: broadcast_bits is {self.broadcast_bits}; legal is more than vector_bits, {self.vector_bits}")
        if not self.weight.signed or not 2 <= self.weight.width <= 16:
            raise FrennError(f"engine: weight is {self.weight}; legal is a signed format of 2 to 16 bits")
        mac, weight = self.mac_weight, self.weight
        if not mac.signed or mac.fraction > weight.fraction or mac.integer > weight.integer:
            raise FrennError(f"engine: mac_weight is {mac}; legal is a signed format with no more bits than {weight} on either side")
        if not self.pre_activation.signed or self.pre_activation.integer != 2 or not 2 <= self.pre_activation.fraction <= 24:
            raise FrennError(f"engine: pre_activation is {self.pre_activation}; legal is S2.2 to S2.24")
        if not self.drive.signed or self.drive.width > 31:
            raise FrennError(f"engine: drive is {self.drive}; legal is a signed format of at most 31 bits")

    def to_dict(self) -> dict[str, Any]:
        """The parameters with formats as text, for JSON."""
        return {key: str(getattr(self, key)) if isinstance(getattr(self, key), Format) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> "EngineParameters":
        """The inverse of `to_dict`.

        Raises
        ------
        FrennError
            If a key is unknown or missing, or a value illegal.
        """
        known = {item.name: item.type for item in fields(cls)}
        if set(table) != set(known):
            raise FrennError(f"engine: keys are {', '.join(sorted(table))}; legal are exactly {', '.join(sorted(known))}")
        values: dict[str, Any] = {key: Format.parse(value) if known[key] is Format else value for key, value in table.items()}
        return cls(**values)

    def encode(self) -> list[int]:
        """`PARAMETER_WORDS` words of 32 bits, one for each parameter in the order above; of a format the fraction bits, the integer
        bits times 2^8, and 2^16 if it is signed."""
        values = [getattr(self, item.name) for item in fields(self)]
        return [value.signed << 16 | value.integer << 8 | value.fraction if isinstance(value, Format) else value for value in values]

    @classmethod
    def decode(cls, words: Sequence[int]) -> "EngineParameters":
        """The inverse of `encode`.

        Raises
        ------
        FrennError
            If a value is illegal.
        """
        values: dict[str, Any] = {
            item.name: Format(bool(word >> 16), word >> 8 & 0xFF, word & 0xFF) if item.type is Format else word
            for item, word in zip(fields(cls), words, strict=True)
        }
        return cls(**values)

    @property
    def fingerprint(self) -> int:
        """64-bit identity: equal for two engines if, and only if, an image made for one runs on the other."""
        text = json.dumps({"machine": MACHINE_VERSION, **self.to_dict()}, sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")

    @classmethod
    def for_network(cls, network: Network, lanes: int = 16) -> "EngineParameters":
        """The smallest engine with power-of-two depths that runs a network."""
        from .compiler import requirements

        return cls(**requirements(network, lanes))


PARAMETER_WORDS: Final = len(fields(EngineParameters))

PRESETS: Final = {
    "micro": EngineParameters(
        lanes=1,
        drive_bits=37,
        update_shift=16,
        broadcast_bits=16,
        weight_depth=16384,
        neuron_depth=1024,
        row_depth=256,
        program_depth=48,
    ),
    "tiny": EngineParameters(lanes=4, weight_depth=512, neuron_depth=64, row_depth=32),
    "small": EngineParameters(lanes=16, weight_depth=1024, neuron_depth=256, row_depth=16),
    "medium": EngineParameters(
        lanes=64, vector_bits=12, drive_bits=44, weight_depth=2048, neuron_depth=2048, row_depth=32, program_depth=512
    ),
    "large": EngineParameters(
        lanes=128, vector_bits=12, drive_bits=44, weight_depth=4096, neuron_depth=4096, row_depth=32, program_depth=512
    ),
}
"""Engines by name, from the smallest to the one that carries MNIST with two hidden layers of 256, or twenty of 64."""
