"""New layers, optimizers and schedules are PyTorch's to ten digits over 50 steps.

Live where PyTorch is installed; against what it had come to (tests/tools/twins.json) everywhere.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.tools import twins
from tests.tools.twins import RECORDED, STEPS, TWINS, Path50, Twin
from tinygrad_edu import nn

CLOSE: Any = {"rtol": 1e-10, "atol": 1e-10}


def assert_same_path(mine: Path50, other: Path50) -> None:
    assert_allclose(mine.losses, other.losses, **CLOSE)
    assert_allclose(mine.rates, other.rates, **CLOSE)
    assert mine.state.keys() == other.state.keys()
    for name, array in mine.state.items():
        assert array.shape == other.state[name].shape, name
        assert_allclose(array, other.state[name], **CLOSE, err_msg=name)
    assert_allclose(mine.evaluated, other.evaluated, **CLOSE)
    assert len(mine.losses) == STEPS


def recorded(name: str) -> Path50:
    return twins.from_json(json.loads(RECORDED.read_text(encoding="utf-8"))[name])


@pytest.mark.parametrize("name", TWINS)
def test_training_is_what_was_recorded_from_pytorch(name: str) -> None:
    assert_same_path(twins.ours(TWINS[name]), recorded(name))


@pytest.mark.parametrize("name", TWINS)
def test_training_is_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = twins.theirs(TWINS[name], torch)
    assert_same_path(twins.ours(TWINS[name]), theirs)
    assert_same_path(recorded(name), theirs)  # what was recorded is still what it does


def test_what_was_recorded_is_small_and_whole() -> None:
    assert RECORDED.stat().st_size < 100_000
    assert json.loads(RECORDED.read_text(encoding="utf-8")).keys() == TWINS.keys()


def test_every_twin_learns_something() -> None:
    for name, twin in TWINS.items():
        path = recorded(name)
        start = twins.first_state(twin)
        assert any(np.abs(path.state[k] - start[k]).max() > 0.05 for k in start), name
        assert len(set(path.rates)) > 1 or twin.schedule is None, name


class Slower(nn.BatchNorm2d):
    """Running means with the wrong momentum."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{**settings, "momentum": 0.3001})


@pytest.mark.parametrize(
    "twin",
    [
        replace(
            TWINS["images, SGD"],
            optimizer=lambda T, p: T.SGD(p, lr=0.05, momentum=0.8, weight_decay=0.01),
        ),
        replace(TWINS["images, SGD"], schedule=lambda S, o: S.StepLR(o, 3, gamma=0.7)),
        replace(TWINS["images, SGD"], module=lambda N: swapped(twins.images(N))),
    ],
    ids=["no nesterov", "another schedule", "another momentum"],
)
def test_the_comparison_notices_what_is_wrong(twin: Twin) -> None:
    with pytest.raises(AssertionError):
        assert_same_path(twins.ours(twin), recorded("images, SGD"))


def swapped(model: Any) -> Any:
    setattr(model, "1", Slower(4))
    return model
