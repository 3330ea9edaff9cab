"""Geometry of held-out latents on clouds of known shape."""

import numpy as np
import pytest
import torch

from jepaflow.diagnosis.geometry import autocorrelation, measure_geometry, moments, rank_estimate, spread_frames
from jepaflow.diagnosis.latents import Trajectory
from jepaflow.worldmodel.latent_stats import effective_rank


def trajectory(z: torch.Tensor, episode: int = 0, phase: int = 0) -> Trajectory:
    return Trajectory(episode, phase, z, torch.zeros(len(z) - 1, 2, 1))


def ar1(rho: float, lengths: list[int], dims: int = 6, seed: int = 0) -> list[Trajectory]:
    """Stationary Gaussian processes whose correlation at lag k is rho^k."""
    g = torch.Generator().manual_seed(seed)
    result = []
    for episode, length in enumerate(lengths):
        z = [torch.randn(dims, generator=g)]
        for _ in range(length - 1):
            z.append(rho * z[-1] + (1 - rho**2) ** 0.5 * torch.randn(dims, generator=g))
        result.append(trajectory(torch.stack(z), episode))
    return result


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 1), (3, 2)])
def test_smallest_clouds(shape: tuple[int, int]) -> None:
    geometry, _ = measure_geometry([trajectory(torch.randn(shape, generator=torch.Generator().manual_seed(0)))])
    assert np.isnan(geometry.normality.share)
    assert np.isfinite(geometry.pca).all() and geometry.pca.shape == (shape[0], 2)
    assert np.isnan(geometry.effective_rank.low)


def test_a_dead_latent() -> None:
    geometry, _ = measure_geometry([trajectory(torch.ones(20, 4), e) for e in range(10)])
    assert geometry.effective_rank.value == 0 and geometry.effective_rank.high == 0
    assert geometry.normality.share == 1
    assert np.isnan(geometry.straightness.value)


def test_autocorrelation_of_a_known_process() -> None:
    found = autocorrelation(ar1(0.8, [2000, 2000]), 5)
    np.testing.assert_allclose(found, 0.8 ** np.arange(1, 6), atol=0.05)


def test_frames_are_spread_until_they_decorrelate() -> None:
    """0.8^k < 0.2 first at k = 8."""
    z, stride, correlation = spread_frames(ar1(0.8, [400] * 4))
    assert stride in (7, 8, 9) and correlation < 0.2
    assert len(z) == 4 * -(-400 // stride)


def test_spreading_stops_while_enough_samples_remain() -> None:
    z, stride, correlation = spread_frames(ar1(0.97, [30] * 4))
    assert len(z) >= 64 and stride == 1 and correlation > 0.2


def test_correlated_gaussian_frames_pass_when_spread() -> None:
    """Taken one after the other these frames are Gaussian too, but the test would count copies as evidence."""
    shares = [measure_geometry(ar1(0.8, [200] * 4, seed=s))[0].normality.share for s in range(6)]
    assert np.median(shares) == 0


def test_bimodal_frames_fail() -> None:
    g = torch.Generator().manual_seed(0)
    side = torch.randint(0, 2, (40, 20, 1), generator=g) * 2.0 - 1
    z = torch.randn(40, 20, 3, generator=g) * 0.2 + 2 * side
    geometry, _ = measure_geometry([trajectory(z[e], e) for e in range(40)])
    assert geometry.normality.share > 0.9


def test_rank_interval_holds_the_rank_of_the_frames() -> None:
    trajectories = ar1(0.5, [30] * 20)
    geometry, sums = measure_geometry(trajectories)
    assert geometry.effective_rank.value == pytest.approx(effective_rank(torch.cat([t.z for t in trajectories])))
    assert 4 < geometry.effective_rank.low <= geometry.effective_rank.high <= 6
    pooled = rank_estimate([sums, sums], [geometry.effective_rank.value] * 2)
    assert pooled.value == pytest.approx(geometry.effective_rank.value) and pooled.n == 2 * 600


def test_only_the_first_phase_counts() -> None:
    one = ar1(0.5, [30] * 3)
    both = one + [Trajectory(t.episode, 1, t.z * 100, t.blocks) for t in one]
    np.testing.assert_allclose(moments(both).second, moments(one).second)


def test_straight_lines_are_straight() -> None:
    g = torch.Generator().manual_seed(0)
    lines = [trajectory(torch.arange(9.0)[:, None] * torch.randn(1, 5, generator=g), e) for e in range(3)]
    geometry, _ = measure_geometry(lines)
    assert geometry.straightness.value == pytest.approx(1) and geometry.straightness.n == 3 * 7
