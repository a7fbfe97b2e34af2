"""The steps of a derivation: each error from those after it, and the rule that it follows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..engine import Box, recorded_results
from .author import Author, Formula
from .notation import latex_name
from .tracing import Trace
from .wording import say


@dataclass(frozen=True)
class Step:
    """One link of the chain: the error at a quantity from the error at those that use it.

    formula  ∂L/∂A1 = ∂L/∂Z2·W2ᵀ
    rule     ∂Z2/∂A1: ·W2ᵀ, the factor of the chain rule and what it comes from
    becomes  the same with everything put in, "(A2 − Y)W2ᵀ/m"

    Example:
        >>> import tinygrad_edu as tg
        >>> W = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> def loss(W, X):
        ...     Z = W * X
        ...     return (Z * Z).sum()
        >>> found = tg.explain(loss, W, np.ones(2))
        >>> print(found.steps[1])
        ∂L/∂W = ∂L/∂Z ⊙ X = 2·Z ⊙ X
            ∂Z/∂W: ⊙ X
    """

    formula: Formula
    rule: str
    becomes: Formula

    def __str__(self) -> str:
        lines = [str(self.formula)]
        if self.becomes.text != self.formula.text:
            lines[0] += f" = {self.becomes.text}"
        return "\n".join([*lines, *(f"    {line}" for line in self.rule.splitlines())])

    __repr__ = __str__


class Steps(tuple[Step, ...]):
    """The links of a chain, printed one below the other.

    Example:
        >>> import tinygrad_edu as tg
        >>> W = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> def loss(W, X):
        ...     Z = W * X
        ...     return (Z * Z).sum()
        >>> found = tg.explain(loss, W, np.ones(2))
        >>> len(found.steps)
        2
    """

    def __str__(self) -> str:
        return "\n".join(f"{k}. {step}" for k, step in enumerate(self, 1))

    __repr__ = __str__

    @property
    def latex(self) -> str:
        """The links as LaTeX, one below the other."""
        return aligned([step.formula for step in self])

    def _repr_latex_(self) -> str:
        return self.latex


def aligned(lines: Sequence[Formula]) -> str:
    """Lines as LaTeX, one below the other.

    Example:
        >>> aligned([])
        '$$\\\\begin{aligned}\\n\\n\\\\end{aligned}$$'
    """
    rows = [rf"{latex_name(line.left)} &= {line.latex}" for line in lines]
    return "$$\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}$$"


JACOBIANS = {
    "softmax": "∂aᵢ/∂zⱼ = aᵢ(δᵢⱼ − aⱼ)",
    "log_softmax": "∂ log aᵢ/∂zⱼ = δᵢⱼ − aⱼ",
    "sigmoid": "σ′(z) = σ(z)(1 − σ(z))",
    "tanh": "tanh′(z) = 1 − tanh(z)²",
    "relu": "relu′(z) = [z > 0]",
    "exp": "(eˣ)′ = eˣ",
    "log": "(log x)′ = 1/x",
}
SENTENCES = ("cross_entropy", "binary_cross_entropy_with_logits", "mse_loss")  # said in words


def steps_of(author: Author, facts: Sequence[str], long: bool, lang: str) -> Steps:
    """For each quantity on the way, from the loss inwards: its error from those after it.

    Example:
        >>> import tinygrad_edu as tg
        >>> from tinygrad_edu.explaining.tracing import problem
        >>> W = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> trace = problem(lambda W: (W * W).sum(), (W,), None, {}).trace()
        >>> print(steps_of(Author(trace, trace), (), False, "en"))
        1. ∂L/∂W = 2·W
    """
    trace, real = author.trace, author.real
    own = {trace.gradients[x]: f"∂L/∂{trace.names[x]}" for x in reversed(trace.between)}
    also = {real.gradients[x]: f"∂L/∂{real.names[x]}" for x in reversed(real.between)}
    links = author.with_names(own, also)
    users = _users(trace)
    steps = []
    order = list(zip(reversed(trace.between), reversed(real.between), strict=True))
    for x, y in [*order, *zip(trace.wrt, real.wrt, strict=True)]:
        name = trace.names.get(x) or author.reader.names[x]
        left = f"∂L/∂{name}"
        gx, gy = trace.gradients[x], real.gradients[y]
        link = links.formula(gx, gy, name, left, own=left if own.get(gx) == left else None)
        rule = _ways(link.text, name, [f"∂L/∂{trace.names[u]}" for u in trace.between], lang)
        jacobians = [j for op in users.get(x, []) if (j := _jacobian(op, lang))]
        if jacobians:
            rule = [line for line in rule if line.count("…") < 2]
        rule += jacobians
        used = [f for f in facts if name != f and "softmax" in users.get(x, [])]
        if used:
            rule.append(say("because", lang, facts=", ".join(used)))
        full = link if long else author.formula(gx, gy, name, left)
        steps.append(Step(link, "\n".join(filter(None, rule)), full))
    return Steps(steps)


def _jacobian(op: str, lang: str) -> str:
    return say(op, lang) if op in SENTENCES else JACOBIANS.get(op, "")


def _users(trace: Trace) -> dict[Box, list[str]]:
    """For each named tensor the operations that were applied to it, or to what was made of it
    without a name."""
    users: dict[Box, list[str]] = {}
    for node in recorded_results(trace.loss):
        for arg in node.record[2]:
            if isinstance(arg, Box):
                users.setdefault(arg, []).append(node.record[1].name)
    return users


def _ways(written: str, name: str, errors: Sequence[str], lang: str) -> list[str]:
    """The rule of each way from the quantity to the loss."""
    terms = _terms(written)
    found = [_factor(term, name, errors, lang) for term in terms]
    inside = [error for error in errors if error in written]
    if len(terms) > 1 and all(found) and inside:
        return [say("all-ways", lang) + ":", *(f"  {line}" for line in found)]
    if not inside:
        return [""]
    return [_factor(written, name, errors, lang) or say("all-ways", lang) * (len(inside) > 1)]


def _terms(written: str) -> list[str]:
    """What is added and taken away, at the top of a formula."""
    parts, depth = [""], 0
    for word in re.split(r"( [+−] )", written):
        if word in (" + ", " − ") and depth == 0:
            parts.append("−" * (word == " − "))
        else:
            parts[-1] += word
            depth += sum(word.count(c) for c in "([") - sum(word.count(c) for c in ")]")
    return parts


def _factor(written: str, name: str, errors: Sequence[str], lang: str) -> str:
    """∂Z2/∂A1: ·W2ᵀ, if the formula is an error with a factor; what L itself has of it."""
    inside = [e for e in errors if re.search(re.escape(e) + r"(?!\w)", written)]
    if not inside:
        return say("itself", lang, term=written)
    if len(inside) > 1:
        return ""
    rest = written.replace(inside[0], "∎").replace("(∎)", "∎")
    after = inside[0].removeprefix("∂L/∂")
    if rest == "∎":
        rest = "1"
    else:
        rest = rest.replace("·∎", "∎").replace("∎·", "∎")
        rest = rest.removeprefix("∎ ⊙ ").removesuffix(" ⊙ ∎") if " ⊙ " in rest else rest
        edge = (rest[0] == "∎" or rest[-1] == "∎") and rest.count("∎") == 1
        rest = rest.replace("∎", "·" if edge else "…")
    sign = " ⊙ " if " ⊙ " in written and not {"·", "…"} & {*rest} else " "
    return f"∂{after}/∂{name}:{sign}{rest}"
