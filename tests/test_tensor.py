"""Tensor: construction, operators and methods, and conversion to NumPy and Python."""

from __future__ import annotations

import array as array_module
import copy
import importlib
import math
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import tinygrad_edu as tg
from tinygrad_edu import nn
from tinygrad_edu.tensor import Parameter, Tensor


def variable(data: Any, dtype: Any = np.float64, name: str | None = None) -> Tensor:
    return Tensor(np.array(data, dtype), requires_grad=True, name=name)


def check(result: Any, expected: Any, recorded: bool | None = None) -> None:
    """The result is a Tensor with the value, shape and dtype that NumPy gives."""
    assert type(result) is Tensor
    assert type(result.data) is np.ndarray
    assert_array_equal(result.data, expected)
    assert result.shape == np.shape(expected)
    assert result.dtype == np.asarray(expected).dtype
    if recorded is not None:
        assert result.requires_grad == recorded


class Subclass(np.ndarray[Any, Any]):
    """Arrays with meanings of their own (np.matrix has another `*`) become plain ones."""


# --- construction ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        2.5,
        3,
        True,
        np.float32(2.5),
        np.int8(3),
        [1.0, 2.0],
        (1, 2),
        [[1.0, 2.0], [3.0, 4.0]],
        [],
        [[], []],
        range(3),
        [True, False],
        np.arange(6.0).reshape(2, 3)[:, ::-2],
        np.zeros((2, 0, 3), np.float16),
        np.arange(3, dtype=np.uint8),
        np.ones(2).view(Subclass),
    ],
    ids=repr,
)
def test_a_tensor_holds_what_numpy_makes_of_the_data(data: Any) -> None:
    t = Tensor(data)
    expected = np.asarray(data)
    assert type(t.data) is np.ndarray
    assert_array_equal(t.data, expected)
    assert (t.shape, t.ndim, t.size, t.dtype) == (
        expected.shape,
        expected.ndim,
        expected.size,
        expected.dtype,
    )
    assert not t.requires_grad
    assert t.is_leaf
    assert t.grad is None
    assert t.name is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, "float64", float])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_dtype(dtype: Any, requires_grad: bool) -> None:
    for data in (1, [1, 2], np.array([1.5]), Tensor([1.5]), np.array([1.5], np.float32)):
        assert Tensor(data, requires_grad, dtype=dtype).dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    "data, error, message",
    [
        ([[1, 2], [3]], ValueError, "rows of equal length"),
        ([1.0, [2.0]], ValueError, "rows of equal length"),
        ("abc", TypeError, "received str"),
        ("1.5", TypeError, "received str"),
        (["1", "2"], TypeError, "received list"),
        (b"1", TypeError, "received bytes"),
        (None, TypeError, "received NoneType"),
        ([1.0, None], TypeError, "received list"),
        ({"a": 1}, TypeError, "received dict"),
        ({1, 2}, TypeError, "received set"),
        (Ellipsis, TypeError, "received ellipsis"),
        (1j, TypeError, "received complex"),
        ([1.0, 2j], TypeError, "received list"),
        (np.array([1 + 2j]), TypeError, "received ndarray of dtype complex128"),
        (np.array([None]), TypeError, "received ndarray of dtype object"),
        (np.array("2020-01-01", "M8[D]"), TypeError, "received ndarray of dtype datetime64"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), TypeError, "masked array"),
        ([1.0, 10**30], TypeError, "received list"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_what_is_no_real_numbers_is_refused(
    data: Any, error: type[Exception], message: str, requires_grad: bool
) -> None:
    with pytest.raises(error, match=message):
        Tensor(data, requires_grad)


@pytest.mark.parametrize(
    "data",
    ["abc", "1.5", ["1.5"], b"1", None, [None], 1j, np.array([1 + 2j]), np.array([None]), ["a"]],
    ids=repr,
)
def test_a_dtype_does_not_make_real_numbers_of_other_things(data: Any) -> None:
    with pytest.raises(TypeError):
        Tensor(data, dtype=float)


@pytest.mark.parametrize("dtype", [complex, str, object, "M8[s]"])
def test_a_dtype_of_no_real_numbers_is_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match="expected real numbers"):
        Tensor([1, 2], dtype=dtype)


