"""Draw the chapter's pictures, as PNG files.

Only this module imports Matplotlib. Figures are drawn without its window system, so no display is
needed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .datasets import Split
from .networks import MultiClassNetwork, SingleLayer

__all__ = ["accuracy_curves", "loss_curves", "sample_sheet", "weight_path"]

DPI = 150


def loss_curves(network: SingleLayer, title: str, path: Path, top: float | None = None) -> Path:
    """Draw training and validation loss over the epochs; `top` is the end of the y axis."""
    figure, axes = _figure(title)
    axes.plot(network.losses, label="train_loss", color="C0")
    axes.plot(network.val_losses, label="val_loss", color="C1", linestyle="--")
    axes.set(xlabel="epoch", ylabel="loss")
    if top is not None:
        axes.set_ylim(0, top)
    axes.legend()
    return _save(figure, path)


def accuracy_curves(network: SingleLayer, title: str, path: Path) -> Path:
    """Draw the fraction of correctly predicted training and validation samples over the epochs."""
    figure, axes = _figure(title)
    axes.plot(network.accuracies, label="train_accuracy", color="C0")
    axes.plot(network.val_accuracies, label="val_accuracy", color="C1", linestyle="--")
    axes.set(xlabel="epoch", ylabel="accuracy")
    if len(network.accuracies) > 1000:  # where nearly all of it happens at the beginning
        axes.set_xscale("log")
    axes.legend()
    return _save(figure, path)


def weight_path(network: SingleLayer, title: str, path: Path, i: int = 2, j: int = 3) -> Path:
    """Draw the path of two weights from start to end (red)."""
    w = np.array(network.w_history)[:, [i, j], 0]
    figure, axes = _figure(title)
    axes.plot(*w.T, color="C0")
    axes.plot(*w[0], "o", color="black", markerfacecolor="white", label="start")
    axes.plot(*w[-1], "ro", label="end")
    axes.set(xlabel=f"w[{i}]", ylabel=f"w[{j}]")
    axes.legend()
    return _save(figure, path)


def sample_sheet(
    network: MultiClassNetwork, data: Split, title: str, path: Path, rows: int = 4, columns: int = 6
) -> Path:
    """Draw validation images with the predicted class, and in red the true one where it differs."""
    assert data.image_shape is not None
    figure = Figure(figsize=(1.6 * columns, 2.1 * rows), layout="constrained")
    count = rows * columns
    predicted = network.predict(data.x_val[:count])
    wrong = np.count_nonzero(predicted != data.labels_val[: len(predicted)])
    figure.suptitle(f"{title}\nthe first {len(predicted)} validation samples, {wrong} wrong")
    for k, axes in enumerate(figure.subplots(rows, columns).flat):
        axes.set_axis_off()
        if k >= len(predicted):
            continue
        axes.imshow(data.x_val[k].reshape(data.image_shape), cmap="gray_r")
        name, truth = (data.class_names[c] for c in (predicted[k], data.labels_val[k]))
        right = name == truth
        axes.set_title(
            name if right else f"{name}\n(true: {truth})",
            color="black" if right else "firebrick",
            fontweight="normal" if right else "bold",
            fontsize=9,
        )
    return _save(figure, path)


def _figure(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=DPI)
    return path
