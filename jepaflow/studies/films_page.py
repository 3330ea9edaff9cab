"""What the study of films says to people, and its figure."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from jepaflow.diagnosis.canvas import CLASSES, INK, MUTED, new_figure, png, style
from jepaflow.diagnosis.words import plain, show
from jepaflow.studies.films import HELD_SHARE, Mixed, films_rows
from jepaflow.studies.outcome import Outcome, Table, trained_on
from jepaflow.studies.success import bounds_in
from jepaflow.training.config import TrainConfig

SUCCESS = "success@1"
WORDS = {
    "skill@1": "skill, 1 model step ahead",
    "skill@10": "skill, 10 model steps ahead",
    "success@1": "success in closed loop",
    "effective_rank": "effective rank (directions)",
    "gaussian_distance": "distance from N(0, I)",
    "foreign_auroc": "AUROC, films against robot, latent",
    "foreign_auroc_pixels": "AUROC, 8×8 px pictures",
}


def words(name: str) -> str:
    """A figure's name for people."""
    if name.endswith("_agreement@1"):
        return "latent agreement, picture shifted 2 px"
    return f"R² of the {name[:-3]}" if name.endswith("_r2") else WORDS[name]


def films_outcome(
    found: Sequence[Mixed], config: TrainConfig, data: str, films: str, step_seconds: float, held_out: int, seeds: int
) -> Outcome:
    """Page and figures.

    Args:
        found: by share of films.
        config: of the training.
        data, films: what the stores are called.
        step_seconds: of a model step.
        held_out: robot episodes that judge.
        seeds: of each share.
    """
    shares = ", ".join(f"{100 * one.share:g}" for one in found)
    method = (
        f"Films ({films}) are mixed into the training on {data} as frames without actions, each told the robot's mean action, so that "
        f"{shares} % of all windows are theirs; short films are repeated. {seeds} seeds; {config.steps} optimizer steps of "
        f"{config.batch_size} windows for all, so the robot's windows become fewer by as much. Preset {config.preset}.",
        f"Judged on the same {held_out} held-out robot episodes; a model step is {step_seconds:.2g} s. Probes are fitted on the robot's "
        "training episodes.",
        f"Are films noticed? {100 * HELD_SHARE:g} % of the films are kept from all trainings; their frames are told from held-out robot "
        "frames by the Mahalanobis distance from the robot's training latents (AUROC; chance 0.5). Beside it the same with pictures "
        "of 8×8 px in place of latents.",
        "Stability: agreement of the latents of a picture shifted by 2 px with its own, 1 − distance²/variance.",
    )
    succeeded = SUCCESS in found[0].figures
    limits = (
        trained_on(config)
        + ("" if succeeded else " Success in closed loop is not measured: it takes a simulated world (--success)."),
        "At equal steps every film takes the place of a robot's window: part of what is lost is lost for want of those, and no run "
        "tells the two apart.",
        "A few films are not the web. Where the robot's scene never changes films are easy to notice: the pictures of 8×8 px show how "
        "easy.",
        "Actions are scaled by the statistics of everything trained on: mean actions shrink their deviation a little.",
        "Skill is a ratio in each model's own latent space; R² is in one unit for all.",
    )
    return Outcome(
        title=f"Films in the training? {data}",
        question="What do non-robot films do to a world model that is trained with them, and does one notice them at test time?",
        method=method,
        answers=_answers(found),
        limits=limits,
        captions={"films": "Points: means over seeds; small dots: single seeds; bars: 95 % over seeds and held-out "
                  "episodes (or trials) for skill, R², agreement and success, else the min and max of the seeds. Dashed: the floor."},
        tables=(_table(found),),
        rows=films_rows(found, f"transfer/{data}", seeds),
        facts=_facts(found),
    )  # fmt: skip


def _names(found: Sequence[Mixed]) -> list[str]:
    first = found[0].figures
    reached = [SUCCESS] * (SUCCESS in first)
    known = [
        "skill@1",
        "skill@10",
        *(n for n in first if n.endswith("_r2")),
        *reached,
        "effective_rank",
        "gaussian_distance",
    ]
    return [*known, *(n for n in first if n.endswith("_agreement@1")), "foreign_auroc", "foreign_auroc_pixels"]


