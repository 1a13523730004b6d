# SPDX-License-Identifier: Apache-2.0
"""The picture of a run."""

import io
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def learning_curve(records: list[dict[str, Any]], title: str) -> bytes:
    """PNG of accuracy, and of the share of samples that needed no learning, over the epochs.

    Parameters
    ----------
    records : list of dict
        Lines of ``metrics.jsonl``.
    title : str
    """
    epochs = [record["epoch"] for record in records]
    # A figure of its own, not pyplot's: no global state, no window.
    figure = Figure(figsize=(8, 3.2), dpi=120, layout="constrained")
    figure.suptitle(title)
    accuracy, rest = figure.subplots(1, 2)
    accuracy.plot(epochs, [100 * record["test_accuracy"] for record in records], "o-", label="test")
    accuracy.plot(epochs, [100 * record["train_accuracy"] for record in records], ".--", label="training, as it learns")
    accuracy.set_ylabel("accuracy, %")
    accuracy.legend()
    rest.plot(epochs, [100 * record["training"]["zero_error"] / record["samples"] for record in records], "o-", color="tab:green")
    rest.set_ylabel("samples with zero error, %")
    for axes in (accuracy, rest):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
