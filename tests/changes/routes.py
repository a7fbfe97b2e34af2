"""Run a kind of change eagerly and captured, and judge what the captured run did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_edu as tg

from .case import FOLLOWED, ORDER, RAISED, REFUSED, SILENT, Case, Kind, X, Y, built

PROMISE = {"numpy": 1_000, "numba": 20_000}  # calls between two samples, at most
FALSE_ALARM = "false alarm"  # an error though nothing differs
BROKEN = "broken"  # something else than an error with the contract's sentence, or half a step
Snapshot = list[np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Verdict:
    """The outcome of one run, and where it can be read."""

    outcome: str
    detail: str = ""


def at_least(found: str, wanted: str) -> bool:
    """Return True if an outcome is as good as the wanted one, or better."""
    return found in ORDER and ORDER.index(found) <= ORDER.index(wanted)


def snapshot(case: Case, loss: Any = None, gradients: bool = True) -> Snapshot:
    """Copy all that a step leaves: the loss, parameters, gradients, buffers and states."""
    found = [np.array(getattr(loss, "value", loss), dtype=float)] if loss is not None else []
    for p in case.model.parameters():
        found.append(p.value.copy())
        if gradients:
            found.append(np.zeros(0) if p.grad is None else np.array(p.grad))
    found += [b.value.copy() for b in case.model.buffers()]
    for _, state in sorted(case.moves.state.items()):
        found += [np.array(value) for _, value in sorted(state.items())]
    return found


def same(a: Snapshot, b: Snapshot, exact: bool = True) -> bool:
    """Return True if two snapshots agree, bit for bit or within 1e-6."""
    return len(a) == len(b) and all(
        x.shape == y.shape
        and x.dtype == y.dtype
        and (x.tobytes() == y.tobytes() if exact else np.allclose(x, y, 1e-6, 1e-9, equal_nan=True))
        for x, y in zip(a, b, strict=True)
    )


@dataclass(frozen=True)
class Eager:
    """The eager run: a snapshot after each call, and the error that ended it, if any."""

    snapshots: list[Snapshot]
    error: BaseException | None = None


def eager(row: Kind, at: int, calls: int, changing: bool = True) -> Eager:
    """Run the step as it is; the change comes before the call number `at` (the first is 1)."""
    found: list[Snapshot] = []
    with built(row, at) as case, quiet():
        step = case.step(case)
        for call in range(1, calls + 1):
            if call == at and changing:
                case.change(case)
            try:
                found.append(snapshot(case, step(*case.arguments(case, call))))
            except Exception as error:
                return Eager(found, error)
    return Eager(found)


@contextmanager
def quiet() -> Iterator[None]:
    """Numbers may overflow here: each kind is run as long as it takes, not until it is trained."""
    with np.errstate(all="ignore"):
        yield


def by_compile(
    row: Kind, at: int, calls: int = 40, backend: str = "numpy", check: Any = None
) -> Verdict:
    """Run `tg.compile(step)` with a change before the call `at`, and compare every call.

    Where the numbers differ it is called on until the promise is due; where they do not, for so
    many `calls` after the change.
    """
    settings = {} if check is None else {"check": check}
    expected = eager(row, at, at + calls)
    exact = backend == "numpy"
    differs: int | None = None
    with built(row, at) as case, quiet():
        step: Any = tg.compile(case.step(case), backend=backend, **settings)
        before = snapshot(case)
        for call in range(1, at + PROMISE[backend] + 2):
            if call == at:
                case.change(case)
                before = snapshot(case)
            try:
                loss = step(*case.arguments(case, call))
            except Exception as error:
                return _judged(row, case, error, before, expected, call, differs, at)
            before = snapshot(case)
            if differs is None:
                if call > len(expected.snapshots) or not same(
                    expected.snapshots[call - 1], snapshot(case, loss), exact
                ):
                    differs = call
                elif call == at + calls:
                    return Verdict(FOLLOWED)
    return Verdict(SILENT, f"other numbers since call {differs}, and no error by call {call}")


def _judged(
    row: Kind,
    case: Case,
    error: Exception,
    before: Snapshot,
    expected: Eager,
    call: int,
    differs: int | None,
    at: int,
) -> Verdict:
    """Judge a run that ended in an error."""
    told = f"call {call}: {type(error).__name__}: {str(error).splitlines()[0]:.100}"
    own = expected.error
    if own is not None and type(own) is type(error) and call == len(expected.snapshots) + 1:
        return Verdict(FOLLOWED, told)
    if isinstance(error, tg.CannotCapture):
        if differs is None and not same(before, snapshot(case)):
            return Verdict(BROKEN, f"weights have moved; {told}")
        return Verdict(REFUSED if differs is None else RAISED, told)
    if call < at and differs is None and not row.by_itself:
        return Verdict(FALSE_ALARM, told)
    return Verdict(RAISED, told)


# --- fit ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fitted:
    """The weights, losses and error that `fit` left, and `history.compiled`."""

    left: Snapshot
    losses: list[float]
    error: BaseException | None
    compiled: Any


def fitted(row: Kind, at: int, compile: bool | str, more: int) -> Fitted:
    """Train by `fit`, with the change before the step `at`, and `more` steps after that.

    An epoch has as many batches as divide at − 1, so that the change comes between two epochs.
    """
    batches = max(k for k in range(1, 41) if (at - 1) % k == 0)
    changed = (at - 1) // batches
    x, y = (np.concatenate([a[k % 7] + k / 100 for k in range(batches)]) for a in (X, Y))
    epochs = changed + -(-more // batches)
    with built(row, at) as case, quiet():

        def begin(epoch: int, logs: dict[str, float]) -> None:
            if epoch == changed:
                case.change(case)

        history, error = tg.History(), None
        try:
            tg.fit(
                case.model,
                x,
                y,
                loss=case.loss,
                optimizer=case.moves,
                epochs=epochs,
                batch_size=4,
                rng=0,
                history=history,
                compile=compile,
                verbose=0,
                callbacks=[tg.callbacks.LambdaCallback(on_epoch_begin=begin)],
            )
        except Exception as caught:
            error = caught
        left = snapshot(case, gradients=error is None)  # an error may leave others
        return Fitted(left, history.history.get("loss", []), error, history.compiled)


def by_fit(row: Kind, at: int, more: int = 120, compile: bool | str = "auto") -> Verdict:
    """Train with `fit`'s defaults (or another `compile`) and with compile=False, and compare."""
    if compile is True:
        more = max(more, PROMISE["numpy"] + 100)
    expected, found = fitted(row, at, False, more), fitted(row, at, compile, more)
    how = "captured" if found.compiled is True else f"eager: {found.compiled}"
    equal = same(expected.left, found.left) and np.array_equal(
        expected.losses, found.losses, equal_nan=True
    )
    if equal and type(found.error) is type(expected.error):
        return Verdict(FOLLOWED, how)
    if found.error is None:
        return Verdict(SILENT, f"other weights, {how}")
    told = f"{type(found.error).__name__}: {str(found.error).splitlines()[0]:.100}"
    if isinstance(found.error, tg.CannotCapture):
        return Verdict(REFUSED, told)
    return Verdict(RAISED, told)
