"""verify: right derivations are accepted however they are written, wrong ones are not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.mistakes import LAYERS, SYSTEMS, System, dual, multi, relu_mse, single, tanh_mse
from tinygrad_edu.verifying import wording
from tinygrad_edu.verifying.problems import CannotCheck
from tinygrad_edu.verifying.verification import verify

BY_NAME = {system.name: system for system in SYSTEMS}
E = "(A2 - Y)"
H = "((A2 - Y) @ W2.T * A1 * (1 - A1))"

# (system, of what, the gradient in an unusual spelling)
UNUSUAL = [
    ("multi", "W2", f"np.einsum('mh,mk->hk', A1, {E}) / m"),
    ("multi", "W2", f"np.einsum('mh,mk', A1, {E}) / len(X)"),
    ("multi", "W2", f"({E}.T @ A1).T / m"),
    ("multi", "W2", f"sum(np.outer(a, e) for a, e in zip(A1, {E})) / m"),
    ("multi", "W2", f"sum([np.outer(A1[i], {E}[i]) for i in range(m)]) / m"),
    ("multi", "W2", f"np.mean([np.outer(A1[i], {E}[i]) for i in range(len(Y))], axis=0)"),
    ("multi", "W2", f"np.mean(A1[:, :, None] * {E}[:, None, :], axis=0)"),
    ("multi", "W2", f"np.stack([A1.T @ {E}[:, j] for j in range(k)], axis=1) / m"),
    ("multi", "W2", f"np.array([[A1[:, i] @ {E}[:, j] / m for j in range(k)] for i in range(h)])"),
    ("multi", "W2", "(A1.T @ A2 - A1.T @ Y) / m"),
    ("multi", "W2", "A1.T @ A2 / m - A1.T @ Y / m"),
    ("multi", "W2", "-A1.T @ (Y - A2) / m"),
    ("multi", "W2", f"np.dot(A1.T, {E} / m)"),
    ("multi", "W2", f"A1.T.dot({E}) * (1 / m)"),
    ("multi", "W2", f"np.matmul(np.transpose(A1), {E}) / X.shape[0]"),
    ("multi", "W2", f"np.tensordot(A1, {E}, axes=([0], [0])) / m"),
    ("multi", "W2", "A1ᵀ(A2 − Y)/m"),
    ("multi", "W2", "(A1ᵀA2 − A1ᵀY)/m"),
    ("multi", "W2", "−A₁ᵀ(Y − A₂)/m"),
    ("multi", "b2", f"{E}.mean(axis=0)"),
    ("multi", "b2", f"np.mean({E}, axis=0)"),
    ("multi", "b2", f"np.ones(m) @ {E} / m"),
    ("multi", "b2", f"np.ones((1, m)) @ {E} / m"),
    ("multi", "b2", f"np.sum({E}, axis=0, keepdims=True) / m"),
    ("multi", "b2", f"sum({E}) / m"),
    ("multi", "b2", f"np.einsum('mk->k', {E}) / m"),
    ("multi", "b2", f"np.array([{E}[:, j].sum() for j in range(k)]) / m"),
    ("multi", "b2", "A2.mean(0) - Y.mean(0)"),
    ("multi", "b2", "1ᵀ(A2 − Y)/m"),
    ("multi", "Z2", f"{E} / m"),
    ("multi", "Z2", "(np.exp(Z2) / np.exp(Z2).sum(axis=1, keepdims=True) - Y) / m"),
    ("multi", "Z2", "(A2 * np.sum(Y, axis=1, keepdims=True) - Y) / m"),
    ("multi", "Z2", "(rowsum(Y) ⊙ A2 − Y)/m"),
    ("multi", "Z2", "-(Y - softmax(Z2)) / m"),
    ("multi", "A2", "-Y / A2 / m"),
    (
        "multi",
        "Z2",
        "np.stack([(np.diag(a) - np.outer(a, a)) @ (-y / a) for a, y in zip(A2, Y)]) / m",
    ),
    ("multi", "A1", f"{E} @ W2.T / m"),
    ("multi", "A1", "np.einsum('mk,hk->mh', A2 - Y, W2) / m"),
    ("multi", "Z1", f"{H} / m"),
    ("multi", "Z1", f"{E} @ W2.T * (A1 - A1**2) / m"),
    ("multi", "Z1", f"{E} @ W2.T * np.exp(-Z1) / (1 + np.exp(-Z1))**2 / m"),
    ("multi", "Z1", f"{E} @ W2.T * sigmoid(Z1) * sigmoid(-Z1) / m"),
    ("multi", "W1", f"X.T @ {H} / m"),
    ("multi", "W1", f"({H}.T @ X).T / m"),
    ("multi", "W1", "np.einsum('mi,mk,hk,mh,mh->ih', X, A2 - Y, W2, A1, 1 - A1) / m"),
    ("multi", "W1", f"sum(np.outer(X[i], {H}[i]) for i in range(m)) / m"),
    ("multi", "W1", f"sum(np.outer(x, (W2 @ e) * a * (1 - a)) for x, a, e in zip(X, A1, {E})) / m"),
    ("multi", "W1", f"X.T @ ({E} @ W2.T * A1) / m - X.T @ ({E} @ W2.T * A1 * A1) / m"),
    ("multi", "W1", "Xᵀ((A2 − Y)W2ᵀ ⊙ A1 ⊙ (1 − A1))/m"),
    ("multi", "W1", "Xᵀ((1 − A1) ⊙ A1 ⊙ (A2W2ᵀ − YW2ᵀ))/m"),
    ("multi", "b1", f"{H}.sum(0) / m"),
    ("multi", "b1", f"np.diag(np.ones((h, m)) @ {H}) / m"),
    ("multi", "b1", "1ᵀ((A2 − Y)W2ᵀ ⊙ A1 ⊙ (1 − A1))/m"),
    ("dual", "W2", "(A1.T @ (A2 - Y) + l2 * W2) / m"),
    ("dual", "W2", "A1.T @ (-(Y / A2 - (1 - Y) / (1 - A2)) * A2 * (1 - A2)) / m + l2 / m * W2"),
    ("dual", "W1", f"(X.T @ {H} + l2 * W1) / m"),
    ("dual", "W1", f"1 / m * (np.dot(X.T, {H}) + W1 * l2)"),
    ("dual", "b2", "np.sum(-Y * (1 - A2) + (1 - Y) * A2, axis=0) / m"),
    ("single", "W", "(X.T @ (A - Y) + l1 * np.sign(W) + l2 * W) / m"),
    ("single", "W", "(X.T @ (A - Y) + l1 * np.where(W > 0, 1, -1) + l2 * W) / m"),
    ("single", "W", "(Xᵀ(A − Y) + l1·sign(W) + l2·W)/m"),
    ("single", "W", "(X.T @ (A - Y) + l1 * W / np.abs(W) + l2 * W) / m"),
    ("single", "b", "(np.sum(A, axis=0) - np.sum(Y, axis=0)) / m"),
    ("tanh", "W2", "2·A1ᵀ(A2 − Y)/m"),
    ("tanh", "W2", "A1.T @ ((A2 - Y) + (A2 - Y)) / m"),
    ("tanh", "W1", "2 / m * X.T @ (((A2 - Y) @ W2.T) * (1 - np.tanh(X @ W1 + b1)**2))"),
    ("tanh", "W1", "2·Xᵀ((A2 − Y)W2ᵀ ⊙ (1 − A1²))/m"),
    ("tanh", "W1", "2 * X.T @ ((A2 - Y) @ W2.T * (1 - A1) * (1 + A1)) / m"),
    ("relu", "W1", "X.T @ np.where(Z1 > 0, (A2 - Y) @ W2.T, 0) / m"),
    ("relu", "W1", "Xᵀ((A2 − Y)W2ᵀ ⊙ [Z1 > 0])/m"),
    ("relu", "W1", "X.T @ ((A2 - Y) @ W2.T * np.sign(A1)) / m"),
    ("relu", "b1", "np.sum((A2 - Y) @ W2.T * (A1 > 0), axis=0) / m"),
    ("relu", "b1", "((A2 - Y) @ W2.T * np.heaviside(Z1, 0)).mean(axis=0)"),
]


def test_there_are_many_of_them() -> None:
    assert len(set(UNUSUAL)) == len(UNUSUAL) >= 60


@pytest.mark.parametrize(("name", "target", "text"), UNUSUAL)
def test_a_right_derivation_is_accepted_however_it_is_written(
    name: str, target: str, text: str
) -> None:
    system = BY_NAME[name]
    report = verify(system.forward, {target: text}, inputs=system.inputs)
    assert report[target].status == "right", report.text()


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_the_right_gradients_are_right(system: System) -> None:
    report = verify(system.forward, system.right, inputs=system.inputs)
    assert report.right, report.text()
    assert report.first_wrong is None
    report.raise_if_wrong()


# --- what is said -----------------------------------------------------------------------------

RIGHT = BY_NAME["multi"].right
INPUTS = BY_NAME["multi"].inputs


def check(claims: Any, **settings: Any) -> Any:
    return verify(multi, claims, inputs=INPUTS, **settings)


def test_mistakes_are_told_from_the_loss_inwards() -> None:
    report = check(dict(reversed(RIGHT.items())))
    assert [v.name for v in report.verdicts] == ["Z2", "b2", "W2", "b1", "W1"]
    report = check({**RIGHT, "W1": "X.T @ A1", "b2": "np.sum(A2 - Y) / m"}, repair=False)
    assert report.first_wrong is report["b2"]
    assert "the first mistake is in ∂L/∂b2" in report.text()


@pytest.mark.parametrize(
    ("name", "text", "condition"),
    [
        ("multi", "A1.T @ (A2 - Y)", "m = 1"),
        ("dual", "A1.T @ (A2 - Y) / m + l2 * W2 / k / m", "k = 1"),
        ("dual", "(A1.T @ np.sum(A2 - Y, axis=1, keepdims=True) + l2 * W2) / m", "k = 1"),
        ("tanh", "2 * np.sum(A1, axis=0)[:, None] @ (A2 - Y)[:1] / m", "m = 1"),
    ],
)
def test_a_claim_right_for_special_sizes_is_reported_as_that(
    name: str, text: str, condition: str
) -> None:
    system = BY_NAME[name]
    verdict = verify(system.forward, {"W2": text}, inputs=system.inputs, repair=False)["W2"]
    assert verdict.status == "special"
    assert condition in verdict.conditions
    assert any(condition in remark for remark in verdict.remarks)


def test_a_transpose_that_shows_only_where_a_matrix_is_not_square() -> None:
    def forward(x: Any, A: Any) -> Any:
        return 0.5 * (x @ A @ x)

    report = verify(
        forward,
        {"x": "0.5 * (A @ x + A.T @ x)", "A": "0.5 * np.outer(x, x)"},
        inputs={"x": "n", "A": "n n"},
    )
    assert report.right
    assert not verify(forward, {"x": "A @ x"}, inputs={"x": "n", "A": "n n"}).right


def test_the_counterexample_is_small_round_and_one() -> None:
    verdict = check({"b2": "np.sum(A2 - Y) / m"})["b2"]
    example = verdict.counterexample
    assert example is not None
    assert example.sizes == {"m": 1, "n": 1, "h": 1, "k": 2}
    for x in example.inputs.values():
        assert (x == np.round(x)).all()
        assert np.abs(x).max() <= 2
    variables = {k: tg.Tensor(x, requires_grad=True) for k, x in example.inputs.items()}
    true = tg.grad(multi(**variables), variables["b2"])
    np.testing.assert_allclose(example.true, true)
    assert not np.allclose(example.claimed, true)


def test_what_the_targets_must_be_is_said() -> None:
    inputs = {**LAYERS, "Y": "m k"}
    assert any("one-hot" in note for note in verify(multi, RIGHT, inputs=inputs).notes)
    exact = {"Z2": "(A2 * np.sum(Y, axis=1, keepdims=True) - Y) / m"}
    assert not any("one-hot" in note for note in verify(multi, exact, inputs=inputs).notes)


# --- functions and arrays ---------------------------------------------------------------------


def chapter_sigmoid(z: Any) -> Any:
    z = np.clip(z, -100, None)
    a = 1 / (1 + np.exp(-z))
    return a


def chapter_softmax(z: Any) -> Any:
    z = np.clip(z, -100, None)
    exp_z = np.exp(z)
    return exp_z / np.sum(exp_z, axis=1).reshape(-1, 1)


def chapter(x: Any, y: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    z1 = np.dot(x, w1) + b1
    a1 = chapter_sigmoid(z1)
    z2 = np.dot(a1, w2) + b2
    a = chapter_softmax(z2)
    err = a - y  # noqa: F841 (a name for backprop)
    return np.sum(-y * np.log(a)) / len(x)


class MultiClassNetwork:
    """The chapter's code, as it stands."""

    a1: Any
    w2: Any

    def backprop(self, x: Any, err: Any) -> Any:
        m = len(x)
        w2_grad = np.dot(self.a1.T, err) / m
        b2_grad = np.sum(err) / m
        err_to_hidden = np.dot(err, self.w2.T) * self.a1 * (1 - self.a1)
        w1_grad = np.dot(x.T, err_to_hidden) / m
        b1_grad = np.sum(err_to_hidden, axis=0) / m
        return w1_grad, b1_grad, w2_grad, b2_grad


