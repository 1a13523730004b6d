# SPDX-License-Identifier: Apache-2.0
"""What framing and protocol cost: the bytes of a byte link while digits and MNIST are trained on the twin, as Markdown.

    python bench/link.py [--data-dir DIR] [--samples 256]

The line is clean, and slower than the engine: 16 cycles a byte. Samples go as the driver packs them, and all dense: zeros are ones then, so
that no packing is shorter. Without --data-dir MNIST is left out. What opens the link and loads the network is not counted.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from frenn.firmware.compiler import compile_network, joint_requirements
from frenn.firmware.errors import FrennError
from frenn.firmware.network import Network
from frenn.firmware.parameters import EngineParameters
from frenn.firmware.protocol import zero_runs
from frenn.host import datasets
from frenn.host.driver import Driver
from frenn.host.link import ByteLink
from frenn.sim.bad_line import BadLine, Faults
from frenn.sim.line_bytes import LineBytes, Tap
from frenn.sim.twin import ByteTwin, open_twin

NETWORKS = {"digits": Network.chain([64, 6, 10], name="digits", seed=3), "mnist": Network.chain([784, 6, 10], name="mnist", seed=3)}
PARAMETERS = EngineParameters(**joint_requirements(list(NETWORKS.values()), 4))
BYTE_CYCLES = 16


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="folder of the IDX files of MNIST")
    parser.add_argument("--samples", type=int, default=256, help="training samples (default: 256)")
    arguments = parser.parse_args(words)
    try:
        print("\n".join(table(arguments.data_dir, arguments.samples)))
    except FrennError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def table(data_dir: Path | None, samples: int) -> Iterator[str]:
    """Lines, a direction of each run in one."""
    yield "| samples | way | bytes a sample | inputs and label, or result | packets | frames | bare frames | escapes | cost % |"
    yield "|" + "---|" * 9
    for name, network in NETWORKS.items():
        if name == "mnist" and data_dir is None:
            continue
        data = datasets.load(name, data_dir if name == "mnist" else None, 1).first(samples)
        inputs = datasets.quantise(data.train_inputs, network.formats.input)
        for way, given in (("as packed", inputs), ("dense", np.maximum(inputs, 1))):
            there, back = measure(network, given, data.train_labels)
            useful = useful_bytes(given, dense=way == "dense")
            for direction, counted, wanted in (("to the device", there, useful), ("back", back, 2.0)):
                each = [counted.packets, counted.framing, counted.bare, counted.escapes]
                yield (
                    f"| {name}, {way} | {direction} | {counted.total / samples:.1f} | {wanted:.1f} | "
                    + " | ".join(f"{part / samples:.1f}" for part in [each[0] - wanted * samples, *each[1:]])
                    + f" | {100 * counted.cost(wanted * samples):.1f} |"
                )


def measure(network: Network, inputs: np.ndarray, labels: np.ndarray) -> tuple[LineBytes, LineBytes]:
    """The bytes to the device and back while samples are trained, all in one call."""
    twin = open_twin(PARAMETERS, "bytes")
    assert isinstance(twin, ByteTwin)
    line = BadLine(twin, 1, Faults(), byte_cycles=BYTE_CYCLES)
    tap = Tap(line)
    with Driver(ByteLink(tap, session=1, clock=line.clock), compile_network(network, PARAMETERS)) as driver:
        driver.load(network.initial_weights())
        driver.counters()
        sent, received = len(tap.sent), len(tap.received)
        driver.train(inputs, labels, 0, network.learning.rate_at(0))
        return LineBytes.of(bytes(tap.sent[sent:])), LineBytes.of(bytes(tap.received[received:]))


def useful_bytes(inputs: np.ndarray, dense: bool) -> float:
    """Bytes of the average sample's units and of its label, which needs one."""
    units = [inputs.shape[1] if dense else min(len(zero_runs(sample)), len(sample)) for sample in inputs]
    return 1.0 + float(np.mean(units))


if __name__ == "__main__":
    sys.exit(main())
