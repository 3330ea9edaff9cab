"""The tension between LeWorldModel's two losses: foretelling well, and being spread like a Gaussian.

λ, the weight of SIGReg, is swept and everything else kept. At λ = 0 nothing but the data keeps the latents apart, and what is
easy to foretell is what is left of them; at a large λ they are a Gaussian whatever the pictures show. A control that was
never trained (one step with a learning rate of nothing) is the floor of what can be read from the latents.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row
from jepaflow.diagnosis.as_row import as_row
from jepaflow.diagnosis.resample import Estimate
from jepaflow.diagnosis.words import number
from jepaflow.studies.cells import Cell, Result, Study, steps_of
from jepaflow.studies.knee import STRAIGHT, find_knee
from jepaflow.studies.measures import Foretelling, Reading, Shape
from jepaflow.studies.readings import Readings, pool, pool_scalar
from jepaflow.training.config import TrainConfig

LAMBDAS = (0.0, 0.01, 0.05, 0.2, 0.8)
UNTRAINED = "untrained"
SHOWN = (1, 5)
"""Model steps ahead."""
RULE = (
    f"knee: the λ whose point lies farthest from the chord between the ends of the curve, both axes scaled to 0 … 1 "
    f"(Kneedle, Satopää 2011); none if nothing lies {STRAIGHT:g} away"
)
OWN_SPACE = (
    "Skill is a ratio in each model's own latent space, so it may rise because less is represented; the places that are "
    "read from imagined latents are in one unit for all models."
)


def tension_study(config: TrainConfig, frames: int, lambdas: Sequence[float], seeds: int) -> Study:
    """One cell for each λ and seed, seed by seed, so that a study cut short has compared all λ.

    Args:
        config: of the training, but for λ, steps and seeds.
        frames: that each cell is trained on.
        lambdas: weights of SIGReg.
        seeds: trainings of each; they count from the configuration's.

    Raises:
        JepaflowError: when there is nothing to sweep.
    """
    if seeds < 1 or len(set(lambdas)) < 2:
        raise JepaflowError("The tension needs at least two different --lambdas and one of --seeds.")
    config = steps_of(config, frames)
    idle = replace(config, steps=1, save_every=1, val_every=1, optim=replace(config.optim, lr=1e-12))
    cells = [Cell(UNTRAINED, idle)]
    for seed in range(config.seed, config.seed + seeds):
        for weight in sorted(set(lambdas)):
            cells.append(Cell(f"{weight:g}", replace(config, seed=seed, loss=replace(config.loss, sigreg=weight))))
    return Study("tension", tuple(cells), (Foretelling(max(SHOWN), config.history), Shape(), Reading()))


@dataclass(frozen=True)
class Setting:
    """One λ: its seeds' figures and what they come to."""

    weight: float
    seeds: tuple[Readings, ...]
    figures: Mapping[str, Estimate]
    """pooled, by name; ratios with ``@h``"""

    def each(self, name: str) -> list[float]:
        """A figure of every seed; NaN where it does not exist."""
        return [_single(one, name) for one in self.seeds]


@dataclass(frozen=True)
class Tension:
    """The sweep, in order of λ, and the control."""

    settings: tuple[Setting, ...]
    untrained: Setting | None
    places: tuple[str, ...]

    def curve(self, name: str) -> Float[ndarray, " n"]:
        """A figure's mean at each λ; NaN where it does not exist."""
        return np.array([s.figures[name].value if name in s.figures else math.nan for s in self.settings])

    def knee(self, x: str, y: str = "skill@1", seed: int | None = None) -> int | None:
        """Index of the λ at which y against x bends; of the means, or of one seed."""
        along, up = (self.curve(x), self.curve(y)) if seed is None else (self._of_seed(x, seed), self._of_seed(y, seed))
        return find_knee(gaussianity(along) if x == "gaussian_distance" else along, up)

    def _of_seed(self, name: str, seed: int) -> Float[ndarray, " n"]:
        return np.array([s.each(name)[seed] for s in self.settings])


