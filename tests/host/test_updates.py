# SPDX-License-Identifier: Apache-2.0
"""Weights that the host updates."""

from dataclasses import replace

import numpy as np
import pytest
from frenn.firmware.compiler import compile_network
from frenn.firmware.errors import NetworkError
from frenn.firmware.formats import Format
from frenn.firmware.network import Formats, Learning, Network, Relaxation, parse_network
from frenn.firmware.parameters import EngineParameters
from frenn.host.driver import Driver
from frenn.host.updates import HostUpdate
from frenn.sim.compiled import CompiledGolden
from frenn.sim.golden import Golden
from frenn.sim.twin import open_twin


def network(optimizer: str = "sgd", **rest: object) -> Network:
    learning = Learning(rate_exponent=-2, epochs=1, update="host", optimizer=optimizer, batch=8)
    return Network.chain([12, 9, 7, 4], learning=learning, **rest)


def samples(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(0, 256, (count, 12)), rng.integers(0, 4, count)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_golden_and_compiled_learn_the_same(rng, optimizer):
    net = network(optimizer)
    inputs, labels = samples(rng, 24)
    learned = []
    for machine in (Golden(net), CompiledGolden(net)):
        host = HostUpdate(net, machine.weights())
        for start in range(0, 24, 8):
            host.learn(machine, inputs[start : start + 8], labels[start : start + 8], start, -2)
        learned.append(machine.weights())
    assert any((block != first).any() for block, first in zip(learned[0], net.initial_weights(), strict=True))
    for own, other in zip(*learned, strict=True):
        np.testing.assert_array_equal(own, other)


def test_gradient_is_the_mean_of_deviation_and_state(rng):
    net = network()
    inputs, labels = samples(rng, 8)
    before = [net.formats.weight.to_float(block) for block in net.initial_weights()]
    expected = [np.zeros_like(block) for block in before]
    golden = Golden(net)
    for sample, label in zip(inputs, labels, strict=True):
        golden.train(sample[None], label[None], 0, -2)
        values = [sample / 256, *(golden.states[layer] / 256 for layer in (1, 2))]
        deviations = [golden.deviations[layer] / 256 for layer in (1, 2, 3)]
        for block, (deviation, value) in enumerate(zip(deviations, values, strict=True)):
            expected[block] += np.outer(deviation, value) / 8
    host = HostUpdate(net, net.initial_weights())
    predictions = host.learn(Golden(net), inputs, labels, 0, -2)
    np.testing.assert_array_equal(predictions, Golden(net).infer(inputs))
    for master, first, gradient in zip(host.masters, before, expected, strict=True):
        np.testing.assert_allclose(master, first + gradient / 4, rtol=0, atol=1e-12)


def test_literal_form_learns_from_the_free_states(rng):
    """With a weak nudge and wide states the literal gradient is that of the deviation form."""
    formats = Formats(
        state=Format(True, 0, 22), pre_activation=Format(True, 2, 22), deviation=Format(True, 1, 20), drive=Format(True, 5, 20)
    )
    deviation = Relaxation(free_sweeps=12, clamped_sweeps=12)
    literal = replace(deviation, clamped="literal", nudge_exponent=-6)
    inputs, labels = samples(rng, 8)
    moved = []
    for relaxation in (deviation, literal):
        net = network(formats=formats, relaxation=relaxation)
        host = HostUpdate(net, net.initial_weights())
        before = [master.copy() for master in host.masters]
        host.learn(Golden(net), inputs, labels, 0, -2)
        moved.append(np.concatenate([(master - first).ravel() for master, first in zip(host.masters, before, strict=True)]))
    assert np.linalg.norm(moved[0] - moved[1]) < 0.05 * np.linalg.norm(moved[0])


def test_masters_stay_in_the_range_of_the_format(rng):
    net = network(formats=Formats(weight=Format(True, 0, 4)))
    inputs, labels = samples(rng, 8)
    host = HostUpdate(net, net.initial_weights())
    for _ in range(40):
        host.learn(Golden(net), inputs, labels, 0, 0)
    assert host.saturated > 0
    assert max(np.abs(block).max() for block in host.weights()) == 15


def test_fixed_blocks_stay(rng):
    net = parse_network('layers = [12, 9, 7, 4]\nfeedback = "fixed"\n[learning]\nupdate = "host"\nbatch = 8\nepochs = 1\nrate = "2^-2"\n')
    inputs, labels = samples(rng, 8)
    golden = Golden(net)
    HostUpdate(net, golden.weights()).learn(golden, inputs, labels, 0, -2)
    for edge, block, first in zip(net.edges, golden.weights(), net.initial_weights(), strict=True):
        assert (block != first).any() == edge.learns


def test_what_only_the_host_can():
    with pytest.raises(NetworkError, match='batch is 65; legal is an integer from 1 to 64, unless update = "host"'):
        Learning(batch=65)
    with pytest.raises(NetworkError, match="batch is 1000001; legal is an integer from 1 to 1000000"):
        Learning(update="host", batch=1_000_001)
    assert Learning(batch=64).summed and not Learning().summed and not Learning(update="host", batch=8).summed
    with pytest.raises(NetworkError, match='optimizer is adam; legal is sgd, unless update = "host"'):
        Learning(optimizer="adam")


def test_device_relaxes_and_stores_as_golden(rng):
    net = network()
    parameters = EngineParameters.for_network(net, 4)
    inputs, labels = samples(rng, 6)
    golden = Golden(net)
    with Driver(open_twin(parameters, optimize=0), compile_network(net, parameters)) as driver:
        driver.load(net.initial_weights())
        for machine in (driver, golden):
            machine.infer(inputs[:1])
            machine.store([block[::-1] for block in net.initial_weights()])
        assert driver.counters()["inferred"] == 1
        relaxed, expected = driver.relax(inputs, labels, 3, -2), golden.relax(inputs, labels, 3, -2)
        np.testing.assert_array_equal(relaxed.predictions, expected.predictions)
        for name in ("states", "deviations"):
            for own, other in zip(getattr(relaxed, name), getattr(expected, name), strict=True):
                np.testing.assert_array_equal(own, other)
        for own, other in zip(driver.weights(), golden.weights(), strict=True):
            np.testing.assert_array_equal(own, other)
