"""Declare the slips of algebra that occur in a derivation of any function.

One entry for each mistake (see `edits.mistake`): where it is looked for, what undoes it, how
unlikely it is, and what is said in English and in Korean. What only makes sense for networks, the
slope of another activation, a lost 1/m, is in `textbook`.
"""

from __future__ import annotations

from collections.abc import Iterator

from .edits import Change, Place, mistake
from .expressions import Node
from .vocabulary import ONE, REDUCTIONS, binary, call, num, transpose

__all__: list[str] = []

Found = Iterator[Node | Change]
BELONGS = "{old} 자리에는 {new} 식이 와야 합니다"
COMMUTES = ("+", "*")


def _last(spelled: str) -> str:
    return spelled.rpartition(".")[2]


# --- transposes and products ----------------------------------------------------------------------


@mistake(
    "transpose-missing",
    cost=1.0,
    words="T",
    en="{old} must be transposed",
    ko="{old} 부분을 전치해야 합니다",
    hint=("a matrix must be transposed", "전치해야 할 행렬이 있습니다"),
)
def _(at: Place) -> Found:
    is_transpose = at.node.kind == "attribute" and at.node.value in ("T", "mT")
    inside = at.parent is not None and at.parent.kind == "attribute"
    if (at.value is None or at.is_matrix) and not is_transpose and not inside:
        bare = at.node.kind in ("name", "call", "method")
        yield at.to(transpose(at.node), 0.0 if bare else 0.3)


@mistake(
    "transpose-extra",
    "attribute",
    cost=0.9,
    en="{new} must not be transposed",
    ko="{new} 부분은 전치하면 안 됩니다",
    hint=("a matrix must not be transposed", "전치하면 안 되는 행렬이 있습니다"),
)
def _(at: Place) -> Found:
    if at.node.value in ("T", "mT"):
        yield at.node.parts[0]


@mistake(
    "symmetry-assumed",
    "name",
    "binary",
    cost=1.0,
    words="T",
    rare=True,
    en="{old} is right for a symmetric matrix only: {new}",
    ko="{old} 식은 대칭 행렬에만 맞습니다: {new}",
    hint=("a matrix is taken to be symmetric", "행렬이 대칭이라고 가정했습니다"),
)
def _(at: Place) -> Found:
    """2 B for B + Bᵀ, the derivative of xᵀBx."""
    node = at.node
    doubled = node.kind == "binary" and node.value == "*" and node.parts[0] == num(2)
    matrix = node.parts[1] if doubled else node
    square = at.is_matrix and at.shape is not None and at.shape[0] == at.shape[1]
    if square and matrix.kind == "name":
        yield at.to(binary("+", matrix, transpose(matrix)), 0.0 if doubled else 0.1)


PRODUCTS = ("dot", "matmul", "multiply")


@mistake(
    "operands-swapped",
    "binary",
    "call",
    cost=1.1,
    en="the two operands are in the wrong order: {new}",
    ko="두 피연산자의 순서가 바뀌었습니다. 올바른 순서: {new}",
    hint=("two operands are in the wrong order", "두 피연산자의 순서가 바뀌었습니다"),
)
def _(at: Place) -> Found:
    node = at.node
    if node.kind == "call":
        if _last(node.value[0]) in ("dot", "matmul", "outer") and len(node.parts) == 2:
            yield Node("call", node.value, node.parts[::-1])
        return
    op, (a, b) = node.value, node.parts
    if op in ("@", "·", "/"):
        yield node.with_parts((b, a))
    if not at.light and a.kind == "binary" and a.value == op and op not in COMMUTES:
        yield at.to(binary(op, binary(op, a.parts[0], b), a.parts[1]), 0.3)


