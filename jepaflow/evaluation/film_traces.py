"""The traces below a film's pictures: drawn once by matplotlib, then a cursor moves over them by painting pixel columns.

One small panel per dimension (state solid, action dashed) under a timeline that carries the events' names. All sizes
are counted in pixels, not left to a layout engine: a robot with 42 dimensions is drawn as fast as a disc with two.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import ImageColor

from jepaflow.evaluation.drawing import ACTION, CURSOR, EVENT, FAINT, INK, STATE, elide, font
from jepaflow.evaluation.episode_view import EpisodeView, Trace

DPI = 100
LEGEND, TIMELINE, LABELS, ROW = 26, 34, 34, 104
"""Heights in px: the legend, the timeline with its tick labels, the events' names above it, a row of panels."""
LEFT, RIGHT, BETWEEN, TITLE, TICKS = 52, 16, 52, 17, 20
MOST_PANELS = 42

Box = tuple[float | int, float | int, float | int, float | int]
"""Left, top, width and height in px, from the upper left corner."""


class TracePlate:
    """One episode's traces as a picture with a movable cursor.

    Args:
        view: the episode.
        width: of the picture in px.
    """

    def __init__(self, view: EpisodeView, width: int) -> None:
        self.height = plate_height(view, width)
        self.width = width
        self._lines: list[tuple[slice, np.ndarray]] = []
        self._plate = self._draw(view)
        self._colour = np.array(ImageColor.getrgb(CURSOR)[:3], dtype=np.uint8)

    def at(self, frame: int) -> np.ndarray:
        """Return the picture (height, width, 3) uint8 with the cursor at a frame."""
        picture = self._plate.copy()
        for rows, columns in self._lines:
            picture[rows, columns[frame] : columns[frame] + 2] = self._colour
        return picture

    def _draw(self, view: EpisodeView) -> np.ndarray:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(self.width / DPI, self.height / DPI), dpi=DPI, facecolor="white")
        canvas: Any = FigureCanvasAgg(figure)
        times = np.arange(view.length) / view.fps
        self._legend(figure, view)
        top = LEGEND if view.traces or view.eventful else 8
        axes = [self._timeline(figure, view, top + (LABELS if view.eventful else 0))]
        shown = view.traces[:MOST_PANELS]
        top += TIMELINE + (LABELS if view.eventful else 0)
        columns = panel_columns(len(shown), self.width)
        for place, trace in enumerate(shown):
            box = self._box(place, columns, top)
            axes.append(self._panel(figure, box, trace, view, times, place + columns >= len(shown)))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")  # names in scripts that the font lacks
            canvas.draw()
        for drawn in axes:
            extent = drawn.get_window_extent()
            across = drawn.transData.transform(np.stack([times, np.zeros_like(times)], axis=1))[:, 0]
            columns_at = np.clip(np.round(across).astype(int) - 1, int(extent.x0), int(extent.x1) - 2)
            columns_at &= ~1  # colour has half the resolution in video: an odd column would look paler
            self._lines.append((slice(self.height - int(extent.y1), self.height - int(extent.y0)), columns_at))
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def _axes(self, figure: Any, box: Box) -> Any:
        """Axes in a box."""
        left, top, width, height = box
        w, h = self.width, self.height
        axes = figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))
        axes.tick_params(labelsize=6.5, length=2, pad=1.5, colors=FAINT, labelcolor=INK)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(FAINT)
        return axes

    def _box(self, place: int, columns: int, top: int) -> Box:
        width = (self.width - LEFT - RIGHT - BETWEEN * (columns - 1)) / columns
        row, column = divmod(place, columns)
        return LEFT + column * (width + BETWEEN), top + row * ROW + TITLE, width, ROW - TITLE - TICKS

    def _legend(self, figure: Any, view: EpisodeView) -> None:
        from matplotlib.lines import Line2D

        handles, words = [], []
        styles: tuple[tuple[str, str, Any], ...] = (("state", STATE, "-"), ("action", ACTION, "--"))
        for index, (word, colour, style) in enumerate(styles):
            if any((trace.state, trace.action)[index] is not None for trace in view.traces):
                handles.append(Line2D([], [], color=colour, linestyle=style, linewidth=1.6))
                words.append(f"{word} ({view.units[index]})" if view.units[index] else word)
        if view.eventful:
            handles.append(Line2D([], [], color=EVENT, linestyle=":", linewidth=1.6))
            words.append("event")
        if len(view.traces) > MOST_PANELS:
            handles.append(Line2D([], [], linestyle=""))
            words.append(f"{len(view.traces) - MOST_PANELS} more dimensions are not drawn")
        if handles:
            anchor = (LEFT / self.width, 1 - LEGEND / 2 / self.height)
            figure.legend(
                handles,
                words,
                loc="center left",
                bbox_to_anchor=anchor,
                ncols=len(handles),
                fontsize=8,
                frameon=False,
                borderpad=0,
                borderaxespad=0,
                labelcolor=INK,
                handlelength=2.6,
            )

    def _timeline(self, figure: Any, view: EpisodeView, top: int) -> Any:
        """A bar over the whole width with the time in seconds and the events' names above it."""
        axes = self._axes(figure, (LEFT, top, self.width - LEFT - RIGHT, TIMELINE - TICKS - 4))
        last = max(view.length - 1, 1) / view.fps
        axes.set_xlim(0, last)
        axes.set_ylim(0, 1)
        axes.set_yticks([])
        axes.set_facecolor("#eceef1")
        axes.set_xticks(*_seconds(last, 10))
        ends = [-math.inf, -math.inf]  # where the last name in each of two rows ends, in px
        face = font(11)
        span = self.width - LEFT - RIGHT
        for event in view.events:
            place = LEFT + event.frame / view.fps / last * span
            axes.axvline(event.frame / view.fps, color=EVENT, linewidth=1.2)
            name = elide(event.text, face, 220)
            wide = face.getlength(name)
            begin = min(max(place - 3, LEFT), self.width - wide - 4)
            row = next((row for row in (0, 1) if begin > ends[row] + 8), None)
            if row is None:
                continue  # no room: the line is there, and the film says the name when the cursor comes by
            ends[row] = begin + wide
            y = 1 - (top - 4 - 15 * row) / self.height
            figure.text(begin / self.width, y, name, fontsize=11 * 72 / DPI, color=EVENT, va="bottom", parse_math=False)
        return axes

    def _panel(
        self,
        figure: Any,
        box: Box,
        trace: Trace,
        view: EpisodeView,
        times: np.ndarray,
        lowest: bool,
    ) -> Any:
        axes = self._axes(figure, box)
        values = []
        for series, colour, style in ((trace.state, STATE, "-"), (trace.action, ACTION, "--")):
            if series is not None:
                thick = 1.3 if style == "-" else 1.1
                axes.plot(times, series, color=colour, linestyle=style, linewidth=thick)
                values.append(series[np.isfinite(series)])
        for event in view.events:
            axes.axvline(event.frame / view.fps, color=EVENT, linestyle=":", linewidth=0.9)
        last = max(view.length - 1, 1) / view.fps
        axes.set_xlim(0, last)
        ticks, words = _seconds(last, 3)
        axes.set_xticks(ticks, words if lowest else [""] * len(ticks))
        values += [np.array(trace.span)] if trace.span else []
        _scale(axes, np.concatenate(values) if values else np.zeros(0))
        name = elide(trace.name, font(10), int(box[2]) + 20)
        axes.set_title(name, fontsize=7.2, loc="left", pad=3, color=INK, parse_math=False)
        return axes


