# SPDX-License-Identifier: Apache-2.0
"""The image: what is loaded into an engine to run a network, as one checked file."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .arithmetic import IntArray
from .compiler import BlockMap, LayerMap, Program
from .errors import FrennError, ImageError
from .files import write_atomic
from .isa import INSTRUCTION_WORDS, encode_program
from .parameters import EngineParameters
from .protocol import Register, Space, Words, pack_weights, weight_item_words

IMAGE_VERSION: Final = 2
METADATA_KEY: Final = "frenn"
"""The one metadata key: safetensors writes several keys in no fixed order, and an image is the same bytes each time."""


@dataclass(frozen=True, eq=False)
class Image:
    """Program, registers and weights of a network, and the engine they were made for.

    Parameters
    ----------
    parameters : EngineParameters
        The engine.
    network : str
        Fingerprint of the network.
    layers, blocks
        Memory map, as in `Program`.
    registers : dict
        Values of the registers that the network sets.
    program : (instructions, INSTRUCTION_WORDS) uint32
    weights : (addresses, lanes) int16
        Of the engine's weight format; see `Program.pack`.
    """

    parameters: EngineParameters
    network: str
    layers: tuple[LayerMap, ...]
    blocks: tuple[BlockMap, ...]
    registers: dict[Register, int]
    program: Words
    weights: NDArray[np.int16]

    @classmethod
    def build(cls, program: Program, weights: list[IntArray]) -> "Image":
        """The image of a compiled network with given weights, a (rows, columns) int64 array per edge.

        Raises
        ------
        FitError
            If a weight's shape or value does not fit.
        """
        network = program.network
        registers = {
            Register.SEED: network.seed,
            Register.TRAIN_ENTRY: 0,
            Register.INFER_ENTRY: program.infer_entry,
            Register.INPUTS: network.widths[0],
            Register.CLASSES: network.widths[-1],
            Register.WIDE_INPUTS: int(network.formats.input.width > 8),
            Register.FASTEST: -network.learning.rate_at(0),
            Register.SLOWEST: -network.learning.rate_at(network.learning.epochs - 1),
        }
        return cls(
            program.parameters,
            network.fingerprint,
            program.layers,
            program.blocks,
            registers,
            encode_program(program.instructions),
            program.pack(weights).astype(np.int16),
        )

    def check(self, parameters: EngineParameters) -> None:
        """Refuse an engine that the image was not made for.

        Raises
        ------
        ImageError
            Naming every parameter that differs.
        """
        if self.parameters.fingerprint == parameters.fingerprint:
            return
        ours, theirs = self.parameters.to_dict(), parameters.to_dict()
        differences = [f"{name} {ours[name]} instead of {theirs[name]}" for name in ours if ours[name] != theirs[name]]
        raise ImageError(f"the image was made for another engine ({', '.join(differences)}); compile the network for this engine")

    def writes(self, words: int) -> Iterator[tuple[Space, int, Words]]:
        """What loading writes: (space, address, data) of WRITE requests with at most so many words of data each.

        An item that is longer than that is written alone.
        """
        for register, value in self.registers.items():
            yield Space.REGISTERS, register, np.array([value], dtype=np.uint32)
        yield from _chunks(Space.PROGRAM, self.program.reshape(-1), INSTRUCTION_WORDS, words)
        yield from _chunks(Space.WEIGHTS, pack_weights(self.weights), weight_item_words(self.parameters.lanes), words)

    def encode(self) -> bytes:
        """The bytes of the image file (safetensors): the same for equal images."""
        # safetensors writes the memory as it lies: a transposed view would be written transposed.
        tensors: dict[str, NDArray[Any]] = {
            "program": np.ascontiguousarray(self.program),
            "weights": np.ascontiguousarray(self.weights),
        }
        table = self._table()
        table["sha256"] = _digest(table, tensors)
        return save(tensors, metadata={METADATA_KEY: json.dumps(table, sort_keys=True)})

    def save(self, path: Path) -> None:
        """Write the image file, whole or not at all.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        write_atomic(path, self.encode())

    @classmethod
    def load(cls, path: Path) -> "Image":
        """Read an image file.

        Raises
        ------
        ImageError
            If it cannot be read, is torn, or is no image of this version.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is no mapping
        except OSError as error:
            raise ImageError(f"cannot read the image {path}: {error.strerror or 'no such file'}") from None
        except SafetensorError as error:
            raise ImageError(f"{path} is torn or no image ({error}); write it again") from None
        try:
            return cls._decode(metadata, tensors)
        except FrennError as error:
            raise ImageError(f"{path} {error}") from None

    @classmethod
    def _decode(cls, metadata: dict[str, str], tensors: dict[str, NDArray[Any]]) -> "Image":
        try:
            table = json.loads(metadata[METADATA_KEY])
            version, digest = table["version"], table.pop("sha256")
        except (KeyError, TypeError, ValueError, RecursionError):
            raise ImageError("is no image of frenn; give the image.safetensors of a run") from None
        if version != IMAGE_VERSION:
            raise ImageError(f"is an image of version {version}, this program reads version {IMAGE_VERSION}; write it again")
        if digest != _digest(table, tensors):
            raise ImageError("is torn: its content is not what was written; write it again")
        return cls(
            EngineParameters.from_dict(table["engine"]),
            table["network"],
            tuple(LayerMap(**entry) for entry in table["layers"]),
            tuple(BlockMap(**entry) for entry in table["blocks"]),
            {Register[name]: value for name, value in table["registers"].items()},
            tensors["program"],
            tensors["weights"],
        )

    def _table(self) -> dict[str, Any]:
        return {
            "version": IMAGE_VERSION,
            "engine": self.parameters.to_dict(),
            "engine_fingerprint": f"{self.parameters.fingerprint:016x}",
            "network": self.network,
            "layers": [asdict(layer) for layer in self.layers],
            "blocks": [asdict(block) for block in self.blocks],
            "registers": {register.name: value for register, value in self.registers.items()},
        }


def _chunks(space: Space, data: Words, item: int, words: int) -> Iterator[tuple[Space, int, Words]]:
    items = max(words // item, 1)
    for start in range(0, len(data), items * item):
        yield space, start // item, data[start : start + items * item]


def _digest(table: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> str:
    content = hashlib.sha256(json.dumps(table, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        content.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        content.update(np.ascontiguousarray(tensor).tobytes())
    return content.hexdigest()
