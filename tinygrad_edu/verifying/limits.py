"""Limits on processes that run what students wrote, and the sandbox around them.

Limits on processor time, memory and the size of files are those of the module `resource`, which
Windows does not have. The sandbox is bubblewrap (`bwrap`): a process in it sees Python, the library
and an empty folder of its own, and nothing else: no other files, no other processes, no network.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shutil
import signal
import site
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from .wording import say

__all__ = [
    "die_with_parent",
    "environment",
    "lay_out",
    "protections",
    "python",
    "restrict",
    "sandbox_trouble",
    "sandboxed",
]

PACKAGE = Path(__file__).resolve().parents[1]
FOLDER = "/submission"  # of a process in the sandbox, empty at first
MOST_FILE = 1 << 20  # bytes of a file that is written
MOST_FILES = 64 << 20  # … and of all that are written in the sandbox


def _resource() -> ModuleType | None:
    """Return the module of limits, which Windows does not have."""
    try:
        import resource
    except ImportError:
        return None
    return resource


def restrict(seconds: float, megabytes: int) -> None:
    """Set the limits of this process, and of those it starts, for good.

    At the end of the processor time the system sends SIGXCPU, which ends the process; one that
    ignores it is killed two seconds later.
    """
    resource = _resource()
    if resource is None:
        return
    time, memory = int(seconds) + 1, megabytes << 20
    for what, soft, hard in (
        (resource.RLIMIT_CPU, time, time + 2),
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_FSIZE, MOST_FILE, MOST_FILE),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        before = resource.getrlimit(what)[1]
        most = hard if before == resource.RLIM_INFINITY else min(hard, before)
        with contextlib.suppress(OSError, ValueError):  # macOS refuses some
            resource.setrlimit(what, (min(soft, most), most))


def die_with_parent() -> None:
    """Have the system end this process when the one that started it ends; on Linux only."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG


def lay_out(files: Mapping[str, bytes]) -> None:
    """Write files into the working folder, from where they can be imported.

    Example:
        lay_out({"data/numbers.csv": b"1,2"})
        >>> lay_out({})
    """
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    sys.path.insert(0, os.getcwd())


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this package in a new Python.

    Example:
        >>> python("student")[1:]
        ['-P', '-m', 'tinygrad_edu.verifying.student']
    """
    return [sys.executable, "-P", "-m", f"tinygrad_edu.verifying.{module}", *arguments]


def environment() -> dict[str, str]:
    """Return the environment of a process that checks or runs a submission.

    It holds none of the user's own variables but those that Python and its libraries need.

    Example:
        >>> environment()["OMP_NUM_THREADS"]
        '1'
    """
    kept = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    one = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        **dict.fromkeys(one, "1"),  # each thread would reserve memory of its own
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONIOENCODING": "utf-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "MPLBACKEND": "Agg",  # a figure that is shown opens no window
        "LANG": "C.UTF-8",
    }


def sandboxed(command: Sequence[str]) -> list[str]:
    """Return a command that runs another one in the sandbox.

    Example:
        >>> sandboxed(["python"])[0]
        'bwrap'
    """
    binds = [part for path in _needed() for part in ("--ro-bind-try", path, path)]
    links = [
        part
        for path in ("/lib", "/lib64", "/lib32", "/bin", "/sbin")
        if os.path.islink(path)
        for part in ("--symlink", os.readlink(path), path)
    ]
    return [
        *("bwrap", "--unshare-all", "--die-with-parent", "--new-session"),
        *("--proc", "/proc", "--dev", "/dev"),
        *("--size", str(MOST_FILES), "--tmpfs", "/tmp", *binds, *links),
        *("--size", str(MOST_FILES), "--tmpfs", FOLDER, "--chdir", FOLDER),
        *("--setenv", "HOME", FOLDER, "--hostname", "sandbox"),
        *command,
    ]


def _needed() -> Iterator[str]:
    """Yield the folders that Python, NumPy and this library are read from, the system's first."""
    yield "/usr"
    yield from (p for p in ("/lib", "/lib64", "/lib32", "/bin", "/sbin") if not os.path.islink(p))
    yield from ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/fonts")
    packages = [p for p in sys.path if Path(p).name in ("site-packages", "dist-packages")]
    folders = [sys.base_prefix, sys.exec_prefix, sys.prefix, *site.getsitepackages(), *packages]
    folders.append(str(Path(np.__file__).resolve().parents[1]))
    folders += os.environ.get("PYTHONPATH", "").split(os.pathsep)
    for folder in dict.fromkeys(filter(None, folders)):
        path = Path(folder).resolve()
        if path != Path("/") and path not in PACKAGE.parents and not path.is_relative_to("/usr"):
            yield str(path)
    yield str(PACKAGE)


@functools.cache
def sandbox_trouble() -> str:
    """Return why there is no sandbox: "absent", what bwrap says, or "" where it starts.

    Example:
        >>> isinstance(sandbox_trouble(), str)
        True
    """
    if shutil.which("bwrap") is None:
        return "absent"
    try:
        done = subprocess.run(
            sandboxed([sys.executable, "-I", "-S", "-c", "pass"]),
            capture_output=True,
            timeout=20,
            env=environment(),
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.decode(errors="replace").strip() or "absent"


def protections(sandbox: bool, why_not: str = "", lang: str = "en") -> str:
    """Return the line that says what protects from submissions, and what does not.

    Example:
        >>> protections(True)
        'protections: separate processes; limits on time, memory and files; sandbox (bubblewrap)'
    """
    limits = "limits-all" if _resource() is not None else "limits-time"
    around = say("sandbox-on", lang) if sandbox else say("sandbox-none", lang, why=why_not)
    return say("protections", lang, limits=say(limits, lang), sandbox=around)
