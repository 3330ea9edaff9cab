"""Metadata that others have damaged: opening gives a sentence, the doctor findings; never a traceback."""

import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.data.checks_frames import FrameChecks
from jepaflow.data.doctor import examine
from jepaflow.data.findings import Collector
from jepaflow.data.hub import open_dataset
from jepaflow.data.lerobot import LeRobotDataset
from jepaflow.data.schema import DEFAULT_FEATURES
from jepaflow.data.types import Episode, Finding
from tests.data.builders import DATA, EPISODES, TOP, make_v2, make_v3, read_info, write_info, write_lines

V2_DATA = Path("data/chunk-000/episode_000001.parquet")
Damage = Callable[[Path], Any]
Spoil = Callable[[str], Path]


def column(path: Path, name: str, values: Any = None) -> Damage:
    """Replace a column of a table by ``values`` (one for all rows if not a list; null by default); "drop" removes it."""

    def apply(root: Path) -> None:
        table = pq.read_table(root / path)
        place = table.column_names.index(name)
        if values == "drop":
            table = table.remove_column(place)
        else:
            filled = values if isinstance(values, list) else [values] * table.num_rows
            kind = table.schema.field(name).type if values is None or isinstance(values, list) else None
            table = table.set_column(place, name, pa.array(filled, kind))
        pq.write_table(table, root / path)

    return apply


def lines(name: str, change: Callable[[list[Any]], Any]) -> Damage:
    """Change the objects of a JSON-lines file of the metadata."""

    def apply(root: Path) -> None:
        path = root / "meta" / name
        objects = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        write_lines(path, change(objects))

    return apply


def info(**changes: Any) -> Damage:
    """Change entries of info.json."""
    return lambda root: write_info(root, {**read_info(root), **changes})


def feature(key: str, value: Any) -> Damage:
    """Change one feature: a dict is merged, anything else takes its place."""

    def apply(root: Path) -> None:
        changed = read_info(root)
        features = changed["features"]
        features[key] = {**features[key], **value} if isinstance(value, dict) else value
        write_info(root, changed)

    return apply


def without(key: str) -> Callable[[list[Any]], list[Any]]:
    return lambda objects: [{name: value for name, value in entry.items() if name != key} for entry in objects]


def no_numbers(root: Path) -> None:
    pq.write_table(pa.table({"note": ["a"] * 30}), root / V2_DATA)


def latin(name: str) -> Damage:
    return lambda root: (root / "meta" / name).write_bytes('{"task_index": 0, "task": "größer"}\n'.encode("latin-1"))


