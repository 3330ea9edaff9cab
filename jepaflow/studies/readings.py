"""What a measure reads off a run, kept as JSON, and how seeds are pooled.

Two kinds. A *ratio* is 1 − Σ error / Σ reference over the held-out episodes, at one or several horizons (skill, R²): its
sums are kept by episode, so that an interval over seeds *and* episodes can be drawn later without the run. A *scalar* is
a single number (an effective rank), whose seeds are reported with min and max.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from jepaflow.diagnosis.resample import Estimate, Statistic, percentiles, ratio, resample

DRAWS = 1000


@dataclass(frozen=True)
class Ratio:
    """Sums by held-out episode (E) and horizon (N); ``count`` windows or frames entered each."""

    episodes: tuple[int, ...]
    error: Float[ndarray, "E N"]
    reference: Float[ndarray, "E N"]
    count: Float[ndarray, "E N"]

    def values(self) -> Float[ndarray, " N"]:
        """1 − Σ error / Σ reference at each horizon; NaN where nothing was measured or the reference is 0."""
        values: ndarray = _one_minus(self)(np.ones((1, len(self.episodes))))[0]
        return values

    def weighted(self, weights: Float[ndarray, "R E"]) -> Float[ndarray, "R N"]:
        """The values when each episode counts so often, for many resamples at once."""
        values: ndarray = _one_minus(self)(weights)
        return values

    def as_json(self) -> dict[str, Any]:
        """JSON-ready, to nine significant digits: collapsed latents have tiny errors, whose ratio counts all the same."""
        sums = {name: _significant(getattr(self, name)) for name in ("error", "reference", "count")}
        return {"episodes": list(self.episodes), **sums}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Ratio":
        """Rebuild."""
        sums = {name: np.array(values[name], np.float64) for name in ("error", "reference", "count")}
        return cls(tuple(int(e) for e in values["episodes"]), **sums)


@dataclass(frozen=True)
class Readings:
    """Everything that one measure says of one run; a scalar that does not exist is None."""

    ratios: Mapping[str, Ratio] = field(default_factory=dict)
    scalars: Mapping[str, float | None] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        scalars = {
            name: value if value is not None and math.isfinite(value) else None for name, value in self.scalars.items()
        }
        return {"ratios": {name: one.as_json() for name, one in self.ratios.items()}, "scalars": scalars}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Readings":
        """Rebuild."""
        return cls({name: Ratio.from_json(one) for name, one in values["ratios"].items()}, dict(values["scalars"]))

    def merged(self, other: "Readings") -> "Readings":
        """Both together."""
        return Readings({**self.ratios, **other.ratios}, {**self.scalars, **other.scalars})


def sum_by_episode(
    error: Float[ndarray, "W N"], reference: Float[ndarray, "W N"], real: ndarray, episode: ndarray
) -> Ratio:
    """Sum windows into a ratio.

    Args:
        error, reference: of each window and horizon.
        real: boolean [W N]: which of them exist.
        episode: of each window.
    """
    names, row = np.unique(episode, return_inverse=True)
    sums = []
    for values in (error, reference, np.ones_like(error)):
        total = np.zeros((len(names), error.shape[1]))
        np.add.at(total, row, np.where(real, values, 0.0))
        sums.append(total)
    return Ratio(tuple(int(e) for e in names), *sums)


def _significant(values: Float[ndarray, "E N"]) -> list[list[float]]:
    return [[float(f"{value:.9g}") for value in row] for row in values]


def _one_minus(one: Ratio) -> Statistic:
    statistic = ratio(one.error, one.reference)
    return lambda weights: 1 - statistic(weights)


def _difference(one: Ratio, other: Ratio) -> Statistic:
    first, second = _one_minus(one), _one_minus(other)
    return lambda weights: first(weights) - second(weights)


def pool(seeds: Sequence[Ratio], draws: int = DRAWS) -> list[Estimate]:
    """Mean over seeds at each horizon, with the 95 % interval over seeds and episodes."""
    return _estimates([_one_minus(one) for one in seeds], seeds, draws)


def pool_gain(seeds: Sequence[Ratio], plain: Sequence[Ratio], draws: int = DRAWS) -> list[Estimate]:
    """Mean over seeds of what one setting gains on another, seed by seed on the same episodes, with its interval."""
    return _estimates([_difference(one, other) for one, other in zip(seeds, plain, strict=True)], seeds, draws)


def _estimates(statistics: Sequence[Statistic], seeds: Sequence[Ratio], draws: int) -> list[Estimate]:
    episodes = [one.episodes for one in seeds]
    means = np.mean([s(np.ones((1, len(e))))[0] for s, e in zip(statistics, episodes)], axis=0)
    sample = resample(statistics, episodes, draws, 0)
    found = []
    for h, value in enumerate(means):
        reached = min(int((one.count[:, h] > 0).sum()) for one in seeds)
        low, high = percentiles(sample[:, h]) if reached >= 2 else (math.nan, math.nan)
        found.append(Estimate(float(value), low, high, int(sum(one.count[:, h].sum() for one in seeds)), reached))
    return found


def pool_scalar(seeds: Sequence[float | None]) -> Estimate | None:
    """Mean over seeds with min and max (not an interval); None when no seed has the figure. ``n`` counts seeds."""
    known = [value for value in seeds if value is not None and math.isfinite(value)]
    if not known:
        return None
    return Estimate(float(np.mean(known)), min(known), max(known), len(known), len(known))
