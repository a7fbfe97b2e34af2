"""Mistakes that courses and textbooks warn of: activations, softmax, penalties, normalisation.

They are declared as in `mistakes`, and cost less than the slips of algebra that would repair the
same claim: who has the sigmoid's slope in a tanh layer shall read just that.

Source:  backpropagation as in Goodfellow, Bengio, Courville, Deep Learning (2016), 6.5; Nielsen,
         Neural Networks and Deep Learning (2015), ch. 2; Bishop, Pattern Recognition and Machine
         Learning (2006), 5.3; Stanford CS231n, notes on backpropagation; batch normalisation:
         Ioffe and Szegedy (2015), section 3
"""

from __future__ import annotations

from collections.abc import Iterator

from .edits import Change, Place, mistake
from .expressions import Node
from .mistakes import spine, times
from .vocabulary import ONE, Slope, Vocabulary, binary, call, num, slope_of, transpose

__all__: list[str] = []

Found = Iterator[Node | Change]


# --- slopes of activations ------------------------------------------------------------------------


def _slopes(at: Place) -> list[Slope]:
    """Return the slopes that fit a place; all where it has no shape because shapes do not fit."""
    if at.shape is None:
        return [slope for found in at.words.slopes.values() for slope in found]
    return at.words.slopes.get(at.shape, [])


def _slope_places(at: Place) -> Iterator[tuple[Slope, Node | None]]:
    """Yield the slopes written at a place, each with what stands before it in the product."""
    factor = at.within("*") and at.path[-1] == 1  # of a product, at which it is looked for
    if not factor and (whole := slope_of(at.node)) is not None:
        yield whole, None
    if at.node.value == "*":
        for rest, unit in spine(at.node, "*"):
            if (found := slope_of(unit)) is not None:
                yield found, rest


def _replaced(at: Place, wrong: str) -> Found:
    """Yield the product with the right slope in the place of the slope of activation `wrong`."""
    for found, rest in _slope_places(at):
        if found.function != wrong:
            continue
        for right in _slopes(at):
            if right.function != wrong:
                new = right.formula if rest is None else times(rest, right.formula)
                yield at.to(new, slope=right.formula, was=found.formula, activation=right.function)


SLOPE_EN = ", {was}, stands where the activation is {activation}: write {slope}"
SLOPE_KO = " {was} 식을 썼습니다. 이 층의 활성화 함수는 {activation}: {slope} 식을 쓰십시오"


@mistake(
    "slope-of-sigmoid",
    "binary",
    cost=0.8,
    words="np tanh",
    en="the sigmoid's slope" + SLOPE_EN,
    ko="시그모이드의 도함수" + SLOPE_KO,
    hint=("the slope of another activation is used", "다른 활성화 함수의 도함수를 썼습니다"),
)
def _(at: Place) -> Found:
    yield from _replaced(at, "sigmoid")


@mistake(
    "slope-of-tanh",
    "binary",
    cost=0.8,
    en="the slope of tanh" + SLOPE_EN,
    ko="tanh의 도함수" + SLOPE_KO,
    hint=("the slope of another activation is used", "다른 활성화 함수의 도함수를 썼습니다"),
)
def _(at: Place) -> Found:
    yield from _replaced(at, "tanh")


@mistake(
    "mask-of-relu",
    "binary",
    "compare",
    "method",
    cost=0.8,
    words="np tanh",
    en="the mask of relu" + SLOPE_EN,
    ko="relu의 마스크" + SLOPE_KO,
    hint=("the slope of another activation is used", "다른 활성화 함수의 도함수를 썼습니다"),
)
def _(at: Place) -> Found:
    yield from _replaced(at, "relu")


