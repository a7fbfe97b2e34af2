"""Make a failing program as small as it can be while it still fails in the same way."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .check import Failure, check
from .generate import Rejected, is_tame
from .program import Array, Call, Input, Kind, Program, evaluate, renumbered

Test = Callable[[Program], Failure | None]


def shrink(
    program: Program, failure: Failure, test: Test = check, attempts: int = 2000
) -> tuple[Program, Failure]:
    """The smallest program found that fails in the same way, and how it fails.

    Greedy: of the candidates, the boldest first, the first that still fails is taken, until none
    does or so many attempts have been made.
    """
    moved = True
    while moved:
        moved = False
        for candidate in _smaller(program):
            if attempts == 0:
                return program, failure
            if not is_valid(candidate):
                continue
            attempts -= 1
            found = test(candidate)
            if found and found.kind == failure.kind:
                program, failure, moved = candidate, found, True
                break
    return program, failure


def is_valid(program: Program) -> bool:
    """Return True if `generate` could have returned this program."""
    depends = program.depends()
    if not any(depends[i] for i in program.weights):
        return False
    registers = [x.value for x in program.inputs]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            for call in program.calls:
                registers.append(is_tame(call, [registers[i] for i in call.arguments]))
        except Rejected:
            return False
    return all(np.shape(registers[i]) == w.shape for i, w in program.weights.items())


def _smaller(program: Program) -> Iterator[Program]:
    """Programs that are simpler in one respect, the boldest changes first."""
    for way in (_outputs, _cuts, _bypasses, _inputs, _shapes, _settings, _values):
        for candidate in way(program):
            if candidate is not None:
                yield candidate


# --- less of it -----------------------------------------------------------------------------------


def _parts(program: Program) -> tuple[dict[int, Input], dict[int, Call]]:
    n = len(program.inputs)
    return dict(enumerate(program.inputs)), {n + k: c for k, c in enumerate(program.calls)}


def _rebuilt(
    inputs: dict[int, Input], calls: dict[int, Call], outputs: list[int], seed: int
) -> Program | None:
    """The program of these parts; None where they do not fit together."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return renumbered(inputs, calls, outputs, seed)
    except (ArithmeticError, IndexError, TypeError, ValueError):
        return None


def _outputs(program: Program) -> Iterator[Program | None]:
    """A single register as the loss, the earliest first; or one register less in it."""
    inputs, calls = _parts(program)
    for i in [*inputs, *calls]:
        if [i] != list(program.weights):
            yield _rebuilt(inputs, calls, [i], program.seed)
    if len(program.weights) > 2:
        for i in program.weights:
            yield _rebuilt(inputs, calls, [j for j in program.weights if j != i], program.seed)


def _cuts(program: Program) -> Iterator[Program | None]:
    """An input in place of a call, with the value that the call had."""
    inputs, calls = _parts(program)
    registers = evaluate(program, [x.value for x in program.inputs])
    depends = program.depends()
    for i in reversed(calls):
        rest = {k: c for k, c in calls.items() if k != i}
        value = np.array(registers[i])
        kinds: list[Kind] = ["variable", "array"] if depends[i] else ["array"]
        for kind in kinds:
            yield _rebuilt(
                {**inputs, i: Input(value, kind)}, rest, [*program.weights], program.seed
            )


def _bypasses(program: Program) -> Iterator[Program | None]:
    """An operand in place of a call's result; one operand less."""
    inputs, calls = _parts(program)
    for i, call in reversed(calls.items()):
        for instead in dict.fromkeys(call.arguments):
            bypassed = {
                k: replace(c, arguments=tuple(instead if j == i else j for j in c.arguments))
                for k, c in calls.items()
                if k != i
            }
            outputs = dict.fromkeys(instead if j == i else j for j in program.weights)
            yield _rebuilt(inputs, bypassed, [*outputs], program.seed)
        if len(call.arguments) > 1:
            for k in range(len(call.arguments)):
                rest = call.arguments[:k] + call.arguments[k + 1 :]
                fewer = {**calls, i: replace(call, arguments=rest)}
                yield _rebuilt(inputs, fewer, [*program.weights], program.seed)


def _inputs(program: Program) -> Iterator[Program | None]:
    """Arrays in place of tensors, one input in place of two, float64 in place of float32."""
    inputs, calls = _parts(program)
    outputs = [*program.weights]
    for i, x in inputs.items():
        if x.kind == "variable" or x.kind == "constant":
            yield _rebuilt({**inputs, i: Input(x.value, "array")}, calls, outputs, program.seed)
        for j, y in inputs.items():
            if j < i and np.shape(y.value) == np.shape(x.value):
                merged = {
                    k: replace(c, arguments=tuple(j if a == i else a for a in c.arguments))
                    for k, c in calls.items()
                }
                ends = dict.fromkeys(j if k == i else k for k in outputs)
                yield _rebuilt(inputs, merged, [*ends], program.seed)
    single = {i for i, x in inputs.items() if np.asarray(x.value).dtype == np.float32}
    for chosen in [single, *({i} for i in single)] if single else []:
        wide = {
            i: Input(x.value.astype(float), x.kind) if i in chosen else x for i, x in inputs.items()
        }
        yield _rebuilt(wide, calls, outputs, program.seed)


