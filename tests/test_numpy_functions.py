"""NumPy's own functions on tensors: those that are covered, those refused, the chapter's code."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.tools.functions import FUNCTIONS as TABLE
from tests.tools.functions import Function
from tests.tools.operations import assert_close, assert_same
from tinygrad_edu import Tensor, ops
from tinygrad_edu.arrays import Array
from tinygrad_edu.numpy_functions import FUNCTIONS, NO_GRADIENT, UFUNCS


def variable(data: Any, dtype: Any = np.float64) -> Tensor:
    return Tensor(data, requires_grad=True, dtype=dtype)


def weights(shape: tuple[int, ...]) -> Array:
    return np.asarray(np.random.default_rng(1).normal(size=shape))


def differences(f: Callable[..., Any], arrays: list[Array], w: Array) -> list[Array]:
    """The gradient of Σ w ⊙ f by central differences of the fourth order, f a function of NumPy."""

    def total(i: int, place: tuple[int, ...], step: float) -> float:
        moved = [x.copy() for x in arrays]
        moved[i][place] += step
        return float((w * f(*moved)).sum())

    h, found = 1e-3, [np.zeros(x.shape) for x in arrays]
    for i, gradient in enumerate(found):
        for place in np.ndindex(gradient.shape):
            near = total(i, place, h) - total(i, place, -h)
            far = total(i, place, 2 * h) - total(i, place, -2 * h)
            gradient[place] = (8 * near - far) / (12 * h)
    return found


def assert_differentiates(f: Callable[..., Any], *arrays: Array, exact: bool = True) -> None:
    """f, written for NumPy, gives the same on tensors, and their gradient is f's.

    Not to the last bit where NumPy is free to choose the order of a sum (`optimize` of einsum).
    """
    want = f(*arrays)
    inputs = [variable(x) for x in arrays]
    got = f(*inputs)
    assert type(got) is Tensor
    if exact:
        assert_same(got.value, want, "value")
    assert_close(got.value, want, "value", 1e-14)
    w = weights(got.shape)
    gradients = tg.grad(got, inputs, gradient=w)
    for gradient, slope in zip(gradients, differences(f, [*arrays], w), strict=True):
        assert_close(gradient, slope, "gradient", 1e-8)


A = np.array([[0.7, 1.9, 0.4], [1.2, 0.3, 2.3]])
B = np.array([[1.1, 0.6, 1.7], [0.2, 1.4, 0.9]])


# --- ufuncs ---------------------------------------------------------------------------------------

STEPS = list(ops.PIECEWISE_CONSTANT)
LOGICAL = {np.logical_and, np.logical_or, np.logical_xor, np.logical_not}
BITS = {np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert}


@pytest.mark.parametrize("ufunc", [f for f in UFUNCS if f not in STEPS], ids=lambda f: f.__name__)
def test_ufuncs_are_operations(ufunc: np.ufunc) -> None:
    if ufunc is np.matmul:
        assert_differentiates(ufunc, A, B.T)
    elif ufunc.nin == 2:
        assert_differentiates(ufunc, A, B)
        assert_differentiates(ufunc, A, B[0])
    else:
        assert_differentiates(ufunc, A)
        assert_differentiates(ufunc, np.array(0.8))


@pytest.mark.parametrize("ufunc", [f for f in UFUNCS if f not in STEPS], ids=lambda f: f.__name__)
def test_the_gradient_of_a_ufunc_is_that_of_its_operation(ufunc: np.ufunc) -> None:
    operation = getattr(tg, {"absolute": "abs"}.get(ufunc.__name__, ufunc.__name__), UFUNCS[ufunc])
    arrays = [A, B.T if ufunc is np.matmul else B][: ufunc.nin]
    by_numpy, by_name = ([variable(x) for x in arrays] for _ in range(2))
    y, z = ufunc(*by_numpy), operation(*by_name)
    w = weights(y.shape)
    for got, want in zip(
        tg.grad(y, by_numpy, gradient=w), tg.grad(z, by_name, gradient=w), strict=True
    ):
        assert_same(got, want, ufunc.__name__)


@pytest.mark.parametrize("ufunc", STEPS, ids=lambda f: f.__name__)
def test_steps_and_questions_give_constants(ufunc: np.ufunc) -> None:
    kind = bool if ufunc in LOGICAL else int if ufunc in BITS else float
    x = np.array([1, 0, 2, -1]).astype(kind)
    other = np.array([1, 1, 0, 3]).astype(kind)
    arrays = [x, other][: ufunc.nin]
    inputs: list[Any] = [Tensor(a, requires_grad=kind is float) for a in arrays]
    got = ufunc(*inputs)
    assert type(got) is Tensor
    assert_same(got.value, ufunc(*arrays), ufunc.__name__)
    assert not got.requires_grad


def test_the_tables_cover_what_the_operations_cover() -> None:
    unary = {f for f in map(vars(np).get, tg.ops.__all__) if isinstance(f, np.ufunc)}
    assert unary <= set(UFUNCS)
    public = {getattr(np, name) for name in tg.ops.__all__ if callable(getattr(np, name, None))}
    assert public <= {*UFUNCS, *FUNCTIONS}


# --- functions ------------------------------------------------------------------------------------

# For each function the ways to call it; on arrays they are NumPy, on tensors they must be the same.
CALLS: dict[Callable[..., Any], list[Callable[..., Any]]] = {
    np.amax: [lambda a: np.amax(a, axis=0)],
    np.amin: [lambda a: np.amin(a, 1, keepdims=True)],
    np.astype: [lambda a: np.astype(a, np.float64)],
    np.broadcast_to: [
        lambda a: np.broadcast_to(a, (2, 2, 3)),
        lambda a: np.broadcast_to(a[0], shape=(2, 3)),
    ],
    np.clip: [
        lambda a: np.clip(a, 0.5, 1.5),
        lambda a: np.clip(a, 0.5, None),
        lambda a: np.clip(a, a_min=None, a_max=1.5),
        lambda a: np.clip(a, min=0.5),
        lambda a: np.clip(a, max=1.5, min=0.5),
        lambda a: np.clip(a, 0.5, a_max=1.5),
    ],
    np.concatenate: [
        lambda a, b: np.concatenate([a, b]),
        lambda a, b: np.concatenate((a, b), 1),
        lambda a, b: np.concatenate((a, b), axis=-1),
        lambda a, b: np.concatenate([a, b], axis=None),
    ],
    np.dot: [
        lambda a, b: np.dot(a, b.T),
        lambda a, b: np.dot(a[0], b[1]),
        lambda a, b: np.dot(a, b[0]),
        lambda a, b: np.dot(2.0, a * b),
    ],
    np.einsum: [
        lambda a, b: np.einsum("ij,kj->ik", a, b),
        lambda a, b: np.einsum("ij,ij", a, b),
        lambda a, b: np.einsum("ij,ij->j", a, b, optimize=True),
        lambda a: np.einsum("ij->ji", a),
    ],
    np.expand_dims: [lambda a: np.expand_dims(a, 1), lambda a: np.expand_dims(a, axis=(0, -1))],
    np.matrix_transpose: [np.matrix_transpose],
    np.max: [np.max, lambda a: np.max(a, axis=1), lambda a: np.max(a, 0, keepdims=True)],
    np.mean: [
        np.mean,
        lambda a: np.mean(a, axis=0),
        lambda a: np.mean(a, -1, keepdims=True),
        lambda a: np.mean(a, axis=0, dtype=None),
    ],
    np.min: [np.min, lambda a: np.min(a, axis=(0, 1))],
    np.moveaxis: [lambda a: np.moveaxis(a[None], 0, -1)],
    np.pad: [
        lambda a: np.pad(a, 1),
        lambda a: np.pad(a, ((0, 1), (2, 0)), mode="constant", constant_values=2.0),
    ],
    np.lib.stride_tricks.sliding_window_view: [
        lambda a: np.lib.stride_tricks.sliding_window_view(a, 2, axis=0),
        lambda a: np.lib.stride_tricks.sliding_window_view(a, (2, 2)),
    ],
    np.outer: [lambda a, b: np.outer(a, b), lambda a, b: np.outer(a[0], b[0])],
    np.ravel: [np.ravel],
    np.reshape: [
        lambda a: np.reshape(a, (3, 2)),
        lambda a: np.reshape(a, -1),
        lambda a: np.reshape(a, shape=(-1, 2)),
    ],
    np.squeeze: [lambda a: np.squeeze(a[None]), lambda a: np.squeeze(a[:, None], axis=1)],
    np.stack: [
        lambda a, b: np.stack([a, b]),
        lambda a, b: np.stack((a, b), axis=1),
        lambda a, b: np.stack((a, b), -1),
    ],
    np.std: [np.std, lambda a: np.std(a, axis=1), lambda a: np.std(a, axis=0, ddof=1)],
    np.sum: [
        np.sum,
        lambda a: np.sum(a, axis=0),
        lambda a: np.sum(a, 1, keepdims=True),
        lambda a: np.sum(a, axis=(0, 1)),
        lambda a: np.sum(a, axis=-1, out=None),
    ],
    np.swapaxes: [lambda a: np.swapaxes(a, 0, -1)],
    np.trace: [lambda a, b: np.trace(np.dot(a, b.T))],
    np.transpose: [
        np.transpose,
        lambda a: np.transpose(a, (1, 0)),
        lambda a: np.transpose(a[None], axes=(2, 0, 1)),
    ],
    np.var: [np.var, lambda a: np.var(a, axis=1, keepdims=True), lambda a: np.var(a, 0, ddof=1)],
    np.where: [
        lambda a, b: np.where(a > b, a, b),
        lambda a, b: np.where(a > 1, 0.0, b * a),
        lambda a, b: np.where([True, False, True], a, b),
    ],
}
INDICES: dict[Callable[..., Any], list[Callable[..., Any]]] = {
    np.argmax: [
        np.argmax,
        lambda a: np.argmax(a, axis=1),
        lambda a: np.argmax(a, 0, keepdims=True),
    ],
    np.argmin: [np.argmin, lambda a: np.argmin(a, axis=0)],
}


def test_every_function_of_the_table_is_tried() -> None:
    assert {*CALLS, *INDICES, *(f.numpy_function for f in TABLE)} == set(FUNCTIONS)


@pytest.mark.parametrize("function", CALLS, ids=lambda f: f.__name__)
def test_functions_are_operations(function: Callable[..., Any]) -> None:
    for call in CALLS[function]:
        n = 2 if getattr(call, "__code__", None) and call.__code__.co_argcount == 2 else 1
        assert_differentiates(call, *[A, B][:n], exact=function is not np.einsum)


# --- the functions of the table -------------------------------------------------------------------

TABLE_CALLS = [(function, settings) for function in TABLE for settings in function.settings]


@pytest.mark.parametrize(("function", "settings"), TABLE_CALLS, ids=str)
def test_functions_of_the_table_are_numpys(function: Function, settings: dict[str, Any]) -> None:
    """NumPy's function gives on tensors what it gives on arrays, with the gradient of that."""
    rng = np.random.default_rng(5)
    for shapes in function.shapes_for(settings):
        arrays = [function.domain(rng, shape) for shape in shapes]
        assert_differentiates(partial(function.numpys, **settings), *arrays, exact=False)


