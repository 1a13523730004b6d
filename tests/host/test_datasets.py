# SPDX-License-Identifier: Apache-2.0
"""Data sets and IDX files, good and bad."""

import gzip
import os
import urllib.error
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.datasets
from frenn.firmware.errors import FrennError
from frenn.firmware.formats import Format
from frenn.firmware.network import Network
from frenn.host import datasets

CODES = {"u1": 0x08, "f4": 0x0D, "f8": 0x0E}


def idx(values: np.ndarray) -> bytes:
    code = CODES[values.dtype.str[1:]]
    return (
        bytes([0, 0, code, values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.astype(values.dtype.newbyteorder(">")).tobytes()
    )


def write(folder: Path, name: str, data: bytes, style: str = "-idx{}-ubyte") -> Path:
    path = folder / f"{name}{style.format(3 if name.endswith('images') else 1)}"
    path.write_bytes(gzip.compress(data) if style.endswith(".gz") else data)
    return path


@pytest.fixture
def parts(rng):
    return {
        "train-images": rng.integers(0, 256, (12, 28, 28), dtype=np.uint8),
        "train-labels": rng.integers(0, 10, 12, dtype=np.uint8),
        "t10k-images": rng.integers(0, 256, (5, 28, 28), dtype=np.uint8),
        "t10k-labels": rng.integers(0, 10, 5, dtype=np.uint8),
    }


@pytest.mark.parametrize("style", ["-idx{}-ubyte", ".idx{}-ubyte", "-idx{}-ubyte.gz", ".idx{}-ubyte.gz"])
@pytest.mark.parametrize("kind", ["u1", "f4", "f8"])
def test_mnist_files(tmp_path, parts, style, kind):
    for name, values in parts.items():
        write(tmp_path, name, idx(values.astype(kind)), style)
    data = datasets.load("mnist", tmp_path)
    np.testing.assert_array_equal(data.train_inputs, parts["train-images"].reshape(12, 784))
    np.testing.assert_array_equal(data.test_inputs, parts["t10k-images"].reshape(5, 784))
    np.testing.assert_array_equal(data.train_labels, parts["train-labels"])
    np.testing.assert_array_equal(data.test_labels, parts["t10k-labels"])
    assert data.train_inputs.dtype == np.uint8 and data.train_labels.dtype == np.int64 and data.classes == 10
    with pytest.raises(ValueError, match="read-only"):
        data.train_inputs[0, 0] = 1


def broken(parts):
    images, labels = parts["train-images"], parts["train-labels"]
    good = idx(images)
    nan = images.astype("f4")
    nan[3, 4, 5] = np.nan
    return {
        "truncated": ("train-images", good[:-1], "truncated: 9407 of 9408"),
        "truncated head": ("train-images", good[:9], "truncated within its head"),
        "oversized": ("train-images", good + b"x", "bytes after"),
        "empty": ("train-images", b"", "no IDX file"),
        "foreign": ("train-images", b"PK\3\4 something else", "no IDX file"),
        "swapped": ("train-images", idx(labels), "1 dimensions, not 3"),
        "huge claim": ("train-images", bytes([0, 0, 8, 3]) + b"\xff" * 12, "claims"),
        "wrong shape": ("train-images", idx(images[:, :27]), "12 x 27 x 28"),
        "no images": ("train-images", idx(images[:0]), "0 x 28 x 28"),
        "fewer labels": ("train-labels", idx(labels[:-1]), "11 labels for the 12 images"),
        "label 10": ("train-labels", idx(np.full(12, 10, np.uint8)), "label 10 out of range"),
        "label 1.5": ("train-labels", idx(np.full(12, 1.5, "f4")), "whole numbers"),
        "NaN": ("train-images", idx(nan), "NaN"),
        "negative": ("train-images", idx(np.full((12, 28, 28), -1, "f4")), "whole numbers"),
        "torn gzip": ("train-images", gzip.compress(good)[:-9], "torn"),
        "damaged gzip": ("train-images", gzip.compress(good)[:40] + b"\xff" * 60, "torn"),
    }


@pytest.mark.parametrize("case", broken({"train-images": np.zeros((12, 28, 28), np.uint8), "train-labels": np.zeros(12, np.uint8)}))
def test_bad_files_are_named(tmp_path, parts, case):
    for name, values in parts.items():
        write(tmp_path, name, idx(values))
    name, data, message = broken(parts)[case]
    path = write(tmp_path, name, data)
    with pytest.raises(FrennError, match=message) as caught:
        datasets.load("mnist", tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_files(tmp_path):
    with pytest.raises(FrennError, match="is no folder"):
        datasets.load("mnist", tmp_path / "nowhere")
    with pytest.raises(FrennError, match="has no train-images-idx3-ubyte"):
        datasets.load("mnist", tmp_path)


def test_digits():
    data = datasets.load("digits", seed=3)
    again, other = datasets.load("digits", seed=3), datasets.load("digits", seed=4)
    assert data.train_inputs.shape == (1437, 64) and data.test_inputs.shape == (360, 64)
    np.testing.assert_array_equal(data.train_inputs, again.train_inputs)
    assert (data.train_inputs != other.train_inputs).any()
    pixels = sklearn.datasets.load_digits().data
    assert sorted(map(tuple, np.concatenate([data.train_inputs, data.test_inputs]))) == sorted(map(tuple, np.minimum(16 * pixels, 255)))
    counts = np.bincount(data.train_labels) / np.bincount(np.concatenate([data.train_labels, data.test_labels]))
    assert counts.min() > 0.78 and counts.max() < 0.82
    assert len(data.first(10).train_labels) == 10 and len(data.first(10).test_labels) == 360
    assert len(data.first(test_samples=20).train_labels) == 1437 and len(data.first(test_samples=20).test_labels) == 20
    with pytest.raises(FrennError, match="--test-samples is 0, the digits data have 360 test samples"):
        data.first(test_samples=0)
    with pytest.raises(FrennError, match="1437 training samples"):
        data.first(1438)


def test_openml(monkeypatch, rng):
    inputs, labels = rng.integers(0, 256, (60_003, 784)).astype(float), rng.integers(0, 10, 60_003).astype(str).astype(object)
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda *args, **rest: SimpleNamespace(data=inputs, target=labels))
    data = datasets.load("mnist")
    assert data.train_inputs.shape == (60_000, 784) and data.test_inputs.shape == (3, 784)
    np.testing.assert_array_equal(data.test_labels, labels[60_000:].astype(int))
    inputs[5, 5] = np.nan
    with pytest.raises(FrennError, match="OpenML holds NaN"):
        datasets.load("mnist")


def test_openml_out_of_reach(monkeypatch):
    def fetch(*args, **rest):
        raise urllib.error.URLError("no route\nto host")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    with pytest.raises(FrennError, match=r"no route to host.*--data-dir"):
        datasets.load("mnist")


def test_data_against_network():
    data = datasets.load("digits")
    data.check(Network.chain([64, 5, 10]))
    with pytest.raises(FrennError, match=r"64 inputs.*takes 63"):
        data.check(Network.chain([63, 5, 10]))
    with pytest.raises(FrennError, match=r"10 classes.*has 9 outputs"):
        data.check(Network.chain([64, 5, 9]))
    with pytest.raises(FrennError, match="one of digits, mnist"):
        datasets.load("letters")
    with pytest.raises(FrennError, match="leave --data-dir out"):
        datasets.load("digits", Path("x"))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("U0.8", [0, 7, 8, 247, 248, 255]),
        ("U0.4", [0, 0, 1, 15, 15, 15]),
        ("U0.12", [0, 112, 128, 3952, 3968, 4080]),
        ("U0.1", [0, 0, 0, 1, 1, 1]),
    ],
)
def test_quantise(form, expected):
    values = np.array([0, 7, 8, 247, 248, 255], dtype=np.uint8)
    assert datasets.quantise(values, Format.parse(form)).tolist() == expected


def test_real_mnist():
    beside = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist"
    folder = Path(os.environ["FRENN_MNIST"]) if "FRENN_MNIST" in os.environ else beside
    if not folder.is_dir():
        pytest.skip("no MNIST files; set FRENN_MNIST to their folder")
    data = datasets.load("mnist", folder)
    assert data.train_inputs.shape == (60_000, 784) and data.test_inputs.shape == (10_000, 784)
    assert data.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
