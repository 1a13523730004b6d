# SPDX-License-Identifier: Apache-2.0
"""The float reference: plain loops, finite differences, linear systems, limits, and the golden model in wide formats."""

from dataclasses import replace
from itertools import pairwise
from math import tanh

import numpy as np
import pytest
from frenn.firmware.arithmetic import ACTIVATIONS, activate
from frenn.firmware.errors import FrennError
from frenn.firmware.formats import Format
from frenn.firmware.graph import scales, update_fractions
from frenn.firmware.network import Edge, Formats, Layer, Network, Relaxation
from frenn.sim.backprop import Backpropagation
from frenn.sim.golden import Golden
from frenn.sim.optimizers import SGD, Adam
from frenn.sim.reference import EquilibriumPropagation, FloatNetwork, accuracy, learn, softmax

MANY = 2000
"""Steps after which everything here rests."""


def random_graph(rng: np.random.Generator, activations: tuple[str, ...] = ACTIVATIONS, *, fixed: bool = True) -> Network:
    """2 to 5 hidden layers, the chain and random links; tied, fixed and no feedback where ``fixed``, else tied feedback everywhere."""
    count = int(rng.integers(4, 8))
    layers = tuple(Layer(f"l{i}", int(rng.integers(2, 8)), str(rng.choice(activations))) for i in range(count))
    edges = []
    for source in range(count):
        for target in range(source + 1, count):
            if target > source + 1 and rng.random() < 0.6:
                continue
            exponents = {"feedback_exponent": int(rng.integers(-7, -2)), "forward_exponent": int(rng.integers(-2, 1)) if fixed else 0}
            kind = rng.choice(["symmetric", "fixed", "both"]) if fixed and source > 0 else "symmetric"
            edges.append(Edge(f"l{source}", f"l{target}", **exponents, feedback="none" if kind == "fixed" else "symmetric"))
            if kind != "symmetric":
                edges.append(Edge(f"l{target}", f"l{source}", int(rng.integers(-7, -2)), "feedback"))
    return Network("random", layers, tuple(edges), seed=int(rng.integers(2**32)))


