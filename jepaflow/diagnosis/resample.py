"""Intervals for figures that are ratios of sums over episodes, over one training seed or several.

The episode is the unit of resampling, never the window: windows of one episode overlap, and resampling them would
claim a certainty that is not there. A statistic receives *weights* (how often each episode was drawn) instead of a
resampled array, so that a thousand resamples are one matrix product.

Several seeds are resampled hierarchically: first which seeds, then which episodes. Seeds that were judged on the
same held-out episodes share one draw of episodes (the episodes are crossed with the seeds, not nested in them;
drawing them apart would average the luck of the episodes away and make the interval too narrow).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

Statistic = Callable[[ndarray], ndarray]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval over episodes (and seeds).

    ``low`` and ``high`` are NaN where no interval exists: with a single episode there is nothing to resample.
    ``n`` counts windows (or frames), ``episodes`` the episodes that they come from.
    """

    value: float
    low: float
    high: float
    n: int
    episodes: int

    def as_dict(self) -> dict[str, float | int | None]:
        """The same with None for NaN, which JSON does not have."""
        bounds = {"value": self.value, "low": self.low, "high": self.high}
        finite = {key: (float(value) if np.isfinite(value) else None) for key, value in bounds.items()}
        return {**finite, "n": self.n, "episodes": self.episodes}


def ratio(numerator: Float[ndarray, "E N"], denominator: Float[ndarray, "E N"]) -> Statistic:
    """The statistic ``sum(w * numerator) / sum(w * denominator)``; NaN where the denominator is 0."""

    def statistic(weights: ndarray) -> ndarray:
        top, bottom = weights @ numerator, weights @ denominator
        quotient: ndarray = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
        return quotient

    return statistic


def draw_weights(rng: np.random.Generator, episodes: int, draws: int) -> Float[ndarray, "R E"]:
    """How often each episode is drawn, in ``draws`` resamples of all episodes with replacement."""
    weights: ndarray = rng.multinomial(episodes, np.full(episodes, 1 / episodes), size=draws).astype(np.float64)
    return weights


def resample(
    statistics: Sequence[Statistic], episodes: Sequence[Sequence[int]], draws: int, seed: int
) -> Float[ndarray, "R N"]:
    """Bootstrap distribution of the mean over seeds of a statistic.

    Args:
        statistics: one a training seed: weights ``[R, E]`` to values ``[R, N]``.
        episodes: the held-out episodes of each seed; equal lists are drawn together.
        draws: number of resamples ``R``.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    seeds = len(statistics)
    shared = all(tuple(e) == tuple(episodes[0]) for e in episodes)
    chosen = rng.integers(0, seeds, (draws, seeds))
    # Crossed seeds see the same resamples of episodes in every slot, so their values are computed once.
    common = draw_weights(rng, len(episodes[0]), draws)
    crossed = [statistic(common) for statistic in statistics] if shared else None
    total = np.zeros(())
    for slot in range(seeds):
        values = crossed or [s(draw_weights(rng, len(e), draws)) for s, e in zip(statistics, episodes)]
        picked = np.zeros_like(values[0])
        for index, value in enumerate(values):
            picked = np.where((chosen[:, slot] == index)[:, None], value, picked)
        total = total + picked
    return total / seeds


def percentiles(sample: Float[ndarray, " R"], level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the finite resamples; NaN, NaN when fewer than half of them are finite."""
    finite = sample[np.isfinite(sample)]
    if 2 * len(finite) < len(sample) or len(finite) == 0:
        return float("nan"), float("nan")
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(finite, [tail, 100 - tail])
    return float(low), float(high)


def episode_means(
    values: Float[ndarray, "n N"], episode: Sequence[int] | ndarray, draws: int = 1000, seed: int = 0
) -> tuple[Estimate, ...]:
    """Mean of every column over the frames (or windows) where it is known, with an interval over episodes.

    Args:
        values: one row a frame; NaN: not known.
        episode: of each row.
        draws: number of resamples.
        seed: of the resampling.
    """
    names, where = np.unique(np.asarray(episode), return_inverse=True)
    known = np.isfinite(values)
    total, count = (np.zeros((len(names), values.shape[1])) for _ in range(2))
    np.add.at(total, where, np.where(known, values, 0.0))
    np.add.at(count, where, known)
    statistic = ratio(total, count)
    mean = statistic(np.ones((1, len(names))))[0]
    sample = resample([statistic], [names.tolist()], draws, seed) if len(names) >= 2 else None
    result = []
    for column in range(values.shape[1]):
        episodes = int((count[:, column] > 0).sum())
        low = high = float("nan")
        if sample is not None and episodes >= 2:
            low, high = percentiles(sample[:, column])
        result.append(Estimate(float(mean[column]), low, high, int(count[:, column].sum()), episodes))
    return tuple(result)
