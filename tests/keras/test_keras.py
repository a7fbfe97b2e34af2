"""Step for step the same as Keras: held to a recording, and to Keras where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from models.datasets import digits
from tests.tools import keras_runs
from tests.tools.keras_runs import CASES, Case, Run, floatx
from tests.tools.long import one_in


def assert_same(ours: Run, keras: Run, dtype: str) -> None:
    """Equal weights and curves: to rounding in float64, to a few of its digits in float32."""
    weights, curves = (1e-12, 1e-12) if dtype == "float64" else (5e-6, 1e-5)
    assert len(ours.weights) == len(keras.weights)
    for own, theirs in zip(ours.weights, keras.weights, strict=True):
        assert own.dtype == theirs.dtype == dtype
        np.testing.assert_allclose(own, theirs, rtol=0, atol=weights)
    assert ours.history.keys() == keras.history.keys()
    for key, values in keras.history.items():
        np.testing.assert_allclose(ours.history[key], values, rtol=0, atol=curves, err_msg=key)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_we_train_as_keras_did_when_it_was_recorded(case: Case) -> None:
    run = keras_runs.with_us(case)
    assert_same(run, keras_runs.recorded()[case.name], case.dtype)
    moved = np.abs(run.weights[0] - case.weights()[0]).max()
    assert moved > 1e-3  # it is no comparison of what has stayed where it was


def test_the_comparison_sees_another_training() -> None:
    other = Case("sgd", sgd={"lr": 0.1 * (1 + 1e-9)})
    with pytest.raises(AssertionError):
        assert_same(keras_runs.with_us(other), keras_runs.recorded()["sgd"], "float64")


def test_the_recording_is_small() -> None:
    assert keras_runs.RECORDING.stat().st_size < 200_000


class TestLive:
    """Against the Keras that is installed, on TensorFlow."""

    @pytest.fixture(autouse=True)
    def installed(self) -> Any:
        pytest.importorskip("tensorflow")
        return pytest.importorskip("keras")

    @pytest.mark.parametrize("case", one_in(3, CASES), ids=lambda case: case.name)
    def test_keras_trains_as_it_was_recorded_and_as_we_do(self, case: Case) -> None:
        live = keras_runs.with_keras(case)
        assert_same(keras_runs.recorded()[case.name], live, case.dtype)
        assert_same(keras_runs.with_us(case), live, case.dtype)

    @pytest.mark.parametrize("case", one_in(3, CASES), ids=lambda case: case.name)
    def test_a_model_that_is_brought_over_goes_on_as_it_was_compiled(self, case: Case) -> None:
        with floatx(case.dtype):
            twin = keras_runs.keras_model(case)
            x, y, *validation = case.data()
            settings: dict[str, Any] = {
                "batch_size": case.batch_size,
                "shuffle": False,
                "verbose": 0,
                "validation_data": tuple(validation),
            }
            twin.fit(x, y, **settings)  # momentum has gathered by now
            model, compiled = tg.from_keras(twin, settings=True)
            history = twin.fit(x, y, epochs=2, **settings).history
        ours = tg.fit(model, x, y, epochs=2, **compiled, **settings).history
        assert_same(
            Run(ours, [np.array(p.data) for p in model.parameters()]),
            Run(history, twin.get_weights()),
            case.dtype,
        )

    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    def test_a_hundred_steps_of_the_chapters_network(self, dtype: str) -> None:
        # The whole of it takes minutes: python -m benchmarks keras --model S6 --dtype float64
        import keras

        rng = np.random.default_rng(0)
        split = digits(dtype=dtype)
        with floatx(dtype):
            twin = keras.Sequential(
                [
                    keras.Input((64,)),
                    keras.layers.Dense(100, "sigmoid"),
                    keras.layers.Dense(10, "softmax"),
                ]
            )
            twin.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
            model, compiled = tg.from_keras(twin, settings=True)
            history = None
            curves: dict[str, list[float]] = {}
            for _ in range(3):
                order = rng.permutation(len(split.x_train))
                x, y = split.x_train[order], split.y_train[order]
                settings: dict[str, Any] = {
                    "shuffle": False,
                    "verbose": 0,
                    "validation_data": (split.x_val, split.y_val),
                }
                for key, values in twin.fit(x, y, **settings).history.items():
                    curves.setdefault(key, []).extend(values)
                epochs = 1 if history is None else len(history.epoch) + 1
                history = tg.fit(
                    model, x, y, epochs=epochs, history=history, **compiled, **settings
                )
            assert history is not None
            run = Run(history.history, [np.array(p.data) for p in model.parameters()])
            assert_same(run, Run(curves, twin.get_weights()), dtype)
            probabilities = twin.predict(split.x_val, verbose=0)
        np.testing.assert_allclose(tg.predict(model, split.x_val), probabilities, atol=1e-5)
