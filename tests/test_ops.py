"""Every operation: value, gradients of first and second order, kinks, and what is refused.

The table, and what is checked of each of its lines, is in `tools/operations.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal

import tinygrad_edu as tg
from tests.tools.domains import Shapes, rows, wide
from tests.tools.operations import (
    BETWEEN_TWO,
    CASES,
    ENTRYWISE,
    TABLE,
    Row,
    assert_close,
    assert_same,
    check,
    permuted,
    rearranged,
    reductions,
    reference,
    row_times_column,
    tensors,
    written_out,
)
from tests.tools.strategies import (
    axes,
    broadcastable,
    indices,
    matrix_products,
    shapes,
    sums_of_products,
)
from tinygrad_edu import Tensor, ops

FLOATS = [np.float32, np.float64]


def variable(data: Any, dtype: Any = np.float64) -> Tensor:
    return Tensor(data, requires_grad=True, dtype=dtype)


def slope(f: Callable[..., Any], *numbers: Any) -> Any:
    """∂Σf/∂x for each of the given x, as lists."""
    inputs = [variable(x) for x in numbers]
    y = f(*inputs)
    found = [g.tolist() for g in tg.grad(y, inputs, gradient=np.ones(y.shape))]
    return found[0] if len(found) == 1 else found


# --- the table ------------------------------------------------------------------------------------


def test_every_operation_is_in_the_table() -> None:
    public = {*tg.ops.__all__, *tg.losses.__all__, *tg.windows.__all__}
    public |= {f"linalg.{name}" for name in tg.linalg.__all__}
    inside = {"as_recorded", "add_rows", "overlap", "windows"}
    assert public == {row.name for row in TABLE} - inside


def test_no_two_rows_have_one_name() -> None:
    assert len({str(row) for row in TABLE}) == len(TABLE)


@pytest.mark.parametrize(("row", "shapes"), CASES, ids=[f"{row} {s}" for row, s in CASES])
def test_operation(row: Row, shapes: Shapes) -> None:
    check(row, shapes)


@given(st.sampled_from(ENTRYWISE), shapes())
def test_functions_of_one_array_in_any_shape(row: Row, shape: tuple[int, ...]) -> None:
    check(row, (shape,))


@given(st.sampled_from(BETWEEN_TWO), broadcastable(2))
def test_functions_of_two_arrays_however_broadcast(row: Row, shapes: Shapes) -> None:
    check(row, shapes)


@given(st.data())
def test_reductions_over_any_axes(data: st.DataObject) -> None:
    shape = data.draw(shapes(min_side=1))
    axis, keepdims = data.draw(axes(len(shape))), data.draw(st.booleans())
    check(data.draw(st.sampled_from(reductions(axis, keepdims, shape))), (shape,))


@given(matrix_products())
def test_matrix_products_of_any_shapes(shapes: Shapes) -> None:
    check(Row("matmul", tg.matmul, row_times_column, (wide, wide), (shapes,)), shapes)


@given(sums_of_products())
def test_any_sum_of_products(drawn: tuple[str, Shapes]) -> None:
    subscripts, shapes = drawn
    call: Callable[..., Any] = lambda *xs: tg.einsum(subscripts, *xs)  # noqa: E731
    row = Row("einsum", call, written_out(subscripts), (wide,) * len(shapes), (shapes,), subscripts)
    check(row, shapes)


@given(st.data())
def test_any_index(data: st.DataObject) -> None:
    shape = data.draw(shapes())
    index = data.draw(indices(shape))
    take: Callable[[Any], Any] = lambda x: x[index]  # noqa: E731
    check(rearranged("getitem", repr(index), take, take, shape), (shape,))


@given(st.data())
def test_any_order_of_axes(data: st.DataObject) -> None:
    shape = data.draw(shapes())
    order = data.draw(st.permutations(range(len(shape))))
    from_the_end = [i - len(shape) if data.draw(st.booleans()) else i for i in order]
    move: Callable[[Any], Any] = lambda x: tg.transpose(x, from_the_end)  # noqa: E731
    check(rearranged("transpose", repr(order), move, permuted(order), shape), (shape,))


# Equal entries are ties, and have no deviation; equal rows are a singular matrix.
TIED = ("max", "min", "maximum", "minimum", "std", "linalg.inv", "linalg.norm", "linalg.solve")
UNTIED = [row for row in TABLE if row.name not in TIED]


@pytest.mark.parametrize("row", [row for row in UNTIED if row.wanted], ids=str)
def test_inputs_that_repeat_their_memory(row: Row) -> None:
    """Arrays from np.broadcast_to: many entries in one place, nothing that may be written to."""
    for case in row.shapes:
        ref = reference(row, case)
        repeated = [
            np.broadcast_to(x[:1], x.shape) if x.ndim > (domain is rows) else x
            for x, domain in zip(ref.arrays, row.domains, strict=True)
        ]
        copies, views = (tensors(row, [x.copy() for x in repeated]) for _ in range(2))
        for i in row.wanted:
            views[i].value = repeated[i]
        for got, want in zip(
            _gradients(row, views, ref.w), _gradients(row, copies, ref.w), strict=True
        ):
            assert_close(got, want, f"{row} {case}")


def _gradients(row: Row, inputs: list[Any], w: Any) -> Any:
    return tg.grad(row.call(*inputs), [inputs[i] for i in row.wanted], gradient=w)


@pytest.mark.parametrize("row", [*BETWEEN_TWO, *(r for r in TABLE if r.name == "matmul")], ids=str)
def test_one_tensor_as_both_inputs(row: Row) -> None:
    """Its gradient is the sum of the two."""
    x = np.array([[0.5, 1.25], [2.0, 0.75]])
    both = tg.grad(row.call(t := variable(x), t), t, gradient=x)
    two = [variable(x), variable(x)]
    assert_same(both, np.add(*tg.grad(row.call(*two), two, gradient=x)), str(row))


# --- axes -----------------------------------------------------------------------------------------

NUMPYS: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
    "var": np.var,
    "std": np.std,
}


@pytest.mark.parametrize("name", NUMPYS)
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1), (-1, 0), (1,), ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_read_axes_as_numpy_does(name: str, axis: Any, keepdims: bool) -> None:
    x = np.random.default_rng(3).normal(size=(3, 2, 2))
    want = NUMPYS[name](x, axis=axis, keepdims=keepdims)
    f = getattr(tg, name)
    gradients = []
    calls: list[Callable[[Any], Any]] = [
        lambda t: f(t, axis, keepdims=keepdims),
        lambda t: f(t, axis=axis, keepdims=keepdims),
        lambda t: getattr(t, name)(axis, keepdims=keepdims),
        lambda t: getattr(t, name)(keepdims=keepdims, axis=axis),
    ]
    for call in calls:
        y = call(t := variable(x))
        assert_same(y.value, want, name)
        if not (name == "std" and axis == ()):  # the deviation of one number has no slope
            gradients.append(tg.grad(y, t, gradient=np.cos(want)).tolist())
    assert all(gradient == gradients[0] for gradient in gradients)
    assert_same(f(x, axis, keepdims=keepdims), want, name)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_softmax_and_its_kin_take_the_axis_either_way(name: str) -> None:
    x = np.random.default_rng(4).normal(size=(3, 2))
    f = getattr(tg, name)
    for axis in (0, 1, -1):
        assert_same(f(variable(x), axis).value, f(x, axis=axis), name)
    if name != "logsumexp":  # the last axis, the classes, unless told otherwise
        assert_same(f(x), f(x, -1), name)


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("name", ["sum", "max", "min", "logsumexp", "softmax", "log_softmax"])
def test_what_is_computed_of_a_number_can_be_differentiated(name: str, axis: int) -> None:
    """NumPy lets some reductions of a 0-d array name an axis: then the gradient works too."""
    x = variable(3.0)
    try:
        y = getattr(tg, name)(x, axis=axis)
    except np.exceptions.AxisError:
        return  # refused at once: as good
    want = 0.0 if "softmax" in name else 1.0
    gradient = tg.grad(y, x, create_graph=True)
    assert gradient.item() == want
    if gradient.requires_grad:
        assert tg.grad(gradient, x).item() == 0.0


# --- dtypes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x + 2,
        lambda x: 2.5 + x,
        lambda x: x - 1,
        lambda x: 1 - x,
        lambda x: 3 * x,
        lambda x: x * True,
        lambda x: x / 2,
        lambda x: 2.0 / x,
        lambda x: x**2,
        lambda x: x**0.5,
        lambda x: 2**x,
        lambda x: x**-1,
        lambda x: tg.power(x, 3.0),
        lambda x: tg.maximum(x, 1),
        lambda x: tg.minimum(0.5, x),
        lambda x: tg.clip(x, 0, 1.5),
        lambda x: x.clip(0.5),
        lambda x: tg.where(x > 1, x, 0.0),
        lambda x: tg.where(x > 1, 1, x),
        lambda x: tg.add(x, 1),
        lambda x: tg.dot(x, 2.0),
        lambda x: tg.matmul(x, x),
        lambda x: tg.mean(x) - 0.5,
        lambda x: tg.var(x, ddof=1),
        lambda x: tg.stack([x, x * 2]),
        lambda x: tg.std(x) / 3,
        lambda x: tg.sigmoid(x) * (1 - tg.softplus(x)),
        lambda x: tg.softmax(x * 2) + 1,
    ],
)
def test_float32_stays_float32_beside_python_numbers(f: Callable[[Any], Any]) -> None:
    x = variable([0.75, 1.25], np.float32)
    y = f(x)
    seed = np.ones(y.shape)
    assert y.dtype == np.float32
    assert tg.grad(y, x, gradient=seed).dtype == np.float32
    assert tg.grad(y, x, gradient=seed, create_graph=True).dtype == np.float32
    y.backward(seed)
    assert x.grad is not None
    assert x.grad.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_whole_numbers_may_stand_beside_tensors(dtype: Any) -> None:
    counts = np.array([1, 0, 1], dtype)
    assert slope(lambda x: x * counts, [2.0, 3.0, 4.0]) == [1, 0, 1]
    assert slope(lambda x: x**counts, [2.0, 3.0, 4.0]) == [1, 0, 1]
    assert slope(lambda x: counts - x, [2.0, 3.0, 4.0]) == [-1, -1, -1]
    assert slope(lambda x: x @ counts, [2.0, 3.0, 4.0]) == [1, 0, 1]


def test_a_change_to_another_kind_of_number_never_passes_a_wrong_gradient() -> None:
    """Whole numbers and truth values have no slope, so x.astype(int) is refused or a constant."""
    for kind in (np.int64, bool):
        x = variable([0.0, 1.5])
        try:
            y = x.astype(kind) * 1.0
        except TypeError as refusal:
            assert "float" in str(refusal)
            continue
        gradient = tg.grad(y, x, gradient=np.ones(2)) if y.requires_grad else np.zeros(2)
        assert gradient.tolist() == [0.0, 0.0]
    with pytest.raises(TypeError, match="complex128"):
        variable([1.5]).astype(np.complex128)


# --- kinks and ties: the subgradients that the documentation names --------------------------------


def test_abs_has_slope_0_at_0() -> None:
    assert slope(tg.abs, [-2.0, -0.0, 0.0, 3.0]) == [-1, 0, 0, 1]


def test_relu_has_slope_0_at_0() -> None:
    assert slope(tg.relu, [-2.0, -0.0, 0.0, 1e-300, 3.0]) == [0, 0, 0, 1, 1]


def test_clip_has_slope_1_on_its_bounds() -> None:
    assert slope(lambda x: tg.clip(x, 0, 1), [-0.5, 0.0, 0.5, 1.0, 1.5]) == [0, 1, 1, 1, 0]
    assert slope(lambda x: tg.clip(x, 0), [-0.5, 0.0, 9.0]) == [0, 1, 1]
    assert slope(lambda x: tg.clip(x, None, 0), [-0.5, 0.0, 9.0]) == [1, 1, 0]
    assert slope(lambda x: tg.clip(x, 1.0, 1.0), [0.5, 1.0, 1.5]) == [0, 1, 0]


@pytest.mark.parametrize("f", [tg.max, tg.min])
def test_ties_share_the_gradient(f: Callable[..., Any]) -> None:
    sign = 1 if f is tg.max else -1
    x = sign * np.array([[1.0, 5.0, 5.0], [4.0, 4.0, 4.0]])
    assert slope(f, x) == [[0, 0.5, 0.5], [0, 0, 0]]
    assert slope(lambda t: f(t, axis=1), x) == [[0, 0.5, 0.5], [1 / 3] * 3]
    assert slope(lambda t: f(t, axis=0), [[2.0, 2.0], [2.0, 1.0 + sign * 2]]) == [
        [0.5, 0],
        [0.5, 1],
    ]
    assert slope(f, np.zeros((2, 2))) == [[0.25, 0.25], [0.25, 0.25]]


def test_maximum_and_minimum_of_equal_numbers_share_the_gradient() -> None:
    a, b = [1.0, 2.0, -0.0], [1.0, 3.0, 0.0]
    assert slope(tg.maximum, a, b) == [[0.5, 0, 0.5], [0.5, 1, 0.5]]
    assert slope(tg.minimum, a, b) == [[0.5, 1, 0.5], [0.5, 0, 0.5]]
    assert slope(lambda x: tg.maximum(x, 0), [-1.0, 0.0, 1.0]) == [0, 0.5, 1]
    assert slope(lambda x: tg.maximum(x, x), [1.0]) == [1]


def test_sqrt_at_0_has_an_infinite_slope_and_says_so() -> None:
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert slope(tg.sqrt, [0.0, 4.0]) == [math.inf, 0.25]


def test_std_of_equal_entries_has_no_finite_slope() -> None:
    with np.errstate(all="ignore"):
        assert not np.isfinite(slope(tg.std, [1.0, 1.0])).any()


def test_powers_of_0() -> None:
    assert tg.power(variable(0.0), 0).item() == 1.0
    for exponent, at_0, at_2 in ((0, 0, 0), (1, 1, 1), (2, 0, 4), (3, 0, 12), (0.0, 0, 0)):
        assert slope(lambda x, b=exponent: x**b, [0.0, 2.0]) == [at_0, at_2]
        both = np.full(2, float(exponent))
        assert slope(lambda x, b=both: x**b, [0.0, 2.0]) == [at_0, at_2]  # exponents in an array
    base, exponents = slope(tg.power, np.zeros(4), [0.0, 1.0, 2.0, 2.5])
    assert base == [0, 1, 0, 0]
    assert exponents == [0, 0, 0, 0]
    assert slope(lambda b: 0.0**b, [1.0, 2.0]) == [0, 0]


def test_a_root_at_0_has_an_infinite_slope_and_says_so() -> None:
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert slope(lambda x: x**0.5, [0.0]) == [math.inf]


def test_second_derivatives_of_a_power_agree_in_either_order() -> None:
    """∂²aᵇ/∂a∂b = aᵇ⁻¹(1 + b log a), which is 1/a at b = 0 where ∂aᵇ/∂a is 0."""
    a, b = variable([0.5, 2.0, 3.0]), variable([0.0, 0.0, 1.5])
    want = a.value ** (b.value - 1) * (1 + b.value * np.log(a.value))
    ones = np.ones(3)
    for first, then in ((a, b), (b, a)):
        once = tg.grad(a**b, first, gradient=ones, create_graph=True)
        assert_close(tg.grad(once, then, gradient=ones), want, "∂²aᵇ/∂a∂b")


def test_entries_taken_several_times_get_the_sum() -> None:
    w = np.array([1.0, 10.0, 100.0])
    for index in (np.array([2, 2, 0]), [2, 2, 0], np.array([2, -1, 0], np.int8)):
        x = variable([5.0, 6.0, 7.0])
        assert tg.grad(x[index], x, gradient=w).tolist() == [100, 0, 11]
    x = variable(np.zeros((2, 2)))
    pairs = x[np.array([0, 0, 1]), np.array([1, 1, 0])]
    assert tg.grad(pairs, x, gradient=w).tolist() == [[0, 11], [100, 0]]


# --- large numbers --------------------------------------------------------------------------------

EXTREMES = np.array([-1e4, -1e3, -100.0, -20.0, -1.0, 0.0, 1.0, 20.0, 100.0, 1e3, 1e4])


def small(x: float) -> float:
    """e⁻|ˣ|, which cannot overflow."""
    return math.exp(-abs(x))


STABLE: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "sigmoid": (
        lambda x: (1 if x >= 0 else small(x)) / (1 + small(x)),
        lambda x: small(x) / (1 + small(x)) ** 2,
    ),
    "softplus": (
        lambda x: max(x, 0) + math.log1p(small(x)),
        lambda x: (1 if x >= 0 else small(x)) / (1 + small(x)),
    ),
    "tanh": (math.tanh, lambda x: 4 * small(2 * x) / (1 + small(2 * x)) ** 2),
    "relu": (lambda x: max(x, 0), lambda x: float(x > 0)),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", STABLE)
def test_activations_of_large_numbers(name: str, dtype: Any) -> None:
    """Warnings are errors in the tests, so this also says that NumPy has nothing to warn of."""
    value, derivative = STABLE[name]
    x = variable(EXTREMES, dtype)
    y = getattr(tg, name)(x)
    eps = 8 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(y.value, [value(v) for v in EXTREMES], rtol=eps, atol=1e-37)
    seed = np.ones(y.shape)
    recorded = tg.grad(y, x, gradient=seed, create_graph=True)
    want = [derivative(v) for v in EXTREMES]
    np.testing.assert_allclose(recorded.value, want, rtol=0, atol=eps)
    if recorded.requires_grad:  # relu has a constant slope
        assert np.isfinite(tg.grad(recorded, x, gradient=seed)).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("top", [1e4, -1e4, 0.0])
def test_softmax_and_its_kin_of_large_numbers(top: float, dtype: Any) -> None:
    away = np.array([[0.0, -1.0, -2.0], [-1e4, 0.0, -2e4], [0.0, 0.0, 0.0]])
    e = np.exp(away)
    share = e / e.sum(axis=1, keepdims=True)
    x = variable(away + top, dtype)
    eps = 8 * float(np.finfo(dtype).eps)
    w = np.array([[1.0, 2.0, -1.0], [0.5, 1.0, 2.0], [1.0, 0.0, 3.0]])
    total = (w * share).sum(axis=1, keepdims=True)
    cases = [
        (tg.softmax(x), share, share * (w - total), w),
        (
            tg.log_softmax(x),
            away - np.log(e.sum(axis=1, keepdims=True)),
            w - share * w.sum(axis=1, keepdims=True),
            w,
        ),
        (tg.logsumexp(x, axis=1), top + np.log(e.sum(axis=1)), w[:, :1] * share, w[:, 0]),
    ]
    for y, value, gradient, seed in cases:
        np.testing.assert_allclose(y.value, value, rtol=eps, atol=eps)
        recorded = tg.grad(y, x, gradient=seed, create_graph=True)
        np.testing.assert_allclose(recorded.value, gradient, rtol=eps, atol=eps)
        assert np.isfinite(tg.grad(recorded, x, gradient=w)).all()


def test_small_numbers_are_exact() -> None:
    """log1p and expm1 are there for what log(1 + x) and eˣ − 1 lose."""
    x = variable([1e-20, -1e-20])
    assert tg.log1p(x).tolist() == tg.expm1(x).tolist() == x.tolist()
    assert slope(tg.log1p, [1e-20]) == slope(tg.expm1, [1e-20]) == [1.0]


def test_minus_infinity_among_logits() -> None:
    """A masked class has probability 0 and gradient 0; it must not turn the others into nan."""
    x = [0.0, -math.inf, 0.0]
    assert tg.softmax(x).tolist() == [0.5, 0, 0.5]
    assert slope(tg.logsumexp, x) == [0.5, 0, 0.5]
    assert slope(lambda t: tg.softmax(t)[0], x) == [0.25, 0, -0.25]
    assert slope(lambda t: tg.log_softmax(t)[0], x) == [0.5, 0, -0.5]


# --- higher derivatives ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "derivatives"),
    [
        (tg.exp, lambda x: [math.exp(x)] * 5),
        (tg.sin, lambda x: [math.cos(x), -math.sin(x), -math.cos(x), math.sin(x), math.cos(x)]),
        (tg.cos, lambda x: [-math.sin(x), -math.cos(x), math.sin(x), math.cos(x), -math.sin(x)]),
        (tg.log, lambda x: [1 / x, -1 / x**2, 2 / x**3, -6 / x**4, 24 / x**5]),
        (lambda t: 1 / t, lambda x: [-1 / x**2, 2 / x**3, -6 / x**4, 24 / x**5, -120 / x**6]),
        (lambda t: t**4, lambda x: [4 * x**3, 12 * x**2, 24 * x, 24, 0]),
        (lambda t: t * t * t * t, lambda x: [4 * x**3, 12 * x**2, 24 * x, 24, 0]),
        (tg.square, lambda x: [2 * x, 2, 0, 0, 0]),
        (
            tg.sqrt,
            lambda x: [
                0.5 * x**-0.5,
                -0.25 * x**-1.5,
                0.375 * x**-2.5,
                -0.9375 * x**-3.5,
                3.28125 * x**-4.5,
            ],
        ),
        (lambda t: 2.0**t, lambda x: [math.log(2) ** n * 2**x for n in range(1, 6)]),
        (tg.sigmoid, lambda x: _sigmoid_derivatives(x)),
    ],
)
def test_derivatives_up_to_the_fifth(
    f: Callable[[Any], Any], derivatives: Callable[[float], list[float]]
) -> None:
    t = variable(0.7)
    y = f(t)
    for n, want in enumerate(derivatives(0.7), start=1):
        y = tg.grad(y, t, create_graph=True)
        assert_close(y.value, want, f"derivative {n}")
        if not y.requires_grad:  # constant from here on
            assert not any(derivatives(0.7)[n:])
            break


def _sigmoid_derivatives(x: float) -> list[float]:
    """Polynomials in a = σ(x), from a′ = a(1 − a)."""
    a = 1 / (1 + math.exp(-x))
    polynomial, found = np.polynomial.Polynomial([0.0, 1.0]), []
    for _ in range(5):
        polynomial = polynomial.deriv() * np.polynomial.Polynomial([0.0, 1.0, -1.0])
        found.append(float(polynomial(a)))
    return found


# --- what is refused ------------------------------------------------------------------------------


def ones(*shape: int) -> Tensor:
    return variable(np.ones(shape))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: ones(2, 3) + np.ones(2), ValueError, r"add: .*\n  received \(2, 3\) .*, \(2,\)"),
        (lambda: ones(2, 3) @ ones(2, 3), ValueError, r"matmul: .*inner sizes 3 and 2 differ"),
        (lambda: ones(3) @ 2.0, ValueError, r"matmul: \(3,\)·\(\): a number is no matrix"),
        (lambda: ones(2, 2, 3) @ ones(3, 3, 2), ValueError, "stacks of matrices do not fit"),
        (lambda: ones(2, 3).sum(axis=2), np.exceptions.AxisError, r"sum: axis 2 .*\n.*\(2, 3\)"),
        (lambda: ones(2, 3).mean(axis=(0, 0)), ValueError, r"mean: .*\n.*\(2, 3\)"),
        (lambda: ones(2).max(axis=1.0), TypeError, r"max: .*\n.*\(2,\)"),
        (lambda: ones(0).max(), ValueError, r"max: .*\n.*\(0,\)"),
        (lambda: ones(0, 2).min(axis=0), ValueError, r"min: .*\n.*\(0, 2\)"),
        (lambda: tg.logsumexp(ones(0)), ValueError, r"logsumexp: .*\n.*\(0,\)"),
        (lambda: tg.softmax(ones(2), axis=1), np.exceptions.AxisError, r"softmax: axis 1"),
        (lambda: ones(2, 3).reshape(4, -1), ValueError, r"reshape: .*\n.*\(2, 3\)"),
        (lambda: ones(2, 3).transpose(0, 0), ValueError, r"transpose: .*\n.*\(2, 3\)"),
        (lambda: ones(2, 3).squeeze(axis=0), ValueError, r"squeeze: .*\n.*\(2, 3\)"),
        (lambda: tg.expand_dims(ones(2), 3), np.exceptions.AxisError, r"expand_dims: axis 3"),
        (lambda: tg.broadcast_to(ones(2), (3,)), ValueError, r"broadcast_to: .*\n.*\(2,\)"),
        (lambda: tg.sum_to(ones(2, 3), (2,)), ValueError, r"\(2, 3\) cannot be summed to \(2,\)"),
        (lambda: tg.sum_to(ones(2), (1, 2)), ValueError, r"\(2,\) cannot be summed to \(1, 2\)"),
        (lambda: tg.sum_to(ones(1), (2,)), ValueError, r"\(1,\) cannot be summed to \(2,\)"),
        (lambda: tg.concatenate([ones(2, 1), ones(3, 2)], 1), ValueError, r"\(2, 1\).*\(3, 2\)"),
        (lambda: tg.concatenate([]), ValueError, "concatenate"),
        (lambda: tg.stack([ones(2), ones(3)]), ValueError, r"stack: .*\n.*\(2,\).*\(3,\)"),
        (lambda: tg.stack([ones(2)], axis=2), np.exceptions.AxisError, "axis 2"),
        (lambda: ones(2)[2], IndexError, r"getitem: .*\n.*\(2,\)"),
        (lambda: ones(2)[[0, 5]], IndexError, r"getitem: .*\n.*\(2,\)"),
        (lambda: ones(2)[0, 0], IndexError, r"getitem: .*\n.*\(2,\)"),
        (lambda: ones(2)[np.ones(3, bool)], IndexError, r"getitem: .*\n.*\(2,\)"),
        (lambda: ones(2)["a"], IndexError, r"getitem: .*\n.*\(2,\)"),
        (lambda: tg.scatter(ones(2), np.array([0, 9]), (3,)), IndexError, r"scatter: .*\n.*\(2,\)"),
        (
            lambda: tg.einsum("ij,jk->ik", ones(2, 3), ones(2, 3)),
            ValueError,
            r"einsum: .*\n.*\(2, 3\).*, \(2, 3\)",
        ),
        (lambda: tg.einsum("ij->i", ones(2)), ValueError, r"einsum: .*\n.*\(2,\)"),
        (lambda: np.einsum(ones(2), [0], [0]), TypeError, "the subscripts come first"),
        (lambda: tg.trace(ones(2, 3)), ValueError, r"\(2, 3\)"),
        (lambda: tg.where(ones(2) > 0, ones(3), 0.0), ValueError, r"where: .*\n.*\(3,\)"),
        (lambda: tg.clip(ones(2), np.zeros(3), None), ValueError, r"clip: .*\n.*\(2,\)"),
        (lambda: tg.moveaxis(ones(2, 3), (0, 1), 0), ValueError, "source.*destination"),
        (lambda: tg.swapaxes(ones(2, 3), 0, 2), np.exceptions.AxisError, "axis 2"),
        (lambda: tg.outer(ones(2), "a"), TypeError, "real numbers"),
        (lambda: tg.add(ones(2), None), TypeError, r"add: .*\n.*\(2,\)"),
        (lambda: tg.exp(ones(2), ones(2)), TypeError, "exp takes"),
        (lambda: tg.sum(ones(2), keepdim=True), TypeError, "no 'keepdim'"),
        (lambda: tg.sum(ones(2), 0, True), TypeError, "sum takes"),
        (lambda: tg.clip(ones(2), ones(2)), TypeError, "'a_min' is a setting"),
    ],
)
def test_bad_input_is_refused_with_its_sizes(
    call: Callable[[], Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=f"(?s){message}"):
        call()


@pytest.mark.parametrize(
    ("labels", "n", "kind", "message"),
    [
        ([0, 3], 3, ValueError, r"in 0 … 2, received 0 … 3"),
        ([-1, 1], None, ValueError, r"in 0 … 1, received -1 … 1"),
        ([0.0, 1.0], None, TypeError, "integers, received dtype float64"),
        ([True], None, TypeError, "integers, received dtype bool"),
    ],
)
def test_one_hot_refuses_what_is_no_class_index(
    labels: list[Any], n: int | None, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        tg.one_hot(np.array(labels), n)


def test_one_hot_of_any_integers() -> None:
    for dtype in (np.int8, np.uint8, np.int64, np.uint64):
        assert tg.one_hot(np.array([1, 0], dtype)).tolist() == [[0, 1], [1, 0]]
    assert tg.one_hot(np.zeros((0,), int), 2).shape == (0, 2)
    assert tg.one_hot(np.array([[1], [0]]), 3).shape == (2, 1, 3)
    assert not tg.one_hot(Tensor([1, 0])).requires_grad


ENTRIES = st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 2.0, np.inf, np.nan])
SHAPES_OF_ROWS = st.sampled_from([(64, 2), (64, 16), (63, 3), (100, 10), (65, 17), (3, 5)])


@given(arrays(st.sampled_from([np.float32, np.float64]), SHAPES_OF_ROWS, elements=ENTRIES))
def test_the_largest_entries_of_many_short_rows_are_numpys(x: Any) -> None:
    for axis in (0, 1, -1):
        np.testing.assert_array_equal(ops.max_along(x, axis), np.max(x, axis=axis, keepdims=True))
    with np.errstate(invalid="ignore", over="ignore"):
        for layout in (x[::2], x[::-1], np.asfortranarray(x)):
            np.testing.assert_array_equal(
                ops.max_along(layout), np.max(layout, axis=1, keepdims=True)
            )
        np.testing.assert_allclose(ops.sum_all(x), np.sum(x), rtol=1e-5)
        np.testing.assert_allclose(ops.sum_all(x[:, :1]), np.sum(x[:, :1]), rtol=1e-5)


# --- the edges of NumPy's own functions -----------------------------------------------------------


@pytest.mark.parametrize("function", [tg.var, tg.std])
@pytest.mark.parametrize(
    ("data", "ddof", "wanted"),
    [
        ([[1.0, 2.0]], 1, [[np.nan, np.nan]]),
        ([[1.0, 2.0], [3.0, 2.0]], 2, [[-np.inf, np.nan], [np.inf, np.nan]]),
        ([[1.0, 2.0], [3.0, 2.0]], 3, [[-np.inf, np.nan], [np.inf, np.nan]]),
        (np.zeros((0, 2)), 0, np.zeros((0, 2))),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_variance_without_degrees_of_freedom_has_numpys_nan_and_inf(
    function: Any, data: Any, ddof: int, wanted: Any
) -> None:
    x = tg.Tensor(data, requires_grad=True)
    y = function(x, 0, ddof=ddof)
    numpys = getattr(np, function.__name__)(np.array(data), 0, ddof=ddof)
    assert_array_equal(y.numpy(), numpys)
    y.sum().backward()
    if function is tg.std:  # 1/(2√∞) is 0, and 0 · ∞ is nan
        wanted = np.full(np.shape(wanted), np.nan)
    assert_array_equal(x.grad, wanted)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: tg.sum(x, axis=(tg.Tensor(0), tg.Tensor(1))),
        lambda x: x.mean((0, tg.Tensor(1))),
        lambda x: tg.reshape(x, (tg.Tensor(4),)),
        lambda x: tg.sum(x, axis=[tg.Tensor(0)]),
        lambda x: tg.broadcast_to(x, (2, (tg.Tensor(2), 2))),
    ],
)
def test_a_tensor_inside_of_a_setting_is_refused_by_name(call: Any) -> None:
    with pytest.raises(TypeError, match="is a setting and has no derivative, received a tensor"):
        call(tg.Tensor(np.ones((2, 2)), requires_grad=True))


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize(
    "call",
    [
        lambda m, t: m * t,
        lambda m, t: t * m,
        lambda m, t: m + t,
        lambda m, t: np.multiply(m, t),
        lambda m, t: t @ m,
        lambda m, t: tg.stack([t, m]),
    ],
)
def test_a_matrix_of_numpy_is_refused_beside_a_tensor(call: Any) -> None:
    with pytest.raises(TypeError, match=r"give np\.asarray"):
        call(np.matrix([[1.0, 2.0], [3.0, 4.0]]), tg.Tensor(np.ones((2, 2)), requires_grad=True))


def test_float32_beside_numbers_of_python_and_of_numpy() -> None:
    x = tg.Tensor([1.0], dtype=np.float32)
    assert (x * 2.0).dtype == (x * np.float32(2)).dtype == np.float32
    for number in (np.float64(2), np.sqrt(2), np.array(2.0), np.array([2.0])):
        assert (x * number).dtype == (x.numpy() * number).dtype == np.float64
