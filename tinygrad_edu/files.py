"""Files of arrays and their structure, written atomically and verified when read.

A new file is written without a name and replaces the old one when all bytes are on the disk, so
that a reader sees the old file or the new one, also after a crash. The file holds the SHA-256 of
all its bytes (with zeros in place of the digest); a file that was changed is refused.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import io
import json
import os
import re
import stat
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .arrays import Array

StrPath = str | os.PathLike[str]
_DIGITS = 64  # of a SHA-256 in hexadecimal
_STRUCTURE = "tinygrad_edu"  # the name of the JSON beside the arrays
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # open() of a pipe without a writer returns at once
_PACKED = 100  # a foreign compressed file may unpack to this many times its size,
_SMALL = 100_000_000  # … or to this many bytes
_LONGEST = 238  # bytes of a name; with the suffix of an unfinished file at most 255
_LEFT_BEHIND = 3600.0  # seconds after which an unfinished file may be removed


def write(path: StrPath, arrays: Mapping[str, Array], structure: Any) -> None:
    """Write a file atomically: a reader sees the old file or the complete new one.

    Raises:  ValueError for another ending of the name, OSError if the file cannot be written,
             ImportError for `.safetensors` without its library
    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "state.npz")
        >>> write(path, {"w": np.ones(2)}, "anything that JSON can hold")
        >>> read(path)
        ({'w': array([1., 1.])}, 'anything that JSON can hold')
    """
    path = Path(path)
    content, at = _format(path).write(arrays, structure)
    content[at : at + _DIGITS] = _digest(content, at)
    try:
        _replace(Path(os.path.realpath(path)), content)
    except OSError as error:
        reason = f"{error.strerror or error}; nothing was saved, and an older file is unchanged"
        raise type(error)(error.errno, reason, str(path)) from error


def read(path: StrPath, checksum: bool = True) -> tuple[Mapping[str, Array], Any]:
    """Return the arrays and the structure in a file. With `checksum=False` also read files of other
    programs.

    Raises:  ValueError, with the name of the file, for what is damaged, is no regular file or
             unpacks to more than its size allows; OSError if it cannot be read
    Example:
        >>> read("state.pkl")
        Traceback (most recent call last):
        ValueError: state.pkl should end in .npz or .safetensors, which are what is written
    """
    path = Path(path)
    form = _format(path)
    content = _content(path)
    try:
        _look_at(content, form)
        at = form.place(content)
        if at is None and checksum:
            raise _Refused(
                "has no checksum: it was not written by tg.save, or has been written anew since; "
                "load(path, checksum=False) reads it as it is"
            )
        if at is not None and _digest(content, at) != content[at : at + _DIGITS]:
            raise _Refused(
                f"is damaged: its checksum does not fit its {len(content)} bytes, at least one "
                "of which has changed"
            )
        return form.read(content)
    except ImportError:
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, _Refused) else f"cannot be read: {error}"
        raise ValueError(f"{path} {reason}") from error


def _content(path: Path) -> bytes:
    """Return the bytes of a regular file. A pipe or device is refused, and never waited for."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | _NO_WAIT)
    with open(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise ValueError(f"{path} is a pipe or a device, expected a regular file")
        return file.read()


# --- the two formats ------------------------------------------------------------------------------


class Format(NamedTuple):
    """A file format.

    name   the name in messages
    mark   bytes that all its files have, and their offset
    write  arrays and structure → the bytes, and the offset of the checksum in them
    place  bytes → the offset of the checksum, None if there is none
    read   bytes → arrays and structure

    Example:
        >>> content, at = FORMATS[".npz"].write({}, None)
        >>> bytes(content[at - 7 : at + 4])
        b'sha256 0000'
    """

    name: str
    mark: tuple[bytes, int]
    write: Callable[[Mapping[str, Array], Any], tuple[bytearray, int]]
    place: Callable[[bytes], int | None]
    read: Callable[[bytes], tuple[Mapping[str, Array], Any]]


class _Refused(ValueError):
    """Raised for a file that is refused; the message begins with its name."""


def _flat(arrays: Mapping[str, Array]) -> Any:
    """Return the structure of a flat dict of arrays, from their names."""
    return {"dict": [[name, {"array": name}] for name in arrays]}


def _write_npz(arrays: Mapping[str, Array], structure: Any) -> tuple[bytearray, int]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
        if structure != _flat(arrays):
            archive.writestr(zipfile.ZipInfo(f"{_STRUCTURE}.json"), json.dumps(structure))
        archive.comment = b"sha256 " + b"0" * _DIGITS
    content = bytearray(stream.getbuffer())
    return content, len(content) - _DIGITS


def _place_in_npz(content: bytes) -> int | None:
    end = content.rfind(b"PK\5\6")  # the last record, of 22 bytes and a comment of a given length
    comment = int.from_bytes(content[end + 20 : end + 22], "little")
    if end < 0 or end + 22 + comment != len(content):
        raise _Refused("is cut off or damaged: it is no whole zip archive")
    return len(content) - _DIGITS if re.search(rb"sha256 [0-9a-f]{64}\Z", content) else None


def _read_npz(content: bytes) -> tuple[Mapping[str, Array], Any]:
    arrays: dict[str, Array] = {}
    structure = None
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        _bound(archive.infolist(), content)
        for name in archive.namelist():
            if name == f"{_STRUCTURE}.json":
                structure = archive.read(name)
            else:
                with archive.open(name) as entry:
                    arrays[name.removesuffix(".npy")] = np.lib.format.read_array(
                        entry, allow_pickle=False
                    )
    return arrays, _flat(arrays) if structure is None else json.loads(structure)


def _bound(entries: list[zipfile.ZipInfo], content: bytes) -> None:
    """Raise an error for an archive that would fill the memory, before it is unpacked.

    `save` does not compress. numpy.savez_compressed uses deflate, for which zipfile stops at the
    size that an entry declares; with other methods it unpacks whole blocks of any size.
    """
    methods = {entry.compress_type for entry in entries}
    if not methods <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise _Refused("is compressed by another method than deflate, which is not read")
    size = sum(entry.file_size for entry in entries)
    packed = zipfile.ZIP_DEFLATED in methods
    if packed and _place_in_npz(content) is not None:
        raise _Refused("is compressed and has a checksum, expected one or neither")
    if size > (max(_PACKED * len(content), _SMALL) if packed else len(content)):
        raise _Refused(
            f"would unpack its {len(content)} bytes to {size}; if you trust it, read it with "
            "np.load(path) and save it again"
        )


def _write_safetensors(arrays: Mapping[str, Array], structure: Any) -> tuple[bytearray, int]:
    library = _safetensors()
    for name, array in arrays.items():
        if array.dtype == np.longdouble != np.float64:
            raise TypeError(f"{name}: .safetensors has no {array.dtype}; .npz has")
    text = f"sha256 {'0' * _DIGITS}\n{json.dumps(structure)}"
    content = bytearray(library.save(dict(arrays), {_STRUCTURE: text}))
    at = _place_in_safetensors(content)
    assert at is not None
    return content, at


def _place_in_safetensors(content: bytes | bytearray) -> int | None:
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or 8 + size > len(content):
        raise _Refused(
            f"is cut off or damaged, or no safetensors file: its header should have {size} bytes, "
            f"the whole file has {len(content)}"
        )
    try:
        header = json.loads(content[8 : 8 + size])
        text = header.pop("__metadata__", {}).get(_STRUCTURE, "")
        ends = [entry["data_offsets"][1] for entry in header.values()]
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError):
        raise _Refused("is damaged, or no safetensors file: its header is unreadable") from None
    expected = 8 + size + max(ends, default=0)
    if expected != len(content):
        raise _Refused(
            f"is cut off or damaged: it has {len(content)} bytes, its header speaks of {expected}"
        )
    found = re.match(r"sha256 ([0-9a-f]{64})\n", text)
    return found and content.index(found[1].encode())


