"""What the study from arm to arm says to people, and its figure."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from jepaflow.diagnosis.canvas import CLASSES, INK, MUTED, new_figure, png, style
from jepaflow.diagnosis.resample import Estimate
from jepaflow.diagnosis.words import show
from jepaflow.studies.arms import SHOWN, Arm, Way, arms_rows
from jepaflow.studies.outcome import Outcome, Table
from jepaflow.training.config import TrainConfig

COLOURS = {"zero-shot": CLASSES[3], "realigned": CLASSES[1], "tuned": CLASSES[0], "scratch": CLASSES[7]}
WORDS = {
    "zero-shot": "zero-shot",
    "realigned": "actions re-aligned",
    "tuned": "trained on",
    "scratch": "from scratch",
}
BOTTOM = -2.0
"""Where values lie below this, those below −1 are drawn on a logarithmic scale."""


def arms_outcome(
    ways: Sequence[Way], config: TrainConfig, arms: tuple[Arm, Arm], steps: Sequence[float], seeds: int
) -> Outcome:
    """Page and figures.

    Args:
        ways: there and back.
        config: of the training.
        arms: first and second.
        steps: seconds of a model step of each.
        seeds: of each setting.
    """
    names = [arm.name for arm in arms]
    counts = ", ".join(f"{a.name}: {len(a.split.train)} to train on, {len(a.split.val)} held out" for a in arms)
    method = (
        f"Episodes: {counts}. {seeds} seeds; preset {config.preset}, {config.batch_size} windows a step, first camera.",
        "Both stores in a common form: actions z-scored by the training episodes and filled up with zeros to one width, in the "
        "order of each arm's own joints. A model step is "
        + ", ".join(f"{s:.2g} s ({n})" for s, n in zip(steps, names))
        + ".",
        f"First a model of one arm ({config.steps} steps). On the other arm: zero-shot; re-aligned (only the first, linear layer of the "
        f"action encoder is fitted, on latents of the episodes given); trained on, and from scratch, {max(1, config.steps // 2)} steps "
        "each on the same episodes.",
        "All are judged on the same held-out episodes of the other arm. R²: a linear probe fitted on that arm's training episodes.",
    )
    limits = [
        f"Reduced for this machine: {config.steps} and {max(1, config.steps // 2)} steps, frames of 64 px. From scratch would catch up "
        "with more steps.",
        "Skill is a ratio in each model's own latent space. A model that sees little of the other arm may foretell that little well: "
        "read it beside R², which is in one unit for all.",
        "Success in closed loop is not measured: at so few steps no model plans well enough.",
    ]
    if few := [a for a in arms if len(a.split.val) < 10]:
        limits.append(
            f"{few[0].name} has {len(few[0].split.val)} held-out episodes: its intervals are narrower than they should be, or none."
        )
    caption = (
        f"Left: skill one model step ahead; right: R². Points: means of {seeds} seeds with 95 % intervals over seeds and held-out "
        "episodes. Dashed: the floor (“nothing changes”; the mean)."
    )
    return Outcome(
        title=f"From {names[0]} to {names[1]} and back",
        question="What does a world model of one arm save on another?",
        method=method,
        answers=tuple(line for way in ways for line in _answers(way)),
        limits=tuple(limits),
        captions={"arms": caption},
        tables=tuple(_table(way) for way in ways),
        rows=arms_rows(ways, "transfer", seeds),
        facts={"ways": [_facts(way) for way in ways]},
    )


def _answers(way: Way) -> list[str]:
    """Three sentences: as it is, re-aligned, trained on against from scratch."""
    most, zero = way.sizes[-1], way.figures["zero-shot", 0]
    again = way.figures["realigned", most]
    said = [
        f"{way.home} → {way.away}, zero-shot: skill@1 {show(zero['skill@1'])}, of which the right actions bring {show(zero['gain@1'])}; "
        f"re-aligned on {most} episodes {show(again['skill@1'])}, the right actions {show(again['gain@1'])}."
    ]
    parts = [
        f"{size} episodes {show(way.figures['tuned', size]['skill@1'])} against {show(way.figures['scratch', size]['skill@1'])} "
        f"({_verdict(one)}: {show(one)})"
        for size, one in way.saved.items()
    ]
    said.append(f"{way.home} → {way.away}, trained on against from scratch, skill@1: {'; '.join(parts)}.")
    if way.target is not None:
        read = [
            f"{size} episodes {show(way.figures['tuned', size][way.target])} against {show(way.figures['scratch', size][way.target])}"
            for size in way.sizes
            if way.target in way.figures["tuned", size]
        ]
        said.append(
            f"{way.home} → {way.away}, R² of the {way.target[:-3]}: zero-shot {show(zero[way.target])}; trained on against from "
            f"scratch {'; '.join(read)}."
        )
    return said


def _verdict(saved: Estimate) -> str:
    if not math.isfinite(saved.low) or saved.low <= 0 <= saved.high:
        return "no sure difference"
    return "gains" if saved.value > 0 else "loses"


def _table(way: Way) -> Table:
    names = [f"skill@{h}" for h in SHOWN] + ["gain@1"] + [n for n in way.figures["zero-shot", 0] if n.endswith("_r2")]
    rows = [
        (WORDS[kind], str(size) if size else "–", *(show(figures[n]) if n in figures else "–" for n in names))
        for (kind, size), figures in way.figures.items()
    ]
    words = {"gain@1": "what the right actions add @1"}
    heads = ("model", f"episodes of {way.away}", *(words.get(n, n.replace("_r2", ", R²")) for n in names))
    return Table(
        f"{way.home} → {way.away}", heads, tuple(rows), "Brackets: 95 % intervals over seeds and held-out episodes."
    )


def _facts(way: Way) -> dict[str, Any]:
    def triples(name: str) -> list[list[Any]]:
        return [
            [kind, size, one[name].value, one[name].low, one[name].high]
            for (kind, size), one in way.figures.items()
            if name in one
        ]

    known = {"skill@1": triples("skill@1")} | ({way.target: triples(way.target)} if way.target else {})
    return {"home": way.home, "away": way.away, "figures": known}


def draw_arms(outcome: Outcome) -> dict[str, bytes]:
    """Skill and R² against the number of the other arm's episodes, there and back."""
    ways = outcome.facts["ways"]
    figure = new_figure(10.4, 7.6)
    axes = figure.subplots(len(ways), 2, squeeze=False)
    for row, way in zip(axes, ways):
        for ax, (name, points) in zip(row, way["figures"].items()):
            _draw(ax, name, points, way)
        for ax in row[len(way["figures"]) :]:
            ax.set_axis_off()
            ax.text(0.5, 0.5, f"{way['away']}: too few episodes\nfor a probe", ha="center", fontsize=9, color=MUTED)
    axes[0, 0].legend(frameon=False, fontsize=8)
    figure.suptitle(outcome.title, fontsize=11, color=INK)
    return {"arms": png(figure)}