@mistake(
    "slope-of-another-array",
    "binary",
    "compare",
    cost=0.9,
    en="the slope {was} is taken of the wrong array: write {slope}",
    ko="{was} 식은 다른 배열의 도함수입니다. {slope} 식을 쓰십시오",
    hint=("a slope is taken of the wrong array", "다른 배열의 도함수를 썼습니다"),
)
def _(at: Place) -> Found:
    """Z (1 − Z) for A (1 − A); the slope of the output in the hidden layer; D > 0 for Z > 0."""
    for found, rest in _slope_places(at):
        for right in _slopes(at):
            elsewhere = right.array not in {part for _, part in found.array.walk()}
            if elsewhere and right.function == found.function and right.formula != found.formula:
                new = right.formula if rest is None else times(rest, right.formula)
                yield at.to(new, slope=right.formula, was=found.formula)


@mistake(
    "slope-missing",
    cost=0.95,
    words="np tanh",
    rare=True,
    en="the derivative of the activation, {factor}, is missing",
    ko="활성화 함수의 도함수 {factor} 부분이 빠졌습니다",
    hint=("the derivative of the activation is missing", "활성화 함수의 도함수가 빠졌습니다"),
)
def _(at: Place) -> Found:
    if at.is_quantity:
        for slope in at.words.slopes.get(at.shape or (), ()):
            if slope.function != "relu" and slope.formula != at.node:
                yield at.to(times(at.node, slope.formula), factor=slope.formula)


@mistake(
    "mask-missing",
    cost=1.0,
    rare=True,
    en="the mask {factor} (1 where it holds, else 0) is missing",
    ko="마스크 {factor} 부분이 빠졌습니다(참이면 1, 거짓이면 0)",
    hint=("a mask is missing", "마스크가 빠졌습니다"),
)
def _(at: Place) -> Found:
    if not at.is_quantity:
        return
    words, shape = at.words, at.shape or ()
    masks = [(s.formula, 0.0) for s in words.slopes.get(shape, ()) if s.function == "relu"]
    if words.piecewise:
        masks += [
            (Node("compare", ">", (words.spell(k), num(0))), 0.4)
            for k, size in words.arrays.items()
            if size == shape and words.kinds[k] == ""
        ]
    for mask, more in masks:
        yield at.to(binary("*", at.node, mask), more, factor=mask)


@mistake(
    "slope-missing-inside",
    "name",
    "call",
    cost=0.95,
    words="np tanh",
    rare=True,
    en="{old} stands for the slope of the activation, which is {new}",
    ko="활성화 함수의 도함수 자리에 {old} 값을 썼습니다. {new} 식을 쓰십시오",
    hint=(
        "an activation stands where its derivative is meant",
        "활성화 함수의 도함수 자리에 그 값을 썼습니다",
    ),
)
def _(at: Place) -> Found:
    """The activation itself, A or relu(Z), where its slope is meant."""
    if at.within("*", "multiply", "np.multiply") and at.shape:
        for slope in _slopes(at):
            inner = at.node.parts[0] if at.node.kind == "call" and at.node.parts else at.node
            if inner in (slope.array, slope.formula.parts[0]) and slope.function != "sigmoid":
                yield slope.formula


@mistake(
    "relu-of-gradient",
    "call",
    cost=0.85,
    en="relu is applied to the gradient; multiply it by the mask: {new}",
    ko="그레이디언트에 relu를 적용했습니다. 마스크를 곱하십시오: {new}",
    hint=(
        "the derivative of relu is applied in the wrong way",
        "relu의 도함수를 잘못 적용했습니다",
    ),
)
def _(at: Place) -> Found:
    for inner in _relu_of(at.node):
        for slope in _slopes(at):
            if slope.function == "relu" and inner != slope.array:
                yield binary("*", inner, slope.formula)


def _relu_of(node: Node) -> Iterator[Node]:
    """Yield x of relu(x), np.maximum(0, x), np.where(x > 0, x, 0)."""
    name, parts = node.value[0].rpartition(".")[2], node.parts
    if name == "relu" and len(parts) == 1:
        yield parts[0]
    elif name == "maximum" and num(0) in parts:
        yield from (x for x in parts if x != num(0))
    elif name == "where" and len(parts) == 3 and parts[0] == Node("compare", ">", parts[1:]):
        yield parts[1]


