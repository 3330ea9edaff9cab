"""The cross-entropy method over action blocks, for many environments at once.

Sample plans around a Gaussian, imagine them, keep the best, refit the Gaussian, repeat; the answer is the last mean
(Rubinstein 1999; LeWorldModel, arXiv 2603.19312, App. B). Decisions that differ from LeWM's released code: plans are
clipped to the environment's bounds, environments are solved together in large batches, and a block's K actions may
share one vector ("hold"), which makes the search N x A instead of N x K x A dimensional.

Legend: E environments, S samples, N blocks, K control steps per block, A action size, H frames of history, D latent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from jepaflow.common.errors import JepaflowError


@runtime_checkable
class Dynamics(Protocol):
    """What a solver needs of a world model."""

    def rollout(
        self, z: Float[Tensor, "B H D"], past: Float[Tensor, "B P K A"], future: Float[Tensor, "B N K A"]
    ) -> Float[Tensor, "B N D"]:
        """Imagine N model steps."""
        ...


@runtime_checkable
class Cost(Protocol):
    """Scores imagined trajectories."""

    def __call__(self, imagined: Float[Tensor, "R N D"], goal: Float[Tensor, "R D"]) -> Float[Tensor, " R"]:
        """Return one cost per trajectory; lower is better."""
        ...


@dataclass(frozen=True)
class CEMConfig:
    """The solver's budget and search space."""

    samples: int = 128
    """S: plans tried per iteration. LeWM: 300."""
    elites: int = 13
    """Plans that the next Gaussian is fitted to. LeWM: 30."""
    iterations: int = 8
    """LeWM: 30."""
    horizon: int = 5
    """N: blocks that a plan looks ahead."""
    init_std: float = 1.0
    """First standard deviation, in units of the action space's scale."""
    parameters: Literal["full", "hold"] = "full"
    """full: every control step has its own action; hold: the K actions of a block are one vector."""
    rows_per_call: int = 8192
    """Plans imagined in one call of the model: bounds the memory, does not change the answer."""

    def __post_init__(self) -> None:
        """Refuse a budget that cannot be searched with."""
        for name in ("samples", "elites", "iterations", "horizon", "rows_per_call"):
            if getattr(self, name) < 1:
                raise JepaflowError(f"the solver's {name} is {getattr(self, name)}. Give at least 1.")
        if self.elites > self.samples:
            raise JepaflowError(
                f"{self.elites} elites cannot be chosen from {self.samples} samples. Lower --solver.elites."
            )
        if not self.init_std > 0.0:
            raise JepaflowError(f"the solver's init_std is {self.init_std:g}. Give a number above 0.")


@dataclass(frozen=True)
class ActionSpace:
    """Where actions live, in raw dataset units: bounds that are never left, and a search's first Gaussian."""

    low: Float[Tensor, " A"]
    high: Float[Tensor, " A"]
    centre: Float[Tensor, " A"]
    scale: Float[Tensor, " A"]

    @classmethod
    def from_bounds(
        cls,
        low: Float[Tensor, " A"],
        high: Float[Tensor, " A"],
        centre: Float[Tensor, " A"] | None = None,
        scale: Float[Tensor, " A"] | None = None,
    ) -> ActionSpace:
        """Make a space; without the data's `centre` and `scale` (mean, std) the box's middle and half its half-width.

        Raises:
            JepaflowError: bounds that are not finite or hold nothing.
        """
        if not (torch.isfinite(low).all() and torch.isfinite(high).all() and (low < high).all()):
            raise JepaflowError(
                "planning needs finite action bounds with low < high. Give the environment's action box."
            )
        centre = (low + high) / 2 if centre is None else centre.clamp(low, high)
        scale = (high - low) / 4 if scale is None else torch.minimum(scale, high - low)
        return cls(low, high, centre, scale)


@dataclass(frozen=True)
class Plan:
    """A solver's answer for each environment."""

    blocks: Float[Tensor, "E N K A"]
    """The plan: raw actions, inside the bounds."""
    cost: Float[Tensor, " E"]
    """The mean cost of the last iteration's elites."""
    mean: Float[Tensor, "E N P A"]
    """The last Gaussian's mean (P = 1 for "hold", else K): what a warm start continues from."""


@torch.no_grad()
def plan(
    dynamics: Dynamics,
    cost: Cost,
    config: CEMConfig,
    space: ActionSpace,
    block: int,
    z: Float[Tensor, "E H D"],
    past: Float[Tensor, "E P K A"],
    goal: Float[Tensor, "E D"],
    generator: torch.Generator,
    warm: Float[Tensor, "E N Q A"] | None = None,
) -> Plan:
    """Search a plan for each of E environments.

    Args:
        dynamics: the world model, in eval mode.
        cost: scores imagined latents against the goal's.
        config: budget.
        space: bounds and first Gaussian.
        block: K, control steps per block.
        z: latents of the frames seen, oldest first.
        past: the H - 1 blocks executed between them.
        goal: the goal's latent.
        generator: the only source of randomness (on z's device).
        warm: where the search begins instead of the space's centre.

    Raises:
        JepaflowError: every imagined plan of an environment costs NaN or infinity.
    """
    envs, per_block = z.shape[0], (1 if config.parameters == "hold" else block)
    shape = (envs, config.horizon, per_block, space.low.numel())
    mean = space.centre.expand(shape).clone() if warm is None else warm.clone()
    std = (config.init_std * space.scale).expand(shape).clone()
    best = torch.zeros(envs, device=z.device)
    for _ in range(config.iterations):
        noise = torch.randn((envs, config.samples, *shape[1:]), generator=generator, device=z.device)
        noise[:, 0] = 0.0  # candidate 0 is the mean itself: a refit can never lose it unseen
        candidates = (mean[:, None] + std[:, None] * noise).clamp(space.low, space.high)
        costs = _costs(dynamics, cost, config, block, z, past, goal, candidates)
        if not torch.isfinite(costs).any(dim=1).all():
            raise JepaflowError(
                "every imagined plan costs NaN or infinity. The model is damaged or diverged: look at its log."
            )
        best, chosen = costs.topk(config.elites, dim=1, largest=False)
        elites = candidates[torch.arange(envs, device=z.device)[:, None], chosen]
        mean, std = elites.mean(1), elites.std(1, unbiased=False)
    return Plan(_expand(mean, block), best.mean(1), mean)


def _expand(parameters: Float[Tensor, "... P A"], block: int) -> Float[Tensor, "... K A"]:
    """Return all K actions of each block: as they are, or the one held vector repeated."""
    return parameters.expand(*parameters.shape[:-2], block, parameters.shape[-1])


def _costs(
    dynamics: Dynamics,
    cost: Cost,
    config: CEMConfig,
    block: int,
    z: Float[Tensor, "E H D"],
    past: Float[Tensor, "E P K A"],
    goal: Float[Tensor, "E D"],
    candidates: Float[Tensor, "E S N Q A"],
) -> Float[Tensor, "E S"]:
    """Imagine every candidate, a bounded number of rows at a time; what is not finite costs infinity."""
    envs, samples = candidates.shape[:2]
    flat = candidates.flatten(0, 1)
    owner = torch.arange(envs, device=z.device).repeat_interleave(samples)
    parts = []
    for begin in range(0, len(owner), config.rows_per_call):
        rows = slice(begin, begin + config.rows_per_call)
        who = owner[rows]
        imagined = dynamics.rollout(z[who], past[who], _expand(flat[rows], block))
        parts.append(cost(imagined, goal[who]))
    return torch.cat(parts).nan_to_num(nan=torch.inf, posinf=torch.inf).view(envs, samples)