@pytest.mark.parametrize("data", [1, [1, 2], [True], np.zeros(2, np.uint8), Tensor([1])], ids=repr)
def test_integers_cannot_require_a_gradient(data: Any) -> None:
    with pytest.raises(TypeError, match=r"only floating-point .* received dtype .* dtype=float"):
        Tensor(data, requires_grad=True)
    assert Tensor(data, requires_grad=True, dtype=float).requires_grad


def test_a_recorded_tensor_is_refused() -> None:
    x = variable([1.0, 2.0])
    for t in (x, x * 2.0):
        for data in (t, [t, t], [t[0], 1.0], (t.sum(),)):
            with pytest.raises(TypeError, match=r"t\.detach\(\)"):
                Tensor(data)
        check(Tensor(t.detach()), t.data, recorded=False)


def test_a_tensor_of_constant_tensors() -> None:
    check(Tensor([Tensor([1.0, 2.0]), Tensor([3.0, 4.0])]), np.array([[1.0, 2.0], [3.0, 4.0]]))


def test_a_variable_has_a_copy_of_the_data() -> None:
    data = np.array([1.0, 2.0])
    for t in (Tensor(data, requires_grad=True), Parameter(data), Parameter(data, False)):
        assert not np.shares_memory(t.data, data)
    constant = Tensor(data)
    assert not np.shares_memory(Tensor(constant, requires_grad=True).data, data)


def test_a_constant_shares_the_memory_of_the_array() -> None:
    data = np.arange(6.0).reshape(2, 3)
    for given_data in (data, data[:, ::-2], data.T):
        assert np.shares_memory(Tensor(given_data).data, data)
        assert Tensor(given_data).data.strides == given_data.strides
    assert np.shares_memory(Tensor(Tensor(data)).data, data)


def test_parameter() -> None:
    p = Parameter([1.0, 2.0], name="w")
    assert isinstance(p, Tensor)
    assert p.requires_grad
    assert p.is_leaf
    assert type(p * 2.0) is Tensor  # results are no parameters
    assert not Parameter([1, 2], requires_grad=False).requires_grad


def test_no_attribute_can_be_misspelt() -> None:
    with pytest.raises(AttributeError):
        variable(1.0).gard = 2.0  # type: ignore[attr-defined]


# --- what it is -----------------------------------------------------------------------------------


def test_leaves() -> None:
    x = variable(1.0)
    assert x.is_leaf and Tensor(1.0).is_leaf and x.detach().is_leaf and (x > 0).is_leaf
    y = x * 2.0
    assert not y.is_leaf
    y.backward()
    assert not y.is_leaf  # released, still no variable


def test_named() -> None:
    x = variable(1.0)
    assert x.named("W1") is x
    assert x.name == "W1"


def test_transposes() -> None:
    data = np.arange(24.0).reshape(2, 3, 4)
    check(variable(data).T, data.T, recorded=True)
    check(variable(data).mT, data.mT, recorded=True)
    check(Tensor(data).T, data.T, recorded=False)
    for short in (1.0, [1.0]):
        check(Tensor(short).T, np.array(short))
        with pytest.raises(ValueError, match="at least two axes"):
            _ = Tensor(short).mT


# --- data and requires_grad -----------------------------------------------------------------------


def test_new_data() -> None:
    x = variable([1.0, 2.0], np.float32)
    x.data = np.array([3, 4])
    assert x.data.tolist() == [3.0, 4.0]
    assert x.dtype == np.float32
    x.data = [5.0, 6.0]
    x.data = Tensor([7.0, 8.0])
    assert x.data.tolist() == [7.0, 8.0]
    (x * x).sum().backward()
    assert_array_equal(x.grad, [14.0, 16.0])


@pytest.mark.parametrize(
    "data, error, message",
    [
        ([1.0], ValueError, r"expected data of shape \(2,\), received \(1,\)"),
        (1.0, ValueError, r"expected data of shape \(2,\), received \(\)"),
        ([[1.0, 2.0]], ValueError, r"expected data of shape \(2,\), received \(1, 2\)"),
        ([1j, 2.0], TypeError, "expected real numbers"),
        ("ab", TypeError, "expected real numbers"),
        ([None, 1.0], TypeError, "expected real numbers"),
        (variable([1.0, 2.0]), TypeError, "lose the gradient"),
    ],
)
def test_data_that_do_not_fit_are_refused(data: Any, error: type[Exception], message: str) -> None:
    x = variable([1.0, 2.0])
    with pytest.raises(error, match=message):
        x.data = data
    assert x.data.tolist() == [1.0, 2.0]


