"""Reachability: can System 1 get from one latent to another within h model steps?

The temporal-distance head's distribution over 0 … cap model steps answers: P(at most h). Distance of latents does not:
two sides of a wall look alike. Nor does the head's expectation, which is what the data took, detours included. What the
head says depends on the mix of pairs that it was trained on; plans take it as it is, against a threshold, and `Calibration` (a monotone
table, fitted on episodes set aside) tells what truth that is. A graph of landmarks asks for millions of pairs, so the head's first layer
is taken apart: what depends on one latent alone is computed once per latent.

Legend: n pairs, N and M latents, D latent size, C distances told apart (cap + 1).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from jepaflow.common.errors import JepaflowError
from jepaflow.worldmodel.distance import TemporalDistance

CHUNK = 16_384
KNOTS = 20
FAST = 0.3
"""Quantile of the steps that the data took which counts as what is needed: data dawdle, wander and come back. Chosen on training
episodes of the maze: pairs 1, 2, 3, 4, 6, 8 blocks apart get 0.8, 1.8, 2.8, 3.7, 5.4, 7.1 (median), the expectation 4.9 … 10.3."""
SMALLEST = 1e-4
"""a probability is never quite 0 or 1"""


@dataclass(frozen=True)
class Calibration:
    """A monotone, piecewise linear map from what the head says to how often it is true."""

    said: Float[ndarray, " k"]
    true: Float[ndarray, " k"]

    @classmethod
    def fit(cls, said: Float[ndarray, " n"], label: Float[ndarray, " n"], knots: int = KNOTS) -> "Calibration":
        """Regress labels (0 or 1) on what was said: bins of equal count, made monotone.

        Raises:
            JepaflowError: there is no pair.
        """
        from scipy.optimize import isotonic_regression

        if len(said) == 0:
            raise JepaflowError("There is no pair to calibrate reachability on. Record longer episodes.")
        order = np.argsort(said, kind="stable")
        bins = [part for part in np.array_split(order, knots) if len(part)]
        x = np.array([said[part].mean() for part in bins])
        sizes = np.array([len(part) for part in bins], float)
        y = isotonic_regression(np.array([label[part].mean() for part in bins]), weights=sizes).x
        keep = np.concatenate([[True], np.diff(x) > 1e-9])
        return cls(x[keep], y[keep])

    def __call__(self, said: Float[ndarray, "*shape"]) -> Float[ndarray, "*shape"]:
        """Return calibrated probabilities."""
        return np.asarray(np.interp(said, self.said, self.true))


class Reachability:
    """Asks a distance head, in bulk.

    Args:
        head: the run's temporal distance, in eval mode.
    """

    def __init__(self, head: TemporalDistance) -> None:
        self.head = head
        first = head.net[0]
        assert isinstance(first, nn.Linear)
        self._from, self._to, self._change = torch.split(first.weight.detach(), head.config.latent_dim, 1)
        self._bias = first.bias.detach()

    @torch.no_grad()
    def log_probabilities(
        self, a: Float[Tensor, "N D"], b: Float[Tensor, "M D"], i: Int[Tensor, " n"], j: Int[Tensor, " n"]
    ) -> Float[Tensor, "n C"]:
        """Return log P of 0 … cap model steps from ``a[i]`` to ``b[j]``; the same as ``head.logits``, faster."""
        one = self.head.latent_scaler(a) @ (self._from - self._change).mT + self._bias
        other = self.head.latent_scaler(b) @ (self._to + self._change).mT
        rest = self.head.net[1:]
        parts = [
            rest(one[x] + other[y]).log_softmax(-1)
            for x, y in zip(torch.split(i, CHUNK), torch.split(j, CHUNK), strict=True)
        ]
        return torch.cat(parts) if parts else torch.empty(0, self.head.config.cap + 1)

    def within(self, log_p: Float[Tensor, "n C"], h: int) -> Float[ndarray, " n"]:
        """Return P(at most ``h`` model steps), never quite 0 or 1.

        Raises:
            JepaflowError: the head does not tell such distances apart.
        """
        self._require(h)
        raw = log_p[:, : h + 1].logsumexp(-1).exp().numpy().astype(np.float64)
        return np.asarray(np.clip(raw, SMALLEST, 1 - SMALLEST))

    def steps(self, log_p: Float[Tensor, "n C"], quantile: float = FAST) -> Float[ndarray, " n"]:
        """Return the model steps that the way takes when it is walked without dawdling: a low quantile, between bins linear."""
        below = log_p.exp().cumsum(-1)
        each, first = torch.arange(len(log_p)), (below < quantile).sum(-1).clamp(max=self.head.config.cap)
        before = torch.where(first > 0, below[each, (first - 1).clamp(min=0)], 0.0)
        share = (quantile - before) / (below[each, first] - before).clamp_min(1e-9)
        return np.asarray((first - 1 + share).clamp(0, self.head.config.cap).numpy().astype(np.float64))

    def between(self, a: Float[Tensor, "*#batch D"], b: Float[Tensor, "*#batch D"]) -> Float[Tensor, "..."]:
        """Return `steps` of latents of any leading shape, which is broadcast: what System 1 is told it has."""
        with torch.no_grad():
            log_p = self.head.logits(a, b).log_softmax(-1)
        return torch.from_numpy(self.steps(log_p.flatten(0, -2))).to(log_p).view(log_p.shape[:-1])

    def pairs_within(self, a: Float[Tensor, "n D"], b: Float[Tensor, "n D"], h: int) -> Float[ndarray, " n"]:
        """Return P(at most ``h``) of paired latents."""
        each = torch.arange(len(a))
        return self.within(self.log_probabilities(a, b, each, each), h)

    def _require(self, h: int) -> None:
        if not 1 <= h < self.head.config.cap:
            raise JepaflowError(
                f"The distance head tells 1 to {self.head.config.cap - 1} model steps apart, not {h}. Choose h among them."
            )
