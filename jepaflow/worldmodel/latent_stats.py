"""What shape does a cloud of latents have? Three numbers that cost milliseconds, so that training logs them live.

They live beside the model and not in ``diagnosis/`` because training may import only ``data/`` and
``worldmodel/``, and a collapse is worth seeing while it happens and not only after it.

Design decisions:

- The effective rank is taken of the covariance eigenvalues in float64, with a noise floor: a latent that is
  constant up to float32 rounding has a perfectly isotropic *rounding error*, and must score 0, not ``D``.
- Normality is tested by Anderson–Darling with mean and variance estimated, p-values after D'Agostino and
  Stephens: vectorised over directions by one sort, where scipy would loop. It judges the *shape* along a
  direction; scale is the business of the spectrum.
- The share of failing directions is corrected for the number of directions (Benjamini–Hochberg by default): of a
  truly normal cloud it is 0 in at least 95 % of the draws, however many directions are tried.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

Correction = Literal["bh", "holm", "none"]

# Fewer samples than this say nothing about the shape of a distribution (Stephens' p-values are fitted for n >= 8).
MIN_NORMALITY_SAMPLES = 8


def variance_floor(z: Float[Tensor, "N D"]) -> float:
    """Variance along a direction that float32 rounding alone can make; less than this is none.

    16 eps of the root mean square: what a few dozen float32 layers leave on a latent that ought to be constant.
    """
    return float((16 * torch.finfo(torch.float32).eps) ** 2 * z.detach().double().square().mean())


def covariance_spectrum(z: Float[Tensor, "N D"]) -> Float[Tensor, " D"]:
    """Eigenvalues of the covariance of ``z``, largest first, float64, never negative, below the noise floor 0.

    With ``N`` samples at most ``N - 1`` of them are above zero, so spectra are only comparable at equal ``N`` unless
    ``N`` is well above ``D``.
    """
    samples, dims = z.shape
    if samples < 2 or dims == 0:
        return torch.zeros(dims, dtype=torch.float64, device=z.device)
    exact = z.detach().double()
    centred = exact - exact.mean(0)
    return clean_spectrum(centred.T @ centred / (samples - 1), variance_floor(z))


def clean_spectrum(covariance: Float[Tensor, "D D"], floor: float) -> Float[Tensor, " D"]:
    """Eigenvalues of a covariance, largest first; those not above ``floor`` become 0."""
    eigenvalues = torch.linalg.eigvalsh(covariance).flip(0)
    return torch.where(eigenvalues > floor, eigenvalues, torch.zeros_like(eigenvalues))


def rank_of_spectrum(eigenvalues: Float[Tensor, " D"]) -> float:
    """``exp`` of the entropy of eigenvalues normalised to sum 1; 0 when all are 0 (Roy and Vetterli 2007)."""
    total = eigenvalues.sum()
    if not float(total) > 0:
        return 0.0
    share = eigenvalues / total
    return float(torch.exp(torch.special.entr(share).sum()))


def effective_rank(z: Float[Tensor, "N D"]) -> float:
    """How many directions the latents really use: between 1 and ``D``; 0 when they do not vary at all.

    Roy and Vetterli (2007), applied to the eigenvalues of the covariance: ``D`` for an isotropic Gaussian, 1 when
    all latents lie on a line. Not finite input gives NaN.

    Args:
        z: latents, one a row.
    """
    if not bool(torch.isfinite(z).all()):
        return float("nan")
    return rank_of_spectrum(covariance_spectrum(z))


def anderson_darling(x: Float[Tensor, "N M"]) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"]]:
    """Anderson–Darling test of normality of every column, mean and variance estimated from the sample.

    D'Agostino and Stephens, *Goodness-of-fit techniques* (1986), case 3: ``A² (1 + .75/N + 2.25/N²)`` and its
    piecewise p-value. A column without variance is not normal: ``A²`` infinite, p = 0.

    Returns:
        The adjusted statistic and the p-value, one of each a column, float64.
    """
    n = x.shape[0]
    values = x.detach().double().sort(dim=0).values
    deviation = values.std(dim=0)
    scale = values.abs().amax(dim=0).clamp_min(1e-300)
    alive = deviation > 4 * torch.finfo(torch.float32).eps * scale
    scores = (values - values.mean(dim=0)) / torch.where(alive, deviation, torch.ones_like(deviation))
    weights = (2 * torch.arange(1, n + 1, dtype=torch.float64, device=x.device) - 1)[:, None]
    # log(1 - Phi(s)) is log Phi(-s): exact in the tail where 1 - Phi would round to 0.
    terms = torch.special.log_ndtr(scores) + torch.special.log_ndtr(-scores.flip(0))
    statistic = -n - (weights * terms).sum(0) / n
    statistic = statistic * (1 + 0.75 / n + 2.25 / n**2)
    statistic = torch.where(alive, statistic, torch.full_like(statistic, torch.inf))
    return statistic, _anderson_p(statistic)


def _anderson_p(a: Float[Tensor, " M"]) -> Float[Tensor, " M"]:
    """Stephens' piecewise p-value of the adjusted statistic."""
    low = 1 - torch.exp(-13.436 + 101.14 * a - 223.73 * a**2)
    middle = 1 - torch.exp(-8.318 + 42.796 * a - 59.938 * a**2)
    high = torch.exp(0.9177 - 4.279 * a - 1.38 * a**2)
    # Beyond 13 the last parabola turns round; the p-value there is 0 to any precision that matters.
    tail = torch.exp(1.2937 - 5.709 * a + 0.0186 * a**2)
    p = torch.where(a < 0.2, low, torch.where(a < 0.34, middle, torch.where(a < 0.6, high, tail)))
    return torch.where(a > 13, torch.zeros_like(p), p).clamp(0, 1)


