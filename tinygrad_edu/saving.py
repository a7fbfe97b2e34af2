"""Saving: states in files that are whole, or refused.

A state is what `state_dict()` gives, and any dict, list or tuple of arrays, numbers and text. Its
arrays are written as `.safetensors` (which other frameworks read) or `.npz` (NumPy alone); how they
were put together stands beside them as JSON. Nothing in such a file is ever run.

A file comes into being without a name and takes the place of the old one when every byte is on the
disk: whoever looks finds the old file or the new one, also after a crash. The SHA-256 of all its
bytes, with zeros in its own place, stands in the file: what has changed since is refused.
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

from .engine import Array, Box, as_array, describe

__all__ = ["load", "load_checkpoint", "save", "save_checkpoint"]

StrPath = str | os.PathLike[str]
_DIGITS = 64  # of a SHA-256 in hexadecimal
_STRUCTURE = "tinygrad_edu"  # what the JSON beside the arrays is called
_LEFT_BEHIND = 3600.0  # seconds after which an unfinished file is nobody's any more


def save(path: StrPath, state: Any) -> None:
    """Write a state to a `.safetensors` or `.npz` file: as a whole, or not at all.

    A state is an array or tensor, a number, text or None, or a dict, list or tuple of states. The
    file at `path` is replaced when the new one is complete and on the disk; until then, and where
    anything fails, it stays as it was. A link stays a link, permissions stay what they were.

    Raises:  TypeError for what a state cannot hold, ValueError for another ending of the name,
             OSError if the file cannot be written; ImportError for `.safetensors` without its
             library (`pip install 'tinygrad_edu[files]'`)
    Source:  the format is that of https://github.com/huggingface/safetensors, or `numpy.savez`'s
    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "state.npz")
        >>> save(path, {"weight": np.ones((2, 1)), "epoch": 3})
        >>> load(path)
        {'weight': array([[1.],
               [1.]]), 'epoch': 3}
    """
    path = Path(path)
    form = _format(path)
    arrays: dict[str, Array] = {}
    structure = _pack(state, "", arrays)
    content, at = form.write(arrays, structure)
    content[at : at + _DIGITS] = _digest(content, at)
    try:
        _replace(Path(os.path.realpath(path)), content)
    except OSError as error:
        reason = f"{error.strerror or error}; nothing was saved, and what was there is as it was"
        raise type(error)(error.errno, reason, str(path)) from error


def load(path: StrPath, *, checksum: bool = True) -> Any:
    """The state in a file that `save` has written, with arrays in place of tensors.

    `checksum=False` reads files of other programs too, which have no checksum of ours, as a dict
    of arrays. Nothing in a file is ever run, whoever wrote it.

    Raises:  ValueError, with the name of the file, if it was changed, cut off or damaged, if it is
             something else, or has no checksum; FileNotFoundError; ImportError as for `save`
    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "state.npz")
        >>> save(path, {"weight": np.ones(2)})
        >>> _ = path.write_bytes(path.read_bytes()[:-1])
        >>> load(path)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: ...state.npz is cut off or damaged: it is no whole zip archive
    """
    path = Path(path)
    form = _format(path)
    content = path.read_bytes()
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
        arrays, structure = form.read(content)
        return dict(arrays) if structure is None else _unpack(structure, arrays)
    except ImportError:
        raise
    except Exception as error:
        reason = error if isinstance(error, _Refused) else f"cannot be read: {error}"
        raise ValueError(f"{path} {reason}") from error


# --- checkpoints ----------------------------------------------------------------------------------


def save_checkpoint(path: StrPath, **parts: Any) -> None:
    """Write all that training needs to go on: `save_checkpoint(path, model=model, epoch=17, …)`.

    A part is something with a `state_dict()` (a module, an optimizer, a schedule), a source of
    random numbers (Generator or RandomState), or a state as `save` takes it (an epoch, a history).
    The sources of random numbers inside a module, such as a dropout's, are kept with it.

    Raises:  as `save`
    Example:
        >>> import tempfile
        >>> rng = np.random.default_rng(0)
        >>> path = Path(tempfile.mkdtemp(), "checkpoint.npz")
        >>> save_checkpoint(path, rng=rng, epoch=17, losses=[0.5, 0.4])
        >>> first = rng.random()
        >>> load_checkpoint(path, rng=rng)
        {'epoch': 17, 'losses': [0.5, 0.4]}
        >>> rng.random() == first
        True
    """
    save(path, _states(parts))


def load_checkpoint(path: StrPath, **parts: Any) -> dict[str, Any]:
    """Bring the parts to the state in a checkpoint, all of them or none; returns what else it has.

    Training that goes on from here is bit for bit what it would have been without the break.

    Raises:  as `load`; KeyError for a part that the checkpoint does not have, TypeError for one
             that cannot be brought to a state, and what `load_state_dict` raises; the parts are
             then as they were
    Example:
        >>> import tempfile
        >>> from tinygrad_edu import nn
        >>> path = Path(tempfile.mkdtemp(), "checkpoint.npz")
        >>> save_checkpoint(path, model=nn.Linear(2, 1, rng=0), epoch=17)
        >>> model = nn.Linear(2, 1, rng=1)
        >>> load_checkpoint(path, model=model)
        {'epoch': 17}
    """
    found = load(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no checkpoint: it holds {type(found).__name__}")
    before = _states(parts)  # also those of the sources of random numbers inside
    for name, part in parts.items():
        if _setter(part) is None:
            raise TypeError(
                f"{name}: {describe(part)} cannot be brought to a state; leave it out and take "
                f"it from what load_checkpoint returns"
            )
    missing = [name for name in before if name not in found]
    if missing:
        raise KeyError(f"{path} has no {', '.join(missing)}; it has {', '.join(found)}")
    try:
        _restore(parts, found)
    except BaseException as error:
        error.add_note(f"in {path}; nothing has been changed")
        _restore(parts, before)
        raise
    return {name: state for name, state in found.items() if name not in before}


def _states(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The state of each part; those of the random numbers inside the part `model` are called
    `model.random`."""
    states = {}
    for name, part in parts.items():
        states[name] = _state(part)
        if inner := {path: _state(rng) for path, rng in _random_inside(part)}:
            states[f"{name}.random"] = inner
    return states


