"""`python -m benchmarks comparisons`: what it costs to compare captured steps with their functions.

Two captured steps of the same network train on the same batches, one with `check=False` and one
with the default, which runs the function as well for the first two calls, and later at most once
in a thousand. A round is so many steps that later comparisons are among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import nn, optim

from .cases import NETWORKS, Network
from .peers import HIDDEN
from .report import keep, timings_table
from .timing import compare

STEPS = 4000  # of a round at most, and
SECONDS = 1.0  # as long as these take
LIMIT = 1.02


def epochs(network: Network, check: bool | None, steps: int) -> Callable[[], Any]:
    """Return a function that makes at least so many steps, in epochs of the network's batches."""
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

    captured = tg.compile(step, check=check)
    x, y = (array.reshape(-1, *array.shape[2:]) for array in (X, Y))
    order = np.arange(len(x)).reshape(network.steps, network.batch)
    order = np.tile(order, (-(-steps // network.steps), 1))
    captured.epoch(x, y, order=order[:3])  # traced, and compared twice
    return lambda: captured.epoch(x, y, order=order)


def run(
    names: Sequence[str] | None, rounds: int, facts: dict[str, Any], command: str, write: bool
) -> int:
    """Measure, print the table, and keep it if that is wanted."""
    timed: Any = {}
    for name in names or NETWORKS:
        network = NETWORKS[name]
        probe = epochs(network, False, network.steps)
        once = compare({"one": probe}, rounds=3, steps=network.steps, slice_seconds=0)["one"]
        steps = min(STEPS, max(network.steps, int(SECONDS / once.seconds)))
        ways = {
            "check=False": epochs(network, False, steps),
            "compared": epochs(network, None, steps),
        }
        timings = compare(ways, rounds=rounds, steps=steps, slice_seconds=0)
        timed[f"{name}: {network}"] = timings, "compared", LIMIT
    text = timings_table(timed)
    rows = {what: {n: vars(t) for n, t in found[0].items()} for what, found in timed.items()}
    keep("comparisons", "Comparisons", text, {"timings": rows}, facts, command, write=write)
    return 0
