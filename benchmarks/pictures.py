"""Plots of the measurements: curves, differences, times, ratios; readable without colours."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullLocator

from .report import duration, ratio
from .timing import Timing

DPI = 150
OURS, THEIRS = "black", "#d06010"  # which is a middle grey in print


def curves(
    title: str,
    ours: Mapping[str, list[float]],
    keras: Mapping[str, list[float]],
    loss: str,
    chapter: float | None,
    path: Path,
) -> Path:
    """Plot loss and accuracy over the epochs, training and validation: ours as lines, Keras as
    marks.
    """
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    figure.suptitle(title)
    units = {"loss": f"loss ({loss})", "accuracy": "accuracy (share of samples right)"}
    for axes, key in zip(figure.subplots(1, 2), units, strict=True):
        for prefix, line, mark, what in (
            ("", "-", "o", "training"),
            ("val_", "--", "s", "validation"),
        ):
            epochs = np.arange(1, len(ours[prefix + key]) + 1)
            axes.plot(
                epochs,
                keras[prefix + key],
                mark,
                color=THEIRS,
                markerfacecolor="none",
                markersize=6,
                markevery=max(1, len(epochs) // 20),
                label=f"Keras, {what}",
            )
            axes.plot(
                epochs,
                ours[prefix + key],
                line,
                color=OURS,
                linewidth=1.3,
                label=f"tinygrad_edu, {what}",
            )
        if key == "accuracy" and chapter is not None:
            axes.axhline(
                chapter,
                color="0.45",
                linewidth=1,
                linestyle=":",
                label=f"the chapter's validation, {chapter:.4f}",
            )
        axes.set(xlabel="epoch", ylabel=units[key], title=key.capitalize())
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return _save(figure, path)


def difference(title: str, steps: list[int], weights: list[float], dtype: str, path: Path) -> Path:
    """Plot the largest difference of a weight over the steps, both axes logarithmic."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    floor = float(np.finfo(dtype).tiny)
    shown = [(s, w) for s, w in zip(steps, weights, strict=True) if w > floor]
    if shown:
        axes.loglog(
            *zip(*shown, strict=True),
            "o-",
            color=OURS,
            markersize=3.5,
            linewidth=1.2,
            label="largest difference of a weight",
        )
    eps = float(np.finfo(dtype).eps)
    axes.axhline(eps, color="0.45", linestyle=":", label=f"{dtype}'s ε = {eps:.1e}")
    axes.set_yscale("log")
    axes.set(xlabel="steps of training", ylabel="largest |W(tinygrad_edu) − W(Keras)|", title=title)
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="upper left")
    low, high = axes.get_ylim()
    axes.set_ylim(low / 2, high * 4)  # room for the legend
    return _save(figure, path)