# --- softmax --------------------------------------------------------------------------------------


def _is_softmax(words: Vocabulary, node: Node) -> bool:
    is_call = node.kind == "call" and node.value[0].rpartition(".")[2] == "softmax"
    return is_call or any(
        kind == "softmax" and words.spell(k) == node for k, kind in words.kinds.items()
    )


def _softmax_rule(words: Vocabulary, p: Node, g: Node) -> list[Node]:
    """Return p ⊙ (g − Σ g ⊙ p), the sum over classes, for rows and for columns."""
    product = binary("*", g, p)
    if words.slides:
        return [binary("*", p, binary("-", g, call("rowsum", product)))]
    keep = Node("bool", True)
    sums = [call("np.sum", product, axis=num(axis), keepdims=keep) for axis in (1, 0)]
    return [binary("*", p, binary("-", g, total)) for total in sums]


def _factors(node: Node) -> list[Node]:
    """Return the factors of a product a * b * c from the left."""
    if node.kind == "binary" and node.value == "*":
        return [*_factors(node.parts[0]), *_factors(node.parts[1])]
    return [node]


def _product(factors: list[Node]) -> Node:
    result = factors[0]
    for x in factors[1:]:
        result = binary("*", result, x)
    return result


@mistake(
    "softmax-diagonal",
    "binary",
    cost=0.85,
    words="np sum axis keepdims True rowsum",
    rare=True,
    en="p(1 − p) is only the diagonal of softmax' derivative; each output depends on every input: "
    "write {new}",
    ko="p(1 − p)는 소프트맥스 도함수의 대각 성분일 뿐입니다. 모든 출력이 모든 입력에 의존합니다: "
    "{new} 식을 쓰십시오",
    hint=("only part of softmax' derivative is there", "소프트맥스 도함수의 일부만 썼습니다"),
)
def _(at: Place) -> Found:
    if at.node.value != "*":
        return
    factors = _factors(at.node)
    for p in factors:
        rest = [x for x in factors if x is not p]
        if binary("-", ONE, p) in rest and len(rest) > 1 and _is_softmax(at.words, p):
            rest.remove(binary("-", ONE, p))
            yield from _softmax_rule(at.words, p, _product(rest))


@mistake(
    "softmax-sum-missing",
    "binary",
    cost=0.95,
    words="np sum axis keepdims True rowsum",
    rare=True,
    en="softmax' derivative has a second term, the sum over the classes: write {new}",
    ko="소프트맥스의 도함수에는 클래스에 대한 합이 하나 더 있습니다: {new} 식을 쓰십시오",
    hint=("only part of softmax' derivative is there", "소프트맥스 도함수의 일부만 썼습니다"),
)
def _(at: Place) -> Found:
    if at.node.value == "*":
        factors = _factors(at.node)
        for p in factors:
            rest = [x for x in factors if x is not p]
            plain = all(x.value not in ("+", "-") or x.kind != "binary" for x in rest)
            if plain and len(rest) == len(factors) - 1 and _is_softmax(at.words, p):
                yield from _softmax_rule(at.words, p, _product(rest))


@mistake(
    "softmax-jacobian-missing",
    "name",
    cost=1.25,
    words="np sum axis keepdims True rowsum",
    rare=True,
    en="the derivative of softmax is missing: write {new}",
    ko="소프트맥스의 도함수가 빠졌습니다: {new} 식을 쓰십시오",
    hint=("the derivative of softmax is missing", "소프트맥스의 도함수가 빠졌습니다"),
)
def _(at: Place) -> Found:
    if at.is_matrix and not at.within("-"):
        for k, kind in at.words.kinds.items():
            if kind == "softmax" and at.words.arrays[k] == at.shape:
                yield from _softmax_rule(at.words, at.words.spell(k), at.node)


