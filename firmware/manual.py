# SPDX-License-Identifier: Apache-2.0
"""Pages of the manual that are made from the code: ``python -m frenn.firmware.manual docs`` writes them anew."""

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any, Final

from . import counters, isa, protocol
from .arithmetic import ACTIVATIONS, BATCH_SAMPLES
from .errors import FrennError
from .files import write_atomic
from .network import (
    CLAMPED_FORMS,
    EDGE_RATE_EXPONENTS,
    ERRORS,
    FEEDBACK_EXPONENTS,
    FEEDBACKS,
    FORWARD_EXPONENTS,
    HOST_BATCH,
    MAX_LAYER_WIDTH,
    NUDGE_EXPONENTS,
    OPTIMIZERS,
    RATE_EXPONENTS,
    ROLES,
    ROUNDINGS,
    SCHEDULES,
    UPDATES,
    Edge,
    Formats,
    Layer,
    Learning,
    Network,
    Relaxation,
)
from .parameters import EngineParameters


def instruction_set() -> str:
    """The page on the instruction set, from `frenn.firmware.isa`."""
    position, rows = 0, []
    for name, item in isa.FIELDS.items():
        rows.append((f"`{name}`", f"{position}" if item.bits == 1 else f"{position + item.bits - 1}:{position}", item.meaning))
        position += item.bits
    return _page(
        "Instruction set",
        "firmware/isa.py",
        f"A program is a list of instructions of {isa.INSTRUCTION_WORDS} 32-bit words each, lowest word first. The compiler writes\n"
        "them and the engine's sequencer decodes them. Every instruction has all fields; one that its operation does not use is 0.",
        "## Operations",
        _table(("code", "operation", "effect"), _members(isa.Op)),
        "## Fields",
        _table(("field", "bits", "meaning"), rows),
    )


def packets() -> str:
    """The page on packets, from `frenn.firmware.protocol`."""
    # The docstring's own table is in reStructuredText.
    head, table, tail = re.split(r"^(=[= ]+=\n.*^=[= ]+=)$", inspect.getdoc(protocol) or "", flags=re.MULTILINE | re.DOTALL)
    meanings = {**counters.GOLDEN, **counters.ENGINE, **counters.LINE}
    return _page(
        "Packets",
        "firmware/protocol.py",
        _markdown(head),
        f"```text\n{table}\n```",
        _markdown(tail),
        "## Commands",
        _table(("code", "command", "asks for"), _members(protocol.Command)),
        "## Status",
        _doc(protocol.Status),
        _table(("code", "status", "meaning"), _members(protocol.Status)),
        "## Spaces",
        _doc(protocol.Space),
        _table(("code", "space", "items"), _members(protocol.Space)),
        "## Registers",
        _doc(protocol.Register),
        _table(("address", "register", "meaning"), _members(protocol.Register)),
        "## Skipping",
        _doc(protocol.Skip),
        _table(("value", "bit", "work"), _members(protocol.Skip)),
        "## The answer to HELLO",
        _table(
            ("word", "content"),
            [
                ("1", f'magic number, {protocol.HELLO_MAGIC:#010x}: "FRNN", lowest byte first'),
                ("2", "protocol version"),
                ("3, 4", "build identity: a hash of the gateware's sources, low word first"),
                *((str(5 + number), f"`{item.name}`") for number, item in enumerate(dataclasses.fields(EngineParameters))),
            ],
        ),
        "## Counters",
        "Each is 48 bits wide.",
        _table(("number", "counter", "counts"), [(str(n), f"`{name}`", meanings[name]) for n, name in enumerate(counters.NAMES)]),
    )


