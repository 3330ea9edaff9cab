"""What a density study says to people, and its figure."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from jepaflow.diagnosis.canvas import CLASSES, GRID, INK, MUTED, OTHER, OWN, new_figure, png, style
from jepaflow.diagnosis.resample import Estimate
from jepaflow.diagnosis.words import number, show
from jepaflow.studies.density import Density, Growth, density_rows, facts_of
from jepaflow.studies.outcome import Outcome, Table
from jepaflow.studies.powerlaw import FAR, WORTH
from jepaflow.training.config import TrainConfig

BOTTOM = -0.6
"""Skill below this is off the chart."""
WORDS = {
    "skill@1": "skill, 1 model step ahead",
    "skill@10": "skill, 10 model steps ahead",
    "success@1": "success in closed loop",
}


def figure_words(name: str) -> str:
    """A figure's name in words."""
    if name.endswith("_r2"):
        return f"R² of the {name[:-3]}, read linearly from the latent"
    if name in WORDS:
        return WORDS[name]
    base, _, step = name.partition("@")
    return f"skill of the {base.removesuffix('_skill')}'s place, read {step} model step{'s' * (step != '1')} ahead"


def density_outcome(found: Density, config: TrainConfig, data: str, step_seconds: float, held_out: int) -> Outcome:
    """Page and figures.

    Args:
        found: the study.
        config: of the training.
        data: what the dataset is called.
        step_seconds: of a model step.
        held_out: episodes that judge.
    """
    plan, growths = found.plan, found.growths["steps"]
    first = growths["skill@1"]
    every = plan.sizes[-1]
    sizes = ", ".join(map(str, plan.sizes))
    method = (
        f"Nested subsets of {sizes} training episodes of {data}, all judged on the same {held_out} held-out episodes; "
        f"{plan.seeds} seeds of each; preset {config.preset}, cameras {' + '.join(config.cameras)}.",
        f"Equal steps: {plan.steps} optimizer steps of {config.batch_size} windows for every size. Equal epochs: every size is seen "
        f"as often as all {every} episodes are in those steps, so {plan.sizes[0]} episodes get the fewest steps.",
        "Probes are fitted on the same episodes for every size, those of the largest: what differs is the latent.",
        "Growth is fitted by y = a − b·(n/N)^−c, b ≥ 0 and a ≤ 1. Intervals (95 %) come from 500 resamples of seeds and "
        "held-out episodes, with a fit for each.",
        "Surprise: a next frame that is the last one again although the world moved (frozen), or one from 3 model steps later "
        "(jump), against the one that came, by the forecast's distance; AUROC, chance 0.5.",
        f"A model step is {step_seconds:.2g} s. Skill compares a forecast's error with that of “nothing changes” (floor 0).",
    )
    success = "success@1" in growths
    if success:
        last = found.figures["steps"][every]
        method = (
            *method,
            "Success: the share of a protocol's trials whose goal is reached at some time; the model plans anew every model step (CEM, 48 "
            f"samples, 3 rounds, 5 model steps ahead). Random actions reach {number(last['success_random'].value)}, replayed recordings "
            f"{number(last['success_replay'].value)}.",
        )
    limits = [
        f"Reduced for this machine: {plan.steps} steps (2,000 is the default) and frames of 64 px. Longer training may move all "
        "curves, and how much more data is worth.",
        "Skill is a ratio in each model's own latent space: it may rise because less is represented. What probes read is in one "
        "unit for all models.",
        f"{held_out} held-out episodes from the same recordings: other rooms, lights or people are not judged here.",
    ]
    if not success:
        limits.append(
            "Success in closed loop is not measured: there is no world to act in, or so few steps plan too badly."
        )
    if held_out < 10:
        limits.append(f"With {held_out} held-out episodes intervals are narrower than they should be.")
    answers = [_now(found, first, step_seconds), *_more(growths), *_tested(growths), _families(found)]
    return Outcome(
        title=f"How much data? {data}",
        question=f"How good is a world model of 5 … {every} episodes, and how many more are worth recording?",
        method=method,
        answers=tuple(answers),
        limits=tuple(limits),
        captions={"density": _caption(plan.seeds)},
        tables=(_table(found), _laws(growths)),
        rows=density_rows(found, f"density/{data}"),
        facts={**facts_of(found), "seeds": plan.seeds, "step_seconds": step_seconds},
    )


def _caption(seeds: int) -> str:
    return (
        f"Dots: single seeds ({seeds} of each). Vertical bars: 95 % intervals over seeds and held-out episodes. Line and band: the "
        "power law of equal steps and its interval, to four times the episodes there are (grey line). Dashed: the floor."
    )


def _now(found: Density, skill: Growth, step_seconds: float) -> str:
    every = found.plan.sizes[-1]
    names = found.verdicts[every]
    verdict = max(sorted(set(names)), key=names.count)
    figures = found.figures["steps"][every]
    far = figures.get("skill@10")
    reach = figures["skilful_to"]
    said = (
        f"Now, with {every} episodes: skill {show(skill.estimates[-1])} one model step ahead"
        + ("" if far is None else f", {show(far)} ten ahead")
        + f". Verdict “{verdict}” in {names.count(verdict)} of {len(names)} seeds; it surely foretells "
        f"{number(reach.value, 1)} of 10 model steps ({number(reach.value * step_seconds, 1)} s)."
    )
    return said


