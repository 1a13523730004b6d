# SPDX-License-Identifier: Apache-2.0
"""The run folder: everything that a training run leaves, complete up to its last epoch at any time."""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..firmware.arithmetic import IntArray
from ..firmware.errors import FrennError
from ..firmware.files import write_atomic
from ..firmware.image import METADATA_KEY, Image
from ..firmware.network import Network, parse_network
from .plot import learning_curve
from .training import Epoch, with_options

NETWORK: Final = "network.toml"
OPTIONS: Final = "run.json"
IMAGE: Final = "image.safetensors"
METRICS: Final = "metrics.jsonl"
WEIGHTS: Final = "weights.safetensors"
PICTURE: Final = "learning-curve.png"


class RunError(FrennError):
    """A run folder that cannot be made or read."""


class RunFolder:
    """A new run folder, and a context manager that removes it if an error or an interruption comes before the first epoch ends.

    Parameters
    ----------
    path : Path
        Is made, with its parents; may exist if it is empty.
    network_file : bytes
        The network file as given: written at once, so that a folder that cannot be written is refused before any work.

    Raises
    ------
    RunError
        If the folder exists and is not empty, or cannot be made or written.
    """

    def __init__(self, path: Path, network_file: bytes) -> None:
        self.path = path
        self._records: list[dict[str, Any]] = []
        self._made = [folder for folder in (path, *path.parents) if not folder.exists()]
        self._written: list[str] = []
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise RunError(f"the run folder {path} exists and is not empty; choose another --out or remove it")
            self._write(NETWORK, network_file)
        except OSError as error:
            self._remove()
            raise RunError(f"cannot write the run folder {path}: {error.strerror}; choose another --out") from None

    @property
    def epochs(self) -> int:
        """Epochs that the folder holds."""
        return len(self._records)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None and not self._records:
            self._remove()

    def begin(self, options: dict[str, Any], image: Image) -> None:
        """Write what is known before training: the options, with ``name`` and ``seed`` of the network, and the initial image."""
        self._write(OPTIONS, (json.dumps(options, indent=2, sort_keys=True) + "\n").encode())
        self._write(IMAGE, image.encode())

    def record(self, epoch: Epoch, network: Network) -> None:
        """Bring weights, metrics and picture up to date; an interruption waits until all three are written."""
        weights = encode_weights(network, epoch.weights)
        records = [*self._records, epoch.metrics()]
        lines = "".join(json.dumps(record) + "\n" for record in records)
        picture = learning_curve(records, f"{network.name}, {'-'.join(map(str, network.widths))}")
        with _uninterrupted():
            self._write(WEIGHTS, weights)
            self._write(METRICS, lines.encode())
            self._write(PICTURE, picture)
            self._records = records

    def _write(self, name: str, data: bytes) -> None:
        self._written.append(name)
        write_atomic(self.path / name, data)

    def _remove(self) -> None:
        for name in self._written:
            (self.path / name).unlink(missing_ok=True)
        for folder in self._made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


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
    """Network, as it was trained, and options of a run folder.

    Raises
    ------
    RunError
        If it is no run folder.
    """
    try:
        text = (path / NETWORK).read_bytes().decode()
        options = json.loads((path / OPTIONS).read_bytes())
        if missing := {"name", "seed", "epochs", "engine", "data", "data_dir"} - set(options):
            raise RunError(f"{OPTIONS} lacks {', '.join(sorted(missing))}")
        network = with_options(parse_network(text, default_name=options["name"]), options["seed"], options["epochs"])
    except OSError as error:
        raise RunError(f"{path} is no run folder: cannot read {error.filename}: {error.strerror}") from None
    except (TypeError, ValueError) as error:
        raise RunError(f"{path} is no run folder of this version: {error}") from None
    return network, options


def _weights_table(network: Network) -> dict[str, str]:
    return {"network": network.fingerprint, "format": str(network.formats.weight)}


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done; only the main thread of a program receives it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    previous = signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if held and callable(previous):
        previous(*held[0])
