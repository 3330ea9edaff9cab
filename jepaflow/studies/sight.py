"""The symptoms of a run that the report rests on, as readings: verdict, hearing, what it does with episodes it knows.

What a model's own held-out episodes cannot tell shows beside them: its skill on episodes that it was *trained* on (learnt by
heart?), and on *fresh* ones from elsewhere (leaked, or wrongly labelled?).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jepaflow.diagnosis.forecast import ForecastErrors, measure_forecast, summarise
from jepaflow.diagnosis.geometry import measure_geometry
from jepaflow.diagnosis.latents import Trajectory
from jepaflow.diagnosis.spread import spread_estimate
from jepaflow.diagnosis.verdict import judge
from jepaflow.studies.evidence import Evidence
from jepaflow.studies.readings import Ratio, Readings

SIGHTS = ("undecided", "collapsed", "blind", "deaf", "short-sighted", "sighted")
"""Verdicts, by the number under which a reading keeps them."""
DRAWS = 400
STILL = 0.05
"""A model step is still when the latent moves (squared) by less than this share of the mean."""


@dataclass(frozen=True)
class Seeing:
    """The diagnosis of a run: ratios ``action_gain``, ``train_skill``, ``fresh_skill``, ``fresh_gain``; scalars ``verdict``
    (an index of `SIGHTS`), ``skilful_to`` (model steps), ``motion`` and ``still`` (how much happens in a model step).
    """

    horizon: int = 10
    trained: int = 12
    """training episodes that are judged as well"""
    name: str = "seeing"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the figures depend on."""
        return {"horizon": self.horizon, "trained": self.trained, "version": 1}

    def __call__(self, evidence: Evidence) -> Readings:
        """Diagnose."""
        own = self._errors(evidence, evidence.held_out)
        geometry, moments = measure_geometry(evidence.held_out)
        spread, dim = spread_estimate([moments], DRAWS).value, evidence.model.config.latent_dim
        verdict = judge(summarise([own], DRAWS), geometry.effective_rank.value, dim, spread=spread)
        ratios = {"action_gain": gain(own)}
        known = self._errors(evidence, evidence.trained(self.trained))
        ratios["train_skill"] = _skill(known)
        if evidence.fresh is not None:
            fresh = self._errors(evidence, evidence.fresh)
            ratios |= {"fresh_skill": _skill(fresh), "fresh_gain": gain(fresh)}
        motion, still = move(evidence.held_out)
        scalars = {"verdict": float(SIGHTS.index(verdict.sight)), "skilful_to": float(verdict.skilful_to)}
        return Readings(ratios, {**scalars, "motion": motion, "still": still, "spread": spread})

    def _errors(self, evidence: Evidence, along: list[Trajectory]) -> ForecastErrors:
        windows = evidence.windows(evidence.model.config.history, self.horizon, along)
        return measure_forecast(evidence.model, windows)


def move(along: list[Trajectory]) -> tuple[float, float]:
    """How much happens in a model step.

    Args:
        along: latents of episodes.

    Returns:
        The root mean square of a step over that of the difference between two frames drawn at random, and the share of steps
        that are still.
    """
    z: Float[Tensor, "n D"] = torch.cat([one.z for one in along]).double()
    steps = torch.cat([(one.z[1:] - one.z[:-1]).double().square().sum(1) for one in along])
    if len(steps) == 0 or not float(z.var(0).sum()) > 0:
        return float("nan"), float("nan")
    apart = 2 * float(z.var(0).sum())
    return float((steps.mean() / apart).sqrt()), float((steps < STILL * steps.mean()).double().mean())


def _skill(errors: ForecastErrors) -> Ratio:
    return Ratio(errors.episodes, errors.model, errors.copy, errors.count)


def gain(errors: ForecastErrors) -> Ratio:
    """What the right actions add to skill, as a ratio: 1 − (copy − shuffled + model) / copy."""
    lost = errors.paired_copy - errors.shuffled + errors.paired_model
    return Ratio(errors.episodes, lost, errors.paired_copy, errors.paired_count)


def verdict_name(value: float | None) -> str:
    """The verdict that a reading keeps as a number."""
    return "–" if value is None or not np.isfinite(value) else SIGHTS[int(value)]