@mistake(
    "product-extra",
    "binary",
    "call",
    cost=1.6,
    en="extra matrix in the product: {new}, not {old}",
    ko="행렬곱에 불필요한 행렬이 하나 있습니다. 올바른 식: {new}",
    hint=("there is an extra matrix in a product", "행렬곱에 불필요한 행렬이 있습니다"),
)
def _(at: Place) -> Found:
    node = at.node
    is_call = node.kind == "call" and _last(node.value[0]) in ("dot", "matmul")
    if (is_call and len(node.parts) == 2) or node.value in ("@", "·"):
        yield from node.parts


@mistake(
    "product-missing",
    cost=1.5,
    words="T",
    rare=True,
    en="the matrix product with {factor} is missing",
    ko="{factor} 행렬과의 곱이 빠졌습니다",
    hint=("a matrix product is missing", "행렬곱이 하나 빠졌습니다"),
)
def _(at: Place) -> Found:
    words, node, shape = at.words, at.node, at.shape
    if node.kind == "number" and at.within("@"):  # 2 @ E, where 2 * A.T @ E is meant
        for k, size in words.arrays.items():
            if len(size) == 2:
                for matrix in (words.spell(k), transpose(words.spell(k))):
                    yield at.to(binary("*", node, matrix), 0.3, factor=matrix)
    if not at.is_quantity or not shape:
        return
    for place, error in words.errors:
        if len(shape) == len(place) == 2:
            if shape[1] == place[0]:
                yield at.to(binary("@", node, error), 0.2, factor=error)
            if shape[0] == place[1]:
                yield at.to(binary("@", error, node), 0.2, factor=error)
    for k, size in words.arrays.items():
        if len(size) == 2 and len(shape) in (1, 2):
            a = words.spell(k)
            for matrix, sides in ((a, size), (transpose(a), size[::-1])):
                if shape[-1] == sides[0]:
                    yield at.to(binary("@", node, matrix), factor=matrix)
                if sides[1] == shape[0]:
                    yield at.to(binary("@", matrix, node), 0.1, factor=matrix)


@mistake(
    "operator",
    "binary",
    "call",
    cost=1.1,
    words="dot multiply",
    en="the wrong operation: {new}",
    ko="연산이 틀렸습니다. 올바른 연산: {new}",
    hint=("an operation is the wrong one", "연산이 틀린 곳이 있습니다"),
)
def _(at: Place) -> Found:
    node = at.node
    if node.kind == "call":
        if _last(node.value[0]) in PRODUCTS and len(node.parts) == 2:
            prefix = node.value[0][: node.value[0].rfind(".") + 1]
            other = "dot" if node.value[0].endswith("multiply") else "multiply"
            yield Node("call", (prefix + other, node.value[1]), node.parts)
        return
    a, b = node.parts
    others = {
        "@": [("*", 0.0)],
        "·": [("*", 0.0)],
        "*": [("@", 0.0), ("/", 0.2)],
        "/": [("*", 0.1)],
    }
    for op, more in others.get(node.value, ()):
        scalar = op == "/" and (b.kind == "number" or at.words.is_scalar(b))
        yield at.to(binary(op, a, b), more - 0.25 * scalar)
    if not at.light:
        rare = {"*": [("+", 0.5), ("-", 0.5)], "+": [("*", 0.4)], "-": [("*", 0.4)]}
        for op, more in rare.get(node.value, ()):
            yield at.to(binary(op, a, b), more)


@mistake(
    "brackets",
    "binary",
    cost=1.3,
    rare=True,
    en="the brackets stand in the wrong place: {new}",
    ko="괄호의 위치가 틀렸습니다. 올바른 식: {new}",
    hint=("the brackets stand in the wrong place", "괄호의 위치가 틀렸습니다"),
)
def _(at: Place) -> Found:
    """(a ∘ b) • c  ↔  a ∘ (b • c), at every place of a longer chain."""
    op, (a, b) = at.node.value, at.node.parts
    chain: list[tuple[str, Node]] = []
    rest = at.node
    while rest.kind == "binary":
        chain.insert(0, (rest.value, rest.parts[1]))
        rest = rest.parts[0]
    for k in range(len(chain) - 1):
        right = chain[k][1]
        for sign, x in chain[k + 1 :]:
            right = binary(sign, right, x)
        yield at.to(binary(chain[k][0], rest, right), 0.2 * (k < len(chain) - 2))
        rest = binary(chain[k][0], rest, chain[k][1])
    if a.kind == "binary" and a.value in ("+", "-") and op in ("*", "/"):  # (a + b)/m: a/m + b
        yield at.to(binary(a.value, binary(op, a.parts[0], b), a.parts[1]), -0.05)
    if b.kind == "binary":
        yield binary(b.value, binary(op, a, b.parts[0]), b.parts[1])


