"""Linear algebra: norms, inverses, determinants and systems of equations, as in numpy.linalg.

Matrices are the last two axes; the axes before them are a stack.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import ops
from .engine import primitive

__all__ = ["det", "inv", "norm", "solve"]


@primitive(lambda g, y, x: -(y.mT @ g @ y.mT))
def inv(x: Any, /) -> Any:
    """Return the inverse X⁻¹.

    Shapes:  (…, n, n) → (…, n, n)
    Error:   −YᵀGYᵀ
    Raises:  numpy.linalg.LinAlgError for a singular matrix or one that is not square
    Source:  numpy.linalg.inv
    Example:
        >>> inv(np.array([[2.0, 0.0], [0.0, 4.0]]))
        array([[0.5 , 0.  ],
               [0.  , 0.25]])
    """
    return np.linalg.inv(x)


def _solve_right(g: Any, y: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:
        return solve(a.mT, np.expand_dims(g, -1))[..., 0]
    return solve(a.mT, g)


def _solve_left(g: Any, y: Any, a: Any, b: Any) -> Any:
    error = _solve_right(g, y, a, b)
    if b.ndim == 1:
        return -(np.expand_dims(error, -1) * np.expand_dims(y, -2))
    return -(error @ y.mT)


@primitive(_solve_left, _solve_right)
def solve(a: Any, b: Any, /) -> Any:
    """Return the solution X of AX = B.

    Shapes:  A (…, n, n), B (n,) or (…, n, k) → (…, n) or (…, n, k)
    Error:   E = A⁻ᵀG at B, −EXᵀ at A
    Raises:  numpy.linalg.LinAlgError for a singular matrix or one that is not square
    Source:  numpy.linalg.solve
    Example:
        >>> solve(np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([2.0, 2.0]))
        array([1. , 0.5])
    """
    return np.linalg.solve(a, b)


def _turns(x: Any) -> tuple[Any, Any, Any, Any]:
    """Return U, s, Vᵀ and det U · det V, which is ±1, with X = U diag(s) Vᵀ."""
    u, s, vt = np.linalg.svd(x)
    return u, s, vt, np.sign(np.linalg.det(u) * np.linalg.det(vt))[..., None, None]


def _products_without_two(s: Any) -> Any:
    """Return the matrix P with Pᵢⱼ = ∏ sₖ over k other than i and j; 0 on the diagonal."""
    n = s.shape[-1]
    result = np.zeros((*s.shape, n), s.dtype)
    for i in range(n):
        for j in range(n):
            if i != j:
                rest = [k for k in range(n) if k not in (i, j)]
                result[..., i, j] = s[..., rest].prod(axis=-1)
    return result


def _third(g: Any, y: Any, *operands: Any) -> Any:
    raise NotImplementedError(
        "linalg.det has derivatives of the first two orders here; for a third write the "
        "determinant with products of entries"
    )


@primitive(_third, _third)
def _cofactors_error(g: Any, x: Any, /) -> Any:
    """Return the error at X when G is the error at the cofactors of X."""
    u, s, vt, sign = _turns(x)
    inner = u.mT @ g @ vt.mT
    p = _products_without_two(s)
    diagonal = (p @ np.einsum("...ii->...i", inner)[..., None])[..., 0]
    middle = diagonal[..., None] * np.eye(s.shape[-1], dtype=s.dtype) - (p * inner).mT
    return sign * (u @ middle @ vt)


@primitive(lambda g, y, x: _cofactors_error(g, x))
def _cofactors(x: Any, /) -> Any:
    """Return the cofactors of X, from its singular values: no division, X may be singular."""
    u, s, vt, sign = _turns(x)
    n = s.shape[-1]
    without_one = [s[..., [k for k in range(n) if k != i]].prod(axis=-1) for i in range(n)]
    return sign * ((u * np.stack(without_one, -1)[..., None, :]) @ vt) if n else np.zeros_like(x)


@primitive(lambda g, y, x: g[..., None, None] * _cofactors(x))
def det(x: Any, /) -> Any:
    """Return the determinant.

    Shapes:  (…, n, n) → (…,)
    Error:   g times the cofactors of X, also for a singular X
    Raises:  numpy.linalg.LinAlgError for a matrix that is not square; NotImplementedError for a
             derivative of third order
    Source:  numpy.linalg.det
    Example:
        >>> det(np.array([[2.0, 0.0], [0.0, 4.0]])).round(12)
        np.float64(8.0)
    """
    return np.linalg.det(x)


def _root(total: Any, order: float) -> Any:
    """Return total^(1/order), with the derivative 0 at 0, where it has none."""
    none = np.equal(total, 0)
    safe = ops.where(none, 1.0, total)
    return ops.where(none, 0.0, ops.sqrt(safe) if order == 2 else ops.power(safe, 1 / order))


def _vector_norm(x: Any, ord: Any, axis: Any, keepdims: bool) -> Any:
    """Return the norm of the entries along one or several axes, as of one vector."""
    size = ops.abs(x)
    if ord == np.inf:
        largest = ops.max if np.size(x) else ops.sum  # of no entries it is 0
        return largest(size, axis, keepdims=keepdims)
    if ord == -np.inf:
        return ops.min(size, axis, keepdims=keepdims)
    if ord == 0:
        counted = ops.where(np.not_equal(x, 0), ops.multiply(x, 0.0) + 1.0, 0.0)
        return ops.sum(counted, axis, keepdims=keepdims)
    if ord == 1:
        return ops.sum(size, axis, keepdims=keepdims)
    if ord == 2:
        return _root(ops.sum(ops.square(x), axis, keepdims=keepdims), 2)
    return _root(ops.sum(ops.power(size, ord), axis, keepdims=keepdims), ord)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the norm of a vector or matrix.

    Vectors (one axis):    ord None or 2 (√Σx²), 1, inf, −inf, 0 (entries other than 0), another p
    Matrices (two axes):   ord None or "fro" (√Σx²), 1 and −1 (largest and smallest sum of a
                           column), inf and −inf (of a row)

    With neither ord nor axis √Σx² of all entries.

    Error:   that of the operations it is made of; 0 where the norm is 0
    Raises:  ValueError for another ord: norms by singular values have no rule here
    Source:  numpy.linalg.norm
    Example:
        >>> norm(np.array([3.0, 4.0]))
        array(5.)
    """
    ndim = np.ndim(x)
    if axis is None and ord is None:
        return _vector_norm(x, 2, None, keepdims)
    axes = range(ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    if len(axes) == 1 and not isinstance(ord, str):
        return _vector_norm(x, 2 if ord is None else ord, axes[0], keepdims)
    if len(axes) == 2 and ord in (None, "fro", "f"):
        return _vector_norm(x, 2, tuple(axes), keepdims)
    if len(axes) != 2 or ord not in (1, -1, np.inf, -np.inf):
        raise ValueError(
            f"norm of {len(axes)} axes with ord={ord!r}: expected None, 0, inf, -inf or a number p "
            "for one axis, None, 'fro', 1, -1, inf or -inf for two; others need singular values, "
            "which have no rule here"
        )
    row, column = (i % ndim for i in axes)
    summed, other = (row, column) if abs(ord) == 1 else (column, row)
    sums = ops.sum(ops.abs(x), summed, keepdims=True)
    best = (ops.max if ord > 0 else ops.min)(sums, other, keepdims=True)
    return best if keepdims else ops.squeeze(best, (row, column))
