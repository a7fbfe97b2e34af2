"""Saving states: writes are atomic, and a damaged file is refused.

A state is what `state_dict()` returns, or any dict, list or tuple of arrays, numbers and text. Its
arrays are written as `.safetensors` (which other frameworks read) or `.npz` (NumPy alone), their
structure as JSON beside them. Loading never runs code from the file. A checkpoint is the state of
everything that training needs to continue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from .arrays import Array, NameMissing, as_array, describe
from .engine import Box
from .files import StrPath, read, write
from .init import default_random

__all__ = ["load", "load_checkpoint", "save", "save_checkpoint"]

_OWN_SOURCE = "default random"  # no name that a part can have


def save(path: StrPath, state: Any) -> None:
    """Write a state atomically to a `.safetensors` or `.npz` file.

    A state is an array or tensor, a number, text or None, or a dict, list or tuple of states. The
    file at `path` is replaced when the new one is complete and on the disk; if anything fails, it
    is unchanged. A symbolic link is followed, and permissions are kept.

    Raises:  TypeError for what a state cannot hold, ValueError for another ending of the name,
             OSError if the file cannot be written; ImportError for `.safetensors` without its
             library (`pip install 'tinygrad_edu[files]'`)
    Source:  the format is that of https://github.com/huggingface/safetensors, or `numpy.savez`'s
    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "state.npz")
        >>> save(path, {"weight": np.ones((2, 1)), "epoch": 3})
        >>> load(path)
        {'weight': array([[1.],
               [1.]]), 'epoch': 3}
    """
    arrays: dict[str, Array] = {}
    structure = _pack(state, "", arrays)
    write(path, arrays, structure)


def load(path: StrPath, *, checksum: bool = True) -> Any:
    """Return the state in a file that `save` wrote, with arrays in place of tensors.

    `checksum=False` also reads files of other programs, which have no such checksum, as a dict of
    arrays. No code in a file is ever run.

    Raises:  ValueError, with the name of the file, if it was changed, cut off or damaged, if it is
             something else (a pipe is never waited for), has no checksum, or would unpack to far
             more than its size; FileNotFoundError; ImportError as for `save`
    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "state.npz")
        >>> save(path, {"weight": np.ones(2)})
        >>> _ = path.write_bytes(path.read_bytes()[:-1])
        >>> load(path)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: ...state.npz is cut off or damaged: it is no whole zip archive
    """
    arrays, structure = read(path, checksum)
    try:
        return _unpack(structure, arrays)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ValueError(f"{path} holds no state, though its checksum is right") from error


# --- checkpoints ----------------------------------------------------------------------------------


def save_checkpoint(path: StrPath, **parts: Any) -> None:
    """Write everything that training needs to continue: `save_checkpoint(path, model=model,
    epoch=17, …)`.

    A part is an object with a `state_dict()` (a module, an optimizer, a schedule), a random number
    generator (Generator or RandomState), or a state as `save` takes it (an epoch, a history). The
    generators inside a module, such as a dropout's, are saved with it, and so is the library's
    default generator, which `manual_seed` seeds.

    Raises:  as `save`
    Example:
        >>> import pathlib, tempfile
        >>> rng = np.random.default_rng(0)
        >>> path = pathlib.Path(tempfile.mkdtemp(), "checkpoint.npz")
        >>> save_checkpoint(path, rng=rng, epoch=17, losses=[0.5, 0.4])
        >>> first = rng.random()
        >>> load_checkpoint(path, rng=rng)
        {'epoch': 17, 'losses': [0.5, 0.4]}
        >>> rng.random() == first
        True
    """
    save(path, states(parts) | {_OWN_SOURCE: _state(default_random())})


def load_checkpoint(path: StrPath, **parts: Any) -> dict[str, Any]:
    """Set the parts to their states in a checkpoint, all or none; return the entries for which you
    passed no object.

    Training that continues from here is bit for bit what it would have been without the break.

    Raises:  as `load`; KeyError for a part that the checkpoint does not have, TypeError for one
             that cannot be brought to a state, and what `load_state_dict` raises; the parts are
             then as they were
    Example:
        >>> import pathlib, tempfile
        >>> from tinygrad_edu import nn
        >>> path = pathlib.Path(tempfile.mkdtemp(), "checkpoint.npz")
        >>> save_checkpoint(path, model=nn.Linear(2, 1, rng=0), epoch=17)
        >>> model = nn.Linear(2, 1, rng=1)
        >>> load_checkpoint(path, model=model)
        {'epoch': 17}
    """
    found = load(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no checkpoint: it holds {type(found).__name__}")
    if _OWN_SOURCE in found:
        parts |= {_OWN_SOURCE: default_random()}
    before = states(parts)  # with the generators inside of modules
    for name, part in parts.items():
        if _setter(part) is None:
            raise TypeError(
                f"{name}: {describe(part)} cannot be brought to a state; leave it out and take "
                f"it from what load_checkpoint returns"
            )
    missing = [name for name in before if name not in found]
    if missing:
        raise NameMissing(
            f"{path} has no {', '.join(missing)}; it has {', '.join(map(str, found))}"
        )
    try:
        restore(parts, found)
    except BaseException as error:
        error.add_note(f"in {path}; nothing has been changed")
        restore(parts, before)
        raise
    return {name: state for name, state in found.items() if name not in before}


def states(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of each part. Those of the generators inside of the part `model` are named
    `model.random`.

    Example:
        >>> states({"epoch": 3})
        {'epoch': 3}
    """
    found = {}
    for name, part in parts.items():
        found[name] = _state(part)
        if inner := {path: _state(rng) for path, rng in _random_inside(part)}:
            found[f"{name}.random"] = inner
    return found


