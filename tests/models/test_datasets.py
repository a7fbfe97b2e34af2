"""The data sets: the right rows, and a clear word about every way a file can be wrong."""

import gzip
import re
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import datasets
from models.datasets import (
    FASHION_MNIST_FILES,
    DatasetError,
    IdxFile,
    Split,
    breast_cancer,
    digits,
    fashion_mnist,
    find_fashion_mnist,
    read_idx,
)

pooch = pytest.importorskip("pooch")
load_breast_cancer = pytest.importorskip("sklearn.datasets").load_breast_cancer
train_test_split = pytest.importorskip("sklearn.model_selection").train_test_split

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = (file.name for file in FASHION_MNIST_FILES)


def bits(array: npt.NDArray[Any]) -> bytes:
    """An IDX file, before compression."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def packed(contents: bytes, level: int = 9, time: int = 0) -> bytes:
    return gzip.compress(contents, level, mtime=time)


def check_consistent(data: Split, classes: int) -> None:
    """Check a split: x, y and labels belong to the same rows."""
    parts = [
        (data.x_train, data.y_train, data.labels_train),
        (data.x_val, data.y_val, data.labels_val),
    ]
    if data.x_test is not None and data.y_test is not None and data.labels_test is not None:
        parts.append((data.x_test, data.y_test, data.labels_test))
    for x, y, labels in parts:
        assert len(x) == len(y) == len(labels)
        assert x.ndim == 2
        assert labels.shape == (len(x),)
        assert labels.dtype == np.int64
        if classes == 2:
            np.testing.assert_array_equal(y, labels)
        else:
            assert y.shape == (len(x), classes)
            np.testing.assert_array_equal(y.sum(axis=1), 1)
            np.testing.assert_array_equal(np.argmax(y, axis=1), labels)
    assert len(data.class_names) == len(set(data.class_names)) == classes


# Breast cancer and digits


def test_breast_cancer_is_the_chapters() -> None:
    data = breast_cancer()
    check_consistent(data, 2)
    assert data.x_test is not None
    assert (data.x_train.shape, data.x_val.shape, data.x_test.shape) == (
        (364, 30),
        (91, 30),
        (114, 30),
    )
    assert data.class_names == ("malignant", "benign")

    # Word for word as on the slides.
    x, y = load_breast_cancer(return_X_y=True)
    x_all, x_test, y_all, y_test = train_test_split(
        x, y, stratify=y, test_size=0.2, random_state=42
    )
    x_train, x_val, y_train, y_val = train_test_split(
        x_all, y_all, stratify=y_all, test_size=0.2, random_state=42
    )
    mean, deviation = x_train.mean(axis=0), x_train.std(axis=0)
    for got, raw in ((data.x_train, x_train), (data.x_val, x_val), (data.x_test, x_test)):
        np.testing.assert_allclose(got, (raw - mean) / deviation, rtol=1e-12, atol=1e-12)
    for labels, expected in (
        (data.labels_train, y_train),
        (data.labels_val, y_val),
        (data.labels_test, y_test),
    ):
        np.testing.assert_array_equal(labels, expected)


def test_breast_cancer_is_standardised_by_its_training_rows() -> None:
    data = breast_cancer()
    np.testing.assert_allclose(data.x_train.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(data.x_train.std(axis=0), 1, atol=1e-12)
    assert np.abs(data.x_val.mean(axis=0)).max() > 0.01


def test_digits() -> None:
    data = digits()
    check_consistent(data, 10)
    assert (data.x_train.shape, data.x_val.shape) == ((1437, 64), (360, 64))
    assert (data.x_test, data.y_test, data.labels_test) == (None, None, None)
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    assert data.image_shape == (8, 8)
    share = np.bincount(data.labels_train) / np.bincount(data.labels_val)
    assert share.min() > 3.8 and share.max() < 4.3  # stratified: about four to one in each class


@pytest.mark.parametrize("load", [breast_cancer, digits])
def test_dtype(load: Callable[..., Split]) -> None:
    wide, narrow = load(), load(dtype=np.float32)
    assert wide.x_train.dtype == wide.y_train.dtype == np.float64
    assert narrow.x_train.dtype == narrow.y_train.dtype == np.float32
    np.testing.assert_array_equal(narrow.x_val, wide.x_val.astype(np.float32))
    with pytest.raises(TypeError, match=r"must be floating.*got int64"):
        load(dtype=np.int64)


def test_global_random_state_is_left_alone() -> None:
    before = np.random.get_state(legacy=False)
    digits()
    np.testing.assert_equal(np.random.get_state(legacy=False), before)


def test_a_split_is_frozen_and_short_to_print() -> None:
    data = digits()
    with pytest.raises(FrozenInstanceError):
        data.name = "other"  # type: ignore[misc]
    assert repr(data) == "<Split of digits: 1437 + 360 rows of 64, 10 classes, from scikit-learn>"


@pytest.mark.parametrize("missing", ["sklearn.datasets", "sklearn.preprocessing"])
def test_missing_scikit_learn_says_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install -e '\.\[models\]'") as info:
        breast_cancer()
    assert info.value.name == missing


# The real Fashion-MNIST


@pytest.fixture(scope="module")
def real_folder() -> Path:
    folder = find_fashion_mnist()
    if folder is None:
        pytest.skip("Fashion-MNIST is not on this machine")
    return folder


@pytest.fixture(scope="module")
def fashion(real_folder: Path) -> Split:
    return fashion_mnist(real_folder)


def test_fashion_mnist_sizes(fashion: Split, real_folder: Path) -> None:
    check_consistent(fashion, 10)
    assert fashion.x_test is not None and fashion.labels_test is not None
    assert fashion.x_train.shape == (48000, 784)
    assert fashion.x_val.shape == (12000, 784)
    assert fashion.x_test.shape == (10000, 784)
    assert fashion.x_train.dtype == fashion.y_train.dtype == np.float64
    assert (fashion.x_train.min(), fashion.x_train.max()) == (0, 1)
    assert fashion.image_shape == (28, 28)
    assert fashion.source == str(real_folder)
    assert np.bincount(fashion.labels_train).tolist() == [4800] * 10
    assert np.bincount(fashion.labels_val).tolist() == [1200] * 10
    assert np.bincount(fashion.labels_test).tolist() == [1000] * 10


def test_fashion_mnist_labels_are_the_slides(fashion: Split, real_folder: Path) -> None:
    labels = read_idx(real_folder, FASHION_MNIST_FILES[1])
    assert labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert fashion.class_names[labels[0]] == "ankle boot"
    assert fashion.class_names_ko is not None
    assert fashion.class_names_ko[labels[0]] == "앵클부츠"
    assert len(fashion.class_names_ko) == 10
    assert fashion.labels_train[0] == 6
    assert fashion.y_train[0].tolist() == [0, 0, 0, 0, 0, 0, 1, 0, 0, 0]


def test_fashion_mnist_rows_are_the_chapters(fashion: Split, real_folder: Path) -> None:
    images = read_idx(real_folder, FASHION_MNIST_FILES[0])
    labels = read_idx(real_folder, FASHION_MNIST_FILES[1])
    x_train, x_val, y_train, y_val = train_test_split(
        images, labels, stratify=labels, test_size=0.2, random_state=42
    )
    np.testing.assert_array_equal(fashion.labels_train, y_train)
    np.testing.assert_array_equal(fashion.labels_val, y_val)
    np.testing.assert_array_equal(fashion.x_val, (x_val / 255).reshape(-1, 784))
    np.testing.assert_array_equal(fashion.x_train[:500], (x_train[:500] / 255).reshape(-1, 784))


def test_other_archives_of_the_same_contents_are_accepted(
    real_folder: Path, tmp_path: Path
) -> None:
    file = FASHION_MNIST_FILES[3]
    archive = (real_folder / file.name).read_bytes()
    other = packed(gzip.decompress(archive), level=1, time=1_000_000_000)
    assert other != archive
    (tmp_path / file.name).write_bytes(other)
    np.testing.assert_array_equal(read_idx(tmp_path, file), read_idx(real_folder, file))


# A small Fashion-MNIST of 100 and 20 pictures, on a machine that has no other


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No files anywhere: every place that is searched lies in `tmp_path`, and none exists."""
    monkeypatch.delenv("FASHION_MNIST", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(datasets, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    return tmp_path


def places(machine: Path) -> list[Path]:
    """In the order of the search."""
    return [
        machine / "debian",
        machine / "keras" / "datasets" / "fashion-mnist",
        machine / "cache" / "tinygrad_edu" / "fashion-mnist",
    ]


def small_arrays() -> dict[str, npt.NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    return {
        TRAIN_IMAGES: random.integers(0, 256, (100, 28, 28), np.uint8),
        TRAIN_LABELS: np.arange(100, dtype=np.uint8) % 10,
        TEST_IMAGES: random.integers(0, 256, (20, 28, 28), np.uint8),
        TEST_LABELS: np.arange(20, dtype=np.uint8) % 10,
    }


@pytest.fixture
def archives(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The four archives by name; from here on, these are the contents to be expected."""
    contents = {name: bits(array) for name, array in small_arrays().items()}
    expected = tuple(
        IdxFile(name, array.shape, sha256(contents[name]).hexdigest())
        for name, array in small_arrays().items()
    )
    monkeypatch.setattr(datasets, "FASHION_MNIST_FILES", expected)
    return {name: packed(data) for name, data in contents.items()}


def put(archives: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, archive in archives.items():
        (folder / name).write_bytes(archive)
    return folder


def test_small_set_is_read_as_the_real_one(bare_machine: Path, archives: dict[str, bytes]) -> None:
    data = fashion_mnist(put(archives, bare_machine / "mine"))
    check_consistent(data, 10)
    assert data.x_test is not None
    assert (len(data.x_train), len(data.x_val), len(data.x_test)) == (80, 20, 20)
    np.testing.assert_array_equal(
        data.x_test, small_arrays()[TEST_IMAGES].reshape(20, 784) / np.float64(255)
    )


def test_search_order(bare_machine: Path, archives: dict[str, bytes]) -> None:
    assert find_fashion_mnist() is None
    for place in reversed(places(bare_machine)):
        put(archives, place)
        assert find_fashion_mnist() == place
        assert fashion_mnist().source == str(place)


def test_home_folder_of_keras(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(bare_machine))
    monkeypatch.setenv("USERPROFILE", str(bare_machine))
    keras = bare_machine / ".keras" / "datasets" / "fashion-mnist"
    put(dict.fromkeys((file.name for file in FASHION_MNIST_FILES), b""), keras)
    assert find_fashion_mnist() == keras


def test_a_folder_that_lacks_a_file_is_passed_over(
    bare_machine: Path, archives: dict[str, bytes]
) -> None:
    first, second, _ = places(bare_machine)
    put(archives, first)
    put(archives, second)
    (first / TEST_LABELS).unlink()
    assert find_fashion_mnist() == second


def test_a_named_folder_is_the_only_one(
    bare_machine: Path, archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(archives, places(bare_machine)[0])
    mine = bare_machine / "mine"
    assert find_fashion_mnist(mine) is None
    with pytest.raises(FileNotFoundError, match=r"mine \(no such folder\)\nThis folder was named"):
        fashion_mnist(mine)

    put(archives, mine)
    assert find_fashion_mnist(str(mine)) == mine
    monkeypatch.setenv("FASHION_MNIST", str(mine))
    assert find_fashion_mnist() == mine
    assert find_fashion_mnist(places(bare_machine)[0]) == places(bare_machine)[0]


def test_not_found_names_places_and_ways_out(
    bare_machine: Path, archives: dict[str, bytes]
) -> None:
    put(archives, places(bare_machine)[1])
    (places(bare_machine)[1] / TRAIN_LABELS).unlink()
    with pytest.raises(FileNotFoundError) as info:
        fashion_mnist()
    message = str(info.value)
    for place in places(bare_machine):
        assert str(place) in message
    assert f"(lacks {TRAIN_LABELS})" in message
    for way_out in ("dataset-fashion-mnist", "FASHION_MNIST=", "download=True"):
        assert way_out in message


def test_missing_pooch_says_what_to_install(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install -e '\.\[models\]'"):
        fashion_mnist()


# Damaged files

LABELS = small_arrays()[TRAIN_LABELS]
GOOD = packed(bits(LABELS))


def flipped(data: bytes, position: int, mask: int = 1) -> bytes:
    return data[:position] + bytes((data[position] ^ mask,)) + data[position + 1 :]


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (b"", "the file is empty"),
        (packed(b""), "the file is empty"),
        (bits(LABELS), "not a whole gzip archive"),
        (GOOD[: len(GOOD) // 2], "not a whole gzip archive"),
        (GOOD[:-1], "not a whole gzip archive"),
        (GOOD[:5], "not a whole gzip archive"),
        (flipped(GOOD, len(GOOD) // 2), "not a whole gzip archive"),
        (flipped(GOOD, len(GOOD) - 6), "not a whole gzip archive"),  # the checksum
        (GOOD + b"more", "not a whole gzip archive"),
        (packed(flipped(bits(LABELS), 60)), "expected contents with SHA-256"),
        (packed(flipped(bits(LABELS), 0)), "bytes 00 00 08 01.*got 01 00 08 01"),
        (packed(flipped(bits(LABELS), 2, 0x05)), "bytes 00 00 08 01.*got 00 00 0d 01"),
        (packed(b"\0\0"), "bytes 00 00 08 01.*got 00 00$"),
        (packed(b"<html>404</html>"), "bytes 00 00 08 01.*got 3c 68 74 6d"),
        (packed(bits(LABELS.reshape(10, 10))), "1 dimensions, got 00 00 08 02"),
        (packed(bits(LABELS[:99])), r"shape \(100,\), its header says \(99,\)"),
        (packed(bits(LABELS)[:6]), "expected 108 bytes after decompression, got 6"),
        (packed(bits(LABELS)[:-1]), "expected 108 bytes after decompression, got 107"),
        (packed(bits(LABELS) + b"x"), "expected 108 bytes after decompression, got more"),
        (packed(bits(LABELS) + bytes(10_000_000)), "got more"),
    ],
)
def test_damaged_file(
    archive: bytes, message: str, bare_machine: Path, archives: dict[str, bytes]
) -> None:
    folder = put(archives | {TRAIN_LABELS: archive}, bare_machine / "mine")
    with pytest.raises(DatasetError) as info:
        fashion_mnist(folder)
    assert info.value.where == str(folder / TRAIN_LABELS)
    assert str(info.value) == f"{info.value.where}: {info.value.problem}. {info.value.way_out}."
    assert "download=True" in info.value.way_out
    assert re.search(message, info.value.problem)


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (TRAIN_IMAGES, TRAIN_LABELS, "3 dimensions, got 00 00 08 01"),
        (TRAIN_IMAGES, TEST_IMAGES, r"shape \(100, 28, 28\), its header says \(20, 28, 28\)"),
        (TEST_LABELS, TRAIN_LABELS, r"shape \(100,\), its header says \(20,\)"),
    ],
)
def test_swapped_files(
    one: str, other: str, message: str, bare_machine: Path, archives: dict[str, bytes]
) -> None:
    swapped = archives | {one: archives[other], other: archives[one]}
    with pytest.raises(DatasetError, match=message):
        fashion_mnist(put(swapped, bare_machine / "mine"))


def test_folder_in_place_of_a_file(bare_machine: Path, archives: dict[str, bytes]) -> None:
    folder = put(archives, bare_machine / "mine")
    (folder / TEST_IMAGES).unlink()
    (folder / TEST_IMAGES).mkdir()
    with pytest.raises(DatasetError, match=f"{TEST_IMAGES}: .*there is a folder of this name"):
        fashion_mnist(folder)


def test_unreadable_file(bare_machine: Path, archives: dict[str, bytes]) -> None:
    folder = put(archives, bare_machine / "mine")
    (folder / TEST_IMAGES).chmod(0)
    try:
        (folder / TEST_IMAGES).read_bytes()
    except PermissionError:
        with pytest.raises(DatasetError, match=f"{TEST_IMAGES}: cannot be read"):
            fashion_mnist(folder)
    else:
        pytest.skip("this user may read every file")


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255), st.booleans())
def test_no_damage_goes_unnoticed(position: int, mask: int, cut: bool) -> None:
    """Whatever happens to one byte, or from it on: the right array, or a DatasetError."""
    file = IdxFile(TRAIN_LABELS, LABELS.shape, sha256(bits(LABELS)).hexdigest())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / file.name).write_bytes(GOOD[:position] if cut else flipped(GOOD, position, mask))
        try:
            array = read_idx(folder, file)
        except DatasetError as error:
            assert error.where == str(folder / file.name)
        else:
            # Some bits mean nothing here: the time in the archive's header, padding in its stream.
            assert not cut
            np.testing.assert_array_equal(array, LABELS)


# Downloads, from a server on this machine


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


class Interrupted(Quiet):
    """Announces a whole file and hangs up after its first bytes."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        outputfile.write(source.read(50))


@contextmanager
def serving(folder: Path, handler: type[Quiet] = Quiet) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_download_and_use_again(
    bare_machine: Path, archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = places(bare_machine)[2]
    with serving(put(archives, bare_machine / "server")) as url:
        monkeypatch.setattr(datasets, "FASHION_MNIST_URL", url)
        with pytest.raises(FileNotFoundError):
            fashion_mnist()  # not asked to download
        assert not cache.exists()
        data = fashion_mnist(download=True)
    assert data.source == str(cache)
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == archives
    again = fashion_mnist(download=True)  # the server is gone by now
    np.testing.assert_array_equal(again.x_train, data.x_train)


def test_no_download_for_a_named_folder(
    bare_machine: Path, archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(put(archives, bare_machine / "server")) as url:
        monkeypatch.setattr(datasets, "FASHION_MNIST_URL", url)
        with pytest.raises(FileNotFoundError, match="nothing downloaded"):
            fashion_mnist(bare_machine / "mine", download=True)
    assert not places(bare_machine)[2].exists()


def test_download_fills_up_a_cache_that_lacks_a_file(
    bare_machine: Path, archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = put(archives | {TRAIN_IMAGES: b"half"}, places(bare_machine)[2])
    (cache / TEST_LABELS).unlink()
    with serving(put(archives, bare_machine / "server")) as url:
        monkeypatch.setattr(datasets, "FASHION_MNIST_URL", url)
        fashion_mnist(download=True)
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == archives


@pytest.mark.parametrize("archive", [GOOD[:-9], packed(flipped(bits(LABELS), 60)), b"", b"<html>"])
def test_damaged_download_leaves_nothing(
    archive: bytes,
    bare_machine: Path,
    archives: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(put(archives | {TRAIN_LABELS: archive}, bare_machine / "server")) as url:
        monkeypatch.setattr(datasets, "FASHION_MNIST_URL", url)
        with pytest.raises(DatasetError, match="arrived damaged and was not kept") as info:
            fashion_mnist(download=True)
    assert info.value.where == url + TRAIN_LABELS
    assert list(places(bare_machine)[2].iterdir()) == []


@pytest.mark.parametrize("failure", ["404", "interrupted", "no server", "no room"])
def test_failed_download_leaves_nothing(
    failure: str,
    bare_machine: Path,
    archives: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = put(archives, bare_machine / "server")
    if failure == "404":
        (folder / TEST_IMAGES).unlink()
    if failure == "no room":
        (bare_machine / "cache").write_text("a file where the caches should be")
    with serving(folder, Interrupted if failure == "interrupted" else Quiet) as url:
        if failure == "no server":
            url = f"http://127.0.0.1:{closed_port()}/"
        monkeypatch.setattr(datasets, "FASHION_MNIST_URL", url)
        with pytest.raises(DatasetError, match="could not be downloaded") as info:
            fashion_mnist(download=True)
    assert info.value.where == url
    assert 'fashion_mnist("FOLDER")' in info.value.way_out
    assert list(bare_machine.joinpath("cache").rglob("*.gz")) == []
    assert find_fashion_mnist() is None


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
