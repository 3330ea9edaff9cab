"""The writer's files, field by field, against the reference's description of what LeRobot 0.4.4 writes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.data.lerobot import LeRobotDataset
from jepaflow.data.writer import DatasetWriter
from tests.data.builders import (
    DATA,
    EPISODES,
    FPS,
    LENGTHS,
    TOP,
    VIDEO,
    clip,
    features,
    frame_seen,
    level_seen,
    make_v3,
    read_info,
    rows,
)


def test_info_has_the_fields_of_v30(v3: Path) -> None:
    info = read_info(v3)
    assert list(info) == [
        "codebase_version", "robot_type", "total_episodes", "total_frames", "total_tasks", "chunks_size",
        "data_files_size_in_mb", "video_files_size_in_mb", "fps", "splits", "data_path", "video_path", "features",
    ]  # fmt: skip
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, sum(LENGTHS), 2)
    assert info["splits"] == {"train": "0:3"}
    assert info["data_path"] == "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    assert info["video_path"] == "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    assert info["fps"] == 10 and isinstance(info["fps"], int)
    camera = info["features"][TOP]
    assert camera["dtype"] == "video" and camera["shape"] == [48, 64, 3]
    assert camera["names"] == ["height", "width", "channels"]
    assert camera["info"] == {
        "video.height": 48, "video.width": 64, "video.codec": "h264", "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False, "video.fps": 10, "video.channels": 3, "has_audio": False,
    }  # fmt: skip
    for key, dtype in {
        "timestamp": "float32",
        "frame_index": "int64",
        "episode_index": "int64",
        "index": "int64",
        "task_index": "int64",
    }.items():
        assert info["features"][key] == {"dtype": dtype, "shape": [1], "names": None}


def test_tasks_table_is_indexed_by_the_task(v3: Path) -> None:
    table = pq.read_table(v3 / "meta" / "tasks.parquet")
    assert table.to_pydict() == {"task_index": [0, 1], "__index_level_0__": ["task 0", "task 1"]}
    assert json.loads(table.schema.metadata[b"pandas"])["index_columns"] == ["__index_level_0__"]


def test_data_columns_and_types(v3: Path) -> None:
    table = pq.read_table(v3 / DATA)
    assert table.num_rows == sum(LENGTHS)
    assert table.schema.field("observation.state").type == pa.list_(pa.float32(), 3)
    assert table.schema.field("timestamp").type == pa.float32()
    for name in ("frame_index", "episode_index", "index", "task_index"):
        assert table.schema.field(name).type == pa.int64()
    assert table["index"].to_pylist() == list(range(sum(LENGTHS)))
    assert table["frame_index"].to_pylist() == [n for length in LENGTHS for n in range(length)]
    assert table["episode_index"].to_pylist() == [e for e, length in enumerate(LENGTHS) for _ in range(length)]
    assert table["task_index"].to_pylist() == [e % 2 for e, length in enumerate(LENGTHS) for _ in range(length)]
    assert np.allclose(table["timestamp"].to_numpy(), table["frame_index"].to_numpy() / FPS)
    stored = np.array(table["action"].to_pylist(), dtype=np.float32)
    assert np.array_equal(stored, np.concatenate([rows(e, n)["action"] for e, n in enumerate(LENGTHS)]))


def test_episodes_table(v3: Path) -> None:
    episodes = pq.read_table(v3 / EPISODES).to_pylist()
    assert [row["episode_index"] for row in episodes] == [0, 1, 2]
    assert [row["length"] for row in episodes] == list(LENGTHS)
    assert [row["tasks"] for row in episodes] == [["task 0"], ["task 1"], ["task 0"]]
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in episodes] == [(0, 24), (24, 54), (54, 81)]
    slots = [(row[f"videos/{TOP}/from_timestamp"], row[f"videos/{TOP}/to_timestamp"]) for row in episodes]
    assert slots == [(0.0, 2.4), (2.4, 5.4), (5.4, 8.1)]
    for row in episodes:
        for key in ("data/", f"videos/{TOP}/", "meta/episodes/"):
            assert (row[f"{key}chunk_index"], row[f"{key}file_index"]) == (0, 0)
        for key, shape in (
            ("observation.state", (3,)),
            ("action", (2,)),
            (TOP, (3, 1, 1)),
            ("timestamp", (1,)),
            ("index", (1,)),
        ):
            for name in ("min", "max", "mean", "std", "q01", "q10", "q50", "q90", "q99"):
                assert np.shape(row[f"stats/{key}/{name}"]) == shape, (key, name)
    state = rows(1, 30)["observation.state"].astype(np.float64)
    assert np.allclose(episodes[1]["stats/observation.state/mean"], state.mean(0))
    assert np.allclose(episodes[1]["stats/observation.state/q90"], np.quantile(state, 0.9, axis=0))
    assert episodes[1]["stats/observation.state/count"] == [30]


def test_pooled_stats(v3: Path) -> None:
    stats = json.loads((v3 / "meta" / "stats.json").read_text())
    state = np.concatenate([rows(e, n)["observation.state"] for e, n in enumerate(LENGTHS)]).astype(np.float64)
    assert np.allclose(stats["observation.state"]["std"], state.std(0))
    assert np.allclose(stats["observation.state"]["min"], state.min(0))
    assert stats["observation.state"]["count"] == [sum(LENGTHS)]
    pictures = np.concatenate([clip(e, n) for e, n in enumerate(LENGTHS)]) / 255
    assert np.allclose(np.ravel(stats[TOP]["mean"]), pictures.mean(axis=(0, 1, 2)), atol=1e-3)
    assert np.shape(stats[TOP]["q50"]) == (3, 1, 1)


def test_frames_lie_at_whole_multiples_of_the_period(v3: Path) -> None:
    with av.open(str(v3 / VIDEO)) as container:
        frames = [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert [round(stamp * FPS, 6) for stamp, _ in frames] == list(range(sum(LENGTHS)))
    assert abs(level_seen(frames[24][1]) - 90) < 3 and abs(level_seen(frames[23][1]) - 40) < 3


@pytest.mark.parametrize("codec", ["libx264", "libsvtav1"])
def test_low_loss(tmp_path: Path, codec: str) -> None:
    dataset = LeRobotDataset(make_v3(tmp_path / "d", (12,), codec=codec))
    loss = [
        np.abs(a.astype(int) - b).mean()
        for a, b in zip(dataset.frames(dataset.episodes[0], dataset.cameras[0]), clip(0, 12))
    ]
    assert len(loss) == 12 and max(loss) < 3


def test_files_roll_over_and_cameras_keep_their_own_count(tmp_path: Path) -> None:
    root = make_v3(tmp_path / "d", (12, 12, 12), (TOP, "observation.images.side"), video_file_mb=0, data_file_mb=0)
    assert len(list(root.glob(f"videos/{TOP}/*/*.mp4"))) == 3 and len(list(root.glob("data/*/*.parquet"))) == 3
    dataset = LeRobotDataset(root)
    for episode in dataset.episodes:
        assert episode.slots[TOP].start == 0.0
        for number, camera in enumerate(dataset.cameras):
            assert (
                abs(
                    level_seen(next(iter(dataset.frames(episode, camera)))) - (40 + 50 * ((episode.index + number) % 4))
                )
                < 3
            )


def test_resume_goes_on_and_appending_starts_new_files(tmp_path: Path) -> None:
    root = tmp_path / "d"
    first = DatasetWriter(root, FPS, features())
    first.add_episode(rows(0, 12), {TOP: clip(0, 12)}, "a")
    del first  # never closed
    with pytest.raises(JepaflowError, match="already holds"):
        DatasetWriter(root, FPS, features())
    second = DatasetWriter.resume(root)
    assert second.num_episodes == 1
    second.add_episode(rows(1, 13), {TOP: iter(clip(1, 13))}, "b")
    second.close()
    before = {path: path.read_bytes() for path in sorted(root.rglob("file-000*"))}
    third = DatasetWriter.resume(root)
    assert third.add_episode(rows(2, 14), {TOP: clip(2, 14)}, "a") == 2
    third.close()
    assert {path: path.read_bytes() for path in before} == before
    dataset = LeRobotDataset(root)
    assert [episode.length for episode in dataset.episodes] == [12, 13, 14] and dataset.tasks == ["a", "b"]
    assert read_info(root)["total_frames"] == 39 and not (root / ".staging").exists()
    for episode in dataset.episodes:
        seen = [frame_seen(frame) for frame in dataset.frames(episode, dataset.cameras[0])]
        assert seen == list(range(episode.length))
        assert np.array_equal(dataset.rows(episode)["action"], rows(episode.index, episode.length)["action"])
    assert dataset.rows(dataset.episodes[2])["index"].tolist() == list(range(25, 39))


def test_kill_while_recording_costs_one_episode_at_most(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.data.builders import *\n"
        "writer = DatasetWriter(Path(sys.argv[1]), FPS, features())\n"
        "for episode in range(1000): writer.add_episode(rows(episode, 20), {TOP: clip(episode, 20)}, 'a')\n"
    )
    root = tmp_path / "d"
    process = subprocess.Popen([sys.executable, "-c", script, str(root)], cwd=Path(__file__).parents[2])
    while not (root / ".staging" / "episode_000002").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (root / "meta" / "info.json").exists()
    writer = DatasetWriter.resume(root)
    kept = writer.num_episodes
    assert kept >= 3
    writer.close()
    dataset = LeRobotDataset(root)
    assert len(dataset.episodes) == kept
    for episode in dataset.episodes:
        assert [frame_seen(f) for f in dataset.frames(episode, dataset.cameras[0])] == list(range(20))


def test_crash_while_closing_is_mended_by_closing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "d"
    writer = DatasetWriter(root, FPS, features())
    writer.add_episode(rows(0, 12), {TOP: clip(0, 12)}, "a")
    monkeypatch.setattr("jepaflow.data.assemble._write_stats", lambda *_: os.kill(os.getpid(), 0) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        writer.close()
    monkeypatch.undo()
    assert not (root / "meta" / "info.json").exists()
    DatasetWriter.resume(root).close()
    assert LeRobotDataset(root).episodes[0].length == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observation.state": np.full((12, 3), np.nan)}, "frame 0: observation.state is NaN"),
        ({"observation.state": np.zeros((12, 4))}, r"shape \(12, 4\), expected \(12, 3\)"),
        ({"observation.state": np.zeros((11, 3))}, "differ in length"),
        ({"extra": np.zeros((12, 1))}, "extra not declared"),
    ],
)  # fmt: skip
def test_bad_episodes_are_refused_and_leave_nothing(
    tmp_path: Path, change: dict[str, np.ndarray], message: str
) -> None:
    writer = DatasetWriter(tmp_path / "d", FPS, features())
    with pytest.raises(JepaflowError, match=message):
        writer.add_episode({**rows(0, 12), **change}, {TOP: clip(0, 12)}, "a")
    with pytest.raises(JepaflowError, match=r"11 frames of .* for 12 rows"):
        writer.add_episode(rows(0, 12), {TOP: iter(clip(0, 11))}, "a")
    assert writer.num_episodes == 0 and not list((tmp_path / "d" / ".staging").glob("episode_*"))
    with pytest.raises(JepaflowError, match="no episode"):
        writer.close()


def test_images_in_parquet_are_lossless(tmp_path: Path) -> None:
    root = make_v3(tmp_path / "d", (7, 40), kind="image")
    assert read_info(root)["video_path"] is None
    dataset = LeRobotDataset(root)
    for episode in dataset.episodes:
        stored = np.stack(list(dataset.frames(episode, dataset.cameras[0])))
        assert np.array_equal(stored, clip(episode.index, episode.length))
