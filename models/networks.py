"""The chapter's networks S1–S5, built from `Linear` modules, a loss and `SGD`.

    SingleLayer         logistic regression, all samples at once            S1
    DualLayer           a hidden layer in front of it                       S2
    RandomInitNetwork   weights drawn from N(0, 1) instead of ones          S3
    MinibatchNetwork    an update for each batch of a shuffled epoch        S4
    MultiClassNetwork   softmax and cross-entropy for several classes       S5

They share one `fit`, on the loop under `tg.fit`; each class says only in what it differs from the
one before. No gradient is written down here: `loss.backward()` finds them. `models.reference` has
the same networks with the slides' formulas by hand, and the tests hold the two side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import init, nn, optim
from tinygrad_edu.data import minibatches, one_hot
from tinygrad_edu.training.callbacks import LambdaCallback
from tinygrad_edu.training.loop import train
from tinygrad_edu.training.stepping import Stepper

__all__ = [
    "DualLayer",
    "MinibatchNetwork",
    "MultiClassNetwork",
    "RandomInitNetwork",
    "SingleLayer",
]

SEED = 42
MANY = 20  # epochs from which on it pays to capture the step
AT_ONCE = 32  # batches whose loss is computed together
TINY = 1e-10  # recorded losses keep probabilities in [TINY, 1 − TINY] before the logarithm

Array = np.ndarray[Any, np.dtype[Any]]


def _column(key: str, what: str) -> Any:
    return property(lambda network: network.history.history.get(key, []), doc=what)


class SingleLayer(nn.Module):
    """A = σ(XW + b): logistic regression by gradient descent on all samples at once.

    Shapes:  X (m, n), Y (m,) or (m, 1) of 0 and 1, w (n, 1), b (1,)
    Keeps:   history, a `tg.History`; losses, val_losses, accuracies, val_accuracies: its columns;
             w_history: a copy of w before training and after each epoch
    Source:  the chapter, "batch gradient descent"
    Example:
        >>> x, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
        >>> net = SingleLayer(l2=0.01).fit(x, y, epochs=10)
        >>> net.score(x, y), len(net.losses), len(net.w_history)
        (1.0, 10, 11)
    """

    criterion: ClassVar[Callable[..., Any]] = staticmethod(tg.binary_cross_entropy_with_logits)
    initial_weights: ClassVar[Callable[..., Any]] = staticmethod(init.ones)

    def __init__(self, learning_rate: float = 0.1, l1: float = 0, l2: float = 0) -> None:
        _check(learning_rate=learning_rate, l1=l1, l2=l2)
        self.learning_rate, self.l1, self.l2 = learning_rate, l1, l2
        self.layers: list[nn.Linear] = []
        self.history = tg.History()
        self.w_history: list[Array] = []

    losses = _column("loss", "The loss of each epoch.")
    accuracies = _column("accuracy", "The share of samples that each epoch predicted right.")
    val_losses = _column("val_loss", "The loss on the validation samples after each epoch.")
    val_accuracies = _column("val_accuracy", "… and the share of them predicted right.")

    # --- what the other networks replace ----------------------------------------------------------

    def init_weights(self, n_features: int, n_outputs: int, rng: np.random.RandomState) -> None:
        """One layer of weights from `initial_weights`; biases start at 0."""
        self.layers = [self._linear(n_features, n_outputs, rng)]

    def forward(self, x: Any) -> Any:
        """Z = XW + b, from which the activation and the loss start."""
        return self._layers()[0](x)

    def activation(self, z: Any) -> Any:
        """The probabilities that belong to the output Z."""
        return tg.sigmoid(z)

    def targets(self, y: Any, k: int | None = None) -> Array:
        """Y as the loss wants it: a column of 0 and 1."""
        if np.ndim(y) != 1 and np.shape(y)[1:] != (1,):
            raise ValueError(f"targets must be (m,) or (m, 1), received {np.shape(y)}")
        column = np.asarray(y, dtype=np.float64).reshape(-1, 1)
        if not np.isin(column, (0, 1)).all():
            raise ValueError(f"targets must be 0 or 1, received {np.unique(column)[:5]}")
        return column

    def data_loss(self, a: Array, y: Array) -> float:
        """−Σ(Y log A + (1 − Y) log(1 − A)), the sum over the samples as the chapter records it."""
        a = _inside(a)
        return -float((y * np.log(a) + (1 - y) * np.log(1 - a)).sum())

    def decide(self, z: Array) -> Array:
        """The predicted targets: Z > 0, which is A > ½."""
        return z > 0

    def batches(self, rng: np.random.RandomState) -> Callable[..., Any]:
        """How an epoch is cut: here into one batch of all samples, in their order."""
        return lambda *arrays: [arrays]

    # --- what they share --------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any,
        epochs: int = 100,
        x_val: Any = None,
        y_val: Any = None,
        *,
        on_epoch: Callable[[Self], None] | None = None,
        threads: int | str | None = None,
    ) -> Self:
        """Train from fresh weights; `on_epoch(network)` is called after each epoch. The matrix
        products take so many `threads` (see `tg.threads`); None: those that the library takes.

        The recorded loss of an epoch is (Σ cross-entropy + penalty)/m: the cross-entropies are
        those met on the way, before each update, the penalty that of the weights at the end. The
        validation loss is computed after the epoch.

        Shapes:  x (m, n), y (m,) or (m, 1); several classes: y (m, k) one-hot, or (m,) indices
        Raises:  ValueError for samples and targets that do not belong together, for no samples,
                 for x_val without y_val or the other way round, and for negative epochs
        """
        x, y = self._paired(x, y, "x", "y")
        if (x_val is None) != (y_val is None):
            raise ValueError("x_val and y_val go together: give both or neither")
        if x_val is not None:
            x_val, y_val = self._paired(x_val, y_val, "x_val", "y_val", y.shape[1])
            if (x_val.shape[1], y_val.shape[1]) != (x.shape[1], y.shape[1]):
                raise ValueError(
                    f"x {x.shape} and y {y.shape} do not fit x_val {x_val.shape} and y_val "
                    f"{y_val.shape}"
                )
        if epochs < 0:
            raise ValueError(f"epochs must be at least 0, received {epochs}")
        self.history = tg.History()
        self.w_history.clear()
        rng = np.random.RandomState(SEED)  # the numbers that follow np.random.seed(42)
        self.init_weights(x.shape[1], y.shape[1], rng)
        optimizer = optim.SGD(self.parameters(), lr=self.learning_rate)
        batches = self.batches(rng)
        self._note_weights()

        def take(x: Array, y: Array) -> Any:
            return self.step(x, y, optimizer)

        stepper = Stepper(take, self.history, compile=epochs >= MANY, parts=[], alone=True)
        size = min(getattr(self, "batch_size", len(x)), len(x))
        number = -(-len(x) // size)

        def steps() -> Generator[tuple[float, int], None, None]:
            # Arrays of several batches are counted at once, which takes as many calls as one batch.
            kept: list[tuple[Array, Array]] = []
            with stepper.epoch((x, y)) as step:
                for i, batch in enumerate(batches(x, y)):
                    kept.append((step(*batch).value.copy(), batch[1].copy()))
                    if len(kept) < AT_ONCE and i + 1 < number:
                        yield 0.0, 0
                        continue
                    z, targets = map(np.concatenate, zip(*kept, strict=True))
                    kept.clear()
                    yield self.data_loss(self.activation(z), targets), self._right(z, targets)

        def logs(sums: Sequence[float]) -> dict[str, float]:
            total, right = sums
            return {"loss": (total + self.reg_loss()) / len(x), "accuracy": right / len(x)}

        def after_epoch(epoch: int, logs: dict[str, float]) -> None:
            self._note_weights()
            if x_val is not None:
                self.update_val_loss(x_val, y_val)
            if on_epoch is not None:
                on_epoch(self)

        train(
            self,
            steps,
            batches=number,
            logs=logs,
            epochs=range(epochs),
            history=self.history,
            callbacks=[LambdaCallback(on_epoch_end=after_epoch)],
            optimizer=optimizer,
            in_place=self.history.compiled is True,
            threads=threads,
            rows=size,
        )
        return self

    def step(self, x: Array, y: Array, optimizer: optim.SGD) -> Any:
        """One step on one batch: Z before the step, as a tensor."""
        m = len(x)
        z = self(x)
        loss = (self.criterion(z, y, reduction="sum") + self.penalty()) / m
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return z

    def penalty(self) -> Any:
        """l1·Σ|W| + l2/2·ΣW² over the weights, not the biases; part of the loss."""
        return self._penalty(layer.weight for layer in self._layers())

    def reg_loss(self) -> float:
        """The penalty as a number."""
        return float(self._penalty(layer.weight.data for layer in self._layers()))

    def update_val_loss(self, x_val: Array, y_val: Array) -> None:
        """Note loss and accuracy on the validation samples."""
        z = self._output(x_val)
        loss = self.data_loss(self.activation(z), y_val)
        loss = (loss + self.reg_loss()) / len(x_val)
        right = self._right(z, y_val) / len(x_val)
        self.history.add({"val_loss": loss, "val_accuracy": right})

    def predict(self, x: Any) -> Array:
        """The predicted target of each sample.

        Shapes:  (m, n) → (m, 1) of bools; several classes: (m,) of class indices
        Raises:  RuntimeError before `fit`
        """
        return self.decide(self._output(np.asarray(x)))

    def score(self, x: Any, y: Any) -> float:
        """The share of samples that are predicted right."""
        x, y = self._paired(x, y, "x", "y", self._layers()[-1].n_out)
        return self._right(self._output(x), y) / len(x)

    def _output(self, x: Array) -> Array:
        with tg.no_grad():
            return np.asarray(self(x).numpy())

    def _right(self, z: Array, y: Array) -> int:
        # Targets are decided on like outputs, of which ½ less than a target is one.
        return int(np.count_nonzero(self.decide(z) == self.decide(y - 0.5)))

    def _penalty(self, weights: Iterable[Any]) -> Any:
        total: Any = 0.0
        for weight in weights:
            if self.l1:
                total = total + self.l1 * tg.abs(weight).sum()
            if self.l2:
                total = total + self.l2 / 2 * tg.square(weight).sum()
        return total

    def _linear(self, n_in: int, n_out: int, rng: np.random.RandomState) -> nn.Linear:
        return nn.Linear(n_in, n_out, init=self.initial_weights, rng=rng)

    def _layers(self) -> list[nn.Linear]:
        if not self.layers:
            raise RuntimeError(f"{type(self).__name__} has no weights yet: call fit(x, y) first")
        return self.layers

    def _paired(
        self, x: Any, y: Any, x_name: str, y_name: str, k: int | None = None
    ) -> tuple[Array, Array]:
        x = np.asarray(x)
        if x.ndim != 2 or len(x) == 0:
            raise ValueError(f"{x_name} must be (m, n), one sample a row, received {x.shape}")
        if len(targets := self.targets(y, k)) != len(x):
            raise ValueError(
                f"{y_name} must have a target for each of the {len(x)} rows of {x_name}, received "
                f"shape {np.shape(y)}"
            )
        return x, targets

    def _note_weights(self) -> None:
        self.w_history.append(self.w.copy())

    # --- the chapter's names for weights and biases -----------------------------------------------

    @property
    def w(self) -> Array:
        """The weights of a single layer."""
        return self._layers()[0].weight.data

    @property
    def b(self) -> Array:
        """The bias of a single layer."""
        return _bias(self._layers()[0])

    def extra_repr(self) -> str:
        return f"learning_rate={self.learning_rate}, l1={self.l1}, l2={self.l2}"


class DualLayer(SingleLayer):
    """A1 = σ(XW1 + b1), A2 = σ(A1W2 + b2): two layers, all weights 1 at first.

    Shapes:  X (m, n), w1 (n, units), b1 (units,), w2 (units, 1), b2 (1,)
    Source:  the chapter, "gradient descent for the multi-layer network"
    Example:
        >>> x, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
        >>> DualLayer(units=3).fit(x, y, epochs=20).w1.shape
        (1, 3)
    """

    def __init__(
        self, units: int = 10, learning_rate: float = 0.1, l1: float = 0, l2: float = 0
    ) -> None:
        super().__init__(learning_rate, l1, l2)
        _check(units=units)
        self.units = units

    def init_weights(self, n_features: int, n_outputs: int, rng: np.random.RandomState) -> None:
        """w1, then w2, from `initial_weights`; biases start at 0."""
        self.layers = [
            self._linear(n_features, self.units, rng),
            self._linear(self.units, n_outputs, rng),
        ]

    def forward(self, x: Any) -> Any:
        """Z2 = A1W2 + b2 with A1 = σ(XW1 + b1)."""
        hidden, output = self._layers()
        A1 = tg.sigmoid(hidden(x))
        return output(A1)

    def _note_weights(self) -> None:
        """Nothing: the chapter follows the path of a single layer's weights only."""

    @property
    def w1(self) -> Array:
        """The weights of the hidden layer."""
        return self._layers()[0].weight.data

    @property
    def b1(self) -> Array:
        """The bias of the hidden layer."""
        return _bias(self._layers()[0])

    @property
    def w2(self) -> Array:
        """The weights of the output layer."""
        return self._layers()[1].weight.data

    @property
    def b2(self) -> Array:
        """The bias of the output layer."""
        return _bias(self._layers()[1])

    def extra_repr(self) -> str:
        return f"units={self.units}, {super().extra_repr()}"