@mistake(
    "log-softmax-rule",
    "binary",
    cost=0.85,
    words="np sum axis keepdims True rowsum",
    rare=True,
    en="this is the rule of log-softmax; for softmax write {new}",
    ko="log-softmax의 규칙입니다. 소프트맥스에는 {new} 식을 쓰십시오",
    hint=(
        "this is the rule of log-softmax, not of softmax",
        "소프트맥스가 아니라 log-softmax의 규칙입니다",
    ),
)
def _(at: Place) -> Found:
    """g − p ⊙ Σ g for p ⊙ (g − Σ g ⊙ p)."""
    if at.node.value == "-":
        g, right = at.node.parts
        for p in _factors(right):
            if _is_softmax(at.words, p):
                yield from _softmax_rule(at.words, p, g)


@mistake(
    "softmax-rule-of-sum",
    "binary",
    cost=0.85,
    words="np sum axis keepdims True rowsum",
    rare=True,
    en="the sum over the classes is of the gradient times the probabilities: write {new}",
    ko="클래스에 대한 합은 그레이디언트와 확률의 곱에 대해 구합니다: {new} 식을 쓰십시오",
    hint=("a sum in softmax' derivative is wrong", "소프트맥스 도함수의 합이 틀렸습니다"),
)
def _(at: Place) -> Found:
    """p ⊙ (g − Σ g) for p ⊙ (g − Σ g ⊙ p)."""
    if at.node.value == "*" and not at.light:
        p, right = at.node.parts
        if not _is_softmax(at.words, p):
            p, right = right, p
        if _is_softmax(at.words, p) and right.kind == "binary" and right.value == "-":
            g, total = right.parts
            if total.kind in ("call", "method") and total.parts[0] in (g, p):
                yield from _softmax_rule(at.words, p, g)


@mistake(
    "softmax-forgotten",
    "binary",
    "unary",
    cost=1.1,
    rare=True,
    en="−Y/A is the derivative before the softmax or sigmoid; behind it, it is {new}",
    ko="−Y/A는 확률에 대한 도함수입니다. 그 앞의 입력에 대해서는 {new} 식을 쓰십시오",
    hint=(
        "the derivative is taken before the softmax or sigmoid",
        "소프트맥스나 시그모이드에 대한 미분이 빠졌습니다",
    ),
)
def _(at: Place) -> Found:
    node = at.node.parts[0] if at.node.kind == "unary" else at.node
    if node.kind == "unary":
        node = node.parts[0]
    if node.kind == "binary" and node.value == "/":
        y, a = node.parts
        y = y.parts[0] if y.kind == "unary" else y
        for _, error in at.words.errors:
            if error.parts == (a, y):
                yield error


# --- sizes and roots ------------------------------------------------------------------------------


@mistake(
    "root-missing",
    "binary",
    "name",
    cost=0.95,
    words="np sqrt",
    en="divide by the square root: {new}, not {old}",
    ko="제곱근으로 나누어야 합니다. {old} 자리에는 {new} 식이 와야 합니다",
    hint=("a square root is missing", "제곱근이 빠졌습니다"),
)
def _(at: Place) -> Found:
    """d for √d."""
    if at.node.kind == "name" and at.shape == () and at.within("/", "*") and at.words.operations:
        yield call("np.sqrt", at.node)


@mistake(
    "root-extra",
    "call",
    cost=1.1,
    en="no square root here: {new}, not {old}",
    ko="여기에는 제곱근이 없습니다. {old} 자리에는 {new} 식이 와야 합니다",
    hint=("there is an extra square root", "불필요한 제곱근이 있습니다"),
)
def _(at: Place) -> Found:
    if at.node.value[0] in ("np.sqrt", "sqrt"):
        yield at.node.parts[0]


@mistake(
    "size-of-all",
    "attribute",
    cost=0.9,
    words="len",
    en="{old} counts all entries; divide by the number of samples, {new}",
    ko="{old} 값은 모든 원소의 개수입니다. 샘플의 수 {new} 값으로 나누십시오",
    hint=("the number in a division is the wrong one", "나누는 수가 틀렸습니다"),
)
def _(at: Place) -> Found:
    if at.node.value == "size" and "m" in at.words.scalars:
        yield at.words.spell("m")


