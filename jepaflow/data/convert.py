"""Convert a dataset into a store: every camera resized by one rule, every video decoded once (by one process), memory bounded.

One episode is handled at a time and one frame is held at a time (with workers, about two episodes for each of them), so memory does
not grow with the dataset. What is
wrong with an episode is found before or while it is decoded and then handled as ``on_damage`` says; nothing is mended
in silence: the report lists every dropped episode and every repeated frame.
"""

import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json, write_json
from jepaflow.data.ahead import Decode, WorkerLost, decoder
from jepaflow.data.conversion_plan import ConversionPlan, ConvertConfig, check_space, choose_cameras
from jepaflow.data.episode_rows import Damage, episode_rows
from jepaflow.data.partial import Entry, PartialStore, refuse_existing
from jepaflow.data.types import Camera, Dataset, Episode, compact
from jepaflow.data.verify import Verification, verify

__all__ = ["ConvertConfig", "Report", "convert"]


@dataclass(frozen=True)
class Report:
    """What a conversion did; saved in ``conversion_report.json`` beside the store, under the store's name."""

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
    if not config.overwrite:
        refuse_existing(out)
    if not dataset.episodes:
        raise JepaflowError(
            f"{dataset.root} holds no episode ({len(dataset.absent)} are promised). Fetch its data files."
        )
    plan = ConversionPlan(dataset, cameras, config)
    check_space(out, plan)
    store: PartialStore | None = None
    try:
        store = PartialStore(out, plan.header(), plan.columns(), config.overwrite)
        return _write(plan, store, out, begin)
    except WorkerLost as error:
        raise JepaflowError(
            "A worker process died (killed, or out of memory). Finished episodes are kept: run the command again, "
            "perhaps with fewer --workers."
        ) from error
    except OSError as error:
        raise JepaflowError(
            f"Writing {out} failed ({error.strerror or error}). Free some space or choose another place, and run the "
            f"same command again: it {'begins anew' if config.overwrite else 'continues after the last whole episode'}."
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
    _save_report(out, report)
    store.complete({"jepaflow": json.dumps(plan.meta()), "conversion_report": json.dumps(asdict(report))})
    return report


def _convert_all(plan: ConversionPlan, store: PartialStore) -> None:
    left = [e for e in plan.episodes[len(store.entries) :] if e.index not in plan.unreadable]
    wanted, config = ((episode, camera) for episode in left for camera in plan.cameras), plan.config
    with (
        progress("Converting frames", plan.rows * len(plan.cameras)) as advance,
        decoder(plan.dataset, config.rule, wanted, min(config.workers, len(left) * len(plan.cameras))) as decode,
    ):
        for number, episode in enumerate(plan.episodes):
            if number >= len(store.entries):
                _convert_one(plan, store, episode, decode)
            advance(episode.length * len(plan.cameras), note=f"episode {number + 1} of {len(plan.episodes)}")
    store.wait()


def _convert_one(plan: ConversionPlan, store: PartialStore, episode: Episode, decode: Decode) -> None:
    policy = plan.config.on_damage
    entry = Entry(episode.index, episode.length, on_damage=policy)
    try:
        rows = episode_rows(plan, episode, sum(kept.length > 0 for kept in store.entries), store.row)
        entry.damage = rows.damage + _frame_damage(plan, episode)
        if entry.damage and policy != "keep":
            raise Damage
        for column, column_values in rows.values.items():
            store.write_rows(column, column_values)
        for camera in plan.cameras:
            _write_frames(plan, store, episode, camera, entry, decode)
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


def _frame_damage(plan: ConversionPlan, episode: Episode) -> list[str]:
    said = (plan.dataset.check_frames(episode, camera) for camera in plan.cameras)
    return [f"{sentence}." for sentence in said if sentence]


def _write_frames(
    plan: ConversionPlan, store: PartialStore, episode: Episode, camera: Camera, entry: Entry, decode: Decode
) -> None:
    column, rule, number = plan.column_of[camera.key], plan.config.rule, -1
    last = np.zeros((rule.size, rule.size, 3), dtype=np.uint8)
    bad: list[int] = []
    for number, frame in enumerate(decode(episode, camera)):
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


def _save_report(out: Path, report: Report) -> None:
    """Enter the report into the folder's ``conversion_report.json``, an object with one entry per store."""
    path = out.parent / "conversion_report.json"
    folder = os.open(out.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network disks lock no folders
            fcntl.flock(folder, fcntl.LOCK_EX)  # conversions into one folder may finish together
        reports = read_json(path) if path.exists() else {}
        if not isinstance(reports, dict):
            raise JepaflowError(f"{path} holds no conversion reports. Move it away.")
        if isinstance(reports.get("store"), str):  # one report alone, as it was written before
            reports = {reports["store"]: reports}
        write_json(path, {**reports, out.name: asdict(report)})
    finally:
        os.close(folder)


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
