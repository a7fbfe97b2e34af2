"""Where the first number came from that is not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import Tensor
from tinygrad_edu.anomaly import first_nonfinite


def variable(data: Any, name: str | None = None) -> Tensor:
    return Tensor(data, requires_grad=True, name=name)


@pytest.fixture(autouse=True)
def numpy_does_not_warn() -> Any:
    with np.errstate(all="ignore"):
        yield


# --- a finished graph -----------------------------------------------------------------------------


def test_the_first_operation_is_named_not_those_that_follow() -> None:
    p = variable([[0.5, 0.25], [0.0, 0.0]], "p")
    found = first_nonfinite((tg.exp(p * tg.log(p)) + 1).sum())
    assert found is not None
    assert (found.op, found.place, found.number) == ("log", (1, 0), -np.inf)
    assert str(found) == (
        "log gave -inf at [1, 0], 2 of 4 entries\n  received p (2, 2) float64, there 0.0"
    )


def test_a_finite_graph_has_none() -> None:
    x = variable([1.0, 2.0])
    assert first_nonfinite((tg.log(x) * np.array([1, 2])).sum()) is None


def test_an_input_that_came_in_so_is_named_itself() -> None:
    X = Tensor([[1.0, np.nan]], name="X")
    found = first_nonfinite((X @ variable([1.0, 2.0])).sum())
    assert found is not None
    assert found.op == ""
    assert str(found) == "X (1, 2) float64 holds nan at [0, 1], 1 of 2 entries and went into matmul"


def test_the_array_that_was_used_counts_not_new_data() -> None:
    x = variable([0.0])
    y = tg.log(x)
    x.data = [1.0]
    found = first_nonfinite(y)
    assert found is not None and found.op == "log"


def test_infinity_that_is_meant_can_be_let_pass() -> None:
    logits = variable([1.0, 2.0])
    masked = tg.where(np.array([True, False]), logits, -np.inf)
    assert first_nonfinite(masked) is not None
    assert first_nonfinite(tg.softmax(masked), infinity=False) is None


def test_what_cannot_be_asked() -> None:
    x = variable([1.0])
    loss = (x * 2).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="released"):
        first_nonfinite(loss)
    for nothing in (x, Tensor(1.0), 3.0):
        with pytest.raises(RuntimeError, match="nothing was recorded"):
            first_nonfinite(nothing)  # type: ignore[arg-type]
