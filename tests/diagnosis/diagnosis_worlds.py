"""Analytic worlds for the diagnosis tests: their forecasts are known exactly, every figure can be checked by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch

from jepaflow.diagnosis.latents import Trajectory


@dataclass
class LinearWorld:
    """``z' = z @ A + sum of the block's actions @ B``; ``hears`` scales how much of its actions a forecast uses.

    Pixels carry the row number in their first two bytes, and ``encode`` looks the latent of that row up.
    """

    table: torch.Tensor
    a: torch.Tensor
    b: torch.Tensor
    hears: float = 1.0

    def encode(self, pixels: torch.Tensor, proprio: torch.Tensor | None = None) -> torch.Tensor:
        corner = pixels[:, :, 0, 0, 0].long()
        return self.table[corner[..., 0] + 256 * corner[..., 1]]

    def rollout(self, z: torch.Tensor, past: torch.Tensor, future: torch.Tensor) -> torch.Tensor:
        assert past.shape[1] == z.shape[1] - 1
        now, imagined = z[:, -1], []
        for step in range(future.shape[1]):
            now = now @ self.a + self.hears * future[:, step].sum(1) @ self.b
            imagined.append(now)
        return torch.stack(imagined, 1)


@dataclass
class CopyLast:
    """The forecast that nothing changes."""

    def rollout(self, z: torch.Tensor, past: torch.Tensor, future: torch.Tensor) -> torch.Tensor:
        return z[:, -1:].expand(-1, future.shape[1], -1)


def random_world(dims: int = 4, actions: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A stable rotation-like ``A`` and a ``B``."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(dims, dims)))
    return torch.tensor(0.95 * q, dtype=torch.float32), torch.tensor(
        rng.normal(size=(actions, dims)), dtype=torch.float32
    )


def simulate(
    a: torch.Tensor, b: torch.Tensor, lengths: list[int], block: int = 2, noise: float = 0.0, seed: int = 0
) -> list[Trajectory]:
    """Trajectories of ``lengths`` model steps, exact up to ``noise``."""
    rng = np.random.default_rng(seed)
    result = []
    for episode, length in enumerate(lengths):
        blocks = torch.tensor(rng.normal(size=(length - 1, block, b.shape[0])), dtype=torch.float32)
        z = [torch.tensor(rng.normal(size=a.shape[0]), dtype=torch.float32)]
        for t in range(length - 1):
            z.append(z[-1] @ a + blocks[t].sum(0) @ b)
        clean = torch.stack(z)
        jitter = torch.tensor(noise * rng.normal(size=clean.shape), dtype=torch.float32)
        result.append(Trajectory(episode, 0, clean + jitter, blocks))
    return result


def write_store(
    path: Path, lengths: list[int], size: int = 32, actions: int = 2, seed: int = 0, source: str = "made"
) -> Path:
    """A finished store: a bright square that its actions push about on a dark ground."""
    rng = np.random.default_rng(seed)
    total = sum(lengths)
    pixels = np.zeros((total, size, size, 3), np.uint8)
    moves = rng.uniform(-1, 1, (total, actions)).astype(np.float32)
    row = 0
    for length in lengths:
        place = rng.uniform(6, size - 6, 2)
        for _ in range(length):
            y, x = place.round().astype(int)
            pixels[row, y - 3 : y + 3, x - 3 : x + 3] = 230
            place = np.clip(place + 2 * moves[row, :2], 4, size - 4)
            row += 1
    meta = {
        "format": 1,
        "fps": 10.0,
        "cameras": ["top"],
        "image_size": size,
        "tasks": ["push"],
        "source": source,
        "features": {},
    }
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    with h5py.File(path, "w") as file:
        file.create_dataset("pixels", data=pixels, chunks=(1, size, size, 3))
        file["action"] = moves
        file["ep_len"] = np.asarray(lengths, np.int32)
        file["ep_offset"] = offsets
        file["ep_source"] = np.arange(len(lengths), dtype=np.int64)
        file["episode_idx"] = np.repeat(np.arange(len(lengths)), lengths).astype(np.int64)
        file["step_idx"] = np.concatenate([np.arange(n) for n in lengths]).astype(np.int64)
        file.attrs["jepaflow"] = json.dumps(meta)
        file.attrs["complete"] = True
    return path
