"""Stores and frames with a told state, for the tests of geometry."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import torch
from diagnosis_worlds import write_store

from jepaflow.data.store import Store
from jepaflow.diagnosis.frames import Frames
from jepaflow.diagnosis.latents import Trajectory
from jepaflow.diagnosis.told import Told

ARM = ("tcp_x", "tcp_y", "tcp_z", "cube0_x", "cube0_y", "cube0_z", "cube0_yaw", "light_x", "light_y", "phone_shift_x")


def told_store(path: Path, lengths: list[int], names: tuple[str, ...] = ARM, unit: str = "SI: m, rad, s") -> Store:
    """A store whose state is random numbers of the given names, in two tasks, with three behaviours."""
    write_store(path, lengths)
    rng = np.random.default_rng(1)
    with h5py.File(path, "r+") as file:
        rows = sum(lengths)
        file["state"] = rng.normal(size=(rows, len(names))).astype(np.float32)
        file["task_index"] = np.repeat(np.arange(len(lengths)) % 2, lengths).astype(np.int64)
        meta = json.loads(file.attrs["jepaflow"])
        meta["tasks"] = ["push it", "pull it"]
        meta["features"] = {"state": {"names": list(names), "unit": unit}}
        file.attrs["jepaflow"] = json.dumps(meta)
    return Store(path)


def walk(episodes: int, frames: int, dims: int, seed: int = 0) -> list[np.ndarray]:
    """Random walks."""
    rng = np.random.default_rng(seed)
    return [np.cumsum(rng.normal(size=(frames, dims)), 0) for _ in range(episodes)]


def trajectories_of(latents: list[np.ndarray], block: int = 2, actions: int = 2) -> list[Trajectory]:
    return [
        Trajectory(e, 0, torch.tensor(z, dtype=torch.float32), torch.zeros(max(0, len(z) - 1), block, actions))
        for e, z in enumerate(latents)
    ]


def frames_of(
    z: list[np.ndarray], things: dict[str, list[np.ndarray]] | None, pixels: list[np.ndarray] | None = None
) -> Frames:
    """Frames of given latents and places; block 1, so that row numbers are frame numbers."""
    lengths = [len(one) for one in z]
    told = None
    if things is not None:
        told = Told({name: np.concatenate(v) for name, v in things.items()}, "cm", "places")
    step = np.concatenate([np.arange(n) for n in lengths])
    return Frames(
        z=np.concatenate(z).astype(np.float64),
        pixels=np.concatenate(pixels or z).astype(np.float64),
        untrained=None,
        row=np.arange(sum(lengths)),
        episode=np.repeat(np.arange(len(z)), lengths),
        step=step,
        when=step / max(1, max(lengths) - 1),
        told=told,
        kinds=None,
        block=1,
    )
