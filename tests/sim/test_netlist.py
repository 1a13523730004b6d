# SPDX-License-Identifier: Apache-2.0
"""After synthesis the device is still golden, and the cell models behave like the models that simulation uses before it."""

from pathlib import Path

import numpy as np
import pytest
from frenn.firmware.compiler import compile_network
from frenn.firmware.counters import GOLDEN
from frenn.firmware.errors import FrennError
from frenn.firmware.network import Network
from frenn.firmware.parameters import EngineParameters
from frenn.host import datasets
from frenn.host.driver import Driver
from frenn.rtl_gen.primitives.multiplier import Multiplier
from frenn.sim import netlist
from frenn.sim.benches.cells import Cells
from frenn.sim.benches.ice40_cells import Ice40Cells
from frenn.sim.benches.runner import run
from frenn.sim.golden import Golden
from frenn.sim.netlist import cell_models, open_netlist
from frenn.sim.twin import Twin, compile_device

SAMPLES = 40


# On iCE40 an engine of more lanes has no room.
@pytest.mark.parametrize(("family", "lanes"), [("ecp5", 4), ("ice40", 1)])
def test_a_netlist_trains_digits_like_golden(family: str, lanes: int) -> None:
    network = Network.chain([64, 8, 10], name="digits", seed=3)
    data = datasets.load("digits").first(SAMPLES)
    inputs = datasets.quantise(data.train_inputs, network.formats.input)
    rate = network.learning.rate_at(0)
    golden = Golden(network)
    golden.load(network.initial_weights())
    trained = golden.train(inputs, data.train_labels, 0, rate)
    counted = golden.counters()
    expected = [*trained, golden.infer(inputs), *golden.weights()]

    parameters = EngineParameters.for_network(network, lanes)
    twin = open_netlist(parameters, family, optimize=0)
    assert isinstance(twin, Twin)
    with Driver(twin, compile_network(network, parameters)) as driver:
        driver.load(network.initial_weights())
        trained = driver.train(inputs, data.train_labels, 0, rate)
        counters = driver.counters()
        got = [*trained, driver.infer(inputs), *driver.weights()]
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert any((after != before).any() for after, before in zip(golden.weights(), network.initial_weights(), strict=True))
    assert {name: counters[name] for name in GOLDEN} == counted


def test_cells_behave_like_their_models(seed: int, tmp_path: Path) -> None:
    run(Cells(), "frenn.sim.benches.cells", name="cells", seed=seed, models=cell_models("ecp5"), build_dir=tmp_path)


def test_ice40_cells_behave_like_their_models(seed: int, tmp_path: Path) -> None:
    run(Ice40Cells(), "frenn.sim.benches.ice40_cells", name="ice40_cells", seed=seed, models=cell_models("ice40"), build_dir=tmp_path)


@pytest.mark.parametrize(
    ("cell", "parameter"),
    [("DP16KD", '.WRITEMODE_B("WRITETHROUGH")'), ("DP16KD", ".INITVAL_00(1)"), ("MULT18X18D", '.REG_OUTPUT_CLK("CLK1")')],
)
def test_a_mode_without_a_model_is_refused(cell: str, parameter: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def generate(folder: Path) -> list[str]:
        text = f'module frenn(input clk, output o);\n{cell} #(.GSR("DISABLED"), {parameter}) cell_({{}});\nendmodule\n'
        (folder / "frenn.v").write_text(text.format(".DOB0(o)" if cell == "DP16KD" else ".P0(o)"))
        return [*cell_models("ecp5"), "frenn.v"]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(FrennError, match=r"Verilator failed .*(mode_without_model|Parameter not found: 'INITVAL_00')"):
        compile_device(generate, "refused", "packets", [], print)


def test_an_unknown_family() -> None:
    with pytest.raises(FrennError, match="no netlist of family 'gowin' can be simulated; choose ecp5 or ice40"):
        netlist.build(EngineParameters(), "gowin")


def test_yosys_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlist.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FrennError, match=r"Yosys is missing; get it with: pip install 'frenn\[build\]'"):
        netlist.build(EngineParameters(), "ecp5")


def test_yosys_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(netlist, "synthesis", lambda family: "no_such_command\n")
    with pytest.raises(FrennError, match="Yosys failed while it synthesised for ice40: ERROR: No such command: no_such_command"):
        netlist.synthesise(Multiplier(3, 3), "ice40", tmp_path)
