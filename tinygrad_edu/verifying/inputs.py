"""Read the kinds and sizes of the inputs of `forward`, and draw random values that fit.

An input is given by its sizes (`"m n"`, letters or numbers), by a tuple of numbers, which is a
shape, by an example array, or by a number. What its entries are is said by one word, its kind:

| kind | entries | constraint |
|---|---|---|
| `real` (default) | normal, mean 0, variance 1; a single number: 0.5 to 2 | none |
| `positive` | 0.3 to 2 | all above 0 |
| `probability` | 0 to 1 | each vector along the axis of the classes adds up to 1 |
| `binary` | 0 or 1 | none |
| `onehot` | 0 or 1 | one 1 in each vector along the axis of the classes |
| `labels` | whole numbers 0 … k − 1 | `m k labels` has the shape (m,), with k classes |

The axis of the classes may be said: `k m onehot(axis=0)`. Otherwise it is the axis along which
`forward` normalises (`problems.axes_of_classes`), else the last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, count
from typing import Any

import numpy as np

from ..arrays import Array, as_array
from ..engine import Box
from .wording import Told

__all__ = ["CannotCheck", "Kind", "Spec", "choose_sizes", "draw", "read_specs", "size_letters"]

TARGETS = {"Y", "y", "T", "t", "target", "targets", "Target", "Targets"}
KINDS = ("real", "positive", "probability", "binary", "onehot", "labels")
ALONG_CLASSES = ("onehot", "probability")  # the kinds with a constraint along an axis
# Factors of penalties, and other scalars that are positive wherever they are used.
POSITIVE = {
    "lam", "lamb", "lambd", "lambda_", "lmbda", "lmbd", "λ", "l1", "l2", "reg", "reg_strength",
    "decay", "weight_decay", "wd", "penalty", "eps", "epsilon", "ε", "sigma", "σ", "tau", "τ",
    "temperature", "delta", "δ",
}  # fmt: skip


class CannotCheck(Told):
    """There is nothing that claims could be held against, with the reason.

    Example:
        >>> read_specs({"X": "m n nonsense!"})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        tinygrad_edu...CannotCheck: X='m n nonsense!': expected letters for sizes and at \
