# SPDX-License-Identifier: Apache-2.0
"""A device that loses its power in the middle of a run."""

import json
import re
from pathlib import Path

import pytest
from frenn.firmware.counters import GOLDEN
from frenn.host import commands, exchange
from frenn.host.cli import main
from frenn.host.driver import Driver
from frenn.host.link import ByteLink, ByteLinkParameters
from frenn.sim.compiled import CompiledGolden
from frenn.sim.twin import open_twin

NETWORK = 'layers = [64, 6, 10]\nseed = 3\n[learning]\nrate = "2^-5"\nepochs = 2\n'
RUN = ("train", "net.toml", "--lanes", "4", "--samples", "60", "--test-samples", "20", "--checkpoint-every", "20", "--out")


class Powered:
    """A board: its device is gone, and a fresh one there, after so many bytes or packets have been sent to it."""

    def __init__(self, parameters, link: str, sent: int) -> None:
        self.parameters, self.link, self.left = parameters, link, sent
        self.device = open_twin(parameters, link, optimize=0)

    def _spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0 <= self.left + amount:
            self.device.close()
            self.device = open_twin(self.parameters, self.link, optimize=0)

    def write(self, data: bytes) -> int:
        self._spend(len(data))
        return self.device.write(data)

    def send(self, packet) -> None:
        self._spend(1)
        self.device.send(packet)

    def __getattr__(self, name: str):
        return getattr(self.device, name)


@pytest.fixture
def boards(tmp_path, monkeypatch):
    """Boards whose power fails after the amounts in the list; the last one's does not."""
    monkeypatch.chdir(tmp_path)
    # So many requests that the power fails between some of the same epoch.
    monkeypatch.setattr(exchange, "SAMPLES", 2)
    Path("net.toml").write_text(NETWORK)
    amounts: list[int] = []

    def open_machine(target, program, link, *rest, **keywords):
        if target == "golden":
            return Closing(CompiledGolden(program.network))
        board = Powered(program.parameters, link, amounts.pop(0) if amounts else 1 << 60)
        if link == "packets":
            return Driver(board, program, timeout=0.5)
        return Driver(ByteLink(board, ByteLinkParameters(poll_seconds=0.05)), program, timeout=0.5)

    monkeypatch.setattr(commands, "open_machine", open_machine)
    return amounts


class Closing:
    def __init__(self, machine) -> None:
        self.machine = machine

    def __enter__(self):
        return self.machine

    def __exit__(self, *exception) -> None:
        pass


def records(run: str) -> list[dict]:
    return [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("link", "amount", "what"),
    [("bytes", 8_000, "no byte arrived; check port and power"), ("packets", 70, "the device refused|not answered|belongs to another")],
)
def test_the_power_fails_and_the_run_goes_on(boards, capsys, link, amount, what):

    assert main([*RUN, "golden", "--on", "golden"]) == 0
    boards += [amount, amount // 2]
    capsys.readouterr()
    assert main([*RUN, "run", "--on", "twin", "--link", link]) == 2
    err = capsys.readouterr().err
    assert re.search(what, err) and err.endswith("; go on with: frenn resume run\n") and err.count("\n") == 1
    assert main(["resume", "run"]) == 2
    assert main(["resume", "run"]) == 0
    assert Path("run/weights.safetensors").read_bytes() == Path("golden/weights.safetensors").read_bytes()
    assert Path("run/learning-curve.png").read_bytes() == Path("golden/learning-curve.png").read_bytes()
    for mine, theirs in zip(records("run"), records("golden"), strict=True):
        assert mine["test_accuracy"] == theirs["test_accuracy"] and mine["train_accuracy"] == theirs["train_accuracy"]
        for phase in ("training", "evaluation"):
            assert {name: mine[phase][name] for name in GOLDEN} == {name: theirs[phase][name] for name in GOLDEN}


def test_metrics_of_the_engine_are_those_of_an_uninterrupted_run(boards, monkeypatch):
    """Where the line costs no time of its own even the cycles are equal, on whichever machine the run went on."""
    assert main([*RUN, "whole", "--on", "twin"]) == 0
    boards.append(70)
    assert main([*RUN, "run", "--on", "twin"]) == 2
    assert main(["resume", "run"]) == 0
    assert Path("run/metrics.jsonl").read_bytes() == Path("whole/metrics.jsonl").read_bytes()
