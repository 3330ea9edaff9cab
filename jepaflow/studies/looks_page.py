"""What the study of looks says to people, and its figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jepaflow.diagnosis.canvas import CLASSES, INK, MUTED, new_figure, png, style
from jepaflow.diagnosis.resample import Estimate
from jepaflow.diagnosis.words import number, show
from jepaflow.studies.looks import Look, looks_rows
from jepaflow.studies.outcome import Outcome, Table, trained_on
from jepaflow.studies.success import FLOORS
from jepaflow.training.config import TrainConfig

WORDS = {
    "skill@1": "skill, 1 model step ahead",
    "skill@5": "skill, 5 model steps ahead",
    "success": "success in closed loop",
    "agreement": "latent agreement with the usual look",
}
BOTTOM = -1.5
"""Values below this are off the chart, and written at its edge."""
FAR, KEPT = 0.5, 0.95
"""Latent agreement below which a look is said to move latents far, and from which it hardly moves them. Whether it is misread,
probes say: the latents of a model that has seen many looks may well tell which look it is."""


def looks_outcome(
    found: Sequence[Look],
    told: Mapping[str, str],
    record: Mapping[str, Any],
    config: TrainConfig,
    data: str,
    step_seconds: float,
    episodes: int,
) -> Outcome:
    """Page and figures.

    Args:
        found: the usual look first.
        told: what was changed in each.
        record: what the training's recordings were collected with, where it is known.
        config: of the training.
        data: what the dataset is called.
        step_seconds: of a model step.
        episodes: of each recording.
    """
    seeds, varied, fixed = len(found[0].seeds["skill@1"]), record.get("vary", []), record.get("fix", [])
    recorded = "all of the usual look"
    if varied or fixed:
        ways = [f"{', '.join(varied)} drawn anew in every episode"] * bool(varied) + [", ".join(fixed)] * bool(fixed)
        recorded = f"all of recordings with {' and '.join(ways)}"
    method: tuple[str, ...] = (
        f"{seeds} models of {data} ({config.steps} optimizer steps of {config.batch_size} windows, preset {config.preset}"
        f"{', told the joints and grounded in them' * bool(config.proprio and config.loss.grounding)}), {recorded}; {episodes} "
        f"episodes recorded anew in each look: the same motions, one factor changed. A model step is {step_seconds:.2g} s.",
        "Changed: " + "; ".join(f"{name}: {what}" for name, what in told.items() if what) + ".",
        "R²: probes fitted on training episodes. Agreement: 1 − squared distance between the latents of the same instant in both "
        "looks / the variance in the usual one (1: the same; 0: no nearer than the mean latent).",
    )
    if succeeded := "success" in found[0].figures:
        method += ("The same trials are planned in every look, the goal's picture taken in that look, too.",)
    limits: tuple[str, ...] = (
        trained_on(config) + ("" if succeeded else " Success in closed loop is not measured (--success does)."),
        "One value of each factor, chosen by hand: how much is lost depends on how much is changed.",
        "Skill in a changed look is a ratio in the latents of what is seen there: a model may foretell well what it misreads. R² "
        "says whether it misreads.",
    )
    if varied:
        limits += ("A look may lie beyond the range that the training's looks were drawn from.",)
    if succeeded:
        limits += (
            f"Success is compared {len(found) - 1} times at 95 % each: a seeming fall in forty comparisons is to be expected, and more "
            f"of them, since intervals over {seeds} seeds are rather too narrow.",
        )
    if succeeded and config.proprio:
        limits += (
            "The joints of the goal are told beside its picture, and they say in any light where the hand shall be.",
        )
    model = f"whose recordings vary in {', '.join(varied)}" if varied else "that never saw one"
    return Outcome(
        title=f"In another light: {data}" + ", told its joints" * config.proprio,
        question=f"What does a change of light, colour, camera or clutter cost a model {model}?",
        method=method,
        answers=_answers(found),
        limits=limits,
        captions={"looks": "Means over seeds with 95 % intervals over seeds and episodes or trials; dots: single seeds. Dashed: the floor "
                  "(“nothing changes”, the mean, the best floor of success); grey line: the usual look."},
        tables=(_table(found, told),),
        rows=looks_rows(found, f"transfer/{data}", seeds),
        facts=_facts(found),
    )  # fmt: skip


def _answers(found: Sequence[Look]) -> tuple[str, ...]:
    usual, changed = found[0], found[1:]
    names = [n for n in usual.figures if n.startswith("skill@") or n.endswith("_r2") or n == "success"]
    said = [_reached(found)] if "success" in names else []
    said.append(_sorted(changed))
    ordered = sorted(changed, key=lambda look: look.figures["agreement"].value)
    said.append("Latent agreement with the usual look: " + _listed(ordered, "agreement") + ".")
    for name in names:
        words = f"R² of the {name[:-3]}" if name.endswith("_r2") else WORDS.get(name, name)
        said.append(f"{words}: {show(usual.figures[name])} in the usual look; {_listed(ordered, name)}.")
    return tuple(said)


def _reached(found: Sequence[Look]) -> str:
    """Which looks surely cost success, trial by trial against the usual one, and which do not."""
    usual, ordered = found[0], sorted(found[1:], key=lambda look: look.figures["success_change"].value)
    lost = [look for look in ordered if look.figures["success_change"].high < 0]
    rest = [look.name for look in ordered if look not in lost]
    floor = max(usual.bounds[which] for which in FLOORS)
    parts = [f"Success {show(usual.figures['success'])} in the usual look (floor {number(floor)})"]
    if lost:
        falls = ", ".join(f"{look.name} {show(look.figures['success_change'])}" for look in lost)
        parts.append(f"trial by trial, it surely falls with {falls}")
    if rest:
        parts.append(f"no fall is sure with {', '.join(rest)}")
    return "; ".join(parts) + "."


def _sorted(changed: Sequence[Look]) -> str:
    """Looks in three heaps, by how far they move the latents."""
    heaps: dict[str, list[str]] = {"far": [], "moved": [], "kept": []}
    for look in changed:
        agreed = round(look.figures["agreement"].value, 2)
        heaps["far" if agreed < FAR else "kept" if agreed >= KEPT else "moved"].append(look.name)
    words = {
        "far": f"move far (agreement with the usual look below {FAR:g}) with",
        "moved": "move with",
        "kept": f"hardly move (agreement of {KEPT:g} or more) with",
    }
    parts = [f"{words[heap]} {', '.join(names)}" for heap, names in heaps.items() if names]
    return f"Latents {'; '.join(parts)}."


def _listed(looks: Sequence[Look], name: str) -> str:
    return ", ".join(f"{look.name} {_short(look.figures[name])}" for look in looks)


def _short(one: Estimate) -> str:
    return number(one.value) if abs(one.value) < 100 else f"{one.value:,.0f}".replace("-", "−")


def _table(found: Sequence[Look], told: Mapping[str, str]) -> Table:
    names = [*found[0].figures, *(["success_change"] if "success" in found[0].figures else []), "agreement"]
    rows = [
        (
            look.name,
            told.get(look.name) or "nothing",
            *(show(look.figures[n]) if n in look.figures else "–" for n in names),
        )
        for look in found
    ]
    heads = ("look", "changed", *(n.replace("_r2", ", R²").replace("_change", ", change") for n in names))
    return Table(
        "By look",
        heads,
        tuple(rows),
        "Brackets: 95 % intervals over seeds and episodes (of success: seeds and trials).",
    )


def _facts(found: Sequence[Look]) -> dict[str, Any]:
    figures = {
        look.name: {n: [e.value, e.low, e.high, list(look.seeds[n])] for n, e in look.figures.items()} for look in found
    }
    floor = {look.name: max(look.bounds[which] for which in FLOORS) for look in found if look.bounds}
    return {"looks": figures, "success_floor": floor}


def draw_looks(outcome: Outcome) -> dict[str, bytes]:
    """A panel for each figure, a bar for each look."""
    looks = outcome.facts["looks"]
    usual = next(iter(looks.values()))
    names = ["skill@1", *(n for n in usual if n.endswith("_r2") or n == "success"), "agreement"]
    figure = new_figure(10.4, 3.3 * ((len(names) + 1) // 2))
    axes = figure.subplots((len(names) + 1) // 2, 2, squeeze=False).ravel()
    for ax, name in zip(axes, names):
        _draw(ax, name, looks, outcome.facts["success_floor"] if name == "success" else {})
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    figure.suptitle(outcome.title, fontsize=11, color=INK)
    return {"looks": png(figure)}


def _draw(ax: Axes, name: str, looks: dict[str, Any], floors: dict[str, float]) -> None:
    style(ax)
    known = {look: figures[name] for look, figures in looks.items() if name in figures}
    at = np.arange(len(known))
    values = np.array([v for v, *_ in known.values()])
    error = [[v - lo for v, lo, *_ in known.values()], [hi - v for v, _, hi, _ in known.values()]]
    usual = next(iter(looks))
    ax.bar(at, values, 0.7, color=[CLASSES[0] if look == usual else CLASSES[1] for look in known], alpha=0.55)
    ax.errorbar(at, values, error, fmt="none", color=INK, linewidth=1)
    for x, (*_, seeds) in zip(at, known.values()):
        ax.plot([x + 0.18] * len(seeds), seeds, ".", color=INK, markersize=4, mew=0)
    if usual in known:
        ax.axhline(known[usual][0], color=MUTED, linewidth=0.8)
    for place, look in enumerate(known):
        ax.plot([place - 0.5, place + 0.5], [floors.get(look, 0.0)] * 2, color=MUTED, linewidth=1, linestyle="--")
    low = float(min(lo for _, lo, *_ in known.values()))
    ax.set_ylim(max(BOTTOM, min(-0.05, 1.1 * low)), 1.02)
    for place, value in enumerate(values.tolist()):
        if value < BOTTOM:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            ax.text(place, BOTTOM + 0.08, f"↓ {number(value, 1)}", ha="center", fontsize=8, color=INK, bbox=box)
    ax.set_xticks(at, list(known), fontsize=8, rotation=30, ha="right")
    ax.set_ylabel(WORDS.get(name, f"R² of the {name[:-3]}"), fontsize=9, color=INK)
