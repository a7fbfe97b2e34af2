"""Function: an operation written as in PyTorch, with `forward(ctx, …)` and `backward(ctx, g)`.

The interface is that of `torch.autograd.Function`. `apply` calls an ordinary primitive; its one
rule calls `backward` once and returns the gradient of the input in question. `@primitive(rule, …)`
declares an operation in fewer lines."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import Array, as_array
from .engine import Box, primitive
from .recording import no_grad
from .tensor import Tensor


class Context:
    """Passes values from `forward` to `backward`: tensors by `save_for_backward`, anything else as
    an attribute (`ctx.axis = 0`). `ctx.needs_input_grad` tells for each argument whether its
    gradient is needed.

    Example:
        >>> ctx = Context((Tensor(1.0, requires_grad=True), 3))
        >>> ctx.needs_input_grad
        (True, False)
        >>> ctx.save_for_backward(Tensor(2.0))
        >>> ctx.saved_tensors
        (Tensor(2.),)
    """

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.needs_input_grad = tuple(isinstance(x, Box) and x.record is not None for x in args)
        self._places = [i for i, x in enumerate(args) if isinstance(x, (Box, np.ndarray))]
        self._settings = [None if i in self._places else x for i, x in enumerate(args)]
        self._saved: tuple[Any, ...] = ()
        self._own: list[Any] = []  # inputs and output as `forward` knew them
        self._known: dict[int, Any] = {}  # in `backward`: inputs and output as they are there
        self._last: tuple[Any, list[Any]] = (None, [])  # an error and the gradients from it

    def __repr__(self) -> str:
        return f"Context({', '.join(repr(x) for x in self._settings if x is not None)})"

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep inputs, the output, or constants for `saved_tensors`."""
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The saved tensors; under `create_graph=True` inputs and output with their records."""
        return tuple(self._known.get(id(x), x) for x in self._saved)


class Function:
    """An operation written as for `torch.autograd.Function`: a class with two static methods.

        forward(ctx, *args)   the result, a tensor or an array, computed from tensors
        backward(ctx, g)      a gradient for each argument, None where there is none

    Call it with `apply`. Tensors and arrays are inputs, all other arguments are settings. Inside of
    both methods nothing is recorded, except in `backward` under `create_graph=True`.

    Raises:  TypeError if `forward` gives several results, or `backward` not one gradient for each
             argument; RuntimeError where a second derivative would be wrong because a tensor was
             kept that is neither an input nor the output
    Source:  torch.autograd.Function
    Example:
        >>> import tinygrad_edu as tg
        >>> class Exp(Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         y = x.exp()
        ...         ctx.save_for_backward(y)
        ...         return y
        ...     @staticmethod
        ...     def backward(ctx, g):
        ...         (y,) = ctx.saved_tensors
        ...         return g * y
        >>> x = tg.Tensor([0.0, 1.0], requires_grad=True)
        >>> print(tg.grad(Exp.apply(x).sum(), x))
        [1.         2.71828183]
    """

    _call: Any  # the primitive

    def __init__(self, *args: Any) -> None:
        name = type(self).__name__
        raise TypeError(f"a Function is called as {name}.apply(…), not as {name}(…)")

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        """Return the result. Each class defines it."""
        raise NotImplementedError("a Function has a forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """Return the gradient for each argument. Each class defines it."""
        raise NotImplementedError("a Function has a backward(ctx, g)")

    def __init_subclass__(cls) -> None:
        def run(*arrays: Any, ctx: Context) -> Array:
            return _forward(cls, ctx, arrays)

        def rule(i: int, g: Any, y: Any, *arrays: Any, ctx: Context) -> Any:
            return _backward(cls, ctx, g, y, arrays)[i]

        run.__name__ = cls.__name__
        cls._call = primitive(rule)(run)

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Call the operation; return a Tensor if one of the arguments is one, else an array."""
        ctx = Context(args)
        return cls._call(*(args[i] for i in ctx._places), ctx=ctx)


def _forward(cls: type[Function], ctx: Context, arrays: tuple[Any, ...]) -> Array:
    args = list(ctx._settings)
    for i, x in zip(ctx._places, arrays, strict=True):
        args[i] = Tensor(x)
    with no_grad():
        y = cls.forward(ctx, *args)
    if isinstance(y, (tuple, list)):
        raise TypeError(
            f"{cls.__name__}.forward gave {len(y)} results, expected one; put them together with "
            "tg.stack, or write a Function for each"
        )
    ctx._own = [*(args[i] for i in ctx._places), y]
    ctx._last = (None, [])  # a captured step runs again with the same context
    return y.value if isinstance(y, Box) else as_array(y)


def _backward(cls: type[Function], ctx: Context, g: Any, y: Any, arrays: Any) -> list[Any]:
    """Return the gradients of the inputs, computed once for each error at the output."""
    if ctx._last[0] is g:
        return ctx._last[1]
    recorded = isinstance(g, Box)
    if recorded:
        ctx._known = {id(x): now for x, now in zip(ctx._own, [*arrays, y], strict=True)}
        _refuse_what_is_cut_off(cls, ctx)
        given = cls.backward(ctx, g)
    else:
        ctx._known = {}
        with no_grad():
            given = cls.backward(ctx, Tensor(g))
    found = list(given) if isinstance(given, (tuple, list)) else [given]
    if len(found) != len(ctx._settings):
        raise TypeError(
            f"{cls.__name__}.backward gave {len(found)} gradients, expected "
            f"{len(ctx._settings)}: one for each argument of forward, None where there is none"
        )
    gradients = []
    for i, x in zip(ctx._places, ctx._own, strict=False):
        new = found[i]
        if new is None:
            new = np.zeros_like(x.value)
        elif not recorded:  # a copy: two arguments may share one array
            new = np.array(new.value if isinstance(new, Box) else new)
        gradients.append(new)
    ctx._last = (g, gradients)
    return gradients


def _refuse_what_is_cut_off(cls: type[Function], ctx: Context) -> None:
    """Raise RuntimeError if an intermediate tensor of `forward` was saved. It is a constant in
    `backward`, so its part of a second derivative would be missing."""
    kept = {f"saved_tensors[{i}]": x for i, x in enumerate(ctx._saved)}
    kept |= {name: x for name, x in vars(ctx).items() if not name.startswith("_")}
    for name, x in kept.items():
        by_saving = name.startswith("saved_tensors") and id(x) in ctx._known
        if isinstance(x, Box) and x.value.dtype.kind == "f" and not by_saving:
            raise RuntimeError(
                f"{cls.__name__}: a second derivative would be wrong, since ctx.{name} is cut off "
                "from what it was computed from; keep inputs and the output only, with "
                "save_for_backward, and compute the rest again in backward"
            )
