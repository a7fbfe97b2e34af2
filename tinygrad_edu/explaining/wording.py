"""The sentences of `explain`, in English and in Korean, in one table.

Formulas are the same in every language. A sentence names what it is about in braces; the Korean
puts a noun or a mark after each name, so that no particle depends on how it is read aloud.
"""

from __future__ import annotations

from typing import Any

LANGUAGES = ("en", "ko")

SENTENCES: dict[str, tuple[str, str]] = {
    # notes below the lines
    "samples": ("{letter} = {n}, the number of samples", "{letter} = {n}: 샘플의 수입니다"),
    "columns": (
        "{letter} = {n}, the number of columns of {name}",
        "{letter} = {n}: {name} 행렬의 열 개수입니다",
    ),
    "rows": (
        "{letter} = {n}, the number of rows of {name}",
        "{letter} = {n}: {name} 행렬의 행 개수입니다",
    ),
    "entries": (
        "{letter} = {n}, the number of entries of {name}",
        "{letter} = {n}: {name} 벡터의 원소 개수입니다",
    ),
    "axis": (
        "{letter} = {n}, the length of axis {axis} of {name}",
        "{letter} = {n}: {name} 배열에서 축 {axis}의 길이입니다",
    ),
    "idle-clip": (
        "clip reaches no entry of {name} on these inputs and is left out",
        "이 입력에서는 clip 함수가 {name} 배열의 어떤 원소도 바꾸지 않으므로 생략했습니다",
    ),
    "what-it-guards": ("what it guards", "대상"),
    "fact": (
        "each row of {name} adds up to 1 on these inputs; if that always holds, say so with "
        "facts='rows of {name} sum to 1', and the formula becomes shorter",
        "이 입력에서는 {name} 배열의 각 행을 더하면 1입니다. 항상 그렇다면 "
        "facts='rows of {name} sum to 1' 인자로 알려 주십시오. 식이 더 짧아집니다",
    ),
    "stack": (
        "arrays of three axes are stacks of matrices: products, ᵀ and rowsum act on the last two "
        "axes",
        "축이 세 개인 배열은 행렬을 쌓은 것입니다. 곱셈, ᵀ, rowsum 모두 마지막 두 축에 적용합니다",
    ),
    "by-operations": (
        "{left} is written operation by operation: its short form failed the check by value; "
        "please report this",
        "{left} 식은 연산을 하나씩 풀어 썼습니다. 줄인 식이 값 검사를 통과하지 못했습니다. 이 "
        "문제를 "
        "알려 주십시오",
    ),
    "longer": (
        "{left} is written in a longer form: a shorter one failed the check by value; please "
        "report "
        "this",
        "{left} 식은 더 긴 형태로 썼습니다. 짧은 식이 값 검사를 통과하지 못했습니다. 이 문제를 "
        "알려 "
        "주십시오",
    ),
    # steps
    "all-ways": ("the errors on all ways, added", "모든 경로의 오차를 더한 값입니다"),
    "itself": ("L itself: {term}", "L에 직접 들어 있는 항: {term}"),
    "because": ("because {facts}", "근거: {facts}"),
    "cross_entropy": (
        "L = −Σ y log a with a = softmax(z): ∂L/∂aᵢ = −yᵢ/aᵢ, ∂aᵢ/∂zⱼ = aᵢ(δᵢⱼ − aⱼ);\n"
        "summed, −yⱼ + aⱼ Σ yᵢ = aⱼ − yⱼ, because Σ y = 1",
        "L = −Σ y log a, a = softmax(z): ∂L/∂aᵢ = −yᵢ/aᵢ, ∂aᵢ/∂zⱼ = aᵢ(δᵢⱼ − aⱼ);\n"
        "모두 더하면 −yⱼ + aⱼ Σ yᵢ = aⱼ − yⱼ입니다(Σ y = 1)",
    ),
    "binary_cross_entropy_with_logits": (
        "L = −y log a − (1 − y) log(1 − a) with a = σ(z): ∂L/∂a = (a − y)/(a(1 − a)),\n"
        "∂a/∂z = a(1 − a); their product is a − y",
        "L = −y log a − (1 − y) log(1 − a), a = σ(z): ∂L/∂a = (a − y)/(a(1 − a)),\n"
        "∂a/∂z = a(1 − a); 두 식의 곱은 a − y입니다",
    ),
    "mse_loss": ("(a − t)² has the slope 2(a − t)", "(a − t)²의 도함수는 2(a − t)입니다"),
    # refusals
    "language": (
        "lang must be one of {languages}, received {lang!r}",
        "lang 인자는 {languages} 중 하나여야 합니다. 받은 값: {lang!r}",
    ),
    "not-function": (
        "explain: expected a function, a model or a loss, received {found}",
        "explain: 함수, 모델 또는 손실이 필요합니다. 받은 값: {found}",
    ),
    "model-call": (
        "explain(model, loss_function, X, Y): after the model come the loss function and the data, "
        "received {found}",
        "explain(model, loss_function, X, Y): 모델 다음에 손실 함수와 데이터를 차례로 주십시오. "
        "받은 값: {found}",
    ),
    "nothing": ("nothing", "없음"),
    "one-number": (
        "explain: a loss is one number, received {found}",
        "explain: 손실은 숫자 하나여야 합니다. 받은 값: {found}",
    ),
    "released": (
        "explain: nothing is recorded of this loss (computed from no variable, or released by "
        "backward()); compute it again, or give the function that computes it",
        "explain: 이 손실에는 계산 기록이 없습니다(변수 없이 계산했거나 backward()에서 "
        "지워졌습니다). "
        "다시 계산하거나 손실을 계산하는 함수를 주십시오",
    ),
    "returns": (
        "explain needs a function that returns its loss, a tensor with one number; received "
        "{found}",
        "explain: 손실(숫자 하나인 텐서)을 반환하는 함수가 필요합니다. 받은 값: {found}",
    ),
    "no-variable": (
        "wrt: no variable is called {name}; there are {names}",
        "wrt: {name} 변수가 없습니다. 있는 변수: {names}",
    ),
    "wrt-kind": (
        "wrt: expected names or tensors, received {found}",
        "wrt: 이름이나 텐서를 주십시오. 받은 값: {found}",
    ),
    "no-gradient": (
        "explain: the loss depends on no tensor whose gradient could be asked for; make the "
        "parameters tensors with requires_grad=True, or name them: wrt='W' or wrt=['W', 'b'] out "
        "of "
        "{names}",
        "explain: 손실이 의존하는 텐서 가운데 그레이디언트를 구할 것이 없습니다. 파라미터를 "
        "requires_grad=True 텐서로 만들거나 wrt='W' 또는 wrt=['W', 'b']처럼 이름을 주십시오. 쓸 수 "
        "있는 이름: {names}",
    ),
    "the-arguments": ("the arguments", "인자"),
    "fact-form": (
        "facts: expected 'rows of NAME sum to 1' with a NAME out of {names}; received {fact!r}",
        "facts: 'rows of NAME sum to 1' 형태로 쓰십시오. NAME 자리에 쓸 수 있는 이름: {names}. "
        "받은 "
        "값: {fact!r}",
    ),
    "fact-false": (
        "facts: {fact!r} does not hold: the rows sum to {low:g} … {high:g}",
        "facts: {fact!r} 조건이 맞지 않습니다. 행의 합: {low:g} … {high:g}",
    ),
    "no-line": (
        "no gradient or line {name!r}; there are {names}",
        "{name!r} 그레이디언트나 줄이 없습니다. 있는 이름: {names}",
    ),
}


class Refused(ValueError):
    """An input that `explain` cannot take; the message is in the language that was asked for.

    Example:
        >>> issubclass(Refused, ValueError)
        True
    """


def say(what: str, lang: str = "en", /, **about: Any) -> str:
    """A sentence in one of the languages.

    Example:
        >>> say("samples", "en", letter="m", n=200)
        'm = 200, the number of samples'
        >>> say("samples", "ko", letter="m", n=200)
        'm = 200: 샘플의 수입니다'
    """
    return SENTENCES[what][LANGUAGES.index(lang)].format(**about)
