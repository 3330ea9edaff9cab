"""From what a user names to the episodes to look at: a dataset on disk, or a world in which its scripted expert acts.

A folder on disk comes before a world of the same name, for a person who typed a path meant that path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.data.hub import open_dataset
from jepaflow.data.lerobot import LeRobotDataset
from jepaflow.data.names import flat_names
from jepaflow.data.types import Camera, Dataset, Episode, Feature, compact
from jepaflow.data.videofolder import VideoFolder
from jepaflow.evaluation.episode_view import EpisodeView, event_columns, event_labels, find_events, find_traces
from jepaflow.sims.collect import CollectConfig, features, record_episode
from jepaflow.sims.registry import WorldOptions, find_world, world_names


@dataclass(frozen=True)
class Choice:
    """What of a source to show.

    `episodes` None takes `count` of them, spread over the whole; `cameras` None takes all. The rest matters for worlds
    only: `image_size` (px), which of the world's behaviours acts, what is chosen about the world.
    """

    episodes: tuple[int, ...] | None = None
    count: int = 6
    cameras: tuple[str, ...] | None = None
    seed: int = 0
    image_size: int = 256
    behaviour: str = "expert"
    world: WorldOptions = field(default_factory=WorldOptions)

    def __post_init__(self) -> None:
        """Refuse a choice of nothing."""
        if self.episodes is not None and not self.episodes:
            raise JepaflowError("no episode was chosen. Give at least one number after --episodes.")
        if self.episodes is not None and min(self.episodes) < 0:
            raise JepaflowError(f"there is no episode {min(self.episodes)}. Episodes are counted from 0.")
        if self.cameras is not None and not self.cameras:
            raise JepaflowError("no camera was chosen. Give at least one name after --cameras, or leave it out.")
        if self.seed < 0:
            raise JepaflowError(f"the seed is {self.seed}. Give a number that is not negative.")


def views(target: str, choice: Choice) -> Iterator[EpisodeView]:
    """Yield the chosen episodes of a dataset folder, a video folder, a hub id, or a world.

    Raises:
        JepaflowError: there is no such source, episode or camera.
    """
    family = target.split("/")[0] + "/"
    is_world = target in (names := world_names()) or any(name.startswith(family) for name in names)
    if is_world and not Path(target).expanduser().exists():
        yield from world_views(target, choice)
    elif not Path(target).expanduser().exists() and "/" not in target:
        raise JepaflowError(
            f"{target} is neither a dataset on disk nor an environment. "
            f"Give a folder, a hub id such as owner/name, or one of: {', '.join(world_names())}."
        )
    else:
        yield from dataset_views(open_dataset(target), Path(target).expanduser().resolve().name, choice)


# Datasets ------------------------------------------------------------------------------------------------------------


def dataset_views(dataset: Dataset, name: str, choice: Choice) -> Iterator[EpisodeView]:
    """Yield the chosen episodes of an open dataset called `name`.

    Raises:
        JepaflowError: the dataset has no such episode or camera, or an episode's files are broken.
    """
    if not dataset.episodes:
        raise JepaflowError(f"{dataset.root} holds no episode. Run `jepaflow doctor` on it.")
    cameras = _pick_cameras(name, dataset.cameras, choice)
    for episode in _pick_episodes(dataset, choice):
        yield _dataset_view(dataset, name, episode, cameras)


def _pick_episodes(dataset: Dataset, choice: Choice) -> list[Episode]:
    present = {episode.index: episode for episode in dataset.episodes}
    if choice.episodes is None:
        places = np.unique(np.linspace(0, len(present) - 1, min(choice.count, len(present))).round().astype(int))
        return [dataset.episodes[place] for place in places]
    for index in choice.episodes:
        if index not in present:
            raise JepaflowError(f"{dataset.root} has no episode {index}. Present are {compact(sorted(present))}.")
    return [present[index] for index in choice.episodes]


def _pick_cameras(name: str, cameras: list[Camera], choice: Choice) -> list[Camera]:
    if choice.cameras is None:
        return cameras
    known = {word: camera for camera in cameras for word in (camera.key, camera.name)}
    for wanted in choice.cameras:
        if wanted not in known:
            listed = ", ".join(camera.name for camera in cameras) or "none"
            raise JepaflowError(f"{name} has no camera {wanted!r}. Its cameras: {listed}.")
    return [known[wanted] for wanted in dict.fromkeys(choice.cameras)]


def _dataset_view(dataset: Dataset, name: str, episode: Episode, cameras: list[Camera]) -> EpisodeView:
    rows = dataset.rows(episode)
    length = len(next(iter(rows.values()))) if rows else episode.length
    traces, units = find_traces(dataset.features, rows)
    keys = event_columns(dataset.features)
    labels = event_labels(dataset.info["features"]) if isinstance(dataset, LeRobotDataset) else {}
    by_name = {camera.name: camera for camera in cameras}

    def pictures(camera: str, only: np.ndarray | None) -> Iterator[np.ndarray | None]:
        chosen = by_name[camera]
        if only is None or chosen.kind == "image":
            yield from dataset.frames_or_none(episode, chosen, None, only)
            return
        for number in only:  # one by one, because each call may seek: an hour's video costs a few decodes per picture
            yield from dataset.frames_or_none(episode, chosen, None, np.array([number]))

    title, fps = name, dataset.fps
    if isinstance(dataset, VideoFolder):
        title = episode.slots["video"].path.name
        gaps = np.diff(rows["timestamp"].astype(np.float64))
        fps = float(1 / np.median(gaps)) if len(gaps) and np.median(gaps) > 0 else fps  # the files may differ in rate
    return EpisodeView(
        source=title,
        index=episode.index,
        length=length,
        fps=fps,
        task=" / ".join(episode.tasks),
        cameras=tuple(by_name),
        pictures=pictures,
        traces=traces,
        units=units,
        events=find_events(_event_values(dataset, episode, rows, keys), labels),
        eventful=bool(keys),
    )


def _event_values(
    dataset: Dataset, episode: Episode, rows: dict[str, np.ndarray], keys: Sequence[str]
) -> dict[str, np.ndarray]:
    """The episode's columns of events; text is read from its table, for `rows` holds numbers only."""
    values = {key: rows[key] for key in keys if key in rows}
    if isinstance(dataset, LeRobotDataset) and episode.data is not None:
        table = dataset.table(episode.data)
        numbers = dataset.row_numbers(episode)
        for key in keys:
            if key not in values and key in table.column_names:
                values[key] = np.array([_word(cell) for cell in table[key].take(numbers).to_pylist()], dtype=object)
    return values


