# SPDX-License-Identifier: Apache-2.0
"""Data sets: real samples as bytes, split into a training and a test set."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..firmware.arithmetic import IntArray, round_half_up
from ..firmware.errors import FrennError
from ..firmware.formats import Format
from ..firmware.network import Network
from .idx import find_idx, read_idx

NAMES: Final = ("digits", "mnist")
MNIST_SHAPE: Final = (28, 28)
MNIST_TRAINING: Final = 60_000
BYTE: Final = Format(False, 0, 8)
"""Format of the stored inputs."""

Bytes = NDArray[np.uint8]


class DataError(FrennError):
    """Data that cannot be read, or that does not suit the network; the message names the file or set."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled samples; all arrays are read-only.

    Parameters
    ----------
    name : str
    train_inputs, test_inputs : (samples, features) uint8
        U0.8.
    train_labels, test_labels : (samples,) int64
        Classes from 0.
    classes : int
    """

    name: str
    train_inputs: Bytes
    train_labels: IntArray
    test_inputs: Bytes
    test_labels: IntArray
    classes: int

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    def check(self, network: Network) -> None:
        """Refuse a network of other inputs or classes.

        Raises
        ------
        DataError
            Saying both.
        """
        features = self.train_inputs.shape[1]
        if features != network.widths[0]:
            raise DataError(
                f"the {self.name} data have {features} inputs, network {network.name!r} takes {network.widths[0]}; "
                "change the first of layers or choose other data"
            )
        if self.classes != network.widths[-1]:
            raise DataError(
                f"the {self.name} data have {self.classes} classes, network {network.name!r} has {network.widths[-1]} outputs; "
                "change the last of layers or choose other data"
            )

    def first(self, samples: int | None = None, test_samples: int | None = None) -> "Dataset":
        """The set with its first ``samples`` training and ``test_samples`` test samples alone; None keeps all.

        Raises
        ------
        DataError
            If it has fewer.
        """
        for option, kind, count, have in (
            ("--samples", "training", samples, len(self.train_labels)),
            ("--test-samples", "test", test_samples, len(self.test_labels)),
        ):
            if count is not None and not 1 <= count <= have:
                raise DataError(f"{option} is {count}, the {self.name} data have {have} {kind} samples; choose 1 to {have}")
        return replace(
            self,
            train_inputs=self.train_inputs[:samples],
            train_labels=self.train_labels[:samples],
            test_inputs=self.test_inputs[:test_samples],
            test_labels=self.test_labels[:test_samples],
        )


def quantise(inputs: Bytes, form: Format) -> IntArray:
    """Bytes, U0.8, in a network's input format.

    More fraction bits are exact. Fewer round to nearest, ties up, and a value that rounds to 1, which ``U0.n`` does not
    have, becomes the largest of the format.

    Parameters
    ----------
    inputs : uint8 array
    form : Format
        ``U0.n``.

    Returns
    -------
    int64 array, same shape
    """
    values = inputs.astype(np.int64)
    if form.fraction >= BYTE.fraction:
        return values << (form.fraction - BYTE.fraction)
    return np.minimum(round_half_up(values, BYTE.fraction - form.fraction), form.maximum)


def load(name: str, data_dir: Path | None = None, seed: int = 1) -> Dataset:
    """Load a data set.

    Parameters
    ----------
    name : {"digits", "mnist"}
        ``digits``: the 8 x 8 digits that scikit-learn ships (pixels 0 to 16, so the input is 16 times the pixel, at
        most 255), a stratified 80/20 split drawn from the seed. ``mnist``: 28 x 28 bytes, 60,000 and 10,000 samples.
    data_dir : Path, optional
        Folder of the four IDX files of ``mnist``; without it they come through scikit-learn from OpenML.
    seed : int
        32 bits; splits ``digits``.

    Raises
    ------
    DataError
        If the data cannot be had, or are not what they should be.
    """
    if name == "digits":
        if data_dir is not None:
            raise DataError("the digits ship with scikit-learn; leave --data-dir out, or use --data mnist")
        return _digits(seed)
    if name == "mnist":
        return _mnist_files(data_dir) if data_dir is not None else _mnist_openml()
    raise DataError(f"there is no data set {name!r}; choose one of {', '.join(NAMES)}")


def whole_bytes(values: NDArray[np.generic], where: str) -> Bytes:
    """Numbers as uint8, same shape.

    Raises
    ------
    DataError
        If one is not a whole number from 0 to 255, NaN and infinity included; ``where`` names their source.
    """
    numbers = np.asarray(values)
    if numbers.dtype != np.uint8:
        if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
            raise DataError(f"{where} holds NaN or infinity; every value must be a whole number from 0 to 255")
        if numbers.dtype.kind not in "iuf" or (numbers != np.clip(np.floor(numbers), 0, 255)).any():
            raise DataError(f"{where} holds values other than whole numbers from 0 to 255; store the pixels as bytes")
    return numbers.astype(np.uint8)


def _digits(seed: int) -> Dataset:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    inputs = np.minimum(16 * bunch.data, BYTE.maximum).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, random_state=seed, stratify=labels)
    return Dataset("digits", inputs[train], labels[train], inputs[test], labels[test], 10)


def _mnist_files(folder: Path) -> Dataset:
    if not folder.is_dir():
        raise DataError(f"the data folder {folder} is no folder; give the one with the MNIST files, such as train-images-idx3-ubyte.gz")
    parts = []
    for part in ("train", "t10k"):
        images_path, labels_path = find_idx(folder, f"{part}-images", 3), find_idx(folder, f"{part}-labels", 1)
        images = whole_bytes(read_idx(images_path, 3), str(images_path))
        if images.shape[1:] != MNIST_SHAPE or not len(images):
            shape = " x ".join(map(str, images.shape))
            raise DataError(f"{images_path} has the shape {shape}; MNIST images are count x 28 x 28, fetch the file again")
        labels = _labels(read_idx(labels_path, 1), str(labels_path))
        if len(labels) != len(images):
            raise DataError(f"{labels_path} has {len(labels)} labels for the {len(images)} images of {images_path.name}; fetch both again")
        parts.append((images.reshape(len(images), -1), labels))
    (train_inputs, train_labels), (test_inputs, test_labels) = parts
    return Dataset("mnist", train_inputs, train_labels, test_inputs, test_labels, 10)


def _mnist_openml() -> Dataset:
    from sklearn.datasets import fetch_openml

    try:
        # This parser needs no pandas.
        bunch = fetch_openml("mnist_784", version=1, as_frame=False, parser="liac-arff")
    except (OSError, ValueError) as error:
        raise DataError(
            f"MNIST cannot be had from OpenML ({type(error).__name__}: {_one_line(error)}); "
            "check the network, or give a folder of its IDX files with --data-dir"
        ) from None
    where = "mnist_784 from OpenML"
    inputs = whole_bytes(bunch.data, where)
    if inputs.ndim != 2 or inputs.shape[1] != 784 or len(inputs) <= MNIST_TRAINING or len(bunch.target) != len(inputs):
        raise DataError(f"{where} has the shape {inputs.shape}, not (70000, 784); clear scikit-learn's cache or use --data-dir")
    try:
        labels = _labels(bunch.target.astype(np.float64), where)
    except ValueError as error:
        raise DataError(f"{where} has labels that are no numbers ({_one_line(error)}); use --data-dir") from None
    split = MNIST_TRAINING
    return Dataset("mnist", inputs[:split], labels[:split], inputs[split:], labels[split:], 10)


def _labels(values: NDArray[np.generic], where: str) -> IntArray:
    labels = whole_bytes(values, where).astype(np.int64)
    if labels.size and labels.max() > 9:
        raise DataError(f"{where} has a label {labels.max()} out of range; legal are the classes 0 to 9, fetch the file again")
    return labels


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or "no reason given"
