"""Replay: a program with the arrays that it finds around it, and leaves there."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from operator import is_
from sys import getrefcount
from typing import Any
from weakref import finalize

import numpy as np

from ..arrays import Array
from ..engine import Box, hooks
from ..tensor import Tensor
from .calls import Mispredicted, Value, strides_of_new, values_in
from .checks import hold_for
from .homes import Home, Lease, lay, lock
from .native import Native, NotNative
from .program import Program
from .rates import Rate
from .sampling import Sampler
from .surroundings import Surroundings

_QUIET = {"ignore", "warn", "print"}  # settings of np.errstate with which no operation raises


class Replay:
    """One program of a step, what it reads and writes around it, and when it applies."""

    def __init__(
        self,
        program: Program,
        surroundings: Surroundings,
        homes: list[tuple[Home, Value]],
        gradients: list[tuple[Box, Value | None]],
        result: Any,
        rates: list[Rate],
        states: dict[Any, dict[int, Any]],
        needs_none: list[Box],
        names: dict[Box, str],
        draws: bool,
    ) -> None:
        self.program, self.surroundings = program, surroundings
        self.sampler = Sampler(False, 1)
        self.source = ""
        self.draws = draws  # random numbers, by recorded operations
        boxed = [home.holder for home, _ in homes if isinstance(home.holder, Box)]
        reached = [*surroundings.tensors.values(), *boxed, *(box for box, _ in gradients)]
        self.tensors = list(dict.fromkeys(reached))
        self.optimizers = list(dict.fromkeys([*surroundings.optimizers, *states]))
        self._names: dict[Box, str] = {}
        for i, x in enumerate(self.tensors):
            name = names.get(x) or x.name or f"tensor {i}"
            self._names[x] = f"{name} (tensor {i})" if name in self._names.values() else name
        self._homes, self._gradients, self.needs_none = homes, gradients, needs_none
        self._result, self._rates = result, rates
        self._states = [
            (optimizer, [(i, names) for i, names in of_each.items() if names])
            for optimizer, of_each in states.items()
        ]
        self._arrays: list[Array] = []  # of the homes
        written = {call.out.block for call in program.calls if call.out is not None}
        written |= {place for place, _ in program.copies}
        self._writes = [home for home, place in homes if place in written]
        self._lease = Lease()
        finalize(self, self._lease.give_back)
        self.native: Native | None = None
        self.told: bool | str | None = None  # True: native, or why not; None: that was not asked
        self._now: list[float] = []  # the rates
        self._given: list[Any] = []
        self._left: list[Any] = []  # the gradients
        self._held: list[int] | None = None  # how often these are held; None: nothing made yet

    @property
    def gradients(self) -> dict[Box, None]:
        """The tensors in whose .grad a step leaves something, or None."""
        return {box: None for box, _ in self._gradients}

    @property
    def is_bound(self) -> bool:
        """True while the program has its arrays."""
        return self._held is not None

    def written(self) -> list[Array]:
        """The arrays that the program writes over: data and states in their homes."""
        return [home.array for home in self._writes]

    def name_of(self, tensor: Box) -> str:
        """The tensor's name in the source, or its number among those that the step reaches."""
        return self._names[tensor]

    def compile(self, given: list[Any]) -> None:
        """Have Numba compile the program; `told` says why not, where it cannot.

        Raises:  ImportError without the extra `native`
        """
        gradients = [box.grad for box, _ in self._gradients]  # of the step that was captured
        if not self.stands():
            self._bind()
        for (box, _), gradient in zip(self._gradients, gradients, strict=True):
            box.grad = gradient
        numbers = list(values_in(self._result))
        left = [v for _, v in self._gradients if v is not None]
        try:
            kept = [v.root for v in (*numbers, *left)]
            self.native, self.told = Native(self.program, given, kept, numbers), True
        except NotNative as reason:
            self.told = str(reason)

    def epoch(self, sources: list[Array], order: Array) -> Array:
        """A step for each row of `order`, whose arguments are the rows of the sources that it
        names, without coming back to Python: the numbers that they gave, as far as it came."""
        assert self.native is not None
        self.ready()
        ready = [np.ascontiguousarray(source) for source in sources]
        kept = self.native.epoch(ready, order, self._now)
        if len(kept):
            self.leave_gradients()
        return kept

    def holds(self) -> bool:
        """Whether everything around the step is as it was when it was captured."""
        if self.surroundings.changed() is not None:
            return False
        now = [home.read() for home, _ in self._homes]
        if not (len(self._arrays) == len(now) and all(map(is_, now, self._arrays))) and any(
            (array.shape, array.dtype, strides_of_new(array))
            != (place.shape, place.dtype, place.strides)
            for array, (_, place) in zip(now, self._homes, strict=True)
        ):
            return False
        if self.needs_none and any(box.grad is not None for box in self.needs_none):
            return False
        if hooks and any(hooks.get(id(box)) for box, _ in self._gradients):
            return False
        return not self._states or all(
            optimizer.state[i].keys() == names
            for optimizer, states in self._states
            for i, names in states
            if i in optimizer.state
        )

    def run(self, given: list[Any]) -> Any:
        """The results of the step for these arrays."""
        self.ready()
        with np.errstate(over="ignore"):  # as the sigmoid does, of whose parts this is made
            self.give(given)
            self.step()
        self.leave_gradients()
        result = _filled(self._result, lambda v: self.program.array(v).copy())
        self.release()
        return result

    # --- one step after the other (see `runs`) ----------------------------------------------------

    def ready(self) -> None:
        """Have everything where it belongs, before a step or several."""
        if not self.stands():
            self._bind()
        self.program.careful = self.program.writes > 1 and _may_raise()
        self._now = [rate.compute() for rate in self._rates]

    def give(self, given: list[Any]) -> None:
        """The arrays that the next steps are for, and what their rates are."""
        self._given = [*given, *self._now]
        if self.native is None:
            self.program.give(self._given)

    def step(self, checked: bool = False) -> None:
        """One step; `checked`: nothing is to be asked of the rows."""
        if self.native is None:
            self.program.run(checked)
        elif not self.native.run(self._given):
            raise Mispredicted

    def release(self) -> None:
        """Forget the arrays that were given, which may be large."""
        self._given = []
        self.program.release()

    def result(self) -> Any:
        """What steps give, in memory that the next one writes over."""
        return _filled(self._result, self.program.array)

    def leave_gradients(self) -> None:
        """Leave those of the last step where the function would, if there was one."""
        if self._held is None:
            return
        for (box, _), array in zip(self._gradients, self._left, strict=True):
            box.grad = array

    def asks_nothing_more(self, sources: Sequence[Array | None]) -> bool:
        """Whether what a step asks of each row is so for all rows of the sources."""
        arguments = [value for value in self.program.given if value.kind == "argument"]
        rows = {v: x for v, x in zip(arguments, sources, strict=False) if x is not None}
        read = {value.root for call in self.program.checks for value in call.reads()}
        known = all(v in rows for v in read if v.kind == "argument")
        return known and hold_for(self.program.checks, rows)

    # --- the arrays -------------------------------------------------------------------------------

    def stands(self) -> bool:
        """Return True if the arrays are still where the program knows them, and no other code holds
        one that it writes. The gradients of the last step are dropped."""
        for box, _ in self._gradients:
            box.grad = None
        return (
            self._held is not None
            and all(map(is_, [home.read() for home, _ in self._homes], self._arrays))
            and all(getrefcount(home.array) <= home.count for home in self._writes)
            and [getrefcount(array) for array in self._left if array is not None] == self._held
        )

    def _bind(self) -> None:
        """Make the arrays of the program, anew. After an exception there are none, and the next
        step makes them."""
        for box, _ in self._gradients:
            box.grad = None
        with lock:
            self.forget()
            try:
                arrays = self._bound()
            except BaseException:
                self.forget()
                raise
        self._arrays = arrays
        self._left = [None if v is None else self.program.array(v) for _, v in self._gradients]
        self._held = [getrefcount(array) for array in self._left if array is not None]

    def _bound(self) -> list[Array]:
        """Bind the program and its machine code to the arrays of homes, and return these."""
        homes = {place: home for home, place in self._homes}
        laid: set[Home] = set()
        rows = []
        for lanes in self.program.lanes:
            vectors = [v for v in lanes.vectors if v[0] in homes]
            rows.append({v[0]: lay([homes[x] for x in v], lanes, laid) for v in vectors})
        for home, _ in self._homes:
            if home not in laid:
                home.settle(home in self._writes)
        self._lease.begin([home for home, _ in self._homes])
        self.program.bind({place: home.array for home, place in self._homes}, rows)
        arrays = [home.array for home, _ in self._homes]
        if self.native is not None:
            try:
                self.native.bind()
            except NotNative as reason:  # of arrays in another layout
                self.native, self.told = None, str(reason)
        self._lease.take()
        return arrays

    def forget(self) -> None:
        """Have no arrays, until the next step."""
        self._held = None
        self._arrays, self._left = [], []
        self.program.forget()
        self._lease.give_back()


def _may_raise() -> bool:
    """Return True if an overflow or an invalid number may raise an error."""
    return not _QUIET.issuperset(np.geterr().values()) or _WARNINGS.raise_errors()


class _Warnings:
    """Python's list of filters for warnings, which is looked through again after a change."""

    def __init__(self) -> None:
        self._filters: Sequence[Any] = ()
        self._first: Any = None
        self._answer = False

    def raise_errors(self) -> bool:
        """Return True if some warnings are raised as errors."""
        now = warnings.filters
        first = now[0] if now else None
        if now is not self._filters or first is not self._first:
            self._answer = any(action == "error" for action, *_ in now)
            self._filters, self._first = now, first
        return self._answer


_WARNINGS = _Warnings()


def _filled(result: Any, array: Callable[[Value], Array]) -> Any:
    """A result with tensors in the places of values."""
    if isinstance(result, Value):
        return Tensor(array(result))
    if isinstance(result, (tuple, list)):
        return type(result)(_filled(x, array) for x in result)
    if isinstance(result, dict):
        return {name: _filled(x, array) for name, x in result.items()}
    return result
