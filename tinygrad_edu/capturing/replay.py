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
from .lanes import Lanes
from .lowering import Mispredicted
from .memory import Memory
from .native import Native, NotNative, compiled, epoch_source
from .program import Program, Value, values_in
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
        self._step: Any = None  # Numba's function, and
        self._epoch: Any = None  # the loop around it, with
        self._static: list[Any] = []  # their arguments that stay
        self._left: list[Any] = []  # the gradients
        self._held: list[int] | None = None  # how often these are held; None: nothing made yet

    def compile(self, given: list[Any]) -> None:
        """Have Numba compile the program.

        Raises:  NotNative for what it cannot, ImportError without the extra `native`
        """
        if not all(array.flags.c_contiguous for array in given):
            raise NotNative("an argument whose entries do not lie in a row")
        numbers = list(values_in(self._result))
        left = [v for _, v in self._gradients if v is not None]
        self.native = Native(self.program, [v.root for v in (*numbers, *left)])
        rows = self.native.parameters[: len(given)]
        source = self.native.source
        if rows and numbers and all(v.shape == () and v.kind == "result" for v in numbers):
            source += epoch_source(self.native, rows, numbers)
        module = compiled(source)
        self._step, self._epoch = module["step"], module.get("epoch")

    def epoch(self, sources: list[Array], order: Array) -> list[list[float]]:
        """Numba's loop over the steps of an epoch, whose arguments are the rows of the sources that
        each row of `order` names: the numbers that they gave, as far as it came."""
        if self._epoch is None or not all(array.flags.c_contiguous for array in sources):
            return []
        if not self._stands():
            self._bind()
        kept = np.empty((len(order), len(list(values_in(self._result)))))
        rates = [rate.compute() for rate in self._rates]
        done = self._epoch(*sources, order, kept, *rates, *self._static)
        for (box, _), array in zip(self._gradients, self._left, strict=True):
            box.grad = array
        numbers: list[list[float]] = kept[:done].tolist()
        return numbers

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
        if self._step is not None:
            if not self._step(*given, *self._static):
                raise Mispredicted
        else:
            with np.errstate(over="ignore"):  # as the sigmoid does, of whose parts this is made
                self.program.run(given)
        for (box, _), array in zip(self._gradients, self._left, strict=True):
            box.grad = array
        return self._filled(self._result)

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
        self._static = []
        if self.native is not None:
            static = self.native.parameters[len(self.program.given) :]
            self._static = [
                homes[v].array if v in homes else self.program.array(v) for v in static
            ]
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
