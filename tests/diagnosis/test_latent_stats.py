"""Statistics of latent clouds against closed forms, scipy, and their own promised error rates."""

import numpy as np
import pytest
import scipy.stats
import torch

from jepaflow.worldmodel.latent_stats import (
    anderson_darling,
    covariance_spectrum,
    effective_rank,
    normality_failures,
    rank_of_spectrum,
    rejected,
    straightness,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (5, 0), (2, 1)])
def test_degenerate_clouds_have_a_rank_and_no_normality(shape: tuple[int, int]) -> None:
    z = torch.zeros(shape)
    assert effective_rank(z) == 0
    assert np.isnan(normality_failures(z, 4, generator()))


def test_rank_of_one_dimension_is_one() -> None:
    assert effective_rank(torch.tensor([[0.0], [1.0]])) == pytest.approx(1)


def test_rank_of_isotropic_gaussian_is_d() -> None:
    z = torch.randn(20000, 16, generator=generator())
    assert effective_rank(z) == pytest.approx(16, abs=0.05)


def test_rank_of_a_line_is_one_wherever_it_lies() -> None:
    line = torch.randn(200, 1, generator=generator()) @ torch.randn(1, 32, generator=generator(1)) + 7
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)


def test_rank_of_known_spectrum() -> None:
    """Two directions with variance shares p and 1 - p: exp of the binary entropy."""
    p = 0.8
    expected = np.exp(-(p * np.log(p) + (1 - p) * np.log(1 - p)))
    assert rank_of_spectrum(torch.tensor([4 * p, 4 * (1 - p)], dtype=torch.float64)) == pytest.approx(expected)


def test_rounding_error_of_a_constant_latent_is_no_rank() -> None:
    """float32 noise around a constant is isotropic; scored naively, a dead model would look perfect."""
    z = torch.full((500, 64), 0.37) * (1 + 2e-7 * torch.randn(500, 64, generator=generator()))
    assert effective_rank(z) == 0


def test_rank_is_invariant_to_rotation_scale_and_shift() -> None:
    z = torch.randn(300, 8, generator=generator()) * torch.linspace(0.1, 2, 8)
    q, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator(2)))
    assert effective_rank(1000 * z @ q + 5) == pytest.approx(effective_rank(z), rel=1e-3)


def test_rank_of_nan_is_nan() -> None:
    assert np.isnan(effective_rank(torch.tensor([[float("nan"), 1.0], [0.0, 1.0]])))


def test_spectrum_matches_numpy() -> None:
    z = torch.randn(100, 6, generator=generator())
    expected = np.sort(np.linalg.eigvalsh(np.cov(z.double().numpy().T)))[::-1]
    np.testing.assert_allclose(covariance_spectrum(z).numpy(), expected, rtol=1e-9)


def test_anderson_darling_statistic_matches_scipy() -> None:
    n = 150
    x = torch.randn(n, 5, generator=generator()).double() * 3 + 2
    x[:, 4] = torch.rand(n, generator=generator(1), dtype=torch.float64)
    statistic, p = anderson_darling(x)
    for column in range(5):
        values = np.sort(x[:, column].numpy())
        scores = (values - values.mean()) / values.std(ddof=1)
        cdf = scipy.stats.norm.logcdf(scores) + scipy.stats.norm.logsf(scores)[::-1]
        raw = -n - np.sum((2 * np.arange(1, n + 1) - 1) / n * cdf)
        assert float(statistic[column]) == pytest.approx(raw * (1 + 0.75 / n + 2.25 / n**2), rel=1e-9)
    assert float(p[4]) < 0.01 < float(p[:4].min())


def test_p_values_meet_the_published_critical_values() -> None:
    """Stephens' table, case 3: 10 %, 5 %, 2.5 %, 1 % at 0.631, 0.752, 0.873, 1.035."""
    from jepaflow.worldmodel.latent_stats import _anderson_p

    p = _anderson_p(torch.tensor([0.631, 0.752, 0.873, 1.035], dtype=torch.float64))
    np.testing.assert_allclose(p.numpy(), [0.10, 0.05, 0.025, 0.01], rtol=0.05)


def test_false_positive_rate_of_single_directions_is_alpha() -> None:
    draws = [
        normality_failures(torch.randn(120, 8, generator=generator(s)), 50, generator(s), correction="none")
        for s in range(150)
    ]
    assert np.mean(draws) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("correction", ["bh", "holm"])
def test_corrected_tests_of_a_gaussian_rarely_fail_at_all(correction: str) -> None:
    draws = [
        normality_failures(torch.randn(120, 8, generator=generator(s)), 50, generator(s), correction=correction) > 0  # type: ignore[arg-type]
        for s in range(150)
    ]
    assert np.mean(draws) <= 0.09  # 5 % plus three standard errors of 150 draws


@pytest.mark.parametrize("cloud", ["uniform", "bimodal", "line"])
def test_power_is_near_one_where_normality_is_plainly_broken(cloud: str) -> None:
    g = generator(3)
    if cloud == "uniform":
        z = torch.rand(500, 1, generator=g)
    elif cloud == "bimodal":
        z = torch.randn(500, 4, generator=g) + 40 * torch.randint(0, 2, (500, 1), generator=g) * torch.randn(
            1, 4, generator=g
        )
    else:
        z = torch.linspace(0, 1, 500)[:, None] * torch.randn(1, 6, generator=g)
    assert normality_failures(z, 100, g) > 0.95


def test_constant_latents_fail_everywhere() -> None:
    assert normality_failures(torch.ones(100, 3), 20, generator()) == 1


def test_rejections_match_scipy_and_hand() -> None:
    p = torch.tensor([0.001, 0.012, 0.02, 0.04, 0.5], dtype=torch.float64)
    adjusted = scipy.stats.false_discovery_control(p.numpy())
    assert rejected(p, 0.05, "bh").tolist() == (adjusted <= 0.05).tolist()
    assert rejected(p, 0.05, "holm").tolist() == [True, True, False, False, False]
    assert rejected(p.flip(0), 0.05, "holm").tolist() == [False, False, False, True, True]


def test_directions_follow_the_generator() -> None:
    z = torch.rand(60, 5, generator=generator())
    assert normality_failures(z, 64, generator(5), correction="none") == normality_failures(
        z, 64, generator(5), correction="none"
    )


def test_straightness_of_known_paths() -> None:
    time = torch.arange(10, dtype=torch.float32)
    line = time[None, :, None] * torch.randn(1, 1, 5, generator=generator())
    assert straightness(line) == pytest.approx(1)
    zigzag = (time % 2)[None, :, None] * torch.ones(1, 1, 3)
    assert straightness(zigzag) == pytest.approx(-1)
    angle = time * 0.3
    circle = torch.stack([angle.cos(), angle.sin()], -1)[None]
    assert straightness(circle) == pytest.approx(np.cos(0.3), abs=1e-5)
    assert np.isnan(straightness(torch.ones(2, 8, 3)))
    assert np.isnan(straightness(torch.randn(1, 2, 3)))


def test_straightness_of_independent_noise_is_minus_half() -> None:
    z = torch.randn(200, 60, 64, generator=generator())
    assert straightness(z) == pytest.approx(-0.5, abs=0.01)


def test_pauses_do_not_count() -> None:
    path = torch.tensor([0.0, 1, 2, 2, 2, 3, 4])[None, :, None]
    assert straightness(path) == pytest.approx(1)
