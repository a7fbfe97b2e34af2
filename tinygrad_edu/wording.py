"""What the verifier says, in English and in Korean: one sentence for each kind of mistake.

A sentence may name `{old}` and `{new}`, the student's text before and after, and whatever else an
edit knows of itself (`{factor}`, `{axis}` …).
"""

from __future__ import annotations

from typing import Any

from .expressions import render
from .repair import Edit

__all__ = ["LANGUAGES", "describe_edit", "say"]

LANGUAGES = ("en", "ko")

KINDS: dict[str, tuple[str, str]] = {
    "axis-missing": (
        "the sum runs over every axis; {over}",
        "합이 모든 축에 대해 계산됩니다; {over}",
    ),
    "axis-wrong": ("the sum runs along the wrong axis; {over}", "합의 축이 틀렸습니다; {over}"),
    "axis-extra": ("the sum must run over every axis", "합은 모든 축에 대해 계산해야 합니다"),
    "brackets": ("the brackets stand in the wrong place", "괄호의 위치가 틀렸습니다"),
    "comparison": ("the comparison is the wrong way round", "비교의 방향이 틀렸습니다"),
    "complement-extra": ("{old} should be {new}", "{old}가 아니라 {new}입니다"),
    "complement-missing": ("{old} should be {new}", "{old}가 아니라 {new}입니다"),
    "condition": (
        "{old} should be the mask {new} (1 where it holds, else 0)",
        "{old} 대신 마스크 {new}(참이면 1, 아니면 0)를 써야 합니다",
    ),
    "difference-swapped": (
        "the difference is taken the wrong way round: {new}, not {old}",
        "뺄셈의 순서가 바뀌었습니다: {old}가 아니라 {new}입니다",
    ),
    "divisor-extra": ("the division by {factor} is too much", "{factor}(으)로 나누면 안 됩니다"),
    "divisor-missing": ("a division by {factor} is missing", "{factor}(으)로 나누어야 합니다"),
    "error-missing": (
        "the error that comes back from the next layer, {factor}, is missing",
        "다음 층에서 되돌아오는 오차 {factor}이(가) 빠졌습니다",
    ),
    "factor-extra": ("the factor {factor} is too much", "인수 {factor}은(는) 필요 없습니다"),
    "factor-missing": ("the factor {factor} is missing", "인수 {factor}이(가) 빠졌습니다"),
    "function-extra": ("the function is too much: {new}", "함수가 필요 없습니다: {new}"),
    "function-missing": ("{old} should be {new}", "{old}가 아니라 {new}입니다"),
    "function-wrong": ("the wrong function: {new}, not {old}", "함수가 틀렸습니다: {new}"),
    "index": ("the wrong index or axis: {new}, not {old}", "인덱스 또는 축이 틀렸습니다: {new}"),
    "keepdims": ("the sum has the wrong number of axes", "합의 차원 수가 틀렸습니다"),
    "mask-missing": (
        "the mask {factor} (1 where it holds, else 0) is missing",
        "마스크 {factor}(참이면 1, 아니면 0)가 빠졌습니다",
    ),
    "name-wrong": ("{new} belongs here, not {old}", "{old}가 아니라 {new}을(를) 써야 합니다"),
    "number": ("the number should be {new}, not {old}", "숫자는 {old}가 아니라 {new}입니다"),
    "number-missing": ("the factor {factor} is missing", "인수 {factor}이(가) 빠졌습니다"),
    "operands-swapped": (
        "the two operands are in the wrong order: {new}",
        "두 피연산자의 순서가 바뀌었습니다: {new}",
    ),
    "operator": ("the wrong operation: {new}", "연산이 틀렸습니다: {new}"),
    "plus-minus": ("plus and minus are mixed up: {new}", "덧셈과 뺄셈이 바뀌었습니다: {new}"),
    "power": ("the wrong power: {new}", "거듭제곱이 틀렸습니다: {new}"),
    "power-missing": ("{old} should be squared", "{old}을(를) 제곱해야 합니다"),
    "product-extra": (
        "one factor of the matrix product is too much",
        "행렬곱의 인수가 하나 남습니다",
    ),
    "product-missing": (
        "the matrix product with {factor} is missing",
        "{factor}과(와)의 행렬곱이 빠졌습니다",
    ),
    "scalar-missing": ("the factor {factor} is missing", "인수 {factor}이(가) 빠졌습니다"),
    "sign": ("the sign is wrong", "부호가 틀렸습니다"),
    "slope-missing": (
        "the derivative of the activation, {factor}, is missing",
        "활성화 함수의 도함수 {factor}이(가) 빠졌습니다",
    ),
    "sum-extra": ("there is a sum too much", "합이 필요 없습니다"),
    "sum-mean": ("{function} belongs here, not the other", "{function}을 써야 합니다"),
    "sum-missing": ("a sum is missing; {over}", "합이 빠졌습니다; {over}"),
    "term-extra": ("one term of the sum is too much", "항이 하나 남습니다"),
    "term-missing": ("the term {term} is missing", "항 {term}이(가) 빠졌습니다"),
    "transpose-extra": ("{new} must not be transposed", "{new}을(를) 전치하면 안 됩니다"),
    "transpose-missing": ("{old} must be transposed", "{old}을(를) 전치해야 합니다"),
}

