"""Hooks: callbacks that observe or replace a tensor's gradient during backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from weakref import finalize, ref

import numpy as np

from .arrays import as_array, describe
from .engine import RELEASED, Box, box, hooks, unbroadcast


class Hook:
    """A registered hook. `remove()` unregisters it, and so does leaving a `with` block.

    Source:  torch.utils.hooks.RemovableHandle
    Example:
        >>> import tinygrad_edu as tg
        >>> x = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> with x.register_hook(lambda g: g.clip(-1, 1)):
        ...     print(tg.grad((x * [0.5, 9.0]).sum(), x))
        [0.5 1. ]
        >>> print(tg.grad((x * [0.5, 9.0]).sum(), x))
        [0.5 9. ]
    """

    def __init__(self, box: Box, function: Callable[[Any], Any]) -> None:
        if not callable(function):
            raise TypeError(f"register_hook takes a function of the gradient, received {function}")
        if box.record is None or box.record[1] is RELEASED:
            raise RuntimeError(
                f"no gradient comes to {describe(box)}: it does not require one, or its graph was "
                "released"
            )
        if id(box) not in hooks:
            finalize(box, hooks.pop, id(box), None).atexit = False
        self._functions = cast(_Functions, hooks.setdefault(id(box), _Functions(box)))
        self._functions[self] = function

    def remove(self) -> None:
        """Unregister the function."""
        self._functions.pop(self, None)

    def __enter__(self) -> Hook:
        return self

    def __exit__(self, *failure: object) -> None:
        self.remove()


class _Functions(dict[Hook, Callable[[Any], Any]]):
    """The hooks of one tensor. Called with the error at the tensor, returns the error to go on
    with.
    """

    def __init__(self, tensor: Box) -> None:
        super().__init__()
        self._tensor = ref(tensor)

    def __call__(self, g: Any) -> Any:
        tensor = self._tensor()
        assert tensor is not None  # the sweep refers to it
        for function in list(self.values()):
            seen = g
            if not isinstance(g, Box):
                seen = np.array(g)
                seen.flags.writeable = False
            try:
                new = function(seen)
                if new is None or new is seen:
                    continue
                new = new if isinstance(new, Box) else box(as_array(new))
                if new.value.shape != tensor.value.shape:
                    raise ValueError(
                        f"a hook gives nothing or an error of shape {tensor.value.shape}, received "
                        f"{describe(new)}"
                    )
            except Exception as failure:
                failure.add_note(f"in a hook of {describe(tensor)}")
                raise
            if isinstance(g, Box):
                g = unbroadcast(new, tensor.value)
            else:
                g = np.array(new.value, tensor.value.dtype)
        return g