most one of real, positive, probability, binary, onehot, labels
    """


@dataclass(frozen=True)
class Kind:
    """The kind of an input's entries, one of `KINDS`, and the axis of the classes, if any.

    Example:
        >>> str(Kind("onehot", 0)), str(Kind("real"))
        ('onehot(axis=0)', 'real')
    """

    name: str
    axis: int | None = None

    def __str__(self) -> str:
        return self.name if self.axis is None else f"{self.name}(axis={self.axis})"


@dataclass(frozen=True)
class Spec:
    """An input: the length of each axis (a letter or a number), and what its entries are.

    axes      the length of each axis
    kind      one of `KINDS`; None: real, or what suits a target
    axis      the axis of the classes, if it was said or an example shows it
    example   the example array, the shape that was given (a tuple), or the number

    Example:
        >>> read_specs({"Y": "m k onehot"})["Y"]
        Spec(axes=('m', 'k'), kind='onehot', axis=None, example=None)
    """

    axes: tuple[str | int, ...]
    kind: str | None
    axis: int | None = None
    example: Any = None

    @property
    def class_axes(self) -> list[int]:
        """The axes that the classes may lie along: the last first; none of length 1."""
        return [i for i in reversed(range(len(self.axes))) if self.axes[i] != 1]


def read_specs(inputs: Mapping[str, Any]) -> dict[str, Spec]:
    """Read what is said about each input: sizes, a shape, an example array, or a number.

    Raises:  CannotCheck for text that is no list of sizes
    Example:
        >>> read_specs({"X": np.ones((4, 3)), "m": 4})["X"].axes
        ('m', 'n')
        >>> read_specs({"X": (4, 3), "w": (3,)})["w"].axes
        ('n',)
    """
    specs: dict[str, Spec] = {}
    shaped = {k: x for k, x in inputs.items() if not isinstance(x, (str, int, float))}
    letters = _letters(shaped)
    for name, given in inputs.items():
        if isinstance(given, str):
            specs[name] = _read_spec(name, given)
        elif isinstance(given, (bool, int, float)) and not isinstance(given, np.generic):
            specs[name] = Spec((), None, None, given)
        elif is_shape(given):
            axes = tuple(1 if n == 1 else letters.get(n, n) for n in given)
            specs[name] = _read_spec(name, " ".join(map(str, axes)), given)
        else:
            array = as_array(given.value if isinstance(given, Box) else given)
            specs[name] = _example_spec(array, letters)
    return specs


def is_shape(given: Any) -> bool:
    """Return True for a tuple of sizes: whole numbers from 1 on, or letters.

    Example:
        >>> is_shape((5, 3)), is_shape(()), is_shape([5, 3]), is_shape((0.5, 2.0))
        (True, True, False, False)
    """
    return isinstance(given, tuple) and all(
        isinstance(n, str) or (isinstance(n, (int, np.integer)) and n >= 1) for n in given
    )


_WORD = re.compile(r"([A-Za-z]\w*)\s*\(\s*(?:axis\s*=\s*)?(-?\d+)\s*\)")


def _read_spec(name: str, text: str, shape: tuple[Any, ...] | None = None) -> Spec:
    said = {kind: int(axis) for kind, axis in _WORD.findall(text) if kind in ALONG_CLASSES}
    plain = _WORD.sub(lambda match: match[1] if match[1] in ALONG_CLASSES else match[0], text)
    words = plain.replace(",", " ").replace("(", " ").replace(")", " ").split()
    kinds = [word for word in words if word in KINDS]
    axes = tuple(int(w) if w.isdigit() else w for w in words if w not in KINDS)
    letters = [axis for axis in axes if isinstance(axis, str)]
    lengths = [axis for axis in axes if isinstance(axis, int)]
    if (
        len(kinds) > 1
        or not all(re.fullmatch(r"[A-Za-z]\w{0,7}", letter) for letter in letters)
        or not all(1 <= length <= 1000 for length in lengths)
    ):
        raise CannotCheck("bad-sizes", name=name, text=text, kinds=", ".join(KINDS))
    if kinds == ["labels"] and not axes:
        raise CannotCheck("labels-classes", name=name, text=text)
    axis = said.get(kinds[0]) if kinds else None
    if axis is not None and not -len(axes) <= axis < len(axes):
        raise CannotCheck("bad-axis", name=name, text=text, axes=len(axes))
    axis = axis if axis is None else axis % len(axes)
    return Spec(axes, kinds[0] if kinds else None, axis, shape)


def _example_spec(array: Array, letters: Mapping[int, str]) -> Spec:
    """The sizes of an example array, and the kind of its entries."""
    axes = tuple(1 if n == 1 else letters[n] for n in array.shape)
    kind, axis = _kind_of(array)
    if kind == "labels":
        classes = int(array.max(initial=0)) + 1
        return Spec((*axes, letters.get(classes, classes)), "labels", None, array)
    return Spec(axes, kind, axis, array)


def _kind_of(array: Array) -> tuple[str | None, int | None]:
    """The kind of an example's entries, and the axis of the classes if only one is possible."""
    if array.size == 0:
        raise CannotCheck("no-entries")
    if array.dtype.kind in "iu" and array.ndim == 1 and array.min() >= 0 and array.max() > 1:
        return "labels", None
    if not np.isin(array, (0, 1)).all():
        return None, None
    if array.ndim == 2:
        along = [i for i in (1, 0) if array.shape[i] > 1 and (array.sum(axis=i) == 1).all()]
        if along and min(array.shape) > 1:
            return "onehot", along[0] if len(along) == 1 else None
        return "binary", None
    whole = (array == 0).any() and array.dtype.kind != "f"
    return ("binary" if whole else None), None


def _letters(examples: Mapping[str, Any]) -> dict[int, str]:
    """A letter for each length: m for the rows of the first matrix, then n, h, k, …"""
    shapes = [
        x if is_shape(x) else np.shape(x.value if isinstance(x, Box) else x)
        for x in examples.values()
    ]
    lengths = (n for shape in shapes for n in shape if isinstance(n, (int, np.integer)) and n != 1)
    said = {n for shape in shapes for n in shape if isinstance(n, str)}
    names = (c for c in letter_names() if c not in examples and c not in said)
    return dict(zip(dict.fromkeys(map(int, lengths)), names, strict=False))


def letter_names() -> Iterator[str]:
    """Yield letters for sizes, without end.

    Example:
        >>> next(letter_names())
        'm'
    """
    return chain("mnhkpqrstuvw", (f"s{i}" for i in count()))


# --- random values --------------------------------------------------------------------------------


