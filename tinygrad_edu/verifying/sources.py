"""Read sources, as Python or as lines of text: files, notebooks, any encoding that they name.

Reading a source runs nothing. A file of literals (`claims = {…}`) is read off; anything else has to
be run, which `executed` does, in whichever process calls it.
"""

from __future__ import annotations

import ast
import codecs
import io
import json
import linecache
import re
import sys
import tokenize
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .report import width_of
from .wording import Told, error_text

__all__ = ["MOST_SOURCE", "NAMES", "Source", "Unreadable", "executed", "literals", "read_source"]

MOST_SOURCE = 1_000_000  # bytes of a file
NAMES = ("forward", "shapes", "inputs", "claims", "backprop", "given", "wrt")
TEXTS = (".txt", ".md", ".tex")
NOTEBOOK = ".ipynb"
QUOTED = "    "  # in front of a line of source below a message
MOST_QUOTED = 80  # letters of that line


class Unreadable(Told):
    """A file that is no source, with the reason.

    Example:
        >>> read_source("ada.py", b"")
        Traceback (most recent call last):
        ...
        tinygrad_edu.verifying.sources.Unreadable: the file is empty
    """


@dataclass
class Source:
    """Python, or lines of text; of a notebook, the line before each of its code cells.

    Example:
        >>> read_source("ada.py", b"claims = {}").python
        True
    """

    text: str
    python: bool
    cells: list[int] = field(default_factory=list)
    tree: ast.Module = field(default_factory=lambda: ast.Module([], []))

    def place(self, line: int) -> tuple[int | None, int]:
        """Return the cell of a line, counted from 1, and the line in it; None outside notebooks.

        Example:
            >>> Source("a\\nb\\nc", True, cells=[0, 2]).place(3)
            (2, 1)
        """
        if not self.cells:
            return None, line
        cell = max(i for i, before in enumerate(self.cells) if before < max(line, 1))
        return cell + 1, line - self.cells[cell]


def read_source(name: str, data: bytes) -> Source:
    """Return the source that a file holds; its name's ending tells of which kind it is.

    Raises:  Unreadable
    Example:
        >>> read_source("ada.txt", "∂L/∂b = 1ᵀE".encode()).text
        '∂L/∂b = 1ᵀE'
    """
    if len(data) > MOST_SOURCE:
        raise Unreadable("large-file")
    ending = Path(name).suffix.lower()
    if ending in TEXTS:
        source = Source(_decoded_text(data), False)
    elif ending == NOTEBOOK:
        source = _notebook(data)
    else:
        source = Source(_decoded_python(data), True)
    if not source.text.strip():
        raise Unreadable("empty-file")
    if source.python:
        source.tree = _parsed(source)
    return source


def _decoded_python(data: bytes) -> str:
    """Return Python's text in the encoding that its first lines name, else UTF-8."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _decoded(data, "utf-16")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    except SyntaxError:
        raise Unreadable("not-utf8") from None
    return _decoded(data, encoding)


def _decoded_text(data: bytes) -> str:
    """Return a text in UTF-8 or UTF-16, else in cp949, which Korean Windows writes."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _decoded(data, "utf-16")
    try:
        return _decoded(data, "utf-8-sig")
    except Unreadable:
        return _decoded(data, "cp949")


def _decoded(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except (UnicodeError, LookupError):
        raise Unreadable("not-utf8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _parsed(source: Source) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source.text)
            compile(source.text, "submission", "exec", dont_inherit=True)  # `return` outside …
        return tree
    except SyntaxError as error:
        cell, line = source.place(error.lineno or 1)
        what = "bad-python" if cell is None else "bad-python-cell"
        raise Unreadable(what, line=line, cell=cell, error=_pointed(source.text, error)) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise Unreadable("no-reading", error=error_text(error)) from None


def _pointed(text: str, error: SyntaxError) -> str:
    """Return the message of a syntax error, and below it the line with a caret at the place."""
    lines = text.split("\n")
    if not error.lineno or error.lineno > len(lines):
        return error.msg
    line, column = lines[error.lineno - 1], max((error.offset or 1) - 1, 0)
    start = max(len(line) - len(line.lstrip()), column - MOST_QUOTED * 3 // 4)
    shown = line[start : start + MOST_QUOTED].replace("\t", " ")
    caret = " " * width_of(shown[: max(column - start, 0)]) + "^"
    return f"{error.msg}\n{QUOTED}{shown.rstrip()}\n{QUOTED}{caret}"


def _notebook(data: bytes) -> Source:
    """Return the code cells of a notebook, one below the other, without IPython's own commands."""
    try:
        cells = json.loads(_decoded(data, "utf-8-sig"))["cells"]
        codes = [_joined(c["source"]) for c in cells if c["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unreadable("not-notebook") from None
    lines: list[str] = []
    before: list[int] = []
    for code in codes:
        before.append(len(lines))
        lines += _plain_python(code.splitlines())
    return Source("\n".join(lines) + "\n" if lines else "", True, before)


def _joined(source: Any) -> str:
    return source if isinstance(source, str) else "".join(map(str, source))


_PYTHON_CELLS = ("%%time", "%%timeit", "%%capture", "%%prun")  # the rest of the cell is Python


_MAGIC = re.compile(r"%{1,2}[a-z]|!\S|\?\S|[\w.]+\?{1,2}$")


def _plain_python(lines: list[str]) -> list[str]:
    """Return the lines of a cell with `pass` in the place of magic commands."""
    if lines and lines[0].startswith("%%") and not lines[0].startswith(_PYTHON_CELLS):
        return [f"# {line}" for line in lines]
    found = []
    for line in lines:
        bare = line.lstrip()
        magic = _MAGIC.match(bare) is not None
        found.append(line[: len(line) - len(bare)] + f"pass  # {bare}" if magic else line)
    return found


def literals(tree: ast.Module) -> dict[str, Any] | None:
    """Return the values of a file that is nothing but assignments of literals, else None.

    Example:
        >>> literals(ast.parse("claims = {'W': 'X.T @ E'}"))
        {'claims': {'W': 'X.T @ E'}}
        >>> literals(ast.parse("import os")) is None
        True
    """
    found = {}
    for statement in tree.body:
        match statement:
            case ast.Expr(value=ast.Constant()):
                continue
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in NAMES:
                try:
                    found[name] = ast.literal_eval(value)
                except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                    return None
            case _:
                return None
    return found


def executed(text: str, file: str, module: str = "submission") -> dict[str, Any]:
    """Run a source; return those of its names that mean something here.

    `np` and `tg` are there without an import. A class with a method `backprop` counts as one.

    Raises:  whatever the source raises
    Example:
        >>> executed("claims = {'W': f'{1 + 1} * W'}", "ada.py")
        {'claims': {'W': '2 * W'}}
    """
    lines = text.splitlines(keepends=True)
    linecache.cache.update({file: (len(text), None, lines, file)})  # for `inspect.getsource`
    names: dict[str, Any] = {"__name__": module, "__file__": file, "np": np}
    names["tg"] = sys.modules[__name__.partition(".")[0]]
    exec(compile(text, file, "exec", dont_inherit=True), names)
    for x in list(names.values()):
        if isinstance(x, type) and x.__module__ == module and "backprop" in vars(x):
            names.setdefault("backprop", x)
    return {name: names[name] for name in NAMES if name in names}
