"""Intervals: a figure without one is an anecdote."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927); ``(0, 1)`` when ``n`` is 0.

    Args:
        successes: number of successes, 0 … ``n``.
        n: number of trials.
        z: normal quantile; the default gives 95 %.
    """
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = (centre - half) / scale, (centre + half) / scale
    return max(0.0, min(low, p)), min(
        1.0, max(high, p)
    )  # it holds the proportion: exactly, at 0 and at n, where rounding errs


def bootstrap(
    values: Float[ndarray, "n ..."],
    statistic: Callable[[ndarray], float],
    seed: int = 0,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of ``statistic`` over the first axis (Efron 1979).

    Args:
        values: one entry per independent unit (an episode, a seed), any trailing shape.
        statistic: maps a resample of ``values`` to a number.
        seed: of the resampling.
        draws: number of resamples.
        level: coverage.
    """
    rng = np.random.default_rng(seed)
    n = len(values)
    estimates = [statistic(values[rng.integers(0, n, n)]) for _ in range(draws)]
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(estimates, [tail, 100 - tail])
    return float(low), float(high)
