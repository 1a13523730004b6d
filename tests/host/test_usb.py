# SPDX-License-Identifier: Apache-2.0
"""The USB's host end without a board: libusb is a model, and behind it is the twin, or a board that misbehaves."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import usb1
from frenn.firmware.compiler import compile_network
from frenn.firmware.errors import FrennError, LinkError
from frenn.firmware.network import Network
from frenn.firmware.parameters import EngineParameters
from frenn.firmware.transfer import join
from frenn.firmware.usb import ENDPOINT, MANUFACTURER, PRODUCT, VENDOR
from frenn.host import usb
from frenn.host.cli import main
from frenn.host.driver import Driver
from frenn.host.exchange import SAMPLES
from frenn.host.usb import TRANSFERS, UsbLink
from frenn.host.usb_boards import UsbAddress, find_boards, open_library, rules
from frenn.rtl_gen.identity import gateware_identity
from frenn.sim.twin import TransferTwin, open_twin

NETWORK = Network.chain([7, 5, 4, 3], name="little", seed=9)
PARAMETERS = EngineParameters.for_network(NETWORK, 4)


class Wire:
    """What is behind a board's endpoints: it takes nothing and gives nothing."""

    def take(self, data: bytes) -> bool:
        """Whether a transfer from the host found room."""
        return False

    def give(self) -> bytes:
        """What the board has for the host, of at most one transfer."""
        return b""


class TwinWire(Wire):
    """The twin behind the endpoints."""

    def __init__(self, twin: TransferTwin) -> None:
        self.twin = twin

    def take(self, data: bytes) -> bool:
        self.twin.write(data)
        if len(data) % 512:
            self.twin.end()
        return True

    def give(self) -> bytes:
        return self.twin.read()


class Transfer:
    """A transfer of libusb, asynchronous."""

    def __init__(self, board: "Board") -> None:
        self.board = board
        self.status = usb1.TRANSFER_COMPLETED
        self.cancelled = False

    def setBulk(self, endpoint: int, buffer: bytes | int, *, callback: Callable[[Any], None], timeout: int) -> None:
        assert self not in self.board.flying
        self.endpoint, self.callback = endpoint, callback
        self.data = buffer if isinstance(buffer, bytes) else bytes(buffer)

    def submit(self) -> None:
        if self.board.unplugged:
            raise usb1.USBErrorNoDevice
        self.cancelled = False
        self.board.flying.append(self)
        way = sum(other.endpoint == self.endpoint for other in list(self.board.flying))
        self.board.most[self.endpoint] = max(self.board.most.get(self.endpoint, 0), way)

    def cancel(self) -> None:
        if self not in self.board.flying:
            raise usb1.USBErrorNotFound
        self.cancelled = True

    def getStatus(self) -> int:
        return self.status

    def getBuffer(self) -> memoryview:
        return memoryview(self.data)

    def getActualLength(self) -> int:
        return len(self.data)


class Board:
    """A device on the bus, and the handle of whoever opened it."""

    def __init__(self, wire: Wire, serial: str = "7", *, place: tuple[int, int] = (1, 2), maker: str = MANUFACTURER) -> None:
        self.wire = wire
        self.strings = (maker, "ulx3s-85f", serial, f"build {gateware_identity():016x}")
        self.place = place
        self.speed, self.packet = usb1.SPEED_HIGH, 512
        self.denied: type[usb1.USBError] | None = None
        self.claimed: type[usb1.USBError] | None = None
        self.flying: deque[Transfer] = deque()
        self.most: dict[int, int] = {}
        self.unplugged = False

    def getVendorID(self) -> int:
        return VENDOR

    def getProductID(self) -> int:
        return PRODUCT

    def getBusNumber(self) -> int:
        return self.place[0]

    def getDeviceAddress(self) -> int:
        return self.place[1]

    def getPortNumberList(self) -> list[int]:
        return [self.place[1], 4]

    def getManufacturer(self) -> str:
        return self.strings[0]

    def getProduct(self) -> str:
        return self.strings[1]

    def getSerialNumber(self) -> str:
        return self.strings[2]

    def getASCIIStringDescriptor(self, index: int) -> str:
        return self.strings[index]

    def iterSettings(self) -> Iterator[Any]:
        yield SimpleNamespace(getDescriptor=lambda: 3)

    def getDeviceSpeed(self) -> int:
        return self.speed

    def getMaxPacketSize(self, endpoint: int) -> int:
        assert endpoint == ENDPOINT
        return self.packet

    def open(self) -> "Board":
        if self.denied:
            raise self.denied
        return self

    def claimInterface(self, number: int) -> None:
        if self.claimed:
            raise self.claimed

    def releaseInterface(self, number: int) -> None:
        assert not self.flying, "libusb wants its transfers back first"

    def close(self) -> None:
        pass

    def getTransfer(self) -> Transfer:
        return Transfer(self)

    def handle(self) -> None:
        """Complete what can be: in the thread of events, in order each way."""
        # Others may be submitted meanwhile.
        flying = list(self.flying)
        for transfer in [transfer for transfer in flying if transfer.cancelled or self.unplugged]:
            self._end(transfer, usb1.TRANSFER_NO_DEVICE if self.unplugged else usb1.TRANSFER_CANCELLED)
        outward = next((transfer for transfer in flying if transfer.endpoint == ENDPOINT and transfer in self.flying), None)
        if outward is not None and self.wire.take(outward.data):
            self._end(outward, usb1.TRANSFER_COMPLETED)
        inward = next((transfer for transfer in flying if transfer.endpoint != ENDPOINT and transfer in self.flying), None)
        if inward is not None and (data := self.wire.give()):
            inward.data = data
            self._end(inward, usb1.TRANSFER_COMPLETED)

    def _end(self, transfer: Transfer, status: int) -> None:
        self.flying.remove(transfer)
        transfer.status = status
        transfer.callback(transfer)


