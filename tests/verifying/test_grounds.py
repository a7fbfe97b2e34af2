"""The grounds of a verdict: tolerance, scales, branches, precision, special sizes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests import grounds
from tests.grounds import RIGHT, WRONG, Case, judged
from tests.mistakes import SYSTEMS
from tinygrad_edu.verifying.inputs import CannotCheck, Kind, draw, read_specs
from tinygrad_edu.verifying.problems import make_problem
from tinygrad_edu.verifying.sampling import Sampler
from tinygrad_edu.verifying.truth import Truth

BY_NAME = {system.name: system for system in SYSTEMS}
LEAST_SQUARES = {"X": "m n", "Y": "m k real", "W": "n k"}


def named(pairs: list[tuple[Case, str]]) -> list[Any]:
    return [pytest.param(c, text, id=f"{c.forward.__name__}: {text}") for c, text in pairs]


def test_there_are_enough_hard_claims() -> None:
    assert len(RIGHT) >= 40 and len(WRONG) >= 40


@pytest.mark.parametrize(("case", "text"), named(RIGHT))
def test_right_claims_with_unlike_scales_or_cancelling_sums(case: Case, text: str) -> None:
    report = judged(case, text, seed=0)
    assert report.right, report.text()


@pytest.mark.parametrize(("case", "text"), named(WRONG))
def test_wrong_claims_that_hardly_show(case: Case, text: str) -> None:
    assert not judged(case, text, seed=0).right


# --- the checker is shown to need what it has ---------------------------------------------------


def test_without_problems_beyond_the_thresholds_a_wrong_claim_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Sampler, "beyond", lambda *_: [])
    monkeypatch.setattr(Sampler, "unlike", lambda *_: iter(()))
    report = tg.verify(grounds.clipped, {"w": "2 * w"}, inputs={"w": "n"}, repair=False)
    assert report.right
    assert "np.clip(w, -4, 4)` above its upper bound" in report.text()
    assert "np.clip(w, -4, 4)` below its lower bound" in report.text()


def test_without_unlike_scales_a_small_term_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(w: Any, v: Any) -> Any:
        return 1e9 * (w * w).sum() + (w * v).sum()

    def is_right() -> bool:
        return tg.verify(forward, {"w": "2e9 * w"}, inputs={"w": "n", "v": "n"}, repair=False).right

    assert not is_right()
    monkeypatch.setattr(Sampler, "unlike", lambda *_: iter(()))
    assert is_right()


def test_a_large_entry_hides_nothing() -> None:
    truth = Truth(np.array([1e12, 1.0]), spread=lambda: np.array([1e12, 1.0]))
    assert truth.agrees(np.array([1e12 + 1e3, 1.0]))
    assert not truth.agrees(np.array([1e12, 1.0 + 1e-6]))


def test_terms_that_cancel_are_what_rounding_is_measured_by() -> None:
    truth = Truth(np.array([1e-9]), spread=lambda: np.array([1e6]))
    assert truth.agrees(np.array([5e-5]))
    assert not truth.agrees(np.array([5e-4]))


@pytest.mark.parametrize("large", ["1e13", "1e15", "1e18"])
def test_terms_of_the_claim_itself_hide_nothing(large: str) -> None:
    claim = f"w * np.array([1e12, 4, 1e-6]) + ({large} * w - {large} * w)"
    assert not tg.verify(grounds.area, {"w": claim}, inputs={"w": "3"}, repair=False).right


# --- thresholds -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forward", "inputs", "claim", "place"),
    [
        (grounds.huber, {"r": "n"}, "r", "size <= 3` where the condition does not hold"),
        (grounds.clipped, {"w": "n"}, "2 * w", "np.clip(w, -4, 4)"),
        (grounds.distant, {"a": "n", "b": "n"}, "0 * a", "np.maximum(d - 100, 0)` with the first"),
        (grounds.branch, {"x": "n"}, "2 * x", "n < 400` where the condition does not hold"),
    ],
)
def test_a_claim_that_fails_beyond_a_threshold_is_told_which(
    forward: Any, inputs: Any, claim: str, place: str
) -> None:
    name = next(iter(inputs))
    verdict = tg.verify(forward, {name: claim}, inputs=inputs, repair=False)[name]
    assert not verdict.right and verdict.conditions == []
    assert any("problems that do not reach" in r and place in r for r in verdict.remarks)


def guarded(X: Any, Y: Any, W: Any) -> Any:
    Z = np.clip(X @ W, -100, 100)
    A = 1 / (1 + np.exp(-Z))
    P = np.clip(A, 1e-15, 1 - 1e-15)
    return -(Y * np.log(P) + (1 - Y) * np.log(1 - P)).sum() / len(X)


def floored(X: Any, Y: Any, W: Any) -> Any:
    A = tg.softmax(X @ W)
    return -(Y * np.log(A + 1e-12)).sum() / len(X)


def divided(X: Any, Y: Any, W: Any) -> Any:
    E = np.exp(X @ W)
    A = E / np.maximum(E.sum(axis=1, keepdims=True), 1e-9)
    return -(Y * np.log(A)).sum() / len(X)


@pytest.mark.parametrize(
    ("forward", "kind", "unreached"),
    [
        (guarded, "binary", ["np.clip(X @ W, -100, 100)` below", "np.clip(A, 1e-15"]),
        (floored, "onehot", []),
        (divided, "onehot", ["np.maximum(E.sum(axis=1, keepdims=True), 1e-9)` with the second"]),
    ],
)
def test_guards_against_overflow_are_not_met_and_that_is_said(
    forward: Any, kind: str, unreached: list[str]
) -> None:
    inputs = {"X": "m n", "Y": f"m k {kind}", "W": "n k"}
    report = tg.verify(forward, {"W": "X.T @ (A - Y) / m"}, inputs=inputs)
    assert report.right, report.text()
    for place in unreached:
        assert any("no problem reaches" in note and place in note for note in report.notes)


def test_a_counterexample_shows_no_rounding() -> None:
    def attention(Q: Any, K: Any, V: Any, T: Any) -> Any:
        P = tg.softmax(Q @ K.T)
        dO = P @ V - T
        dP = dO @ V.T  # noqa: F841 (a name for claims)
        return (dO * dO).sum() / 2

    inputs = {"Q": "m d", "K": "n d", "V": "n p", "T": "m p real"}
    verdict = tg.verify(attention, {"Q": "dP * P * (1 - P) @ K"}, inputs=inputs, repair=False)["Q"]
    assert verdict.counterexample is not None
    true = np.abs(np.asarray(verdict.counterexample.true))
    assert ((true == 0) | (true > 1e-6)).all()


# --- tiny numbers that forward adds ---------------------------------------------------------------

TINY = 1e-7


def in_the_logarithm(X: Any, Y: Any, W: Any) -> Any:
    A = tg.softmax(X @ W)
    return -(Y * np.log(A + 1e-8)).sum() / len(X)


def as_a_default(X: Any, Y: Any, W: Any, eps: float = 1e-6) -> Any:
    A = tg.sigmoid(X @ W)
    return -(Y * np.log(A + eps) + (1 - Y) * np.log(1 - A + eps)).sum() / len(X)


def cross_entropy(A: Any, Y: Any) -> Any:
    return -(Y * np.log(TINY + A)).sum() / len(A)


def in_a_helper(X: Any, Y: Any, W: Any) -> Any:
    A = tg.softmax(X @ W)
    return cross_entropy(A, Y)


def as_an_input(X: Any, Y: Any, W: Any, eps: float) -> Any:
    A = tg.softmax(X @ W)
    return -(Y * np.log(A + eps)).sum() / len(X)


GUARDED: list[tuple[Any, str, dict[str, Any], str]] = [
    (in_the_logarithm, "onehot", {}, "1e-08"),
    (as_a_default, "binary", {}, "1e-06"),
    (in_a_helper, "onehot", {}, "1e-07"),
    (as_an_input, "onehot", {"eps": 1e-5}, "eps"),
]


@pytest.mark.parametrize(("forward", "kind", "more", "number"), GUARDED)
def test_a_claim_may_leave_out_a_tiny_number_that_forward_adds(
    forward: Any, kind: str, more: dict[str, Any], number: str
) -> None:
    inputs = {"X": "m n", "Y": f"m k {kind}", "W": "n k", **more}
    right = tg.verify(forward, {"W": "X.T @ (A - Y) / m"}, inputs=inputs)
    assert right.right, right.text()
    assert f"it is right without the {number} that" in right["W"].remarks[0]
    wrong = tg.verify(forward, {"W": "X.T @ (Y - A) / m"}, inputs=inputs)["W"]
    assert not wrong.right and wrong.after == "X.T @ (A - Y) / m"
    far = tg.verify(forward, {"W": "X.T @ (A - 1.0001 * Y) / m"}, inputs=inputs, repair=False)
    assert not far.right


@pytest.mark.parametrize(
    ("claim", "is_right", "remarks"),
    [("v / r", True, 0), ("v / np.sqrt(v @ v)", True, 1), ("v / (v @ v)", False, 0)],
)
def test_so_may_one_that_is_added_below_a_root(claim: str, is_right: bool, remarks: int) -> None:
    def forward(v: Any) -> Any:
        r = np.sqrt(v @ v + 1e-6)
        return r * 1.0

    verdict = tg.verify(forward, {"v": claim}, inputs={"v": "n"}, repair=False)["v"]
    assert verdict.right is is_right
    assert not is_right or len(verdict.remarks) == remarks


def small_penalty(X: Any, T: Any, W: Any) -> Any:
    E = X @ W - T
    return (E * E).sum() / 2 + 1e-6 * (W * W).sum()


def large_offset(X: Any, T: Any, W: Any) -> Any:
    E = X @ W - T
    return (E * E).sum() / 2 + np.log((W * W).sum() + 1e-3)


@pytest.mark.parametrize(
    ("forward", "claim"),
    [(small_penalty, "X.T @ E"), (large_offset, "X.T @ E + 2 * W / (W * W).sum()")],
)
def test_small_factors_and_numbers_that_are_not_tiny_may_not(forward: Any, claim: str) -> None:
    inputs = {"X": "m n", "T": "m k real", "W": "n k"}
    assert not tg.verify(forward, {"W": claim}, inputs=inputs, repair=False).right


# --- precision and arrays of other libraries ------------------------------------------------------


class Foreign:
    """An array of another library: all that NumPy knows of it is `__array__`."""

    def __init__(self, x: Any):
        self.x = np.asarray(x)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.x.astype(dtype or self.x.dtype)


class Attached(Foreign):
    """… which refuses as long as it is part of a graph, as PyTorch's tensors do."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad")

    def detach(self) -> Foreign:
        return Foreign(self.x)