def _answers(found: Sequence[Mixed]) -> tuple[str, ...]:
    none, most = found[0].figures, found[-1].figures
    share = f"{100 * found[-1].share:g} % films"
    ways = []
    for name in _names(found):
        if name == "gaussian_distance":
            ways.append(f"{words(name)} {plain(none[name].value)} → {plain(most[name].value)}")
        elif not name.startswith("foreign"):
            ways.append(f"{words(name)} {show(none[name])} → {show(most[name])}")
    noticed, pixels = none["foreign_auroc"], none["foreign_auroc_pixels"]
    return (
        f"From none to {share}, at equal steps: {'; '.join(ways)}.",
        f"A model that never saw a film tells one from the robot's frames with AUROC {show(noticed)} by its latents (tiny pictures: "
        f"{show(pixels)}; chance 0.5); one trained with {share}, on films that are new to it, {show(most['foreign_auroc'])}.",
    )


def _table(found: Sequence[Mixed]) -> Table:
    names = _names(found)
    rows = []
    for one in found:
        figures = [
            plain(one.figures[n].value)
            if n == "gaussian_distance"
            else show(one.figures[n], 1 if n == "effective_rank" else 2)
            for n in names
        ]
        rows.append((f"{100 * one.share:g} %", *figures, ", ".join(one.verdicts)))
    note = (
        "Brackets: 95 % intervals over seeds and held-out episodes (or trials) for skill, R², agreement and success; else the min and "
        "max of the seeds."
    )
    return Table("By share of films", ("films", *map(words, names), "verdicts"), tuple(rows), note)


def _facts(found: Sequence[Mixed]) -> dict[str, Any]:
    names = _names(found)
    figures = {n: [[m.figures[n].value, m.figures[n].low, m.figures[n].high] for m in found] for n in names}
    seeds = {n: [list(m.seeds[n]) for m in found] for n in names if n in found[0].seeds}
    first = found[0].figures
    floor = {SUCCESS: max(bounds_in(first)[0].values())} if SUCCESS in first else {}
    return {"shares": [100 * m.share for m in found], "figures": figures, "seeds": seeds, "floors": floor}


FLOORS = {"effective_rank": 1.0, "foreign_auroc": 0.5}


def draw_films(outcome: Outcome) -> dict[str, bytes]:
    """Every figure against the share of films."""
    facts = outcome.facts
    names = [n for n in facts["figures"] if n != "foreign_auroc_pixels"]
    rows = (len(names) + 2) // 3
    figure = new_figure(10.4, 3.1 * rows)
    axes = figure.subplots(rows, 3, squeeze=False).ravel()
    for ax, name in zip(axes, names):
        _draw(ax, name, facts)
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    figure.suptitle(outcome.title, fontsize=11, color=INK)
    return {"films": png(figure)}


def _draw(ax: Axes, name: str, facts: dict[str, Any]) -> None:
    style(ax)
    at, shown = facts["shares"], [(name, CLASSES[0])]
    if name == "foreign_auroc":
        shown.append(("foreign_auroc_pixels", CLASSES[1]))
    for one, colour in shown:
        triples = facts["figures"][one]
        values = [v for v, *_ in triples]
        error = [[v - lo for v, lo, _ in triples], [hi - v for v, _, hi in triples]]
        label = {"foreign_auroc": "latent", "foreign_auroc_pixels": "pictures of 8×8 px"}.get(one)
        ax.errorbar(at, values, error, fmt="o-", color=colour, markersize=4.5, linewidth=1.3, label=label)
        for x, each in zip(at, facts["seeds"].get(one, [])):
            ax.plot([x + 0.8] * len(each), each, ".", color=colour, alpha=0.5, markersize=5, mew=0)
    ax.axhline((FLOORS | facts.get("floors", {})).get(name, 0.0), color=MUTED, linewidth=1, linestyle="--")
    ax.set_xlabel("films among the training windows (%)", fontsize=9, color=INK)
    label = words(name) if name == "gaussian_distance" else words(name).replace(", ", ",\n", 1)
    ax.set_ylabel(label, fontsize=9, color=INK)
    if len(shown) > 1:
        ax.legend(frameon=False, fontsize=8)
