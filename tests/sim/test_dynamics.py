# SPDX-License-Identifier: Apache-2.0
"""Radius, exponent and time to rest where they are known in closed form."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from frenn.firmware.formats import Format
from frenn.firmware.network import Formats, Network, Relaxation, parse_network
from frenn.sim.dynamics import (
    Recurrent,
    beta_exponent,
    changes,
    input_drive,
    lyapunov_exponent,
    radius_at_rest,
    recurrent,
    spectral_radius,
    steps_to_rest,
    sweeps_to_rest,
    trajectory,
    with_beta,
)
from frenn.sim.golden import Golden

GRAPH = """
layers = [6, 5, {width = 4, activation = "hard_sigmoid"}, 7, 3, 4]
activation = "hard_tanh"
feedback_scale = "2^-3"
edges = [
  {source = "input", target = "hidden1", forward_scale = "2^-1"},
  {source = "input", target = "hidden3"},
  {source = "hidden1", target = "hidden2", forward_scale = "2^-2", feedback_scale = "2^-1"},
  {source = "hidden2", target = "hidden3", feedback = "fixed"},
  {source = "hidden3", target = "hidden4"},
  {source = "hidden1", target = "hidden4"},
  {source = "hidden2", target = "output"},
  {source = "hidden4", target = "output"},
]
[formats]
input = "U0.12"
state = "S0.22"
weight = "S0.14"
pre_activation = "S2.22"
"""


def plain(matrix, activation: str = "tanh") -> Recurrent:
    matrix = np.array(matrix, dtype=np.float64)
    return Recurrent(matrix, ((len(matrix), activation),))


def one_neuron_chain(hidden: int, weight: int = 2000) -> tuple[Network, list]:
    """One neuron a layer, every weight the same, and feedback too weak to move a pre-activation's last bit."""
    network = Network.chain([1] * (hidden + 1) + [2], feedback_exponent=-15)
    return network, [np.full(shape, weight) for shape in network.weight_shapes]


@pytest.mark.parametrize(
    ("matrix", "radius"),
    [
        ([[0.5]], 0.5),
        ([[0.0, 1.0], [0.0, 0.0]], 0.0),
        ([[0.0, -2.0], [2.0, 0.0]], 2.0),
        ([[3.0, 100.0], [0.0, -4.0]], 4.0),
        (np.zeros((0, 0)), 0.0),
    ],
)
def test_radius_of_known_matrices(matrix, radius):
    assert spectral_radius(np.array(matrix)) == pytest.approx(radius, abs=1e-12)


@pytest.mark.parametrize("exponent", [-10, -3, 0, 2])
def test_radius_of_two_layers(exponent):
    network = Network.chain([6, 8, 5, 3], seed=5)
    weights = network.initial_weights()
    matrix = recurrent(network, weights, 2.0**exponent).matrix
    block = network.formats.weight.to_float(weights[1])
    np.testing.assert_array_equal(matrix[8:, :8], block)
    np.testing.assert_array_equal(matrix[:8, 8:], 2.0**exponent * block.T)
    assert spectral_radius(matrix) == pytest.approx(2 ** (exponent / 2) * np.linalg.norm(block, 2), rel=1e-10)


@pytest.mark.parametrize("beta", [2.0**-10, 0.01, 0.3, 1.0])
def test_radius_of_a_deep_chain_is_that_of_a_symmetric_matrix(beta):
    network = Network.chain([6] + [8] * 10 + [3], seed=6)
    matrix = recurrent(network, network.initial_weights(), 1.0).matrix
    np.testing.assert_array_equal(matrix, matrix.T)
    symmetric = np.abs(np.linalg.eigvalsh(matrix)).max()
    assert spectral_radius(recurrent(network, network.initial_weights(), beta).matrix) == pytest.approx(np.sqrt(beta) * symmetric, rel=1e-8)