def least_squares(X: Any, Y: Any, W: Any) -> Any:
    E = X @ W - Y
    return (E * E).sum() / len(X)


def slope(X: Any, Y: Any, W: Any) -> Any:
    return 2 * X.T @ (X @ W - Y) / len(X)


def with_results(change: Any, before: Any = np.asarray) -> Any:
    """A backprop on inputs that were changed before, with results that are changed after."""

    def backprop(X: Any, Y: Any, W: Any) -> Any:
        return {"W": change(slope(before(X), before(Y), before(W)))}

    return backprop


def to_float32(x: Any) -> Any:
    return np.asarray(x, dtype=np.float32)


def to_float64(x: Any) -> Any:
    return np.asarray(x, dtype=float)


@pytest.mark.parametrize("change", [Foreign, Attached, tg.Tensor, lambda g: g.tolist()])
def test_results_may_be_arrays_of_any_library(change: Any) -> None:
    report = tg.verify(least_squares, with_results(change), inputs=LEAST_SQUARES)
    assert report.right, report.text()

    def doubled(g: Any) -> Any:
        return change(2 * g)

    wrong = tg.verify(least_squares, with_results(doubled), inputs=LEAST_SQUARES, repair=False)
    assert wrong["W"].reason == "the claim is 2 times the gradient"
    assert json.loads(wrong.json())["claims"][0]["counterexample"]["claimed"]