TOPOLOGIES: Final = {
    "A chain whose feedback is fixed and random, blocks of their own": 'layers = [784, 64, 64, 64, 64, 64, 10]\nfeedback = "fixed"',
    "Residual links 1-4, 4-7 and 7-10, both ways": """\
layers = [784, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 10]
feedback_scale = "2^-4"

[links]
every = 3
feedback_scale = "2^-12\"""",
    "An arbitrary graph: random links, one way each, on top of a chain with fixed feedback": """\
layers = [784, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 10]
feedback = "fixed"

[links]
probability = 0.2
seed = 1""",
    "A graph of one's own: a link from the input to a deep layer, one from a middle layer to the output, one that comes back alone": """\
layers = [784, { name = "a", width = 64 }, { name = "b", width = 48 }, { name = "c", width = 32 }, 10]
edges = [
    { source = "input", target = "a" },
    { source = "a", target = "b", forward_scale = 0.5 },
    { source = "b", target = "c", feedback = "fixed", feedback_scale = "2^-5" },
    { source = "c", target = "output" },
    { source = "input", target = "c" },
    { source = "b", target = "output", feedback = "none" },
    { source = "c", target = "a", role = "feedback", feedback_scale = "2^-9" },
]""",
}
"""Examples of the manual, by what they show."""


