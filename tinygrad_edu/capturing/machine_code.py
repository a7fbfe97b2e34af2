"""Machine code, compiled by a process of its own, kept in the user's cache, loaded without Numba.

A file in the cache is named after all that its code depends on: the source, the files of this
package that it is compiled with, Numba's version and the processor. It begins with a checksum of
its contents. A file with another checksum, of another owner, of more than 64 MB, or that is no
regular file is not read; the code is compiled again.

Where no machine code can be made or loaded, `NotNative` says why, and the step runs on NumPy.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np

from .compiler import MATMUL
from .service import service
from .texts import NotNative

__all__ = ["compiled"]

# Elsewhere LLVM has to load the code, which takes a tenth of a second and 50 MB.
FORM = "linked" if sys.platform == "linux" and platform.machine() == "x86_64" else "object"
_EXECUTED = mmap.PROT_READ | mmap.PROT_EXEC if FORM == "linked" else 0
_SUM = 32  # bytes
LARGEST = 2**26  # bytes of a file in the cache
_COMPILED_WITH = ("mathematics", "products", "compiler", "linking")
_loaded: dict[str, tuple[Callable[[int], int], Any]] = {}  # functions, and what keeps their code


class NotLoaded(NotNative):
    """There is no machine code, since the system does not let it be made or run."""

    def __str__(self) -> str:
        return f"machine code cannot be used here: {self.args[0]}"


def compiled(source: str) -> Callable[[int], int]:
    """The function `run` of a generated module, as machine code.

    Raises:  ImportError without the extra `native`; NotNative where the code cannot be compiled,
             loaded or executed
    """
    try:
        key = _key(source)
        if key not in _loaded:
            _loaded.setdefault(key, _function(source, key))  # is never unloaded: it may be running
    except (OSError, RuntimeError) as error:  # of the system, of LLVM
        raise NotLoaded(error) from error
    return _loaded[key][0]


def _function(source: str, key: str) -> tuple[Callable[[int], int], Any]:
    """The function, and the object that keeps its code in memory."""
    if FORM == "linked":
        _executable(bytes(1))  # where that is refused, there is nothing to compile
    folder = _folder()
    path = None if folder is None else folder / f"{key}.code"
    code = None if path is None else _kept(path)
    if code is None:
        code = _made(source)
        if path is not None:
            _keep(path, code)
    head, _, rest = code.partition(b"\n")
    begin, *places = head.decode().split()
    outside = {name: int(place) for name, _, place in (x.partition("=") for x in places)}
    load = _mapped if FORM == "linked" else _by_llvm
    address, keeper = load(rest, int(begin), outside)
    # The interpreter's lock is held while it runs, as for any function of NumPy.
    return ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address), keeper


def _key(source: str) -> str:
    """What the machine code depends on, as a name."""
    found = sha256(f"{FORM} {_processor()} {source}".encode())
    for name in ("numba", "llvmlite"):
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise ImportError("backend='numba' needs Numba: pip install 'tinygrad_edu[native]'")
        found.update(Path(spec.origin).with_name("_version.py").read_bytes())
    for name in _COMPILED_WITH:
        found.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return found.hexdigest()[:32]


def _processor() -> str:
    """The processor and what it can do."""
    if FORM == "object":
        from llvmlite import binding as llvm

        return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        first = takewhile(str.strip, lines)  # one of them: they are alike
        return "".join(line for line in first if line.startswith(("vendor", "model", "flags")))


# --- the cache ------------------------------------------------------------------------------------


def _folder() -> Path | None:
    """The folder of the cache; None without a home. A relative path in XDG_CACHE_HOME is ignored.

    Source:  XDG Base Directory Specification
    """
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not home.is_absolute():
        try:
            home = Path.home() / ".cache"
        except RuntimeError:
            return None
    return home / "tinygrad_edu" / "native" if home.is_absolute() else None


def _kept(path: Path) -> bytes | None:
    """The code in a file of the cache; None if it is not what was written there."""
    try:
        # A link is not followed, and a FIFO not waited for.
        flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
        with open(os.open(path, os.O_RDONLY | sum(flags)), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
                return None
            data = file.read(status.st_size)
    except OSError:
        return None
    is_ours = not hasattr(os, "geteuid") or (
        status.st_uid == os.geteuid() and not status.st_mode & 0o022
    )
    code = data[_SUM:]
    return code if is_ours and _sum(path, code) == data[:_SUM] else None


def _keep(path: Path, code: bytes) -> None:
    """Write a file into the cache, whole or not at all; where that fails, the next process compiles
    again."""
    fresh = path.with_suffix(f".{os.getpid()}-{get_ident()}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)  # of a process that had this number
        with open(os.open(fresh, flags, 0o600), "wb") as file:
            file.write(_sum(path, code) + code)
        fresh.replace(path)
    except BaseException as error:
        with suppress(OSError):
            fresh.unlink()
        if not isinstance(error, OSError):
            raise


def _sum(path: Path, code: bytes) -> bytes:
    return sha256(path.name.encode() + code).digest()


def _made(source: str) -> bytes:
    """What the compiler makes of a module."""
    return service.compiled(source, FORM)


# --- loading --------------------------------------------------------------------------------------


def _mapped(code: bytes, begin: int, outside: dict[str, int]) -> tuple[int, Any]:
    """The address of `run` in a copy of the code that can be executed."""
    filled = bytearray(code)
    # Through NumPy's own library the C library's functions are found too.
    numpy = ctypes.CDLL(sys.modules["numpy._core._multiarray_umath"].__file__)
    for name, place in outside.items():
        address = _matmul(name) if name in MATMUL else _address(numpy, name)
        filled[place : place + 8] = address.to_bytes(8, sys.byteorder)
    memory, start = _executable(filled)
    return start + begin, memory


def _executable(code: bytes | bytearray) -> tuple[Any, int]:
    """Memory that holds machine code and may be executed, and its address.

    Raises:  OSError where the system refuses, as SELinux may
    """
    memory = mmap.mmap(-1, len(code), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.write(code)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    _protect(start, len(code))
    return memory, start


def _protect(start: int, size: int) -> None:
    """Let memory be executed, and not written any more."""
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    if protect(ctypes.c_void_p(start), ctypes.c_size_t(size), _EXECUTED):
        number = ctypes.get_errno()
        raise OSError(number, f"executable memory is refused ({os.strerror(number)})")


def _by_llvm(code: bytes, begin: int, outside: dict[str, int]) -> tuple[int, Any]:
    """The same by LLVM, from an object file."""
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    for name in outside:
        llvm.add_symbol(name, _matmul(name))
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine.get_function_address("run"), engine


def _address(library: ctypes.CDLL, name: str) -> int:
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


class _Ufunc(ctypes.Structure):
    """The first fields of a ufunc in memory, behind the head of every object.

    Source:  PyUFuncObject in numpy/ufuncobject.h
    """

    _fields_ = (
        ("numbers", ctypes.c_int * 4),  # of inputs, outputs and both; the identity
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
    )


def _matmul(name: str) -> int:
    """The address of NumPy's inner loop for products of matrices of one dtype."""
    loops = _Ufunc.from_address(id(np.matmul) + object.__basicsize__)
    return loops.functions[np.matmul.types.index(MATMUL[name])] or 0
