"""Film of episodes: cameras side by side, what is asked and what happens as text, and the traces with a moving cursor.

Everything that stands still in an episode is drawn once; per frame, pictures are scaled into their cells, two lines
of text are written and the cursor is painted, so the film is made about as fast as its frames decode and encode.
The canvas is laid out for the first episode; later ones are fitted into the same cells. An episode of another frame
rate keeps its speed: its frames are shown longer or skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.data.encode import frame_rate
from jepaflow.evaluation.drawing import EVENT, FAINT, GROUND, INK, PAPER, elide, fit, font, wrap
from jepaflow.evaluation.episode_view import EpisodeView
from jepaflow.evaluation.film_traces import TracePlate, plate_height

NARROWEST, WIDEST = 960, 1280
PICTURE, MANY = 480, 12
"""Tallest picture in px (a usual camera's own), a little less above more than so many panels."""
MARGIN, GAP, NAME = 16, 8, 20
HEAD, LINE = 34, 20
ACROSS = 4
"""Cameras side by side before a new row begins."""


@dataclass(frozen=True)
class Layout:
    """Places on the canvas in px: one (top, left, height, width) per camera."""

    width: int
    height: int
    cells: tuple[tuple[int, int, int, int], ...]
    task_lines: int
    event_top: int
    plate_top: int


def lay_out(view: EpisodeView, aspects: list[float]) -> Layout:
    """Place an episode's cameras (width / height in `aspects`) and traces; both sides of the canvas are even."""
    rows = [list(range(len(aspects)))[i : i + ACROSS] for i in range(0, len(aspects), ACROSS)]
    crowded = len(view.traces) > MANY
    tallest = (7 * PICTURE // 8 if crowded else PICTURE) if len(rows) == 1 else PICTURE // 2
    inside = WIDEST - 2 * MARGIN
    tallest = min([tallest, *(int((inside - GAP * (len(row) - 1)) / sum(aspects[i] for i in row)) for row in rows)])
    widths = [max(2, round(aspect * tallest)) for aspect in aspects]
    wide = max(sum(widths[i] for i in row) + GAP * (len(row) - 1) for row in rows)
    width = min(WIDEST, max(WIDEST if crowded else NARROWEST, wide + 2 * MARGIN))
    width += width % 2
    lines = min(2, len(wrap(view.task, font(14), width - 2 * MARGIN, 2)))
    event_top = HEAD + LINE * lines
    top = event_top + (LINE if view.eventful else 0) + 4
    cells: list[tuple[int, int, int, int]] = []
    for row in rows:
        left = (width - sum(widths[i] for i in row) - GAP * (len(row) - 1)) // 2
        for i in row:
            cells.append((top + NAME, left, tallest, widths[i]))
            left += widths[i] + GAP
        top += NAME + tallest + GAP
    height = top + plate_height(view, width)
    return Layout(width, height + height % 2, tuple(cells), lines, event_top, top)


@contextmanager
def open_film(path: Path, speed: float = 1.0) -> Iterator[Film]:
    """Yield a film to add episodes to; the file appears when the block ends well.

    Args:
        path: the file.
        speed: of what is shown, in units of the real one; the times written stay the episodes'.

    Raises:
        JepaflowError: nothing was added, or the file cannot be written.
    """
    with atomic_path(path) as temporary:
        film = Film(temporary, speed)
        try:
            yield film
            film.finish()
        finally:
            film.close()


class Film:
    """An mp4 that grows episode by episode; `open_film` makes one."""

    def __init__(self, path: Path, speed: float = 1.0) -> None:
        self.path, self._speed = path, speed
        self._layout: Layout | None = None
        self._container: Any = None
        self._stream: Any = None
        self._rate, self._frames = Fraction(1), 0

    def facts(self) -> dict[str, Any]:
        """Frames, size in px and length in s of what has been filmed."""
        height, width = (0, 0) if self._layout is None else (self._layout.height, self._layout.width)
        return {"frames": self._frames, "height": height, "width": width, "seconds": self._frames / float(self._rate)}

    def add(self, view: EpisodeView) -> None:
        """Film one episode.

        Raises:
            JepaflowError: it has no pictures, or its files are broken.
        """
        if not view.cameras or not view.length:
            raise JepaflowError(f"episode {view.index} of {view.source} has no pictures. Choose another one.")
        if self._layout is None:
            self._layout = lay_out(view, [_aspect(view, camera) for camera in view.cameras])
            self._open(self._layout, self._speed * view.fps)
        layout = self._layout
        canvas = _background(view, layout)
        plate = TracePlate(view, layout.width)
        below = min(plate.height, layout.height - layout.plate_top)
        streams = [view.pictures(camera, None) for camera in view.cameras][: len(layout.cells)]
        shown = Fraction(0)
        for number in range(view.length):
            frames = [next(stream, None) for stream in streams]
            before, shown = round(shown), shown + self._rate / frame_rate(self._speed * view.fps)
            if round(shown) == before:
                continue  # an episode of a higher rate than the film's
            for frame, (top, left, height, width) in zip(frames, layout.cells, strict=False):
                canvas[top : top + height, left : left + width] = fit(frame, height, width)
            canvas[layout.plate_top : layout.plate_top + below] = plate.at(number)[:below]
            _write_now(canvas, view, layout, number)
            self._encode(canvas, round(shown) - before)

    def finish(self) -> None:
        """Write what the encoder still holds.

        Raises:
            JepaflowError: no episode was added.
        """
        if self._container is None:
            raise JepaflowError("there is no episode to film. Choose one with --episodes.")
        self._container.mux(self._stream.encode())

    def close(self) -> None:
        """Close the file; without `finish` before, it lacks its last frames."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _open(self, layout: Layout, fps: float) -> None:
        self._rate = frame_rate(fps)
        self._container = av.open(str(self.path), "w", format="mp4", options={"movflags": "faststart"})
        self._stream = self._container.add_stream("libx264", rate=self._rate)
        self._stream.height, self._stream.width = layout.height, layout.width
        self._stream.pix_fmt, self._stream.time_base = "yuv420p", 1 / self._rate
        # For eyes, not for training: whole seconds between key frames, small files that every player opens.
        self._stream.options = {"crf": "21", "preset": "veryfast", "g": str(max(1, round(2 * self._rate)))}

    def _encode(self, canvas: np.ndarray, times: int) -> None:
        for _ in range(times):
            picture = av.VideoFrame.from_ndarray(canvas, format="rgb24")
            picture.pts, picture.time_base = self._frames, 1 / self._rate
            self._container.mux(self._stream.encode(picture))
            self._frames += 1


def _aspect(view: EpisodeView, camera: str) -> float:
    """Width / height of a camera's first picture (the metadata may be wrong or silent); square if it is broken."""
    frame = next(view.pictures(camera, np.array([0])), None)
    return 1.0 if frame is None else min(4.0, max(0.25, frame.shape[1] / frame.shape[0]))


def _background(view: EpisodeView, layout: Layout) -> np.ndarray:
    """What stands still: title, task and the cameras' names."""
    image = Image.new("RGB", (layout.width, layout.height), PAPER)
    draw = ImageDraw.Draw(image)
    title = elide(f"{view.source} · episode {view.index}", font(16, True), layout.width - 2 * MARGIN - 260)
    draw.text((MARGIN, HEAD // 2), title, INK, font(16, True), anchor="lm")
    for number, line in enumerate(wrap(view.task, font(14), layout.width - 2 * MARGIN, max(1, layout.task_lines))):
        if number < layout.task_lines:
            draw.text((MARGIN, HEAD + LINE * number + LINE // 2), line, INK, font(14), anchor="lm")
    if layout.cells:
        top, last = layout.cells[0][0] - NAME, layout.cells[-1]
        draw.rectangle((0, top, layout.width, last[0] + last[2] + GAP - 2), GROUND)
    for camera, (top, left, _, width) in zip(view.cameras, layout.cells, strict=False):
        draw.text((left + 1, top - NAME // 2), elide(camera, font(12), width), FAINT, font(12), anchor="lm")
    return np.array(image)


def _write_now(canvas: np.ndarray, view: EpisodeView, layout: Layout, number: int) -> None:
    """The time at the upper right, and the event that began last."""
    words = f"{number / view.fps:.1f} of {view.seconds:.1f} s · frame {number}"
    strip = Image.new("RGB", (260, HEAD), PAPER)
    ImageDraw.Draw(strip).text((260, HEAD // 2), words, FAINT, font(13), anchor="rm")
    canvas[:HEAD, layout.width - MARGIN - 260 : layout.width - MARGIN] = np.asarray(strip)
    if view.eventful:
        event = view.current(number)
        band = Image.new("RGB", (layout.width - 2 * MARGIN, LINE), PAPER)
        if event is not None:
            words = elide(f"{event.text}  ({event.frame / view.fps:.1f} s)", font(14, True), band.width)
            ImageDraw.Draw(band).text((0, LINE // 2), words, EVENT, font(14, True), anchor="lm")
        canvas[layout.event_top : layout.event_top + LINE, MARGIN : MARGIN + band.width] = np.asarray(band)
