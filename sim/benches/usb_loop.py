# SPDX-License-Identifier: Apache-2.0
"""Bench of `UsbCore` at its PHY's pins: what the host sends comes back."""

import os
import random
from typing import Any, Final

import cocotb
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect

from ...firmware.usb import MANUFACTURER, UsbIdentity
from ...rtl_gen.usb_core import UsbCore, join_usb, usb_ports
from .usb_host import GET_DESCRIPTOR, Stalled, UsbHost
from .usb_lines import LINES

IDENTITY: Final = UsbIdentity(product="bench", build=0x0123456789ABCDEF, serial="board-7")


class UsbLoop(wiring.Component):
    """`UsbCore` whose bytes come back.

    Parameters
    ----------
    phy : str
        One of `usb_core.PHYS`.

    Ports
    -----
    ulpi_*, usb_*
        See `usb_core.usb_ports`.
    """

    def __init__(self, phy: str) -> None:
        self.phy = phy
        super().__init__(usb_ports(phy))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = core = UsbCore(self.phy, IDENTITY)
        connect(m, core.o, core.i)
        join_usb(m, self, core)
        return m


async def open_usb(dut: Any, damage: float = 0.0) -> UsbHost:
    """The host's model on a device that has been plugged in, and nothing more."""
    generator = random.Random(random.getrandbits(32))
    line = LINES[os.environ["PHY"]](dut, generator)
    await line.start()
    return UsbHost(line, generator, damage)


@cocotb.test
async def says_what_it_is(dut: Any) -> None:
    usb = await open_usb(dut)
    await usb.enumerate()
    assert usb.strings == [MANUFACTURER, IDENTITY.product, IDENTITY.serial, IDENTITY.interface]
    assert UsbIdentity.parse(usb.strings[1], usb.strings[3], usb.strings[2]) == IDENTITY
    assert usb.device[8:12].hex() == "09120100"
    size = usb.line.packet_bytes.to_bytes(2, "little")
    for address, place in ((1, 18), (0x81, 25)):
        assert usb.configuration[place : place + 6] == bytes([7, 5, address, 2, *size]), usb.configuration.hex()
    for kind in (0x0F, 0x06):
        try:
            await usb.control_in(0x80, GET_DESCRIPTOR, kind << 8, 0, 64)
        except Stalled:
            continue
        raise AssertionError("a descriptor that it has not is refused")


async def exchange(usb: UsbHost, transfers: list[bytes]) -> None:
    """Send transfers, and take what comes at the same time: the same bytes, and an end where a transfer ended."""
    size = usb.line.packet_bytes
    outgoing = [transfer[start : start + size] for transfer in transfers for start in range(0, len(transfer), size)]
    coming: list[bytes] = [b""]
    # A transfer that fills its last packet goes on with the next one.
    expected, goes_on = [b""], False
    for transfer in transfers:
        expected[-1] += transfer
        goes_on = len(transfer) % size == 0
        if not goes_on:
            expected.append(b"")
    assert not goes_on
    while coming != expected:
        if outgoing and random.random() < 0.7 and await usb.try_out(outgoing[0]):
            del outgoing[0]
        if random.random() < 0.7 and (part := await usb.try_in()) is not None:
            coming[-1] += part
            if len(part) < size:
                coming.append(b"")
        assert b"".join(expected).startswith(b"".join(coming))
        assert usb.seen["nak in"] + usb.seen["nak out"] < 2_000


def transfers(usb: UsbHost, count: int) -> list[bytes]:
    """Random transfers, the last of which has an end."""
    size = usb.line.packet_bytes
    lengths = [random.choice((1, size - 1, size, size + 1, 2 * size, random.randint(1, 3 * size))) for _ in range(count)]
    return [random.randbytes(length) for length in [*lengths, random.randint(1, size - 1)]]


@cocotb.test
async def bytes_come_back(dut: Any) -> None:
    """Toggles and retries: packets and acknowledgements are damaged and lost, each way."""
    usb = await open_usb(dut, damage=0.15)
    await usb.enumerate()
    await exchange(usb, transfers(usb, 16))
    # What is rare may not have come yet; when nothing is left, an IN has no answer.
    while not all(usb.seen[what] for what in ("lost data", "lost acknowledgement", "not acknowledged", "repeated")):
        await exchange(usb, transfers(usb, 4))
    while not usb.seen["nak in"]:
        assert await usb.try_in() is None
    dut._log.info(f"{dict(usb.seen)}")


@cocotb.test
async def a_host_that_stalls(dut: Any) -> None:
    """What is not asked for fills the device, which holds back what comes; nothing of it is lost."""
    usb = await open_usb(dut)
    await usb.enumerate()
    size = usb.line.packet_bytes
    packets = [random.randbytes(size) for _ in range(12)]
    taken = 0
    while await usb.try_out(packets[taken]):
        taken += 1
    assert 3 <= taken <= 6
    for _ in range(4):
        await usb.idle(usb.line.frame_ns)
        assert not await usb.try_out(packets[taken])
    assert usb.seen["nak out"] + usb.seen["ping"] >= 5
    got = b""
    while len(got) < size * len(packets):
        got += await usb.try_in() or b""
        if taken < len(packets) and await usb.try_out(packets[taken]):
            taken += 1
    assert got == b"".join(packets)


@cocotb.test
async def unplugged_and_plugged_in_again(dut: Any) -> None:
    """Nothing is left of the session before: toggles, buffers, address."""
    usb = await open_usb(dut)
    for count in range(3):
        await usb.enumerate()
        await exchange(usb, transfers(usb, 3))
        # Both toggles stand anywhere, and both buffers hold something.
        for _ in range(count):
            assert await usb.try_out(random.randbytes(8))
        assert count < 2 or await usb.try_in() is not None
        await usb.line.unplug()
    await usb.enumerate()
    await exchange(usb, transfers(usb, 2))


@cocotb.test
async def configured_and_cleared(dut: Any) -> None:
    """Setting the configuration, or clearing a halt, begins both toggles anew."""
    usb = await open_usb(dut)
    await usb.enumerate()
    await exchange(usb, [random.randbytes(8)])
    await usb.configure()
    await exchange(usb, [random.randbytes(8), random.randbytes(8)])
    assert await usb.try_out(random.randbytes(8))
    await usb.configure()
    await exchange(usb, [random.randbytes(8)])
    await usb.clear_halt()
    await exchange(usb, transfers(usb, 2))