def test_own_scales_are_those_of_the_edges():
    network = parse_network(GRAPH)
    weights = network.initial_weights()
    by_name = dict(zip([(edge.role, edge.source, edge.target) for edge in network.edges], weights, strict=True))
    real = {key: network.formats.weight.to_float(value) for key, value in by_name.items()}
    one, two, three, four = slice(0, 5), slice(5, 9), slice(9, 16), slice(16, 19)
    for beta, weak, strong in ((None, 2.0**-3, 2.0**-1), (0.3, 0.3, 0.3)):
        matrix = recurrent(network, weights, beta).matrix
        expected = np.zeros((19, 19))
        expected[two, one] = real["forward", "hidden1", "hidden2"] / 4
        expected[one, two] = strong * real["forward", "hidden1", "hidden2"].T
        expected[three, two] = real["forward", "hidden2", "hidden3"]
        expected[two, three] = weak * real["feedback", "hidden3", "hidden2"]
        expected[four, three] = real["forward", "hidden3", "hidden4"]
        expected[three, four] = weak * real["forward", "hidden3", "hidden4"].T
        expected[four, one] = real["forward", "hidden1", "hidden4"]
        expected[one, four] = weak * real["forward", "hidden1", "hidden4"].T
        np.testing.assert_allclose(matrix, expected, rtol=1e-15)


def test_float_rest_is_that_of_golden_in_fine_formats(rng):
    network = replace(parse_network(GRAPH), relaxation=Relaxation("jacobi", 4000, 1), seed=int(rng.integers(1 << 32)))
    golden = Golden(network)
    inputs = rng.integers(0, network.formats.input.maximum, (4, 6), endpoint=True)
    system, drive = recurrent(network, golden.weights()), input_drive(network, golden.weights(), inputs)
    times, states = steps_to_rest(system, drive, 4000)
    assert (times > 0).all()
    for sample, expected in zip(inputs, states, strict=True):
        golden.infer(sample[None])
        got = np.concatenate(golden.states[1:-1]) / (1 << network.formats.state.fraction)
        # Golden saturates below 1, and rests where rounding holds it.
        np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("factor", [0.25, 1.0, 1.5])
def test_exponent_of_a_rotation(factor, rng):
    # At rest in zero the slope of tanh is 1, so the map is linear; a rotation stretches every direction alike.
    turn = factor * np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])
    np.testing.assert_allclose(lyapunov_exponent(plain(turn), np.zeros((3, 2)), 7, rng), np.log(factor), atol=1e-12)
    np.testing.assert_allclose(radius_at_rest(plain(turn), np.zeros((3, 2)), np.zeros((3, 2))), factor, rtol=1e-12)


def test_exponent_of_a_pair_of_neurons(rng):
    # Two steps multiply every perturbation by beta w^2, whatever its direction.
    pair = plain([[0, 0.25 * 0.5], [0.5, 0]])
    np.testing.assert_allclose(lyapunov_exponent(pair, np.zeros((2, 2)), 8, rng), np.log(np.sqrt(0.25) * 0.5), rtol=1e-12)


@pytest.mark.parametrize("weight", [0.8, -3.0])
def test_exponent_of_one_neuron_is_the_mean_logarithm_of_its_slopes(weight, rng):
    drive, state, logarithms = 0.3, 0.0, []
    for _ in range(12):
        state = np.tanh(weight * state + drive)
        logarithms.append(np.log(abs(weight) * (1 - state**2)))
    assert lyapunov_exponent(plain([[weight]]), np.array([[drive]]), 12, rng)[0] == pytest.approx(np.mean(logarithms), rel=1e-12)


def test_exponent_without_recurrence(rng):
    assert lyapunov_exponent(plain([[0, 0], [1, 0]]), np.zeros((1, 2)), 2, rng)[0] == -np.inf


@pytest.mark.parametrize(("activation", "slope"), [("hard_tanh", 0.0), ("hard_sigmoid", 0.0), ("tanh", 1 - np.tanh(2) ** 2)])
def test_slopes(activation, slope):
    states, slopes = plain([[1.0]], activation).respond(np.array([[2.0], [-2.0], [0.5], [-0.5]]))
    assert slopes[0, 0] == pytest.approx(slope) and states[0, 0] == (np.tanh(2) if activation == "tanh" else 1)
    assert states[1, 0] == (0 if activation == "hard_sigmoid" else -states[0, 0])
    assert activation == "tanh" or (states[2, 0], slopes[2, 0]) == (0.5, 1.0)
    assert activation == "tanh" or slopes[3, 0] == (activation == "hard_tanh")


