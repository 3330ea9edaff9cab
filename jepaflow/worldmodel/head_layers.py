"""What the heads on a frozen latent share: a perceptron, scaling of latents, and a strictly monotone table.

Heads see latents as z-scores of the training latents; a direction that hardly moves is not blown up, because its
deviation counts as at least a tenth of the average one.
"""

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from jepaflow.common.errors import JepaflowError
from jepaflow.worldmodel.jepa import Scaler

SMALLEST_SPREAD = 0.1
"""of a latent direction's deviation over the root mean square of all"""
SMALLEST_SLOPE = 0.05
"""of a table, so that a planner's gradient and ranking survive where the data are flat"""


def perceptron(inputs: int, hidden: int, outputs: int, depth: int) -> nn.Sequential:
    """``depth`` hidden layers of Linear, LayerNorm, GELU, then a linear output."""
    layers: list[nn.Module] = []
    for size in [inputs, *[hidden] * (depth - 1)]:
        layers += [nn.Linear(size, hidden), nn.LayerNorm(hidden), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(hidden, outputs))


def fit_latent_scaler(scaler: Scaler, z: Float[Tensor, "n D"]) -> None:
    """Take mean and deviation from latents, in place."""
    std = z.std(0, correction=0)
    typical = std.square().mean().sqrt().clamp_min(1e-6)
    scaler.mean.copy_(z.mean(0))
    scaler.std.copy_(std.clamp_min(float(SMALLEST_SPREAD * typical)))


def require_positive(what: str, **sizes: int) -> None:
    """Refuse sizes below 1.

    Raises:
        JepaflowError: naming the head and the size.
    """
    for name, value in sizes.items():
        if value < 1:
            raise JepaflowError(f"The {what}'s {name} is {value}; it must be at least 1.")


class MonotoneTable(nn.Module):
    """A strictly rising, piecewise linear function through (0, 0); differentiable, the identity until it is fitted."""

    x: Tensor
    y: Tensor

    def __init__(self, knots: int = 25) -> None:
        super().__init__()
        self.register_buffer("x", torch.arange(knots, dtype=torch.float32))
        self.register_buffer("y", torch.arange(knots, dtype=torch.float32))

    def forward(self, values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Look values up; beyond either end the last slope goes on."""
        segment = torch.searchsorted(self.x[1:-1], values.detach().contiguous(), right=True)
        slope = (self.y[1:] - self.y[:-1]) / (self.x[1:] - self.x[:-1])
        return self.y[segment] + (values - self.x[segment]) * slope[segment]

    def fit(self, raw: Float[ndarray, " n"], true: Float[ndarray, " n"]) -> None:
        """Regress ``true`` on ``raw`` (both ≥ 0) by bins of equal count, made monotone (pool adjacent violators)."""
        if len(raw) == 0:
            raise JepaflowError("There is no pair of frames to calibrate a distance on. Record longer episodes.")
        bins = np.array_split(np.argsort(raw, kind="stable"), len(self.x) - 1)
        x = np.array([0.0, *(raw[b].mean() for b in bins if len(b))])
        y = np.array([0.0, *_isotonic(np.array([true[b].mean() for b in bins if len(b)]))])
        scale = max(float(y[-1]), 1e-6) / max(float(x[-1]), 1e-6)
        step = 1e-4 * max(float(x[-1]), 1e-6)
        for i in range(1, len(x)):
            x[i] = max(x[i], x[i - 1] + step)
            y[i] = max(y[i], y[i - 1] + SMALLEST_SLOPE * scale * (x[i] - x[i - 1]))
        while len(x) < len(self.x):  # fewer values than bins: the last slope goes on
            x, y = np.append(x, 2 * x[-1] - x[-2]), np.append(y, 2 * y[-1] - y[-2])
        self.x.copy_(torch.from_numpy(x))
        self.y.copy_(torch.from_numpy(y))


def _isotonic(values: Float[ndarray, " n"]) -> list[float]:
    """Least-squares non-decreasing fit of equally weighted values (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        total, count = float(value), 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            before = pools.pop()
            total, count = total + before[0], count + before[1]
        pools.append((total, count))
    return [total / count for total, count in pools for _ in range(count)]