KINKS = [(function, *kink) for function in TABLE for kink in function.kinks]


@pytest.mark.parametrize(("function", "settings", "operands", "want"), KINKS, ids=str)
def test_functions_of_the_table_at_kinks(
    function: Function, settings: dict[str, Any], operands: list[Any], want: Any
) -> None:
    """The gradient is the documented one, and the second derivative is finite."""
    inputs = [variable(x) for x in operands]
    y = function.numpys(*inputs, **settings)
    assert_close(y.value, function.numpys(*map(np.array, operands), **settings), "value", 1e-14)
    gradient = tg.grad(y, inputs[0], gradient=np.ones(y.shape), create_graph=True)
    assert_close(gradient.value, want, "gradient")
    if gradient.requires_grad:
        assert np.isfinite(tg.grad(gradient, inputs[0], gradient=np.ones(gradient.shape))).all()


@pytest.mark.parametrize("function", INDICES, ids=lambda f: f.__name__)
def test_places_are_constants(function: Callable[..., Any]) -> None:
    for call in INDICES[function]:
        got = call(variable(A))
        assert type(got) is Tensor and not got.requires_grad
        assert_same(got.value, call(A), function.__name__)


VALUE_CALLS: dict[Callable[..., Any], Callable[[Any], Any]] = {
    np.all: lambda a: np.all(a > 0),
    np.allclose: lambda a: np.allclose(a, A, atol=0.1),
    np.any: lambda a: np.any(a > 2, axis=0),
    np.argsort: lambda a: np.argsort(a, axis=1),
    np.argwhere: lambda a: np.argwhere(a > 1),
    np.around: lambda a: np.around(a, 1),
    np.array_equal: lambda a: np.array_equal(A, a),
    np.count_nonzero: lambda a: np.count_nonzero(a > 1, axis=1),
    np.empty_like: lambda a: np.empty_like(a) * 0,
    np.flatnonzero: lambda a: np.flatnonzero(a > 1),
    np.isclose: lambda a: np.isclose(a, 1.9),
    np.ndim: np.ndim,
    np.nonzero: lambda a: np.stack(np.nonzero(a > 1)),
    np.ones_like: lambda a: np.ones_like(a, dtype=np.float32),
    np.round: np.round,
    np.searchsorted: lambda a: np.searchsorted([0.5, 1.5], a),
    np.shape: np.shape,
    np.size: lambda a: np.size(a, 0),
    np.zeros_like: np.zeros_like,
}


