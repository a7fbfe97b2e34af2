"""Sampling: calls of a captured step that are compared with the step's function.

A program repeats what its function did when it was traced. Settings of modules and optimizers are
compared before each call (see `surroundings`); anything else that Python code reads, such as a
list, a file or a global number, may have changed without being seen. Some calls are therefore
computed twice from one state: by the program, and by the function on copies. A difference raises
`StaleStep`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf
from sys import maxsize
from time import thread_time
from typing import Any, Protocol

import numpy as np

from ..arrays import Array, describe
from ..capture_gate import CONTRACT, StaleStep
from ..engine import Box
from ..numpy_functions import boxes
from ..tensor import Tensor
from .program import Program
from .surroundings import Surroundings

LARGE = 2**18  # bytes of results of a program that are given back while its function runs
GRADIENT, DATA = "the gradient of ", "the data of "
SHARE = 0.01  # of the CPU time of a step, for comparisons
# The largest differences of a native step, by dtype: relative to the largest entry of an array,
# and for weights and states relative to how far the step moved them.
ROUNDING = {"f": (1e-3, 5e-2), "d": (1e-7, 1e-3)}
SMALL = 4096  # bytes of arrays that are compared as bytes, which is faster
# Sums that cancel leave only rounding; differences below these are ignored.
NOISE = {"f": 1e-6, "d": 1e-9}


class Captured(Protocol):
    """A program with what it reads and writes: a `Replay`."""

    surroundings: Surroundings
    program: Program
    native: Any
    tensors: list[Box]
    optimizers: list[Any]
    sampler: Sampler
    draws: bool

    @property
    def gradients(self) -> dict[Box, None]:
        """The tensors in whose .grad a step leaves something."""

    def written(self) -> list[Array]:
        """The arrays that a step writes over."""

    def name_of(self, tensor: Box) -> str:
        """The name of a tensor in messages."""

    def forget(self) -> None:
        """Give back the memory of the program."""


@dataclass
class Calls:
    """The calls of a captured step, of whatever shapes, numbered from 1 on.

    made   the number of the last call
    due    the number of the call at which a comparison is due, whichever program runs
    """

    made: int = 0
    due: int = maxsize


class Sampler:
    """Choose the calls of one program that are compared with the function.

    check     True: all, False: none, None: the first two, and later ones as often as `SHARE` of
              the CPU time allows
    longest   the largest number of calls from one comparison to the next, of this program and of
              the step
    calls     of the step, for all of its programs

    Example:
        >>> sampler = Sampler(None, longest=10)
        >>> due = []
        >>> for call in range(15):
        ...     due.append(sampler.due())
        ...     if due[-1]:
        ...         sampler.compared(program=1.0, comparison=1.0)
        >>> [call for call, compared in enumerate(due) if compared]
        [0, 1, 11]
    """

    def __init__(self, check: bool | None, longest: int, calls: Calls | None = None) -> None:
        self.check, self.longest = check, longest
        self.calls = Calls(made=1) if calls is None else calls
        self.verified = self.calls.made  # the last call known to be right; it traced the step
        self._left = maxsize if check is False else 0  # calls of this program to the next one
        self._compared = 0
        self._fastest = inf  # CPU seconds of a step among many, which is less than of one alone

    @property
    def left(self) -> int:
        """The number of calls before the next comparison, if this program makes all of them."""
        return max(0, min(self._left, self.calls.due - self.calls.made - 1))

    def due(self) -> bool:
        """Count a call; return True if it is to be compared."""
        calls = self.calls
        calls.made += 1
        self._left -= 1
        return self._left < 0 or calls.made >= calls.due

    def skip(self, calls: int) -> None:
        """Count calls that are not compared, at most `left` of them."""
        self.calls.made += calls
        self._left -= calls

    def timed(self, calls: int, seconds: float) -> None:
        """Note the CPU time of calls made one after the other."""
        if calls:
            self._fastest = min(self._fastest, seconds / calls)

    def compared(self, program: float, comparison: float) -> None:
        """Plan the next comparison from the CPU times of the last: of the program, of the rest."""
        self.verified = self.calls.made
        self.calls.due = self.verified + self.longest
        self._compared += 1
        self._left = 0
        if self.check is None and self._compared > 1:
            step = max(min(program, self._fastest), 1e-7)
            self._left = min(self.longest - 1, ceil(comparison / (SHARE * step)))

    def unverified(self) -> str:
        """Return a sentence on the calls since the last comparison that passed."""
        first, last = self.verified + 1, self.calls.made - 1
        if first > last:
            return "No earlier call is affected"
        calls = f"Call {first}" if first == last else f"Calls {first} to {last}"
        return f"{calls} may have been computed with the old value"


class Snapshot:
    """Data, gradients, optimizer states and, of a step that draws random numbers, the states of
    generators that it can reach, at one moment.

    ahead   of a step of the program: arrays that it writes over are copied, and gradients that it
            leaves are None, as it finds them; otherwise everything is kept by reference
    """

    def __init__(self, captured: Captured, ahead: bool = False) -> None:
        written = {id(array) for array in captured.written()} if ahead else set()
        cleared = captured.gradients if ahead else {}

        def kept(x: Any) -> Any:
            return np.copy(x, order="K") if id(x) in written else x

        self._captured = captured
        self._tensors = [
            (x, kept(x.value), None if x in cleared else x.grad) for x in captured.tensors
        ]
        self._states: list[tuple[Any, Any]] = []
        for optimizer in captured.optimizers:
            states = optimizer.state.items()
            copied = {i: {name: kept(x) for name, x in own.items()} for i, own in states}
            self._states.append((optimizer, copied))
        self._random = captured.surroundings.random_state() if captured.draws else None

    def has_moved(self) -> bool:
        """Return True if an optimizer has moved a parameter since."""
        moved = {id(p) for optimizer, _ in self._states for p in optimizer.parameters}
        return any(x.value is not value and id(x) in moved for x, value, _ in self._tensors)

    def restore(self) -> None:
        """Put everything back; an error in between, such as a signal, is raised afterwards."""
        try:
            self._restore()
        except BaseException:
            self._restore()
            raise

    def _restore(self) -> None:
        for x, value, grad in self._tensors:
            x.value, x.grad = value, grad
        for optimizer, state in self._states:
            optimizer.state = dict(state)
        if self._random is not None:
            self._captured.surroundings.restore_random_state(self._random)


def compared(
    captured: Captured,
    run: Callable[[], Any],
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> Any:
    """Return the result of `run`, one step of the program, compared with that of the function.

    The function runs on copies of parameters, buffers, states and random states, and what it
    leaves in them is dropped.

    Raises:  StaleStep if they differ; what the function or the program raises. Everything is then
             as before the step
    """
    started = thread_time()
    args = [_given(x) for x in args]
    kwargs = {name: _given(x) for name, x in kwargs.items()}
    before = Snapshot(captured, ahead=True)
    begun = thread_time()
    result = run()
    program = thread_time() - begun
    found = _outcome(captured, result)
    after = Snapshot(captured)
    if sum(captured.program.blocks) > LARGE:
        captured.forget()  # its memory is free for the function
    try:
        before.restore()
        start = _outcome(captured, ())
        expected = _outcome(captured, function(*args, **kwargs))
        rounded = None if captured.native is None else _coarsest(captured.program)
        difference = _difference(expected, found, start, rounded)
        if difference is not None:
            raise StaleStep(
                f"{difference}. The step reads something that has changed since it was traced. "
                f"{captured.sampler.unverified()}; parameters are as before this call. Make it an "
                f"argument, a setting of a Module or an nn.Buffer; the next call traces anew.\n"
                f"{CONTRACT}"
            )
    except BaseException as error:
        before.restore()
        captured.forget()
        if not isinstance(error, StaleStep):
            error.add_note("while a captured step was compared with its function")
        raise
    after.restore()
    captured.sampler.compared(program, thread_time() - started - program)
    return result


def _outcome(captured: Captured, result: Any) -> dict[str, Any]:
    """All that a step gives and leaves, by name: results, gradients, data, optimizer states."""
    name = captured.name_of
    left: dict[str, Any] = {
        f"result {i}": np.copy(x.value, order="K") for i, x in enumerate(boxes(result))
    }
    left |= {f"{GRADIENT}{name(x)}": x.grad for x in captured.tensors}
    left |= {f"{DATA}{name(x)}": x.value for x in captured.tensors}
    for k, optimizer in enumerate(captured.optimizers):
        for i, entries in optimizer.state.items():
            left |= {f"{key} {i} of optimizer {k}": array for key, array in entries.items()}
    return left


def _given(x: Any) -> Any:
    """An argument as the function got it when it was traced: arrays as tensors."""
    data = isinstance(x, np.ndarray) or (isinstance(x, Box) and x.record is None)
    return Tensor(x.value if isinstance(x, Box) else x) if data else x


def _difference(
    expected: dict[str, Any], found: dict[str, Any], start: dict[str, Any], rounded: str | None
) -> str | None:
    """A sentence on the first array that differs; None if all agree.

    start     the arrays before the step
    rounded   the dtype in whose rounding a native step may differ, since it adds in another order;
              None where all bits must be the same
    """
    for what in found | expected:
        a, b = expected.get(what), found.get(what)
        if a is None and b is None:
            continue
        if not _is_like(a, b):
            return f"{what} is {_described(b)} captured and {_described(a)} when the function runs"
        a, b = np.asarray(a), np.asarray(b)
        if a.nbytes <= SMALL and a.tobytes() == b.tobytes():
            continue
        same = a == b
        if not same.all():
            same |= (a != a) & (b != b)
        if rounded is not None and a.dtype.char in ROUNDING:
            same |= _is_rounded(a, b, start.get(what), _noisy(what, expected), rounded)
        if not same.all():
            place = np.argwhere(~same)[0].tolist()
            at, there = (f" at {place}" if place else ""), tuple(place)
            return f"{what} is {b[there]!s}{at} captured and {a[there]!s} when the function runs"
    return None


def _is_like(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return False
    return np.shape(a) == np.shape(b) and np.asarray(a).dtype == np.asarray(b).dtype


def _coarsest(program: Program) -> str:
    """The char of float32 if some of a program is computed in it, else that of float64."""
    return "f" if any(c.out is not None and c.out.dtype == "f" for c in program.calls) else "d"


def _is_rounded(a: Any, b: Any, start: Any, noisy: Any, char: str) -> Any:
    """True for the entries that differ by no more than rounding.

    Of a result or a gradient these are small beside its largest entry. A weight or a state may
    also be off by a share of its step; where the gradient is nothing but rounding, an optimizer
    such as Adam may step either way, and any step is taken as right.
    """
    (entries, moved), noise, eps = ROUNDING[char], NOISE[char], np.finfo(char).eps
    finite = np.isfinite(a) & np.isfinite(b)
    off = np.abs(np.where(finite, a, 0) - np.where(finite, b, 0))
    size = np.abs(np.where(finite, a, 0)).max(initial=0.0)
    if start is None:
        return finite & (off <= entries * size + noise)
    step = np.abs(np.where(finite, a, 0) - start).max(initial=0.0)
    limit = moved * step + eps * size + noise
    return finite & ((off <= limit) | noisy)


def _noisy(what: str, expected: dict[str, Any]) -> Any:
    """True for the entries of a tensor's data whose gradient may be a sum that cancels."""
    gradients = [g for name, g in expected.items() if name.startswith(GRADIENT) and g is not None]
    own = expected.get(what.replace(DATA, GRADIENT)) if what.startswith(DATA) else None
    if own is None:
        return False
    largest = max(np.abs(g).max(initial=0.0) for g in gradients)
    return np.abs(own) <= 1e3 * np.finfo(own.dtype).eps * largest


def _described(x: Any) -> str:
    return "missing" if x is None else describe(x)
