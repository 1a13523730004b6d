# SPDX-License-Identifier: Apache-2.0
"""Trains digits on synthesised netlists of whole engines and compares with the golden model, bit for bit.

    python bench/netlist.py [--family ecp5] [--preset small] [--samples 200]

What the tests do with a tiny engine, for every family and preset that is named: without --family all of them. It synthesises, compiles
and trains; a netlist that was compiled before is not compiled again.
"""

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np
from frenn.firmware.compiler import compile_network
from frenn.firmware.counters import GOLDEN
from frenn.firmware.errors import FrennError
from frenn.firmware.network import load_network
from frenn.firmware.parameters import PRESETS
from frenn.host import datasets
from frenn.host.driver import Driver
from frenn.host.link import ByteLink
from frenn.host.progress import progress
from frenn.sim.golden import Golden
from frenn.sim.netlist import FAMILIES, open_netlist
from frenn.sim.twin import ByteTwin
from runs import EXAMPLES

LINKS = ("packets", "bytes")
CHUNK = 10
"""Samples between two signs of progress."""


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", action="append", choices=sorted(FAMILIES), help="FPGA family, may be given again (default: all)")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="small", help="engine (default: small)")
    parser.add_argument("--samples", type=int, default=200, help="training samples (default: 200)")
    parser.add_argument("--link", choices=LINKS, default="packets", help="what the netlist is reached through (default: packets)")
    arguments = parser.parse_args(words)
    try:
        wrong = [
            family for family in arguments.family or FAMILIES if not equal(family, arguments.preset, arguments.samples, arguments.link)
        ]
    except FrennError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 1 if wrong else 0


def equal(family: str, preset: str, samples: int, link: str) -> bool:
    """Whether the netlist of a preset for a family trains like the golden model; says what it found."""
    network = load_network(EXAMPLES / "digits.toml")
    data = datasets.load("digits", seed=network.seed).first(samples)
    inputs = datasets.quantise(data.train_inputs, network.formats.input)
    rate = network.learning.rate_at(0)
    program = compile_network(network, PRESETS[preset])
    golden = Golden(network)
    golden.load(network.initial_weights())

    began = time.monotonic()
    twin = open_netlist(PRESETS[preset], family, link, progress=lambda text: print(f"{family} {preset}: {text}", file=sys.stderr))
    built, began = time.monotonic() - began, time.monotonic()
    same = True
    with (
        Driver(ByteLink(twin) if isinstance(twin, ByteTwin) else twin, program) as driver,
        progress(len(inputs), f"{family} {preset}") as advance,
    ):
        driver.load(network.initial_weights())
        for start in range(0, len(inputs), CHUNK):
            part = slice(start, start + CHUNK)
            got = driver.train(inputs[part], data.train_labels[part], start, rate)
            expected = golden.train(inputs[part], data.train_labels[part], start, rate)
            same &= all(np.array_equal(mine, theirs) for mine, theirs in zip(got, expected, strict=True))
            advance(len(inputs[part]))
        counters, cycles = driver.counters(), twin.cycles
        same &= {name: counters[name] for name in GOLDEN} == golden.counters()
        same &= all(np.array_equal(mine, theirs) for mine, theirs in zip(driver.weights(), golden.weights(), strict=True))
    verdict = "equal to golden" if same else "NOT equal to golden"
    run = time.monotonic() - began
    print(f"{family} {preset}: {len(inputs)} samples, {cycles} cycles, {verdict}; built in {built:.0f} s, run in {run:.0f} s")
    return same


if __name__ == "__main__":
    raise SystemExit(main())