def test_every_question_is_tried() -> None:
    assert set(VALUE_CALLS) == NO_GRADIENT


@pytest.mark.parametrize("function", VALUE_CALLS, ids=lambda f: f.__name__)
def test_questions_have_plain_answers(function: Callable[..., Any]) -> None:
    call = VALUE_CALLS[function]
    for x in (variable(A), Tensor(A)):
        got = call(x)
        assert not isinstance(got, Tensor)
        assert_same(got, call(A), function.__name__)


@pytest.mark.parametrize(
    "call",
    [
        lambda t: np.unique(t),
        lambda t: np.full_like(t, t[0]),
        lambda t: np.full_like(np.ones(2), t[0]),
        lambda t: np.bincount(np.array([0, 1, 1]), weights=t),
    ],
    ids=["unique", "full_like", "full_like an array", "bincount"],
)
def test_a_question_whose_answer_has_a_slope_is_refused(call: Callable[[Tensor], Any]) -> None:
    """The entries of these answers are entries (or sums) of t: as plain arrays they would have
    lost the gradient without a word."""
    with pytest.raises(TypeError):
        call(variable([3.0, 1.0, 2.0]))


# --- arrays, numbers and lists beside tensors -----------------------------------------------------

OPERATORS = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.pow,
    np.add,
    np.subtract,
    np.multiply,
    np.divide,
    np.power,
    np.maximum,
    np.minimum,
]


