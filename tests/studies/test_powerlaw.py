"""Power laws that are known are found again, and flat ones promise nothing."""

import numpy as np
import pytest

from jepaflow.studies.powerlaw import FAR, fit_power

SHARE = np.array([0.05, 0.1, 0.25, 0.5, 1.0])


def test_a_known_law_is_found() -> None:
    for a, b, c in ((0.8, 0.2, 0.5), (0.3, 0.05, 1.2)):
        fit = fit_power(SHARE, (a - b * SHARE**-c)[None])
        assert fit.at(np.array([1.0, 4.0]))[0] == pytest.approx([a - b, a - b * 4**-c], abs=4e-3)
        assert fit.doubling()[0] == pytest.approx(b * (1 - 2**-c), rel=0.05)
        gain = b * (1 - 2**-c)
        assert fit.enough(0.01)[0] == pytest.approx((gain / 0.01) ** (1 / c), rel=0.15)


def test_against_brute_force() -> None:
    """With noise, no (a, b, c) of a fine grid fits better."""
    rng = np.random.default_rng(0)
    y = 0.7 - 0.1 * SHARE**-0.7 + rng.normal(0, 0.02, 5)
    fit = fit_power(SHARE, y[None], limit=1.0)
    ours = np.square(fit.at(SHARE)[0] - y).sum()
    a, b, c = np.meshgrid(np.linspace(0.3, 1.0, 60), np.linspace(0, 0.5, 60), np.linspace(0.1, 3, 60), indexing="ij")
    brute = np.square(a[..., None] - b[..., None] * SHARE ** -c[..., None] - y).sum(-1).min()
    assert ours <= brute + 1e-6


def test_limits() -> None:
    flat = fit_power(SHARE, np.full((1, 5), 0.4))
    assert flat.doubling()[0] == pytest.approx(0, abs=1e-12) and flat.enough()[0] == pytest.approx(0, abs=1e-6)
    falling = fit_power(SHARE, (0.5 - 0.1 * np.log(SHARE))[None])  # more data, less of it: no promise
    assert falling.b[0] == 0
    line = fit_power(SHARE, (0.5 + 0.15 * np.log2(SHARE))[None], limit=1.0)
    assert line.a[0] <= 1 and line.enough()[0] <= FAR
    assert fit_power(np.array([0.5, 1.0]), np.array([[0.1, 0.2]])).at(np.array([1.0]))[0] == pytest.approx([0.2])