CHAPTER = {"x": "m n", "y": "m k", "w1": "n h", "b1": "h", "w2": "h k", "b2": "k"}


def test_the_chapters_slip_is_found_out() -> None:
    report = verify(chapter, MultiClassNetwork.backprop, inputs=CHAPTER)
    assert [v.name for v in report.verdicts if not v.right] == ["b2"]
    verdict = report["b2"]
    assert verdict.kinds == ("axis-missing",)
    assert verdict.before == "b2_grad = np.sum(err) / m"
    assert verdict.after == "b2_grad = np.sum(err, axis=0) / m"
    assert verdict.status == "wrong"
    assert verdict.conditions == []  # behind a softmax of one class any claim is right
    text = report.text()
    assert "it adds up the k columns (the classes) too" in text
    assert "only where" not in text
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    assert verdict.line is not None
    assert lines[verdict.line - 1].strip() == "b2_grad = np.sum(err) / m"


def test_a_mistake_in_a_shared_line_is_one_mistake() -> None:
    def backprop(x: Any, err: Any, a1: Any, w2: Any) -> Any:
        m = len(x)
        hidden = np.dot(err, w2.T) * a1
        w1_grad = np.dot(x.T, hidden) / m
        b1_grad = np.sum(hidden, axis=0) / m
        return {"w1": w1_grad, "b1": b1_grad}

    report = verify(chapter, backprop, inputs=CHAPTER)
    assert (
        report["w1"].after == report["b1"].after == ("hidden = np.dot(err, w2.T) * a1 * (1 - a1)")
    )
    assert "the same mistake as in ∂L/∂b1" in report.text()


