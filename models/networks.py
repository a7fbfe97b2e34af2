"""The chapter's networks S1–S5, built from `Linear` layers, a loss and `SGD`.

    SingleLayer         logistic regression, all samples at once            S1
    DualLayer           a hidden layer in front of it                       S2
    RandomInitNetwork   weights drawn from N(0, 1) instead of ones          S3
    MinibatchNetwork    an update for each batch of a shuffled epoch        S4
    MultiClassNetwork   softmax and cross-entropy for several classes       S5

All five are trained by `SingleLayer.fit`; each class defines only how it differs from the one
before. No gradient is written down here: `loss.backward()` computes them. `models.reference` has
the same networks with the slides' formulas derived by hand, and the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

import tinygrad_edu as tg

SEED = 42
TINY = 1e-10  # recorded losses clip probabilities to [TINY, 1 − TINY] before the logarithm

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass
class Records:
    """The figures that the chapter keeps of a training; one entry an epoch."""

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    val_losses: list[float] = field(default_factory=list)
    val_accuracies: list[float] = field(default_factory=list)
    w_history: list[Array] = field(default_factory=list)


class SingleLayer(tg.nn.Module):
    """A = σ(XW + b): logistic regression by gradient descent on all samples at once.

    Shapes:  X (m, n), Y (m,) or (m, 1) of 0 and 1, w (n, 1), b (1,)
    Keeps:   losses, accuracies, val_losses, val_accuracies: one entry an epoch; w_history: a copy
             of w before training and after each epoch; history: the `tg.History` of `tg.fit`
    Source:  the chapter, "batch gradient descent"
    Example:
        >>> x, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
        >>> net = SingleLayer(l2=0.01).fit(x, y, epochs=10)
        >>> net.score(x, y), len(net.losses), len(net.w_history)
        (1.0, 10, 11)
    """

    criterion: ClassVar[Callable[..., Any]] = staticmethod(tg.binary_cross_entropy_with_logits)
    initial_weights: ClassVar[Callable[..., Any]] = staticmethod(tg.init.ones)

    def __init__(self, learning_rate: float = 0.1, l1: float = 0, l2: float = 0) -> None:
        _check(learning_rate=learning_rate, l1=l1, l2=l2)
        self.learning_rate, self.l1, self.l2 = learning_rate, l1, l2
        self.layers: list[tg.nn.Linear] = []
        self.history = tg.History()
        self.records = Records()

    losses = property(lambda self: self.records.losses)
    accuracies = property(lambda self: self.records.accuracies)
    val_losses = property(lambda self: self.records.val_losses)
    val_accuracies = property(lambda self: self.records.val_accuracies)
    w_history = property(lambda self: self.records.w_history)

    # --- what the other networks replace ----------------------------------------------------------

    def init_weights(self, n_features: int, n_outputs: int, rng: np.random.RandomState) -> None:
        """Make one layer: its weights from `initial_weights`, its bias 0."""
        self.layers = [self._linear(n_features, n_outputs, rng)]

    def forward(self, x: Any) -> Any:
        """Z = XW + b, the input of the output activation and of the loss."""
        return self._layers()[0](x)

    def activation(self, z: Any) -> Any:
        """A = σ(Z), the predicted probabilities."""
        return tg.sigmoid(z)

    def targets(self, y: Any, k: int | None = None) -> Array:
        """Return Y in the shape that the loss takes: a column of 0 and 1."""
        if np.ndim(y) != 1 and np.shape(y)[1:] != (1,):
            raise ValueError(f"targets must be (m,) or (m, 1), received {np.shape(y)}")
        column = np.asarray(y, dtype=np.float64).reshape(-1, 1)
        if not np.isin(column, (0, 1)).all():
            raise ValueError(f"targets must be 0 or 1, received {np.unique(column)[:5]}")
        return column

    def cross_entropy(self, z: Array, y: Array) -> float:
        """−Σ(Y log A + (1 − Y) log(1 − A))/m, as the chapter records it."""
        a = np.clip(self.activation(z), TINY, 1 - TINY)
        return -float((y * np.log(a) + (1 - y) * np.log(1 - a)).sum()) / len(y)

    def decide(self, z: Array) -> Array:
        """Return the predicted targets: Z > 0, which is A > ½."""
        return z > 0

    def batches(self, m: int, rng: np.random.RandomState) -> dict[str, Any]:
        """Return the arguments of `tg.fit` that cut an epoch of m samples into batches: here one
        batch of all samples, in their order.
        """
        return {"batch_size": m, "shuffle": False}

    # --- training ---------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any,
        epochs: int = 100,
        x_val: Any = None,
        y_val: Any = None,
        **options: Any,
    ) -> Self:
        """Train from fresh weights; `options` are further arguments of `tg.fit`, such as callbacks.

        The recorded loss of an epoch is (Σ cross-entropy + penalty)/m. Each batch's cross-entropy
        is computed before the update by that batch, the penalty from the weights at the end of the
        epoch. The validation loss is computed after the epoch.

        Shapes:  x (m, n), y (m,) or (m, 1); several classes: y (m, k) one-hot, or (m,) indices
        Raises:  ValueError for samples and targets that do not belong together, for no samples,
                 for x_val without y_val or the other way round, and for negative epochs;
                 tg.NonFiniteLoss if a loss becomes NaN or infinite
        """
        x, y = self._paired(x, y)
        if (x_val is None) != (y_val is None):
            raise ValueError("x_val and y_val go together: give both or neither")
        if x_val is not None:
            x_val, y_val = self._paired(x_val, y_val, y.shape[1], "_val")
            if (x_val.shape[1], y_val.shape[1]) != (x.shape[1], y.shape[1]):
                raise ValueError(
                    f"x {x.shape}, y {y.shape} do not fit x_val {x_val.shape}, y_val {y_val.shape}"
                )
        if epochs < 0:
            raise ValueError(f"epochs must be at least 0, received {epochs}")

        def after_epoch(epoch: int, logs: dict[str, float]) -> None:
            self.losses.append(logs["cross_entropy"] + self.reg_loss() / len(x))
            self.accuracies.append(logs["accuracy"])
            self._keep_weights()
            if x_val is not None:
                self.update_val_loss(x_val, y_val)

        self.history, self.records = tg.History(), Records()
        rng = np.random.RandomState(SEED)  # the numbers that follow np.random.seed(42)
        self.init_weights(x.shape[1], y.shape[1], rng)
        self._keep_weights()
        callbacks = [tg.callbacks.LambdaCallback(on_epoch_end=after_epoch)]
        tg.fit(
            self,
            x,
            y,
            loss=self.loss,
            optimizer=tg.optim.SGD(self.parameters(), lr=self.learning_rate),
            epochs=epochs,
            metrics=[self.cross_entropy, self.accuracy],
            callbacks=[*callbacks, *options.pop("callbacks", ())],
            history=self.history,
            compile=epochs >= 20,  # for fewer, capturing the step costs more than it saves
            verbose=0,
            **self.batches(len(x), rng),
            **options,
        )
        return self

    def loss(self, z: Any, y: Any) -> Any:
        """(Σ cross-entropy + penalty)/m, which training minimises; m samples in the batch."""
        return (self.criterion(z, y, reduction="sum") + self.penalty()) / len(y)

    def penalty(self) -> Any:
        """l1·Σ|W| + l2/2·ΣW² over the weights, not the biases; as a tensor."""
        return self._penalty([layer.weight for layer in self._layers()])

    def reg_loss(self) -> float:
        """Return the penalty as a number."""
        return float(self._penalty([layer.weight.data for layer in self._layers()]))

    def _penalty(self, weights: list[Any]) -> Any:
        total: Any = 0.0
        for weight in weights:
            if self.l1:
                total = total + self.l1 * tg.abs(weight).sum()
            if self.l2:
                total = total + self.l2 / 2 * tg.square(weight).sum()
        return total

    def update_val_loss(self, x_val: Array, y_val: Array) -> None:
        """Append (Σ cross-entropy + penalty)/m and the accuracy on the validation samples."""
        z = self._output(x_val)
        self.val_losses.append(self.cross_entropy(z, y_val) + self.reg_loss() / len(x_val))
        self.val_accuracies.append(self.accuracy(z, y_val))

    # --- use --------------------------------------------------------------------------------------

    def predict(self, x: Any) -> Array:
        """Return the predicted target of each sample.

        Shapes:  (m, n) → (m, 1) of bools; several classes: (m,) of class indices
        Raises:  RuntimeError before `fit`
        """
        return self.decide(self._output(np.asarray(x)))

    def score(self, x: Any, y: Any) -> float:
        """Return the fraction of samples that are predicted correctly."""
        x, y = self._paired(x, y, self._layers()[-1].n_out)
        return self.accuracy(self._output(x), y)

    def accuracy(self, z: Array, y: Array) -> float:
        """Return the fraction of samples for which the output z decides for the target y."""
        # Y − ½ is an output that decides for Y.
        return int(np.count_nonzero(self.decide(z) == self.decide(y - 0.5))) / len(y)

    def _output(self, x: Array) -> Array:
        with tg.no_grad():
            return np.asarray(self(x).numpy())

    def _linear(self, n_in: int, n_out: int, rng: np.random.RandomState) -> tg.nn.Linear:
        return tg.nn.Linear(n_in, n_out, init=self.initial_weights, rng=rng)

    def _layers(self) -> list[tg.nn.Linear]:
        if not self.layers:
            raise RuntimeError(f"{type(self).__name__} has no weights yet: call fit(x, y) first")
        return self.layers

    def _paired(self, x: Any, y: Any, k: int | None = None, of: str = "") -> tuple[Array, Array]:
        x = np.asarray(x)
        if x.ndim != 2 or len(x) == 0:
            raise ValueError(f"x{of} must be (m, n), one sample a row, received {x.shape}")
        if len(targets := self.targets(y, k)) != len(x):
            raise ValueError(
                f"y{of} needs a target for each of the {len(x)} rows, received {np.shape(y)}"
            )
        return x, targets

    def _keep_weights(self) -> None:
        self.w_history.append(self.w.copy())

    # --- the chapter's names for weights and biases -----------------------------------------------

    w = property(lambda self: self._layers()[0].weight.data, doc="The weights of a single layer.")
    b = property(lambda self: self._layers()[0].bias.data, doc="The bias of a single layer.")

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
        """Make two layers: w1, then w2, from `initial_weights`; biases 0."""
        sizes = (n_features, self.units), (self.units, n_outputs)
        self.layers = [self._linear(n_in, n_out, rng) for n_in, n_out in sizes]

    def forward(self, x: Any) -> Any:
        """Z2 = A1W2 + b2 with A1 = σ(XW1 + b1)."""
        hidden, output = self._layers()
        A1 = tg.sigmoid(hidden(x))
        return output(A1)

    def _keep_weights(self) -> None:
        """Keep nothing: the chapter draws the path of a single layer's weights only."""

    w1 = property(lambda self: self._layers()[0].weight.data, doc="The hidden layer's weights.")
    b1 = property(lambda self: self._layers()[0].bias.data, doc="The hidden layer's bias.")
    w2 = property(lambda self: self._layers()[1].weight.data, doc="The output layer's weights.")
    b2 = property(lambda self: self._layers()[1].bias.data, doc="The output layer's bias.")

    def extra_repr(self) -> str:
        return f"units={self.units}, {super().extra_repr()}"


