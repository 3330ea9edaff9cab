"""Would this plan work? System 1 is imagined walking it from what is seen now, block by block, along the whole chain.

This is what no sum over edges knows: a door that is shut in the present picture stays shut in the imagined latents, and
imagination comes to stand before it. A plan is worth the blocks imagined plus what its walk costs from where the imagination
ended, in model steps: "imagined cost". A plan that imagination cannot follow keeps all of its cost.

Legend: P plans, S sub-goals each, D latent, H history.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.reachability import Reachability
from jepaflow.subgoals.walker import HASTE, Aim, AimConfig
from jepaflow.worldmodel.inverse import InverseDynamics
from jepaflow.worldmodel.jepa import JEPA

CHUNK = 1024


@dataclass(eq=False)
class Foresight:
    """The model's imagination of System 1.

    Args:
        model: the run's, in eval mode.
        head: its inverse dynamics; must not need the last executed action.
        reach: tells steps and what is near.
        low, high: bounds of the actions (A,), dataset units.
        blocks: T, model steps imagined; a plan that arrives earlier stays there.
    """

    model: JEPA
    head: InverseDynamics
    reach: Reachability
    low: Float[Tensor, " A"]
    high: Float[Tensor, " A"]
    blocks: int = 10
    evaluations: int = 0
    """model steps imagined so far"""

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise JepaflowError(f"{self.blocks} imagined blocks imagine nothing. Ask for at least 1.")
        if self.head.config.needs_start:
            raise JepaflowError(
                "This inverse head needs the last executed action, which an imagined chain does not have. Rank plans by cost."
            )

    @torch.no_grad()
    def cost(
        self, z: Float[Tensor, "P D"], rows: Float[Tensor, "P S D"], to_go: Float[Tensor, "P S"], aim: AimConfig
    ) -> Float[Tensor, " P"]:
        """Return each plan's imagined cost in model steps.

        Args:
            z: latents now.
            rows: sub-goals in order, the last is the goal; shorter rows repeat it.
            to_go: cost of the walk from each sub-goal to the goal.
            aim: as System 1 will aim.
        """
        parts = zip(torch.split(z, CHUNK), torch.split(rows, CHUNK), torch.split(to_go, CHUNK), strict=True)
        found = [self._cost(some, way, left, aim) for some, way, left in parts]
        return torch.cat(found) if found else torch.zeros(0)

    def _cost(self, z: Tensor, rows: Tensor, to_go: Tensor, config: AimConfig) -> Tensor:
        aim, window = Aim(self.reach, rows, config), self.model.config.history
        states, blocks = z[:, None], z.new_empty(len(z), 0, self.head.config.block, self.head.config.action_dim)
        every = torch.arange(len(z))
        best = torch.full((len(z),), torch.inf)
        for step in range(self.blocks + 1):
            here = states[:, -1]
            aimed = aim.look(here)
            away = self.reach.between(here, aimed)
            # Where the goal has come near at an earlier block, staying there costs no more.
            left = to_go[every, aim.at]
            best = torch.minimum(best, (step + away).where(left <= 0, torch.inf))
            if step == self.blocks:
                break
            told = (HASTE * away).round().clamp(min=1.0).long()
            block = self.head.act(here, aimed, told).clamp(self.low, self.high)[:, None]
            seen = min(states.shape[1], window)
            ahead = self.model.rollout(states[:, -seen:], blocks[:, blocks.shape[1] - (seen - 1) :], block)
            states, blocks = torch.cat([states, ahead], 1), torch.cat([blocks, block], 1)
            self.evaluations += len(z)
        return torch.minimum(best, self.blocks + away + left)
