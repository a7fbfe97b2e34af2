"""Networks with their right gradients, and a generator of every wrong one that is a slip away.

    python -m tests.mistakes          plant all of them, and count what is found out and repaired
    python -m tests.mistakes --time   how long a verification of all claims takes, right and wrong

The mistakes are planted by Python's own `ast` and judged by its own `eval`, which share nothing
with the verifier: a text that happens to mean the same as before is no mistake and is left out.
"""

from __future__ import annotations

import ast
import copy
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu.verifying.problems import (
    Problem,
    choose_sizes,
    make_problem,
    read_specs,
    size_letters,
)


def single(X: Any, Y: Any, W: Any, b: Any, l1: float, l2: float) -> Any:
    m = len(X)
    A = tg.sigmoid(X @ W + b)
    penalty = l1 * np.abs(W).sum() + l2 / 2 * (W * W).sum()
    return (-(Y * np.log(A) + (1 - Y) * np.log(1 - A)).sum() + penalty) / m


def dual(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any, l2: float) -> Any:
    m = len(X)
    A1 = tg.sigmoid(X @ W1 + b1)
    A2 = tg.sigmoid(A1 @ W2 + b2)
    data = -(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)).sum()
    return (data + l2 / 2 * ((W1 * W1).sum() + (W2 * W2).sum())) / m