def _word(cell: Any) -> str:
    while isinstance(cell, list):
        cell = cell[0] if cell else None
    return "" if cell is None else str(cell)


# Worlds --------------------------------------------------------------------------------------------------------------


def world_views(name: str, choice: Choice) -> Iterator[EpisodeView]:
    """Yield episodes that the scripted expert of a world acts; the same seed and number give the same episode.

    Raises:
        JepaflowError: there is no such world or camera.
    """
    entry, options = find_world(name), choice.world
    if entry.optional and choice.cameras is not None:
        options = replace(options, cameras=choice.cameras)
    config = CollectConfig(
        env=name, seed=choice.seed, image_size=choice.image_size, mix={choice.behaviour: 1.0}, world=options
    )
    world = entry.make(choice.image_size, options)
    written = features(entry, world)
    described = {
        key: Feature(
            key,
            str(feature["dtype"]),
            tuple(feature["shape"]),
            flat_names(feature.get("names"), int(np.prod(feature["shape"]))),
            str(feature.get("unit") or "unknown"),
        )
        for key, feature in written.items()
        if feature["dtype"] not in ("video", "image")
    }
    cameras = [Camera(camera, camera, choice.image_size, choice.image_size) for camera in world.cameras]
    picked = tuple(camera.name for camera in _pick_cameras(name, cameras, choice))
    keys, labels = event_columns(described), event_labels(written)
    for index in choice.episodes if choice.episodes is not None else range(choice.count):
        recorded = record_episode(entry, world, config, index)
        rows = recorded.rows
        traces, units = find_traces(described, rows)
        yield EpisodeView(
            source=name,
            index=index,
            length=len(next(iter(rows.values()))),
            fps=float(world.fps),
            task=recorded.task,
            cameras=picked,
            pictures=_in_memory(recorded.pictures),
            traces=traces,
            units=units,
            events=find_events({key: rows[key] for key in keys if key in rows}, labels),
            eventful=bool(keys),
        )


def _in_memory(recorded: dict[str, np.ndarray]) -> Any:
    def pictures(camera: str, only: np.ndarray | None) -> Iterator[np.ndarray | None]:
        frames = recorded[camera]
        yield from (frames[number] for number in (range(len(frames)) if only is None else only))

    return pictures
