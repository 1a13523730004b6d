# SPDX-License-Identifier: Apache-2.0
"""The pictures of ``frenn analyze``."""

import io
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import BoundaryNorm, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ..sim.dynamics import THRESHOLD, FloatArray, beta_exponent

STYLES: Final[dict[str, dict[str, Any]]] = {
    "initial": {"color": "tab:gray", "linestyle": "--"},
    "learned": {"color": "tab:blue", "linestyle": "-"},
}
"""Line of each set of weights."""

PLAIN: Final = FuncFormatter(lambda value, _: f"{value:g}")

SHARES: Final = ("at_rest", "jacobi_at_rest", "sequential_at_rest")

WHEN: Final = {"initial": "before training", "learned": "after training"}


def mathematical(beta: float) -> str:
    """A feedback scale for a label: as a power of two where it is one."""
    exponent = beta_exponent(beta)
    return f"{beta:.3g}" if exponent is None else f"$2^{{{exponent}}}$"


def structure(widths: Sequence[int]) -> str:
    """Widths of layers for a title, ``784-10x64-10``: three or more hidden layers alike stand together."""
    groups = [(width, len(list(alike))) for width, alike in groupby(widths[1:-1])]
    hidden = [f"{count}x{width}" if count > 2 else "-".join([str(width)] * count) for width, count in groups]
    return "-".join([str(widths[0]), *hidden, str(widths[-1])])


