"""Timing contestants against each other: in one process, in turns, as ratios.

The machine's speed drifts; a ratio of two calls made right after each other does not. Each round
times every contestant once, in an order that changes from round to round; what is reported is the
median of the rounds' ratios, with the quartiles as spread.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Timing:
    """One contestant: seconds for a call, and the ratio to the yardstick in the same round."""

    seconds: float
    ratio: float
    low: float
    high: float


def compare(
    contestants: Mapping[str, Callable[[], object]], *, rounds: int, slice_seconds: float = 0.02
) -> dict[str, Timing]:
    """Time the contestants; the first is the yardstick of the ratios.

    Each is called often enough in a round to fill about `slice_seconds`.
    """
    calls = {name: _calls_within(run, slice_seconds) for name, run in contestants.items()}
    names = list(contestants)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            run, n = contestants[name], calls[name]
            start = perf_counter()
            for _ in range(n):
                run()
            taken[name].append((perf_counter() - start) / n)
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


def machine(threads: int) -> dict[str, Any]:
    """What the figures depend on, besides the code."""
    return {
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: v for name in ("numpy", "tinygrad_edu") if (v := _version(name))},
        "BLAS threads": threads,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
