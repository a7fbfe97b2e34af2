"""`python -m benchmarks steps`: the cost of recording and of the backward pass, compared with
NumPy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_edu as tg

from .cases import NETWORKS
from .peers import contestants
from .report import keep, timings_table
from .timing import Timing, compare

CONTESTANTS = ["plain NumPy", "NumPy as on the slides", "tinygrad_edu, eager"]
LIMITS = {"mini": 3.0, "multi": 1.3}  # what the ratio of the eager step to plain NumPy may be


def run(rounds: int, facts: dict[str, Any], command: str, write: bool) -> int:
    """Measure, print the table, and save it on request."""
    cases: dict[str, tuple[dict[str, Timing], str, float | None]] = {}
    timings = compare(add_contestants(), rounds=rounds)
    cases["one addition, 8×8"] = timings, "recorded add", 4.0
    for name in ("mini", "dual", "keras", "multi"):
        network = NETWORKS[name]
        made, _ = contestants(network, CONTESTANTS)
        timings = compare({n: c.epoch for n, c in made.items()}, rounds=rounds, steps=network.steps)
        cases[f"training step {name}: {network}"] = timings, CONTESTANTS[-1], LIMITS.get(name)
    timings = compare(import_contestants(), rounds=max(3, rounds // 4))
    cases["import, whole process"] = timings, "import tinygrad_edu", 1.3
    text = timings_table(cases) + (
        "\n\nThe ratio is to the first contestant of its block, within the same round: median and "
        "quartiles."
    )
    data = {what: {name: vars(t) for name, t in case[0].items()} for what, case in cases.items()}
    keep("steps", "Eager steps against NumPy", text, {"cases": data}, facts, command, write=write)
    return 0


def add_contestants(shape: tuple[int, int] = (8, 8)) -> dict[str, Callable[[], Any]]:
    """Return one addition: NumPy's, and a recorded one."""
    rng = np.random.default_rng(0)
    a, b = rng.random(shape), rng.random(shape)
    s, t = tg.Tensor(a, requires_grad=True), tg.Tensor(b, requires_grad=True)
    return {
        "np.add": lambda: np.add(a, b),
        "recorded add": lambda: tg.add(s, t),
        "recorded a + b": lambda: s + t,
    }


def import_contestants() -> dict[str, Callable[[], Any]]:
    """Return processes that only import, from start to end."""

    def importing(module: str) -> Callable[[], Any]:
        command = [sys.executable, "-c", f"import {module}"]
        # Both with compiled modules at hand, as installed packages have them.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        return lambda: subprocess.run(command, check=True, env=environment)

    return {"import numpy": importing("numpy"), "import tinygrad_edu": importing("tinygrad_edu")}
