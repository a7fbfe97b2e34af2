"""`python -m benchmarks peers`: the same training step by hand in NumPy, with us, and in every
framework that is installed.

A contestant trains a network for one epoch over the same batches from the same weights. Before
anything is timed, two epochs of each must give the losses and the weights of the step written by
hand, in float64, where only a mistake could make them differ. Frameworks that are not installed are
listed as left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import nn, optim

from . import cases
from .cases import Array, Network
from .report import RESULTS, keep, timings_table
from .timing import Timing, compare


@dataclass(frozen=True)
class Contestant:
    """One way to train a network, with weights and batches in its own format."""

    epoch: Callable[[], float]  # a step for every batch, in their order; the mean of the losses
    weights: Callable[[], list[Array]]  # W1, b1, W2, b2, … as they are now


# --- NumPy ----------------------------------------------------------------------------------------


def by_hand(network: Network, *, slides: bool, penalties: bool = False) -> Contestant:
    """Train by the slides' formulas D5–D8 for any number of layers: as short as possible, or as on
    the slides, which clip before every exponential and logarithm.

    With `penalties` it is the whole step of the chapter's MinibatchNetwork and MultiClassNetwork,
    which add the slopes of l1·Σ|W| + l2/2·ΣW² to the gradients of all weights, also where
    l1 = l2 = 0, as they are here and there.
    """
    X, Y = network.batches()
    weights = network.weights()
    m, l1, l2 = network.batch, 0, 0

    def sigmoid(z: Array) -> Array:
        return 1 / (1 + np.exp(-np.clip(z, -100, None) if slides else -z))

    def softmax(z: Array) -> Array:
        e: Array = np.exp(np.clip(z, -100, None) if slides else z - z.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1).reshape(-1, 1))

    output = sigmoid if network.k == 1 else softmax

    def step(x: Array, y: Array) -> Any:
        A = [x]
        for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            Z = A[-1] @ W + b
            A.append(sigmoid(Z) if network.hidden == "sigmoid" else np.maximum(Z, 0))
        P = output(A[-1] @ weights[-2] + weights[-1])
        E = P - y
        P = np.clip(P, 1e-10, 1 - 1e-10) if slides else P
        loss = y * np.log(P) if network.k > 1 else y * np.log(P) + (1 - y) * np.log(1 - P)
        for i in reversed(range(len(A))):
            W, b = weights[2 * i : 2 * i + 2]
            W_grad, b_grad = A[i].T @ E / m, E.sum(axis=0) / m
            if penalties:
                W_grad += (l1 * np.sign(W) + l2 * W) / m
            if i:
                slope = A[i] * (1 - A[i]) if network.hidden == "sigmoid" else A[i] > 0
                E = E @ W.T * slope
            W -= network.lr * W_grad
            b -= network.lr * b_grad
        return -loss.sum() / m

    return Contestant(
        lambda: float(sum(map(step, X, Y)) / network.steps), lambda: [w.copy() for w in weights]
    )


def _sigmoid_in_place(z: Array) -> None:
    np.negative(z, z)
    np.exp(z, z)
    np.add(z, 1, z)
    np.reciprocal(z, z)


def _output_in_place(z: Array, y: Array, e: Array, row: Array) -> Any:
    """Write the probabilities over z; return the sum of the losses. e and row are buffers."""
    if z.shape[1] == 1:
        np.multiply(z, y, e)
        total = -np.add.reduce(e, None)
        np.negative(z, z)
        np.exp(z, z)
        np.log1p(z, e)  # −log σ(z), to which (1 − y)z is added
        total += np.add.reduce(e, None)
        np.log(z, e)
        total -= np.add.reduce(e, None)
        np.add(z, 1, z)
        np.reciprocal(z, z)
        return total
    np.maximum.reduce(z, 1, out=row, keepdims=True)
    np.subtract(z, row, z)
    np.multiply(z, y, e)
    total = -np.add.reduce(e, None)
    np.exp(z, z)
    np.add.reduce(z, 1, out=row, keepdims=True)
    np.divide(z, row, z)
    np.log(row, row)
    return total + np.add.reduce(row, None)


def optimised(network: Network) -> Contestant:
    """Train by hand with preallocated arrays: no step allocates memory."""
    X, Y = network.batches()
    weights = network.weights()
    layers = list(zip(weights[::2], weights[1::2], strict=True))
    A = [np.empty((network.batch, n), network.dtype) for n in network.sizes[1:]]
    E = [np.empty_like(a) for a in A]
    slope = [np.empty_like(a) for a in A[:-1]]
    W_grad, b_grad = [np.empty_like(W) for W, _ in layers], [np.empty_like(b) for _, b in layers]
    row = np.empty((network.batch, 1), network.dtype)
    positive = [np.empty(a.shape, bool) for a in A[:-1]]
    rate = np.asarray(network.lr / network.batch, network.dtype)

    def step(x: Array, y: Array) -> Any:
        a = x
        for i, (W, b) in enumerate(layers):
            np.matmul(a, W, A[i])
            a = np.add(A[i], b, A[i])
            if i == len(A) - 1:
                loss = _output_in_place(a, y, E[i], row)
            elif network.hidden == "sigmoid":
                _sigmoid_in_place(a)
            else:
                np.maximum(a, 0, out=a)
        np.subtract(a, y, E[-1])
        for i in reversed(range(len(A))):
            (W, b), e = layers[i], E[i]
            np.matmul((A[i - 1] if i else x).T, e, W_grad[i])
            np.add.reduce(e, 0, out=b_grad[i])
            if i:
                np.matmul(e, W.T, E[i - 1])
                if network.hidden == "sigmoid":
                    np.multiply(A[i - 1], A[i - 1], slope[i - 1])
                    np.subtract(A[i - 1], slope[i - 1], slope[i - 1])
                    np.multiply(E[i - 1], slope[i - 1], E[i - 1])
                else:
                    np.greater(A[i - 1], 0, positive[i - 1])
                    np.multiply(E[i - 1], positive[i - 1], E[i - 1])
            np.multiply(W_grad[i], rate, W_grad[i])
            np.subtract(W, W_grad[i], W)
            np.multiply(b_grad[i], rate, b_grad[i])
            np.subtract(b, b_grad[i], b)
        return loss

    return Contestant(
        lambda: float(sum(map(step, X, Y)) / network.steps / network.batch),
        lambda: [w.copy() for w in weights],
    )


def products(network: Network) -> Callable[[], float]:
    """Compute the matrix products of an epoch only: the minimum that a step needs."""
    X, _ = network.batches()
    W = network.weights()[::2]
    A = [np.full((network.batch, n), 0.5, network.dtype) for n in network.sizes[1:]]
    E = [np.empty_like(a) for a in A]
    W_grad = [np.empty_like(w) for w in W]

    def epoch() -> float:
        for x in X:
            inputs = [x, *A[:-1]]
            for i in range(len(W)):
                np.matmul(inputs[i], W[i], A[i])
            for i in reversed(range(len(W))):
                np.matmul(inputs[i].T, A[i], W_grad[i])
                if i:
                    np.matmul(A[i], W[i].T, E[i - 1])
        return float("nan")  # there is no loss

    return epoch


# --- ours -----------------------------------------------------------------------------------------


def ours(network: Network, backend: str | None = None, whole: bool = False) -> Contestant:
    """Train with modules, a loss, backward and SGD; recorded in every step, or captured in the
    first; called for every batch, or once for the whole epoch.
    """
    X, Y = network.batches()
    modules: list[nn.Module] = []
    for n_in, n_out in zip(network.sizes, network.sizes[1:], strict=False):
        modules += [nn.Linear(n_in, n_out, dtype=network.dtype, rng=0), HIDDEN[network.hidden]()]
    model = nn.Sequential(*modules[:-1])
    for parameter, value in zip(model.parameters(), network.weights(), strict=True):
        parameter.data = value
    optimizer = optim.SGD(model.parameters(), lr=network.lr)
    criterion = tg.binary_cross_entropy_with_logits if network.k == 1 else tg.cross_entropy

    def step(x: Array, y: Array) -> Any:
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    run: Any = tg.compile(step, backend=backend) if backend else step
    if whole:
        x, y = (array.reshape(-1, *array.shape[2:]) for array in (X, Y))
        order = np.arange(len(x)).reshape(network.steps, network.batch)
        return Contestant(
            lambda: float(run.epoch(x, y, order=order).mean()),
            lambda: [np.array(p.data) for p in model.parameters()],
        )
    return Contestant(
        lambda: sum(run(x, y).item() for x, y in zip(X, Y, strict=True)) / network.steps,
        lambda: [np.array(p.data) for p in model.parameters()],
    )


HIDDEN: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}


# --- other frameworks -----------------------------------------------------------------------------


def pytorch(network: Network) -> Contestant:
    """Train with modules, a loss, backward and SGD in PyTorch, eager."""
    import torch
    from torch.nn import functional

    X, Y = (torch.from_numpy(array) for array in network.batches())
    hidden = {"sigmoid": torch.nn.Sigmoid, "relu": torch.nn.ReLU}[network.hidden]
    modules: list[Any] = []
    for n_in, n_out in zip(network.sizes, network.sizes[1:], strict=False):
        modules += [torch.nn.Linear(n_in, n_out, dtype=getattr(torch, network.dtype)), hidden()]
    model = torch.nn.Sequential(*modules[:-1])
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), network.weights(), strict=True):
            parameter.copy_(torch.from_numpy(value.T))  # (n_out, n_in) there
    optimizer = torch.optim.SGD(model.parameters(), lr=network.lr)
    criterion: Any = functional.cross_entropy
    if network.k == 1:
        criterion = functional.binary_cross_entropy_with_logits

    def step(x: Any, y: Any) -> float:
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return Contestant(
        lambda: sum(map(step, X, Y)) / network.steps,
        lambda: [p.detach().numpy().T.copy() for p in model.parameters()],
    )


def jax(network: Network, *, scan: bool) -> Contestant:
    """Train with a pure function that XLA differentiates and compiles: one step, or a whole
    epoch.
    """
    import jax
    import jax.numpy as jnp

    hidden = {"sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu}[network.hidden]

    def mean_loss(weights: Any, x: Any, y: Any) -> Any:
        for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            x = hidden(x @ W + b)
        z = x @ weights[-2] + weights[-1]
        if network.k == 1:
            return jnp.mean(jnp.logaddexp(z, 0) - y * z)
        return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(z), axis=1))

    def step(weights: Any, batch: Any) -> Any:
        loss, gradients = jax.value_and_grad(mean_loss)(weights, *batch)
        return [w - network.lr * g for w, g in zip(weights, gradients, strict=True)], loss

    X, Y = (jnp.asarray(array) for array in network.batches())
    state = [jnp.array(w) for w in network.weights()]
    pairs = list(zip(X, Y, strict=True))
    compiled = jax.jit(partial(jax.lax.scan, step) if scan else step, donate_argnums=0)

    def epoch() -> float:
        nonlocal state
        if scan:
            state, losses = compiled(state, (X, Y))
        else:
            losses = []
            for pair in pairs:
                state, loss = compiled(state, pair)
                losses.append(loss)
        jax.block_until_ready(state)
        return float(np.mean(losses))

    return Contestant(epoch, lambda: [np.array(w) for w in state])


def scikit_learn(network: Network) -> Contestant:
    """Train with `MLPClassifier.partial_fit`, its own loop over the batches of an epoch."""
    from sklearn.neural_network import MLPClassifier  # type: ignore[import-untyped]

    X, Y = network.batches()
    x = X.reshape(-1, network.sizes[0])
    labels = Y.reshape(-1).astype(int) if network.k == 1 else Y.reshape(len(x), -1).argmax(axis=1)
    model = MLPClassifier(
        network.sizes[1:-1],
        {"sigmoid": "logistic"}.get(network.hidden, network.hidden),
        solver="sgd",
        alpha=0,
        batch_size=network.batch,
        learning_rate_init=network.lr,
        momentum=0,
        nesterovs_momentum=False,
        shuffle=False,
    )
    classes = np.arange(max(2, network.k))
    model.partial_fit(
        x, labels, classes=classes
    )  # makes the weights, which are then given their values
    weights = [w for pair in zip(model.coefs_, model.intercepts_, strict=True) for w in pair]
    for w, value in zip(weights, network.weights(), strict=True):
        w[...] = value

    def epoch() -> float:
        model.partial_fit(x, labels)
        return float(model.loss_)

    return Contestant(epoch, lambda: [w.copy() for w in weights])


def mygrad(network: Network) -> Contestant:
    """Train with MyGrad's tensors and an update by hand, as in its examples."""
    import mygrad
    from mygrad.nnet.activations import relu, sigmoid
    from mygrad.nnet.losses import softmax_crossentropy

    X, Y = network.batches()
    labels = Y.argmax(axis=-1)
    weights = [mygrad.tensor(w) for w in network.weights()]
    hidden = {"sigmoid": sigmoid, "relu": relu}[network.hidden]

    def step(x: Array, y: Array, label: Array) -> float:
        a: Any = x
        for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            a = hidden(a @ W + b)
        z = a @ weights[-2] + weights[-1]
        if network.k == 1:
            loss = mygrad.mean(mygrad.logaddexp(z, 0) - y * z)
        else:
            loss = softmax_crossentropy(z, label)
        loss.backward()
        for w in weights:
            w.data -= network.lr * w.grad
            w.null_grad()
        return float(loss.item())

    return Contestant(
        lambda: sum(map(step, X, Y, labels)) / network.steps,
        lambda: [w.data.copy() for w in weights],
    )


