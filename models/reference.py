"""The chapter's five networks, every gradient derived by hand, in NumPy and nothing else.

The tests compare the engine with this file. It does not import the engine, so it cannot share the
engine's mistakes. The formulas are those of the slides with the `1/m` that the slides' code has
and their formulas leave out. One loop (`SingleLayer.fit`) trains all five; each class defines only
how it differs from the one before:

    SingleLayer         logistic regression, all samples at once            S1
    DualLayer           a hidden layer in front of it                       S2
    RandomInitNetwork   weights drawn from N(0, 1) instead of ones          S3
    MinibatchNetwork    an update for each batch of a shuffled epoch        S4
    MultiClassNetwork   softmax and cross-entropy for several classes       S5

Letters: X (m, n) samples in rows, Y (m, k) targets, W weights, b biases, Z = XW + b, A = σ(Z),
E = A − Y, ⊙ element by element, 1 a column of m ones. What the slides seed with
`np.random.seed(42)` is drawn here from `np.random.RandomState(42)`: the same numbers, without
changing NumPy's global state.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "DualLayer",
    "MinibatchNetwork",
    "MultiClassNetwork",
    "RandomInitNetwork",
    "SingleLayer",
    "dual_gradients",
    "multi_gradients",
    "sigmoid",
    "single_gradients",
    "softmax",
]

Array = npt.NDArray[Any]
"""Targets and predictions: floats, integers or booleans."""
FloatArray = npt.NDArray[np.floating[Any]]

SEED = 42
TINY = 1e-10  # probabilities are kept in [TINY, 1 - TINY] before the logarithm


def sigmoid(z: FloatArray) -> FloatArray:
    """σ(z) = 1/(1 + e⁻ᶻ).

    Shapes:  any -> the same
    Example:
        >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
        [0.0, 0.5, 1.0]
    """
    # e^-|z| cannot overflow; for z < 0 numerator and denominator are multiplied by e^z.
    e = np.exp(-np.abs(z))
    a: FloatArray = np.where(z >= 0, 1, e) / (1 + e)
    return a


def softmax(z: FloatArray) -> FloatArray:
    """a_i = e^(z_i) / Σ_j e^(z_j) in each row.

    Shapes:  (m, k) -> (m, k), every row sums to 1
    Source:  the chapter, "multi-class network"
    Example:
        >>> softmax(np.array([[2.20, 1.39, 0.85], [0.00, -1.39, -2.20]])).round(2).tolist()
        [[0.59, 0.26, 0.15], [0.74, 0.18, 0.08]]
    """
    # The slides clip z from below, which guards the wrong side: e^z overflows for large z.
    # Without its row's maximum no z is above 0, and the quotient stays the same.
    e = np.exp(z - z.max(axis=1, keepdims=True))
    a: FloatArray = e / e.sum(axis=1, keepdims=True)
    return a


class SingleLayer:
    """A = σ(XW + b): logistic regression by full-batch gradient descent.

    Shapes:  X (m, n), Y (m,) or (m, 1) of 0 and 1, w (n, 1), b (1,)
    Keeps:   losses and val_losses, one entry an epoch; w_history, a copy of w before training and
             after each epoch. As on the slides, a second `fit` starts from fresh weights and
             appends to these lists.
    Source:  the chapter, "batch gradient descent"
    Example:
        >>> x = np.array([[-2.0], [-1.0], [1.0], [2.0]])
        >>> net = SingleLayer(l2=0.01)
        >>> net.fit(x, np.array([0, 0, 1, 1]), epochs=10)
        >>> net.score(x, np.array([0, 0, 1, 1])), len(net.losses), len(net.w_history)
        (1.0, 10, 11)
    """

    w: FloatArray
    b: FloatArray

    def __init__(self, learning_rate: float = 0.1, l1: float = 0, l2: float = 0) -> None:
        self.lr = learning_rate
        self.l1 = l1
        self.l2 = l2
        self.losses: list[float] = []
        self.val_losses: list[float] = []
        self.w_history: list[FloatArray] = []

    @property
    def learning_rate(self) -> float:
        """The constructor's name for `lr`."""
        return self.lr

    # What the other networks replace.

    def init_weights(self, n_features: int, n_classes: int = 1) -> None:
        """w: ones (n_features, n_classes), b: zeros (n_classes,); begins `w_history`."""
        self.w = np.ones((n_features, n_classes))
        self.b = np.zeros(n_classes)
        self.w_history.append(self.w.copy())

    def parameters(self) -> tuple[FloatArray, ...]:
        """Return weights and biases in turn, from the first layer to the last.

        Raises:  RuntimeError before `fit` or `init_weights`
        """
        try:
            return self._parameters()
        except AttributeError:
            raise RuntimeError(
                f"{type(self).__name__} has no weights yet: call fit(x, y) or "
                "init_weights(n_features) first"
            ) from None

    def _parameters(self) -> tuple[FloatArray, ...]:
        return self.w, self.b

    def forpass(self, x: FloatArray) -> FloatArray:
        """Z = XW + b.

        Shapes:  (m, n) -> (m, 1)
        """
        w, b = self.parameters()
        return x @ w + b

    def activation(self, z: FloatArray) -> FloatArray:
        """σ(Z), the activation of every layer but a softmax output."""
        return sigmoid(z)

    def output(self, z: FloatArray) -> FloatArray:
        """Return the activation of the output layer: probabilities."""
        return self.activation(z)

    def backprop(self, x: FloatArray, err: FloatArray) -> tuple[FloatArray, ...]:
        """D3, D6: ∂L/∂W = XᵀE/m, ∂L/∂b = 1ᵀE/m.

        Shapes:  (m, n), (m, 1) -> (n, 1), (1,)
        """
        m = len(x)
        return x.T @ err / m, np.sum(err, axis=0) / m

    def gen_batch(self, x: FloatArray, y: Array) -> Iterator[tuple[FloatArray, Array]]:
        """Yield the batches of an epoch: here one, with all samples in their order."""
        yield x, y

    def targets(self, y: Array) -> Array:
        """Return Y in the shape that the loss takes: a column."""
        return np.asarray(y).reshape(-1, 1)

    def data_loss(self, a: FloatArray, y: Array) -> float:
        """Binary cross-entropy −Σ(Y log A + (1 − Y) log(1 − A)), summed over the samples."""
        a = np.clip(a, TINY, 1 - TINY)
        return float(-np.sum(y * np.log(a) + (1 - y) * np.log(1 - a)))

    def end_epoch(self) -> None:
        """Append a copy of the weights: the chapter draws their path for a single layer."""
        self.w_history.append(self.w.copy())

    def predict(self, x: FloatArray) -> Array:
        """Z > 0, which is A > 1/2.

        Shapes:  (m, n) -> (m, 1), booleans
        """
        return self.forpass(x) > 0

    def score(self, x: FloatArray, y: Array) -> float:
        """Return the fraction of samples that are predicted correctly."""
        return float(np.mean(self.predict(x) == self.targets(y)))

    # What they share.

    def gradients(
        self, x: FloatArray, y: Array, m: int | None = None
    ) -> tuple[FloatArray, tuple[FloatArray, ...]]:
        """D12 and the penalty: E = A − Y through `backprop`, and (l1·sign(W) + l2·W)/m more.

        Shapes:  X (m, n), Y (m, k) -> A (m, k), a gradient for each of `parameters()`
        """
        m = len(x) if m is None else m
        a = self.output(self.forpass(x))
        grads = self.backprop(x, a - self.targets(y))
        # Weights have even indices; biases have no penalty.
        for w, w_grad in zip(self.parameters()[::2], grads[::2], strict=True):
            w_grad += (self.l1 * np.sign(w) + self.l2 * w) / m
        return a, grads

    def training(self, x: FloatArray, y: Array, m: int | None = None) -> FloatArray:
        """D4: W ← W − lr·∂L/∂W for every weight and bias; one step on one batch.

        `m` divides the penalty's gradient; by default it is the number of rows. (The slides pass it
        in the networks for two classes, and count the rows in the one for several.)

        Shapes:  X (m, n), Y (m, k) -> A (m, k), computed before the step
        """
        a, grads = self.gradients(x, y, m)
        for parameter, grad in zip(self.parameters(), grads, strict=True):
            parameter -= self.lr * grad
        return a

    def fit(
        self,
        x: FloatArray,
        y: Array,
        epochs: int = 100,
        x_val: FloatArray | None = None,
        y_val: Array | None = None,
    ) -> None:
        """Train from fresh weights; note (Σ cross-entropy + penalty)/m after each epoch.

        Each cross-entropy is computed before its batch's update, the penalty from the weights at
        the end of the epoch. The validation loss is computed after the epoch.

        Shapes:  x (m, n), y (m,) or (m, 1); several classes: y (m, k), one-hot
        Raises:  ValueError for samples and targets that do not belong together, for no samples,
                 and for one of x_val and y_val without the other
        """
        y = self._paired(x, y, "x", "y")
        if (x_val is None) != (y_val is None):
            given, lacking = ("y_val", "x_val") if x_val is None else ("x_val", "y_val")
            raise ValueError(f"{given} was given without {lacking}: pass both or neither")
        if x_val is not None and y_val is not None:
            y_val = self._paired(x_val, y_val, "x_val", "y_val")

        self.init_weights(x.shape[1], y.shape[1])
        for _ in range(epochs):
            loss = 0.0
            for x_batch, y_batch in self.gen_batch(x, y):
                a = self.training(x_batch, y_batch, len(x_batch))
                loss += self.data_loss(a, y_batch)
            self.end_epoch()
            self.losses.append((loss + self.reg_loss()) / len(x))
            self.update_val_loss(x_val, y_val)

    def _paired(self, x: FloatArray, y: Array, x_name: str, y_name: str) -> Array:
        if np.ndim(x) != 2 or len(x) == 0:
            raise ValueError(
                f"{x_name} must have shape (m, n), one sample a row and at least one row, "
                f"got {np.shape(x)}"
            )
        columns = self.targets(y)
        if len(columns) != len(x):
            raise ValueError(
                f"{y_name} must hold one target for each of the {len(x)} rows of {x_name}, "
                f"got shape {np.shape(y)}"
            )
        return columns

    def reg_loss(self) -> float:
        """Return the penalty l1·Σ|W| + l2/2·ΣW², over the weights only."""
        weights = self.parameters()[::2]
        absolute = sum(float(np.sum(np.abs(w))) for w in weights)
        squared = sum(float(np.sum(w**2)) for w in weights)
        return self.l1 * absolute + self.l2 / 2 * squared

    def update_val_loss(self, x_val: FloatArray | None, y_val: Array | None) -> None:
        """Append (Σ cross-entropy + penalty)/m of the validation samples, if there are any."""
        if x_val is None or y_val is None:
            return
        loss = self.data_loss(self.output(self.forpass(x_val)), self.targets(y_val))
        self.val_losses.append((loss + self.reg_loss()) / len(y_val))


