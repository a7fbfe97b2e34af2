"""Functions that run are explained: indices, masks, constants, sizes, batches, both languages."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from models import __main__ as command
from models.derivations import derivation
from tests.explaining.test_explain import array, variable
from tinygrad_edu import nn, ops
from tinygrad_edu.explaining import author, losses, wording
from tinygrad_edu.explaining.wording import LANGUAGES, SENTENCES, say

RNG = np.random.default_rng(1)
LABELS = RNG.integers(0, 3, 8)
TOKENS = RNG.integers(0, 10, 8)
PAIRS = RNG.integers(0, 10, (4, 5))
SEEN = np.tril(np.ones((5, 5), bool))
CHOSEN = np.arange(8) % 3 > 0
INF = np.inf


def names_of(function: Callable[..., Any], inputs: tuple[Any, ...], found: Any) -> dict[str, Any]:
    """Return the names that the code of a formula may use: arguments, globals, the library's
    functions, sizes.
    """
    parameters = [*inspect.signature(function).parameters]
    arrays = {
        name: x.numpy() if isinstance(x, tg.Tensor) else x
        for name, x in zip(parameters, inputs, strict=False)
    }
    functions = {name: getattr(m, name) for m in (ops, tg.losses) for name in m.__all__}
    names = {**functions, **function.__globals__, **arrays, "np": np}
    for letter, code in found.sizes.items():
        base, axis = code[:-1].split(".shape[")
        names[letter] = np.shape(names[base])[int(axis)] if base in names else 0
    return names


def check(function: Callable[..., Any], *inputs: Any, **about: Any) -> tg.Explanation:
    """Explain, and compare each gradient with the recorded one, and each code with its value."""
    found = tg.explain(function, *inputs, **about)
    parameters = [x for x in inputs if isinstance(x, tg.Tensor)]
    for x, line in zip(parameters, found.gradients.values(), strict=True):
        g = tg.grad(function(*inputs), x)
        np.testing.assert_allclose(line.value, g, rtol=1e-8, atol=1e-9)
    assert not any("report this" in note for note in found.notes), found
    names = names_of(function, inputs, found)
    before: set[str] = set()
    later = {line.name for line in (*found.forward, *found.errors)}
    for line in (*found.forward, *found.errors, *found.gradients.values()):
        assert not line.uses & (later - before - {line.name}), f"{line} uses what is said later"
        before.add(line.name)
        if line.code and not any(re.fullmatch(r"[CT]\d+", name) for name in line.uses):
            worth = np.asarray(eval(line.code, dict(names)))
            shape = np.shape(line.value)
            same = worth.size == np.size(line.value)
            worth = worth.reshape(shape) if same else np.broadcast_to(worth, shape)
            np.testing.assert_allclose(worth, line.value, rtol=1e-6, atol=1e-9)
            names |= {line.name: worth} if line.name in later else {}
    return found


# --- indices --------------------------------------------------------------------------------------


def picked(W: Any, X: Any, y: Any) -> Any:
    return -np.log(tg.softmax(X @ W)[np.arange(len(X)), y]).mean()


def picked_logs(W: Any, X: Any, y: Any) -> Any:
    return -tg.log_softmax(X @ W)[np.arange(len(X)), y].sum() / len(X)


def hinge(W: Any, X: Any, y: Any) -> Any:
    Z = X @ W
    return np.maximum(0, 1 + Z - Z[np.arange(len(X)), y][:, None]).sum() / len(X)


@pytest.mark.parametrize(
    ("function", "inputs", "name", "formula"),
    [
        (picked, (variable(4, 3), array(8, 4), LABELS), "W", "Xᵀ(A − Y)/m"),
        (picked_logs, (variable(4, 3), array(8, 4), LABELS), "W", "Xᵀ(softmax(XW) − Y)/m"),
        (
            lambda W, X, y: ((X @ W)[np.arange(len(X)), y] ** 2).sum(),
            (variable(4, 3), array(8, 4), LABELS),
            "W",
            "2·Xᵀ(Y ⊙ XW)",
        ),
        (
            lambda W, X, y: (X @ W)[range(len(X)), y].mean(),
            (variable(4, 3), array(8, 4), LABELS),
            "W",
            "XᵀY/m",
        ),
        (hinge, (variable(4, 3), array(8, 4), LABELS), "W", None),
        (
            lambda E, W, t: tg.square(E[t] @ W).sum(),
            (variable(10, 4), variable(4, 3), TOKENS),
            "E",
            "2·Tᵀ·E[t]·WWᵀ",
        ),
        (
            lambda E, W, t: tg.square(tg.embedding(t, E) @ W).sum(),
            (variable(10, 4), variable(4, 3), TOKENS),
            "E",
            "2·Tᵀ·E[t]·WWᵀ",
        ),
        (
            lambda E, W, t: tg.square(E[t] @ W).sum(),
            (variable(10, 4), variable(4, 3), PAIRS),
            "E",
            "2·sum(Tᵀ·E[t]·WWᵀ, axis=0)",
        ),
        (
            lambda W, X, p: (X[p] @ W).mean(),
            (variable(4, 3), array(8, 4), RNG.permutation(8)),
            "W",
            "rowsum(X[p]ᵀ)/(m·k)",
        ),
        (
            lambda W, X: ((X @ W)[: len(X) // 2] ** 2).mean(),
            (variable(4, 3), array(8, 4)),
            "W",
            None,
        ),
        (lambda W, X: ((X @ W)[-1] ** 2).sum(), (variable(4, 3), array(8, 4)), "W", None),
        (lambda W: (W[np.array([-1, 0, 1])] ** 2).sum(), (variable(4, 3),), "W", None),
        (lambda A: (A[np.triu_indices(5)] ** 2).sum(), (variable(5, 5),), "A", None),
        (lambda W, X, y: (X @ W)[0, int(y[0])], (variable(4, 3), array(8, 4), LABELS), "W", None),
        (
            lambda W, X: sum((X[i] @ W).sum() for i in range(len(X))),
            (variable(4, 3), array(3, 4)),
            "W",
            None,
        ),
    ],
)
def test_indices(function: Any, inputs: Any, name: str, formula: str | None) -> None:
    found = check(function, *inputs)
    if formula is not None:
        assert found.formulas[name] == formula


def test_labels_are_said_to_be_one_hot() -> None:
    found = check(picked, variable(4, 3), array(8, 4), LABELS)
    assert [str(line) for line in found.forward] == [
        "A = softmax(XW)",
        "Y = one_hot(y, n_classes=k)",
        "L = −sum(Y ⊙ log(A))/m",
    ]
    assert found.sizes == {"m": "X.shape[0]", "k": "W.shape[1]"}
    np.testing.assert_array_equal(found["Y"].value, np.eye(3)[LABELS])


# --- masks ----------------------------------------------------------------------------------------


def attention_of_seen(Q: Any, K: Any, V: Any) -> Any:
    S = np.where(SEEN, Q @ K.T / np.sqrt(3), -1e9)
    A = tg.softmax(S)
    return tg.square(A @ V).sum()


def masked(filler: str) -> Callable[..., Any]:
    """The same with another literal in its text."""
    names: dict[str, Any] = {"np": np, "tg": tg, "SEEN": SEEN}
    lines = f"""def loss(Q, K, V):
        S = np.where(SEEN, Q @ K.T / np.sqrt(3), {filler})
        A = tg.softmax(S)
        return tg.square(A @ V).sum()"""
    exec(compile(lines, "loss.py", "exec"), names)
    loss: Callable[..., Any] = names["loss"]
    return loss


@pytest.mark.parametrize(
    ("filler", "written"),
    [("-1e9", "−1e9"), ("-np.inf", "−∞"), ("-1e30", "−1e30"), ("-2.5e7", "−2.5e7")],
)
def test_what_is_masked_out(filler: str, written: str) -> None:
    found = check(masked(filler), variable(5, 3), variable(5, 3), variable(5, 3))
    assert str(found["S"]) == f"S = where(SEEN, QKᵀ/√3, {written})"
    assert found.formulas["V"] == "2·AᵀAV"
    np.testing.assert_allclose(found["A"].value.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("function", "inputs", "formula"),
    [
        (
            lambda Q, K: tg.square(tg.softmax(Q @ K.T + np.where(SEEN, 0, -INF))).sum(),
            (variable(5, 3), array(5, 3)),
            "2·(A ⊙ (A − rowsum(A ⊙ A)))K",
        ),
        (lambda x, r: (x[r] ** 2).sum(), (variable(8), CHOSEN), None),
        (lambda x, r: x[r].mean(), (variable(8), CHOSEN), None),
        (lambda x, r: 3 * x[r].sum(), (variable(8), CHOSEN), "3·r"),
        (lambda w: (w[w > 0] ** 2).sum(), (variable(6),), None),
        (lambda W, X, r: ((X @ W)[r] ** 2).sum(), (variable(4, 3), array(8, 4), CHOSEN), None),
        (lambda Z: np.log(np.exp(Z)[~np.eye(5, dtype=bool)].sum()), (variable(5, 5),), None),
        (lambda x: (np.where(np.isnan(x), 0, x) ** 2).sum(), (variable(4),), None),
        (lambda x: np.minimum(x, INF).sum(), (variable(4),), None),
    ],
)
def test_masks(function: Any, inputs: Any, formula: str | None) -> None:
    found = check(function, *inputs)
    if formula is not None:
        assert next(iter(found.formulas.values())) == formula


# --- numbers and sizes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "loss", "formula"),
    [
        (lambda x: x @ x / np.sqrt(3), "xᵀx/√3", "2·x/√3"),
        (lambda x: x @ x * np.sqrt(2 / 3), "xᵀx·√2/√3", "2·√2·x/√3"),
        (lambda x: x @ x / (2 * np.pi), "xᵀx/(2·π)", "x/π"),
        (lambda x: x @ x / np.sqrt(2 * np.pi), "xᵀx/sqrt(2·π)", "2·x/sqrt(2·π)"),
        (lambda x: 0.3 * (x @ x), "0.3·xᵀx", "0.6·x"),
        (lambda x: 0.1 * (x @ x), "0.1·xᵀx", "0.2·x"),
        (lambda x: 1.5 * (x @ x) + x.sum() / 4, "1.5·xᵀx + sum(x)/4", "1/4 + 3·x"),
        (lambda x: 0.5 * (x @ x), "xᵀx/2", "x"),
        (lambda x: x @ x / 3, "xᵀx/3", "2·x/3"),
        (lambda x: 1e9 * x.sum(), "1e9·sum(x)", "1e9"),
        (lambda x: 1e-10 * x.sum(), "1e−10·sum(x)", "1e−10"),
    ],
)
def test_numbers_stand_as_the_author_wrote_them(function: Any, loss: str, formula: str) -> None:
    found = check(function, variable(7))
    assert (found["L"].text, found.formulas["x"]) == (loss, formula)


def test_numbers_of_single_precision_have_their_few_digits() -> None:
    x = tg.Tensor(np.arange(1, 5, dtype=np.float32), requires_grad=True)
    assert tg.explain(lambda x: 0.47 * (x * x).sum(), x)["L"].text == "0.47·xᵀx"


def scaled(Q: Any, K: Any) -> Any:
    d_k = K.shape[-1]
    return (Q @ K.T / np.sqrt(d_k)).sum()


def normalised(W: Any, X: Any) -> Any:
    Z = X @ W
    N = Z - Z.mean(axis=1, keepdims=True)
    return tg.square(N).sum()


@pytest.mark.parametrize(
    ("function", "inputs", "formula", "sizes"),
    [
        (
            lambda W: tg.square(W).mean(),
            (variable(3, 2),),
            "2·W/(n·k)",
            {"n": "W.shape[0]", "k": "W.shape[1]"},
        ),
        (
            lambda W, X, Y: tg.square(X @ W - Y).mean(),
            (variable(4, 2), array(6, 4), array(6, 2)),
            "2·Xᵀ(XW − Y)/(m·k)",
            {"m": "X.shape[0]", "k": "W.shape[1]"},
        ),
        (
            lambda W, X, Y: tg.mse_loss(X @ W, Y),
            (variable(4, 5), array(6, 4), array(6, 5)),
            "2·Xᵀ(XW − Y)/(m·k)",
            {"m": "X.shape[0]", "k": "W.shape[1]"},
        ),
        (
            lambda x, c: ((x + 1) * c).sum() + 5 * x.sum() / 2,
            (variable(5), array(5)),
            "2.5 + c",
            {},
        ),
        (lambda b, X: (X + b).sum(), (variable(4), array(6, 4)), "m", {"m": "X.shape[0]"}),
        (scaled, (variable(5, 3), array(5, 3)), "1ᵀK/√d_k", {"d_k": "Q.shape[1]"}),
        (normalised, (variable(4, 3), array(8, 4)), "2·Xᵀ(N − rowsum(N)/k)", {"k": "W.shape[1]"}),
    ],
)
def test_sizes_are_letters(function: Any, inputs: Any, formula: str, sizes: dict[str, str]) -> None:
    found = check(function, *inputs)
    assert next(iter(found.formulas.values())) == formula.replace("2.5", "5/2")
    assert {k: v for k, v in found.sizes.items() if k in formula} == sizes


def test_letters_that_are_taken_are_not_used_for_sizes() -> None:
    def loss(m: Any, n: Any, k: Any) -> Any:
        return tg.square(m @ n).mean() + k.sum()

    found = check(loss, array(6, 4), variable(4, 3), variable(2))
    assert set(found.sizes) & {"m", "n", "k", "L"} == set()


# --- batches --------------------------------------------------------------------------------------


def attention(X: Any, Wq: Any, Wk: Any, Wv: Any) -> Any:
    Q, K, V = X @ Wq, X @ Wk, X @ Wv
    A = tg.softmax(Q @ np.swapaxes(K, -1, -2) / np.sqrt(K.shape[-1]))
    H = A @ V
    return tg.square(H).sum()


def test_batched_attention_in_matrices() -> None:
    found = check(attention, array(3, 5, 4), variable(4, 2), variable(4, 2), variable(4, 2))
    lines = [str(line) for line in found.forward]
    assert lines[:3] == ["Q = X·Wq", "K = X·Wk", "V = X·Wv"]
    assert re.fullmatch(r"A = softmax\(QKᵀ/√\w\)", lines[3]) and lines[4:] == [
        "H = AV",
        "L = sum(H ⊙ H)",
    ]
    assert found.formulas["Wv"] == "2·sum(XᵀAᵀH, axis=0)"
    assert any("stacks of matrices" in note for note in found.notes)
    assert found["Q"].code == "X @ Wq" and ".mT" in found["A"].code


@pytest.mark.parametrize(
    ("function", "inputs", "formula"),
    [
        (lambda A, B: tg.square(A @ B).sum(), (variable(2, 3, 4), array(4, 5)), "2·ABBᵀ"),
        (
            lambda W, X, b: tg.square(X @ W + b).sum(),
            (variable(4, 2), array(3, 5, 4), array(2)),
            "2·sum(Xᵀ(XW + b), axis=0)",
        ),
        (
            lambda b, X, W: tg.square(X @ W + b).sum(),
            (variable(2), array(3, 5, 4), array(4, 2)),
            "2·sum(XW + b, axis=(0, 1))",
        ),
        (
            lambda Q, K: tg.softmax(Q @ K.swapaxes(-1, -2)).sum(axis=-2).sum(),
            (variable(2, 3, 4, 5), array(2, 3, 4, 5)),
            None,
        ),
        (
            lambda W, X: (tg.tanh(X @ W) * X).sum() / X.shape[0],
            (variable(4, 4), array(3, 5, 4)),
            None,
        ),
        (lambda X: np.einsum("bij,bjk->bik", X, X).sum(), (variable(2, 3, 3),), None),
        (lambda X: (X - X.mean(axis=-1, keepdims=True)).max(), (variable(2, 3, 3),), None),
    ],
)
def test_stacks(function: Any, inputs: Any, formula: str | None) -> None:
    found = check(function, *inputs)
    if formula is not None:
        assert next(iter(found.formulas.values())) == formula


def test_what_no_stack_can_say_has_indices() -> None:
    found = check(lambda A, B: np.einsum("ijk,jik->", A, B), variable(3, 3, 2), array(3, 3, 2))
    assert found.formulas["A"].startswith("[i,j,k] ")


# --- losses as on the slides ----------------------------------------------------------------------

BINARY = "−sum(Y ⊙ log({a}) + (1 − Y) ⊙ log(1 − {a}))/m"


@pytest.mark.parametrize(
    ("system", "loss"),
    [
        ("S1", BINARY.format(a="A") + " + l2·sum(W ⊙ W)/(2·m)"),
        ("S2", BINARY.format(a="A2") + " + l2·sum(W1 ⊙ W1)/(2·m) + l2·sum(W2 ⊙ W2)/(2·m)"),
        ("S5", "−sum(Y ⊙ log(A2))/m"),
    ],
)
def test_losses_of_the_chapter(system: str, loss: str) -> None:
    assert derivation(system)["L"].text == loss


@pytest.mark.parametrize(
    ("function", "loss"),
    [
        (lambda Z, Y: tg.cross_entropy(Z, Y, reduction="sum"), "−sum(Y ⊙ log(A))"),
        (tg.mse_loss, "sum((Z − Y)²)/(n·k)"),
        (
            lambda Z, Y: tg.binary_cross_entropy(tg.sigmoid(Z), Y, reduction="none").sum(),
            "−sum(Y ⊙ log(sigmoid(Z)) + (1 − Y) ⊙ log(1 − sigmoid(Z)))",
        ),
        (lambda Z, Y: (tg.mse_loss(Z, Y, reduction="none") * 2).sum(), "2·sum((Z − Y)²)"),
    ],
)
def test_losses_are_sums(function: Any, loss: str) -> None:
    def of_logits(Z: Any, Y: Any) -> Any:
        return function(Z, Y)

    assert check(of_logits, variable(6, 3), np.eye(3)[LABELS[:6]])["L"].text == loss


def test_a_loss_that_is_rounded_keeps_its_name() -> None:
    found = check(tg.binary_cross_entropy_with_logits, variable(8) * 0 + 0, np.ones(8), wrt="z")
    assert "log(" in found["L"].text
    z = tg.Tensor(np.full(8, 800.0), requires_grad=True)
    found = check(lambda z, t: tg.binary_cross_entropy_with_logits(z, t), z, np.zeros(8))
    assert found["L"].text == "binary_cross_entropy_with_logits(z, t)"


def test_the_slides_formula_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    op = tg.losses.mse_loss.op
    wrong = (lambda a, t, index: a, *losses._SLIDES[op][1:])
    monkeypatch.setitem(losses._SLIDES, op, wrong)
    found = tg.explain(lambda a, t: tg.mse_loss(a, t), variable(4), array(4))
    assert found["L"].text == "mse_loss(a, t)"
    assert any("report this" in note for note in found.notes)


# --- names, order, what cannot fail ---------------------------------------------------------------


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(4, 4, rng=k) for k in range(3))

    def forward(self, x: Any) -> Any:
        q = self.query(x)
        k = self.key(x)
        v = self.value(x)
        weights = tg.softmax(q @ k.T / np.sqrt(q.shape[-1]))
        o = weights @ v
        return o


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4, rng=0), nn.Linear(4, 4, rng=1)

    def forward(self, x: Any) -> Any:
        h = tg.relu(self.first(x))
        out = x + self.second(h)
        return out


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (Attention(), ["q", "k", "v", "weights", "o", "L"]),
        (Residual(), ["Z1", "h", "Z2", "out", "L"]),
        (
            nn.Sequential(nn.Linear(4, 4, rng=0), nn.Tanh(), nn.Linear(4, 4, rng=1)),
            ["Z1", "A1", "Z2", "L"],
        ),
        (nn.Sequential(Residual(), nn.Linear(4, 4, rng=2)), None),
    ],
)
def test_names_of_a_modules_own_forward(model: nn.Module, names: list[str] | None) -> None:
    found = tg.explain(model, lambda Z, Y: tg.square(Z - Y).sum(), array(5, 4), array(5, 4))
    if names is not None:
        assert [line.name for line in found.forward] == names
    assert not any("report this" in note for note in found.notes)


def test_no_line_uses_a_name_before_it_is_said() -> None:
    def loss(x: Any, W: Any, y: Any) -> Any:
        o = tg.cross_entropy(x @ W, y, reduction="none")
        return (o * o).sum()

    found = check(loss, array(6, 4), variable(4, 3), LABELS[:6])
    order = [line.name for line in found.forward]
    assert order.index("A") < order.index("o") and order.index("Y") < order.index("o")


@pytest.mark.parametrize("function", [picked, hinge, attention, attention_of_seen])
def test_an_operation_after_the_other(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no short form has the right value, every operation gets a line of its own."""

    def never(*_: Any) -> Any:
        raise author.WrongFormula("planted")

    inputs: dict[Any, tuple[Any, ...]] = {
        attention: (array(3, 5, 4), variable(4, 2), variable(4, 2), variable(4, 2)),
        picked: (variable(4, 3), array(8, 4), LABELS),
        hinge: (variable(4, 3), array(8, 4), LABELS),
    }
    given = inputs.get(function, (variable(5, 3), variable(5, 3), variable(5, 3)))
    monkeypatch.setattr(author.Author, "_written", never)
    found = tg.explain(function, *given)
    parameters = [x for x in given if isinstance(x, tg.Tensor)]
    for x, line in zip(parameters, found.gradients.values(), strict=True):
        np.testing.assert_allclose(line.value, tg.grad(function(*given), x), rtol=1e-9)
    assert any("operation by operation" in note for note in found.notes)
    assert len(found.forward) + len(found.errors) > 5 and str(found.steps)


