"""Does the JEPA believe in a whole plan? System 1 is imagined walking all of its sub-goals, one chain of imagination.

Edge by edge imagination starts afresh at a landmark; here it goes on from wherever the last block has led, so an error is
carried on, a sub-goal met early or a little beside saves blocks, and a plan is more than its edges. The next sub-goal is due when
the last is met as nearly as nine in ten true pairs are (`Imagination.threshold`), or when `within` blocks have passed. Given time
nearly every chain arrives (the maze: all of them), so a plan is asked to arrive in time: within a share of the model steps
that the graph says its cheapest way takes.

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
LATE = 1.4
"""times what is allowed, at which a chain has failed"""


@dataclass(frozen=True, eq=False)
class Chain:
    """A reward: 0 where imagination arrives in time, less the later it does.

    Args:
        imagination: System 1 in the model.
        marks: landmarks (N, D).
        threshold: nearness that counts as met.
        allowed: model steps in which a walk must have arrived, by start and goal node (N, N).
        miss: nats that a failure costs; being late costs a share of it.
    """

    imagination: Imagination
    marks: Float[Tensor, "N D"]
    threshold: float
    allowed: Float[ndarray, "N N"]
    miss: float = MISS

    def log(self, walks: Walks, tasks: Tasks) -> Float[ndarray, " W"]:
        """See `rewards.Reward`."""
        end = walks.nodes[np.arange(len(walks)), walks.lengths]
        allowed = self.allowed[tasks.start, end]
        took = self.blocks(walks, np.floor(LATE * allowed).astype(np.int64))
        return np.asarray(-self.miss * np.clip((took / allowed - 1) / (LATE - 1), 0, 1))

    @torch.no_grad()
    def blocks(self, walks: Walks, most: Int[ndarray, " W"]) -> Float[ndarray, " W"]:
        """Blocks until each chain meets the last node of its walk, infinite beyond `most`."""
        parts = [np.empty(0)]
        for begin in range(0, len(walks), CHUNK):
            part = slice(begin, begin + CHUNK)
            parts.append(self._blocks(torch.from_numpy(walks.nodes[part]), torch.from_numpy(most[part])).numpy())
        return np.concatenate(parts)

    def _blocks(self, nodes: Int[Tensor, "W L"], most: Int[Tensor, " W"]) -> Float[Tensor, " W"]:
        own, last = self.imagination, (nodes >= 0).sum(1) - 1
        window, scale = own.model.config.history, own.head.latent_scaler.std
        going = (last > 0).nonzero().squeeze(1)
        states = self.marks[nodes[going, 0]][:, None]
        done = torch.empty(len(going), 0, own.head.config.block, own.head.config.action_dim)
        at, waited = torch.ones_like(last).minimum(last), torch.zeros_like(last)
        took = torch.where(last == 0, 0.0, torch.inf).double()
        for block_number in range(1, 1 + int(most.max())):
            keep = most[going] >= block_number
            going, states, done = going[keep], states[keep], done[keep]
            if not len(going):
                break
            aim = self.marks[nodes[going, at[going]]]
            block = own.head.act(states[:, -1], aim).clamp(own.low, own.high)[:, None]
            ahead = own.model.rollout(states, done, block)
            states = torch.cat([states, ahead], 1)[:, -window:]
            done = torch.cat([done, block], 1)[:, -(window - 1) :] if window > 1 else done
            met = ((states[:, -1] - aim) / scale).square().mean(-1).sqrt() <= self.threshold
            final = at[going] == last[going]
            took[going[met & final]] = block_number
            waited[going] += 1
            due = (met | (waited[going] >= own.within)) & ~final
            at[going] += due.long()
            waited[going] = torch.where(due, 0, waited[going])
            keep = ~(met & final)
            going, states, done = going[keep], states[keep], done[keep]
        return took