def gaussianity(distance: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    """How Gaussian: −log10 of the distance."""
    result: ndarray = -np.log10(np.maximum(distance, 1e-12))
    return result


def gather(results: Sequence[Result]) -> Tension:
    """Pool the cells of each λ."""
    by_name: dict[str, list[Readings]] = {}
    for result in results:
        by_name.setdefault(result.cell.name, []).append(result.readings)
    weights = {result.cell.name: result.cell.config.loss.sigreg for result in results}
    found = [
        Setting(weights[name], tuple(seeds), pooled(seeds)) for name, seeds in by_name.items() if name != UNTRAINED
    ]
    control = by_name.get(UNTRAINED)
    places = tuple(name[:-3] for name in found[0].seeds[0].ratios if name.endswith("_r2"))
    return Tension(
        tuple(sorted(found, key=lambda one: one.weight)),
        Setting(math.nan, tuple(control), pooled(control)) if control else None,
        places,
    )


def pooled(seeds: Sequence[Readings], horizons: Sequence[int] = SHOWN) -> dict[str, Estimate]:
    """Every figure of some seeds: ratios with an interval over seeds and episodes, scalars with min and max."""
    found: dict[str, Estimate] = {}
    for name in seeds[0].ratios:
        estimates = pool([one.ratios[name] for one in seeds])
        if name.endswith("_r2"):
            found[name] = estimates[0]
        else:
            found |= {f"{name}@{h}": estimates[h - 1] for h in horizons if h <= len(estimates)}
    for name in seeds[0].scalars:
        estimate = pool_scalar([one.scalars[name] for one in seeds])
        if estimate is not None:
            found[name] = estimate
    return found


def _single(one: Readings, name: str) -> float:
    """One run's figure by the names of `pooled`."""
    base, _, step = name.partition("@")
    if base in one.ratios:
        return float(one.ratios[base].values()[int(step or 1) - 1])
    value = one.scalars.get(name)
    return math.nan if value is None else value


def tension_rows(tension: Tension, frames: int) -> list[Row]:
    """Rows ``tension/<λ>/<measure>`` and ``tension/knee``."""
    rows = [row for setting in tension.settings for row in _setting_rows(tension, setting, frames)]
    knee = tension.knee("gaussian_distance")
    if knee is None:
        return rows
    weights = [one.weight for one in tension.settings]
    seeds = range(len(tension.settings[0].seeds))
    own = [weights[i] for seed in seeds if (i := tension.knee("gaussian_distance", seed=seed)) is not None]
    note = f"λ at the knee of skill@1 against Gaussianity (−log10 of the distance), means over seeds; {RULE}; "
    note += f"by seed: {', '.join(f'{w:g}' for w in own) or 'none'}; low and high are their min and max"
    value = weights[knee]
    return [
        *rows,
        Row("tension/knee", value, min([value, *own]), max([value, *own]), len(weights), len(seeds), "λ", note=note),
    ]


def _setting_rows(tension: Tension, setting: Setting, frames: int) -> list[Row]:
    stem, seeds, known = f"tension/{setting.weight:g}", len(setting.seeds), setting.figures
    base = f"λ = {setting.weight:g}, {frames} frames a seed"
    over = f"{base}; 95 % interval over seeds and held-out episodes"
    spread = f"{base}; low and high are the min and max of the seeds"
    idle = tension.untrained.figures if tension.untrained else {}

    def untrained(name: str) -> dict[str, float]:
        return {"untrained": idle[name].value} if name in idle else {}

    rows: list[Row] = []
    for h in SHOWN:
        floors = {"copy_last": 0.0, "mean_latent": known[f"mean_skill@{h}"].value, **untrained(f"skill@{h}")}
        note = f"1 − MSE/MSE(copy last), {h} model steps ahead, in this model's own latent space; {over}"
        rows += as_row(f"{stem}/skill@{h}", known[f"skill@{h}"], "skill", note, floors, seeds=seeds)
    for place in tension.places:
        name = f"{place}_r2"
        note = f"{place} read linearly from the latent, mean over z-scored coordinates; {over}"
        rows += as_row(f"{stem}/{name}", known[name], "R²", note, {"mean": 0.0, **untrained(name)}, seeds=seeds)
        for h in SHOWN:
            name, seen = f"{place}_skill@{h}", known[f"{place}_skill_seen@{h}"].value
            note = (
                f"{place} read linearly from what is imagined {h} model steps ahead: 1 − squared error / that of the true "
                f"place not changing; the ceiling is read from the real latent; {over}"
            )
            usual = known[f"{place}_skill_mean@{h}"].value
            floors = {"still": 0.0, "mean_place": usual, **untrained(name)}
            rows += as_row(f"{stem}/{name}", known[name], "skill", note, floors, {"seen": seen}, seeds)
    plain: tuple[tuple[str, str, str, dict[str, float], dict[str, float]], ...] = (
        ("gaussian_distance", "distance", "SIGReg's statistic against N(0, I) per held-out frame (0: Gaussian)",
         untrained("gaussian_distance"), {"perfect_gaussian": _value(known, "gaussian_distance_floor")}),
        ("not_normal", "fraction", "of random directions that fail Anderson–Darling after Benjamini–Hochberg",
         untrained("not_normal"), {}),
        ("effective_rank", "directions", "exp(entropy) of the covariance spectrum of held-out latents",
         {"collapsed": 1.0, **untrained("effective_rank")}, {"latent_dim": _value(known, "latent_dim")}),
        ("error@1", "mean square", "one model step ahead, in this model's own units",
         {"copy_last": _value(known, "copy_error@1")}, {}),
    )  # fmt: skip
    for name, unit, what, floors, ceilings in plain:
        if name in known:
            rows += as_row(f"{stem}/{name}", known[name], unit, f"{what}; {spread}", floors, ceilings, seeds)
    return rows


def _value(figures: Mapping[str, Estimate], name: str) -> float:
    return figures[name].value if name in figures else math.nan


def tension_sentences(tension: Tension) -> list[str]:
    """What the sweep shows, for people."""
    first, last = tension.settings[0], tension.settings[-1]
    names = {
        "skill@1": ("skill@1", 2),
        "gaussian_distance": ("distance from a Gaussian", 3),
        "effective_rank": ("effective rank", 1),
    }
    names |= {f"{place}_r2": (f"R² of the {place}", 2) for place in tension.places}
    ways = [
        f"{what} {number(_value(first.figures, name), digits)} → {number(_value(last.figures, name), digits)}"
        for name, (what, digits) in names.items()
    ]
    said = [f"From λ = {first.weight:g} to {last.weight:g}: {', '.join(ways)}."]
    knee = tension.knee("gaussian_distance")
    if knee is None:
        said.append(
            "Skill against Gaussianity has no knee: what one loss wins the other does not lose in any one place."
        )
    else:
        at = tension.settings[knee]
        there = [f"{what} {number(_value(at.figures, name), digits)}" for name, (what, digits) in names.items()]
        said.append(f"The knee of skill against Gaussianity is at λ = {at.weight:g}: {', '.join(there)}.")
    return [*said, OWN_SPACE]
