# SPDX-License-Identifier: Apache-2.0
"""Training over lines that change, lose, add and delay bytes, or are cut: every sample once, and golden's weights."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from frenn.firmware.compiler import Program, compile_network, joint_requirements
from frenn.firmware.counters import GOLDEN
from frenn.firmware.endpoint import REQUEST_FRAMES
from frenn.firmware.errors import FrennError
from frenn.firmware.network import Network, load_network
from frenn.firmware.parameters import EngineParameters
from frenn.firmware.protocol import STEP_BITS, Words
from frenn.host import datasets, training
from frenn.host.driver import Driver
from frenn.host.exchange import SAMPLE_WORDS, SAMPLES
from frenn.host.link import ByteLink, ByteLinkParameters
from frenn.host.targets import choose_engine
from frenn.sim.bad_line import BadLine, Faults
from frenn.sim.compiled import CompiledGolden
from frenn.sim.golden import Golden
from frenn.sim.line_bytes import LineBytes, Tap
from frenn.sim.twin import ByteTwin, open_twin

SMALL = Network.chain([64, 6, 10], name="small", seed=3)
WIDE = Network.chain([784, 6, 10], name="wide", seed=3)
PARAMETERS = EngineParameters(**joint_requirements([SMALL, WIDE], 4))
DIGITS = Path(__file__).parents[2] / "examples" / "digits.toml"


def byte_twin(parameters: EngineParameters) -> ByteTwin:
    twin = open_twin(parameters, "bytes")
    assert isinstance(twin, ByteTwin)
    return twin


def open_driver(line: BadLine, program: Program, seed: int) -> Driver:
    # Longer than the longest cut, which may come while the session is opened.
    return Driver(ByteLink(line, ByteLinkParameters(open_seconds=10.0), session=seed & 0xFFFF, clock=line.clock), program)


def assert_learned_once(driver: Driver, golden: Golden) -> None:
    counters = driver.counters()
    assert {name: counters[name] for name in GOLDEN} == golden.counters()
    for mine, theirs in zip(driver.weights(), golden.weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def short_run(program: Program, seed: int) -> dict[str, int]:
    """Twenty samples over a line with random faults, and one time in four a cut of up to three seconds; returns the faults."""
    generator = np.random.default_rng(seed)
    faults = Faults(
        **{name: 10 ** generator.uniform(-4, -2) for name in ("change", "delete", "insert", "duplicate", "delay")},
        delay_cycles=int(generator.integers(1, 2_000)),
    )
    start = int(generator.integers(5_000, 40_000))
    cuts = [(start, start + int(generator.integers(1_000, 300_000)))] if seed % 4 == 0 else []
    line = BadLine(byte_twin(program.parameters), seed, faults, byte_cycles=int(generator.integers(1, 16)), frequency=1e5, cuts=cuts)
    inputs = generator.integers(0, 256, (20, 64)) * (generator.random((20, 64)) < 0.5)
    labels = generator.integers(0, 10, 20)
    golden = Golden(program.network)
    with open_driver(line, program, seed) as driver:
        driver.load(program.network.initial_weights())
        for machine in (driver, golden):
            machine.train(inputs, labels, 0, program.network.learning.rate_at(0))
            machine.infer(inputs[:3])
        assert_learned_once(driver, golden)
    return line.injected


def test_short_runs(pytestconfig: pytest.Config, seed: int) -> None:
    program = compile_network(SMALL, PARAMETERS)
    total: dict[str, int] = {}
    for number in range(pytestconfig.getoption("--faults")):
        print(f"run {number}")
        for name, count in short_run(program, seed + number).items():
            total[name] = total.get(name, 0) + count
    print(total)
    assert all(total.values())


def test_a_whole_epoch_of_digits_over_a_line_that_is_bad_and_cut(pytestconfig: pytest.Config) -> None:
    network = training.with_options(load_network(DIGITS), 1, 1)
    dataset = datasets.load("digits", None, 1).first(None, 20)
    program = compile_network(network, choose_engine(network))
    # Cycles are microseconds: the line is dead for a second, twice.
    cuts = ((1_000_000, 2_000_000), (5_000_000, 6_000_000))
    faults = Faults.each(pytestconfig.getoption("--fault-rate"))
    line = BadLine(byte_twin(program.parameters), 5, faults, byte_cycles=8, cuts=cuts)
    with open_driver(line, program, 5) as driver:
        driver.load(network.initial_weights())
        (mine,) = training.epochs(driver, network, dataset, lambda count: None)
        print(f"{line.cycles} cycles, {line.carried} bytes, {line.injected}")
    (theirs,) = training.epochs(CompiledGolden(network), network, dataset, lambda count: None)
    assert mine.differences(theirs, network) == [] and mine.training["trained"] == len(dataset.train_labels)
    assert all(line.injected.values())


def words_of(sample: np.ndarray) -> int:
    """Words of a sample of 8-bit inputs, the first one with them, counted one by one."""
    units = run = 0
    for place, value in enumerate(sample.tolist()):
        run = run % 256 + 1 if value == 0 else 0
        # A zero that begins a run has a count behind it, but for the last input.
        units += 1 if value else 0 if run > 1 else 2 if place < len(sample) - 1 else 1
    return 1 + -(-min(units, len(sample)) // 4)


def test_throughput_at_one_fault_of_each_kind_in_ten_thousand_bytes() -> None:
    """A whole epoch on a line that is slower than the engine, where every byte sent again costs."""
    program = compile_network(SMALL, PARAMETERS)
    dataset = datasets.load("digits", None, 1)
    inputs = dataset.train_inputs.astype(np.int64)
    epoch = (inputs, dataset.train_labels, 0, SMALL.learning.rate_at(0))
    golden = CompiledGolden(SMALL)
    golden.train(*epoch)
    clean = 0
    for rate, seed in ((0.0, 5), (1e-4, 6), (1e-4, 7)):
        line = BadLine(byte_twin(program.parameters), seed, Faults.each(rate), byte_cycles=32)
        with open_driver(line, program, 5) as driver:
            driver.load(SMALL.initial_weights())
            began = line.cycles
            driver.train(*epoch)
            cycles = line.cycles - began
            assert_learned_once(driver, golden)
        assert bool(rate) == all(line.injected[name] for name in ("change", "delete", "insert", "duplicate", "delay"))
        clean = clean or cycles
        print(f"seed {seed}, {rate} of each fault: {cycles} cycles, {clean / cycles:.1%} of the clean line's rate")
        assert clean >= 0.8 * cycles
    # The samples' words alone take this long: the clean line is busy.
    assert clean >= 4 * 32 * sum(words_of(given) for given in inputs)


def wide_inputs(count: int) -> np.ndarray:
    """Digits in the middle of 784 inputs, of which they fill as much as those of MNIST."""
    digits = datasets.load("digits", None, 1).train_inputs[:count].reshape(-1, 8, 8)
    return np.pad(digits.repeat(2, axis=1).repeat(2, axis=2), ((0, 0), (6, 6), (6, 6))).reshape(count, 784).astype(np.int64)


@pytest.mark.parametrize("packing", ["mixed", "sparse", "dense"])
def test_what_framing_and_protocol_cost(packing: str) -> None:
    """Every byte of a clean line, counted: 64 inputs in either packing, and 784 sparse, or dense, since none is zero."""
    network = SMALL if packing == "mixed" else WIDE
    # Frames grow while samples go: what they cost at last takes more of them to see.
    count = 256 if packing == "dense" else 100
    inputs = datasets.load("digits", None, 1).train_inputs[:count].astype(np.int64) if network is SMALL else wide_inputs(count)
    if packing == "dense":
        inputs = np.maximum(inputs, 1)
    labels = datasets.load("digits", None, 1).train_labels[:count]
    line = BadLine(byte_twin(PARAMETERS), 5, Faults(), byte_cycles=16)
    tap = Tap(line)
    golden = Golden(network)
    with Driver(ByteLink(tap, session=5, clock=line.clock), compile_network(network, PARAMETERS)) as driver:
        driver.load(network.initial_weights())
        driver.counters()
        begun = len(tap.sent), len(tap.received)
        for machine in (golden, driver):
            machine.train(inputs, labels, (1 << STEP_BITS) - 51, network.learning.rate_at(0))
        there, back = LineBytes.of(bytes(tap.sent[begun[0] :])), LineBytes.of(bytes(tap.received[begun[1] :]))
        assert_learned_once(driver, golden)

    sizes = [words_of(sample) for sample in inputs]
    sparse = sum(size < 1 + network.widths[0] // 4 for size in sizes)
    assert {"mixed": 0 < sparse < count, "sparse": sparse == count, "dense": not sparse}[packing]
    # An answer tells how many requests there were: a word each besides the results.
    requests = back.packets // 4 - count
    assert there.packets == 4 * (2 * requests + sum(sizes)) and back.packets == 4 * (count + requests)
    # One begins where the upper bits of the step change. Frames and requests grow while the network is loaded.
    fewest = sum(fewest_requests(part) for part in (sizes[:51], sizes[51:]))
    assert fewest <= requests <= 1.5 * fewest
    assert there.frames * 256 * 4 >= there.packets and there.frames <= REQUEST_FRAMES * requests
    assert there.framing == 10 * there.frames and back.framing == 10 * requests
    units = count * network.widths[0] if packing == "dense" else 4 * (sum(sizes) - count)
    # A label is a byte and a result two.
    cost = 1 - (units + count + 2 * count) / (there.total + back.total)
    print(f"{packing}: {there.total / count} bytes a sample to the device, {back.total / count} back, {requests} requests, cost {cost:.1%}")
    if packing == "dense":
        assert there.cost(units + count) <= 0.03 and cost <= 0.05
    if packing == "sparse":
        assert there.total <= count * 784 / 3


def fewest_requests(sizes: Sequence[int]) -> int:
    """Requests for samples of so many words if no line shortens them."""
    requests, samples, words = 1, 0, 0
    for size in sizes:
        if samples == SAMPLES or words + size > SAMPLE_WORDS:
            requests, samples, words = requests + 1, 0, 0
        samples, words = samples + 1, words + size
    return requests


class Recording(ByteLink):
    """A link that keeps the lengths of the requests in words."""

    def send(self, packet: Words) -> None:
        self.__dict__.setdefault("lengths", []).append(len(packet))
        super().send(packet)


def test_requests_shrink_on_a_bad_line() -> None:
    """What a loss costs is the frames behind it, until the answer acknowledges the request."""
    program = compile_network(SMALL, PARAMETERS)
    dataset = datasets.load("digits", None, 1)
    average = {}
    for rate in (0.0, 1e-3):
        line = BadLine(byte_twin(program.parameters), 5, Faults.each(rate))
        link = Recording(line, session=5, clock=line.clock)
        with Driver(link, program) as driver:
            driver.load(SMALL.initial_weights())
            link.lengths.clear()
            driver.train(dataset.train_inputs[:200].astype(np.int64), dataset.train_labels[:200], 0, SMALL.learning.rate_at(0))
            average[rate] = np.mean(link.lengths)
            print(f"{rate}: {link.lengths}, {link.statistics}")
    assert average[1e-3] < average[0.0] / 2


def test_a_line_is_the_same_each_time() -> None:
    runs = []
    for _ in range(2):
        device = _Echo()
        line = BadLine(device, 7, Faults.each(0.03), byte_cycles=4)
        got = b""
        for _ in range(60):
            line.write(bytes(range(20)))
            got += line.read(1000)
        runs.append((device.got, got, dict(line.injected), line.carried))
    assert runs[0] == runs[1]
    assert all(count for name, count in runs[0][2].items() if name != "cut")


def test_a_good_line_takes_its_time_and_no_more() -> None:
    device = _Echo()
    line = BadLine(device, 1, Faults(), byte_cycles=16, buffer=100)
    data = bytes(range(200))
    assert line.write(data) == 100
    got = b""
    while len(got) < 100:
        got += line.read(1000)
    assert got == data[:100] and 1616 <= line.cycles <= 1616 + 3 * 128


@pytest.mark.parametrize("wrong", [{"change": -0.1}, {"change": 0.6, "delete": 0.6}, {"delay_cycles": 0}])
def test_wrong_faults(wrong: dict[str, float]) -> None:
    with pytest.raises(FrennError, match="legal"):
        Faults(**wrong)


class _Echo:
    """A device that gives back what it gets."""

    def __init__(self) -> None:
        self.cycles = 0
        self.got = self.ready = b""

    def write(self, data: bytes) -> int:
        self.got += data
        self.ready += data
        return len(data)

    def read(self, limit: int, cycles: int) -> bytes:
        self.cycles += cycles
        data, self.ready = self.ready[:limit], self.ready[limit:]
        return data

    def close(self) -> None:
        pass
