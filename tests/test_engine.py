"""The engine: what is recorded, the sweep over it, its two doors, and its limits."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as tg
from tinygrad_edu import engine, nn, optim
from tinygrad_edu.arrays import Array, NameMissing
from tinygrad_edu.engine import primitive
from tinygrad_edu.operation import Primitive

# --- helpers --------------------------------------------------------------------------------------


def variable(data: Any, dtype: Any = np.float64, name: str | None = None) -> tg.Tensor:
    return tg.Tensor(np.array(data, dtype), requires_grad=True, name=name)


def grad_of(x: tg.Tensor) -> Array:
    assert x.grad is not None
    return x.grad


def records(x: tg.Tensor) -> bool:
    """Return True if a result of x is recorded, in this thread and now."""
    return bool((x * 2.0).requires_grad)


def notes(error: pytest.ExceptionInfo[BaseException]) -> str:
    return "\n".join(getattr(error.value, "__notes__", []))


def run_python(code: str, **environment: str) -> str:
    """Return what a fresh interpreter prints when it runs the code."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stderr}"
    return done.stdout


class Broken(Exception):
    """An error of the operations below."""


@primitive(lambda g, y, x: 1 / 0)
def bad_rule(x: Any) -> Any:
    """An operation whose forward works and whose rule does not."""
    return x * 2.0


@primitive(lambda g, y, x: g)
def bad_forward(x: Any) -> Any:
    """An operation whose forward fails with an error that only it knows."""
    raise Broken("no such luck")


@primitive(lambda g, y, x, factor, shift: g * factor)
def scaled(x: Any, /, factor: Any = 2.0, *, shift: Any = 0.0) -> Any:
    """An operation with one setting for either place, and one for its name only."""
    return x * factor + shift


@primitive(lambda g, y, a, b: g * a / y, lambda g, y, a, b: g * b / y)
def hypotenuse(a: Any, b: Any) -> Any:
    """An operation of one's own: three lines."""
    return np.sqrt(a**2 + b**2)


def with_rule(rule: Callable[..., Any]) -> Primitive:
    """y = 2x with the given rule in place of `2 * g`."""

    def double(x: Any) -> Any:
        return x * 2.0

    return primitive(rule)(double)


# --- order and accumulation -----------------------------------------------------------------------

# A graph of sums: for each new node the places of the two earlier nodes that it adds.
GRAPHS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=12)


def graph_of_sums(edges: list[tuple[int, int]]) -> tuple[list[tg.Tensor], list[tuple[int, int]]]:
    nodes, places = [variable(1.0)], []
    for i, j in edges:
        i, j = i % len(nodes), j % len(nodes)
        places.append((i, j))
        nodes.append(nodes[i] + nodes[j])
    return nodes, places


@given(GRAPHS)
def test_history_has_every_result_once_and_after_its_inputs(edges: list[tuple[int, int]]) -> None:
    nodes, places = graph_of_sums(edges)
    used = {len(nodes) - 1}
    for k in range(len(nodes) - 1, 0, -1):
        if k in used:
            used.update(places[k - 1])
    order = engine.recorded_results(nodes[-1])
    assert [id(node) for node in order] == [id(nodes[k]) for k in sorted(used - {0})]


@given(GRAPHS)
def test_the_gradient_of_sums_counts_the_ways(edges: list[tuple[int, int]]) -> None:
    nodes, places = graph_of_sums(edges)
    ways = [0] * len(nodes)
    ways[-1] = 1
    for k in range(len(nodes) - 1, 0, -1):
        for i in places[k - 1]:
            ways[i] += ways[k]
    if len(nodes) == 1:
        assert tg.grad(nodes[0], nodes[0]) == 1
        return
    assert [float(g) for g in tg.grad(nodes[-1], nodes)] == ways
    nodes[-1].backward()
    assert (0 if nodes[0].grad is None else nodes[0].grad) == ways[0]


def test_an_operation_cannot_overwrite_what_it_is_given() -> None:
    @primitive(lambda g, y, x: g * (x > 0))
    def clamp_(x: Any) -> Any:
        x[x < 0] = 0
        return x

    W = tg.Tensor([-1.0, 2.0], requires_grad=True, name="W")
    for w in (W, W.detach()):
        with pytest.raises(ValueError, match=r"clamp_: .*read-only\n  received .*\n  .*a copy"):
            clamp_(w)
    assert_array_equal(W.data, [-1.0, 2.0])
    same = primitive(lambda g, y, x: g)(lambda x: x)  # memory that it was given it may hand on
    assert_array_equal(tg.grad(same(W).sum(), W), [1.0, 1.0])


def test_diamond() -> None:
    x = variable(3.0)
    left, right = x * x, tg.exp(x)
    (left * right).backward()
    assert_allclose(grad_of(x), np.exp(3.0) * (9 + 6), rtol=1e-15)


def test_the_same_tensor_in_both_places() -> None:
    x = variable([1.0, 2.0])
    (x * x).sum().backward()
    assert_array_equal(x.grad, [2.0, 4.0])


def test_a_node_used_by_a_younger_and_by_an_older_one() -> None:
    # y must wait for both errors, the one over the long way and the one over the short way.
    x = variable(2.0)
    y = x * 3.0
    long = tg.sin(tg.exp(y * 0.1))
    (y * long).backward()
    e = np.exp(0.6)
    assert_allclose(grad_of(x), 3 * (np.sin(e) + 6 * np.cos(e) * e * 0.1), rtol=1e-14)


def test_backward_adds_to_what_is_there() -> None:
    x = variable([1.0, 2.0])
    for _ in range(3):
        (x * 5.0).sum().backward()
    assert_array_equal(x.grad, [15.0, 15.0])


def test_a_gradient_is_an_array_after_every_backward() -> None:
    x = variable(2.0, np.float32)
    for i in range(3):
        (x * 3.0).backward()
        assert type(x.grad) is np.ndarray
        assert x.grad.dtype == np.float32
        assert x.grad.shape == ()
        assert x.grad == 3 * (i + 1)


