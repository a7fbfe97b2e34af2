"""Replay: a program with the arrays that it finds around it, and leaves there.

Parameters and the state of an optimizer live where they always do. A program writes over their
arrays as long as nobody else holds them; who has kept `w.data` keeps what it was.
"""

from __future__ import annotations

from operator import is_, le
from sys import getrefcount
from typing import Any

import numpy as np

from ..engine import Array, Box, hooks
from ..tensor import Tensor
from .calls import Mispredicted, Value, values_in
from .checks import hold_for
from .lanes import Lanes
from .memory import Memory
from .native import Native
from .program import Program
from .rates import Rate
from .surroundings import Surroundings


class Home:
    """Where an array is found at each call, and left: the data of a tensor, or an entry of an
    optimizer's state.

    The array is written over as long as nobody but the programs holds it; `count` is how often
    these do. Who has kept `w.data` keeps what it was.
    """

    __slots__ = ("array", "count", "holder", "name", "row", "start", "written")

    def __init__(self, holder: Any, name: Any = None) -> None:
        self.holder, self.name = holder, name
        self.array: Any = None
        self.row: Memory | None = None  # in which it lies beside others, and
        self.start = 0  # where it begins there
        self.count, self.written = 0, False

    def read(self) -> Any:
        """The array as it is now."""
        if self.name is None:
            return self.holder.value if isinstance(self.holder, Box) else self.holder
        optimizer, i = self.holder
        state = optimizer.state.get(i)
        if state is None:
            state = optimizer.state[i] = optimizer.first_state(optimizer.parameters[i].value)
        return state[self.name]

    def write(self, array: Array) -> None:
        """Leave an array here."""
        if self.name is None:
            self.holder.value = array
        else:
            optimizer, i = self.holder
            optimizer.state[i][self.name] = array

    def settle(self) -> bool:
        """Have an array of its own to write over; whether a new one was needed."""
        if not self.written:
            self.array = np.asarray(self.read())
        elif not self.stands():
            self.array, self.row = np.array(self.read(), order="K"), None
            self.write(self.array)
            return True
        return False

    def stands(self) -> bool:
        """Whether the array is still the one that is found here, and held by nobody else."""
        return self.read() is self.array and getrefcount(self.array) <= self.count

    def lie(self, row: Memory, start: int) -> None:
        """Have an array in a row, from a certain entry on."""
        now = self.read()
        self.array = row.array(now.shape, now.dtype, start * now.itemsize)
        self.array[...] = now
        self.row, self.start = row, start
        self.write(self.array)


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
    ) -> None:
        self.program, self.surroundings = program, surroundings
        self._homes, self._gradients = homes, gradients
        self._result, self._rates = result, rates
        self._states = [
            (optimizer, [(i, names) for i, names in of_each.items() if names])
            for optimizer, of_each in states.items()
        ]
        self._arrays: list[Array] = []  # of the homes
        self._written: list[Home] = []
        self.native: Native | None = None
        self.gives_numbers = all(v.shape == () for v in values_in(result))
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
        in_a_row = (order == order[:, :1] + np.arange(m)).all(axis=1).tolist()
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
            and all(map(le, [getrefcount(home.array) for home in self._written], self._counts()))
            and [getrefcount(array) for array in self._left if array is not None] == self._held
        )

    def _counts(self) -> list[int]:
        return [home.count for home in self._written]

    def _bind(self) -> None:
        """Make the arrays of the program, anew."""
        for box, _ in self._gradients:
            box.grad = None
        self._written = [home for home, _ in self._homes if home.written]
        homes = {place: home for home, place in self._homes}
        laid: set[Home] = set()
        rows = [
            {v[0]: _row([homes[x] for x in v], lanes, laid) for v in lanes.vectors if v[0] in homes}
            for lanes in self.program.lanes
        ]
        fresh = [home in laid or home.settle() for home, _ in self._homes]
        self._arrays, self._left = [], []
        before = [getrefcount(home.array) for home, _ in self._homes]
        self.program.bind({place: home.array for home, place in self._homes}, rows)
        self._arrays = [home.array for home, _ in self._homes]
        if self.native is not None:
            self.native.bind()
        after = [getrefcount(home.array) for home, _ in self._homes]
        for (home, _), new, held, now in zip(self._homes, fresh, before, after, strict=True):
            home.count = now if new else home.count + now - held
        self._left = [None if v is None else self.program.array(v) for _, v in self._gradients]
        self._held = [getrefcount(array) for array in self._left if array is not None]

    def _filled(self, result: Any) -> Any:
        if isinstance(result, Value):
            return Tensor(self.program.array(result).copy())
        if isinstance(result, (tuple, list)):
            return type(result)(map(self._filled, result))
        if isinstance(result, dict):
            return {name: self._filled(x) for name, x in result.items()}
        return result


def _row(homes: list[Home], lanes: Lanes, laid: set[Home]) -> Array:
    """Have the arrays of all lie in a row; those that had to move for it are `laid`."""
    row = homes[0].row
    places = list(zip(homes, lanes.starts, strict=True))
    if row is None or not all(
        h.row is row and h.start == start and (h in laid or h.stands()) for h, start in places
    ):
        row = Memory(lanes.length * lanes.dtype.itemsize)
        for home, start in places:
            home.lie(row, start)
        laid.update(homes)
    return row.array((lanes.length,), lanes.dtype)
