# SPDX-License-Identifier: Apache-2.0
"""What bad frames tell."""

import pytest
from frenn.firmware.framing import encode
from frenn.firmware.runs import RunDeframer


@pytest.mark.parametrize(
    ("run", "header"),
    [
        (encode(bytes((1, 2, 3, 4, 5, 6, 7, 8)))[:-2] + b"!\x7e", bytes((1, 2, 3, 4))),
        (b"\x7e\x7d\x5e23456789\x7e", b"\x7e234"),
        (b"\x7e12345678\x7d\x7e", b""),
        (b"\x7e12345678\x7d\x7d\x7e", b"1234"),
        (b"\x7e12345678\x7e", b""),
        (b"\x7e" + bytes(40) + b"\x7e", b""),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_bad_frame_tells_its_header_if_it_is_long_enough(run: bytes, header: bytes, step: int) -> None:
    text = b"noise" + run + encode(b"good")
    deframer = RunDeframer(words=5)
    found = [part for start in range(0, len(text), step) for part in deframer.runs(text[start : start + step])]
    assert found == [*([(header, False)] if header else []), (b"good", True)]
    assert deframer.bad == 2
