"""Hints: what each level tells, and that it tells nothing of the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.hinted import leaks, report_on
from tests.mistakes import SYSTEMS, Mistake, planted
from tests.tools.long import one_in
from tinygrad_edu.verifying import verification
from tinygrad_edu.verifying.hinting import HINTS, kind_alone, within
from tinygrad_edu.verifying.report import Verdict
from tinygrad_edu.verifying.wording import EDITS
from tinygrad_edu.verifying.wording import HINTS as OF_MISTAKES

INPUTS = {"X": "m n", "Y": "m k binary", "W": "n k", "b": "k"}


def forward(X: Any, Y: Any, W: Any, b: Any) -> Any:
    A = tg.sigmoid(X @ W + b)
    return -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).sum() / len(X)


def backprop(X: Any, Y: Any, A: Any) -> Any:
    m = len(X)
    E = A - Y
    W_grad = X.T @ E / m
    b_grad = np.sum(E) / m
    return {"W": W_grad, "b": b_grad}


def sample() -> Iterator[Mistake]:
    """Yield one planted mistake of each kind, from one network after the other."""
    seen: set[str] = set()
    for system in SYSTEMS:
        for mistake in planted(system):
            if mistake.kind not in seen and len(mistake.text) < 60:
                seen.add(mistake.kind)
                yield mistake


SOME = list(sample())[::4]


@pytest.mark.parametrize("mistake", one_in(3, SOME), ids=[mistake.kind for mistake in SOME])
def test_no_level_tells_what_is_the_next_ones(mistake: Mistake) -> None:
    lang = "ko" if mistake.kind[0] < "m" else "en"
    full = report_on(mistake, 3, lang)
    for hints in HINTS[:-1]:
        assert leaks(mistake, full, hints, lang) == []


def test_a_leak_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    mistake = next(m for m in sample() if m.kind == "axis dropped")
    full = report_on(mistake, 3)
    for level in HINTS[:-1]:

        def careless(v: Verdict, hints: int, lang: str) -> Verdict:
            return within(full[v.name], hints + 1, lang)  # one level more than is asked for

        monkeypatch.setattr(verification, "within", careless)
        assert leaks(mistake, full, level), level
        monkeypatch.undo()


def test_what_each_level_tells_of_a_function() -> None:
    told = [tg.verify(forward, backprop, inputs=INPUTS, hints=h)["b"] for h in HINTS]
    assert [v.status for v in told] == ["wrong", "wrong", "special", "special"]
    assert [bool(v.before) for v in told] == [False, True, True, True]
    assert told[0].line is None and told[1].line == told[3].line is not None
    assert told[1].reason == "" and told[2].reason == OF_MISTAKES["axis-missing"][0]
    assert told[2].after == "" and "axis=0" in told[3].after
    assert told[1].counterexample is None and told[2].counterexample is not None


@pytest.mark.parametrize("hints", HINTS)
@pytest.mark.parametrize("claim", ["X.T @ (", "Q @ X", "X @ A"])
def test_a_claim_that_fails_is_wrong_at_every_level(claim: str, hints: int) -> None:
    report = tg.verify(forward, {"W": claim}, inputs=INPUTS, hints=hints)
    assert not report.right
    assert report["W"].status in ("error", "unreadable", "wrong")
    assert bool(report["W"].reason or report["W"].before) == (hints > 0)


@pytest.mark.parametrize("hints", HINTS)
def test_right_claims_look_the_same_at_every_level(hints: int) -> None:
    claims = {"W": "X.T @ (A - Y) / m", "b": "np.mean(A - Y, axis=0)"}
    told = tg.verify(forward, claims, inputs=INPUTS, hints=hints)
    assert told.text() == tg.verify(forward, claims, inputs=INPUTS).text()


@pytest.mark.parametrize("hints", [-1, 4, "3", None])
def test_a_level_that_does_not_exist_is_refused(hints: Any) -> None:
    with pytest.raises(ValueError, match="hints must be one of 0, 1, 2, 3"):
        tg.verify(forward, {"b": "A"}, inputs=INPUTS, hints=hints)


def test_assert_right_gives_hints_in_its_exception() -> None:
    with pytest.raises(AssertionError) as caught:
        tg.assert_right(forward, {"b": "np.sum(A - Y) / m"}, inputs=INPUTS, hints=1)
    assert "look at" in str(caught.value) and "axis=0" not in str(caught.value)


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_a_kind_alone_names_no_formula(lang: str) -> None:
    for kind in EDITS:
        told = kind_alone([kind], lang)
        assert told and "{" not in told and "=" not in told


@pytest.mark.parametrize("kind", EDITS)
def test_every_mistake_has_its_hint_in_both_languages(kind: str) -> None:
    english, korean = OF_MISTAKES[kind]
    assert english and korean and english != korean
    assert "{" not in english + korean and "=" not in english + korean
