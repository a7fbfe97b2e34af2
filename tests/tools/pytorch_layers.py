"""The examples of docs/custom-layers.md as one writes them in PyTorch: what their lines are
counted beside, and what their numbers are compared with."""

# mypy: allow-subclassing-any, allow-untyped-decorators, no-warn-unused-ignores

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        s = torch.sigmoid(x)
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, s = ctx.saved_tensors
        return g * (s + x * s * (1 - s))


class WeightNorm(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.V = nn.Parameter(torch.randn(n_in, n_out))
        self.g = nn.Parameter(torch.ones(n_out))
        self.b = nn.Parameter(torch.zeros(n_out))

    def forward(self, X: Any) -> Any:
        W = self.g * self.V / torch.sqrt((self.V**2).sum(0))
        return X @ W + self.b


class Dropout(nn.Module):
    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Any) -> Any:
        if not self.training:
            return x
        return x * (torch.rand_like(x) >= self.p) / (1 - self.p)


class BatchNorm1d(nn.Module):
    def __init__(self, n: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(n)), nn.Parameter(torch.zeros(n))
        self.running_mean, self.running_var = nn.Buffer(torch.zeros(n)), nn.Buffer(torch.ones(n))

    def forward(self, x: Any) -> Any:
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean(0), x.var(0, unbiased=False)
            with torch.no_grad():
                for old, new in ((self.running_mean, mean), (self.running_var, x.var(0))):
                    old.lerp_(new, self.momentum)
        return (x - mean) / torch.sqrt(var + self.eps) * self.weight + self.bias


class LayerNorm(nn.Module):
    def __init__(self, n: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(n)), nn.Parameter(torch.zeros(n))

    def forward(self, x: Any) -> Any:
        mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        return (x - mean) / torch.sqrt(var + self.eps) * self.weight + self.bias


class Embedding(nn.Module):
    def __init__(self, n: int, d: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n, d))

    def forward(self, indices: Any) -> Any:
        return self.weight[indices]


class Conv2d(nn.Module):
    def __init__(self, c: int, o: int, k: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(o, c, k, k)))
        self.bias = nn.Parameter(torch.zeros(o, 1, 1))

    def forward(self, x: Any) -> Any:
        patches = x.unfold(2, self.weight.shape[2], 1).unfold(3, self.weight.shape[3], 1)
        return torch.einsum("mchwij,ocij->mohw", patches, self.weight) + self.bias


class MaxPool2d(nn.Module):
    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, x: Any) -> Any:
        patches = x.unfold(2, self.k, self.k).unfold(3, self.k, self.k)
        return patches.amax((-2, -1))


class Recurrent(nn.Module):
    def __init__(self, n_in: int, n: int) -> None:
        super().__init__()
        self.Wx = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n_in, n)))
        self.Wh = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n, n)))
        self.b = nn.Parameter(torch.zeros(n))

    def forward(self, X: Any) -> Any:
        H = torch.zeros(len(X), len(self.b), dtype=X.dtype)
        for t in range(X.shape[1]):
            H = torch.tanh(X[:, t] @ self.Wx + H @ self.Wh + self.b)
        return H


def huber(prediction: Any, target: Any) -> Any:
    e = torch.abs(prediction - target)
    return torch.where(e < 1, e**2 / 2, e - 0.5).mean()


def he_normal(weight: Any) -> Any:
    with torch.no_grad():
        return weight.normal_(0, (2 / weight.shape[1]) ** 0.5)


class RMSprop(torch.optim.Optimizer):
    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override, unused-ignore]
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    v = self.state[w].setdefault("v", torch.zeros_like(w))
                    v.mul_(0.99).add_(0.01 * w.grad**2)
                    w -= group["lr"] * w.grad / (torch.sqrt(v) + 1e-8)


class Warmup(torch.optim.lr_scheduler.LRScheduler):
    def get_lr(self) -> Any:
        t = self.last_epoch
        return [base * min((t + 1) / 4, (4 / (t + 1)) ** 0.5) for base in self.base_lrs]
