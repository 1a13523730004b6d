# SPDX-License-Identifier: Apache-2.0
"""The golden model on graphs: against literal Equilibrium Propagation in real numbers, which shares no code with it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from frenn.firmware.arithmetic import activation_table
from frenn.firmware.formats import Format
from frenn.firmware.graph import scales
from frenn.firmware.network import Edge, Formats, Layer, Learning, Network, Relaxation, parse_network
from frenn.sim.compiled import CompiledGolden
from frenn.sim.golden import Golden

DrawEdges = Callable[[np.random.Generator, Sequence[str]], tuple[Edge, ...]]

WIDE = Formats(
    input=Format(False, 0, 16),
    state=Format(True, 0, 23),
    weight=Format(True, 0, 15),
    deviation=Format(True, 5, 18),
    error=Format(True, 0, 14),
    pre_activation=Format(True, 2, 24),
    drive=Format(True, 7, 22),
)
NUDGE = 2.0**-20
REST = Relaxation("sequential", 400, 400)


def rho(drive: np.ndarray, activation: str) -> tuple[np.ndarray, np.ndarray]:
    """Piecewise-linear activation and the number of the segment, signed."""
    bases, slopes = activation_table(activation)
    magnitude = np.minimum(np.abs(drive), 4 - 2.0**-24)
    segment = np.floor(4 * magnitude).astype(int)
    value = bases[segment] / 256 + slopes[segment] / 64 * (magnitude - segment / 4)
    if activation == "hard_sigmoid":
        value = np.where(drive < 0, 0, value)
        segment = np.where(drive < 0, 0, segment)
    return np.sign(drive) * value, np.where(drive < 0, -1 - segment, segment)


def relax(network: Network, weights: list[np.ndarray], states: list[np.ndarray], nudge: np.ndarray) -> tuple[list, list]:
    """The paper's synchronous steps in float64 from given states, until they stand still; states and segments.

    ``nudge`` is beta_f times the output error.
    """
    output = len(network.layers) - 1
    segments: list[np.ndarray] = []
    for _ in range(400):
        drives = [np.zeros(layer.width) for layer in network.layers]
        for edge, (source, target), block in zip(network.edges, network.ends, weights, strict=True):
            if edge.role == "forward":
                if target < output:
                    drives[target] += 2.0**edge.forward_exponent * block @ states[source]
                if edge.feedback == "symmetric" and source > 0:
                    drives[source] += block.T @ nudge if target == output else 2.0**edge.feedback_exponent * block.T @ states[target]
            else:
                drives[target] += block @ nudge if source == output else 2.0**edge.feedback_exponent * block @ states[source]
        settled = [rho(drive, layer.activation) for drive, layer in zip(drives, network.layers, strict=True)]
        before, states = states, [states[0], *(state for state, _ in settled[1:output])]
        segments = [segment for _, segment in settled[1:output]]
        if all((old == new).all() for old, new in zip(before, states, strict=True)):
            break
    return states, segments


def weak(rng: np.random.Generator, network: Network) -> Network:
    """The same graph with feedback scales under which every state comes to rest."""
    edges = tuple(replace(edge, feedback_exponent=int(rng.integers(-5, -2))) for edge in network.edges)
    return replace(network, edges=edges)


def check_against_the_literal_form(rng: np.random.Generator, network: Network) -> bool:
    """Compare states, deviations and updates; whether no state crossed a knot, where there is no slope to compare."""
    rate = -3
    golden = Golden(network)
    form = network.formats.weight
    before = golden.weights()
    inputs = rng.integers(0, 2**16, (1, network.widths[0]))
    golden.train(inputs, np.array([1]), 0, rate)
    counters = golden.counters()
    # The limit is that of the equations, not of the formats.
    if counters["saturated_pre_activation"] or counters["saturated_weight"]:
        return False
    assert counters["saturated_drive"] == counters["saturated_deviation"] == 0
    output = len(network.layers) - 1
    weights = [form.to_float(block) for block in before]
    zero = [inputs[0] / 2**16, *(np.zeros(layer.width) for layer in network.layers[1:-1])]
    error = golden.deviations[output] / 2**14
    free, segments = relax(network, weights, zero, 0 * error)
    nudged, others = relax(network, weights, free, NUDGE * error)
    if any((one != other).any() for one, other in zip(segments, others, strict=True)):
        return False
    gamma = 2.0 ** np.array(scales(network), dtype=float)
    deviations = [np.zeros(0)]
    for layer in range(1, output):
        np.testing.assert_allclose(golden.states[layer] / 2**23, free[layer], rtol=0, atol=2**-16)
        deviations.append((nudged[layer] - free[layer]) / (NUDGE * gamma[layer]))
        np.testing.assert_allclose(golden.deviations[layer] / 2**18, deviations[layer], rtol=0, atol=2**-9)
    deviations.append(error)
    for old, new, edge, (source, target) in zip(before, golden.weights(), network.edges, network.ends, strict=True):
        step = 2.0**rate * np.outer(deviations[target], free[source]) if edge.learns else np.zeros(old.shape)
        # One unit of stochastic rounding, and the tolerances above.
        np.testing.assert_allclose((new - old) / 2**15, step, rtol=0, atol=(2**-15 + 2**-11) * edge.learns)
    return True


def test_deviations_are_the_limit_of_literal_ones_on_random_graphs(rng: np.random.Generator, draw_edges: DrawEdges) -> None:
    checked = 0
    for _ in range(20):
        layers = tuple(
            Layer(f"layer{number}", int(rng.integers(3, 9)), str(rng.choice(["tanh", "hard_tanh"]))) for number in range(rng.integers(3, 7))
        )
        network = Network("random", layers, draw_edges(rng, [layer.name for layer in layers]), WIDE, REST, seed=int(rng.integers(2**32)))
        checked += check_against_the_literal_form(rng, weak(rng, network))
    assert checked > 5


TOPOLOGIES = {
    "symmetric": "layers = [12, 8, 8, 8, 4]",
    "asymmetric": "layers = [12, 8, 8, 8, 4]\nfeedback = 'fixed'",
    "residual": "layers = [12, 8, 7, 6, 5, 6, 7, 8, 4]\n[links]\nevery = 3",
    "random": "layers = [12, 8, 7, 6, 5, 6, 4]\nfeedback = 'fixed'\n[links]\nprobability = 0.4",
    "bypass": """layers = [12, 8, 7, 6, 4]
        edges = [
            {source = "input", target = "hidden1"}, {source = "hidden1", target = "hidden2", forward_scale = 0.5},
            {source = "hidden2", target = "hidden3"}, {source = "hidden3", target = "output", feedback = "fixed"},
            {source = "input", target = "hidden3"}, {source = "hidden1", target = "output"}, {source = "input", target = "output"},
        ]""",
}


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_deviations_are_the_limit_of_literal_ones(rng: np.random.Generator, name: str) -> None:
    network = replace(parse_network(TOPOLOGIES[name]), formats=WIDE, relaxation=REST)
    checked = sum(check_against_the_literal_form(rng, replace(weak(rng, network), seed=int(rng.integers(2**32)))) for _ in range(5))
    assert checked > 0


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_topologies_learn(rng: np.random.Generator, name: str) -> None:
    """Four classes told by which quarter of the input is bright: each graph learns them, in narrow formats."""
    network = replace(parse_network(TOPOLOGIES[name]), relaxation=Relaxation("jacobi", 12, 12), learning=Learning(rate_exponent=-3))
    network = replace(network, formats=Formats(deviation=Format(True, 3, 8)), seed=int(rng.integers(2**32)))
    labels = rng.integers(0, 4, 1000)
    bright = np.arange(12) // 3 == labels[:, None]
    inputs = np.where(bright, rng.integers(128, 256, bright.shape), rng.integers(0, 64, bright.shape))
    model = CompiledGolden(network)
    model.train(inputs[:800], labels[:800], 0, -3)
    assert (model.infer(inputs[800:]) == labels[800:]).mean() > 0.9
