"""Two or more runs side by side on one page: one column a run, one line a figure, skill curves in one chart.

Unlike seeds of one setting, which are pooled, these runs may differ in anything. What makes them hard to compare (other
stores, other held-out episodes, another length of a model step) is said at the top. A figure is marked best only where
its interval lies clear of all others. Where all were judged on the same episodes, differences of skill are taken episode
by episode too: the luck of the episodes, which widens both intervals, falls out of their difference.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import markupsafe
import numpy as np
from matplotlib.axes import Axes

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path, write_json
from jepaflow.common.results import Row
from jepaflow.diagnosis.advice import advise
from jepaflow.diagnosis.canvas import CLASSES, INK, MUTED
from jepaflow.diagnosis.figures import SKILL_FLOOR, Chart, render
from jepaflow.diagnosis.forecast import ForecastErrors
from jepaflow.diagnosis.measure import Diagnosis
from jepaflow.diagnosis.page import COLOURS, fill, write_page
from jepaflow.diagnosis.report import all_rows, metrics
from jepaflow.diagnosis.resample import Estimate, draw_weights, percentiles, ratio
from jepaflow.diagnosis.tables import Cell, Table, compare_table
from jepaflow.diagnosis.topics import Topic
from jepaflow.diagnosis.vector import VARIABLES
from jepaflow.diagnosis.words import interval, number


def write_comparison(
    names: Sequence[str],
    diagnoses: Sequence[Diagnosis],
    topics: Sequence[Sequence[Topic]],
    folder: Path,
    command: str,
) -> Path:
    """Write ``metrics.json``, ``compare.png`` and ``report.html`` of several runs; returns the path of the report.

    Args:
        names: one a run, all different.
        diagnoses: one a run.
        topics: what other commands measured, one list a run.
        folder: where to write.
        command: what a reader types to make it again.

    Raises:
        JepaflowError: with fewer than two runs, or when the folder cannot be written.
    """
    if len(diagnoses) < 2:
        raise JepaflowError("--compare wants at least two runs: jepaflow diagnose RUN_A RUN_B --compare")
    rows = [all_rows(one, each) for one, each in zip(diagnoses, topics)]
    paired = paired_differences(diagnoses)
    advice = [advise(one, each, one.facts["run"]) for one, each in zip(diagnoses, topics)]
    content = {
        "command": command,
        "cautions": cautions(names, diagnoses),
        "paired_skill_difference_to_first": {
            names[index + 1]: {str(h): estimate.as_dict() for h, estimate in each.items()}
            for index, each in enumerate(paired)
        },
        "runs": {
            name: metrics(one, command, each, found) for name, one, each, found in zip(names, diagnoses, topics, advice)
        },
    }
    write_json(folder / "metrics.json", content)
    chart = draw_skills(names, diagnoses)
    text = fill(
        "compare.html.j2",
        title=" beside ".join(names) if len(names) < 4 else f"{len(names)} runs side by side",
        runs=[_run(*each) for each in zip(names, diagnoses, advice, _colours(len(names)))],
        cautions=content["cautions"],
        chart=_labelled(chart),
        paired=_paired_table(names, paired),
        settings=_settings_table(names, diagnoses),
        figures=compare_table(names, [{row.name: row for row in each} for each in rows]),
        command=command,
    )
    with atomic_path(folder / "compare.png") as temporary:
        temporary.write_bytes(chart.png)
    return write_page(folder / "report.html", text)


def prefixed(names: Sequence[str], rows: Sequence[Sequence[Row]]) -> list[Row]:
    """Rows of several runs for one results file, each under its run's name."""
    return [Row(**{**asdict(row), "name": f"{name}/{row.name}"}) for name, each in zip(names, rows) for row in each]


def cautions(names: Sequence[str], diagnoses: Sequence[Diagnosis]) -> list[str]:
    """What makes these runs hard to compare, in sentences; none when nothing does."""
    found = []
    for key, words in (
        ("store", "were judged on different stores"),
        ("step_seconds", "count model steps of different lengths: compare at equal seconds, not at equal h"),
        ("proprio", "do not all see the joints: those that do are told what the others must see"),
    ):
        values = [d.facts[key] for d in diagnoses]
        if any(value != values[0] for value in values):
            listed = ", ".join(f"{name}: {_said(value)}" for name, value in zip(names, values))
            found.append(f"These runs {words} ({listed}).")
    episodes = [d.errors.episodes for d in diagnoses]
    if any(e != episodes[0] for e in episodes) and len({d.facts["store"] for d in diagnoses}) == 1:
        found.append(
            "These runs were judged on different episodes of one store (another split): small differences may be luck."
        )
    return found


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def paired_differences(diagnoses: Sequence[Diagnosis], draws: int = 2000, seed: int = 0) -> list[dict[int, Estimate]]:
    """Skill of each further run minus skill of the first, by horizon, resampled over the episodes that they share.

    Returns:
        One mapping of h to estimate for each run but the first; empty ones where stores or episodes differ.
    """
    first = diagnoses[0]
    found = []
    for other in diagnoses[1:]:
        same = first.errors.episodes == other.errors.episodes and all(
            first.facts[key] == other.facts[key] for key in ("store", "step_seconds")
        )
        found.append(_difference(first.errors, other.errors, draws, seed) if same else {})
    return found


