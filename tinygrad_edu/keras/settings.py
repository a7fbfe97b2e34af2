"""The settings of a compiled Keras model, as arguments of `fit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import losses, ops
from ..arrays import Array
from ..nn import Module, Sigmoid, Softmax
from ..optim import SGD, Adam, Optimizer, State
from ..tensor import Tensor
from ..training import keras_losses, metrics
from .layers import TURNED


def fit_arguments(
    config: Mapping[str, Any],
    model: Module,
    penalties: list[tuple[Tensor, float, float]],
    state: Sequence[Array],
) -> dict[str, Any]:
    """Return the arguments of `fit` that correspond to `compile` of a Keras model.

    Example:
        >>> sgd = {"class_name": "SGD", "config": {"learning_rate": 0.1, "momentum": 0.0,
        ...        "nesterov": False}}
        >>> compiled = {"optimizer": sgd, "loss": "mse", "metrics": ["mae"]}
        >>> model = tg.nn.Linear(2, 1, rng=0)
        >>> arguments = fit_arguments({"compile_config": compiled}, model, [], [])
        >>> arguments["loss"], arguments["metrics"], arguments["optimizer"].lr
        ('mse', {'mae': 'mae'}, 0.1)
    """
    compiled = config.get("compile_config") or {}
    if not compiled.get("optimizer") or not compiled.get("loss"):
        raise ValueError(
            "the Keras model was not compiled: from_keras(…) without settings reads it"
        )
    for option in ("loss_weights", "weighted_metrics"):
        if compiled.get(option):
            raise ValueError(f"compile's {option}={compiled[option]!r:.80} has no counterpart here")
    loss = _loss(compiled["loss"])
    crossed = CROSSED.get(keras_losses.LOSSES.get(loss) if isinstance(loss, str) else None)
    if crossed and isinstance([*model.modules()][-1], crossed):
        raise ValueError(
            f"the loss {loss} after a {crossed.__name__}: Keras on TensorFlow then takes what went "
            "into it for logits of another kind, other back ends do not; give fit a loss yourself"
        )
    settings = {
        "loss": loss,
        "optimizer": _optimizer(compiled["optimizer"], model, state),
        "metrics": dict(_metric(metric) for metric in compiled.get("metrics") or []),
    }
    if penalties:
        settings["penalty"] = lambda model: sum(
            l1 * ops.sum(ops.abs(w)) + l2 * ops.sum(ops.square(w)) for w, l1, l2 in penalties
        )
    return settings


# Whether from probabilities or logits; a class's name is the function's without its low lines.
LOSSES: dict[tuple[str, bool], Any] = {
    ("categoricalcrossentropy", True): losses.cross_entropy,
    ("sparsecategoricalcrossentropy", True): losses.cross_entropy,
    ("binarycrossentropy", True): losses.binary_cross_entropy_with_logits,
    **{(name.replace("_", ""), False): name for name in keras_losses.LOSSES},
}
# A loss, and the activation of the other one.
CROSSED: dict[Any, type[Module]] = {
    metrics.binary_crossentropy: Softmax,
    metrics.categorical_crossentropy: Sigmoid,
}
FREE = ("name", "dtype", "fn")
USUAL = {
    "reduction": "sum_over_batch_size",
    "label_smoothing": 0.0,
    "axis": -1,
    "threshold": 0.5,
    "k": 5,
}


def _loss(loss: Any) -> Any:
    config = dict(loss.get("config", {})) if isinstance(loss, dict) else {}
    name = str(loss["class_name"] if isinstance(loss, dict) else loss)
    found = LOSSES.get((name.replace("_", "").lower(), bool(config.pop("from_logits", False))))
    odd = {k: v for k, v in config.items() if k not in FREE and v != USUAL.get(k)}
    if found is None or odd:
        raise ValueError(
            f"the loss {name}{odd or ''} has no counterpart here: give fit one yourself"
        )
    return found


def _metric(metric: Any) -> tuple[str, str]:
    """Return the name of a metric in Keras, and the name by which it is known here."""
    if isinstance(metric, str):
        name = known = metric
    else:
        config = dict(metric.get("config", {}))
        name = config.pop("name", "")
        odd = {k: v for k, v in config.items() if k not in FREE and v != USUAL.get(k)}
        kind = str(metric["class_name"]).lower()
        known = next((m for m in metrics.METRICS if m.replace("_", "") == kind and not odd), "")
    if known not in metrics.METRICS and known not in ("accuracy", "acc"):
        raise ValueError(
            f"the metric {metric!r:.80} has no counterpart here: give fit one yourself"
        )
    return name, known


class KerasAdam(Adam):
    """Adam with Keras' arithmetic: eps is added to √v, not to √v̂.

        W ← W − lr · √(1 − β₂ᵗ)/(1 − β₁ᵗ) · m/(√v + eps)      at its t-th step

    Source:  keras.optimizers.Adam
    Example:
        >>> w = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> optimizer = KerasAdam([w], lr=0.1, eps=1e-7)
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        >>> w.data.round(6)
        array([0.9, 1.9])
    """

    def _adapted(self, w: Any, g: Any, state: State, lr: Any) -> tuple[Any, State]:
        beta1, beta2 = self.betas
        t = state["step"] + 1
        m = state["exp_avg"] + (g - state["exp_avg"]) * (1 - beta1)
        v = state["exp_avg_sq"] + (g * g - state["exp_avg_sq"]) * (1 - beta2)
        share = np.sqrt(1 - np.power(beta2, t)) / (1 - np.power(beta1, t))
        w = w - m * (lr * ops.astype(share, w.dtype)) / (np.sqrt(v) + self.eps)
        return w, {"step": t, "exp_avg": m, "exp_avg_sq": v}


def _optimizer(optimizer: Any, model: Module, state: Sequence[Array]) -> Optimizer:
    """Return Keras' SGD or Adam as an optimizer of ours, with its state for each weight."""
    kind, config = optimizer.get("class_name"), dict(optimizer.get("config", {}))
    if kind not in ("SGD", "Adam"):
        raise ValueError(
            f"the optimizer {kind} does not move weights exactly as any here; there are SGD and "
            "Adam: from_keras(…) without settings, and give fit one yourself"
        )
    lr = config.pop("learning_rate")
    names = ("momentum", "nesterov") if kind == "SGD" else ("beta_1", "beta_2", "epsilon")
    given = [config.pop(name) for name in names]
    for option in ("name", "ema_momentum", "is_legacy_optimizer", "jit_compile"):
        config.pop(option, None)
    odd = {k: v for k, v in config.items() if v not in (None, False)}
    if odd or not isinstance(lr, (int, float)):
        odd = odd or {"learning_rate": lr.get("class_name")}
        raise ValueError(f"the optimizer's {odd} has no counterpart here: give fit one yourself")
    made: Optimizer
    if kind == "SGD":
        momentum, nesterov = given
        made = SGD(model.parameters(), lr, momentum, bool(nesterov and momentum))
    else:
        beta1, beta2, eps = given
        made = KerasAdam(model.parameters(), lr, (beta1, beta2), eps)
    steps = int(state[0]) if len(state) else 0
    if steps and len(state) > 2:
        kept = [np.transpose(v, TURNED) if v.ndim == 4 else v for v in state[2:]]
        made.state = _kept(made, steps, kept)
    return made


def _kept(made: Optimizer, steps: int, kept: list[Array]) -> dict[int, State]:
    """Return the state of Keras' optimizer as ours: for SGD velocities, −lr·v there for v here; for
    Adam m and v in turn.
    """
    trained = [i for i, p in enumerate(made.parameters) if p.requires_grad]
    each = 1 if isinstance(made, SGD) else 2
    expected = [made.parameters[i].shape for i in trained for _ in range(each)]
    if [v.shape for v in kept] != expected:
        raise ValueError("what the optimizer has kept does not fit the model's weights")
    found: dict[int, State] = {}
    for k, i in enumerate(trained):
        dtype = made.parameters[i].dtype
        own = [np.asarray(v, dtype) for v in kept[each * k : each * (k + 1)]]
        if each == 1:
            found[i] = {"momentum_buffer": np.asarray(-own[0] / made.lr, dtype)}
        else:
            found[i] = {"step": np.array(float(steps)), "exp_avg": own[0], "exp_avg_sq": own[1]}
    return found
