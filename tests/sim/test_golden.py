# SPDX-License-Identifier: Apache-2.0
"""The golden model: worked by hand, against plain loops, and against its compiled path."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from frenn.firmware.arithmetic import activate, mix, output_error, random_bits, round_half_up
from frenn.firmware.counters import GOLDEN
from frenn.firmware.errors import FrennError
from frenn.firmware.formats import Format
from frenn.firmware.network import Edge, Formats, Layer, Learning, Network, Relaxation
from frenn.firmware.protocol import Skip
from frenn.sim.compiled import CompiledGolden
from frenn.sim.golden import Golden, exact_product

DrawEdges = Callable[[np.random.Generator, Sequence[str]], tuple[Edge, ...]]

SKIPS = [Skip(0), Skip.REST, Skip.RIGHT, Skip.REST | Skip.RIGHT]


def random_network(rng: np.random.Generator, draw_edges: DrawEdges) -> Network:
    """A graph of 1 to 4 hidden layers whose every choice is random, its formats from the narrowest to the widest."""
    widths = [int(rng.integers(1, 41)) for _ in range(rng.integers(2, 6))] + [int(rng.integers(2, 13))]
    layers = tuple(Layer(f"layer{i}", w, str(rng.choice(["tanh", "hard_tanh", "hard_sigmoid"]))) for i, w in enumerate(widths))
    edges = draw_edges(rng, [layer.name for layer in layers])
    widest = int(rng.choice([10, 24]))
    pre_activation, drive = int(rng.integers(2, widest + 1)), int(rng.integers(1, widest + 1))
    integer = int(rng.integers(0, 4))
    formats = Formats(
        input=Format(False, 0, int(rng.integers(1, min(widest, 16) + 1))),
        state=Format(True, 0, int(rng.integers(1, min(widest - 1, pre_activation + 6) + 1))),
        weight=Format(True, int(rng.integers(0, 4)), int(rng.integers(1, 13))),
        deviation=Format(True, integer, int(rng.integers(1, min(widest - 1 - integer, drive + 6) + 1))),
        error=Format(True, 0, int(rng.integers(1, min(widest, 14) + 1))),
        pre_activation=Format(True, 2, pre_activation),
        drive=Format(True, int(rng.integers(0, 7)), drive),
    )
    if rng.random() < 0.3:
        narrow = Format(True, int(rng.integers(0, formats.weight.integer + 1)), int(rng.integers(1, formats.weight.fraction + 1)))
        formats = replace(formats, mac_weight=narrow)
    clamped = str(rng.choice(["deviation", "deviation", "literal"]))
    relaxation = Relaxation(
        str(rng.choice(["sequential", "jacobi"])),
        int(rng.integers(1, 9)),
        int(rng.integers(1, 9)),
        clamped,
        int(rng.integers(-6, 1)),
        str(rng.choice(["held", "refreshed"])) if clamped == "literal" else "held",
    )
    batch = int(rng.choice([1, 1, 2, 3, 5, 8, 64]))
    learning = Learning(rounding=str(rng.choice(["stochastic", "nearest"])), batch=batch)
    network = Network("random", layers, edges, formats, relaxation, learning, int(rng.integers(0, 2**32)))
    # Some sets of very wide and very narrow formats have no learning rate at all, or too wide a drive.
    with suppress(FrennError):
        if legal_rates(network):
            return network
    return random_network(rng, draw_edges)


def random_samples(rng: np.random.Generator, network: Network, count: int) -> tuple[np.ndarray, np.ndarray]:
    inputs = rng.integers(0, network.formats.input.maximum + 1, (count, network.widths[0]))
    return inputs * (rng.random(inputs.shape) < 0.5), rng.integers(0, network.widths[-1], count)


def legal_rates(network: Network) -> list[int]:
    """Binary logarithms of the learning rates that a network's formats allow, the largest first."""
    golden, legal = Golden(network), []
    for rate in range(48, -49, -1):
        with suppress(FrennError):
            golden.update_shifts(rate)
            legal.append(rate)
    return legal


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("number", range(15))
def test_compiled_equals_golden(seed: int, number: int, skip: Skip, draw_edges: DrawEdges) -> None:
    rng = np.random.default_rng((seed, number, int(skip)))
    network = random_network(rng, draw_edges)
    print(network)
    models = [Golden(network, skip=skip), CompiledGolden(network, skip=skip)]
    if rng.random() < 0.5:
        form = network.formats.weight
        weights = [rng.integers(form.minimum, form.maximum + 1, shape) for shape in network.weight_shapes]
        for model in models:
            model.load(weights)
    rate = int(rng.choice(legal_rates(network)[:4]))
    for step in (0, int(rng.integers(0, 2**32 - 8))):
        inputs, labels = random_samples(rng, network, 8)
        (predictions, wrong), (fast_predictions, fast_wrong) = (model.train(inputs, labels, step, rate) for model in models)
        np.testing.assert_array_equal(predictions, fast_predictions)
        np.testing.assert_array_equal(wrong, fast_wrong)
        assert_same(*models)
        inputs, _ = random_samples(rng, network, 4)
        np.testing.assert_array_equal(models[0].infer(inputs), models[1].infer(inputs))
        assert_same(*models)


