"""What a LeRobot folder says about itself: info, tasks and episodes, in v2.0, v2.1 or v3.0 dress.

The layout is told by what lies on disk, not by ``codebase_version``, which is missing or wrong in the wild. Reading is
forgiving (a problem becomes a finding) as long as it stays clear which file holds which episode.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json
from jepaflow.data.names import existing, fill_template
from jepaflow.data.records import Record, clean_info, read_records
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
    layout.info = clean_info(info, layout.problems)
    layout.tasks = _load_tasks(layout)
    layout.listed = _v3_episodes(layout) if has_table else _v2_episodes(layout)
    return layout


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A parquet file as a table.

    Raises:
        JepaflowError: when it is missing or broken.
    """
    try:
        return pq.read_table(path, columns=columns, partitioning=None)
    except FileNotFoundError as error:
        raise JepaflowError(f"{path} does not exist. Restore the file or drop its episodes.") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise JepaflowError(f"{path} cannot be read as parquet ({reason}). Restore it or drop its episodes.") from error


def _load_tasks(layout: Layout) -> dict[int, str]:
    meta = layout.root / "meta"
    if (meta / "tasks.parquet").exists():
        records = _table_records([meta / "tasks.parquet"])
    elif (meta / "tasks.jsonl").exists():
        records = read_records(meta / "tasks.jsonl")
    else:
        layout.problems.append(Finding("warning", "no-tasks", "There is no tasks file.", "Restore it.", "meta"))
        return {}
    tasks = {}
    for record in records:
        texts = [name for name in record.values if name != "task_index"]
        if not texts:
            raise JepaflowError(f"{record.where} gives no text of the task. Restore the file.")
        text = record.values["task" if "task" in texts else texts[0]]
        tasks[record.whole("task_index")] = str(text)
    return tasks


def _table_records(paths: Iterable[Path]) -> list[Record]:
    """The rows of parquet files, their statistics left out."""
    records = []
    for path in paths:
        rows = read_table(path, [name for name in pq_names(path) if not name.startswith("stats/")]).to_pylist()
        records += [Record(f"{path}, row {number}", row) for number, row in enumerate(rows)]
    return records


def _v3_episodes(layout: Layout) -> list[Episode]:
    info = layout.info
    records = _table_records(sorted((layout.root / "meta" / "episodes").glob("**/*.parquet")))
    template, video_template = info.get("data_path") or DATA_PATH, info.get("video_path") or VIDEO_PATH
    episodes = []
    for record in sorted(records, key=lambda record: record.whole("episode_index")):
        index, length = record.whole("episode_index"), record.whole("length")
        chunk, file = record.whole("data/chunk_index", 0), record.whole("data/file_index", 0)
        data = existing(layout.root, fill_template(template, chunk, file, index))
        slots = {}
        for key in layout.video_keys:
            prefix = f"videos/{key}/"
            if record.values.get(f"{prefix}file_index") is None:
                continue
            chunk, file = record.whole(f"{prefix}chunk_index"), record.whole(f"{prefix}file_index")
            start, stop = record.number(f"{prefix}from_timestamp", 0.0), None
            if record.values.get(f"{prefix}to_timestamp") is not None:
                stop = record.number(f"{prefix}to_timestamp")
            elif info["fps"]:
                stop = start + length / info["fps"]
            path = existing(layout.root, fill_template(video_template, chunk, file, index, key))
            slots[key] = Slot(path, start, stop)
        episodes.append(Episode(index, length, _task_texts(record), data, slots, dict(record.values)))
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
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise JepaflowError(f"{path} cannot be read as parquet ({reason}). Restore it or drop its episodes.") from error


def _v2_episodes(layout: Layout) -> list[Episode]:
    info, root = layout.info, layout.root
    data_template, video_template = info.get("data_path") or _V2_DATA, info.get("video_path") or _V2_VIDEO
    chunks_size = info["chunks_size"] or 1000
    files = _numbered(root.glob("data/**/*episode_*.parquet"))
    records = _listed_records(layout, files)
    videos = {key: _numbered(_video_files(root, key)) for key in layout.video_keys}
    episodes = []
    for record in records:
        index = record.whole("episode_index")
        data = existing(root, fill_template(data_template, index // chunks_size, index, index))
        if not data.exists() and index in files:
            data = files[index]
        slots = {}
        for key in layout.video_keys:
            path = existing(root, fill_template(video_template, index // chunks_size, index, index, key))
            slots[key] = Slot(path if path.exists() else videos[key].get(index, path))
        length = record.whole("length")
        episodes.append(Episode(index, length, _task_texts(record), data, slots, dict(record.values)))
    return episodes


def _listed_records(layout: Layout, files: dict[int, Path]) -> list[Record]:
    """The lines of ``meta/episodes.jsonl`` by episode, and one for every data file that is not listed."""
    listing, records = layout.root / "meta" / "episodes.jsonl", list[Record]()
    if listing.exists():
        records = sorted(read_records(listing), key=lambda record: record.whole("episode_index"))
    else:
        sentence = "There is no meta/episodes.jsonl; the episodes are taken from the data files."
        layout.problems.append(
            Finding("warning", "no-episodes-list", sentence, "Restore the file.", "meta/episodes.jsonl")
        )
    known = {record.whole("episode_index") for record in records}
    unlisted = sorted(set(files) - known)
    if unlisted and known:
        sentence = f"Episodes {unlisted} have data files but are not in meta/episodes.jsonl."
        layout.problems.append(Finding("warning", "unlisted-episodes", sentence, "Add them to the list.", str(listing)))
    for index in unlisted:
        values = {"episode_index": index, "length": _count_rows(files[index]), "tasks": []}
        records.append(Record(str(files[index]), values))
    return records


def _task_texts(record: Record) -> tuple[str, ...]:
    tasks = record.values.get("tasks") or ()
    return tuple(str(task) for task in tasks) if isinstance(tasks, list | tuple) else (str(tasks),)


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
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return 0