# --- sums and their axes --------------------------------------------------------------------------


def _reduction(node: Node) -> tuple[str, str, Node, dict[str, Node]] | None:
    """Return the spelling, the last part of it, the operand and the settings of a sum."""
    spelled, named = node.value
    name = _last(spelled)
    if name not in REDUCTIONS:
        return None
    first = len(node.parts) - len(named)
    settings = dict(zip(named, node.parts[first:], strict=True))
    if first == 2:
        settings = {"axis": node.parts[1], **settings}
    spelled = "np.sum" if spelled == "sum" and node.kind == "call" else spelled
    return spelled, name, node.parts[0], settings


def _with(node: Node, spelled: str, x: Node, settings: dict[str, Node]) -> Node:
    return Node(node.kind, (spelled, tuple(settings)), (x, *settings.values()))


@mistake(
    "axis-missing",
    "call",
    "method",
    cost=1.0,
    words="axis keepdims True rowsum",
    en="the sum runs over every axis; {over}",
    ko="모든 원소를 더했습니다. {over}",
    hint=("a sum runs over too many axes", "합을 너무 많은 축에 대해 구했습니다"),
)
def _(at: Place) -> Found:
    if (found := _reduction(at.node)) and "axis" not in found[3]:
        spelled, _, x, settings = found
        for axis in (0, 1):
            new = _with(at.node, spelled, x, {"axis": num(axis), **settings})
            if spelled == "Σ":
                new = call("1ᵀ" if axis == 0 else "rowsum", x)
            yield at.to(new, 0.1 * axis, axis=axis)
            if spelled != "Σ" and not at.light and "keepdims" not in settings:
                keep = {"axis": num(axis), "keepdims": Node("bool", True), **settings}
                new = _with(at.node, spelled, x, keep)
                yield at.to(new, 0.2 + 0.1 * axis, axis=axis)


@mistake(
    "axis-wrong",
    "call",
    "method",
    cost=0.9,
    words="axis",
    en="the sum runs along the wrong axis; {over}",
    ko="합의 축이 틀렸습니다. {over}",
    hint=("a sum runs along the wrong axis", "합의 축이 틀렸습니다"),
)
def _(at: Place) -> Found:
    if found := _reduction(at.node):
        spelled, _, x, settings = found
        if "axis" in settings:
            for axis in (0, 1):
                if axis != settings["axis"].value:
                    new = _with(at.node, spelled, x, {**settings, "axis": num(axis)})
                    yield at.to(new, axis=axis)
    other = {"rowsum": "colsum", "colsum": "rowsum", "1ᵀ": "rowsum"}.get(at.node.value[0])
    if other:
        yield at.to(call(other, at.node.parts[0]), axis=int(other == "rowsum"))


@mistake(
    "axis-extra",
    "call",
    "method",
    cost=1.2,
    en="the sum must run over every axis",
    ko="모든 축에 대해 합해야 합니다",
    hint=("a sum runs over too few axes", "합을 너무 적은 축에 대해 구했습니다"),
)
def _(at: Place) -> Found:
    if (found := _reduction(at.node)) and "axis" in found[3]:
        rest = {k: v for k, v in found[3].items() if k != "axis"}
        yield _with(at.node, found[0], found[2], rest)


