"""What a conversion will write, settled before the first frame: options, columns, metadata, space on the disk."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import disk_usage
from typing import Any

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.data.resize import ImageRule
from jepaflow.data.types import Camera, Dataset, Episode, Slot

FORMAT = 1
ON_DAMAGE = ("fail", "drop", "keep")


@dataclass(frozen=True)
class ConvertConfig:
    """How to convert.

    Attributes:
        image_size: side of the square frames in the store, pixels.
        fit: "crop" (short side to the size, then the centre), "pad" or "squash".
        on_damage: "fail" stops at the first damaged episode, "drop" leaves it out, "keep" repeats the frames before
            undecodable ones and keeps bad values.
        verify: random frames that are read again from source and store and compared when all is written.
        cameras: short names of the cameras to keep, primary first; empty means all.
        units: units by feature key, where the dataset does not tell them.
        overwrite: replace an existing store once the new one is whole, or begin an interrupted one anew.
        workers: processes that decode; each holds about two episodes of one camera.
    """

    image_size: int = 224
    fit: str = "crop"
    on_damage: str = "fail"
    verify: int = 16
    cameras: tuple[str, ...] = ()
    units: dict[str, str] = field(default_factory=dict)
    overwrite: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        ImageRule(self.image_size, self.fit)
        if self.on_damage not in ON_DAMAGE:
            raise JepaflowError(f"on-damage is {self.on_damage!r}. Choose one of: {', '.join(ON_DAMAGE)}.")
        if self.workers < 1:
            raise JepaflowError(f"{self.workers} workers do nothing. Give at least 1.")
        if self.verify < 0:
            raise JepaflowError(f"verify is {self.verify}. Give the number of frames to compare, 0 for none.")

    @property
    def rule(self) -> ImageRule:
        """The rule for frames."""
        return ImageRule(self.image_size, self.fit)


def choose_cameras(dataset: Dataset, wanted: Sequence[str]) -> list[Camera]:
    """The cameras to convert, primary first, by name or key; all when none is named.

    Raises:
        JepaflowError: when the dataset has no camera, or none of a name.
    """
    if not dataset.cameras:
        raise JepaflowError(f"{dataset.root} has no camera. A world model needs images.")
    known = {name: camera for camera in dataset.cameras for name in (camera.name, camera.key)}
    if unknown := [name for name in wanted if name not in known]:
        names = ", ".join(camera.name for camera in dataset.cameras)
        raise JepaflowError(f"{dataset.root} has no camera {unknown[0]!r}. Its cameras: {names}.")
    return [known[name] for name in dict.fromkeys(wanted)] if wanted else list(dataset.cameras)


class ConversionPlan:
    """Everything about the store that is known before the first frame."""

    def __init__(self, dataset: Dataset, cameras: list[Camera], config: ConvertConfig) -> None:
        self.dataset, self.cameras, self.config = dataset, cameras, config
        # Episodes that could not even be opened are damaged ones like others, with no row.
        self.unreadable = {
            found.episode: found.sentence
            for found in dataset.problems
            if found.level == "error" and found.episode is not None and found.episode not in dataset.absent
        }
        opened = {episode.index for episode in dataset.episodes}
        closed = [Episode(index, 0) for index in self.unreadable if index not in opened]
        self.episodes = sorted([*dataset.episodes, *closed], key=lambda episode: episode.index)
        self.rows = sum(episode.length for episode in self.episodes)
        if self.rows == 0:
            raise JepaflowError(f"{dataset.root}: all episodes are empty. Check the source.")
        self.column_of = {
            camera.key: "pixels" if number == 0 else f"pixels_{camera.name}" for number, camera in enumerate(cameras)
        }
        proprio, action = dataset.role("proprio"), dataset.role("action")
        roles = {"action": action, "proprio": proprio, "state": dataset.role("environment") or proprio}
        self.low = {column: key for column, key in roles.items() if key is not None}
        self.sizes = {column: int(np.prod(dataset.features[key].shape)) for column, key in self.low.items()}
        texts = [task for episode in dataset.episodes for task in episode.tasks]
        self.tasks = list(dataset.tasks) or list(dict.fromkeys(texts))
        self.task_places = {index: place for place, index in enumerate(dataset.task_indices)}
        if unknown := sorted(set(config.units) - set(dataset.features)):
            known = ", ".join(dataset.features)
            raise JepaflowError(f"--units names {unknown[0]!r}, which is no feature. The features: {known}.")

    def header(self) -> dict[str, Any]:
        """Source and options: an interrupted store is continued only under the same ones."""
        data = self.dataset
        files = {
            path
            for episode in self.episodes
            for path in [episode.data, *(slot.path for slot in episode.slots.values())]
            if path is not None and path.exists()
        }
        episodes = [
            [e.index, e.length, e.tasks, self._name(e.data), {k: self._slot(slot) for k, slot in e.slots.items()}]
            for e in self.episodes
        ]
        features = {key: asdict(feature) for key, feature in data.features.items()}
        return {
            "format": FORMAT,
            "source": data.root.resolve().name,
            "files": _fingerprint(sorted((self._name(path), path.stat().st_size) for path in files)),
            "metadata": _fingerprint([data.fps, features, self.tasks, data.task_indices, episodes]),
            "episodes": len(self.episodes),
            "rows": self.rows,
            "image_size": self.config.image_size,
            "fit": self.config.fit,
            "cameras": [camera.name for camera in self.cameras],
            "on_damage": self.config.on_damage,
        }

    def _name(self, path: Path | None) -> str:
        """A file's name inside the dataset: the dataset itself may move."""
        root = self.dataset.root
        return "" if path is None else str(path.relative_to(root) if path.is_relative_to(root) else path)

    def _slot(self, slot: Slot) -> list[Any]:
        return [self._name(slot.path), slot.start, slot.stop]

    def columns(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Columns of the store with shape and dtype."""
        size, count = self.config.image_size, self.rows
        columns: dict[str, tuple[tuple[int, ...], str]] = {}
        columns |= dict.fromkeys(self.column_of.values(), ((count, size, size, 3), "u1"))
        columns |= {column: ((count, width), "f4") for column, width in self.sizes.items()}
        columns |= dict.fromkeys(("episode_idx", "step_idx", "task_index", "index"), ((count,), "i8"))
        return {**columns, "timestamp": ((count,), "f4")}

    def meta(self) -> dict[str, Any]:
        """The ``jepaflow`` attribute."""
        features = {}
        for column, key in self.low.items():
            feature = self.dataset.features[key]
            unit = self.config.units.get(key, feature.unit)
            features[column] = {"key": key, "names": list(feature.names), "unit": unit}
        return {
            "format": FORMAT,
            "fps": self.dataset.fps,
            "cameras": [camera.name for camera in self.cameras],
            "image_size": self.config.image_size,
            "image_rule": self.config.rule.describe(),
            "image_fit": self.config.fit,
            "tasks": self.tasks,
            "source": self.dataset.root.resolve().name,
            "features": features,
        }


def _fingerprint(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def check_space(out: Path, plan: ConversionPlan) -> None:
    """Refuse to begin a store that the disk cannot hold; what a partial file already takes is counted.

    Raises:
        JepaflowError: naming the bytes that are missing.
    """
    needed = sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in plan.columns().values())
    partial = out.with_name(out.name + ".partial")
    needed -= partial.stat().st_blocks * 512 if partial.exists() else 0
    folder = next(parent for parent in out.resolve().parents if parent.exists())
    free = disk_usage(folder).free
    if needed > free:
        raise JepaflowError(
            f"{out} needs {needed / 1e9:.1f} GB more and {folder} has {free / 1e9:.1f} GB. Free some space, "
            "choose another disk, or lower --image-size."
        )