def test_the_data_of_a_result_belong_to_the_record() -> None:
    y = variable([1.0, 2.0]) * 2.0
    with pytest.raises(TypeError, match=r"belong to the record; write t.detach\(\)"):
        y.data = np.zeros(2)
    y.sum().backward()
    with pytest.raises(TypeError, match=r"belong to the record; write t.detach\(\)"):
        y.data = np.zeros(2)
    with tg.no_grad():
        z = variable([1.0, 2.0]) * 2.0
    z.data = np.zeros(2)  # a constant


def test_new_data_of_a_variable_are_a_copy() -> None:
    x, data = variable([1.0, 2.0]), np.array([3.0, 4.0])
    x.data = data
    y = (x * x).sum()
    data[:] = 0.0
    y.backward()
    assert_array_equal(x.grad, [6.0, 8.0])


def test_data_are_not_cut_to_integers() -> None:
    counts = Tensor([1, 2])
    with pytest.raises(TypeError):
        counts.data = [1.5, 2.5]


def test_requires_grad_can_be_set_and_unset() -> None:
    x = Tensor([1.0, 2.0])
    x.requires_grad = True
    (x * 2.0).sum().backward()
    assert_array_equal(x.grad, [2.0, 2.0])
    x.requires_grad = False
    assert not (x * 2.0).requires_grad


def test_requires_grad_is_refused_where_it_means_nothing() -> None:
    with pytest.raises(TypeError, match="only floating-point"):
        Tensor([1, 2]).requires_grad = True
    y = variable(1.0) * 2.0
    for wanted in (True, False):
        with pytest.raises(TypeError, match="only a variable or constant"):
            y.requires_grad = wanted


# --- operators ------------------------------------------------------------------------------------

A = np.array([[1.5, -2.0, 0.5], [3.0, 0.25, -1.0]])
B = np.array([[1.5, 2.0, 4.25], [3.0, 1.25, 2.5]])  # integers of it are no zeros
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
COMPARISONS = {"==", "!=", "<", "<=", ">", ">="}
OTHERS = [
    2.0,
    3,
    True,
    np.float32(2.0),
    np.float64(2.0),
    np.int64(2),
    np.array(2.0),
    np.array([2.0, 3.0, 0.5]),
    np.array([[2.0], [0.5]], np.float32),
    np.array([[2], [1]]),
    np.array([True, True, True]),
    [2.0, 1.5, 0.5],
    [[2], [1]],
]


@pytest.mark.parametrize("other", OTHERS, ids=repr)
@pytest.mark.parametrize("sign", BINARY)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_binary_operators_are_numpys(sign: str, other: Any, dtype: Any) -> None:
    operation = BINARY[sign]
    a = B.astype(dtype)
    plain = np.asarray(other) if isinstance(other, list) else other
    kinds = [Tensor(a)]
    if dtype is not np.int64:
        kinds.append(variable(a, dtype))
    for t in kinds:
        recorded = t.requires_grad and sign not in COMPARISONS
        check(operation(t, other), operation(a, plain), recorded)
        check(operation(other, t), operation(plain, a), recorded)
        constant = Tensor(plain)
        if isinstance(plain, (np.ndarray, np.generic)):
            check(operation(t, constant), operation(a, np.asarray(plain)), recorded)
            check(operation(constant, t), operation(np.asarray(plain), a), recorded)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sign", ["+", "-", "*", "/", "**"])
def test_python_numbers_do_not_change_the_dtype(sign: str, dtype: Any) -> None:
    for data in (2.0, [2.0, 3.0]):
        t = variable(data, dtype)
        for number in (2, 0.5, True):
            assert BINARY[sign](t, number).dtype == dtype
            assert BINARY[sign](number, t).dtype == dtype