def rejected(p: Float[Tensor, " M"], alpha: float, correction: Correction) -> Tensor:
    """Which hypotheses fall at level ``alpha``: Benjamini–Hochberg, Holm, or no correction. Boolean ``[M]``."""
    if correction == "none":
        return p.lt(alpha)
    m = p.numel()
    ordered, order = p.sort()
    rank = torch.arange(1, m + 1, dtype=p.dtype, device=p.device)
    if correction == "bh":
        passing = torch.nonzero(ordered <= alpha * rank / m)
        count = int(passing[-1]) + 1 if passing.numel() else 0
    else:
        standing = torch.nonzero(ordered > alpha / (m - rank + 1))
        count = int(standing[0]) if standing.numel() else m
    result = torch.zeros(m, dtype=torch.bool, device=p.device)
    result[order[:count]] = True
    return result


def random_directions(dims: int, directions: int, generator: Generator | None = None) -> Float[Tensor, "D M"]:
    """``directions`` unit vectors, uniform on the sphere in ``dims`` dimensions, as columns (float64, on the CPU)."""
    u = torch.randn(dims, directions, generator=generator, dtype=torch.float64)
    unit: Tensor = u / torch.linalg.vector_norm(u, dim=0).clamp_min(1e-300)
    return unit


def normality_failures(
    z: Float[Tensor, "N D"],
    directions: int = 256,
    generator: Generator | None = None,
    alpha: float = 0.05,
    correction: Correction = "bh",
) -> float:
    """Share of random directions along which the latents are not normally distributed.

    The samples should be roughly independent (one frame an episode, or frames far apart): neighbours in a video are
    copies of each other, and a test that takes them for independent fails everything. With enough samples any real
    cloud fails, so compare only shares at equal ``N``. NaN with fewer than 8 samples or values that are not finite.

    Args:
        z: latents, one a row.
        directions: number of directions, drawn uniformly on the sphere.
        generator: of the directions; None draws from the global one.
        alpha: level, before correction.
        correction: for the number of directions: Benjamini–Hochberg, Holm or none.
    """
    if z.shape[0] < MIN_NORMALITY_SAMPLES or directions < 1 or not bool(torch.isfinite(z).all()):
        return float("nan")
    projected = z.detach().double() @ random_directions(z.shape[1], directions, generator).to(z.device)
    _, p = anderson_darling(projected)
    return float(rejected(p, alpha, correction).double().mean())


def straightness_sums(z: Float[Tensor, "B T D"]) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Sum and number of the cosines between successive velocities of each trajectory; steps at rest are left out."""
    velocity = torch.diff(z.detach().double(), dim=1)
    length = velocity.norm(dim=-1)
    first, second = velocity[:, :-1], velocity[:, 1:]
    both = length[:, :-1] * length[:, 1:]
    moving = both > 0
    cosine = (first * second).sum(-1) / torch.where(moving, both, torch.ones_like(both))
    return (cosine * moving).sum(1), moving.double().sum(1)


def straightness(z: Float[Tensor, "B T D"]) -> float:
    """Mean cosine between successive velocities ``z[t+1] - z[t]``: 1 on a straight line, -1 when turning back always.

    After LeWorldModel (arXiv 2603.19312, "temporal straightening"). NaN with fewer than 3 frames or no movement.

    Args:
        z: trajectories of latents at equal time steps.
    """
    total, count = straightness_sums(z)
    pairs = float(count.sum())
    return float(total.sum()) / pairs if pairs > 0 else float("nan")
