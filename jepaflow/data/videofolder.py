"""A folder of ordinary videos as a dataset: every file is one episode, without actions or states.

Rows are the video's own frames, so ``timestamp`` is each frame's time in its file. The camera is called "video"; files
may differ in size, which conversion makes equal.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.data.resize import ImageRule
from jepaflow.data.types import Camera, Episode, Feature, Finding, Slot
from jepaflow.data.video import VideoCursor, index_video

SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".mpg", ".mpeg")


def video_files(root: Path) -> list[Path]:
    """All video files in a folder and below, sorted; or the file itself."""
    if root.is_file():
        return [root] if root.suffix.lower() in SUFFIXES else []
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


class VideoFolder:
    """Videos as a :class:`jepaflow.data.types.Dataset`. Files that cannot be opened become problems that name the episode.

    Raises:
        JepaflowError: when no file can be opened.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.version = Path(root), "videos"
        self.problems: list[Finding] = []
        self.episodes: list[Episode] = []
        self.absent: list[int] = []
        self.tasks: list[str] = []
        self.task_indices: list[int] = []
        self.features: dict[str, Feature] = {}
        self._indexes = {}
        for number, path in enumerate(video_files(self.root)):
            try:
                self._indexes[path] = index = index_video(path)
            except JepaflowError as error:
                fix = "Restore the file or take it out of the folder."
                self.problems.append(Finding("error", "video-unreadable", str(error), fix, str(path), number))
                continue
            self.episodes.append(Episode(number, len(index.times), (), None, {"video": Slot(path)}))
        if not self.episodes:
            raise JepaflowError(f"{root} holds no video that can be opened. Point to a LeRobot dataset or to videos.")
        rates = Counter(round(index.fps, 3) for index in self._indexes.values() if index.fps)
        self.fps = rates.most_common(1)[0][0] if rates else 30.0
        if len(rates) > 1:
            sentence = (
                f"The videos differ in frame rate ({', '.join(f'{rate:g}' for rate in sorted(rates))} per second)."
            )
            self.problems.append(
                Finding("note", "mixed-rates", sentence, "A frame step means different times in them.")
            )
        sizes = Counter((index.height, index.width) for index in self._indexes.values())
        height, width = sizes.most_common(1)[0][0]
        self.cameras = [Camera("video", "video", height, width)]

    def role(self, name: str) -> str | None:
        """Videos have neither actions nor states: always None."""
        return None

    def rows(self, episode: Episode) -> dict[str, np.ndarray]:
        """``timestamp`` (seconds) and ``frame_index``, each ``(T,)``."""
        index = self._indexes[episode.slots["video"].path]
        return {"timestamp": index.times.astype(np.float32), "frame_index": np.arange(len(index.times))}

    def check_frames(self, episode: Episode, camera: Camera) -> str | None:
        """A video's rows are its frames: always None."""
        return None

    def frames_or_none(
        self, episode: Episode, camera: Camera, rule: ImageRule | None = None, only: np.ndarray | None = None
    ) -> Iterator[np.ndarray | None]:
        """Like :meth:`frames`, with None for a frame that cannot be decoded; ``only`` picks rows, ascending."""
        cursor = VideoCursor(self._indexes[episode.slots["video"].path])
        try:
            for frame in cursor.frames(np.arange(episode.length) if only is None else only):
                if frame is None:
                    yield None
                else:
                    yield rule.from_video(frame) if rule else frame.to_ndarray(format="rgb24")
        finally:
            cursor.close()

    def frames(self, episode: Episode, camera: Camera, rule: ImageRule | None = None) -> Iterator[np.ndarray]:
        """The uint8 frames ``(H, W, 3)`` of one video.

        Raises:
            JepaflowError: naming the frame that cannot be decoded.
        """
        for number, frame in enumerate(self.frames_or_none(episode, camera, rule)):
            if frame is None:
                path = episode.slots["video"].path
                raise JepaflowError(f"{path}, frame {number} cannot be decoded. Restore the file or take it out.")
            yield frame
