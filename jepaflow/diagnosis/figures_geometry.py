"""Pictures of the geometry: normality over time, isometry, the maps, the neighbours."""

import textwrap

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy import ndarray

from jepaflow.diagnosis.canvas import CLASSES, GOOD, GRID, INK, MUTED, OTHER, OWN, THIRD, WARN, new_figure, png, style
from jepaflow.diagnosis.frames import Kinds
from jepaflow.diagnosis.isometry import Isometry
from jepaflow.diagnosis.neighbours import Example, Neighbours
from jepaflow.diagnosis.normality_time import NormalityOverTime
from jepaflow.diagnosis.panels import Colouring, Panels

PAIR_WORDS = {
    "near": "near, other episodes",
    "order": "order of each frame's nearest",
    "near_within": "near, same episode",
    "all": "all pairs",
}
FLOORS = {"pixels": (OTHER, "s"), "untrained": (THIRD, "D"), "time": (MUTED, "v")}
FLOOR_WORDS = {"pixels": "pixels, 16 px", "untrained": "untrained encoder", "time": "difference in time"}


def draw_normality_time(found: NormalityOverTime) -> bytes:
    """Spread of A² over the directions, and the share that fails, along the episode."""
    figure = new_figure(7.6, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    for axes in (style(left), style(right)):
        axes.set_xlabel("part of the episode", color=INK)
    parts = np.arange(1, len(found.share) + 1)
    names = [f"{part}/{len(parts)}" for part in parts]
    if found.statistic.shape[1] == 0:
        for axes in (left, right):
            axes.text(0.5, 0.5, f"{found.n} samples are too few", transform=axes.transAxes, ha="center", color=MUTED)
        return png(figure)
    shown = np.clip(found.statistic, 0.05, 1e3)
    low, quarter, middle, most, high = np.percentile(shown, [5, 25, 50, 75, 95], axis=1)
    left.vlines(parts, low, high, color=OWN, linewidth=2, alpha=0.6)
    left.vlines(parts, quarter, most, color=OWN, linewidth=9, alpha=0.5, label="half of the directions (line: 90 %)")
    left.plot(parts, middle, "o", color="white", markeredgecolor=OWN, markersize=6, zorder=3, label="median direction")
    if np.isfinite(found.limit):
        left.axhline(found.limit, color=WARN, linewidth=1.5, linestyle="--", label="fails above")
    left.set_yscale("log")
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    left.yaxis.set_minor_locator(NullLocator())
    left.set_ylabel("Anderson–Darling A²", color=INK)
    figure.legend(frameon=False, fontsize=8.5, loc="outside lower left", ncols=3)
    bars = right.bar(parts, 100 * found.share, color=[WARN if s > 0.05 else OWN for s in found.share], width=0.65)
    right.bar_label(bars, [f"{100 * share:.0f}" for share in found.share], fontsize=8.5, color=INK)
    right.set_ylim(0, max(20.0, min(108.0, 125 * float(found.share.max()))))
    right.set_ylabel("% of directions not normal", color=INK)
    right.grid(axis="x", visible=False)
    for axes in (left, right):
        axes.set_xticks(parts, names)
        axes.set_xlim(0.4, len(parts) + 0.6)
    return png(figure)


def draw_isometry(found: Isometry) -> bytes:
    """Left: latent against state distance. Right: every rank correlation with its floors."""
    figure = new_figure(8.4, 4.0 if len(found.of) <= 3 else 4.4)
    left, right = figure.subplots(1, 2, width_ratios=[5, 6])
    _cloud(style(left), found)
    _dots(style(right), found)
    return png(figure)


def _cloud(axes: Axes, found: Isometry) -> None:
    x, y = found.state_distance, found.latent_distance
    axes.hexbin(x, y, gridsize=34, cmap="Blues", mincnt=1, linewidths=0, bins="log")
    edges = np.quantile(x, np.linspace(0, 1, 13))
    inside = [(x >= a) & (x <= b) for a, b in zip(edges, edges[1:]) if b > a]
    if inside:
        centre = [np.median(x[some]) for some in inside]
        low, middle, high = np.array([np.percentile(y[some], [10, 50, 90]) for some in inside]).T
        axes.fill_between(centre, low, high, color=OTHER, alpha=0.18, linewidth=0)
        axes.plot(centre, middle, color=OTHER, linewidth=2, label="median and 80 % of the pairs")
        axes.legend(frameon=False, fontsize=8.5, loc="lower right")
    axes.set_ylim(0, None)
    axes.set_xlabel(f"distance of the {found.words}, {found.unit}", color=INK)
    axes.set_ylabel("latent distance (1: median pair)", color=INK)


def _dots(axes: Axes, found: Isometry) -> None:
    things = list(dict.fromkeys(one.what for one in found.of))
    order = sorted(found.of, key=lambda a: (things.index(a.what), list(PAIR_WORDS).index(a.pairs)))
    for row, one in enumerate(order):
        estimate = one.estimate
        for name, value in one.floors.items():
            colour, marker = FLOORS[name]
            axes.plot(value, row, marker, color=colour, markersize=6, alpha=0.9)
        if np.isfinite(estimate.low):
            axes.plot([estimate.low, estimate.high], [row, row], color=OWN, linewidth=3, alpha=0.45)
        axes.plot(estimate.value, row, "o", color=OWN, markersize=9)
    axes.set_yticks(
        range(len(order)),
        [f"{one.what + ': ' if one.what else ''}{PAIR_WORDS[one.pairs]}" for one in order],
        fontsize=8.5,
    )
    axes.invert_yaxis()
    axes.axvline(0, color=INK, linewidth=1)
    values = [
        v for one in order for v in (one.estimate.value, one.estimate.low, *one.floors.values()) if np.isfinite(v)
    ]
    axes.set_xlim(min(-0.05, min(values, default=0) - 0.05), 1.02)
    axes.set_xlabel("Spearman: latent and state distance", color=INK)
    handles = [Line2D([], [], marker="o", color=OWN, linestyle="", markersize=9, label="the model's latents")]
    known = {name for one in order for name in one.floors}
    for name in [name for name in FLOORS if name in known]:
        colour, marker = FLOORS[name]
        handles.append(Line2D([], [], marker=marker, color=colour, linestyle="", label=FLOOR_WORDS[name]))
    figure = axes.figure
    assert isinstance(figure, Figure)
    figure.legend(handles=handles, frameon=False, fontsize=8.5, loc="outside lower right", ncols=4)


def draw_panels(panels: Panels) -> bytes:
    """A grid: a method a row, a colouring a column, its legend or scale beneath."""
    rows, columns = len(panels.maps), len(panels.colourings)
    lines = max((len(_present(c.kinds)) for c in panels.colourings if c.kinds is not None), default=0)
    foot = max(0.45, 0.2 * lines)
    width = min(2.8, 8.4 / columns)
    figure = new_figure(width * columns, 0.3 + width * rows + foot)
    grid = figure.subplots(rows + 1, columns, squeeze=False, height_ratios=[*[width] * rows, foot])
    for row, (method, points) in enumerate(panels.maps.items()):
        for column, colouring in enumerate(panels.colourings):
            axes: Axes = grid[row, column]
            _points(axes, points, colouring)
            if row == 0:
                axes.set_title(colouring.title, fontsize=10, color=INK)
            if column == 0:
                axes.set_ylabel(method, fontsize=11, color=INK)
    for column, colouring in enumerate(panels.colourings):
        _legend(figure, grid[-1, column], colouring, 0.12 / foot)
    return png(figure)


def _points(axes: Axes, points: ndarray, colouring: Colouring) -> None:
    size = float(np.clip(6000 / max(1, len(points)), 4, 20))
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(GRID)
    if colouring.kinds is not None:
        colours = _class_colours(colouring.kinds)
    else:
        assert colouring.values is not None
        colours = matplotlib.colormaps["viridis"](_scaled(colouring.values))
    axes.scatter(points[:, 0], points[:, 1], c=colours, s=size, linewidths=0)


def _scaled(values: ndarray) -> ndarray:
    """To 0 … 1 between the 2nd and the 98th percentile: one outlier must not grey the rest."""
    low, high = np.percentile(values, [2, 98])
    scaled: ndarray = np.clip((values - low) / (high - low if high > low else 1.0), 0, 1)
    return scaled


def _present(kinds: Kinds) -> list[int]:
    """Classes in the frames, the most frequent first, as many as there are colours less one for the rest."""
    classes, count = np.unique(kinds.index, return_counts=True)
    return [int(c) for c in classes[np.argsort(-count, kind="stable")][: len(CLASSES)]]


def _class_colours(kinds: Kinds) -> list[str]:
    colour = dict(zip(_present(kinds), CLASSES))
    return [colour.get(int(index), "#cbd2d9") for index in kinds.index]


def _legend(figure: Figure, axes: Axes, colouring: Colouring, thickness: float) -> None:
    axes.set_axis_off()
    if colouring.kinds is not None:
        labels = colouring.kinds.labels
        handles = [
            Line2D([], [], marker="o", linestyle="", color=colour, markersize=5, label=_short(labels[index]))
            for index, colour in zip(_present(colouring.kinds), CLASSES)
        ]
        axes.legend(handles=handles, frameon=False, fontsize=7.5, loc="upper center", borderaxespad=0)
        return
    assert colouring.values is not None
    low, high = np.percentile(colouring.values, [2, 98])
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(low, high if high > low else low + 1), "viridis")
    bar = figure.colorbar(scale, cax=axes.inset_axes((0.05, 1 - thickness, 0.9, thickness)), orientation="horizontal")
    bar.ax.tick_params(labelsize=8, colors=INK)
    if colouring.title.startswith("time"):
        bar.set_ticks([low, (low + high) / 2, high], labels=["start", "middle", "end"])


