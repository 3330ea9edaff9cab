"""Plans to look at: strips of the frames that a plan goes through, and the graph with its routes.

The graph is drawn over the two widest directions of the landmarks' latents (PCA): near in the picture is alike to the model, not
always near in the world. Routes have colours; a plan's line is the wider the likelier it is.
"""

import numpy as np
from jaxtyping import Float
from matplotlib.collections import LineCollection
from numpy import ndarray

from jepaflow.diagnosis.canvas import CLASSES, GRID, INK, MUTED, new_figure, png
from jepaflow.subgoals.ask import Answer

MOST = 14
"""pictures in a strip; of longer plans some are left out"""
NAMES = "ABCDEFGH"


def draw_plans(found: Answer) -> bytes:
    """Return a PNG with a strip for each plan."""
    columns = min(MOST, max(len(frames) for frames in found.frames))
    figure = new_figure(1.05 * columns + 0.4, 1.45 * len(found.plans) + 0.75)
    figure.suptitle(f"{found.title}\n{found.routes_words}", fontsize=9, color=INK, x=0.01, ha="left")
    grid = figure.add_gridspec(len(found.plans), columns, hspace=0.12)
    for row, (plan, frames) in enumerate(zip(found.plans, found.frames, strict=True)):
        shown = np.unique(np.linspace(0, len(frames) - 1, min(columns, len(frames))).round().astype(int))
        for column, index in enumerate(shown):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(frames[index], interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            for side in axes.spines.values():
                side.set_color(CLASSES[plan.route])
                side.set_linewidth(1.5)
            inner = 0 < index < len(frames) - 1
            name = f"#{plan.nodes[index - 1]}" if inner else ("start" if index == 0 else "goal")
            axes.set_xlabel(name, fontsize=7, color=MUTED, labelpad=2)
            if column == 0:
                words = (
                    f"{row + 1}. route {NAMES[plan.route]}: probability {plan.probability:.2g}, cost {plan.cost:.1f}"
                )
                title = axes.set_title(words, fontsize=8, color=CLASSES[plan.route], loc="left", pad=3)
                title.set_in_layout(False)  # it may be wider than its picture
    return png(figure)


def draw_graph(found: Answer) -> bytes:
    """Return a PNG with the graph and the plans on it."""
    graph, here = found.here.graph, found.here
    places = projected(graph.features.astype(float))
    figure = new_figure(8.0, 7.0)
    axes = figure.add_subplot()
    lines = np.stack([places[graph.source], places[graph.indices]], 1)
    axes.add_collection(LineCollection(list(lines), colors=GRID, linewidths=0.3, zorder=1))
    axes.scatter(
        places[: here.start, 0], places[: here.start, 1], s=7, color=MUTED, linewidths=0, zorder=2, label="landmark"
    )
    best = max(1e-300, *(plan.probability for plan in found.plans))  # of very long walks all may be 0
    named: set[int] = set()
    for plan in reversed(found.plans):
        way = places[[here.start, *plan.nodes, here.goal]]
        width = 1.0 + 3.0 * (plan.probability / best) ** 0.5
        label = f"route {NAMES[plan.route]}, {100 * found.shares[plan.route]:.0f} % of the walks drawn"
        axes.plot(
            *way.T,
            color=CLASSES[plan.route],
            linewidth=width,
            alpha=0.85,
            marker="o",
            markersize=3,
            zorder=3,
            label=None if plan.route in named else label,
        )
        named.add(plan.route)
    for node, words, marker in ((here.start, "start", "s"), (here.goal, "goal", "*")):
        axes.scatter(
            places[node, 0], places[node, 1], s=110, marker=marker, color=INK, edgecolors="white", zorder=4, label=words
        )
    axes.set_title(found.title, fontsize=10, color=INK, loc="left")
    axes.set_xlabel("first direction of the landmarks' latents", fontsize=9, color=INK)
    axes.set_ylabel("second direction", fontsize=9, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color(GRID)
    handles, labels = axes.get_legend_handles_labels()
    order = np.argsort(labels)
    axes.legend(
        [handles[i] for i in order], [labels[i] for i in order], fontsize=8, frameon=True, edgecolor=GRID, loc="best"
    )
    return png(figure)


def projected(features: Float[ndarray, "N D"]) -> Float[ndarray, "N 2"]:
    """Return the two widest directions."""
    centred = features - features.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(centred @ axes[:2].T) if len(axes) > 1 else np.pad(centred @ axes[:1].T, ((0, 0), (0, 1)))
