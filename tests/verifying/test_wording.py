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
PYTHONS = re.compile(r"\w*Error: .*|문법 오류: .*|읽을 수 없습니다: .*")


def english(text: str) -> list[str]:
    """The English sentences of a text."""
    return ENGLISH.findall(PYTHONS.sub("", text))


def test_the_search_for_english_finds_it() -> None:
    assert english("식: the sum is wrong") == ["the sum is wrong"]
    assert not english("X.T @ (A - Y) / m 부분이 빠졌습니다. ZeroDivisionError: division by zero")


@pytest.mark.parametrize("key", ALL)
def test_a_sentence_says_the_same_in_both_languages(key: str) -> None:
    fields = [{f for _, f, _, _ in string.Formatter().parse(text) if f} for text in ALL[key]]
    assert fields[1] <= fields[0] | {"old", "new", "letter_as_subject"}
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
        for mistake in list(planted(system))[::90]:
            claims = {mistake.target: mistake.text}
            report = verify(system.forward, claims, inputs=system.inputs, lang="ko")
            seen |= set(report[mistake.target].kinds)
            for text in (report.text(), report.table(), report.markdown(), report._repr_html_()):
                plain = re.sub(r"<[^>]*>", " ", text)
                assert HANGUL.search(plain)
                assert not english(plain)
    assert len(seen) > 6
    text = verify(chapter, MultiClassNetwork.backprop, inputs=CHAPTER, lang="ko").text()
    assert "샘플(행)끼리만 더해 열마다 값이 하나씩 남아야 합니다(axis=0, 슬라이드의 1ᵀE)" in text
    assert not english(text)
    sums = {
        "W": "np.sum(X, axis=0)[:, None] * np.sum(A - Y) / m + (l1 * np.sign(W) + l2 * W) / m",
        "b": "np.sum(A - Y) / m",
    }
    report = verify(SYSTEMS[0].forward, sums, inputs=SYSTEMS[0].inputs, lang="ko")
    assert "출력이 하나인 경우(k = 1)에는 맞습니다" in report["b"].remarks


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
    assert printed.startswith("\ufeff파일,결과,맞은 수,전체 수,첫 번째 실수,진단,수정,비고\n")
    assert not english(printed)
    for text in (RIGHT, WRONG):
        path = write(tmp_path, "ada.py", FORWARD + text)
        main(["verify", str(path), str(tmp_path / "nowhere"), "--lang", "ko"])
        printed = capsys.readouterr().out
        assert "확인할 수 없음 – 그런 파일이나 폴더가 없습니다" in printed
        assert not english(printed)