@mistake(
    "keepdims",
    "call",
    "method",
    cost=1.3,
    words="keepdims True",
    en="the sum has the wrong number of axes: {new}",
    ko="합한 결과의 차원 수가 틀렸습니다. 올바른 식: {new}",
    hint=("a sum has the wrong number of axes", "합한 결과의 차원 수가 틀렸습니다"),
)
def _(at: Place) -> Found:
    if found := _reduction(at.node):
        spelled, _, x, settings = found
        if "keepdims" in settings:
            rest = {k: v for k, v in settings.items() if k != "keepdims"}
            yield _with(at.node, spelled, x, rest)
        elif "axis" in settings:
            yield _with(at.node, spelled, x, {**settings, "keepdims": Node("bool", True)})


@mistake(
    "sum-mean",
    "call",
    "method",
    cost=1.2,
    words="sum mean",
    en="{function} belongs here, not the other",
    ko="합과 평균이 바뀌었습니다. 여기에는 {function} 함수를 써야 합니다",
    hint=("sum and mean are mixed up", "합과 평균이 바뀌었습니다"),
)
def _(at: Place) -> Found:
    if (found := _reduction(at.node)) and found[1] in ("sum", "Σ", "mean"):
        spelled, name, _, _ = found
        other = "sum" if name == "mean" else "mean"
        prefix = spelled[: spelled.rfind(".") + 1]
        new = Node(at.node.kind, (prefix + other, at.node.value[1]), at.node.parts)
        yield at.to(new, function=other)


@mistake(
    "sum-extra",
    "call",
    "method",
    cost=1.3,
    en="extra sum: {new}, not {old}",
    ko="합을 불필요하게 한 번 더 구했습니다",
    hint=("there is an extra sum", "합을 불필요하게 한 번 더 구했습니다"),
)
def _(at: Place) -> Found:
    if _reduction(at.node) or at.node.value[0] in ("rowsum", "colsum", "1ᵀ"):
        yield at.node.parts[0]


@mistake(
    "sum-missing",
    cost=1.3,
    words="np sum axis rowsum",
    en="a sum is missing; {over}",
    ko="합이 빠졌습니다. {over}",
    hint=("a sum is missing", "합이 빠졌습니다"),
)
def _(at: Place) -> Found:
    node = at.node
    if node.kind in ("comprehension", "list") and at.root:
        yield at.to(call("np.sum", node, axis=num(0)), axis=0)
    if not at.is_quantity or not at.shape:
        return
    if at.root or not at.light:
        yield at.to(call("sum" if at.words.slides else "np.sum", node), 0.3, axis="all")
    if at.is_matrix and (at.root or not at.light):
        for axis in (0, 1)[: 1 if at.light else 2]:
            yield at.to(at.words.sum_of(node, axis), 0.2 * axis, axis=axis)


# --- signs, terms, powers, numbers ----------------------------------------------------------------


@mistake(
    "sign",
    cost=1.05,
    en="the sign is wrong",
    ko="부호가 틀렸습니다",
    hint=("a sign is wrong", "부호가 틀렸습니다"),
)
def _(at: Place) -> Found:
    if at.node.kind == "unary" and at.node.value == "-":
        yield at.node.parts[0]
    compared = at.parent is not None and at.parent.kind in ("compare", "unary")
    if at.is_quantity and not compared:
        yield at.to(Node("unary", "-", (at.node,)), 0.45)


@mistake(
    "difference-swapped",
    "binary",
    cost=1.0,
    en="the difference is taken the wrong way round: {new}, not {old}",
    ko="뺄셈의 순서가 바뀌었습니다. " + BELONGS,
    hint=("a difference is the wrong way round", "뺄셈의 순서가 바뀌었습니다"),
)
def _(at: Place) -> Found:
    if at.node.value == "-":
        a, b = at.node.parts
        more = 0.2 * (a.kind == "number") - 0.1 * (b == ONE)  # 1 − A is likely to be meant
        yield at.to(at.node.with_parts((b, a)), more)


