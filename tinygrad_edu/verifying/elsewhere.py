"""A submission's function, called in the student's process.

`Conversation` is that process seen from the judge: it is started, asked, and ended when its time is
over. `Elsewhere` stands for one of its functions.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from inspect import Parameter
from typing import Any

from .functions import ClaimError
from .limits import environment, python, sandboxed
from .running import Running
from .wire import Opaque, receive, send
from .wording import SENTENCES, Told

__all__ = ["Conversation", "Elsewhere", "Stopped", "kill"]


PATIENCE = 0.3  # seconds in which the student's process should end when nothing more is asked


class Stopped(BaseException):
    """The student's process has ended, or its answer is none; `told` says why.

    Not an Exception: no code that handles a function's own errors may take it for one of those.

    Example:
        >>> Stopped(Told("slow", seconds=20.0)).told.said("en")
        'it takes more than 20 seconds'
    """

    def __init__(self, told: Told):
        super().__init__(told.what)
        self.told = told


class Conversation:
    """The student's process: what its source defines, and calls of its functions."""

    def __init__(
        self,
        source: str,
        file: str,
        files: Mapping[str, bytes],
        seconds: float,
        megabytes: int,
        sandbox: bool,
    ):
        self.seconds, self.late = seconds, False
        self.folder = None if sandbox else tempfile.mkdtemp(prefix="submission-")
        command = sandboxed(python("student")) if sandbox else python("student")
        own = {"HOME": self.folder} if self.folder else {}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=self.folder,
            env={**environment(), **own},
        )
        self.watch = threading.Timer(seconds, self.end)
        self.watch.daemon = True
        self.watch.start()
        self.first = {
            "source": source,
            "file": file,
            "files": dict(files),
            "seconds": seconds,
            "megabytes": megabytes,
        }
        self.sent: dict[int, tuple[Any, int]] = {}  # the names of problems that it has
        self.seen: list[str] = []  # libraries that it differentiates with

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.watch.cancel()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it ends by itself, as a rule
            self.process.wait(PATIENCE)
        kill(self.process)
        self.process.wait()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def end(self) -> None:
        """End the process because its time is over."""
        self.late = True
        kill(self.process)

    def load(self) -> Any:
        """Run the source; return what it defines.

        Raises:  Stopped, and what the source raises
        """
        return self.ask(self.first)

    def ask(self, request: Mapping[str, Any]) -> Any:
        """Return the answer to a request.

        Raises:  Stopped, and what the submission raises, as an exception of the same built-in type
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            send(self.process.stdin, request)
            answer = receive(self.process.stdout)
        except (EOFError, OSError):
            raise Stopped(self.reason()) from None
        except (ValueError, MemoryError):
            raise Stopped(Told("bad-answer")) from None
        if not isinstance(answer, dict):
            raise Stopped(Told("bad-answer"))
        self.seen = [str(name) for name in answer.get("seen") or ()][:10]
        if "value" in answer:
            return _revived(answer["value"])
        raise _error(answer)

    def reason(self) -> Told:
        """Return why the process has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)
        kill(self.process)
        code = self.process.wait()
        return why_ended(code, self.late, self.seconds)

    def call(self, function: int, names: Mapping[str, Any], **more: Any) -> Any:
        """Return what a function gives on the values of names, which are sent once."""
        request: dict[str, Any] = {"function": function, **more}
        held = self.sent.get(id(names))
        if held is None or held[0] is not names:
            held = self.sent[id(names)] = (names, len(self.sent))
            request["names"] = {k: x for k, x in names.items() if not callable(x)}
        return self.ask({**request, "problem": held[1]})


def why_ended(code: int, late: bool, seconds: float) -> Told:
    """Return why a process has ended without an answer.

    Example:
        >>> why_ended(1, False, 20.0).said("en")
        'the process ended without a result (exit code 1)'
    """
    code = 128 - code if code < 0 else code  # as a shell counts, and bubblewrap
    if late or code == 128 + getattr(signal, "SIGXCPU", 24):
        return Told("slow", seconds=seconds)
    if code - 128 in (6, 9, 11):  # SIGABRT, SIGKILL, SIGSEGV
        return Told("killed")
    return Told("no-result", code=code)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and those of its session.

    Example:
        >>> import sys
        >>> process = subprocess.Popen([sys.executable, "-c", "input()"], start_new_session=True)
        >>> kill(process)
        >>> process.wait() != 0
        True
    """
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _revived(x: Any) -> Any:
    """Return a value with an object of a type of the same name for each that was not sent."""
    if isinstance(x, Opaque):
        return type(x.kind if x.kind.isidentifier() else "object", (), {})()
    if isinstance(x, dict):
        return {k: _revived(y) for k, y in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(map(_revived, x))
    return x


def _error(answer: Mapping[str, Any]) -> Exception | Stopped:
    """Return the exception that an answer tells of."""
    if (what := answer.get("refused")) in SENTENCES and isinstance(answer.get("about"), dict):
        return ClaimError(str(what), **answer["about"])
    name, message = str(answer.get("error", "Exception")), str(answer.get("message", ""))
    if name == "SystemExit":
        return Stopped(Told("exits"))
    if name == "MemoryError":
        return Stopped(Told("memory"))
    kind: Any = getattr(builtins, name, None)
    known = isinstance(kind, type) and issubclass(kind, Exception)
    own = type(name if name.isidentifier() else "Exception", (RuntimeError,), {})
    try:
        error: Any = (kind if known else own)(message)
    except TypeError:  # UnicodeDecodeError takes more
        error = own(message)
    error.line = answer.get("line")
    assert isinstance(error, Exception)
    return error


class Elsewhere(Running):
    """A function of the student's process.

    Example:
        >>> told = {"function": 0, "name": "f", "signature": [["x", 1, False]], "text": ""}
        >>> Elsewhere(None, told).lacking({"y": 1})
        ['x']
    """

    def __init__(self, talk: Conversation, told: Mapping[str, Any]):
        self.talk = talk
        self.number = int(told["function"])
        self.name = self.__name__ = str(told["name"])[:100]
        self.first_line = int(told.get("first_line", 0))
        self.text = str(told["text"])[:1_000_000]
        self.signature = {}
        for name, kind, has_default in told["signature"][:1000]:
            default = None if has_default else Parameter.empty
            self.signature[str(name)] = Parameter(str(name), _KINDS[int(kind)], default=default)

    def __call__(self, names: Mapping[str, Any]) -> Any:
        """Call it there."""
        return self.talk.call(self.number, names)

    def changed(self, text: str, names: Mapping[str, Any]) -> Any:
        """Have the text compiled and called there."""
        return self.talk.call(self.number, names, text=text)

    def line_of(self, error: BaseException) -> int | None:
        """Return the line of the source that was told with the error."""
        line = getattr(error, "line", None)
        if not isinstance(line, int) or not self.first_line:
            return None
        line -= self.first_line - 1
        return line if 1 <= line <= self.text.count("\n") + 1 else None

    def locals_on(self, names: Mapping[str, Any]) -> dict[str, Any]:
        """Have it called there, and its local variables sent."""
        found = self.talk.call(self.number, names, locals=True)
        return found if isinstance(found, dict) else {}


_KINDS = (
    Parameter.POSITIONAL_ONLY,
    Parameter.POSITIONAL_OR_KEYWORD,
    Parameter.VAR_POSITIONAL,
    Parameter.KEYWORD_ONLY,
    Parameter.VAR_KEYWORD,
)