def draw(
    name: str,
    spec: Spec,
    sizes: Mapping[str, int],
    kind: Kind,
    rng: Any,
    whole: bool = False,
    stretch: Callable[[Array], Array] | None = None,
) -> Any:
    """Return a random value for an input.

    whole     of small whole numbers, or quarters that add up to 1
    stretch   changes the scale of what has one (`real`, `positive`)

    Example:
        >>> rng = np.random.default_rng(0)
        >>> draw("X", Spec(("m", 2), None), {"m": 3}, Kind("real"), rng, True).shape
        (3, 2)
        >>> draw("Y", Spec(("k", "m"), None), {"k": 3, "m": 2}, Kind("onehot", 0), rng).sum(axis=0)
        array([1., 1.])
    """
    number = spec.example
    if isinstance(number, (bool, int, float)):
        scaled = isinstance(number, float) and number and not whole
        return number * float(rng.uniform(0.5, 2.0)) if scaled else number
    shape = tuple(n if isinstance(n, int) else sizes[n] for n in spec.axes)
    if kind.name == "labels":
        return rng.integers(0, shape[-1], shape[:-1])
    if kind.name == "onehot":
        return _onehot(shape, kind.axis, rng)
    if kind.name == "binary":
        return rng.integers(0, 2, shape).astype(float)
    if kind.name == "probability":
        return _probabilities(shape, kind.axis, rng, whole)
    positive = kind.name == "positive" or (not shape and name in POSITIVE)
    if whole:
        return np.asarray(rng.integers(1 if positive else -2, 3, shape) / 1)
    x: Array
    if not shape:
        x = np.array(rng.uniform(0.5, 2.0))
    else:
        x = rng.uniform(0.3, 2.0, shape) if positive else rng.normal(size=shape)
    return x if stretch is None else np.asarray(stretch(x))


def _onehot(shape: tuple[int, ...], axis: int | None, rng: Any) -> Array:
    axis = -1 if axis is None else axis
    classes = shape[axis]
    others = tuple(np.delete(shape, axis).tolist())
    return np.array(np.moveaxis(np.eye(classes)[rng.integers(0, classes, others)], -1, axis))


def _probabilities(shape: tuple[int, ...], axis: int | None, rng: Any, whole: bool) -> Array:
    if axis is None:
        return np.asarray(rng.integers(1, 4, shape) / 4 if whole else rng.uniform(0.1, 0.9, shape))
    if whole:
        classes, others = shape[axis], tuple(np.delete(shape, axis).tolist())
        quarters = rng.multinomial(4, np.full(classes, 1 / classes), others) / 4
        return np.array(np.moveaxis(quarters, -1, axis))
    x = rng.uniform(0.1, 0.9, shape)
    return np.asarray(x / x.sum(axis=axis, keepdims=True))


# --- sizes ----------------------------------------------------------------------------------------


def size_letters(specs: Mapping[str, Spec]) -> list[str]:
    """Return the letters of all sizes, in the order in which they occur.

    Example:
        >>> size_letters(read_specs({"X": "m n", "W": "n k"}))
        ['m', 'n', 'k']
    """
    return list(dict.fromkeys(a for s in specs.values() for a in s.axes if isinstance(a, str)))


def choose_sizes(letters: Sequence[str], general: int) -> list[tuple[str, dict[str, int]]]:
    """Return sizes to try, with what is special about them: "" where all differ, else "k = 1" …

    Example:
        >>> choose_sizes(["m", "n"], 1)
        [('', {'m': 5, 'n': 3}), ('m = 1', {'m': 1, 'n': 3}), ('n = 1', {'m': 5, 'n': 1}), \
('m = n', {'m': 5, 'n': 5}), ('m = n', {'m': 3, 'n': 3})]
    """
    found = [("", sizes) for sizes in general_sizes(letters, general)]
    first = found[0][1]
    for letter in letters:
        for _, sizes in found[: min(2, general)]:
            found.append((f"{letter} = 1", {**sizes, letter: 1}))
    for a, b in combinations(letters[:6], 2):
        found.append((f"{a} = {b}", {**first, a: first[a], b: first[a]}))
        found.append((f"{a} = {b}", {**first, a: first[b], b: first[b]}))
    return found


def general_sizes(letters: Sequence[str], n: int, seed: int = 7) -> list[dict[str, int]]:
    """Return n choices of sizes that all differ and are 2 or more.

    Example:
        >>> general_sizes(["m", "n"], 1)
        [{'m': 5, 'n': 3}]
    """
    base = [5, 3, 4, 2, 6, 7, 8, 9, 10, 11, 12, 13]
    base += list(range(14, 14 + max(0, len(letters) - len(base))))
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        sizes = base[: len(letters)] if i == 0 else (rng.permutation(len(letters) + 3) + 2).tolist()
        found.append(dict(zip(letters, sizes, strict=False)))
    return found


def special_sizes(
    what: str, letters: Sequence[str], n: int, seed: int = 11
) -> list[dict[str, int]]:
    """Return n choices of sizes, all of them with what is special: "k = 1" or "n = k".

    Example:
        >>> special_sizes("n = 1", ["m", "n"], 1)
        [{'m': 5, 'n': 1}]
    """
    a, _, b = what.partition(" = ")
    found = general_sizes(letters, n, seed)
    return [{**sizes, a: 1 if b == "1" else sizes[b]} for sizes in found]
