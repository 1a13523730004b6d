# SPDX-License-Identifier: Apache-2.0
"""Network files: what they say, and the line that a wrong one gets."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from frenn.firmware.errors import FrennError, NetworkError
from frenn.firmware.formats import Format
from frenn.firmware.network import Edge, Formats, Layer, Learning, Network, Relaxation, load_network, parse_network

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_defaults() -> None:
    network = parse_network("layers = [8, 6, 5, 3]", default_name="tiny")
    assert network.name == "tiny" and network.seed == 1
    assert network.layers == (Layer("input", 8), Layer("hidden1", 6), Layer("hidden2", 5), Layer("output", 3))
    assert network.edges == (Edge("input", "hidden1"), Edge("hidden1", "hidden2"), Edge("hidden2", "output"))
    assert (network.formats, network.relaxation, network.learning) == (Formats(), Relaxation(), Learning())
    assert network == Network.chain([8, 6, 5, 3], name="tiny")


def test_everything_that_a_file_can_say() -> None:
    network = parse_network(
        """
        name = "all"
        seed = 4294967295
        activation = "hard_tanh"
        feedback_scale = 0.25
        layers = [4, {name = "a", width = 3, activation = "hard_sigmoid"}, {width = 5}, 2]
        edges = [
            {source = "hidden2", target = "output"},
            {source = "a", target = "hidden2", feedback_scale = "2^-4"},
            {source = "input", target = "a"},
        ]
        [relaxation]
        schedule = "jacobi"
        free_sweeps = 10
        clamped_sweeps = 5
        [learning]
        rate = 0.5
        halve_every = 3
        epochs = 12
        rounding = "nearest"
        [formats]
        input = "U0.4"
        state = "S0.10"
        weight = "S1.8"
        deviation = "S3.8"
        error = "S0.9"
        pre_activation = "S2.8"
        drive = "S4.10"
        """
    )
    assert network.layers == (
        Layer("input", 4, "hard_tanh"),
        Layer("a", 3, "hard_sigmoid"),
        Layer("hidden2", 5, "hard_tanh"),
        Layer("output", 2, "hard_tanh"),
    )
    # Edges stand in the order of the chain, whatever the file's order.
    assert network.edges == (Edge("input", "a", -2), Edge("a", "hidden2", -4), Edge("hidden2", "output", -2))
    assert network.weight_names == ("input->a", "a->hidden2", "hidden2->output")
    assert network.weight_shapes == ((3, 4), (5, 3), (2, 5))
    assert network.relaxation == Relaxation("jacobi", 10, 5)
    assert network.learning == Learning(-1, 3, 12, "nearest")
    texts = [str(getattr(network.formats, name)) for name in ("input", "state", "weight", "deviation", "error", "pre_activation", "drive")]
    assert texts == ["U0.4", "S0.10", "S1.8", "S3.8", "S0.9", "S2.8", "S4.10"]


def test_every_kind_of_edge() -> None:
    network = parse_network(
        """
        layers = [4, 3, 5, 6, 2]
        feedback_scale = "2^-4"
        forward_scale = "2^-1"
        feedback = "fixed"
        edges = [
            {source = "output", target = "hidden1", role = "feedback", feedback_scale = 1},
            {source = "hidden3", target = "hidden1", role = "feedback"},
            {source = "hidden3", target = "output", feedback = "symmetric"},
            {source = "hidden1", target = "hidden3", feedback = "symmetric", feedback_scale = "2^-9", forward_scale = "2^-3"},
            {source = "hidden2", target = "hidden3"},
            {source = "input", target = "output", feedback = "none", forward_scale = 0.25},
            {source = "input", target = "hidden1"},
            {source = "hidden1", target = "hidden2", feedback = "none"},
            {source = "hidden2", target = "output"},
        ]
        """
    )
    # Those that learn first, each kind in the order of the layers. The output's own scale and the input's is 1 unless an edge says so.
    assert network.edges == (
        Edge("input", "hidden1", -4, feedback="none"),
        Edge("input", "output", -4, feedback="none", forward_exponent=-2),
        Edge("hidden1", "hidden2", -4, feedback="none", forward_exponent=-1),
        Edge("hidden1", "hidden3", -9, feedback="symmetric", forward_exponent=-3),
        Edge("hidden2", "hidden3", -4, feedback="none", forward_exponent=-1),
        Edge("hidden2", "output", -4, feedback="none"),
        Edge("hidden3", "output", -4),
        Edge("hidden3", "hidden1", -4, "feedback"),
        Edge("hidden3", "hidden2", -4, "feedback"),
        Edge("output", "hidden1", 0, "feedback"),
        Edge("output", "hidden2", -4, "feedback"),
    )
    assert network.weight_names[2:4] == ("hidden1->hidden2", "hidden1->hidden3")
    assert network.weight_shapes[7:] == ((3, 6), (5, 6), (3, 2), (5, 2))
    assert network.ends[7:] == ((3, 1), (3, 2), (4, 1), (4, 2))
    assert [edge.learns for edge in network.edges] == 7 * [True] + 4 * [False]


@pytest.mark.parametrize("kind", ["symmetric", "fixed"])
def test_feedback_of_a_chain(kind: str) -> None:
    network = parse_network(f"layers = [4, 3, 5, 2]\nfeedback = '{kind}'")
    forward = [(0, 1), (1, 2), (2, 3)]
    assert network.ends == (*forward, *([(2, 1), (3, 2)] if kind == "fixed" else []))
    tied = {edge.feedback for edge in network.edges if edge.learns}
    assert tied == {"symmetric" if kind == "symmetric" else "none"}


@pytest.mark.parametrize("kind", ["symmetric", "fixed"])
def test_residual_links(kind: str) -> None:
    def links(hidden: int, every: int, more: str = "") -> Network:
        layers = [9, *[8] * hidden, 3]
        return parse_network(f"layers = {layers}\nfeedback = '{kind}'\n[links]\nevery = {every}\n{more}")

    for hidden, every, expected in ((10, 3, [(1, 4), (4, 7), (7, 10)]), (20, 3, None), (3, 2, [(1, 3)]), (7, 5, [(1, 6)])):
        network = links(hidden, every)
        chain = [(layer, layer + 1) for layer in range(hidden + 1)]
        if expected is None:
            expected = [(layer, layer + 3) for layer in (1, 4, 7, 10, 13, 16)]
        forward = [ends for ends, edge in zip(network.ends, network.edges, strict=True) if edge.learns]
        back = [ends for ends, edge in zip(network.ends, network.edges, strict=True) if not edge.learns]
        assert sorted(forward) == sorted(chain + expected)
        assert sorted(back) == sorted((target, source) for source, target in chain[1:] + expected if kind == "fixed")
    network = links(10, 3, "feedback_scale = '2^-9'")
    scales = {abs(source - target): edge.feedback_exponent for edge, (source, target) in zip(network.edges, network.ends, strict=True)}
    assert scales == {1: -7, 3: -9}


def random_links(hidden: int, probability: float, *, seed: int = 1, feedback: str = "fixed", more: str = "") -> Network:
    widths = [9, *[8] * hidden, 3]
    return parse_network(f"seed = {seed}\nlayers = {widths}\nfeedback = '{feedback}'\n[links]\nprobability = {probability}\n{more}")


def on_top(network: Network) -> dict[tuple[int, int], Edge]:
    """Edges between hidden layers that are no neighbours, by their ends."""
    output = len(network.layers) - 1
    ends = zip(network.ends, network.edges, strict=True)
    return {end: edge for end, edge in ends if abs(end[0] - end[1]) > 1 and 0 not in end and output not in end}


@pytest.mark.parametrize("feedback", ["symmetric", "fixed"])
def test_random_links(feedback: str) -> None:
    for seed in range(20):
        network = random_links(7, 0.3, seed=seed, feedback=feedback)
        for (source, target), edge in on_top(network).items():
            # One way only: a forward link has no partner but one that was drawn by itself.
            assert (edge.role, edge.feedback) == (("forward", "none") if source < target else ("feedback", "symmetric"))
        without = {ends for ends in network.ends if ends not in on_top(network)}
        assert without == set(parse_network(f"layers = [9, 8, 8, 8, 8, 8, 8, 8, 3]\nfeedback = '{feedback}'").ends)
        assert len(set(network.weight_names)) == len(network.edges)


def test_random_links_by_probability_and_seed() -> None:
    every_pair = {(i, j) for i in range(1, 8) for j in range(1, 8) if abs(i - j) > 1}
    assert set(on_top(random_links(7, 1))) == every_pair and on_top(random_links(7, 0)) == {}
    # 200 draws of 30 pairs: 6000 links drawn with probability 0.2, so 1200 +- 31.
    drawn = [on_top(random_links(7, 0.2, seed=seed)) for seed in range(200)]
    assert 1050 < sum(map(len, drawn)) < 1350
    for pair in every_pair:
        assert 15 < sum(pair in links for links in drawn) < 70
    assert len({tuple(links) for links in drawn}) > 190
    assert random_links(7, 0.2, seed=5) == random_links(7, 0.2, seed=5)
    # A seed of the links alone: the weights may change under the same graph.
    assert random_links(7, 0.2, seed=5, more="seed = 9").edges == random_links(7, 0.2, seed=6, more="seed = 9").edges
    assert random_links(7, 0.2, seed=9).edges == random_links(7, 0.2, seed=5, more="seed = 9").edges


def test_random_links_beside_residual_ones() -> None:
    for seed in range(20):
        network = random_links(7, 0.6, seed=seed, more="every = 2")
        for pair in ((1, 3), (3, 5), (5, 7)):
            assert pair in network.ends and pair[::-1] in network.ends
        assert len(set(network.weight_names)) == len(network.edges)


def test_fixed_feedback_has_weights_of_its_own() -> None:
    network = parse_network("layers = [40, 30, 20, 10]\nfeedback = 'fixed'")
    weights = dict(zip(network.weight_names, network.initial_weights(), strict=True))
    for name, forward in (("hidden2->hidden1", "hidden1->hidden2"), ("output->hidden2", "hidden2->output")):
        block, learned = weights[name], weights[forward]
        assert block.shape == learned.T.shape and (block != learned.T).mean() > 0.9
        bound = np.sqrt(6 / sum(block.shape)) * 2048
        assert 0.9 * bound < np.abs(block).max() <= np.ceil(bound)


@pytest.mark.parametrize("scale", ["0.0078125", '"2^-7"', "7.8125e-3"])
def test_powers_of_two(scale: str) -> None:
    assert parse_network(f"layers = [4, 3, 2]\nfeedback_scale = {scale}").edges[0].feedback_exponent == -7


FORWARD = {
    1: "{source = 'input', target = 'hidden1'}",
    2: "{source = 'hidden1', target = 'hidden2'}",
    3: "{source = 'hidden2', target = 'output'}",
}

WRONG = {
    "layers": [
        ("seed = 3", "layers is missing; write for example layers = [64, 64, 64, 10]"),
        ("layers = 5", "layers is 5; legal is a list"),
        ("layers = [4, 2]", "network: layers is 2; legal is an input, at least one hidden layer and an output"),
        ("layers = []", "network: layers is 0; legal is an input, at least one hidden layer and an output"),
        ("layers = [4, 0, 2]", "layer 'hidden1': width is 0; legal is an integer from 1 to 4095"),
        ("layers = [4096, 3, 2]", "layer 'input': width is 4096; legal is an integer from 1 to 4095"),
        ("layers = [4, 3, 1]", "network: output width is 1; legal is at least 2 classes"),
        ("layers = [4, true, 2]", "layers[1] is True; write a width or { name = ..., width = ... }"),
        ("layers = [4, 3.0, 2]", "layers[1] is 3.0; write a width or { name = ..., width = ... }"),
        ("layers = [4, {name = 'a'}, 2]", "layers[1] has no width"),
        ("layers = [4, {width = 3, size = 2}, 2]", "layers[1] has an unknown key 'size'; legal are activation, name, width"),
        ("layers = [4, {width = 3, name = 'output'}, 2]", "layers: name is output; legal is a name used once"),
        ("layers = [4, {width = 3, name = ''}, 2]", "layers: name is ''; legal is a text of printable characters"),
        ("layers = [4, {width = 3, name = 7}, 2]", "layers: name is 7; legal is a text of printable characters"),
        ('layers = [4, {width = 3, name = "a\\nb"}, 2]', r"layers: name is 'a\nb'; legal is a text of printable characters"),
        (
            "layers = [4, {width = 3, activation = 'relu'}, 2]",
            "layer 'hidden1': activation is relu; legal is one of tanh, hard_tanh, hard_sigmoid",
        ),
    ],
    "top": [
        ("layers = [4, 3, 2", "is no TOML: "),
        ("layers = [4, 3, 2]\nseed = 1" + 5000 * "0", "is no TOML: "),
        ("layers = [4, 3, 2]\nfeedback_scale = 1" + 400 * "0", "is no TOML: an integer has more than 64 bits"),
        ("layers = " + 3000 * "[", "is no TOML: "),
        (
            "layers = [4, 3, 2]\nwidths = 3",
            "the network file has an unknown key 'widths'; "
            "legal are activation, edges, feedback, feedback_scale, formats, forward_scale, layers, learning, links, ",
        ),
        ("layers = [4, 3, 2]\nname = 5", "network: name is 5; legal is a text of printable characters"),
        ("layers = [4, 3, 2]\nseed = -1", "network: seed is -1; legal is an integer from 0 to 4294967295"),
        ("layers = [4, 3, 2]\nseed = 4294967296", "network: seed is 4294967296; legal is an integer from 0 to 4294967295"),
        ("layers = [4, 3, 2]\nseed = true", "network: seed is True; legal is an integer from 0 to 4294967295"),
        (
            "layers = [4, 3, 2]\nactivation = 'softmax'",
            "layer 'input': activation is softmax; legal is one of tanh, hard_tanh, hard_sigmoid",
        ),
        *(
            (
                f"layers = [4, 3, 2]\nfeedback_scale = {value}",
                f"feedback_scale is {shown}; legal is a power of two from 2^-15 to 2^2, ",
            )
            for value, shown in (
                ("0.3", "0.3"),
                ("0", "0"),
                ("-0.5", "-0.5"),
                ("nan", "nan"),
                ("inf", "inf"),
                ("true", "True"),
                ("8", "8"),
                ("1" + 18 * "0", "1" + 18 * "0"),
                ("'2^-16'", "'2^-16'"),
                ("'2^x'", "'2^x'"),
                ("'0.5'", "'0.5'"),
                ("[]", "[]"),
            )
        ),
    ],
    "edges": [
        ("layers = [4, 3, 2]\nedges = 1", "edges is 1; legal is a list"),
        ("layers = [4, 3, 2]\nedges = [1]", "edges[0] is 1; write { source = ..., target = ... }"),
        ("layers = [4, 3, 2]\nedges = [{source = 'input'}]", "edges[0] has no target"),
        ("layers = [4, 3, 2]\nedges = [{target = 'input'}]", "edges[0] has no source"),
        (
            "layers = [4, 3, 2]\nedges = [{source = 'input', target = 'output', to = 1}]",
            "edges[0] has an unknown key 'to'; legal are feedback, feedback_scale, forward_scale, ",
        ),
        (
            "layers = [4, 3, 2]\nedges = [{source = 'input', target = 'nowhere'}]",
            "edge input -> nowhere: target is nowhere; legal is one of input, hidden1, output",
        ),
        (
            "layers = [4, 3, 2]\nedges = [{source = 'input', target = 'hidden1', feedback_scale = 3}]",
            "edges[0].feedback_scale is 3; legal is a power of two from 2^-15 to 2^2, ",
        ),
        (
            "layers = [4, 3, 2]\nedges = [{source = 'input', target = 'output'}]",
            "edges: layer hidden1 is not reached from the input; legal is a forward edge to it",
        ),
        (
            "layers = [4, 3, 2]\nedges = [{source = 'input', target = 'hidden1'}]",
            "edges: layer output is not reached from the input; legal is a forward edge to it",
        ),
    ],
    "graph": [
        *(
            (f"layers = [4, 3, 3, 2]\nedges = [{', '.join(FORWARD[end] for end in chain)}, {entry}]", message)
            for chain, entry, message in (
                (
                    (1, 2, 3),
                    "{source = 'hidden2', target = 'hidden1'}",
                    "edges: hidden2 -> hidden1 is an edge that goes back; "
                    'legal is role = "feedback" for it, or layers listed so that it goes on',
                ),
                (
                    (1, 2, 3),
                    "{source = 'hidden1', target = 'hidden1'}",
                    "edges: hidden1 -> hidden1 is an edge that goes back; "
                    'legal is role = "feedback" for it, or layers listed so that it goes on',
                ),
                (
                    (1, 2, 3),
                    "{source = 'output', target = 'input'}",
                    "edges: output -> input is an edge that goes back; "
                    'legal is role = "feedback" for it, or layers listed so that it goes on',
                ),
                *(
                    (
                        (1, 2, 3),
                        f"{{source = '{source}', target = '{target}', role = 'feedback'}}",
                        f"edges: {source} -> {target} is a feedback edge; legal is one that goes back to a hidden layer",
                    )
                    for source, target in (
                        ("hidden1", "hidden2"),
                        ("hidden1", "hidden1"),
                        ("hidden1", "output"),
                        ("hidden1", "input"),
                        ("output", "input"),
                        ("output", "output"),
                    )
                ),
                (
                    (1, 2, 3),
                    "{source = 'hidden1', target = 'hidden2', feedback = 'none'}",
                    "edges: hidden1 -> hidden2 is an edge said twice; legal is one forward edge from a layer to another",
                ),
                (
                    (1, 2, 3),
                    "{source = 'input', target = 'hidden2', feedback = 'fixed'}, {source = 'input', target = 'hidden2'}",
                    "edges: input -> hidden2 is an edge said twice; legal is one forward edge from a layer to another",
                ),
                (
                    (1, 3),
                    "{source = 'hidden1', target = 'hidden2', feedback = 'fixed'}, "
                    "{source = 'hidden2', target = 'hidden1', role = 'feedback'}",
                    "edges: hidden2 -> hidden1 is an edge said twice; legal is one feedback edge from a layer to another",
                ),
                (
                    (1, 3),
                    "{source = 'hidden1', target = 'output'}",
                    "edges: layer hidden2 is not reached from the input; legal is a forward edge to it",
                ),
                (
                    (1, 3),
                    "{source = 'hidden1', target = 'output'}, {source = 'output', target = 'hidden2', role = 'feedback'}",
                    "edges: layer hidden2 is not reached from the input; legal is a forward edge to it",
                ),
                (
                    (1, 2),
                    "{source = 'input', target = 'output'}",
                    "edges: layer hidden2 is without feedback, so it never learns; legal is an edge that brings some",
                ),
                # hidden1 has feedback from hidden2, which has none itself.
                (
                    (1, 2),
                    "{source = 'hidden2', target = 'output', feedback = 'none'}",
                    "edges: layer hidden2 is without feedback, so it never learns; legal is an edge that brings some",
                ),
                (
                    (1, 3),
                    "{source = 'hidden1', target = 'hidden2', feedback = 'none'}",
                    "edges: layer hidden1 is without feedback, so it never learns; legal is an edge that brings some",
                ),
                *(
                    (
                        (1, 2, 3),
                        f"{{source = 'output', target = 'hidden1', role = 'feedback', {key} = {value}}}",
                        "edges[3]: role is feedback; legal is without ",
                    )
                    for key, value in (("feedback", "'none'"), ("forward_scale", "1"))
                ),
                (
                    (1, 2, 3),
                    "{source = 'input', target = 'hidden2', role = 'back'}",
                    "edges[3]: role is back; legal is one of forward, feedback",
                ),
                (
                    (1, 2, 3),
                    "{source = 'input', target = 'hidden2', feedback = 'tied'}",
                    "edges[3]: feedback is tied; legal is one of symmetric, fixed, none",
                ),
                (
                    (1, 2, 3),
                    "{source = 'input', target = 'hidden2', forward_scale = 2}",
                    "edges[3].forward_scale is 2; legal is a power of two from 2^-15 to 2^0, ",
                ),
                (
                    (1, 2, 3),
                    "{source = ['input'], target = 'hidden2'}",
                    "edge ['input'] -> hidden2: source is ['input']; legal is one of input, hidden1, hidden2, output",
                ),
            )
        ),
        ("layers = [4, 3, 2]\nfeedback = 'random'", "the network file: feedback is random; legal is one of symmetric, fixed, none"),
        ("layers = [4, 3, 2]\nfeedback = []", "the network file: feedback is []; legal is one of symmetric, fixed, none"),
        (
            "layers = [4, 3, 2]\nfeedback = 'none'",
            "edges: layer hidden1 is without feedback, so it never learns; legal is an edge that brings some",
        ),
        ("layers = [4, 3, 2]\nforward_scale = 2", "forward_scale is 2; legal is a power of two from 2^-15 to 2^0, "),
        (
            "layers = [4, {width = 3, name = 'a->b'}, 2]",
            'layers: name is a->b; legal is a name without "->", which stands in the names of weight blocks',
        ),
    ],
    "links": [
        ("layers = [4, 3, 3, 3, 2]\nlinks = 3", "links is 3; legal is a table [links]"),
        (
            "layers = [4, 3, 2]\nedges = [{source = 'input', target = 'hidden1'}]\n[links]\nevery = 2",
            "the network file: links is given beside edges; legal is one of the two",
        ),
        ("layers = [4, 3, 3, 2]\n[links]\nevery = 2", "[links]: hidden layers is 2; legal is at least 3"),
        ("layers = [4, 3, 3, 2]\n[links]\nprobability = 0.5", "[links]: hidden layers is 2; legal is at least 3"),
        *(
            (f"layers = [4, 3, 3, 3, 3, 2]\n[links]\n{line}", message)
            for line, message in (
                ("all = true", "[links] has an unknown key 'all'; legal are every, feedback_scale, probability, seed"),
                ("every = 1", "[links]: every is 1; legal is an integer from 2 to 3"),
                ("every = 4", "[links]: every is 4; legal is an integer from 2 to 3"),
                ("every = 2.0", "[links]: every is 2.0; legal is an integer from 2 to 3"),
                ("every = 2\nfeedback_scale = 3", "[links] feedback_scale is 3; legal is a power of two from 2^-15 to 2^2, "),
                ("probability = 1.5", "[links]: probability is 1.5; legal is a number from 0 to 1"),
                ("probability = -0.1", "[links]: probability is -0.1; legal is a number from 0 to 1"),
                ("probability = nan", "[links]: probability is nan; legal is a number from 0 to 1"),
                ("probability = true", "[links]: probability is True; legal is a number from 0 to 1"),
                ("probability = 'half'", "[links]: probability is half; legal is a number from 0 to 1"),
                ("probability = 0.2\nseed = -1", "[links]: seed is -1; legal is an integer from 0 to 4294967295"),
                ("probability = 0.2\nseed = 1.0", "[links]: seed is 1.0; legal is an integer from 0 to 4294967295"),
                ("seed = 1", "[links]: seed is given without probability; legal is both or none"),
                ("probability = 0.2\nfeedback_scale = 1", "[links]: feedback_scale is given without every; legal is both or none"),
            )
        ),
        (
            "seed = -1\nlayers = [4, 3, 3, 3, 2]\n[links]\nprobability = 0.5",
            "network: seed is -1; legal is an integer from 0 to 4294967295",
        ),
    ],
    "sections": [
        ("layers = [4, 3, 2]\nrelaxation = 3", "relaxation is 3; legal is a table [relaxation]"),
        (
            "layers = [4, 3, 2]\n[relaxation]\nsweeps = 3",
            "[relaxation] has an unknown key 'sweeps'; legal are ",
        ),
        ("layers = [4, 3, 2]\n[relaxation]\nschedule = 'random'", "relaxation: schedule is random; legal is one of sequential, jacobi"),
        ("layers = [4, 3, 2]\n[relaxation]\nfree_sweeps = 0", "relaxation: free_sweeps is 0; legal is an integer from 1 to 4095"),
        (
            "layers = [4, 3, 2]\n[relaxation]\nclamped_sweeps = 4096",
            "relaxation: clamped_sweeps is 4096; legal is an integer from 1 to 4095",
        ),
        (
            "layers = [4, 3, 2]\n[learning]\nrate_exponent = -6",
            "[learning] has an unknown key 'rate_exponent'; legal are ",
        ),
        ("layers = [4, 3, 2]\n[learning]\nrate = 0.01", "learning.rate is 0.01; legal is a power of two from 2^-16 to 2^0, "),
        ("layers = [4, 3, 2]\n[learning]\nrate = 2", "learning.rate is 2; legal is a power of two from 2^-16 to 2^0, "),
        ("layers = [4, 3, 2]\n[learning]\nhalve_every = -1", "learning: halve_every is -1; legal is an integer from 0 to 1000000"),
        ("layers = [4, 3, 2]\n[learning]\nepochs = 1.5", "learning: epochs is 1.5; legal is an integer from 1 to 1000000"),
        ("layers = [4, 3, 2]\n[learning]\nrounding = 'up'", "learning: rounding is up; legal is one of stochastic, nearest"),
        (
            "layers = [4, 3, 2]\n[formats]\nbias = 'S0.8'",
            "[formats] has an unknown key 'bias'; legal are deviation, drive, error, input, ",
        ),
        ("layers = [4, 3, 2]\n[formats]\nstate = 8", "formats.state: 8 is no number format; write Sm.n or Um.n, for example S0.11 or U0.8"),
        (
            "layers = [4, 3, 2]\n[formats]\nstate = 'S0.40'",
            "formats.state: format S0.40: a format has at least one magnitude bit and at most 32 bits",
        ),
        *(
            (f"layers = [4, 3, 2]\n[formats]\n{name} = '{value}'", f"formats: {name} is {value}; legal is {legal}")
            for name, value, legal in (
                ("input", "S0.8", "U0.n"),
                ("input", "U0.17", "at most 16 bits"),
                ("state", "S1.8", "S0.n"),
                ("state", "S0.24", "at most 24 bits"),
                ("state", "S0.17", "at most 16 fraction bits, 6 more than pre_activation"),
                ("weight", "U0.8", "Sm.n"),
                ("weight", "S0.16", "at most 16 bits"),
                ("deviation", "U1.8", "Sm.n"),
                ("deviation", "S4.20", "at most 24 bits"),
                ("deviation", "S0.19", "at most 18 fraction bits, 6 more than drive"),
                ("error", "S1.8", "S0.n"),
                ("error", "S0.15", "at most 15 bits"),
                ("pre_activation", "S1.8", "S2.n"),
                ("pre_activation", "S2.25", "S2.2 to S2.24"),
                ("drive", "U5.12", "Sm.n"),
                ("drive", "S15.16", "at most 31 bits"),
            )
        ),
    ],
}


@pytest.mark.parametrize(("text", "message"), [case for cases in WRONG.values() for case in cases])
def test_wrong(text: str, message: str) -> None:
    with pytest.raises(NetworkError) as caught:
        parse_network(text)
    got = str(caught.value)
    assert got.startswith(message) and "\n" not in got
    assert got == message or message.endswith(" ")


def test_file_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "net.toml"
    for content, reason in (
        (None, f"cannot read the network file {path}: No such file or directory"),
        (b"\xff\xfe", f"cannot read the network file {path}: is no UTF-8 text"),
        (b"layers = [4, 0, 2]", f"{path}: layer 'hidden1': width is 0; legal is an integer from 1 to 4095"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(NetworkError) as caught:
            load_network(path)
        assert str(caught.value) == reason
    with pytest.raises(NetworkError, match="Is a directory"):
        load_network(tmp_path)


def test_file_gives_the_name(tmp_path: Path) -> None:
    path = tmp_path / "net.toml"
    path.write_text("layers = [4, 3, 2]")
    assert load_network(path).name == "net"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_examples(path: Path) -> None:
    assert load_network(path).name == path.stem


def test_objects_are_frozen_and_checked() -> None:
    network = Network.chain([4, 3, 2])
    with pytest.raises(dataclasses.FrozenInstanceError):
        network.seed = 3  # type: ignore[misc]
    with pytest.raises(FrennError, match="seed is -1"):
        dataclasses.replace(network, seed=-1)


def test_learning_rate_is_halved() -> None:
    assert [Learning(rate_exponent=-6, halve_every=2).rate_at(epoch) for epoch in range(6)] == [-6, -6, -7, -7, -8, -8]
    assert Learning(rate_exponent=-6, halve_every=0).rate_at(1000) == -6


def test_fingerprint_tells_networks_apart() -> None:
    network = Network.chain([4, 3, 2])
    assert network.fingerprint == Network.chain([4, 3, 2]).fingerprint
    others = [
        dataclasses.replace(network, seed=2),
        dataclasses.replace(network, formats=Formats(state=Format.parse("S0.9"))),
        dataclasses.replace(network, learning=Learning(epochs=7)),
        Network.chain([4, 3, 2], feedback_exponent=-6),
        Network.chain([4, 3, 3]),
    ]
    assert len({network.fingerprint, *(other.fingerprint for other in others)}) == 6


def test_initial_weights() -> None:
    network = Network.chain([30, 20, 10], seed=5)
    weights = network.initial_weights()
    assert [block.shape for block in weights] == [(20, 30), (10, 20)]
    for block, again in zip(weights, network.initial_weights(), strict=True):
        np.testing.assert_array_equal(block, again)
        bound = np.sqrt(6 / sum(block.shape)) * 2048
        assert 0.9 * bound < np.abs(block).max() <= np.ceil(bound)
    assert (weights[0] != Network.chain([30, 20, 10], seed=6).initial_weights()[0]).any()


def test_initial_weights_of_a_narrow_format_stay_in_it() -> None:
    network = Network.chain([2, 1, 2], formats=Formats(weight=Format.parse("S0.3")))
    assert max(np.abs(block).max() for block in network.initial_weights()) <= 7