def test_arrays_of_pytorch() -> None:
    torch = pytest.importorskip("torch")

    def backprop(X: Any, Y: Any, W: Any) -> Any:
        w = torch.tensor(W, requires_grad=True)
        E = torch.tensor(X) @ w - torch.tensor(Y)
        return {"W": 2 * torch.tensor(X).T @ E / len(X)}

    report = tg.verify(least_squares, backprop, inputs=LEAST_SQUARES)
    assert report.right and json.loads(report.json())["right"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("format_", ["float32", "float16"])
def test_numbers_of_less_precision_are_judged_by_it(format_: str, seed: int) -> None:
    def lower(x: Any) -> Any:
        return np.asarray(x, dtype=format_)

    claim = with_results(lower, lower if format_ == "float32" else np.asarray)
    report = tg.verify(least_squares, claim, inputs=LEAST_SQUARES, seed=seed)
    assert report.right, report.text()
    assert format_ in report["W"].remarks[0]

    def wrong(g: Any) -> Any:
        return lower(1.1 * g)

    assert not tg.verify(least_squares, with_results(wrong), inputs=LEAST_SQUARES).right


def test_a_claim_that_is_off_by_its_precision_is_told_so() -> None:
    claim = with_results(to_float64, to_float32)
    verdict = tg.verify(least_squares, claim, inputs=LEAST_SQUARES)["W"]
    assert verdict.kinds == ("precision",) and not verdict.after
    assert "the precision of its numbers (float32" in verdict.reason

    assert verdict.conditions == [] and verdict.status == "wrong"

    def by_differences(X: Any, Y: Any, W: Any) -> Any:
        G, h = np.zeros_like(W), 1e-5
        for place in np.ndindex(*W.shape):
            step = np.zeros_like(W)
            step[place] = h
            rise = least_squares(X, Y, W + step) - least_squares(X, Y, W - step)
            G[place] = rise / (2 * h)
        return {"W": G}

    verdict = tg.verify(least_squares, by_differences, inputs=LEAST_SQUARES)["W"]
    assert not verdict.right and verdict.conditions == []

    def rounded(g: Any) -> Any:
        return np.round(g, 7)

    verdict = tg.verify(least_squares, with_results(rounded), inputs=LEAST_SQUARES)["W"]
    assert not verdict.right and "1 times" not in str(verdict)


@pytest.mark.parametrize("c", [1.0001, 1.00001, 0.999999])
def test_a_factor_is_told_with_the_digits_that_differ(c: float) -> None:
    claim = {"W": f"{c} * 2 * X.T @ (X @ W - Y) / m"}
    verdict = tg.verify(least_squares, claim, inputs=LEAST_SQUARES, repair=False)["W"]
    assert not verdict.right
    assert " 1 times" not in verdict.reason


# --- special sizes --------------------------------------------------------------------------------


def penalised(X: Any, Y: Any, W: Any, lam: Any) -> Any:
    A = tg.softmax(X @ W)
    return -(Y * np.log(A)).sum() / len(X) + lam / 2 * (W * W).sum()


@pytest.mark.parametrize(
    "claim",
    ["0 * W + lam * W", "X.T @ (Y - A) / m + lam * W", "lam * W", "X.T @ (A - Y) * k + lam * W"],
)
def test_one_class_says_nothing_of_a_claim(claim: str) -> None:
    inputs = {"X": "m n", "Y": "m k onehot", "W": "n k", "lam": 0.1}
    verdict = tg.verify(penalised, {"W": claim}, inputs=inputs, repair=False)["W"]
    assert not verdict.right
    assert "k = 1" not in verdict.conditions


@pytest.mark.parametrize(
    ("name", "target", "claim", "conditions"),
    [
        ("multi", "W2", "A1.T @ (A2 - Y)", ["m = 1"]),
        ("tanh", "b1", "2 * np.sum((A2 - Y) @ W2.T * (1 - A1**2)) / m", ["h = 1"]),
        ("dual", "b2", "np.sum(A2 - Y) / m", ["k = 1"]),
        ("multi", "W2", "A1.T @ (A2 - Y) / h", ["m = h"]),
    ],
)
def test_a_special_size_is_told_where_it_is_true(
    name: str, target: str, claim: str, conditions: list[str]
) -> None:
    system = BY_NAME[name]
    report = tg.verify(system.forward, {target: claim}, inputs=system.inputs, repair=False)
    assert report[target].conditions == conditions
    example = report[target].counterexample
    assert example is not None
    for condition in conditions:
        a, _, b = condition.partition(" = ")
        assert example.sizes[a] != (1 if b == "1" else example.sizes[b])


# --- what cannot be computed everywhere -----------------------------------------------------------


def spread_of_samples(X: Any, w: Any) -> Any:
    return np.std(X @ w, ddof=1)


def variance(X: Any, w: Any) -> Any:
    return np.var(X @ w, axis=0, ddof=1)


def no_margins(W: Any, X: Any, y: Any, reg: Any) -> Any:
    loss = 0.0
    for i in range(X.shape[0]):
        scores = X[i] @ W
        for j in range(W.shape[1]):
            if j != y[i]:
                margin = scores[j] - scores[y[i]] + 1
                if margin > 0:
                    loss = loss + margin
    return loss / len(X)


def differences(x: Any) -> Any:
    if len(x) < 2:
        raise ValueError("at least two points")
    return ((x[1:] - x[:-1]) ** 2).sum()


@pytest.mark.parametrize(
    ("forward", "inputs", "claims", "left_out"),
    [
        (
            spread_of_samples,
            {"X": "m n", "w": "n"},
            {"w": "X.T @ (X @ w - np.mean(X @ w)) / ((m - 1) * np.std(X @ w, ddof=1))"},
            "m = 1",
        ),
        (
            variance,
            {"X": "m n", "w": "n"},
            {"w": "2 * X.T @ (X @ w - np.mean(X @ w)) / (m - 1)"},
            "m = 1",
        ),
        (
            no_margins,
            {"W": "n k", "X": "m n", "y": "m k labels", "reg": 0.1},
            {"W": "0 * W"},
            "k = 1",
        ),
        (
            differences,
            {"x": "n"},
            {
                "x": "2 * np.concatenate("
                "[x[:1] - x[1:2], 2 * x[1:-1] - x[:-2] - x[2:], x[-1:] - x[-2:-1]])"
            },
            "n = 1",
        ),
    ],
)
def test_sizes_at_which_forward_fails_are_left_out_and_said(
    forward: Any, inputs: Any, claims: Any, left_out: str
) -> None:
    report = tg.verify(forward, claims, inputs=inputs, repair=False)
    assert report.right is (forward is not no_margins), report.text()
    assert any(f"sizes left out: {left_out}" in note for note in report.notes)


def fill_entries(X: Any, w: Any) -> Any:
    out = np.zeros(len(X))
    for i in range(len(X)):
        out[i] = (X[i] * w).sum()
    return (out * out).sum()


def fill_rows(X: Any, w: Any) -> Any:
    out = np.zeros(X.shape)
    for i in range(len(X)):
        out[i, :] = X[i] * w
    return (out * out).sum()


def fill_on_one_line(X: Any, w: Any) -> Any:
    out = np.zeros(len(X))
    for i in range(len(X)):
        out[i] = (X[i] * w).sum()
    return (out * out).sum()


def add_to_rows(X: Any, w: Any) -> Any:
    out = np.zeros(X.shape)
    for i in range(len(X)):
        out[i] += X[i] * w
    return (out * out).sum()


def mask_entries(X: Any, w: Any) -> Any:
    Z = X * w
    Z[Z < 0] = 0
    return Z.sum()


@pytest.mark.parametrize(
    "forward", [fill_entries, fill_rows, fill_on_one_line, add_to_rows, mask_entries]
)
def test_an_array_that_is_filled_is_told_with_the_way_out(forward: Any) -> None:
    with pytest.raises(CannotCheck, match=r"np\.stack") as refusal:
        tg.verify(forward, {"w": "w"}, inputs={"X": "m n", "w": "n"})
    assert "out[i" in str(refusal.value) or "`Z[Z < 0] = 0`" in str(refusal.value)


def test_other_failures_of_such_lines_keep_their_message() -> None:
    def forward(X: Any, w: Any) -> Any:
        out = np.zeros(2)
        out[7] = 1.0
        return (X * w).sum() + out.sum()

    with pytest.raises(CannotCheck, match="IndexError"):
        tg.verify(forward, {"w": "w"}, inputs={"X": "m n", "w": "n"})


# --- inputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "axes"),
    [
        ({"X": (5, 3), "w": (3,)}, {"X": ("m", "n"), "w": ("n",)}),
        ({"X": ("m", 3), "w": "n"}, {"X": ("m", "h"), "w": ("n",)}),
        ({"X": (5, 1), "c": ()}, {"X": ("m", 1), "c": ()}),
        ({"w": (np.int64(4),)}, {"w": ("m",)}),
    ],
)
def test_a_tuple_of_sizes_is_a_shape(inputs: Any, axes: Any) -> None:
    found = {name: spec.axes for name, spec in read_specs(inputs).items()}
    if inputs == {"X": ("m", 3), "w": "n"}:
        assert found["X"][0] == "m" and found["w"] == ("n",)
    else:
        assert found == axes


