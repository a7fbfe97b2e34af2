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
