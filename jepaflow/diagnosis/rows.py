"""Rows for ``results/<topic>.json``: ``<name>/skill@h``, ``<name>/skill_shuffled@h``, ``<name>/effective_rank``."""

import math

from jepaflow.common.results import Row
from jepaflow.diagnosis.measure import Diagnosis, Pooled
from jepaflow.diagnosis.resample import Estimate


def result_rows(name: str, diagnoses: list[Diagnosis], pooled: Pooled) -> list[Row]:
    """The figures of one setting, pooled over its seeds; a figure that does not exist has no row.

    Where no interval exists (a single held-out episode) the bounds repeat the value and the note says so.
    """
    forecast, seeds = pooled.forecast, pooled.seeds
    over = "95 % interval over episodes"
    if seeds > 1:
        over = f"mean over {seeds} seeds, 95 % interval over seeds and episodes"
    step = diagnoses[0].facts["step_seconds"]
    verdict = pooled.verdict.sentence
    rows: list[Row | None] = []
    for h, (own, other) in enumerate(zip(forecast.skill, forecast.shuffled), start=1):
        ahead = f"{h} model steps ({h * step:.3g} s) ahead on held-out episodes; {over}"
        floors = {"copy_last": 0.0, **({"shuffled_actions": other.value} if math.isfinite(other.value) else {})}
        note = f"1 - MSE/MSE(copy last), {ahead}; {_where(own)}" + (f". Verdict: {verdict}" if h == 1 else "")
        rows.append(_row(f"{name}/skill@{h}", own, seeds, "skill", note, floors))
        note = f"future actions of another episode, {ahead}; {_where(other)}"
        rows.append(_row(f"{name}/skill_shuffled@{h}", other, seeds, "skill", note))
    rank, limit = pooled.effective_rank, diagnoses[0].geometry.latent_dim
    each = ", ".join(f"{d.geometry.effective_rank.value:.1f}" for d in diagnoses)
    note = f"exp(entropy) of the covariance spectrum of held-out latents; by seed: {each}; {over}"
    bounds = ({"collapsed": 1.0}, {"latent_dim": float(limit)})
    rows.append(_row(f"{name}/effective_rank", rank, seeds, "directions", note, *bounds))
    note = f"mean over horizons of skill minus skill with shuffled actions; {over}"
    rows.append(_row(f"{name}/skill_minus_shuffled", forecast.listening, seeds, "skill", note, {"deaf": 0.0}))
    note = f"mean cosine of successive latent velocities; {over}"
    rows.append(_row(f"{name}/straightness", pooled.straightness, seeds, "cosine", note))
    return [row for row in rows if row is not None]


def _where(estimate: Estimate) -> str:
    return f"{estimate.episodes} episodes a seed"


def _row(
    name: str,
    estimate: Estimate,
    seeds: int,
    unit: str,
    note: str,
    floors: dict[str, float] | None = None,
    ceilings: dict[str, float] | None = None,
) -> Row | None:
    if not math.isfinite(estimate.value):
        return None
    bounded = math.isfinite(estimate.low) and math.isfinite(estimate.high)
    low, high = (estimate.low, estimate.high) if bounded else (estimate.value, estimate.value)
    note = note if bounded else f"{note}; no interval: a single episode"
    return Row(name, estimate.value, low, high, estimate.n, seeds, unit, floors or {}, ceilings or {}, note)
