"""Initialisers: the distributions they draw from, and the sources they draw with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygrad_edu
from tinygrad_edu import init, nn


@pytest.fixture(autouse=True)
def numpys_global_source_is_left_alone() -> Iterator[None]:
    """Nothing here may draw from, or seed, the random numbers that all of a program share."""
    before = np.random.get_state(legacy=False)
    yield
    after = np.random.get_state(legacy=False)
    assert before["state"]["pos"] == after["state"]["pos"]
    assert_array_equal(before["state"]["key"], after["state"]["key"])


def test_a_source_is_taken_as_it_is() -> None:
    generator, legacy = np.random.default_rng(0), np.random.RandomState(0)
    assert init.as_random(generator) is generator
    assert init.as_random(legacy) is legacy


@pytest.mark.parametrize("seed", [0, 42, np.int64(42), 2**100])
def test_a_seed_makes_a_generator(seed: Any) -> None:
    rng = init.as_random(seed)
    assert isinstance(rng, np.random.Generator)
    assert_array_equal(rng.random(5), np.random.default_rng(seed).random(5))


def test_no_seed_gives_other_numbers_each_time() -> None:
    first, second = init.as_random(None), init.as_random(None)
    assert not np.array_equal(first.random(5), second.random(5))


def test_what_is_drawn_without_a_source_is_the_same_after_the_same_seed() -> None:
    def drawn() -> list[Any]:
        layer = nn.Linear(3, 2)
        return [layer.weight.numpy(), nn.Linear(2, 2).weight.numpy(), init.normal((4,), None)]

    assert tinygrad_edu.manual_seed(7) is init.as_random(None)
    first = drawn()
    second = drawn()
    init.manual_seed(7)
    for a, b, c in zip(first, second, drawn(), strict=True):
        assert_array_equal(a, c)
        assert not np.array_equal(a, b)


def test_who_holds_the_common_source_starts_anew_with_it() -> None:
    held = init.as_random(None)
    init.manual_seed(3)
    first = held.random(4)
    init.manual_seed(3)
    assert_array_equal(held.random(4), first)
    assert_array_equal(first, np.random.default_rng(3).random(4))


def test_a_source_of_ones_own_is_not_disturbed_by_the_common_one() -> None:
    own = np.random.default_rng(5)
    nn.Linear(3, 2, rng=own)
    init.manual_seed(1)
    nn.Linear(3, 2)
    want = np.random.default_rng(5)
    nn.Linear(3, 2, rng=want)
    assert own.random() == want.random()


@pytest.mark.parametrize("seed", [None, 1.5, "7", -1])
def test_no_seed_at_all_is_refused(seed: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        init.manual_seed(seed)


def test_unseeded_runs_differ() -> None:
    code = "from tinygrad_edu import nn; print(nn.Linear(2, 2).weight.tolist())"
    runs = {subprocess.check_output([sys.executable, "-c", code], text=True) for _ in range(2)}
    assert len(runs) == 2


@pytest.mark.parametrize("rng", ["42", 1.0, [1], np.random, np.random.default_rng])
def test_anything_else_is_refused(rng: Any) -> None:
    with pytest.raises(TypeError, match="Generator, a RandomState, a seed or None"):
        init.as_random(rng)
    with pytest.raises(TypeError, match="Generator, a RandomState, a seed or None"):
        nn.Linear(2, 1, rng=rng)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError):
        init.as_random(-1)


@pytest.mark.parametrize("source", [np.random.default_rng, np.random.RandomState])
def test_glorot_uniform(source: Any) -> None:
    w = init.glorot_uniform((300, 200), source(1))
    limit = np.sqrt(6 / 500)
    assert w.shape == (300, 200)
    assert w.dtype == np.float64
    # uniform: no further than the limit, close to it on both sides, mean 0, variance limit²/3,
    # each to within five standard errors of 60,000 numbers
    assert -limit <= w.min() < -0.999 * limit
    assert 0.999 * limit < w.max() <= limit
    assert abs(w.mean()) < 5 * limit / np.sqrt(3 * w.size)
    assert abs(w.var() / (limit**2 / 3) - 1) < 5 * np.sqrt(0.8 / w.size)
    quarters = np.histogram(w, bins=4, range=(-limit, limit))[0] / w.size
    assert abs(quarters - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / w.size)


@pytest.mark.parametrize("source", [np.random.default_rng, np.random.RandomState])
@pytest.mark.parametrize("mean, std", [(0.0, 1.0), (3.0, 0.1)])
def test_normal(source: Any, mean: float, std: float) -> None:
    w = init.normal((300, 200), source(2), mean=mean, std=std)
    assert w.shape == (300, 200)
    z = (w - mean) / std
    assert abs(z.mean()) < 5 / np.sqrt(z.size)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / z.size)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / z.size)  # the kurtosis of a normal one


def test_normal_has_the_numbers_of_the_chapter() -> None:
    # What the slides draw after np.random.seed(42): the first weights of w1 (30, 10), then w2.
    rng = np.random.RandomState(42)
    w1, w2 = init.normal((30, 10), rng), init.normal((10, 1), rng)
    before = np.random.get_state()
    try:
        np.random.seed(42)
        assert_array_equal(w1, np.random.normal(0, 1, (30, 10)))
        assert_array_equal(w2, np.random.normal(0, 1, (10, 1)))
    finally:
        np.random.set_state(before)
    assert w1[0, :3].tolist() == [0.4967141530112327, -0.13826430117118466, 0.6476885381006925]


def test_one_seed_one_result() -> None:
    for draw in (init.glorot_uniform, init.normal):
        first = draw((4, 3), np.random.default_rng(5))
        assert_array_equal(first, draw((4, 3), np.random.default_rng(5)))
        assert not np.array_equal(first, draw((4, 3), np.random.default_rng(6)))


def test_ones_and_zeros() -> None:
    for rng in (None, np.random.default_rng(0)):
        assert_array_equal(init.ones((2, 3), rng), np.ones((2, 3)))
        assert_array_equal(init.zeros((2, 3), rng), np.zeros((2, 3)))
    assert init.ones((2,)).dtype == init.zeros((2,)).dtype == np.float64


def test_layers_leave_the_global_source_alone() -> None:
    for draw in (init.glorot_uniform, init.normal):  # the fixture looks
        nn.Linear(3, 2, init=draw)
        nn.Linear(3, 2, rng=0, init=draw)
