"""Episodes staged by several processes, in any order: one dataset, file by file, whoever staged what when."""

import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.data.doctor import examine
from jepaflow.data.lerobot import LeRobotDataset
from jepaflow.data.writer import DatasetWriter, has_begun, stage_episode
from tests.data.builders import DATA, EPISODES, FPS, TOP, clip, event_features, event_rows, frame_seen


def stage(root: Path, episode: int) -> None:
    """What a worker process does: one episode, knowing the folder and the index."""
    length = 12 + episode
    stage_episode(root, episode, event_rows(episode, length), {TOP: iter(clip(episode, length))}, f"task {episode % 2}")


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a dataset."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def made_in_order(root: Path, count: int) -> dict[str, bytes]:
    """The files of a dataset written by one process, episode after episode."""
    with DatasetWriter(root, FPS, event_features()) as writer:
        for episode in range(count):
            length = 12 + episode
            task = f"task {episode % 2}"
            assert writer.add_episode(event_rows(episode, length), {TOP: clip(episode, length)}, task) == episode
    return contents(root)


def test_processes_in_any_order_make_the_same_files(tmp_path: Path) -> None:
    expected = made_in_order(tmp_path / "one", 5)
    context = multiprocessing.get_context("spawn")
    with DatasetWriter(tmp_path / "two", FPS, event_features()), ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(stage, [tmp_path / "two"] * 5, (4, 2, 3, 0, 1)))
    assert contents(tmp_path / "two") == expected


def test_resuming_fills_holes(tmp_path: Path) -> None:
    expected = made_in_order(tmp_path / "one", 5)
    root = tmp_path / "two"
    assert not has_begun(root)
    writer = DatasetWriter(root, FPS, event_features())
    stage(root, 3)
    stage(root, 1)
    assert writer.finished() == {1, 3} and has_begun(root)
    with pytest.raises(JepaflowError, match=r"lacks the episodes 0, 2\. Stage them"):
        writer.close()
    (root / ".staging" / "episode_000002.4711.part").mkdir()  # of a process that was killed
    writer = DatasetWriter.resume(root)
    assert writer.finished() == {1, 3} and not list((root / ".staging").glob("*.part"))
    with pytest.raises(JepaflowError, match="has an episode 3 already"):
        stage(root, 3)
    for episode in (0, 2):
        stage(root, episode)
    assert writer.add_episode(event_rows(4, 16), {TOP: clip(4, 16)}, "task 0") == 4
    writer.close()
    assert contents(root) == expected


def test_holes_are_filled_behind_a_finished_dataset_too(tmp_path: Path) -> None:
    root = tmp_path / "d"
    made_in_order(root, 2)
    with pytest.raises(JepaflowError, match="in the making"):
        stage(root, 2)
    with DatasetWriter.resume(root) as writer:
        with pytest.raises(JepaflowError, match="has an episode 1 already"):
            stage(root, 1)
        stage(root, 3)
        assert writer.finished() == {0, 1, 3}
        stage(root, 2)
    dataset = LeRobotDataset(root)
    assert [episode.length for episode in dataset.episodes] == [12, 13, 14, 15]
    assert [frame_seen(f) for f in dataset.frames(dataset.episodes[3], dataset.cameras[0])] == list(range(15))


def test_events_per_frame_as_number_word_and_bool(tmp_path: Path) -> None:
    root = tmp_path / "d"
    made_in_order(root, 2)
    table = pq.read_table(root / DATA)
    assert [str(table.schema.field(key).type) for key in ("event", "event_name", "next.done")] == [
        "int64", "string", "bool",
    ]  # fmt: skip
    assert table["event_name"].to_pylist()[12:] == event_rows(1, 13)["event_name"].tolist()
    assert table["next.done"].to_pylist() == [False] * 11 + [True] + [False] * 12 + [True]
    columns = pq.read_schema(root / EPISODES).names
    assert "stats/event/mean" in columns and not any("event_name" in name for name in columns)
    dataset = LeRobotDataset(root)
    assert np.flatnonzero(dataset.rows(dataset.episodes[1])["event"]).tolist() == [3, 8]
    assert examine(root).count("error") == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event": np.full(12, 0.9)}, "event is float64, declared int64"),
        ({"event_name": np.zeros(12)}, "event_name is float64, declared string"),
        ({"next.done": np.full(12, "no")}, "next.done is <U2, declared bool"),
    ],
)
def test_values_of_another_kind_are_refused(tmp_path: Path, change: dict[str, np.ndarray], message: str) -> None:
    DatasetWriter(tmp_path / "d", FPS, event_features())
    with pytest.raises(JepaflowError, match=message):
        stage_episode(tmp_path / "d", 0, event_rows(0, 12) | change, {TOP: clip(0, 12)}, "a")


