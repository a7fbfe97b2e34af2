"""The chapter's data, ready to train on.

    breast_cancer()   569 tumours of 30 measurements, in 364, 91 and 114 rows     S1–S4
    fashion_mnist()   60,000 pictures of clothes, in 48,000 and 12,000, and
                      10,000 more for the test                                    S5, S6
    digits()          1,797 pictures of digits, 8 × 8: the small substitute where
                      Fashion-MNIST is not available

Each returns a `Split`. Every split is the slides'
`train_test_split(..., stratify=labels, test_size=0.2, random_state=42)`, so the rows are the
chapter's rows in the chapter's order. Two data sets are part of scikit-learn; Fashion-MNIST is four
files that are searched for on the machine, or downloaded on request.
"""

import gzip
import hashlib
import math
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "DatasetError",
    "IdxFile",
    "Split",
    "breast_cancer",
    "digits",
    "fashion_mnist",
    "find_fashion_mnist",
    "read_idx",
]

FloatArray = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int64]


class DatasetError(ValueError):
    """Raised if a data set cannot be used: a file is damaged or unreadable, or a download failed.

    Its message is `where` (a file or an address), the `problem`, and a `way_out`.
    """

    def __init__(self, where: str, problem: str, way_out: str) -> None:
        super().__init__(where, problem, way_out)
        self.where = where
        self.problem = problem
        self.way_out = way_out

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}. {self.way_out}."


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Training, validation and test rows of one data set.

    Shapes:  x_* (rows, features)
             y_* (rows,) of 0 and 1 for two classes, else one-hot, (rows, classes)
             labels_* (rows,): the class of each row, an index into class_names
    The test part is None where the chapter has none.

    Example:
        >>> data = digits()
        >>> data.x_train.shape, data.y_train.shape, data.labels_train.shape
        ((1437, 64), (1437, 10), (1437,))
    """

    name: str
    x_train: FloatArray
    y_train: FloatArray
    labels_train: Labels
    x_val: FloatArray
    y_val: FloatArray
    labels_val: Labels
    x_test: FloatArray | None
    y_test: FloatArray | None
    labels_test: Labels | None
    class_names: tuple[str, ...]
    class_names_ko: tuple[str, ...] | None  # as on the slides
    image_shape: tuple[int, int] | None  # of a row, where rows are pictures
    source: str  # where the data was found

    def __repr__(self) -> str:
        # The arrays would fill the screen.
        sizes = [str(len(self.x_train)), str(len(self.x_val))]
        if self.x_test is not None:
            sizes.append(str(len(self.x_test)))
        return (
            f"<Split of {self.name}: {' + '.join(sizes)} rows of {self.x_train.shape[1]}, "
            f"{len(self.class_names)} classes, from {self.source}>"
        )


# The two sets that come with scikit-learn


def breast_cancer(*, dtype: npt.DTypeLike = np.float64) -> Split:
    """Return the breast cancer data as (x − mean)/deviation of each column, both computed on the
    training rows.

    Shapes:  x (364, 30), (91, 30), (114, 30); y (364,), (91,), (114,): 0 malignant, 1 benign
    Raises:  ModuleNotFoundError without scikit-learn, TypeError for a dtype that is not floating
    Source:  the chapter, "batch gradient descent"; scikit-learn's load_breast_cancer
    Example:
        >>> breast_cancer()
        <Split of breast cancer: 364 + 91 + 114 rows of 30, 2 classes, from scikit-learn>
    """
    kind = _floating(dtype)
    with _extra("scikit-learn"):
        from sklearn.datasets import load_breast_cancer  # type: ignore[import-untyped]
        from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]
    bunch = load_breast_cancer()
    labels: Labels = np.asarray(bunch.target, np.int64)
    others, test = _split_rows(np.arange(len(labels)), labels)
    train, val = _split_rows(others, labels)
    scaler = StandardScaler().fit(bunch.data[train])

    def scaled(rows: Labels) -> FloatArray:
        x: FloatArray = scaler.transform(bunch.data[rows]).astype(kind, copy=False)
        return x

    return Split(
        name="breast cancer",
        x_train=scaled(train),
        y_train=labels[train].astype(kind),
        labels_train=labels[train],
        x_val=scaled(val),
        y_val=labels[val].astype(kind),
        labels_val=labels[val],
        x_test=scaled(test),
        y_test=labels[test].astype(kind),
        labels_test=labels[test],
        class_names=("malignant", "benign"),
        class_names_ko=None,
        image_shape=None,
        source="scikit-learn",
    )


def digits(*, dtype: npt.DTypeLike = np.float64) -> Split:
    """Return handwritten digits, 8 × 8 pixels divided by 16.

    Shapes:  x (1437, 64), (360, 64); y (1437, 10), (360, 10), one-hot; no test rows
    Raises:  ModuleNotFoundError without scikit-learn, TypeError for a dtype that is not floating
    Source:  scikit-learn's load_digits, prepared as the chapter prepares Fashion-MNIST
    Example:
        >>> digits()
        <Split of digits: 1437 + 360 rows of 64, 10 classes, from scikit-learn>
    """
    kind = _floating(dtype)
    with _extra("scikit-learn"):
        from sklearn.datasets import load_digits
    bunch = load_digits()
    labels: Labels = np.asarray(bunch.target, np.int64)
    train, val = _split_rows(np.arange(len(labels)), labels)
    return Split(
        name="digits",
        x_train=_pixels(bunch.data[train], 16, kind),
        y_train=_one_hot(labels[train], 10, kind),
        labels_train=labels[train],
        x_val=_pixels(bunch.data[val], 16, kind),
        y_val=_one_hot(labels[val], 10, kind),
        labels_val=labels[val],
        x_test=None,
        y_test=None,
        labels_test=None,
        class_names=tuple("0123456789"),
        class_names_ko=None,
        image_shape=(8, 8),
        source="scikit-learn",
    )


# Fashion-MNIST


@dataclass(frozen=True)
class IdxFile:
    """A gzip'd IDX file of bytes: its name, its array's shape, the SHA-256 of what is inside.

    The archives differ from source to source (they contain a name, a time and a compression level),
    their contents do not.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str


