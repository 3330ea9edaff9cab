"""Are the latents normal at every time of an episode? Anderson–Darling per direction and fifth of the episode.

A cloud that is normal over all times may be far from it at each: SIGReg sees batches of mixed times only, while an episode
begins in one pose and ends in another. Each fifth gives the same number of frames of every episode, so that shares can be
compared between fifths; several of one episode only where there are too few episodes. All directions of all fifths
are corrected together (Benjamini–Hochberg): "which direction at which time" is one question.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from jepaflow.common.results import Row
from jepaflow.diagnosis.as_row import as_row
from jepaflow.diagnosis.geometry import ALPHA, DIRECTIONS, NORMALITY_CAP, NORMALITY_WANTED, first_phases
from jepaflow.diagnosis.latents import Trajectory
from jepaflow.diagnosis.resample import Estimate
from jepaflow.worldmodel.latent_stats import MIN_NORMALITY_SAMPLES, anderson_darling, random_directions, rejected

PARTS = 5


@dataclass(frozen=True)
class NormalityOverTime:
    """Anderson–Darling along the same ``M`` random directions in each of ``Q`` equal parts of the episodes.

    Attributes:
        share: of the directions that fail in each part; NaN with fewer than 8 samples.
        total: of all directions in all parts.
        statistic: adjusted A² of each part and direction.
        failed: which of them fail after correction at 5 %.
        limit: smallest A² that fails; infinite where none does.
        n: samples in a part; ``per_episode`` of them of each episode.
        episodes: how many.
    """

    share: Float[ndarray, " Q"]
    total: float
    statistic: Float[ndarray, "Q M"]
    failed: Bool[ndarray, "Q M"]
    limit: float
    n: int
    per_episode: int
    episodes: int

    def rows(self, name: str) -> list[Row]:
        """``<name>/normality_by_time``: the share over all, from the least to the most of a part."""
        parts = ", ".join(f"{100 * share:.0f} %" for share in self.share)
        note = (
            f"share of {self.statistic.shape[1]} random directions × {len(self.share)} parts of the episode along which the "
            f"latents are not normal (Anderson–Darling, Benjamini–Hochberg over all at 5 %, {self.n} frames a part, "
            f"{self.per_episode} of each of {self.episodes} episodes); by part: {parts}; low and high are the least and the most"
        )
        low, high = (float(self.share.min()), float(self.share.max())) if len(self.share) else (0.0, 0.0)
        estimate = Estimate(self.total, low, high, self.n * len(self.share), self.episodes)
        return as_row(f"{name}/normality_by_time", estimate, "fraction", note, {"normal": 0.0})


def normality_over_time(trajectories: Sequence[Trajectory], parts: int = PARTS, seed: int = 0) -> NormalityOverTime:
    """Test the latents of each part of the episodes; episodes shorter than ``parts`` frames are left out.

    Args:
        trajectories: of held-out episodes; the first phase of each counts.
        parts: equal parts of an episode.
        seed: of the directions.
    """
    ones = [t.z for t in first_phases(trajectories) if len(t.z) >= parts]
    per = min(len(z) // parts for z in ones) if ones else 0
    per = min(per, -(-NORMALITY_WANTED // max(1, len(ones))))
    ones = ones[:NORMALITY_CAP]
    n = per * len(ones)
    if n < MIN_NORMALITY_SAMPLES:
        return _unknown(parts, n, per, len(ones))
    directions = random_directions(ones[0].shape[1], DIRECTIONS, torch.Generator().manual_seed(seed))
    statistics, p = [], []
    for part in range(parts):
        # The middles of ``per`` equal pieces of the part: one frame is the middle of the part.
        share = (part + (torch.arange(per) + 0.5) / per) / parts
        z = torch.cat([z[(share * len(z)).long()] for z in ones]).double()
        adjusted, chance = anderson_darling(z @ directions)
        statistics.append(adjusted.numpy())
        p.append(chance)
    failed = rejected(torch.cat(p), ALPHA, "bh").view(parts, -1).numpy()
    statistic = np.stack(statistics)
    return NormalityOverTime(
        share=failed.mean(1),
        total=float(failed.mean()),
        statistic=statistic,
        failed=failed,
        limit=float(statistic[failed].min()) if failed.any() else float("inf"),
        n=n,
        per_episode=per,
        episodes=len(ones),
    )


def _unknown(parts: int, n: int, per: int, episodes: int) -> NormalityOverTime:
    nothing = np.zeros((parts, 0))
    share = np.full(parts, np.nan)
    return NormalityOverTime(share, float("nan"), nothing, nothing.astype(bool), float("inf"), n, per, episodes)