SENTENCES: dict[str, tuple[str, str]] = {
    "over-0": (
        "it must add up the rows only, each column by itself (axis=0, the slides' 1ᵀE)",
        "행끼리만, 열마다 따로 더해야 합니다(axis=0, 슬라이드의 1ᵀE)",
    ),
    "over-1": ("it must add up each row by itself (axis=1)", "행마다 따로 더해야 합니다(axis=1)"),
    "also-classes": (
        "as it stands it adds up the {columns} columns (the classes) too",
        "지금은 {columns}개의 열(클래스)까지 함께 더합니다",
    ),
    "right": ("right", "맞음"),
    "wrong": ("WRONG", "틀림"),
    "special": ("WRONG in general", "일반적으로 틀림"),
    "error": ("WRONG", "틀림"),
    "only-for": ("it is right only where {conditions}", "{conditions}일 때만 맞습니다"),
    "one-output": (
        "for one output ({condition}) the claim is right",
        "출력이 하나일 때({condition})는 맞습니다",
    ),
    "except": ("it is right, but not where {conditions}", "맞지만 {conditions}일 때는 틀립니다"),
    "and": (" and ", " 그리고 "),
    "or": (" or ", " 또는 "),
    "change": ("change", "수정 전"),
    "to": ("to", "수정 후"),
    "line": ("in line {line}", "{line}행"),
    "same": ("the same mistake as in ∂L/∂{other}", "∂L/∂{other}와(과) 같은 실수입니다"),
    "first": (
        "seen from the loss inwards, the first mistake is in ∂L/∂{name}",
        "손실에서 안쪽으로 볼 때 첫 번째 실수는 ∂L/∂{name}에 있습니다",
    ),
    "all-right": ("all {n} claims are right", "{n}개의 주장이 모두 맞습니다"),
    "some-wrong": ("{wrong} of {n} claims are wrong", "{n}개 중 {wrong}개의 주장이 틀렸습니다"),
    "checked": (
        "checked on {problems} random problems, sizes such as {sizes}",
        "무작위 문제 {problems}개로 확인(크기 예: {sizes})",
    ),
    "given": (
        "given that {fact}",
        "가정: {fact}",
    ),
    "onehot": (
        "the rows of {name} are one-hot (each adds up to 1)",
        "{name}의 각 행은 원-핫입니다",
    ),
    "binary": ("the entries of {name} are 0 or 1", "{name}의 원소는 0 또는 1입니다"),
    "counterexample": ("smallest counterexample", "가장 작은 반례"),
    "claimed": ("claimed", "주장한 값"),
    "true": ("true", "올바른 값"),
    "shape": (
        "the claim has shape {got}, the gradient {expected}",
        "주장의 모양은 {got}, 그레이디언트의 모양은 {expected}입니다",
    ),
    "factor": ("the claim is {c} times the gradient", "주장은 그레이디언트의 {c}배입니다"),
    "factor-m": ("the claim is {c} times the gradient", "주장은 그레이디언트의 {c}배입니다"),
    "negative": ("the claim has the opposite sign", "주장의 부호가 반대입니다"),
    "transposed": ("the claim is the transpose", "주장은 전치된 행렬입니다"),
    "entry": (
        "the first entry that differs is {place}: claimed {got}, true {expected}",
        "처음으로 다른 원소는 {place}: 주장 {got}, 실제 {expected}",
    ),
    "not-finite": (
        "the claim is not a finite number at {place}",
        "{place}의 값이 유한하지 않습니다",
    ),
    "cannot": ("it cannot be worked out: {reason}", "계산할 수 없습니다: {reason}"),
    "missing": ("backprop returns nothing for it", "backprop이 이 값을 반환하지 않습니다"),
}


def say(what: str, lang: str = "en", **about: Any) -> str:
    """A sentence in one of the languages.

    Example:
        >>> say("all-right", "en", n=4)
        'all 4 claims are right'
        >>> say("all-right", "ko", n=4)
        '4개의 주장이 모두 맞습니다'
    """
    return SENTENCES[what][LANGUAGES.index(lang)].format(**about)


def describe_edit(edit: Edit, lang: str = "en", slides: bool = False) -> str:
    """What was wrong, in a sentence.

    Example:
        >>> from tinygrad_edu.expressions import Node
        >>> w = Node("name", "W")
        >>> edit = Edit("transpose-missing", (), w, Node("attribute", "T", (w,)), 1.0)
        >>> describe_edit(edit)
        'W must be transposed'
    """
    about: dict[str, Any] = {"old": _text(edit.old, slides), "new": _text(edit.new, slides)}
    for key, x in edit.about.items():
        about[key] = _text(x, slides) if hasattr(x, "kind") else x
    if "axis" in about:
        about["over"] = say(f"over-{about['axis']}", lang)
    return KINDS[edit.kind][LANGUAGES.index(lang)].format_map(_Blank(about))


class _Blank(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "…"


def _text(node: Any, slides: bool) -> str:
    return " ".join(render(node, slides).split())
