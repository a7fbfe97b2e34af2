"""The definition of each operation, without the package.

`reference` is the definition in plain NumPy. It is written so that it also holds for complex
numbers (comparisons look at the real part): a step of 10⁻³⁰i then shows the derivative exactly,
see `reference.py`. `torch` says the same in PyTorch. `spellings` are the ways in which a program
may write it: `{0} {1}` are the operands, `{args}` all of them, `{s}` all settings by name, and
`{axis}` … a single one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tests.tools.functions import FUNCTIONS, MARGIN


def _anywhere(*arguments: Any, **settings: Any) -> bool:
    return True


@dataclass(frozen=True)
class Operation:
    """One operation.

    tame     whether these arguments are away from kinks, poles and ends of the domain
    slopes   for each argument whether there is a derivative by it; the last counts for all others
    """

    reference: Callable[..., Any]
    torch: Callable[..., Any]
    spellings: tuple[str, ...]
    tame: Callable[..., bool] = _anywhere
    slopes: tuple[bool, ...] = (True,)


OPERATIONS: dict[str, Operation] = {}


def _define(
    name: str,
    reference: Callable[..., Any],
    torch: Callable[..., Any],
    *spellings: str,
    tame: Callable[..., bool] = _anywhere,
    slopes: tuple[bool, ...] = (True,),
) -> None:
    OPERATIONS[name] = Operation(reference, torch, spellings, tame, slopes)


def _least(x: Any) -> float:
    return float(np.min(x, initial=np.inf))


def _most(x: Any) -> float:
    return float(np.max(x, initial=-np.inf))


def _apart(a: Any, b: Any = 0.0) -> bool:
    return _least(np.abs(np.subtract(a, b, dtype=float))) > MARGIN


# The table is laid out by hand.


# --- element by element ---------------------------------------------------------------------------

_define(
    "add",
    lambda a, b: a + b,
    lambda t, a, b: a + b,
    "tg.add({0}, {1})",
    "{0} + {1}",
    "np.add({0}, {1})",
)
_define(
    "subtract",
    lambda a, b: a - b,
    lambda t, a, b: a - b,
    "tg.subtract({0}, {1})",
    "{0} - {1}",
    "np.subtract({0}, {1})",
)
_define(
    "multiply",
    lambda a, b: a * b,
    lambda t, a, b: a * b,
    "tg.multiply({0}, {1})",
    "{0} * {1}",
    "np.multiply({0}, {1})",
)
_define(
    "divide",
    lambda a, b: a / b,
    lambda t, a, b: a / b,
    "tg.divide({0}, {1})",
    "{0} / {1}",
    "np.divide({0}, {1})",
    tame=lambda a, b: _least(np.abs(b)) > 0.1,
)
_define(
    "reciprocal",
    lambda x: 1.0 / x,
    lambda t, x: t.reciprocal(x),
    "np.reciprocal({0})",
    tame=lambda x: _least(np.abs(x)) > 0.1,
)


def _power_is_tame(a: Any, b: Any) -> bool:
    """A negative base has a power only where the exponent is an integer that stays one."""
    fixed = isinstance(b, int) or np.asarray(b).dtype.kind == "i"
    if isinstance(b, float) and b.is_integer():
        fixed = True
    base = _least(np.abs(a)) > 0.1 if fixed else _least(a) > 0.1
    return base and _most(np.abs(b)) <= 4


_define(
    "power",
    lambda a, b: np.power(a, b),
    lambda t, a, b: t.pow(a, b),
    "tg.power({0}, {1})",
    "{0} ** {1}",
    "np.power({0}, {1})",
    tame=_power_is_tame,
)


def _unary(
    name: str,
    reference: Callable[..., Any],
    torch: Callable[..., Any],
    *more: str,
    method: bool = False,
    numpy: bool = False,
    tame: Callable[..., bool] = _anywhere,
) -> None:
    spellings = [f"tg.{name}({{0}})"]
    spellings += [f"np.{name}({{0}})"] * numpy + [f"{{0}}.{name}()"] * method
    _define(name, reference, torch, *spellings, *more, tame=tame)


def _small(x: Any) -> bool:
    return _most(np.abs(x)) < 6


_define("positive", lambda x: +x, lambda t, x: +x, "+{0}", "np.positive({0})")
_unary("negative", lambda x: -x, lambda t, x: -x, "-{0}", numpy=True)
_unary("exp", np.exp, lambda t, x: t.exp(x), numpy=True, method=True, tame=_small)
_unary("expm1", np.expm1, lambda t, x: t.expm1(x), numpy=True, tame=_small)
_unary(
    "log", np.log, lambda t, x: t.log(x), numpy=True, method=True, tame=lambda x: _least(x) > 0.1
)
_unary("log1p", np.log1p, lambda t, x: t.log1p(x), numpy=True, tame=lambda x: _least(x) > -0.9)
_unary(
    "sqrt", np.sqrt, lambda t, x: t.sqrt(x), numpy=True, method=True, tame=lambda x: _least(x) > 0.1
)
_unary("square", lambda x: x * x, lambda t, x: t.square(x), numpy=True, method=True)
_unary(
    "abs",
    lambda x: np.where(x.real < 0, -x, x),
    lambda t, x: t.abs(x),
    "abs({0})",
    numpy=True,
    method=True,
    tame=_apart,
)
_unary("sin", np.sin, lambda t, x: t.sin(x), numpy=True, method=True)
_unary("cos", np.cos, lambda t, x: t.cos(x), numpy=True, method=True)
_unary(
    "tan", np.tan, lambda t, x: t.tan(x), numpy=True, tame=lambda x: _least(np.abs(np.cos(x))) > 0.2
)
_unary("arctan", np.arctan, lambda t, x: t.arctan(x), numpy=True)
_unary("sinh", np.sinh, lambda t, x: t.sinh(x), numpy=True, tame=_small)
_unary("cosh", np.cosh, lambda t, x: t.cosh(x), numpy=True, tame=_small)
_unary("log2", np.log2, lambda t, x: t.log2(x), numpy=True, tame=lambda x: _least(x) > 0.1)
_unary("log10", np.log10, lambda t, x: t.log10(x), numpy=True, tame=lambda x: _least(x) > 0.1)
_define(
    "logaddexp",
    lambda a, b: a + np.log1p(np.exp(b - a)),
    lambda t, a, b: t.logaddexp(a, b),
    "tg.logaddexp({0}, {1})",
    "np.logaddexp({0}, {1})",
    tame=lambda a, b: _small(a) and _small(b),
)
_unary("tanh", np.tanh, lambda t, x: t.tanh(x), numpy=True, method=True)
_unary("sigmoid", lambda x: 1 / (1 + np.exp(-x)), lambda t, x: t.sigmoid(x), method=True)
_unary(
    "relu", lambda x: np.where(x.real > 0, x, 0), lambda t, x: t.relu(x), method=True, tame=_apart
)
_unary(
    "softplus",
    lambda x: np.log1p(np.exp(x)),
    lambda t, x: t.nn.functional.softplus(x, threshold=1000),
)
_unary("silu", lambda x: x / (1 + np.exp(-x)), lambda t, x: t.nn.functional.silu(x))
_unary(
    "leaky_relu",
    lambda x: np.where(x.real > 0, x, 0.01 * x),
    lambda t, x: t.nn.functional.leaky_relu(x),
    tame=_apart,
)


def _erf(x: Any) -> Any:
    """2/√π e^(−x²) Σ 2ⁿ x²ⁿ⁺¹/(2n + 1)!!"""
    term = total = np.asarray(x)
    for n in range(1, 100):
        term = term * (2 * x * x / (2 * n + 1))
        total = total + term
    return 2 / np.pi**0.5 * np.exp(-x * x) * total


_unary("erf", _erf, lambda t, x: t.erf(x), tame=lambda x: _most(np.abs(x)) < 4)
_unary(
    "gelu",
    lambda x: x * (1 + _erf(x / 2**0.5)) / 2,
    lambda t, x: t.nn.functional.gelu(x),
    tame=lambda x: _most(np.abs(x)) < 5,
)


def _clip(x: Any, a_min: Any, a_max: Any) -> Any:
    if a_min is not None:
        x = np.where(x.real < a_min, a_min, x)
    return x if a_max is None else np.where(x.real > a_max, a_max, x)


def _torch_clip(torch: Any, x: Any, a_min: Any, a_max: Any) -> Any:
    def bound(b: Any) -> Any:
        return None if b is None else torch.tensor(b, dtype=torch.float64)

    return x + 0 if a_min is None and a_max is None else x.clamp(bound(a_min), bound(a_max))


_define(
    "clip",
    _clip,
    _torch_clip,
    "tg.clip({0}, {s})",
    "np.clip({0}, {a_min}, {a_max})",
    "{0}.clip({a_min}, {a_max})",
    "np.clip({0}, min={a_min}, max={a_max})",
    tame=lambda x, a_min, a_max: all(b is None or _apart(x, b) for b in (a_min, a_max)),
)
_define(
    "maximum",
    lambda a, b: np.where(np.real(a) > np.real(b), a, b),
    lambda t, a, b: t.maximum(a, b),
    "tg.maximum({0}, {1})",
    "np.maximum({0}, {1})",
    tame=_apart,
)
_define(
    "minimum",
    lambda a, b: np.where(np.real(a) < np.real(b), a, b),
    lambda t, a, b: t.minimum(a, b),
    "tg.minimum({0}, {1})",
    "np.minimum({0}, {1})",
    tame=_apart,
)
_define(
    "where",
    np.where,
    lambda t, c, a, b: t.where(c != 0, a, b),
    "tg.where({0}, {1}, {2})",
    "np.where({0}, {1}, {2})",
    tame=lambda c, a, b: np.asarray(c).dtype.kind == "b" or _apart(c),
    slopes=(False, True, True),
)

# --- steps: they have no slope, but their results are used on -------------------------------------

_SIGNS = {"greater": ">", "less": "<", "greater_equal": ">=", "less_equal": "<="}
for _name, _sign in _SIGNS.items():
    _define(
        _name,
        getattr(np, _name),
        lambda t, a, b, _name=_name: getattr(t, _name)(a, b),
        f"{{0}} {_sign} {{1}}",
        f"np.{_name}({{0}}, {{1}})",
        tame=_apart,
        slopes=(False,),
    )
_define("sign", np.sign, lambda t, x: t.sign(x), "np.sign({0})", tame=_apart, slopes=(False,))
_define(
    "floor",
    np.floor,
    lambda t, x: t.floor(x),
    "np.floor({0})",
    tame=lambda x: _apart(x, np.rint(x)),
    slopes=(False,),
)

# --- products -------------------------------------------------------------------------------------

_define(
    "matmul",
    np.matmul,
    lambda t, a, b: t.matmul(a, b),
    "tg.matmul({0}, {1})",
    "{0} @ {1}",
    "np.matmul({0}, {1})",
)
_define(
    "linear",
    lambda x, w, b: np.matmul(x, w) + b,
    lambda t, x, w, b: t.matmul(x, w) + b,
    "tg.linear({0}, {1}, {2})",
)


def _torch_dot(torch: Any, a: Any, b: Any) -> Any:
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    return torch.tensordot(a, b, dims=([-1], [max(b.ndim - 2, 0)]))


_define(
    "dot",
    np.dot,
    _torch_dot,
    "tg.dot({0}, {1})",
    "np.dot({0}, {1})",
    "{0}.dot({1})",
    # `numpy.dot` makes float64 of float32 beside a Python number, which the package does not
    tame=lambda a, b: isinstance(a, np.ndarray) and isinstance(b, np.ndarray),
)
_define(
    "outer",
    np.outer,
    lambda t, a, b: t.outer(a.reshape(-1), b.reshape(-1)),
    "tg.outer({0}, {1})",
    "np.outer({0}, {1})",
)
_define("trace", np.trace, lambda t, x: t.trace(x), "tg.trace({0})", "np.trace({0})")
_define(
    "einsum",
    lambda *x, subscripts: np.einsum(subscripts, *x),
    lambda t, *x, subscripts: t.einsum(subscripts, *x),
    "tg.einsum({subscripts}, {args})",
    "np.einsum({subscripts}, {args})",
)

# --- reductions -----------------------------------------------------------------------------------


def axes_of(x: Any, axis: Any) -> tuple[int, ...]:
    """The axes that a reduction takes away. NumPy lets a 0-d array be asked for axis 0 too."""
    if axis is None or x.ndim == 0:
        return tuple(range(x.ndim))
    return normalize_axis_tuple(axis, x.ndim)


def _var(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    away = x - np.mean(x, axis=axis, keepdims=True)
    n = prod(x.shape[i] for i in axes_of(x, axis))
    return np.sum(away * away, axis=axis, keepdims=keepdims) / (n - ddof)


def _rows(x: Any, axis: Any) -> Any:
    """Return x with the reduced axes as the last one."""
    axes = axes_of(x, axis)
    rest = [i for i in range(x.ndim) if i not in axes]
    n = prod(x.shape[i] for i in axes)
    return np.transpose(x, (*rest, *axes)).reshape(*(x.shape[i] for i in rest), n)


def _extreme(best: Callable[..., Any]) -> Callable[..., Any]:
    def reference(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        rows = _rows(x, axis)
        place = best(rows.real, axis=-1)[..., None]
        result = np.take_along_axis(rows, place, -1)[..., 0]
        return np.expand_dims(result, axes_of(x, axis)) if keepdims else result

    return reference


def _no_ties(x: Any, axis: Any = None, keepdims: bool = False) -> bool:
    return _least(np.diff(np.sort(_rows(x, axis), axis=-1), axis=-1)) > MARGIN


def _reducing(reduce: Callable[..., Any]) -> Callable[..., Any]:
    """A PyTorch reduction by NumPy's axes: there, no axis means all of them."""

    def torch_reduction(torch: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        axes = axes_of(x, axis)
        return reduce(torch, x, axes, keepdims) if axes else x + 0

    return torch_reduction


def _torch_var(torch: Any, x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    axes = axes_of(x, axis)
    if not axes:
        return x * 0
    if x.numel() == 0:  # it warns even where there are no variances at all
        return torch.sum(x, axes, keepdim=keepdims)
    return torch.var(x, axes, correction=ddof, keepdim=keepdims)


def _reduction(name: str, reference: Any, torch: Any, *more: str, tame: Any = _anywhere) -> None:
    spellings = (f"tg.{name}({{0}}, {{s}})", f"np.{name}({{0}}, {{s}})", f"{{0}}.{name}({{s}})")
    _define(name, reference, torch, *spellings, *more, tame=tame)


_reduction("sum", np.sum, _reducing(lambda t, x, axes, keep: t.sum(x, axes, keepdim=keep)))
_reduction("mean", np.mean, _reducing(lambda t, x, axes, keep: t.mean(x, axes, keepdim=keep)))


def _has_variance(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> bool:
    return bool(prod(x.shape[i] for i in axes_of(x, axis)) > ddof)


_reduction("var", _var, _torch_var, tame=_has_variance)
_reduction(
    "std",
    lambda x, **s: np.sqrt(_var(x, **s)),
    lambda t, x, **s: t.sqrt(_torch_var(t, x, **s)),
    tame=lambda x, **s: _has_variance(x, **s) and _least(_var(x, **s)) > 0.02,
)
_reduction(
    "max",
    _extreme(np.argmax),
    _reducing(lambda t, x, axes, keep: t.amax(x, axes, keep)),
    "np.amax({0}, {s})",
    tame=_no_ties,
)
_reduction(
    "min",
    _extreme(np.argmin),
    _reducing(lambda t, x, axes, keep: t.amin(x, axes, keep)),
    "np.amin({0}, {s})",
    tame=_no_ties,
)


def _logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def _softmax(x: Any, axis: Any = -1) -> Any:
    e = np.exp(x)
    return e / np.sum(e, axis=axis, keepdims=True)


def _torch_log_softmax(torch: Any, x: Any, axis: Any = -1) -> Any:
    axes = axes_of(x, axis)
    return x - (torch.logsumexp(x, axes, keepdim=True) if axes else x)


def _has_rows(x: Any, axis: Any = None, keepdims: bool = False) -> bool:
    """Return True if the axes to sum over are not empty; an empty sum has no logarithm."""
    return _small(x) and min((x.shape[i] for i in axes_of(x, axis)), default=1) > 0


_define(
    "logsumexp",
    _logsumexp,
    _reducing(lambda t, x, axes, keep: t.logsumexp(x, axes, keepdim=keep)),
    "tg.logsumexp({0}, {s})",
    tame=_has_rows,
)
_define(
    "softmax",
    _softmax,
    lambda t, x, axis=-1: t.exp(_torch_log_softmax(t, x, axis)),
    "tg.softmax({0}, {s})",
    "{0}.softmax({s})",
    tame=lambda x, axis=-1: _has_rows(x, axis),
)
_define(
    "log_softmax",
    lambda x, axis=-1: np.log(_softmax(x, axis)),
    _torch_log_softmax,
    "tg.log_softmax({0}, {s})",
    tame=lambda x, axis=-1: _has_rows(x, axis),
)
for _name in ("argmax", "argmin"):
    _define(
        _name,
        getattr(np, _name),
        lambda t, x, axis=None, keepdims=False, _name=_name: t.tensor(
            getattr(np, _name)(x.numpy(force=True), axis=axis, keepdims=keepdims)
        ),
        f"np.{_name}({{0}}, {{s}})",
        f"{{0}}.{_name}({{s}})",
        tame=_no_ties,
        slopes=(False,),
    )

# --- shapes ---------------------------------------------------------------------------------------

_define(
    "reshape",
    lambda x, shape: np.reshape(x, shape),
    lambda t, x, shape: x.reshape(shape),
    "tg.reshape({0}, {shape})",
    "np.reshape({0}, {shape})",
    "{0}.reshape({shape})",
    "{0}.reshape(*{shape})",
)
_define(
    "flatten",
    np.ravel,
    lambda t, x: x.reshape(-1),
    "tg.flatten({0})",
    "np.ravel({0})",
    "{0}.flatten()",
)


def _torch_transpose(torch: Any, x: Any, axes: Any = None) -> Any:
    return x.permute(tuple(reversed(range(x.ndim))) if axes is None else axes)


_define(
    "transpose",
    lambda x, axes=None: np.transpose(x, axes),
    _torch_transpose,
    "tg.transpose({0}, {s})",
    "np.transpose({0}, {s})",
    "{0}.transpose()",
    "{0}.transpose(*{axes})",
    "{0}.transpose({axes})",
)
_define("T", np.transpose, _torch_transpose, "{0}.T")
_define(
    "mT", lambda x: np.swapaxes(x, -1, -2), lambda t, x: x.mT, "{0}.mT", "np.matrix_transpose({0})"
)
_define(
    "swapaxes",
    np.swapaxes,
    lambda t, x, axis1, axis2: t.swapaxes(x, axis1, axis2),
    "tg.swapaxes({0}, {axis1}, {axis2})",
    "np.swapaxes({0}, {axis1}, {axis2})",
    "{0}.swapaxes({axis1}, {axis2})",
)
_define(
    "moveaxis",
    np.moveaxis,
    lambda t, x, source, destination: t.moveaxis(x, source, destination),
    "tg.moveaxis({0}, {source}, {destination})",
    "np.moveaxis({0}, {source}, {destination})",
)
_define(
    "broadcast_to",
    np.broadcast_to,
    lambda t, x, shape: t.broadcast_to(x, shape),
    "tg.broadcast_to({0}, {shape})",
    "np.broadcast_to({0}, {shape})",
)
_define(
    "expand_dims",
    np.expand_dims,
    lambda t, x, axis: x.reshape(np.expand_dims(np.empty(x.shape), axis).shape),
    "tg.expand_dims({0}, {axis})",
    "np.expand_dims({0}, {axis})",
)
_define(
    "squeeze",
    np.squeeze,
    lambda t, x, axis=None: x.reshape(np.squeeze(np.empty(x.shape), axis).shape),
    "tg.squeeze({0}, {s})",
    "np.squeeze({0}, {s})",
    "{0}.squeeze({s})",
)


def _sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    """By counting: every entry of x is added where a broadcast would have taken it from."""
    places = np.broadcast_to(np.arange(prod(shape)).reshape(shape), x.shape)
    total = np.zeros(prod(shape), x.dtype)
    np.add.at(total, places.reshape(-1), x.reshape(-1))
    return total.reshape(shape)


_define("sum_to", _sum_to, lambda t, x, shape: x.sum_to_size(shape), "tg.sum_to({0}, {shape})")
_define(
    "astype",
    # complex numbers are in the way of a derivative, which has no precision to lose
    lambda x, dtype: x if np.iscomplexobj(x) else x.astype(dtype),
    lambda t, x, dtype: x + 0,
    "tg.astype({0}, {dtype})",
    "{0}.astype({dtype})",
)


def _torch_getitem(torch: Any, x: Any, index: Any) -> Any:
    """By the places of the entries in a row, since PyTorch has neither negative steps nor all
    kinds of masks."""
    places = np.arange(prod(x.shape)).reshape(tuple(x.shape))[index].copy()
    return x.reshape(-1)[torch.tensor(places)]


def _scatter(x: Any, index: Any, shape: tuple[int, ...]) -> Any:
    total = np.zeros(shape, x.dtype)
    np.add.at(total, index, x)
    return total


def _torch_scatter(torch: Any, x: Any, index: Any, shape: tuple[int, ...]) -> Any:
    places = torch.tensor(np.arange(prod(shape)).reshape(shape)[index].copy()).reshape(-1)
    total = torch.zeros(prod(shape), dtype=torch.float64)
    return total.index_add(0, places, x.reshape(-1)).reshape(shape)


_define(
    "getitem", lambda x, index: x[index], _torch_getitem, "{0}[{index}]", "tg.getitem({0}, {s})"
)
# An index that was computed, as in t[t > 0] or t[np.argmax(t)]: an operand, not a setting.
_define("index", lambda x, i: x[i], lambda t, x, i: x[i], "{0}[{1}]", slopes=(True, False))
_define("scatter", _scatter, _torch_scatter, "tg.scatter({0}, {s})")


def _torch_concatenate(torch: Any, *x: Any, axis: int | None = 0) -> Any:
    if axis is None:
        return torch.cat([part.reshape(-1) for part in x])
    return torch.cat([*x], axis)


_define(
    "concatenate",
    lambda *x, axis=0: np.concatenate(x, axis),
    _torch_concatenate,
    "tg.concatenate([{args}], {s})",
    "np.concatenate(({args},), {s})",
)
_define(
    "stack",
    lambda *x, axis=0: np.stack(x, axis),
    lambda t, *x, axis=0: t.stack(x, axis),
    "tg.stack([{args}], {s})",
    "np.stack(({args},), {s})",
)

_define(
    "embedding",
    lambda rows, table: table[rows],
    lambda t, rows, table: table[rows.long()],
    "tg.embedding({0}, {1})",
    slopes=(False, True),
)

# --- labels and losses ----------------------------------------------------------------------------


def _one_hot(labels: Any, n_classes: int | None = None) -> Any:
    n = int(labels.max()) + 1 if n_classes is None else n_classes
    return np.eye(n)[labels]


_define(
    "one_hot",
    _one_hot,
    lambda t, x, **s: t.tensor(_one_hot(x.numpy(force=True).astype(int), **s)),
    "tg.one_hot({0}, {s})",
    tame=lambda x, **s: x.size > 0,
    slopes=(False,),
)


def _reduced(losses: Any, reduction: str) -> Any:
    if reduction == "none":
        return losses
    return np.sum(losses) / (losses.size if reduction == "mean" else 1)


def _beside(target: Any, prediction: Any) -> Any:
    """The target in the prediction's precision: float64 labels leave a float32 loss float32."""
    kinds = np.asarray(target).dtype.kind + prediction.dtype.kind
    return target if "c" in kinds else np.asarray(target, prediction.dtype)


def _mse(a: Any, t: Any, reduction: str = "mean") -> Any:
    return _reduced((a - _beside(t, a)) ** 2, reduction)


def _logistic(z: Any, t: Any, reduction: str = "mean") -> Any:
    return _reduced(np.log1p(np.exp(z)) - _beside(t, z) * z, reduction)


def _bce(a: Any, t: Any, reduction: str = "mean") -> Any:
    t = _beside(t, a)
    return _reduced(-t * np.log(a) - (1 - t) * np.log(1 - a), reduction)


def _cross_entropy(z: Any, t: Any, reduction: str = "mean") -> Any:
    if t.dtype.kind == "i":
        t = np.eye(z.shape[-1])[t]
    return _reduced(-np.sum(_beside(t, z) * np.log(_softmax(z)), axis=-1), reduction)


def _torch_cross_entropy(torch: Any, z: Any, t: Any, reduction: str = "mean") -> Any:
    k = z.shape[-1]
    rows = t.reshape(-1).long() if t.ndim < z.ndim else t.reshape(-1, k)
    loss = torch.nn.functional.cross_entropy(z.reshape(-1, k), rows, reduction=reduction)
    return loss.reshape(z.shape[:-1]) if reduction == "none" else loss


def _torch_loss(name: str) -> Callable[..., Any]:
    return lambda torch, a, t, reduction="mean": getattr(torch.nn.functional, name)(
        a, t, reduction=reduction
    )


def _same(a: Any, t: Any) -> bool:
    return bool(a.shape == t.shape)


def _rows_of_probabilities(z: Any, t: Any, reduction: str = "mean") -> bool:
    if z.ndim == 0 or z.shape[-1] == 0:
        return False
    if t.dtype.kind == "i":
        return t.shape == z.shape[:-1] and _least(t) >= 0 and _most(t) < z.shape[-1]
    return _same(z, t) and _least(t) >= 0 and _most(np.abs(t.sum(-1) - 1)) < 1e-6


_define(
    "mse_loss",
    _mse,
    _torch_loss("mse_loss"),
    "tg.mse_loss({0}, {1}, {s})",
    tame=lambda a, t, **s: _same(a, t),
)
_define(
    "binary_cross_entropy_with_logits",
    _logistic,
    _torch_loss("binary_cross_entropy_with_logits"),
    "tg.binary_cross_entropy_with_logits({0}, {1}, {s})",
    tame=lambda z, t, **s: _same(z, t) and _least(t) >= 0 and _most(t) <= 1,
)
_define(
    "binary_cross_entropy",
    _bce,
    _torch_loss("binary_cross_entropy"),
    "tg.binary_cross_entropy({0}, {1}, {s})",
    tame=lambda a, t, **s: (
        _same(a, t) and _least(a) > 0.02 and _most(a) < 0.98 and _least(t) >= 0 and _most(t) <= 1
    ),
)
_define(
    "cross_entropy",
    _cross_entropy,
    _torch_cross_entropy,
    "tg.cross_entropy({0}, {1}, {s})",
    tame=_rows_of_probabilities,
)

# --- NumPy's functions: as the shared table has them ----------------------------------------------

for _function in FUNCTIONS:
    _define(
        str(_function),
        _function.defined,
        _function.torch,
        _function.spelled("tg"),
        _function.spelled("np"),
        tame=_function.tame,
    )
