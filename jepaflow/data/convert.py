"""Convert a dataset into a store: every camera resized by one rule, every video decoded once, memory bounded.

One episode is handled at a time and one frame is held at a time, so memory does not grow with the dataset. What is
wrong with an episode is found before or while it is decoded and then handled as ``on_damage`` says; nothing is mended
in silence: the report lists every dropped episode and every repeated frame.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import disk_usage
from typing import Any

import numpy as np

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import write_json
from jepaflow.data.partial import Entry, PartialStore, discard
from jepaflow.data.resize import ImageRule
from jepaflow.data.types import Camera, Dataset, Episode, compact
from jepaflow.data.verify import Verification, verify

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
        overwrite: replace an existing store, or begin an interrupted one anew.
    """

    image_size: int = 224
    fit: str = "crop"
    on_damage: str = "fail"
    verify: int = 16
    cameras: tuple[str, ...] = ()
    units: dict[str, str] = field(default_factory=dict)
    overwrite: bool = False

    def __post_init__(self) -> None:
        ImageRule(self.image_size, self.fit)
        if self.on_damage not in ON_DAMAGE:
            raise JepaflowError(f"on-damage is {self.on_damage!r}. Choose one of: {', '.join(ON_DAMAGE)}.")
        if self.verify < 0:
            raise JepaflowError(f"verify is {self.verify}. Give the number of frames to compare, 0 for none.")

    @property
    def rule(self) -> ImageRule:
        """The rule for frames."""
        return ImageRule(self.image_size, self.fit)


@dataclass(frozen=True)
class Report:
    """What a conversion did; saved as ``conversion_report.json`` beside the store."""

    store: str
    source: str
    source_version: str
    episodes: int
    frames: int
    cameras: list[str]
    image_rule: str
    on_damage: str
    absent: list[int]
    dropped: list[dict[str, Any]]
    damaged_but_kept: list[dict[str, Any]]
    continued_after: int
    seconds: float
    frames_per_second: float
    verification: dict[str, Any]


class Damage(Exception):
    """One episode cannot be converted as it is."""


def convert(dataset: Dataset, out: Path, config: ConvertConfig) -> Report:
    """Write ``dataset`` into the store ``out``; continues where an interrupted conversion stopped.

    Raises:
        JepaflowError: when ``out`` exists, the disk is too small, an episode is damaged and ``on_damage`` is "fail",
            nothing is left to write, or the written frames differ from the source.
    """
    begin = time.monotonic()
    cameras = _cameras(dataset, config.cameras)
    if out.is_dir():
        raise JepaflowError(f"{out} is a folder. Give the name of the store, such as {out / (out.name + '.h5')}.")
    if config.overwrite:
        discard(out)
    elif out.exists():
        raise JepaflowError(f"{out} exists already. Use --overwrite to replace it, or choose another file.")
    if not dataset.episodes:
        raise JepaflowError(
            f"{dataset.root} holds no episode ({len(dataset.absent)} are promised). Fetch its data files."
        )
    plan = _Plan(dataset, cameras, config)
    _check_space(out, plan)
    store: PartialStore | None = None
    try:
        store = PartialStore(out, plan.header(), plan.columns())
        return _write(plan, store, out, begin)
    except OSError as error:
        raise JepaflowError(
            f"Writing {out} failed ({error.strerror or error}). Free some space or choose another place, and run the "
            "same command again: it continues after the last whole episode."
        ) from error
    finally:
        if store is not None:
            store.close()


def _write(plan: "_Plan", store: PartialStore, out: Path, begin: float) -> Report:
    """Everything between an open partial store and the finished one."""
    continued = len(store.entries)
    _convert_all(plan, store)
    seconds = time.monotonic() - begin
    kept = [entry for entry in store.entries if entry.length]
    if not kept:
        raise JepaflowError(f"Every episode of {plan.dataset.root} is damaged. Run jepaflow doctor on it.")
    config = plan.config
    checked = verify(plan.dataset, plan.cameras, config.rule, store, kept, config.verify, plan.column_of)
    report = _report(plan, out, store.entries, checked, continued, seconds)
    write_json(out.parent / "conversion_report.json", asdict(report))
    store.complete({"jepaflow": json.dumps(plan.meta()), "conversion_report": json.dumps(asdict(report))})
    return report


