"""The picture of a surprise measurement: AUROC per violation beside its floors, and surprise around the event."""

from __future__ import annotations

import warnings

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from numpy import ndarray

from jepaflow.common.results import Row
from jepaflow.diagnosis.canvas import INK, MUTED, OWN, WARN, new_figure, png, style
from jepaflow.diagnosis.surprise import Surprise
from jepaflow.diagnosis.surprise_answers import LEAD, Answers

NAMES = {
    "vanish": "vanish (hidden)",
    "vanish_seen": "vanish (in view)",
    "pass": "pass through",
    "ghost": "jaws pass through",
}
"""How a violation is called in pictures, where not by its own name."""
MARKS = {"pixels": ("s", "pixel difference"), "copy_last": ("^", "copy last"), "untrained": ("x", "untrained model")}
COLUMNS = 3


def draw_surprise(found: Surprise, rows: list[Row]) -> bytes:
    """Return the picture as PNG.

    Args:
        found: what was measured.
        rows: its rows; the AUROCs among them are drawn.
    """
    shown = [answer for answer in found.answers if len(answer) >= 2]
    lines = -(-len(shown) // COLUMNS)
    figure = new_figure(11.5, max(3.2, 0.7 + 1.6 * lines, 1.3 + 0.42 * len(shown)))
    left, right = figure.subfigures(1, 2, width_ratios=(1.0, 1.25), squeeze=False)[0]
    by_kind = {row.name.split("/")[-2]: row for row in rows if row.name.endswith("/auroc")}
    _dots(style(left.add_subplot()), shown, by_kind)
    if shown:
        _curves(right, shown, found)
    return png(figure)


def _dots(axes: Axes, shown: list[Answers], rows: dict[str, Row]) -> None:
    """One line per violation: the model's AUROC with its interval, the floors in grey."""
    for place, answer in enumerate(shown):
        row = rows[answer.kind]
        for floor, (mark, _) in MARKS.items():
            if floor in row.floors:
                axes.plot(row.floors[floor], place, mark, color=MUTED, markersize=6, markerfacecolor="none", zorder=4)
        axes.plot([row.low, row.high], [place, place], color=OWN, linewidth=3, alpha=0.45, solid_capstyle="round")
        axes.plot(row.value, place, "o", color=OWN, markersize=8)
        axes.text(1.03, place, f"{row.value:.2f}", va="center", fontsize=9, color=INK)
    axes.axvline(0.5, color=INK, linewidth=1.2)
    axes.set_yticks(range(len(shown)), [NAMES.get(answer.kind, answer.kind) for answer in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.12)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.set_xlabel("AUROC: does the impossible film surprise more? (0.5: a coin)", color=INK, fontsize=9)
    axes.plot([], [], "o", color=OWN, label="this model, 95 % interval")
    for mark, label in MARKS.values():
        axes.plot([], [], mark, color=MUTED, markerfacecolor="none", label=label)
    axes.legend(loc="upper center", bbox_to_anchor=(0.42, -0.13), ncols=2, frameon=False, fontsize=8.5)


def _curves(sheet: SubFigure, shown: list[Answers], found: Surprise) -> None:
    """Mean z-score of both films around the first frame in which they differ, a small picture per violation."""
    lines = -(-len(shown) // COLUMNS)
    grid = sheet.subplots(lines, min(COLUMNS, len(shown)), squeeze=False, sharex=True)
    for place, axes in enumerate(grid.ravel()):
        if place >= len(shown):
            axes.set_axis_off()
            continue
        answer = shown[place]
        curves = np.stack(answer.curves["model"])  # n 2 S
        steps = np.arange(curves.shape[-1]) - LEAD
        style(axes)
        axes.axvspan(-0.5, steps[-1] + 0.5, color="#f3f4f6", zorder=0)
        for film, (colour, label) in enumerate(((MUTED, "normal"), (WARN, "violated"))):
            mean, error = _mean_and_error(curves[:, film])
            axes.fill_between(steps, mean - error, mean + error, color=colour, alpha=0.25, linewidth=0)
            axes.plot(steps, mean, color=colour, linewidth=1.8, marker="o", markersize=3, label=label)
        axes.set_title(NAMES.get(answer.kind, answer.kind), fontsize=9.5, color=INK, loc="left")
        axes.set_xticks(steps)
        axes.tick_params(labelsize=8)
        axes.tick_params(labelbottom=place + COLUMNS >= len(shown))
        axes.set_xlim(steps[0] - 0.3, steps[-1] + 0.5)
    sheet.legend(
        *grid[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False, fontsize=8.5
    )
    seconds = found.block / found.fps
    sheet.supxlabel(
        f"model steps from the first frame judged (one = {seconds:.2g} s); grey: judged", fontsize=9, color=INK
    )
    sheet.supylabel("mean surprise, z", fontsize=9, color=INK)


def _mean_and_error(values: ndarray) -> tuple[ndarray, ndarray]:
    """Mean over pairs and 1.96 standard errors, where there are values."""
    count = np.maximum(1, np.isfinite(values).sum(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # frames before an episode's first forecast have no value
        mean, deviation = np.nanmean(values, 0), np.nanstd(values, 0)
    return mean, 1.96 * deviation / np.sqrt(count)
