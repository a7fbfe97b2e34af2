"""Looking into running functions: their local variables, and the calls of modules.

`observe` calls a function and reports every call and return of Python code inside it. It is the
only place of the package that sets a profiler (`sys.setprofile`). `local_variables` notes what the
author's own functions call their tensors.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from . import nn
from .engine import Box

# A callback of `observe`: the frame, "call" or "return", and the result (None before the return).
Note = Callable[[FrameType, str, Any], None]

# Code whose local variables are not the author's: this package, NumPy, the standard library.
_FOREIGN = (
    str(Path(__file__).parent),
    str(Path(np.__file__).parent),
    str(Path(re.__file__).parents[1]),
    "<frozen",
)
# The code of all forward methods whose results have a letter: Z for linear layers.
_LAYERS = {
    layer.forward.__code__
    for layer in vars(nn).values()
    if isinstance(layer, type) and issubclass(layer, nn.Module) and layer.letter
}


def observe(note: Note, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return function(*args, **kwargs), calling `note(frame, event, result)` for frames inside it.

    `note` is called when a Python function begins (event "call") and when it ends ("return",
    whether it returns or raises). Only the current thread is observed.

    An earlier profiler is set again at the end, also if the function raises. Meanwhile, one written
    in Python receives its events as before. One written in C (cProfile before Python 3.12) pauses:
    the time is not divided among the functions called. An outer `observe` pauses too, so that the
    variables of the inner function are not taken for those of the outer.

    Raises:  whatever the function raises; RuntimeError if an earlier profiler could not be set
        again

    Example:
        >>> def double(x):
        ...     return 2 * x
        >>> names = []
        >>> observe(lambda frame, event, _: names.append((frame.f_code.co_name, event)), double, 4)
        8
        >>> names
        [('double', 'call'), ('double', 'return')]
    """
    earlier = sys.getprofile()
    restore = _restoring(earlier)
    try:  # nothing but C code in `finally`: Ctrl+C must not come between
        sys.setprofile(_Observer(note, earlier))
        return function(*args, **kwargs)
    finally:
        restore()


class _Observer:
    """The profiler that `observe` sets: calls `note`, and an earlier profiler in Python."""

    def __init__(self, note: Note, earlier: Any) -> None:
        self.note = note
        other = earlier.earlier if isinstance(earlier, _Observer) else earlier
        self.earlier: Callable[..., Any] | None = other if callable(other) else None

    def __call__(self, frame: FrameType, event: Any, result: Any) -> None:
        if event in ("call", "return"):
            self.note(frame, event, result)
        if self.earlier is not None:
            self.earlier(frame, event, result)


def _restoring(profiler: Any) -> Callable[[], object]:
    """Return a function that sets this profiler again; sys.setprofile takes only callables."""
    if profiler is None or callable(profiler):
        return partial(sys.setprofile, profiler)
    if hasattr(profiler, "enable"):  # cProfile.Profile
        enable: Callable[[], object] = profiler.enable
        return enable
    raise RuntimeError(
        f"a profiler is active ({type(profiler).__name__}) that could not be set again after "
        "looking at local variables; stop it first"
    )


class local_variables:
    """The local variables of the author's functions, noted while a function runs.

    found    (depth of the call, name, tensor or array), in the order met
    layers   (the layer, its result), in the order of the calls
    numbers  whole numbers by name, with all values that each had
    inside   (name, id) of what was found in methods of modules
    codes    the code that ran, with its global variables

    Example:
        >>> def mean(x):
        ...     total = x.sum()
        ...     return total / x.size
        >>> seen = local_variables()
        >>> float(seen.run(mean, np.arange(3.0)))
        1.0
        >>> list(seen.codes)[0].co_name
        'mean'
    """

    def __init__(self) -> None:
        self.found: list[tuple[int, str, Any]] = []
        self.layers: list[tuple[Any, Box]] = []
        self.numbers: dict[str, set[int]] = {}
        self.inside: set[tuple[str, int]] = set()
        self.codes: dict[Any, dict[str, Any]] = {}
        self._seen: set[tuple[str, int]] = set()
        self._home: FrameType | None = None

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return function(*args, **kwargs), noting the local variables of all that runs in it."""
        self._home = sys._getframe()
        try:
            return observe(self._note, function, *args, **kwargs)
        finally:
            self._home = None  # the frame holds this object: break the cycle

    def _note(self, frame: FrameType, event: str, result: Any) -> None:
        if event == "call":
            self.codes[frame.f_code] = frame.f_globals
            if frame.f_back is not None:
                self._look(frame.f_back)
        else:
            if frame.f_code in _LAYERS and isinstance(result, Box):
                self.layers.append((frame.f_locals["self"], result))
            self._look(frame)

    def _look(self, frame: FrameType) -> None:
        """Note the variables of a frame and, in a method, the attributes of `self`."""
        if frame.f_code.co_filename.startswith(_FOREIGN):
            return
        if (depth := self._depth(frame)) is None:
            return
        own = frame.f_locals.get("self")
        fields = {} if isinstance(own, nn.Module) else getattr(own, "__dict__", {})
        for name, x in [*frame.f_locals.items(), *fields.items()]:
            if type(x) is int:
                self.numbers.setdefault(name, set()).add(x)
            if isinstance(x, (Box, np.ndarray)) and (name, id(x)) not in self._seen:
                self._seen.add((name, id(x)))
                if isinstance(own, nn.Module):
                    self.inside.add((name, id(x)))
                self.found.append((depth, name, x))  # kept alive, so that its id stays its own

    def _depth(self, frame: FrameType) -> int | None:
        """Return how many calls lie between `run` and a frame; None if `run` did not call it."""
        depth, outer = -1, frame.f_back  # the frame of `observe` is between
        while outer is not None and outer is not self._home:
            depth, outer = depth + 1, outer.f_back
        return None if outer is None else depth

    def own_names(self) -> dict[int, str]:
        """Return, by the id of each layer's result, its variable name in a module's own method, if
        no other tensor has that name: q for q = self.query(x), but nothing for a reused x.
        """
        by_name: dict[str, set[int]] = {}
        for _, name, x in self.found:
            by_name.setdefault(name, set()).add(id(x))
        results = {id(result) for _, result in self.layers}
        return {
            next(iter(ids)): name
            for name, ids in reversed(by_name.items())
            if len(ids) == 1
            and ids <= results
            and not name.startswith(("_", "."))
            and (name, *ids) in self.inside
        }
