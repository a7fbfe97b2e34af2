"""A proposal is a promise: applied to the author's text it makes the report better."""

from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.verifying.report import Report, Verdict
from tinygrad_edu.verifying.verification import verify

SIZES = {"X": "m n", "Y": "m k onehot", "W1": "n h", "b1": "h", "W2": "h k", "b2": "k"}


def tanh_network(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    A1 = np.tanh(X @ W1 + b1)
    A2 = tg.softmax(A1 @ W2 + b2)
    return -(Y * np.log(A2)).sum()


def relu_network(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any, W3: Any, b3: Any) -> Any:
    m = len(X)
    Z1 = X @ W1 + b1
    A1 = np.maximum(Z1, 0)
    Z2 = A1 @ W2 + b2
    A2 = np.maximum(Z2, 0)
    A3 = tg.softmax(A2 @ W3 + b3)
    return -(Y * np.log(A3)).sum() / m


THREE = {
    "X": "m n",
    "Y": "m k onehot",
    "W1": "n h",
    "b1": "h",
    "W2": "h p",
    "b2": "p",
    "W3": "p k",
    "b3": "k",
}


def applied(claim: Any, verdict: Verdict) -> Any:
    """The program with the proposal written into its text, as its author would do."""
    text = textwrap.dedent(inspect.getsource(claim))
    for before, after in zip(verdict.before.split("; "), verdict.after.split("; "), strict=True):
        assert before in text
        text = text.replace(before, after)
    scope: dict[str, Any] = {"np": np, "tg": tg}
    path = Path(__file__).parent / "never_written.py"
    exec(compile(text, str(path), "exec"), scope)
    changed = scope[claim.__name__]
    lines = text.splitlines(keepends=True)
    import linecache

    linecache.cache[str(path)] = (len(text), None, lines, str(path))
    return changed


def check_promises(forward: Any, claim: Any, inputs: Any, report: Report) -> int:
    """Apply every proposal: at least one claim better, none worse; return how many there are."""
    right = {v.name for v in report.verdicts if v.right}
    found = 0
    for verdict in report.verdicts:
        if verdict.after:
            found += 1
            after = verify(forward, applied(claim, verdict), inputs=inputs, repair=False)
            now = {v.name for v in after.verdicts if v.right}
            assert right < now, (verdict.before, verdict.after)
            assert verdict.name in now
    return found


# --- what is missing where a result is returned ---------------------------------------------------


def penalised(X: Any, Y: Any, W1: Any, W2: Any, lam: float) -> Any:
    m = len(X)
    A1 = np.tanh(X @ W1)
    A2 = tg.softmax(A1 @ W2)
    return -(Y * np.log(A2)).sum() / m + lam / 2 * ((W1 * W1).sum() + (W2 * W2).sum())


PENALISED = {"X": "m n", "Y": "m k onehot", "W1": "n h", "W2": "h k", "lam": 0.3}


def entries_of_a_list(X: Any, Y: Any, A1: Any, A2: Any, W1: Any, W2: Any, lam: Any, m: Any) -> Any:
    d = (A2 - Y) / m
    grads = []
    for W, a in ((W2, A1), (W1, X)):
        grads.append(a.T @ d)
        d = d @ W.T * (1 - a**2)
    return {"W2": grads[0] + lam * W2, "W1": grads[1]}


def filled_in_a_loop(X: Any, Y: Any, A1: Any, A2: Any, W1: Any, W2: Any, lam: Any, m: Any) -> Any:
    d = (A2 - Y) / m
    dW1 = np.zeros_like(W1)
    for i in range(m):
        dW1 += np.outer(X[i], d[i] @ W2.T * (1 - A1[i] ** 2))
    return {"W1": dW1, "W2": A1.T @ d + lam * W2}


def entries_of_a_dictionary(X: Any, Y: Any, A1: Any, A2: Any, W1: Any, W2: Any, lam: Any) -> Any:
    grads = {}
    d = (A2 - Y) / len(X)
    grads["W2"] = A1.T @ d + lam * W2
    grads["W1"] = X.T @ (d @ W2.T * (1 - A1**2))
    return grads


def a_name_of_its_own(X: Any, Y: Any, A1: Any, A2: Any, W1: Any, W2: Any, lam: Any) -> Any:
    d = (A2 - Y) / len(X)
    dW1 = X.T @ (d @ W2.T * (1 - A1**2))
    dW2 = A1.T @ d + lam * W2
    return {"W1": dW1, "W2": dW2}


@pytest.mark.parametrize(
    ("claim", "before"),
    [
        (entries_of_a_list, '"W1": grads[1]'),
        (filled_in_a_loop, '"W1": dW1'),
        (entries_of_a_dictionary, "grads['W1'] = X.T @ (d @ W2.T * (1 - A1**2))"),
        (a_name_of_its_own, "dW1 = X.T @ (d @ W2.T * (1 - A1**2))"),
    ],
)
def test_a_missing_term_is_added_where_it_can_be(claim: Any, before: str) -> None:
    report = verify(penalised, claim, inputs=PENALISED)
    verdict = report["W1"]
    assert [v.name for v in report.verdicts if not v.right] == ["W1"]
    assert (verdict.before, verdict.after) == (before, before + " + lam * W1")
    assert verdict.kinds == ("penalty-missing",) and verdict.line is not None
    if "'" not in before:
        assert check_promises(penalised, claim, PENALISED, report) == 1


def test_a_result_of_a_tuple_is_shown_by_itself() -> None:
    def backprop(X: Any, Y: Any, A1: Any, A2: Any, W1: Any, W2: Any, lam: Any, m: Any) -> Any:
        d = (A2 - Y) / m
        dW1 = np.zeros_like(W1)
        for i in range(m):
            dW1 += np.outer(X[i], d[i] @ W2.T * (1 - A1[i] ** 2))
        return dW1, A1.T @ d + lam * W2

    verdict = verify(penalised, backprop, inputs=PENALISED, wrt=["W1", "W2"])["W1"]
    assert (verdict.before, verdict.after) == ("dW1", "dW1 + lam * W1")


def test_a_number_behind_a_minus_sign_is_replaced_with_it() -> None:
    def forward(w: Any) -> Any:
        a = w * np.array([2.0, 1.0, 1.0])
        return (a * a).sum() / 2

    verdict = verify(forward, {"w": "w * np.array([4, 1, -7])"}, inputs={"w": "3"})["w"]
    assert verdict.after == "w * np.array([4, 1, 1])"


# --- lines that several gradients share -----------------------------------------------------------


def test_the_sign_of_one_layer_is_not_mended_in_another() -> None:
    def backprop(X: Any, Y: Any, A1: Any, A2: Any, W2: Any) -> Any:
        dZ2 = A2 - Y
        back = dZ2 @ W2.T
        dZ1 = -back * (1 - A1**2)
        return {
            "W2": A1.T @ dZ2,
            "b2": dZ2.sum(axis=0),
            "W1": X.T @ dZ1,
            "b1": dZ1.sum(axis=0),
        }

    report = verify(tanh_network, backprop, inputs=SIZES)
    assert [v.name for v in report.verdicts if v.right] == ["b2", "W2"]
    for name in ("W1", "b1"):
        assert report[name].after == "dZ1 = back * (1 - A1**2)"
    assert check_promises(tanh_network, backprop, SIZES, report) == 2


def test_a_product_that_is_forgotten_in_a_network_of_three_layers() -> None:
    def backprop(
        X: Any, Y: Any, Z1: Any, A1: Any, Z2: Any, A2: Any, A3: Any, W2: Any, W3: Any
    ) -> Any:
        m = len(X)
        dZ3 = (A3 - Y) / m
        dZ2 = dZ3 @ W3.T * (Z2 > 0)
        dZ1 = dZ2 * (Z1 > 0)
        return {"W3": A2.T @ dZ3, "W2": A1.T @ dZ2, "b2": dZ2.sum(axis=0), "W1": X.T @ dZ1}

    report = verify(relu_network, backprop, inputs=THREE)
    assert [v.name for v in report.verdicts if not v.right] == ["W1"]
    assert report["W1"].after == "dZ1 = dZ2 @ W2.T * (Z1 > 0)"
    assert check_promises(relu_network, backprop, THREE, report) == 1


def test_expressions_that_share_a_given() -> None:
    claims = {"b2": "E.sum(axis=0)", "W2": "A1.T @ -E", "W1": "X.T @ (E @ W2.T * (1 - A1**2))"}
    report = verify(tanh_network, claims, inputs=SIZES, given={"E": "A2 - Y"})
    assert report["W2"].after == "A1.T @ E"
    claims = {"b2": "E.sum(axis=0)", "W2": "A1.T @ E", "W1": "X.T @ (E @ W2.T * (A1**2 - 1))"}
    report = verify(tanh_network, claims, inputs=SIZES, given={"E": "A2 - Y"})
    assert [v.name for v in report.verdicts if not v.right] == ["W1"]
    assert report["W1"].after == "X.T @ (E @ W2.T * (1 - A1**2))"


def test_a_given_that_spoils_all_claims_is_changed_itself() -> None:
    claims = {"b2": "E.sum(axis=0)", "W2": "A1.T @ E"}
    report = verify(tanh_network, claims, inputs=SIZES, given={"E": "Y - A2"})
    assert {v.after for v in report.verdicts} == {"E = A2 - Y"}
    assert "the same mistake as in ∂L/∂b2" in report.text()


def test_two_mistakes_at_once_in_shared_lines() -> None:
    def backprop(X: Any, Y: Any, A1: Any, A2: Any, W2: Any) -> Any:
        dZ2 = Y - A2
        dZ1 = dZ2 @ W2.T * (1 - A1)
        return {
            "W2": A1.T @ dZ2,
            "b2": dZ2.sum(),
            "W1": X.T @ dZ1,
            "b1": dZ1.sum(axis=0),
        }

    report = verify(tanh_network, backprop, inputs=SIZES)
    assert not any(v.right for v in report.verdicts)
    assert report["W2"].after == "dZ2 = A2 - Y"
    assert report["b2"].after == "dZ2 = A2 - Y; dZ2.sum(axis=0)"
    assert report["W1"].after == "dZ2 = A2 - Y; dZ1 = dZ2 @ W2.T * (1 - A1**2)"
    assert check_promises(tanh_network, backprop, SIZES, report) == 4


def test_a_change_uses_only_what_the_function_can_reach() -> None:
    def backprop(X: Any, E: Any) -> Any:
        return {"W": X.T @ E}

    def forward(X: Any, Y: Any, W: Any) -> Any:
        m = len(X)
        E = X @ W - Y
        return (E * E).sum() / 2 / m

    inputs = {"X": "m n", "Y": "m k real", "W": "n k"}
    report = verify(forward, backprop, inputs=inputs)
    assert report["W"].after == "X.T @ E / len(X)"
    assert check_promises(forward, backprop, inputs, report) == 1


# --- programs that raise half-way -----------------------------------------------------------------


def half_way(X: Any, Y: Any, Z1: Any, A1: Any, Z2: Any, A2: Any, A3: Any, W2: Any, W3: Any) -> Any:
    m = len(X)
    dZ3 = (A3 - Y) / m
    W3_grad = A2.T @ dZ3
    b3_grad = dZ3.sum(axis=0)
    dZ2 = dZ3 @ W3 * (Z2 > 0)
    W2_grad = A1.T @ dZ2
    return {"W3": W3_grad, "b3": b3_grad, "W2": W2_grad}


def test_what_was_computed_before_the_failing_line_is_judged() -> None:
    report = verify(relu_network, half_way, inputs=THREE)
    assert [v.name for v in report.verdicts if v.right] == ["b3", "W3"]
    assert report["W2"].after == "dZ2 = dZ3 @ W3.T * (Z2 > 0)"
    line = Path(__file__).read_text(encoding="utf-8").splitlines()[report["W2"].line - 1]  # type: ignore[operator]
    assert line.strip() == "dZ2 = dZ3 @ W3 * (Z2 > 0)"
    assert check_promises(relu_network, half_way, THREE, report) == 1


def test_the_failing_line_is_named_with_both_shapes() -> None:
    verdict = verify(relu_network, half_way, inputs=THREE, repair=False)["W2"]
    assert verdict.status == "error"
    assert "dZ2 = dZ3 @ W3 * (Z2 > 0)" in verdict.reason
    assert "dZ3 has shape (5, 4), W3 has shape (6, 4)" in verdict.reason
    assert verdict.line is not None
    text = Path(__file__).read_text(encoding="utf-8").splitlines()[verdict.line - 1]
    assert text.strip() == "dZ2 = dZ3 @ W3 * (Z2 > 0)"


def in_order(X: Any, Y: Any, A1: Any, A2: Any, W2: Any) -> Any:
    dZ2 = A2 - Y
    W2_grad = A1.T @ dZ2
    b2_grad = dZ2.sum(axis=0)
    dZ1 = (dZ2 @ W2.T) * (1 - A1**2) + W2
    W1_grad = X.T @ dZ1
    return W1_grad, W2_grad, b2_grad


def with_a_name_error(X: Any, Y: Any, A1: Any, A2: Any, W2: Any) -> Any:
    dZ2 = A2 - Y
    W2_grad = A1.T @ dZ2
    dZ1 = (dZ2 @ W2.T) * (1 - A_1**2)  # type: ignore[name-defined] # noqa: F821
    return {"W2": W2_grad, "W1": X.T @ dZ1}


def with_a_loop(X: Any, Y: Any, A1: Any, A2: Any, W2: Any) -> Any:
    dZ2 = A2 - Y
    W2_grad = A1.T @ dZ2
    total: Any = 0.0  # what the loop has begun to add up is no result
    for x, e in zip(X, dZ2, strict=True):
        total = total + x @ e
    return {"W2": W2_grad, "W1": total}


@pytest.mark.parametrize(
    ("claim", "right", "said"),
    [
        (in_order, ["b2", "W2"], "has shape (5, 2), W2 has shape (2, 4)"),
        (with_a_name_error, ["W2"], "name 'A_1' is not defined"),
        (with_a_loop, ["W2"], "x has shape (3,), e has shape (4,)"),
    ],
)
def test_other_programs_that_raise_half_way(claim: Any, right: list[str], said: str) -> None:
    report = verify(tanh_network, claim, inputs=SIZES, repair=False)
    assert [v.name for v in report.verdicts if v.right] == right
    assert said in report["W1"].reason
    assert report["W1"].line is not None
    repaired = verify(tanh_network, claim, inputs=SIZES)
    check_promises(tanh_network, claim, SIZES, repaired)


# --- the factor is told only if it is one on all problems -----------------------------------------


def test_a_factor_of_one_problem_is_not_told_as_one_of_all() -> None:
    def forward(Q: Any, K: Any, V: Any) -> Any:
        d = Q.shape[1]
        P = tg.softmax(Q @ K.T / np.sqrt(d))
        return (P @ V).sum()

    inputs = {"Q": "m d", "K": "n d", "V": "n p"}
    right = "P * (np.ones((m, p)) @ V.T - np.sum(np.ones((m, p)) @ V.T * P, axis=1, keepdims=True))"
    for wrong, word in [
        (f"({right}) @ K", "√d"),
        (f"({right}) @ K / d", "1/√d"),
        (f"3 * ({right}) @ K / np.sqrt(d)", "3"),
        (f"({right}) @ K / np.sqrt(d) * n", "n"),
    ]:
        verdict = verify(forward, {"Q": wrong}, inputs=inputs, repair=False)["Q"]
        assert verdict.reason == f"the claim is {word} times the gradient"
    wrong = f"({right}) @ K / np.sqrt(d) * (d + 1)"
    verdict = verify(forward, {"Q": wrong}, inputs=inputs, repair=False)["Q"]
    assert "times the gradient" not in verdict.reason


# --- the same words, whatever the machine does ----------------------------------------------------

PROGRAM = """
import numpy as np, tinygrad_edu as tg
def forward(X, Y, W1, b1, W2, b2):
    A1 = np.tanh(X @ W1 + b1)
    A2 = tg.softmax(A1 @ W2 + b2)
    return -(Y * np.log(A2)).sum() / len(X)
sizes = {"X": "m n", "Y": "m k onehot", "W1": "n h", "b1": "h", "W2": "h k", "b2": "k"}
claims = {
    "W2": "[j,k] Σ_i A1[i,k]·(A2[i,k] − Y[i,k])/m",
    "b2": "np.sum(Y - A2) / m", "W1": "X.T @ ((A2 - Y) @ W2.T * A1 * (1 - A1))",
    "b1": "np.ones(3) @ A1 * W1.sum() + np.exp(A1) @ X",
}
print(tg.verify(forward, claims, inputs=sizes).text())
"""


def test_the_words_do_not_depend_on_hashes() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(tg.__file__).parents[1])},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "42")
    }
    assert len(found) == 1
