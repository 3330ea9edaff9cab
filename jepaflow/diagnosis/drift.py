"""How far do imagined pictures drift from the real ones? Scores of decoded imagination against the horizon.

A decoder has an error of its own, so the same scores are given for the *reconstruction* of the real future latent (what the
decoder could do at best), and for two pictures that need no model: the last real frame, and the training's median frame.
Imagination is worth something in pictures where its curve lies above both floors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from jepaflow.common.results import Row
from jepaflow.data.store import Store
from jepaflow.diagnosis.as_row import as_row
from jepaflow.diagnosis.forecast import cut_windows
from jepaflow.diagnosis.geometry import first_phases
from jepaflow.diagnosis.horizon import FAR, choose_windows, take_windows
from jepaflow.diagnosis.latents import Imagines, Trajectory, device_of
from jepaflow.diagnosis.resample import Estimate, episode_means
from jepaflow.training.picture_scores import psnr, psnr_apart, ssim
from jepaflow.worldmodel.decoder import Decoder

STEPS = (1, 2, 5, 10, 15, 20, 30, 40, 50)
REPORTED = (1, 10, 20, 30, 50)
LIMIT, FEWEST = 60, 12
"""starts at two cameras of 64 px, and how many at least where frames are larger"""
BATCH = 32
SCORES = {"psnr": "dB", "psnr_apart": "dB", "ssim": "SSIM"}
SOURCES = ("imagined", "reconstructed", "copy_last", "median_frame")
Values = dict[str, dict[str, Float[ndarray, "W N"]]]


@dataclass(frozen=True)
class Drift:
    """Scores by horizon: ``scores[score][source][i]`` belongs to ``steps[i]`` model steps ahead."""

    steps: tuple[int, ...]
    scores: dict[str, dict[str, tuple[Estimate, ...]]]
    windows: int

    def rows(self, name: str) -> list[Row]:
        """``<name>/decoded_<score>@<h>`` with its floors and, as ceiling, the reconstruction."""
        rows = []
        for score, sources in self.scores.items():
            for i, h in enumerate(self.steps):
                if h not in REPORTED:
                    continue
                own = sources["imagined"][i]
                floors = {source: sources[source][i].value for source in ("copy_last", "median_frame")}
                ceilings = {"reconstructed": sources["reconstructed"][i].value}
                where = (
                    ", over the pixels where the real frame differs from the median frame"
                    if score == "psnr_apart"
                    else ""
                )
                note = (
                    f"frames imagined {h} model steps ahead open loop and decoded, against the real ones{where}; mean over "
                    f"{own.n} windows of {own.episodes} held-out episodes and all cameras; 95 % interval over episodes"
                )
                rows += as_row(f"{name}/decoded_{score}@{h}", own, SCORES[score], note, floors, ceilings)
        return rows


def window_places(trajectories: Sequence[Trajectory], history: int) -> Int[ndarray, "W 2"]:
    """Trajectory and *now* (its newest frame) of each window, in the order of `cut_windows`."""
    places = [(i, now) for i, t in enumerate(trajectories) for now in range(history - 1, len(t.z) - 1)]
    return np.array(places, np.int64).reshape(-1, 2)


def measure_drift(
    model: Imagines,
    decoder: Decoder,
    trajectories: Sequence[Trajectory],
    store: Store,
    history: int,
    horizon: int = FAR,
    draws: int = 1000,
    seed: int = 0,
) -> Drift | None:
    """Imagine from some starts, decode and score against the real frames; None when no episode has a window.

    Args:
        model: imagines, in the units of the dataset.
        decoder: of the same model; its cameras are judged.
        trajectories: held-out episodes; the first phase of each counts.
        store: where their frames lie.
        history: real frames that the model sees.
        horizon: model steps, at most.
        draws, seed: of the bootstrap over episodes.
    """
    ones = first_phases(trajectories)
    horizon = min(horizon, max(len(t.z) for t in ones) - history)
    windows = cut_windows(ones, history, horizon) if horizon >= 1 else None
    if windows is None:
        return None
    pixels = len(decoder.config.cameras) * decoder.config.image_size**2
    limit = int(np.clip(LIMIT * 2 * 64**2 // pixels, FEWEST, LIMIT))
    chosen = choose_windows(windows.reach.numpy(), limit)
    windows, places = take_windows(windows, chosen), window_places(ones, history)[chosen]
    device = device_of(model)
    with torch.inference_mode():
        plan = (windows.history.to(device), windows.past.to(device), windows.future.to(device))
        imagined = model.rollout(*plan).float().cpu()
    block = int(ones[0].blocks.shape[1])
    now = np.array([store.ep_offset[ones[i].episode] + ones[i].phase + block * frame for i, frame in places])
    steps = tuple(h for h in STEPS if h <= horizon)
    values = _empty(len(now), len(steps))
    for column, h in enumerate(steps):
        reached = np.flatnonzero(windows.reach.numpy() >= h)
        for begin in range(0, len(reached), BATCH):
            some = reached[begin : begin + BATCH]
            index = torch.from_numpy(some)
            latents = {"imagined": imagined[index, h - 1], "reconstructed": windows.target[index, h - 1]}
            _score(values, some, column, decoder, latents, store, now[some], now[some] + h * block)
    scores = {
        score: {source: episode_means(v, windows.episode.numpy(), draws, seed) for source, v in sources.items()}
        for score, sources in values.items()
    }
    return Drift(steps, scores, len(now))


def _empty(windows: int, steps: int) -> Values:
    return {score: {source: np.full((windows, steps), np.nan) for source in SOURCES} for score in SCORES}


def _score(
    values: Values,
    rows: ndarray,
    column: int,
    decoder: Decoder,
    latents: dict[str, Tensor],
    store: Store,
    now: ndarray,
    then: ndarray,
) -> None:
    """Fill in the scores of some windows at one horizon."""
    cameras, device = decoder.config.cameras, decoder.base.device
    real = store.pixels(then, cameras)
    base = decoder.base.cpu().numpy()
    shown: dict[str, UInt8[ndarray, "n V S S 3"]] = {
        k: decoder.pictures(z.to(device)).cpu().numpy() for k, z in latents.items()
    }
    shown["copy_last"] = store.pixels(now, cameras)
    shown["median_frame"] = np.broadcast_to(base.round().astype(np.uint8), real.shape)
    for source, frames in shown.items():
        for score in SCORES:
            values[score][source][rows, column] = _over_cameras(score, real, frames, base)


def _over_cameras(score: str, real: ndarray, frames: ndarray, base: ndarray) -> Float[ndarray, " n"]:
    """Mean over the cameras that have a score; NaN where none has one."""
    found = []
    for view in range(real.shape[1]):
        pair = (real[:, view], frames[:, view])
        found.append(
            psnr(*pair) if score == "psnr" else ssim(*pair) if score == "ssim" else psnr_apart(*pair, base[view])
        )
    scores = np.stack(found, 1)
    known = np.isfinite(scores)
    count = known.sum(1)
    total = np.where(known, scores, 0.0).sum(1)
    mean: ndarray = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return mean
