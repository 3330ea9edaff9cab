"""A small Two-Room store written straight from the simulator: no video codec between the world and the test."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from jepaflow.data.store import Store
from jepaflow.sims.collect import CollectConfig, record_episode
from jepaflow.sims.registry import find_world


def write_store(
    path: Path, episodes: int, image_size: int = 16, steps: tuple[int, int] = (40, 60), seed: int = 0
) -> None:
    """Write the columns that an evaluation reads, in the store's layout."""
    config = CollectConfig(episodes=episodes, steps=steps, seed=seed, image_size=image_size)
    entry = find_world("two_room")
    world = entry.make(image_size)
    recorded = [record_episode(entry, world, config, index) for index in range(episodes)]
    lengths = np.array([len(episode.rows["action"]) for episode in recorded])
    with h5py.File(path, "w") as file:
        file["pixels"] = np.concatenate([episode.pictures["top"] for episode in recorded])
        for column, key in (
            ("action", "action"),
            ("proprio", "observation.state"),
            ("state", "observation.environment_state"),
        ):
            file[column] = np.concatenate([episode.rows[key] for episode in recorded])
        file["episode_idx"] = np.repeat(np.arange(episodes), lengths)
        file["step_idx"] = np.concatenate([np.arange(n) for n in lengths])
        file["ep_len"] = lengths.astype(np.int32)
        file["ep_offset"] = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        meta = {"format": 1, "fps": 10.0, "cameras": ["top"], "image_size": image_size, "tasks": ["Go to the target."]}
        file.attrs["jepaflow"] = json.dumps(meta)
        file.attrs["complete"] = True


@pytest.fixture(scope="session")
def two_room_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("store") / "two_room.h5"
    write_store(path, episodes=8)
    return Store(path)
