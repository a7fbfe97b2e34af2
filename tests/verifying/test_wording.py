"""Both languages say everything, and what a Korean student reads is Korean."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.mistakes import SYSTEMS, multi, planted
from tests.verifying.test_command import CLASS, FORWARD, RIGHT, WRONG, write
from tests.verifying.test_expressions import HOSTILE, NAMES
from tests.verifying.test_verification import CHAPTER, INPUTS, MultiClassNetwork, chapter
from tinygrad_edu.__main__ import main
from tinygrad_edu.verifying.evaluation import Evaluator
from tinygrad_edu.verifying.functions import ClaimError
from tinygrad_edu.verifying.grammar import parse
from tinygrad_edu.verifying.problems import CannotCheck
from tinygrad_edu.verifying.verification import verify
from tinygrad_edu.verifying.wording import EDITS, SENTENCES, Told, say

ALL = {**EDITS, **SENTENCES}
HANGUL = re.compile("[가-힣]")
# Three words of English in a row; what Python itself says of an error is left out.
ENGLISH = re.compile(r"(?<![\w.])[A-Za-z][a-z]+(?: [a-z]{2,}){2,}")
PYTHONS = re.compile(r"\w*Error: .*|문법이 틀렸습니다: .*|읽을 수 없습니다: .*")


def english(text: str) -> list[str]:
    """The English sentences of a text."""
    return ENGLISH.findall(PYTHONS.sub("", text))


def test_the_search_for_english_finds_it() -> None:
    assert english("식: the sum is wrong") == ["the sum is wrong"]
    assert not english("X.T @ (A - Y) / m 부분이 빠졌습니다. ZeroDivisionError: division by zero")


@pytest.mark.parametrize("key", ALL)
def test_a_sentence_says_the_same_in_both_languages(key: str) -> None:
    fields = [{f for _, f, _, _ in string.Formatter().parse(text) if f} for text in ALL[key]]
    assert fields[1] <= fields[0] | {"old", "new"}
    assert HANGUL.search(ALL[key][1]) or re.fullmatch(r"\W*\{\w+\}\W*", ALL[key][1])
    assert not english(ALL[key][1])


@pytest.mark.parametrize("key", ALL)
def test_no_particle_hangs_on_what_is_put_in(key: str) -> None:
    """을 or 를, 이 or 가 would depend on how a formula is read aloud."""
    assert not re.search(r"\}(?:을|를|이|가|은|는|와|과|로|으로)(?![가-힣])", ALL[key][1])
    assert "(으)" not in ALL[key][1] and "(이)" not in ALL[key][1] and "(을)" not in ALL[key][1]


def test_reports_of_every_kind_are_korean() -> None:
    seen = set()
    for system in SYSTEMS:
        for mistake in list(planted(system))[::30]:
            claims = {mistake.target: mistake.text}
            report = verify(system.forward, claims, inputs=system.inputs, lang="ko")
            seen |= set(report[mistake.target].kinds)
            for text in (report.text(), report.table(), report.markdown(), report._repr_html_()):
                plain = re.sub(r"<[^>]*>", " ", text)
                assert HANGUL.search(plain)
                assert not english(plain)
    assert len(seen) > 6
    text = verify(chapter, MultiClassNetwork.backprop, inputs=CHAPTER, lang="ko").text()
    assert "열마다 따로, 행 방향으로만 더해야 합니다(axis=0, 슬라이드의 1ᵀE)" in text
    assert "출력이 하나인 경우(k = 1)에는 맞습니다" in text
    assert not english(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_refusals_are_korean(text: str) -> None:
    with pytest.raises(ClaimError) as refusal:
        Evaluator(NAMES)(parse(text, NAMES))
    said = refusal.value.said("ko")
    assert HANGUL.search(said)
    assert not english(said.replace(text, ""))


def backprop_with(**settings: Any) -> Any:
    def backprop(A1: Any, A2: Any, Y: Any, **_: Any) -> Any:
        return settings.get("result")

    return backprop


@pytest.mark.parametrize(
    ("forward", "claims", "inputs"),
    [
        (multi, {"Q": "X"}, INPUTS),
        (multi, {}, INPUTS),
        (multi, {"W2": "A1"}, {"X": "m n"}),
        (multi, {"W2": "A1"}, {**INPUTS, "X": "m !"}),
        (multi, {"W2": "A1"}, {**INPUTS, "X": "labels"}),
        (multi, "W1 + 1", INPUTS),
        (multi, "W1 = XᵀA1", INPUTS),
        (multi, lambda q: q, INPUTS),
        (multi, backprop_with(result=(1, 2)), INPUTS),
        (multi, backprop_with(result={"Q": 1}), INPUTS),
        (lambda X: X, {"X": "X"}, {"X": "m n"}),
        (lambda X: 3.0, {"X": "X"}, {"X": "m n"}),
        (lambda X: None, {"X": "X"}, {"X": "m n"}),
        (lambda X: 1 / 0, {"X": "X"}, {"X": "m n"}),
        (lambda X: np.log(-X * X).sum(), {"X": "X"}, {"X": "m n"}),
    ],
)
def test_what_cannot_be_checked_is_said_in_korean(forward: Any, claims: Any, inputs: Any) -> None:
    with pytest.raises(CannotCheck) as refusal:
        tg.verify(forward, claims, inputs=inputs, lang="ko")
    assert HANGUL.search(str(refusal.value))
    assert not english(str(refusal.value))


def test_a_message_within_a_message() -> None:
    assert say("cannot", "ko", reason=Told("empty")) == "계산할 수 없습니다. 식이 비어 있습니다"
    assert str(Told("not-a-loss", what=Told("nothing"))).endswith("it returned nothing")


def test_the_command_speaks_korean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "class"
    folder.mkdir()
    for name in ("slip", "name", "attack", "syntax", "empty", "exit", "error", "nothing"):
        write(folder, f"{name}.py", CLASS[name][0])
    task = write(tmp_path, "task.py", FORWARD)
    assert main(["verify", str(folder), "--task", str(task), "--lang", "ko"]) == 2
    printed = capsys.readouterr().out
    assert printed.startswith("파일,결과,맞은 수,전체 수,첫 번째 실수,진단,수정\n")
    assert not english(printed)
    for text in (RIGHT, WRONG):
        path = write(tmp_path, "ada.py", FORWARD + text)
        main(["verify", str(path), str(tmp_path / "nowhere"), "--lang", "ko"])
        printed = capsys.readouterr().out
        assert "확인할 수 없음: 그런 파일이나 폴더가 없습니다" in printed
        assert not english(printed)
