"""`check_layer`: planted mistakes in layers are caught and told, the layers of the library pass."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.test_custom_layers import examples
from tinygrad_edu import nn
from tinygrad_edu.checking.testing import CHECKS, LayerError, check_layer

PLANTED: dict[str, tuple[Any, str, str]] = {}


def planted(check: str, told: str) -> Callable[[Any], Any]:
    """A layer with a mistake, the check that must fail, and what must be said."""

    def note(layer: Any) -> Any:
        PLANTED[layer.__name__] = (layer, check, told)
        return layer

    return note


class Dense(nn.Module):
    """A right one, in which mistakes are planted."""

    def __init__(self) -> None:
        self.W = nn.Parameter(np.random.default_rng(0).normal(size=(3, 2)))
        self.b = nn.Parameter(np.zeros(2))

    def forward(self, x: Any) -> Any:
        return x @ self.W + self.b


class Centred(nn.Module):
    """A right one that follows the batches."""

    momentum = 0.1

    def __init__(self) -> None:
        self.mean = nn.Buffer(np.zeros(3))

    def forward(self, x: Any) -> Any:
        if not self.training:
            return x - self.mean
        mean = np.mean(x, axis=0)
        self.follow(mean)
        return x - mean

    def follow(self, mean: Any) -> None:
        self.mean.data = 0.9 * self.mean + 0.1 * mean


class Drop(nn.Module):
    """A right one that is random in training."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def forward(self, x: Any) -> Any:
        return x * (self.rng.random(x.shape) < 0.5) * 2 if self.training else x


@pytest.mark.parametrize("layer", [Dense, Centred, Drop])
def test_the_layers_in_which_mistakes_are_planted_are_right(layer: Any) -> None:
    check_layer(layer(), (4, 3))


@planted("parameters", "variable of shape (2,) that parameters() does not find")
class HiddenInASet(Dense):
    def __init__(self) -> None:
        super().__init__()
        self.b = None  # type: ignore[assignment]
        self.hidden = {nn.Parameter(np.ones(2))}

    def forward(self, x: Any) -> Any:
        return x @ self.W + next(iter(self.hidden))


GLOBAL = tg.Tensor([1.0, 2.0], requires_grad=True)


@planted("parameters", "variable of shape (2,) that parameters() does not find")
class GlobalWeight(Dense):
    def forward(self, x: Any) -> Any:
        return x @ self.W + GLOBAL


@planted("parameters", "raised NotImplementedError")
class WithoutForward(nn.Module):
    pass


@planted("gradients", "the gradient by W is wrong, in 6 of 6 entries")
class BlockedByNumpy(Dense):
    def forward(self, x: Any) -> Any:
        return x @ self.W.numpy() + self.b


@planted("gradients", "the gradient by the input is wrong")
class BlockedInput(Dense):
    def forward(self, x: Any) -> Any:
        return x.detach() @ self.W + self.b


wrong_square = tg.primitive(lambda g, y, x: g * x)(lambda x: x * x)


@planted("gradients", "1/2 times the right one")
class WrongRule(nn.Module):
    def forward(self, x: Any) -> Any:
        return wrong_square(x)


@planted("gradients", "WrongInTraining in training: the gradient by the input is wrong")
class WrongInTraining(Centred):
    def forward(self, x: Any) -> Any:
        return super().forward(x if not self.training else x + (x * x).detach())


@planted("inputs", "input 0 was changed in place")
class InputChanged(Dense):
    def forward(self, x: Any) -> Any:
        x.value[...] *= 0.5
        return super().forward(x)


@planted("inputs", "b is changed by the forward pass")
class ParameterChanged(Dense):
    def forward(self, x: Any) -> Any:
        if self.training:
            self.b.data = self.b.numpy() + 1
        return super().forward(x)


@planted("inputs", "a result is overwritten by the next call")
class ResultReused(nn.Module):
    def __init__(self) -> None:
        self.buffers_by_shape: dict[Any, Any] = {}

    def forward(self, x: Any) -> Any:
        kept = self.buffers_by_shape.setdefault(x.shape, np.empty(x.shape))
        kept[...] = x.numpy()
        return tg.Tensor(kept)


@planted("random", "draws from NumPy's global source")
class NumpysGlobalSource(Drop):
    def forward(self, x: Any) -> Any:
        return x * (np.random.random(x.shape) < 0.5) if self.training else x


class _Shared:
    rng = np.random.default_rng(0)