def test_an_older_gradient_is_not_written_to() -> None:
    x = variable([1.0, 2.0])
    (x * 5.0).sum().backward()
    first = x.grad
    (x * 5.0).sum().backward()
    assert_array_equal(first, [5.0, 5.0])


def test_backward_of_a_variable_itself() -> None:
    x = variable([1.0, 2.0], np.float32)
    for dtype in (np.float32, np.float64, np.int64):
        x.grad = None
        given_array = np.array([3, 4], dtype)
        x.backward(given_array)
        assert_array_equal(x.grad, [3.0, 4.0])
        assert grad_of(x).dtype == np.float32
        assert not np.shares_memory(grad_of(x), given_array)


def test_only_variables_get_a_gradient() -> None:
    x, c = variable(2.0), tg.Tensor(3.0)
    y = x * c
    z = y * y
    z.backward()
    assert x.grad == 36.0
    assert c.grad is None
    assert y.grad is None
    assert z.grad is None


def test_asking_for_a_gradient_again_changes_nothing() -> None:
    # `requires_grad = True` on what is a variable already must not cut it off from its results.
    x = variable(2.0)
    y = x * x
    x.requires_grad = True
    assert tg.grad(y, x) == 4.0
    y.backward()
    assert x.grad == 4.0


def test_a_variable_made_after_its_use_is_refused() -> None:
    # d was computed while c was a constant: c's gradient through d was never recorded.
    x, c = variable(2.0), tg.Tensor(3.0)
    d = c * c
    y = x * c * d
    c.requires_grad = True
    for differentiate in (lambda: tg.grad(y, c), y.backward):
        with pytest.raises(RuntimeError, match="after it had been used by multiply"):
            differentiate()
    assert x.grad is None
    (x * c).backward()
    assert c.grad == 2.0


def test_a_constant_made_a_variable_has_its_own_data() -> None:
    data = np.ones(2)
    c = tg.Tensor(data)
    c.requires_grad = True
    data[0] = 99.0
    assert c.tolist() == [1.0, 1.0]


# --- grad() ---------------------------------------------------------------------------------------


def test_grad_of_any_tensor_of_the_graph() -> None:
    x = variable([1.0, 2.0])
    y = x * 3.0
    z = tg.exp(y)
    loss = z.sum()
    assert_allclose(tg.grad(loss, x), 3 * np.exp([3.0, 6.0]), rtol=1e-15)
    assert_allclose(tg.grad(loss, y), np.exp([3.0, 6.0]), rtol=1e-15)
    assert_array_equal(tg.grad(loss, z), [1.0, 1.0])
    assert tg.grad(loss, loss) == 1.0
    assert x.grad is None


