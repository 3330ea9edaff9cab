"""What a plan should reach: one latent, several latents (pictures of the same goal), a probe's reading, or both.

A probe target says what a picture cannot say alone ("gripper at x, y, z, whatever the object does"): a linear map from
the latent to quantities with units, fitted on a frozen model.

Legend: E environments, G goal latents each, D latent, Q probed quantities, R rows (one imagined plan each).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from jepaflow.common.errors import JepaflowError


@dataclass(frozen=True)
class Probe:
    """quantities = weight @ latent + bias."""

    weight: Float[Tensor, "Q D"]
    bias: Float[Tensor, " Q"]
    scale: Float[Tensor, " Q"]
    """The size of an error that counts as 1, in the quantity's unit."""

    def __call__(self, z: Float[Tensor, "... D"]) -> Float[Tensor, "... Q"]:
        """Return what the probe reads."""
        return z @ self.weight.mT + self.bias


@dataclass(frozen=True)
class Goal:
    """The goals of E environments.

    Raises:
        JepaflowError: there is neither a latent nor a target, or a target without its probe.
    """

    latents: Float[Tensor, "E G D"] | None = None
    reduce: Literal["mean", "nearest"] = "mean"
    """Of several latents: be near all of them on average, or near any one."""
    probe: Probe | None = None
    target: Float[Tensor, "E Q"] | None = None
    """What the probe should read; NaN where it does not matter."""

    def __post_init__(self) -> None:
        """Refuse a goal that says nothing."""
        if self.latents is None and self.target is None:
            raise JepaflowError("the goal is empty. Give goal pictures, latents or a probe target.")
        if (self.probe is None) != (self.target is None):
            raise JepaflowError("a probe target needs its probe and a probe its target. Give both or neither.")
        if self.target is not None and not torch.isfinite(self.target).any(dim=1).all():
            raise JepaflowError("a probe target has no finite number. Give at least one quantity to reach.")

    def __len__(self) -> int:
        known = self.target if self.latents is None else self.latents
        assert known is not None
        return len(known)

    def centre(self) -> Float[Tensor, "E D"]:
        """Return one latent per environment: the mean of its goal latents.

        Raises:
            JepaflowError: the goal is a probe target alone.
        """
        if self.latents is None:
            raise JepaflowError("this goal is a probe target without a latent. Give a goal picture as well.")
        return self.latents.mean(1)
