"""Model predictive path integral control: every candidate counts, with a weight that falls exponentially with its cost.

After Williams et al. 2017 (arXiv 1707.02342), with two habits of TD-MPC2 (arXiv 2310.16828): the standard deviation is
refitted too, and the best plan so far stays a candidate. The temperature is relative to the spread of the costs at
hand, because a latent distance has no unit: the same setting fits every model and every stage of the search.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from jepaflow.planning.config import SolverConfig
from jepaflow.planning.problem import Best, Generators, Problem, Solution, Timer, draw, mix


class MPPI:
    """Answers with the best candidate, which the last but one mean is among, or with the last mean (`config.answer`).

    The mean of good plans need not be a good plan: with displacements that stop at the bounds it often was not.
    """

    def __init__(self, config: SolverConfig) -> None:
        self._config = config

    def solve(self, problem: Problem, generator: Generators, deadline: float | None = None) -> Solution:
        """Search (see `Solver`)."""
        config, timer, best = self._config, Timer(deadline), Best(problem)
        mean, std, cost = problem.mean, problem.std, best.cost
        extra, done = problem.legal_proposals(), 0
        while done < config.iterations and timer.another():
            noise = draw(generator, mean, config.samples)
            noise[:, 0] = 0.0
            candidates = mix(problem.clip(mean[:, None] + std[:, None] * noise), extra)
            costs = problem.evaluate(candidates)
            best.see(candidates, costs)
            weights = softmin(costs, config.temperature)
            shares = weights[..., None, None, None]
            mean = (shares * candidates).sum(1)
            std = (shares * (candidates - mean[:, None]).square()).sum(1).sqrt()
            cost = torch.where(weights > 0.0, weights * costs, 0.0).sum(1)
            extra = best.params[:, None]
            done += 1
        mean = problem.clip(mean)
        answer, price = (best.params, best.cost) if config.answer != "mean" else (mean, cost)
        return Solution(answer, price, mean, done, best.params, best.cost, extra[:, :0])


def softmin(costs: Float[Tensor, "E S"], temperature: float) -> Float[Tensor, "E S"]:
    """Return weights that sum to 1: exp(-cost / (temperature x standard deviation of the finite costs))."""
    finite = torch.isfinite(costs)
    count = finite.sum(1, keepdim=True)
    middle = torch.where(finite, costs, 0.0).sum(1, keepdim=True) / count
    spread = (torch.where(finite, (costs - middle).square(), 0.0).sum(1, keepdim=True) / count).sqrt()
    lowest = costs.amin(1, keepdim=True)
    return torch.softmax(-(costs - lowest) / (temperature * spread).clamp(min=torch.finfo(costs.dtype).tiny), 1)
