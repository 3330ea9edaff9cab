"""Staged episodes become LeRobot v3.0 files: data parquet, joined mp4, episodes table, tasks, stats, info.

Idempotent: what it writes depends only on ``info.json`` and the staging folder, so a crash half-way is mended by doing
it again. ``info.json`` comes last and is what makes the new episodes part of the dataset.
"""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path, read_json, write_json
from jepaflow.data.encode import join_videos, video_info
from jepaflow.data.schema import DATA_PATH, EPISODES_PATH, VIDEO_PATH, next_file
from jepaflow.data.staging import Plan
from jepaflow.data.stats import numeric_stats, pool_stats
from jepaflow.data.types import compact

_MB = 1024 * 1024


@dataclass
class _Staged:
    """One staged episode and the row it gets in ``meta/episodes``."""

    folder: Path
    meta: dict[str, Any]
    row: dict[str, Any] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return int(self.meta["length"])


def assemble(plan: Plan) -> dict[str, Any]:
    """Write all files for the staged episodes, in their order whoever staged them when; returns the new info.

    Raises:
        JepaflowError: when an episode between the dataset's last and the last staged one is missing.
    """
    root, info = plan.root, copy.deepcopy(plan.info)
    first, folders = int(info["total_episodes"]), plan.staged()
    if missing := sorted(set(range(first, max(folders, default=first))) - set(folders)):
        raise JepaflowError(f"{root} lacks the episodes {compact(missing)}. Stage them before closing.")
    staged = [_Staged(folder, read_json(folder / "meta.json")) for folder in folders.values()]
    known = existing_episodes(root, first)
    if not staged:
        return info
    tasks = _write_tasks(root, staged)
    first_row = int(known[-1]["dataset_to_index"]) if known else 0
    for episode in staged:
        episode.row = {
            "episode_index": episode.meta["episode_index"],
            "tasks": [episode.meta["task"]],
            "length": episode.length,
            "dataset_from_index": first_row,
            "dataset_to_index": first_row + episode.length,
        }
        first_row += episode.length
    _write_data(root, staged, known, tasks, info)
    for key, feature in info["features"].items():
        if feature["dtype"] == "video":
            _write_videos(root, key, staged, known, info)
            if not feature.get("info"):
                chunk, file = staged[0].row[f"videos/{key}/chunk_index"], staged[0].row[f"videos/{key}/file_index"]
                path = root / VIDEO_PATH.format(video_key=key, chunk_index=chunk, file_index=file)
                feature["info"] = video_info(path, float(info["fps"]))
    _write_episodes(root, staged, known)
    _write_stats(root, staged, known)
    info["total_episodes"] = int(info["total_episodes"]) + len(staged)
    info["total_frames"], info["total_tasks"] = first_row, len(tasks)
    info["splits"] = {"train": f"0:{info['total_episodes']}"}
    for leftover in root.rglob(".*.tmp"):  # of an earlier attempt that was killed
        leftover.unlink(missing_ok=True)
    write_json(root / "meta" / "info.json", info)
    return info


def existing_episodes(root: Path, total: int) -> list[dict[str, Any]]:
    """Rows of ``meta/episodes`` with an episode index below ``total``, in order."""
    rows: list[dict[str, Any]] = []
    for path in sorted((root / "meta" / "episodes").glob("*/*.parquet")):
        rows.extend(row for row in pq.read_table(path).to_pylist() if row["episode_index"] < total)
    return sorted(rows, key=lambda row: int(row["episode_index"]))


def _start(known: Sequence[Mapping[str, Any]], prefix: str) -> tuple[int, int]:
    """First free (chunk, file) of a kind of file: after the last one in use."""
    used = [(int(row[f"{prefix}chunk_index"]), int(row[f"{prefix}file_index"])) for row in known]
    return next_file(*max(used)) if used else (0, 0)


def _groups(staged: Sequence[_Staged], sizes: Sequence[int], limit: int) -> Iterator[list[_Staged]]:
    """Consecutive episodes whose sizes (bytes) stay within ``limit`` together; one over the limit stands alone."""
    group: list[_Staged] = []
    total = 0
    for episode, size in zip(staged, sizes, strict=True):
        if group and total + size > limit:
            yield group
            group, total = [], 0
        group.append(episode)
        total += size
    yield group