def times(
    title: str, timings: Mapping[str, Timing], first: Mapping[str, float], path: Path
) -> Path:
    """Plot bars of the time of an epoch, with the first epoch apart."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    figure.suptitle(title)
    steady, cold = figure.subplots(1, 2, sharey=True)
    names = list(timings)
    yardstick = names[0]
    _bars(steady, names, [timings[n].seconds for n in names])
    for i, name in enumerate(names):
        t = timings[name]
        told = duration(t.seconds)
        if name != yardstick:
            told += f", ratio {ratio(t.ratio)} ({ratio(t.low)} … {ratio(t.high)})"
        steady.annotate(
            told, (t.seconds, i), (4, 0), textcoords="offset points", va="center", fontsize=8
        )
    steady.set(
        title=f"An epoch, and its ratio to {yardstick} (quartiles)", xlabel="median time [s]"
    )
    _bars(cold, names, [first[n] for n in names])
    for i, name in enumerate(names):
        cold.annotate(
            duration(first[name]),
            (first[name], i),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    cold.set(title="The first epoch, with what is built for it", xlabel="time [s]")
    for axes, room in ((steady, 1.75), (cold, 1.25)):
        axes.set_xlim(0, axes.get_xlim()[1] * room)
        axes.grid(alpha=0.3, axis="x")
    steady.invert_yaxis()
    return _save(figure, path)


# How each contestant of the sweeps is drawn: colours of Okabe and Ito, which the colour-blind tell
# apart; ours are heavy.
STYLES: dict[str, tuple[str, str, str, float]] = {
    "tinygrad_edu, captured, Numba": ("#D55E00", "-", "o", 2.4),
    "tinygrad_edu, captured": ("#0072B2", "-", "s", 2.4),
    "tinygrad_edu, eager": ("#009E73", "-", "^", 2.4),
    "NumPy, hand-optimised": ("black", ":", "", 1.4),
    "JAX, lax.scan": ("#CC79A7", "--", "D", 1.2),
    "JAX, jit per step": ("#CC79A7", ":", "d", 1.2),
    "PyTorch, eager": ("0.45", "--", "x", 1.2),
}
PRODUCTS = "the matrix products alone"


def sweep(points: Mapping[Any, Mapping[str, Timing]], what: str, threads: str, path: Path) -> Path:
    """Plot two panels over a size: ratio to the matrix products, and ours to the fastest peer."""
    figure = Figure(figsize=(12, 5.2), layout="constrained")
    figure.suptitle(f"Time of a training step: {what} ({threads.split(' for ')[0]})")
    left, right = figure.subplots(1, 2)
    sizes = list(points)
    in_words = isinstance(sizes[0], str)
    places = list(range(len(sizes))) if in_words else sizes
    ends: dict[Axes, list[tuple[float, float, str, str]]] = {left: [], right: []}
    for name, (color, line, mark, width) in STYLES.items():
        for axes in (left, right):
            at, values = [], []
            for place, timings in zip(places, points.values(), strict=True):
                if name not in timings:
                    continue
                by = 1.0
                if axes is right:
                    by = min(
                        t.ratio
                        for n, t in timings.items()
                        if n != PRODUCTS and not n.startswith("tinygrad_edu")
                    )
                at.append(place)
                values.append(timings[name].ratio / by)
            if not values or (axes is right and not name.startswith("tinygrad_edu")):
                continue
            axes.plot(
                at,
                values,
                linestyle="" if in_words else line,
                marker=mark or ".",
                color=color,
                linewidth=width,
                markersize=8 if in_words else 5,
            )
            ends[axes].append((at[-1], values[-1], name, color))
    left.set_title(
        "Ratio to the matrix products alone (1: nothing else is done)", loc="left", size=10
    )
    right.set_title(
        "Ratio to the fastest peer (below 1: faster than all of them)", loc="left", size=10
    )
    for axes in (left, right):
        axes.axhline(1, color="0.3", linewidth=1)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.25, which="both")
        axes.set_ylabel("ratio (logarithmic)")
        if in_words:
            axes.set_xticks(places, [str(size).replace(" ", "\n") for size in sizes])
            axes.set_xlim(-0.5, places[-1] + 0.5)
        else:
            axes.set_xscale("log")
            axes.set_xticks(places, [f"{size:,}" for size in places])
            axes.set_xlim(places[0] / 1.3, places[-1] * 1.3)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlabel(what)
        _label(axes, ends[axes])
    return _save(figure, path)


def _label(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write names to the right of the lines' ends, moved apart where they would overlap."""
    low, high = (float(np.log(limit)) for limit in axes.get_ylim())
    apart = (high - low) / 18
    heights = {name: float(np.log(y)) for _, y, name, _ in ends}
    order = sorted(heights, key=lambda name: heights[name])
    for _ in range(100):
        for below, above in pairwise(order):
            lack = apart - (heights[above] - heights[below])
            if lack > 0:
                heights[above] += lack / 2
                heights[below] -= lack / 2
        for name in order:
            heights[name] = min(max(heights[name], low), high)
    for x, y, name, color in ends:
        own = name.startswith("tinygrad_edu")
        axes.annotate(
            name,
            (x, y),
            (1.04, np.exp(heights[name])),
            textcoords=axes.get_yaxis_transform(),
            color=color,
            fontsize=8.5,
            va="center",
            annotation_clip=False,
            fontweight="bold" if own else "normal",
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "linewidth": 0.6,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 4,
            },
        )


