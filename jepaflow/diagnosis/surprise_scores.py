"""From forecast errors to surprise: a z-score against held-out normal motion, and how well it tells two films apart.

An error's size is spread over orders of magnitude, so surprise is the z-score of its *log*, with the mean and deviation
that calibration episodes of normal motion show. The error is the mean square over the latent (``log``), or, in
``mahalanobis``, each direction weighed by the calibration residuals' covariance (shrunk as Ledoit & Wolf 2004 do), so that an
error where errors are rare counts more. Compared on seeds that no published figure uses (n = 60 each), two pixels-only models
of so101/pick_place, one trained 400 steps and one 3,000: ``log`` against ``mahalanobis`` gives teleport .97 / .95 and .96 / .96,
vanish in full view .89 / .79 and .91 / .88, float .96 / .90 and .86 / .89, falling through the table 1.00 / .98 and .97 / .97;
in Two-Room they are alike but for the wall (.84 / .87, n = 100). So ``log``, the simpler, is the default. Regressing the log
error on how far the latent was expected to move changed nothing (at most .01).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from jepaflow.diagnosis.latents import Encodes, Imagines, device_of
from jepaflow.diagnosis.surprise_films import Film

SCORES = ("log", "mahalanobis")
BATCH = 64
TINY = 1e-12
"""Below every error of a real model: the log of an exact forecast."""


@dataclass(frozen=True)
class Gauge:
    """Turns a forecast's residual into a z-score; fitted on normal motion.

    Attributes:
        whiten: what centred residuals are multiplied by before they are squared; None: they are squared as they are.
        centre: the calibration residuals' mean.
        mean, deviation: of the log error in calibration.
    """

    whiten: Float[ndarray, "D D"] | None
    centre: Float[ndarray, " D"]
    mean: float = 0.0
    deviation: float = 1.0

    def __call__(self, residual: Float[ndarray, "n D"]) -> Float[ndarray, " n"]:
        """Return the z-scores of residuals, observed minus expected latents."""
        told = residual if self.whiten is None else (residual - self.centre) @ self.whiten
        z: ndarray = (np.log(np.square(told, dtype=np.float64).mean(-1) + TINY) - self.mean) / self.deviation
        return z

    @classmethod
    def fit(cls, residual: Float[ndarray, "n D"], score: str) -> Gauge:
        """Fit on residuals of normal motion.

        Args:
            residual: of calibration episodes.
            score: one of ``SCORES``.
        """
        whiten = None
        if score == "mahalanobis":
            from sklearn.covariance import LedoitWolf

            values, vectors = np.linalg.eigh(LedoitWolf().fit(residual).covariance_)
            whiten = vectors / np.sqrt(np.maximum(values, TINY))
        plain = cls(whiten, residual.mean(0))
        errors = plain(residual)
        return cls(whiten, plain.centre, float(errors.mean()), float(max(errors.std(), 1e-6)))


@torch.inference_mode()
def encode_film(model: Encodes, film: Film, proprio: bool) -> Float[Tensor, "n D"]:
    """Encode a film's frames, on the CPU in float32."""
    device, parts = device_of(model), []
    for begin in range(0, len(film), BATCH):
        pixels = torch.from_numpy(np.ascontiguousarray(film.frames[begin : begin + BATCH]))[:, None].to(device)
        body = torch.from_numpy(film.proprio[begin : begin + BATCH])[:, None].to(device) if proprio else None
        parts.append(model.encode(pixels, body)[:, 0].float().cpu())
    return torch.cat(parts)


@torch.inference_mode()
def expect(
    model: Imagines, z: Float[Tensor, "n D"], blocks: Float[Tensor, "m K A"], frames: Sequence[int], history: int
) -> Float[ndarray, "f D"]:
    """Forecast some frames, each from the ``history`` real ones before it and the actions, one model step ahead."""
    if not frames:
        return np.empty((0, z.shape[1]), dtype=np.float32)
    device = device_of(model)
    seen = torch.stack([z[f - history : f] for f in frames]).to(device)
    done = torch.stack([blocks[f - history : f] for f in frames]).to(device)
    ahead: ndarray = model.rollout(seen, done[:, :-1], done[:, -1:])[:, 0].float().cpu().numpy()
    return ahead


def auroc(violated: Float[ndarray, " n"], normal: Float[ndarray, " m"]) -> float:
    """Return the chance that a violated film surprises more than a normal one (ties count half; Mann & Whitney 1947)."""
    order = np.sort(normal)
    below, upto = np.searchsorted(order, violated, "left"), np.searchsorted(order, violated, "right")
    return float((below + upto).mean() / (2 * len(normal)))


def paired_share(violated: Float[ndarray, " n"], normal: Float[ndarray, " n"]) -> float:
    """Return the share of pairs in which the violated film surprises more than its own normal one (ties count half)."""
    return float(((violated > normal) + 0.5 * (violated == normal)).mean())


def paired_p(violated: Float[ndarray, " n"], normal: Float[ndarray, " n"]) -> float:
    """Return the p-value of the one-sided paired t-test that violated films surprise more; 1 where it cannot be tested."""
    difference = violated - normal
    if len(difference) < 2 or difference.std() == 0:
        return 1.0
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(difference, 0.0, alternative="greater").pvalue)
