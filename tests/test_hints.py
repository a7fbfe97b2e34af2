"""Hints: names of PyTorch's that are not here, and that what is said in their place is right."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import nn, pytorch_names

OWNERS: list[tuple[Any, dict[str, str], str]] = [
    (tg.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True), pytorch_names.TENSOR, "Tensor"),
    (nn.Linear(2, 1, rng=0), pytorch_names.MODULE, "nn.Module"),
    (tg, pytorch_names.PACKAGE, ""),
    (nn, pytorch_names.NN, "nn"),
]
NAMES = [(owner, table, name) for owner, table, _ in OWNERS for name in table]


@pytest.mark.parametrize("owner, table, name", NAMES, ids=[name for *_, name in NAMES])
def test_a_name_of_pytorchs_says_what_to_write(owner: Any, table: Any, name: str) -> None:
    assert not hasattr(owner, name)
    with pytest.raises(AttributeError) as failed:
        getattr(owner, name)
    assert str(failed.value).endswith(f"has no attribute {name!r}; here: {table[name]}")
    assert failed.value.name == name
    assert name not in dir(owner)


@pytest.mark.parametrize("owner, table, where", OWNERS, ids=[where for *_, where in OWNERS])
def test_they_are_pytorchs_names(owner: Any, table: Any, where: str) -> None:
    torch: Any = pytest.importorskip("torch")
    theirs = torch
    for part in filter(None, where.split(".")):
        theirs = getattr(theirs, part)
    known = {*dir(theirs), "functional", *(["device", "half"] if where == "nn.Module" else [])}
    assert table.keys() <= known


def test_what_is_to_be_written_for_a_tensor_runs() -> None:
    t = OWNERS[0][0]
    names = {
        "np": np,
        "tg": tg,
        "t": t,
        "other": t,
        "k": 2,
        "mask": t > 2,
        "value": 0.0,
        "shape": (2, 2),
        "axes": (1, 0),
        "axis": 0,
        "low": 0,
        "high": 1,
    }
    ran = 0
    for hint in pytorch_names.TENSOR.values():
        code = hint.partition(",")[0] if hint.startswith(("t.size", "t.ndim")) else hint
        if code.startswith(("t", "np.")) and " = " not in code and ", which" not in code:
            code = code.partition(" gives")[0].partition(" copies")[0].partition(":")[0]
            if code.startswith(("there", "tg.grad")):
                continue
            eval(code, dict(names))
            ran += 1
    assert ran > 20
    clone = eval(pytorch_names.TENSOR["clone"].partition(" copies")[0], dict(names))
    assert not np.shares_memory(clone.numpy(), t.numpy())
    assert not clone.requires_grad


def test_any_other_name_is_missing_as_ever() -> None:
    for owner, *_ in OWNERS:
        with pytest.raises(AttributeError, match=r"has no attribute 'nonsense'$"):
            owner.nonsense  # noqa: B018
    for name in ("add_", "zero_", "fill_"):
        with pytest.raises(AttributeError, match="nothing is changed in place"):
            getattr(OWNERS[0][0], name)


class WithProperty(tg.nn.Module):
    @property
    def depth(self) -> int:
        return len(self.layerz)  # type: ignore[attr-defined]


class TensorWithProperty(tg.Tensor):
    @property
    def depth(self) -> Any:
        return self.numpy().depht  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("owner", "message"),
    [(WithProperty(), "'layerz'"), (TensorWithProperty([1.0]), "'depht'")],
    ids=["module", "tensor"],
)
def test_an_error_inside_a_property_is_the_one_to_be_seen(owner: Any, message: str) -> None:
    with pytest.raises(AttributeError, match=message):
        owner.depth  # noqa: B018
    assert getattr(owner, "depth", None) is None


def test_copies_and_pickles_do_not_mind() -> None:
    t, layer = OWNERS[0][0], OWNERS[1][0]
    made: list[Callable[[Any], Any]]
    made = [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
    for make in made:
        assert make(t).tolist() == t.tolist()
        assert make(layer).weight.tolist() == layer.weight.tolist()
