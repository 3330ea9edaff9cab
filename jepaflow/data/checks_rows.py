"""Checks of one episode's rows: lengths, indices, timestamps, missing or non-finite values."""

from typing import Any

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.data.findings import Collector
from jepaflow.data.lerobot import LeRobotDataset
from jepaflow.data.types import Episode

# LeRobot's default tolerance between a row's time and its frame's, seconds.
TOLERANCE = 1e-4
Rows = dict[str, np.ndarray]


def read_rows(dataset: LeRobotDataset, episode: Episode, found: Collector) -> Rows | None:
    """The rows of an episode, or None (with a finding) when they cannot be read."""
    file = _name(dataset, episode)
    try:
        rows = dataset.rows(episode)
        if not rows:
            raise JepaflowError(f"Episode {episode.index}: {file} holds no column of numbers.")
        return rows
    except JepaflowError as error:
        elsewhere = _find_elsewhere(dataset, episode) if "holds no row" in str(error) else None
        if elsewhere is not None:
            sentence = f"The metadata point to {file}, but its rows are in {elsewhere}."
            fix = "Correct data/chunk_index and data/file_index in meta/episodes."
            found.add("error", "stale-pointer", sentence, fix, file=file, episode=episode.index)
        else:
            fix = "Restore the file or drop the episode."
            found.add("error", "data-unreadable", str(error), fix, file=file, episode=episode.index)
        return None


def check_rows(dataset: LeRobotDataset, episode: Episode, rows: Rows, found: Collector) -> None:
    """All checks of one episode's rows on their own."""
    file, count = _name(dataset, episode), len(next(iter(rows.values())))
    if count != episode.length:
        sentence = f"The data file holds {count} rows, the metadata promise {episode.length}."
        found.add(
            "error", "length", sentence, "Correct the length or restore the rows.", file=file, episode=episode.index
        )
    _check_columns(dataset, episode, rows, found, file)
    _check_indices(dataset, episode, rows, found, file)
    _check_times(dataset, episode, rows, found, file)
    for key, values in rows.items():
        bad = (
            np.argwhere(~np.isfinite(values.reshape(count, -1))) if values.dtype.kind == "f" else np.empty((0, 2), int)
        )
        if len(bad):
            frame, dimension = int(bad[0][0]), int(bad[0][1])
            names = dataset.features[key].names if key in dataset.features else ()
            name = names[dimension] if dimension < len(names) else f"value {dimension}"
            sentence = f"{key} ({name}) is NaN or infinite in {len(set(bad[:, 0].tolist()))} rows."
            fix = "Mend the rows or drop the episode: training refuses them."
            found.add(
                "error", "not-finite", sentence, fix, file=file, episode=episode.index, frame=frame, subject=key,
                severity=len(bad),
            )  # fmt: skip


def _check_columns(dataset: LeRobotDataset, episode: Episode, rows: Rows, found: Collector, file: str) -> None:
    optional = {"index", "task_index", "frame_index", "episode_index", "timestamp"}
    for key, feature in dataset.features.items():
        if feature.dtype in ("string", "language") or feature.dtype.startswith("lang"):
            continue
        if key not in rows:
            level = "note" if key in optional or key.startswith("next.") else "error"
            sentence = f"The column {key} is declared but missing."
            found.add(level, "missing-column", sentence, "Restore it.", file=file, episode=episode.index, subject=key)
        elif (width := int(np.prod(rows[key].shape[1:], dtype=int))) != int(np.prod(feature.shape)):
            sentence = f"{key} has {width} values per row, declared are {int(np.prod(feature.shape))}."
            fix = "Sets of different robots were merged; take this episode out."
            found.add("error", "shape-mismatch", sentence, fix, file=file, episode=episode.index, subject=key)


