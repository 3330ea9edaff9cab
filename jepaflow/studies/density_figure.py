"""The figure of a density study."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from jepaflow.diagnosis.canvas import CLASSES, GRID, INK, MUTED, OTHER, OWN, new_figure, png, style
from jepaflow.diagnosis.words import number
from jepaflow.studies.density_page import figure_words
from jepaflow.studies.outcome import Outcome

BOTTOM = -0.6
"""Skill below this is off the chart, and written at its edge."""
FAMILIES = (("epochs", OTHER, 1.03), ("steps", OWN, 0.97))
"""Colour, and how far to the side of its size a point is drawn."""


def draw_density(outcome: Outcome) -> dict[str, bytes]:
    """The figure: skill near and far, what a probe reads, effective rank."""
    facts = outcome.facts
    probes = [name for name in facts["growths"]["steps"] if name.endswith("_r2")][:2]
    shown = [name for name in ("skill@1", "skill@10", *probes, "success@1") if name in facts["growths"]["steps"]]
    rows = (len(shown) + 3) // 2
    figure = new_figure(10.4, 4.0 * rows)
    axes = figure.subplots(rows, 2, squeeze=False).ravel()
    for ax, name in zip(axes, shown):
        _grow(ax, facts["growths"], name, facts["success"] if name == "success@1" else {})
    _rank(axes[len(shown)], facts)
    _jolts(axes[len(shown) + 1], facts)
    for ax in axes[len(shown) + 2 :]:
        ax.set_axis_off()
    for ax in (axes[0], *(axes[i] for i, name in enumerate(shown) if name == "success@1")):
        ax.legend(fontsize=8, loc="lower right", edgecolor="none", framealpha=0.9)
    figure.suptitle(outcome.title, fontsize=11, color=INK)
    return {"density": png(figure)}


def _ticks(ax: Axes, sizes: Sequence[int], top: float) -> None:
    ax.set_xscale("log")
    ax.set_xlim(sizes[0] * 0.85, top)
    ax.set_xticks([*sizes, 4 * sizes[-1]] if top > 2 * sizes[-1] else list(sizes))
    ax.set_xticks([], minor=True)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_xlabel("training episodes (logarithmic)", fontsize=9, color=INK)
    ax.axvline(sizes[-1], color=GRID, linewidth=1.5, zorder=0)


def _grow(ax: Axes, growths: dict[str, Any], name: str, known: Mapping[str, float]) -> None:
    style(ax)
    law = growths["steps"][name]["law"]
    for family, colour, shift in FAMILIES:
        one = growths[family][name]
        sizes = one["sizes"]
        for size, each in zip(sizes, one["seeds"]):
            ax.plot([size * shift] * len(each), each, ".", color=colour, markersize=5, alpha=0.5, mew=0)
        at = [size * shift for size in sizes]
        below = [v - (v if lo is None else lo) for v, lo in zip(one["value"], one["low"])]
        above = [(v if hi is None else hi) - v for v, hi in zip(one["value"], one["high"])]
        ax.errorbar(
            at,
            one["value"],
            [below, above],
            fmt="o",
            color=colour,
            markersize=4.5,
            linewidth=1.1,
            label=f"equal {family}",
        )
    ax.plot(law["n"], law["value"], "-", color=OWN, linewidth=1.6, label="power law of equal steps")
    bounds = [(n, lo, hi) for n, lo, hi in zip(law["n"], law["low"], law["high"]) if lo is not None and hi is not None]
    at_n, low, high = zip(*bounds) if bounds else ((), (), ())
    ax.fill_between(at_n, low, high, color=OWN, alpha=0.12, linewidth=0)
    floors = {which.replace("_", " "): value for which, value in known.items() if which != "replay"}
    best = max(floors, key=lambda which: floors[which]) if floors else ""
    floor = best or ("the mean" if name.endswith("_r2") else "nothing changes")
    ax.axhline(floors.get(best, 0.0), color=MUTED, linewidth=1, linestyle="--", label=f"floor: {floor}")
    ax.set_ylim(bottom=max(ax.get_ylim()[0], BOTTOM), top=min(1.02, ax.get_ylim()[1]))
    for family, colour, shift in FAMILIES:
        for size, value in zip(sizes, growths[family][name]["value"]):
            if value < (edge := ax.get_ylim()[0]):
                ax.annotate(
                    f"↓ {number(value)}",
                    (size * shift, edge),
                    xytext=(4, 4 if family == "steps" else 15),  # both may lie below
                    textcoords="offset points",
                    fontsize=8,
                    color=colour,
                )
    ax.set_ylabel(figure_words(name), fontsize=9, color=INK)
    _ticks(ax, sizes, 4.4 * sizes[-1])


def _rank(ax: Axes, facts: dict[str, Any]) -> None:
    style(ax)
    for family, colour in (("epochs", OTHER), ("steps", CLASSES[0])):
        values = facts["effective_rank"][family]
        ax.plot(
            facts["sizes"],
            [v for v, _, _ in values],
            "o-",
            color=colour,
            markersize=4.5,
            linewidth=1.4,
            label=f"equal {family}",
        )
        ax.fill_between(
            facts["sizes"],
            [lo for _, lo, _ in values],
            [hi for _, _, hi in values],
            color=colour,
            alpha=0.12,
            linewidth=0,
        )
    ax.set_ylabel("effective rank of the latents\n(directions; band: min and max of the seeds)", fontsize=9, color=INK)
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    _ticks(ax, facts["sizes"], 1.15 * facts["sizes"][-1])


def _jolts(ax: Axes, facts: dict[str, Any]) -> None:
    style(ax)
    words = {"frozen_auroc": "frozen", "jump_auroc": "jump", "jump_auroc_copy": "jump, by repeating the last frame"}
    for (name, label), colour in zip(words.items(), (CLASSES[0], CLASSES[1], MUTED)):
        values = facts["jolts"][name]
        if len(values) == len(facts["sizes"]):
            ax.plot(
                facts["sizes"], [v for v, *_ in values], "o-", color=colour, markersize=4.5, linewidth=1.4, label=label
            )
            low, high = [lo for _, lo, _ in values], [hi for *_, hi in values]
            ax.fill_between(facts["sizes"], low, high, color=colour, alpha=0.12, linewidth=0)
    ax.axhline(0.5, color=MUTED, linewidth=1, linestyle="--")
    ax.set_ylabel(
        "surprise at an impossible frame, AUROC\n(equal steps; band: min and max of the seeds)", fontsize=9, color=INK
    )
    ax.legend(frameon=False, fontsize=8)
    _ticks(ax, facts["sizes"], 1.15 * facts["sizes"][-1])