def multi(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    m = len(X)
    Z1 = X @ W1 + b1
    A1 = tg.sigmoid(Z1)
    Z2 = A1 @ W2 + b2
    A2 = tg.softmax(Z2)
    return -(Y * np.log(A2)).sum() / m


def tanh_mse(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    m = len(X)
    A1 = np.tanh(X @ W1 + b1)
    A2 = A1 @ W2 + b2
    return ((A2 - Y) ** 2).sum() / m


def relu_mse(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    m = len(X)
    Z1 = X @ W1 + b1
    A1 = tg.relu(Z1)
    A2 = A1 @ W2 + b2
    return ((A2 - Y) ** 2).sum() / 2 / m


@dataclass(frozen=True)
class System:
    """A network, the sizes of its inputs, and its gradients."""

    name: str
    forward: Callable[..., Any]
    inputs: dict[str, Any]
    right: dict[str, str]


LAYERS = {"X": "m n", "W1": "n h", "b1": "h", "W2": "h k", "b2": "k"}
BACK = "((A2 - Y) @ W2.T * A1 * (1 - A1))"
SYSTEMS = [
    System(
        "single", single,
        {"X": "m n", "Y": "m k binary", "W": "n k", "b": "k", "l1": 0.3, "l2": 0.7},
        {
            "W": "X.T @ (A - Y) / m + (l1 * np.sign(W) + l2 * W) / m",
            "b": "np.sum(A - Y, axis=0) / m",
        },
    ),
    System(
        "dual", dual, {**LAYERS, "Y": "m k binary", "l2": 0.7},
        {
            "W2": "A1.T @ (A2 - Y) / m + l2 * W2 / m",
            "b2": "np.sum(A2 - Y, axis=0) / m",
            "W1": f"X.T @ {BACK} / m + l2 * W1 / m",
            "b1": f"np.sum({BACK}, axis=0) / m",
        },
    ),
    System(
        "multi", multi, {**LAYERS, "Y": "m k onehot"},
        {
            "Z2": "(A2 - Y) / m",
            "W2": "A1.T @ (A2 - Y) / m",
            "b2": "np.sum(A2 - Y, axis=0) / m",
            "W1": f"X.T @ {BACK} / m",
            "b1": f"np.sum({BACK}, axis=0) / m",
        },
    ),
    System(
        "tanh", tanh_mse, {**LAYERS, "Y": "m k real"},
        {
            "W2": "2 * A1.T @ (A2 - Y) / m",
            "W1": "2 * X.T @ ((A2 - Y) @ W2.T * (1 - A1**2)) / m",
            "b1": "2 * np.sum((A2 - Y) @ W2.T * (1 - A1**2), axis=0) / m",
        },
    ),
    System(
        "relu", relu_mse, {**LAYERS, "Y": "m k real"},
        {
            "W2": "A1.T @ (A2 - Y) / m",
            "W1": "X.T @ ((A2 - Y) @ W2.T * (Z1 > 0)) / m",
            "b1": "np.sum((A2 - Y) @ W2.T * (Z1 > 0), axis=0) / m",
        },
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Mistake:
    """A wrong claim, of what kind, and from which right one."""

    kind: str
    system: System
    target: str
    text: str


# What a repair may call a planted mistake: itself, or another slip that looks the same.
NAMED = {
    "transpose dropped": {"transpose-missing", "operands-swapped"},
    "transpose added": {"transpose-extra", "operands-swapped"},
    "axis dropped": {"axis-missing"},
    "axis changed": {"axis-wrong"},
    "sum dropped": {"sum-missing"},
    "sum for mean": {
        "sum-mean",
        "number",
        "divisor-extra",
        "divisor-missing",
        "scalar-missing",
        "operator",
    },
    "wrong name": {"name-wrong", "complement-missing", "condition", "slope-of-another-array"},
    "difference swapped": {"difference-swapped", "sign", "plus-minus"},
    "plus for minus": {"plus-minus", "sign", "operator"},
    "minus for plus": {"plus-minus", "sign"},
    "divisor dropped": {"divisor-missing"},
    "divisor twice": {"divisor-extra"},
    "factor dropped": {
        "factor-missing",
        "slope-missing",
        "mask-missing",
        "scalar-missing",
        "number-missing",
        "function-missing",
        "power-missing",
        "name-wrong",
        "term-missing",
        "number",
        "error-missing",
        "product-missing",
    },
    "factor twice": {"factor-extra", "power", "operator", "name-wrong"},
    "sign": {"sign", "difference-swapped", "plus-minus"},
    "product for factor": {"operator", "number"},
    "factor for product": {"operator", "product-missing"},
    "operands swapped": {"operands-swapped"},
    "complement dropped": {"complement-missing"},
    "complement added": {"complement-extra"},
    "term dropped": {"term-missing", "penalty-missing"},
    "matrix dropped": {"product-missing"},
    "function dropped": {"function-missing", "sign-of-weight"},
    "comparison": {"comparison", "name-wrong"},
    "number": {"number", "power", "number-missing", "divisor-missing"},
    "times for divided": {"operator"},
    "divided for times": {"operator"},
    "brackets": {"brackets"},
    "doubled": {"factor-extra", "number", "divisor-missing"},
}
SWAPS = {
    "A1": ["A2", "X"], "A2": ["A1", "Y"], "Z1": ["X", "A2"], "X": ["A1"], "W2": ["W1"],
    "W1": ["X"], "W": ["X"], "m": ["n", "h"], "l1": ["l2"], "l2": ["m"], "A": ["X"],
}  # fmt: skip


def changes(tree: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Each kind of mistake, at this very node."""

    def binary(a: ast.expr, op: ast.operator, b: ast.expr) -> ast.BinOp:
        return ast.BinOp(a, op, b)

    match tree:
        case ast.Attribute(value=x, attr="T"):
            yield "transpose dropped", x
        case ast.Call(args=[x], keywords=[ast.keyword(arg="axis")]):
            yield "axis dropped", ast.Call(tree.func, [x], [])
            yield "axis changed", ast.parse(f"np.sum({ast.unparse(x)}, axis=1)").body[0].value  # type: ignore[attr-defined]
            yield "sum dropped", x
            yield "sum for mean", ast.parse(f"np.mean({ast.unparse(x)}, axis=0)").body[0].value  # type: ignore[attr-defined]
        case ast.Call(args=[x], keywords=[]):
            yield "function dropped", x
        case ast.Name(id=name):
            for other in SWAPS.get(name, []):
                yield "wrong name", ast.Name(other)
            if name.startswith(("A", "X", "W")):
                yield "transpose added", ast.Attribute(tree, "T")
            if name.startswith("A"):
                yield "complement added", binary(ast.Constant(1), ast.Sub(), tree)
        case ast.BinOp(left=a, op=ast.Sub(), right=b):
            yield "difference swapped", binary(b, ast.Sub(), a)
            yield "plus for minus", binary(a, ast.Add(), b)
            if isinstance(a, ast.Constant):
                yield "complement dropped", b
        case ast.BinOp(left=a, op=ast.Add(), right=b):
            yield "minus for plus", binary(a, ast.Sub(), b)
            yield "term dropped", a
        case ast.BinOp(left=a, op=ast.Div(), right=b):
            yield "divisor dropped", a
            yield "divisor twice", binary(tree, ast.Div(), b)
            yield "times for divided", binary(a, ast.Mult(), b)
        case ast.BinOp(left=a, op=ast.Mult(), right=b):
            yield "factor dropped", a
            yield "factor twice", binary(tree, ast.Mult(), b)
            yield "product for factor", binary(a, ast.MatMult(), b)
            if not isinstance(a, ast.Constant):
                yield "factor dropped", b
                yield "divided for times", binary(a, ast.Div(), b)
        case ast.BinOp(left=a, op=ast.MatMult(), right=b):
            yield "factor for product", binary(a, ast.Mult(), b)
            yield "operands swapped", binary(b, ast.MatMult(), a)
            yield "matrix dropped", a
            if isinstance(b, ast.BinOp):
                moved = binary(binary(a, ast.MatMult(), b.left), b.op, b.right)
                yield "brackets", moved
            if isinstance(a, ast.BinOp) and isinstance(a.op, (ast.Sub, ast.Add)):
                yield "brackets", binary(a.left, a.op, binary(a.right, ast.MatMult(), b))
        case ast.Compare(left=a, comparators=[b]):
            yield "comparison", ast.Compare(a, [ast.Lt()], [b])
        case ast.Constant(value=2):
            yield "number", ast.Constant(3)
            yield "number", ast.Constant(1)


class _Swap(ast.NodeTransformer):
    def __init__(self, at: ast.AST, new: ast.expr):
        self.at, self.new = at, new

    def visit(self, node: ast.AST) -> Any:
        return self.new if node is self.at else super().visit(node)


def planted(system: System) -> Iterator[Mistake]:
    """All mistakes in the gradients of a system, none twice."""
    problem = _problem(system)
    names = {**problem.names, "np": np}
    for target, text in system.right.items():
        true = eval(text, names)
        tree = ast.parse(text, mode="eval").body
        found = [("sign", f"-({text})"), ("doubled", f"2 * ({text})")]
        for node in ast.walk(tree):
            if isinstance(node, ast.expr):
                for kind, new in changes(node):
                    root = copy.copy(tree)
                    changed = new if node is tree else _replace(root, node, new)
                    found.append((kind, ast.unparse(ast.fix_missing_locations(changed))))
        seen = set()
        for kind, wrong in found:
            if wrong not in seen and not _same(wrong, names, true):
                seen.add(wrong)
                yield Mistake(kind, system, target, wrong)


def _replace(tree: ast.expr, old: ast.AST, new: ast.expr) -> ast.expr:
    """A copy of the tree with one node replaced."""
    memo = {id(old): new}
    return copy.deepcopy(tree, memo)


def _problem(system: System) -> Problem:
    specs = read_specs(system.inputs)
    _, sizes = choose_sizes(size_letters(specs), 1)[0]
    return make_problem(system.forward, specs, sizes, {}, np.random.default_rng(1))


def _same(text: str, names: dict[str, Any], true: Any) -> bool:
    try:
        with np.errstate(all="ignore"):
            value = eval(text, dict(names))
        return bool(np.shape(value) == np.shape(true) and np.allclose(value, true, atol=1e-9))
    except Exception:
        return False


def main() -> None:
    """Plant everything; print what was found out, repaired and named, and what was not."""
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    slowest, start = 0.0, time.perf_counter()
    for system in SYSTEMS:
        for mistake in planted(system):
            began = time.perf_counter()
            verdict = tg.verify(
                system.forward, {mistake.target: mistake.text}, inputs=system.inputs
            )[mistake.target]
            slowest = max(slowest, time.perf_counter() - began)
            counts["planted"] += 1
            kinds[mistake.kind] += 1
            counts["rejected"] += not verdict.right
            if verdict.right:
                print("ACCEPTED", mistake.kind, mistake.text)
            after = verdict.after and tg.verify(
                system.forward, {mistake.target: verdict.after}, inputs=system.inputs
            )
            repaired = bool(after and after.right)
            named = repaired and bool(set(verdict.kinds) & NAMED[mistake.kind])
            counts["repaired"] += repaired
            counts["named"] += named
            if not named and "-v" in sys.argv:
                what = "not named" if repaired else "not repaired"
                print(f"{what}: {mistake.kind}: {mistake.text} → {verdict.kinds} {verdict.after}")
    print(dict(counts), f"{len(kinds)} kinds, {time.perf_counter() - start:.0f} s,"
          f" slowest {slowest:.1f} s")  # fmt: skip


def timings() -> None:
    """How long one verification takes with all its claims right, and with a mistake in each."""
    for system in SYSTEMS:
        wrong: dict[str, list[str]] = {}
        for mistake in planted(system):
            wrong.setdefault(mistake.target, []).append(mistake.text)
        sheets = [{k: texts[i % len(texts)] for k, texts in wrong.items()} for i in range(0, 60, 6)]
        seconds = []
        for claims in (system.right, *sheets):
            began = time.perf_counter()
            tg.verify(system.forward, claims, inputs=system.inputs)
            seconds.append(time.perf_counter() - began)
        print(f"{system.name:7} {len(wrong)} claims: right {seconds[0]:.2f} s, all wrong, "
              f"repaired: {max(seconds[1:]):.2f} s at most")  # fmt: skip


if __name__ == "__main__":
    timings() if "--time" in sys.argv else main()