def test_a_function_that_is_no_list_of_lines_is_run_all_the_same() -> None:
    def backprop(X: Any, A1: Any, A2: Any, Y: Any) -> Any:
        total: Any = 0.0
        for a, e in zip(A1, A2 - Y, strict=True):
            total = total + np.outer(a, e)
        return {"W2": total}

    verdict = check(backprop)["W2"]
    assert verdict.kinds == ("divisor-missing",)
    assert verdict.after == '"W2": total / len(X)'  # it has no variable m
    verdict = check(backprop, repair=False)["W2"]
    assert verdict.reason == "the claim is m times the gradient"


def test_a_function_for_one_name_and_names_that_are_given() -> None:
    assert check({"W2": lambda A1, err, m: A1.T @ err / m}, given={"err": "A2 - Y"}).right
    with pytest.raises(CannotCheck, match="takes err, which forward knows nothing of"):
        check({"W2": lambda A1, err, m: A1.T @ err / m})


def test_a_function_that_fails_is_wrong_and_cannot_spoil_the_problems() -> None:
    def spoil(X: Any, A1: Any, A2: Any, Y: Any, m: Any) -> Any:
        grad = A1.T @ (A2 - Y) / m
        A1[:] = 0
        return grad

    assert check({"W2": spoil, "b2": RIGHT["b2"], "W1": RIGHT["W1"]}).right


