"""The kernels of programs, run by Python: what they compute, and what has none.

The same text is compiled by Numba in `test_native`; here it is seen to be right for every operation
and for random programs, which a compiler would take hours for.
"""

from __future__ import annotations

from collections import Counter
from itertools import cycle
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.fuzz import generate
from tests.fuzz.captured import check_captured
from tests.interpreted import interpreted
from tests.native_rows import check_row
from tests.op_table import CASES, Row, Shapes
from tinygrad_edu import nn, optim
from tinygrad_edu.checking.layouts import LAYOUTS

CASE_OF = {f"{row} {shapes}": (row, shapes) for row, shapes in CASES}

REFUSED = {"scatter mask ((),)"}  # how many are added is not to be seen


@pytest.fixture
def by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_edu.capturing.native.compiled", interpreted)


@pytest.mark.parametrize(("name", "layout"), [*zip(CASE_OF, cycle(LAYOUTS), strict=False)])
def test_every_operation(name: str, layout: str, by_python: None) -> None:
    row, shapes = CASE_OF[name]
    for dtype in ("float64", "float32"):
        refused = "there is no loop for a mask into which a smaller array is broadcast"
        assert check_row(row, shapes, dtype, layout) == (refused if name in REFUSED else True)


@pytest.mark.parametrize("seed", range(0, 100, 10))
def test_random_programs(seed: int) -> None:
    # 2,000 of them: python -m tests.fuzz --captured --backend interpreted --count 2000
    # as machine code, 3 s each: python -m tests.fuzz --captured --backend numba
    told: Counter[str] = Counter()
    for s in range(seed, seed + 10):
        failure = check_captured(generate(s), backend="interpreted", told=told)
        assert failure is None, (s, failure)
    assert told["native"] >= 8


def test_the_comparison_of_random_programs_finds_a_wrong_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tinygrad_edu.capturing import formulas

    monkeypatch.setitem(formulas._BINARY, np.multiply, "{0} * {1} * np.float64(1 + 1e-9)")
    failures = [check_captured(generate(seed), backend="interpreted") for seed in range(20)]
    assert any(failures)