@pytest.mark.parametrize("f", OPERATORS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "other",
    [2, 1.5, np.float64(2.5), np.int64(3), np.array(1.5), B, B[0], B.tolist(), np.float32(0.5)],
    ids=lambda x: f"{type(x).__name__}{np.shape(x)}",
)
def test_operators_beside_anything_numeric(f: Callable[..., Any], other: Any) -> None:
    """On either side; the result is a Tensor, never an array of tensors."""
    plain = np.asarray(other) if isinstance(other, list) else other
    assert_differentiates(lambda a: f(a, plain if type(a) is np.ndarray else other), A)
    assert_differentiates(lambda a: f(plain if type(a) is np.ndarray else other, a), A)


@pytest.mark.parametrize("left", [A, A[0], A.tolist(), A[None]])
def test_matrix_products_beside_arrays_and_lists(left: Any) -> None:
    plain = np.asarray(left)
    assert_differentiates(lambda b: (plain if type(b) is np.ndarray else left) @ b, B.T)
    assert_differentiates(lambda b: b @ (plain.mT if plain.ndim > 1 else plain), B)


@pytest.mark.parametrize(
    "compare", [operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge]
)
def test_comparisons_beside_arrays(compare: Callable[..., Any]) -> None:
    for left, right in ((variable(A), B), (A, variable(B)), (variable(A), variable(B))):
        got = compare(left, right)
        assert type(got) is Tensor and not got.requires_grad
        assert_same(got.value, compare(A, B), compare.__name__)
    number = compare(np.float64(0.7), variable(A))
    assert_same(number.value, compare(0.7, A), compare.__name__)


