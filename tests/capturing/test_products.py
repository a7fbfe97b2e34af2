"""Matrix products as machine code: every shape and layout, large and small, and past the range."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.tools.interpreted import interpreted
from tinygrad_edu.capturing import kernels

Product = Callable[[Any, Any], Any]


@pytest.fixture(params=["python", "numba"])
def backend(request: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Kernels run by Python, and compiled."""
    if request.param == "numba":
        pytest.importorskip("numba")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    else:
        monkeypatch.setattr("tinygrad_edu.capturing.native.compiled", interpreted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield request.param


def drawn(*shapes: tuple[int, ...], dtype: str) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def check(function: Callable[..., Any], *arrays: Any, exactly: bool = False) -> None:
    """Hold three calls of the native step against the function; each result is a list."""
    want = [x.data for x in function(*map(tg.Tensor, arrays))]
    step = tg.compile(function, backend="numba")
    tolerance = 1e-4 if arrays[0].dtype == np.float32 else 1e-10
    for _ in range(3):
        for found, exact in zip(step(*arrays), want, strict=True):
            if exactly:
                np.testing.assert_array_equal(found.data, exact)
            else:
                scale = np.abs(exact).max(initial=0)
                np.testing.assert_allclose(found.data, exact, tolerance, tolerance * scale)
    assert step.native == [True]


# --- one row, one column --------------------------------------------------------------------------

# w is a column of 40, m a matrix of 40 × 40, s a stack of three of them.
NARROW: dict[str, Callable[[Any, Any, Any], Any]] = {
    "transposed column times matrix": lambda w, m, s: w.T @ m,
    "matrix times column": lambda w, m, s: m @ w,
    "transposed times column": lambda w, m, s: m.T @ w,
    "row times transposed": lambda w, m, s: w.T @ m.T,
    "column times row": lambda w, m, s: w @ w.T,
    "row times column": lambda w, m, s: w.T @ w,
    "a column of the matrix, transposed": lambda w, m, s: m[:, 3:4].T @ m,
    "a row of the matrix": lambda w, m, s: m[3:4] @ m,
    "every second row and column": lambda w, m, s: m[::2, 1:2].T @ m[::2],
    "backwards": lambda w, m, s: w[::-1].T @ m[:, ::-1],
    "a column of the matrix, times its row": lambda w, m, s: m[:, 1:2] @ m[2:3],
    "with a bias": lambda w, m, s: w.T @ m + m[0],
    "with a number as bias": lambda w, m, s: m @ w + w[0],
    "a vector": lambda w, m, s: m[:, 0] @ m,
    "a stack times a column": lambda w, m, s: s @ w,
    "a row times a stack": lambda w, m, s: w.T @ s,
    "a stack of columns, transposed": lambda w, m, s: s[:, :, :1].transpose(0, 2, 1) @ s,
    "broadcast": lambda w, m, s: np.broadcast_to(w[0], (1, 40)) @ m,
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("largest", [1, 2**24], ids=["by NumPy", "in registers"])
def test_one_row_or_one_column(
    dtype: str, largest: int, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "LARGEST", largest)
    arrays = drawn((40, 1), (40, 40), (3, 40, 40), dtype=dtype)
    check(lambda w, m, s: [product(w, m, s) for product in NARROW.values()], *arrays)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_product_just_above_the_limit(dtype: str, backend: str) -> None:
    w, m = drawn((4097, 1), (4097, 4096), dtype=dtype)
    assert m.size > kernels.LARGEST
    check(lambda w, m: [w.T @ m], w, m)


def test_large_products_are_those_of_numpy_to_the_last_digit(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "LARGEST", 1)
    a, b = drawn((30, 40), (40, 50), dtype="float64")
    check(lambda a, b: [a @ b + b[0], b.T @ a.T, (b[:, :30] @ a)], a, b, exactly=True)


# --- past the range of the dtype ------------------------------------------------------------------

SIZES = [(1, 2, 1), (2, 2, 2), (1, 4, 1), (3, 5, 7), (8, 8, 8), (1, 32, 16), (16, 32, 1), (4, 1, 4)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_product_that_overflows_is_infinite_or_nan_where_eager_is(
    dtype: str, backend: str
) -> None:
    # Which sums are infinite, and which NaN, depends on the order of their terms.
    rng = np.random.default_rng(0)
    large = 1e200 if dtype == "float64" else 1e25
    pairs = []
    for m, k, n in SIZES:
        signs = rng.choice([1, -1, 2, 0], size=(m, k)), rng.choice([1, -1, 1e-3], size=(k, n))
        pairs.append([(large * x).astype(dtype) for x in signs])
        pairs.append([(large * (abs(x) + 1)).astype(dtype) for x in signs])
    biases = [np.full(b.shape[1], x, dtype) for x in (1, -np.inf) for _, b in pairs]

    def function(*arrays: Any) -> list[Any]:
        found = []
        for i in range(len(pairs)):
            a, b, small, infinite = arrays[i :: len(pairs)]
            found += [a @ b, b.T @ a.T, a @ b + small, a @ b + infinite]
        return found

    given = [*(a for a, _ in pairs), *(b for _, b in pairs), *biases]
    with np.errstate(all="ignore"):
        check(function, *given, exactly=True)


def test_nan_and_infinite_operands_give_what_they_give_eagerly(backend: str) -> None:
    a, b = drawn((5, 6), (6, 17), dtype="float64")
    a[0, 0], a[1, 1], b[2, 3], b[4, 5] = np.nan, np.inf, -np.inf, np.nan
    check(lambda a, b: [a @ b, a @ b + b[0], a @ b[:, :1], a[:1] @ b], a, b)
