"""LeRobot's v3.0 names, paths and column types, in one place for the writer and the reader."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from jepaflow.common.errors import JepaflowError

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DEFAULT_FEATURES: dict[str, dict[str, Any]] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}
FILES_PER_CHUNK = 1000


def is_camera(feature: Mapping[str, Any]) -> bool:
    """Whether a feature holds images."""
    return feature.get("dtype") in ("video", "image")


def new_info(
    fps: float | int, features: Mapping[str, Mapping[str, Any]], robot_type: str | None, data_mb: int, video_mb: int
) -> dict[str, Any]:
    """The ``meta/info.json`` of a dataset without episodes.

    Raises:
        JepaflowError: when fps, a shape or a dtype makes no sense.
    """
    if not fps > 0:
        raise JepaflowError(f"fps is {fps}. It must be positive.")
    complete: dict[str, dict[str, Any]] = {}
    for key, feature in features.items():
        if key in DEFAULT_FEATURES:
            continue
        shape = [int(side) for side in feature.get("shape", ())]
        if "/" in key or not shape or min(shape) < 1 or "dtype" not in feature:
            raise JepaflowError(f"The feature {key!r} needs a dtype, a positive shape and a name without '/'.")
        if not is_camera(feature) and not _is_column_type(feature["dtype"]):
            raise JepaflowError(f"The feature {key!r} has dtype {feature['dtype']!r}. Use a number's, bool or string.")
        if is_camera(feature) and (len(shape) != 3 or shape[2] != 3):
            raise JepaflowError(f"The camera {key!r} has shape {shape}. It must be [height, width, 3].")
        names = feature.get("names", ["height", "width", "channels"] if is_camera(feature) else None)
        complete[key] = {**feature, "shape": shape, "names": list(names) if isinstance(names, tuple) else names}
    has_video = any(feature["dtype"] == "video" for feature in complete.values())
    return {
        "codebase_version": "v3.0",
        "robot_type": robot_type,
        "total_episodes": 0,
        "total_frames": 0,
        "total_tasks": 0,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": data_mb,
        "video_files_size_in_mb": video_mb,
        "fps": int(fps) if float(fps).is_integer() else fps,
        "splits": {},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if has_video else None,
        "features": {**complete, **DEFAULT_FEATURES},
    }


def arrow_column(values: np.ndarray, feature: Mapping[str, Any]) -> pa.Array:
    """One feature ``(T, *shape)`` as LeRobot keeps it: shape (1,) as scalars, else nested fixed-size lists."""
    flat = np.ascontiguousarray(values).ravel()
    column = pa.array(map(str, flat), pa.string()) if feature["dtype"] == "string" else pa.array(flat)
    shape = list(feature["shape"])
    if shape != [1]:
        for side in reversed(shape):
            column = pa.FixedSizeListArray.from_arrays(column, side)
    return column


def _is_column_type(dtype: object) -> bool:
    try:
        return dtype == "string" or np.dtype(str(dtype)).kind in "fiub"
    except TypeError:
        return False


def next_file(chunk: int, file: int) -> tuple[int, int]:
    """The chunk and file index after the given ones."""
    return (chunk, file + 1) if file + 1 < FILES_PER_CHUNK else (chunk + 1, 0)
