# SPDX-License-Identifier: Apache-2.0
"""Packets, word for word."""

import numpy as np
import pytest
from frenn.firmware import protocol
from frenn.firmware.errors import FrennError
from frenn.firmware.formats import Format
from frenn.firmware.parameters import MACHINE_VERSION, EngineParameters
from frenn.firmware.protocol import Command, Hello, Space, Status


def test_request() -> None:
    packet = protocol.request(Command.READ, Space.COUNTERS, [7, 0xFFFFFFFF], tag=0x1FE)
    assert (packet.dtype, packet.tolist()) == (np.uint32, [3 | 0xFE << 8 | 5 << 16, 7, 0xFFFFFFFF])
    assert protocol.request(Command.HELLO).tolist() == [1]


def test_inputs() -> None:
    assert protocol.pack_inputs(np.array([1, 2, 3, 4, 255]), wide=False).tolist() == [0x04030201, 0xFF]
    assert protocol.pack_inputs(np.array([1, 2, 65535]), wide=True).tolist() == [0x00020001, 0xFFFF]
    assert protocol.pack_inputs(np.array([9]), wide=False).tolist() == [9]


@pytest.mark.parametrize("lanes", [1, 4, 6, 128])
def test_weights_round_trip(rng: np.random.Generator, lanes: int) -> None:
    rows = rng.integers(-32767, 32768, (5, lanes))
    words = protocol.pack_weights(rows)
    assert (words.dtype, len(words)) == (np.uint32, 5 * ((lanes + 1) // 2))
    np.testing.assert_array_equal(protocol.unpack_weights(words, lanes), rows)
    assert words[0] == (int(rows[0, 0]) & 0xFFFF) | ((int(rows[0, 1]) & 0xFFFF) << 16 if lanes > 1 else 0)


def test_states() -> None:
    values, slopes = np.array([0, 5, -5, (1 << 24) - 1, -(1 << 24)]), np.array([0, 64, 63, 1, 127])
    words = ((values & 0x1FFFFFF) | slopes << 25).astype(np.uint32)
    got = protocol.unpack_states(words)
    assert (got[0].tolist(), got[1].tolist()) == (values.tolist(), slopes.tolist())


def test_hello_round_trip() -> None:
    parameters = EngineParameters(lanes=16, weight=Format(True, 1, 11), weight_depth=1 << 20, program_depth=100)
    hello = Hello(MACHINE_VERSION, 0xFEDCBA9876543210, parameters)
    words = hello.encode()
    assert words[:6] == [0x4E4E5246, MACHINE_VERSION, 0x76543210, 0xFEDCBA98, 16, 1 << 16 | 1 << 8 | 11]
    assert words[-4:] == [1 << 20, parameters.neuron_depth, parameters.row_depth, 100]
    assert Hello.decode(np.array(words, dtype=np.uint32)) == hello


def test_hello_of_something_else() -> None:
    words = np.array(Hello(MACHINE_VERSION, 1, EngineParameters()).encode(), dtype=np.uint32)
    for length in (0, 1, 2, len(words) - 1):
        with pytest.raises(FrennError, match="no frenn device"):
            Hello.decode(words[:length])
    words[0] ^= 1
    with pytest.raises(FrennError, match="no frenn device"):
        Hello.decode(words)


def test_hello_of_another_version() -> None:
    words = np.array(Hello(MACHINE_VERSION + 1, 1, EngineParameters()).encode(), dtype=np.uint32)
    with pytest.raises(FrennError, match="rebuild the bitstream or update frenn"):
        Hello.decode(words)


def test_zero_runs() -> None:
    def packed(*values: int) -> list[int]:
        return protocol.pack_zero_runs(np.array(values), wide=False).view("u1").tolist()

    assert packed(5, 0, 0, 0, 6) == [5, 0, 2, 6]
    assert packed(0, 7) == [0, 0, 7, 0]
    assert packed(1, 2, 3, 0) == [1, 2, 3, 0], "no unit follows the last input"
    assert packed(*[0] * 256) == [0, 255, 0, 0] and packed(*[0] * 258) == [0, 255, 0, 1]
    assert protocol.pack_zero_runs(np.array([0] * 300 + [0x1234]), wide=True).tolist() == [255 << 16, 43 << 16, 0x1234]


@pytest.mark.parametrize("wide", [False, True])
def test_samples_round_trip(rng: np.random.Generator, wide: bool) -> None:
    sparse_ones = 0
    for count in [*range(1, 20), 255, 256, 257, 600, 784]:
        for density in (0, 0.02, 0.3, 0.9, 1):
            inputs = rng.integers(1, 0x10000 if wide else 0x100, count) * (rng.random(count) < density)
            sample = protocol.pack_sample(inputs, wide, label=7, step=0xFFF80005)
            sparse = bool(sample[0] & protocol.SPARSE)
            sparse_ones += sparse
            shorter = protocol.pack_zero_runs(inputs, wide) if sparse else protocol.pack_inputs(inputs, wide)
            assert sample.tolist() == [7 | 5 << 12 | sparse << 31, *shorter.tolist()]
            assert len(shorter) == min(len(pack(inputs, wide)) for pack in (protocol.pack_zero_runs, protocol.pack_inputs))
            for packed, runs in ((protocol.pack_zero_runs(inputs, wide), True), (protocol.pack_inputs(inputs, wide), False)):
                values, taken, status = protocol.unpack_inputs(packed, count, wide, runs)
                assert (taken, status) == (len(packed), Status.DONE)
                np.testing.assert_array_equal(values, inputs)
    assert sparse_ones
