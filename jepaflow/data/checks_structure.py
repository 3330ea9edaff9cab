"""Checks of what a LeRobot folder says about itself, without decoding a frame: files, counts, pointers, slots."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json
from jepaflow.data.findings import Collector
from jepaflow.data.lerobot import LeRobotDataset
from jepaflow.data.records import read_records
from jepaflow.data.types import Camera, Episode, compact
from jepaflow.data.video import VideoIndex

KNOWN_VERSIONS = ("v2.0", "v2.1", "v3.0")


def check_structure(dataset: LeRobotDataset, found: Collector) -> None:
    """All checks that need the metadata and the files' headers only."""
    checks = [_check_info, _check_features, _check_absent, _check_stats]
    if dataset.layout.version == "v3":
        checks += [_check_row_ranges, _check_slots]
    for check in checks:
        with found.guard(check.__name__.removeprefix("_check_").replace("_", " "), file="meta"):
            check(dataset, found)
    for camera in dataset.cameras:
        if camera.kind == "video":
            with found.guard(f"the {camera.name} videos"):
                _check_videos(dataset, camera, found)


def _check_info(dataset: LeRobotDataset, found: Collector) -> None:
    info, file = dataset.info, "meta/info.json"
    if dataset.info.get("codebase_version") not in KNOWN_VERSIONS:
        said = dataset.info.get("codebase_version") or "none"
        sentence = f"codebase_version is {said!r}; the files are laid out as {dataset.layout.version}."
        found.add("warning", "version", sentence, "Set it to v2.1 or v3.0: LeRobot refuses others.", file=file)
    if not info.get("fps"):
        sentence = f"fps is missing; {dataset.fps:g} is taken from a feature."
        found.add("warning", "no-fps", sentence, "Set it: LeRobot reads it only there.", file=file)
    listed = sum(episode.length for episode in dataset.layout.listed)
    if info.get("total_frames") not in (None, listed):
        sentence = f"total_frames is {info['total_frames']}, the episodes' lengths sum to {listed}."
        found.add("warning", "total-frames", sentence, "Correct the number.", file=file)
    promised, indices = int(info.get("total_episodes") or 0), [episode.index for episode in dataset.layout.listed]
    if promised != len(indices):
        sentence = f"total_episodes is {promised}, the episodes table lists {len(indices)}."
        found.add("warning", "total-episodes", sentence, "Correct the number.", file=file)
    if twice := sorted({index for index in indices if indices.count(index) > 1} if len(indices) < 20_000 else set()):
        sentence = f"Episodes {compact(twice)} are listed more than once."
        found.add("error", "listed-twice", sentence, "Remove the extra lines.", file="meta/episodes")


def _check_features(dataset: LeRobotDataset, found: Collector) -> None:
    file = "meta/info.json"
    for key, feature in dataset.info["features"].items():
        size = int(np.prod(feature.get("shape") or [1]))
        if feature.get("dtype") in ("video", "image"):
            shape = feature.get("shape") or []
            if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
                sentence = f"The shape of {key} is written (channels, height, width): {shape}."
                found.add(
                    "note", "shape-chw", sentence, "LeRobot writes (height, width, channels).", file=file, subject=key
                )
        elif size > 1 and all(name.startswith("dim_") for name in dataset.features[key].names):
            sentence = f"The {size} values of {key} have no usable names ({feature.get('names')})."
            found.add(
                "note", "no-names", sentence, "Name them: LeRobot's tools fail on null names.", file=file, subject=key
            )
    for role in ("action", "proprio"):
        key = dataset.role(role)
        if key is None:
            found.add(
                "warning", f"no-{role}", f"No feature plays the role of {role}.", "Only image tasks are possible."
            )
        elif dataset.features[key].unit == "unknown":
            sentence = f"The unit of {key} is not stated."
            found.add("note", "unit-unknown", sentence, f"Give it when converting: --units {key} UNIT.", subject=key)