@planted("random", "draws from a source that is not its own")
class HiddenRandomness(nn.Module):
    def forward(self, x: Any) -> Any:
        return x + _Shared.rng.normal() if self.training else x


@planted("training", "in eval() it gives other numbers each time")
class ActiveInEval(Drop):
    def forward(self, x: Any) -> Any:
        return x * (self.rng.random(x.shape) < 0.5) * 2


@planted("training", "mean changes in eval()")
class FollowsInEval(Centred):
    def forward(self, x: Any) -> Any:
        self.follow(np.mean(x, axis=0))
        return x - self.mean


@planted("training", "mean goes 0.9 of the way to the batch's value, momentum=0.1 says 0.1")
class WrongMomentum(Centred):
    def follow(self, mean: Any) -> None:
        self.mean.data = 0.1 * self.mean + 0.9 * mean


@planted("training", "eval() leaves parts of it in training")
class TrainOverridden(Drop):
    def train(self, mode: bool = True) -> Any:
        self.training = True
        return self


@planted("state", "what it learnt is not all in []")
class StateNotSaved(Centred):
    def __init__(self) -> None:
        self.running = np.zeros(3)

    def forward(self, x: Any) -> Any:
        if not self.training:
            return x - self.running
        mean = np.mean(x, axis=0)
        self.running = 0.9 * self.running + 0.1 * mean.numpy()
        return x - mean


@planted("state", "gives other numbers")
class LoadedHalf(Dense):
    def load_state_dict(self, state: Any) -> None:
        self.W.data = state["W"]


@planted("dtypes", "of float32 it gives float64")
class Float64Leak(Dense):
    def forward(self, x: Any) -> Any:
        return super().forward(x) * np.ones(2)


@planted("dtypes", "more than rounding")
class LosesDigits(nn.Module):
    def forward(self, x: Any) -> Any:
        return (x + 1e5) - 1e5


@planted("samples", "it depends on the batch")
class BatchDependent(nn.Module):
    def forward(self, x: Any) -> Any:
        return x - np.mean(x, axis=0)


@planted("samples", "no samples at all raise ZeroDivisionError")
class NothingDividesByZero(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * (len(x) / len(x))


@planted("samples", "no samples give (1, 3), expected (0, 3)")
class NothingBecomesSomething(nn.Module):
    def forward(self, x: Any) -> Any:
        return x if len(x) else tg.Tensor(np.zeros((1, 3)))


@planted("errors", "raise KeyError")
class SpeechlessRefusal(Dense):
    def forward(self, x: Any) -> Any:
        names: dict[str, Any] = {}
        return super().forward(x) if x.shape[-1] == 3 else names["no"]


@planted("errors", "refused without a word")
class WordlessRefusal(Dense):
    def forward(self, x: Any) -> Any:
        if x.shape[-1] != 3:
            raise ValueError
        return super().forward(x)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_caught_and_told(name: str) -> None:
    layer, check, told = PLANTED[name]
    with pytest.raises(LayerError) as caught:
        check_layer(layer(), (4, 3))
    assert told in caught.value.failures[check]
    assert re.match(rf"{name} fails \d checks?:\n  ", str(caught.value))


def test_there_are_enough_of_them_and_one_for_each_check() -> None:
    assert len(PLANTED) >= 15
    assert {check for _, check, _ in PLANTED.values()} == set(CHECKS)


# --- what is right --------------------------------------------------------------------------------


def indices(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.integers(0, 5, shape)


LAYERS: list[tuple[nn.Module, Any, dict[str, Any]]] = [
    (nn.Linear(3, 2), (4, 3), {}),
    (nn.Linear(3, 2, bias=False, dtype=np.float32), (4, 3), {}),
    (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.3), nn.Linear(4, 2)), (3, 3), {}),
    *(
        (layer, (4, 3), {})
        for layer in (
            nn.Sigmoid(),
            nn.ReLU(),
            nn.Tanh(),
            nn.Softmax(),
            nn.SiLU(),
            nn.GELU(),
            nn.LeakyReLU(),
            nn.Softplus(),
            nn.Dropout(0.4, rng=0),
            nn.BatchNorm1d(3),
            nn.LayerNorm(3),
            nn.BatchNorm1d(3, momentum=None),
            nn.BatchNorm1d(3, affine=False),
        )
    ),
    (nn.Flatten(), (3, 2, 2), {}),
    (nn.BatchNorm1d(3), (3, 3, 2), {}),
    (nn.BatchNorm2d(2), (3, 2, 2, 2), {}),
    (nn.Embedding(5, 3), (4, 2), {"domain": indices}),
    (nn.Conv2d(2, 3, 2), (2, 2, 3, 3), {}),
    (nn.MaxPool2d(2), (2, 2, 4, 4), {}),
    (nn.AvgPool2d(2), (2, 2, 4, 4), {}),
    (nn.MSELoss(), [(4, 3), (4, 3)], {"samples": False}),
    (nn.BCEWithLogitsLoss(), [(4,), (4,)], {"samples": False, "domain": (0.1, 0.9)}),
]


