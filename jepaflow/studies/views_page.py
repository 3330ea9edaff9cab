"""What the study of views says to people, and its figure."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jepaflow.data.store import Store
from jepaflow.diagnosis.canvas import CLASSES, INK, MUTED, OTHER, OWN, new_figure, png, style
from jepaflow.diagnosis.resample import Estimate
from jepaflow.diagnosis.words import number, show, trained_for
from jepaflow.studies.outcome import Outcome, Table
from jepaflow.studies.success import bounds_in
from jepaflow.studies.views import View, Views, deviation, views_rows
from jepaflow.training.config import TrainConfig

SUCCESS = "success@1"


def views_outcome(found: Views, config: TrainConfig, store: Store, held_out: int, seeds: int) -> Outcome:
    """Page and figures.

    Args:
        found: the study.
        config: of the training.
        store: of the data.
        held_out: episodes that judge.
        seeds: of each setting.
    """
    episodes, data, fps = config.dataset.episodes or "all", store.path.stem, store.fps
    step_seconds = config.block / fps
    method = (
        f"{data}: {' and '.join(found.cameras)} alone and together; {episodes} training episodes, {seeds} seeds of each, "
        f"{config.steps} optimizer steps of {config.batch_size} windows, preset {config.preset}. “pixels” is the "
        f"primary camera, {store.cameras[0]}.",
        "Stacked: the views are channels of one picture. Fused: one encoder looks at each view, is told which by an embedding, "
        "and the features are averaged; it costs an encoder's pass for each view.",
        f"Judged on the same {held_out} held-out episodes; a model step is {step_seconds:.2g} s. Disturbances on at most 40 of them.",
        "A lost camera shows black or the mean training frame; a late one shows the frame of 1 to 5 control steps before "
        f"({number(1000 / fps, 0)} ms each); a moved one shows its picture 2 or 6 of 64 px down and to the right. The model watches "
        "the disturbed frames, and its forecasts are held against the undisturbed future.",
        "Latent agreement: 1 − squared distance between disturbed and undisturbed latents / their variance (1: the same latent; "
        "0: no nearer than the mean latent). Between views: the latent of one camera alone against that of the other alone.",
    )
    first = found.views[0].figures
    succeeded = SUCCESS in first
    limits = (
        trained_for(config.steps) + ("" if succeeded else "Success in closed loop is not measured."),
        "No model was trained with cameras dropped; that is what would help against a lost one, stacked or fused.",
        "Skill is a ratio in each model's own latent space; what probes read is in one unit for all.",
        f"A deviation between {seeds} seeds is a rough guess. A picture that is shifted is not a camera that sees from elsewhere.",
    )
    caption = (
        "Bars and lines: means over seeds, with 95 % intervals over seeds and held-out episodes; dots: single seeds. Dashed: the "
        "floor (“nothing changes” for skill, the mean for R² and agreement, the best floor for success)."
    )
    return Outcome(
        title=f"One camera or two? {data}",
        question="Does a second view make the model better and more stable, and what if a camera is lost, late or moved?",
        method=method,
        answers=_answers(found, fps),
        limits=limits,
        captions={"views": caption},
        tables=(_table(found), _lost(found)),
        rows=views_rows(found, f"views/{data}", seeds),
        facts=_facts(found, fps),
    )


def _answers(found: Views, fps: float) -> tuple[str, ...]:
    places = [n for n in found.together[0].figures if n.endswith("_r2")]
    said = [
        _best(found, "skill@1", "Skill one model step ahead"),
        *(_best(found, n, f"R² of the {n[:-3]}") for n in places),
    ]
    for name, words in (("skill@1", "Skill one model step ahead"), *((n, f"R² of the {n[:-3]}") for n in places)):
        said.append(f"{words}: {', '.join(f'{v.name} {show(v.figures[name])}' for v in found.views)}.")
    if SUCCESS in found.views[0].figures:
        said.append(_best(found, SUCCESS, "Success in closed loop"))
        said.append(f"Success: {', '.join(f'{v.name} {show(v.figures[SUCCESS])}' for v in found.views)}.")
        said.append(_deviations(found, "success", "successes"))
    said.append(_deviations(found, "skill@1", "skills"))
    return (*said, *(_stable(found, view, fps) for view in found.together))


def _deviations(found: Views, words: str, of: str) -> str:
    each = ", ".join(f"{v.name} {number(deviation(getattr(v, of)), 3)}" for v in found.views)
    return f"Between seeds {words} deviates by {each}."


def _best(found: Views, name: str, words: str) -> str:
    """The better model of all cameras against the better single one."""
    alone, both = (max(some, key=lambda v: v.figures[name].value) for some in (found.alone, found.together))
    one, two = alone.figures[name], both.figures[name]
    apart = two.low > one.high or two.high < one.low
    more = "better with both" if two.value > one.value else "no better with both"
    return (
        f"{words}: {more if apart or two.value <= one.value else 'a little better with both, within the intervals'}: {both.name} "
        f"{show(two)}, {alone.name} alone {show(one)}."
    )


def _stable(found: Views, view: View, fps: float) -> str:
    """How a model of all cameras stands a disturbance."""
    whole = view.disturbed["undisturbed_skill"][0]
    lost = [f"without {c} {show(view.disturbed[f'lost_{c}_mean_skill'][0])}" for c in found.cameras]
    late = max(_lates(view))
    slow = f"{found.cameras[-1]} {number(1000 * late / fps, 0)} ms late {show(view.disturbed[f'late_{late}_skill'][0])}"
    between = show(view.disturbed["between_agreement"][0])
    return (
        f"{view.name.capitalize()}: skill@1 {show(whole)} in order, {', '.join(lost)} (mean picture), {slow}; latent agreement between "
        f"the views {between}."
    )


def _lates(view: View) -> list[int]:
    return sorted(int(n.split("_")[1]) for n in view.disturbed if n.startswith("late_") and n.endswith("_skill"))


def _table(found: Views) -> Table:
    first = found.together[0].figures
    names = [n for n in first if n in ("skill@1", "skill@5", "skill@10", SUCCESS) or n.endswith("_r2")]
    succeeded = SUCCESS in first
    rows = [
        (
            v.name,
            *(show(v.figures[n]) for n in names),
            number(deviation(v.skills), 3),
            *([number(deviation(v.successes), 3)] if succeeded else []),
            show(v.figures["effective_rank"], 1),
            ", ".join(v.verdicts),
        )
        for v in found.views
    ]
    heads = (
        "cameras",
        *("success" if n == SUCCESS else n.replace("_r2", ", R²") for n in names),
        "deviation of skill@1 between seeds",
        *(["deviation of success between seeds"] if succeeded else []),
        "effective rank (min, max)",
        "verdicts",
    )
    return Table("Cameras", heads, tuple(rows), "Brackets: 95 % intervals over seeds and held-out episodes.")


def _lost(found: Views) -> Table:
    rows = []
    for view in found.views:
        for name, estimates in view.disturbed.items():
            if name.endswith("_skill"):
                agreed = view.disturbed.get(name.replace("_skill", "_agreement"))
                words = name.removesuffix("_skill").replace("_", " ")
                same = "1" if agreed is None else show(agreed[0])
                rows.append((view.name, words, show(estimates[0]), show(estimates[-1]), same))
    return Table("Disturbed", ("model", "disturbance", "skill@1", "skill@5", "latent agreement"), tuple(rows))


def _triple(one: Estimate) -> list[float]:
    return [one.value, one.low, one.high]


def _facts(found: Views, fps: float) -> dict[str, Any]:
    def shown(name: str) -> bool:
        return name in ("skill@1", "skill@10", SUCCESS) or name.endswith("_r2")

    usual = {v.name: {n: _triple(e) for n, e in v.figures.items() if shown(n)} for v in found.views}
    return {
        "settings": usual,
        "seeds": {v.name: list(v.skills) for v in found.views},
        "successes": {v.name: list(v.successes) for v in found.views},
        "success_floor": bounds_in(found.views[0].figures)[0] if SUCCESS in found.views[0].figures else {},
        "disturbed": {v.name: {n: _triple(e[0]) for n, e in v.disturbed.items()} for v in found.views},
        "together": [v.name for v in found.together],
        "lates": _lates(found.together[0]),
        "milliseconds": 1000 / fps,
        "cameras": list(found.cameras),
    }


def draw_views(outcome: Outcome) -> dict[str, bytes]:
    """Skill and probes by cameras; a lost or moved camera; a late camera."""
    facts = outcome.facts
    figure = new_figure(10.4, 8.6)
    axes = figure.subplots(2, 2).ravel()
    _settings(axes[0], facts)
    _ways(axes[1], facts, "lost", [f"lost_{c}_{fill}" for c in facts["cameras"] for fill in ("black", "mean")])
    _late(axes[2], facts)
    _ways(axes[3], facts, "moved", [f"moved_{c}_{px}" for c in facts["cameras"] for px in (2, 6)])
    figure.suptitle(outcome.title, fontsize=11, color=INK)
    return {"views": png(figure)}


BOTTOM = -1.5
"""Skill below this is off the chart, and written at its edge."""


def _bars(ax: Axes, at: np.ndarray, width: float, triples: list[list[float]], colour: str, label: str) -> None:
    values = [v for v, _, _ in triples]
    error = [[v - lo for v, lo, _ in triples], [hi - v for v, _, hi in triples]]
    ax.bar(at, values, 0.9 * width, color=colour, alpha=0.55, label=label)
    ax.errorbar(at, values, error, fmt="none", color=INK, linewidth=1)


def _settings(ax: Axes, facts: dict[str, Any]) -> None:
    style(ax)
    settings = facts["settings"]
    names = list(next(iter(settings.values())))
    width = 0.8 / len(settings)
    for index, (colour, (setting, values)) in enumerate(zip(CLASSES, settings.items())):
        at = np.arange(len(names)) + (index - (len(settings) - 1) / 2) * width
        _bars(ax, at, width, [values[n] for n in names], colour, setting)
        for name, seeds in (("skill@1", facts["seeds"]), (SUCCESS, facts.get("successes", {}))):
            if name in names:
                ax.plot([at[names.index(name)]] * len(seeds[setting]), seeds[setting], ".", color=INK, markersize=5)
    ax.axhline(0, color=MUTED, linewidth=1, linestyle="--")
    if SUCCESS in names:  # its floor is not 0
        middle, floor = names.index(SUCCESS), max(facts["success_floor"].values())
        ax.plot([middle - 0.45, middle + 0.45], [floor] * 2, color=MUTED, linewidth=1, linestyle="--")
    labels = ["success" if n == SUCCESS else n.replace("_r2", "\nR²") for n in names]
    ax.set_xticks(range(len(names)), labels, fontsize=9)
    reached = ", success (floor: dashed)" * (SUCCESS in names)
    ax.set_ylabel(f"skill, R² (floor: 0){reached}", fontsize=9, color=INK)
    ax.set_ylim(top=1.12)
    ax.legend(frameon=False, fontsize=8, ncols=len(settings), loc="upper center")


def _ways(ax: Axes, facts: dict[str, Any], what: str, ways: list[str]) -> None:
    """Skill of every model that can be disturbed in some of these ways."""
    style(ax)
    able = [m for m, known in facts["disturbed"].items() if any(f"{w}_skill" in known for w in ways)]
    kinds = ["undisturbed", *ways]
    width = 0.8 / len(able)
    colours = dict(zip(facts["settings"], CLASSES))
    for index, model in enumerate(able):
        known = facts["disturbed"][model]
        places = [i for i, k in enumerate(kinds) if f"{k}_skill" in known]
        at = np.array(places) + (index - (len(able) - 1) / 2) * width
        triples = [known[f"{kinds[i]}_skill"] for i in places]
        _bars(ax, at, width, triples, colours[model], model)
        for x, (value, *_) in zip(at.tolist(), triples):
            if value < BOTTOM:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
                ax.text(x, BOTTOM + 0.06, number(value, 1), ha="center", rotation=90, fontsize=7.5, color=INK, bbox=box)
    ax.set_ylim(max(BOTTOM, ax.get_ylim()[0]), 1.02)
    ax.axhline(0, color=MUTED, linewidth=1, linestyle="--")
    named = [w.removeprefix(f"{what}_").rsplit("_", 1) for w in ways]
    labels = ["in order", *(f"{camera}\n{how}{' px' if what == 'moved' else ''}" for camera, how in named)]
    ax.set_xticks(range(len(kinds)), labels, fontsize=8)
    ax.set_xlabel(f"camera {what}", fontsize=9, color=INK)
    ax.set_ylabel("skill, 1 model step ahead", fontsize=9, color=INK)


def _late(ax: Axes, facts: dict[str, Any]) -> None:
    style(ax)
    at = [s * facts["milliseconds"] for s in (0, *facts["lates"])]
    for model, line in zip(facts["together"], ("o-", "s--")):
        known = facts["disturbed"][model]
        for kind, colour, words in (("skill", OWN, "skill, 1 step ahead"), ("agreement", OTHER, "latent agreement")):
            first = known["undisturbed_skill"] if kind == "skill" else [1.0, 1.0, 1.0]
            triples = [first, *(known[f"late_{n}_{kind}"] for n in facts["lates"])]
            values, low, high = zip(*triples)
            ax.plot(at, values, line, color=colour, markersize=4, linewidth=1.6, label=f"{model}: {words}")
            ax.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
    ax.axhline(0, color=MUTED, linewidth=1, linestyle="--")
    ax.set_xlabel(f"{facts['cameras'][-1]} late by (ms)", fontsize=9, color=INK)
    ax.set_ylabel("skill, latent agreement", fontsize=9, color=INK)
    ax.legend(frameon=False, fontsize=8)
