"""One fixture per fault of the reference's catalogue; the doctor must find each, and nothing in a sound dataset."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepaflow.cli import doctor as command
from jepaflow.data.doctor import examine
from jepaflow.data.encode import encode_video
from jepaflow.data.findings import Collector
from jepaflow.data.hub import open_dataset
from jepaflow.data.types import Finding
from jepaflow.data.writer import DatasetWriter
from tests.data.builders import (
    DATA,
    EPISODES,
    FPS,
    TOP,
    VIDEO,
    clip,
    edit_table,
    features,
    frame_seen,
    make_v2,
    make_v3,
    read_info,
    rows,
    write_info,
    write_lines,
)

Fault = Callable[[Path], Any]
SIDE = "observation.images.side"


def _v2_data(episode: int) -> Path:
    return Path(f"data/chunk-000/episode_{episode:06d}.parquet")


def _v2_video(episode: int) -> Path:
    return Path(f"videos/chunk-000/{TOP}/episode_{episode:06d}.mp4")


def _set(path: Path, column: str, change: Callable[[np.ndarray], Any]) -> Fault:
    """Change one column of a table: ``change`` gets it as an array."""

    def apply(root: Path) -> None:
        edit_table(root / path, lambda table: {**table, column: change(np.array(table[column])).tolist()})

    return apply


def _shuffle_rows(root: Path) -> None:
    """Exchange two rows of an episode, all columns alike."""
    order = np.arange(30)
    order[[4, 11]] = order[[11, 4]]
    edit_table(root / _v2_data(1), lambda table: {key: [values[n] for n in order] for key, values in table.items()})


def _at(index: Any, value: Any) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[index] = value
        return values

    return change


def _info(**changes: Any) -> Fault:
    return lambda root: write_info(root, {**read_info(root), **changes})


def _feature(key: str, **changes: Any) -> Fault:
    def apply(root: Path) -> None:
        info = read_info(root)
        info["features"][key].update(changes)
        write_info(root, info)

    return apply


def _truncate(path: Path, share: float = 0.6) -> Fault:
    def apply(root: Path) -> None:
        data = (root / path).read_bytes()
        (root / path).write_bytes(data[: int(len(data) * share)])

    return apply


def _video(episode: int, frames: np.ndarray, fps: float = FPS) -> Fault:
    return lambda root: encode_video(root / _v2_video(episode), frames, fps)


def _every(column: str, change: Callable[[np.ndarray], Any]) -> Fault:
    def apply(root: Path) -> None:
        for episode in range(3):
            _set(_v2_data(episode), column, change)(root)

    return apply


def _zero_packets(root: Path) -> None:
    with av.open(str(root / VIDEO)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][34:38]
    with open(root / VIDEO, "r+b") as handle:
        for position, size in places:
            handle.seek(position)
            handle.write(b"\0" * size)


def _frozen() -> np.ndarray:
    frames = clip(1, 30)
    frames[8:24] = frames[8]
    return frames


def _black_some() -> np.ndarray:
    frames = clip(1, 30)
    frames[10:13] = 0
    return frames


def _wider_state(root: Path) -> None:
    table = pq.read_table(root / _v2_data(1))
    state = np.array(table["observation.state"].to_pylist())
    wide = pa.array(np.concatenate([state, state[:, :1]], axis=1).tolist(), pa.list_(pa.float32()))
    table = table.set_column(table.column_names.index("observation.state"), "observation.state", wide)
    pq.write_table(table, root / _v2_data(1))


def _drop_rows(root: Path) -> None:
    table = pq.read_table(root / _v2_data(1))
    pq.write_table(table.take([number for number in range(30) if number not in (7, 8, 9, 10)]), root / _v2_data(1))


def _unsteady_video(root: Path) -> None:
    """Frames 12.. of the file come half a second late, as after a stall of the recorder."""
    source = root / _v2_video(1)
    with av.open(str(source)) as one, av.open(str(source.with_suffix(".new")), "w", format="mp4") as other:
        stream = other.add_stream_from_template(one.streams.video[0], opaque=True)
        for packet in one.demux(video=0):
            if packet.dts is not None and packet.pts is not None and packet.time_base is not None:
                late = int(0.5 / packet.time_base) if round(packet.pts * packet.time_base * FPS) >= 12 else 0
                packet.pts, packet.dts, packet.stream = packet.pts + late, packet.dts + late, stream
                other.mux(packet)
    source.with_suffix(".new").replace(source)


def _doubled_time(root: Path) -> None:
    """Frames 11 and 12 of the file carry one time, as recorders with a non-monotonic clock write them."""
    source = root / _v2_video(1)
    with av.open(str(source)) as one, av.open(str(source.with_suffix(".new")), "w", format="matroska") as other:
        stream = other.add_stream_from_template(one.streams.video[0], opaque=True)
        for packet in one.demux(video=0):
            if packet.dts is not None and packet.pts is not None and packet.time_base is not None:
                if round(packet.pts * packet.time_base * FPS) == 12:
                    packet.pts = packet.dts = int(11 / packet.time_base / FPS)
                packet.stream = stream
                other.mux(packet)
    source.with_suffix(".new").replace(source)


def _copied_action(root: Path) -> None:
    """Two features that are one: the state under another key."""
    info = read_info(root)
    info["features"]["observation.velocity"] = dict(info["features"]["observation.state"])
    write_info(root, info)
    for episode in range(3):
        table = pq.read_table(root / _v2_data(episode))
        pq.write_table(
            table.append_column("observation.velocity", table["observation.state"]), root / _v2_data(episode)
        )


# name -> (base, fault, code, level)
FAULTS: dict[str, tuple[str, Fault, str, str]] = {
    # timestamps
    "row times beyond half a frame": ("v2", _every("timestamp", lambda t: t * 1.1), "time-drift", "warning"),
    "row times beyond LeRobot's tolerance": ("v2", _every("timestamp", lambda t: t + 0.01), "time-jitter", "note"),
    "a gap in time": (
        "v2", _set(_v2_data(1), "timestamp", lambda t: t + 2.0 * (np.arange(30) > 9)), "time-gap", "warning",
    ),
    "time runs back": ("v2", _set(_v2_data(1), "timestamp", _at(10, 0.2)), "time-order", "error"),
    "a video that stalls": ("v2", _unsteady_video, "video-gap", "warning"),
    "a video at another rate": ("v2", _video(1, clip(1, 30), 30.0), "video-rate", "warning"),
    "two frames at one time": ("v2", _doubled_time, "video-times", "warning"),
    "the frame rate was lost": (
        "v2", lambda root: (_feature(TOP, info={"video.fps": 10})(root), _info(fps=None)(root)), "no-fps", "warning"
    ),
    # merges and converters
    "slots that overlap": (
        "v3", _set(EPISODES, f"videos/{TOP}/from_timestamp", _at(1, 1.0)), "slot-overlap", "error"
    ),
    "a slot beyond the file": (
        "v3", lambda root: edit_table(root / EPISODES, lambda t: {
            **t, f"videos/{TOP}/from_timestamp": [0.0, 2.4, 1058.9], f"videos/{TOP}/to_timestamp": [2.4, 5.4, 1061.6]}),
        "slot-outside", "error",
    ),
    "scrambled row ranges": ("v3", _set(EPISODES, "dataset_from_index", lambda v: v[[1, 0, 2]]), "row-range", "error"),
    "a pointer to another file": ("v3-files", lambda root: [
        edit_table(path, lambda t: {**t, "data/file_index": [0] * len(t["length"])})
        for path in root.glob("meta/episodes/*/*.parquet")
    ], "stale-pointer", "error"),
    "names null": ("v3", _feature("action", names=None), "no-names", "note"),
    "the first data file is missing": ("v3-files", lambda root: (root / DATA).unlink(), "absent-episodes", "error"),
    "the first video file is missing": ("v3-files", lambda root: (root / VIDEO).unlink(), "video-missing", "error"),
    "no statistics for images": ("v3", lambda root: (root / "meta/stats.json").write_text(json.dumps(
        {k: v for k, v in json.loads((root / "meta/stats.json").read_text()).items() if k != TOP})),
        "no-stats", "note"),
    # broken files
    "a parquet file cut short": ("v2", _truncate(_v2_data(1)), "data-unreadable", "error"),
    "an mp4 cut short": ("v2", _truncate(_v2_video(1)), "video-unreadable", "error"),
    "a shared mp4 cut short": ("v3", _truncate(VIDEO), "video-unreadable", "error"),
    "packets that cannot be decoded": ("v3", _zero_packets, "decode-error", "error"),
    "info.json cut short": ("v2", _truncate(Path("meta/info.json")), "cannot-open", "error"),
    "the episodes table cut short": ("v3", _truncate(EPISODES), "cannot-open", "error"),
    # counts and promises
    "more episodes promised than present": ("v2", _info(total_episodes=9), "absent-episodes", "error"),
    "a data file is missing": ("v2", lambda root: (root / _v2_data(1)).unlink(), "absent-episodes", "error"),
    "fewer rows than promised": ("v2", _drop_rows, "length", "error"),
    "more frames than rows": ("v2", _video(1, clip(1, 34)), "frame-count", "error"),
    "fewer frames than rows": ("v2", _video(1, clip(1, 28)), "frame-count", "error"),
    "total_frames is wrong": ("v2", _info(total_frames=7), "total-frames", "warning"),
    "an episode is not listed": ("v2", lambda root: write_lines(root / "meta/episodes.jsonl", [
        {"episode_index": n, "tasks": ["task 0"], "length": length} for n, length in ((0, 24), (2, 27))]),
        "unlisted-episodes", "warning"),
    "frame_index skips": ("v2", _set(_v2_data(1), "frame_index", _at(10, 12)), "frame-index", "error"),
    "rows out of order": ("v2", _shuffle_rows, "row-order", "warning"),
    "index skips": ("v2", _set(_v2_data(1), "index", lambda v: v + (np.arange(30) > 9)), "row-index", "warning"),
    "rows of another episode": (
        "v2", _set(_v2_data(1), "episode_index", _at(slice(None), 2)), "episode-index", "error",
    ),
    "a task that is not listed": (
        "v2", _set(_v2_data(1), "task_index", _at(slice(None), 7)), "unknown-task", "warning",
    ),
    "a column is missing": ("v2", lambda root: edit_table(
        root / _v2_data(1), lambda t: {k: v for k, v in t.items() if k != "action"}), "missing-column", "error"),
    # values
    "NaN": ("v2", _set(_v2_data(1), "action", _at((10, 1), np.nan)), "not-finite", "error"),
    "infinity": ("v3", _set(DATA, "observation.state", _at((40, 2), np.inf)), "not-finite", "error"),
    "a constant dimension": ("v2", _every("action", _at((slice(None), 1), 0.5)), "constant", "warning"),
    "a doubled dimension": (
        "v2", _every("action", lambda v: np.stack([v[:, 0], v[:, 0]], 1)), "duplicate-dimension", "warning"
    ),
    "a doubled feature": ("v2", _copied_action, "duplicate-feature", "warning"),
    "merged shapes": ("v2", _wider_state, "shape-mismatch", "error"),
    "a servo that was not read": (
        "v2", _set(_v2_data(1), "observation.state", _at((slice(5, 9), 2), -1.0)), "unread-servo", "warning"
    ),
    "one episode in degrees": (
        "v2", _set(_v2_data(1), "observation.state", lambda v: v * 180 / np.pi), "mixed-units", "warning"
    ),
    "actions in degrees, states in radians": ("long-degrees", lambda root: None, "mixed-units", "warning"),
    "actions late": ("long-late", lambda root: None, "lag", "warning"),
    "hand-guided": ("long-guided", lambda root: None, "action-is-next-state", "note"),
    # pictures
    "a black episode": ("v2", _video(1, np.zeros((30, 48, 64, 3), np.uint8)), "black-frames", "error"),
    "some black frames": ("v2", _video(1, _black_some()), "black-frames", "warning"),
    "frozen frames": ("v2", _video(1, _frozen()), "frozen-frames", "warning"),
    "one camera under two keys": ("twice", lambda root: None, "duplicate-camera", "warning"),
    "pictures late": ("long-shifted", lambda root: None, "misaligned", "warning"),
    "a video of another size": ("v2", _video(1, clip(1, 30, 96, 128)), "size-differs", "warning"),
    "another codec than info.json says": ("v2", _feature(TOP, info={"video.codec": "av1"}), "codec-differs", "note"),
    "shape written (C, H, W)": ("v2", _feature(TOP, shape=[3, 48, 64]), "shape-chw", "note"),
    "an unknown version": ("v2", _info(codebase_version="2.3.0"), "version", "warning"),
}  # fmt: skip


def _long(root: Path, kind: str) -> Path:
    """Two episodes of 160 frames whose bar sits where the first state dimension says."""
    random = np.random.default_rng(1)
    with DatasetWriter(root, FPS, features()) as writer:
        for _ in range(2):
            command_signal = np.cumsum(random.normal(size=(200, 2)) * (random.random((200, 1)) > 0.5), axis=0) / 10
            state = command_signal[20:180]
            action = command_signal[22:182]
            if kind == "degrees":
                action = action * 180 / np.pi
            elif kind == "late":
                action = command_signal[12:172]
            elif kind == "guided":
                action = command_signal[21:181]
            position = command_signal[12:172, 0] if kind == "shifted" else state[:, 0]
            frames = np.full((160, 48, 64, 3), 60, np.uint8)
            for number, place in enumerate(np.clip(30 + 12 * position, 0, 56).astype(int)):
                frames[number, 8:40, place : place + 8] = 240
            writer.add_episode(
                {"observation.state": np.concatenate([state, 0.1 * state[:, :1] ** 2], 1), "action": action},
                {TOP: frames},
                "go",
            )
    return root


def _base(name: str, spoil: Callable[[str], Path], tmp_path: Path) -> Path:
    if name in ("v2", "v3"):
        return spoil(name)
    root = tmp_path / name
    if name == "v3-files":
        return make_v3(root, video_file_mb=0, data_file_mb=0)
    if name == "twice":
        pictures = {TOP: clip(0, 20), SIDE: clip(0, 20)}
        with DatasetWriter(root, FPS, features((TOP, SIDE))) as writer:
            writer.add_episode(rows(0, 20), pictures, "go")
        return root
    return _long(root, name.removeprefix("long-"))


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_found(name: str, spoil: Callable[[str], Path], tmp_path: Path) -> None:
    base, fault, code, level = FAULTS[name]
    root = _base(base, spoil, tmp_path)
    before = {finding.code for finding in examine(root).findings if finding.level == level} if not base.startswith(
        ("long", "twice")
    ) else set()  # fmt: skip
    fault(root)
    found = [finding for finding in examine(root).findings if finding.code == code]
    assert [finding.level for finding in found if finding.level == level], [
        finding.code for finding in examine(root).findings
    ]
    assert code not in before
    for finding in found:
        assert finding.sentence.rstrip().endswith((".", ")")) and finding.fix


@pytest.mark.parametrize("make", [make_v2, make_v3])
def test_a_sound_dataset_is_clean(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    diagnosis = examine(make(tmp_path / "d"))
    assert diagnosis.count("error") == diagnosis.count("warning") == 0, diagnosis.findings
    assert (diagnosis.episodes, diagnosis.frames, diagnosis.cameras) == (3, 81, ["top"])


def test_a_sound_long_recording_tells_its_lag(tmp_path: Path) -> None:
    diagnosis = examine(_long(tmp_path / "d", "plain"))
    assert diagnosis.count("error") == diagnosis.count("warning") == 0, diagnosis.findings
    lag = next(finding for finding in diagnosis.findings if finding.code == "lag")
    assert "by 2 frames (0.20 s)" in lag.sentence


def test_places_are_named(spoil: Callable[[str], Path]) -> None:
    root = spoil("v2")
    FAULTS["NaN"][1](root)
    finding = next(finding for finding in examine(root).findings if finding.code == "not-finite")
    assert (finding.file, finding.episode, finding.frame) == ("data/chunk-000/episode_000001.parquet", 1, 10)
    assert "action (dy)" in finding.sentence


def test_absent_episodes_are_named_compactly(spoil: Callable[[str], Path]) -> None:
    root = spoil("v2")
    (root / _v2_data(1)).unlink()
    _info(total_episodes=12)(root)
    finding = next(finding for finding in examine(root).findings if finding.code == "absent-episodes")
    assert finding.sentence == "10 of 12 episodes are promised but absent: 1, 3-11."


def test_no_decoder(v3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise av.error.DecoderNotFoundError(1, "Decoder not found", "file.mp4")

    monkeypatch.setattr(av, "open", refuse)
    found = [finding for finding in examine(v3).findings if finding.code == "video-unreadable"]
    assert found and "Decoder not found" in found[0].sentence


def test_frames_of_one_time_are_all_read(spoil: Callable[[str], Path]) -> None:
    root = spoil("v2")
    _doubled_time(root)
    dataset = open_dataset(root)
    frames = dataset.frames(dataset.episodes[1], dataset.cameras[0])
    assert [frame_seen(frame) for frame in frames] == list(range(30))


def test_equal_findings_are_joined() -> None:
    collector = Collector()
    for episode in range(5):
        collector.add("warning", "gap", f"A gap in {episode}.", episode=episode, severity=float(episode == 3))
    collector.add("error", "bad", "Broken.", episode=1)
    first, second = collector
    assert first.level == "error"
    assert second == Finding("warning", "gap", "A gap in 3. Also in 4 other episodes: 0-2, 4.", "", None, 3, None)


def test_command(spoil: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = spoil("v2")
    assert command.run(command.Args(str(root))) == 0
    FAULTS["NaN"][1](root)
    report = tmp_path / "findings.json"
    assert command.run(command.Args(str(root), json=report)) == 1
    shown = capsys.readouterr().out
    assert "3 episodes, 81 frames; 1 error, 0 warnings" in shown and "not-finite" in shown
    saved = json.loads(report.read_text())
    assert saved["counts"]["error"] == 1 and saved["findings"][0]["frame"] == 10
    assert command.run(command.Args(str(tmp_path / "nothing" / "at" / "all"))) == 1


def test_without_frames_nothing_is_decoded(spoil: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from jepaflow.data.lerobot import LeRobotDataset

    def decode(*_: Any, **__: Any) -> Any:
        raise AssertionError("decoded")

    monkeypatch.setattr(LeRobotDataset, "frames_or_none", decode)
    assert examine(spoil("v2"), frames=False).count("error") == 0


def test_a_folder_of_videos(tmp_path: Path) -> None:
    encode_video(tmp_path / "a.mp4", clip(0, 40), 25.0)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    diagnosis = examine(tmp_path)
    assert (diagnosis.episodes, diagnosis.frames) == (1, 40)
    assert [(finding.level, finding.code) for finding in diagnosis.findings] == [("error", "video-unreadable")]
