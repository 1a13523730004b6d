# SPDX-License-Identifier: Apache-2.0
"""The device on AXI4-Stream, and its parts, against their models."""

from pathlib import Path

import pytest
from frenn.firmware.errors import FrennError
from frenn.firmware.parameters import PRESETS
from frenn.rtl_gen.axi_device import AxiDevice
from frenn.rtl_gen.axi_stream import WIDTHS, BeatPacker, BeatUnpacker, beat
from frenn.rtl_gen.generate import verilog
from frenn.rtl_gen.transfer import TransferJoiner, TransferSplitter
from frenn.sim.benches.axi_loop import AxiLoop
from frenn.sim.benches.device import example
from frenn.sim.benches.runner import SIMULATORS, Simulator, run


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("block", ["unpacker", "packer"])
def test_beats(seed: int, tmp_path: Path, block: str, width: int) -> None:
    component = BeatUnpacker(width) if block == "unpacker" else BeatPacker(width)
    parameters = {"BLOCK": block, "WIDTH": str(width)}
    run(component, "frenn.sim.benches.beats", name=block, simulator="icarus", seed=seed, parameters=parameters, build_dir=tmp_path)


@pytest.mark.parametrize("block", ["splitter", "joiner"])
def test_transfers(seed: int, tmp_path: Path, block: str) -> None:
    words = 16
    component = TransferSplitter() if block == "splitter" else TransferJoiner(words)
    parameters = {"BLOCK": block, "WORDS": str(words)}
    run(component, "frenn.sim.benches.transfer", name=block, simulator="icarus", seed=seed, parameters=parameters, build_dir=tmp_path)


@pytest.mark.parametrize(("simulator", "width"), list(zip(SIMULATORS, WIDTHS, strict=True)))
def test_packets_come_back(simulator: Simulator, seed: int, tmp_path: Path, width: int) -> None:
    run(
        AxiLoop(width),
        "frenn.sim.benches.axi_loop",
        name="axi_loop",
        simulator=simulator,
        seed=seed,
        parameters={"WIDTH": str(width)},
        build_dir=tmp_path,
    )


@pytest.mark.parametrize(("width", "transfers"), [(64, False), (128, True)])
def test_device_trains(seed: int, tmp_path: Path, width: int, transfers: bool) -> None:
    _, parameters = example(4, wide=False)
    run(
        AxiDevice(parameters, width, transfers=transfers, domain="axi"),
        "frenn.sim.benches.axi_device",
        name="axi_device",
        simulator="icarus",
        seed=seed,
        parameters={"LANES": "4", "WIDE": "0", "TRANSFERS": str(int(transfers))},
        build_dir=tmp_path,
    )


def test_other_widths_are_refused() -> None:
    with pytest.raises(FrennError, match="width is 256; legal are 64 and 128 bits"):
        beat(256)


@pytest.mark.parametrize("width", WIDTHS)
def test_verilog_has_the_ports_that_vendors_know(width: int) -> None:
    text = verilog(PRESETS["tiny"], f"axi{width}")
    top = text[text.index("module frenn(") :]
    for name, bits in (("tdata", f"[{width - 1}:0] "), ("tkeep", f"[{width // 8 - 1}:0] "), ("tlast", ""), ("tvalid", "")):
        assert f"  input {bits}s_axis_{name};\n" in top and f"  output {bits}m_axis_{name};\n" in top
    for port in ("output s_axis_tready", "input m_axis_tready", "input axi_clk", "input axi_rst", "input clk", "input rst"):
        assert f"  {port};\n" in top
