# SPDX-License-Identifier: Apache-2.0
"""Run folders, made once: what the benches that write pages from run folders share."""

import json
import shutil
from pathlib import Path
from typing import Any

from frenn.firmware.errors import FrennError
from frenn.firmware.network import Network
from frenn.host.cli import main as frenn
from frenn.host.run import METRICS, OPTIONS, load_run

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
DOCS = ROOT / "docs"


def train(file: Path, network: Network, folder: Path, options: list[str]) -> None:
    """Make one run with the golden model, unless it is there; what is left of one that was cut off is removed.

    Parameters
    ----------
    file : Path
        Network file.
    network : Network
        What it says, with the seed of the run.
    folder : Path
        Run folder.
    options : list of str
        More options of ``frenn train``.

    Raises
    ------
    FrennError
        If it fails, or the folder holds a run of another network.
    """
    if complete(folder, network):
        return
    shutil.rmtree(folder, ignore_errors=True)
    code = frenn(["train", str(file), "--on", "golden", "--seed", str(network.seed), "--out", str(folder), *options])
    if code:
        raise FrennError(f"the run {folder} ended with exit status {code}; what was wrong is said above")


def complete(folder: Path, network: Network) -> bool:
    """Whether a run folder holds every epoch of a network's run.

    Raises
    ------
    FrennError
        If it holds a run of another network.
    """
    if not (folder / OPTIONS).exists():
        return False
    if load_run(folder)[0] != network:
        raise FrennError(f"{folder} is a run of another network than the file now says; remove it")
    return len(records(folder)) == network.learning.epochs


def records(folder: Path) -> list[dict[str, Any]]:
    """Lines of a run's metrics, one per epoch."""
    path = folder / METRICS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def accuracies(folder: Path) -> list[float]:
    """Test accuracy in percent after each epoch of a run."""
    return [100 * record["test_accuracy"] for record in records(folder)]