def panel_columns(panels: int, width: int) -> int:
    """How many panels stand side by side."""
    most = max(1, width // 170)
    wanted = min(most, next((columns for columns, upto in ((4, 8), (5, 15), (6, 24)) if panels <= upto), 7))
    rows = max(1, -(-panels // wanted))
    return max(1, -(-panels // rows))  # rows of about one length


def plate_height(view: EpisodeView, width: int) -> int:
    """Height of the traces' picture in px, an even number."""
    panels = min(len(view.traces), MOST_PANELS)
    rows = -(-panels // panel_columns(panels, width))
    head = LEGEND if view.traces or view.eventful else 8
    height = head + (LABELS if view.eventful else 0) + TIMELINE + rows * ROW
    return height + height % 2


def _seconds(last: float, most: int) -> tuple[list[float], list[str]]:
    """Round ticks from 0 to `last` seconds and their words."""
    from matplotlib.ticker import MaxNLocator

    ticks = [float(t) for t in MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(0, last) if 0 <= t <= last * 1.0001]
    return ticks, [f"{t:g} s" for t in ticks]


def _scale(axes: Any, values: np.ndarray) -> None:
    """Limits that leave nothing cut off, and two or three tick labels short enough for the margin."""
    from matplotlib.ticker import MaxNLocator

    if len(values) == 0:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no finite values", transform=axes.transAxes, ha="center", va="center", fontsize=7)
        return
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):
        room = abs(low) / 2 or 0.5
        low, high = low - room, high + room
    room = 0.08 * (high - low)
    axes.set_ylim(low - room, high + room)
    locator = MaxNLocator(3, steps=[1, 2, 5, 10])
    ticks = [float(t) for t in locator.tick_values(low, high) if low - room <= t <= high + room]
    axes.set_yticks(ticks, _tick_words(ticks))


def _tick_words(ticks: Sequence[float | int]) -> list[str]:
    """Tick labels that differ from each other and fit into the margin."""
    if len(ticks) < 2:
        return [f"{t:.4g}" for t in ticks]
    step, largest = ticks[1] - ticks[0], max(abs(t) for t in ticks)
    ticks = [0.0 if abs(t) < step / 2 else float(t) for t in ticks]
    digits = max(0, -math.floor(math.log10(step) + 1e-6))
    if largest < 1e5 and digits <= 4:
        return [f"{t:.{digits}f}" for t in ticks]
    figures = min(6, 1 + math.ceil(math.log10(largest / step)))
    return [f"{t:.{figures}g}" for t in ticks]