def assert_same(golden: Golden, compiled: Golden) -> None:
    assert golden.counters() == compiled.counters()
    assert list(golden.counters()) == list(GOLDEN)
    for name in ("states", "slopes", "deviations"):
        for layer, (expected, got) in enumerate(zip(getattr(golden, name), getattr(compiled, name), strict=True)):
            np.testing.assert_array_equal(got, expected, f"{name} of layer {layer}")
    for block, (expected, got) in enumerate(zip(golden.weights(), compiled.weights(), strict=True)):
        np.testing.assert_array_equal(got, expected, f"weights of block {block}")


def test_random_networks_reach_every_counter(seed: int, draw_edges: DrawEdges) -> None:
    """The equality above means something only if each counter counts."""
    totals = dict.fromkeys(GOLDEN, 0)
    for number in range(40):
        rng = np.random.default_rng((seed, 99, number))
        network = random_network(rng, draw_edges)
        model = CompiledGolden(network)
        form = network.formats.weight
        model.load([rng.integers(form.minimum, form.maximum + 1, shape) for shape in network.weight_shapes])
        model.train(*random_samples(rng, network, 10), 0, legal_rates(network)[0])
        model.infer(random_samples(rng, network, 1)[0])
        for name, number in model.counters().items():
            totals[name] += number
    # A logit saturates at 256, which few of these networks can reach; it has a test of its own.
    assert [name for name, total in totals.items() if total == 0 and name != "saturated_logit"] == []


@pytest.mark.parametrize("model", [Golden, CompiledGolden])
def test_logit_saturates(model: type[Golden]) -> None:
    network = Network.chain([1, 40, 2], formats=Formats(weight=Format(True, 4, 8)))
    golden = model(network)
    largest = network.formats.weight.maximum
    golden.load([np.full((40, 1), largest), np.stack([np.full(40, largest), np.full(40, -largest)])])
    _, wrong = golden.train(np.full((1, 1), 255), np.zeros(1, dtype=np.int64), 0, -6)
    assert golden.counters()["saturated_logit"] == 2
    assert not wrong[0]
    assert golden.counters()["zero_error"] == 1


