"""How good is a model of so many episodes, and how many more are worth recording?

Nested subsets of the training episodes, judged on the same held-out ones. *Equal steps* asks what more data brings at the
same cost of training; small subsets are then seen many times over. *Equal epochs* asks what happens when everything is seen
equally often; small subsets then get few steps, and much of the curve is training time. The largest size is in both. Probes
are fitted on the same episodes for all sizes, those of the largest, so that they compare latents and not probes.

Growth is fitted with a power law; its interval is over seeds and held-out episodes, drawn anew for every resample. The fit is
put to the test where it can be: without the largest size, which it must foretell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from jepaflow.common.results import Row
from jepaflow.data.split import split_episodes
from jepaflow.data.store import Store
from jepaflow.diagnosis.as_row import as_row
from jepaflow.diagnosis.resample import Estimate, draw_weights, percentiles
from jepaflow.studies.cells import Cell, Measure, Result, Study, with_steps
from jepaflow.studies.density_plan import Plan, epoch_steps
from jepaflow.studies.jolts import Jolts
from jepaflow.studies.measures import Foretelling, Reading, Shape
from jepaflow.studies.powerlaw import Power, fit_power
from jepaflow.studies.readings import Readings
from jepaflow.studies.sight import Seeing, verdict_name
from jepaflow.studies.success import FLOORS, bounds_in
from jepaflow.studies.tension import pooled
from jepaflow.training.config import TrainConfig

FAMILIES = ("steps", "epochs")
HORIZON, HORIZONS = 10, (1, 10)
DRAWS = 500
POINTS, FARTHEST = 40, 4.0
"""Sizes at which the fitted curve is kept for the figure, and how far it goes, as a share of all episodes."""
LIMIT = 1.0
"""Neither skill nor R² can be more."""


def measures_of(config: TrainConfig, extra: tuple[Measure, ...] = ()) -> tuple[Measure, ...]:
    """What is measured of every run."""
    return (Foretelling(HORIZON, config.history), Shape(), Reading(), Seeing(HORIZON), Jolts(config.history), *extra)


def density_study(config: TrainConfig, plan: Plan, windows: tuple[int, ...], extra: tuple[Measure, ...] = ()) -> Study:
    """One cell for each size, family and seed, seed by seed, so that a study cut short has compared all sizes.

    Args:
        config: of the training, but for its steps, seeds and number of episodes.
        plan: sizes, steps, seeds.
        windows: of the first 1, 2, … training episodes.
        extra: measures beside the usual ones.
    """
    dataset, cells = config.dataset, []
    episodes = Store(dataset.path[0]).num_episodes
    every = split_episodes(episodes, dataset.val_fraction, dataset.split_seed, plan.sizes[-1]).train
    for seed in range(config.seed, config.seed + plan.seeds):
        for size in plan.sizes:
            own = replace(config, seed=seed, dataset=replace(config.dataset, episodes=size))
            cells.append(Cell(f"steps-{size}", with_steps(own, plan.steps), fitted_on=every))
            if size != plan.sizes[-1]:
                cells.append(Cell(f"epochs-{size}", with_steps(own, epoch_steps(plan, windows, size)), fitted_on=every))
    return Study("density", tuple(cells), measures_of(config, extra))


@dataclass(frozen=True)
class Growth:
    """One figure along the sizes of one family: values of each seed, estimates, resamples, and the law that fits."""

    name: str
    sizes: tuple[int, ...]
    seeds: tuple[tuple[float, ...], ...]
    estimates: tuple[Estimate, ...]
    law: Power
    resampled: Power
    held_back: tuple[Estimate, float] | None
    """The largest size foretold from the others, and what it was; None with fewer than four sizes."""

    @property
    def fits(self) -> bool:
        """Whether the law meets the largest size within that one's interval; else it is no ground to extrapolate from."""
        told, last = float(self.law.at(np.ones(1))[0, 0]), self.estimates[-1]
        return not (told < last.low or told > last.high)

    def quantity(self, of: str, share: float = 1.0) -> Estimate:
        """``at`` a share of all episodes, ``doubling``, or ``enough`` (episodes), with its interval."""

        def pick(law: Power) -> Float[ndarray, " R"]:
            return (
                law.at(np.array([share]))[:, 0] if of == "at" else law.doubling() if of == "doubling" else law.enough()
            )

        scale = self.sizes[-1] if of == "enough" else 1
        low, high = percentiles(pick(self.resampled) * scale)
        last = self.estimates[-1]
        return Estimate(float(pick(self.law)[0]) * scale, low, high, last.n, last.episodes)


