"""Module: a function with parameters, composed of other modules.

To write a layer, derive a class and give it a `forward`. Its parameters, buffers and submodules are
those attributes that are a `Parameter`, `Buffer` or `Module`, also inside lists, tuples and dicts.
They are found by looking at the attributes; there is no registration."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from reprlib import recursive_repr
from threading import local
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import ref

import numpy as np

from . import pytorch_names
from .arrays import Array, NameMissing, describe
from .engine import tick
from .tensor import Buffer, Parameter, Tensor

__all__ = ["Module"]

PLAIN = frozenset({bool, float, int, str, type(None), np.ndarray})  # types without parts


class _Calls(local):
    """The latest module calls of this thread: the ages of records before and after each, and a weak
    reference to the module. `picture` reads from these which module an operation belongs to."""

    def __init__(self) -> None:
        self.latest: deque[tuple[int, int, ref[Module]]] = deque(maxlen=1000)


calls = _Calls()


class Module:
    """A function with parameters: the base class of layers and networks, which define `forward`.

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
    # The name of its result in formulas, numbered: Z for linear layers, N for normalisation, P for
    # pooling; "" for no name of its own.
    letter: ClassVar[str] = ""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's output. Each class defines it."""
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return forward(*args, **kwargs); an exception gets a note that names the module."""
        begun = tick()
        try:
            result = self.forward(*args, **kwargs)
            if result is None:
                raise TypeError(f"{type(self).__name__}.forward gave None; does it `return` it?")
        except Exception as error:
            self._explain(error, [*args, *kwargs.values()])
            raise
        calls.latest.append((begun, tick(), ref(self)))
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
        """Yield path and object of every tensor and module inside, each once, in definition
        order.
        """
        for path, part in parts_of(vars(self), prefix):
            if id(part) not in seen:
                seen.add(id(part))
                yield path, part
                if isinstance(part, Module):
                    yield from part._parts(f"{path}.", seen)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield every parameter with its attribute path; a shared one only once."""
        for name, part in self._parts("", {id(self)}):
            if isinstance(part, Parameter):
                yield name, part

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter in definition order; a shared one only once.

        Example:
            >>> import tinygrad_edu as tg
            >>> [p.shape for p in tg.nn.Linear(3, 2, rng=0).parameters()]
            [(3, 2), (2,)]
        """
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Yield every buffer (saved but not trained) with its attribute path."""
        for name, part in self._parts("", {id(self)}):
            if isinstance(part, Buffer):
                yield name, part

    def buffers(self) -> Iterator[Buffer]:
        """Yield every buffer in definition order; a shared one only once."""
        return (buffer for _, buffer in self.named_buffers())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Yield this module (as "") and every module inside, with its attribute path."""
        yield "", self
        for name, part in self._parts("", {id(self)}):
            if isinstance(part, Module):
                yield name, part

    def modules(self) -> Iterator[Module]:
        """Yield this module and every module inside."""
        return (module for _, module in self.named_modules())

    if not TYPE_CHECKING:  # type checkers must see the real attributes only

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # a property failed: raise its own error
                return object.__getattribute__(self, name)
            told = pytorch_names.missing(type(self).__name__, name, pytorch_names.MODULE)
            raise AttributeError(told, name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to replace a Parameter or Buffer by anything but another one or None: the
        optimizer would go on updating the old one."""
        old = self.__dict__.get(name)
        for kind in (Parameter, Buffer):
            if isinstance(old, kind) and not (value is None or isinstance(value, kind)):
                raise TypeError(
                    f"{type(self).__name__}.{name} is a {kind.__name__}, received "
                    f"{type(value).__name__}; assign {name}.data = array for new values, or "
                    f"nn.{kind.__name__}(array)"
                )
        super().__setattr__(name, value)

    # --- what is done to all of it ----------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set `training` on this module and all inside; layers such as dropout depend on it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Call `train(False)`."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, dtype: Any) -> Self:
        """Convert all floating parameters and buffers, and their gradients, to a floating dtype.
        `to("cpu")` changes nothing.

        Raises:  TypeError for a dtype that is not floating, and for a device that is not there
        Example:
            >>> import tinygrad_edu as tg
            >>> [p.dtype.name for p in tg.nn.Linear(2, 1).to("float32").parameters()]
            ['float32', 'float32']
        """
        if str(dtype) == "cpu":
            return self
        try:
            dtype = np.dtype(dtype)
        except TypeError:
            raise TypeError(
                f"to() takes a floating dtype such as np.float32, received {dtype!r}; there is one "
                'device, "cpu"'
            ) from None
        if dtype.kind != "f":
            raise TypeError(f"a module's numbers are floating, received {dtype}")
        for _, part in self._parts("", {id(self)}):
            if isinstance(part, (Parameter, Buffer)) and part.value.dtype.kind == "f":
                part.value = part.value.astype(dtype, copy=False)
                part.grad = None if part.grad is None else part.grad.astype(dtype, copy=False)
        return self

    def float(self) -> Self:
        """Call `to("float32")`."""
        return self.to(np.float32)

    def double(self) -> Self:
        """Call `to("float64")`."""
        return self.to(np.float64)

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers, by name.

        Example:
            >>> import tinygrad_edu as tg
            >>> state = tg.nn.Linear(2, 1, init=tg.init.ones).state_dict()
            >>> {name: array.tolist() for name, array in state.items()}
            {'weight': [[1.0], [1.0]], 'bias': [0.0]}
        """
        return {name: part.value.copy() for name, part in self._by_name().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set all parameters and buffers to the values in `state`, keeping their dtypes: all or
        none.

        Raises:  KeyError if names are missing or unknown, ValueError or TypeError for values of
                 another shape or kind; the module is then unchanged
        """
        own = self._by_name()
        missing = [name for name in own if name not in state]
        unknown = [name for name in state if name not in own]
        if missing or unknown:
            raise NameMissing(
                f"the state does not fit {type(self).__name__}: missing {missing}, "
                f"unknown {unknown}"
            )
        arrays, wrong = {}, []
        for name, part in own.items():
            value = state[name]
            try:
                arrays[name] = part._new_value(value.value if isinstance(value, Tensor) else value)
            except (TypeError, ValueError) as error:
                wrong.append((type(error), f"{name}: {error}"))
        if wrong:
            told = "; ".join(message for _, message in wrong)
            raise wrong[0][0](f"the state does not fit {type(self).__name__}: {told}")
        for name, part in own.items():
            part.value = arrays[name]

    def _by_name(self) -> dict[str, Parameter | Buffer]:
        named = [
            (name, part)
            for name, part in self._parts("", {id(self)})
            if isinstance(part, (Parameter, Buffer))
        ]
        own = dict(named)
        if len(own) < len(named):
            names = [name for name, _ in named]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(
                f"{type(self).__name__} has several parameters or buffers called {twice}"
            )
        return own

    # --- in print ---------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """Return the settings to print between the brackets. A class may define it."""
        return ""

    def _title(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    @recursive_repr("…")  # a module may refer to the one that contains it
    def __repr__(self) -> str:
        children = [
            (path, part)
            for path, part in parts_of(vars(self), "")
            if isinstance(part, Module) and part is not self
        ]
        if not children:
            return self._title()
        lines = [f"({path}): {part!r}".replace("\n", "\n  ") for path, part in children]
        return f"{type(self).__name__}({self.extra_repr()}\n  " + "\n  ".join(lines) + "\n)"


def parts_of(members: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Tensor | Module]]:
    """Yield the path and object of each tensor and module among attributes, also inside lists,
    tuples and dicts.

    Example:
        >>> [name for name, _ in parts_of({"a": [Tensor(1.0), Tensor(2.0)], "b": 3}, "")]
        ['a.0', 'a.1']
    """
    for name, value in members.items():
        if type(value) in PLAIN:  # most attributes; faster than isinstance with an abstract class
            continue
        if isinstance(value, (Tensor, Module)):
            yield f"{prefix}{name}", value
        elif isinstance(value, (list, tuple)):
            yield from parts_of(dict(enumerate(value)), f"{prefix}{name}.")
        elif isinstance(value, Mapping):
            yield from parts_of(value, f"{prefix}{name}.")