def _restore(parts: Mapping[str, Any], states: Mapping[str, Any]) -> None:
    for name, part in parts.items():
        if (put := _setter(part)) is not None:
            put(states[name])
        inner = list(_random_inside(part))
        given = states.get(f"{name}.random", {})
        if (own := [path for path, _ in inner]) != list(given):
            raise KeyError(f"{name} has random numbers in {own}, the checkpoint in {list(given)}")
        for path, rng in inner:
            if (put := _setter(rng)) is not None:
                put(given[path])


def _state(part: Any) -> Any:
    if hasattr(part, "state_dict"):
        return part.state_dict()
    if isinstance(part, np.random.RandomState):
        return part.get_state(legacy=False)
    return part.bit_generator.state if isinstance(part, np.random.Generator) else part


def _setter(part: Any) -> Callable[[Any], None] | None:
    """What brings a part to a state, or None."""
    if hasattr(part, "load_state_dict"):
        return part.load_state_dict  # type: ignore[no-any-return]
    if isinstance(part, np.random.RandomState):
        return part.set_state
    if isinstance(part, np.random.Generator):
        return lambda state: setattr(part.bit_generator, "state", state)
    return None


def _random_inside(part: Any) -> list[tuple[str, Any]]:
    """The sources of random numbers among the attributes of a module and those inside it."""
    return [
        (f"{path}.{name}".lstrip("."), value)
        for path, module in (part.named_modules() if hasattr(part, "named_modules") else ())
        for name, value in vars(module).items()
        if isinstance(value, (np.random.Generator, np.random.RandomState))
    ]


# --- a state as arrays and JSON -------------------------------------------------------------------


def _pack(x: Any, path: str, arrays: dict[str, Array]) -> Any:
    """The state as JSON can hold it; its arrays are put into `arrays` and stand there by name."""
    where = f"{path}." if path else ""
    if isinstance(x, Mapping):
        for key in x:
            if type(key) not in (str, int):
                raise TypeError(f"a state has text or integers as keys, received {key!r} in {path}")
        return {"dict": [[key, _pack(x[key], f"{where}{key}", arrays)] for key in x]}
    if isinstance(x, (list, tuple)):
        kind = "list" if isinstance(x, list) else "tuple"
        return {kind: [_pack(part, f"{where}{k}", arrays) for k, part in enumerate(x)]}
    if isinstance(x, np.generic) and x.dtype.kind in "fiub" and x.dtype != np.longdouble:
        x = x.item()
    if x is None or isinstance(x, (bool, int, float, str)):
        return x
    if not isinstance(x, (Box, np.ndarray)):
        raise TypeError(
            f"{path or 'the state'}: {describe(x)} cannot be saved; a state is made of arrays, "
            "tensors, numbers, text and None, in dicts, lists and tuples"
        )
    array = as_array(x.value if isinstance(x, Box) else x)
    name = free = (path or "array").replace("\0", "_")
    while free in arrays or free == "__metadata__":  # {"a.b": …, "a": {"b": …}}
        free = f"{name}_{len(arrays)}"
    arrays[free] = np.asarray(array, array.dtype.newbyteorder("="), order="C")
    return {"array": free}


def _unpack(x: Any, arrays: Mapping[str, Array]) -> Any:
    if not isinstance(x, dict):
        return x
    ((kind, inside),) = x.items()
    if kind == "array":
        return arrays[inside]
    if kind == "dict":
        return {key: _unpack(part, arrays) for key, part in inside}
    parts = [_unpack(part, arrays) for part in inside]
    return parts if kind == "list" else tuple(parts)


# --- the two formats ------------------------------------------------------------------------------


