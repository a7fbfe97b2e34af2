"""`python -m benchmarks sweeps`: the time of a step over batch size, width, depth and dtype.

One size of a network goes from small to large, the others are fixed. The times are ratios to the
matrix products alone, which no step can avoid, and to the fastest peer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from .cases import Network
from .peers import contestants, precision, products
from .report import RESULTS, duration, keep, ratio, table
from .timing import Timing, compare

PRODUCTS = "the matrix products alone"
OURS = "tinygrad_edu"
# Those that are drawn; of each framework what is fastest, and what people write.
CONTESTANTS = [
    "NumPy, hand-optimised",
    "tinygrad_edu, eager",
    "tinygrad_edu, captured",
    "tinygrad_edu, captured, Numba",
    "PyTorch, eager",
    "JAX, jit per step",
    "JAX, lax.scan",
]
COMPILED = {"tinygrad_edu, captured, Numba", "JAX, jit per step", "JAX, lax.scan"}
LONGEST = 100  # layers that are compiled: beyond, a compiler takes minutes

Point = float | str


def _steps(batch: int) -> int:
    return max(1, min(64, 4096 // batch))


def by_batch(batch: int) -> Network:
    """Return a network 784–100–10 with batches of that size."""
    return Network(f"batch {batch}", (784, 100, 10), batch, _steps(batch))


def by_width(width: int) -> Network:
    """Return a network of two layers with that many units."""
    return Network(f"width {width}", (64, width, width, 10), 64, 8 if width < 1000 else 1, lr=0.01)


def by_depth(depth: int) -> Network:
    """Return a network of that many layers with 64 units."""
    sizes = (64,) * (depth + 1)
    return Network(f"depth {depth}", sizes, 64, max(1, 40 // depth), hidden="relu", lr=1e-3 / depth)


def by_dtype(what: str) -> Network:
    """Return the chapter's two network shapes in either precision."""
    name, dtype = what.split()
    if name == "mini":
        return Network(what, (30, 10, 1), 32, 100, dtype=dtype)
    return Network(what, (784, 100, 10), 256, 8, dtype=dtype)


SWEEPS: dict[str, tuple[Callable[[Any], Network], list[Any], str]] = {
    "batch": (by_batch, [1, 4, 16, 64, 256, 1024, 4096], "samples in a batch, 784–100–10"),
    "width": (by_width, [16, 64, 256, 1024, 4096], "units in each of two layers, batch 64"),
    "depth": (by_depth, [1, 3, 10, 30, 100, 300, 1000], "layers of 64 units, batch 64"),
    "dtype": (
        by_dtype,
        ["mini float32", "mini float64", "multi float32", "multi float64"],
        "mini: 30–10–1, batch 32; multi: 784–100–10, batch 256",
    ),
}


def measure(
    network: Network, rounds: int, budget: float, exact: bool = True
) -> tuple[dict[str, Timing], dict[str, str]]:
    """Time the contestants on one network, the matrix products first; return also who was left out,
    and why.
    """
    names = list(CONTESTANTS)
    long = len(network.sizes) - 1 > LONGEST
    if long:
        names = [name for name in names if name not in COMPILED]
    made, left_out = contestants(network, names, exact=exact)
    if long:
        left_out |= dict.fromkeys(sorted(COMPILED), f"not beyond {LONGEST} layers")
    epochs = {PRODUCTS: products(network)} | {name: c.epoch for name, c in made.items()}
    with precision(network.dtype):
        return compare(epochs, rounds=rounds, steps=network.steps, budget=budget), left_out


def beside_the_fastest(timings: Mapping[str, Timing]) -> tuple[str, dict[str, float]]:
    """Return the fastest that is not ours, and the ratio of each to it."""
    others = {n: t.ratio for n, t in timings.items() if n != PRODUCTS and not n.startswith(OURS)}
    fastest = min(others, key=lambda name: others[name])
    return fastest, {n: t.ratio / others[fastest] for n, t in timings.items() if n != PRODUCTS}


def run(
    names: list[str] | None,
    rounds: int,
    budget: float,
    largest: float,
    facts: dict[str, Any],
    command: str,
    write: bool,
    suffix: str = "",
) -> int:
    """Measure the named sweeps (None: all) up to the largest size, and save table and pictures."""
    found: dict[str, dict[Point, dict[str, Timing]]] = {}
    text: list[str] = []
    left_out: dict[str, str] = {}
    for name in names or SWEEPS:
        make, points, what = SWEEPS[name]
        found[name] = {}
        for point in points:
            if isinstance(point, str) or point <= largest:
                print(f"{name} {point} …", file=sys.stderr)
                # Every point is checked in its own dtype, the first one to the last digits too.
                exact = not found[name]
                found[name][point], left = measure(make(point), rounds, budget, exact)
                left_out |= left
        text += [f"## By {name}", f"{what[0].upper()}{what[1:]}.", _table(name, found[name])]
        if write:
            from . import pictures

            RESULTS.mkdir(exist_ok=True)
            file = f"sweep-{name}{suffix}.png"
            pictures.sweep(found[name], what, facts["threads"], RESULTS / file)
            text.append(f"![time of a step by {name}]({file})")
    text += [
        "Times of a step (forward, backward, update); in brackets the ratio to the matrix products "
        "alone in the same rounds, in bold the fastest. Weights and losses of all were seen to be "
        "equal first.",
        *(f"Left out: {name} ({why})." for name, why in left_out.items()),
    ]
    data = {
        "left out": left_out,
        "sweeps": {
            name: {
                str(point): {"fastest peer": beside_the_fastest(timings)[0]}
                | {n: vars(t) for n, t in timings.items()}
                for point, timings in points.items()
            }
            for name, points in found.items()
        },
    }
    title = "The time of a step by batch size, width, depth and dtype"
    keep(f"sweeps{suffix}", title, "\n\n".join(text), data, facts, command, write=write)
    return 0


def _table(name: str, points: Mapping[Point, dict[str, Timing]]) -> str:
    rows = []
    for point, timings in points.items():
        fastest = min((n for n in timings if n != PRODUCTS), key=lambda n: timings[n].ratio)
        cells = []
        for n in (PRODUCTS, *CONTESTANTS):
            if n not in timings:
                cells.append("")
                continue
            told = duration(timings[n].seconds)
            if n != PRODUCTS:
                told += f" ({ratio(timings[n].ratio)})"
            cells.append(f"**{told}**" if n == fastest else told)
        rows.append([str(point), *cells])
    return table([name, PRODUCTS, *CONTESTANTS], rows)