class Context:
    """What libusb knows."""

    def __init__(self, *boards: Board) -> None:
        self.boards = boards
        self.open = True

    def getDeviceIterator(self, skip_on_error: bool) -> Iterator[Board]:
        assert self.open and skip_on_error
        yield from self.boards

    def handleEventsTimeout(self, seconds: float) -> None:
        for board in self.boards:
            board.handle()

    def close(self) -> None:
        self.open = False


@pytest.fixture(scope="module")
def twin() -> Iterator[TransferTwin]:
    twin = open_twin(PARAMETERS, link="transfers")
    assert isinstance(twin, TransferTwin)
    yield twin
    twin.close()


def test_the_twin_trains_to_goldens_bits(twin: TransferTwin, equals_golden) -> None:
    board = Board(TwinWire(twin))
    link = UsbLink(UsbAddress(), context=Context(board))
    with Driver(link, compile_network(NETWORK, PARAMETERS), window=128) as driver:
        equals_golden(driver, NETWORK, 200)
    moved = link.statistics
    assert moved.packets_sent == moved.packets_received > 2 * 200 // SAMPLES
    assert board.most == {ENDPOINT: board.most[ENDPOINT], 0x80 | ENDPOINT: TRANSFERS} and 2 <= board.most[ENDPOINT] <= TRANSFERS
    assert not board.flying


def test_a_torn_session_and_the_next(twin: TransferTwin) -> None:
    """A program that dies in the middle of a transfer, with answers not read, leaves nothing behind."""
    twin.write(join([np.array([1], dtype=np.uint32), np.arange(90, dtype=np.uint32)])[:-48])
    for _ in range(2):
        with Driver(UsbLink(UsbAddress("7"), context=Context(Board(TwinWire(twin)))), compile_network(NETWORK, PARAMETERS)) as driver:
            driver.load(NETWORK.initial_weights())
            for got, expected in zip(driver.weights(), NETWORK.initial_weights(), strict=True):
                np.testing.assert_array_equal(got, expected)


