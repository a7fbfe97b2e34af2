"""Who is asked before numbers leave the graph.

A step that is being captured (see `capture`) is run once on tensors, and only what is recorded can
be repeated. So whatever takes numbers out of tensors, and whatever moves parameters, asks here
first. When no step is being captured there is nobody to ask, and nothing happens.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np


class CannotCapture(RuntimeError):
    """The step does something that a program of array operations cannot repeat."""


CONTRACT = (
    "A step is traced once for each signature of shapes and dtypes. Its arguments, parameters, "
    "buffers and optimizer states are read at every call. The plain settings (numbers, flags, "
    "strings, None, and whether the attribute exists) of every Module and Optimizer that the step "
    "reaches, `training` among them, are looked at before every call or epoch; a changed one "
    "traces anew. Everything else that Python code reads is read at tracing."
)


class StaleStep(RuntimeError):
    """A captured step gives other numbers than its function: the function reads something that has
    changed since the step was traced, and that is no argument, parameter, buffer or setting.

    The message names the first value that differs and the calls that were not compared.

    Example:
        >>> import os
        >>> import tinygrad_edu as tg
        >>> os.environ["SCALE"] = "1.0"
        >>> step = tg.compile(lambda x: x * float(os.environ["SCALE"]))
        >>> step(np.array(3.0))
        Tensor(3.)
        >>> os.environ["SCALE"] = "2.0"
        >>> try:
        ...     step(np.array(3.0))
        ... except StaleStep as error:
        ...     print(str(error).split(". ")[0])
        result 0 is 3.0 captured and 6.0 when the function runs
    """


class Watcher(Protocol):
    """What is told of a step while it is captured."""

    def leaves(self, tensor: Any, how: str) -> None:
        """Numbers of a tensor are about to become Python's or NumPy's."""

    def keeps(self, tensor: Any) -> None:
        """The array of a tensor is about to be used as a setting, such as an index."""

    def fills(self, array: Any) -> None:
        """An array was made whose entries follow from a tensor's shape: np.zeros_like(t)."""

    def assigns(self, tensor: Any, data: Any) -> bool:
        """A tensor is about to be given new data; True: that is seen to."""

    def backward(self, output: Any, gradient: Any, retain_graph: bool) -> None:
        """The backward sweep, in place of `engine.backward`."""

    def expects(self, condition: Any) -> None:
        """The step goes on as it does only because this is true."""

    def moves(self, optimizer: Any) -> None:
        """The step of an optimizer, in place of its own."""


watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


def all_finite(x: Any) -> bool:
    """Whether all numbers of a tensor are finite: a question that a captured step may ask too.

    It goes on as if they were, and where they are not the function itself is run instead.
    """
    finite = np.isfinite(x)
    if (watching := watcher.get()) is not None:
        watching.expects(finite)
        return True
    return bool(np.all(getattr(finite, "value", finite)))
