"""From a run folder to a diagnosis: load, encode held-out episodes once, measure, judge.

Only episodes that the training never saw are used (:mod:`jepaflow.diagnosis.heldout`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.diagnosis.close_up import CloseUp, take_close_up
from jepaflow.diagnosis.forecast import HORIZON, Forecast, ForecastErrors, cut_windows, measure_forecast, summarise
from jepaflow.diagnosis.geometry import Geometry, Moments, measure_geometry, rank_estimate, straightness_estimate
from jepaflow.diagnosis.heldout import HeldOut, held_out
from jepaflow.diagnosis.latents import choose_episodes, choose_phases, encode_episodes, require_actions
from jepaflow.diagnosis.resample import Estimate
from jepaflow.diagnosis.spread import spread_estimate
from jepaflow.diagnosis.suits import check_fit, check_rules
from jepaflow.diagnosis.verdict import Verdict, judge
from jepaflow.training.checkpoint import Run, load_run
from jepaflow.training.device import choose_device

NOTHING = Estimate(float("nan"), float("nan"), float("nan"), 0, 0)
EXTRAS = ("close-up", "probes")
"""parts of a diagnosis beyond forecast and geometry, which take longer and can be left out"""


@dataclass(frozen=True)
class Options:
    """How much to measure. ``frames`` bounds how many frames are encoded beyond one phase of each episode.

    ``skip`` leaves out some of :data:`EXTRAS`: ``close-up`` (geometry in depth, panels, neighbours, far horizons) and
    ``probes``, which the command runs itself (:mod:`jepaflow.diagnosis.topics` brings them into the report).
    """

    horizon: int = HORIZON
    episodes: int = 200
    frames: int = 1500
    draws: int = 2000
    seed: int = 0
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [name for name in self.skip if name not in EXTRAS]
        if unknown:
            raise JepaflowError(
                f"--skip {unknown[0]} is not a part that can be left out. Choose among: {', '.join(EXTRAS)}."
            )
        for name in ("horizon", "episodes", "frames", "draws"):
            if getattr(self, name) < 1:
                raise JepaflowError(f"--{name} is {getattr(self, name)}; it must be at least 1.")
        if self.seed < 0:
            raise JepaflowError(f"--seed is {self.seed}; it must not be negative.")


@dataclass(frozen=True)
class Diagnosis:
    """Everything measured of one run; ``facts`` says what of, for the report.

    ``close`` is None where it was left out.
    """

    verdict: Verdict
    forecast: Forecast
    geometry: Geometry
    errors: ForecastErrors
    moments: Moments
    facts: dict[str, Any] = field(default_factory=dict)
    spread: Estimate = NOTHING
    close: CloseUp | None = None


@dataclass(frozen=True)
class Pooled:
    """Several seeds of one setting taken together."""

    verdict: Verdict
    forecast: Forecast
    effective_rank: Estimate
    straightness: Estimate
    normality_share: float
    seeds: int
    spread: Estimate = NOTHING


def diagnose_run(
    folder: Path, dataset: Path | None = None, options: Options | None = None, device: str = "cpu"
) -> Diagnosis:
    """Measure one run on held-out episodes.

    Args:
        folder: a run folder of ``jepaflow train``.
        dataset: a store to use instead of the run's own.
        options: how much to measure.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        JepaflowError: when the store has no actions, lacks a camera, or no episode is long enough.
    """
    options = options or Options()
    run = load_run(folder, str(choose_device(device)[0]))
    chosen, config = held_out(run, dataset), run.model.config
    store = chosen.store
    require_actions(store, str(store.path))
    check_fit(store, config)
    check_rules(store, run)
    episodes = choose_episodes(chosen.episodes, options.episodes, options.seed)
    lengths = [int(store.ep_len[e]) for e in episodes]
    trajectories = encode_episodes(
        run.model,
        store,
        episodes,
        cameras=config.cameras,
        block=config.block,
        phases=choose_phases(lengths, config.block, options.frames),
        proprio=config.proprio_dim > 0,
    )
    windows = cut_windows(trajectories, config.history, options.horizon)
    if windows is None:
        need = config.history * config.block + 1
        raise JepaflowError(
            f"No held-out episode of {store.path} has the {need} frames that a single forecast needs "
            f"(the longest has {max(lengths)}). Hold out longer episodes."
        )
    errors = measure_forecast(run.model, windows, options.seed)
    forecast = summarise([errors], options.draws, options.seed)
    geometry, moments = measure_geometry(trajectories, options.seed)
    step = config.block / store.fps
    spread = spread_estimate([moments], options.draws, options.seed)
    verdict = judge(forecast, geometry.effective_rank.value, geometry.latent_dim, step, spread.value)
    facts = {
        **_model_facts(run),
        **_data_facts(store, run, chosen, step),
        "judged_episodes": len(errors.episodes),
        "too_short_episodes": len(episodes) - len(errors.episodes),
        "frames": sum(len(t.z) for t in trajectories),
        "windows": len(windows.reach),
        "seed": options.seed,
        "draws": options.draws,
    }
    close = None if "close-up" in options.skip else take_close_up(run, store, trajectories, seed=options.seed)
    return Diagnosis(verdict, forecast, geometry, errors, moments, facts, spread, close)


def _model_facts(run: Run) -> dict[str, Any]:
    config = run.model.config
    return {
        "run": run.path.name,
        "checkpoint_step": run.step,
        "training_seed": run.config.get("seed"),
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "encoder": config.encoder.kind,
        "latent_dim": config.latent_dim,
        "history": config.history,
        "block": config.block,
        "image_size": config.image_size,
        "cameras": list(config.cameras),
        "proprio": config.proprio_dim > 0,
        "action_dim": config.action_dim,
        "training": _training_facts(run.config),
    }


def _training_facts(config: dict[str, Any]) -> dict[str, Any]:
    """What the advice needs to know of the training; None where a run does not record it."""
    loss = config.get("loss", {})
    names = ("preset", "steps", "proprio_dropout", "action_change")
    return {
        **{name: config.get(name) for name in names},
        **{name: loss.get(name) for name in ("sigreg", "rollout", "rollout_steps", "inverse")},
        "stores": [_shown_path(path) for path in config["dataset"]["path"]],
    }


def _shown_path(path: str) -> str:
    """A path as a report may show it: from here where it lies below, and no more than its name where it was elsewhere."""
    given, here = Path(path), Path.cwd()
    if not given.is_absolute():
        return str(path)
    return str(given.relative_to(here)) if given.is_relative_to(here) else given.name


def _data_facts(store: Store, run: Run, chosen: HeldOut, step: float) -> dict[str, Any]:
    return {
        "store": store.path.name,
        "fps": store.fps,
        "step_seconds": step,
        "store_episodes": store.num_episodes,
        "train_episodes": len(run.train_episodes),
        "held_out_episodes": len(chosen.episodes),
        "held_out_because": chosen.why,
    }


def pool(diagnoses: Sequence[Diagnosis], options: Options) -> Pooled:
    """Pool seeds of one setting: means over seeds, intervals over seeds and episodes.

    Raises:
        JepaflowError: when the runs differ in more than their seed (latent size, history, block, camera, store).
    """
    for key in ("latent_dim", "history", "block", "cameras", "store"):
        values = [d.facts[key] for d in diagnoses]
        if any(value != values[0] for value in values):
            raise JepaflowError(
                f"These runs are not seeds of one setting: their {key} differs ({', '.join(map(str, values))}). "
                "Diagnose them one by one."
            )
    forecast = summarise([d.errors for d in diagnoses], options.draws, options.seed)
    sums = [d.moments for d in diagnoses]
    rank = rank_estimate(sums, [d.geometry.effective_rank.value for d in diagnoses], seed=options.seed)
    facts = diagnoses[0].facts
    spread = spread_estimate(sums, options.draws, options.seed)
    return Pooled(
        verdict=judge(forecast, rank.value, facts["latent_dim"], facts["step_seconds"], spread.value),
        forecast=forecast,
        effective_rank=rank,
        straightness=straightness_estimate(sums, options.draws, options.seed),
        normality_share=float(np.mean([d.geometry.normality.share for d in diagnoses])),
        seeds=len(diagnoses),
        spread=spread,
    )
