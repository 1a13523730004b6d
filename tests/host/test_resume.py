# SPDX-License-Identifier: Apache-2.0
"""Runs that are stopped, in whatever way, and go on to the bits of an uninterrupted run."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from frenn.firmware.errors import LinkError
from frenn.host import checkpoint as checkpoint_module
from frenn.host import commands
from frenn.host import run as run_module
from frenn.host.checkpoint import Checkpoint, TornError
from frenn.host.cli import main
from frenn.sim.compiled import CompiledGolden

NETWORK = 'name = "net"\nlayers = [64, 8, 10]\nseed = 3\n[learning]\nrate = "2^-5"\nepochs = 3\n'
HOST = NETWORK + 'update = "host"\nbatch = 30\noptimizer = "OPTIMIZER"\n'
NETWORKS = {"chip": NETWORK, "batch": NETWORK + "batch = 48\n", **{name: HOST.replace("OPTIMIZER", name) for name in ("momentum", "adam")}}
RUN = ("--on", "golden", "--samples", "300", "--test-samples", "50", "--checkpoint-every", "100")
RESULTS = ("network.toml", "run.json", "image.safetensors", "metrics.jsonl", "weights.safetensors", "learning-curve.png")


class Stopping:
    """Golden, as a context, that does something before a given one of its calls of train, relax and infer."""

    def __init__(self, network, call, action):
        self.golden, self.left, self.action = CompiledGolden(network), call, action

    def __getattr__(self, name):
        method = getattr(self.golden, name)
        if name not in ("train", "relax", "infer"):
            return method

        def counted(*arguments):
            self.left -= 1
            if self.left == 0:
                self.action()
            return method(*arguments)

        return counted

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder; ``stop(call, action)`` has golden do something in a call."""
    monkeypatch.chdir(tmp_path)
    Path("net.toml").write_text(NETWORK)
    stop(monkeypatch, 0, lambda: None)
    return tmp_path


def stop(monkeypatch, call, action) -> None:
    monkeypatch.setattr(commands, "open_machine", lambda target, program, *rest: Stopping(program.network, call, action))


def train(out: str, *arguments: str) -> int:
    return main(["train", "net.toml", *RUN, "--out", out, *arguments])


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def fail(error: BaseException):
    def action():
        raise error

    return action


def files(run: str | Path) -> set[str]:
    return {item.name for item in Path(run).iterdir()}


def assert_same(one: str | Path, other: str | Path) -> None:
    assert files(one) == files(other) == set(RESULTS)
    for name in RESULTS:
        assert Path(one, name).read_bytes() == Path(other, name).read_bytes(), name


