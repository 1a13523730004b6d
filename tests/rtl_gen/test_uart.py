# SPDX-License-Identifier: Apache-2.0
"""The serial line's gateware against its models, and the models against a line of another clock."""

from pathlib import Path

import numpy as np
import pytest
from frenn.firmware.errors import FrennError
from frenn.rtl_gen.uart import BaudRate, UartReceiver, UartTransmitter
from frenn.sim.benches.runner import SIMULATORS, Simulator, run
from frenn.sim.benches.uart_line import character_line

RATES = [(12_000_000, 3_000_000), (25_000_000, 3_000_000), (137_500_000, 3_000_000), (54_000_000, 115_200)]
"""Clock and baud rate: 4, 8.33, 45.83 and 468.75 cycles a bit."""


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize(("frequency", "baud"), RATES[:2])
@pytest.mark.parametrize("component", [UartReceiver, UartTransmitter])
def test_equals_model(simulator: Simulator, seed: int, tmp_path: Path, frequency: int, baud: int, component) -> None:
    name = "uart_receiver" if component is UartReceiver else "uart_transmitter"
    run(
        component(BaudRate(frequency, baud)),
        f"frenn.sim.benches.{name}",
        name=name,
        simulator=simulator,
        seed=seed,
        parameters={"FREQUENCY": str(frequency), "BAUD": str(baud)},
        build_dir=tmp_path,
    )


@pytest.mark.parametrize(("frequency", "baud"), RATES)
@pytest.mark.parametrize("gap", [0.0, 2.0])
def test_receiver_follows_senders_off_the_rate(rng: np.random.Generator, frequency: int, baud: int, gap: float) -> None:
    rate = BaudRate(frequency, baud)
    period = frequency / baud
    tolerance = 0.03 if period >= 8 else 0.02
    content = rng.bytes(300 if period < 100 else 50)
    for drift in (0.0, tolerance, -tolerance):
        line = character_line(rng, content, period * (1 + drift), gap)
        assert UartReceiver.model(rate, line) == (content, 0)
    assert UartReceiver.model(rate, character_line(rng, content, period * 1.08))[0] != content


@pytest.mark.parametrize(("frequency", "baud"), RATES)
def test_transmitter_keeps_the_rate(rng: np.random.Generator, frequency: int, baud: int) -> None:
    """What one end sends the other receives, and no bit drifts however long the run of characters."""
    rate = BaudRate(frequency, baud)
    content = rng.bytes(200)
    line = UartTransmitter.model(rate, content)
    assert abs(len(line) / (10 * len(content) * frequency / baud) - 1) <= 1 / 4096 + 1e-4
    assert UartReceiver.model(rate, np.concatenate([np.ones(3, dtype=bool), line, np.ones(99, dtype=bool)])) == (content, 0)


def test_a_break_and_a_glitch_are_no_characters() -> None:
    rate = BaudRate(16_000_000, 1_000_000)
    high, low = np.ones(200, dtype=bool), np.zeros(2000, dtype=bool)
    assert UartReceiver.model(rate, np.concatenate([low, high])) == (b"", 0)
    assert UartReceiver.model(rate, np.concatenate([high, low[:7], high, low, high])) == (b"", 1)


@pytest.mark.parametrize(("frequency", "baud"), [(11_999_999, 3_000_000), (200_000_000, 3000), (50_000_000, 0), (50_000_000, -1)])
def test_rates_out_of_range_are_refused(frequency: int, baud: int) -> None:
    with pytest.raises(FrennError, match=f"{baud} baud at a clock of {frequency} Hz"):
        BaudRate(frequency, baud)