def test_numpys_scalars_decide_dtypes_as_in_numpy() -> None:
    narrow, broad = variable([1.0, 2.0], np.float32), variable([1.0, 2.0])
    assert (np.float32(2) * narrow).dtype == np.float32
    assert (np.float64(2) * narrow).dtype == (np.float64(2) * narrow.value).dtype == np.float64
    assert (np.float32(2) * broad).dtype == np.float64
    assert tg.grad(np.float64(2) * narrow, narrow, gradient=np.ones(2)).dtype == np.float32


# --- what is refused, by name ---------------------------------------------------------------------

UNCOVERED: dict[str, Callable[[Any], Any]] = {
    "np.cumprod": np.cumprod,
    "np.fft.fft": np.fft.fft,
    "np.linalg.eigh": np.linalg.eigh,
    "np.linalg.matrix_power": lambda t: np.linalg.matrix_power(t, 2),
    "np.linalg.pinv": np.linalg.pinv,
    "np.partition": lambda t: np.partition(t, 1),
    "np.median": np.median,
    "np.ptp": np.ptp,
    "np.nansum": np.nansum,
    "np.tril": np.tril,
    "np.copy": np.copy,
    "np.quantile": lambda t: np.quantile(t, 0.5),
    "np.append": lambda t: np.append(t, t),
    "np.interp": lambda t: np.interp(0.5, t[0], t[1]),
    "np.trapezoid": np.trapezoid,
    "np.apply_along_axis": lambda t: np.apply_along_axis(np.sum, 0, t),
    "np.nan_to_num": np.nan_to_num,
    "np.linspace": lambda t: np.linspace(t[0], t[1], 3),
    "np.copyto": lambda t: np.copyto(np.ones((2, 2)), t),
    "np.vdot": lambda t: np.vdot(t, t),
    "np.put": lambda t: np.put(np.ones(4), [0], t),
    "np.array_str": np.array_str,
    "np.polyval": lambda t: np.polyval([1.0], t),
    "np.arctan2": lambda t: np.arctan2(t, 1.0),
    "np.exp2": np.exp2,
    "np.cbrt": np.cbrt,
    "np.hypot": lambda t: np.hypot(3.0, t),
    "np.deg2rad": np.deg2rad,
    "np.fmax": lambda t: np.fmax(t, 0),
    "np.mod": lambda t: np.mod(t, 2),
    "np.fabs": np.fabs,
    "np.float_power": lambda t: np.float_power(t, 2),
    "np.modf": np.modf,
    "np.frexp": np.frexp,
    "np.floor_divide": lambda t: np.ones(2) // t,
    "np.copysign": lambda t: np.copysign(t, -1),
    "np.heaviside": lambda t: np.heaviside(t, 0.5),
}


@pytest.mark.parametrize("name", UNCOVERED)
@pytest.mark.parametrize("requires_grad", [True, False])
def test_what_is_not_covered_is_refused_by_name(name: str, requires_grad: bool) -> None:
    t = Tensor(np.array([[1.5, 0.5], [0.25, 2.0]]), requires_grad)
    with pytest.raises(TypeError, match="is not covered on tensors") as refusal:
        UNCOVERED[name](t)
    said = str(refusal.value).partition(" is not covered")[0]
    assert said in (name, {"np.mod": "np.remainder"}.get(name))


