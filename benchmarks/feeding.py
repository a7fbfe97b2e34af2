"""`python -m benchmarks feeding`: ways to pass the shuffled batches of an epoch to a network.

All yield the same batches. An epoch of Fashion-MNIST's shape is timed, with the captured training
step of 784–100–10 and without a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import Queue
from threading import Thread
from typing import Any

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu.data import Pixels, minibatches

from .cases import Array
from .report import keep, timings_table
from .timing import Timing, compare

Batches = Iterator[tuple[Any, ...]]


def indexed(x: Any, y: Array, batch: int, order: Array) -> Batches:
    """Take `x[rows]` for each batch: new memory each time."""
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        yield x[rows], y[rows]


def shuffled(x: Any, y: Array, batch: int, order: Array) -> Batches:
    """Copy all rows in shuffled order, and take slices as batches."""
    x, y = x[order], y[order]
    for start in range(0, len(order), batch):
        yield x[start : start + batch], y[start : start + batch]


def ours(x: Any, y: Array, batch: int, order: Array) -> Batches:
    """Take the batches of `minibatches`, which reuses buffers without references."""

    class Given:
        def permutation(self, m: int) -> Array:
            return order

    rng: Any = Given()
    return minibatches(x, y, batch_size=batch, rng=rng)


def ahead(x: Any, y: Array, batch: int, order: Array) -> Batches:
    """Prepare the next batch in a second thread while this one is used."""
    ready: Queue[Any] = Queue(maxsize=1)

    def prepare() -> None:
        for pair in ours(x, y, batch, order):
            ready.put(pair)
            del pair
        ready.put(None)

    thread = Thread(target=prepare)
    thread.start()
    while (pair := ready.get()) is not None:
        yield pair
    thread.join()


WAYS: dict[str, tuple[Callable[..., Batches], bool]] = {
    "x[rows], new memory": (indexed, False),
    "a shuffled copy of all": (shuffled, False),
    "minibatches": (ours, False),
    "minibatches of bytes (Pixels)": (ours, True),
    "prepared by a second thread": (ahead, False),
}


def epochs(
    samples: int, batch: int, dtype: str, train: bool
) -> dict[str, Callable[[], list[float]]]:
    """Run an epoch each way; return the losses or the sums of the batches."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (samples, 784), dtype=np.uint8)
    x = np.divide(images, 255, dtype=dtype)
    y = np.eye(10, dtype=dtype)[rng.integers(0, 10, samples)]
    order = rng.permutation(samples)
    sources = {False: x, True: Pixels(images, dtype=dtype)}

    def way(batches: Callable[..., Batches], of_bytes: bool) -> Callable[[], list[float]]:
        step = _step(dtype) if train else lambda x, y: x[0, :50].sum() + y[-1, 0]
        source = sources[of_bytes]
        return lambda: [float(step(*pair)) for pair in batches(source, y, batch, order)]

    return {name: way(*made) for name, made in WAYS.items()}


def _step(dtype: str) -> Callable[..., float]:
    model = tg.nn.Sequential(
        tg.nn.Linear(784, 100, dtype=dtype, rng=0),
        tg.nn.Sigmoid(),
        tg.nn.Linear(100, 10, dtype=dtype, rng=1),
    )
    sgd = tg.optim.SGD(model.parameters(), lr=0.01)

    def step(x: Array, y: Array) -> Any:
        loss = tg.cross_entropy(model(x), y)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        return loss

    captured = tg.compile(step)
    return lambda x, y: float(captured(x, y).item())


def run(rounds: int, samples: int, facts: dict[str, Any], command: str, write: bool) -> int:
    """Measure, print the table, and save it on request."""
    timed: dict[str, tuple[dict[str, Timing], str, float | None]] = {}
    for train in (False, True):
        for dtype, batch in (("float32", 32), ("float32", 256), ("float64", 256)):
            ways = epochs(samples, batch, dtype, train)
            seen = [np.array(epoch()) for epoch in ways.values()]
            for got in seen[1:]:
                np.testing.assert_array_equal(got, seen[0])
            steps = -(-samples // batch)
            what = f"{'trained on' if train else 'only taken'}, batch {batch}, {dtype}"
            timed[what] = compare(ways, rounds=rounds, steps=steps, slice_seconds=0), "", None
    text = timings_table(timed) + (
        "\n\nTimes for one batch, 784 numbers a sample; the ratio is to the first way, in the same "
        "round. All were seen to give the same batches, and the same losses where they are "
        "trained on."
    )
    data = {what: {name: vars(t) for name, t in case[0].items()} for what, case in timed.items()}
    keep("feeding", "Feeding the batches", text, {"cases": data}, facts, command, write=write)
    return 0
