"""Does the model foretell what its own planner does? Forecast skill on the trials just executed, beside success.

`diagnose` measures skill on the data's actions. A planner's actions are others: it chooses them *because* the model
likes their forecast, so it goes where the model errs in its favour, and no demonstration was there. In a feasibility
test on the SO-101's pushing, skill one model step ahead was .96 under the data's actions and .75 under the planner's:
the figure that says whether a plan can be believed is the second one, and practising (`practise`) is to raise it.

Skill is `diagnosis.forecast`'s: 1 - MSE(forecast) / MSE(copy last), open loop from H real frames, a ratio of sums over
windows, and the same with another trial's actions. The frames are those that the controller looked at anyway, one a
model step, so nothing is drawn or encoded again; the unit of resampling is the trial.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jepaflow.common.results import Row
from jepaflow.diagnosis.forecast import Forecast, ForecastErrors, cut_windows, measure_forecast, summarise
from jepaflow.diagnosis.latents import Trajectory
from jepaflow.diagnosis.resample import Estimate
from jepaflow.planning.controller import Controller
from jepaflow.planning.planner import WorldModel

HORIZON = 5
"""Model steps ahead that are measured."""
IN_ROWS = (1, 5)
"""Those that the results keep."""


@dataclass(frozen=True)
class Foresight:
    """One planner's forecasts on trials that it executed itself."""

    run: str
    """Which model; the trials of several evaluation seeds of one model are added up."""
    errors: ForecastErrors


def own_foresight(
    model: WorldModel,
    controller: Controller,
    run: str,
    starts: Float[np.ndarray, "n d"],
    goals: Float[np.ndarray, "n d"],
) -> Foresight | None:
    """Measure the forecasts of the controller's last episode; None if it is too short for a window of H + 1 frames.

    Args:
        model: the one that planned.
        controller: has just executed the trials, remembering them.
        run: names the model.
        starts, goals: the trials' simulator states, which name them: trials that two runs share are resampled together.
    """
    z, blocks = (part.float().cpu() for part in controller.memory)
    trajectories = [
        Trajectory(_number(starts[i], goals[i]), 0, z[i], blocks[i, : z.shape[1] - 1]) for i in range(len(z))
    ]
    windows = cut_windows(trajectories, model.config.history, HORIZON)
    return None if windows is None else Foresight(run, measure_forecast(model, windows))


def _number(start: np.ndarray, goal: np.ndarray) -> int:
    digest = hashlib.sha256(np.ascontiguousarray([start, goal], dtype=np.float32).tobytes()).digest()
    return int.from_bytes(digest[:7], "big")


def summarise_foresight(measured: Sequence[Foresight]) -> Forecast | None:
    """Return skill@1 .. skill@5 over all trials: mean over runs, interval over runs and trials; None for none."""
    runs = list(dict.fromkeys(one.run for one in measured))
    if not runs:
        return None
    return summarise([_joined([one.errors for one in measured if one.run == run]) for run in runs])


def _joined(parts: Sequence[ForecastErrors]) -> ForecastErrors:
    """Add up trials of one model."""
    sums = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ForecastErrors.__dataclass_fields__
        if name != "episodes"
    }
    return ForecastErrors(episodes=tuple(trial for part in parts for trial in part.episodes), **sums)


def skill_rows(measured: Sequence[Foresight], name: str) -> list[Row]:
    """Return `<name>_skill@1` and `@5`, as far as they could be measured."""
    forecast = summarise_foresight(measured)
    if forecast is None:
        return []
    runs, rows = len({one.run for one in measured}), []
    over = "trials" if runs == 1 else f"{runs} runs and their trials"
    for h in IN_ROWS:
        own, other = forecast.skill[h - 1], forecast.shuffled[h - 1]
        if not math.isfinite(own.value):
            continue
        bounded = math.isfinite(own.low) and math.isfinite(own.high)
        note = (
            f"1 - MSE/MSE(copy last), {h} model steps ahead under the planner's own actions; {own.episodes} trials a run, "
            + (f"95 % bootstrap interval over {over}" if bounded else "no interval: a single trial")
        )
        floors = {"copy_last": 0.0} | ({"shuffled_actions": other.value} if math.isfinite(other.value) else {})
        low, high = (own.low, own.high) if bounded else (own.value, own.value)
        rows.append(Row(f"{name}_skill@{h}", own.value, low, high, own.n, runs, "skill", floors, note=note))
    return rows


def skill_sentence(forecast: Forecast | None) -> str:
    """Return one line for a person."""
    if forecast is None or not math.isfinite(forecast.skill[0].value):
        return (
            "Forecast skill under the planner's own actions: not measured, the trials are too short or nothing moved."
        )
    known = [(h, one) for h, one in enumerate(forecast.skill, start=1) if math.isfinite(one.value)]
    values = ", ".join(f"{h}: {_shown(one)}" for h, one in known)
    return (
        f"Forecast skill under the planner's own actions (over copy-last; 95 % interval over trials), model steps ahead: "
        f"{values}."
    )


def _shown(estimate: Estimate) -> str:
    interval = f" [{estimate.low:.2f}, {estimate.high:.2f}]" if math.isfinite(estimate.low) else ""
    return f"{estimate.value:.2f}{interval}"
