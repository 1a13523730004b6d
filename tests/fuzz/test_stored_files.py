# SPDX-License-Identifier: Apache-2.0
"""Images, checkpoints, weights, options and IDX files that are damaged or foreign: refused in one clear line, or what was written."""

import gzip
import json
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from frenn.firmware.compiler import Program, compile_network
from frenn.firmware.errors import LinkError
from frenn.firmware.image import METADATA_KEY, Image
from frenn.firmware.network import Network
from frenn.firmware.parameters import EngineParameters
from frenn.host import commands
from frenn.host.checkpoint import Checkpoint, Identity
from frenn.host.cli import main
from frenn.host.datasets import load as load_data
from frenn.host.idx import read_idx
from frenn.host.run import encode_weights, load_weights
from frenn.host.training import State
from frenn.sim.golden import Golden
from fuzzing import attempt, damaged, said
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

NETWORK = Network.chain([64, 5, 10], name="little", seed=9)
PROGRAM: Program = compile_network(NETWORK, EngineParameters.for_network(NETWORK, 4))
IMAGE = Image.build(PROGRAM, NETWORK.initial_weights())
STATE = replace(State.initial(NETWORK), epoch=1, done=20, hits=7, counters={"trained": 20}, host={"step": np.array(3)})
CHECKPOINT = Checkpoint(Identity(9, NETWORK.fingerprint, "0" * 64), STATE, [{"epoch": 1, "training": {"trained": 40}}])
FILES: dict[str, tuple[bytes, Callable[[Path], Any], Callable[[Any], bytes]]] = {
    "image": (IMAGE.encode(), Image.load, Image.encode),
    "checkpoint": (CHECKPOINT.encode(), Checkpoint.load, Checkpoint.encode),
    "weights": (
        encode_weights(NETWORK, STATE.weights),
        lambda path: load_weights(path, NETWORK),
        lambda weights: encode_weights(NETWORK, weights),
    ),
}
"""By kind of file: its contents, what reads it, and what writes what was read."""

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
NESTED = "[" * 5_000
DIGITS = "9" * 5_000


def file(factory: pytest.TempPathFactory, name: str, contents: bytes) -> Path:
    path = factory.getbasetemp() / name
    path.write_bytes(contents)
    return path


@pytest.mark.parametrize("kind", FILES)
@given(data=st.data())
def test_damaged(tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject) -> None:
    """What is taken is what was written: weights are never others than those learned."""
    whole, read, write = FILES[kind]
    found = attempt(read, file(tmp_path_factory, kind, data.draw(damaged(whole))))
    assert found is None or kind == "weights" or write(found) == whole


@pytest.mark.parametrize("kind", FILES)
@given(data=st.data())
def test_foreign(tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject) -> None:
    """A whole file of the same format, with other tensors or another table."""
    whole, read, write = FILES[kind]
    tensors = load(whole)
    size = int.from_bytes(whole[:8], "little")
    text = json.loads(whole[8 : 8 + size])["__metadata__"][METADATA_KEY]
    names = st.sampled_from([*tensors, "weight.7", "host.", ""])
    other = st.sampled_from([np.zeros(0, np.int16), np.zeros((3, 2), np.float32), np.arange(6, dtype=np.int64), np.array(1, np.int16)])
    for name, tensor in data.draw(st.dictionaries(names, st.one_of(st.none(), other), max_size=2)).items():
        if tensor is None:
            tensors.pop(name, None)
        else:
            tensors[name] = tensor
    table = json.loads(text)
    if isinstance(table, dict):
        for key, value in data.draw(st.dictionaries(st.sampled_from([*table, "x"]), JSON, max_size=2)).items():
            table[key] = value
    texts = st.one_of(st.just(json.dumps(table)), JSON.map(json.dumps), st.text(), st.sampled_from([NESTED, DIGITS]))
    metadata = {data.draw(st.sampled_from([METADATA_KEY, "other"])): data.draw(texts)}
    found = attempt(read, file(tmp_path_factory, kind, save(tensors, metadata=metadata)))
    assert found is None or kind == "weights" or write(found) == whole


@given(st.binary(max_size=200))
def test_noise(tmp_path_factory: pytest.TempPathFactory, contents: bytes) -> None:
    for kind, (_, read, _) in FILES.items():
        assert attempt(read, file(tmp_path_factory, kind, contents)) is None
    assert attempt(read_idx, file(tmp_path_factory, "idx", b"\0\0" + contents), 3) is None or contents[:2] == b"\x08\x03"


def idx(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@given(data=st.data(), compressed=st.booleans())
def test_damaged_idx(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, compressed: bool) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    contents = idx(values)
    damage = data.draw(damaged(gzip.compress(contents, mtime=0) if compressed else contents))
    found = attempt(read_idx, file(tmp_path_factory, "idx", damage), data.draw(st.sampled_from([1, 3])))
    # A compressed file carries a checksum of what is in it.
    assert found is None or not compressed or (found == values).all()


@contextmanager
def stopping(target: str, program: Program, *rest: object) -> Iterator[Golden]:
    """A machine that learns until its second epoch begins."""
    golden = Golden(program.network)
    train, calls = golden.train, []

    def once(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) > 1:
            raise LinkError("the cable came off")
        return train(*arguments)

    golden.train = once  # type: ignore[method-assign]
    yield golden


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run folder with a checkpoint: of a network that learned one of two epochs. No machine goes on with it."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "net.toml").write_text('name = "net"\nlayers = [64, 4, 10]\n[learning]\nrate = "2^-5"\nepochs = 2\n')
    arguments = ("--on", "golden", "--samples", "60", "--test-samples", "20", "--out", str(folder / "run"))
    digits = load_data("digits", None, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "open_machine", stopping)
        assert main(["train", str(folder / "net.toml"), *arguments]) == 2
        patch.setattr(commands, "open_machine", no_machine)
        patch.setattr(commands, "load", lambda name, *rest: digits if name == "digits" else load_data(name, *rest))
        yield folder / "run"


def no_machine(*arguments: object) -> NoReturn:
    raise LinkError("there is no machine; that is all this test wants to know")


@given(data=st.data())
def test_a_run_folder_with_other_options(run: Path, data: st.DataObject) -> None:
    """A run whose files are damaged is read, or refused in one line."""
    copy = run.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    name = data.draw(st.sampled_from(["run.json", "run.json", "network.toml", "weights.safetensors"]))
    contents = (copy / name).read_bytes()
    if name == "run.json" and data.draw(st.booleans()):
        options = json.loads(contents)
        for key in data.draw(st.lists(st.sampled_from(sorted(options)), min_size=1, max_size=2)):
            options[key] = data.draw(JSON)
        contents = json.dumps(options).encode()
    else:
        contents = data.draw(st.one_of(damaged(contents), st.sampled_from([NESTED.encode(), DIGITS.encode()])))
    (copy / name).write_bytes(contents)
    for verb in ("eval", "resume"):
        code, lines = said([verb, str(copy)])
        assert code in (0, 2) and len(lines) == (code == 2), (verb, code, lines)