def sample_by_hand(network: Network, blocks: list[np.ndarray], sample: list[int], error: list[int]) -> tuple[list, list]:
    """States and deviations of 2 hidden layers of tanh in Python integers: sequential, 2 sweeps, no code shared with golden's."""
    formats = network.formats
    beta = network.edges[1].feedback_exponent
    first, second, last = ([[int(w) for w in row] for row in block] for block in blocks)
    one, two = [0] * len(first), [0] * len(second)
    slope_one, slope_two = list(one), list(two)

    def rho(value: int, fraction: int) -> tuple[int, int]:
        clipped = max(-formats.pre_activation.maximum, min(formats.pre_activation.maximum, half_up(value, fraction)))
        state, slope = activate(np.array([clipped]), formats.pre_activation.fraction, formats.state.fraction, "tanh")
        return int(state[0]), int(slope[0])

    def half_up(value: int, fraction: int, target: int = formats.pre_activation.fraction) -> int:
        return (2 * value * 2**target + 2**fraction) // 2 ** (fraction + 1)

    weight, state = formats.weight.fraction, formats.state.fraction
    for _ in range(2):
        for r in range(len(one)):
            exact = sum(w * x for w, x in zip(first[r], sample, strict=True)) * 2**state * 2**-beta
            exact += sum(second[k][r] * two[k] for k in range(len(two))) * 2**formats.input.fraction
            one[r], slope_one[r] = rho(exact, weight + state + formats.input.fraction - beta)
        for r in range(len(two)):
            two[r], slope_two[r] = rho(sum(w * s for w, s in zip(second[r], one, strict=True)), weight + state)

    def bend(value: int, fraction: int, slope: int) -> int:
        drive = max(-formats.drive.maximum, min(formats.drive.maximum, half_up(value, fraction, formats.drive.fraction)))
        deviation = half_up(drive * slope, formats.drive.fraction + 6, formats.deviation.fraction)
        return max(-formats.deviation.maximum, min(formats.deviation.maximum, deviation))

    down_one, down_two = [0] * len(one), [0] * len(two)
    for _ in range(2):
        for r in range(len(two)):
            exact = sum(last[k][r] * error[k] for k in range(len(error))) * 2**formats.deviation.fraction * 2**-beta
            exact += sum(w * d for w, d in zip(second[r], down_one, strict=True)) * 2**formats.error.fraction
            down_two[r] = bend(exact, weight + formats.deviation.fraction + formats.error.fraction - beta, slope_two[r])
        for r in range(len(one)):
            exact = sum(second[k][r] * down_two[k] for k in range(len(two)))
            down_one[r] = bend(exact, weight + formats.deviation.fraction, slope_one[r])
    return [one, two], [down_one, down_two]


