# SPDX-License-Identifier: Apache-2.0
"""Serial ports: which is opened, what goes wrong, and training through a pseudo-terminal as a user would."""

import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from frenn.firmware.compiler import compile_network
from frenn.firmware.counters import LINE
from frenn.firmware.errors import FrennError, LinkError
from frenn.firmware.network import Network
from frenn.firmware.parameters import EngineParameters
from frenn.firmware.protocol import WRONG, Register
from frenn.host import device_report, selftest, targets
from frenn.host import serial as serial_module
from frenn.host.cli import main
from frenn.host.driver import Driver
from frenn.host.exchange import Exchange, write_register
from frenn.host.link import ByteLink
from frenn.host.run import load_run, load_weights
from frenn.host.serial import SerialAddress, SerialPort, find_port, find_ports, open_link
from frenn.host.serve import join
from frenn.sim.twin import ByteTwin, open_twin

DIGITS = Path(__file__).parents[2] / "examples" / "digits.toml"
FRENN = Path(sys.executable).with_name("frenn")


@pytest.fixture
def pair() -> Iterator[tuple[int, str]]:
    """A pseudo-terminal: the end that stands for the board, and the path of the other."""
    master, slave = os.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    os.close(slave)
    yield master, path
    os.close(master)


def usb(device: str, vid: int | None, pid: int | None, location: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(device=device, vid=vid, pid=pid, location=location, product="a product")


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the serial ports that this computer has."""

    def plug(*ports: SimpleNamespace) -> None:
        monkeypatch.setattr(serial_module.list_ports, "comports", lambda: list(ports))

    plug()
    return plug


@pytest.mark.parametrize(
    ("text", "path", "baud"),
    [
        ("/dev/ttyUSB0", "/dev/ttyUSB0", None),
        ("/dev/ttyUSB0:115200", "/dev/ttyUSB0", 115_200),
        ("/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0", "/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0", None),
        ("/dev/a:1:3000000", "/dev/a:1", 3_000_000),
    ],
)
def test_address(text: str, path: str, baud: int | None) -> None:
    address = SerialAddress.parse(text)
    assert address == SerialAddress(path, baud) and str(address) == text


def test_address_of_a_file_with_a_colon(tmp_path: Path) -> None:
    (tmp_path / "port:7").touch()
    assert SerialAddress.parse(str(tmp_path / "port:7")).baud is None


@pytest.mark.parametrize("baud", ["0", "12000001"])
def test_address_with_an_illegal_rate(baud: str) -> None:
    with pytest.raises(FrennError, match=f"{baud} baud; legal are 1 to 12000000"):
        SerialAddress.parse(f"/dev/ttyUSB0:{baud}")


def test_the_board_among_other_ports(plugged) -> None:
    plugged(usb("/dev/ttyS0", None, None), usb("/dev/ttyACM0", 0x2341, 0x43), usb("/dev/ttyUSB0", 0x0403, 0x6015, "1-2:1.0"))
    assert find_port() == "/dev/ttyUSB0"


def test_the_serial_half_of_a_chip_with_two_ports(plugged) -> None:
    plugged(usb("/dev/ttyUSB0", 0x0403, 0x6010, "1-2:1.0"), usb("/dev/ttyUSB1", 0x0403, 0x6010, "1-2:1.1"))
    assert find_port() == "/dev/ttyUSB1"
    # Where the system does not say which half is which, the user must.
    plugged(usb("/dev/cu.usb0", 0x0403, 0x6010), usb("/dev/cu.usb1", 0x0403, 0x6010))
    assert len(find_ports()) == 2


def test_no_board_and_too_many(plugged) -> None:
    with pytest.raises(FrennError, match=r"no serial port has the USB identity of a board; plug the board in"):
        find_port()
    plugged(usb("/dev/ttyS0", None, None))
    with pytest.raises(FrennError, match=r"other ports are /dev/ttyS0; plug"):
        find_port()
    plugged(usb("/dev/ttyUSB1", 0x0403, 0x6015), usb("/dev/ttyUSB0", 0x0403, 0x6015))
    with pytest.raises(FrennError, match=r"2 serial ports may be boards: /dev/ttyUSB0 \(.*ULX3S.*\), /dev/ttyUSB1 .*choose one with --on"):
        find_port()


def test_ports_that_are_none(tmp_path: Path, plugged) -> None:
    with pytest.raises(LinkError, match=r"there is no serial port .*nowhere; plug the board in, or name"):
        SerialPort(SerialAddress(str(tmp_path / "nowhere"), 115_200))
    plugged(usb("/dev/ttyUSB7", 0x0403, 0x6015))
    with pytest.raises(LinkError, match=r"or use /dev/ttyUSB7"):
        SerialPort(SerialAddress(str(tmp_path / "nowhere"), 115_200))
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file", Path("/dev/null")):
        with pytest.raises(LinkError, match="is no serial port; name one"):
            SerialPort(SerialAddress(str(path), 115_200))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (serial_module.serial.SerialException(errno.EACCES, "denied"), "no permission for .*dialout"),
        (serial_module.serial.SerialException(errno.EBUSY, "busy"), "is busy; close the other program"),
        (ValueError("Failed to set custom baud rate (7)"), "cannot do 7 baud .*:115200"),
        (serial_module.serial.SerialException(errno.EIO, "what"), "cannot be opened: what"),
    ],
)
def test_ports_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(serial_module.serial, "Serial", fail)
    with pytest.raises(LinkError, match=message):
        SerialPort(SerialAddress("/dev/ttyUSB0", 7))


def test_a_port_has_one_user(pair) -> None:
    address = SerialAddress(pair[1], 115_200)
    first = SerialPort(address)
    with pytest.raises(LinkError, match=rf"{pair[1]} is in use by process {os.getpid()} on "):
        SerialPort(address)
    first.close()
    first.close()
    SerialPort(address).close()


@pytest.mark.parametrize("verb", ["train", "info", "selftest"])
def test_the_second_host_is_told_who_holds_the_board(pair, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    """Another program has the board: no verb takes a byte from it, and a run leaves no folder."""
    held = SerialPort(SerialAddress(pair[1], 115_200))
    network = [str(DIGITS), "--out", str(tmp_path / "run"), "--lanes", "4"] if verb == "train" else []
    assert main([verb, *network, "--on", pair[1]]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"frenn: error: serial port {pair[1]} is in use by process {os.getpid()} on ") and told.count("\n") == 1
    assert not (tmp_path / "run").exists()
    held.close()


def test_bytes_pass_unchanged(pair, rng: np.random.Generator) -> None:
    master, path = pair
    port = SerialPort(SerialAddress(path, 3_000_000))
    assert port.read(10) == b""
    content = bytes(range(256)) + rng.bytes(700)
    assert port.write(content) == len(content)
    assert os.read(master, 2000) == content
    os.write(master, content)
    received = port.read(100)
    assert len(received) == 100
    while len(received) < len(content):
        received += port.read(2000)
    assert received == content
    port.close()


def test_a_full_line_does_not_block(pair) -> None:
    port = SerialPort(SerialAddress(pair[1], 115_200))
    block = bytes(4096)
    taken = 0
    for _ in range(1000):
        count = port.write(block)
        taken += count
        if count == 0:
            break
    assert count == 0 and taken > 0
    port.close()


def test_a_port_that_vanishes() -> None:
    master, slave = os.openpty()
    path = os.ttyname(slave)
    os.close(slave)
    port = SerialPort(SerialAddress(path, 115_200))
    os.close(master)
    for action in (lambda: port.read(1), lambda: port.write(b"x")):
        with pytest.raises(OSError, match=rf"serial port {path} is gone"):
            action()
    port.close()


def test_silence_names_port_and_rates(pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_module, "BAUDS", (2_000_000, 115_200))
    with pytest.raises(LinkError, match=rf"serial port {pair[1]} at 2000000, 115200 baud: the device opened no session in 1 s: no byte"):
        open_link(SerialAddress(pair[1]))


# The twin behind a pseudo-terminal.

NETWORK = Network.chain([7, 5, 4, 3], name="little", seed=9)
PARAMETERS = EngineParameters.for_network(NETWORK, 4)


@pytest.fixture
def board(request: pytest.FixtureRequest) -> Iterator[tuple[str, ByteTwin]]:
    """A small twin on a pseudo-terminal, by bytes or by the pins: its path."""
    twin = open_twin(PARAMETERS, link=request.param)
    assert isinstance(twin, ByteTwin)
    dropped: list[int] = []
    twin.close, close = lambda: dropped.append(twin.dropped) or close(), twin.close  # type: ignore[method-assign]
    told: list[str] = []
    ready, end = threading.Event(), threading.Event()
    thread = threading.Thread(target=join, args=(twin, lambda path: (told.append(path), ready.set()), end.is_set))
    thread.start()
    ready.wait()
    yield told[0], twin
    end.set()
    thread.join()
    # Whatever the host did, the receiver has lost no character and seen no bad one.
    assert dropped == [0]


@pytest.mark.parametrize("board", ["bytes", "uart"], indirect=True)
def test_the_pins_of_the_twin_train_to_goldens_bits(board, equals_golden) -> None:
    link, address = open_link(SerialAddress(board[0]))
    assert address.baud == serial_module.BAUDS[0]
    # A window of requests that are more than the line, the credit and the receive buffer hold.
    with Driver(link, compile_network(NETWORK, PARAMETERS), window=128) as driver:
        equals_golden(driver, NETWORK, 24)
    assert link.statistics.bad == 0


@pytest.mark.parametrize("board", ["uart"], indirect=True)
def test_info_and_selftest_on_a_port(board, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--on", board[0]]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"device on {board[0]}:3000000: frenn protocol ") and "that of this frenn\n" in text
    for name, value in PARAMETERS.to_dict().items():
        assert f"    {name} {value}\n" in text
    assert "    trained 0\n" in text and "    bad 0\n" in text
    assert "    framing_errors 0\n    overruns 0\n" in text


def test_what_the_line_drops_is_counted() -> None:
    twin = open_twin(PARAMETERS, link="uart")
    assert isinstance(twin, ByteTwin)
    exchange = Exchange(ByteLink(twin))
    assert [exchange.counters()[name] for name in LINE] == [0, 0]
    # An acknowledgement may still be on the line, which takes as long as it takes.
    twin.read(64, 50_000)
    for byte in (0x00, 0x7E, 0xA5):
        twin.write_broken(byte)
        # The line rises before the next character.
        twin.read(64, 2000)
    assert twin.dropped == 3
    assert [exchange.counters()[name] for name in LINE] == [3, 0]
    exchange.write([write_register(Register.CLEAR, 1)])
    assert [exchange.counters()[name] for name in LINE] == [0, 0]
    exchange.close()


def test_selftest_on_the_twin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "--on", "twin", "--link", "bytes"]) == 0
    out = capsys.readouterr().out
    assert [line.partition(":")[0] for line in out.splitlines()] == ["device on twin", "memory", "link", "training", "line", "passed"]
    assert "equal to golden in every bit" in out


@pytest.fixture
def modelled(monkeypatch: pytest.MonkeyPatch, make_device):
    """The twin replaced by a device that computes with golden and runs the self-test's network."""
    parameters = EngineParameters(lanes=4, weight_depth=512, neuron_depth=64, row_depth=32)
    device = make_device(selftest.example(parameters))
    monkeypatch.setattr(targets, "open_transport", lambda *_: device)
    monkeypatch.setattr(device_report, "open_transport", lambda *_: device)
    return device


@pytest.mark.parametrize("fault", ["memory", "training"])
def test_selftest_finds(modelled, capsys: pytest.CaptureFixture[str], fault: str) -> None:
    content = np.zeros((modelled.parameters.weight_depth, modelled.parameters.lanes), dtype=np.int64)
    execute = modelled.execute

    def spoiled(command, argument, body):
        status, answer = execute(command, argument, body)
        answer = np.array(answer, dtype=np.uint32)
        if command == 3 and argument == 1 and fault == "memory" and body[0] == 0:
            answer[3] ^= 4
        if command == 4 and fault == "training":
            answer ^= WRONG
        return status, answer

    # The model keeps the weights of its network alone; the self-test wants every address.
    def write(space, address, data, original=modelled.write):
        if space == 1:
            rows = data.view("<i2").reshape(-1, modelled.parameters.lanes)
            content[address : address + len(rows)] = rows
        return original(space, address, data)

    def read(space, address, count, original=modelled.read):
        if space == 1:
            return np.ascontiguousarray(content[address : address + count], dtype="<i2").view("<u4").reshape(-1)
        return original(space, address, count)

    modelled.execute, modelled.write, modelled.read = spoiled, write, read
    assert main(["selftest", "--on", "twin"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    expected = r"FAILED: random pattern in the weight memory: -?\d+ instead of -?\d+ at 1, 2; 1 differ"
    if fault == "training":
        expected = r"FAILED: errors of 64 training samples: .*; 64 differ"
    assert re.fullmatch(expected, last), last
    assert modelled.closed


def test_info_names_other_gateware(modelled, capsys: pytest.CaptureFixture[str]) -> None:
    modelled.hello = replace(modelled.hello, build=0x1234)
    assert main(["info", "--on", "twin"]) == 0
    assert "0000000000001234, not that of this frenn" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["info", "selftest"])
def test_golden_is_no_device(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--on", "golden"]) == 2
    assert "golden is no device" in capsys.readouterr().err


# The commands themselves, as a user starts them.


@pytest.fixture
def served() -> Iterator[str]:
    """The path of a twin that ``frenn serve`` runs."""
    command = [FRENN, "serve", "--link", "bytes", "--engine", "small"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[4].rstrip(";")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def wait_for_checkpoint(process: subprocess.Popen[str], run: Path) -> None:
    while not list(run.glob("checkpoints/*")):
        assert process.poll() is None
        time.sleep(0.05)


def train(port: str, out: Path, *more: str) -> list[str]:
    return ["train", str(DIGITS), "--on", port, "--out", str(out), *more]


def test_digits_through_a_port(served: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All digits once; then the run's accuracy on the device, and the same run on golden."""
    device, golden = tmp_path / "device", tmp_path / "golden"
    assert main(train(served, device, "--epochs", "1")) == 0
    assert main(train("golden", golden, "--epochs", "1")) == 0
    assert (device / "weights.safetensors").read_bytes() == (golden / "weights.safetensors").read_bytes()
    network, options = load_run(device)
    assert options["target"] == f"{served}:3000000" and options["samples"] == 1437
    assert len(load_weights(device / "weights.safetensors", network)) == 3
    capsys.readouterr()
    assert main(["eval", str(device), "--on", served]) == 0
    on_device = capsys.readouterr().out.partition(" on ")[0]
    assert main(["eval", str(device)]) == 0
    assert capsys.readouterr().out.startswith(on_device)


def test_interrupted_over_a_port_and_resumed(served: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--samples", "300", "--test-samples", "20", "--epochs", "2"]
    command = [FRENN, *train(served, out, *options, "--checkpoint-every", "64")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        wait_for_checkpoint(process, out)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in errors and "frenn: stopped; " in errors
    # The port is free again, and the device takes up the same run.
    assert main(["resume", str(out)]) == 0
    golden = tmp_path / "golden"
    assert main(train("golden", golden, *options)) == 0
    assert (out / "weights.safetensors").read_bytes() == (golden / "weights.safetensors").read_bytes()


def test_a_port_that_vanishes_in_a_run(tmp_path: Path) -> None:
    """One line that says so and that the run can be gone on with; no traceback."""
    command = [FRENN, "serve", "--link", "bytes", "--engine", "small"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().split()[4].rstrip(";")
        run = [FRENN, *train(port, tmp_path / "run", "--checkpoint-every", "64", "--samples", "400")]
        with subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            wait_for_checkpoint(process, tmp_path / "run")
            server.kill()
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert re.fullmatch(rf"frenn: error: .*serial port {port} is gone.*resume.*\n", errors), errors


def test_another_device_is_refused(pair, make_device, capsys: pytest.CaptureFixture[str]) -> None:
    """What answers garbage is told from what is silent."""
    master, path = pair
    stop = threading.Event()

    def babble() -> None:
        while not stop.wait(0.01):
            os.write(master, b"login: ")

    thread = threading.Thread(target=babble)
    thread.start()
    try:
        assert main(["info", "--on", f"{path}:115200"]) == 2
    finally:
        stop.set()
        thread.join()
    assert re.search(rf"serial port {path} at 115200 baud: .*bytes arrived, but no good frame", capsys.readouterr().err)
