"""The gate through which a step being captured learns that a value is about to be read.

A step that is being captured (see `capturing.capture`) runs once on tensors, and only recorded
operations can be repeated. So code that takes numbers out of tensors or updates parameters calls
the gate first. If no step is being captured, `gate.get()` is None.
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


class CaptureGate(Protocol):
    """The methods that the core calls while a step is being captured."""

    def reads_value(self, tensor: Any, how: str) -> None:
        """Called before a value leaves a tensor for Python or NumPy."""

    def uses_as_index(self, tensor: Any) -> None:
        """Called before the array of a tensor is used as a setting, such as an index."""

    def creates_array(self, array: Any) -> None:
        """Called after an array was made from a tensor's shape: np.zeros_like(t)."""

    def assigns_data(self, tensor: Any, data: Any) -> bool:
        """Called before data is assigned to a tensor; return True if handled."""

    def backward(self, output: Any, gradient: Any, retain_graph: bool) -> None:
        """Called in place of `gradients.backward`."""

    def assumes(self, condition: Any) -> None:
        """Called with a condition on which the traced path depends."""

    def updates(self, optimizer: Any) -> None:
        """Called in place of an optimizer's own step."""


gate: ContextVar[CaptureGate | None] = ContextVar("gate", default=None)


def all_finite(x: Any) -> bool:
    """Return True if all numbers of a tensor are finite.

    While a step is being captured it returns True and records the condition: the captured step
    checks it, and runs the function eagerly where it does not hold.
    """
    finite = np.isfinite(x)
    if (capture := gate.get()) is not None:
        capture.assumes(finite)
        return True
    return bool(np.all(getattr(finite, "value", finite)))