def test_grad_of_several_keeps_their_order() -> None:
    x, w = variable([1.0, 2.0]), variable([3.0, 4.0])
    y = (x * w).sum()
    for wrt in ([w, x, w], (w, x, w)):
        gradients = tg.grad(y, wrt)
        assert isinstance(gradients, list)
        assert [g.tolist() for g in gradients] == [[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]
    assert tg.grad(y, []) == []


@pytest.mark.parametrize("create_graph", [False, True])
def test_grad_of_a_node_and_of_what_it_came_from(create_graph: bool) -> None:
    x = variable(2.0)
    y = x * x
    gradients = tg.grad(y * x, [y, x], create_graph=create_graph)
    assert [g.item() for g in gradients] == [2.0, 12.0]


@pytest.mark.parametrize("create_graph", [False, True])
def test_grad_of_an_independent_tensor_is_zero(create_graph: bool) -> None:
    x, other = variable([1.0, 2.0]), variable(np.ones((2, 3)), np.float32)
    later = x * 2.0
    for independent in (other, later):
        g = tg.grad(x.sum(), independent, create_graph=create_graph)
        assert type(g) is (tg.Tensor if create_graph else np.ndarray)
        assert_array_equal(np.array(g), np.zeros(independent.shape))
        assert g.dtype == independent.dtype


def test_grad_keeps_the_graph() -> None:
    x = variable(2.0)
    y = x**3
    assert [float(tg.grad(y, x)) for _ in range(2)] == [12.0, 12.0]
    y.backward()
    assert x.grad == 12.0


def test_only_what_lies_on_the_way_is_visited() -> None:
    x, w = variable(2.0), variable(3.0)
    y = bad_rule(x) * w
    assert tg.grad(y, w) == 4.0
    with pytest.raises(ZeroDivisionError):
        tg.grad(y, x)


@pytest.mark.parametrize("wrt", [tg.Tensor(1.0), 1.0, np.ones(2), "x", None])
def test_grad_refuses_what_is_not_recorded(wrt: Any) -> None:
    x = variable(1.0)
    for given_wrt in (wrt, [x, wrt]):
        with pytest.raises(TypeError, match="wrt must be tensors that require a gradient"):
            tg.grad(x * 2.0, given_wrt)


def test_nothing_to_go_back_through() -> None:
    x = variable(1.0)
    with tg.no_grad():
        unrecorded = x * 2.0
    for output in (tg.Tensor(1.0), unrecorded, (x * 2.0).detach(), x > 0.0):
        with pytest.raises(RuntimeError, match="has no graph to differentiate"):
            output.backward()
        with pytest.raises(RuntimeError, match="has no graph to differentiate"):
            tg.grad(output, x)
    with pytest.raises(TypeError, match=r"only a tensor .* create_graph=True"):
        tg.grad(np.ones(2), x)  # type: ignore[arg-type]


# --- higher derivatives ---------------------------------------------------------------------------


def test_derivatives_to_the_third_order() -> None:
    x = variable(0.7)
    y = tg.exp(x) * x
    for n in range(1, 4):  # the n-th derivative of x eˣ is (x + n) eˣ
        y = tg.grad(y, x, create_graph=True)
        assert isinstance(y, tg.Tensor)
        assert_allclose(y.item(), (0.7 + n) * np.exp(0.7), rtol=1e-15)


def test_a_higher_derivative_may_end_in_backward() -> None:
    x = variable([1.0, 2.0])
    slope = tg.grad((x**3).sum(), x, create_graph=True)
    (slope**2).sum().backward()  # (3x²)² has the slope 36x³
    assert_allclose(grad_of(x), [36.0, 288.0], rtol=1e-15)


@pytest.mark.parametrize("create_graph", [False, True])
def test_the_recorded_gradient_is_the_same_number(create_graph: bool) -> None:
    rng = np.random.default_rng(0)
    X, W = rng.normal(size=(5, 3)), variable(rng.normal(size=(3, 2)))
    y = tg.sigmoid(X @ W).sum()
    expected = tg.grad(y, W)
    assert_array_equal(np.array(tg.grad(y, W, create_graph=create_graph).data), expected)


def test_hessian_times_vector() -> None:
    rng = np.random.default_rng(1)
    A, v = rng.normal(size=(4, 4)), rng.normal(size=4)
    x = variable(rng.normal(size=4))
    y = (x @ A @ x) + (x**3).sum()
    expected = (A + A.T) @ v + 6 * x.data * v
    slope = tg.grad(y, x, create_graph=True)
    assert_allclose(tg.grad(slope, x, gradient=v), expected, rtol=1e-13)
    assert_allclose(tg.grad((slope * v).sum(), x), expected, rtol=1e-13)


def test_the_gradient_argument_can_be_differentiated() -> None:
    # Two sweeps with a variable v in the place of the error give J v: forward mode.
    x, v = variable([1.0, 2.0]), variable([0.0, 0.0])
    pulled = tg.grad(x**3, x, gradient=v, create_graph=True)
    assert_array_equal(tg.grad(pulled, v, gradient=np.array([1.0, 10.0])), [3.0, 120.0])


def test_a_recorded_gradient_without_a_slope_is_a_tensor_too() -> None:
    # Neither of these rules gives a recorded result: one starts anew, one is a plain number.
    rules: list[Callable[..., Any]] = [lambda g, y, x: np.zeros(2), lambda g, y, x: [2.0, 2.0]]
    for rule in rules:
        x = variable([1.0, 2.0])
        slope = tg.grad(with_rule(rule)(x).sum(), x, create_graph=True)
        assert isinstance(slope, tg.Tensor)


def test_create_graph_under_no_grad_records_all_the_same() -> None:
    x = variable(2.0)
    y = x**3
    with tg.no_grad():
        slope = tg.grad(y, x, create_graph=True)
    assert tg.grad(slope, x) == 12.0


# --- the gradient to start from -------------------------------------------------------------------


@pytest.mark.parametrize(
    "gradient",
    [
        [1.0, 10.0],
        np.array([1.0, 10.0]),
        np.array([1, 10]),
        np.array([1.0, 10.0], np.float32),
        tg.Tensor([1.0, 10.0]),
        variable([1.0, 10.0]),
    ],
    ids=["list", "array", "integers", "float32", "Tensor", "variable"],
)
def test_gradient_argument(gradient: Any) -> None:
    x = variable([2.0, 3.0])
    y = x * x
    for create_graph in (False, True):
        g = tg.grad(y, x, gradient, create_graph=create_graph)
        assert_array_equal(g.data, [4.0, 60.0])
        assert g.dtype == np.float64
    y.backward(gradient)
    assert_array_equal(x.grad, [4.0, 60.0])


def test_gradient_argument_takes_the_dtype_of_the_output() -> None:
    x = variable([2.0, 3.0], np.float32)
    g = tg.grad(x * x, x, np.ones(2))
    assert g.dtype == np.float32


@pytest.mark.parametrize("gradient", [1.0, [1.0], [[1.0, 1.0]], np.ones(3)])
def test_a_gradient_of_another_shape_is_refused(gradient: Any) -> None:
    x = variable([2.0, 3.0])
    shape = str(np.shape(gradient))
    with pytest.raises(ValueError) as refused:
        (x * x).backward(gradient)
    assert shape in str(refused.value)
    assert "(2,)" in str(refused.value)
    assert x.grad is None


@pytest.mark.parametrize("gradient", ["one", [1j, 1.0], [None, 1.0]])
def test_a_gradient_of_no_numbers_is_refused(gradient: Any) -> None:
    x = variable([2.0, 3.0])
    with pytest.raises(TypeError, match="expected real numbers"):
        (x * x).backward(gradient)


def test_a_missing_gradient_is_refused_unless_the_output_is_one_number() -> None:
    x = variable([[2.0, 3.0]])
    with pytest.raises(ValueError, match=r"\(1, 2\) needs"):
        (x * x).backward()
    x = variable([[2.0]])
    (x * x).backward()  # one number, whatever its shape
    assert_array_equal(x.grad, [[4.0]])
    empty = variable(np.ones((0,)))
    with pytest.raises(ValueError, match=r"\(0,\) needs"):
        (empty * 2.0).backward()


# --- released graphs ------------------------------------------------------------------------------


def test_backward_twice_is_refused_and_changes_nothing() -> None:
    x = variable(2.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="released by an earlier backward"):
        y.backward()
    with pytest.raises(RuntimeError, match="released"):
        tg.grad(y, x)
    assert x.grad == 4.0


def test_a_part_of_a_released_graph_is_refused_and_nothing_changes() -> None:
    x, w = variable(2.0), variable(3.0)
    shared = x * x
    first, second = shared * 3.0, (shared * w) * w
    first.backward()
    before = repr(second)
    with pytest.raises(RuntimeError, match="released"):
        second.backward()
    assert x.grad == 12.0
    assert w.grad is None
    assert repr(second) == before  # not released itself on the way


def test_retain_graph() -> None:
    x = variable(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad == 12.0
    with pytest.raises(RuntimeError, match=r"backward\(retain_graph=True\)"):
        y.backward()


def test_what_is_released_is_freed_at_once() -> None:
    gc.disable()  # without its help: there must be no cycles
    try:
        x = variable(np.ones(3))
        inner = x * 2.0
        gone = weakref.ref(inner)
        y = tg.exp(inner).sum()
        del inner
        assert gone() is not None
        y.backward()
        assert gone() is None
    finally:
        gc.enable()


def test_variables_are_never_released() -> None:
    x = variable(2.0)
    x.backward()
    x.backward()
    assert x.grad == 2.0


# --- failures on the way --------------------------------------------------------------------------


def test_a_failing_rule_changes_no_gradient_and_names_op_and_argument() -> None:
    x = variable([1.0, 2.0], name="X")
    bad = bad_rule(x)
    w = variable([3.0, 4.0])  # younger than `bad`: its error is known when the rule fails
    (x * w).sum().backward()
    y = (bad * w).sum()
    with pytest.raises(ZeroDivisionError) as failed:
        y.backward()
    assert "in the rule of bad_rule for X (2,) float64" in notes(failed)
    assert_array_equal(x.grad, [3.0, 4.0])
    assert_array_equal(w.grad, [1.0, 2.0])


@pytest.mark.parametrize("create_graph", [False, True])
def test_everything_is_usable_after_a_failing_rule(create_graph: bool) -> None:
    x, w = variable(2.0), variable(3.0)
    y = bad_rule(x) * w
    for _ in range(2):  # the same way each time
        with pytest.raises(ZeroDivisionError):
            tg.grad(y, [x, w], create_graph=create_graph)
    with pytest.raises(ZeroDivisionError):
        y.backward(retain_graph=True)
    assert tg.grad(y, w) == 4.0
    (x * w).backward()
    assert grad_of(x) == 3.0
    assert grad_of(w) == 2.0


def test_an_exception_in_a_forward_names_the_op_and_leaves_everything_usable() -> None:
    x = variable([1.0, 2.0], name="X")
    y = x * x
    with pytest.raises(Broken) as failed:
        bad_forward(y * 2.0)
    assert "in bad_forward, which received (2,) float64" in notes(failed)
    y.sum().backward()
    assert_array_equal(x.grad, [2.0, 4.0])


@pytest.mark.parametrize(
    "call, error",
    [
        (lambda x: x + np.ones(4), ValueError),
        (lambda x: x.sum(axis=3), np.exceptions.AxisError),
        (lambda x: x[7], IndexError),
        (lambda x: x + "one", TypeError),
        (lambda x: x.reshape(5), ValueError),
    ],
)
def test_an_error_of_numpy_keeps_its_type_and_tells_what_was_received(
    call: Callable[[tg.Tensor], Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"received X \(3,\) float64"):
        call(variable([1.0, 2.0, 3.0], name="X"))


class OutOfDomain(ValueError):
    """An error class that only a custom operation knows."""


@pytest.mark.parametrize("error", [OutOfDomain, KeyError, np.linalg.LinAlgError, ZeroDivisionError])
def test_an_error_class_of_a_custom_op_can_be_caught(error: type[Exception]) -> None:
    @primitive(lambda g, y, x: g)
    def strict(x: Any) -> Any:
        raise error("x must be above 0")

    with pytest.raises(error) as failed:
        strict(variable(-1.0))
    assert "received () float64" in f"{failed.value}{notes(failed)}"


# --- new data between forward and backward --------------------------------------------------------


def by_optimizer(p: nn.Parameter) -> None:
    p.grad = np.array([7.0, -3.0])
    optim.SGD([p], lr=0.5).step()
    p.grad = None


def by_load_state_dict(p: nn.Parameter) -> None:
    model = nn.Module()
    model.p = p
    model.load_state_dict({"p": np.array([9.0, 9.0])})


def by_assignment(p: nn.Parameter) -> None:
    p.data = np.array([9.0, 9.0])


REBINDS = pytest.mark.parametrize("rebind", [by_optimizer, by_load_state_dict, by_assignment])
P0 = np.array([0.5, -1.25])  # x eˣ and its derivatives (x + n) eˣ are compared at these


@REBINDS
def test_rebinding_leaves_backward_right(rebind: Callable[[nn.Parameter], None]) -> None:
    p = nn.Parameter(P0)
    y = (p * tg.exp(p)).sum()
    rebind(p)
    assert not np.array_equal(p.data, P0)
    y.backward()
    assert_allclose(grad_of(p), (P0 + 1) * np.exp(P0), rtol=1e-15)


@REBINDS
def test_rebinding_leaves_second_derivatives_right(rebind: Callable[[nn.Parameter], None]) -> None:
    p = nn.Parameter(P0)
    y = (p * tg.exp(p)).sum()
    rebind(p)
    slope = tg.grad(y, p, create_graph=True)
    assert_allclose(slope.data, (P0 + 1) * np.exp(P0), rtol=1e-15)
    assert_allclose(tg.grad(slope.sum(), p), (P0 + 2) * np.exp(P0), rtol=1e-15)
    slope.sum().backward()
    assert_allclose(grad_of(p), (P0 + 2) * np.exp(P0), rtol=1e-15)


@REBINDS
def test_rebinding_between_first_and_second_derivative(
    rebind: Callable[[nn.Parameter], None],
) -> None:
    p = nn.Parameter(P0)
    slope = tg.grad((p * tg.exp(p)).sum(), p, create_graph=True)
    rebind(p)
    curve = tg.grad(slope.sum(), p, create_graph=True)
    rebind(p)
    assert_allclose(curve.data, (P0 + 2) * np.exp(P0), rtol=1e-15)
    assert_allclose(tg.grad(curve.sum(), p), (P0 + 3) * np.exp(P0), rtol=1e-15)


def test_rebinding_leaves_matrix_products_right() -> None:
    rng = np.random.default_rng(2)
    X, W1, W2 = rng.normal(size=(5, 3)), rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
    p, q = nn.Parameter(W1), nn.Parameter(W2)
    y = ((X @ p) @ q).sum()
    p.data, q.data = W1 * 0, W2 * 0
    E = np.ones((5, 2))
    slope = tg.grad(y, p, create_graph=True)
    assert_allclose(slope.data, X.T @ E @ W2.T, rtol=1e-13)
    V = rng.normal(size=(3, 4))
    assert_allclose(tg.grad(slope, q, gradient=V), V.T @ X.T @ E, rtol=1e-13)
    y.backward()
    assert_allclose(grad_of(q), (X @ W1).T @ E, rtol=1e-13)


def test_an_augmented_assignment_to_data_leaves_the_gradient_right_or_is_refused() -> None:
    # `p.data -= …` is what `w -= …` of hand-written training becomes. NumPy would do it in place.
    p = nn.Parameter(P0)
    y = (p * p).sum()
    with contextlib.suppress(TypeError, ValueError):
        p.data -= 1.0
    y.backward()
    assert_array_equal(p.grad, 2 * P0)


# --- what a rule may return -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule, expected",
    [
        (lambda g, y, x: g, [1.0, 2.0]),
        (lambda g, y, x: g[::1], [1.0, 2.0]),
        (lambda g, y, x: x, [5.0, 6.0]),
        (lambda g, y, x: x[::-1], [6.0, 5.0]),
        (lambda g, y, x: y, [10.0, 12.0]),
        (lambda g, y, x: np.broadcast_to(3.0, (2,)), [3.0, 3.0]),
        (lambda g, y, x: (2 * g).astype(np.float64), [2.0, 4.0]),
        (lambda g, y, x: [3.0, 4.0], [3.0, 4.0]),
        (lambda g, y, x: np.array([3, 4]), [3.0, 4.0]),
        (lambda g, y, x: np.stack([g, g]), [2.0, 4.0]),  # summed, as if x had been broadcast
    ],
    ids=["g", "view of g", "x", "view of x", "y", "read-only", "float64", "list", "int", "spread"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gradient_is_memory_of_its_own(
    rule: Callable[..., Any], expected: list[float], dtype: type
) -> None:
    operation = with_rule(rule)
    x = variable([5.0, 6.0], dtype)
    seed: Array = np.array([1.0, 2.0], dtype)
    middle = x * 1.0
    y, z = operation(x), operation(middle)
    y.backward(seed, retain_graph=True)
    for g, arrays in (
        (x.grad, (x.data, y.data, seed)),
        (tg.grad(y, x, seed), (x.data, y.data, seed, x.grad)),
        (tg.grad(z, middle, seed), (middle.data, z.data, seed, x.grad)),
    ):
        assert type(g) is np.ndarray
        assert g.dtype == dtype
        assert_array_equal(g, expected)
        assert not any(np.shares_memory(g, array) for array in arrays)
        g += 1.0  # writable
    assert_array_equal(x.data, [5.0, 6.0])
    assert_array_equal(seed, [1.0, 2.0])


def test_a_setting_is_not_handed_out_as_a_gradient() -> None:
    @primitive(lambda g, y, x, slope: slope)
    def straight(x: Any, /, slope: Any) -> Any:
        return x * slope

    slope = np.array([2.0, 3.0])
    x = variable([1.0, 1.0])
    straight(x, slope).sum().backward()
    assert x.grad is not None
    x.grad *= 0.0
    assert_array_equal(slope, [2.0, 3.0])


def test_two_variables_never_share_a_gradient() -> None:
    a, b = variable([1.0, 2.0]), variable([3.0, 4.0])
    (a + b).sum().backward()
    assert a.grad is not None and b.grad is not None
    a.grad += 5.0
    assert_array_equal(b.grad, [1.0, 1.0])


@pytest.mark.parametrize(
    "rule",
    [lambda g, y, x: 2.0, lambda g, y, x: np.float64(2.0), lambda g, y, x: np.array(2.0)],
    ids=["float", "np.float64", "0-d"],
)
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_number_is_the_gradient_of_a_number(rule: Callable[..., Any], create_graph: bool) -> None:
    x = variable(1.0, np.float32)
    g = tg.grad(with_rule(rule)(x), x, create_graph=create_graph)
    assert type(g) is (tg.Tensor if create_graph else np.ndarray)
    assert g.dtype == np.float32
    assert g.shape == ()
    assert g.item() == 2.0


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("shape", [(3,), (2, 2), (4, 2), (1,)])
def test_a_rule_of_another_shape_is_refused(shape: tuple[int, ...], create_graph: bool) -> None:
    operation = with_rule(lambda g, y, x: np.ones(shape) * g.sum())
    x = variable([[1.0, 2.0, 3.0]] * 2)
    with pytest.raises(ValueError) as failed:
        tg.grad(operation(x).sum(), x, create_graph=create_graph)
    assert str(shape) in str(failed.value)
    assert "(2, 3)" in str(failed.value)
    assert "in the rule of double for (2, 3) float64" in notes(failed)


def test_a_number_is_no_gradient_of_an_array() -> None:
    x = variable([1.0, 2.0])
    with pytest.raises(ValueError, match=r"\(\) cannot be summed to \(2,\)"):
        with_rule(lambda g, y, x: 2.0)(x).sum().backward()


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize("create_graph", [False, True])
def test_one_rule_with_the_errors_of_two_arrays_is_refused(kind: Any, create_graph: bool) -> None:
    """As an array (2, 3) they could be summed to (3,)."""
    x = variable([1.0, 2.0, 3.0])
    with pytest.raises(TypeError) as failed:
        y = with_rule(lambda g, y, x: kind((2 * g, g)))(x)
        tg.grad(y, x, gradient=np.ones(3), create_graph=create_graph)
    assert f"one error, at (3,) float64, received a {kind.__name__} of 2" in str(failed.value)
    assert "in the rule of double for (3,) float64" in notes(failed)


def test_a_complex_error_is_refused() -> None:
    x = variable([1.0, 2.0])
    with pytest.raises(TypeError, match="must be real, received complex128") as failed:
        with_rule(lambda g, y, x: g * 1j)(x).sum().backward()
    assert "in the rule of double" in notes(failed)


@pytest.mark.parametrize("data", [1.0, [1.0, 2.0]])
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_rule_without_a_return_is_refused(data: Any, create_graph: bool) -> None:
    def forgotten(g: Any, y: Any, x: Any) -> None:
        g * 2

    x = variable(data)
    with pytest.raises(TypeError) as failed:
        tg.grad(with_rule(forgotten)(x).sum(), x, create_graph=create_graph)
    assert "in the rule of double" in notes(failed)


def test_no_rule_no_gradient() -> None:
    @primitive(lambda g, y, a, b: g * b, None)
    def times(a: Any, b: Any) -> Any:
        return a * b

    a, b = variable(2.0), variable(3.0)
    times(a, b).backward()
    assert grad_of(a) == 3.0
    assert b.grad is None
    assert tg.grad(times(a, b), b) == 0.0


# --- declaring operations -------------------------------------------------------------------------


def test_a_primitive_on_arrays_is_the_function() -> None:
    result = hypotenuse(np.array([3.0]), np.array([4.0]))
    assert type(result) is np.ndarray
    assert result == 5.0
    assert type(hypotenuse(3.0, 4.0)) is np.float64
    assert hypotenuse.__name__ == "hypotenuse"  # type: ignore[attr-defined]
    assert "three lines" in (hypotenuse.__doc__ or "")


def test_a_custom_op_broadcasts_and_has_second_derivatives() -> None:
    # b holds numbers whose squares float32 has exactly
    a, b = variable([[0.3], [-1.7], [0.9]]), variable([1.0, 2.0, -0.5, 4.0], np.float32)
    y = hypotenuse(a, b)
    A, B = np.broadcast_arrays(a.data, b.data.astype(float))
    H = np.hypot(A, B)
    slope_a, slope_b = tg.grad(y.sum(), [a, b], create_graph=True)
    assert slope_b.dtype == np.float32
    assert_allclose(slope_a.data, (A / H).sum(1, keepdims=True), rtol=1e-14)
    assert_allclose(slope_b.data, (B / H).sum(0), rtol=1e-6)
    assert_allclose(tg.grad(slope_a.sum(), a), (B**2 / H**3).sum(1, keepdims=True), rtol=1e-13)
    assert_allclose(tg.grad(slope_a.sum(), b), -(A * B / H**3).sum(0), rtol=1e-6)


def test_a_primitive_of_any_number_of_arrays() -> None:
    @primitive(lambda i, g, y, *arrays, power: g * power * arrays[i] ** (power - 1))
    def sum_of_powers(*arrays: Any, power: int = 2) -> Any:
        return sum(x**power for x in arrays)

    a, b = variable([1.0, 2.0]), variable(3.0)
    assert_array_equal(sum_of_powers(np.ones(2), 2.0), [5.0, 5.0])
    slopes = tg.grad(sum_of_powers(a, np.ones(2), b, power=3).sum(), [a, b], create_graph=True)
    assert [s.tolist() for s in slopes] == [[3.0, 12.0], 54.0]
    assert_array_equal(tg.grad(slopes[0].sum(), a), [6.0, 12.0])
    assert_array_equal(tg.grad(sum_of_powers(b), b), 6.0)
    with pytest.raises(TypeError, match="no 'base'"):
        sum_of_powers(a, base=3)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_wrong_number_of_rules_is_refused_at_once(n: int) -> None:
    rules: list[Callable[..., Any]] = [lambda g, y, a, b: g] * n
    with pytest.raises(TypeError, match=rf"rules given: {n}, arrays: 2"):

        @primitive(*rules)
        def product(a: Any, b: Any) -> Any:
            return a * b


@pytest.mark.parametrize(
    "rule",
    [
        lambda g, y: g,
        lambda g, y, x: g,
        lambda g, y, x, z, factor: g,
        lambda g, y, x, other: g,
    ],
)
def test_a_rule_with_other_parameters_is_refused_at_once(rule: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"called as rule\(g, y, x, factor=\)"):

        @primitive(rule)
        def times(x: Any, /, factor: float = 2.0) -> Any:
            return x * factor


def test_where_there_is_no_slash_the_arrays_are_what_has_no_default() -> None:
    @primitive(lambda g, y, x, factor: g * factor)
    def times(x: Any, factor: Any = 2.0) -> Any:
        return x * factor

    assert times.op.arrays == ("x",)
    assert times(variable(3.0), 5.0).item() == 15.0
    assert times(x=variable(3.0)).item() == 6.0


@pytest.mark.parametrize(
    "call, value, slope",
    [
        (lambda x: scaled(x), 20.0, 2.0),
        (lambda x: scaled(x, 3.0), 30.0, 3.0),
        (lambda x: scaled(x, factor=3.0), 30.0, 3.0),
        (lambda x: scaled(x, 3.0, shift=1.0), 31.0, 3.0),
        (lambda x: scaled(x, shift=1.0), 21.0, 2.0),
    ],
)
def test_settings_by_place_and_by_name(
    call: Callable[[Any], Any], value: float, slope: float
) -> None:
    x = variable(10.0)
    assert call(10.0) == call(np.array(10.0)) == call(x).item() == value
    assert tg.grad(call(x), x) == slope


@pytest.mark.parametrize(
    "call",
    [
        lambda x: scaled(x, 3.0, factor=3.0),  # twice
        lambda x: scaled(x, 3.0, 1.0),  # by place what goes by name only
        lambda x: scaled(x, faktor=3.0),
        lambda x: scaled(),
        lambda x: scaled(factor=3.0),
        lambda x: tg.add(x),
        lambda x: tg.add(x, x, x),
        lambda x: tg.add(x, x, axis=0),
    ],
)
@pytest.mark.parametrize("x", [variable(1.0), np.array(1.0)], ids=["tensor", "array"])
def test_arguments_that_do_not_fit_are_refused(call: Callable[[Any], Any], x: Any) -> None:
    with pytest.raises(TypeError, match=r"takes \((x, factor, shift|a, b)\)"):
        call(x)


@pytest.mark.parametrize("setting", [tg.Tensor(3.0), variable(3.0)])
def test_a_tensor_as_a_setting_is_refused(setting: tg.Tensor) -> None:
    for x in (variable(1.0), np.array(1.0)):
        with pytest.raises(TypeError, match="'factor' is a setting and has no derivative"):
            scaled(x, setting)
        with pytest.raises(TypeError, match="'factor' is a setting and has no derivative"):
            scaled(x, factor=setting)


# --- no_grad --------------------------------------------------------------------------------------


def test_no_grad_records_nothing() -> None:
    x = variable([1.0, 2.0])
    with tg.no_grad():
        y = (x * 2.0).sum()
    assert not y.requires_grad
    assert records(x)


def test_no_grad_nested_in_itself() -> None:
    x, quiet = variable(1.0), tg.no_grad()
    with quiet:
        with quiet, tg.no_grad():
            assert not records(x)
        assert not records(x)
    assert records(x)


def test_no_grad_ends_with_an_exception() -> None:
    x = variable(1.0)
    with pytest.raises(Broken), tg.no_grad():
        raise Broken
    assert records(x)


def test_no_grad_as_decorator() -> None:
    x = variable(1.0)

    @tg.no_grad()
    def predict(a: float, *, b: float) -> tuple[bool, float]:
        """Guess."""
        return records(x), a + b

    assert predict(1.0, b=2.0) == (False, 3.0)
    assert predict.__name__ == "predict"
    assert predict.__doc__ == "Guess."
    assert records(x)

    @tg.no_grad()
    def fail() -> None:
        raise Broken

    for _ in range(2):
        with pytest.raises(Broken):
            fail()
        assert records(x)


def test_no_grad_on_a_function_that_calls_itself() -> None:
    x = variable(1.0)

    @tg.no_grad()
    def count_down(n: int) -> list[bool]:
        return [records(x), *(count_down(n - 1) if n else [])]

    assert count_down(3) == [False] * 4
    assert records(x)


def test_no_grad_on_a_coroutine() -> None:
    x = variable(1.0)

    @tg.no_grad()
    async def predict() -> tuple[bool, bool]:
        before = records(x)
        await asyncio.sleep(0)
        return before, records(x)

    @tg.no_grad()
    async def fail() -> None:
        raise Broken

    async def main() -> None:
        assert await predict() == (False, False)
        assert records(x)
        with pytest.raises(Broken):
            await fail()
        assert records(x)
        waiting = predict()
        assert records(x)  # made, not run
        assert await waiting == (False, False)

    asyncio.run(main())


def test_no_grad_refuses_generators() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def later() -> Any:
        yield 1

    for generator in (numbers, later):
        with pytest.raises(TypeError, match="cannot decorate the generator"):
            tg.no_grad()(generator)


def test_no_grad_is_of_its_thread() -> None:
    x, inside = variable(1.0), []
    with tg.no_grad():
        thread = threading.Thread(target=lambda: inside.append(records(x)))
        thread.start()
        thread.join()
        assert not records(x)
    assert inside == [True]


def test_no_grad_in_a_thread_does_not_reach_others() -> None:
    x, entered, done = variable(1.0), threading.Event(), threading.Event()

    def quiet() -> None:
        with tg.no_grad():
            entered.set()
            done.wait(timeout=60)

    thread = threading.Thread(target=quiet)
    thread.start()
    assert entered.wait(timeout=60)
    assert records(x)
    done.set()
    thread.join()


def test_one_no_grad_object_in_two_threads() -> None:
    # Entered 1, entered 2, left 1, left 2: not the order of a stack.
    x, quiet, failures = variable(1.0), tg.no_grad(), []
    entered, left = threading.Event(), threading.Event()

    def second() -> None:
        try:
            with quiet:
                entered.set()
                left.wait(timeout=60)
        except Exception as failure:
            failures.append(failure)

    thread = threading.Thread(target=second)
    with quiet:
        thread.start()
        assert entered.wait(timeout=60)
        assert not records(x)
    left.set()
    thread.join()
    assert not failures
    assert records(x)


def test_no_grad_is_of_its_task() -> None:
    x = variable(1.0)
    seen: list[tuple[str, bool]] = []

    async def quiet(turn: asyncio.Event, other: asyncio.Event) -> None:
        with tg.no_grad():
            other.set()
            await turn.wait()
            seen.append(("quiet", records(x)))
        seen.append(("after", records(x)))

    async def loud(turn: asyncio.Event, other: asyncio.Event) -> None:
        await turn.wait()
        seen.append(("loud", records(x)))
        other.set()

    async def main() -> None:
        a, b = asyncio.Event(), asyncio.Event()
        await asyncio.gather(quiet(a, b), loud(b, a))

    asyncio.run(main())
    assert seen == [("loud", True), ("quiet", False), ("after", True)]


# --- limits ---------------------------------------------------------------------------------------

# Everything runs in a thread with a stack of 256 KiB and with a recursion limit of 100, so that a
# walk over the graph, or the freeing of it, that recursed would not get through.
DEEP = """
import gc, sys, threading, weakref
import tinygrad_edu as tg

def chain(n):
    x = tg.Tensor(1.0, requires_grad=True)
    y = first = x + 1.0
    for _ in range(n - 1):
        y = y + 1.0
    return x, y, weakref.ref(first)

def main():
    n = {n}
    x, y, first = chain(n)
    y.backward()
    assert x.grad == 1.0 and y.item() == n + 1.0
    assert repr(y) == f"Tensor({{n + 1}}., graph released)", repr(y)
    assert first() is None  # freed on the way
    del y
    x, y, first = chain(n)
    assert repr(y) == f"Tensor({{n + 1}}., from add)", repr(y)
    assert first() is not None
    del y
    assert first() is None  # freed without backward
    print("freed")

gc.disable()
sys.setrecursionlimit(100)
threading.stack_size(256 * 1024)
thread = threading.Thread(target=main)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("n", [100_000, 1_000_000])
def test_deep_chains_need_no_recursion(n: int) -> None:
    assert run_python(DEEP.format(n=n)) == "freed\n"


def test_the_gradient_of_a_deep_chain_is_a_deep_chain() -> None:
    code = """
import gc, sys, threading
import tinygrad_edu as tg

def main():
    x = tg.Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y * x
    slope = tg.grad(y, x, create_graph=True)
    assert slope.item() == 20_001.0, slope
    curve = tg.grad(slope, x)
    assert curve == 20_001.0 * 20_000.0, curve
    del y, slope
    print("freed")

gc.disable()
sys.setrecursionlimit(100)
threading.stack_size(256 * 1024)
thread = threading.Thread(target=main)
thread.start()
thread.join()
"""
    assert run_python(code) == "freed\n"


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_chain_of_diamonds_is_linear(create_graph: bool) -> None:
    x = variable(1.0)
    y = x
    for _ in range(60):  # 2⁶⁰ ways lead back
        y = y + y
    assert len(engine.recorded_results(y)) == 60
    assert tg.grad(y, x, create_graph=create_graph).item() == 2.0**60
    y.backward()
    assert x.grad == 2.0**60


def train(seed: int, steps: int) -> list[Array]:
    """The weights of a small network after some steps of training."""
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(8, 4)), rng.integers(3, size=8)
    model = nn.Sequential(nn.Linear(4, 5, rng=rng), nn.Tanh(), nn.Linear(5, 3, rng=rng))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        tg.cross_entropy(model(X), Y).backward()
        optimizer.step()
    return [parameter.data for parameter in model.parameters()]


def test_training_leaves_nothing_behind() -> None:
    x, y = np.ones((2, 3)), np.zeros((2, 1))
    model = nn.Linear(3, 1, rng=0)
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def steps(n: int) -> None:
        for _ in range(n):
            optimizer.zero_grad()
            tg.mse_loss(model(x), y).backward()
            optimizer.step()

    steps(10)  # what is made once is made
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        steps(1_000)  # after which the log of the latest calls is full
        before = tracemalloc.get_traced_memory()[0]
        steps(20_000)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        unreachable = gc.collect()
        gc.enable()
    assert unreachable == 0
    assert grown < 2_000  # a tenth of a byte for each step


@primitive(lambda g, y, x: g)
def refuse_by_name(x: Any, /) -> Any:
    raise OutOfDomain("x must be above 0")


@primitive(lambda g, y, x: g.reshape(7, 7))
def badly_ruled(x: Any, /) -> Any:
    return x + 1.0


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(lambda t: (t * 2.0) + np.ones(7), id="shapes"),
        pytest.param(lambda t: (t * 2.0) @ np.ones((7, 2)), id="matmul"),
        pytest.param(lambda t: (t * 2.0).reshape(7), id="reshape"),
        pytest.param(lambda t: (t * 2.0).sum(axis=5), id="axis"),
        pytest.param(lambda t: (t * 2.0) + "text", id="text"),
        pytest.param(lambda t: refuse_by_name(t * 2.0), id="an error of its own"),
        pytest.param(lambda t: badly_ruled(t * 2.0).sum().backward(), id="a rule"),
    ],
)
def test_a_refused_operation_keeps_nothing_alive(refused: Callable[[Any], Any]) -> None:
    gc.collect()
    gc.disable()
    try:
        t = variable(np.ones((3, 4)))
        kept = weakref.ref(t.value)
        with contextlib.suppress(Exception):
            refused(t)
            pytest.fail("not refused")
        del t
        assert kept() is None
    finally:
        gc.enable()


def additions(backward: Callable[..., Any], x: tg.Tensor) -> float:
    """Return `x.grad` after eight threads have added 1 to it 200 times each."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: [backward(x * 1.0) for _ in range(200)], range(8)))
    finally:
        sys.setswitchinterval(before)
    assert x.grad is not None
    return float(x.grad.sum()) / x.size


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (100, 100)])
def test_threads_that_add_to_one_gradient_lose_no_addition(shape: tuple[int, ...]) -> None:
    assert additions(lambda y: y.sum().backward(), variable(np.ones(shape))) == 1_600


def test_a_forked_process_adds_although_a_thread_was_adding() -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork")
    program = """
import os, threading, warnings
import tinygrad_edu as tg
from tinygrad_edu import gradients

entered, done = threading.Event(), threading.Event()

def hold():
    with gradients._adding:
        entered.set()
        done.wait()

threading.Thread(target=hold).start()
entered.wait()
warnings.simplefilter("ignore")  # from Python 3.12 on os.fork warns where there are threads
if not (child := os.fork()):
    x = tg.Tensor(1.0, requires_grad=True)
    (x * 3.0).backward()
    os._exit(int(x.grad))
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
done.set()
print(status)
"""
    assert run_python(program) == "3\n"


def test_eight_threads_train_as_one_alone() -> None:
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda seed: train(seed, 200), range(8)))
    for seed, weights in enumerate(together):
        for mine, alone in zip(weights, train(seed, 200), strict=True):
            assert_array_equal(mine, alone)


