"""Optimizers: update parameters from their gradients.

An optimizer is one rule, `update`: it takes a parameter's value, its gradient and its state, and
returns the new value and the new state. `Optimizer` does the rest: it computes all updates before
it assigns the first, keeps dtypes, and saves and loads the states.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from math import isfinite
from typing import Any, ClassVar

import numpy as np
from numpy import ndarray

from . import lr_scheduler
from .arrays import Array, NameMissing, as_array
from .capture_gate import gate
from .ops import astype
from .tensor import Parameter, Tensor

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler"]

State = dict[str, Any]  # arrays and numbers that are kept for one parameter


class Optimizer:
    """Base class of the optimizers. Your own class has `update`, and its settings as attributes.

    Write `update` in NumPy; it must not change its arguments in place. The arrays of a state have
    the parameter's shape or are single numbers. Settings are plain numbers (or tuples of them) and
    may be assigned at any time.

    Raises:  TypeError if the parameters are no variables (a frozen `Parameter` may be among them
             and stays where it is), ValueError for a negative lr or for no parameters at all
    Source:  torch.optim.Optimizer
    Example:
        >>> class SignSGD(Optimizer):
        ...     def update(self, w, g, state, lr):
        ...         return w - lr * np.sign(g), state
        >>> w = Tensor([1.0, 2.0], requires_grad=True)
        >>> optimizer = SignSGD([w], lr=0.1)
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        >>> w.data
        array([0.9, 1.9])
    """

    _guarded: ClassVar = False

    def __init_subclass__(cls) -> None:
        cls._guarded = cls.__module__ != __name__  # the classes of this file do not write in place

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters = _variables(parameters)
        self.state: dict[int, State] = {}
        self.lr = lr

    def update(self, w: Any, g: Any, state: State, lr: Any) -> tuple[Any, State]:
        """Return the new value of a parameter w with gradient g, and its new state. Each class
        defines it. It must not change its arguments.
        """
        raise NotImplementedError(f"{type(self).__name__} has no update()")

    def first_state(self, w: Array) -> State:
        """Return the state of a parameter before its first step: zeros, or {} for no state."""
        return {}

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to None."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient. Its array is replaced, never written to."""
        if (capture := gate.get()) is not None:
            capture.updates(self)
            return
        update, states, lr, guarded = self.update, self.state, self.lr, self._guarded
        moved = []
        for i, parameter in enumerate(self.parameters):
            if (g := parameter.grad) is None:
                continue
            w = parameter.value
            if type(g) is not ndarray or g.dtype is not w.dtype:
                g = np.asarray(g, w.dtype)
            if g.shape != w.shape:
                raise ValueError(f"parameter {i} has shape {w.shape}, its gradient {g.shape}")
            state = states.get(i)
            if state is None:
                state = self.first_state(w)
            if guarded:
                w, g = _read_only(w), _read_only(g)
            try:
                value, state = update(w, g, state, lr)
            except Exception as error:
                error.add_note(
                    f"in {type(self).__name__}.update of parameter {i}; it returns the new value "
                    "and the new state, and changes nothing that it is given"
                )
                raise
            if type(value) is not ndarray or value.dtype is not w.dtype:
                value = np.asarray(value, w.dtype)
            if value.shape != w.shape:
                raise ValueError(
                    f"{type(self).__name__}.update gave parameter {i} the shape {value.shape}, "
                    f"expected {w.shape}"
                )
            moved.append((i, parameter, value, state))
        try:
            for (
                i,
                parameter,
                value,
                state,
            ) in moved:  # only now: a failed update changes nothing
                parameter.value, states[i] = value, state
        except BaseException:  # a signal came in between: finish the step first
            for i, parameter, value, state in moved:
                parameter.value, states[i] = value, state
            raise

    # --- settings and states ----------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        """Convert NumPy scalars to Python numbers, beside which float32 stays float32."""
        if name == "lr":
            value = _setting("lr", value)
        elif isinstance(value, (np.generic, np.ndarray)) and np.ndim(value) == 0:
            value = value.item()
        super().__setattr__(name, value)

    def settings(self) -> dict[str, Any]:
        """Return the plain attributes by name: lr and the other settings.

        Example:
            >>> SGD([Tensor(1.0, requires_grad=True)], lr=0.1).settings()["lr"]
            0.1
        """
        return {
            name: value
            for name, value in vars(self).items()
            if isinstance(value, (bool, int, float, str, tuple)) and not name.startswith("_")
        }

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the settings and of each parameter's state, by the parameter's index.

        Example:
            >>> w = Tensor([1.0], requires_grad=True)
            >>> optimizer = SGD([w], lr=0.1, momentum=0.9)
            >>> (3 * w).sum().backward()
            >>> optimizer.step()
            >>> optimizer.state_dict()["state"]
            {0: {'momentum_buffer': array([3.])}}
        """
        return {
            "settings": self.settings(),
            "state": {
                i: {name: np.array(value) for name, value in state.items()}
                for i, state in self.state.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the settings and states to those of an optimizer of the same class and parameters.
        The next step is then bit for bit what its next step would have been.

        Raises:  KeyError if names are missing or unknown, ValueError or TypeError for values of
                 another shape or kind; the optimizer is then unchanged
        """
        own = type(self).__name__
        _same_names(f"the state of {own}", state, ["settings", "state"])
        _same_names(f"what is given as settings of {own}", state["settings"], self.settings())
        new = copy(self)
        for name, value in state["settings"].items():
            setattr(new, name, tuple(value) if isinstance(value, list) else value)
        new.state = {}
        for key, given in state["state"].items():
            i = int(key)
            if not 0 <= i < len(self.parameters):
                raise NameMissing(f"{own} has parameters 0 … {len(self.parameters) - 1}, not {i}")
            first = new.first_state(self.parameters[i].value)
            _same_names(f"the state of parameter {i} in {own}", given, first)
            new.state[i] = {
                name: _like(f"{name} of parameter {i}", given[name], first[name]) for name in first
            }
        vars(self).update(vars(new))

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.settings().items())
        return f"{type(self).__name__}({len(self.parameters)} parameters, {settings})"