def autograd(network: Network) -> Contestant:
    """Train with HIPS autograd: `value_and_grad` of a function of its NumPy."""
    import autograd.numpy as anp
    from autograd import value_and_grad
    from autograd.scipy.special import expit, logsumexp

    X, Y = network.batches()
    weights = network.weights()

    def mean_loss(weights: Any, x: Array, y: Array) -> Any:
        a: Any = x
        for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            z = a @ W + b
            a = expit(z) if network.hidden == "sigmoid" else anp.maximum(z, 0)
        z = a @ weights[-2] + weights[-1]
        if network.k == 1:
            return anp.mean(anp.logaddexp(z, 0) - y * z)
        return -anp.mean(anp.sum(y * (z - logsumexp(z, axis=1, keepdims=True)), axis=1))

    gradient = value_and_grad(mean_loss)

    def step(x: Array, y: Array) -> float:
        loss, gradients = gradient(weights, x, y)
        for w, g in zip(weights, gradients, strict=True):
            w -= network.lr * g
        return float(loss)

    return Contestant(
        lambda: sum(map(step, X, Y)) / network.steps, lambda: [w.copy() for w in weights]
    )


def keras(network: Network, *, way: str) -> Contestant:
    """Train with Keras: `fit` for the epoch, or `train_on_batch` for every batch."""
    import keras

    keras.config.set_floatx(network.dtype)  # of the learning rate too
    X, Y = network.batches()
    last = "sigmoid" if network.k == 1 else "softmax"
    activations = [network.hidden] * (len(network.sizes) - 2) + [last]
    model = keras.Sequential(
        [keras.Input((network.sizes[0],), dtype=network.dtype)]
        + [
            keras.layers.Dense(n, activation, dtype=network.dtype)
            for n, activation in zip(network.sizes[1:], activations, strict=True)
        ]
    )
    model.set_weights(network.weights())
    loss = "binary_crossentropy" if network.k == 1 else "categorical_crossentropy"
    model.compile(keras.optimizers.SGD(network.lr), loss)
    x, y = X.reshape(-1, network.sizes[0]), Y.reshape(-1, network.k)

    def fit() -> float:
        settings = {"batch_size": network.batch, "shuffle": False, "verbose": 0}
        return float(model.fit(x, y, **settings).history["loss"][0])

    def train_on_batch() -> float:
        return float(sum(map(model.train_on_batch, X, Y)) / network.steps)

    return Contestant({"fit": fit, "train_on_batch": train_on_batch}[way], model.get_weights)


