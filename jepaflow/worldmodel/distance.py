"""Temporal distance: how many model steps lie between two latents, in this order.

A perceptron on the frozen latent, trained on pairs of one episode, gives a distribution over 0 … cap model steps; a
distribution, because the same pair of pictures may lie few or many steps apart. Its expectation goes through a monotone
table fitted on episodes that the head has not seen. The answer is what the recorded behaviour needed, not the shortest
way. Beside it stands the symmetric baseline, Euclidean distance of the latents through the same kind of table.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from jepaflow.worldmodel.head_layers import MonotoneTable, perceptron, require_positive
from jepaflow.worldmodel.jepa import Scaler


@dataclass(frozen=True)
class DistanceConfig:
    """Sizes of the head."""

    latent_dim: int
    """D"""
    cap: int = 20
    """the largest distance told apart, in model steps; pairs of different episodes count as this far"""
    hidden: int = 256
    depth: int = 3

    def __post_init__(self) -> None:
        require_positive("distance head", **self.__dict__)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DistanceConfig":
        """Rebuild from the JSON of ``dataclasses.asdict``."""
        return cls(**values)


class TemporalDistance(nn.Module):
    """The head: callable on latents of any leading shape, differentiable."""

    def __init__(self, config: DistanceConfig) -> None:
        super().__init__()
        self.config = config
        self.latent_scaler = Scaler(config.latent_dim)
        self.net = perceptron(3 * config.latent_dim, config.hidden, config.cap + 1, config.depth)
        self.table = MonotoneTable()

    def forward(self, a: Float[Tensor, "*#batch D"], b: Float[Tensor, "*#batch D"]) -> Float[Tensor, "..."]:
        """Model steps from ``a`` to ``b``, calibrated; the leading shapes are broadcast."""
        steps: Tensor = self.table(self.expected(a, b))
        return steps

    def logits(self, a: Float[Tensor, "*#batch D"], b: Float[Tensor, "*#batch D"]) -> Float[Tensor, "... C"]:
        """Unnormalised log-probabilities of 0 … cap model steps."""
        a, b = self.latent_scaler(a), self.latent_scaler(b)
        change = b - a
        out: Tensor = self.net(torch.cat([a.expand_as(change), b.expand_as(change), change], -1))
        return out

    def expected(self, a: Float[Tensor, "*#batch D"], b: Float[Tensor, "*#batch D"]) -> Float[Tensor, "..."]:
        """Expectation before calibration, in model steps."""
        bins = torch.arange(self.config.cap + 1, device=a.device, dtype=a.dtype)
        return self.logits(a, b).softmax(-1) @ bins

    def loss(self, a: Float[Tensor, "B D"], b: Float[Tensor, "B D"], steps: Float[Tensor, " B"]) -> Float[Tensor, ""]:
        """Cross entropy; a distance between two whole numbers of model steps is shared by both."""
        low = steps.clamp(0, self.config.cap).floor()
        share = (steps.clamp(0, self.config.cap) - low)[:, None]
        target = torch.zeros(len(steps), self.config.cap + 1, device=steps.device)
        target.scatter_add_(1, low.long()[:, None], 1 - share)
        target.scatter_add_(1, (low.long()[:, None] + 1).clamp(max=self.config.cap), share)
        return nn.functional.cross_entropy(self.logits(a, b), target)

    def calibrate(self, a: Float[Tensor, "n D"], b: Float[Tensor, "n D"], steps: Float[ndarray, " n"]) -> None:
        """Fit the table on pairs whose distance is known."""
        with torch.no_grad():
            self.table.fit(self.expected(a, b).cpu().numpy().astype(np.float64), steps.astype(np.float64))


class LatentDistance(nn.Module):
    """The baseline: root mean square difference of two latents, mapped to model steps; symmetric."""

    def __init__(self) -> None:
        super().__init__()
        self.table = MonotoneTable()

    def forward(self, a: Float[Tensor, "*#batch D"], b: Float[Tensor, "*#batch D"]) -> Float[Tensor, "..."]:
        """Model steps between ``a`` and ``b``; the leading shapes are broadcast."""
        steps: Tensor = self.table(self.expected(a, b))
        return steps

    def expected(self, a: Float[Tensor, "*#batch D"], b: Float[Tensor, "*#batch D"]) -> Float[Tensor, "..."]:
        """Root mean square difference; smooth where both are equal, so that its gradient is never NaN."""
        return ((a - b).square().mean(-1) + 1e-12).sqrt()

    def calibrate(self, a: Float[Tensor, "n D"], b: Float[Tensor, "n D"], steps: Float[ndarray, " n"]) -> None:
        """Fit the table on pairs whose distance is known."""
        with torch.no_grad():
            self.table.fit(self.expected(a, b).cpu().numpy().astype(np.float64), steps.astype(np.float64))
