"""Small LeRobot datasets made on the spot: v3.0 by our own writer, v2.x written plainly by hand here.

Every episode has its own background level and a bright bar whose column tells the frame number, so that a frame from
the wrong episode or the wrong moment is seen at once.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jepaflow.data.encode import encode_video
from jepaflow.data.images import encode_png
from jepaflow.data.schema import DEFAULT_FEATURES
from jepaflow.data.writer import DatasetWriter

HEIGHT, WIDTH, FPS = 48, 64, 10
TOP = "observation.images.top"
LENGTHS = (24, 30, 27)


def background(episode: int) -> int:
    """Grey level of an episode's background."""
    return 40 + 50 * (episode % 4)


def clip(episode: int, length: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Frames ``(T, H, W, 3)``: background by episode, a bar 4 wide that moves one step of 2 per frame."""
    frames = np.full((length, height, width, 3), background(episode), dtype=np.uint8)
    for number in range(length):
        left = 2 * number % (width - 4)
        frames[number, : height // 2, left : left + 4] = 250
    return frames


def frame_seen(frame: np.ndarray) -> int:
    """The frame number (modulo 30) that a frame of :func:`clip` shows: the place of its bar."""
    profile = frame[: frame.shape[0] // 3].astype(float).mean(axis=(0, 2))
    return round(
        ((np.arange(len(profile)) * (profile > profile.min() + 40)).sum() / (profile > profile.min() + 40).sum() - 1.5)
        / 2
    )


def level_seen(frame: np.ndarray) -> float:
    """Background level that a frame shows."""
    return float(frame[2 * frame.shape[0] // 3 :].mean())


def rows(episode: int, length: int) -> dict[str, np.ndarray]:
    """State (3) and action (2) of an episode: smooth, distinct in every dimension, the state following the action."""
    time = np.arange(length) / FPS
    command = np.stack([np.sin(time * 2 + episode), 0.5 * np.cos(time * 3 + episode)], axis=1)
    state = np.stack([np.roll(command[:, 0], 2), np.roll(command[:, 1], 2), 0.1 * time + 0.01 * episode], axis=1)
    return {"observation.state": state.astype(np.float32), "action": command.astype(np.float32)}


def features(cameras: tuple[str, ...] = (TOP,), kind: str = "video") -> dict[str, dict[str, Any]]:
    """Feature descriptions of the datasets made here."""
    described: dict[str, dict[str, Any]] = {key: {"dtype": kind, "shape": [HEIGHT, WIDTH, 3]} for key in cameras}
    described["observation.state"] = {"dtype": "float32", "shape": [3], "names": ["x", "y", "z"], "unit": "m"}
    described["action"] = {"dtype": "float32", "shape": [2], "names": ["dx", "dy"], "unit": "m"}
    return described


def event_features(cameras: tuple[str, ...] = (TOP,), kind: str = "video") -> dict[str, dict[str, Any]]:
    """Those of :func:`features`, and what happens in a frame as a number, a word and a bool."""
    return features(cameras, kind) | {
        "event": {"dtype": "int64", "shape": [1]},
        "event_name": {"dtype": "string", "shape": [1]},
        "next.done": {"dtype": "bool", "shape": [1]},
    }


def event_rows(episode: int, length: int) -> dict[str, np.ndarray]:
    """Rows with one grasp at frame 3 and one slip at frame 7 (plus the episode)."""
    event = np.zeros(length, dtype=np.int64)
    event[3], event[7 + episode] = 1, 2
    words = np.array([("", "grasp", "slip")[number] for number in event])
    return rows(episode, length) | {"event": event, "event_name": words, "next.done": np.arange(length) == length - 1}


def make_v3(root: Path, lengths: tuple[int, ...] = LENGTHS, cameras: tuple[str, ...] = (TOP,), **options: Any) -> Path:
    """A v3.0 dataset with all episodes in one file of each kind."""
    kind = options.pop("kind", "video")
    with DatasetWriter(root, FPS, features(cameras, kind), robot_type="test", **options) as writer:
        for episode, length in enumerate(lengths):
            pictures = {key: clip(episode + number, length) for number, key in enumerate(cameras)}
            writer.add_episode(rows(episode, length), pictures, f"task {episode % 2}")
    return root


def make_v2(root: Path, lengths: tuple[int, ...] = LENGTHS, version: str = "v2.1", kind: str = "video") -> Path:
    """A v2.x dataset, one file per episode; ``kind`` "video", "image" (PNG in parquet), "jpeg", or "png" (files)."""
    (root / "meta").mkdir(parents=True)
    described = features(kind="video" if kind == "video" else "image")
    described |= DEFAULT_FEATURES
    first = 0
    for episode, length in enumerate(lengths):
        columns: dict[str, Any] = {key: pa.array(list(value)) for key, value in rows(episode, length).items()}
        columns["timestamp"] = pa.array((np.arange(length) / FPS).astype(np.float32))
        columns["frame_index"] = np.arange(length)
        columns["episode_index"] = np.full(length, episode)
        columns["index"] = np.arange(first, first + length)
        columns["task_index"] = np.full(length, episode % 2)
        frames = clip(episode, length)
        if kind in ("image", "jpeg"):
            encode = encode_png if kind == "image" else encode_jpeg
            columns[TOP] = pa.array(
                [{"bytes": encode(frame), "path": f"frame_{n:06d}.png"} for n, frame in enumerate(frames)]
            )
        elif kind == "png":
            folder = root / "images" / TOP / f"episode_{episode:06d}"
            folder.mkdir(parents=True)
            for number, frame in enumerate(frames):
                (folder / f"frame_{number:06d}.png").write_bytes(encode_png(frame))
        else:
            video = root / "videos" / "chunk-000" / TOP / f"episode_{episode:06d}.mp4"
            video.parent.mkdir(parents=True, exist_ok=True)
            encode_video(video, frames, FPS)
        path = root / "data" / "chunk-000" / f"episode_{episode:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
        first += length
    info = {
        "codebase_version": version,
        "robot_type": "test",
        "total_episodes": len(lengths),
        "total_frames": sum(lengths),
        "total_tasks": 2,
        "total_videos": len(lengths),
        "total_chunks": 1,
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": f"0:{len(lengths)}"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": described,
    }
    write_info(root, info)
    write_lines(
        root / "meta" / "tasks.jsonl", [{"task_index": number, "task": f"task {number}"} for number in range(2)]
    )
    listing = [{"episode_index": e, "tasks": [f"task {e % 2}"], "length": n} for e, n in enumerate(lengths)]
    write_lines(root / "meta" / "episodes.jsonl", listing)
    return root


def encode_jpeg(frame: np.ndarray) -> bytes:
    """One frame as JPEG bytes."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()


def read_info(root: Path) -> dict[str, Any]:
    """``meta/info.json``."""
    return dict(json.loads((root / "meta" / "info.json").read_text()))


def write_info(root: Path, info: dict[str, Any]) -> None:
    """Write ``meta/info.json``."""
    (root / "meta" / "info.json").write_text(json.dumps(info))


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def edit_table(path: Path, change: Any) -> None:
    """Rewrite a parquet file: ``change`` gets and returns {column: list}."""
    table = pq.read_table(path)
    columns = change(table.to_pydict())
    fields = {name: table.schema.field(name).type for name in columns if name in table.schema.names}
    arrays = {name: pa.array(list(value), fields.get(name)) for name, value in columns.items()}
    pq.write_table(pa.table(arrays).replace_schema_metadata(table.schema.metadata), path)


DATA = Path("data/chunk-000/file-000.parquet")
EPISODES = Path("meta/episodes/chunk-000/file-000.parquet")
VIDEO = Path(f"videos/{TOP}/chunk-000/file-000.mp4")
