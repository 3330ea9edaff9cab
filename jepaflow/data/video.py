"""Video files: which frames they hold, and reading some of them in order with one decoder pass.

A file is first indexed by its packets (no decoding), which gives every frame's number and time. An episode's frames are
then named by number, and a cursor per file decodes forward from where the last episode ended, so that a file shared
by many episodes is decoded once. Times count from the file's first frame: containers may start at 0.033 s.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from jepaflow.common.errors import JepaflowError

# Decoding through a gap beats seeking when the gap is this short (frames).
_SKIP_RATHER_THAN_SEEK = 48


@dataclass(frozen=True)
class VideoIndex:
    """What the packets tell. ``times`` (seconds from the first frame) and ``pts`` are sorted, one per frame."""

    path: Path
    times: np.ndarray
    pts: np.ndarray
    height: int
    width: int
    codec: str
    fps: float

    def slot(self, start: float, stop: float | None, fps: float) -> tuple[int, int]:
        """First frame number, and one past the last, with start <= time < stop; half a frame of rounding is allowed.

        A value like 43.599999999999994 must mean frame 436 at 10 fps: rounded, never floored.
        """
        half = 0.5 / fps
        first = int(np.searchsorted(self.times, start - half))
        last = len(self.times) if stop is None else int(np.searchsorted(self.times, stop - half))
        return first, max(first, last)


def index_video(path: Path) -> VideoIndex:
    """Index a video without decoding it.

    Raises:
        JepaflowError: when the file is missing, truncated or holds no video.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise JepaflowError(f"{path} holds no video stream. Restore the file or drop its episodes.")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise JepaflowError(f"{path} is coded in a way that no decoder here knows. Restore or re-encode it.")
            stamps = []
            for packet in container.demux(stream):
                stamp = packet.pts if packet.pts is not None else packet.dts
                if stamp is not None and packet.size and not packet.is_discard:
                    stamps.append(stamp)
            base = float(stream.time_base or 1)
            context = stream.codec_context
            codec = {"libdav1d": "av1"}.get(context.name, context.name)
            height, width, rate = context.height, context.width, float(stream.average_rate or 0)
    except FileNotFoundError as error:
        raise JepaflowError(f"{path} does not exist. Restore the file or drop its episodes.") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise JepaflowError(
            f"{path} cannot be opened as a video ({_reason(error)}). Restore it or drop its episodes."
        ) from error
    if not stamps:
        raise JepaflowError(f"{path} holds no video frames. Restore the file or drop its episodes.")
    pts = np.sort(np.asarray(stamps, dtype=np.int64))
    return VideoIndex(Path(path), (pts - pts[0]) * base, pts, height, width, codec, rate)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


class VideoCursor:
    """Decodes one file forward; keeps its place between calls."""

    def __init__(self, index: VideoIndex) -> None:
        self.index = index
        self.errors = 0
        self._container: Any = None
        self._decoded: Iterator[Any] = iter(())
        self._pending: tuple[int, av.VideoFrame] | None = None
        self._next = 0

    def close(self) -> None:
        """Release the decoder."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def frames(self, numbers: np.ndarray) -> Iterator[av.VideoFrame | None]:
        """The frames with these ascending numbers (repeats allowed); None stands for one that cannot be decoded."""
        if len(numbers) == 0:
            return
        self._go_to(int(numbers[0]))
        current: tuple[int, av.VideoFrame] | None = self._pending
        for wanted in numbers.tolist():
            while current is None or current[0] < wanted:
                following = self._decode_next()
                if following is None:
                    current = None
                    break
                current = following
            self._pending = current or self._pending
            yield current[1] if current is not None and current[0] == wanted else None

    def _go_to(self, number: int) -> None:
        """Make the next decoded frame one at or before ``number``, by decoding on where that is cheap."""
        place = self._pending[0] if self._pending is not None else self._next
        if self._container is not None and place <= number <= place + _SKIP_RATHER_THAN_SEEK:
            return
        self._open(number if number > _SKIP_RATHER_THAN_SEEK else 0)
        if self._next:
            self._pending = self._decode_next()
            if self._pending is None or self._pending[0] > number:  # a container whose key frame marks are wrong
                self._open(0)

    def _open(self, number: int) -> None:
        self.close()
        try:
            self._container = av.open(str(self.index.path))
            stream = self._container.streams.video[0]
            stream.thread_type = "AUTO"
            if number:
                self._container.seek(int(self.index.pts[number]), stream=stream, backward=True)
        except (av.error.FFmpegError, OSError) as error:
            raise JepaflowError(f"{self.index.path} cannot be opened ({_reason(error)}). Restore the file.") from error
        self._decoded = self._container.decode(stream)
        self._pending, self._next = None, number

    def _decode_next(self) -> tuple[int, av.VideoFrame] | None:
        """The next decodable frame and its number, None at the end of the file."""
        failures = 0
        while True:
            try:
                frame = next(self._decoded, None)
            except av.error.FFmpegError:
                failures, self.errors = failures + 1, self.errors + 1
                if failures > 1000:
                    return None
                self._decoded = self._container.decode(self._container.streams.video[0])
                continue
            if frame is None:
                return None
            number = self._next
            if frame.pts is not None:
                first = int(np.searchsorted(self.index.pts, frame.pts))
                last = int(np.searchsorted(self.index.pts, frame.pts, side="right")) - 1
                if last < first:
                    continue
                number = min(max(self._next, first), last)  # several frames may carry one time
            self._next = number + 1
            return number, frame


def pair_frames(index: VideoIndex, first: int, last: int, start: float, stamps: np.ndarray) -> np.ndarray:
    """Frame number for every row of an episode whose slot holds the frames ``first`` .. ``last - 1``.

    By order when the counts agree: recorded row timestamps drift against the video clock by seconds, the counts do not.
    Otherwise by nearest time. ``stamps`` are the rows' times in seconds since the slot began, shape (T,).

    Raises:
        JepaflowError: when the slot holds no frame.
    """
    if last <= first:
        raise JepaflowError(f"{index.path} holds no frame at {start:.3f} s or later. Restore it or drop the episode.")
    if last - first == len(stamps):
        return np.arange(first, last)
    times = index.times[first:last] - start
    after = np.clip(np.searchsorted(times, stamps), 1, max(len(times) - 1, 1))
    if len(times) == 1:
        return np.full(len(stamps), first)
    nearer_before = np.abs(stamps - times[after - 1]) <= np.abs(times[after] - stamps)
    return np.maximum.accumulate(first + after - nearer_before)
