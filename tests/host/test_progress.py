# SPDX-License-Identifier: Apache-2.0
"""Progress: a bar on a terminal, silence elsewhere."""

import io
import sys

import pytest
from frenn.host.progress import progress


class Stream(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize("out_is_terminal", [True, False])
def test_bar_and_lines(monkeypatch, out_is_terminal):
    out, err = Stream(out_is_terminal), Stream(True)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    with progress(10, "training") as advance:
        advance(4)
        print("a line")
        advance(6)
    assert "training" in err.getvalue() and "10/10" in err.getvalue() and "left" in err.getvalue()
    assert (out.getvalue() == "a line\n") == (not out_is_terminal)
    assert ("a line" in err.getvalue()) == out_is_terminal


def test_silence(monkeypatch):
    err = Stream(False)
    monkeypatch.setattr(sys, "stderr", err)
    with progress(10, "training") as advance:
        advance(10)
    assert err.getvalue() == ""
