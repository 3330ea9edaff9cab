"""How alike two pictures are: PSNR, PSNR where something is, and SSIM (Wang, Bovik, Sheikh, Simoncelli 2004).

SSIM has the paper's 11×11 Gaussian window (deviation 1.5 px) and constants; it is taken of every colour channel, wherever the
window lies wholly inside the picture, and averaged. Pictures smaller than the window get the largest odd one that fits.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor, nn

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
ROUNDING = 1 / 12
"""mean squared error of rounding to bytes: no picture counts as closer, so PSNR is at most 58.9 dB"""
APART = 32
"""difference from the empty scene, in any channel and of 255, from which a pixel counts as one where something is"""


def psnr(a: UInt8[ndarray, "n S S 3"], b: UInt8[ndarray, "n S S 3"]) -> Float[ndarray, " n"]:
    """Peak signal-to-noise ratio of each pair, dB."""
    return _decibels(np.square(a.astype(np.float64) - b).mean((1, 2, 3)))


def psnr_apart(
    real: UInt8[ndarray, "n S S 3"], other: UInt8[ndarray, "n S S 3"], empty: Float[ndarray, "S S 3"]
) -> Float[ndarray, " n"]:
    """PSNR over the pixels in which ``real`` differs from the empty scene (arm, objects), dB; NaN where none does."""
    inside = (np.abs(real - empty.astype(np.float64)) > APART).any(-1)
    squared = np.square(real.astype(np.float64) - other).mean(-1)
    count = inside.sum((1, 2))
    error = (squared * inside).sum((1, 2)) / np.maximum(count, 1)
    return np.where(count > 0, _decibels(error), np.nan)


def _decibels(error: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    decibels: ndarray = 10 * np.log10(255**2 / np.maximum(error, ROUNDING))
    return decibels


def ssim(a: UInt8[ndarray, "n S S 3"], b: UInt8[ndarray, "n S S 3"]) -> Float[ndarray, " n"]:
    """Structural similarity of each pair, −1 … 1; 1: equal."""
    side = min(WINDOW, a.shape[1] - 1 + a.shape[1] % 2)
    places = torch.arange(side, dtype=torch.float64) - side // 2
    window = torch.exp(-places.square() / (2 * SIGMA**2))
    window = window / window.sum()

    def blur(x: Tensor) -> Tensor:
        across = nn.functional.conv2d(x, window.view(1, 1, 1, -1))
        return nn.functional.conv2d(across, window.view(1, 1, -1, 1))

    x, y = (
        torch.from_numpy(np.ascontiguousarray(p)).permute(0, 3, 1, 2).flatten(0, 1)[:, None].double() for p in (a, b)
    )
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x.square(), blur(y * y) - mean_y.square()
    covariance = blur(x * y) - mean_x * mean_y
    alike = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    each = alike / ((mean_x.square() + mean_y.square() + C1) * (var_x + var_y + C2))
    scores: ndarray = each.mean((1, 2, 3)).view(len(a), 3).mean(1).numpy()
    return scores
