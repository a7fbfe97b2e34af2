"""Names: what the tensors of a computation are called in formulas and pictures.

A tensor is named after the author's own local variable (see `frames.local_variables`). If several
tensors have the same name, as in a loop over layers, they are numbered: A1, A2, A3.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from . import nn
from .engine import VARIABLE, Box


class Names:
    """The names of tensors. A name is given once; if it is taken, a number is appended.

    Example:
        >>> Names().free("W")
        'W'
    """

    def __init__(self) -> None:
        self.of: dict[Box, str] = {}
        self.arrays: dict[int, str] = {}
        self.helpers: dict[Box, Box | None] = {}  # a tensor → the one to name instead
        self.constants: list[tuple[Any, str]] = []  # arrays and their names
        self._taken: set[str] = {"L"}

    def give(self, x: Any, name: str) -> None:
        """Give x this name unless it has one already."""
        x = self._bearer(x)
        if not (name := clean(name)) or x is None:
            return
        if isinstance(x, Box):
            if x not in self.of:
                self.of[x] = self.free(name)
        elif id(x) not in self.arrays:
            self.arrays[id(x)] = self.free(name)
            self.constants.append((x, self.arrays[id(x)]))

    def _bearer(self, x: Any) -> Any:
        """Return the tensor to name in place of x: x itself unless it is a helper."""
        while isinstance(x, Box) and not x.name and x in self.helpers:
            x = self.helpers[x]
        return x

    def free(self, name: str) -> str:
        """Return the name, with a number appended if it is taken."""
        new, k = name, 2
        while new in self._taken:
            new = f"{name}_{k}" if name[-1].isdigit() else f"{name}{k}"
            k += 1
        self._taken.add(new)
        return new

    def give_all(
        self,
        found: Iterable[tuple[int, str, Any]],
        loss: Box,
        first: Collection[tuple[str, int]] = (),
    ) -> None:
        """Give names from local variables: those in `first`, then those of outer functions."""
        wanted: dict[str, list[Any]] = {}
        owner: set[int] = set()  # ids of tensors and arrays that have a name by now

        def order(entry: tuple[int, str, Any]) -> tuple[bool, int]:
            depth, name, x = entry
            return (name, id(x)) not in first, depth

        for depth, name, x in sorted(found, key=order):
            if name.startswith(("_", ".")) or x is loss or id(x) in owner:
                continue
            if (x := self._bearer(x)) is None or id(x) in owner or not self._nameable(x, loss):
                continue
            if isinstance(x, Box) and x.name:
                self.give(x, x.name)
            elif not (depth > 1 and _is_computed_number(x)):  # inside of some other function
                owner.add(id(x))
                wanted.setdefault(name, []).append(x)
        for name, tensors in wanted.items():
            self._give_numbered(name, tensors, wanted)

    def _nameable(self, x: Any, loss: Box) -> bool:
        """Return True if x has no name yet, and is neither the loss nor a plain number."""
        if isinstance(x, Box):
            return x not in self.of and x.value is not loss.value
        return id(x) not in self.arrays and x.ndim > 0

    def _give_numbered(self, name: str, tensors: list[Any], wanted: Collection[str]) -> None:
        """Give several tensors of one name the names A1, A2, … if these are free."""
        tensors.sort(key=lambda x: x.record[0] if isinstance(x, Box) and x.record else 0)
        several = len(tensors) > 1 and not name[-1].isdigit()
        numbers = [f"{name}{k}" for k in range(1, len(tensors) + 1)]
        if not several or {*numbers} & {*wanted, *self._taken}:
            numbers = [name] * len(tensors)
        for x, new in zip(tensors, numbers, strict=True):
            self.give(x, new)

    def give_layers(
        self, layers: Iterable[tuple[Any, Box]], own: Mapping[int, str] | None = None
    ) -> None:
        """Name the results of layers: Z1 for the first linear layer, with the number of its
        weights, N1 for the normalisation after it, P1 for the pooling. Names in `own`, the
        author's, come first.
        """
        number = ""
        for layer, result in layers:
            if own and id(result) in own:
                self.give(result, own[id(result)])
                continue
            letter = type(layer).letter
            if letter == "Z":
                weight = self.of.get(layer.weight, "")
                if not re.fullmatch(r"W\d*", weight):
                    continue
                number = weight[1:]
            self.give(result, letter + number)

    def give_activations(self, nodes: Iterable[Box]) -> None:
        """Name activations that the author did not: A1 for σ(Z1)."""
        for node in nodes:
            if node.record[1].activation and node not in self.of:
                z = self.of.get(node.record[2][0], "") if _boxed(node.record[2][0]) else ""
                if re.fullmatch(r"[ZNP]\d*", z):
                    self.give(node, f"A{z[1:]}")

    def for_activation(self, z: Box) -> str:
        """Return a name for softmax(z) that only a rule has computed."""
        return self.free(activation_name(self.of.get(z, ""), self._taken))


def activation_name(z: str, taken: Iterable[str]) -> str:
    """Return A2 for the activation of Z2; if z has no such name, the next free A.

    Example:
        >>> activation_name("Z2", ["Z1", "A1", "Z2"]), activation_name("X", ["A1"])
        ('A2', 'A2')
    """
    match = re.fullmatch(r"[Zz](\w*)", z)
    if match:
        return ("A" if z[0] == "Z" else "a") + match[1]
    last = [int(n[1:]) for n in taken if re.fullmatch(r"A\d+", n)]
    return f"A{max(last) + 1}" if last else "A"


def clean(name: str) -> str:
    """Return the name without characters that a formula cannot contain.

    Example:
        >>> clean("a.b")
        'a_b'
    """
    return re.sub(r"\W+", "_", name).strip("_")


def parameter_names(model: nn.Module) -> Iterator[tuple[Box, str]]:
    """Yield parameters with their names: W1, b1, W2, b2 … for linear layers in order (W, b for a
    single one), γ and β for normalisations; others are named after their attribute.

    Example:
        >>> [name for _, name in parameter_names(nn.Linear(2, 1, rng=0))]
        ['W', 'b']
    """
    known: set[Box] = set()
    for kind, letters in (("Z", "Wb"), ("N", "γβ")):
        own = (m for m in model.modules() if type(m).letter == kind)
        layers: list[Any] = [m for m in own if getattr(m, "weight", None) is not None]
        for k, layer in enumerate(layers, 1):
            for parameter, letter in zip((layer.weight, layer.bias), letters, strict=True):
                if parameter is not None:
                    known.add(parameter)
                    yield parameter, f"{letter}{k}" if len(layers) > 1 else letter
    for path, parameter in model.named_parameters():
        if parameter not in known:
            yield parameter, parameter.name or path.rpartition(".")[2]


def leaves(name: str, x: Any) -> Iterator[tuple[str, Any]]:
    """Yield the tensors and arrays in an argument, with their names: W1, W2 for W[0], W[1] of a
    list.

    Example:
        >>> [name for name, _ in leaves("W", [np.ones(1), np.ones(2)])]
        ['W1', 'W2']
    """
    if isinstance(x, (list, tuple)):
        for k, part in enumerate(x, 1):
            yield from leaves(f"{name}{k}", part)
    elif isinstance(x, Mapping):
        for key, part in x.items():
            yield from leaves(str(key), part)
    elif isinstance(x, (Box, np.ndarray)):
        yield name, x


def _is_computed_number(x: Any) -> bool:
    """Return True for a recorded tensor of shape ()."""
    return isinstance(x, Box) and x.value.ndim == 0 and x.record is not None


def _boxed(x: Any) -> bool:
    return isinstance(x, Box) and (x.record is None or x.record[1] is not VARIABLE)
