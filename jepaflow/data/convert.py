"""Convert a dataset into a store: every camera resized by one rule, every video decoded once, memory bounded.

One episode is handled at a time and one frame is held at a time, so memory does not grow with the dataset. What is
wrong with an episode is found before or while it is decoded and then handled as ``on_damage`` says; nothing is mended
in silence: the report lists every dropped episode and every repeated frame.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import write_json
from jepaflow.data.conversion_plan import ConversionPlan, ConvertConfig, check_space, choose_cameras
from jepaflow.data.partial import Entry, PartialStore, discard
from jepaflow.data.types import Camera, Dataset, Episode, compact
from jepaflow.data.verify import Verification, verify

__all__ = ["ConvertConfig", "Report", "convert"]


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
    cameras = choose_cameras(dataset, config.cameras)
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
    plan = ConversionPlan(dataset, cameras, config)
    check_space(out, plan)
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


def _write(plan: ConversionPlan, store: PartialStore, out: Path, begin: float) -> Report:
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


def _convert_all(plan: ConversionPlan, store: PartialStore) -> None:
    dataset = plan.dataset
    total = sum(episode.length for episode in dataset.episodes) * len(plan.cameras)
    with progress("Converting frames", total) as advance:
        for number, episode in enumerate(dataset.episodes):
            if number >= len(store.entries):
                _convert_one(plan, store, episode)
            advance(episode.length * len(plan.cameras), note=f"episode {number + 1} of {len(dataset.episodes)}")
    store.wait()


def _convert_one(plan: ConversionPlan, store: PartialStore, episode: Episode) -> None:
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


def _low_dimensional(plan: ConversionPlan, episode: Episode, number: int, first_row: int) -> dict[str, np.ndarray]:
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


def _value_damage(plan: ConversionPlan, values: dict[str, np.ndarray]) -> list[str]:
    damage = []
    for column, key in plan.low.items():
        bad = np.flatnonzero(~np.isfinite(values[column]).all(axis=1))
        if len(bad) and column != "state":
            damage.append(f"{key} is NaN or infinite in {len(bad)} frames (first: frame {bad[0]}).")
    return damage


def _frame_damage(plan: ConversionPlan, episode: Episode) -> list[str]:
    said = (plan.dataset.check_frames(episode, camera) for camera in plan.cameras)
    return [f"{sentence}." for sentence in said if sentence]


def _write_frames(plan: ConversionPlan, store: PartialStore, episode: Episode, camera: Camera, entry: Entry) -> None:
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
    plan: ConversionPlan, out: Path, entries: list[Entry], checked: Verification, continued: int, seconds: float
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
