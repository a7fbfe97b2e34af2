"""`python -m benchmarks comparisons`: the cost of comparing captured steps with their functions.

A captured step also runs the function in its first two calls, and later at most once in a thousand.
This command measures the share of CPU time that the later comparisons take in a training long
enough for some of them. (Two trainings, one without comparisons, differ by more than that by chance
alone.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import process_time
from typing import Any

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import nn, optim
from tinygrad_edu.capturing.compiled import CompiledStep

from .cases import NETWORKS, Network
from .peers import HIDDEN
from .report import duration, keep, table

SECONDS = 2.0  # of CPU time in a round
LIMIT = 0.02


def training(network: Network, backend: str) -> Callable[[], Any]:
    """Return a function that trains for one epoch of the network's batches."""
    X, Y = network.batches()
    modules: list[nn.Module] = []
    for n_in, n_out in zip(network.sizes, network.sizes[1:], strict=False):
        modules += [nn.Linear(n_in, n_out, dtype=network.dtype, rng=0), HIDDEN[network.hidden]()]
    model = nn.Sequential(*modules[:-1])
    sgd = optim.SGD(model.parameters(), lr=network.lr)
    criterion = tg.binary_cross_entropy_with_logits if network.k == 1 else tg.cross_entropy

    def step(x: Any, y: Any) -> Any:
        loss = criterion(model(x), y)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        return loss

    captured = tg.compile(step, backend=backend)
    x, y = (array.reshape(-1, *array.shape[2:]) for array in (X, Y))
    order = np.arange(len(x)).reshape(network.steps, network.batch)
    captured.epoch(x, y, order=np.tile(order, (2, 1))[:3])  # traced, and compared twice
    return lambda: captured.epoch(x, y, order=order)


@contextmanager
def counted() -> Iterator[list[float]]:
    """Give the CPU seconds of each comparison that is made inside."""
    found: list[float] = []
    original = CompiledStep.compared

    def compared(self: CompiledStep, *args: Any) -> Any:
        start = process_time()
        try:
            return original(self, *args)
        finally:
            found.append(process_time() - start)

    CompiledStep.compared = compared  # type: ignore[method-assign, assignment]
    try:
        yield found
    finally:
        CompiledStep.compared = original  # type: ignore[method-assign]


def measure(network: Network, backend: str, rounds: int) -> dict[str, float]:
    """Return the seconds of a step, the number of comparisons, and their share of CPU time: the
    median over the rounds, with the quartiles."""
    epoch = training(network, backend)
    shares, comparisons, seconds, steps = [], 0, 0.0, 0
    for _ in range(rounds):
        with counted() as found:
            start = process_time()
            while (used := process_time() - start) < SECONDS:
                epoch()
                steps += network.steps
        shares.append(sum(found) / used)
        comparisons += len(found)
        seconds += used
    low, share, high = np.percentile(shares, [25, 50, 75])
    return {
        "seconds": seconds / steps,
        "steps": steps,
        "comparisons": comparisons,
        "share": float(share),
        "low": float(low),
        "high": float(high),
    }


def run(
    names: Sequence[str] | None, rounds: int, facts: dict[str, Any], command: str, write: bool
) -> int:
    """Measure, print the table, and save it on request; return 1 if a limit is broken."""
    found = {
        f"{name} ({backend})": measure(NETWORKS[name], backend, rounds)
        for name in names or NETWORKS
        for backend in ("numpy", "numba")
    }
    rows = [
        [
            name,
            duration(m["seconds"]),
            f"{m['steps']:,.0f}",
            f"{m['comparisons']:.0f}",
            f"{m['share']:.1%}",
            f"{m['low']:.1%} … {m['high']:.1%}",
            f"{LIMIT:.0%}",
        ]
        for name, m in found.items()
    ]
    header = ["what", "a step", "steps", "comparisons", "share", "quartiles", "limit"]
    text = table(header, rows)
    keep("comparisons", "Comparisons", text, {"shares": found}, facts, command, write=write)
    return int(any(m["share"] > LIMIT for m in found.values()))
