# SPDX-License-Identifier: Apache-2.0
"""``frenn selftest``: whether a device works, and how fast it is."""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..firmware.compiler import Program, compile_network
from ..firmware.counters import GOLDEN
from ..firmware.errors import FrennError
from ..firmware.network import Formats, Learning, Network
from ..firmware.parameters import EngineParameters
from ..firmware.protocol import Command, Space, pack_weights, unpack_weights, weight_item_words
from ..sim.golden import Golden
from .device_report import connect, gateware
from .driver import Driver
from .exchange import PACKET_WORDS, Exchange, Request, words, write
from .link import ByteLink

ROUND_TRIPS: Final = 50
SAMPLES: Final = 64
SEED: Final = 20_240_607


class SelfTestError(FrennError):
    """A device that does not do what it should."""


def selftest(arguments: argparse.Namespace) -> int:
    """``frenn selftest``: 0, or 1 if something is wrong. What was in the device's memory is lost."""
    target, exchange, link = connect(arguments)
    try:
        print(f"device on {target}: {exchange.hello.parameters.lanes} lanes, gateware {gateware(exchange.hello.build)}", flush=True)
        for name, test in (("memory", memory), ("link", round_trips), ("training", known_samples)):
            print(f"{name}: {test(exchange)}", flush=True)
        if link is not None:
            print(f"line: {_line(link)}")
    except SelfTestError as error:
        print(f"FAILED: {error}")
        return 1
    finally:
        exchange.close()
    print("passed")
    return 0


def memory(exchange: Exchange) -> str:
    """Fill the whole weight memory with patterns and read them back: random words and their complement, and every address.

    Raises
    ------
    SelfTestError
        Naming the first address that differs.
    """
    parameters = exchange.hello.parameters
    shape = (parameters.weight_depth, parameters.lanes)
    low, high = parameters.weight.minimum, parameters.weight.maximum
    noise = np.random.default_rng(SEED).integers(low, high + 1, shape)
    # Neighbouring addresses, and those that differ in a high bit alone, hold other values.
    own = (np.arange(shape[0])[:, None] * 0x9E37 + np.arange(shape[1])) % (high - low + 1) + low
    item = weight_item_words(parameters.lanes)
    chunk = max((PACKET_WORDS - 2) // item, 1)
    seconds, moved = {"write": 0.0, "read": 0.0}, 0
    for name, pattern in (("random", noise), ("complement", -noise), ("address", own)):
        with _timed(seconds, "write"):
            exchange.write(
                write(Space.WEIGHTS, start, pack_weights(pattern[start : start + chunk])) for start in range(0, len(pattern), chunk)
            )
        with _timed(seconds, "read"):
            content = exchange.read(Space.WEIGHTS, 0, shape[0], item, "weights")
        moved += content.nbytes
        _equal(f"{name} pattern in the weight memory", unpack_weights(content, parameters.lanes), pattern)
    rates = ", ".join(f"{name} {moved / 1024 / spent:.1f} KiB/s" for name, spent in seconds.items())
    return f"{shape[0]} addresses of {shape[1]} weights hold 3 patterns; {rates}"


def round_trips(exchange: Exchange) -> str:
    """Time greetings that go and come one by one."""
    spent = []
    for _ in range(ROUND_TRIPS):
        started = time.perf_counter()
        for _ in exchange.run([Request(Command.HELLO, 0, words(), "the greeting of a frenn device")]):
            pass
        spent.append(1000 * (time.perf_counter() - started))
    return f"{ROUND_TRIPS} round trips, {statistics.median(spent):.2f} ms, at most {max(spent):.2f} ms"


def known_samples(exchange: Exchange) -> str:
    """Train a small network on samples that are always the same, and compare every bit with the golden model.

    Raises
    ------
    SelfTestError
        Naming what differs.
    """
    program = example(exchange.hello.parameters)
    network = program.network
    generator = np.random.default_rng(SEED)
    shape = (SAMPLES, network.widths[0])
    inputs = generator.integers(0, network.formats.input.maximum + 1, shape) * (generator.random(shape) < 0.5)
    labels = generator.integers(0, network.widths[-1], SAMPLES)
    rate = network.learning.rate_at(0)
    golden, driver = Golden(network), Driver(exchange, program)
    for machine in (golden, driver):
        machine.load(network.initial_weights())
    seconds = {"training": 0.0, "inference": 0.0}
    with _timed(seconds, "training"):
        trained = driver.train(inputs, labels, 0, rate)
    with _timed(seconds, "inference"):
        predicted = driver.infer(inputs)
    for what, mine, expected in zip(("predictions", "errors"), trained, golden.train(inputs, labels, 0, rate), strict=True):
        _equal(f"{what} of {SAMPLES} training samples", mine, expected)
    _equal(f"predictions of {SAMPLES} samples", predicted, golden.infer(inputs))
    for name, mine, expected in zip(network.weight_names, driver.weights(), golden.weights(), strict=True):
        _equal(f"learned weights {name}", mine, expected)
    counters, counted = driver.counters(), golden.counters()
    for name in GOLDEN:
        _equal(f"counter {name}", np.array(counters[name]), np.array(counted[name]))
    rates = ", ".join(f"{name} {SAMPLES / spent:.0f} samples/s" for name, spent in seconds.items())
    widths = "-".join(map(str, network.widths))
    return f"{widths} on {SAMPLES} samples, equal to golden in every bit; {counters['cycles'] / (2 * SAMPLES):.0f} cycles/sample, {rates}"


def example(parameters: EngineParameters) -> Program:
    """A small network in the formats of an engine, compiled for it.

    Raises
    ------
    FrennError
        If the engine is too small even for that.
    """
    formats = Formats(
        weight=parameters.weight,
        mac_weight=None if parameters.mac_weight == parameters.weight else parameters.mac_weight,
        pre_activation=parameters.pre_activation,
        drive=parameters.drive,
    )
    network = Network.chain([16, 10, 8, 4], name="selftest", seed=SEED, formats=formats, learning=Learning(rate_exponent=-5))
    return compile_network(network, parameters)


def _line(link: ByteLink) -> str:
    seen = link.statistics
    return (
        f"{seen.frames_sent} frames sent, {seen.resent} of them again; {seen.frames_received} received, "
        f"{seen.bad} bad, {seen.gaps} after a lost one"
    )


def _equal(what: str, got: NDArray[Any], expected: NDArray[Any]) -> None:
    if not np.array_equal(got, expected):
        place = tuple(map(int, np.argwhere(np.atleast_1d(got != expected))[0]))
        mine, other = np.atleast_1d(got)[place], np.atleast_1d(expected)[place]
        raise SelfTestError(
            f"{what}: {mine} instead of {other} at {', '.join(map(str, place))}; {np.count_nonzero(got != expected)} differ"
        )


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] += time.perf_counter() - started
