"""What does the latent know? Ridge and MLP probes of joints, places, angles, speeds and touch, beside the floors.

The paper's table (mean squared error of z-scored quantities, correlation; linear and MLP) with what it lacks: held-out
*episodes*, intervals over them, and for each figure the same probe on features that need no trained model
(:mod:`jepaflow.diagnosis.probe_floors`). Imagined latents are read with the probe of real ones, as a planner would; their
floor is the reading of the last real latent (nothing has changed), their ceiling that of the real latent of that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row
from jepaflow.data.store import Store
from jepaflow.diagnosis.as_row import as_row
from jepaflow.diagnosis.foresight import AHEAD, Foresight, carrying, foresee, owners
from jepaflow.diagnosis.latents import Trajectory
from jepaflow.diagnosis.mlp import MLPConfig, fit_mlp
from jepaflow.diagnosis.probe_data import LATENT, STILL, Asked, Material, Sample, gather, latents, truths
from jepaflow.diagnosis.probe_floors import FLOORS, PIXELS
from jepaflow.diagnosis.probe_scores import Score, score
from jepaflow.diagnosis.probe_targets import find_targets
from jepaflow.diagnosis.ridge import Others, ridge, ridges
from jepaflow.training.checkpoint import Run

KINDS = ("linear", "mlp")
IMAGINED = 200
"""Training episodes, about, whose imagined latents take part in the choice of a ridge's strength."""


@dataclass(frozen=True)
class ProbeOptions:
    """How much to measure."""

    episodes: int = 600
    """training episodes that probes are fitted on, at most"""
    held: int = 100
    """held-out episodes that judge, at most"""
    draws: int = 1000
    """resamples of the intervals"""
    seed: int = 0
    mlp: MLPConfig = field(default_factory=MLPConfig)

    def __post_init__(self) -> None:
        for name in ("episodes", "held", "draws"):
            if getattr(self, name) < 1:
                raise JepaflowError(f"--{name} is {getattr(self, name)}; it must be at least 1.")
        if self.seed < 0:
            raise JepaflowError(f"--seed is {self.seed}; it must not be negative.")


@dataclass(frozen=True)
class Probes:
    """Every figure of one run.

    Attributes:
        asked: the targets, in order.
        scores: by (target, ``linear`` or ``mlp``, source); the sources are ``latent``, the floors, and for each ``n`` model
            steps ahead ``ahead<n>``, ``still<n>`` and ``real<n>``.
        facts: what of.
    """

    asked: tuple[Asked, ...]
    scores: Mapping[tuple[str, str, str], Score]
    facts: dict[str, Any]

    def get(self, target: str, kind: str = "linear", source: str = LATENT) -> Score | None:
        """One figure; None where there is none (a floor that does not exist, no window so long)."""
        return self.scores.get((target, kind, source))

    def floors(self, target: str, kind: str, figure: str = "r") -> dict[str, float]:
        """What the same probe reads from each floor."""
        found = ((floor, self.get(target, kind, floor)) for floor in FLOORS)
        return {floor: _value(known, figure) for floor, known in found if known is not None}

    def rows(self, name: str = "probe") -> list[Row]:
        """``<name>/<target>/<linear|mlp>/{r, mse, auroc, ahead<n>/r}`` with floors."""
        return [row for asked in self.asked for kind in KINDS for row in self._rows(name, asked, kind)]

    def _rows(self, name: str, asked: Asked, kind: str) -> list[Row]:
        known, prefix = self.scores[asked.name, kind, LATENT], f"{name}/{asked.name}/{kind}"
        each = ", ".join(f"{c} {r:.3f}" for c, r in zip(asked.coordinates, known.each))
        note = f"{self.facts['how']}; 95 % interval over {known.r.episodes} held-out episodes"
        rows = as_row(f"{prefix}/r", known.r, "r", f"{each}; {note}", self.floors(asked.name, kind))
        floors = {**self.floors(asked.name, kind, "mse"), "mean": self.facts["mean_mse"][asked.name]}
        rows += as_row(f"{prefix}/mse", known.mse, "z-score squared", note, floors)
        if known.auroc is not None:
            floors = {**self.floors(asked.name, kind, "auroc"), "chance": 0.5}
            rows += as_row(f"{prefix}/auroc", known.auroc, "AUROC", note, floors)
        for steps in AHEAD:
            if (ahead := self.get(asked.name, kind, f"ahead{steps}")) is None:
                continue
            beside = {key: _value(self.get(asked.name, kind, f"{key}{steps}"), "r") for key in ("still", "real")}
            said = f"imagined {steps} model steps ahead, open loop, read by a probe fitted to real latents; {note}"
            floors, ceilings = {"still": beside["still"]}, {"real": beside["real"]}
            rows += as_row(f"{prefix}/ahead{steps}/r", ahead.r, "r", said, floors, ceilings)
        return rows


