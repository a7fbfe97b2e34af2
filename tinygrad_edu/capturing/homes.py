"""Homes: where programs find an array at each call, and leave it.

Parameters and the state of an optimizer live where they always do. A program writes over their
arrays as long as nobody else holds them; who has kept `w.data` keeps what it was. How often an
array is held is told by its count of references, from which those of programs are taken off: all
programs that use a tensor, be it to train or to validate, know it by the same `Home`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from sys import getrefcount
from threading import RLock
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np

from ..arrays import Array
from ..engine import Box
from .lanes import Lanes
from .memory import Memory

lock = RLock()  # of the counts


class Home:
    """The data of a tensor, an array, or an entry of an optimizer's state.

    array   the array that programs know it by
    count   how often it may be held if nobody but programs and its holder has it; an array that
            was not made here is nobody's to write over
    """

    __slots__ = ("__weakref__", "array", "count", "holder", "name", "read", "row", "start")
    _all: ClassVar[WeakValueDictionary[Any, Home]] = WeakValueDictionary()

    def __init__(self, holder: Any, name: Any = None) -> None:
        self.holder, self.name = holder, name
        self.read: Callable[[], Any]  # the array as it is now; asked before every step
        if name is not None:
            self.read = partial(_entry, holder, name)
        elif isinstance(holder, Box):
            self.read = partial(getattr, holder, "value")
        else:
            self.read = lambda: holder
        self.array: Any = None
        self.count = 0
        self.row: Memory | None = None  # in which it lies beside others, and
        self.start = 0  # where it begins there

    @classmethod
    def of(cls, holder: Any, name: Any = None) -> Home:
        """The home of a tensor or an array, or of the entry `name` in an optimizer's state, whose
        holder is (optimizer, number of the parameter)."""
        key = id(holder) if name is None else (id(holder[0]), holder[1], name)
        with lock:
            home = cls._all.get(key)
            if home is None:
                home = cls._all[key] = cls(holder, name)
        return home

    def write(self, array: Array) -> None:
        """Leave an array here."""
        if self.name is None:
            self.holder.value = array
        else:
            optimizer, i = self.holder
            optimizer.state[i][self.name] = array

    def stands(self) -> bool:
        """Whether the array is still the one that is found here, and held by nobody else."""
        return self.read() is self.array and getrefcount(self.array) <= self.count

    def settle(self, writes: bool) -> None:
        """Know the array that is found here; if it is to be written over, have one of its own."""
        if writes and not self.stands():
            self.write(np.array(self.read(), order="K"))
            self._own()
            self.row = None
        elif self.read() is not self.array:
            self.array, self.count, self.row = np.asarray(self.read()), 0, None

    def _own(self) -> None:
        """Know the array that was just left here, which nobody else has."""
        self.count = 0  # until it is known
        self.array = self.read()
        self.count = getrefcount(self.array)

    def lie(self, row: Memory, start: int) -> None:
        """Have an array of its own in a row, from a certain entry on."""
        now = self.read()
        there = row.array(now.shape, now.dtype, start * now.itemsize)
        there[...] = now  # before it can be found
        self.row = None
        self.write(there)
        del there
        self._own()
        self.row, self.start = row, start


def _entry(holder: Any, name: Any) -> Any:
    """An entry of an optimizer's state, which may be its first."""
    optimizer, i = holder
    state = optimizer.state.get(i)
    if state is None:
        state = optimizer.state[i] = optimizer.first_state(optimizer.parameters[i].value)
    return state[name]


def lay(homes: list[Home], lanes: Lanes, laid: set[Home]) -> Array:
    """Have the arrays of all lie in a row; those for which that has been seen to are `laid`."""
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


class Lease:
    """How often one program holds the arrays of homes.

    An exception may come between any two lines. What is counted twice then makes a count too low,
    and one that is not known is 0: the array is taken for the user's and not written over.
    """

    def __init__(self) -> None:
        self._before: list[tuple[Home, int, int]] = []
        self._held: list[tuple[Home, int, int]] = []

    def begin(self, homes: list[Home]) -> None:
        """Note what is held before the program has the arrays."""
        self._before = [(home, id(home.array), getrefcount(home.array)) for home in homes]

    def take(self) -> None:
        """Note what is held now that it has them."""
        with lock:
            taken = []
            for home, number, before in self._before:
                n = getrefcount(home.array) - before
                home.count += n
                taken.append((home, number, n))
            self._held, self._before = taken, []

    def give_back(self) -> None:
        """The program has them no more, or will not in a moment."""
        with lock:
            for home, number, n in self._held:
                if id(home.array) == number:
                    home.count -= n
            for home, _, _ in self._before:  # it was not known how often
                home.count = 0
            self._held, self._before = [], []
