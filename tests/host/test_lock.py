# SPDX-License-Identifier: Apache-2.0
"""Locks: one program at a time, and the second is told who holds what it wants."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from frenn.firmware.errors import FrennError
from frenn.host import lock as lock_module
from frenn.host.lock import BusyError, Lock, lock_path

HOLD = """
import sys, time
from pathlib import Path
from frenn.host import lock
lock._FOLDERS = (sys.argv[2],)
held = lock.Lock(Path(sys.argv[1]), "it")
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(lock_module, "_FOLDERS", (str(tmp_path),))
    return tmp_path


def test_the_second_is_told_and_a_link_is_the_same_thing(tmp_path):
    board, link = tmp_path / "board", tmp_path / "by-id"
    board.touch()
    link.symlink_to(board)
    with Lock(board, "the board"):
        for path in (board, link):
            with pytest.raises(BusyError, match=rf"the board is in use by process {os.getpid()} on .* \(.*\); wait for it, or stop it"):
                Lock(path, "the board")
        Lock(tmp_path / "other", "the other board").close()
    again = Lock(link, "the board")
    again.close()
    again.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_holder(tmp_path, how):
    board = tmp_path / "board"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(board), str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=rf"in use by process {process.pid} on "):
            Lock(board, "it")
        process.send_signal(how)
        process.wait()
    Lock(board, "it").close()


def test_what_is_torn_in_the_file_does_no_harm(tmp_path):
    path = tmp_path / "board"
    with Lock(path, "the board"):
        for content in (b"", b"{}", b"[1]", b"\xff"):
            lock_path(path).write_bytes(content)
            with pytest.raises(BusyError, match="in use by another program;"):
                Lock(path, "the board")


def test_every_user_may_lock(tmp_path):
    Lock(tmp_path / "board", "the board").close()
    assert lock_path(tmp_path / "board").stat().st_mode & 0o777 == 0o666


def test_a_file_in_the_way(tmp_path):
    lock_path(tmp_path / "board").mkdir()
    with pytest.raises(FrennError, match=r"cannot lock the board by .*: Is a directory; remove that file"):
        Lock(tmp_path / "board", "the board")
