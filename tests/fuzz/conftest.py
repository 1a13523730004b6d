# SPDX-License-Identifier: Apache-2.0
"""How many examples a fuzz test draws, and the end of one that hangs."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

PATIENCE = 600
"""Seconds after which a test hangs: far more than any takes."""
MORE = 20
"""And as many for each example that is asked for."""


def pytest_configure(config: pytest.Config) -> None:
    examples = config.getoption("--examples")
    # No example is too slow: no test asserts time, and a machine may be busy.
    common = {"deadline": None, "database": None, "print_blob": True, "suppress_health_check": list(HealthCheck)}
    settings.register_profile("always the same", derandomize=True, max_examples=40, **common)
    settings.register_profile("random", max_examples=examples or 1, **common)
    settings.load_profile("random" if examples else "always the same")


@pytest.fixture(autouse=True)
def no_hang(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ends a test that hangs, with a traceback of where."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError(f"{request.node.name} hangs")

    patience = PATIENCE + MORE * (request.config.getoption("--examples") or 0)
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(patience)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