def network_file() -> str:
    """The page on network files, from `frenn.firmware.network`."""
    formats = _defaults(Formats)
    relaxation = _defaults(Relaxation)
    learning = _defaults(Learning)
    beta = f'power of two from 2^{FEEDBACK_EXPONENTS[0]} to 2^{FEEDBACK_EXPONENTS[1]}, such as `0.0078125` or `"2^-7"`'
    rate = f'power of two from 2^{RATE_EXPONENTS[0]} to 2^{RATE_EXPONENTS[1]}, such as `0.015625` or `"2^-6"`'
    alpha = f"power of two from 2^{FORWARD_EXPONENTS[0]} to 2^{FORWARD_EXPONENTS[1]}"
    edge_rate = f"power of two from 2^{EDGE_RATE_EXPONENTS[0]} to 2^{EDGE_RATE_EXPONENTS[1]}"
    activations = _choices(ACTIVATIONS)
    heads = ("key", "legal", "default", "meaning")
    return _page(
        "Network file",
        "firmware/network.py",
        "A network file is TOML. The smallest one is `layers = [64, 64, 64, 10]`. A key that is not listed here is refused, and so is a\n"
        "value that is not legal; the message names both.",
        "## Top level",
        _table(
            heads,
            [
                ("`name`", "text", "the file's name", "name of the network"),
                ("`seed`", "0 to 4294967295", f"`{_defaults(Network)['seed']}`", "every random choice: initial weights, data, rounding"),
                ("`layers`", "list of at least 3", "required", "input, hidden layers, output: each a width or a table, see below"),
                ("`edges`", "list of tables", "the chain", "weight blocks instead of the chain, see below"),
                ("`links`", "table", "none", "links on top of the chain, see below; not beside `edges`"),
                ("`activation`", activations, f"`{_defaults(Layer)['activation']}`", "of every hidden layer that names none"),
                ("`feedback_scale`", beta, f"`2^{_defaults(Edge)['feedback_exponent']}`", "beta of every edge that names none"),
                (
                    "`forward_scale`",
                    alpha,
                    f"`2^{_defaults(Edge)['forward_exponent']}`",
                    "alpha of every edge between hidden layers that names none",
                ),
                ("`feedback`", _choices(FEEDBACKS), f"`{FEEDBACKS[0]}`", "feedback of every forward edge that names none, see below"),
            ],
        ),
        "## An entry of `layers`",
        "A number is the width of a layer; a table says more. The output is a softmax: its activation, as the input's, has no effect.",
        _table(
            heads,
            [
                ("`width`", f"1 to {MAX_LAYER_WIDTH}; the output at least 2", "required", "neurons"),
                (
                    "`name`",
                    "text, used once",
                    "`input`, `hidden1`, ..., `output`",
                    "name of the layer, for edges and in the file of weights; without `->`",
                ),
                ("`activation`", activations, "the top level's", "activation of a hidden layer"),
            ],
        ),
        "## An entry of `edges`",
        "An edge is a weight block from `source` to `target`. A forward edge learns; it goes on in the order of `layers`, from any layer\n"
        "to any later one. What comes back is its `feedback`: its own block transposed (`symmetric`), a random block that stays as it is\n"
        '(`fixed`), or nothing (`none`). An edge with `role = "feedback"` is such a fixed block alone and goes back, to a hidden layer.',
        _table(
            heads,
            [
                ("`source`", "name of a layer", "required", "where the block's columns come from"),
                ("`target`", "name of a layer", "required", "where its rows go to"),
                ("`role`", _choices(ROLES), f"`{_defaults(Edge)['role']}`", "whether it learns and goes on, or is fixed and goes back"),
                ("`feedback`", _choices(FEEDBACKS), "the top level's", "of a forward edge; nothing comes back to the input"),
                ("`feedback_scale`", beta, "the top level's", "beta; it acts between hidden layers only"),
                ("`forward_scale`", alpha, "the top level's; 1 at the input and the output", "alpha, of a forward edge"),
                ("`rate`", edge_rate, "1", "learning rate over the network's, of a forward edge"),
            ],
        ),
        "A graph is refused if a forward edge goes back, an edge is said twice, forward edges do not reach a layer from the input, or\n"
        "feedback does not reach a hidden layer from the output.",
        "## `[links]`",
        "Links between hidden layers on top of the chain, of which there must be three at least.",
        _table(
            heads,
            [
                (
                    "`every`",
                    "2 to one less than there are hidden layers",
                    "no links",
                    "a link from the first, then from where the last one ended",
                ),
                (
                    "`feedback_scale`",
                    beta,
                    "the top level's",
                    "beta of these links; the chain's to the power of `every` makes both ways back equally strong",
                ),
                (
                    "`probability`",
                    "0 to 1",
                    "no links",
                    "of linking each ordered pair of hidden layers without a link yet: by a learned block alone, or a fixed feedback",
                ),
                ("`seed`", "0 to 4294967295", "the network's", "draws these links"),
            ],
        ),
        "## Topologies",
        *(f"{title}:\n\n```toml\n{text}\n```" for title, text in TOPOLOGIES.items()),
        "## `[relaxation]`",
        _table(
            heads,
            [
                (
                    "`schedule`",
                    _choices(SCHEDULES),
                    f"`{relaxation['schedule']}`",
                    "layer after layer (forward in the free phase, backward in the clamped one), or all layers at once",
                ),
                ("`free_sweeps`", "1 to 4095", f"`{relaxation['free_sweeps']}`", "sweeps of the free phase at the most"),
                ("`clamped_sweeps`", "1 to 4095", f"`{relaxation['clamped_sweeps']}`", "sweeps of the clamped phase at the most"),
                (
                    "`clamped`",
                    _choices(CLAMPED_FORMS),
                    f"`{relaxation['clamped']}`",
                    "what the clamped phase relaxes: deviations at their own scales, or states under a finite nudge (needs wide ones)",
                ),
                (
                    "`nudge`",
                    f"power of two from 2^{NUDGE_EXPONENTS[0]} to 2^{NUDGE_EXPONENTS[1]}",
                    f"`2^{relaxation['nudge_exponent']}`",
                    "nudge of the literal form",
                ),
                (
                    "`error`",
                    _choices(ERRORS),
                    f"`{relaxation['error']}`",
                    "the output error stays that of the free state, or (literal form) is computed anew before each sweep but the first",
                ),
            ],
        ),
        "A phase ends earlier, from its second sweep on, after a sweep in which no integer changed.",
        "## `[learning]`",
        _table(
            heads,
            [
                ("`rate`", rate, f"`2^{learning['rate_exponent']}`", "learning rate of the first epoch"),
                ("`halve_every`", "0 to 1000000", f"`{learning['halve_every']}`", "epochs after which the rate is halved again; 0: never"),
                ("`epochs`", "1 to 1000000", f"`{learning['epochs']}`", "epochs of a run"),
                ("`rounding`", _choices(ROUNDINGS), f"`{learning['rounding']}`", "rounding of weight updates"),
                (
                    "`update`",
                    _choices(UPDATES),
                    f"`{learning['update']}`",
                    "who changes the weights after each minibatch: the chip, or the host on float masters",
                ),
                ("`optimizer`", _choices(OPTIMIZERS), f"`{learning['optimizer']}`", "of the host; momentum is 0.9"),
                (
                    "`batch`",
                    f"1 to {BATCH_SAMPLES}; of the host 1 to {HOST_BATCH}",
                    f"`{learning['batch']}`",
                    "samples of a minibatch, see below",
                ),
            ],
        ),
        "The rate multiplies the sum of a minibatch's updates, of the host their mean. A minibatch that an epoch ends is shorter. An\n"
        'engine learns with `batch = 1` or `update = "host"`: summing beside the weights is for the golden model alone (`--on golden`);\n'
        "[the engine](engine.md) says why.",
        "## `[formats]`",
        "`Sm.n` is a signed number of `m` integer and `n` fraction bits, `Um.n` an unsigned one; `S0.11` has 12 bits and runs from\n"
        "-2047/2048 to 2047/2048. The weight, the pre-activation and the drive must be those that the engine is built for.",
        _table(
            heads,
            [
                (f"`{name}`", legal, f"`{formats.pop(name)}`", meaning)
                for name, legal, meaning in (
                    ("input", "`U0.n`, at most 16 bits", "input values"),
                    ("state", "`S0.n`, at most 24 bits; n at most 6 more than that of `pre_activation`", "states of hidden neurons"),
                    ("weight", "`Sm.n`, at most 16 bits", "weights"),
                    ("deviation", "`Sm.n`, at most 24 bits; n at most 6 more than that of `drive`", "deviations of the clamped phase"),
                    ("error", "`S0.n`, at most 15 bits", "output errors"),
                    ("pre_activation", "`S2.n`, n from 2 to 24", "what the activation is applied to"),
                    ("drive", "`Sm.n`, at most 31 bits", "what the slope is multiplied with in the clamped phase"),
                )
            ]
            + [
                (
                    "`mac_weight`",
                    "`Sm.n`, no more bits than `weight` on either side",
                    "that of `weight`",
                    "the copy of a weight that is multiplied, rounded from it",
                )
            ],
        ),
    )


