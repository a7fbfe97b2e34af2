"""How a Keras model was compiled, as arguments of `fit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import losses, ops
from ..engine import Array
from ..nn import Module, Sigmoid, Softmax
from ..optim import SGD
from ..tensor import Tensor
from ..training import metrics
from .layers import TURNED


def fit_arguments(
    config: Mapping[str, Any],
    model: Module,
    penalties: list[tuple[Tensor, float, float]],
    state: Sequence[Array],
) -> dict[str, Any]:
    """The arguments of `fit` that say what `compile` said.

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
    crossed = CROSSED.get(metrics.LOSSES.get(loss) if isinstance(loss, str) else None)
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
    **{(name.replace("_", ""), False): name for name in metrics.LOSSES},
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
    """What a metric is called, and the name by which it is known here."""
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


def _optimizer(optimizer: Any, model: Module, state: Sequence[Array]) -> SGD:
    """Keras' SGD as ours, its velocities with it: what is −lr·v there is v here."""
    kind, config = optimizer.get("class_name"), dict(optimizer.get("config", {}))
    if kind != "SGD":
        raise ValueError(
            f"the optimizer {kind} does not move weights exactly as any here (Keras' Adam adds its "
            "epsilon elsewhere): from_keras(…) without settings, and give fit one yourself"
        )
    lr, momentum = config.pop("learning_rate"), config.pop("momentum")
    nesterov = config.pop("nesterov")
    for option in ("name", "ema_momentum", "is_legacy_optimizer", "jit_compile"):
        config.pop(option, None)
    odd = {k: v for k, v in config.items() if v not in (None, False)}
    if odd or not isinstance(lr, (int, float)):
        odd = odd or {"learning_rate": lr.get("class_name")}
        raise ValueError(f"the optimizer's {odd} has no counterpart here: give fit one yourself")
    made = SGD(model.parameters(), lr, momentum, bool(nesterov and momentum))
    trained = [i for i, p in enumerate(made.parameters) if p.requires_grad]
    velocities = [np.transpose(v, TURNED) if v.ndim == 4 else v for v in state[2:]]
    if momentum and velocities and state[0] > 0:
        if [v.shape for v in velocities] != [made.parameters[i].shape for i in trained]:
            raise ValueError("the optimizer's velocities do not fit the model's weights")
        made.state = {
            i: {"momentum_buffer": np.asarray(-v / lr, made.parameters[i].dtype)}
            for i, v in zip(trained, velocities, strict=True)
        }
    return made