def _draw(ax: Axes, name: str, points: list[list[Any]], way: dict[str, Any]) -> None:
    style(ax)
    sizes = sorted({size for _, size, *_ in points if size})
    for index, (kind, colour) in enumerate(COLOURS.items()):
        some = [(size, value, low, high) for k, size, value, low, high in points if k == kind]
        if not some or (kind == "realigned" and name.endswith("_r2")):  # the latents are those of zero-shot
            continue
        if kind == "zero-shot":
            _, value, low, high = some[0]
            ax.axhline(value, color=colour, linewidth=1.4, label=WORDS[kind])
            if low is not None and high is not None:
                ax.axhspan(low, high, color=colour, alpha=0.1, linewidth=0)
            continue
        at = [size * 1.04 ** (index - 2) for size, *_ in some]
        values = [value for _, value, *_ in some]
        below = [v - (v if low is None else low) for _, v, low, _ in some]
        above = [(v if high is None else high) - v for _, v, _, high in some]
        ax.errorbar(
            at, values, [below, above], fmt="o-", color=colour, markersize=4.5, linewidth=1.3, label=WORDS[kind]
        )
    ax.axhline(0, color=MUTED, linewidth=1, linestyle="--")
    low = ax.get_ylim()[0]
    if low < BOTTOM:
        ax.set_yscale("symlog", linthresh=1.0)
        ticks = [-100, -30, -10, -3, -1, 0, 1]
        ax.set_yticks([t for t in ticks if t >= 1.2 * low], [str(t).replace("-", "−") for t in ticks if t >= 1.2 * low])
    ax.set_ylim(min(low, -0.02), min(1.02, ax.get_ylim()[1]))
    ax.set_xscale("log")
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.set_xticks([], minor=True)
    ax.set_xlim(sizes[0] / 1.4, sizes[-1] * 1.4)
    ax.set_xlabel(f"episodes of {way['away']} (logarithmic)", fontsize=9, color=INK)
    skill = "skill, 1 model step ahead" + ("\n(below −1: logarithmic)" if low < BOTTOM else "")
    ax.set_ylabel(skill if name == "skill@1" else f"R² of the {name[:-3]}", fontsize=9, color=INK)
    ax.set_title(f"{way['home']} → {way['away']}", fontsize=9, color=INK)