@dataclass(frozen=True)
class Density:
    """The whole study: growths by family and figure, verdicts by family and size."""

    plan: Plan
    growths: Mapping[str, Mapping[str, Growth]]
    figures: Mapping[str, Mapping[int, Mapping[str, Estimate]]]
    verdicts: Mapping[int, tuple[str, ...]]
    """of equal steps"""


def gather(results: Sequence[Result], plan: Plan) -> Density:
    """Pool seeds and fit every figure's growth."""
    runs: dict[str, dict[int, list[Readings]]] = {family: {size: [] for size in plan.sizes} for family in FAMILIES}
    for result in results:
        family, _, size = result.cell.name.partition("-")
        runs[family][int(size)].append(result.readings)
    runs["epochs"][plan.sizes[-1]] = runs["steps"][plan.sizes[-1]]
    figures = {f: {n: pooled(many, HORIZONS) for n, many in sizes.items()} for f, sizes in runs.items()}
    names = [name for name in figures["steps"][plan.sizes[-1]] if _grows(name)]
    growths = {f: {name: _growth(name, sizes, figures[f]) for name in names} for f, sizes in runs.items()}
    verdicts = {n: tuple(verdict_name(one.scalars["verdict"]) for one in many) for n, many in runs["steps"].items()}
    return Density(plan, growths, figures, verdicts)


def _grows(name: str) -> bool:
    """Whether a figure is a ratio whose growth is worth a law: skill ahead, what probes read, where the object will be.

    (Ten steps ahead: in one step it hardly ever moves, and a forecast that it stays is next to perfect.)
    """
    return name in ("skill@1", "skill@10", "success@1") or name.endswith(("_r2", "object_skill@10"))


def _growth(name: str, runs: Mapping[int, list[Readings]], figures: Mapping[int, Mapping[str, Estimate]]) -> Growth:
    sizes = tuple(runs)
    base, _, step = name.partition("@")
    column = int(step or 1) - 1
    ratios = [[one.ratios[base] for one in runs[size]] for size in sizes]
    rng = np.random.default_rng(0)
    weights = draw_weights(rng, len(ratios[0][0].episodes), DRAWS)
    columns = []
    for many in ratios:  # the same held-out episodes for all, seeds of each size drawn anew
        values = np.stack([one.weighted(weights)[:, column] for one in many])
        chosen = rng.integers(0, len(many), (len(many), DRAWS))
        columns.append(np.take_along_axis(values, chosen, 0).mean(0))
    resampled, mean = np.stack(columns, 1), np.array([[figures[size][name].value for size in sizes]])
    resampled = resampled[np.isfinite(resampled).all(1)]
    share = np.array(sizes) / sizes[-1]
    seeds = tuple(tuple(float(one.values()[column]) for one in many) for many in ratios)
    estimates = tuple(figures[size][name] for size in sizes)
    law, many_laws = fit_power(share, mean, LIMIT), fit_power(share, resampled, LIMIT)
    return Growth(name, sizes, seeds, estimates, law, many_laws, _held_back(share, mean, resampled, estimates[-1]))


def _held_back(
    share: Float[ndarray, " k"], mean: Float[ndarray, "1 k"], resampled: Float[ndarray, "R k"], last: Estimate
) -> tuple[Estimate, float] | None:
    """Foretell the largest size from the others."""
    if len(share) < 4:
        return None
    told = fit_power(share[:-1], mean[:, :-1], LIMIT).at(share[-1:])[0, 0]
    low, high = percentiles(fit_power(share[:-1], resampled[:, :-1], LIMIT).at(share[-1:])[:, 0])
    return Estimate(float(told), low, high, last.n, last.episodes), last.value


