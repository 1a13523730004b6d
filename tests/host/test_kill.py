# SPDX-License-Identifier: Apache-2.0
"""A run whose program is killed at random moments, and goes on to the bits of one that is not."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

DIGITS = Path(__file__).parents[2] / "examples" / "digits.toml"
FRENN = Path(sys.executable).with_name("frenn")
"""The installed command."""
FILES = ("network.toml", "run.json", "image.safetensors", "metrics.jsonl", "weights.safetensors", "learning-curve.png")
TRAIN = ("train", str(DIGITS), "--on", "golden", "--epochs", "4", "--test-samples", "50", "--checkpoint-every", "100", "--out")


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([FRENN, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate()
    assert process.returncode == 0, said
    return said


def test_killed_at_random_moments(pytestconfig: pytest.Config, rng: np.random.Generator, tmp_path: Path) -> None:
    process = start(tmp_path, *TRAIN, "whole")
    while not (tmp_path / "whole" / "run.json").exists():
        assert process.poll() is None
        time.sleep(0.001)
    began = time.monotonic()
    finish(process)
    # From the first file to the end.
    duration = time.monotonic() - began
    kills, run = 0, tmp_path / "run"
    places = []
    arguments = (*TRAIN, "run")
    while kills < pytestconfig.getoption("--kills"):
        process = start(tmp_path, *arguments)
        # What a program does in its first seconds, before it touches a file, is of no interest.
        if arguments[0] == "resume":
            assert process.stdout is not None
            process.stdout.readline()
        while process.poll() is None and not (run / "network.toml").exists():
            time.sleep(0.001)
        time.sleep(float(rng.uniform(0, duration)))
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        if process.returncode == 0:
            assert_same(tmp_path / "whole", run)
            shutil.rmtree(run)
        else:
            assert process.returncode == -signal.SIGKILL, said
            kills += 1
            places.append(sorted(path.name for path in (run / "checkpoints").glob("*"))[-1:])
            if not (run / "run.json").exists():
                # Killed before it had begun.
                shutil.rmtree(run)
        arguments = ("resume", "run") if run.exists() else (*TRAIN, "run")
    print(f"{kills} kills, newest checkpoints {places}")
    finish(start(tmp_path, *arguments))
    assert_same(tmp_path / "whole", run)


def assert_same(one: Path, other: Path) -> None:
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()} == set(FILES)
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