@mistake(
    "plus-minus",
    "binary",
    cost=1.1,
    en="plus and minus are mixed up: {new}",
    ko="덧셈과 뺄셈이 바뀌었습니다. 올바른 식: {new}",
    hint=("plus and minus are mixed up", "덧셈과 뺄셈이 바뀌었습니다"),
)
def _(at: Place) -> Found:
    other = {"+": "-", "-": "+"}.get(at.node.value)
    if other:
        yield binary(other, *at.node.parts)


@mistake(
    "term-extra",
    "binary",
    cost=1.4,
    en="extra term {term}",
    ko="불필요한 항이 하나 있습니다: {term}",
    hint=("there is an extra term", "불필요한 항이 있습니다"),
)
def _(at: Place) -> Found:
    if at.node.value in ("+", "-"):
        a, b = at.node.parts
        yield at.to(a, term=b)
        yield at.to(b if at.node.value == "+" else Node("unary", "-", (b,)), term=a)


@mistake(
    "term-missing",
    cost=1.2,
    en="the term {term} is missing",
    ko="{term} 항이 빠졌습니다",
    hint=("a term is missing", "항이 하나 빠졌습니다"),
)
def _(at: Place) -> Found:
    words, node = at.words, at.node
    if node.kind == "name" and not at.within("-"):  # A, where A − Y is meant
        for _, error in words.errors:
            if error.parts[0] == node:
                yield at.to(error, term=Node("unary", "-", (error.parts[1],)))
    if not at.is_quantity or at.light or not (at.root or node.kind == "binary"):
        return
    for k, size in words.arrays.items():
        if size == at.shape:
            a = words.spell(k)
            yield at.to(binary("+", node, a), 0.4, term=a)
            yield at.to(binary("-", node, a), 0.5, term=Node("unary", "-", (a,)))


@mistake(
    "complement-missing",
    "name",
    "binary",
    cost=1.15,
    en="{old} should be {new}",
    ko=BELONGS,
    hint=("one part of it is wrong", "식의 한 부분이 틀렸습니다"),
)
def _(at: Place) -> Found:
    node = at.node
    squared = node.kind == "binary" and node.value == "**"
    if squared or (node.kind == "name" and at.shape and at.words.is_fraction(node.value)):
        yield at.to(binary("-", ONE, node), 0.05 * squared)


@mistake(
    "complement-extra",
    "binary",
    cost=1.1,
    en="{old} should be {new}",
    ko=BELONGS,
    hint=("one part of it is wrong", "식의 한 부분이 틀렸습니다"),
)
def _(at: Place) -> Found:
    a, b = at.node.parts
    if at.node.value == "-" and a.kind == "number" and a.value == 1:
        yield b


@mistake(
    "power",
    "binary",
    "number",
    cost=1.2,
    en="the wrong power: {new}",
    ko="거듭제곱의 지수가 틀렸습니다. 올바른 값: {new}",
    hint=("a power is wrong", "거듭제곱의 지수가 틀렸습니다"),
)
def _(at: Place) -> Found:
    if at.node.kind == "number":
        if at.within("**") and at.path[-1] == 1:
            yield from _other_numbers(at, 0.1)
    elif at.node.value == "**":
        yield at.node.parts[0]


@mistake(
    "power-missing",
    "name",
    cost=1.2,
    en="{old} should be squared",
    ko="{old} 부분을 제곱해야 합니다",
    hint=("a power is missing", "거듭제곱이 빠졌습니다"),
)
def _(at: Place) -> Found:
    if at.shape:
        complement = at.within("-") and at.parent is not None and at.parent.parts[0] == ONE
        if complement or not at.light:
            yield at.to(binary("**", at.node, num(2)), 0.0 if complement else 0.3)


def _other_numbers(at: Place, more: float = 0.0) -> Iterator[Change]:
    for number in (0, 1, 2, 0.5, 3, -1, 4):
        if number != at.node.value:
            yield at.to(num(number), more + 0.1 * (number not in (1, 2)))