# --- simpler numbers ------------------------------------------------------------------------------


def _shapes(program: Program) -> Iterator[Program | None]:
    """Shorter axes: one by one, two of equal length together, all of equal length together; and
    axes of length 1 taken away."""
    inputs, calls = _parts(program)
    outputs = [*program.weights]
    axes = [(i, k) for i, x in inputs.items() for k in range(np.ndim(x.value))]

    def length(place: tuple[int, int]) -> int:
        return int(np.shape(inputs[place[0]].value)[place[1]])

    together: list[list[tuple[int, int]]] = [[a] for a in axes]
    together += [[a, b] for a in axes for b in axes if a < b and length(a) == length(b)]
    for n in sorted({length(a) for a in axes}):
        together.append([a for a in axes if length(a) == n])
    for places in together:
        n = length(places[0])
        for shorter in [1, 2, n - 1]:
            if 0 < shorter < n:
                changed = dict(inputs)
                for i, k in places:
                    part = np.take(changed[i].value, range(shorter), axis=k)
                    changed[i] = Input(part, changed[i].kind)
                yield _rebuilt(changed, calls, outputs, program.seed)
        if n == 1:
            changed = dict(inputs)
            for i, k in sorted(places, reverse=True):
                changed[i] = Input(np.take(changed[i].value, 0, axis=k), changed[i].kind)
            yield _rebuilt(_arrays(changed), calls, outputs, program.seed)


def _arrays(inputs: dict[int, Input]) -> dict[int, Input]:
    return {
        i: x if x.kind == "number" else Input(np.asarray(x.value), x.kind)
        for i, x in inputs.items()
    }


def _settings(program: Program) -> Iterator[Program | None]:
    """A setting left out, or a simpler one; the first spelling."""
    inputs, calls = _parts(program)
    for i, call in calls.items():
        variants = [replace(call, spelling=0)] if call.spelling else []
        for name, value in call.settings.items():
            rest = {k: v for k, v in call.settings.items() if k != name}
            variants.append(replace(call, settings=rest))
            for simpler in _simpler(value):
                variants.append(replace(call, settings={**call.settings, name: simpler}))
        for variant in variants:
            changed = {**calls, i: variant}
            yield _rebuilt(inputs, changed, [*program.weights], program.seed)


def _simpler(value: Any) -> Iterator[Any]:
    """Simpler values of a setting: fewer parts, smaller and positive numbers."""
    if isinstance(value, (tuple, list)):
        yield from _simpler_sequences(value)
    elif isinstance(value, np.ndarray):
        yield from _simpler_arrays(value)
    elif isinstance(value, slice):
        yield from _simpler_slices(value)
    elif isinstance(value, int) and not isinstance(value, bool) and value != 0:
        yield 0
        if value < -1:
            yield -1
        if value > 1:
            yield value - 1


def _simpler_sequences(value: Any) -> Iterator[Any]:
    """A tuple or list without one of its parts, or with a simpler part."""
    parts, kind = list(value), type(value)
    if len(parts) == 1 and kind is tuple:
        yield parts[0]
    for k in range(len(parts)):
        yield kind(parts[:k] + parts[k + 1 :])
    for k, part in enumerate(parts):
        for simpler in _simpler(part):
            yield kind([*parts[:k], simpler, *parts[k + 1 :]])


def _simpler_arrays(value: Array) -> Iterator[Array]:
    """An array with less along one axis; whole numbers that are zero or positive."""
    for k in range(value.ndim):
        if value.shape[k] > 1:
            yield np.take(value, range(value.shape[k] - 1), axis=k)
            yield np.take(value, range(1, value.shape[k]), axis=k)
        elif value.shape[k] == 1:
            yield np.asarray(np.take(value, 0, axis=k))
    if value.dtype == np.int64 and value.any():
        yield np.zeros_like(value)
        if (value < 0).any():
            yield np.abs(value)


def _simpler_slices(value: slice) -> Iterator[slice]:
    """All entries, or a slice without one of its ends or its step."""
    if value != slice(None):
        yield slice(None)
    for name in ("start", "stop", "step"):
        if getattr(value, name) is not None:
            ends = {k: getattr(value, k) for k in ("start", "stop", "step")} | {name: None}
            yield slice(ends["start"], ends["stop"], ends["step"])


def _values(program: Program) -> Iterator[Program | None]:
    """Rounder numbers, in the inputs and in the weights."""
    for i, x in enumerate(program.inputs):
        if isinstance(x.value, np.ndarray) and x.value.dtype.kind == "f":
            for rounder in _rounder(x.value):
                inputs = list(program.inputs)
                inputs[i] = Input(rounder, x.kind)
                yield replace(program, inputs=tuple(inputs))
    for i, w in program.weights.items():
        for rounder in _rounder(w):
            yield replace(program, weights={**program.weights, i: rounder})


def _rounder(x: Array) -> Iterator[Array]:
    steps = np.arange(1, x.size + 1).reshape(x.shape)
    candidates = [np.ones(x.shape), steps, steps / 2, steps / 10, x.round(), x.round(1), x.round(2)]
    for rounder in candidates:
        if np.array_equal(rounder, x):
            return
        yield np.asarray(rounder, x.dtype)
