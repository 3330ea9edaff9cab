"""The paths of the first trials, as one picture: what a success rate looks like.

Each panel is a trial: the world as the model saw it first, the way that the planner took (dark at the beginning, bright
at the end), the goal as a green cross. The trials are the first of the start list, never chosen by result.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from jepaflow.common.files import atomic_path
from jepaflow.evaluation.outcome import Outcome
from jepaflow.sims.registry import WorldEntry

SIDE = 224
"""Resolution of a panel's background in px."""


def draw_paths(
    path: Path, entry: WorldEntry, outcome: Outcome, goals: Float[np.ndarray, "n d"], trials: int = 12
) -> None:
    """Draw the first `trials` trials into a PNG file.

    Args:
        path: the file.
        entry: the world that the trials ran in.
        outcome: the trials.
        goals: the simulator states whose places were to be reached.
        trials: how many to draw at most.

    Raises:
        JepaflowError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = min(trials, len(outcome))
    columns = min(6, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(1.9 * columns, 2.1 * rows + 0.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"First {count} of {len(outcome)} trials. Goal picture reached: {outcome.ever_rate:.0%}, "
        f"still there at the end: {outcome.end_rate:.0%}",
        fontsize=9,
    )
    world = entry.make(SIDE)
    for i in range(count):
        axes = figure.add_subplot(rows, columns, i + 1)
        world.set_state(outcome.states[i, 0])
        axes.imshow(world.observation()["pixels"])
        way = entry.place(outcome.states[i]) * SIDE - 0.5
        goal = entry.place(goals[i]) * SIDE - 0.5
        axes.plot(way[:, 0], way[:, 1], color="#30508c", linewidth=1.0)
        axes.scatter(way[:, 0], way[:, 1], c=np.arange(len(way)), cmap="viridis", s=7, zorder=3)
        axes.plot(*goal, marker="x", color="#0a8f3c", markersize=9, markeredgewidth=2.5, zorder=4)
        word, colour = (
            ("arrived", "#0a6b2f")
            if outcome.end[i]
            else ("passed", "#8a6a00")
            if outcome.ever[i]
            else ("missed", "#b01020")
        )
        axes.set_title(word, fontsize=8, color=colour, pad=2)
        axes.set_axis_off()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
