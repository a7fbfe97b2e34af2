"""tinygrad_edu: reverse-mode automatic differentiation on NumPy; its engine is read in one sitting.

engine     record what is computed, and sweep back over the record; gradients: backward, grad
ops        every differentiable function with its rule; windows: convolution and pooling
losses     cross-entropy and other losses, each with the short rule of the slides
tensor     Tensor: operators and methods, all from ops; hooks: callbacks for gradients
numpy_functions  the operation for each NumPy function
init       initial weights
module     Module: a function with parameters and buffers
nn         Linear, Sequential, activations, dropout, normalisation, embedding, convolution
optim      SGD, Adam, AdamW; lr_scheduler: learning-rate schedules
data       one-hot rows and mini-batches, images stored as bytes

The other modules read the record, or support the core. They are imported on first use:

explaining  `explain`: the derivation of a gradient, printed and checked
verifying   `verify`: are gradients derived by hand right, and what is wrong with them?
training    `fit`, `evaluate`, `predict`, callbacks, metrics, History
checking    `check_rule`, `gradcheck`, `testing.check_layer`: checks of your operations and layers
pictures    `picture`, `summary`: a picture of a recorded graph, a table of a model
capturing   `compile`: a training step as a straight-line program, by NumPy or Numba
keras       `from_keras`, `to_keras`: conversion of networks
threads     how many threads matrix products use
saving      `save`, `load`, checkpoints, written atomically (files)
anomaly     `detect_anomaly`, `first_nonfinite`: where the first NaN was computed
function    Function, with `forward(ctx, …)` and `backward(ctx, g)`
naming      names of tensors in formulas and pictures (frames: local variables)
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import data, init, linalg, losses, nn, ops, optim, pytorch_names, windows
from .engine import primitive
from .gradients import grad
from .init import manual_seed
from .losses import *
from .ops import *
from .recording import no_grad
from .tensor import Buffer, Parameter, Tensor, tensor  # the module is tinygrad_edu.tensor too
from .windows import *

if TYPE_CHECKING:
    from . import threads
    from .anomaly import detect_anomaly, first_nonfinite
    from .capture_gate import CannotCapture, StaleStep
    from .capturing.compiled import compile
    from .checking import testing
    from .checking.gradients import GradientError, gradcheck
    from .checking.rules import check_rule
    from .explaining.explanation import Explanation, explain
    from .function import Function
    from .keras.bridges import from_keras, to_keras
    from .pictures.picture import Picture, picture
    from .pictures.summary import Summary, summary
    from .saving import load, load_checkpoint, save, save_checkpoint
    from .training import callbacks, metrics
    from .training.fitting import evaluate, fit, predict
    from .training.history import History
    from .training.loop import NonFiniteLoss
    from .verifying.problems import CannotCheck
    from .verifying.report import Report
    from .verifying.verification import assert_right, verify

__version__ = "0.1.0"

__all__ = [
    "Buffer",
    "CannotCapture",
    "CannotCheck",
    "Explanation",
    "Function",
    "GradientError",
    "History",
    "NonFiniteLoss",
    "Parameter",
    "Picture",
    "Report",
    "StaleStep",
    "Summary",
    "Tensor",
    "assert_right",
    "callbacks",
    "check_rule",
    "compile",
    "data",
    "detect_anomaly",
    "evaluate",
    "explain",
    "first_nonfinite",
    "fit",
    "from_keras",
    "grad",
    "gradcheck",
    "init",
    "linalg",
    "load",
    "load_checkpoint",
    "manual_seed",
    "metrics",
    "nn",
    "no_grad",
    "optim",
    "picture",
    "predict",
    "primitive",
    "save",
    "save_checkpoint",
    "summary",
    "tensor",
    "testing",
    "threads",
    "to_keras",
    "verify",
]
__all__ += losses.__all__
__all__ += ops.__all__
__all__ += windows.__all__

# The modules of names that are imported on first use.
_LATER = {
    "explaining.explanation": ["Explanation", "explain"],
    "verifying.verification": ["assert_right", "verify"],
    "verifying.report": ["Report"],
    "verifying.problems": ["CannotCheck"],
    "training.fitting": ["evaluate", "fit", "predict"],
    "training.loop": ["NonFiniteLoss"],
    "training.history": ["History"],
    "checking.rules": ["check_rule"],
    "checking.gradients": ["GradientError", "gradcheck"],
    "pictures.picture": ["Picture", "picture"],
    "pictures.summary": ["Summary", "summary"],
    "saving": ["load", "load_checkpoint", "save", "save_checkpoint"],
    "keras.bridges": ["from_keras", "to_keras"],
    "capturing.compiled": ["compile"],
    "capture_gate": ["CannotCapture", "StaleStep"],
    "anomaly": ["detect_anomaly", "first_nonfinite"],
    "function": ["Function"],
}
_MODULES = {
    "callbacks": "training.callbacks",
    "metrics": "training.metrics",
    "testing": "checking.testing",
    "threads": "threads",
}
_MODULE_OF = {name: module for module, names in _LATER.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a module on first use of one of its names, which keeps `import tinygrad_edu` fast."""
    if name in _MODULES:
        return import_module(f"{__name__}.{_MODULES[name]}")
    if name not in _MODULE_OF:
        told = pytorch_names.missing(f"module {__name__!r}", name, pytorch_names.PACKAGE)
        raise AttributeError(told, name=name, obj=sys.modules[__name__])
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    """Return all public names, also those not imported yet, for `dir` and completion."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