def test_shapes_are_checked_on_many_sizes() -> None:
    inputs = {"X": (5, 3), "Y": (5, 2), "W": (3, 2)}
    report = tg.verify(least_squares, {"W": "2 * X.T @ E / m"}, inputs=inputs)
    assert report.right
    assert not tg.verify(least_squares, {"W": "2 * X.T @ E / 5"}, inputs=inputs).right
    square = tg.verify(least_squares, {"W": "2 * X @ E / m"}, inputs=dict.fromkeys("XYW", (4, 4)))
    assert not square.right


@pytest.mark.parametrize("text", ["k m onehot(axis=2)", "k m onehot(axis=-3)", "k probability(1)"])
def test_an_axis_that_is_not_there_is_refused(text: str) -> None:
    with pytest.raises(CannotCheck, match="the axis of the classes is one of its"):
        read_specs({"Y": text})


@pytest.mark.parametrize("kind", ["m k probability", "k m probability(axis=0)", "k probability"])
@pytest.mark.parametrize("whole", [False, True])
def test_probabilities_add_up_to_one(kind: str, whole: bool) -> None:
    specs = read_specs({"P": kind, "x": "n"})
    rng = np.random.default_rng(0)
    problem = make_problem(
        lambda P, x: (P * P).sum() * (x * x).sum(), specs, {"m": 3, "k": 4, "n": 2}, {}, rng, whole
    )
    P = problem.inputs["P"]
    np.testing.assert_allclose(P.sum(axis=specs["P"].axes.index("k")), 1)
    assert (P >= 0).all()


