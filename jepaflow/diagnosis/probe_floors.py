"""What a latent must beat: the same probes on features that know less, or that nobody trained.

- ``time``: how much of the episode has passed (share of its frames, and powers of it); an expert does the same things at
  the same times.
- ``random``: the latent of the same network before training, a fair rival: random convolutions keep much of a picture.
- ``pixels``: the frames themselves, 8 x 8 a camera; all scaled alike, or a pixel that hardly ever changes would spoil it.
- ``proprio``: the joints and their products; what they tell needs no camera at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jepaflow.data.store import Store
from jepaflow.diagnosis.latents import Trajectory, encode_episodes
from jepaflow.diagnosis.untrained import untrained_twin
from jepaflow.worldmodel.jepa import JEPA

PIXELS = "pixels"
FLOORS = ("time", "random", PIXELS, "proprio")
SIDE = 8
"""Of a frame that is shrunk to be a floor, px."""
POWERS = 4


def floor_features(
    model: JEPA, store: Store, trajectories: Sequence[Trajectory], seed: int = 0
) -> dict[str, Float[np.ndarray, "n F"]]:
    """Features of each floor for all frames of the trajectories, in their order; ``proprio`` only where there is some.

    Args:
        model: whose cameras, block and architecture the floors share.
        store: of the trajectories' episodes.
        trajectories: whose frames.
        seed: of the random encoder.
    """
    config = model.config
    frames = [store.episode_rows(t.episode)[t.phase :: config.block] for t in trajectories]
    features = {
        "time": np.concatenate([_time(t, config.block, int(store.ep_len[t.episode])) for t in trajectories]),
        "random": _random(model, store, trajectories, seed),
        PIXELS: np.concatenate([shrunk(store.pixels(rows, config.cameras)) for rows in frames]),
    }
    if store.dim("proprio"):
        scale = np.concatenate([store.read("proprio", rows) for rows in frames]).astype(np.float64)
        features["proprio"] = quadratic(scale)
    return features


def _time(trajectory: Trajectory, block: int, length: int) -> Float[np.ndarray, "T 4"]:
    share = (trajectory.phase + block * np.arange(len(trajectory.z))) / max(1, length - 1)
    return np.asarray(share[:, None] ** np.arange(1, POWERS + 1))


def _random(model: JEPA, store: Store, trajectories: Sequence[Trajectory], seed: int) -> Float[np.ndarray, "n D"]:
    config = model.config
    encoded = encode_episodes(  # the trajectories' own episodes and phases, so in their order
        untrained_twin(model, seed),
        store,
        list(dict.fromkeys(t.episode for t in trajectories)),
        cameras=config.cameras,
        block=config.block,
        phases=sorted({t.phase for t in trajectories}),
        proprio=config.proprio_dim > 0,
    )
    return torch.cat([t.z for t in encoded]).double().numpy()


def shrunk(frames: np.ndarray) -> Float[np.ndarray, "n F"]:
    """Frames ``[n, V, S, S, 3]`` as 8 x 8 means a camera and colour, 0 to 1, one row each."""
    n, size = len(frames), frames.shape[2]
    pictures: Tensor = torch.from_numpy(frames).flatten(0, 1).permute(0, 3, 1, 2).float() / 255
    small = torch.nn.functional.adaptive_avg_pool2d(pictures, min(SIDE, size))
    return small.reshape(n, -1).double().numpy()


def quadratic(values: Float[np.ndarray, "n P"]) -> Float[np.ndarray, "n F"]:
    """Numbers and all their products of two."""
    first, second = np.triu_indices(values.shape[1])
    return np.concatenate([values, values[:, first] * values[:, second]], 1)
