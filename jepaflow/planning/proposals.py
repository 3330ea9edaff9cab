"""Ideas before the search: what the training data did in a similar place, and what an inverse-dynamics head would do.

Both speak in the search's own parameters. A chunk of recorded actions is encoded relative to the action that preceded
it, so that with displacements the *movement* is proposed, wherever the arm stands now.

Legend: E environments, M proposals, n model steps of all episodes together, N blocks, K control steps, P parameters
per block, A action size, D latent, R = E x M rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.cost import Distance
from jepaflow.planning.planner import Dynamics, Proposer, Situation
from jepaflow.planning.space import Parameterisation


@runtime_checkable
class InverseHead(Protocol):
    """Answers with action blocks (`InverseDynamics.propose` is one)."""

    def __call__(
        self,
        z: Float[Tensor, "R D"],
        goal: Float[Tensor, "R D"],
        steps: Int[Tensor, " R"] | None,
        start_action: Float[Tensor, "R A"],
        count: int,
        generator: torch.Generator,
    ) -> Float[Tensor, "R M N K A"]:
        """Return M plans of at least one block, the best guess first, in raw units; `steps`: model steps to go."""
        ...


class ChunkIndex:
    """Latents of training episodes and the action blocks that followed them.

    Args:
        episodes: per episode its latents (T, D), one per model step, and the blocks (T - 1 or T, K, A) that follow
            each of them.
        horizon: N.

    Raises:
        JepaflowError: no episode is longer than the horizon.
    """

    def __init__(self, episodes: Sequence[tuple[Float[Tensor, "_ D"], Float[Tensor, "_ K A"]]], horizon: int) -> None:
        self.horizon = horizon
        self.latents = torch.cat([latents for latents, _ in episodes]) if episodes else torch.zeros(0, 1)
        firsts, chunks, before, offset = [], [], [], 0
        for latents, blocks in episodes:
            for step in range(min(len(latents) - 1, len(blocks)) - horizon + 1):
                firsts.append(offset + step)
                chunks.append(blocks[step : step + horizon])
                # Before the first block nothing is known: the arm is taken to have been where it was sent first.
                before.append(blocks[step - 1, -1] if step else blocks[0, 0])
            offset += len(latents)
        if not firsts:
            raise JepaflowError(f"no episode has {horizon} blocks in a row to propose. Shorten --solver.horizon.")
        self.firsts = torch.tensor(firsts, device=self.latents.device)
        self.chunks, self.before = torch.stack(chunks), torch.stack(before)

    def nearest(
        self,
        z: Float[Tensor, "E D"],
        goal: Float[Tensor, "E D"] | None,
        count: int,
        goal_weight: float = 1.0,
    ) -> Int[Tensor, "E M"]:
        """Return the chunks that began nearest to z and, if a goal is given, came nearest to it within the horizon.

        Chunks that overlap one chosen before are passed over: neighbours in time say the same thing twice. Few
        episodes therefore give fewer than `count` chunks.
        """
        score = torch.cdist(z, self.latents[self.firsts]).square()
        if goal is not None:
            ahead = self.firsts[:, None] + torch.arange(1, self.horizon + 1, device=z.device)
            score = score + goal_weight * torch.cdist(goal, self.latents).square()[:, ahead].amin(-1)
        chosen = []
        for _ in range(min(count, max(1, len(self.firsts) // (2 * self.horizon - 1)))):
            best = score.argmin(1)
            chosen.append(best)
            near = (self.firsts - self.firsts[best][:, None]).abs() < self.horizon
            score = score.masked_fill(near, torch.inf)
        return torch.stack(chosen, 1)


class NearestChunks:
    """Proposes what training episodes did next where they were nearest.

    Args:
        index: the episodes; its horizon is the solver's.
        parameterisation: the search's.
        count: M.
        goal_weight: how much coming near the goal counts beside beginning here; 0: the goal is not looked at.
    """

    def __init__(
        self, index: ChunkIndex, parameterisation: Parameterisation, count: int = 32, goal_weight: float = 1.0
    ) -> None:
        self._index, self._parameterisation, self._count, self._weight = index, parameterisation, count, goal_weight

    def __call__(self, situation: Situation) -> Float[Tensor, "E M N P A"]:
        """Return the chunks' parameters, nearest first."""
        goal = situation.goal.centre() if self._weight > 0.0 else None
        chosen = self._index.nearest(situation.z[:, -1], goal, self._count, self._weight)
        return self._parameterisation.encode(self._index.chunks[chosen], self._index.before[chosen])


