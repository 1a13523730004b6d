# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: the states of a run as files that are whole, checked, and its own."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..firmware.errors import FrennError
from ..firmware.files import write_atomic
from ..firmware.image import METADATA_KEY
from ..firmware.network import Network
from .datasets import Dataset
from .training import State

VERSION: Final = 2
KEPT: Final = 2
"""Newest checkpoints that are kept: one more than is used, should the newest be torn."""


class CheckpointError(FrennError):
    """A checkpoint that is torn, of another version, or of another run."""


class TornError(CheckpointError):
    """A checkpoint that does not hold what was written."""


@dataclass(frozen=True)
class Identity:
    """What a run learns, and from what: a checkpoint goes on with nothing else.

    Parameters
    ----------
    seed : int
    network : str
        Fingerprint.
    data : str
        Digest of the samples; see `digest`.
    """

    seed: int
    network: str
    data: str

    @classmethod
    def of(cls, network: Network, dataset: Dataset) -> "Identity":
        """That of a network on a data set."""
        return cls(network.seed, network.fingerprint, digest(dataset))

    def check(self, found: "Identity", what: str) -> None:
        """Refuse another identity, found in ``what``.

        Raises
        ------
        CheckpointError
            Naming what is another.
        """
        if found.seed != self.seed:
            raise CheckpointError(f"{what} belongs to seed {found.seed}, this run has seed {self.seed}; take the foreign file away")
        for name, kind in (("network", "network"), ("data", "data")):
            mine, theirs = getattr(self, name), getattr(found, name)
            if mine != theirs:
                raise CheckpointError(f"{what} belongs to other {kind} ({theirs[:12]}, not {mine[:12]}); go on with its own")


def digest(dataset: Dataset) -> str:
    """SHA-256 (hexadecimal) of all inputs and labels."""
    content = hashlib.sha256()
    for array in (dataset.train_inputs, dataset.train_labels, dataset.test_inputs, dataset.test_labels):
        content.update(f"{array.dtype} {array.shape}".encode())
        content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A state, and what the run has told so far.

    Parameters
    ----------
    identity : Identity
    state : State
    records : list of dict
        Lines of ``metrics.jsonl`` of the epochs before.
    """

    identity: Identity
    state: State
    records: list[dict[str, Any]]

    def encode(self) -> bytes:
        """The bytes of the file (safetensors): an int16 tensor per weight block, and the host's arrays."""
        state = self.state
        # safetensors writes the memory as it lies: a transposed view would be written transposed.
        tensors: dict[str, NDArray[Any]] = {
            f"weight.{index}": np.ascontiguousarray(block, dtype=np.int16) for index, block in enumerate(state.weights)
        }
        tensors |= {f"host.{name}": np.asarray(array, order="C") for name, array in state.host.items()}
        table = {
            "version": VERSION,
            "identity": asdict(self.identity),
            "state": {name: getattr(state, name) for name in ("epoch", "done", "hits", "counters", "seconds")},
            "records": self.records,
        }
        table["sha256"] = _digest(table, tensors)
        # The order of the keys stays: that of a record is the order in its line.
        return save(tensors, metadata={METADATA_KEY: json.dumps(table)})

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read a checkpoint file.

        Raises
        ------
        TornError
            If it does not hold what was written.
        CheckpointError
            If it cannot be read, or is of another version.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                table = json.loads((file.metadata() or {})[METADATA_KEY])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is no mapping
            found, version = table.pop("sha256"), table["version"]
        except OSError as error:
            raise CheckpointError(f"cannot read the checkpoint {path}: {error.strerror or 'no such file'}") from None
        except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
            raise TornError(f"{path} is torn or no checkpoint") from None
        if found != _digest(table, tensors):
            raise TornError(f"{path} is torn: its content is not what was written")
        if version != VERSION:
            raise CheckpointError(f"{path} is of version {version}, this program reads version {VERSION}; use the frenn that wrote it")
        weights = [tensors[f"weight.{index}"].astype(np.int64) for index in range(sum(name.startswith("weight.") for name in tensors))]
        host = {name.removeprefix("host."): array for name, array in tensors.items() if name.startswith("host.")}
        return cls(Identity(**table["identity"]), State(**table["state"], weights=weights, host=host), table["records"])


class Checkpoints:
    """The checkpoints in a folder, named by epoch, from 0, and samples of it that are learned.

    Parameters
    ----------
    folder : Path
        Is made with the first checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def paths(self) -> list[Path]:
        """The files, newest first."""
        return sorted(self.folder.glob("*.safetensors"), reverse=True) if self.folder.is_dir() else []

    def write(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint, then remove all but the newest `KEPT`.

        Raises
        ------
        OSError
            If it cannot be written; those before are as they were.
        """
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"{checkpoint.state.epoch:07d}-{checkpoint.state.done:010d}.safetensors"
        write_atomic(path, checkpoint.encode())
        for old in self.paths()[KEPT:]:
            old.unlink()
        return path

    def newest(self, identity: Identity, say: Callable[[str], None]) -> Checkpoint | None:
        """The newest good checkpoint, or None if there is none at all.

        Parameters
        ----------
        identity : Identity
            Of the run that goes on.
        say : callable
            Told of torn files.

        Raises
        ------
        CheckpointError
            If it belongs to another run, or all are torn.
        """
        torn = None
        for path in self.paths():
            try:
                checkpoint = Checkpoint.load(path)
            except TornError as error:
                torn = error
                say(f"{error}; the one before it is used")
                continue
            identity.check(checkpoint.identity, f"the checkpoint {path}")
            return checkpoint
        if torn is not None:
            raise CheckpointError(f"no checkpoint in {self.folder} is whole; remove that folder, and the run begins anew")
        return None

    def remove(self) -> None:
        """Remove the folder and all that a run wrote into it."""
        if self.folder.is_dir():
            # Oldest first: what an interruption leaves is the newest.
            for path in [*sorted(self.folder.glob(".*.part")), *reversed(self.paths())]:
                path.unlink()
            if not any(self.folder.iterdir()):
                self.folder.rmdir()


def _digest(table: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> str:
    content = hashlib.sha256(json.dumps(table, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        content.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        content.update(np.ascontiguousarray(tensor).tobytes())
    return content.hexdigest()