class DualLayer(SingleLayer):
    """A1 = σ(XW1 + b1), A2 = σ(A1W2 + b2): two layers, binary cross-entropy.

    Shapes:  X (m, n), w1 (n, units), b1 (units,), a1 (m, units), w2 (units, 1), b2 (1,)
    Source:  the chapter, "gradient descent for the multi-layer network"
    Example:
        >>> net = DualLayer(units=3)
        >>> net.init_weights(5)
        >>> net.forpass(np.zeros((4, 5))).shape, net.a1.shape
        ((4, 1), (4, 3))
    """

    w1: FloatArray
    b1: FloatArray
    w2: FloatArray
    b2: FloatArray
    a1: FloatArray  # the hidden layer's output in the latest forward pass

    def __init__(
        self, units: int = 10, learning_rate: float = 0.1, l1: float = 0, l2: float = 0
    ) -> None:
        super().__init__(learning_rate, l1, l2)
        self.units = units

    def init_weights(self, n_features: int, n_classes: int = 1) -> None:
        """w1 (n_features, units) and w2 (units, n_classes): ones; biases: zeros."""
        self.w1 = np.ones((n_features, self.units))
        self.b1 = np.zeros(self.units)
        self.w2 = np.ones((self.units, n_classes))
        self.b2 = np.zeros(n_classes)

    def _parameters(self) -> tuple[FloatArray, ...]:
        return self.w1, self.b1, self.w2, self.b2

    def forpass(self, x: FloatArray) -> FloatArray:
        """Z2 = A1W2 + b2 with A1 = σ(XW1 + b1), which is kept for `backprop`.

        Shapes:  (m, n) -> (m, k)
        """
        w1, b1, w2, b2 = self.parameters()
        self.a1 = self.activation(x @ w1 + b1)
        return self.a1 @ w2 + b2

    def backprop(self, x: FloatArray, err: FloatArray) -> tuple[FloatArray, ...]:
        """Propagate the error E = A2 − Y backwards.

        D5:  ∂L/∂W2 = A1ᵀE/m
        D6:  ∂L/∂b2 = 1ᵀE/m
        D7:  ∂L/∂W1 = Xᵀ(EW2ᵀ ⊙ A1 ⊙ (1 − A1))/m
        D8:  ∂L/∂b1 = 1ᵀ(EW2ᵀ ⊙ A1 ⊙ (1 − A1))/m

        Shapes:  X (m, n), E (m, k) -> w1 (n, units), b1 (units,), w2 (units, k), b2 (k,)
        """
        # Both layers are Z = (input)W + b, so one rule (D3, D6) serves both.
        hidden_err = err @ self.w2.T * self.a1 * (1 - self.a1)
        return *super().backprop(x, hidden_err), *super().backprop(self.a1, err)

    def end_epoch(self) -> None:
        """Do nothing: the chapter draws the path of a single layer's weights only."""


