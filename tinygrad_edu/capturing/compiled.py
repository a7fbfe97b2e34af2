"""Compiled steps: a training step, run once on tensors and from then on as a straight-line program.

    step = compile(train_step)       # train_step(x, y): forward, loss, backward, optimizer.step()

The first call with a certain kind of arguments (shapes and dtypes) runs the function with
everything recorded: the forward pass, the backward sweep, whose errors are then recorded
computations themselves, and the optimizer's update. What was recorded is written down as a program
(see `program`), and later calls run that: no tensors, no records, hardly any memory. The results
are those of the function bit for bit.

What makes this safe is what is refused. Numbers that leave the graph (`item()`, `if loss > 1`) and
arrays that come from nowhere (a random mask) cannot be repeated: `CannotCapture` says which. What
the function finds around it is looked at before each run (see `surroundings`), and if anything is
another one the step is captured anew. Parameters and an optimizer's state live where they always
do, and are written over only while nobody else holds them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import update_wrapper
from threading import RLock
from time import thread_time
from typing import Any

import numpy as np

from .. import engine
from ..arrays import Array, as_array, describe
from ..capture_gate import CannotCapture, StaleStep, gate
from ..numpy_functions import boxes
from ..recording import is_recording
from .calls import Mispredicted
from .capture import Capture, plain, refuse_if_other
from .replay import Replay
from .runs import Run, given_in
from .sampling import Calls, Sampler, Snapshot, compared

__all__ = ["CannotCapture", "CompiledStep", "compile"]

MOST = 8  # programs for one kind of arguments, and kinds of arguments times as many
LONGEST = {"numpy": 1_000, "numba": 20_000}  # calls from one comparison to the next
_NOTHING = np.empty((0, 1))  # what no step gives


def compile(
    function: Callable[..., Any] | None = None,
    *,
    check: bool | None = None,
    backend: str = "numpy",
) -> Any:
    """Return a captured step: a function with the same results, without the cost of recording.

        step = compile(train_step)           or  @compile  above the function

    A step is traced once for each signature of shapes and dtypes. Its arguments, parameters,
    buffers and optimizer states are read at every call. The plain settings (numbers, flags,
    strings, None, and whether the attribute exists) of every Module and Optimizer that the step
    reaches, `training` among them, are looked at before every call or epoch; a changed one traces
    anew. Everything else that Python code reads is read at tracing.

    Tracing runs the function twice from one state, and refuses a step whose runs differ. Python
    state that it changes, such as a list that it appends to, stays changed. Later calls do not run
    the function, but for the comparisons that `check` plans: these run it on copies of parameters,
    buffers, optimizer states and generators, and raise `StaleStep` where a number differs. What a
    captured step raises goes to the caller, with the weights of a whole step. Inside `no_grad()`
    the function itself runs.

    Arguments are arrays, tensors and numbers; a plain number is part of the signature. Results are
    tensors without a record, in memory of their own. Parameters, `.grad`, buffers and optimizer
    states are after each call what the function would have left. Two threads that call one step
    take turns. A thread that reads the parameters otherwise may find them half written while a
    step runs, and needs a lock around both. NumPy's warnings of overflow are not given by a
    captured step.

    check    None: compare the first two calls after tracing, and later ones as often as 1 % of the
             CPU time allows: at least one of 1,000 calls (20,000 with backend="numba") of the step,
             and of each signature. NumPy must agree bit for bit, Numba to rounding. True: compare
             every call. False: none, and trace once
    backend  "numpy", or "numba": compiled to machine code, where small steps take a fraction of the
             time; results agree to rounding. What Numba cannot do runs on NumPy, and `step.native`
             says why. The first compilation takes seconds, and is kept on disk
    Raises:  ImportError without the extra that the backend needs; CannotCapture, at the first
             call, for what a program cannot repeat: control flow on data, arrays and random
             numbers made beside the recorded operations, lists or attributes that the function
             changes; tensors and optimizers are then as they were. StaleStep, at a call that is
             compared, for what has changed unseen
    Source:  torch.compile, jax.jit
    Example:
        >>> import tinygrad_edu as tg
        >>> w = tg.Tensor([1.0, 2.0], requires_grad=True, name="w")
        >>> optimizer = tg.optim.SGD([w], lr=0.1)
        >>> @tg.compile
        ... def step(x):
        ...     loss = ((w - x) ** 2).sum()
        ...     optimizer.zero_grad()
        ...     loss.backward()
        ...     optimizer.step()
        ...     return loss
        >>> for _ in range(3):
        ...     print(step(np.array([1.0, 1.0])))
        Tensor(1.)
        Tensor(0.64)
        Tensor(0.4096)
        >>> w.data
        array([1.   , 1.512])
    """
    if function is None:
        return lambda given: CompiledStep(given, check, backend)
    return CompiledStep(function, check, backend)


class CompiledStep:
    """A function with its programs, as `compile` returns it."""

    def __init__(
        self, function: Callable[..., Any], check: bool | None = None, backend: str = "numpy"
    ) -> None:
        if not callable(function):
            raise TypeError(f"compile takes a function, received {describe(function)}")
        if backend not in ("numpy", "numba"):
            raise ValueError(f"backend is 'numpy' or 'numba', received {backend!r}")
        self.function, self.check, self.backend = function, check, backend
        self.programs: dict[Any, list[Replay]] = {}
        self._kind: Any = None  # the kind of batches of the last epoch, and the key for these
        self._key: Any = None
        self._once = 0  # how often it was traced for nothing
        self._traces = 0  # how often in a row
        self._calls = Calls()
        self._lock = RLock()
        update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if gate.get() is not None:  # a part of a step that is being captured
            return self.function(*args, **kwargs)
        if engine.observers or not is_recording():
            return plain(self.function(*args, **kwargs))
        with self._lock:
            if list in map(type, (*args, *kwargs.values())):
                args = tuple(map(_as_data, args))
                kwargs = {name: _as_data(x) for name, x in kwargs.items()}
            given, key = given_in([*args, *kwargs.values()])
            key = (key, len(args), *kwargs)
            captured = self.known(key)
            if captured is None:
                return self._trace(key, args, kwargs, given)
            try:
                if captured.sampler.due():
                    return self.compared(captured, lambda: captured.run(given), args, kwargs)
                return captured.run(given)
            except Mispredicted:  # a check fails: the function says what is wrong
                return self.itself(captured, args, kwargs)

    def known(self, key: Any) -> Replay | None:
        """The program for arguments of a kind that holds as everything is now."""
        found = next((p for p in self.programs.get(key, ()) if p.holds()), None)
        if found is not None:
            self._traces = 0
        return found

    def compared(
        self, captured: Replay, run: Callable[[], Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """The result of a program's step, which is compared with the function (see `sampling`)."""
        try:
            return compared(captured, run, self.function, args, kwargs)
        except StaleStep:
            self.programs.clear()  # the next call traces anew
            raise

    def itself(self, captured: Replay, args: Any, kwargs: dict[str, Any]) -> Any:
        """The result of the function itself; an error before its update leaves everything as
        before the call."""
        before = Snapshot(captured)
        try:
            return plain(self.function(*args, **kwargs))
        except BaseException:
            if not before.has_moved():
                before.restore()
            raise

    def _trace(self, key: Any, args: Any, kwargs: Any, given: list[Any]) -> Any:
        known = self.programs.setdefault(key, [])
        self._refuse_too_many(known)
        self._calls.made += 1
        for others in self.programs.values():
            for captured in others:
                captured.forget()  # a recorded step takes the memory that these do not need now
        trace = Capture(self.function)
        try:
            trace.record(args, kwargs)
            first = trace.signature()
            if self.check is not False:  # once more, from the same state
                trace.undo()
                trace = Capture(self.function)
                trace.record(args, kwargs)
            captured, result = trace.written()
            refuse_if_other(first, trace.signature())
            if self.backend == "numba" and not trace.once:
                captured.compile(given)
        except Mispredicted:  # already here: the function says what is wrong
            trace.undo()
            try:
                return plain(self.function(*args, **kwargs))
            except BaseException:
                trace.undo()
                raise
        except BaseException as error:
            trace.undo()
            if not isinstance(error, CannotCapture):
                error.add_note(f"while {_name(self.function)} was run to be captured")
            raise
        if trace.once:  # of no use at the next call
            self._once += 1
            return result
        captured.sampler = Sampler(self.check, LONGEST[self.backend], self._calls)
        captured.source = trace.source
        known.append(captured)
        del known[:-MOST]
        if len(self.programs) > MOST * MOST:
            del self.programs[next(iter(self.programs))]
        return result

    def _refuse_too_many(self, known: list[Replay]) -> None:
        """Refuse a step that is traced anew at each call, for what may be its reason."""
        if self._once == MOST:
            raise CannotCapture(
                f"the state of an optimizer in {_name(self.function)} has other names after each "
                "step; have first_state() give all of them"
            )
        self._traces += 1
        if self._traces > MOST and (len(known) == MOST or len(self.programs) >= MOST * MOST):
            changed = known[-1].surroundings.changed() if known else "a plain number or a shape"
            raise CannotCapture(
                f"{_name(self.function)} was captured {MOST} times or more: {changed or 'lr'} "
                "changes at each call; give it as an array argument, or keep it in an nn.Buffer"
            )

    def epoch(self, *sources: Any, order: Any) -> Array:
        """A step for each row of `order`, whose arguments are the rows of the sources named in it.

        What `step(*(source[i] for source in sources))` does for i in order, with one memory for all
        batches, and without looking in between whether anything else has changed; on Numba without
        coming back to Python at all.

        Shapes:  sources (m, …), order (steps, batch) of indices; the result is (steps,), or
                 (steps, k) where a step gives k numbers
        Raises:  as the step, with a note and two attributes: `batch`, the row of `order` (counted
                 from 0) whose step failed, and `losses`, what the steps before it gave; the weights
                 are those after these steps. IndexError for an index that is not in [0, m),
                 ValueError for an `order` with rows of several lengths, TypeError where a step
                 gives anything but numbers
        Example:
            >>> import tinygrad_edu as tg
            >>> total = tg.compile(lambda x: x.sum())
            >>> total.epoch(np.arange(4.0), order=[[0, 1], [2, 3]])
            array([1., 5.])
        """
        arrays = [np.asarray(source) for source in sources]
        order = _as_order(order)
        if order.ndim != 2 or order.dtype.kind not in "iu":
            raise TypeError(f"order must be (steps, batch) of indices, received {describe(order)}")
        if not arrays:
            raise TypeError("epoch() takes the arrays from whose rows the batches are made")
        m = len(arrays[0])
        if [*map(len, arrays)].count(m) != len(arrays):
            raise ValueError(f"the sources must have as many rows, received {[*map(len, arrays)]}")
        rest = np.ascontiguousarray(order, np.int64)
        unsigned = rest.view(np.uint64)  # where one below 0 is a very large one
        if rest.size and unsigned.item(unsigned.argmax()) >= m:
            raise IndexError(
                f"the sources have {m} rows, received indices {order.min()} … {order.max()}"
            )
        parts: list[Array] = []
        with self._lock:
            try:
                while (done := sum(map(len, parts))) < len(rest):
                    part = self._in_machine_code(arrays, rest[done:])
                    if len(part):
                        parts.append(part)
                    else:
                        self._in_numpy(arrays, rest[done:], parts)
            except BaseException as error:
                _tell(error, _joined(parts))
                raise
        return _joined(parts)

    def _in_machine_code(self, arrays: list[Array], order: Array) -> Array:
        """What steps gave that were done without coming back to Python, as far as that went."""
        if True not in self.native or engine.observers or gate.get() is not None:
            return _NOTHING
        kind = (order.shape[1], *((x.shape[1:], x.dtype) for x in arrays))
        if kind != self._kind:  # another one than the last time
            self._kind, self._key = kind, (given_in(_room(arrays, order))[1], len(arrays))
        captured = self.known(self._key)
        if captured is None or captured.native is None or captured.needs_none:
            return _NOTHING
        if not captured.sampler.left:  # the next one is compared
            return _NOTHING
        started = thread_time()
        part = captured.epoch(arrays, order[: captured.sampler.left])
        captured.sampler.timed(len(part), thread_time() - started)
        captured.sampler.skip(len(part))
        return part

    def _in_numpy(self, arrays: list[Array], order: Array, parts: list[Array]) -> None:
        """Add what steps give to the parts, up to one after which machine code may do the rest, or
        that fails."""
        room = _room(arrays, order)
        takes = [(source.take, part) for source, part in zip(arrays, room, strict=True)]
        kept: list[float] = []
        result: Any = room  # none yet; a step may give None
        numbers: list[Callable[[], float]] = []

        def fill(rows: Array) -> None:
            for take, part in takes:
                take(rows, 0, part, "clip")

        def note(found: Any) -> None:
            nonlocal result, numbers
            if found is not result:
                result, numbers = found, [x.item for x in _numbers(found)]
            for number in numbers:
                kept.append(number())

        try:
            with Run(self, arrays, len(order) > 2) as run:
                batches = iter(order)
                for rows in batches:
                    fill(rows)
                    note(run(*room))
                    if True in self.native:  # which may do the rest
                        break
                    run.repeat(batches, fill, note)
        finally:
            width = max(1, len(numbers))
            parts.append(np.array(kept[: len(kept) // width * width]).reshape(-1, width))

    @property
    def native(self) -> list[bool | str]:
        """For each program of the backend "numba": True, or why it runs on NumPy."""
        programs = (captured for known in self.programs.values() for captured in known)
        return [p.told for p in programs if p.told is not None]

    @property
    def native_source(self) -> str:
        """The kernels that Numba has compiled, as Python: a module for each program, or a comment
        where there is none."""
        programs = [captured for known in self.programs.values() for captured in known]
        if not programs:
            return self._no_source()
        if self.backend != "numba":
            return "# there is no machine code: the backend is 'numpy'"
        return "\n\n".join(
            f"# on NumPy: {p.told}" if p.native is None else p.native.source for p in programs
        )

    @property
    def source(self) -> str:
        """The programs as NumPy code, with the names of the slides; a comment before the first
        call."""
        sources = [p.source for known in self.programs.values() for p in known]
        return "\n\n".join(sources) or self._no_source()

    def _no_source(self) -> str:
        return f"# {_name(self.function)} has no source yet: it is traced when it is first called"

    def __repr__(self) -> str:
        n = sum(map(len, self.programs.values()))
        return f"compile({_name(self.function)}): {n} captured"


def _as_order(order: Any) -> Array:
    """The order as an array; a ragged one is refused."""
    try:
        return np.asarray(order)
    except ValueError:
        lengths = [len(row) if hasattr(row, "__len__") else 1 for row in order]
        row = next((i for i, n in enumerate(lengths) if n != lengths[0]), 0)
        raise ValueError(
            "order must be (steps, batch), with as many indices in each row; received "
            f"{lengths[0]} in row 0 and {lengths[row]} in row {row}. Give the last, shorter batch "
            "an epoch of its own"
        ) from None


def _joined(parts: list[Array]) -> Array:
    """The results of all steps: (steps,), or (steps, k)."""
    found = [part for part in parts if len(part)]
    left = found[0] if len(found) == 1 else np.concatenate(found or [_NOTHING])
    return left if left.shape[1] > 1 else left.ravel()


def _tell(error: BaseException, losses: Array) -> None:
    """Note with an exception in which batch it was raised, and what the steps before it gave."""
    error.add_note(
        f"in batch {len(losses)} of the epoch (counted from 0); `losses` of this exception has the "
        "results of the steps before, and the weights are those after them"
    )
    with suppress(AttributeError):  # of an exception with __slots__
        error.batch, error.losses = len(losses), losses  # type: ignore[attr-defined]


def _room(arrays: list[Array], order: Array) -> list[Array]:
    """Memory for a batch."""
    return [np.empty((order.shape[1], *x.shape[1:]), x.dtype) for x in arrays]


def _numbers(result: Any) -> list[Array]:
    """The numbers that a step gave, as arrays of one."""
    found = [x.value for x in boxes(result)]
    if not found or any(x.size != 1 for x in found):
        raise TypeError("epoch() is for steps that give numbers, such as their loss")
    return found


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _as_data(x: Any) -> Any:
    """Rows of numbers in lists as the array that they are."""
    return as_array(x) if isinstance(x, list) and _is_numbers(x) else x


def _is_numbers(x: list[Any]) -> bool:
    return bool(x) and all(
        _is_numbers(part) if isinstance(part, list) else isinstance(part, (bool, int, float))
        for part in x
    )