@pytest.fixture
def default_ctrl_c():
    """Ctrl-C as a program meets it, whatever shell runs the tests."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.parametrize("kind", NETWORKS)
def test_ctrl_c_anywhere(folder, monkeypatch, capfd, default_ctrl_c, kind):
    """Stopped in one call after another, each resume goes on from the last place; the end is that of an uninterrupted run."""
    Path("net.toml").write_text(NETWORKS[kind])
    assert train("whole") == 0
    stop(monkeypatch, 1, press_ctrl_c)
    assert train("run") == 130
    for call in (2, 1, 1, 2, 2, 1, 1):
        capfd.readouterr()
        stop(monkeypatch, call, press_ctrl_c)
        assert main(["resume", "run"]) == 130
        note, stopped = capfd.readouterr().err.splitlines()
        assert note == "frenn: stopping after what is under way; Ctrl-C again stops at once"
        assert stopped.startswith("frenn: stopped; run is kept up to ") and stopped.endswith("; go on with: frenn resume run")
        assert files("run") <= {*RESULTS, "checkpoints"} and len(files("run/checkpoints")) <= 2
    stop(monkeypatch, 0, lambda: None)
    assert main(["resume", "run"]) == 0
    assert_same("whole", "run")
    capfd.readouterr()
    # What is left by a program that was killed while it removed its checkpoints.
    Path("run/checkpoints").mkdir()
    Path("run/checkpoints/.0000002-0000000000.safetensors.part").touch()
    assert main(["resume", "run"]) == 0
    assert capfd.readouterr().out == "run is complete: 3 epochs\n"
    assert_same("whole", "run")


def test_the_second_ctrl_c_stops_at_once(folder, monkeypatch, capfd, default_ctrl_c):
    assert train("whole") == 0
    stop(monkeypatch, 3, lambda: (press_ctrl_c(), press_ctrl_c()))
    assert train("run") == 130
    assert (
        capfd.readouterr().err.splitlines()[-1] == "frenn: stopped; run is kept up to sample 200 of epoch 1; go on with: frenn resume run"
    )
    stop(monkeypatch, 0, lambda: None)
    assert main(["resume", "run"]) == 0
    assert_same("whole", "run")


@pytest.mark.parametrize("call", [3, 6, 11])
def test_an_error_says_how_to_go_on(folder, monkeypatch, capfd, call):
    """What stops the machine, at a moment when it has learned nobody knows what, costs no more than the samples since the checkpoint."""
    assert train("whole") == 0
    stop(monkeypatch, call, fail(LinkError("the cable came off")))
    assert train("run") == 2
    err = capfd.readouterr().err
    place = {3: "sample 200 of epoch 1", 6: "epoch 1 and sample 100 of epoch 2", 11: "epoch 2 and sample 200 of epoch 3"}[call]
    assert err == f"frenn: error: the cable came off; run is kept up to {place}; go on with: frenn resume run\n"
    stop(monkeypatch, 0, lambda: None)
    assert main(["resume", "run"]) == 0
    number = place.removeprefix("sample").split()[-1]
    assert f"going on with run from epoch {number}, sample {'1' if call == 6 else '2'}00\n" in capfd.readouterr().out
    assert_same("whole", "run")


def stopped_run(monkeypatch, out: str = "run", *arguments: str) -> list[Path]:
    """A run that stopped with two checkpoints; returns them, newest first."""
    stop(monkeypatch, 3, fail(LinkError("off")))
    assert train(out, *arguments) == 2
    stop(monkeypatch, 0, lambda: None)
    found = sorted(Path(out, "checkpoints").iterdir(), reverse=True)
    assert len(found) == 2
    return found


def torn(data: bytes, rng: np.random.Generator) -> list[bytes]:
    places = rng.integers(len(data), size=20)
    flipped = [data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :] for place in places]
    return [data[:-1], flipped[0], b"", data + b"\0", *(data[:place] for place in places), *flipped]


def test_a_torn_checkpoint_is_not_used(folder, monkeypatch, capsys, rng):
    assert train("whole") == 0
    newest, before = stopped_run(monkeypatch)
    contents = torn(newest.read_bytes(), rng)
    for content in contents:
        Path("file").write_bytes(content)
        with pytest.raises(TornError, match="file is torn"):
            Checkpoint.load(Path("file"))
    for content in contents[:2]:
        shutil.copytree("run", "copy")
        (Path("copy/checkpoints") / newest.name).write_bytes(content)
        capsys.readouterr()
        assert main(["resume", "copy"]) == 0
        out, err = capsys.readouterr()
        assert "from epoch 1, sample 100\n" in out
        assert err.startswith(f"frenn: copy/checkpoints/{newest.name} is torn") and err.endswith("; the one before it is used\n")
        assert_same("whole", "copy")
        shutil.rmtree("copy")
    for path in (newest, before):
        path.write_bytes(path.read_bytes()[:-1])
    assert main(["resume", "run"]) == 2
    assert (
        "frenn: error: no checkpoint in run/checkpoints is whole; remove that folder, and the run begins anew\n" in capsys.readouterr().err
    )
    shutil.rmtree("run/checkpoints")
    assert main(["resume", "run"]) == 0
    assert_same("whole", "run")


def test_a_foreign_checkpoint_is_refused(folder, monkeypatch, capsys):
    newest = stopped_run(monkeypatch)[0]
    seed = stopped_run(monkeypatch, "seed", "--seed", "4")[0]
    samples = stopped_run(monkeypatch, "data", "--test-samples", "49")[0]
    Path("net.toml").write_text(NETWORK.replace("8", "9"))
    network = stopped_run(monkeypatch, "network")[0]
    for path, message in (
        (seed, "belongs to seed 4, this run has seed 3"),
        (samples, "belongs to other data ("),
        (network, "belongs to other network ("),
    ):
        content = path.read_bytes()
        newest.write_bytes(content)
        capsys.readouterr()
        assert main(["resume", "run"]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"frenn: error: the checkpoint {newest} {message}") and err.count("\n") == 1
        assert newest.read_bytes() == content


def test_other_data_or_an_older_run_is_refused(folder, monkeypatch, capsys):
    stopped_run(monkeypatch)
    shutil.rmtree("run/checkpoints")
    options = json.loads(Path("run/run.json").read_text())
    for changed, message in (({"data_sha256": "0" * 64}, "the run run belongs to other data (0000"), ({"verify": None}, "lacks verify")):
        values = {name: value for name, value in {**options, **changed}.items() if value is not None or name == "data_dir"}
        Path("run/run.json").write_text(json.dumps(values))
        capsys.readouterr()
        assert main(["resume", "run"]) == 2
        assert message in capsys.readouterr().err


def test_another_version_is_refused(folder, monkeypatch, capsys):
    stopped_run(monkeypatch)
    monkeypatch.setattr(checkpoint_module, "VERSION", 3)
    assert main(["resume", "run"]) == 2
    assert "is of version 2, this program reads version 3" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["0000000-0000000100", "0000000-0000000200", "0000001-0000000000", "metrics", "weights", "learning-curve"])
def test_a_full_disk_loses_nothing(folder, monkeypatch, capsys, name):
    """The disk is full when one of the files is written first; then there is room again."""
    assert train("whole") == 0
    write, full = run_module.write_atomic, [True]

    def write_until_full(path, data):
        if path.stem == name and full:
            path.with_name(f".{path.name}.1.part").write_bytes(data[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, data)

    monkeypatch.setattr(run_module, "write_atomic", write_until_full)
    monkeypatch.setattr(checkpoint_module, "write_atomic", write_until_full)
    capsys.readouterr()
    assert train("run") == 2
    err = capsys.readouterr().err
    assert "No space left on device; make room" in err and err.count("\n") == 1
    full.clear()
    if name == "0000000-0000000100":
        assert not Path("run").exists()
        assert train("run") == 0
    else:
        assert "; go on with: frenn resume run\n" in err
        assert main(["resume", "run"]) == 0
    assert_same("whole", "run")


def test_a_disk_without_room_for_a_checkpoint(folder):
    """The kernel itself refuses to make a file larger."""
    program = (
        "import resource, sys; from frenn.host.cli import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST)); sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["train", "net.toml", *RUN, "--out", "run"]
    # The image of this network takes 10 kB. What watches the lines that run would need larger files.
    unwatched = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    result = subprocess.run(
        [sys.executable, "-c", program.replace("LARGEST", "20000"), *arguments], capture_output=True, text=True, check=False, env=unwatched
    )
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert (
        "learning-curve.png: File too large; make room; run is kept up to sample 200 of epoch 1; go on with: frenn resume run\n"
        in result.stderr
    )
    assert train("whole") == main(["resume", "run"]) == 0
    assert_same("whole", "run")


def test_a_folder_in_use(folder, monkeypatch, capsys):
    stopped_run(monkeypatch)
    messages = []

    def resume_too():
        capsys.readouterr()
        messages.append((main(["resume", "run"]), capsys.readouterr().err))

    stop(monkeypatch, 1, resume_too)
    assert main(["resume", "run"]) == 0
    ((code, err),) = messages
    assert code == 2 and err.startswith(f"frenn: error: the run folder run is in use by process {os.getpid()} on ")


def test_checkpoints_change_nothing(folder):
    assert train("a") == train("b", "--checkpoint-every", "1000000") == train("c", "--checkpoint-every", "7") == 0
    for name in set(RESULTS) - {"run.json"}:
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes() == Path("c", name).read_bytes()
    assert train("d", "--checkpoint-every", "0") == 2
    assert not Path("d").exists()