def test_a_dtype_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JepaflowError, match="'event' has dtype 'word'"):
        DatasetWriter(tmp_path / "d", FPS, {"event": {"dtype": "word", "shape": [1]}})


# Kills ---------------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for SIGKILL at one exact instruction."""


def kill(*_: Any, **__: Any) -> None:
    raise Killed


def test_a_kill_while_staging_is_removed_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = made_in_order(tmp_path / "one", 3)
    root = tmp_path / "two"
    writer = DatasetWriter(root, FPS, event_features())
    for episode in range(3):
        stage(root, episode)
    removed: list[Path] = []

    def remove_some(folder: Path, **_: Any) -> None:
        """Remove two episodes and the plan as rmtree may, then die."""
        if not folder.exists():
            return
        for path in [*sorted(folder.glob("episode_*"))[:2], folder / "plan.json"]:
            removed.append(path)
            for file in [path] if path.is_file() else path.iterdir():
                os.unlink(file)
            if path.is_dir():
                os.rmdir(path)
        raise Killed

    monkeypatch.setattr("shutil.rmtree", remove_some)
    with pytest.raises(Killed):
        writer.close()
    monkeypatch.undo()
    assert len(removed) == 3
    writer = DatasetWriter.resume(root)
    assert writer.num_episodes == 3
    writer.close()
    assert contents(root) == expected
    with DatasetWriter.resume(root) as writer:
        assert writer.add_episode(event_rows(3, 15), {TOP: clip(3, 15)}, "a") == 3
    assert not list(root.glob(".staging*"))


@pytest.mark.parametrize("left", [(), ("plan.json",), ("plan.json", "episode_000002")])
def test_what_an_earlier_version_left_half_removed(tmp_path: Path, left: tuple[str, ...]) -> None:
    """Staging was once removed in place: after a kill, some of it lay beside a finished dataset."""
    root = tmp_path / "d"
    writer = DatasetWriter(root, FPS, event_features())
    for episode in range(3):
        stage(root, episode)
    shutil.copytree(root / ".staging", tmp_path / "kept")
    writer.close()
    (root / ".staging").mkdir()
    for name in left:
        os.rename(tmp_path / "kept" / name, root / ".staging" / name)
    with DatasetWriter.resume(root) as writer:
        assert writer.num_episodes == 3
        assert writer.add_episode(event_rows(3, 15), {TOP: clip(3, 15)}, "task 1") == 3
    assert [episode.length for episode in LeRobotDataset(root).episodes] == [12, 13, 14, 15]


@pytest.mark.parametrize("call", ["jepaflow.data.staging.write_json", "os.rename"])
def test_a_kill_before_the_plan_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    root = tmp_path / "d"
    monkeypatch.setattr(call, kill)
    with pytest.raises(Killed):
        DatasetWriter(root, FPS, event_features())
    monkeypatch.undo()
    assert not (root / ".staging").exists() and not has_begun(root)
    (root / ".staging").mkdir(parents=True)  # as an earlier version left it
    with DatasetWriter(root, FPS, event_features()):
        stage(root, 0)
    assert LeRobotDataset(root).episodes[0].length == 12


def test_a_kill_between_assembly_and_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = made_in_order(tmp_path / "one", 2)
    root = tmp_path / "two"
    writer = DatasetWriter(root, FPS, event_features())
    stage(root, 0)
    monkeypatch.setattr("jepaflow.data.staging.Plan.discard", kill)
    stage(root, 1)
    with pytest.raises(Killed):
        writer.close()
    monkeypatch.undo()
    with DatasetWriter.resume(root) as writer:
        assert writer.finished() == {0, 1}
    assert contents(root) == expected
