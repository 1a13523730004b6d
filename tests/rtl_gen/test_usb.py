# SPDX-License-Identifier: Apache-2.0
"""The device on the USB, and its parts, against a host's model at the PHY's pins."""

from pathlib import Path

import pytest
from frenn.firmware.errors import FrennError
from frenn.firmware.usb import UsbIdentity
from frenn.rtl_gen.byte_words import WordGatherer, WordSplitter
from frenn.rtl_gen.usb_core import PHYS, usb_ports
from frenn.rtl_gen.usb_device import UsbDevice
from frenn.sim.benches.runner import run
from frenn.sim.benches.usb_device import digits_example
from frenn.sim.benches.usb_loop import IDENTITY, UsbLoop
from luna.gateware.usb.usb2.reset import USBResetSequencer

HASTE = 10
"""Part of a millisecond that the gateware's times of milliseconds are cut to: nothing happens in them."""


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("1_MILLISECONDS", "2_MILLISECONDS", "2P5_MILLISECONDS", "3_MILLISECONDS"):
        cycles = f"_CYCLES_{name}"
        monkeypatch.setattr(USBResetSequencer, cycles, getattr(USBResetSequencer, cycles) // HASTE)


@pytest.mark.parametrize("block", ["gatherer", "splitter"])
def test_words_and_bytes(seed: int, tmp_path: Path, block: str) -> None:
    component = WordGatherer() if block == "gatherer" else WordSplitter()
    run(component, "frenn.sim.benches.byte_words", name=block, seed=seed, parameters={"BLOCK": block}, build_dir=tmp_path)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("phy", PHYS)
def test_bytes_come_back(seed: int, tmp_path: Path, phy: str) -> None:
    parameters = {"PHY": phy, "HASTE": str(HASTE)}
    run(UsbLoop(phy), "frenn.sim.benches.usb_loop", name="usb_loop", seed=seed, parameters=parameters, build_dir=tmp_path)


@pytest.mark.usefixtures("hurried")
def test_device_trains(seed: int, tmp_path: Path) -> None:
    _, engine = digits_example()
    run(
        UsbDevice(engine, "ulpi", IDENTITY),
        "frenn.sim.benches.usb_device",
        name="usb_device",
        seed=seed,
        parameters={"PHY": "ulpi", "HASTE": str(HASTE)},
        build_dir=tmp_path,
    )


def test_identity() -> None:
    identity = UsbIdentity(product="ulx3s-85f", build=0xFEDC_BA98_7654_3210, serial="desk-2")
    assert identity.interface == "build fedcba9876543210"
    assert UsbIdentity.parse(identity.product, identity.interface, identity.serial) == identity
    with pytest.raises(FrennError, match="USB interface says 'CDC', not its build"):
        UsbIdentity.parse("x", "CDC", "1")
    for serial in ("", "a b", "x" * 33, "ä"):
        with pytest.raises(FrennError, match=r"USB serial number is .*; legal are 1 to 32 letters"):
            UsbIdentity(product="x", build=1, serial=serial)


def test_other_phys_are_refused() -> None:
    with pytest.raises(FrennError, match="USB PHY 'utmi' is unknown; legal are ulpi, pins"):
        usb_ports("utmi")