def _cameras(dataset: Dataset, wanted: Sequence[str]) -> list[Camera]:
    if not dataset.cameras:
        raise JepaflowError(f"{dataset.root} has no camera. A world model needs images.")
    known = {name: camera for camera in dataset.cameras for name in (camera.name, camera.key)}
    if unknown := [name for name in wanted if name not in known]:
        names = ", ".join(camera.name for camera in dataset.cameras)
        raise JepaflowError(f"{dataset.root} has no camera {unknown[0]!r}. Its cameras: {names}.")
    return [known[name] for name in dict.fromkeys(wanted)] if wanted else list(dataset.cameras)


class _Plan:
    """Everything about the store that is known before the first frame."""

    def __init__(self, dataset: Dataset, cameras: list[Camera], config: ConvertConfig) -> None:
        self.dataset, self.cameras, self.config = dataset, cameras, config
        self.rows = sum(episode.length for episode in dataset.episodes)
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
        if unknown := sorted(set(config.units) - set(dataset.features)):
            known = ", ".join(dataset.features)
            raise JepaflowError(f"--units names {unknown[0]!r}, which is no feature. The features: {known}.")

    def header(self) -> dict[str, Any]:
        """Source and options: an interrupted store is continued only under the same ones."""
        files = {
            path
            for episode in self.dataset.episodes
            for path in [episode.data, *(slot.path for slot in episode.slots.values())]
            if path is not None and path.exists()
        }
        listing = sorted((path.name, path.stat().st_size) for path in files)
        return {
            "format": FORMAT,
            "source": self.dataset.root.resolve().name,
            "files": hashlib.sha256(json.dumps(listing).encode()).hexdigest()[:16],
            "episodes": len(self.dataset.episodes),
            "rows": self.rows,
            "image_size": self.config.image_size,
            "fit": self.config.fit,
            "cameras": [camera.name for camera in self.cameras],
            "on_damage": self.config.on_damage,
        }

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


def _check_space(out: Path, plan: _Plan) -> None:
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


def _convert_all(plan: _Plan, store: PartialStore) -> None:
    dataset = plan.dataset
    total = sum(episode.length for episode in dataset.episodes) * len(plan.cameras)
    with progress("Converting frames", total) as advance:
        for number, episode in enumerate(dataset.episodes):
            if number >= len(store.entries):
                _convert_one(plan, store, episode)
            advance(episode.length * len(plan.cameras), note=f"episode {number + 1} of {len(dataset.episodes)}")
    store.wait()


def _convert_one(plan: _Plan, store: PartialStore, episode: Episode) -> None:
    entry, policy = Entry(episode.index, episode.length), plan.config.on_damage
    try:
        values = _low_dimensional(plan, episode, sum(kept.length > 0 for kept in store.entries), store.row)
        entry.damage = _value_damage(plan, values) + _frame_damage(plan, episode)
        if entry.damage and policy != "keep":
            raise Damage
        for column, column_values in values.items():
            store.write_rows(column, column_values)
        for camera in plan.cameras:
            _write_frames(plan, store, episode, camera, entry)
    except (Damage, JepaflowError) as problem:
        if str(problem):
            entry.damage.append(str(problem))
        if policy == "fail":
            said = "; ".join(entry.damage)
            raise JepaflowError(
                f"Episode {episode.index} is damaged: {said} "
                "Run jepaflow doctor on the dataset, or use --on-damage drop (or keep)."
            ) from problem
        entry.length = 0
    store.finish_episode(entry)


