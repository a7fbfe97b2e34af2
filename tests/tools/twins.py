"""Networks that are built twice, here and in PyTorch, and trained side by side.

    python -m tests.tools.twins      train PyTorch's, and write the results to twins.json

Both start from the same weights and see the same 50 batches. `tests/test_twins.py` compares every
step where PyTorch is installed, and with what was written down where it is not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import nn, optim
from tinygrad_edu.arrays import Array
from tinygrad_edu.optim import lr_scheduler

STEPS = 50
RECORDED = Path(__file__).with_suffix(".json")


@dataclass
class Twin:
    """One network with its optimizer and schedule; `N`, `T`, `S` are either library's names.

    module     (N) -> the network
    optimizer  (T, parameters) -> the optimizer
    schedule   (S, optimizer) -> the schedule, stepped every fifth step, or None
    loss       (N) -> the loss as a module
    inputs     the shape of a batch; whole: integers below 7
    targets    what the loss takes: "classes", "numbers" or "shares"
    """

    module: Callable[[Any], Any]
    loss: Callable[[Any], Any]
    optimizer: Callable[[Any, Any], Any]
    inputs: tuple[int, ...]
    targets: str
    schedule: Callable[[Any, Any], Any] | None = None
    whole: bool = False
    outputs: int = 3

    def batch(self, step: int) -> tuple[Array, Array]:
        rng = np.random.RandomState(step)  # whose numbers never change
        x = rng.randint(0, 7, self.inputs) if self.whole else rng.normal(size=self.inputs)
        m = self.inputs[0]
        y = {
            "classes": rng.randint(0, self.outputs, m),
            "numbers": rng.normal(size=(m, self.outputs)),
            "shares": rng.uniform(size=(m, self.outputs)),
        }[self.targets]
        return x, y


def dense(N: Any) -> Any:
    return N.Sequential(
        N.Linear(4, 5, bias=False),
        N.BatchNorm1d(5),
        N.GELU(),
        N.Linear(5, 6),
        N.LayerNorm(6),
        N.SiLU(),
        N.Linear(6, 3),
    )


def activations(N: Any) -> Any:
    return N.Sequential(
        N.Linear(4, 5),
        N.LeakyReLU(0.2),
        N.Linear(5, 5),
        N.Softplus(beta=2),
        N.Linear(5, 5),
        N.GELU(approximate="tanh"),
        N.Linear(5, 3),
    )


def sequences(N: Any) -> Any:
    return N.Sequential(
        N.Embedding(7, 3),
        N.BatchNorm1d(4, eps=1e-3, momentum=None),
        N.LayerNorm((4, 3), bias=False),
        N.Flatten(),
        N.Linear(12, 3),
    )


def images(N: Any) -> Any:
    return N.Sequential(
        N.Conv2d(2, 4, 3, padding=1, bias=False),
        N.BatchNorm2d(4, momentum=0.3),
        N.ReLU(),
        N.MaxPool2d(2),
        N.Conv2d(4, 3, (2, 3), stride=(1, 2), padding=1),
        N.Tanh(),
        N.AvgPool2d(2, stride=1),
        N.MaxPool2d(3, stride=2, padding=1),
        N.Flatten(),
        N.Linear(6, 3),
    )


def plain(N: Any) -> Any:
    return N.Sequential(N.Linear(4, 5), N.Tanh(), N.Linear(5, 3))


def cross_entropy(N: Any) -> Any:
    return N.CrossEntropyLoss()


def squares(N: Any) -> Any:
    return N.MSELoss()


ROWS, IMAGES = (8, 4), (6, 2, 6, 6)
TWINS: dict[str, Twin] = {
    "dense, AdamW, cosine": Twin(
        dense,
        cross_entropy,
        lambda T, p: T.AdamW(p, lr=0.02, weight_decay=0.1),
        ROWS,
        "classes",
        lambda S, o: S.CosineAnnealingLR(o, T_max=7, eta_min=0.001),
    ),
    "activations, Adam": Twin(
        activations,
        squares,
        lambda T, p: T.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.05),
        ROWS,
        "numbers",
        lambda S, o: S.ExponentialLR(o, 0.9),
    ),
    "activations, shares": Twin(
        activations,
        lambda N: N.BCEWithLogitsLoss(reduction="sum"),
        lambda T, p: T.SGD(p, lr=0.02, momentum=0.9),
        ROWS,
        "shares",
        lambda S, o: S.LambdaLR(o, lambda t: 1 / (1 + t)),
    ),
    "sequences, Adam": Twin(
        sequences,
        cross_entropy,
        lambda T, p: T.Adam(p, lr=0.02),
        (6, 4),
        "classes",
        lambda S, o: S.LinearLR(o, 0.1, total_iters=4),
        whole=True,
    ),
    "images, SGD": Twin(
        images,
        cross_entropy,
        lambda T, p: T.SGD(p, lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.01),
        IMAGES,
        "classes",
        lambda S, o: S.StepLR(o, 2, gamma=0.7),
    ),
    "images, AdamW": Twin(
        images, cross_entropy, lambda T, p: T.AdamW(p, lr=0.01), IMAGES, "classes"
    ),
    "plain, plateau": Twin(
        plain,
        squares,
        lambda T, p: T.SGD(p, lr=0.1),
        ROWS,
        "numbers",
        lambda S, o: S.ReduceLROnPlateau(o, factor=0.5, patience=1, cooldown=1),
    ),
    "plain, plateau of a maximum": Twin(
        plain,
        squares,
        lambda T, p: T.SGD(p, lr=0.1),
        ROWS,
        "numbers",
        lambda S, o: S.ReduceLROnPlateau(o, "max", 0.3, 0, 0.05, "abs", min_lr=0.002),
    ),
}


@dataclass
class Path50:
    """The compared values: loss and learning rate at each step, everything at the end."""

    losses: list[float]
    rates: list[float]
    state: dict[str, Array]
    evaluated: Array  # what the network gives for the first batch, in eval


def first_state(twin: Twin) -> dict[str, Array]:
    """The weights that both start from."""
    rng, state = np.random.RandomState(1), twin.module(nn).state_dict()
    return {
        name: np.asarray(rng.uniform(-0.6, 0.6, array.shape))
        if name.endswith(("weight", "bias"))
        else array
        for name, array in state.items()
    }


def transposed(model: nn.Module) -> set[str]:
    """The weights that PyTorch keeps the other way round."""
    return {f"{name}.weight" for name, m in model.named_modules() if isinstance(m, nn.Linear)}


def ours(twin: Twin) -> Path50:
    model = twin.module(nn)
    model.load_state_dict(first_state(twin))
    optimizer = twin.optimizer(optim, model.parameters())
    schedule = twin.schedule and twin.schedule(lr_scheduler, optimizer)
    measure, losses, rates = twin.loss(nn), [], []
    for step in range(STEPS):
        x, y = twin.batch(step)
        loss = measure(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        rates.append(optimizer.lr)
        optimizer.step()
        losses.append(loss.item())
        if schedule and step % 5 == 4:
            plateau = isinstance(schedule, lr_scheduler.ReduceLROnPlateau)
            schedule.step(loss.item()) if plateau else schedule.step()
    with tg.no_grad():
        evaluated = model.eval()(twin.batch(0)[0]).numpy()
    return Path50(losses, rates, model.state_dict(), evaluated)


def theirs(twin: Twin, torch: Any) -> Path50:
    model, turned = twin.module(torch.nn).double(), transposed(twin.module(nn))
    start = first_state(twin)
    model.load_state_dict(
        {name: torch.tensor(a.T if name in turned else a) for name, a in start.items()}
    )
    optimizer = twin.optimizer(torch.optim, model.parameters())
    schedule = twin.schedule and twin.schedule(torch.optim.lr_scheduler, optimizer)
    measure, losses, rates = twin.loss(torch.nn), [], []
    for step in range(STEPS):
        x, y = map(torch.tensor, twin.batch(step))
        loss = measure(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        losses.append(loss.item())
        if schedule and step % 5 == 4:
            plateau = isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau)
            schedule.step(loss.item()) if plateau else schedule.step()
    state = {name: t.detach().numpy() for name, t in model.state_dict().items()}
    with torch.no_grad():
        evaluated = model.eval()(torch.tensor(twin.batch(0)[0])).numpy()
    state = {name: a.T if name in turned else a for name, a in state.items()}
    return Path50(losses, rates, state, evaluated)


def as_json(path: Path50) -> dict[str, Any]:
    return {
        "losses": path.losses,
        "rates": path.rates,
        "state": {name: a.tolist() for name, a in path.state.items()},
        "evaluated": path.evaluated.tolist(),
    }


def from_json(told: dict[str, Any]) -> Path50:
    state = {name: np.array(a) for name, a in told["state"].items()}
    return Path50(told["losses"], told["rates"], state, np.array(told["evaluated"]))


def main() -> None:
    """Write down what PyTorch's networks came to."""
    import torch

    torch.set_num_threads(1)
    told = {name: as_json(theirs(twin, torch)) for name, twin in TWINS.items()}
    RECORDED.write_text(json.dumps(told, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
