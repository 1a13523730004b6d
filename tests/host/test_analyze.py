# SPDX-License-Identifier: Apache-2.0
"""``frenn analyze``: what it writes, what it refuses, what an interruption leaves."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from frenn.firmware.formats import Format
from frenn.firmware.network import Formats, Relaxation, load_network
from frenn.host import analyze, commands, datasets
from frenn.host.analysis_pictures import structure
from frenn.host.analyze import COLUMNS, AnalysisError, parse_betas
from frenn.host.cli import main
from frenn.host.run import load_run, load_weights
from frenn.sim import compiled
from frenn.sim.dynamics import input_drive, recurrent, spectral_radius, steps_to_rest, sweeps_to_rest, with_beta
from frenn.sim.golden import Golden

FILES = {"analysis.json", "sweep.csv", "sweep.png", "change.csv", "change.png", "states.csv", "states.png"}
NETWORK = 'name = "tiny net"\nlayers = [64, 8, 6, 10]\nseed = 3\nfeedback_scale = "2^-3"\n[learning]\nrate = "2^-5"\nepochs = 1\n'
QUICK = ("--samples", "2", "--betas", "2^-3,0.3,2^0", "--cap", "60")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a network file and a run; golden without a compiler's start-up time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compiled, "CompiledGolden", Golden)
    Path("net.toml").write_text(NETWORK)
    return tmp_path


@pytest.fixture
def run(folder, monkeypatch) -> Path:
    class Closing(Golden):
        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

    monkeypatch.setattr(commands, "open_machine", lambda target, program, link, say: Closing(program.network))
    assert main(["train", "net.toml", "--on", "golden", "--samples", "60", "--test-samples", "40", "--out", "run"]) == 0
    return Path("run")


def read(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_run_before_and_after_training(run, capsys):
    assert main(["analyze", "run", "--test-samples", "30", "--steps", "5", "--out", "out", *QUICK]) == 0
    out, err = capsys.readouterr()
    assert err == "" and out.splitlines()[-1] == "see out" and "initial and learned weights" in out
    assert {path.name for path in Path("out").iterdir()} == FILES
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in Path("out").glob("*.png"))
    points = read("out/sweep.csv")
    assert [(point["weights"], point["beta"]) for point in points] == [
        (kind, beta) for kind in ("initial", "learned") for beta in ("0.125", "0.3", "1")
    ]
    network, _ = load_run(run)
    weights = {"initial": network.initial_weights(), "learned": load_weights(run / "weights.safetensors", network)}
    data = datasets.load("digits", seed=3)
    for point in points:
        assert tuple(point) == COLUMNS
        blocks, beta = weights[point["weights"]], float(point["beta"])
        assert float(point["spectral_radius"]) == pytest.approx(spectral_radius(recurrent(network, blocks, beta).matrix), rel=1e-8)
        if beta == 0.3:
            assert point["test_error"] == point["jacobi_sweeps"] == ""
            continue
        golden = Golden(with_beta(network, int(np.log2(beta))))
        golden.load(blocks)
        wrong = golden.infer(data.test_inputs[:30].astype(int)) != data.test_labels[:30]
        assert float(point["test_error"]) == pytest.approx(wrong.mean(), rel=1e-8)
        for schedule in ("jacobi", "sequential"):
            golden = Golden(replace(golden.network, relaxation=Relaxation(schedule, 500)))
            golden.load(blocks)
            golden.infer(data.test_inputs[:2].astype(int))
            # The sweep that changes nothing is not counted as a time.
            times = golden.counters()["free_sweeps"] / 2 - 1
            if times <= 30:
                assert float(point[f"{schedule}_sweeps"]) == times and point[f"{schedule}_at_rest"] == "1"
    changes = read("out/change.csv")
    assert len(changes) == 2 * 4 * 5 and {line["beta"] for line in changes} == {"0.125", "0.3", "1", "own"}
    states = read("out/states.csv")
    # Its own scale is the least of the sweep, so it has no column of its own.
    assert len(states) == 2 * 2 * 6 and {line["beta"] for line in states} == {"own", "1"}
    assert len(states[0]) == 3 + 14 and all(float(states[0][f"hidden1[{neuron}]"]) == 0 for neuron in range(8))
    options = json.loads(Path("out/analysis.json").read_text())
    assert (options["data"], options["samples"], options["test_samples"], options["steps"], options["cap"]) == ("digits", 2, 30, 5, 60)


def test_network_file_without_data(folder, capsys):
    assert main(["analyze", "net.toml", *QUICK]) == main(["analyze", "net.toml", *QUICK]) == 0
    assert "initial weights, random inputs, 20 steps" in capsys.readouterr().out
    assert {point["test_error"] for point in read("runs/tiny-net-analysis/sweep.csv")} == {""}
    assert {path.name for path in Path("runs/tiny-net-analysis-2").iterdir()} == FILES
    for name in FILES:
        assert Path("runs/tiny-net-analysis", name).read_bytes() == Path("runs/tiny-net-analysis-2", name).read_bytes(), name


@pytest.mark.parametrize(
    "layers",
    [
        "layers = [4, 3, 2]",
        "layers = [4, 3, 3, 3, 3, 3, 3, 3, 2]",
        'layers = [4, 3, 3, 3, 2]\nfeedback = "fixed"\n[links]\nevery = 2\nprobability = 0.5',
        'layers = [4, 3, 3, 2]\nactivation = "hard_sigmoid"\n[relaxation]\nschedule = "jacobi"',
    ],
)
def test_any_graph(folder, layers):
    Path("net.toml").write_text(layers)
    assert main(["analyze", "net.toml", "--out", "out", "--samples", "1", "--betas", "0.01", "--cap", "20"]) == 0
    assert {path.name for path in Path("out").iterdir()} == FILES


def test_narrow_copies_are_analysed(folder):
    """All figures are those of a network that has nothing but the copies."""
    Path("net.toml").write_text(NETWORK + '[formats]\nmac_weight = "S0.4"\n')
    assert main(["analyze", "net.toml", "--out", "out", *QUICK]) == 0
    network = load_network("net.toml")
    copies = [np.clip((block + 64) // 128, -15, 15) for block in network.initial_weights()]
    narrow = replace(network, formats=Formats(weight=Format(True, 0, 4)))
    inputs = np.random.default_rng((3, 0x64)).integers(0, 255, (2, 64), endpoint=True)
    drive = input_drive(narrow, copies, inputs)
    for point in read("out/sweep.csv"):
        beta = float(point["beta"])
        system = recurrent(narrow, copies, beta)
        assert float(point["spectral_radius"]) == pytest.approx(spectral_radius(system.matrix), rel=1e-8)
        assert float(point["steps_to_rest"]) == pytest.approx(steps_to_rest(system, drive, 60)[0].mean(), rel=1e-8)
        if beta != 0.3:
            sweeps = [*sweeps_to_rest(with_beta(narrow, int(np.log2(beta))), copies, inputs, "jacobi", 60)]
            assert float(point["jacobi_sweeps"]) == pytest.approx(np.mean(sweeps), rel=1e-8)


def test_one_hidden_layer_has_no_recurrence(folder):
    Path("net.toml").write_text("layers = [4, 3, 2]")
    assert main(["analyze", "net.toml", "--out", "out", "--betas", "2^-2,2^0"]) == 0
    for point in read("out/sweep.csv"):
        assert (point["spectral_radius"], point["lyapunov_exponent"], point["steps_to_rest"]) == ("0", "-inf", "1")


def test_what_golden_refuses_is_said(folder, capsys, monkeypatch):
    def refuse(network, *arguments):
        raise AnalysisError("too wide")

    monkeypatch.setattr(analyze, "sweeps_to_rest", refuse)
    assert main(["analyze", "net.toml", "--out", "out", *QUICK]) == 0
    assert "no integer figures at beta 2^-3: too wide" in capsys.readouterr().err
    assert {point["jacobi_sweeps"] for point in read("out/sweep.csv")} == {""}


def test_betas():
    assert parse_betas("2^-2,...,2^1") == [0.25, 0.5, 1, 2]
    assert parse_betas("1, 0.01,2^0,2^-3,...,2^-2") == [0.01, 0.125, 0.25, 1]
    assert parse_betas(analyze.BETAS) == [2.0**exponent for exponent in range(-10, 3)]
    for text in ("", "a", "2^", "0", "-1", "nan", "inf", "2^11", "2^-31", "...", "...,2^0", "2^-1,...", "0.5,...,1", "1e-2,...,2^2"):
        with pytest.raises(AnalysisError, match="--betas"):
            parse_betas(text)


def test_structure():
    assert structure([784, 64, 64, 64, 10]) == "784-3x64-10" and structure([64, 64, 64, 10]) == "64-64-64-10"


def occupied() -> list[str]:
    Path("out").mkdir()
    Path("out/precious").write_text("keep")
    return []


def torn() -> list[str]:
    Path("net.toml").write_text("layers = [64,")
    return []


def way() -> list[str]:
    Path("way").write_text("keep")
    return ["--out", "way/out"]


BAD = {
    "occupied": (occupied, "out exists and is not empty"),
    "file in the way": (way, "cannot write the folder way/out"),
    "torn": (torn, "is no TOML"),
    "steps": (lambda: ["--steps", "0"], "--steps is 0"),
    "cap": (lambda: ["--cap", "4094"], "legal is 1 to 4093"),
    "samples": (lambda: ["--samples", "0"], "--samples is 0"),
    "too many samples": (lambda: ["--data", "digits", "--samples", "361"], "legal is 1 to 360"),
    "test samples": (lambda: ["--data", "digits", "--test-samples", "361"], "choose 1 to 360"),
    "test samples of nothing": (lambda: ["--test-samples", "3"], "name it with --data"),
    "folder of nothing": (lambda: ["--data-dir", "x"], "name it with --data"),
    "data set": (lambda: ["--data", "letters"], "invalid choice"),
    "no data folder": (lambda: ["--data", "mnist", "--data-dir", "nowhere"], "nowhere is no folder"),
    "betas": (lambda: ["--betas", "2^-3,x"], "--betas has 'x'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(folder, capsys, case):
    prepare, message = BAD[case]
    arguments = prepare()
    before = {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
    assert main(["analyze", "net.toml", "--out", "out", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("frenn: error: ") and err.count("\n") == 1 and message in err
    assert {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")} == before


def test_bad_subjects(folder, capsys):
    Path("empty").mkdir()
    for subject, message in (("nowhere", "cannot read the network file"), ("empty", "no run folder")):
        assert main(["analyze", subject, "--out", "out"]) == 2
        assert message in capsys.readouterr().err and not Path("out").exists()


@pytest.mark.parametrize("place", ["steps_to_rest", "states_picture"])
def test_interruption_leaves_nothing(folder, capsys, monkeypatch, place):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(analyze, place, interrupt)
    assert main(["analyze", "net.toml", "--out", "deep/out", *QUICK]) == 130
    assert capsys.readouterr().err == "frenn: stopped\n" and {path.name for path in folder.iterdir()} == {"net.toml"}


def test_weights_of_another_network_are_refused(run, capsys):
    (run / "network.toml").write_text(NETWORK.replace("6, 10", "7, 10"))
    assert main(["analyze", "run", "--out", "out"]) == 2
    assert "not learned by network" in capsys.readouterr().err and not Path("out").exists()


def test_all_scales_are_replaced(folder):
    network = load_network("net.toml")
    assert {edge.feedback_exponent for edge in with_beta(network, 2).edges} == {2}
