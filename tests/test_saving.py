"""Files: what comes back is what was saved, what is damaged is refused, what was there stays.

`python -m tests.test_saving 50` kills a process that saves in a loop at 50 random moments, and one
after another at every single step of a save.
"""

from __future__ import annotations

import errno
import io
import math
import os
import pickle
import random
import resource
import select
import signal
import subprocess
import sys
import tempfile
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.testing import assert_array_equal

import tinygrad_edu as tg
from tinygrad_edu import files, nn, optim, saving

SUFFIXES = [".npz", ".safetensors"]
ROOT = Path(__file__).parents[1]
both = pytest.mark.parametrize("suffix", SUFFIXES)
not_windows = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")


@pytest.fixture(autouse=True)
def library(request: pytest.FixtureRequest) -> None:
    """A test of .safetensors files needs the library."""
    if "suffix" in request.fixturenames and request.getfixturevalue("suffix") == ".safetensors":
        pytest.importorskip("safetensors")


def same(a: Any, b: Any) -> bool:
    """Return True if two states are equal, with the same types and the same order of keys."""
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        )
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b) or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


# --- there and back -------------------------------------------------------------------------------

plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.integers(-(2**130), 2**130),
)
native = st.sampled_from([np.dtype(c) for c in "efdbhilqBHILQ?"])
some_array = arrays(native, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
keys = st.one_of(st.text(max_size=3), st.integers(-3, 9))
states = st.recursive(
    st.one_of(plain, some_array),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3),
        st.tuples(inner, inner),
    ),
    max_leaves=8,
)


@both
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=states)
def test_what_comes_back_is_what_was_saved(suffix: str, state: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"state{suffix}")
        tg.save(path, state)
        assert same(tg.load(path), state)
        assert [entry.name for entry in Path(folder).iterdir()] == [path.name]


@both
@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(24.0).reshape(2, 3, 4)[::-1, ::2].swapaxes(0, 2),
        np.arange(5, dtype=">i4"),
        np.arange(5, dtype=">f8")[::2],
        np.broadcast_to(np.float32(1.5), (2, 2)),
        np.array(2.5),
    ],
    ids=["columns first", "a view", "big-endian", "big-endian view", "broadcast", "a number"],
)
def test_arrays_of_any_layout(suffix: str, array: Any, tmp_path: Path) -> None:
    path = tmp_path / f"state{suffix}"
    tg.save(path, {"x": array})
    found = tg.load(path)["x"]
    assert_array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.shape == array.shape
    found += 1  # it is writable, and is not shared
    assert_array_equal(tg.load(path)["x"], array)


