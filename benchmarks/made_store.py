"""A store that is made up: a square that goes where the actions push it. Written by the product's own writer, so that its
layout on disk is that of every store; frames are drawn at once for many steps, so that 100,000 take seconds."""

import json
from pathlib import Path

import numpy as np

from jepaflow.data.partial import Entry, PartialStore

EPISODE = 500
"""Rows of an episode, at most."""
FPS = 10.0


def square_frames(place: np.ndarray, size: int) -> np.ndarray:
    """Frames (T, size, size, 3) of a bright square at places (T, 2) in 0 … 1, on a shaded ground."""
    side, at = max(1, size // 6), np.arange(size)
    corner = (place * (size - side)).astype(int)[:, :, None]
    inside = (at >= corner) & (at < corner + side)  # (T, 2, size)
    ground = np.add.outer(at, at) * 100 // (2 * size)
    frames = np.broadcast_to(ground[None, :, :, None], (len(place), size, size, 3)).astype(np.uint8)
    frames[inside[:, 1, :, None] & inside[:, 0, None, :]] = (240, 200, 60)
    return frames


def make_store(path: Path, frames: int, size: int, seed: int = 0) -> Path:
    """Write a store of so many frames, actions of 2 numbers, one camera."""
    rng = np.random.default_rng(seed)
    lengths = [min(EPISODE, frames - first) for first in range(0, frames, EPISODE)]
    columns = {
        "pixels": ((frames, size, size, 3), "u1"),
        "action": ((frames, 2), "f4"),
        "episode_idx": ((frames,), "i8"),
        "step_idx": ((frames,), "i8"),
    }
    store = PartialStore(path, {"made": frames, "size": size, "seed": seed}, columns)
    try:
        for episode, length in enumerate(lengths):
            action = rng.normal(0.0, 0.05, (length, 2)).astype(np.float32)
            place = 0.5 + 0.5 * np.sin(np.cumsum(action, 0) + rng.uniform(-1, 1, 2))
            store.write_rows("action", action)
            store.write_rows("episode_idx", np.full(length, episode))
            store.write_rows("step_idx", np.arange(length))
            for number, frame in enumerate(square_frames(place, size)):
                store.write_frame("pixels", number, frame)
            store.finish_episode(Entry(episode, length))
        meta = {"format": 1, "fps": FPS, "cameras": ["made"], "image_size": size, "tasks": [], "features": {}}
        store.complete({"jepaflow": json.dumps(meta)})
    finally:
        store.close()
    return path
