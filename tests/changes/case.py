"""One kind of change: a small training whose step reads something that is then changed.

A kind is a function that builds a `Case`, registered by `@kind`. It builds everything anew, so that
an eager and a captured run share nothing; what it must patch in shared modules goes through
`Case.patch`, which is undone at the end of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import nn, optim

# What `tg.compile` must do about a kind at least, from best to worst.
FOLLOWED = "followed"  # every call is as without compile
REFUSED = "refused"  # CannotCapture at tracing, before a weight moves
RAISED = "raised"  # an error within the calls that the documentation promises
SILENT = "silent"  # other numbers and no error
ORDER = [FOLLOWED, REFUSED, RAISED, SILENT]

rng = np.random.default_rng(0)
X = rng.normal(size=(7, 4, 3))  # seven batches, taken in turn: weights never come to rest
Y = rng.normal(size=(7, 4, 2))
W = rng.normal(size=(3, 2))


def sgd(parameters: Any) -> Any:
    return optim.SGD(parameters, lr=0.05)


def adam(parameters: Any) -> Any:
    return optim.Adam(parameters, lr=0.01)


def train_step(case: Case) -> Callable[..., Any]:
    """Return the usual step of a case: forward, loss, backward, update."""
    model, moves, loss_function = case.model, case.moves, case.loss

    def step(x: Any, y: Any) -> Any:
        loss = loss_function(model(x), y)
        moves.zero_grad()
        loss.backward()
        moves.step()
        return loss

    return step


def batch(case: Case, call: int) -> tuple[Any, ...]:
    """Return the arguments of a call, in the dtype of the first parameter."""
    dtype = next(case.model.parameters()).dtype
    return X[call % 7].astype(dtype), Y[call % 7].astype(dtype)


def nothing(case: Any) -> None:
    """Change nothing."""


@dataclass
class Case:
    """A model with all that it is trained by, and a change of something that its step reads.

    change     called between two calls; of a case that changes by itself it does nothing
    arguments  of the step, at call 0, 1, …
    step       makes the function that is captured; `fit` makes its own
    """

    model: Any
    change: Callable[[Case], Any] = nothing
    loss: Any = tg.mse_loss
    optimizer: Callable[[Any], Any] = sgd
    step: Callable[[Case], Callable[..., Any]] = train_step
    arguments: Callable[[Case, int], tuple[Any, ...]] = batch
    moves: Any = None
    undo: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.moves = self.optimizer(self.model.parameters())

    def patch(self, target: Any, name: str, value: Any) -> None:
        """Set an attribute of a module or class that others share, until the run is over."""
        self.undo.enter_context(mock.patch.object(target, name, value))


@dataclass(frozen=True)
class Kind:
    """A row of the table.

    at_least   what `tg.compile` does at worst: FOLLOWED, REFUSED or RAISED
    in_fit     whether `fit` can be given such a case
    by_itself  changes without `Case.change`: at the call `at`, or at every call
    """

    name: str
    at_least: str
    build: Callable[[int], Case]
    in_fit: bool = True
    by_itself: bool = False
    every_call: bool = False


KINDS: dict[str, Kind] = {}


def kind(
    name: str,
    at_least: str,
    *,
    in_fit: bool = True,
    by_itself: bool = False,
    every_call: bool = False,
) -> Callable[[Callable[[int], Case]], None]:
    """Register the function below as the builder of a kind; it gets the number of the call at
    which things change (1 is the first)."""

    def register(build: Callable[[int], Case]) -> None:
        assert name not in KINDS, name
        KINDS[name] = Kind(name, at_least, build, in_fit, by_itself or every_call, every_call)

    return register


@contextmanager
def built(row: Kind, at: int) -> Iterator[Case]:
    """Build a case, and put back afterwards what it has patched."""
    with ExitStack() as stack:
        case = row.build(at)
        stack.enter_context(case.undo)
        yield case


# --- layers that read a number somewhere ----------------------------------------------------------


class Factor(nn.Module):
    """X W · factor(), a layer that reads a number somewhere."""

    def __init__(self) -> None:
        self.w = nn.Parameter(W.copy())

    def factor(self) -> Any:
        """Return the number; to be written by each kind."""
        raise NotImplementedError

    def forward(self, x: Any) -> Any:
        return (x @ self.w) * self.factor()


def layer(factor: Callable[[Any], Any], **members: Any) -> Any:
    """Return a layer of a class of its own, with this method and these class attributes."""
    return type("Layer", (Factor,), {"factor": lambda self: factor(self), **members})()


def module(source: str, name: str = "mycfg", **members: Any) -> Any:
    """Return a module with this source, as if it had been imported from a file."""
    made = ModuleType(name)
    vars(made).update(members)
    exec(compile(source, f"/somewhere/{name}.py", "exec"), vars(made))
    return made