@mistake(
    "number",
    "number",
    "unary",
    cost=1.3,
    en="the number should be {new}, not {old}",
    ko="숫자가 틀렸습니다. {old} 자리에는 {new} 값이 와야 합니다",
    hint=("a number is wrong", "숫자가 틀렸습니다"),
)
def _(at: Place) -> Found:
    negative = at.node.kind == "unary" and at.node.parts[0].kind == "number"
    signed = at.parent is not None and at.parent.kind == "unary"
    power = at.within("**") and at.path[-1] == 1
    if negative or (at.node.kind == "number" and not (power or signed)):
        yield from _other_numbers(at)
    elif at.node.kind == "number" and signed:
        yield from (x for x in _other_numbers(at) if x.new.value >= 0)


@mistake(
    "number-missing",
    cost=1.3,
    en="the factor {factor} is missing",
    ko="{factor} 인수가 빠졌습니다",
    hint=("a number is missing as a factor", "곱해야 할 숫자가 빠졌습니다"),
)
def _(at: Place) -> Found:
    if at.is_quantity and (at.root or not at.light):
        for number in (2, 0.5, 3):
            more = 0.1 * (number != 2)
            yield at.to(binary("*", num(number), at.node), more, factor=num(number))


# --- factors and divisors -------------------------------------------------------------------------


def times(first: Node, unit: Node) -> Node:
    """Return first * u₁ * … as one chain from the left, without brackets around the unit.

    Example:
        >>> times(Node("name", "D"), binary("*", Node("name", "A"), Node("name", "B")))
        <binary D * A * B>
    """
    if unit.kind == "binary" and unit.value == "*" and unit.source is None:
        return binary("*", times(first, unit.parts[0]), unit.parts[1])
    return binary("*", first, unit)


def spine(node: Node, op: str) -> Iterator[tuple[Node, Node]]:
    """Yield what is left of a product a∘x₁∘…∘xₙ without its last factors, and these as a unit.

    Example:
        >>> from tinygrad_edu.verifying.grammar import parse
        >>> [(repr(a), repr(b)) for a, b in spine(parse("a * b * c"), "*")]
        [('<binary a * b>', '<name c>'), ('<name a>', '<binary b * c>')]
    """
    unit: Node | None = None
    while node.kind == "binary" and node.value == op:
        node, last = node.parts
        unit = last if unit is None else times(last, unit)
        yield node, unit


@mistake(
    "factor-extra",
    "binary",
    cost=1.2,
    en="extra factor {factor}",
    ko="불필요한 인수가 곱해져 있습니다: {factor}",
    hint=("there is an extra factor", "불필요한 인수가 곱해져 있습니다"),
)
def _(at: Place) -> Found:
    if at.node.value != "*" or (at.within("/") and at.path[-1] == 1):
        return
    for i, (rest, unit) in enumerate(spine(at.node, "*")):
        yield at.to(rest, 0.02 * i, factor=unit)
    a, b = at.node.parts
    yield at.to(b, factor=a)


@mistake(
    "divisor-extra",
    "binary",
    cost=1.15,
    en="extra division by {factor}",
    ko="불필요하게 나누었습니다: / {factor}",
    hint=("there is an extra division", "불필요하게 나눈 곳이 있습니다"),
)
def _(at: Place) -> Found:
    if at.node.value == "/":
        for i, (rest, unit) in enumerate(spine(at.node, "/")):
            yield at.to(rest, 0.02 * i, factor=unit)
    elif at.node.value in ("*", "**") and at.within("/") and at.path[-1] == 1:  # E / (m * c)
        a, b = at.node.parts
        if at.node.value == "**":
            yield at.to(a, factor=a)
        else:
            for rest, unit in spine(at.node, "*"):
                yield at.to(rest, factor=unit)
            yield at.to(b, factor=a)


