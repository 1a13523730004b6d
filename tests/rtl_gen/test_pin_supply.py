# SPDX-License-Identifier: Apache-2.0
"""The supply of pins: duty, pulses and the order of what is turned on."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from frenn.firmware.errors import FrennError
from frenn.rtl_gen.boards import find_board
from frenn.rtl_gen.pin_supply import DUTY_BITS, PinSupply, duty

CLOCK = 30_000


def test_duty_gives_the_voltage() -> None:
    """Currents into the feedback pin of the regulator balance, which holds it at 0.6 V."""
    for millivolts in (1000, 1200, 1800, 3300):
        pin = float(duty(millivolts)) * 3.3
        assert (pin - 0.6) / 68e3 + (millivolts / 1000 - 0.6) / 53.6e3 == pytest.approx(0.6 / 13e3)
    for millivolts in (999, 3301):
        with pytest.raises(FrennError, match=f"pin supply: {millivolts} mV; legal are 1000 to 3300 mV"):
            duty(millivolts)


def test_equals_the_model() -> None:
    supply = find_board("butterstick-85f").bus.supply
    assert supply is not None
    dut = PinSupply(CLOCK, supply.millivolts)
    cycles = dut.steady_after + 500
    pulses, told = dut.model(cycles)
    got: list[tuple[int, int, int]] = []

    async def watch(ctx) -> None:  # type: ignore[no-untyped-def]
        for _ in range(cycles):
            got.append((ctx.get(dut.pulse), ctx.get(dut.enable), ctx.get(dut.steady)))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1 / CLOCK)
    simulator.add_testbench(watch)
    simulator.run()
    packed = pulses @ (1 << np.arange(len(supply.millivolts)))
    assert got == [(int(pulse), *map(int, flags)) for pulse, flags in zip(packed, told, strict=True)]
    # Off, on, steady, each once; a regulator is on before its pins are taken for steady.
    assert told.sum(0).tolist() == [cycles - int(CLOCK * 0.07) - 1, cycles - int(CLOCK * 0.072) - 1]
    # As often high as the duty says, in every stretch of a whole period.
    for step, column in zip(dut.steps, pulses.T, strict=True):
        assert column[: 1 << DUTY_BITS].sum() == pytest.approx(step, abs=1)
