"""Does the JEPA believe in a whole plan? System 1 is imagined walking all of its sub-goals, one chain of imagination.

Edge by edge imagination starts afresh at a landmark; here it goes on from wherever the last block has led, so an error is
carried on, a sub-goal may be met a little beside, and a plan is more than its edges. The next sub-goal is due when the last is met
as nearly as nine in ten true pairs are (`Imagination.threshold`), or when `within` blocks have passed. The plan is worth how near
the chain comes to its goal before its blocks are used up.

Legend: W walks, L nodes, N landmarks, D latent. Nearness as in `imagined`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from jepaflow.subgoals.imagined import Imagination
from jepaflow.subgoals.rewards import MISS
from jepaflow.subgoals.tasks import Tasks
from jepaflow.subgoals.walks import Walks

CHUNK = 512
SLOPE = 4.0
"""nats for missing the goal by once the threshold more"""


@dataclass(frozen=True, eq=False)
class Chain:
    """A reward: 0 where imagination arrives, less the farther from the goal it ends.

    Args:
        imagination: System 1 in the model.
        marks: landmarks (N, D).
        threshold: nearness that counts as met.
        blocks: model steps that a plan may take, in all.
        miss: nats that a failure costs at most.
    """

    imagination: Imagination
    marks: Float[Tensor, "N D"]
    threshold: float
    blocks: int
    miss: float = MISS

    def log(self, walks: Walks, tasks: Tasks) -> Float[ndarray, " W"]:
        """See `rewards.Reward`."""
        over = np.maximum(self.errors(walks) / self.threshold - 1, 0)
        return -np.minimum(SLOPE * over, self.miss)

    @torch.no_grad()
    def errors(self, walks: Walks) -> Float[ndarray, " W"]:
        """How near each chain comes to the last node of its walk while it aims there."""
        parts = [
            self._errors(torch.from_numpy(walks.nodes[begin : begin + CHUNK])) for begin in range(0, len(walks), CHUNK)
        ]
        return torch.cat([torch.empty(0), *parts]).numpy().astype(np.float64)

    def _errors(self, nodes: Int[Tensor, "W L"]) -> Float[Tensor, " W"]:
        own, last = self.imagination, (nodes >= 0).sum(1) - 1
        window, scale = own.model.config.history, own.head.latent_scaler.std
        states = self.marks[nodes[:, 0]][:, None]
        done = torch.empty(len(nodes), 0, own.head.config.block, own.head.config.action_dim)
        at, waited = torch.ones_like(last).minimum(last), torch.zeros_like(last)
        best = torch.where(last == 0, 0.0, torch.inf)
        going = (last > 0).nonzero().squeeze(1)
        for _ in range(self.blocks):
            if not len(going):
                break
            aim = self.marks[nodes[going, at[going]]]
            block = own.head.act(states[:, -1], aim).clamp(own.low, own.high)[:, None]
            ahead = own.model.rollout(states, done, block)
            states, done = torch.cat([states, ahead], 1)[:, -window:], torch.cat([done, block], 1)[:, -(window - 1) :]
            if window == 1:
                done = done[:, :0]
            error = ((states[:, -1] - aim) / scale).square().mean(-1).sqrt()
            final = at[going] == last[going]
            best[going] = torch.where(final, torch.minimum(best[going], error), best[going])
            waited[going] += 1
            met = error <= self.threshold
            due = (met | (waited[going] >= own.within)) & ~final
            at[going] += due.long()
            waited[going] = torch.where(due, 0, waited[going])
            keep = ~(met & final)
            going, states, done = going[keep], states[keep], done[keep]
        return best.clamp_max(1e6)
