"""What a plan costs: how far the imagined latents lie from the goal's latent.

LeWorldModel scores the last imagined latent alone. The optional path term adds the mean over all imagined steps, so
that arriving early and staying pays: in our first measurements this, not a better model, was what made plans hold
their goal (reference/feasibility: "ever" and "at the end" differ a lot).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from jepaflow.common.errors import JepaflowError


@dataclass(frozen=True)
class CostConfig:
    """Weights of the goal's cost."""

    path: float = 0.0
    """Weight of the mean over the plan beside the terminal term's 1."""

    def __post_init__(self) -> None:
        """Refuse a weight that would reward being far away."""
        if not self.path >= 0.0:
            raise JepaflowError(f"the path cost's weight is {self.path:g}. Give a number that is not negative.")


class GoalCost:
    """Terminal latent distance to the goal (LeWM, arXiv 2603.19312), plus `path` times its mean along the plan."""

    def __init__(self, config: CostConfig | None = None) -> None:
        self.config = config or CostConfig()

    def __call__(self, imagined: Float[Tensor, "R N D"], goal: Float[Tensor, "R D"]) -> Float[Tensor, " R"]:
        """Return each trajectory's cost: mean squared difference over D, terminal + path x mean over N."""
        error: Float[Tensor, "R N"] = (imagined - goal[:, None]).square().mean(-1)
        cost = error[:, -1]
        if self.config.path > 0.0:
            cost = torch.add(cost, error.mean(-1), alpha=self.config.path)
        return cost
