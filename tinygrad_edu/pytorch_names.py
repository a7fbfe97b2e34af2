"""Suggestions for PyTorch names that do not exist here.

Most of PyTorch's names exist here too. These do not, because NumPy has another name that works on
arrays and tensors, or because there is nothing to do.
"""

from __future__ import annotations

_DTYPE = "t.astype(np.float32) gives another dtype"
_DEVICE = "there is one device, the CPU, and nothing to move"
_IN_PLACE = (
    "nothing is changed in place: t = t + 1 makes a new tensor, w.data = array gives new data"
)
_FROM_NUMPY = "tg.Tensor(np.{}(…)), or the array as it is"

TENSOR = {
    "add": "t + other",
    "clamp": "t.clip(low, high)",
    "clone": "tg.tensor(t.numpy()) copies, nothing is recorded",
    "contiguous": "nothing has to be done: any memory layout will do",
    "cpu": _DEVICE,
    "cuda": _DEVICE,
    "device": _DEVICE,
    "dim": "t.ndim, a number",
    "div": "t / other",
    "double": "t.astype(np.float64)",
    "expand": "np.broadcast_to(t, shape)",
    "float": _DTYPE,
    "half": "t.astype(np.float16)",
    "long": "t.numpy().astype(int): integers have no gradient",
    "masked_fill": "np.where(mask, value, t)",
    "matmul": "t @ other",
    "mm": "t @ other",
    "mul": "t * other",
    "norm": "np.sqrt((t**2).sum())",
    "numel": "t.size, a number",
    "permute": "t.transpose(axes)",
    "pow": "t**k",
    "requires_grad_": "t.requires_grad = True",
    "retain_grad": "tg.grad(loss, t), or t.register_hook(function)",
    "sub": "t - other",
    "t": "t.T",
    "to": f"{_DTYPE}; {_DEVICE}",
    "type": "t.dtype",
    "unsqueeze": "np.expand_dims(t, axis)",
    "view": "t.reshape(shape)",
    "view_as": "t.reshape(other.shape)",
}
MODULE = {
    "add_module": "module.name = other, or setattr",
    "apply": "for module in model.modules(): …",
    "children": "model.modules(), or the attributes themselves",
    "cpu": _DEVICE,
    "cuda": _DEVICE,
    "device": _DEVICE,
    "half": "model.to(np.float16)",
    "named_children": "model.named_modules()",
    "register_buffer": "self.name = nn.Buffer(array): nothing has to be registered",
    "register_forward_hook": "call it in forward",
    "register_parameter": "self.name = nn.Parameter(array): nothing has to be registered",
    "requires_grad_": "for p in model.parameters(): p.requires_grad = False",
}
PACKAGE = {
    **{
        name: _FROM_NUMPY.format(name)
        for name in (
            "arange",
            "empty",
            "eye",
            "full",
            "linspace",
            "ones",
            "ones_like",
            "zeros",
            "zeros_like",
        )
    },
    "autograd": "tg.grad, tg.Function",
    "cat": "tg.concatenate, or np.concatenate",
    "clamp": "tg.clip",
    "device": _DEVICE,
    "cuda": _DEVICE,
    "float32": "np.float32",
    "float64": "np.float64",
    "from_numpy": "tg.Tensor(array), or the array as it is",
    "functional": "the functions of tg: tg.relu, tg.cross_entropy",
    "long": "np.int64",
    "mm": "a @ b",
    "pow": "a**b",
    "rand": "rng.random(shape) of a NumPy Generator",
    "randint": "rng.integers(low, high, shape) of a NumPy Generator",
    "randn": "rng.normal(size=shape) of a NumPy Generator",
    "randperm": "rng.permutation(n)",
    "unsqueeze": "np.expand_dims(t, axis)",
    "utils": "tg.data.minibatches cuts data into batches",
}
NN = {
    "Identity": "leave it out of Sequential",
    "LogSoftmax": "tg.log_softmax in a forward",
    "ModuleDict": "a plain dict of modules is found among the attributes",
    "ModuleList": "a plain list of modules is found among the attributes",
    "ParameterList": "a plain list of parameters is found among the attributes",
    "functional": "the functions of tg: tg.relu, tg.cross_entropy",
    "init": "tg.init",
    "utils": "the gradients are plain arrays: p.grad = p.grad * factor",
    **dict.fromkeys(
        ("RNN", "RNNCell", "GRU", "GRUCell", "LSTM", "LSTMCell"),
        "a class with a loop in forward: docs/custom-layers.md has a recurrent cell",
    ),
}


def missing(what: str, name: str, table: dict[str, str]) -> str:
    """Return the message of an AttributeError, with the name to use if this one is PyTorch's.

    Example:
        >>> missing("a Tensor", "view", TENSOR)
        "a Tensor has no attribute 'view'; here: t.reshape(shape)"
    """
    hint = table.get(name, "")
    if not hint and table is TENSOR and name.endswith("_") and not name.startswith("_"):
        return f"{what} has no attribute {name!r}; {_IN_PLACE}"
    return f"{what} has no attribute {name!r}" + (f"; here: {hint}" if hint else "")
