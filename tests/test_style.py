# SPDX-License-Identifier: Apache-2.0
"""Lint, format, types, and the floors of the house."""

import ast
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("firmware", "rtl_gen", "sim", "host")
"""From the lowest: a floor imports from itself and from those below."""


def run(*arguments: str, **environment: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_lint() -> None:
    run("ruff", "check", ".")


def test_format() -> None:
    run("ruff", "format", "--check", ".")


def test_types(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    # Whether installed as a copy or editable, the checker finds the packages where Python does.
    (tmp_path / "frenn").mkdir()
    for floor in FLOORS:
        file = importlib.import_module(f"frenn.{floor}").__file__
        assert file is not None
        (tmp_path / "frenn" / floor).symlink_to(Path(file).parent)
    cache = pytestconfig.cache.mkdir("mypy")  # type: ignore[union-attr]
    run("mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(cache), "-p", "frenn", MYPYPATH=str(tmp_path))


def sources() -> Iterator[Path]:
    for floor in FLOORS:
        yield from sorted((ROOT / floor).rglob("*.py"))


def imported_floors(path: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, floor) of everything that a source file imports from the floors, at its top or inside a function."""
    package = ["frenn", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(tree):
        modules: list[list[str]] = []
        if isinstance(node, ast.Import):
            modules = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            modules = [[*base, alias.name] for alias in node.names]
        for parts in modules:
            if len(parts) > 1 and parts[0] == "frenn" and parts[1] in FLOORS:
                yield node.lineno, parts[1]


def test_imports_run_downwards() -> None:
    count, upward = 0, []
    for path in sources():
        floor = path.relative_to(ROOT).parts[0]
        for line, target in imported_floors(path, ast.parse(path.read_text())):
            count += 1
            if FLOORS.index(target) > FLOORS.index(floor):
                upward.append(f"{path.relative_to(ROOT)}:{line} imports from {target}")
    assert count > 50
    assert not upward


@pytest.mark.parametrize(
    ("path", "source", "floors"),
    [
        ("firmware/a.py", "from ..host.cli import main", ["host"]),
        ("firmware/a.py", "from .. import sim, rtl_gen", ["sim", "rtl_gen"]),
        ("firmware/a.py", "def f():\n    import frenn.host.cli", ["host"]),
        ("sim/benches/a.py", "from ...rtl_gen.rounding import RoundSaturate", ["rtl_gen"]),
        ("sim/benches/a.py", "from . import streams\nfrom ..golden import Golden\nimport numpy", ["sim", "sim"]),
        ("host/a.py", "from frenn.firmware import isa", ["firmware"]),
    ],
)
def test_imports_are_seen(path: str, source: str, floors: list[str]) -> None:
    assert [floor for _, floor in imported_floors(ROOT / path, ast.parse(source))] == floors


def test_every_source_names_its_licence() -> None:
    paths = [*sources(), *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "bench").rglob("*.py"))]
    assert not [path for path in paths if not path.read_text().startswith("# SPDX-License-Identifier: Apache-2.0\n")]
