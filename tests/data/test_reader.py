"""The reader: right rows, right frames, in every layout and spelling met in the wild."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.data.encode import encode_video, join_videos
from jepaflow.data.hub import open_dataset
from jepaflow.data.lerobot import LeRobotDataset
from jepaflow.data.names import flat_names, image_size
from jepaflow.data.resize import ImageRule
from jepaflow.data.types import compact
from jepaflow.data.video import VideoCursor, index_video, pair_frames
from jepaflow.data.videofolder import VideoFolder
from tests.data.builders import (
    EPISODES,
    FPS,
    LENGTHS,
    TOP,
    background,
    clip,
    edit_table,
    frame_seen,
    level_seen,
    make_v2,
    make_v3,
    read_info,
    rows,
    write_info,
    write_lines,
)

Spoil = Callable[[str], Path]


def assert_sound(dataset: Any, lengths: tuple[int, ...] = LENGTHS, tolerance: float = 4.0) -> None:
    """Every episode has its own rows and its own frames, each at its own moment."""
    assert [episode.length for episode in dataset.episodes] == list(lengths)
    for episode in dataset.episodes:
        values = dataset.rows(episode)
        key = dataset.role("action")
        assert key is not None and np.array_equal(values[key], rows(episode.index, episode.length)["action"])
        frames = list(dataset.frames(episode, dataset.cameras[0]))
        assert [frame_seen(frame) for frame in frames] == [number % 30 for number in range(episode.length)]
        assert all(abs(level_seen(frame) - background(episode.index)) < tolerance for frame in frames)


def test_v30_episodes_in_one_file_get_their_own_frames(v3: Path) -> None:
    # Taking frames from the start of the file (a known defect elsewhere) shows episode 0's background in all of them.
    assert len(list(v3.glob("videos/*/*/*.mp4"))) == 1
    assert_sound(open_dataset(v3))


def test_v30_in_any_order_of_access(v3: Path) -> None:
    dataset = LeRobotDataset(v3)
    for index in (2, 0, 1, 1, 2):
        frames = list(dataset.frames(dataset.episodes[index], dataset.cameras[0]))
        assert abs(level_seen(frames[0]) - background(index)) < 4
        assert [frame_seen(frame) for frame in frames] == [number % 30 for number in range(LENGTHS[index])]


@pytest.mark.parametrize("kind", ["video", "image", "jpeg", "png"])
@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
def test_v2(tmp_path: Path, kind: str, version: str) -> None:
    assert_sound(open_dataset(make_v2(tmp_path / "d", version=version, kind=kind)))


def test_v21_and_v30_agree(v2: Path, v3: Path) -> None:
    for one, other in zip((old := LeRobotDataset(v2)).episodes, (new := LeRobotDataset(v3)).episodes, strict=True):
        assert one.tasks == other.tasks
        left, right = old.rows(one), new.rows(other)
        assert left.keys() == right.keys() and all(np.array_equal(left[key], right[key]) for key in left)


def _info(**changes: Any) -> Callable[[Path], None]:
    return lambda root: write_info(root, {**read_info(root), **changes})


def _rename(before: str, after: str) -> Callable[[Path], None]:
    return lambda root: shutil.move(root / before, root / after)


def _features(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        info = read_info(root)
        change(info["features"])
        write_info(root, info)

    return apply


def _chunk_index(root: Path) -> None:
    _info(data_path="data/chunk-{chunk_index:03d}/episode_{episode_index:06d}.parquet")(root)


def _small_chunks(root: Path) -> None:
    for folder in ("data/chunk-{}", f"videos/chunk-{{}}/{TOP}"):
        for episode in (1, 2):
            target = root / folder.format(f"{episode:03d}")
            target.mkdir(parents=True)
            for path in (root / folder.format("000")).glob(f"episode_{episode:06d}.*"):
                shutil.move(path, target)
    _info(chunks_size=1)(root)


def _plain_keys(root: Path) -> None:
    names = {"observation.state": "state", "action": "actions"}
    for path in root.glob("data/*/*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.rename_columns([names.get(name, name) for name in table.column_names]), path)
    info = read_info(root)
    info["features"] = {names.get(key, key): feature for key, feature in info["features"].items()}
    write_info(root, info)


def _without_indices(root: Path) -> None:
    for path in root.glob("data/*/*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(["index", "task_index"]), path)


def _with_done(root: Path) -> None:
    for path in root.glob("data/*/*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.append_column("next.done", pa.array([False] * table.num_rows)), path)


def _wider_promise(root: Path) -> None:
    _info(total_episodes=5, total_frames=999)(root)


def _only_minimum(root: Path) -> None:
    for name in ("tasks.jsonl", "episodes.jsonl"):
        (root / "meta" / name).unlink()


def _tasks_parquet(root: Path) -> None:
    (root / "meta" / "tasks.jsonl").unlink()
    pq.write_table(pa.table({"task_index": [0, 1], "task": ["task 0", "task 1"]}), root / "meta" / "tasks.parquet")


def _codec_lies(root: Path) -> None:
    info = read_info(root)
    info["features"][TOP]["video_info"] = {"video.codec": "mpeg4", "video.fps": 10}
    write_info(root, info)


WILD: dict[str, Callable[[Path], Any]] = {
    "chunk_index in a v2 template": _chunk_index,
    "chunks_size 1": _small_chunks,
    "version 2.3.0": _info(codebase_version="2.3.0"),
    "version 0.4.0": _info(codebase_version="0.4.0"),
    "version missing": _info(codebase_version=None),
    "folder video/": _rename("videos", "video"),
    "keys state, actions": _plain_keys,
    "shape (C, H, W)": _features(lambda features: features[TOP].update(shape=[3, 48, 64])),
    "names nested": _features(lambda features: features["action"].update(names=[["dx", "dy"]])),
    "names motors": _features(lambda features: features["action"].update(names={"motors": ["dx", "dy"]})),
    "names null": _features(lambda features: features["action"].update(names=None)),
    "no index, no task_index": _without_indices,
    "next.done": _with_done,
    "more promised than present": _wider_promise,
    "no lists": _only_minimum,
    "tasks.parquet in v2": _tasks_parquet,
    "another codec in info": _codec_lies,
    "no templates": _info(data_path=None, video_path=None),
    "fps only at the camera": lambda root: (_codec_lies(root), _info(fps=None)(root)),
}


@pytest.mark.parametrize("variant", WILD)
def test_wild_variants(spoil: Spoil, variant: str) -> None:
    root = spoil("v2")
    WILD[variant](root)
    dataset = LeRobotDataset(root)
    assert_sound(dataset)
    assert (dataset.cameras[0].height, dataset.cameras[0].width) == (48, 64)
    assert dataset.absent == ([3, 4] if variant == "more promised than present" else [])
    assert len(dataset.features[dataset.role("action") or ""].names) == 2


def test_v30_one_file_per_episode_and_missing_columns(tmp_path: Path) -> None:
    root = make_v3(tmp_path / "d", video_file_mb=0, data_file_mb=0)
    for path in root.glob("meta/episodes/*/*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.drop_columns([f"videos/{TOP}/to_timestamp"]), path)
    assert_sound(LeRobotDataset(root))


@pytest.mark.parametrize("off", [-1e-12, 1e-12, -0.03, 0.03])
def test_slot_ends_are_rounded_never_floored(spoil: Spoil, off: float) -> None:
    root = spoil("v3")

    def shave(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for name in (f"videos/{TOP}/from_timestamp", f"videos/{TOP}/to_timestamp"):
            columns[name] = [max(0.0, value + off) for value in columns[name]]
        return columns

    edit_table(root / EPISODES, shave)
    assert_sound(LeRobotDataset(root))


def test_drifting_row_times_change_no_frame(spoil: Spoil) -> None:
    root = spoil("v2")
    for path in root.glob("data/*/*.parquet"):
        edit_table(path, lambda columns: {**columns, "timestamp": [t * 1.1 + 0.04 for t in columns["timestamp"]]})
    assert_sound(LeRobotDataset(root))


def test_nearest_time_when_counts_differ(spoil: Spoil) -> None:
    root = spoil("v2")
    # Rows 3, 4 and 10 were lost from the table, with their times right: the frames of the others must not shift.
    path = root / "data/chunk-000/episode_000000.parquet"
    kept = [number for number in range(24) if number not in (3, 4, 10)]
    pq.write_table(pq.read_table(path).take(kept), path)
    dataset = LeRobotDataset(root)
    assert [frame_seen(frame) for frame in dataset.frames(dataset.episodes[0], dataset.cameras[0])] == kept
    assert "24 top frames for 21 rows" in (dataset.check_frames(dataset.episodes[0], dataset.cameras[0]) or "")


def test_pairing(tmp_path: Path) -> None:
    encode_video(tmp_path / "a.mp4", clip(0, 20), FPS)
    index = index_video(tmp_path / "a.mp4")
    assert index.slot(0.5, 1.5, 10.0) == (5, 15) and index.slot(1.9, None, 10.0) == (19, 20)
    assert pair_frames(index, 5, 15, 0.5, np.linspace(0, 5, 10)).tolist() == list(range(5, 15))
    assert pair_frames(index, 5, 15, 0.5, np.array([0.0, 0.16, 0.8, 99.0])).tolist() == [5, 7, 13, 14]
    assert pair_frames(index, 5, 6, 0.5, np.array([0.0, 0.1])).tolist() == [5, 5]
    with pytest.raises(JepaflowError, match="no frame"):
        pair_frames(index, 5, 5, 0.5, np.zeros(2))


def test_cursor_decodes_forward_and_seeks(tmp_path: Path) -> None:
    parts = []
    for number in range(8):
        encode_video(tmp_path / f"{number}.mp4", clip(number, 30), FPS)
        parts.append(tmp_path / f"{number}.mp4")
    join_videos(parts, [30] * 8, tmp_path / "all.mp4", FPS)
    cursor = VideoCursor(index_video(tmp_path / "all.mp4"))
    for first, numbers in (
        (0, [0, 0, 1, 5]),
        (5, [5, 6]),
        (200, [200, 201]),
        (3, [3]),
        (239, [239, 239]),
        (100, [100, 160]),
    ):
        frames = [frame for frame in cursor.frames(np.array(numbers)) if frame is not None]
        seen = [frame.to_ndarray(format="rgb24") for frame in frames]
        assert [frame_seen(frame) for frame in seen] == [number % 30 for number in numbers], first
        assert all(abs(level_seen(f) - background(n // 30)) < 4 for f, n in zip(seen, numbers, strict=True))
    cursor.close()


def test_a_video_of_an_unknown_codec_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    encode_video(path, clip(0, 5), FPS)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    with pytest.raises(JepaflowError, match=r"a\.mp4 is coded in a way that no decoder here knows"):
        index_video(path)


def test_two_cameras(tmp_path: Path) -> None:
    dataset = LeRobotDataset(make_v3(tmp_path / "d", (8, 9), (TOP, "observation.images.side")))
    assert [camera.name for camera in dataset.cameras] == ["top", "side"]
    for episode in dataset.episodes:
        pairs = zip(*(dataset.frames(episode, camera) for camera in dataset.cameras), strict=True)
        for top, side in pairs:
            assert abs(level_seen(top) - background(episode.index)) < 4
            assert abs(level_seen(side) - background(episode.index + 1)) < 4
    with pytest.raises(JepaflowError, match="Its cameras: top, side"):
        dataset.camera("front")


def test_video_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    encode_video(tmp_path / "b.mp4", clip(1, 12), 25)
    encode_video(tmp_path / "deep" / "a.mp4", clip(0, 9, 64, 48), 25)
    (tmp_path / "deep" / "notes.txt").write_text("no video")
    (tmp_path / "broken.mkv").write_bytes(b"nothing")
    dataset = open_dataset(tmp_path)
    assert isinstance(dataset, VideoFolder) and dataset.fps == 25 and dataset.role("action") is None
    assert [episode.length for episode in dataset.episodes] == [12, 9]
    assert [problem.code for problem in dataset.problems] == ["video-unreadable"]
    assert [frame_seen(frame) for frame in dataset.frames(dataset.episodes[0], dataset.cameras[0])] == list(range(12))
    assert np.allclose(dataset.rows(dataset.episodes[0])["timestamp"], np.arange(12) / 25)
    assert len(open_dataset(tmp_path / "b.mp4").episodes) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "neither a LeRobot dataset nor videos"),
        (lambda root: (root / "meta").mkdir(), "no meta/info.json"),
        (lambda root: (root / "meta_data").mkdir(), "v1 dataset"),
        (lambda root: (root / ".staging").mkdir(), "unfinished recording"),
        (
            lambda root: ((root / "meta").mkdir(), (root / "meta" / "info.json").write_text("{")),
            "cannot be read as JSON",
        ),
        (
            lambda root: ((root / "meta").mkdir(), (root / "meta" / "info.json").write_text("{}")),
            "describes no features",
        ),
    ],
)
def test_what_cannot_be_opened_is_said(tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    root = tmp_path / "d"
    root.mkdir()
    make(root)
    with pytest.raises(JepaflowError, match=re.escape(message)):
        open_dataset(root)


def test_wrong_paths_are_said(tmp_path: Path, v3: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"")
    for path, message in (
        (tmp_path / "no" / "such" / "folder", "does not exist"),
        (tmp_path / "a.h5", "a store already"),
    ):
        with pytest.raises(JepaflowError, match=message):
            open_dataset(path)


def test_hub_id_without_network_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")

    def offline(*_: Any, **__: Any) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JepaflowError, match=r"somebody/something .* cannot be fetched .*no route to host"):
        open_dataset("somebody/something")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(make_v3(tmp_path / "got")))
    assert len(open_dataset("somebody/something").episodes) == 3


def test_broken_metadata_lines_are_named(spoil: Spoil) -> None:
    root = spoil("v2")
    (root / "meta" / "episodes.jsonl").write_text('{"episode_index": 0, "tasks": [], "length": 24}\n{"epis')
    with pytest.raises(JepaflowError, match=r"episodes\.jsonl, line 2 is not JSON"):
        LeRobotDataset(root)


def test_task_sentences(v3: Path, spoil: Spoil) -> None:
    assert LeRobotDataset(v3).tasks == ["task 0", "task 1"]
    root = spoil("v2")
    write_lines(root / "meta" / "tasks.jsonl", [{"task_index": n, "task": f"do {n}"} for n in (1, 0)])
    assert LeRobotDataset(root).tasks == ["do 0", "do 1"]


def test_names_shapes_and_ranges() -> None:
    assert (
        flat_names({"motors": ["a", "b"]}, 2) == ("a", "b") == flat_names([["a", "b"]], 2) == flat_names(["a", "b"], 2)
    )
    assert flat_names(None, 2) == ("dim_0", "dim_1") == flat_names(["a"], 2)
    assert image_size({"shape": [3, 480, 640]}) == (480, 640) == image_size({"shape": [480, 640, 3]})
    assert image_size({"shape": [3, 4, 3], "names": ["channels", "height", "width"]}) == (4, 3)
    assert compact([5, 0, 1, 2, 9, 8]) == "0-2, 5, 8-9" and compact([]) == "" and compact([0]) == "0"


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("size", [24, 48, 96])
def test_resizing_keeps_the_rule_for_video_and_array(tmp_path: Path, fit: str, size: int) -> None:
    encode_video(tmp_path / "a.mp4", clip(2, 4), FPS)
    rule = ImageRule(size, fit)
    frame = next(iter(VideoCursor(index_video(tmp_path / "a.mp4")).frames(np.array([3]))))
    assert frame is not None
    from_video, from_array = rule.from_video(frame), rule.from_array(clip(2, 4)[3])
    assert from_video.shape == from_array.shape == (size, size, 3)
    assert np.abs(from_video.astype(int) - from_array).mean() < 3
    edge = from_array[0, size // 2].mean()
    assert edge == 0 if fit == "pad" else edge > 100


def test_resizing_leaves_a_frame_of_the_right_size_alone() -> None:
    frame = clip(0, 1, 64, 64)[0]
    assert ImageRule(64).from_array(frame) is frame
    with pytest.raises(JepaflowError, match="at least 8"):
        ImageRule(4)
    with pytest.raises(JepaflowError, match="crop, pad, squash"):
        ImageRule(64, "stretch")


def test_stale_json_types_do_not_matter(spoil: Spoil) -> None:
    root = spoil("v2")
    lines = [json.loads(line) for line in (root / "meta" / "episodes.jsonl").read_text().splitlines()]
    write_lines(
        root / "meta" / "episodes.jsonl", [{**line, "episode_index": str(line["episode_index"])} for line in lines]
    )
    assert_sound(LeRobotDataset(root))
