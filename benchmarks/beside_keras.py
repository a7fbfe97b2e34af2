"""`python -m benchmarks keras`: compare mathematics, accuracy, speed and memory with Keras."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from . import twins
from .cold import cold_starts, installed_size
from .machine import sentence
from .report import RESULTS, duration, keep, ratio, table
from .tasks import Task
from .timing import Timing
from .twins import Comparison

Chapters = list[str]


def run(
    task: Task, rounds: int, facts: dict[str, Any], command: str, write: bool, dtype: str
) -> int:
    """Train and time both, print the report, and save it with its pictures on request."""
    from rich.console import Console
    from rich.markdown import Markdown

    console, screen = Console(stderr=True), Console()
    text = [str(task) + ".", *([task.note] if task.note else [])]
    data: dict[str, Any] = {"task": str(task)}
    with console.status("training both") as status:
        found = twins.mathematics(task, status.update)
        text += [*_mathematics(found, task), *_accuracy(found, task)]
        data |= {
            "mathematics": {"steps": found.steps, "weights": found.weights, "epochs": found.epochs},
            "ours": found.ours,
            "keras": found.keras,
        }
        if rounds:
            first, timings = twins.speed(task, rounds, status.update)
            text += _speed(first, timings, task, rounds)
            data |= {"first epoch": first, "epochs": {n: vars(t) for n, t in timings.items()}}
            status.update("cold starts")
            cold = cold_starts(task, min(rounds, 5))
            sizes = {side: installed_size(side) for side in ("Keras", "tinygrad_edu")}
            text += _weight(cold, sizes)
            data |= {"cold start": cold, "installed bytes": sizes}
    name = f"keras-{task.name}" + ("" if dtype == "float32" else f"-{dtype}")
    if write:
        pictures = [
            ("curves", "loss and accuracy"),
            ("difference", "difference of the weights"),
        ] + [("times", "times of an epoch")] * bool(rounds)
        text += ["## Pictures", *(f"![{what}]({name}-{kind}.png)" for kind, what in pictures)]
        _draw(name, task, found, (first, timings) if rounds else None, dtype)
    title = f"{task.name} beside Keras"
    body = "\n\n".join(text)
    screen.print(Markdown(f"{body}\n\n{sentence(facts)}"))
    keep(name, title, body, data, facts, command, write=write, show=False)
    return 0


def _mathematics(found: Comparison, task: Task) -> Chapters:
    shown = [
        e for e in range(task.epochs) if e + 1 in (1, 2, 5, 10, 20, 40) or e + 1 == task.epochs
    ]
    keys = list(found.epochs[0])
    rows = [
        [str(e + 1), str(task.steps * (e + 1)), *(f"{found.epochs[e][k]:.1e}" for k in keys)]
        for e in shown
    ]
    worst = {key: max(epoch[key] for epoch in found.epochs) for key in keys}
    rows.append(["largest", "", *(f"{worst[k]:.1e}" for k in keys)])
    return [
        "## Mathematics",
        "The largest difference between the two, from the same weights and on the same batches"
        + (", in an order drawn anew for each epoch." if task.shuffle else "."),
        table(["epoch", "steps", *keys], rows, 0),
    ]


def _accuracy(found: Comparison, task: Task) -> Chapters:
    n = len(task.x_val)
    rows = [
        [
            side,
            *(f"{curves[key][-1]:.4f}" for key in found.ours),
            f"{round(curves['val_accuracy'][-1] * n)} of {n}",
        ]
        for side, curves in (("Keras", found.keras), ("tinygrad_edu", found.ours))
    ]
    if task.chapter is not None:
        at = list(found.ours).index("val_accuracy")
        row = [""] * len(found.ours)
        row[at] = f"{task.chapter:.4f}"
        rows.append(["the chapter", *row, ""])
    return [
        f"## Accuracy after {task.epochs} epochs",
        table(["", *found.ours, "validation samples right"], rows),
    ]


def _speed(
    first: Mapping[str, float], timings: Mapping[str, Timing], task: Task, rounds: int
) -> Chapters:
    rows = [
        [
            name,
            duration(t.seconds),
            duration(t.seconds / task.steps),
            ratio(t.ratio),
            f"{ratio(t.low)} … {ratio(t.high)}",
            duration(first[name]),
        ]
        for name, t in timings.items()
    ]
    return [
        "## Speed",
        f"Medians of {rounds} interleaved rounds, one epoch of each way in a round; the ratio is "
        "to Keras' `fit` in the same round, with its quartiles. That all give the same weights "
        "was seen before. The first epoch, which builds and "
        "compiles what it needs, stands apart. Both `fit` and `train_on_batch` keep the accuracy "
        "too; the `tf.function` and our loops only train.",
        table(["", "epoch", "step", "ratio", "quartiles", "first epoch"], rows),
    ]


def _weight(cold: dict[str, dict[str, list[float]]] | None, sizes: Mapping[str, int]) -> Chapters:
    if cold is None:
        return [
            "## Weight",
            "Not measured: the network is more than Linear layers and activations.",
        ]
    rows = []
    for side, measured in cold.items():
        median = {key: statistics.median(values) for key, values in measured.items()}
        rows.append(
            [
                side,
                duration(median["import"]),
                duration(median["epoch"]),
                duration(median["process"]),
                f"{median['memory'] / 2**20:.0f} MiB",
                f"{sizes[side] / 2**20:.0f} MiB",
            ]
        )
    return [
        "## Weight",
        f"Medians of {len(cold['Keras']['process'])} processes each, in turns. The whole process "
        "starts Python, imports, loads the arrays from a file, trains the first epoch and ends; "
        "the memory is its peak. Installed are the packages with all that they need, NumPy too.",
        table(["", "import", "first epoch", "whole process", "memory", "installed"], rows),
    ]


def _draw(
    name: str,
    task: Task,
    found: Comparison,
    speed: tuple[dict[str, float], dict[str, Timing]] | None,
    dtype: str,
) -> None:
    from . import pictures

    RESULTS.mkdir(exist_ok=True)
    what = f"{task.name} on {task.data}"
    pictures.curves(
        f"{what}: Keras and tinygrad_edu, {task.epochs} epochs",
        found.ours,
        found.keras,
        task.loss,
        task.chapter,
        RESULTS / f"{name}-curves.png",
    )
    pictures.difference(
        f"{what}, {dtype}: how far Keras and tinygrad_edu drift apart",
        found.steps,
        found.weights,
        dtype,
        RESULTS / f"{name}-difference.png",
    )
    if speed is not None:
        first, timings = speed
        pictures.times(
            f"{what}, batch {task.batch_size}, {task.steps} steps an epoch, {dtype}",
            timings,
            first,
            RESULTS / f"{name}-times.png",
        )