def test_a_function_that_takes_arrays_only() -> None:
    def loss(W: Any, X: Any) -> Any:
        if not isinstance(X, np.ndarray):
            raise OSError("arrays only")
        return (X @ W).sum() * float(np.percentile(X, 50))

    assert "rowsum(Xᵀ)" in check(loss, variable(4, 3), array(8, 4)).formulas["W"]
    with pytest.raises(OSError, match="always"):
        tg.explain(lambda W: exec("raise OSError('always')"), variable(3))


def test_a_function_that_differs_from_call_to_call() -> None:
    random = np.random.default_rng(3)
    W, X = variable(4, 3), array(8, 4)
    found = tg.explain(lambda W, X: (X @ W).sum() * random.random(), W, X)
    assert "·rowsum(Xᵀ)" in found.formulas["W"]


# --- pickle, Korean -------------------------------------------------------------------------------


@pytest.mark.parametrize("system", ["S1", "S5"])
@pytest.mark.parametrize("copied", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy])
def test_an_explanation_can_be_pickled(system: str, copied: Any) -> None:
    found = derivation(system)
    again = copied(found)
    assert str(again) == str(found) and again.latex == found.latex
    assert str(again.steps) == str(found.steps) and again.steps.latex == found.steps.latex
    for part in (found["W" if system == "S1" else "W1"], found.steps[0], found.steps):
        assert str(copied(part)) == str(part)


