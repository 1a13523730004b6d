# SPDX-License-Identifier: Apache-2.0
"""The equations of a graph of layers: which products make up a layer's drive, and where their binary points stand."""

from dataclasses import dataclass

from .arithmetic import LOGIT_FRACTION
from .network import Network


@dataclass(frozen=True)
class Term:
    """A product that enters a drive.

    Parameters
    ----------
    source : int
        Number of the layer whose values are multiplied.
    block : int
        Number of the weight block.
    transposed : bool
        Whether the block is multiplied transposed: the tied feedback of a forward edge.
    fraction : int
        Fraction bits of the product, its scale included.
    sources : int
        Values that are summed.
    largest : int
        Largest magnitude of a value, as an integer.
    """

    source: int
    block: int
    transposed: bool
    fraction: int
    sources: int
    largest: int


def free_terms(network: Network, layer: int) -> list[Term]:
    """Terms of a layer's drive in the free phase: ``sum alpha W s + sum beta B s``, forward terms first.

    The output layer stands outside the recurrent part and feeds nothing back.
    """
    formats, output = network.formats, len(network.layers) - 1
    terms = []
    for source, block, transposed, scale in _incoming(network)[layer]:
        if source == output:
            continue
        form = formats.state if source else formats.input
        fraction = formats.multiplied.fraction + form.fraction - scale
        terms.append(Term(source, block, transposed, fraction, network.widths[source], form.maximum))
    return terms


def clamped_terms(network: Network, layer: int) -> list[Term]:
    """Terms of a hidden layer's drive in the clamped phase, feedback first: of the deviation form.

    With ``s = s_free + gamma D`` in every layer, ``D_i = rho'(h_i) (sum alpha gamma_j / gamma_i W D_j + sum beta gamma_j / gamma_i B
    D_j)``, the output error taking the place of ``D`` in the output layer. The gammas are those of `scales`.
    """
    formats, output = network.formats, len(network.layers) - 1
    gamma = scales(network)
    terms = []
    for source, block, transposed, scale in sorted(_incoming(network)[layer], key=lambda term: -term[0]):
        if source == 0:
            continue
        form = formats.error if source == output else formats.deviation
        # Within the output the nudge is the unit of gamma, so the error has factor 1.
        ratio = 0 if source == output else scale + gamma[source]
        fraction = formats.multiplied.fraction + form.fraction - (ratio - gamma[layer])
        terms.append(Term(source, block, transposed, fraction, network.widths[source], form.maximum))
    return terms


def nudged_terms(network: Network, layer: int) -> list[Term]:
    """Terms of a layer's drive in the clamped phase of the literal form: the free ones, then ``beta_f B_f e``."""
    formats, output = network.formats, len(network.layers) - 1
    fraction = formats.multiplied.fraction + formats.error.fraction - network.relaxation.nudge_exponent
    nudges = [
        Term(source, block, transposed, fraction, network.widths[source], formats.error.maximum)
        for source, block, transposed, _ in _incoming(network)[layer]
        if source == output
    ]
    return free_terms(network, layer) + nudges


def scales(network: Network) -> list[int]:
    """Binary logarithm of gamma / beta_f of each layer: the unit in which its deviation is carried.

    It is that of the strongest path from the output error, ``max`` over paths of the product of the scales of their edges, so that the
    largest term of each deviation has factor 1. Where a feedback scale is above 1 paths along feedback alone
    count, since a loop could grow without bound. Input and output have 0.
    """
    output, incoming = len(network.layers) - 1, _incoming(network)
    # A scale says nothing where an edge has no feedback, or comes from the output.
    bounded = all(scale <= 0 for terms in incoming[:output] for source, _, _, scale in terms if source < output)
    gamma: dict[int, int] = {}
    for _ in range(output):
        before = dict(gamma)
        for layer in range(output - 1, 0, -1):
            for source, _, _, scale in incoming[layer]:
                if source == output:
                    value = 0
                elif source in gamma and (source > layer or bounded):
                    value = gamma[source] + scale
                else:
                    continue
                gamma[layer] = max(value, gamma.get(layer, value))
        if gamma == before:
            break
    return [gamma.get(layer, 0) for layer in range(output + 1)]


def drive_fraction(network: Network, terms: list[Term]) -> int:
    """Fraction bits of an exact drive: those of its finest term, and no fewer than what it is rounded to."""
    formats = network.formats
    return max(LOGIT_FRACTION, formats.pre_activation.fraction, formats.drive.fraction, *(term.fraction for term in terms))


def update_fractions(network: Network) -> dict[int, int]:
    """Bits by which the product of deviation and state is finer than the weight, at learning rate 1, of each block that learns on the chip.

    In the literal form the difference of two states stands for gamma times the deviation.
    """
    formats = network.formats
    if network.learning.on_host:
        return {}
    deviations = deviation_fractions(network)
    fractions = {}
    for block, (edge, (source, target)) in enumerate(zip(network.edges, network.ends, strict=True)):
        if not edge.learns:
            continue
        deviation = deviations[target]
        state = (formats.state if source else formats.input).fraction
        fractions[block] = deviation + state - formats.weight.fraction - edge.rate_exponent
    return fractions


def by_source(network: Network) -> list[bool]:
    """Whether each block is stored with a row for each neuron of its source: those that lead from a hidden layer to the output.

    An output layer has few neurons, and would leave most lanes idle as rows. The random words of an update are counted by the columns
    as they are stored. In the literal form, where the states that a block learns from are gone when the error is known for good, every
    block has a row for each neuron of its target.
    """
    output = len(network.layers) - 1
    return [source > 0 and target == output and not network.relaxation.literal for source, target in network.ends]


def deviation_fractions(network: Network) -> list[int]:
    """Fraction bits of what each layer learns from, in units of its gamma; of the output layer the error."""
    formats = network.formats
    literal = network.relaxation.literal
    gamma = scales(network)
    hidden = [
        formats.state.fraction + scale + network.relaxation.nudge_exponent if literal else formats.deviation.fraction for scale in gamma
    ]
    return [*hidden[:-1], formats.error.fraction]


def _incoming(network: Network) -> list[list[tuple[int, int, bool, int]]]:
    """(source, block, transposed, binary logarithm of the scale) of all that enters each layer: forward, then feedback."""
    forward: list[list[tuple[int, int, bool, int]]] = [[] for _ in network.layers]
    feedback: list[list[tuple[int, int, bool, int]]] = [[] for _ in network.layers]
    for block, (edge, (source, target)) in enumerate(zip(network.edges, network.ends, strict=True)):
        if not edge.learns:
            feedback[target].append((source, block, False, edge.feedback_exponent))
            continue
        forward[target].append((source, block, False, edge.forward_exponent))
        if edge.feedback == "symmetric" and source > 0:
            feedback[source].append((target, block, True, edge.feedback_exponent))
    return [first + then for first, then in zip(forward, feedback, strict=True)]
