"""What a plan costs; every cost has the same call, so costs add up (`WeightedSum`).

LeWorldModel (arXiv 2603.19312) scores the distance of the last imagined latent to the goal's alone. The optional path
term adds the mean over all imagined steps, so that arriving early and staying pays: in our first measurements this,
not a better model, was what made plans hold their goal. The distance itself can be exchanged: plain or weighted
squared error, or a learned head that tells how many steps lie between two latents.

Legend: R rows (one imagined plan each), N blocks, K control steps, A action size, D latent, E environments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.goal import Goal
from jepaflow.planning.space import ActionSpace

Distance = Callable[[Tensor, Tensor], Tensor]
"""(latents [R N D], goal latents [R N D]) -> [R N], not negative; a temporal-distance head is one."""


@runtime_checkable
class Cost(Protocol):
    """Scores imagined plans."""

    def __call__(
        self,
        imagined: Float[Tensor, "R N D"],
        actions: Float[Tensor, "R N K A"],
        goal: Goal,
        owner: Int[Tensor, " R"],
    ) -> Float[Tensor, " R"]:
        """Return one cost per row, lower is better; `owner` is the environment that a row belongs to."""
        ...


@dataclass(frozen=True)
class CostConfig:
    """Weights of the terms beside the terminal distance, whose weight is 1."""

    path: float = 0.0
    """Mean distance to the goal along the plan."""
    effort: float = 0.0
    """Mean squared change from action to action, in units of the actions' scale."""
    limits: float = 0.0
    """Mean squared intrusion into the outer 5 % of the action bounds."""

    def __post_init__(self) -> None:
        """Refuse a weight that would reward what it should punish."""
        for name in ("path", "effort", "limits"):
            if not 0.0 <= getattr(self, name) < torch.inf:
                value = getattr(self, name)
                raise JepaflowError(f"the weight of the {name} cost is {value:g}. Give a number that is not negative.")


def squared_error(imagined: Float[Tensor, "R N D"], goal: Float[Tensor, "R N D"]) -> Float[Tensor, "R N"]:
    """Return the mean squared difference over the latent."""
    return (imagined - goal).square().mean(-1)


class WeightedError:
    """Squared error under a weight per latent dimension [D], or of what a probe matrix [Q D] reads.

    With the probe of an object's place, a goal whose latent differs by the arm's pose alone costs (almost) nothing.
    """

    def __init__(self, weights: Float[Tensor, "*Q D"]) -> None:
        self._weights = weights

    def __call__(self, imagined: Float[Tensor, "R N D"], goal: Float[Tensor, "R N D"]) -> Float[Tensor, "R N"]:
        """Return the weighted mean (vector), or the mean over the probe's readings (matrix)."""
        error = imagined - goal
        if self._weights.ndim == 1:
            return (error.square() * self._weights).sum(-1) / self._weights.sum()
        return (error @ self._weights.mT).square().mean(-1)


class GoalCost:
    """Distance to the goal after the last block, plus `path` times its mean along the plan.

    Args:
        config: the path's weight is used.
        distance: between an imagined latent and a goal's; not used for a probe target.
    """

    def __init__(self, config: CostConfig | None = None, distance: Distance = squared_error) -> None:
        self.config, self._distance = config or CostConfig(), distance

    def __call__(
        self,
        imagined: Float[Tensor, "R N D"],
        actions: Float[Tensor, "R N K A"],
        goal: Goal,
        owner: Int[Tensor, " R"],
    ) -> Float[Tensor, " R"]:
        """Return terminal + path x mean over N."""
        error = self.errors(imagined, goal, owner)
        cost = error[:, -1]
        if self.config.path > 0.0:
            cost = torch.add(cost, error.mean(-1), alpha=self.config.path)
        return cost

    def errors(self, imagined: Float[Tensor, "R N D"], goal: Goal, owner: Int[Tensor, " R"]) -> Float[Tensor, "R N"]:
        """Return the distance to the goal after every block."""
        parts = []
        if goal.latents is not None:
            wanted = goal.latents[owner][:, :, None].expand(-1, -1, imagined.shape[1], -1)
            each = torch.stack([self._distance(imagined, latent) for latent in wanted.unbind(1)])
            parts.append(each.amin(0) if goal.reduce == "nearest" else each.mean(0))
        if goal.probe is not None and goal.target is not None:
            target = goal.target[owner][:, None]
            matters = torch.isfinite(target)
            off = (goal.probe(imagined) - target.nan_to_num(0.0, 0.0, 0.0)) / goal.probe.scale
            parts.append((off.square() * matters).sum(-1) / matters.sum(-1))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


