"""Work that is a class: the class, an instance, its method, gradients that it stores in self."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.hostile import TASK
from tinygrad_edu.verifying.functions import ClaimError
from tinygrad_edu.verifying.problems import CannotCheck
from tinygrad_edu.verifying.running import Here
from tinygrad_edu.verifying.submissions import check_folder
from tinygrad_edu.verifying.verification import verify

SIZES = {"X": "m n", "Y": "m k onehot", "W": "n k", "b": "k"}


def forward(X: Any, Y: Any, W: Any, b: Any) -> Any:
    A = tg.softmax(X @ W + b)
    return -(Y * np.log(A)).sum() / len(X)


class Returns:
    def __init__(self, units: int = 3) -> None:
        self.units = units

    def error(self, Y: Any) -> Any:
        return (self.A - Y) / len(Y)  # type: ignore[attr-defined]

    def backprop(self, X: Any, Y: Any) -> Any:
        return {"W": X.T @ self.error(Y), "b": self.error(Y).sum(axis=0)}


class Stores:
    """Its constructor needs an argument."""

    def __init__(self, units: int) -> None:
        self.units, self.W, self.b = units, np.zeros((9, units)), np.zeros(units)
        self.db = None

    def backprop(self, X: Any, Y: Any) -> None:
        err = (self.A - Y) / len(X)  # type: ignore[attr-defined]
        self.dW = X.T @ err
        self.db = err.sum(axis=0)


class InPlace(Stores):
    def __init__(self, units: int) -> None:
        super().__init__(units)
        self.dW = np.zeros(3)

    def backprop(self, X: Any, Y: Any) -> Any:
        err = (self.A - Y) / len(X)  # type: ignore[attr-defined]
        self.W_grad, self.dW, self.grad_b = X.T @ err, None, np.zeros(err.shape[1])
        for row in err:
            self.grad_b += row
        return self


class Grads:
    def __init__(self) -> None:
        self.params = {"W": np.ones((2, 2)), "b": np.zeros(2)}
        self.grads: dict[str, Any] = {}

    def backprop(self, X: Any, Y: Any) -> None:
        A = tg.softmax(X @ self.params["W"] + self.params["b"])
        self.grads["W"] = X.T @ (A - Y) / len(X)
        self.grads["db"] = (A - Y).mean(axis=0)


class GradsOfUnits:
    def __init__(self, units: int) -> None:
        self.gradients: dict[str, Any] = {}
        self.units, self.cache = units, {"err": 0}

    def backprop(self, X: Any, Y: Any) -> None:
        self.gradients["dW"] = X.T @ (self.A - Y) / len(X)  # type: ignore[attr-defined]
        self.gradients["db"] = (self.A - Y).mean(axis=0)  # type: ignore[attr-defined]


class Static:
    @staticmethod
    def backprop(X: Any, Y: Any, A: Any) -> Any:
        return {"W": X.T @ (A - Y) / len(X), "b": (A - Y).mean(axis=0)}


CLAIMS: dict[str, Callable[[], Any]] = {
    "a class": lambda: Returns,
    "an instance": Returns,
    "a method": lambda: Returns.backprop,
    "a bound method": lambda: Returns().backprop,
    "a class that stores": lambda: Stores,
    "an instance that stores": lambda: Stores(3),
    "a method that stores": lambda: Stores.backprop,
    "a bound method that stores": lambda: Stores(3).backprop,
    "stored in place": lambda: InPlace,
    "an instance, stored in place": lambda: InPlace(3),
    "a dictionary": lambda: Grads,
    "an instance's dictionary": Grads,
    "a dictionary beside arguments": lambda: GradsOfUnits,
    "a static method": lambda: Static,
    "an instance's static method": lambda: Static(),
}


@pytest.mark.parametrize("name", [name for name in CLAIMS if name != "a method"])
def test_a_class_is_read_however_it_is_given(name: str) -> None:
    report = verify(forward, CLAIMS[name](), inputs=SIZES)
    assert report.right and {v.name for v in report.verdicts} == {"W", "b"}


def test_a_method_without_its_class_has_no_other_methods() -> None:
    with pytest.raises(CannotCheck, match="has no attribute 'error'"):
        verify(forward, Returns.backprop, inputs=SIZES)


def test_a_mistake_in_what_is_stored_is_repaired() -> None:
    class Wrong:
        def backprop(self, X: Any, Y: Any) -> None:
            err = (self.A - Y) / len(X)  # type: ignore[attr-defined]
            self.dW = X @ err
            self.db = err.sum()

    for claims in (Wrong, Wrong(), Wrong().backprop, Wrong.backprop):
        report = verify(forward, claims, inputs=SIZES)
        assert report["b"].after.endswith("self.db = err.sum(axis=0)")
        assert not report["W"].right and not report["b"].right


def test_an_instance_is_left_as_it_is() -> None:
    mine = Grads()
    verify(forward, mine, inputs=SIZES)
    assert mine.grads == {} and mine.params["W"].shape == (2, 2)


# --- what cannot be read --------------------------------------------------------------------------


def _class(body: Callable[[Any, Any], Any]) -> type:
    return type("Net", (), {"backprop": body})


def _listed(self: Any, X: Any) -> None:
    self.grads = [X, X]


def _nothing(self: Any, X: Any) -> None:
    self.cost = 3.0


def _unknown(self: Any, X: Any) -> None:
    self.dQ = X


REFUSED = [
    (_class(_nothing), r"self\.dW = … or self\.grads\['W'\]"),
    (_class(_listed), r"return a dictionary, or say wrt="),
    (_class(_unknown), "dQ, which are no names of forward"),
    (type("Net", (), {"backward": _nothing}), r"has no method `backprop`.*Net\.backward"),
    (type("Net", (), {}), "has no method `backprop`"),
]


@pytest.mark.parametrize(("claims", "said"), REFUSED)
def test_what_cannot_be_read_is_refused_with_the_spelling(claims: Any, said: str) -> None:
    with pytest.raises(CannotCheck, match=said):
        verify(forward, claims, inputs=SIZES)
    try:
        verify(forward, claims, inputs=SIZES, lang="ko")
    except CannotCheck as error:
        assert any("가" <= c <= "힣" for c in str(error))


def test_a_list_is_in_the_order_of_wrt() -> None:
    class Net:
        def backprop(self, X: Any, Y: Any) -> None:
            err = (self.A - Y) / len(X)  # type: ignore[attr-defined]
            self.grads = [err.sum(axis=0), X.T @ err]

    assert verify(forward, Net, inputs=SIZES, wrt=["b", "W"]).right
    with pytest.raises(ClaimError):
        Here(type("Net", (), {}))


# --- in files -------------------------------------------------------------------------------------

HEAD = "class Net:\n    def __init__(self{0}):\n        self.grads = {{}}\n"
BODY = "    def backprop(self, X, Y):\n        err = (self.A - Y) / len(X)\n"
STORE = "        self.dW = X.T @ err\n        self.db = err.sum(axis=0)\n"
KEEP = "        self.grads['W'] = X.T @ err\n        self.grads['b'] = err.sum(axis=0)\n"
FILES = {
    "attributes": HEAD.format("") + BODY + STORE,
    "dictionary": HEAD.format("") + BODY + KEEP,
    "with_units": HEAD.format(", units") + BODY + KEEP,
    "instance": HEAD.format("") + BODY + STORE + "backprop = Net()\n",
    "claimed": HEAD.format(", units") + BODY + STORE + "claims = Net(3)\n",
    "bound": HEAD.format("") + BODY + KEEP + "claims = Net().backprop\n",
    "listed": HEAD.format("") + BODY + "        self.grads = [X.T @ err, err.sum(axis=0)]\n",
    "helper": HEAD.format("")
    + "    def slope(self, Y):\n        return (self.A - Y) / len(Y)\n"
    + "    def backprop(self, X, Y):\n"
    + "        E = self.slope(Y)\n        return X.T @ E, E.sum(axis=0)\n",
}


def test_classes_in_files(tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    (tmp_path / "task.py").write_text(TASK)
    for name, text in FILES.items():
        (tmp_path / "class" / f"{name}.py").write_text(text)
    wrong = FILES["attributes"].replace("(axis=0)", "()")
    (tmp_path / "class" / "wrong.py").write_text(wrong)
    (tmp_path / "class" / "zero.py").write_text(FILES["attributes"].replace("self.d", "d"))
    found = {o.file[:-3]: o for o in check_folder(tmp_path / "class", tmp_path / "task.py")}
    zero, bad = found.pop("zero"), found.pop("wrong")
    assert {name: o.reason for name, o in found.items() if o.code} == {}
    assert zero.code == 2 and "self.dW" in zero.reason
    assert bad.code == 1 and bad.first()["after"] == "self.db = err.sum(axis=0)"
    assert bad.first()["line"] == wrong.splitlines().index("        self.db = err.sum()") + 1