def test_time_to_rest_of_a_halving_neuron():
    # s(t) = (1 - 2^-t) / 2, so step t changes it by 2^-(t+1): steps 19 and later by less than 1e-6.
    system, drive = plain([[0.5]], "hard_tanh"), np.array([[0.25], [0.0]])
    times, states = steps_to_rest(system, drive, 100)
    assert times.tolist() == [18, 0] and states[0, 0] == 0.5 - 2.0**-22
    assert steps_to_rest(system, drive, 18)[0].tolist() == [18, 0]
    assert steps_to_rest(system, drive, 17)[0].tolist() == [-1, 0]
    np.testing.assert_array_equal(changes(trajectory(system, drive, 4))[:, 0], [0.25, 0.125, 0.0625, 0.03125])


def test_an_oscillation_never_rests():
    times, _ = steps_to_rest(plain([[-2.0]], "hard_tanh"), np.array([[1.0]]), 50)
    assert times.tolist() == [-1]


@pytest.mark.parametrize("hidden", [1, 2, 5])
def test_a_chain_rests_when_its_last_layer_has_heard(hidden):
    network, weights = one_neuron_chain(hidden)
    inputs = np.array([[200], [100]])
    assert list(sweeps_to_rest(network, weights, inputs, "jacobi", 50)) == [hidden] * 2
    assert list(sweeps_to_rest(network, weights, inputs, "sequential", 50)) == [1, 1]
    times, _ = steps_to_rest(recurrent(network, weights, 0.0), input_drive(network, weights, inputs), 50)
    assert times.tolist() == [hidden] * 2


def test_cap_of_integer_rest():
    network, weights = one_neuron_chain(5)
    assert [next(sweeps_to_rest(network, weights, np.array([[200]]), "jacobi", cap)) for cap in (4, 5, 6)] == [-1, 5, 5]


def test_integer_rest_is_where_golden_stops_changing(rng):
    network = with_beta(Network.chain([5, 9, 7, 3], seed=int(rng.integers(1 << 32))), -1)
    inputs = rng.integers(0, 255, (3, 5), endpoint=True)
    weights = network.initial_weights()
    for schedule in ("jacobi", "sequential"):
        for sample, sweeps in zip(inputs, sweeps_to_rest(network, weights, inputs, schedule, 500), strict=True):
            assert sweeps > 1
            states = []
            for count in (sweeps - 1, sweeps, sweeps + 1, sweeps + 5):
                golden = Golden(replace(network, relaxation=Relaxation(schedule, count, 1)))
                golden.infer(sample[None])
                states.append(np.concatenate(golden.states[1:-1]))
            assert (states[0] != states[1]).any()
            np.testing.assert_array_equal(states[1], states[2])
            np.testing.assert_array_equal(states[1], states[3])


def test_steps_go_on_without_end():
    states = [state[0, 0] for state, _ in islice(plain([[0.5]], "hard_tanh").steps(np.array([[0.5]])), 3)]
    assert states == [0.5, 0.75, 0.875]


def test_beta_exponent():
    assert [beta_exponent(beta) for beta in (1.0, 0.25, 4.0, 2.0**-15)] == [0, -2, 2, -15]
    assert [beta_exponent(beta) for beta in (0.3, 8.0, 2.0**-16, 3.0)] == [None] * 4


def test_formats_of_weights_count():
    network = Network.chain([2, 2, 2, 2], formats=Formats(weight=Format(True, 1, 6)))
    weights = [np.full(shape, 64) for shape in network.weight_shapes]
    assert recurrent(network, weights, 0.5).matrix[2:, :2].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    np.testing.assert_array_equal(input_drive(network, weights, np.array([[128, 0]])), [[0.5, 0.5, 0.0, 0.0]])


def test_narrow_copies_are_what_is_multiplied():
    formats = Formats(weight=Format(True, 1, 6), mac_weight=Format(True, 0, 2))
    network = Network.chain([2, 2, 2, 2], formats=formats)
    # 0.375 and -0.375 are ties and go up, 1.25 is clipped.
    weights = [np.array([[24, -24], [80, 17]])] * 3
    copies = np.array([[0.5, -0.25], [0.75, 0.25]])
    matrix = recurrent(network, weights, 0.5).matrix
    np.testing.assert_array_equal(matrix[2:, :2], copies)
    np.testing.assert_array_equal(matrix[:2, 2:], copies.T / 2)
    np.testing.assert_array_equal(input_drive(network, weights, np.array([[128, 64]])), [[0.1875, 0.4375, 0.0, 0.0]])
