"""Optimizers: what to do with the gradients."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any

import numpy as np

from .engine import Array
from .tensor import Parameter, Tensor

__all__ = ["SGD"]


class SGD:
    """Gradient descent, W ← W − lr · ∂L/∂W, with PyTorch's momentum and weight decay.

        g ← ∂L/∂W + weight_decay · W
        v ← momentum · v + g                     (the first time v ← g)
        W ← W − lr · v,  with nesterov  W ← W − lr · (g + momentum · v)

    Raises:  TypeError if the parameters are no variables (a frozen `Parameter` may be among them
             and stays where it is), ValueError for negative settings, for no parameters at
             all, or for nesterov without momentum
    Source:  torch.optim.SGD; the chapter, "gradient descent"
    Example:
        >>> w = Tensor([1.0, 2.0], requires_grad=True)
        >>> optimizer = SGD([w], lr=0.1)
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        >>> w.data
        array([0.8, 1.6])
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        self.parameters = _variables(parameters)
        self.lr = _setting("lr", lr)
        self.momentum = _setting("momentum", momentum)
        self.weight_decay = _setting("weight_decay", weight_decay)
        self.nesterov = nesterov
        if nesterov and momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        self._velocity: list[Array | None] = [None] * len(self.parameters)

    def zero_grad(self) -> None:
        """Forget all gradients, so that the next backward() starts from nothing."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient; its array is replaced, never written to."""
        gradients = []
        for i, parameter in enumerate(self.parameters):  # all are looked at before one is moved
            g = parameter.grad
            if g is not None:
                g = np.asarray(g, parameter.value.dtype)
                if g.shape != parameter.value.shape:
                    raise ValueError(
                        f"parameter {i} has shape {parameter.value.shape}, its gradient {g.shape}"
                    )
            gradients.append(g)
        # As Python's numbers, beside which float32 stays float32, whatever was assigned to them.
        lr, momentum, decay = float(self.lr), float(self.momentum), float(self.weight_decay)
        for i, (parameter, g) in enumerate(zip(self.parameters, gradients, strict=True)):
            if g is None:
                continue
            value = parameter.value
            if decay:
                g = g + decay * value
            if momentum:
                before = self._velocity[i]
                velocity = g.copy() if before is None else momentum * before + g
                self._velocity[i] = velocity
                g = g + momentum * velocity if self.nesterov else velocity
            parameter.value = np.asarray(value - lr * g)

    def __repr__(self) -> str:
        return (
            f"SGD({len(self.parameters)} parameters, lr={self.lr}, momentum={self.momentum}, "
            f"nesterov={self.nesterov}, weight_decay={self.weight_decay})"
        )


def _setting(name: str, value: Any) -> float:
    """A setting as Python's number, refused unless it is finite and at least 0."""
    if np.ndim(value) or np.asarray(value).dtype.kind not in "fiu":
        raise TypeError(f"{name} must be a number, received {value!r}")
    if not (value >= 0 and isfinite(value)):
        raise ValueError(f"{name} must be a number of at least 0, received {value!r}")
    return float(value)


def _variables(parameters: Iterable[Tensor]) -> list[Tensor]:
    """The parameters as a list, refused unless an optimizer can move each of them."""
    if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
        raise TypeError(
            f"an optimizer takes several tensors, such as model.parameters(), received "
            f"{type(parameters).__name__}"
        )
    variables = list(parameters)
    if not variables:
        raise ValueError("an optimizer needs at least one parameter, received none")
    for i, variable in enumerate(variables):
        if not isinstance(variable, Tensor):
            raise TypeError(f"parameter {i} must be a tensor, received {type(variable).__name__}")
        frozen = isinstance(variable, Parameter) and not variable.requires_grad
        if not (variable.is_leaf and (variable.requires_grad or frozen)):
            raise TypeError(
                f"parameter {i} must be a variable (requires_grad=True), received {variable!r:.80}"
            )
    if len({id(variable) for variable in variables}) < len(variables):
        raise ValueError("a parameter was given twice; it would be moved twice at each step")
    return variables