@pytest.mark.parametrize("name", ["lam", "l2", "reg", "weight_decay"])
def test_a_penalty_is_positive(name: str) -> None:
    spec = read_specs({name: ""})[name]
    drawn = [
        draw(name, spec, {}, Kind("real"), np.random.default_rng(seed), whole)
        for seed in range(20)
        for whole in (False, True)
    ]
    assert min(drawn) > 0
    assert read_specs({name: 0.3})[name].example == 0.3


# --- what is said ---------------------------------------------------------------------------------


def test_an_array_is_said_to_be_compared_with_one_example() -> None:
    rng = np.random.default_rng(0)
    inputs = {
        "X": rng.normal(size=(5, 3)),
        "Y": rng.normal(size=(5, 2)),
        "W": rng.normal(size=(3, 2)),
    }
    array = slope(**inputs)
    notes = tg.verify(least_squares, {"W": array}, inputs=inputs).notes
    assert any("compared with one example, the inputs as given: W" in note for note in notes)
    assert not any("random problems" in note for note in notes)
    both = tg.verify(least_squares, {"W": array, "E": "2 * E / m"}, inputs=inputs).notes
    assert any("one example" in note for note in both)
    assert any("random problems" in note for note in both)


def test_a_function_without_source_is_told_why_there_is_no_change() -> None:
    space: dict[str, Any] = {}
    exec("def backprop(X, Y, W): return {'W': X.T @ (X @ W - Y) / len(X)}", space)
    report = tg.verify(least_squares, space["backprop"], inputs=LEAST_SQUARES)
    assert not report.right
    assert any("source of backprop cannot be had" in r for r in report["W"].remarks)
    lambda_ = tg.verify(least_squares, {"W": lambda X, E, m: X.T @ E / m}, inputs=LEAST_SQUARES)
    assert any("cannot be had" in r for r in lambda_["W"].remarks)
    here = tg.verify(least_squares, with_results(np.negative), inputs=LEAST_SQUARES)
    assert not any("cannot be had" in r for r in here["W"].remarks)


SEEDED = """
import sys
sys.path.insert(0, ".")
from tests.mistakes import SYSTEMS
import tinygrad_edu as tg
multi = SYSTEMS[2]
claims = {"Z2": "(A2 - Y) * m", "W2": "A1.T @ (Y - A2)", "b1": "np.sum((A2 - Y) @ W2.T * A1) / m"}
print(tg.verify(multi.forward, claims, inputs={**multi.inputs, "Y": "m k"}).text())
"""


def test_the_words_do_not_depend_on_the_hash_seed() -> None:
    texts = []
    for seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", SEEDED],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        texts.append(done.stdout)
    assert len(set(texts)) == 1 and "∂L/∂Z2" in texts[0]
