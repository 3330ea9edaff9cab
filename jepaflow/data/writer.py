"""Write a LeRobot v3.0 dataset: many episodes per mp4 and parquet, episode by episode, safe against interruption.

Every episode is first finished in a staging folder of its own (``.staging/episode_000012``, renamed into place when
whole); ``close`` then joins the staged episodes into LeRobot's files and writes ``meta/info.json`` last. So a kill at
any moment loses at most the episode in hand, ``DatasetWriter.resume`` goes on after the last whole one, and a dataset
with an ``info.json`` is a finished one. Appending to a finished dataset starts new files and touches no old one, as
LeRobot itself does when recording is resumed.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json, sync_directory, write_json
from jepaflow.data.assemble import assemble
from jepaflow.data.encode import encode_video
from jepaflow.data.images import encode_png
from jepaflow.data.schema import DEFAULT_FEATURES, arrow_column, is_camera, new_info
from jepaflow.data.stats import Stats, image_stats, numeric_stats, sampled_frames, thin

STAGING = ".staging"
Frames = np.ndarray | Iterable[np.ndarray]


class DatasetWriter:
    """Writes one dataset; use as a context manager or call :meth:`close`.

    Args:
        root: folder of the new dataset; must not hold one already (see :meth:`resume`).
        fps: control steps per second.
        features: LeRobot feature descriptions by key, ``{"dtype", "shape", "names"}`` (dtype "video" or "image" for
            cameras, else a numpy name); a ``"unit"`` entry is kept. The five default columns are added.
        robot_type: free text.
        codec: "libx264" (default) or "libsvtav1".
        data_file_mb, video_file_mb: a file that has grown past this size is followed by a new one.

    Raises:
        JepaflowError: when ``root`` already holds a dataset, or a feature makes no sense.
    """

    def __init__(
        self,
        root: Path,
        fps: float | int,
        features: Mapping[str, Mapping[str, Any]],
        robot_type: str | None = None,
        codec: str = "libx264",
        data_file_mb: int = 100,
        video_file_mb: int = 200,
    ) -> None:
        self.root = Path(root)
        if (self.root / "meta" / "info.json").exists() or (self.root / STAGING).exists():
            raise JepaflowError(f"{self.root} already holds a dataset. Choose another folder, or resume it.")
        info = new_info(fps, features, robot_type, data_file_mb, video_file_mb)
        self._begin(info, codec)
        self._staging.mkdir(parents=True, exist_ok=True)
        write_json(self._staging / "plan.json", {"info": info, "codec": codec})

    def _begin(self, info: dict[str, Any], codec: str) -> None:
        self.info, self.codec = info, codec
        self.fps = float(info["fps"])
        self.features: dict[str, dict[str, Any]] = info["features"]
        self.cameras = [key for key, feature in self.features.items() if is_camera(feature)]
        self._staging = self.root / STAGING
        self._next = int(info["total_episodes"])

    @classmethod
    def resume(cls, root: Path) -> "DatasetWriter":
        """Go on with an interrupted dataset, or append to a finished one that a ``DatasetWriter`` made.

        Raises:
            JepaflowError: when ``root`` holds neither.
        """
        writer = cls.__new__(cls)
        writer.root = Path(root)
        plan, info = writer.root / STAGING / "plan.json", writer.root / "meta" / "info.json"
        if plan.exists():
            saved = read_json(plan)
            writer._begin(saved["info"], saved["codec"])
            for leftover in writer._staging.glob("*.part"):
                shutil.rmtree(leftover)
            writer._next += len(list(writer._staging.glob("episode_*")))
        elif info.exists():
            saved = read_json(info)
            if not str(saved.get("codebase_version", "")).startswith("v3"):
                raise JepaflowError(f"{root} is not a LeRobot v3.0 dataset. Only those can be appended to.")
            writer._begin(saved, "libx264")
            writer._staging.mkdir()
            write_json(plan, {"info": saved, "codec": writer.codec})
        else:
            raise JepaflowError(f"{root} holds no dataset to resume. Start a new one.")
        return writer

    @property
    def num_episodes(self) -> int:
        """Episodes that are safe on disk."""
        return self._next

    def add_episode(self, rows: Mapping[str, np.ndarray], frames: Mapping[str, Frames], task: str) -> int:
        """Write one episode; returns its episode index.

        Args:
            rows: per non-camera feature an array ``(T, *shape)``; ``timestamp`` may be given (seconds), else t/fps.
            frames: per camera key uint8 frames ``(T, H, W, 3)``, or an iterator of T frames.
            task: what the robot is told to do.

        Raises:
            JepaflowError: on a missing or extra key, a wrong shape, a NaN or infinity, or unequal lengths.
        """
        length = self._check(rows, frames)
        index = self._next
        part = self._staging / f"episode_{index:06d}.part"
        part.mkdir()
        try:
            columns = self._columns(rows, index, length)
            arrays = [arrow_column(columns[key], self.features[key]) for key in columns]
            stats = {key: numeric_stats(columns[key]) for key in columns if columns[key].dtype.kind in "fiub"}
            names = list(columns)
            for key in self.cameras:
                camera = _Tap(frames[key], length)
                if self.features[key]["dtype"] == "video":
                    count, height, width = encode_video(part / f"{key}.mp4", camera, self.fps, self.codec)
                else:
                    arrays.append(_png_column(camera))
                    names.append(key)
                    count, (height, width) = camera.count, camera.size
                self._check_camera(key, count, height, width, length)
                stats[key] = camera.stats()
            pq.write_table(pa.Table.from_arrays(arrays, names=names), part / "rows.parquet")
            _save_meta(part, index, length, task, stats)
            sync_directory(part)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        os.rename(part, self._staging / f"episode_{index:06d}")
        sync_directory(self._staging)
        self._next += 1
        return index

    def _check(self, rows: Mapping[str, np.ndarray], frames: Mapping[str, Frames]) -> int:
        expected = {key for key in self.features if key not in DEFAULT_FEATURES and key not in self.cameras}
        if missing := sorted((expected - set(rows)) | (set(self.cameras) - set(frames))):
            raise JepaflowError(
                f"Episode {self._next}: no values for {', '.join(missing)}. Give every declared feature."
            )
        if extra := sorted((set(rows) - expected - {"timestamp"}) | (set(frames) - set(self.cameras))):
            raise JepaflowError(f"Episode {self._next}: {', '.join(extra)} not declared in the features. Declare it.")
        lengths = {key: len(value) for key, value in rows.items()}
        lengths |= {key: len(value) for key, value in frames.items() if isinstance(value, np.ndarray)}
        if len(set(lengths.values())) != 1 or min(lengths.values()) < 1:
            raise JepaflowError(f"Episode {self._next}: features differ in length or are empty: {lengths}.")
        for key, value in rows.items():
            shape = (len(value), *self.features[key]["shape"])
            if np.shape(value) not in (shape, shape[:-1] if shape[1:] == (1,) else shape):
                raise JepaflowError(f"Episode {self._next}: {key} has shape {np.shape(value)}, expected {shape}.")
            if np.asarray(value).dtype.kind == "f" and not np.isfinite(value).all():
                frame = int(np.argwhere(~np.isfinite(value))[0][0])
                raise JepaflowError(f"Episode {self._next}, frame {frame}: {key} is NaN or infinite. Mend the source.")
        return next(iter(lengths.values()))

    def _check_camera(self, key: str, count: int, height: int, width: int, length: int) -> None:
        declared = tuple(self.features[key]["shape"])
        if count != length:
            raise JepaflowError(f"Episode {self._next}: {count} frames of {key} for {length} rows. Give one per row.")
        if (height, width, 3) != declared:
            raise JepaflowError(f"Episode {self._next}: {key} frames are {height}x{width}, declared {declared}.")

    def _columns(self, rows: Mapping[str, np.ndarray], index: int, length: int) -> dict[str, np.ndarray]:
        columns = {
            key: np.asarray(rows[key], dtype=None if feature["dtype"] == "string" else feature["dtype"])
            for key, feature in self.features.items()
            if key in rows and key != "timestamp"
        }
        columns["timestamp"] = np.asarray(rows.get("timestamp", np.arange(length) / self.fps), dtype=np.float32)
        columns["frame_index"] = np.arange(length, dtype=np.int64)
        columns["episode_index"] = np.full(length, index, dtype=np.int64)
        columns["index"] = np.zeros(length, dtype=np.int64)  # global row: known when files are assembled
        columns["task_index"] = np.zeros(length, dtype=np.int64)
        return columns

    def close(self) -> None:
        """Join the staged episodes into LeRobot's files. The dataset is complete when this returns.

        Raises:
            JepaflowError: when no episode was added.
        """
        if not self._staging.exists():
            return
        if self._next == 0:
            raise JepaflowError(f"{self.root}: no episode was added. Add one before closing.")
        self.info = assemble(self.root, self._staging, self.info)
        shutil.rmtree(self._staging)

    def __enter__(self) -> "DatasetWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()


class _Tap:
    """Passes frames on to the encoder, keeping thinned copies of the sampled ones for the statistics."""

    def __init__(self, frames: Frames, length: int) -> None:
        self._frames, self._wanted = frames, sampled_frames(length)
        self._kept: list[np.ndarray] = []
        self.count, self.size = 0, (0, 0)

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame in self._frames:
            if self.count in self._wanted:
                self._kept.append(thin(frame).copy())
            self.count, self.size = self.count + 1, (frame.shape[0], frame.shape[1])
            yield frame

    def stats(self) -> Stats:
        return image_stats(self._kept)


def _png_column(frames: Iterable[np.ndarray]) -> pa.Array:
    cells = [{"bytes": encode_png(frame), "path": f"frame-{number:06d}.png"} for number, frame in enumerate(frames)]
    return pa.array(cells, type=pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def _save_meta(part: Path, index: int, length: int, task: str, stats: Mapping[str, Stats]) -> None:
    plain = {key: {name: value.tolist() for name, value in entry.items()} for key, entry in stats.items()}
    write_json(part / "meta.json", {"episode_index": index, "length": length, "task": task, "stats": plain})
