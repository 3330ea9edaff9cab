"""What a density study says to people."""

from collections.abc import Mapping, Sequence

from jepaflow.diagnosis.resample import Estimate
from jepaflow.diagnosis.words import number, show, trained_for
from jepaflow.studies.density import Density, Growth, density_rows, facts_of
from jepaflow.studies.outcome import Outcome, Table
from jepaflow.studies.powerlaw import FAR, WORTH
from jepaflow.training.config import TrainConfig

WORDS = {
    "skill@1": "skill, 1 model step ahead",
    "skill@10": "skill, 10 model steps ahead",
    "success@1": "success in closed loop",
}


OVERTRAINED = " Where fewer steps do better, more of them learned the recordings by heart."


def figure_words(name: str) -> str:
    """A figure's name in words."""
    if name.endswith("_r2"):
        return f"R² of the {name[:-3]}, read linearly from the latent"
    if name in WORDS:
        return WORDS[name]
    base, _, step = name.partition("@")
    return f"skill of the {base.removesuffix('_skill')}'s place, read {step} model step{'s' * (step != '1')} ahead"


def density_outcome(
    found: Density, config: TrainConfig, data: str, step_seconds: float, held_out: int, windows: int
) -> Outcome:
    """Page and figures.

    Args:
        found: the study.
        config: of the training.
        data: what the dataset is called.
        step_seconds: of a model step.
        held_out: episodes that judge.
        windows: of all training episodes.
    """
    plan, growths = found.plan, found.growths["steps"]
    first = growths["skill@1"]
    every = plan.sizes[-1]
    sizes = ", ".join(map(str, plan.sizes))
    method = (
        f"Nested subsets of {sizes} training episodes of {data}, all judged on the same {held_out} held-out episodes; "
        f"{plan.seeds} seed{'s' * (plan.seeds != 1)} of each; preset {config.preset}, cameras {' + '.join(config.cameras)}.",
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
    limits = [
        trained_for(plan.steps) + "Longer training may move all curves, and how much more data is worth.",
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
    seen = plan.steps * config.batch_size / windows
    short = (
        f"All of this at {plan.steps} steps: they see {number(seen, 1)} times as many windows as {every} episodes have"
        + (", so more episodes cannot help this training, only a longer one." if seen < 1 else ".")
    )
    answers = [_now(found, first, step_seconds), short, *_more(growths), *_tested(growths), _families(found)]
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
    words = f"{figure_words(name)[0].upper()}{figure_words(name)[1:]}"
    if not growth.fits:
        return misfit(words, growth.sizes, [one.value for one in growth.estimates], growth.quantity("at").value)
    what = f"{words}: {every} more episodes would add {show(gain)}"
    if enough.value <= every:
        tail = f"more are not worth recording for this: a doubling adds less than {WORTH:g} from about {enough.value:,.0f} episodes on"
    elif enough.value >= FAR * every:
        tail = f"every doubling goes on adding more than {WORTH:g}, as far as this curve can tell"
    else:
        tail = f"about {enough.value - every:,.0f} more are worth recording, until a doubling adds less than {WORTH:g}"
    return f"{what}; {tail} ({_range(enough, every)} episodes in all)."


def misfit(words: str, sizes: Sequence[int], values: Sequence[float], told: float) -> str:
    """What is said where the law misses the largest size: nothing of more episodes."""
    went = "rose" if values[-1] >= values[-2] else "fell"
    return (
        f"{words}: the power law misses what was seen ({number(told)} instead of {number(values[-1])} with {sizes[-1]} episodes), so it "
        f"says nothing of more; from {sizes[-2]} to {sizes[-1]} episodes it {went} by {number(abs(values[-1] - values[-2]))}."
    )


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
    """The smallest size, and the largest that more steps harmed."""
    growths = [found.growths[f]["skill@1"].estimates for f in ("steps", "epochs")]
    harmed = [k for k, (equal, epochs) in enumerate(zip(*growths)) if epochs.value > max(equal.value, equal.high)]
    last = max(harmed, default=0)
    said = [
        f"With {found.plan.sizes[k]} episodes, skill one step ahead is {show(growths[0][k])} after as many steps as all get, and "
        f"{show(growths[1][k])} after as many epochs: the difference is training time, not data."
        for k in sorted({0, last})
    ]
    return " ".join(said) + (OVERTRAINED if harmed else "")


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
                f"{number(one.law.a[0])} − {number(one.law.b[0])}·(n/{one.sizes[-1]})^−{number(one.law.c[0])}"
                + ("" if one.fits else " (misses the largest size)"),
                show(one.quantity("at", 2.0)) if one.fits else "–",
                show(one.quantity("doubling")) if one.fits else "–",
                f"{min(enough.value, FAR * one.sizes[-1]):,.0f} ({_range(enough, one.sizes[-1])})" if one.fits else "–",
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
