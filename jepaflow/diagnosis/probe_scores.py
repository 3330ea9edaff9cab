"""How well something is read: correlation, squared error, and for yes or no the area under the ROC curve.

All are sums over episodes, so that intervals come from resampling episodes by weights (:mod:`jepaflow.diagnosis.resample`);
the AUROC too: it is the share of (yes, no) pairs in the right order, and the pairs of two episodes count as often as both
were drawn. A vector's r is the mean over its coordinates. A coordinate that does not vary among the held-out frames has
no r; a reading that does not vary has r = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from jepaflow.diagnosis.resample import Estimate, Statistic, percentiles, ratio, resample

FLAT = 1e-12
"""Variance, in the training's, below which something does not vary."""


@dataclass(frozen=True)
class Score:
    """Figures of one target.

    Attributes:
        r: Pearson's correlation, mean over the coordinates.
        mse: of z-scored quantities (by the training's mean and deviation), mean over the coordinates.
        r2: share of the held-out variance that is explained, pooled over z-scored coordinates.
        auroc: of a yes or no.
        each: r of each coordinate, NaN where there is none.
    """

    r: Estimate
    mse: Estimate
    r2: Estimate
    auroc: Estimate | None
    each: tuple[float, ...]


def score(
    read: Float[np.ndarray, "n Q"],
    true: Float[np.ndarray, "n Q"],
    episode: Int[np.ndarray, " n"],
    *,
    yes_no: bool = False,
    draws: int = 1000,
    seed: int = 0,
) -> Score:
    """Judge a reading of z-scored quantities; intervals over episodes.

    Args:
        read, true: z-scored by the training's statistics.
        episode: of each frame.
        yes_no: the first coordinate is high for yes and low for no.
        draws: resamples; 0 leaves intervals out.
        seed: of the resamples.
    """
    names, where = np.unique(episode, return_inverse=True)
    count, n = len(names), len(true)
    sums = _moments(read, true, where, count)
    off, spread = np.square(read - true), np.square(true - true.mean(0))
    total = np.zeros((count, 3))
    np.add.at(total, where, np.stack([off.mean(1), spread.mean(1), np.ones(n)], 1))
    statistics: dict[str, Statistic] = {
        "r": lambda weights: _mean(_correlation(weights, sums))[:, None],
        "mse": ratio(total[:, :1], total[:, 2:]),
        "r2": _one_minus(ratio(total[:, :1], total[:, 1:2])),
    }
    if yes_no:
        statistics["auroc"] = auroc_statistic(read[:, 0], true[:, 0] > true[:, 0].mean(), where, count)
    found = {key: _estimate(statistic, count, n, draws, seed) for key, statistic in statistics.items()}
    each = tuple(float(value) for value in _correlation(np.ones((1, count)), sums)[0])
    return Score(found["r"], found["mse"], found["r2"], found.get("auroc"), each)


def _moments(
    read: Float[np.ndarray, "n Q"], true: Float[np.ndarray, "n Q"], where: Int[np.ndarray, " n"], count: int
) -> Float[np.ndarray, "6 E Q"]:
    """Sums over each episode of 1, x, y, xx, yy, xy, around the overall means."""
    x, y = read - read.mean(0), true - true.mean(0)
    sums = np.zeros((6, count, x.shape[1]))
    for into, values in zip(sums, (np.ones_like(x), x, y, x * x, y * y, x * y)):
        np.add.at(into, where, values)
    return sums


def _correlation(weights: Float[np.ndarray, "R E"], sums: Float[np.ndarray, "6 E Q"]) -> Float[np.ndarray, "R Q"]:
    n, x, y, xx, yy, xy = (weights @ part for part in sums)
    n = np.maximum(n, 1.0)
    x, y, xx, yy, xy = (part / n for part in (x, y, xx, yy, xy))
    vx, vy, both = np.maximum(xx - x * x, 0.0), np.maximum(yy - y * y, 0.0), xy - x * y
    moves = (vx > FLAT) & (vy > FLAT)
    r = np.divide(both, np.sqrt(vx * vy), out=np.zeros_like(both), where=moves)
    return np.asarray(np.where(vy > FLAT, np.clip(r, -1.0, 1.0), np.nan))


def _mean(values: Float[np.ndarray, "R Q"]) -> Float[np.ndarray, " R"]:
    known = np.isfinite(values)
    count = known.sum(1)
    total = np.where(known, values, 0.0).sum(1)
    return np.asarray(np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0))


def auroc_statistic(
    read: Float[np.ndarray, " n"], yes: Bool[np.ndarray, " n"], where: Int[np.ndarray, " n"], count: int
) -> Statistic:
    """Share of (yes, no) pairs in which yes is read higher, ties half, as a statistic of the episodes' weights."""
    pairs = np.zeros((count, count))
    right = read[yes]
    for episode in range(count):
        below = np.sort(read[~yes & (where == episode)])
        if len(below):
            won = (np.searchsorted(below, right, "left") + np.searchsorted(below, right, "right")) / 2
            np.add.at(pairs[:, episode], where[yes], won)
    ones, zeros = (np.bincount(where[part], minlength=count).astype(np.float64) for part in (yes, ~yes))

    def statistic(weights: np.ndarray) -> np.ndarray:
        top, bottom = ((weights @ pairs) * weights).sum(1), (weights @ ones) * (weights @ zeros)
        return np.asarray(np.divide(top, bottom, out=np.full(len(weights), np.nan), where=bottom > 0)[:, None])

    return statistic


def _one_minus(statistic: Statistic) -> Statistic:
    return lambda weights: 1 - statistic(weights)


def _estimate(statistic: Statistic, episodes: int, n: int, draws: int, seed: int) -> Estimate:
    value = float(statistic(np.ones((1, episodes)))[0, 0])
    low = high = float("nan")
    if draws and episodes >= 2:
        low, high = percentiles(resample([statistic], [range(episodes)], draws, seed)[:, 0])
    return Estimate(value, low, high, n, episodes)
