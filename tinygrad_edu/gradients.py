"""The two functions that start a sweep, `backward` and `grad`, and the checks of their
arguments.
"""

from __future__ import annotations

import os
from threading import RLock
from typing import Any

import numpy as np

from .arrays import as_array, describe
from .engine import Box, box, sweep, unbroadcast
from .recording import ON, current_mode, recording

_adding = RLock()  # held while gradients are added to `.grad`


def _new_lock() -> None:
    """Replace the lock in a forked process, where the thread that held it does not exist."""
    global _adding
    _adding = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def backward(output: Box, gradient: Any = None, retain_graph: bool = False) -> None:
    """Add ∂(output)/∂v to the `.grad` of every variable v that `output` was computed from.

    Unless `retain_graph`, the sweep releases the records: a second call that reaches them raises
    RuntimeError, here and in `grad`. With it, a second call adds the same gradients again.
    `Tensor.backward` calls this function and documents its arguments.
    """
    found = sweep(output, first_error(output, gradient), release=not retain_graph)
    with _adding:
        for variable, g in found.items():
            if variable.grad is not None and np.shape(variable.grad) != g.shape:
                raise ValueError(
                    f"{describe(variable)} has a .grad of shape {np.shape(variable.grad)}; "
                    "set it to None"
                )
        for variable, g in found.items():  # only now: a sweep that failed changes no gradient
            variable.grad = np.asarray(g if variable.grad is None else variable.grad + g)


def grad(output: Box, wrt: Any, gradient: Any = None, create_graph: bool = False) -> Any:
    """Return ∂(output)/∂x for the tensor x = `wrt`; for a list or tuple of tensors, a list.

    The tensors may be anywhere in the graph of `output`. If `output` does not depend on one, its
    gradient is zero. The graph is kept. `gradient` is ∂L/∂(output), needed if the output is not a
    single number. With `create_graph=True` the gradients are recorded results themselves, which
    can be differentiated again.

    Shapes:  each gradient has the shape and dtype of its x: an array, or with `create_graph=True`
             a Tensor
    Raises:  RuntimeError if nothing was recorded or the graph was released, ValueError for a
             gradient of another shape than the output's, TypeError if `wrt` is no recorded tensor
    Example:
        >>> import tinygrad_edu as tg
        >>> x = tg.Tensor(3.0, requires_grad=True)
        >>> slope = tg.grad(x**3, x, create_graph=True)
        >>> slope.item(), tg.grad(slope, x).item()
        (27.0, 18.0)
    """
    several = isinstance(wrt, (list, tuple))
    targets = list(wrt) if several else [wrt]
    for x in targets:
        if not isinstance(x, Box) or x.record is None:
            raise TypeError(
                f"grad: wrt must be tensors that require a gradient, received {describe(x)}; "
                "give requires_grad=True to Tensor(...), or do not compute it under no_grad()"
            )
    if create_graph:
        with recording(max(current_mode.get(), ON)):
            error = first_error(output, gradient, recorded=True)
            found = sweep(output, error, set(targets))
        gradients = [found[x] if x in found else box(np.zeros_like(x.value)) for x in targets]
    else:
        found = sweep(output, first_error(output, gradient), set(targets))
        own = np.asarray if len(set(targets)) == len(targets) else np.array  # no array twice
        gradients = [own(found[x]) if x in found else np.zeros_like(x.value) for x in targets]
    return gradients if several else gradients[0]


def first_error(output: Box, gradient: Any, recorded: bool = False) -> Any:
    """Return the error at the output, from which a sweep starts: 1, or the caller's `gradient`.

    With `recorded` it is a tensor.

    Raises:  TypeError if the output is no tensor, RuntimeError if it was not recorded, ValueError
             for a gradient that is missing or of another shape
    """
    if not isinstance(output, Box):
        raise TypeError(
            f"only a tensor can be differentiated, received {describe(output)}; to differentiate a "
            "gradient, compute it by tg.grad(..., create_graph=True)"
        )
    if output.record is None:
        raise RuntimeError(
            f"{describe(output)} has no graph to differentiate: it was computed from no tensor "
            "with requires_grad=True, or under no_grad(), or was detached"
        )
    y = output.value
    if gradient is None:
        if y.size != 1:
            raise ValueError(
                f"the gradient of an output of shape {y.shape} needs ∂L/∂(output): give "
                "`gradient` in that shape, or reduce the output to one number (sum, mean)"
            )
        one = np.array(1, y.dtype, ndmin=y.ndim)
        return box(one) if recorded else one
    if recorded and isinstance(gradient, Box):
        given: Any = gradient
    else:
        given = np.array(gradient.value if isinstance(gradient, Box) else as_array(gradient))
        given = box(given) if recorded else given
    if given.shape != y.shape:
        raise ValueError(f"gradient has shape {given.shape}, the output has {y.shape}")
    return unbroadcast(given, y)