class RandomInitNetwork(DualLayer):
    """`DualLayer` with weights from N(0, 1): units that start equal stay equal.

    Source:  the chapter, "better initial weights"
    Example:
        >>> RandomInitNetwork(units=2).fit([[0.0]], [0], epochs=0).w1.round(4)
        array([[ 0.4967, -0.1383]])
    """

    initial_weights = staticmethod(init.normal)


class MinibatchNetwork(RandomInitNetwork):
    """`RandomInitNetwork` with an update for each batch of a newly shuffled epoch.

    Source:  the chapter, "mini-batch gradient descent"
    Example:
        >>> x, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
        >>> MinibatchNetwork(units=3, batch_size=2).fit(x, y, epochs=30).score(x, y)
        1.0
    """

    def __init__(
        self,
        units: int = 10,
        batch_size: int = 32,
        learning_rate: float = 0.1,
        l1: float = 0,
        l2: float = 0,
    ) -> None:
        super().__init__(units, learning_rate, l1, l2)
        _check(batch_size=batch_size)
        self.batch_size = batch_size

    def batches(self, rng: np.random.RandomState) -> Callable[..., Any]:
        """Batches of `batch_size` of all samples, shuffled anew each time. The chapter seeds a
        second time here, so that the shuffling does not go on from the weights."""
        rng = np.random.RandomState(SEED)
        return partial(minibatches, batch_size=self.batch_size, rng=rng, keep=False)

    def extra_repr(self) -> str:
        return f"batch_size={self.batch_size}, {super().extra_repr()}"


