"""Settings for all tests: Hypothesis repeats its examples in CI, and looks for new ones else."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tinygrad_edu.recording import ON, current_mode

settings.register_profile("default", max_examples=60, deadline=None)
settings.register_profile("ci", max_examples=60, deadline=None, derandomize=True)
settings.register_profile(
    "long", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
chosen = "ci" if "CI" in os.environ else "default"
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", chosen))


# A shell that runs the tests in the background has them ignore Ctrl-C, and their processes too.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def recording_is_back_to_default() -> Iterator[None]:
    """Reset the recording mode after each test, and fail if the test had changed it."""
    yield
    left = current_mode.get()
    current_mode.set(ON)
    assert left == ON
