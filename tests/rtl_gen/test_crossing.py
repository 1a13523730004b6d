# SPDX-License-Identifier: Apache-2.0
"""Streams between clock domains and through registers, against their models."""

from pathlib import Path

import pytest
from frenn.rtl_gen.crossing import FifoCrossing, StreamCrossing
from frenn.rtl_gen.stream_register import HalfRegister, StreamBuffer, StreamRegister
from frenn.sim.benches.runner import SIMULATORS, Simulator, run


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize(("i_domain", "o_domain"), [("link", "sync"), ("sync", "link")])
@pytest.mark.parametrize("component", [StreamCrossing, FifoCrossing])
def test_crossing(
    simulator: Simulator, seed: int, tmp_path: Path, component: type[StreamCrossing | FifoCrossing], i_domain: str, o_domain: str
) -> None:
    run(
        component(33, i_domain=i_domain, o_domain=o_domain),
        "frenn.sim.benches.crossing",
        name="crossing",
        simulator=simulator,
        seed=seed,
        parameters={"INTO": o_domain},
        build_dir=tmp_path,
    )


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize("component", [StreamRegister, HalfRegister])
def test_stream_register(simulator: Simulator, seed: int, tmp_path: Path, component: type[StreamBuffer]) -> None:
    run(
        component(17),
        "frenn.sim.benches.stream_register",
        name="stream_register",
        simulator=simulator,
        seed=seed,
        parameters={"COMPONENT": component.__name__},
        build_dir=tmp_path,
    )