def sweep_picture(points: Sequence[Mapping[str, Any]], own: float | None, cap: int, title: str) -> bytes:
    """PNG of error, spectral radius, Lyapunov exponent and time to rest against the feedback scale.

    Parameters
    ----------
    points : sequence of dict
        Lines of ``sweep.csv``; None where there is no number.
    own : float or None
        Feedback scale of the network, if it has one alone.
    cap : int
        Time that stands for a sample which did not come to rest.
    title : str
    """
    panels: list[tuple[str, list[tuple[str, str, str]]]] = [
        ("test error, %", [("test_error", "o", "")]),
        ("spectral radius", [("spectral_radius", "o", "of the matrix"), ("radius_at_rest", "x", "with slopes, at rest")]),
        ("Lyapunov exponent, per step", [("lyapunov_exponent", "o", "")]),
        (
            "time to rest",
            [
                ("steps_to_rest", "o", "real numbers, steps"),
                ("jacobi_sweeps", "x", "integers, jacobi sweeps"),
                ("sequential_sweeps", "^", "integers, sequential sweeps"),
            ],
        ),
    ]
    panels = [(label, lines) for label, lines in panels if any(point[name] is not None for point in points for name, _, _ in lines)]
    rows, columns = (2, 2) if len(panels) == 4 else (1, len(panels))
    figure = Figure(figsize=(4.6 * columns, 3.0 * rows + 0.5), dpi=100, layout="constrained")
    figure.suptitle(title)
    for axes, (label, lines) in zip(figure.subplots(rows, columns, squeeze=False).ravel(), panels, strict=True):
        for kind in dict.fromkeys(point["weights"] for point in points):
            for name, marker, _ in lines:
                chosen = [point for point in points if point["weights"] == kind and point[name] is not None]
                heights = (100 if name == "test_error" else 1) * np.array([point[name] for point in chosen], dtype=np.float64)
                # An exponent of minus infinity has no place, nor has a radius of 0 on a logarithmic axis.
                heights[~np.isfinite(heights)] = np.nan
                axes.plot([point["beta"] for point in chosen], heights, marker=marker, markersize=4.5, linewidth=1.2, **STYLES[kind])
        axes.set_xscale("log", base=2)
        axes.set_xlabel("feedback scale $\\beta$")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        markers = [Line2D([], [], color="black", linestyle="", marker=marker, label=text) for _, marker, text in lines if text]
        if label == "test error, %" and all(point["test_error"] != 0 for point in points):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(PLAIN)
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        elif label == "spectral radius":
            if any(point["spectral_radius"] > 0 for point in points):
                axes.set_yscale("log", base=2)
            axes.axhline(1, color="tab:red", linewidth=0.8)
        elif label.startswith("Lyapunov"):
            axes.axhline(0, color="tab:red", linewidth=0.8)
        elif label == "time to rest":
            axes.set_yscale("symlog", linthresh=1, linscale=0.3)
            axes.yaxis.set_major_formatter(PLAIN)
            if any(point[share] is not None and point[share] < 1 for point in points for share in SHARES):
                axes.axhline(cap, color="tab:red", linewidth=0.8)
                markers.append(Line2D([], [], color="tab:red", linewidth=0.8, label=f"a sample not at rest counts {cap}"))
            axes.set_ylim(bottom=0)
        if own is not None:
            axes.axvline(own, color="tab:green", linewidth=0.8, linestyle=":")
        if markers:
            axes.legend(handles=markers, fontsize="small")
    kinds: dict[str, Any] = dict.fromkeys(point["weights"] for point in points)
    handles = [Line2D([], [], label=WHEN[kind], **STYLES[kind]) for kind in kinds]
    if own is not None:
        handles.append(Line2D([], [], color="tab:green", linestyle=":", label="the network's own $\\beta$"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return _png(figure)


def states_picture(paths: Mapping[str, Mapping[str, FloatArray]], layers: Sequence[tuple[str, int]], title: str) -> bytes:
    """PNG of every hidden neuron's state against the step, for one sample.

    Parameters
    ----------
    paths : dict of dict of (steps + 1, neurons) float64
        States from zero, by weights, a row of the picture, and by feedback scale, a column.
    layers : sequence of (str, int)
        Name and neurons of each hidden layer.
    title : str
    """
    columns = max(len(row) for row in paths.values())
    figure = Figure(figsize=(3.9 * columns + 1.2, 2.7 * len(paths) + 0.7), dpi=100, layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(len(paths), columns, squeeze=False, sharex=True, sharey=True)
    numbers = np.repeat(np.arange(len(layers)), [width for _, width in layers])
    shades = colormaps["viridis"](np.linspace(0, 0.92, len(layers)))
    for row, (kind, by_scale) in zip(grid, paths.items(), strict=True):
        for axes, (scale, path) in zip(row, by_scale.items(), strict=True):
            steps = np.arange(len(path))
            # Layers take turns, so that the last one does not cover the others.
            order = np.argsort(np.concatenate([np.arange(width) / width for _, width in layers]), kind="stable")
            lines = [np.column_stack([steps, path[:, neuron]]) for neuron in order]
            axes.add_collection(LineCollection(lines, colors=shades[numbers[order]], linewidths=0.7, alpha=0.6))
            axes.set_xlim(0, len(path) - 1)
            axes.set_ylim(-1.05, 1.05)
            axes.set_title(f"{scale}, {WHEN[kind]}", fontsize="medium")
            axes.grid(alpha=0.3)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        row[0].set_ylabel("state")
    for axes in grid[-1]:
        axes.set_xlabel("step")
    if len(layers) <= 6:
        handles = [Line2D([], [], color=shade, label=name) for shade, (name, _) in zip(shades, layers, strict=True)]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(layers))
    else:
        norm = BoundaryNorm(np.arange(0.5, len(layers) + 1), len(layers))
        mappable = ScalarMappable(norm=norm, cmap=_discrete(shades))
        figure.colorbar(mappable, ax=grid, label="hidden layer", ticks=MaxNLocator(integer=True))
    return _png(figure)


def change_picture(
    sizes: Mapping[str, Mapping[float | None, FloatArray]], title: str, own_label: str = "the network's own scales"
) -> bytes:
    """PNG of the change per step, logarithmic, for every feedback scale.

    Parameters
    ----------
    sizes : dict of dict of (steps,) float64
        Largest change of a neuron, mean over the samples, by weights and feedback scale; None is the network's own.
    title : str
    own_label : str
    """
    figure = Figure(figsize=(4.4 * len(sizes) + 1.6, 4.2), dpi=100, layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(1, len(sizes), squeeze=False, sharey=True)[0]
    betas = [beta for beta in next(iter(sizes.values())) if beta is not None]
    norm = LogNorm(min(betas) / 1.01, max(betas) * 1.01)
    for axes, (kind, by_beta) in zip(grid, sizes.items(), strict=True):
        for beta, change in by_beta.items():
            steps, heights = np.arange(1, len(change) + 1), np.where(change > 0, change, np.nan)
            if beta is None:
                axes.plot(steps, heights, color="tab:red", linestyle=":", linewidth=2, label=own_label, zorder=3)
            else:
                axes.plot(steps, heights, color=colormaps["viridis"](norm(beta)), linewidth=1.2)
        axes.axhline(THRESHOLD, color="black", linestyle="--", linewidth=0.8, label="threshold of rest")
        axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_title(WHEN[kind], fontsize="medium")
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _floor(grid[0], sizes)
    grid[0].set_ylabel("largest change of a neuron's state")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    bar = figure.colorbar(ScalarMappable(norm=norm, cmap="viridis"), ax=grid, label="feedback scale $\\beta$")
    marks = betas[:: -(-len(betas) // 8)]
    bar.set_ticks(marks, labels=[mathematical(beta) for beta in marks])
    bar.minorticks_off()
    return _png(figure)


def _floor(axes: Axes, sizes: Mapping[str, Mapping[float | None, FloatArray]]) -> None:
    """Below 1e-12 there is nothing but the rounding of float64."""
    smallest = min((float(change[change > 0].min(initial=1.0)) for row in sizes.values() for change in row.values()), default=1.0)
    axes.set_ylim(bottom=max(1e-12, min(smallest / 2, THRESHOLD / 10)))


def _discrete(shades: FloatArray) -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap(list(map(tuple, shades)))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
