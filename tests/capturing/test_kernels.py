"""The kernels of programs, run by Python: what they compute, and what has none.

The same text is compiled by Numba in `test_native`; here it is seen to be right for every operation
and for random programs, which a compiler would take hours for.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import cycle
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.fuzz import generate
from tests.fuzz.captured import check_captured
from tests.tools.interpreted import interpreted
from tests.tools.long import one_in
from tests.tools.native_rows import check_row
from tests.tools.operations import CASES
from tinygrad_edu import nn, optim
from tinygrad_edu.checking.layouts import LAYOUTS

CASE_OF = {f"{row} {shapes}": (row, shapes) for row, shapes in CASES}

MASK = "there is no loop for a mask into which a smaller array is broadcast"
REFUSED = {"scatter mask ((),)": MASK}  # how many are added is not to be seen
# Rows of operations without a loop, with NumPy's function: it runs on NumPy, and says so.
NO_LOOP = {
    "prod": "prod",
    "cumsum": "cumsum",
    "sort": "argsort",
    "average weights": "average",
    "linalg.inv": "inv",
    "linalg.det": "det",
    "linalg.solve": "solve",
}
NO_LOOP_FOR = tuple(f"there is no loop for {name} of " for name in NO_LOOP.values())


def without_loop(row: str) -> str:
    """Return how the answer for a row without a loop begins; "nothing" for the other rows."""
    names = [name for op, name in NO_LOOP.items() if re.match(rf"{re.escape(op)}[ ,]", row)]
    return f"there is no loop for {names[0]} of " if names else "nothing"


@pytest.fixture
def by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_edu.capturing.native.compiled", interpreted)


@pytest.mark.parametrize(("name", "layout"), one_in(5, zip(CASE_OF, cycle(LAYOUTS), strict=False)))
def test_every_operation(name: str, layout: str, by_python: None) -> None:
    row, shapes = CASE_OF[name]
    for dtype in ("float64", "float32"):
        told = check_row(row, shapes, dtype, layout)
        assert told == REFUSED.get(name, True) or str(told).startswith(without_loop(name))


@pytest.mark.parametrize("seed", range(0, 100, 10))
def test_random_programs(seed: int) -> None:
    # 2,000 of them: python -m tests.fuzz --captured --backend interpreted --count 2000
    # as machine code, 3 s each: python -m tests.fuzz --captured --backend numba
    told: Counter[str] = Counter()
    for s in range(seed, seed + 10):
        failure = check_captured(generate(s), backend="interpreted", told=told)
        assert failure is None, (s, failure)
    without = sum(n for what, n in told.items() if what.startswith(NO_LOOP_FOR))
    assert told["native"] >= 8 - without  # of the programs without these operations, as ever


def test_the_comparison_of_random_programs_finds_a_wrong_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tinygrad_edu.capturing import formulas

    monkeypatch.setitem(formulas._BINARY, np.multiply, "{0} * {1} * np.float64(1 + 1e-9)")
    failures = [check_captured(generate(seed), backend="interpreted") for seed in range(20)]
    assert any(failures)


def test_one_samples_gradient_and_the_update_are_one_loop(by_python: None) -> None:
    def made() -> tuple[Any, Any]:
        model = nn.Linear(120, 100, rng=0)
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x: Any) -> Any:
            loss = (model(x) ** 2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return model, step

    (model, eager), (other, function) = made(), made()
    step = tg.compile(function, backend="numba")
    for x in np.random.default_rng(0).normal(size=(3, 1, 120)) / 10:
        assert step(x).item() == pytest.approx(eager(x).item(), rel=1e-12)
    np.testing.assert_allclose(other.weight.data, model.weight.data, 1e-12, 1e-12)
    np.testing.assert_allclose(other.weight.grad, model.weight.grad, 1e-12, 1e-12)
    assert step.native == [True]
    assert step.native_source.count("in range(120)") == 1  # not one loop each


def test_an_index_out_of_range_is_the_functions_own_error(by_python: None) -> None:
    w = tg.Tensor(np.arange(12.0).reshape(4, 3), requires_grad=True)
    step = tg.compile(lambda i: (tg.embedding(i, w) + w[i]).sum(), backend="numba")
    for i in (np.array([0, 3]), np.array([1, 2])):
        assert step(i).item() == 2 * w.data[i].sum()
    with pytest.raises(ValueError, match=r"indices must be in 0 … 3, received 0 … 4"):
        step(np.array([0, 4]))
    with pytest.raises(ValueError, match="received -1 … 0"):
        step(np.array([0, -1]))
    assert step.native == [True]


def test_a_mask_that_holds_for_another_number_leaves_the_program(by_python: None) -> None:
    w = tg.Tensor(np.arange(4.0), requires_grad=True)
    mask = np.array([True, False, True, False])
    step = tg.compile(lambda x: (w[mask] * x).sum(), backend="numba")
    assert [step(np.float64(2)).item() for _ in range(2)] == [4.0, 4.0]
    mask[:] = [True, False, False, True]
    assert step(np.float64(2)).item() == 6.0
    mask[1] = True
    assert step(np.float64(2)).item() == 8.0


def test_a_mask_of_new_weights_is_counted_before_they_are_left(by_python: None) -> None:
    # If it holds for another number the step is run again, and must not be updated twice.
    w = tg.Tensor(np.arange(4.0), requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)
    mask = np.array([True, False, True, False])

    @tg.compile(backend="numba")
    def step(x: Any) -> Any:
        loss = (w * x).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return w[mask].sum()

    assert [round(step(np.float64(1)).item(), 9) for _ in range(2)] == [1.8, 1.6]
    assert step.native == [True]
    mask[1] = True
    assert step(np.float64(1)).item() == pytest.approx(-0.3 + 0.7 + 1.7)
    np.testing.assert_allclose(w.data, np.arange(4.0) - 0.3)