# --- all of them ----------------------------------------------------------------------------------

REFERENCE = "plain NumPy"
PEERS: dict[str, Callable[[Network], Contestant]] = {
    REFERENCE: partial(by_hand, slides=False),
    "NumPy as on the slides": partial(by_hand, slides=True),
    "the chapter's NumPy": partial(by_hand, slides=True, penalties=True),
    "NumPy, hand-optimised": optimised,
    "tinygrad_edu, eager": ours,
    "tinygrad_edu, captured, call per step": partial(ours, backend="numpy"),
    "tinygrad_edu, captured": partial(ours, backend="numpy", whole=True),
    "tinygrad_edu, captured, Numba": partial(ours, backend="numba", whole=True),
    "PyTorch, eager": pytorch,
    "JAX, jit per step": partial(jax, scan=False),
    "JAX, lax.scan": partial(jax, scan=True),
    "scikit-learn MLPClassifier": scikit_learn,
    "MyGrad": mygrad,
    "HIPS autograd": autograd,
    "Keras, fit": partial(keras, way="fit"),
    "Keras, train_on_batch": partial(keras, way="train_on_batch"),
}


def contestants(
    network: Network, names: Iterable[str] = PEERS, *, exact: bool = True
) -> tuple[dict[str, Contestant], dict[str, str]]:
    """Return the named peers, after checking that they compute the same; and those left out, with
    the reason.

    exact   in float64 too, where nothing but a mistake could make them differ

    Raises:  AssertionError if the losses or weights of one differ from those by hand
    """
    made, left_out = {}, {}
    precise = replace(network, dtype="float64")
    reference = PEERS[REFERENCE](precise)
    losses = [reference.epoch() for _ in range(2)]
    expected = reference.weights()
    for name in names:
        try:
            if exact:
                with precision("float64"):
                    seen = PEERS[name](precise)
                    losses_seen = [seen.epoch() for _ in range(2)]
                    _check(name, losses_seen, losses, 1e-6)  # Keras' are float32
                    for got, want in zip(seen.weights(), expected, strict=True):
                        _check(name, got, want, 1e-9)
            with precision(network.dtype):
                made[name] = PEERS[name](network)
                _check(name, [made[name].epoch() for _ in range(2)], losses, 1e-2)
        except ModuleNotFoundError as error:
            left_out[name] = f"{error.name} is not installed"
            continue
        for got, start in zip(made[name].weights(), network.weights(), strict=True):
            assert got.dtype == start.dtype, f"weights of {name} are {got.dtype}"
    return made, left_out