def test_reflected_operators_have_gradients() -> None:
    for left in (6.0, np.float64(6.0), np.array(6.0), np.array([6.0]), [6.0]):
        for sign, slope in (("+", 1.0), ("-", -1.0), ("*", 6.0), ("/", -1.5), ("**", None)):
            x = variable([2.0])
            y = BINARY[sign](left, x)
            expected = 36.0 * np.log(6.0) if slope is None else slope
            assert tg.grad(y, x).item() == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    "left, right",
    [
        ((2, 3), (3, 4)),
        ((3,), (3, 4)),
        ((2, 3), (3,)),
        ((3,), (3,)),
        ((5, 2, 3), (3, 4)),
        ((2, 3), (5, 3, 4)),
    ],
)
def test_matmul_is_numpys(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=left), rng.normal(size=right)
    for result in (
        Tensor(a) @ Tensor(b),
        variable(a) @ variable(b),
        a @ variable(b),
        variable(a) @ b,
        a.tolist() @ variable(b),
        variable(a) @ b.tolist(),
    ):
        check(result, np.asarray(a @ b))


def test_unary_operators_are_numpys() -> None:
    for t in (Tensor(A), variable(A)):
        check(-t, -A, t.requires_grad)
        check(abs(t), np.abs(A), t.requires_grad)
        assert +t is t


def test_masks() -> None:
    t = variable(A)
    low, high = A > -1.5, A < 1.0
    check((t > -1.5) & (t < 1.0), low & high, recorded=False)
    check((t > -1.5) | (t < 1.0), low | high, recorded=False)
    check((t > -1.5) ^ (t < 1.0), low ^ high, recorded=False)
    check(~(t > -1.5), ~low, recorded=False)
    for result in (low & (t < 1.0), (t > -1.5) & high):
        check(result, low & high, recorded=False)
    check(True & (t < 1.0), high, recorded=False)
    check(low | (t < 1.0), low | high)
    check(low ^ (t < 1.0), low ^ high)
    assert_array_equal(A[(t > 0).numpy()], A[A > 0])
    check(t[t > 0], A[A > 0], recorded=True)
    with pytest.raises(TypeError):
        _ = t & t  # floating-point numbers have no bits to speak of


def test_a_column_beside_a_row_is_what_numpy_makes_of_it() -> None:
    # In arithmetic (m,) beside (m, 1) is NumPy's (m, m); a loss refuses it (tests/test_losses.py).
    check(Tensor(np.ones(3)) - np.ones((3, 1)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"\(3, 1\) and targets \(3,\)"):
        tg.mse_loss(variable(np.ones((3, 1))), np.ones(3))


@pytest.mark.parametrize("other", ["a", None, 1j, np.array(["a"]), {"a": 1}, Ellipsis], ids=repr)
@pytest.mark.parametrize("sign", ["+", "-", "*", "/", "**", "<"])
def test_operators_refuse_what_is_no_number(sign: str, other: Any) -> None:
    for x in (Tensor(A), variable(A)):
        with pytest.raises(TypeError):
            BINARY[sign](x, other)
        with pytest.raises(TypeError):
            BINARY[sign](other, x)


def test_an_operator_names_the_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"received W \(2, 3\) float64, \(4,\) float64"):
        variable(A, name="W") + np.ones(4)
    with pytest.raises(ValueError, match=r"inner sizes 4 and 2 differ"):
        np.ones((5, 4)) @ variable(A)


@pytest.mark.parametrize("sign", [operator.floordiv, operator.mod, operator.lshift])
def test_operators_that_tensors_lack(sign: Callable[[Any, Any], Any]) -> None:
    for left, right in ((variable(A), 2), (2, variable(A)), (variable(A), A), (A, variable(A))):
        with pytest.raises(TypeError):
            sign(left, right)


AUGMENTED: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.iadd,
    "-": operator.isub,
    "*": operator.imul,
    "/": operator.itruediv,
    "**": operator.ipow,
}


@pytest.mark.parametrize("sign", AUGMENTED)
def test_augmented_assignment_makes_a_new_tensor(sign: str) -> None:
    data = np.array([2.0, 3.0])
    for x in (Tensor(data), variable(data)):
        before = x
        after = AUGMENTED[sign](x, 2.0)
        assert after is not before
        assert before.data.tolist() == [2.0, 3.0]
        check(after, BINARY[sign](data, 2.0))
    assert data.tolist() == [2.0, 3.0]


def test_an_array_is_not_changed_by_a_tensor() -> None:
    data, x = np.ones(2), variable([1.0, 2.0])
    with pytest.raises(TypeError, match=r"write `a = a \+ t`"):
        data += x
    with pytest.raises(TypeError):
        data @= x
    with pytest.raises(TypeError, match="lose the gradient"):
        data[:] = x
    assert data.tolist() == [1.0, 1.0]


