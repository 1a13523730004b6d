# SPDX-License-Identifier: Apache-2.0
"""Image files: same bytes, whole or refused."""

import dataclasses
import os

import numpy as np
import pytest
from frenn.firmware.compiler import compile_network
from frenn.firmware.errors import ImageError
from frenn.firmware.files import write_atomic
from frenn.firmware.image import Image
from frenn.firmware.network import Network
from frenn.firmware.parameters import EngineParameters
from frenn.firmware.protocol import Register, Space
from safetensors.numpy import save_file


@pytest.fixture
def image() -> Image:
    network = Network.chain([13, 9, 6, 3], seed=7)
    program = compile_network(network, EngineParameters.for_network(network, 8))
    return Image.build(program, network.initial_weights())


def test_round_trip(image, tmp_path):
    path = tmp_path / "image.safetensors"
    image.save(path)
    again = Image.load(path)
    for item in dataclasses.fields(Image):
        np.testing.assert_array_equal(getattr(again, item.name), getattr(image, item.name))
    assert again.program.dtype == np.uint32 and again.weights.dtype == np.int16
    assert {again.encode() for _ in range(10)} == {path.read_bytes()}
    assert [item.name for item in tmp_path.iterdir()] == ["image.safetensors"]


def test_writes_cover_everything_in_whole_items(image):
    for words in (1, 17, 254):
        registers = {}
        program, weights = [], []
        for space, address, data in image.writes(words):
            if space is Space.REGISTERS:
                registers[Register(address)] = int(data[0])
                continue
            part, item = (program, 5) if space is Space.PROGRAM else (weights, 4)
            assert len(data) % item == 0 and len(data) <= max(words, item)
            assert address == sum(map(len, part)) // item
            part.append(data)
        assert registers == image.registers
        np.testing.assert_array_equal(np.concatenate(program), image.program.reshape(-1))
        np.testing.assert_array_equal(np.concatenate(weights).view("<i2"), image.weights.reshape(-1))


def test_torn_anywhere(image, tmp_path):
    path = tmp_path / "image.safetensors"
    data = image.encode()
    for length in (0, 5, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ImageError, match=r"torn or no image"):
            Image.load(path)


def test_every_changed_byte_of_the_content_is_seen(image, tmp_path, rng):
    path = tmp_path / "image.safetensors"
    data = bytearray(image.encode())
    start = int.from_bytes(data[:8], "little") + 8
    for position in rng.integers(start, len(data), 20):
        changed = bytearray(data)
        changed[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        with pytest.raises(ImageError, match="torn"):
            Image.load(path)


def test_changed_metadata_is_seen(image, tmp_path):
    path = tmp_path / "image.safetensors"
    path.write_bytes(image.encode().replace(b'INPUTS\\": 13', b'INPUTS\\": 14'))
    with pytest.raises(ImageError, match="torn"):
        Image.load(path)


def test_foreign(image, tmp_path):
    path = tmp_path / "other.safetensors"
    with pytest.raises(ImageError, match="cannot read"):
        Image.load(path)
    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(ImageError, match="no image of frenn"):
        Image.load(path)
    path.write_bytes(image.encode().replace(b'version\\": 2', b'version\\": 3'))
    with pytest.raises(ImageError, match="version 3"):
        Image.load(path)


def test_other_engine(image):
    image.check(image.parameters)
    with pytest.raises(ImageError, match=r"lanes 8 instead of 16, weight_depth \d+ instead of 4096"):
        image.check(dataclasses.replace(image.parameters, lanes=16, weight_depth=4096))


def test_write_atomic_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(OSError):
        write_atomic(tmp_path / "nowhere" / "file", b"x")
    write_atomic(path / "file", b"one")
    write_atomic(path / "file", b"two")

    def full(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_atomic(path / "file", b"three")
    assert [item.read_bytes() for item in path.iterdir()] == [b"two"]
