"""The judge's process.

    python -P -m tinygrad_edu.verifying.worker serve SOCKET    a judge for each job that comes
    python -P -m tinygrad_edu.verifying.worker task            one job, and the task with it
    python -P -m tinygrad_edu.verifying.worker alone           one job with a `forward` of its own

Where the system can fork, the task is run once, in the first of these, before any submission; each
job then gets a copy of that process. Elsewhere each job has a process that runs the task anew.
Jobs come and answers go as messages (`wire`) on pipes that nothing else can write to.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import IO, Any

from .judge import Job, judged, judged_alone, task_of
from .limits import lay_out, restrict
from .wire import receive, send
from .wording import Told, error_text

__all__ = ["main"]

GRACE = 5.0  # seconds that a judge has beyond those of its submission
AHEAD = 0.4  # seconds in which problems are made that most judges need


def read_task(message: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the names of a task, and what is told of it.

    Example:
        >>> read_task({"file": "task.py", "data": b"wrt = ['W']", "lang": "en"})
        ({'wrt': ['W']}, {'reason': '', 'forward': False, 'asked': 1})
    """
    told: dict[str, Any] = {"reason": "", "forward": False, "asked": None}
    if message["data"] is None:
        return {}, told
    sys.path.insert(0, str(Path(message["file"]).parent))  # for what it imports
    try:
        names = task_of(message["file"], message["data"])
    except Told as error:
        return {}, {**told, "reason": error.said(message["lang"])}
    except Exception as error:
        refusal = Told("check-fails", error=error_text(error))
        return {}, {**told, "reason": refusal.said(message["lang"])}
    asked = len(names["wrt"]) if names.get("wrt") else None
    return names, {**told, "forward": "forward" in names, "asked": asked}


def answer(requests: IO[bytes], answers: IO[bytes], task: dict[str, Any], alone: bool) -> None:
    """Read a job, judge it within its limits, and write the answer."""
    job = Job(**receive(requests))
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, job.seconds + GRACE)
    if alone:
        lay_out(job.files)
    restrict(job.seconds + (0.0 if alone else GRACE), job.megabytes)
    send(answers, judged_alone(job, task) if alone else judged(job, task))


def serve(descriptor: int, task: dict[str, Any]) -> None:
    """Fork a judge for each pair of pipes that comes through a socket, until it is closed."""
    jobs = socket.socket(fileno=descriptor)
    if "prepared" in task:
        task["prepared"].make_ahead(AHEAD)
    while True:
        received, pipes, _, _ = socket.recv_fds(jobs, 1, 2)
        _reap()
        if not received:
            return
        if os.fork() == 0:
            jobs.close()
            try:
                with os.fdopen(pipes[0], "rb") as requests, os.fdopen(pipes[1], "wb") as answers:
                    answer(requests, answers, task, alone=False)
            finally:
                os._exit(0)
        for pipe in pipes:
            os.close(pipe)


def _reap() -> None:
    """Take note of the judges that have ended; the system keeps each of them until then."""
    with contextlib.suppress(ChildProcessError):  # there are none
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main(arguments: list[str]) -> None:
    """Take the pipes of standard input and output for messages, then work."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)  # what a task or a submission prints goes nowhere
    task, told = read_task(receive(requests))
    if arguments[0] == "serve":
        send(answers, told)
        serve(int(arguments[1]), task)
    else:
        answer(requests, answers, task, alone=arguments[0] == "alone")
    os._exit(0)  # no clean-up that a submission has registered


if __name__ == "__main__":
    main(sys.argv[1:])
