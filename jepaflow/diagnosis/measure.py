"""From a run folder to a diagnosis: load, encode held-out episodes once, measure, judge.

Only episodes that the training never saw are used (:mod:`jepaflow.diagnosis.heldout`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json
from jepaflow.data.store import Store
from jepaflow.diagnosis.forecast import HORIZON, Forecast, ForecastErrors, cut_windows, measure_forecast, summarise
from jepaflow.diagnosis.geometry import Geometry, Moments, measure_geometry, rank_estimate, straightness_estimate
from jepaflow.diagnosis.heldout import HeldOut, held_out
from jepaflow.diagnosis.latents import choose_episodes, choose_phases, encode_episodes, require_actions
from jepaflow.diagnosis.resample import Estimate
from jepaflow.diagnosis.verdict import Verdict, judge
from jepaflow.training.checkpoint import Run, load_run
from jepaflow.training.device import choose_device
from jepaflow.worldmodel.jepa import JEPAConfig


@dataclass(frozen=True)
class Options:
    """How much to measure. ``frames`` bounds how many frames are encoded beyond one phase of each episode."""

    horizon: int = HORIZON
    episodes: int = 200
    frames: int = 1500
    draws: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("horizon", "episodes", "frames", "draws"):
            if getattr(self, name) < 1:
                raise JepaflowError(f"--{name} is {getattr(self, name)}; it must be at least 1.")
        if self.seed < 0:
            raise JepaflowError(f"--seed is {self.seed}; it must not be negative.")


@dataclass(frozen=True)
class Diagnosis:
    """Everything measured of one run; ``facts`` says what of, for the report."""

    verdict: Verdict
    forecast: Forecast
    geometry: Geometry
    errors: ForecastErrors
    moments: Moments
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pooled:
    """Several seeds of one setting taken together."""

    verdict: Verdict
    forecast: Forecast
    effective_rank: Estimate
    straightness: Estimate
    normality_share: float
    seeds: int


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
    verdict = judge(forecast, geometry.effective_rank.value, geometry.latent_dim, step)
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
    return Diagnosis(verdict, forecast, geometry, errors, moments, facts)


def check_fit(store: Store, config: JEPAConfig) -> None:
    """Refuse a store whose frames or columns are not of the shape that the model was trained on."""
    wanted = {"image size": (store.image_size, config.image_size), "action": (store.dim("action"), config.action_dim)}
    if config.proprio_dim:
        wanted["proprio"] = (store.dim("proprio"), config.proprio_dim)
    for name, (found, needed) in wanted.items():
        if found != needed:
            raise JepaflowError(
                f"{store.path} has {name} {found} but the model was trained with {needed}. "
                "Convert the dataset with the options of the training store."
            )


def check_rules(store: Store, run: Run) -> None:
    """Refuse frames fitted or timed otherwise than in training: they would make any model look blind."""
    record = run.path / "data.json"
    if not record.is_file():
        return
    trained = read_json(record)[0]
    for name, found in (("image_fit", store.meta.get("image_fit")), ("fps", store.fps)):
        if found != trained[name]:
            raise JepaflowError(
                f"{store.path} has {name} {found} but the model was trained with {trained[name]}. "
                "Convert the dataset with the options of the training store."
            )


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
    }


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
    return Pooled(
        verdict=judge(forecast, rank.value, facts["latent_dim"], facts["step_seconds"]),
        forecast=forecast,
        effective_rank=rank,
        straightness=straightness_estimate(sums, options.draws, options.seed),
        normality_share=float(np.mean([d.geometry.normality.share for d in diagnoses])),
        seeds=len(diagnoses),
    )
