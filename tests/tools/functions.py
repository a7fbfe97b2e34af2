"""NumPy's functions on tensors, one entry each: all that the tests need to know of a function.

`operations` makes rows of its table from the entries, the fuzzer draws calls from them, the tests
of NumPy's functions compare with NumPy on arrays, the benchmarks time them beside NumPy and
PyTorch. A function with an entry here is covered by all of these.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from operator import attrgetter
from typing import Any

import numpy as np

import tinygrad_edu as tg
from tests.tools.domains import (
    Domain,
    Shape,
    Shapes,
    apart_in_size,
    positive,
    regular,
    singular,
    sizes,
    spaced,
    wide,
    with_zeros,
)

Settings = dict[str, Any]
MARGIN = 1e-3  # the distance that the fuzzer keeps from places without a derivative


def _anywhere(*arrays: Any, **settings: Any) -> bool:
    return True


@dataclass(frozen=True, eq=False)
class Function:
    """One function of NumPy.

    name      as in NumPy, for example "linalg.inv"
    shapes    shapes of the operands, in several cases
    torch     the function in PyTorch, called with the module, the operands and the settings
    settings  keyword arguments, in several cases
    define    its value on complex arrays, None: NumPy's function has it
    domain    a function that draws an operand
    corners   further domains, with zeros or ties at which the function has derivatives too
    kinks     operands without a derivative, and the gradient of the sum of the result that the
              rule gives there: (settings, operands, gradient by the first operand)
    named     the names of the last operands, if they are passed by name
    joined    True if the operands are passed as one list
    part      the part to take of a result that is a list
    tame      True for operands away from places without a derivative
    """

    name: str
    shapes: tuple[Shapes, ...]
    torch: Callable[..., Any]
    settings: tuple[Settings, ...] = ({},)
    define: Callable[..., Any] | None = None
    domain: Domain = wide
    corners: tuple[Domain, ...] = ()
    kinks: tuple[tuple[Settings, list[Any], Any], ...] = ()
    named: tuple[str, ...] = ()
    joined: bool = False
    part: int | None = None
    tame: Callable[..., bool] = _anywhere

    def __str__(self) -> str:
        return " ".join([self.name, *self.named])

    @cached_property
    def numpy_function(self) -> Callable[..., Any]:
        """The function in NumPy."""
        function: Callable[..., Any] = attrgetter(self.name)(np)
        return function

    def ours(self, *operands: Any, **settings: Any) -> Any:
        """Call this package's function."""
        return self._called(attrgetter(self.name)(tg), operands, settings)

    def numpys(self, *operands: Any, **settings: Any) -> Any:
        """Call NumPy's function, on arrays or tensors."""
        return self._called(self.numpy_function, operands, settings)

    def _called(self, function: Any, operands: tuple[Any, ...], settings: Settings) -> Any:
        n = len(operands) - len(self.named)
        named = dict(zip(self.named, operands[n:], strict=True))
        arguments = [list(operands)] if self.joined else operands[:n]
        result = function(*arguments, **named, **settings)
        return result if self.part is None else result[self.part]

    def defined(self, *operands: Any, **settings: Any) -> Any:
        """Return the value by the definition."""
        return (self.define or self.numpys)(*operands, **settings)

    def shapes_for(self, settings: Settings) -> tuple[Shapes, ...]:
        """Return the shapes that these settings can be used with."""
        found = tuple(shapes for shapes in self.shapes if self._fits(shapes, settings))
        assert found, f"{self.name}: no shapes for {settings}"
        return found

    def _fits(self, shapes: Shapes, settings: Settings) -> bool:
        rng = np.random.default_rng(0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                self.numpys(*(self.domain(rng, shape) for shape in shapes), **settings)
            except (ValueError, IndexError, TypeError, Warning):
                return False
        return True

    def spelled(self, module: str) -> str:
        """Return a call as text, with places for the operands and the settings."""
        operands = "[{args}]" if self.joined else "{args}"
        if self.named:
            first = len(self.shapes[0]) - len(self.named)
            places = [f"{{{i}}}" for i in range(first)]
            places += [f"{name}={{{first + i}}}" for i, name in enumerate(self.named)]
            operands = ", ".join(places)
        part = "" if self.part is None else f"[{self.part}]"
        return f"{module}.{self.name}({operands}, {{s}}){part}"


def _axes(x: Any, axis: Any) -> Any:
    return tuple(range(x.ndim)) if axis is None else axis


def _torch_prod(torch: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    for i in sorted(np.arange(x.ndim)[np.atleast_1d(_axes(x, axis)).astype(int)], reverse=True):
        x = torch.prod(x, int(i), keepdim=keepdims)
    return x


def _torch_average(
    torch: Any, x: Any, weights: Any = None, axis: Any = None, keepdims: bool = False
) -> Any:
    axes = tuple(np.atleast_1d(_axes(x, axis)).tolist())
    w = torch.ones_like(x) if weights is None else weights
    if w.shape != x.shape:
        at = [i % x.ndim for i in axes]
        w = w.permute([at.index(i) for i in sorted(at)])
        w = w.reshape([n if i in at else 1 for i, n in enumerate(x.shape)]).expand_as(x)
    return (x * w).sum(axes, keepdim=keepdims) / w.sum(axes, keepdim=keepdims)


def _apart(x: Any, axis: int | None) -> bool:
    """Return True if no neighbours along an axis are close to each other."""
    return bool((np.abs(np.diff(x, axis=-1 if axis is None else axis)) > MARGIN).all())


def _is_regular(x: Any) -> bool:
    return bool((np.abs(np.linalg.det(x)) > 0.5).all() and (np.abs(x) < 4).all())


def _det(x: Any) -> Any:
    """Return the sum over all permutations of their sign times a product of entries."""
    n = x.shape[-1]
    total = np.zeros(x.shape[:-2], x.dtype)
    for order in permutations(range(n)):
        sign = round(float(np.linalg.det(np.eye(n)[list(order)])))
        total = total + sign * np.prod([x[..., i, j] for i, j in enumerate(order)], axis=0)
    return total


def _system(rng: np.random.Generator, shape: Shape) -> Any:
    is_square = len(shape) > 1 and shape[-1] == shape[-2]
    return regular(rng, shape) if is_square else wide(rng, shape)


def _norm(x: Any, axis: Any = None, ord: Any = None, keepdims: bool = False) -> Any:
    """Return the norm; on complex numbers |x| is x or −x, by the sign of the real part."""
    size = np.where(np.real(x) < 0, -x, x)
    if ord in (None, "fro"):
        return np.sqrt(np.sum(size * size, axis=axis, keepdims=keepdims))
    if isinstance(axis, tuple):
        summed, other = axis if abs(ord) == 1 else axis[::-1]
        size, axis = np.sum(size, axis=summed, keepdims=True), other
        result = (np.max if ord > 0 else np.min)(size, axis=axis, keepdims=True)
        return result if keepdims else np.squeeze(result, (summed, other))
    if abs(ord) == np.inf and x.size:
        return (np.max if ord > 0 else np.min)(size, axis=axis, keepdims=keepdims)
    p = ord if np.isfinite(ord) else 1
    return np.sum(size**p, axis=axis, keepdims=keepdims) ** (1 / p)


def _has_norm(x: Any, axis: Any = None, ord: Any = None, **settings: Any) -> bool:
    """Return True if no entry is near 0 and no two sizes or sums of sizes are near each other."""
    sizes = np.abs(x)
    if not x.size or sizes.min() < 0.1:
        return False
    if not isinstance(axis, tuple):
        return ord in (None, 1, 3) or _apart(np.sort(sizes, axis), axis)
    sums = sizes.sum(axis=axis[0] if ord in (1, -1) else axis[1])
    return ord in (None, "fro") or _apart(np.sort(sums, -1), -1)


FUNCTIONS = [
    Function(
        "prod",
        sizes("", "3", "23", "232", "0", "03"),
        _torch_prod,
        ({}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, -1)}),
        corners=(with_zeros,),
        kinks=(
            ({}, [[2.0, 0.0, 3.0, 4.0]], [0.0, 24.0, 0.0, 0.0]),
            ({}, [[2.0, 0.0, 3.0, 0.0]], [0.0, 0.0, 0.0, 0.0]),
            ({"axis": 1}, [[[0.0, 5.0], [2.0, 3.0]]], [[5.0, 0.0], [3.0, 2.0]]),
        ),
    ),
    Function(
        "flip",
        sizes("", "3", "23", "20"),
        lambda t, x, axis=None: t.flip(x, np.atleast_1d(_axes(x, axis)).tolist()),
        ({}, {"axis": 0}, {"axis": (0, -1)}),
    ),
    Function(
        "roll",
        sizes("3", "23", "43"),
        lambda t, x, shift, axis=None: t.roll(x, shift, () if axis is None else axis),
        ({"shift": 1}, {"shift": -2, "axis": 0}, {"shift": 2, "axis": 1}),
    ),
    Function(
        "tile",
        sizes("3", "23"),
        lambda t, x, reps: t.tile(x, reps if isinstance(reps, tuple) else (reps,)),
        ({"reps": 2}, {"reps": (2, 1)}),
    ),
    Function(
        "repeat",
        sizes("", "3", "23"),
        lambda t, x, repeats, axis=None: t.repeat_interleave(x, repeats, axis),
        ({"repeats": 2}, {"repeats": 2, "axis": -1}),
    ),
    Function(
        "take",
        sizes("3", "23"),
        lambda t, x, indices, axis=None: (
            t.take(x, t.tensor(indices))
            if axis is None
            else t.index_select(x, axis, t.tensor(indices))
        ),
        ({"indices": [2, 0, 0]}, {"indices": [1, 0, 0], "axis": 1}),
    ),
    Function(
        "split",
        sizes("32", "24"),
        lambda t, x, indices_or_sections, axis=0: t.tensor_split(x, indices_or_sections, axis)[-1],
        ({"indices_or_sections": [1]}, {"indices_or_sections": 2, "axis": 1}),
        part=-1,
    ),
    Function(
        "diff",
        sizes("3", "23", "42", "21"),
        lambda t, x, n=1, axis=-1: t.diff(x, n, axis),
        ({}, {"n": 2, "axis": 0}),
    ),
    Function("hstack", sizes("23,21", "3,2", "22,22"), lambda t, *x: t.hstack(x), joined=True),
    Function("vstack", sizes("23,13", "3,3", "22,22"), lambda t, *x: t.vstack(x), joined=True),
    Function(
        "cumsum",
        sizes("", "3", "23", "0", "203"),
        lambda t, x, axis=None: t.cumsum(x.reshape(-1) if axis is None else x, axis or 0),
        ({}, {"axis": 0}, {"axis": -1}),
    ),
    Function(
        "sort",
        sizes("4", "23", "32", "0"),
        lambda t, x, axis=-1: t.sort(x.reshape(-1) if axis is None else x, axis or 0)[0],
        ({}, {"axis": 0}, {"axis": None}),
        domain=spaced,
        kinks=(
            ({}, [[2.0, 1.0, 2.0, 1.0]], [1.0, 1.0, 1.0, 1.0]),
            ({"axis": 0}, [[[0.0, 1.0], [0.0, -1.0]]], [[1.0, 1.0], [1.0, 1.0]]),
        ),
        tame=lambda x, axis=-1: _apart(np.sort(x, axis), axis),
    ),
    Function(
        "diag",
        sizes("3", "1", "0", "23", "33", "42"),
        lambda t, x, k=0: t.diag(x, k),
        ({}, {"k": 1}, {"k": -2}),
    ),
    Function(
        "tensordot",
        sizes("23,32", "23,23", "232,232"),
        lambda t, a, b, axes=2: t.tensordot(a, b, axes),
        ({}, {"axes": 1}, {"axes": ([0], [0])}, {"axes": ([1, 0], [1, 0])}),
    ),
    Function(
        "cross",
        sizes("3,3", "23,23", "23,3", "32,32"),
        lambda t, a, b, axis=-1: t.linalg.cross(*t.broadcast_tensors(a, b), dim=axis),
        ({}, {"axis": 0}),
    ),
    Function(
        "average",
        sizes("3", "23", "232"),
        _torch_average,
        ({}, {"axis": 0}, {"axis": -1, "keepdims": True}),
    ),
    Function(
        "average",
        sizes("3,3", "23,23", "23,2", "23,3", "232,23", "232,32", "232,232"),
        _torch_average,
        ({}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (1, 0)}, {"axis": (1, 2)}),
        domain=positive,
        named=("weights",),
        tame=lambda x, w, **s: bool((np.asarray(w) > 0.2).all()),
    ),
    Function(
        "linalg.inv",
        sizes("22", "33", "11", "233"),
        lambda t, x: t.linalg.inv(x),
        domain=regular,
        tame=_is_regular,
    ),
    Function(
        "linalg.det",
        sizes("22", "33", "11", "233"),
        lambda t, x: t.linalg.det(x),
        define=_det,
        domain=regular,
        corners=(singular, with_zeros),
        kinks=(({}, [[[1.0, 2.0], [2.0, 4.0]]], [[4.0, -2.0], [-2.0, 1.0]]),),
        tame=_is_regular,
    ),
    Function(
        "linalg.solve",
        sizes("22,2", "33,33", "33,31", "233,3", "233,232"),
        lambda t, a, b: t.linalg.solve(a, b) if b.ndim > 1 else t.linalg.inv(a) @ b,
        domain=_system,
        tame=lambda a, b: _is_regular(a),
    ),
    Function(
        "linalg.norm",
        sizes("3", "23", "232", "0"),
        lambda t, x, axis=None, ord=None, keepdims=False: (
            t.linalg.norm(x, ord, axis, keepdims)
            if axis is not None or x.ndim == 1
            else t.sqrt((x * x).sum(list(range(x.ndim)), keepdim=keepdims))
        ),
        (
            {},
            {"axis": 0, "keepdims": True},
            {"axis": -1, "ord": 1},
            {"axis": 0, "ord": 3},
            {"axis": 0, "ord": np.inf},
            {"axis": -1, "ord": -np.inf},
            {"axis": (0, 1), "ord": "fro"},
            {"axis": (0, 1), "ord": 1},
            {"axis": (0, 1), "ord": -1, "keepdims": True},
            {"axis": (1, 0), "ord": np.inf},
        ),
        define=_norm,
        domain=apart_in_size,
        kinks=(
            ({}, [[0.0, 0.0]], [0.0, 0.0]),
            ({"axis": 1}, [[[0.0, 0.0], [3.0, 4.0]]], [[0.0, 0.0], [0.6, 0.8]]),
            ({"ord": 3}, [[0.0, 0.0]], [0.0, 0.0]),
            ({"ord": 1}, [[0.0, -2.0]], [0.0, -1.0]),
            ({"ord": np.inf}, [[2.0, -2.0]], [0.5, -0.5]),
            ({"ord": 0}, [[2.0, 0.0]], [0.0, 0.0]),
            ({"axis": (0, 1), "ord": 1}, [[[0.0, 1.0], [0.0, -1.0]]], [[0.0, 1.0], [0.0, -1.0]]),
        ),
        tame=_has_norm,
    ),
    Function("inner", sizes("3,3", "0,0", "23,43", "2,2"), lambda t, a, b: t.inner(a, b)),
    Function("kron", sizes("23,22", "2,3", "22,2", "3,2"), lambda t, a, b: t.kron(a, b)),
]

BY_NAME = {str(function): function for function in FUNCTIONS}