def _read_safetensors(content: bytes) -> tuple[Mapping[str, Array], Any]:
    library = _safetensors()
    # The file's bytes are read-only, so copy them into an array.
    arrays = {name: array.copy() for name, array in library.load(content).items()}
    size = int.from_bytes(content[:8], "little")
    text = json.loads(content[8 : 8 + size]).get("__metadata__", {}).get(_STRUCTURE)
    return arrays, _flat(arrays) if text is None else json.loads(text.partition("\n")[2])


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "files that end in .safetensors need the library safetensors: "
            "pip install 'tinygrad_edu[files]'; those that end in .npz need nothing"
        ) from error
    return safetensors.numpy


FORMATS = {
    ".npz": Format("npz", (b"PK", 0), _write_npz, _place_in_npz, _read_npz),
    ".safetensors": Format(
        "safetensors", (b"{", 8), _write_safetensors, _place_in_safetensors, _read_safetensors
    ),
}
# First bytes of other formats, for files with a wrong ending.
FOREIGN = {
    b"PK\x03\x04": "a zip archive, such as .npz, .keras or .pt",
    b"\x80": "a pickle, which could run code",
    b"\x93NUMPY": "a single array (.npy)",
    b"\x89HDF": "an HDF5 file (.h5)",
    b"\x1f\x8b": "compressed by gzip",
    b"<": "a page of HTML or XML",
}