def random_samples(rng: np.random.Generator, network: Network, count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    return rng.uniform(0, 1, (count, network.widths[0])), rng.integers(0, network.widths[-1], count)


def distance(mine: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """Largest difference of an array, relative to the largest number in it; dead neurons may leave nothing but zeros."""
    return max(float(np.abs(a - b).max() / (np.abs(b).max() or 1)) for a, b in zip(mine, theirs, strict=True))


def by_loops(w: list, x: list[float], label: int, alpha: float, beta: list[float], nudge: float, options: dict) -> list:
    """Literal gradients of one sample, 2 hidden layers of tanh, in Python floats, by the equations of the paper."""

    def dot(matrix: list, vector: list) -> list:
        return [sum(m * v for m, v in zip(row, vector, strict=True)) for row in matrix]

    def turn(matrix: list) -> list:
        return [list(row) for row in zip(*matrix, strict=True)]

    def error(s: list) -> list:
        terms = [np.exp(z) for z in dot(w[2], s[1])]
        return [(k == label) - term / sum(terms) for k, term in enumerate(terms)]

    def first(s: list) -> list:
        return [tanh(f + beta[1] * b) for f, b in zip(dot(w[0], x), dot(turn(w[1]), s[1]), strict=True)]

    def second(s: list, e: list) -> list:
        return [tanh(alpha * f + nudge * b) for f, b in zip(dot(w[1], s[0]), dot(turn(w[2]), e), strict=True)]

    nothing = [0.0] * len(w[2])
    s = [[0.0] * len(w[0]), [0.0] * len(w[1])]
    for _ in range(options["free_steps"]):
        if options["schedule"] == "jacobi":
            s = [first(s), second(s, nothing)]
        else:
            s[0] = first(s)
            s[1] = second(s, nothing)
    free = error(s)
    c = list(s)
    for step in range(options["clamped_steps"]):
        e = {"held": free, "refreshed": error(c), "growing": [(step + 1) * value for value in free]}[options["error"]]
        if options["schedule"] == "jacobi":
            c = [first(c), second(c, e)]
        else:
            c[0] = first(c)
            c[1] = second(c, e)
    changes = [[a - b for a, b in zip(mine, theirs, strict=True)] for mine, theirs in zip(c, s, strict=True)] + [free]
    return [[[-d * v for v in values] for d in change] for change, values in zip(changes, [x, *s], strict=True)]


@pytest.mark.parametrize("error", ["held", "refreshed", "growing"])
@pytest.mark.parametrize("schedule", ["jacobi", "sequential"])
def test_literal_form_by_plain_loops(rng: np.random.Generator, schedule: str, error: str) -> None:
    network = Network.chain([3, 4, 2, 3], seed=int(rng.integers(2**32)))
    for free_steps, clamped_steps in ((1, 1), (2, 3), (5, 2), (60, 40)):
        beta, nudge = [0.3, 0.5, 0.2], 0.7
        graph = FloatNetwork(network, alpha=[1, 0.9, 1], beta=beta, dtype=np.float64)
        options = {"schedule": schedule, "error": error, "free_steps": free_steps, "clamped_steps": clamped_steps}
        rule = EquilibriumPropagation(graph, form="literal", nudge=nudge, **options)
        weights = [2 * block for block in graph.initial_weights()]
        inputs, labels = random_samples(rng, network, 3)
        expected = [
            by_loops([block.tolist() for block in weights], x.tolist(), int(label), 0.9, beta, nudge, options)
            for x, label in zip(inputs, labels, strict=True)
        ]
        for block, gradient in enumerate(rule.gradients(weights, inputs, labels)):
            np.testing.assert_allclose(gradient, np.mean([sample[block] for sample in expected], axis=0), rtol=1e-9, atol=1e-15)


def test_backpropagation_by_finite_differences(rng: np.random.Generator) -> None:
    for number in range(6):
        network = random_graph(rng)
        graph = FloatNetwork(network, piecewise=number % 2 == 1, dtype=np.float64)
        rule = Backpropagation(graph)
        weights = graph.initial_weights()
        inputs, labels = random_samples(rng, network)
        step = 1e-6
        for block, gradient in enumerate(rule.gradients(weights, inputs, labels)):
            for place in np.ndindex(gradient.shape):
                before, losses = weights[block][place], []
                for value in (before - step, before + step):
                    weights[block][place] = value
                    losses.append(rule.loss(weights, inputs, labels))
                weights[block][place] = before
                assert gradient[place] == pytest.approx((losses[1] - losses[0]) / (2 * step), rel=1e-5, abs=1e-8)


def test_backpropagation_worked_by_hand() -> None:
    network = Network.chain([1, 1, 2])
    rule = Backpropagation(FloatNetwork(network, dtype=np.float64))
    gradients = rule.gradients([np.array([[0.5]]), np.array([[1.0], [-1.0]])], np.array([[2.0]]), np.array([0]))
    s = tanh(1.0)
    e = 1 - 1 / (1 + np.exp(-2 * s))
    np.testing.assert_allclose(gradients[1], [[-e * s], [e * s]], rtol=1e-12)
    np.testing.assert_allclose(gradients[0], [[-(2 * e) * (1 - s * s) * 2.0]], rtol=1e-12)


def with_potentials(rng: np.random.Generator) -> tuple[Network, list[int]]:
    """A graph of tanh whose output is fed by its last hidden layer alone, and depths of its layers.

    A feedback scale of ``eps`` to the power of the difference in depth gives every path from a layer to the output one product: the
    condition under which Equilibrium Propagation tends to backpropagation.
    """
    network = random_graph(rng, ("tanh",), fixed=False)
    last = len(network.layers) - 1
    ends = {f"l{last}"}
    edges = tuple(edge for edge in network.edges if edge.target not in ends or edge.source == f"l{last - 1}")
    depths = [0] * (last + 1)
    for layer in range(last - 2, 0, -1):
        depths[layer] = depths[layer + 1] + (1 if layer + 3 > last else int(rng.integers(1, 3)))
    return replace(network, edges=edges), depths


@pytest.mark.parametrize("schedule", ["jacobi", "sequential"])
def test_deviation_form_tends_to_backpropagation(rng: np.random.Generator, schedule: str) -> None:
    for _ in range(5):
        network, depths = with_potentials(rng)
        samples = random_samples(rng, network)
        distances = []
        for eps in (1e-2, 1e-3, 1e-9):
            graph = FloatNetwork(network, beta=[eps ** abs(depths[b] - depths[a]) for a, b in network.ends], dtype=np.float64)
            weights = graph.initial_weights()
            rule = EquilibriumPropagation(graph, schedule=schedule, free_steps=MANY, clamped_steps=MANY, form="deviation")
            distances.append(distance(rule.gradients(weights, *samples), Backpropagation(graph).gradients(weights, *samples)))
        # Linear in the feedback scale.
        assert distances[0] / distances[1] == pytest.approx(10, rel=0.2)
        assert distances[2] < 1e-6


def test_literal_form_tends_to_backpropagation(rng: np.random.Generator) -> None:
    network = Network.chain([6, 9, 7, 4], seed=int(rng.integers(2**32)))
    samples = random_samples(rng, network)
    distances = []
    for eps in (1e-2, 1e-3, 1e-4):
        graph = FloatNetwork(network, beta=eps, dtype=np.float64)
        weights = graph.initial_weights()
        rule = EquilibriumPropagation(graph, form="literal", free_steps=MANY, clamped_steps=MANY, nudge=eps)
        gradients = rule.normalised(rule.gradients(weights, *samples))
        distances.append(distance(gradients, Backpropagation(graph).gradients(weights, *samples)))
    assert distances[0] / distances[1] == pytest.approx(10, rel=0.3)
    assert distances[1] / distances[2] == pytest.approx(10, rel=0.3)
    assert distances[2] < 1e-3


def test_forward_scales_only_scale_the_limit(rng: np.random.Generator) -> None:
    """Backpropagation meets alpha on its way back, Equilibrium Propagation does not: on a chain each block differs by a factor."""
    network = Network.chain([5, 6, 4, 3], seed=int(rng.integers(2**32)))
    alpha = [0.5, 0.7, 0.9]
    graph = FloatNetwork(network, alpha=alpha, beta=1e-9, dtype=np.float64)
    weights, samples = graph.initial_weights(), random_samples(rng, network)
    rule = EquilibriumPropagation(graph, form="deviation", free_steps=MANY, clamped_steps=MANY)
    ours, theirs = rule.gradients(weights, *samples), Backpropagation(graph).gradients(weights, *samples)
    assert distance([gradient * np.prod(alpha[block:]) for block, gradient in enumerate(ours)], theirs) < 1e-6


def test_deviation_form_is_the_limit_of_the_literal(rng: np.random.Generator) -> None:
    options = {"schedule": "sequential", "free_steps": MANY, "clamped_steps": MANY}
    for _ in range(5):
        network = random_graph(rng, ("tanh",))
        # Weaker feedback would leave the difference of two states too few bits.
        graph = FloatNetwork(network, beta=0.1, dtype=np.float64)
        weights, samples = graph.initial_weights(), random_samples(rng, network)
        limit = EquilibriumPropagation(graph, form="deviation", **options).gradients(weights, *samples)
        distances = []
        for nudge in (1e-3, 1e-4, 1e-5):
            literal = EquilibriumPropagation(graph, form="literal", nudge=nudge, **options)
            distances.append(distance(literal.normalised(literal.gradients(weights, *samples)), limit))
        assert distances[0] / distances[1] == pytest.approx(10, rel=0.2)
        assert distances[2] < 1e-3


@pytest.mark.parametrize("schedule", ["jacobi", "sequential"])
def test_deviations_solve_the_linear_system(rng: np.random.Generator, schedule: str) -> None:
    """At rest ``D = rho' (M D + B_f e)``, all hidden layers in one vector and without gamma."""
    for number in range(8):
        network = random_graph(rng)
        if number % 2:
            network = replace(network, edges=tuple(replace(edge, feedback_exponent=1) for edge in network.edges))
        graph = FloatNetwork(network, dtype=np.float64)
        # Weights small enough for feedback scales above 1 to come to rest.
        weights, (inputs, labels) = [block / 4 for block in graph.initial_weights()], random_samples(rng, network)
        rule = EquilibriumPropagation(graph, schedule=schedule, free_steps=MANY, clamped_steps=MANY, form="deviation")
        settled = rule.free_phase(weights, inputs)
        error = graph.output_error(settled.logits, labels)
        deviations = rule.clamped_phase(weights, settled, error)
        places = np.cumsum([0, *network.widths])
        matrix = np.zeros((places[-1], places[-1]))
        for block, edge, (source, target) in zip(weights, network.edges, network.ends, strict=True):
            rows, columns = slice(places[target], places[target + 1]), slice(places[source], places[source + 1])
            # The nudge does not meet beta.
            beta = 1.0 if graph.output in (source, target) else 2.0**edge.feedback_exponent
            matrix[rows, columns] += block * (2.0**edge.forward_exponent if edge.learns else beta)
            if edge.learns and edge.feedback == "symmetric":
                matrix[columns, rows] += block.T * beta
        hidden, output = slice(places[1], places[-2]), slice(places[-2], places[-1])
        for sample in range(len(inputs)):
            slopes = np.concatenate([graph.slope(i, settled.drives[i], settled.states[i])[sample] for i in graph.hidden])
            left = np.eye(len(slopes)) - slopes[:, None] * matrix[hidden, hidden]
            expected = np.linalg.solve(left, slopes * (matrix[hidden, output] @ error[sample]))
            got = np.concatenate([deviations[layer][sample] * graph.units[layer] for layer in graph.hidden])
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_units_are_those_of_the_machine(rng: np.random.Generator) -> None:
    for _ in range(20):
        network = random_graph(rng)
        if rng.random() < 0.5:
            loud = rng.integers(len(network.edges))
            network = replace(
                network, edges=tuple(replace(e, feedback_exponent=1) if i == loud else e for i, e in enumerate(network.edges))
            )
        assert FloatNetwork(network).units == [2.0**unit for unit in scales(network)]


def test_both_schedules_reach_one_rest(rng: np.random.Generator) -> None:
    network = random_graph(rng)
    graph = FloatNetwork(network, dtype=np.float64)
    weights, samples = graph.initial_weights(), random_samples(rng, network)
    for form in ("literal", "deviation"):
        gradients = [
            EquilibriumPropagation(graph, schedule=s, free_steps=MANY, clamped_steps=MANY, form=form).gradients(weights, *samples)
            for s in ("jacobi", "sequential")
        ]
        assert distance(*gradients) < 1e-9


def test_feedback_alignment_worked_by_hand(rng: np.random.Generator) -> None:
    layers = tuple(Layer(f"l{i}", width) for i, width in enumerate((4, 5, 6, 3)))
    chain = [Edge(a.name, b.name, feedback="none", forward_exponent=-1) for a, b in pairwise(layers)]
    network = Network("fixed", layers, (*chain, Edge("l2", "l1", role="feedback"), Edge("l3", "l2", role="feedback")))
    graph = FloatNetwork(network, dtype=np.float64)
    weights, (inputs, labels) = graph.initial_weights(), random_samples(rng, network)
    one = np.tanh(inputs @ weights[0].T / 2)
    two = np.tanh(one @ weights[1].T / 2)
    e = np.eye(3)[labels] - softmax(two @ weights[2].T / 2)
    back = dict(zip(network.weight_names, weights, strict=True))
    down_two = (1 - two**2) * (e @ back["l3->l2"].T)
    down_one = (1 - one**2) * (down_two @ back["l2->l1"].T)
    expected = [-down.T @ s / 2 / len(inputs) for down, s in ((down_one, inputs), (down_two, one), (e, two))]
    got = Backpropagation(graph, alignment=True).gradients(weights, inputs, labels)
    assert len(got) == graph.learned == 3
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-15)


def test_equilibrium_propagation_tends_to_feedback_alignment(rng: np.random.Generator) -> None:
    layers = tuple(Layer(f"l{i}", width) for i, width in enumerate((4, 5, 6, 3)))
    chain = [Edge(a.name, b.name, feedback="none") for a, b in pairwise(layers)]
    network = Network("fixed", layers, (*chain, Edge("l2", "l1", role="feedback"), Edge("l3", "l2", role="feedback")))
    graph = FloatNetwork(network, beta=1e-9, dtype=np.float64)
    weights, samples = graph.initial_weights(), random_samples(rng, network)
    ours = EquilibriumPropagation(graph, form="deviation", free_steps=MANY, clamped_steps=MANY).gradients(weights, *samples)
    assert distance(ours, Backpropagation(graph, alignment=True).gradients(weights, *samples)) < 1e-6
    assert distance(ours, Backpropagation(graph).gradients(weights, *samples)) > 1e-2


def test_alignment_with_tied_feedback_is_backpropagation(rng: np.random.Generator) -> None:
    graph = FloatNetwork(random_graph(rng, fixed=False), dtype=np.float64)
    weights, samples = graph.initial_weights(), random_samples(rng, graph.network)
    both = [Backpropagation(graph, alignment=alignment).gradients(weights, *samples) for alignment in (False, True)]
    for mine, theirs in zip(*both, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def wide(fraction: int) -> Formats:
    """Formats of ``fraction`` bits wherever it is legal; input, weight and error are exact in float anyway."""
    return Formats(
        input=Format(False, 0, 8),
        state=Format(True, 0, fraction),
        weight=Format(True, 0, 15),
        deviation=Format(True, 2, fraction),
        error=Format(True, 0, 14),
        pre_activation=Format(True, 2, fraction + 2),
        drive=Format(True, 5, fraction + 2),
    )


def golden_deviations(network: Network, sample: np.ndarray, label: int) -> tuple[list, list[np.ndarray], np.ndarray]:
    """Weights, states and deviations of the layers that one training sample leaves in the golden model, all in float."""
    golden = Golden(network)
    formats = network.formats
    weights = [formats.weight.to_float(block) for block in golden.weights()]
    golden.train(sample[None], np.array([label]), 0, min(update_fractions(network).values()))
    states = [formats.input.to_float(sample)] + [formats.state.to_float(golden.states[layer]) for layer in golden.hidden]
    form = formats.state if network.relaxation.literal else formats.deviation
    deviations = [form.to_float(golden.deviations[layer]) for layer in golden.hidden]
    return weights, [*states, *deviations], formats.error.to_float(golden.deviations[golden.output])


@pytest.mark.parametrize("schedule", ["jacobi", "sequential"])
def test_golden_tends_to_the_deviation_form(rng: np.random.Generator, schedule: str) -> None:
    """The error is golden's own, since its softmax is not that to base e; everything behind it agrees to the last bits of the format."""
    for sweeps in (1, 2, 3, 200):
        network = replace(random_graph(rng), relaxation=Relaxation(schedule, sweeps, sweeps))
        sample, label = rng.integers(0, 256, network.widths[0]), int(rng.integers(network.widths[-1]))
        for fraction in (14, 20):
            model = replace(network, formats=wide(fraction))
            weights, values, error = golden_deviations(model, sample, label)
            graph = FloatNetwork(model, piecewise=True, dtype=np.float64)
            rule = EquilibriumPropagation(graph, form="deviation")
            settled = rule.free_phase(weights, sample[None] / 256)
            deviations = rule.clamped_phase(weights, settled, error[None])
            expected = [state[0] for state in settled.states[:-1]] + [deviation[0] for deviation in deviations[1:-1]]
            for got, exact in zip(values, expected, strict=True):
                np.testing.assert_allclose(got, exact, rtol=0, atol=24 * 2.0**-fraction)


@pytest.mark.parametrize("schedule", ["jacobi", "sequential"])
def test_golden_in_the_literal_form(rng: np.random.Generator, schedule: str) -> None:
    """Wide states agree with the reference under the same error, before and after they come to rest."""
    for sweeps in (1, 2, 3, 100):
        network = replace(random_graph(rng), formats=wide(20), relaxation=Relaxation(schedule, sweeps, sweeps, "literal", -2))
        sample, label = rng.integers(0, 256, network.widths[0]), 1
        weights, values, error = golden_deviations(network, sample, label)
        rule = EquilibriumPropagation(FloatNetwork(network, piecewise=True, dtype=np.float64))
        deviations = rule.clamped_phase(weights, rule.free_phase(weights, sample[None] / 256), error[None])
        golden = values[len(network.widths) - 1 :]
        for got, expected in zip(golden, deviations[1:-1], strict=True):
            np.testing.assert_allclose(got, expected[0], rtol=0, atol=24 * 2.0**-20)


def test_golden_tends_to_backpropagation(rng: np.random.Generator) -> None:
    """In wide formats, as the feedback grows weak, where it pushes no neuron over a knot of the activation."""
    network = Network.chain([6, 9, 7, 5, 4], formats=wide(20), relaxation=Relaxation("sequential", 50, 50))
    while True:
        network = replace(network, seed=int(rng.integers(2**32)))
        sample = rng.integers(0, 256, 6)
        rule = Backpropagation(FloatNetwork(network, piecewise=True, dtype=np.float64))
        weights = [network.formats.weight.to_float(block) for block in network.initial_weights()]
        settled = rule.forward(weights, sample[None] / 256)
        if all((np.abs(4 * drive - np.round(4 * drive)) > 0.12).all() for drive in settled.drives[1:-1]):
            break
    distances = []
    for exponent in (-7, -10, -13):
        model = replace(network, edges=tuple(replace(edge, feedback_exponent=exponent) for edge in network.edges))
        _, values, error = golden_deviations(model, sample, 2)
        errors = [block[0] for block in rule.backward(weights, settled, error[None])[1:-1]]
        states = [state[0] for state in settled.states[:-1]]
        gradients = [np.outer(e, s) for e, s in zip(errors, states, strict=False)]
        distances.append(distance([np.outer(d, s) for d, s in zip(values[4:], values[:4], strict=False)], gradients))
    assert distances[0] > 4 * distances[1]
    assert distances[2] < 1e-3


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_piecewise_activations_are_the_machine_s(activation: str) -> None:
    network = Network.chain([2, 3, 2], activation=activation)
    graph = FloatNetwork(network, piecewise=True, dtype=np.float64)
    values = np.arange(-(2**14) + 1, 2**14)
    states, slopes = activate(values, 12, 16, activation)
    drive = values / 2**12
    exact = graph.activate(1, drive)
    np.testing.assert_allclose(states / 2**16, exact, rtol=0, atol=2.0**-16)
    # Both slopes are right at a knot; behind the last one the machine saturates.
    inner = (values % 2**10 != 0) & (np.abs(values) < 2**14)
    np.testing.assert_array_equal(graph.slope(1, drive, exact)[inner], slopes[inner] / 64)


def test_initial_weights_are_the_machine_s_before_rounding() -> None:
    network = Network.chain([30, 20, 20, 10], seed=77)
    for exact, rounded in zip(FloatNetwork(network, dtype=np.float64).initial_weights(), network.initial_weights(), strict=True):
        np.testing.assert_array_equal(network.formats.weight.from_float(exact), rounded)
        assert np.abs(exact).max() <= np.sqrt(6 / sum(exact.shape))


def test_a_minibatch_is_the_mean_of_its_samples(rng: np.random.Generator) -> None:
    network = random_graph(rng)
    graph = FloatNetwork(network, dtype=np.float64)
    weights, (inputs, labels) = graph.initial_weights(), random_samples(rng, network, 5)
    refreshed = EquilibriumPropagation(graph, form="literal", error="refreshed")
    for rule in (refreshed, EquilibriumPropagation(graph), Backpropagation(graph)):
        whole = rule.gradients(weights, inputs, labels)
        single = [rule.gradients(weights, inputs[i : i + 1], labels[i : i + 1]) for i in range(5)]
        for block, gradient in enumerate(whole):
            np.testing.assert_allclose(gradient, np.mean([sample[block] for sample in single], axis=0), rtol=1e-9, atol=1e-15)


def test_single_precision(rng: np.random.Generator) -> None:
    network = random_graph(rng, ("tanh",))
    (inputs, labels), results = random_samples(rng, network), []
    for dtype in (np.float32, np.float64):
        graph = FloatNetwork(network, dtype=dtype)
        weights = [block.astype(dtype) for block in FloatNetwork(network, dtype=np.float32).initial_weights()]
        rules = EquilibriumPropagation(graph, form="literal"), EquilibriumPropagation(graph), Backpropagation(graph)
        gradients = [rule.gradients(weights, inputs.astype(np.float32), labels) for rule in rules]
        assert all(block.dtype == dtype for blocks in gradients for block in blocks)
        results.append(gradients[1] + gradients[2])
    assert distance(*results) < 1e-4


def test_defaults_are_what_the_network_says() -> None:
    network = Network.chain([2, 3, 2], relaxation=Relaxation("jacobi", 7, 5, "literal", -4, "refreshed"))
    rule = EquilibriumPropagation(FloatNetwork(network))
    assert (rule.schedule, rule.free_steps, rule.clamped_steps) == ("jacobi", 7, 5)
    assert (rule.form, rule.nudge, rule.error) == ("literal", 1 / 16, "refreshed")


def test_learning(rng: np.random.Generator) -> None:
    """A toy of three classes is learned, fixed feedback stays as it was, and the last minibatch may be short."""
    layers = tuple(Layer(f"l{i}", width) for i, width in enumerate((6, 16, 16, 3)))
    chain = [Edge(a.name, b.name, feedback="none") for a, b in pairwise(layers)]
    network = Network("toy", layers, (*chain, Edge("l2", "l1", role="feedback"), Edge("l3", "l2", role="feedback")))
    labels = rng.integers(0, 3, 190)
    inputs = (rng.uniform(0, 1, (3, 6))[labels] + rng.normal(0, 0.05, (190, 6))).astype(np.float32)
    graph = FloatNetwork(network, beta=0.05)
    rules = (
        EquilibriumPropagation(graph, schedule="jacobi", free_steps=20, clamped_steps=10, form="literal"),
        EquilibriumPropagation(graph),
        Backpropagation(graph, alignment=True),
        Backpropagation(graph),
    )
    for rule, optimizer in zip(rules, (Adam(0.01), SGD(0.1, 0.9), SGD(0.5), Adam(0.01)), strict=True):
        weights = graph.initial_weights()
        before = [block.copy() for block in weights]
        for _ in range(30):
            learn(rule, optimizer, weights, inputs, labels, rng.permutation(190), 20)
        assert optimizer.steps == 300
        assert accuracy(rule, weights, inputs, labels, batch=64) > 0.95
        for block in range(3):
            assert (weights[block] != before[block]).any()
        for block in (3, 4):
            np.testing.assert_array_equal(weights[block], before[block])


def test_bad_arguments_are_refused() -> None:
    network = Network.chain([3, 4, 2])
    graph = FloatNetwork(network)
    weights, inputs, labels = graph.initial_weights(), np.zeros((2, 3)), np.array([0, 1])
    rule = EquilibriumPropagation(graph)
    for bad, message in (
        (lambda: FloatNetwork(network, beta=[0.1]), "2: one per edge"),
        (lambda: FloatNetwork(network, alpha=-1), "alpha is -1"),
        (lambda: FloatNetwork(network, dtype=np.float16), "float16"),
        (lambda: EquilibriumPropagation(graph, schedule="random"), "jacobi"),
        (lambda: EquilibriumPropagation(graph, form="other"), "literal"),
        (lambda: EquilibriumPropagation(graph, error="none"), "refreshed"),
        (lambda: EquilibriumPropagation(graph, error="growing"), "held in the deviation form"),
        (lambda: EquilibriumPropagation(graph, free_steps=0), "free_steps is 0"),
        (lambda: EquilibriumPropagation(graph, clamped_steps=0), "clamped_steps is 0"),
        (lambda: EquilibriumPropagation(graph, nudge=0), "nudge is 0"),
        (lambda: rule.gradients(weights[:1], inputs, labels), "weights have shapes"),
        (lambda: rule.gradients([block.astype(np.float64) for block in weights], inputs, labels), "of type float32"),
        (lambda: rule.gradients(weights, inputs[:, :2], labels), "inputs have shape"),
        (lambda: rule.gradients(weights, inputs, labels[:1]), "labels"),
        (lambda: rule.gradients(weights, inputs, labels + 1), "from 0 to 1"),
        (lambda: rule.predict(weights, inputs[0]), "inputs have shape"),
        (lambda: Backpropagation(graph).predict(weights, inputs[:0]), "inputs have shape"),
        (lambda: learn(rule, SGD(1), weights, inputs, labels, np.arange(2), 0), "batch is 0"),
    ):
        with pytest.raises(FrennError, match=message):
            bad()
