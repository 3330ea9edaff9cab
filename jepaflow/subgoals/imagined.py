"""Does the JEPA's own imagination confirm an edge? System 1 is imagined walking it, block by block.

From one landmark the inverse-dynamics head answers towards the other, the predictor imagines the block, and the head
answers anew from there. The edge is confirmed when some imagined latent within h model steps comes as near to the target
as nine in ten imagined walks along true pairs do: pairs of episodes that the heads were not trained on.

Legend: n pairs, D latent, H history. Nearness is the root mean square difference in the head's z-scores.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.build import Veto
from jepaflow.training.corpus import hindsight
from jepaflow.training.latents import Latents
from jepaflow.worldmodel.inverse import InverseDynamics
from jepaflow.worldmodel.jepa import JEPA

CHUNK = 2048
SHARE = 0.9
"""of true pairs that are confirmed"""


@dataclass(frozen=True)
class Imagination:
    """System 1 in the model's imagination.

    Args:
        model: the run's model, in eval mode.
        head: its inverse dynamics; must not need the last executed action.
        within: h, model steps.
        low, high: bounds of the actions (A,), dataset units.
    """

    model: JEPA
    head: InverseDynamics
    within: int
    low: Float[Tensor, " A"]
    high: Float[Tensor, " A"]

    def __post_init__(self) -> None:
        if self.head.config.needs_start:
            raise JepaflowError(
                "This inverse head needs the last executed action, which a landmark does not have. Build the graph without "
                "imagination."
            )

    @torch.no_grad()
    def errors(self, start: Float[Tensor, "n D"], goal: Float[Tensor, "n D"]) -> Float[ndarray, " n"]:
        """Return how near imagination comes to each goal within h model steps."""
        if not len(start):
            return np.empty(0)
        parts = [self._errors(a, b) for a, b in zip(torch.split(start, CHUNK), torch.split(goal, CHUNK), strict=True)]
        return torch.cat(parts).numpy().astype(np.float64)

    def _errors(self, start: Tensor, goal: Tensor) -> Tensor:
        scale, window = self.head.latent_scaler.std, self.model.config.history
        states, blocks = start[:, None], torch.empty(len(start), 0, *self._block)
        best = torch.full((len(start),), torch.inf)
        for _ in range(self.within):
            block = self.head.act(states[:, -1], goal).clamp(self.low, self.high)[:, None]
            seen = min(states.shape[1], window)
            ahead = self.model.rollout(states[:, -seen:], blocks[:, blocks.shape[1] - (seen - 1) :], block)
            states, blocks = torch.cat([states, ahead], 1), torch.cat([blocks, block], 1)
            best = torch.minimum(best, ((states[:, -1] - goal) / scale).square().mean(-1).sqrt())
        return best

    @property
    def _block(self) -> tuple[int, int]:
        return self.head.config.block, self.head.config.action_dim

    def threshold(self, latents: Latents, count: int, rng: np.random.Generator, share: float = SHARE) -> float:
        """Return the error that a share of true pairs, 1 … h model steps apart, stay below."""
        steps = np.arange(1, self.within + 1) * self.head.config.block
        row, offset = hindsight(latents.corpus, count, steps, 0, rng)
        one, other = (latents.z[torch.from_numpy(rows)] for rows in (row, row + offset))
        return float(np.quantile(self.errors(one, other), share))

    def veto(self, marks: Float[Tensor, "N D"], threshold: float) -> Veto:
        """Return the test that `build_graph` asks."""

        def confirmed(source: Int[ndarray, " n"], target: Int[ndarray, " n"]) -> Bool[ndarray, " n"]:
            a, b = (marks[torch.from_numpy(np.ascontiguousarray(rows))] for rows in (source, target))
            return np.asarray(self.errors(a, b) <= threshold)

        return confirmed
