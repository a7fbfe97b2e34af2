"""Replay: a program with the arrays that it finds around it, and leaves there."""

from __future__ import annotations

from operator import is_
from sys import getrefcount
from typing import Any
from weakref import finalize

import numpy as np

from ..engine import Array, Box, hooks
from ..tensor import Tensor
from .calls import Mispredicted, Value, values_in
from .checks import hold_for
from .homes import Home, Lease, lay, lock
from .native import Native
from .program import Program
from .rates import Rate
from .surroundings import Surroundings


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
    ) -> None:
        self.program, self.surroundings = program, surroundings
        self._homes, self._gradients, self._needs_none = homes, gradients, needs_none
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
        numbers = list(values_in(result))
        self.gives_numbers = bool(numbers) and all(v.shape == () for v in numbers)
        self._left: list[Any] = []  # the gradients
        self._held: list[int] | None = None  # how often these are held; None: nothing made yet

    def compile(self, given: list[Any]) -> None:
        """Have Numba compile the program.

        Raises:  NotNative for what it cannot, ImportError without the extra `native`
        """
        gradients = [box.grad for box, _ in self._gradients]  # of the step that was captured
        if not self._stands():
            self._bind()
        for (box, _), gradient in zip(self._gradients, gradients, strict=True):
            box.grad = gradient
        numbers = list(values_in(self._result))
        left = [v for _, v in self._gradients if v is not None]
        self.native = Native(self.program, given, [v.root for v in (*numbers, *left)], numbers)

    def epoch(self, sources: list[Array], batches: list[Array], order: Array) -> Array:
        """A step for each row of `order`, whose arguments are the rows of the sources that it
        names: the numbers that they gave, as far as it came. `batches` is memory for those rows.

        Nothing of the user's runs in between: that everything is as it was when the step was
        captured, and who holds what, is looked at once.
        """
        if not self._stands():
            self._bind()
        rates = [rate.compute() for rate in self._rates]
        if self.native is None:
            kept = self._steps(sources, batches, order, rates)
        else:
            ready = [np.ascontiguousarray(source) for source in sources]
            kept = self.native.epoch(ready, order, rates)
        for (box, _), array in zip(self._gradients, self._left, strict=True):
            box.grad = array
        return kept

    def _steps(
        self, sources: list[Array], batches: list[Array], order: Array, rates: list[float]
    ) -> Array:
        results = [self.program.array(v) for v in values_in(self._result)]
        kept = np.empty((len(order), len(results)))
        m = order.shape[1]
        in_a_row = ((order == order[:, :1] + np.arange(m)).all(axis=1) & (m > 0)).tolist()
        starts = order[:, :1].ravel().tolist()
        pairs = list(zip(sources, batches, strict=True))
        arguments = [value for value in self.program.given if value.kind == "argument"]
        checked = hold_for(self.program.checks, dict(zip(arguments, sources, strict=True)))
        with np.errstate(over="ignore"):
            self.program.give([*batches, *rates])
            for k in range(len(order)):
                if in_a_row[k]:
                    rows = slice(starts[k], starts[k] + m)
                    for source, batch in pairs:
                        np.copyto(batch, source[rows])
                else:
                    for source, batch in pairs:
                        source.take(order[k], 0, batch, "clip")
                try:
                    self.program.run(checked)
                except Mispredicted:
                    return kept[:k]
                for j, result in enumerate(results):
                    kept[k, j] = result
        self.program.release()
        return kept

    def holds(self) -> bool:
        """Whether everything around the step is as it was when it was captured."""
        if self.surroundings.changed() is not None:
            return False
        now = [home.read() for home, _ in self._homes]
        if not (len(self._arrays) == len(now) and all(map(is_, now, self._arrays))) and any(
            (array.shape, array.dtype) != (place.shape, place.dtype)
            for array, (_, place) in zip(now, self._homes, strict=True)
        ):
            return False
        if any(box.grad is not None for box in self._needs_none):
            return False
        if hooks and any(hooks.get(id(box)) for box, _ in self._gradients):
            return False
        return all(
            optimizer.state[i].keys() == names
            for optimizer, states in self._states
            for i, names in states
            if i in optimizer.state
        )

    def run(self, given: list[Any]) -> Any:
        """The results of the step for these arrays."""
        if not self._stands():
            self._bind()
        if self._rates:
            given = [*given, *(rate.compute() for rate in self._rates)]
        if self.native is not None:
            if not self.native.run(given):
                raise Mispredicted
        else:
            with np.errstate(over="ignore"):  # as the sigmoid does, of whose parts this is made
                self.program.give(given)
                self.program.run()
        for (box, _), array in zip(self._gradients, self._left, strict=True):
            box.grad = array
        result = self._filled(self._result)
        self.program.release()
        return result

    def _stands(self) -> bool:
        """Whether the arrays are still where the program knows them, and those that it writes are
        held by nobody else."""
        for box, _ in self._gradients:
            box.grad = None
        return (
            self._held is not None
            and all(map(is_, [home.read() for home, _ in self._homes], self._arrays))
            and all(getrefcount(home.array) <= home.count for home in self._writes)
            and [getrefcount(array) for array in self._left if array is not None] == self._held
        )

    def _bind(self) -> None:
        """Make the arrays of the program, anew."""
        for box, _ in self._gradients:
            box.grad = None
        with lock:
            self._forget()
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
            self._arrays = [home.array for home, _ in self._homes]
            if self.native is not None:
                self.native.bind()
            self._lease.take()
        self._left = [None if v is None else self.program.array(v) for _, v in self._gradients]
        self._held = [getrefcount(array) for array in self._left if array is not None]

    def _forget(self) -> None:
        """Hold no array of a home."""
        self._arrays, self._left, self._held = [], [], None
        self.program.forget()
        self._lease.give_back()

    def _filled(self, result: Any) -> Any:
        if isinstance(result, Value):
            return Tensor(self.program.array(result).copy())
        if isinstance(result, (tuple, list)):
            return type(result)(map(self._filled, result))
        if isinstance(result, dict):
            return {name: self._filled(x) for name, x in result.items()}
        return result
