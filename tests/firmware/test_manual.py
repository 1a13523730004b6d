# SPDX-License-Identifier: Apache-2.0
"""The pages of the manual that are made from the code say what the code says."""

import dataclasses
import re
from pathlib import Path

import pytest
from frenn.firmware.errors import FrennError
from frenn.firmware.manual import PAGES, main
from frenn.firmware.network import Formats, Relaxation, parse_network

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run python -m frenn.firmware.manual docs"


def test_pages_are_written(tmp_path: Path) -> None:
    main([str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(PAGES)
    with pytest.raises(FrennError, match="usage: "):
        main([])


@pytest.mark.parametrize(
    ("heading", "keys"),
    [
        ("Top level", {"name", "seed", "layers", "edges", "links", "activation", "feedback_scale", "forward_scale", "feedback"}),
        ("An entry of `layers`", {"name", "width", "activation"}),
        ("An entry of `edges`", {"source", "target", "role", "feedback", "feedback_scale", "forward_scale", "rate"}),
        ("`[links]`", {"every", "feedback_scale", "probability", "seed"}),
        ("`[relaxation]`", {item.name for item in dataclasses.fields(Relaxation)} - {"nudge_exponent"} | {"nudge"}),
        ("`[learning]`", {"rate", "halve_every", "epochs", "rounding", "update", "optimizer", "batch"}),
        ("`[formats]`", {item.name for item in dataclasses.fields(Formats)}),
    ],
)
def test_network_file_page_has_every_key(heading: str, keys: set[str]) -> None:
    section = PAGES["network-file.md"]().split(f"## {heading}\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == keys


def test_defaults_on_the_page_are_legal_and_are_the_defaults() -> None:
    text = ["layers = [4, 3, 2]"]
    for section in PAGES["network-file.md"]().split("\n## ")[1:]:
        heading = re.match(r"`\[(\w+)\]`", section)
        if heading:
            text.append(f"[{heading[1]}]")
            rows = re.findall(r"^\| `(\w+)` \|.*\| `([^`]+)` \| [^|]+ \|$", section, re.MULTILINE)
            text += [f"{key} = {value if value.isdigit() else repr(value)}" for key, value in rows]
    assert len(text) > 15
    assert parse_network("\n".join(text)) == parse_network("layers = [4, 3, 2]")


def test_topologies_of_the_page_are_legal() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGES["network-file.md"](), re.DOTALL)
    networks = [parse_network(block) for block in blocks]
    assert [len(network.edges) for network in networks[:2]] == [11, 14]
    assert len(networks[2].edges) > 11 + 10
    assert [edge.role for edge in networks[3].edges] == 6 * ["forward"] + 2 * ["feedback"]
