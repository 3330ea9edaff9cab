"""One camera, the other, or both: does a second view make the model more stable?

*Stable* is asked in five ways: how much skill varies between seeds, how much is left when a camera is lost, when it is late
(cameras are rarely in step), when it has been moved, and how far the latent moves each time. Both views enter stacked, as six
channels of one picture, or fused: one encoder looks at each, and their features are averaged (`jepaflow.worldmodel.views`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row
from jepaflow.diagnosis.as_row import as_row
from jepaflow.diagnosis.resample import Estimate
from jepaflow.studies.cells import Cell, Measure, Result, Study, with_steps
from jepaflow.studies.disturbed import Disturbed
from jepaflow.studies.measures import Foretelling, Reading, Shape
from jepaflow.studies.readings import Readings, pool
from jepaflow.studies.sight import Seeing, verdict_name
from jepaflow.studies.success import bounds_in
from jepaflow.studies.tension import pooled
from jepaflow.training.config import TrainConfig
from jepaflow.worldmodel.presets import PRESETS

HORIZON, HORIZONS = 10, (1, 5, 10)
DISTURBANCES = ("lost_", "late_", "moved_", "undisturbed_", "between_")


def views_study(config: TrainConfig, seeds: int, extra: tuple[Measure, ...] = ()) -> Study:
    """A cell for each camera alone, for all stacked and, where the preset has such a model, for all fused; seed by seed.

    Args:
        config: of the training; its cameras are those compared.
        seeds: trainings of each.
        extra: measures beside the usual ones.

    Raises:
        JepaflowError: for fewer than two cameras.
    """
    if len(config.cameras) < 2:
        raise JepaflowError(
            "The study of views compares cameras: name two with --cameras, for example --cameras pixels phone."
        )
    settings = {camera: replace(config, cameras=(camera,)) for camera in config.cameras} | {"stacked": config}
    if (fused := f"{config.preset}_fused") in PRESETS:
        settings["fused"] = replace(config, preset=fused)
    cells = [
        Cell(name, with_steps(replace(own, seed=seed), own.steps))
        for seed in range(config.seed, config.seed + seeds)
        for name, own in settings.items()
    ]
    usual: tuple[Measure, ...] = (
        Foretelling(HORIZON, config.history),
        Shape(),
        Reading(),
        Seeing(HORIZON),
        Disturbed(),
    )
    return Study("views", tuple(cells), (*usual, *extra))


@dataclass(frozen=True)
class View:
    """One setting: its figures, each seed's skill, verdicts, and the disturbances."""

    name: str
    figures: Mapping[str, Estimate]
    skills: tuple[float, ...]
    """one model step ahead, of each seed"""
    successes: tuple[float, ...]
    """in closed loop, of each seed; empty where that was not asked"""
    verdicts: tuple[str, ...]
    disturbed: Mapping[str, tuple[Estimate, ...]]


@dataclass(frozen=True)
class Views:
    """All settings: each camera alone, then all cameras together."""

    views: tuple[View, ...]
    cameras: tuple[str, ...]

    @property
    def alone(self) -> tuple[View, ...]:
        """One camera each."""
        return self.views[: len(self.cameras)]

    @property
    def together(self) -> tuple[View, ...]:
        """All cameras, in one way or another."""
        return self.views[len(self.cameras) :]


def gather(results: Sequence[Result], cameras: tuple[str, ...]) -> Views:
    """Pool seeds of each setting."""
    runs: dict[str, list[Readings]] = {}
    for result in results:
        runs.setdefault(result.cell.name, []).append(result.readings)
    return Views(tuple(_view(name, many) for name, many in runs.items()), cameras)


def _view(name: str, runs: Sequence[Readings]) -> View:
    changed = [n for n in runs[0].ratios if n.startswith(DISTURBANCES)]
    usual = [Readings({n: r for n, r in one.ratios.items() if n not in changed}, one.scalars) for one in runs]
    return View(
        name,
        pooled(usual, HORIZONS),
        _firsts(runs, "skill"),
        _firsts(runs, "success"),
        tuple(verdict_name(one.scalars["verdict"]) for one in runs),
        {n: tuple(pool([one.ratios[n] for one in runs])) for n in changed},
    )


def _firsts(runs: Sequence[Readings], name: str) -> tuple[float, ...]:
    return tuple(float(one.ratios[name].values()[0]) for one in runs if name in one.ratios)


def deviation(seeds: Sequence[float]) -> float:
    """Standard deviation between seeds; NaN for one."""
    return float(np.std(seeds, ddof=1)) if len(seeds) > 1 else float("nan")


def views_rows(found: Views, stem: str, seeds: int) -> tuple[Row, ...]:
    """Rows ``<stem>/<setting>/<figure>`` and of disturbances ``<stem>/<setting>/<disturbance>``."""
    return tuple(
        row
        for view in found.views
        for row in (*_usual(view, f"{stem}/{view.name}", seeds), *_disturbed(view, f"{stem}/{view.name}", seeds))
    )


OVER = "95 % interval over seeds and held-out episodes"


def _usual(view: View, stem: str, seeds: int) -> list[Row]:
    rows: list[Row] = []
    for name, one in view.figures.items():
        if name.startswith("skill@"):
            rows += as_row(f"{stem}/{name}", one, "skill", OVER, {"copy_last": 0.0}, seeds=seeds)
        elif name.endswith("_r2"):
            rows += as_row(f"{stem}/{name}", one, "R²", OVER, {"mean": 0.0}, seeds=seeds)
        elif name == "success@1":
            rows += as_row(f"{stem}/{name}", one, "fraction", OVER, *bounds_in(view.figures), seeds=seeds)
    note = "low and high are the min and max of the seeds"
    rank = view.figures["effective_rank"]
    rows += as_row(f"{stem}/effective_rank", rank, "directions", note, {"collapsed": 1.0}, seeds=seeds)
    for at, what, unit, of in (
        ("seed_deviation", "skill@1", "skill", view.skills),
        ("seed_deviation_success", "success", "fraction", view.successes),
    ):
        spread = Estimate(deviation(of), float("nan"), float("nan"), len(of), len(of))
        note = f"standard deviation of {what} between seeds, from a handful of them"
        rows += as_row(f"{stem}/{at}", spread, unit, note, seeds=seeds) if of else []
    return rows


def _disturbed(view: View, stem: str, seeds: int) -> list[Row]:
    rows: list[Row] = []
    for name, estimates in view.disturbed.items():
        if name.endswith("agreement"):
            note = f"latent agreement, 1 − distance²/variance; {OVER}"
            rows += as_row(f"{stem}/{name}", estimates[0], "fraction", note, {"mean_latent": 0.0}, seeds=seeds)
            continue
        for h in (1, len(estimates)):
            note = f"skill against the undisturbed future; {OVER}"
            rows += as_row(f"{stem}/{name}@{h}", estimates[h - 1], "skill", note, {"copy_last": 0.0}, seeds=seeds)
    return rows
