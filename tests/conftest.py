# SPDX-License-Identifier: Apache-2.0
"""Options and fixtures that all tests share."""

import secrets

import numpy as np
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="seed of the random tests; a random one is drawn and printed otherwise")
    parser.addoption("--configurations", type=int, default=20, help="random configurations of device against golden")


def pytest_configure(config: pytest.Config) -> None:
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