class RandomInitNetwork(DualLayer):
    """`DualLayer` with weights from N(0, 1), since units that start equal stay equal.

    Source:  the chapter, "better initial weights"
    Example:
        >>> RandomInitNetwork(units=2).fit([[0.0]], [0], epochs=0).w1.round(4)
        array([[ 0.4967, -0.1383]])
    """

    initial_weights = staticmethod(tg.init.normal)


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

    def batches(self, m: int, rng: np.random.RandomState) -> dict[str, Any]:
        """Shuffle anew in each epoch. The chapter seeds a second time after drawing the weights, so
        the permutations come from a fresh generator."""
        return {"batch_size": self.batch_size, "rng": np.random.RandomState(SEED)}

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
        """A = softmax of each row of Z."""
        return tg.softmax(z)

    def targets(self, y: Any, k: int | None = None) -> Array:
        """Return Y as one-hot rows of k classes (None: as many as occur)."""
        y = np.asarray(y)
        if y.ndim == 1:
            return np.asarray(tg.one_hot(y, k))
        if y.ndim != 2 or not np.isin(y, (0, 1)).all() or not (y.sum(axis=1) == 1).all():
            raise ValueError(f"targets must be one-hot rows or class indices, received {y.shape}")
        return np.asarray(y)

    def cross_entropy(self, z: Array, y: Array) -> float:
        """−Σ Y log A/m, as the chapter records it."""
        return -float((y * np.log(np.clip(self.activation(z), TINY, 1 - TINY))).sum()) / len(y)

    def decide(self, z: Array) -> Array:
        """Return the index of the class with the largest output."""
        return np.asarray(np.argmax(z, axis=1))

    def batches(self, m: int, rng: np.random.RandomState) -> dict[str, Any]:
        """Shuffle anew in each epoch. The chapter seeds once here, so the permutations come from
        the generator that drew the weights.
        """
        return {"batch_size": self.batch_size, "rng": rng}


def _check(**settings: float) -> None:
    """Raise ValueError for settings that no network can be trained with."""
    for name, value in settings.items():
        if name in ("units", "batch_size"):
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{name} must be a positive integer, received {value!r}")
        elif not (value >= 0 and np.isfinite(value)):
            raise ValueError(f"{name} must be a number of at least 0, received {value!r}")
