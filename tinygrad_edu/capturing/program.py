"""A straight-line program: NumPy calls one after the other, into arrays that were made beforehand.

A program is written call by call; each gives a `Value`, a place that holds an array while the
program runs. What was computed once is not computed again, and what follows from constants alone
is a constant. `finish` drops what is not needed, decides which values share memory and which calls
can be made together (see `lanes`). `bind` makes the arrays. From then on `run` allocates nothing,
apart from what operations do inside that take no `out=`.

The calls that write over homes come last, and are made without returning to the interpreter in
between. A signal handler that raises, such as that of Ctrl-C, therefore finds all homes as before
the step or all as after it.

A view (a transpose, a slice) is made once, when the arrays are. It costs nothing in a run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import starmap
from operator import call as apply
from operator import setitem
from types import BuiltinFunctionType, MethodDescriptorType
from typing import Any

import numpy as np

from ..arrays import Array
from .calls import OUT, Call, Nested, Out, Value, values_in
from .checks import in_one_call, of_rows
from .lanes import PIECE, Lanes, lanes
from .memory import Memory


class Program:
    """Calls, and the arrays that they read and write.

    Example:
        >>> program = Program()
        >>> x = program.argument(np.ones(3))
        >>> y = program.call(np.multiply, (x, x, OUT), np.ones(3), elementwise=True)
        >>> z = program.call(np.add, (y, 1.0, OUT), np.ones(3) + 1, elementwise=True)
        >>> program.finish(results=[z], moves=[])
        >>> program.bind({})
        >>> program.give([np.array([1.0, 2.0, 3.0])])
        >>> program.run()
        >>> program.array(z)
        array([ 2.,  5., 10.])
        >>> program.blocks
        [24, 24]
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.given: list[Value] = []  # arguments and numbers, in the order of `run`
        self.blocks: list[int] = []  # bytes of each piece of memory that results share
        self.copies: list[tuple[Value, Value]] = []  # at the end: home ← value
        self.lanes: list[Lanes] = []
        self.checks: list[Call] = []  # those that can be made for all batches of an epoch at once
        self._asks: list[Call] = []  # what these stand for
        self._short: dict[Call, Call | None] = {}  # what is run in the place of some calls
        self._known: dict[Any, Value] = {}
        self._before_python: set[Value] = (
            set()
        )  # what guards and other Python functions follow from
        self._late: set[Call] = set()  # the calls that write over homes, and what follows from them
        self.careful = False  # whether the next runs keep copies of the homes (see `run`)
        self.writes = 0
        self.forget()  # no arrays yet

    # --- writing ----------------------------------------------------------------------------------

    def argument(self, array: Any) -> Value:
        """What is given at each call; a Python number too."""
        value = Value("argument" if isinstance(array, np.ndarray) else "number", array)
        self.given.append(value)
        return value

    def constant(self, array: Any) -> Value:
        """The same array at every call."""
        key = ("constant", array.dtype, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = Value("constant", array.copy())
        return self._known[key]

    def view(self, base: Value, function: Callable[[Array], Array], key: Any, array: Any) -> Value:
        """`function` of a value, which shares its memory."""
        if base.kind == "constant":
            return self.constant(np.asarray(array))
        key = ("view", base, key)
        if key not in self._known:
            self._known[key] = Value("view", array, base, function)
        return self._known[key]

    def call(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        array: Any,
        *,
        elementwise: bool = False,
        pure: bool = True,
    ) -> Value:
        """The value that `function(*args)` writes where OUT stands, `array` when it was traced;
        pure: what it gives depends on its arguments only."""
        operands = list(values_in(args))
        if pure and all(v.kind == "constant" for v in operands):
            return self.constant(np.asarray(array))
        key = (function, *map(_key, args)) if pure else object()
        if key not in self._known:
            self._known[key] = Value("result", np.asarray(array))
            self.calls.append(Call(function, args, self._known[key], elementwise))
        return self._known[key]

    def guard(self, function: Callable[..., Any], args: Sequence[Any]) -> None:
        """A call that raises where the program is not the right one."""
        key = ("guard", function, *map(_key, args))
        operands = list(values_in(args))
        if key not in self._known and not all(v.kind == "constant" for v in operands):
            self._known[key] = operands[0]
            self.calls.append(Call(function, args, None))

    def owned(self, value: Value) -> Value:
        """A copy of a value, in memory that is nobody else's."""
        copy = value.copied()
        self.calls.append(Call(np.copyto, (OUT, value), copy))
        return copy

    def mark(self) -> tuple[int, dict[Any, Value]]:
        """Where the writing stands, to go back to."""
        return len(self.calls), dict(self._known)

    def back_to(self, mark: tuple[int, dict[Any, Value]]) -> None:
        """Forget what was written since."""
        del self.calls[mark[0] :]
        self._known = mark[1]

    # --- planning ---------------------------------------------------------------------------------

    def finish(self, results: Sequence[Value], moves: Sequence[tuple[Value, Value]]) -> None:
        """Keep what leads to the results, to the new values of homes (`moves`: home, value) and to
        guards; and decide who shares memory with whom."""
        moves = [
            (home, self.owned(v) if v.root.kind in ("home", "argument") else v) for home, v in moves
        ]
        self._drop({*results, *(value for _, value in moves)})
        writer = {call.out: i for i, call in enumerate(self.calls) if call.out is not None}
        last: dict[Value, int] = {}
        for i, call in enumerate(self.calls):
            for value in call.reads():
                last[value.root] = i
        end = len(self.calls)
        for home, value in moves:
            if not self._settle(home, value, writer, last):
                self.copies.append((home, value))
        self._put_updates_last()
        for i, call in enumerate(self.calls):
            last |= dict.fromkeys((value.root for value in call.reads()), i)
        for value in [*results, *(value for _, value in self.copies)]:
            last[value.root] = end
        kept = [*results, *(value for _, value in moves)]
        self._short, self._asks = in_one_call(self.calls, kept), of_rows(self.calls, kept)
        short = [self._short.get(call, call) for call in self._asks]
        self.checks = [call for call in short if call is not None]
        for i, call in enumerate(self.calls):  # what is asked of entries is there until then
            for value in asked.reads() if (asked := self._short.get(call)) is not None else ():
                last[value.root] = max(last[value.root], i)
        self.lanes = lanes(self.calls, last)
        for found in self.lanes:
            for vector in found.vectors:
                if vector[0].kind == "result" and vector[0].block is None:
                    for value, start in zip(vector, found.starts, strict=True):
                        value.block, value.offset = len(self.blocks), start * value.dtype.itemsize
                    self.blocks.append(found.length * found.dtype.itemsize)
        self._place(last)
        for call in self.calls:
            for value in (*call.reads(), call.out):
                x: Value | None = value
                while x is not None:
                    if x.kind != "constant":
                        x.array = None  # was only an example
                    x = x.of
        self._known = {}

    def _drop(self, needed: set[Value]) -> None:
        """Keep the calls that lead to what is needed, those for guards first."""
        needed_roots = {value.root for value in needed}
        checked: set[Value] = set()
        kept, first = [], []
        for call in reversed(self.calls):
            if call.guard or call.out in checked:
                first.append(call)
                checked.update(value.root for value in call.reads())
            elif call.out in needed_roots:
                kept.append(call)
                needed_roots.update(value.root for value in call.reads())
        self.calls = [*reversed(first), *reversed(kept)]
        for call in reversed(self.calls):
            if _is_python(call.function) or call.out in self._before_python:
                self._before_python.update(value.root for value in call.reads())

    def _put_updates_last(self) -> None:
        """Move the calls that write over homes, and those that read what they wrote, behind all
        others, in their order."""
        updated: set[Value] = set()
        for call in self.calls:
            out = call.out
            if out is not None and (
                isinstance(out.block, Value) or any(v.root in updated for v in call.reads())
            ):
                updated.add(out)
                self._late.add(call)
        self.calls.sort(key=self._late.__contains__)

    def _settle(
        self, home: Value, value: Value, writer: dict[Value, int], last: dict[Value, int]
    ) -> bool:
        """Write the value over its home's old data at once if everything else that reads these has
        been done, nothing comes in between, and no Python function follows from it; return True
        if so."""
        i = writer.get(value)
        if i is None or value.block is not None or not self.calls[i].elementwise:
            return False
        if value in self._before_python:
            return False
        if last.get(home, -1) > i or (value.shape, value.dtype) != (home.shape, home.dtype):
            return False
        if any(v.root is home and v is not home for v in self.calls[i].reads()):
            return False
        value.block = home
        return True

    def _place(self, last: dict[Value, int]) -> None:
        """Give each result a block of memory: a free one, or a new one. It is never that of an
        operand of the same call: NumPy would look for overlaps between the two at each call."""
        free: list[int] = []
        ending: dict[int, list[Value]] = {}
        for value, i in last.items():
            ending.setdefault(i, []).append(value)
        for i, call in enumerate(self.calls):
            out = call.out
            if out is not None and out.block is None:
                size = max(1, int(np.prod(out.shape)) * out.dtype.itemsize)
                fits = [b for b in free if size <= self.blocks[b] <= 4 * size + 256]
                if fits:
                    # Of equal ones that which was read last, and is in the cache.
                    out.block = min(reversed(fits), key=self.blocks.__getitem__)
                    free.remove(out.block)
                else:
                    out.block = len(self.blocks)
                    self.blocks.append(size)
            free += [v.block for v in ending.get(i, ()) if isinstance(v.block, int)]

    # --- running ----------------------------------------------------------------------------------

    def bind(self, homes: dict[Value, Array], rows: Sequence[dict[Value, Array]] = ()) -> None:
        """Make the arrays; `homes` are those that outlive a call, and `rows` the memory that those
        of the lanes lie in side by side, by the first of each vector."""
        self._memory = [Memory(size) for size in self.blocks]
        self._homes = homes
        self._arrays: dict[Value, Any] = {}
        self._in_place: dict[Value, Any] = {}  # what is given and stands in all calls
        self._follows: dict[Value, dict[Value, list[tuple[list[Any], int]]]] = {
            value: {} for value in self.given
        }
        self._nested: list[tuple[list[Any], int, Any]] = []
        self.bound: list[tuple[Callable[..., Any], Sequence[Any]]] = []
        self.bound_checks: list[tuple[Callable[..., Any], Sequence[Any]]] = []
        self.updates: list[Sequence[Any]] = []  # at the end: a function and its arguments each
        self.writes = 0  # how many of these write over homes
        checks = set(self._asks)
        together = {call: None for found in self.lanes for lane in found.calls for call in lane}
        ends = {found.last: (found, whole) for found, whole in zip(self.lanes, rows, strict=True)}
        for call in self.calls:
            asked = self._short.get(call, call)
            if asked is not None and call not in together:
                operands = [call.out if x is OUT else x for x in asked.args]
                if call in self._late:
                    self._update(asked, operands)
                else:
                    bound = self.bound_checks if call in checks else self.bound
                    bound.append((asked.function, self._lined_up(asked, self._bound(operands))))
            if call in ends:
                found, whole = ends[call]
                whole = {v[0]: self._row(v[0], found) for v in found.vectors} | whole
                for function, operands in found.pieces(whole):
                    self.updates.append(self._bound([function, *operands]))
                self.writes += -(-found.length // PIECE)
        for home, value in self.copies:
            self._update(Call(np.copyto, (OUT, value), home), [home, value])
        written = [call.out.block for call in self._late if isinstance(call.out.block, Value)]
        self._written = [homes[x] for x in [*written, *(home for home, _ in self.copies)]]
        self._in_python = any(_is_python(function) for function, *_ in self.updates)

    def _update(self, call: Call, operands: Sequence[Any]) -> None:
        """Add a call to the updates."""
        function = call.function
        self.writes += isinstance(call.out.block, Value) or call.out.kind == "home"
        if function is np.copyto:  # which begins in Python
            function, operands = setitem, [operands[0], ..., operands[1]]
        entry = self._bound([function, *operands])
        if isinstance(entry, tuple):
            entry = (function, *self._lined_up(call, entry[1:]))
        self.updates.append(entry)

    def _lined_up(self, call: Call, args: Sequence[Any]) -> Sequence[Any]:
        """The arguments of a ufunc as vectors, where that is faster."""
        if not (call.elementwise and isinstance(call.function, np.ufunc)):
            return args
        return _in_line(args, self._made(call.out))

    def forget(self) -> None:
        """Have no arrays, until the next `bind`."""
        self._memory, self._homes, self._arrays, self._in_place = [], {}, {}, {}
        self._follows, self._nested, self.bound, self.bound_checks = {}, [], [], []
        self.updates, self._written = [], []

    def _bound(self, operands: Sequence[Any]) -> Sequence[Any]:
        """The arguments of a call: a tuple, which is passed on as it is, or if some of them follow
        what is given a list."""
        args: list[Any] = []
        followed = False
        for place, x in enumerate(operands):
            if not any(v.root in self._follows for v in values_in(x)):
                args.append(self._made(x))
                continue
            args.append(None)
            followed = True
            if isinstance(x, Value):
                self._follows[x.root].setdefault(x, []).append((args, place))
            else:
                self._nested.append((args, place, x))
        return args if followed else tuple(args)

    def _row(self, first: Value, found: Lanes) -> Any:
        """The memory in which the values of a vector lie side by side."""
        if first.kind != "result":
            return None
        return self._memory[first.block].array((found.length,), found.dtype)

    def _made(self, x: Any) -> Any:
        """The array of a value; a setting with arrays in place of values."""
        if isinstance(x, Value):
            if x.of is not None:
                if x.root.kind in ("argument", "number"):
                    return x.function(self._made(x.of))
                if x not in self._arrays:
                    self._arrays[x] = x.function(self._made(x.of))
            elif x not in self._arrays:
                self._arrays[x] = self._array(x)
            return self._arrays[x]
        if isinstance(x, Nested):
            return self._made(x.parts)
        if isinstance(x, (tuple, list)):
            return type(x)(map(self._made, x))
        if isinstance(x, dict):
            return {name: self._made(part) for name, part in x.items()}
        return x

    def _array(self, value: Value) -> Any:
        if value.kind == "constant":
            return value.array
        if value.kind == "home":
            return self._homes[value]
        if isinstance(value.block, Value):
            return self._homes[value.block]
        memory = self._memory[value.block]
        return memory.array(value.shape, value.dtype, value.offset, value.strides)

    def array(self, value: Value) -> Array:
        """What a value holds after a run; the next run overwrites it."""
        made: Array = self._made(value)
        return made

    def give(self, given: Sequence[Any]) -> None:
        """Put arguments and numbers, in their order, where the calls expect them."""
        for root, x in zip(self.given, given, strict=True):
            if self._in_place.get(root) is not x:
                self._in_place.pop(root, None)
                self._arrays[root] = x
                for value, places in self._follows[root].items():
                    made = self._made(value)
                    for args, place in places:
                        args[place] = made
                self._in_place[root] = x
        for args, place, x in self._nested:
            args[place] = self._made(x)

    def release(self) -> None:
        """Forget the arguments, which may be large."""
        for root in self.given:
            if root.kind == "argument" and self._arrays.pop(root, None) is not None:
                self._in_place.pop(root, None)
                for places in self._follows[root].values():
                    for args, place in places:
                        args[place] = None
        for args, place, _ in self._nested:
            args[place] = None

    def run(self, checked: bool = False) -> None:
        """Run the calls; `checked`: the `checks` have been made. Where one raises, all homes are as
        before."""
        if not checked:
            for function, args in self.bound_checks:
                function(*args)
        for function, args in self.bound:
            function(*args)
        self.update()

    def update(self) -> None:
        """Run the calls that write over homes: all of them, or none."""
        if not (self.careful or self._in_python):
            _run(self.updates)
            return
        kept = [(setitem, home, ..., home.copy()) for home in self._written]
        try:
            _run(self.updates)
        except BaseException:
            _run(kept)
            raise


def _run(calls: Iterable[Sequence[Any]]) -> None:
    """Make calls one after the other, each a sequence of a function and its arguments. Signals are
    handled between two instructions of the interpreter, of which there are none here."""
    _consume(starmap(apply, calls))


_consume = deque[Any](maxlen=0).extend


def _is_python(function: Any) -> bool:
    """Return True if a function may come back to the interpreter; np.copyto is replaced."""
    in_c = (np.ufunc, BuiltinFunctionType, MethodDescriptorType)
    return not (isinstance(function, in_c) or function is np.copyto)


def _in_line(args: Sequence[Any], out: Any) -> Sequence[Any]:
    """The arguments of a ufunc as vectors, and what is one number without axes: beside a number
    NumPy goes through a column more slowly than through a vector. Those that follow what is given
    stay as they are."""
    if isinstance(args, list) or out.size < 2:
        return args
    if not all(isinstance(x, np.ndarray) and x.flags.c_contiguous for x in args):
        return args
    if any(x.shape != out.shape and x.size > 1 for x in args):
        return args
    return tuple(x.reshape(-1 if x.size > 1 else ()) for x in args)


def _key(x: Any) -> Any:
    """What tells an argument from others that are not the same; 0.0, −0.0, 0 and False differ."""
    if isinstance(x, (Value, Out)) or callable(x):
        return x
    if isinstance(x, Nested):
        return _key(x.parts)
    if isinstance(x, (tuple, list)):
        return (type(x), *map(_key, x))
    if isinstance(x, dict):
        return tuple((name, _key(part)) for name, part in x.items())
    if isinstance(x, np.ndarray):
        return (x.dtype, x.shape, x.tobytes())
    return (type(x), repr(x))