def test_korean_is_formal_and_complete() -> None:
    for key, (english, korean) in SENTENCES.items():
        assert set(re.findall(r"{(\w+)", english)) == set(re.findall(r"{(\w+)", korean)), key
        for sentence in korean.split(". "):
            assert not re.search(r"(해요|세요|하라|한다|된다|이다)$", sentence.rstrip(".")), key
    assert LANGUAGES == ("en", "ko")


def test_notes_steps_and_errors_in_korean(capsys: pytest.CaptureFixture[str]) -> None:
    found = derivation("S1", "ko")
    assert found.notes == ["m = 364: 샘플의 수입니다"] and "두 식의 곱은" in str(found.steps)
    with pytest.raises(KeyError, match="그레이디언트나 줄이 없습니다"):
        found["Q"]
    refused: list[tuple[Callable[[], Any], str]] = [
        (lambda: tg.explain(3, lang="ko"), "함수, 모델 또는 손실이 필요합니다"),
        (lambda: tg.explain(lambda x: x * 2, variable(3), lang="ko"), "반환하는 함수가 필요합니다"),
        (lambda: tg.explain(lambda x: x.sum(), variable(3), wrt="z", lang="ko"), "없습니다"),
        (lambda: tg.explain(variable(3) * 2, lang="ko"), "숫자 하나여야 합니다"),
        (lambda: tg.explain(lambda x: x.sum(), variable(3), lang="de"), "one of en, ko"),
    ]
    for call, message in refused:
        with pytest.raises((ValueError, TypeError), match=message):
            call()
    assert command.main(["explain", "--lang", "ko"]) == 0
    printed = capsys.readouterr().out
    assert "단계별 유도" in printed and "step by step" not in printed
    assert "the number of samples" not in printed
    with pytest.raises(SystemExit):
        command.main(["single", "--lang", "ko"])


def test_sentences_name_what_they_are_about() -> None:
    assert say("axis", "ko", letter="d", n=4, name="X", axis=2) == (
        "d = 4: X 배열에서 축 2의 길이입니다"
    )
    assert wording.Refused.__mro__[1] is ValueError