# name -> (base, damage, what the sentence says)
UNOPENABLE: dict[str, tuple[str, Damage, str]] = {
    "no length": ("v2", lines("episodes.jsonl", without("length")), r"episodes\.jsonl, line 1: length is missing"),
    "a length of words": (
        "v2", lines("episodes.jsonl", lambda e: [*e[:1], {**e[1], "length": "long"}]), 'line 2: length is "long"',
    ),
    "half a length": (
        "v2", lines("episodes.jsonl", lambda e: [{**e[0], "length": 1.5}]), r"length is 1\.5, not a count",
    ),
    "no episode_index": (
        "v2", lines("episodes.jsonl", without("episode_index")), r"episodes\.jsonl, line 1: episode_index is missing",
    ),
    "a line that is a list": ("v2", lines("episodes.jsonl", lambda e: [[1, 2]]), r"line 1 is \[1, 2\], not an object"),
    "no task_index": ("v2", lines("tasks.jsonl", without("task_index")), r"tasks\.jsonl, line 1: task_index is missing"),
    "no task": ("v2", lines("tasks.jsonl", without("task")), r"tasks\.jsonl, line 1 gives no text"),
    "tasks in another encoding": ("v2", latin("tasks.jsonl"), r"tasks\.jsonl cannot be read as text"),
    "episodes in another encoding": ("v2", latin("episodes.jsonl"), r"episodes\.jsonl cannot be read as text"),
    "an unknown placeholder": ("v2", info(data_path="data/{episode_chunk:03d}/{what}.parquet"), r"template.*'what'"),
    "a nameless placeholder": ("v3", info(data_path="data/{}.parquet"), r"template.*cannot be filled"),
    "a placeholder of words": ("v2", info(video_path="videos/{video_key:03d}.mp4"), r"template.*cannot be filled"),
    "no frame rate": ("v2", info(fps="fast"), "no frame rate"),
    "null length": ("v3", column(EPISODES, "length"), r"file-000\.parquet, row 0: length is missing"),
    "null chunk_index": (
        "v3", column(EPISODES, f"videos/{TOP}/chunk_index"), r"file-000\.parquet, row 0: .*chunk_index is missing",
    ),
    "a time of words": (
        "v3", column(EPISODES, f"videos/{TOP}/from_timestamp", "soon"), r'row 0: .*from_timestamp is "soon"',
    ),
    "no index of tasks": ("v3", column(Path("meta/tasks.parquet"), "task_index", "drop"), r"task_index is missing"),
    "no text of tasks": (
        "v3", column(Path("meta/tasks.parquet"), "__index_level_0__", "drop"), r"tasks\.parquet, row 0 gives no text",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNOPENABLE)
def test_what_cannot_be_understood_is_one_sentence(name: str, spoil: Spoil) -> None:
    base, damage, message = UNOPENABLE[name]
    root = spoil(base)
    damage(root)
    with pytest.raises(JepaflowError, match=message) as caught:
        open_dataset(root)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    found = examine(root).findings
    assert [finding.code for finding in found] == ["cannot-open"] and found[0].sentence == str(caught.value)


# name -> (base, damage, code of the finding)
FOUND: dict[str, tuple[str, Damage, str]] = {
    "null frame_index": ("v2", column(V2_DATA, "frame_index"), "null-index"),
    "null index": ("v2", column(V2_DATA, "index", [None, *range(25, 54)]), "null-index"),
    "null task_index": ("v3", column(DATA, "task_index"), "null-index"),
    "no column of numbers": ("v2", no_numbers, "data-unreadable"),
    "null from index": ("v3", column(EPISODES, "dataset_from_index", "a"), "check-failed"),
    "a frame rate as text": ("v2", info(fps="10"), "bad-info"),
    "a total as text": ("v2", info(total_episodes="3"), "bad-info"),
    "a total of words": ("v2", info(total_episodes="many"), "bad-info"),
    "a negative total": ("v2", info(total_episodes=-3), "bad-info"),
    "a total beyond all bounds": ("v2", info(total_episodes=10**15), "bad-info"),
    "chunks of nothing": ("v2", info(chunks_size=0), "bad-info"),
    "a path that is a number": ("v2", info(data_path=7), "bad-info"),
    "a shape of words": ("v2", feature("action", {"shape": ["a", "b"]}), "bad-info"),
    "a shape that is a number": ("v2", feature("action", {"shape": 2}), "bad-info"),
    "a picture without sides": ("v2", feature(TOP, {"shape": [0, -1, 3]}), "bad-info"),
    "a feature that is a word": ("v2", feature("next.reward", "float32"), "bad-info"),
    "a video entry that is a list": ("v2", feature(TOP, {"info": [1]}), "bad-info"),
    "a dtype that is a list": ("v2", feature("action", {"dtype": ["float32"]}), "bad-info"),
    "statistics in a list": (
        "v2", lines("episodes_stats.jsonl", lambda _: [{"episode_index": 0, "stats": [1]}]), "stats-unreadable",
    ),
    "a list of statistics": ("v2", lines("episodes_stats.jsonl", lambda _: [[1]]), "stats-unreadable"),
    "statistics in another encoding": ("v2", latin("episodes_stats.jsonl"), "stats-unreadable"),
    "statistics that are numbers": (
        "v3", lambda root: (root / "meta" / "stats.json").write_text('{"action": 3}'), "stats-unreadable",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_can_be_left_aside_is_a_finding(name: str, spoil: Spoil) -> None:
    base, damage, code = FOUND[name]
    root = spoil(base)
    damage(root)
    diagnosis = examine(root)
    found = [finding for finding in diagnosis.findings if finding.code == code]
    assert found and all(finding.sentence.endswith(".") and finding.fix for finding in found), diagnosis.findings
    assert diagnosis.episodes == 3


def test_numbers_written_as_text_are_understood(spoil: Spoil) -> None:
    root = spoil("v2")
    info(fps="10", total_episodes="3", total_frames="81", chunks_size="1000")(root)
    diagnosis = examine(root)
    assert {finding.code for finding in diagnosis.findings if finding.level != "note"} == {"bad-info"}
    assert diagnosis.count("error") == 0 and open_dataset(root).fps == 10.0


def test_one_odd_episode_does_not_hide_the_others(spoil: Spoil, monkeypatch: pytest.MonkeyPatch) -> None:
    root = spoil("v2")
    column(Path("data/chunk-000/episode_000002.parquet"), "frame_index", [*range(26), 99])(root)

    def stumble(self: FrameChecks, episode: Episode, rows: Any, found: Collector) -> None:
        if episode.index == 1:
            raise KeyError("what")

    monkeypatch.setattr(FrameChecks, "add", stumble)
    found = {finding.code: finding for finding in examine(root).findings}
    assert (found["check-failed"].level, found["check-failed"].episode) == ("error", 1)
    assert found["check-failed"].sentence == "Checking the frames failed (KeyError: 'what')."
    assert found["frame-index"].episode == 2


ODD: tuple[Any, ...] = (None, "odd", -1, 1e300, True, [None], {}, {"a": 1})


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to every value inside a JSON value, itself excluded."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from leaves(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of a JSON value with one value inside it replaced."""
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return copy


@pytest.mark.parametrize("make", [make_v2, make_v3])
def test_any_value_of_info_may_be_odd(tmp_path: Path, make: Callable[..., Path]) -> None:
    """Every value in info.json replaced by every odd one, in turn: a sentence or findings, never a traceback."""
    root = make(tmp_path / "d", (12,))
    sound = read_info(root)
    alike = set(DEFAULT_FEATURES) - {"timestamp"}
    for path in (path for path in leaves(sound) if not alike & set(path)):
        for odd in ODD:
            write_info(root, replaced(sound, path, odd))
            for finding in examine(root, frames=False).findings:
                assert isinstance(finding, Finding) and "cannot be understood" not in finding.sentence, (path, odd)
                assert finding.code != "check-failed", (path, odd, finding)


@pytest.mark.parametrize("name", ["episodes.jsonl", "tasks.jsonl"])
def test_any_value_of_the_lists_may_be_odd(tmp_path: Path, name: str) -> None:
    root = make_v2(tmp_path / "d", (12, 12))
    sound = [json.loads(line) for line in (root / "meta" / name).read_text().splitlines()]
    for path in leaves(sound):
        for odd in ODD:
            write_lines(root / "meta" / name, replaced(sound, path, odd))
            for finding in examine(root, frames=False).findings:
                assert "cannot be understood" not in finding.sentence, (path, odd)
                assert finding.code != "check-failed", (path, odd, finding)


def test_the_unit_is_for_the_user_to_name(spoil: Spoil) -> None:
    root = spoil("v2")
    feature("action", {"unit": None})(root)
    finding = next(finding for finding in examine(root).findings if finding.code == "unit-unknown")
    assert finding.fix == "Give it when converting: --units action UNIT."


def test_memory_does_not_grow_with_the_episode(v2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def film(self: LeRobotDataset, episode: Episode, *_: Any) -> Iterator[np.ndarray]:
        for number in range(episode.length):
            yield np.full((32, 32, 3), 0 if number < 40 else number % 200, np.uint8)

    monkeypatch.setattr(LeRobotDataset, "frames_or_none", film)
    checks, found = FrameChecks(open_dataset(v2)), Collector()
    tracemalloc.start()
    checks.add(Episode(0, 4000), None, found)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6, f"{peak / 1e6:.1f} MB for 4000 thumbnails of 12 kB each"
    black = next(finding for finding in found if finding.code == "black-frames")
    assert black.sentence.startswith("268 of 4000 top frames are black: 0-39, 200-211, ")