@both
def test_tensors_come_back_as_arrays_and_numpys_numbers_as_pythons(
    suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"state{suffix}"
    tg.save(path, [tg.Tensor([1.0], requires_grad=True), np.float32(0.5), np.int8(3), np.bool_(1)])
    array, *numbers = tg.load(path)
    assert isinstance(array, np.ndarray)
    assert same(numbers, [0.5, 3, True])


@both
def test_a_model_comes_back(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    model, other = (nn.Sequential(nn.Linear(3, 2, rng=k), nn.BatchNorm1d(2)) for k in (0, 1))
    model(np.random.default_rng(0).normal(size=(8, 3)))  # moves the running mean
    tg.save(path, model.state_dict())
    other.load_state_dict(tg.load(path))
    assert same(other.state_dict(), model.state_dict())
    assert list(tg.load(path)) == list(model.state_dict())


@both
def test_the_same_state_gives_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    state = {"a": np.ones(3), "b": {"c": [1, 2.5]}}
    files = [tmp_path / f"{k}{suffix}" for k in "xy"]
    for path in files:
        tg.save(path, state)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_other_programs_read_the_arrays(tmp_path: Path) -> None:
    state = {"0.weight": np.arange(6.0).reshape(2, 3), "0.bias": np.zeros(3, np.float32)}
    tg.save(tmp_path / "state.npz", state)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as found:
        assert list(found) == list(state)
        assert all(same(found[name], state[name]) for name in state)
    numpy = pytest.importorskip("safetensors.numpy")
    tg.save(tmp_path / "state.safetensors", state)
    found = numpy.load_file(tmp_path / "state.safetensors")
    assert found.keys() == state.keys()
    assert all(same(found[name], state[name]) for name in state)


def test_files_of_other_programs_are_read_if_that_is_asked_for(tmp_path: Path) -> None:
    state: dict[str, Any] = {"weight": np.arange(6.0).reshape(2, 3), "n": np.array(3)}
    np.savez(tmp_path / "theirs.npz", **state)
    np.savez_compressed(tmp_path / "small.npz", **state)
    names = ["theirs.npz", "small.npz"]
    try:
        import safetensors.numpy
    except ImportError:
        pass
    else:
        safetensors.numpy.save_file(state, tmp_path / "theirs.safetensors", {"format": "pt"})
        names.append("theirs.safetensors")
    for name in names:
        with pytest.raises(ValueError, match=r"theirs|small.*has no checksum.*checksum=False"):
            tg.load(tmp_path / name)
        found = tg.load(tmp_path / name, checksum=False)
        assert all(same(found[key], state[key]) for key in state)


# --- what cannot be saved -------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": {"b": object()}}, r"a\.b: .* cannot be saved; a state is made of arrays"),
        ({"a": [1, {2}]}, r"a\.1: \{2\} cannot be saved"),
        (nn.ReLU(), r"the state: ReLU itself cannot be saved, .* its state_dict\(\)"),
        ({"model": nn.ReLU()}, "model: ReLU itself cannot be saved"),
        ({"a": 1j}, "a: 1j cannot be saved"),
        ({"a": np.ones(2, complex)}, "expected real numbers"),
        ({"a": np.array([None])}, "expected real numbers"),
        ({"a": np.array(["text"])}, "expected real numbers"),
        ({(1, 2): 3}, r"keys, received \(1, 2\)"),
        ({"a": {1.5: 3}}, r"keys, received 1\.5 in a"),
    ],
)
def test_what_cannot_be_saved_is_named_and_leaves_the_file(
    suffix: str, state: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / f"state{suffix}"
    tg.save(path, "before")
    with pytest.raises(TypeError, match=message):
        tg.save(path, state)
    assert tg.load(path) == "before"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["state", "state.pt", "state.pkl", "state.npy", "x.npz.gz"])