def _check(name: str, got: Any, want: Any, tolerance: float) -> None:
    atol = tolerance * np.abs(want).max()
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=atol, err_msg=name)


@contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Let JAX compute in float64 while the block runs; by default it casts to float32."""
    if dtype != "float64":
        yield
        return
    try:
        from jax import enable_x64
    except ImportError:
        yield
        return
    with enable_x64(True):
        yield


def run(
    names: list[str] | None,
    rounds: int,
    facts: dict[str, Any],
    command: str,
    write: bool,
    suffix: str = "",
) -> int:
    """Measure the named networks (None: all), print the table, and save it on request."""
    timed: dict[str, tuple[dict[str, Timing], str, float | None]] = {}
    left_out: dict[str, str] = {}
    for network in [cases.NETWORKS[name] for name in names or cases.NETWORKS]:
        made, left_out = contestants(network, PEERS)
        epochs = {"the matrix products alone": products(network)}
        epochs |= {name: contestant.epoch for name, contestant in made.items()}
        timings = compare(epochs, rounds=rounds, steps=network.steps)
        timed[f"{network.name}: {network}"] = timings, "", None
    text = [
        timings_table(timed),
        "A step is forward, backward and update on batches that lie ready. The ratio is to the "
        "matrix products alone, within the same round: median and quartiles. Losses and weights "
        "of all were seen to be equal first.",
        *(f"Left out: {name} ({why})." for name, why in left_out.items()),
    ]
    if write:
        from . import pictures

        RESULTS.mkdir(exist_ok=True)
        file = f"peers{suffix}.png"
        pictures.ratios(
            {what: case[0] for what, case in timed.items()}, facts["threads"], RESULTS / file
        )
        text.append(f"![ratio of each contestant to the matrix products]({file})")
    data = {
        "left out": left_out,
        "cases": {what: {n: vars(t) for n, t in case[0].items()} for what, case in timed.items()},
    }
    title = "Training steps in many frameworks"
    keep(f"peers{suffix}", title, "\n\n".join(text), data, facts, command, write=write)
    return 0
