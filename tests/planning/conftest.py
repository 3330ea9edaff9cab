"""Worlds whose best plan is known by calculation, with a model's `rollout`."""

import torch
from torch import Tensor

from jepaflow.planning.config import SolverConfig
from jepaflow.planning.cost import Cost, GoalCost
from jepaflow.planning.goal import Goal
from jepaflow.planning.planner import Dynamics, Plan, Planner, Situation
from jepaflow.planning.space import ActionSpace

BOX = ActionSpace.from_bounds(-torch.ones(2), torch.ones(2))


class LinearWorld:
    """z' = z + gain * (sum of the block's actions): the optimum of every cost below can be written down."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain, self.rows = gain, []

    def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """Return the latents (B, N, D) after each block."""
        assert past.shape[1] == z.shape[1] - 1
        self.rows.append(len(z))
        return z[:, -1:] + self.gain * future.sum(2).cumsum(1)


class Reads:
    """The 'latents' are the plan's own actions (B, N, K * A)."""

    def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """Return the flattened plan."""
        return future.flatten(2)


class Quadratic:
    """cost = |actions - optimum|^2, whatever the goal; the optimum is (N, K, A)."""

    def __init__(self, optimum: Tensor) -> None:
        self.optimum = optimum

    def __call__(self, imagined: Tensor, actions: Tensor, goal: Goal, owner: Tensor) -> Tensor:
        """Return the squared distance of the plan to the optimum."""
        return (actions - self.optimum).square().sum((1, 2, 3))


def generator(seed: int = 0) -> torch.Generator:
    """Return a seeded generator."""
    return torch.Generator().manual_seed(seed)


def situation(goal: Tensor, z: Tensor | None = None, start: Tensor | None = None, block: int = 2) -> Situation:
    """Return the beginning of an episode at latents z (zeros) with the last actions `start` (zeros)."""
    z = torch.zeros_like(goal) if z is None else z
    start = torch.zeros(len(goal), 2) if start is None else start
    return Situation(z[:, None], torch.zeros(len(goal), 0, block, start.shape[1]), start, Goal(goal[:, None]))


def solve(
    dynamics: Dynamics,
    goal: Tensor,
    config: SolverConfig,
    cost: Cost | None = None,
    z: Tensor | None = None,
    block: int = 2,
    seed: int = 0,
    warm: Tensor | None = None,
    space: ActionSpace = BOX,
) -> Plan:
    """Plan from z (zeros) towards goals (E, D)."""
    planner = Planner(dynamics, cost or GoalCost(), space, block, config)
    return planner.plan(situation(goal, z, block=block), generator(seed), warm)


def solve_quadratic(optimum: Tensor, config: SolverConfig, seed: int = 0, space: ActionSpace = BOX) -> Plan:
    """Plan where the best plan is `optimum` (N, K, A)."""
    goal, start = torch.zeros(1, 1), torch.zeros(1, optimum.shape[-1])
    planner = Planner(Reads(), Quadratic(optimum), space, optimum.shape[1], config)
    return planner.plan(situation(goal, start=start, block=optimum.shape[1]), generator(seed))