# --- penalties ------------------------------------------------------------------------------------


@mistake(
    "sign-of-weight",
    "call",
    "name",
    cost=1.05,
    words="np sign",
    rare=True,
    en="the derivative of |w| is the sign of w: {new}, not {old}",
    ko="|w|의 도함수는 w의 부호입니다. {old} 자리에는 {new} 식이 와야 합니다",
    hint=("the derivative of an absolute value is wrong", "절댓값의 도함수가 틀렸습니다"),
)
def _(at: Place) -> Found:
    is_abs = at.node.kind == "call" and at.node.value[0] in ("np.abs", "abs", "np.absolute")
    if is_abs:
        yield call("np.sign", at.node.parts[0])
    elif at.node.kind == "name" and at.shape and "sign" in at.words.functions:
        yield at.to(call("np.sign", at.node), 0.2)


@mistake(
    "penalty-missing",
    cost=1.3,
    words="np sign",
    rare=True,
    en="the derivative of the penalty, {term}, is missing",
    ko="벌점 항의 도함수 {term} 부분이 빠졌습니다",
    hint=("the derivative of the penalty is missing", "벌점 항의 도함수가 빠졌습니다"),
)
def _(at: Place) -> Found:
    words, node = at.words, at.node
    if not at.is_quantity or at.light or not (at.root or node.kind == "binary"):
        return
    rates = [words.spell(k) for k in words.scalars if words.is_rate(k)]
    for k, size in words.arrays.items():
        if size == at.shape and (k == words.target or not words.target):
            for term, more in _penalties(words, words.spell(k), rates):
                more += 0.1 * (not at.root) + 0.4 * (k in words.present)
                yield at.to(binary("+", node, term), more, term=term)


def _penalties(words: Vocabulary, w: Node, rates: list[Node]) -> Iterator[tuple[Node, float]]:
    """Yield λw, λ·sign(w), both, each also over m and twice."""
    bases = [w, call("np.sign", w)] if "sign" in words.functions else [w]
    terms = [binary("*", rate, base) for base in bases for rate in rates]
    terms += [binary("*", binary("*", num(2), rate), base) for base in bases for rate in rates]
    if len(bases) == 2:
        both = ((a, b) for a in rates for b in rates if a != b)
        terms += [binary("+", binary("*", a, bases[1]), binary("*", b, w)) for a, b in both]
    for i, term in enumerate(terms):
        yield term, 0.01 * i
        if "m" in words.scalars:
            yield binary("/", term, words.spell("m")), 0.05 + 0.01 * i


@mistake(
    "penalty-of-bias",
    "binary",
    cost=0.95,
    en="the bias is not penalised: extra term {term}",
    ko="편향에는 벌점이 없습니다. 불필요한 항: {term}",
    hint=("a term is there that the loss does not have", "손실에 없는 항이 있습니다"),
)
def _(at: Place) -> Found:
    if at.node.value in ("+", "-"):
        a, b = at.node.parts
        for rest, term in ((a, b), (b, a)):
            size = at.words.arrays.get(at.words.target, (0, 0))
            if len(size) == 1 and at.words.target in term.names() and at.node.value == "+":
                yield at.to(rest, term=term)


@mistake(
    "penalty-not-derived",
    "binary",
    cost=1.0,
    en="{old} is the penalty itself, not its derivative: {new}",
    ko="{old} 식은 벌점 자체입니다. 도함수는 {new}",
    hint=("a term has not been differentiated", "미분하지 않은 항이 있습니다"),
)
def _(at: Place) -> Found:
    """λ w² for the derivative λ w of λ w²/2, or 2 λ w of λ w²."""
    if at.node.value == "**" and at.node.parts[1] == num(2) and at.node.parts[0].kind == "name":
        w = at.node.parts[0]
        if w.value == at.words.target:
            yield w
            yield at.to(binary("*", num(2), w), 0.05)


