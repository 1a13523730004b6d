# SPDX-License-Identifier: Apache-2.0
"""Network files of every kind: each is refused in one clear line, or is a network that compiles and is described."""

import copy
import json
import math
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from frenn.firmware.compiler import compile_network
from frenn.firmware.image import Image
from frenn.firmware.network import Edge, Formats, Layer, Learning, Network, Relaxation, load_network, parse_network
from frenn.firmware.parameters import EngineParameters
from frenn.host import commands
from fuzzing import attempt, damaged, said
from hypothesis import given
from hypothesis import strategies as st

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))
TEXTS = [path.read_text() for path in EXAMPLES]
MOST_WEIGHTS = 100_000

HUGE = "an integer of so many digits that Python does not print it"

SENSIBLE = st.one_of(
    st.integers(-20, 70),
    st.sampled_from([0, 1, 2, 63, 64, 4095, 4096, 1 << 31, 1 << 32, 1 << 64, -1, HUGE]),
    st.builds("2^{}".format, st.integers(-20, 5)),
    st.builds("{}{}.{}".format, st.sampled_from("SUQ"), st.integers(0, 9), st.integers(0, 30)),
    st.sampled_from([0.5, 0.25, 2.0**-7, math.nan, math.inf, -0.0, 1e400, 1e-400]),
    st.sampled_from(["tanh", "hard_tanh", "hard_sigmoid", "jacobi", "sequential", "literal", "refreshed", "nearest", "host", "adam"]),
    st.sampled_from(
        ["fixed", "none", "symmetric", "feedback", "forward", "input", "output", "hidden1", "hidden2", "", "\0", "a\nb", "\ud7ff"]
    ),
    st.booleans(),
)
NAMES = {item.name for kind in (Edge, Formats, Layer, Learning, Network, Relaxation) for item in fields(kind)}
KEYS = st.sampled_from(
    [*sorted(NAMES), "links", "every", "probability", "feedback_scale", "forward_scale", "rate", "nudge", "é", "a\nb", ""]
)
VALUES = st.recursive(
    st.one_of(SENSIBLE, st.text(max_size=5), st.integers(), st.floats()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=6,
)


def toml(value: Any) -> str:
    """A value as TOML, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if value == HUGE:
        return f"0x{'f' * 5_000}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else str(value)


def containers(value: Any) -> list[Any]:
    """Every table and list in a value, itself first."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(found for item in inner if isinstance(item, (dict, list)) for found in containers(item))]


@st.composite
def changed_tables(draw: st.DrawFn) -> str:
    """An example's text with a few of its values changed, added, taken away or doubled."""
    table = copy.deepcopy(tomllib.loads(draw(st.sampled_from(TEXTS))))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(containers(table)))
        keys = list(place) if isinstance(place, dict) else range(len(place))
        kind = draw(st.sampled_from(["change", "change", "add", "remove", "double"]))
        value = draw(VALUES)
        if kind == "add" or not keys:
            if isinstance(place, dict):
                place[draw(KEYS)] = value
            else:
                place.append(value)
            continue
        key = draw(st.sampled_from(keys))
        if kind == "change":
            place[key] = value
        elif kind == "remove":
            del place[key]
        elif isinstance(place, list):
            place.append(copy.deepcopy(place[key]))
    return "\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in table.items())


def weights(network: Network) -> int:
    return sum(rows * columns for rows, columns in network.weight_shapes)


def use(network: Network, lanes: int) -> None:
    """Compile a network for the smallest engine, if there is one; the image must hold what went in."""
    parameters = attempt(EngineParameters.for_network, network, lanes)
    program = None if parameters is None else attempt(compile_network, network, parameters)
    if program is not None and weights(network) <= MOST_WEIGHTS:
        blocks = network.initial_weights()
        image = Image.build(program, blocks)
        for got, expected in zip(program.unpack(image.weights.astype("int64")), blocks, strict=True):
            assert (got == expected).all()


@given(changed_tables(), st.sampled_from([1, 4, 16, 128]))
def test_changed_examples(text: str, lanes: int) -> None:
    network = attempt(parse_network, text)
    if network is not None:
        use(network, lanes)


@given(st.sampled_from(TEXTS).flatmap(lambda text: damaged(text.encode())))
def test_damaged_examples(tmp_path_factory: pytest.TempPathFactory, contents: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.toml"
    path.write_bytes(contents)
    network = attempt(load_network, path)
    if network is not None:
        use(network, 16)


@given(
    st.one_of(
        st.text(),
        st.dictionaries(KEYS, VALUES, max_size=5).map(lambda table: "\n".join(f"{json.dumps(k)} = {toml(v)}" for k, v in table.items())),
    )
)
def test_other_text(text: str) -> None:
    attempt(parse_network, text)


@given(changed_tables())
def test_the_command_says_what_is_wrong(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """What stands on the error output is one line; a network that is legal is described, whether it fits or not."""
    path = tmp_path_factory.getbasetemp() / "changed.toml"
    path.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        # How fast it is on each board takes seconds to tell.
        patch.setattr(commands, "fit_table", lambda network: [])
        code, lines = said(["check", str(path)])
    assert code in (0, 2) and len(lines) == (code == 2), lines
