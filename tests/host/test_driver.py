# SPDX-License-Identifier: Apache-2.0
"""The driver against a device modelled in Python."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from frenn.firmware.compiler import compile_network
from frenn.firmware.counters import GOLDEN, NAMES
from frenn.firmware.errors import FitError, FrennError, ImageError, LinkError
from frenn.firmware.formats import Format
from frenn.firmware.image import Image
from frenn.firmware.network import Formats, Learning, Network
from frenn.firmware.parameters import EngineParameters
from frenn.firmware.protocol import ANSWER, STATUS_SHIFT, STEP_BITS, Command, Status
from frenn.host.driver import Driver
from frenn.host.exchange import SAMPLE_WORDS, SAMPLES, grouped
from frenn.rtl_gen.identity import gateware_identity
from frenn.sim.golden import Golden


def samples(rng, network, count):
    shape = (count, network.widths[0])
    inputs = rng.integers(0, network.formats.input.maximum + 1, shape) * (rng.random(shape) < rng.choice([0.1, 0.9], (count, 1)))
    return inputs, rng.integers(0, network.widths[-1], count)


@pytest.mark.parametrize("window", [1, 3, 8])
def test_equals_golden(make_device, rng, window, program):
    network = program.network
    golden, device = Golden(network), make_device(program, window=window)
    weights = network.initial_weights()
    half = 8 * SAMPLES
    inputs, labels = samples(rng, network, 2 * half)
    with Driver(device, program, window=window) as driver:
        golden.load(weights)
        driver.load(weights)
        for start in (0, half):
            part = slice(start, start + half)
            expected = golden.train(inputs[part], labels[part], start, -6)
            got = driver.train(inputs[part], labels[part], start, -6)
            np.testing.assert_array_equal(got[0], expected[0])
            np.testing.assert_array_equal(got[1], expected[1])
        np.testing.assert_array_equal(driver.infer(inputs), golden.infer(inputs))
        for got, expected in zip(driver.weights(), golden.weights(), strict=True):
            np.testing.assert_array_equal(got, expected)
        assert any((a != b).any() for a, b in zip(driver.weights(), weights, strict=True))
        counters = driver.counters()
        assert tuple(counters) == NAMES and counters["cycles"] >= 5 << 32
        assert {name: counters[name] for name in GOLDEN} == golden.counters()
        for layer in (1, 2):
            states, slopes = driver.states(layer)
            np.testing.assert_array_equal(states, golden.states[layer])
            np.testing.assert_array_equal(slopes, golden.slopes[layer])
            np.testing.assert_array_equal(driver.deviations(layer), golden.deviations[layer])
        driver.clear_counters()
        assert driver.counters()["trained"] == 0
    assert device.closed and device.most_in_flight == window
    assert 0 < sum(device.packed) < len(device.packed) == 4 * half


def test_wide_inputs_and_many_packets(make_device, rng):
    network = Network.chain([150, 20, 4], formats=Formats(input=Format(False, 0, 12)))
    program = compile_network(network, EngineParameters.for_network(network, 4))
    inputs, labels = samples(rng, network, 5)
    golden, device = Golden(network), make_device(program)
    with Driver(device, program) as driver:
        driver.load(network.initial_weights())
        driver.train(inputs, labels, 0, -6)
        golden.train(inputs, labels, 0, -6)
        for got, expected in zip(driver.weights(), golden.weights(), strict=True):
            np.testing.assert_array_equal(got, expected)
    assert sum(command is Command.READ for command, _ in device.log) > 1


def test_no_samples(device, program):
    with Driver(device, program) as driver:
        driver.load(program.network.initial_weights())
        predictions, wrong = driver.train(np.zeros((0, 13), dtype=int), np.zeros(0, dtype=int), 0, -6)
        assert predictions.shape == wrong.shape == driver.infer(np.zeros((0, 13), dtype=int)).shape == (0,)


def test_other_engine_is_refused_before_anything_is_written(device, program):
    other = dataclasses.replace(program.parameters, lanes=32, program_depth=100)
    device.hello = dataclasses.replace(device.hello, parameters=other)
    message = (
        rf"{other.fingerprint:016x}.* {program.parameters.fingerprint:016x} \(lanes 32 instead of 8, program_depth 100 instead of \d+\)"
    )
    with pytest.raises(ImageError, match=message):
        Driver(device, program)
    assert device.closed and [command for command, _ in device.log] == [Command.HELLO]


def test_other_gateware_is_refused_before_anything_is_written(device, program):
    device.hello = dataclasses.replace(device.hello, build=0x1234)
    with pytest.raises(ImageError, match=rf"gateware 0000000000001234, .*gateware {gateware_identity():016x}; build and flash"):
        Driver(device, program)
    assert device.closed and [command for command, _ in device.log] == [Command.HELLO]


def test_other_image_is_refused_before_anything_is_written(device, program):
    other = compile_network(program.network, EngineParameters.for_network(program.network, 4))
    foreign = dataclasses.replace(program, network=dataclasses.replace(program.network, seed=6))
    with Driver(device, program) as driver:
        with pytest.raises(ImageError, match="lanes 4 instead of 8"):
            driver.load_image(Image.build(other, program.network.initial_weights()))
        with pytest.raises(ImageError, match="another network"):
            driver.load_image(Image.build(foreign, program.network.initial_weights()))
        with pytest.raises(FitError):
            driver.load([block + 4000 for block in program.network.initial_weights()])
    assert [command for command, _ in device.log] == [Command.HELLO]


@pytest.mark.parametrize(
    "answer", [[], [0], [0xFFFFFFFF], [Command.HELLO | ANSWER | 1 << 8, 1, 2, 3, 4, 5], [Command.HELLO | ANSWER | 1 << 8]]
)
def test_what_is_no_device(device, program, answer):
    device.tamper = lambda _: np.array(answer, dtype=np.uint32)
    with pytest.raises(FrennError, match="no frenn device"):
        Driver(device, program)
    assert device.closed


def test_other_version(device, program):
    device.hello = dataclasses.replace(device.hello, version=99)
    with pytest.raises(FrennError, match="version 99"):
        Driver(device, program)


def test_silence_says_what_was_waited_for(device, program):
    with Driver(device, program, timeout=0.5) as driver:
        driver.load(program.network.initial_weights())
        device.tamper = lambda answer: None
        with pytest.raises(LinkError, match=r"INFER \(1 samples\): nothing came in 0\.5 s"):
            driver.infer(np.zeros((1, 13), dtype=int))


@pytest.mark.parametrize("status", [*[*Status][1:], 77])
def test_status_is_told(device, program, status):
    with Driver(device, program) as driver:
        device.tamper = lambda answer: answer[:1] | np.uint32(status << 16)
        with pytest.raises(LinkError, match=r"refused READ \(counters 0 and on\): .*; |status 77"):
            driver.counters()


def test_a_later_sample_that_is_refused_is_told(device, program):
    with Driver(device, program) as driver:
        driver.load(program.network.initial_weights())
        device.tamper = lambda answer: np.concatenate([answer[:2], np.array([Status.BAD_RUN << STATUS_SHIFT], dtype=np.uint32)])
        with pytest.raises(LinkError, match=r"refused INFER \(sample 2 of 2\): the zeros of a sample go on"):
            driver.infer(np.zeros((2, 13), dtype=int))
        device.tamper = lambda answer: answer[:2]
        with pytest.raises(LinkError, match="answered 2 samples with 1 results"):
            driver.infer(np.zeros((2, 13), dtype=int))


def test_samples_go_many_to_a_request(rng):
    given = [np.zeros(length, dtype=np.uint32) for length in [2000, *rng.integers(1, 400, 300), *[3] * 100]]
    groups = list(grouped(given, 0))
    assert [id(sample) for group in groups for sample in group] == [id(sample) for sample in given]
    for group, following in pairwise(groups):
        size = sum(map(len, group))
        assert len(group) <= SAMPLES and (size <= SAMPLE_WORDS or len(group) == 1)
        assert len(group) == SAMPLES or size + len(following[0]) > SAMPLE_WORDS


def test_the_upper_bits_of_steps(device, program, rng):
    """A request has them once; where they change, another one begins."""
    inputs, labels = samples(rng, program.network, 12)
    golden = Golden(program.network)
    with Driver(device, program) as driver:
        driver.load(program.network.initial_weights())
        for span in (1 << STEP_BITS, 5 << STEP_BITS):
            count = len(device.log)
            driver.train(inputs, labels, span - 5, -6)
            golden.train(inputs, labels, span - 5, -6)
            assert len(device.log) == count + -(-5 // SAMPLES) + -(-7 // SAMPLES)
        for got, expected in zip(driver.weights(), golden.weights(), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_answer_of_another_request(device, program):
    with Driver(device, program) as driver:
        device.tamper = lambda answer: answer ^ np.uint32(1 << 8)
        with pytest.raises(LinkError, match="belongs to another request"):
            driver.counters()


def test_short_answer(device, program):
    with Driver(device, program) as driver:
        device.tamper = lambda answer: answer[:-1]
        with pytest.raises(LinkError, match=f"{2 * len(NAMES) - 1} words of counters, {2 * len(NAMES)} were asked for"):
            driver.counters()


def test_stale_answers_of_a_broken_exchange_match_nothing(device, program):
    with Driver(device, program) as driver:
        driver.load(program.network.initial_weights())
        receive = device.receive

        def interrupted(timeout):
            raise KeyboardInterrupt

        device.receive = interrupted
        with pytest.raises(KeyboardInterrupt):
            driver.infer(np.zeros((3, 13), dtype=int))
        device.receive = receive
        with pytest.raises(LinkError, match="belongs to another request"):
            driver.infer(np.zeros((1, 13), dtype=int))


@pytest.mark.parametrize(
    ("inputs", "labels", "step", "rate", "message"),
    [
        (np.zeros((1, 12), dtype=int), [0], 0, -6, "shape"),
        (np.zeros((1, 13)), [0], 0, -6, "integers of U0.8"),
        (np.full((1, 13), 256), [0], 0, -6, "0 to 255"),
        (np.full((1, 13), -1), [0], 0, -6, "0 to 255"),
        (np.zeros((1, 13), dtype=int), [3], 0, -6, "0 to 2"),
        (np.zeros((1, 13), dtype=int), [-1], 0, -6, "0 to 2"),
        (np.zeros((1, 13), dtype=int), [0, 0], 0, -6, "1 integers"),
        (np.zeros((1, 13), dtype=int), [0], 2**32, -6, "step"),
        (np.zeros((1, 13), dtype=int), [0], 0, -5, r"2\^-8 to 2\^-6"),
        (np.zeros((1, 13), dtype=int), [0], 0, -9, r"2\^-8 to 2\^-6"),
    ],
)
def test_bad_samples_are_refused_before_they_are_sent(device, program, inputs, labels, step, rate, message):
    with Driver(device, program) as driver:
        driver.load(program.network.initial_weights())
        count = len(device.log)
        with pytest.raises(FrennError, match=message):
            driver.train(inputs, np.array(labels), step, rate)
        assert len(device.log) == count


def test_minibatches_of_the_chip_are_refused_before_they_are_sent(make_device, network):
    summed = dataclasses.replace(network, learning=Learning(batch=2))
    program = compile_network(summed, EngineParameters.for_network(summed, 4))
    device = make_device(program)
    with Driver(device, program) as driver:
        driver.load(network.initial_weights())
        count = len(device.log)
        with pytest.raises(FitError, match="train it with --on golden alone"):
            driver.train(np.zeros((2, 13), dtype=int), np.zeros(2, dtype=int), 0, -6)
        assert len(device.log) == count


def test_window_is_checked(device, program):
    with pytest.raises(FrennError, match="1 to 128"):
        Driver(device, program, window=0)
    assert device.closed


def test_learning_default_is_the_one_assumed_here(network):
    assert network.learning == Learning()
