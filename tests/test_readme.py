"""README shows the source of the matrix product as it is."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from tinygrad_edu import ops

README = Path(__file__).parents[1] / "README.md"


def shown_source(*functions: Any) -> str:
    """The source of functions one after the other, without docstrings."""
    return "\n\n".join(
        re.sub(r'    """.*?"""\n', "", inspect.getsource(f), flags=re.DOTALL).rstrip()
        for f in functions
    )


def is_shown(page: str, source: str) -> bool:
    return f"```text\n{source}\n```" in page


def test_readme_shows_the_source_of_matmul_to_the_letter() -> None:
    source = shown_source(ops._matmul_left, ops._matmul_right, ops.matmul)
    assert is_shown(README.read_text(encoding="utf-8"), source), f"README must show:\n{source}"


@pytest.mark.parametrize(
    ("old", "new"), [("a.mT", "a.T"), ("* b", "*b"), ("# GBᵀ", "# BᵀG"), ("def matmul", "def mm")]
)
def test_another_letter_is_noticed(old: str, new: str) -> None:
    page = README.read_text(encoding="utf-8")
    source = shown_source(ops._matmul_left, ops._matmul_right, ops.matmul)
    assert old in source
    assert not is_shown(page.replace(old, new), source)
