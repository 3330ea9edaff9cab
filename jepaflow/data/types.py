"""The words that every source of data shares: Camera, Episode, Slot, and what a Dataset can be asked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from jepaflow.data.resize import ImageRule


@dataclass(frozen=True)
class Camera:
    """One camera. ``name`` is the short one ("top"), ``key`` the dataset's ("observation.images.top")."""

    name: str
    key: str
    height: int
    width: int
    kind: str = "video"  # "video" or "image"


@dataclass(frozen=True)
class Slot:
    """The part of a video file that belongs to one episode: frames with ``start <= time < stop``, in seconds.

    ``stop`` is None where the whole file is the episode's.
    """

    path: Path
    start: float = 0.0
    stop: float | None = None


@dataclass(frozen=True)
class Episode:
    """One episode that is present on disk. ``index`` is the dataset's own number, ``length`` counts its rows."""

    index: int
    length: int
    tasks: tuple[str, ...] = ()
    data: Path | None = None  # parquet file with its rows
    slots: dict[str, Slot] = field(default_factory=dict)  # camera key -> place of its frames
    meta: dict[str, Any] = field(default_factory=dict)  # what the episodes table says, without statistics


@dataclass(frozen=True)
class Feature:
    """One non-camera feature: values per row, their names, and the unit ("unknown" when nothing tells)."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    unit: str = "unknown"


LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that the doctor has to say: how bad, where, what, and what to do."""

    level: str  # "error", "warning" or "note"
    code: str
    sentence: str
    fix: str = ""
    file: str | None = None
    episode: int | None = None
    frame: int | None = None


@runtime_checkable
class Dataset(Protocol):
    """A dataset on disk. Episodes that are promised but absent are in ``absent``, not in ``episodes``."""

    root: Path
    version: str
    fps: float
    cameras: list[Camera]
    features: dict[str, Feature]
    episodes: list[Episode]
    absent: list[int]
    tasks: list[str]
    task_indices: list[int]  # the task_index by which rows mean each of ``tasks``; empty where no table tells
    problems: list[Finding]  # met while opening

    def rows(self, episode: Episode) -> dict[str, np.ndarray]:
        """All non-camera columns of an episode, each ``(T, ...)``, under their keys in the dataset."""
        ...

    def frames(self, episode: Episode, camera: Camera, rule: ImageRule | None = None) -> Iterator[np.ndarray]:
        """The camera's uint8 frames ``(H, W, 3)``, one per row, in order; resized by ``rule`` if one is given."""
        ...

    def frames_or_none(
        self, episode: Episode, camera: Camera, rule: ImageRule | None = None, only: np.ndarray | None = None
    ) -> Iterator[np.ndarray | None]:
        """Like :meth:`frames`, with None for a frame that cannot be decoded; ``only`` picks rows, ascending."""
        ...

    def check_frames(self, episode: Episode, camera: Camera) -> str | None:
        """A sentence when the number of the camera's frames is not the number of rows, else None."""
        ...

    def role(self, name: str) -> str | None:
        """Key of the feature that plays the role "action", "proprio" or "environment", or None."""
        ...


def short_name(key: str) -> str:
    """The short name of a camera key: "observation.images.top" -> "top"."""
    return key.rsplit(".", 1)[-1].replace("/", "_") or key


def compact(numbers: Sequence[int]) -> str:
    """Ascending integers as ranges: [0, 1, 2, 5] -> "0-2, 5"."""
    parts: list[str] = []
    first = last = None
    for number in [*sorted(set(numbers)), None]:
        if first is not None and last is not None and (number is None or number != last + 1):
            parts.append(f"{first}" if first == last else f"{first}-{last}")
            first = number
        elif first is None:
            first = number
        last = number
    return ", ".join(parts)