def density_rows(found: Density, stem: str) -> tuple[Row, ...]:
    """Rows ``<stem>/<family>/<figure>/n=<size>``, and of the laws ``<stem>/<family>/<figure>/{twice, doubling, …}``."""
    rows: list[Row] = []
    for family, growths in found.growths.items():
        equal = f"equal {family}" + (f" ({found.plan.steps})" if family == "steps" else "")
        for name, growth in growths.items():
            unit, floors, ceilings = _scale(name, found.figures["steps"][found.plan.sizes[-1]])
            for size, estimate in zip(growth.sizes, growth.estimates):
                note = f"{size} training episodes, {equal}; 95 % interval over seeds and held-out episodes"
                at = f"{stem}/{family}/{name}/n={size}"
                rows += as_row(at, estimate, unit, note, floors, ceilings, found.plan.seeds)
            rows += _law_rows(growth, f"{stem}/{family}/{name}", unit, found.plan.seeds)
    told: tuple[tuple[str, str, str], ...] = (
        ("effective_rank", "directions", "collapsed"),
        ("skilful_to", "model steps", "blind"),
        ("frozen_auroc", "AUROC", "chance"),
        ("jump_auroc", "AUROC", "chance"),
    )
    floors = {"collapsed": 1.0, "blind": 0.0, "chance": 0.5}
    for size, figures in found.figures["steps"].items():
        for name, unit, floor in told:
            note = f"{size} training episodes, equal steps; low and high are the min and max of the seeds"
            if name in figures:
                known = {floor: floors[floor]}
                if name == "jump_auroc":
                    known["copy_last"] = figures["jump_auroc_copy"].value
                at = f"{stem}/steps/{name}/n={size}"
                rows += as_row(at, figures[name], unit, note, known, seeds=found.plan.seeds)
    return tuple(rows)


def _scale(name: str, figures: Mapping[str, Estimate]) -> tuple[str, dict[str, float], dict[str, float]]:
    """Unit, floors and ceilings of a figure that grows."""
    if name == "success@1":
        return "fraction", *bounds_in(figures)
    return ("R²", {"mean": 0.0}, {}) if name.endswith("_r2") else ("skill", {"copy_last": 0.0}, {})


def _law_rows(growth: Growth, stem: str, unit: str, seeds: int) -> list[Row]:
    law = f"y = {growth.law.a[0]:.3f} − {growth.law.b[0]:.3f}·(n/{growth.sizes[-1]})^−{growth.law.c[0]:.2f}"
    over = f"power law {law}; 95 % interval over resampled seeds and held-out episodes"
    over += "" if growth.fits else "; it misses the largest size, and is no ground to extrapolate from"
    rows = as_row(f"{stem}/twice", growth.quantity("at", 2.0), unit, f"at twice the episodes; {over}", seeds=seeds)
    rows += as_row(
        f"{stem}/doubling", growth.quantity("doubling"), unit, f"gained by twice the episodes; {over}", seeds=seeds
    )
    note = f"episodes from which a doubling gains less than 0.01 (at most 100 times the present ones); {over}"
    rows += as_row(f"{stem}/enough", growth.quantity("enough"), "episodes", note, seeds=seeds)
    if growth.held_back is not None:
        told, was = growth.held_back
        note = (
            f"n = {growth.sizes[-1]} foretold from the smaller sizes; observed {was:.3f}, error {told.value - was:+.3f}"
        )
        rows += as_row(f"{stem}/held_back", told, unit, note, {"observed": was}, seeds=seeds)
    return rows


def facts_of(found: Density) -> dict[str, Any]:
    """What the figure is drawn from, JSON-ready."""
    growths = {
        family: {
            name: {
                "sizes": list(one.sizes),
                "seeds": [list(each) for each in one.seeds],
                "value": [e.value for e in one.estimates],
                "low": [e.low for e in one.estimates],
                "high": [e.high for e in one.estimates],
                "law": _curve(one),
            }
            for name, one in many.items()
        }
        for family, many in found.growths.items()
    }
    ranks = {
        family: [[e.value, e.low, e.high] for e in (sizes[n]["effective_rank"] for n in found.plan.sizes)]
        for family, sizes in found.figures.items()
    }
    jolts = {
        name: [[e.value, e.low, e.high] for size in found.plan.sizes if (e := found.figures["steps"][size].get(name))]
        for name in ("frozen_auroc", "jump_auroc", "jump_auroc_copy")
    }
    verdicts = {str(size): list(names) for size, names in found.verdicts.items()}
    last = found.figures["steps"][found.plan.sizes[-1]]
    reached = {which: last[f"success_{which}"].value for which in (*FLOORS, "replay") if f"success_{which}" in last}
    return {
        "success": reached,
        "growths": growths,
        "effective_rank": ranks,
        "jolts": jolts,
        "verdicts": verdicts,
        "sizes": list(found.plan.sizes),
    }


def _curve(growth: Growth) -> dict[str, list[float]]:
    shares = np.geomspace(growth.sizes[0] / growth.sizes[-1], FARTHEST if growth.fits else 1.0, POINTS)
    band = growth.resampled.at(shares)
    bounds = [percentiles(band[:, k]) for k in range(len(shares))]
    return {
        "n": [float(s * growth.sizes[-1]) for s in shares],
        "value": growth.law.at(shares)[0].tolist(),
        "low": [low for low, _ in bounds],
        "high": [high for _, high in bounds],
    }