# The sentences that were reworded: (key, what is put in, English, Korean).
REWORDED = [
    ("special", {}, "WRONG except in special cases", "특수한 경우에만 맞음"),
    (
        "over-0",
        {},
        "it must add up the rows only, each column by itself (axis=0, the slides' 1ᵀE)",
        "샘플(행)끼리만 더해 열마다 값이 하나씩 남아야 합니다(axis=0, 슬라이드의 1ᵀE)",
    ),
    (
        "axis-missing",
        {"over": "…"},
        "the sum runs over every axis; …",
        "모든 원소를 더했습니다. …",
    ),
    (
        "also-columns",
        {"columns": "k", "meaning": Told("classes")},
        "as it stands it adds up the k columns (the classes) too",
        "지금 식은 열 k개까지 모두 더해 버립니다(클래스)",
    ),
    (
        "factor-extra",
        {"factor": 2},
        "extra factor 2",
        "불필요한 인수가 곱해져 있습니다: 2",
    ),
    ("term-extra", {"term": "Y"}, "extra term Y", "불필요한 항이 하나 있습니다: Y"),
    (
        "product-extra",
        {"old": "X @ W", "new": "X"},
        "extra matrix in the product: X, not X @ W",
        "행렬곱에 불필요한 행렬이 하나 있습니다. 올바른 식: X",
    ),
    ("divisor-extra", {"factor": "m"}, "extra division by m", "불필요하게 나누었습니다: / m"),
    (
        "sum-extra",
        {"old": "np.sum(E)", "new": "E"},
        "extra sum: E, not np.sum(E)",
        "합을 불필요하게 한 번 더 구했습니다",
    ),
    (
        "function-extra",
        {"old": "np.exp(E)", "new": "E"},
        "extra function: E, not np.exp(E)",
        "불필요한 함수가 쓰였습니다. np.exp(E) 자리에는 E 식이 와야 합니다",
    ),
    (
        "comparison",
        {"new": "Z > 0"},
        "the comparison is the wrong way round: Z > 0",
        "부등호의 방향이 반대입니다: Z > 0",
    ),
    (
        "first",
        {"name": "W2"},
        "working back from the loss, the first mistake is in ∂L/∂W2",
        "손실에서 거꾸로 따라가면 ∂L/∂W2에서 처음 틀립니다",
    ),
    (
        "unknown-name",
        {"name": "D9", "known": "X"},
        "the name 'D9' is not known; known are X",
        "정의되지 않은 이름입니다: 'D9'. 쓸 수 있는 이름: X",
    ),
    (
        "not-claimed",
        {},
        "it is asked for, but not claimed",
        "과제에서 요구한 그레이디언트인데 제출하지 않았습니다",
    ),
    (
        "sum-over-nothing",
        {"letter": "k"},
        "Σ_k: nothing after it has the index k",
        "Σ_k 뒤의 식에 인덱스 k가 나오지 않습니다",
    ),
    (
        "sum-over-nothing",
        {"letter": "n"},
        "Σ_n: nothing after it has the index n",
        "Σ_n 뒤의 식에 인덱스 n이 나오지 않습니다",
    ),
    (
        "bad-python",
        {"line": 10, "error": "'(' was never closed"},
        "line 10: the Python is wrong: '(' was never closed",
        "10행 파이썬 문법 오류: '(' was never closed",
    ),
    (
        "refused-file",
        {"file": "ada.py", "reason": "…"},
        "ada.py: cannot be checked: …",
        "ada.py: 확인할 수 없음 – …",
    ),
    (
        "checked",
        {"problems": 42, "sizes": "m=5"},
        "checked on 42 random problems, sizes such as m=5",
        "무작위로 만든 문제 42개로 확인했습니다(크기의 예: m=5)",
    ),
    (
        "ambiguous",
        {"letter": "m"},
        "the axes m of the example arrays are equally long and were taken for one size; say "
        "which are meant, as in inputs={'X': 'm n', …}",
        "예시 배열에서 길이가 같은 m 축들의 크기가 같은 것으로 보았습니다. "
        "inputs={'X': 'm n', …}처럼 각 크기를 알려 주십시오",
    ),
    (
        "some-wrong",
        {"wrong": 1, "n": 2},
        "1 of 2 claims is wrong",
        "식 2개 중 1개가 틀렸습니다",
    ),
    (
        "some-wrong",
        {"wrong": 2, "n": 3},
        "2 of 3 claims are wrong",
        "식 3개 중 2개가 틀렸습니다",
    ),
]


@pytest.mark.parametrize(("key", "about", "english_text", "korean_text"), REWORDED)
def test_reworded_sentences(
    key: str, about: dict[str, Any], english_text: str, korean_text: str
) -> None:
    assert say(key, "en", **about) == english_text
    assert say(key, "ko", **about) == korean_text


def test_korean_keeps_one_register() -> None:
    informal = re.compile(r"(세요|해요|어요|아요|한다|이다)(?![가-힣])")
    assert informal.search("지정하세요")
    for key, (_, korean) in ALL.items():
        assert not informal.search(korean), key


def two_layers(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    A1 = np.tanh(X @ W1 + b1)
    E = A1 @ W2 + b2 - Y
    D1 = E @ W2.T * (1 - A1 * A1)  # noqa: F841 (a name for claims)
    return (E * E).sum() / 2


@pytest.mark.parametrize(
    ("target", "claim", "remark"),
    [
        ("b1", "D1.sum()", "adds up the h columns (the hidden units) too"),
        ("b1", "np.sum(D1)", "adds up the h columns (the hidden units) too"),
        ("b2", "E.sum()", "adds up the k columns (the outputs) too"),
    ],
)
def test_the_axis_added_up_too_has_its_letter_and_meaning(
    target: str, claim: str, remark: str
) -> None:
    sizes = {"X": "m n", "Y": "m k", "W1": "n h", "b1": "h", "W2": "h k", "b2": "k"}
    assert remark in verify(two_layers, {target: claim}, inputs=sizes).text()
    assert "h개" in verify(two_layers, {"b1": "D1.sum()"}, inputs=sizes, lang="ko").text()


def test_the_axis_of_classes_is_named_so() -> None:
    assert (
        "the k columns (the classes) too"
        in verify(multi, {"b2": "np.sum(A2 - Y) / m"}, inputs=INPUTS).text()
    )
