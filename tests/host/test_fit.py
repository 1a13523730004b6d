# SPDX-License-Identifier: Apache-2.0
"""Engines that fit boards by themselves, and what is foretold of their speed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from frenn.firmware.compiler import compile_network
from frenn.firmware.errors import FitError, FrennError
from frenn.firmware.formats import Format
from frenn.firmware.framing import Header, Kind, encode
from frenn.firmware.network import Formats, Learning, Network, load_network
from frenn.firmware.parameters import PRESETS, EngineParameters
from frenn.firmware.protocol import Command, pack_sample, request
from frenn.host.board_verbs import board_design, parse_choice
from frenn.host.cli import main
from frenn.host.driver import Driver
from frenn.host.exchange import grouped
from frenn.host.fit import BoardMisfit, fit_engine
from frenn.host.link import ByteLinkParameters
from frenn.host.throughput import BETWEEN, dense_words, link_rate, measured, sample_cycles, speed
from frenn.rtl_gen.boards import BOARDS, find_board
from frenn.rtl_gen.cycles import dense_cycles
from frenn.rtl_gen.estimate import estimate, shortage
from frenn.sim.twin import Twin, build

EXAMPLES = Path(__file__).parents[2] / "examples"
LITTLE = Network.chain([7, 5, 4, 3], name="little", seed=9)
ULX3S = find_board("ulx3s-85f")


@pytest.mark.parametrize("name", BOARDS)
def test_own_engine_fills_the_board(name: str) -> None:
    board = BOARDS[name]
    parameters = fit_engine(board)
    assert parameters.lanes <= board.lanes
    if shortage(board, parameters) is None:
        deeper = replace(parameters, weight_depth=parameters.weight_depth + 1024)
        assert any(estimate(board, deeper)[kind].overflows for kind in ("block_rams", "large_rams") if kind in estimate(board, deeper))
    else:
        # Nothing fits: the build will say by how much.
        assert parameters == PRESETS["tiny"]


def test_nine_bit_mnist_fits_the_large_ulx3s() -> None:
    network = load_network(EXAMPLES / "mnist-9bit.toml")
    assert (network.widths, network.formats.weight.width) == ((784, 256, 256, 10), 9)
    parameters = fit_engine(ULX3S, [network])
    assert (parameters.lanes, parameters.weight_depth, parameters.neuron_depth) == (64, 4608, 1536)
    assert estimate(ULX3S, parameters)["block_rams"].used == 180
    compile_network(network, parameters)


def test_twelve_bits_are_too_many() -> None:
    network = load_network(EXAMPLES / "mnist.toml")
    with pytest.raises(BoardMisfit, match="no engine for ULX3S 85F runs 'mnist': 16 lanes need 222 block RAMs of 208; use"):
        fit_engine(ULX3S, [network])
    widest = Network.chain([784, 256, 184, 10], name="widest")
    assert shortage(ULX3S, fit_engine(ULX3S, [widest])) is None


def test_depths_grow_as_far_as_their_block_rams_reach() -> None:
    parameters = fit_engine(ULX3S, [LITTLE])
    used = estimate(ULX3S, parameters)["block_rams"].used
    needs = replace(parameters, weight_depth=4, neuron_depth=19)
    assert parameters.weight_depth >= needs.weight_depth and parameters.neuron_depth >= needs.neuron_depth
    assert estimate(ULX3S, needs)["block_rams"].used == used


def test_lanes_are_those_of_the_fewest_cycles() -> None:
    network = Network.chain([64, 64, 64, 10], name="n")
    chosen = fit_engine(ULX3S, [network])
    cycles = {lanes: dense_cycles(compile_network(network, fit_engine(ULX3S, [network], lanes=lanes))) for lanes in (4, 8, 16, 32, 64)}
    assert chosen.lanes == min(cycles, key=lambda lanes: (cycles[lanes], lanes))


def test_networks_share_an_engine() -> None:
    wide = Network.chain([30, 40, 5], name="wide", learning=Learning(rate_exponent=-9))
    both = fit_engine(ULX3S, [LITTLE, wide], lanes=8)
    for network in (LITTLE, wide):
        compile_network(network, both)
    # Each alone may do with less.
    assert both.update_shift == max(fit_engine(ULX3S, [network], lanes=8).update_shift for network in (LITTLE, wide))
    narrow = replace(wide, name="narrow", formats=Formats(weight=Format(True, 0, 8)))
    with pytest.raises(
        FitError, match=r"no engine runs both 'little' and 'narrow': formats\.weight is S0\.11 in one and S0\.8 in the other"
    ):
        fit_engine(ULX3S, [LITTLE, narrow])


def test_every_choice_can_be_overridden() -> None:
    parameters = board_design(ULX3S, lanes=128, weight_depth=1000, clock=40, networks=[LITTLE]).parameters
    assert (parameters.lanes, parameters.weight_depth) == (128, 1000)
    assert board_design(ULX3S, "small", networks=[LITTLE], lanes=8).parameters == replace(PRESETS["small"], lanes=8)
    with pytest.raises(FitError, match=r"^network 'little' does not fit the engine: weight_depth must be"):
        board_design(ULX3S, weight_depth=8, networks=[LITTLE])
    # Without networks, what is not chosen fills the board around what is.
    free = fit_engine(ULX3S)
    deep = fit_engine(ULX3S, neuron_depth=8192)
    assert deep.neuron_depth == 8192 and deep.weight_depth < free.weight_depth
    narrow = fit_engine(ULX3S, weight=Format(True, 0, 8))
    assert (narrow.weight.width, narrow.mac_weight) == (9, narrow.weight) and narrow.weight_depth > free.weight_depth
    assert fit_engine(ULX3S, weight_depth=1000).weight_depth == 1000
    with pytest.raises(FrennError, match="engine: there is no parameter 'lane'; legal are lanes, weight, "):
        fit_engine(ULX3S, lane=3)
    assert parse_choice("weight=S0.8") == ("weight", Format(True, 0, 8)) and parse_choice("row_depth=64") == ("row_depth", 64)
    for text, told in (
        ("lanes", "lanes is an integer, as in --set lanes=1"),
        ("weight=9", "'9' is no number format"),
        ("x=1", "no parameter 'x'"),
    ):
        with pytest.raises(FrennError, match=told):
            parse_choice(text)


def test_lanes_are_weighed_by_their_clock() -> None:
    network = load_network(EXAMPLES / "mnist-9bit.toml")
    cycles = {lanes: dense_cycles(compile_network(network, fit_engine(ULX3S, [network], lanes=lanes))) for lanes in (64, 128)}
    even = 100_000_000 * cycles[128] // cycles[64]
    for faster in (1, 0):
        board = replace(ULX3S, clocks=((64, 100_000_000), (128, even + faster)))
        assert fit_engine(board, [network]).lanes == (128 if faster else 64)
    assert [fit_engine(replace(ULX3S, clocks=((64, 80_000_000), (128, most)))).lanes for most in (39_000_000, 41_000_000)] == [64, 128]
    with pytest.raises(FitError, match="neuron_depth must be 1306"):
        board_design(ULX3S, "tiny", networks=[load_network(EXAMPLES / "mnist.toml")])


def test_build_takes_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["build", "--board", "ulx3s-12f", "--out", str(tmp_path / "out")]
    assert main([*command, "--network", str(EXAMPLES / "digits.toml"), "--network", str(EXAMPLES / "mnist.toml")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("frenn: error: no engine for ULX3S 12F runs 'digits' and 'mnist': ") and error.count("\n") == 1
    assert main([*command, "--network", "nowhere.toml"]) == 2
    assert "cannot read the network file nowhere.toml" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_check_tells_every_board(capsys: pytest.CaptureFixture[str]) -> None:
    network = load_network(EXAMPLES / "mnist-9bit.toml")
    assert main(["check", str(EXAMPLES / "mnist-9bit.toml")]) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    lines = {line.split()[0]: line for line in table}
    assert set(BOARDS) <= set(lines)
    # The serial line of this board is far slower than its other link, of which the engine is the limit.
    (pcie,), (serial,) = ([row.split() for row in table if row.split()[:2] == ["kcu105", link]] for link in ("pcie", "uart"))
    assert (pcie[-1], serial[-1]) == ("engine", "link")
    assert "does not fit: 16 lanes need 168 block RAMs of 108" in lines["ulx3s-45f"]
    parameters = fit_engine(ULX3S, [network])
    clock = ULX3S.engine_clock(parameters.lanes)
    reached = speed(network, parameters, clock, ULX3S.baud)
    assert reached is not None
    (ulx3s,) = (line for line in table if line.split()[:2] == ["ulx3s-85f", "uart"])
    cells = [cell for cell in ulx3s.split() if cell not in ("<=", ">=")]
    assert cells[:6] == ["ulx3s-85f", "uart", f"{parameters.lanes}", f"{estimate(ULX3S, parameters)['block_rams'].used}", "of", "208"]
    assert cells[-5:] == [f"{clock / 1e6:g}", f"{reached.cycles:.0f}", f"{reached.engine:.0f}", f"{reached.line:.0f}", "link"]


@pytest.mark.parametrize("network", [LITTLE, Network.chain([20, 9, 3, 6, 5], name="long", seed=1)], ids=lambda network: network.name)
def test_dense_cycles_are_those_of_the_twin(network: Network, rng: np.random.Generator) -> None:
    parameters = EngineParameters.for_network(network, 4)
    program = compile_network(network, parameters)
    inputs, labels = rng.integers(0, 256, (24, network.widths[0])), rng.integers(0, network.widths[-1], 24)
    unused = 2 * (network.widths[-1].bit_length() - 1)
    with Driver(Twin(build(parameters, optimize=0)), program, skip=0) as driver:
        driver.load(network.initial_weights())
        for sample in range(4):
            driver.clear_counters()
            driver.train(inputs[sample : sample + 1], labels[sample : sample + 1], sample, network.learning.rate_at(0))
            less = dense_cycles(program) - driver.counters()["run_cycles"]
            assert less in range(0, unused + 1, 2)
        driver.clear_counters()
        driver.infer(inputs[:1])
        assert driver.counters()["run_cycles"] == dense_cycles(program, training=False)
        totals = []
        for count in (4, 24):
            driver.clear_counters()
            driver.train(inputs[:count], labels[:count], 0, network.learning.rate_at(0))
            totals.append(driver.counters()["cycles"])
        assert 0 <= 20 * sample_cycles(network, parameters) - (totals[1] - totals[0]) <= 20 * (unused + BETWEEN)


@pytest.mark.parametrize("network", [LITTLE, Network.chain([20, 9, 3, 6, 5], name="long", seed=1)], ids=lambda network: network.name)
def test_no_sample_takes_more_than_the_dense_cycles_of_one_lane(network: Network, rng: np.random.Generator) -> None:
    parameters = EngineParameters.for_network(network, 1)
    program = compile_network(network, parameters)
    inputs, labels = rng.integers(0, 256, (24, network.widths[0])), rng.integers(0, network.widths[-1], 24)
    with Driver(Twin(build(parameters, optimize=0)), program, skip=0) as driver:
        driver.load(network.initial_weights())
        totals = []
        for count in (4, 24):
            driver.clear_counters()
            driver.train(inputs[:count], labels[:count], 0, network.learning.rate_at(0))
            counters = driver.counters()
            totals.append(counters["cycles"])
            assert 0.8 * dense_cycles(program) * count < counters["run_cycles"] <= dense_cycles(program) * count
            assert counters["run_cycles"] < counters["cycles"]
        assert totals[1] - totals[0] <= 20 * sample_cycles(network, parameters)
        driver.clear_counters()
        driver.infer(inputs[:1])
        assert driver.counters()["run_cycles"] <= dense_cycles(program, training=False)


def test_small_boards_have_an_engine_of_one_lane() -> None:
    icebreaker, tang = find_board("icebreaker"), find_board("tang-nano-9k")
    own = fit_engine(icebreaker)
    assert (own.lanes, own.weight_depth, own.neuron_depth) == (1, 65536, 1024)
    compile_network(load_network(EXAMPLES / "mnist-2x64.toml"), own)
    assert fit_engine(tang).lanes == 1
    for board in (icebreaker, tang):
        compile_network(load_network(EXAMPLES / "digits.toml"), fit_engine(board))


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("inputs", [64, 784, 4095])
def test_line_rate_is_that_of_packets_and_frames(inputs: int, lanes: int) -> None:
    network = Network.chain([inputs, 8, 4], name="n")
    samples = [pack_sample(np.ones(inputs, dtype=np.int64), False)] * 100
    group = next(grouped(samples, 0))
    words = request(Command.TRAIN, 6, np.concatenate([[1], *group]))
    limit = 128 if lanes == 1 else ByteLinkParameters().frame_words
    frames = [words[first : first + limit] for first in range(0, len(words), limit)]
    sent = b"".join(encode(Header(Kind.DATA, 1).pack() + frame.tobytes()) for frame in frames)
    # 0x7D is the escape.
    expected = 300_000 * len(group) / (len(sent) - sent.count(0x7D))
    assert link_rate(1 + dense_words(network), 3_000_000, EngineParameters(lanes=lanes)) == pytest.approx(expected, rel=1e-12)


def test_sparse_samples_are_counted_where_the_data_is_known() -> None:
    known, other = load_network(EXAMPLES / "mnist-2x64.toml"), Network.chain([784, 20, 10], name="other")
    rates = [speed(network, EngineParameters.for_network(network, 16), 50_000_000, 3_000_000) for network in (known, other)]
    assert rates[0] is not None and rates[1] is not None
    assert (rates[0].packed, rates[1].packed) == (True, False)
    assert rates[0].line > 3 * rates[1].line
    assert replace(rates[1], engine=2 * rates[1].line).limit == "link?"
    assert (rates[0].limit, replace(rates[0], engine=1.0, measured=False).limit) == ("link", "engine?")


def test_measured_cycles_are_those_of_the_same_work() -> None:
    entry = next(entry for entry in measured()["networks"] if "digits" in entry["file"])
    network = load_network(EXAMPLES / "digits.toml")
    parameters = fit_engine(ULX3S, [network], lanes=16)
    reached = speed(replace(network, name="other", seed=5), parameters, 50_000_000, 3_000_000)
    assert reached is not None and reached.measured and reached.cycles == entry["cycles"]["16"]
    assert reached.engine == 50_000_000 / reached.cycles
    # What is measured is less than what nothing skipped takes.
    assert reached.cycles < sample_cycles(network, parameters)
    other = speed(replace(network, relaxation=replace(network.relaxation, free_sweeps=4)), parameters, 50_000_000, 3_000_000)
    assert other is not None and not other.measured
    on_host = replace(network, learning=replace(network.learning, update="host", optimizer="adam", batch=16))
    assert speed(on_host, parameters, 50_000_000, 3_000_000) is None
