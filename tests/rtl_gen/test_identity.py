# SPDX-License-Identifier: Apache-2.0
"""The identity of the gateware covers the machine, and nothing else."""

import ast
from pathlib import Path

import pytest
from frenn.rtl_gen import identity

FOLDER = Path(identity.__file__).parent


def test_what_the_machine_is_made_of() -> None:
    names = {path.stem for path in identity.modules() if path.parent == FOLDER}
    assert names >= {"uart_device", "uart", "byte_device", "link", "link_send", "framing", "device", "engine", "lane", "identity"}
    assert not names & {"boards", "board_top", "generate", "pll"}
    assert all(path.is_file() for path in identity.modules())


def test_shared_modules_are_those_that_the_machine_imports() -> None:
    imported = set()
    for path in identity.modules():
        if path.parent == FOLDER:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.level == 2 and node.module:
                    imported.add(node.module.removeprefix("firmware."))
    # Parameters have a fingerprint of their own; the others are no part of the hardware.
    assert imported - {"parameters", "errors", "endpoint"} == set(identity.SHARED)


def test_any_change_is_another_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / name for name in ("one.py", "two.py")]
    monkeypatch.setattr(identity, "modules", lambda: files)

    def of(*texts: str) -> int:
        for path, text in zip(files, texts, strict=True):
            path.write_text(text)
        return identity.gateware_identity.__wrapped__()

    seen = [of("a = 1\n", "b = 2\n"), of("a = 1\n", "b = 3\n"), of("a = 1\nb = 2\n", ""), of("", "a = 1\nb = 2\n")]
    assert len(set(seen)) == 4 and all(0 <= value < 1 << 64 for value in seen)
    # Line ends are the checkout's.
    files[0].write_bytes(b"a = 1\r\n")
    files[1].write_bytes(b"b = 2\r\n")
    assert identity.gateware_identity.__wrapped__() == seen[0]
