"""Plant every mistake that is a slip away from a right gradient, and count what verify makes of it.

    python -m tests.mistakes          plant all of them, on both cores; -v lists what is not named
    python -m tests.mistakes --every 20 --start 3
    python -m tests.mistakes --time   how long a verification of all claims takes, right and wrong

Counted are the mistakes that are rejected, repaired, and called by their name. Of every proposal it
is checked that it holds its promise (the claim with the change in it is right; of a program, no
claim that was right has become wrong) and that it has no word that is neither in the author's text,
nor in the forward, nor in the mistake's own entry.

The slips of algebra are planted by Python's own `ast`, those of networks by writing over a part of
the text (`tests.tools.networks`). They are judged by Python's own `eval`, which shares nothing
with the verifier: a text that happens to mean the same as before is no mistake and is left out.
"""

from __future__ import annotations

import argparse
import ast
import copy
import inspect
import linecache
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_edu as tg
from tests.tools.networks import LAYERS, SYSTEMS, System, dual, multi, relu_mse, single, tanh_mse
from tinygrad_edu.verifying.edits import TABLE
from tinygrad_edu.verifying.problems import (
    Problem,
    choose_sizes,
    make_problem,
    read_specs,
    size_letters,
)


@dataclass(frozen=True)
class Mistake:
    """A wrong claim, of what kind, and from which right one."""

    kind: str
    system: System
    target: str
    text: str
    program: bool = False  # the text is a function, and the target the line that is wrong


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
        "penalty-missing",
        "softmax-rule-of-sum",
        "normalisation-term-missing",
        "dropout-mask-missing",
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
    "function dropped": {"function-missing", "sign-of-weight", "root-missing"},
    "comparison": {"comparison", "name-wrong"},
    "number": {"number", "power", "number-missing", "divisor-missing"},
    "times for divided": {"operator"},
    "divided for times": {"operator"},
    "brackets": {"brackets"},
    "doubled": {"factor-extra", "number", "divisor-missing"},
    # … those that only make sense in networks
    "slope of tanh": {"slope-of-tanh"},
    "slope of sigmoid": {"slope-of-sigmoid"},
    "mask of relu": {"mask-of-relu"},
    "slope dropped": {"slope-missing", "mask-missing", "slope-missing-inside", "factor-missing"},
    "slope of the output": {"slope-of-another-array"},
    "slope of preactivation": {"slope-of-another-array"},
    "slope of cell": {"slope-of-another-array", "name-wrong"},
    "slope of another gate": {"slope-of-another-array"},
    "slope divided": {"operator"},
    "activation for slope": {"slope-missing-inside", "condition"},
    "relu of gradient": {"relu-of-gradient"},
    "square dropped": {"power-missing"},
    "superfluous slope": {"factor-extra"},
    "another gate": {"name-wrong"},
    "abs for sign": {"sign-of-weight"},
    "penalty dropped": {"penalty-missing", "term-missing"},
    "penalty doubled": {"factor-extra", "number"},
    "penalty halved": {"divisor-extra", "number", "operator"},
    "penalty itself": {"penalty-not-derived", "power"},
    "penalty of bias": {"penalty-of-bias"},
    "penalty of other weights": {"name-wrong"},
    "size of all": {"size-of-all"},
    "m squared": {"divisor-extra", "power"},
    "outputs in the divisor": {"divisor-extra"},
    "mean of all": {"axis-missing"},
    "loss for error": {"power"},
    "dropout mask dropped": {"dropout-mask-missing", "operator", "factor-missing"},
    "dropout scale dropped": {"divisor-missing"},
    "dropout forgotten": {"dropout-mask-missing"},
    "undropped activation": {"name-wrong"},
    "layer skipped": {"layer-skipped"},
    "softmax diagonal": {"softmax-diagonal"},
    "log-softmax rule": {"log-softmax-rule"},
    "sum without probabilities": {"softmax-rule-of-sum", "factor-missing"},
    "sum over classes dropped": {"softmax-sum-missing"},
    "softmax skipped": {"softmax-jacobian-missing"},
    "keepdims dropped": {"keepdims"},
    "root dropped": {"root-missing"},
    "scale dropped": {"divisor-missing"},
    "scale in the numerator": {"operator"},
    "batch norm's mean dropped": {"normalisation-term-missing"},
    "batch norm's variance dropped": {"normalisation-term-missing"},
    "batch norm as a constant": {"normalisation-term-missing"},
    "unscaled": {"divisor-missing"},
    "variance for deviation": {"divisor-extra", "power"},
    "input for normalised": {"name-wrong"},
    "operands of rows": {"operands-swapped"},
    "axis of rows": {"axis-wrong"},
}
__all__ = [
    "LAYERS",
    "NAMED",
    "SYSTEMS",
    "Mistake",
    "System",
    "applied",
    "dual",
    "everything",
    "function_of",
    "judge",
    "multi",
    "planted",
    "planted_in_programs",
    "relu_mse",
    "single",
    "strange",
    "tanh_mse",
    "worse",
]