def _difference(a: ForecastErrors, b: ForecastErrors, draws: int, seed: int) -> dict[int, Estimate]:
    count = len(a.episodes)
    if count < 2:
        return {}
    weights = np.vstack([np.ones(count), draw_weights(np.random.default_rng(seed), count, draws)])
    steps = min(a.model.shape[1], b.model.shape[1])
    gone = [ratio(e.model[:, :steps], e.copy[:, :steps])(weights) for e in (a, b)]
    better = gone[0] - gone[1]
    wanted = [h for h in sorted({1, (steps + 1) // 2, steps}) if np.isfinite(better[0, h - 1])]
    return {
        h: Estimate(float(better[0, h - 1]), *percentiles(better[1:, h - 1]), int(b.count[:, h - 1].sum()), count)
        for h in wanted
    }


def _colours(count: int) -> list[str]:
    return [CLASSES[index % len(CLASSES)] for index in range(count)]


def draw_skills(names: Sequence[str], diagnoses: Sequence[Diagnosis]) -> Chart:
    """Skill curves of all runs in one chart, over seconds where their model steps differ in length."""
    steps = [d.facts["step_seconds"] for d in diagnoses]
    alike = all(abs(step - steps[0]) < 1e-9 for step in steps)

    def draw(ax: Axes) -> None:
        ax.axhline(0, color=INK, linewidth=1.2)
        lowest = 0.0
        for name, one, colour in zip(names, diagnoses, _colours(len(names))):
            x = np.arange(1, len(one.forecast.skill) + 1) * (1.0 if alike else one.facts["step_seconds"])
            value, low, high = (np.array([getattr(e, k) for e in one.forecast.skill]) for k in ("value", "low", "high"))
            ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
            ax.plot(x, value, color=colour, marker="o", markersize=5, linewidth=2, label=name)
            shuffled = np.array([e.value for e in one.forecast.shuffled])
            ax.plot(x, shuffled, color=colour, linestyle=":", linewidth=1.5)
            lowest = min([lowest, *value[np.isfinite(value)], *shuffled[np.isfinite(shuffled)]])
        ax.plot([], [], color=MUTED, linestyle=":", label="another episode's actions")
        ax.axhspan(lowest - 2, 0, color="#fdf2f2", zorder=0)
        if alike:
            ax.set_xticks(range(1, max(len(d.forecast.skill) for d in diagnoses) + 1))
        ax.set_ylim(max(SKILL_FLOOR, lowest - 0.08), 1.04)
        unit = f" (one step = {steps[0]:.2g} s)" if alike else ""
        ax.set_xlabel(f"model steps ahead, h{unit}" if alike else "seconds ahead", color=INK)
        ax.set_ylabel("skill", color=INK)
        ax.legend(frameon=False, fontsize=9)

    return render("compare", draw, (7.6, 4.4))


def _labelled(chart: Chart) -> markupsafe.Markup:
    return markupsafe.Markup(chart.svg.replace("<svg ", '<svg role="img" aria-label="Skill curves of all runs" ', 1))


def _run(name: str, diagnosis: Diagnosis, advice: Sequence[Any], colour: str) -> dict[str, Any]:
    return {
        "name": name,
        "colour": COLOURS[diagnosis.verdict.sight],
        "sentence": diagnosis.verdict.sentence,
        "advice": [one.finding for one in advice[:3]],
        "line": f"var({VARIABLES[colour]})" if colour in VARIABLES else colour,
    }


def _paired_table(names: Sequence[str], paired: Sequence[dict[int, Estimate]]) -> Table | None:
    lines = []
    for name, each in zip(names[1:], paired):
        for h, estimate in each.items():
            surely = "good" if estimate.low > 0 else "bad" if estimate.high < 0 else ""
            word = {"good": f"{name} is better", "bad": f"{names[0]} is better", "": "no sure difference"}[surely]
            lines.append(
                (
                    Cell(f"{name} − {names[0]}", mark="name"),
                    Cell(str(h), h),
                    Cell(number(estimate.value), estimate.value, interval(estimate)),
                    Cell(word, estimate.value),
                    Cell(str(estimate.episodes), estimate.episodes),
                )
            )
    if not lines:
        return None
    return Table(("difference of skill", "h", "value, 95 % interval", "surely", "episodes"), tuple(lines), "paired")


SETTINGS = {
    "parameters": "parameters",
    "encoder": "encoder",
    "latent_dim": "latent size D",
    "history": "history, model steps",
    "block": "control steps a model step",
    "cameras": "cameras",
    "image_size": "pixels",
    "proprio": "sees the joints",
    "checkpoint_step": "trained steps",
    "train_episodes": "training episodes",
    "judged_episodes": "judged episodes",
    "store": "store",
}


def _settings_table(names: Sequence[str], diagnoses: Sequence[Diagnosis]) -> Table:
    """How the runs were made; lines in which they differ are marked."""
    known = [{**{k: d.facts[k] for k in SETTINGS}, **d.facts["training"]} for d in diagnoses]
    words = {**SETTINGS, "sigreg": "λ (--loss.sigreg)", "rollout": "rollout loss", "inverse": "inverse loss"}
    words |= {"proprio_dropout": "joints withheld, share"}
    lines = []
    for key, word in words.items():
        values = [_setting(one.get(key)) for one in known]
        mark = "good" if any(value != values[0] for value in values) else ""
        lines.append((Cell(word, mark="name"), *(Cell(value, mark=mark) for value in values)))
    return Table(("setting", *names), tuple(lines), "settings")


def _setting(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