def _check_absent(dataset: LeRobotDataset, found: Collector) -> None:
    if dataset.absent:
        total = len(dataset.absent) + len(dataset.episodes)
        sentence = f"{len(dataset.absent)} of {total} episodes are promised but absent: {compact(dataset.absent)}."
        fix = "Download the rest, or correct meta/info.json and the episodes list. Conversion takes those present."
        found.add("error", "absent-episodes", sentence, fix, file="meta/info.json", episode=dataset.absent[0])
    known = set(dataset.layout.tasks.values())
    for episode in dataset.episodes:
        if unknown := [task for task in episode.tasks if known and task not in known]:
            sentence = f"The task {unknown[0]!r} is not in the tasks file."
            found.add("warning", "unknown-task", sentence, "Add it.", file="meta/tasks", episode=episode.index)


def _check_stats(dataset: LeRobotDataset, found: Collector) -> None:
    meta = dataset.root / "meta"
    stats: dict[str, dict[str, object]] = {}
    try:
        if (meta / "stats.json").exists():
            stats = read_json(meta / "stats.json")
        elif (meta / "episodes_stats.jsonl").exists():
            lines = read_records(meta / "episodes_stats.jsonl")
            stats = lines[0].values.get("stats", {}) if lines else {}
        if not isinstance(stats, dict) or not all(isinstance(entry, dict) for entry in stats.values()):
            raise JepaflowError("The statistics are not an object per feature.")
    except JepaflowError as error:
        found.add("warning", "stats-unreadable", str(error), "Recompute the statistics.", file="meta/stats.json")
        return
    if missing := [
        key
        for key, feature in dataset.info["features"].items()
        if key not in stats and feature.get("dtype") != "string"
    ]:
        sentence = f"There are no statistics for {', '.join(missing)}."
        found.add(
            "note", "no-stats", sentence, "LeRobot needs them to normalise; jepaflow does not.", file="meta/stats.json"
        )
    elif dataset.layout.version == "v3" and not any("q01" in entry for entry in stats.values()):
        sentence = "The statistics hold no quantiles, as older LeRobot versions wrote them."
        found.add(
            "note",
            "no-quantiles",
            sentence,
            "Recompute them if a policy normalises by quantiles.",
            file="meta/stats.json",
        )


def _check_row_ranges(dataset: LeRobotDataset, found: Collector) -> None:
    """dataset_from_index/dataset_to_index must tile the rows in episode order."""
    expected = None
    for episode in dataset.layout.listed:
        begin, end = episode.meta.get("dataset_from_index"), episode.meta.get("dataset_to_index")
        if begin is None or end is None:
            continue
        wrong = end - begin != episode.length or (expected is not None and begin != expected)
        if wrong:
            sentence = f"The episodes table gives rows {begin} to {end} for {episode.length} frames" + (
                f", expected from {expected}." if expected is not None else "."
            )
            fix = "Rewrite dataset_from_index and dataset_to_index; jepaflow goes by the rows' episode_index."
            found.add("error", "row-range", sentence, fix, file="meta/episodes", episode=episode.index)
        expected = end


def _check_slots(dataset: LeRobotDataset, found: Collector) -> None:
    """Slots of one video file must not overlap and must lie inside it."""
    for camera in (camera for camera in dataset.cameras if camera.kind == "video"):
        by_file: dict[Path, list[Episode]] = defaultdict(list)
        for episode in dataset.episodes:
            if camera.key in episode.slots:
                by_file[episode.slots[camera.key].path].append(episode)
        for path, episodes in by_file.items():
            index = _index(dataset, path)
            half, end = 0.5 / dataset.fps, None
            for episode in sorted(episodes, key=lambda episode: episode.slots[camera.key].start):
                slot = episode.slots[camera.key]
                place: dict[str, Any] = {
                    "file": _relative(dataset, path),
                    "episode": episode.index,
                    "subject": camera.key,
                }
                if end is not None and slot.start < end - half:
                    sentence = (
                        f"Its {camera.name} slot begins at {slot.start:.3f} s, inside the last one (to {end:.3f} s)."
                    )
                    found.add("error", "slot-overlap", sentence, "Rewrite from_timestamp and to_timestamp.", **place)
                end = slot.stop if slot.stop is not None else end
                length = None if index is None else float(index.times[-1]) + 1 / dataset.fps
                if length is not None and (slot.stop or slot.start) > length + half:
                    sentence = (
                        f"Its {camera.name} slot ends at {slot.stop or slot.start:.3f} s, the file at {length:.3f} s."
                    )
                    fix = "Restore the file, or rewrite from_timestamp and to_timestamp."
                    found.add("error", "slot-outside", sentence, fix, **place)