def test_info(twin: TransferTwin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(usb, "open_library", lambda: Context(Board(TwinWire(twin)), Board(Wire(), "8", place=(1, 3))))
    assert main(["info", "--on", "usb:7"]) == 0
    assert capsys.readouterr().out.startswith("device on usb:7: frenn protocol ")
    for on, told in (
        (
            "usb",
            "2 boards are on the USB: USB board 7 (ulx3s-85f at 1-2.4), USB board 8 (ulx3s-85f at 1-3.4); choose one, as in --on usb:7",
        ),
        ("usb:9", "there is no board 9 with a frenn bitstream on the USB; there is USB board 7 "),
        ("usb:", "'usb:' has no serial number; name one, as in --on usb:1"),
    ):
        assert main(["info", "--on", on]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"frenn: error: {told}") and error.count("\n") == 1


def test_others_are_passed_over() -> None:
    silent, gone = Board(Wire(), maker="others"), Board(Wire())
    gone.denied = usb1.USBErrorNoDevice
    old = Board(Wire(), "old")
    old.strings = (*old.strings[:3], "no build")
    (found,) = find_boards(Context(silent, gone, old, Board(Wire(), place=(3, 1))))
    assert found.name == "USB board 7 (ulx3s-85f at 3-1.4)" and found.path == Path("/dev/bus/usb/003/001")
    with pytest.raises(LinkError, match="there is no board with a frenn bitstream on the USB; plug it in at the FPGA's own USB port"):
        UsbLink(UsbAddress(), context=Context(silent))


def test_a_board_that_may_not_be_used() -> None:
    board = Board(Wire())
    board.denied = usb1.USBErrorAccess
    with pytest.raises(
        LinkError,
        match=r"no permission for the USB board at 1-2\.4 .*; let users use boards: sudo cp (\S+) /etc/udev/rules\.d/ && sudo udevadm",
    ):
        UsbLink(UsbAddress(), context=Context(board))
    text = Path(rules()).read_text()
    for told in (f'ATTR{{idVendor}}=="{VENDOR:04x}"', f'ATTR{{idProduct}}=="{PRODUCT:04x}"', f'ATTR{{manufacturer}}=="{MANUFACTURER}"'):
        assert told in text


def test_boards_that_cannot_be_told_apart_or_used() -> None:
    with pytest.raises(LinkError, match=r"2 boards have the serial number 7: .*; unplug one, or build it with another --serial"):
        UsbLink(UsbAddress("7"), context=Context(Board(Wire()), Board(Wire(), place=(1, 5))))
    slow, busy, broken = Board(Wire()), Board(Wire()), Board(Wire())
    slow.speed = usb1.SPEED_FULL
    busy.claimed, broken.claimed = usb1.USBErrorBusy, usb1.USBErrorIO
    for board, told in (
        (slow, "is one of high speed on a line of full speed"),
        (busy, "is busy; close the other"),
        (broken, "cannot be opened"),
    ):
        with pytest.raises(LinkError, match=rf"USB board 7 \(ulx3s-85f at 1-2\.4\) {told}"):
            UsbLink(UsbAddress(), context=Context(board))


def test_a_board_has_one_user(twin: TransferTwin) -> None:
    link = UsbLink(UsbAddress(), context=Context(board := Board(TwinWire(twin))))
    with pytest.raises(LinkError, match=rf"USB board 7 .* is in use by process {os.getpid()} on "):
        UsbLink(UsbAddress(), context=Context(board))
    link.close()
    link.close()
    with pytest.raises(LinkError, match="the line is closed"):
        link.send(np.array([1], dtype=np.uint32))


def test_a_board_that_is_unplugged(twin: TransferTwin) -> None:
    board = Board(TwinWire(twin))
    link = UsbLink(UsbAddress(), context=Context(board))
    board.wire = Wire()
    link.send(np.array([1], dtype=np.uint32))
    board.unplugged = True
    with pytest.raises(LinkError, match=r"USB board 7 .* is gone; plug it in again, then load the bitstream"):
        link.receive(5.0)
    with pytest.raises(LinkError, match="is gone"):
        link.send(np.array([1], dtype=np.uint32))
    link.close()


def test_silence_noise_and_a_board_that_takes_nothing(twin: TransferTwin, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LinkError, match=r"USB board 7 .* has not answered in 0\.05 s: nothing came; check that a frenn bitstream"):
        UsbLink(UsbAddress(), context=Context(Board(Wire())), open_seconds=0.05)
    board = Board(TwinWire(twin))
    link = UsbLink(UsbAddress(), context=Context(board))
    board.wire = Wire()
    monkeypatch.setattr(usb, "WRITE_SECONDS", 0.05)
    with pytest.raises(LinkError, match=r"has taken nothing for 0\.05 s; plug it in again"):
        for _ in range(TRANSFERS + 1):
            link._write(bytes(4))
    link.close()
    board.wire = TwinWire(twin)
    link = UsbLink(UsbAddress(), context=Context(board))
    monkeypatch.setattr(board.wire, "give", lambda: b"login: ")
    with pytest.raises(LinkError, match="is no transfer of a frenn device"):
        link.receive(5.0)
    link.close()


def test_libusb_is_there() -> None:
    """Its own library, on a computer that may have no USB."""
    try:
        context = open_library()
    except FrennError as error:
        assert "this computer's USB cannot be used" in str(error)
    else:
        find_boards(context)
        context.close()
