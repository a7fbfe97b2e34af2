"""Names: what the author calls things.

Nobody has to name tensors by hand. While a function runs, its local variables are looked at (and
those of the functions that it calls): a tensor is called what the author's own variable is called.
A name that is used for several tensors, as in a loop over layers, is numbered: A1, A2, A3.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from . import nn
from .engine import VARIABLE, Box


class Names:
    """The names of tensors, each given once; of two that want the same, the second is numbered.

    Example:
        >>> Names().free("W")
        'W'
    """

    def __init__(self) -> None:
        self.of: dict[Box, str] = {}
        self.arrays: dict[int, str] = {}
        self.helpers: dict[Box, Box | None] = {}  # which get no name, and what gets it instead
        self.constants: list[tuple[Any, str]] = []  # arrays with what they may be called
        self._taken: set[str] = {"L"}

    def give(self, x: Any, name: str) -> None:
        """Call x that, unless it has a name already."""
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
        """Who gets the name that x has been given."""
        while isinstance(x, Box) and not x.name and x in self.helpers:
            x = self.helpers[x]
        return x

    def free(self, name: str) -> str:
        """The name, or with a number behind it if it is taken."""
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
        """Names from local variables: those in `first`, then those of outer functions."""
        wanted: dict[str, list[Any]] = {}
        owner: dict[int, str] = {}

        def order(entry: tuple[int, str, Any]) -> tuple[bool, int]:
            depth, name, x = entry
            return (name, id(x)) not in first, depth

        for depth, name, x in sorted(found, key=order):
            if name.startswith(("_", ".")) or x is loss or id(x) in owner:
                continue
            if (x := self._bearer(x)) is None or id(x) in owner:
                continue
            if isinstance(x, Box) and (x in self.of or x.value is loss.value):
                continue
            if not isinstance(x, Box) and (id(x) in self.arrays or x.ndim == 0):
                continue
            if isinstance(x, Box) and x.name:
                self.give(x, x.name)
                continue
            if depth > 1 and isinstance(x, Box) and x.value.ndim == 0 and x.record:
                continue  # a number on the way, inside some other function
            owner[id(x)] = name
            wanted.setdefault(name, []).append(x)
        for name, tensors in wanted.items():
            tensors.sort(key=lambda x: x.record[0] if isinstance(x, Box) and x.record else 0)
            several = len(tensors) > 1 and not name[-1].isdigit()
            numbers = [f"{name}{k}" for k in range(1, len(tensors) + 1)]
            if several and not {*numbers} & {*wanted, *self._taken}:
                for x, new in zip(tensors, numbers, strict=True):
                    self.give(x, new)
            else:
                for x in tensors:
                    self.give(x, name)

    def give_layers(
        self, layers: Iterable[tuple[Any, Box]], own: Mapping[int, str] | None = None
    ) -> None:
        """Z1 for what the first layer gives, and so on: the number is that of its weights. What
        is normalised after it is N1, what is pooled P1. A name of the author's `own` comes first.
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
        """A1 for σ(Z1), where the author has no name for it."""
        for node in nodes:
            if node.record[1].activation and node not in self.of:
                z = self.of.get(node.record[2][0], "") if _boxed(node.record[2][0]) else ""
                if re.fullmatch(r"[ZNP]\d*", z):
                    self.give(node, f"A{z[1:]}")

    def for_activation(self, z: Box) -> str:
        """What to call softmax(z), which only a rule has computed."""
        return self.free(activation_name(self.of.get(z, ""), self._taken))


def activation_name(z: str, taken: Iterable[str]) -> str:
    """A2 for softmax(Z2), else the next A.

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
    """The name without what a formula cannot have in it.

    Example:
        >>> clean("a.b")
        'a_b'
    """
    return re.sub(r"\W+", "_", name).strip("_")


def parameter_names(model: nn.Module) -> Iterator[tuple[Box, str]]:
    """W1, b1, W2, b2 … for the layers in their order (W, b for a single one), γ and β for what
    scales and shifts after a normalisation; other parameters are called what their attribute is.

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
    """The tensors and arrays in an argument, with their names: W[0], W[1] of a list are W1, W2.

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


def _boxed(x: Any) -> bool:
    return isinstance(x, Box) and (x.record is None or x.record[1] is not VARIABLE)