T = variable([1.5, 0.5])
S = np.ones(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: np.add(T, S, out=np.ones(2)), r"np\.add: .*out="),
        (lambda: np.exp(T, out=np.ones(2)), r"np\.exp: .*out="),
        (lambda: np.multiply(S, S, out=cast(Any, Tensor(S))), r"np\.multiply: .*out="),
        (lambda: np.add(T, S, where=S > 0), r"np\.add .*no where"),
        (lambda: np.exp(T, dtype=np.float32), r"np\.exp .*no dtype"),
        (lambda: np.add(T, S, casting="safe"), r"np\.add .*no casting"),
        (lambda: np.add.reduce(T), r"np\.add\.reduce is not covered"),
        (lambda: np.multiply.reduce(T), r"np\.multiply\.reduce is not covered"),
        (lambda: np.add.accumulate(T), r"np\.add\.accumulate is not covered"),
        (lambda: np.multiply.outer(T, S), r"np\.multiply\.outer is not covered"),
        (lambda: np.add.reduceat(T, [0]), r"np\.add\.reduceat is not covered"),
        (lambda: np.add.at(np.ones(2), [0], T[:1]), r"np\.add\.at is not covered"),
        (lambda: np.maximum.reduce(T), r"np\.maximum\.reduce is not covered"),
        (lambda: np.sum(T, dtype=np.float32), "sum .*no 'dtype'"),
        (lambda: np.sum(T, out=np.array(0.0)), "sum .*no 'out'"),
        (lambda: np.sum(S, out=cast(Any, T)), "sum .*no 'out'"),
        (lambda: np.sum(T, where=S > 0), "sum .*no 'where'"),
        (lambda: np.sum(T, initial=1.0), "sum .*no 'initial'"),
        (lambda: np.mean(T, dtype=np.float32), "mean .*no 'dtype'"),
        (lambda: np.max(T, initial=1.0), "max .*no 'initial'"),
        (lambda: np.concatenate([T, T], dtype=np.float32), "concatenate.*dtype"),
        (lambda: np.clip(T, 0, 1, out=np.ones(2)), "clip.*out"),
        (lambda: np.clip(T, 0, 1, dtype=np.float32), r"\bclip.*dtype"),
        (lambda: np.reshape(T, (2, 1), order="F"), "reshape.*'order'"),
        (lambda: np.ravel(T, order="F"), r"\b(ravel|flatten).*'order'"),
        (lambda: np.where(T > 1), "where takes"),
        (lambda: np.trace(tg.outer(T, T), 1), r"\btrace"),
        (lambda: np.dot(T, S, out=np.array(0.0)), "dot.*out"),
        (lambda: np.einsum("i,i->", T, S, dtype=np.float32), r"\beinsum.*dtype"),
    ],
)
def test_settings_without_a_meaning_here_are_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


IN_PLACE: list[Callable[[Any, Any], Any]] = [
    operator.iadd,
    operator.isub,
    operator.imul,
    operator.itruediv,
    operator.ipow,
]


@pytest.mark.parametrize("change", IN_PLACE, ids=lambda f: f.__name__)
def test_an_array_does_not_take_a_tensor_in_place(change: Callable[[Any, Any], Any]) -> None:
    a = np.ones(2)
    with pytest.raises(TypeError, match=r"write `a = a \+ t`"):
        change(a, T)
    assert a.tolist() == [1, 1]
    t = variable([1.0, 2.0])
    before = t.value
    new = change(t, a)  # a tensor's own name is bound to a new one
    assert new is not t and t.value is before and t.tolist() == [1, 2]


@pytest.mark.parametrize(
    "call",
    [
        lambda t: np.asarray(t),
        lambda t: np.array(t),
        lambda t: np.array([t, t]),
        lambda t: np.asarray([t[0], t[1]]),
        lambda t: np.asarray([[t[0], 2.0], [1.0, t[1]]]),
        lambda t: np.array((t, np.ones(2))),
        lambda t: np.array(t, dtype=object),
        lambda t: np.ascontiguousarray(t),
        lambda t: np.asanyarray(t),
        lambda t: np.atleast_1d(np.asarray(t)),
        lambda t: np.full(2, t),
        lambda t: np.ones(2).__setitem__(slice(None), t),
        lambda t: np.ones(2).dot(t),
        lambda t: np.array([1.0]).searchsorted(t),
        lambda t: Tensor([t, t]),
        lambda t: Tensor(t),
        lambda t: tg.add(t, [t, t]),
        lambda t: np.add([t, t], 1.0),
    ],
)
def test_a_recorded_tensor_does_not_become_an_array_unasked(call: Callable[[Any], Any]) -> None:
    for t in (variable([1.0, 2.0]), variable([1.0, 2.0]) * 2):
        with pytest.raises(TypeError, match=r"detach\(\)"):
            call(t)


