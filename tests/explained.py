"""Many gradients explained from one seed, counted: `python -m tests.explained --count 1000`.

A quarter are gradients of random graphs of matrices (`test_explain_random`), a quarter of the
random programs of `tests.fuzz`, a quarter of two-layer networks, and a quarter of losses as
students write them, with masks, indices, constants and batches (`tests.explaining.written`).
Where the short form of a formula fails its check, `explain` prints another and says so: such a
note is a failure here, and so is an exception. The command tells how many gradients are in Σ
notation, and how long it took.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from itertools import count
from typing import Any
from unittest import mock

import numpy as np

import tinygrad_edu as tg
from tests import fuzz
from tests.explaining.test_explain_random import random_loss
from tests.explaining.written import draw
from tinygrad_edu.explaining.author import Author
from tinygrad_edu.recording import ALL, recording
from tinygrad_edu.verifying.evaluation import Evaluator
from tinygrad_edu.verifying.functions import ClaimError, own_function
from tinygrad_edu.verifying.grammar import parse

ACTIVATIONS: list[Any] = [tg.sigmoid, tg.tanh, tg.relu, tg.softplus, np.sin]
LOSSES: list[Any] = [
    tg.cross_entropy,
    tg.mse_loss,
    tg.binary_cross_entropy_with_logits,
    lambda Z, Y: -(Y * np.log(tg.softmax(Z))).sum() / len(Y),
    lambda Z, Y: tg.square(tg.sigmoid(Z) - Y).sum() / len(Y),
    lambda Z, Y: np.log(1 + np.exp(-(2 * Y - 1) * Z)).mean(),
]


def graph(seed: int) -> Any:
    """A random graph of matrices and vectors."""
    with recording(ALL):
        loss, inputs = random_loss(seed, 5 + seed % 10)
    return tg.explain(loss, wrt=inputs)


def program(seed: int) -> Any:
    """A program of the fuzzer."""
    made = fuzz.generate(seed)
    run = fuzz.run(made)
    return tg.explain(run.loss, wrt=[run.registers[i] for i in made.variables])


def network(seed: int) -> Any:
    """A two-layer network with a loss and, in every other one, a penalty."""
    rng = np.random.default_rng(seed)
    m, n, h, k = rng.integers(3, 40, 4)
    activate = ACTIVATIONS[seed % len(ACTIVATIONS)]
    criterion = LOSSES[rng.integers(len(LOSSES))]
    l2 = 0.03 * (seed % 2)

    def loss(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
        Z1 = X @ W1 + b1
        A1 = activate(Z1)
        Z2 = A1 @ W2 + b2
        penalty = l2 / 2 * ((W1 * W1).sum() + (W2 * W2).sum()) if l2 else 0
        return criterion(Z2, Y) + penalty

    weights = [
        tg.Tensor(rng.normal(size=s), requires_grad=True) for s in [(n, h), (h,), (h, k), (k,)]
    ]
    return tg.explain(loss, rng.normal(size=(m, n)), np.eye(k)[rng.integers(0, k, m)], *weights)


def written(seed: int) -> Any:
    """A loss as a student writes it."""
    loss, inputs, _ = draw(seed)
    return tg.explain(loss, *inputs)


class ReadBack:
    """Reads the text and the LaTeX of formulas again, and counts those that are not the gradient.

    `explain` is watched for the arrays that it checks its formulas on.
    """

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.functions: dict[str, Any] = {}
        self.read, self.tolerance = 0, 0.0
        self.failures: list[str] = []

    def watching(self) -> Any:
        """A context in which `explain` hands on the arrays of its check."""
        check = Author._checked

        def checked(author: Author, *arguments: Any) -> Any:
            reader = author.real_reader
            sizes = author.sizes.items()
            letters = {a: n if author.alike else author.lengths.get(n, n) for n, a in sizes}
            if author.alike and author.m is not None:
                letters.setdefault("m", author.m)
            self.names = {**letters, **reader.values}
            self.tolerance = author.tolerance
            self.functions = {k: own_function(f) for k, f in reader.functions.items()}
            return check(author, *arguments)

        return mock.patch.object(Author, "_checked", checked)

    def agrees(self, value: Any, right: Any) -> bool:
        """Return True if they are equal but for rounding, a column being a vector too."""
        value = np.asarray(value, dtype=float)
        if value.size == right.size and value.squeeze().shape == right.squeeze().shape:
            value = value.reshape(right.shape)
        if np.broadcast_shapes(value.shape, right.shape) != right.shape:
            return False
        most = (1e-7 + self.tolerance) * np.abs(right).max(initial=0.0) + 1e-9
        return bool(np.all(np.abs(value - right) <= most))

    def check(self, found: Any, where: str) -> None:
        """Read the formulas of an explanation."""
        names = {k: x for k, x in self.names.items() if not isinstance(x, str)}
        for line in found.gradients.values():
            right = np.asarray(line.value, dtype=float)
            for form in (line.text, line.latex):
                self.read += 1
                values = Evaluator(names, self.functions)
                try:
                    value = values(parse(form, names, self.functions, slides=True))
                    fault = "" if self.agrees(value, right) else "another value"
                except ClaimError as error:
                    fault = str(error)
                if fault:
                    self.failures.append(f"{where}: {form[:200]}: {fault[:150]}")


KINDS = {"graphs": graph, "programs": program, "networks": network, "written": written}


def explained(kind: str, seed: int, back: ReadBack) -> Iterator[tuple[int, Any, float]]:
    """(seed, Explanation, seconds), for one problem after the other."""
    for s in count(seed):
        started = time.perf_counter()
        try:
            with back.watching():
                found = KINDS[kind](s)
        except (ValueError, RuntimeError) as error:  # a program whose loss depends on no variable
            if "depends on no tensor" in str(error) or "nothing is recorded" in str(error):
                continue
            raise
        yield s, found, time.perf_counter() - started


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 if one took over `--limit` seconds, has no short form or is not read back."""
    parser = argparse.ArgumentParser(prog="python -m tests.explained", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="gradients in all (1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=2.0, help="seconds for one explanation (2)")
    parser.add_argument("--show", action="store_true", help="print those in Σ notation")
    parser.add_argument("--unread", type=int, default=5, help="print so many not read back (5)")
    options = parser.parse_args(arguments)
    slow, longer, back = 0, 0, ReadBack()
    for kind in KINDS:
        formulas = indexed = 0
        seconds: list[float] = []
        worst = 0
        read, unread = back.read, len(back.failures)
        for seed, found, took in explained(kind, options.seed, back):
            back.check(found, f"{kind} {seed}")
            if took > max([0.0, *seconds]):
                worst = seed
            seconds.append(took)
            for note in (n for n in found.notes if "report this" in n):
                longer += 1
                print(f"{kind} {seed}: {note}")
            for line in found.gradients.values():
                formulas += 1
                if line.text.startswith("["):
                    indexed += not line.code
                    if options.show and not line.code:
                        print(f"{kind} {seed}: {line.text[:150]}")
            if formulas >= options.count / len(KINDS):
                break
        slow += max(seconds) > options.limit
        print(
            f"{kind}: {formulas} gradients, each equal to its value; "
            f"{100 * indexed / formulas:.1f} % in Σ notation; a loss took "
            f"{statistics.median(seconds):.3f} s in the median and {max(seconds):.2f} s at most "
            f"(seed {worst}); read back: {back.read - read} texts and LaTeX, "
            f"{len(back.failures) - unread} not as the gradient"
        )
    for failure in back.failures[: options.unread]:
        print(failure)
    return int(slow + longer + len(back.failures) > 0)


if __name__ == "__main__":
    sys.exit(main())
