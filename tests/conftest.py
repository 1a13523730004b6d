# SPDX-License-Identifier: Apache-2.0
"""Options and fixtures that all tests share."""

import secrets
import signal
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from frenn.firmware.network import Edge


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="seed of the random tests; a random one is drawn and printed otherwise")
    parser.addoption("--configurations", type=int, default=20, help="random configurations of device against golden")
    parser.addoption("--kills", type=int, default=5, help="random moments at which a training program is killed")
    parser.addoption("--faults", type=int, default=20, help="short runs over lines with random faults")
    parser.addoption("--fault-rate", type=float, default=1e-4, help="of each kind, a byte, on the line of a whole epoch")
    parser.addoption("--examples", type=int, help="new random examples of each fuzz test; a few that are always the same otherwise")


def pytest_configure(config: pytest.Config) -> None:
    # A shell that runs the tests in the background has them ignore Ctrl-C, and so would the programs that they start and stop by it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        config.stash[SEED] = worker["seed"]
        return
    seed = config.getoption("--seed")
    config.stash[SEED] = secrets.randbits(32) if seed is None else seed


def pytest_configure_node(node) -> None:
    node.workerinput["seed"] = node.config.stash[SEED]


def pytest_report_header(config: pytest.Config) -> str:
    return f"random tests: --seed {config.stash[SEED]}"


SEED = pytest.StashKey[int]()


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Seed of a random test, printed so that a failure shows it."""
    value = request.config.stash[SEED]
    print(f"rerun with --seed {value}")
    return value


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def draw_edges(rng: np.random.Generator, names: Sequence[str]) -> tuple[Edge, ...]:
    """Edges of a random graph of the named layers, input first: links that skip layers, every kind of feedback and scale."""
    output = len(names) - 1
    low, dense = -int(rng.choice([3, 8, 15])), float(rng.choice([0.0, 0.3, 0.8]))
    reached: set[int] = {0}
    taught: set[int] = {output}
    edges: list[Edge] = []

    def feedback(source: int, target: int) -> None:
        edges.append(Edge(names[source], names[target], int(rng.integers(low, 3)), "feedback"))

    for source in range(output):
        for target in range(source + 1, output + 1):
            if rng.random() >= (0.9 if target == source + 1 else dense):
                continue
            tied = str(rng.choice(["symmetric", "none"]))
            alpha = -int(rng.choice([0, 0, rng.integers(0, 5)]))
            edges.append(Edge(names[source], names[target], int(rng.integers(low, 3)), "forward", tied, alpha))
    backward = {(edge.target, edge.source) for edge in edges if edge.feedback == "symmetric"}
    for source in range(1, output + 1):
        for target in range(1, min(source, output)):
            if rng.random() < (0.5 if source == target + 1 else dense):
                feedback(source, target)
                backward.add((names[source], names[target]))
    # What no edge reaches gets a neighbour's.
    ends = {(edge.source, edge.target) for edge in edges if edge.learns}
    for layer in range(1, output + 1):
        if not any((names[source], names[layer]) in ends for source in reached):
            edges.append(Edge(names[layer - 1], names[layer], feedback="none"))
        reached.add(layer)
    for layer in range(output - 1, 0, -1):
        if not any((names[source], names[layer]) in backward for source in taught):
            feedback(layer + 1, layer)
        taught.add(layer)
    return tuple(edges[index] for index in rng.permutation(len(edges)))


@pytest.fixture(name="draw_edges")
def draw_edges_fixture() -> Callable[[np.random.Generator, Sequence[str]], tuple[Edge, ...]]:
    """`draw_edges`, which no test can import."""
    return draw_edges