def test_a_constant_tensor_becomes_an_array() -> None:
    t = Tensor([1.0, 2.0])
    assert_same(np.asarray(t), np.array([1.0, 2.0]), "asarray")
    assert np.array(t, dtype=np.float32).dtype == np.float32
    assert np.array([t, t]).shape == (2, 2)
    copy = np.array(t)
    copy[0] = 9.0
    assert t.tolist() == [1, 2]


def test_classes_that_know_tensors_may_answer_for_themselves() -> None:
    class Other:
        def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> str:
            return f"{function.__name__} by Other"

    assert np.concatenate([T, Other()]) == "concatenate by Other"


# --- the chapter's own code -----------------------------------------------------------------------


class SingleLayer:
    """As on the slides; nothing in it knows of tensors."""

    def __init__(self, *weights: Any, l1: float = 0, l2: float = 0):
        self.init_weights(*weights)
        self.l1, self.l2 = l1, l2

    def init_weights(self, w: Any, b: Any) -> None:
        self.w, self.b = w, b

    def forpass(self, x: Any) -> Any:
        z = np.dot(x, self.w) + self.b
        return z

    def activation(self, z: Any) -> Any:
        z = np.clip(z, -100, None)
        a = 1 / (1 + np.exp(-z))
        return a

    def reg_loss(self) -> Any:
        return self.l1 * np.sum(np.abs(self.w)) + self.l2 / 2 * np.sum(self.w**2)

    def loss(self, x: Any, y: Any) -> Any:
        m = len(x)
        a = self.activation(self.forpass(x))
        a = np.clip(a, 1e-10, 1 - 1e-10)
        loss = np.sum(-(y * np.log(a) + (1 - y) * np.log(1 - a)))
        return (loss + self.reg_loss()) / m


class DualLayer(SingleLayer):
    def init_weights(self, *weights: Any) -> None:
        self.w1, self.b1, self.w2, self.b2 = weights

    def forpass(self, x: Any) -> Any:
        z1 = np.dot(x, self.w1) + self.b1
        self.a1 = self.activation(z1)
        z2 = np.dot(self.a1, self.w2) + self.b2
        return z2

    def reg_loss(self) -> Any:
        return self.l1 * (np.sum(np.abs(self.w1)) + np.sum(np.abs(self.w2))) + self.l2 / 2 * (
            np.sum(self.w1**2) + np.sum(self.w2**2)
        )

    def backprop(self, x: Any, err: Any) -> Any:
        """Derived by hand, the bias of the output with axis=0 as in the derivation."""
        m = len(x)
        w2_grad = np.dot(self.a1.T, err) / m
        b2_grad = np.sum(err, axis=0) / m
        err_to_hidden = np.dot(err, self.w2.T) * self.a1 * (1 - self.a1)
        w1_grad = np.dot(x.T, err_to_hidden) / m
        b1_grad = np.sum(err_to_hidden, axis=0) / m
        w1_grad += (self.l1 * np.sign(self.w1) + self.l2 * self.w1) / m
        w2_grad += (self.l1 * np.sign(self.w2) + self.l2 * self.w2) / m
        return w1_grad, b1_grad, w2_grad, b2_grad


class MultiClassNetwork(DualLayer):
    def softmax(self, z: Any) -> Any:
        z = np.clip(z, -100, None)
        exp_z = np.exp(z)
        return exp_z / np.sum(exp_z, axis=1).reshape(-1, 1)

    def loss(self, x: Any, y: Any) -> Any:
        m = len(x)
        a = self.softmax(self.forpass(x))
        a = np.clip(a, 1e-10, 1 - 1e-10)
        loss = np.sum(-y * np.log(a))
        return (loss + self.reg_loss()) / m

    def predict(self, x: Any) -> Any:
        z = self.forpass(x)
        return np.argmax(z, axis=1)

    def score(self, x: Any, y: Any) -> Any:
        return np.mean(self.predict(x) == np.argmax(y, axis=1))


M, N, UNITS, CLASSES = 7, 3, 4, 5


