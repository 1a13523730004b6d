# SPDX-License-Identifier: Apache-2.0
"""The engine's blocks against their models, on both simulators and on engines of unlike parameters."""

import json
from pathlib import Path

import pytest
from amaranth.lib import wiring
from frenn.firmware.counters import NAMES
from frenn.firmware.formats import Format
from frenn.firmware.parameters import EngineParameters
from frenn.rtl_gen.drives import Drives
from frenn.rtl_gen.event_list import EventList
from frenn.rtl_gen.interlock import Interlock
from frenn.rtl_gen.issuer import Issuer
from frenn.rtl_gen.lane import Lane
from frenn.rtl_gen.lane_array import LaneArray
from frenn.rtl_gen.neurons import NeuronUnit
from frenn.rtl_gen.performance import PerformanceCounters
from frenn.rtl_gen.sequencer import Sequencer
from frenn.sim.benches.runner import SIMULATORS, Simulator, run


def _parameters(weight: str, mac_weight: str, pre_activation: str, drive: str, **sizes: int) -> EngineParameters:
    formats = {"weight": weight, "mac_weight": mac_weight, "pre_activation": pre_activation, "drive": drive}
    return EngineParameters(**{name: Format.parse(text) for name, text in formats.items()}, **sizes)


SMALL = _parameters(
    "S0.7",
    "S0.7",
    "S2.6",
    "S3.6",
    lanes=4,
    vector_bits=6,
    accumulator_bits=20,
    drive_bits=24,
    update_shift=9,
    broadcast_bits=12,
    weight_depth=32,
    neuron_depth=64,
    row_depth=12,
    program_depth=16,
)
ODD = _parameters(
    "S1.4",
    "S0.3",
    "S2.5",
    "S2.11",
    lanes=12,
    vector_bits=9,
    accumulator_bits=25,
    drive_bits=33,
    update_shift=4,
    broadcast_bits=10,
    weight_depth=23,
    neuron_depth=75,
    row_depth=5,
    program_depth=11,
)
WIDE = _parameters(
    "S0.15",
    "S0.7",
    "S2.24",
    "S6.24",
    lanes=16,
    vector_bits=18,
    accumulator_bits=48,
    drive_bits=62,
    update_shift=32,
    broadcast_bits=40,
    weight_depth=18,
    neuron_depth=128,
    row_depth=6,
    program_depth=16,
)


def _engines(**parameters: EngineParameters) -> pytest.MarkDecorator:
    """Each of the engines on Icarus, and the last one on Verilator too, which takes longer to build than to run."""
    cases = [pytest.param("icarus", value, id=f"{name}-icarus") for name, value in parameters.items()]
    name, value = list(parameters.items())[-1]
    return pytest.mark.parametrize(("simulator", "parameters"), [*cases, pytest.param("verilator", value, id=f"{name}-verilator")])


def _run(component: wiring.Component, bench: str, simulator: Simulator, seed: int, build_dir: Path, **environment: str) -> None:
    run(
        component,
        f"frenn.sim.benches.{bench}",
        name=bench,
        simulator=simulator,
        seed=seed,
        parameters=environment,
        build_dir=build_dir,
    )


def _of(parameters: EngineParameters) -> dict[str, str]:
    return {"PARAMETERS": json.dumps(parameters.to_dict())}


@_engines(small=SMALL, odd=ODD, wide=WIDE)
def test_lane(simulator: Simulator, seed: int, tmp_path: Path, parameters: EngineParameters) -> None:
    _run(Lane(parameters), "lane", simulator, seed, tmp_path, **_of(parameters))


@_engines(small=SMALL, wide=WIDE, odd=ODD)
def test_lane_array(simulator: Simulator, seed: int, tmp_path: Path, parameters: EngineParameters) -> None:
    _run(LaneArray(parameters), "lane_array", simulator, seed, tmp_path, **_of(parameters))


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize(("value_bits", "depth", "nodes"), [(5, 41, 3)])
def test_event_list(simulator: Simulator, seed: int, tmp_path: Path, value_bits: int, depth: int, nodes: int) -> None:
    sizes = {"VALUE_BITS": str(value_bits), "DEPTH": str(depth), "NODES": str(nodes)}
    _run(EventList(value_bits, depth, nodes), "event_list", simulator, seed, tmp_path, **sizes)


@_engines(small=SMALL, odd=ODD)
def test_sequencer(simulator: Simulator, seed: int, tmp_path: Path, parameters: EngineParameters) -> None:
    _run(Sequencer(parameters), "sequencer", simulator, seed, tmp_path, **_of(parameters))


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_interlock(simulator: Simulator, seed: int, tmp_path: Path) -> None:
    _run(Interlock(), "interlock", simulator, seed, tmp_path)


@pytest.mark.parametrize(("simulator", "step_bits"), [("icarus", 25), ("verilator", 43)])
def test_performance(simulator: Simulator, seed: int, tmp_path: Path, step_bits: int) -> None:
    _run(
        PerformanceCounters(dict.fromkeys(NAMES[::3], step_bits), live=NAMES[2:4]),
        "performance",
        simulator,
        seed,
        tmp_path,
        STEP_BITS=str(step_bits),
    )


@_engines(small=SMALL, odd=ODD)
def test_issuer(simulator: Simulator, seed: int, tmp_path: Path, parameters: EngineParameters) -> None:
    _run(Issuer(parameters), "issuer", simulator, seed, tmp_path, **_of(parameters))


@_engines(small=SMALL, odd=ODD, wide=WIDE)
def test_drives(simulator: Simulator, seed: int, tmp_path: Path, parameters: EngineParameters) -> None:
    _run(Drives(parameters), "drives", simulator, seed, tmp_path, **_of(parameters))


@_engines(small=SMALL, odd=ODD, wide=WIDE)
def test_neurons(simulator: Simulator, seed: int, tmp_path: Path, parameters: EngineParameters) -> None:
    _run(NeuronUnit(parameters), "neurons", simulator, seed, tmp_path, **_of(parameters))
