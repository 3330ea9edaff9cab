"""Small stores, written as ``jepaflow convert`` lays them out, with content that tells where it came from."""

import json
from pathlib import Path

import h5py
import numpy as np


def write_store(
    path: Path,
    lengths: list[int],
    size: int = 64,
    cameras: tuple[str, ...] = ("top",),
    action_dim: int = 2,
    seed: int = 0,
    complete: bool = True,
) -> Path:
    """A store whose pixel [0, 0] is (episode, step, camera) and whose actions are (episode + step/1000, …noise)."""
    rng = np.random.default_rng(seed)
    n = sum(lengths)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    step = np.concatenate([np.arange(length) for length in lengths]) if lengths else np.empty(0, np.int64)
    with h5py.File(path, "w") as file:
        for number, camera in enumerate(cameras):
            pixels = rng.integers(0, 255, (n, size, size, 3), dtype=np.uint8)
            pixels[:, 0, 0] = np.stack([episode, step, np.full(n, number)], 1)
            file.create_dataset("pixels" if number == 0 else f"pixels_{camera}", data=pixels, chunks=(1, size, size, 3))
        if action_dim:
            action = rng.standard_normal((n, action_dim)).astype(np.float32)
            action[:, 0] = episode + step / 1000
            file["action"] = action
        file["proprio"] = file["state"] = rng.standard_normal((n, 2)).astype(np.float32)
        file["episode_idx"], file["step_idx"] = episode, step
        file["ep_len"] = np.array(lengths, np.int32)
        file["ep_offset"] = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        file["ep_source"] = np.arange(len(lengths)) + 100
        meta = {
            "format": 1,
            "fps": 10.0,
            "cameras": list(cameras),
            "image_size": size,
            "tasks": ["go"],
            "source": "made",
            "features": {},
        }
        file.attrs["jepaflow"] = json.dumps(meta)
        if complete:
            file.attrs["complete"] = True
    return path
