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
from .wording import HINTS as OF_MISTAKES
from .wording import LANGUAGES, say

__all__ = ["HINTS", "KINDS", "kind_alone", "within"]

HINTS = (0, 1, 2, 3)

# Kinds of difference that are no declared mistakes (whose hints stand with them, see `edits`).
KINDS: dict[str, tuple[str, str]] = {
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
        >>> from tinygrad_edu.verifying import mistakes
        >>> kind_alone(["axis-missing", "sign"])
        'a sum runs over too many axes and a sign is wrong'
    """
    language = LANGUAGES.index(lang)
    known = {**KINDS, **OF_MISTAKES}
    told = [known.get(kind, KINDS["part-wrong"])[language] for kind in kinds]
    return say("and", lang).join(dict.fromkeys(told))


def within(verdict: Verdict, hints: int, lang: str = "en") -> Verdict:
    """Return a verdict without what lies above a level of hints.

    Example:
        >>> from tinygrad_edu.verifying import mistakes
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
