"""Pictures of a comparison: curves, differences, times; readable without colours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
    """Loss and accuracy over the epochs, training and validation: ours as lines, Keras as marks."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    figure.suptitle(title)
    units = {"loss": f"loss ({loss})", "accuracy": "accuracy (share of samples right)"}
    for axes, key in zip(figure.subplots(1, 2), units, strict=True):
        for prefix, line, mark, what in (
            ("", "-", "o", "training"), ("val_", "--", "s", "validation"),
        ):  # fmt: skip
            epochs = np.arange(1, len(ours[prefix + key]) + 1)
            axes.plot(
                epochs, keras[prefix + key], mark, color=THEIRS, markerfacecolor="none",
                markersize=6, markevery=max(1, len(epochs) // 20), label=f"Keras, {what}",
            )  # fmt: skip
            axes.plot(
                epochs, ours[prefix + key], line, color=OURS, linewidth=1.3,
                label=f"tinygrad_edu, {what}",
            )  # fmt: skip
        if key == "accuracy" and chapter is not None:
            axes.axhline(
                chapter, color="0.45", linewidth=1, linestyle=":",
                label=f"the chapter's validation, {chapter:.4f}",
            )  # fmt: skip
        axes.set(xlabel="epoch", ylabel=units[key], title=key.capitalize())
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return _save(figure, path)


def difference(title: str, steps: list[int], weights: list[float], dtype: str, path: Path) -> Path:
    """The largest difference of a weight over the steps, both axes logarithmic."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    floor = float(np.finfo(dtype).tiny)
    shown = [(s, w) for s, w in zip(steps, weights, strict=True) if w > floor]
    if shown:
        axes.loglog(*zip(*shown, strict=True), "o-", color=OURS, markersize=3.5, linewidth=1.2,
                    label="largest difference of a weight")  # fmt: skip
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
    """Bars of the time of an epoch, with the first one apart."""
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
        steady.annotate(told, (t.seconds, i), (4, 0), textcoords="offset points", va="center",
                        fontsize=8)  # fmt: skip
    steady.set(
        title=f"An epoch, and its ratio to {yardstick} (quartiles)", xlabel="median time [s]"
    )
    _bars(cold, names, [first[n] for n in names])
    for i, name in enumerate(names):
        cold.annotate(duration(first[name]), (first[name], i), (4, 0),
                      textcoords="offset points", va="center", fontsize=8)  # fmt: skip
    cold.set(title="The first epoch, with what is built for it", xlabel="time [s]")
    for axes, room in ((steady, 1.75), (cold, 1.25)):
        axes.set_xlim(0, axes.get_xlim()[1] * room)
        axes.grid(alpha=0.3, axis="x")
    steady.invert_yaxis()
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