def _value(known: Score | None, figure: str) -> float:
    estimate = None if known is None else getattr(known, figure)
    return float("nan") if estimate is None else float(estimate.value)


def probe_run(run: Run, dataset: Path | None = None, options: ProbeOptions | None = None) -> Probes:
    """Probe a run's latents, real and imagined, and the floors.

    Args:
        run: the run.
        dataset: a store to use instead of the run's own.
        options: how much to measure.

    Raises:
        JepaflowError: when a store is gone, does not suit the model, or tells nothing to look for.
    """
    options = options or ProbeOptions()
    material = gather(run, dataset, options.episodes, options.held, options.seed)
    scores: dict[tuple[str, str, str], Score] = {}
    sources = list(material.train.features)
    with progress("probe", len(sources) * len(KINDS)) as advance:
        for source in sources:
            for kind in KINDS:
                probe = _fit(material, source, kind, options)
                held = material.held
                read = {source: (probe(held.features[source]), held.true, held.episode)}
                if source == LATENT:
                    read |= _read_ahead(run, material, kind, probe, options)
                for name, what in read.items():
                    scores |= {(asked, kind, name): found for asked, found in _judge(material, name, what, options)}
                advance()
    return Probes(material.asked, scores, _facts(run, material, options))


Reader = Callable[[Float[np.ndarray, "n F"]], Float[np.ndarray, "n Q"]]
Read = tuple[Float[np.ndarray, "n Q"], Float[np.ndarray, "n Q"], Int[np.ndarray, " n"]]
"""What is read, what is true, the episode of each frame."""


def _fit(
    material: Material, source: str, kind: str, options: ProbeOptions, imagined: Iterable[Foresight] = ()
) -> Reader:
    """Fit one kind of probe to one source, all targets side by side; a ridge's strength minds imagined latents too."""
    train, groups = material.train, [asked.at for asked in material.asked]
    known = (train.features[source], train.true, train.episode)
    if kind == "mlp":
        return fit_mlp(known, groups, options.mlp, options.seed, source == PIXELS).read
    also: Others | None = None
    if windows := list(imagined):
        z, then = (torch.cat(parts).double().numpy() for parts in zip(*((w.imagined, w.then) for w in windows)))
        also = z, then[:, z.shape[1] :], np.concatenate([w.episode for w in windows])
    fits = ridges(known, groups, also, options.seed, source == PIXELS)
    return lambda features: np.concatenate([fit.read(features) for fit in fits], 1)


def _judge(material: Material, source: str, what: Read, options: ProbeOptions) -> Iterator[tuple[str, Score]]:
    """Score each target of a reading; intervals for latents only, real and imagined."""
    draws = options.draws if source == LATENT or source.startswith("ahead") else 0
    read, true, owner = what
    for asked in material.asked:
        if not (asked.told and source == "proprio"):
            at = asked.at
            yield (
                asked.name,
                score(read[:, at], true[:, at], owner, yes_no=asked.yes_no, draws=draws, seed=options.seed),
            )


