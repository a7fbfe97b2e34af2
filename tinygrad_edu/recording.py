"""Recording: which operations leave a record, in this thread or asyncio task."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar, cast

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

OFF = 0  # record nothing
ON = 1  # record the results that depend on a variable
ALL = 2  # record every result that was computed from a tensor, to read the graph afterwards

current_mode: ContextVar[int] = ContextVar("recording", default=ON)
_outer_modes: ContextVar[tuple[int, ...]] = ContextVar("outer", default=())  # of enclosing blocks


def should_record(differentiable: bool, depends: bool) -> bool:
    """Return True if the result of an operation gets a record.

    differentiable   the operation has a derivative rule
    depends          an argument depends on a variable

    Example:
        >>> should_record(True, True), should_record(True, False), should_record(False, True)
        (True, False, False)
    """
    mode = current_mode.get()
    return (mode == ON and depends and differentiable) or mode == ALL


def is_recording() -> bool:
    """Return False inside of `no_grad()`.

    Example:
        >>> with no_grad():
        ...     is_recording()
        False
    """
    return current_mode.get() != OFF


class recording:
    """Set the mode (OFF, ON or ALL) for this thread or task until the block ends.

    Example:
        >>> with recording(OFF):
        ...     is_recording()
        False
    """

    def __init__(self, mode: int):
        self._mode = mode

    def __enter__(self) -> None:
        _outer_modes.set((*_outer_modes.get(), current_mode.get()))
        current_mode.set(self._mode)

    def __exit__(self, *failure: object) -> None:
        *outer, before = _outer_modes.get()
        _outer_modes.set(tuple(outer))
        current_mode.set(before)


class no_grad(recording):
    """Record nothing: results are constants. A context manager and a decorator.

    It holds for the thread or asyncio task that entered it, and for tasks started inside.

    Raises:  TypeError for a generator function, whose body runs after its call has returned
    Example:
        >>> import tinygrad_edu as tg
        >>> w = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> with tg.no_grad():
        ...     y = w * 2
        >>> y.requires_grad
        False
        >>> @tg.no_grad()
        ... def predict(x):
        ...     return x * w
        >>> predict(3.0).requires_grad
        False
    """

    def __new__(cls, function: Any = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)  # @no_grad, @no_grad()

    def __init__(self) -> None:
        super().__init__(OFF)

    def __call__(self, function: Decorated) -> Decorated:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"no_grad() cannot decorate the generator {function.__name__}; write "
                "`with no_grad():` around what it computes between its yields"
            )
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def unrecorded(*args: Any, **kwargs: Any) -> Any:
                with recording(OFF):
                    return await function(*args, **kwargs)
        else:

            @wraps(function)
            def unrecorded(*args: Any, **kwargs: Any) -> Any:
                with recording(OFF):
                    return function(*args, **kwargs)

        return cast(Decorated, unrecorded)
