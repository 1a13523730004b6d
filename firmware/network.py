# SPDX-License-Identifier: Apache-2.0
"""The network file: layers, edges, formats, relaxation and learning, as frozen validated objects."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from .arithmetic import ACTIVATIONS, BATCH_SAMPLES, SLOPE_FRACTION, IntArray
from .errors import FrennError, NetworkError
from .formats import Format

MAX_LAYER_WIDTH: Final = 4095
SCHEDULES: Final = ("sequential", "jacobi")
ROUNDINGS: Final = ("stochastic", "nearest")
FEEDBACK_EXPONENTS: Final = (-15, 2)
"""Least and largest binary logarithm of a feedback scale."""
FORWARD_EXPONENTS: Final = (-15, 0)
"""Least and largest binary logarithm of a forward scale."""
EDGE_RATE_EXPONENTS: Final = (-8, 8)
"""Least and largest binary logarithm of a block's learning rate over the network's."""
NUDGE_EXPONENTS: Final = (-15, 0)
"""Least and largest binary logarithm of the nudge of the literal form."""
CLAMPED_FORMS: Final = ("deviation", "literal")
ERRORS: Final = ("held", "refreshed")
UPDATES: Final = ("chip", "host")
OPTIMIZERS: Final = ("sgd", "momentum", "adam")
ROLES: Final = ("forward", "feedback")
FEEDBACKS: Final = ("symmetric", "fixed", "none")
"""What a network file may say of an edge's feedback: its own block transposed, a random fixed block, nothing."""
HOST_BATCH: Final = 1_000_000
"""Samples of a minibatch of the host at the most."""
RATE_EXPONENTS: Final = (-16, 0)
"""Least and largest binary logarithm of the learning rate of the first epoch."""


@dataclass(frozen=True)
class Layer:
    """A node of the graph: ``width`` neurons with one activation. The last layer is a softmax."""

    name: str
    width: int
    activation: str = "tanh"

    def __post_init__(self) -> None:
        _text("layers", "name", self.name)
        # Two different edges could have one name otherwise.
        _require("->" not in self.name, "layers", "name", self.name, 'a name without "->", which stands in the names of weight blocks')
        _integer(f"layer {self.name!r}", "width", self.width, 1, MAX_LAYER_WIDTH)
        _choice(f"layer {self.name!r}", "activation", self.activation, ACTIVATIONS)


@dataclass(frozen=True)
class Edge:
    """A weight block from one layer to another.

    Parameters
    ----------
    source, target : str
        Layers: the block has a column for each neuron of the source and a row for each of the target.
    feedback_exponent : int
        Binary logarithm of the feedback scale beta: of the tied feedback of a forward edge, or of a feedback edge.
        It acts between hidden layers only: input and output stand outside the recurrent part.
    role : {"forward", "feedback"}
        A forward edge learns and goes on in the order of the layers. A feedback edge is fixed and goes back.
    feedback : {"symmetric", "none"}
        Whether a forward edge is also its own feedback, transposed.
    forward_exponent : int
        Binary logarithm of the forward scale alpha.
    rate_exponent : int
        Binary logarithm of the block's learning rate over the network's.
    """

    source: str
    target: str
    feedback_exponent: int = -7
    role: str = "forward"
    feedback: str = "symmetric"
    forward_exponent: int = 0
    rate_exponent: int = 0

    def __post_init__(self) -> None:
        where = f"edge {self.source} -> {self.target}"
        _integer(where, "rate_exponent", self.rate_exponent, *EDGE_RATE_EXPONENTS)
        _integer(where, "feedback_exponent", self.feedback_exponent, *FEEDBACK_EXPONENTS)
        _integer(where, "forward_exponent", self.forward_exponent, *FORWARD_EXPONENTS)
        _choice(where, "role", self.role, ROLES)
        _choice(where, "feedback", self.feedback, ("symmetric", "none"))

    @property
    def learns(self) -> bool:
        """Whether the block is learned."""
        return self.role == "forward"