class InverseProposals:
    """Proposes what an inverse-dynamics head would do, imagining its way to the horizon if the head ends before it.

    Args:
        propose: the head.
        parameterisation: the search's.
        horizon: N.
        count: M; the head's best guess comes first.
        distance: tells how many model steps lie between two latents (R, 1, D), e.g. a temporal-distance head; None:
            the head is not told.
        hold: the best guess is to stay where the goal is fewer than so many model steps away. What follows a goal in the data
            is not staying there: told that it has arrived, a head opens the gripper as its demonstrations did next.
        still: the action that stays, (A,); None: the one in force (absolute targets).
        dynamics: imagines where blocks lead; needed for a head with a shorter horizon, and to plan in the background.
        seed: of the draws around the best guess.
    """

    def __init__(
        self,
        propose: InverseHead,
        parameterisation: Parameterisation,
        horizon: int,
        count: int = 1,
        distance: Distance | None = None,
        dynamics: Dynamics | None = None,
        seed: int = 0,
        hold: float = 0.0,
        still: Float[Tensor, " A"] | None = None,
    ) -> None:
        if count < 1:
            raise JepaflowError(f"{count} proposals propose nothing. Ask for at least 1.")
        self._propose, self._parameterisation, self._horizon, self._count = propose, parameterisation, horizon, count
        self._distance, self._dynamics, self._seed = distance, dynamics, seed
        self._hold, self._still = hold, still
        self._generator: torch.Generator | None = None

    @torch.no_grad()
    def __call__(self, situation: Situation) -> Float[Tensor, "E M N P A"]:
        """Return the proposals' parameters."""
        z, past, goal, here = situation.z, situation.past, situation.goal.centre(), situation.start
        if situation.committed is not None:
            z, past = self._advance(z, past, situation.committed)
        told = self._ask(z[:, -1], goal, here, self._count)
        envs, count = told.shape[:2]
        z, past, goal, here = (known.repeat_interleave(count, 0) for known in (z, past, goal, here))
        blocks = told.flatten(0, 1)
        plan = [self._parameterisation.encode(blocks, here)]
        while (ahead := sum(part.shape[1] for part in plan)) < self._horizon:
            legal = self._parameterisation.decode(plan[-1], here)
            z, past = self._advance(z, past, legal)
            here = legal[:, -1, -1]
            blocks = self._ask(z[:, -1], goal, here, 1)[:, 0, : self._horizon - ahead]
            plan.append(self._parameterisation.encode(blocks, here))
        found = torch.cat(plan, 1)[:, : self._horizon]
        return found.view(envs, count, *found.shape[1:])

    def _ask(self, z: Tensor, goal: Tensor, here: Tensor, count: int) -> Tensor:
        """Return the head's blocks (R, M, N', K, A)."""
        if self._generator is None:
            self._generator = torch.Generator(z.device).manual_seed(self._seed)
        if self._distance is None:
            return self._propose(z, goal, None, here, count, self._generator)
        away = self._distance(z[:, None], goal[:, None])[:, 0]
        told = self._propose(z, goal, away.round().clamp(min=1.0).long(), here, count, self._generator)
        stay = here if self._still is None else self._still.to(here).expand_as(here)
        arrived = (away < self._hold)[:, None, None, None]
        best = torch.where(arrived, stay[:, None, None].expand_as(told[:, 0]), told[:, 0])
        return torch.cat([best[:, None], told[:, 1:]], 1)

    def _advance(self, z: Tensor, past: Tensor, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Return the history with blocks and their imagined latents at its end."""
        if self._dynamics is None:
            raise JepaflowError(
                "the inverse head must imagine where its blocks lead, and has no model to do so. Give `dynamics`."
            )
        imagined = self._dynamics.rollout(z, past, blocks)
        return torch.cat([z, imagined], 1), torch.cat([past, blocks], 1)


class AllProposals:
    """Several proposers, one after the other."""

    def __init__(self, proposers: Sequence[Proposer]) -> None:
        self._proposers = tuple(proposers)

    def __call__(self, situation: Situation) -> Float[Tensor, "E M N P A"]:
        """Return the proposals of all."""
        return torch.cat([proposer(situation) for proposer in self._proposers], 1)
