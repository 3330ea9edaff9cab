"""The picture of a monitor's measurement: recall against false alarms, delays, and one slip as it was watched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from jepaflow.diagnosis.calibration import WINDOW
from jepaflow.diagnosis.canvas import CLASSES, INK, MUTED, OWN, WARN, new_figure, png, style
from jepaflow.diagnosis.slip_study import SlipStudy, home
from jepaflow.diagnosis.slips import LATE
from jepaflow.diagnosis.watched import Watched, act_out
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.registry import WorldEntry

TITLES = {
    "slip": "slip (commanded)",
    "drop": "drop",
    "missed": "missed grasp",
    "slippery": "slip (unannounced)",
    "blocked": "arm blocked",
    "moved": "cube moved",
}
SHOWN = 6
"""Frames of the example."""
LEAD = 2
"""Looks before the event that it begins with."""


@dataclass(frozen=True)
class Example:
    """One noticed event."""

    kind: str
    episode: Watched
    score: Float[np.ndarray, " T"]
    step: int
    """Control step of the event."""
    name: str
    """What the monitor called it."""
    frames: UInt8[np.ndarray, "n S W 3"]
    looks: tuple[int, ...]
    """Their looks."""


def choose_example(found: SlipStudy, entry: WorldEntry, size: int) -> Example | None:
    """Take the median noticed slip (of the unannounced ones, if any was noticed) and draw its frames again; None for none."""
    for kind in ("slippery", "slip", "drop"):
        one = found.monitor.noticed.get(kind)
        if one is None or not np.isfinite(one.delay).any():
            continue
        order = [int(i) for i in np.argsort(one.delay) if np.isfinite(one.delay[i])]
        pick = order[len(order) // 2]
        where, look = one.where[pick], one.look[pick]
        episode = found.episodes[home(kind)][where]
        assert look is not None
        step = round(look * found.block - one.delay[pick])
        first = max(0, step // found.block - LEAD)
        looks = tuple(t for t in range(first, first + SHOWN) if t < len(episode.z))
        frames = _frames(entry, episode, home(kind), found.block, looks, size)
        said = str(found.names[kind][pick])
        return Example(kind, episode, found.scores[home(kind)][where], step, said, frames, looks)
    return None


def _frames(
    entry: WorldEntry, episode: Watched, kind: str, block: int, looks: Sequence[int], size: int
) -> UInt8[np.ndarray, "n S W 3"]:
    world, seen = entry.make(size), {}
    assert isinstance(world, ArmEnv)

    def look(step: int, shown: dict[str, np.ndarray]) -> None:
        if step // block in looks:
            seen[step // block] = shown["pixels"]

    act_out(entry, world, kind, episode.seed, block, look)
    return np.stack([seen[t] for t in looks])


def draw_slips(found: SlipStudy, example: Example | None) -> bytes:
    """Return the picture as PNG."""
    figure = new_figure(11.5, 7.6 if example is not None else 4.0)
    parts = figure.subfigures(
        2 if example is not None else 1, 1, height_ratios=(1.0, 1.0)[: 1 + (example is not None)], squeeze=False
    )
    left, right = parts[0, 0].subplots(1, 2)
    _curves(style(left), found)
    _delays(style(right), found)
    if example is not None:
        _timeline(parts[1, 0], found, example)
    return png(figure)


def _curves(axes: Axes, found: SlipStudy) -> None:
    for colour, (kind, points) in zip(CLASSES, found.monitor.curve.items()):
        if np.isfinite(points).all():
            axes.plot(100 * points[:, 0], 100 * points[:, 1], color=colour, linewidth=2, label=TITLES[kind])
    axes.axvline(100 * found.config.false_alarms, color=MUTED, linestyle=":", linewidth=1.5)
    axes.set_xlabel("calm episodes with a false alarm, %", color=INK)
    axes.set_ylabel(f"noticed within {WINDOW} control steps, %", color=INK)
    axes.set_ylim(-3, 103)
    axes.set_xlim(-0.3, 10.3)
    axes.set_title("what is noticed, at what price (dotted: the promise)", fontsize=10, color=INK, loc="left")
    axes.legend(fontsize=8, frameon=False, loc="lower right")


def _delays(axes: Axes, found: SlipStudy) -> None:
    bins = np.arange(-0.5, LATE + 1, 2)
    kinds = [
        (k, c) for c, k in zip(CLASSES, found.monitor.noticed) if np.isfinite(found.monitor.noticed[k].delay).any()
    ]
    for place, (kind, colour) in enumerate(kinds):
        delay = found.monitor.noticed[kind].delay
        counts, _ = np.histogram(delay[np.isfinite(delay)], bins)
        heights = 0.85 * counts / max(1, counts.max())
        axes.bar(bins[:-1] + 1, heights, 1.8, bottom=len(kinds) - 1 - place, color=colour)
        missed = int((~np.isfinite(delay)).sum())
        axes.text(LATE + 1, len(kinds) - 0.7 - place, f"{missed} of {len(delay)} never", fontsize=8, color=INK)
    axes.set_yticks(np.arange(len(kinds)) + 0.3, [TITLES[kind] for kind, _ in reversed(kinds)])
    axes.axvline(WINDOW + 0.5, color=MUTED, linestyle=":", linewidth=1.5)
    axes.set_xlim(-1, LATE + 11)
    axes.set_xticks(range(0, LATE + 1, 10))
    axes.set_xlabel("control steps from the event to the alarm", color=INK)
    axes.set_title("how soon", fontsize=10, color=INK, loc="left")


def _timeline(part: SubFigure, found: SlipStudy, example: Example) -> None:
    grid = part.add_gridspec(2, max(1, len(example.looks)), height_ratios=(1.0, 1.0))
    axes = style(part.add_subplot(grid[0, :]))
    at = np.arange(len(example.score)) * found.block
    shown = np.isfinite(example.score)
    axes.plot(at[shown], example.score[shown], "-o", color=OWN, markersize=3, linewidth=1.5, label="score")
    axes.axhline(found.monitor.above, color=WARN, linewidth=1.2, linestyle="--", label="alarm above this")
    axes.axvline(example.step, color=INK, linewidth=1.2, linestyle=":", label="the simulator says: lost")
    loud = shown & (example.score > found.monitor.above)
    axes.plot(at[loud], example.score[loud], "o", color=WARN, markersize=6)
    axes.set_xlabel("control step", color=INK)
    axes.set_title(f"one {TITLES[example.kind]}, called '{example.name}'", fontsize=10, color=INK, loc="left")
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    for column, (look, frame) in enumerate(zip(example.looks, example.frames)):
        below = part.add_subplot(grid[1, column])
        below.imshow(frame)
        below.set_xticks([])
        below.set_yticks([])
        colour = WARN if loud[look] else MUTED
        for side in below.spines.values():
            side.set_color(colour)
            side.set_linewidth(2.5 if loud[look] else 0.8)
        below.set_title(f"step {look * found.block}{': alarm' if loud[look] else ''}", fontsize=8.5, color=colour)
