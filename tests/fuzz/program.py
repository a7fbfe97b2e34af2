"""Programs: what they are made of, how they are written as Python, and how they are run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from string import Formatter
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

import tinygrad_edu as tg

from .operations import OPERATIONS

Array = NDArray[Any]
Kind = Literal["variable", "constant", "array", "number"]
Backend = Literal["tinygrad_edu", "arrays", "numpy", "torch"]


@dataclass(frozen=True)
class Input:
    """An input of a program: an array, or a Python number.

    kind    variable: a tensor that wants a gradient · constant: a tensor that wants none ·
            array: a plain NumPy array · number: a Python number
    """

    value: Any
    kind: Kind


@dataclass(frozen=True)
class Call:
    """One instruction: `operation(*arguments, **settings)`; the arguments are registers.

    `spelling` says which of the operation's spellings it is written in, see `expression`.
    """

    operation: str
    arguments: tuple[int, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    spelling: int = 0


@dataclass(frozen=True)
class Program:
    """Registers 0 … n−1 are the inputs, register n + i is the result of call i.

    The loss is Σ w ⊙ register over `weights`, which has an array w for each register that counts.
    """

    inputs: tuple[Input, ...]
    calls: tuple[Call, ...]
    weights: dict[int, Array]
    seed: int = 0

    @property
    def variables(self) -> list[int]:
        """The registers that the gradient is asked for."""
        return [i for i, x in enumerate(self.inputs) if x.kind == "variable"]

    def call(self, register: int) -> Call | None:
        """The instruction that gives this register; None for an input."""
        return self.calls[register - len(self.inputs)] if register >= len(self.inputs) else None

    def depends(self) -> list[bool]:
        """For each register whether its derivative by some variable can be other than 0."""
        found = [x.kind == "variable" for x in self.inputs]
        for call in self.calls:
            found.append(any(found[i] and slope for i, slope in sloped(call)))
        return found

    def __str__(self) -> str:
        return source(self)


class Run(NamedTuple):
    """Every register and the loss, as the back end has them (tensors, arrays …)."""

    registers: list[Any]
    loss: Any


def sloped(call: Call) -> Iterable[tuple[int, bool]]:
    """The arguments of a call, and whether the result has a derivative by them."""
    slopes = OPERATIONS[call.operation].slopes
    return ((i, slopes[min(k, len(slopes) - 1)]) for k, i in enumerate(call.arguments))


def run(program: Program, backend: Backend = "tinygrad_edu") -> Run:
    """Run a program.

    tinygrad_edu   as it is written; variables and constants are tensors
    arrays         as it is written, but on plain arrays throughout
    numpy          by the definitions in `operations`, which know nothing of the package
    torch          by PyTorch, in float64
    """
    if backend == "tinygrad_edu":
        return _run_written(program, [_as_tensor(x) for x in program.inputs], tensors(program))
    if backend == "arrays":
        plain = [False] * (len(program.inputs) + len(program.calls))
        return _run_written(program, [x.value for x in program.inputs], plain)
    if backend == "numpy":
        registers = evaluate(program, [x.value for x in program.inputs])
        return Run(registers, sum(np.sum(w * registers[i]) for i, w in program.weights.items()))
    return _run_torch(program, import_module("torch"))


def evaluate(program: Program, inputs: list[Any], full: bool = False) -> list[Any]:
    """All registers by the definitions in `operations`, from these inputs; `full`: float32 is
    not returned to on the way."""
    registers = list(inputs)
    for call in program.calls:
        arguments = [registers[i] for i in call.arguments]
        settings = call.settings
        if full and "dtype" in settings:
            settings = settings | {"dtype": np.float64}
        result = OPERATIONS[call.operation].reference(*arguments, **settings)
        registers.append(np.asarray(result))
    return registers


def _as_tensor(x: Input) -> Any:
    if x.kind == "variable" or x.kind == "constant":
        return tg.Tensor(x.value, requires_grad=x.kind == "variable")
    return x.value


def _run_written(program: Program, inputs: list[Any], are_tensors: list[bool]) -> Run:
    names = name_registers(program)
    space: dict[str, Any] = {"np": np, "tg": tg, **dict(zip(names, inputs, strict=False))}
    space |= {f"w{i}": w for i, w in program.weights.items()}
    lines = _lines(program, names, are_tensors)
    lines.append(f"loss = {' + '.join(f'(w{i} * {names[i]}).sum()' for i in program.weights)}")
    exec(compile("\n".join(lines), "program", "exec"), space)
    results = [space[name] for name in names[len(inputs) :]]
    return Run([*inputs, *results], space["loss"])


def _run_torch(program: Program, torch: Any) -> Run:
    registers: list[Any] = []
    for x in program.inputs:
        value = torch.tensor(np.asarray(x.value))
        if value.is_floating_point() or x.kind == "number":
            value = value.double().requires_grad_(x.kind == "variable")
        registers.append(value)
    for call in program.calls:
        arguments = [registers[i] for i in call.arguments]
        if call.operation != "index":  # everything but an index is a number like any other
            arguments = [x.double() for x in arguments]
        registers.append(OPERATIONS[call.operation].torch(torch, *arguments, **call.settings))
    parts = [
        (torch.tensor(w, dtype=torch.float64) * registers[i]).sum()
        for i, w in program.weights.items()
    ]
    return Run(registers, sum(parts))


# --- programs as Python ---------------------------------------------------------------------------


def name_registers(program: Program) -> list[str]:
    """x0, x1 … for the inputs, t2, t3 … for the results; Python numbers stand for themselves."""
    n = len(program.inputs)
    names = [
        f"x{i}" if x.kind != "number" else f"({x.value})" if x.value < 0 else f"{x.value}"
        for i, x in enumerate(program.inputs)
    ]
    return names + [f"t{n + i}" for i in range(len(program.calls))]


def tensors(program: Program) -> list[bool]:
    """For each register whether it is a tensor, rather than an array or a number."""
    found = [x.kind in ("variable", "constant") for x in program.inputs]
    for call in program.calls:
        operands = call.arguments[:1] if call.operation == "index" else call.arguments
        found.append(any(found[i] for i in operands))  # an array[tensor] is an array
    return found


def source(program: Program) -> str:
    """The program as Python code, down to its loss."""
    names = name_registers(program)
    lines = ["import numpy as np", "import tinygrad_edu as tg", ""]
    for name, x in zip(names, program.inputs, strict=False):
        if x.kind == "number":
            continue
        text = literal(x.value)
        if x.kind == "variable":
            text = f"tg.Tensor({text}, requires_grad=True)"
        elif x.kind == "constant":
            text = f"tg.Tensor({text})"
        lines.append(f"{name} = {text}")
    lines += _lines(program, names, tensors(program))
    terms = [f"({literal(w)} * {names[i]}).sum()" for i, w in program.weights.items()]
    return "\n".join([*lines, f"loss = {' + '.join(terms)}", ""])


def _lines(program: Program, names: list[str], are_tensors: list[bool]) -> list[str]:
    n = len(program.inputs)
    return [
        f"{names[n + i]} = {expression(call, names, are_tensors)}"
        for i, call in enumerate(program.calls)
    ]


def expression(call: Call, names: list[str], are_tensors: list[bool]) -> str:
    """A call as it is written; it is run from this very text, so it is what is printed.

    The first spelling always fits. Another one does not where it needs a tensor's methods and has
    an array, or has no place for a setting; then the first is taken.
    """
    spellings = OPERATIONS[call.operation].spellings
    spelling = spellings[call.spelling % len(spellings)]
    fields = _fields(spelling)
    method = spelling.startswith("{0}.") and not are_tensors[call.arguments[0]]
    if method or ("s" not in fields and fields - {"args"} != call.settings.keys()):
        spelling = spellings[0]
    operands = [names[i] for i in call.arguments]
    named = {
        key: subscript(value) if key == "index" else literal(value)
        for key, value in call.settings.items()
    }
    more = ", ".join(f"{key}={literal(value)}" for key, value in call.settings.items())
    text = spelling.format(*operands, args=", ".join(operands), s=more, **named)
    return text.replace(", )", ")")


@cache
def _fields(spelling: str) -> frozenset[str]:
    """The names in a spelling: `s` for all settings at once, or the settings one by one."""
    names = {name for _, name, _, _ in Formatter().parse(spelling) if name}
    return frozenset(name for name in names if not name.isdigit())


def literal(x: Any) -> str:
    """Python code for a number, an array, a setting."""
    if isinstance(x, np.ndarray):
        obvious = [np.float64] if x.size == 0 else [np.float64, np.int64, np.bool_]
        dtype = "" if x.dtype in obvious else f", dtype=np.{x.dtype}"
        if x.size == 0:
            return f"np.zeros({x.shape}{dtype})"
        numbers = np.array2string(x, separator=", ", floatmode="unique", threshold=x.size + 1)
        return f"np.array({' '.join(numbers.split())}{dtype})"
    if isinstance(x, type):
        return f"np.{x.__name__}"
    if isinstance(x, float) and np.isinf(x):
        return f"{'-' if x < 0 else ''}np.inf"
    if isinstance(x, slice) or x is Ellipsis or (isinstance(x, tuple) and _is_index(x)):
        return f"np.s_[{subscript(x)}]"
    return repr(x)


def _is_index(x: tuple[Any, ...]) -> bool:
    return any(part is None or isinstance(part, (slice, np.ndarray, list)) for part in x) or (
        any(part is Ellipsis for part in x)
    )


def subscript(index: Any) -> str:
    """Python code for what stands between the brackets of `x[index]`."""
    if isinstance(index, tuple):
        parts = ", ".join(map(subscript, index))
        return "()" if not index else f"{parts}," if len(index) == 1 else parts
    if isinstance(index, slice):
        start, stop, step = (
            "" if n is None else str(n) for n in (index.start, index.stop, index.step)
        )
        return f"{start}:{stop}" + (f":{step}" if step else "")
    return "..." if index is Ellipsis else literal(index)


def renumbered(
    inputs: Mapping[int, Input], calls: Mapping[int, Call], outputs: Iterable[int], seed: int
) -> Program:
    """A program of what the outputs need. Inputs and calls may have any numbers as names, as long
    as each call has a larger one than the calls in its arguments."""
    outputs = list(outputs)
    needed, stack = set(outputs), list(outputs)
    while stack:
        call = calls.get(stack.pop())
        for i in call.arguments if call else ():
            if i not in needed:
                needed.add(i)
                stack.append(i)
    old = [*sorted(needed & inputs.keys()), *sorted(needed & calls.keys())]
    new = {name: i for i, name in enumerate(old)}
    kept = [calls[name] for name in old if name in calls]
    program = Program(
        tuple(inputs[name] for name in old if name in inputs),
        tuple(
            Call(c.operation, tuple(new[i] for i in c.arguments), c.settings, c.spelling)
            for c in kept
        ),
        {},
        seed,
    )
    return weighted(program, [new[i] for i in outputs])


def weighted(program: Program, outputs: Iterable[int]) -> Program:
    """The same program with weights for these registers, drawn from the program's seed."""
    registers = evaluate(program, [x.value for x in program.inputs])
    numbers = np.random.default_rng(program.seed)
    weights = {}
    for i in outputs:
        x = np.asarray(registers[i])
        w = (numbers.uniform(0.2, 1.5, x.shape) * numbers.choice([-1, 1], x.shape)).round(2)
        weights[i] = np.asarray(w, x.dtype if x.dtype.kind == "f" else None)
    return Program(program.inputs, program.calls, weights, program.seed)
