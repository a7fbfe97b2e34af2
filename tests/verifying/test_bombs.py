"""Claims that would take for ever, or all memory, are refused or done within bounds of work.

Every claim runs in the process of the tests. What is held is counted: operations, entries, and
the calls of NumPy's larger functions; and, for all of them in one process, the memory.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.tools.long import long
from tinygrad_edu.verifying.claims import MAX_TOTAL_STEPS, MAX_TOTAL_WORK, Claim
from tinygrad_edu.verifying.evaluation import MAX_STEPS, MAX_WORK, Evaluator
from tinygrad_edu.verifying.expressions import Node, render, shorten
from tinygrad_edu.verifying.functions import ClaimError
from tinygrad_edu.verifying.grammar import parse
from tinygrad_edu.verifying.problems import CannotCheck
from tinygrad_edu.verifying.verification import verify

SIZES = {"X": "m n", "Y": "m k binary", "W": "n k", "b": "k"}
ONE = "np.ones((1000, 1000))"
HALVES = "\n".join([f"E{k} = (E{k + 1} + E{k + 1})/2" for k in range(60)])
DOUBLES = "\n".join([f"E{k} = E{k + 1} + E{k + 1}" for k in range(60)])
ENDS = "\nE60 = (A − Y)/m\ndW = XᵀE0\ndb = 1ᵀE0"


def forward(X: Any, Y: Any, W: Any, b: Any) -> Any:
    m = len(X)
    Z = X @ W + b
    A = tg.sigmoid(Z)
    return -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).sum() / m


BOMBS: dict[str, Any] = {
    # those of the report
    "lines that refer twice to the next": DOUBLES + ENDS,
    "nine products": " @ ".join([ONE] * 9),
    "a long sum": "sum([i*i for i in range(99999)])",
    "deep brackets": "(" * 1900 + "1" + ")" * 1900,
    "a tower": "9**9**9",
    "a long range": "sum(range(10**18))",
    "a long text": "'" + "a" * 7000 + "'",
    "a large array": "np.ones((10**9,))",
    "products of comprehensions": "[[[i for i in range(99)] for j in range(99)] for k in range(9)]",
    # … and others
    "lines by squares": {
        **{f"E{k}": f"E{k + 1} * E{k + 1} + E{k + 1}" for k in range(60)},
        "E60": "A - Y",
        "W": "X.T @ E0",
    },
    "lines by a mask": "\n".join(f"E{k} = E{k + 1} ⊙ [E{k + 1} > 0]" for k in range(60)) + ENDS,
    "lines by an index": "\n".join(f"E{k} = [i,j] E{k + 1}[i,j]·E{k + 1}[i,j]" for k in range(60))
    + ENDS,
    "a long chain": "\n".join(f"E{k} = E{k + 1}" for k in range(1900)) + "\nE1900 = A\ndW = XᵀE0",
    "a right claim beside a loop": "X.T @ (A - Y) / m + 0*sum([i for i in range(9000)])",
    "a wrong claim beside a loop": "X.T @ (A - Y) + 0*sum([i for i in range(9000)])",
    "a wrong claim beside a short loop": "X.T @ (A - Y) + 0*sum([i for i in range(400)])",
    "one large product": "np.ones((999, 1000)) @ np.ones((1000, 999))",
    "kron of kron": "np.kron(np.kron(np.kron(np.kron(A, A), A), A), A)",
    "outer of outer": "np.outer(np.outer(np.outer(X, X), X), X)",
    "sums of a long list": "[sum(r) for r in [[i for i in range(9999)]] for j in range(9999)]",
    "arrays of a long list": "[np.array(r) for r in [[i for i in range(9999)]] for j in range(99)]",
    "many exponentials": "+".join([f"np.exp({ONE})"] * 9),
    "exponentials beside the right": f"X.T @ (A - Y) / m + 0*np.exp({ONE}).sum()",
    "exponentials beside the wrong": f"X.T @ (A - Y) + 0*np.exp({ONE}).sum()",
    "a tower of powers": "2.0**" * 90 + "2",
    "powers of powers": "^".join(["9"] * 60),
    "a factorial": "*".join(map(str, range(1, 99))),
    "a large number": "9" * 5000,
    "many indices": "[a,b] "
    + " ".join(f"Σ_{c}" for c in "cdefghij")
    + " X[a,b]·X[c,d]·X[e,f]·X[g,h]·X[i,j]",
    "einsum of all": "np.einsum('ab,cd,ef,gh,ij->abcdefghij', X, X, X, X, X)",
    "stretched": "np.broadcast_to(X[:, :, None], (5, 3, 10**7))",
    "tiles": "np.tile(np.tile(X, (300, 1)), (1, 300))",
    "repeated": "np.repeat(np.repeat(X, 900), 900)",
    "many spaces": "W" + " " * 150_000 + "= 1",
    "many spaces in lines": ("dW = X" + " " * 7_900 + "!\n") * 20,
    "many comments": {"W": "X " + "#" * 3_000 + "\n\x00"},
    "one long word": "X" * 7_999,
    "many words": " ".join(["XAYZ" * 50] * 39),
    "many primes": "X" + "'" * 4_000,
    "many sums": "Σ_k " * 1_900,
    "many bars": "|" * 4_000,
    "many norms": "‖" * 4_000,
    "many marks": "X" + "\u0302" * 7_000,
    "many loops": "[" + "for " * 1_900 + "]",
    "many braces": "\\frac" + "{" * 4_000,
    "many fractions": "\\frac{1}" * 900,
    "fractions in fractions": "\\frac{1}{" * 300 + "1" + "}" * 300,
    "many environments": "\\begin{aligned}" * 13_000,
    "roots of roots": "√" * 3_000 + "X",
    "a long text of lines": "dW = X\n" * 40_000,
    "calls of calls": "exp " * 1_500 + "X",
    "many gradients": "dZ" * 2_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_work_is_bounded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large it looks, no evaluation and no claim does more work than is allowed."""
    most = {"steps": 0.0, "work": 0.0, "evaluations": 0}
    quickly = Evaluator.quickly

    def counted(self: Evaluator, *nodes: Node) -> Any:
        most["evaluations"] += 1
        try:
            return quickly(self, *nodes)
        finally:
            most["steps"] = max(most["steps"], self.steps)
            most["work"] = max(most["work"], self.work)

    monkeypatch.setattr(Evaluator, "quickly", counted)
    claims = BOMBS[name]
    if isinstance(claims, str) and "\n" not in claims and not claims.startswith("W "):
        claims = {"W": claims, "b": "np.sum(A - Y, axis=0) / m"}
    try:
        report = verify(forward, claims, inputs=SIZES, repair=False)
    except CannotCheck as error:
        assert "letters" in str(error) or "not what forward computes" in str(error)
        return
    wrong = [v for v in report.verdicts if not v.right]
    assert name == "a right claim beside a loop" or wrong
    assert all(20 < len(v.reason) < 500 for v in wrong)
    if isinstance(claims, dict) and "b" in claims:
        assert report["b"].right
    # What is refused stops at the operation that goes beyond the bound.
    assert most["steps"] <= 2 * MAX_STEPS and most["work"] <= 2 * MAX_WORK


