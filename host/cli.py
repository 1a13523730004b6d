# SPDX-License-Identifier: Apache-2.0
"""The command line: ``frenn VERB ...``."""

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from ..firmware.errors import FrennError

FAILED: Final = 2
INTERRUPTED: Final = 130
MACHINES: Final = (
    "golden, twin (the compiled RTL), a serial port as PATH or PATH:BAUD, auto: the board's port, pcie:/dev/xdma0, "
    "usb or usb:SERIAL (default {})"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process by default.

    Returns
    -------
    int
        Exit code: 0, 1 if a verification failed, 2 after a user's mistake (one line on the error output), 130 after
        Ctrl-C.
    """
    try:
        _check_python()
        arguments = _parser().parse_args(argv)
        return int(arguments.run_verb(arguments))
    except FrennError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # Who reads the output has gone. The interpreter must not flush into the broken pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        print("frenn: stopped", file=sys.stderr)
        return INTERRUPTED


def _check_python() -> None:
    # An installer refuses it too, but not what runs from a checkout.
    if sys.version_info < (3, 11):  # noqa: UP036
        raise FrennError(f"Python {platform.python_version()} is too old; frenn needs Python 3.11 or newer")


def _fail(message: str) -> int:
    print(f"frenn: error: {FrennError(message)}", file=sys.stderr)
    return FAILED


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise FrennError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    # Late, so that a Python which is too old is told so, not shown a failing import.
    from importlib.metadata import version

    from ..firmware.parameters import PRESETS
    from ..rtl_gen.generate import LINKS as OUTER
    from . import analyze as analysis
    from . import board_verbs, commands, device_report, selftest, serve
    from .datasets import NAMES
    from .targets import LINKS

    parser = _Parser(prog="frenn", description="Train brain-inspired recurrent networks by Equilibrium Propagation.")
    parser.add_argument("--version", action="version", version=f"frenn {version('frenn')}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    train = verbs.add_parser("train", help="train a network and leave a run folder")
    train.add_argument("network", metavar="NETWORK", help="network file (TOML)")
    train.add_argument("--on", metavar="MACHINE", default="twin", help=MACHINES.format("twin"))
    train.add_argument("--link", choices=LINKS, default="packets", help="what lies between driver and twin (default packets)")
    train.add_argument("--engine", choices=PRESETS, help="preset to compile for (default: the first of 16 lanes or more that fits)")
    train.add_argument("--lanes", type=int, metavar="N", help="lanes instead of the preset's; alone: of the smallest engine that fits")
    train.add_argument("--data", choices=NAMES, default="digits", help="data set (default digits)")
    train.add_argument("--data-dir", metavar="DIR", help="folder of the MNIST files (default: fetch them from OpenML)")
    train.add_argument("--epochs", type=int, metavar="N", help="epochs (default: the network's)")
    train.add_argument("--samples", type=int, metavar="N", help="the first N training samples alone")
    train.add_argument("--test-samples", type=int, metavar="N", help="the first N test samples alone")
    train.add_argument("--seed", type=int, metavar="S", help="seed of every random choice (default: the network's)")
    train.add_argument("--out", metavar="RUN", help="run folder (default runs/NAME-MACHINE, numbered)")
    train.add_argument("--verify", action="store_true", help="train on golden and twin and compare every bit")
    train.add_argument(
        "--checkpoint-every",
        type=int,
        default=20_000,
        metavar="N",
        help="samples between two checkpoints (default 20000); there is one after every epoch and at Ctrl-C too",
    )
    train.set_defaults(run_verb=commands.train)

    resume = verbs.add_parser("resume", help="go on with a run that was stopped, to the same bits")
    resume.add_argument("run", metavar="RUN", help="run folder")
    resume.add_argument("--on", metavar="MACHINE", help=MACHINES.format("the run's"))
    resume.add_argument("--link", choices=LINKS, help="what lies between driver and twin (default: the run's)")
    resume.add_argument("--data-dir", metavar="DIR", help="folder of the MNIST files (default: the run's)")
    resume.set_defaults(run_verb=commands.resume)

    evaluate = verbs.add_parser("eval", help="test accuracy of a run's weights")
    evaluate.add_argument("run", metavar="RUN", help="run folder")
    evaluate.add_argument("--on", metavar="MACHINE", default="golden", help=MACHINES.format("golden"))
    evaluate.add_argument("--link", choices=LINKS, default="packets", help="what lies between driver and twin (default packets)")
    evaluate.add_argument("--data-dir", metavar="DIR", help="folder of the MNIST files (default: the run's)")
    evaluate.set_defaults(run_verb=commands.evaluate)

    check = verbs.add_parser("check", help="describe a network and say which engines it fits")
    check.add_argument("network", metavar="NETWORK", help="network file (TOML)")
    check.add_argument("--cycles", action="store_true", help="tell where the cycles of a training sample go, and nothing else")
    check.add_argument("--preset", choices=PRESETS, help="engine whose cycles are told (default: the smallest that fits)")
    check.add_argument("--lanes", type=int, metavar="N", help="its lanes (default: the preset's, or 16)")
    check.set_defaults(run_verb=commands.check)

    analyze = verbs.add_parser("analyze", help="how a network settles: spectral radius, Lyapunov exponent, time to rest")
    analyze.add_argument("subject", metavar="NETWORK|RUN", help="network file (TOML), or run folder: before and after training")
    analyze.add_argument("--data", choices=NAMES, help="data set (default: the run's; for a network file random inputs)")
    analyze.add_argument("--data-dir", metavar="DIR", help="folder of the MNIST files (default: the run's)")
    analyze.add_argument("--samples", type=int, default=16, metavar="N", help="samples that are followed (default 16)")
    analyze.add_argument("--test-samples", type=int, metavar="N", help="the first N test samples alone tell the error")
    analyze.add_argument("--betas", default=analysis.BETAS, metavar="LIST", help=f"feedback scales (default {analysis.BETAS})")
    analyze.add_argument("--steps", type=int, metavar="T", help="steps of exponent and pictures (default 10 per hidden layer)")
    analyze.add_argument("--cap", type=int, default=1000, metavar="N", help="largest time to rest that is looked for (default 1000)")
    analyze.add_argument("--out", metavar="DIR", help="folder (default runs/NAME-analysis, numbered)")
    analyze.set_defaults(run_verb=analysis.analyze)

    for name, text, verb in (
        ("info", "what a device is: identity, engine, counters", device_report.info),
        ("selftest", "test a device's memory, line and arithmetic, and time it; its memory is overwritten", selftest.selftest),
    ):
        device = verbs.add_parser(name, help=text)
        device.add_argument(
            "--on",
            metavar="DEVICE",
            required=True,
            help="a serial port as PATH or PATH:BAUD, auto, pcie:/dev/xdma0, usb, usb:SERIAL, twin",
        )
        device.add_argument("--link", choices=LINKS, default="packets", help="what lies between host and twin (default packets)")
        device.add_argument("--engine", choices=PRESETS, default="tiny", help="preset of the twin (default tiny)")
        device.set_defaults(run_verb=verb)

    server = verbs.add_parser(
        "serve", help="the twin behind a pseudo-terminal or pipes, to be opened like a board's serial port or DMA device"
    )
    server.add_argument(
        "--link",
        choices=[*LINKS[1:], "transfers"],
        default="uart",
        help="bytes as they are, bit by bit on the pins (default), or transfers as over PCIe",
    )
    server.add_argument("--engine", choices=PRESETS, default="tiny", help="preset of the twin (default tiny)")
    server.set_defaults(run_verb=serve.serve)

    board_verbs.add_parsers(verbs)

    generate = verbs.add_parser("generate", help="write the Verilog of an engine")
    source = generate.add_mutually_exclusive_group()
    source.add_argument("network", metavar="NETWORK", nargs="?", help="network file: the smallest engine that runs it")
    source.add_argument("--preset", choices=PRESETS, help="engine by name (default small)")
    generate.add_argument("--lanes", type=int, metavar="N", help="other number of lanes")
    generate.add_argument(
        "--link",
        choices=OUTER,
        default="packets",
        help="outer port: packets (default), framed bytes, serial pins, transfers, or these on AXI4-Stream",
    )
    generate.add_argument("-o", "--output", metavar="FILE", help="file (default: standard output)")
    generate.set_defaults(run_verb=commands.generate)
    return parser
