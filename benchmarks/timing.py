"""Time contestants against each other: in one process, in turn, as ratios.

The machine's speed drifts; the ratio of two successive calls does not. Each round times every
contestant once, in an order that changes from round to round. The result is the median of the
rounds' ratios, with quartiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Timing:
    """One contestant: seconds for a step, and the ratio to the yardstick in the same round."""

    seconds: float
    ratio: float
    low: float
    high: float


def compare(
    contestants: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    steps: int = 1,
    slice_seconds: float = 0.02,
    budget: float = float("inf"),
) -> dict[str, Timing]:
    """Time the contestants. Each call does that many steps; the result is seconds per step.

    The first is the yardstick of the ratios. Each is called often enough in a round to fill about
    `slice_seconds`. After `budget` seconds there are no more rounds, but three at least.
    """
    began = perf_counter()
    calls = {name: _calls_within(run, slice_seconds) for name, run in contestants.items()}
    names = list(contestants)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for i in range(rounds):
        if i >= 3 and perf_counter() - began > budget:
            break
        for name in names[i % len(names) :] + names[: i % len(names)]:
            run, n = contestants[name], calls[name]
            start = perf_counter()
            for _ in range(n):
                run()
            taken[name].append((perf_counter() - start) / n / steps)
    yardstick = np.array(taken[names[0]])
    return {name: _timing(np.array(taken[name]), yardstick) for name in names}


def _calls_within(run: Callable[[], object], seconds: float) -> int:
    run()  # what is only done the first time is not counted
    n, start = 0, perf_counter()
    while (used := perf_counter() - start) < seconds / 4:
        run()
        n += 1
    return max(1, round(n * seconds / used))


def _timing(seconds: Any, yardstick: Any) -> Timing:
    low, ratio, high = np.percentile(seconds / yardstick, [25, 50, 75])
    return Timing(float(np.median(seconds)), float(ratio), float(low), float(high))
