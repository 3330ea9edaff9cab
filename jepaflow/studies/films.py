"""Films without a robot: what do they do to a model that is trained with them, and are they noticed by one that is not?

Films are mixed in as frames without actions (each is told the robot's mean action, which reads as nothing), so that a given
share of all training windows is theirs, at equal steps. The films that judge are never trained on: a frame's distance from
the training latents (Mahalanobis) should tell them from the robot's own held-out frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row
from jepaflow.data.split import split_episodes
from jepaflow.data.store import Store
from jepaflow.data.windows import window_starts
from jepaflow.diagnosis.as_row import as_row
from jepaflow.diagnosis.latents import ENCODE_BATCH
from jepaflow.diagnosis.resample import Estimate
from jepaflow.diagnosis.surprise_scores import auroc
from jepaflow.studies.cells import Cell, Measure, Result, Study, with_steps
from jepaflow.studies.disturbed import Disturbed
from jepaflow.studies.evidence import Evidence, stacked
from jepaflow.studies.marks import store_mark
from jepaflow.studies.measures import Foretelling, Reading, Shape
from jepaflow.studies.readings import Readings
from jepaflow.studies.sight import Seeing, verdict_name
from jepaflow.studies.slices import action_free
from jepaflow.studies.success import bounds_in
from jepaflow.studies.tension import pooled
from jepaflow.training.config import TrainConfig
from jepaflow.worldmodel.jepa import JEPA

HORIZON, HORIZONS = 10, (1, 5, 10)
HELD_SHARE = 0.3
"""of the films are kept from all trainings"""
SIDE = 8
"""Side of the tiny pictures whose distance is the yardstick."""
RIDGE = 0.01
"""Share of the mean variance that is added to every direction's."""


@dataclass(frozen=True)
class Foreign:
    """Scalars ``foreign_auroc`` (latents) and ``foreign_auroc_pixels`` (pictures of 8×8 px): films that were never trained on
    against held-out frames of the robot.
    """

    films: Path
    clips: tuple[int, ...]
    mark: str
    """of the films' store"""
    name: str = "foreign"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the figures depend on."""
        return {"films": self.mark, "clips": list(self.clips), "version": 1}

    def __call__(self, evidence: Evidence) -> Readings:
        """Look at both."""
        store, model = Store(self.films), evidence.model
        rows = [store.episode_rows(clip)[:: model.config.block] for clip in self.clips]
        films = np.concatenate([store.pixels(one, ("pixels",)) for one in rows])
        own = [self._frames(evidence, t.episode) for t in evidence.held_out]
        known = [self._frames(evidence, t.episode) for t in evidence.fitted_on]
        latents = [stacked(some).double().numpy() for some in (evidence.fitted_on, evidence.held_out)]
        latents.append(look(model, films))
        pictures = [_tiny(some) for some in (np.concatenate(known), np.concatenate(own), films)]
        scores = {"foreign_auroc": told_apart(*latents), "foreign_auroc_pixels": told_apart(*pictures)}
        return Readings(scalars={**scores, "foreign_frames": float(len(films))})

    def _frames(self, evidence: Evidence, episode: int) -> ndarray:
        rows = evidence.store.episode_rows(episode)[:: evidence.model.config.block]
        return evidence.store.pixels(rows, evidence.model.config.cameras[:1])


def look(model: JEPA, frames: UInt8[ndarray, "n V S S 3"]) -> Float[ndarray, "n D"]:
    """Latents of frames that belong to no episode."""
    parts = []
    with torch.inference_mode():
        for begin in range(0, len(frames), ENCODE_BATCH):
            some = torch.from_numpy(frames[begin : begin + ENCODE_BATCH])[:, None]
            parts.append(model.encode(some.to(model.device))[:, 0].double().cpu())
    latents: ndarray = torch.cat(parts).numpy()
    return latents


def told_apart(known: Float[ndarray, "n F"], own: Float[ndarray, "m F"], other: Float[ndarray, "k F"]) -> float:
    """AUROC of the distance from what is known, of what is foreign against what is one's own."""
    mean, spread = known.mean(0), np.atleast_2d(np.cov(known.T))
    spread = spread + RIDGE * max(float(np.trace(spread)) / len(spread), 1e-12) * np.eye(len(spread))
    whiten = np.linalg.inv(np.linalg.cholesky(spread)).T
    far, near = (np.square((some - mean) @ whiten).sum(1) for some in (other, own))
    return auroc(far, near)


