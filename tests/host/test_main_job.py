# SPDX-License-Identifier: Apache-2.0
"""The main job, end to end: real data, the compiled gateware, and nothing modelled in between."""

import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from frenn.firmware.counters import ENGINE, GOLDEN
from frenn.firmware.image import Image
from frenn.firmware.parameters import PRESETS
from frenn.host import training
from frenn.host.cli import main
from frenn.host.datasets import load
from frenn.host.run import load_run, load_weights
from frenn.host.targets import choose_engine
from frenn.sim.compiled import CompiledGolden

DIGITS = Path(__file__).parents[2] / "examples" / "digits.toml"
FILES = {"network.toml", "run.json", "image.safetensors", "metrics.jsonl", "weights.safetensors", "learning-curve.png"}
FRENN = Path(sys.executable).with_name("frenn")
"""The installed command."""


def arguments(out: Path, target: str, *more: str, samples: int = 60, epochs: int = 2) -> list[str]:
    return ["train", str(DIGITS), "--on", target, "--samples", str(samples), "--epochs", str(epochs), "--out", str(out), *more]


def start(*command: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen([FRENN, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})


def metrics(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_complete(run: Path, epochs: int) -> None:
    """Require a folder of that many epochs, every file readable and of one run."""
    assert {path.name for path in run.iterdir()} == FILES
    network, options = load_run(run)
    assert (run / "network.toml").read_bytes() == DIGITS.read_bytes() and network.widths == (64, 64, 64, 10)
    image = Image.load(run / "image.safetensors")
    assert image.network == network.fingerprint and image.parameters == choose_engine(network)
    assert image.parameters.to_dict() == options["engine"]
    records = metrics(run)
    assert [record["epoch"] for record in records] == list(range(1, epochs + 1))
    for record in records:
        assert record["samples"] == record["training"]["trained"] == options["samples"]
        assert record["test_samples"] == record["evaluation"]["inferred"] == 360
        for name in ENGINE:
            assert (record["training"][name] is None) == (options["target"] == "golden"), name
    for block, shape in zip(load_weights(run / "weights.safetensors", network), network.weight_shapes, strict=True):
        assert block.shape == shape
    assert (run / "learning-curve.png").read_bytes().startswith(b"\x89PNG")


def assert_same_learning(one: Path, other: Path) -> None:
    """Require what must not depend on the machine: the files, and of the metrics all but the engine's counters."""
    for name in FILES - {"run.json", "metrics.jsonl"}:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    for mine, theirs in zip(metrics(one), metrics(other), strict=True):
        for phase in ("training", "evaluation"):
            mine[phase], theirs[phase] = ({name: record[phase][name] for name in GOLDEN} for record in (mine, theirs))
        assert mine == theirs


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the golden model."""
    out = tmp_path_factory.mktemp("golden") / "run"
    assert main(arguments(out, "golden")) == 0
    assert_complete(out, 2)
    return out


def test_verified_on_the_twin(golden, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(arguments(out, "twin", "--verify")) == 0
    assert "verified: weights, accuracies and counters of every epoch are equal on twin and golden" in capsys.readouterr().out
    assert_complete(out, 2)
    assert_same_learning(out, golden)
    for record in metrics(out):
        counters = record["training"]
        assert counters["cycles"] > counters["run_cycles"] > counters["forward_issues"] + counters["update_issues"] > 0


def test_installed_command(golden, tmp_path):
    outs = [tmp_path / "first", tmp_path / "second"]
    for out in outs:
        process = start(*arguments(out, "twin", "--verify"))
        printed, said = process.communicate()
        assert process.returncode == 0, said
        assert "verified: " in printed and printed.count("test accuracy") == 3
        assert_complete(out, 2)
        assert_same_learning(out, golden)
    for name in FILES:
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes(), name


def test_verified_through_the_byte_link(tmp_path, capsys):
    short = {"samples": 20, "epochs": 1}
    outs = [tmp_path / "bytes", tmp_path / "golden"]
    assert main(arguments(outs[0], "twin", "--link", "bytes", "--verify", **short)) == 0
    assert "verified: " in capsys.readouterr().out
    assert main(arguments(outs[1], "golden", **short)) == 0
    assert_complete(outs[0], 1)
    assert_same_learning(*outs)


def test_interrupted_on_the_twin(tmp_path):
    out = tmp_path / "run"
    process = start(*arguments(out, "twin", samples=200, epochs=80))
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch  2/80"):
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    epochs = len(metrics(out))
    assert 2 <= epochs < 80 and f"frenn: stopped; {out} is kept up to epoch {epochs}" in said
    assert f"go on with: frenn resume {out}\n" in said
    assert "Traceback" not in said
    shutil.rmtree(out / "checkpoints")
    assert_complete(out, epochs)
    # As far as it went, the weights are those of the last epoch that the folder tells of.
    network, _ = load_run(out)
    golden = CompiledGolden(network)
    dataset = load("digits", None, network.seed).first(200)
    *_, last = islice(training.epochs(golden, network, dataset, lambda count: None), epochs)
    assert last.test_accuracy == metrics(out)[-1]["test_accuracy"]
    for got, expected in zip(load_weights(out / "weights.safetensors", network), last.weights, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("preset", "link"), [*((preset, "packets") for preset in PRESETS), ("small", "bytes")])
def test_generated_verilog_is_always_the_same(tmp_path, preset, link):
    texts = []
    for seed in ("1", "2"):
        out = tmp_path / f"{seed}.v"
        process = start("generate", "--preset", preset, "--lanes", "16", "--link", link, "-o", str(out), PYTHONHASHSEED=seed)
        _, said = process.communicate()
        assert process.returncode == 0, said
        texts.append(out.read_bytes())
    assert texts[0] == texts[1] and b"module frenn(" in texts[0]