class MultiClassNetwork(MinibatchNetwork):
    """A1 = σ(XW1 + b1), A2 = softmax(A1W2 + b2), cross-entropy: one output for each class.

    Shapes:  X (m, n), Y (m, k) one-hot or (m,) class indices, w1 (n, units), w2 (units, k)
    Source:  the chapter, "multi-class network"
    Example:
        >>> x, y = np.array([[-1.0, 1.0], [1.0, 1.0], [0.0, -1.0]]), np.array([0, 1, 2])
        >>> MultiClassNetwork(units=5, batch_size=3).fit(x, y, epochs=100).predict(x)
        array([0, 1, 2])
    """

    criterion = staticmethod(tg.cross_entropy)

    def activation(self, z: Any) -> Any:
        """Softmax of each row."""
        return tg.softmax(z)

    def targets(self, y: Any, k: int | None = None) -> Array:
        """Y as one-hot rows of k classes (None: as many as occur)."""
        y = np.asarray(y)
        if y.ndim == 1:
            return np.asarray(one_hot(y, k))
        if y.ndim != 2 or not np.isin(y, (0, 1)).all() or not (y.sum(axis=1) == 1).all():
            raise ValueError(f"targets must be one-hot rows or class indices, received {y.shape}")
        return np.asarray(y)

    def data_loss(self, a: Array, y: Array) -> float:
        """−Σ Y log A, the sum over the samples as the chapter records it."""
        return -float((y * np.log(_inside(a))).sum())

    def decide(self, z: Array) -> Array:
        """The class with the largest output."""
        return np.asarray(np.argmax(z, axis=1))

    def batches(self, rng: np.random.RandomState) -> Callable[..., Any]:
        """As before, but here the chapter's shuffling goes on where the weights have stopped."""
        return partial(minibatches, batch_size=self.batch_size, rng=rng, keep=False)


def _inside(a: Array) -> Array:
    # What np.clip gives, which takes three times as long to be called.
    return np.minimum(np.maximum(a, TINY), 1 - TINY)


def _bias(layer: nn.Linear) -> Array:
    assert layer.bias is not None
    return layer.bias.data


def _check(**settings: float) -> None:
    """Refuse settings that no network can be trained with."""
    for name, value in settings.items():
        if name in ("units", "batch_size"):
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{name} must be a positive integer, received {value!r}")
        elif not (value >= 0 and np.isfinite(value)):
            raise ValueError(f"{name} must be a number of at least 0, received {value!r}")