def test_shared_lines_are_worked_out_once() -> None:
    report = verify(forward, HALVES + ENDS, inputs=SIZES, repair=False)
    assert report.right
    tree = Node("name", "E")
    for _ in range(200):
        tree = Node("binary", "+", (tree, tree))
    values = Evaluator({"E": np.ones(2) / 2**100})
    assert values(tree).tolist() == [2.0**100] * 2
    assert values.steps == 201
    again = Node("name", "E")
    for _ in range(200):
        again = Node("binary", "+", (again, again))
    assert tree == again and len({tree, again}) == 1  # though no part is the same object
    assert tree != Node("binary", "+", (again, Node("name", "E")))
    assert shorten(tree) == "…"
    assert tree.names() == {"E"} and len(list(tree.nodes())) == 201


def test_a_refused_claim_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    value = Claim.value

    def counted(self: Claim, problem: Any) -> Any:
        before = problem.evaluator.all_steps
        try:
            return value(self, problem)
        finally:
            tried.append(problem.evaluator.all_steps - before)

    monkeypatch.setattr(Claim, "value", counted)
    verdict = verify(forward, {"W": BOMBS["a long sum"]}, inputs=SIZES).verdicts[0]
    assert verdict.status == "error" and "more than 100,000 steps" in verdict.reason
    assert sum(steps > 1000 for steps in tried) == 1
    tried.clear()
    text = "X.T @ (A - Y) / m + 0*sum([i for i in range(9000)])"
    verdict = verify(forward, {"W": text}, inputs=SIZES).verdicts[0]
    assert verdict.status == "error" and "more work than one claim may" in verdict.reason
    assert MAX_TOTAL_STEPS <= sum(tried) <= MAX_TOTAL_STEPS + MAX_STEPS
    assert MAX_TOTAL_WORK > MAX_WORK


def test_an_evaluator_forgets_what_is_large() -> None:
    values = Evaluator({"A": np.ones((100, 100))})
    for k in range(40):
        values(parse(f"A * {k} + np.ones((500, 500))[:100, :100]"))
    kept = sum(np.size(x) for x in values.cache.values())
    assert kept < 500_000
    with pytest.raises(ClaimError):
        values(parse("[x for x in range(200000)]"))
    errors = [x for x in values.cache.values() if isinstance(x, ClaimError)]
    assert errors and all(e.__traceback__ is None or e.__cause__ is None for e in errors)


def test_messages_of_large_trees_are_short() -> None:
    lines = DOUBLES + "\nE60 = A\ndW = X E0"
    reason = verify(forward, lines, inputs=SIZES, repair=False)["W"].reason
    assert len(reason) < 300
    tree = parse("A + 1")
    for _ in range(60):
        tree = Node("binary", "*", (tree, tree), "E * E", (0, 5))
    assert shorten(tree) == "E * E"
    assert render(parse("A + 1")) == "A + 1"


@long
def test_memory_is_bounded() -> None:
    """All of them in a process that may not have more than a gigabyte beside the interpreter's."""
    resource = pytest.importorskip("resource")
    code = """
import resource
from tests.verifying.test_bombs import BOMBS, CannotCheck, SIZES, forward, verify
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for claims in BOMBS.values():
    try:
        verify(forward, {"W": claims} if isinstance(claims, str) else claims, inputs=SIZES,
               repair=False)
    except CannotCheck:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr[-2000:]
    kilobytes = int(done.stdout) // (1 if sys.platform == "linux" else 1024)
    assert kilobytes < 1_000_000
    assert resource is not None
