# SPDX-License-Identifier: Apache-2.0
"""Random networks, formats and engines: the compiled gateware behind the driver against the golden model, bit for bit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
import pytest
from frenn.firmware.arithmetic import ACTIVATIONS, IntArray
from frenn.firmware.compiler import compile_network
from frenn.firmware.counters import GOLDEN
from frenn.firmware.errors import FrennError
from frenn.firmware.formats import Format
from frenn.firmware.network import ERRORS, ROUNDINGS, SCHEDULES, Edge, Formats, Layer, Learning, Network, Relaxation
from frenn.firmware.parameters import RANGES, EngineParameters
from frenn.firmware.protocol import Skip
from frenn.host.driver import Driver
from frenn.sim.golden import EVERYTHING, Golden
from frenn.sim.twin import Twin, build

SAMPLES = 6

DrawEdges = Callable[[np.random.Generator, Sequence[str]], tuple[Edge, ...]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "number" in metafunc.fixturenames:
        metafunc.parametrize("number", range(metafunc.config.getoption("--configurations")))


@pytest.fixture
def generator(seed: int, number: int) -> np.random.Generator:
    """Generator of one configuration; it depends on the seed and the configuration's number alone."""
    print(f"alone: tests/sim/test_random_networks.py::test_random_network[{number}] --seed {seed} --configurations {number + 1}")
    return np.random.default_rng((seed, number))


@dataclass(frozen=True)
class Sample:
    """One step of a run: an inference if there is no label; ``clear`` sets the counters to zero before it."""

    inputs: IntArray
    label: int | None
    step: int
    rate: int
    clear: bool


def integer(generator: np.random.Generator, low: int, high: int) -> int:
    return int(generator.integers(low, high + 1))


def width(generator: np.random.Generator, low: int = 1) -> int:
    """1 to 40, small ones more often: they are where an address or a pipeline goes wrong."""
    return integer(generator, low, int(generator.choice([3, 9, 20, 40])))


def draw_formats(generator: np.random.Generator) -> Formats:
    def signed(integer_bits: int, low: int, high: int) -> Format:
        return Format(True, integer_bits, integer(generator, low, high))

    weight_integer, deviation_integer = integer(generator, 0, 1), integer(generator, 0, 3)
    return Formats(
        input=Format(False, 0, integer(generator, 1, int(generator.choice([8, 16])))),
        state=signed(0, 1, int(generator.choice([8, 14]))),
        weight=signed(weight_integer, 1, 15 - weight_integer),
        deviation=signed(deviation_integer, 1, int(generator.choice([8, 14]))),
        error=signed(0, 1, 14),
        pre_activation=signed(2, 2, int(generator.choice([10, 14, 24]))),
        drive=signed(integer(generator, 0, 8), 1, int(generator.choice([12, 18]))),
        mac_weight=signed(integer(generator, 0, weight_integer), 1, 15) if generator.random() < 0.3 else None,
    )


def draw_relaxation(generator: np.random.Generator) -> Relaxation:
    form = "literal" if generator.random() < 0.3 else "deviation"
    error = str(generator.choice(ERRORS)) if form == "literal" else "held"
    sweeps = integer(generator, 1, 6), integer(generator, 1, 6)
    return Relaxation(str(generator.choice(SCHEDULES)), *sweeps, form, integer(generator, -6, 0), error)


def draw_network(generator: np.random.Generator, draw_edges: DrawEdges) -> Network:
    widths = [width(generator), *(width(generator) for _ in range(integer(generator, 1, 4))), width(generator, 2)]
    layers = tuple(Layer(f"layer{index}", size, str(generator.choice(ACTIVATIONS))) for index, size in enumerate(widths))
    if generator.random() < 0.5:
        edges = draw_edges(generator, [layer.name for layer in layers])
    else:
        edges = tuple(
            Edge(source.name, target.name, integer(generator, -int(generator.choice([3, 8, 15])), 2)) for source, target in pairwise(layers)
        )
    if generator.random() < 0.3:
        edges = tuple(replace(edge, rate_exponent=integer(generator, -3, 3)) if edge.learns else edge for edge in edges)
    relaxation = draw_relaxation(generator)
    learning = Learning(integer(generator, -10, 0), integer(generator, 0, 2), integer(generator, 1, 4), str(generator.choice(ROUNDINGS)))
    return Network("random", layers, edges, draw_formats(generator), relaxation, learning, integer(generator, 0, 2**32 - 1))


def draw_engine(generator: np.random.Generator, network: Network) -> EngineParameters:
    """The smallest engine of some lanes, or one that is larger here and there."""
    lanes = 4 * integer(generator, 1, 6)
    if generator.random() < 0.25 and not network.relaxation.literal:
        lanes = 1
    smallest = EngineParameters.for_network(network, lanes)
    if generator.random() < 0.5:
        return smallest
    larger = {}
    for item in fields(smallest):
        if item.name in RANGES and item.name != "lanes" and generator.random() < 0.5:
            value, highest = getattr(smallest, item.name), RANGES[item.name][1]
            more = value + integer(generator, 1, value) if item.name.endswith("depth") else value + integer(generator, 1, 4)
            larger[item.name] = min(more, highest)
    return replace(smallest, **larger)


def draw_configuration(generator: np.random.Generator, draw_edges: DrawEdges) -> tuple[Network, EngineParameters]:
    """The first network drawn that is legal and runs on some engine: formats and rates that exclude each other are drawn again."""
    while True:
        try:
            network = draw_network(generator, draw_edges)
            parameters = draw_engine(generator, network)
            compile_network(network, parameters)
            golden = Golden(network)
            for epoch in range(network.learning.epochs):
                golden.update_shifts(network.learning.rate_at(epoch))
        except FrennError:
            continue
        return network, parameters


