"""What a LeRobot folder says about itself: info, tasks and episodes, in v2.0, v2.1 or v3.0 dress.

The layout is told by what lies on disk, not by ``codebase_version``, which is missing or wrong in the wild. Reading is
forgiving (a problem becomes a finding) as long as it stays clear which file holds which episode.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json
from jepaflow.data.names import existing, fill_template
from jepaflow.data.schema import DATA_PATH, VIDEO_PATH
from jepaflow.data.types import Episode, Finding, Slot

_V2_DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_V2_VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


@dataclass
class Layout:
    """The metadata of one LeRobot folder. ``listed`` are all episodes that the metadata names, present or not."""

    root: Path
    info: dict[str, Any]
    version: str  # "v2" or "v3"
    tasks: dict[int, str] = field(default_factory=dict)
    listed: list[Episode] = field(default_factory=list)
    problems: list[Finding] = field(default_factory=list)

    @property
    def video_keys(self) -> list[str]:
        """Keys of the features that are videos."""
        return [key for key, feature in self.info["features"].items() if feature.get("dtype") == "video"]


def load_layout(root: Path) -> Layout:
    """Read the metadata of a LeRobot folder.

    Raises:
        JepaflowError: when it is not clear which file holds which episode.
    """
    info = read_json(root / "meta" / "info.json")
    if not isinstance(info, dict) or not isinstance(info.get("features"), dict):
        raise JepaflowError(f"{root / 'meta' / 'info.json'} describes no features. Restore the file.")
    has_table = any((root / "meta" / "episodes").glob("**/*.parquet"))
    if not has_table and str(info.get("codebase_version", "")).startswith("v3"):
        raise JepaflowError(f"{root} lacks meta/episodes/*/*.parquet, which tells where episodes lie. Restore it.")
    layout = Layout(root, info, "v3" if has_table else "v2")
    layout.tasks = _load_tasks(layout)
    layout.listed = _v3_episodes(layout) if has_table else _v2_episodes(layout)
    return layout


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file.

    Raises:
        JepaflowError: naming the line that is not JSON.
    """
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise JepaflowError(f"{path}, line {number} is not JSON ({error.msg}). Restore the file.") from error
    return rows


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A parquet file as a table.

    Raises:
        JepaflowError: when it is missing or broken.
    """
    try:
        return pq.read_table(path, columns=columns, partitioning=None)
    except FileNotFoundError as error:
        raise JepaflowError(f"{path} does not exist. Restore the file or drop its episodes.") from error
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise JepaflowError(f"{path} cannot be read as parquet ({reason}). Restore it or drop its episodes.") from error


def _load_tasks(layout: Layout) -> dict[int, str]:
    meta = layout.root / "meta"
    if (meta / "tasks.parquet").exists():
        table = read_table(meta / "tasks.parquet")
        texts = [name for name in table.column_names if name != "task_index"]
        text = "task" if "task" in texts else texts[0]
        return dict(zip(table["task_index"].to_pylist(), map(str, table[text].to_pylist())))
    if (meta / "tasks.jsonl").exists():
        return {int(row["task_index"]): str(row["task"]) for row in read_lines(meta / "tasks.jsonl")}
    layout.problems.append(Finding("warning", "no-tasks", "There is no tasks file.", "Restore meta/tasks.*.", "meta"))
    return {}


def _v3_episodes(layout: Layout) -> list[Episode]:
    info, rows = layout.info, list[dict[str, Any]]()
    for path in sorted((layout.root / "meta" / "episodes").glob("**/*.parquet")):
        names = [name for name in pq_names(path) if not name.startswith("stats/")]
        rows.extend(read_table(path, names).to_pylist())
    template, video_template = info.get("data_path") or DATA_PATH, info.get("video_path") or VIDEO_PATH
    fps = float(info.get("fps") or 0)
    episodes = []
    for row in sorted(rows, key=lambda row: int(row["episode_index"])):
        index, length = int(row["episode_index"]), int(row["length"])
        data = fill_template(
            template, int(row.get("data/chunk_index") or 0), int(row.get("data/file_index") or 0), index
        )
        slots = {}
        for key in layout.video_keys:
            prefix = f"videos/{key}/"
            if row.get(f"{prefix}file_index") is None:
                continue
            chunk, file = int(row[f"{prefix}chunk_index"]), int(row[f"{prefix}file_index"])
            start = float(row.get(f"{prefix}from_timestamp") or 0.0)
            stop = row.get(f"{prefix}to_timestamp")
            stop = float(stop) if stop is not None else (start + length / fps if fps else None)
            path = existing(layout.root, fill_template(video_template, chunk, file, index, key))
            slots[key] = Slot(path, start, stop)
        tasks = _task_texts(row)
        episodes.append(Episode(index, length, tasks, existing(layout.root, data), slots, row))
    return episodes


def pq_names(path: Path) -> list[str]:
    """Column names of a parquet file.

    Raises:
        JepaflowError: when it is missing or broken.
    """
    try:
        return list(pq.read_schema(path).names)
    except FileNotFoundError as error:
        raise JepaflowError(f"{path} does not exist. Restore the file or drop its episodes.") from error
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise JepaflowError(f"{path} cannot be read as parquet ({reason}). Restore it or drop its episodes.") from error


def _v2_episodes(layout: Layout) -> list[Episode]:
    info, root = layout.info, layout.root
    data_template, video_template = info.get("data_path") or _V2_DATA, info.get("video_path") or _V2_VIDEO
    chunks_size = int(info.get("chunks_size") or 1000)
    files = _numbered(root.glob("data/**/*episode_*.parquet"))
    listing = root / "meta" / "episodes.jsonl"
    rows: list[Mapping[str, Any]] = []
    if listing.exists():
        rows = sorted(read_lines(listing), key=lambda row: int(row["episode_index"]))
    else:
        sentence = "There is no meta/episodes.jsonl; the episodes are taken from the data files."
        layout.problems.append(
            Finding("warning", "no-episodes-list", sentence, "Restore the file.", "meta/episodes.jsonl")
        )
    known = {int(row["episode_index"]) for row in rows}
    unlisted = sorted(set(files) - known)
    rows += [{"episode_index": index, "length": _count_rows(files[index]), "tasks": []} for index in unlisted]
    if unlisted and known:
        sentence = f"Episodes {unlisted} have data files but are not in meta/episodes.jsonl."
        layout.problems.append(Finding("warning", "unlisted-episodes", sentence, "Add them to the list.", str(listing)))
    videos = {key: _numbered(_video_files(root, key)) for key in layout.video_keys}
    episodes = []
    for row in rows:
        index = int(row["episode_index"])
        data = existing(root, fill_template(data_template, index // chunks_size, index, index))
        if not data.exists() and index in files:
            data = files[index]
        slots = {}
        for key in layout.video_keys:
            path = existing(root, fill_template(video_template, index // chunks_size, index, index, key))
            slots[key] = Slot(path if path.exists() else videos[key].get(index, path))
        tasks = _task_texts(row)
        episodes.append(Episode(index, int(row["length"]), tasks, data, slots, dict(row)))
    return episodes


def _task_texts(row: Mapping[str, Any]) -> tuple[str, ...]:
    tasks = row.get("tasks") or ()
    return (tasks,) if isinstance(tasks, str) else tuple(str(task) for task in tasks)


def _video_files(root: Path, key: str) -> Iterable[Path]:
    for folder in ("videos", "video"):
        yield from (
            path
            for path in root.glob(f"{folder}/**/*episode_*.*")
            if key in (path.parent.name, path.parent.parent.name)
        )


def _numbered(paths: Iterable[Path]) -> dict[int, Path]:
    found = ((re.search(r"episode_(\d+)", path.name), path) for path in paths)
    return {int(match.group(1)): path for match, path in found if match}


def _count_rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return 0
