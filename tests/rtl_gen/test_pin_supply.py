# SPDX-License-Identifier: Apache-2.0
"""The supply of pins: duty, pulses and the order of what is turned on."""

from fractions import Fraction

import numpy as np
import pytest
from amaranth.sim import Simulator
from frenn.firmware.errors import FrennError
from frenn.rtl_gen.boards import find_board
from frenn.rtl_gen.pin_supply import DUTY_BITS, PinSupply, duty

CLOCK = 30_000


def test_duty_gives_the_voltage() -> None:
    """Currents into the feedback pin of the regulator balance, which holds it at 0.6 V."""
    for volts in (Fraction("1.0"), Fraction("1.2"), Fraction("1.8"), Fraction("3.3")):
        pin = float(duty(volts)) * 3.3
        assert (pin - 0.6) / 68e3 + (float(volts) - 0.6) / 53.6e3 == pytest.approx(0.6 / 13e3)
    for volts in ("0.9", "3.4"):
        with pytest.raises(FrennError, match=rf"pin supply: {volts} V; legal are 1 to 3.3 V"):
            duty(Fraction(volts))


def test_equals_the_model() -> None:
    supply = find_board("butterstick-85f").bus.supply
    assert supply is not None
    dut = PinSupply(CLOCK, supply.volts)
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
    packed = pulses @ (1 << np.arange(len(supply.volts)))
    assert got == [(int(pulse), *map(int, flags)) for pulse, flags in zip(packed, told, strict=True)]
    # Off, on, steady, each once; a regulator is on before its pins are taken for steady.
    assert told.sum(0).tolist() == [cycles - int(CLOCK * 0.07) - 1, cycles - int(CLOCK * 0.072) - 1]
    # As often high as the duty says, in every stretch of a whole period.
    for step, column in zip(dut.steps, pulses.T, strict=True):
        assert column[: 1 << DUTY_BITS].sum() == pytest.approx(step, abs=1)
