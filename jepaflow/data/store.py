"""The store: a converted dataset, one HDF5 file, read row by row.

The layout is stable-worldmodel's flat one (``pixels``, ``action``, ``proprio``, ``state``, ``episode_idx``, ``step_idx``,
``ep_len``, ``ep_offset``); the primary camera is ``pixels``, the others ``pixels_<camera>``. Rows of pixels are one chunk
each and uncompressed, so a window costs exactly its rows, which are copied straight from the mapped file. Each process
opens the file for itself: HDF5 handles do not survive a fork.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int, UInt8
from numpy import ndarray

from jepaflow.common.errors import JepaflowError


class Store:
    """Read-only view of a store.

    Attributes:
        fps: control steps per second.
        image_size: side of the square frames, in pixels.
        cameras: names of the views; the first is the primary one.
        tasks: task sentences, indexed by ``task_index``.
        ep_len, ep_offset: rows per episode and first row of each.

    Raises:
        JepaflowError: when the file is missing, unfinished or no store.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._pid = -1
        self._map: np.memmap | None = None
        self._offsets: dict[str, ndarray | None] = {}
        if not self.path.is_file():
            raise JepaflowError(f"{self.path} does not exist. Make it with: jepaflow convert DATASET {self.path}")
        try:
            file = self._open()
        except OSError as error:
            raise JepaflowError(
                f"{self.path} is not a readable HDF5 file ({error}). Convert the dataset again."
            ) from error
        if "jepaflow" not in file.attrs or "ep_len" not in file or "pixels" not in file:
            raise JepaflowError(
                f"{self.path} is not a jepaflow store. Make one with: jepaflow convert DATASET {self.path}"
            )
        if not file.attrs.get("complete", False):
            raise JepaflowError(f"{self.path} is unfinished. Run the same jepaflow convert again: it continues.")
        self.meta: dict[str, Any] = json.loads(file.attrs["jepaflow"])
        self.fps = float(self.meta["fps"])
        self.cameras: tuple[str, ...] = tuple(self.meta["cameras"])
        self.tasks: list[str] = list(self.meta.get("tasks", []))
        self.ep_len: Int[ndarray, " E"] = file["ep_len"][:].astype(np.int64)
        self.ep_offset: Int[ndarray, " E"] = file["ep_offset"][:].astype(np.int64)
        self.length, self.image_size = int(file["pixels"].shape[0]), int(file["pixels"].shape[1])
        self.columns = set(file.keys())

    def _open(self) -> h5py.File:
        if self._file is None or self._pid != os.getpid():
            self._file, self._pid = h5py.File(self.path, "r"), os.getpid()
        return self._file

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_pid": -1, "_map": None}

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""
        return len(self.ep_len)

    def dim(self, column: str) -> int:
        """Size of a low-dimensional column, 0 when the store has none of that name."""
        return int(self._open()[column].shape[1]) if column in self.columns else 0

    def pixels_column(self, camera: str) -> str:
        """Name of the column of a camera ("pixels" also names the primary one).

        Raises:
            JepaflowError: when the store has no such camera.
        """
        if camera in ("pixels", self.cameras[0]):
            return "pixels"
        column = f"pixels_{camera}"
        if column not in self.columns:
            raise JepaflowError(
                f"{self.path} has no camera {camera!r}; it has {', '.join(self.cameras)}. Change --cameras."
            )
        return column

    def read(self, column: str, rows: Int[ndarray, " n"]) -> ndarray:
        """Read the given rows of a column, in the order given; only these rows are touched."""
        data = self._open()[column]
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) == 0:
            return np.empty((0, *data.shape[1:]), data.dtype)
        if data.ndim <= 2:
            low, high = int(rows.min()), int(rows.max()) + 1
            picked: ndarray = data[low:high][rows - low]  # low-dimensional rows are cheap: one read, then pick
            return picked
        out = np.empty((len(rows), *data.shape[1:]), data.dtype)
        self._read_images(column, rows, out)
        return out

    def pixels(self, rows: Int[ndarray, " n"], cameras: tuple[str, ...] = ("pixels",)) -> UInt8[ndarray, "n V S S 3"]:
        """Read frames of several views."""
        size = self.image_size
        out = np.empty((len(rows), len(cameras), size, size, 3), np.uint8)
        for view, camera in enumerate(cameras):
            self._read_images(self.pixels_column(camera), np.asarray(rows, dtype=np.int64), out[:, view])
        return out

    def _read_images(self, column: str, rows: ndarray, out: ndarray) -> None:
        """Copy rows of an image column into ``out``: once, from the mapped file, where the layout allows it."""
        offsets = self._chunk_offsets(column)
        if offsets is None:
            data = self._open()[column]
            for i, row in enumerate(rows):
                out[i] = data[int(row)]
            return
        if self._map is None:
            self._map = np.memmap(self.path, np.uint8, "r")
        shape, size = out.shape[1:], int(np.prod(out.shape[1:]))
        for i, begin in enumerate(offsets[rows]):
            out[i] = self._map[begin : begin + size].reshape(shape)

    def _chunk_offsets(self, column: str) -> ndarray | None:
        """Where each row's bytes begin in the file; None unless rows are single, uncompressed chunks of bytes.

        Reading through HDF5 costs a tenth of a millisecond a row before the first byte is copied.
        """
        if column not in self._offsets:
            data = self._open()[column]
            plain = data.dtype == np.uint8 and data.chunks == (1, *data.shape[1:]) and data.compression is None
            found = np.full(len(data), -1, np.int64)
            if plain and not data.shuffle and not data.fletcher32:
                data.id.chunk_iter(lambda chunk: found.__setitem__(chunk.chunk_offset[0], chunk.byte_offset))
            self._offsets[column] = found if (found >= 0).all() else None
        return self._offsets[column]

    def episode_rows(self, episode: int) -> Int[ndarray, " n"]:
        """All rows of an episode."""
        return np.arange(self.ep_offset[episode], self.ep_offset[episode] + self.ep_len[episode])

    def fingerprint(self, episode: int) -> str:
        """What an episode did, as a hash of its actions and states; empty for a store with neither.

        The same recording keeps its fingerprint whatever the folder's name, the frames' size or the dataset's version.
        """
        columns = [name for name in ("action", "proprio") if name in self.columns]
        if not columns:
            return ""
        digest = hashlib.sha256()
        for name in columns:
            digest.update(np.ascontiguousarray(self.read(name, self.episode_rows(episode)), np.float32).tobytes())
        return digest.hexdigest()[:16]

    def source_episode(self, episode: int) -> int:
        """Episode number in the dataset from which the store was made (for messages)."""
        return int(self._open()["ep_source"][episode]) if "ep_source" in self.columns else episode
