"""Read LeRobot v2.0, v2.1 and v3.0 datasets with pyarrow and PyAV, without the ``lerobot`` package.

An episode's rows are those that carry its ``episode_index``, in the order of ``frame_index``; its frames are those in
its slot of the video file, ``[from_timestamp, to_timestamp)``. Never the file's first frames: a v3.0 file holds many
episodes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jepaflow.common.errors import JepaflowError
from jepaflow.data.images import decode_image
from jepaflow.data.layout import load_layout, pq_names, read_table
from jepaflow.data.names import flat_names, image_size, role_key
from jepaflow.data.resize import ImageRule
from jepaflow.data.types import Camera, Episode, Feature, Finding, short_name
from jepaflow.data.video import VideoCursor, VideoIndex, index_video, pair_frames

_IMAGE_ROWS = 16  # encoded images held in memory at once
_KEPT_INDEXES = 64  # of video files
_DEFAULT_UNITS = {"timestamp": "s"}


class LeRobotDataset:
    """A LeRobot dataset in a local folder; see :class:`jepaflow.data.types.Dataset` for what it can be asked."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.layout = load_layout(self.root)
        info = self.layout.info
        self.info = info
        self.version = str(info.get("codebase_version") or f"{self.layout.version}.?")
        self.problems: list[Finding] = self.layout.problems
        self.fps = self._find_fps()
        self.cameras = self._find_cameras()
        self.features = {
            key: _feature(key, feature) for key, feature in info["features"].items() if not _is_camera(feature)
        }
        self.episodes = [episode for episode in self.layout.listed if episode.data and episode.data.exists()]
        present = {episode.index for episode in self.episodes}
        promised = set(range(int(info.get("total_episodes") or 0))) | {episode.index for episode in self.layout.listed}
        self.absent = sorted(promised - present)
        self.task_indices = sorted(self.layout.tasks)
        self.tasks = [self.layout.tasks[index] for index in self.task_indices]
        self._cached: tuple[Path, pa.Table] | None = None
        self._indexes: dict[Path, VideoIndex] = {}
        self._cursors: dict[str, VideoCursor] = {}

    def _find_fps(self) -> float:
        info = self.info
        rates = [info.get("fps"), *(feature.get("fps") for feature in info["features"].values())]
        rates += [_video_entry(feature).get("video.fps") for feature in info["features"].values()]
        for rate in rates:
            if isinstance(rate, int | float) and rate > 0:
                return float(rate)
        raise JepaflowError(f'{self.root / "meta" / "info.json"} gives no frame rate. Set its "fps".')

    def _find_cameras(self) -> list[Camera]:
        cameras = []
        for key, feature in self.info["features"].items():
            if _is_camera(feature):
                height, width = image_size(feature)
                cameras.append(Camera(short_name(key), key, height, width, feature["dtype"]))
        names = [camera.name for camera in cameras]
        if len(set(names)) < len(names):  # two cameras may share a last word
            cameras = [Camera(c.key.replace(".", "_"), c.key, c.height, c.width, c.kind) for c in cameras]
        return cameras

    def role(self, name: str) -> str | None:
        """Key of the feature that plays the role "action", "proprio" or "environment", or None."""
        return role_key(name, (key for key, feature in self.features.items() if feature.dtype != "string"))

    def camera(self, name: str) -> Camera:
        """The camera with this short name or key.

        Raises:
            JepaflowError: when there is none.
        """
        for camera in self.cameras:
            if name in (camera.name, camera.key):
                return camera
        known = ", ".join(camera.name for camera in self.cameras) or "none"
        raise JepaflowError(f"{self.root} has no camera {name!r}. Its cameras: {known}.")

    # Rows ------------------------------------------------------------------------------------------------------------

    def table(self, path: Path) -> pa.Table:
        """All columns of a data file except images; the last file is kept in memory.

        Raises:
            JepaflowError: when the file is missing or broken.
        """
        if self._cached is None or self._cached[0] != path:
            images = {camera.key for camera in self.cameras}
            self._cached = None
            self._cached = (path, read_table(path, [name for name in pq_names(path) if name not in images]))
        return self._cached[1]

    def row_numbers(self, episode: Episode) -> np.ndarray:
        """Positions of an episode's rows in its data file, shape (T,).

        In the order of ``frame_index`` where that counts 0 .. T-1; else as they lie, for it tells no order.
        """
        assert episode.data is not None
        table = self.table(episode.data)
        numbers = self._own_rows(episode, table)
        if "frame_index" not in table.column_names:
            return numbers
        place = _to_numpy(table["frame_index"].take(pa.array(numbers)), _column_of(episode, "frame_index"))
        if place is None or place.size != len(numbers):
            return numbers
        order = np.argsort(place.ravel(), kind="stable")
        return numbers[order] if np.array_equal(place.ravel()[order], np.arange(len(numbers))) else numbers

    def _own_rows(self, episode: Episode, table: pa.Table) -> np.ndarray:
        """Positions of an episode's rows as they lie."""
        if self.layout.version == "v2":
            return np.arange(table.num_rows)
        if "episode_index" in table.column_names:
            # The rows' own mark, not dataset_from_index: that one has been written scrambled (lerobot#1919).
            return np.flatnonzero(table["episode_index"].to_numpy() == episode.index)
        same = [other for other in self.layout.listed if other.data == episode.data]
        begin = int(episode.meta["dataset_from_index"]) - min(int(other.meta["dataset_from_index"]) for other in same)
        return np.arange(begin, min(begin + episode.length, table.num_rows))

    def rows(self, episode: Episode) -> dict[str, np.ndarray]:
        """All numeric columns of an episode, each ``(T,)`` or ``(T, n)``, under their own keys.

        Raises:
            JepaflowError: when the data file is broken, holds no row of the episode, or a column is ragged.
        """
        assert episode.data is not None
        table, numbers = self.table(episode.data), self.row_numbers(episode)
        if len(numbers) == 0:
            raise JepaflowError(
                f"Episode {episode.index}: {episode.data} holds no row of it. Restore the file or drop the episode."
            )
        if not np.array_equal(numbers, np.arange(table.num_rows)):
            table = table.take(pa.array(numbers))
        columns = {}
        for name in table.column_names:
            values = _to_numpy(table[name], _column_of(episode, name))
            if values is not None:
                columns[name] = values
        return columns

    # Frames ----------------------------------------------------------------------------------------------------------

    def video_index(self, path: Path) -> VideoIndex:
        """Index of a video file (kept).

        Raises:
            JepaflowError: when it cannot be opened.
        """
        if path not in self._indexes:
            while len(self._indexes) >= _KEPT_INDEXES:
                del self._indexes[next(iter(self._indexes))]
            self._indexes[path] = index_video(path)
        return self._indexes[path]

    def check_frames(self, episode: Episode, camera: Camera) -> str | None:
        """A sentence when the number of the camera's video frames is not the number of rows, else None.

        Raises:
            JepaflowError: when the video is missing or broken.
        """
        slot = episode.slots.get(camera.key)
        if camera.kind == "image" or slot is None:
            return None
        first, last = self.video_index(slot.path).slot(slot.start, slot.stop, self.fps)
        rows = len(self.row_numbers(episode))
        return None if last - first == rows else f"{last - first} {camera.name} frames for {rows} rows"

    def frame_numbers(self, episode: Episode, camera: Camera) -> tuple[Path, np.ndarray]:
        """Video file and frame number in it for every row of an episode, shape (T,).

        Raises:
            JepaflowError: when the video is missing, broken, or holds no frame of the episode.
        """
        slot = episode.slots.get(camera.key)
        if slot is None:
            raise JepaflowError(f"Episode {episode.index}: the metadata names no {camera.name} video. Restore it.")
        index = self.video_index(slot.path)
        first, last = index.slot(slot.start, slot.stop, self.fps)
        count = len(self.row_numbers(episode))
        if last - first == count:  # no need for the timestamps
            return slot.path, np.arange(first, last)
        stamps = self.rows(episode).get("timestamp")
        stamps = np.arange(count) / self.fps if stamps is None else stamps.astype(np.float64)
        try:
            return slot.path, pair_frames(index, first, last, slot.start, stamps)
        except JepaflowError as error:
            raise JepaflowError(f"Episode {episode.index}: {error}") from error

    def frames_or_none(
        self, episode: Episode, camera: Camera, rule: ImageRule | None = None, only: np.ndarray | None = None
    ) -> Iterator[np.ndarray | None]:
        """Like :meth:`frames`, with None for a frame that cannot be decoded; ``only`` picks rows, ascending."""
        if camera.kind == "image":
            images = enumerate(self._images(episode, camera, rule))
            yield from (frame for number, frame in images if only is None or number in only)
            return
        path, numbers = self.frame_numbers(episode, camera)
        numbers = numbers if only is None else numbers[only]
        cursor = self._cursors.get(camera.key)
        if cursor is None or cursor.index.path != path:
            if cursor is not None:
                cursor.close()
            cursor = self._cursors[camera.key] = VideoCursor(self.video_index(path))
        for frame in cursor.frames(numbers):
            if frame is None:
                yield None
            else:
                yield rule.from_video(frame) if rule else frame.to_ndarray(format="rgb24")

    def frames(self, episode: Episode, camera: Camera, rule: ImageRule | None = None) -> Iterator[np.ndarray]:
        """The camera's uint8 frames ``(H, W, 3)``, one per row, in order; resized by ``rule`` if one is given.

        Raises:
            JepaflowError: naming the frame that cannot be decoded.
        """
        for number, frame in enumerate(self.frames_or_none(episode, camera, rule)):
            if frame is None:
                raise JepaflowError(
                    f"Episode {episode.index}, frame {number}: the {camera.name} image cannot be decoded. "
                    "Restore the file or drop the episode."
                )
            yield frame

    def _images(self, episode: Episode, camera: Camera, rule: ImageRule | None) -> Iterator[np.ndarray | None]:
        source = self._parquet_images(episode, camera) if self._in_parquet(episode, camera) else None
        for data in source or self._image_files(episode, camera):
            try:
                frame = decode_image(data, f"Episode {episode.index}") if data else None
            except JepaflowError:
                frame = None
            yield frame if frame is None or rule is None else rule.from_array(frame)

    def _in_parquet(self, episode: Episode, camera: Camera) -> bool:
        assert episode.data is not None
        return camera.key in pq_names(episode.data)

    def _parquet_images(self, episode: Episode, camera: Camera) -> Iterator[bytes | None]:
        """The episode's encoded images in order; one that lies before its turn waits for it."""
        assert episode.data is not None
        turn = {row: number for number, row in enumerate(self.row_numbers(episode).tolist())}
        waiting: dict[int, bytes | None] = {}
        due = 0
        try:
            for row, cell in self._cells(episode.data, camera.key, turn):
                waiting[turn[row]] = self._image_bytes(cell.as_py())
                while due in waiting:
                    yield waiting.pop(due)
                    due += 1
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise JepaflowError(
                f"Episode {episode.index}, frame {due}: the {camera.name} images in {episode.data} cannot be read "
                f"({reason}). Restore the file or drop the episode."
            ) from error

    @staticmethod
    def _cells(path: Path, key: str, wanted: Mapping[int, int]) -> Iterator[tuple[int, pa.Scalar]]:
        """The wanted rows of one column of a data file, with their positions, as they lie; a few in memory at once."""
        begin, first, last = 0, min(wanted, default=0), max(wanted, default=-1)
        with pq.ParquetFile(path) as file:
            for group in range(file.metadata.num_row_groups):
                end = begin + file.metadata.row_group(group).num_rows
                if last >= begin and first < end:
                    place = begin
                    for batch in file.iter_batches(_IMAGE_ROWS, row_groups=[group], columns=[key]):
                        cells = batch.column(0)
                        yield from ((place + row, cells[row]) for row in range(len(cells)) if place + row in wanted)
                        place += len(cells)
                begin = end

    def _image_bytes(self, cell: Any) -> bytes | None:
        if isinstance(cell, dict):
            if cell.get("bytes"):
                return bytes(cell["bytes"])
            path = self.root / str(cell.get("path") or "")
            return _bytes_or_none(path) if self.root.resolve() in path.resolve().parents else None
        return bytes(cell) if isinstance(cell, bytes) else None

    def _image_files(self, episode: Episode, camera: Camera) -> Iterator[bytes | None]:
        for folder in ("images", "image"):
            for name in (f"episode_{episode.index:06d}", f"episode-{episode.index:06d}"):
                base = self.root / folder / camera.key / name
                files = sorted(path for path in base.glob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
                if files:
                    count = len(self.row_numbers(episode))
                    if len(files) != count:
                        raise JepaflowError(
                            f"Episode {episode.index}: {base} holds {len(files)} images for {count} rows. "
                            "Restore the missing ones or drop the episode."
                        )
                    yield from (_bytes_or_none(path) for path in files)
                    return
        raise JepaflowError(
            f"Episode {episode.index}: no {camera.name} images found. Restore them or drop the episode."
        )


def _bytes_or_none(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None  # one image that cannot be read is one that cannot be decoded


def _is_camera(feature: dict[str, Any]) -> bool:
    return feature.get("dtype") in ("video", "image")


def _video_entry(feature: dict[str, Any]) -> dict[str, Any]:
    """LeRobot v2.0 wrote ``video_info`` where later versions write ``info``."""
    return feature.get("info") or feature.get("video_info") or {}


def _feature(key: str, feature: dict[str, Any]) -> Feature:
    shape = tuple(int(side) for side in feature.get("shape") or (1,))
    unit = str(feature.get("unit") or _DEFAULT_UNITS.get(key, "unknown"))
    return Feature(key, str(feature.get("dtype")), shape, flat_names(feature.get("names"), int(np.prod(shape))), unit)


def _column_of(episode: Episode, name: str) -> str:
    return f"Episode {episode.index}: column {name} of {episode.data}"


def _to_numpy(column: pa.ChunkedArray, where: str) -> np.ndarray | None:
    """A column as ``(T,)`` or ``(T, n)``; None for text; nulls become NaN.

    Raises:
        JepaflowError: naming the first row that holds more or fewer values than most, or none.
    """
    array, length = column.combine_chunks(), len(column)
    width, nested = 1, False
    while pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_fixed_size_list(array.type):
        sizes = pc.list_value_length(array).fill_null(-1).to_numpy(zero_copy_only=False)
        usual = max(int(np.sort(sizes)[len(sizes) // 2]), 0) if len(sizes) else 0
        if (odd := np.flatnonzero(sizes != usual)).size:
            row, size = int(odd[0]) // max(width, 1), max(int(sizes[odd[0]]), 0)
            raise JepaflowError(
                f"{where} has rows of different lengths: row {row} holds {size} values where {usual} are usual. "
                "Restore the file or drop the episode."
            )
        width, nested, array = width * usual, True, array.flatten()
    kind = array.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return None
    values = np.asarray(array.to_numpy(zero_copy_only=False))
    if values.dtype == object:  # booleans or integers with nulls
        values = np.array([np.nan if value is None else float(value) for value in values])
    return values.reshape(length, width) if nested else values