# --- dropout and normalisation --------------------------------------------------------------------


@mistake(
    "dropout-mask-missing",
    cost=0.95,
    rare=True,
    en="the dropout mask {factor} is missing",
    ko="드롭아웃 마스크 {factor} 부분이 빠졌습니다",
    hint=("the dropout mask is missing", "드롭아웃 마스크가 빠졌습니다"),
)
def _(at: Place) -> Found:
    if at.is_quantity:
        for k, size in at.words.arrays.items():
            if at.words.kinds[k] == "mask" and size == at.shape and k not in at.words.present:
                mask = at.words.spell(k)
                yield at.to(binary("*", at.node, mask), factor=mask)
                for rate in at.words.scalars:
                    if at.words.is_rate(rate):
                        scaled = binary("/", mask, at.words.spell(rate))
                        yield at.to(binary("*", at.node, scaled), 0.05, factor=scaled)


@mistake(
    "normalisation-term-missing",
    cost=0.95,
    words="np mean sum axis",
    rare=True,
    en="the mean and the variance depend on every sample: the term {term} is missing",
    ko="평균과 분산은 모든 샘플에 의존합니다. {term} 항이 빠졌습니다",
    hint=(
        "a term is missing: the statistics depend on the samples too",
        "항이 하나 빠졌습니다: 통계량도 샘플에 의존합니다",
    ),
)
def _(at: Place) -> Found:
    """g − mean(g) − x̂ · mean(g x̂), of which a term is lost."""
    if not at.is_matrix or not at.is_quantity:
        return
    g = at.node
    while g.kind == "binary" and g.value == "-":
        g = g.parts[0]
    if g.kind == "binary" and g.value not in ("*", "@", "·"):
        return
    for k, size in at.words.arrays.items():
        if at.words.kinds[k] == "normalised" and size == at.shape:
            for terms in _normalisation(at.words.spell(k), g):
                new = at.node
                for term in terms:
                    new = binary("-", new, term)
                shown = terms[0] if len(terms) == 1 else binary("+", *terms)
                yield at.to(new, 0.1 * (len(terms) - 1), term=shown)


def _normalisation(x: Node, g: Node) -> Iterator[list[Node]]:
    product = binary("*", g, x)
    for function in ("np.mean", "np.sum"):
        mean = call(function, g, axis=num(0))
        spread = binary("*", x, call(function, product, axis=num(0)))
        yield from ([mean], [spread], [mean, spread])


# --- errors that come back ------------------------------------------------------------------------


@mistake(
    "error-missing",
    cost=1.6,
    words="T",
    rare=True,
    en="the error that comes back from the next layer, {factor}, is missing",
    ko="다음 층에서 되돌아오는 오차 {factor} 부분이 빠졌습니다",
    hint=(
        "the error that comes back from the next layer is missing",
        "다음 층에서 되돌아오는 오차가 빠졌습니다",
    ),
)
def _(at: Place) -> Found:
    if at.is_quantity:
        for back in at.words.backs.get(at.shape or (), ()):
            yield at.to(binary("*", at.node, back), factor=back)


@mistake(
    "layer-skipped",
    cost=1.6,
    words="T np tanh",
    rare=True,
    en="the error has to go back through the weights and the activation: {new}",
    ko="오차가 가중치와 활성화 함수를 거쳐 되돌아가야 합니다: {new}",
    hint=("a layer is left out on the way back", "되돌아오는 길에 층 하나가 빠졌습니다"),
)
def _(at: Place) -> Found:
    """g for g Wᵀ ⊙ slope."""
    if not at.is_quantity or not at.is_matrix or at.shape is None:
        return
    m, p = at.shape
    for k, size in at.words.arrays.items():
        if len(size) == 2 and size[1] == p and size[0] != m:
            back = binary("@", at.node, transpose(at.words.spell(k)))
            for slope in at.words.slopes.get((m, size[0]), ()):
                yield times(back, slope.formula)
