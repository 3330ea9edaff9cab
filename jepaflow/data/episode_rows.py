"""The low-dimensional columns of one episode as the store keeps them, and everything that is wrong with them.

A bookkeeping value that is missing gets the one that counting would give, so that an episode can be kept if the user
wants it; either way it is named.
"""

from dataclasses import dataclass

import numpy as np

from jepaflow.data.conversion_plan import ConversionPlan
from jepaflow.data.types import Episode, compact


class Damage(Exception):
    """One episode cannot be converted as it is."""


@dataclass(frozen=True)
class EpisodeRows:
    """``values`` by store column, each ``(T, ...)``; ``damage`` in sentences."""

    values: dict[str, np.ndarray]
    damage: list[str]


def episode_rows(plan: ConversionPlan, episode: Episode, number: int, first_row: int) -> EpisodeRows:
    """Read an episode that becomes episode ``number`` of the store, beginning at row ``first_row``.

    Raises:
        Damage: when it cannot be kept even damaged: rows or columns are missing, or of another size than declared.
        JepaflowError: when the data file is missing or broken.
    """
    if episode.index in plan.unreadable:
        raise Damage(plan.unreadable[episode.index])
    rows = plan.dataset.rows(episode)
    count = len(next(iter(rows.values())))
    if count != episode.length:
        raise Damage(f"the data file holds {count} rows, the metadata promise {episode.length}.")
    values, damage = _signals(plan, rows, count)
    steps = np.arange(count, dtype=np.int64)
    said = _column(rows, "frame_index", steps, damage)
    if (wrong := np.flatnonzero(said != steps)).size:
        damage.append(f"frame_index does not count 0 to {count - 1}: {said[wrong[0]]} stands for {wrong[0]}.")
    values["timestamp"] = _column(rows, "timestamp", (steps / plan.dataset.fps).astype(np.float32), damage)
    values["episode_idx"] = np.full(count, number, dtype=np.int64)
    values["step_idx"] = steps
    values["index"] = _column(rows, "index", first_row + steps, damage)
    values["task_index"] = _tasks(plan, episode, rows, count, damage)
    return EpisodeRows(values, damage)


def _signals(plan: ConversionPlan, rows: dict[str, np.ndarray], count: int) -> tuple[dict[str, np.ndarray], list[str]]:
    """Actions and states as float32, ``(T, n)``."""
    values: dict[str, np.ndarray] = {}
    bad: dict[str, np.ndarray] = {}
    for column, key in plan.low.items():
        if key not in rows:
            raise Damage(f"the column {key} is missing.")
        values[column] = rows[key].reshape(count, -1).astype(np.float32)
        if values[column].shape[1] != plan.sizes[column]:
            raise Damage(f"{key} has {values[column].shape[1]} values, declared are {plan.sizes[column]}.")
        bad[key] = np.flatnonzero(~np.isfinite(values[column]).all(axis=1))
    return values, [
        f"{key} is NaN or infinite in {len(frames)} frames (first: frame {frames[0]})."
        for key, frames in bad.items()
        if len(frames)
    ]


def _column(rows: dict[str, np.ndarray], key: str, counted: np.ndarray, damage: list[str]) -> np.ndarray:
    """A bookkeeping column, shape and type of ``counted``, which stands in for what is missing."""
    given = rows.get(key, counted).reshape(len(counted), -1)
    if given.shape[1] != 1:
        damage.append(f"{key} has {given.shape[1]} values per row instead of one.")
        return counted
    missing = ~np.isfinite(given[:, 0])
    if missing.any():
        damage.append(f"{key} is missing in frames {compact(np.flatnonzero(missing).tolist())}.")
    return np.where(missing, counted, given[:, 0]).astype(counted.dtype)


def _tasks(
    plan: ConversionPlan, episode: Episode, rows: dict[str, np.ndarray], count: int, damage: list[str]
) -> np.ndarray:
    """The place of every row's task in the store's list: by the tasks table, by the sentence the episode names if one.

    The rows mean tasks by the table's own numbers, which need neither begin at 0 nor be without gaps.
    """
    known = [plan.tasks.index(task) for task in episode.tasks if task in plan.tasks]
    named = np.full(count, known[0] if known else 0, dtype=np.int64)
    indices = plan.dataset.task_indices
    if "task_index" not in rows or not indices:
        if len(plan.tasks) > 1 and len(known) != 1:
            damage.append(f"its task is unknown: it names {len(known)} tasks, and no tasks file explains its rows.")
        return named
    given = _column(rows, "task_index", np.array(indices, dtype=np.int64)[named], damage)
    if unknown := sorted(set(given.tolist()) - set(indices)):
        damage.append(f"task_index {unknown[0]} is not in the tasks file.")
    if len(known) == 1:
        return named
    return np.array([plan.task_places.get(index, named[0]) for index in given.tolist()], dtype=np.int64)
