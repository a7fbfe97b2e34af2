"""Every differentiable function with its rule: the slides as a table.

A rule reads `lambda g, y, x: ...`: g is the error at the output, y the output, x the input. It
returns the error at the input. It is written in NumPy, which runs on arrays and tensors. A new
operation is one declaration here and one row in `tests/tools/operations.py`.

Names and meanings are NumPy's. Where a function has a kink the derivative given is named under
"Error"; it is a subgradient, or the mean of the two sides.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from .arrays import LONGEST_DOT_SUM, Array, is_matrix, ones, ones_beside, summed_to
from .capture_gate import gate
from .engine import Box, primitive
from .operation import Primitive

__all__ = [
    "abs",
    "add",
    "arctan",
    "astype",
    "average",
    "broadcast_to",
    "clip",
    "concatenate",
    "cos",
    "cosh",
    "cross",
    "cumsum",
    "diag",
    "diff",
    "divide",
    "dot",
    "einsum",
    "embedding",
    "erf",
    "exp",
    "expand_dims",
    "expm1",
    "flatten",
    "flip",
    "gelu",
    "getitem",
    "hstack",
    "inner",
    "kron",
    "leaky_relu",
    "linear",
    "log",
    "log1p",
    "log2",
    "log10",
    "log_softmax",
    "logaddexp",
    "logsumexp",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "moveaxis",
    "multiply",
    "negative",
    "one_hot",
    "outer",
    "power",
    "prod",
    "relu",
    "repeat",
    "reshape",
    "roll",
    "scatter",
    "sigmoid",
    "silu",
    "sin",
    "sinh",
    "softmax",
    "softplus",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "sum_to",
    "swapaxes",
    "take",
    "tan",
    "tanh",
    "tensordot",
    "tile",
    "trace",
    "transpose",
    "var",
    "vstack",
    "where",
]

# --- dtypes and broadcasting ----------------------------------------------------------------------


@primitive(lambda g, y, x, dtype: g)  # `unbroadcast` gives it x's own dtype
def astype(x: Any, /, dtype: Any) -> Any:
    """Return x in another floating dtype.

    Error:   the same, in the dtype of x
    Raises:  TypeError for a change between floats and other numbers: it has no derivative
    Source:  numpy.ndarray.astype
    Example:
        >>> astype(np.ones(2), np.float32).dtype
        dtype('float32')
    """
    x = np.asarray(x)
    if x.dtype.kind == "f" != np.dtype(dtype).kind:
        raise TypeError(
            f"only another floating dtype keeps the gradient, received {np.dtype(dtype)}; write "
            "t.numpy().astype(...) where none is wanted"
        )
    return x.astype(dtype, copy=False)


@primitive(lambda g, y, x, shape: g)  # `unbroadcast` sums over the copies
def broadcast_to(x: Any, /, shape: Any) -> Any:
    """Return x repeated along new axes and axes of length 1 until it has the given shape.

    Error:   the sum of the errors at the copies
    Raises:  ValueError if x cannot be broadcast to that shape
    Source:  numpy.broadcast_to
    Example:
        >>> broadcast_to(np.array([1.0, 2.0]), (2, 2))
        array([[1., 2.],
               [1., 2.]])
    """
    return np.broadcast_to(x, shape)


@primitive(lambda g, y, x, shape: broadcast_to(g, x.shape))
def sum_to(x: Any, /, shape: Any) -> Any:
    """Return x summed to a shape that can be broadcast to x's: for a bias the slides' 1ᵀE.

    Error:   g, repeated for every term of the sum
    Raises:  ValueError if that shape cannot be broadcast to x's
    Example:
        >>> sum_to(np.ones((3, 2)), (2,))
        array([3., 3.])
    """
    return summed_to(x, shape)


# --- arithmetic -----------------------------------------------------------------------------------

add = primitive(
    lambda g, y, a, b: g,
    lambda g, y, a, b: g,
    doc="""a + b, element by element.

    Error:   g at both
    Source:  numpy.add
    Example:
        >>> add(np.array([1.0, 2.0]), 1.0)
        array([2., 3.])
    """,
)(np.add)

subtract = primitive(
    lambda g, y, a, b: g,
    lambda g, y, a, b: -g,
    doc="""a − b, element by element.

    Error:   g at a, −g at b
    Source:  numpy.subtract
    Example:
        >>> subtract(np.array([1.0, 2.0]), 1.0)
        array([0., 1.])
    """,
)(np.subtract)

multiply = primitive(
    lambda g, y, a, b: g * b,
    lambda g, y, a, b: g * a,
    doc="""a ⊙ b, element by element.

    Error:   g ⊙ b at a, g ⊙ a at b
    Source:  numpy.multiply
    Example:
        >>> multiply(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
        array([3., 8.])
    """,
)(np.multiply)

divide = primitive(
    lambda g, y, a, b: g / b,
    lambda g, y, a, b: -g * y / b,
    doc="""a / b, element by element.

    Error:   g/b at a, −g ⊙ a/b² at b
    Source:  numpy.divide
    Example:
        >>> divide(np.array([1.0, 2.0]), 4.0)
        array([0.25, 0.5 ])
    """,
)(np.divide)

negative = primitive(
    lambda g, y, x: -g,
    doc="""−x.

    Error:   −g
    Source:  numpy.negative
    Example:
        >>> negative(np.array([1.0, -2.0]))
        array([-1.,  2.])
    """,
)(np.negative)


def _power_base(g: Any, y: Any, a: Any, b: Any) -> Any:
    """g · b·aᵇ⁻¹, and 0 where a = b = 0, although aᵇ⁻¹ has no value there."""
    if isinstance(b, (int, float)) and b != 0:
        return g * (b * a ** (b - 1))
    none = (b == 0) & (a == 0)
    return g * np.where(none, 0.0, b * a ** np.where(none, 1.0, b - 1.0))


@primitive(
    _power_base,
    lambda g, y, a, b: g * y * np.log(np.where(a == 0, 1.0, a)),  # 0ᵇ has slope 0 for every b > 0
)
def power(a: Any, b: Any, /) -> Any:
    """a to the power of b, element by element.

    Error:   g ⊙ b·aᵇ⁻¹ at a, g ⊙ aᵇ·log a at b (0 where a = 0, nan where a < 0)
    Source:  numpy.power
    Example:
        >>> power(np.array([1.0, 3.0]), 2)
        array([1., 9.])
    """
    # `**` is several times faster than np.power for exponents such as 2 and 0.5
    return a**b if isinstance(a, np.ndarray) else np.power(a, b)


# --- functions of one array -----------------------------------------------------------------------

exp = primitive(
    lambda g, y, x: g * y,
    doc="""eˣ.

    Error:   g ⊙ y
    Source:  numpy.exp
    Example:
        >>> exp(np.array([0.0, 1.0]))
        array([1.        , 2.71828183])
    """,
)(np.exp)

log = primitive(
    lambda g, y, x: g / x,
    doc="""The natural logarithm.

    Error:   g / x
    Source:  numpy.log
    Example:
        >>> log(np.array([1.0, 10.0]))
        array([0.        , 2.30258509])
    """,
)(np.log)

sqrt = primitive(
    lambda g, y, x: g / (2 * y),
    doc="""√x.

    Error:   g / 2y (infinite at 0)
    Source:  numpy.sqrt
    Example:
        >>> sqrt(np.array([4.0, 9.0]))
        array([2., 3.])
    """,
)(np.sqrt)

square = primitive(
    lambda g, y, x: 2 * g * x,
    doc="""x².

    Error:   2g ⊙ x
    Source:  numpy.square
    Example:
        >>> square(np.array([2.0, -3.0]))
        array([4., 9.])
    """,
)(np.square)

abs = primitive(
    lambda g, y, x: g * np.sign(x),
    doc="""|x|.

    Error:   g ⊙ sign(x), 0 at the kink
    Source:  numpy.abs
    Example:
        >>> abs(np.array([2.0, -3.0]))
        array([2., 3.])
    """,
)(np.abs)

sin = primitive(
    lambda g, y, x: g * np.cos(x),
    doc="""The sine of x, in radians.

    Error:   g ⊙ cos x
    Source:  numpy.sin
    Example:
        >>> sin(np.array([0.0, np.pi / 2]))
        array([0., 1.])
    """,
)(np.sin)

cos = primitive(
    lambda g, y, x: -g * np.sin(x),
    doc="""The cosine of x, in radians.

    Error:   −g ⊙ sin x
    Source:  numpy.cos
    Example:
        >>> cos(np.array([0.0, np.pi]))
        array([ 1., -1.])
    """,
)(np.cos)

tanh = primitive(
    lambda g, y, x: g * (1 - y * y),
    doc="""The hyperbolic tangent.

    Error:   g ⊙ (1 − y ⊙ y)
    Source:  numpy.tanh
    Example:
        >>> tanh(np.array([0.0, 1.0]))
        array([0.        , 0.76159416])
    """,
    activation=True,
)(np.tanh)

tan = primitive(
    lambda g, y, x: g * (1 + y * y),
    doc="""The tangent of x, in radians.

    Error:   g ⊙ (1 + y ⊙ y)
    Source:  numpy.tan
    Example:
        >>> tan(np.array([0.0]))
        array([0.])
    """,
)(np.tan)

arctan = primitive(
    lambda g, y, x: g / (1 + x * x),
    doc="""The angle between −π/2 and π/2 whose tangent is x.

    Error:   g / (1 + x²)
    Source:  numpy.arctan
    Example:
        >>> arctan(np.array([0.0, 1.0]))
        array([0.        , 0.78539816])
    """,
)(np.arctan)

sinh = primitive(
    lambda g, y, x: g * np.cosh(x),
    doc="""The hyperbolic sine.

    Error:   g ⊙ cosh x
    Source:  numpy.sinh
    Example:
        >>> sinh(np.array([0.0, 1.0]))
        array([0.        , 1.17520119])
    """,
)(np.sinh)

cosh = primitive(
    lambda g, y, x: g * np.sinh(x),
    doc="""The hyperbolic cosine.

    Error:   g ⊙ sinh x
    Source:  numpy.cosh
    Example:
        >>> cosh(np.array([0.0, 1.0]))
        array([1.        , 1.54308063])
    """,
)(np.cosh)

log2 = primitive(
    lambda g, y, x: g / (math.log(2) * x),
    doc="""The logarithm to base 2.

    Error:   g / (x log 2)
    Source:  numpy.log2
    Example:
        >>> log2(np.array([1.0, 8.0]))
        array([0., 3.])
    """,
)(np.log2)

log10 = primitive(
    lambda g, y, x: g / (math.log(10) * x),
    doc="""The logarithm to base 10.

    Error:   g / (x log 10)
    Source:  numpy.log10
    Example:
        >>> log10(np.array([1.0, 1000.0]))
        array([0., 3.])
    """,
)(np.log10)

logaddexp = primitive(
    lambda g, y, a, b: g * np.exp(a - y),
    lambda g, y, a, b: g * np.exp(b - y),
    doc="""log(eᵃ + eᵇ), without overflow.

    Error:   g ⊙ eᵃ⁻ʸ at a, g ⊙ eᵇ⁻ʸ at b
    Source:  numpy.logaddexp
    Example:
        >>> logaddexp(np.array([0.0]), 0.0)
        array([0.69314718])
    """,
)(np.logaddexp)

log1p = primitive(
    lambda g, y, x: g / (1 + x),
    doc="""log(1 + x), exact for small x too.

    Error:   g / (1 + x)
    Source:  numpy.log1p
    Example:
        >>> log1p(np.array([0.0, 1e-12]))
        array([0.e+00, 1.e-12])
    """,
)(np.log1p)

expm1 = primitive(
    lambda g, y, x: g * (y + 1),
    doc="""eˣ − 1, exact for small x too.

    Error:   g ⊙ (y + 1)
    Source:  numpy.expm1
    Example:
        >>> expm1(np.array([0.0, 1e-12]))
        array([0.e+00, 1.e-12])
    """,
)(np.expm1)


@primitive(lambda g, y, x: g * y * (1 - y), activation=True)
def sigmoid(x: Any, /) -> Any:
    """σ(x) = 1 / (1 + e⁻ˣ).

    Error:   g ⊙ y ⊙ (1 − y), the slides' a(1 − a)
    Source:  the chapter, "two layers"
    Example:
        >>> sigmoid(np.array([-10_000.0, 0.0, 2.0]))
        array([0.        , 0.5       , 0.88079708])
    """
    x = floating(x)
    if is_array(x) and smallest(x) > -80:  # e⁻ˣ does not overflow, which is soon asked
        return _sigmoid(x)
    with np.errstate(over="ignore"):  # where e⁻ˣ is ∞, 1/∞ = 0 is the right answer
        return _sigmoid(x)


def _sigmoid(x: Any) -> Any:
    e = np.negative(x)
    if not x.ndim:
        return np.reciprocal(np.exp(e) + 1)
    np.exp(e, e)
    e += 1
    return np.reciprocal(e, e)


def is_array(x: Any) -> bool:
    """Return True for an array of float32 or float64 with axes and entries.

    Example:
        >>> is_array(np.ones(3)), is_array(3.0)
        (True, False)
    """
    return type(x) is np.ndarray and x.size > 0 < x.ndim and x.dtype.char in "fd"


def smallest(x: Any) -> Any:
    """Return the smallest entry, nan if one is nan. On small arrays argmin is faster than min.

    Example:
        >>> smallest(np.array([2.0, 1.0]))
        1.0
    """
    return x.item(x.argmin()) if is_array(x) else np.minimum.reduce(x, None)


def largest(x: Any) -> Any:
    """Return the largest entry, nan if one is nan.

    Example:
        >>> largest(np.array([2.0, 1.0]))
        2.0
    """
    return x.item(x.argmax()) if is_array(x) else np.maximum.reduce(x, None)


@primitive(lambda g, y, x: g * (x > 0), activation=True)
def relu(x: Any, /) -> Any:
    """max(x, 0).

    Error:   g where x > 0, else 0, also at the kink
    Example:
        >>> relu(np.array([-1.0, 0.0, 2.0]))
        array([0., 0., 2.])
    """
    return np.maximum(x, 0)


@primitive(lambda g, y, x: g * sigmoid(x), activation=True)
def softplus(x: Any, /) -> Any:
    """log(1 + eˣ), a smooth relu.

    Error:   g ⊙ σ(x)
    Example:
        >>> softplus(np.array([-10_000.0, 0.0, 10_000.0]))
        array([0.00000000e+00, 6.93147181e-01, 1.00000000e+04])
    """
    x = floating(x)
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@primitive(lambda g, y, x, negative_slope: np.where(x > 0, g, negative_slope * g), activation=True)
def leaky_relu(x: Any, /, negative_slope: float = 0.01) -> Any:
    """x where x > 0, else negative_slope · x.

    Error:   g where x > 0, else negative_slope · g, also at the kink
    Source:  torch.nn.functional.leaky_relu
    Example:
        >>> leaky_relu(np.array([-1.0, 0.0, 2.0]), 0.1)
        array([-0.1,  0. ,  2. ])
    """
    return np.where(np.greater(x, 0), x, negative_slope * x)


def _silu_rule(g: Any, y: Any, x: Any) -> Any:
    s = sigmoid(x)
    return g * (s + y * (1 - s))


@primitive(_silu_rule, activation=True)
def silu(x: Any, /) -> Any:
    """x σ(x), also called swish.

    Error:   g ⊙ (σ(x) + y ⊙ (1 − σ(x)))
    Source:  torch.nn.functional.silu
    Example:
        >>> silu(np.array([-1.0, 0.0, 2.0])).round(4)
        array([-0.2689,  0.    ,  1.7616])
    """
    return x * sigmoid(x)


_2_BY_SQRT_PI = 2 / math.sqrt(math.pi)
_GELU_SCALE = math.sqrt(2 / math.pi)


@primitive(lambda g, y, x: g * (_2_BY_SQRT_PI * np.exp(-(x * x))))
def erf(x: Any, /) -> Any:
    """The error function, 2/√π ∫₀ˣ e^(−t²) dt.

    Error:   g ⊙ 2/√π e^(−x²)
    Source:  math.erf
    Example:
        >>> erf(np.array([0.0, 1.0])).round(4)
        array([0.    , 0.8427])
    """
    x = floating(x)
    return np.fromiter(map(math.erf, x.flat), x.dtype, x.size).reshape(x.shape)


def _gelu_rule(g: Any, y: Any, x: Any, approximate: str) -> Any:
    if approximate == "none":
        density = np.exp(x * x / -2 - math.log(2 * math.pi) / 2)
        return g * ((1 + erf(x * math.sqrt(0.5))) / 2 + x * density)
    t = np.tanh(_gelu_inside(x))
    return g * ((1 + t) / 2 + x / 2 * (1 - t * t) * (_GELU_SCALE * (1 + 3 * 0.044715 * x * x)))


@primitive(_gelu_rule, activation=True)
def gelu(x: Any, /, approximate: str = "none") -> Any:
    """x Φ(x), with Φ the distribution function of N(0, 1); with `approximate="tanh"`
    x(1 + tanh(√(2/π)(x + 0.044715 x³)))/2, which is close to it and faster.

    Error:   g ⊙ (Φ(x) + x φ(x))
    Raises:  ValueError for another approximation
    Source:  D. Hendrycks, K. Gimpel, "Gaussian error linear units", 2016;
             torch.nn.functional.gelu
    Example:
        >>> gelu(np.array([-1.0, 0.0, 2.0])).round(4)
        array([-0.1587,  0.    ,  1.9545])
    """
    if approximate == "none":
        return x * ((1 + erf(x * math.sqrt(0.5))) / 2)
    if approximate == "tanh":
        return x * ((1 + np.tanh(_gelu_inside(x))) / 2)
    raise ValueError(f"approximate must be 'none' or 'tanh', received {approximate!r}")


def _gelu_inside(x: Any) -> Any:
    return _GELU_SCALE * (x + 0.044715 * x * x * x)


@primitive(lambda g, y, x, a_min, a_max: g * (x == y))
def clip(x: Any, /, a_min: Any = None, a_max: Any = None) -> Any:
    """x, held between a_min and a_max; None: no bound on that side.

    Error:   g inside the bounds and on them, 0 outside
    Source:  numpy.clip
    Example:
        >>> clip(np.array([-1.0, 0.5, 2.0]), 0, 1)
        array([0. , 0.5, 1. ])
    """
    return np.clip(x, a_min, a_max)


# --- a choice between arrays ----------------------------------------------------------------------


@primitive(
    None,
    lambda g, y, condition, a, b: np.where(condition, g, 0.0),
    lambda g, y, condition, a, b: np.where(condition, 0.0, g),
)
def where(condition: Any, a: Any, b: Any, /) -> Any:
    """a where the condition holds, b elsewhere.

    Error:   g at the one that was chosen, 0 at the other
    Source:  numpy.where
    Example:
        >>> where(np.array([True, False]), 1.0, np.array([2.0, 3.0]))
        array([1., 3.])
    """
    return np.where(condition, a, b)


def _share(g: Any, mine: Any, other: Any) -> Any:
    return np.where(mine, g, np.where(other, 0.0, g / 2))


maximum = primitive(
    lambda g, y, a, b: _share(g, a > b, a < b),
    lambda g, y, a, b: _share(g, a < b, a > b),
    doc="""The larger of a and b, element by element.

    Error:   g at the larger one; half of it at each where they are equal
    Source:  numpy.maximum
    Example:
        >>> maximum(np.array([1.0, 5.0]), 3.0)
        array([3., 5.])
    """,
)(np.maximum)

minimum = primitive(
    lambda g, y, a, b: _share(g, a < b, a > b),
    lambda g, y, a, b: _share(g, a > b, a < b),
    doc="""The smaller of a and b, element by element.

    Error:   g at the smaller one; half of it at each where they are equal
    Source:  numpy.minimum
    Example:
        >>> minimum(np.array([1.0, 5.0]), 3.0)
        array([1., 3.])
    """,
)(np.minimum)

# --- products -------------------------------------------------------------------------------------


def _product(a: Any, b: Any) -> Any:
    """Return AB. For matrices NumPy's dot is called, which takes half the time of its matmul."""
    if isinstance(a, Box) or isinstance(b, Box):
        return matmul(a, b)
    try:
        if type(a) is type(b) is np.ndarray and is_matrix(a) and is_matrix(b):
            return a.dot(b)
        return np.matmul(a, b)
    except ValueError:
        raise ValueError(_mismatch(np.shape(a), np.shape(b))) from None


def _mismatch(left: tuple[int, ...], right: tuple[int, ...]) -> str:
    """Return why two shapes have no matrix product."""
    if not left or not right:
        reason = "a number is no matrix; use * for it"
    elif left[-1] != right[-2:][0]:
        reason = f"inner sizes {left[-1]} and {right[-2:][0]} differ"
    else:
        reason = "the stacks of matrices do not fit"
    return f"{left}·{right}: {reason}"


def _matmul_left(g: Any, y: Any, a: Any, b: Any) -> Any:
    """∂L/∂A = GBᵀ. A vector A counts as one row, a vector B as one column."""
    if b.ndim == 1:
        return np.expand_dims(g, -1) * b
    return _product(g if a.ndim > 1 else np.expand_dims(g, -2), b.mT)


def _matmul_right(g: Any, y: Any, a: Any, b: Any) -> Any:
    """∂L/∂B = AᵀG, the slide's XᵀE."""
    if a.ndim == 1:
        return a * g if b.ndim == 1 else np.expand_dims(a, -1) * np.expand_dims(g, -2)
    return _product(a.mT, g) if b.ndim > 1 else _product(a.mT, np.expand_dims(g, -1))[..., 0]


@primitive(
    _matmul_left,  # GBᵀ
    _matmul_right,  # AᵀG, the slide's XᵀE
)
def matmul(a: Any, b: Any, /) -> Any:
    """The matrix product AB.

    Shapes:  (m, n)·(n, k) → (m, k); vectors and stacks of matrices as in NumPy
    Error:   GBᵀ at A, AᵀG at B: what remains of the product is transposed, the error takes the
             place of what is gone
    Raises:  ValueError if the inner sizes differ
    Source:  the chapter, "gradient of the matrix product"; numpy.matmul
    Example:
        >>> matmul(np.ones((2, 3)), np.ones((3, 1)))
        array([[3.],
               [3.]])
    """
    return _product(a, b)


@primitive(
    lambda g, y, x, w, b: _matmul_left(g, y, x, w),  # EWᵀ
    lambda g, y, x, w, b: _matmul_right(g, y, x, w),  # XᵀE
    lambda g, y, x, w, b: g,  # 1ᵀE: added up over the rows, as wherever something was broadcast
)
def linear(x: Any, w: Any, b: Any, /) -> Any:
    """XW + b in one operation, as a layer has it.

    Shapes:  X (m, n), W (n, k), b (k,) → (m, k); X may be one row, or a stack of matrices
    Error:   EWᵀ at X, XᵀE at W, 1ᵀE at b
    Raises:  ValueError if the shapes do not fit
    Source:  the chapter, "two layers"; torch.nn.functional.linear, where W is transposed
    Example:
        >>> linear(np.ones((2, 3)), np.ones((3, 1)), np.array([0.5]))
        array([[3.5],
               [3.5]])
    """
    plain = type(x) is type(w) is type(b) is np.ndarray and w.ndim == 2
    if not (plain and b.shape == w.shape[1:] and x.shape[-1:] == w.shape[:1]):
        _check_linear(x, w, b)
    z = _product(x, w)
    own = plain and z.dtype is b.dtype
    return np.add(z, b, z) if own else z + b


def _check_linear(x: Any, w: Any, b: Any) -> None:
    n, k = np.shape(w) if np.ndim(w) == 2 else (None, None)
    if np.shape(b) != (k,) or np.shape(x)[-1:] != (n,):
        hint = "; W.T fits" if np.shape(x)[-1:] == (k,) and n != k else ""
        raise ValueError(
            "XW + b takes X (…, n), W (n, k) and b (k,), received "
            f"{np.shape(x)}, {np.shape(w)} and {np.shape(b)}{hint}"
        )


def dot(a: Any, b: Any) -> Any:
    """The product as `numpy.dot` defines it: of matrices, of vectors, or with a number.

    Error:   that of the products it is made of
    Raises:  ValueError if the inner sizes differ
    Source:  numpy.dot
    Example:
        >>> dot(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
        np.float64(11.0)
    """
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return multiply(a, b)
    if np.ndim(b) <= 2:
        return matmul(a, b)
    letters = "abcdefghijklmnopqrstuvwxyz"
    left, right = letters[: np.ndim(a) - 1], letters[np.ndim(a) : np.ndim(a) + np.ndim(b) - 1]
    return einsum(f"{left}Z,{right[:-1]}Z{right[-1]}->{left}{right}", a, b)


def outer(a: Any, b: Any) -> Any:
    """abᵀ: every entry of a times every entry of b, both taken as vectors.

    Error:   that of the product it is made of
    Source:  numpy.outer
    Example:
        >>> outer(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
        array([[3., 4.],
               [6., 8.]])
    """
    return multiply(reshape(a, (-1, 1)), reshape(b, (1, -1)))


def _einsum_rule(i: int, g: Any, y: Any, *operands: Any, subscripts: str) -> Any:
    """Exchange operand and output: each other factor stays, the error takes the operand's place.

    Along an index that only this operand has, or has at full length, the error is the same, which
    a factor of ones says. An index that it has twice selects a diagonal, which δ says.
    """
    terms, output = _einsum_terms(subscripts, [np.ndim(x) for x in operands])
    mine, sizes = terms[i], dict(zip(terms[i], operands[i].shape, strict=True))
    factors, names = [g], [output]
    for j, (term, operand) in enumerate(zip(terms, operands, strict=True)):
        if j != i:
            factors.append(operand)
            names.append(term)
    unused = (c for c in _LETTERS if c not in "".join(terms) + output)
    target = ""
    for c in mine:
        if c in target:
            twin = next(unused)
            factors.append(np.eye(sizes[c]))
            names.append(c + twin)
            c = twin
        target += c
    for c, n in sizes.items():
        lengths = [
            x.shape[name.index(c)] for x, name in zip(factors, names, strict=True) if c in name
        ]
        if n not in lengths:
            factors.append(np.ones(n))
            names.append(c)
    return einsum(f"{','.join(names)}->{target}", *factors)


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _einsum_terms(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """The subscripts of every operand and of the output, with `...` written as letters too."""
    left, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    hidden = [n - len(t.replace("...", "")) for t, n in zip(terms, ndims, strict=True)]
    dots = "".join([c for c in _LETTERS if c not in subscripts][: builtins.max(hidden)])
    terms = [t.replace("...", dots[len(dots) - n :]) for t, n in zip(terms, hidden, strict=True)]
    if not arrow:  # then NumPy's output has, in alphabetical order, what occurs once
        once = sorted(c for c in left if c.isalpha() and left.count(c) == 1)
        output = "..." + "".join(once)
    return terms, output.replace("...", dots)


@primitive(_einsum_rule)
def _einsum(*operands: Any, subscripts: str) -> Any:
    return np.einsum(subscripts, *operands, optimize=True)


def einsum(subscripts: str, *operands: Any) -> Any:
    """The sum of products that the subscripts describe.

    Error:   the same kind of sum, with the error in the operand's place
    Raises:  ValueError if subscripts and operands do not fit
    Source:  numpy.einsum
    Example:
        >>> einsum("mn,nk->mk", np.ones((2, 3)), np.ones((3, 1)))
        array([[3.],
               [3.]])
    """
    if not isinstance(subscripts, str):
        raise TypeError(
            f"einsum: the subscripts come first, as text such as 'mn,nk->mk', received "
            f"{type(subscripts).__name__}"
        )
    return _einsum(*operands, subscripts=subscripts)


def trace(x: Any) -> Any:
    """The sum of the diagonal of a matrix.

    Shapes:  (n, n) → ()
    Error:   g on the diagonal
    Source:  numpy.trace
    Example:
        >>> trace(np.array([[1.0, 2.0], [3.0, 4.0]]))
        np.float64(5.0)
    """
    return einsum("ii->", x)


# --- sums and other reductions --------------------------------------------------------------------


def _kept(x: Any, axis: Any) -> tuple[int, ...]:
    """The shape of x with the reduced axes kept as 1."""
    if axis is None or x.ndim == 0:  # NumPy lets a number be reduced over axis 0 or −1
        return (1,) * int(x.ndim)
    axes = normalize_axis_tuple(axis, x.ndim)
    return tuple(1 if i in axes else int(n) for i, n in enumerate(x.shape))


def _count(x: Any, axis: Any) -> int:
    """How many entries of x go into one entry of the reduction."""
    return math.prod(n for n, kept in zip(x.shape, _kept(x, axis), strict=True) if kept == 1)


def _products_before(x: Any) -> Any:
    """Return for each entry the product of those before it along axis 0; 1 for the first.

    Each step multiplies by the product of twice as many entries as the step before.
    """
    result = concatenate([np.ones((1, *x.shape[1:]), x.dtype), x])[: len(x)]
    step = 1
    while step < len(x):
        result = concatenate([result[:step], result[step:] * result[:-step]])
        step *= 2
    return result


def _product_of_others(x: Any, axis: Any) -> Any:
    """Return for each entry the product of the others along the axes, without a division."""
    reduced = _reduced_axes(x, axis)
    order = [*reduced, *(i for i in range(x.ndim) if i not in reduced)]
    front = transpose(x, order)
    rows = reshape(front, (_count(x, axis), *front.shape[len(reduced) :]))
    product = _products_before(rows) * flip(_products_before(flip(rows, 0)), 0)
    return transpose(reshape(product, front.shape), np.argsort(order).tolist())


@primitive(lambda g, y, x, axis, keepdims: g.reshape(_kept(x, axis)) * _product_of_others(x, axis))
def prod(x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Any:
    """Return the product over the given axes (an int, several, or None: all).

    Error:   g times the product of the other entries, also where some entries are 0
    Source:  numpy.prod
    Example:
        >>> prod(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
        array([3., 8.])
    """
    return np.prod(x, axis=axis, keepdims=keepdims)


def _cumsum_rule(g: Any, y: Any, x: Any, axis: int | None) -> Any:
    along = 0 if axis is None else axis
    return flip(cumsum(flip(g, along), along), along).reshape(x.shape)


@primitive(_cumsum_rule)
def cumsum(x: Any, /, axis: int | None = None) -> Any:
    """Return the sums of the first 1, 2, 3, … entries along an axis (None: flattened first).

    Error:   the sums of the last 1, 2, 3, … entries of g
    Source:  numpy.cumsum
    Example:
        >>> cumsum(np.array([1.0, 2.0, 3.0]))
        array([1., 3., 6.])
    """
    return np.cumsum(x, axis=axis)


@primitive(lambda g, y, x, axis, keepdims: broadcast_to(g.reshape(_kept(x, axis)), x.shape))
def sum(x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The sum over the given axes (an int, several, or None: all).

    Error:   g at every term
    Source:  numpy.sum
    Example:
        >>> sum(np.ones((2, 3)), axis=0)
        array([2., 2., 2.])
    """
    return np.sum(x, axis=axis, keepdims=keepdims)


@primitive(
    lambda g, y, x, axis, keepdims: broadcast_to(
        (g / _count(x, axis)).reshape(_kept(x, axis)), x.shape
    )
)
def mean(x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The mean over the given axes (an int, several, or None: all).

    Error:   g/n at every one of the n terms
    Source:  numpy.mean
    Example:
        >>> mean(np.array([[1.0, 2.0], [3.0, 6.0]]), axis=0)
        array([2., 4.])
    """
    return np.mean(x, axis=axis, keepdims=keepdims)


def _reduced_axes(x: Any, axis: Any) -> tuple[int, ...]:
    """Return the numbers of the reduced axes, counted from 0."""
    if axis is None or x.ndim == 0:
        return tuple(range(x.ndim))
    return tuple(normalize_axis_tuple(axis, x.ndim))


def _weighted_rule_x(g: Any, y: Any, x: Any, weights: Any, axis: Any, keepdims: bool) -> Any:
    w, kept = weights, _kept(x, axis)
    if w.shape != x.shape:  # one axis for each of the reduced ones, in their order
        w = transpose(w, np.argsort(_reduced_axes(x, axis)).tolist())
        w = reshape(w, [n if k == 1 else 1 for n, k in zip(x.shape, kept, strict=True)])
    total = broadcast_to(w, x.shape).sum(axis=axis, keepdims=True)
    return g.reshape(kept) * w / total


def _weighted_rule_w(g: Any, y: Any, x: Any, weights: Any, axis: Any, keepdims: bool) -> Any:
    kept = _kept(x, axis)
    error = g.reshape(kept) * (x - y.reshape(kept))
    if weights.shape == x.shape:
        return error / weights.sum(axis=axis, keepdims=True)
    axes = _reduced_axes(x, axis)
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    order = np.argsort(np.argsort(axes)).tolist()
    return transpose(error.sum(axis=rest), order) / weights.sum()


@primitive(_weighted_rule_x, _weighted_rule_w)
def _average(x: Any, weights: Any, /, axis: Any, *, keepdims: Any) -> Any:
    return np.average(x, axis=axis, weights=weights, keepdims=keepdims)


def average(x: Any, axis: Any = None, weights: Any = None, *, keepdims: bool = False) -> Any:
    """Return Σ wx / Σ w over the given axes (None: all); without weights the mean.

    Shapes:  the weights have the shape of x, or the lengths of the given axes
    Error:   g ⊙ w / Σ w at x, g ⊙ (x − y) / Σ w at the weights
    Raises:  ZeroDivisionError if the weights add up to 0; ValueError or TypeError for other shapes
    Source:  numpy.average
    Example:
        >>> average(np.array([1.0, 4.0]), weights=np.array([2.0, 1.0]))
        np.float64(2.0)
    """
    if weights is None:
        return mean(x, axis, keepdims=keepdims)
    return _average(x, weights, axis, keepdims=keepdims)


def _var_rule(g: Any, y: Any, x: Any, axis: Any, ddof: int, keepdims: bool) -> Any:
    away = x - np.mean(x, axis=axis, keepdims=True)
    free = _count(x, axis) - ddof
    factor = 2 / free if free > 0 else math.inf  # as numpy.var, which divides by 0 then
    return g.reshape(_kept(x, axis)) * away * factor


@primitive(_var_rule)
def var(x: Any, /, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    """The variance over the given axes: Σ(x − x̄)² / (n − ddof).

    Error:   g ⊙ 2(x − x̄)/(n − ddof); where ddof is n or more, inf and nan as in NumPy
    Source:  numpy.var
    Example:
        >>> var(np.array([1.0, 3.0]))
        np.float64(1.0)
    """
    return np.var(x, axis=axis, ddof=ddof, keepdims=keepdims)


def std(x: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    """The standard deviation over the given axes: √var.

    Error:   that of √var, which has no value (nan) where all entries are equal
    Source:  numpy.std
    Example:
        >>> std(np.array([1.0, 3.0]))
        np.float64(1.0)
    """
    return sqrt(var(x, axis, ddof=ddof, keepdims=keepdims))


def _extreme(g: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    kept = _kept(x, axis)
    best = x == y.reshape(kept)
    ties = astype(best, x.dtype).sum(axis=axis, keepdims=True)
    return np.where(best, g.reshape(kept) / ties, 0.0)


@primitive(_extreme)
def max(x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The largest entry over the given axes.

    Error:   g at the largest entry, in equal shares where there are several
    Raises:  ValueError for no entries at all
    Source:  numpy.max
    Example:
        >>> max(np.array([[1.0, 5.0], [4.0, 2.0]]), axis=1)
        array([5., 4.])
    """
    return np.max(x, axis=axis, keepdims=keepdims)


@primitive(_extreme)
def min(x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The smallest entry over the given axes.

    Error:   g at the smallest entry, in equal shares where there are several
    Raises:  ValueError for no entries at all
    Source:  numpy.min
    Example:
        >>> min(np.array([[1.0, 5.0], [4.0, 2.0]]), axis=1)
        array([1., 2.])
    """
    return np.min(x, axis=axis, keepdims=keepdims)


@primitive(lambda g, y, x, axis: y * (g - (g * y).sum(axis=axis, keepdims=True)), activation=True)
def softmax(x: Any, /, axis: Any = -1) -> Any:
    """aᵢ = eᶻⁱ / Σⱼ eᶻʲ along an axis.

    Error:   a ⊙ (g − Σ g ⊙ a): the slides' ∂aᵢ/∂zⱼ = aᵢ(δᵢⱼ − aⱼ), summed
    Source:  the chapter, "softmax"
    Example:
        >>> softmax(np.array([2.20, 1.39, 0.85])).round(2)
        array([0.59, 0.26, 0.15])
    """
    x = floating(x)
    e = np.exp(x - max_along(x, axis))
    e /= _sums(e, axis)
    return e


def row_sums(x: Any) -> Any:
    """Return the sums along the last axis.

    Example:
        >>> row_sums(np.ones((2, 3)))
        array([3., 3.])
    """
    return np.add.reduce(x, -1) if (one := ones_beside(x, 1)) is None else x.dot(one)


def traced_as_one_call(function: Any, *args: Any) -> Any:
    """Call function; while tracing, record it as a single opaque call.

    Example:
        >>> traced_as_one_call(row_max, np.array([[2.0, 1.0]]))
        array([[2.]])
    """
    traced = next((x for x in args if not isinstance(x, np.ndarray)), None)
    return function(*args) if traced is None else traced.traced_as_one_call(function, *args)


def max_along(x: Any, axis: Any = -1) -> Any:
    """Return the largest entries along an axis, which is kept with length 1.

    Example:
        >>> max_along(np.array([[2.0, 1.0]]))
        array([[2.]])
    """
    if type(axis) is int and axis in (-1, 1) and has_short_rows(x):
        return traced_as_one_call(row_max, x)
    return np.maximum.reduce(x, axis=axis, keepdims=True)


def has_short_rows(x: Any) -> bool:
    """Return True for a matrix of many short rows, whose maximum NumPy finds slowly.

    Example:
        >>> has_short_rows(np.ones((256, 10))), has_short_rows(np.ones((10, 256)))
        (True, False)
    """
    return is_matrix(x) and x.shape[0] >= 64 and 2 <= x.shape[1] <= 16


def row_max(x: Any, out: Any = None) -> Any:
    """Return the largest entry of each row, as a column, by comparing the columns of x.

    Example:
        >>> row_max(np.array([[2.0, 1.0], [3.0, 4.0]]))
        array([[2.],
               [4.]])
    """
    out = np.empty((len(x), 1), x.dtype) if out is None else out
    np.maximum.reduce(x.T.copy(), 0, None, out[:, 0])
    return out


def sum_all(x: Any) -> Any:
    """Return the sum of all entries.

    Example:
        >>> sum_all(np.array([1.0, 2.0]))
        np.float64(3.0)
    """
    if x.ndim and 0 < x.size == builtins.max(x.shape) <= LONGEST_DOT_SUM and x.dtype.char in "fd":
        return x.reshape(-1).dot(ones(x.size, x.dtype))  # of one row, or one column
    return np.add.reduce(x, None)


def same_layout(a: Any, b: Any) -> bool:
    """Return True for two small matrices whose ravelled dot product is Σ aᵢⱼbᵢⱼ.

    Both are C-contiguous, of one shape and one dtype.

    Example:
        >>> ones = np.ones((2, 3))
        >>> same_layout(ones, ones), same_layout(np.ones((3, 2)).T, ones)
        (True, False)
    """
    plain = is_matrix(a) and is_matrix(b) and a.shape == b.shape and 0 < a.size <= LONGEST_DOT_SUM
    return plain and a.flags.c_contiguous and b.flags.c_contiguous and a.dtype == b.dtype


def inner_of_targets(t: Any, x: Any, out: Any = None) -> Any:
    """Return Σ tᵢⱼxᵢⱼ of two matrices of the same layout, where 0 · −∞ counts as 0.

    Example:
        >>> inner_of_targets(np.array([[0.0, 1.0]]), np.array([[-np.inf, -0.5]]))
        np.float64(-0.5)
    """
    if not smallest(x) > -np.inf:
        x = np.where(t == 0, 0, x)
    return t.reshape(-1).dot(x.reshape(-1), out)


def _sums(x: Any, axis: Any) -> Any:
    """Return the sums along an axis, which is kept with length 1."""
    if x.ndim == 2 and axis in (-1, 1):
        return row_sums(x)[:, None]
    return np.add.reduce(x, axis=axis, keepdims=True)


@primitive(lambda g, y, x, axis, keepdims: g.reshape(_kept(x, axis)) * softmax(x, axis=axis))
def logsumexp(x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Any:
    """log Σ eˣ over the given axes, without overflow.

    Error:   g ⊙ softmax(x)
    Raises:  ValueError for no entries at all
    Source:  scipy.special.logsumexp
    Example:
        >>> logsumexp(np.array([10_000.0, 10_000.0])).round(4)
        np.float64(10000.6931)
    """
    x = floating(x)
    top = np.max(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)  # ∞ − ∞ has no value
    total = np.sum(np.exp(x - top), axis=axis, keepdims=True)
    result = np.log(total) + top
    return result if keepdims else np.squeeze(result, axis=axis)[()]


@primitive(lambda g, y, x, axis: g - np.exp(y) * g.sum(axis=axis, keepdims=True))
def log_softmax(x: Any, /, axis: Any = -1) -> Any:
    """log softmax(x) along an axis, without overflow or log 0.

    Error:   g − softmax(x) ⊙ Σ g
    Example:
        >>> log_softmax(np.array([0.0, 10_000.0]))
        array([-10000.,      0.])
    """
    x = floating(x)
    x = x - max_along(x, axis)
    return x - np.log(_sums(np.exp(x), axis))


# --- shapes ---------------------------------------------------------------------------------------


@primitive(lambda g, y, x, shape: g.reshape(x.shape))
def reshape(x: Any, /, shape: Any) -> Any:
    """The same entries in another shape; one length may be −1.

    Error:   g in the old shape
    Raises:  ValueError if the number of entries differs
    Source:  numpy.reshape
    Example:
        >>> reshape(np.arange(4.0), (2, -1))
        array([[0., 1.],
               [2., 3.]])
    """
    return np.reshape(x, shape)


def flatten(x: Any) -> Any:
    """All entries in one row.

    Error:   g in the old shape
    Source:  numpy.ndarray.flatten
    Example:
        >>> flatten(np.ones((2, 2)))
        array([1., 1., 1., 1.])
    """
    return reshape(x, -1)


@primitive(
    lambda g, y, x, axes: np.transpose(
        g, None if axes is None else np.argsort(normalize_axis_tuple(axes, x.ndim))
    )
)
def transpose(x: Any, /, axes: Any = None) -> Any:
    """The axes in another order (None: reversed).

    Error:   g with the axes put back
    Source:  numpy.transpose
    Example:
        >>> transpose(np.ones((2, 3))).shape
        (3, 2)
    """
    return np.transpose(x, axes)


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged.

    Source:  numpy.swapaxes
    Example:
        >>> swapaxes(np.ones((2, 3, 4)), 0, -1).shape
        (4, 3, 2)
    """
    return transpose(x, np.swapaxes(_numbered_axes(x), axis1, axis2).shape)


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Axes moved to other places, the others in order.

    Source:  numpy.moveaxis
    Example:
        >>> moveaxis(np.ones((2, 3, 4)), 0, -1).shape
        (3, 4, 2)
    """
    return transpose(x, np.moveaxis(_numbered_axes(x), source, destination).shape)


def _numbered_axes(x: Any) -> Array:
    """An array without entries whose axes have the lengths 0, 1, 2 …: what NumPy makes of it
    tells where it puts each axis."""
    return np.empty(tuple(range(np.ndim(x))))


@primitive(lambda g, y, x, axis: g.reshape(x.shape))
def expand_dims(x: Any, /, axis: Any) -> Any:
    """x with new axes of length 1.

    Error:   g in the old shape
    Source:  numpy.expand_dims
    Example:
        >>> expand_dims(np.ones(3), 0).shape
        (1, 3)
    """
    return np.expand_dims(x, axis)


@primitive(lambda g, y, x, axis: g.reshape(x.shape))
def squeeze(x: Any, /, axis: Any = None) -> Any:
    """x without its axes of length 1.

    Error:   g in the old shape
    Raises:  ValueError for an axis that is longer
    Source:  numpy.squeeze
    Example:
        >>> squeeze(np.ones((1, 3, 1))).shape
        (3,)
    """
    return np.squeeze(x, axis=axis)


@primitive(lambda g, y, x, index, shape: g[index])
def scatter(x: Any, /, index: Any, shape: Any) -> Any:
    """Zeros of the given shape, with x added at [index]: what goes back through an index.

    Error:   g[index]
    Example:
        >>> scatter(np.array([1.0, 2.0]), np.array([1, 1]), (3,))
        array([0., 3., 0.])
    """
    result = np.zeros(shape, np.asarray(x).dtype)
    parts = index if isinstance(index, tuple) else (index,)
    if all(
        part is None
        or part is ...
        or isinstance(part, (int, np.integer, np.bool_, slice))
        or getattr(part, "dtype", None) == np.dtype(bool)
        for part in parts
    ):
        result[index] = x
    else:  # places may be named several times
        np.add.at(result, index, x)
    return result


@primitive(lambda g, y, x, index: scatter(g, index, x.shape))
def getitem(x: Any, /, index: Any) -> Any:
    """x[index], for every kind of index that NumPy has.

    Error:   g where the entries came from; entries taken several times get the sum
    Raises:  IndexError
    Source:  the NumPy manual, "indexing on ndarrays"
    Example:
        >>> getitem(np.array([1.0, 2.0, 3.0]), np.array([0, 0, 2]))
        array([1., 1., 3.])
    """
    return np.asarray(x)[index]


def _taken(g: Any, y: Any, x: Any, rows: Any, n: int) -> Any:
    return embedding(rows, g)


@primitive(_taken, None)
def _add_rows(x: Any, rows: Any, /, n: int) -> Any:
    """A table of n rows, each the sum of the x that belong to it."""
    x, rows = np.asarray(x), np.asarray(rows)
    width = x.shape[rows.ndim :]
    places = rows.reshape(-1, 1) * math.prod(width) + np.arange(math.prod(width))
    total = np.bincount(places.ravel(), x.ravel(), n * math.prod(width))
    return total.astype(x.dtype, copy=False).reshape(n, *width)


@primitive(None, lambda g, y, indices, weight: _add_rows(g, indices, len(weight)))
def embedding(indices: Any, weight: Any, /) -> Any:
    """The rows of a table that the indices name: weight[indices], with indices that may vary.

    Shapes:  indices (…,), weight (n, d) → (…, d)
    Error:   at each row what arrived at its copies, added up
    Raises:  TypeError if the indices are no integers, ValueError if one is not in [0, n)
    Source:  torch.nn.functional.embedding
    Example:
        >>> embedding(np.array([1, 1, 0]), np.array([[1.0, 2.0], [3.0, 4.0]]))
        array([[3., 4.],
               [3., 4.],
               [1., 2.]])
    """
    indices, weight = np.asarray(indices), np.asarray(weight)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers, received dtype {indices.dtype}")
    if indices.size and not (indices.min() >= 0 and indices.max() < len(weight)):
        raise ValueError(f"indices must be in 0 … {_outside(indices, len(weight))}")
    return weight[indices]


def _outside(indices: Array, n: int) -> str:
    """The end of a sentence about indices of which one is not in [0, n)."""
    return (
        f"{n - 1}, received {indices.min()} … {indices.max()}"
        f"{first_place((indices < 0) | (indices >= n), indices)}"
    )


def first_place(wrong: Any, x: Any) -> str:
    """Return the first wrong entry of an array and its place, as text; "" for a number.

    Example:
        >>> x = np.array([[0.0, 1.0], [np.nan, np.nan]])
        >>> first_place(np.isnan(x), x)
        '; nan at [1, 0]'
    """
    if not np.ndim(wrong):
        return ""
    place = np.argwhere(wrong)[0].tolist()
    return f"; {x[tuple(place)]} at {place}"


def _cut(i: int, g: Any, y: Any, *arrays: Any, axis: int) -> Any:
    """The part of g that belongs to the i-th of the joined arrays."""
    stop = int(np.sum([x.shape[axis] for x in arrays[: i + 1]]))
    before = (slice(None),) * normalize_axis_index(axis, g.ndim)
    return g[(*before, slice(stop - arrays[i].shape[axis], stop))]


@primitive(_cut)
def _concatenate(*arrays: Any, axis: int) -> Any:
    return np.concatenate(arrays, axis)


def concatenate(arrays: Any, axis: int | None = 0) -> Any:
    """Arrays joined along an axis that they have (None: each flattened first).

    Error:   to each array its part of g
    Raises:  ValueError if the other axes differ
    Source:  numpy.concatenate
    Example:
        >>> concatenate([np.ones((2, 1)), np.zeros((2, 2))], axis=1)
        array([[1., 0., 0.],
               [1., 0., 0.]])
    """
    if axis is None:
        return _concatenate(*(flatten(x) for x in arrays), axis=0)
    return _concatenate(*arrays, axis=axis)


@primitive(
    lambda i, g, y, *arrays, axis: g[(slice(None),) * normalize_axis_index(axis, y.ndim) + (i,)]
)
def _stack(*arrays: Any, axis: int) -> Any:
    return np.stack(arrays, axis)


def stack(arrays: Any, axis: int = 0) -> Any:
    """Arrays of one shape, laid along a new axis.

    Error:   to each array its layer of g
    Raises:  ValueError if the shapes differ
    Source:  numpy.stack
    Example:
        >>> stack([np.ones(2), np.zeros(2)])
        array([[1., 1.],
               [0., 0.]])
    """
    return _stack(*arrays, axis=axis)


@primitive(None)
def _argsort(x: Any, /, axis: int) -> Any:
    return np.argsort(x, axis=axis, kind="stable")


def _sort_rule(g: Any, y: Any, x: Any, order: Any, axis: int) -> Any:
    return _sort(g, _argsort(order, axis), axis)


@primitive(_sort_rule, None)
def _sort(x: Any, order: Any, /, axis: int) -> Any:
    """Return the entries of x along an axis in the given order, a permutation."""
    return np.take_along_axis(x, order, axis)


def sort(x: Any, axis: int | None = -1) -> Any:
    """Return x with its entries along an axis in ascending order (None: flattened first).

    Error:   g where each entry came from; equal entries keep their order
    Source:  numpy.sort
    Example:
        >>> sort(np.array([3.0, 1.0, 2.0]))
        array([1., 2., 3.])
    """
    if axis is None:
        x, axis = flatten(x), 0
    return _sort(x, _argsort(x, axis), axis)


# --- compositions ---------------------------------------------------------------------------------


def _places(x: Any, rearrange: Callable[..., Any], *settings: Any) -> Any:
    """Return the places in the flattened x of the entries that rearrange(x, *settings) takes."""
    places = rearrange(np.arange(np.size(x)).reshape(np.shape(x)), *settings)
    if (capture := gate.get()) is not None and not any(
        isinstance(setting, np.ndarray) for setting in settings
    ):
        capture.creates_array(places)  # the same at each call of the step, as the shapes are
    return places


def flip(x: Any, axis: Any = None) -> Any:
    """Return x with the order of its entries reversed along the given axes (None: all).

    Source:  numpy.flip
    Example:
        >>> flip(np.array([1.0, 2.0, 3.0]))
        array([3., 2., 1.])
    """
    axes = normalize_axis_tuple(range(np.ndim(x)) if axis is None else axis, np.ndim(x))
    return getitem(x, tuple(slice(None, None, -1 if i in axes else 1) for i in range(np.ndim(x))))


def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Return x with its entries moved by `shift` places; those moved past the end come first.

    Source:  numpy.roll
    Example:
        >>> roll(np.array([1.0, 2.0, 3.0]), 1)
        array([3., 1., 2.])
    """
    return getitem(flatten(x), _places(x, np.roll, shift, axis))


def tile(x: Any, reps: Any) -> Any:
    """Return copies of x side by side, `reps` along each axis.

    Source:  numpy.tile
    Example:
        >>> tile(np.array([1.0, 2.0]), 2)
        array([1., 2., 1., 2.])
    """
    return getitem(flatten(x), _places(x, np.tile, reps))


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Return x with each entry `repeats` times in a row along an axis (None: flattened first).

    Source:  numpy.repeat
    Example:
        >>> repeat(np.array([1.0, 2.0]), 2)
        array([1., 1., 2., 2.])
    """
    return getitem(flatten(x), _places(x, np.repeat, repeats, axis))


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """Return the entries of x at the indices along an axis (None: flattened first).

    Raises:  IndexError for an index outside of x
    Source:  numpy.take
    Example:
        >>> take(np.array([1.0, 2.0, 3.0]), [2, 0, 0])
        array([3., 1., 1.])
    """
    if axis is None:
        return getitem(flatten(x), indices)
    return getitem(x, ((slice(None),) * normalize_axis_index(axis, np.ndim(x)) + (indices,)))


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Return the parts of x between the given indices, or so many parts of equal length.

    Raises:  ValueError if x has no such number of equal parts
    Source:  numpy.split
    Example:
        >>> split(np.array([1.0, 2.0, 3.0]), [1])
        [array([1.]), array([2., 3.])]
    """
    before = (slice(None),) * normalize_axis_index(axis, np.ndim(x))
    parts = np.split(np.arange(np.shape(x)[axis]), indices_or_sections)
    stops = np.cumsum([len(part) for part in parts]).tolist()
    starts = [stop - len(part) for part, stop in zip(parts, stops, strict=True)]
    return [getitem(x, (*before, slice(i, j))) for i, j in zip(starts, stops, strict=True)]


def hstack(arrays: Any) -> Any:
    """Return the arrays joined along axis 1; vectors and numbers along axis 0.

    Raises:  ValueError if the other axes differ
    Source:  numpy.hstack
    Example:
        >>> hstack([np.ones(2), np.zeros(1)])
        array([1., 1., 0.])
    """
    parts = [reshape(x, -1) if np.ndim(x) == 0 else x for x in arrays]
    return concatenate(parts, axis=int(np.ndim(parts[0]) > 1))


def vstack(arrays: Any) -> Any:
    """Return the arrays joined along axis 0; vectors and numbers are rows.

    Raises:  ValueError if the other axes differ
    Source:  numpy.vstack
    Example:
        >>> vstack([np.ones(2), np.zeros(2)])
        array([[1., 1.],
               [0., 0.]])
    """
    return concatenate([reshape(x, (1, -1)) if np.ndim(x) < 2 else x for x in arrays])


def diff(x: Any, n: int = 1, axis: int = -1) -> Any:
    """Return the differences xᵢ₊₁ − xᵢ along an axis, taken n times.

    Raises:  ValueError for negative n and for a number
    Source:  numpy.diff
    Example:
        >>> diff(np.array([1.0, 4.0, 9.0]))
        array([3., 5.])
    """
    if n < 0 or np.ndim(x) == 0:
        raise ValueError(
            f"diff takes n ≥ 0 and an array with an axis, received {n=}, {np.shape(x)}"
        )
    before = (slice(None),) * normalize_axis_index(axis, np.ndim(x))
    for _ in range(n):
        x = getitem(x, (*before, slice(1, None))) - getitem(x, (*before, slice(None, -1)))
    return x


def inner(a: Any, b: Any) -> Any:
    """Return the sums of products over the last axes of a and b.

    Raises:  ValueError if the last axes differ in length
    Source:  numpy.inner
    Example:
        >>> inner(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
        np.float64(11.0)
    """
    return dot(a, b if np.ndim(a) == 0 or np.ndim(b) < 2 else swapaxes(b, -1, -2))


def kron(a: Any, b: Any) -> Any:
    """Return the Kronecker product: copies of b, each multiplied by an entry of a.

    Source:  numpy.kron
    Example:
        >>> kron(np.array([1.0, 10.0]), np.array([1.0, 2.0]))
        array([ 1.,  2., 10., 20.])
    """
    n = builtins.max(np.ndim(a), np.ndim(b))
    rows, columns = ((1,) * (n - np.ndim(x)) + np.shape(x) for x in (a, b))
    left = reshape(a, [k for size in rows for k in (size, 1)])
    right = reshape(b, [k for size in columns for k in (1, size)])
    return reshape(multiply(left, right), [i * j for i, j in zip(rows, columns, strict=True)])


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Return the sums of products over pairs of axes: the last of a with the first of b, or lists.

    Raises:  ValueError if the axes differ in number or length
    Source:  numpy.tensordot
    Example:
        >>> tensordot(np.ones((2, 3)), np.ones((3, 2)), axes=1)
        array([[3., 3.],
               [3., 3.]])
    """
    n = np.ndim(a)
    if np.ndim(axes) == 0:
        axes = range(n - axes, n), range(axes)
    left, right = (normalize_axis_tuple(i, np.ndim(x)) for i, x in zip(axes, (a, b), strict=True))
    lengths = [tuple(np.shape(x)[i] for i in at) for x, at in ((a, left), (b, right))]
    if lengths[0] != lengths[1]:
        raise ValueError(f"tensordot: the summed axes have lengths {lengths[0]} and {lengths[1]}")
    columns = list(_LETTERS[n : n + np.ndim(b)])
    for i, j in zip(left, right, strict=True):
        columns[j] = _LETTERS[i]
    kept = [c for c in (*_LETTERS[:n], *columns) if c not in {_LETTERS[i] for i in left}]
    return einsum(f"{_LETTERS[:n]},{''.join(columns)}->{''.join(kept)}", a, b)


def cross(a: Any, b: Any, axis: int = -1) -> Any:
    """Return the vector products a × b of vectors of length 3 along an axis.

    Raises:  ValueError for vectors of another length
    Source:  numpy.cross
    Example:
        >>> cross(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))
        array([0., 0., 1.])
    """
    a, b = moveaxis(a, axis, -1), moveaxis(b, axis, -1)
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        raise ValueError(f"cross takes vectors of length 3, received {a.shape[-1]}, {b.shape[-1]}")
    return moveaxis(roll(a, -1, -1) * roll(b, 1, -1) - roll(a, 1, -1) * roll(b, -1, -1), -1, axis)


def diag(x: Any, k: int = 0) -> Any:
    """Return the k-th diagonal of a matrix, or the matrix that has a vector as its k-th diagonal.

    Raises:  ValueError if x is neither a vector nor a matrix
    Source:  numpy.diag
    Example:
        >>> diag(np.array([1.0, 2.0]))
        array([[1., 0.],
               [0., 2.]])
    """
    if np.ndim(x) not in (1, 2):
        raise ValueError(f"diag takes a vector or a matrix, received {np.ndim(x)} axes")
    is_vector = np.ndim(x) == 1
    rows, columns = (np.shape(x)[0] + builtins.abs(k),) * 2 if is_vector else np.shape(x)
    start = k if k >= 0 else -k * columns
    n = builtins.max(0, builtins.min(rows + builtins.min(k, 0), columns - builtins.max(k, 0)))
    places = slice(start, start + n * (columns + 1), columns + 1)  # in the flattened matrix
    if is_vector:
        return reshape(scatter(x, places, (rows * columns,)), (rows, columns))
    return getitem(flatten(x), places)


# --- without a derivative -------------------------------------------------------------------------
# Steps, whose slope is 0 wherever they have one, and questions, whose answer is no real number.
# Their results are constants; they are primitives only so that a reader of graphs can see them.

PIECEWISE_CONSTANT: dict[np.ufunc, Primitive] = {
    function: primitive(*[None] * function.nin)(function)
    for function in (
        np.sign,
        np.floor,
        np.ceil,
        np.rint,
        np.trunc,
        np.equal,
        np.not_equal,
        np.less,
        np.less_equal,
        np.greater,
        np.greater_equal,
        np.isnan,
        np.isinf,
        np.isfinite,
        np.signbit,
        np.logical_and,
        np.logical_or,
        np.logical_xor,
        np.logical_not,
        np.bitwise_and,
        np.bitwise_or,
        np.bitwise_xor,
        np.invert,
    )
}


@primitive(None)
def argmax(x: Any, /, axis: int | None = None, *, keepdims: bool = False) -> Any:
    """Where the largest entry along an axis stands, the first if there are several.

    Source:  numpy.argmax
    Example:
        >>> argmax(np.array([[1.0, 5.0], [4.0, 2.0]]), axis=1)
        array([1, 0])
    """
    return np.argmax(x, axis=axis, keepdims=keepdims)


@primitive(None)
def argmin(x: Any, /, axis: int | None = None, *, keepdims: bool = False) -> Any:
    """Where the smallest entry along an axis stands, the first if there are several.

    Source:  numpy.argmin
    Example:
        >>> argmin(np.array([[1.0, 5.0], [4.0, 2.0]]), axis=1)
        array([0, 1])
    """
    return np.argmin(x, axis=axis, keepdims=keepdims)


@primitive(None)
def one_hot(labels: Any, /, n_classes: int | None = None, dtype: Any = np.float64) -> Any:
    """For each class index the row that has a 1 in its place: Y from y.

    Shapes:  (m,) → (m, n_classes); any shape gets one more axis
    Raises:  TypeError if the labels are no integers, ValueError if one is not in [0, n_classes)
    Source:  the chapter, "targets as one-hot rows" (`to_categorical`)
    Example:
        >>> one_hot(np.array([0, 1, 3]))
        array([[1., 0., 0., 0.],
               [0., 1., 0., 0.],
               [0., 0., 0., 1.]])
    """
    is_number = isinstance(labels, (int, np.integer))
    labels = labels if hasattr(labels, "dtype") else np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"class indices must be integers, received dtype {labels.dtype}")
    n = n_classes
    if n is None:
        n = int(labels.max()) + 1 if labels.size else 0
    if labels.size and not (labels.min() >= 0 and labels.max() < n):
        raise ValueError(f"class indices must be in 0 … {_outside(labels, n)}")
    rows = (labels[..., None] == np.arange(n)).astype(dtype)
    if is_number and (capture := gate.get()) is not None:
        capture.creates_array(rows)  # a captured step has a program for each number
    return rows


def floating(x: Any, dtype: Any = None) -> Any:
    """Return x as an array of floating (or complex) numbers: unsigned integers have no −x.

    Example:
        >>> floating(np.array([1, 2], np.uint8))
        array([1., 2.])
    """
    array = x if hasattr(x, "dtype") else np.asarray(x)
    if dtype is not None:
        return array if array.dtype == dtype else array.astype(dtype)
    return array if array.dtype.kind in "fc" else array.astype(np.float64)