def assert_derived(
    network: type[Any], weights: list[Any], x: Array, y: Array, by_hand: Any
) -> None:
    """The loss is the same on arrays and on tensors, and its gradients are those by hand."""
    tensors = [variable(w) for w in weights]
    loss = network(*tensors, l1=0.02, l2=0.3).loss(x, y)
    assert type(loss) is Tensor
    assert_same(loss.value, network(*weights, l1=0.02, l2=0.3).loss(x, y), "loss")
    loss.backward()
    for got, want in zip([t.grad for t in tensors], by_hand, strict=True):
        assert_close(got, want, network.__name__, 1e-13)


def test_the_first_forpass_with_a_product_element_by_element() -> None:
    def forpass(x: Any, w: Any, b: Any) -> Any:
        z = np.sum(x * w) + b
        return z

    x, w = np.array([1.5, -2.0, 0.5]), np.array([0.3, 0.2, -0.1])
    assert_differentiates(lambda w, b: forpass(x, w, b), w, np.array(0.7))
    t = variable(w)
    assert tg.grad(forpass(x, t, 0.7), t).tolist() == x.tolist()


@pytest.mark.parametrize("b", [0.25, np.array(0.25), np.array([0.25])])
def test_the_chapters_single_layer(b: Any) -> None:
    rng = np.random.default_rng(11)
    x, w = rng.normal(size=(M, N)), rng.normal(size=(N, 1))
    y = rng.integers(0, 2, (M, 1)).astype(float)
    err = 1 / (1 + np.exp(-(x @ w + b))) - y
    w_grad = np.dot(x.T, err) / M + (0.02 * np.sign(w) + 0.3 * w) / M
    b_grad = np.full(np.shape(b), np.sum(err) / M)
    assert_derived(SingleLayer, [w, b], x, y, [w_grad, b_grad])


def dual_weights(rng: np.random.Generator, outputs: int) -> list[Array]:
    shapes = [(N, UNITS), (UNITS,), (UNITS, outputs), (outputs,)]
    return [np.asarray(rng.normal(size=shape)) for shape in shapes]


def test_the_chapters_dual_layer() -> None:
    rng = np.random.default_rng(12)
    weights, x = dual_weights(rng, 1), rng.normal(size=(M, N))
    y = rng.integers(0, 2, (M, 1)).astype(float)
    network = DualLayer(*weights, l1=0.02, l2=0.3)
    err = network.activation(network.forpass(x)) - y
    assert_derived(DualLayer, weights, x, y, network.backprop(x, err))


def test_the_chapters_multi_class_network() -> None:
    rng = np.random.default_rng(13)
    weights, x = dual_weights(rng, CLASSES), rng.normal(size=(M, N))
    y = np.eye(CLASSES)[rng.integers(0, CLASSES, M)]
    network = MultiClassNetwork(*weights, l1=0.02, l2=0.3)
    err = network.softmax(network.forpass(x)) - y
    assert_derived(MultiClassNetwork, weights, x, y, network.backprop(x, err))


def test_the_chapters_predict_and_score() -> None:
    rng = np.random.default_rng(14)
    weights, x = dual_weights(rng, CLASSES), rng.normal(size=(M, N))
    y = np.eye(CLASSES)[rng.integers(0, CLASSES, M)]
    on_arrays = MultiClassNetwork(*weights)
    on_tensors = MultiClassNetwork(*map(variable, weights))
    assert_same(np.asarray(on_tensors.predict(x)), on_arrays.predict(x), "predict")
    assert float(on_tensors.score(x, y)) == on_arrays.score(x, y)


def test_the_chapters_inverse_of_the_sigmoid() -> None:
    """z = −log(1/ŷ − 1): outputs (0.9, 0.8, 0.7) become (2.20, 1.39, 0.85), then shares."""
    y_hat = variable([0.9, 0.8, 0.7])
    z = -np.log(1 / y_hat - 1)
    assert z.numpy().round(2).tolist() == [2.20, 1.39, 0.85]
    assert tg.softmax(z).numpy().round(2).tolist() == [0.59, 0.26, 0.15]
    want = 1 / (y_hat.value * (1 - y_hat.value))
    assert_close(tg.grad(z, y_hat, gradient=np.ones(3)), want, "dz/dŷ", 1e-14)
    assert math.isclose(tg.sigmoid(z).tolist()[0], 0.9)