def _tiny(frames: ndarray) -> Float[ndarray, "n F"]:
    """Pictures of 8×8 px, in grey; the first view."""
    grey = frames[:, 0].astype(np.float64).mean(-1)
    side = grey.shape[1] // SIDE if grey.shape[1] >= SIDE else 1
    cut = grey[:, : side * (grey.shape[1] // side), : side * (grey.shape[2] // side)]
    small: ndarray = cut.reshape(len(cut), cut.shape[1] // side, side, cut.shape[2] // side, side).mean((2, 4))
    flat: ndarray = small.reshape(len(cut), -1)
    return flat


def films_study(
    config: TrainConfig,
    films: Path,
    shares: Sequence[float],
    seeds: int,
    folder: Path,
    extra: Sequence[Measure] = (),
) -> Study:
    """One cell for each share and seed.

    Args:
        config: of the training, with the robot's store.
        films: a store of films.
        shares: of the training windows that are films', 0 among them.
        seeds: of each.
        folder: where stores of mixed-in films go.
        extra: measures beside the study's own.

    Raises:
        JepaflowError: for a share out of range, or films that are too short.
    """
    if any(not 0 <= share < 1 for share in shares) or 0 not in shares:
        raise JepaflowError("--shares are those of the films among all windows: from 0 to below 1, with 0 among them.")
    source, dataset = config.dataset.path[0], config.dataset
    robot, other, span = Store(source), Store(films), config.frames * config.block
    long = [e for e in range(other.num_episodes) if other.ep_len[e] >= span * max(1, round(other.fps / robot.fps))]
    if len(long) < 3:
        raise JepaflowError(f"{films} has {len(long)} films that are long enough; this study needs three or more.")
    parts = split_episodes(len(long), HELD_SHARE, 0)
    clips, kept = ([long[i] for i in some] for some in (parts.train, parts.val))
    train = split_episodes(robot.num_episodes, dataset.val_fraction, dataset.split_seed, dataset.episodes).train
    windows = len(window_starts(robot, train, span))
    made = {}
    for share in sorted(set(shares)):
        paths: tuple[Path, ...] = (source,)
        if share:
            # A tenth (or so) of the mixed-in clips goes to the held-out side of the training's own split.
            wanted = round(share / (1 - share) * windows / (1 - dataset.val_fraction))
            paths = (source, action_free(films, clips, (wanted, span), source, train, folder))
        made[f"films-{share:g}"] = replace(config, dataset=replace(dataset, path=paths))
    cells = [
        Cell(name, with_steps(replace(own, seed=seed), own.steps), fitted_on=train)
        for seed in range(config.seed, config.seed + seeds)
        for name, own in made.items()
    ]
    ways = Disturbed(lates=(), moves=(2,))
    measures: tuple[Measure, ...] = (
        Foretelling(HORIZON, config.history),
        Shape(),
        Reading(),
        Seeing(HORIZON),
        ways,
        Foreign(films, tuple(kept), store_mark(films)),
        *extra,
    )
    return Study("films", tuple(cells), measures)


@dataclass(frozen=True)
class Mixed:
    """One share of films: figures, and each seed's."""

    share: float
    figures: Mapping[str, Estimate]
    seeds: Mapping[str, tuple[float, ...]]
    verdicts: tuple[str, ...]


SCALARS = ("effective_rank", "gaussian_distance", "not_normal", "foreign_auroc", "foreign_auroc_pixels")


def gather(results: Sequence[Result]) -> tuple[Mixed, ...]:
    """Pool seeds of each share."""
    runs: dict[str, list[Readings]] = {}
    for result in results:
        runs.setdefault(result.cell.name, []).append(result.readings)
    return tuple(_mixed(float(name.partition("-")[2]), many) for name, many in runs.items())


def _mixed(share: float, runs: Sequence[Readings]) -> Mixed:
    seeds = {
        f"{name}@1": tuple(float(one.ratios[name].values()[0]) for one in runs)
        for name in ("skill", "success")
        if name in runs[0].ratios
    }
    for name in SCALARS:
        seeds[name] = tuple(v for one in runs if (v := one.scalars.get(name)) is not None)
    return Mixed(share, pooled(runs, HORIZONS), seeds, tuple(verdict_name(one.scalars["verdict"]) for one in runs))


def films_rows(found: Sequence[Mixed], stem: str, seeds: int) -> tuple[Row, ...]:
    """Rows ``<stem>/films=<share>/<figure>``."""
    rows: list[Row] = []
    over, spread = "95 % interval over seeds and held-out episodes", "low and high are the min and max of the seeds"
    told: dict[str, tuple[str, str, dict[str, float]]] = {
        "effective_rank": ("directions", "of held-out robot latents", {"collapsed": 1.0}),
        "gaussian_distance": ("distance", "SIGReg's statistic against N(0, I) per held-out frame", {"gaussian": 0.0}),
        "not_normal": ("fraction", "of random directions that fail Anderson–Darling", {}),
        "foreign_auroc": (
            "AUROC",
            "held-out films against held-out robot frames, by the latent's distance",
            {"chance": 0.5},
        ),
        "foreign_auroc_pixels": ("AUROC", "the same by the distance of pictures of 8×8 px", {"chance": 0.5}),
    }
    for one in found:
        at = f"{stem}/films={one.share:g}"
        for name, figure in one.figures.items():
            if name in told:
                unit, what, floors = told[name]
                rows += as_row(f"{at}/{name}", figure, unit, f"{what}; {spread}", floors, seeds=seeds)
            elif name.startswith("skill@"):
                rows += as_row(f"{at}/{name}", figure, "skill", over, {"copy_last": 0.0}, seeds=seeds)
            elif name.endswith("_r2"):
                rows += as_row(f"{at}/{name}", figure, "R²", over, {"mean": 0.0}, seeds=seeds)
            elif name == "success@1":
                note = "95 % interval over seeds and trials"
                rows += as_row(f"{at}/{name}", figure, "fraction", note, *bounds_in(one.figures), seeds=seeds)
            elif name.endswith("_agreement@1"):
                note = f"latent of a picture shifted by 2 px against its own, 1 − distance²/variance; {over}"
                rows += as_row(f"{at}/moved_agreement", figure, "fraction", note, {"mean_latent": 0.0}, seeds=seeds)
    return tuple(rows)
