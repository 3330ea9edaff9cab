"""What a decoder is worth on held-out episodes: PSNR and SSIM beside two floors, with intervals over episodes.

Floors: ``mean`` the mean training frame, whatever the latent; ``nearest`` the recorded training frame whose latent is
nearest, which is what stands for a latent where there is no decoder.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from jepaflow.common.intervals import bootstrap
from jepaflow.common.results import Row
from jepaflow.training.latents import Latents
from jepaflow.training.picture_scores import APART, psnr, psnr_apart, ssim
from jepaflow.worldmodel.decoder import Decoder

FRAMES = 600
"""held-out frames that a decoder is judged on, at equal distances"""
SAMPLE = 1000
"""training frames that the mean frame is taken of, at equal distances"""
BATCH = 64
QUERIES = 16
"""latents compared with all training rows at once: bounds the memory"""


def nearest(z: Float[Tensor, "n D"], wanted: Float[Tensor, "q D"]) -> tuple[Int[ndarray, " q"], Float[ndarray, " q"]]:
    """Return for each wanted latent the row of ``z`` nearest to it, and their mean squared difference."""
    rows, gaps = [], []
    for begin in range(0, len(wanted), QUERIES):
        distance, row = torch.cdist(wanted[begin : begin + QUERIES], z).min(1)
        rows.append(row)
        gaps.append(distance.square() / z.shape[1])
    return torch.cat(rows).numpy(), torch.cat(gaps).numpy()


def decoder_figures(decoder: Decoder, train: Latents, val: Latents) -> list[Row]:
    """Scores over all cameras and, with several, of each; no rows without held-out frames."""
    count = min(FRAMES, len(val.corpus))
    if count == 0:
        return []
    rows = np.unique(np.linspace(0, len(val.corpus) - 1, count).astype(np.int64))
    cameras = decoder.config.cameras
    real = val.corpus.frames(rows, cameras)
    closest, _ = nearest(train.z, val.z[torch.from_numpy(rows)])
    sample = np.unique(np.linspace(0, len(train.corpus) - 1, SAMPLE).astype(np.int64))
    mean = train.corpus.frames(sample, cameras).mean(0)
    shown = {
        "": _decode(decoder, val.z[torch.from_numpy(rows)]),
        "mean": np.broadcast_to(mean.round().astype(np.uint8), real.shape),
        "nearest": train.corpus.frames(closest, cameras),
    }
    episodes = val.corpus.episode[rows]
    parts = [("", range(len(cameras)))]
    if len(cameras) > 1:
        parts += [(f"/{camera}", range(view, view + 1)) for view, camera in enumerate(cameras)]
    found = []
    for name, unit, score, note in _scores(decoder.base.cpu().numpy()):
        values = {key: _judge(score, real, other) for key, other in shown.items()}
        for suffix, views in parts:
            row = _row(f"decoder/{name}{suffix}", unit, {k: v[:, views] for k, v in values.items()}, episodes, note)
            found += [] if row is None else [row]
    return found


Score = Callable[[ndarray, ndarray, int], ndarray]


def _judge(score: Score, real: ndarray, other: ndarray) -> Float[ndarray, "n V"]:
    """Score frames of every camera, a batch at a time: at 224 px a copy of all in float64 would take gigabytes."""
    views, parts = real.shape[1], range(0, len(real), BATCH)
    by_view = [[score(real[i : i + BATCH, v], other[i : i + BATCH, v], v) for i in parts] for v in range(views)]
    return np.stack([np.concatenate(scores) for scores in by_view], 1)


def _scores(base: Float[ndarray, "V S S 3"]) -> list[tuple[str, str, Score, str]]:
    note = "mean over held-out frames"
    apart = (
        f"{note}, over the pixels in which the real frame differs from the training's median frame by more than {APART}"
    )
    return [
        ("psnr", "dB", lambda real, other, view: psnr(real, other), note),
        ("psnr_apart", "dB", lambda real, other, view: psnr_apart(real, other, base[view]), apart),
        ("ssim", "SSIM", lambda real, other, view: ssim(real, other), f"{note}; 11×11 Gaussian window"),
    ]


def _decode(decoder: Decoder, z: Float[Tensor, "n D"]) -> ndarray:
    device = decoder.base.device
    parts = [decoder.pictures(z[i : i + BATCH].to(device)).cpu() for i in range(0, len(z), BATCH)]
    return torch.cat(parts).numpy()


def _row(name: str, unit: str, values: dict[str, ndarray], episodes: ndarray, note: str) -> Row | None:
    """Mean over frames [n, v], NaN left out, with an interval over whole episodes; None where all are NaN."""
    own = values[""]
    known = np.isfinite(own)
    if not known.any():
        return None
    numbers = np.unique(episodes)
    sums = np.stack([[np.nansum(own[episodes == e]), known[episodes == e].sum()] for e in numbers])
    sums = sums[sums[:, 1] > 0]
    low, high = bootstrap(sums, lambda drawn: float(drawn[:, 0].sum() / drawn[:, 1].sum()))
    floors = {key: float(np.nanmean(value)) for key, value in values.items() if key}
    return Row(name, float(np.nanmean(own)), low, high, int(known.any(1).sum()), 1, unit, floors, {}, note)
