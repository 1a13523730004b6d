# SPDX-License-Identifier: Apache-2.0
"""What fuzzing found: each ended a program with a traceback, or with a message that nobody can read."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frenn.firmware.errors import LONGEST, FrennError
from frenn.firmware.image import METADATA_KEY, Image
from frenn.firmware.network import parse_network
from frenn.host.checkpoint import Checkpoint
from frenn.host.cli import main
from fuzzing import attempt, said
from safetensors.numpy import save

NESTED = "[" * 5_000
"""JSON that no reader follows to its end."""
NETWORK = 'name = "net"\nlayers = [64, 4, 10]\n'


def test_an_integer_of_more_digits_than_python_prints() -> None:
    with pytest.raises(FrennError, match="an integer has more than 64 bits"):
        parse_network(f"layers = [64, 8, 10]\nseed = 0x{'f' * 5_000}")


@pytest.mark.parametrize("text", ["name = [{}]", "activation = '{}'", "'{}' = 1", "layers = ['{}']"])
def test_a_value_longer_than_anybody_reads(text: str) -> None:
    assert attempt(parse_network, text.format("9" * 4_000)) is None


@pytest.mark.parametrize("value", ['"a\\nb"', '"\\u0007"', '"\\u202e"'])
def test_a_message_is_one_line_whatever_it_quotes(value: str) -> None:
    assert attempt(parse_network, f"layers = [64, 8, 10]\nedges = [{{source = {value}, target = 'output'}}]") is None


def test_the_middle_of_a_long_message_is_left_out() -> None:
    message = str(FrennError(f"cause {'x' * 5_000} remedy"))
    assert len(message) <= LONGEST and message.startswith("cause x") and message.endswith("x remedy")


@pytest.mark.parametrize("load", [Image.load, Checkpoint.load])
def test_a_table_that_is_nested_too_deeply(tmp_path: Path, load: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(save({"weight.0": np.zeros(1, np.int16)}, metadata={METADATA_KEY: NESTED}))
    assert attempt(load, path) is None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose run has not begun to learn."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "net.toml").write_text(NETWORK)
    out = folder / "run"
    assert main(["train", str(folder / "net.toml"), "--on", "golden", "--epochs", "1", "--samples", "20", "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize(
    "change",
    [
        {"engine": 5},
        {"engine": {"lanes": 4}},
        {"data": ["digits"]},
        {"data_dir": 5},
        {"test_samples": "20"},
        {"test_samples": True},
        {"name": None},
        {"seed": 1 << 70},
        {"test_samples": ...},
        NESTED,
        "[]",
        '["name", "seed", "epochs", "engine", "data", "data_dir", "test_samples"]',
    ],
    ids=lambda change: str(change)[:40],
)
@pytest.mark.parametrize("verb", ["eval", "resume"])
def test_options_that_are_none(run: Path, tmp_path: Path, verb: str, change: dict[str, Any] | str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    path = copy / "run.json"
    if isinstance(change, dict):
        options = {**json.loads(path.read_text()), **change}
        path.write_text(json.dumps({name: value for name, value in options.items() if value is not ...}))
    else:
        path.write_text(change)
    code, lines = said([verb, str(copy)])
    assert code == 2 and len(lines) == 1 and "is no run folder of this version" in lines[0]


def test_metrics_that_are_no_text(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "metrics.jsonl").write_bytes(b"\xff\n")
    assert said(["resume", str(copy)]) == (0, [])
