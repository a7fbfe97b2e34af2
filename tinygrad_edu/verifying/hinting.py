"""Hints instead of answers: how much of a verdict is told.

0  the verdict alone
1  where: the line to look at, or why a claim cannot be read or worked out
2  of what kind the mistake is, the sizes for which the claim is right, the counterexample
3  the change that makes the claim right

A report of one level holds nothing of the next, in no form: what is not told is taken out of the
verdict before the report is made. The sentences of level 2 name no formula.
"""

from __future__ import annotations

from collections.abc import Sequence

from .report import Verdict
from .wording import LANGUAGES, say

__all__ = ["HINTS", "KINDS", "kind_alone", "within"]

HINTS = (0, 1, 2, 3)

# Kinds of mistakes, told without the formula that repairs them; any other kind is `part-wrong`.
KINDS: dict[str, tuple[str, str]] = {
    "axis-missing": ("a sum runs over too many axes", "합을 너무 많은 축에 대해 구했습니다"),
    "axis-wrong": ("a sum runs along the wrong axis", "합의 축이 틀렸습니다"),
    "axis-extra": ("a sum runs over too few axes", "합을 너무 적은 축에 대해 구했습니다"),
    "brackets": ("the brackets stand in the wrong place", "괄호의 위치가 틀렸습니다"),
    "comparison": ("a comparison is the wrong way round", "부등호의 방향이 반대입니다"),
    "condition": ("a mask is wrong", "마스크가 틀렸습니다"),
    "difference-swapped": ("a difference is the wrong way round", "뺄셈의 순서가 바뀌었습니다"),
    "divisor-extra": ("there is an extra division", "불필요하게 나눈 곳이 있습니다"),
    "divisor-missing": ("a division is missing", "나눗셈이 하나 빠졌습니다"),
    "error-missing": (
        "the error that comes back from the next layer is missing",
        "다음 층에서 되돌아오는 오차가 빠졌습니다",
    ),
    "factor-extra": ("there is an extra factor", "불필요한 인수가 곱해져 있습니다"),
    "factor-missing": ("a factor is missing", "인수가 하나 빠졌습니다"),
    "function-extra": ("there is an extra function", "불필요한 함수가 쓰였습니다"),
    "function-missing": ("a function is missing", "함수가 하나 빠졌습니다"),
    "function-wrong": ("a function is the wrong one", "함수가 틀렸습니다"),
    "index": ("an index or an axis is wrong", "인덱스나 축이 틀렸습니다"),
    "keepdims": ("a sum has the wrong number of axes", "합한 결과의 차원 수가 틀렸습니다"),
    "mask-missing": ("a mask is missing", "마스크가 빠졌습니다"),
    "name-wrong": ("a name is the wrong one", "이름이 틀린 곳이 있습니다"),
    "number": ("a number is wrong", "숫자가 틀렸습니다"),
    "number-missing": ("a number is missing as a factor", "곱해야 할 숫자가 빠졌습니다"),
    "operands-swapped": (
        "two operands are in the wrong order",
        "두 피연산자의 순서가 바뀌었습니다",
    ),
    "operator": ("an operation is the wrong one", "연산이 틀린 곳이 있습니다"),
    "plus-minus": ("plus and minus are mixed up", "덧셈과 뺄셈이 바뀌었습니다"),
    "power": ("a power is wrong", "거듭제곱의 지수가 틀렸습니다"),
    "power-missing": ("a power is missing", "거듭제곱이 빠졌습니다"),
    "product-extra": (
        "there is an extra matrix in a product",
        "행렬곱에 불필요한 행렬이 있습니다",
    ),
    "product-missing": ("a matrix product is missing", "행렬곱이 하나 빠졌습니다"),
    "scalar-missing": ("a number is missing as a factor", "곱해야 할 수가 빠졌습니다"),
    "sign": ("a sign is wrong", "부호가 틀렸습니다"),
    "slope-missing": (
        "the derivative of the activation is missing",
        "활성화 함수의 도함수가 빠졌습니다",
    ),
    "slope-wrong": (
        "the derivative of the activation is wrong",
        "활성화 함수의 도함수가 틀렸습니다",
    ),
    "sum-extra": ("there is an extra sum", "합을 불필요하게 한 번 더 구했습니다"),
    "sum-mean": ("sum and mean are mixed up", "합과 평균이 바뀌었습니다"),
    "sum-missing": ("a sum is missing", "합이 빠졌습니다"),
    "term-extra": ("there is an extra term", "불필요한 항이 있습니다"),
    "term-missing": ("a term is missing", "항이 하나 빠졌습니다"),
    "transpose-extra": ("a matrix must not be transposed", "전치하면 안 되는 행렬이 있습니다"),
    "transpose-missing": ("a matrix must be transposed", "전치해야 할 행렬이 있습니다"),
    # … of a claim that no small change makes right
    "transposed": ("the result must be transposed", "결과를 전치해야 합니다"),
    "shape": ("the result has the wrong shape", "결과의 모양이 틀렸습니다"),
    "factor": ("the result is a multiple of the gradient", "결과가 그레이디언트의 배수입니다"),
    "differs": ("some entries of the result are wrong", "결과에 틀린 원소가 있습니다"),
    "precision": ("the precision of its numbers is too low", "수의 정밀도가 부족합니다"),
    "part-wrong": ("one part of it is wrong", "식의 한 부분이 틀렸습니다"),
}


def kind_alone(kinds: Sequence[str], lang: str = "en") -> str:
    """Return what kinds of mistakes were made, in a sentence that names no formula.

    Example:
        >>> kind_alone(["axis-missing", "sign"])
        'a sum runs over too many axes and a sign is wrong'
    """
    language = LANGUAGES.index(lang)
    told = [KINDS.get(kind, KINDS["part-wrong"])[language] for kind in kinds]
    return say("and", lang).join(dict.fromkeys(told))


def within(verdict: Verdict, hints: int, lang: str = "en") -> Verdict:
    """Return a verdict without what lies above a level of hints.

    Example:
        >>> full = Verdict("b", "wrong", "np.sum(E)", kinds=("axis-missing",),
        ...                before="np.sum(E)", after="np.sum(E, axis=0)")
        >>> within(full, 1).before, within(full, 1).kinds, within(full, 2).after
        ('np.sum(E)', (), '')
        >>> within(full, 2).reason
        'a sum runs over too many axes'
    """
    if hints >= HINTS[-1] or verdict.right:
        return verdict
    unclaimed = not verdict.text  # asked for and not handed in: that is the verdict
    failed = verdict.status in ("error", "unreadable") and not verdict.kinds
    kept = Verdict(verdict.name, verdict.status, verdict.text)
    if unclaimed or (failed and hints >= 1):
        kept.reason = verdict.reason
    if hints >= 1:
        kept.before, kept.line, kept.cell = verdict.before, verdict.line, verdict.cell
    if hints >= 2:
        kept.kinds, kept.conditions = verdict.kinds, list(verdict.conditions)
        kept.reason = kept.reason or kind_alone(verdict.kinds, lang)
        kept.remarks = _on_sizes(verdict, lang)
        kept.counterexample = verdict.counterexample
    elif verdict.status == "special":
        kept.status = "wrong"
    return kept


def _on_sizes(verdict: Verdict, lang: str) -> list[str]:
    """Return those of the remarks that say for which sizes the claim is right."""
    where = say("or", lang).join(verdict.conditions)
    known = [say(key, lang, conditions=where) for key in ("only-for", "except")]
    return [remark for remark in verdict.remarks if remark in known]