@dataclass(frozen=True)
class Formats:
    """Number formats of the quantities; the defaults are those of the precision study.

    Parameters
    ----------
    input, state, weight, deviation, error, pre_activation, drive : Format
        ``drive`` is that of a deviation's drive before the slope is applied. In the literal form it and ``deviation`` are not used.
    mac_weight : Format, optional
        The narrow copy of a weight that is multiplied: ``weight`` rounded to nearest, ties up, and saturated. Without it the
        weight itself is multiplied.
    """

    input: Format = Format(False, 0, 8)
    state: Format = Format(True, 0, 8)
    weight: Format = Format(True, 0, 11)
    deviation: Format = Format(True, 1, 8)
    error: Format = Format(True, 0, 8)
    pre_activation: Format = Format(True, 2, 10)
    drive: Format = Format(True, 5, 12)
    mac_weight: Format | None = None

    @property
    def multiplied(self) -> Format:
        """Format of the weights that are multiplied."""
        return self.weight if self.mac_weight is None else self.mac_weight

    def __post_init__(self) -> None:
        if self.mac_weight is not None:
            form, weight = self.mac_weight, self.weight
            legal = form.signed and form.fraction <= weight.fraction and form.integer <= weight.integer
            _require(legal, "formats", "mac_weight", form, f"a signed format with no more bits than the weight's {weight} on either side")
        for name, signed, integer in (
            ("input", False, 0),
            ("state", True, 0),
            ("weight", True, None),
            ("deviation", True, None),
            ("error", True, 0),
            ("pre_activation", True, 2),
            ("drive", True, None),
        ):
            value: Format = getattr(self, name)
            shape = f"{'S' if signed else 'U'}{'m' if integer is None else integer}.n"
            legal = value.signed == signed and integer in (None, value.integer)
            _require(legal, "formats", name, value, shape)
        for name, bits in (("input", 16), ("weight", 16), ("state", 24), ("deviation", 24), ("error", 15), ("drive", 31)):
            width = getattr(self, name).width
            _require(width <= bits, "formats", name, getattr(self, name), f"at most {bits} bits")
        _require(2 <= self.pre_activation.fraction <= 24, "formats", "pre_activation", self.pre_activation, "S2.2 to S2.24")
        fine = SLOPE_FRACTION + self.pre_activation.fraction
        _require(self.state.fraction <= fine, "formats", "state", self.state, f"at most {fine} fraction bits, 6 more than pre_activation")
        fine = SLOPE_FRACTION + self.drive.fraction
        _require(
            self.deviation.fraction <= fine, "formats", "deviation", self.deviation, f"at most {fine} fraction bits, 6 more than drive"
        )


@dataclass(frozen=True)
class Relaxation:
    """How the network settles.

    Parameters
    ----------
    schedule : {"sequential", "jacobi"}
        Layer after layer (forward in the free phase, backward in the clamped phase), or all layers at once from
        the states of the step before.
    free_sweeps, clamped_sweeps : int
        Sweeps of each phase, 1 to 4095. A phase ends earlier, from its second sweep on, after a sweep in which no
        integer changed: further sweeps would change nothing.
    clamped : {"deviation", "literal"}
        What the clamped phase relaxes: deviations, each at its own scale, in the limit of a weak nudge; or the states
        themselves under a finite nudge, from which the free ones are subtracted. The literal form needs wide states, and its sweeps
        go in the order of the free phase.
    nudge_exponent : int
        Binary logarithm of the nudge beta_f of the literal form.
    error : {"held", "refreshed"}
        Whether the output error stays that of the free state, or is computed anew before each sweep but the first
        of the clamped phase; the literal form alone can refresh it.
    """

    schedule: str = "sequential"
    free_sweeps: int = 3
    clamped_sweeps: int = 2
    clamped: str = "deviation"
    nudge_exponent: int = -3
    error: str = "held"

    @property
    def literal(self) -> bool:
        """Whether the clamped phase is the literal one."""
        return self.clamped == "literal"

    def __post_init__(self) -> None:
        _choice("relaxation", "clamped", self.clamped, CLAMPED_FORMS)
        _integer("relaxation", "nudge", self.nudge_exponent, *NUDGE_EXPONENTS)
        _choice("relaxation", "error", self.error, ERRORS)
        if not self.literal:
            _require(self.error == "held", "relaxation", "error", self.error, 'held, unless clamped = "literal"')
        _choice("relaxation", "schedule", self.schedule, SCHEDULES)
        _integer("relaxation", "free_sweeps", self.free_sweeps, 1, 4095)
        _integer("relaxation", "clamped_sweeps", self.clamped_sweeps, 1, 4095)


