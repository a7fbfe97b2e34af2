"""Programs as training steps: captured once, run again on new data, and compared: bit for bit, or
to rounding where the order of sums is another one."""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np

import tinygrad_edu as tg
from tests.tools.interpreted import interpreted
from tinygrad_edu.capturing import native
from tinygrad_edu.capturing.machine_code import compiled

from .check import Failure
from .program import Input, Program, name_registers, source
from .reference import differentiate

BACKENDS = ("numpy", "numba", "interpreted")
ROUNDING = {"float64": 1e-12, "float32": 1e-5}


@dataclass
class Step:
    """A program as a function of its constants that trains its variables."""

    function: Callable[..., Any]
    variables: list[tg.Tensor]


def check_captured(
    program: Program, steps: int = 3, backend: str = "numpy", told: Counter[str] | None = None
) -> Failure | None:
    """Return a Failure unless the captured step returns and leaves what the step itself does, on
    new data each time.

    backend  "numpy": to the last bit · "numba": to rounding · "interpreted": the kernels of Numba,
             run by Python, which takes no compiler and so a hundredth of the time
    told     counts the programs that were native, and why others were not

    None also where the step itself cannot be run, as with targets that have moved out of [0, 1]:
    the captured step must then refuse them too.
    """
    with patch.object(native, "compiled", interpreted if backend == "interpreted" else compiled):
        return _check(program, steps, backend != "numpy", told)


def _check(
    program: Program, steps: int, is_native: bool, told: Counter[str] | None
) -> Failure | None:
    plain, other = as_step(program), as_step(program)
    captured = tg.compile(other.function, backend="numba" if is_native else "numpy")
    for k in range(steps):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            data = [_moved(x, k) for x in program.inputs if x.kind in ("constant", "array")]
            before = [x.value.copy() for x in plain.variables]
            expected = _raised(plain.function, data)
            if isinstance(expected, Exception):
                again = _raised(captured, data)
                if type(again) is type(expected):
                    return None
                return Failure("capture", "", f"{again!r} where the step gives {expected!r}")
            try:
                found = captured(*data)
            except tg.CannotCapture as error:
                # The outer product turns a Python number into an array, like any other.
                if any(call.operation == "outer" for call in program.calls):
                    return None
                return Failure("capture", "", str(error))
            except Exception as error:
                return Failure("capture", "", f"{type(error).__name__}: {error}")
        if told is not None and k == 0:
            told.update("native" if x is True else x for x in captured.native)
        pairs = [(found.value, expected.value)]
        for x, y in zip(other.variables, plain.variables, strict=True):
            pairs.append((x.value, y.value))
            pairs.append((np.asarray(x.grad, float), np.asarray(y.grad, float)))
        for got, want in pairs:
            if got.dtype != want.dtype or not np.array_equal(got, want, equal_nan=True):
                if is_native and _agree(program, pairs, before, data):
                    break
                return Failure(f"captured step {k}", "", got, want)
    return None


def _agree(program: Program, pairs: Any, before: list[Any], data: list[Any]) -> bool:
    """Return True if all numbers are equal to rounding. A number that is tiny compared with its
    terms only has to be as close to the exact one as that of the step itself.
    """
    is_single = "float32" in source(program)
    tolerance = ROUNDING["float32" if is_single else "float64"]
    wrong = [not _close(got, want, tolerance * _size(want)) for got, want in pairs]
    if not any(wrong):
        return True
    variables, arrays = iter(before), iter(data)
    exact = differentiate(
        program,
        [
            next(variables)
            if x.kind == "variable"
            else getattr(given := next(arrays), "value", given)
            if x.kind in ("constant", "array")
            else x.value
            for x in program.inputs
        ],
    )
    slopes = [
        g if g is not None else np.zeros(np.shape(x.value))
        for x, g in zip(program.inputs, exact.gradients, strict=False)
        if x.kind == "variable"
    ]
    loss = sum(np.sum(w * exact.values[i]) for i, w in program.weights.items())
    right: list[Any] = [loss]
    for x, g in zip(before, slopes, strict=True):
        right += [x - 1e-3 * g, g]
    return all(
        _close(got, want, 10 * np.abs(want - number).max(initial=0) + tolerance * _size(number))
        for got, want, number in (
            (*pair, number) for pair, number, bad in zip(pairs, right, wrong, strict=True) if bad
        )
    )


def _size(x: Any) -> float:
    return 1 + float(np.abs(np.nan_to_num(x, posinf=0, neginf=0)).max(initial=0))


def _close(got: Any, want: Any, tolerance: float) -> bool:
    with np.errstate(invalid="ignore"):
        same = (got == want) | (np.isnan(got) & np.isnan(want)) | (abs(got - want) <= tolerance)
    return got.dtype == want.dtype and got.shape == want.shape and bool(np.all(same))


def _raised(function: Callable[..., Any], data: list[Any]) -> Any:
    """Return the function's result, or the error that it raises."""
    try:
        return function(*data)
    except Exception as error:
        return error


def as_step(program: Program) -> Step:
    """The program as `def step(constants): …; loss.backward(); optimizer.step(); return loss`."""
    names = name_registers(program)
    space: dict[str, Any] = {}
    variables, arguments = [], []
    for name, x in zip(names, program.inputs, strict=False):
        if x.kind == "variable":
            space[name] = tg.Tensor(x.value, requires_grad=True, name=name)
            variables.append(space[name])
        elif x.kind != "number":
            arguments.append(name)
    given = set(names[: len(program.inputs)])
    lines = [
        line
        for line in source(program).splitlines()
        if line and not line.startswith("import") and line.split(" = ")[0] not in given
    ]
    body = [*lines, "optimizer.zero_grad()", "loss.backward()", "optimizer.step()", "return loss"]
    text = f"def step({', '.join(arguments)}):\n    " + "\n    ".join(body)
    space |= {"np": np, "tg": tg, "optimizer": tg.optim.SGD(variables, lr=1e-3)}
    exec(ast.unparse(_Hoisted(space).visit(ast.parse(text))), space)
    return Step(space["step"], variables)


class _Hoisted(ast.NodeTransformer):
    """Takes the arrays that a program writes as literals out of it: a step finds them around it."""

    def __init__(self, space: dict[str, Any]) -> None:
        self.space = space

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if ast.unparse(node.func) in ("np.array", "np.zeros"):
            name = f"k{len(self.space)}"
            self.space[name] = eval(ast.unparse(node), self.space)
            return ast.Name(name, ast.Load())
        self.generic_visit(node)
        return node


def _moved(x: Input, k: int) -> Any:
    """New data near the old, so that no kink is crossed."""
    array = x.value.copy()
    if array.dtype.kind == "f":
        array = np.asarray(array * (1 + 1e-4 * k), array.dtype)
    return tg.Tensor(array) if x.kind == "constant" else array
