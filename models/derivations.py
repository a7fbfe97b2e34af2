"""The derivations of the chapter's networks, as `tg.explain` reads them from the recorded graph.

This module contains no formulas. The data are random numbers of the chapter's sizes, since a
derivation does not depend on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import tinygrad_edu as tg

from . import networks

Array = np.ndarray[Any, np.dtype[Any]]

# The systems of the chapter: class, samples, features, outputs, settings
SYSTEMS: dict[str, tuple[type[networks.SingleLayer], int, int, int, dict[str, Any]]] = {
    "S1": (networks.SingleLayer, 364, 30, 1, {"l2": 0.01}),
    "S2": (networks.DualLayer, 364, 30, 1, {"l2": 0.01}),
    "S3": (networks.RandomInitNetwork, 364, 30, 1, {"l2": 0.01}),
    "S4": (networks.MinibatchNetwork, 32, 30, 1, {"l2": 0.01}),
    "S5": (networks.MultiClassNetwork, 256, 784, 10, {"units": 100}),
}
STEP_BY_STEP = {"en": "step by step", "ko": "단계별 유도"}


def derivation(system: str, lang: str = "en", **settings: Any) -> tg.Explanation:
    """Return the forward lines and gradients of one of the chapter's systems, on random data of its
    sizes; notes and steps are in English or Korean.

    Raises:  KeyError for anything but S1 to S5
    Source:  D3 and D5 to D8, with D12
    Example:
        >>> print(derivation("S1")["W"])
        ∂L/∂W = Xᵀ(A − Y)/m + l2·W/m
    """
    kind, m, n, k, given = SYSTEMS[system]
    penalties: dict[str, Any] = {
        name: tg.Tensor(float(x), name=name) if name in ("l1", "l2") and x else x
        for name, x in {**given, **settings}.items()
    }
    rng = np.random.RandomState(networks.SEED)
    network = kind(**penalties)
    network.init_weights(n, k, rng)
    X = rng.normal(size=(m, n))
    classes = rng.randint(0, max(k, 2), m)
    Y = np.eye(k)[classes] if k > 1 else classes.reshape(-1, 1).astype(float)

    def loss(Z: Any, Y: Array) -> Any:
        """(Σ cross-entropy + penalty)/m, as in each training step."""
        return (network.criterion(Z, Y, reduction="sum") + network.penalty()) / len(Y)

    return tg.explain(network, loss, X, Y, lang=lang)


def pages(steps: bool = True, lang: str = "en") -> Iterator[str]:
    """Yield for each system its derivation as text, in English ("en") or Korean ("ko").

    Example:
        >>> next(pages()).splitlines()[0]
        'S1 SingleLayer'
    """
    for system, (kind, *_) in SYSTEMS.items():
        found = derivation(system, lang)
        lines = [f"{system} {kind.__name__}", "", str(found)]
        if steps and system in ("S1", "S5"):
            lines += ["", STEP_BY_STEP[lang], str(found.steps)]
        yield "\n".join(lines)


def document() -> str:
    """Return all derivations as one LaTeX document.

    Example:
        >>> document().splitlines()[0]
        '\\\\documentclass{article}'
    """
    lines = [r"\documentclass{article}", r"\usepackage{amsmath}", r"\begin{document}"]
    for system, (kind, *_) in SYSTEMS.items():
        lines += [rf"\section*{{{system} {kind.__name__}}}", derivation(system).latex]
    return "\n".join([*lines, r"\end{document}", ""])