@mistake(
    "divisor-missing",
    cost=1.1,
    words="np sqrt",
    en="a division by {factor} is missing",
    ko="{factor} 값으로 나누는 부분이 빠졌습니다",
    hint=("a division is missing", "나눗셈이 하나 빠졌습니다"),
)
def _(at: Place) -> Found:
    if not at.is_quantity:
        return
    for factor, more in _scalars(at):
        yield at.to(binary("/", at.node, factor), more, factor=factor)
    if not at.light:
        for factor in _plain_arrays(at):
            yield at.to(binary("/", at.node, factor), 0.8, factor=factor)
        if at.root or not at.within("*", "/"):
            for factor in _rows(at):
                yield at.to(binary("/", at.node, factor), 0.4, factor=factor)


@mistake(
    "scalar-missing",
    cost=1.3,
    words="np sqrt",
    en="the factor {factor} is missing",
    ko="{factor} 인수가 빠졌습니다",
    hint=("a number is missing as a factor", "곱해야 할 수가 빠졌습니다"),
)
def _(at: Place) -> Found:
    if at.is_quantity:
        for factor, more in _scalars(at):
            yield at.to(binary("*", factor, at.node), more, factor=factor)


def _scalars(at: Place) -> Iterator[tuple[Node, float]]:
    """Yield the sizes and numbers of the problem, with what each costs; √ where it is in use."""
    inner = 0.3 if at.node.kind == "name" and not at.root else 0.0
    for i, k in enumerate(at.words.scalars):
        if not at.light or k == "m":
            yield at.words.spell(k), 0.02 * i + inner
            if "sqrt" in at.words.operations and k != "m" and not at.light:
                yield call("np.sqrt", at.words.spell(k)), 0.02 * i + inner + 0.05


def _plain_arrays(at: Place) -> Iterator[Node]:
    """Yield the arrays of the shape of a place, or of whose rows it is one; no targets."""
    for k, size in at.words.arrays.items():
        fits = size == at.shape or (at.shape and len(size) > 1 and size[1:] == at.shape)
        if fits and at.words.kinds[k] != "target" and at.words.spell(k) != at.node:
            yield at.words.spell(k)


def _rows(at: Place) -> Iterator[Node]:
    """Yield the vectors that NumPy spreads over a matrix, one entry for each column or row."""
    if at.is_matrix and at.shape is not None:
        rows, columns = at.shape
        for k, size in at.words.arrays.items():
            if size in ((columns,), (1, columns), (rows, 1)) and at.words.kinds[k] != "target":
                yield at.words.spell(k)


@mistake(
    "factor-missing",
    cost=1.4,
    words="np sign",
    rare=True,
    en="the factor {factor} is missing",
    ko="{factor} 인수가 빠졌습니다",
    hint=("a factor is missing", "인수가 하나 빠졌습니다"),
)
def _(at: Place) -> Found:
    words, node = at.words, at.node
    if not at.is_quantity:
        return
    for a in _plain_arrays(at):
        yield at.to(binary("*", node, a), factor=a)
    for slope in words.slopes.get(at.shape or (), ()):
        if slope.function == "sigmoid":
            rest = binary("-", ONE, slope.array)
            yield at.to(binary("*", node, rest), 0.1 - 0.4 * (node == slope.array or (
                node.value == "*" and node.parts[1] == slope.array)), factor=rest)  # fmt: skip
    if at.shape == () and node.kind == "name":
        for k in words.arrays:
            factors = [words.spell(k)]
            if "sign" in words.functions:
                factors.append(call("np.sign", words.spell(k)))
            for factor in factors:
                yield at.to(binary("*", node, factor), 0.2, factor=factor)
    for place, error in words.errors:
        if at.shape == place:
            yield at.to(binary("*", error, node), 0.4, factor=error)


# --- names, functions, indices --------------------------------------------------------------------