SWAPS = {
    "A1": ["A2", "X"],
    "A2": ["A1", "Y"],
    "Z1": ["X", "A2"],
    "X": ["A1"],
    "W2": ["W1"],
    "W1": ["X"],
    "W": ["X"],
    "m": ["n", "h"],
    "l1": ["l2"],
    "l2": ["m"],
    "A": ["X"],
}


def changes(tree: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Each kind of mistake, at this very node."""

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
                yield "complement added", ast.BinOp(ast.Constant(1), ast.Sub(), tree)
        case ast.BinOp():
            yield from _changes_of_operators(tree)
        case ast.Compare(left=a, comparators=[b]):
            yield "comparison", ast.Compare(a, [ast.Lt()], [b])
        case ast.Constant(value=2):
            yield "number", ast.Constant(3)
            yield "number", ast.Constant(1)


def _changes_of_operators(tree: ast.BinOp) -> Iterator[tuple[str, ast.expr]]:
    """Each kind of mistake at an operator, or in the order of its operands."""
    match tree:
        case ast.BinOp(left=a, op=ast.Sub(), right=b):
            yield "difference swapped", ast.BinOp(b, ast.Sub(), a)
            yield "plus for minus", ast.BinOp(a, ast.Add(), b)
            if isinstance(a, ast.Constant):
                yield "complement dropped", b
        case ast.BinOp(left=a, op=ast.Add(), right=b):
            yield "minus for plus", ast.BinOp(a, ast.Sub(), b)
            yield "term dropped", a
        case ast.BinOp(left=a, op=ast.Div(), right=b):
            yield "divisor dropped", a
            yield "divisor twice", ast.BinOp(tree, ast.Div(), b)
            yield "times for divided", ast.BinOp(a, ast.Mult(), b)
        case ast.BinOp(left=a, op=ast.Mult(), right=b):
            yield "factor dropped", a
            yield "factor twice", ast.BinOp(tree, ast.Mult(), b)
            yield "product for factor", ast.BinOp(a, ast.MatMult(), b)
            if not isinstance(a, ast.Constant) and not _is_product(a):
                yield "factor dropped", b
            if not isinstance(a, ast.Constant):
                yield "divided for times", ast.BinOp(a, ast.Div(), b)
        case ast.BinOp(left=a, op=ast.MatMult(), right=b):
            yield "factor for product", ast.BinOp(a, ast.Mult(), b)
            yield "operands swapped", ast.BinOp(b, ast.MatMult(), a)
            if not _is_product(b):
                yield "matrix dropped", a
            if isinstance(b, ast.BinOp):
                moved = ast.BinOp(ast.BinOp(a, ast.MatMult(), b.left), b.op, b.right)
                yield "brackets", moved
            if isinstance(a, ast.BinOp) and isinstance(a.op, (ast.Sub, ast.Add)):
                yield "brackets", ast.BinOp(a.left, a.op, ast.BinOp(a.right, ast.MatMult(), b))


def _is_product(x: ast.expr) -> bool:
    """Return True if it is a product; its factors are not all left out at once."""
    return isinstance(x, ast.BinOp) and isinstance(x.op, (ast.Mult, ast.MatMult))


def planted(system: System) -> Iterator[Mistake]:
    """All mistakes in the gradients of a system, none twice."""
    problem = _problem(system)
    names = {**problem.names, "np": np}
    for target, text in system.right.items():
        true = eval(text, names)
        tree = ast.parse(text, mode="eval").body
        found = [(kind, text.replace(old, new)) for kind, old, new in system.slips if old in text]
        found += [("sign", f"-({text})"), ("doubled", f"2 * ({text})"), *_slips(tree)]
        seen = set()
        for kind, wrong in found:
            if wrong not in seen and not _same(wrong, names, true):
                seen.add(wrong)
                yield Mistake(kind, system, target, wrong)


def _slips(tree: ast.expr) -> Iterator[tuple[str, str]]:
    """Yield the slips of algebra in an expression, each with its kind."""
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            for kind, new in changes(node):
                changed = new if node is tree else _replace(copy.copy(tree), node, new)
                yield kind, ast.unparse(ast.fix_missing_locations(changed))


def planted_in_programs(system: System) -> Iterator[Mistake]:
    """All mistakes in the lines of a system's program, where gradients share lines."""
    parameters = _used(system.lines)
    true = _outcome(system, program_text(system.lines, parameters))
    for name, text in system.lines.items():
        found = [(kind, text.replace(old, new)) for kind, old, new in system.slips if old in text]
        seen = set()
        for kind, wrong in [*found, *_slips(ast.parse(text, mode="eval").body)]:
            lines = {**system.lines, name: wrong}
            text_of = program_text(lines, parameters)
            outcome = _outcome(system, text_of)
            same = (
                outcome is not None
                and true is not None
                and all(
                    np.shape(outcome[k]) == np.shape(true[k]) and np.allclose(outcome[k], true[k])
                    for k in true
                )
            )
            if wrong not in seen and not same:
                seen.add(wrong)
                yield Mistake(kind, system, name, text_of, program=True)


def _used(lines: dict[str, str]) -> set[str]:
    trees = (ast.parse(text) for text in lines.values())
    names = {x.id for tree in trees for x in ast.walk(tree) if isinstance(x, ast.Name)}
    return names - lines.keys() - {"np"}


def program_text(lines: dict[str, str], parameters: set[str]) -> str:
    """The function `backprop` of these lines, which takes what they use, and these."""
    names = sorted(_used(lines) | parameters)
    body = "".join(f"    {name} = {text}\n" for name, text in lines.items())
    grads = ", ".join(
        f"'{name.removesuffix('_grad')}': {name}" for name in lines if name.endswith("_grad")
    )
    return f"def backprop({', '.join(names)}):\n{body}    return {{{grads}}}\n"


def function_of(text: str) -> Callable[..., Any]:
    """The function of a program's text, whose source `inspect` finds."""
    path = f"<planted {hash(text)}>"
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    scope: dict[str, Any] = {"np": np, "tg": tg}
    exec(compile(text, path, "exec"), scope)
    return scope["backprop"]  # type: ignore[no-any-return]


def _outcome(system: System, text: str) -> dict[str, Any] | None:
    names = dict(_problem(system).names)
    function = function_of(text)
    wanted = {k: x for k, x in names.items() if k in function.__code__.co_varnames}
    try:
        with np.errstate(all="ignore"):
            return function(**wanted)  # type: ignore[no-any-return]
    except Exception:
        return None


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


@dataclass(frozen=True)
class Result:
    """The outcome of verifying a planted mistake."""

    mistake: Mistake
    rejected: bool
    repaired: bool
    named: bool
    kinds: tuple[str, ...]
    after: str
    broken: str  # the promise that a proposal breaks, if it does
    strange: tuple[str, ...]  # words of a proposal that are in no text
    seconds: float


def judge(mistake: Mistake) -> Result:
    """Verify a planted mistake and do as told until nothing more is proposed."""
    claims = _claims(mistake, mistake.text)
    began = time.process_time()
    report = first = tg.verify(mistake.system.forward, claims, inputs=mistake.system.inputs)
    seconds, text, broken = time.process_time() - began, mistake.text, ""
    for _ in range(3):
        proposed = [v for v in report.verdicts if v.after]
        for v in proposed:
            changed, problem = applied(mistake, text, v)
            broken = broken or problem or worse(mistake, report, v, changed)
        if not proposed or broken:
            break
        text, _ = applied(mistake, text, proposed[0])
        report = tg.verify(
            mistake.system.forward, _claims(mistake, text), inputs=mistake.system.inputs
        )
    wrong = [v for v in first.verdicts if not v.right]
    kinds = tuple(kind for v in wrong for kind in v.kinds)
    return Result(
        mistake,
        not first.right,
        report.right and not broken,
        bool({*kinds} & NAMED[mistake.kind]),
        kinds,
        "; ".join(v.after for v in wrong if v.after),
        broken,
        tuple(word for v in wrong if v.after for word in strange(mistake, v)),
        seconds,
    )


def _claims(mistake: Mistake, text: str) -> Any:
    return function_of(text) if mistake.program else {mistake.target: text}


def applied(mistake: Mistake, text: str, verdict: Any) -> tuple[str, str]:
    """The author's text with a proposal written into it, and why that cannot be done."""
    if not mistake.program:
        return verdict.after, ""
    for old, new in zip(verdict.before.split("; "), verdict.after.split("; "), strict=True):
        if text.count(old) != 1:
            return text, f"{old} is not in the text"
        text = text.replace(old, new)
    return text, ""


def worse(mistake: Mistake, report: Any, verdict: Any, text: str) -> str:
    """Return the proposal if it does not make the report better, else ""."""
    claims, system = _claims(mistake, text), mistake.system
    after = tg.verify(system.forward, claims, inputs=system.inputs, repair=False)
    now = {v.name for v in after.verdicts if v.right}
    before = {v.name for v in report.verdicts if v.right}
    if not before <= now or verdict.name not in now:
        return f"∂L/∂{verdict.name}: {verdict.after}"
    return ""


def strange(mistake: Mistake, verdict: Any) -> set[str]:
    """The words of a proposal that are in no text and in none of the entries of its mistakes."""
    known = [mistake.text, inspect.getsource(mistake.system.forward)]
    known += map(str, mistake.system.inputs.values())
    entries = [entry.words for entry in TABLE if entry.kind in verdict.kinds]
    return _words(verdict.after) - _words(" ".join([*known, *entries]))


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d]\w*", text))