def _short(label: str) -> str:
    return textwrap.shorten(label, 44, placeholder=" …")


def draw_neighbours(found: Neighbours) -> bytes:
    """A query a row: the frame, its nearest latents of other episodes, and the frame nearest in pixels."""
    examples = found.examples
    columns = max(len(e.pictures) for e in examples)
    views = examples[0].pictures.shape[1]
    tile = 8.4 / columns if views > 1 else 1.2
    figure = new_figure(tile * columns, 0.3 + len(examples) * (tile / views + 0.55))
    grid = figure.subplots(len(examples), columns, squeeze=False)
    for row, example in enumerate(examples):
        for column in range(columns):
            _tile(grid[row, column], example, column, found.unit)
    for column in range(columns):
        title = "query" if column == 0 else "nearest in pixels" if column == columns - 1 else f"nearest latent {column}"
        grid[0, column].set_title(title, fontsize=9, color=INK if column < columns - 1 else OTHER)
    return png(figure)


def _tile(axes: Axes, example: Example, column: int, unit: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    colour = INK if column == 0 else OTHER if column == len(example.pictures) - 1 else GOOD
    for spine in axes.spines.values():
        spine.set_color(colour)
        spine.set_linewidth(1.6)
    if column >= len(example.pictures):
        axes.set_axis_off()
        return
    gap = np.full((example.pictures.shape[2], 2, 3), 255, np.uint8)
    views = [part for view in example.pictures[column] for part in (view, gap)][:-1]
    axes.imshow(np.concatenate(views, 1), interpolation="nearest")
    lines = [f"episode {example.episode[column]}, {example.seconds[column]:.1f} s"]
    if column:
        lines.append(f"latent distance {example.relative[column]:.2f}")
        apart = [f"{thing} {distance[column]:.1f}" for thing, distance in example.apart.items()]
        lines += textwrap.wrap(f"{', '.join(apart)} {unit}", 28) if apart else []
    axes.set_xlabel("\n".join(lines), fontsize=7.5, color=INK, labelpad=2)