class SGD(Optimizer):
    """Gradient descent, W ← W − lr · ∂L/∂W, with PyTorch's momentum and weight decay.

        g ← ∂L/∂W + weight_decay · W
        v ← momentum · v + g                     (v is 0 at first)
        W ← W − lr · v,  with nesterov  W ← W − lr · (g + momentum · v)

    Raises:  as `Optimizer`; ValueError for negative settings, or for nesterov without momentum
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
        super().__init__(parameters, lr)
        self.momentum = _setting("momentum", momentum)
        self.weight_decay = _setting("weight_decay", weight_decay)
        self.nesterov = nesterov
        if nesterov and momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")

    def first_state(self, w: Array) -> State:
        return {"momentum_buffer": np.zeros_like(w)} if self.momentum else {}

    def update(self, w: Any, g: Any, state: State, lr: Any) -> tuple[Any, State]:
        if self.weight_decay:
            g = g + self.weight_decay * w
        if self.momentum:  # it may have been 0 at the first step
            v = self.momentum * state.get("momentum_buffer", 0.0) + g
            g, state = (g + self.momentum * v if self.nesterov else v), {"momentum_buffer": v}
        return w - lr * g, state


class Adam(Optimizer):
    """Update by steps of about the size lr, whatever the size of the gradient.

        g ← ∂L/∂W + weight_decay · W
        m ← β₁ m + (1 − β₁) g            v ← β₂ v + (1 − β₂) g ⊙ g
        W ← W − lr · m̂ / (√v̂ + eps)      m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ) at its t-th step

    Raises:  as `Optimizer`; ValueError for negative settings or a β that is not in [0, 1)
    Source:  D. Kingma, J. Ba, "Adam: a method for stochastic optimization", 2015;
             torch.optim.Adam
    Example:
        >>> w = Tensor([1.0, 2.0], requires_grad=True)
        >>> optimizer = Adam([w], lr=0.1)
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        >>> w.data.round(6)
        array([0.9, 1.9])
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr)
        self.betas = (_setting("betas[0]", betas[0]), _setting("betas[1]", betas[1]))
        if not max(self.betas) < 1:
            raise ValueError(f"betas must be below 1, received {betas}")
        self.eps = _setting("eps", eps)
        self.weight_decay = _setting("weight_decay", weight_decay)

    def first_state(self, w: Array) -> State:
        return {"step": np.zeros(()), "exp_avg": np.zeros_like(w), "exp_avg_sq": np.zeros_like(w)}

    def update(self, w: Any, g: Any, state: State, lr: Any) -> tuple[Any, State]:
        if self.weight_decay:
            g = g + self.weight_decay * w
        return self._adapted(w, g, state, lr)

    def _adapted(self, w: Any, g: Any, state: State, lr: Any) -> tuple[Any, State]:
        beta1, beta2 = self.betas
        t = state["step"] + 1
        m = beta1 * state["exp_avg"] + (1 - beta1) * g
        v = beta2 * state["exp_avg_sq"] + (1 - beta2) * (g * g)
        # √v̂ = √v/√(1 − β₂ᵗ); both divisors are computed in float64, then cast to the dtype of w
        below_m = astype(1 - np.power(beta1, t), w.dtype)
        below_v = astype(np.sqrt(1 - np.power(beta2, t)), w.dtype)
        w = w - lr / below_m * m / (np.sqrt(v) / below_v + self.eps)
        return w, {"step": t, "exp_avg": m, "exp_avg_sq": v}


