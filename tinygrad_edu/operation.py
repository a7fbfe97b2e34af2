"""Op: a NumPy function, its derivative rules, how it is called and how its failures are reported.

An Op knows nothing of tensors. `engine.primitive` makes one for each declared function and calls
`Op.run` with the arrays that the tensors hold.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from inspect import Parameter
from typing import Any, Protocol

import numpy as np
from numpy import ndarray

from .arrays import Array, array_of, as_operand, describe

Rule = Callable[..., Any]
_PACKAGE = __name__.partition(".")[0]


class Op:
    """One operation: a NumPy function with a derivative rule for each of its arrays.

    name             the function's name
    forward          the function
    rules            one rule for each array, None where there is no derivative
    arity            the number of arrays; None: any number
    arrays           the names of these parameters
    settings         the other parameters: True if it may be passed by position, else False
    defaults         the default of each setting that has one
    differentiable   True if at least one array has a rule
    activation       True for the activation of a layer
    guarded          True if `forward` gets read-only arrays, so that it cannot overwrite them
    """

    __slots__ = (
        "activation",
        "arity",
        "arrays",
        "defaults",
        "differentiable",
        "forward",
        "guarded",
        "name",
        "rules",
        "settings",
    )

    def __init__(
        self, forward: Callable[..., Any], rules: Sequence[Rule | None], activation: bool = False
    ):
        if not callable(forward):
            raise TypeError(
                "primitive takes the rules: write @primitive(rule, ...) above a function"
            )
        arrays, settings = _arrays_and_settings(forward)
        variadic = any(p.kind is p.VAR_POSITIONAL for p in arrays)
        self.name = forward.__name__.lstrip("_")
        self.forward = forward
        self.rules = tuple(rules)
        self.differentiable = any(rules)
        self.guarded = _is_foreign(forward)
        self.activation = activation
        self.arity = None if variadic else len(arrays)
        self.arrays = tuple(p.name for p in arrays)
        self.settings = {p.name: p.kind is not p.KEYWORD_ONLY for p in settings}
        self.defaults = {p.name: p.default for p in settings if p.default is not p.empty}
        self._check_rules(["i"] * variadic + ["g", "y", *self.arrays])

    def _check_rules(self, parameters: list[str]) -> None:
        """Raise TypeError unless there is a rule for each array that takes these parameters."""
        if len(self.rules) != len(self.arrays):
            raise TypeError(
                f"{self}{self._signature()}: rules given: {len(self.rules)}, arrays: "
                f"{len(self.arrays)}; one rule for each array, None where there is no derivative; "
                "what is not an array stands after `/` or has a default"
            )
        for rule in filter(None, self.rules):
            try:
                inspect.signature(rule).bind(*parameters, **dict.fromkeys(self.settings))
            except TypeError as error:
                called = ", ".join([*parameters, *(f"{name}=" for name in self.settings)])
                raise TypeError(f"a rule of {self} is called as rule({called}): {error}") from None

    def __repr__(self) -> str:
        return self.name

    def _signature(self) -> str:
        return f"({', '.join([*self.arrays, *self.settings])})"

    def rules_for(self, args: Sequence[Any]) -> Sequence[Rule | None]:
        """Return a rule for each argument.

        A function of `*arrays` has a single rule that takes the argument's index i first; it is
        returned once for each argument, with i filled in.
        """
        if self.arity is not None:
            return self.rules
        return [self.rules[0] and partial(self.rules[0], i) for i in range(len(args))]

    # --- the call ---------------------------------------------------------------------------------

    def bind(self, args: tuple[Any, ...], settings: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return the arrays and all settings of a call, with defaults filled in.

        Arrays may be passed by name and settings by position, as the function's signature allows.

        Raises:  TypeError for arguments that do not fit, or a tensor as a setting
        """
        if len(args) == self.arity and not settings:  # the most frequent case
            return args, self.defaults.copy()
        if self.arity is not None and len(args) != self.arity:
            args, settings = self._by_name(args, settings)
        for name, value in settings.items():
            if name not in self.settings:
                raise TypeError(f"{self} takes {self._signature()}, and no {name!r}")
            if (tensor := _tensor_in(value)) is not None:
                raise TypeError(
                    f"{self}: {name!r} is a setting and has no derivative, received a tensor "
                    f"{describe(tensor)}; give a number or an array (t.numpy())"
                )
        return args, self.defaults | settings

    def _by_name(
        self, args: tuple[Any, ...], settings: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Move positional settings to `settings`, and arrays passed by name to `args`."""
        by_position = [name for name, allowed in self.settings.items() if allowed]
        more = args[self.arity :]
        named = dict(zip(by_position, more, strict=False))
        args = args[: self.arity]
        missing = self.arrays[len(args) :]
        if len(named) < len(more) or named.keys() & settings or {*missing} - settings.keys():
            received = ", ".join([*map(describe, args + more), *settings])
            raise TypeError(f"{self} takes {self._signature()}, received ({received})")
        settings = settings | named
        return args + tuple(settings.pop(name) for name in missing), settings

    def run(
        self, args: Sequence[Any], raw: list[Any], settings: dict[str, Any], convert: bool
    ) -> Array:
        """Return forward(*raw, **settings) as one array.

        args      the arguments as the caller wrote them, for messages
        raw       the same with the arrays of the tensors
        convert   first turn `raw` into operands, in place: some may be lists or arrays of objects

        Raises:  the function's error, with the operation's name and what it received
        """
        try:
            if convert:
                raw[:] = map(as_operand, raw)
            seen = map(_read_only, raw) if self.guarded else raw
            value = self.forward(*seen, **settings) if settings else self.forward(*seen)
        except Exception as error:
            refusal = self._refusal(args, error)
            try:
                if refusal is error:
                    raise
                raise refusal from error
            finally:  # the traceback refers to this frame: no cycle back from it
                del refusal
        return value if type(value) is ndarray else self._one_array(value)

    def _one_array(self, value: Any) -> Array:
        several = isinstance(value, list) and any(np.ndim(part) for part in value)
        if several or isinstance(value, tuple):  # a list of numbers is one array
            raise TypeError(
                f"{self} gave a {type(value).__name__} of {len(value)}, expected one array; "
                "declare an operation for each, or stack them"
            )
        return np.asarray(value)

    def _refusal(self, args: Iterable[Any], error: Exception) -> Exception:
        """Return the error to raise: it names the operation and the arguments.

        Python's and NumPy's usual errors are replaced by a new one, any other gets a note.
        """
        received = f"received {', '.join(describe(arg) for arg in args)}"
        if isinstance(error, ValueError) and "read-only" in str(error):
            received += (
                "\n  it may not overwrite what it was given: let it change and return a copy"
            )
        kinds = (np.exceptions.AxisError, IndexError, TypeError, ValueError)
        if type(error) in kinds or type(error).__name__.startswith("_UFunc"):
            kind = next(kind for kind in kinds if isinstance(error, kind))
            return kind(f"{self}: {error}\n  {received}")
        error.add_note(f"in {self}, which {received}")
        return error

    def check_kind(self, args: Sequence[Any], raw: Sequence[Any], value: Array) -> None:
        """Raise TypeError if the result is not of floats although a recorded tensor is.

        Without rules an operation may give anything: comparisons give bools.
        """
        floats = (arg for arg, x in zip(args, raw, strict=True) if np.asarray(x).dtype.kind == "f")
        if self.differentiable and any(getattr(arg, "record", None) for arg in floats):
            raise TypeError(f"{self} gave {describe(value)}, which has no gradient; give floats")


class Primitive(Protocol):
    """A NumPy function that also works on tensors; `op` holds its name and rules."""

    op: Op

    def __call__(self, *args: Any, **settings: Any) -> Any: ...


def _arrays_and_settings(
    forward: Callable[..., Any],
) -> tuple[list[Parameter], list[Parameter]]:
    """Return the parameters that are arrays, and the others: the settings.

    Arrays are `*arrays`; else the parameters before `/`; else those without a default.
    """
    if isinstance(forward, np.ufunc):
        return [Parameter(name, Parameter.POSITIONAL_ONLY) for name in "abc"[: forward.nin]], []
    parameters = list(inspect.signature(forward).parameters.values())
    kinds = [p.kind for p in parameters]
    if Parameter.VAR_POSITIONAL in kinds:
        arrays = [p for p in parameters if p.kind is Parameter.VAR_POSITIONAL]
    elif Parameter.POSITIONAL_ONLY in kinds:
        arrays = [p for p in parameters if p.kind is Parameter.POSITIONAL_ONLY]
    else:
        arrays = [
            p for p in parameters if p.kind is not Parameter.KEYWORD_ONLY and p.default is p.empty
        ]
    return arrays, [p for p in parameters if p not in arrays]


def _tensor_in(value: Any) -> Any:
    """Return the first tensor in a setting, also inside of tuples and lists, or None."""
    if isinstance(value, (tuple, list)):
        return next((t for part in value if (t := _tensor_in(part)) is not None), None)
    return None if array_of(value) is None else value


def _is_foreign(forward: Callable[..., Any]) -> bool:
    """Return True for a function from outside of NumPy's ufuncs and this package.

    Such a function might overwrite its arguments.
    """
    package = str(getattr(forward, "__module__", "")).partition(".")[0]
    return not isinstance(forward, np.ufunc) and package != _PACKAGE


def _read_only(x: Any) -> Any:
    """Return a read-only view of an array; anything else as it is."""
    if type(x) is ndarray:
        x = x.view()
        x.flags.writeable = False
    return x