def test_arrays_are_held_against_the_example() -> None:
    rng = np.random.default_rng(0)
    inputs = {
        "X": rng.normal(size=(5, 3)),
        "Y": np.eye(4)[[0, 1, 2, 3, 0]],
        "W1": rng.normal(size=(3, 2)),
        "b1": rng.normal(size=2),
        "W2": rng.normal(size=(2, 4)),
        "b2": rng.normal(size=4),
    }
    variables = {k: tg.Tensor(x, requires_grad=True) for k, x in inputs.items()}
    loss = multi(**variables)
    right = {k: tg.grad(loss, variables[k]) for k in ("W1", "b1", "W2", "b2")}
    assert verify(multi, right, inputs=inputs).right
    assert verify(multi, RIGHT, inputs=inputs).right  # sizes and one-hot rows are read off
    wrong = {"W1": -right["W1"], "W2": right["W2"].T, "b1": right["b1"] * 5, "b2": right["b2"] + 1}
    report = verify(multi, wrong, inputs=inputs)
    assert [report[k].kinds for k in wrong] == [
        ("sign",),
        ("transposed",),
        ("factor",),
        ("differs",),
    ]
    assert report["b1"].reason == "the claim is m times the gradient"


# --- functions that are no list of lines --------------------------------------------------------


