"""The first number that is not finite is found, and its operation is named."""

from __future__ import annotations

import contextlib
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import Tensor, engine, nn
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


# --- looking on -----------------------------------------------------------------------------------


class Gate(nn.Module):
    """Its logarithm meets a 0."""

    def __init__(self) -> None:
        self.inner = nn.Sequential(nn.Linear(2, 2, rng=0), nn.ReLU())

    def forward(self, x: Any) -> Any:
        z = self.inner(x)
        return tg.log(z - z)  # the line that is named


def line_of(text: str) -> int:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(i for i, line in enumerate(lines, 1) if text in line and "line_of" not in line)


def test_forward_the_operation_its_line_and_its_module_are_named() -> None:
    model = nn.Sequential(nn.Linear(2, 2, rng=1), Gate())
    with pytest.raises(FloatingPointError) as caught, tg.detect_anomaly():
        model(np.ones((3, 2)))
    assert str(caught.value) == (
        "log gave -inf at [0, 0], 6 of 6 entries\n"
        "  received (3, 2) float64, there 0.0\n"
        f"  log was called in {__file__}:{line_of('the line that is named')}: "
        "return tg.log(z - z)  # the line that is named\n"
        "  in module '1', Gate of Sequential"
    )


def test_numpys_functions_and_layers_are_told_by_the_line_that_used_them() -> None:
    x = variable([-1.0])
    told = r"sqrt gave nan.*\n.*\n.*test_anomaly.py:"
    with pytest.raises(FloatingPointError, match=told), tg.detect_anomaly():
        np.sqrt(x)
    model = nn.Sequential(nn.Linear(2, 2, rng=1))
    with pytest.raises(FloatingPointError, match="holds nan") as caught, tg.detect_anomaly():
        model(np.full((1, 2), np.nan))
    assert "model(np.full((1, 2), np.nan))" in str(caught.value)
    assert "in module '0', Linear of Sequential" in str(caught.value)


@pytest.mark.parametrize("create_graph", [False, True])
def test_backward_the_rule_is_named_with_the_line_of_its_operation(create_graph: bool) -> None:
    x = variable([4.0, 0.0], "x")
    with pytest.raises(FloatingPointError) as caught, tg.detect_anomaly():
        y = tg.sqrt(x)  # its slope at 0
        tg.grad((2 * y).sum(), x, create_graph=create_graph)
    assert str(caught.value) == (
        "the rule of sqrt gave inf at [1], 1 of 2 entries, as the error at x (2,) float64\n"
        "  from (2,) float64, there 2.0, the error at its output\n"
        "  and x (2,) float64, there 0.0\n"
        f"  sqrt was called in {__file__}:{line_of('its slope at 0')}: "
        "y = tg.sqrt(x)  # its slope at 0"
    )


def test_backward_through_what_was_computed_before() -> None:
    x = variable([0.0])
    y = tg.sqrt(x).sum()
    with pytest.raises(FloatingPointError, match="before detect_anomaly"), tg.detect_anomaly():
        y.backward()


def test_an_error_that_came_in_from_outside_is_no_rules_fault() -> None:
    x = variable([1.0])
    told = "error at the output of square is nan at"
    with pytest.raises(FloatingPointError, match=told), tg.detect_anomaly():
        tg.square(x).backward([np.nan])


def test_what_a_rule_masks_on_its_way_is_no_anomaly() -> None:
    base = variable([0.0, 2.0])
    with tg.detect_anomaly():  # b·aᵇ⁻¹ is infinite at 0, where the rule puts 0 in its place
        y = tg.power(base, np.array([0.0, 2.0]))
        slope = tg.grad(y, base, gradient=np.ones(2), create_graph=True)
    assert slope.tolist() == [0.0, 4.0]


@pytest.mark.parametrize("what", ["data", "index", "result"])
def test_an_array_that_was_changed_in_place_is_named(what: str) -> None:
    x = variable([1.0, 2.0], "x")
    array, index = np.array([3.0, 4.0]), np.array([0, 1])
    with pytest.raises(RuntimeError) as caught, tg.detect_anomaly():
        y = x[index] * array  # recorded here
        if what == "data":
            array[0] = 9.0
        elif what == "index":
            index[0] = 1
        else:
            y.value[0] = 7.0
        y.sum().backward()
    op = "getitem" if what == "index" else "multiply"
    kind = {"data": "(2,) float64", "index": "index (2,) int64", "result": "the result"}[what]
    assert str(caught.value).startswith(kind)
    assert f"changed in place between {op}, which recorded it" in str(caught.value)
    assert f"{__file__}:{line_of('# recorded here')}" in str(caught.value)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(
    "forward",
    [
        lambda w: w**3,
        lambda w: w * w * w,
        lambda w: tg.stack([w, w * w]) * w,
        lambda w: w.T @ w,
    ],
)
def test_a_variable_changed_in_place_is_named_by_detect_anomaly_only(
    forward: Any, inside: bool
) -> None:
    w = variable([[3.0]], "w")
    with tg.detect_anomaly() if inside else contextlib.nullcontext():
        y = forward(w).sum()
        w.value[...] = 5.0  # past `data`, which can be read only
        if inside:
            with pytest.raises(RuntimeError, match="changed in place between"):
                y.backward()
            assert w.grad is None
        else:
            y.backward()
            assert w.grad is not None


def test_new_data_for_a_variable_are_no_change_in_place() -> None:
    w = variable([1.0, 2.0])
    with tg.detect_anomaly():
        loss = (w * w).sum()
        w.data = [5.0, 5.0]
        loss.backward()
    assert w.grad is not None and w.grad.tolist() == [2.0, 4.0]


def test_infinity_can_be_let_pass_and_nan_never() -> None:
    x = variable([1.0])
    with tg.detect_anomaly(infinity=False):
        y = x * np.inf
        with pytest.raises(FloatingPointError, match="nan"):
            y - y


def test_gradients_are_those_without_it() -> None:
    def gradients() -> list[Any]:
        model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 2, rng=1))
        tg.cross_entropy(model(np.arange(12.0).reshape(4, 3)), np.array([0, 1, 1, 0])).backward()
        return [p.grad for p in model.parameters()]

    plain = gradients()
    for watched in (tg.detect_anomaly()(gradients)(), tg.detect_anomaly()(gradients)()):
        for a, b in zip(plain, watched, strict=True):
            assert a.tobytes() == b.tobytes()


def test_nobody_looks_on_afterwards_nor_in_other_threads() -> None:
    zero = variable([0.0])

    def meanwhile() -> None:
        with np.errstate(divide="ignore"):
            tg.log(zero)

    with pytest.raises(KeyError), tg.detect_anomaly():
        thread = Thread(target=meanwhile)
        thread.start()
        thread.join()  # an error in there would be reported as an unhandled one
        with tg.detect_anomaly(infinity=False):  # the innermost counts
            tg.log(zero)
        raise KeyError
    assert engine.observers == []
    tg.log(zero)


def test_one_that_is_entered_twice_is_left_twice() -> None:
    watch, zero = tg.detect_anomaly(), variable([0.0])
    with watch, watch:
        pass
    assert engine.observers == []
    tg.log(zero)
    with watch, pytest.raises(FloatingPointError):
        tg.log(zero)


def test_what_is_remembered_goes_with_the_graph() -> None:
    watch = tg.detect_anomaly()
    x = variable([1.0])
    with watch:
        for _ in range(3):
            y = (x * 2 + 1).sum()
        assert len(watch._notes) == 3
        del y
        assert not watch._notes
