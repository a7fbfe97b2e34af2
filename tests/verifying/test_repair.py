"""Planted mistakes are found out, repaired and named; the whole run: `python -m tests.mistakes`."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.mistakes import (
    NAMED,
    SYSTEMS,
    applied,
    everything,
    function_of,
    judge,
    multi,
    strange,
    worse,
)
from tinygrad_edu.verifying import wording
from tinygrad_edu.verifying.derivations import Derivation
from tinygrad_edu.verifying.edits import TABLE, Edit, describe, edits
from tinygrad_edu.verifying.evaluation import Evaluator
from tinygrad_edu.verifying.expressions import Node, render
from tinygrad_edu.verifying.grammar import parse
from tinygrad_edu.verifying.repair import Budget, find_repair
from tinygrad_edu.verifying.truth import Truth
from tinygrad_edu.verifying.vocabulary import Vocabulary

MULTI = next(system for system in SYSTEMS if system.forward is multi)


def test_the_generator_plants_many_kinds_in_many_networks() -> None:
    every = everything()
    kinds = Counter(mistake.kind for mistake in every)
    assert len(every) >= 1_200
    assert len(kinds) >= 55
    assert kinds.keys() == NAMED.keys()
    assert len({mistake.system.name for mistake in every}) >= 12
    assert sum(mistake.program for mistake in every) >= 100


def test_all_are_rejected() -> None:
    for mistake in everything(80, 7):  # `python -m tests.mistakes` takes all
        if not mistake.program:
            report = tg.verify(
                mistake.system.forward,
                {mistake.target: mistake.text},
                inputs=mistake.system.inputs,
                repair=False,
            )
            assert not report.right, mistake


def test_nearly_all_are_repaired_and_named() -> None:
    results = [judge(mistake) for mistake in everything(90, 3)]
    assert len(results) >= 18
    for result in results:
        assert result.rejected and not result.broken and not result.strange, result
    assert sum(r.repaired and r.named for r in results) >= 0.9 * len(results)


def test_a_broken_promise_would_be_found() -> None:
    """The checker finds proposals that break their promise, and words that no claim uses."""
    mistake = next(m for m in everything() if m.program and m.target == "E1")
    report = tg.verify(
        mistake.system.forward, function_of(mistake.text), inputs=mistake.system.inputs
    )
    verdict = next(v for v in report.verdicts if v.after)
    text, problem = applied(mistake, mistake.text, verdict)
    assert not problem and not worse(mistake, report, verdict, text)
    assert worse(mistake, report, verdict, mistake.text)
    spoiled = text.replace("A1.T @", "A1.T @ -")
    assert worse(mistake, report, verdict, spoiled)
    assert strange(mistake, replace(verdict, after="E1 = unheard_of * back")) == {"unheard_of"}


@pytest.mark.parametrize(
    ("target", "text", "kinds", "after"),
    [
        ("b2", "np.sum(A2-Y)/m", ["axis-missing"], "np.sum(A2-Y, axis=0)/m"),
        ("b2", "(A2 - Y).sum(axis=1) / m", ["axis-wrong"], "(A2 - Y).sum(axis=0) / m"),
        ("W2", "A1 @ (A2 - Y) / m", ["transpose-missing"], "A1.T @ (A2 - Y) / m"),
        ("W2", "Z1.T @ (A2 - Y) / m", ["name-wrong"], "A1.T @ (A2 - Y) / m"),
        ("W2", "A1.T @ (Y-A2) / m", ["difference-swapped"], "A1.T @ (A2-Y) / m"),
        ("W2", "A1.T@(A2 - Y)", ["divisor-missing"], "A1.T@(A2 - Y) / m"),
        ("W2", "A1.T * (A2 - Y) / m", ["operator"], "A1.T @ (A2 - Y) / m"),
        ("W2", "(A2 - Y) @ A1.T / m", ["operands-swapped"], "A1.T @ (A2 - Y) / m"),
        ("W2", "np.dot(A1, A2 - Y) / m", ["transpose-missing"], "np.dot(A1.T, A2 - Y) / m"),
        ("W2", "A1.T @ A2 - Y / m", ["brackets", "divisor-missing"], None),
        ("W1", "Xᵀ((A2 − Y)W2ᵀ ⊙ A1)/m", ["factor-missing"], "Xᵀ((A2 − Y)W2ᵀ ⊙ A1 ⊙ (1 − A1))/m"),
        ("W1", "Xᵀ((A2 − Y)W2ᵀ)/m", ["slope-missing"], None),
        (
            "W1",
            "Xᵀ((A2 − Y)W2 ⊙ A1 ⊙ (1 − A1))",
            ["transpose-missing", "divisor-missing"],
            "Xᵀ((A2 − Y)W2ᵀ ⊙ A1 ⊙ (1 − A1))/m",
        ),
        ("W1", "X.T @ ((A2 - Y) @ W2.T * Z1 * (1 - A1))", ["name-wrong", "divisor-missing"], None),
        (
            "W1",
            "X.T @ (A2 - Y) @ W2.T * A1 * (1 - A1) / m",
            ["brackets"],
            "X.T @ ((A2 - Y) @ W2.T * A1 * (1 - A1) / m)",
        ),
        (
            "W1",
            "X.T @ ((A2 - Y) @ W2.T * (Z1 > 0)) / m",
            ["mask-of-relu"],
            "X.T @ ((A2 - Y) @ W2.T * A1 * (1 - A1)) / m",
        ),
        ("W1", "X.T / m", ["product-missing"], None),
        ("W2", "A1.T @ (A2 - Y) / A1.shape[1]", ["index"], "A1.T @ (A2 - Y) / A1.shape[0]"),
        (
            "W2",
            "sum(np.outer(A1[i], A2[i] - Y[i]) for i in range(n)) / m",
            ["name-wrong"],
            "sum(np.outer(A1[i], A2[i] - Y[i]) for i in range(m)) / m",
        ),
        (
            "W2",
            "[np.outer(a, e) / m for a, e in zip(A1, A2 - Y)]",
            ["sum-missing"],
            "np.sum([np.outer(a, e) / m for a, e in zip(A1, A2 - Y)], axis=0)",
        ),
        (
            "W2",
            "[j,k] Σ_i A1[i,k]·(A2[i,k] − Y[i,k])/m",
            ["index"],
            "[j,k] Σ_i A1[i,j]·(A2[i,k] − Y[i,k])/m",
        ),
        (
            "b1",
            "np.sum((Y - A2) @ W2.T * A1 * (1 - A1)) / m",
            ["axis-missing", "difference-swapped"],
            None,
        ),
    ],
)
def test_the_smallest_change_in_the_students_own_text(
    target: str, text: str, kinds: list[str], after: str | None
) -> None:
    verdict = tg.verify(multi, {target: text}, inputs=MULTI.inputs)[target]
    assert sorted(verdict.kinds) == sorted(kinds)
    assert verdict.before == text
    if after is not None:
        assert verdict.after == after
    assert tg.verify(multi, {target: verdict.after}, inputs=MULTI.inputs).right


def test_what_no_small_change_repairs_is_described() -> None:
    verdict = tg.verify(multi, {"W2": "np.ones((h, k)) + W2 ** 3"}, inputs=MULTI.inputs)["W2"]
    assert not verdict.after
    assert verdict.reason.startswith("the first entry that differs is [0, 0]: claimed ")
    verdict = tg.verify(multi, {"W2": "np.ones(7)"}, inputs=MULTI.inputs)["W2"]
    assert verdict.reason == "the claim has shape (7,), the gradient (4, 2)"


def test_every_mistake_is_found_somewhere_and_has_its_words() -> None:
    rng = np.random.default_rng(0)
    Z, B = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    P = np.exp(B) / np.exp(B).sum(axis=1, keepdims=True)
    names: dict[str, Any] = {
        "X": rng.normal(size=(5, 3)),
        "A": 1 / (1 + np.exp(-Z)),
        "Y": rng.normal(size=(5, 4)),
        "T": np.tanh(Z),
        "R": np.maximum(Z, 0),
        "Z": Z,
        "B": B,
        "P": P,
        "D": (B > 0) * 1.0,
        "H": (B - B.mean(axis=0)) / B.std(axis=0),
        "W": rng.normal(size=(3, 4)),
        "m": 5,
        "b": rng.normal(size=4),
        "lam": 0.3,
        "S": rng.normal(size=(3, 3)),
        "V": rng.normal(size=(4, 4)),
    }
    operations = ["abs", "sqrt", "relu", "tanh", "sigmoid", "softmax"]
    kinds: dict[str, Edit] = {}
    for target, text in [
        ("W", "-X.T @ (A - Y) / m + 2 * A[:, 0].sum() - 1"),
        ("W", "X.T @ (A - Y) / m + W**2"),
        ("W", "np.sum(A * (1 - A) ** 2, axis=0)"),
        ("W", "X @ W"),
        ("W", "np.sum(np.exp(A))"),
        ("W", "rowsum(A)"),
        ("W", "np.dot(X.T, A > 0)"),
        ("W", "A.T"),
        ("W", "Y.mean(axis=0)"),
        ("W", "B * A * (1 - A)"),
        ("W", "B * (1 - T**2)"),
        ("W", "B * (Z > 0)"),
        ("W", "B * T"),
        ("W", "relu(B)"),
        ("W", "B * P * (1 - P)"),
        ("W", "B - P * np.sum(B, axis=1)"),
        ("W", "P * (B - np.sum(B, axis=1))"),
        ("W", "S @ X.T"),
        ("W", "-Y / A"),
        ("W", "X / np.sqrt(m) / X.size"),
        ("b", "np.sum(A, axis=0) + lam * b"),
        ("W", "np.einsum('mh,mk->hk', X, A)"),
    ]:
        words = Vocabulary(names, Evaluator(names), operations=operations, target=target)
        for edit in edits(parse(text, names), words, {}):
            kinds.setdefault(edit.kind, edit)
    assert kinds.keys() == wording.EDITS.keys() == {entry.kind for entry in TABLE}
    for edit in kinds.values():
        for lang in wording.LANGUAGES:
            assert "…" not in describe(edit, lang)


def test_constant_arrays_and_targets_have_no_slope() -> None:
    """An array whose entries vanish or coincide on all problems is no candidate."""
    rng = np.random.default_rng(0)
    names = {
        "Y": np.eye(3)[[0, 1, 2, 0]],
        "A": rng.uniform(0.1, 0.9, (4, 3)),
        "O": np.ones((4, 3)),
        "N": np.zeros((4, 3)),
        "W": rng.normal(size=(4, 3)),
    }
    words = Vocabulary(names, Evaluator(names))
    assert words.arrays.keys() == {"Y", "A", "W"}
    assert [slope.array.value for slope in words.slopes[4, 3]] == ["A"]
    found = {render(e.new) for e in edits(parse("W"), words, {})}
    assert "1 - W" not in found
    assert not any("Y * (1 - Y)" in text or "O" in text or "N" in text for text in found)


def test_a_derivation_is_its_lines_put_together() -> None:
    lines = (("E", parse("A - Y")), ("E", parse("E / m")), ("", parse("np.sum(E, axis=0)")))
    tree = Derivation(lines).tree()
    assert render(Node(tree.kind, tree.value, tree.parts)) == "np.sum(E, axis=0)" or tree.names()
    assert tree == parse("np.sum((A - Y) / m, axis=0)")
    assert sorted(Derivation((*lines, ("", parse("A")))).relevant()) == [3]


def test_equal_is_equal_but_for_rounding() -> None:
    truth = Truth(np.array([[1.0, -2.0]]))
    assert truth.agrees(np.array([1.0, -2.0 + 1e-12]))
    assert not truth.agrees(np.array([1.0, -2.0 + 1e-3]))
    assert not truth.agrees(np.array([1.0, np.nan]))
    assert not truth.agrees(np.array([[1.0], [-2.0]]))
    assert not truth.agrees("text")
    assert truth.agrees([[1.0, -2.0]])


def test_the_search_ends() -> None:
    rng = np.random.default_rng(0)
    names = {f"N{i}": rng.normal(size=(3, 3)) for i in range(8)}
    text = " + ".join(f"N{i} @ N{(i + 3) % 8}.T" for i in range(8))
    claim = Derivation((("", parse(text)),))
    values, budget = Evaluator(names), Budget(20_000)
    words = Vocabulary(names, values)
    problems = [(values, Truth(rng.normal(size=(3, 3))))]
    for at_once in (1, 2):
        found = find_repair(claim, problems, lambda i: words, budget, edits_at_once=at_once)
        assert found is None
    assert budget.reached
    assert budget.tries <= 20_000
