"""What the cloud of held-out latents looks like: spectrum, effective rank, normality, straightness, a picture.

Effective rank and spectrum use every frame of phase 0. Normality needs roughly independent samples, so its frames
lie one *decorrelation lag* apart in their episode (and never more than ``NORMALITY_CAP`` of them: with enough
samples every real cloud fails). What lag was needed and how correlated neighbours still are is reported beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from jepaflow.diagnosis.latents import Trajectory
from jepaflow.diagnosis.resample import Estimate, Statistic, percentiles, ratio, resample
from jepaflow.worldmodel.latent_stats import (
    MIN_NORMALITY_SAMPLES,
    anderson_darling,
    clean_spectrum,
    covariance_spectrum,
    random_directions,
    rank_of_spectrum,
    rejected,
    straightness_sums,
    variance_floor,
)

DIRECTIONS = 512
ALPHA = 0.05
NORMALITY_CAP = 512
NORMALITY_WANTED = 64
# Neighbours less alike than this count as roughly independent.
DECORRELATED = 0.2
RANK_DRAWS = 200


@dataclass(frozen=True)
class Normality:
    """Anderson–Darling along random directions.

    Attributes:
        share: of the directions that fail after Benjamini–Hochberg correction at 5 %; NaN with fewer than 8 samples.
        n: samples, ``stride`` model steps apart, whose neighbours still correlate by ``correlation``.
        quantiles: sorted standardised samples along the first directions, for a Q–Q plot.
        failed: which of these directions fail.
    """

    share: float
    n: int
    stride: int
    correlation: float
    quantiles: Float[ndarray, "n M"]
    failed: ndarray


@dataclass(frozen=True)
class Geometry:
    """Shape of the held-out latents; ``pca`` holds two coordinates a frame, ``when`` its time in the episode, 0 … 1."""

    latent_dim: int
    effective_rank: Estimate
    spectrum: Float[ndarray, " D"]
    normality: Normality
    straightness: Estimate
    pca: Float[ndarray, "F 2"]
    pca_share: tuple[float, float]
    when: Float[ndarray, " F"]
    episode: ndarray


@dataclass(frozen=True)
class Moments:
    """Sums by episode, from which rank and straightness of any resample follow without touching the latents again."""

    episodes: tuple[int, ...]
    count: Float[ndarray, " E"]
    first: Float[ndarray, "E D"]
    second: Float[ndarray, "E D D"]
    cosine: Float[ndarray, "E 1"]
    cosine_count: Float[ndarray, "E 1"]
    floor: float


def moments(trajectories: Sequence[Trajectory]) -> Moments:
    """First and second moments and the straightness sums of each episode (its first phase only)."""
    ones = first_phases(trajectories)
    together = torch.cat([t.z for t in ones])
    centre = together.double().mean(0)
    shifted = [t.z.double() - centre for t in ones]
    sums = [straightness_sums(t.z[None]) for t in ones]
    return Moments(
        episodes=tuple(t.episode for t in ones),
        count=np.array([float(len(z)) for z in shifted]),
        first=np.stack([z.sum(0).numpy() for z in shifted]),
        second=np.stack([(z.T @ z).numpy() for z in shifted]),
        cosine=np.array([[float(total)] for total, _ in sums]),
        cosine_count=np.array([[float(count)] for _, count in sums]),
        floor=variance_floor(together),
    )


def first_phases(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """One trajectory an episode: the one of the smallest phase, in order of the episodes."""
    best: dict[int, Trajectory] = {}
    for trajectory in trajectories:
        known = best.get(trajectory.episode)
        if known is None or trajectory.phase < known.phase:
            best[trajectory.episode] = trajectory
    return [best[e] for e in sorted(best)]


def rank_estimate(runs: Sequence[Moments], values: Sequence[float], draws: int = RANK_DRAWS, seed: int = 0) -> Estimate:
    """Mean effective rank over seeds, its interval over episodes (and seeds).

    A resample holds fewer different episodes than the sample and so has a lower rank: the resamples are shifted by
    this bias before the interval is read off.
    """

    def statistic_of(run: Moments) -> Statistic:
        return lambda weights: np.array([[_weighted_rank(run, w)] for w in weights])

    episodes = [run.episodes for run in runs]
    low = high = float("nan")
    if min(len(e) for e in episodes) >= 2:
        sample = resample([statistic_of(run) for run in runs], episodes, draws, seed)[:, 0]
        low, high = percentiles(sample - np.median(sample) + np.mean(values))
    n = int(sum(run.count.sum() for run in runs))
    return Estimate(float(np.mean(values)), low, high, n, min(len(e) for e in episodes))


def _weighted_rank(run: Moments, weights: ndarray) -> float:
    total = weights @ run.count
    mean = weights @ run.first / total
    covariance = np.tensordot(weights, run.second, axes=1) / total - np.outer(mean, mean)
    return rank_of_spectrum(clean_spectrum(torch.from_numpy(covariance), run.floor))


def straightness_estimate(runs: Sequence[Moments], draws: int = 2000, seed: int = 0) -> Estimate:
    """Mean cosine between successive velocities; NaN when nothing moves."""
    episodes = [run.episodes for run in runs]
    statistics = [ratio(run.cosine, run.cosine_count) for run in runs]
    values = [float(s(np.ones((1, len(e))))[0, 0]) for s, e in zip(statistics, episodes)]
    low = high = float("nan")
    if min(len(e) for e in episodes) >= 2:
        low, high = percentiles(resample(statistics, episodes, draws, seed)[:, 0])
    n = int(sum(run.cosine_count.sum() for run in runs))
    return Estimate(float(np.mean(values)), low, high, n, min(len(e) for e in episodes))


def measure_geometry(trajectories: Sequence[Trajectory], seed: int = 0) -> tuple[Geometry, Moments]:
    """Measure the latents of held-out episodes; also returns the sums that pooling over seeds needs."""
    ones = first_phases(trajectories)
    z = torch.cat([t.z for t in ones])
    sums = moments(ones)
    spectrum = covariance_spectrum(z)
    coordinates, shares = _pca(z)
    geometry = Geometry(
        latent_dim=int(z.shape[1]),
        effective_rank=rank_estimate([sums], [rank_of_spectrum(spectrum)], seed=seed),
        spectrum=spectrum.numpy(),
        normality=measure_normality(ones, seed),
        straightness=straightness_estimate([sums], seed=seed),
        pca=coordinates,
        pca_share=shares,
        when=np.concatenate([np.linspace(0, 1, len(t.z)) for t in ones]),
        episode=np.concatenate([np.full(len(t.z), t.episode) for t in ones]),
    )
    return geometry, sums


def _pca(z: Float[Tensor, "F D"]) -> tuple[Float[ndarray, "F 2"], tuple[float, float]]:
    """Two principal coordinates (zeros where there is no second dimension) and their shares of the variance."""
    centred = z.double() - z.double().mean(0)
    _, values, axes = torch.linalg.svd(centred, full_matrices=False)
    coordinates = torch.zeros(len(z), 2, dtype=torch.float64)
    known = min(2, len(values))
    coordinates[:, :known] = centred @ axes[:known].T
    power = torch.zeros(2, dtype=torch.float64)
    power[:known] = values[:known] ** 2
    power = power / (values**2).sum().clamp_min(1e-300)
    return coordinates.numpy(), (float(power[0]), float(power[1]))


def autocorrelation(trajectories: Sequence[Trajectory], lags: int) -> Float[ndarray, " L"]:
    """Correlation of latents ``1 … lags`` model steps apart, pooled over dimensions; NaN where no pair exists."""
    z = torch.cat([t.z for t in trajectories]).double()
    mean, variance = z.mean(0), float(z.var(0, correction=0).sum())
    result = np.full(lags, np.nan)
    for lag in range(1, lags + 1):
        products = [((t.z[lag:] - mean) * (t.z[:-lag] - mean)).sum(1) for t in trajectories if len(t.z) > lag]
        pairs = torch.cat(products) if products else z.new_zeros(0)
        if len(pairs) and variance > 0:
            result[lag - 1] = float(pairs.mean()) / variance
    return result


def spread_frames(trajectories: Sequence[Trajectory]) -> tuple[Float[Tensor, "n D"], int, float]:
    """Roughly independent latents: the smallest stride that decorrelates, as far as enough samples remain.

    Returns:
        The latents, the stride in model steps, and the correlation of neighbours at that stride (NaN when no
        episode has two of them).
    """
    longest = max(len(t.z) for t in trajectories)
    known = autocorrelation(trajectories, max(1, longest - 1))
    below = np.flatnonzero(known < DECORRELATED)
    stride = int(below[0]) + 1 if len(below) else longest
    while stride > 1 and sum(-(-len(t.z) // stride) for t in trajectories) < NORMALITY_WANTED:
        stride -= 1
    z = torch.cat([t.z[::stride] for t in trajectories])
    if len(z) > NORMALITY_CAP:
        z = z[torch.linspace(0, len(z) - 1, NORMALITY_CAP).round().long()]
    correlation = float(known[stride - 1]) if stride <= len(known) else float("nan")
    return z, stride, correlation


def measure_normality(trajectories: Sequence[Trajectory], seed: int = 0, shown: int = 40) -> Normality:
    """Test random directions for normality and keep ``shown`` of them for a Q–Q plot."""
    z, stride, correlation = spread_frames(trajectories)
    n = len(z)
    if n < MIN_NORMALITY_SAMPLES:
        return Normality(float("nan"), n, stride, correlation, np.zeros((n, 0)), np.zeros(0, dtype=bool))
    generator = torch.Generator().manual_seed(seed)
    projected = z.double() @ random_directions(z.shape[1], DIRECTIONS, generator)
    _, p = anderson_darling(projected)
    failed = rejected(p, ALPHA, "bh")
    some = projected[:, :shown]
    scores = (some - some.mean(0)) / some.std(0).clamp_min(1e-12)
    return Normality(
        share=float(failed.double().mean()),
        n=n,
        stride=stride,
        correlation=correlation,
        quantiles=scores.sort(0).values.numpy(),
        failed=failed[:shown].numpy(),
    )