def _format(path: Path) -> Format:
    if path.suffix not in FORMATS:
        raise ValueError(f"{path} should end in {' or '.join(FORMATS)}, which are what is written")
    return FORMATS[path.suffix]


def _look_at(content: bytes, form: Format) -> None:
    """Raise an error for a file of another format."""
    if not content:
        raise _Refused("is empty")
    if not content.startswith(*form.mark):
        for begin, kind in FOREIGN.items():
            if content.startswith(begin):
                raise _Refused(f"is no {form.name} file but {kind}")
        raise _Refused(f"is no {form.name} file, or is cut off or damaged at its very beginning")


def _digest(content: bytes | bytearray, at: int) -> bytes:
    """Return the checksum of all bytes, with zeros in place of the digest."""
    view = memoryview(content)
    digest = hashlib.sha256(view[:at])
    digest.update(b"0" * _DIGITS)
    digest.update(view[at + _DIGITS :])
    return digest.hexdigest().encode()


# --- the file -------------------------------------------------------------------------------------


def _replace(target: Path, content: bytearray) -> None:
    """Put a file with this content at `target`, in one step.

    The content is first written to a file without a name: if the process is killed, nothing is
    left of it. Systems without such files get a temporary name instead.
    """
    old = _old(target)
    temporary = target.with_name(f".{_stem(target)}.{os.urandom(4).hex()}.saving")
    try:
        try:
            _write_nameless(temporary, content, old)
        except OSError:
            _write(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), content, old)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if sys.platform != "win32":  # flush the directory, so that the new name is on the disk
        with suppress(OSError):
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    _tidy(target)


def _stem(target: Path) -> str:
    """Return the name of a file, or a digest where more characters would make it too long.

    Example:
        >>> _stem(Path("state.npz")), len(_stem(Path("a" * 251 + ".npz")))
        ('state.npz', 32)
    """
    name = os.fsencode(target.name)
    return target.name if len(name) <= _LONGEST else hashlib.sha256(name).hexdigest()[:32]


def _old(target: Path) -> os.stat_result | None:
    """Return the status of the existing file, or None. Raise an error if replacing it would destroy
    something: a read-only file, or something that is no file.
    """
    try:
        found = target.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise FileExistsError(errno.EEXIST, "this is no file")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "this file may only be read")
    return found


def _write(descriptor: int, content: bytearray, old: os.stat_result | None) -> None:
    """Write the content to the disk, with the owner and permissions of the old file."""
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if old is not None and sys.platform != "win32":
            with suppress(OSError):  # keep the owner, if permitted
                os.fchown(descriptor, old.st_uid, old.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
        os.fsync(descriptor)


def _write_nameless(temporary: Path, content: bytearray, old: os.stat_result | None) -> None:
    """Write to a file without a name, and name it at the end (Linux, open(2))."""
    if sys.platform != "linux":
        raise OSError(errno.ENOTSUP, "no files without a name")
    descriptor = os.open(temporary.parent, os.O_WRONLY | os.O_TMPFILE, 0o666)
    kept = os.dup(descriptor)
    try:
        _write(descriptor, content, old)
        # Only with a folder given does os.link follow the link that /proc has of the file.
        os.link(f"/proc/self/fd/{kept}", temporary, src_dir_fd=kept, follow_symlinks=True)
    finally:
        os.close(kept)


def _tidy(target: Path) -> None:
    """Remove unfinished files of this name that killed processes left long ago."""
    for left in target.parent.glob(f".{glob.escape(_stem(target))}.{'[0-9a-f]' * 8}.saving"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT_BEHIND:
                left.unlink()
