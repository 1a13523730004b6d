# SPDX-License-Identifier: Apache-2.0
"""The run folder: everything that a training run leaves, complete up to its last epoch at any time, and what it goes on from."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..firmware.arithmetic import IntArray
from ..firmware.errors import FrennError
from ..firmware.files import write_atomic
from ..firmware.image import METADATA_KEY, Image
from ..firmware.network import Network, parse_network
from ..firmware.parameters import EngineParameters
from .checkpoint import Checkpoint, Checkpoints, Identity
from .interruption import uninterrupted
from .lock import Lock
from .plot import learning_curve
from .training import Epoch, State, with_options

NETWORK: Final = "network.toml"
OPTIONS: Final = "run.json"
IMAGE: Final = "image.safetensors"
METRICS: Final = "metrics.jsonl"
WEIGHTS: Final = "weights.safetensors"
PICTURE: Final = "learning-curve.png"
CHECKPOINTS: Final = "checkpoints"


_KINDS: Final[dict[str, type | tuple[type, ...]]] = {
    "name": str,
    "seed": int,
    "epochs": int,
    "engine": dict,
    "data": str,
    "data_dir": (str, type(None)),
    "samples": int,
    "test_samples": int,
    "target": str,
    "link": str,
    "verify": bool,
    "checkpoint_every": int,
    "data_sha256": str,
}
"""Types of the options by which a run is read and gone on with."""


class RunError(FrennError):
    """A run folder that cannot be made or read."""


class RunFolder:
    """A run folder that is written to.

    A context manager that removes a new folder again if an error or an interruption comes before there is anything to go on from.

    Parameters
    ----------
    path : Path
        A new folder is made, with its parents; it may exist if it is empty.
    network_file : bytes, optional
        The network file as given, for a new folder: written at once, so that a folder that cannot be written is refused before any
        work. Without it the run in the folder goes on.

    Raises
    ------
    RunError
        If a new folder exists and is not empty, or cannot be made or written.
    BusyError
        If another program writes to the folder.
    """

    def __init__(self, path: Path, network_file: bytes | None = None) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path / CHECKPOINTS)
        self._identity: Identity | None = None
        self._records: list[dict[str, Any]] = []
        self._reached: State | None = None
        self._made = [folder for folder in (path, *path.parents) if not folder.exists()]
        self._new = network_file is not None
        self._written: list[str] = []
        self._lock: Lock | None = None
        try:
            if network_file is not None:
                path.mkdir(parents=True, exist_ok=True)
                if any(path.iterdir()):
                    raise RunError(f"the run folder {path} exists and is not empty; choose another --out or remove it")
            self._lock = Lock(path, f"the run folder {path}")
            if network_file is not None:
                self._write(NETWORK, network_file)
            else:
                for part in [*path.glob(".*.part"), *self.checkpoints.folder.glob(".*.part")]:
                    part.unlink()
        except OSError as error:
            self._close()
            raise RunError(f"cannot write the run folder {path}: {error.strerror}; choose another --out") from None
        except BaseException:
            self._close()
            raise

    @property
    def kept(self) -> bool:
        """Whether there is anything to go on from."""
        return not self._new or bool(self._records) or bool(self.checkpoints.paths())

    @property
    def progress(self) -> str:
        """How far the run is kept and how to go on with it, for a message."""
        state = self._reached
        epochs, samples = (len(self._records), 0) if state is None else (state.epoch, state.done)
        parts = [*([f"epoch {epochs}"] if epochs else []), *([f"sample {samples} of epoch {epochs + 1}"] if samples or not epochs else [])]
        return f"{self.path} is kept up to {' and '.join(parts)}; go on with: frenn resume {shlex.quote(str(self.path))}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close(remove=kind is not None and not self.kept)

    def begin(self, options: dict[str, Any], image: Image, identity: Identity) -> None:
        """Write what is known before training: the options, with ``name`` and ``seed`` of the network, and the initial image.

        Raises
        ------
        RunError
            If it cannot be written, here as in all that follows.
        """
        self._identity = identity
        self._store(OPTIONS, (json.dumps(options, indent=2, sort_keys=True) + "\n").encode())
        self._store(IMAGE, image.encode())

    def resume(self, identity: Identity, image: Image, say: Callable[[str], None]) -> State | None:
        """The state of the newest good checkpoint, or None if there is no checkpoint.

        Parameters
        ----------
        identity : Identity
            Of the run.
        image : Image
            The initial one, should it be missing still.
        say : callable
            Told of torn checkpoints.

        Raises
        ------
        CheckpointError
            If the newest one belongs to another run, or all are torn.
        """
        self._identity = identity
        if not (self.path / IMAGE).exists():
            self._store(IMAGE, image.encode())
        checkpoint = self.checkpoints.newest(identity, say)
        if checkpoint is None:
            return None
        self._records, self._reached = checkpoint.records, checkpoint.state
        return checkpoint.state

    def record(self, epoch: Epoch, network: Network) -> None:
        """Bring weights, metrics and picture up to date; an interruption waits until all three are written."""
        weights = encode_weights(network, epoch.weights)
        records = [*self._records, epoch.metrics()]
        lines = "".join(json.dumps(record) + "\n" for record in records)
        picture = learning_curve(records, f"{network.name}, {'-'.join(map(str, network.widths))}")
        with uninterrupted():
            self._store(WEIGHTS, weights)
            self._store(METRICS, lines.encode())
            self._store(PICTURE, picture)
            self._records = records
            self._reached = None

    def keep(self, state: State) -> None:
        """Write a checkpoint."""
        assert self._identity is not None
        with uninterrupted():
            try:
                self.checkpoints.write(Checkpoint(self._identity, state, self._records))
            except OSError as error:
                raise RunError(f"cannot write a checkpoint into {self.checkpoints.folder}: {error.strerror}; make room") from None
            self._reached = state

    def finish(self) -> None:
        """The run is over: nobody goes on from its checkpoints."""
        self.checkpoints.remove()

    def _store(self, name: str, data: bytes) -> None:
        try:
            self._write(name, data)
        except OSError as error:
            raise RunError(f"cannot write {self.path / name}: {error.strerror}; make room") from None

    def _write(self, name: str, data: bytes) -> None:
        self._written.append(name)
        write_atomic(self.path / name, data)

    def _close(self, *, remove: bool = True) -> None:
        if self._new and remove:
            for name in self._written:
                (self.path / name).unlink(missing_ok=True)
            self.checkpoints.remove()
            for folder in self._made:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
        if self._lock is not None:
            self._lock.close()


def complete(path: Path, epochs: int) -> bool:
    """Whether the run in a folder is over: so many epochs are recorded, and no checkpoint is left."""
    metrics = path / METRICS
    return metrics.is_file() and len(metrics.read_bytes().splitlines()) == epochs and not Checkpoints(path / CHECKPOINTS).paths()


def free_path(parent: Path, stem: str) -> Path:
    """The first of ``parent/stem``, ``parent/stem-2``, ``parent/stem-3``, ... that does not exist."""
    path, number = parent / stem, 1
    while path.exists():
        number += 1
        path = parent / f"{stem}-{number}"
    return path


def encode_weights(network: Network, weights: list[IntArray]) -> bytes:
    """The bytes of a weights file (safetensors): an int16 (rows, columns) tensor per edge, by `Network.weight_names`.

    It says nothing of the machine that learned them, so that equal weights are equal bytes.
    """
    # safetensors writes the memory as it lies: a transposed view would be written transposed.
    tensors = {name: np.ascontiguousarray(block, dtype=np.int16) for name, block in zip(network.weight_names, weights, strict=True)}
    return save(tensors, metadata={METADATA_KEY: json.dumps(_weights_table(network), sort_keys=True)})


def load_weights(path: Path, network: Network) -> list[IntArray]:
    """Read a weights file, a (rows, columns) int64 array per edge.

    Raises
    ------
    RunError
        If it cannot be read, is torn, or belongs to another network.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is no mapping
    except OSError as error:
        raise RunError(f"cannot read the weights {path}: {error.strerror or 'no such file'}") from None
    except SafetensorError as error:
        raise RunError(f"{path} is torn or no weights file ({error}); train again") from None
    if metadata.get(METADATA_KEY) != json.dumps(_weights_table(network), sort_keys=True):
        raise RunError(f"{path} was not learned by network {network.name!r} as it is described beside it; train again")
    shapes = dict(zip(network.weight_names, network.weight_shapes, strict=True))
    if {name: tensor.shape for name, tensor in tensors.items()} != shapes or any(t.dtype != np.int16 for t in tensors.values()):
        raise RunError(f"{path} does not hold the weights of network {network.name!r}; train again")
    return [tensors[name].astype(np.int64) for name in network.weight_names]


def load_run(path: Path) -> tuple[Network, dict[str, Any]]:
    """Network, as it was trained, and options of a run folder; those that are there have the types that they are written with.

    Raises
    ------
    RunError
        If it is no run folder.
    """
    try:
        text = (path / NETWORK).read_bytes().decode()
        options = json.loads((path / OPTIONS).read_bytes())
        if missing := {"name", "seed", "epochs", "engine", "data", "data_dir", "test_samples"} - set(options):
            raise RunError(f"{OPTIONS} lacks {', '.join(sorted(missing))}")
        for name, kind in _KINDS.items():
            value = options.get(name)
            if name in options and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
                raise RunError(f"{OPTIONS}: {name} is {value!r}")
        EngineParameters.from_dict(options["engine"])
        network = with_options(parse_network(text, default_name=options["name"]), options["seed"], options["epochs"])
    except OSError as error:
        raise RunError(f"{path} is no run folder: cannot read {error.filename}: {error.strerror}") from None
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise RunError(f"{path} is no run folder of this version: {error}") from None
    return network, options


def _weights_table(network: Network) -> dict[str, str]:
    return {"network": network.fingerprint, "format": str(network.formats.weight)}