PAGES: Final[dict[str, Callable[[], str]]] = {
    "instruction-set.md": instruction_set,
    "packets.md": packets,
    "network-file.md": network_file,
}
"""Generators by file name."""


def main(arguments: Sequence[str]) -> None:
    """Write every page into the folder that is the only argument."""
    if len(arguments) != 1:
        raise FrennError("usage: python -m frenn.firmware.manual FOLDER")
    for name, page in PAGES.items():
        write_atomic(Path(arguments[0]) / name, page().encode())


def _page(title: str, source: str, *parts: str) -> str:
    head = f"# {title}\n\n<!-- Made from {source} by `python -m frenn.firmware.manual docs`; edit that file, not this one. -->"
    return "\n\n".join([head, *(part.strip() for part in parts)]) + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _members(enumeration: type[IntEnum] | type[IntFlag]) -> list[tuple[str, str, str]]:
    """(value, name, docstring) of the members; Python keeps no docstring of a member, so the source is read."""
    body = ast.parse(inspect.getsource(enumeration)).body[0]
    if not isinstance(body, ast.ClassDef):
        raise TypeError(f"{enumeration} is no class")
    rows, name = [], ""
    for statement in body.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and name:
            rows.append((str(int(enumeration[name])), f"`{name}`", _markdown(" ".join(str(statement.value.value).split()))))
    return rows


def _doc(thing: type) -> str:
    return _markdown(inspect.getdoc(thing) or "")


def _markdown(text: str) -> str:
    return re.sub(r"`+([^`]+)`+", r"`\1`", text)


def _choices(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _defaults(thing: Any) -> dict[str, Any]:
    return {item.name: item.default for item in dataclasses.fields(thing) if item.default is not dataclasses.MISSING}


if __name__ == "__main__":
    main(sys.argv[1:])
