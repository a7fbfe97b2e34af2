"""The timed contestants compute the same, and one that does not is found."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.cases import NETWORKS, Network

SMALL = [
    Network("binary", (5, 4, 1), batch=6, steps=3),
    Network("single", (5, 1), batch=6, steps=3),
    Network("classes", (5, 4, 3), batch=6, steps=3),
    Network("relu", (5, 4, 4, 3), batch=6, steps=3, hidden="relu"),
]


@pytest.fixture(autouse=True)
def floatx_is_back_to_default() -> Iterator[None]:
    yield
    if keras := sys.modules.get("keras"):
        keras.config.set_floatx("float32")


@pytest.mark.filterwarnings("default")  # of frameworks that are none of ours
@pytest.mark.parametrize("name", peers.PEERS)
@pytest.mark.parametrize("network", SMALL, ids=lambda network: network.name)
def test_each_peer_computes_what_is_written_by_hand(name: str, network: Network) -> None:
    made, left_out = peers.contestants(network, [name])
    if left_out:
        pytest.skip(left_out[name])
    assert [w.shape for w in made[name].weights()] == [w.shape for w in network.weights()]


def test_a_peer_that_computes_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def faster(network: Network) -> peers.Contestant:
        return peers.optimised(replace(network, lr=network.lr * (1 + 1e-6)))

    monkeypatch.setitem(peers.PEERS, "faster", faster)
    with pytest.raises(AssertionError, match="faster"):
        peers.contestants(SMALL[0], ["faster"])


def test_a_peer_in_another_precision_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def wider(network: Network) -> peers.Contestant:
        return peers.optimised(replace(network, dtype="float64"))

    monkeypatch.setitem(peers.PEERS, "wider", wider)
    with pytest.raises(AssertionError, match="weights of wider are float64"):
        peers.contestants(SMALL[0], ["wider"])


def test_what_is_not_installed_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    made, left_out = peers.contestants(SMALL[0], ["plain NumPy", "PyTorch, eager"])
    assert list(made) == ["plain NumPy"]
    assert left_out == {"PyTorch, eager": "torch is not installed"}


def test_the_seven_networks_start_from_equal_numbers_each_time() -> None:
    assert list(NETWORKS) == ["single", "dual", "mini", "multi", "keras", "wide", "deep"]
    network = NETWORKS["mini"]
    for first, second in zip(network.weights(), network.weights(), strict=True):
        assert first is not second
        np.testing.assert_array_equal(first, second)
    X, Y = network.batches()
    assert (X.shape, Y.shape) == ((100, 32, 30), (100, 32, 1))
    assert X.dtype == Y.dtype == np.float32
