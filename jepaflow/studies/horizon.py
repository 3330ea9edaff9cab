"""What each remedy against short sight buys: a rollout loss, a longer one, a longer history, both.

All cells see as many frames in as many optimizer steps: a longer window means a smaller batch. SIGReg's statistic grows
with the batch, so λ grows as the batch shrinks. Every model is asked about the same futures, those that begin with as many
frames as the longest history needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row
from jepaflow.diagnosis.as_row import as_row
from jepaflow.diagnosis.resample import Estimate
from jepaflow.diagnosis.words import show
from jepaflow.studies.cells import Cell, Result, Study, steps_of
from jepaflow.studies.measures import Foretelling
from jepaflow.studies.readings import Ratio, pool, pool_gain
from jepaflow.training.config import TrainConfig

PLAIN = "plain"
SHOWN = (1, 2, 5, 10, 20, 30, 40, 50)
"""Model steps ahead that get a row."""
ENOUGH = 10
"""Held-out episodes without which a figure is an anecdote: fewer get a row that says so, no band, and no sentence."""


@dataclass(frozen=True)
class Remedy:
    """A change to the plain training."""

    what: str
    history: int = 3
    rollout_steps: int = 0

    def apply(self, config: TrainConfig) -> TrainConfig:
        """The training with this remedy, at as many frames a step."""
        each = config.batch_size * config.frames
        loss = replace(
            config.loss, rollout=0.5 if self.rollout_steps else 0.0, rollout_steps=max(1, self.rollout_steps)
        )
        changed = replace(config, history=self.history, loss=loss)
        batch = max(2, round(each / changed.frames))
        loss = replace(loss, sigreg=loss.sigreg * config.batch_size / batch)
        return replace(changed, batch_size=batch, loss=loss)


REMEDIES: Mapping[str, Remedy] = {
    PLAIN: Remedy("one-step loss, history 3"),
    "rollout": Remedy("rollout loss over 2 steps", rollout_steps=2),
    "long_rollout": Remedy("rollout loss over 4 steps", rollout_steps=4),
    "long_history": Remedy("history 8", history=8),
    "both": Remedy("history 8 and rollout loss over 2 steps", history=8, rollout_steps=2),
}


def horizon_study(config: TrainConfig, frames: int, remedies: Sequence[str], seeds: int, horizon: int) -> Study:
    """One cell for each remedy and seed, seed by seed.

    Args:
        config: of the plain training; its history and rollout loss are those of the remedies.
        frames: that each cell is trained on.
        remedies: names; the plain one is always among them.
        seeds: trainings of each.
        horizon: model steps to look ahead.

    Raises:
        JepaflowError: for an unknown remedy, or nothing to compare.
    """
    if unknown := [name for name in remedies if name not in REMEDIES]:
        raise JepaflowError(f"There is no remedy {unknown[0]!r}. Choose among {', '.join(REMEDIES)}.")
    if seeds < 1 or horizon < 1:
        raise JepaflowError("--seeds and --horizon must be at least 1.")
    if config.prefix > 1 or config.accumulate > 1:
        raise JepaflowError("--prefix and --accumulate cannot be kept over all remedies. Leave them out.")
    plain = replace(config, history=REMEDIES[PLAIN].history, loss=replace(config.loss, rollout=0.0, rollout_steps=1))
    plain = steps_of(plain, frames)
    wanted = [name for name in REMEDIES if name == PLAIN or name in remedies]
    longest = max(one.history for one in REMEDIES.values())
    cells = [
        Cell(name, REMEDIES[name].apply(replace(plain, seed=seed)))
        for seed in range(config.seed, config.seed + seeds)
        for name in wanted
    ]
    return Study("horizon", tuple(cells), (Foretelling(horizon, longest),))


@dataclass(frozen=True)
class Curve:
    """One remedy: estimates at 1 … N model steps."""

    name: str
    seeds: int
    ratios: Mapping[str, Sequence[Ratio]]
    figures: Mapping[str, Sequence[Estimate]]
    """``skill``, ``mean_skill``; ``<place>_skill``, and with ``_seen`` its ceiling, with ``_mean`` its floor"""
    gains: Mapping[str, Sequence[Estimate]]
    """over the plain training; empty for that"""
    batch: int
    steps: int


@dataclass(frozen=True)
class Horizons:
    """All remedies, the plain training first."""

    curves: tuple[Curve, ...]
    places: tuple[str, ...]

    @property
    def plain(self) -> Curve:
        """The training without a remedy."""
        return self.curves[0]

    @property
    def far(self) -> int:
        """The farthest horizon that enough held-out episodes reach; where none does, 1."""
        return max((h for h, one in enumerate(self.plain.figures["skill"], 1) if one.episodes >= ENOUGH), default=1)


def gather(results: Sequence[Result]) -> Horizons:
    """Pool the cells of each remedy and compare them with the plain training, seed by seed."""
    by_name: dict[str, list[Result]] = {}
    for result in results:
        by_name.setdefault(result.cell.name, []).append(result)
    known = {
        name: {what: [one.readings.ratios[what] for one in cells] for what in cells[0].readings.ratios}
        for name, cells in by_name.items()
    }
    curves = []
    for name in sorted(by_name, key=list(REMEDIES).index):
        ratios, cell = known[name], by_name[name][0].cell
        gains = {} if name == PLAIN else {
            what: pool_gain(ratios[what], known[PLAIN][what]) for what in ratios if what.endswith("skill") and what != "mean_skill"
        }  # fmt: skip
        figures = {what: pool(seeds) for what, seeds in ratios.items()}
        curves.append(
            Curve(name, len(by_name[name]), ratios, figures, gains, cell.config.batch_size, cell.config.steps)
        )
    places = tuple(name.removesuffix("_skill_seen") for name in known[PLAIN] if name.endswith("_skill_seen"))
    return Horizons(tuple(curves), places)


def horizon_rows(found: Horizons, frames: int) -> list[Row]:
    """Rows ``horizon/<remedy>/skill@h``, ``…/gain@h`` (over plain), ``…/<place>_skill@h``."""
    shown = [h for h in SHOWN if h <= len(found.plain.figures["skill"])]
    return [row for curve in found.curves for h in shown for row in _rows_at(found, curve, h, frames)]


def _rows_at(found: Horizons, curve: Curve, h: int, frames: int) -> list[Row]:
    """The rows of one remedy at one horizon."""
    figures, stem = {name: many[h - 1] for name, many in curve.figures.items()}, f"horizon/{curve.name}"
    reach = figures["skill"].episodes
    few = "" if reach >= ENOUGH else f", an anecdote: only {reach} episodes reach so far"
    base = (
        f"{REMEDIES[curve.name].what}; {frames} frames a seed in {curve.steps} steps of {curve.batch} windows; 95 % interval "
        f"over seeds and {reach} held-out episodes{few}"
    )
    note = f"1 − MSE/MSE(copy last) {h} model steps ahead, open loop, in this model's own latent space; {base}"
    floors = {"copy_last": 0.0, "mean_latent": figures["mean_skill"].value}
    rows = as_row(f"{stem}/skill@{h}", figures["skill"], "skill", note, floors, seeds=curve.seeds)
    if curve.gains:
        note = f"skill minus the plain training's on the same windows and seeds; {base}"
        rows += as_row(
            f"{stem}/gain@{h}", curve.gains["skill"][h - 1], "skill", note, {"plain": 0.0}, seeds=curve.seeds
        )
    for place in found.places:
        name = f"{place}_skill"
        note = (
            f"{place} read linearly from what is imagined {h} model steps ahead: 1 − squared error / that of the true place "
            f"not changing; the ceiling is read from the real latent; {base}"
        )
        floors = {"still": 0.0, "mean_place": figures[f"{name}_mean"].value}
        ceilings = {"seen": figures[f"{name}_seen"].value}
        rows += as_row(f"{stem}/{name}@{h}", figures[name], "skill", note, floors, ceilings, curve.seeds)
    return rows


def horizon_sentences(found: Horizons) -> list[str]:
    """What the remedies buy at the far end, for people."""
    end = found.far
    plain = show(found.plain.figures["skill"][end - 1])
    said = [
        f"{end} model steps ahead, the farthest that {ENOUGH} held-out episodes reach, the plain training has skill {plain}."
    ]
    for curve in found.curves[1:]:
        gains = [f"skill {show(curve.gains['skill'][end - 1])}"]
        gains += [f"{place} {show(curve.gains[f'{place}_skill'][end - 1])}" for place in found.places]
        said.append(f"{REMEDIES[curve.name].what.capitalize()} adds: {', '.join(gains)}.")
    said.append(
        "Skill is a ratio in each model's own latent space; the places read from imagined latents are in one unit for all."
    )
    return said
