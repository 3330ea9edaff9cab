"""An episode as rows while somebody acts, and the folder that the rows go into: shared by `collect` and `practise`.

Row `t` holds what is seen and the simulator state *before* action `t`, and the action as it was executed. Whoever acts
calls `watch` before choosing and `take` before executing, so a scripted behaviour and a planner leave the same rows.
A dataset folder belongs to the command that made it, with the settings in its record: a rerun continues only the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json, write_json
from jepaflow.data.writer import STAGING, has_begun, stage_episode
from jepaflow.sims.registry import World, WorldEntry

Observation = dict[str, np.ndarray]


@dataclass(frozen=True)
class Recording:
    """One episode in memory."""

    rows: dict[str, np.ndarray]
    """Features without pictures by key, each (T, ...)."""
    pictures: dict[str, np.ndarray]
    """Per camera, by its short name: (T, S, S, 3) uint8."""
    task: str
    behaviour: str

    def stage(self, root: Path, index: int) -> None:
        """Write it, whole or not at all, as episode `index` of the dataset in the making at `root`."""
        pictures = {f"observation.images.{camera}": frames for camera, frames in self.pictures.items()}
        stage_episode(root, index, self.rows, pictures, self.task)


class EpisodeRecorder:
    """Gathers one episode's rows.

    Args:
        entry: the world's entry, whose features are recorded.
        world: the world, in the episode's start state.
    """

    def __init__(self, entry: WorldEntry, world: World) -> None:
        self._entry, self._world = entry, world
        self._watch = entry.events(world) if entry.events is not None else None
        self._seen: list[Observation] = []
        self._actions: list[np.ndarray] = []
        self._states: list[np.ndarray] = []
        self._events: list[int] = []

    def __len__(self) -> int:
        return len(self._actions)

    def watch(self, phase: str = "") -> None:
        """Note what happens in this frame, given what the actor is doing; call it before the action is chosen."""
        if self._watch is not None:
            self._events.append(self._watch(phase))

    def take(self, action: np.ndarray, seen: Observation | None) -> None:
        """Add the row of an action that is about to be executed; `seen` None records no picture."""
        if seen is not None:
            self._seen.append(seen)
        self._states.append(self._world.get_state())
        self._actions.append(action)

    def recording(self, behaviour: str, label: int, task: str) -> Recording:
        """Return the episode so far; `label` is the behaviour's number among the dataset's labels."""
        rows = {
            "action": np.stack(self._actions).astype(np.float32),
            "observation.environment_state": np.stack(self._states).astype(np.float32),
        }
        if self._seen:
            rows["observation.state"] = np.stack([seen["state"] for seen in self._seen]).astype(np.float32)
        if self._watch is not None:
            rows["event"] = np.array(self._events, dtype=np.int64)
        if len(self._entry.behaviours) > 1:
            rows["behaviour"] = np.full(len(self._actions), label, dtype=np.int64)
        cameras = self._world.cameras
        pictures = {
            camera: np.stack([seen[key] for seen in self._seen])
            for camera, key in zip(cameras, ("pixels", *cameras[1:]), strict=True)
            if self._seen
        }
        return Recording(rows, pictures, task, behaviour)


def features(entry: WorldEntry, world: World, more_behaviours: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Return the dataset's features in LeRobot's form.

    Args:
        entry, world: what is recorded.
        more_behaviours: ways of acting beside the world's own; their labels follow those.
    """

    def numbers(names: tuple[str, ...], unit: str) -> dict[str, Any]:
        return {"dtype": "float32", "shape": [len(names)], "names": list(names), "unit": unit}

    def words(name: str, labels: list[str]) -> dict[str, Any]:
        return {"dtype": "int64", "shape": [1], "names": [name], "labels": labels}

    picture = {
        "dtype": "video",
        "shape": [world.image_size, world.image_size, 3],
        "names": ["height", "width", "channels"],
    }
    found = {
        "action": numbers(entry.action_names, entry.action_unit),
        "observation.state": numbers(entry.proprio_names, entry.proprio_unit or entry.state_unit),
        "observation.environment_state": numbers(world.state_names, entry.state_unit),
    }
    if entry.events is not None:
        found["event"] = words("event", list(entry.event_labels))
    if len(entry.behaviours) > 1:
        found["behaviour"] = words("behaviour", [*entry.behaviours, *more_behaviours])
    return found | {f"observation.images.{camera}": picture for camera in world.cameras}


def claim_folder(
    root: Path,
    record: str,
    settings: dict[str, Any],
    command: str,
    renewed: Callable[[dict[str, Any]], dict[str, Any]] = lambda before: before,
) -> bool:
    """Claim `root` for a command's settings; return whether the same settings have begun a dataset in it.

    Args:
        root: the dataset's folder.
        record: where in it the settings are kept.
        settings: what an episode is a function of; JSON values.
        command: as a user types it, e.g. "jepaflow collect".
        renewed: turns a record of an earlier release into today's form.

    Raises:
        JepaflowError: the folder holds something else, or was begun with other settings.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        if not (root / record).exists():
            raise JepaflowError(f"{root} is not empty and was not made by `{command}`. Choose another --output-dir.")
        before = renewed(read_json(root / record))
        changed = [
            f"{key} {before[key]} -> {value}" for key, value in settings.items() if before.get(key, value) != value
        ]
        if changed:
            raise JepaflowError(
                f"{root} was made with other settings ({', '.join(changed)}). Use those or choose another --output-dir."
            )
        return has_begun(root)
    write_json(root / record, settings)  # before the writer: whatever happens next, a rerun knows whose folder this is
    return False


def finished_episodes(root: Path) -> int:
    """Return how many episodes the finished dataset in `root` has; 0 where there is none or it is being extended."""
    info = root / "meta" / "info.json"
    if (root / STAGING).exists() or not info.exists():
        return 0
    return int(read_json(info)["total_episodes"])