def _read_ahead(run: Run, material: Material, kind: str, probe: Reader, options: ProbeOptions) -> dict[str, Read]:
    """What is read from imagined latents, from the last real ones, and from the real ones of that moment.

    The ridge is fitted to real latents, as strong as reads real *and imagined* latents of training episodes best. A weaker
    one leans on directions in which real latents hardly vary and imagined ones err (r of the object .83 instead of .89).
    """
    windows = _windows(run, material.held)
    if windows and kind == "linear":
        probe = _fit(material, LATENT, kind, options, _windows(run, material.train, IMAGINED).values())
    found: dict[str, Read] = {}
    for steps, one in windows.items():
        now, then, true = _parts(run, one)
        for name, features in (("ahead", one.imagined.double().numpy()), ("still", now), ("real", then)):
            found[f"{name}{steps}"] = (probe(features), true, one.episode)
    return found


def _windows(run: Run, sample: Sample, limit: int | None = None) -> dict[int, Foresight]:
    """Imagine ahead in (evenly chosen) trajectories, what is true behind the latents."""
    config, trajectories = run.model.config, sample.trajectories
    ends = np.cumsum([len(t.z) for t in trajectories])
    parts = iter(np.split(sample.true, ends[:-1]))
    known = carrying(trajectories, lambda _: next(parts))
    known = known[:: max(1, len(known) // limit)] if limit else known
    return foresee(run.model, known, config.latent_dim, config.history, AHEAD)


def _parts(run: Run, one: Foresight) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The latents now and then, and what is true then."""
    dim = run.model.config.latent_dim
    return tuple(part.double().numpy() for part in (one.now[:, :dim], one.then[:, :dim], one.then[:, dim:]))  # type: ignore[return-value]


def _facts(run: Run, material: Material, options: ProbeOptions) -> dict[str, Any]:
    train, held = (
        (len(s.true), len(np.unique(s.episode))) for s in (material.train, material.held)
    )  # frames, episodes
    seen = "pixels and joints" if run.model.config.proprio_dim else "pixels"
    how = (
        f"{run.path.name} at step {run.step} ({seen} as input); fitted on {train[0]} frames of {train[1]} training "
        f"episodes, judged on {held[0]} frames of {held[1]}"
    )
    spread = np.square(material.held.true)
    return {
        "run": run.path.name,
        "checkpoint_step": run.step,
        "proprio": run.model.config.proprio_dim > 0,
        "train_frames": train[0],
        "train_episodes": train[1],
        "held_frames": held[0],
        "held_episodes": held[1],
        "held_out_because": material.why,
        "left_out": list(material.left_out),
        "seed": options.seed,
        "how": how,
        "mean_mse": {asked.name: float(spread[:, asked.at].mean()) for asked in material.asked},
    }


def linear_score(
    store: Store,
    train: Sequence[Trajectory],
    held: Sequence[Trajectory],
    target: str,
    seed: int = 0,
    draws: int = 0,
) -> Score:
    """How well a ridge reads one target from given trajectories: r, MSE, R2; without floors, in about a second.

    Args:
        store: of the trajectories' episodes.
        train: latents of training episodes, at model-step spacing (`encode_episodes`).
        held: latents of held-out episodes.
        target: such as ``gripper`` or ``object`` (:mod:`jepaflow.diagnosis.probe_targets`).
        seed: of the folds and resamples.
        draws: resamples of the intervals; 0: none.

    Raises:
        JepaflowError: when the store does not tell the target, or it does not vary.
    """
    targets = find_targets(store)
    named = [t for t in targets if t.name == target]
    if not named:
        raise JepaflowError(f"{store.path} tells no {target}. Choose one of {', '.join(t.name for t in targets)}.")
    known, true = (truths(store, named, part) for part in (train, held))
    varies = known.std(0) > STILL
    if not varies.any():
        raise JepaflowError(f"The {target} does not vary among these episodes. Use more of them.")
    middle, spread = known[:, varies].mean(0), known[:, varies].std(0)
    known, true = ((part[:, varies] - middle) / spread for part in (known, true))
    fit = ridge((latents(train), known, owners(train)), seed=seed)
    return score(fit.read(latents(held)), true, owners(held), yes_no=named[0].yes_no, draws=draws, seed=seed)