def test_the_order_of_hashes_changes_no_bit() -> None:
    code = """
import numpy as np, tinygrad_edu as tg
from tinygrad_edu import nn, optim

class Net(nn.Module):
    def __init__(self):
        rng = np.random.default_rng(0)
        names = ("body", "head", "gate")
        self.parts = {name: nn.Linear(4, 4, rng=rng) for name in names}
        self.scale = nn.Parameter(np.ones(4))
    def forward(self, x):
        h = tg.tanh(self.parts["body"](x)) * self.scale
        return (self.parts["head"](h) * tg.sigmoid(self.parts["gate"](h)) + h * self.scale).sum()

net = Net()
optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
x = np.random.default_rng(1).normal(size=(7, 4))
for _ in range(50):
    optimizer.zero_grad()
    net(x).backward()
    optimizer.step()
print({name: array.tobytes().hex() for name, array in net.state_dict().items()})
"""
    first, second, third = (run_python(code, PYTHONHASHSEED=seed) for seed in ("0", "1", "12345"))
    assert first == second == third
    assert "parts.gate.bias" in first


@pytest.mark.parametrize("many", [lambda x: (x, x), lambda x: [x]])
def test_an_operation_with_several_results_is_refused(many: Any) -> None:
    declared = engine.primitive(lambda g, y, x: g)(many)
    with pytest.raises(TypeError, match=r"gave a (tuple of 2|list of 1), expected one array"):
        declared(tg.Tensor([1.0], requires_grad=True))


def test_a_forward_may_give_numbers_in_a_list() -> None:
    both = tg.primitive(lambda E, Z, x: np.full(x.shape, E[0] + E[1] / x.size))(
        lambda x: [x.sum(), x.mean()]
    )
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = both(x)
    assert y.tolist() == [3.0, 1.5]
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [1.5, 1.5]


def test_a_missing_name_can_always_be_printed() -> None:
    assert str(NameMissing()) == ""
    assert str(NameMissing("no", 3)) == "no 3"