def _low_dimensional(plan: _Plan, episode: Episode, number: int, first_row: int) -> dict[str, np.ndarray]:
    """The episode's low-dimensional columns as the store keeps them."""
    rows = plan.dataset.rows(episode)
    count = len(next(iter(rows.values())))
    if count != episode.length:
        raise Damage(f"the data file holds {count} rows, the metadata promise {episode.length}.")
    values: dict[str, np.ndarray] = {}
    for column, key in plan.low.items():
        if key not in rows:
            raise Damage(f"the column {key} is missing.")
        values[column] = rows[key].reshape(count, -1).astype(np.float32)
        if values[column].shape[1] != plan.sizes[column]:
            raise Damage(f"{key} has {values[column].shape[1]} values, declared are {plan.sizes[column]}.")
    stamps = rows.get("timestamp", np.arange(count) / plan.dataset.fps)
    values["timestamp"] = stamps.reshape(count).astype(np.float32)
    values["episode_idx"] = np.full(count, number, dtype=np.int64)
    values["step_idx"] = np.arange(count, dtype=np.int64)
    values["index"] = rows.get("index", np.arange(first_row, first_row + count)).reshape(count).astype(np.int64)
    task = rows.get("task_index", np.zeros(count, dtype=np.int64)).reshape(count).astype(np.int64)
    if len(episode.tasks) == 1 and episode.tasks[0] in plan.tasks:
        task = np.full(count, plan.tasks.index(episode.tasks[0]), dtype=np.int64)
    values["task_index"] = np.clip(task, 0, max(len(plan.tasks) - 1, 0))
    return values


def _value_damage(plan: _Plan, values: dict[str, np.ndarray]) -> list[str]:
    damage = []
    for column, key in plan.low.items():
        bad = np.flatnonzero(~np.isfinite(values[column]).all(axis=1))
        if len(bad) and column != "state":
            damage.append(f"{key} is NaN or infinite in {len(bad)} frames (first: frame {bad[0]}).")
    return damage


def _frame_damage(plan: _Plan, episode: Episode) -> list[str]:
    said = (plan.dataset.check_frames(episode, camera) for camera in plan.cameras)
    return [f"{sentence}." for sentence in said if sentence]


def _write_frames(plan: _Plan, store: PartialStore, episode: Episode, camera: Camera, entry: Entry) -> None:
    column, rule, number = plan.column_of[camera.key], plan.config.rule, -1
    last = np.zeros((rule.size, rule.size, 3), dtype=np.uint8)
    bad: list[int] = []
    for number, frame in enumerate(plan.dataset.frames_or_none(episode, camera, rule)):
        if frame is None:
            bad.append(number)
            if plan.config.on_damage != "keep":
                break
            frame = last
        if number >= episode.length:
            raise Damage(f"there are more {camera.name} frames than rows.")
        store.write_frame(column, number, frame)
        last = frame
    if bad:
        entry.damage.append(f"{camera.name} frames {compact(bad)} cannot be decoded.")
        entry.repeated_frames += len(bad)
        if plan.config.on_damage != "keep":
            raise Damage
    if number + 1 < episode.length:
        raise Damage(f"only {number + 1} {camera.name} frames for {episode.length} rows.")


def _report(
    plan: _Plan, out: Path, entries: list[Entry], checked: Verification, continued: int, seconds: float
) -> Report:
    kept, fresh = [entry for entry in entries if entry.length], entries[continued:]
    frames = sum(entry.length for entry in fresh) * len(plan.cameras)
    return Report(
        store=out.name,
        source=plan.dataset.root.resolve().name,
        source_version=plan.dataset.version,
        episodes=len(kept),
        frames=sum(entry.length for entry in kept),
        cameras=[camera.name for camera in plan.cameras],
        image_rule=plan.config.rule.describe(),
        on_damage=plan.config.on_damage,
        absent=plan.dataset.absent,
        dropped=[{"episode": entry.source, "damage": entry.damage} for entry in entries if not entry.length],
        damaged_but_kept=[
            {"episode": entry.source, "damage": entry.damage, "repeated_frames": entry.repeated_frames}
            for entry in kept
            if entry.damage
        ],
        continued_after=continued,
        seconds=round(seconds, 3),
        frames_per_second=round(frames / max(seconds, 1e-9), 1),
        verification=asdict(checked),
    )