def draw_weights(generator: np.random.Generator, network: Network) -> list[IntArray]:
    """The initial weights, or anything that the format holds, or extremes."""
    largest = network.formats.weight.maximum
    kind = generator.choice(["initial", "uniform", "extreme"], p=[0.5, 0.3, 0.2])
    if kind == "initial":
        return network.initial_weights()
    if kind == "uniform":
        return [generator.integers(-largest, largest + 1, shape) for shape in network.weight_shapes]
    return [generator.choice([-largest, 0, largest], shape) for shape in network.weight_shapes]


def draw_inputs(generator: np.random.Generator, network: Network) -> IntArray:
    size, largest = network.widths[0], network.formats.input.maximum
    kind = generator.choice(["dense", "sparse", "zero", "largest"], p=[0.4, 0.35, 0.15, 0.1])
    if kind == "zero":
        return np.zeros(size, dtype=np.int64)
    if kind == "largest":
        return np.full(size, largest)
    dense = generator.integers(0, largest + 1, size)
    return dense if kind == "dense" else dense * (generator.random(size) < 0.2)


def draw_samples(generator: np.random.Generator, network: Network, weights: list[IntArray]) -> list[Sample]:
    """Training samples, some predicted before and some labelled as predicted, which is where an error can be zero."""
    oracle = Golden(network)
    oracle.load(weights)
    samples = []
    step = integer(generator, 0, 2**32 - 1 - SAMPLES)
    for index in range(SAMPLES):
        inputs = draw_inputs(generator, network)
        rate = network.learning.rate_at(integer(generator, 0, network.learning.epochs - 1))
        if generator.random() < 0.3:
            samples.append(Sample(inputs, None, 0, rate, bool(generator.random() < 0.2)))
        label = integer(generator, 0, network.widths[-1] - 1)
        if generator.random() < 0.4:
            label = int(oracle.infer(inputs[None])[0])
        samples.append(Sample(inputs, label, step + index, rate, bool(generator.random() < 0.2)))
        oracle.train(inputs[None], np.array([label]), step + index, rate)
    return samples


def compare(driver: Driver, golden: Golden, where: str) -> dict[str, IntArray]:
    """Require equality of everything that golden defines; what was compared, without the counters."""
    network = golden.network
    pairs: dict[str, tuple[IntArray, IntArray]] = {}
    for layer in range(1, len(network.layers)):
        if layer in golden.hidden:
            states, slopes = driver.states(layer)
            pairs[f"states of layer {layer}"] = states, golden.states[layer]
            pairs[f"slopes of layer {layer}"] = slopes, golden.slopes[layer]
        pairs[f"deviations of layer {layer}"] = driver.deviations(layer), golden.deviations[layer]
    for name, got, expected in zip(network.weight_names, driver.weights(), golden.weights(), strict=True):
        pairs[f"weights of {name}"] = got, expected
    for name, (got, expected) in pairs.items():
        np.testing.assert_array_equal(got, expected, f"{name} {where}")
    counters = driver.counters()
    assert {name: counters[name] for name in GOLDEN} == golden.counters(), where
    return {name: got for name, (got, _) in pairs.items()}


def run(driver: Driver, golden: Golden, weights: list[IntArray], samples: list[Sample]) -> tuple[list[IntArray], int]:
    """Run samples on both machines and compare them after each.

    Returns
    -------
    seen, cycles
        What must not depend on skipping, and the cycles in which a program ran.
    """
    driver.load(weights)
    golden.load(weights)
    seen: list[IntArray] = []
    cycles, wrong = 0, False
    for number, sample in enumerate(samples):
        where = f"after sample {number}: {sample}"
        if sample.clear:
            cycles += driver.counters()["run_cycles"]
            driver.clear_counters()
            golden.clear_counters()
        inputs, labels = sample.inputs[None], np.array([sample.label])
        if sample.label is None:
            got, expected = [driver.infer(inputs)], [golden.infer(inputs)]
        else:
            got = [*driver.train(inputs, labels, sample.step, sample.rate)]
            expected = [*golden.train(inputs, labels, sample.step, sample.rate)]
            wrong = bool(expected[1][0])
        np.testing.assert_array_equal(got, expected, f"prediction {where}")
        values = compare(driver, golden, where)
        # A sample without error leaves the deviations as they were, or makes them zero if it may not be cut short.
        literal = golden.network.relaxation.literal
        seen += got + [array for name, array in values.items() if wrong or literal or not name.startswith("deviations")]
    return seen, cycles + driver.counters()["run_cycles"]


def test_random_network(generator: np.random.Generator, draw_edges: DrawEdges) -> None:
    network, parameters = draw_configuration(generator, draw_edges)
    weights = draw_weights(generator, network)
    samples = draw_samples(generator, network, weights)
    some = Skip(integer(generator, 0, 7))
    window = integer(generator, 1, 8)
    print(network)
    print(parameters)
    program = compile_network(network, parameters)
    library = build(parameters, optimize=0)
    try:
        results = []
        for skip in (EVERYTHING, Skip(0), some):
            with Driver(Twin(library), program, skip=skip, window=window) as driver:
                results.append(run(driver, Golden(network, skip=skip), weights, samples))
    finally:
        # Drawn once in a lifetime: of no use in the cache.
        library.unlink()
    (seen, cycles), (unskipped, most), (partly, _) = results
    assert cycles <= most
    for skipping in (unskipped, partly):
        for mine, theirs in zip(seen, skipping, strict=True):
            np.testing.assert_array_equal(mine, theirs)
