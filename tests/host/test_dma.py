# SPDX-License-Identifier: Apache-2.0
"""PCIe without a board: the DMA driver's devices are pipes, and behind them is the twin, or one that misbehaves."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from frenn.firmware.compiler import compile_network
from frenn.firmware.errors import FrennError, LinkError
from frenn.firmware.network import Network
from frenn.firmware.parameters import EngineParameters
from frenn.firmware.protocol import ANSWER, Status
from frenn.firmware.transfer import LAST, MARK, OPENING, TransferDecoder, join, opening, pieces
from frenn.host import dma, transfer_link
from frenn.host.cli import main
from frenn.host.dma import DmaAddress, DmaLink
from frenn.host.driver import Driver
from frenn.host.exchange import SAMPLES
from frenn.host.serve import join_files
from frenn.sim.twin import TransferTwin, open_twin

DIGITS = Path(__file__).parents[2] / "examples" / "digits.toml"
FRENN = Path(sys.executable).with_name("frenn")

NETWORK = Network.chain([7, 5, 4, 3], name="little", seed=9)
PARAMETERS = EngineParameters.for_network(NETWORK, 4)


def test_transfers_in_any_portions(rng: np.random.Generator) -> None:
    packets = [rng.integers(0, 1 << 32, rng.integers(1, 40), dtype=np.uint32) for _ in range(50)]
    data = join(packets)
    assert len(data) == 4 * sum(len(packet) + 1 for packet in packets)
    decoder, got, place = TransferDecoder(), [], 0
    while place < len(data):
        size = int(rng.integers(1, 90))
        got += decoder.feed(data[place : place + size])
        place += size
    assert [packet.tolist() for packet in got] == [packet.tolist() for packet in packets]


def test_pieces_of_long_packets() -> None:
    packet = np.arange(10, dtype=np.uint32)
    parts = list(pieces(packet, 4))
    assert [int(part[0]) for part in parts] == [4 | MARK << 16, 4 | MARK << 16, 2 | MARK << 16 | LAST]
    assert TransferDecoder().feed(b"".join(part.astype("<u4").tobytes() for part in parts))[0].tolist() == packet.tolist()
    assert len(TransferDecoder().feed(join([np.zeros(70_000, dtype=np.uint32)]))[0]) == 70_000


@pytest.mark.parametrize("head", [0, MARK << 16 | LAST, 3 | LAST, 0xFFFFFFFF])
def test_what_is_no_transfer(head: int) -> None:
    with pytest.raises(LinkError, match=rf"is no transfer of a frenn device \(word {head:#010x}\)"):
        TransferDecoder().feed(head.to_bytes(4, "little") + bytes(8))


def test_openings_are_known() -> None:
    openings = [join(opening()[0]) for _ in range(50)]
    assert all(OPENING.fullmatch(data) for data in openings)
    assert len(set(openings)) == 50
    found = OPENING.search(bytes(7) + openings[0])
    assert found is not None and found.start() == 7


def test_address() -> None:
    address = DmaAddress.parse("pcie:/dev/xdma0")
    assert str(address) == "pcie:/dev/xdma0"
    assert (str(address.to_device), str(address.from_device)) == ("/dev/xdma0_h2c_0", "/dev/xdma0_c2h_0")
    with pytest.raises(FrennError, match="names no DMA device; name one, as in --on pcie:/dev/xdma0"):
        DmaAddress.parse("pcie:")


class Pipes:
    """A pair of pipes whose other ends a test holds."""

    def __init__(self, folder: Path) -> None:
        self.address = DmaAddress(str(folder / "xdma0"))
        os.mkfifo(self.address.to_device)
        os.mkfifo(self.address.from_device)
        self.inward = os.open(self.address.to_device, os.O_RDWR)
        self.outward = os.open(self.address.from_device, os.O_RDWR)
        self.open = True
        self.requests: list[int] = []

    def close(self) -> None:
        if self.open:
            os.close(self.inward)
            os.close(self.outward)
            self.open = False

    def answer_opening(self, before: bytes = b"") -> list[np.ndarray]:
        """Answer what opens a session, as a device does."""
        decoder, packets = TransferDecoder(), []
        while len(packets) < 4:
            packets += decoder.feed(os.read(self.inward, 4096))
        os.write(self.outward, before)
        for packet in packets:
            head = int(packet[0])
            os.write(self.outward, join([np.array([head & 0xFFFF | ANSWER | Status.UNKNOWN_COMMAND << 16], dtype=np.uint32)]))
        return packets


@pytest.fixture
def pipes(tmp_path: Path) -> Iterator[Pipes]:
    pair = Pipes(tmp_path)
    yield pair
    pair.close()


def opened(pipes: Pipes, before: bytes = b"") -> DmaLink:
    thread = threading.Thread(target=pipes.answer_opening, args=(before,))
    thread.start()
    link = DmaLink(pipes.address)
    thread.join()
    return link


def test_what_an_earlier_program_left_is_passed_over(pipes: Pipes) -> None:
    packet = np.array([1, 2, 3], dtype=np.uint32)
    link = opened(pipes, before=join([packet, packet])[7:])
    os.write(pipes.outward, join([packet, packet]))
    link.send(packet)
    assert link.receive(5.0).tolist() == [1, 2, 3]
    link.close()
    link.close()
    with pytest.raises(LinkError, match="the line is closed"):
        link.send(packet)


def test_a_device_that_is_full_is_drained_first(pipes: Pipes) -> None:
    """A device that takes nothing before its old answers are read, as one whose host died."""
    os.set_blocking(pipes.inward, False)
    os.set_blocking(pipes.outward, False)
    for file in (pipes.inward, pipes.outward):
        with pytest.raises(BlockingIOError):
            while True:
                os.write(file, bytes(4096))

    def drain() -> None:
        # Old answers leave only when they are read.
        while True:
            try:
                os.write(pipes.outward, bytes(4096))
                break
            except BlockingIOError:
                time.sleep(0.001)
        decoder = TransferDecoder()
        os.set_blocking(pipes.inward, True)
        content = b""
        while not (found := OPENING.search(content)):
            content += os.read(pipes.inward, 1 << 16)
        heads = [int(packet[0]) for packet in decoder.feed(content[found.start() :])]
        answers = [np.array([head & 0xFFFF | ANSWER | Status.UNKNOWN_COMMAND << 16], dtype=np.uint32) for head in heads]
        os.set_blocking(pipes.outward, True)
        os.write(pipes.outward, join(answers))

    thread = threading.Thread(target=drain)
    thread.start()
    link = DmaLink(pipes.address)
    thread.join()
    link.close()


def test_several_packets_go_in_one_write(pipes: Pipes) -> None:
    link = opened(pipes)
    packets = [np.full(50, number, dtype=np.uint32) for number in range(64)]
    for packet in packets:
        link.send(packet)
    with pytest.raises(LinkError, match="has sent nothing for"):
        link.receive(0.05)
    assert link.statistics.packets_sent == 64
    # Each half as many as are under way: few, and the first at once. The opening is one more.
    assert link.statistics.writes <= 12
    decoder, got = TransferDecoder(), []
    while len(got) < 64:
        got += decoder.feed(os.read(pipes.inward, 1 << 16))
    assert all((mine == other).all() for mine, other in zip(got, packets, strict=True))
    for packet in got:
        os.write(pipes.outward, join([packet[:1]]))
    assert [int(link.receive(5.0)[0]) for _ in got] == list(range(64))
    link.close()


def test_transfers_are_not_longer_than_they_may_be(pipes: Pipes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_link, "WRITE_BYTES", 1000)
    written: list[int] = []
    link = opened(pipes)
    write = link._write
    monkeypatch.setattr(link, "_write", lambda data: (written.append(len(data)), write(data)))
    for _ in range(60):
        link.send(np.zeros(40, dtype=np.uint32))
    link.send(np.zeros(400, dtype=np.uint32))
    link._flush()
    assert sum(written) == 60 * 164 + 1604 and max(written) == 1604 and sorted(written)[-2] <= 1000
    link.close()


def test_silence_and_noise(pipes: Pipes) -> None:
    with pytest.raises(LinkError, match=r"has not answered in 0\.05 s: nothing came; check that a frenn bitstream is loaded"):
        DmaLink(pipes.address, open_seconds=0.05)
    # What the pipe still holds is not this session's.
    os.write(pipes.outward, bytes(100))
    with pytest.raises(LinkError, match="bytes came, but not its answer"):
        DmaLink(pipes.address, open_seconds=0.2)


def test_garbage_in_a_session(pipes: Pipes) -> None:
    link = opened(pipes)
    link.send(np.array([1], dtype=np.uint32))
    os.write(pipes.outward, b"login: ")
    with pytest.raises(LinkError, match="is no transfer of a frenn device"):
        link.receive(5.0)
    link.close()


def test_a_device_that_vanishes(pipes: Pipes) -> None:
    link = opened(pipes)
    packet = np.array([1], dtype=np.uint32)
    link.send(packet)
    pipes.close()
    with pytest.raises(LinkError, match=r"DMA device .*xdma0 is gone \(Broken pipe\); load the bitstream, then the driver again"):
        link.receive(5.0)
    with pytest.raises(LinkError, match="is gone"):
        link.send(packet)
    link.close()


def test_a_driver_that_gives_up_reading_for_a_while(pipes: Pipes, monkeypatch: pytest.MonkeyPatch) -> None:
    link = opened(pipes)
    assert link._gone(OSError(512, "Unknown error 512")).args[0].endswith("takes nothing; load the bitstream, then the driver again")
    link.close()


def test_a_device_has_one_user(pipes: Pipes) -> None:
    link = opened(pipes)
    with pytest.raises(LinkError, match=rf"DMA device .*xdma0 is in use by process {os.getpid()} on "):
        DmaLink(pipes.address)
    link.close()


def test_devices_that_are_none(tmp_path: Path) -> None:
    address = DmaAddress(str(tmp_path / "xdma0"))
    with pytest.raises(
        LinkError, match=r"there is no DMA device .*xdma0 \(.*xdma0_h2c_0 is missing\); load its driver \(sudo modprobe xdma\)"
    ):
        DmaLink(address)
    address.to_device.touch()
    with pytest.raises(LinkError, match="xdma0_h2c_0 is no DMA device; name one"):
        DmaLink(address)
    address.to_device.unlink()
    os.mkfifo(address.to_device)
    with pytest.raises(LinkError, match="is not there any more; load the bitstream, then the driver again"):
        DmaLink(address)
    reader = os.open(address.to_device, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(LinkError, match=r"xdma0_c2h_0 is missing"):
        DmaLink(address)
    os.close(reader)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (errno.EACCES, "no permission for .*chmod a\\+rw"),
        (errno.EBUSY, "is busy; close the other program"),
        (errno.EIO, "cannot be opened"),
    ],
)
def test_devices_that_cannot_be_opened(pipes: Pipes, monkeypatch: pytest.MonkeyPatch, code: int, told: str) -> None:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(dma.os, "open", fail)
    monkeypatch.setattr(dma, "Lock", lambda *_: None)
    with pytest.raises(LinkError, match=told):
        DmaLink(pipes.address)


def test_one_line_for_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["info", "--on"], ["selftest", "--on"], ["train", str(DIGITS), "--on"]):
        assert main([*command, f"pcie:{tmp_path}/xdma0"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("frenn: error: there is no DMA device ") and error.count("\n") == 1


# The twin behind pipes.


@pytest.fixture
def board(tmp_path: Path) -> Iterator[DmaAddress]:
    twin = open_twin(PARAMETERS, link="transfers")
    assert isinstance(twin, TransferTwin)
    ready, end = threading.Event(), threading.Event()
    address = DmaAddress(str(tmp_path / "xdma0"))
    thread = threading.Thread(target=join_files, args=(twin, address, lambda _: ready.set(), end.is_set))
    thread.start()
    ready.wait()
    yield address
    end.set()
    thread.join()


def test_the_twin_trains_to_goldens_bits(board: DmaAddress, equals_golden) -> None:
    link = DmaLink(board)
    with Driver(link, compile_network(NETWORK, PARAMETERS), window=128) as driver:
        equals_golden(driver, NETWORK, 200)
    moved = link.statistics
    assert moved.packets_sent == moved.packets_received > 2 * 200 // SAMPLES


def test_a_torn_session_and_the_next(board: DmaAddress) -> None:
    """A program that dies in the middle of a transfer, with answers not read, leaves nothing behind."""
    file = os.open(board.to_device, os.O_WRONLY)
    os.write(
        file,
        join([np.array([1, 2], dtype=np.uint32), *[np.array([1 | 5 << 8], dtype=np.uint32)] * 5, np.arange(90, dtype=np.uint32)])[:-50],
    )
    os.close(file)
    for _ in range(2):
        with Driver(DmaLink(board), compile_network(NETWORK, PARAMETERS)) as driver:
            driver.load(NETWORK.initial_weights())
            for got, expected in zip(driver.weights(), NETWORK.initial_weights(), strict=True):
                np.testing.assert_array_equal(got, expected)


def test_info_and_selftest(board: DmaAddress, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--on", str(board)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"device on {board}: frenn protocol ") and "that of this frenn\n" in text
    assert "    trained 0\n" in text


@pytest.fixture
def served() -> Iterator[str]:
    """The address of a twin that ``frenn serve`` runs."""
    command = [FRENN, "serve", "--link", "transfers", "--engine", "small"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[4].rstrip(";")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_digits_over_pcie(served: str, tmp_path: Path) -> None:
    """All digits once, and the same run on golden."""
    device, golden = tmp_path / "device", tmp_path / "golden"
    for target, out in ((served, device), ("golden", golden)):
        assert main(["train", str(DIGITS), "--on", target, "--out", str(out), "--epochs", "1"]) == 0
    assert (device / "weights.safetensors").read_bytes() == (golden / "weights.safetensors").read_bytes()
