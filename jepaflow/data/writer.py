"""Write a LeRobot v3.0 dataset: many episodes per mp4 and parquet, by one process or several, safe against a kill.

One process makes a :class:`DatasetWriter` and closes it at the end; episodes are staged in between, in any order:

    with DatasetWriter(root, fps, features) as writer:       # or DatasetWriter.resume(root)
        wanted = [i for i in range(n) if i not in writer.finished()]
        ...                                                  # any process: stage_episode(root, i, rows, frames, task)

``add_episode`` stages at the next free index, for those who record one episode after another. ``close`` joins the
staged episodes, in the order of their index, into LeRobot's files (mp4s by copying packets) and writes
``meta/info.json`` last: a dataset with an ``info.json`` is a finished one, and it is the same file by file whoever
staged what. A kill at any moment loses at most the episodes in hand; after it, ``resume``. Appending to a finished
dataset starts new files and touches no old one, as LeRobot itself does when recording is resumed.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json
from jepaflow.data.assemble import assemble
from jepaflow.data.schema import new_info
from jepaflow.data.staging import STAGING, Frames, Plan, Rows, stage_episode

__all__ = ["STAGING", "DatasetWriter", "has_begun", "stage_episode"]


def has_begun(root: Path) -> bool:
    """Whether ``root`` holds a dataset, finished or in the making, that :meth:`DatasetWriter.resume` goes on with."""
    return (Path(root) / "meta" / "info.json").exists() or (Path(root) / STAGING / "plan.json").exists()


class DatasetWriter:
    """Writes one dataset; use as a context manager or call :meth:`close`.

    Args:
        root: folder of the new dataset; must not hold one already (see :meth:`resume`).
        fps: control steps per second.
        features: LeRobot feature descriptions by key, ``{"dtype", "shape", "names"}`` (dtype "video" or "image" for
            cameras, "string", or a numpy name of a number or bool); a ``"unit"`` entry is kept. The five default
            columns are added.
        robot_type: free text.
        codec: "libx264" (default), "libx264rgb" (without loss) or "libsvtav1".
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
        info = new_info(fps, features, robot_type, data_file_mb, video_file_mb)
        self._plan = Plan(Path(root), info, codec)
        if has_begun(root) or self._plan.staged():
            raise JepaflowError(f"{root} already holds a dataset. Choose another folder, or resume it.")
        self._plan.save()

    @classmethod
    def resume(cls, root: Path) -> "DatasetWriter":
        """Go on with an interrupted dataset, or append to a finished one that a ``DatasetWriter`` made.

        Call it when no other process stages episodes: what an interrupted one left half done is removed.

        Raises:
            JepaflowError: when ``root`` holds neither.
        """
        if not has_begun(root):
            raise JepaflowError(f"{root} holds no dataset to resume. Start a new one.")
        root, writer = Path(root), cls.__new__(cls)
        info = root / "meta" / "info.json"
        finished = read_json(info) if info.exists() else {"total_episodes": 0}
        plan = Plan.load(root) if (root / STAGING / "plan.json").exists() else None
        if plan and finished["total_episodes"] > plan.info["total_episodes"]:
            plan.discard()  # assembled already: a kill came before its removal
            plan = None
        if plan is None:
            if not str(finished.get("codebase_version", "")).startswith("v3"):
                raise JepaflowError(f"{root} is not a LeRobot v3.0 dataset. Only those can be appended to.")
            plan = Plan(root, finished, "libx264")
            plan.save()
        for leftover in plan.folder.glob("*.part"):
            shutil.rmtree(leftover, ignore_errors=True)
        writer._plan = plan
        return writer

    @property
    def root(self) -> Path:
        """Folder of the dataset."""
        return self._plan.root

    @property
    def info(self) -> dict[str, Any]:
        """``info.json`` as far as it is assembled."""
        return self._plan.info

    def finished(self) -> set[int]:
        """Indices of the episodes that are safe on disk now, assembled or staged by any process."""
        return set(range(int(self.info["total_episodes"]))) | set(self._plan.staged())

    @property
    def num_episodes(self) -> int:
        """Episodes that are safe on disk."""
        return len(self.finished())

    def add_episode(self, rows: Rows, frames: Mapping[str, Frames], task: str) -> int:
        """Write one episode behind the last one; returns its index. See :func:`stage_episode`."""
        index = max(self.finished(), default=-1) + 1
        stage_episode(self.root, index, rows, frames, task)
        return index

    def close(self) -> None:
        """Join the staged episodes into LeRobot's files. The dataset is complete when this returns.

        Raises:
            JepaflowError: when there is no episode at all, or one before the last is missing.
        """
        if not self._plan.folder.exists():
            return
        if not self.finished():
            raise JepaflowError(f"{self.root}: no episode was added. Add one before closing.")
        info = assemble(self._plan)
        self._plan.discard()
        self._plan = Plan(self.root, info, self._plan.codec)

    def __enter__(self) -> "DatasetWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
