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

from .arithmetic import ACTIVATIONS, SLOPE_FRACTION, IntArray
from .errors import FrennError, NetworkError
from .formats import Format

MAX_LAYER_WIDTH: Final = 4095
SCHEDULES: Final = ("sequential", "jacobi")
ROUNDINGS: Final = ("stochastic", "nearest")
FEEDBACK_EXPONENTS: Final = (-15, 2)
"""Least and largest binary logarithm of a feedback scale."""
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
        _integer(f"layer {self.name!r}", "width", self.width, 1, MAX_LAYER_WIDTH)
        _choice(f"layer {self.name!r}", "activation", self.activation, ACTIVATIONS)


@dataclass(frozen=True)
class Edge:
    """A weight block ``W : source -> target`` and its tied feedback ``2**feedback_exponent W^T``.

    ``feedback_exponent`` is the binary logarithm of the feedback scale beta. It acts between hidden layers only:
    input and output stand outside the recurrent part.
    """

    source: str
    target: str
    feedback_exponent: int = -7


@dataclass(frozen=True)
class Formats:
    """Number formats of the quantities; the defaults are those of the precision study."""

    input: Format = Format(False, 0, 8)
    state: Format = Format(True, 0, 8)
    weight: Format = Format(True, 0, 11)
    deviation: Format = Format(True, 1, 8)
    error: Format = Format(True, 0, 8)
    pre_activation: Format = Format(True, 2, 10)
    drive: Format = Format(True, 5, 12)

    def __post_init__(self) -> None:
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
    """

    schedule: str = "sequential"
    free_sweeps: int = 3
    clamped_sweeps: int = 2

    def __post_init__(self) -> None:
        _choice("relaxation", "schedule", self.schedule, SCHEDULES)
        _integer("relaxation", "free_sweeps", self.free_sweeps, 1, 4095)
        _integer("relaxation", "clamped_sweeps", self.clamped_sweeps, 1, 4095)


@dataclass(frozen=True)
class Learning:
    """Plain SGD, one sample at a time.

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
    """

    rate_exponent: int = -6
    halve_every: int = 2
    epochs: int = 6
    rounding: str = "stochastic"

    def __post_init__(self) -> None:
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
        for number, edge in enumerate(self.edges):
            for end in (edge.source, edge.target):
                _require(end in names, f"edges[{number}]", "source or target", end, f"one of {', '.join(names)}")
            _integer(f"edges[{number}]", "feedback_exponent", edge.feedback_exponent, *FEEDBACK_EXPONENTS)
        chain = list(pairwise(names))
        for edge in self.edges:
            _require(
                (edge.source, edge.target) in chain,
                "edges",
                f"{edge.source} -> {edge.target}",
                "a link that is not between neighbours",
                "a chain; other graphs cannot be run yet",
            )
        for pair in chain:
            count = sum((edge.source, edge.target) == pair for edge in self.edges)
            _require(count == 1, "edges", f"{pair[0]} -> {pair[1]}", f"{count} edges", "exactly one edge between neighbours")
        order = [chain.index((edge.source, edge.target)) for edge in self.edges]
        object.__setattr__(self, "edges", tuple(edge for _, edge in sorted(zip(order, self.edges, strict=True), key=lambda p: p[0])))

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
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError is a ValueError, and so is an integer of too many digits
        raise NetworkError(f"is no TOML: {error}") from None
    _known(
        "the network file", table, {"name", "seed", "layers", "edges", "activation", "feedback_scale", "relaxation", "formats", "learning"}
    )
    if "layers" not in table:
        raise NetworkError("layers is missing; write for example layers = [64, 64, 64, 10]")
    layers = _name_layers(table["layers"], table.get("activation", "tanh"))
    beta = _exponent("feedback_scale", table.get("feedback_scale", "2^-7"), FEEDBACK_EXPONENTS)
    if "edges" in table:
        edges = tuple(_edge(number, entry, beta) for number, entry in enumerate(_list("edges", table["edges"])))
    else:
        edges = tuple(Edge(a.name, b.name, beta) for a, b in pairwise(layers))
    formats = {key: _format(key, value) for key, value in _section(table, "formats", {f.name for f in fields(Formats)}).items()}
    learning = _section(table, "learning", {"rate", "halve_every", "epochs", "rounding"})
    if "rate" in learning:
        learning["rate_exponent"] = _exponent("learning.rate", learning.pop("rate"), RATE_EXPONENTS)
    return Network(
        table.get("name", default_name),
        layers,
        edges,
        Formats(**formats),
        Relaxation(**_section(table, "relaxation", {f.name for f in fields(Relaxation)})),
        Learning(**learning),
        table.get("seed", 1),
    )


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


def _edge(number: int, entry: Any, beta: int) -> Edge:
    if not isinstance(entry, Mapping):
        raise NetworkError(f"edges[{number}] is {entry!r}; write {{ source = ..., target = ... }}")
    _known(f"edges[{number}]", entry, {"source", "target", "feedback_scale"})
    for key in ("source", "target"):
        if key not in entry:
            raise NetworkError(f"edges[{number}] has no {key}")
    scale = entry.get("feedback_scale")
    exponent = beta if scale is None else _exponent(f"edges[{number}].feedback_scale", scale, FEEDBACK_EXPONENTS)
    return Edge(entry["source"], entry["target"], exponent)


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