def _more(growths: Mapping[str, Growth]) -> list[str]:
    return [
        _worth(growths[name], name)
        for name in ("skill@1", *(n for n in growths if n.endswith("_r2")), "success@1")
        if name in growths
    ]


def _worth(growth: Growth, name: str) -> str:
    """What more episodes would bring for one figure."""
    every, gain, enough = growth.sizes[-1], growth.quantity("doubling"), growth.quantity("enough")
    what = f"{figure_words(name)[0].upper()}{figure_words(name)[1:]}: {every} more episodes would add {show(gain)}"
    if enough.value <= every:
        tail = f"more are not worth recording for this: a doubling adds less than {WORTH:g} from about {enough.value:,.0f} episodes on"
    elif enough.value >= FAR * every:
        tail = f"every doubling goes on adding more than {WORTH:g}, as far as this curve can tell"
    else:
        tail = f"about {enough.value - every:,.0f} more are worth recording, until a doubling adds less than {WORTH:g}"
    return f"{what}; {tail} ({_range(enough, every)} episodes in all)."


def _range(enough: Estimate, every: int) -> str:
    low, high = (
        f"more than {FAR * every:,.0f}" if x >= FAR * every else f"{x:,.0f}" for x in (enough.low, enough.high)
    )
    return f"95 %: {low} to {high}"


def _tested(growths: Mapping[str, Growth]) -> list[str]:
    names = ("skill@1", *(name for name in growths if name.endswith("_r2")), "success@1")
    return [_test(growths[name]) for name in names if name in growths and growths[name].held_back is not None]


def _test(growth: Growth) -> str:
    assert growth.held_back is not None
    told, was = growth.held_back
    *_, before, every = growth.sizes
    inside = "inside" if told.low <= was <= told.high else "outside"
    return (
        f"Tested on {figure_words(growth.name)}: from the smaller sizes the law foretells {show(told)} for {every} episodes; "
        f"observed {number(was)}, {inside} the interval, error {number(told.value - was)} (to say “as with {before}” errs by "
        f"{number(growth.estimates[-2].value - was)})."
    )


def _families(found: Density) -> str:
    small = found.plan.sizes[0]
    equal, epochs = (found.growths[f]["skill@1"].estimates[0] for f in ("steps", "epochs"))
    return (
        f"With {small} episodes, skill one step ahead is {show(equal)} after as many steps as all get, and {show(epochs)} after as many "
        "epochs: the difference is training time, not data."
    )


def _table(found: Density) -> Table:
    names = [name for name in found.growths["steps"] if name in found.figures["steps"][found.plan.sizes[0]]]
    heads = (
        "episodes",
        *(figure_words(name) for name in names),
        "effective rank (min – max)",
        "AUROC, frozen frame (min – max)",
        "AUROC, jump (min – max)",
        "surely foretold steps",
        "verdicts",
    )
    rows = []
    for size in found.plan.sizes:
        figures = found.figures["steps"][size]
        rank, reach = figures["effective_rank"], figures["skilful_to"]
        jolts = (figures.get(name) for name in ("frozen_auroc", "jump_auroc"))
        rows.append(
            (
                str(size),
                *(show(figures[name]) for name in names),
                f"{number(rank.value, 1)} ({number(rank.low, 1)} – {number(rank.high, 1)})",
                *("–" if j is None else f"{number(j.value)} ({number(j.low)} – {number(j.high)})" for j in jolts),
                f"{number(reach.value, 1)} ({number(reach.low, 0)} – {number(reach.high, 0)})",
                ", ".join(found.verdicts[size]),
            )
        )
    return Table("Equal steps", heads, tuple(rows), "Brackets: 95 % intervals over seeds and held-out episodes.")


def _laws(growths: Mapping[str, Growth]) -> Table:
    rows = []
    for name, one in growths.items():
        held = one.held_back
        enough = one.quantity("enough")
        rows.append(
            (
                figure_words(name),
                f"{number(one.law.a[0])} − {number(one.law.b[0])}·(n/{one.sizes[-1]})^−{number(one.law.c[0])}",
                show(one.quantity("at", 2.0)),
                show(one.quantity("doubling")),
                f"{min(enough.value, FAR * one.sizes[-1]):,.0f} ({_range(enough, one.sizes[-1])})",
                "–" if held is None else f"{show(held[0])}, observed {number(held[1])}",
            )
        )
    heads = (
        "figure",
        "law",
        "at twice the episodes",
        "gain of a doubling",
        f"a doubling adds < {WORTH:g} from",
        "largest size foretold",
    )
    return Table("Power laws, equal steps", heads, tuple(rows))


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
        ax.legend(frameon=False, fontsize=8, loc="lower right")
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
    for family, colour, shift in (("epochs", OTHER, 1.03), ("steps", OWN, 0.97)):
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
    floor = "random actions" if known else "the mean" if name.endswith("_r2") else "nothing changes"
    ax.axhline(known.get("random", 0.0), color=MUTED, linewidth=1, linestyle="--", label=f"floor: {floor}")
    ax.set_ylim(bottom=max(ax.get_ylim()[0], BOTTOM), top=min(1.02, ax.get_ylim()[1]))
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
