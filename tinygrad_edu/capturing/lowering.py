"""Lowering: an operation as the NumPy calls that it is made of.

Most operations are one NumPy function, which writes into memory that it is given (`out=`). Those
of this package that are several, such as the sigmoid, are run once on a `Traced` array that notes
each call. So there is one text of the sigmoid, the one in `ops`, and a program shares what the
cross-entropy and its rule both compute. What cannot be followed, a custom operation for instance,
is called as it is, at each run.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .. import ops
from ..arrays import Array, is_matrix, ones_beside
from ..operation import Op
from ..ops import sum_to
from .calls import OUT, Nested, Value, expect, strides_of_new
from .program import Program

PACKAGE = __name__.partition(".")[0]
DOT = np.ndarray.dot


class Unfollowed(Exception):
    """This operation cannot be followed: call it as it is."""


def lower(
    program: Program, op: Op, args: Sequence[Any], raw: Sequence[Any], settings: Any, result: Any
) -> Value:
    """The value of one operation in a program.

    args      values and Python numbers
    raw       what these were when the operation was traced, and
    result    what it gave
    settings  may have values inside
    """
    if isinstance(op.forward, np.ufunc):
        return _ufunc(program, op.forward, args, result)
    if op is ops.matmul.op:
        return _product(program, args, raw, result)
    if op is ops.linear.op:
        product = _product(program, args[:2], raw[:2], ops.matmul.op.forward(*raw[:2]))
        return _ufunc(program, np.add, (product, args[2]), result)
    is_sum = op is sum_to.op and raw[0].shape[1:] == settings["shape"]
    if is_sum and (one := ones_beside(raw[0], 0)) is not None:
        return program.call(DOT, (program.constant(one), *args, OUT), result)
    if op is ops.astype.op and args[0].dtype == result.dtype:
        same: Value = args[0]
        return same
    plain = not any(True for _ in _inside(settings))
    ours = (op.forward.__module__ or "").startswith(f"{PACKAGE}.")
    if ours and plain and isinstance(args[0], Value) and _is_view(result, raw[0]):
        forward = partial(op.forward, **settings)
        return program.view(args[0], forward, (op, repr(settings)), result)
    if op is ops.astype.op:
        return program.call(_convert, (OUT, *args), result)
    if op is ops.power.op:  # NumPy's ** is several functions, and the exponent says which
        if type(args[1]) in (int, float) and args[1] == 2 and raw[0].dtype.kind == "f":
            return _ufunc(program, np.square, args[:1], result)
        return program.call(_power, (*args, OUT), result, elementwise=True)
    if ours and plain:
        mark = program.mark()
        try:
            # The operands as they were; what is done to them is done again, and noted.
            traced = [
                Traced(program, x, a) if isinstance(a, Value) and a.kind != "number" else a
                for x, a in zip(raw, args, strict=True)
            ]
            found = op.forward(*traced, **settings)
            if isinstance(found, Traced) and _same(found.array, result):
                return found.place
        except (Unfollowed, AttributeError, TypeError, ValueError):
            pass
        program.back_to(mark)
    pure = ours and "rng" not in settings
    return program.call(
        _called, (op.forward, Nested(settings), OUT, *args), np.asarray(result), pure=pure
    )


def _product(program: Program, args: Sequence[Any], raw: Sequence[Any], result: Any) -> Value:
    """A matrix product by the function that `ops.matmul` takes for it."""
    if all(map(is_matrix, raw)):
        return program.call(DOT, (*args, OUT), result)
    return _ufunc(program, np.matmul, args, result)


def _called(forward: Callable[..., Any], settings: Any, out: Array, *args: Any) -> None:
    """An operation that takes no `out=`, called as it is."""
    result = np.asarray(forward(*args, **settings))
    if result.shape != out.shape or result.dtype != out.dtype:
        raise ValueError(
            f"{forward.__name__} gave {result.shape} {result.dtype} where it had given "
            f"{out.shape} {out.dtype} when the step was captured"
        )
    np.copyto(out, result)


def _inside(settings: Any) -> Any:
    if isinstance(settings, Value):
        yield settings
    elif isinstance(settings, dict):
        for part in settings.values():
            yield from _inside(part)
    elif isinstance(settings, (tuple, list)):
        for part in settings:
            yield from _inside(part)


def _is_view(result: Any, x: Any) -> bool:
    return isinstance(x, np.ndarray) and result.size > 0 and np.shares_memory(result, x)


def _same(a: Any, b: Any) -> bool:
    """Whether two arrays are equal bit for bit; their bytes are not copied for it."""
    a, b = np.asarray(a), np.asarray(b)
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    if a.itemsize in (1, 2, 4, 8):
        bits = f"u{a.itemsize}"
        return np.array_equal(a.view(bits), b.view(bits))
    return bool(a.tobytes() == b.tobytes())


def _ufunc(program: Program, ufunc: np.ufunc, args: Sequence[Any], result: Any) -> Value:
    """A ufunc with `out=`. Numbers beside floating arrays become arrays of their dtype once, which
    NumPy would do at every call."""
    args = [program.constant(x) if isinstance(x, np.ndarray) else x for x in args]
    dtypes = {v.dtype for v in args if isinstance(v, Value) and v.kind != "number"}
    if len(dtypes) == 1 and (dtype := dtypes.pop()).kind == "f":
        args = [_typed(program, x, dtype) for x in args]
    function = _KEYWORD.get(ufunc, ufunc)
    return program.call(function, (*args, OUT), result, elementwise=ufunc.signature is None)


def _typed(program: Program, x: Any, dtype: Any) -> Any:
    if isinstance(x, Value) and x.kind == "number":
        convert = partial(np.asarray, dtype=dtype)
        return program.view(x, convert, dtype, convert(x.array))
    return program.constant(np.asarray(x, dtype)) if type(x) in (int, float) else x


def _maximum(a: Any, b: Any, out: Array) -> None:
    np.maximum(a, b, out=out)  # these two do not take it by place


def _minimum(a: Any, b: Any, out: Array) -> None:
    np.minimum(a, b, out=out)


_KEYWORD: dict[Any, Any] = {np.maximum: _maximum, np.minimum: _minimum}


def _choose(condition: Any, a: Any, b: Any, out: Array) -> None:
    """np.where with `out=`."""
    np.copyto(out, b)
    np.copyto(out, a, where=np.asarray(condition, bool))


def _into(function: Callable[..., Any], settings: Any, out: Array, *args: Any) -> None:
    if function is np.einsum:  # with out= it adds in another order where strides are negative
        np.copyto(out, function(*args, **settings))
    else:
        function(*args, out=out, **settings)


# Functions that call what their first argument is.
CALLED = (_called, _into)


def _masked(ufunc: np.ufunc, where: Any, before: Any, out: Array, *args: Any) -> None:
    np.copyto(out, before)
    ufunc(*args, out=out, where=where)


def _power(a: Any, b: Any, out: Array) -> None:
    np.copyto(out, ops.power.op.forward(a, b))


def _convert(out: Array, x: Any) -> None:
    np.copyto(out, x, casting="unsafe")


class Traced(NDArrayOperatorsMixin):
    """An array that notes in a program what NumPy is asked to do with it."""

    def __init__(self, program: Program, array: Any, place: Value) -> None:
        self.program, self.array, self.place = program, array, place
        self.shape, self.ndim = np.shape(array), np.ndim(array)
        self.size, self.dtype = np.size(array), array.dtype
        self.itemsize = array.dtype.itemsize

    def __array__(self, *args: Any, **kwargs: Any) -> Array:
        raise Unfollowed("it becomes a plain array")

    def _noted(self, array: Any, place: Value) -> Traced:
        return Traced(self.program, array, place)

    def _view(self, function: Callable[[Array], Array], key: Any) -> Traced:
        result = function(self.array)
        if not np.shares_memory(result, self.array):
            raise Unfollowed("a copy")
        return self._noted(result, self.program.view(self.place, function, key, result))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Any:
        arrays, places = _arrays(inputs), _places(inputs)
        if method == "reduce":
            return self._reduced(ufunc, *inputs, **settings)
        if method != "__call__" or settings.keys() - {"out", "where"}:
            raise Unfollowed(f"{ufunc.__name__}.{method} {list(settings)}")
        (out,) = settings.get("out", (None,))
        if "where" not in settings:
            array = np.asarray(ufunc(*arrays))
            in_place = out is not None and (array.shape, array.dtype) == (out.shape, out.dtype)
            if in_place and array.strides != strides_of_new(out.array):
                kept = np.empty_like(out.array)  # the layout, in whose order a later sum adds
                kept[...] = array
                array = kept
            place = _ufunc(self.program, ufunc, places, array)
            if place.kind == "result" and place.strides != strides_of_new(array):
                raise Unfollowed("the same numbers were computed in another layout")
        else:
            where = settings["where"]
            array = out.array.copy()
            ufunc(*arrays, out=array, where=where.array)
            place = self.program.call(_masked, (ufunc, where.place, out.place, OUT, *places), array)
        if out is None:
            return self._noted(array, place)
        if np.shape(array) != out.shape or array.dtype != out.dtype:
            raise Unfollowed("converted on the way")
        out.array, out.place = array, place
        return out

    def _reduced(
        self, ufunc: np.ufunc, x: Any, axis: Any = 0, dtype: Any = None, out: Any = None,
        keepdims: bool = False,
    ) -> Traced:  # fmt: skip
        if dtype is not None or out is not None:
            raise Unfollowed("a reduction with dtype or out")
        array = ufunc.reduce(x.array, axis=axis, keepdims=keepdims)
        args = (x.place, axis, None, OUT, keepdims)
        return self._noted(np.asarray(array), self.program.call(ufunc.reduce, args, array))

    def __array_function__(self, function: Any, types: Any, args: Any, settings: Any) -> Any:
        if function in _REDUCTIONS:
            return self._reduced(_REDUCTIONS[function], *args, **{"axis": None} | settings)
        if function is np.where:
            array = np.where(*_arrays(args))
            return self._noted(array, self.program.call(_choose, (*_places(args), OUT), array))
        if function in (np.zeros_like, np.ones_like):
            array = function(self.array)
            return self._noted(array, self.program.constant(array))
        if function in (np.shape, np.ndim, np.size):
            return function(self.array)
        if function in _WITH_OUT:
            array = np.asarray(function(*_arrays(args), **settings))
            call = (function, Nested(settings), OUT, *_places(args))
            return self._noted(array, self.program.call(_into, call, array))
        raise Unfollowed(function.__name__)

    def __getitem__(self, index: Any) -> Traced:
        return self._view(operator.itemgetter(index), ("getitem", repr(index)))

    # What arrays have as methods, as far as it is needed.

    def reshape(self, *shape: Any) -> Traced:
        """A view in another shape."""
        return self._view(operator.methodcaller("reshape", *shape), ("reshape", repr(shape)))

    @property
    def flags(self) -> Any:
        """How it lies in memory."""
        return np.asarray(self.array).flags

    @property
    def T(self) -> Traced:
        """The transpose."""
        return self._view(np.transpose, "T")

    def astype(self, dtype: Any, copy: bool = True) -> Traced:
        """A copy in another dtype."""
        if not copy and self.dtype == dtype:
            return self
        array = self.array.astype(dtype)
        return self._noted(array, self.program.call(_convert, (OUT, self.place), array))

    def dot(self, ones: Array) -> Traced:
        """The product with a vector that is the same at every call."""
        array = np.asarray(self.array.dot(ones))
        call = (self.place, self.program.constant(ones), OUT)
        return self._noted(array, self.program.call(DOT, call, array))

    def traced_as_one_call(self, function: Callable[..., Any], *args: Any) -> Traced:
        """What a function of arrays gives, which takes the memory for it last."""
        array = np.asarray(function(*_arrays(args)))
        return self._noted(array, self.program.call(function, (*_places(args), OUT), array))

    def sum(self, axis: Any = None, keepdims: bool = False) -> Traced:
        """The sum over an axis."""
        return self._reduced(np.add, self, axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Traced:
        """The largest entries."""
        return self._reduced(np.maximum, self, axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Traced:
        """The smallest entries."""
        return self._reduced(np.minimum, self, axis, keepdims=keepdims)

    def __pow__(self, exponent: Any) -> Any:
        if type(exponent) in (int, float) and exponent == 2:  # as NumPy's own ** does
            return np.square(self)
        raise Unfollowed("a power")

    def __bool__(self) -> bool:
        """A question about the data decides what is done next: the answer is a part of the
        program, which is left where it is another one."""
        answer = bool(self.array)
        self.program.guard(expect, (self.place, answer))
        return answer

    def __len__(self) -> int:
        return len(self.array)

    def __float__(self) -> float:
        raise Unfollowed("it becomes a number")

    __int__ = __index__ = __float__


_REDUCTIONS = {np.sum: np.add, np.max: np.maximum, np.min: np.minimum, np.all: np.logical_and}
_WITH_OUT = {np.argmax, np.argmin, np.clip, np.concatenate, np.einsum, np.mean, np.stack}


def _arrays(x: Any) -> Any:
    """The arguments of a NumPy function, with arrays in place of traced ones."""
    if isinstance(x, (tuple, list)):
        return type(x)(map(_arrays, x))
    return x.array if isinstance(x, Traced) else x


def _places(x: Any) -> Any:
    """The arguments of a NumPy function, with their places in the program."""
    if isinstance(x, (tuple, list)):
        return type(x)(map(_places, x))
    return x.place if isinstance(x, Traced) else x
