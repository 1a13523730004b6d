# SPDX-License-Identifier: Apache-2.0
"""The bench of speed on a network so small that it takes seconds: the shape of its figures, and the page made from them."""

import json
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from frenn.firmware.compiler import requirements
from frenn.firmware.network import load_network
from frenn.firmware.parameters import EngineParameters
from frenn.sim.reference import EquilibriumPropagation, FloatNetwork
from frenn.sim.twin import build

BENCH = Path(__file__).parents[2] / "bench"
FILE = 'name = "little"\nseed = 1\nlayers = [64, 6, 10, 10]\n'


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """`bench/run.py` on a little network in its first two epochs."""
    module = import_module("run")
    (tmp_path / "little.toml").write_text(FILE)
    parameters = EngineParameters(**requirements(load_network(tmp_path / "little.toml"), 4))
    case = module.Case("little", "little", "digits", "little", 1)
    for name, value in {
        "EXAMPLES": tmp_path,
        "EPOCHS": (1, 2),
        "QUICK": 1,
        "CASES": (case,),
        "REFERENCE": case,
        "PRESETS": {"little": parameters},
        "STRETCH": 4,
        "build": partial(build, optimize=0),
        "SECONDS": 0.01,
        "BATCHES": (1, 20),
        "GOLDEN_SAMPLES": 20,
    }.items():
        monkeypatch.setattr(module, name, value)
    report = {"board": "board", "engine": parameters.to_dict(), "fmax_mhz": 50.0, "baud": 3_000_000, "status": "built"}
    (tmp_path / "builds" / "one").mkdir(parents=True)
    (tmp_path / "builds" / "one" / "report.json").write_text(json.dumps(report))
    return module


def figures(run: ModuleType, where: Path, *options: str) -> dict[str, Any]:
    out = where / "out.json"
    assert run.main(["--json", str(out), "--cache", str(where / "cache"), "--builds", str(where / "builds"), *options]) == 0
    return dict(json.loads(out.read_text()))


def test_figures_and_page(run: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quick = figures(run, tmp_path, "--quick")
    found = figures(run, tmp_path)
    entry = found["presets"]["little"]["little"]
    assert list(entry["epochs"]) == ["1", "2"] and list(quick["presets"]["little"]["little"]["epochs"]) == ["1"]
    # Cycles are those of the same weights, though the second command found them learned.
    assert quick["presets"]["little"]["little"]["epochs"]["1"] == entry["epochs"]["1"]
    for epoch in entry["epochs"].values():
        assert epoch["samples_per_second"]["board"]["engine"] == 50e6 / epoch["cycles_per_sample"]
        assert 0 < epoch["utilisation"]["skipping"] < 1 and 0 < epoch["utilisation"]["dense"] < 1
        assert 0 < epoch["executed_of_dense"] < 1
        assert epoch["cycles_per_inference"] < epoch["cycles_per_sample"] < entry["dense"]["cycles_per_sample"] + 20
        assert sum(epoch["account"].values()) == pytest.approx(epoch["cycles_per_sample"])
    assert entry["twin_mhz"] > 0 and entry["golden_per_twin"] > 0

    performance = import_module("performance")
    for name, value in {"PAGE": tmp_path / "page.md", "DOCS": tmp_path, "SHOWN": ("little", "little")}.items():
        monkeypatch.setattr(performance, name, value)
    monkeypatch.setattr(sys, "argv", ["performance.py", str(tmp_path / "out.json")])
    assert performance.main() == 0
    page = (tmp_path / "page.md").read_text()
    assert f"| little | little | 4 | 2 | {entry['epochs']['2']['cycles_per_sample']:,.0f} |" in page
    assert (tmp_path / "performance-account.png").read_bytes().startswith(b"\x89PNG")


def test_dense_products_are_those_of_the_paper() -> None:
    network = load_network(BENCH.parent / "examples" / "mnist.toml")
    step = 784 * 256 + 2 * 256 * 256
    assert import_module("paper").dense_products(network) == 15 * step + 6 * 2560 + (784 * 256 + 256 * 256 + 2560)


def test_torch_learns_by_the_reference(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    paper = import_module("paper")
    network = load_network(BENCH.parent / "examples" / "mnist-3x64.toml")
    graph = FloatNetwork(network, beta=paper.BETA)
    steps = {"free_steps": paper.FREE_STEPS, "clamped_steps": paper.CLAMPED_STEPS, "nudge": paper.NUDGE}
    rule = EquilibriumPropagation(graph, schedule="jacobi", form="literal", error="held", **steps)
    inputs, labels = rng.random((20, 784), dtype=np.float32), rng.integers(0, 10, 20)
    expected = rule.gradients(graph.initial_weights(), inputs, labels)
    got = paper.TorchChain(network)._gradients(torch.from_numpy(inputs), torch.from_numpy(labels))
    for mine, its in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine.numpy(), its, rtol=0.01, atol=1e-6)