def test_assignment_to_an_entry_is_refused_with_a_way_out() -> None:
    for x in (Tensor([1.0, 2.0]), variable([1.0, 2.0])):
        with pytest.raises(TypeError, match=r"tg\.where\(mask, value, t\).*t\.data = array"):
            x[0] = 5.0
        with pytest.raises(TypeError):
            x[...] += 1.0
        assert x.data.tolist() == [1.0, 2.0]


# --- indexing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        np.int64(1),
        slice(None, None, -1),
        ...,
        None,
        (0, 1),
        (slice(None), [0, 0, 2]),
        [1, 0],
        [],
        np.array([[0, 1], [1, 0]]),
        (np.array([0, 1]), np.array([2, 0])),
        A > 0,
        [True, False],
        (..., None, 1),
        (0, Tensor([2, 0])),
        Tensor([1, 1]),
        Tensor(A) > 0,
        Tensor(1),
    ],
    ids=repr,
)
def test_indexing_is_numpys(index: Any) -> None:
    def plain(part: Any) -> Any:
        return part.numpy() if isinstance(part, Tensor) else part

    place = tuple(map(plain, index)) if isinstance(index, tuple) else plain(index)
    check(variable(A)[index], np.asarray(A[place]), recorded=True)


@pytest.mark.parametrize(
    "index", [5, (0, 0, 0), 1.5, "a", [0.5], Tensor([0.5]), np.ones(7, bool)], ids=repr
)
def test_a_bad_index_is_an_index_error(index: Any) -> None:
    with pytest.raises(IndexError, match=r"received \(2, 3\) float64"):
        variable(A)[index]


def test_iteration_gives_rows_with_a_gradient() -> None:
    x = variable(A)
    assert len(x) == 2
    first, second = x
    check(first, A[0], recorded=True)
    assert_array_equal(tg.grad((first * second).sum(), x), A[::-1])
    assert list(Tensor(np.ones((0, 2)))) == []
    with pytest.raises(TypeError, match="no length"):
        len(variable(1.0))
    with pytest.raises(TypeError):
        iter(variable(1.0))


# --- methods --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [
        lambda t: t.sum(),
        lambda t: t.sum(0),
        lambda t: t.sum(axis=(0, -1)),
        lambda t: t.sum(axis=1, keepdims=True),
        lambda t: t.mean(axis=0),
        lambda t: t.var(axis=1, ddof=1),
        lambda t: t.std(0),
        lambda t: t.max(1),
        lambda t: t.min(axis=None),
        lambda t: t.argmax(axis=1),
        lambda t: t.argmin(),
        lambda t: t.clip(-1.0, 1.0),
        lambda t: t.reshape(3, 2),
        lambda t: t.reshape((3, -1)),
        lambda t: t.reshape(-1),
        lambda t: t.transpose(),
        lambda t: t.transpose(1, 0),
        lambda t: t.transpose((1, 0)),
        lambda t: t.swapaxes(0, 1),
        lambda t: t.flatten(),
        lambda t: t.squeeze(),
        lambda t: t.dot(np.ones(3)),
        lambda t: t.astype(np.float32),
    ],
)
def test_methods_are_those_of_arrays(method: Callable[[Any], Any]) -> None:
    check(method(variable(A)), np.asarray(method(A)))
    assert type(method(Tensor(A))) is Tensor


@pytest.mark.parametrize(
    "name", ["abs", "cos", "exp", "sin", "square", "tanh", "relu", "sigmoid", "softmax"]
)
def test_methods_are_functions(name: str) -> None:
    check(getattr(variable(A), name)(), getattr(tg, name)(A), recorded=True)


def test_log_and_sqrt_as_methods() -> None:
    check(variable(np.abs(A)).log(), np.log(np.abs(A)), recorded=True)
    check(variable(np.abs(A)).sqrt(), np.sqrt(np.abs(A)), recorded=True)


# --- back to NumPy and Python ---------------------------------------------------------------------


def test_detach() -> None:
    x = variable([1.0, 2.0], name="X")
    for t in (x, x * 2.0, Tensor([1.0])):
        constant = t.detach()
        assert type(constant) is Tensor
        assert not constant.requires_grad
        assert constant.name == t.name
        assert np.shares_memory(constant.data, t.data)
    assert type(Parameter([1.0]).detach()) is Tensor
    assert tg.grad((x * x.detach()).sum(), x).tolist() == [1.0, 2.0]


