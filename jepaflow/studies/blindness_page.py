"""What the post-mortem says to people: a table of symptoms, a sentence for each cause, a figure."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jepaflow.diagnosis.canvas import CLASSES, INK, MUTED, new_figure, png, style
from jepaflow.diagnosis.words import number, plain, show
from jepaflow.studies.blindness import CAUSES, FEW, HEALTHY, PIECE, STRIDE, Autopsy, Ill, Symptom, blindness_rows
from jepaflow.studies.outcome import Outcome, Table, trained_on
from jepaflow.training.config import TrainConfig

BOTTOM = -1.0
CLEAR = 5.0
"""Deviations between seeds from which a symptom is called clear."""


def blindness_outcome(
    found: Autopsy, config: TrainConfig, data: str, step_seconds: float, held_out: int, seeds: int
) -> Outcome:
    """Page and figures.

    Args:
        found: the study.
        config: of the healthy training.
        data: what the dataset is called.
        step_seconds: of a model step of the healthy training.
        held_out: fresh recordings that judge.
        seeds: of each cause.
    """
    right = sum(name == ill.name for ill in found.ills for name in found.named[ill.name])
    runs = sum(len(names) for names in found.named.values())
    row = next(r for r in blindness_rows(found, "x", seeds) if r.name == "x/named")
    first = (
        f"{right} of {runs} runs are put to their own cause by their symptoms alone "
        f"({number(100 * row.low, 0)} – {number(100 * row.high, 0)} %; chance {number(100 / len(found.ills), 0)} %)."
    )
    method = (
        f"{data}: each cause alone, {seeds} seeds, {config.steps} optimizer steps of {config.batch_size} windows (one-step loss: "
        f"as many frames a step), preset {config.preset}; everything else as in the healthy runs: {CAUSES[HEALTHY]}.",
        f"Fresh recordings: the {held_out} that the healthy runs hold out, with their true actions; no run of any cause was trained "
        "on them.",
        f"“Few” and “leaky” have the same {FEW} recordings; the leaky split cuts them into pieces of {PIECE} model steps, "
        f"one every {STRIDE}, and holds out a tenth of the pieces, as a split over windows would.",
        f"A symptom's distance from the healthy runs is counted in standard deviations between seeds of one cause; {CLEAR:g} "
        "is called clear.",
        "Naming: each run in turn goes to the cause whose other runs' mean symptoms are nearest, symptoms scaled by their spread.",
    )
    limits = (
        trained_on(config)
        + " The healthy runs may not be as good as they could be, and what only shows late does not show here.",
        "One dataset and causes that come alone; in the wild several come together.",
        "Runs of one cause differ in their seed alone and share their recordings: that each is named rightly here does not say that "
        "these figures name a cause on another dataset.",
        f"{seeds} seeds: a nearest-mean rule says that symptoms differ, not that a threshold of the report is right.",
        f"“Small skip” is judged in its own model steps, {config.block} times shorter: its skills are not those of the others' seconds.",
    )
    return Outcome(
        title=f"Why is it blind? {data}",
        question="Which symptoms in the report tell the usual causes of a blind model apart?",
        method=method,
        answers=(first, _caught(found), *(_sentence(found, ill) for ill in found.ills)),
        limits=limits,
        captions={"blindness": _caption()},
        tables=(_table(found),),
        rows=blindness_rows(found, f"blindness/{data}", seeds),
        facts={**_facts(found), "step_seconds": step_seconds},
    )


def _caught(found: Autopsy) -> str:
    """What the verdict alone says."""
    ills = [ill for ill in found.ills if ill.name != HEALTHY]
    passed = [ill.name.replace("_", " ") for ill in ills if ill.verdicts.count("sighted") > len(ill.verdicts) / 2]
    if not passed:
        return "The verdict alone catches every cause: none leaves most of its runs “sighted”."
    return (
        f"The verdict alone does not do it: most runs of {', '.join(passed)} are “sighted” ({len(passed)} of {len(ills)} causes). It is "
        "the other symptoms that give them away."
    )


def _caption() -> str:
    return (
        "Above: skill on the run's own held-out episodes against the horizon (bands: 95 % over seeds and episodes; dashed: nothing "
        "changes). Below: each symptom's mean over seeds; colour: how many standard deviations between seeds it lies above (orange) "
        "or below (violet) the healthy runs."
    )


def _verdicts(ill: Ill) -> str:
    best = max(sorted(set(ill.verdicts)), key=ill.verdicts.count)
    return f"“{best}” in {ill.verdicts.count(best)} of {len(ill.verdicts)}"


def _value(ill: Ill, symptom: Symptom) -> str:
    estimate = ill.figures[symptom.key]
    return plain(estimate.value) if symptom.name == "gaussian_distance" else show(estimate)


def _sentence(found: Autopsy, ill: Ill) -> str:
    """A cause with its verdict and what gives it away."""
    named = sum(name == ill.name for name in found.named[ill.name])
    head = f"{ill.name.replace('_', ' ').capitalize()} ({CAUSES[ill.name]}): verdict {_verdicts(ill)}"
    if ill.name == HEALTHY:
        return f"{head}; skill@1 {show(ill.figures['skill@1'])}."
    clear = [(s, away) for s, away in found.tells(ill) if abs(away) >= CLEAR][:3]
    if not clear:
        return f"{head}; no symptom is clear; named rightly {named} of {len(ill.verdicts)} times."
    parts = [
        f"{s.words} {plain(ill.figures[s.key].value)} instead of {plain(found.healthy.figures[s.key].value)}"
        for s, _ in clear
    ]
    return f"{head}; given away by {'; '.join(parts)}; named rightly {named} of {len(ill.verdicts)} times."


def _table(found: Autopsy) -> Table:
    rows = []
    for ill in found.ills:
        cells = [_value(ill, s) if s.key in ill.figures else "–" for s in found.symptoms]
        rows.append(
            (
                ill.name.replace("_", " "),
                ", ".join(ill.verdicts),
                *cells,
                ", ".join(n.replace("_", " ") for n in found.named[ill.name]),
            )
        )
    note = (
        "Brackets: 95 % intervals over seeds and episodes, for gaps, motion and rank the min and max of the seeds. Last column: the "
        "cause that each seed's run was put to."
    )
    return Table("Symptoms", ("cause", "verdicts", *(s.words for s in found.symptoms), "named as"), tuple(rows), note)


def _facts(found: Autopsy) -> dict[str, Any]:
    curves = {ill.name: [[e.value, e.low, e.high] for e in ill.skills] for ill in found.ills}
    away = {ill.name: {s.key: z for s, z in found.tells(ill)} for ill in found.ills}
    values = {
        ill.name: {s.key: ill.figures[s.key].value for s in found.symptoms if s.key in ill.figures}
        for ill in found.ills
    }
    return {"curves": curves, "away": away, "values": values, "words": {s.key: s.words for s in found.symptoms}}


def draw_blindness(outcome: Outcome) -> dict[str, bytes]:
    """Skill against the horizon for each cause, and the heat map of symptoms."""
    facts = outcome.facts
    figure = new_figure(10.4, 9.4)
    above, below = figure.subplots(2, 1, height_ratios=(1.0, 1.15))
    _curves(above, facts["curves"])
    _heat(below, facts)
    figure.suptitle(outcome.title, fontsize=11, color=INK)
    return {"blindness": png(figure)}


def _curves(ax: Axes, curves: dict[str, list[list[float]]]) -> None:
    style(ax)
    for colour, (name, values) in zip(
        (*CLASSES[:5], *CLASSES[6:]), curves.items()
    ):  # two of them are hard to tell apart
        known = [(h, *each) for h, each in enumerate(values, 1) if all(x is not None for x in each)]
        steps = [h for h, *_ in known]
        ax.plot(
            steps,
            [v for _, v, _, _ in known],
            "o-",
            color=colour,
            markersize=4,
            linewidth=1.6,
            label=name.replace("_", " "),
        )
        ax.fill_between(
            steps, [lo for *_, lo, _ in known], [hi for *_, hi in known], color=colour, alpha=0.1, linewidth=0
        )
    ax.axhline(0, color=MUTED, linewidth=1, linestyle="--", label="floor: nothing changes")
    ax.set_ylim(max(BOTTOM, ax.get_ylim()[0]), 1.02)
    ax.set_xlabel("model steps ahead, open loop (small skip: shorter steps)", fontsize=9, color=INK)
    ax.set_ylabel("skill on the run's own held-out episodes", fontsize=9, color=INK)
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _heat(ax: Axes, facts: dict[str, Any]) -> None:
    causes, keys = list(facts["values"]), list(facts["words"])
    away = np.array([[facts["away"][c].get(k, np.nan) for k in keys] for c in causes], float)
    image = ax.imshow(np.clip(away, -15, 15), cmap="PuOr_r", vmin=-15, vmax=15, aspect="auto")
    for row, cause in enumerate(causes):
        for column, key in enumerate(keys):
            value = facts["values"][cause].get(key)
            text = "–" if value is None else plain(value)
            dark = np.isfinite(away[row, column]) and abs(away[row, column]) > 9
            ax.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else INK)
    ax.set_xticks(
        range(len(keys)),
        [facts["words"][k].replace("1, ", "1,\n").replace("10, ", "10,\n").replace(": ", ":\n") for k in keys],
        fontsize=7.5,
        rotation=40,
        ha="right",
    )
    ax.set_yticks(range(len(causes)), [c.replace("_", " ") for c in causes], fontsize=9)
    ax.tick_params(length=0, colors=INK)
    for side in ax.spines.values():
        side.set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8)
    bar.set_label("distance from healthy, in standard\ndeviations between seeds (cut at 15)", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=8)
