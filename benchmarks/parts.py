"""`python -m benchmarks parts`: how the time of a step divides.

products     the matrix products alone, timed by themselves
calls        the same step on arrays of one entry: what it costs to call, record and look up
array work   the rest: element-wise operations, sums, the update, memory
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from . import cases
from .cases import Network
from .peers import contestants, products
from .report import RESULTS, duration, keep, ratio, table
from .timing import compare

WAYS = {
    "NumPy, hand-optimised": "by hand",
    "tinygrad_edu, eager": "eager",
    "tinygrad_edu, captured": "captured",
    "tinygrad_edu, captured, Numba": "Numba",
}


def without_arithmetic(network: Network) -> Network:
    """Return a network with as many layers, and one entry in each array (two classes if there are
    several).
    """
    sizes = (1,) * (len(network.sizes) - 1) + (min(network.k, 2),)
    return replace(network, sizes=sizes, batch=1)


def divide(network: Network, rounds: int) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Return the seconds of each part of a step, for each way to do it."""
    made, left_out = contestants(network, WAYS)
    bare, _ = contestants(without_arithmetic(network), made, exact=False)
    timings = compare(
        {"products": products(network)}
        | {name: c.epoch for name, c in made.items()}
        | {f"{name}, calls": c.epoch for name, c in bare.items()},
        rounds=rounds,
        steps=network.steps,
        budget=60,
    )
    # By ratios, which the machine's moods leave alone.
    product = timings["products"].seconds
    found = {}
    for name in made:
        calls = product * timings[f"{name}, calls"].ratio
        whole = product * timings[name].ratio
        calls = min(calls, max(0.0, whole - product))
        found[WAYS[name]] = {
            "products": min(product, whole),
            "array work": max(0.0, whole - product - calls),
            "calls": calls,
        }
    return found, left_out


def run(
    names: list[str] | None,
    rounds: int,
    facts: dict[str, Any],
    command: str,
    write: bool,
    suffix: str = "",
) -> int:
    """Measure the named networks (None: all), print the table, and keep it with its picture."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    left_out: dict[str, str] = {}
    for name in names or cases.NETWORKS:
        found[name], left = divide(cases.NETWORKS[name], rounds)
        left_out |= left
    rows = []
    for name, ways in found.items():
        what = name
        for way, split in ways.items():
            whole = sum(split.values())
            shares = [f"{duration(s)} ({100 * s / whole:.0f} %)" for s in split.values()]
            rows.append([what, way, duration(whole), *shares, ratio(whole / split["products"])])
            what = ""
    header = ["network", "way", "a step", "products", "array work", "calls", "ratio to products"]
    text = [
        table(header, rows, 2),
        "Products: the matrix products, timed alone. Calls: the same step on arrays of one entry. "
        "Array work: the rest.",
        *(f"Left out: {name} ({why})." for name, why in left_out.items()),
    ]
    if write:
        from . import pictures

        RESULTS.mkdir(exist_ok=True)
        pictures.parts(found, facts["threads"], RESULTS / f"parts{suffix}.png")
        text.append(f"![parts of a step's time](parts{suffix}.png)")
    keep(
        f"parts{suffix}",
        "Where the time of a step goes",
        "\n\n".join(text),
        {"networks": found, "left out": left_out},
        facts,
        command,
        write=write,
    )
    return 0