def _write_tasks(root: Path, staged: Sequence[_Staged]) -> dict[str, int]:
    path = root / "meta" / "tasks.parquet"
    tasks: dict[str, int] = {}
    if path.exists():
        table = pq.read_table(path).to_pydict()
        tasks = dict(zip(table["__index_level_0__"], table["task_index"]))
    for episode in staged:
        tasks.setdefault(episode.meta["task"], len(tasks))
    # LeRobot reads this with pandas and looks tasks up in the index: the metadata tells pandas which column that is.
    text = {"name": None, "field_name": "__index_level_0__", "pandas_type": "unicode", "numpy_type": "object"}
    number = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    pandas = {
        "index_columns": ["__index_level_0__"],
        "column_indexes": [],
        "columns": [{**number, "metadata": None}, {**text, "metadata": None}],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    columns = {"task_index": pa.array(list(tasks.values()), pa.int64()), "__index_level_0__": pa.array(list(tasks))}
    table = pa.table(columns).replace_schema_metadata({"pandas": json.dumps(pandas)})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)
    return tasks


def _write_data(
    root: Path,
    staged: Sequence[_Staged],
    known: Sequence[Mapping[str, Any]],
    tasks: Mapping[str, int],
    info: Mapping[str, Any],
) -> None:
    chunk, file = _start(known, "data/")
    sizes = [_uncompressed(episode.folder / "rows.parquet") for episode in staged]
    for group in _groups(staged, sizes, int(info["data_files_size_in_mb"]) * _MB):
        with atomic_path(root / DATA_PATH.format(chunk_index=chunk, file_index=file)) as temporary:
            writer = None
            for episode in group:
                table = pq.read_table(episode.folder / "rows.parquet")
                begin, end = episode.row["dataset_from_index"], episode.row["dataset_to_index"]
                task = np.full(episode.length, tasks[episode.meta["task"]], dtype=np.int64)
                for name, values in (("index", np.arange(begin, end, dtype=np.int64)), ("task_index", task)):
                    table = table.set_column(table.column_names.index(name), name, pa.array(values))
                writer = writer or pq.ParquetWriter(temporary, table.schema, compression="snappy")
                writer.write_table(table, row_group_size=max(episode.length, 1))  # one episode, one row group
                episode.row |= {"data/chunk_index": chunk, "data/file_index": file}
                episode.meta["stats"]["index"] = _plain_stats(np.arange(begin, end))
                episode.meta["stats"]["task_index"] = _plain_stats(task)
            if writer is not None:
                writer.close()
        chunk, file = next_file(chunk, file)


def _uncompressed(path: Path) -> int:
    meta = pq.read_metadata(path)
    return sum(int(meta.row_group(group).total_byte_size) for group in range(meta.num_row_groups))


def _plain_stats(values: np.ndarray) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in numeric_stats(values).items()}


def _write_videos(
    root: Path, key: str, staged: Sequence[_Staged], known: Sequence[Mapping[str, Any]], info: Mapping[str, Any]
) -> None:
    prefix, fps = f"videos/{key}/", float(info["fps"])
    chunk, file = _start(known, prefix)
    sizes = [(episode.folder / f"{key}.mp4").stat().st_size for episode in staged]
    for group in _groups(staged, sizes, int(info["video_files_size_in_mb"]) * _MB):
        path = root / VIDEO_PATH.format(video_key=key, chunk_index=chunk, file_index=file)
        with atomic_path(path) as temporary:
            lengths = [episode.length for episode in group]
            join_videos([episode.folder / f"{key}.mp4" for episode in group], lengths, temporary, fps)
        done = 0
        for episode in group:
            episode.row |= {
                f"{prefix}chunk_index": chunk,
                f"{prefix}file_index": file,
                f"{prefix}from_timestamp": done / fps,
                f"{prefix}to_timestamp": (done + episode.length) / fps,
            }
            done += episode.length
        chunk, file = next_file(chunk, file)


def _write_episodes(root: Path, staged: Sequence[_Staged], known: Sequence[Mapping[str, Any]]) -> None:
    chunk, file = _start(known, "meta/episodes/")
    rows = []
    for episode in staged:
        row = dict(episode.row)
        for key, stats in episode.meta["stats"].items():
            row |= {f"stats/{key}/{name}": value for name, value in stats.items()}
        rows.append({**row, "meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file})
    with atomic_path(root / EPISODES_PATH.format(chunk_index=chunk, file_index=file)) as temporary:
        pq.write_table(pa.Table.from_pylist(rows), temporary)


def _write_stats(root: Path, staged: Sequence[_Staged], known: Sequence[Mapping[str, Any]]) -> None:
    result: dict[str, Any] = {}
    for key in staged[0].meta["stats"]:
        prefix = f"stats/{key}/"
        parts = [{name[len(prefix) :]: row[name] for name in row if name.startswith(prefix)} for row in known]
        parts = [part for part in parts if "count" in part] + [episode.meta["stats"][key] for episode in staged]
        pooled = pool_stats([{name: np.asarray(value) for name, value in part.items()} for part in parts])
        result[key] = {name: value.tolist() for name, value in pooled.items()}
    write_json(root / "meta" / "stats.json", result)