def everything(every: int = 1, start: int = 0) -> list[Mistake]:
    """Every nth mistake of all systems, of expressions and of programs."""
    found = [mistake for system in SYSTEMS for mistake in planted(system)]
    found += [m for system in SYSTEMS if system.lines for m in planted_in_programs(system)]
    return found[start::every]


def main() -> int:
    """Plant everything; print what was found out, repaired and named, and what was not."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--every", type=int, default=1, help="plant every nth mistake only")
    parser.add_argument("--start", type=int, default=0, help="… beginning with this one")
    parser.add_argument("--time", action="store_true", help="time whole verifications instead")
    parser.add_argument("-v", action="store_true", help="list what is not named")
    options = parser.parse_args()
    if options.time:
        timings()
        return 0
    start = time.perf_counter()
    mistakes = everything(options.every, options.start)
    with ProcessPoolExecutor(2) as pool:
        results = list(pool.map(judge, mistakes, chunksize=8))
    _print_each(results, options.v)
    counts = _counted(results)
    seconds = sorted(r.seconds for r in results)
    print(", ".join(f"{n} {what}" for what, n in counts.items()))
    if options.v:
        slowest = max(results, key=lambda r: r.seconds)
        print(f"slowest, {slowest.seconds:.1f} s:", slowest.mistake.text)
    print(
        f"{time.perf_counter() - start:.0f} s; CPU for each: {seconds[len(seconds) // 2]:.2f} s "
        f"in the median, {seconds[-1]:.2f} s at most"
    )
    failed = counts["promises broken"] or counts["with strange words"]
    return int(bool(failed or counts["rejected"] < len(results)))


def _print_each(results: Sequence[Result], verbose: bool) -> None:
    """Print each mistake that was not handled as promised; if verbose, those not named, too."""
    for r in results:
        where = f"{r.mistake.system.name} {r.mistake.target}: {r.mistake.kind}: {r.mistake.text}"
        if not r.rejected:
            print("ACCEPTED", where)
        if r.broken:
            print("BROKEN", where, r.broken)
        if r.strange:
            print("STRANGE WORDS", r.strange, where, r.after)
        if verbose and not (r.repaired and r.named):
            print("not repaired:" if not r.repaired else "not named:", where, r.kinds, r.after)


def _counted(results: Sequence[Result]) -> dict[str, int]:
    """Return how many mistakes were planted, rejected, repaired and named."""
    return {
        "planted": len(results),
        "kinds": len({r.mistake.kind for r in results}),
        "networks": len({r.mistake.system.name for r in results}),
        "rejected": sum(r.rejected for r in results),
        "repaired": sum(r.repaired for r in results),
        "repaired and named": sum(r.repaired and r.named for r in results),
        "promises broken": sum(bool(r.broken) for r in results),
        "with strange words": sum(bool(r.strange) for r in results),
    }


def timings() -> None:
    """Print the CPU seconds of one verification, all claims right, and a mistake in each."""
    medians = []
    for system in SYSTEMS:
        wrong: dict[str, list[str]] = {}
        for mistake in planted(system):
            wrong.setdefault(mistake.target, []).append(mistake.text)
        sheets = [{k: texts[i % len(texts)] for k, texts in wrong.items()} for i in range(0, 60, 4)]
        seconds: list[float] = []
        for claims in (system.right, system.right, system.right, *sheets):
            began = time.process_time()
            tg.verify(system.forward, claims, inputs=system.inputs)
            seconds.append(time.process_time() - began)
        each = sorted(seconds[3:])
        medians += each
        print(
            f"{system.name:16} {len(wrong)} claims: right {min(seconds[:3]):.2f} s; all wrong: "
            f"{each[len(each) // 2]:.2f} s in the median, {each[-1]:.2f} s at most"
        )
    medians.sort()
    print(f"all: {medians[len(medians) // 2]:.2f} s in the median, {medians[-1]:.2f} s at most")


if __name__ == "__main__":
    sys.exit(main())
