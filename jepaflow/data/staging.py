"""Episodes in the making: each is finished in a folder of its own, by any process, in any order.

``.staging/plan.json`` says what dataset it will be; ``.staging/episode_000012`` is episode 12, whole, because it was
built under another name and renamed. So a process needs the dataset's folder and an episode's index, nothing else, to
add that episode; a kill loses the episodes in hand and no more; and what exists already is what has a folder. Taking
the staging area away starts with a rename too: half of it is never mistaken for all of it.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json, sync_directory, write_json
from jepaflow.data.encode import encode_video
from jepaflow.data.images import encode_png
from jepaflow.data.schema import DEFAULT_FEATURES, arrow_column, is_camera
from jepaflow.data.stats import ImageStats, numeric_stats, sampled_frames, thin

STAGING = ".staging"
Frames = np.ndarray | Iterable[np.ndarray]
Rows = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Plan:
    """What the staged episodes will belong to: ``info`` is the ``info.json`` that they will be added to."""

    root: Path
    info: dict[str, Any]
    codec: str

    @property
    def folder(self) -> Path:
        """The staging folder."""
        return self.root / STAGING

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """Feature descriptions by key, the default columns included."""
        features: dict[str, dict[str, Any]] = self.info["features"]
        return features

    @property
    def cameras(self) -> list[str]:
        """Keys of the camera features."""
        return [key for key, feature in self.features.items() if is_camera(feature)]

    def staged(self) -> dict[int, Path]:
        """The whole episodes that await assembly: folder by episode index, ascending."""
        found = ((re.fullmatch(r"episode_(\d+)", path.name), path) for path in self.folder.glob("episode_*"))
        return dict(sorted((int(match.group(1)), path) for match, path in found if match))

    @classmethod
    def load(cls, root: Path) -> "Plan":
        """The plan of the dataset in the making at ``root``.

        Raises:
            JepaflowError: when none is in the making there.
        """
        path = Path(root) / STAGING / "plan.json"
        if not path.exists():
            raise JepaflowError(f"{root} holds no dataset in the making. Begin one with DatasetWriter.")
        saved = read_json(path)
        return cls(Path(root), saved["info"], saved["codec"])

    def save(self) -> None:
        """Make the staging folder, with its plan or not at all; a folder left without a plan gives way."""
        shutil.rmtree(self.folder, ignore_errors=True)
        new = self.folder.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        write_json(new / "plan.json", {"info": self.info, "codec": self.codec})
        os.rename(new, self.folder)
        sync_directory(self.root)

    def discard(self) -> None:
        """Take the staging folder away, its episodes being assembled."""
        done = self.folder.with_suffix(".done")
        shutil.rmtree(done, ignore_errors=True)  # of an earlier attempt that was killed
        os.rename(self.folder, done)
        shutil.rmtree(done)


def stage_episode(root: Path, index: int, rows: Rows, frames: Mapping[str, Frames], task: str) -> None:
    """Write episode ``index`` of the dataset that a ``DatasetWriter`` has begun at ``root``; any process may.

    Args:
        root: the dataset. index: the episode's number in it, from 0.
        rows: per non-camera feature an array ``(T, *shape)`` (numbers, bools or strings; shape (1,) may be left out);
            ``timestamp`` may be given (seconds), else t/fps.
        frames: per camera key uint8 frames ``(T, H, W, 3)``, or an iterator of T frames.
        task: what the robot is told to do.

    Raises:
        JepaflowError: when the episode exists already, on a missing or extra key, a wrong shape or type, a NaN or
            infinity, or unequal lengths.
    """
    plan = Plan.load(root)
    whole = plan.folder / f"episode_{index:06d}"
    if index < int(plan.info["total_episodes"]) or whole.exists():
        raise JepaflowError(f"{root} has an episode {index} already. Stage another index.")
    length = _check_rows(plan, index, rows, frames)
    part = plan.folder / f"{whole.name}.{os.getpid()}.part"
    part.mkdir()
    try:
        columns = _columns(plan, index, length, rows)
        arrays = {key: arrow_column(values, plan.features[key]) for key, values in columns.items()}
        stats = {key: numeric_stats(values) for key, values in columns.items() if values.dtype.kind in "fiub"}
        for key in plan.cameras:
            camera = _Tap(frames[key], length)
            if plan.features[key]["dtype"] == "video":
                encode_video(part / f"{key}.mp4", camera, plan.info["fps"], plan.codec)
            else:
                arrays[key] = _png_column(camera)
            _check_camera(plan, index, key, camera, length)
            stats[key] = camera.stats.result()
        pq.write_table(pa.table(arrays), part / "rows.parquet")
        plain = {key: {name: value.tolist() for name, value in entry.items()} for key, entry in stats.items()}
        write_json(part / "meta.json", {"episode_index": index, "length": length, "task": task, "stats": plain})
        _sync(part)
        os.rename(part, whole)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    sync_directory(plan.folder)


def _check_rows(plan: Plan, index: int, rows: Rows, frames: Mapping[str, Frames]) -> int:
    """The episode's length, once the keys, shapes, types and values are as declared."""
    cameras = set(plan.cameras)
    expected = {key for key in plan.features if key not in DEFAULT_FEATURES and key not in cameras}
    if missing := sorted((expected - set(rows)) | (cameras - set(frames))):
        raise JepaflowError(f"Episode {index}: no values for {', '.join(missing)}. Give every declared feature.")
    if extra := sorted((set(rows) - expected - {"timestamp"}) | (set(frames) - cameras)):
        raise JepaflowError(f"Episode {index}: {', '.join(extra)} not declared in the features. Declare it.")
    lengths = {key: len(value) for key, value in rows.items()}
    lengths |= {key: len(value) for key, value in frames.items() if isinstance(value, np.ndarray)}
    if len(set(lengths.values())) != 1 or min(lengths.values()) < 1:
        raise JepaflowError(f"Episode {index}: features differ in length or are empty: {lengths}.")
    for key, values in ((key, np.asarray(value)) for key, value in rows.items()):
        feature = plan.features[key]
        shape = (len(values), *feature["shape"])
        if values.shape not in (shape, shape[:-1] if shape[1:] == (1,) else shape):
            raise JepaflowError(f"Episode {index}: {key} has shape {values.shape}, expected {shape}.")
        text = feature["dtype"] == "string"
        if not (values.dtype.kind in "UO" if text else np.can_cast(values.dtype, feature["dtype"], "same_kind")):
            raise JepaflowError(f"Episode {index}: {key} is {values.dtype}, declared {feature['dtype']}. Convert it.")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            frame = int(np.argwhere(~np.isfinite(values))[0][0])
            raise JepaflowError(f"Episode {index}, frame {frame}: {key} is NaN or infinite. Mend the source.")
    return next(iter(lengths.values()))