def ratios(cases: Mapping[str, Mapping[str, Timing]], threads: str, path: Path) -> Path:
    """Plot a panel for each network: every contestant's ratio to the matrix products, with
    quartiles.
    """
    rows = -(-len(cases) // 2)
    most = max(len(timings) for timings in cases.values())
    figure = Figure(figsize=(13, rows * (0.24 * most + 0.9)), layout="constrained")
    figure.suptitle(
        "A training step, as ratio to its matrix products alone (1: nothing else is done; "
        f"{threads.split(' for ')[0]})"
    )
    panels = figure.subplots(rows, min(2, len(cases)), squeeze=False).flat
    for (what, timings), axes in zip(cases.items(), panels, strict=False):
        shown = {name: t for name, t in timings.items() if name != PRODUCTS}
        order = sorted(shown, key=lambda name: -shown[name].ratio)
        for i, name in enumerate(order):
            t, own = shown[name], name.startswith("tinygrad_edu")
            axes.plot([1, t.ratio], [i, i], color="0.8", linewidth=0.8, zorder=1)
            axes.plot([t.low, t.high], [i, i], color=OURS if own else THEIRS, linewidth=2)
            axes.plot(
                t.ratio,
                i,
                "o" if own else "s",
                color=OURS if own else THEIRS,
                markerfacecolor=OURS if own else "white",
            )
            axes.annotate(
                f"{ratio(t.ratio)}  ({duration(t.seconds)})",
                (t.ratio, i),
                (7, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
            )
        axes.set_yticks(range(len(order)), order, fontsize=8)
        for label, name in zip(axes.get_yticklabels(), order, strict=True):
            label.set_fontweight("bold" if name.startswith("tinygrad_edu") else "normal")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: "")
        axes.axvline(1, color="0.3", linewidth=1)
        low, high = axes.get_xlim()
        axes.set_xlim(low, high * (high / low) ** 0.35)
        axes.set_title(what, fontsize=9.5)
        axes.grid(alpha=0.25, axis="x")
    for axes in list(panels):  # those that no network was left for
        axes.set_axis_off()
    return _save(figure, path)


def parts(cases: Mapping[str, Mapping[str, Mapping[str, float]]], threads: str, path: Path) -> Path:
    """Plot a bar for each way to do each network's step: products, other array work, Python's
    calls.
    """
    figure = Figure(figsize=(11, 1.2 + 1.05 * len(cases)), layout="constrained")
    axes = figure.subplots()
    fills = {"products": ("0.25", ""), "array work": ("0.7", "//"), "calls": ("white", "")}
    ticks, labels, at = [], [], 0.0
    for what, ways in cases.items():
        whole = max(sum(split.values()) for split in ways.values())
        for way, split in ways.items():
            start = 0.0
            for part, seconds in split.items():
                color, hatch = fills[part]
                axes.barh(
                    at,
                    seconds / whole,
                    left=start,
                    color=color,
                    hatch=hatch,
                    height=0.8,
                    edgecolor="black",
                    linewidth=0.6,
                )
                start += seconds / whole
            axes.annotate(
                duration(sum(split.values())),
                (start, at),
                (4, 0),
                fontsize=8,
                textcoords="offset points",
                va="center",
            )
            ticks.append(at)
            labels.append(f"{what}: {way}")
            at += 1
        at += 0.6
    axes.set_yticks(ticks, labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15)
    axes.set_xlabel("share of the slowest way's time on the same network")
    axes.set_title(f"Where the time of a step goes ({threads.split(' for ')[0]})")
    keys = [
        Patch(facecolor=color, hatch=hatch, edgecolor="black", label=part)
        for part, (color, hatch) in fills.items()
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, frameon=False)
    return _save(figure, path)


def _bars(axes: Axes, names: list[str], values: list[float]) -> None:
    ours = [name.startswith("tinygrad_edu") for name in names]
    bars: Any = axes.barh(names, values, color=["0.35" if own else "0.85" for own in ours])
    for bar, own in zip(bars, ours, strict=True):
        bar.set_hatch("" if own else "//")
        bar.set_edgecolor("black")


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=DPI)
    return path
