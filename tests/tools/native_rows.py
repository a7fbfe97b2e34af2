"""Every line of the table of operations as kernels: `python -m tests.tools.native_rows`.

A line is captured with its gradients, and replayed on other numbers: with the NumPy program, and
with kernels, which must agree to rounding. The tests have Python run the kernels; the command has
Numba compile them, which takes two or three seconds a line.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from itertools import cycle
from typing import Any
from zlib import crc32

import numpy as np

import tinygrad_edu as tg
from tests.tools.domains import Shapes
from tests.tools.operations import CASES, Row
from tinygrad_edu.checking.layouts import LAYOUTS, on_memory

# A result that is float32 is rounded to it, whatever the operands are.
TOLERANCES = {"float64": 1e-12, "float32": 1e-5}


def check_row(row: Row, shapes: Shapes, dtype: str, layout: str) -> str | bool:
    """Hold kernels against NumPy; whether they were kernels, or why not."""
    rng = np.random.default_rng(crc32(f"{row} {shapes}".encode()))

    def drawn() -> list[Any]:
        arrays = [draw(rng, shape) for draw, shape in zip(row.domains, shapes, strict=True)]
        return [x.astype(dtype) if x.dtype.kind == "f" else x for x in arrays]

    first, second = drawn(), drawn()
    same = all(a.shape == b.shape for a, b in zip(first, second, strict=True))
    runs = [first, second if same else first]
    told: list[Any] = []
    results = []
    for backend in ("numpy", "numba"):
        variables = {i: on_memory(LAYOUTS[layout](first[i])) for i in row.wanted}
        step = tg.compile(_step(row, variables), backend=backend)
        for arrays in runs:
            for i, v in variables.items():
                v.value = LAYOUTS[layout](arrays[i])
            given = [x for i, x in enumerate(arrays) if i not in variables]
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                found = step(*given)
        told = step.native
        results.append([*(x.value for x in found), *(v.grad for v in variables.values())])
    tolerance = TOLERANCES["float32" if row.result is np.float32 else dtype]
    for want, got in zip(*results, strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        scale = 1 + np.abs(np.nan_to_num(want)).max(initial=0)
        np.testing.assert_allclose(got, want, 0, tolerance * scale, equal_nan=True)
    answer: str | bool = told[0]
    return answer


def _step(row: Row, variables: dict[int, Any]) -> Any:
    def step(*given: Any) -> Any:
        arguments = iter(given)
        y = row.call(
            *(variables[i] if i in variables else next(arguments) for i in range(len(row.domains)))
        )
        total = (y * y).sum()
        for v in variables.values():
            v.grad = None
        if variables:
            total.backward()
        return y, total

    return step


def main(arguments: list[str] | None = None) -> int:
    """The command; what it returns is the exit code."""
    parser = argparse.ArgumentParser("python -m tests.tools.native_rows", description=__doc__)
    parser.add_argument("--dtype", choices=[*TOLERANCES], default="float64")
    parser.add_argument("--seconds", type=float, default=np.inf, help="start no line after so many")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    told: Counter[Any] = Counter()
    for (row, shapes), layout in zip(CASES, cycle(LAYOUTS), strict=False):
        if time.monotonic() - started > options.seconds:
            break
        told[check_row(row, shapes, options.dtype, layout)] += 1
    for answer, n in told.most_common():
        print(f"{n} {'native' if answer is True else answer}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
