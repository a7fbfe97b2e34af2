"""Reading what a class has handed in: one file or one folder a student, read once.

Only plain files are read, and of each no more than a source can have: a link, a pipe or a device in
a file's place is a reason of its own, and holds nothing up.
"""

from __future__ import annotations

import contextlib
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .sources import MOST_SOURCE, NOTEBOOK, TEXTS
from .wording import Told

__all__ = ["Submission", "beside", "read_file", "submissions_in"]

ENDINGS = (".py", NOTEBOOK, *TEXTS)
MOST_BESIDE = 4_000_000  # bytes of the files beside a submission that it gets


@dataclass
class Submission:
    """A submission as it was read: the file, and what lies beside it.

    Example:
        >>> Submission("ada.py", b"claims = {}").refusal is None
        True
    """

    name: str
    data: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    refusal: Told | None = None  # why it cannot be read


def read_file(path: Path) -> Submission:
    """Return a file as a submission; one that is no plain file, or too large, with the reason.

    Example:
        >>> read_file(Path("nowhere.py")).refusal.said("en")
        'the file cannot be read: No such file or directory'
    """
    try:
        kind = path.lstat()
        if stat.S_ISLNK(kind.st_mode):
            return Submission(path.name, refusal=Told("is-link"))
        if not stat.S_ISREG(kind.st_mode):
            return Submission(path.name, refusal=Told("not-file"))
        with path.open("rb") as stream:
            data = stream.read(MOST_SOURCE + 1)
    except OSError as error:
        return Submission(path.name, refusal=Told("no-reading", error=error.strerror or error))
    return Submission(path.name, data)


def submissions_in(folder: Path, task: Path | None = None) -> list[Submission]:
    """Return the submissions in a folder: one for each file, and one for each folder in it.

    A file in the folder is a submission if it is Python, a notebook or text. In a student's folder
    it is the one that has `claims` or `backprop`; the others there can be imported and read.

    Example:
        >>> submissions_in(Path("nowhere"))
        []
    """
    own = task.resolve() if task else None
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith((".", "__")) or path.resolve() == own:
            continue
        if path.is_dir() and not path.is_symlink():
            found.append(_student_folder(path))
        elif path.suffix.lower() in ENDINGS:
            found.append(read_file(path))
    data = beside(folder) if found else {}
    for submission in found:
        submission.files = {**data, **submission.files}
    return sorted(found, key=lambda submission: submission.name)


def beside(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder that are no submissions: data that all of them may read.

    Example:
        >>> beside(Path("nowhere"))
        {}
    """
    if not folder.is_dir():
        return {}
    return _contents({path.name: path for path in sorted(folder.iterdir()) if _is_data(path)})


def _is_data(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.suffix.lower() not in ENDINGS


def _contents(paths: Mapping[str, Path]) -> dict[str, bytes]:
    """Return the bytes of files, as long as they are not too many in all."""
    found: dict[str, bytes] = {}
    left = MOST_BESIDE
    for name, path in paths.items():
        with contextlib.suppress(OSError):
            if path.stat().st_size <= min(left, MOST_SOURCE):
                found[name] = path.read_bytes()
                left -= len(found[name])
    return found


def _student_folder(folder: Path) -> Submission:
    """Return the submission in a student's folder, or why there is none."""
    paths: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith((".", "__")) for part in parts)
        if not hidden and len(parts) <= 4 and path.is_file() and not path.is_symlink():
            paths["/".join(parts)] = path
    likely = [name for name, path in paths.items() if path.suffix.lower() in ENDINGS]
    if not likely:
        return Submission(folder.name, refusal=Told("no-files" if paths else "empty-folder"))
    contents = _contents(paths)
    claiming = [n for n in likely if _CLAIMS.search(contents.get(n, b""))] or likely
    python = [n for n in claiming if not n.endswith(TEXTS)] or claiming
    if len(python) > 1:
        refusal = Told("several-files", files=", ".join(python))
        return Submission(folder.name, refusal=refusal)
    chosen = read_file(paths[python[0]])
    chosen.name, chosen.files = f"{folder.name}/{python[0]}", contents
    return chosen


_CLAIMS = re.compile(rb"\bclaims\s*=|\bdef\s+backprop\b|\bbackprop\s*=")