def sample_by_sample(X: Any, A1: Any, A2: Any, Y: Any, m: Any) -> Any:
    G = np.zeros((A1.shape[1], Y.shape[1]))
    for i in range(m):
        for j in range(G.shape[0]):
            G[j] += A1[i, j] * (A2[i] - Y[i]) / m
    return {"W2": G}


class Loops:
    """A method that adds up outer products, one for each sample."""

    def backprop(self: Any, x: Any, err: Any) -> Any:
        m = len(x)
        w2 = np.zeros_like(self.w2)
        b2 = []
        for i in range(m):
            w2 += np.outer(self.z1[i], err[i])
        for column in err.T:
            b2.append(column.sum())
        return w2 / m, np.array(b2)


def wrong_way(X: Any, A1: Any, A2: Any, Y: Any, m: Any) -> Any:
    G = np.zeros((A1.shape[1], Y.shape[1]))
    for i in range(m):
        for j in range(G.shape[0]):
            G[j] += A1[i, j] * (Y[i] - A2[i]) / m
    return {"W2": G}


def own_network(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    A1 = np.tanh(X @ W1 + b1)
    rows = []
    for z in A1 @ W2 + b2:
        rows.append(np.exp(z) / np.exp(z).sum())
    E = np.array(rows) - Y
    return {"W2": A1.T @ E / len(X)}


def endless_when_changed(X: Any, A1: Any, A2: Any, Y: Any, m: Any) -> Any:
    i, G = 0, np.zeros((1, 1))
    while i < m:
        G = G + np.outer(A1[i], A2[i] - Y[i])
        i = i + 1
    return {"W2": G}


@pytest.mark.parametrize(
    ("forward", "claim", "wrt", "name", "before", "after"),
    [
        (
            multi,
            wrong_way,
            None,
            "W2",
            "G[j] += A1[i, j] * (Y[i] - A2[i]) / m",
            "G[j] += A1[i, j] * (A2[i] - Y[i]) / m",
        ),
        (
            chapter,
            Loops.backprop,
            ["w2", "b2"],
            "w2",
            "w2 += np.outer(self.z1[i], err[i])",
            "w2 += np.outer(self.a1[i], err[i])",
        ),
        (
            chapter,
            Loops.backprop,
            ["w2", "b2"],
            "b2",
            "….append(column.sum())",
            "….append(column.sum() / m)",
        ),
        (
            multi,
            own_network,
            None,
            "W2",
            "A1 = np.tanh(X @ W1 + b1)",
            "A1 = tg.sigmoid(X @ W1 + b1)",
        ),
        (multi, endless_when_changed, None, "W2", '"W2": G', '"W2": G / m'),
    ],
)
def test_an_expression_of_a_function_with_loops_is_repaired(
    forward: Any, claim: Any, wrt: Any, name: str, before: str, after: str
) -> None:
    inputs = CHAPTER if forward is chapter else INPUTS
    verdict = verify(forward, claim, inputs=inputs, wrt=wrt)[name]
    assert (verdict.before, verdict.after) == (before, after)
    assert verdict.line is not None
    line = Path(__file__).read_text(encoding="utf-8").splitlines()[verdict.line - 1]
    assert before.removeprefix("return ").removeprefix("….") in line


def test_changed_functions_that_never_end_are_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    def backprop(X: Any, A1: Any, A2: Any, Y: Any, m: Any) -> Any:
        i, G = 0, np.zeros((1, 1))
        while i < m:  # with the 1 below as a 0 it never ends
            print("sample", i)
            G = G + np.outer(A1[i], (A2[i] - Y[i]) ** 5)
            i = i + 1
        return {"W2": G}

    verdict = verify(multi, backprop, inputs=INPUTS)["W2"]
    assert verdict.kinds == ("power", "divisor-missing")
    assert "sample" not in capsys.readouterr().out


def test_a_function_with_loops_that_is_right() -> None:
    assert verify(multi, sample_by_sample, inputs=INPUTS).right


def test_where_a_function_begins_to_differ() -> None:
    def backprop(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
        Z1 = X @ W1 + b1
        for _ in range(2):
            A1 = np.exp(Z1) ** 3 - W1.sum()
        E = A1 @ W2 + b2 - Y
        return {"W2": A1.T @ E * len(X)}

    verdict = verify(multi, backprop, inputs=INPUTS)["W2"]
    assert not verdict.after
    assert any("function's A1 is not what forward has" in remark for remark in verdict.remarks)
    assert not any("function's Z1" in remark for remark in verdict.remarks)


def test_a_function_whose_shapes_do_not_fit_is_repaired() -> None:
    def backprop(x: Any, err: Any, a1: Any, w2: Any) -> Any:
        hidden = np.dot(err, w2) * a1 * (1 - a1)
        return {"w1": np.dot(x.T, hidden) / len(x)}

    verdict = verify(chapter, backprop, inputs=CHAPTER)["w1"]
    assert verdict.after == "hidden = np.dot(err, w2.T) * a1 * (1 - a1)"


# --- sizes that only happen to agree ------------------------------------------------------------


def test_equal_sizes_of_example_arrays_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    X, W1, W2 = rng.normal(size=(3, 4, 4))
    b1, b2 = rng.normal(size=(2, 4))
    inputs = {"X": X, "Y": np.eye(4), "W1": W1, "b1": b1, "W2": W2, "b2": b2}
    report = verify(multi, RIGHT, inputs=inputs)
    assert report.right
    assert any("X (m, k)" in note for note in report.notes)
    assert not verify(multi, {"W2": "A1 @ (A2 - Y) / m"}, inputs=inputs).right
    verdict = verify(multi, {"b2": "np.sum((A2 - Y).T, axis=1) / k"}, inputs=inputs)["b2"]
    assert verdict.status == "special"
    assert "m = k" in verdict.conditions


def test_equal_sizes_that_cannot_be_told_apart_are_reported() -> None:
    def forward(a: Any, b: Any, c: Any) -> Any:
        return np.einsum("i,i,i->", a, b, c)

    arrays = {name: np.ones(3) for name in "abc"}
    report = verify(forward, {"a": "b * c"}, inputs=arrays)
    assert report.right
    assert any("the axes m of the example arrays are equally long" in n for n in report.notes)


def test_the_slides_sum_is_of_all_entries() -> None:
    def forward(x: Any, A: Any) -> Any:
        return (A * A).sum() * x

    assert verify(forward, {"x": "sum(A * A)"}, inputs={"x": "", "A": "m n"}).right
    assert not verify(forward, {"x": "sum(A)"}, inputs={"x": "", "A": "m n"}).right


def test_rightness_where_the_gradient_is_nothing_says_nothing() -> None:
    verdict = check({"W2": "A1.T @ (Y - A2) / m"})["W2"]  # one class: softmax is 1, the error 0
    assert verdict.status == "wrong"
    assert verdict.conditions == []


# --- the report -------------------------------------------------------------------------------


def test_the_forms_of_a_report() -> None:
    report = check({**RIGHT, "W2": "A1.T @ (A2 - Y)"})
    assert "\x1b[" not in report.text() and "\x1b[31m" in report.text(colour=True)
    assert "\x1b[" not in str(report)  # no terminal
    found = json.loads(report.json())
    assert found["right"] is False
    claim = next(c for c in found["claims"] if c["name"] == "W2")
    assert claim["after"] == "A1.T @ (A2 - Y) / m"
    assert claim["kinds"] == ["divisor-missing"]
    assert "| W2 | WRONG except in special cases |" in report.markdown()
    assert "A1.T @ (A2 - Y) / m" in report._repr_html_()
    with pytest.raises(AssertionError, match="a division by m is missing"):
        report.raise_if_wrong()
    with pytest.raises(AssertionError):
        tg.assert_right(multi, {"W2": "A1.T @ (A2 - Y)"}, inputs=INPUTS)
    with pytest.raises(KeyError, match="there are claims about"):
        report["Q"]


def test_markup_in_a_claim_is_only_text_in_a_notebook() -> None:
    report = check({"W2": "A1 < Y", "b2": "'<script>'"}, repair=False)
    assert "<script>" not in report._repr_html_()


def test_korean() -> None:
    report = check({**RIGHT, "b2": "np.sum(A2 - Y) / m", "W2": "A1 @ (A2 - Y)"}, lang="ko")
    text = report.text()
    assert "식 5개 중 2개가 틀렸습니다" in text
    assert "모든 원소를 더했습니다" in text
    assert "원소" in report["b2"].reason
    with pytest.raises(ValueError, match="lang must be one of en, ko"):
        check(RIGHT, lang="de")


def test_every_sentence_is_there_in_both_languages() -> None:
    for english, korean in [*wording.EDITS.values(), *wording.SENTENCES.values()]:
        assert english and korean
        assert any("가" <= c <= "힣" for c in korean) or "{" in korean


# --- what cannot be checked -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forward", "claims", "inputs", "message"),
    [
        (multi, {"Q": "X"}, INPUTS, "a claim about 'Q'"),
        (multi, {}, INPUTS, "no claim"),
        (multi, RIGHT, {"X": "m n"}, "nothing is said of the shape of Y, W1, b1, W2, b2"),
        (multi, RIGHT, {**INPUTS, "W1": "k k"}, "inner sizes"),
        (lambda X: X, {"X": "X"}, {"X": "m n"}, "must return the loss"),
        (lambda X: None, {"X": "X"}, {"X": "m n"}, "returned nothing"),
        (lambda X: 1 / 0, {"X": "X"}, {"X": "m n"}, "forward fails: ZeroDivisionError"),
        (lambda X: np.log(-X * X).sum(), {"X": "X"}, {"X": "m n"}, "not finite"),
        (multi, RIGHT, {**INPUTS, "X": "m !"}, "expected letters"),
    ],
)
def test_what_cannot_be_checked_says_why(
    forward: Any, claims: Any, inputs: Any, message: str
) -> None:
    with pytest.raises(CannotCheck, match=message):
        verify(forward, claims, inputs=inputs)


def test_a_claim_that_cannot_be_read_says_why_and_is_not_called_wrong() -> None:
    report = check({"W2": "__import__('os')", "b2": "A2 - Q", "W1": "A1 @ (X", "b1": "X +"})
    found = {v.name: v.status for v in report.verdicts}
    assert found == {"W2": "unreadable", "b2": "error", "W1": "unreadable", "b1": "unreadable"}
    assert "__import__ is not a name that a claim may use" in report["W2"].reason
    assert report["W1"].reason == "the claim cannot be read: ')' is missing at its end"
    assert report["b1"].reason == "the claim cannot be read: something is missing at its end"
    assert "'Q' is not known" in report["b2"].reason
    assert str(report).startswith("1 of 4 claims is wrong, 3 cannot be read\n")
    assert "✗ ∂L/∂W1  CANNOT BE READ\n" in str(report)
    assert not report.right
    assert str(check({"W1": "X @"})).startswith("the claim cannot be read\n")
    assert str(check({"W1": "X @", "b1": "("})).startswith("2 of 2 claims cannot be read\n")
    assert "first mistake is in ∂L/∂b2" in str(report)  # not in one that cannot be read
    unread = check({**RIGHT, "W1": "X @"}, lang="en").text()
    assert unread.startswith("1 of 5 claims cannot be read\n") and "mistake" not in unread
    for nothing in ("", "  ", "# nothing", "\n  # later"):
        assert check({"W1": nothing})["W1"].reason == "the claim is empty"
    assert str(check({"W1": "X @"}, lang="ko")).startswith("식을 읽을 수 없습니다\n")


def test_the_profiler_that_was_there_is_there_again() -> None:
    before = sys.getprofile()
    check(RIGHT)
    assert sys.getprofile() is before


@pytest.mark.parametrize("forward", [single, dual, tanh_mse, relu_mse])
def test_forward_is_not_changed_by_being_run(forward: Any) -> None:
    system = next(s for s in SYSTEMS if s.forward is forward)
    first = verify(forward, system.right, inputs=system.inputs)
    again = verify(forward, system.right, inputs=system.inputs)
    assert first.text() == again.text()


@pytest.mark.parametrize(("claim", "right"), [("2e-11 * X.T @ E", True), ("0 * W", False)])
def test_small_gradients_are_not_taken_for_zero(claim: str, right: bool) -> None:
    def forward(X: Any, Y: Any, W: Any) -> Any:
        E = X @ W - Y
        return 1e-11 * (E * E).sum()

    inputs = {"X": "m n", "Y": "m k real", "W": "n k"}
    report = verify(forward, {"W": claim}, inputs=inputs)
    assert report.right is right
    if not right:
        assert "e-1" in str(report["W"].counterexample.true)  # type: ignore[union-attr]


def test_a_sum_in_a_text_of_python_is_pythons() -> None:
    def forward(X: Any, w: Any) -> Any:
        return (X * X * w).sum()

    for text, right in {"sum(X * X)": True, "sum(np.square(X))": False}.items():
        assert verify(forward, {"w": text}, inputs={"X": "m n", "w": ""}).right is right


@pytest.mark.parametrize(
    ("name", "claim", "after"),
    [
        ("W", "X.T @ A / m + lam * W", "X.T @ (A - Y) / m + lam * W"),
        ("W", "(X.T @ (A - Y) + lam * W) / m", "X.T @ (A - Y) / m + lam*W"),
        ("c", "A", "np.sum(A)"),
    ],
)
def test_repairs_are_those_a_teacher_would_write(name: str, claim: str, after: str) -> None:
    def forward(X: Any, Y: Any, W: Any, lam: Any) -> Any:
        A = tg.softmax(X @ W)
        return -(Y * np.log(A)).sum() / len(X) + lam / 2 * (W * W).sum()

    def scaled(A: Any, c: Any) -> Any:
        return (c * A).sum()

    inputs = {"X": "m n", "Y": "m k onehot", "W": "n k", "lam": 0.1}
    if name == "c":
        report = verify(scaled, {name: claim}, inputs={"A": "m n", "c": ""})
    else:
        report = verify(forward, {name: claim}, inputs=inputs)
    assert report[name].after.replace(" ", "") == after.replace(" ", "")


def test_the_search_for_a_repair_is_bounded_by_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_edu.verifying.proposals.WORK", 50)

    def forward(X: Any, Y: Any, W: Any) -> Any:
        E = X @ W - Y
        return (E * E).sum()

    def slope(e: Any) -> Any:
        return 3 * e

    def backprop(X: Any, E: Any) -> Any:
        return {"W": X.T @ slope(E)}

    inputs = {"X": "m n", "Y": "m k real", "W": "n k"}
    report = verify(forward, backprop, inputs=inputs)
    assert report["W"].status == "wrong" and not report["W"].after
    text = verify(forward, {"W": "X @ np.tanh(E) * 5"}, inputs=inputs)
    assert text["W"].status in ("wrong", "error", "special") and not text["W"].after
    assert "which is the bound" in text.text()
    assert (
        "그 이상은 시도하지 않았습니다"
        in verify(forward, {"W": "X @ np.tanh(E) * 5"}, inputs=inputs, lang="ko").text()
    )


class AlwaysRight(np.ndarray):
    """An array whose difference from anything is 0."""

    def __array_ufunc__(self, *_: Any, **__: Any) -> Any:
        return np.zeros(self.shape)


@pytest.mark.parametrize(
    "wrong",
    ["text", None, [[1.0], [1.0, 2.0]], np.ones((3, 4)).view(AlwaysRight), 1j, object()],
    ids=lambda wrong: type(wrong).__name__,
)
def test_what_a_function_returns_has_to_be_numbers(wrong: Any) -> None:
    def forward(X: Any, W: Any) -> Any:
        return (X @ W).sum()

    def backprop(X: Any, W: Any) -> Any:
        if isinstance(wrong, AlwaysRight):
            return {"W": np.ones(W.shape).view(AlwaysRight)}
        return {"W": wrong}

    report = verify(forward, backprop, inputs={"X": "m n", "W": "n k"})
    assert not report["W"].right and str(report)


def test_a_sum_by_its_method_is_not_pythons_sum() -> None:
    def loss(X: Any, b: Any) -> Any:
        return ((X + b) ** 2).sum()

    shapes = {"X": "m n", "b": "n"}
    for claim in ("2*(X+b).sum()", "2*np.sum(X+b)"):
        assert not tg.verify(loss, {"b": claim}, inputs=shapes).right
    for claim in ("2*(X+b).sum(axis=0)", "2*sum(X+b)"):
        assert tg.verify(loss, {"b": claim}, inputs=shapes).right
