"""Files that hold a derivation, and a class's work: each judged in processes of its own.

A file is plain Python, as the chapter writes it:

    shapes = {"X": "m n", "Y": "m k onehot", "W": "n k", "b": "k"}

    def forward(X, Y, W, b):                  # computes the loss
        A = tg.softmax(X @ W + b)
        return -(Y * np.log(A)).sum() / len(X)

    claims = {"W": "X.T @ (A - Y) / m", "b": "np.sum(A - Y, axis=0) / m"}

`np` and `tg` are there without an import. In the place of `claims`, or beside it, may stand a
function `backprop`, or a class that has it as a method; `wrt` names the values that it returns,
`given` defines further names, see `verify`. A file may be a notebook too, or lines of text such as
`∂L/∂W = Xᵀ(A − Y)/m`.

For a class, `forward` and `shapes` come from the teacher's file (the task), and a submission holds
the rest, in one file or in one folder for each student. `wrt` in the task names the gradients that
are asked for; one that is not claimed is a mistake. Task and submissions are read once, before
anything is run: what one submission does to the files of others, or to the task, changes nothing.

Three processes keep a submission from judging itself:

    the table (here)    starts the others and checks the form of what comes back; runs none of it
    the judge           runs the task and this library: random problems, comparison, repairs
    the student's       runs the submission: inputs and changed texts in, arrays out, never pickle

The student's process holds no right gradient, so it can only give other numbers. It can compute
the right ones by differentiating; a row says so where that is seen. Judge and student have limits
on time and memory. With the sandbox (`limits`) the student's process sees no other file, no other
process and no network. Without it a submission can read, change and end whatever you can; use a
container then for people whom you do not trust. A submission with a `forward` of its own is judged
by its own word; its row is marked. One that is nothing but literals, or text, is never run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from .answers import CANNOT, Outcome, outcome_of
from .collecting import Submission, read_file, submissions_in
from .elsewhere import kill, why_ended
from .limits import environment, python, sandboxed
from .wire import receive, send
from .wording import Told, say

__all__ = ["Check", "TaskRefused", "check_file", "check_folder", "outcomes"]

MOST_ANSWER = 4_000_000  # bytes
GRACE = 8.0  # seconds that the table waits beyond those of a submission


class TaskRefused(ValueError):
    """The task cannot be used: said once, and not of each submission.

    Example:
        >>> str(TaskRefused("the file is empty"))
        'the file is empty'
    """


class Check:
    """The task, and the processes that judge submissions to it.

    Example:
        with Check(Path("task.py"), seconds=5.0) as check:
            check.outcome(read_file(Path("ada.py")))
        >>> with Check() as check:
        ...     check.outcome(Submission("ada.py", b"")).reason
        'the file is empty'
    """

    def __init__(
        self,
        task: Path | None = None,
        *,
        lang: str = "en",
        seconds: float = 20.0,
        megabytes: int = 2048,
        hints: int = 3,
        sandbox: bool = False,
    ):
        self.lang, self.seconds, self.sandbox = lang, seconds, sandbox
        self.settings = {"lang": lang, "hints": hints, "seconds": seconds, "megabytes": megabytes}
        self.lock, self.server, self.jobs = threading.Lock(), None, None
        self.spawned: set[subprocess.Popen[bytes]] = set()
        self.own_forward = True
        self.asked: int | None = None  # how many gradients the task asks for, if it says so
        self.task: dict[str, Any] = {"file": "", "data": None, "lang": lang}
        if task is not None:
            read = read_file(Path(task).resolve())
            if read.refusal is not None:
                raise TaskRefused(read.refusal.said(lang))
            self.task = {"file": str(Path(task).resolve()), "data": read.data, "lang": lang}
            self._start()

    server: subprocess.Popen[bytes] | None
    jobs: socket.socket | None

    def _start(self) -> None:
        """Start the process that judges are forked from; it runs the task, once."""
        fork = hasattr(os, "fork") and hasattr(socket, "send_fds")
        ours, theirs = socket.socketpair() if fork else (None, None)
        descriptor = theirs.fileno() if theirs is not None else -1
        server = _started(
            python("worker", "serve", str(descriptor)),
            pass_fds=[descriptor] if theirs is not None else [],
        )
        if theirs is not None:
            theirs.close()
        try:
            told = _exchange(server, [self.task], self.seconds + GRACE)
        except (EOFError, ValueError, OSError):
            reason = why_ended(server.wait(), False, self.seconds)
            told = {"reason": reason.said(self.lang), "forward": False, "asked": None}
        if told["reason"]:
            if ours is not None:
                ours.close()
            self._end(server)
            raise TaskRefused(told["reason"])
        self.own_forward, self.asked = not told["forward"], told["asked"]
        if ours is None:
            self._end(server)
        else:
            self.server, self.jobs = server, ours

    def __enter__(self) -> Check:
        return self

    def __exit__(self, *_: object) -> None:
        if self.jobs is not None:
            self.jobs.close()
        for process in [*self.spawned]:
            kill(process)
        if self.server is not None:
            self._end(self.server)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        kill(process)
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        process.wait()

    def outcome(self, submission: Submission) -> Outcome:
        """Have a submission judged; return what came of it."""
        found = self._judged(submission)
        found.asked = self.asked
        return found

    def _judged(self, submission: Submission) -> Outcome:
        if submission.refusal is not None:
            return Outcome(submission.name, CANNOT, submission.refusal.said(self.lang))
        job = {
            "file": submission.name,
            "data": submission.data,
            "files": submission.files,
            "sandbox": self.sandbox,
            **self.settings,
        }
        began = time.monotonic()
        try:
            if self.own_forward:
                answer, told = self._alone(job)
            elif self.jobs is not None:
                answer, told = self._forked(job), Told("no-result", code=0)
            else:
                answer, told = self._spawned("task", job, python)
        except (ValueError, MemoryError):
            answer, told = None, Told("bad-answer")
        if answer is None and time.monotonic() - began >= self.seconds:
            told = Told("slow", seconds=self.seconds)
        found = outcome_of(submission.name, answer, told.said(self.lang), self.lang)
        if self.own_forward and found.report:
            found.marks.insert(0, say("own-forward", self.lang))
        return found

    def _forked(self, job: Mapping[str, Any]) -> Any:
        """Return the answer of a judge that is forked from the server; None if there is none."""
        assert self.jobs is not None
        requests_out, requests_in = os.pipe()
        answers_out, answers_in = os.pipe()
        with self.lock:
            socket.send_fds(self.jobs, [b"j"], [requests_out, answers_in])
        os.close(requests_out)
        os.close(answers_in)
        with os.fdopen(requests_in, "wb") as requests, os.fdopen(answers_out, "rb") as answers:
            try:
                send(requests, job)
                return receive(answers, MOST_ANSWER)
            except (EOFError, OSError):
                return None

    def _alone(self, job: Mapping[str, Any]) -> tuple[Any, Told]:
        """Return the answer of the process in which a submission is judged by its own word."""
        return self._spawned("alone", job, lambda *a: _wrapped(self.sandbox, python(*a)))

    def _spawned(
        self, how: str, job: Mapping[str, Any], command: Callable[..., list[str]]
    ) -> tuple[Any, Told]:
        folder = tempfile.mkdtemp(prefix="submission-")
        late = threading.Event()
        process = _started(command("worker", how), cwd=folder)
        self.spawned.add(process)

        def end() -> None:
            late.set()
            kill(process)

        watch = threading.Timer(self.seconds + GRACE / 4, end)
        watch.start()
        try:
            return _exchange(process, [self.task, job]), Told("no-result", code=0)
        except (EOFError, OSError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1.0)
            kill(process)
            return None, why_ended(process.wait(), late.is_set(), self.seconds)
        finally:
            watch.cancel()
            self._end(process)
            self.spawned.discard(process)
            shutil.rmtree(folder, ignore_errors=True)


def _wrapped(sandbox: bool, command: list[str]) -> list[str]:
    return sandboxed(command) if sandbox else command


def _started(
    command: Sequence[str], pass_fds: Sequence[int] = (), cwd: str | None = None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=pass_fds,
        cwd=cwd,
        env=environment(),
    )


def _exchange(
    process: subprocess.Popen[bytes], messages: Sequence[Any], seconds: float | None = None
) -> Any:
    """Send messages to a process; return its answer.

    Raises:  EOFError, OSError if it has ended; ValueError if its answer is none
    """
    assert process.stdin is not None and process.stdout is not None
    watch = threading.Timer(seconds, kill, [process]) if seconds else None
    if watch is not None:
        watch.start()
    try:
        for message in messages:
            send(process.stdin, message)
        return receive(process.stdout, MOST_ANSWER)
    finally:
        if watch is not None:
            watch.cancel()


def check_file(path: Path, task: Path | None = None, **settings: Any) -> Outcome:
    """Check a file in processes of its own, with bounds on its time and its memory.

    The settings are those of `Check`.

    Raises:  TaskRefused
    Example:
        >>> check_file(Path("nowhere.py")).reason
        'the file cannot be read: No such file or directory'
    """
    with Check(task, **settings) as check:
        return check.outcome(read_file(path))


def outcomes(check: Check, submissions: Sequence[Submission], jobs: int = 2) -> Iterator[Outcome]:
    """Yield what comes of submissions, each as soon as it is known.

    Example:
        >>> with Check() as check:
        ...     [o.code for o in outcomes(check, [Submission("ada.py", b"")])]
        [2]
    """
    pool = ThreadPoolExecutor(max(1, jobs))
    try:
        running = [pool.submit(check.outcome, submission) for submission in submissions]
        for done in as_completed(running):
            yield done.result()
    finally:  # also where no more are asked for: the check ends the processes
        pool.shutdown(wait=False, cancel_futures=True)


def check_folder(
    folder: Path, task: Path | None = None, *, jobs: int = 2, **settings: Any
) -> list[Outcome]:
    """Check every submission of a folder, in the order of their names.

    Raises:  TaskRefused
    Example:
        check_folder(Path("class"), task=Path("task.py"))
        >>> check_folder(Path("nowhere"))
        []
    """
    read = submissions_in(folder, task)
    with Check(task, **settings) as check:
        return sorted(outcomes(check, read, jobs), key=lambda outcome: outcome.file)