def test_numpy_can_be_read_and_not_written() -> None:
    x = variable([1.0, 2.0])
    for t in (x, x * 2.0, Tensor([1.0, 2.0])):
        array = t.numpy()
        assert type(array) is np.ndarray
        assert_array_equal(array, t.data)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5.0
    x.numpy().copy()[0] = 5.0  # a copy can be written
    assert x.data.tolist() == [1.0, 2.0]


def test_nothing_recorded_can_be_overwritten_through_a_tensor() -> None:
    x, c = variable([1.0, 2.0]), Tensor([3.0, 4.0])
    y = x * c
    for array in (x.data, x.numpy(), c.data, c.numpy(), np.asarray(c), y.data, y.numpy()):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0.0
    assert_array_equal(tg.grad(y.sum(), x), [3.0, 4.0])


def test_asarray() -> None:
    data = np.array([1.0, 2.0])
    assert_array_equal(np.asarray(Tensor(data)), data)
    assert np.asarray(Tensor(data), np.float32).dtype == np.float32
    assert not np.shares_memory(np.array(Tensor(data)), data)
    x = variable(data)
    for recorded in (x, x * 2.0):
        for data_of_it in (recorded, [recorded, recorded], [recorded[0]]):
            for make in (np.asarray, np.array):
                with pytest.raises(TypeError, match=r"t\.numpy\(\)"):
                    make(data_of_it)


@pytest.mark.parametrize("data", [2.5, [2.5], [[2.5]]])
def test_item(data: Any) -> None:
    for t in (Tensor(data), variable(data), variable(data, np.float32)):
        assert type(t.item()) is float
        assert t.item() == float(t.detach()) == 2.5
        assert int(t.detach()) == 2
    assert type(Tensor([3]).item()) is int
    assert type(Tensor(True).item()) is bool


@pytest.mark.parametrize("data", [[1.0, 2.0], [], np.ones((2, 2))])
def test_item_of_many_is_refused(data: Any) -> None:
    for way in (Tensor.item, float, int):
        with pytest.raises(ValueError, match=r"single entry, received shape \("):
            way(Tensor(data))


def test_tolist() -> None:
    assert variable([[1.0, 2.0]]).tolist() == [[1.0, 2.0]]
    assert Tensor(3).tolist() == 3


def test_truth() -> None:
    assert Tensor([[2.0]])
    assert not Tensor(0.0)
    assert variable(1.0) > 0.5
    for data in ([1.0, 2.0], []):
        with pytest.raises(ValueError, match=r"neither true nor false; ask for \.any\(\)"):
            bool(Tensor(data))


def test_integers_are_indices() -> None:
    assert ["a", "b", "c"][Tensor(1)] == "b"
    assert ["a", "b", "c"][Tensor(np.uint8(2))] == "c"
    assert list(range(Tensor(3))) == [0, 1, 2]
    for wrong in (Tensor(1.0), variable(1.0), Tensor(True)):
        with pytest.raises(TypeError, match="only a single integer can be an index"):
            ["a", "b"][wrong]


def test_tensors_are_keys_of_their_own() -> None:
    x, twin = variable([1.0, 2.0]), variable([1.0, 2.0])
    assert len({x, twin, x}) == 2
    names = {x: "x", twin: "twin"}
    assert names[x] == "x"
    assert hash(x) == hash(x)
    x.data = np.array([5.0, 6.0])
    assert names[x] == "x"  # its data are not part of what it is as a key


