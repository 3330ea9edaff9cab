"""The probes as one picture: a row a target, dots for linear and MLP with their intervals, the floors as grey marks."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from jepaflow.diagnosis.canvas import INK, MUTED, OTHER, OWN, new_figure, png, style
from jepaflow.diagnosis.probes import KINDS, Probes

COLOURS, NAMES = {"linear": OWN, "mlp": OTHER}, {"linear": "linear", "mlp": "MLP"}
MARKS = {"time": "|", "random": "x", "pixels": "s", "proprio": "^"}
FLOOR_NAMES = {
    "time": "time in the episode",
    "random": "untrained encoder",
    "pixels": "8×8 pixels",
    "proprio": "joints alone",
}
APART = 0.19
"""between the lines of linear and MLP, in rows"""


def words(target: str) -> str:
    """A target's name for people."""
    return target.replace("_", " ")


def draw_probes(probes: Probes) -> bytes:
    """A dot plot of r on held-out episodes as PNG bytes."""
    figure = new_figure(8.2, 1.5 + 0.52 * len(probes.asked))
    axes = style(figure.add_subplot())
    lowest = min([0.0, *(_draw_target(axes, probes, i) for i in range(len(probes.asked)))])
    axes.set_yticks(range(len(probes.asked)), [words(asked.name) for asked in probes.asked])
    axes.set_ylim(len(probes.asked) - 0.45, -0.55)
    axes.set_xlim(max(-1.0, lowest - 0.03), 1.02)
    axes.grid(axis="y", visible=False)
    for edge in range(1, len(probes.asked)):
        axes.axhline(edge - 0.5, color="#eef1f4", linewidth=0.8, zorder=0)
    axes.set_xlabel("correlation r with what is true, on held-out episodes (mean over coordinates)", color=INK)
    used = {source for _, _, source in probes.scores}
    handles = [_handle("o", COLOURS[kind], NAMES[kind]) for kind in KINDS]
    handles += [_handle(mark, MUTED, FLOOR_NAMES[name]) for name, mark in MARKS.items() if name in used]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=8.5)
    return png(figure)


def _draw_target(axes: Axes, probes: Probes, row: int) -> float:
    """Draw one row; returns its leftmost value."""
    asked, shown = probes.asked[row], [0.0]
    for kind, y in zip(KINDS, (row - APART, row + APART)):
        for floor, value in probes.floors(asked.name, kind).items():
            if math.isfinite(value):
                mark = MARKS[floor]
                axes.plot(
                    value, y, mark, color=MUTED, markersize=5.5, markeredgewidth=1.1, zorder=3.5, mfc=_face(mark, MUTED)
                )
                shown.append(value)
        known = probes.get(asked.name, kind)
        if known is None or not math.isfinite(known.r.value):
            continue
        if math.isfinite(known.r.low):
            axes.plot([known.r.low, known.r.high], [y, y], color=COLOURS[kind], linewidth=2.2, zorder=3)
            shown.append(known.r.low)
        axes.plot(known.r.value, y, "o", color=COLOURS[kind], markersize=6.5, zorder=4)
        shown.append(known.r.value)
    return min(shown)


def _face(mark: str, colour: str) -> str:
    return "white" if mark in "s^" else colour


def _handle(mark: str, colour: str, label: str) -> Line2D:
    face = _face(mark, colour)
    return Line2D([], [], linestyle="", marker=mark, color=colour, markerfacecolor=face, label=label, markersize=6)