class AdamW(Adam):
    """Adam with decoupled weight decay: W ← W − lr · weight_decay · W comes before Adam's step and
    does not enter m and v.

    Raises:  as `Adam`
    Source:  I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", 2019;
             torch.optim.AdamW
    Example:
        >>> w = Tensor([1.0], requires_grad=True)
        >>> optimizer = AdamW([w], lr=0.1, weight_decay=0.5)
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        >>> w.data.round(6)
        array([0.85])
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def update(self, w: Any, g: Any, state: State, lr: Any) -> tuple[Any, State]:
        return self._adapted(w * (1 - lr * self.weight_decay), g, state, lr)


def _setting(name: str, value: Any) -> float:
    """Return a setting as a Python number. Raise an error unless it is finite and at least 0."""
    if np.ndim(value) or np.asarray(value).dtype.kind not in "fiu":
        raise TypeError(f"{name} must be a number, received {value!r}")
    if not (value >= 0 and isfinite(value)):
        raise ValueError(f"{name} must be a number of at least 0, received {value!r}")
    return float(value)


def _variables(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return the parameters as a list. Raise an error unless each is a variable, given once."""
    if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
        raise TypeError(
            f"an optimizer takes several tensors, such as model.parameters(), received "
            f"{type(parameters).__name__}"
        )
    variables = list(parameters)
    if not variables:
        raise ValueError(
            "an optimizer needs at least one parameter, received none; a module's are the "
            "nn.Parameter among its attributes, and in lists, tuples and dicts of these"
        )
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


def _read_only(array: Array) -> Array:
    """Return a read-only view for `update`: a record may need the array's numbers."""
    view: Array = array[...]
    view.setflags(write=False)
    return view


def _same_names(what: str, given: Mapping[str, Any], expected: Iterable[str]) -> None:
    missing = [name for name in expected if name not in given]
    unknown = [name for name in given if name not in expected]
    if missing or unknown:
        raise NameMissing(f"{what} does not fit: missing {missing}, unknown {unknown}")


def _like(what: str, given: Any, own: Any) -> Array:
    """Return a copy of a saved state array. Raise an error unless it has the expected shape and
    kind of dtype.
    """
    array, own = as_array(given), np.asarray(own)
    if array.shape != own.shape:
        raise ValueError(f"{what}: expected shape {own.shape}, received {array.shape}")
    if not np.can_cast(array.dtype, own.dtype, "same_kind"):
        raise TypeError(f"{what}: expected dtype {own.dtype}, received {array.dtype}")
    return array.astype(own.dtype)