# --- in print -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "t, text",
    [
        (Tensor(2.5), "Tensor(2.5)"),
        (Tensor([1.0, 2.0]), "Tensor([1., 2.])"),
        (Tensor([1, 2]), "Tensor([1, 2])"),
        (Tensor([True]), "Tensor([ True])"),
        (Tensor([1.0], dtype=np.float32), "Tensor([1.], dtype=float32)"),
        (Tensor([1.0], name="X"), "Tensor([1.], name='X')"),
        (Tensor([]), "Tensor([], shape=(0,))"),
        (Tensor(np.ones((0, 3))), "Tensor([], shape=(0, 3))"),
        (Tensor([[1.0], [2.0]]), "Tensor([[1.],\n        [2.]])"),
        (variable(1.0), "Tensor(1., requires_grad=True)"),
        (variable(1.0) * 2.0, "Tensor(2., from multiply)"),
        (variable(1.0) > 2.0, "Tensor(False)"),
        ((variable(1.0) * 2.0).named("A1"), "Tensor(2., name='A1', from multiply)"),
        (Parameter([1.0]), "Parameter([1.], requires_grad=True)"),
        (Parameter([1.0], requires_grad=False), "Parameter([1.])"),
        (
            variable([1.0], np.float32, "W"),
            "Tensor([1.], name='W', dtype=float32, requires_grad=True)",
        ),
    ],
)
def test_repr(t: Tensor, text: str) -> None:
    assert repr(t) == text
    assert str(t) == text


def test_repr_of_a_released_result() -> None:
    y = variable(1.0) * 2.0
    y.backward()
    assert repr(y) == "Tensor(2., graph released)"


def test_repr_of_a_big_one_is_short() -> None:
    text = repr(variable(np.zeros((1000, 1000))))
    assert len(text) < 500
    assert text.endswith("shape=(1000, 1000), requires_grad=True)")


def test_the_lines_of_a_repr_stand_below_each_other() -> None:
    first, second = repr(Parameter(np.ones((2, 2)))).split("\n")
    assert first.index("[1.") == second.index("[1.")


def test_format() -> None:
    assert f"{variable(2.0):.3f}" == "2.000"
    assert f"{Tensor([[2]]):03d}" == "002"
    assert f"{variable([1.0, 2.0])}" == "Tensor([1., 2.], requires_grad=True)"
    with pytest.raises(ValueError, match=r"single entry, received shape \(2,\)"):
        f"{variable([1.0, 2.0]):.3f}"


@given(st.lists(st.floats(allow_nan=False, width=32), max_size=5))
def test_a_repr_never_fails_and_names_the_class(data: list[float]) -> None:
    with np.errstate(all="ignore"):
        assert repr(Tensor(data)).startswith("Tensor(")


# --- copies ---------------------------------------------------------------------------------------

WAYS: list[Callable[[Any], Any]] = [
    copy.deepcopy,
    copy.copy,
    lambda t: pickle.loads(pickle.dumps(t)),
    lambda t: pickle.loads(pickle.dumps(t, protocol=2)),
]
COPIES = pytest.mark.parametrize("way", WAYS, ids=["deepcopy", "copy", "pickle", "pickle 2"])


@COPIES
@pytest.mark.parametrize(
    "t",
    [
        variable([1.0, 2.0], np.float32, "W"),
        variable(2.0),
        Tensor([1, 2], name="X"),
        Parameter([[1.0]]),
        Parameter([1.0], requires_grad=False),
    ],
    ids=repr,
)
def test_copies_of_variables_and_constants(way: Callable[[Any], Any], t: Tensor) -> None:
    twin = way(t)
    assert twin is not t
    assert type(twin) is type(t)
    assert repr(twin) == repr(t)
    assert (twin.requires_grad, twin.name, twin.dtype) == (t.requires_grad, t.name, t.dtype)
    if t.requires_grad:
        assert not np.shares_memory(twin.data, t.data)
        (twin * 2.0).sum().backward()
        assert t.grad is None


@COPIES
def test_copies_have_the_gradient(way: Callable[[Any], Any]) -> None:
    x = variable([1.0, 2.0])
    (x * x).sum().backward()
    twin = way(x)
    assert_array_equal(twin.grad, [2.0, 4.0])
    (twin * twin).sum().backward()
    assert_array_equal(twin.grad, [4.0, 8.0])
    assert_array_equal(x.grad, [2.0, 4.0])


@COPIES
def test_results_cannot_be_copied(way: Callable[[Any], Any]) -> None:
    y = variable([1.0, 2.0]).sum()
    with pytest.raises(TypeError, match=r"cannot be copied .* write t\.detach\(\)"):
        way(y)
    y.backward()
    with pytest.raises(TypeError, match="cannot be copied"):
        way(y)
    assert_array_equal(way(y.detach()).data, 3.0)