def test_phases_and_update_by_plain_loops(rng: np.random.Generator) -> None:
    relaxation = Relaxation("sequential", 2, 2)
    network = Network.chain([7, 9, 5, 3], relaxation=relaxation, seed=int(rng.integers(2**32)))
    edges = tuple(replace(edge, feedback_exponent=exponent) for edge, exponent in zip(network.edges, (-5, -2, 1), strict=True))
    network = replace(network, edges=edges)
    golden = Golden(network)
    form = network.formats.weight
    before = [rng.integers(form.minimum, form.maximum + 1, shape) for shape in network.weight_shapes]
    golden.load(before)
    inputs = rng.integers(0, 256, (1, 7))
    step, rate = 12345, -4
    golden.train(inputs, np.array([1]), step, rate)
    error = [int(e) for e in golden.deviations[3]]
    states, deviations = sample_by_hand(network, before, inputs[0].tolist(), error)
    # 11 fraction bits of a weight and 8 of a state, to the 8 of a logit.
    logits = [(2 * sum(int(w) * s for w, s in zip(row, states[1], strict=True)) + 2**11) // 2**12 for row in before[2]]
    assert error == output_error(np.array(logits), 1, 8)[0].tolist()
    assert [golden.states[1].tolist(), golden.states[2].tolist()] == states
    assert [golden.deviations[1].tolist(), golden.deviations[2].tolist()] == deviations
    column = 0
    vectors = [inputs[0].tolist(), *states]
    for block, values in enumerate(vectors):
        target = [*deviations, error][block]
        # D in 8 fraction bits, s in 8, a weight in 11: the product, times 2^-4, is 9 bits finer.
        for r, d in enumerate(target):
            for c, s in enumerate(values):
                # The output's block is stored with a row for each neuron of its source.
                row, place = (r, c) if block < 2 else (c, r)
                word = mix(network.seed, step, np.array([column + place]))
                noise = int(random_bits(word, np.array([row]), 9)[0, 0])
                learned = int(before[block][r, c]) + (d * s + noise) // 2**9
                assert golden.weights()[block][r, c] == max(form.minimum, min(form.maximum, learned))
        column += len(values)


@pytest.mark.parametrize("model", [Golden, CompiledGolden])
@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
@pytest.mark.parametrize("clamped", ["deviation", "literal"])
@pytest.mark.parametrize("narrow", [None, Format(True, 2, 5)])
def test_minibatches_by_plain_loops(
    rng: np.random.Generator, model: type[Golden], rounding: str, clamped: str, narrow: Format | None
) -> None:
    """64 samples and a short minibatch of 7, from what single samples relax to, in Python integers; the last of the 64 has no error."""
    formats = Formats(weight=Format(True, 4, 8), mac_weight=narrow)
    learning = Learning(rounding=rounding, batch=64)
    relaxation = Relaxation(clamped=clamped, nudge_exponent=0)
    network = Network.chain([7, 9, 5, 3], formats=formats, learning=learning, relaxation=relaxation, seed=int(rng.integers(2**32)))
    edges = tuple(replace(edge, rate_exponent=exponent) for edge, exponent in zip(network.edges, (-2, 0, 1), strict=True))
    network = replace(network, edges=edges)
    form = formats.weight
    golden, alone = model(network), Golden(replace(network, learning=replace(learning, batch=1)))
    step, rate, erring = 4711, -6, True
    while erring:
        weights = [rng.integers(form.minimum, form.maximum + 1, shape) for shape in network.weight_shapes]
        inputs, labels = random_samples(rng, network, 71)
        alone.load(weights)
        labels[63:64] = alone.infer(inputs[63:64])
        _, (erring,) = alone.train(inputs[63:64], labels[63:64], 0, rate)
    golden.load(weights)
    predictions, wrong = golden.train(inputs, labels, step, rate)
    shifts = alone.update_shifts(rate)
    assert len(set(shifts)) == 3
    saturated = right = 0
    for start, stop in ((0, 64), (64, 71)):
        sums = [[[0] * columns for _ in range(rows)] for rows, columns in network.weight_shapes]
        for index in range(start, stop):
            one = slice(index, index + 1)
            alone.load(weights)
            alone.clear_counters()
            assert alone.infer(inputs[one])[0] == predictions[index]
            states = [values.tolist() for values in alone.states[:3]]
            error = output_error(free_logits(alone, states), int(labels[index]), 8)[0].tolist()
            assert any(error) == wrong[index]
            alone.train(inputs[one], labels[one], 0, rate)
            if not any(error) and clamped == "deviation":
                right += 1
                continue
            deviations = [*(alone.deviations[layer].tolist() for layer in (1, 2)), error]
            for block, (rows, columns) in enumerate(network.weight_shapes):
                for r in range(rows):
                    for c in range(columns):
                        sums[block][r][c] += deviations[block][r] * states[block][c]
        column = 0
        for block, (rows, columns) in enumerate(network.weight_shapes):
            for r in range(rows):
                for c in range(columns):
                    noise = 2 ** shifts[block] // 2
                    if rounding == "stochastic":
                        # The output's block is stored with a row for each neuron of its source, but not in the literal form.
                        row, place = (c, r) if block == 2 and clamped == "deviation" else (r, c)
                        word = mix(network.seed, step + stop - 1, np.array([column + place]))
                        noise = int(random_bits(word, np.array([row]), shifts[block])[0, 0])
                    exact = int(weights[block][r, c]) + (sums[block][r][c] + noise) // 2 ** shifts[block]
                    weights[block][r, c] = max(form.minimum, min(form.maximum, exact))
                    saturated += weights[block][r, c] != exact
            column += columns
    for expected, got in zip(weights, golden.weights(), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert golden.counters()["saturated_weight"] == saturated
    assert not wrong[63] and wrong.any() and (right > 0 or clamped == "literal")


def free_logits(golden: Golden, states: list[list[int]]) -> np.ndarray:
    """Logits of the free states of a chain, in Python integers."""
    formats = golden.network.formats
    form = formats.multiplied
    logits = []
    for row in golden.weights()[-1].tolist():
        copies = [max(form.minimum, min(form.maximum, (2 * w * 2**form.fraction // 2**formats.weight.fraction + 1) // 2)) for w in row]
        exact = sum(w * s for w, s in zip(copies, states[-1], strict=True))
        logits.append((2 * exact * 2**8 // 2 ** (form.fraction + formats.state.fraction) + 1) // 2)
    return np.array(logits)


@pytest.mark.parametrize("model", [Golden, CompiledGolden])
def test_calls_end_minibatches(rng: np.random.Generator, model: type[Golden]) -> None:
    """Calls of whole minibatches are as good as one call; calls of one sample learn as without minibatches."""
    network = Network.chain([6, 10, 8, 4], learning=Learning(batch=4), seed=int(rng.integers(2**32)))
    inputs, labels = random_samples(rng, network, 18)
    whole, parts, ones, single = model(network), model(network), model(network), model(replace(network, learning=Learning()))
    whole.train(inputs, labels, 3, -4)
    for start, stop in ((0, 8), (8, 12), (12, 18)):
        parts.train(inputs[start:stop], labels[start:stop], 3 + start, -4)
    assert_same(whole, parts)
    for index in range(18):
        ones.train(inputs[index : index + 1], labels[index : index + 1], 3 + index, -4)
    single.train(inputs, labels, 3, -4)
    assert_same(single, ones)
    assert any((block != other).any() for block, other in zip(whole.weights(), single.weights(), strict=True))


def test_prediction_is_the_first_of_the_largest_exact_drives() -> None:
    network = Network.chain([1, 1, 3])
    golden = Golden(network)
    golden.load([np.array([[2047]]), np.array([[5], [7], [7]])])
    assert golden.infer(np.array([[255]])).tolist() == [1]
    # A state of 1/256 and weights of 7/2048 and 8/2048 give logits that round to the same number.
    golden.load([np.array([[8]]), np.array([[7], [8], [8]])])
    assert golden.infer(np.array([[255]])).tolist() == [1]
    assert (round_half_up(golden.states[1] * np.array([7, 8]), 11) == 0).all()


@pytest.mark.parametrize("schedule", ["sequential", "jacobi"])
def test_a_phase_ends_at_rest(rng: np.random.Generator, schedule: str) -> None:
    network = Network.chain([8, 12, 12, 4], feedback_exponent=-4, relaxation=Relaxation(schedule, 100, 100), seed=int(rng.integers(2**32)))
    data = random_samples(rng, network, 20)
    counters, weights = [], []
    for skip in SKIPS:
        golden = Golden(network, skip=skip)
        golden.train(*data, 0, -5)
        counters.append(golden.counters())
        weights.append(golden.weights())
    dense, rest = counters[0], counters[3]
    assert dense["free_sweeps"] == dense["clamped_sweeps"] == 2000
    assert 40 <= rest["free_sweeps"] < 400
    # Resting changes no state and no weight, so all changes have been counted.
    assert dense["changed_states"] == rest["changed_states"]
    assert dense["changed_deviations"] == rest["changed_deviations"]
    for others in weights[1:]:
        for expected, got in zip(weights[0], others, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_one_hidden_layer_rests_in_its_second_sweep() -> None:
    golden = Golden(Network.chain([3, 4, 2], relaxation=Relaxation("sequential", 9, 9)))
    golden.train(np.full((1, 3), 200), np.array([0]), 0, -4)
    assert (golden.counters()["free_sweeps"], golden.counters()["clamped_sweeps"]) == (2, 2)


def test_a_sample_without_error_leaves_the_weights(rng: np.random.Generator) -> None:
    network = Network.chain([4, 6, 2], formats=Formats(weight=Format(True, 2, 6)))
    for skip in SKIPS:
        golden = Golden(network, skip=skip)
        largest = network.formats.weight.maximum
        golden.load([np.full((6, 4), largest), np.stack([np.full(6, largest), np.full(6, -largest)])])
        before = golden.weights()
        predictions, wrong = golden.train(rng.integers(100, 256, (5, 4)), np.zeros(5, dtype=np.int64), 0, 0)
        assert not predictions.any() and not wrong.any()
        assert golden.counters()["zero_error"] == 5
        assert (golden.counters()["clamped_sweeps"] > 0) == (not skip & Skip.RIGHT)
        for expected, got in zip(before, golden.weights(), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_exact_product_beyond_float64(rng: np.random.Generator) -> None:
    matrix = rng.integers(-(2**30), 2**30, (5, 7))
    vector = rng.integers(-(2**29), 2**29, 7)
    exact = [sum(int(a) * int(b) for a, b in zip(row, vector, strict=True)) for row in matrix]
    assert exact_product(matrix, vector, 2**30).tolist() == exact
    small = rng.integers(-9, 10, 7)
    assert exact_product(matrix, small, 2**30).tolist() == [sum(int(a) * int(b) for a, b in zip(row, small, strict=True)) for row in matrix]


@pytest.mark.parametrize("model", [Golden, CompiledGolden])
def test_bad_arguments_change_nothing(model: type[Golden]) -> None:
    network = Network.chain([3, 4, 2])
    golden = model(network)
    before = golden.weights()
    inputs, labels = np.zeros((2, 3), dtype=np.int64), np.array([0, 1])
    for bad, message in (
        (lambda: golden.train(inputs[:, :2], labels, 0, -6), "shape"),
        (lambda: golden.train(inputs[0], labels, 0, -6), "shape"),
        (lambda: golden.train(inputs + 256, labels, 0, -6), "0 to 255"),
        (lambda: golden.train(inputs - 1, labels, 0, -6), "0 to 255"),
        (lambda: golden.infer(inputs + 256), "0 to 255"),
        (lambda: golden.infer(np.full((2, 3), np.nan)), "integers"),
        (lambda: golden.train(inputs, labels[:1], 0, -6), "one per sample"),
        (lambda: golden.train(inputs, labels + 1, 0, -6), "0 to 1"),
        (lambda: golden.train(inputs, labels, 2**32 - 1, -6), "step"),
        (lambda: golden.train(inputs, labels, -1, -6), "step"),
        (lambda: golden.train(inputs, labels, 0, 6), "learning rate"),
        (lambda: golden.train(inputs, labels, 0, -30), "learning rate"),
        (lambda: golden.load(before[:1]), "one block per edge"),
        (lambda: golden.load([before[0].T, before[1]]), "shape"),
        (lambda: golden.load([before[0], before[1] + 2048]), "-2047 to 2047"),
        (lambda: golden.load([before[0], before[1] / 2]), "integers"),
    ):
        with pytest.raises(FrennError, match=message):
            bad()
    for expected, got in zip(before, golden.weights(), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert not any(golden.counters().values())


def test_a_drive_beyond_63_bits_is_refused() -> None:
    formats = Formats(weight=Format(True, 0, 15), state=Format(True, 0, 23), pre_activation=Format(True, 2, 24))
    with pytest.raises(FrennError, match="drive of layer 'hidden2'"):
        Golden(Network.chain([4, 4000, 4, 4, 2], feedback_exponent=-15, formats=formats))
    Golden(Network.chain([4, 4000, 4, 4, 2], feedback_exponent=-11, formats=formats))


def test_counters_clear_and_samples_split(rng: np.random.Generator) -> None:
    network = replace(Network.chain([5, 8, 8, 3]), seed=int(rng.integers(2**32)))
    inputs, labels = random_samples(rng, network, 9)
    for model in (Golden, CompiledGolden):
        whole, parts = model(network), model(network)
        whole.train(inputs, labels, 3, -5)
        parts.train(inputs[:4], labels[:4], 3, -5)
        parts.train(inputs[4:], labels[4:], 7, -5)
        assert_same(whole, parts)
        assert whole.counters()["trained"] == 9
        whole.clear_counters()
        assert not any(whole.counters().values())


@pytest.mark.parametrize("sweeps", [1, 2, 3])
def test_jacobi_steps_equal_sequential_sweeps(rng: np.random.Generator, sweeps: int) -> None:
    """On a chain a layer's state after sweep m is that after the step ``distance + 2 (m - 1)`` from where the phase begins."""
    network = Network.chain([6, 10, 11, 9, 4], feedback_exponent=-3, seed=int(rng.integers(2**32)))
    inputs, labels = random_samples(rng, network, 1)

    def after(schedule: str, free: int, clamped: int) -> Golden:
        golden = Golden(replace(network, relaxation=Relaxation(schedule, free, clamped)))
        golden.train(inputs, labels, 0, -5)
        return golden

    sequential = after("sequential", sweeps, 1)
    settled = after("sequential", 60, sweeps)
    assert settled.deviations[4].any()
    for layer in (1, 2, 3):
        free = after("jacobi", layer + 2 * (sweeps - 1), 1)
        np.testing.assert_array_equal(free.states[layer], sequential.states[layer])
        clamped = after("jacobi", 120, 4 - layer + 2 * (sweeps - 1))
        np.testing.assert_array_equal(clamped.deviations[layer], settled.deviations[layer])
