"""Rows for ``results/<topic>.json``: ``<name>/skill@h``, ``<name>/effective_rank`` and the rest, each beside its floor."""

import math
from dataclasses import replace

from jepaflow.common.intervals import wilson
from jepaflow.common.results import Row
from jepaflow.diagnosis.as_row import as_row
from jepaflow.diagnosis.measure import Diagnosis, Pooled
from jepaflow.diagnosis.resample import Estimate
from jepaflow.diagnosis.verdict import COLLAPSED_SPREAD


def result_rows(name: str, diagnoses: list[Diagnosis], pooled: Pooled) -> list[Row]:
    """The figures of one setting, pooled over its seeds; a figure that does not exist has no row.

    Where no interval exists (a single held-out episode) the bounds repeat the value and the note says so. The close-up
    is of a run, not of a setting: several seeds have it in their own ``metrics.json`` only.

    Args:
        name: what stands before every row's name; nothing when empty.
        diagnoses: one a seed.
        pooled: the same together.
    """
    seeds = pooled.seeds
    over = "95 % interval over episodes"
    if seeds > 1:
        over = f"mean over {seeds} seeds, 95 % interval over seeds and episodes"
    before = f"{name}/" if name else ""
    rows = _skill_rows(before, diagnoses, pooled, over) + _geometry_rows(before, diagnoses, pooled, over)
    if seeds == 1:
        close = diagnoses[0].close
        rows += [] if close is None else [_renamed(row, before) for row in close.rows("x")]
    return rows


def _skill_rows(before: str, diagnoses: list[Diagnosis], pooled: Pooled, over: str) -> list[Row]:
    forecast, seeds = pooled.forecast, pooled.seeds
    step = diagnoses[0].facts["step_seconds"]
    rows: list[Row] = []
    foreign: list[Row] = []
    for h, (own, other) in enumerate(zip(forecast.skill, forecast.shuffled), start=1):
        ahead = f"{h} model steps ({h * step:.3g} s) ahead on held-out episodes; {over}"
        floors = {"copy_last": 0.0, "shuffled_actions": other.value}
        verdict = f". Verdict: {pooled.verdict.sentence}" if h == 1 else ""
        note = f"1 - MSE/MSE(copy last), {ahead}; {_where(own, seeds)}{verdict}"
        rows += as_row(f"{before}skill@{h}", own, "skill", note, floors, {"perfect": 1.0}, seeds)
        note = f"future actions of another episode, {ahead}; {_where(other, seeds)}"
        foreign += as_row(f"{before}skill_shuffled@{h}", other, "skill", note, {"copy_last": 0.0}, seeds=seeds)
    note = f"mean over horizons of skill minus skill with shuffled actions; {over}"
    rows += as_row(f"{before}skill_minus_shuffled", forecast.listening, "skill", note, {"deaf": 0.0}, seeds=seeds)
    return rows + _episode_row(before, diagnoses) + foreign


def _episode_row(before: str, diagnoses: list[Diagnosis]) -> list[Row]:
    """In how many held-out episodes the model beats the frame that stays."""
    better = total = 0
    for diagnosis in diagnoses:
        skill = episode_skill(diagnosis)
        better += sum(s > 0 for s in skill.values())
        total += len(skill)
    if not total:
        return []
    note = "held-out episodes in which skill@1 is above 0; Wilson interval"
    low, high = wilson(better, total)
    floors, unit = {"copy_last": 0.0}, "fraction"
    return [Row(f"{before}episodes_forecast", better / total, low, high, total, len(diagnoses), unit, floors, {}, note)]


def episode_skill(diagnosis: Diagnosis) -> dict[int, float]:
    """Skill one model step ahead by held-out episode; episodes in which nothing moves have none."""
    errors = diagnosis.errors
    pairs = zip(errors.episodes, errors.model[:, 0], errors.copy[:, 0])
    return {episode: float(1 - model / copy) for episode, model, copy in pairs if copy > 0}


def _geometry_rows(before: str, diagnoses: list[Diagnosis], pooled: Pooled, over: str) -> list[Row]:
    seeds, dim = pooled.seeds, float(diagnoses[0].geometry.latent_dim)
    each = ", ".join(f"{d.geometry.effective_rank.value:.1f}" for d in diagnoses)
    note = f"exp(entropy) of the covariance spectrum of held-out latents; by seed: {each}; {over}"
    floors, ceilings = {"collapsed": 1.0}, {"latent_dim": dim}
    name = f"{before}effective_rank"
    rows = as_row(name, pooled.effective_rank, "directions", note, floors, ceilings, seeds)
    note = f"mean variance of a latent dimension over held-out frames; SIGReg asks for 1; {over}"
    floors, ceilings = {"collapsed": COLLAPSED_SPREAD}, {"asked_for": 1.0}
    rows += as_row(f"{before}latent_spread", pooled.spread, "variance", note, floors, ceilings, seeds)
    note = f"mean cosine of successive latent velocities; {over}"
    floors = {"random_walk": 0.0, "noise_around_a_point": -0.5}
    rows += as_row(f"{before}straightness", pooled.straightness, "cosine", note, floors, {"straight": 1.0}, seeds)
    if math.isfinite(pooled.normality_share):
        normality = diagnoses[0].geometry.normality
        note = (
            "share of random directions that fail Anderson-Darling (Benjamini-Hochberg, 5 %) on "
            f"{normality.n} frames; compare at equal n only; no interval"
        )
        share = Estimate(pooled.normality_share, pooled.normality_share, pooled.normality_share, normality.n, 0)
        rows += as_row(f"{before}not_normal", share, "fraction", note, {"all_fail": 1.0}, {"gaussian": 0.0}, seeds)
    return rows


def _renamed(row: Row, before: str) -> Row:
    """The row with another first word in its name; skill always has its floor, the last frame."""
    floors = row.floors or ({"copy_last": 0.0} if "/skill" in row.name else {})
    return replace(row, name=before + row.name.split("/", 1)[1], floors=floors)


def _where(estimate: Estimate, seeds: int) -> str:
    return f"{estimate.episodes} held-out episodes" + (" a seed" if seeds > 1 else "")