class Effort:
    """Mean squared size of the actions about the centre, or of their changes, in units of the space's scale."""

    def __init__(self, space: ActionSpace, of: Literal["changes", "actions"] = "changes") -> None:
        self._space, self._of = space, of

    def __call__(
        self,
        imagined: Float[Tensor, "R N D"],
        actions: Float[Tensor, "R N K A"],
        goal: Goal,
        owner: Int[Tensor, " R"],
    ) -> Float[Tensor, " R"]:
        """Return the effort; a plan of one action has no changes and costs 0."""
        units = (actions.flatten(1, 2) - self._space.centre) / self._space.scale
        if self._of == "changes":
            units = units.diff(dim=1) if units.shape[1] > 1 else torch.zeros_like(units)
        return units.square().mean((1, 2))


class LimitBarrier:
    """Mean squared intrusion into a margin along the action bounds, as a share of the margin."""

    def __init__(self, space: ActionSpace, margin: float = 0.05) -> None:
        self._space, self._margin = space, margin

    def __call__(
        self,
        imagined: Float[Tensor, "R N D"],
        actions: Float[Tensor, "R N K A"],
        goal: Goal,
        owner: Int[Tensor, " R"],
    ) -> Float[Tensor, " R"]:
        """Return 0 for plans that stay clear of the margin, 1 for those that lie on the bounds in every dimension."""
        place = (actions - self._space.low) / (self._space.high - self._space.low)
        clearance = torch.minimum(place, 1.0 - place) / self._margin
        return (1.0 - clearance).clamp(min=0.0).square().mean((1, 2, 3))


class KeepOut:
    """Stay away from latents: of pictures (`Controller.encode`) or landmarks.

    Args:
        latents: the centres of the regions.
        radius: how far a region reaches, as a root mean square difference over the latent.
    """

    def __init__(self, latents: Float[Tensor, "M D"], radius: float) -> None:
        if not (len(latents) > 0 and 0.0 < radius < torch.inf):
            raise JepaflowError("keep-out needs at least one latent and a radius above 0. Give both.")
        self._latents, self._radius = latents, radius

    def __call__(
        self,
        imagined: Float[Tensor, "R N D"],
        actions: Float[Tensor, "R N K A"],
        goal: Goal,
        owner: Int[Tensor, " R"],
    ) -> Float[Tensor, " R"]:
        """Return the deepest intrusion along the plan: 0 outside, 1 at a region's centre."""
        distance = torch.cdist(imagined.flatten(0, 1), self._latents) / imagined.shape[-1] ** 0.5
        depth: Tensor = (1.0 - distance.amin(1) / self._radius).clamp(min=0.0)
        return depth.view(imagined.shape[:2]).amax(1)


class WeightedSum:
    """Costs added up: `WeightedSum([(1.0, GoalCost()), (0.1, Effort(space))])`."""

    def __init__(self, terms: Sequence[tuple[float, Cost]]) -> None:
        if not terms:
            raise JepaflowError("a sum of no costs ranks nothing. Give at least one term.")
        self.terms = tuple(terms)

    def __call__(
        self,
        imagined: Float[Tensor, "R N D"],
        actions: Float[Tensor, "R N K A"],
        goal: Goal,
        owner: Int[Tensor, " R"],
    ) -> Float[Tensor, " R"]:
        """Return the weighted sum of the terms."""
        weight, cost = self.terms[0]
        total = cost(imagined, actions, goal, owner) if weight == 1.0 else weight * cost(imagined, actions, goal, owner)
        for weight, cost in self.terms[1:]:
            total = torch.add(total, cost(imagined, actions, goal, owner), alpha=weight)
        return total


def make_cost(config: CostConfig, space: ActionSpace, distance: Distance = squared_error) -> Cost:
    """Return the goal's cost with the terms whose weights are not 0."""
    terms: list[tuple[float, Cost]] = [(1.0, GoalCost(config, distance))]
    if config.effort > 0.0:
        terms.append((config.effort, Effort(space)))
    if config.limits > 0.0:
        terms.append((config.limits, LimitBarrier(space)))
    return terms[0][1] if len(terms) == 1 else WeightedSum(terms)
