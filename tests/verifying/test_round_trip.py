"""The output of `explain` is read back by `verify`, and is the gradient on other data too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from models.derivations import derivation
from tests.explaining.test_explain import test_textbooks as textbooks
from tests.explaining.test_explain_random import BINARY, UNARY
from tests.mistakes import LAYERS, SYSTEMS, System, multi
from tinygrad_edu import engine
from tinygrad_edu.recording import ALL, recording
from tinygrad_edu.verifying.evaluation import Evaluator
from tinygrad_edu.verifying.functions import ClaimError
from tinygrad_edu.verifying.grammar import parse
from tinygrad_edu.verifying.problems import CannotCheck
from tinygrad_edu.verifying.truth import Truth
from tinygrad_edu.verifying.verification import verify

RNG = np.random.default_rng(0)
SIZES = {"m": 12, "n": 7, "h": 5, "k": 3, "d": 6, "p": 4, "q": 2}


def example(system: System) -> dict[str, Any]:
    """Inputs of a system: targets as arrays, everything else as variables."""
    found: dict[str, Any] = {}
    for name, spec in system.inputs.items():
        if not isinstance(spec, str):
            found[name] = spec
            continue
        words = spec.split()
        axes = [SIZES.get(word, 1) for word in words if word in SIZES or word == "1"]
        kind = words[-1] if len(words) > len(axes) else ""
        if kind == "onehot":
            found[name] = np.eye(axes[1])[RNG.integers(0, axes[1], axes[0])]
        elif kind == "binary":
            found[name] = RNG.integers(0, 2, axes).astype(float)
        elif kind or name == "X":
            found[name] = RNG.normal(size=axes)
        else:
            found[name] = tg.Tensor(RNG.normal(size=axes), requires_grad=True)
    return found


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_the_networks(system: System) -> None:
    found = tg.explain(system.forward, **example(system))
    alone = (found.formulas, "\n".join(map(str, found.gradients.values())))
    for claims in (found, *(() if found.errors else alone)):  # E1, E2 … have lines of their own
        report = verify(system.forward, claims, inputs=system.inputs)
        assert report.right, report.text()
        assert {v.name for v in report.verdicts} >= set(
            found.formulas
        )  # and errors that have lines


@pytest.mark.parametrize("name", ["S1", "S2", "S5"])
def test_the_chapters_own_networks(name: str) -> None:
    found = derivation(name)
    values = {line.name: line.value for line in found.forward}
    rng = np.random.default_rng(0)
    for line in found.gradients.values():
        # The numbers of the derivation are not at hand: any will do, for the code and the text.
        m, n, h = 6, 4, 5
        k = values["Z2"].shape[1] if "Z2" in values else 1
        shapes = {
            "X": (m, n),
            "W1": (n, h),
            "W2": (h, k),
            "A1": (m, h),
            "A2": (m, k),
            "Y": (m, k),
            "W": (n, k),
            "A": (m, k),
            "b": (k,),
            "b1": (h,),
            "b2": (k,),
        }
        names: dict[str, Any] = {key: rng.normal(size=shape) for key, shape in shapes.items()}
        names |= {"m": m, "l1": 0.3, "l2": 0.7}
        read = Evaluator(names)(parse(line.text, names))
        np.testing.assert_allclose(read, eval(line.code, {"np": np, **names}))


TEXTBOOKS = textbooks.pytestmark[0].args[1]


@pytest.mark.parametrize(("function", "inputs", "formula"), TEXTBOOKS)
def test_the_textbooks(function: Any, inputs: Any, formula: str | None) -> None:
    line = next(iter(tg.explain(function, *inputs).gradients.values()))
    names = list(function.__code__.co_varnames[: function.__code__.co_argcount])
    arrays = {
        n: x.numpy() if isinstance(x, tg.Tensor) else x for n, x in zip(names, inputs, strict=True)
    }
    report = verify(function, {line.name: line.text}, inputs=arrays)
    assert report.right, report.text()


def test_the_identity() -> None:
    def trace_squared(X: Any) -> Any:
        return np.trace(X) ** 2

    found = tg.explain(trace_squared, tg.Tensor(RNG.normal(size=(4, 4)), requires_grad=True))
    assert "I" in found.formulas["X"]
    assert verify(trace_squared, found, inputs={"X": "n n"}).right
    assert verify(trace_squared, {"X": "2·tr(X)·I"}, inputs={"X": "n n"}).right


def test_errors_with_names_of_their_own() -> None:
    def deep(X: Any, Y: Any, W1: Any, W2: Any, W3: Any, W4: Any, W5: Any) -> Any:
        A1 = tg.tanh(X @ W1)
        A2 = tg.tanh(A1 @ W2)
        A3 = tg.tanh(A2 @ W3)
        A4 = tg.tanh(A3 @ W4)
        A5 = tg.tanh(A4 @ W5)
        return tg.square(A5 - Y).sum() / len(X)

    shapes = [(9, 3), (9, 5), (3, 4), (4, 2), (2, 6), (6, 7), (7, 5)]
    arrays = [RNG.normal(size=s) / 2 for s in shapes]
    variables = [tg.Tensor(x, requires_grad=True) for x in arrays[2:]]
    found = tg.explain(deep, *arrays[:2], *variables)
    assert found.errors
    sizes = {
        "X": "m n",
        "Y": "m k",
        "W1": "n a",
        "W2": "a b",
        "W3": "b c",
        "W4": "c d",
        "W5": "d k",
    }
    inputs: dict[str, Any] = {**sizes}
    assert verify(deep, found, inputs=inputs).right
    # The same by hand, with one mistake in a line that others use.
    lines = [str(line) for line in (*found.errors, *found.gradients.values())]
    wrong = [line.replace("1 − A2 ⊙ A2", "1 − A2") for line in lines]
    assert wrong != lines
    report = verify(deep, "\n".join(wrong), inputs=inputs)
    assert not report.right
    assert report.first_wrong is not None


def test_three_axes_and_indices() -> None:
    def loss(A: Any, B: Any, c: Any) -> Any:
        return np.square(np.einsum("pqr,ps,qs->rs", A, B, c)).sum()

    arrays = [RNG.normal(size=s) for s in [(2, 3, 4), (2, 5), (3, 5)]]
    found = tg.explain(loss, *[tg.Tensor(x, requires_grad=True) for x in arrays])
    assert found.formulas["A"].startswith("[i,j,k] Σ_l")
    inputs = {"A": "p q r", "B": "p s", "c": "q s"}
    assert verify(loss, found, inputs=inputs).right
    assert verify(loss, found.formulas, inputs=inputs).right
    report = verify(loss, {"A": found.formulas["A"].replace("2·", "")}, inputs=inputs)
    assert report["A"].kinds == ("number-missing",)


def attention(X: Any, Wq: Any, Wk: Any, Wv: Any) -> Any:
    Q, K, V = X @ Wq, X @ Wk, X @ Wv
    A = tg.softmax(Q @ np.swapaxes(K, -1, -2) / 2)
    return tg.square(A @ V).sum()


def picked(W: Any, X: Any, y: Any) -> Any:
    return -np.log(tg.softmax(X @ W)[np.arange(len(X)), y]).mean()


@pytest.mark.parametrize(
    ("loss", "arrays", "inputs"),
    [
        (
            attention,
            [RNG.normal(size=(2, 5, 4)), *[RNG.normal(size=(4, 3)) for _ in "qkv"]],
            {"X": "b t n", "Wq": "n d", "Wk": "n d", "Wv": "n d"},
        ),
        (
            picked,
            [RNG.normal(size=(4, 3)), RNG.normal(size=(8, 4)), np.arange(8) % 3],
            {"W": "n k", "X": "m n", "y": "m labels"},
        ),
        (
            lambda W, X: tg.square(X @ W).mean(),
            [RNG.normal(size=(4, 3)), RNG.normal(size=(8, 4))],
            {"W": "a b", "X": "m a"},
        ),
        (
            lambda W, X: tg.square(X @ W).sum() / X.shape[1],
            [RNG.normal(size=(4, 3)), RNG.normal(size=(2, 5, 4))],
            {"W": "a b", "X": "m d a"},
        ),
    ],
)
def test_stacks_labels_and_sizes(loss: Any, arrays: list[Any], inputs: dict[str, Any]) -> None:
    given = [
        tg.Tensor(x, requires_grad=True) if k != 1 and x.dtype.kind == "f" else x
        for k, x in enumerate(arrays)
    ]
    if loss is attention:
        given = [arrays[0], *(tg.Tensor(x, requires_grad=True) for x in arrays[1:])]
    found = tg.explain(loss, *given)
    report = verify(loss, found, inputs=inputs)
    assert report.right, f"{found}\n{report.text()}"
    wrong = {name: f"2·({line.text})" for name, line in found.gradients.items()}
    lines = [f"{k} = {x}" for k, x in found.sizes.items()] + [str(x) for x in found.forward[:-1]]
    sheet = "\n".join([*lines, *(f"∂L/∂{name} = {text}" for name, text in wrong.items())])
    assert not verify(loss, sheet, inputs=inputs).right


def test_an_operation_of_ones_own_and_second_derivatives() -> None:
    @tg.primitive(lambda g, y, x: 3 * g * slope(x))
    def cube(x: Any) -> Any:
        return x**3

    @tg.primitive(lambda g, y, x: 2 * g * x)
    def slope(x: Any) -> Any:
        return x**2

    def loss(W: Any, X: Any) -> Any:
        return (slope(X @ W) * cube(X @ W)).sum()

    def curvature(w: Any, X: Any, v: Any) -> Any:
        return (tg.grad(tg.softplus(X @ w).sum(), w, create_graph=True) * v).sum()

    W, X = RNG.normal(size=(3, 2)), RNG.normal(size=(6, 3))
    found = tg.explain(loss, tg.Tensor(W, requires_grad=True), X)
    assert verify(loss, found, inputs={"W": "n k", "X": "m n"}).right
    w, v = RNG.normal(size=3), RNG.normal(size=3)
    found = tg.explain(curvature, tg.Tensor(w, requires_grad=True), X, v)
    assert verify(curvature, found, inputs={"w": "n", "X": "m n", "v": "n"}).right


# --- random graphs --------------------------------------------------------------------------------

SHAPES = [(4, 3), (3, 5), (4, 5), (5,), (3,), (4, 1)]


def random_program(seed: int) -> tuple[Any, list[tuple[int, ...]]]:
    """A function of three arrays, and their shapes; it computes the same on any data."""
    rng = np.random.default_rng(seed)
    shapes = [SHAPES[i] for i in rng.choice(len(SHAPES), 3, replace=False)]
    pool: list[Any] = [rng.normal(size=s) for s in shapes]
    steps: list[tuple[Any, tuple[int, ...]]] = []
    while len(pool) < 5 + seed % 8:
        binary = rng.random() < 0.5
        table = BINARY if binary else UNARY
        step = table[rng.integers(len(table))]
        places = tuple(int(i) for i in rng.integers(len(pool), size=2 if binary else 1))
        try:
            new = step(*(pool[i] for i in places))
        except (ValueError, TypeError, IndexError):
            continue
        if np.isfinite(new).all() and np.abs(new).max() < 1e3:
            pool.append(new)
            steps.append((step, places))

    def run(*inputs: Any) -> Any:
        values = list(inputs)
        for step, places in steps:
            values.append(step(*(values[i] for i in places)))
        return values[-1].sum() + (values[-2] * values[-2]).sum()

    return run, shapes


def variables(shapes: list[tuple[int, ...]], seed: int) -> list[tg.Tensor]:
    rng = np.random.default_rng(seed)
    return [
        tg.Tensor(rng.normal(size=s), requires_grad=True, name=f"X{i}")
        for i, s in enumerate(shapes)
    ]


def test_random_graphs() -> None:
    read = 0
    for seed in range(160):
        run, shapes = random_program(seed)
        inputs, others = variables(shapes, seed), variables(shapes, seed + 10**6)
        with recording(ALL):
            loss, other = run(*inputs), run(*others)
        if not isinstance(loss, engine.Box) or loss.record is None:
            continue
        found = tg.explain(loss, wrt=inputs)
        lines = {line.name: line.text for line in (*found.forward, *found.errors)}
        names: dict[str, Any] = {f"X{i}": x.numpy() for i, x in enumerate(others)}
        values = Evaluator(names)
        for name, text in lines.items():  # A = softmax(…), T1 = …
            if name != "L":
                names[name] = values(parse(text, names, slides=True))
                values = Evaluator(names)
        for x, line in zip(others, found.gradients.values(), strict=True):
            truth = Truth(np.asarray(tg.grad(other, x)), columns=True)
            assert truth.agrees(values(parse(line.text, names, slides=True))), (seed, line.text)
            read += 1
    assert read == 480


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("Xᵀ(A2 − Y)", "a line of claims is `name = formula`"),
        ("W1 = XᵀA1", "the line W1 = … is not what forward computes"),
        ("Q = X\nR = Q", "no claim"),
    ],
)
def test_lines_that_are_no_claims(lines: str, message: str) -> None:
    with pytest.raises(CannotCheck, match=message):
        verify(multi, lines, inputs={**LAYERS, "Y": "m k onehot"})


def test_claims_that_refer_to_one_another() -> None:
    inputs = {**LAYERS, "Y": "m k onehot"}
    report = verify(multi, "∂L/∂Z2 = (A2 − Y)/m\n∂L/∂W2 = A1ᵀ·∂L/∂Z2", inputs=inputs)
    assert report.right
    report = verify(
        multi, {"Z2": "(A2 − Y)/m", "W2": "A1ᵀ·∂L/∂Z2", "A1": "E·W2ᵀ", "E": "∂L/∂Z2"}, inputs=inputs
    )
    assert report.right and len(report.verdicts) == 3
    report = verify(multi, {"Z2": "(Y − A2)/m", "W2": "A1ᵀ·∂L/∂Z2"}, inputs=inputs)
    assert [v.name for v in report.verdicts if not v.right] == ["Z2", "W2"]
    assert report["W2"].before == report["Z2"].before == "(Y − A2)/m"
    report = verify(multi, {"E": "D + 1", "D": "E", "W2": "A1ᵀD"}, inputs=inputs)
    assert "refer to one another" in report["W2"].reason


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[i,j] Σ_k A[i,k]·B[k,j]", lambda A, B: A @ B),
        ("[j,i] Σ_k A[i,k]·B[k,j]", lambda A, B: (A @ B).T),
        ("[i,j] Σₖ A[i,k]·B[k,j]/2 − Σ_k 1·A[i,k]", lambda A, B: A @ B / 2 - A.sum(1)[:, None]),
        ("[i] exp(A[i,i])", lambda A, B: np.exp(np.diag(A))),
        ("[] Σ_i Σ_j A[i,j]^2", lambda A, B: (A * A).sum()),
        ("[i,1] Σ_j A[i,j]", lambda A, B: A.sum(axis=1, keepdims=True)),
        ("[i] (A[p,q]·A[q,p])[1, :][i] + A[p,q][0, …][i]", lambda A, B: (A * A.T)[1] + A[0]),
        ("[i] relu([k,1] Σ_n A[k,n])[i,1]", lambda A, B: np.maximum(A.sum(axis=1), 0)),
        ("[i,j] softmax(A[p,q])[i,j]·[A[i,j] > 0]", lambda A, B: tg.softmax(A) * (A > 0)),
    ],
)
def test_index_notation(text: str, value: Any) -> None:
    A, B = RNG.normal(size=(3, 3)), RNG.normal(size=(3, 4))
    names = {"A": A, "B": B}
    np.testing.assert_allclose(Evaluator(names)(parse(text, names)), value(A, B))


def test_a_column_sum_of_a_stack_keeps_its_axis() -> None:
    stack, matrix = RNG.normal(size=(2, 4, 3)), RNG.normal(size=(4, 3))
    names = {"S": stack, "A": matrix}
    values = Evaluator(names)
    sums = stack.sum(axis=-2, keepdims=True)
    np.testing.assert_allclose(values(parse("1ᵀS", names)), sums)
    np.testing.assert_allclose(
        values(parse("1ᵀ(S ⊙ A) + 1ᵀS", names)), (stack * matrix).sum(axis=-2, keepdims=True) + sums
    )
    np.testing.assert_allclose(values(parse("colsum(S)", names)), sums)
    np.testing.assert_allclose(values(parse("1ᵀA", names)), matrix.sum(axis=0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[i] Σ_k A[i,j]", "nothing after it has the index k"),
        ("[i] Σ_k A[i,k]·B[k,j]", "neither summed over nor in front"),
        ("[i] Σ_k A[i,k,j]", "the array has 2 axes"),
        ("[i] Σ_k A[i,k]·B", "B needs its indices"),
        ("[i] A[i,1]", "an axis of length 1, this one has 3"),
        ("[i,j] Σ_k A[i,k]·A[j,i", "missing"),
    ],
)
def test_index_notation_refuses(text: str, message: str) -> None:
    names = {"A": RNG.normal(size=(3, 3)), "B": RNG.normal(size=(3, 4))}
    with pytest.raises(ClaimError, match=message):
        Evaluator(names)(parse(text, names))
