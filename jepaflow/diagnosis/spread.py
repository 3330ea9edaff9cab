"""How far the latents lie apart at all: the mean variance of a dimension, with its interval over episodes (and seeds).

SIGReg asks for 1. Without it the cheapest small prediction error is a latent that hardly changes, which rank cannot
see (a cloud shrunk a thousandfold keeps its shape) and skill sees only in part.
"""

from collections.abc import Sequence

import numpy as np
from numpy import ndarray

from jepaflow.diagnosis.geometry import Moments
from jepaflow.diagnosis.resample import Estimate, Statistic, percentiles, resample


def spread_estimate(runs: Sequence[Moments], draws: int = 2000, seed: int = 0) -> Estimate:
    """Mean over seeds of the trace of the latents' covariance over ``D``.

    Args:
        runs: sums by episode, one a seed.
        draws: resamples.
        seed: of the resamples.
    """
    episodes = [run.episodes for run in runs]
    statistics = [_statistic(run) for run in runs]
    values = [float(s(np.ones((1, len(e))))[0, 0]) for s, e in zip(statistics, episodes)]
    low = high = float("nan")
    if min(len(e) for e in episodes) >= 2:
        low, high = percentiles(resample(statistics, episodes, draws, seed)[:, 0])
    n = int(sum(run.count.sum() for run in runs))
    return Estimate(float(np.mean(values)), low, high, n, min(len(e) for e in episodes))


def _statistic(run: Moments) -> Statistic:
    squares = np.trace(run.second, axis1=1, axis2=2)

    def statistic(weights: ndarray) -> ndarray:
        count = weights @ run.count
        mean = weights @ run.first / count[:, None]
        value: ndarray = ((weights @ squares / count - (mean**2).sum(1)) / run.first.shape[1])[:, None]
        value[value < 0] = 0.0  # a rounding error below
        return value

    return statistic