@pytest.mark.parametrize(("layer", "shapes", "how"), LAYERS, ids=[repr(x[0]) for x in LAYERS])
def test_the_layers_of_the_library_pass(layer: nn.Module, shapes: Any, how: dict[str, Any]) -> None:
    before = layer.state_dict()
    check_layer(layer, shapes, **how)
    for name, array in layer.state_dict().items():
        assert array.tobytes() == before[name].tobytes()  # it is left as it was
    assert layer.training


PAGE: dict[str, tuple[tuple[Any, ...], tuple[int, ...], dict[str, Any]]] = {
    "WeightNorm": ((3, 2, 0), (4, 3), {}),
    "Dropout": ((0.5, 0), (4, 3), {}),
    "BatchNorm1d": ((3,), (4, 3), {}),
    "LayerNorm": ((3,), (4, 3), {}),
    "Embedding": ((5, 3, 0), (4, 2), {"domain": indices}),
    "Conv2d": ((2, 3, 2, 0), (2, 2, 3, 3), {}),
    "MaxPool2d": ((2,), (2, 2, 4, 4), {}),
    "Recurrent": ((2, 3, 0), (3, 4, 2), {}),
}


@pytest.mark.parametrize("name", PAGE)
def test_the_layers_of_the_documentation_pass(name: str) -> None:
    arguments, shape, how = PAGE[name]
    check_layer(examples()[name](*arguments), shape, **how)


# --- how it is called -----------------------------------------------------------------------------


def test_a_check_that_does_not_apply_is_left_out() -> None:
    check_layer(BatchDependent(), (4, 3), skip=["samples"])
    check_layer(BatchDependent(), (4, 3), samples=False)
    with pytest.raises(ValueError, match=r"no checks \['sample'\]; there are \['parameters', "):
        check_layer(BatchDependent(), (4, 3), skip=["sample"])


def test_what_cannot_be_checked() -> None:
    with pytest.raises(TypeError, match=r"takes an instance of nn.Module, received .*Linear"):
        check_layer(nn.Linear, (4, 3))  # type: ignore[arg-type]
    for given in (4, np.ones((4, 3))):
        with pytest.raises(TypeError, match=r"shape of the input is a tuple, .* received (4|arr)"):
            check_layer(nn.Linear(3, 2), given)  # type: ignore[arg-type]
    with pytest.raises(LayerError, match="give a smaller layer"):
        check_layer(nn.Linear(100, 50), (4, 100))
    with pytest.raises(LayerError, match=r"raised ValueError: .*expects X with 3 columns"):
        check_layer(nn.Linear(3, 2), (4, 5))


FAILING = """
import numpy as np
import tinygrad_edu as tg
from tinygrad_edu.checking.gradients import gradcheck
from tinygrad_edu.checking.rules import check_rule
from tinygrad_edu.checking.testing import check_layer

@tg.primitive(lambda g, y, x: g)
def double(x):
    return 2 * x

class Double(tg.nn.Module):
    def forward(self, x):
        return double(x)

def test_rule():
    check_rule(double)

def test_gradient():
    gradcheck(double, np.ones(2))

def test_layer():
    check_layer(Double(), (2, 3))
"""


def test_under_pytest_a_failure_shows_the_users_lines_only(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(FAILING)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert "3 failed" in run.stdout, run.stdout
    assert run.stdout.count("1/2 times the right one") >= 3
    assert not re.search(r"^(\S*checking\S*py|.*raise )", run.stdout, re.M), run.stdout


def test_all_failures_are_told_at_once() -> None:
    class Two(Dense):
        def forward(self, x: Any) -> Any:
            return x @ self.W.numpy() + self.b * np.ones(2)

    with pytest.raises(LayerError, match="Two fails 2 checks") as caught:
        check_layer(Two(), (4, 3))
    assert list(caught.value.failures) == ["gradients", "dtypes"]