@dataclass(frozen=True)
class Learning:
    """Plain SGD, one sample at a time unless said otherwise.

    Parameters
    ----------
    rate_exponent : int
        Binary logarithm of the learning rate of the first epoch, -16 to 0.
    halve_every : int
        Epochs after which the rate is halved again; 0 keeps it constant.
    epochs : int
        Epochs of a run.
    rounding : {"stochastic", "nearest"}
        Rounding of weight updates.
    update : {"chip", "host"}
        Who changes the weights: the machine, beside each weight and after each minibatch; or the host, which keeps float master
        weights, takes the relaxed states, deviations and output errors of a minibatch, and writes rounded weights back.
    optimizer : {"sgd", "momentum", "adam"}
        Of the host: plain gradient descent, with a momentum of 0.9, or Adam.
    batch : int
        Samples of a minibatch, 1 to 64 on the chip. The rate multiplies the sum of their updates, on the host their mean. The
        golden model alone sums on the chip's behalf: an engine applies each sample's update at once, and so learns with 1.
    """

    rate_exponent: int = -6
    halve_every: int = 2
    epochs: int = 6
    rounding: str = "stochastic"
    update: str = "chip"
    optimizer: str = "sgd"
    batch: int = 1

    @property
    def on_host(self) -> bool:
        """Whether the host changes the weights."""
        return self.update == "host"

    @property
    def summed(self) -> bool:
        """Whether the chip's updates are summed over minibatches, which the golden model alone does."""
        return self.batch > 1 and not self.on_host

    def __post_init__(self) -> None:
        _choice("learning", "update", self.update, UPDATES)
        _choice("learning", "optimizer", self.optimizer, OPTIMIZERS)
        _integer("learning", "batch", self.batch, 1, HOST_BATCH)
        if not self.on_host:
            _require(self.optimizer == "sgd", "learning", "optimizer", self.optimizer, 'sgd, unless update = "host"')
            legal = f'an integer from 1 to {BATCH_SAMPLES}, unless update = "host"'
            _require(self.batch <= BATCH_SAMPLES, "learning", "batch", self.batch, legal)
        _integer("learning", "rate_exponent", self.rate_exponent, *RATE_EXPONENTS)
        _integer("learning", "halve_every", self.halve_every, 0, 1_000_000)
        _integer("learning", "epochs", self.epochs, 1, 1_000_000)
        _choice("learning", "rounding", self.rounding, ROUNDINGS)

    def rate_at(self, epoch: int) -> int:
        """Binary logarithm of the learning rate in an epoch counted from 0."""
        return self.rate_exponent - (epoch // self.halve_every if self.halve_every else 0)


@dataclass(frozen=True)
class Network:
    """A network and how it learns: what a network file says.

    Parameters
    ----------
    name : str
    layers : tuple of Layer
        Input, hidden layers, output.
    edges : tuple of Edge
        In the order of their weight blocks.
    formats, relaxation, learning
        See there.
    seed : int
        32-bit seed of every random choice: initial weights, data order, data split, stochastic rounding.

    Raises
    ------
    NetworkError
        Naming the field that is wrong and what is legal.
    """

    name: str
    layers: tuple[Layer, ...]
    edges: tuple[Edge, ...]
    formats: Formats = field(default_factory=Formats)
    relaxation: Relaxation = field(default_factory=Relaxation)
    learning: Learning = field(default_factory=Learning)
    seed: int = 1

    def __post_init__(self) -> None:
        _text("network", "name", self.name)
        _integer("network", "seed", self.seed, 0, 2**32 - 1)
        _require(len(self.layers) >= 3, "network", "layers", len(self.layers), "an input, at least one hidden layer and an output")
        _require(self.layers[-1].width >= 2, "network", "output width", self.layers[-1].width, "at least 2 classes")
        names = [layer.name for layer in self.layers]
        for name in names:
            _require(names.count(name) == 1, "layers", "name", name, "a name used once")
        for edge in self.edges:
            for name, end in (("source", edge.source), ("target", edge.target)):
                _require(end in names, f"edge {edge.source} -> {edge.target}", name, end, f"one of {', '.join(names)}")
        held = self.relaxation.error == "held" or not self.learning.on_host
        _require(held, "relaxation", "error", self.relaxation.error, "held where the host updates the weights")
        self._check_edges(names)
        self._check_reach(names)
        place = {name: index for index, name in enumerate(names)}
        order = sorted(self.edges, key=lambda edge: (ROLES.index(edge.role), place[edge.source], place[edge.target]))
        object.__setattr__(self, "edges", tuple(order))

    def _check_edges(self, names: list[str]) -> None:
        seen = set()
        for edge in self.edges:
            link = f"{edge.source} -> {edge.target}"
            source, target = names.index(edge.source), names.index(edge.target)
            key = (edge.role, source, target)
            _require(key not in seen, "edges", link, "an edge said twice", f"one {edge.role} edge from a layer to another")
            seen.add(key)
            if edge.learns:
                _require(
                    source < target,
                    "edges",
                    link,
                    "an edge that goes back",
                    'role = "feedback" for it, or layers listed so that it goes on',
                )
            else:
                hidden = 0 < target < len(names) - 1
                _require(target < source and hidden, "edges", link, "a feedback edge", "one that goes back to a hidden layer")

    def _check_reach(self, names: list[str]) -> None:
        # Edges of one role go one way, so one walk in the order of the layers finds what they reach.
        ends = sorted((names.index(edge.source), names.index(edge.target), edge) for edge in self.edges if edge.learns)
        reached = {0}
        for target in range(1, len(names)):
            if any(end == target and source in reached for source, end, _ in ends):
                reached.add(target)
            _require(target in reached, "edges", f"layer {names[target]}", "not reached from the input", "a forward edge to it")
        taught = {len(names) - 1}
        backward = {(target, source) for source, target, edge in ends if edge.feedback == "symmetric"}
        backward |= {(names.index(edge.source), names.index(edge.target)) for edge in self.edges if not edge.learns}
        for layer in reversed(range(1, len(names) - 1)):
            if any(end == layer and source in taught for source, end in backward):
                taught.add(layer)
            _require(layer in taught, "edges", f"layer {names[layer]}", "without feedback, so it never learns", "an edge that brings some")

    @classmethod
    def chain(cls, widths: list[int], *, feedback_exponent: int = -7, activation: str = "tanh", **rest: Any) -> "Network":
        """A chain of layers of the given widths with one feedback scale."""
        layers = _name_layers([{"width": width} for width in widths], activation)
        edges = tuple(Edge(a.name, b.name, feedback_exponent) for a, b in pairwise(layers))
        return cls(rest.pop("name", "network"), layers, edges, **rest)

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons of each layer, input first."""
        return tuple(layer.width for layer in self.layers)

    @property
    def weight_shapes(self) -> tuple[tuple[int, int], ...]:
        """(rows, columns) = (target width, source width) of each edge's block."""
        width = {layer.name: layer.width for layer in self.layers}
        return tuple((width[edge.target], width[edge.source]) for edge in self.edges)

    @property
    def weight_names(self) -> tuple[str, ...]:
        """``"source->target"`` of each edge, the names of the blocks in a weights file."""
        return tuple(f"{edge.source}->{edge.target}" for edge in self.edges)

    @property
    def ends(self) -> tuple[tuple[int, int], ...]:
        """(source, target) of each edge as numbers of layers, the input being 0."""
        place = {layer.name: index for index, layer in enumerate(self.layers)}
        return tuple((place[edge.source], place[edge.target]) for edge in self.edges)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of everything the network says."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def initial_weights(self) -> list[IntArray]:
        """Glorot-uniform weights from the seed, rounded to the weight format, a (rows, columns) array per edge.

        The bound is ``sqrt(6 / (rows + columns))``, or the largest weight of the format where that is smaller.
        """
        weight = self.formats.weight
        generator = np.random.default_rng((self.seed, 0x77))
        blocks = []
        for rows, columns in self.weight_shapes:
            bound = min(np.sqrt(6 / (rows + columns)), weight.maximum / (1 << weight.fraction))
            blocks.append(weight.from_float(generator.uniform(-bound, bound, (rows, columns))))
        return blocks


def load_network(path: Path | str) -> Network:
    """Read a network file (TOML).

    Raises
    ------
    NetworkError
        If the file cannot be read, is no TOML, or says something illegal: names the file and the field.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no UTF-8 text"
        raise NetworkError(f"cannot read the network file {path}: {reason}") from None
    try:
        return parse_network(text, default_name=path.stem)
    except FrennError as error:
        raise NetworkError(f"{path}: {error}") from None


def parse_network(text: str, default_name: str = "network") -> Network:
    """Build a network from the text of a network file; see `load_network`."""
    try:
        table = tomllib.loads(text)
        _check_integers(table)
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError is a ValueError, and so is an integer of too many digits
        raise NetworkError(f"is no TOML: {error}") from None
    _known(
        "the network file",
        table,
        {"name", "seed", "layers", "edges", "links", "activation", "feedback_scale", "forward_scale", "feedback"}
        | {"relaxation", "formats", "learning"},
    )
    if "layers" not in table:
        raise NetworkError("layers is missing; write for example layers = [64, 64, 64, 10]")
    layers = _name_layers(table["layers"], table.get("activation", "tanh"))
    defaults = {
        "feedback_scale": _exponent("feedback_scale", table.get("feedback_scale", "2^-7"), FEEDBACK_EXPONENTS),
        "forward_scale": _exponent("forward_scale", table.get("forward_scale", "2^0"), FORWARD_EXPONENTS),
        "feedback": table.get("feedback", "symmetric"),
    }
    _choice("the network file", "feedback", defaults["feedback"], FEEDBACKS)
    if "edges" in table:
        _require("links" not in table, "the network file", "links", "given beside edges", "one of the two")
        entries = _list("edges", table["edges"])
    else:
        entries = [{"source": a.name, "target": b.name} for a, b in pairwise(layers)]
        entries += _links(_section(table, "links", {"every", "probability", "seed", "feedback_scale"}), layers, table.get("seed", 1))
    outside = (layers[0].name, layers[-1].name) if layers else ()
    edges = tuple(edge for number, entry in enumerate(entries) for edge in _edges(number, entry, defaults, outside))
    formats = {key: _format(key, value) for key, value in _section(table, "formats", {f.name for f in fields(Formats)}).items()}
    learning = _section(table, "learning", {f.name for f in fields(Learning)} - {"rate_exponent"} | {"rate"})
    if "rate" in learning:
        learning["rate_exponent"] = _exponent("learning.rate", learning.pop("rate"), RATE_EXPONENTS)
    relaxation = _section(table, "relaxation", {f.name for f in fields(Relaxation)} - {"nudge_exponent"} | {"nudge"})
    if "nudge" in relaxation:
        relaxation["nudge_exponent"] = _exponent("relaxation.nudge", relaxation.pop("nudge"), NUDGE_EXPONENTS)
    return Network(
        table.get("name", default_name),
        layers,
        edges,
        Formats(**formats),
        Relaxation(**relaxation),
        Learning(**learning),
        table.get("seed", 1),
    )


def _check_integers(value: Any) -> None:
    """Refuse what TOML refuses and its reader does not: Python cannot even print an integer of thousands of digits."""
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(item, int) and not -(1 << 63) <= item < 1 << 63:
            raise ValueError("an integer has more than 64 bits")
        _check_integers(item)


def _name_layers(entries: Any, activation: str) -> tuple[Layer, ...]:
    layers = []
    entries = _list("layers", entries)
    for number, entry in enumerate(entries):
        name = "input" if number == 0 else "output" if number == len(entries) - 1 else f"hidden{number}"
        if isinstance(entry, int) and not isinstance(entry, bool):
            entry = {"width": entry}
        if not isinstance(entry, Mapping):
            raise NetworkError(f"layers[{number}] is {entry!r}; write a width or {{ name = ..., width = ... }}")
        _known(f"layers[{number}]", entry, {"name", "width", "activation"})
        if "width" not in entry:
            raise NetworkError(f"layers[{number}] has no width")
        layers.append(Layer(**{"name": name, "activation": activation, **entry}))
    return tuple(layers)


def _edges(number: int, entry: Any, defaults: Mapping[str, Any], outside: tuple[str, ...]) -> list[Edge]:
    """The edge of an entry, and its fixed feedback if that is what it asks for; ``outside``: names of input and output."""
    where = f"edges[{number}]"
    if not isinstance(entry, Mapping):
        raise NetworkError(f"{where} is {entry!r}; write {{ source = ..., target = ... }}")
    _known(where, entry, {"source", "target", "role", "rate", *defaults})
    for key in ("source", "target"):
        if key not in entry:
            raise NetworkError(f"{where} has no {key}")
    source, target, role = entry["source"], entry["target"], entry.get("role", "forward")
    beta, alpha = (
        _exponent(f"{where}.{key}", entry[key], legal) if key in entry else defaults[key]
        for key, legal in (("feedback_scale", FEEDBACK_EXPONENTS), ("forward_scale", FORWARD_EXPONENTS))
    )
    rate = _exponent(f"{where}.rate", entry["rate"], EDGE_RATE_EXPONENTS) if "rate" in entry else 0
    if "forward_scale" not in entry and (source in outside or target in outside):
        alpha = 0
    feedback = entry.get("feedback", defaults["feedback"])
    _choice(where, "role", role, ROLES)
    if role == "feedback":
        learned = [key for key in ("feedback", "forward_scale", "rate") if key in entry]
        _require(not learned, where, "role", role, f"without {', '.join(learned)}")
        return [Edge(source, target, beta, role)]
    _choice(where, "feedback", feedback, FEEDBACKS)
    if feedback != "fixed":
        return [Edge(source, target, beta, feedback=feedback, forward_exponent=alpha, rate_exponent=rate)]
    edge = Edge(source, target, beta, feedback="none", forward_exponent=alpha, rate_exponent=rate)
    # Nothing goes back to the input.
    return [edge] if source in outside else [edge, Edge(target, source, beta, "feedback")]


def _links(section: dict[str, Any], layers: tuple[Layer, ...], seed: Any) -> list[dict[str, Any]]:
    """Entries of the edges on top of the chain: residual links, random links."""
    hidden = [layer.name for layer in layers[1:-1]]
    entries: list[dict[str, Any]] = []
    _require(not section or len(hidden) >= 3, "[links]", "hidden layers", len(hidden), "at least 3")
    for key, partner in (("seed", "probability"), ("feedback_scale", "every")):
        _require(key not in section or partner in section, "[links]", key, f"given without {partner}", "both or none")
    if "every" in section:
        _integer("[links]", "every", section["every"], 2, len(hidden) - 1)
        own = {"feedback_scale": section["feedback_scale"]} if "feedback_scale" in section else {}
        if own:
            _exponent("[links] feedback_scale", own["feedback_scale"], FEEDBACK_EXPONENTS)
        entries += [{"source": a, "target": b, **own} for a, b in pairwise(hidden[:: section["every"]])]
    if "probability" in section:
        probability = section["probability"]
        legal = isinstance(probability, (int, float)) and not isinstance(probability, bool) and 0 <= probability <= 1
        _require(legal, "[links]", "probability", probability, "a number from 0 to 1")
        _integer("[links]" if "seed" in section else "network", "seed", section.get("seed", seed), 0, 2**32 - 1)
        linked = {(entry["source"], entry["target"]) for entry in entries} | set(pairwise(hidden))
        generator = np.random.default_rng((section.get("seed", seed), 0x61))
        for source in range(len(hidden)):
            for target in range(len(hidden)):
                if source == target or generator.random() >= probability:
                    continue
                pair = (hidden[source], hidden[target])
                if pair not in linked and pair[::-1] not in linked:
                    rest = {"feedback": "none"} if source < target else {"role": "feedback"}
                    entries.append({"source": pair[0], "target": pair[1], **rest})
    return entries


def _exponent(name: str, value: Any, legal: tuple[int, int]) -> int:
    """Binary logarithm of a power of two written as a number or as ``"2^-7"``."""
    low, high = legal
    for exponent in range(low, high + 1):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value == (2.0**exponent if number else f"2^{exponent}"):
            return exponent
    raise NetworkError(f'{name} is {value!r}; legal is a power of two from 2^{low} to 2^{high}, such as {2.0**low:.7g} or "2^{low}"')


def _format(name: str, value: Any) -> Format:
    try:
        return Format.parse(value)
    except FrennError as error:
        raise NetworkError(f"formats.{name}: {error}") from None


def _section(table: Mapping[str, Any], name: str, known: set[str]) -> dict[str, Any]:
    section = table.get(name, {})
    if not isinstance(section, Mapping):
        raise NetworkError(f"{name} is {section!r}; legal is a table [{name}]")
    _known(f"[{name}]", section, known)
    return dict(section)


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise NetworkError(f"{name} is {value!r}; legal is a list")
    return value


def _known(where: str, table: Mapping[str, Any], known: set[str]) -> None:
    for key in table:
        if key not in known:
            raise NetworkError(f"{where} has an unknown key {key!r}; legal are {', '.join(sorted(known))}")


def _require(condition: bool, where: str, name: str, value: Any, legal: str) -> None:
    if not condition:
        shown = value if isinstance(value, (str, Format)) else repr(value)
        raise NetworkError(f"{where}: {name} is {shown}; legal is {legal}")


def _text(where: str, name: str, value: Any) -> None:
    legal = isinstance(value, str) and value != "" and value.isprintable()
    _require(legal, where, name, value if legal else repr(value), "a text of printable characters")


def _integer(where: str, name: str, value: Any, low: int, high: int) -> None:
    legal = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    _require(legal, where, name, value, f"an integer from {low} to {high}")


def _choice(where: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    _require(value in choices, where, name, value, f"one of {', '.join(choices)}")