def test_copies_of_models() -> None:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 1, rng=1))
    x = np.ones((2, 3))
    expected = model(x).data
    for way in (WAYS[0], WAYS[2]):
        twin = way(model)
        assert_array_equal(twin(x).data, expected)
        for mine, own in zip(model.parameters(), twin.parameters(), strict=True):
            assert mine is not own
            own.data = np.zeros(own.shape)
        assert_array_equal(model(x).data, expected)


def test_a_shared_parameter_is_shared_in_the_copy() -> None:
    model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Linear(2, 2, rng=1))
    layers: list[Any] = list(model)
    layers[1].weight = layers[0].weight
    for way in (WAYS[0], WAYS[2]):
        twin: list[Any] = list(way(model))
        assert twin[0].weight is twin[1].weight
        assert twin[0].weight is not layers[0].weight


# --- backward on what was not recorded ------------------------------------------------------------


def test_backward_on_a_constant_is_refused() -> None:
    for t in (Tensor(1.0), variable(1.0).detach(), variable(1.0) > 0):
        with pytest.raises(RuntimeError, match="requires_grad=True"):
            t.backward()


def test_an_integer_tensor_with_axes_is_an_array_as_an_index() -> None:
    array, one = np.array([1.0, 2.0]), Tensor(np.array([0]))
    assert array[one].shape == variable([1.0, 2.0])[one].shape == (1,)
    assert variable([1.0])[[[]]].shape == (1, 0)
    with pytest.raises(TypeError, match=r"a single integer can be an index, received \(1,\) int64"):
        range(3)[one]


def test_no_gradient_is_lost_through_a_plain_number() -> None:
    t, array = variable(2.0) * 3.0, np.zeros(2)

    def write() -> None:
        array[0] = t

    for way in (write, lambda: array.fill(t), lambda: np.float64(t), lambda: math.exp(t)):
        # NumPy wraps the refusal in an error of its own where it writes an element.
        with pytest.raises((TypeError, ValueError)) as refused:
            way()
        assert "lose the gradient" in str(refused.value.__cause__ or refused.value)
    assert array.tolist() == [0.0, 0.0]
    assert f"{t:.2f}" == "6.00"


def test_repeated_indices_add_up_however_they_are_written() -> None:
    for index in (([0, 0],), ((0, 0),), (array_module.array("q", [0, 0]),), (Tensor([0, 0]),)):
        x = variable([1.0, 2.0, 3.0])
        x[index].sum().backward()
        assert_array_equal(x.grad, [2.0, 0.0, 0.0])
    x = variable(np.ones((2, 2)))
    x[(0, 0), (1, 1)].sum().backward()
    assert_array_equal(x.grad, [[0.0, 2.0], [0.0, 0.0]])


def test_small_whole_numbers_do_not_wrap_in_a_rule() -> None:
    x = variable([1.01])
    (x ** np.array([-128], np.int8)).sum().backward()
    assert np.asarray(x.grad) == pytest.approx(-128 * 1.01**-129)
    t = variable([0.0, 1.0])
    tg.binary_cross_entropy_with_logits(np.array([3, 200], np.uint8), t, "sum").backward()
    assert_array_equal(t.grad, [-3.0, -200.0])


def test_a_recorded_result_without_a_slope_is_refused() -> None:
    rounded = tg.primitive(lambda g, y, x: g)(lambda x: np.rint(x).astype(int))
    with pytest.raises(TypeError, match="int64, which has no gradient; give floats"):
        rounded(variable([1.4]))


def test_tensor_in_pytorchs_spelling() -> None:
    t = tg.tensor([1.0, 2.0], requires_grad=True)
    (t * t).sum().backward()
    assert t.grad is not None and t.grad.tolist() == [2.0, 4.0]
    array = np.ones(2)
    copy, shared = tg.tensor(array), tg.Tensor(array)
    array[0] = 5.0
    assert (copy.tolist(), shared.tolist()) == ([1.0, 1.0], [5.0, 1.0])
    assert tg.tensor([1, 2], dtype=np.float32, name="k").dtype == np.float32
    with pytest.raises(TypeError, match=r"t\.detach\(\)"):
        tg.tensor(t * 2)
    with pytest.raises(TypeError, match="only floating-point tensors"):
        tg.tensor([1, 2], requires_grad=True)
    module = importlib.import_module("tinygrad_edu.tensor")  # which has the same name
    assert module.Tensor is tg.Tensor and module.tensor is tg.tensor