@mistake(
    "name-wrong",
    "name",
    cost=1.05,
    words="T",
    plumbing=True,
    en="{new} belongs here, not {old}",
    ko="이름이 틀렸습니다. {old} 자리에는 {new} 값이 와야 합니다",
    hint=("a name is the wrong one", "이름이 틀린 곳이 있습니다"),
)
def _(at: Place) -> Found:
    words, name = at.words, at.node.value
    if at.plumbing:
        if name in words.scalars:
            yield from (at.to(words.spell(k), 0.35) for k in words.scalars if k != name)
        return
    for other, size in words.arrays.items():
        if other != name and size == at.shape:
            yield words.spell(other)
        elif other != name and not at.light:
            yield at.to(words.spell(other), 0.2)
            if len(size) == 2:
                yield at.to(transpose(words.spell(other)), 0.65)
    if not at.shape:
        yield from (at.to(words.spell(k), 0.05) for k in words.scalars if k != name)


@mistake(
    "condition",
    "name",
    cost=1.3,
    rare=True,
    en="{old} should be the mask {new} (1 where it holds, else 0)",
    ko="{old} 자리에는 마스크 {new} 식이 와야 합니다(참이면 1, 거짓이면 0)",
    hint=("a mask is wrong", "마스크가 틀렸습니다"),
)
def _(at: Place) -> Found:
    if at.shape and at.words.piecewise and at.words.kinds.get(at.node.value) != "target":
        yield Node("compare", ">", (at.node, num(0)))


@mistake(
    "comparison",
    "compare",
    cost=1.2,
    en="the comparison is the wrong way round: {new}",
    ko="부등호의 방향이 반대입니다: {new}",
    hint=("a comparison is the wrong way round", "부등호의 방향이 반대입니다"),
)
def _(at: Place) -> Found:
    for sign in (">", "<", ">=", "<="):
        if sign != at.node.value:
            yield Node("compare", sign, at.node.parts)


@mistake(
    "function-missing",
    "name",
    cost=1.4,
    words="np",
    rare=True,
    en="{old} should be {new}",
    ko=BELONGS,
    hint=("a function is missing", "함수가 하나 빠졌습니다"),
)
def _(at: Place) -> Found:
    if at.shape:
        for function in at.words.functions:
            yield call(at.words.spell_function(function), at.node)


@mistake(
    "function-extra",
    "call",
    cost=1.4,
    rare=True,
    en="extra function: {new}, not {old}",
    ko="불필요한 함수가 쓰였습니다. " + BELONGS,
    hint=("there is an extra function", "불필요한 함수가 쓰였습니다"),
)
def _(at: Place) -> Found:
    if len(at.node.parts) == 1 and at.node.value[0] != "1ᵀ":
        yield at.node.parts[0]


@mistake(
    "function-wrong",
    "call",
    cost=1.5,
    words="np",
    rare=True,
    en="the wrong function: {new}, not {old}",
    ko="함수가 틀렸습니다. " + BELONGS,
    hint=("a function is the wrong one", "함수가 틀렸습니다"),
)
def _(at: Place) -> Found:
    if len(at.node.parts) == 1 and at.node.value[0] != "1ᵀ":
        for other in at.words.functions:
            if other != _last(at.node.value[0]):
                yield call(at.words.spell_function(other), *at.node.parts)


@mistake(
    "index",
    "number",
    "entry",
    "text",
    cost=1.2,
    plumbing=True,
    en="the wrong index or axis: {new}, not {old}",
    ko="인덱스나 축이 틀렸습니다. {old} 자리에는 {new} 값이 와야 합니다",
    hint=("an index or an axis is wrong", "인덱스나 축이 틀렸습니다"),
)
def _(at: Place) -> Found:
    node = at.node
    if node.kind == "entry":
        for k, old in enumerate(node.value):
            for letter in at.words.letters:
                if letter != old:
                    place = (*node.value[:k], letter, *node.value[k + 1 :])
                    yield Node("entry", place, node.parts)
    elif node.kind == "text":  # the subscripts of einsum, with its result the other way round
        left, arrow, right = str(node.value).partition("->")
        if len(right) == 2:
            yield Node("text", left + arrow + right[::-1])
    elif at.plumbing and isinstance(node.value, int) and -2 <= node.value <= 2:
        yield from (at.to(num(other), 0.4) for other in (0, 1) if other != node.value)