class Format(NamedTuple):
    """A format of files.

    name   what it is called
    mark   what its files have, and in which place
    write  arrays and structure → the bytes, and where in them the checksum belongs
    place  where the checksum stands in bytes, None if there is none
    read   the bytes → arrays and structure (None: a file without one)

    Example:
        >>> content, at = FORMATS[".npz"].write({}, None)
        >>> bytes(content[at - 7 : at + 4])
        b'sha256 0000'
    """

    name: str
    mark: tuple[bytes, int]
    write: Callable[[dict[str, Array], Any], tuple[bytearray, int]]
    place: Callable[[bytes], int | None]
    read: Callable[[bytes], tuple[Mapping[str, Array], Any]]


class _Refused(ValueError):
    """Why a file is refused: a sentence that begins with its name."""


def _write_npz(arrays: dict[str, Array], structure: Any) -> tuple[bytearray, int]:
    stream = io.BytesIO()
    plain = {"dict": [[name, {"array": name}] for name in arrays]}  # the names tell it all
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
        if structure != plain:
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
    arrays, structure = {}, None
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            if name == f"{_STRUCTURE}.json":
                structure = json.loads(archive.read(name))
            else:
                with archive.open(name) as entry:
                    arrays[name.removesuffix(".npy")] = np.lib.format.read_array(
                        entry, allow_pickle=False
                    )
    return arrays, structure


def _write_safetensors(arrays: dict[str, Array], structure: Any) -> tuple[bytearray, int]:
    library = _safetensors()
    for name, array in arrays.items():
        if array.dtype == np.longdouble != np.float64:
            raise TypeError(f"{name}: .safetensors has no {array.dtype}; .npz has")
    text = f"sha256 {'0' * _DIGITS}\n{json.dumps(structure)}"
    content = bytearray(library.save(arrays, {_STRUCTURE: text}))
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
    # The bytes are the file's and cannot be written to; an array of its own can.
    arrays = {name: array.copy() for name, array in library.load(content).items()}
    size = int.from_bytes(content[:8], "little")
    text = json.loads(content[8 : 8 + size]).get("__metadata__", {}).get(_STRUCTURE)
    return arrays, text and json.loads(text.partition("\n")[2])


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
# What other files begin with, that are met under a wrong name.
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
    """Refuse what is plainly something else."""
    if not content:
        raise _Refused("is empty")
    if not content.startswith(*form.mark):
        for begin, kind in FOREIGN.items():
            if content.startswith(begin):
                raise _Refused(f"is no {form.name} file but {kind}")
        raise _Refused(f"is no {form.name} file, or is cut off or damaged at its very beginning")


def _digest(content: bytes | bytearray, at: int) -> bytes:
    """The checksum of all bytes, with zeros in its own place."""
    view = memoryview(content)
    digest = hashlib.sha256(view[:at])
    digest.update(b"0" * _DIGITS)
    digest.update(view[at + _DIGITS :])
    return digest.hexdigest().encode()


# --- the file -------------------------------------------------------------------------------------


def _replace(target: Path, content: bytearray) -> None:
    """Put a file with this content at `target`, in one step.

    A file without a name is filled first: if the process is killed, nothing is left of it. Where
    the system has no such files, it has a name of its own from the beginning.
    """
    mode = _mode_of(target)
    temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}.saving")
    try:
        try:
            _write_nameless(temporary, content, mode)
        except OSError:
            _write(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), content, mode)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if sys.platform != "win32":  # the new name, too, is to be on the disk
        folder = os.open(target.parent, os.O_RDONLY)
        with suppress(OSError):
            os.fsync(folder)
        os.close(folder)
    _tidy(target)


def _mode_of(target: Path) -> int | None:
    """The permissions of the file that is there; None if there is none. Refuses what saving would
    destroy: a file that may not be written, and what is no file."""
    try:
        found = target.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise FileExistsError(errno.EEXIST, "this is no file")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "this file may only be read")
    return stat.S_IMODE(found.st_mode)


def _write(descriptor: int, content: bytearray, mode: int | None) -> None:
    """Write it all, to the disk, and close."""
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if mode is not None and sys.platform != "win32":
            os.fchmod(descriptor, mode)
        os.fsync(descriptor)


def _write_nameless(temporary: Path, content: bytearray, mode: int | None) -> None:
    """Write it to a file that has no name, and give it one only then (Linux, open(2))."""
    if sys.platform != "linux":
        raise OSError(errno.ENOTSUP, "no files without a name")
    descriptor = os.open(temporary.parent, os.O_WRONLY | os.O_TMPFILE, 0o666)
    kept = os.dup(descriptor)
    try:
        _write(descriptor, content, mode)
        # Only with a folder given does os.link follow the link that /proc has of the file.
        os.link(f"/proc/self/fd/{kept}", temporary, src_dir_fd=kept, follow_symlinks=True)
    finally:
        os.close(kept)


def _tidy(target: Path) -> None:
    """Remove what killed processes have left of this file: what nobody has written to for long."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 8}.saving"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT_BEHIND:
                left.unlink()