def _check_camera(plan: Plan, index: int, key: str, camera: "_Tap", length: int) -> None:
    declared = tuple(plan.features[key]["shape"])
    if camera.count != length:
        raise JepaflowError(f"Episode {index}: {camera.count} frames of {key} for {length} rows. Give one per row.")
    if (*camera.size, 3) != declared:
        size = "x".join(map(str, camera.size))
        raise JepaflowError(f"Episode {index}: {key} frames are {size}, declared {declared}.")


def _columns(plan: Plan, index: int, length: int, rows: Rows) -> dict[str, np.ndarray]:
    columns = {
        key: np.asarray(rows[key], dtype=None if feature["dtype"] == "string" else feature["dtype"])
        for key, feature in plan.features.items()
        if key in rows and key != "timestamp"
    }
    stamps = rows.get("timestamp", np.arange(length) / float(plan.info["fps"]))
    columns["timestamp"] = np.asarray(stamps, dtype=np.float32)
    columns["frame_index"] = np.arange(length, dtype=np.int64)
    columns["episode_index"] = np.full(length, index, dtype=np.int64)
    columns["index"] = np.zeros(length, dtype=np.int64)  # global row: known when files are assembled
    columns["task_index"] = np.zeros(length, dtype=np.int64)
    return columns


class _Tap:
    """Passes frames on to the encoder, counting them and taking the sampled ones into the statistics."""

    def __init__(self, frames: Frames, length: int) -> None:
        self._frames, self._wanted = frames, sampled_frames(length)
        self.stats = ImageStats()
        self.count, self.size = 0, (0, 0)

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame in self._frames:
            if self.count in self._wanted:
                self.stats.add(thin(frame))
            self.count, self.size = self.count + 1, (frame.shape[0], frame.shape[1])
            yield frame


def _png_column(frames: Iterable[np.ndarray]) -> pa.Array:
    cells = [{"bytes": encode_png(frame), "path": f"frame-{number:06d}.png"} for number, frame in enumerate(frames)]
    return pa.array(cells, type=pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def _sync(folder: Path) -> None:
    """Flush a folder and its files: what is renamed into place is whole even after a power cut."""
    for path in folder.iterdir():
        with open(path, "rb") as handle:
            os.fsync(handle.fileno())
    sync_directory(folder)
