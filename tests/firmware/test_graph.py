# SPDX-License-Identifier: Apache-2.0
"""The equations of a graph: terms and scales by hand, against every path, and against the edges."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import numpy as np
import pytest
from frenn.firmware.formats import Format
from frenn.firmware.graph import Term, clamped_terms, drive_fraction, free_terms, scales, update_fractions
from frenn.firmware.network import Edge, Formats, Layer, Network, parse_network

DrawEdges = Callable[[np.random.Generator, Sequence[str]], tuple[Edge, ...]]


def random_graph(rng: np.random.Generator, draw_edges: DrawEdges) -> Network:
    """3 to 7 layers with formats that tell every quantity from every other."""
    layers = tuple(Layer(f"layer{number}", int(rng.integers(2, 9))) for number in range(rng.integers(3, 8)))
    formats = Formats(
        input=Format(False, 0, 5),
        state=Format(True, 0, 7),
        weight=Format(True, 1, 10),
        deviation=Format(True, 2, 9),
        error=Format(True, 0, 6),
    )
    return Network("random", layers, draw_edges(rng, [layer.name for layer in layers]), formats)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("layers = [4, 3, 3, 3, 2]\nfeedback_scale = '2^-3'", [-6, -3, 0]),
        ("layers = [4, 3, 3, 3, 2]\nfeedback_scale = '2^-3'\nfeedback = 'fixed'", [-6, -3, 0]),
        # 1 -> 3 comes back in one step, and 2 is reached from 1 as strongly as from 3.
        ("layers = [4, 3, 3, 3, 2]\nfeedback_scale = '2^-3'\n[links]\nevery = 2", [-3, -3, 0]),
        # With scales that agree along both ways the link changes no scale.
        ("layers = [4, 3, 3, 3, 2]\nfeedback_scale = '2^-3'\n[links]\nevery = 2\nfeedback_scale = '2^-6'", [-6, -3, 0]),
        # As above, but the way forward is weaker than the way back from 3.
        ("layers = [4, 3, 3, 3, 2]\nfeedback_scale = '2^-3'\nforward_scale = '2^-4'\n[links]\nevery = 2", [-3, -3, 0]),
        ("layers = [4, 3, 3, 3, 2]\nfeedback_scale = '2^-3'\nforward_scale = '2^-1'\n[links]\nevery = 2", [-3, -3, 0]),
        # 4, 7 and 10 as strong as a chain of links; what lies between hears them forward.
        ("layers = [4, 3, 3, 3, 3, 3, 3, 3, 2]\nfeedback_scale = '2^-3'\n[links]\nevery = 3", [-6, -6, -6, -3, -3, -3, 0]),
        (
            "layers = [4, 3, 3, 3, 3, 3, 3, 3, 2]\nfeedback_scale = '2^-3'\nforward_scale = '2^-2'\n[links]\nevery = 3",
            [-6, -8, -6, -3, -5, -3, 0],
        ),
        # Loops that could grow: paths along feedback alone.
        ("layers = [4, 3, 3, 3, 2]\nfeedback_scale = 2\n[links]\nevery = 2", [2, 1, 0]),
        ("layers = [4, 3, 3, 3, 2]\nfeedback_scale = 2\n[links]\nevery = 2\nfeedback_scale = '2^-5'", [2, 1, 0]),
        # The output's own scale is no scale of the recurrent part.
        (
            """layers = [4, 3, 3, 3, 2]
            edges = [
                {source = "input", target = "hidden1", feedback_scale = 4},
                {source = "hidden1", target = "hidden2", feedback_scale = "2^-9"},
                {source = "hidden1", target = "hidden3", feedback_scale = "2^-2", feedback = "fixed"},
                {source = "hidden2", target = "hidden3", feedback_scale = "2^-5"},
                {source = "hidden3", target = "output", feedback_scale = 4, feedback = "fixed"},
            ]""",
            [-2, -2, 0],
        ),
        # A link from the middle to the output carries its error back at full strength, and forward from there.
        (
            """layers = [4, 3, 3, 3, 2]
            feedback_scale = "2^-6"
            edges = [
                {source = "input", target = "hidden1"},
                {source = "hidden1", target = "hidden2"},
                {source = "hidden1", target = "output"},
                {source = "hidden2", target = "hidden3", forward_scale = "2^-4"},
                {source = "hidden3", target = "output", feedback = "none"},
                {source = "hidden3", target = "hidden1", role = "feedback", feedback_scale = 1},
                {source = "output", target = "hidden3", role = "feedback", feedback_scale = "2^-15"},
            ]""",
            [0, 0, 0],
        ),
    ],
)
def test_scales_by_hand(text: str, expected: list[int]) -> None:
    assert scales(parse_network(text)) == [0, *expected, 0]


def hops(network: Network) -> dict[tuple[int, int], list[tuple[int, int, bool]]]:
    """(exponent of the scale, block, transposed) of all that goes from a layer to another, over the recurrent part and from the output."""
    output = len(network.layers) - 1
    found: dict[tuple[int, int], list[tuple[int, int, bool]]] = {}
    for block, (edge, (source, target)) in enumerate(zip(network.edges, network.ends, strict=True)):
        if edge.role == "feedback":
            ways = [(source, target, edge.feedback_exponent, False)]
        else:
            ways = [(source, target, edge.forward_exponent, False)]
            if edge.feedback == "symmetric":
                ways.append((target, source, edge.feedback_exponent, True))
        for start, end, exponent, transposed in ways:
            if start > 0 and 0 < end < output:
                found.setdefault((start, end), []).append((0 if start == output else exponent, block, transposed))
    return found


def paths(steps: dict[tuple[int, int], list[tuple[int, int, bool]]], path: list[int], falling: bool) -> Iterator[tuple[int, list[int]]]:
    """(sum of exponents, layers) of every path that goes on from one without coming twice to a layer."""
    yield 0, path
    for (start, end), ways in steps.items():
        if start == path[-1] and end not in path and (end < start or not falling):
            for total, whole in paths(steps, [*path, end], falling):
                yield total + max(exponent for exponent, _, _ in ways), whole


def test_scales_are_those_of_the_strongest_path(rng: np.random.Generator, draw_edges: DrawEdges) -> None:
    loops = 0
    for _ in range(200):
        network = random_graph(rng, draw_edges)
        output = len(network.layers) - 1
        steps = hops(network)
        falling = any(exponent > 0 for ways in steps.values() for exponent, _, _ in ways)
        best: dict[int, int] = {}
        for total, path in paths(steps, [output], falling):
            best[path[-1]] = max(total, best.get(path[-1], total))
        assert scales(network) == [0, *(best[layer] for layer in range(1, output)), 0]
        loops += not falling
    assert 20 < loops < 180


def test_terms_are_the_edges(rng: np.random.Generator, draw_edges: DrawEdges) -> None:
    for _ in range(100):
        network = random_graph(rng, draw_edges)
        formats, output, gamma = network.formats, len(network.layers) - 1, scales(network)
        steps = hops(network)
        ends = list(enumerate(zip(network.edges, network.ends, strict=True)))
        for layer in range(1, output + 1):
            terms = free_terms(network, layer)
            expected = [
                Term(source, block, transposed, 17 - exponent, network.widths[source], formats.state.maximum)
                for (source, target), ways in steps.items()
                for exponent, block, transposed in ways
                if target == layer and source < output
            ]
            for block, (edge, (source, target)) in ends:
                if edge.learns and target == layer and (source == 0 or layer == output):
                    form = formats.state if source else formats.input
                    fraction = 10 + form.fraction - edge.forward_exponent
                    expected.append(Term(source, block, False, fraction, network.widths[source], form.maximum))
            assert sorted(map(repr, terms)) == sorted(map(repr, expected))
            back = [term.source > layer for term in terms]
            assert back == sorted(back)
        for layer in range(1, output):
            terms = clamped_terms(network, layer)
            assert len(terms) == sum(len(ways) for (_, target), ways in steps.items() if target == layer)
            ratios = []
            for term in terms:
                exponent = next(e for e, block, turned in steps[term.source, layer] if (block, turned) == (term.block, term.transposed))
                ratios.append(exponent + gamma[term.source] - gamma[layer])
                form = formats.error if term.source == output else formats.deviation
                assert term.fraction == 10 + form.fraction - ratios[-1]
                assert (term.sources, term.largest) == (network.widths[term.source], form.maximum)
            if all(exponent <= 0 for ways in steps.values() for exponent, _, _ in ways):
                assert max(ratios) == 0
            back = [term.source > layer for term in terms]
            assert back == sorted(back, reverse=True)


def test_a_drive_keeps_its_finest_term_and_what_it_is_rounded_to() -> None:
    network = parse_network("layers = [4, 3, 3, 2]\nfeedback_scale = '2^-9'")
    # 11 bits of a weight, 8 of an input or a state, 9 of the scale.
    assert [term.fraction for term in free_terms(network, 1)] == [19, 28]
    assert drive_fraction(network, free_terms(network, 1)) == 28
    coarse = parse_network(
        "layers = [4, 3, 3, 2]\nfeedback_scale = 4\n[formats]\nweight = 'S0.3'\nstate = 'S0.2'\ndrive = 'S5.14'\npre_activation = 'S2.9'"
    )
    assert [term.fraction for term in free_terms(coarse, 1)] == [11, 3]
    assert drive_fraction(coarse, free_terms(coarse, 1)) == 14


def test_updates_are_those_of_learned_blocks() -> None:
    network = parse_network(
        "layers = [4, 3, 3, 2]\nfeedback = 'fixed'\n[formats]\ninput = 'U0.4'\nstate = 'S0.7'\nerror = 'S0.9'\ndeviation = 'S2.6'"
    )
    assert network.weight_names[:3] == ("input->hidden1", "hidden1->hidden2", "hidden2->output")
    assert update_fractions(network) == {0: 6 + 4 - 11, 1: 6 + 7 - 11, 2: 9 + 7 - 11}


def test_the_scaled_equation_is_the_unscaled_one(rng: np.random.Generator, draw_edges: DrawEdges) -> None:
    """``D = d / gamma``: the terms of D, times gamma, are those of d, in exact fractions."""
    for _ in range(30):
        network = random_graph(rng, draw_edges)
        formats, output = network.formats, len(network.layers) - 1
        gamma = [Fraction(2) ** exponent for exponent in scales(network)]
        values = [int(rng.integers(-50, 51)) for _ in network.layers]
        weights = [int(rng.integers(-50, 51)) for _ in network.edges]
        unit = Fraction(1, 2**formats.weight.fraction)
        real = [
            Fraction(value, 2 ** (formats.error if layer == output else formats.deviation).fraction) for layer, value in enumerate(values)
        ]
        steps = hops(network)
        for layer in range(1, output):
            scaled = sum(
                Fraction(values[term.source] * weights[term.block]) / Fraction(2) ** term.fraction for term in clamped_terms(network, layer)
            )
            plain = sum(
                Fraction(2) ** exponent * weights[block] * unit * gamma[source] * real[source]
                for (source, target), ways in steps.items()
                for exponent, block, _ in ways
                if target == layer
            )
            assert scaled * gamma[layer] == plain