def restore(parts: Mapping[str, Any], states: Mapping[str, Any]) -> None:
    """Set each part to the state that `states` returned, one by one.

    Raises:  KeyError if a part has other sources of random numbers inside than its state
    Example:
        >>> rng = np.random.default_rng(0)
        >>> before = states({"rng": rng})
        >>> first = rng.random()
        >>> restore({"rng": rng}, before)
        >>> rng.random() == first
        True
    """
    for name, part in parts.items():
        if (put := _setter(part)) is not None:
            put(states[name])
        inner = list(_random_inside(part))
        given = states.get(f"{name}.random", {})
        if (own := [path for path, _ in inner]) != list(given):
            raise NameMissing(
                f"{name} has random numbers in {own}, the checkpoint in {list(given)}"
            )
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
    """Return a function that sets a part to a state, or None if there is none."""
    if hasattr(part, "load_state_dict"):
        return part.load_state_dict  # type: ignore[no-any-return]
    if isinstance(part, np.random.RandomState):
        return part.set_state
    if isinstance(part, np.random.Generator):
        return lambda state: setattr(part.bit_generator, "state", state)
    return None


def _random_inside(part: Any) -> list[tuple[str, Any]]:
    """Return the random number generators among the attributes of a module and its submodules."""
    return [
        (f"{path}.{name}".lstrip("."), value)
        for path, module in (part.named_modules() if hasattr(part, "named_modules") else ())
        for name, value in vars(module).items()
        if isinstance(value, (np.random.Generator, np.random.RandomState))
    ]


# --- a state as arrays and JSON -------------------------------------------------------------------


def _pack(x: Any, path: str, arrays: dict[str, Array]) -> Any:
    """Return the state in a form that JSON can hold; put its arrays into `arrays` by name."""
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
        _refuse(x, path or "the state")
    return {"array": _stored(x, path, arrays)}


def _refuse(x: Any, where: str) -> NoReturn:
    """Raise TypeError for an object that a state cannot hold."""
    if hasattr(x, "state_dict"):
        name = type(x).__name__
        raise TypeError(
            f"{where}: {name} itself cannot be saved, its state can: give its state_dict(), or the "
            f"{name} by name to save_checkpoint"
        )
    raise TypeError(
        f"{where}: {describe(x)} cannot be saved; a state is made of arrays, tensors, numbers, "
        "text and None, in dicts, lists and tuples"
    )


def _stored(x: Any, path: str, arrays: dict[str, Array]) -> str:
    """Put the array or tensor x into `arrays`; return its name there."""
    array = as_array(x.value if isinstance(x, Box) else x)
    name = free = (path or "array").replace("\0", "_")
    while free in arrays or free == "__metadata__":  # {"a.b": …, "a": {"b": …}}
        free = f"{name}_{len(arrays)}"
    arrays[free] = np.asarray(array, array.dtype.newbyteorder("="), order="C")
    return free


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