def _check_videos(dataset: LeRobotDataset, camera: Camera, found: Collector) -> None:
    declared = str((dataset.info["features"][camera.key].get("info") or {}).get("video.codec", ""))
    seen: set[Path] = set()
    for episode in dataset.episodes:
        slot = episode.slots.get(camera.key)
        if slot is None:
            found.add(
                "error", "no-slot", f"The metadata names no {camera.name} video.", "Restore it.", episode=episode.index
            )
            continue
        place: dict[str, Any] = {"file": _relative(dataset, slot.path), "episode": episode.index, "subject": camera.key}
        if not slot.path.exists():
            found.add("error", "video-missing", f"The {camera.name} video does not exist.", "Restore it.", **place)
            continue
        try:
            index = dataset.video_index(slot.path)
        except JepaflowError as error:
            found.add("error", "video-unreadable", str(error), "Restore the file or drop its episodes.", **place)
            continue
        if slot.path in seen:
            continue
        seen.add(slot.path)
        if declared and not _same_codec(declared, index.codec):
            sentence = f"The {camera.name} video is {index.codec}, info.json says {declared}."
            found.add("note", "codec-differs", sentence, "Correct video.codec.", **place)
        if camera.height and (index.height, index.width) != (camera.height, camera.width):
            real, said = f"{index.height}x{index.width}", f"{camera.height}x{camera.width}"
            sentence = f"The {camera.name} video is {real}, info.json says {said}."
            found.add("warning", "size-differs", sentence, "Re-encode the file or correct the shape.", **place)
        _check_video_times(dataset, index, camera, place, found)


def _check_video_times(
    dataset: LeRobotDataset, index: VideoIndex, camera: Camera, place: dict[str, Any], found: Collector
) -> None:
    steps = np.diff(index.times)
    if len(steps) == 0:
        return
    if (steps <= 0).any():
        sentence = (
            f"Two {camera.name} frames carry the same time in the file ({index.times[int(np.argmin(steps))]:.3f} s)."
        )
        found.add("warning", "video-times", sentence, "Re-encode it with a constant rate.", **place)
    elif abs(np.median(steps) * dataset.fps - 1) > 0.05:
        rate = f"{1 / np.median(steps):.4g} frames per second"
        sentence = f"The {camera.name} video runs at {rate}, the dataset at {dataset.fps:g}."
        fix = "Frames are paired with rows by order; other readers will go by time and fail."
        found.add("warning", "video-rate", sentence, fix, **place)
    elif steps.max() * dataset.fps > 1.5:
        worst = int(np.argmax(steps))
        sentence = f"The {camera.name} video lacks frames: {steps[worst]:.3f} s pass behind frame {worst} of the file."
        found.add("warning", "video-gap", sentence, "Check the recording.", **place)


def _index(dataset: LeRobotDataset, path: Path) -> VideoIndex | None:
    try:
        return dataset.video_index(path)
    except JepaflowError:
        return None


def _relative(dataset: LeRobotDataset, path: Path) -> str:
    return str(path.relative_to(dataset.root)) if path.is_relative_to(dataset.root) else str(path)


def _same_codec(one: str, other: str) -> bool:
    alike = (
        {"h264", "libx264", "avc1"},
        {"hevc", "h265", "libx265"},
        {"av1", "libsvtav1", "libdav1d", "av01", "libaom-av1"},
    )
    return one == other or any(one in names and other in names for names in alike)
