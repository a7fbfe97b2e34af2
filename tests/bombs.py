"""Claims and submissions that would take for ever, or all memory: `python -m tests.bombs`.

Prints a row for each: the seconds of the processor and of the clock, the peak of memory of the
caller's process in megabytes, and what came of it. Texts are verified in the caller's process,
with the search for repairs; their bound is on the processor's seconds, which do not depend on what
else the machine does. Programs are judged as a class's folder is, with `--seconds 3`; their bound
is on the clock. The exit code is 1 if one goes beyond 5 seconds or 1 gigabyte.

    python -m tests.bombs             all
    python -m tests.bombs texts       texts only
    python -m tests.bombs programs    programs only
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.hostile import TASK
from tests.verifying.test_bombs import BOMBS, SIZES, forward
from tinygrad_edu.verifying.collecting import Submission
from tinygrad_edu.verifying.inputs import CannotCheck
from tinygrad_edu.verifying.submissions import Check
from tinygrad_edu.verifying.verification import verify

SECONDS, MEGABYTES = 5.0, 1024.0  # that each may take

MORE_TEXTS: dict[str, Any] = {
    "powers in lines": "\n".join([f"E{k} = E{k + 1}^9" for k in range(60)])
    + "\nE60 = A\ndW = XᵀE0",
    "three times the next": "\n".join([f"E{k} = E{k + 1}⊙E{k + 1}⊙E{k + 1}" for k in range(99)])
    + "\nE99 = A\ndW = XᵀE0",
    "lines that go round": "\n".join([f"E{k} = E{(k + 1) % 90}" for k in range(90)]) + "\ndW = E0",
    "wide sums": {"W": "X.T @ (A - Y) + " + " + ".join(["0 * (A - Y).sum()"] * 300)},
    "wide products": {"W": " * ".join(["(A - Y)"] * 900)},
    "minus signs": {"W": "-" * 3_900 + "W"},
    "nots": {"W": "not " * 1_900 + "W"},
    "comparisons": {"W": "W" + " < W" * 1_900},
    "conditions": {"W": "1 if W else " * 600 + "2"},
    "slices": {"W": "W" + "[:, None]" * 800},
    "nested lists": {"W": "[" * 900 + "1" + "]" * 900},
    "cumulated ranges": {"W": "np.cumsum(np.arange(10**7)).sum() * W"},
    "loops in loops": {"W": "sum([sum([j for j in range(300)]) for i in range(300)]) * W"},
    "outer of ranges": {"W": "np.outer(np.arange(9999), np.arange(9999))"},
    "squares of squares": {"W": "((((((((9.5**2)**2)**2)**2)**2)**2)**2)**2)**99 * W"},
    "a thousand claims": {**{f"e{k}": f"X.T @ (A - {k})" for k in range(999)}, "b": "A - Y"},
    "sums of sums": {"W": "Σ_i Σ_j Σ_k Σ_l X[i,j]·X[k,l]·X[i,l]·X[k,j]"},
    "environments in environments": "\\begin{aligned}" * 900 + "dW = X" + "\\end{aligned}" * 900,
}

CLASS = "def backprop(X, Y, A):\n    "
PROGRAMS: dict[str, str | bytes] = {
    "an endless loop": "while True: pass",
    "an endless loop in backprop": CLASS + "while True: pass",
    "an endless sleep": "import time\ntime.sleep(1e6)",
    "a sleep in backprop": CLASS + "import time\n    time.sleep(1e6)",
    "a large array": "import numpy as np\nx = np.ones(10**11)",
    "arrays without end": "x = []\nwhile True: x.append(np.ones(10**6))",
    "memory in backprop": CLASS + "x = [0]\n    while True: x = x + x",
    "a large result": CLASS + "return {'W': np.ones(3 * 10**7), 'b': np.ones(3 * 10**7)}",
    "many results": CLASS + "return {f'W{i}': X for i in range(10**5)}",
    "a deep result": CLASS + "x = []\n    for _ in range(10**5): x = [x]\n    return {'W': x}",
    "a result that holds itself": CLASS + "x = {}\n    x['W'] = x\n    return x",
    "a generator without end": CLASS + "import itertools\n    yield from itertools.count()",
    "recursion": "def f(): f()\nf()",
    "recursion without its limit": "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
    "a tower of powers": "x = 9**9**9",
    "digits of a number": "x = str(7**(10**7))",
    "printing without end": "while True: print('x' * 10**6)",
    "writing without end": "f = open('x', 'wb')\nwhile True: f.write(b'x' * 10**6)",
    "threads that go on": "import threading, time\n"
    "for _ in range(30): threading.Thread(target=time.sleep, args=(1e6,)).start()",
    "a process that stays": "import subprocess, sys\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\nclaims = {'W': 'X'}",
    "an end that waits": "import atexit, time\n"
    "atexit.register(time.sleep, 1e6)\nclaims = {'W': 'W'}",
    "signals that are ignored": "import signal\n"
    "for s in (2, 15, 14, 24): signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
    "an expression that backtracks": "import re\nre.match('(a+)+$', 'a' * 60 + 'b')",
    "a string that is large": "claims = {'W': 'X' * 10**9}",
    "claims without end": "claims = {str(i): 'X' for i in range(10**6)}",
    "a deep expression": "x = " + "(" * 5_000 + ")" * 5_000,
    "a long sum": "x = " + "+".join(["1"] * 90_000),
    "a large constant": "claims = {'W': 'X'}\nx = (1, 2) * 10**9",
    "a large file": b"#" * 2_000_000,
    "a long line": b"claims = {'W': '" + b"X+" * 400_000 + b"X'}",
    "lines that refer twice": f"claims = {BOMBS['lines that refer twice to the next']!r}",
    "a decorator that loops": "def d(f):\n    while True: pass\n@d\n" + CLASS + "return X",
    "a class that loops": "class N:\n    def __init__(self):\n        while True: pass\n"
    "    def backprop(self, X): self.dW = X\n",
    "an exception that loops": "class E(Exception):\n    def __str__(self):\n"
    "        while True: pass\nraise E",
}


class Cost(NamedTuple):
    """The seconds of the processor and the clock, the peak in megabytes, and the result."""

    processor: float
    clock: float
    megabytes: float
    result: str


def measured(work: Callable[[], str]) -> Cost:
    """Return the cost of work, which is done in a fork of this process."""
    import resource

    inside, outside = os.pipe()
    child = os.fork()
    if child == 0:
        began, clock = time.process_time(), time.monotonic()
        try:
            result = work()
        except BaseException as error:
            result = f"NOT REFUSED: {type(error).__name__}: {error}"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        megabytes = peak / (1024 if sys.platform == "linux" else 1024**2)
        cost = Cost(time.process_time() - began, time.monotonic() - clock, megabytes, result[:200])
        os.write(outside, pickle.dumps(tuple(cost)))
        os._exit(0)
    os.close(outside)
    with os.fdopen(inside, "rb") as stream:
        data = stream.read()
    os.waitpid(child, 0)
    if not data:
        return Cost(0.0, 0.0, float("inf"), "NOT REFUSED: the process was ended")
    return Cost(*pickle.loads(data))


def of_text(claims: Any) -> str:
    """Return what `verify` says of claims."""
    if isinstance(claims, str) and "\n" not in claims and not claims.startswith("W "):
        claims = {"W": claims, "b": "np.sum(A - Y, axis=0) / m"}
    try:
        report = verify(forward, claims, inputs=SIZES)
    except CannotCheck as error:
        return f"refused: {error}"
    wrong = [v for v in report.verdicts if not v.right]
    return f"{wrong[0].status}: {wrong[0].reason}" if wrong else "right"


def of_program(check: Check, program: str | bytes) -> str:
    """Return what the table says of a submission."""
    data = program if isinstance(program, bytes) else program.encode()
    found = check.outcome(Submission("bomb.py", data))
    return found.reason or f"{found.code}: {found.first().get('reason', '')}"


def is_within(cost: Cost, seconds: float) -> bool:
    """Return True if a bomb did no harm."""
    refused = not cost.result.startswith("NOT REFUSED")
    return refused and seconds <= SECONDS and cost.megabytes <= MEGABYTES


def row(name: str, cost: Cost, is_good: bool) -> str:
    """Return a line of the table."""
    sign = " " if is_good else "!"
    figures = f"{cost.processor:6.2f} {cost.clock:6.2f} {cost.megabytes:7.0f}"
    return f"{sign} {name:36} {figures}  {' '.join(cost.result.split())[:70]}"


def main(arguments: list[str]) -> int:
    """Print the table; return the exit code."""
    which = arguments or ["texts", "programs"]
    bad = count = 0
    verify(forward, {"W": "X.T @ (A - Y)"}, inputs=SIZES)  # what is loaded once
    print(f"  {'bomb':36} {'cpu s':>6} {'s':>6} {'MB':>7}  result")

    def add(name: str, cost: Cost, seconds: float) -> None:
        nonlocal bad, count
        good = is_within(cost, seconds)
        bad, count = bad + (not good), count + 1
        print(row(name, cost, good), flush=True)

    if "texts" in which:
        for name, claims in {**BOMBS, **MORE_TEXTS}.items():
            cost = measured(lambda claims=claims: of_text(claims))  # type: ignore[misc]
            add(name, cost, cost.processor)
    if "programs" in which:
        with tempfile.TemporaryDirectory() as folder:
            task = Path(folder) / "task.py"
            task.write_text(TASK)
            with Check(task, seconds=3.0, megabytes=1024) as check:
                for name, program in PROGRAMS.items():
                    cost = measured(lambda p=program: of_program(check, p))  # type: ignore[misc]
                    add(name, cost, cost.clock)
    print(f"{count} bombs, {bad} beyond {SECONDS:g} s or {MEGABYTES:g} MB")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
