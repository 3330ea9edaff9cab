"""Collect episodes of a world into a LeRobot v3.0 dataset: pictures, actions and the full simulator state per frame.

Episode `i` is a pure function of (seed, i): its own generator makes the start, the targets and the noise. So a
collection that was interrupted goes on where it stopped and ends with the same episodes as an uninterrupted one, and
asking for more episodes later extends the same dataset.

Row `t` holds the picture and state *before* action `t` is executed, as LeRobot's recorders do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json, write_json
from jepaflow.data.writer import STAGING, DatasetWriter
from jepaflow.sims.registry import World, WorldEntry, find_world

RECORD = "meta/collect.json"
"""What the dataset was collected with, so that a rerun continues only the same collection."""


@dataclass(frozen=True)
class CollectConfig:
    """What to collect."""

    env: str = "two_room"
    episodes: int = 300
    steps: tuple[int, int] = (60, 100)
    """Range of an episode's length in control steps, drawn per episode."""
    seed: int = 0
    image_size: int = 64

    def __post_init__(self) -> None:
        """Refuse an empty collection."""
        find_world(self.env)
        if self.episodes < 1:
            raise JepaflowError(f"{self.episodes} episodes are nothing to collect. Ask for at least 1.")
        if not 1 <= self.steps[0] <= self.steps[1]:
            raise JepaflowError(
                f"episode lengths of {self.steps[0]}..{self.steps[1]} steps cannot be drawn. Give 1 <= low <= high."
            )
        if self.image_size < 8 or self.image_size % 2:
            raise JepaflowError(
                f"an image size of {self.image_size} px cannot be recorded as video. Give an even size of at least 8."
            )
        if self.seed < 0:
            raise JepaflowError(f"the seed is {self.seed}. Give a number that is not negative.")


def record_episode(
    entry: WorldEntry, world: World, config: CollectConfig, index: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Run episode `index` and return its rows (each (T, ...) float32) and its pictures (T, S, S, 3) uint8."""
    rng = np.random.default_rng([config.seed, index])
    world.reset(seed=int(rng.integers(2**31)))
    expert = entry.expert(world, rng)
    length = int(rng.integers(config.steps[0], config.steps[1] + 1))
    pictures = np.empty((length, config.image_size, config.image_size, 3), dtype=np.uint8)
    actions, proprio, states = [], [], []
    for t in range(length):
        observation = world.observation()
        action = expert.act()  # may draw a new target, which belongs to the state of this very row
        pictures[t] = observation["pixels"]
        proprio.append(observation["state"])
        states.append(world.get_state())
        actions.append(action)
        world.advance(action)
    rows = {"action": actions, "observation.state": proprio, "observation.environment_state": states}
    return {key: np.stack(values).astype(np.float32) for key, values in rows.items()}, pictures


def features(entry: WorldEntry, world: World) -> dict[str, dict[str, Any]]:
    """Return the dataset's features in LeRobot's form."""

    def numbers(names: tuple[str, ...], unit: str) -> dict[str, Any]:
        return {"dtype": "float32", "shape": [len(names)], "names": list(names), "unit": unit}

    picture = {
        "dtype": "video",
        "shape": [world.image_size, world.image_size, 3],
        "names": ["height", "width", "channels"],
    }
    return {
        "action": numbers(entry.action_names, entry.action_unit),
        "observation.state": numbers(entry.proprio_names, entry.state_unit),
        "observation.environment_state": numbers(world.state_names, entry.state_unit),
        f"observation.images.{world.camera}": picture,
    }


def collect(root: Path, config: CollectConfig) -> tuple[int, int]:
    """Collect into the dataset folder `root`, continuing what the same settings began; return (episodes, new ones).

    Raises:
        JepaflowError: `root` holds something else, or a collection with other settings.
    """
    entry = find_world(config.env)
    world = entry.make(config.image_size)
    begun = _check_folder(root, config)
    if (finished := _finished_episodes(root)) >= config.episodes:
        return finished, 0
    if begun:
        writer = DatasetWriter.resume(root)
    else:
        writer = DatasetWriter(root, world.fps, features(entry, world), robot_type=config.env)
    done = writer.num_episodes
    with writer, progress("collect", config.episodes) as advance:
        advance(min(done, config.episodes))
        for index in range(done, config.episodes):
            rows, pictures = record_episode(entry, world, config, index)
            writer.add_episode(rows, {f"observation.images.{world.camera}": pictures}, world.task)
            advance()
    return max(done, config.episodes), max(0, config.episodes - done)


def _check_folder(root: Path, config: CollectConfig) -> bool:
    """Claim `root` for this collection; return whether the same settings have begun a dataset in it."""
    settings = {"env": config.env, "steps": list(config.steps), "seed": config.seed, "image_size": config.image_size}
    record = root / RECORD
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        if not record.exists():
            raise JepaflowError(
                f"{root} is not empty and was not made by `jepaflow collect`. Choose another --output-dir."
            )
        before = read_json(record)
        changed = [f"{key} {before.get(key)} -> {value}" for key, value in settings.items() if before.get(key) != value]
        if changed:
            raise JepaflowError(
                f"{root} was collected with other settings ({', '.join(changed)}). "
                "Use those or choose another --output-dir."
            )
        return (root / STAGING).exists() or (root / "meta" / "info.json").exists()
    write_json(record, settings)  # before the writer: whatever happens next, a rerun knows whose folder this is
    return False


def _finished_episodes(root: Path) -> int:
    """Return how many episodes the finished dataset in `root` has; 0 where there is none or it is being extended."""
    info = root / "meta" / "info.json"
    if (root / STAGING).exists() or not info.exists():
        return 0
    return int(read_json(info)["total_episodes"])