FASHION_MNIST_FILES = (
    IdxFile(
        "train-images-idx3-ubyte.gz",
        (60000, 28, 28),
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    IdxFile(
        "train-labels-idx1-ubyte.gz",
        (60000,),
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte.gz",
        (10000, 28, 28),
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte.gz",
        (10000,),
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)
FASHION_MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
FASHION_MNIST_BY_HAND = (
    'fetch the four files by other means and name their folder: fashion_mnist("FOLDER")'
)
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

FASHION_CLASSES = (
    "T-shirt/top",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
FASHION_CLASSES_KO = (
    "티셔츠/윗도리",
    "바지",
    "스웨터",
    "드레스",
    "코트",
    "샌들",
    "셔츠",
    "스니커즈",
    "가방",
    "앵클부츠",
)


def fashion_mnist(
    folder: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
    dtype: npt.DTypeLike = np.float64,
) -> Split:
    """Return Fashion-MNIST, 28 × 28 pixels divided by 255.

    The four files are read from `folder`, or from the folder in the environment variable
    FASHION_MNIST. Without either, from the first of these that has all four: Debian's package,
    Keras' cache, this project's cache. If none has them, `download=True` downloads them (30 MB)
    into this project's cache. The SHA-256 of the contents is checked each time.

    Shapes:  x (48000, 784), (12000, 784), (10000, 784); y (48000, 10), ..., one-hot
    Raises:  FileNotFoundError if the files are not found, DatasetError for a damaged or unreadable
             file and for a download that fails, ModuleNotFoundError without scikit-learn or pooch,
             TypeError for a dtype that is not floating
    Source:  the chapter, "multi-class network"; Zalando, MIT licence
    Example:
        fashion_mnist("~/data/fashion-mnist").x_train.shape     # (48000, 784)
    """
    kind = _floating(dtype)
    place = find_fashion_mnist(folder)
    if place is None and download and _named(folder) is None:
        place = _download_fashion_mnist()
    if place is None:
        raise FileNotFoundError(_not_found(folder))
    train_images, train_labels, test_images, test_labels = (
        read_idx(place, file) for file in FASHION_MNIST_FILES
    )
    labels, labels_test = train_labels.astype(np.int64), test_labels.astype(np.int64)
    train, val = _split_rows(np.arange(len(labels)), labels)
    classes = len(FASHION_CLASSES)
    return Split(
        name="Fashion-MNIST",
        x_train=_pixels(train_images[train], 255, kind),
        y_train=_one_hot(labels[train], classes, kind),
        labels_train=labels[train],
        x_val=_pixels(train_images[val], 255, kind),
        y_val=_one_hot(labels[val], classes, kind),
        labels_val=labels[val],
        x_test=_pixels(test_images, 255, kind),
        y_test=_one_hot(labels_test, classes, kind),
        labels_test=labels_test,
        class_names=FASHION_CLASSES,
        class_names_ko=FASHION_CLASSES_KO,
        image_shape=(28, 28),
        source=str(place),
    )


def find_fashion_mnist(folder: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the first folder that has all four files, or None. Nothing is read or downloaded.

    Raises:  ModuleNotFoundError without pooch, which knows where caches are kept, if the search
             gets that far
    Example:
        find_fashion_mnist()     # PosixPath('/usr/share/datasets/fashion-mnist')
    """
    return next((place for place in _places(folder) if not _lacking(place)), None)


def read_idx(folder: Path, file: IdxFile) -> npt.NDArray[np.uint8]:
    """Decompress an IDX file and check its length, header and SHA-256.

    IDX is: two zero bytes, the type of the numbers (8: unsigned bytes), the number of dimensions,
    each dimension in four bytes with the highest first, then the numbers.

    Shapes:  `file.shape`; the array is read-only
    Raises:  DatasetError naming the file and what to do
    Example:
        read_idx(Path("/usr/share/datasets/fashion-mnist"), FASHION_MNIST_FILES[1])[:3]   # 9 0 0
    """
    path = folder / file.name
    header = bytes((0, 0, 8, len(file.shape))) + np.array(file.shape, ">u4").tobytes()
    size = len(header) + math.prod(file.shape)
    try:
        with gzip.open(path) as archive:
            # One byte more than wanted: enough to see that there is too much, and never the
            # gigabytes that a small archive can hold.
            contents = archive.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, f"not a whole gzip archive ({error})") from error
    except OSError as error:
        reason = "there is a folder of this name" if path.is_dir() else error.strerror or error
        raise _damaged(path, f"cannot be read: {reason}") from error

    if not contents:
        raise _damaged(path, "the file is empty")
    if contents[:4] != header[:4]:
        raise _damaged(
            path,
            f"expected to begin with the bytes {header[:4].hex(' ')} of an IDX file with "
            f"{len(file.shape)} dimensions, got {contents[:4].hex(' ')}",
        )
    if len(contents) >= len(header) and contents[: len(header)] != header:
        shape = tuple(np.frombuffer(contents[4 : len(header)], ">u4").tolist())
        raise _damaged(path, f"expected an array of shape {file.shape}, its header says {shape}")
    if len(contents) != size:
        got = "more" if len(contents) > size else str(len(contents))
        raise _damaged(path, f"expected {size} bytes after decompression, got {got}")
    digest = hashlib.sha256(contents).hexdigest()
    if digest != file.sha256:
        raise _damaged(path, f"expected contents with SHA-256 {file.sha256}, got {digest}")
    return np.frombuffer(contents, np.uint8, offset=len(header)).reshape(file.shape)


def _damaged(path: Path, problem: str) -> DatasetError:
    return DatasetError(
        str(path),
        problem,
        "Put a whole copy in its place, or remove it and call fashion_mnist(download=True), "
        "naming no folder",
    )


def _named(folder: str | os.PathLike[str] | None) -> Path | None:
    """Return the folder from the argument or the environment variable, or None."""
    named = folder if folder is not None else os.environ.get("FASHION_MNIST")
    return Path(named).expanduser() if named else None


def _places(folder: str | os.PathLike[str] | None) -> Iterator[Path]:
    named = _named(folder)
    if named is not None:
        yield named  # and no other: who names a folder means that folder
        return
    yield DEBIAN_FOLDER
    keras = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")
    yield Path(keras, "datasets", "fashion-mnist")
    yield _cache()


def _cache() -> Path:
    with _extra("pooch"):
        import pooch  # type: ignore[import-untyped]
    return Path(pooch.os_cache("tinygrad_edu")) / "fashion-mnist"


def _lacking(place: Path) -> list[str]:
    # os.path.exists answers no, instead of raising, for a folder that may not be entered.
    return [file.name for file in FASHION_MNIST_FILES if not os.path.exists(place / file.name)]


def _not_found(folder: str | os.PathLike[str] | None) -> str:
    lines = ["Fashion-MNIST was not found. Looked in:"]
    for place in _places(folder):
        what = f"lacks {', '.join(_lacking(place))}" if os.path.isdir(place) else "no such folder"
        lines.append(f"  {place} ({what})")
    if _named(folder) is not None:
        lines.append("This folder was named, so no other was searched and nothing downloaded.")
    lines += [
        "Ways out:",
        "  install Debian's package: apt install dataset-fashion-mnist",
        '  name a folder with the four .gz files: fashion_mnist("FOLDER"), or FASHION_MNIST=FOLDER '
        "in the environment",
        "  download them, naming no folder: fashion_mnist(download=True)",
    ]
    return "\n".join(lines)


def _download_fashion_mnist() -> Path:
    """Download the four files into the cache, all or none."""
    with _extra("pooch"):
        import pooch
    # Not streamed: where a stream fails, the downloader forgets to close its connection.
    fetch = pooch.HTTPDownloader(chunk_size=1 << 16, stream=False)
    cache = _cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Beside their final names, so that the moves at the end stay on one disk and are atomic.
        with tempfile.TemporaryDirectory(prefix="download-", dir=cache) as beside:
            for file in FASHION_MNIST_FILES:
                url = FASHION_MNIST_URL + file.name
                fetch(url, str(Path(beside, file.name)), None)
                read_idx(Path(beside), file)
            for file in FASHION_MNIST_FILES:
                os.replace(Path(beside, file.name), cache / file.name)
    except DatasetError as error:
        problem = f"arrived damaged and was not kept: {error.problem}"
        raise DatasetError(url, problem, f"Try again later, or {FASHION_MNIST_BY_HAND}") from error
    except OSError as error:  # all that the network, the server and the disk can answer
        problem = f"could not be downloaded into {cache}: {error}"
        raise DatasetError(
            FASHION_MNIST_URL, problem, f"Connect to the network, or {FASHION_MNIST_BY_HAND}"
        ) from error
    return cache


# Shared


def _split_rows(rows: Labels, labels: Labels) -> tuple[Labels, Labels]:
    """Return the chapter's split as row numbers: four fifths and one, with classes in
    proportion.
    """
    with _extra("scikit-learn"):
        from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]
    kept, held_out = train_test_split(rows, stratify=labels[rows], test_size=0.2, random_state=42)
    return kept, held_out


def _pixels(images: npt.NDArray[Any], brightest: int, kind: np.dtype[Any]) -> FloatArray:
    """Return rows of brightness from 0 to 1, without a second array of floats as an
    intermediate.
    """
    x: FloatArray = np.divide(images.reshape(len(images), -1), brightest, dtype=kind)
    return x


def _one_hot(labels: Labels, classes: int, kind: np.dtype[Any]) -> FloatArray:
    rows: FloatArray = np.eye(classes, dtype=kind)[labels]
    return rows


def _floating(dtype: npt.DTypeLike) -> np.dtype[Any]:
    kind = np.dtype(dtype)
    if not np.issubdtype(kind, np.floating):
        raise TypeError(f"dtype must be floating, such as float64 or float32, got {kind}")
    return kind


@contextmanager
def _extra(package: str) -> Iterator[None]:
    """Add to an ImportError inside of the block how to install the package."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{package} is needed here and not installed: pip install -e '.[models]'",
            name=error.name,
        ) from error
