"""The one protocol of all solvers: a `Problem` in, a `Solution` out; models, costs and pictures are not their matter.

A problem is a box of numbers per environment with a function that prices them. Everything is batched over
environments: a solver handles E searches at once, each with its own Gaussian, elites and best plan, and never lets one
influence another. Randomness comes from the given generator alone; with one generator for all, environment e draws
other numbers than it would alone, with one generator per environment it draws the same.

Legend: E environments, S samples, M proposals, N blocks, P parameters per block, A action size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from jepaflow.common.errors import JepaflowError

Generators = torch.Generator | Sequence[torch.Generator]
"""One for all environments, or one each."""


@dataclass(frozen=True)
class Problem:
    """What to search."""

    evaluate: Callable[[Float[Tensor, "E S N P A"]], Float[Tensor, "E S"]]
    """The price of each candidate; what is not finite is infinite. Differentiable where gradients are enabled."""
    mean: Float[Tensor, "E N P A"]
    std: Float[Tensor, "E N P A"]
    low: Float[Tensor, " A"]
    high: Float[Tensor, " A"]
    proposals: Float[Tensor, "E M N P A"] | None = None
    """Candidates from elsewhere, best first. They replace the last samples of the first iteration: all that fit beside
    one sample are tried."""

    def clip(self, parameters: Float[Tensor, "... A"]) -> Float[Tensor, "... A"]:
        """Return parameters inside the box."""
        return parameters.clamp(self.low, self.high)

    def legal_proposals(self) -> Float[Tensor, "E M N P A"]:
        """Return the proposals inside the box, numbers that are NaN replaced by the mean's; M may be 0."""
        if self.proposals is None:
            return self.mean[:, None][:, :0]
        centre = self.mean[:, None]
        return self.clip(torch.where(self.proposals.isnan(), centre, self.proposals))


@dataclass(frozen=True)
class Solution:
    """What was found."""

    params: Float[Tensor, "E N P A"]
    """The answer, inside the problem's box."""
    cost: Float[Tensor, " E"]
    """Its cost; of an answer that is a mean, the mean cost of the candidates that it summarises; infinite if nothing
    was evaluated."""
    mean: Float[Tensor, "E N P A"]
    """Where a warm start continues from."""
    iterations: int
    """Iterations done; fewer than configured when the deadline came."""
    best: Float[Tensor, "E N P A"]
    """The best candidate ever evaluated (the clipped first mean if there was none)."""
    best_cost: Float[Tensor, " E"]
    elites: Float[Tensor, "E Q N P A"]
    """Candidates worth proposing to the next search; Q may be 0."""


@runtime_checkable
class Solver(Protocol):
    """Searches."""

    def solve(self, problem: Problem, generator: Generators, deadline: float | None = None) -> Solution:
        """Search until done, or until the next iteration would end after `deadline` (`time.perf_counter()`, seconds).

        Raises:
            JepaflowError: every candidate of an environment costs NaN or infinity.
        """
        ...


class Timer:
    """Tells before each iteration whether it can be expected to end in time: if it takes as long as the last one."""

    def __init__(self, deadline: float | None) -> None:
        self._deadline, self._began = deadline, time.perf_counter()
        self._first = True

    def another(self) -> bool:
        """Return whether there is time for another iteration."""
        now = time.perf_counter()
        took = 0.0 if self._first else now - self._began
        self._began, self._first = now, False
        return self._deadline is None or now + took < self._deadline


class Best:
    """The best candidate that each environment has ever seen."""

    def __init__(self, problem: Problem) -> None:
        self.params = problem.clip(problem.mean)
        self.cost = self.params.new_full((len(self.params),), torch.inf)

    def see(self, candidates: Float[Tensor, "E S N P A"], costs: Float[Tensor, "E S"]) -> None:
        """Take in evaluated candidates.

        Raises:
            JepaflowError: an environment has no candidate of finite cost.
        """
        if not torch.isfinite(costs).any(dim=1).all():
            raise JepaflowError(
                "every imagined plan costs NaN or infinity. The model is damaged or diverged: look at its log."
            )
        cost, index = costs.min(1)
        better = cost < self.cost
        self.cost = torch.where(better, cost, self.cost)
        self.params = torch.where(better[:, None, None, None], pick(candidates, index[:, None])[:, 0], self.params)


def draw(generator: Generators, mean: Float[Tensor, "E N P A"], samples: int) -> Float[Tensor, "E S N P A"]:
    """Return standard normal numbers for `samples` candidates per environment.

    Raises:
        JepaflowError: there are several generators, but not one per environment.
    """
    envs, *shape = mean.shape
    if isinstance(generator, torch.Generator):
        return torch.randn((envs, samples, *shape), generator=generator, device=mean.device)
    if len(generator) != envs:
        raise JepaflowError(f"{len(generator)} generators do not fit {envs} environments. Give one, or one each.")
    return torch.stack([torch.randn((samples, *shape), generator=own, device=mean.device) for own in generator])


def pick(candidates: Float[Tensor, "E S N P A"], index: Int[Tensor, "E Q"]) -> Float[Tensor, "E Q N P A"]:
    """Return each environment's chosen candidates."""
    return candidates[torch.arange(len(index), device=index.device)[:, None], index]


def mix(samples: Float[Tensor, "E S N P A"], extra: Float[Tensor, "E M N P A"]) -> Float[Tensor, "E S N P A"]:
    """Return the samples with the last of them replaced by `extra`; one sample, the mean, always stays."""
    kept = max(1, samples.shape[1] - extra.shape[1])
    return torch.cat([samples[:, :kept], extra[:, : samples.shape[1] - kept]], 1) if extra.shape[1] else samples
