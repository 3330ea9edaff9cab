"""How a figure grows with data: y = a − b·(n/N)^−c, where N is the largest size measured, so b is what is missing there.

For a given c the rest is linear least squares; c is looked for on a grid, which cannot get stuck and serves all resamples of
a bootstrap at once. b is not negative, and a not above the figure's own limit: without that a straight line through a few
points would promise the sky. (Hestness et al. 2017; Rosenfeld et al. 2020, arXiv 1909.12673.)
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

EXPONENTS = np.geomspace(0.1, 3.0, 120)
WORTH = 0.01
"""Gain of a doubling of the data below which more of it is not called worth the while."""
FAR = 100.0
"""Times the present data beyond which nothing is said."""


@dataclass(frozen=True)
class Power:
    """Fits of R curves; sizes are given as shares of N."""

    a: Float[ndarray, " R"]
    b: Float[ndarray, " R"]
    c: Float[ndarray, " R"]

    def at(self, share: Float[ndarray, " k"]) -> Float[ndarray, "R k"]:
        """The curves at these sizes."""
        values: ndarray = self.a[:, None] - self.b[:, None] * share[None] ** -self.c[:, None]
        return values

    def doubling(self) -> Float[ndarray, " R"]:
        """What twice N would add."""
        gain: ndarray = self.b * (1 - 2.0**-self.c)
        return gain

    def enough(self, worth: float = WORTH) -> Float[ndarray, " R"]:
        """The size (as a share of N, at most `FAR`) from which a doubling adds less than ``worth``."""
        gain = self.doubling()
        share: ndarray = np.where(gain > 0, (np.maximum(gain, 1e-300) / worth) ** (1 / self.c), 0.0)
        few: ndarray = np.minimum(share, FAR)
        return few


def fit_power(share: Float[ndarray, " k"], y: Float[ndarray, "R k"], limit: float = np.inf) -> Power:
    """Fit every row of ``y``.

    Args:
        share: sizes as shares of the largest, at least two different ones.
        y: figures at these sizes.
        limit: that a must not exceed.
    """
    best = np.full(len(y), np.inf)
    found = np.zeros((3, len(y)))
    for c in EXPONENTS:
        phi = share**-c
        off, mean = phi - phi.mean(), y.mean(1)
        b = np.maximum(0.0, -((y - mean[:, None]) @ off) / (off @ off))
        a = mean + b * phi.mean()
        # Beyond its limit a is the limit, and b is fitted alone.
        b = np.where(a > limit, np.maximum(0.0, ((limit if np.isfinite(limit) else 0.0) - y) @ phi / (phi @ phi)), b)
        a = np.minimum(a, limit)
        error = np.square(a[:, None] - b[:, None] * phi - y).sum(1)
        better = error < best
        best = np.where(better, error, best)
        found = np.where(better, np.stack([a, b, np.full(len(y), c)]), found)
    return Power(*found)