def test_another_ending_is_refused(name: str, tmp_path: Path) -> None:
    for act in (lambda path: tg.save(path, {}), tg.load):
        with pytest.raises(ValueError, match=rf"{name} should end in \.npz or \.safetensors"):
            act(tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_long_double_has_no_place_in_safetensors(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    if np.dtype(np.longdouble) == np.float64:
        pytest.skip("long double is double here")
    state = {"x": np.ones(2, np.longdouble)}
    with pytest.raises(TypeError, match=r"x: \.safetensors has no .*\.npz has"):
        tg.save(tmp_path / "x.safetensors", state)
    tg.save(tmp_path / "x.npz", state)
    assert same(tg.load(tmp_path / "x.npz"), state)


def test_without_the_library_the_extra_is_named(tmp_path: Path) -> None:
    tg.save(tmp_path / "x.npz", {"a": np.ones(2)})
    code = f"""
import sys
sys.modules["safetensors"] = None
import tinygrad_edu as tg
print(tg.load({str(tmp_path / "x.npz")!r}))
for act in (lambda path: tg.save(path, {{}}), tg.load):
    try:
        act({str(tmp_path / "x.safetensors")!r})
    except (ImportError, FileNotFoundError) as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "array([1., 1.])" in done.stdout
    assert "ImportError files that end in .safetensors need" in done.stdout
    assert "pip install 'tinygrad_edu[files]'" in done.stdout


# --- damaged files --------------------------------------------------------------------------------

STATE = {"weight": np.arange(12.0).reshape(3, 4), "epoch": 3, "names": ["a", "b"]}


def flipped(content: bytes, at: float) -> bytes:
    k = int(at * (len(content) - 1))
    return content[:k] + bytes([content[k] ^ 1]) + content[k + 1 :]


def zeroed(content: bytes) -> bytes:
    """A block that was never written, as after a crash without fsync."""
    k = len(content) // 2
    return content[:k] + bytes(64) + content[k + 64 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a byte at the beginning": lambda c: flipped(c, 0),
    "a byte in the header": lambda c: flipped(c, 0.1),
    "a byte in the middle": lambda c: flipped(c, 0.5),
    "a byte in the data": lambda c: flipped(c, 0.75),
    "the last byte": lambda c: flipped(c, 1),
    "empty": lambda c: b"",
    "three bytes": lambda c: c[:3],
    "half": lambda c: c[: len(c) // 2],
    "one byte less": lambda c: c[:-1],
    "one byte more": lambda c: c + b"\0",
    "twice": lambda c: c + c,
    "without its beginning": lambda c: c[10:],
    "a block of zeros": zeroed,
    "all zeros": lambda c: bytes(len(c)),
    "a header written anew": lambda c: c.replace(b"(3, 4)", b"(4, 3)").replace(b"[3,4]", b"[4,3]"),
    "bytes in another order": lambda c: c[:-40] + c[:-41:-1],
    "a page of the web": lambda c: b"<!DOCTYPE html><html>404</html>",
    "a pickle": lambda c: pickle.dumps({"weight": [1.0]}),
    "an array": lambda c: saved_by(lambda stream: np.save(stream, np.ones(3))),
    "an archive of something else": lambda c: saved_by(lambda s: np.savez(s, weight=np.ones(3))),
    "text": lambda c: b"weight 1.0 2.0 3.0\n" * 9,
    "random bytes": lambda c: np.random.default_rng(0).bytes(500),
    "HDF5": lambda c: b"\x89HDF\r\n\x1a\n" + bytes(500),
    "gzip": lambda c: b"\x1f\x8b\x08" + bytes(500),
}


def saved_by(write: Callable[[Any], Any]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


@both
@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_and_foreign_files_are_refused_by_name(
    suffix: str, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / f"state{suffix}"
    tg.save(path, STATE)
    content = path.read_bytes()
    damaged = DAMAGE[kind](content)
    assert damaged != content
    path.write_bytes(damaged)
    with pytest.raises(ValueError) as caught:
        tg.load(path)
    assert str(caught.value).startswith(f"{path} ")
    assert "tg.save" in str(caught.value) or any(
        word in str(caught.value) for word in ("damaged", "cut off", "is empty", "is no ")
    )


def test_the_errors_say_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    for content, message in [
        (b"", "is empty"),
        (pickle.dumps([1]), "is no npz file but a pickle, which could run code"),
        (b"<html>", "is no npz file but a page of HTML or XML"),
        (b"PK\3\4 and no more", "is cut off or damaged: it is no whole zip archive"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError) as caught:
            tg.load(path)
        assert str(caught.value) == f"{path} {message}"
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        tg.load(tmp_path / "none.npz")


@both
def test_every_flipped_byte_and_every_length_is_noticed(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"state{suffix}"
    tg.save(path, {"w": np.arange(4.0), "epoch": 3})
    content = path.read_bytes()
    for k in range(len(content)):
        damaged = [content[:k] + bytes([content[k] ^ (1 << k % 8)]) + content[k + 1 :]]
        for one in damaged + [content[:k]] * (k % 5 == 0):
            path.write_bytes(one)
            with pytest.raises(ValueError, match=path.name):
                tg.load(path)
    path.write_bytes(content)
    assert tg.load(path)["epoch"] == 3


class Bomb:
    """Leaves a trace where it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("the-bomb-went-off",)


def test_nothing_in_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    objects = np.empty(1, object)
    objects[0] = Bomb()
    np.savez("bomb.npz", weight=objects)
    with zipfile.ZipFile("bomb2.npz", "w") as archive:
        archive.writestr("weight.npy", pickle.dumps(Bomb()))
    Path("bomb.safetensors").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.npz", "bomb2.npz", "bomb.safetensors"):
        for checksum in (True, False):
            with pytest.raises(ValueError, match=name.replace(".", r"\.")):
                tg.load(name, checksum=checksum)
    assert not Path("the-bomb-went-off").exists()
    with pytest.raises(FileExistsError):  # a bomb it is: NumPy, when allowed, sets it off
        for _ in range(2):
            np.load("bomb.npz", allow_pickle=True)["weight"]


# --- what was there stays -------------------------------------------------------------------------


@pytest.fixture(params=["without a name", "with a name"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the new file is written: where a system has no files without a name, with one."""
    if request.param == "with a name":

        def refuse(*args: Any) -> None:
            raise OSError(errno.ENOTSUP, "no files without a name")

        monkeypatch.setattr(files, "_write_nameless", refuse)
    elif sys.platform != "linux":
        pytest.skip("only Linux has files without a name")
    return str(request.param)


def fork() -> int:
    """os.fork, without what Python and others say of threads, such as those of other tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()


def in_child(action: Callable[[], Any]) -> int:
    """How a child process ends that does this: its exit status, or minus the signal."""
    pid = fork()
    if not pid:
        try:
            action()
        except BaseException:
            os._exit(9)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_after(path: Path, state: Any, steps: int) -> bool:
    """Return True if a process that saves this was killed at a given step: it sends itself `kill
    -9` at the nth call or return of a Python function, its own or the system's.
    """
    left = steps

    def count(*event: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def action() -> None:
        sys.setprofile(count)
        tg.save(path, state)
        sys.setprofile(None)

    code = in_child(action)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def check_kill(path: Path, steps: int) -> bool:
    """Kill a save; the file is the old one or the new one. Whether the process was killed."""
    old, new = {"version": 1, "w": np.zeros(999)}, {"version": 2, "w": np.ones(999)}
    tg.save(path, old)
    killed = killed_after(path, new, steps)
    found = tg.load(path)
    assert same(found, old if found["version"] == 1 else new)
    assert killed or found["version"] == 2
    return killed


@not_windows
@both
def test_kill_9_at_any_step_leaves_a_whole_file(suffix: str, tmp_path: Path, way: str) -> None:
    path = tmp_path / f"state{suffix}"
    total = 1
    while check_kill(path, total):  # how many steps there are, roughly
        total *= 2
    for steps in random.Random(0).sample(range(total), 12):
        check_kill(path, steps)
    if way == "without a name":
        assert len(os.listdir(tmp_path)) <= 2  # killed in the moment between its two names


@not_windows
def test_what_a_killed_process_leaves_is_cleared_away(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "state.npz", tmp_path / ".state.npz.notes"
    tg.save(path, {"epoch": 1})
    other.touch()
    with monkeypatch.context() as patch:  # at the worst moment
        patch.setattr(os, "replace", lambda *names: os.kill(os.getpid(), signal.SIGKILL))
        assert in_child(lambda: tg.save(path, {"epoch": 2})) == -signal.SIGKILL
    assert tg.load(path) == {"epoch": 1}
    (left,) = {*os.listdir(tmp_path)} - {path.name, other.name}
    assert left.startswith(".state.npz.") and left.endswith(".saving")
    tg.save(path, {"epoch": 3})
    assert left in os.listdir(tmp_path)  # another process might still be at it …
    for name in (left, other.name):
        os.utime(tmp_path / name, (0, 0))
    tg.save(path, {"epoch": 4})
    assert {*os.listdir(tmp_path)} == {path.name, other.name}  # … not after an hour


def loop_forever(path: Path, ready: int) -> None:
    """Save one state after the other, and say so once."""
    for k in range(10**9):
        tg.save(path, {"version": k, "w": np.full(200_000, float(k))})
        if k == 1:
            os.write(ready, b"!")


def kill_at_random(path: Path, delay: float) -> None:
    """Kill a process that saves in a loop after so many seconds, and look at its file."""
    reading, writing = os.pipe()
    pid = fork()
    if not pid:
        loop_forever(path, writing)
    os.read(reading, 1)
    select.select([], [], [], delay)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reading)
    os.close(writing)
    found = tg.load(path)
    assert_array_equal(found["w"], np.full(200_000, float(found["version"])))


@not_windows
@both
def test_kill_9_while_saving_in_a_loop(suffix: str, tmp_path: Path) -> None:
    for delay in np.random.default_rng(0).uniform(0, 0.03, 6):
        kill_at_random(tmp_path / f"state{suffix}", float(delay))
    assert len(os.listdir(tmp_path)) <= 2


@pytest.mark.parametrize("failing", ["_write", "fsync", "replace"])
def test_an_error_on_the_way_leaves_the_old_file_and_no_litter(
    failing: str, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.npz"
    tg.save(path, {"epoch": 1})

    def fail(*args: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files if failing == "_write" else os, failing, fail)
    with pytest.raises(OSError, match=r"nothing was saved.*unchanged.*state\.npz"):
        tg.save(path, {"epoch": 2})
    monkeypatch.undo()
    assert tg.load(path) == {"epoch": 1}
    assert os.listdir(tmp_path) == [path.name]


def test_ctrl_c_on_the_way_too(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.npz"
    tg.save(path, {"epoch": 1})

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tg.save(path, {"epoch": 2})
    monkeypatch.undo()
    assert tg.load(path) == {"epoch": 1}
    assert os.listdir(tmp_path) == [path.name]


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[str], None]]:
    """A disk of 1 MiB in memory, where that is allowed; gives what mounts it anew."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("may not mount a disk")

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)

    try:
        yield remount
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="root on Linux mounts")
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, way: str) -> None:
    path = tmp_path / "state.npz"
    with small_disk(tmp_path):
        tg.save(path, {"w": np.zeros(60_000)})  # 480 kB of 1 MiB
        for _ in range(3):
            with pytest.raises(OSError, match="No space left on device; nothing was saved") as e:
                tg.save(path, {"w": np.ones(120_000)})
            assert e.value.errno == errno.ENOSPC
            assert e.value.filename == str(path)
        assert_array_equal(tg.load(path)["w"], np.zeros(60_000))
        assert os.listdir(tmp_path) == [path.name]
        tg.save(path, {"w": np.ones(60_000)})  # what fits is saved afterwards
        assert tg.load(path)["w"].all()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="root on Linux mounts")
def test_a_read_only_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    with small_disk(tmp_path) as remount:
        tg.save(path, {"epoch": 1})
        remount("ro")
        with pytest.raises(OSError, match=r"nothing was saved.*state\.npz"):
            tg.save(path, {"epoch": 2})
        assert tg.load(path) == {"epoch": 1}
        assert os.listdir(tmp_path) == [path.name]


@not_windows
def test_a_limit_on_the_size_of_files_leaves_the_old_file(tmp_path: Path, way: str) -> None:
    path = tmp_path / "state.npz"
    tg.save(path, {"w": np.zeros(10)})

    def action() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        with pytest.raises(OSError, match="File too large; nothing was saved"):
            tg.save(path, {"w": np.ones(10_000)})

    assert in_child(action) == 0
    assert_array_equal(tg.load(path)["w"], np.zeros(10))
    assert os.listdir(tmp_path) == [path.name]


def as_nobody(action: Callable[[], None]) -> Callable[[], None]:
    """The action, by a user whom permissions concern."""

    def run() -> None:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        action()

    return run


@not_windows
def test_a_folder_that_may_only_be_read_leaves_the_old_file(way: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.npz")
        tg.save(path, {"epoch": 1})
        os.chmod(path, 0o666)
        os.chmod(folder, 0o555)

        def action() -> None:
            with pytest.raises(PermissionError, match="Permission denied; nothing was saved"):
                tg.save(path, {"epoch": 2})

        assert in_child(as_nobody(action)) == 0
        assert tg.load(path) == {"epoch": 1}
        assert os.listdir(folder) == [path.name]
        os.chmod(folder, 0o700)


@not_windows
def test_a_file_that_may_only_be_read_stays() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.npz")
        tg.save(path, {"epoch": 1})
        os.chmod(path, 0o444)
        os.chmod(folder, 0o777)

        def action() -> None:
            with pytest.raises(PermissionError, match="may only be read; nothing was saved"):
                tg.save(path, {"epoch": 2})

        assert in_child(as_nobody(action)) == 0
        assert tg.load(path) == {"epoch": 1}
        os.chmod(folder, 0o700)


def test_there_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing was saved.*none/state\.npz"):
        tg.save(tmp_path / "none" / "state.npz", {})
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(FileExistsError, match=r"this is no file.*folder\.npz"):
        tg.save(tmp_path / "folder.npz", {})
    assert os.listdir(tmp_path) == ["folder.npz"]


@not_windows
def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    os.symlink("/dev/full", tmp_path / "state.npz")
    with pytest.raises(FileExistsError, match="this is no file"):
        tg.save(tmp_path / "state.npz", {})
    assert not Path("/dev/full").is_file()


@not_windows
def test_permissions_stay_what_they_were(tmp_path: Path, way: str) -> None:
    path = tmp_path / "state.npz"
    before = os.umask(0o027)
    try:
        tg.save(path, {"epoch": 1})
        assert path.stat().st_mode & 0o777 == 0o640  # a new file's are those of any new file
        os.chmod(path, 0o604)
        tg.save(path, {"epoch": 2})
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o604


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="root gives files away")
def test_the_owner_stays_who_it_was(tmp_path: Path, way: str) -> None:
    path = tmp_path / "state.npz"
    tg.save(path, {"epoch": 1})
    os.chown(path, 65534, 65533)
    tg.save(path, {"epoch": 2})
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65533)


@not_windows
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real.npz", tmp_path / "link.npz"
    link.symlink_to(real)
    for epoch in (1, 2):  # the first time there is nothing where it leads to
        tg.save(link, {"epoch": epoch})
        assert link.is_symlink()
        assert tg.load(real) == tg.load(link) == {"epoch": epoch}
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "link.npz"]
    assert os.listdir(tmp_path / "elsewhere") == ["real.npz"]


@not_windows
def test_two_processes_that_save_at_once_leave_the_file_of_one(tmp_path: Path, way: str) -> None:
    path = tmp_path / "state.npz"

    def save_often(k: int) -> None:
        for _ in range(30):
            tg.save(path, {"w": np.full(10_000, float(k))})

    pids = []
    for k in range(3):
        if not (pid := fork()):
            save_often(k)
            os._exit(0)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
    assert len({*tg.load(path)["w"]}) == 1
    assert os.listdir(tmp_path) == [path.name]


# --- checkpoints ----------------------------------------------------------------------------------


def training() -> tuple[nn.Sequential, optim.Adam, np.random.Generator]:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Dropout(0.5, rng=1), nn.Linear(4, 1, rng=2))
    return model, optim.Adam(model.parameters(), lr=0.1), np.random.default_rng(3)


def steps(model: Any, optimizer: Any, rng: Any, n: int) -> list[float]:
    losses = []
    for _ in range(n):
        x = rng.normal(size=(8, 3))
        loss = tg.mse_loss(model(x), x[:, :1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@both
def test_training_goes_on_from_a_checkpoint(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"checkpoint{suffix}"
    model, optimizer, rng = training()
    losses = steps(model, optimizer, rng, 3)
    tg.save_checkpoint(path, model=model, optimizer=optimizer, rng=rng, epoch=3, losses=losses)
    expected = steps(model, optimizer, rng, 4)
    other, its_optimizer, its_rng = training()
    rest = tg.load_checkpoint(path, model=other, optimizer=its_optimizer, rng=its_rng)
    assert rest == {"epoch": 3, "losses": losses}
    assert steps(other, its_optimizer, its_rng, 4) == expected
    # What is not asked for comes back as it is: to predict, the model is enough.
    assert same(tg.load(path)["model"], tg.load_checkpoint(path)["model"])


@pytest.mark.parametrize(
    "source",
    [
        np.random.RandomState,
        np.random.default_rng,
        lambda k: np.random.Generator(np.random.Philox(k)),
    ],
)
def test_sources_of_random_numbers(source: Any, tmp_path: Path) -> None:
    path, rng, other = tmp_path / "rng.npz", source(1), source(2)
    rng.normal(size=5)
    tg.save_checkpoint(path, rng=rng)
    tg.load_checkpoint(path, rng=other)
    assert_array_equal(rng.normal(size=5), other.normal(size=5))
    assert_array_equal(rng.permutation(9), other.permutation(9))


def test_the_librarys_own_source_goes_with_it(tmp_path: Path) -> None:
    own = tg.manual_seed(7)
    own.random(3)
    tg.save_checkpoint(tmp_path / "x.npz", epoch=1)
    expected = own.random(3)
    tg.manual_seed(8)
    assert tg.load_checkpoint(tmp_path / "x.npz") == {"epoch": 1}
    assert_array_equal(own.random(3), expected)


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        (lambda: {"model": nn.Linear(3, 5, rng=0)}, KeyError, "does not fit"),
        (lambda: {"optimizer": optim.SGD([tg.Tensor([1.0], True)], lr=1)}, KeyError, "settings"),
        (lambda: {"rng": np.random.RandomState(0)}, ValueError, "PCG64|state"),
        (lambda: {"scheduler": nn.Linear(1, 1, rng=0)}, KeyError, "has no scheduler; it has model"),
        (lambda: {"epoch": 0}, TypeError, "epoch: 0 cannot be brought to a state"),
    ],
    ids=["another model", "another optimizer", "another source", "no such part", "a number"],
)
def test_all_parts_are_brought_back_or_none(
    parts: Callable[[], dict[str, Any]], error: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.npz"
    model, optimizer, rng = training()
    steps(model, optimizer, rng, 2)
    tg.save_checkpoint(path, model=model, optimizer=optimizer, rng=rng, epoch=2)
    other, its_optimizer, its_rng = training()
    given = {"model": other, "optimizer": its_optimizer, "rng": its_rng} | parts()
    own = tg.manual_seed(0)
    before = saving.states(given) | {"own": own.bit_generator.state}
    with pytest.raises((error, KeyError, TypeError), match=message):
        tg.load_checkpoint(path, **given)
    assert same(saving.states(given) | {"own": own.bit_generator.state}, before)


def test_the_random_numbers_inside_a_model_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    tg.save_checkpoint(path, model=nn.Sequential(nn.Linear(1, 1, rng=0)))
    with pytest.raises(KeyError, match=r"has no model\.random"):
        tg.load_checkpoint(path, model=nn.Sequential(nn.Linear(1, 1, rng=0), nn.Dropout(0.5)))


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    tg.save(tmp_path / "list.npz", [1, 2])
    with pytest.raises(ValueError, match=r"list\.npz is no checkpoint: it holds list"):
        tg.load_checkpoint(tmp_path / "list.npz")


@pytest.mark.parametrize("structure", [{"dict": 5}, {"array": "w"}, {"a": [], "b": []}, "deep"])
def test_a_structure_that_is_none_is_refused_by_name(structure: Any, tmp_path: Path) -> None:
    if structure == "deep":
        structure = []
        for _ in range(400):
            structure = {"list": [structure]}
    path = tmp_path / "odd.npz"
    files.write(path, {}, structure)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        with pytest.raises(ValueError, match=r"odd\.npz"):
            tg.load(path)
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_40_epochs_are_17_a_kill_and_23(optimizer: str, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")

    def run(mode: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "tests.tools.resume", str(tmp_path), optimizer, mode]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        return done.returncode, done.stdout

    straight, killed, on = run("straight"), run("killed"), run("on")
    assert killed == (-signal.SIGKILL, "")
    assert on == straight
    assert len(straight[1].strip()) == 64
    assert os.listdir(tmp_path) == ["checkpoint.safetensors"]


if __name__ == "__main__":
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    for suffix in SUFFIXES:
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(times):
                kill_at_random(Path(folder, f"state{suffix}"), random.random() / 20)
            print(
                f"{suffix}: killed {times} times at random, always a whole file; in its folder:",
                os.listdir(folder),
            )
        with tempfile.TemporaryDirectory() as folder:
            n = 0
            while check_kill(Path(folder, f"state{suffix}"), n):
                n += 1
            print(
                f"{suffix}: killed at each of {n} steps, always a whole file; in its folder:",
                os.listdir(folder),
            )


# --- what would wait, fill the memory or not fit --------------------------------------------------


@not_windows
@both
@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "device", "link to a device"])
def test_what_is_no_regular_file_is_refused_at_once(suffix: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"state{suffix}"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "/dev/null")
    with pytest.raises(ValueError, match="is a pipe or a device, expected a regular file"):
        tg.load(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        tg.load(path)


def signed(content: bytes) -> bytes:
    """Return an archive with the comment that `save` would give it."""
    whole = bytearray(content[:-2] + (71).to_bytes(2, "little") + b"sha256 " + b"0" * 64)
    whole[-64:] = files._digest(whole, len(whole) - 64)
    return bytes(whole)


def packed(method: int, size: int, lie: int | None = None) -> bytes:
    """Return an archive of `size` zeros, of which it says that there are `lie`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        inside = io.BytesIO()
        np.save(inside, np.zeros(size, np.int8))
        archive.writestr("w.npy", inside.getvalue())
    content, true = stream.getvalue(), len(inside.getvalue())
    if lie is not None:
        content = content.replace(true.to_bytes(4, "little"), lie.to_bytes(4, "little"))
    return content


@pytest.mark.parametrize(
    ("method", "lie", "message"),
    [
        (zipfile.ZIP_DEFLATED, None, "would unpack its"),
        (zipfile.ZIP_DEFLATED, 1_000, "cannot be read"),
        (zipfile.ZIP_BZIP2, None, "another method than deflate"),
        (zipfile.ZIP_BZIP2, 1_000, "another method than deflate"),
        (zipfile.ZIP_LZMA, 1_000, "another method than deflate"),
    ],
)
def test_an_archive_that_would_fill_the_memory_is_refused_within_bounds(
    method: int, lie: int | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_SMALL", 1_000_000)
    path = tmp_path / "state.npz"
    path.write_bytes(packed(method, 20_000_000, lie))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            tg.load(path, checksum=False)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 25_000_000 if lie and method == zipfile.ZIP_DEFLATED else most < 2_000_000


def test_a_compressed_archive_with_a_checksum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    path.write_bytes(signed(packed(zipfile.ZIP_STORED, 100)))
    assert tg.load(path)["w"].shape == (100,)
    path.write_bytes(signed(packed(zipfile.ZIP_DEFLATED, 100)))
    with pytest.raises(ValueError, match="is compressed and has a checksum"):
        tg.load(path)


def test_what_numpy_compressed_is_read_without_a_checksum(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    np.savez_compressed(path, w=np.zeros(1_000_000))
    assert_array_equal(tg.load(path, checksum=False)["w"], np.zeros(1_000_000))


@not_windows
@both
@pytest.mark.parametrize("length", [238, 239, 247, 255])
@pytest.mark.parametrize("letter", ["a", "é"])
def test_a_name_of_any_length_that_the_disk_takes(
    suffix: str, length: int, letter: str, tmp_path: Path, way: str
) -> None:
    size = len(letter.encode())
    stem = letter * ((length - len(suffix)) // size)
    path = tmp_path / (stem + "a" * (length - len(suffix) - len(stem.encode())) + suffix)
    for state in ({"w": np.ones(2)}, {"w": np.zeros(3)}):
        tg.save(path, state)
        assert same(tg.load(path), state)
    assert os.listdir(tmp_path) == [path.name]
