# SPDX-License-Identifier: Apache-2.0
"""The command line: runs, bad input, interruption."""

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from frenn.firmware.compiler import Program
from frenn.firmware.counters import ENGINE, NAMES
from frenn.firmware.errors import FrennError
from frenn.firmware.image import Image
from frenn.firmware.network import load_network
from frenn.host import commands, datasets
from frenn.host.cli import main
from frenn.host.driver import Driver
from frenn.host.run import encode_weights, load_run, load_weights
from frenn.sim import twin as twin_module
from frenn.sim.golden import Golden
from safetensors import safe_open

FILES = {"network.toml", "run.json", "image.safetensors", "metrics.jsonl", "weights.safetensors", "learning-curve.png"}
STOPPED = FILES | {"checkpoints"}
NETWORK = 'name = "tiny net"\nlayers = [64, 8, 10]\nseed = 3\n[learning]\nrate = "2^-5"\nhalve_every = 0\nepochs = 2\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a network file, and golden without a compiler's start-up time."""
    monkeypatch.chdir(tmp_path)
    Path("net.toml").write_text(NETWORK)
    monkeypatch.setattr(commands, "open_machine", lambda target, program, link, say: Closing(Golden(program.network)))
    return tmp_path


class Closing:
    """A context that gives a machine."""

    def __init__(self, machine):
        self.machine = machine

    def __enter__(self):
        return self.machine

    def __exit__(self, *exception):
        pass


@pytest.fixture
def twin(folder, monkeypatch, make_device):
    """The twin replaced by the modelled device behind the driver; returns what is called on each device made."""
    hooks = []

    def open_machine(target: str, program: Program, link: str, say):
        if target == "golden":
            return Closing(Golden(program.network))
        device = make_device(program)
        for hook in hooks:
            hook(device)
        return Driver(device, program)

    monkeypatch.setattr(commands, "open_machine", open_machine)
    return hooks


def run(*arguments: str) -> int:
    return main(["train", "net.toml", "--on", "golden", "--samples", "40", *arguments])


def files(path: str | Path) -> set[str]:
    return {item.name for item in Path(path).iterdir()}


def metrics(path: str | Path) -> list[dict]:
    return [json.loads(line) for line in (Path(path) / "metrics.jsonl").read_text().splitlines()]


def test_run_folder(folder, capsys):
    assert run("--out", "a/run") == 0
    out, err = capsys.readouterr()
    assert err == "" and [line.split(":")[0] for line in out.splitlines()] == [
        "tiny net",
        "epoch 1/2",
        "epoch 2/2",
        out.splitlines()[-1],
    ]
    assert files("a/run") == FILES
    assert (folder / "a/run/network.toml").read_text() == NETWORK
    options = json.loads((folder / "a/run/run.json").read_text())
    assert options["seed"] == 3 and options["epochs"] == 2 and options["samples"] == 40 and options["engine"]["lanes"] == 16
    network = load_network("net.toml")
    image = Image.load(folder / "a/run/image.safetensors")
    assert image.network == network.fingerprint and image.parameters.to_dict() == options["engine"]
    assert (folder / "a/run/learning-curve.png").read_bytes().startswith(b"\x89PNG")
    records = metrics("a/run")
    assert [record["epoch"] for record in records] == [1, 2] and [record["rate_exponent"] for record in records] == [-5, -5]
    for record in records:
        assert record["samples"] == record["training"]["trained"] == 40 and record["training"]["inferred"] == 0
        assert record["test_samples"] == record["evaluation"]["inferred"] == 360 and record["evaluation"]["trained"] == 0
        assert tuple(record["training"]) == tuple(record["evaluation"]) == NAMES
        assert all(record["training"][name] is None for name in ENGINE)
    with safe_open("a/run/weights.safetensors", "numpy") as file:
        assert set(file.keys()) == {"input->hidden1", "hidden1->output"}
        assert file.get_tensor("input->hidden1").dtype == np.int16 and file.get_tensor("input->hidden1").shape == (8, 64)


def test_it_is_the_loop_that_the_manual_describes(folder):
    assert run("--out", "run") == 0
    network = load_network("net.toml")
    data = datasets.load("digits", seed=3)
    golden = Golden(network)
    for epoch, record in enumerate(metrics("run")):
        order = np.random.default_rng((3, epoch)).permutation(40)
        predictions, _ = golden.train(data.train_inputs[:40][order].astype(int), data.train_labels[:40][order], 40 * epoch, -5)
        assert record["train_accuracy"] == np.mean(predictions == data.train_labels[:40][order])
        assert record["test_accuracy"] == np.mean(golden.infer(data.test_inputs.astype(int)) == data.test_labels)
    for got, expected in zip(load_weights(Path("run/weights.safetensors"), network), golden.weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_minibatches_go_through_the_epoch(folder):
    """The loop's calls of some samples each end no minibatch but the epoch's last."""
    Path("net.toml").write_text(f"{NETWORK}batch = 48\n")
    assert main(["train", "net.toml", "--on", "golden", "--samples", "300", "--epochs", "1", "--out", "run"]) == 0
    network, _ = load_run(Path("run"))
    data = datasets.load("digits", seed=3)
    golden = Golden(network)
    order = np.random.default_rng((3, 0)).permutation(300)
    golden.train(data.train_inputs[order].astype(int), data.train_labels[order], 0, -5)
    for got, expected in zip(load_weights(Path("run/weights.safetensors"), network), golden.weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


REMEDY = 'train it with --on golden alone, or with batch = 1 or update = "host" under [learning]'


@pytest.mark.parametrize("arguments", [["--on", "twin"], ["--on", "golden", "--verify"]])
def test_the_twin_trains_no_minibatches(folder, capsys, arguments):
    Path("net.toml").write_text(f"{NETWORK}batch = 48\n")
    assert main(["train", "net.toml", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("frenn: error: network 'tiny net' learns by sums over batches of 48 samples") and REMEDY in err
    assert err.count("\n") == 1 and {path.name for path in folder.iterdir()} == {"net.toml"}


def test_minibatches_are_checked_and_their_weights_predict_on_the_twin(folder, twin, capsys):
    Path("net.toml").write_text(f"{NETWORK}batch = 48\n")
    assert main(["check", "net.toml"]) == 0
    out = capsys.readouterr().out
    assert "stochastic rounding, sums over batches of 48, on golden alone\n" in out
    assert "engine small (16 lanes): fits to predict, not to train\n" in out and "engine tiny (4 lanes): network 'tiny net' does not" in out
    assert run("--out", "run") == 0
    accuracies = []
    for target in ("golden", "twin"):
        assert main(["eval", "run", "--on", target]) == 0
        accuracies.append(capsys.readouterr().out.splitlines()[-1].removesuffix(target))
    assert accuracies[0] == accuracies[1]


def test_same_seed_same_bytes(folder):
    assert run("--out", "a") == run("--out", "b") == run("--out", "c", "--seed", "4") == 0
    for name in FILES:
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes(), name
    for name in ("image.safetensors", "weights.safetensors", "metrics.jsonl"):
        assert Path("a", name).read_bytes() != Path("c", name).read_bytes(), name
    assert load_run(Path("c"))[0].seed == 4


def test_transposed_weights_are_written_as_they_read(folder):
    network = load_network("net.toml")
    weights = network.initial_weights()
    turned = [np.asfortranarray(block) for block in weights]
    assert encode_weights(network, turned) == encode_weights(network, weights)
    Path("weights.safetensors").write_bytes(encode_weights(network, turned))
    for got, expected in zip(load_weights(Path("weights.safetensors"), network), weights, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_default_folders_are_numbered(folder, capsys):
    assert run() == run("--epochs", "1") == run("--epochs", "3") == 0
    assert files("runs") == {"tiny-net-golden", "tiny-net-golden-2", "tiny-net-golden-3"}
    assert [len(metrics(Path("runs", f"tiny-net-golden{end}"))) for end in ("", "-2", "-3")] == [2, 1, 3]
    capsys.readouterr()
    assert main(["eval", "runs/tiny-net-golden-3"]) == 0
    assert capsys.readouterr().out == (
        f"test accuracy {100 * metrics('runs/tiny-net-golden-3')[-1]['test_accuracy']:.2f} % on 360 samples of digits, on golden\n"
    )


def test_an_empty_folder_is_taken(folder):
    Path("run").mkdir()
    assert run("--out", "run") == 0 and files("run") == FILES


def test_twin_and_golden_leave_equal_weights(twin):
    assert run("--out", "golden") == main(["train", "net.toml", "--on", "twin", "--samples", "40", "--out", "twin"]) == 0
    for name in ("weights.safetensors", "image.safetensors", "network.toml", "learning-curve.png"):
        assert Path("golden", name).read_bytes() == Path("twin", name).read_bytes()
    for one, other in zip(metrics("golden"), metrics("twin"), strict=True):
        assert one["test_accuracy"] == other["test_accuracy"]
        # Ten cycles a request of the modelled device, the reading of the counters included, and 5 << 32 to fill the high word. Of 40 and
        # 360 samples 32 go in a request.
        assert [other[phase]["cycles"] - (5 << 32) for phase in ("training", "evaluation")] == [10 * (2 + 1), 10 * (12 + 1)]


@pytest.mark.parametrize("target", ["golden", "twin"])
def test_verify(twin, capsys, target):
    assert main(["train", "net.toml", "--on", target, "--samples", "40", "--out", "run", "--verify"]) == 0
    assert "verified: weights, accuracies and counters of every epoch are equal" in capsys.readouterr().out
    assert files("run") == FILES and (metrics("run")[0]["training"]["cycles"] is None) == (target == "golden")


def spoil_weight(device):
    weights = device.golden.weights
    device.golden.weights = lambda: [block ^ (index == 0) for index, block in enumerate(weights())]


def spoil_counter(device):
    counters = device.golden.counters
    device.golden.counters = lambda: {**counters(), "free_sweeps": 1}


def spoil_prediction(device):
    infer = device.golden.infer
    device.golden.infer = lambda inputs: (infer(inputs) + 1) % 10


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_weight, "512 of 512 weights of input->hidden1"),
        (spoil_counter, "training counter free_sweeps"),
        (spoil_prediction, "test_accuracy"),
    ],
)
def test_verify_finds_a_difference(twin, capsys, spoil, message):
    twin.append(spoil)
    assert main(["train", "net.toml", "--on", "twin", "--samples", "40", "--out", "run", "--verify"]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("frenn: twin and golden differ in epoch 1: ") and message in err and "verified" not in out


def mnist(**changed) -> list[str]:
    """Arguments for MNIST files in ``data``, some of them changed."""
    Path("data").mkdir()
    parts = {"train-images-idx3": np.zeros((4, 28, 28)), "train-labels-idx1": np.zeros(4)}
    parts |= {"t10k-images-idx3": np.zeros((2, 28, 28)), "t10k-labels-idx1": np.zeros(2)}
    for name, values in parts.items():
        values = changed.get(name.split("-idx")[0].replace("-", "_"), values)
        kind, code = (">f4", 0x0D) if np.isnan(values).any() else (">u1", 0x08)
        data = bytes([0, 0, code, values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.astype(kind).tobytes()
        Path("data", f"{name}-ubyte").write_bytes(data)
    Path("net.toml").write_text("layers = [784, 4, 10]\n")
    return ["--data", "mnist", "--data-dir", "data"]


def with_network(text: str, *arguments: str):
    def prepare() -> list[str]:
        Path("net.toml").write_text(text)
        return list(arguments)

    return prepare


def truncated_data() -> list[str]:
    arguments = mnist()
    path = Path("data/train-images-idx3-ubyte")
    path.write_bytes(path.read_bytes()[:-1])
    return arguments


def occupied() -> list[str]:
    Path("run").mkdir()
    Path("run/precious").write_text("keep")
    return []


def file_in_the_way() -> list[str]:
    Path("way").write_text("keep")
    return ["--out", "way/run"]


def run_is_a_file() -> list[str]:
    Path("run").write_text("keep")
    return []


def unwritable() -> list[str]:
    if os.geteuid() == 0:
        return ["--out", "/proc/run"]
    Path("shut").mkdir(mode=0o500)
    return ["--out", "shut/run"]


BAD = {
    "unknown key": (with_network("layers = [64, 8, 10]\nlayer = 3\n"), "unknown key 'layer'"),
    "width 0": (with_network("layers = [64, 0, 10]\n"), "width is 0"),
    "edge to nowhere": (with_network('layers = [64, 8, 10]\nedges = [{source = "input", target = "nowhere"}]\n'), "nowhere"),
    "format too wide for the engine": (
        with_network('layers = [64, 8, 10]\n[formats]\nweight = "S0.15"\n', "--engine", "small"),
        "formats.weight is S0.15, the engine is built for S0.11",
    ),
    "state too wide for the engine": (
        with_network('layers = [64, 8, 10]\n[formats]\nstate = "S0.12"\n', "--engine", "small"),
        "vector_bits must be 13, the engine has 10",
    ),
    "format too wide": (with_network('layers = [64, 8, 10]\n[formats]\nweight = "S0.20"\n'), "at most 16 bits"),
    "beta": (with_network("layers = [64, 8, 10]\nfeedback_scale = 0.3\n"), "power of two"),
    "no TOML": (with_network("layers = [64,"), "is no TOML"),
    "too large for the engine": (with_network(NETWORK, "--engine", "tiny"), "neuron_depth must be 82, the engine has 64"),
    "lanes": (lambda: ["--lanes", "7"], "multiple of 4"),
    "no lanes": (lambda: ["--lanes", "0"], "1 to 128"),
    "epochs": (lambda: ["--epochs", "0"], "epochs is 0"),
    "seed": (lambda: ["--seed", "-1"], "seed is -1"),
    "no samples": (lambda: ["--samples", "0"], "choose 1 to 1437"),
    "too many samples": (lambda: ["--samples", "1438"], "choose 1 to 1437"),
    "no number": (lambda: ["--epochs", "many"], "invalid int value"),
    "engine": (lambda: ["--engine", "huge"], "invalid choice"),
    "data set": (lambda: ["--data", "letters"], "invalid choice"),
    "flag": (lambda: ["--frobnicate"], "unrecognized arguments"),
    "wrong inputs": (with_network("layers = [63, 8, 10]\n"), "have 64 inputs"),
    "wrong classes": (with_network("layers = [64, 8, 11]\n"), "have 10 classes"),
    "no data folder": (with_network("layers = [784, 8, 10]\n", "--data", "mnist", "--data-dir", "nowhere"), "nowhere is no folder"),
    "truncated data": (truncated_data, "train-images-idx3-ubyte is truncated"),
    "wrong shape": (lambda: mnist(t10k_images=np.zeros((2, 28, 27))), "t10k-images-idx3-ubyte has the shape 2 x 28 x 27"),
    "wrong dimensions": (lambda: mnist(train_images=np.zeros((4, 784))), "2 dimensions, not 3"),
    "labels missing": (lambda: mnist(train_labels=np.zeros(3)), "3 labels for the 4 images"),
    "label out of range": (lambda: mnist(train_labels=np.array([0, 1, 10, 2])), "label 10 out of range"),
    "NaN": (lambda: mnist(train_images=np.full((4, 28, 28), np.nan)), "NaN"),
    "existing run folder": (occupied, "run exists and is not empty"),
    "run is a file": (run_is_a_file, "cannot write the run folder run"),
    "file in the way": (file_in_the_way, "cannot write the run folder way/run"),
    "unwritable": (unwritable, "cannot write the run folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(folder, capsys, case):
    prepare, message = BAD[case]
    arguments = prepare()
    before = {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
    assert main(["train", "net.toml", "--on", "golden", "--out", "run", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("frenn: error: ") and err.count("\n") == 1 and message in err
    assert {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")} == before


def test_a_good_small_mnist_passes_so_the_bad_ones_fail_for_their_reason(folder):
    assert main(["train", "net.toml", "--on", "golden", "--out", "run", *mnist(), "--epochs", "1"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: VERB"),
        (["fly"], "invalid choice"),
        (["train"], "required: NETWORK"),
        (["train", "net.toml", "--on", "abacus"], "there is no machine 'abacus'"),
        (["check", "nowhere.toml"], "cannot read the network file nowhere.toml"),
        (["check", "."], "cannot read the network file ."),
        (["eval", "nowhere"], "no run folder"),
        (["eval", "."], "no run folder"),
        (["generate", "--preset", "huge"], "invalid choice"),
        (["generate", "--lanes", "5"], "multiple of 4"),
        (["generate", "--preset", "tiny", "-o", "nowhere/x.v"], "No such file"),
        (["generate", "net.toml", "--preset", "tiny"], "not allowed with"),
    ],
)
def test_bad_commands(folder, capsys, monkeypatch, arguments, message):
    from frenn.rtl_gen import generate

    monkeypatch.setattr(generate, "verilog", lambda parameters, link: f"module {parameters.lanes} {link}\n")
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("frenn: error: ") and err.count("\n") == 1 and message in err
    assert files(folder) == {"net.toml"}


def test_image_and_weights_of_a_run_are_checked(folder, capsys):
    assert run("--out", "run") == run("--out", "other", "--seed", "4") == 0
    capsys.readouterr()
    weights = Path("run/weights.safetensors")
    data = weights.read_bytes()
    for content, message in (
        (data[:-1], "torn"),
        (b"", "torn"),
        (Path("other/weights.safetensors").read_bytes(), "not learned by network"),
        (Path("run/image.safetensors").read_bytes(), "not learned by network"),
    ):
        weights.write_bytes(content)
        assert main(["eval", "run"]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and message in err
    for content, message in (
        ("", "no run folder"),
        ("[]", "lacks data, data_dir"),
        ('{"name": "x"}', "lacks data, data_dir, engine, epochs, seed"),
    ):
        Path("other/run.json").write_text(content)
        assert main(["eval", "other"]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and message in err
    weights.unlink()
    assert main(["eval", "run"]) == 2
    assert "cannot read the weights" in capsys.readouterr().err


def test_generate(folder, capsys, monkeypatch):
    from frenn.rtl_gen import generate

    monkeypatch.setattr(generate, "verilog", lambda parameters, link: f"module {parameters.lanes} {parameters.weight_depth} {link}\n")
    assert main(["generate"]) == main(["generate", "--preset", "tiny", "--lanes", "8", "--link", "bytes"]) == 0
    assert main(["generate", "net.toml", "-o", "net.v"]) == 0
    assert capsys.readouterr().out == "module 16 1024 packets\nmodule 8 512 bytes\n"
    assert Path("net.v").read_text() == "module 16 128 packets\n"


def test_check(folder, capsys):
    assert main(["check", "net.toml"]) == 0
    out = capsys.readouterr().out
    assert "tiny net: 64-8-10, 592 weights, seed 3" in out and "engine small (16 lanes): fits" in out
    assert "neuron_depth must be 82, the engine has 64 (18 too few)" in out


def test_missing_compiler_is_named(folder, capsys, monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(twin_module.importlib.metadata, "version", version)
    assert commands.check_target("golden") is None
    with pytest.raises(FrennError, match=r"needs a C\+\+ compiler.*pip install ziglang"):
        commands.check_target("twin")


def test_old_python_is_refused(capsys, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    assert main(["check", "net.toml"]) == 2
    assert "needs Python 3.11 or newer" in capsys.readouterr().err


class Interrupted(Golden):
    """Golden, but the user presses Ctrl-C (or what else it raises) in a given call of train."""

    def __init__(self, network, call, error):
        super().__init__(network)
        self.left, self.error = call, error

    def train(self, *arguments):
        self.left -= 1
        if self.left == 0:
            raise self.error
        return super().train(*arguments)


@pytest.mark.parametrize("call", [1, 3, 6])
def test_interruption(folder, monkeypatch, capsys, call):
    # Of 300 samples an epoch has three calls of train.
    monkeypatch.setattr(
        commands, "open_machine", lambda target, program, *rest: Closing(Interrupted(program.network, call, KeyboardInterrupt()))
    )
    assert main(["train", "net.toml", "--on", "golden", "--samples", "300", "--out", "deep/run"]) == 130
    err = capsys.readouterr().err
    if call < 4:
        assert err == "frenn: stopped; there is no checkpoint yet, so nothing is kept\n" and files(folder) == {"net.toml"}
        return
    assert err == "frenn: stopped; deep/run is kept up to epoch 1; go on with: frenn resume deep/run\n"
    assert files("deep/run") == STOPPED and len(metrics("deep/run")) == 1
    stopped = Path("deep/run/weights.safetensors").read_bytes()
    monkeypatch.setattr(commands, "open_machine", lambda target, program, *rest: Closing(Golden(program.network)))
    assert main(["eval", "deep/run"]) == 0
    # The weights are those of the first of two epochs, though the machine went on.
    monkeypatch.setattr(
        commands, "open_machine", lambda target, program, *rest: Closing(Interrupted(program.network, 4, KeyboardInterrupt()))
    )
    assert main(["train", "net.toml", "--on", "golden", "--samples", "300", "--out", "again"]) == 130
    assert Path("again/weights.safetensors").read_bytes() == stopped


@pytest.mark.parametrize("call", [1, 6])
def test_an_error_leaves_whole_epochs_or_nothing(folder, monkeypatch, capsys, call):
    from frenn.firmware.errors import LinkError

    error = LinkError("the cable came off")
    monkeypatch.setattr(commands, "open_machine", lambda target, program, *rest: Closing(Interrupted(program.network, call, error)))
    assert main(["train", "net.toml", "--on", "golden", "--samples", "300", "--out", "run"]) == 2
    rest = "" if call == 1 else "; run is kept up to epoch 1; go on with: frenn resume run"
    assert capsys.readouterr().err == f"frenn: error: the cable came off{rest}\n"
    assert files(folder) == ({"net.toml"} if call == 1 else {"net.toml", "run"})
    if call == 6:
        assert files("run") == STOPPED and len(metrics("run")) == 1


@pytest.mark.parametrize("moment", ["weights.safetensors", "metrics.jsonl", "learning-curve.png"])
def test_interruption_while_an_epoch_is_written(folder, monkeypatch, moment):
    from frenn.host import run as run_module

    write = run_module.write_atomic

    def interrupted(path, data):
        if path.name == moment:
            signal.raise_signal(signal.SIGINT)
        write(path, data)

    monkeypatch.setattr(run_module, "write_atomic", interrupted)
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert run("--out", "run") == 130
    finally:
        signal.signal(signal.SIGINT, previous)
    assert files("run") == STOPPED and len(metrics("run")) == 1


def test_a_real_ctrl_c(tmp_path):
    (tmp_path / "net.toml").write_text(NETWORK)
    # A shell that runs the tests in the background would have them ignore the signal.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from frenn.host.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["train", "net.toml", "--on", "golden", "--samples", "16", "--epochs", "100000", "--out", "run"]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch      2/"):
                process.send_signal(signal.SIGINT)
                break
        _, err = process.communicate()
    assert process.returncode == 130
    records = metrics(tmp_path / "run")
    assert files(tmp_path / "run") == STOPPED and len(records) >= 2
    note, stopped = err.splitlines()
    assert note == "frenn: stopping after what is under way; Ctrl-C again stops at once"
    assert stopped.startswith(f"frenn: stopped; run is kept up to epoch {len(records)}")
    assert stopped.endswith("; go on with: frenn resume run")
