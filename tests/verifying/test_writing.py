"""Unusual notation is read: right derivations in unusual writing are accepted.

Each row is a network, the name whose gradient is claimed, and the claim; or a network and a text of
lines. Signs of Word and MathJax, full-width letters, LaTeX, names in other spellings, index
notation. Below: writing that has two meanings, which is refused with the spelling to use.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_edu as tg
from tests.verifying.test_expressions import NAMES as ARRAYS
from tinygrad_edu.verifying.claims import is_slides
from tinygrad_edu.verifying.evaluation import Evaluator
from tinygrad_edu.verifying.expressions import Node, render
from tinygrad_edu.verifying.functions import ClaimError
from tinygrad_edu.verifying.grammar import parse
from tinygrad_edu.verifying.names import Names
from tinygrad_edu.verifying.problems import CannotCheck
from tinygrad_edu.verifying.spelling import REFUSED_SIGNS, SIGNS, rewrite
from tinygrad_edu.verifying.verification import verify

# --- the networks ---------------------------------------------------------------------------------


def logistic(X: Any, Y: Any, W: Any, b: Any) -> Any:
    m = len(X)
    Z = X @ W + b
    A = tg.sigmoid(Z)
    L = -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).sum() / m
    return L


def two_layers(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    m = len(X)
    Z1 = X @ W1 + b1
    A1 = tg.sigmoid(Z1)
    Z2 = A1 @ W2 + b2
    A2 = tg.softmax(Z2)
    J = -(Y * np.log(A2)).sum() / m
    return J


def relu_net(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    m = len(X)
    Z1 = X @ W1 + b1
    A1 = tg.relu(Z1)
    A2 = A1 @ W2 + b2
    return ((A2 - Y) ** 2).sum() / 2 / m


def tanh_net(X: Any, Y: Any, W1: Any, W2: Any) -> Any:
    m = len(X)
    Z1 = X @ W1
    A1 = np.tanh(Z1)
    Yhat = A1 @ W2
    return ((Yhat - Y) ** 2).sum() / 2 / m


def ridge(X: Any, y: Any, w: Any, lam: Any) -> Any:
    n = len(X)
    y_hat = X @ w
    loss = ((y_hat - y) ** 2).sum() / (2 * n) + lam * (w * w).sum() / 2
    return loss


def length(v: Any) -> Any:
    L = np.sqrt((v * v).sum())
    return L


def lasso(x: Any, lambda_: Any) -> Any:
    return lambda_ * np.abs(x).sum()


def standardise(x: Any, mu: Any, var: Any, eps: Any, g: Any) -> Any:
    xhat = (x - mu) / np.sqrt(var + eps)
    return (g * xhat).sum()


def step(theta: Any, alpha: Any, eta: Any, c: Any) -> Any:
    x_bar = theta * alpha
    return (x_bar * c).sum() * eta


def scores(x: Any, A: Any) -> Any:
    return x @ A @ x / 2


def marked(x̂: Any, ŷ: Any) -> Any:
    return (x̂ * x̂ * ŷ).sum()


def columns(X: Any, Y: Any, W: Any, b: Any) -> Any:
    m = X.shape[1]
    Z = W @ X + b
    E = Z - Y
    return (E * E).sum() / 2 / m


LAYERS = {"X": "m n", "W1": "n h", "b1": "h", "W2": "h k", "b2": "k"}
FORWARD: dict[str, tuple[Any, dict[str, Any]]] = {
    "logistic": (logistic, {"X": "m n", "Y": "m k binary", "W": "n k", "b": "k"}),
    "two": (two_layers, {**LAYERS, "Y": "m k onehot"}),
    "relu": (relu_net, {**LAYERS, "Y": "m k real"}),
    "tanh": (tanh_net, {"X": "m n", "Y": "m k real", "W1": "n h", "W2": "h k"}),
    "ridge": (ridge, {"X": "n d", "y": "n real", "w": "d", "lam": 0.3}),
    "length": (length, {"v": "n"}),
    "lasso": (lasso, {"x": "n", "lambda_": 0.7}),
    "standard": (standardise, {"x": "n", "mu": 0.4, "var": 1.7, "eps": 0.1, "g": "n"}),
    "step": (step, {"theta": "n", "alpha": 0.2, "eta": 0.4, "c": "n"}),
    "scores": (scores, {"x": "n", "A": "n n"}),
    "marked": (marked, {"x̂": "n", "ŷ": "n positive"}),
    "columns": (columns, {"X": "n m", "Y": "k m real", "W": "k n", "b": "k 1"}),
}

RIGHT: list[tuple[str, str, str]] = [
    # a method beside a sign of the slides
    ("logistic", "b", "(A − Y).sum(axis=0)/m"),
    ("logistic", "b", "−(Y − A).sum(axis=0)/m"),
    ("logistic", "b", "(A − Y)ᵀ.sum(axis=1)/m"),
    ("logistic", "W", "(Xᵀ).dot(A − Y)/m"),
    ("logistic", "W", "Xᵀ.dot((A − Y)/m)"),
    ("logistic", "b", "(A − Y).mean(axis=0)"),
    ("length", "v", "v·((v ⊙ v).sum())^(−1/2)"),
    # transposes
    ("logistic", "W", "X^T (A - Y) / m"),
    ("logistic", "W", "X^T(A-Y)/m"),
    ("logistic", "W", "X^{T}(A − Y)/m"),
    ("logistic", "W", "X⊤(A − Y)/m"),
    ("logistic", "W", "X^⊤(A − Y)/m"),
    ("logistic", "W", "X'(A − Y)/m"),
    ("logistic", "W", "X' * 1/m @ (A - Y)"),
    ("logistic", "W", "X’(A − Y)/m"),
    ("two", "W1", "X'((A2 - Y)W2' ⊙ A1 ⊙ (1 - A1))/m"),
    ("two", "W1", "X^T((A2 − Y)W2^T ⊙ A1 ⊙ (1 − A1))/m"),
    ("two", "A1", "(A2 − Y)W2^T/m"),
    ("two", "W2", "((A2 − Y)ᵀA1)ᵀ/m"),
    ("logistic", "W", "((A − Y)'X)'/m"),
    # minus, times, division
    ("logistic", "W", "Xᵀ(A – Y)÷m"),
    ("logistic", "W", "Xᵀ(A — Y)⁄m"),
    ("logistic", "W", "Xᵀ ⋅ (A ‒ Y) / m"),
    ("logistic", "W", "1/m × Xᵀ(A − Y)"),
    ("two", "A1", "(A2 − Y) • W2ᵀ / m"),
    ("two", "Z1", "(A2 − Y)W2ᵀ ∘ A1 ◦ (1 − A1)/m"),
    ("two", "Z1", "((A2 − Y)W2ᵀ)∗A1∗(1 − A1)/m"),
    ("two", "Z1", "((A2 − Y)W2ᵀ ⨀ A1 ⨀ (1 − A1)) ∕ m"),
    ("lasso", "x", "λ·sign(x)"),
    # a fraction before a product, and numbers below the line
    ("logistic", "W", "1/m Xᵀ(A − Y)"),
    ("logistic", "W", "1/m(Xᵀ(A − Y))"),
    ("logistic", "W", "½ · 2/m Xᵀ(A − Y)"),
    ("logistic", "W", "2·Xᵀ(A − Y)/2m"),
    ("logistic", "b", "1/m 1ᵀ(A − Y)"),
    ("scores", "x", "1/2 (A + Aᵀ)x"),
    ("scores", "x", "¼·2·(A + Aᵀ)x"),
    # lengths, absolute values, roots
    ("length", "v", "v / ‖v‖"),
    ("length", "v", "v/||v||"),
    ("length", "v", "v / ∥v∥"),
    ("length", "v", "v/‖v‖₂"),
    ("length", "v", "v/||v||_2"),
    ("length", "v", "v/np.linalg.norm(v)"),
    ("length", "v", "v/√(vᵀv)"),
    ("length", "v", "v ÷ √(Σ(v²))"),
    ("length", "v", "v / sqrt(vᵀv)"),
    ("length", "v", "‖v‖⁻¹ v"),
    ("length", "v", "‖v‖·v/‖v‖²"),
    ("lasso", "x", "λ·x/|x|"),
    # the name of what forward returns
    ("length", "v", "v / L"),
    ("length", "v", "v L⁻¹"),
    ("ridge", "w", "Xᵀ(ŷ − y)/n + λw"),
    # names in other spellings
    ("ridge", "w", "Xᵀ(y_hat − y)/n + λ·w"),
    ("ridge", "w", "Xᵀ(yhat − y)/n + lambda_·w"),
    ("ridge", "w", "Xᵀ(y\u0302 − y)/n + lam·w"),
    ("ridge", "w", "X.T @ (ŷ - y) / n + λ * w"),
    ("lasso", "x", "lam * np.sign(x)"),
    ("lasso", "x", "λ * np.sign(x)"),
    ("standard", "x", "g/√(σ² + ε)"),
    ("standard", "x", "g / np.sqrt(var + ε)"),
    ("standard", "g", "(x − μ)/√(σ² + ε)"),
    ("standard", "g", "x̂"),
    ("standard", "g", "x_hat"),
    ("standard", "g", "(x − µ) / √(σ² + ϵ)"),
    ("step", "theta", "α·η·c"),
    ("step", "theta", "αηc"),
    ("step", "x_bar", "η c"),
    ("step", "c", "η·x̄"),
    ("step", "c", "xbar * eta"),
    ("step", "c", "α η θ"),
    ("marked", "x̂", "2·x̂ ⊙ ŷ"),
    ("marked", "ŷ", "x̂²"),
    ("marked", "x̂", "2 * x_hat * y_hat"),
    ("marked", "ŷ", "x\u0302 ⊙ x\u0302"),
    ("tanh", "Yhat", "(Ŷ − Y)/m"),
    ("tanh", "W2", "A₁ᵀ(Ŷ − Y)/m"),
    ("two", "W2", "A₁ᵀ(A₂ − Y)/m"),
    ("two", "W2", "A_1ᵀ(A_2 − Y)/m"),
    ("two", "W2", "A_1.T @ (A_2 - Y) / m"),
    # functions without brackets, and their slopes
    ("two", "Z1", "(A2 − Y)W2ᵀ ⊙ σ′(Z1)/m"),
    ("two", "Z1", "(A2 − Y)W2ᵀ ⊙ σ'(Z1) / m"),
    ("two", "Z1", "((A2 − Y)W2ᵀ) ⊙ σ Z1 ⊙ (1 − σ Z1)/m"),
    ("tanh", "Z1", "(Yhat − Y)W2ᵀ ⊙ tanh′(Z1)/m"),
    ("tanh", "Z1", "(Yhat − Y)W2ᵀ ⊙ (1 − tanh(Z1)²)/m"),
    ("tanh", "Z1", "(Yhat − Y)W2ᵀ ⊙ (1 − (tanh Z1)²)/m"),
    ("relu", "Z1", "(A2 − Y)W2ᵀ ⊙ relu′(Z1)/m"),
    ("two", "Z1", "(A2 − Y)W2ᵀ ⊙ e^(−Z1)/(1 + e^(−Z1))²/m"),
    # masks
    ("relu", "Z1", "(A2 − Y)W2ᵀ ⊙ [Z1 > 0]/m"),
    ("relu", "Z1", "(A2 − Y)W2ᵀ ⊙ 𝟏[Z1 > 0]/m"),
    ("relu", "Z1", "(A2 − Y)W2ᵀ ⊙ 1[Z1 ≥ 0]/m"),
    ("relu", "Z1", "(A2 − Y)W2ᵀ ⊙ 𝟙(Z1 > 0)/m"),
    ("relu", "Z1", "((A2 - Y) @ W2.T) * (Z1 > 0) / m"),
    ("relu", "A2", "(max(0, Z1)W2 + b2 − Y)/m"),
    # columns of ones
    ("columns", "b", "(Z − Y)𝟏/m"),
    ("columns", "b", "E·𝟏/m"),
    ("logistic", "b", "𝟏ᵀ(A − Y)/m"),
    ("logistic", "b", "1^T(A - Y)/m"),
    ("logistic", "b", "1^⊤(A − Y)/m"),
    # Word, MathJax, full-width letters, other alphabets of letters
    ("logistic", "W", "Ｘᵀ（Ａ − Ｙ）／ｍ"),
    ("logistic", "W", "Ｘ．Ｔ　＠　（Ａ － Ｙ）　／　ｍ"),
    ("logistic", "b", "ｎｐ．ｓｕｍ（Ａ－Ｙ，　ａｘｉｓ＝０）／ｍ"),
    ("logistic", "W", "𝐗ᵀ(𝐀 − 𝐘)/m"),
    ("logistic", "W", "𝑋ᵀ(𝐴 − 𝑌)/𝑚"),
    ("logistic", "W", "X\u200bᵀ\u2009(A\u00a0−\u00a0Y)\u2062/\u2009m"),
    ("two", "W2", "𝑨₁ᵀ(𝑨₂ − 𝒀)/m"),
    ("logistic", "b", "np.einsum(‘ij->j’, A − Y)/m"),
    ("logistic", "b", "np.einsum(“ij->j”, A - Y)/m"),
    ("logistic", "W", "np.einsum('mi,mj->ij', X, A - Y)/m  # with a comment"),
    ("logistic", "W", "Xᵀ\n  (A − Y)\n  /m"),
    ("logistic", "b", "sum((A − Y)[i] for i in range(m)) / m"),
    ("logistic", "b", "np.sum(A – Y, axis=0) / m"),
    ("logistic", "b", "jnp.mean(A - Y, axis=0)"),
    ("logistic", "W", "(1/m)XᵀA − (1/m)XᵀY"),
    ("logistic", "W", "m⁻¹Xᵀ(A − Y)"),
    # entries
    ("logistic", "W", "[j,k] Σ_i X[i,j]·(A[i,k] − Y[i,k])/m"),
    ("logistic", "W", "[j,k] Σᵢ Xᵢⱼ(Aᵢₖ − Yᵢₖ)/m"),
    ("logistic", "W", "[j,k] 1/m·Σ_{i=1}^{m} X_ij·(A_ik − Y_ik)"),
    ("logistic", "W", "[j,k] Σᵢ₌₁ᵐ Xᵢⱼ·(Aᵢₖ − Yᵢₖ)/m"),
    ("logistic", "b", "Σ_i (A_ik − Y_ik)/m"),
    ("logistic", "b", "∑_i (A[i,k] − Y[i,k])/m"),
    ("logistic", "b", "Σ_{i=0}^{m-1} (A[i,k] − Y[i,k])/m"),
    # LaTeX
    ("logistic", "W", r"\frac{1}{m} X^\top (A - Y)"),
    ("logistic", "W", r"$\frac{1}{m}X^{\top}\left(A-Y\right)$"),
    ("logistic", "W", r"\[ \tfrac{1}{m}\, X^T (A-Y) \]"),
    ("logistic", "W", r"\frac{X^{\mathsf T}(A-Y)}{m}"),
    ("logistic", "W", r"\dfrac{\mathbf{X}^{\intercal}(\mathbf{A}-\mathbf{Y})}{m}"),
    ("logistic", "W", r"\tfrac1m\,X^{\mathrm{T}}\cdot\bigl(A-Y\bigr)"),
    ("logistic", "b", r"\frac{1}{m}\mathbf{1}^\top (A-Y)"),
    ("logistic", "b", r"\mathrm{mean}\left(A - Y, \mathrm{axis}=0\right)"),
    ("logistic", "b", r"\frac{1}{m}\sum_{i=1}^{m}\left(A_{ik}-Y_{ik}\right)"),
    ("logistic", "W", r"\left[\sum_{i} {X}_{i,j}({A}_{i,k}-{Y}_{i,k})/m\right]_{j,k}"),
    ("two", "W1", r"\frac{1}{m}X^\top\left((A_2-Y)W_2^\top\odot A_1\odot(1-A_1)\right)"),
    ("two", "W1", r"\frac1m X^{\top}\bigl((A_{2}-Y)W_{2}^{\top}\odot\sigma'(Z_{1})\bigr)"),
    ("two", "Z1", r"\frac{(A_2-Y)W_2^T\circ\sigma(Z_1)\circ(1-\sigma(Z_1))}{m}"),
    ("two", "Z2", r"\frac{\text{softmax}(Z_2)-Y}{m}"),
    ("two", "Z2", r"\left(\operatorname{softmax}\left(Z_2\right) - Y\right) / m"),
    ("two", "W2", r"\mathbf{A}_1^\top\left(\mathbf{A}_2-\mathbf{Y}\right)/m"),
    ("two", "W2", r"{A^{(1)}}^\top (A^{(2)} - Y)/m"),
    ("two", "W2", r"A^{[1]\top}(A^{[2]}-Y)/m"),
    ("two", "W2", r"\left(A^{[1]}\right)^\top (A^{[2]} - Y)/m"),
    ("relu", "Z1", r"\frac{1}{m}(A_2-Y)W_2^\top\odot\mathbf{1}_{Z_1>0}"),
    ("relu", "Z1", r"\frac{1}{m}(A_2-Y)W_2^\top\odot\mathbb{1}\{Z_1 > 0\}"),
    ("relu", "Z1", r"\frac{1}{m}(A_2-Y)W_2^\top\odot\left[Z_1 \geq 0\right]"),
    ("tanh", "Z1", r"\tfrac{1}{m}(\hat{Y}-Y)W_2^\top\odot\left(1-\tanh(Z_1)^2\right)"),
    ("tanh", "W2", r"A_1^\top(\hat Y-Y)\times\frac{1}{m}"),
    ("ridge", "w", r"\frac{1}{n}X^\top(\hat{y}-y)+\lambda w"),
    ("ridge", "w", r"\frac{1}{n}X^\top(Xw-y)+\lambda\mathbf{w}"),
    ("length", "v", r"\frac{v}{\lVert v\rVert}"),
    ("length", "v", r"\frac{v}{\|v\|_2}"),
    ("length", "v", r"\frac{v}{\sqrt{v^\top v}}"),
    ("lasso", "x", r"\lambda\,\frac{x}{\left|x\right|}"),
    ("standard", "x", r"\frac{g}{\sqrt{\sigma^2+\epsilon}}"),
    ("standard", "g", r"\frac{x-\mu}{\sqrt{\sigma^{2}+\varepsilon}}"),
    ("step", "theta", r"\alpha\eta c"),
    ("step", "c", r"\eta\,\bar{x}"),
    ("scores", "x", r"\tfrac12\left(A+A^\top\right)x"),
    ("columns", "b", r"\frac{1}{m}E\mathbf{1}"),
    ("columns", "W", r"\frac{1}{m} E X^\top"),
]

TEXTS: list[tuple[str, str, int]] = [  # network, lines, how many claims they are
    ("logistic", "dZ = (A − Y)/m\ndW = XᵀdZ\ndb = 1ᵀdZ", 3),
    ("logistic", "dL/dZ = (A − Y)/m\ndL/dW = Xᵀ dL/dZ\ndL/db = 1ᵀ dL/dZ", 3),
    ("logistic", "∂J/∂Z = (A − Y)/m\n∂J/∂W = Xᵀ·∂J/∂Z", 2),
    ("logistic", "∂L / ∂Z = (A − Y)/m\n∂L / ∂W = Xᵀ (∂L/∂Z)", 2),
    ("logistic", "∇Z = (A − Y)/m\n∇W = Xᵀ∇Z\n∇b = 1ᵀ∇Z", 3),
    ("logistic", "∇_W L = Xᵀ(A − Y)/m", 1),
    ("logistic", "grad_Z = (A - Y)/m\ngrad_W = X.T @ grad_Z\nb_grad = np.sum(grad_Z, axis=0)", 3),
    ("logistic", "Z.grad = (A - Y)/m\nW.grad = X.T @ Z.grad", 2),
    ("logistic", "dZ := (A − Y)/m;\ndW ← XᵀdZ.", 2),
    ("logistic", "E = (A − Y)/m\ndW = XᵀE", 1),
    ("logistic", "W_grad = Xᵀ(A − Y)/m\n", 1),
    ("logistic", "dL_dW = Xᵀ(A − Y)/m", 1),
    ("logistic", "∂ℒ/∂W = Xᵀ(A − Y)/m", 1),
    ("logistic", "dW = Xᵀ(A − Y)/m\n   = (XᵀA − XᵀY)/m", 2),
    ("logistic", "dW[j,k] = Σ_i X[i,j]·(A[i,k] − Y[i,k])/m", 1),
    ("logistic", "A = σ(Z)\ndZ = (A − Y)/m\ndW = XᵀdZ", 2),
    (
        "two",
        "dZ2 = (A2 − Y)/m\ndW2 = A1ᵀdZ2\ndb2 = 1ᵀdZ2\ndA1 = dZ2W2ᵀ\n"
        "dZ1 = dA1 ⊙ A1 ⊙ (1 − A1)\ndW1 = XᵀdZ1\ndb1 = 1ᵀdZ1",
        7,
    ),
    ("two", "dZ₂ = (A₂ − Y)/m\ndW₂ = A₁ᵀdZ₂\ndZ₁ = dZ₂W₂ᵀ ⊙ A₁ ⊙ (1 − A₁)\ndW₁ = XᵀdZ₁", 4),
    ("two", "δ2 = (A2 − Y)/m\nδ1 = (δ2W2ᵀ) ⊙ A1 ⊙ (1 − A1)\n∂J/∂W1 = Xᵀδ1\n∂J/∂W2 = A1ᵀδ2", 2),
    (
        "logistic",
        r"\begin{aligned} \frac{\partial L}{\partial Z} &= \frac{A - Y}{m} \\"
        r" \frac{\partial L}{\partial W} &= X^\top \frac{\partial L}{\partial Z}"
        r" \end{aligned}",
        2,
    ),
    ("logistic", "$$\\nabla_W L = \\frac{1}{m} X^\\top (A - Y)$$", 1),
    (
        "logistic",
        "\\[\n\\frac{dL}{dZ} = \\frac{A-Y}{m}, \\\\\n\\frac{dL}{dW} = X^{T}\\frac{dL}{dZ}.\n\\]",
        2,
    ),
    (
        "two",
        r"\frac{\partial J}{\partial Z_2} = \frac{1}{m}(A_2 - Y) \\"
        r" \frac{\partial J}{\partial W_2} = A_1^\top \frac{\partial J}{\partial Z_2}",
        2,
    ),
    (
        "two",
        r"\begin{align*} \delta_2 &= (A_2 - Y)/m \\[4pt]"
        "\n"
        r"\frac{\partial J}{\partial W_{2}} &= A_{1}^{\top}\delta_{2} \end{align*}",
        1,
    ),
    ("columns", "dZ = E/m\ndW = dZ Xᵀ\ndb = dZ 𝟏", 3),
]


@pytest.mark.parametrize(("network", "name", "text"), RIGHT)
def test_unusual_writing_is_read(network: str, name: str, text: str) -> None:
    forward, inputs = FORWARD[network]
    report = verify(forward, {name: text}, inputs=inputs, repair=False)
    assert report.right, report.text()
    assert report.verdicts[0].text == text.strip()


@pytest.mark.parametrize(("network", "text", "claims"), TEXTS)
def test_lines_of_text_are_read(network: str, text: str, claims: int) -> None:
    forward, inputs = FORWARD[network]
    report = verify(forward, text, inputs=inputs, repair=False)
    assert report.right, report.text()
    assert len(report.verdicts) == claims


def test_there_are_as_many_as_are_promised() -> None:
    rights = [text for _, _, text in RIGHT] + [text for _, text, _ in TEXTS]
    assert len(set(RIGHT)) == len(RIGHT)
    assert len(rights) >= 110
    assert sum("\\" in text for text in rights) >= 20


# --- what is refused, with the spelling to use ----------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("X ⊗ A", "the sign ⊗ is not read; write np.outer(a, b), np.kron(A, B)"),
        ("∏(x)", "write np.prod(x)"),
        ("A ± Y", "write a + b, a − b"),
        ("⟨A, Y⟩", "write uᵀv"),
        ("∛x", "write x^(1/3)"),
        ("xⁿ", "write x^n"),
        ("Aᵏ", "write x^n"),
        ("1/2(m + 1)", "it is not clear what stands below the line in 1/2(m + 1)"),
        ("XᵀA/m k", "write a bracket, as in (a/m)·b or a/(m·b)"),
        ("log A Y", "it is not clear what log is taken of; write brackets, as in log(A)"),
        ("√2m", "it is not clear what √ is taken of"),
        ("max(A, 0)", "max(a, 0) has two meanings"),
        ("min(A, 1)", "np.minimum(a, 1)"),
        ("|A||Y|", "|…||…| is not read; write |a|·|b|"),
        ("‖A‖_1", "‖…‖_1 is not read here"),
        ("||x||₁", "sum(|x|)"),
        ("Σ_{i=2}^{m} A_ik", "a sum with the limits i=2 is not read"),
        ("Σ_i Σ_j X[i,j]·A[j,k]·Y[p,q]", "the indices k,p,q are not summed over"),
        ("Σ_{i=1}^{k} (A[i,k] − Y[i,k])", "Σ_i ends at 2, but the axis has length 5"),
        (r"\frac{1}{m} \sum_{i=1}^{m} x^{(i)} (a^{(i)} - y^{(i)})", "the index of a sample"),
        (r"X^{[l]}", "the index of a sample is not read"),
        (r"A \otimes Y", r"the LaTeX command \otimes is not read"),
        (r"\begin{pmatrix} 1 \end{pmatrix}", r"\begin{pmatrix}"),
        (r"\operatorname{foo}(A)", "foo is not a function of this language"),
        (r"\alpha A^10", "LaTeX raises one letter only; write ^{10}"),
        (r"\sqrt[3]{A}", "write x^{1/n}"),
        (r"\frac{\partial}{\partial A} L", "write dL/dW"),
        (r"\frac{1}{m", "'}' is missing at its end"),
        (r"\frac{1}", "something is missing at its end"),
        ("A{1}", "{ is not allowed in a claim"),
        ("X.grad", ".grad is not allowed"),
        ("A.__class__", "is not allowed"),
        ("∂L/∂Q", "∂L/∂Q is not a derivative of the loss"),
        ("∂A/∂X", "∂A/∂X is not a derivative of the loss"),
    ],
)
def test_writing_with_two_meanings_is_refused(text: str, said: str) -> None:
    values = {
        "X": np.ones((5, 3)),
        "A": np.ones((5, 2)),
        "Y": np.ones((5, 2)),
        "x": np.ones(3),
        "m": 5,
        "k": 2,
    }
    scalars = ["m", "k"]
    names = Names(values, gradients=["W"], scalars=scalars)
    with pytest.raises(ClaimError, match=re.escape(said)):
        Evaluator(values)(parse(text, names))


@pytest.mark.parametrize("sign", REFUSED_SIGNS)
def test_every_refused_sign_has_a_spelling_that_is_read(sign: str) -> None:
    with pytest.raises(ClaimError) as refusal:
        parse(f"A {sign} B", ["A", "B"])
    assert f"the sign {sign} is not read; write" in str(refusal.value)
    assert refusal.value.said("ko") != str(refusal.value)


@pytest.mark.parametrize("sign", [sign for sign, new in SIGNS.items() if new.strip()])
def test_every_sign_stands_for_one_that_is_read(sign: str) -> None:
    plain = {
        "ᵀ": "X{}",
        '"': "np.einsum({0}ij->i{0}, X)",
        "'": "np.einsum({0}ij->i{0}, X)",
        "𝟏": "X{}",
        "[": "{}Z1 > 0]",
        "]": "[Z1 > 0{}",
        "‖": "{0}v{0}",
        ":=": "",
    }
    new = SIGNS[sign]
    form = plain.get(new, "X {} X" if new in ("≥", "≤") else "m {} m")
    form = "A1 {} A1" if new in ("∘", "⊙") else "{}" if new[0] == "(" else form
    if form:
        one, other = (Evaluator(ARRAYS)(parse(form.format(s), ARRAYS)) for s in (sign, new))
        np.testing.assert_array_equal(one, other)


MINUS = str.maketrans("−–", "--")


def letters(text: str) -> str:
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", text).translate(MINUS))


def test_a_repair_is_shown_in_the_authors_own_spelling() -> None:
    forward, inputs = FORWARD["logistic"]
    for wrong, right in [
        (r"\frac{1}{m} X^\top (Y - A)", r"\frac{1}{m} X^\top (A - Y)"),
        (r"\frac{X (A - Y)}{m}", r"\frac{Xᵀ (A - Y)}{m}"),
        ("Ｘᵀ（Ｙ － Ａ）／ｍ", "Ｘᵀ（A − Y）／ｍ"),
        ("X'(Y – A) ÷ m", "X'(A − Y) ÷ m"),
    ]:
        verdict = verify(forward, {"W": wrong}, inputs=inputs)["W"]
        assert letters(verdict.after) == letters(right)
        assert verify(forward, {"W": verdict.after}, inputs=inputs, repair=False).right


def names_of(network: str) -> Names:
    """The names of a network, without running it."""
    forward, inputs = FORWARD[network]
    sizes = {word for spec in inputs.values() if isinstance(spec, str) for word in spec.split()}
    return Names({*inputs, *sizes, *forward.__code__.co_varnames, "m"})


@pytest.mark.parametrize(("network", "name", "text"), RIGHT)
def test_the_text_of_every_part_is_the_authors(network: str, name: str, text: str) -> None:
    """A tree prints as it was written, and every part of it stands at its place in the text."""
    tree = parse(text, names_of(network))
    assert render(tree) in text
    for node in tree.nodes():
        if node.source is not None:
            start, end = node.span
            assert 0 <= start <= end <= len(text)
            for part, (first, last) in zip(node.parts, node.holes, strict=True):
                assert (first, last) == (0, 0) or start <= first <= last <= end, (node, part)


def test_names_mean_themselves_first() -> None:
    names = Names(["lam", "λ", "W_1", "W1", "dZ", "Z"], gradients=["Z", "W1"])
    assert [names.resolve(n) for n in ("lam", "λ", "W_1", "W1", "dZ")] == [
        "lam",
        "λ",
        "W_1",
        "W1",
        "dZ",
    ]
    assert names.resolve("dW1") == "∂L/∂W1"
    with pytest.raises(ClaimError, match="'lambda' may stand for lam, λ"):
        names.resolve("lambda")
    assert names.resolve("Q") is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("dW1", "W1"),
        ("d_W1", "W1"),
        ("dL/dW1", "W1"),
        ("∂L/∂W1", "W1"),
        ("∂J/∂W₁", "W1"),
        ("∂L/∂W_1", "W1"),
        (r"\frac{\partial L}{\partial W_{1}}", "W1"),
        (r"\nabla_{W_1} L", "W1"),
        ("∇W1", "W1"),
        ("∇_W1", "W1"),
        ("grad_W1", "W1"),
        ("W1_grad", "W1"),
        ("W1.grad", "W1"),
        ("dLdW1", "W1"),
        ("dL_dW1", "W1"),
        ("W1_gradient", "W1"),
        ("dw1", "W1"),
        ("W1", "W1"),
        ("∂ℒ/∂λ", "lam"),
        ("dλ", "lam"),
        ("d lam", None),
        ("dA/dW1", None),
        ("dQ", None),
        ("∂A/∂W1", None),
        ("W", None),
        ("", None),
    ],
)
def test_names_of_gradients(text: str, name: str | None) -> None:
    assert Names(gradients=["W1", "lam", "A"]).target(text) == name


def test_what_is_not_claimed_is_said() -> None:
    forward, inputs = FORWARD["logistic"]
    reason = verify(forward, {"W": "XᵀdZ"}, inputs=inputs)["W"].reason
    assert "∂L/∂Z is used but not claimed; add a line ∂L/∂Z = …" in reason
    report = verify(forward, {"dZ": "(A − Y)/m", "dW": "XᵀdZ", "db": "1ᵀdZ"}, inputs=inputs)
    assert report.right and [v.name for v in report.verdicts] == ["Z", "b", "W"]


# --- half-typed claims ----------------------------------------------------------------------------

HALF_TYPED = [
    "np.",
    "np.sum(np.",
    "self.",
    "1__0",
    "",
    " ",
    "+",
    "−",
    "(",
    ")",
    "[",
    "]",
    "|",
    "‖",
    "√",
    "Σ",
    "Σ_",
    "Σ_i",
    "∂",
    "∂L/",
    "∂L/∂",
    "dL/d",
    "dL/",
    "∇",
    "∇_",
    "𝟏",
    "1ᵀ",
    "ᵀ",
    "^",
    "X^",
    "X^{",
    "X^{T",
    "\\",
    "\\frac",
    "\\frac{",
    "\\frac{1}{",
    "\\left(",
    "\\sum_{",
    "\\sum_{i=1}^",
    "\\begin{",
    "$",
    "\\mathbf",
    "\\hat{",
    "\\sqrt",
    "\\\\",
    "X @",
    "@ X",
    "X.T @ (A - Y",
    "X.T.",
    "X.T @ (A - Y) /",
    "X[",
    "X[:",
    "X[0,",
    "X[i",
    "[i,",
    "[i,j]",
    "[i,j] Σ_",
    "np.sum(A - Y, axis=",
    "np.sum(A,",
    "np.einsum('",
    "np.einsum('ij",
    "f'",
    "'",
    '"',
    "#",
    "# only a comment",
    "A if",
    "A if m",
    "for",
    "[a for",
    "[a for a in",
    "lambda",
    "X = ",
    "=",
    "==",
    "≤",
    "·",
    "⊙",
    "⟨",
    "⟩",
    "{",
    "}",
    "np..sum",
    "np.sum()",
    "sum()",
    "σ",
    "σ(",
    "σ′",
    "max(",
    "max()",
    "||",
    "||v",
    "|v",
    "1e",
    ".",
    "..",
    "...",
    "…",
    "½",
    "²",
    "⁻",
    "X⁻",
    "Xᐟ",
    ",",
    ";",
    ":",
    ":=",
    "self",
    "self.self.",
    "np.linalg.",
    "np.linalg.norm",
    "np.np.",
    "X.grad.",
    "None",
    "True",
    "inf",
    "∞",
    "π",
]


@pytest.mark.parametrize("text", HALF_TYPED)
def test_half_typed_claims_leave_the_others(text: str) -> None:
    forward, inputs = FORWARD["logistic"]
    report = verify(
        forward, {"W": text, "b": "np.sum(A - Y, axis=0) / m"}, inputs=inputs, repair=False
    )
    assert report["b"].right
    assert not report["W"].right and report["W"].reason
    report = verify(forward, f"∂L/∂b = 1ᵀ(A − Y)/m\n∂L/∂W = {text}", inputs=inputs, repair=False)
    assert report["b"].right


FORTY = [RIGHT[i] for i in range(0, len(RIGHT), len(RIGHT) // 40)][:40]


@pytest.mark.parametrize(("network", "name", "text"), FORTY)
def test_every_prefix_and_every_deletion(network: str, name: str, text: str) -> None:
    """Whatever is missing, the text is read or refused with a reason; nothing else is raised."""
    names = names_of(network)
    cut = [text[:i] for i in range(len(text))]
    cut += [text[:i] + text[i + 1 :] for i in range(len(text))]
    for half in dict.fromkeys(cut):
        try:
            tree = parse(half, names)
        except ClaimError as error:
            assert 10 < len(str(error)) < 400
            assert len(error.said("ko")) > 5
        else:
            assert isinstance(tree, Node)


ALPHABET = "XYAW12m +-*/@().,[]{}ᵀ⊙−·²σ:'\"_npsumdot=><\\$^&|‖√Σ∂∇𝟏′₁\u0302\u200b×fracleT"


@given(st.text(alphabet=ALPHABET, max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        tree = parse(text, ARRAYS)
        assert render(tree) is not None
        Evaluator(ARRAYS)(tree)
    except ClaimError as error:
        assert str(error)


@given(st.text(max_size=60))
def test_any_text_at_all(text: str) -> None:
    try:
        Evaluator(ARRAYS)(parse(text, ARRAYS))
    except ClaimError as error:
        assert str(error)
    assert is_slides(text) in (True, False)


COMMANDS = [
    r"\frac",
    "{",
    "}",
    "^",
    "_",
    r"\left(",
    r"\right)",
    r"\sum",
    "X",
    "A",
    r"\top",
    "1",
    r"\mathbf",
    r"\hat",
    r"\sqrt",
    r"\left[",
    r"\right]",
    "i",
    ",",
    "m",
    " ",
]


@given(st.lists(st.sampled_from(COMMANDS), max_size=15))
def test_any_latex(pieces: list[str]) -> None:
    text = "".join(pieces)
    try:
        written = rewrite(text)
    except ClaimError as error:
        assert str(error)
        return
    for i in range(len(written.text)):
        start, end = written.span(i, i + 1)
        assert 0 <= start <= end <= len(text)


@given(
    st.lists(
        st.sampled_from(["dZ = (A − Y)/m", "dW = XᵀdZ", "db = ", "d", "= 1", "W", "E = ("]),
        max_size=6,
    )
)
def test_any_lines(lines: list[str]) -> None:
    forward, inputs = FORWARD["logistic"]
    try:
        verify(forward, "\n".join(lines), inputs=inputs, repair=False)
    except CannotCheck as error:
        assert str(error)


def test_full_width_and_mathematical_letters_are_plain_ones() -> None:
    for c in "XYAW12m+-*/@().,[]=<>":
        wide = chr(ord(c) + 0xFEE0)
        assert unicodedata.normalize("NFKC", wide) == c
        assert rewrite(wide).text == c
    for base in (0x1D400, 0x1D434, 0x1D468, 0x1D5A0, 0x1D5D4):
        assert rewrite(chr(base + 23)).text == "X"
