"""The process that runs a submission: inputs and changed texts in, arrays out.

Started by the judge (`judge`), in the sandbox where there is one. It holds no gradient that is
right, and what it sends back is data: whatever it does, it can only give other numbers.

The first message holds the source and the files that lie beside it. The answer tells what the
source defines. Each message after that asks for one call of one of its functions.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..engine import Box, variable_record
from .functions import ClaimError
from .limits import die_with_parent, lay_out, restrict
from .running import Here, has_backprop
from .sources import executed
from .wire import pack, receive

__all__ = ["Student", "main"]

DIFFERENTIATE = ("autograd", "jax", "mygrad", "tensorflow", "torch")  # libraries
WANTED = ("claims", "backprop", "given", "wrt")


class Student:
    """A source that has been run, and the functions that it claims gradients by.

    Example:
        >>> student = Student("claims = {'W': 'X.T @ E'}", "ada.py")
        >>> student.described()["claims"]
        {'W': 'X.T @ E'}
    """

    def __init__(self, source: str, file: str):
        self.file = str(Path(file).resolve())
        self.functions: list[Here] = []
        self.problems: dict[int, dict[str, Any]] = {}
        self.age = variable_record()[0]
        self.names = executed(source, self.file)

    def described(self) -> dict[str, Any]:
        """Return the values of its names; a function as its number, signature and source."""
        return {name: self.plain(self.names[name]) for name in WANTED if name in self.names}

    def plain(self, x: Any) -> Any:
        """Return a value as it is sent."""
        if isinstance(x, Box):
            return x.value
        if hasattr(x, "gradients") and hasattr(x, "errors"):  # an Explanation
            return "\n".join(map(str, [*x.errors, *x.gradients.values()]))
        if isinstance(x, Mapping):
            return {str(k): self.plain(y) for k, y in x.items()}
        if isinstance(x, (list, tuple)):
            return type(x)(map(self.plain, x)) if type(x) in (list, tuple) else list(x)
        if isinstance(x, (type(None), bool, int, float, str, np.ndarray, np.generic)):
            return x
        if callable(x) or has_backprop(x):
            return self.function(x)
        with contextlib.suppress(Exception):  # arrays of other libraries
            array = np.asarray(x)
            return array if array.dtype.kind in "fiub" else x
        return x

    def function(self, x: Callable[..., Any]) -> dict[str, Any]:
        """Return what the judge has to know of a function, and keep it."""
        here = Here(x)
        self.functions.append(here)
        parameters = here.signature.values()
        return {
            "function": len(self.functions) - 1,
            "name": here.name,
            "signature": [[p.name, int(p.kind), p.default is not p.empty] for p in parameters],
            "first_line": here.first_line,
            "text": here.text,
        }

    def seen(self) -> list[str]:
        """Return what tells that it differentiates: what it has loaded, or that it has recorded."""
        recorded = ["tinygrad_edu"] if variable_record()[0] > self.age + 1 else []
        self.age += 0 if recorded else 1
        return [*recorded, *(name for name in DIFFERENTIATE if name in sys.modules)]

    def answer(self, request: dict[str, Any]) -> Any:
        """Return what one call gives."""
        number = request["problem"]
        if "names" in request:
            self.problems[number] = request["names"]
        function, names = self.functions[request["function"]], self.problems[number]
        if request.get("locals"):
            return self.plain(function.locals_on(names))
        if request.get("text") is not None:
            return self.plain(function.changed(request["text"], names))
        return self.plain(function(names))


def _failure(error: BaseException, file: str) -> dict[str, Any]:
    """Return what is told of an exception: its type, its message and the line of the file."""
    with contextlib.suppress(BaseException):  # its own __str__ may fail
        if isinstance(error, ClaimError):
            return {"refused": error.what, "about": {k: str(x) for k, x in error.about.items()}}
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f.lineno for f in reversed(frames) if f.filename == file), None)
        return {"error": type(error).__name__, "message": str(error)[:500], "line": line}
    return {"error": "Exception", "message": "", "line": None}


def _guarded(file: str, work: Callable[[], Any], made: list[Student]) -> bytes:
    """Return the message of what the work gives, or of what it raises.

    A value that no message can hold, such as a list that contains itself, is an exception too.
    """
    try:
        found = {"value": work()}
        pack(found)
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: it goes on
        found = _failure(error, file)
    return pack({**found, "seen": made[0].seen() if made else []})


def _streams() -> tuple[IO[bytes], IO[bytes]]:
    """Take the pipes of standard input and output for messages; what is printed goes nowhere."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    return requests, answers


def main() -> None:
    """Run the submission that the first message holds and answer until there are no more."""
    requests, answers = _streams()
    first = receive(requests)
    die_with_parent()
    lay_out(first["files"])
    restrict(first["seconds"], first["megabytes"])
    made: list[Student] = []

    def load() -> Any:
        made.append(Student(first["source"], first["file"]))
        return made[0].described()

    def reply(work: Callable[[], Any]) -> None:
        answers.write(_guarded(file, work, made))
        answers.flush()

    file = str(Path(first["file"]).resolve())
    reply(load)
    while made:
        try:
            request = receive(requests)
        except EOFError:
            break
        reply(partial(made[0].answer, request))
    os._exit(0)  # no clean-up that the submission has registered


if __name__ == "__main__":
    main()
