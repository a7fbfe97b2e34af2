"""Check a program: the package against the definitions, and against PyTorch."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

import tinygrad_edu as tg

from .program import Array, Program, Run, literal, name_registers, run, source
from .reference import Derivatives, differentiate

SECOND = 4  # one program in so many is differentiated twice
NUDGE = 2e-5  # the step of the difference that second derivatives are compared with


@dataclass(frozen=True)
class Failure:
    """A check that failed.

    kind       what was compared; a shrunk program fails in the same way if it has the same kind
    shown_by   Python code after the program; its last line is an expression that is wrong
    received   what the package gave, and
    expected   what it should have been; or, where an error was raised, received is its message
    """

    kind: str
    shown_by: str
    received: Any
    expected: Any = None


def script(program: Program, failure: Failure) -> str:
    """The failing program as Python code that shows what is wrong."""
    *before, last = failure.shown_by.split("\n")
    lines = [source(program).rstrip(), *before]
    if last:
        lines.append(f'print("received:", {last})')
    if failure.expected is None:
        lines.append(_comment(f"{failure.kind}: {failure.received}"))
        return "\n".join(lines)
    lines.append(_comment(f"received: {failure.received}"))
    expected = np.asarray(failure.expected)
    if expected.dtype.kind in "fiub":
        lines.append(f'print("expected:", {literal(expected)})')
    else:
        lines.append(_comment(f"expected: {failure.expected}"))
    return "\n".join([*lines, f"# {failure.kind}"])


def _comment(text: str) -> str:
    return "# " + text.replace("\n", "\n#           ")


class _Fails(Exception):
    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.failure = Failure(*parts)


def check(program: Program, torch: bool = False, second: bool | None = None) -> Failure | None:
    """The first thing that is wrong with what the package makes of this program, or None.

    torch    compare with PyTorch too
    second   compare second derivatives too; None: for one program in four
    """
    if second is None:
        second = program.seed % SECOND == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            _Check(program).all(torch, second)
        except _Fails as failed:
            return failed.failure
    return None


class _Check:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.plain = run(program, "numpy")
        self.reference: Derivatives = differentiate(program)
        self.variables = program.variables
        self.names = name_registers(program)
        full = all(np.asarray(x).dtype != np.float32 for x in self.plain.registers)
        self.rtol = 1e-9 if full else 2e-4
        self.before = [np.array(x.value) for x in program.inputs]

    def all(self, torch: bool, second: bool) -> None:
        ours = self.attempt("forward", "", lambda: run(self.program))
        self.values(ours)
        self.arrays()
        wanted = [ours.registers[i] for i in self.variables]
        names = f"[{', '.join(self.names[i] for i in self.variables)}]"
        code = f"tg.grad(loss, {names})"
        gradients = self.attempt("grad", code, lambda: tg.grad(ours.loss, wanted))
        for k, (i, g) in enumerate(zip(self.variables, gradients, strict=True)):
            self.gradient("gradient", f"{code}[{k}]", i, g, ours)
        code = f"tg.grad(loss, {names}, create_graph=True)"
        recorded = self.attempt(
            "grad with create_graph", code, lambda: tg.grad(ours.loss, wanted, create_graph=True)
        )
        for k, (g, r) in enumerate(zip(gradients, recorded, strict=True)):
            if r.value.tobytes() != g.tobytes():
                raise _Fails("create_graph", f"{code}[{k}].numpy()", r.value, g)
        self.intermediate(ours)
        if second or torch:
            code = self.second_code(names)
            change = self.attempt("second derivative", code, lambda: self.along(wanted, recorded))
            if second:
                self.second(code, change)
            if torch:
                self.torch(ours, gradients, code, change)
        self.backward(ours, gradients)
        self.unchanged(ours)

    def attempt(self, kind: str, code: str, compute: Any) -> Any:
        try:
            return compute()
        except Exception as error:
            message = "\n".join([str(error), *getattr(error, "__notes__", [])])
            raise _Fails(f"{kind} raised {type(error).__name__}", code, message) from error

    def close(self, kind: str, code: str, received: Any, expected: Array, scale: float) -> None:
        if not (np.abs(received - expected) <= self.rtol * scale).all():
            raise _Fails(kind, code, received, expected)

    # --- values -----------------------------------------------------------------------------------

    def values(self, ours: Run) -> None:
        """Each register: its kind, shape, dtype and value; and the loss."""
        largest = 1.0
        for name, x, plain, expected in self.rows(ours):
            value = x.value if isinstance(x, tg.Tensor) else np.asarray(x)
            if value.shape != plain.shape:
                raise _Fails("shape", f"np.shape({name})", value.shape, plain.shape)
            if value.dtype != plain.dtype:
                raise _Fails("dtype", f"{name}.dtype", value.dtype, plain.dtype)
            largest = max(largest, float(np.max(np.abs(expected), initial=0)))
            code = f"{name}.numpy()" if isinstance(x, tg.Tensor) else name
            self.close("value", code, value, expected, largest)
        weighted = self.program.weights.items()
        terms = [np.sum(w.astype(float) * self.reference.values[i]) for i, w in weighted]
        scale = sum(np.sum(np.abs(w * self.reference.values[i])) for i, w in weighted)
        self.close("value", "loss.item()", ours.loss.value, np.asarray(sum(terms)), 1 + scale)

    def arrays(self) -> None:
        """The same lines on plain arrays throughout."""
        result = self.attempt("forward on arrays", "", lambda: run(self.program, "arrays"))
        largest = 1.0
        for name, x, plain, expected in self.rows(result):
            if isinstance(x, tg.Tensor) or np.shape(x) != plain.shape:
                raise _Fails("on arrays", name, x, expected)
            largest = max(largest, float(np.max(np.abs(expected), initial=0)))
            self.close("on arrays", name, np.asarray(x), expected, largest)

    def rows(self, result: Run) -> Iterator[tuple[str, Any, Array, Array]]:
        """Name, what was computed, the same in NumPy, and in NumPy with full precision."""
        for i, x in enumerate(result.registers):
            plain = np.asarray(self.plain.registers[i])
            yield self.names[i], x, plain, np.asarray(self.reference.values[i], float)

    # --- gradients --------------------------------------------------------------------------------

    def gradient(self, kind: str, code: str, i: int, g: Any, ours: Run) -> None:
        """The gradient by register i: a new array of its shape and dtype, and right."""
        plain = np.asarray(self.plain.registers[i])
        if type(g) is not np.ndarray or g.shape != plain.shape or g.dtype != plain.dtype:
            received = (type(g), np.shape(g), getattr(g, "dtype", None))
            raise _Fails(f"{kind}: form", code, received, (np.ndarray, plain.shape, plain.dtype))
        held = [x.value for x in ours.registers if isinstance(x, tg.Tensor)]
        if not g.flags.writeable or (g.size and any(np.may_share_memory(g, x) for x in held)):
            raise _Fails(f"{kind}: memory", code, "not an array of its own that can be written to")
        self.close(kind, code, g, self.expected(i), self.scale(i))

    def expected(self, i: int) -> Array:
        g = self.reference.gradients[i]
        return np.zeros(np.shape(self.reference.values[i])) if g is None else g

    def scale(self, i: int) -> float:
        """How large the numbers are that the gradient was added up from."""
        sizes = [0.0 if s is None else float(np.max(s, initial=0)) for s in self.reference.sizes]
        return max(sizes[i], 1e-2 * max(sizes))

    def intermediate(self, ours: Run) -> None:
        """Gradients by up to three registers anywhere, which need not be inputs."""
        depends, seen, found = self.program.depends(), set[int](), list[int]()
        for i, x in enumerate(ours.registers):
            if depends[i] and id(x) not in seen:  # +t is t: the first has the gradient of both
                seen.add(id(x))
                found.append(i)
        rng = random.Random(self.program.seed)
        chosen = rng.sample(found, min(len(found), rng.randint(1, 3)))
        wanted = [ours.registers[i] for i in chosen]
        code = f"tg.grad(loss, [{', '.join(self.names[i] for i in chosen)}])"
        gradients = self.attempt("grad by a result", code, lambda: tg.grad(ours.loss, wanted))
        for k, (i, g) in enumerate(zip(chosen, gradients, strict=True)):
            self.gradient("gradient by a result", f"{code}[{k}]", i, g, ours)

    def backward(self, ours: Run, gradients: list[Array]) -> None:
        """backward() leaves what grad() gave; nothing where no way leads, which there is zeros."""
        self.attempt("backward", "loss.backward()", ours.loss.backward)
        for i, g in zip(self.variables, gradients, strict=True):
            left = ours.registers[i].grad
            if left is None and not g.any():
                continue
            if left is None or left.tobytes() != g.tobytes():
                raise _Fails("backward", f"loss.backward()\n{self.names[i]}.grad", left, g)

    def unchanged(self, ours: Run) -> None:
        """Neither what came in nor what was computed has been written to."""
        for name, x, before in zip(self.names, self.program.inputs, self.before, strict=False):
            if np.asarray(x.value).tobytes() != before.tobytes():
                raise _Fails("input changed", name, x.value, before)
        again = run(self.program).registers
        for name, x, y in zip(self.names, ours.registers, again, strict=True):
            if isinstance(x, tg.Tensor) and x.value.tobytes() != y.value.tobytes():
                raise _Fails("result changed", name, x.value, y.value)

    # --- second derivatives -----------------------------------------------------------------------

    def direction(self) -> list[Array]:
        """A random direction in the space of the variables."""
        numbers = np.random.default_rng(self.program.seed + 1)
        shapes = [self.before[i].shape for i in self.variables]
        return [np.asarray(numbers.uniform(-1, 1, shape).round(2)) for shape in shapes]

    def second_code(self, names: str) -> str:
        terms = [f"({literal(v)} * g{k}).sum()" for k, v in enumerate(self.direction())]
        gradients = ", ".join(f"g{k}" for k in range(len(terms)))
        return (
            f"[{gradients}] = tg.grad(loss, {names}, create_graph=True)\n"
            f"change = {' + '.join(terms)}\n"
            f"tg.grad(change, {names})"
        )

    def along(self, wanted: list[tg.Tensor], recorded: list[tg.Tensor]) -> list[Array]:
        """How the gradient changes along the direction: the gradient of (gradient · direction)."""
        parts = [(v * g).sum() for v, g in zip(self.direction(), recorded, strict=True)]
        change: Any = sum(parts)
        if not change.requires_grad:  # the gradient is constant
            return [np.zeros(x.shape) for x in wanted]
        found: list[Array] = tg.grad(change, wanted)
        return found

    def second(self, code: str, received: list[Array]) -> None:
        """That change against the one of the reference's gradient, by central differences."""
        near, far = self.difference(NUDGE), self.difference(2 * NUDGE)
        size = max(float(np.max(np.abs(x), initial=0)) for x in near)
        scale = size + max(self.scale(i) for i in self.variables)
        if any(np.abs(a - b).max(initial=0) > 1e-3 * scale for a, b in zip(near, far, strict=True)):
            return  # a kink is nearer than it seemed
        for k, (g, a, b) in enumerate(zip(received, near, far, strict=True)):
            expected = (4 * a - b) / 3  # what remains of the difference's error is of fourth order
            if not (np.abs(g - expected) <= max(1e-7, self.rtol) * scale).all():
                raise _Fails("second derivative", f"{code}[{k}]", g, expected)

    def difference(self, step: float) -> list[Array]:
        ends = []
        for sign in (1, -1):
            inputs = [x.value for x in self.program.inputs]
            for i, v in zip(self.variables, self.direction(), strict=True):
                inputs[i] = inputs[i].astype(float) + sign * step * v
            found = differentiate(self.program, inputs).gradients
            ends.append([found[i] for i in self.variables])
        return [
            np.zeros(self.before[i].shape) if a is None or b is None else (a - b) / (2 * step)
            for i, a, b in zip(self.variables, *ends, strict=True)
        ]

    # --- PyTorch ----------------------------------------------------------------------------------

    def torch(self, ours: Run, gradients: list[Array], code: str, change: list[Array]) -> None:
        """Values, gradients and second derivatives against PyTorch's."""
        torch = import_module("torch")
        theirs = run(self.program, "torch")
        largest = 1.0
        for name, x, y in zip(self.names, ours.registers, theirs.registers, strict=True):
            expected = _array(y)
            if np.shape(x) != expected.shape:
                raise _Fails("torch: shape", f"np.shape({name})", np.shape(x), expected.shape)
            value = x.value if isinstance(x, tg.Tensor) else np.asarray(x)
            largest = max(largest, float(np.max(np.abs(expected), initial=0)))
            self.close("torch: value", name, value, expected, largest)
        wanted = [theirs.registers[i] for i in self.variables]
        options = {"allow_unused": True, "materialize_grads": True}
        found = torch.autograd.grad(theirs.loss, wanted, create_graph=True, **options)
        for i, g, e in zip(self.variables, gradients, found, strict=True):
            name = f"tg.grad(loss, {self.names[i]})"
            self.close("torch: gradient", name, g, _array(e), self.scale(i))
        pairs = zip(self.direction(), found, strict=True)
        slope = sum((torch.tensor(v) * g).sum() for v, g in pairs)
        twice = [x * 0 for x in wanted]
        if slope.requires_grad:
            twice = torch.autograd.grad(slope, wanted, **options)
        arrays = [_array(g) for g in twice]
        size = max(float(np.max(np.abs(x), initial=0)) for x in arrays)
        scale = size + max(self.scale(i) for i in self.variables)
        for k, (g, e) in enumerate(zip(change, arrays, strict=True)):
            self.close("torch: second derivative", f"{code}[{k}]", g, e, scale)


def _array(x: Any) -> Array:
    """A PyTorch tensor as an array; a gradient may be one that says "zero" and has no memory."""
    found: Array = (x.detach().double() + x.new_zeros(())).numpy()
    return found
