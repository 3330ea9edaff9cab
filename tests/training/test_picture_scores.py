"""PSNR and SSIM against their formulas, computed slowly."""

import numpy as np
import pytest

from jepaflow.training.picture_scores import psnr, psnr_apart, ssim


def slow_ssim(a: np.ndarray, b: np.ndarray, side: int = 11) -> float:
    """Wang et al. 2004, equation 13, window by window and channel by channel."""
    axis = np.arange(side) - side // 2
    window = np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for channel in range(3):
        for top in range(len(a) - side + 1):
            for left in range(len(a) - side + 1):
                x, y = (p[top : top + side, left : left + side, channel].astype(float) for p in (a, b))
                mx, my = (window * x).sum(), (window * y).sum()
                vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
                cov = (window * (x - mx) * (y - my)).sum()
                values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


@pytest.mark.parametrize("size,side", [(20, 11), (11, 11), (8, 7), (5, 5), (1, 1)])
def test_ssim_is_the_papers(size: int, side: int) -> None:
    rng = np.random.default_rng(size)
    a = rng.integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    b = np.clip(a + rng.normal(0, [[[[5]]], [[[40]]], [[[120]]]], a.shape), 0, 255).astype(np.uint8)
    found = ssim(a, b)
    assert found == pytest.approx([slow_ssim(x, y, side) for x, y in zip(a, b)], abs=1e-9)
    assert ssim(a, a) == pytest.approx(np.ones(3))
    assert size == 1 or found[0] > found[1] > found[2]


def test_psnr_is_the_textbooks() -> None:
    a = np.full((3, 4, 4, 3), 100, np.uint8)
    b = a.copy()
    b[1] += 10
    b[2, 0, 0, 0] = 148  # 48² / 48 pixels and channels = 48
    assert psnr(a, b) == pytest.approx([10 * np.log10(255**2 * 12), 10 * np.log10(650.25), 10 * np.log10(255**2 / 48)])
    assert psnr(np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 255, np.uint8)) == pytest.approx([0])


def test_psnr_apart_looks_only_where_something_is() -> None:
    mean = np.full((4, 4, 3), 50.0)
    real = np.full((2, 4, 4, 3), 50, np.uint8)
    real[0, 1, 2] = (50, 50, 200)
    flat = np.full_like(real, 50)
    found = psnr_apart(real, flat, mean)
    assert found[0] == pytest.approx(10 * np.log10(255**2 / (150**2 / 3))) and np.isnan(found[1])
    assert psnr_apart(real, real, mean)[0] > 58
