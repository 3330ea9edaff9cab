"""System 1 as sub-goals want it, and how far along a row of sub-goals it may aim.

The inverse-dynamics head is told how many model steps it has: those that the way takes without dawdling, and a little
fewer, because a planner is in a hurry. Of the sub-goals ahead it aims at the farthest that is surely within reach, not at
the next: a row of frames is a corridor, not a list of stops. What is not reached in time is given up for the next.

A head that answers the same picture with the same action stays for ever where that action leads into a wall (the maze: all
failures). Where a block changed nothing though the aim is not reached (`Stall`), the next block is drawn at random.

Legend: E environments, S sub-goals each, D latent.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.config import ControllerConfig, SolverConfig
from jepaflow.planning.controller import Controller
from jepaflow.planning.proposals import InverseProposals
from jepaflow.planning.space import ActionSpace, make_parameterisation
from jepaflow.subgoals.reachability import Reachability
from jepaflow.training.heads import Heads
from jepaflow.training.latents import Latents
from jepaflow.worldmodel.jepa import JEPA

HASTE = 0.6
"""share of the steps that System 1 is told it has"""
HOLD = 0.6
"""model steps to the aim below which it stays"""
STALLED = 0.3
"""of the median change that a block of the data makes: less is none"""


def system_1(model: JEPA, space: ActionSpace, heads: Heads, reach: Reachability, seed: int = 0) -> Controller:
    """Return the inverse-dynamics head as a controller: its first idea, nothing imagined, anew every block.

    Args:
        model: the run's.
        space: the world's actions, with the run's statistics.
        heads: the run's.
        reach: tells the steps.
        seed: of the controller.
    """
    solver = SolverConfig(kind="proposal", parameters="full", horizon=1)
    parameterisation = make_parameterisation(solver.parameters, space, model.config.block, solver.knots)
    rest = None if heads.inverse.config.change else heads.inverse.rest
    proposer = InverseProposals(
        heads.inverse.propose,
        parameterisation,
        solver.horizon,
        distance=lambda a, b: HASTE * reach.between(a, b),
        dynamics=model,
        seed=seed,
        hold=HASTE * HOLD,  # it is the hurried steps that are compared
        still=rest,
    )
    return Controller(model, space, ControllerConfig(solver=solver, seed=seed), proposer=proposer)


@dataclass(frozen=True)
class AimConfig:
    """When to move on."""

    within: int = 3
    """h, model steps"""
    tau: float = 0.3
    """least P(within h) of what is aimed at ahead, read as the graph's edges are"""
    ahead: int = 10
    """sub-goals that are looked at ahead"""
    arrived: float = 1.0
    """model steps to what is aimed at, below which the next is due however far it is: who waits there stands still"""
    patience: int = 8
    """blocks after which the next sub-goal is due anyway"""

    def __post_init__(self) -> None:
        if min(self.within, self.ahead, self.patience) < 1 or not 0 < self.tau < 1:
            raise JepaflowError("An aim's within, ahead and patience must be at least 1, tau between 0 and 1.")


class Aim:
    """Which sub-goal each environment aims at.

    Args:
        reach: asked every block.
        rows: sub-goals in order, the last is the goal; shorter rows repeat it.
        config: when to move on.
    """

    def __init__(self, reach: Reachability, rows: Float[Tensor, "E S D"], config: AimConfig | None = None) -> None:
        self.reach, self.rows, self.config = reach, rows, config or AimConfig()
        self.at: Int[Tensor, " E"] = torch.zeros(len(rows), dtype=torch.long)
        self.waited: Int[Tensor, " E"] = torch.zeros(len(rows), dtype=torch.long)

    @property
    def given_up(self) -> Int[Tensor, " E"]:
        """Return which environments have waited as long as they may for what they aim at, as 0 and 1."""
        return (self.waited >= self.config.patience).long()

    def look(self, z: Float[Tensor, "E D"]) -> Float[Tensor, "E D"]:
        """Move on where that is due, and return the latents to aim at; once a block."""
        config, last = self.config, self.rows.shape[1] - 1
        every, ahead = torch.arange(len(z)), torch.arange(1, config.ahead + 1)
        candidates = (self.at[:, None] + ahead).clamp(max=last)
        i = every.repeat_interleave(config.ahead)
        log_p = self.reach.log_probabilities(z, self.rows.flatten(0, 1), i, i * (last + 1) + candidates.flatten())
        near = torch.from_numpy(self.reach.within(log_p, config.within) > config.tau).view(candidates.shape)
        best = torch.where(near, candidates, self.at[:, None]).amax(1)
        arrived = self.reach.between(z, self.rows[every, self.at]) <= config.arrived
        due = (best == self.at) & (arrived | (self.given_up > 0))
        best = torch.where(due, (self.at + 1).clamp(max=last), best)
        self.waited = torch.where(best > self.at, 0, self.waited + 1)
        self.at = best
        return self.rows[every, self.at]


class Stall:
    """Notices blocks that changed nothing.

    Args:
        latents: of training episodes; what their blocks change is the measure.
        block: K, control steps in a model step.
    """

    def __init__(self, latents: Latents, block: int) -> None:
        later = np.flatnonzero(latents.corpus.step >= block)
        if len(later) == 0:
            raise JepaflowError("No episode is a block long, so that no change is known. Record longer episodes.")
        change = latents.z[torch.from_numpy(later)] - latents.z[torch.from_numpy(later - block)]
        self.least = STALLED * float(change.norm(dim=1).median())
        self._before: Tensor | None = None

    def begin(self) -> None:
        """Forget the last episode."""
        self._before = None

    def look(self, z: Float[Tensor, "E D"], to_go: Float[Tensor, " E"]) -> Bool[ndarray, " E"]:
        """Return where the last block changed nothing although there are steps to go; once a block."""
        before, self._before = self._before, z
        if before is None:
            return np.zeros(len(z), bool)
        return np.asarray((((z - before).norm(dim=1) < self.least) & (to_go > HOLD)).numpy())
