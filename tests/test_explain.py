"""`explain`: the chapter's formulas sign for sign, textbooks', names, steps, its own check."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from models import __main__ as command
from models.derivations import derivation
from tinygrad_edu import algebra, nn
from tinygrad_edu.explanation import WrongFormula

D7 = "((A2 − Y)W2ᵀ ⊙ A1 ⊙ (1 − A1))/m"
RNG = np.random.default_rng(0)


def array(*shape: int) -> Any:
    return RNG.normal(size=shape)


def variable(*shape: int) -> tg.Tensor:
    return tg.Tensor(array(*shape), requires_grad=True)


def two_layers(k: int) -> dict[str, tg.Tensor]:
    return {"W1": variable(7, 5), "b1": variable(5), "W2": variable(5, k), "b2": variable(k)}


def targets(k: int, m: int = 12) -> Any:
    labels = RNG.integers(0, max(k, 2), m)
    return np.eye(k)[labels] if k > 1 else labels.reshape(-1, 1).astype(float)


# --- the chapter ----------------------------------------------------------------------------------


def fused(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    Z1 = X @ W1 + b1
    A1 = tg.sigmoid(Z1)
    Z2 = A1 @ W2 + b2
    return tg.cross_entropy(Z2, Y)


def softmax_written(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    A1 = tg.sigmoid(X @ W1 + b1)
    Z2 = A1 @ W2 + b2
    A2 = tg.softmax(Z2)
    return -(Y * np.log(A2)).sum() / len(X)


def bce_written(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    A1 = tg.sigmoid(X @ W1 + b1)
    A2 = tg.sigmoid(A1 @ W2 + b2)
    return -(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)).sum() / len(X)


def squared(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    A1 = tg.sigmoid(X @ W1 + b1)
    A2 = tg.sigmoid(A1 @ W2 + b2)
    return ((A2 - Y) ** 2).sum() / len(X)


FACT = "rows of Y sum to 1"


@pytest.mark.parametrize(
    ("loss", "k", "facts", "formula"),
    [
        (fused, 3, (), f"Xᵀ{D7}"),
        (softmax_written, 3, (), "Xᵀ((rowsum(Y) ⊙ A2 − Y)W2ᵀ ⊙ A1 ⊙ (1 − A1))/m"),
        (softmax_written, 3, FACT, f"Xᵀ{D7}"),
        (bce_written, 1, (), f"Xᵀ{D7}"),
        (squared, 1, (), "2·Xᵀ(((A2 − Y) ⊙ A2 ⊙ (1 − A2))W2ᵀ ⊙ A1 ⊙ (1 − A1))/m"),
    ],
)
def test_the_table_of_the_design(loss: Any, k: int, facts: Any, formula: str) -> None:
    found = tg.explain(loss, array(12, 7), targets(k), **two_layers(k), facts=facts)
    assert found.formulas["W1"] == formula


def test_three_layers_with_tanh() -> None:
    model = nn.Sequential(
        nn.Linear(7, 5, rng=0), nn.Tanh(), nn.Linear(5, 4, rng=1), nn.Tanh(), nn.Linear(4, 3, rng=2)
    )
    found = tg.explain(model, tg.cross_entropy, array(12, 7), RNG.integers(0, 3, 12))
    assert found.formulas["W1"] == ("Xᵀ(((A3 − Y)W3ᵀ ⊙ (1 − A2 ⊙ A2))W2ᵀ ⊙ (1 − A1 ⊙ A1))/m")
    assert found.formulas["b3"] == "1ᵀ(A3 − Y)/m"


@pytest.mark.parametrize("system", ["S2", "S3", "S4", "S5"])
def test_the_two_layer_networks_of_the_chapter(system: str) -> None:
    """D5 to D8 with D12, over m, with the penalty that the system has."""
    penalty = {"S5": ("", "")}.get(system, (" + l2·W1/m", " + l2·W2/m"))
    assert derivation(system).formulas == {
        "W1": f"Xᵀ{D7}{penalty[0]}",
        "b1": f"1ᵀ{D7}",
        "W2": f"A1ᵀ(A2 − Y)/m{penalty[1]}",
        "b2": "1ᵀ(A2 − Y)/m",
    }


def test_the_single_layer_and_both_penalties() -> None:
    assert derivation("S1", l1=0.03).formulas == {
        "W": "Xᵀ(A − Y)/m + (l1·sign(W) + l2·W)/m",
        "b": "1ᵀ(A − Y)/m",
    }


def test_forward_lines_and_shapes_of_the_chapter() -> None:
    found = derivation("S2")
    assert [str(line) for line in found.forward[:4]] == [
        "Z1 = XW1 + b1", "A1 = sigmoid(Z1)", "Z2 = A1W2 + b2", "A2 = sigmoid(Z2)",
    ]  # fmt: skip
    assert found["W2"].shapes == "(10, 364)·(364, 1) + (10, 1) → (10, 1)"
    assert found["b1"].shapes == "(1, 364)·((364, 1)·(1, 10) ⊙ (364, 10)) → (10,)"


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["explain"]) == 0
    printed = capsys.readouterr().out
    assert (
        f"∂L/∂W1 = Xᵀ{D7}    (784, 256)·((256, 10)·(10, 100) ⊙ (256, 100)) → (784, 100)" in printed
    )
    assert all(f"{s} " in printed for s in ("S1", "S2", "S3", "S4", "S5"))
    with pytest.raises(SystemExit):
        command.main(["explain", "--quick"])


# --- matrix calculus ------------------------------------------------------------------------------


def hessian_times_v(w: Any, X: Any, v: Any) -> Any:
    a = tg.sigmoid(X @ w)
    return tg.grad(-np.log(a).sum(), w, create_graph=True) @ v


def softmax_regression(W: Any, X: Any, Y: Any) -> Any:
    P = tg.softmax(X @ W)
    return -(Y * np.log(P)).sum() / len(X)


SIGNS = np.sign(array(12))


@pytest.mark.parametrize(
    ("function", "inputs", "formula"),
    [
        (lambda x, A: 0.5 * (x @ A @ x), (variable(5), array(5, 5)), "(A + Aᵀ)x/2"),
        (lambda x, A, y: tg.square(A @ x - y).sum(), (variable(4), array(7, 4), array(7)),
         "2·Aᵀ(Ax − y)"),
        (lambda A, x, y: tg.square(A @ x - y).sum(), (variable(7, 4), array(4), array(7)),
         "2·(Ax − y)xᵀ"),
        (lambda X, A, B: np.trace(A @ X.T @ B @ X),
         (variable(5, 4), array(4, 4), array(5, 5)), None),
        (lambda X, A: np.trace(A @ X), (variable(5, 4), array(4, 5)), "Aᵀ"),
        (lambda X, B: np.trace(X.T @ B @ X), (variable(5, 4), array(5, 5)), "(B + Bᵀ)X"),
        (lambda X, a, b: a @ X @ b, (variable(4, 3), array(4), array(3)), "abᵀ"),
        (lambda w, X, y, lam: tg.square(X @ w - y).sum() + lam * (w @ w),
         (variable(4), array(12, 4), array(12), 0.3), "2·Xᵀ(Xw − y) + 2·lam·w"),
        (lambda w, X, y: np.log(1 + np.exp(-y * (X @ w))).sum(),
         (variable(4), array(12, 4), SIGNS), "−Xᵀ(sigmoid(−y ⊙ Xw) ⊙ y)"),
        (hessian_times_v, (variable(4), array(12, 4), array(4)), "Xᵀ(Xv ⊙ a ⊙ (1 − a))"),
        (lambda x: np.log(np.exp(x).sum()), (variable(5),), "softmax(x)"),
        (lambda x: np.sqrt((x * x).sum()), (variable(5),), "x/sqrt(xᵀx)"),
        (lambda U, V, R: tg.square(R - U @ V.T).sum(), (variable(6, 2), array(5, 2), array(6, 5)),
         "2·(UVᵀ − R)V"),
    ],
)  # fmt: skip
def test_textbooks(
    function: Callable[..., Any], inputs: tuple[Any, ...], formula: str | None
) -> None:
    line = next(iter(tg.explain(function, *inputs).gradients.values()))
    if formula is not None:
        assert line.text == formula
    np.testing.assert_allclose(line.value, gradient(function, inputs), rtol=1e-9, atol=1e-12)


def gradient(function: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
    return tg.grad(function(*inputs), inputs[0])


def test_softmax_regression() -> None:
    inputs = variable(4, 3), array(12, 4), targets(3)
    assert tg.explain(softmax_regression, *inputs, facts=FACT).formulas == {"W": "Xᵀ(P − Y)/m"}


# --- masks, choices, functions of one's own -------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "formula"),
    [
        (lambda x, y: tg.relu(x) @ y, "y ⊙ [x > 0]"),
        (lambda x, y: (np.clip(x, -0.5, 1) * y).sum(), "y ⊙ [−0.5 ≤ x ≤ 1]"),
        (lambda x, y: np.abs(x).sum(), "sign(x)"),
        (lambda x, y: np.maximum(x, y).sum(), "[x > y] + [x = y]/2"),
        (lambda x, y: np.where(x > y, x * x, y).sum(), "2·[x > y] ⊙ x"),
        (lambda x, y: tg.sigmoid(x).sum(), "sigmoid(x) ⊙ (1 − sigmoid(x))"),
        (lambda x, y: (x**1).sum(), "1"),
    ],
)
def test_masks_are_written_as_a_mathematician_would(function: Any, formula: str) -> None:
    assert tg.explain(function, variable(5), array(5)).formulas["x"] == formula


def test_an_operation_of_ones_own() -> None:
    @tg.primitive(lambda g, y, x: 3 * g * x * x)
    def cube(x: Any) -> Any:
        return x**3

    def loss(W: Any, X: Any) -> Any:
        return cube(X @ W).sum()

    found = tg.explain(loss, variable(3, 2), array(6, 3))
    assert str(found.forward[-1]) == "L = sum(cube(XW))"
    assert found.formulas["W"] == "3·Xᵀ(XW ⊙ XW)" or found.formulas["W"] == "3·Xᵀ(XW)²"


def test_three_axes_are_written_with_indices() -> None:
    found = tg.explain(lambda A, B: tg.square(A @ B).sum(), variable(2, 3, 4), array(4, 5))
    assert found.formulas["A"] == "[i,j,k] Σ_l Σ_n 2·A[i,j,l]·B[l,n]·B[k,n]"


# --- names ----------------------------------------------------------------------------------------


def test_names_of_a_loop_are_numbered_and_long_networks_abbreviated() -> None:
    def deep(X: Any, Y: Any, *Ws: Any) -> Any:
        A = X
        for W in Ws:
            Z = A @ W
            A = tg.tanh(Z)
        return tg.square(A - Y).sum() / len(X)

    weights = [tg.Tensor(array(4, 4) / 2, requires_grad=True) for _ in range(100)]
    found = tg.explain(deep, array(9, 4), array(9, 4), *weights)
    assert found.formulas["Ws1"] == "XᵀE1" and found.formulas["Ws50"] == "A49ᵀE50"
    assert str(found["E7"]) == "E7 = ∂L/∂Z7 = E8·Ws8ᵀ ⊙ (1 − A7 ⊙ A7)"
    assert len(found.errors) == 100


def test_variables_around_the_function_are_named_and_m_is_found() -> None:
    X, Y, l2 = array(8, 3), array(8, 2), 0.25  # 2/8 must not become /4

    def loss(W: Any) -> Any:
        return tg.square(X @ W - Y).sum() / len(X) + l2 / 2 * (W * W).sum()

    assert tg.explain(loss, variable(3, 2)).formulas["W"] == "2·Xᵀ(XW − Y)/m + l2·W"


def test_a_finished_loss_has_its_numbers() -> None:
    X, t = array(12, 3), array(12, 1)
    W = variable(3, 1)
    A = tg.sigmoid(X @ W)
    loss = tg.square(A - t).sum()
    found = tg.explain(loss, wrt=W)
    assert found.formulas == {"W": "2·Xᵀ((A − t) ⊙ A ⊙ (1 − A))"}


def test_names_given_by_hand_win() -> None:
    def loss(w: Any, x: Any) -> Any:
        hidden = np.exp(x @ w).named("H")
        return (hidden * hidden).sum()

    assert tg.explain(loss, variable(3), array(6, 3)).formulas["w"] == "2·xᵀ(H ⊙ H)"


# --- steps ----------------------------------------------------------------------------------------


def test_steps_are_the_chain() -> None:
    found = tg.explain(softmax_written, array(12, 7), targets(3), **two_layers(3), facts=FACT)
    printed = str(found.steps)
    for line in (
        "∂L/∂A2 = −Y/A2/m",
        "∂L/∂Z2 = A2 ⊙ (∂L/∂A2 − rowsum(∂L/∂A2 ⊙ A2)) = (A2 − Y)/m",
        "∂aᵢ/∂zⱼ = aᵢ(δᵢⱼ − aⱼ)",
        "because rows of Y sum to 1",
        "∂Z2/∂A1: ·W2ᵀ",
        "∂L/∂W2 = A1ᵀ·∂L/∂Z2 = A1ᵀ(A2 − Y)/m",
    ):
        assert line in printed


# --- what is refused, and the check ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((lambda x: x * 2, variable(3)), {}, "a tensor with one number"),
        ((lambda x: (x * 2).sum(), array(3)), {"wrt": "z"}, "no variable is called z"),
        ((lambda x, y: (x * y).sum(), array(3), array(3)), {}, "wrt='W'"),
        ((lambda x: (x * 2).sum(), variable(3, 2)), {"facts": "rows of x sum to 1"}, "not hold"),
        ((lambda x: (x * 2).sum(), variable(3, 2)), {"facts": "x is small"}, "expected 'rows of"),
    ],
)
def test_refusals(arguments: Any, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        tg.explain(*arguments, **settings)


@pytest.mark.parametrize("broken", ["add", "power", "cancel"])
def test_a_wrong_simplification_is_caught(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check has to be seen to fail: three rules of algebra that do not hold."""

    def lose_a_factor(t: algebra.Term) -> algebra.Term | None:
        if len(t.factors) == 3 and broken == "cancel":
            return algebra.Term(t.coefficient, t.factors[:2], t.bound & frozenset())
        return None

    def double(t: algebra.Term) -> algebra.Term | None:
        if t.coefficient == 1 and t.factors and broken == "add":
            return algebra.Term(t.coefficient * 3, t.factors, t.bound)
        return None

    def forget_a_power(t: algebra.Term) -> algebra.Term | None:
        if broken == "power" and any(p == 2 for _, p in t.factors):
            factors = tuple((b, Fraction(1)) for b, _ in t.factors)
            return algebra.Term(t.coefficient, factors, t.bound)
        return None

    monkeypatch.setattr(algebra, "RULES", [double, forget_a_power, lose_a_factor])
    with pytest.raises(WrongFormula):
        tg.explain(lambda x, y, z: (x * x * x * x * y * z).sum() + (x * x).sum(), variable(5),
                   array(5), array(5))  # fmt: skip


def test_latex_of_the_chapter_can_be_set() -> None:
    mathtext = pytest.importorskip("matplotlib.mathtext")
    parser = mathtext.MathTextParser("agg")
    for system in ("S1", "S2", "S5"):
        found = derivation(system)
        for line in (*found.forward, *found.gradients.values()):
            parser.parse(line._repr_latex_().replace(r"\displaystyle ", ""))
        assert found._repr_latex_().startswith("$$\\begin{aligned}")
