# SPDX-License-Identifier: Apache-2.0
"""Many more of the random tests than any change waits for: fault runs, configurations, kill points, with a log of their seeds.

    python bench/endurance.py faults --runs 1000 --log faults.jsonl
    python bench/endurance.py configurations --runs 1000 --log configurations.jsonl
    python bench/endurance.py kills --runs 30 --log kills.jsonl

Goes on where its log ends, one line for each batch: stop it whenever you like. A batch that failed is printed with the command that
runs it alone, and the others go on. Ends with 1 if any failed.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from frenn.firmware.errors import FrennError

ROOT: Final = Path(__file__).parents[1]
DEFAULT_SEED: Final = 1_000_000


@dataclass(frozen=True)
class Kind:
    """A random test.

    Parameters
    ----------
    test : str
        For pytest.
    batch : int
        Runs at once.
    stride : int
        From a batch's seed to the next one's, so that no run is the same.
    """

    test: str
    batch: int
    stride: int


KINDS: Final = {
    "faults": Kind("tests/host/test_bad_line.py::test_short_runs", 20, 20),
    "configurations": Kind("tests/sim/test_random_networks.py", 10, 1),
    "kills": Kind("tests/host/test_kill.py", 5, 1),
}


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--runs", type=int, required=True, metavar="N", help="in all, with those that the log has")
    parser.add_argument("--log", type=Path, required=True, help="JSON lines; made if it is not there")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, metavar="S", help=f"of the first batch (default {DEFAULT_SEED})")
    arguments = parser.parse_args(words)
    try:
        return work(arguments.kind, arguments.runs, arguments.log, arguments.seed)
    except (FrennError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on where {arguments.log} ends", file=sys.stderr)
    return 2


def work(name: str, runs: int, log: Path, seed: int) -> int:
    """Run batches until a log has so many runs; 1 if any of them failed."""
    kind = KINDS[name]
    batches = read(log, name)
    known = {batch["seed"] for batch in batches}
    while sum(batch["runs"] for batch in batches) < runs:
        while seed in known:
            seed += kind.stride
        known.add(seed)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            kind.test,
            f"--{name}",
            str(kind.batch),
            "--seed",
            str(seed),
        ]
        began = time.monotonic()
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        passed = result.returncode == 0
        if not passed:
            print(f"{result.stdout[-3000:]}\nfailed; alone: {' '.join(['python', *command[1:]])}", flush=True)
        batches.append({"kind": name, "seed": seed, "runs": kind.batch, "passed": passed, "seconds": round(time.monotonic() - began)})
        with log.open("a") as file:
            file.write(json.dumps(batches[-1]) + "\n")
    failed = [batch["seed"] for batch in batches if not batch["passed"]]
    total = sum(batch["runs"] for batch in batches)
    print(f"{total} {name} in {len(batches)} batches, {'all passed' if not failed else f'failed: seeds {failed}'}")
    return int(bool(failed))


def read(log: Path, name: str) -> list[dict[str, Any]]:
    """The batches of a log.

    Raises
    ------
    FrennError
        If it is another's.
    """
    try:
        batches = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        kinds = {batch["kind"] for batch in batches}
    except (ValueError, TypeError, KeyError):
        raise FrennError(f"{log} is no log of this program; name another") from None
    if kinds - {name}:
        raise FrennError(f"{log} is a log of {', '.join(sorted(kinds))}, not of {name}; name another")
    return batches


if __name__ == "__main__":
    sys.exit(main())
