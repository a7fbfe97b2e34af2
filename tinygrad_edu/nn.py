"""Modules: functions with parameters, and how they are put together.

A layer of your own is a class with a `forward`; its parameters and submodules are the attributes
that are `Parameter`s and `Module`s, also in lists, tuples and dicts. Nothing is registered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from reprlib import recursive_repr
from typing import Any
from weakref import ref

import numpy as np

from . import init as initialisers
from . import ops
from .engine import Array, _tick, as_array, describe
from .tensor import Parameter, Tensor

__all__ = [
    "Linear", "Module", "Parameter", "ReLU", "Sequential", "Sigmoid", "Softmax", "Tanh",
]  # fmt: skip


# The latest calls: the ages before and after, whose it was, and the ids of what it received. From
# these a picture of a graph knows which module an operation stands in; they keep nothing alive.
calls: deque[tuple[int, int, ref[Module], tuple[int, ...]]] = deque(maxlen=1000)


class Module:
    """A function with parameters. A layer or a whole network derives from it and has `forward`.

    Source:  torch.nn.Module
    Example:
        >>> class Scale(Module):
        ...     def __init__(self):
        ...         self.factor = Parameter([2.0])
        ...     def forward(self, x):
        ...         return x * self.factor
        >>> layer = Scale()
        >>> layer(np.array([1.0, 3.0]))
        Tensor([2., 6.], from multiply)
        >>> dict(layer.named_parameters())
        {'factor': Parameter([2.], requires_grad=True)}
    """

    training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; to be written by each class."""
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`forward`, with the module's name added to any error that comes out of it."""
        begun = _tick()
        try:
            result = self.forward(*args, **kwargs)
        except Exception as error:
            self._explain(error, [*args, *kwargs.values()])
            raise
        calls.append((begun, _tick(), ref(self), tuple(map(id, (*args, *kwargs.values())))))
        return result

    def _explain(self, error: Exception, received: list[Any]) -> None:
        inner = getattr(error, "_from_module", None)
        if inner is None:
            what = ", ".join(map(describe, received))
            error.add_note(f"in {self._title()}, which received {what}")
            error._from_module = self  # type: ignore[attr-defined]
        else:
            path = next((name for name, module in self.named_modules() if module is inner), "")
            if path:
                error.add_note(f"that is module {path!r} of {type(self).__name__}")

    # --- its parts --------------------------------------------------------------------------------

    def _parts(self, prefix: str, seen: set[int]) -> Iterator[tuple[str, Tensor | Module]]:
        """Name and object of every tensor and module inside, in the order written, each once."""
        for path, part in _inside(vars(self), prefix):
            if id(part) not in seen:
                seen.add(id(part))
                yield path, part
                if isinstance(part, Module):
                    yield from part._parts(f"{path}.", seen)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with the path of attributes that leads to it; a shared one once."""
        for name, part in self._parts("", {id(self)}):
            if isinstance(part, Parameter):
                yield name, part

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter, in the order written; a shared one once.

        Example:
            >>> [p.shape for p in Linear(3, 2, rng=0).parameters()]
            [(3, 2), (2,)]
        """
        return (parameter for _, parameter in self.named_parameters())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module (as "") and every module inside, with the path that leads to it."""
        yield "", self
        for name, part in self._parts("", {id(self)}):
            if isinstance(part, Module):
                yield name, part

    def modules(self) -> Iterator[Module]:
        """This module and every module inside."""
        return (module for _, module in self.named_modules())

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to put anything but a Parameter (or None) in a Parameter's place: the network
        would go on with weights that no optimizer knows."""
        if isinstance(self.__dict__.get(name), Parameter) and not (
            value is None or isinstance(value, Parameter)
        ):
            raise TypeError(
                f"{type(self).__name__}.{name} is a Parameter, received {type(value).__name__}; "
                f"assign {name}.data = array for new values, or nn.Parameter(array)"
            )
        super().__setattr__(name, value)

    # --- what is done to all of it ----------------------------------------------------------------

    def train(self, mode: bool = True) -> Module:
        """Set `training` on this module and all inside: layers such as dropout behave by it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """`train(False)`."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def state_dict(self) -> dict[str, Array]:
        """A copy of all parameters, by name.

        Example:
            >>> state = Linear(2, 1, init=initialisers.ones).state_dict()
            >>> {name: array.tolist() for name, array in state.items()}
            {'weight': [[1.0], [1.0]], 'bias': [0.0]}
        """
        return {name: parameter.value.copy() for name, parameter in self._by_name().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give all parameters the values in `state`, in their own dtype; all of them or none.

        Raises:  KeyError if names are missing or unknown, ValueError or TypeError for values of
                 another shape or kind; the module is then unchanged
        """
        own = self._by_name()
        missing = [name for name in own if name not in state]
        unknown = [name for name in state if name not in own]
        if missing or unknown:
            raise KeyError(
                f"the state does not fit {type(self).__name__}: missing {missing}, "
                f"unknown {unknown}"
            )
        arrays, wrong = {}, []
        for name, parameter in own.items():
            value = state[name]
            try:
                arrays[name] = parameter._new_value(
                    value.value if isinstance(value, Tensor) else value
                )
            except (TypeError, ValueError) as error:
                wrong.append((type(error), f"{name}: {error}"))
        if wrong:
            told = "; ".join(message for _, message in wrong)
            raise wrong[0][0](f"the state does not fit {type(self).__name__}: {told}")
        for name, parameter in own.items():
            parameter.value = arrays[name]

    def _by_name(self) -> dict[str, Parameter]:
        named = list(self.named_parameters())
        own = dict(named)
        if len(own) < len(named):
            names = [name for name, _ in named]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"{type(self).__name__} has several parameters called {twice}")
        return own

    # --- in print ---------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the brackets in print; to be written where there is something."""
        return ""

    def _title(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    @recursive_repr("…")  # a module may know the one that it is in
    def __repr__(self) -> str:
        children = [
            (path, part)
            for path, part in _inside(vars(self), "")
            if isinstance(part, Module) and part is not self
        ]
        if not children:
            return self._title()
        lines = [f"({path}): {part!r}".replace("\n", "\n  ") for path, part in children]
        return f"{type(self).__name__}({self.extra_repr()}\n  " + "\n  ".join(lines) + "\n)"


def _inside(members: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Tensor | Module]]:
    """The tensors and modules among attributes, and in lists, tuples and dicts among them."""
    for name, value in members.items():
        if isinstance(value, (Tensor, Module)):
            yield f"{prefix}{name}", value
        elif isinstance(value, (list, tuple)):
            yield from _inside(dict(enumerate(value)), f"{prefix}{name}.")
        elif isinstance(value, Mapping):
            yield from _inside(value, f"{prefix}{name}.")


class Linear(Module):
    """X W + b.

    Shapes:  X (m, n_in), weight W (n_in, n_out), bias b (n_out,)  →  (m, n_out)
    Error:   ∂L/∂W = XᵀE,  ∂L/∂b = 1ᵀE,  ∂L/∂X = EWᵀ
    Raises:  ValueError if X has not n_in columns, or a size is not positive
    Source:  the chapter, "two layers"

    `init` gives the first weights (see `tinygrad_edu.init`), drawn from `rng`: a Generator, a
    RandomState or a seed. The bias starts at 0.

    Example:
        >>> Linear(3, 2, rng=np.random.default_rng(0))(np.ones((4, 3))).shape
        (4, 2)
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        bias: bool = True,
        rng: initialisers.Random | int | None = None,
        init: Callable[..., Any] = initialisers.glorot_uniform,
        dtype: Any = np.float64,
    ) -> None:
        if n_in < 1 or n_out < 1:
            raise ValueError(f"Linear needs sizes of at least 1, received {n_in} and {n_out}")
        weight = as_array(init((n_in, n_out), initialisers.as_random(rng)))
        if weight.shape != (n_in, n_out):
            raise ValueError(f"init gave weights {weight.shape}, expected {(n_in, n_out)}")
        self.n_in, self.n_out = n_in, n_out
        self.weight = Parameter(weight, dtype=dtype)
        self.bias = Parameter(np.zeros(n_out), dtype=dtype) if bias else None

    def forward(self, x: Any) -> Any:
        try:
            z = ops.matmul(x, self.weight)
        except ValueError as error:
            raise ValueError(
                f"Linear({self.n_in}, {self.n_out}) expects X with {self.n_in} columns, received "
                f"{describe(x)}"
            ) from error
        return z if self.bias is None else ops.add(z, self.bias)

    def extra_repr(self) -> str:
        return f"{self.n_in}, {self.n_out}{'' if self.bias is not None else ', bias=False'}"


class Sequential(Module):
    """Modules one after the other: the output of each is the input of the next.

    Example:
        >>> model = Sequential(Linear(30, 10, rng=0), Sigmoid(), Linear(10, 1, rng=1))
        >>> model
        Sequential(
          (0): Linear(30, 10)
          (1): Sigmoid()
          (2): Linear(10, 1)
        )
        >>> model(np.zeros((4, 30))).shape
        (4, 1)
    """

    def __init__(self, *modules: Any) -> None:
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                way_out = (
                    "write Sequential(*layers)"
                    if isinstance(module, (list, tuple))
                    else "nn.Sigmoid() is a module, nn.Sigmoid a class and tg.sigmoid a function"
                )
                raise TypeError(
                    f"Sequential takes modules, received {module!r} in place {i}; {way_out}"
                )
            setattr(self, str(i), module)

    def __iter__(self) -> Iterator[Module]:
        return iter([module for name, module in vars(self).items() if name.isdigit()])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, i: int) -> Module:
        return list(self)[i]

    def forward(self, x: Any) -> Any:
        for name, module in vars(self).items():
            if name.isdigit():
                x = module(x)
        return x


class Sigmoid(Module):
    """σ(x) = 1 / (1 + e⁻ˣ); see `tinygrad_edu.sigmoid`."""

    def forward(self, x: Any) -> Any:
        return ops.sigmoid(x)


class ReLU(Module):
    """max(x, 0); see `tinygrad_edu.relu`."""

    def forward(self, x: Any) -> Any:
        return ops.relu(x)


class Tanh(Module):
    """The hyperbolic tangent; see `tinygrad_edu.tanh`."""

    def forward(self, x: Any) -> Any:
        return ops.tanh(x)


class Softmax(Module):
    """Probabilities along an axis; see `tinygrad_edu.softmax`. `cross_entropy` takes the logits
    that go into it, not what comes out."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return ops.softmax(x, axis=self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"