def _check_indices(dataset: LeRobotDataset, episode: Episode, rows: Rows, found: Collector, file: str) -> None:
    place: dict[str, Any] = {"file": file, "episode": episode.index}
    columns = {key: rows[key].ravel() for key in ("frame_index", "episode_index", "index", "task_index") if key in rows}
    for key in [key for key, values in columns.items() if not np.isfinite(values).all()]:
        frame = int(np.flatnonzero(~np.isfinite(columns.pop(key)))[0])
        sentence = f"{key} is null in some rows."
        found.add("error", "null-index", sentence, "Rewrite the column.", frame=frame, subject=key, **place)
    count = len(next(iter(rows.values())))
    if "frame_index" in columns and (wrong := np.flatnonzero(columns["frame_index"] != np.arange(count))).size:
        frame = int(wrong[0])
        sentence = f"frame_index does not count 0, 1, 2, ...: row {frame} says {columns['frame_index'][frame]:g}."
        found.add("error", "frame-index", sentence, "Rows are lost, doubled or out of order.", frame=frame, **place)
    if (backwards := np.flatnonzero(np.diff(dataset.row_numbers(episode)) < 0)).size:
        sentence = "The rows lie out of order in the file; frame_index tells their order."
        fix = "jepaflow sorts them, LeRobot does not: write the rows in the order of frame_index."
        found.add("warning", "row-order", sentence, fix, frame=int(backwards[0]) + 1, **place)
    if "episode_index" in columns and (wrong := np.flatnonzero(columns["episode_index"] != episode.index)).size:
        sentence = f"The rows say they belong to episode {columns['episode_index'][wrong[0]]:g}."
        found.add("error", "episode-index", sentence, "Correct the column.", frame=int(wrong[0]), **place)
    if "index" in columns:
        if (jumps := np.flatnonzero(np.diff(columns["index"]) != 1)).size:
            sentence = "The global row index does not rise by one."
            found.add("warning", "row-index", sentence, "Rewrite the column.", frame=int(jumps[0]) + 1, **place)
        begin, first = episode.meta.get("dataset_from_index"), int(columns["index"][0])
        if begin is not None and first != begin:
            sentence = f"Its rows begin at global index {first}, the episodes table says {begin}."
            found.add("error", "row-range", sentence, "Rewrite dataset_from_index.", frame=0, **place)
    tasks = dataset.layout.tasks
    if tasks and (unknown := set(columns.get("task_index", np.array([])).tolist()) - set(tasks)):
        sentence = f"task_index {min(unknown):g} is not in the tasks file."
        found.add("warning", "unknown-task", sentence, "Add it.", **place)


def _check_times(dataset: LeRobotDataset, episode: Episode, rows: Rows, found: Collector, file: str) -> None:
    if "timestamp" not in rows or not np.isfinite(rows["timestamp"]).all():
        return
    times = rows["timestamp"].ravel().astype(np.float64)
    steps, period = np.diff(times), 1 / dataset.fps
    place: dict[str, Any] = {"file": file, "episode": episode.index}
    if (steps <= 0).any():
        frame = int(np.flatnonzero(steps <= 0)[0]) + 1
        sentence = f"Time does not rise: {times[frame - 1]:.4f} s is followed by {times[frame]:.4f} s."
        found.add("error", "time-order", sentence, "Rows are doubled or out of order.", frame=frame, **place)
        return
    if len(steps) and steps.max() > 3 * period:
        frame = int(np.argmax(steps)) + 1
        sentence = f"{steps.max():.3f} s pass before frame {frame}, the period is {period:.3f} s."
        fix = "Frames were lost while recording; drop the episode if the gap matters."
        found.add("warning", "time-gap", sentence, fix, frame=frame, severity=float(steps.max()), **place)
    drift = np.abs(times - np.arange(len(times)) * period)
    frame, worst = int(np.argmax(drift)), float(drift.max())
    if worst > period / 2:
        sentence = (
            f"Row times drift from frame_index/fps by up to {worst:.2f} s ({worst / period:.1f} frames); "
            "read by time, rows get other frames."
        )
        fix = "jepaflow pairs by order where the counts agree; LeRobot's reader will refuse or mispair them."
        found.add("warning", "time-drift", sentence, fix, frame=frame, severity=worst, **place)
    elif worst > TOLERANCE:
        sentence = f"Row times are off frame_index/fps by up to {1000 * worst:.1f} ms; LeRobot tolerates 0.1 ms."
        fix = "Harmless here; LeRobot needs a larger tolerance_s."
        found.add("note", "time-jitter", sentence, fix, frame=frame, severity=worst, **place)


def _name(dataset: LeRobotDataset, episode: Episode) -> str:
    assert episode.data is not None
    return (
        str(episode.data.relative_to(dataset.root)) if episode.data.is_relative_to(dataset.root) else str(episode.data)
    )


def _find_elsewhere(dataset: LeRobotDataset, episode: Episode) -> str | None:
    """The data file that really holds the episode's rows, when it is not the one that the metadata name."""
    for file in sorted(set(dataset.root.glob("data/**/*.parquet")) - {episode.data}):
        try:
            table = dataset.table(file)
        except JepaflowError:
            continue
        if "episode_index" in table.column_names and episode.index in table["episode_index"].to_numpy():
            return str(file.relative_to(dataset.root))
    return None
