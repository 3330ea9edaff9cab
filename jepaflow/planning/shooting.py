"""The solvers that do not iterate towards anything: random shooting, and a prior's proposal taken as it is.

Random shooting is the floor that every search must beat at equal budget. The bare proposal is the amortised System 1:
a head that maps (latent, goal) to actions needs no imagination at all.
"""

from __future__ import annotations

import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.problem import Best, Generators, Problem, Solution, Timer, draw, mix


class RandomShooting:
    """Answers with the best of samples x iterations draws from the first Gaussian, the mean and the proposals."""

    def __init__(self, config: SolverConfig) -> None:
        self._config = config

    def solve(self, problem: Problem, generator: Generators, deadline: float | None = None) -> Solution:
        """Search (see `Solver`)."""
        timer, best = Timer(deadline), Best(problem)
        extra, done = problem.legal_proposals(), 0
        while done < self._config.iterations and timer.another():
            noise = draw(generator, problem.mean, self._config.samples)
            if done == 0:
                noise[:, 0] = 0.0
            candidates = mix(problem.clip(problem.mean[:, None] + problem.std[:, None] * noise), extra)
            best.see(candidates, problem.evaluate(candidates))
            extra = extra[:, :0]
            done += 1
        return Solution(best.params, best.cost, best.params, done, best.params, best.cost, extra[:, :0])


class FirstProposal:
    """Answers with the first proposal; nothing is evaluated, so its cost is infinite (unknown)."""

    def solve(self, problem: Problem, generator: Generators, deadline: float | None = None) -> Solution:
        """Take the proposal (see `Solver`).

        Raises:
            JepaflowError: there is none.
        """
        proposals = problem.legal_proposals()
        if proposals.shape[1] == 0:
            raise JepaflowError("--solver.kind proposal acts on a proposal, and there is none. Give a proposer.")
        first = proposals[:, 0]
        unknown = first.new_full((len(first),), torch.inf)
        return Solution(first, unknown, first, 0, first, unknown, proposals[:, :0])