class RandomInitNetwork(DualLayer):
    """`DualLayer` with weights from N(0, 1): equal weights would learn as one unit.

    Source:  the chapter, "better initial weights"
    Example:
        >>> net = RandomInitNetwork(units=2)
        >>> net.init_weights(1)
        >>> net.w1.round(4).tolist()
        [[0.4967, -0.1383]]
    """

    def init_weights(self, n_features: int, n_classes: int = 1) -> None:
        """w1, then w2, drawn after seed 42; biases: zeros. Shapes as in `DualLayer`."""
        self._draw_weights(np.random.RandomState(SEED), n_features, n_classes)

    def _draw_weights(self, random: np.random.RandomState, n_features: int, n_classes: int) -> None:
        self.w1 = random.normal(0, 1, (n_features, self.units))
        self.b1 = np.zeros(self.units)
        self.w2 = random.normal(0, 1, (self.units, n_classes))
        self.b2 = np.zeros(n_classes)


class MinibatchNetwork(RandomInitNetwork):
    """`RandomInitNetwork`, updated after each batch of a shuffled epoch.

    Shapes:  as in `DualLayer`; a batch has `batch_size` rows, an epoch's last one what is left
    Raises:  ValueError for a batch size below 1
    Source:  the chapter, "mini-batch gradient descent"
    Example:
        >>> x, y = np.zeros((364, 30)), np.zeros(364)
        >>> len(list(MinibatchNetwork(batch_size=32).gen_batch(x, y)))
        12
    """

    def __init__(
        self,
        units: int = 10,
        batch_size: int = 32,
        learning_rate: float = 0.1,
        l1: float = 0,
        l2: float = 0,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        super().__init__(units, learning_rate, l1, l2)
        self.batch_size = batch_size
        self.random = np.random.RandomState(SEED)

    def fit(
        self,
        x: FloatArray,
        y: Array,
        epochs: int = 100,
        x_val: FloatArray | None = None,
        y_val: Array | None = None,
    ) -> None:
        """As `SingleLayer.fit`, shuffled from seed 42 on."""
        # The weights have a RandomState(42) of their own: the slides seed before the weights
        # and again before the first permutation.
        self.random = np.random.RandomState(SEED)
        super().fit(x, y, epochs, x_val, y_val)

    def gen_batch(self, x: FloatArray, y: Array) -> Iterator[tuple[FloatArray, Array]]:
        """Yield the samples in a new order, `batch_size` at a time."""
        order = self.random.permutation(len(x))
        for start in range(0, len(x), self.batch_size):
            rows = order[start : start + self.batch_size]
            yield x[rows], y[rows]


class MultiClassNetwork(MinibatchNetwork):
    """A1 = σ(XW1 + b1), A2 = softmax(A1W2 + b2): cross-entropy on one-hot targets.

    With `slip=True` the output bias gets the gradient of the chapter's code, `np.sum(err) / m`,
    which sums over the classes too. Each row of A2 − Y sums to zero, so that bias never changes.
    The default is the correct gradient, D6: `np.sum(err, axis=0) / m`.

    Shapes:  X (m, n), Y (m, k) one-hot, w1 (n, units), b1 (units,), w2 (units, k), b2 (k,)
    Raises:  ValueError for a batch size below 1 and for targets that are not rows
    Source:  the chapter, "multi-class network"
    Example:
        >>> net = MultiClassNetwork(units=4)
        >>> net.init_weights(3, 2)
        >>> a = net.output(net.forpass(np.ones((5, 3))))
        >>> a.shape, a.sum(axis=1).round(6).tolist()
        ((5, 2), [1.0, 1.0, 1.0, 1.0, 1.0])
    """

    def __init__(
        self,
        units: int = 10,
        batch_size: int = 32,
        learning_rate: float = 0.1,
        l1: float = 0,
        l2: float = 0,
        *,
        slip: bool = False,
    ) -> None:
        super().__init__(units, batch_size, learning_rate, l1, l2)
        self.slip = slip

    def init_weights(self, n_features: int, n_classes: int = 1) -> None:
        """w1, then w2, from N(0, 1); biases: zeros. Shapes as in `DualLayer`."""
        # Here the slides seed once: the permutations go on where the weights stopped.
        self._draw_weights(self.random, n_features, n_classes)

    def sigmoid(self, z: FloatArray) -> FloatArray:
        """Call `sigmoid`: the slides' name for the hidden layer's activation."""
        return self.activation(z)

    def softmax(self, z: FloatArray) -> FloatArray:
        """Call `softmax`: the slides' name for the output layer's activation."""
        return softmax(z)

    def output(self, z: FloatArray) -> FloatArray:
        """softmax(Z2): probabilities that add up to 1 in each row."""
        return self.softmax(z)

    def backprop(self, x: FloatArray, err: FloatArray) -> tuple[FloatArray, ...]:
        """D5–D8 as in `DualLayer.backprop`: softmax with cross-entropy leaves E = A2 − Y too (D12).

        Shapes:  X (m, n), E (m, k) -> w1 (n, units), b1 (units,), w2 (units, k), b2 (k,)
        """
        w1_grad, b1_grad, w2_grad, b2_grad = super().backprop(x, err)
        if self.slip:
            b2_grad = np.full_like(b2_grad, np.sum(err) / len(x))
        return w1_grad, b1_grad, w2_grad, b2_grad

    def targets(self, y: Array) -> Array:
        """Return Y, which must have a column for each class."""
        if np.ndim(y) != 2:
            raise ValueError(
                "y must be one-hot, shape (m, number of classes), "
                f"got {np.shape(y)}; np.eye(number_of_classes)[labels] makes rows of labels"
            )
        return np.asarray(y)

    def data_loss(self, a: FloatArray, y: Array) -> float:
        """D10: cross-entropy −Σ Y log A, summed over samples and classes."""
        return float(-np.sum(y * np.log(np.clip(a, TINY, 1 - TINY))))

    def end_epoch(self) -> None:
        """Print a dot an epoch, as on the slides."""
        print(".", end="", flush=True)

    def predict(self, x: FloatArray) -> Array:
        """Return the class of the largest Z2.

        Shapes:  (m, n) -> (m,), integers
        """
        labels: Array = np.argmax(self.forpass(x), axis=1)
        return labels

    def score(self, x: FloatArray, y: Array) -> float:
        """Return the fraction of samples that are predicted correctly."""
        return float(np.mean(self.predict(x) == np.argmax(self.targets(y), axis=1)))


def single_gradients(
    X: FloatArray, Y: Array, W: FloatArray, b: FloatArray, l1: float = 0, l2: float = 0
) -> tuple[FloatArray, FloatArray]:
    """∂L/∂W = XᵀE/m + (l1·sign(W) + l2·W)/m, ∂L/∂b = 1ᵀE/m with E = σ(XW + b) − Y.

    L is (Σ binary cross-entropy + l1·Σ|W| + l2/2·ΣW²)/m.

    Shapes:  X (m, n), Y (m, 1), W (n, 1), b (1,) -> (n, 1), (1,)
    Source:  D3, D6, D12
    Example:
        >>> X, Y = np.array([[1.0], [3.0]]), np.array([[1], [0]])
        >>> dW, db = single_gradients(X, Y, np.zeros((1, 1)), np.zeros(1))
        >>> dW.tolist(), db.tolist()
        ([[0.5]], [0.0])
    """
    network = SingleLayer(l1=l1, l2=l2)
    network.w, network.b = W, b
    dW, db = network.gradients(X, Y)[1]
    return dW, db


def dual_gradients(
    X: FloatArray,
    Y: Array,
    W1: FloatArray,
    b1: FloatArray,
    W2: FloatArray,
    b2: FloatArray,
    l1: float = 0,
    l2: float = 0,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """D5–D8 over m, and (l1·sign(W) + l2·W)/m for the weights: sigmoid output.

    L is (Σ binary cross-entropy + l1·Σ|W| + l2/2·ΣW²)/m, over both layers' weights.

    Shapes:  X (m, n), Y (m, 1), W1 (n, h), b1 (h,), W2 (h, 1), b2 (1,)
             -> (n, h), (h,), (h, 1), (1,)
    Source:  D5, D6, D7, D8, D12
    Example:
        >>> parameters = np.ones((3, 2)), np.zeros(2), np.ones((2, 1)), np.zeros(1)
        >>> [g.shape for g in dual_gradients(np.ones((5, 3)), np.ones((5, 1)), *parameters)]
        [(3, 2), (2,), (2, 1), (1,)]
    """
    return _two_layer_gradients(DualLayer(l1=l1, l2=l2), X, Y, W1, b1, W2, b2)


def multi_gradients(
    X: FloatArray,
    Y: Array,
    W1: FloatArray,
    b1: FloatArray,
    W2: FloatArray,
    b2: FloatArray,
    l1: float = 0,
    l2: float = 0,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """D5–D8 over m, and (l1·sign(W) + l2·W)/m for the weights: softmax output.

    L is (Σ cross-entropy + l1·Σ|W| + l2/2·ΣW²)/m, over both layers' weights.

    Shapes:  X (m, n), Y (m, k) one-hot, W1 (n, h), b1 (h,), W2 (h, k), b2 (k,)
             -> (n, h), (h,), (h, k), (k,)
    Source:  D5, D6, D7, D8, D12
    Example:
        >>> parameters = np.ones((3, 2)), np.zeros(2), np.ones((2, 4)), np.zeros(4)
        >>> [g.shape for g in multi_gradients(np.ones((4, 3)), np.eye(4), *parameters)]
        [(3, 2), (2,), (2, 4), (4,)]
    """
    return _two_layer_gradients(MultiClassNetwork(l1=l1, l2=l2), X, Y, W1, b1, W2, b2)


def _two_layer_gradients(
    network: DualLayer,
    X: FloatArray,
    Y: Array,
    W1: FloatArray,
    b1: FloatArray,
    W2: FloatArray,
    b2: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    network.w1, network.b1, network.w2, network.b2 = W1, b1, W2, b2
    dW1, db1, dW2, db2 = network.gradients(X, Y)[1]
    return dW1, db1, dW2, db2
